/*
 * The HTTP part of the WebSocket upgrade: our request, the server's answer. Pure functions on
 * buffers. [RFC 6455 section 4, RFC 9112]
 */
#ifndef PORTAL_HTTP_H
#define PORTAL_HTTP_H

#include "base/defs.h"

enum {
	HTTP_MAX_HEADERS = 16 * 1024,
	HTTP_MAX_BODY = 8 * 1024,
	HTTP_WS_KEY_LEN = 24, /* base64 of 16 bytes */
	HTTP_NO_RETRY_AFTER = -1,
};

struct http_upgrade {
	const char *host; /* bare; IPv6 literals without brackets */
	const char *target, *user_agent, *token;
	char key[HTTP_WS_KEY_LEN + 1]; /* Sec-WebSocket-Key */
};

/* Returns the length, 0 if @cap is too small. The text holds the token: the caller wipes it. */
size_t http_upgrade_write(const struct http_upgrade *u, char *out, size_t cap);

struct http_answer {
	unsigned int status;
	bool upgraded; /* 101 with the right Upgrade, Connection and Sec-WebSocket-Accept and no
			  sub-protocol or extension */
	int64_t
	    retry_after_s; /* from now; HTTP_NO_RETRY_AFTER without or with an unreadable header */
	size_t header_len; /* including the empty line */
	size_t body_len;   /* by Content-Length, at most HTTP_MAX_BODY; 0 when absent */
};

enum http_result {
	HTTP_MORE,
	HTTP_DONE,
	HTTP_BAD
};

/* Read the head of the answer. HTTP_MORE: not all of it has arrived yet. */
enum http_result http_answer_read(struct http_answer *out, const char *buf, size_t len,
				  const char key[HTTP_WS_KEY_LEN + 1], uint64_t wall_s);

#endif
