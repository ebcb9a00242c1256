/*
 * A client: the other side of ICE and WireGuard from our own rooms, with relays of its own. It asks
 * the portal for its resources, sends to them all the time and begins anew after a roam.
 */
#ifndef TESTS_SIM_CLIENT_NODE_H
#define TESTS_SIM_CLIENT_NODE_H

#include "base/rng.h"
#include "base/secret.h"
#include "ice/ice.h"
#include "net.h"
#include "portal_node.h"
#include "turn/turn.h"
#include "wireguard/wg.h"

struct world;

enum {
	CLIENT_PORT = 52625,
	CLIENT_NAME = 48,
	CLIENT_NEWS = 16, /* candidates in one message */
};

struct client_relay {
	struct turn *turn; /* NULL: none */
	uint64_t again_us; /* a dropped one is tried again */
};

struct client_news {
	char texts[CLIENT_NEWS][CANDIDATE_TEXT_MAX];
	size_t n;
};

struct client_node {
	struct world *world;
	struct host *host;
	unsigned index;
	struct uuid id;
	char username[CLIENT_NAME];
	struct rng_seeded seed;
	struct rng rng;
	struct wg *wg;
	struct wg_peer *peer; /* with @ice: the connection, NULL while there is none */
	struct ice *ice;
	struct client_relay relays[PORTAL_RELAYS];
	int chosen; /* relay of the connection, or -1 */
	uint64_t chosen_us;
	struct ice_path path;
	bool has_path;
	bool created[TRUTH_RESOURCES]; /* the portal says that it may */
	bool had[TRUTH_RESOURCES];     /* once */
	uint64_t asked_us[TRUTH_RESOURCES];
	bool wants[TRUTH_RESOURCES];
	bool sends_all; /* to resources too that it was never granted */
	bool off;       /* by the user */
	bool keen;      /* begins anew as soon as the network is back */
	struct client_news announced, withdrawn;
	uint64_t tick_at_us, connected_us;
	uint64_t resumed_us; /* the last pause was over */
	uint64_t sessions, resets;
};

void client_node_new(struct client_node *c, struct world *world, unsigned index, struct host *host,
		     uint64_t seed);
void client_node_free(struct client_node *c);
const uint8_t *client_node_key(const struct client_node *c);

/* From the portal. */
void client_node_created(struct client_node *c, unsigned resource,
			 const struct portal_credentials *credentials);
void client_node_ended(struct client_node *c, unsigned resource);
void client_node_candidates(struct client_node *c, bool add, char (*texts)[CANDIDATE_TEXT_MAX],
			    size_t n);
void client_node_relays(struct client_node *c);

/* Its network has changed: new keys, new allocations, a new connection. */
void client_node_reset(struct client_node *c);

/* A pause is over: the first packet comes from it or from a resource. */
void client_node_resume(struct client_node *c, bool from_resource);
/* Every resource sends it a packet, whether it may or not. */
void client_node_unasked(struct client_node *c);
/* Send a packet in the name of another client. */
void client_node_forge(struct client_node *c, unsigned in_name_of, unsigned resource);

uint64_t client_node_deadline(const struct client_node *c);
void client_node_timeout(struct client_node *c);

#endif
