#include "invariants.h"

#include "oracle.h"

enum {
	CHECK_MS = 100,
	RETURN_S = 12, /* a client that was cut off begins anew after 10 s */
	KEEN_S = 4,    /* its relays and the gateway's have to come back */
	RESUME_S = 2,  /* after a short time both go on with what they have */
	PATIENT_S = 8,
	LONGEST_RELAY_S =
	    485, /* a relay that refuses time after time is asked more and more seldom */
	LONGEST_WAIT_S = 26, /* any connection has a deadline within the slowest check interval */
};

/* What every client may cost with all its tables full, and the relays. */
static void check_memory(struct world *w, const struct gateway_snapshot *s)
{
	int64_t limit = w->gateway.memory_base + (int64_t)s->relays * INVARIANT_RELAY_BYTES +
			(int64_t)w->n_clients * INVARIANT_CLIENT_BYTES;

	if (w->gateway.memory.bytes > limit)
		sim_fail(&w->sim, "the gateway holds %lld bytes with %u clients and %u relays",
			 (long long)w->gateway.memory.bytes, s->clients, s->relays);
}

/* What waits has a deadline, or the portal is its owner. */
static void check_deadline(struct world *w, const struct gateway_snapshot *s)
{
	bool waits = s->connections > 0 || s->relays > 0 || s->held > 0;
	uint64_t longest_us = (s->connections > 0 ? LONGEST_WAIT_S : LONGEST_RELAY_S) * US_PER_S;
	uint64_t now_us = w->sim.now_us - w->gateway.slept_us;

	if (waits && gateway_node_awake(&w->gateway) &&
	    gateway_deadline(w->gateway.g) > now_us + longest_us)
		sim_fail(&w->sim, "%u connections and %u relays wait until %.1f s from now",
			 s->connections, s->relays,
			 (double)(gateway_deadline(w->gateway.g) - now_us) / (double)US_PER_S);
}

/* Until something happens once there is a path again: who is cut off for long begins anew. */
static uint64_t return_us(const struct world *w, unsigned client)
{
	const struct truth *t = &w->truth;
	bool is_long = !w->portal.joined ||
		       w->sim.now_us - t->none_us[client] > PATIENT_S * US_PER_S ||
		       t->echo_us[client] + 2 * US_PER_S < t->none_us[client];

	if (!is_long)
		return RESUME_S * US_PER_S;
	return (w->clients[client].keen ? KEEN_S : RETURN_S) * US_PER_S;
}

static void no_path(struct world *w, unsigned client)
{
	struct truth *t = &w->truth;

	if (t->none_us[client] == 0)
		t->none_us[client] = w->sim.now_us;
	truth_disturb(t, client, return_us(w, client));
}

/* A keen client sees that the network is back, and begins anew at once. */
static void path_again(struct world *w, unsigned client)
{
	bool was_long = w->truth.none_us[client] != 0 && return_us(w, client) > RESUME_S * US_PER_S;

	w->truth.none_us[client] = 0;
	if (was_long && w->clients[client].keen)
		client_node_reset(&w->clients[client]);
}

/* Without the portal a path that works goes on, but none is to be found anew. */
static bool needs_portal(const struct world *w, unsigned client)
{
	const struct truth *t = &w->truth;

	uint64_t settled_us =
	    t->calm_us[client] + t->grace_us[client] + INVARIANT_RELAYED_S * US_PER_S + w->slack_us;

	return !w->portal.joined && (!w->clients[client].ice || settled_us >= w->portal.away_us);
}

/* Nothing excuses a silence longer than @bound_us. */
static void demand(struct world *w, unsigned client, enum oracle_path path, uint64_t bound_us)
{
	struct truth *t = &w->truth;
	uint64_t from_us = t->calm_us[client] + t->grace_us[client];
	bool due = w->sim.now_us > from_us + bound_us;

	t->looks[due ? TRUTH_LOOK_DUE : TRUTH_LOOK_SETTLING]++;
	if (from_us < t->echo_us[client])
		from_us = t->echo_us[client];
	if (w->sim.now_us > from_us + bound_us)
		sim_fail(&w->sim, "client %u: no traffic for %llu ms although there is a %s path",
			 client, (unsigned long long)(w->sim.now_us - from_us) / 1000,
			 path == ORACLE_DIRECT ? "direct" : "relayed");
}

static void check_flow(struct world *w, unsigned client)
{
	struct truth *t = &w->truth;
	enum oracle_path path = oracle_path(w, client);
	bool asleep = !gateway_node_awake(&w->gateway) || w->clients[client].off;

	if (w->paused) {
		t->looks[TRUTH_LOOK_PAUSED]++;
		return;
	}
	if (path == ORACLE_NONE || asleep) {
		t->looks[asleep ? TRUTH_LOOK_ASLEEP : TRUTH_LOOK_NO_PATH]++;
		no_path(w, client);
		return;
	}
	path_again(w, client);
	if (needs_portal(w, client)) {
		t->looks[TRUTH_LOOK_NO_PORTAL]++;
		truth_disturb(t, client, RETURN_S * US_PER_S);
		return;
	}
	if (!truth_must(t, client, gateway_node_wall_us(&w->gateway))) {
		t->looks[TRUTH_LOOK_NO_GRANT]++;
		truth_pause(t, client);
		return;
	}
	demand(w, client, path,
	       (path == ORACLE_DIRECT ? INVARIANT_DIRECT_S : INVARIANT_RELAYED_S) * US_PER_S +
		   w->slack_us);
}

void invariants_check(struct world *w)
{
	struct gateway_snapshot s;

	if (w->sim.now_us < w->checked_us + CHECK_MS * US_PER_MS)
		return;
	w->checked_us = w->sim.now_us;
	if (!w->gateway.down) {
		gateway_snapshot(w->gateway.g, &s);
		check_memory(w, &s);
		check_deadline(w, &s);
	}
	for (unsigned i = 0; i < w->n_clients && !w->ended; i++)
		check_flow(w, i);
}

void invariants_clients_gone(struct world *w)
{
	struct gateway_snapshot s;

	if (w->gateway.down)
		return;
	gateway_snapshot(w->gateway.g, &s);
	if (s.connections > 0 || s.held > 0)
		sim_fail(&w->sim, "%u connections are left of clients that are gone",
			 s.connections);
}

void invariants_relays_gone(struct world *w)
{
	struct gateway_node *gn = &w->gateway;
	struct gateway_snapshot s;
	size_t slots;

	if (gn->down)
		return;
	gateway_snapshot(gn->g, &s);
	slots = secret_slots_free(gn->arena);
	if (s.relays > 0)
		sim_fail(&w->sim, "%u relays are left that were withdrawn", s.relays);
	if (slots != gn->slots_base)
		sim_fail(&w->sim, "%zu secrets are left of clients and relays that are gone",
			 gn->slots_base - slots);
	if (gn->memory.bytes > gn->memory_base + (int64_t)s.grants * INVARIANT_GRANT_BYTES)
		sim_fail(&w->sim,
			 "%lld bytes are left of clients and relays that are gone, with %u grants",
			 (long long)(gn->memory.bytes - gn->memory_base), s.grants);
}
