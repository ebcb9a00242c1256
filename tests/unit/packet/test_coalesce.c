#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "packet/gso.h"

#include "build.h"

enum {
	MAX_PACKETS = 512,
	FLOWS = 24,
	SUPER_CAP = 70000
};

/* A batch as the receive side holds it, and what came out of the coalescer, cut up again. */
struct batch {
	struct coalescer *c;
	uint8_t sent[MAX_PACKETS][IP_INNER_MTU]; /* may be patched by the coalescer */
	uint8_t want[MAX_PACKETS][IP_INNER_MTU]; /* as it went in */
	size_t len[MAX_PACKETS];
	size_t n;
	uint8_t got[MAX_PACKETS][IP_INNER_MTU];
	size_t got_len[MAX_PACKETS];
	size_t n_got;
	struct vnet_hdr hdr[MAX_PACKETS]; /* of each write */
	uint32_t packets[MAX_PACKETS];
	size_t n_writes;
	uint8_t super[SUPER_CAP];
};

static int setup(void **state)
{
	struct batch *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	t->c = coalescer_new(MAX_PACKETS, true, true);
	assert_non_null(t->c);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct batch *t = *state;

	coalescer_free(t->c);
	free(t);
	return 0;
}

static bool add(struct batch *t, const struct build *b)
{
	struct ip_view view;
	size_t i = t->n;

	assert_true(i < MAX_PACKETS);
	t->len[i] = build_packet(b, t->sent[i], IP_INNER_MTU);
	memcpy(t->want[i], t->sent[i], t->len[i]);
	assert_int_equal(ip_parse_packet(&view, t->sent[i], t->len[i], IP_INNER_MTU), IP_OK);
	if (!coalescer_add(t->c, &view))
		return false;
	t->n++;
	return true;
}

/* Take every write, check its shape and cut it up again. */
static void flush(struct batch *t)
{
	struct tun_write w;

	t->n_got = 0;
	t->n_writes = 0;
	while (coalescer_next(t->c, &w)) {
		struct gso_split s;
		enum ip_verdict verdict;
		struct vnet_hdr *hdr = &t->hdr[t->n_writes];
		size_t len = tun_write_gather(&w, hdr, t->super, SUPER_CAP);
		size_t piece;

		assert_true(len > 0 && len <= IP_MAX_SUPER);
		assert_int_equal(w.iov[0].iov_len, VNET_HDR_LEN);
		assert_int_equal(w.iov_count, w.packets + 1);
		assert_true(gso_split_begin(&s, hdr, t->super, len, &verdict));
		assert_int_equal(s.count, w.packets);
		while ((piece = gso_split_next_len(&s)) > 0) {
			assert_true(t->n_got < MAX_PACKETS);
			gso_split_next(&s, t->got[t->n_got]);
			t->got_len[t->n_got++] = piece;
		}
		t->packets[t->n_writes++] = w.packets;
	}
}

static void assert_packet(const struct batch *t, size_t got, size_t want)
{
	assert_int_equal(t->got_len[got], t->len[want]);
	assert_memory_equal(t->got[got], t->want[want], t->len[want]);
}

/* All packets came out as they went in and in the same order. */
static void assert_same(const struct batch *t)
{
	assert_int_equal(t->n_got, t->n);
	for (size_t i = 0; i < t->n; i++)
		assert_packet(t, i, i);
}

static struct build tcp(size_t payload)
{
	return (struct build){
	    .src = {IP_V4, {100, 64, 0, 10}},
	    .dst = {IP_V4, {10, 20, 1, 1}},
	    .proto = IP_PROTO_TCP,
	    .ttl = 64,
	    .id = 7,
	    .src_port = 50000,
	    .dst_port = 443,
	    .seq = 1000,
	    .ack = 5,
	    .window = 100,
	    .flags = 0x10,
	    .payload_len = payload,
	};
}

static struct build udp(size_t payload)
{
	struct build b = tcp(payload);

	b.proto = IP_PROTO_UDP;
	return b;
}

/* The packet behind @b in its flow, with @payload bytes. */
static void advance(struct build *b, size_t payload)
{
	b->seq += (uint32_t)b->payload_len;
	b->id++;
	b->fill = (uint8_t)(b->fill + b->payload_len);
	b->payload_len = payload;
}

static void assert_writes(const struct batch *t, const uint32_t *packets, size_t n)
{
	assert_int_equal(t->n_writes, n);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(t->packets[i], packets[i]);
}

static void tcp_segments_join_until_a_shorter_one(void **state)
{
	struct batch *t = *state;
	struct build b = tcp(1000);
	static const uint32_t want[] = {3, 1};

	assert_true(add(t, &b));
	advance(&b, 1000);
	assert_true(add(t, &b));
	advance(&b, 400);
	assert_true(add(t, &b));
	advance(&b, 400);
	assert_true(add(t, &b));
	flush(t);
	assert_writes(t, want, 2);
	assert_same(t);
	assert_int_equal(t->hdr[0].flags, VNET_F_NEEDS_CSUM);
	assert_int_equal(t->hdr[0].gso_type, VNET_GSO_TCPV4);
	assert_int_equal(t->hdr[0].gso_size, 1000);
	assert_int_equal(t->hdr[0].hdr_len, 40);
	assert_int_equal(t->hdr[0].csum_start, 20);
	assert_int_equal(t->hdr[0].csum_offset, 16);
	assert_int_equal(t->hdr[1].flags, VNET_F_DATA_VALID);
	assert_int_equal(t->hdr[1].gso_type, VNET_GSO_NONE);
}

static void super_header_has_length_checksum_and_pseudo_sum(void **state)
{
	struct batch *t = *state;
	struct build b = tcp(500);
	uint8_t pseudo[12] = {100, 64, 0, 10, 10, 20, 1, 1, 0, 6, 1020 >> 8, 1020 & 0xff};
	uint8_t *head = t->sent[0];
	uint16_t sum = (uint16_t)build_sum(0, pseudo, sizeof(pseudo));
	struct tun_write w;

	assert_true(add(t, &b));
	advance(&b, 500);
	b.flags = 0x18;
	assert_true(add(t, &b));
	assert_true(coalescer_next(t->c, &w));
	assert_int_equal(w.packets, 2);
	assert_ptr_equal(w.iov[1].iov_base, head);
	assert_ptr_equal(w.iov[2].iov_base, t->sent[1] + 40);
	assert_int_equal(head[2] << 8 | head[3], 1040);
	assert_int_equal(build_sum(0, head, 20), 0xffff);
	assert_int_equal(head[36] << 8 | head[37], sum);
	assert_int_equal(head[33], 0x18);
	assert_false(coalescer_next(t->c, &w));
}

static void v6_and_udp_have_their_own_types(void **state)
{
	struct batch *t = *state;
	struct build b = tcp(600);
	static const uint32_t want[] = {2, 2, 2};

	b.src = build_ip("fd00:2021:1111::a");
	b.dst = build_ip("2001:db8::5");
	for (int i = 0; i < 2; i++) {
		assert_true(add(t, &b));
		advance(&b, 600);
	}
	b.proto = IP_PROTO_UDP;
	for (int i = 0; i < 2; i++)
		assert_true(add(t, &b));
	b = udp(600);
	for (int i = 0; i < 2; i++) {
		assert_true(add(t, &b));
		advance(&b, 600);
	}
	flush(t);
	assert_writes(t, want, 3);
	assert_same(t);
	assert_int_equal(t->hdr[0].gso_type, VNET_GSO_TCPV6);
	assert_int_equal(t->hdr[0].csum_start, 40);
	assert_int_equal(t->hdr[0].hdr_len, 60);
	assert_int_equal(t->hdr[1].gso_type, VNET_GSO_UDP_L4);
	assert_int_equal(t->hdr[1].csum_offset, 6);
	assert_int_equal(t->hdr[1].hdr_len, 48);
	assert_int_equal(t->hdr[2].gso_type, VNET_GSO_UDP_L4);
	assert_int_equal(t->hdr[2].csum_start, 20);
}

static void push_closes_a_group(void **state)
{
	struct batch *t = *state;
	struct build b = tcp(800);
	static const uint32_t want[] = {2, 1, 1};

	assert_true(add(t, &b));
	advance(&b, 800);
	b.flags = 0x18;
	assert_true(add(t, &b));
	advance(&b, 800);
	assert_true(add(t, &b)); /* has PSH, nothing may join it */
	advance(&b, 800);
	b.flags = 0x10;
	assert_true(add(t, &b));
	flush(t);
	assert_writes(t, want, 3);
	assert_same(t);
}

/* Two in-sequence segments, the second changed by @row: they must not be joined. */
static void assert_not_joined(struct batch *t, const struct build *first,
			      const struct build *second)
{
	static const uint32_t want[] = {1, 1};

	t->n = 0;
	assert_true(add(t, first));
	assert_true(add(t, second));
	flush(t);
	assert_writes(t, want, 2);
	assert_same(t);
}

static void tcp_fields_that_differ_keep_segments_apart(void **state)
{
	static const uint8_t ts1[12] = {1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2};
	static const uint8_t ts2[12] = {1, 1, 8, 10, 0, 0, 0, 3, 0, 0, 0, 2};
	struct batch *t = *state;
	struct build a = tcp(700);
	struct build b;

#define DIFFERS(change)                       \
	do {                                  \
		b = a;                        \
		advance(&b, 700);             \
		change;                       \
		assert_not_joined(t, &a, &b); \
	} while (0)
	DIFFERS(b.seq++);
	DIFFERS(b.ack++);
	DIFFERS(b.window++);
	DIFFERS(b.ttl--);
	DIFFERS(b.tos = 1);
	DIFFERS(b.dont_fragment = true);
	DIFFERS(b.id++);
	DIFFERS(b.src_port++);
	DIFFERS(b.dst_port++);
	DIFFERS(b.dst = build_ip("10.20.1.2"));
	DIFFERS(b.src = build_ip("100.64.0.11"));
	DIFFERS(b.payload_len = 701);
	DIFFERS(b.payload_len = 0);
	DIFFERS(b.flags = 0x11);
	DIFFERS(b.flags = 0x12);
	DIFFERS(b.flags = 0x14);
	DIFFERS(b.flags = 0x30);
	DIFFERS(b.flags = 0x50);
	DIFFERS(b.flags = 0x90);
	DIFFERS(b.flags = 0);
	DIFFERS(b.bad_checksum = true);
	DIFFERS(b.tcp_options = ts1; b.tcp_options_len = 12);
	a.tcp_options = ts1;
	a.tcp_options_len = 12;
	DIFFERS(b.tcp_options = ts2);
	a.bad_checksum = true;
	DIFFERS(b.bad_checksum = false);
#undef DIFFERS
}

static void ids_need_no_order_when_fragmenting_is_forbidden(void **state)
{
	struct batch *t = *state;
	struct build b = tcp(700);
	static const uint32_t want[] = {2};

	b.dont_fragment = true;
	assert_true(add(t, &b));
	advance(&b, 700);
	b.id = 0;
	assert_true(add(t, &b));
	flush(t);
	assert_writes(t, want, 1);
}

static void equal_options_join(void **state)
{
	static const uint8_t ts[12] = {1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2};
	struct batch *t = *state;
	struct build b = tcp(700);
	static const uint32_t want[] = {2};

	b.tcp_options = ts;
	b.tcp_options_len = sizeof(ts);
	assert_true(add(t, &b));
	advance(&b, 700);
	assert_true(add(t, &b));
	flush(t);
	assert_writes(t, want, 1);
	assert_int_equal(t->hdr[0].hdr_len, 52);
	assert_same(t);
}

static void wrong_checksum_goes_alone_and_unmarked(void **state)
{
	struct batch *t = *state;
	struct build b = udp(300);
	static const uint32_t want[] = {1, 1, 1, 1};

	assert_true(add(t, &b));
	advance(&b, 300);
	b.bad_checksum = true;
	assert_true(add(t, &b));
	advance(&b, 300);
	b.bad_checksum = false;
	b.no_checksum = true;
	assert_true(add(t, &b));
	advance(&b, 300);
	assert_true(add(t, &b));
	flush(t);
	assert_writes(t, want, 4);
	assert_same(t);
	assert_int_equal(t->hdr[0].flags, VNET_F_DATA_VALID);
	assert_int_equal(t->hdr[1].flags, 0);
	assert_int_equal(t->hdr[2].flags, 0);
	assert_int_equal(t->hdr[3].flags, 0);
}

static void wrong_ip_header_checksum_is_not_repaired(void **state)
{
	struct batch *t = *state;
	struct build b = udp(300);
	struct ip_view view;
	static const uint32_t want[] = {1, 1};

	for (int i = 0; i < 2; i++) {
		t->len[t->n] = build_packet(&b, t->sent[t->n], IP_INNER_MTU);
		t->sent[t->n][10] ^= (uint8_t)i;
		memcpy(t->want[t->n], t->sent[t->n], IP_INNER_MTU);
		assert_int_equal(ip_parse_packet(&view, t->sent[t->n], t->len[t->n], IP_INNER_MTU),
				 IP_OK);
		assert_true(coalescer_add(t->c, &view));
		t->n++;
		advance(&b, 300);
	}
	flush(t);
	assert_writes(t, want, 2);
	assert_same(t);
}

static void udp_datagrams_join_up_to_64(void **state)
{
	struct batch *t = *state;
	struct build b = udp(100);
	static const uint32_t want[] = {64, 6, 1};

	for (int i = 0; i < 70; i++) {
		assert_true(add(t, &b));
		advance(&b, 100);
	}
	b.payload_len = 101;
	assert_true(add(t, &b));
	flush(t);
	assert_writes(t, want, 3);
	assert_same(t);
}

static void joined_packet_stays_below_64_kib(void **state)
{
	struct batch *t = *state;
	struct build b = tcp(1240);
	static const uint32_t want[] = {52, 52, 1};

	for (int i = 0; i < 105; i++) {
		assert_true(add(t, &b));
		advance(&b, 1240);
	}
	flush(t);
	assert_writes(t, want, 3); /* 40 + 52 * 1240 = 64520; one more would be 65760 */
	assert_same(t);
}

static void nothing_overtakes_within_a_flow(void **state)
{
	struct batch *t = *state;
	struct build b = tcp(900);
	struct build ack;
	static const uint32_t want[] = {1, 1, 2};

	assert_true(add(t, &b));
	advance(&b, 900);
	ack = b;
	ack.payload_len = 0;
	ack.id = 99;
	assert_true(add(t, &ack)); /* would be overtaken if the next two joined the first */
	assert_true(add(t, &b));
	advance(&b, 900);
	assert_true(add(t, &b));
	flush(t);
	assert_writes(t, want, 3);
	assert_same(t);
}

static void interleaved_flows_join_each_on_its_own(void **state)
{
	struct batch *t = *state;
	struct build flows[16];

	for (uint16_t f = 0; f < 16; f++) {
		flows[f] = f % 2 ? tcp(500) : udp(500);
		flows[f].src_port = f;
	}
	for (int i = 0; i < 4; i++) {
		for (int f = 0; f < 16; f++) {
			assert_true(add(t, &flows[f]));
			advance(&flows[f], 500);
		}
	}
	flush(t);
	assert_int_equal(t->n_writes, 16);
	for (size_t i = 0; i < 16; i++) {
		assert_int_equal(t->packets[i], 4);
		for (size_t k = 0; k < 4; k++)
			assert_packet(t, 4 * i + k, 16 * k + i);
	}
}

static void seventeenth_flow_closes_the_oldest_group(void **state)
{
	struct batch *t = *state;
	struct build b = udp(500);

	for (uint16_t f = 0; f < 17; f++) {
		b.src_port = f;
		assert_true(add(t, &b));
	}
	b.src_port = 0;
	b.id++;
	assert_true(add(t, &b)); /* its group is closed: a new one */
	b.src_port = 16;
	assert_true(add(t, &b)); /* joins */
	flush(t);
	assert_int_equal(t->n_writes, 18);
	assert_int_equal(t->packets[0], 1);
	assert_int_equal(t->packets[16], 2);
	assert_int_equal(t->packets[17], 1);
}

static void full_batch_is_refused_until_the_flush(void **state)
{
	struct batch *t = *state;
	struct build b = udp(10);
	struct coalescer *small = coalescer_new(2, true, true);
	struct coalescer *big = t->c;

	assert_non_null(small);
	t->c = small;
	assert_true(add(t, &b));
	assert_true(add(t, &b));
	assert_false(add(t, &b));
	flush(t);
	t->n = 0;
	assert_true(add(t, &b));
	flush(t);
	assert_int_equal(t->n_got, 1);
	coalescer_free(small);
	t->c = big;
}

static void disabled_coalescer_sends_singles(void **state)
{
	struct batch *t = *state;
	struct build b = tcp(700);
	static const uint32_t want[] = {1, 1};

	coalescer_disable(t->c);
	assert_true(add(t, &b));
	advance(&b, 700);
	assert_true(add(t, &b));
	flush(t);
	assert_writes(t, want, 2);
	assert_same(t);
}

static void udp_joining_can_be_left_out(void **state)
{
	struct batch *t = *state;
	struct build b = udp(700);
	static const uint32_t want[] = {1, 1, 2};

	coalescer_free(t->c);
	t->c = coalescer_new(MAX_PACKETS, true, false);
	assert_non_null(t->c);
	assert_true(add(t, &b));
	advance(&b, 700);
	assert_true(add(t, &b));
	b = tcp(700);
	assert_true(add(t, &b));
	advance(&b, 700);
	assert_true(add(t, &b));
	flush(t);
	assert_writes(t, want, 3);
	assert_same(t);
}

static void gather_refuses_a_short_buffer(void **state)
{
	struct batch *t = *state;
	struct build b = udp(100);
	struct tun_write w;
	struct vnet_hdr hdr;

	assert_true(add(t, &b));
	assert_true(coalescer_next(t->c, &w));
	assert_int_equal(tun_write_gather(&w, &hdr, t->super, 127), 0);
	assert_int_equal(tun_write_gather(&w, &hdr, t->super, 128), 128);
	assert_false(coalescer_next(t->c, &w));
}

/* One random step of a flow: mostly the next segment, now and then something that breaks the row.
 */
static void mutate(struct build *b, const struct rng *rng)
{
	switch (rng_below(rng, 24)) {
	case 0:
		b->seq += (uint32_t)rng_below(rng, 2000);
		break;
	case 1:
		b->flags ^= 0x08;
		break;
	case 2:
		b->payload_len = rng_below(rng, 1200);
		break;
	case 3:
		b->bad_checksum = !b->bad_checksum;
		break;
	case 4:
		b->window++;
		break;
	case 5:
		b->flags ^= 0x01;
		break;
	case 6:
		b->id += 3;
		break;
	case 7:
		b->no_checksum = !b->no_checksum;
		break;
	default:
		b->payload_len = 1000;
		break;
	}
}

/* The flow of a packet: its ports, which no rule changes. */
static uint32_t flow_of(const uint8_t *packet)
{
	size_t at = packet[0] >> 4 == 4 ? 20 : 40;

	return (uint32_t)packet[at] << 8 | packet[at + 1];
}

static void assert_flows_unchanged(const struct batch *t)
{
	assert_int_equal(t->n_got, t->n);
	for (uint32_t flow = 0; flow < FLOWS; flow++) {
		size_t g = 0;

		for (size_t i = 0; i < t->n; i++) {
			if (flow_of(t->want[i]) != flow)
				continue;
			while (g < t->n_got && flow_of(t->got[g]) != flow)
				g++;
			assert_true(g < t->n_got);
			assert_packet(t, g, i);
			g++;
		}
	}
}

static void random_flows_come_out_as_they_went_in(void **state)
{
	struct batch *t = *state;
	struct rng_seeded seed;
	struct rng rng = rng_from_seed(&seed, 4711);
	struct build flows[FLOWS];
	size_t joined = 0;

	for (uint32_t f = 0; f < FLOWS; f++) {
		flows[f] = f % 3 ? tcp(1000) : udp(1000);
		if (f % 4 == 1) {
			flows[f].src = build_ip("fd00:2021:1111::a");
			flows[f].dst = build_ip("2001:db8::5");
		}
		flows[f].src_port = (uint16_t)f;
	}
	for (int round = 0; round < 200; round++) {
		size_t live = 1 + rng_below(&rng, FLOWS);

		t->n = 0;
		for (size_t i = 0; i < MAX_PACKETS; i++) {
			struct build *b = &flows[rng_below(&rng, live)];

			assert_true(add(t, b));
			advance(b, 1000);
			mutate(b, &rng);
		}
		flush(t);
		assert_flows_unchanged(t);
		joined += t->n - t->n_writes;
	}
	assert_true(joined > 10000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	    CASE(tcp_segments_join_until_a_shorter_one),
	    CASE(super_header_has_length_checksum_and_pseudo_sum),
	    CASE(v6_and_udp_have_their_own_types),
	    CASE(push_closes_a_group),
	    CASE(tcp_fields_that_differ_keep_segments_apart),
	    CASE(ids_need_no_order_when_fragmenting_is_forbidden),
	    CASE(equal_options_join),
	    CASE(wrong_checksum_goes_alone_and_unmarked),
	    CASE(wrong_ip_header_checksum_is_not_repaired),
	    CASE(udp_datagrams_join_up_to_64),
	    CASE(joined_packet_stays_below_64_kib),
	    CASE(nothing_overtakes_within_a_flow),
	    CASE(interleaved_flows_join_each_on_its_own),
	    CASE(seventeenth_flow_closes_the_oldest_group),
	    CASE(full_batch_is_refused_until_the_flush),
	    CASE(disabled_coalescer_sends_singles),
	    CASE(udp_joining_can_be_left_out),
	    CASE(gather_refuses_a_short_buffer),
	    CASE(random_flows_come_out_as_they_went_in),
#undef CASE
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
