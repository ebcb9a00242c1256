/*
 * What the files of the loop room share. Not for other rooms.
 */
#ifndef LOOP_INTERNAL_H
#define LOOP_INTERNAL_H

#include <event2/bufferevent.h>
#include <event2/event.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include "dns/forwarder.h"
#include "dns/resolver.h"
#include "gateway/gateway.h"
#include "helper_client.h"
#include "loop/loop.h"
#include "portal/channel.h"
#include "portal/url.h"
#include "sockets/factory.h"
#include "sockets/netlink.h"
#include "sockets/network.h"
#include "sockets/roam.h"
#include "sockets/way.h"

enum {
	RX_BATCH = 32, /* datagrams of one recvmmsg */
	RX_BUFFER = 65536,
	RX_HEADROOM = TXQ_HEADROOM,
	RX_ROUNDS = 4, /* recvmmsg calls of one wake-up */
	RX_CONTROL = 128,
	MAX_PACKETS = RX_BATCH * 64, /* a received buffer holds at most 64 datagrams */
	TUN_READS = 16,              /* of one wake-up */
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
	struct event *readable, *writable, *reopen;
	bool no_gso, blocked;
	unsigned int reopen_s;          /* the next wait before another attempt */
	uint64_t opened_us, failing_us; /* failing: since when no send succeeded; 0: they do */
	/* A batch that met a full socket buffer; the next one goes when it is writable. */
	struct txq_batch waiting;
	struct ip_addr waiting_source;
};

struct rx_ring {
	struct mmsghdr msgs[RX_BATCH];
	struct iovec iovs[RX_BATCH];
	struct sockaddr_storage addrs[RX_BATCH];
	uint8_t control[RX_BATCH][RX_CONTROL];
	uint8_t *memory;
	struct gateway_datagrams parsed[RX_BATCH];
};

/* A destination of the loop's own. */
struct watched {
	struct endpoint dst; /* ip.family IP_NONE: none */
	struct way way;
};

/* Who asked for an exchange. */
enum dns_asker {
	DNS_ASKER_RESOLVER,
	DNS_ASKER_FORWARDER,
	DNS_ASKER_RANKING,
	DNS_ASKERS,
};

/* A file that the names come from, kept open: fstat() says if it was changed or replaced since. */
struct names_file {
	bool open;
	int fd;
	int64_t size;
	uint64_t links, modified_us, changed_us; /* changed_us 0: look again in any case */
};

struct dns_io;  /* dns_io.c */
struct forward; /* forward.c */

struct dial {
	struct loop *l;
	int fd; /* -1: free */
	struct event *writable;
	struct ip_addr addr;
	struct factory_route route;
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
	struct watched peer; /* the portal we are connected to; pinned in the route cache */
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
	/* routes */
	int nl_lookup, nl_events;
	uint32_t nl_seq;
	struct event *nl_event;
	struct network *network;
	struct roam roam;
	struct watched servers[RESOLVER_MAX_SERVERS];
	size_t n_servers;
	uint64_t roamed_us;        /* 0: never */
	struct ip_addr dead_local; /* a send said so; the core hears of it after the step */
	/* DNS */
	struct dns_io *dns;
	uint64_t files_read_us, files_check_us; /* 0: never */
	struct names_file names_files[2];       /* by enum ipc_file */
	struct forward *forward;
	/* life */
	uint64_t timer_at_us;             /* what the timer is set to */
	uint64_t clock_at_us, stop_at_us; /* next wall-clock tick; end of the shutdown's wait */
	bool metrics;                     /* the operator wants the page */
	bool no_gso;                      /* the operator's wish */
	bool network_lost;                /* nothing leaves any more */
	bool firewall_hint;
	bool names_asked; /* a name server was, since the files were read */
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
/* After a roam: what was learnt of the old network is forgotten, a missing family tried again. */
void udp_renew(struct loop *l);
/* Fresh sockets from the helper, on the same ports where these are free. */
void udp_reopen(struct loop *l);
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
/* Flushes that waited, and the comparison that roam_run() makes. */
void routes_timeout(struct loop *l);
uint64_t routes_deadline(const struct loop *l);
void routes_close(struct loop *l);

/* roam.c: compare how everything leaves now with what was in force, and move if it differs. */
/* As it leaves now is in force. */
void roam_watch(struct loop *l, struct watched *w);
void roam_watch_servers(struct loop *l);
void roam_run(struct loop *l);
/* The same without being asked by an event, with fresh sockets: SIGHUP. */
void roam_forced(struct loop *l);

/* dns_io.c: exchanges with name servers, for all who ask. */
struct dns_io *dns_io_new(struct loop *l);
void dns_io_free(struct dns_io *io);
/* False if the question cannot be sent: nothing more will come. Else dns_io tells the asker. */
bool dns_io_start(struct dns_io *io, enum dns_asker who, const struct dns_exchange *x);
void dns_io_stop(struct dns_io *io, enum dns_asker who, uint32_t id);
/* New sockets for the next questions: after a roam, or when a family came up. */
void dns_io_refill(struct dns_io *io);

/* names.c: the resolver's questions, answers and files. */
void names_reply(struct loop *l, const struct dns_reply *reply);
/* If the servers are others than before, all who watch them are told. */
void names_read_files(struct loop *l);
/* Have the files changed? At the latest 30 s after they did, where anybody asks. */
void names_timeout(struct loop *l);
uint64_t names_deadline(const struct loop *l);
/* The same before a lookup, unless it was done a moment ago: the host may have moved to another
 * network meanwhile. */
void names_refresh(struct loop *l);
/* True if there was anything to carry out. */
bool names_settle(struct loop *l);
void names_close(struct loop *l);

/* forward.c: the name servers' ranking, and the clients' questions to the tunnel address. */
struct forward *forward_new(struct loop *l);
void forward_free(struct forward *f);
void forward_reply(struct loop *l, enum dns_asker who, const struct dns_reply *reply);
/* The TUN has these addresses now: (re)open the listeners. */
void forward_listen(struct loop *l, const struct ip_addr *v4, const struct ip_addr *v6);
/* The servers of resolv.conf may be others. */
void forward_servers_changed(struct loop *l);
/* The network is another one: questions under way are answered with SERVFAIL, the servers ranked
 * anew. */
void forward_roam(struct loop *l);
void forward_timeout(struct loop *l);
uint64_t forward_deadline(const struct loop *l);
bool forward_settle(struct loop *l);
void forward_counters(const struct loop *l, struct forwarder_counters *out);

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

/* metrics.c: everything that is counted, as Prometheus reads it. No addresses, no names. */
void metrics_write(struct loop *l, struct evbuffer *out);

/* health.c */
struct health *health_new(struct loop *l, int fd);
void health_free(struct health *h);

/* summary.c */
void loop_summary(struct loop *l);

#endif
