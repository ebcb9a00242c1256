/*
 * Two interfaces, a wire that loses, repeats and reorders, paths that come and go, and a clock that
 * jumps: the input is the sequence of events.
 *
 * Properties: a packet arrives unchanged, at most once and within a session's life; nothing is sent
 * without a path; deadlines move on when they have fired; tables stay within their limits; an
 * expired peer is silent; and when the trouble ends, the two talk again unless one has expired.
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
	WIRE = 32,
	PACKET = 24,
	ROOM = WG_SCRATCH + WG_INITIATION_LEN,
	EVENTS = 400,
	TROUBLE_OVER_S = 200, /* more than a session's rekey and a retry */
	PACKETS = EVENTS + 2 * TROUBLE_OVER_S + 2,
};

struct flight {
	uint8_t room[ROOM];
	size_t len;
	int to;
	uint64_t sealed_us;
};

struct world {
	struct secret_arena *arena;
	struct rng_seeded seeded[2];
	struct wg *wg[2];
	struct wg_peer *peer[2];
	bool expired[2];
	uint64_t now_us;
	struct flight wire[WIRE];
	size_t flying;
	uint32_t packets; /* number of the next packet, which is also its content */
	bool arrived[PACKETS];
	uint64_t sealed_us[PACKETS];
};

static void set_up(struct world *w)
{
	const uint8_t psk[WG_KEY_LEN] = {1};
	struct wg_config cfg = {.max_peers = 2, .unix_us = 1000};

	CHECK(sodium_init() >= 0);
	w->arena = secret_arena_new(8);
	CHECK(w->arena);
	cfg.arena = w->arena;
	for (uint64_t i = 0; i < 2; i++) {
		cfg.rng = rng_from_seed(&w->seeded[i], i);
		w->wg[i] = wg_new(&cfg, 0);
		CHECK(w->wg[i]);
	}
	for (int i = 0; i < 2; i++)
		CHECK(wg_peer_add(w->wg[i], wg_public_key(w->wg[!i]), psk, w, 0, &w->peer[i]) == 0);
}

static struct flight *launch(struct world *w, int from, size_t len)
{
	struct flight *f;

	CHECK(len <= ROOM - WG_SCRATCH);
	if (w->flying == WIRE)
		memmove(w->wire, w->wire + 1, --w->flying * sizeof(w->wire[0]));
	f = &w->wire[w->flying++];
	f->to = !from;
	f->len = len;
	return f;
}

static void drain(struct world *w, int side)
{
	struct wg_peer *peer = w->peer[side];
	struct wg_event event;

	while (wg_peer_poll(peer, &event, w->now_us)) {
		CHECK(!w->expired[side]);
		if (event.kind == WG_EVENT_EXPIRED) {
			w->expired[side] = true;
			continue;
		}
		if (event.kind == WG_EVENT_ESTABLISHED)
			continue;
		CHECK(peer->has_path);
		CHECK(wg_classify(event.data, event.len) != WG_NOT_WIREGUARD);
		memcpy(launch(w, side, event.len)->room + WG_SCRATCH, event.data, event.len);
	}
	CHECK(!wg_peer_pending(peer));
}

static void send_packet(struct world *w, int from)
{
	uint8_t msg[ROOM] = {0};
	struct writer text = writer_of(msg + WG_SCRATCH + WG_DATA_HEADER, PACKET);
	bool can = wg_can_seal(w->peer[from], w->now_us);
	size_t len;

	if (w->packets == PACKETS)
		return;
	for (int i = 0; i < PACKET / 4; i++)
		wr_u32(&text, w->packets);
	len = wg_seal(w->peer[from], msg + WG_SCRATCH, PACKET, w->now_us);
	CHECK(can == (len > 0));
	if (len == 0)
		return;
	CHECK(len == PACKET + WG_OVERHEAD);
	memcpy(launch(w, from, len)->room, msg, sizeof(msg));
	w->sealed_us[w->packets++] = w->now_us;
}

static void check_packet(struct world *w, const uint8_t *inner, size_t len)
{
	struct reader r = reader_of(inner, len);
	uint32_t number = rd_u32(&r);

	CHECK(len == PACKET && number < w->packets && !w->arrived[number]);
	for (int i = 1; i < PACKET / 4; i++)
		CHECK(rd_u32(&r) == number);
	w->arrived[number] = true;
	/* Not later than the life of both ends' session; they began at most a retry apart. */
	CHECK(w->now_us - w->sealed_us[number] <= WG_REJECT_AFTER_US);
}

/* One copy of the flight arrives; the flight itself stays. */
static void arrive(struct world *w, const struct flight *f)
{
	struct endpoint src = {.port = 9}, dst;
	const int to = f->to;
	uint8_t room[ROOM];
	struct wg_peer *peer;
	const uint8_t *reply;
	uint8_t *inner;
	size_t len;

	memcpy(room, f->room, sizeof(room));
	if (wg_classify(room + WG_SCRATCH, f->len) != WG_DATA) {
		peer = wg_handshake(w->wg[to], room + WG_SCRATCH, f->len, &src, w->now_us);
		CHECK(!peer || (peer == w->peer[to] && !w->expired[to]));
		if (wg_poll(w->wg[to], &dst, &reply, &len))
			memcpy(launch(w, to, len)->room + WG_SCRATCH, reply, len);
		return;
	}
	switch (wg_open(w->wg[to], room + WG_SCRATCH, f->len, w->now_us, &peer, &inner, &len)) {
	case WG_OPEN_PACKET:
		CHECK(peer == w->peer[to] && !w->expired[to]);
		check_packet(w, inner, len);
		break;
	case WG_OPEN_KEEPALIVE:
		CHECK(peer == w->peer[to] && len == 0);
		break;
	case WG_OPEN_REFUSED:
		CHECK(!peer);
		break;
	}
}

static void remove_flight(struct world *w, size_t at)
{
	w->flying--;
	memmove(&w->wire[at], &w->wire[at + 1], (w->flying - at) * sizeof(w->wire[0]));
}

static void take_flight(struct world *w, size_t at, bool keep)
{
	struct flight f;

	if (w->flying == 0)
		return;
	at %= w->flying;
	f = w->wire[at];
	if (!keep)
		remove_flight(w, at);
	arrive(w, &f);
}

static void fire(struct world *w, int side)
{
	if (wg_peer_deadline(w->peer[side]) > w->now_us)
		return;
	wg_peer_timeout(w->peer[side], w->now_us);
	CHECK(wg_peer_deadline(w->peer[side]) > w->now_us);
}

static void check_limits(const struct world *w, int side)
{
	const struct wg_peer *peer = w->peer[side];
	bool found = !peer->current;

	CHECK(peer->held <= WG_HELD_MESSAGES && (peer->held == 0) == !peer->head);
	CHECK(!peer->said || (peer->said->index == peer->last_index && peer->said->sent > 0 &&
			      peer->said->sent <= WG_REPEATS + 1));
	CHECK(peer->attempt_us == NEVER_US || w->now_us >= peer->attempt_us);
	for (size_t i = 0; i < WG_SESSIONS; i++) {
		const struct wg_session *session = peer->sessions[i];

		found = found || session == peer->current;
		CHECK(!session || session->local_index % WG_SESSIONS == i);
		CHECK(!session || !peer->expired);
	}
	CHECK(found && (!peer->current || peer->current->confirmed));
	CHECK(wg_peer_deadline(peer) <= add_us(peer->established_us, WG_DEAD_US) || peer->expired);
}

static void jump_to_deadline(struct world *w)
{
	uint64_t first = min_u64(wg_peer_deadline(w->peer[0]), wg_peer_deadline(w->peer[1]));

	if (first != NEVER_US && first > w->now_us)
		w->now_us = first;
}

static void run_event(struct world *w, struct reader *in)
{
	const uint8_t op = rd_u8(in);
	const int side = op & 1;
	uint8_t arg = rd_u8(in);

	switch (op >> 1 & 7) {
	case 0:
		send_packet(w, side);
		break;
	case 1:
		take_flight(w, arg, false);
		break;
	case 2:
		take_flight(w, arg, true);
		break;
	case 3:
		if (w->flying > 0)
			remove_flight(w, arg % w->flying);
		break;
	case 4:
		w->now_us += (uint64_t)arg * US_PER_S;
		break;
	case 5:
		w->now_us += (uint64_t)arg * 20 * US_PER_MS;
		break;
	case 6:
		wg_peer_set_path(w->peer[side], (arg & 3) != 0, w->now_us);
		break;
	case 7:
		jump_to_deadline(w);
		break;
	}
	for (int i = 0; i < 2; i++) {
		fire(w, i);
		drain(w, i);
		check_limits(w, i);
	}
}

static void empty_wire(struct world *w)
{
	for (int hops = 0; hops < 2 * WIRE && w->flying > 0; hops++) {
		take_flight(w, 0, false);
		drain(w, 0);
		drain(w, 1);
	}
}

/* With a wire without trouble and packets each second, in the end each side's packet gets through.
 */
static void check_recovery(struct world *w)
{
	for (int i = 0; i < 2; i++)
		wg_peer_set_path(w->peer[i], true, w->now_us);
	for (int s = 0; s < TROUBLE_OVER_S && !w->expired[0] && !w->expired[1]; s++) {
		w->now_us += US_PER_S;
		for (int i = 0; i < 2; i++) {
			fire(w, i);
			send_packet(w, i);
			drain(w, i);
		}
		empty_wire(w);
	}
	for (int i = 0; i < 2 && !w->expired[0] && !w->expired[1]; i++) {
		uint32_t number = w->packets;

		send_packet(w, i);
		CHECK(w->packets == number + 1);
		empty_wire(w);
		CHECK(w->arrived[number]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct reader in = reader_of(data, len);
	struct world *w = calloc(1, sizeof(*w));

	CHECK(w);
	set_up(w);
	for (int i = 0; i < EVENTS && in.left >= 2; i++)
		run_event(w, &in);
	check_recovery(w);
	for (int i = 0; i < 2; i++)
		wg_free(w->wg[i]);
	CHECK(secret_slots_free(w->arena) == 8);
	secret_arena_free(w->arena);
	free(w);
	return 0;
}
