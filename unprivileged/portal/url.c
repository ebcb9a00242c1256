#include "portal/url.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "packet/addr.h"
#include "packet/bytes.h"

enum {
	PORT_WS = 80,
	PORT_WSS = 443,
	KEY_TEXT = 45 /* base64 of 32 bytes with NUL */
};

static bool scheme_of(const char **text, bool *tls)
{
	static const struct {
		const char *scheme;
		bool tls;
	} known[] = {{"ws://", false}, {"http://", false}, {"wss://", true}, {"https://", true}};

	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		size_t len = strlen(known[i].scheme);

		if (strncasecmp(*text, known[i].scheme, len) == 0) {
			*text += len;
			*tls = known[i].tls;
			return true;
		}
	}
	return false;
}

static bool port_parse(uint16_t *out, const char *text, size_t len)
{
	uint32_t v = 0;

	if (len == 0 || len > 5)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		v = v * 10 + (uint32_t)(text[i] - '0');
	}
	*out = (uint16_t)v;
	return v > 0 && v <= UINT16_MAX;
}

static bool host_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '.' || c == '_';
}

/* "host", "host:port", "[v6]", "[v6]:port". */
static bool authority_parse(struct portal_url *out, const char *text, size_t len)
{
	const char *host = text, *rest;
	struct ip_addr ip;
	size_t host_len;

	if (len > 0 && text[0] == '[') {
		const char *close = memchr(text, ']', len);

		if (!close)
			return false;
		host = text + 1;
		host_len = (size_t)(close - host);
		rest = close + 1;
		if (!ip_parse(&ip, host, host_len) || ip.family != IP_V6)
			return false;
	} else {
		for (host_len = 0; host_len < len && host_char(text[host_len]); host_len++)
			;
		rest = text + host_len;
	}
	if (host_len == 0 || host_len >= sizeof(out->host))
		return false;
	memcpy(out->host, host, host_len);
	out->host[host_len] = '\0';
	out->port = out->tls ? PORT_WSS : PORT_WS;
	if (rest == text + len || (*rest == ':' && rest + 1 == text + len))
		return true;
	return *rest == ':' && port_parse(&out->port, rest + 1, (size_t)(text + len - rest - 1));
}

bool portal_url_parse(struct portal_url *out, const char *text)
{
	struct portal_url url;
	size_t authority, path;

	memset(&url, 0, sizeof(url));
	if (!scheme_of(&text, &url.tls))
		return false;
	authority = strcspn(text, "/?#");
	if (memchr(text, '@', authority) || !authority_parse(&url, text, authority))
		return false;
	text += authority;
	path = strcspn(text, "?#");
	while (path > 0 && text[path - 1] == '/')
		path--;
	if (path >= sizeof(url.path))
		return false;
	for (size_t i = 0; i < path; i++)
		if (text[i] <= ' ' || text[i] >= 0x7f)
			return false;
	memcpy(url.path, text, path);
	*out = url;
	return true;
}

bool portal_url_is_local(const struct portal_url *url)
{
	struct ip_addr ip;

	if (!ip_parse(&ip, url->host, strlen(url->host)))
		return strcasecmp(url->host, "localhost") == 0;
	return ip_is_loopback(&ip) || ip_is_link_local(&ip);
}

/* application/x-www-form-urlencoded */
static void put_encoded(struct writer *w, const char *text)
{
	static const char digits[] = "0123456789ABCDEF";

	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text;

		if ((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
		    c == '*' || c == '-' || c == '.' || c == '_') {
			wr_u8(w, c);
		} else if (c == ' ') {
			wr_u8(w, '+');
		} else {
			wr_u8(w, '%');
			wr_u8(w, (uint8_t)digits[c >> 4]);
			wr_u8(w, (uint8_t)digits[c & 15]);
		}
	}
}

static void put_text(struct writer *w, const char *text)
{
	wr_bytes(w, text, strlen(text));
}

size_t portal_url_target(const struct portal_url *url, const char *external_id, const char *name,
			 const uint8_t public_key[32], char *out, size_t cap)
{
	struct writer w = writer_of((uint8_t *)out, cap);
	char key[KEY_TEXT];

	sodium_bin2base64(key, sizeof(key), public_key, 32, sodium_base64_VARIANT_ORIGINAL);
	put_text(&w, url->path);
	put_text(&w, "/gateway/websocket?external_id=");
	put_encoded(&w, external_id);
	put_text(&w, "&name=");
	put_encoded(&w, name);
	put_text(&w, "&public_key=");
	put_encoded(&w, key);
	wr_u8(&w, 0);
	return w.bad ? 0 : w.written - 1;
}
