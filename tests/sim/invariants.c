#include "invariants.h"

#include "oracle.h"

enum {
	CHECK_MS = 100,
	RETURN_S = 12, /* a client that was cut off begins anew after 10 s */
	RESUME_S = 2,  /* after a short time both go on with what they have */
	PATIENT_S = 8,
	LONGEST_WAIT_S = 26, /* any connection has a deadline within the slowest check interval */
};

static void check_memory(struct world *w)
{
	struct gateway_snapshot s;
	int64_t limit;

	gateway_snapshot(w->gateway.g, &s);
	limit = w->memory_base + (int64_t)s.relays * INVARIANT_RELAY_BYTES +
		(int64_t)GATEWAY_PLACES * INVARIANT_CLIENT_BYTES;
	if (w->gateway.memory.bytes > limit)
		sim_fail(&w->sim, "the gateway holds %lld bytes with %u clients and %u relays",
			 (long long)w->gateway.memory.bytes, s.clients, s.relays);
	if (s.connections > 0 && gateway_node_awake(&w->gateway) &&
	    gateway_node_deadline(&w->gateway) > w->sim.now_us + LONGEST_WAIT_S * US_PER_S)
		sim_fail(&w->sim, "connections wait without a deadline");
}

/* There is no path: who is cut off for long begins anew. */
static void no_path(struct world *w, unsigned client)
{
	struct truth *t = &w->truth;
	bool is_long;

	if (t->none_us[client] == 0)
		t->none_us[client] = w->sim.now_us;
	is_long = !w->portal.joined || w->sim.now_us - t->none_us[client] > PATIENT_S * US_PER_S ||
		  t->echo_us[client] + 2 * US_PER_S < t->none_us[client];
	truth_disturb(t, client, (is_long ? RETURN_S : RESUME_S) * US_PER_S, true);
}

/* Without the portal a path that works goes on, but none is to be found anew. */
static bool needs_portal(const struct world *w, unsigned client)
{
	const struct truth *t = &w->truth;

	uint64_t settled_us =
	    t->calm_us[client] + t->grace_us[client] + INVARIANT_RELAYED_S * US_PER_S + w->slack_us;

	return !w->portal.joined && (!w->clients[client].ice || settled_us >= w->portal.away_us);
}

static void check_flow(struct world *w, unsigned client)
{
	struct truth *t = &w->truth;
	enum oracle_path path = oracle_path(w, client);
	uint64_t bound_us, from_us;

	t->looks++;
	if (path == ORACLE_NONE || !gateway_node_awake(&w->gateway) || w->clients[client].off) {
		no_path(w, client);
		return;
	}
	t->none_us[client] = 0;
	if (needs_portal(w, client)) {
		truth_disturb(t, client, RETURN_S * US_PER_S, true);
		return;
	}
	if (!truth_must(t, client, gateway_node_wall_us(&w->gateway))) {
		truth_pause(t, client);
		return;
	}
	bound_us = path == ORACLE_DIRECT && !t->silent[client] ? INVARIANT_DIRECT_S * US_PER_S
							       : INVARIANT_RELAYED_S * US_PER_S;
	from_us = t->calm_us[client] + t->grace_us[client];
	t->strict += w->sim.now_us > from_us + bound_us + w->slack_us;
	if (from_us < t->echo_us[client])
		from_us = t->echo_us[client];
	if (w->sim.now_us > from_us + bound_us + w->slack_us)
		sim_fail(&w->sim, "client %u: no traffic for %llu ms although there is a %s path",
			 client, (unsigned long long)(w->sim.now_us - from_us) / 1000,
			 path == ORACLE_DIRECT ? "direct" : "relayed");
}

void invariants_check(struct world *w)
{
	if (w->sim.now_us < w->checked_us + CHECK_MS * US_PER_MS)
		return;
	w->checked_us = w->sim.now_us;
	check_memory(w);
	for (unsigned i = 0; i < w->n_clients; i++)
		check_flow(w, i);
}

void invariants_end(struct world *w)
{
	struct gateway_snapshot s;

	gateway_snapshot(w->gateway.g, &s);
	if (s.connections > 0)
		sim_fail(&w->sim, "%u connections are left of clients that are gone",
			 s.connections);
}
