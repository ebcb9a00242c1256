/*
 * The real core with a crowd of clients around it, in virtual time: one network without NAT, one
 * relay, a portal that grants everybody one resource, which echoes.
 *
 * What the core does is counted, and nothing else: calls, datagrams, memory, time, the longest
 * single event.
 */
#ifndef TESTS_SIM_IDLE_H
#define TESTS_SIM_IDLE_H

#include "gateway/gateway.h"
#include "idle_memory.h"
#include "memory.h"
#include "net.h"
#include "relay_node.h"
#include "tests/bench/crowd.h"

enum idle_cause {
	IDLE_TIMER, /* the core's own deadlines */
	IDLE_CLOCK,
	IDLE_MESSAGE, /* of the portal */
	IDLE_PACKET,  /* for a client */
	IDLE_CHECK,   /* STUN from a client */
	IDLE_HANDSHAKE,
	IDLE_DATA,
	IDLE_RELAY, /* from the relay */
	IDLE_CAUSES
};

/* What events have cost. One is a call of the core with all that follows from it. */
struct idle_work {
	uint64_t events[IDLE_CAUSES], ns[IDLE_CAUSES];
	uint64_t sent; /* datagrams */
	uint64_t blocks,
	    worst_blocks; /* of the core's code, where they are counted; of one event */
	uint64_t worst_ns[IDLE_CAUSES];
};

struct idle {
	uint32_t clients;
	uint64_t seed;
	struct sim sim;
	struct net net;
	struct host *gateway_host, *relay_host;
	struct relay_node relay;
	struct secret_arena *arena;
	struct txq *txq;
	struct coalescer *tun;
	struct gateway *g;
	struct crowd *crowd;
	struct rng_seeded gateway_seed, crowd_seed;
	uint64_t clock_at_us, connect_at_us; /* next ones */
	uint32_t asked;
	bool mute;                 /* what the core sends is thrown away */
	struct memory memory;      /* of the core but for the next */
	struct idle_memory crypto; /* what the crypto library holds for it */
	struct idle_work work;
	enum idle_cause cause; /* of the event that is under way */
	uint64_t entered_ns, entered_blocks, event_ns, event_blocks;
};

/* The core has all the room that there is. NULL without memory. Nobody is connected yet. */
struct idle *idle_new(uint32_t clients, uint64_t seed);
void idle_free(struct idle *s);

/* Run for so long, virtually. */
void idle_run(struct idle *s, uint64_t us);
/* Run until everybody has had an echo. False: some have none within a fair time. */
bool idle_connect_all(struct idle *s);

/* The places of secrets that the core holds. */
size_t idle_secrets(const struct idle *s);

/* Blocks of the core's code that have run so far; 0 in a program that does not count them. */
uint64_t idle_blocks(void);

struct endpoint idle_client_address(uint32_t client);
struct endpoint idle_gateway_address(void);

#endif
