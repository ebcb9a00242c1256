#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "packet/checksum.h"
#include "packet/gso.h"

#include "build.h"

enum {
	CAP = 70000
};

#define MSS ((size_t)1000)

static uint8_t super[CAP];

static const uint8_t timestamps[12] = {1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2};

static struct build of_kind(uint8_t proto, bool v6)
{
	struct build b = {
	    .src = build_ip(v6 ? "2001:db8::5" : "10.20.1.1"),
	    .dst = build_ip(v6 ? "fd00:2021:1111::a" : "100.64.0.10"),
	    .proto = proto,
	    .ttl = 63,
	    .tos = 0x28,
	    .id = 0xfffe,
	    .dont_fragment = true,
	    .src_port = 443,
	    .dst_port = 50000,
	    .seq = 0xfffffc00,
	    .ack = 77,
	    .window = 512,
	    .flags = 0x10,
	};

	if (proto == IP_PROTO_TCP) {
		b.tcp_options = timestamps;
		b.tcp_options_len = sizeof(timestamps);
	}
	return b;
}

static struct vnet_hdr header_for(const struct build *b)
{
	bool v6 = b->src.family == IP_V6;
	bool tcp = b->proto == IP_PROTO_TCP;

	return (struct vnet_hdr){
	    .flags = VNET_F_NEEDS_CSUM,
	    .gso_type = !tcp ? VNET_GSO_UDP_L4
			: v6 ? VNET_GSO_TCPV6
			     : VNET_GSO_TCPV4,
	    .hdr_len = 9999, /* not to be trusted */
	    .gso_size = MSS,
	    .csum_start = v6 ? 40 : 20,
	    .csum_offset = tcp ? 16 : 6,
	};
}

/* The @k-th of @count segments that the super-packet @b stands for, built independently. */
static size_t expected(const struct build *b, uint32_t k, uint32_t count, uint8_t *out)
{
	struct build seg = *b;
	size_t at = (size_t)k * MSS;

	seg.payload_len = min_size(MSS, b->payload_len - at);
	seg.fill = (uint8_t)(b->fill + at);
	seg.seq = b->seq + (uint32_t)at;
	seg.id = (uint16_t)(b->id + k);
	if (k > 0)
		seg.flags &= (uint8_t)~0x80;
	if (k + 1 < count)
		seg.flags &= (uint8_t)~0x09;
	return build_packet(&seg, out, IP_INNER_MTU);
}

static void check_split(const struct build *b, size_t payload_len)
{
	struct build whole = *b;
	struct vnet_hdr hdr = header_for(b);
	struct gso_split s;
	enum ip_verdict verdict;
	uint32_t count = (uint32_t)((payload_len + MSS - 1) / MSS);
	uint8_t want[IP_INNER_MTU];
	uint8_t got[IP_INNER_MTU + 1];
	size_t len;

	whole.payload_len = payload_len;
	whole.bad_checksum = true; /* the kernel leaves only the pseudo-header sum there */
	len = build_packet(&whole, super, sizeof(super));
	assert_true(gso_split_begin(&s, &hdr, super, len, &verdict));
	assert_int_equal(s.count, count);
	for (uint32_t k = 0; k < count; k++) {
		size_t want_len;

		whole.bad_checksum = false;
		want_len = expected(&whole, k, count, want);
		assert_int_equal(gso_split_next_len(&s), want_len);
		got[want_len] = 0x7e;
		gso_split_next(&s, got);
		assert_memory_equal(got, want, want_len);
		assert_int_equal(got[want_len], 0x7e);
	}
	assert_int_equal(gso_split_next_len(&s), 0);
}

static void super_packets_are_cut_into_complete_segments(void **state)
{
	static const size_t lens[] = {1,       MSS - 1,       MSS,         MSS + 1,
				      3 * MSS, 5 * MSS + 123, 60 * MSS + 1};

	(void)state;
	for (int kind = 0; kind < 4; kind++) {
		struct build b = of_kind(kind & 1 ? IP_PROTO_TCP : IP_PROTO_UDP, kind & 2);

		for (size_t i = 0; i < ARRAY_LEN(lens); i++)
			check_split(&b, lens[i]);
	}
}

static void fin_and_psh_stay_on_the_last_cwr_on_the_first(void **state)
{
	struct build b = of_kind(IP_PROTO_TCP, false);
	struct vnet_hdr hdr;
	struct gso_split s;
	enum ip_verdict verdict;
	uint8_t flags[3];
	uint8_t out[IP_INNER_MTU];

	(void)state;
	b.flags = 0x10 | 0x01 | 0x08 | 0x80;
	check_split(&b, 3 * MSS);
	hdr = header_for(&b);
	hdr.gso_type |= VNET_GSO_ECN;
	b.payload_len = 3 * MSS;
	assert_true(
	    gso_split_begin(&s, &hdr, super, build_packet(&b, super, sizeof(super)), &verdict));
	for (int k = 0; k < 3; k++) {
		gso_split_next(&s, out);
		flags[k] = out[33];
	}
	assert_int_equal(flags[0], 0x90);
	assert_int_equal(flags[1], 0x10);
	assert_int_equal(flags[2], 0x19);
}

static enum ip_verdict verdict_of(const struct build *b, const struct vnet_hdr *hdr)
{
	struct gso_split s;
	enum ip_verdict verdict;
	bool ok = gso_split_begin(&s, hdr, super, build_packet(b, super, sizeof(super)), &verdict);

	assert_int_equal(ok, verdict == IP_OK);
	return verdict;
}

static void vnet_header_must_fit_the_packet(void **state)
{
	struct build tcp = of_kind(IP_PROTO_TCP, false);
	struct build udp = of_kind(IP_PROTO_UDP, true);
	struct vnet_hdr hdr = header_for(&tcp);

	(void)state;
	tcp.payload_len = 3000;
	udp.payload_len = 3000;
	assert_int_equal(verdict_of(&tcp, &hdr), IP_OK);
	assert_int_equal(verdict_of(&udp, &hdr), IP_MALFORMED);
	hdr.gso_type = VNET_GSO_TCPV6;
	assert_int_equal(verdict_of(&tcp, &hdr), IP_MALFORMED);
	hdr.gso_type = VNET_GSO_UDP_L4;
	assert_int_equal(verdict_of(&tcp, &hdr), IP_MALFORMED);
	assert_int_equal(verdict_of(&udp, &hdr), IP_OK);
	hdr.gso_size = 0;
	assert_int_equal(verdict_of(&udp, &hdr), IP_MALFORMED);
	hdr.gso_type = 3; /* the old kind of UDP offload */
	assert_int_equal(verdict_of(&udp, &hdr), IP_MALFORMED);
}

static void segments_stay_within_the_mtu(void **state)
{
	struct build b = of_kind(IP_PROTO_TCP, false);
	struct vnet_hdr hdr = header_for(&b);

	(void)state;
	b.payload_len = 5000;
	hdr.gso_size = IP_INNER_MTU - 20 - 32;
	assert_int_equal(verdict_of(&b, &hdr), IP_OK);
	hdr.gso_size++;
	assert_int_equal(verdict_of(&b, &hdr), IP_TOO_LONG);
	b.payload_len = 100; /* one short segment, whatever the header promises */
	assert_int_equal(verdict_of(&b, &hdr), IP_OK);
}

static void number_of_segments_is_bounded(void **state)
{
	struct build b = of_kind(IP_PROTO_UDP, false);
	struct vnet_hdr hdr = header_for(&b);

	(void)state;
	hdr.gso_size = 10;
	b.payload_len = 2560;
	assert_int_equal(verdict_of(&b, &hdr), IP_OK);
	b.payload_len = 2561;
	assert_int_equal(verdict_of(&b, &hdr), IP_TOO_LONG);
}

static void single_packet_passes_unchanged(void **state)
{
	struct build b = of_kind(IP_PROTO_UDP, false);
	struct vnet_hdr hdr = {.flags = 0};
	struct gso_split s;
	enum ip_verdict verdict;
	uint8_t want[IP_INNER_MTU];
	uint8_t got[IP_INNER_MTU];
	size_t len;

	(void)state;
	b.payload_len = 1252;
	len = build_packet(&b, want, sizeof(want));
	memcpy(super, want, len);
	assert_true(gso_split_begin(&s, &hdr, super, len, &verdict));
	assert_int_equal(gso_split_next_len(&s), len);
	gso_split_next(&s, got);
	assert_memory_equal(got, want, len);
	assert_int_equal(gso_split_next_len(&s), 0);
	b.payload_len++;
	assert_int_equal(verdict_of(&b, &hdr), IP_TOO_LONG);
}

static void put_partial_sum(const struct build *b, uint8_t *packet, size_t len, size_t l4_at,
			    size_t field)
{
	struct ip_view view;
	uint16_t sum;

	assert_int_equal(ip_parse_packet(&view, packet, len, IP_INNER_MTU), IP_OK);
	sum =
	    (uint16_t)build_sum((uint32_t)(len - l4_at) + b->proto, b->src.bytes, ip_len(&b->src));
	sum = (uint16_t)build_sum(sum, b->dst.bytes, ip_len(&b->dst));
	packet[l4_at + field] = (uint8_t)(sum >> 8);
	packet[l4_at + field + 1] = (uint8_t)sum;
}

static void partial_checksum_is_completed(void **state)
{
	(void)state;
	for (int kind = 0; kind < 4; kind++) {
		bool v6 = kind & 2;
		struct build b = of_kind(kind & 1 ? IP_PROTO_TCP : IP_PROTO_UDP, v6);
		struct vnet_hdr hdr = header_for(&b);
		struct gso_split s;
		enum ip_verdict verdict;
		uint8_t want[IP_INNER_MTU];
		uint8_t got[IP_INNER_MTU];
		size_t len;

		hdr.gso_type = VNET_GSO_NONE;
		b.payload_len = 99;
		len = build_packet(&b, want, sizeof(want));
		memcpy(super, want, len);
		put_partial_sum(&b, super, len, hdr.csum_start, hdr.csum_offset);
		assert_true(gso_split_begin(&s, &hdr, super, len, &verdict));
		gso_split_next(&s, got);
		assert_memory_equal(got, want, len);
	}
}

/* A port that makes the checksum come out as zero; the builder then writes ffff. */
static void choose_port_for_zero_sum(struct build *b)
{
	uint8_t packet[64];

	for (uint32_t port = 0; port < 65536; port++) {
		b->src_port = (uint16_t)port;
		build_packet(b, packet, sizeof(packet));
		if (packet[26] == 0xff && packet[27] == 0xff)
			return;
	}
	fail_msg("no port gives a zero checksum");
}

static void zero_udp_checksum_is_sent_as_all_ones(void **state)
{
	struct build b = of_kind(IP_PROTO_UDP, false);
	struct vnet_hdr hdr = header_for(&b);
	struct gso_split s;
	enum ip_verdict verdict;
	uint8_t out[64];
	size_t len;

	(void)state;
	b.payload_len = 2;
	choose_port_for_zero_sum(&b);
	check_split(&b, 2);
	hdr.gso_type = VNET_GSO_NONE;
	len = build_packet(&b, super, sizeof(super));
	put_partial_sum(&b, super, len, hdr.csum_start, hdr.csum_offset);
	assert_true(gso_split_begin(&s, &hdr, super, len, &verdict));
	gso_split_next(&s, out);
	assert_int_equal(out[26] & out[27], 0xff);
}

static void checksum_position_must_lie_inside(void **state)
{
	struct build b = of_kind(IP_PROTO_UDP, false);
	struct vnet_hdr hdr = header_for(&b);

	(void)state;
	b.payload_len = 10; /* 38 bytes in all */
	hdr.gso_type = VNET_GSO_NONE;
	assert_int_equal(verdict_of(&b, &hdr), IP_OK);
	hdr.csum_offset = 4; /* would overwrite the length */
	assert_int_equal(verdict_of(&b, &hdr), IP_MALFORMED);
	hdr.csum_start = 28; /* a packet inside the payload */
	hdr.csum_offset = 8;
	assert_int_equal(verdict_of(&b, &hdr), IP_OK);
	hdr.csum_offset = 9;
	assert_int_equal(verdict_of(&b, &hdr), IP_MALFORMED);
	hdr.csum_start = 27;
	hdr.csum_offset = 0;
	assert_int_equal(verdict_of(&b, &hdr), IP_MALFORMED);
	hdr.csum_offset = 65535;
	hdr.csum_start = 65535;
	assert_int_equal(verdict_of(&b, &hdr), IP_MALFORMED);
	hdr.csum_offset = 6;
	hdr.csum_start = 19;
	assert_int_equal(verdict_of(&b, &hdr), IP_MALFORMED);
}

static void fragments_are_told_apart(void **state)
{
	struct build b = of_kind(IP_PROTO_UDP, false);
	struct vnet_hdr hdr = {.flags = 0};
	struct gso_split s;
	enum ip_verdict verdict;
	size_t len = build_packet(&b, super, sizeof(super));

	(void)state;
	super[6] = 0x20;
	assert_false(gso_split_begin(&s, &hdr, super, len, &verdict));
	assert_int_equal(verdict, IP_FRAGMENT);
}

static void rewrite_between_begin_and_first_segment_takes_part(void **state)
{
	struct build b = of_kind(IP_PROTO_TCP, false);
	struct vnet_hdr hdr = header_for(&b);
	struct gso_split s;
	enum ip_verdict verdict;
	struct ip_view view;
	uint8_t out[IP_INNER_MTU];
	size_t len;

	(void)state;
	b.payload_len = 2 * MSS;
	assert_true(
	    gso_split_begin(&s, &hdr, super, build_packet(&b, super, sizeof(super)), &verdict));
	s.view.src = build_ip("100.96.0.1");
	memcpy(super + 12, s.view.src.bytes, 4);
	while ((len = gso_split_next_len(&s)) > 0) {
		gso_split_next(&s, out);
		assert_int_equal(ip_parse_packet(&view, out, len, IP_INNER_MTU), IP_OK);
		assert_true(checksum_l4_ok(&view));
		assert_true(ip_eq(&view.src, &s.view.src));
	}
}

static void vnet_header_round_trips(void **state)
{
	struct vnet_hdr hdr = {
	    .flags = 1,
	    .gso_type = VNET_GSO_TCPV6 | VNET_GSO_ECN,
	    .hdr_len = 0x1234,
	    .gso_size = 0x5678,
	    .csum_start = 0x9abc,
	    .csum_offset = 0xdef0,
	};
	struct vnet_hdr back;
	uint8_t buf[VNET_HDR_LEN];

	(void)state;
	vnet_hdr_write(&hdr, buf);
	assert_true(vnet_hdr_read(&back, buf));
	assert_memory_equal(&hdr, &back, sizeof(hdr));
	buf[1] = 3;
	assert_false(vnet_hdr_read(&back, buf));
	assert_memory_equal(&hdr, &back, sizeof(hdr));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(super_packets_are_cut_into_complete_segments),
	    cmocka_unit_test(fin_and_psh_stay_on_the_last_cwr_on_the_first),
	    cmocka_unit_test(vnet_header_must_fit_the_packet),
	    cmocka_unit_test(segments_stay_within_the_mtu),
	    cmocka_unit_test(number_of_segments_is_bounded),
	    cmocka_unit_test(single_packet_passes_unchanged),
	    cmocka_unit_test(partial_checksum_is_completed),
	    cmocka_unit_test(zero_udp_checksum_is_sent_as_all_ones),
	    cmocka_unit_test(checksum_position_must_lie_inside),
	    cmocka_unit_test(fragments_are_told_apart),
	    cmocka_unit_test(rewrite_between_begin_and_first_segment_takes_part),
	    cmocka_unit_test(vnet_header_round_trips),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
