/*
 * A batch of packets made from the input, four bytes each: what the coalescer joins, cut up again,
 * is what went in, in order within each flow.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "packet/gso.h"
#include "tests/unit/packet/build.h"

enum {
	MAX_PACKETS = 96,
	FLOWS = 32,
	CAP = 256,
	SUPER_CAP = 66000,
	STEP = 4
};

struct batch {
	struct build flows[FLOWS];
	uint8_t sent[MAX_PACKETS][CAP];
	uint8_t want[MAX_PACKETS][CAP];
	size_t len[MAX_PACKETS];
	uint8_t flow[MAX_PACKETS];
	size_t n;
	bool seen[MAX_PACKETS];
	uint8_t super[SUPER_CAP];
	uint8_t piece[CAP];
};

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void init_flow(struct build *b, uint8_t f)
{
	bool v6 = f & 1;

	*b = (struct build){
	    .src = build_ip(v6 ? "fd00:2021:1111::a" : "100.64.0.10"),
	    .dst = build_ip(v6 ? "2001:db8::1" : "10.20.1.1"),
	    .proto = f & 2 ? IP_PROTO_TCP : IP_PROTO_UDP,
	    .ttl = 64,
	    .src_port = f,
	    .dst_port = 443,
	    .flags = 0x10,
	};
}

/* One packet: which flow, how long, and what is odd about it. */
static void add(struct batch *t, struct coalescer *c, const uint8_t step[STEP])
{
	struct build *b = &t->flows[step[0] % FLOWS];
	size_t i = t->n++;
	struct ip_view view;

	b->payload_len = step[1] % 4 == 0 ? step[1] % 100 : 100;
	b->bad_checksum = step[2] & 1;
	b->no_checksum = step[2] & 2;
	b->tos = step[2] & 4 ? 2 : 0;
	b->flags = step[2] & 8 ? 0x18 : 0x10;
	b->flags |= step[2] & 16 ? 1 : 0;
	b->dont_fragment = step[2] & 32;
	b->window = step[2] & 64;
	b->seq += step[3] & 1;
	b->id = (uint16_t)(b->id + (step[3] & 2));
	b->ack += step[3] & 4;
	t->len[i] = build_packet(b, t->sent[i], CAP);
	t->flow[i] = step[0] % FLOWS;
	memcpy(t->want[i], t->sent[i], t->len[i]);
	check(ip_parse_packet(&view, t->sent[i], t->len[i], IP_INNER_MTU) == IP_OK);
	check(coalescer_add(c, &view));
	b->seq += (uint32_t)b->payload_len;
	b->id++;
}

/* The piece is the first packet of its flow that has not come out yet. */
static void check_piece(struct batch *t, size_t len)
{
	size_t at = t->piece[0] >> 4 == 4 ? 20 : 40;
	uint8_t flow = t->piece[at + 1];
	size_t i = 0;

	while (i < t->n && (t->flow[i] != flow || t->seen[i]))
		i++;
	check(i < t->n);
	t->seen[i] = true;
	check(len == t->len[i]);
	/* Where fragmenting is forbidden the identification means nothing and may be renumbered. */
	if (at == 20 && (t->want[i][6] & 0x40)) {
		memcpy(t->piece + 4, t->want[i] + 4, 2);
		memcpy(t->piece + 10, t->want[i] + 10, 2);
	}
	check(memcmp(t->piece, t->want[i], len) == 0);
}

static void drain(struct batch *t, struct coalescer *c)
{
	struct tun_write w;
	size_t out = 0;

	while (coalescer_next(c, &w)) {
		struct vnet_hdr hdr;
		struct gso_split s;
		enum ip_verdict verdict;
		size_t len = tun_write_gather(&w, &hdr, t->super, SUPER_CAP);

		check(len > 0 && len <= IP_MAX_SUPER);
		check(gso_split_begin(&s, &hdr, t->super, len, &verdict));
		check(s.count == w.packets);
		while ((len = gso_split_next_len(&s)) > 0) {
			gso_split_next(&s, t->piece);
			check_piece(t, len);
			out++;
		}
	}
	check(out == t->n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct coalescer *c = coalescer_new(MAX_PACKETS, true, true);
	struct batch *t = calloc(1, sizeof(*t));

	check(c && t);
	for (size_t f = 0; f < FLOWS; f++)
		init_flow(&t->flows[f], (uint8_t)f);
	for (; len >= STEP && t->n < MAX_PACKETS; len -= STEP, data += STEP)
		add(t, c, data);
	drain(t, c);
	free(t);
	coalescer_free(c);
	return 0;
}
