/*
 * Everything in one scenario: the network, a gateway, its clients, the relays, the portal, and what
 * is true of them.
 */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include "client_node.h"
#include "gateway_node.h"
#include "net.h"
#include "portal_node.h"
#include "relay_node.h"
#include "sim.h"
#include "truth.h"

enum {
	WORLD_CLIENTS = TRUTH_CLIENTS,
	WORLD_RESOURCES = TRUTH_RESOURCES,
	WORLD_RELAYS = PORTAL_RELAYS,
	WORLD_NATS = 8,
	WORLD_SECRETS = 128,
	WORLD_SECRET_TEXT = 72,
};

struct world_secret {
	size_t len;
	char bytes[WORLD_SECRET_TEXT];
};

struct world {
	struct sim sim;
	struct net net;
	struct host *stranger; /* where attackers are */
	struct truth truth;
	struct portal_node portal;
	struct gateway_node gateway;
	struct client_node clients[WORLD_CLIENTS];
	unsigned n_clients, n_resources;
	struct relay_node relays[WORLD_RELAYS];
	unsigned n_relays;
	struct nat nats[WORLD_NATS];
	unsigned n_nats;
	struct secret_arena *arena;
	uint64_t checked_us; /* the invariants, last time */
	uint64_t slack_us;   /* what delays and losses add to the times that are promised */
	bool ended;          /* everybody has been switched off */
	bool paused;         /* nobody sends */
	/* What must never stand in a log line; the oldest goes. */
	struct world_secret secrets[WORLD_SECRETS];
	unsigned n_secrets;
};

struct world *world_new(uint64_t seed, bool tracing);
/* The gateway and the clients go, in order; what that shows may fail the scenario. */
void world_end(struct world *w);
void world_free(struct world *w);

/* Run until @end_us or a failure. */
void world_run(struct world *w, uint64_t end_us);

/* True time, microseconds since 1970. */
int64_t world_wall_us(const struct world *w);

void world_secret_text(struct world *w, const char *text);
/* As they are, in hexadecimal and in base64. */
void world_secret_bytes(struct world *w, const uint8_t *bytes, size_t len);
bool world_tells_secret(const struct world *w, const char *line, size_t len);

struct ip_addr world_ip(const char *text);

#endif
