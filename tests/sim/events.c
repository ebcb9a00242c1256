#include "events.h"

#include <stdlib.h>

#include "attack.h"
#include "topology.h"

/*
 * Beyond the promised two and five seconds: what nobody can see has to be found out first, for
 * which the path is checked each 1.5 s; who was away for long begins anew.
 */
enum {
	AWAY_S = 12,
	FOR_GOOD_S = 3600,
	PORTAL_NOTICES_S = 1, /* that a relay is gone or back */
	KEEPALIVE_S = 300,    /* until an allocation is refreshed */
	CHECK_S = 16,         /* until the gateway checks a path that seems to work */
};

/* One event in the world, and its end. */
struct act {
	struct world *w;
	struct scenario_event e;
	bool over;
};

static const char *const names[SCENARIO_KINDS] = {
    [SCENARIO_GATEWAY_ROAMS] = "gateway roams",
    [SCENARIO_GATEWAY_DOWN] = "gateway's link is down",
    [SCENARIO_CLIENT_ROAMS] = "client roams",
    [SCENARIO_CLIENT_DOWN] = "client's link is down",
    [SCENARIO_RELAY_RESTARTS] = "relay restarts",
    [SCENARIO_RELAY_DIES] = "relay dies",
    [SCENARIO_RELAY_STALE] = "relay forgets its nonces",
    [SCENARIO_PORTAL_OUTAGE] = "portal is away",
    [SCENARIO_SLOW_CANDIDATES] = "candidates come late",
    [SCENARIO_CLOCK_STEP] = "gateway's clock steps",
    [SCENARIO_SLEEP] = "gateway sleeps",
    [SCENARIO_REJECT] = "access rejected",
    [SCENARIO_EXPIRY] = "expiry moves",
    [SCENARIO_STORM] = "storm of authorizations",
    [SCENARIO_REBIND] = "NAT loses its mappings",
    [SCENARIO_CUT] = "two hosts are cut off",
    [SCENARIO_LOSS] = "a link gets worse",
    [SCENARIO_ATTACK] = "attack",
    [SCENARIO_HOSTILE] = "a client floods candidates",
    [SCENARIO_LEAVES] = "client is switched off",
};

const char *events_name(enum scenario_kind kind)
{
	return names[kind];
}

static void act(void *ctx, void *data);

static void again_at(struct act *a, uint64_t in_us)
{
	struct sim_event event = {.run = act, .drop = free, .ctx = a->w};
	struct act *copy = malloc(sizeof(*copy));

	BUG_ON(!copy);
	*copy = *a;
	copy->over = true;
	event.data = copy;
	sim_at(&a->w->sim, a->w->sim.now_us + in_us, &event);
}

/* Behind a NAT that shows each peer another address, no candidate can be withdrawn. */
static void gateway_roams(struct act *a)
{
	const struct nat *nat = a->w->gateway.host->nat[0];

	topology_move(a->w, a->w->gateway.host, a->e.value);
	gateway_node_network_event(&a->w->gateway);
	truth_event_all(&a->w->truth, 0, nat && nat->mapping != NAT_INDEPENDENT);
}

static void gateway_down(struct act *a)
{
	a->w->gateway.host->link.up = a->over;
	gateway_node_network_event(&a->w->gateway);
	truth_event_all(&a->w->truth, 0, true);
	if (!a->over)
		again_at(a, a->e.for_us);
}

static void client_roams(struct act *a)
{
	unsigned i = a->e.a % a->w->n_clients;

	topology_move(a->w, a->w->clients[i].host, a->e.value);
	client_node_reset(&a->w->clients[i]);
	truth_event(&a->w->truth, i, 0, false);
}

/* Odd values: the client notices, and begins anew. */
static void client_down(struct act *a)
{
	unsigned i = a->e.a % a->w->n_clients;

	a->w->clients[i].host->link.up = a->over;
	truth_event(&a->w->truth, i, 0, a->e.value % 2 == 0);
	if (!a->over)
		again_at(a, a->e.for_us);
	else if (a->e.value % 2)
		client_node_reset(&a->w->clients[i]);
}

/* With a new secret, which the portal tells a little later. */
static void relay_restarts(struct act *a)
{
	unsigned r = a->e.a % a->w->n_relays;

	if (!a->over) {
		relay_node_restart(&a->w->relays[r], true);
		again_at(a, PORTAL_NOTICES_S * US_PER_S);
		truth_event_all(&a->w->truth, PORTAL_NOTICES_S * US_PER_S, true);
	} else {
		portal_node_relay(&a->w->portal, r, true);
	}
}

/* The portal takes it out a little later and lists it when it is back. */
static void relay_dies(struct act *a)
{
	unsigned r = a->e.a % a->w->n_relays;
	struct relay_node *relay = &a->w->relays[r];

	truth_event_all(&a->w->truth, PORTAL_NOTICES_S * US_PER_S, true);
	if (!a->over) {
		relay->up = false;
		a->e.value = 1;
		again_at(a, PORTAL_NOTICES_S * US_PER_S);
	} else if (a->e.value == 1) {
		portal_node_relay(&a->w->portal, r, false);
		a->e.value = 2;
		again_at(a, a->e.for_us);
	} else {
		relay_node_restart(relay, true);
		portal_node_relay(&a->w->portal, r, true);
	}
}

static void portal_outage(struct act *a)
{
	portal_node_outage(&a->w->portal, a->e.for_us);
}

static void slow_candidates(struct act *a)
{
	a->w->portal.extra_us = a->over ? 0 : a->e.for_us / 8;
	if (!a->over)
		again_at(a, a->e.for_us);
	truth_event_all(&a->w->truth, US_PER_S + a->e.for_us / 8, true);
}

static void clock_step(struct act *a)
{
	int64_t us = (int64_t)(a->e.value % (20 * US_PER_S)) - (int64_t)(10 * US_PER_S);

	gateway_node_step_clock(&a->w->gateway, us);
}

static void sleeps(struct act *a)
{
	gateway_node_sleep(&a->w->gateway, a->e.for_us);
	truth_event_all(&a->w->truth, a->e.for_us, true);
}

static void rejected(struct act *a)
{
	unsigned c = a->e.a % a->w->n_clients, r = a->e.b % a->w->n_resources;

	if (!a->over) {
		portal_node_reject(&a->w->portal, c, r);
		again_at(a, a->e.for_us);
	} else {
		portal_node_allow(&a->w->portal, c, r);
		truth_event(&a->w->truth, c, 2 * US_PER_S, false);
	}
}

static void expiry(struct act *a)
{
	unsigned c = a->e.a % a->w->n_clients, r = a->e.b % a->w->n_resources;

	portal_node_set_expiry(&a->w->portal, c, r, (int64_t)(a->e.value % 8) - 1);
}

/* Many decisions within a moment; what the last of them says counts. */
static void storm(struct act *a)
{
	struct sim_draw d;

	sim_draw_init(&d, a->e.value);
	for (unsigned i = 0; i < 40; i++) {
		unsigned c = (unsigned)sim_draw(&d, a->w->n_clients);
		unsigned r = (unsigned)sim_draw(&d, a->w->n_resources);

		switch (sim_draw(&d, 4)) {
		case 0:
			portal_node_reject(&a->w->portal, c, r);
			break;
		case 1:
			portal_node_set_expiry(&a->w->portal, c, r, (int64_t)sim_draw(&d, 20));
			break;
		default:
			portal_node_allow(&a->w->portal, c, r);
			portal_node_request(&a->w->portal, c, r);
			break;
		}
	}
	truth_event_all(&a->w->truth, 2 * US_PER_S, false);
}

static bool has_nat(const struct host *h, const struct nat *nat)
{
	return h->nat[0] == nat || h->nat[1] == nat;
}

static void rebind(struct act *a)
{
	struct nat *nat;

	if (a->w->n_nats == 0)
		return;
	nat = &a->w->nats[a->e.a % a->w->n_nats];
	nat_rebind(nat);
	for (unsigned i = 0; i < a->w->net.n_hosts; i++) {
		struct host *h = &a->w->net.hosts[i];

		if (has_nat(h, nat))
			h->stale_until_us = a->w->sim.now_us + KEEPALIVE_S * US_PER_S;
	}
	truth_event_all(&a->w->truth, has_nat(a->w->gateway.host, nat) ? CHECK_S * US_PER_S : 0,
			true);
}

static void cut(struct act *a)
{
	unsigned x = a->e.a % a->w->net.n_hosts, y = a->e.b % a->w->net.n_hosts;

	a->w->net.cut[x][y] = !a->over;
	if (a->e.value % 2)
		a->w->net.cut[y][x] = !a->over;
	truth_event_all(&a->w->truth, 0, true);
	if (!a->over)
		again_at(a, a->e.for_us);
}

/* For a while so bad that nothing is promised. */
static void lossy(struct act *a)
{
	struct host *h = &a->w->net.hosts[a->e.a % a->w->net.n_hosts];
	uint32_t more = 50000 + (uint32_t)(a->e.value % 300000);

	if (!a->over)
		h->link.loss += more;
	else
		h->link.loss -= more;
	if (!a->over)
		again_at(a, a->e.for_us);
	truth_event_all(&a->w->truth, AWAY_S * US_PER_S + (a->over ? 0 : a->e.for_us), true);
}

static void attack(struct act *a)
{
	attack_burst(a->w, a->e.b, 20 + (unsigned)(a->e.value % 200), a->e.value);
}

/* Addresses of the client's choice, more than anybody needs, some of them withdrawn again. */
static void hostile(struct act *a)
{
	struct client_node *c = &a->w->clients[a->e.a % a->w->n_clients];
	char texts[CLIENT_NEWS][CANDIDATE_TEXT_MAX];
	struct sim_draw d;

	sim_draw_init(&d, a->e.value);
	for (unsigned round = 0; round < 20 && c->ice; round++) {
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
	/* What it does to itself, such as using up its share of channels, is its own affair. */
	truth_event(&a->w->truth, c->index, FOR_GOOD_S * US_PER_S, true);
}

static void leaves(struct act *a)
{
	struct client_node *c = &a->w->clients[a->e.a % a->w->n_clients];

	c->off = !a->over;
	truth_event(&a->w->truth, c->index, 0, false);
	if (!a->over)
		again_at(a, a->e.for_us);
	else
		client_node_reset(c);
}

static void (*const acts[SCENARIO_KINDS])(struct act *a) = {
    [SCENARIO_GATEWAY_ROAMS] = gateway_roams,
    [SCENARIO_GATEWAY_DOWN] = gateway_down,
    [SCENARIO_CLIENT_ROAMS] = client_roams,
    [SCENARIO_CLIENT_DOWN] = client_down,
    [SCENARIO_RELAY_RESTARTS] = relay_restarts,
    [SCENARIO_RELAY_DIES] = relay_dies,
    [SCENARIO_RELAY_STALE] = NULL,
    [SCENARIO_PORTAL_OUTAGE] = portal_outage,
    [SCENARIO_SLOW_CANDIDATES] = slow_candidates,
    [SCENARIO_CLOCK_STEP] = clock_step,
    [SCENARIO_SLEEP] = sleeps,
    [SCENARIO_REJECT] = rejected,
    [SCENARIO_EXPIRY] = expiry,
    [SCENARIO_STORM] = storm,
    [SCENARIO_REBIND] = rebind,
    [SCENARIO_CUT] = cut,
    [SCENARIO_LOSS] = lossy,
    [SCENARIO_ATTACK] = attack,
    [SCENARIO_HOSTILE] = hostile,
    [SCENARIO_LEAVES] = leaves,
};

static void act(void *ctx, void *data)
{
	struct world *w = ctx;
	struct act *a = data;

	sim_trace(&w->sim, "--- %s%s", names[a->e.kind], a->over ? " (over)" : "");
	if (acts[a->e.kind])
		acts[a->e.kind](a);
	else
		relay_node_stale(&w->relays[a->e.a % w->n_relays]);
	free(a);
}

void events_schedule(struct world *w, const struct scenario_event *e)
{
	struct sim_event event = {.run = act, .drop = free, .ctx = w};
	struct act *a = calloc(1, sizeof(*a));

	BUG_ON(!a);
	a->w = w;
	a->e = *e;
	event.data = a;
	sim_at(&w->sim, w->sim.now_us + e->at_us, &event);
}
