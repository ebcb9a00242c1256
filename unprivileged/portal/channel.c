#include "portal/channel.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "portal/http.h"
#include "portal/json.h"
#include "portal/websocket.h"

enum {
	MAX_UNANSWERED = 3, /* heartbeats; one more drops the connection */
	MAX_TX = 1024 * 1024,
	MAX_QUEUED = 256, /* messages that wait for the join */
	MAX_REQUEST = 8192,
	FIRST_OUTS = 16,
	NOISE_LINES = 10, /* lines about what the portal sent, in NOISE_S */
	NOISE_S = 60,
};

static const uint64_t attempt_us = 15 * US_PER_S;
static const uint64_t join_us = 5 * US_PER_S;
static const uint64_t heartbeat_us = 10 * US_PER_S;
static const uint64_t message_us = 30 * US_PER_S;
static const uint64_t rejoin_us = 5 * US_PER_S;
static const uint64_t backoff_first_us = 500 * US_PER_MS;
static const uint64_t backoff_max_us = 60 * US_PER_S;
static const uint64_t retry_min_us = 250 * US_PER_MS;
static const uint64_t retry_max_us = 300 * US_PER_S;

enum state {
	IDLE,
	WAITING,
	DIALING,
	UPGRADING,
	JOINING,
	READY,
	ENDED
};

struct portal_channel {
	struct portal_channel_config cfg;
	enum state state;
	uint64_t now_us, state_until_us;
	bool ever_joined, clock_running;
	uint64_t clock_us, backoff_us;
	/* the connection */
	char key[HTTP_WS_KEY_LEN + 1];
	char head[HTTP_MAX_HEADERS + HTTP_MAX_BODY];
	size_t head_len;
	struct websocket *ws; /* NULL before the upgrade */
	uint64_t next_ref, join_ref, heartbeat_at_us, rejoined_us;
	uint64_t unanswered[MAX_UNANSWERED];
	size_t n_unanswered;
	char *queued[MAX_QUEUED];
	size_t n_queued;
	/* Lines that anybody behind the portal could cause without end. */
	uint64_t noise_until_us, noise_hidden;
	unsigned int noise_lines;
	/* Set inside the WebSocket's callbacks, acted upon when it has returned: drop the
	 * connection, or end for good. */
	bool broken, doomed;
	const char *broken_why;
	char why[256];
	/* outputs */
	uint8_t *tx;
	size_t tx_len, tx_cap;
	bool tx_taken;
	struct portal_out *outs;
	size_t n_outs, outs_at, outs_cap;
};

struct portal_channel *portal_channel_new(const struct portal_channel_config *cfg)
{
	struct portal_channel *ch = calloc(1, sizeof(*ch));

	if (!ch)
		return NULL;
	ch->cfg = *cfg;
	ch->state_until_us = NEVER_US;
	ch->heartbeat_at_us = NEVER_US;
	ch->backoff_us = backoff_first_us;
	return ch;
}

static void connection_clear(struct portal_channel *ch)
{
	websocket_free(ch->ws);
	ch->ws = NULL;
	ch->head_len = 0;
	ch->heartbeat_at_us = NEVER_US;
	ch->next_ref = 0;
	ch->n_unanswered = 0;
	ch->broken = false;
	for (size_t i = 0; i < ch->n_queued; i++)
		free(ch->queued[i]);
	ch->n_queued = 0;
}

void portal_channel_free(struct portal_channel *ch)
{
	struct portal_out out;

	if (!ch)
		return;
	connection_clear(ch);
	while (portal_channel_poll(ch, &out))
		if (out.kind == PORTAL_OUT_MESSAGE)
			portal_msg_free(&out.u.msg);
	if (ch->tx)
		sodium_memzero(ch->tx, ch->tx_cap);
	free(ch->tx);
	free(ch->outs);
	free(ch);
}

/* Messages hold keys, so what is left behind is wiped. */
static void outs_grow(struct portal_channel *ch)
{
	size_t cap = ch->outs_cap > 0 ? ch->outs_cap * 2 : FIRST_OUTS;
	struct portal_out *outs = calloc(cap, sizeof(*outs));

	BUG_ON(!outs);
	if (ch->outs) {
		memcpy(outs, ch->outs, ch->n_outs * sizeof(*outs));
		sodium_memzero(ch->outs, ch->outs_cap * sizeof(*outs));
	}
	free(ch->outs);
	ch->outs = outs;
	ch->outs_cap = cap;
}

static void push(struct portal_channel *ch, const struct portal_out *out)
{
	if (ch->n_outs == ch->outs_cap)
		outs_grow(ch);
	ch->outs[ch->n_outs++] = *out;
}

static void push_kind(struct portal_channel *ch, enum portal_out_kind kind)
{
	push(ch, &(struct portal_out){.kind = kind});
}

/* What the caller has taken goes: it may hold the token. */
static void tx_clear_taken(struct portal_channel *ch)
{
	if (!ch->tx_taken)
		return;
	sodium_memzero(ch->tx, ch->tx_len);
	ch->tx_len = 0;
	ch->tx_taken = false;
}

static bool tx_add(struct portal_channel *ch, const void *data, size_t len)
{
	tx_clear_taken(ch);
	if (len > MAX_TX - ch->tx_len)
		return false;
	if (ch->tx_len + len > ch->tx_cap) {
		size_t cap = ch->tx_len + len + 4096;
		uint8_t *tx = malloc(cap);

		if (!tx)
			return false;
		if (ch->tx) {
			memcpy(tx, ch->tx, ch->tx_len);
			sodium_memzero(ch->tx, ch->tx_cap);
			free(ch->tx);
		}
		ch->tx = tx;
		ch->tx_cap = cap;
	}
	memcpy(ch->tx + ch->tx_len, data, len);
	ch->tx_len += len;
	return true;
}

static bool connected(const struct portal_channel *ch)
{
	return ch->state == UPGRADING || ch->state == JOINING || ch->state == READY;
}

/* Leaves the connection's states; the caller says where to. */
static void hang_up(struct portal_channel *ch)
{
	if (ch->state == READY)
		push_kind(ch, PORTAL_OUT_LOST);
	if (connected(ch) || ch->state == DIALING)
		push_kind(ch, PORTAL_OUT_HANG_UP);
	ch->state = IDLE;
	connection_clear(ch);
}

static void fatal(struct portal_channel *ch, const char *reason)
{
	struct portal_out out = {.kind = PORTAL_OUT_FATAL};

	hang_up(ch);
	ch->state = ENDED;
	ch->state_until_us = NEVER_US;
	snprintf(ch->why, sizeof(ch->why), "%s", reason);
	out.u.reason = ch->why;
	push(ch, &out);
}

static void dial(struct portal_channel *ch)
{
	ch->state = DIALING;
	ch->state_until_us = ch->now_us + attempt_us;
	push_kind(ch, PORTAL_OUT_DIAL);
}

/* The next delay by the back-off rules. False: the time is up. [spec portal 3.7] */
static bool next_delay(struct portal_channel *ch, uint64_t *delay_us)
{
	uint64_t limit = ch->ever_joined ? ch->cfg.max_partition_us : ch->cfg.first_connect_us;
	uint64_t elapsed;

	if (!ch->clock_running) {
		ch->clock_running = true;
		ch->clock_us = ch->now_us;
	}
	elapsed = ch->now_us - ch->clock_us;
	if (!ch->ever_joined) {
		*delay_us = US_PER_S;
	} else {
		*delay_us = ch->backoff_us / 2 + rng_below(&ch->cfg.rng, ch->backoff_us);
		ch->backoff_us = min_u64(ch->backoff_us + ch->backoff_us / 2, backoff_max_us);
	}
	return elapsed <= limit && elapsed + *delay_us <= limit;
}

static void retry(struct portal_channel *ch, const char *why, int64_t retry_after_s)
{
	uint64_t delay_us;
	bool up = true;

	if (ch->state == ENDED)
		return;
	hang_up(ch);
	if (retry_after_s != HTTP_NO_RETRY_AFTER) {
		delay_us = min_u64((uint64_t)retry_after_s, retry_max_us / US_PER_S) * US_PER_S;
		if (delay_us < retry_min_us)
			delay_us = retry_min_us;
		delay_us += rng_below(&ch->cfg.rng, delay_us / 10 + 1);
	} else {
		up = next_delay(ch, &delay_us);
	}
	log_at(ch->cfg.log, LOG_INFO, "phoenix_channel", "Hiccup in portal connection",
	       KV_STR("error", why), KV_INT("backoff_ms", delay_us / US_PER_MS),
	       KV_INT("max_elapsed_time_s",
		      (ch->ever_joined ? ch->cfg.max_partition_us : ch->cfg.first_connect_us) /
			  US_PER_S));
	if (!up) {
		char text[sizeof(ch->why)];

		snprintf(text, sizeof(text),
			 "Failed to connect to the portal in time, last error: %s", why);
		fatal(ch, text);
		return;
	}
	ch->state = WAITING;
	ch->state_until_us = ch->now_us + delay_us;
}

static void break_off(struct portal_channel *ch, const char *why)
{
	if (!ch->broken) {
		ch->broken = true;
		ch->broken_why = why;
	}
}

/* The same for a reason that no new attempt can mend. */
static void doom(struct portal_channel *ch, const char *why)
{
	ch->doomed = true;
	break_off(ch, why);
}

/* Takes @text. */
static void send_text(struct portal_channel *ch, char *text)
{
	if (!text || !websocket_send(ch->ws, text, strlen(text)))
		break_off(ch, "cannot queue a message");
	free(text);
}

static void send_kind(struct portal_channel *ch, enum portal_send_kind kind)
{
	struct portal_send send = {.kind = kind};

	send_text(ch, portal_print(&send, ch->next_ref++));
}

static void join(struct portal_channel *ch)
{
	ch->state = JOINING;
	ch->state_until_us = ch->now_us + join_us;
	ch->join_ref = ch->next_ref;
	send_kind(ch, PORTAL_SEND_JOIN);
}

static void joined(struct portal_channel *ch)
{
	ch->state = READY;
	ch->state_until_us = NEVER_US;
	ch->ever_joined = true;
	ch->clock_running = false;
	ch->backoff_us = backoff_first_us;
	log_say(ch->cfg.log, LOG_INFO, "phoenix_channel", "Connected to portal");
	push_kind(ch, PORTAL_OUT_JOINED);
	for (size_t i = 0; i < ch->n_queued; i++)
		send_text(ch, ch->queued[i]);
	ch->n_queued = 0;
}

static void heartbeat_answered(struct portal_channel *ch, uint64_t ref)
{
	for (size_t i = 0; i < ch->n_unanswered; i++) {
		if (ch->unanswered[i] == ref) {
			ch->unanswered[i] = ch->unanswered[--ch->n_unanswered];
			return;
		}
	}
}

/* A line about something that the portal sent, unless there were too many. */
static void noise(struct portal_channel *ch, const char *message, const char *reason)
{
	if (ch->now_us >= ch->noise_until_us) {
		ch->noise_until_us = add_us(ch->now_us, NOISE_S * US_PER_S);
		ch->noise_lines = 0;
	}
	if (ch->noise_lines == NOISE_LINES) {
		ch->noise_hidden++;
		return;
	}
	ch->noise_lines++;
	log_at(ch->cfg.log, LOG_WARN, "phoenix_channel", message, KV_STR("reason", reason),
	       KV_INT("hidden_before", ch->noise_hidden));
	ch->noise_hidden = 0;
}

static bool join_refused_for_good(const char *reason)
{
	return strcmp(reason, "disabled") == 0 || strcmp(reason, "invalid_version") == 0;
}

static void reply(struct portal_channel *ch, const struct portal_envelope *env)
{
	if (!env->has_ref)
		return;
	if (ch->state == JOINING && env->ref == ch->join_ref) {
		if (env->reply_ok)
			joined(ch);
		else if (join_refused_for_good(env->reason))
			doom(ch, "Failed to login with portal: the join was refused");
		else
			break_off(ch, "the join was refused");
		return;
	}
	if (env->reply_ok) {
		heartbeat_answered(ch, env->ref);
		return;
	}
	if (strcmp(env->reason, "unmatched topic") == 0 && !env->topic_phoenix &&
	    ch->state == READY) {
		if (ch->rejoined_us != 0 && ch->now_us - ch->rejoined_us < rejoin_us) {
			break_off(ch, "the portal keeps forgetting our channel");
			return;
		}
		ch->rejoined_us = ch->now_us;
		push_kind(ch, PORTAL_OUT_LOST);
		join(ch);
		return;
	}
	noise(ch, "Portal refused a message", env->reason);
}

static void on_text(void *ctx, const char *text, size_t len)
{
	struct portal_channel *ch = ctx;
	struct portal_envelope env;
	struct portal_out out = {.kind = PORTAL_OUT_MESSAGE};

	if (ch->broken)
		return;
	portal_parse(&env, text, len);
	switch (env.event) {
	case PORTAL_EVENT_MESSAGE:
		if (ch->state == READY) {
			out.u.msg = env.msg;
			push(ch, &out);
			sodium_memzero(&out, sizeof(out));
			sodium_memzero(&env, sizeof(env));
		} else {
			portal_msg_free(&env.msg);
		}
		break;
	case PORTAL_EVENT_REPLY:
		reply(ch, &env);
		break;
	case PORTAL_EVENT_CLOSE:
		break_off(ch, "the portal closed the channel");
		break;
	case PORTAL_EVENT_DISCONNECT:
		if (strcmp(env.reason, "token_expired") == 0)
			doom(ch,
			     "Failed to login to portal: Authentication token invalid (the portal "
			     "ended this session: token deleted, or another gateway with this id)");
		else
			break_off(ch, "the portal told us to disconnect");
		break;
	case PORTAL_EVENT_IGNORED:
		noise(ch, "Message from portal ignored", env.why);
		break;
	case PORTAL_EVENT_BROKEN:
		break_off(ch, env.why);
		break;
	}
}

static void on_binary(void *ctx)
{
	noise(ctx, "Message from portal ignored", "binary frame");
}

static bool on_write(void *ctx, const uint8_t *data, size_t len)
{
	return tx_add(ctx, data, len);
}

static void websocket_bytes(struct portal_channel *ch, const uint8_t *data, size_t len)
{
	const char *why = websocket_read(ch->ws, data, len, ch->now_us);

	if (why)
		break_off(ch, why);
}

static void websocket_up(struct portal_channel *ch)
{
	struct websocket_config cfg = {
	    .max_message = PORTAL_MAX_MESSAGE,
	    .rng = ch->cfg.rng,
	    .write = on_write,
	    .text = on_text,
	    .binary = on_binary,
	    .ctx = ch,
	};

	ch->ws = websocket_new(&cfg);
	if (!ch->ws) {
		break_off(ch, "out of memory");
		return;
	}
	ch->heartbeat_at_us = ch->now_us + heartbeat_us;
	ch->rejoined_us = 0;
	join(ch);
}

/* A refusal's body says why in a few words; nothing else of it is used. */
static void log_refusal(struct portal_channel *ch, unsigned int status, const char *body,
			size_t len)
{
	bool truncated;
	cJSON *root = json_parse(body, len, &truncated);
	char code[64] = "", detail[160] = "";

	if (!json_text_cut(root, "code", code, sizeof(code)))
		code[0] = '\0';
	if (!json_text_cut(root, "detail", detail, sizeof(detail)))
		detail[0] = '\0';
	cJSON_Delete(root);
	log_at(ch->cfg.log, LOG_WARN, "phoenix_channel", "Portal refused the connection",
	       KV_INT("status", status), KV_STR("code", code), KV_STR("detail", detail));
}

static void upgrade_bytes(struct portal_channel *ch, const uint8_t *data, size_t len, bool closed)
{
	struct http_answer answer;
	size_t n = min_size(len, sizeof(ch->head) - ch->head_len);
	size_t body;
	char why[64];

	memcpy(ch->head + ch->head_len, data, n);
	ch->head_len += n;
	switch (http_answer_read(&answer, ch->head, ch->head_len, ch->key,
				 ch->cfg.wall_s(ch->cfg.ctx))) {
	case HTTP_MORE:
		return;
	case HTTP_BAD:
		break_off(ch, "the portal's answer is not HTTP");
		return;
	case HTTP_DONE:
		break;
	}
	body = ch->head_len - answer.header_len;
	if (answer.upgraded) {
		websocket_up(ch);
		/* Bytes behind the head belong to the WebSocket already. */
		if (ch->ws && body > 0)
			websocket_bytes(ch, (const uint8_t *)ch->head + answer.header_len, body);
		if (len > n)
			break_off(ch, "the portal sent too much before the join");
		return;
	}
	if (body < answer.body_len && !closed && n == len)
		return;
	log_refusal(ch, answer.status, ch->head + answer.header_len, min_size(body, HTTP_MAX_BODY));
	if (answer.status == 401) {
		fatal(ch, "Failed to login to portal: Authentication token invalid");
		return;
	}
	snprintf(why, sizeof(why),
		 answer.status == 101 ? "the WebSocket upgrade is wrong" : "HTTP status %u",
		 answer.status);
	retry(ch, why, answer.retry_after_s);
}

static void send_upgrade(struct portal_channel *ch)
{
	struct http_upgrade upgrade = {
	    .host = ch->cfg.host,
	    .target = ch->cfg.request_target,
	    .user_agent = ch->cfg.user_agent,
	    .token = ch->cfg.token,
	};
	char request[MAX_REQUEST];
	uint8_t key[16];
	size_t len;

	rng_fill(&ch->cfg.rng, key, sizeof(key));
	sodium_bin2base64(ch->key, sizeof(ch->key), key, sizeof(key),
			  sodium_base64_VARIANT_ORIGINAL);
	memcpy(upgrade.key, ch->key, sizeof(upgrade.key));
	len = http_upgrade_write(&upgrade, request, sizeof(request));
	ch->state = UPGRADING;
	if (len == 0 || !tx_add(ch, request, len))
		break_off(ch, "the upgrade request is too long");
	sodium_memzero(request, sizeof(request));
}

static void bytes_in(struct portal_channel *ch, const uint8_t *data, size_t len)
{
	if (ch->state == UPGRADING) {
		upgrade_bytes(ch, data, len, false);
		return;
	}
	if (ch->state != JOINING && ch->state != READY)
		return;
	websocket_bytes(ch, data, len);
}

/* The text up to its last member, which is the ref. */
static size_t len_without_ref(const char *text)
{
	const char *comma = strrchr(text, ',');

	return comma ? (size_t)(comma - text) : strlen(text);
}

/* A message equal to one that waits for the join already is not queued again. [spec portal 4.4] */
static bool is_queued(const struct portal_channel *ch, const char *text)
{
	size_t len = len_without_ref(text);

	for (size_t i = 0; i < ch->n_queued; i++)
		if (len_without_ref(ch->queued[i]) == len && memcmp(ch->queued[i], text, len) == 0)
			return true;
	return false;
}

static void send_message(struct portal_channel *ch, const struct portal_send *send)
{
	char *text;

	if (ch->state != READY && ch->state != JOINING)
		return;
	text = portal_print(send, ch->next_ref++);
	if (ch->state == READY) {
		send_text(ch, text);
	} else if (text && is_queued(ch, text)) {
		ch->next_ref--;
		free(text);
	} else if (text && ch->n_queued < MAX_QUEUED) {
		ch->queued[ch->n_queued++] = text;
	} else {
		free(text);
		break_off(ch, "too many messages wait for the join");
	}
}

static void shut_down(struct portal_channel *ch)
{
	if (ch->state == JOINING || ch->state == READY)
		websocket_close(ch->ws);
	hang_up(ch);
	ch->state = ENDED;
	ch->state_until_us = NEVER_US;
}

static void heartbeat(struct portal_channel *ch)
{
	if (ch->n_unanswered == MAX_UNANSWERED) {
		break_off(ch, "the portal does not answer heartbeats");
		return;
	}
	ch->unanswered[ch->n_unanswered++] = ch->next_ref;
	ch->heartbeat_at_us = ch->now_us + heartbeat_us;
	send_kind(ch, PORTAL_SEND_HEARTBEAT);
}

static uint64_t message_until_us(const struct portal_channel *ch)
{
	return ch->ws ? add_us(websocket_message_since_us(ch->ws), message_us) : NEVER_US;
}

static void timeout(struct portal_channel *ch)
{
	if (ch->state_until_us <= ch->now_us) {
		switch (ch->state) {
		case WAITING:
			dial(ch);
			break;
		case DIALING:
		case UPGRADING:
			retry(ch, "timed out", HTTP_NO_RETRY_AFTER);
			break;
		case JOINING:
			retry(ch, "the join was not answered in time", HTTP_NO_RETRY_AFTER);
			break;
		case IDLE:
		case READY:
		case ENDED:
			ch->state_until_us = NEVER_US;
			break;
		}
	}
	if (ch->heartbeat_at_us <= ch->now_us)
		heartbeat(ch);
	if (message_until_us(ch) <= ch->now_us)
		break_off(ch, "a message took too long to arrive");
}

static void closed(struct portal_channel *ch, const char *reason)
{
	if (ch->state == UPGRADING)
		upgrade_bytes(ch, (const uint8_t *)"", 0, true);
	if (ch->state == DIALING || connected(ch))
		retry(ch, reason, HTTP_NO_RETRY_AFTER);
}

void portal_channel_handle(struct portal_channel *ch, const struct portal_in *in, uint64_t now_us)
{
	ch->now_us = now_us;
	if (ch->state == ENDED)
		return;
	switch (in->kind) {
	case PORTAL_IN_START:
		dial(ch);
		break;
	case PORTAL_IN_CONNECTED:
		if (ch->state == DIALING)
			send_upgrade(ch);
		break;
	case PORTAL_IN_BYTES:
		bytes_in(ch, in->u.bytes.data, in->u.bytes.len);
		break;
	case PORTAL_IN_CLOSED:
		closed(ch, in->u.reason);
		break;
	case PORTAL_IN_SEND:
		send_message(ch, &in->u.send);
		break;
	case PORTAL_IN_RECONNECT:
		hang_up(ch);
		if (ch->ever_joined) {
			ch->clock_running = false;
			ch->backoff_us = backoff_first_us;
		}
		dial(ch);
		break;
	case PORTAL_IN_SHUTDOWN:
		shut_down(ch);
		break;
	case PORTAL_IN_TIMEOUT:
		timeout(ch);
		break;
	}
	if (ch->doomed && ch->state != ENDED)
		fatal(ch, ch->broken_why);
	else if (ch->broken && ch->state != ENDED)
		retry(ch, ch->broken_why, HTTP_NO_RETRY_AFTER);
}

bool portal_channel_poll(struct portal_channel *ch, struct portal_out *out)
{
	tx_clear_taken(ch);
	if (ch->tx_len > 0) {
		memset(out, 0, sizeof(*out));
		out->kind = PORTAL_OUT_WRITE;
		out->u.write.data = ch->tx;
		out->u.write.len = ch->tx_len;
		ch->tx_taken = true;
		return true;
	}
	if (ch->outs_at == ch->n_outs) {
		ch->outs_at = 0;
		ch->n_outs = 0;
		return false;
	}
	*out = ch->outs[ch->outs_at];
	sodium_memzero(&ch->outs[ch->outs_at], sizeof(ch->outs[0]));
	ch->outs_at++;
	return true;
}

uint64_t portal_channel_deadline(const struct portal_channel *ch)
{
	uint64_t at = min_u64(ch->state_until_us, ch->heartbeat_at_us);

	if (ch->state == READY)
		at = ch->heartbeat_at_us;
	return min_u64(at, message_until_us(ch));
}

bool portal_channel_joined(const struct portal_channel *ch)
{
	return ch->state == READY;
}
