/*
 * The portal channel against a scripted portal: bytes in, bytes out, a clock of the test's own.
 */
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

#include "portal/channel.h"

enum {
	MAX_OUT = 65536
};

struct world {
	struct portal_channel *ch;
	struct log *log;
	unsigned int log_lines;
	struct rng_seeded seed;
	uint64_t now_us;
	/* what the channel said since the last look */
	char written[MAX_OUT];
	size_t n_written;
	unsigned int dials, hang_ups, joined, lost, messages, fatals;
	char reason[256];
};

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

static void feed(struct world *w, const struct portal_in *in)
{
	portal_channel_handle(w->ch, in, w->now_us);
	look(w);
}

static void feed_kind(struct world *w, enum portal_in_kind kind)
{
	struct portal_in in = {.kind = kind};

	if (kind == PORTAL_IN_CLOSED)
		in.u.reason = "test";
	feed(w, &in);
}

static void feed_bytes(struct world *w, const void *data, size_t len)
{
	struct portal_in in = {.kind = PORTAL_IN_BYTES};

	in.u.bytes.data = data;
	in.u.bytes.len = len;
	feed(w, &in);
}

static void advance(struct world *w, uint64_t us)
{
	uint64_t end = w->now_us + us;

	while (portal_channel_deadline(w->ch) <= end) {
		if (portal_channel_deadline(w->ch) > w->now_us)
			w->now_us = portal_channel_deadline(w->ch);
		feed_kind(w, PORTAL_IN_TIMEOUT);
	}
	w->now_us = end;
}

static void forget(struct world *w)
{
	w->n_written = 0;
	w->written[0] = '\0';
	w->dials = w->hang_ups = w->joined = w->lost = w->messages = w->fatals = 0;
}

/* A server's text frame, unmasked. */
static void push_frame(struct world *w, uint8_t opcode, const char *text)
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
	feed_bytes(w, frame, head + len);
}

static void push_text(struct world *w, const char *text)
{
	push_frame(w, 1, text);
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
	forget(w);
	feed_bytes(w, answer, strlen(answer));
}

/* The payload of the client's first frame in what was written, unmasked. */
static const char *first_frame(struct world *w, uint8_t *opcode)
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

static void assert_sent(struct world *w, const char *text)
{
	uint8_t opcode;

	assert_string_equal(first_frame(w, &opcode), text);
	assert_int_equal(opcode, 1);
}

static void connect_it(struct world *w)
{
	forget(w);
	feed_kind(w, PORTAL_IN_CONNECTED);
	answer_upgrade(w);
	assert_sent(w, "{\"topic\":\"gateway\",\"event\":\"phx_join\",\"payload\":null,\"ref\":0}");
}

#define JOIN_OK                                                                                    \
	"{\"event\":\"phx_reply\",\"ref\":0,\"topic\":\"gateway\",\"payload\":{\"status\":\"ok\"," \
	"\"response\":{}}}"
#define INIT                                                                                  \
	"{\"topic\":\"gateway\",\"event\":\"init\",\"ref\":null,\"payload\":{\"interface\":{" \
	"\"ipv4\":"                                                                           \
	"\"100.64.3.9\",\"ipv6\":\"fd00:2021:1111::3:9\"}}}"

static void join_it(struct world *w)
{
	connect_it(w);
	push_text(w, JOIN_OK);
	assert_int_equal(w->joined, 1);
	forget(w);
}

static int setup(void **state)
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
	feed_kind(w, PORTAL_IN_START);
	assert_int_equal(w->dials, 1);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	portal_channel_free(w->ch);
	log_free(w->log);
	free(w);
	return 0;
}

static void nothing_is_sent_between_join_and_its_answer(void **state)
{
	struct world *w = *state;
	struct portal_in in = {.kind = PORTAL_IN_SEND};

	connect_it(w);
	in.u.send.kind = PORTAL_SEND_NO_RELAYS;
	feed(w, &in);
	assert_int_equal(w->n_written, 0);
	push_text(w, JOIN_OK);
	assert_int_equal(w->joined, 1);
	assert_sent(w, "{\"topic\":\"gateway\",\"event\":\"no_relays\",\"payload\":{},\"ref\":1}");
}

static void messages_count_only_after_the_join(void **state)
{
	struct world *w = *state;

	connect_it(w);
	push_text(w, INIT);
	assert_int_equal(w->messages, 0);
	push_text(w, JOIN_OK);
	push_text(w, INIT);
	assert_int_equal(w->messages, 1);
}

static void join_without_answer_is_given_up_after_five_seconds(void **state)
{
	struct world *w = *state;

	connect_it(w);
	advance(w, 5 * US_PER_S - 1);
	assert_int_equal(w->hang_ups, 0);
	advance(w, 1);
	assert_int_equal(w->hang_ups, 1);
	assert_int_equal(w->fatals, 0);
}

static void heartbeats_go_every_ten_seconds_and_the_fourth_unanswered_drops(void **state)
{
	struct world *w = *state;

	join_it(w);
	advance(w, 10 * US_PER_S);
	assert_sent(w, "{\"topic\":\"phoenix\",\"event\":\"heartbeat\",\"payload\":{},\"ref\":1}");
	push_text(w, "{\"topic\":\"phoenix\",\"event\":\"phx_reply\",\"payload\":{\"status\":"
		     "\"ok\",\"response\":{}},\"ref\":1}");
	advance(w, 30 * US_PER_S);
	assert_int_equal(w->lost, 0);
	advance(w, 10 * US_PER_S);
	assert_int_equal(w->lost, 1);
	assert_int_equal(w->hang_ups, 1);
}

static void reply_with_another_ref_is_no_heartbeat_answer(void **state)
{
	struct world *w = *state;

	join_it(w);
	for (int i = 0; i < 4; i++) {
		advance(w, 10 * US_PER_S);
		push_text(w, "{\"topic\":\"phoenix\",\"event\":\"phx_reply\",\"payload\":{"
			     "\"status\":\"ok\"},\"ref\":99}");
	}
	assert_int_equal(w->lost, 1);
}

static void status_401_is_fatal_other_refusals_are_retried(void **state)
{
	struct world *w = *state;
	static const char refused[] = "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno";
	static const char bad_token[] = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";

	feed_kind(w, PORTAL_IN_CONNECTED);
	assert_non_null(strstr(w->written, "X-Authorization: Bearer SECRET.TOKEN\r\n"));
	forget(w);
	feed_bytes(w, refused, sizeof(refused) - 1);
	assert_int_equal(w->fatals, 0);
	assert_int_equal(w->hang_ups, 1);
	advance(w, US_PER_S);
	assert_int_equal(w->dials, 1);
	feed_kind(w, PORTAL_IN_CONNECTED);
	feed_bytes(w, bad_token, sizeof(bad_token) - 1);
	assert_int_equal(w->fatals, 1);
	assert_non_null(strstr(w->reason, "Authentication token invalid"));
	assert_true(portal_channel_deadline(w->ch) == NEVER_US);
}

static void first_connection_is_retried_each_second_for_fifteen(void **state)
{
	struct world *w = *state;
	unsigned int tries = 0;

	while (w->fatals == 0 && tries < 100) {
		forget(w);
		feed_kind(w, PORTAL_IN_CLOSED);
		tries++;
		advance(w, US_PER_S);
	}
	assert_int_equal(w->fatals, 1);
	assert_in_range(tries, 15, 17);
}

static void retry_after_replaces_the_delay_and_starts_no_clock(void **state)
{
	struct world *w = *state;
	static const char busy[] = "HTTP/1.1 503 X\r\nRetry-After: 4\r\nContent-Length: 0\r\n\r\n";

	for (int i = 0; i < 10; i++) {
		feed_kind(w, PORTAL_IN_CONNECTED);
		forget(w);
		feed_bytes(w, busy, sizeof(busy) - 1);
		advance(w, 4 * US_PER_S - 1);
		assert_int_equal(w->dials, 0);
		advance(w, US_PER_S);
		assert_int_equal(w->dials, 1);
		assert_int_equal(w->fatals, 0);
	}
}

static void backoff_after_a_good_join_grows_with_jitter_and_is_reset_by_the_next(void **state)
{
	struct world *w = *state;
	uint64_t expected = 500 * US_PER_MS;

	join_it(w);
	for (int i = 0; i < 12; i++) {
		forget(w);
		feed_kind(w, PORTAL_IN_CLOSED);
		assert_int_equal(w->fatals, 0);
		assert_in_range(portal_channel_deadline(w->ch) - w->now_us, expected / 2,
				expected + expected / 2);
		advance(w, portal_channel_deadline(w->ch) - w->now_us);
		assert_int_equal(w->dials, 1);
		expected = min_u64(expected * 3 / 2, 60 * US_PER_S);
	}
	join_it(w);
	feed_kind(w, PORTAL_IN_CLOSED);
	assert_in_range(portal_channel_deadline(w->ch) - w->now_us, 250 * US_PER_MS,
			750 * US_PER_MS);
}

static void silent_server_is_given_up_after_fifteen_seconds(void **state)
{
	struct world *w = *state;

	feed_kind(w, PORTAL_IN_CONNECTED);
	forget(w);
	advance(w, 15 * US_PER_S - 1);
	assert_int_equal(w->hang_ups, 0);
	advance(w, 1);
	assert_int_equal(w->hang_ups, 1);
}

static void close_frame_and_phx_close_reconnect_token_expired_ends(void **state)
{
	struct world *w = *state;

	join_it(w);
	push_frame(w, 8, "\x03\xf4");
	assert_int_equal(w->lost, 1);
	advance(w, 2 * US_PER_S);
	join_it(w);
	push_text(w, "{\"topic\":\"gateway\",\"event\":\"phx_close\",\"ref\":null,\"payload\":{}}");
	assert_int_equal(w->lost, 1);
	advance(w, 2 * US_PER_S);
	join_it(w);
	push_text(w, "{\"topic\":\"gateway\",\"event\":\"disconnect\",\"ref\":null,\"payload\":{"
		     "\"reason\":\"token_expired\"}}");
	assert_int_equal(w->fatals, 1);
}

static void unmatched_topic_rejoins_once_then_reconnects(void **state)
{
	struct world *w = *state;
	static const char unmatched[] =
	    "{\"topic\":\"gateway\",\"event\":\"phx_reply\",\"ref\":7,\"payload\":{\"status\":"
	    "\"error\",\"response\":{\"reason\":\"unmatched topic\"}}}";

	join_it(w);
	push_text(w, unmatched);
	assert_sent(w, "{\"topic\":\"gateway\",\"event\":\"phx_join\",\"payload\":null,\"ref\":1}");
	push_text(w, "{\"event\":\"phx_reply\",\"ref\":1,\"topic\":\"gateway\",\"payload\":{"
		     "\"status\":\"ok\",\"response\":{}}}");
	assert_int_equal(w->joined, 1);
	push_text(w, unmatched);
	assert_int_equal(w->hang_ups, 1);
}

static void ping_is_answered_binary_is_ignored_broken_json_drops(void **state)
{
	struct world *w = *state;
	uint8_t opcode;

	join_it(w);
	push_frame(w, 9, "hi");
	assert_string_equal(first_frame(w, &opcode), "hi");
	assert_int_equal(opcode, 10);
	push_frame(w, 2, "zz");
	assert_int_equal(w->lost, 0);
	push_text(w, "{\"topic\":");
	assert_int_equal(w->lost, 1);
}

static void protocol_errors_drop_the_connection(void **state)
{
	struct world *w = *state;
	static const char *const bad[] = {"\xc1\x00", "\x83\x00", "\x81\x02\xc3\x28"};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		join_it(w);
		feed_bytes(w, bad[i], i == 2 ? 4 : 2);
		assert_int_equal(w->lost, 1);
		advance(w, 2 * US_PER_S);
	}
}

static void message_that_drips_for_thirty_seconds_drops(void **state)
{
	struct world *w = *state;
	static const char begun[] = "\x01\x02{\"";

	join_it(w);
	feed_bytes(w, begun, 4);
	advance(w, 10 * US_PER_S);
	push_text(w, ""); /* wslay refuses a new message inside another; either way it ends */
	advance(w, 25 * US_PER_S);
	assert_int_equal(w->lost, 1);
}

static void shutdown_sends_a_close_frame(void **state)
{
	struct world *w = *state;
	uint8_t opcode;
	const char *payload;

	join_it(w);
	feed_kind(w, PORTAL_IN_SHUTDOWN);
	payload = first_frame(w, &opcode);
	assert_int_equal(opcode, 8);
	assert_memory_equal(payload, "\x03\xe8", 2);
	assert_int_equal(w->hang_ups, 1);
	assert_true(portal_channel_deadline(w->ch) == NEVER_US);
}

static void frames_may_arrive_in_single_bytes(void **state)
{
	struct world *w = *state;
	char frame[512];
	size_t len = strlen(INIT);

	join_it(w);
	assert_true(len < 126);
	frame[0] = (char)0x81;
	frame[1] = (char)len;
	memcpy(frame + 2, INIT, len);
	for (size_t i = 0; i < len + 2; i++)
		feed_bytes(w, frame + i, 1);
	assert_int_equal(w->messages, 1);
}

static void close_frame_says(struct world *w, uint16_t code)
{
	uint8_t opcode;
	const char *payload = first_frame(w, &opcode);

	assert_int_equal(opcode, 8);
	assert_int_equal((uint8_t)payload[0] << 8 | (uint8_t)payload[1], code);
	assert_int_equal(w->lost, 1);
	assert_int_equal(w->hang_ups, 1);
	assert_int_equal(w->fatals, 0);
}

static void masked_frame_is_refused_wherever_it_is_cut(void **state)
{
	struct world *w = *state;
	/* "{}" and a ping, both unmasked, then a masked "{}". */
	static const char frames[] = "\x81\x02{}\x89\x00\x81\x82\x00\x00\x00\x00{}";

	for (size_t cut = 1; cut < sizeof(frames) - 1; cut++) {
		join_it(w);
		feed_bytes(w, frames, cut);
		if (w->lost == 0)
			feed_bytes(w, frames + cut, sizeof(frames) - 1 - cut);
		if (w->written[0] == (char)0x8a) {
			uint8_t opcode;

			first_frame(w, &opcode);
		}
		close_frame_says(w, 1002);
		advance(w, 2 * US_PER_S);
	}
}

static void long_lengths_do_not_confuse_the_search_for_masks(void **state)
{
	struct world *w = *state;
	static uint8_t frame[70010] = {0x81, 127, 0, 0, 0, 0, 0, 1, 0x11, 0x70}; /* 70,000 bytes */

	join_it(w);
	memset(frame + 10, ' ', 70000);
	memcpy(frame + 10, INIT, strlen(INIT));
	feed_bytes(w, frame, sizeof(frame));
	assert_int_equal(w->messages, 1);
	push_text(w, INIT);
	assert_int_equal(w->messages, 2);
}

static void message_over_the_cap_ends_with_1009(void **state)
{
	struct world *w = *state;
	static const char announced[] = "\x81\x7f\x00\x00\x00\x00\x00\x40\x00\x01{"; /* 4 MiB + 1 */
	static uint8_t fragment[4 + 65535] = {0x01, 126, 0xff, 0xff};

	join_it(w);
	feed_bytes(w, announced, sizeof(announced) - 1);
	close_frame_says(w, 1009);
	advance(w, 2 * US_PER_S);
	join_it(w);
	memset(fragment + 4, ' ', 65535);
	fragment[0] = 0x01;
	for (int i = 0; i < 64; i++) {
		feed_bytes(w, fragment, sizeof(fragment));
		fragment[0] = 0x00;
		assert_int_equal(w->lost, 0);
	}
	feed_bytes(w, fragment, sizeof(fragment)); /* the 65th would pass 4 MiB */
	close_frame_says(w, 1009);
}

static void ping_inside_a_message_and_alone_start_no_message_timer(void **state)
{
	struct world *w = *state;

	join_it(w);
	push_frame(w, 9, "");
	advance(w, 35 * US_PER_S); /* three heartbeats unanswered, which is allowed */
	assert_int_equal(w->lost, 0);
	push_text(w, INIT);
	assert_int_equal(w->messages, 1);
}

static void endless_fragments_end_after_thirty_seconds(void **state)
{
	struct world *w = *state;
	char text[160];

	join_it(w);
	feed_bytes(w, "\x01\x01{", 3);
	for (int i = 1; i <= 29; i++) {
		advance(w, US_PER_S);
		feed_bytes(w, "\x00\x01 ", 3);
		/* Control frames in between and answered heartbeats make no difference. */
		snprintf(text, sizeof(text), "\x89%c", 0);
		feed_bytes(w, text, 2);
		assert_int_equal(w->lost, 0);
	}
	advance(w, US_PER_S);
	assert_int_equal(w->lost, 1);
}

static void equal_messages_wait_once_for_the_join(void **state)
{
	struct world *w = *state;
	struct portal_in in = {.kind = PORTAL_IN_SEND};

	connect_it(w);
	for (int i = 0; i < 300; i++) {
		in.u.send.kind = PORTAL_SEND_NO_RELAYS;
		feed(w, &in);
	}
	in.u.send.kind = PORTAL_SEND_FLOW_AUTHORIZED;
	in.u.send.flow_ref = "a";
	feed(w, &in);
	push_text(w, JOIN_OK);
	assert_sent(w, "{\"topic\":\"gateway\",\"event\":\"no_relays\",\"payload\":{},\"ref\":1}");
	assert_sent(w, "{\"topic\":\"gateway\",\"event\":\"flow_authorized\",\"payload\":{\"ref\":"
		       "\"a\"},\"ref\":2}");
	assert_int_equal(w->n_written, 0);
}

static void queue_of_256_is_held_one_more_drops_the_connection(void **state)
{
	struct world *w = *state;
	struct portal_in in = {.kind = PORTAL_IN_SEND};
	char ref[16];

	connect_it(w);
	in.u.send.kind = PORTAL_SEND_FLOW_AUTHORIZED;
	in.u.send.flow_ref = ref;
	for (int i = 0; i < 256; i++) {
		snprintf(ref, sizeof(ref), "%d", i);
		feed(w, &in);
	}
	assert_int_equal(w->hang_ups, 0);
	snprintf(ref, sizeof(ref), "more");
	feed(w, &in);
	assert_int_equal(w->hang_ups, 1);
}

static void flood_of_odd_messages_is_logged_in_few_lines(void **state)
{
	struct world *w = *state;

	join_it(w);
	w->log_lines = 0;
	for (int i = 0; i < 1000; i++) {
		push_text(w, "{\"event\":\"strange\",\"payload\":{\"secret\":\"SECRET\"}}");
		push_text(w, "SECRET");
		push_frame(w, 2, "SECRET");
		push_text(w,
			  "{\"event\":\"phx_reply\",\"ref\":5,\"payload\":{\"status\":\"error\"}}");
	}
	assert_in_range(w->log_lines, 1, 20);
	assert_int_equal(w->lost, 0);
}

static void huge_retry_after_and_huge_answers_are_cut(void **state)
{
	struct world *w = *state;
	static const char busy[] =
	    "HTTP/1.1 503 X\r\nRetry-After: 99999999999\r\nContent-Length: 0\r\n\r\n";
	char line[1024];

	feed_kind(w, PORTAL_IN_CONNECTED);
	feed_bytes(w, busy, sizeof(busy) - 1);
	assert_in_range(portal_channel_deadline(w->ch) - w->now_us, 300 * US_PER_S, 330 * US_PER_S);
	advance(w, 330 * US_PER_S);
	feed_kind(w, PORTAL_IN_CONNECTED);
	forget(w);
	feed_bytes(w, "HTTP/1.1 200 OK\r\n", 17);
	memset(line, 'x', sizeof(line));
	for (int i = 0; i < 15; i++)
		feed_bytes(w, line, sizeof(line));
	assert_int_equal(w->hang_ups, 0);
	feed_bytes(w, line, sizeof(line));
	assert_int_equal(w->hang_ups, 1);
}

static void join_refused_is_retried_unknown_disconnect_too(void **state)
{
	struct world *w = *state;

	connect_it(w);
	push_text(w, "{\"event\":\"phx_reply\",\"ref\":0,\"payload\":{\"status\":\"error\","
		     "\"response\":{\"reason\":\"busy\"}}}");
	assert_int_equal(w->fatals, 0);
	assert_int_equal(w->hang_ups, 1);
	advance(w, 2 * US_PER_S);
	join_it(w);
	push_text(w, "{\"topic\":\"gateway\",\"event\":\"disconnect\",\"ref\":null,\"payload\":{"
		     "\"reason\":\"whim\"}}");
	assert_int_equal(w->lost, 1);
	assert_int_equal(w->fatals, 0);
}

static void control_frames_that_break_the_rules_drop(void **state)
{
	struct world *w = *state;
	/* A ping of 126 bytes, a fragmented ping, a continuation of nothing. */
	static const char *const bad[] = {"\x89\x7e\x00\x7e", "\x09\x01x", "\x80\x01x"};
	static const size_t len[] = {4, 3, 3};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		join_it(w);
		feed_bytes(w, bad[i], len[i]);
		assert_int_equal(w->lost, 1);
		advance(w, 2 * US_PER_S);
	}
}

static void giving_up_hangs_up_once(void **state)
{
	struct world *w = *state;

	feed_kind(w, PORTAL_IN_CLOSED);
	w->now_us += 60 * US_PER_S;
	feed_kind(w, PORTAL_IN_TIMEOUT);
	feed_kind(w, PORTAL_IN_CONNECTED);
	forget(w);
	feed_kind(w, PORTAL_IN_CLOSED);
	assert_int_equal(w->fatals, 1);
	assert_int_equal(w->hang_ups, 1);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CASE(nothing_is_sent_between_join_and_its_answer),
	    CASE(messages_count_only_after_the_join),
	    CASE(join_without_answer_is_given_up_after_five_seconds),
	    CASE(heartbeats_go_every_ten_seconds_and_the_fourth_unanswered_drops),
	    CASE(reply_with_another_ref_is_no_heartbeat_answer),
	    CASE(status_401_is_fatal_other_refusals_are_retried),
	    CASE(first_connection_is_retried_each_second_for_fifteen),
	    CASE(retry_after_replaces_the_delay_and_starts_no_clock),
	    CASE(backoff_after_a_good_join_grows_with_jitter_and_is_reset_by_the_next),
	    CASE(silent_server_is_given_up_after_fifteen_seconds),
	    CASE(close_frame_and_phx_close_reconnect_token_expired_ends),
	    CASE(unmatched_topic_rejoins_once_then_reconnects),
	    CASE(ping_is_answered_binary_is_ignored_broken_json_drops),
	    CASE(protocol_errors_drop_the_connection),
	    CASE(message_that_drips_for_thirty_seconds_drops),
	    CASE(shutdown_sends_a_close_frame),
	    CASE(frames_may_arrive_in_single_bytes),
	    CASE(masked_frame_is_refused_wherever_it_is_cut),
	    CASE(long_lengths_do_not_confuse_the_search_for_masks),
	    CASE(message_over_the_cap_ends_with_1009),
	    CASE(ping_inside_a_message_and_alone_start_no_message_timer),
	    CASE(endless_fragments_end_after_thirty_seconds),
	    CASE(equal_messages_wait_once_for_the_join),
	    CASE(queue_of_256_is_held_one_more_drops_the_connection),
	    CASE(flood_of_odd_messages_is_logged_in_few_lines),
	    CASE(huge_retry_after_and_huge_answers_are_cut),
	    CASE(join_refused_is_retried_unknown_disconnect_too),
	    CASE(control_frames_that_break_the_rules_drop),
	    CASE(giving_up_hangs_up_once),
	};

	portal_json_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
