/*
 * The clients' questions on their way to the name servers and back: a state machine. No fd, no
 * clock. [spec dataplane 11, R16]
 *
 * A client asks over UDP or TCP at the gateway's tunnel address. Each question goes on over the
 * same transport in an exchange of its own, with an id of our own; what comes back has to be from
 * the server asked and answer that question, and goes to the client under its id, otherwise
 * unchanged. A server that fails is followed by the next one until FORWARDER_TIMEOUT_S are over;
 * then the answer is SERVFAIL. Nothing is cached, nothing is looked into.
 *
 * Bounds are per client, so that one cannot take the others' share.
 */
#ifndef DNS_FORWARDER_H
#define DNS_FORWARDER_H

#include "base/defs.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/uuid.h"
#include "dns/exchange.h"
#include "dns/ranking.h"

struct forwarder;

enum {
	FORWARDER_MAX_UDP_QUERY = 2000,  /* bytes; longer ones are ignored */
	FORWARDER_MAX_TCP_QUERY = 4096,  /* bytes; the connection ends */
	FORWARDER_MAX_UDP_ANSWER = 1200, /* bytes; longer ones are truncated */
	FORWARDER_TIMEOUT_S = 5,         /* of one query, over all servers */
	FORWARDER_QUERIES = 1000,        /* under way, of all clients */
	FORWARDER_CLIENT_QUERIES = 100,  /* of one */
	FORWARDER_RATE = 50,             /* queries a second of one client */
	FORWARDER_BURST = 100,
	FORWARDER_TCP_PRICE = 5,     /* queries that one over TCP counts as: connections are few */
	FORWARDER_CONNECTIONS = 256, /* TCP, of all clients */
	FORWARDER_CLIENT_CONNECTIONS = 16,
	FORWARDER_IDLE_S = 10, /* of a TCP connection without a query under way */
};

struct forwarder_config {
	struct rng rng;
	struct log *log; /* may be NULL */
	/* Who answers; outlives the forwarder. */
	struct ranking *ranking;
};

struct forwarder *forwarder_new(const struct forwarder_config *cfg);
void forwarder_free(struct forwarder *f);

/* A datagram of @client from @from to our tunnel address @to. Ignored if it is not a query, or too
 * much. */
void forwarder_datagram(struct forwarder *f, const struct uuid *client, const struct endpoint *from,
			const struct endpoint *to, const uint8_t *buf, size_t len, uint64_t now_us);

/* A connection of @client; its number, never 0. 0: refuse it. */
uint32_t forwarder_open(struct forwarder *f, const struct uuid *client, uint64_t now_us);

/* True if the connection may give its next message: there is none under way on it. */
bool forwarder_ready(struct forwarder *f, uint32_t connection);

/* One message on a connection that is ready, without its length. What is not a query ends the
 * connection. */
void forwarder_message(struct forwarder *f, uint32_t connection, const uint8_t *buf, size_t len,
		       uint64_t now_us);

/* The connection ended by itself. Nothing more is said of it. */
void forwarder_closed(struct forwarder *f, uint32_t connection);

/* The network is another one: everything under way is answered with SERVFAIL. */
void forwarder_roam(struct forwarder *f, uint64_t now_us);

void forwarder_reply(struct forwarder *f, const struct dns_reply *reply, uint64_t now_us);
void forwarder_timeout(struct forwarder *f, uint64_t now_us);
uint64_t forwarder_deadline(const struct forwarder *f);

enum forwarder_out_kind {
	FORWARDER_OUT_QUERY,    /* start @exchange; if that fails feed a failed reply */
	FORWARDER_OUT_CLOSE,    /* end the exchange @id */
	FORWARDER_OUT_DATAGRAM, /* @data from @from, an address of ours, to @to */
	FORWARDER_OUT_MESSAGE,  /* @data, without its length, on @connection */
	FORWARDER_OUT_HANG_UP,  /* end @connection, and what is not written yet with it */
};

struct forwarder_out {
	enum forwarder_out_kind kind;
	struct dns_exchange exchange;
	uint32_t id, connection;
	struct endpoint from, to;
	const uint8_t *data; /* valid until the next call on the forwarder */
	size_t len;
};
bool forwarder_poll(struct forwarder *f, struct forwarder_out *out);

struct forwarder_counters {
	uint64_t udp_queries, tcp_queries; /* that went on */
	uint64_t answers, truncated, servfails;
	uint64_t malformed, over_rate, over_limit, connections_refused, stray;
	uint32_t outstanding, connections;
};
void forwarder_counters(const struct forwarder *f, struct forwarder_counters *out);

#endif
