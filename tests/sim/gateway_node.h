/*
 * The gateway: the real core, and around it what the loop does with sockets, routes and clocks.
 */
#ifndef TESTS_SIM_GATEWAY_NODE_H
#define TESTS_SIM_GATEWAY_NODE_H

#include "base/log.h"
#include "gateway/gateway.h"
#include "memory.h"
#include "net.h"
#include "sockets/roam.h"

struct world;

enum {
	GATEWAY_PORT = 52625,
	GATEWAY_PLACES = 8, /* for clients */
};

struct gateway_node {
	struct world *world;
	struct host *host;
	struct uuid id;
	struct gateway *g;
	struct txq *txq;
	struct factory *factory;
	struct coalescer *tun;
	struct log *log;
	struct secret_arena *arena;
	struct rng_seeded seed, factory_seed;
	struct roam roam;
	struct memory memory;
	int64_t memory_base; /* without clients and relays */
	size_t slots_base;   /* free ones then */
	bool down;           /* no process: all but @world, @host and the clocks is void */
	struct ip_addr dead_local;
	bool network_lost;
	bool event_waits;                   /* the kernel's, for the time when it wakes */
	uint64_t clock_at_us;               /* next tick, by its own clock */
	uint64_t slept_us;                  /* its clock stands still while it sleeps */
	uint64_t asleep_until_us, sleep_us; /* by the true clock; 0: awake */
	int64_t wall_off_us;                /* its wall clock is off by */
	uint64_t handled, timeouts, lines;
	uint64_t same_time_us, same_time_steps;
};

void gateway_node_new(struct gateway_node *gn, struct world *world, struct host *host,
		      uint64_t seed);
/* Its process ends, with a goodbye or without, and another one begins. */
void gateway_node_stop(struct gateway_node *gn, bool says_goodbye);
void gateway_node_start(struct gateway_node *gn, uint64_t seed);
/* Fails the scenario if anything is left behind. */
void gateway_node_free(struct gateway_node *gn);

/* Its wall clock now. */
int64_t gateway_node_wall_us(const struct gateway_node *gn);
bool gateway_node_awake(const struct gateway_node *gn);

void gateway_node_message(struct gateway_node *gn, const struct portal_msg *msg);
void gateway_node_joined(struct gateway_node *gn, bool joined);
/* A packet for the tunnel from the resources' network. */
void gateway_node_tun(struct gateway_node *gn, uint8_t *data, size_t len);
/* The host's addresses or routes have changed, and the kernel says so. */
void gateway_node_network_event(struct gateway_node *gn);
void gateway_node_sleep(struct gateway_node *gn, uint64_t us);
void gateway_node_step_clock(struct gateway_node *gn, int64_t us);

uint64_t gateway_node_deadline(const struct gateway_node *gn);
void gateway_node_timeout(struct gateway_node *gn);

#endif
