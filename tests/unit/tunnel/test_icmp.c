#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "packet/checksum.h"
#include "tunnel/icmp.h"

#include "build.h"
#include "vectors.h"

/* The answer to a vector's trigger, byte for byte; our identification is 0 and DF set, like the
 * vectors'. */
static void answers_equal_the_vectors(void **state)
{
	cJSON *json = vectors_load(VECTORS_DIR "/dataplane-icmp.json");
	const cJSON *row;
	int rows = 0;

	(void)state;
	cJSON_ArrayForEach(row, vectors_get(json, "cases"))
	{
		uint8_t trigger[IP_INNER_MTU];
		uint8_t out[IP_INNER_MTU];
		struct ip_view view;
		size_t len;
		bool prohibited;

		if (strcmp(vectors_string(row, "kind"), "generated") != 0)
			continue;
		prohibited = strcmp(vectors_string(row, "why"), "prohibited") == 0;
		len = vectors_hex(row, "trigger", trigger, sizeof(trigger));
		assert_int_equal(ip_parse_packet(&view, trigger, len, IP_INNER_MTU), IP_OK);
		assert_true(icmp_may_answer(&view));
		len = icmp_build(&view, prohibited ? ICMP_PROHIBITED : ICMP_UNREACHABLE, out);
		vectors_assert_hex(row, "reply", out, len);
		assert_int_equal(ip_parse_packet(&view, out, len, IP_INNER_MTU), IP_OK);
		assert_int_equal(view.kind, IP_KIND_ICMP_ERROR);
		assert_true(checksum_l4_ok(&view));
		rows++;
	}
	assert_int_equal(rows, 8);
	cJSON_Delete(json);
}

static struct ip_view view_of(const struct build *b, uint8_t *packet)
{
	struct ip_view view;

	assert_int_equal(
	    ip_parse_packet(&view, packet, build_packet(b, packet, IP_INNER_MTU), IP_INNER_MTU),
	    IP_OK);
	return view;
}

static void quote_of_a_packet_shorter_than_its_quote_is_cut(void **state)
{
	struct build b = {
	    .src = build_ip("100.64.0.10"),
	    .dst = build_ip("9.9.9.9"),
	    .proto = 47,
	    .payload_len = 3,
	};
	uint8_t packet[IP_INNER_MTU];
	uint8_t out[IP_INNER_MTU];
	struct ip_view view = view_of(&b, packet);

	(void)state;
	assert_int_equal(icmp_build(&view, ICMP_PROHIBITED, out), 28 + 23);
	assert_memory_equal(out + 28, packet, 23);
}

static void longest_header_still_fits(void **state)
{
	uint8_t packet[68] = {0x4f, 0, 0, 68, 0, 0, 0, 0, 64, 47, 0, 0, 100, 64, 0, 10, 9, 9, 9, 9};
	uint8_t out[IP_INNER_MTU];
	struct ip_view view;

	(void)state;
	assert_int_equal(ip_parse_packet(&view, packet, sizeof(packet), IP_INNER_MTU), IP_OK);
	assert_int_equal(icmp_build(&view, ICMP_PROHIBITED, out), 28 + 68);
}

static bool may_answer(const char *src, const char *dst, uint8_t proto, uint16_t type_and_code)
{
	struct build b = {
	    .src = build_ip(src),
	    .dst = build_ip(dst),
	    .proto = proto,
	    .src_port = type_and_code,
	    .payload_len = 20,
	};
	uint8_t packet[IP_INNER_MTU];
	struct ip_view view = view_of(&b, packet);

	return icmp_may_answer(&view);
}

static void errors_are_never_answered(void **state)
{
	(void)state;
	assert_true(may_answer("100.64.0.10", "9.9.9.9", IP_PROTO_ICMP, 0x0800));
	assert_true(may_answer("100.64.0.10", "9.9.9.9", IP_PROTO_ICMP, 0x0d01));
	assert_false(may_answer("100.64.0.10", "9.9.9.9", IP_PROTO_ICMP, 0x0300));
	assert_false(may_answer("100.64.0.10", "9.9.9.9", IP_PROTO_ICMP, 0x03ff));
	assert_false(may_answer("100.64.0.10", "9.9.9.9", IP_PROTO_ICMP, 0x0500));
	assert_false(may_answer("100.64.0.10", "9.9.9.9", IP_PROTO_ICMP, 0x0c00));
	assert_true(may_answer("fd00:2021:1111::a", "2001:db8::1", IP_PROTO_ICMPV6, 0x8700));
	assert_false(may_answer("fd00:2021:1111::a", "2001:db8::1", IP_PROTO_ICMPV6, 0x0400));
	assert_false(may_answer("fd00:2021:1111::a", "2001:db8::1", IP_PROTO_ICMPV6, 0x7f00));
}

static void only_single_hosts_are_answered(void **state)
{
	(void)state;
	assert_false(may_answer("0.0.0.0", "9.9.9.9", IP_PROTO_UDP, 1));
	assert_false(may_answer("224.0.0.1", "9.9.9.9", IP_PROTO_UDP, 1));
	assert_false(may_answer("255.255.255.255", "9.9.9.9", IP_PROTO_UDP, 1));
	assert_false(may_answer("127.0.0.1", "9.9.9.9", IP_PROTO_UDP, 1));
	assert_false(may_answer("100.64.0.10", "255.255.255.255", IP_PROTO_UDP, 1));
	assert_false(may_answer("100.64.0.10", "0.0.0.0", IP_PROTO_UDP, 1));
	assert_false(may_answer("fd00:2021:1111::a", "ff02::1", IP_PROTO_UDP, 1));
	assert_false(may_answer("::", "2001:db8::1", IP_PROTO_UDP, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(answers_equal_the_vectors),
	    cmocka_unit_test(quote_of_a_packet_shorter_than_its_quote_is_cut),
	    cmocka_unit_test(longest_header_still_fits),
	    cmocka_unit_test(errors_are_never_answered),
	    cmocka_unit_test(only_single_hosts_are_answered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
