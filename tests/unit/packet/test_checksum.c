#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "packet/checksum.h"

#include "build.h"

static void fill(uint8_t *buf, size_t len, uint64_t seed)
{
	struct rng_seeded state;
	struct rng rng = rng_from_seed(&state, seed);

	rng_fill(&rng, buf, len);
}

static void rfc_1071_example_sums_to_ddf2(void **state)
{
	static const uint8_t data[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};

	(void)state;
	assert_int_equal(checksum_fold(checksum_add(0, data, sizeof(data))), 0xddf2);
}

static void sum_equals_the_naive_one_for_every_length_and_alignment(void **state)
{
	uint8_t buf[400];

	(void)state;
	fill(buf, sizeof(buf), 1);
	for (size_t at = 0; at < 9; at++)
		for (size_t len = 0; len <= 300; len++)
			assert_int_equal(checksum_fold(checksum_add(0, buf + at, len)),
					 build_sum(0, buf + at, len));
}

static void sum_of_ones_does_not_overflow(void **state)
{
	static uint8_t ones[65535];

	(void)state;
	memset(ones, 0xff, sizeof(ones));
	assert_int_equal(checksum_fold(checksum_add(UINT32_MAX, ones, sizeof(ones))),
			 build_sum(0xffff, ones, sizeof(ones)));
	assert_int_equal(checksum_fold(UINT64_MAX), 0xffff);
	assert_int_equal(checksum_fold(UINT64_C(0xffffffff00000001)), 1);
	assert_int_equal(checksum_fold(UINT64_C(0xfffffffffffffffe)), 0xfffe);
}

static void sum_goes_on_over_parts_of_even_length(void **state)
{
	uint8_t buf[256];
	uint64_t sum;

	(void)state;
	fill(buf, sizeof(buf), 2);
	sum = checksum_add(0, buf, 34);
	sum = checksum_add(sum, buf + 34, 100);
	sum = checksum_add(sum, buf + 134, 121);
	assert_int_equal(checksum_fold(sum), build_sum(0, buf, 255));
}

static void copy_copies_and_sums(void **state)
{
	uint8_t buf[300];
	uint8_t out[302];

	(void)state;
	fill(buf, sizeof(buf), 3);
	for (size_t len = 0; len <= sizeof(buf); len++) {
		memset(out, 0x77, sizeof(out));
		assert_int_equal(checksum_fold(checksum_copy(7, out, buf, len)),
				 checksum_fold(checksum_add(7, buf, len)));
		assert_memory_equal(out, buf, len);
		assert_int_equal(out[len], 0x77);
	}
}

static void update_equals_a_new_sum(void **state)
{
	uint8_t buf[20];

	(void)state;
	for (uint64_t seed = 0; seed < 2000; seed++) {
		uint16_t sum;
		uint16_t before;

		fill(buf, sizeof(buf), seed);
		buf[10] = 0;
		buf[11] = 0;
		sum = (uint16_t)~build_sum(0, buf, sizeof(buf));
		before = (uint16_t)(buf[0] << 8 | buf[1]);
		buf[1] = (uint8_t)(buf[1] | 3);
		assert_int_equal(checksum_update(sum, before, (uint16_t)(buf[0] << 8 | buf[1])),
				 (uint16_t)~build_sum(0, buf, sizeof(buf)));
	}
}

static bool l4_ok(const struct build *b)
{
	uint8_t buf[IP_INNER_MTU];
	struct ip_view view;

	assert_int_equal(
	    ip_parse_packet(&view, buf, build_packet(b, buf, sizeof(buf)), IP_INNER_MTU), IP_OK);
	return checksum_l4_ok(&view);
}

static void transport_checksum_is_judged(void **state)
{
	static const struct {
		uint8_t proto;
		bool v6;
	} rows[] = {
	    {IP_PROTO_TCP, false}, {IP_PROTO_TCP, true},   {IP_PROTO_UDP, false},
	    {IP_PROTO_UDP, true},  {IP_PROTO_ICMP, false}, {IP_PROTO_ICMPV6, true},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct build b = {
		    .src = build_ip(rows[i].v6 ? "fd00:2021:1111::a" : "100.64.0.10"),
		    .dst = build_ip(rows[i].v6 ? "2001:db8::5" : "10.20.1.1"),
		    .proto = rows[i].proto,
		    .src_port = rows[i].v6 ? 0x8000 : 0x0800,
		    .payload_len = 101,
		};

		assert_true(l4_ok(&b));
		b.bad_checksum = true;
		assert_false(l4_ok(&b));
	}
}

static void zero_udp_checksum_is_right_on_v4_only(void **state)
{
	struct build b = {
	    .src = build_ip("100.64.0.10"),
	    .dst = build_ip("10.20.1.1"),
	    .proto = IP_PROTO_UDP,
	    .payload_len = 5,
	    .no_checksum = true,
	};

	(void)state;
	assert_true(l4_ok(&b));
	b.src = build_ip("fd00:2021:1111::a");
	b.dst = build_ip("2001:db8::5");
	assert_false(l4_ok(&b));
}

static void unknown_protocol_has_no_checksum(void **state)
{
	struct build b = {
	    .src = build_ip("100.64.0.10"),
	    .dst = build_ip("10.20.1.1"),
	    .proto = 47,
	    .payload_len = 5,
	};

	(void)state;
	assert_true(l4_ok(&b));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(rfc_1071_example_sums_to_ddf2),
	    cmocka_unit_test(sum_equals_the_naive_one_for_every_length_and_alignment),
	    cmocka_unit_test(sum_of_ones_does_not_overflow),
	    cmocka_unit_test(sum_goes_on_over_parts_of_even_length),
	    cmocka_unit_test(copy_copies_and_sums),
	    cmocka_unit_test(update_equals_a_new_sum),
	    cmocka_unit_test(transport_checksum_is_judged),
	    cmocka_unit_test(zero_udp_checksum_is_right_on_v4_only),
	    cmocka_unit_test(unknown_protocol_has_no_checksum),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
