/*
 * The portal: decides who may reach what, tells the gateway and the clients of each other and of
 * the relays, and is away at times.
 */
#ifndef TESTS_SIM_PORTAL_NODE_H
#define TESTS_SIM_PORTAL_NODE_H

#include "portal/messages.h"
#include "truth.h"

struct world;

enum {
	PORTAL_RELAYS = 4,
	PORTAL_FLOWS = 64, /* at a time */
};

/* What both sides of one connection get. */
struct portal_credentials {
	struct portal_ice_credentials gateway, client;
	uint8_t psk[32];
	uint8_t client_key[32], gateway_key[32];
};

struct portal_node {
	struct world *world;
	uint64_t delay_us; /* one way, to everybody */
	uint64_t extra_us; /* more for the candidates of the gateway */
	uint64_t away_us;  /* when the gateway was lost */
	bool joined;       /* by the gateway */
	unsigned gateways; /* processes that are gone */
	uint32_t epoch;    /* of the gateway's connection; what was under way on another is lost */
	bool listed[PORTAL_RELAYS];
	bool allowed[TRUTH_CLIENTS][TRUTH_RESOURCES];
	bool known[TRUTH_CLIENTS][TRUTH_RESOURCES]; /* the gateway has acknowledged it */
	int64_t lifetime_s;                         /* of an authorization; 0: for ever */
	int64_t expires_at[TRUTH_CLIENTS][TRUTH_RESOURCES];
	uint32_t refs, acknowledged;
	uint8_t flow_keys[PORTAL_FLOWS][32]; /* the client's, by reference */
};

void portal_node_init(struct portal_node *p, struct world *world);

/* The gateway's connection comes up, or is lost for @us. */
void portal_node_join(struct portal_node *p);
void portal_node_outage(struct portal_node *p, uint64_t us);

/* Its process has ended: clients are told, and have to ask anew. */
void portal_node_gateway_gone(struct portal_node *p);

/* From the gateway, which has it only until this returns. */
void portal_node_send(struct portal_node *p, const struct portal_send *send);

/* From a client. */
void portal_node_request(struct portal_node *p, unsigned client, unsigned resource);
void portal_node_candidates(struct portal_node *p, unsigned client, bool add,
			    char (*texts)[CANDIDATE_TEXT_MAX], size_t n);

void portal_node_allow(struct portal_node *p, unsigned client, unsigned resource);
void portal_node_reject(struct portal_node *p, unsigned client, unsigned resource);
/* Ends @seconds from now instead. */
void portal_node_set_expiry(struct portal_node *p, unsigned client, unsigned resource,
			    int64_t seconds);

/* The set of relays changes by one. */
void portal_node_relay(struct portal_node *p, unsigned relay, bool listed);

/* A relay as it is told to the holder of @username. */
struct portal_relay portal_node_relay_entry(struct portal_node *p, unsigned relay,
					    const char *username);

#endif
