/*
 * What the files of the loop room share. Not for other rooms.
 */
#ifndef LOOP_INTERNAL_H
#define LOOP_INTERNAL_H

#include <event2/bufferevent.h>
#include <event2/event.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include "dns/resolver.h"
#include "gateway/gateway.h"
#include "helper_client.h"
#include "loop/loop.h"
#include "portal/channel.h"
#include "portal/url.h"
#include "sockets/factory.h"
#include "sockets/netlink.h"

enum {
	RX_BATCH = 32, /* datagrams of one recvmmsg */
	RX_BUFFER = 65536,
	RX_HEADROOM = TXQ_HEADROOM,
	RX_ROUNDS = 4, /* recvmmsg calls of one wake-up */
	RX_CONTROL = 128,
	MAX_PACKETS = RX_BATCH * 64, /* a received buffer holds at most 64 datagrams */
	TUN_READS = 16,              /* of one wake-up */
	KNOWN_LINKS = 256,
	DNS_POOL = 16,
	DNS_QUERIES = 2 * RESOLVER_MAX_INFLIGHT,
	MAX_DIALS = 8,
	HEALTH_CONNECTIONS = 8,
	DEFAULT_MAX_CLIENTS = 4096,
};

/* One peer socket. */
struct udp {
	struct loop *l;
	int fd; /* -1: the host has no such family */
	uint8_t family;
	uint16_t port;
	struct event *readable, *writable;
	bool no_gso, blocked;
};

struct rx_ring {
	struct mmsghdr msgs[RX_BATCH];
	struct iovec iovs[RX_BATCH];
	struct sockaddr_storage addrs[RX_BATCH];
	uint8_t control[RX_BATCH][RX_CONTROL];
	uint8_t *memory;
	struct gateway_datagrams parsed[RX_BATCH];
};

struct link_name {
	uint32_t ifindex, flags;
	char name[16];
	bool carrier;
};

struct dns_query {
	struct loop *l;
	uint32_t query; /* 0: free */
	int fd;
	struct event *readable;
};

struct dial {
	struct loop *l;
	int fd; /* -1: free */
	struct event *writable;
	struct ip_addr addr;
};

struct portal_io {
	struct portal_channel *channel;
	struct portal_url url;
	char target[2048], user_agent[BOOT_USER_AGENT_SIZE];
	char *token; /* in secret slots */
	SSL_CTX *tls;
	struct dial dials[MAX_DIALS];
	struct event *dial_timeout;
	bool resolving;
	uint64_t lookup_token;
	char why[160]; /* why the last dial failed */
	struct bufferevent *bev, *closing;
	struct ip_addr last_good[RESOLVER_MAX_ADDRESSES];
	size_t n_last_good;
	struct ip_addr pinned; /* in the route cache: the portal we are connected to */
};

struct health;

struct loop {
	struct log *log;
	struct event_base *base;
	struct helper_client helper;
	struct event *helper_event, *timer, *signals[5];
	struct secret_arena *arena;
	struct gateway *gateway;
	struct txq *txq;
	struct factory *factory;
	struct resolver *resolver;
	struct portal_io portal;
	struct health *health;
	/* TUN */
	int tun_fd;
	uint32_t tun_ifindex;
	struct event *tun_event;
	uint8_t *tun_buffer;
	struct coalescer *coalescer;
	bool tun_configured, tun_retry;
	struct ip_addr tun_v4, tun_v6;
	uint64_t tun_writes, tun_write_packets, tun_write_errors, tun_reads;
	/* UDP */
	struct udp udp[2];
	struct rx_ring rx;
	uint64_t rx_calls, rx_messages, tx_calls, tx_datagrams, tx_bytes, tx_dropped;
	bool firewall_hint;
	/* routes */
	int nl_lookup, nl_events;
	uint32_t nl_seq;
	struct event *nl_event;
	struct link_name links[KNOWN_LINKS];
	size_t n_links;
	/* DNS */
	int dns_pool[2][DNS_POOL];
	unsigned int dns_pooled[2];
	struct dns_query dns_queries[DNS_QUERIES];
	uint64_t files_read_us; /* 0: never */
	/* life */
	uint64_t timer_at_us;             /* what the timer is set to */
	uint64_t clock_at_us, stop_at_us; /* next wall-clock tick; end of the shutdown's wait */
	bool stopping;
	int status;
};

uint64_t now_us(void);
uint64_t wall_us(void);

/* Carry out what the core wants after any event: the end of every callback. */
void loop_settle(struct loop *l);

/* End with @status; @reason (may be NULL) is logged as the operator's error. */
void loop_stop(struct loop *l, int status, const char *reason);

/* addr.c: between the core's endpoints and the system's. */
socklen_t sockaddr_of(struct sockaddr_storage *out, const struct endpoint *ep);
bool endpoint_of(struct endpoint *out, const struct sockaddr_storage *ss);
void bytes_of(uint8_t out[16], const struct ip_addr *ip);

/* udp.c */
MUST_CHECK int udp_open_all(struct loop *l);
void udp_flush(void *ctx, const struct txq_batch *batch);
void udp_close_all(struct loop *l);

/* send.c: control messages for one datagram or a segmented run. */
int send_from(int fd, const struct endpoint *src, const struct endpoint *dst, uint8_t ecn,
	      const uint8_t *data, size_t len, size_t segment);

/* tun.c */
MUST_CHECK int tun_open(struct loop *l);
void tun_flush(struct loop *l);
void tun_configure(struct loop *l, const struct ip_addr *v4, const struct ip_addr *v6);
void tun_pause(struct loop *l, bool pause);

/* routes.c */
MUST_CHECK int routes_open(struct loop *l);
void routes_lookup(void *ctx, const struct ip_addr *dst, uint32_t scope,
		   struct factory_lookup *out);
void routes_close(struct loop *l);

/* names.c: the resolver's sockets and files. */
void names_refill(struct loop *l);
void names_read_files(struct loop *l);
/* The same before a lookup, unless it was done a moment ago: the host may have moved to another
 * network meanwhile. */
void names_refresh(struct loop *l);
/* True if there was anything to carry out. */
bool names_settle(struct loop *l);
void names_close(struct loop *l);

/* portal_io.c */
MUST_CHECK int portal_open(struct loop *l, const struct boot *boot, char *err, size_t err_len);
bool portal_settle(struct loop *l);
void portal_resolved(struct loop *l, const struct resolver_out *answer);
void portal_in(struct loop *l, enum portal_in_kind kind, const char *reason);
bool portal_flushed(const struct loop *l);
void portal_close(struct loop *l);

/* tls.c */
SSL_CTX *tls_new(const struct boot *boot, char *err, size_t err_len);
SSL *tls_client(SSL_CTX *ctx, const char *host);

/* health.c */
struct health *health_new(struct loop *l, int fd);
void health_free(struct health *h);

/* summary.c */
void loop_summary(struct loop *l);

#endif
