#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "packet/ip.h"

#include "build.h"
#include "vectors.h"

enum {
	V6_FIXED = 40
};

static const struct build udp4 = {
    .src = {IP_V4, {100, 64, 0, 10}},
    .dst = {IP_V4, {10, 20, 1, 1}},
    .proto = IP_PROTO_UDP,
    .ttl = 64,
    .src_port = 1000,
    .dst_port = 53,
    .payload_len = 8,
};

static const struct build udp6 = {
    .src = {IP_V6, {0xfd, 0, 0x20, 0x21, 0x11, 0x11, [15] = 0x0a}},
    .dst = {IP_V6, {0x20, 1, 0x0d, 0xb8, [15] = 5}},
    .proto = IP_PROTO_UDP,
    .ttl = 64,
    .src_port = 1000,
    .dst_port = 53,
    .payload_len = 8,
};

static void parser_follows_the_vectors(void **state)
{
	cJSON *json = vectors_load(VECTORS_DIR "/dataplane-parse.json");
	const cJSON *row;
	int rows = 0;

	(void)state;
	cJSON_ArrayForEach(row, vectors_get(json, "cases"))
	{
		uint8_t packet[2048];
		size_t len = vectors_hex(row, "packet", packet, sizeof(packet));
		size_t cut = ip_trim(packet, len);
		struct ip_view view;
		bool ok = cut > 0 && ip_parse_packet(&view, packet, cut, IP_INNER_MTU) == IP_OK;

		if (ok != vectors_bool(row, "accept"))
			fail_msg("%s: accepted %d", vectors_string(row, "name"), ok);
		if (ok)
			assert_int_equal(cut, vectors_u64(row, "accepted_length"));
		rows++;
	}
	assert_int_equal(rows, 29);
	cJSON_Delete(json);
}

static uint8_t ecn_value(const cJSON *json, const cJSON *row, const char *name)
{
	return (uint8_t)vectors_u64(vectors_get(json, "wire"), vectors_string(row, name));
}

static void ecn_merges_as_the_vectors_say(void **state)
{
	cJSON *json = vectors_load(VECTORS_DIR "/dataplane-ecn.json");
	const cJSON *row;
	int rows = 0;

	(void)state;
	cJSON_ArrayForEach(row, vectors_get(json, "decap"))
	{
		for (int v6 = 0; v6 < 2; v6++) {
			struct build b = v6 ? udp6 : udp4;
			uint8_t packet[128];
			uint8_t want[128];
			struct ip_view view;
			size_t len;

			b.tos = (uint8_t)(0xb8 | ecn_value(json, row, "result"));
			(void)build_packet(&b, want, sizeof(want));
			b.tos = (uint8_t)(0xb8 | ecn_value(json, row, "inner"));
			len = build_packet(&b, packet, sizeof(packet));
			assert_int_equal(ip_parse_packet(&view, packet, len, IP_INNER_MTU), IP_OK);
			ip_merge_ecn(&view, ecn_value(json, row, "outer"));
			assert_int_equal(ip_ecn(&view), ecn_value(json, row, "result"));
			assert_memory_equal(packet, want, len);
		}
		rows++;
	}
	assert_int_equal(rows, 16);
	cJSON_Delete(json);
}

static void view_has_addresses_ports_and_flags(void **state)
{
	struct build b = udp4;
	struct ip_view view;
	uint8_t packet[128];
	size_t len;

	(void)state;
	b.proto = IP_PROTO_TCP;
	b.flags = 0x12;
	b.tos = 0x2e;
	len = build_packet(&b, packet, sizeof(packet));
	assert_int_equal(ip_parse_packet(&view, packet, len, IP_INNER_MTU), IP_OK);
	assert_int_equal(view.version, 4);
	assert_int_equal(view.l4_offset, 20);
	assert_int_equal(view.kind, IP_KIND_TCP);
	assert_int_equal(view.tcp_flags, 0x12);
	assert_int_equal(view.tos, 0x2e);
	assert_int_equal(view.src_port, 1000);
	assert_int_equal(view.dst_port, 53);
	assert_true(ip_eq(&view.src, &b.src));
	assert_true(ip_eq(&view.dst, &b.dst));
}

static void length_limit_is_the_callers(void **state)
{
	struct build b = udp4;
	struct ip_view view;
	static uint8_t packet[70000];
	size_t len;

	(void)state;
	b.payload_len = IP_INNER_MTU - 28;
	len = build_packet(&b, packet, sizeof(packet));
	assert_int_equal(len, IP_INNER_MTU);
	assert_int_equal(ip_parse_packet(&view, packet, len, IP_INNER_MTU), IP_OK);
	b.payload_len++;
	len = build_packet(&b, packet, sizeof(packet));
	assert_int_equal(ip_parse_packet(&view, packet, len, IP_INNER_MTU), IP_TOO_LONG);
	b.payload_len = IP_MAX_SUPER - 28;
	len = build_packet(&b, packet, sizeof(packet));
	assert_int_equal(len, IP_MAX_SUPER);
	assert_int_equal(ip_parse_packet(&view, packet, len, IP_MAX_SUPER), IP_OK);
	assert_int_equal(ip_parse_packet(&view, packet, len + 1, IP_MAX_SUPER), IP_TOO_LONG);
}

static void every_cut_of_a_packet_is_refused(void **state)
{
	struct ip_view view;
	uint8_t packet[128];

	(void)state;
	for (int v6 = 0; v6 < 2; v6++) {
		size_t len = build_packet(v6 ? &udp6 : &udp4, packet, sizeof(packet));

		for (size_t cut = 0; cut < len; cut++) {
			assert_int_equal(ip_trim(packet, cut), 0);
			assert_int_equal(ip_parse_packet(&view, packet, cut, IP_INNER_MTU),
					 IP_MALFORMED);
		}
	}
}

/* An IPv6 UDP packet with @n extension headers in front; types and lengths (all bytes) are given.
 */
static size_t with_extensions(uint8_t *out, const uint8_t *types, const size_t *lens, size_t n,
			      uint8_t routing_type)
{
	uint8_t plain[128];
	size_t len = build_packet(&udp6, plain, sizeof(plain));
	struct writer w = writer_of(out + V6_FIXED, 1024 - V6_FIXED);
	size_t extra = 0;

	for (size_t i = 0; i < n; i++)
		extra += lens[i];
	memcpy(out, plain, V6_FIXED);
	out[4] = (uint8_t)((len - V6_FIXED + extra) >> 8);
	out[5] = (uint8_t)(len - V6_FIXED + extra);
	out[6] = n > 0 ? types[0] : (uint8_t)IP_PROTO_UDP;
	for (size_t i = 0; i < n; i++) {
		wr_u8(&w, i + 1 < n ? types[i + 1] : (uint8_t)IP_PROTO_UDP);
		if (types[i] == 51)
			wr_u8(&w, (uint8_t)(lens[i] / 4 - 2));
		else
			wr_u8(&w, (uint8_t)(types[i] == 44 ? 0 : lens[i] / 8 - 1));
		wr_u8(&w, types[i] == 43 ? routing_type : 0);
		wr_zero(&w, lens[i] - 3);
	}
	wr_bytes(&w, plain + V6_FIXED, len - V6_FIXED);
	assert_false(w.bad);
	return V6_FIXED + w.written;
}

static void extension_headers_are_walked(void **state)
{
	static const uint8_t types[] = {0, 60, 43, 44, 51, 60};
	static const size_t lens[] = {8, 24, 8, 8, 12, 16};
	uint8_t packet[1024];
	struct ip_view view;
	size_t len = with_extensions(packet, types, lens, 6, 2);

	(void)state;
	assert_int_equal(ip_parse_packet(&view, packet, len, IP_INNER_MTU), IP_OK);
	assert_int_equal(view.proto, IP_PROTO_UDP);
	assert_int_equal(view.l4_offset, 40 + 76);
	assert_int_equal(view.dst_port, 53);
	assert_false(view.has_source_route);
}

static void ninth_extension_header_is_refused(void **state)
{
	static const uint8_t types[9] = {60, 60, 60, 60, 60, 60, 60, 60, 60};
	static const size_t lens[9] = {8, 8, 8, 8, 8, 8, 8, 8, 8};
	uint8_t packet[1024];
	struct ip_view view;
	size_t len = with_extensions(packet, types, lens, 8, 0);

	(void)state;
	assert_int_equal(ip_parse_packet(&view, packet, len, IP_INNER_MTU), IP_OK);
	len = with_extensions(packet, types, lens, 9, 0);
	assert_int_equal(ip_parse_packet(&view, packet, len, IP_INNER_MTU), IP_MALFORMED);
}

static void source_routes_are_seen(void **state)
{
	static const uint8_t routing[] = {43};
	static const size_t eight[] = {8};
	uint8_t packet[1024];
	struct ip_view view;
	size_t len = with_extensions(packet, routing, eight, 1, 0);

	(void)state;
	assert_int_equal(ip_parse_packet(&view, packet, len, IP_INNER_MTU), IP_OK);
	assert_true(view.has_source_route);
}

/* @options: 8 bytes of IPv4 options in front of a UDP packet. */
static bool options_are_a_source_route(const uint8_t options[8])
{
	uint8_t plain[128];
	uint8_t packet[128];
	size_t len = build_packet(&udp4, plain, sizeof(plain));
	struct ip_view view;

	memcpy(packet, plain, 20);
	memcpy(packet + 20, options, 8);
	memcpy(packet + 28, plain + 20, len - 20);
	packet[0] = 0x47;
	packet[3] = (uint8_t)(len + 8);
	assert_int_equal(ip_parse_packet(&view, packet, len + 8, IP_INNER_MTU), IP_OK);
	assert_int_equal(view.l4_offset, 28);
	return view.has_source_route;
}

static void source_route_is_found_among_other_options(void **state)
{
	(void)state;
	assert_true(options_are_a_source_route((const uint8_t[8]){131, 7, 4, 10, 0, 0, 1, 0}));
	assert_true(options_are_a_source_route((const uint8_t[8]){1, 137, 7, 4, 10, 0, 0, 1}));
	assert_true(options_are_a_source_route((const uint8_t[8]){7, 3, 4, 1, 1, 131, 3, 4}));
	assert_false(
	    options_are_a_source_route((const uint8_t[8]){7, 7, 4, 131, 137, 131, 137, 0}));
	assert_false(options_are_a_source_route((const uint8_t[8]){0, 131, 3, 4, 0, 0, 0, 0}));
	assert_false(options_are_a_source_route((const uint8_t[8]){7, 0, 131, 3, 4, 0, 0, 0}));
	assert_false(options_are_a_source_route((const uint8_t[8]){7, 200, 131, 3, 4, 0, 0, 0}));
}

static size_t build_icmp(uint8_t *out, bool v6, uint8_t type, uint8_t code, const uint8_t *quote,
			 size_t quote_len)
{
	struct build b = v6 ? udp6 : udp4;
	size_t len;

	b.proto = v6 ? IP_PROTO_ICMPV6 : IP_PROTO_ICMP;
	b.src_port = (uint16_t)(type << 8 | code);
	b.dst_port = 77;
	b.payload_len = quote_len;
	len = build_packet(&b, out, IP_INNER_MTU);
	if (quote_len > 0)
		memcpy(out + len - quote_len, quote, quote_len);
	return len;
}

static enum ip_kind icmp_kind(bool v6, uint8_t type, uint8_t code, const uint8_t *quote, size_t len)
{
	uint8_t packet[IP_INNER_MTU];
	struct ip_view view;
	size_t all = build_icmp(packet, v6, type, code, quote, len);

	assert_int_equal(ip_parse_packet(&view, packet, all, IP_INNER_MTU), IP_OK);
	return view.kind;
}

static void icmp_kinds_follow_type_and_code(void **state)
{
	uint8_t quote4[64];
	uint8_t quote6[64];
	size_t len4 = build_packet(&udp4, quote4, sizeof(quote4));
	size_t len6 = build_packet(&udp6, quote6, sizeof(quote6));

	(void)state;
	assert_int_equal(icmp_kind(false, 8, 0, NULL, 0), IP_KIND_ECHO);
	assert_int_equal(icmp_kind(false, 0, 0, NULL, 0), IP_KIND_ECHO);
	assert_int_equal(icmp_kind(false, 8, 1, NULL, 0), IP_KIND_ICMP_OTHER);
	assert_int_equal(icmp_kind(false, 5, 0, quote4, len4), IP_KIND_ICMP_OTHER);
	assert_int_equal(icmp_kind(false, 3, 15, quote4, len4), IP_KIND_ICMP_ERROR);
	assert_int_equal(icmp_kind(false, 3, 16, quote4, len4), IP_KIND_ICMP_OTHER);
	assert_int_equal(icmp_kind(false, 11, 1, quote4, len4), IP_KIND_ICMP_ERROR);
	assert_int_equal(icmp_kind(false, 11, 2, quote4, len4), IP_KIND_ICMP_OTHER);
	assert_int_equal(icmp_kind(false, 12, 0, quote4, len4), IP_KIND_ICMP_OTHER);
	assert_int_equal(icmp_kind(true, 128, 0, NULL, 0), IP_KIND_ECHO);
	assert_int_equal(icmp_kind(true, 129, 0, NULL, 0), IP_KIND_ECHO);
	assert_int_equal(icmp_kind(true, 1, 6, quote6, len6), IP_KIND_ICMP_ERROR);
	assert_int_equal(icmp_kind(true, 1, 7, quote6, len6), IP_KIND_ICMP_OTHER);
	assert_int_equal(icmp_kind(true, 2, 0, quote6, len6), IP_KIND_ICMP_ERROR);
	assert_int_equal(icmp_kind(true, 2, 1, quote6, len6), IP_KIND_ICMP_OTHER);
	assert_int_equal(icmp_kind(true, 3, 1, quote6, len6), IP_KIND_ICMP_ERROR);
	assert_int_equal(icmp_kind(true, 4, 0, quote6, len6), IP_KIND_ICMP_OTHER);
	assert_int_equal(icmp_kind(true, 135, 0, NULL, 0), IP_KIND_ICMP_OTHER);
}

static void error_type_is_seen_even_without_a_quote(void **state)
{
	static const struct {
		bool v6;
		uint8_t type;
		bool error;
	} rows[] = {
	    {false, 3, true},  {false, 4, true},  {false, 5, true},   {false, 11, true},
	    {false, 12, true}, {false, 8, false}, {false, 13, false}, {true, 1, true},
	    {true, 4, true},   {true, 127, true}, {true, 128, false}, {true, 135, false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint8_t packet[IP_INNER_MTU];
		uint8_t none[12] = {0};
		struct ip_view view;
		size_t len = build_icmp(packet, rows[i].v6, rows[i].type, 0, none, sizeof(none));

		assert_int_equal(ip_parse_packet(&view, packet, len, IP_INNER_MTU), IP_OK);
		assert_int_equal(view.is_icmp_error_type, rows[i].error);
		assert_int_not_equal(view.kind, IP_KIND_ICMP_ERROR);
	}
}

static void quote_gives_the_quoted_flow(void **state)
{
	uint8_t quote[64];
	uint8_t packet[IP_INNER_MTU];
	struct ip_view view;
	struct build b = udp4;
	size_t len;

	(void)state;
	build_packet(&b, quote, sizeof(quote));
	len = build_icmp(packet, false, 3, 3, quote, 24);
	assert_int_equal(ip_parse_packet(&view, packet, len, IP_INNER_MTU), IP_OK);
	assert_int_equal(view.kind, IP_KIND_ICMP_ERROR);
	assert_int_equal(view.quote.kind, IP_KIND_UDP);
	assert_true(ip_eq(&view.quote.src, &b.src));
	assert_true(ip_eq(&view.quote.dst, &b.dst));
	assert_int_equal(view.quote.src_port, 1000);
	assert_int_equal(view.quote.dst_port, 53);
	b.proto = IP_PROTO_ICMP;
	b.src_port = 0x0800;
	b.dst_port = 4711;
	build_packet(&b, quote, sizeof(quote));
	len = build_icmp(packet, false, 11, 0, quote, 28);
	assert_int_equal(ip_parse_packet(&view, packet, len, IP_INNER_MTU), IP_OK);
	assert_int_equal(view.quote.kind, IP_KIND_ECHO);
	assert_int_equal(view.quote.src_port, 4711);
	assert_int_equal(view.quote.dst_port, 4711);
}

static void unusable_quotes_make_no_error(void **state)
{
	uint8_t quote[128];
	struct build b = udp4;

	(void)state;
	build_packet(&b, quote, sizeof(quote));
	assert_int_equal(icmp_kind(false, 3, 3, quote, 23), IP_KIND_ICMP_OTHER);
	assert_int_equal(icmp_kind(true, 1, 4, quote, 36), IP_KIND_ICMP_OTHER);
	quote[7] = 1; /* a later fragment has no ports */
	assert_int_equal(icmp_kind(false, 3, 3, quote, 36), IP_KIND_ICMP_OTHER);
	b.proto = 47;
	build_packet(&b, quote, sizeof(quote));
	assert_int_equal(icmp_kind(false, 3, 3, quote, 36), IP_KIND_ICMP_OTHER);
	b.proto = IP_PROTO_ICMP;
	b.src_port = 0; /* echo reply */
	build_packet(&b, quote, sizeof(quote));
	assert_int_equal(icmp_kind(false, 3, 3, quote, 36), IP_KIND_ICMP_OTHER);
	b.src_port = 0x0800;
	build_packet(&b, quote, sizeof(quote));
	assert_int_equal(icmp_kind(false, 3, 3, quote, 27), IP_KIND_ICMP_OTHER);
	assert_int_equal(icmp_kind(false, 3, 3, quote, 28), IP_KIND_ICMP_ERROR);
	build_packet(&udp6, quote, sizeof(quote));
	quote[6] = 60;
	assert_int_equal(icmp_kind(true, 1, 4, quote, 56), IP_KIND_ICMP_OTHER);
}

static void timestamp_has_exactly_twenty_bytes(void **state)
{
	uint8_t zeros[16] = {0};
	uint8_t packet[IP_INNER_MTU];
	struct ip_view view;
	size_t len;

	(void)state;
	for (uint8_t type = 13; type <= 14; type++) {
		len = build_icmp(packet, false, type, 0, zeros, 12);
		assert_int_equal(ip_parse_packet(&view, packet, len, IP_INNER_MTU), IP_OK);
		len = build_icmp(packet, false, type, 0, zeros, 11);
		assert_int_equal(ip_parse_packet(&view, packet, len, IP_INNER_MTU), IP_MALFORMED);
		len = build_icmp(packet, false, type, 0, zeros, 13);
		assert_int_equal(ip_parse_packet(&view, packet, len, IP_INNER_MTU), IP_MALFORMED);
		len = build_icmp(packet, false, type, 1, zeros, 13);
		assert_int_equal(ip_parse_packet(&view, packet, len, IP_INNER_MTU), IP_OK);
	}
}

static void v4_authentication_header_is_another_protocol(void **state)
{
	struct build b = udp4;
	struct ip_view view;
	uint8_t packet[128];
	size_t len;

	(void)state;
	b.proto = 51;
	len = build_packet(&b, packet, sizeof(packet));
	assert_int_equal(ip_parse_packet(&view, packet, len, IP_INNER_MTU), IP_OK);
	assert_int_equal(view.kind, IP_KIND_OTHER);
}

static void view_is_cleared_on_failure(void **state)
{
	struct ip_view view;
	struct ip_view before;
	uint8_t packet[128];
	size_t len = build_packet(&udp4, packet, sizeof(packet));

	(void)state;
	memset(&view, 0x5a, sizeof(view));
	memset(&before, 0, sizeof(before));
	packet[25] ^= 1; /* UDP length */
	assert_int_equal(ip_parse_packet(&view, packet, len, IP_INNER_MTU), IP_MALFORMED);
	assert_memory_equal(&view, &before, sizeof(view));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(parser_follows_the_vectors),
	    cmocka_unit_test(ecn_merges_as_the_vectors_say),
	    cmocka_unit_test(view_has_addresses_ports_and_flags),
	    cmocka_unit_test(length_limit_is_the_callers),
	    cmocka_unit_test(every_cut_of_a_packet_is_refused),
	    cmocka_unit_test(extension_headers_are_walked),
	    cmocka_unit_test(ninth_extension_header_is_refused),
	    cmocka_unit_test(source_routes_are_seen),
	    cmocka_unit_test(source_route_is_found_among_other_options),
	    cmocka_unit_test(icmp_kinds_follow_type_and_code),
	    cmocka_unit_test(error_type_is_seen_even_without_a_quote),
	    cmocka_unit_test(quote_gives_the_quoted_flow),
	    cmocka_unit_test(unusable_quotes_make_no_error),
	    cmocka_unit_test(timestamp_has_exactly_twenty_bytes),
	    cmocka_unit_test(v4_authentication_header_is_another_protocol),
	    cmocka_unit_test(view_is_cleared_on_failure),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
