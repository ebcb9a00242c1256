/*
 * Which name server answers fastest: each is asked for a known name over UDP and over TCP from time
 * to time. A state machine; no fd, no clock. [spec dataplane 11]
 *
 * The latest round-trip time counts; a server that fails is out until it answers a later probe.
 */
#ifndef DNS_RANKING_H
#define DNS_RANKING_H

#include "base/defs.h"
#include "base/rng.h"
#include "dns/exchange.h"

struct ranking;

enum {
	RANKING_MAX_SERVERS = 8,
	RANKING_INTERVAL_S = 60,
	RANKING_TIMEOUT_S = 2,
	/* A server that failed a client's query is probed again, but not sooner after the last
	 * time: clients could make every server look slow. */
	RANKING_DOUBT_S = 5,
};

struct ranking *ranking_new(const struct rng *rng);
void ranking_free(struct ranking *r);

/* These servers from now on, at most RANKING_MAX_SERVERS; all are probed at once, and what was
 * known of them is forgotten. */
void ranking_set_servers(struct ranking *r, const struct endpoint *servers, size_t n,
			 uint64_t now_us);

/* The network is another one: the same without changing the servers. */
void ranking_restart(struct ranking *r, uint64_t now_us);

/* A client's query to @server failed over that transport. */
void ranking_doubt(struct ranking *r, const struct endpoint *server, bool tcp, uint64_t now_us);

void ranking_reply(struct ranking *r, const struct dns_reply *reply, uint64_t now_us);
void ranking_timeout(struct ranking *r, uint64_t now_us);
uint64_t ranking_deadline(const struct ranking *r);

enum ranking_out_kind {
	RANKING_OUT_QUERY, /* start @exchange */
	RANKING_OUT_CLOSE, /* end the exchange @id */
};

struct ranking_out {
	enum ranking_out_kind kind;
	struct dns_exchange exchange;
	uint32_t id;
};
bool ranking_poll(struct ranking *r, struct ranking_out *out);

/* The servers that answer over the transport, fastest first. Returns how many. */
size_t ranking_order(const struct ranking *r, bool tcp, struct endpoint out[RANKING_MAX_SERVERS]);

#endif
