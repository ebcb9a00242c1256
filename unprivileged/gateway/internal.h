/*
 * What the files of the gateway room share: the object itself, connections, relays. Not for other
 * rooms.
 */
#ifndef GATEWAY_INTERNAL_H
#define GATEWAY_INTERNAL_H

#include "base/bucket.h"
#include "base/heap.h"
#include "gateway/gateway.h"
#include "gateway/held.h"
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
	CLIENT_LINES = 10, /* log lines on what one client does as it likes */
	CLIENT_LINE_S = 10,
	MAX_GONE = 256,  /* clients without a connection whose quota is not back yet */
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

/* What a client has used up of its rates: bucket_take(). */
struct quota {
	uint64_t candidates_us, lines_us;
};

struct gone {
	uint32_t owner; /* 0: free */
	struct quota quota;
};

/* One client's connection: path finding and session. Its authorizations live in the tunnel and
 * outlive it. */
struct conn {
	struct gateway *g;
	uint32_t slot; /* place in g->conns, key in g->timers */
	struct uuid client;
	uint32_t owner; /* the client to a relay: the same for its next connection */
	uint8_t fingerprint[FINGERPRINT_LEN]; /* of everything that makes it reusable */
	struct ice *ice;
	struct wg_peer *wg;
	struct tunnel_client *tunnel; /* NULL once the authorizations are gone */
	struct relay *relay;          /* selected relay, NULL while there is none */
	struct ice_path path;
	struct way way; /* of a direct path */
	bool has_path, idle, failed, left /* the client said goodbye */;
	uint64_t active_us; /* the last sign that the client is wanted */
	uint64_t ice_us;    /* the agent's deadline: looking at it anew costs more than a packet */
	uint64_t timer_us;  /* what g->timers has; never later than it should be */
	struct held held;   /* packets that wait for a session */
	struct quota quota;
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
	enum turn_standing standing; /* as seen last */
	bool settled;        /* it has stood so for long enough for connections to go by it */
	uint64_t settled_us; /* when that will be; NEVER_US: it is so already */
	struct way ways[2];  /* v4, v6 */
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
	uint8_t hash_key[16], owner_key[16], fingerprint_key[32];
	struct gone gone[MAX_GONE];
	struct stun_hmac *hmac; /* of all agents */
	size_t held_budget;     /* bytes that may still be held */
	struct relay relays[MAX_RELAYS];
	struct ip_addr gone_relays[REMEMBERED_RELAYS];
	size_t n_gone;
	struct conn **touched, **with_news; /* work queues of this step, each conn at most once */
	uint32_t n_touched, n_with_news;
	struct outbox_entry outbox[MAX_OUTBOX];
	size_t outbox_head, outbox_len;
	struct ip_addr own_v4, own_v6, wanted_v4, wanted_v6; /* in use, and as `init` wants them */
	/* The round over all connections that a change at the relays has begun: follow.c */
	uint32_t round_at, round_left; /* slots */
	uint32_t round_moved;          /* connections that have another relay */
	uint64_t round_us;             /* its next step */
	uint64_t relay_lines_us, asked_us;
	bool probing_relays;
	bool tun_changed, joined, wanted_relays;
	uint64_t tun_changed_us, warn_paid_us;
	uint64_t lost_us; /* when the portal was lost; 0: never */
	uint64_t now_us;
	/* gateway_poll()'s texts */
	char texts[MAX_NEWS][CANDIDATE_TEXT_MAX];
	const char *text_ptrs[MAX_NEWS];
	char *polled_ref;
	struct tunnel_reply reply;
	uint64_t to_tun_packets, from_tun_packets, udp_datagrams;
	uint64_t dropped[GATEWAY_DROPS];
	uint16_t ports[2];  /* our own, v4 and v6; 0: not seen yet */
	bool away;          /* the last comparison found no way out at all */
	uint64_t memo_hits; /* not reported to the factory yet */
};

/* gateway.c: the level of a warning that a message of the portal caused: debug if there were many
 * of late. */
enum log_level gateway_warn_level(struct gateway *g);

/* authorize.c */
void conn_authorize(struct gateway *g, const struct portal_flow *flow);

/* conn.c */
/*
 * A connection that nobody knows of yet, which may take the place of @old (may be NULL). NULL when
 * the key, the credentials or a limit forbid it; @old is as it was. Either conn_enter() makes it
 * the client's, after @old was removed, or conn_free() ends it. The caller sets the fingerprint.
 */
MUST_CHECK struct conn *conn_new(struct gateway *g, const struct portal_flow *flow,
				 struct relay *relay, const struct conn *old);
void conn_enter(struct conn *c);
void conn_free(struct conn *c);
void conn_log(const struct conn *c, enum log_level level, const char *message);
/* The client decides how often these lines come: debug if there were many of late. */
enum log_level conn_level(struct conn *c);
/* Any sign that the client is wanted: an IP packet, a candidate, an authorization. */
void conn_wake(struct conn *c);
struct conn *conn_find(struct gateway *g, const struct uuid *client);
/* Made when it is first needed; NULL without memory. */
struct said *conn_said(struct conn *c);
struct conn *conn_by_username(struct gateway *g, const struct stun_msg *msg, const uint8_t *buf,
			      size_t len);
/* Silent: no goodbye. The authorizations stay with the tunnel. */
void conn_remove(struct conn *c);
void conn_goodbye(struct conn *c);
void conn_touch(struct conn *c);
void conn_timeout(struct conn *c);
void conn_settle_all(struct gateway *g);
void conn_feed(struct conn *c, const struct ice_input *in);
/* Several at once: nothing is sent before the last one has had its effect. */
void conn_feed_all(struct conn *c, const struct ice_input *in, size_t n);
/* Nothing is left to send along; what WireGuard has to say waits. */
void conn_lose_path(struct conn *c);
void conn_close_gone(struct gateway *g);

/* Send a datagram of ours along a path; false when a relay has no channel to it yet (the message is
 * lost). */
bool conn_send(struct conn *c, const struct ice_path *path, const uint8_t *data, size_t len);

/* trickle.c */
void conn_add_local(struct conn *c, const struct candidate *candidate);
/* One of the selected relay: channels to the signalled candidates first, so that the checks get
 * through. */
void conn_add_relayed(struct conn *c, const struct candidate *candidate);
void conn_remove_local(struct conn *c, const struct candidate *candidate);
/* Together: no check leaves from one of them while another is removed. */
void conn_remove_locals(struct conn *c, const struct candidate *list, size_t n);
/* What a connection has to offer: host and server-reflexive candidates of all relays, relayed ones
 * of its own; in order of decreasing priority. Returns the number written. */
enum {
	CONN_MAX_FOUND = MAX_RELAYS * TURN_MAX_CANDIDATES
};
size_t conn_found(const struct conn *c, struct candidate out[CONN_MAX_FOUND]);
void conn_add_found(struct conn *c);
void conn_remote_candidates(struct gateway *g, const struct portal_candidates *msg, bool add);
/* Of a remote address: as it was signalled, else peer-reflexive. */
enum candidate_kind conn_remote_kind(const struct conn *c, const struct endpoint *addr);

/* packets.c: what waited for a session goes out, as far as it may still. */
void packets_release(struct conn *c);

/* quota.c */
uint32_t quota_owner(const struct gateway *g, const struct uuid *client);
/* A connection of @c->owner comes, goes. */
void quota_begin(struct conn *c);
void quota_end(const struct conn *c);

static inline void gateway_dropped(struct gateway *g, enum gateway_drop why)
{
	g->dropped[why]++;
}

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
void relays_feed(struct gateway *g, struct relay *relay, const struct turn_input *in);
void relays_timeout(struct gateway *g, size_t index);
void relays_bind(struct gateway *g, struct relay *relay, const struct endpoint *peer,
		 uint32_t owner);
void relays_set_timers(struct gateway *g);
/* Asks the portal for relays when there is none, again after a while or when the question could not
 * be put. */
void relays_want(struct gateway *g);
/* A relay came, went or has something else to offer: connections follow, and the portal is asked
 * when there is none. */
void relays_assign(struct gateway *g);

/* By the channel to @peer; false when there is none: the datagram is lost. */
bool relays_send(struct gateway *g, struct relay *relay, const struct endpoint *peer,
		 const uint8_t *data, size_t len);
void relays_free(struct gateway *g);

/* follow.c: which relay a connection uses, and that its candidates say so */
/* For a new connection; NULL when no relay has ever answered. */
struct relay *relays_choose(struct gateway *g);
/* Begins a round; its steps come by relays_follow(). */
void relays_changed(struct gateway *g);
/* Connections on it should go elsewhere, if there is an elsewhere. */
bool relay_is_out(const struct relay *relay);
/* One step of the round, if it is due. True: connections were touched. */
bool relays_follow(struct gateway *g);

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
