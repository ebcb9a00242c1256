/*
 * Builds inner packets for tests, with a checksum routine of its own, so that nothing under test
 * takes part.
 *
 * All values host order. Used by the tests of packet/ and tunnel/ and by the fuzz targets.
 */
#ifndef TESTS_UNIT_PACKET_BUILD_H
#define TESTS_UNIT_PACKET_BUILD_H

#include <string.h>

#include "packet/bytes.h"
#include "packet/ip.h"

struct build {
	struct ip_addr src, dst;
	uint8_t proto, tos, ttl;
	uint16_t id;
	bool dont_fragment;
	uint16_t src_port, dst_port; /* ICMP: type and code in src_port, identifier in dst_port */
	uint32_t seq, ack;
	uint16_t window;
	uint8_t flags;
	const uint8_t *tcp_options;
	size_t tcp_options_len; /* a multiple of 4 */
	size_t payload_len;
	uint8_t fill; /* payload bytes count up from here */
	bool bad_checksum, no_checksum;
};

static inline uint32_t build_sum(uint32_t sum, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		sum += i % 2 == 0 ? (uint32_t)data[i] << 8 : data[i];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static inline uint16_t build_l4_sum(const struct build *b, const uint8_t *l4, size_t len)
{
	size_t addr_len = b->src.family == IP_V4 ? 4 : 16;
	uint32_t sum = 0;

	if (b->proto != IP_PROTO_ICMP) {
		sum = build_sum((uint32_t)len + b->proto, b->src.bytes, addr_len);
		sum = build_sum(sum, b->dst.bytes, addr_len);
	}
	return (uint16_t)~build_sum(sum, l4, len);
}

static inline size_t build_l4(const struct build *b, uint8_t *out, size_t cap)
{
	struct writer w = writer_of(out, cap);
	size_t checksum_at = 2;
	uint16_t sum;

	if (b->proto == IP_PROTO_TCP) {
		checksum_at = 16;
		wr_u16(&w, b->src_port);
		wr_u16(&w, b->dst_port);
		wr_u32(&w, b->seq);
		wr_u32(&w, b->ack);
		wr_u8(&w, (uint8_t)((20 + b->tcp_options_len) / 4 << 4));
		wr_u8(&w, b->flags);
		wr_u16(&w, b->window);
		wr_u32(&w, 0);
		wr_bytes(&w, b->tcp_options, b->tcp_options_len);
	} else if (b->proto == IP_PROTO_UDP) {
		checksum_at = 6;
		wr_u16(&w, b->src_port);
		wr_u16(&w, b->dst_port);
		wr_u16(&w, (uint16_t)(8 + b->payload_len));
		wr_u16(&w, 0);
	} else if (b->proto == IP_PROTO_ICMP || b->proto == IP_PROTO_ICMPV6) {
		wr_u16(&w, b->src_port);
		wr_u16(&w, 0);
		wr_u16(&w, b->dst_port);
		wr_u16(&w, 1);
	} else {
		checksum_at = 0;
	}
	for (size_t i = 0; i < b->payload_len; i++)
		wr_u8(&w, (uint8_t)(b->fill + i));
	if (checksum_at == 0 || b->no_checksum)
		return w.written;
	sum = build_l4_sum(b, out, w.written);
	if (b->proto == IP_PROTO_UDP && sum == 0)
		sum = 0xffff;
	if (b->bad_checksum)
		sum ^= 0x5a5a;
	out[checksum_at] = (uint8_t)(sum >> 8);
	out[checksum_at + 1] = (uint8_t)sum;
	return w.written;
}

/* Length of the packet in @out, which has room for @cap bytes. */
static inline size_t build_packet(const struct build *b, uint8_t *out, size_t cap)
{
	size_t header_len = b->src.family == IP_V4 ? 20 : 40;
	struct writer w = writer_of(out, cap);
	size_t l4_len = build_l4(b, out + header_len, cap - header_len);

	if (b->src.family == IP_V4) {
		uint16_t sum;

		wr_u8(&w, 0x45);
		wr_u8(&w, b->tos);
		wr_u16(&w, (uint16_t)(20 + l4_len));
		wr_u16(&w, b->id);
		wr_u16(&w, b->dont_fragment ? 0x4000 : 0);
		wr_u8(&w, b->ttl);
		wr_u8(&w, b->proto);
		wr_u16(&w, 0);
		wr_bytes(&w, b->src.bytes, 4);
		wr_bytes(&w, b->dst.bytes, 4);
		sum = (uint16_t)~build_sum(0, out, 20);
		out[10] = (uint8_t)(sum >> 8);
		out[11] = (uint8_t)sum;
	} else {
		wr_u32(&w, 6U << 28 | (uint32_t)b->tos << 20);
		wr_u16(&w, (uint16_t)l4_len);
		wr_u8(&w, b->proto);
		wr_u8(&w, b->ttl);
		wr_bytes(&w, b->src.bytes, 16);
		wr_bytes(&w, b->dst.bytes, 16);
	}
	return header_len + l4_len;
}

/* An address from text; all zero if it is none. */
static inline struct ip_addr build_ip(const char *text)
{
	struct ip_addr ip = {.family = IP_NONE};

	if (!ip_parse(&ip, text, strlen(text)))
		ip.family = IP_NONE;
	return ip;
}

#endif
