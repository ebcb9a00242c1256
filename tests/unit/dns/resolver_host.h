/*
 * A resolver on a clock and with servers of the test's own: it keeps what was sent and answered,
 * and answers for the servers.
 */
#ifndef TESTS_UNIT_DNS_RESOLVER_HOST_H
#define TESTS_UNIT_DNS_RESOLVER_HOST_H

#include "answers.h"
#include "dns/message.h"
#include "dns/resolver.h"

enum {
	MAX_SOCKETS = 4 * RESOLVER_MAX_INFLIGHT,
	MAX_ANSWERS = 2 * RESOLVER_MAX_INFLIGHT
};

/* A query that was sent and whose exchange is open. */
struct query {
	uint32_t id; /* 0: closed */
	bool tcp;
	struct endpoint server;
	uint8_t data[DNS_MAX_QUERY];
	size_t len;
	uint16_t type;
	char name[256];
};

struct host {
	struct resolver *r;
	struct rng_seeded seed;
	uint64_t now_us;
	struct query open[MAX_SOCKETS];
	unsigned sent, closed;
	struct resolver_out answers[MAX_ANSWERS];
	unsigned n_answers;
};

#define TWO_SERVERS "nameserver 192.0.2.53\nnameserver 192.0.2.54\n"

/* @conf NULL: no resolv.conf. The resolver is the test's to free. */
void host_new(struct host *h, const char *conf);
void look_up(struct host *h, const char *name, uint64_t token);

/* Takes all that the resolver has to say; all below do so, too. */
void drain(struct host *h);

/* How many exchanges are open. */
unsigned sockets(const struct host *h);

/* The open query for @type. */
struct query *query_for(struct host *h, uint16_t type);
bool asks_for(const struct host *h, uint16_t type);
void is_server(const struct query *q, const char *text);

void deliver(struct host *h, const struct query *q, const struct endpoint *src,
	     const struct message *m);

/* Its socket or connection came to nothing. */
void fail_exchange(struct host *h, uint32_t id);

/* The server answers the open query of @type; @address NULL: with no record. */
void answer(struct host *h, uint16_t type, uint16_t flags, const char *address, uint32_t ttl);

void wait_until_due(struct host *h);

/* The only answer so far has this token and these addresses, NULL-terminated; nothing is under way.
 */
void is_answered(const struct host *h, uint64_t token, const char *const *addresses);

#define ADDRESSES(...) ((const char *const[]){__VA_ARGS__, NULL})
#define NO_ADDRESSES   ((const char *const[]){NULL})

#endif
