/*
 * Foreign datagrams against an interface that has one peer with a live session: classification,
 * handshake messages, cookie replies and data. Behind it: handshake.c, noise.c, cookie.c,
 * session.c.
 *
 * Input: a mode byte, then the datagram (raw), or changes to a genuine message. Properties: a
 * changed message is never taken, a refused one leaves no answer, no state and its own bytes; only
 * a stamped handshake message beyond the limit is answered, with a cookie.
 */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/secret.h"
#include "packet/bytes.h"
#include "wireguard/peer.h"
#include "wireguard/wg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define CHECK(cond) ((cond) ? (void)0 : abort())

enum {
	ROOM = 2048,
	NOW_US = 5000000,
	LATER_US = 6000000,
};

enum mode {
	MODE_RAW,        /* the input is the datagram */
	MODE_STAMPED,    /* the same, with a valid MAC1 if it is a handshake message */
	MODE_BUSY,       /* the same, beyond the limit */
	MODE_TO_SESSION, /* the input is a data message to the live session */
	MODE_INITIATION, /* the input changes a genuine message of this kind */
	MODE_RESPONSE,
	MODE_DATA,
	MODES,
};

struct world {
	struct secret_arena *arena;
	struct rng_seeded seeded[2];
	struct wg *wg[2];
	struct wg_peer *peer[2];
	uint8_t room[WG_SCRATCH + ROOM];
	uint8_t before[WG_SCRATCH + ROOM];
	size_t len;
};

static uint8_t *message(struct world *w)
{
	return w->room + WG_SCRATCH;
}

static struct endpoint source(void)
{
	const uint8_t bytes[4] = {198, 51, 100, 7};

	return (struct endpoint){.ip = ip_v4(bytes), .port = 1234};
}

/* The next message of a side into the room; false when it is silent. */
static bool next_message(struct world *w, int from, uint64_t now_us)
{
	struct wg_event event;

	while (wg_peer_poll(w->peer[from], &event, now_us)) {
		if (event.kind != WG_EVENT_SEND)
			continue;
		memcpy(message(w), event.data, event.len);
		w->len = event.len;
		return true;
	}
	return false;
}

static bool deliver(struct world *w, int to, uint64_t now_us)
{
	struct endpoint src = source();
	struct wg_peer *peer;
	uint8_t *inner;
	size_t inner_len;

	if (wg_classify(message(w), w->len) != WG_DATA)
		return wg_handshake(w->wg[to], message(w), w->len, &src, now_us) != NULL;
	return wg_open(w->wg[to], message(w), w->len, now_us, &peer, &inner, &inner_len) !=
	       WG_OPEN_REFUSED;
}

static uint64_t seed_of(const uint8_t *data, size_t len)
{
	uint8_t hash[crypto_generichash_BYTES];
	struct reader r = reader_of(hash, sizeof(hash));

	crypto_generichash(hash, sizeof(hash), data, len, NULL, 0);
	return rd_u64(&r);
}

/* The keys follow from the input, so that a fuzzer cannot learn the genuine messages of one key. */
static void set_up(struct world *w, uint64_t seed)
{
	const uint8_t psk[WG_KEY_LEN] = {1};
	struct wg_config cfg = {.max_peers = 3, .unix_us = 1000};

	CHECK(sodium_init() >= 0);
	w->arena = secret_arena_new(8);
	CHECK(w->arena);
	cfg.arena = w->arena;
	for (uint64_t i = 0; i < 2; i++) {
		cfg.rng = rng_from_seed(&w->seeded[i], seed + i);
		w->wg[i] = wg_new(&cfg, 0);
		CHECK(w->wg[i]);
	}
	for (int i = 0; i < 2; i++) {
		CHECK(wg_peer_add(w->wg[i], wg_public_key(w->wg[!i]), psk, w, 0, &w->peer[i]) == 0);
		wg_peer_set_path(w->peer[i], true, 0);
	}
	CHECK(!wg_can_seal(w->peer[1], NOW_US));
	for (int turn = 0; turn < 3; turn++) {
		CHECK(next_message(w, !(turn % 2), NOW_US));
		CHECK(deliver(w, turn % 2, NOW_US));
	}
	CHECK(wg_peer_established(w->peer[0]) && wg_peer_established(w->peer[1]));
	while (next_message(w, 0, NOW_US))
		CHECK(false);
}

static void tear_down(struct world *w)
{
	for (int i = 0; i < 2; i++)
		wg_free(w->wg[i]);
	CHECK(secret_slots_free(w->arena) == 8);
	secret_arena_free(w->arena);
	free(w);
}

/* A genuine message to side 0 of the kind that the mode says. */
static void make_genuine(struct world *w, enum mode mode, struct reader *in)
{
	if (mode == MODE_INITIATION) {
		w->peer[1]->due |= WG_DUE_INITIATION;
		CHECK(next_message(w, 1, LATER_US));
	} else if (mode == MODE_RESPONSE) {
		w->peer[0]->due |= WG_DUE_INITIATION;
		CHECK(next_message(w, 0, LATER_US));
		CHECK(deliver(w, 1, LATER_US));
		CHECK(next_message(w, 1, LATER_US));
	} else {
		size_t inner_len = rd_u16(in) % (ROOM - WG_OVERHEAD);

		memset(message(w) + WG_DATA_HEADER, 7, inner_len);
		w->len = wg_seal(w->peer[1], message(w), inner_len, LATER_US);
		CHECK(w->len == inner_len + WG_OVERHEAD);
	}
}

/* Pairs of {position, bits}. True when something differs from the genuine message. */
static bool change(struct world *w, struct reader *in)
{
	uint8_t genuine[ROOM];
	size_t len = w->len;

	memcpy(genuine, message(w), len);
	while (in->left >= 3) {
		size_t at = rd_u16(in) % (w->len + 1);
		uint8_t bits = rd_u8(in);

		if (at < w->len)
			message(w)[at] ^= bits;
		else if (bits < w->len)
			w->len -= bits;
	}
	/* MAC2 counts only under load. */
	if (wg_classify(genuine, len) != WG_DATA && w->len == len)
		return memcmp(genuine, message(w), len - WG_MAC_LEN) != 0;
	return w->len != len || memcmp(genuine, message(w), len) != 0;
}

static void stamp(struct world *w)
{
	enum wg_msg_type type = wg_classify(message(w), w->len);

	if (type == WG_INITIATION || type == WG_RESPONSE)
		wg_cookie_stamp(w->wg[0]->crypto, wg_public_key(w->wg[0]), NULL, message(w),
				w->len);
}

/* True when the datagram is a changed or foreign one, so that it must be refused. */
static bool make_datagram(struct world *w, enum mode mode, struct reader *in)
{
	struct writer head;

	if (mode >= MODE_INITIATION) {
		make_genuine(w, mode, in);
		return change(w, in);
	}
	w->len = min_size(in->left, ROOM);
	rd_copy(in, message(w), w->len);
	if (mode == MODE_TO_SESSION) {
		head = writer_of(message(w), w->len);
		wr_le32(&head, WG_DATA);
		wr_le32(&head, w->peer[0]->current->local_index);
	} else if (mode != MODE_RAW) {
		stamp(w);
	}
	return true;
}

static void check_class(struct world *w)
{
	enum wg_msg_type type = wg_classify(message(w), w->len);
	struct reader r = reader_of(message(w), w->len);
	uint32_t word = rd_le32(&r);

	CHECK(type == WG_NOT_WIREGUARD || (!r.bad && word == (uint32_t)type));
	CHECK(type != WG_DATA || w->len >= WG_OVERHEAD);
	CHECK(type != WG_INITIATION || w->len == WG_INITIATION_LEN);
	CHECK(type != WG_RESPONSE || w->len == WG_RESPONSE_LEN);
	CHECK(type != WG_COOKIE_REPLY || w->len == WG_COOKIE_REPLY_LEN);
}

/* A refused message has no effect but a counter. */
static void check_untouched(struct world *w, const struct wg_peer *was, bool cookie_allowed)
{
	struct wg_peer *peer = w->peer[0];
	struct endpoint dst;
	const uint8_t *reply;
	size_t len;

	CHECK(memcmp(w->room, w->before, sizeof(w->room)) == 0);
	CHECK(peer->current == was->current && peer->session_counter == was->session_counter);
	CHECK(memcmp(peer->sessions, was->sessions, sizeof(peer->sessions)) == 0);
	CHECK(memcmp(peer->last_timestamp, was->last_timestamp, WG_TIMESTAMP_LEN) == 0);
	for (int i = 0; i < WG_PENDING; i++) {
		CHECK(peer->pending[i].active == was->pending[i].active);
		CHECK(peer->pending[i].index == was->pending[i].index);
	}
	CHECK(peer->due == was->due && peer->held == was->held && peer->said == was->said);
	CHECK(peer->keepalive_us == was->keepalive_us);
	if (wg_poll(w->wg[0], &dst, &reply, &len)) {
		struct endpoint src = source();

		CHECK(cookie_allowed && len == WG_COOKIE_REPLY_LEN && len < w->len);
		CHECK(endpoint_eq(&src, &dst));
		CHECK(wg_classify(reply, len) == WG_COOKIE_REPLY);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct reader in = reader_of(data, len);
	enum mode mode = (enum mode)(rd_u8(&in) % MODES);
	struct world *w = calloc(1, sizeof(*w));
	struct wg_peer was;
	uint64_t next;
	bool foreign, taken;

	CHECK(w);
	set_up(w, seed_of(data, len));
	foreign = make_datagram(w, mode, &in);
	check_class(w);
	if (mode == MODE_BUSY)
		w->wg[0]->gate.in_second = WG_HANDSHAKES_PER_S;
	w->wg[0]->gate.second_us = LATER_US;
	memcpy(w->before, w->room, sizeof(w->room));
	was = *w->peer[0];
	next = was.current->replay.next;
	taken = deliver(w, 0, LATER_US);
	CHECK(taken != foreign);
	if (!taken) {
		check_untouched(w, &was, mode == MODE_BUSY);
		CHECK(w->peer[0]->current->replay.next == next);
	}
	CHECK(memcmp(w->room, w->before, WG_SCRATCH) == 0);
	tear_down(w);
	return 0;
}
