#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "packet/addr.h"

static struct ip_addr addr(const char *text)
{
	struct ip_addr ip = {.family = IP_NONE};

	if (!ip_parse(&ip, text, strlen(text)))
		fail_msg("%s does not parse", text);
	return ip;
}

static bool parses(const char *text)
{
	struct ip_addr ip;

	return ip_parse(&ip, text, strlen(text));
}

static void address_text_round_trips(void **state)
{
	static const char *const texts[] = {
	    "0.0.0.0", "192.0.2.1",   "255.255.255.255", "::",
	    "::1",     "2001:db8::1", "fe80::1:2:3",     "ff02::1",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct ip_addr ip = addr(texts[i]);
		char out[IP_TEXT_MAX];

		ip_format(&ip, out);
		assert_string_equal(out, texts[i]);
	}
}

static void address_refuses_what_is_none(void **state)
{
	struct ip_addr ip = {.family = IP_V4, .bytes = {1, 2, 3, 4}};
	struct ip_addr before = ip;

	(void)state;
	assert_false(parses(""));
	assert_false(parses("1.2.3"));
	assert_false(parses("1.2.3.256"));
	assert_false(parses(" 1.2.3.4"));
	assert_false(parses("[::1]"));
	assert_false(parses("fe80::1%1"));
	assert_false(parses("1.2.3.4/8"));
	assert_false(ip_parse(&ip, "1.2.3.4\0", 8));
	assert_false(ip_parse(&ip, "11111111111111111111111111111111111111111111111", 47));
	assert_true(ip_eq(&ip, &before));
}

static void address_text_needs_no_terminator(void **state)
{
	struct ip_addr ip;
	struct ip_addr want = addr("10.0.0.1");

	(void)state;
	assert_true(ip_parse(&ip, "10.0.0.1junk", 8));
	assert_true(ip_eq(&ip, &want));
}

static void endpoint_text_round_trips(void **state)
{
	static const char *const texts[] = {"192.0.2.1:0", "192.0.2.1:65535", "[2001:db8::1]:80"};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct endpoint ep;
		char out[ENDPOINT_TEXT_MAX];

		assert_true(endpoint_parse(&ep, texts[i], strlen(texts[i])));
		endpoint_format(&ep, out);
		assert_string_equal(out, texts[i]);
	}
}

static void endpoint_refuses_what_is_none(void **state)
{
	static const char *const texts[] = {
	    "",
	    ":80",
	    "192.0.2.1",
	    "192.0.2.1:",
	    "192.0.2.1:65536",
	    "2001:db8::1:80",
	    "[192.0.2.1]:80",
	    "[2001:db8::1:80",
	    "[]:80",
	    "192.0.2.1:-1",
	    "192.0.2.1:8 ",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct endpoint ep;

		if (endpoint_parse(&ep, texts[i], strlen(texts[i])))
			fail_msg("\"%s\" was taken for an endpoint", texts[i]);
	}
}

static void endpoints_differ_by_scope(void **state)
{
	struct endpoint a;
	struct endpoint b;

	(void)state;
	assert_true(endpoint_parse(&a, "[fe80::1]:80", 12));
	b = a;
	assert_true(endpoint_eq(&a, &b));
	b.scope = 2;
	assert_false(endpoint_eq(&a, &b));
}

static bool prefix_ok(const char *text)
{
	struct ip_prefix prefix;

	return ip_prefix_parse(&prefix, text, strlen(text));
}

static void prefix_needs_length_and_zero_host_bits(void **state)
{
	(void)state;
	assert_true(prefix_ok("10.0.0.0/8"));
	assert_true(prefix_ok("0.0.0.0/0"));
	assert_true(prefix_ok("10.1.2.3/32"));
	assert_true(prefix_ok("2001:db8::/33"));
	assert_true(prefix_ok("::/0"));
	assert_true(prefix_ok("::1/128"));
	assert_false(prefix_ok("10.0.0.0"));
	assert_false(prefix_ok("10.0.0.1/8"));
	assert_false(prefix_ok("10.128.0.0/8"));
	assert_false(prefix_ok("10.0.0.0/33"));
	assert_false(prefix_ok("2001:db8::1/64"));
	assert_false(prefix_ok("2001:db8::/129"));
	assert_false(prefix_ok("10.0.0.0/"));
	assert_false(prefix_ok("/8"));
}

static void prefix_contains_its_range_only(void **state)
{
	struct ip_prefix prefix;
	struct ip_addr ip;

	(void)state;
	assert_true(ip_prefix_parse(&prefix, "100.64.0.0/11", 13));
	ip = addr("100.64.0.0");
	assert_true(ip_prefix_has(&prefix, &ip));
	ip = addr("100.95.255.255");
	assert_true(ip_prefix_has(&prefix, &ip));
	ip = addr("100.96.0.0");
	assert_false(ip_prefix_has(&prefix, &ip));
	ip = addr("100.63.255.255");
	assert_false(ip_prefix_has(&prefix, &ip));
	ip = addr("6440::");
	assert_false(ip_prefix_has(&prefix, &ip));
	assert_true(ip_prefix_parse(&prefix, "::/0", 4));
	assert_true(ip_prefix_has(&prefix, &ip));
}

struct class_row {
	const char *text;
	bool (*is)(const struct ip_addr *ip);
	bool want;
};

static void classes_have_exact_edges(void **state)
{
	static const struct class_row rows[] = {
	    {"0.0.0.0", ip_is_unspecified, true},
	    {"::", ip_is_unspecified, true},
	    {"0.0.0.1", ip_is_unspecified, false},
	    {"127.255.255.255", ip_is_loopback, true},
	    {"128.0.0.0", ip_is_loopback, false},
	    {"::1", ip_is_loopback, true},
	    {"::2", ip_is_loopback, false},
	    {"224.0.0.0", ip_is_multicast, true},
	    {"239.255.255.255", ip_is_multicast, true},
	    {"240.0.0.0", ip_is_multicast, false},
	    {"223.255.255.255", ip_is_multicast, false},
	    {"ff00::", ip_is_multicast, true},
	    {"feff::", ip_is_multicast, false},
	    {"169.254.169.254", ip_is_link_local, true},
	    {"169.255.0.0", ip_is_link_local, false},
	    {"febf::1", ip_is_link_local, true},
	    {"fec0::1", ip_is_link_local, false},
	    {"255.255.255.255", ip_is_broadcast, true},
	    {"255.255.255.254", ip_is_broadcast, false},
	    {"ffff:ffff::", ip_is_broadcast, false},
	    {"::ffff:1.2.3.4", ip_is_v4_mapped, true},
	    {"::fffe:1.2.3.4", ip_is_v4_mapped, false},
	    {"100.64.0.0", ip_is_tunnel, true},
	    {"100.95.255.255", ip_is_tunnel, true},
	    {"100.96.0.0", ip_is_tunnel, false},
	    {"fd00:2021:1111::", ip_is_tunnel, true},
	    {"fd00:2021:1111::1f:ffff", ip_is_tunnel, true},
	    {"fd00:2021:1111::20:0", ip_is_tunnel, false},
	    {"100.96.0.0", ip_is_proxy, true},
	    {"100.127.255.255", ip_is_proxy, true},
	    {"100.128.0.0", ip_is_proxy, false},
	    {"fd00:2021:1111:8000::", ip_is_proxy, true},
	    {"fd00:2021:1111:8000::1f:ffff", ip_is_proxy, true},
	    {"fd00:2021:1111:8000::20:0", ip_is_proxy, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ip_addr ip = addr(rows[i].text);

		if (rows[i].is(&ip) != rows[i].want)
			fail_msg("row %zu, %s: want %d", i, rows[i].text, rows[i].want);
	}
}

static void mapped_address_becomes_v4(void **state)
{
	struct ip_addr mapped = addr("::ffff:192.0.2.7");
	struct ip_addr want = addr("192.0.2.7");
	struct ip_addr other = addr("2001:db8::1");
	struct ip_addr got = ip_unmap(&mapped);

	(void)state;
	assert_true(ip_eq(&got, &want));
	got = ip_unmap(&other);
	assert_true(ip_eq(&got, &other));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(address_text_round_trips),
	    cmocka_unit_test(address_refuses_what_is_none),
	    cmocka_unit_test(address_text_needs_no_terminator),
	    cmocka_unit_test(endpoint_text_round_trips),
	    cmocka_unit_test(endpoint_refuses_what_is_none),
	    cmocka_unit_test(endpoints_differ_by_scope),
	    cmocka_unit_test(prefix_needs_length_and_zero_host_bits),
	    cmocka_unit_test(prefix_contains_its_range_only),
	    cmocka_unit_test(classes_have_exact_edges),
	    cmocka_unit_test(mapped_address_becomes_v4),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
