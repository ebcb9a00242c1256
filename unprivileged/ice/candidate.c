#include "ice/candidate.h"

#include <sodium.h>
#include <stdio.h>
#include <strings.h>

/* RFC 8445 section 5.1.2 and the product's own numbers. [spec connections 3.4] */
enum {
	TYPE_HOST = 126,
	TYPE_PRFLX = 110,
	TYPE_SRFLX = 100,
	TYPE_RELAY = 2,
	LOCAL_HOST = 65535,
	LOCAL_PRFLX = 49151,
	LOCAL_SRFLX = 32767,
	LOCAL_RELAY = 16383,
	LOCAL_STEP = 2, /* per earlier candidate of that kind and family */
	LOCAL_OTHER_FAMILY = 1000,
	COMPONENT = 1,
	COMPONENT_PART = 256 - COMPONENT,
	FOUNDATION_BYTES = 16, /* the least that the hash gives; half of it is printed */
	FOUNDATION_TEXT = 16,
};

struct token {
	const char *text;
	size_t len;
};

struct scanner {
	const char *at;
	size_t left;
};

static const char *const kind_names[] = {
    [CANDIDATE_HOST] = "host",
    [CANDIDATE_PRFLX] = "prflx",
    [CANDIDATE_SRFLX] = "srflx",
    [CANDIDATE_RELAY] = "relay",
};

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The next run of anything but white space; empty at the end of the text. */
static struct token next_token(struct scanner *s)
{
	struct token t = {.text = s->at, .len = 0};

	while (s->left > 0 && is_space(*s->at)) {
		s->at++;
		s->left--;
	}
	t.text = s->at;
	while (s->left > 0 && !is_space(*s->at)) {
		s->at++;
		s->left--;
		t.len++;
	}
	return t;
}

static bool token_is(const struct token *t, const char *text)
{
	return t->len == strlen(text) && memcmp(t->text, text, t->len) == 0;
}

/* The transport's name is case-insensitive. [RFC 8839 section 5.1] */
static bool token_is_udp(const struct token *t)
{
	return t->len == 3 && strncasecmp(t->text, "udp", 3) == 0;
}

static bool skip_prefix(struct scanner *s, const char *prefix)
{
	size_t len = strlen(prefix);

	if (s->left < len || memcmp(s->at, prefix, len) != 0)
		return false;
	s->at += len;
	s->left -= len;
	return true;
}

/* Decimal digits only. */
static bool token_number(const struct token *t, uint64_t max, uint64_t *out)
{
	uint64_t n = 0;

	if (t->len == 0 || t->len > 10)
		return false;
	for (size_t i = 0; i < t->len; i++) {
		if (t->text[i] < '0' || t->text[i] > '9')
			return false;
		n = n * 10 + (uint64_t)(t->text[i] - '0');
	}
	*out = n;
	return n <= max;
}

static bool token_kind(const struct token *t, enum candidate_kind *out)
{
	for (unsigned i = 0; i < ARRAY_LEN(kind_names); i++) {
		if (token_is(t, kind_names[i])) {
			*out = (enum candidate_kind)i;
			return true;
		}
	}
	return false;
}

/* The value of a key that we know; the related address is judged and dropped. */
static bool extension_ok(const struct token *key, const struct token *value, const char *ufrag)
{
	uint64_t port;
	struct ip_addr ip;

	if (token_is(key, "raddr"))
		return ip_parse(&ip, value->text, value->len);
	if (token_is(key, "rport"))
		return token_number(value, UINT16_MAX, &port);
	if (token_is(key, "tcptype"))
		return token_is(value, "active") || token_is(value, "passive") ||
		       token_is(value, "so");
	if (token_is(key, "ufrag"))
		return value->len > 0 && (!ufrag || token_is(value, ufrag));
	return true;
}

static bool extensions_ok(struct scanner *s, const char *ufrag)
{
	struct token key, value;

	for (key = next_token(s); key.len > 0; key = next_token(s)) {
		value = next_token(s);
		if (!extension_ok(&key, &value, ufrag))
			return false;
	}
	return true;
}

bool candidate_parse(struct candidate *out, const char *text, size_t len, const char *ufrag)
{
	enum {
		FOUNDATION,
		COMPONENT_ID,
		TRANSPORT,
		PRIORITY,
		IP,
		PORT,
		TYP,
		KIND,
		FIELDS
	};
	struct scanner s = {.at = text, .left = len};
	struct candidate c = {.kind = CANDIDATE_HOST};
	struct token f[FIELDS];
	uint64_t component, priority, port;

	if (len >= CANDIDATE_TEXT_MAX)
		return false;
	(void)skip_prefix(&s, "a=");
	if (!skip_prefix(&s, "candidate:"))
		return false;
	for (unsigned i = 0; i < FIELDS; i++)
		f[i] = next_token(&s);
	if (f[FOUNDATION].len == 0 || !token_number(&f[COMPONENT_ID], UINT16_MAX, &component) ||
	    component != COMPONENT || !token_is_udp(&f[TRANSPORT]) ||
	    !token_number(&f[PRIORITY], UINT32_MAX, &priority) ||
	    !ip_parse(&c.addr.ip, f[IP].text, f[IP].len) ||
	    !token_number(&f[PORT], UINT16_MAX, &port) || !token_is(&f[TYP], "typ") ||
	    !token_kind(&f[KIND], &c.kind) || !extensions_ok(&s, ufrag))
		return false;
	c.priority = (uint32_t)priority;
	c.addr.port = (uint16_t)port;
	c.base = c.addr;
	*out = c;
	return true;
}

/* Equal for equal kind and base address; says nothing about the base that a reader could use. [RFC
 * 8445 section 5.1.1.3] */
static void foundation_of(const struct candidate *c, char out[FOUNDATION_TEXT + 1])
{
	uint8_t hash[FOUNDATION_BYTES];
	uint8_t input[1 + sizeof(c->base.ip)];

	input[0] = (uint8_t)c->kind;
	memcpy(input + 1, &c->base.ip, sizeof(c->base.ip));
	crypto_generichash(hash, sizeof(hash), input, sizeof(input), NULL, 0);
	sodium_bin2hex(out, FOUNDATION_TEXT + 1, hash, FOUNDATION_TEXT / 2);
}

size_t candidate_format(const struct candidate *c, const char *ufrag, char *out, size_t cap)
{
	char foundation[FOUNDATION_TEXT + 1];
	char ip[IP_TEXT_MAX];
	const char *related = "";
	int len;

	foundation_of(c, foundation);
	ip_format(&c->addr.ip, ip);
	if (c->kind != CANDIDATE_HOST)
		related =
		    c->addr.ip.family == IP_V4 ? " raddr 0.0.0.0 rport 0" : " raddr :: rport 0";
	len =
	    snprintf(out, cap, "candidate:%s %d udp %u %s %u typ %s%s ufrag %s", foundation,
		     COMPONENT, c->priority, ip, c->addr.port, kind_names[c->kind], related, ufrag);
	return len > 0 && (size_t)len < cap ? (size_t)len : 0;
}

bool candidate_addr_usable(const struct endpoint *ep)
{
	const struct ip_addr *ip = &ep->ip;

	if ((ip->family != IP_V4 && ip->family != IP_V6) || ep->port == 0)
		return false;
	if (ip_is_unspecified(ip) || ip_is_loopback(ip) || ip_is_multicast(ip) ||
	    ip_is_broadcast(ip) || ip_is_v4_mapped(ip) || ip_is_tunnel(ip) || ip_is_proxy(ip))
		return false;
	/* Without an interface an IPv6 link-local address leads nowhere. */
	return !ip_is_link_local(ip) || (ip->family == IP_V6 && ep->scope != 0);
}

uint32_t candidate_priority(enum candidate_kind kind, uint8_t family, uint8_t relay_family,
			    unsigned earlier)
{
	static const struct {
		uint32_t type, local;
	} start[] = {
	    [CANDIDATE_HOST] = {TYPE_HOST, LOCAL_HOST},
	    [CANDIDATE_PRFLX] = {TYPE_PRFLX, LOCAL_PRFLX},
	    [CANDIDATE_SRFLX] = {TYPE_SRFLX, LOCAL_SRFLX},
	    [CANDIDATE_RELAY] = {TYPE_RELAY, LOCAL_RELAY},
	};
	uint32_t local = start[kind].local;
	uint64_t less = (uint64_t)LOCAL_STEP * earlier;

	if (family == IP_V4)
		local--;
	if (kind == CANDIDATE_RELAY && family != relay_family)
		local -= LOCAL_OTHER_FAMILY;
	local = less < local ? local - (uint32_t)less : 0;
	return start[kind].type << 24 | local << 8 | COMPONENT_PART;
}

uint64_t candidate_pair_priority(uint32_t controlling, uint32_t controlled)
{
	uint64_t low = controlling < controlled ? controlling : controlled;
	uint64_t high = controlling < controlled ? controlled : controlling;

	return (low << 32) + 2 * high + (controlling > controlled);
}
