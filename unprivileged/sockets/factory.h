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
};

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

/* New generation; O(1). flush: by an event. reset: by SIGHUP or a roam. */
void factory_flush(struct factory *f, const char *cause);
void factory_reset(struct factory *f, const char *reason);

/* After a send error; no-op when @generation is not the current one. */
void factory_invalidate(struct factory *f, const struct ip_addr *dst, uint64_t generation,
			const char *cause);
void factory_negative(struct factory *f, const struct ip_addr *dst, int error, uint64_t now_us);

/* What to do about a failed send. [spec 4.5's table] */
enum factory_action {
	FACTORY_DROP,
	FACTORY_RETRY_SOURCE /* with *out */,
	FACTORY_RETRY_UNCUT /* on success: GSO off for this socket */,
	FACTORY_WAIT,
	FACTORY_REPORT_DEAD /* caller-fixed source: tell ICE */,
};

struct factory_send_error {
	struct endpoint dst;
	int error; /* positive errno of sendmsg */
	bool fixed_source, used_gso, retried_source, retried_gso;
	struct factory_route route; /* what was used */
};
enum factory_action factory_send_failed(struct factory *f, const struct factory_send_error *e,
					uint64_t now_us, struct factory_route *out);

struct factory_counters {
	uint64_t hits, misses, negative_hits, refused, resets, flushes, invalidations, evictions,
	    stale_discards, event_overruns, rechecks;
	uint64_t generation;
	uint32_t entries, negatives;
};
void factory_counters(const struct factory *f, struct factory_counters *out);

/* Hits through a caller's own {generation, source} memo, counted in batches. */
void factory_count_hits(struct factory *f, uint64_t n);

#endif
