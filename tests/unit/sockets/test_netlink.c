/* The rtnetlink codec against messages of the real kernel, and against what no kernel sends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>

#include "captured.h"
#include "sockets/netlink.h"
#include "vectors.h"

enum {
	HEADER = 16,
	UNICAST = 1,
	LOCAL = 2,
	MARK_SEQ = 7
};

static const uint32_t mark = 0xfd002021;

struct bytes {
	uint8_t at[2048];
	size_t len;
};

static struct bytes unhex(const char *text)
{
	struct bytes b;

	b.len = vectors_unhex(text, "captured", b.at, sizeof(b.at));
	return b;
}

static struct ip_addr ip(const char *text)
{
	struct ip_addr out = {.family = IP_NONE};

	assert_true(ip_parse(&out, text, strlen(text)));
	return out;
}

static void is_ip(const struct ip_addr *got, const char *text)
{
	char out[IP_TEXT_MAX];

	ip_format(got, out);
	assert_string_equal(out, text);
}

/* The only message of a datagram. */
static struct nl_msg only(const struct bytes *b)
{
	struct nl_msg msg;
	size_t at = 0;
	bool bad;

	assert_true(nl_next(&msg, b->at, b->len, &at, &bad));
	assert_false(bad);
	assert_int_equal(at, b->len);
	assert_false(nl_next(&(struct nl_msg){.seq = 0}, b->at, b->len, &at, &bad));
	assert_false(bad);
	return msg;
}

static struct nl_msg only_hex(const char *text)
{
	struct bytes b = unhex(text);

	return only(&b);
}

/* The buffer is exactly as long as the message, so that the sanitizers see a read past it. */
static bool is_malformed(const uint8_t *from, size_t len)
{
	uint8_t *buf = malloc(len > 0 ? len : 1);
	struct nl_msg msg, before;
	size_t at = 0;
	bool bad = false, taken;

	assert_non_null(buf);
	memcpy(buf, from, len);
	memset(&msg, 0x5a, sizeof(msg));
	before = msg;
	taken = nl_next(&msg, buf, len, &at, &bad);
	if (!taken) {
		assert_memory_equal(&msg, &before, sizeof(msg));
		assert_int_equal(at, 0);
	}
	free(buf);
	return !taken && bad;
}

static void is_request(const char *dst, uint32_t scope, const char *hex)
{
	struct bytes want = unhex(hex);
	struct ip_addr to = ip(dst);
	uint8_t buf[NL_MAX_REQUEST];
	size_t len = nl_write_get_route(buf, sizeof(buf), MARK_SEQ, &to, scope, mark);

	assert_int_equal(len, want.len);
	assert_memory_equal(buf, want.at, len);
}

static void route_requests_are_those_that_the_kernel_answered(void **state)
{
	(void)state;
	is_request("9.9.9.9", 0, REQUEST_V4);
	is_request("2620:fe::9", 0, REQUEST_V6);
	is_request("fe80::1", 2, REQUEST_LINK_LOCAL);
}

static void requests_do_not_fit_into_less_room(void **state)
{
	struct ip_addr to = ip("fe80::1");
	uint8_t buf[NL_MAX_REQUEST];
	size_t len = nl_write_get_route(buf, sizeof(buf), 1, &to, 2, mark);

	(void)state;
	assert_in_range(len, 1, NL_MAX_REQUEST);
	for (size_t cap = 0; cap < len; cap++)
		assert_int_equal(nl_write_get_route(buf, cap, 1, &to, 2, mark), 0);
	len = nl_write_dump(buf, sizeof(buf), 1, NL_DUMP_LINKS);
	for (size_t cap = 0; cap < len; cap++)
		assert_int_equal(nl_write_dump(buf, cap, 1, NL_DUMP_LINKS), 0);
}

static void dump_requests_have_the_sizes_of_their_bodies(void **state)
{
	uint8_t buf[NL_MAX_REQUEST];

	(void)state;
	assert_int_equal(nl_write_dump(buf, sizeof(buf), 1, NL_DUMP_LINKS), HEADER + 16);
	assert_int_equal(buf[4], 18);
	assert_int_equal(nl_write_dump(buf, sizeof(buf), 1, NL_DUMP_ADDRESSES), HEADER + 8);
	assert_int_equal(buf[4], 22);
}

static void ipv4_answer_has_source_gateway_and_table(void **state)
{
	struct nl_msg msg = only_hex(REPLY_V4);

	(void)state;
	assert_int_equal(msg.kind, NL_NEW_ROUTE);
	assert_int_equal(msg.seq, MARK_SEQ);
	assert_int_equal(msg.route.type, UNICAST);
	assert_int_equal(msg.route.table, 254);
	assert_int_equal(msg.route.ifindex, 2);
	is_ip(&msg.route.prefsrc, "192.0.2.10");
	is_ip(&msg.route.gateway, "192.0.2.1");
	is_ip(&msg.route.dst.ip, "9.9.9.9");
	assert_int_equal(msg.route.dst.len, 32);
}

static void ipv6_answer_has_source_gateway_table_and_metric(void **state)
{
	struct nl_msg msg = only_hex(REPLY_V6);

	(void)state;
	assert_int_equal(msg.kind, NL_NEW_ROUTE);
	assert_int_equal(msg.route.table, 254);
	assert_int_equal(msg.route.ifindex, 2);
	assert_int_equal(msg.route.metric, 1024);
	is_ip(&msg.route.prefsrc, "2001:db8::10");
	is_ip(&msg.route.gateway, "2001:db8::1");
	is_ip(&msg.route.dst.ip, "2620:fe::9");
	assert_int_equal(msg.route.dst.len, 128);
}

static void answers_have_the_true_table_in_both_families(void **state)
{
	(void)state;
	assert_int_equal(only_hex(REPLY_V4_TABLE).route.table, 0x20210100);
	assert_int_equal(only_hex(REPLY_V6_TABLE).route.table, 0x20210101);
}

static void own_address_is_local_without_gateway(void **state)
{
	struct nl_msg msg = only_hex(REPLY_OWN);

	(void)state;
	assert_int_equal(msg.route.type, LOCAL);
	assert_int_equal(msg.route.table, 255);
	assert_int_equal(msg.route.ifindex, 1);
	assert_int_equal(msg.route.gateway.family, IP_NONE);
	is_ip(&msg.route.prefsrc, "192.0.2.10");
}

static void kernel_errors_are_positive_errnos(void **state)
{
	struct nl_msg msg = only_hex(REPLY_BLACKHOLE);

	(void)state;
	assert_int_equal(msg.kind, NL_ERROR);
	assert_int_equal(msg.error, EINVAL);
	assert_int_equal(msg.seq, MARK_SEQ);
	assert_int_equal(only_hex(REPLY_V6_NONE).error, ENETUNREACH);
	assert_int_equal(only_hex(REPLY_V6_FLAG).error, EINVAL);
}

static void dump_of_addresses_gives_one_message_each(void **state)
{
	static const char *const texts[] = {
	    "127.0.0.1",
	    "192.0.2.10",
	    "::1",
	    "2001:db8::10",
	};
	struct bytes b = unhex(DUMP_ADDRESSES);
	struct nl_msg msg;
	size_t at = 0, n = 0;
	bool bad;

	(void)state;
	while (nl_next(&msg, b.at, b.len, &at, &bad)) {
		assert_int_equal(msg.kind, NL_NEW_ADDR);
		if (n < sizeof(texts) / sizeof(texts[0])) /* the others are link-local */
			is_ip(&msg.address.addr, texts[n]);
		n++;
	}
	assert_false(bad);
	assert_int_equal(n, 6);
	assert_int_equal(at, b.len);
	assert_int_equal(only_hex(DUMP_DONE).kind, NL_DONE);
	assert_int_equal(only_hex(DUMP_DONE).error, 0);
}

static void events_of_addresses_name_interface_and_flags(void **state)
{
	struct nl_msg msg = only_hex(EVENT_DEL_ADDR);

	(void)state;
	assert_int_equal(msg.kind, NL_DEL_ADDR);
	is_ip(&msg.address.addr, "192.0.2.10");
	assert_int_equal(msg.address.prefix_len, 24);
	assert_int_equal(msg.address.ifindex, 2);
	msg = only_hex(EVENT_NEW_ADDR6);
	assert_int_equal(msg.kind, NL_NEW_ADDR);
	is_ip(&msg.address.addr, "2001:db8::11");
	assert_int_equal(msg.address.flags, 0x82);
}

static void events_of_routes_name_prefix_interface_and_table(void **state)
{
	struct nl_msg msg = only_hex(EVENT_NEW_ROUTE);

	(void)state;
	assert_int_equal(msg.kind, NL_NEW_ROUTE);
	assert_int_equal(msg.route.dst.len, 0);
	is_ip(&msg.route.dst.ip, "0.0.0.0");
	is_ip(&msg.route.gateway, "192.0.2.2");
	assert_int_equal(msg.route.ifindex, 2);
	msg = only_hex(EVENT_DEL_ROUTE);
	assert_int_equal(msg.kind, NL_DEL_ROUTE);
	is_ip(&msg.route.dst.ip, "192.0.2.0");
	assert_int_equal(msg.route.dst.len, 24);
	assert_int_equal(msg.route.table, 254);
}

static void events_of_links_name_state_and_carrier(void **state)
{
	struct nl_msg msg = only_hex(EVENT_NO_CARRIER);

	(void)state;
	assert_int_equal(msg.kind, NL_NEW_LINK);
	assert_int_equal(msg.link.ifindex, 2);
	assert_string_equal(msg.link.name, "eth0");
	assert_int_equal(msg.link.flags & 1, 1);
	assert_false(msg.link.carrier);
	msg = only_hex(EVENT_DEL_LINK);
	assert_int_equal(msg.kind, NL_DEL_LINK);
	assert_string_equal(msg.link.name, "eth0");
}

static void events_of_rules_name_mark_table_and_inversion(void **state)
{
	struct nl_msg msg = only_hex(EVENT_NEW_RULE);

	(void)state;
	assert_int_equal(msg.kind, NL_NEW_RULE);
	assert_int_equal(msg.rule.mark, mark);
	assert_int_equal(msg.rule.priority, 100);
	assert_int_equal(msg.rule.table, 0x20210100);
	assert_true(msg.rule.inverted);
	assert_int_equal(only_hex(EVENT_NEXTHOP).kind, NL_NEXTHOP);
}

static void datagram_with_several_messages_is_read_to_its_end(void **state)
{
	struct bytes all = unhex(REPLY_V4), more = unhex(REPLY_V6_NONE);
	struct nl_msg msg;
	size_t at = 0;
	bool bad;

	(void)state;
	memcpy(all.at + all.len, more.at, more.len);
	all.len += more.len;
	assert_true(nl_next(&msg, all.at, all.len, &at, &bad));
	assert_int_equal(msg.kind, NL_NEW_ROUTE);
	assert_true(nl_next(&msg, all.at, all.len, &at, &bad));
	assert_int_equal(msg.kind, NL_ERROR);
	assert_false(nl_next(&msg, all.at, all.len, &at, &bad));
	assert_false(bad);
}

static void t37_every_truncation_is_malformed(void **state)
{
	static const char *const whole[] = {
	    REPLY_V4,        REPLY_V6,       REPLY_BLACKHOLE, EVENT_NEW_RULE,
	    EVENT_NEW_ADDR6, EVENT_DEL_LINK, EVENT_NEXTHOP,
	};

	(void)state;
	for (size_t i = 0; i < sizeof(whole) / sizeof(whole[0]); i++) {
		struct bytes b = unhex(whole[i]);

		for (size_t len = 1; len < b.len; len++)
			assert_true(is_malformed(b.at, len));
	}
}

/* The header's length says less than the attributes need. */
static void t37_message_cut_inside_an_attribute_is_malformed(void **state)
{
	struct bytes b = unhex(REPLY_V4);
	unsigned whole = 0;

	(void)state;
	for (size_t len = HEADER + 12; len < b.len; len++) {
		struct bytes cut = b;

		memcpy(cut.at, &(uint32_t){(uint32_t)len}, 4);
		if (!is_malformed(cut.at, len))
			whole++;
	}
	/* Before the first and after each of eight attributes but the last; the padding of none
	 * counts. */
	assert_in_range(whole, 7, 9);
}

static void t37_length_below_the_header_is_malformed(void **state)
{
	struct bytes b = unhex(REPLY_V4);

	(void)state;
	for (uint32_t len = 0; len < HEADER; len++) {
		memcpy(b.at, &len, sizeof(len));
		assert_true(is_malformed(b.at, b.len));
	}
	memcpy(b.at, &(uint32_t){UINT32_MAX}, 4);
	assert_true(is_malformed(b.at, b.len));
}

/* Offset of the first attribute of @type behind a header of @header bytes. */
static size_t attribute_behind(const struct bytes *b, size_t header, uint16_t type)
{
	for (size_t at = HEADER + header; at + 4 <= b->len;) {
		uint16_t head[2];

		memcpy(head, b->at + at, sizeof(head));
		if (head[1] == type)
			return at;
		at += (head[0] + 3u) & ~3u;
	}
	fail_msg("no attribute %u", type);
	return 0;
}

static size_t attribute(const struct bytes *b, uint16_t type)
{
	return attribute_behind(b, 12, type);
}

static void t37_attributes_of_a_wrong_length_are_malformed(void **state)
{
	static const uint16_t types[] = {1, 4, 5, 7,
					 15}; /* destination, interface, gateway, source, table */

	(void)state;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		for (uint16_t len = 0; len < 8; len++) {
			struct bytes b = unhex(REPLY_V4);

			memcpy(b.at + attribute(&b, types[i]), &len, sizeof(len));
			assert_true(is_malformed(b.at, b.len));
		}
	}
}

/* 36 bytes of cache statistics under the name of an attribute of four. */
static void t37_attributes_that_are_too_long_are_malformed(void **state)
{
	static const uint16_t types[] = {1, 4, 5, 6, 7, 15};

	(void)state;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		struct bytes b = unhex(REPLY_V4);

		memcpy(b.at + attribute(&b, 12) + 2, &types[i], sizeof(types[i]));
		assert_true(is_malformed(b.at, b.len));
	}
}

static void t37_prefix_longer_than_its_address_is_malformed(void **state)
{
	struct bytes b = unhex(REPLY_V4);

	(void)state;
	b.at[HEADER + 1] = 33;
	assert_true(is_malformed(b.at, b.len));
}

static void t37_impossible_errno_is_malformed(void **state)
{
	static const uint32_t values[] = {1, 0x7fffffff, 0x80000000, 0xffffefff};

	(void)state;
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		struct bytes b = unhex(REPLY_BLACKHOLE);

		memcpy(b.at + HEADER, &values[i], 4);
		assert_true(is_malformed(b.at, b.len));
	}
}

static void acknowledgement_is_error_zero(void **state)
{
	struct bytes b = unhex(REPLY_BLACKHOLE);

	(void)state;
	memset(b.at + HEADER, 0, 4);
	assert_int_equal(only(&b).kind, NL_ERROR);
	assert_int_equal(only(&b).error, 0);
}

/* Flags above the eighth bit are in an attribute, which says them all. */
static void flags_of_an_address_come_from_their_attribute(void **state)
{
	struct bytes b = unhex(EVENT_NEW_ADDR6);

	(void)state;
	memcpy(b.at + attribute_behind(&b, 8, 8) + 4, &(uint32_t){0x869}, 4);
	b.at[HEADER + 2] = 0x80;
	assert_int_equal(only(&b).address.flags, 0x869);
}

static void digest_of_a_route_leaves_out_lifetimes_only(void **state)
{
	struct bytes b = unhex(REPLY_V6);
	uint64_t digest = only(&b).route.digest;
	size_t lifetimes = attribute(&b, 12), preference = attribute(&b, 20);

	(void)state;
	memset(b.at + lifetimes + 4, 0x77, 32);
	assert_true(only(&b).route.digest == digest);
	b.at[preference + 4] ^= 1;
	assert_true(only(&b).route.digest != digest);
	b.at[preference + 4] ^= 1;
	assert_true(only(&b).route.digest == digest);
	b.at[HEADER + 5] ^= 1; /* protocol */
	assert_true(only(&b).route.digest != digest);
}

static void link_message_without_carrier_is_partial(void **state)
{
	struct bytes b = unhex(EVENT_NO_CARRIER);
	struct nl_msg msg;

	(void)state;
	assert_false(only(&b).link.partial);
	memcpy(b.at + attribute_behind(&b, 16, 33) + 2, &(uint16_t){0x3f00}, 2);
	msg = only(&b);
	assert_true(msg.link.partial);
	assert_true(msg.link.carrier);
}

static void rule_that_asks_for_more_than_the_mark_is_selective(void **state)
{
	struct bytes b = unhex(EVENT_NEW_RULE);

	(void)state;
	assert_false(only(&b).rule.selective);
	assert_true(only(&b).rule.mask == UINT32_MAX);
	memcpy(b.at + attribute_behind(&b, 12, 16) + 4, &(uint32_t){0xff}, 4);
	assert_int_equal(only(&b).rule.mask, 0xff);
	for (size_t i = 1; i <= 3; i++) { /* destination, source, type of service */
		b = unhex(EVENT_NEW_RULE);
		b.at[HEADER + i] = 8;
		assert_true(only(&b).rule.selective);
	}
	b = unhex(EVENT_NEW_RULE);
	memcpy(b.at + attribute_behind(&b, 12, 21) + 2, &(uint16_t){22}, 2);
	assert_true(only(&b).rule.selective);
}

static void message_of_an_inconsistent_dump_says_so(void **state)
{
	struct bytes b = unhex(DUMP_DONE);

	(void)state;
	assert_false(only(&b).interrupted);
	b.at[6] |= 0x10;
	assert_true(only(&b).interrupted);
}

/* A bridge announces its ports as links of its own family; taken for links, a port that leaves
 * would be a link that went away. */
static void other_families_are_none_of_ours(void **state)
{
	struct bytes b = unhex(EVENT_DEL_LINK);

	(void)state;
	b.at[HEADER] = 7;
	assert_int_equal(only(&b).kind, NL_OTHER);
	b = unhex(EVENT_NEW_ROUTE);
	b.at[HEADER] = 129;
	assert_int_equal(only(&b).kind, NL_OTHER);
}

static void nothing_of_a_reply_that_does_not_match_is_hidden(void **state)
{
	struct bytes b = unhex(REPLY_V4);

	(void)state;
	memcpy(b.at + 8, &(uint32_t){99}, 4);
	assert_int_equal(only(&b).seq, 99);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(route_requests_are_those_that_the_kernel_answered),
	    cmocka_unit_test(requests_do_not_fit_into_less_room),
	    cmocka_unit_test(dump_requests_have_the_sizes_of_their_bodies),
	    cmocka_unit_test(ipv4_answer_has_source_gateway_and_table),
	    cmocka_unit_test(ipv6_answer_has_source_gateway_table_and_metric),
	    cmocka_unit_test(answers_have_the_true_table_in_both_families),
	    cmocka_unit_test(own_address_is_local_without_gateway),
	    cmocka_unit_test(kernel_errors_are_positive_errnos),
	    cmocka_unit_test(dump_of_addresses_gives_one_message_each),
	    cmocka_unit_test(events_of_addresses_name_interface_and_flags),
	    cmocka_unit_test(events_of_routes_name_prefix_interface_and_table),
	    cmocka_unit_test(events_of_links_name_state_and_carrier),
	    cmocka_unit_test(events_of_rules_name_mark_table_and_inversion),
	    cmocka_unit_test(datagram_with_several_messages_is_read_to_its_end),
	    cmocka_unit_test(t37_every_truncation_is_malformed),
	    cmocka_unit_test(t37_message_cut_inside_an_attribute_is_malformed),
	    cmocka_unit_test(t37_length_below_the_header_is_malformed),
	    cmocka_unit_test(t37_attributes_of_a_wrong_length_are_malformed),
	    cmocka_unit_test(t37_attributes_that_are_too_long_are_malformed),
	    cmocka_unit_test(t37_prefix_longer_than_its_address_is_malformed),
	    cmocka_unit_test(t37_impossible_errno_is_malformed),
	    cmocka_unit_test(acknowledgement_is_error_zero),
	    cmocka_unit_test(flags_of_an_address_come_from_their_attribute),
	    cmocka_unit_test(digest_of_a_route_leaves_out_lifetimes_only),
	    cmocka_unit_test(link_message_without_carrier_is_partial),
	    cmocka_unit_test(rule_that_asks_for_more_than_the_mark_is_selective),
	    cmocka_unit_test(message_of_an_inconsistent_dump_says_so),
	    cmocka_unit_test(other_families_are_none_of_ours),
	    cmocka_unit_test(nothing_of_a_reply_that_does_not_match_is_hidden),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
