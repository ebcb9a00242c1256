/*
 * Resolver of the worker itself: hosts file, resolv.conf, A and AAAA in parallel, TCP on
 * truncation, TTL-true cache, time-outs and fail-over over the servers: a state machine. [RFC 1035,
 * spec socket-factory, portal 3.5] Wire format by ldns.
 *
 * Each query leaves by a fresh socket of the factory (fresh source port); id, question, source
 * address and port of an answer are compared; a stray datagram never fails a query.
 */
#ifndef DNS_RESOLVER_H
#define DNS_RESOLVER_H

#include "base/defs.h"
#include "base/log.h"
#include "base/rng.h"
#include "dns/exchange.h"
#include "packet/addr.h"

struct resolver;

enum {
	RESOLVER_MAX_SERVERS = 8,
	RESOLVER_CACHE = 512,
	RESOLVER_MAX_INFLIGHT = 64,  /* names */
	RESOLVER_MAX_ADDRESSES = 32, /* per answer; more are dropped */
	/* One family's addresses do not wait longer for the other family's answer. [in the spirit
	 * of RFC 8305 section 3] What comes later is for the cache only. */
	RESOLVER_FAMILY_WAIT_MS = 1000,
	/* A server that did not answer is not the first to be asked for so long, unless all are
	 * silent. */
	RESOLVER_SILENT_S = 60,
};

struct resolver_config {
	struct rng rng;
	struct log *log;
};

struct resolver *resolver_new(const struct resolver_config *cfg);
void resolver_free(struct resolver *r);

/* Texts of the two files; NULL: missing (resolv.conf: 127.0.0.1, as resolv.conf(5) says). Malformed
 * lines are skipped. True if resolv.conf names other servers than before. */
bool resolver_set_resolv_conf(struct resolver *r, const char *text, size_t len);
void resolver_set_hosts(struct resolver *r, const char *text, size_t len);
size_t resolver_servers(const struct resolver *r, struct endpoint out[RESOLVER_MAX_SERVERS]);

/*
 * Look up @name (or an IP literal). The answer comes by resolver_poll() with @token. False when
 * full, or when @name is empty or too long: nothing will come.
 */
bool resolver_lookup(struct resolver *r, const char *name, uint64_t token, uint64_t now_us);

/*
 * The network is another one: what is under way is asked anew of the servers known now, and what
 * was cached is forgotten.
 */
void resolver_restart(struct resolver *r, uint64_t now_us);

/* What came of an exchange. A stray or forged message never fails a query; a failed exchange moves
 * on to the next server at once. */
void resolver_reply(struct resolver *r, const struct dns_reply *reply, uint64_t now_us);
void resolver_timeout(struct resolver *r, uint64_t now_us);
uint64_t resolver_deadline(const struct resolver *r);

enum resolver_out_kind {
	RESOLVER_OUT_QUERY,  /* start @exchange */
	RESOLVER_OUT_CLOSE,  /* end the exchange @id */
	RESOLVER_OUT_ANSWER, /* addresses of @token's name, IPv4 first; n 0: no such name, or all
				servers failed */
};

struct resolver_out {
	enum resolver_out_kind kind;
	struct dns_exchange exchange;
	uint32_t id;
	uint64_t token;
	struct ip_addr addresses[RESOLVER_MAX_ADDRESSES];
	size_t n;
};
bool resolver_poll(struct resolver *r, struct resolver_out *out);

#endif
