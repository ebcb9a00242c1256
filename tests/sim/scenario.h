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
	/* The network. */
	SCENARIO_GATEWAY_ROAMS,
	SCENARIO_GATEWAY_DOWN,
	SCENARIO_CLIENT_ROAMS,
	SCENARIO_CLIENT_DOWN,
	SCENARIO_FAMILY_LOST,
	SCENARIO_UDP_BLOCKED,
	SCENARIO_REBIND,
	SCENARIO_CUT,
	SCENARIO_PARTITION,
	SCENARIO_LOSS,
	/* Relays. */
	SCENARIO_RELAY_RESTARTS,
	SCENARIO_RELAY_DIES,
	SCENARIO_RELAY_STALE,
	SCENARIO_RELAY_REFUSES,
	SCENARIO_RELAY_UNLISTED,
	/* The portal, and who may do what. */
	SCENARIO_PORTAL_OUTAGE,
	SCENARIO_SLOW_CANDIDATES,
	SCENARIO_REJECT,
	SCENARIO_EXPIRY,
	SCENARIO_STORM,
	/* The machines. */
	SCENARIO_CLOCK_STEP,
	SCENARIO_GATEWAY_SLEEPS,
	SCENARIO_CLIENT_SLEEPS,
	SCENARIO_GATEWAY_RESTARTS,
	SCENARIO_CLIENT_LEAVES,
	SCENARIO_PAUSE,
	/* Hostile ones. */
	SCENARIO_ATTACK,
	SCENARIO_REPLAY,
	SCENARIO_FLOOD,
	SCENARIO_COMES_AND_GOES,
	SCENARIO_FORGED_SOURCES,
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
	uint64_t steps, echoes, datagrams;
	uint64_t looks[TRUTH_LOOK_KINDS];
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
