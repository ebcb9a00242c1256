/*
 * IP addresses and endpoints as plain values, their text and their classes. [RFC 4291, RFC 5952,
 * RFC 6890]
 *
 * Address bytes are network order, ports host order.
 */
#ifndef PACKET_ADDR_H
#define PACKET_ADDR_H

#include <string.h>

#include "base/defs.h"

enum ip_family {
	IP_NONE = 0,
	IP_V4 = 4,
	IP_V6 = 6
};

/* IPv4 uses the first four bytes; the rest is zero, so values compare as a whole. */
struct ip_addr {
	uint8_t family; /* enum ip_family */
	uint8_t bytes[16];
};

struct endpoint {
	struct ip_addr ip;
	uint16_t port;
	uint32_t scope; /* interface index for fe80::/10 and ff02::/16, else 0 */
};

struct ip_prefix {
	struct ip_addr ip; /* host bits are zero */
	uint8_t len;
};

enum {
	IP_TEXT_MAX = 46, /* with the NUL */
	ENDPOINT_TEXT_MAX = 64,
};

static inline struct ip_addr ip_v4(const uint8_t bytes[4])
{
	struct ip_addr ip = {.family = IP_V4};

	memcpy(ip.bytes, bytes, 4);
	return ip;
}

static inline struct ip_addr ip_v6(const uint8_t bytes[16])
{
	struct ip_addr ip = {.family = IP_V6};

	memcpy(ip.bytes, bytes, 16);
	return ip;
}

static inline bool ip_eq(const struct ip_addr *a, const struct ip_addr *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static inline bool endpoint_eq(const struct endpoint *a, const struct endpoint *b)
{
	return a->port == b->port && ip_eq(&a->ip, &b->ip) && a->scope == b->scope;
}

static inline size_t ip_len(const struct ip_addr *ip)
{
	return ip->family == IP_V4 ? 4 : ip->family == IP_V6 ? 16 : 0;
}

/* Both families, no brackets, no scope. False and *out untouched if @text is not an address. @text
 * needs no NUL. */
MUST_CHECK bool ip_parse(struct ip_addr *out, const char *text, size_t len);
void ip_format(const struct ip_addr *ip, char out[IP_TEXT_MAX]);

/* "192.0.2.1:80" and "[2001:db8::1]:80". */
MUST_CHECK bool endpoint_parse(struct endpoint *out, const char *text, size_t len);
void endpoint_format(const struct endpoint *ep, char out[ENDPOINT_TEXT_MAX]);

/* "10.0.0.0/8"; fails when the length is missing or host bits are set. */
MUST_CHECK bool ip_prefix_parse(struct ip_prefix *out, const char *text, size_t len);
bool ip_prefix_has(const struct ip_prefix *prefix, const struct ip_addr *ip);

bool ip_is_unspecified(const struct ip_addr *ip);
bool ip_is_loopback(const struct ip_addr *ip);   /* 127/8, ::1 */
bool ip_is_multicast(const struct ip_addr *ip);  /* 224/4, ff00::/8 */
bool ip_is_link_local(const struct ip_addr *ip); /* 169.254/16, fe80::/10 */
bool ip_is_broadcast(const struct ip_addr *ip);  /* 255.255.255.255 */
bool ip_is_v4_mapped(const struct ip_addr *ip);  /* ::ffff:0:0/96 */
bool ip_is_tunnel(const struct ip_addr *ip);     /* 100.64.0.0/11, fd00:2021:1111::/107 */
bool ip_is_proxy(const struct ip_addr *ip);      /* 100.96.0.0/11, fd00:2021:1111:8000::/107 */

/* IPv4-mapped IPv6 becomes IPv4; everything else is returned as it is. */
struct ip_addr ip_unmap(const struct ip_addr *ip);

#endif
