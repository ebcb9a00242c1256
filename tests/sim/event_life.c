#include "act.h"
#include "attack.h"

enum {
	FLOOD_ROUNDS = 20,
	COMES_EACH_MS = 150, /* a hostile client begins anew so often */
	FORGERIES = 50,
};

void act_clock_step(struct act *a)
{
	int64_t us = (int64_t)(a->e.value % (20 * US_PER_S)) - (int64_t)(10 * US_PER_S);

	gateway_node_step_clock(&a->w->gateway, us);
}

void act_gateway_sleeps(struct act *a)
{
	gateway_node_sleep(&a->w->gateway, a->e.for_us);
	act_disturb(a, a->w->gateway.host, a->e.for_us);
}

/* The client is off for a while. True: it is back. */
static bool client_pauses(struct act *a, struct client_node *c)
{
	if (a->stage == 0 && c->off)
		return false;
	c->off = a->stage == 0;
	act_disturb(a, c->host, 0);
	if (c->off)
		act_again(a, a->e.for_us);
	return !c->off;
}

/* Odd values: it sees that time has passed, and begins anew. */
void act_client_sleeps(struct act *a)
{
	struct client_node *c = act_client(a);

	if (client_pauses(a, c) && a->e.value % 2)
		client_node_reset(c);
}

/* Odd values: it had time to say goodbye. */
void act_gateway_restarts(struct act *a)
{
	struct gateway_node *gn = &a->w->gateway;

	if (a->stage == 0 && gn->down)
		return;
	if (a->stage == 0) {
		gateway_node_stop(gn, a->e.value % 2);
		act_again(a, a->e.for_us / 4);
	} else {
		gateway_node_start(gn, a->e.value);
	}
	act_disturb(a, gn->host, 2 * US_PER_S);
}

void act_client_leaves(struct act *a)
{
	struct client_node *c = act_client(a);

	if (client_pauses(a, c))
		client_node_reset(c);
}

/* Then traffic begins again; even values: from the resources' side. */
void act_pause(struct act *a)
{
	struct world *w = a->w;

	if (a->stage == 0 && w->paused)
		return;
	w->paused = a->stage == 0;
	act_disturb(a, w->gateway.host, 0);
	if (a->stage == 0) {
		act_again(a, a->e.for_us);
		return;
	}
	for (unsigned i = 0; i < w->n_clients; i++)
		client_node_resume(&w->clients[i], a->e.value % 2 == 0);
}

void act_attack(struct act *a)
{
	attack_burst(a->w, a->e.b, 20 + (unsigned)(a->e.value % 200), a->e.value);
}

void act_replay(struct act *a)
{
	attack_replay(a->w, 20 + (unsigned)(a->e.value % 200), a->e.value);
}

/* What it does to itself, such as using up its share of channels, is its own affair. */
static void is_hostile(struct act *a)
{
	truth_event(&a->w->truth, act_client(a)->index, ACT_FOR_GOOD_S * US_PER_S);
}

static void flood(struct act *a, unsigned rounds)
{
	struct client_node *c = act_client(a);
	char texts[CLIENT_NEWS][CANDIDATE_TEXT_MAX];
	struct sim_draw d;

	sim_draw_init(&d, a->e.value ^ a->stage);
	for (unsigned round = 0; round < rounds && c->ice; round++) {
		for (unsigned i = 0; i < CLIENT_NEWS; i++) {
			struct candidate k = {.kind = (enum candidate_kind)sim_draw(&d, 4)};

			k.addr.ip = world_ip("203.0.113.0");
			k.addr.ip.bytes[3] = (uint8_t)sim_draw(&d, 256);
			k.addr.port = (uint16_t)sim_draw(&d, 65536);
			k.priority = (uint32_t)sim_draw(&d, UINT32_MAX);
			if (candidate_format(&k, ice_local_ufrag(c->ice), texts[i],
					     sizeof(texts[i])) == 0)
				texts[i][0] = '\0';
		}
		portal_node_candidates(&a->w->portal, c->index, round % 4 != 3, texts, CLIENT_NEWS);
	}
}

/* Addresses of the client's choice, more than anybody needs, some of them withdrawn again. */
void act_flood(struct act *a)
{
	is_hostile(a);
	flood(a, FLOOD_ROUNDS);
}

/* Each time with new keys and with new addresses to bind channels to. */
void act_comes_and_goes(struct act *a)
{
	is_hostile(a);
	flood(a, 2);
	if ((a->stage + 1) * COMES_EACH_MS * US_PER_MS > a->e.for_us)
		return;
	if (a->stage % 4 == 3)
		client_node_reset(act_client(a));
	act_again(a, COMES_EACH_MS * US_PER_MS);
}

/* In the name of others, and of nobody; resources too send to those who have not asked. */
void act_forged_sources(struct act *a)
{
	client_node_unasked(act_client(a));
	for (unsigned i = 0; i < FORGERIES; i++)
		client_node_forge(act_client(a),
				  (act_client(a)->index + 1 + i % (WORLD_CLIENTS - 1)) %
				      WORLD_CLIENTS,
				  i % a->w->n_resources);
}
