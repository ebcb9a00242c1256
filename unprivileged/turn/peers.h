/*
 * Peers that wait for an allocation: a ring of TURN_MAX_REMEMBERED, oldest overwritten; an owner
 * with too many overwrites its own.
 */
#ifndef TURN_PEERS_H
#define TURN_PEERS_H

#include "base/defs.h"
#include "packet/addr.h"
#include "turn/turn.h"

enum {
	TURN_MAX_OWNER_REMEMBERED = 32,
};

struct turn_peer {
	struct endpoint addr;
	uint32_t owner;
};

/* Oldest first. Zeroed is empty. */
struct turn_peers {
	struct turn_peer at[TURN_MAX_REMEMBERED];
	size_t count;
};

/* A peer that is there already stays where it is. */
void turn_peers_add(struct turn_peers *peers, const struct endpoint *addr, uint32_t owner);

#endif
