#include "dns/files.h"

#include <string.h>
#include <strings.h>

struct token {
	const char *at;
	size_t len;
};

/* The next line without comment; false at the end of the text. */
static bool next_line(const char **at, const char *end, struct token *line, const char *comment)
{
	const char *eol;

	if (*at == end)
		return false;
	eol = memchr(*at, '\n', (size_t)(end - *at));
	line->at = *at;
	line->len = (size_t)((eol ? eol : end) - *at);
	*at = eol ? eol + 1 : end;
	for (size_t i = 0; i < line->len; i++)
		if (strchr(comment, line->at[i]))
			line->len = i;
	return true;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static bool next_token(struct token *line, struct token *out)
{
	while (line->len > 0 && is_blank(*line->at)) {
		line->at++;
		line->len--;
	}
	out->at = line->at;
	out->len = 0;
	while (line->len > 0 && !is_blank(*line->at)) {
		line->at++;
		line->len--;
		out->len++;
	}
	return out->len > 0;
}

static bool token_is(const struct token *token, const char *word)
{
	return token->len == strlen(word) && strncasecmp(token->at, word, token->len) == 0;
}

static bool number(const char *at, size_t len, uint32_t *out)
{
	uint32_t v = 0;

	if (len == 0 || len > 9)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (at[i] < '0' || at[i] > '9')
			return false;
		v = v * 10 + (uint32_t)(at[i] - '0');
	}
	*out = v;
	return true;
}

static void add_server(struct resolv_conf *out, const struct token *token)
{
	struct endpoint ep = {.port = RESOLV_PORT};
	const char *percent = memchr(token->at, '%', token->len);
	size_t len = percent ? (size_t)(percent - token->at) : token->len;

	if (out->n_servers == RESOLV_MAX_SERVERS || !ip_parse(&ep.ip, token->at, len))
		return;
	ep.ip = ip_unmap(&ep.ip);
	if (percent && !number(percent + 1, token->len - len - 1, &ep.scope))
		return;
	if (ep.ip.family != IP_V6 || !ip_is_link_local(&ep.ip))
		ep.scope = 0;
	else if (ep.scope == 0)
		return;
	if (ip_is_unspecified(&ep.ip) || ip_is_multicast(&ep.ip))
		return;
	out->servers[out->n_servers++] = ep;
}

static void set_option(struct resolv_conf *out, const struct token *token)
{
	static const char timeout[] = "timeout:", attempts[] = "attempts:";
	uint32_t v;

	if (token->len > strlen(timeout) && strncmp(token->at, timeout, strlen(timeout)) == 0 &&
	    number(token->at + strlen(timeout), token->len - strlen(timeout), &v) && v > 0)
		out->timeout_s = v < RESOLV_TIMEOUT_MAX_S ? v : RESOLV_TIMEOUT_MAX_S;
	if (token->len > strlen(attempts) && strncmp(token->at, attempts, strlen(attempts)) == 0 &&
	    number(token->at + strlen(attempts), token->len - strlen(attempts), &v) && v > 0)
		out->attempts = v < RESOLV_ATTEMPTS_MAX ? v : RESOLV_ATTEMPTS_MAX;
}

void resolv_conf_parse(struct resolv_conf *out, const char *text, size_t len)
{
	static const uint8_t this_host[4] = {127, 0, 0, 1};
	const char *at = text, *end = text ? text + len : NULL;
	struct token line, token;

	memset(out, 0, sizeof(*out));
	out->timeout_s = RESOLV_TIMEOUT_S;
	out->attempts = RESOLV_ATTEMPTS;
	while (text && next_line(&at, end, &line, "#;")) {
		if (!next_token(&line, &token))
			continue;
		if (token_is(&token, "nameserver")) {
			if (next_token(&line, &token))
				add_server(out, &token);
		} else if (token_is(&token, "options")) {
			while (next_token(&line, &token))
				set_option(out, &token);
		}
	}
	if (out->n_servers == 0)
		out->servers[out->n_servers++] =
		    (struct endpoint){.ip = ip_v4(this_host), .port = RESOLV_PORT};
}

size_t hosts_lookup(const char *text, size_t len, const char *name, struct ip_addr *out, size_t max)
{
	const char *at = text, *end = text ? text + len : NULL;
	struct token line, token;
	size_t n = 0;

	while (text && n < max && next_line(&at, end, &line, "#")) {
		struct ip_addr ip;
		bool seen = false;

		if (!next_token(&line, &token) || !ip_parse(&ip, token.at, token.len))
			continue;
		while (next_token(&line, &token)) {
			if (!token_is(&token, name))
				continue;
			for (size_t i = 0; i < n; i++)
				seen = seen || ip_eq(&out[i], &ip);
			if (!seen)
				out[n++] = ip;
			break;
		}
	}
	return n;
}
