/*
 * The portal connection: back-off, HTTP upgrade, WebSocket (wslay), Phoenix join, heartbeat, queue:
 * a state machine over bytes. [spec portal 3, 4, 12]
 *
 * The loop resolves, dials and does TLS when asked to; bytes in, bytes out. One object for the
 * process's life.
 */
#ifndef PORTAL_CHANNEL_H
#define PORTAL_CHANNEL_H

#include "base/defs.h"
#include "base/log.h"
#include "base/rng.h"
#include "portal/messages.h"

struct portal_channel;

struct portal_channel_config {
	const char *host;           /* bare host for the Host header */
	const char *request_target; /* path and query: portal_url_target() */
	const char *user_agent;
	const char *token;         /* borrowed for the object's life; lives in a secret slot */
	uint64_t first_connect_us; /* give up after; default 15 s */
	uint64_t max_partition_us; /* after the first good join; default 24 h */
	struct rng rng;
	struct log *log;
	uint64_t (*wall_s)(void *ctx); /* Unix seconds, for Retry-After dates */
	void *ctx;
};

enum portal_in_kind {
	PORTAL_IN_START,
	PORTAL_IN_CONNECTED, /* TCP (and TLS) is up: we may write */
	PORTAL_IN_BYTES,
	PORTAL_IN_CLOSED,    /* dial failed, EOF or error; reason is for the log */
	PORTAL_IN_SEND,      /* a message of ours */
	PORTAL_IN_RECONNECT, /* roam: drop and dial with zero back-off */
	PORTAL_IN_SHUTDOWN,  /* close frame 1000, best effort */
	PORTAL_IN_TIMEOUT,
};

struct portal_in {
	enum portal_in_kind kind;
	union {
		struct {
			const uint8_t *data;
			size_t len;
		} bytes;
		const char *reason;
		struct portal_send send; /* copied */
	} u;
};

enum portal_out_kind {
	PORTAL_OUT_DIAL,    /* resolve, connect (5 s), TLS; whole attempt 15 s by the channel's own
			       timer */
	PORTAL_OUT_WRITE,   /* bytes to the connection */
	PORTAL_OUT_HANG_UP, /* close the connection, after what was written has been flushed or 1 s
			     */
	PORTAL_OUT_JOINED,  /* READY */
	PORTAL_OUT_LOST,    /* was READY, is not any more */
	PORTAL_OUT_MESSAGE, /* take msg; the caller frees it with portal_msg_free() */
	PORTAL_OUT_FATAL,   /* reason: one sentence; exit 1 */
};

struct portal_out {
	enum portal_out_kind kind;
	union {
		struct {
			const uint8_t *data; /* valid until the next call */
			size_t len;
		} write;
		struct portal_msg msg;
		const char *reason;
	} u;
};

struct portal_channel *portal_channel_new(const struct portal_channel_config *cfg);
void portal_channel_free(struct portal_channel *ch);
void portal_channel_handle(struct portal_channel *ch, const struct portal_in *in, uint64_t now_us);
bool portal_channel_poll(struct portal_channel *ch, struct portal_out *out);
uint64_t portal_channel_deadline(const struct portal_channel *ch);
bool portal_channel_joined(const struct portal_channel *ch);

#endif
