#include "portal/websocket.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <wslay/wslay.h>

enum {
	FIRST_ROOM = 4096,
	KEPT_ROOM = 65536, /* a larger buffer is given back after its message */
};

struct websocket {
	struct websocket_config cfg;
	wslay_event_context_ptr wslay;
	const uint8_t *rx;
	size_t rx_left;
	uint64_t now_us, since_us;
	uint8_t *message; /* so far */
	size_t message_len, message_cap;
	bool control; /* the frame that arrives is no part of the message */
	bool over;    /* the message was too long, or there was no memory for it */
};

static ssize_t on_recv(wslay_event_context_ptr wslay, uint8_t *buf, size_t len, int flags,
		       void *ctx)
{
	struct websocket *ws = ctx;
	size_t n = min_size(len, ws->rx_left);

	(void)flags;
	if (n == 0) {
		wslay_event_set_error(wslay, WSLAY_ERR_WOULDBLOCK);
		return -1;
	}
	memcpy(buf, ws->rx, n);
	ws->rx += n;
	ws->rx_left -= n;
	return (ssize_t)n;
}

static ssize_t on_send(wslay_event_context_ptr wslay, const uint8_t *data, size_t len, int flags,
		       void *ctx)
{
	struct websocket *ws = ctx;

	(void)flags;
	if (!ws->cfg.write(ws->cfg.ctx, data, len)) {
		wslay_event_set_error(wslay, WSLAY_ERR_CALLBACK_FAILURE);
		return -1;
	}
	return (ssize_t)len;
}

static int on_mask(wslay_event_context_ptr wslay, uint8_t *buf, size_t len, void *ctx)
{
	struct websocket *ws = ctx;

	(void)wslay;
	rng_fill(&ws->cfg.rng, buf, len);
	return 0;
}

static void message_clear(struct websocket *ws)
{
	if (ws->message)
		sodium_memzero(ws->message, ws->message_len);
	ws->message_len = 0;
	ws->since_us = NEVER_US;
	if (ws->message_cap <= KEPT_ROOM)
		return;
	free(ws->message);
	ws->message = NULL;
	ws->message_cap = 0;
}

static bool message_room(struct websocket *ws, size_t len)
{
	size_t cap = ws->message_cap > 0 ? ws->message_cap : FIRST_ROOM;
	uint8_t *grown;

	if (len > ws->cfg.max_message - ws->message_len)
		return false;
	if (ws->message_len + len <= ws->message_cap)
		return true;
	while (cap < ws->message_len + len)
		cap *= 2;
	grown = malloc(cap);
	if (!grown)
		return false;
	if (ws->message) {
		memcpy(grown, ws->message, ws->message_len);
		sodium_memzero(ws->message, ws->message_len);
	}
	free(ws->message);
	ws->message = grown;
	ws->message_cap = cap;
	return true;
}

static void refuse_message(struct websocket *ws)
{
	ws->over = true;
	wslay_event_shutdown_read(ws->wslay);
	(void)wslay_event_queue_close(ws->wslay, WSLAY_CODE_MESSAGE_TOO_BIG, NULL, 0);
}

static void on_frame(wslay_event_context_ptr wslay,
		     const struct wslay_event_on_frame_recv_start_arg *arg, void *ctx)
{
	struct websocket *ws = ctx;

	(void)wslay;
	ws->control = wslay_is_ctrl_frame(arg->opcode) != 0;
	if (ws->control)
		return;
	if (ws->since_us == NEVER_US)
		ws->since_us = ws->now_us;
	if (arg->payload_length > ws->cfg.max_message - ws->message_len)
		refuse_message(ws);
}

static void on_chunk(wslay_event_context_ptr wslay,
		     const struct wslay_event_on_frame_recv_chunk_arg *arg, void *ctx)
{
	struct websocket *ws = ctx;

	(void)wslay;
	if (ws->control || ws->over || arg->data_length == 0)
		return;
	if (!message_room(ws, arg->data_length)) {
		refuse_message(ws);
		return;
	}
	memcpy(ws->message + ws->message_len, arg->data, arg->data_length);
	ws->message_len += arg->data_length;
}

static void on_message(wslay_event_context_ptr wslay, const struct wslay_event_on_msg_recv_arg *arg,
		       void *ctx)
{
	struct websocket *ws = ctx;

	(void)wslay;
	if (wslay_is_ctrl_frame(arg->opcode) || ws->over)
		return;
	if (arg->opcode == WSLAY_TEXT_FRAME)
		ws->cfg.text(ws->cfg.ctx, ws->message ? (const char *)ws->message : "",
			     ws->message_len);
	else
		ws->cfg.binary(ws->cfg.ctx);
	message_clear(ws);
}

struct websocket *websocket_new(const struct websocket_config *cfg)
{
	struct wslay_event_callbacks callbacks = {
	    .recv_callback = on_recv,
	    .send_callback = on_send,
	    .genmask_callback = on_mask,
	    .on_frame_recv_start_callback = on_frame,
	    .on_frame_recv_chunk_callback = on_chunk,
	    .on_msg_recv_callback = on_message,
	};
	struct websocket *ws = calloc(1, sizeof(*ws));

	if (!ws)
		return NULL;
	ws->cfg = *cfg;
	ws->since_us = NEVER_US;
	if (wslay_event_context_client_init(&ws->wslay, &callbacks, ws) != 0) {
		free(ws);
		return NULL;
	}
	/* The library keeps a block for each fragment, however small; we keep the bytes only. */
	wslay_event_config_set_no_buffering(ws->wslay, 1);
	wslay_event_config_set_max_recv_msg_length(ws->wslay, cfg->max_message);
	return ws;
}

void websocket_free(struct websocket *ws)
{
	if (!ws)
		return;
	wslay_event_context_free(ws->wslay);
	message_clear(ws);
	free(ws->message);
	free(ws);
}

/* False: not all that is due could be written. */
static bool flush(struct websocket *ws)
{
	return !wslay_event_want_write(ws->wslay) || wslay_event_send(ws->wslay) == 0;
}

/* A protocol error or a close frame makes the library stop reading and queue a close frame of its
 * own, and succeed. */
const char *websocket_read(struct websocket *ws, const uint8_t *data, size_t len, uint64_t now_us)
{
	bool ok;

	ws->now_us = now_us;
	ws->rx = data;
	ws->rx_left = len;
	ok = wslay_event_recv(ws->wslay) == 0;
	if (!flush(ws))
		return "too much waits to be written";
	if (ws->over)
		return "the portal sent a message that is too long";
	if (!ok)
		return "WebSocket error";
	if (!wslay_event_want_read(ws->wslay) || ws->rx_left > 0)
		return "the portal closed the connection or broke the WebSocket protocol";
	return NULL;
}

bool websocket_send(struct websocket *ws, const char *text, size_t len)
{
	struct wslay_event_msg msg = {
	    .opcode = WSLAY_TEXT_FRAME,
	    .msg = (const uint8_t *)text,
	    .msg_length = len,
	};

	return wslay_event_queue_msg(ws->wslay, &msg) == 0 && wslay_event_send(ws->wslay) == 0;
}

void websocket_close(struct websocket *ws)
{
	if (wslay_event_queue_close(ws->wslay, WSLAY_CODE_NORMAL_CLOSURE, NULL, 0) == 0)
		(void)wslay_event_send(ws->wslay);
}

uint64_t websocket_message_since_us(const struct websocket *ws)
{
	return ws->since_us;
}
