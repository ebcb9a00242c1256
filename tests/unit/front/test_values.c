#include "front/values.h"
#include "portal/url.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void assert_duration(const char *text, uint64_t want_us)
{
	uint64_t got = 1;

	assert_true(value_duration(text, &got));
	assert_int_equal(got, want_us);
}

static void durations_add_up(void **state)
{
	(void)state;
	assert_duration("0", 0);
	assert_duration(" 0 ", 0);
	assert_duration("5m", 300 * US_PER_S);
	assert_duration("24h", 86400 * US_PER_S);
	assert_duration("30d", 30 * 86400 * US_PER_S);
	assert_duration("1h 30m", 5400 * US_PER_S);
	assert_duration("1h30m", 5400 * US_PER_S);
	assert_duration("1 hour 30 min", 5400 * US_PER_S);
	assert_duration("1.5h", 5400 * US_PER_S);
	assert_duration("0.1s", 100000);
	assert_duration("2w", 14 * 86400 * US_PER_S);
	assert_duration("1M", 2630016 * US_PER_S);
	assert_duration("1y", 31557600 * US_PER_S);
	assert_duration("1500ns", 1);
	assert_duration("7us", 7);
	assert_duration("15ms", 15000);
}

static void malformed_durations_are_refused(void **state)
{
	static const char *const bad[] = {
	    "",   "5",   "00x",  "h",    "-1s",  "1..5h", "1.h",    ".5h",
	    "1H", "5 S", "1 5m", "1h,2", "1e3s", "0 0",   "1h foo", "999999999999y"};
	uint64_t out = 42;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		if (value_duration(bad[i], &out))
			fail_msg("\"%s\" was accepted", bad[i]);
	}
	assert_int_equal(out, 42);
}

static void boolean_words_in_any_case(void **state)
{
	bool out = false;

	(void)state;
	assert_true(value_bool("TRUE", &out) && out);
	assert_true(value_bool("off", &out) && !out);
	assert_true(value_bool("Yes", &out) && out);
	assert_true(value_bool("0", &out) && !out);
	assert_true(value_bool("1", &out) && out);
	assert_true(value_bool("no", &out) && !out);
	assert_false(value_bool("2", &out));
	assert_false(value_bool("", &out));
	assert_false(value_bool("truex", &out));
}

static void listen_addresses(void **state)
{
	struct sockaddr_in6 out;
	struct sockaddr_in v4;

	(void)state;
	assert_true(value_ip_port("0.0.0.0:8080", &out));
	memcpy(&v4, &out, sizeof(v4));
	assert_int_equal(v4.sin_family, AF_INET);
	assert_int_equal(ntohs(v4.sin_port), 8080);
	assert_true(value_ip_port("[::1]:1", &out));
	assert_int_equal(out.sin6_family, AF_INET6);
	assert_false(value_ip_port("::1:80", &out));
	assert_false(value_ip_port("localhost:80", &out));
	assert_false(value_ip_port("1.2.3.4", &out));
	assert_false(value_ip_port("1.2.3.4:0", &out));
	assert_false(value_ip_port("1.2.3.4:65536", &out));
	assert_false(value_ip_port("[]:80", &out));
	assert_false(value_ip_port(":80", &out));
}

static void urls_give_host_and_port(void **state)
{
	static const struct {
		const char *text, *host;
		uint16_t port;
		bool tls, local;
	} good[] = {
	    {"wss://api.firezone.dev", "api.firezone.dev", 443, true, false},
	    {"https://a.b/", "a.b", 443, true, false},
	    {"WS://a.b/base/path/?x=1", "a.b", 80, false, false},
	    {"http://127.0.0.1:8081/", "127.0.0.1", 8081, false, true},
	    {"ws://[::1]:99", "::1", 99, false, true},
	    {"ws://[2001:db8::1]", "2001:db8::1", 80, false, false},
	    {"wss://localhost:", "localhost", 443, true, true},
	    {"wss://169.254.1.1", "169.254.1.1", 443, true, true},
	};
	struct portal_url url;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		if (!portal_url_parse(&url, good[i].text))
			fail_msg("\"%s\" was refused", good[i].text);
		assert_string_equal(url.host, good[i].host);
		assert_int_equal(url.port, good[i].port);
		assert_int_equal(url.tls, good[i].tls);
		assert_int_equal(portal_url_is_local(&url), good[i].local);
	}
}

static void what_is_no_portal_url_is_refused(void **state)
{
	static const char *const bad[] = {
	    "",          "api.firezone.dev", "ftp://a.b",     "wss://",         "wss:///x",
	    "wss://a b", "wss://a:0",        "wss://a:65536", "wss://u:p@host", "wss://[::1",
	    "wss://[x]", "wss://a:8x",       "wss://a/\n"};
	struct portal_url url = {.port = 7};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		if (portal_url_parse(&url, bad[i]))
			fail_msg("\"%s\" was accepted", bad[i]);
	}
	assert_int_equal(url.port, 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(durations_add_up),
	    cmocka_unit_test(malformed_durations_are_refused),
	    cmocka_unit_test(boolean_words_in_any_case),
	    cmocka_unit_test(listen_addresses),
	    cmocka_unit_test(urls_give_host_and_port),
	    cmocka_unit_test(what_is_no_portal_url_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
