#include "harness.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/secret.h"

static void test_fill(void *ctx, void *buf, size_t len)
{
	struct test_rng *state = ctx;

	if (state->next32 && len == WG_KEY_LEN) {
		memcpy(buf, state->next32, len);
		state->next32 = NULL;
		return;
	}
	rng_fill(&state->rng, buf, len);
}

struct rng test_rng(struct test_rng *state, uint64_t seed)
{
	state->next32 = NULL;
	state->rng = rng_from_seed(&state->seeded, seed);
	return (struct rng){.fill = test_fill, .ctx = state};
}

uint8_t *datagram_bytes(struct datagram *d)
{
	return d->room + WG_SCRATCH;
}

struct endpoint test_source(uint8_t last_byte)
{
	const uint8_t bytes[4] = {203, 0, 113, last_byte};

	return (struct endpoint){.ip = ip_v4(bytes), .port = 40000};
}

int pair_setup(void **state)
{
	const uint8_t psk[WG_KEY_LEN] = {1, 2, 3};
	struct pair *p = calloc(1, sizeof(*p));
	struct wg_config cfg = {.max_peers = 8, .unix_us = UINT64_C(1700000000) * US_PER_S};

	assert_non_null(p);
	assert_true(sodium_init() >= 0);
	p->arena = secret_arena_new(32);
	assert_non_null(p->arena);
	cfg.arena = p->arena;
	p->now_us = 1000 * US_PER_S;
	for (int i = 0; i < 2; i++) {
		cfg.rng = test_rng(&p->side[i].rng, (uint64_t)i + 1);
		p->side[i].wg = wg_new(&cfg, p->now_us);
		assert_non_null(p->side[i].wg);
	}
	for (int i = 0; i < 2; i++) {
		assert_int_equal(wg_peer_add(p->side[i].wg, wg_public_key(p->side[!i].wg), psk, p,
					     p->now_us, &p->side[i].peer),
				 0);
		wg_peer_set_path(p->side[i].peer, true, p->now_us);
	}
	*state = p;
	return 0;
}

int pair_teardown(void **state)
{
	struct pair *p = *state;

	for (int i = 0; i < 2; i++)
		wg_free(p->side[i].wg);
	assert_int_equal(secret_slots_free(p->arena), 32);
	secret_arena_free(p->arena);
	free(p);
	return 0;
}

bool side_send(struct pair *p, int from, struct datagram *out)
{
	struct side *side = &p->side[from];
	struct wg_event event;

	while (wg_peer_poll(side->peer, &event, p->now_us)) {
		switch (event.kind) {
		case WG_EVENT_SEND:
			assert_true(event.len <= TEXT_MAX);
			memcpy(datagram_bytes(out), event.data, event.len);
			out->len = event.len;
			return true;
		case WG_EVENT_ESTABLISHED:
			side->established++;
			break;
		case WG_EVENT_EXPIRED:
			side->expired++;
			break;
		}
	}
	assert_false(wg_peer_pending(side->peer));
	return false;
}

void side_expect(struct pair *p, int from, enum wg_msg_type type, struct datagram *out)
{
	assert_true(side_send(p, from, out));
	assert_int_equal(wg_classify(datagram_bytes(out), out->len), type);
}

void side_expect_silence(struct pair *p, int from)
{
	struct datagram d;

	assert_false(side_send(p, from, &d));
}

bool side_take(struct pair *p, int to, struct datagram *d)
{
	struct side *side = &p->side[to];
	struct endpoint src = test_source((uint8_t)(10 + to));
	struct wg_peer *peer;
	uint8_t *inner;
	size_t inner_len;

	if (wg_classify(datagram_bytes(d), d->len) == WG_DATA)
		return wg_open(side->wg, datagram_bytes(d), d->len, p->now_us, &peer, &inner,
			       &inner_len) != WG_OPEN_REFUSED;
	return wg_handshake(side->wg, datagram_bytes(d), d->len, &src, p->now_us) == side->peer;
}

void pair_run_to(struct pair *p, uint64_t now_us)
{
	for (;;) {
		uint64_t first =
		    min_u64(wg_peer_deadline(p->side[0].peer), wg_peer_deadline(p->side[1].peer));

		if (first > now_us)
			break;
		if (first > p->now_us)
			p->now_us = first;
		for (int i = 0; i < 2; i++) {
			struct wg_peer *peer = p->side[i].peer;

			if (wg_peer_deadline(peer) > p->now_us)
				continue;
			wg_peer_timeout(peer, p->now_us);
			/* A timer that fired is not due again at once. */
			assert_true(wg_peer_deadline(peer) > p->now_us);
			if (wg_peer_pending(peer))
				return;
		}
	}
	p->now_us = now_us;
}

void pair_exchange(struct pair *p)
{
	bool moved = true;

	for (int turn = 0; moved && turn < 32; turn++) {
		moved = false;
		for (int i = 0; i < 2; i++) {
			struct datagram d;

			while (side_send(p, i, &d)) {
				(void)side_take(p, !i, &d);
				moved = true;
			}
		}
	}
	assert_false(moved);
}

void pair_initiate(struct pair *p, struct datagram *out)
{
	assert_false(wg_can_seal(p->side[CLIENT].peer, p->now_us));
	side_expect(p, CLIENT, WG_INITIATION, out);
	assert_true(side_take(p, GATEWAY, out));
}

void pair_handshake(struct pair *p, int from)
{
	const uint64_t ok = p->side[!from].wg->counters.handshakes_ok;
	struct wg_session *before = p->side[!from].peer->current;

	p->side[from].peer->due |= WG_DUE_INITIATION;
	pair_exchange(p);
	assert_int_equal(p->side[!from].wg->counters.handshakes_ok, ok + 1);
	assert_true(wg_peer_established(p->side[0].peer));
	assert_true(wg_peer_established(p->side[1].peer));
	assert_ptr_not_equal(p->side[!from].peer->current, before);
}

size_t side_seal(struct pair *p, int from, uint8_t fill, size_t len, struct datagram *out)
{
	uint8_t *msg = datagram_bytes(out);

	assert_true(len <= TEXT_MAX);
	memset(out->room, 0x5a, WG_SCRATCH);
	memset(msg + WG_DATA_HEADER, fill, len);
	out->len = wg_seal(p->side[from].peer, msg, len, p->now_us);
	for (size_t i = 0; i < WG_SCRATCH; i++)
		assert_int_equal(out->room[i], 0x5a);
	return out->len;
}

bool side_open(struct pair *p, int to, struct datagram *d, uint8_t fill, size_t len)
{
	struct side *side = &p->side[to];
	struct wg_peer *peer = NULL;
	uint8_t *inner = NULL;
	size_t inner_len = 0;

	memset(d->room, 0xa5, WG_SCRATCH);
	if (wg_open(side->wg, datagram_bytes(d), d->len, p->now_us, &peer, &inner, &inner_len) ==
	    WG_OPEN_REFUSED) {
		assert_null(peer);
		return false;
	}
	assert_ptr_equal(peer, side->peer);
	assert_ptr_equal(wg_peer_owner(peer), p);
	assert_int_equal(inner_len, len);
	for (size_t i = 0; i < len; i++)
		assert_int_equal(inner[i], fill);
	for (size_t i = 0; i < WG_SCRATCH; i++)
		assert_int_equal(d->room[i], 0xa5);
	return true;
}

void pair_data(struct pair *p, int from)
{
	struct datagram d;

	assert_int_equal(side_seal(p, from, 0x42, 100, &d), 100 + WG_OVERHEAD);
	assert_true(side_open(p, !from, &d, 0x42, 100));
}
