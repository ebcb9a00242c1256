#include "channel_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <sodium.h>

static uint64_t wall_s(void *ctx)
{
	(void)ctx;
	return 1790000000;
}

static void count_line(void *ctx, const char *line, size_t len)
{
	struct world *w = ctx;

	(void)len;
	assert_null(strstr(line, "SECRET"));
	w->log_lines++;
}

static void look(struct world *w)
{
	struct portal_out out;

	while (portal_channel_poll(w->ch, &out)) {
		switch (out.kind) {
		case PORTAL_OUT_DIAL:
			w->dials++;
			break;
		case PORTAL_OUT_WRITE:
			assert_true(w->n_written + out.u.write.len < MAX_OUT);
			memcpy(w->written + w->n_written, out.u.write.data, out.u.write.len);
			w->n_written += out.u.write.len;
			w->written[w->n_written] = '\0';
			break;
		case PORTAL_OUT_HANG_UP:
			w->hang_ups++;
			break;
		case PORTAL_OUT_JOINED:
			w->joined++;
			break;
		case PORTAL_OUT_LOST:
			w->lost++;
			break;
		case PORTAL_OUT_MESSAGE:
			w->messages++;
			portal_msg_free(&out.u.msg);
			break;
		case PORTAL_OUT_FATAL:
			w->fatals++;
			snprintf(w->reason, sizeof(w->reason), "%s", out.u.reason);
			break;
		}
	}
}

void channel_feed(struct world *w, const struct portal_in *in)
{
	portal_channel_handle(w->ch, in, w->now_us);
	look(w);
}

void channel_feed_kind(struct world *w, enum portal_in_kind kind)
{
	struct portal_in in = {.kind = kind};

	if (kind == PORTAL_IN_CLOSED)
		in.u.reason = "test";
	channel_feed(w, &in);
}

void channel_feed_bytes(struct world *w, const void *data, size_t len)
{
	struct portal_in in = {.kind = PORTAL_IN_BYTES};

	in.u.bytes.data = data;
	in.u.bytes.len = len;
	channel_feed(w, &in);
}

void channel_advance(struct world *w, uint64_t us)
{
	uint64_t end = w->now_us + us;

	while (portal_channel_deadline(w->ch) <= end) {
		if (portal_channel_deadline(w->ch) > w->now_us)
			w->now_us = portal_channel_deadline(w->ch);
		channel_feed_kind(w, PORTAL_IN_TIMEOUT);
	}
	w->now_us = end;
}

void channel_forget(struct world *w)
{
	w->n_written = 0;
	w->written[0] = '\0';
	w->dials = w->hang_ups = w->joined = w->lost = w->messages = w->fatals = 0;
}

/* A server's text frame, unmasked. */
void channel_push_frame(struct world *w, uint8_t opcode, const char *text)
{
	uint8_t frame[2048];
	size_t len = strlen(text), head = 2;

	frame[0] = (uint8_t)(0x80 | opcode);
	if (len < 126) {
		frame[1] = (uint8_t)len;
	} else {
		frame[1] = 126;
		frame[2] = (uint8_t)(len >> 8);
		frame[3] = (uint8_t)len;
		head = 4;
	}
	memcpy(frame + head, text, len);
	channel_feed_bytes(w, frame, head + len);
}

void channel_push_text(struct world *w, const char *text)
{
	channel_push_frame(w, 1, text);
}

static void answer_upgrade(struct world *w)
{
	static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
	const char *key = strstr(w->written, "Sec-WebSocket-Key: ");
	char text[128], accept[64], answer[512];
	uint8_t digest[20];
	size_t digest_len = sizeof(digest);

	assert_non_null(key);
	snprintf(text, sizeof(text), "%.24s%s", key + strlen("Sec-WebSocket-Key: "), guid);
	assert_int_equal(EVP_Q_digest(NULL, "SHA1", NULL, text, strlen(text), digest, &digest_len),
			 1);
	sodium_bin2base64(accept, sizeof(accept), digest, sizeof(digest),
			  sodium_base64_VARIANT_ORIGINAL);
	snprintf(answer, sizeof(answer),
		 "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
		 "Sec-WebSocket-Accept: %s\r\n\r\n",
		 accept);
	channel_forget(w);
	channel_feed_bytes(w, answer, strlen(answer));
}

/* The payload of the client's first frame in what was written, unmasked. */
const char *channel_first_frame(struct world *w, uint8_t *opcode)
{
	static char out[4096];
	const uint8_t *f = (const uint8_t *)w->written;
	size_t len = f[1] & 127, head = 2;

	assert_true(w->n_written >= 6);
	assert_true(f[1] & 0x80);
	if (len == 126) {
		len = (size_t)f[2] << 8 | f[3];
		head = 4;
	}
	assert_true(head + 4 + len <= w->n_written && len < sizeof(out));
	for (size_t i = 0; i < len; i++)
		out[i] = (char)(f[head + 4 + i] ^ f[head + i % 4]);
	out[len] = '\0';
	*opcode = f[0] & 15;
	memmove(w->written, w->written + head + 4 + len, w->n_written - head - 4 - len);
	w->n_written -= head + 4 + len;
	return out;
}

void channel_assert_sent(struct world *w, const char *text)
{
	uint8_t opcode;

	assert_string_equal(channel_first_frame(w, &opcode), text);
	assert_int_equal(opcode, 1);
}

void channel_connect_it(struct world *w)
{
	channel_forget(w);
	channel_feed_kind(w, PORTAL_IN_CONNECTED);
	answer_upgrade(w);
	channel_assert_sent(
	    w, "{\"topic\":\"gateway\",\"event\":\"phx_join\",\"payload\":null,\"ref\":0}");
}

void channel_join_it(struct world *w)
{
	channel_connect_it(w);
	channel_push_text(w, JOIN_OK);
	assert_int_equal(w->joined, 1);
	channel_forget(w);
}

int channel_setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct log_config log = {.filter = "debug", .write = count_line, .ctx = w};
	struct portal_channel_config cfg = {
	    .host = "portal.example",
	    .request_target = "/gateway/websocket?x=1",
	    .user_agent = "Debian/12.0.0 gateway/1.5.2",
	    .token = "SECRET.TOKEN",
	    .first_connect_us = 15 * US_PER_S,
	    .max_partition_us = 86400 * US_PER_S,
	    .wall_s = wall_s,
	};

	w->now_us = 1000;
	w->log = log_new(&log, NULL, 0);
	cfg.log = w->log;
	cfg.rng = rng_from_seed(&w->seed, 7);
	w->ch = portal_channel_new(&cfg);
	channel_feed_kind(w, PORTAL_IN_START);
	assert_int_equal(w->dials, 1);
	*state = w;
	return 0;
}

int channel_teardown(void **state)
{
	struct world *w = *state;

	portal_channel_free(w->ch);
	log_free(w->log);
	free(w);
	return 0;
}
