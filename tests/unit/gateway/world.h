/*
 * A gateway with everything around it played by the test: one relay that speaks STUN, one client
 * with a controlling ICE end and its own WireGuard interface, a portal's messages, a TUN that
 * collects packets.
 */
#ifndef TESTS_UNIT_GATEWAY_WORLD_H
#define TESTS_UNIT_GATEWAY_WORLD_H

#include "gateway/gateway.h"
#include "stun/stun.h"
#include "wireguard/wg.h"

enum {
	WORLD_MAX_SENT = 1024,
	WORLD_MAX_PACKETS = 64,
	WORLD_BUFFER = 2048,
	WORLD_MAX_HEARD = 32,
	WORLD_LATER = 1790003600, /* an expiry that is far enough */
	WORLD_PING_LEN = 36,
};

#define WORLD_LAB "31111111-2222-4333-8444-555555555555"

/* What the injected lookup says of every destination of a family. */
struct world_net {
	struct ip_addr source[2], gateway[2]; /* v4, v6; IP_NONE: no route */
	uint32_t ifindex;
	struct ip_addr relay_source[2]; /* the relays' addresses leave by this one instead */
};

struct datagram {
	struct txq_key key;
	uint8_t data[WORLD_BUFFER];
	size_t len;
};

/* A client as the portal knows it. */
struct world_who {
	const char *id, *ufrag, *pwd, *gateway_ufrag, *gateway_pwd, *v4, *v6;
};

/* A client's end: its interface and where it sends from. */
struct world_end {
	struct world_who who;
	struct wg *wg;
	struct wg_peer *peer;
	struct endpoint at;
	struct rng_seeded seed;
};

struct world {
	struct gateway *g;
	struct txq *txq;
	struct secret_arena *arena;
	size_t n_slots; /* of the arena */
	struct coalescer *tun;
	struct factory *factory; /* NULL unless the world began with world_roaming() */
	struct rng_seeded factory_seed;
	struct world_net net;
	unsigned int lookups;
	struct rng_seeded seed, client_seed;
	unsigned int restarts;
	struct wg *client_wg; /* the client's end */
	struct wg_peer *client_peer;
	struct world_who who;
	struct world_end other; /* a second client, if there is one */
	uint64_t now_us, wall_us;
	bool mute_relay;            /* the relay answers nothing */
	void (*around)(bool enter); /* each call on the gateway, if there is somebody who counts */
	struct ip_addr own;         /* an address of the host's that no candidate of ours names */
	struct datagram sent[WORLD_MAX_SENT];
	size_t n_sent;
	uint8_t packets[WORLD_MAX_PACKETS][WORLD_BUFFER];
	size_t packet_len[WORLD_MAX_PACKETS], n_packets;
	/* what the portal was told */
	unsigned int authorized, no_relays, announced, invalidated, tun_set;
	unsigned int announcements, invalidations; /* messages */
	char last_candidate[512];
	char heard[2][WORLD_MAX_HEARD][160]; /* announced, invalidated */
	unsigned int n_heard[2];
	struct ip_addr tun_v4;
	struct endpoint relay, relay6, relayed, host, host6, client;
	bool two_families;              /* the relay is known by both addresses */
	struct endpoint allocated_from; /* source of the latest Allocate */
};

struct world *world_new(void);
/* A second client, which keeps quiet until the two change places. */
void world_second(struct world *w, const struct world_who *who, const char *at);
void world_swap(struct world *w);
/* The client's program begins anew; its key is another one. */
void world_restart_client(struct world *w);
/* The active client's flow, candidate, path and session. */
void world_connect_client(struct world *w);
/* With a route cache that asks w->net. */
struct world *world_roaming(uint32_t max_clients);
void world_free(struct world *w);

/* Collect what the core says; forget what was collected. */
void world_look(struct world *w);
void world_forget(struct world *w);
void world_advance(struct world *w, uint64_t us);
void world_step(struct world *w, uint64_t us); /* keeps what was sent meanwhile */

/* Portal messages. */
void world_init(struct world *w, bool with_relay);
void world_authorize(struct world *w, const char *resource_id, const char *prefix,
		     int64_t expires_at);
void world_reject(struct world *w, const char *resource_id);

/* The same with members of the client's choice; NULL: as world_authorize() has them. */
struct world_flow {
	const char *client, *resource, *prefix, *v4, *v6, *gateway_ufrag, *gateway_pwd,
	    *client_ufrag, *client_pwd;
	const uint8_t *key, *psk; /* 32 bytes */
	int64_t expires_at;
};
void world_flow(struct world *w, const struct world_flow *flow);

/* Any other message of the portal; the channel that comes and goes. */
void world_message(struct world *w, const char *event, const char *payload);
void world_joined(struct world *w, bool joined);

/* The clock tick that the loop gives each second. */
void world_clock(struct world *w);
void world_client_candidate(struct world *w, const char *text);

/* Play the relay until it has nothing to answer; the other one keeps what was sent. */
void world_relay_plays(struct world *w);
void world_relay_answers(struct world *w);

/* The client's check of the direct path; true if a signed answer came to it. */
bool world_client_check(struct world *w, bool nominate);

/* The same from anywhere, with other credentials of the gateway. */
bool world_check_from(struct world *w, const struct endpoint *src, const char *ufrag,
		      const char *pwd, bool nominate);
/* The client's check as bytes. */
size_t world_check(const struct world *w, uint8_t *buf, size_t cap, struct stun_txid *txid,
		   const char *ufrag, const char *pwd, bool nominate);

/* Handshake of the client, confirmation included; true if the gateway answered. */
bool world_handshake(struct world *w);

/* Everything up to a session over a direct path that works. */
void world_connect(struct world *w);

/* An echo request or reply with 8 bytes of data, checksums in place. */
void world_ping(uint8_t out[WORLD_PING_LEN], const uint8_t src[4], const uint8_t dst[4],
		uint8_t type);

/* The same of @len bytes in all. */
void world_big_ping(uint8_t *out, size_t len, const uint8_t src[4], const uint8_t dst[4],
		    uint8_t type, uint8_t tos, bool fragment);

/* The data message that the client makes of a packet; its length. */
size_t world_sealed(struct world *w, const uint8_t *packet, size_t len, uint8_t *out);

/* An inner packet from the client; one towards it from the TUN. */
void world_from_client(struct world *w, const uint8_t *packet, size_t len);
void world_from_tun(struct world *w, uint8_t *packet, size_t len);

/* Opens what went to the client as WireGuard data; false when there is none. */
bool world_client_receives(struct world *w, uint8_t *packet, size_t *len);

/* The client's interface hears what was sent to it and says what is due; what follows from that is
 * in w->sent. */
void world_client_turn(struct world *w);

/* The client's next handshake initiation as bytes. */
size_t world_initiation(struct world *w, uint8_t *out, size_t cap);

/* Whether the portal was told of a candidate that has @part in its text. */
bool world_heard(const struct world *w, bool invalidated, const char *part);

/* Any input, and what comes of it. */
void world_handle(struct world *w, const struct gateway_input *in);

/* Buffers as GRO gives them: datagrams of @segment bytes. */
void world_gro(struct world *w, const struct endpoint *src, const uint8_t *data, size_t len,
	       size_t segment, uint8_t ecn);

/* A datagram at the gateway's socket. */
void world_datagram(struct world *w, const struct endpoint *src, const uint8_t *data, size_t len);

#endif
