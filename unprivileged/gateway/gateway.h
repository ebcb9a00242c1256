/*
 * The core: one object that joins relays, connections, WireGuard, authorizations and the portal's
 * messages. A program without sockets, clocks or threads can link and drive it.
 *
 * Time is monotonic microseconds, given with every call. Datagrams leave by the caller's struct txq
 * as they arise; packets for the TUN by the caller's coalescer; messages for the portal and the
 * TUN's addresses by gateway_poll(). After each gateway_handle() or packet call the caller drains
 * gateway_poll(), flushes the txq and asks gateway_deadline() again.
 */
#ifndef GATEWAY_GATEWAY_H
#define GATEWAY_GATEWAY_H

#include "base/defs.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/secret.h"
#include "gateway/txq.h"
#include "packet/gso.h"
#include "portal/messages.h"
#include "sockets/factory.h"

struct gateway;

enum {
	/* One place less than WireGuard has: a connection that replaces another is made first. */
	GATEWAY_MAX_CLIENTS = 16383,
	GATEWAY_MAX_UDP_PAYLOAD =
	    1316, /* longer datagrams are dropped unread [spec connections 11] */
	GATEWAY_IDLE_S = 20,
	GATEWAY_SECRETS_PER_CLIENT = 4, /* arena slots */

	/* Packets that wait for the session of a client that has a path: of one client, of all. The
	 * newest is dropped. */
	GATEWAY_HELD_PACKETS = 256,
	GATEWAY_HELD_BYTES = 65536,
	GATEWAY_HELD_BYTES_ALL = 4 << 20,
};

/*
 * Heap bytes that one client makes the core hold, its sessions' keys and windows (crypto state, at
 * most WG_SESSIONS of them) and its secret slots apart, and with one authorization; each further
 * one costs GATEWAY_BYTES_PER_GRANT. Idle: connected and without anything under way. Worst: every
 * table that the client can fill is full.
 */
enum {
	GATEWAY_BYTES_IDLE = 4096,
	GATEWAY_BYTES_WORST = GATEWAY_HELD_BYTES + 49152,
	GATEWAY_BYTES_PER_GRANT = 512,
};

struct gateway_config {
	uint32_t max_clients; /* at most GATEWAY_MAX_CLIENTS */
	uint64_t unix_us;     /* wall clock at @now_us of gateway_new() */
	struct rng rng;
	struct secret_arena *arena; /* the caller's, outlives the gateway */
	struct txq *txq;            /* the caller's, outlives the gateway */
	/* The caller's, outlives the gateway; tells how each relay and path leaves. NULL: sources
	 * are the caller's business, and there are no roams. */
	struct factory *factory;
	struct log *log; /* may be NULL */
	/* True if @ip is an address of this host, whatever the interface: no client may make us
	 * send to it. NULL: not known. */
	bool (*is_own_address)(void *ctx, const struct ip_addr *ip);
	void *own_address_ctx;
};

struct gateway *gateway_new(const struct gateway_config *cfg, uint64_t now_us);
void gateway_free(struct gateway *g);

/* The X25519 public key of this process, for the portal's URL. */
const uint8_t *gateway_public_key(const struct gateway *g);

enum gateway_input_kind {
	GATEWAY_IN_PORTAL_MESSAGE, /* one parsed message; stays the caller's */
	GATEWAY_IN_PORTAL_JOINED,
	GATEWAY_IN_PORTAL_LOST,
	GATEWAY_IN_ROAM,       /* carry out what the last gateway_egress() found */
	GATEWAY_IN_LOCAL_DEAD, /* this local address is no more: candidates on it are withdrawn */
	GATEWAY_IN_SOCKET,     /* a family has a new socket */
	GATEWAY_IN_CLOCK,      /* wall clock; at least once a second and after a step */
	GATEWAY_IN_SHUTDOWN,   /* goodbye to every client, deallocation to every relay */
	GATEWAY_IN_TIMEOUT,
};

struct gateway_input {
	enum gateway_input_kind kind;
	union {
		const struct portal_msg *message;
		uint64_t wall_us;
		struct ip_addr local_dead;
		struct {
			uint8_t family; /* IP_V4 or IP_V6 */
			uint16_t was_port,
			    port; /* the same one: its mappings and allocations live on */
		} socket;
	} u;
};

void gateway_handle(struct gateway *g, const struct gateway_input *in, uint64_t now_us);

enum gateway_output_kind {
	GATEWAY_OUT_PORTAL, /* a message for the portal; only while it is joined */
	GATEWAY_OUT_TUN,    /* set these addresses on the TUN */
};

struct gateway_output {
	enum gateway_output_kind kind;
	union {
		struct portal_send portal; /* texts are valid until the next call on the gateway */
		struct {
			struct ip_addr v4, v6;
		} tun;
	} u;
};

bool gateway_poll(struct gateway *g, struct gateway_output *out);
uint64_t gateway_deadline(const struct gateway *g);

/*
 * One received buffer: datagrams of @segment bytes back to back (the last may be shorter) from one
 * source to one local address. The core decrypts in place and uses TXQ_HEADROOM bytes before @data
 * as scratch.
 */
struct gateway_datagrams {
	uint8_t *data;
	size_t len, segment;
	struct endpoint src,
	    dst; /* dst.ip is the datagram's destination address; IP_NONE: dropped */
	uint8_t ecn;
};

/* What came from the network; packets for the TUN go into @tun, whose room for packets the caller
 * has made sure of. */
void gateway_udp_in(struct gateway *g, const struct gateway_datagrams *in, size_t n,
		    struct coalescer *tun, uint64_t now_us);

/* One TUN read behind its vnet header. */
void gateway_tun_in(struct gateway *g, const struct vnet_hdr *hdr, uint8_t *data, size_t len,
		    uint64_t now_us);

/* After the last packet call of one wake-up: timers and messages that the packets made due. */
void gateway_packets_done(struct gateway *g, uint64_t now_us);

/*
 * How the live destinations (relays, nominated direct paths) leave now, compared with what was in
 * force. [spec socket-factory 4.6]
 *
 * Looks each one up, and remembers what it found for GATEWAY_IN_ROAM; nothing else changes. When
 * everything is lost, what was in force stays in force: there is nothing to roam to.
 */
struct gateway_egress {
	uint32_t live;     /* destinations that had a way out or have one now */
	uint32_t kept;     /* the same source as before */
	uint32_t rerouted; /* of those, by another interface or gateway */
	uint32_t moved;    /* by another source, or again by one */
	uint32_t lost;     /* had a way and has none */
	struct ip_addr was[2],
	    now[2]; /* v4, v6: of the first one that moved or was lost; for the log */
};
void gateway_egress(struct gateway *g, struct gateway_egress *out, uint64_t now_us);

/* The connected client with this tunnel address of either family. */
bool gateway_client_at(const struct gateway *g, const struct ip_addr *tunnel, struct uuid *client);

/* Datagrams and messages that came too early, too late or not for us. [spec connections 14 row 11]
 */
enum gateway_drop {
	GATEWAY_DROP_UNKNOWN_CLIENT, /* candidates for nobody */
	GATEWAY_DROP_CANDIDATE,      /* a candidate that nobody may name, or too many of them */
	GATEWAY_DROP_NO_PKTINFO,     /* a datagram whose destination is unknown */
	GATEWAY_DROP_OVERSIZE,       /* longer than GATEWAY_MAX_UDP_PAYLOAD */
	GATEWAY_DROP_REMOVED_RELAY,  /* from a relay that is none any more */
	GATEWAY_DROP_CHANNEL,        /* by a channel that is not bound or not confirmed */
	GATEWAY_DROP_UNKNOWN_INDEX,  /* WireGuard data for no session of ours */
	GATEWAY_DROP_UNKNOWN_CHECK,  /* STUN that belongs to no connection */
	GATEWAY_DROP_UNRECOGNIZED,   /* neither STUN nor WireGuard nor a relay's */
	GATEWAY_DROP_NEWS,           /* more candidate changes than wait for the portal */
	GATEWAY_DROPS
};

/* "unknown-client", "oversize" ...: what logs and metrics call it. */
const char *gateway_drop_name(enum gateway_drop why);

/* For logs, status and tests. */
struct gateway_snapshot {
	/* connected: has a path now, which is direct or leads through a relay of ours. */
	uint32_t clients, connections, connected, direct, relayed, idle, relays, relays_ready,
	    grants;
	uint64_t to_tun_packets, from_tun_packets, udp_datagrams;
	uint64_t drops; /* inner packets */
	uint64_t handshakes_ok, handshakes_refused, opened, open_refused, sealed, seal_refused;
	uint64_t held; /* packets that wait for a session now */
	uint64_t dropped[GATEWAY_DROPS];
};
void gateway_snapshot(const struct gateway *g, struct gateway_snapshot *out);

#endif
