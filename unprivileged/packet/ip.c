#include "packet/ip.h"

#include <string.h>

#include "packet/bytes.h"
#include "packet/checksum.h"
#include "packet/field.h"
#include "packet/header.h"

enum {
	/* IPv4 options [RFC 791 section 3.1] */
	OPTION_END = 0,
	OPTION_NOP = 1,
	OPTION_LSRR = 131,
	OPTION_SSRR = 137,

	/* IPv6 extension headers [RFC 8200 section 4, RFC 4302] */
	EXT_HOP_BY_HOP = 0,
	EXT_ROUTING = 43,
	EXT_FRAGMENT = 44,
	EXT_AUTH = 51,
	EXT_DESTINATION = 60,
	EXT_MIN_LEN = 8,
	EXT_ROUTING_TYPE = 2,
	EXT_FRAGMENT_OFFSET = 2,
	FRAGMENT6_MASK = 0xfff9, /* offset and more-fragments flag */

	/* ICMP [RFC 792] */
	ICMP4_ECHO_REPLY = 0,
	ICMP4_UNREACHABLE = 3,
	ICMP4_SOURCE_QUENCH = 4,
	ICMP4_REDIRECT = 5,
	ICMP4_ECHO = 8,
	ICMP4_TIME_EXCEEDED = 11,
	ICMP4_PARAMETER = 12,
	ICMP4_TIMESTAMP = 13,
	ICMP4_TIMESTAMP_REPLY = 14,
	ICMP4_TIMESTAMP_LEN = 20,

	/* ICMPv6 [RFC 4443]; types below 128 are errors */
	ICMP6_UNREACHABLE = 1,
	ICMP6_TOO_BIG = 2,
	ICMP6_TIME_EXCEEDED = 3,
	ICMP6_FIRST_INFO = 128,
	ICMP6_ECHO = 128,
	ICMP6_ECHO_REPLY = 129,

	ICMP_ID = 4,
	PORTS_LEN = 4,
	ECN_MASK = 3,
	ECN_NOT_ECT = 0,
	ECN_CE = 3,
};

size_t ip_trim(const uint8_t *data, size_t len)
{
	struct reader r = reader_of(data, len);
	uint8_t version = rd_u8(&r) >> 4;
	size_t total;

	if (version == 4) {
		rd_skip(&r, V4_TOTAL_LEN - 1);
		total = rd_u16(&r);
	} else if (version == 6) {
		rd_skip(&r, V6_PAYLOAD_LEN - 1);
		total = V6_LEN + (size_t)rd_u16(&r);
	} else {
		return 0;
	}
	return r.bad || total > len ? 0 : total;
}

/* Options that do not parse are left to whoever acts on them. */
static bool options_route(struct reader options)
{
	while (options.left > 0 && !options.bad) {
		uint8_t kind = rd_u8(&options);
		uint8_t len;

		if (kind == OPTION_END)
			return false;
		if (kind == OPTION_NOP)
			continue;
		if (kind == OPTION_LSRR || kind == OPTION_SSRR)
			return true;
		len = rd_u8(&options);
		if (len < 2)
			return false;
		rd_skip(&options, len - 2);
	}
	return false;
}

/* @ip is zeroed. */
static inline void set_address(struct ip_addr *ip, uint8_t family, const uint8_t *bytes, size_t len)
{
	ip->family = family;
	memcpy(ip->bytes, bytes, len);
}

static enum ip_verdict v4_parse(struct ip_view *v, struct reader *r)
{
	const uint8_t *h = rd_bytes(r, V4_MIN_LEN);
	struct reader options;
	size_t header_len;

	if (!h)
		return IP_MALFORMED;
	header_len = (size_t)(h[0] & 0xf) * 4;
	if (header_len < V4_MIN_LEN || field_u16(h, V4_TOTAL_LEN) != v->len)
		return IP_MALFORMED;
	options = rd_child(r, header_len - V4_MIN_LEN);
	if (r->bad)
		return IP_MALFORMED;
	if (field_u16(h, V4_FRAGMENT) & V4_FRAGMENT_MASK)
		return IP_FRAGMENT;
	v->l4_offset = header_len;
	v->tos = h[V4_TOS];
	v->proto = h[V4_PROTO];
	set_address(&v->src, IP_V4, h + V4_SRC, 4);
	set_address(&v->dst, IP_V4, h + V4_DST, 4);
	v->has_source_route = options.left > 0 && options_route(options);
	return v->proto == IP_PROTO_ICMPV6 ? IP_MALFORMED : IP_OK;
}

static bool is_extension(uint8_t next)
{
	return next == EXT_HOP_BY_HOP || next == EXT_ROUTING || next == EXT_FRAGMENT ||
	       next == EXT_AUTH || next == EXT_DESTINATION;
}

/* Walk to the transport header; its number goes to @v->proto, which holds the first next-header
 * field. */
static enum ip_verdict v6_extensions(struct ip_view *v, struct reader *r)
{
	for (int n = 0; is_extension(v->proto); n++) {
		const uint8_t *h = rd_bytes(r, EXT_MIN_LEN);
		uint8_t type = v->proto;

		if (!h || n >= IP_MAX_EXT_HEADERS || (type == EXT_HOP_BY_HOP && n > 0))
			return IP_MALFORMED;
		v->proto = h[0];
		if (type == EXT_FRAGMENT) {
			if (field_u16(h, EXT_FRAGMENT_OFFSET) & FRAGMENT6_MASK)
				return IP_FRAGMENT;
			continue;
		}
		if (type == EXT_ROUTING && h[EXT_ROUTING_TYPE] == 0)
			v->has_source_route = true;
		/* AH counts 4-byte words less two, the others 8-byte words less one. */
		rd_skip(r, type == EXT_AUTH ? (size_t)h[1] * 4 : (size_t)h[1] * 8);
	}
	return r->bad ? IP_MALFORMED : IP_OK;
}

static enum ip_verdict v6_parse(struct ip_view *v, struct reader *r)
{
	const uint8_t *h = rd_bytes(r, V6_LEN);
	enum ip_verdict verdict;

	if (!h || (size_t)field_u16(h, V6_PAYLOAD_LEN) + V6_LEN != v->len)
		return IP_MALFORMED;
	v->tos = (uint8_t)(h[0] << 4 | h[1] >> 4);
	v->proto = h[V6_NEXT];
	set_address(&v->src, IP_V6, h + V6_SRC, 16);
	set_address(&v->dst, IP_V6, h + V6_DST, 16);
	verdict = v6_extensions(v, r);
	if (verdict != IP_OK)
		return verdict;
	v->l4_offset = v->len - r->left;
	return v->proto == IP_PROTO_ICMP ? IP_MALFORMED : IP_OK;
}

/* The IP header of a quote. The quoted packet may be cut short anywhere behind it. */
static bool quote_header(struct ip_quote *q, struct reader *r, uint8_t version, uint8_t *proto)
{
	const uint8_t *h = rd_bytes(r, version == 4 ? V4_MIN_LEN : V6_LEN);
	size_t header_len;

	if (!h || h[0] >> 4 != version)
		return false;
	if (version == 6) {
		q->src = ip_v6(h + V6_SRC);
		q->dst = ip_v6(h + V6_DST);
		*proto = h[V6_NEXT];
		return true;
	}
	header_len = (size_t)(h[0] & 0xf) * 4;
	if (header_len < V4_MIN_LEN || field_u16(h, V4_FRAGMENT) & V4_OFFSET_MASK)
		return false;
	rd_skip(r, header_len - V4_MIN_LEN);
	q->src = ip_v4(h + V4_SRC);
	q->dst = ip_v4(h + V4_DST);
	*proto = h[V4_PROTO];
	return !r->bad;
}

static bool quote_parse(struct ip_quote *out, struct reader r, uint8_t version)
{
	struct ip_quote q = {.kind = IP_KIND_ECHO};
	uint8_t echo = version == 4 ? ICMP4_ECHO : ICMP6_ECHO;
	uint8_t proto;

	if (!quote_header(&q, &r, version, &proto))
		return false;
	if (proto == IP_PROTO_TCP || proto == IP_PROTO_UDP) {
		q.kind = proto == IP_PROTO_TCP ? IP_KIND_TCP : IP_KIND_UDP;
		q.src_port = rd_u16(&r);
		q.dst_port = rd_u16(&r);
	} else if (proto == (version == 4 ? IP_PROTO_ICMP : IP_PROTO_ICMPV6)) {
		const uint8_t *h = rd_bytes(&r, ICMP_MIN_LEN);

		if (!h || h[0] != echo || h[1] != 0)
			return false;
		q.src_port = field_u16(h, ICMP_ID);
		q.dst_port = q.src_port;
	} else {
		return false;
	}
	if (r.bad)
		return false;
	*out = q;
	return true;
}

/* Types and codes that count as errors for filters and NAT. */
static bool is_relayed_error(const struct ip_view *v)
{
	if (v->version == 4)
		return (v->icmp_type == ICMP4_UNREACHABLE && v->icmp_code <= 15) ||
		       (v->icmp_type == ICMP4_TIME_EXCEEDED && v->icmp_code <= 1);
	return (v->icmp_type == ICMP6_UNREACHABLE && v->icmp_code <= 6) ||
	       (v->icmp_type == ICMP6_TOO_BIG && v->icmp_code == 0) ||
	       (v->icmp_type == ICMP6_TIME_EXCEEDED && v->icmp_code <= 1);
}

static bool is_error_type(uint8_t version, uint8_t type)
{
	if (version == 6)
		return type < ICMP6_FIRST_INFO;
	return type == ICMP4_UNREACHABLE || type == ICMP4_SOURCE_QUENCH || type == ICMP4_REDIRECT ||
	       type == ICMP4_TIME_EXCEEDED || type == ICMP4_PARAMETER;
}

static bool is_echo_type(uint8_t version, uint8_t type)
{
	if (version == 4)
		return type == ICMP4_ECHO || type == ICMP4_ECHO_REPLY;
	return type == ICMP6_ECHO || type == ICMP6_ECHO_REPLY;
}

static bool icmp_parse(struct ip_view *v, struct reader *r)
{
	size_t l4_len = r->left;
	const uint8_t *h = rd_bytes(r, ICMP_MIN_LEN);

	if (!h)
		return false;
	v->icmp_type = h[0];
	v->icmp_code = h[1];
	v->is_icmp_error_type = is_error_type(v->version, v->icmp_type);
	v->kind = IP_KIND_ICMP_OTHER;
	if (is_echo_type(v->version, v->icmp_type) && v->icmp_code == 0) {
		v->kind = IP_KIND_ECHO;
		v->src_port = field_u16(h, ICMP_ID);
		v->dst_port = v->src_port;
	} else if (is_relayed_error(v) && quote_parse(&v->quote, *r, v->version)) {
		v->kind = IP_KIND_ICMP_ERROR;
	} else if (v->version == 4 && v->icmp_code == 0 &&
		   (v->icmp_type == ICMP4_TIMESTAMP || v->icmp_type == ICMP4_TIMESTAMP_REPLY)) {
		return l4_len == ICMP4_TIMESTAMP_LEN;
	}
	return true;
}

static bool tcp_parse(struct ip_view *v, struct reader *r)
{
	const uint8_t *h = rd_bytes(r, TCP_MIN_LEN);

	if (!h)
		return false;
	v->kind = IP_KIND_TCP;
	v->src_port = field_u16(h, 0);
	v->dst_port = field_u16(h, 2);
	v->tcp_flags = h[TCP_FLAGS];
	if (h[TCP_DATA_OFFSET] >> 4 < TCP_MIN_LEN / 4)
		return false;
	rd_skip(r, (size_t)(h[TCP_DATA_OFFSET] >> 4) * 4 - TCP_MIN_LEN);
	return !r->bad;
}

static bool udp_parse(struct ip_view *v, struct reader *r)
{
	size_t l4_len = r->left;
	const uint8_t *h = rd_bytes(r, UDP_LEN);

	if (!h)
		return false;
	v->kind = IP_KIND_UDP;
	v->src_port = field_u16(h, 0);
	v->dst_port = field_u16(h, 2);
	return field_u16(h, UDP_LENGTH) == l4_len;
}

static bool l4_parse(struct ip_view *v, struct reader *r)
{
	switch (v->proto) {
	case IP_PROTO_TCP:
		return tcp_parse(v, r);
	case IP_PROTO_UDP:
		return udp_parse(v, r);
	case IP_PROTO_ICMP:
	case IP_PROTO_ICMPV6:
		return icmp_parse(v, r);
	default:
		v->kind = IP_KIND_OTHER;
		return true;
	}
}

static enum ip_verdict parse(struct ip_view *v, struct reader *r)
{
	enum ip_verdict verdict = IP_MALFORMED;

	if (v->version == 4)
		verdict = v4_parse(v, r);
	else if (v->version == 6)
		verdict = v6_parse(v, r);
	if (verdict == IP_OK && !l4_parse(v, r))
		verdict = IP_MALFORMED;
	return verdict;
}

/* Parsed in place: a view built here and copied stalls on its own narrow stores. */
enum ip_verdict ip_parse_packet(struct ip_view *out, uint8_t *data, size_t len, size_t max)
{
	struct reader r = reader_of(data, len);
	enum ip_verdict verdict;

	*out = (struct ip_view){.data = NULL};
	if (len == 0 || len > max)
		return len == 0 ? IP_MALFORMED : IP_TOO_LONG;
	out->data = data;
	out->len = len;
	out->version = data[0] >> 4;
	verdict = parse(out, &r);
	if (verdict != IP_OK)
		*out = (struct ip_view){.data = NULL};
	return verdict;
}

uint8_t ip_ecn(const struct ip_view *view)
{
	return view->tos & ECN_MASK;
}

void ip_merge_ecn(struct ip_view *view, uint8_t outer_ecn)
{
	uint8_t *h = view->data;
	uint16_t before = field_u16(h, 0);

	if ((outer_ecn & ECN_MASK) != ECN_CE || ip_ecn(view) == ECN_NOT_ECT ||
	    ip_ecn(view) == ECN_CE)
		return;
	view->tos |= ECN_CE;
	if (view->version == 6) {
		field_set_u16(h, 0, (uint16_t)(before | ECN_CE << 4));
		return;
	}
	h[V4_TOS] = view->tos;
	field_set_u16(h, V4_CHECKSUM,
		      checksum_update(field_u16(h, V4_CHECKSUM), before, field_u16(h, 0)));
}
