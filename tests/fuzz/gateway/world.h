/*
 * What the parts of the gateway's fuzzer share: the core with all that it touches, and a model of
 * what may happen at most.
 */
#ifndef TESTS_FUZZ_GATEWAY_WORLD_H
#define TESTS_FUZZ_GATEWAY_WORLD_H

#include "base/rng.h"
#include "gateway/gateway.h"
#include "packet/bytes.h"
#include "wireguard/wg.h"

enum {
	CLIENTS = 4,
	PLACES = 3, /* for clients in the gateway: one too few */
	RESOURCES = 3,
	RELAYS = 3,
	SLOTS = 64, /* of the arena */
	EVENTS = 400,
	REMEMBERED = 16,
	MESSAGE = 640,
	BUFFER = 2048,
	COALESCE = 64,
	IPS = 12,
	OWN_OTHER = 5, /* index of an address of ours that is no candidate of ours */
	HOST_V4 = 7,   /* index of our own address */
	HOST_V6 = 8,
	PORT = 52625,
	RELAYED_PORT = 50000,
	OWN_ADDRESSES = 3,
	SAME_TIME = 64, /* time-outs until the deadline must have moved on */
};

struct message {
	uint8_t bytes[MESSAGE];
	size_t len;
	struct endpoint dst;
	struct endpoint src;
};

struct client {
	struct wg *wg;
	struct wg_peer *peer;
	struct rng_seeded seed;
};

struct grant {
	bool possible;
	int64_t expires_at;
};

struct world {
	struct gateway *g;
	struct txq *txq;
	struct coalescer *tun;
	struct secret_arena *arena, *client_arena;
	struct rng_seeded seed, factory_seed;
	struct client clients[CLIENTS];
	uint64_t now_us, wall_us;
	bool joined, shut_down, had_init;
	/* Where our datagrams arrive, v4 and v6, and what the kernel would choose to send from;
	 * family IP_NONE: it has no route. */
	struct factory *factory;
	struct endpoint host[2];
	struct ip_addr source[2];
	bool moved; /* what was our address may be somebody else's */
	/* What may happen, at most: each only ever errs on the generous side. */
	struct grant grants[CLIENTS][RESOURCES];
	bool has_addr[CLIENTS][CLIENTS + 1]; /* may have had this tunnel address */
	bool allowed[IPS];                   /* may be sent to */
	int cookie_to;                       /* index of the address whose handshake is in, or -1 */
	/* the gateway's latest requests to relays and checks to clients */
	struct message to_relay[REMEMBERED], checks[REMEMBERED];
	unsigned int n_to_relay, n_checks;
	unsigned int outputs;
	uint8_t room[TXQ_HEADROOM + BUFFER];
};

extern const char *const world_prefixes[RESOURCES]; /* of the resources; NULL: everything */
extern const char world_ours_pwd[], world_theirs_pwd[];
extern const uint8_t world_psk[32];

void world_set_up(struct world *w);
void world_tear_down(struct world *w);

struct ip_addr world_ip(const char *text);
struct uuid world_id(uint8_t kind, unsigned int n);
struct ip_addr world_tunnel_ip(uint8_t family, unsigned int n);

/* Addresses of the pool, by index; -1 if it is none of them. */
struct endpoint world_at(unsigned int ip, uint16_t port);
int world_ip_index(const struct ip_addr *ip);

/* An address of the pool with one of four ports; @sendable: one that a packet may come from. */
struct endpoint world_any_endpoint(struct reader *r, bool sendable);

/* A length of at most @max, of the bytes that follow: one byte, or two where more is possible. */
size_t world_length(struct reader *r, size_t max);

/* The network changes; what the loop does about it. */
void world_network(struct world *w, struct reader *r);
void world_egress(struct world *w);
void world_roam(struct world *w);
void world_local_dead(struct world *w, struct reader *r);
void world_socket(struct world *w, struct reader *r);

/* Look at everything that the core has to say. */
void world_drain(struct world *w);
void world_handle(struct world *w, const struct gateway_input *in);
void world_pass_time(struct world *w, uint64_t us);
/* The host sleeps: the clock goes on, no timer runs. */
void world_sleep(struct world *w, uint64_t us);

/* How a client's datagrams come: from which address, directly or through a channel. */
struct way {
	uint8_t how;
	struct endpoint src;
};
struct way world_way(struct reader *r);

/* A datagram at the gateway's socket; one of a client; any bytes, cut as GRO does. */
void world_deliver(struct world *w, const struct endpoint *src, const uint8_t *data, size_t len,
		   uint8_t ecn);
void world_from_client(struct world *w, const struct way *way, const uint8_t *data, size_t len);
void world_raw(struct world *w, struct reader *r);

/* peers.c: what relays, clients and the TUN do. */
void peers_relay(struct world *w, struct reader *r);
void peers_check(struct world *w, struct reader *r);
void peers_check_answer(struct world *w, struct reader *r);
void peers_wireguard(struct world *w, struct reader *r);
void peers_data(struct world *w, struct reader *r);
void peers_tun(struct world *w, struct reader *r);

/* portal.c: its messages. */
void portal_init_event(struct world *w, struct reader *r);
void portal_flow_event(struct world *w, struct reader *r);
void portal_candidates_event(struct world *w, struct reader *r, enum portal_msg_kind kind);
void portal_access_event(struct world *w, struct reader *r, enum portal_msg_kind kind);
void portal_resource_event(struct world *w, struct reader *r);
void portal_presence_event(struct world *w, struct reader *r);

#endif
