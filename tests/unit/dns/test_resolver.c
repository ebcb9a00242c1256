/* The resolver's state machine on a clock and with servers of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "answers.h"
#include "dns/message.h"
#include "dns/resolver.h"

enum {
	MAX_SOCKETS = 4 * RESOLVER_MAX_INFLIGHT,
	MAX_ANSWERS = 2 * RESOLVER_MAX_INFLIGHT
};

/* A query that was sent and whose socket is open. */
struct query {
	uint32_t id; /* 0: closed */
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

static const char two_servers[] = "nameserver 192.0.2.53\nnameserver 192.0.2.54\n";

static struct query *slot(struct host *h, uint32_t id)
{
	for (size_t i = 0; i < MAX_SOCKETS; i++)
		if (h->open[i].id == id)
			return &h->open[i];
	fail_msg("no socket of query %u", id);
	return NULL;
}

static void drain(struct host *h)
{
	struct resolver_out out;
	struct query *q;

	while (resolver_poll(h->r, &out)) {
		switch (out.kind) {
		case RESOLVER_OUT_QUERY:
			assert_int_not_equal(out.query, 0);
			q = slot(h, 0);
			*q = (struct query){.id = out.query, .server = out.server, .len = out.len};
			memcpy(q->data, out.data, out.len);
			q->type = asked(q->data, q->len, q->name);
			h->sent++;
			break;
		case RESOLVER_OUT_CLOSE:
			slot(h, out.query)->id = 0;
			h->closed++;
			break;
		case RESOLVER_OUT_ANSWER:
			assert_true(h->n_answers < MAX_ANSWERS);
			h->answers[h->n_answers++] = out;
			break;
		}
	}
}

static unsigned sockets(const struct host *h)
{
	return h->sent - h->closed;
}

static void host_new(struct host *h, const char *conf)
{
	struct resolver_config cfg = {.log = NULL};

	assert_true(sodium_init() >= 0);
	memset(h, 0, sizeof(*h));
	h->now_us = 1000 * US_PER_S;
	cfg.rng = rng_from_seed(&h->seed, 1);
	h->r = resolver_new(&cfg);
	assert_non_null(h->r);
	resolver_set_resolv_conf(h->r, conf, conf ? strlen(conf) : 0);
}

static void look_up(struct host *h, const char *name, uint64_t token)
{
	assert_true(resolver_lookup(h->r, name, token, h->now_us));
	drain(h);
}

/* The open query for @type. */
static struct query *query_for(struct host *h, uint16_t type)
{
	for (size_t i = 0; i < MAX_SOCKETS; i++)
		if (h->open[i].id != 0 && h->open[i].type == type)
			return &h->open[i];
	fail_msg("no query of type %u is out", type);
	return NULL;
}

static bool asks_for(const struct host *h, uint16_t type)
{
	for (size_t i = 0; i < MAX_SOCKETS; i++)
		if (h->open[i].id != 0 && h->open[i].type == type)
			return true;
	return false;
}

static void deliver(struct host *h, const struct query *q, const struct endpoint *src,
		    const struct message *m)
{
	resolver_datagram(h->r, q->id, src, m->at, m->len, h->now_us);
	drain(h);
}

/* The server answers the open query of @type; @address NULL: with no record. */
static void answer(struct host *h, uint16_t type, uint16_t flags, const char *address, uint32_t ttl)
{
	struct query *q = query_for(h, type);
	struct message m = answer_to(q->data, q->len, flags);

	if (address)
		add_record(&m, q->name, type, ttl, address);
	deliver(h, q, &q->server, &m);
}

static void wait_until_due(struct host *h)
{
	uint64_t at = resolver_deadline(h->r);

	assert_true(at != NEVER_US && at >= h->now_us);
	h->now_us = at;
	resolver_timeout(h->r, h->now_us);
	drain(h);
}

static void is_server(const struct query *q, const char *text)
{
	char out[IP_TEXT_MAX];

	ip_format(&q->server.ip, out);
	assert_string_equal(out, text);
	assert_int_equal(q->server.port, 53);
}

/* The only answer so far has this token and these addresses, NULL-terminated. */
static void is_answered(const struct host *h, uint64_t token, const char *const *addresses)
{
	size_t n = 0;

	assert_int_equal(h->n_answers, 1);
	assert_true(h->answers[0].token == token);
	for (; addresses[n]; n++) {
		char out[IP_TEXT_MAX];

		assert_true(n < h->answers[0].n);
		ip_format(&h->answers[0].addresses[n], out);
		assert_string_equal(out, addresses[n]);
	}
	assert_int_equal(h->answers[0].n, n);
	assert_int_equal(sockets(h), 0);
	assert_true(resolver_deadline(h->r) == NEVER_US);
}

#define ADDRESSES(...) ((const char *const[]){__VA_ARGS__, NULL})
#define NO_ADDRESSES   ((const char *const[]){NULL})

static void both_families_are_asked_at_once(void **state)
{
	struct host h;

	(void)state;
	host_new(&h, two_servers);
	look_up(&h, "portal.example", 7);
	assert_int_equal(h.sent, 2);
	is_server(query_for(&h, RR_A), "192.0.2.53");
	is_server(query_for(&h, RR_AAAA), "192.0.2.53");
	assert_string_equal(query_for(&h, RR_A)->name, "portal.example");
	assert_memory_not_equal(query_for(&h, RR_A)->data, query_for(&h, RR_AAAA)->data, 2);
	answer(&h, RR_AAAA, ANSWERED, "2001:db8::1", 60);
	assert_int_equal(h.n_answers, 0);
	assert_int_equal(sockets(&h), 1);
	answer(&h, RR_A, ANSWERED, "192.0.2.1", 60);
	is_answered(&h, 7, ADDRESSES("192.0.2.1", "2001:db8::1"));
	resolver_free(h.r);
}

static void trailing_dot_is_of_no_matter(void **state)
{
	struct host h;

	(void)state;
	host_new(&h, two_servers);
	look_up(&h, "portal.example.", 7);
	assert_string_equal(query_for(&h, RR_A)->name, "portal.example");
	resolver_free(h.r);
}

static void literals_are_answered_without_a_query(void **state)
{
	struct host h;

	(void)state;
	host_new(&h, two_servers);
	look_up(&h, "2001:db8::5", 7);
	is_answered(&h, 7, ADDRESSES("2001:db8::5"));
	h.n_answers = 0;
	look_up(&h, "192.0.2.5", 8);
	is_answered(&h, 8, ADDRESSES("192.0.2.5"));
	assert_int_equal(h.sent, 0);
	resolver_free(h.r);
}

static void hosts_file_comes_first(void **state)
{
	static const char hosts[] = "192.0.2.9 portal.example\n2001:db8::9 portal.example\n";
	struct host h;

	(void)state;
	host_new(&h, two_servers);
	resolver_set_hosts(h.r, hosts, strlen(hosts));
	look_up(&h, "Portal.Example.", 7);
	is_answered(&h, 7, ADDRESSES("192.0.2.9", "2001:db8::9"));
	assert_int_equal(h.sent, 0);
	resolver_set_hosts(h.r, NULL, 0);
	look_up(&h, "portal.example", 8);
	assert_int_equal(h.sent, 2);
	resolver_free(h.r);
}

static void hosts_file_beats_what_was_cached(void **state)
{
	static const char hosts[] = "192.0.2.9 portal.example\n";
	struct host h;

	(void)state;
	host_new(&h, two_servers);
	look_up(&h, "portal.example", 7);
	answer(&h, RR_A, ANSWERED, "192.0.2.1", 3600);
	answer(&h, RR_AAAA, ANSWERED, NULL, 0);
	h.n_answers = 0;
	resolver_set_hosts(h.r, hosts, strlen(hosts));
	look_up(&h, "portal.example", 8);
	is_answered(&h, 8, ADDRESSES("192.0.2.9"));
	resolver_free(h.r);
}

static void names_that_cannot_be_asked_have_no_address(void **state)
{
	struct host h;
	char longest[DNS_NAME_MAX + 1];

	(void)state;
	host_new(&h, two_servers);
	look_up(&h, "a..b", 7);
	is_answered(&h, 7, NO_ADDRESSES);
	memset(longest, 'a', sizeof(longest));
	longest[DNS_NAME_MAX] = '\0';
	assert_false(resolver_lookup(h.r, longest, 8, h.now_us));
	assert_false(resolver_lookup(h.r, "", 8, h.now_us));
	assert_false(resolver_lookup(h.r, ".", 8, h.now_us));
	drain(&h);
	assert_int_equal(h.n_answers, 1);
	resolver_free(h.r);
}

static void answers_are_cached_for_their_ttl(void **state)
{
	struct host h;

	(void)state;
	host_new(&h, two_servers);
	look_up(&h, "portal.example", 7);
	answer(&h, RR_A, ANSWERED, "192.0.2.1", 60);
	answer(&h, RR_AAAA, ANSWERED, "2001:db8::1", 60);
	h.now_us += 60 * US_PER_S - 1;
	h.n_answers = 0;
	look_up(&h, "PORTAL.example", 8);
	is_answered(&h, 8, ADDRESSES("192.0.2.1", "2001:db8::1"));
	assert_int_equal(h.sent, 2);
	h.now_us += 1;
	look_up(&h, "portal.example", 9);
	assert_int_equal(h.sent, 4);
	resolver_free(h.r);
}

static void families_are_cached_each_for_its_own_ttl(void **state)
{
	struct host h;

	(void)state;
	host_new(&h, two_servers);
	look_up(&h, "portal.example", 7);
	answer(&h, RR_A, ANSWERED, "192.0.2.1", 60);
	answer(&h, RR_AAAA, ANSWERED, "2001:db8::1", 10);
	h.now_us += 20 * US_PER_S;
	h.n_answers = 0;
	look_up(&h, "portal.example", 8);
	assert_int_equal(h.sent, 3);
	answer(&h, RR_AAAA, ANSWERED, "2001:db8::2", 10);
	is_answered(&h, 8, ADDRESSES("192.0.2.1", "2001:db8::2"));
	resolver_free(h.r);
}

static void answers_with_ttl_zero_are_not_cached(void **state)
{
	struct host h;

	(void)state;
	host_new(&h, two_servers);
	look_up(&h, "portal.example", 7);
	answer(&h, RR_A, ANSWERED, "192.0.2.1", 0);
	answer(&h, RR_AAAA, ANSWERED, "2001:db8::1", 0);
	is_answered(&h, 7, ADDRESSES("192.0.2.1", "2001:db8::1"));
	look_up(&h, "portal.example", 8);
	assert_int_equal(h.sent, 4);
	resolver_free(h.r);
}

static void no_such_name_is_believed_for_a_while(void **state)
{
	struct host h;

	(void)state;
	host_new(&h, two_servers);
	look_up(&h, "portal.example", 7);
	answer(&h, RR_A, ANSWERED | NXDOMAIN, NULL, 0);
	answer(&h, RR_AAAA, ANSWERED | NXDOMAIN, NULL, 0);
	is_answered(&h, 7, NO_ADDRESSES);
	h.n_answers = 0;
	h.now_us += 30 * US_PER_S - 1;
	look_up(&h, "portal.example", 8);
	is_answered(&h, 8, NO_ADDRESSES);
	h.now_us += 1;
	look_up(&h, "portal.example", 9);
	assert_int_equal(h.sent, 4);
	resolver_free(h.r);
}

static void other_servers_make_the_cache_void(void **state)
{
	struct host h;

	(void)state;
	host_new(&h, two_servers);
	look_up(&h, "portal.example", 7);
	answer(&h, RR_A, ANSWERED, "192.0.2.1", 60);
	answer(&h, RR_AAAA, ANSWERED, NULL, 0);
	resolver_set_resolv_conf(h.r, two_servers, strlen(two_servers));
	look_up(&h, "portal.example", 8);
	assert_int_equal(h.sent, 2);
	resolver_set_resolv_conf(h.r, "nameserver 192.0.2.99", 21);
	look_up(&h, "portal.example", 9);
	assert_int_equal(h.sent, 4);
	is_server(query_for(&h, RR_A), "192.0.2.99");
	resolver_free(h.r);
}

static void silence_moves_on_over_servers_and_attempts(void **state)
{
	static const char *const order[] = {"192.0.2.53", "192.0.2.54", "192.0.2.53", "192.0.2.54"};
	struct host h;
	uint64_t start;

	(void)state;
	host_new(&h, two_servers);
	look_up(&h, "portal.example", 7);
	start = h.now_us;
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(h.sent, 2 * (i + 1));
		assert_int_equal(sockets(&h), 2);
		is_server(query_for(&h, RR_A), order[i]);
		is_server(query_for(&h, RR_AAAA), order[i]);
		wait_until_due(&h);
	}
	is_answered(&h, 7, NO_ADDRESSES);
	assert_true(h.now_us - start == 4 * 5 * US_PER_S);
	/* That nobody answered is not remembered. */
	look_up(&h, "portal.example", 8);
	assert_int_equal(h.sent, 10);
	resolver_free(h.r);
}

static void nothing_happens_before_the_time_is_out(void **state)
{
	struct host h;

	(void)state;
	host_new(&h, "nameserver 192.0.2.53\noptions timeout:2 attempts:1");
	look_up(&h, "portal.example", 7);
	assert_true(resolver_deadline(h.r) == h.now_us + 2 * US_PER_S);
	h.now_us += 2 * US_PER_S - 1;
	resolver_timeout(h.r, h.now_us);
	drain(&h);
	assert_int_equal(h.sent, 2);
	assert_int_equal(h.n_answers, 0);
	h.now_us += 1;
	resolver_timeout(h.r, h.now_us);
	drain(&h);
	is_answered(&h, 7, NO_ADDRESSES);
	resolver_free(h.r);
}

static void failing_server_moves_on_at_once(void **state)
{
	struct host h;

	(void)state;
	host_new(&h, two_servers);
	look_up(&h, "portal.example", 7);
	answer(&h, RR_A, ANSWERED | SERVFAIL, NULL, 0);
	is_server(query_for(&h, RR_A), "192.0.2.54");
	is_server(query_for(&h, RR_AAAA), "192.0.2.53");
	answer(&h, RR_A, ANSWERED, "192.0.2.1", 60);
	answer(&h, RR_AAAA, ANSWERED, NULL, 0);
	is_answered(&h, 7, ADDRESSES("192.0.2.1"));
	resolver_free(h.r);
}

static void truncated_answer_without_address_moves_on(void **state)
{
	struct host h;

	(void)state;
	host_new(&h, two_servers);
	look_up(&h, "portal.example", 7);
	answer(&h, RR_A, ANSWERED | FLAG_TC, NULL, 0);
	is_server(query_for(&h, RR_A), "192.0.2.54");
	answer(&h, RR_A, ANSWERED | FLAG_TC, "192.0.2.1", 60);
	answer(&h, RR_AAAA, ANSWERED, NULL, 0);
	is_answered(&h, 7, ADDRESSES("192.0.2.1"));
	resolver_free(h.r);
}

static void failed_socket_moves_on_at_once(void **state)
{
	struct host h;
	uint32_t old;

	(void)state;
	host_new(&h, two_servers);
	look_up(&h, "portal.example", 7);
	old = query_for(&h, RR_A)->id;
	resolver_query_failed(h.r, old, h.now_us);
	drain(&h);
	is_server(query_for(&h, RR_A), "192.0.2.54");
	assert_int_equal(sockets(&h), 2);
	/* A query that is no longer out fails nothing. */
	resolver_query_failed(h.r, old, h.now_us);
	resolver_query_failed(h.r, 0, h.now_us);
	drain(&h);
	assert_int_equal(h.sent, 3);
	resolver_free(h.r);
}

/* No family can be sent to: the answer comes at once, not after the time-outs. */
static void servers_without_a_route_are_given_up_without_waiting(void **state)
{
	struct host h;
	unsigned failed = 0;

	(void)state;
	host_new(&h, two_servers);
	look_up(&h, "portal.example", 7);
	while (sockets(&h) > 0) {
		struct query *q = asks_for(&h, RR_A) ? query_for(&h, RR_A) : query_for(&h, RR_AAAA);

		resolver_query_failed(h.r, q->id, h.now_us);
		drain(&h);
		failed++;
	}
	assert_int_equal(failed, 8);
	is_answered(&h, 7, NO_ADDRESSES);
	resolver_free(h.r);
}

static void every_query_has_a_new_id_and_socket(void **state)
{
	struct host h;
	struct query first;

	(void)state;
	host_new(&h, two_servers);
	look_up(&h, "portal.example", 7);
	first = *query_for(&h, RR_A);
	wait_until_due(&h);
	assert_int_not_equal(query_for(&h, RR_A)->id, first.id);
	assert_memory_not_equal(query_for(&h, RR_A)->data, first.data, 2);
	resolver_free(h.r);
}

static void t42_stray_datagrams_are_ignored(void **state)
{
	struct host h;
	struct query *q;
	struct message m;
	struct endpoint other;

	(void)state;
	host_new(&h, two_servers);
	look_up(&h, "portal.example", 7);
	q = query_for(&h, RR_A);
	m = answer_to(q->data, q->len, ANSWERED);
	add_record(&m, q->name, RR_A, 60, "198.51.100.66");
	other = q->server;
	other.port = 5353;
	deliver(&h, q, &other, &m);
	other = q->server;
	other.ip.bytes[3]++;
	deliver(&h, q, &other, &m);
	m.at[0] ^= 1;
	deliver(&h, q, &q->server, &m);
	deliver(&h, q, &q->server, &(struct message){.len = 0});
	m = message_of(0, ANSWERED, "portal.example", RR_AAAA);
	memcpy(m.at, q->data, 2);
	deliver(&h, q, &q->server, &m);
	assert_int_equal(h.sent, 2);
	assert_int_equal(sockets(&h), 2);
	answer(&h, RR_A, ANSWERED, "192.0.2.1", 60);
	answer(&h, RR_AAAA, ANSWERED, NULL, 0);
	is_answered(&h, 7, ADDRESSES("192.0.2.1"));
	resolver_free(h.r);
}

static void answer_to_the_other_socket_is_ignored(void **state)
{
	struct host h;
	struct query *a, *aaaa;
	struct message m;

	(void)state;
	host_new(&h, two_servers);
	look_up(&h, "portal.example", 7);
	a = query_for(&h, RR_A);
	aaaa = query_for(&h, RR_AAAA);
	m = answer_to(a->data, a->len, ANSWERED);
	add_record(&m, a->name, RR_A, 60, "192.0.2.1");
	deliver(&h, aaaa, &aaaa->server, &m);
	assert_int_equal(sockets(&h), 2);
	resolver_free(h.r);
}

static void answer_after_the_socket_was_closed_is_ignored(void **state)
{
	struct host h;
	struct query old;
	struct message m;

	(void)state;
	host_new(&h, two_servers);
	look_up(&h, "portal.example", 7);
	old = *query_for(&h, RR_A);
	m = answer_to(old.data, old.len, ANSWERED);
	add_record(&m, old.name, RR_A, 60, "192.0.2.1");
	wait_until_due(&h);
	deliver(&h, &old, &old.server, &m);
	assert_int_equal(sockets(&h), 2);
	assert_int_equal(h.n_answers, 0);
	resolver_free(h.r);
}

static void t19_link_local_server_answers_with_its_scope(void **state)
{
	struct host h;
	struct query *q;
	struct message m;
	struct endpoint other;

	(void)state;
	host_new(&h, "nameserver fe80::1%2\n");
	look_up(&h, "portal.example", 7);
	q = query_for(&h, RR_A);
	assert_int_equal(q->server.scope, 2);
	m = answer_to(q->data, q->len, ANSWERED);
	add_record(&m, q->name, RR_A, 60, "192.0.2.1");
	other = q->server;
	other.scope = 3;
	deliver(&h, q, &other, &m);
	assert_int_equal(sockets(&h), 2);
	deliver(&h, q, &q->server, &m);
	assert_int_equal(sockets(&h), 1);
	resolver_free(h.r);
}

/* The list of servers shrinks while a query is out: its server still counts, and the tries still
 * end. */
static void new_configuration_does_not_disturb_what_is_under_way(void **state)
{
	struct host h;

	(void)state;
	host_new(&h, "nameserver 192.0.2.53\nnameserver 192.0.2.54\nnameserver 192.0.2.55\n");
	look_up(&h, "portal.example", 7);
	wait_until_due(&h);
	wait_until_due(&h);
	is_server(query_for(&h, RR_A), "192.0.2.55");
	resolver_set_resolv_conf(h.r, "nameserver 192.0.2.99\n", 22);
	answer(&h, RR_A, ANSWERED, "192.0.2.1", 60);
	wait_until_due(&h);
	is_answered(&h, 7, ADDRESSES("192.0.2.1"));
	resolver_free(h.r);
}

static void sixty_four_names_are_looked_up_at_once_and_no_more(void **state)
{
	struct host h;
	char name[32];

	(void)state;
	host_new(&h, two_servers);
	for (unsigned i = 0; i < RESOLVER_MAX_INFLIGHT; i++) {
		snprintf(name, sizeof(name), "n%u.example", i);
		look_up(&h, name, i + 1);
	}
	assert_int_equal(sockets(&h), 2 * RESOLVER_MAX_INFLIGHT);
	assert_false(resolver_lookup(h.r, "one.more", 99, h.now_us));
	drain(&h);
	assert_int_equal(h.sent, 2 * RESOLVER_MAX_INFLIGHT);
	answer(&h, RR_A, ANSWERED, "192.0.2.1", 60);
	answer(&h, RR_AAAA, ANSWERED, NULL, 0);
	assert_int_equal(h.n_answers, 1);
	look_up(&h, "one.more", 99);
	assert_int_equal(sockets(&h), 2 * RESOLVER_MAX_INFLIGHT);
	resolver_free(h.r);
}

/* All at once, and without anybody taking the outputs in between. */
static void all_names_may_time_out_together(void **state)
{
	struct host h;
	char name[32];

	(void)state;
	host_new(&h, two_servers);
	for (unsigned i = 0; i < RESOLVER_MAX_INFLIGHT; i++) {
		snprintf(name, sizeof(name), "n%u.example", i);
		look_up(&h, name, i + 1);
	}
	for (unsigned i = 0; i < 10; i++) {
		h.now_us += 5 * US_PER_S;
		resolver_timeout(h.r, h.now_us);
	}
	drain(&h);
	assert_int_equal(h.n_answers, RESOLVER_MAX_INFLIGHT);
	assert_int_equal(sockets(&h), 0);
	/* Only the first query of each question was ever taken. */
	assert_int_equal(h.sent, 2 * RESOLVER_MAX_INFLIGHT);
	resolver_free(h.r);
}

static void cache_at_its_limit_forgets_the_least_used(void **state)
{
	struct host h;
	char name[32];
	unsigned sent;

	(void)state;
	host_new(&h, two_servers);
	/* Each name takes two places. */
	for (unsigned i = 0; i <= RESOLVER_CACHE / 2; i++) {
		snprintf(name, sizeof(name), "n%u.example", i);
		look_up(&h, name, i + 1);
		answer(&h, RR_A, ANSWERED, "192.0.2.1", 3600);
		answer(&h, RR_AAAA, ANSWERED, "2001:db8::1", 3600);
		h.n_answers = 0;
		h.now_us += US_PER_MS;
		if (i == 0)
			continue;
		sent = h.sent;
		look_up(&h, "n0.example", 9999); /* used all the time */
		assert_int_equal(h.sent, sent);
		h.n_answers = 0;
		h.now_us += US_PER_MS;
	}
	sent = h.sent;
	look_up(&h, "n2.example", 1);
	assert_int_equal(h.sent, sent);
	look_up(&h, "n1.example", 2);
	assert_int_equal(h.sent, sent + 2);
	resolver_free(h.r);
}

static void ipv4_in_ipv6_clothes_is_given_as_ipv4(void **state)
{
	struct host h;

	(void)state;
	host_new(&h, two_servers);
	look_up(&h, "portal.example", 7);
	answer(&h, RR_A, ANSWERED, NULL, 0);
	answer(&h, RR_AAAA, ANSWERED, "::ffff:192.0.2.1", 60);
	is_answered(&h, 7, ADDRESSES("192.0.2.1"));
	resolver_free(h.r);
}

static void servers_are_told(void **state)
{
	struct endpoint servers[RESOLVER_MAX_SERVERS];
	struct host h;

	(void)state;
	host_new(&h, NULL);
	assert_int_equal(resolver_servers(h.r, servers), 1);
	assert_true(ip_is_loopback(&servers[0].ip));
	resolver_set_resolv_conf(h.r, two_servers, strlen(two_servers));
	assert_int_equal(resolver_servers(h.r, servers), 2);
	resolver_free(h.r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(both_families_are_asked_at_once),
	    cmocka_unit_test(trailing_dot_is_of_no_matter),
	    cmocka_unit_test(literals_are_answered_without_a_query),
	    cmocka_unit_test(hosts_file_comes_first),
	    cmocka_unit_test(hosts_file_beats_what_was_cached),
	    cmocka_unit_test(names_that_cannot_be_asked_have_no_address),
	    cmocka_unit_test(answers_are_cached_for_their_ttl),
	    cmocka_unit_test(families_are_cached_each_for_its_own_ttl),
	    cmocka_unit_test(answers_with_ttl_zero_are_not_cached),
	    cmocka_unit_test(no_such_name_is_believed_for_a_while),
	    cmocka_unit_test(other_servers_make_the_cache_void),
	    cmocka_unit_test(silence_moves_on_over_servers_and_attempts),
	    cmocka_unit_test(nothing_happens_before_the_time_is_out),
	    cmocka_unit_test(failing_server_moves_on_at_once),
	    cmocka_unit_test(truncated_answer_without_address_moves_on),
	    cmocka_unit_test(failed_socket_moves_on_at_once),
	    cmocka_unit_test(servers_without_a_route_are_given_up_without_waiting),
	    cmocka_unit_test(every_query_has_a_new_id_and_socket),
	    cmocka_unit_test(t42_stray_datagrams_are_ignored),
	    cmocka_unit_test(answer_to_the_other_socket_is_ignored),
	    cmocka_unit_test(answer_after_the_socket_was_closed_is_ignored),
	    cmocka_unit_test(t19_link_local_server_answers_with_its_scope),
	    cmocka_unit_test(new_configuration_does_not_disturb_what_is_under_way),
	    cmocka_unit_test(sixty_four_names_are_looked_up_at_once_and_no_more),
	    cmocka_unit_test(all_names_may_time_out_together),
	    cmocka_unit_test(cache_at_its_limit_forgets_the_least_used),
	    cmocka_unit_test(ipv4_in_ipv6_clothes_is_given_as_ipv4),
	    cmocka_unit_test(servers_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
