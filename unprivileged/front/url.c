#include "front/url.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct scheme {
	const char *prefix;
	uint16_t port;
	bool tls;
} schemes[] = {
    {"ws://", 80, false},
    {"http://", 80, false},
    {"wss://", 443, true},
    {"https://", 443, true},
};

static const char *read_scheme(const char *text, struct url *url)
{
	for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
		size_t len = strlen(schemes[i].prefix);

		if (strncasecmp(text, schemes[i].prefix, len) != 0)
			continue;
		url->port = schemes[i].port;
		url->tls = schemes[i].tls;
		return text + len;
	}
	return NULL;
}

static bool copy_host(struct url *url, const char *at, size_t len)
{
	if (len == 0 || len >= sizeof(url->host))
		return false;
	memcpy(url->host, at, len);
	url->host[len] = '\0';
	return true;
}

static bool is_name_character(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '.' || c == '_';
}

/* A name, an IPv4 literal or an IPv6 literal in brackets; returns what follows. */
static const char *read_host(const char *at, struct url *url)
{
	struct in6_addr v6;
	size_t len = 0;

	if (*at == '[') {
		const char *end = strchr(at, ']');

		if (!end || !copy_host(url, at + 1, (size_t)(end - at - 1)))
			return NULL;
		return inet_pton(AF_INET6, url->host, &v6) == 1 ? end + 1 : NULL;
	}
	while (is_name_character(at[len]))
		len++;
	return copy_host(url, at, len) ? at + len : NULL;
}

static const char *read_port(const char *at, struct url *url)
{
	unsigned long port;
	size_t digits = strspn(at, "0123456789");

	if (digits == 0)
		return at;
	if (digits > 5)
		return NULL;
	port = strtoul(at, NULL, 10);
	if (port == 0 || port > UINT16_MAX)
		return NULL;
	url->port = (uint16_t)port;
	return at + digits;
}

static bool is_local(const char *host)
{
	struct in6_addr v6;
	struct in_addr v4;
	uint32_t addr;

	if (inet_pton(AF_INET, host, &v4) == 1) {
		addr = ntohl(v4.s_addr);
		return addr >> 24 == 127 || addr >> 16 == 0xa9fe;
	}
	if (inet_pton(AF_INET6, host, &v6) == 1)
		return IN6_IS_ADDR_LOOPBACK(&v6) || IN6_IS_ADDR_LINKLOCAL(&v6);
	return strcasecmp(host, "localhost") == 0;
}

bool url_parse(const char *text, struct url *out)
{
	struct url url = {.port = 0};
	const char *at = read_scheme(text, &url);

	if (!at)
		return false;
	at = read_host(at, &url);
	if (!at)
		return false;
	if (*at == ':')
		at = read_port(at + 1, &url);
	if (!at || (*at != '\0' && *at != '/' && *at != '?' && *at != '#'))
		return false;
	for (; *at != '\0'; at++) {
		if (*at <= ' ' || *at > '~')
			return false;
	}
	url.local = is_local(url.host);
	*out = url;
	return true;
}
