/*
 * A gateway with everything around it played by the test: one relay that speaks STUN, one client with a controlling ICE
 * end and its own WireGuard interface, a portal's messages, a TUN that collects packets.
 */
#ifndef TESTS_UNIT_GATEWAY_WORLD_H
#define TESTS_UNIT_GATEWAY_WORLD_H

#include "gateway/gateway.h"
#include "stun/stun.h"
#include "wireguard/wg.h"

enum {
	WORLD_MAX_SENT = 128,
	WORLD_MAX_PACKETS = 64,
	WORLD_BUFFER = 2048,
};

struct datagram {
	struct txq_key key;
	uint8_t data[WORLD_BUFFER];
	size_t len;
};

struct world {
	struct gateway *g;
	struct txq *txq;
	struct secret_arena *arena;
	struct coalescer *tun;
	struct rng_seeded seed, client_seed;
	struct wg *client_wg;		/* the client's end */
	struct wg_peer *client_peer;
	uint64_t now_us, wall_us;
	struct datagram sent[WORLD_MAX_SENT];
	size_t n_sent;
	uint8_t packets[WORLD_MAX_PACKETS][WORLD_BUFFER];
	size_t packet_len[WORLD_MAX_PACKETS], n_packets;
	/* what the portal was told */
	unsigned int authorized, no_relays, announced, invalidated, tun_set;
	char last_candidate[512];
	struct endpoint relay, relayed, host, client;
};

struct world *world_new(void);
void world_free(struct world *w);

/* Collect what the core says; forget what was collected. */
void world_look(struct world *w);
void world_forget(struct world *w);
void world_advance(struct world *w, uint64_t us);

/* Portal messages. */
void world_init(struct world *w, bool with_relay);
void world_authorize(struct world *w, const char *resource_id, const char *prefix, int64_t expires_at);
void world_reject(struct world *w, const char *resource_id);
void world_client_candidate(struct world *w, const char *text);

/* Play the relay until it has nothing to answer. */
void world_relay_answers(struct world *w);

/* The client's check of the direct path; true if a signed answer came to it. */
bool world_client_check(struct world *w, bool nominate);

/* Handshake of the client, confirmation included; true if the gateway answered. */
bool world_handshake(struct world *w);

/* An inner packet from the client; one towards it from the TUN. */
void world_from_client(struct world *w, const uint8_t *packet, size_t len);
void world_from_tun(struct world *w, uint8_t *packet, size_t len);

/* Opens what went to the client as WireGuard data; false when there is none. */
bool world_client_receives(struct world *w, uint8_t *packet, size_t *len);

/* A datagram at the gateway's socket. */
void world_datagram(struct world *w, const struct endpoint *src, const uint8_t *data, size_t len);

#endif
