/*
 * The portal channel as a state machine (covers channel.c, websocket.c): the input is a script of
 * events, with a portal that can do the handshake right. Whatever it sends, outputs come in a
 * possible order, secrets go out in the upgrade request only, the deadline is not in the past, and
 * memory stays bounded.
 */
#include <openssl/evp.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "packet/bytes.h"
#include "portal/channel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum {
	KEY_LEN = 24,
	MOST_WRITTEN = 1024 * 1024 + 8192, /* what one event may make us write */
};

static const char token[] = "SECRETTOKEN";

struct world {
	struct portal_channel *ch;
	uint64_t now_us;
	bool dialling, connected, upgrading, joined, ended;
	char key[KEY_LEN + 1]; /* of the newest upgrade request */
};

static uint64_t wall_s(void *ctx)
{
	(void)ctx;
	return 1790000000;
}

static void check_written(struct world *w, const char *data, size_t len)
{
	static const char name[] = "Sec-WebSocket-Key: ";
	const char *key;

	BUG_ON(!w->connected || len == 0);
	if (!w->upgrading) {
		BUG_ON(memmem(data, len, token, strlen(token)));
		return;
	}
	key = memmem(data, len, name, strlen(name));
	BUG_ON(!key || key + strlen(name) + KEY_LEN > data + len);
	memcpy(w->key, key + strlen(name), KEY_LEN);
	w->upgrading = false;
}

static void look(struct world *w)
{
	struct portal_out out;
	size_t written = 0;

	while (portal_channel_poll(w->ch, &out)) {
		BUG_ON(w->ended);
		switch (out.kind) {
		case PORTAL_OUT_DIAL:
			BUG_ON(w->connected);
			w->dialling = true;
			break;
		case PORTAL_OUT_WRITE:
			check_written(w, (const char *)out.u.write.data, out.u.write.len);
			written += out.u.write.len;
			break;
		case PORTAL_OUT_HANG_UP:
			BUG_ON(!w->connected && !w->dialling);
			w->connected = w->dialling = false;
			break;
		case PORTAL_OUT_JOINED:
			BUG_ON(w->joined || !w->connected);
			w->joined = true;
			break;
		case PORTAL_OUT_LOST:
			BUG_ON(!w->joined);
			w->joined = false;
			break;
		case PORTAL_OUT_MESSAGE:
			BUG_ON(!w->joined);
			portal_msg_free(&out.u.msg);
			break;
		case PORTAL_OUT_FATAL:
			BUG_ON(w->joined);
			w->ended = true;
			break;
		}
	}
	BUG_ON(written > MOST_WRITTEN);
	BUG_ON(portal_channel_joined(w->ch) != w->joined);
}

static void handle(struct world *w, const struct portal_in *in)
{
	portal_channel_handle(w->ch, in, w->now_us);
	look(w);
}

static void bytes(struct world *w, const void *data, size_t len)
{
	struct portal_in in = {.kind = PORTAL_IN_BYTES};

	if (!w->connected || len == 0 || w->ended)
		return;
	in.u.bytes.data = data;
	in.u.bytes.len = len;
	handle(w, &in);
}

/* The right answer to the upgrade request. */
static void upgrade(struct world *w)
{
	char text[128], accept[64], answer[256];
	uint8_t digest[20];
	size_t digest_len = sizeof(digest);

	snprintf(text, sizeof(text), "%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", w->key);
	BUG_ON(EVP_Q_digest(NULL, "SHA1", NULL, text, strlen(text), digest, &digest_len) != 1);
	sodium_bin2base64(accept, sizeof(accept), digest, sizeof(digest),
			  sodium_base64_VARIANT_ORIGINAL);
	bytes(w, answer,
	      (size_t)snprintf(answer, sizeof(answer),
			       "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: "
			       "Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
			       accept));
}

/* One frame of a server; the payload is shorter than 64 KiB. */
static void frame(struct world *w, uint8_t first, const void *payload, size_t len)
{
	uint8_t buf[4 + UINT16_MAX];
	struct writer out = writer_of(buf, sizeof(buf));

	wr_u8(&out, first);
	if (len < 126) {
		wr_u8(&out, (uint8_t)len);
	} else {
		wr_u8(&out, 126);
		wr_u16(&out, (uint16_t)len);
	}
	wr_bytes(&out, payload, len);
	bytes(w, buf, out.written);
}

static void reply(struct world *w, uint8_t ref)
{
	char text[128];
	int len = snprintf(text, sizeof(text),
			   "{\"topic\":\"gateway\",\"event\":\"phx_reply\",\"ref\":%u,\"payload\":{"
			   "\"status\":\"ok\",\"response\":{}}}",
			   ref);

	frame(w, 0x81, text, (size_t)len);
}

/* Of the bytes that follow. */
static size_t length(struct reader *r)
{
	size_t len = rd_u16(r);

	return r->bad ? 0 : min_size(len, r->left);
}

enum event {
	EVENT_UPGRADE = PORTAL_IN_TIMEOUT + 1,
	EVENT_REPLY,
	EVENT_FRAME,
	EVENT_KINDS
};

static void portal_event(struct world *w, struct reader *r, enum event event)
{
	if (event == EVENT_UPGRADE) {
		upgrade(w);
	} else if (event == EVENT_REPLY) {
		reply(w, rd_u8(r));
	} else {
		uint8_t first = rd_u8(r);
		size_t len = length(r);

		frame(w, first, rd_bytes(r, len), len);
	}
}

static void step(struct world *w, struct reader *r)
{
	uint8_t event = rd_u8(r) % EVENT_KINDS;
	struct portal_in in = {.kind = (enum portal_in_kind)event};
	size_t len;

	if (event > PORTAL_IN_TIMEOUT) {
		portal_event(w, r, (enum event)event);
		return;
	}
	switch (in.kind) {
	case PORTAL_IN_START:
		return;
	case PORTAL_IN_CONNECTED:
		if (!w->dialling)
			return;
		w->dialling = false;
		w->connected = w->upgrading = true;
		break;
	case PORTAL_IN_BYTES:
		len = length(r);
		bytes(w, rd_bytes(r, len), len);
		return;
	case PORTAL_IN_CLOSED:
		in.u.reason = "closed";
		break;
	case PORTAL_IN_SEND:
		in.u.send.kind = rd_u8(r) & 1 ? PORTAL_SEND_NO_RELAYS : PORTAL_SEND_FLOW_AUTHORIZED;
		in.u.send.flow_ref = rd_u8(r) & 1 ? "a" : "b";
		break;
	case PORTAL_IN_SHUTDOWN:
		if (rd_u8(r) != 1)
			return;
		break;
	case PORTAL_IN_TIMEOUT:
		w->now_us += rd_u16(r) * US_PER_MS;
		break;
	case PORTAL_IN_RECONNECT:
		break;
	}
	handle(w, &in);
	BUG_ON(in.kind == PORTAL_IN_TIMEOUT && portal_channel_deadline(w->ch) <= w->now_us);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct rng_seeded seed;
	struct portal_channel_config cfg = {
	    .host = "h",
	    .request_target = "/",
	    .user_agent = "ua",
	    .token = token,
	    .first_connect_us = 15 * US_PER_S,
	    .max_partition_us = 3600 * US_PER_S,
	    .rng = rng_from_seed(&seed, 1),
	    .wall_s = wall_s,
	};
	struct portal_in start = {.kind = PORTAL_IN_START};
	struct reader r = reader_of(data, len);
	struct world w = {.now_us = 1};

	portal_json_init();
	w.ch = portal_channel_new(&cfg);
	BUG_ON(!w.ch);
	handle(&w, &start);
	while (r.left > 0 && !r.bad && !w.ended)
		step(&w, &r);
	portal_channel_free(w.ch);
	return 0;
}
