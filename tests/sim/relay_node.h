/*
 * A TURN server on a simulated host: the part of RFC 8656 that gateways and clients use, in the two
 * dialects of spec connections 6.2: the product's own relay and a standard one.
 */
#ifndef TESTS_SIM_RELAY_NODE_H
#define TESTS_SIM_RELAY_NODE_H

#include "base/uuid.h"
#include "net.h"
#include "stun/stun.h"

enum {
	RELAY_PORT = 3478,
	RELAY_ALLOCATIONS = 16,
	RELAY_CHANNELS = 512, /* per allocation */
	RELAY_TEXT = 64,
};

struct relay_channel {
	uint16_t number;
	struct endpoint peer;
	uint64_t until_us;
};

struct relay_allocation {
	bool in_use;
	struct endpoint client, ours; /* the 5-tuple */
	char username[RELAY_TEXT];
	uint16_t port;
	uint64_t until_us;
	struct relay_channel channels[RELAY_CHANNELS];
	unsigned n_channels;
};

struct relay_node {
	struct net *net;
	struct host *host;
	struct uuid id;
	uint64_t secret; /* passwords follow from it */
	uint64_t nonce;
	bool standard; /* answers as coturn does */
	bool up;
	uint16_t refuse; /* error for each Allocate: 486, 508; 0: none */
	uint16_t next_port;
	struct relay_allocation allocations[RELAY_ALLOCATIONS];
	uint64_t relayed;
};

/* @r is all zero. */
void relay_node_init(struct relay_node *r, struct net *net, struct host *host, uint64_t secret);

/* What it says as NONCE now. */
void relay_node_nonce(const struct relay_node *r, char out[RELAY_TEXT]);

/* All allocations are lost; with a new secret all passwords too. */
void relay_node_restart(struct relay_node *r, bool new_secret);

/* The relay at this address knows other nonces from now on. */
void relay_node_stale(struct relay_node *r);

/* The password that belongs to a username; NUL-terminated. */
void relay_node_password(const struct relay_node *r, const char *username, char out[RELAY_TEXT]);

struct endpoint relay_node_address(const struct relay_node *r, uint8_t family);

#endif
