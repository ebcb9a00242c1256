/*
 * A forwarder on a clock and with name servers and clients of the test's own: it keeps what was
 * asked and answered, and answers for the servers.
 */
#ifndef TESTS_UNIT_DNS_FORWARDER_HOST_H
#define TESTS_UNIT_DNS_FORWARDER_HOST_H

#include "answers.h"
#include "base/log.h"
#include "dns/forwarded.h"
#include "dns/forwarder.h"

enum {
	MAX_ASKED = 2048,
	ANSWERS = 6, /* where the counts of the sections stand */
	AUTHORITY = 8,
	ADDITIONAL = 10,
	RR_TXT = 16,
	RR_SRV = 33,
};

struct asked_query {
	struct dns_exchange x;
	uint8_t data[512];
	bool closed;
};

struct world {
	struct ranking *ranking;
	struct forwarder *f;
	struct rng_seeded seed;
	uint64_t now_us;
	struct asked_query asked[MAX_ASKED];
	size_t n_asked;
	/* How many of each, and the newest. */
	size_t datagrams, messages, hang_ups;
	uint32_t connection, hung_up;
	struct endpoint from, to;
	uint8_t data[70000];
	size_t len;
	struct log *log;
	size_t warnings;
};

/* Set-up and tear-down of a case; two servers, 192.0.2.1 the faster one. */
int start(void **state);
int stop(void **state);

#define CASE(name) cmocka_unit_test_setup_teardown(name, start, stop)

/* 192.0.2.1, .2 ... answer, the first the fastest. */
void rank(struct world *w, unsigned int n);

/* Takes all that the forwarder has to say; all below do so, too. */
void look(struct world *w);
void advance(struct world *w, uint64_t us);

struct endpoint at(unsigned int a, unsigned int b, unsigned int last, uint16_t port);
struct uuid client(unsigned int n);
struct message question(uint16_t id);

/* A datagram of that client. */
void send_as(struct world *w, unsigned int who, const struct message *m);

/* What was asked last. */
struct asked_query *last(struct world *w);

void reply_with(struct world *w, const struct asked_query *q, const struct endpoint *src,
		const struct message *m);

/* A record in the section whose count stands at @count that makes the message @total bytes long:
 * root, an unknown type, IN, TTL 0. @buf has room. */
void fill(uint8_t *buf, size_t len, size_t count, size_t total);

struct forwarder_counters counters(const struct world *w);

#endif
