#include "packet/addr.h"

#include <arpa/inet.h>
#include <stdio.h>

static const struct ip_prefix tunnel_v4 = {{IP_V4, {100, 64}}, 11};
static const struct ip_prefix tunnel_v6 = {{IP_V6, {0xfd, 0, 0x20, 0x21, 0x11, 0x11}}, 107};
static const struct ip_prefix proxy_v4 = {{IP_V4, {100, 96}}, 11};
static const struct ip_prefix proxy_v6 = {{IP_V6, {0xfd, 0, 0x20, 0x21, 0x11, 0x11, 0x80}}, 107};

bool ip_parse(struct ip_addr *out, const char *text, size_t len)
{
	struct ip_addr ip = {.family = IP_NONE};
	char buf[IP_TEXT_MAX];

	if (len == 0 || len >= sizeof(buf) || memchr(text, '\0', len))
		return false;
	memcpy(buf, text, len);
	buf[len] = '\0';
	if (inet_pton(AF_INET, buf, ip.bytes) == 1)
		ip.family = IP_V4;
	else if (inet_pton(AF_INET6, buf, ip.bytes) == 1)
		ip.family = IP_V6;
	else
		return false;
	*out = ip;
	return true;
}

void ip_format(const struct ip_addr *ip, char out[IP_TEXT_MAX])
{
	int family = ip->family == IP_V4 ? AF_INET : AF_INET6;

	if (ip->family == IP_NONE || !inet_ntop(family, ip->bytes, out, IP_TEXT_MAX))
		memcpy(out, "-", 2);
}

static bool decimal_parse(uint32_t *out, const char *text, size_t len, uint32_t max)
{
	uint32_t v = 0;

	if (len == 0 || len > 9)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		v = v * 10 + (uint32_t)(text[i] - '0');
	}
	if (v > max)
		return false;
	*out = v;
	return true;
}

static size_t last_of(const char *text, size_t len, char c)
{
	size_t at = len;

	while (at > 0 && text[at - 1] != c)
		at--;
	return at; /* index behind the last @c, 0 if there is none */
}

bool endpoint_parse(struct endpoint *out, const char *text, size_t len)
{
	struct endpoint ep = {.scope = 0};
	size_t colon = last_of(text, len, ':');
	const char *host = text;
	size_t host_len;
	uint32_t port;

	if (colon == 0 || !decimal_parse(&port, text + colon, len - colon, UINT16_MAX))
		return false;
	host_len = colon - 1;
	if (host_len >= 2 && host[0] == '[') {
		if (host[host_len - 1] != ']')
			return false;
		host++;
		host_len -= 2;
		if (!ip_parse(&ep.ip, host, host_len) || ep.ip.family != IP_V6)
			return false;
	} else if (!ip_parse(&ep.ip, host, host_len) || ep.ip.family != IP_V4) {
		return false;
	}
	ep.port = (uint16_t)port;
	*out = ep;
	return true;
}

void endpoint_format(const struct endpoint *ep, char out[ENDPOINT_TEXT_MAX])
{
	char ip[IP_TEXT_MAX];

	ip_format(&ep->ip, ip);
	if (ep->ip.family == IP_V6)
		snprintf(out, ENDPOINT_TEXT_MAX, "[%s]:%u", ip, (unsigned)ep->port);
	else
		snprintf(out, ENDPOINT_TEXT_MAX, "%s:%u", ip, (unsigned)ep->port);
}

/* The bits of byte @i that lie inside a prefix of @len bits. */
static uint8_t prefix_mask(uint8_t len, size_t i)
{
	size_t bits = (size_t)len > 8 * i ? len - 8 * i : 0;

	return bits >= 8 ? 0xff : (uint8_t)(0xff00 >> bits);
}

bool ip_prefix_parse(struct ip_prefix *out, const char *text, size_t len)
{
	struct ip_prefix prefix;
	size_t slash = last_of(text, len, '/');
	uint32_t bits;

	if (slash == 0 || !ip_parse(&prefix.ip, text, slash - 1))
		return false;
	if (!decimal_parse(&bits, text + slash, len - slash, (uint32_t)ip_len(&prefix.ip) * 8))
		return false;
	prefix.len = (uint8_t)bits;
	for (size_t i = 0; i < ip_len(&prefix.ip); i++)
		if (prefix.ip.bytes[i] & (uint8_t)~prefix_mask(prefix.len, i))
			return false;
	*out = prefix;
	return true;
}

bool ip_prefix_has(const struct ip_prefix *prefix, const struct ip_addr *ip)
{
	size_t whole = prefix->len / 8;

	if (prefix->ip.family != ip->family || memcmp(prefix->ip.bytes, ip->bytes, whole) != 0)
		return false;
	if (prefix->len % 8 == 0)
		return true;
	return ((prefix->ip.bytes[whole] ^ ip->bytes[whole]) & prefix_mask(prefix->len, whole)) ==
	       0;
}

bool ip_is_unspecified(const struct ip_addr *ip)
{
	static const uint8_t zero[16];

	return memcmp(ip->bytes, zero, sizeof(zero)) == 0;
}

bool ip_is_loopback(const struct ip_addr *ip)
{
	static const uint8_t one[16] = {[15] = 1};

	if (ip->family == IP_V4)
		return ip->bytes[0] == 127;
	return memcmp(ip->bytes, one, sizeof(one)) == 0;
}

bool ip_is_multicast(const struct ip_addr *ip)
{
	return ip->family == IP_V4 ? ip->bytes[0] >> 4 == 14 : ip->bytes[0] == 0xff;
}

bool ip_is_link_local(const struct ip_addr *ip)
{
	if (ip->family == IP_V4)
		return ip->bytes[0] == 169 && ip->bytes[1] == 254;
	return ip->bytes[0] == 0xfe && (ip->bytes[1] & 0xc0) == 0x80;
}

bool ip_is_broadcast(const struct ip_addr *ip)
{
	static const uint8_t all[4] = {255, 255, 255, 255};

	return ip->family == IP_V4 && memcmp(ip->bytes, all, sizeof(all)) == 0;
}

bool ip_is_v4_mapped(const struct ip_addr *ip)
{
	static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};

	return ip->family == IP_V6 && memcmp(ip->bytes, prefix, sizeof(prefix)) == 0;
}

bool ip_is_tunnel(const struct ip_addr *ip)
{
	return ip_prefix_has(ip->family == IP_V4 ? &tunnel_v4 : &tunnel_v6, ip);
}

bool ip_is_proxy(const struct ip_addr *ip)
{
	return ip_prefix_has(ip->family == IP_V4 ? &proxy_v4 : &proxy_v6, ip);
}

struct ip_addr ip_unmap(const struct ip_addr *ip)
{
	return ip_is_v4_mapped(ip) ? ip_v4(ip->bytes + 12) : *ip;
}
