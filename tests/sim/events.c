#include "events.h"

#include <stdlib.h>

#include "act.h"

enum {
	FLOWING_MS = 400, /* a client sends each 100 ms */
};

static const char *const names[SCENARIO_KINDS] = {
    [SCENARIO_GATEWAY_ROAMS] = "gateway roams",
    [SCENARIO_GATEWAY_DOWN] = "gateway's link is down",
    [SCENARIO_CLIENT_ROAMS] = "client roams",
    [SCENARIO_CLIENT_DOWN] = "client's link is down",
    [SCENARIO_FAMILY_LOST] = "a host loses one address family",
    [SCENARIO_UDP_BLOCKED] = "a host's UDP is blocked",
    [SCENARIO_REBIND] = "NAT loses its mappings",
    [SCENARIO_CUT] = "two hosts are cut off",
    [SCENARIO_PARTITION] = "the network falls apart",
    [SCENARIO_LOSS] = "a link gets worse",
    [SCENARIO_RELAY_RESTARTS] = "relay restarts",
    [SCENARIO_RELAY_DIES] = "relay dies",
    [SCENARIO_RELAY_STALE] = "relay forgets its nonces",
    [SCENARIO_RELAY_REFUSES] = "relay forgets its allocations and refuses new ones",
    [SCENARIO_RELAY_UNLISTED] = "portal withdraws a relay",
    [SCENARIO_PORTAL_OUTAGE] = "portal is away",
    [SCENARIO_SLOW_CANDIDATES] = "candidates come late",
    [SCENARIO_REJECT] = "access rejected",
    [SCENARIO_EXPIRY] = "expiry moves",
    [SCENARIO_STORM] = "storm of authorizations",
    [SCENARIO_CLOCK_STEP] = "gateway's clock steps",
    [SCENARIO_GATEWAY_SLEEPS] = "gateway sleeps",
    [SCENARIO_CLIENT_SLEEPS] = "client sleeps",
    [SCENARIO_GATEWAY_RESTARTS] = "gateway restarts",
    [SCENARIO_CLIENT_LEAVES] = "client is switched off",
    [SCENARIO_PAUSE] = "nobody sends",
    [SCENARIO_ATTACK] = "forged datagrams",
    [SCENARIO_REPLAY] = "replayed datagrams",
    [SCENARIO_FLOOD] = "a client floods candidates",
    [SCENARIO_COMES_AND_GOES] = "a client comes and goes",
    [SCENARIO_FORGED_SOURCES] = "a client forges inner sources",
};

void (*const act_of_kind[SCENARIO_KINDS])(struct act *a) = {
    [SCENARIO_GATEWAY_ROAMS] = act_gateway_roams,
    [SCENARIO_GATEWAY_DOWN] = act_gateway_down,
    [SCENARIO_CLIENT_ROAMS] = act_client_roams,
    [SCENARIO_CLIENT_DOWN] = act_client_down,
    [SCENARIO_FAMILY_LOST] = act_family_lost,
    [SCENARIO_UDP_BLOCKED] = act_udp_blocked,
    [SCENARIO_REBIND] = act_rebind,
    [SCENARIO_CUT] = act_cut,
    [SCENARIO_PARTITION] = act_partition,
    [SCENARIO_LOSS] = act_lossy,
    [SCENARIO_RELAY_RESTARTS] = act_relay_restarts,
    [SCENARIO_RELAY_DIES] = act_relay_dies,
    [SCENARIO_RELAY_STALE] = act_relay_stale,
    [SCENARIO_RELAY_REFUSES] = act_relay_refuses,
    [SCENARIO_RELAY_UNLISTED] = act_relay_unlisted,
    [SCENARIO_PORTAL_OUTAGE] = act_portal_outage,
    [SCENARIO_SLOW_CANDIDATES] = act_slow_candidates,
    [SCENARIO_REJECT] = act_rejected,
    [SCENARIO_EXPIRY] = act_expiry,
    [SCENARIO_STORM] = act_storm,
    [SCENARIO_CLOCK_STEP] = act_clock_step,
    [SCENARIO_GATEWAY_SLEEPS] = act_gateway_sleeps,
    [SCENARIO_CLIENT_SLEEPS] = act_client_sleeps,
    [SCENARIO_GATEWAY_RESTARTS] = act_gateway_restarts,
    [SCENARIO_CLIENT_LEAVES] = act_client_leaves,
    [SCENARIO_PAUSE] = act_pause,
    [SCENARIO_ATTACK] = act_attack,
    [SCENARIO_REPLAY] = act_replay,
    [SCENARIO_FLOOD] = act_flood,
    [SCENARIO_COMES_AND_GOES] = act_comes_and_goes,
    [SCENARIO_FORGED_SOURCES] = act_forged_sources,
};

const char *events_name(enum scenario_kind kind)
{
	return names[kind];
}

struct client_node *act_client(const struct act *a)
{
	return &a->w->clients[a->e.a % a->w->n_clients];
}

struct relay_node *act_relay(const struct act *a)
{
	return &a->w->relays[a->e.a % a->w->n_relays];
}

static bool is_relay(const struct world *w, const struct ip_addr *ip)
{
	for (unsigned i = 0; i < w->n_relays; i++)
		for (unsigned f = 0; f < 2; f++)
			if (ip_eq(&w->relays[i].host->address[f], ip))
				return true;
	return false;
}

/* Its traffic flows, and no relay has a part in it. */
static bool flows_directly(const struct world *w, const struct client_node *c)
{
	return c->has_path && !c->path.via_relay && !is_relay(w, &c->path.remote.ip) &&
	       w->truth.echo_us[c->index] + FLOWING_MS * US_PER_MS > w->sim.now_us;
}

static bool concerns(const struct world *w, unsigned client, const struct host *h)
{
	const struct client_node *c = &w->clients[client];

	if (h == c->host || h == w->gateway.host)
		return true;
	for (unsigned i = 0; i < w->n_relays; i++)
		if (w->relays[i].host == h)
			return !flows_directly(w, c);
	return false;
}

void act_disturb(const struct act *a, const struct host *h, uint64_t grace_us)
{
	for (unsigned i = 0; i < a->w->n_clients; i++)
		if (concerns(a->w, i, h))
			truth_event(&a->w->truth, i, grace_us);
}

void act_disturb_between(const struct act *a, const struct host *x, const struct host *y)
{
	for (unsigned i = 0; i < a->w->n_clients; i++)
		if (concerns(a->w, i, x) && concerns(a->w, i, y))
			truth_event(&a->w->truth, i, 0);
}

static void act(void *ctx, void *data)
{
	struct world *w = ctx;
	struct act *a = data;

	sim_trace(&w->sim, "--- %s, stage %u", names[a->e.kind], a->stage);
	act_of_kind[a->e.kind](a);
	free(a);
}

static void queue(const struct act *a, uint64_t in_us)
{
	struct sim_event event = {.run = act, .drop = free, .ctx = a->w};
	struct act *copy = malloc(sizeof(*copy));

	BUG_ON(!copy);
	*copy = *a;
	event.data = copy;
	sim_at(&a->w->sim, a->w->sim.now_us + in_us, &event);
}

void act_again(const struct act *a, uint64_t in_us)
{
	struct act next = *a;

	next.stage++;
	queue(&next, in_us);
}

void events_schedule(struct world *w, const struct scenario_event *e)
{
	struct act a = {.w = w, .e = *e};

	queue(&a, e->at_us);
}
