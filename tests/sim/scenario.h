/*
 * A scenario: a topology and a list of events, both drawn from one seed. Events can be left out one
 * by one; the rest stays as it is.
 */
#ifndef TESTS_SIM_SCENARIO_H
#define TESTS_SIM_SCENARIO_H

#include "world.h"

enum {
	SCENARIO_EVENTS = 24,
};

enum scenario_kind {
	SCENARIO_GATEWAY_ROAMS,
	SCENARIO_GATEWAY_DOWN,
	SCENARIO_CLIENT_ROAMS,
	SCENARIO_CLIENT_DOWN,
	SCENARIO_RELAY_RESTARTS,
	SCENARIO_RELAY_DIES,
	SCENARIO_RELAY_STALE,
	SCENARIO_PORTAL_OUTAGE,
	SCENARIO_SLOW_CANDIDATES,
	SCENARIO_CLOCK_STEP,
	SCENARIO_SLEEP,
	SCENARIO_REJECT,
	SCENARIO_EXPIRY,
	SCENARIO_STORM,
	SCENARIO_REBIND,
	SCENARIO_CUT,
	SCENARIO_LOSS,
	SCENARIO_ATTACK,
	SCENARIO_HOSTILE,
	SCENARIO_LEAVES,
	SCENARIO_KINDS,
};

struct scenario_event {
	enum scenario_kind kind;
	uint64_t at_us; /* from the start */
	uint64_t for_us;
	unsigned a, b; /* whom it concerns */
	uint64_t value;
	bool left_out;
};

struct scenario {
	uint64_t seed, seconds;
	struct scenario_event events[SCENARIO_EVENTS];
	unsigned n_events;
	bool tracing;
	/* After a run. */
	bool failed;
	char reason[SIM_REASON];
	uint64_t steps, echoes, datagrams, looks, strict;
	int64_t most_memory;
};

/* Draw the events of a seed. */
void scenario_draw(struct scenario *s, uint64_t seed, uint64_t seconds);
/* Run it; the result is in @s. A trace is printed when it was asked for. */
void scenario_run(struct scenario *s);
/* Leave out what is not needed for the failure. */
void scenario_shrink(struct scenario *s);
void scenario_print(const struct scenario *s);

#endif
