/* The resolver's state machine: names, the hosts file, the cache, strays, limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "resolver_host.h"

static void both_families_are_asked_at_once(void **state)
{
	struct host h;

	(void)state;
	host_new(&h, TWO_SERVERS);
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
	host_new(&h, TWO_SERVERS);
	look_up(&h, "portal.example.", 7);
	assert_string_equal(query_for(&h, RR_A)->name, "portal.example");
	resolver_free(h.r);
}

static void literals_are_answered_without_a_query(void **state)
{
	struct host h;

	(void)state;
	host_new(&h, TWO_SERVERS);
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
	host_new(&h, TWO_SERVERS);
	resolver_set_hosts(h.r, hosts, strlen(hosts));
	look_up(&h, "Portal.Example.", 7);
	is_answered(&h, 7, ADDRESSES("192.0.2.9", "2001:db8::9"));
	assert_int_equal(h.sent, 0);
	h.n_answers = 0;
	resolver_set_hosts(h.r, hosts, strlen(hosts));
	resolver_set_hosts(h.r, "192.0.2.8 portal.example\n", 25);
	look_up(&h, "portal.example", 7);
	is_answered(&h, 7, ADDRESSES("192.0.2.8"));
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
	host_new(&h, TWO_SERVERS);
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
	host_new(&h, TWO_SERVERS);
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
	host_new(&h, TWO_SERVERS);
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
	host_new(&h, TWO_SERVERS);
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
	host_new(&h, TWO_SERVERS);
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
	host_new(&h, TWO_SERVERS);
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
	host_new(&h, TWO_SERVERS);
	look_up(&h, "portal.example", 7);
	answer(&h, RR_A, ANSWERED, "192.0.2.1", 60);
	answer(&h, RR_AAAA, ANSWERED, NULL, 0);
	resolver_set_resolv_conf(h.r, TWO_SERVERS, strlen(TWO_SERVERS));
	look_up(&h, "portal.example", 8);
	assert_int_equal(h.sent, 2);
	resolver_set_resolv_conf(h.r, "nameserver 192.0.2.99", 21);
	look_up(&h, "portal.example", 9);
	assert_int_equal(h.sent, 4);
	is_server(query_for(&h, RR_A), "192.0.2.99");
	resolver_free(h.r);
}

static void every_query_has_a_new_id_and_socket(void **state)
{
	struct host h;
	struct query first;

	(void)state;
	host_new(&h, TWO_SERVERS);
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
	host_new(&h, TWO_SERVERS);
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
	host_new(&h, TWO_SERVERS);
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
	host_new(&h, TWO_SERVERS);
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
	/* Named without scope, it answers with one. */
	assert_true(ip_parse(&other.ip, "fe80::1", 7));
	other.scope = 0;
	assert_true(dns_is_from(&other, &(struct endpoint){other.ip, 53, 2}));
	assert_false(dns_is_from(&other, &(struct endpoint){other.ip, 54, 2}));
	assert_true(ip_parse(&other.ip, "2001:db8::1", 11));
	assert_false(dns_is_from(&other, &(struct endpoint){other.ip, 53, 2}));
}

static void sixty_four_names_are_looked_up_at_once_and_no_more(void **state)
{
	struct host h;
	char name[32];

	(void)state;
	host_new(&h, TWO_SERVERS);
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

static void cache_at_its_limit_forgets_the_least_used(void **state)
{
	struct host h;
	char name[32];
	unsigned sent;

	(void)state;
	host_new(&h, TWO_SERVERS);
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
	host_new(&h, TWO_SERVERS);
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
	resolver_set_resolv_conf(h.r, TWO_SERVERS, strlen(TWO_SERVERS));
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
	    cmocka_unit_test(every_query_has_a_new_id_and_socket),
	    cmocka_unit_test(t42_stray_datagrams_are_ignored),
	    cmocka_unit_test(answer_to_the_other_socket_is_ignored),
	    cmocka_unit_test(answer_after_the_socket_was_closed_is_ignored),
	    cmocka_unit_test(t19_link_local_server_answers_with_its_scope),
	    cmocka_unit_test(sixty_four_names_are_looked_up_at_once_and_no_more),
	    cmocka_unit_test(cache_at_its_limit_forgets_the_least_used),
	    cmocka_unit_test(ipv4_in_ipv6_clothes_is_given_as_ipv4),
	    cmocka_unit_test(servers_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
