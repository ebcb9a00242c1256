#include "portal/http.h"

#include <openssl/evp.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum {
	SHA1_LEN = 20,
	ACCEPT_TEXT = 29 /* base64 of SHA-1 with NUL */
};

size_t http_upgrade_write(const struct http_upgrade *u, char *out, size_t cap)
{
	bool v6 = strchr(u->host, ':') != NULL;
	int n = snprintf(out, cap,
			 "GET %s HTTP/1.1\r\n"
			 "Host: %s%s%s\r\n"
			 "Connection: Upgrade\r\n"
			 "Upgrade: websocket\r\n"
			 "Sec-WebSocket-Version: 13\r\n"
			 "Sec-WebSocket-Key: %s\r\n"
			 "User-Agent: %s\r\n"
			 "X-Authorization: Bearer %s\r\n"
			 "\r\n",
			 u->target, v6 ? "[" : "", u->host, v6 ? "]" : "", u->key, u->user_agent,
			 u->token);

	return n > 0 && (size_t)n < cap ? (size_t)n : 0;
}

static bool accept_matches(const char *key, const char *value, size_t len)
{
	static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
	char text[HTTP_WS_KEY_LEN + sizeof(guid)], expected[ACCEPT_TEXT];
	uint8_t digest[SHA1_LEN];
	size_t digest_len = sizeof(digest);

	snprintf(text, sizeof(text), "%s%s", key, guid);
	if (!EVP_Q_digest(NULL, "SHA1", NULL, text, strlen(text), digest, &digest_len))
		return false;
	sodium_bin2base64(expected, sizeof(expected), digest, sizeof(digest),
			  sodium_base64_VARIANT_ORIGINAL);
	return len == strlen(expected) && memcmp(expected, value, len) == 0;
}

static bool value_is(const char *value, size_t len, const char *word)
{
	return len == strlen(word) && strncasecmp(value, word, len) == 0;
}

/* A comma-separated list that has @word in it. */
static bool list_has(const char *value, size_t len, const char *word)
{
	size_t at = 0;

	while (at < len) {
		size_t end = at, start;

		while (end < len && value[end] != ',')
			end++;
		start = at;
		at = end + 1;
		while (start < end && (value[start] == ' ' || value[start] == '\t'))
			start++;
		while (end > start && (value[end - 1] == ' ' || value[end - 1] == '\t'))
			end--;
		if (value_is(value + start, end - start, word))
			return true;
	}
	return false;
}

static bool decimal(const char *value, size_t len, int64_t *out)
{
	int64_t v = 0;

	if (len == 0 || len > 15)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (value[i] < '0' || value[i] > '9')
			return false;
		v = v * 10 + (value[i] - '0');
	}
	*out = v;
	return true;
}

static int64_t retry_after(const char *value, size_t len, uint64_t wall_s)
{
	char text[40];
	struct tm tm = {0};
	const char *end;
	int64_t v;

	if (decimal(value, len, &v))
		return v;
	if (len >= sizeof(text))
		return HTTP_NO_RETRY_AFTER;
	memcpy(text, value, len);
	text[len] = '\0';
	end = strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
	if (!end || *end != '\0')
		return HTTP_NO_RETRY_AFTER;
	v = (int64_t)timegm(&tm) - (int64_t)wall_s;
	return v > 0 ? v : 0;
}

struct seen {
	bool upgrade, connection, accept, unasked;
};

static void header_read(struct http_answer *out, struct seen *seen, const char *line, size_t len,
			const char *key, uint64_t wall_s)
{
	const char *colon = memchr(line, ':', len);
	const char *value;
	size_t name_len, value_len;
	int64_t v;

	if (!colon)
		return;
	name_len = (size_t)(colon - line);
	value = colon + 1;
	value_len = len - name_len - 1;
	while (value_len > 0 && (*value == ' ' || *value == '\t')) {
		value++;
		value_len--;
	}
	while (value_len > 0 && (value[value_len - 1] == ' ' || value[value_len - 1] == '\t'))
		value_len--;
	if (value_is(line, name_len, "upgrade"))
		seen->upgrade = value_is(value, value_len, "websocket");
	else if (value_is(line, name_len, "connection"))
		seen->connection = list_has(value, value_len, "upgrade");
	else if (value_is(line, name_len, "sec-websocket-accept"))
		seen->accept = accept_matches(key, value, value_len);
	else if (value_is(line, name_len, "sec-websocket-protocol") ||
		 value_is(line, name_len, "sec-websocket-extensions"))
		seen->unasked = true;
	else if (value_is(line, name_len, "retry-after"))
		out->retry_after_s = retry_after(value, value_len, wall_s);
	else if (value_is(line, name_len, "content-length") && decimal(value, value_len, &v))
		out->body_len = (size_t)(v < HTTP_MAX_BODY ? v : HTTP_MAX_BODY);
}

static bool status_read(struct http_answer *out, const char *line, size_t len)
{
	int64_t v;

	if (len < 12 || memcmp(line, "HTTP/1.1 ", 9) != 0 || !decimal(line + 9, 3, &v) ||
	    (len > 12 && line[12] != ' '))
		return false;
	out->status = (unsigned int)v;
	return true;
}

enum http_result http_answer_read(struct http_answer *out, const char *buf, size_t len,
				  const char key[HTTP_WS_KEY_LEN + 1], uint64_t wall_s)
{
	struct http_answer answer = {.retry_after_s = HTTP_NO_RETRY_AFTER};
	const char *end = memmem(buf, len, "\r\n\r\n", 4);
	struct seen seen = {false, false, false, false};
	size_t at = 0;

	if (!end)
		return len >= HTTP_MAX_HEADERS ? HTTP_BAD : HTTP_MORE;
	answer.header_len = (size_t)(end - buf) + 4;
	if (answer.header_len > HTTP_MAX_HEADERS || memchr(buf, '\0', answer.header_len))
		return HTTP_BAD;
	while (at < answer.header_len - 2) {
		const char *line = buf + at;
		const char *eol = memmem(line, answer.header_len - at, "\r\n", 2);
		size_t line_len = (size_t)(eol - line);

		if (at == 0 && !status_read(&answer, line, line_len))
			return HTTP_BAD;
		if (at > 0)
			header_read(&answer, &seen, line, line_len, key, wall_s);
		at += line_len + 2;
	}
	answer.upgraded =
	    answer.status == 101 && seen.upgrade && seen.connection && seen.accept && !seen.unasked;
	*out = answer;
	return HTTP_DONE;
}
