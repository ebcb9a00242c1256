/*
 * What has to hold at every moment of every scenario. The packets' own invariants are judged where
 * packets are seen (truth.h), secrets where lines are written (gateway_node.c); here is the rest.
 */
#ifndef TESTS_SIM_INVARIANTS_H
#define TESTS_SIM_INVARIANTS_H

#include "world.h"

enum {
	INVARIANT_DIRECT_S = 2,
	INVARIANT_RELAYED_S = 5,
	/* The gateway's memory beyond its empty state. */
	INVARIANT_CLIENT_BYTES = 48 * 1024,
	INVARIANT_RELAY_BYTES = 700 * 1024,
	/* Until the last state of a client that is gone has run out. [spec connections 2.2, 7.3] */
	INVARIANT_END_S = 620,
};

/* Everybody has left long ago: nothing may be left of them. */
void invariants_end(struct world *w);

/* After every event; most of it only each tenth of a second. */
void invariants_check(struct world *w);

#endif
