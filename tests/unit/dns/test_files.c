/* resolv.conf and hosts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dns/files.h"

/* The text ends with its buffer, so that the sanitizers see a read past it. */
static struct resolv_conf conf_of(const char *text)
{
	size_t len = strlen(text);
	char *copy = malloc(len > 0 ? len : 1);
	struct resolv_conf conf;

	assert_non_null(copy);
	memcpy(copy, text, len);
	resolv_conf_parse(&conf, copy, len);
	free(copy);
	return conf;
}

static void is_server(const struct resolv_conf *conf, size_t i, const char *text, uint32_t scope)
{
	char out[IP_TEXT_MAX];

	assert_true(i < conf->n_servers);
	ip_format(&conf->servers[i].ip, out);
	assert_string_equal(out, text);
	assert_int_equal(conf->servers[i].port, 53);
	assert_int_equal(conf->servers[i].scope, scope);
}

static size_t hosts_of(const char *text, const char *name, struct ip_addr *out, size_t max)
{
	size_t len = strlen(text), n;
	char *copy = malloc(len > 0 ? len : 1);

	assert_non_null(copy);
	memcpy(copy, text, len);
	n = hosts_lookup(copy, len, name, out, max);
	free(copy);
	return n;
}

static void servers_keep_their_order(void **state)
{
	struct resolv_conf conf =
	    conf_of("nameserver 192.0.2.53\nnameserver 2001:db8::53\n\nnameserver 127.0.0.53");

	(void)state;
	assert_int_equal(conf.n_servers, 3);
	is_server(&conf, 0, "192.0.2.53", 0);
	is_server(&conf, 1, "2001:db8::53", 0);
	is_server(&conf, 2, "127.0.0.53", 0);
	assert_int_equal(conf.timeout_s, 5);
	assert_int_equal(conf.attempts, 2);
}

static void missing_file_and_file_without_servers_mean_this_host(void **state)
{
	struct resolv_conf conf;

	(void)state;
	resolv_conf_parse(&conf, NULL, 0);
	assert_int_equal(conf.n_servers, 1);
	is_server(&conf, 0, "127.0.0.1", 0);
	conf = conf_of("");
	is_server(&conf, 0, "127.0.0.1", 0);
	conf = conf_of("search example.com\n# nameserver 192.0.2.1\n;nameserver 192.0.2.1\n");
	assert_int_equal(conf.n_servers, 1);
	is_server(&conf, 0, "127.0.0.1", 0);
}

static void comments_blanks_and_line_ends_do_not_matter(void **state)
{
	struct resolv_conf conf =
	    conf_of("\t nameserver \t 192.0.2.1 # first\r\nnameserver 192.0.2.2;second\r\n");

	(void)state;
	assert_int_equal(conf.n_servers, 2);
	is_server(&conf, 0, "192.0.2.1", 0);
	is_server(&conf, 1, "192.0.2.2", 0);
}

static void malformed_lines_are_skipped(void **state)
{
	struct resolv_conf conf =
	    conf_of("nameserver\nnameserver dns.example\nnameserver 192.0.2\nnameserver 0.0.0.0\n"
		    "nameserver ff02::1\nnameservers 192.0.2.9\nnameserver 192.0.2.1\n");

	(void)state;
	assert_int_equal(conf.n_servers, 1);
	is_server(&conf, 0, "192.0.2.1", 0);
}

static void link_local_servers_need_a_numeric_scope(void **state)
{
	struct resolv_conf conf =
	    conf_of("nameserver fe80::1\nnameserver fe80::1%eth0\nnameserver fe80::1%\n"
		    "nameserver fe80::1%0\nnameserver fe80::1%4294967296\nnameserver fe80::1%7\n");

	(void)state;
	assert_int_equal(conf.n_servers, 1);
	is_server(&conf, 0, "fe80::1", 7);
}

static void scope_of_an_address_that_needs_none_is_dropped(void **state)
{
	struct resolv_conf conf = conf_of("nameserver 2001:db8::53%2\nnameserver 192.0.2.1%3\n");

	(void)state;
	is_server(&conf, 0, "2001:db8::53", 0);
	is_server(&conf, 1, "192.0.2.1", 0);
}

static void ipv4_in_ipv6_clothes_is_ipv4(void **state)
{
	struct resolv_conf conf = conf_of("nameserver ::ffff:192.0.2.1\n");

	(void)state;
	is_server(&conf, 0, "192.0.2.1", 0);
	/* Also where it is no server's. */
	conf = conf_of("nameserver ::ffff:224.0.0.1\nnameserver ::ffff:0.0.0.0\n");
	is_server(&conf, 0, "127.0.0.1", 0);
}

static void eighth_server_is_taken_and_the_ninth_is_not(void **state)
{
	char text[512] = "";
	struct resolv_conf conf;
	size_t len = 0;

	(void)state;
	for (int i = 1; i <= RESOLV_MAX_SERVERS + 1; i++) {
		len +=
		    (size_t)snprintf(text + len, sizeof(text) - len, "nameserver 192.0.2.%d\n", i);
		conf = conf_of(text);
		assert_int_equal(conf.n_servers, i <= RESOLV_MAX_SERVERS ? i : RESOLV_MAX_SERVERS);
	}
	is_server(&conf, 7, "192.0.2.8", 0);
}

static void options_set_timeout_and_attempts_within_their_caps(void **state)
{
	struct resolv_conf conf = conf_of("options rotate timeout:3 edns0\noptions attempts:4\n");

	(void)state;
	assert_int_equal(conf.timeout_s, 3);
	assert_int_equal(conf.attempts, 4);
	conf = conf_of("options timeout:31 attempts:6");
	assert_int_equal(conf.timeout_s, 30);
	assert_int_equal(conf.attempts, 5);
	conf = conf_of("options timeout:0 attempts:0 timeout: attempts:x timeout:9999999999");
	assert_int_equal(conf.timeout_s, 5);
	assert_int_equal(conf.attempts, 2);
}

static void hosts_gives_all_addresses_of_a_name_or_alias(void **state)
{
	static const char text[] =
	    "127.0.0.1 localhost\n192.0.2.7 Portal.Example gw # portal.test\n"
	    "2001:db8::7\tportal.example\n192.0.2.7 portal.example\n";
	struct ip_addr out[8];
	char first[IP_TEXT_MAX], second[IP_TEXT_MAX];

	(void)state;
	assert_int_equal(hosts_of(text, "portal.EXAMPLE", out, 8), 2);
	ip_format(&out[0], first);
	ip_format(&out[1], second);
	assert_string_equal(first, "192.0.2.7");
	assert_string_equal(second, "2001:db8::7");
	assert_int_equal(hosts_of(text, "gw", out, 8), 1);
	assert_int_equal(hosts_of(text, "portal.test", out, 8), 0);
	assert_int_equal(hosts_of(text, "portal", out, 8), 0);
	assert_int_equal(hosts_of(text, "192.0.2.7", out, 8), 0);
}

static void hosts_stops_at_the_callers_limit(void **state)
{
	struct ip_addr out[2];

	(void)state;
	assert_int_equal(hosts_of("192.0.2.1 a\n192.0.2.2 a\n192.0.2.3 a\n", "a", out, 2), 2);
	assert_int_equal(hosts_of("192.0.2.1 a\n", "a", out, 0), 0);
}

static void hosts_without_file_or_with_broken_lines_finds_nothing(void **state)
{
	struct ip_addr out[2];

	(void)state;
	assert_int_equal(hosts_lookup(NULL, 0, "a", out, 2), 0);
	assert_int_equal(hosts_of("", "a", out, 2), 0);
	assert_int_equal(hosts_of("192.0.2 a\nfe80::1%2 a\n192.0.2.1\n", "a", out, 2), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(servers_keep_their_order),
	    cmocka_unit_test(missing_file_and_file_without_servers_mean_this_host),
	    cmocka_unit_test(comments_blanks_and_line_ends_do_not_matter),
	    cmocka_unit_test(malformed_lines_are_skipped),
	    cmocka_unit_test(link_local_servers_need_a_numeric_scope),
	    cmocka_unit_test(scope_of_an_address_that_needs_none_is_dropped),
	    cmocka_unit_test(ipv4_in_ipv6_clothes_is_ipv4),
	    cmocka_unit_test(eighth_server_is_taken_and_the_ninth_is_not),
	    cmocka_unit_test(options_set_timeout_and_attempts_within_their_caps),
	    cmocka_unit_test(hosts_gives_all_addresses_of_a_name_or_alias),
	    cmocka_unit_test(hosts_stops_at_the_callers_limit),
	    cmocka_unit_test(hosts_without_file_or_with_broken_lines_finds_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
