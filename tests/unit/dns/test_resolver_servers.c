/* The resolver and its servers: silent, lame, truncating, one family only; other networks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "resolver_host.h"

static void silence_moves_on_over_servers_and_attempts(void **state)
{
	static const char *const order[] = {"192.0.2.53", "192.0.2.54", "192.0.2.53", "192.0.2.54"};
	struct host h;
	uint64_t start;

	(void)state;
	host_new(&h, TWO_SERVERS);
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
	host_new(&h, TWO_SERVERS);
	look_up(&h, "portal.example", 7);
	answer(&h, RR_A, ANSWERED | SERVFAIL, NULL, 0);
	is_server(query_for(&h, RR_A), "192.0.2.54");
	is_server(query_for(&h, RR_AAAA), "192.0.2.53");
	answer(&h, RR_A, ANSWERED, "192.0.2.1", 60);
	answer(&h, RR_AAAA, ANSWERED, NULL, 0);
	is_answered(&h, 7, ADDRESSES("192.0.2.1"));
	resolver_free(h.r);
}

static void silence(struct host *h)
{
	wait_until_due(h);
	assert_int_equal(sockets(h), 2);
}

/* One server that is lame in this way, then a good one. */
static void is_left_at_once(uint16_t flags)
{
	struct host h;
	uint64_t start;

	host_new(&h, TWO_SERVERS);
	look_up(&h, "portal.example", 7);
	start = h.now_us;
	answer(&h, RR_A, flags, NULL, 0);
	answer(&h, RR_AAAA, flags, NULL, 0);
	is_server(query_for(&h, RR_A), "192.0.2.54");
	is_server(query_for(&h, RR_AAAA), "192.0.2.54");
	answer(&h, RR_A, ANSWERED, "192.0.2.1", 60);
	answer(&h, RR_AAAA, ANSWERED, "2001:db8::1", 60);
	is_answered(&h, 7, ADDRESSES("192.0.2.1", "2001:db8::1"));
	assert_true(h.now_us == start);
	resolver_free(h.r);
}

static void lame_servers_are_left_at_once(void **state)
{
	(void)state;
	is_left_at_once(ANSWERED | SERVFAIL);
	is_left_at_once(ANSWERED | NOTIMP);
	is_left_at_once(ANSWERED | REFUSED);
	is_left_at_once(ANSWERED | 9);
	/* Nothing said of the name, and it does not look names up. */
	is_left_at_once(FLAG_QR | 0x0100);
}

static void when_all_servers_are_lame_the_lookup_fails_without_waiting(void **state)
{
	struct host h;

	(void)state;
	host_new(&h, TWO_SERVERS);
	look_up(&h, "portal.example", 7);
	for (unsigned i = 0; i < 4; i++) {
		answer(&h, RR_A, ANSWERED | REFUSED, NULL, 0);
		answer(&h, RR_AAAA, ANSWERED | SERVFAIL, NULL, 0);
	}
	is_answered(&h, 7, NO_ADDRESSES);
	look_up(&h, "portal.example", 8);
	assert_int_equal(h.sent, 10);
	resolver_free(h.r);
}

static bool has_edns(const struct query *q)
{
	return q->data[11] == 1;
}

static void server_that_does_not_understand_edns_is_asked_without(void **state)
{
	struct host h;
	struct query first;
	struct message m;

	(void)state;
	host_new(&h, TWO_SERVERS);
	look_up(&h, "portal.example", 7);
	first = *query_for(&h, RR_A);
	assert_true(has_edns(&first));
	/* Old servers answer with the header alone. */
	m = message_of((uint16_t)(first.data[0] << 8 | first.data[1]), ANSWERED | FORMERR, NULL, 0);
	deliver(&h, &first, &first.server, &m);
	is_server(query_for(&h, RR_A), "192.0.2.53");
	assert_false(has_edns(query_for(&h, RR_A)));
	assert_memory_not_equal(query_for(&h, RR_A)->data, first.data, 2);
	answer(&h, RR_A, ANSWERED, "192.0.2.1", 60);
	/* Another version of EDNS is wanted: that is not "no address". */
	m = answer_to(query_for(&h, RR_AAAA)->data, query_for(&h, RR_AAAA)->len, ANSWERED);
	add_opt(&m, 1);
	deliver(&h, query_for(&h, RR_AAAA), &first.server, &m);
	assert_false(has_edns(query_for(&h, RR_AAAA)));
	answer(&h, RR_AAAA, ANSWERED, "2001:db8::1", 60);
	is_answered(&h, 7, ADDRESSES("192.0.2.1", "2001:db8::1"));
	resolver_free(h.r);
}

static void second_formerr_moves_on_and_the_next_server_gets_edns(void **state)
{
	struct host h;

	(void)state;
	host_new(&h, TWO_SERVERS);
	look_up(&h, "portal.example", 7);
	answer(&h, RR_A, ANSWERED | FORMERR, NULL, 0);
	answer(&h, RR_A, ANSWERED | FORMERR, NULL, 0);
	is_server(query_for(&h, RR_A), "192.0.2.54");
	assert_true(has_edns(query_for(&h, RR_A)));
	resolver_free(h.r);
}

static void truncated_answer_is_asked_for_over_tcp(void **state)
{
	struct host h;
	struct query udp, *tcp;
	struct message m;

	(void)state;
	host_new(&h, TWO_SERVERS);
	look_up(&h, "portal.example", 7);
	udp = *query_for(&h, RR_A);
	answer(&h, RR_A, ANSWERED | FLAG_TC, "192.0.2.66", 60);
	tcp = query_for(&h, RR_A);
	assert_true(tcp->tcp);
	is_server(tcp, "192.0.2.53");
	assert_int_equal(sockets(&h), 2);
	assert_memory_not_equal(tcp->data, udp.data, 2);
	assert_string_equal(tcp->name, "portal.example");
	/* A message of another id, of another question, and one that did not come that way. */
	m = answer_to(udp.data, udp.len, ANSWERED);
	add_record(&m, udp.name, RR_A, 60, "192.0.2.66");
	deliver(&h, tcp, &tcp->server, &m);
	m = message_of((uint16_t)(tcp->data[0] << 8 | tcp->data[1]), ANSWERED, "other.example",
		       RR_A);
	deliver(&h, tcp, &tcp->server, &m);
	udp = *tcp;
	udp.tcp = false;
	m = answer_to(udp.data, udp.len, ANSWERED);
	add_record(&m, udp.name, RR_A, 60, "192.0.2.66");
	deliver(&h, &udp, &udp.server, &m);
	assert_int_equal(sockets(&h), 2);
	answer(&h, RR_A, ANSWERED, "192.0.2.1", 60);
	answer(&h, RR_AAAA, ANSWERED, NULL, 0);
	is_answered(&h, 7, ADDRESSES("192.0.2.1"));
	h.n_answers = 0;
	look_up(&h, "portal.example", 8);
	is_answered(&h, 8, ADDRESSES("192.0.2.1"));
	resolver_free(h.r);
}

static void tcp_that_fails_moves_on_to_the_next_server(void **state)
{
	struct host h;

	(void)state;
	host_new(&h, TWO_SERVERS);
	look_up(&h, "portal.example", 7);
	answer(&h, RR_AAAA, ANSWERED, NULL, 0);
	answer(&h, RR_A, ANSWERED | FLAG_TC, NULL, 0);
	fail_exchange(&h, query_for(&h, RR_A)->id);
	is_server(query_for(&h, RR_A), "192.0.2.54");
	assert_false(query_for(&h, RR_A)->tcp);
	/* Truncated even there, and silent. */
	answer(&h, RR_A, ANSWERED | FLAG_TC, NULL, 0);
	answer(&h, RR_A, ANSWERED | FLAG_TC, "192.0.2.66", 60);
	is_server(query_for(&h, RR_A), "192.0.2.53");
	answer(&h, RR_A, ANSWERED | FLAG_TC, NULL, 0);
	assert_true(query_for(&h, RR_A)->tcp);
	wait_until_due(&h);
	is_server(query_for(&h, RR_A), "192.0.2.54");
	assert_false(query_for(&h, RR_A)->tcp);
	resolver_free(h.r);
}

static void tcp_that_fails_does_not_make_the_server_the_second_choice(void **state)
{
	(void)state;
	for (int silent = 0; silent < 2; silent++) {
		struct host h;

		host_new(&h, TWO_SERVERS);
		look_up(&h, "portal.example", 7);
		answer(&h, RR_AAAA, ANSWERED, NULL, 0);
		answer(&h, RR_A, ANSWERED | FLAG_TC, NULL, 0);
		if (silent)
			wait_until_due(&h);
		else
			fail_exchange(&h, query_for(&h, RR_A)->id);
		answer(&h, RR_A, ANSWERED, "192.0.2.1", 60);
		is_answered(&h, 7, ADDRESSES("192.0.2.1"));
		look_up(&h, "other.example", 8);
		is_server(query_for(&h, RR_A), "192.0.2.53");
		resolver_free(h.r);
	}
}

static void what_a_truncated_answer_held_is_better_than_nothing(void **state)
{
	struct host h;

	(void)state;
	host_new(&h, "nameserver 192.0.2.53\noptions attempts:1");
	look_up(&h, "portal.example", 7);
	answer(&h, RR_AAAA, ANSWERED, NULL, 0);
	answer(&h, RR_A, ANSWERED | FLAG_TC, "192.0.2.1", 60);
	fail_exchange(&h, query_for(&h, RR_A)->id);
	is_answered(&h, 7, ADDRESSES("192.0.2.1"));
	/* But it is asked again the next time. */
	look_up(&h, "portal.example", 8);
	assert_int_equal(h.sent, 4);
	resolver_free(h.r);
}

static void silent_server_is_not_asked_first_for_a_while(void **state)
{
	struct host h;
	uint64_t silent_us;

	(void)state;
	host_new(&h, TWO_SERVERS);
	look_up(&h, "a.example", 1);
	silence(&h);
	silent_us = h.now_us;
	answer(&h, RR_A, ANSWERED, "192.0.2.1", 60);
	answer(&h, RR_AAAA, ANSWERED, NULL, 0);
	look_up(&h, "b.example", 2);
	is_server(query_for(&h, RR_A), "192.0.2.54");
	is_server(query_for(&h, RR_AAAA), "192.0.2.54");
	/* It is still the second one. */
	answer(&h, RR_A, ANSWERED | SERVFAIL, NULL, 0);
	is_server(query_for(&h, RR_A), "192.0.2.53");
	/* And the first again as soon as it answers, or after a while. */
	answer(&h, RR_A, ANSWERED, "192.0.2.1", 60);
	answer(&h, RR_AAAA, ANSWERED, NULL, 0);
	look_up(&h, "c.example", 3);
	is_server(query_for(&h, RR_A), "192.0.2.53");
	silence(&h);
	answer(&h, RR_A, ANSWERED, "192.0.2.1", 60);
	answer(&h, RR_AAAA, ANSWERED, NULL, 0);
	assert_true(h.now_us > silent_us);
	h.now_us += RESOLVER_SILENT_S * US_PER_S;
	look_up(&h, "d.example", 4);
	is_server(query_for(&h, RR_A), "192.0.2.53");
	resolver_free(h.r);
}

static void lame_server_stays_the_first(void **state)
{
	struct host h;

	(void)state;
	host_new(&h, TWO_SERVERS);
	look_up(&h, "a.example", 1);
	answer(&h, RR_A, ANSWERED | SERVFAIL, NULL, 0);
	answer(&h, RR_A, ANSWERED, "192.0.2.1", 60);
	answer(&h, RR_AAAA, ANSWERED, NULL, 0);
	look_up(&h, "b.example", 2);
	is_server(query_for(&h, RR_A), "192.0.2.53");
	resolver_free(h.r);
}

static void when_all_are_silent_the_first_is_the_first(void **state)
{
	struct host h;

	(void)state;
	host_new(&h, TWO_SERVERS);
	look_up(&h, "a.example", 1);
	for (unsigned i = 0; i < 4; i++)
		wait_until_due(&h);
	is_answered(&h, 1, NO_ADDRESSES);
	look_up(&h, "b.example", 2);
	is_server(query_for(&h, RR_A), "192.0.2.53");
	resolver_free(h.r);
}

static void one_familys_addresses_wait_a_second_for_the_other(void **state)
{
	struct host h;

	(void)state;
	host_new(&h, TWO_SERVERS);
	look_up(&h, "portal.example", 7);
	h.now_us += 20 * US_PER_MS;
	answer(&h, RR_A, ANSWERED, "192.0.2.1", 60);
	assert_true(resolver_deadline(h.r) == h.now_us + RESOLVER_FAMILY_WAIT_MS * US_PER_MS);
	h.now_us += RESOLVER_FAMILY_WAIT_MS * US_PER_MS - 1;
	resolver_timeout(h.r, h.now_us);
	drain(&h);
	assert_int_equal(h.n_answers, 0);
	h.now_us++;
	resolver_timeout(h.r, h.now_us);
	drain(&h);
	assert_int_equal(h.n_answers, 1);
	assert_int_equal(h.answers[0].n, 1);
	/* The other one is for the cache. */
	assert_int_equal(sockets(&h), 1);
	answer(&h, RR_AAAA, ANSWERED, "2001:db8::1", 60);
	assert_int_equal(h.n_answers, 1);
	assert_int_equal(sockets(&h), 0);
	assert_true(resolver_deadline(h.r) == NEVER_US);
	h.n_answers = 0;
	look_up(&h, "portal.example", 8);
	is_answered(&h, 8, ADDRESSES("192.0.2.1", "2001:db8::1"));
	resolver_free(h.r);
}

static void that_there_is_no_address_does_not_end_the_wait(void **state)
{
	struct host h;

	(void)state;
	host_new(&h, TWO_SERVERS);
	look_up(&h, "portal.example", 7);
	answer(&h, RR_A, ANSWERED, NULL, 0);
	wait_until_due(&h);
	assert_int_equal(h.n_answers, 0);
	is_server(query_for(&h, RR_AAAA), "192.0.2.54");
	answer(&h, RR_AAAA, ANSWERED, "2001:db8::1", 60);
	is_answered(&h, 7, ADDRESSES("2001:db8::1"));
	resolver_free(h.r);
}

/* All servers drop questions for AAAA, as some do. */
static void family_that_nobody_answers_for_costs_one_wait_only(void **state)
{
	struct host h;
	uint64_t start;

	(void)state;
	host_new(&h, TWO_SERVERS);
	look_up(&h, "portal.example", 7);
	start = h.now_us;
	answer(&h, RR_A, ANSWERED, "192.0.2.1", 3600);
	wait_until_due(&h);
	assert_int_equal(h.n_answers, 1);
	assert_true(h.now_us == start + RESOLVER_FAMILY_WAIT_MS * US_PER_MS);
	for (unsigned i = 0; i < 4; i++)
		wait_until_due(&h);
	assert_true(h.now_us == start + 4 * 5 * US_PER_S);
	is_answered(&h, 7, ADDRESSES("192.0.2.1"));
	h.n_answers = 0;
	look_up(&h, "portal.example", 8);
	is_answered(&h, 8, ADDRESSES("192.0.2.1"));
	/* It is tried again later. */
	h.now_us += 30 * US_PER_S;
	look_up(&h, "portal.example", 9);
	assert_true(asks_for(&h, RR_AAAA));
	assert_false(asks_for(&h, RR_A));
	resolver_free(h.r);
}

static void what_goes_on_for_the_cache_gives_way_to_new_names(void **state)
{
	struct host h;
	char name[32];

	(void)state;
	host_new(&h, TWO_SERVERS);
	for (unsigned i = 0; i < RESOLVER_MAX_INFLIGHT; i++) {
		snprintf(name, sizeof(name), "n%u.example", i);
		look_up(&h, name, i + 1);
		answer(&h, RR_A, ANSWERED, "192.0.2.1", 60);
	}
	wait_until_due(&h);
	assert_int_equal(h.n_answers, RESOLVER_MAX_INFLIGHT);
	assert_int_equal(sockets(&h), RESOLVER_MAX_INFLIGHT);
	h.n_answers = 0;
	for (unsigned i = 0; i < RESOLVER_MAX_INFLIGHT; i++) {
		snprintf(name, sizeof(name), "m%u.example", i);
		look_up(&h, name, i + 1);
	}
	assert_int_equal(sockets(&h), 2 * RESOLVER_MAX_INFLIGHT);
	assert_false(resolver_lookup(h.r, "one.more", 99, h.now_us));
	resolver_free(h.r);
}

static void restart_asks_anew_of_the_servers_known_now(void **state)
{
	struct host h;
	struct query old;
	struct message m;

	(void)state;
	host_new(&h, TWO_SERVERS);
	look_up(&h, "known.example", 6);
	answer(&h, RR_A, ANSWERED, "192.0.2.1", 60);
	answer(&h, RR_AAAA, ANSWERED, NULL, 0);
	look_up(&h, "portal.example", 7);
	answer(&h, RR_AAAA, ANSWERED, "2001:db8::1", 60);
	old = *query_for(&h, RR_A);
	h.n_answers = 0;
	resolver_set_resolv_conf(h.r, "nameserver 198.51.100.53", 24);
	resolver_restart(h.r, h.now_us);
	drain(&h);
	assert_int_equal(sockets(&h), 2);
	is_server(query_for(&h, RR_A), "198.51.100.53");
	is_server(query_for(&h, RR_AAAA), "198.51.100.53");
	m = answer_to(old.data, old.len, ANSWERED);
	add_record(&m, old.name, RR_A, 60, "192.0.2.66");
	deliver(&h, &old, &old.server, &m);
	answer(&h, RR_A, ANSWERED, "192.0.2.1", 60);
	answer(&h, RR_AAAA, ANSWERED, "2001:db8::2", 60);
	is_answered(&h, 7, ADDRESSES("192.0.2.1", "2001:db8::2"));
	/* What the old network said is forgotten. */
	look_up(&h, "known.example", 8);
	assert_int_equal(sockets(&h), 2);
	resolver_free(h.r);
}

static void restart_forgets_who_was_silent_and_what_was_late(void **state)
{
	struct host h;

	(void)state;
	host_new(&h, TWO_SERVERS);
	look_up(&h, "portal.example", 7);
	silence(&h);
	answer(&h, RR_A, ANSWERED, "192.0.2.1", 60);
	wait_until_due(&h);
	assert_int_equal(h.n_answers, 1);
	assert_int_equal(sockets(&h), 1);
	resolver_restart(h.r, h.now_us);
	drain(&h);
	is_answered(&h, 7, ADDRESSES("192.0.2.1"));
	look_up(&h, "portal.example", 8);
	is_server(query_for(&h, RR_A), "192.0.2.53");
	is_server(query_for(&h, RR_AAAA), "192.0.2.53");
	resolver_free(h.r);
}

/* Even if nobody takes the outputs in between. */
static void restarts_in_a_row_leak_no_exchange(void **state)
{
	static const char hosts[] = "192.0.2.9 n5.example\n";
	struct host h;
	char name[32];

	(void)state;
	host_new(&h, TWO_SERVERS);
	for (unsigned i = 0; i < RESOLVER_MAX_INFLIGHT; i++) {
		snprintf(name, sizeof(name), "n%u.example", i);
		look_up(&h, name, i + 1);
	}
	for (unsigned i = 0; i < 5; i++)
		resolver_restart(h.r, h.now_us);
	drain(&h);
	assert_int_equal(sockets(&h), 2 * RESOLVER_MAX_INFLIGHT);
	assert_int_equal(h.sent, 4 * RESOLVER_MAX_INFLIGHT);
	/* The hosts file counts again, too. */
	resolver_set_hosts(h.r, hosts, strlen(hosts));
	resolver_restart(h.r, h.now_us);
	drain(&h);
	assert_int_equal(h.n_answers, 1);
	assert_true(h.answers[0].token == 6);
	assert_int_equal(sockets(&h), 2 * (RESOLVER_MAX_INFLIGHT - 1));
	resolver_free(h.r);
}

struct lines {
	char text[4096];
};

static void keep_line(void *ctx, const char *line, size_t len)
{
	struct lines *lines = ctx;

	assert_true(strlen(lines->text) + len < sizeof(lines->text));
	strncat(lines->text, line, len);
}

static uint64_t no_clock(void *ctx)
{
	(void)ctx;
	return 0;
}

static void failed_lookup_is_logged_with_name_and_reason(void **state)
{
	struct lines lines = {.text = ""};
	struct log_config log = {
	    .filter = "debug", .write = keep_line, .wall_us = no_clock, .ctx = &lines};
	struct resolver_config cfg = {.log = log_new(&log, NULL, 0)};
	struct host h;

	(void)state;
	host_new(&h, TWO_SERVERS);
	resolver_free(h.r);
	cfg.rng = rng_from_seed(&h.seed, 1);
	h.r = resolver_new(&cfg);
	assert_non_null(h.r);
	resolver_set_resolv_conf(h.r, "nameserver 192.0.2.53\noptions attempts:1", 40);
	look_up(&h, "good.example", 1);
	answer(&h, RR_A, ANSWERED, "192.0.2.1", 60);
	answer(&h, RR_AAAA, ANSWERED, NULL, 0);
	assert_string_equal(lines.text, "");
	look_up(&h, "bad.example", 2);
	answer(&h, RR_A, ANSWERED | NXDOMAIN, NULL, 0);
	answer(&h, RR_AAAA, ANSWERED | REFUSED, NULL, 0);
	assert_non_null(strstr(lines.text, "DEBUG"));
	assert_non_null(strstr(lines.text, "bad.example"));
	assert_non_null(strstr(lines.text, "no such name"));
	assert_non_null(strstr(lines.text, "REFUSED"));
	resolver_free(h.r);
	log_free(cfg.log);
}

static void failed_socket_moves_on_at_once(void **state)
{
	struct host h;
	uint32_t old;

	(void)state;
	host_new(&h, TWO_SERVERS);
	look_up(&h, "portal.example", 7);
	old = query_for(&h, RR_A)->id;
	fail_exchange(&h, old);
	is_server(query_for(&h, RR_A), "192.0.2.54");
	assert_int_equal(sockets(&h), 2);
	/* A query that is no longer out fails nothing. */
	fail_exchange(&h, old);
	fail_exchange(&h, 0);
	assert_int_equal(h.sent, 3);
	resolver_free(h.r);
}

/* No family can be sent to: the answer comes at once, not after the time-outs. */
static void servers_without_a_route_are_given_up_without_waiting(void **state)
{
	struct host h;
	unsigned failed = 0;

	(void)state;
	host_new(&h, TWO_SERVERS);
	look_up(&h, "portal.example", 7);
	while (sockets(&h) > 0) {
		struct query *q = asks_for(&h, RR_A) ? query_for(&h, RR_A) : query_for(&h, RR_AAAA);

		fail_exchange(&h, q->id);
		failed++;
	}
	assert_int_equal(failed, 8);
	is_answered(&h, 7, NO_ADDRESSES);
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
	answer(&h, RR_A, ANSWERED, NULL, 0);
	wait_until_due(&h);
	is_answered(&h, 7, NO_ADDRESSES);
	resolver_free(h.r);
}

/* All at once, and without anybody taking the outputs in between. */
static void all_names_may_time_out_together(void **state)
{
	struct host h;
	char name[32];

	(void)state;
	host_new(&h, TWO_SERVERS);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(silence_moves_on_over_servers_and_attempts),
	    cmocka_unit_test(nothing_happens_before_the_time_is_out),
	    cmocka_unit_test(failing_server_moves_on_at_once),
	    cmocka_unit_test(lame_servers_are_left_at_once),
	    cmocka_unit_test(when_all_servers_are_lame_the_lookup_fails_without_waiting),
	    cmocka_unit_test(server_that_does_not_understand_edns_is_asked_without),
	    cmocka_unit_test(second_formerr_moves_on_and_the_next_server_gets_edns),
	    cmocka_unit_test(truncated_answer_is_asked_for_over_tcp),
	    cmocka_unit_test(tcp_that_fails_moves_on_to_the_next_server),
	    cmocka_unit_test(tcp_that_fails_does_not_make_the_server_the_second_choice),
	    cmocka_unit_test(what_a_truncated_answer_held_is_better_than_nothing),
	    cmocka_unit_test(silent_server_is_not_asked_first_for_a_while),
	    cmocka_unit_test(lame_server_stays_the_first),
	    cmocka_unit_test(when_all_are_silent_the_first_is_the_first),
	    cmocka_unit_test(one_familys_addresses_wait_a_second_for_the_other),
	    cmocka_unit_test(that_there_is_no_address_does_not_end_the_wait),
	    cmocka_unit_test(family_that_nobody_answers_for_costs_one_wait_only),
	    cmocka_unit_test(what_goes_on_for_the_cache_gives_way_to_new_names),
	    cmocka_unit_test(restart_asks_anew_of_the_servers_known_now),
	    cmocka_unit_test(restart_forgets_who_was_silent_and_what_was_late),
	    cmocka_unit_test(restarts_in_a_row_leak_no_exchange),
	    cmocka_unit_test(failed_lookup_is_logged_with_name_and_reason),
	    cmocka_unit_test(failed_socket_moves_on_at_once),
	    cmocka_unit_test(servers_without_a_route_are_given_up_without_waiting),
	    cmocka_unit_test(new_configuration_does_not_disturb_what_is_under_way),
	    cmocka_unit_test(all_names_may_time_out_together),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
