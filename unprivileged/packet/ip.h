/*
 * Inner IP packets: the bounded parser and its result. [spec dataplane 3, in its stricter 1.6 form;
 * RFC 791, 8200, 9293, 768, 792, 4443]
 *
 * Ports and identifiers are host order. The view points into the caller's packet and is valid as
 * long as that is.
 */
#ifndef PACKET_IP_H
#define PACKET_IP_H

#include "base/defs.h"
#include "packet/addr.h"

enum {
	IP_INNER_MTU = 1280,  /* largest inner packet */
	IP_MAX_SUPER = 65535, /* largest packet that a TUN with offloads hands over */
	IP_MAX_EXT_HEADERS = 8,
};

enum ip_proto {
	IP_PROTO_ICMP = 1,
	IP_PROTO_TCP = 6,
	IP_PROTO_UDP = 17,
	IP_PROTO_ICMPV6 = 58,
};

/* What filters and NAT look at. */
enum ip_kind {
	IP_KIND_TCP,
	IP_KIND_UDP,
	IP_KIND_ECHO,       /* ICMP or ICMPv6 echo request or reply, code 0 */
	IP_KIND_ICMP_ERROR, /* an error message as spec dataplane 3 defines it, with a quote that
			       parses */
	IP_KIND_ICMP_OTHER,
	IP_KIND_OTHER,
};

/* The quoted packet of an ICMP error. */
struct ip_quote {
	struct ip_addr src, dst;
	enum ip_kind kind;           /* TCP, UDP or ECHO */
	uint16_t src_port, dst_port; /* echo: identifier in both */
};

struct ip_view {
	uint8_t *data;
	size_t len; /* whole packet */
	size_t l4_offset;
	uint8_t version; /* 4 or 6 */
	uint8_t proto;   /* final transport protocol number */
	uint8_t tos;     /* traffic class */
	enum ip_kind kind;
	struct ip_addr src, dst;
	uint16_t src_port, dst_port; /* echo: identifier in both; else 0 */
	uint8_t tcp_flags;
	uint8_t icmp_type, icmp_code;
	bool is_icmp_error_type; /* by type alone, whether or not the quote parses */
	bool is_fragment;        /* never in an accepted packet */
	bool has_source_route;   /* IPv4 LSRR/SSRR or IPv6 routing header type 0 */
	struct ip_quote quote;   /* for IP_KIND_ICMP_ERROR */
};

/*
 * Cut a decrypted plaintext to the length in its IP header. [spec dataplane 3] 0: not IP, or longer
 * than the plaintext.
 */
MUST_CHECK size_t ip_trim(const uint8_t *data, size_t len);

enum ip_verdict {
	IP_OK,
	IP_MALFORMED,
	IP_FRAGMENT,
	IP_TOO_LONG
};

/*
 * Parse one packet of at most @max bytes (IP_INNER_MTU, or IP_MAX_SUPER for what comes from the TUN
 * before it is cut up). *out is all zero after a failure.
 */
MUST_CHECK enum ip_verdict ip_parse_packet(struct ip_view *out, uint8_t *data, size_t len,
					   size_t max);

/* The two ECN bits of the packet. */
uint8_t ip_ecn(const struct ip_view *view);

/* Outer CE on an inner ECT(0)/ECT(1) becomes inner CE, IPv4 header checksum corrected; else
 * untouched. [RFC 6040, spec dataplane 13] */
void ip_merge_ecn(struct ip_view *view, uint8_t outer_ecn);

#endif
