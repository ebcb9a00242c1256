/*
 * The socket factory's core: one source-address cache shared by every UDP and TCP socket, its
 * generation, its reset. [spec socket-factory 4.2-4.5, 4.7, 4.9]
 *
 * Holds no fd and no clock: the lookup behind it is an injected function, so the same cache runs
 * under tests and the simulator.
 */
#ifndef SOCKETS_FACTORY_H
#define SOCKETS_FACTORY_H

#include "base/defs.h"
#include "base/log.h"
#include "base/rng.h"
#include "packet/addr.h"

struct factory;

enum {
	FACTORY_MAX_POSITIVE = 4096,
	FACTORY_MAX_NEGATIVE = 256,
	FACTORY_NEGATIVE_MS = 1000,
	FACTORY_RECHECK_MS = 100,
	FACTORY_MARK = (int)0xfd002021u,
};

enum factory_refusal {
	FACTORY_OK,
	FACTORY_NO_ROUTE,
	FACTORY_VIA_TUNNEL,
	FACTORY_NO_SOURCE,
	FACTORY_SCOPE_MISSING,
	FACTORY_LOOKUP_FAILED,
	FACTORY_MOVED /* the network changed twice while we looked: drop */,
	FACTORY_REFUSALS,
};

/* Why the cache forgets. [spec socket-factory 4.6, 4.9] */
enum factory_cause {
	FACTORY_CAUSE_ROUTE,
	FACTORY_CAUSE_ADDRESS,
	FACTORY_CAUSE_LINK,
	FACTORY_CAUSE_RULE,
	FACTORY_CAUSE_NEXTHOP,
	FACTORY_CAUSE_OVERRUN,   /* the kernel dropped events, or one was unreadable */
	FACTORY_CAUSE_NO_EVENTS, /* the event socket is dead */
	FACTORY_CAUSE_SEND_ERROR,
	FACTORY_CAUSE_ROAM,
	FACTORY_CAUSE_SIGHUP,
	FACTORY_CAUSE_OPERATOR,
	FACTORY_CAUSES,
};

/* "route", "send-error" ...: what logs and metrics call it. */
const char *factory_cause_name(enum factory_cause cause);

struct factory_route {
	struct ip_addr source, gateway; /* gateway may be IP_NONE */
	uint32_t ifindex, table;
	uint64_t generation;
};

/* What the injected lookup found out, before judgement. */
struct factory_lookup {
	int error;    /* 0, or a positive errno from the kernel; EPROTO: malformed answer */
	uint8_t type; /* RTN_* */
	struct ip_addr prefsrc, gateway;
	uint32_t ifindex, table, metric;
	char ifname[16];
	uint64_t took_us;
	/* When the kernel was asked, after the events; 0: as before the call. */
	uint64_t generation;
};

struct factory_config {
	/* First drains pending network events (which may call factory_flush()), then asks the
	 * kernel. */
	void (*lookup)(void *ctx, const struct ip_addr *dst, uint32_t scope,
		       struct factory_lookup *out);
	void *ctx;
	uint32_t tun_ifindex;
	const char *tun_name;
	struct rng rng; /* the hash key */
	struct log *log;
};

struct factory *factory_new(const struct factory_config *cfg);
void factory_free(struct factory *f);

/* The device that nothing of ours may leave by, where the configuration could not name it yet. */
void factory_set_tunnel(struct factory *f, uint32_t ifindex);

/* Own tunnel addresses are never a source. */
void factory_set_tunnel_addresses(struct factory *f, const struct ip_addr *v4,
				  const struct ip_addr *v6);

uint64_t factory_generation(const struct factory *f);

/* Hit or miss path. v4-mapped v6 is normalised. */
enum factory_refusal factory_resolve(struct factory *f, const struct ip_addr *dst, uint32_t scope,
				     uint64_t now_us, struct factory_route *out);

/* A destination that must be evicted last (relay, portal, name server). */
void factory_pin(struct factory *f, const struct ip_addr *dst);
void factory_unpin(struct factory *f, const struct ip_addr *dst);

/* New generation; O(1). flush: by an event. reset: by SIGHUP, a roam or the operator. */
void factory_flush(struct factory *f, enum factory_cause cause);
void factory_reset(struct factory *f, enum factory_cause cause);

/* True if a destination of this generation, refused ones too, lies in @prefix: a route to it that
 * comes or goes concerns us. */
bool factory_covers(const struct factory *f, const struct ip_prefix *prefix);

/* True if a live entry leaves by @source. */
bool factory_uses_source(const struct factory *f, const struct ip_addr *source);

/* After a send error; no-op when @generation is not the current one. */
void factory_invalidate(struct factory *f, const struct ip_addr *dst, uint64_t generation,
			enum factory_cause cause);

/* What to do about a failed send. [spec 4.5's table] */
enum factory_action {
	FACTORY_DROP,
	FACTORY_RETRY_SOURCE /* with *out */,
	FACTORY_RETRY_UNCUT /* on success: GSO off for this socket */,
	FACTORY_WAIT,
	FACTORY_REPORT_DEAD /* caller-fixed source: tell ICE */,
	FACTORY_SENT /* of factory_send() only */,
};

struct factory_send_error {
	struct endpoint dst;
	int error; /* positive errno of sendmsg */
	bool fixed_source, used_gso, retried_source, retried_gso;
	struct factory_route route; /* what was used */
};
enum factory_action factory_send_failed(struct factory *f, const struct factory_send_error *e,
					uint64_t now_us, struct factory_route *out);

/* A send from the right source, with the second tries that the table allows. */
struct factory_send {
	struct endpoint dst;
	struct ip_addr
	    source; /* family IP_NONE: to be chosen; afterwards the one of the last try */
	/* 0: the caller has fixed @source. Else it is the cache's choice of this generation, and
	 * chosen anew if that is over. */
	uint64_t generation;
	bool gso; /* the data is cut by the kernel */
	/* One try: 0 or a negative errno. @uncut: without segmentation. */
	int (*try_send)(void *ctx, const struct ip_addr *source, bool uncut);
	void *ctx;
	int error;  /* afterwards: positive errno of the last try; 0: none failed */
	bool uncut; /* afterwards: the last try was without segmentation */
};

/* FACTORY_SENT; or why not: FACTORY_DROP (@error 0: there is no way out), FACTORY_WAIT,
 * FACTORY_REPORT_DEAD. */
enum factory_action factory_send(struct factory *f, struct factory_send *s, uint64_t now_us);

enum {
	FACTORY_TOOK_BUCKETS = 8
};
/* Upper bounds of the lookup-time histogram in microseconds; the last one has none. */
extern const uint32_t factory_took_bounds_us[FACTORY_TOOK_BUCKETS - 1];

/* A plain copy of everything that is counted. [spec socket-factory 4.9] */
struct factory_counters {
	uint64_t hits, misses, negative_hits;
	uint64_t refused[FACTORY_REFUSALS]; /* FACTORY_OK stays 0 */
	uint64_t resets[FACTORY_CAUSES], flushes[FACTORY_CAUSES], invalidations[FACTORY_CAUSES];
	uint64_t evictions, stale_discards, event_overruns, rechecks, roams;
	uint64_t took[FACTORY_TOOK_BUCKETS], took_sum_us; /* lookups by how long they took */
	uint64_t generation;
	uint32_t entries, negatives;
};
void factory_counters(const struct factory *f, struct factory_counters *out);
uint64_t factory_sum(const uint64_t *counters, size_t n);

/* "no-route", "via-tunnel" ...: what logs and metrics call it. */
const char *factory_refusal_name(enum factory_refusal why);

/* Counted by the owner, who sees them happen. */
void factory_count_overrun(struct factory *f);
void factory_count_roam(struct factory *f);

/* Hits through a caller's own {generation, source} memo, counted in batches. */
void factory_count_hits(struct factory *f, uint64_t n);

#endif
