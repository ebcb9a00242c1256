#include "tunnel/icmp.h"

#include "packet/bytes.h"
#include "packet/checksum.h"
#include "packet/field.h"
#include "packet/header.h"

enum {
	HOP_LIMIT = 20,
	QUOTE4_PAYLOAD = 8, /* behind the quoted IPv4 header */
	QUOTE6_MAX = IP_INNER_MTU - V6_LEN - ICMP_MIN_LEN,

	UNREACHABLE4 = 3,
	UNREACHABLE4_NET = 0,
	UNREACHABLE4_PROHIBITED = 13,
	UNREACHABLE6 = 1,
	UNREACHABLE6_PROHIBITED = 1,
	UNREACHABLE6_ADDRESS = 3,
};

static bool is_one_host(const struct ip_addr *ip)
{
	return !ip_is_unspecified(ip) && !ip_is_multicast(ip) && !ip_is_broadcast(ip) &&
	       !ip_is_loopback(ip);
}

bool icmp_may_answer(const struct ip_view *offending)
{
	return !offending->is_icmp_error_type && is_one_host(&offending->src) &&
	       is_one_host(&offending->dst);
}

static size_t build_v4(const struct ip_view *offending, enum icmp_refusal why, uint8_t *out)
{
	size_t quote = min_size(offending->l4_offset + QUOTE4_PAYLOAD, offending->len);
	size_t len = V4_MIN_LEN + ICMP_MIN_LEN + quote;
	struct writer w = writer_of(out, IP_INNER_MTU);
	uint8_t *icmp;

	wr_u8(&w, 0x45);
	wr_u8(&w, 0);
	wr_u16(&w, (uint16_t)len);
	wr_u16(&w, 0);
	wr_u16(&w, V4_DONT_FRAGMENT);
	wr_u8(&w, HOP_LIMIT);
	wr_u8(&w, IP_PROTO_ICMP);
	wr_u16(&w, 0);
	wr_bytes(&w, offending->dst.bytes, 4);
	wr_bytes(&w, offending->src.bytes, 4);
	field_set_u16(out, V4_CHECKSUM, (uint16_t)~checksum_fold(checksum_add(0, out, V4_MIN_LEN)));
	icmp = out + w.written;
	wr_u8(&w, UNREACHABLE4);
	wr_u8(&w, why == ICMP_PROHIBITED ? UNREACHABLE4_PROHIBITED : UNREACHABLE4_NET);
	wr_zero(&w, ICMP_MIN_LEN - 2);
	wr_bytes(&w, offending->data, quote);
	field_set_u16(icmp, ICMP_CHECKSUM,
		      (uint16_t)~checksum_fold(checksum_add(0, icmp, len - V4_MIN_LEN)));
	return w.written;
}

static size_t build_v6(const struct ip_view *offending, enum icmp_refusal why, uint8_t *out)
{
	struct ip_view ends = {
	    .proto = IP_PROTO_ICMPV6, .src = offending->dst, .dst = offending->src};
	size_t quote = min_size(offending->len, QUOTE6_MAX);
	size_t l4_len = ICMP_MIN_LEN + quote;
	struct writer w = writer_of(out, IP_INNER_MTU);
	uint8_t *icmp;
	uint64_t sum;

	wr_u32(&w, UINT32_C(6) << 28);
	wr_u16(&w, (uint16_t)l4_len);
	wr_u8(&w, IP_PROTO_ICMPV6);
	wr_u8(&w, HOP_LIMIT);
	wr_bytes(&w, ends.src.bytes, 16);
	wr_bytes(&w, ends.dst.bytes, 16);
	icmp = out + w.written;
	wr_u8(&w, UNREACHABLE6);
	wr_u8(&w, why == ICMP_PROHIBITED ? UNREACHABLE6_PROHIBITED : UNREACHABLE6_ADDRESS);
	wr_zero(&w, ICMP_MIN_LEN - 2);
	wr_bytes(&w, offending->data, quote);
	sum = checksum_add(checksum_pseudo(&ends, (uint32_t)l4_len), icmp, l4_len);
	field_set_u16(icmp, ICMP_CHECKSUM, (uint16_t)~checksum_fold(sum));
	return w.written;
}

size_t icmp_build(const struct ip_view *offending, enum icmp_refusal why, uint8_t out[IP_INNER_MTU])
{
	if (offending->version == 4)
		return build_v4(offending, why, out);
	return build_v6(offending, why, out);
}
