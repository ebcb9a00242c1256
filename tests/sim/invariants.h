/*
 * What has to hold at every moment of every scenario. The packets' own invariants are judged where
 * packets are seen (truth.h), secrets where lines are written (gateway_node.c); here is the rest.
 */
#ifndef TESTS_SIM_INVARIANTS_H
#define TESTS_SIM_INVARIANTS_H

#include "world.h"

enum {
	INVARIANT_SESSION_BYTES = 4096,
	INVARIANT_DIRECT_S = 2,
	INVARIANT_RELAYED_S = 5,
	/* The gateway's memory beyond its empty state: sessions' keys come on top. */
	INVARIANT_CLIENT_BYTES = GATEWAY_BYTES_WORST + WORLD_RESOURCES * GATEWAY_BYTES_PER_GRANT +
				 WG_SESSIONS * INVARIANT_SESSION_BYTES,
	INVARIANT_RELAY_BYTES = 700 * 1024,
	INVARIANT_GRANT_BYTES = 768, /* what stays of a client is its authorizations */
	/* Until the last state of a client that is gone has run out. [spec connections 2.2, 7.3] */
	INVARIANT_END_S = 620,
};

/* The clients have left long ago: nothing may be left of them. */
void invariants_clients_gone(struct world *w);
/* Nor of the relays, which the portal has withdrawn. */
void invariants_relays_gone(struct world *w);

/* After every event; most of it only each tenth of a second. */
void invariants_check(struct world *w);

#endif
