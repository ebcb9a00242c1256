#include "tunnel/icmp.h"

#include <string.h>

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

/* Type, code, checksum to be filled in, rest of the header zero, quote. Returns the length. */
static size_t put_icmp(uint8_t *icmp, uint8_t type, uint8_t code, const struct ip_view *offending,
		       size_t quote)
{
	memset(icmp, 0, ICMP_MIN_LEN);
	icmp[0] = type;
	icmp[1] = code;
	memcpy(icmp + ICMP_MIN_LEN, offending->data, quote);
	return ICMP_MIN_LEN + quote;
}

static size_t build_v4(const struct ip_view *offending, enum icmp_refusal why, uint8_t *out)
{
	size_t quote = min_size(offending->l4_offset + QUOTE4_PAYLOAD, offending->len);
	uint8_t code = why == ICMP_PROHIBITED ? UNREACHABLE4_PROHIBITED : UNREACHABLE4_NET;
	uint8_t *icmp = out + V4_MIN_LEN;
	size_t l4_len = put_icmp(icmp, UNREACHABLE4, code, offending, quote);

	memset(out, 0, V4_MIN_LEN);
	out[0] = 0x45;
	field_set_u16(out, V4_TOTAL_LEN, (uint16_t)(V4_MIN_LEN + l4_len));
	field_set_u16(out, V4_FRAGMENT, V4_DONT_FRAGMENT);
	out[V4_TTL] = HOP_LIMIT;
	out[V4_PROTO] = IP_PROTO_ICMP;
	memcpy(out + V4_SRC, offending->dst.bytes, 4);
	memcpy(out + V4_DST, offending->src.bytes, 4);
	field_set_u16(out, V4_CHECKSUM, (uint16_t)~checksum_fold(checksum_add(0, out, V4_MIN_LEN)));
	field_set_u16(icmp, ICMP_CHECKSUM, (uint16_t)~checksum_fold(checksum_add(0, icmp, l4_len)));
	return V4_MIN_LEN + l4_len;
}

static size_t build_v6(const struct ip_view *offending, enum icmp_refusal why, uint8_t *out)
{
	struct ip_view ends = {
	    .proto = IP_PROTO_ICMPV6,
	    .src = offending->dst,
	    .dst = offending->src,
	};
	uint8_t code = why == ICMP_PROHIBITED ? UNREACHABLE6_PROHIBITED : UNREACHABLE6_ADDRESS;
	uint8_t *icmp = out + V6_LEN;
	size_t l4_len =
	    put_icmp(icmp, UNREACHABLE6, code, offending, min_size(offending->len, QUOTE6_MAX));
	uint64_t sum = checksum_pseudo(&ends, (uint32_t)l4_len);

	memset(out, 0, V6_LEN);
	out[0] = 0x60;
	field_set_u16(out, V6_PAYLOAD_LEN, (uint16_t)l4_len);
	out[V6_NEXT] = IP_PROTO_ICMPV6;
	out[V6_HOP_LIMIT] = HOP_LIMIT;
	memcpy(out + V6_SRC, ends.src.bytes, 16);
	memcpy(out + V6_DST, ends.dst.bytes, 16);
	sum = checksum_add(sum, icmp, l4_len);
	field_set_u16(icmp, ICMP_CHECKSUM, (uint16_t)~checksum_fold(sum));
	return V6_LEN + l4_len;
}

size_t icmp_build(const struct ip_view *offending, enum icmp_refusal why, uint8_t out[IP_INNER_MTU])
{
	if (offending->version == 4)
		return build_v4(offending, why, out);
	return build_v6(offending, why, out);
}
