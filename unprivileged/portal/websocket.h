/*
 * The client's end of one WebSocket: wslay's framing, and around it what wslay leaves to its user:
 * a bound on a message of many fragments and on the memory it takes, buffers that are wiped. [RFC
 * 6455, spec portal 4, 13]
 *
 * No fd, no clock: bytes come in by a call, bytes and messages go out by callbacks, which must not
 * free the object.
 */
#ifndef PORTAL_WEBSOCKET_H
#define PORTAL_WEBSOCKET_H

#include "base/defs.h"
#include "base/rng.h"

struct websocket;

struct websocket_config {
	size_t max_message; /* bytes of one message, over all its fragments */
	struct rng rng;     /* for the masks */
	/* Bytes for the server, to be copied; false: they cannot be taken. */
	bool (*write)(void *ctx, const uint8_t *data, size_t len);
	/* One whole text message, valid UTF-8; its bytes are wiped when this returns. */
	void (*text)(void *ctx, const char *text, size_t len);
	/* A binary message came and was thrown away. */
	void (*binary)(void *ctx);
	void *ctx;
};

/* NULL without memory. */
struct websocket *websocket_new(const struct websocket_config *cfg);
void websocket_free(struct websocket *ws);

/*
 * Take what has arrived. NULL, or why the connection is over (static text); a close frame was
 * written where one is due. Pings are answered here.
 */
MUST_CHECK const char *websocket_read(struct websocket *ws, const uint8_t *data, size_t len,
				      uint64_t now_us);

/* Write one text message; false when that is not possible. May be called from the text callback. */
MUST_CHECK bool websocket_send(struct websocket *ws, const char *text, size_t len);

/* A close frame with code 1000, if it can be written. */
void websocket_close(struct websocket *ws);

/* Since when an unfinished message has been arriving; NEVER_US: none has. */
uint64_t websocket_message_since_us(const struct websocket *ws);

#endif
