/*
 * What the files of the gateway room share: the object itself, connections, relays. Not for other
 * rooms.
 */
#ifndef GATEWAY_INTERNAL_H
#define GATEWAY_INTERNAL_H

#include "base/heap.h"
#include "gateway/gateway.h"
#include "ice/ice.h"
#include "sockets/way.h"
#include "tunnel/tunnel.h"
#include "turn/turn.h"
#include "wireguard/wg.h"

enum {
	MAX_RELAYS = PORTAL_MAX_RELAYS,
	REMEMBERED_RELAYS = 64, /* addresses of removed relays, for demultiplexing */
	MAX_NEWS = 64,          /* candidate changes of one connection that wait for the portal */
	MAX_SAID = 16,    /* withdrawals of one connection that the portal may not have heard */
	SAID_S = 40,      /* no portal connection is dead for longer without our knowing */
	MAX_OUTBOX = 256, /* acknowledgements that wait for gateway_poll() */
	FINGERPRINT_LEN = 32,
	CANDIDATE_BURST = 128, /* signalled candidates of one client; each makes us send to an
				  address of its choice */
	CANDIDATE_INTERVAL_MS = 50,
	PATH_LINES = 10, /* log lines on changes of one client's path */
	PATH_LINE_S = 10,
	WARN_LINES = 20, /* log lines that the portal's messages cause */
	WARN_LINE_S = 5,
};

/* A candidate change that the portal has not heard of yet. */
struct news {
	struct candidate candidate;
	bool removed;
};

/* The factory's choice for one destination, good for one generation; 0: none. */
struct egress_memo {
	uint64_t generation;
	struct ip_addr source;
};

/* What the portal was told last: its connection may have been dead by then. */
struct said {
	struct candidate withdrawn[MAX_SAID]; /* a ring */
	uint64_t withdrawn_us[MAX_SAID];      /* 0: none */
	size_t at;
};

/* One client's connection: path finding and session. Its authorizations live in the tunnel and
 * outlive it. */
struct conn {
	struct gateway *g;
	uint32_t slot; /* place in g->conns, key in g->timers */
	struct uuid client;
	uint8_t fingerprint[FINGERPRINT_LEN]; /* of everything that makes it reusable */
	struct ice *ice;
	struct wg_peer *wg;
	struct tunnel_client *tunnel; /* NULL once the authorizations are gone */
	struct relay *relay;          /* selected relay, NULL while there is none */
	struct ice_path path;
	struct way way; /* of a direct path */
	bool has_path, idle, failed, left /* the client said goodbye */;
	uint64_t last_packet_us;                    /* last IP packet either way */
	uint64_t candidates_paid_us, paths_paid_us; /* bucket_take() */
	struct news *news; /* room for MAX_NEWS, NULL while there are none */
	size_t n_news;
	struct said *said;     /* NULL until something is withdrawn */
	uint64_t announced_us; /* when the portal was last told of a candidate; 0: never */
	struct conn *next_by_id, *next_by_name;
	bool touched, has_news; /* queued in g->touched, g->with_news */
};

struct relay {
	struct turn *turn; /* NULL: the place is free */
	bool measured;
	struct way ways[2]; /* v4, v6 */
	struct egress_memo memos[2];
};

struct outbox_entry {
	char *flow_ref; /* NULL: no_relays */
};

struct gateway {
	struct gateway_config cfg;
	struct wg *wg;
	struct tunnel *tunnel;
	struct heap *timers; /* conns by slot, then relays, then the tunnel */
	struct conn **conns; /* by slot */
	uint32_t *free_slots;
	uint32_t n_free;
	struct conn **by_id, **by_name; /* buckets, chained */
	uint32_t n_buckets;             /* power of two */
	uint8_t hash_key[16], fingerprint_key[32];
	struct relay relays[MAX_RELAYS];
	struct ip_addr gone_relays[REMEMBERED_RELAYS];
	size_t n_gone;
	struct conn **touched, **with_news; /* work queues of this step, each conn at most once */
	uint32_t n_touched, n_with_news;
	struct outbox_entry outbox[MAX_OUTBOX];
	size_t outbox_head, outbox_len;
	struct ip_addr own_v4, own_v6, wanted_v4, wanted_v6; /* in use, and as `init` wants them */
	bool tun_changed, joined, wanted_relays;
	uint64_t tun_changed_us, warn_paid_us;
	uint64_t lost_us; /* when the portal was lost; 0: never */
	uint64_t now_us;
	/* gateway_poll()'s texts */
	char texts[MAX_NEWS][CANDIDATE_TEXT_MAX];
	const char *text_ptrs[MAX_NEWS];
	char *polled_ref;
	struct tunnel_reply reply;
	uint64_t to_tun_packets, from_tun_packets, udp_datagrams, dropped;
	uint16_t ports[2];  /* our own, v4 and v6; 0: not seen yet */
	bool away;          /* the last comparison found no way out at all */
	uint64_t memo_hits; /* not reported to the factory yet */
};

/*
 * A token bucket of @burst, one more each @interval_us, kept as the time until which it is used up.
 * False: empty.
 */
static inline bool bucket_take(uint64_t *paid_us, uint64_t now_us, uint64_t interval_us,
			       unsigned int burst)
{
	uint64_t paid = *paid_us > now_us ? *paid_us : now_us;

	if (paid - now_us > (burst - 1) * interval_us)
		return false;
	*paid_us = paid + interval_us;
	return true;
}

/* gateway.c: the level of a warning that a message of the portal caused: debug if there were many
 * of late. */
enum log_level gateway_warn_level(struct gateway *g);

/* authorize.c */
void conn_authorize(struct gateway *g, const struct portal_flow *flow);

/* conn.c */
/* NULL when the key, the credentials or a limit forbid it. The caller sets the fingerprint. */
struct conn *conn_new(struct gateway *g, const struct portal_flow *flow, struct relay *relay);
void conn_log(const struct conn *c, enum log_level level, const char *message);
void conn_wake(struct conn *c);
struct conn *conn_find(struct gateway *g, const struct uuid *client);
/* Made when it is first needed; NULL without memory. */
struct said *conn_said(struct conn *c);
struct conn *conn_by_username(struct gateway *g, const struct stun_msg *msg, const uint8_t *buf,
			      size_t len);
void conn_remove(struct conn *c);
void conn_goodbye(struct conn *c);
void conn_touch(struct conn *c);
void conn_timeout(struct conn *c);
void conn_settle_all(struct gateway *g);
void conn_feed(struct conn *c, const struct ice_input *in);
void conn_add_local(struct conn *c, const struct candidate *candidate);
/* One of the selected relay: channels to the signalled candidates first, so that the checks get
 * through. */
void conn_add_relayed(struct conn *c, const struct candidate *candidate);
/* Nothing is left to send along; what WireGuard has to say waits. */
void conn_lose_path(struct conn *c);
void conn_remove_local(struct conn *c, const struct candidate *candidate);
void conn_remote_candidates(struct gateway *g, const struct portal_candidates *msg, bool add);
void conn_close_gone(struct gateway *g);

/* Send a datagram of ours along a path; false when a relay has no channel to it yet (the message is
 * lost). */
bool conn_send(struct conn *c, const struct ice_path *path, const uint8_t *data, size_t len);

/* news.c: candidate changes on their way to the portal, and the acknowledgements before them. */
void news_add(struct conn *c, const struct candidate *candidate, bool removed);
void news_forget(struct conn *c);
/* The portal is back: what was told shortly before it was lost may have gone nowhere. */
void news_repeat(struct conn *c);
bool outbox_push(struct gateway *g, const char *flow_ref);
void outbox_clear(struct gateway *g);

/* relays.c */
void relays_upsert(struct gateway *g, const struct portal_relay *list, size_t n);
void relays_remove(struct gateway *g, const struct uuid *ids, size_t n);
void relays_refresh_others(struct gateway *g, const struct portal_relay *list, size_t n);
struct relay *relays_by_address(struct gateway *g, const struct endpoint *ep);
bool relays_was_one(const struct gateway *g, const struct ip_addr *ip);
struct relay *relays_choose(struct gateway *g);
void relays_feed(struct gateway *g, struct relay *relay, const struct turn_input *in);
void relays_timeout(struct gateway *g, size_t index);
void relays_bind(struct gateway *g, struct relay *relay, const struct endpoint *peer,
		 uint32_t owner);
void relays_assign(struct gateway *g);
void relays_set_timers(struct gateway *g);

/* By the channel to @peer; false when there is none: the datagram is lost. */
bool relays_send(struct gateway *g, struct relay *relay, const struct endpoint *peer,
		 const uint8_t *data, size_t len);
void relays_free(struct gateway *g);

/* egress.c */
/* @dst leaves as it does now from here on; family IP_NONE: there is no such destination. */
void egress_watch(struct gateway *g, struct way *w, const struct endpoint *dst);
/* Hot path: the source for key->dst, an address of @relay. Left open where there is none. */
void egress_source(struct gateway *g, struct relay *relay, struct txq_key *key);
void egress_roam(struct gateway *g);
void egress_local_dead(struct gateway *g, const struct ip_addr *ip);
void egress_socket(struct gateway *g, uint8_t family, uint16_t was_port, uint16_t port);
void egress_retry(struct gateway *g);

static inline uint32_t timer_of_relay(const struct gateway *g, size_t index)
{
	return g->cfg.max_clients + (uint32_t)index;
}

static inline uint32_t timer_of_tunnel(const struct gateway *g)
{
	return g->cfg.max_clients + MAX_RELAYS;
}

#endif
