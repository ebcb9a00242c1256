#include "harness.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"

/* The vectors' gateway as an interface: connection 0x123456, next session 1, next ephemeral key
 * fixed. */
struct gateway {
	cJSON *root;
	struct secret_arena *arena;
	struct test_rng rng;
	struct wg *wg;
	struct wg_peer *peer;
	uint8_t ephemeral[WG_KEY_LEN];
	uint8_t msg[WG_SCRATCH + 512];
	struct endpoint src;
};

static int gateway_setup(void **state)
{
	struct gateway *g = calloc(1, sizeof(*g));
	uint8_t private_key[32], client[32], psk[32];
	struct wg_config cfg = {.max_peers = 1, .unix_us = 1, .private_key = private_key};
	const cJSON *keys;

	assert_non_null(g);
	g->root = vectors_load(VECTORS_DIR "/connections-wireguard-handshake.json");
	keys = vectors_get(g->root, "keys");
	vectors_hex_exact(keys, "gateway_private", private_key, 32);
	vectors_hex_exact(keys, "client_public", client, 32);
	vectors_hex_exact(keys, "psk", psk, 32);
	vectors_hex_exact(keys, "gateway_ephemeral_private", g->ephemeral, 32);
	g->arena = secret_arena_new(8);
	cfg.arena = g->arena;
	cfg.rng = test_rng(&g->rng, 1);
	g->src = test_source(1);
	g->wg = wg_new(&cfg, 0);
	assert_non_null(g->wg);
	vectors_assert_hex(keys, "gateway_public", wg_public_key(g->wg), 32);
	assert_int_equal(wg_peer_add(g->wg, client, psk, g, 0, &g->peer), 0);
	g->peer->index = 0x123456;
	g->wg->index_mask = g->peer->index;
	g->wg->slots[0].index = g->peer->index;
	g->rng.next32 = g->ephemeral;
	*state = g;
	return 0;
}

static int gateway_teardown(void **state)
{
	struct gateway *g = *state;

	wg_free(g->wg);
	secret_arena_free(g->arena);
	cJSON_Delete(g->root);
	free(g);
	return 0;
}

static struct wg_peer *take(struct gateway *g, const cJSON *parent, const char *name)
{
	size_t len = vectors_hex(parent, name, g->msg, sizeof(g->msg));

	return wg_handshake(g->wg, g->msg, len, &g->src, 0);
}

/* Open a row of the vectors' data messages; true when the plaintext is as they say. */
static bool open_row(struct gateway *g, const cJSON *row)
{
	uint8_t *msg = g->msg + WG_SCRATCH;
	size_t len = vectors_hex(row, "hex", msg, sizeof(g->msg) - WG_SCRATCH);
	uint8_t *inner;
	size_t inner_len;
	struct wg_peer *peer;

	switch (wg_open(g->wg, msg, len, 0, &peer, &inner, &inner_len)) {
	case WG_OPEN_REFUSED:
		return false;
	case WG_OPEN_KEEPALIVE:
		assert_int_equal(inner_len, 0);
		break;
	case WG_OPEN_PACKET:
		assert_true(inner_len > 0);
		break;
	}
	assert_ptr_equal(peer, g->peer);
	vectors_assert_hex(row, "plaintext", inner, inner_len);
	return true;
}

static void seal_row(struct gateway *g, const cJSON *row)
{
	uint8_t *msg = g->msg + WG_SCRATCH;
	size_t len = vectors_hex(row, "plaintext", msg + WG_DATA_HEADER, 256);

	assert_int_equal(wg_seal(g->peer, msg, len, 0), len + WG_OVERHEAD);
	vectors_assert_hex(row, "hex", msg, len + WG_OVERHEAD);
}

static void transcript_runs_through_an_interface(void **state)
{
	struct gateway *g = *state;
	struct wg_event event;
	const cJSON *row;

	assert_ptr_equal(take(g, g->root, "handshake_initiation"), g->peer);
	assert_false(wg_peer_poll(g->peer, &event, 0));
	wg_peer_set_path(g->peer, true, 0);
	assert_true(wg_peer_poll(g->peer, &event, 0));
	assert_int_equal(event.kind, WG_EVENT_SEND);
	vectors_assert_hex(g->root, "handshake_response", event.data, event.len);

	cJSON_ArrayForEach(row, vectors_get(g->root, "transport"))
	{
		if (vectors_has(row, "expect"))
			assert_false(open_row(g, row));
		else if (strcmp(vectors_string(row, "dir"), "c2g") == 0)
			assert_true(open_row(g, row));
		else
			seal_row(g, row);
	}
	/* The forged message had counter 3, which stayed unused. */
	assert_true(wg_replay_may(&g->peer->current->replay, 3));
	assert_int_equal(g->peer->current->replay.next, 3);
}

static void rejects_of_the_vectors_meet_silence(void **state)
{
	struct gateway *g = *state;
	struct wg_event event;
	const cJSON *row;
	unsigned rows = 0;

	assert_ptr_equal(take(g, g->root, "handshake_initiation"), g->peer);
	wg_peer_set_path(g->peer, true, 0);
	assert_true(wg_peer_poll(g->peer, &event, 0));
	cJSON_ArrayForEach(row, vectors_get(g->root, "rejects"))
	{
		struct endpoint dst;
		const uint8_t *data;
		size_t len;

		assert_null(take(g, row, "hex"));
		assert_false(wg_peer_poll(g->peer, &event, 0));
		assert_false(wg_poll(g->wg, &dst, &data, &len));
		assert_int_equal(g->peer->session_counter, 1);
		rows++;
	}
	assert_int_equal(rows, 6);
	/* The same initiation again: its timestamp is no longer newer. */
	assert_null(take(g, g->root, "handshake_initiation"));
	assert_int_equal(g->wg->counters.handshakes_refused, rows + 1);
}

static void messages_are_classified_by_type_reserved_bytes_and_size(void **state)
{
	static const struct {
		enum wg_msg_type type;
		size_t len;
	} exact[] = {
	    {WG_INITIATION, WG_INITIATION_LEN},
	    {WG_RESPONSE, WG_RESPONSE_LEN},
	    {WG_COOKIE_REPLY, WG_COOKIE_REPLY_LEN},
	};
	uint8_t msg[256] = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(exact); i++) {
		msg[0] = (uint8_t)exact[i].type;
		assert_int_equal(wg_classify(msg, exact[i].len), exact[i].type);
		assert_int_equal(wg_classify(msg, exact[i].len - 1), WG_NOT_WIREGUARD);
		assert_int_equal(wg_classify(msg, exact[i].len + 1), WG_NOT_WIREGUARD);
	}
	msg[0] = WG_DATA;
	assert_int_equal(wg_classify(msg, 31), WG_NOT_WIREGUARD);
	assert_int_equal(wg_classify(msg, 32), WG_DATA);
	assert_int_equal(wg_classify(msg, 33), WG_DATA);
	for (size_t i = 1; i < 4; i++) {
		msg[i] = 1;
		assert_int_equal(wg_classify(msg, 32), WG_NOT_WIREGUARD);
		msg[i] = 0;
	}
	msg[0] = 5;
	assert_int_equal(wg_classify(msg, 32), WG_NOT_WIREGUARD);
	msg[0] = 0;
	assert_int_equal(wg_classify(msg, 32), WG_NOT_WIREGUARD);
	assert_int_equal(wg_classify(msg, 0), WG_NOT_WIREGUARD);
}

static void wrong_psk_establishes_nothing(void **state)
{
	struct pair *p = *state;
	struct datagram d;

	p->side[CLIENT].peer->secret->psk[0] ^= 1;
	pair_initiate(p, &d);
	side_expect(p, GATEWAY, WG_RESPONSE, &d);
	assert_false(side_take(p, CLIENT, &d));
	side_expect_silence(p, CLIENT);
	side_expect_silence(p, GATEWAY);
	assert_false(wg_peer_established(p->side[GATEWAY].peer));
	assert_false(wg_peer_established(p->side[CLIENT].peer));
}

static void response_is_held_until_there_is_a_path(void **state)
{
	struct pair *p = *state;
	struct wg_peer *gateway = p->side[GATEWAY].peer;
	struct datagram d, data;

	wg_peer_set_path(gateway, false, p->now_us);
	pair_initiate(p, &d);
	side_expect_silence(p, GATEWAY);
	wg_peer_set_path(gateway, true, p->now_us);
	assert_true(wg_peer_pending(gateway));
	side_expect(p, GATEWAY, WG_RESPONSE, &d);

	/* The client's path works earlier than ours: what it sends on it is opened. */
	wg_peer_set_path(gateway, false, p->now_us);
	assert_true(side_take(p, CLIENT, &d));
	assert_true(side_seal(p, CLIENT, 7, 50, &data) > 0);
	assert_true(side_open(p, GATEWAY, &data, 7, 50));
	assert_true(wg_peer_established(gateway));
}

static void held_messages_lose_the_oldest_when_there_are_many(void **state)
{
	struct pair *p = *state;
	struct wg_peer *gateway = p->side[GATEWAY].peer;
	struct datagram d;
	unsigned responses = 0;

	wg_peer_set_path(gateway, false, p->now_us);
	for (int i = 0; i < WG_HELD_MESSAGES + 2; i++) {
		p->side[CLIENT].peer->due |= WG_DUE_INITIATION;
		side_expect(p, CLIENT, WG_INITIATION, &d);
		/* The limit of a second stays out of this. */
		p->side[GATEWAY].wg->gate.in_second = 0;
		assert_true(side_take(p, GATEWAY, &d));
		p->now_us += 1;
	}
	wg_peer_set_path(gateway, true, p->now_us);
	for (; side_send(p, GATEWAY, &d); responses++) {
		/* The receiver index tells which initiation it answers: in order, the first two
		 * lost. */
		assert_int_equal(datagram_bytes(&d)[8], (uint8_t)(responses + 3));
	}
	assert_int_equal(responses, WG_HELD_MESSAGES);
}

/* The client's initiation reaches the gateway, whose answer goes along a path that is dead. */
static void lose_a_response(struct pair *p, struct datagram *lost)
{
	struct datagram d;

	pair_initiate(p, &d);
	side_expect(p, GATEWAY, WG_RESPONSE, lost);
	side_expect_silence(p, GATEWAY);
}

static void unanswered_response_goes_along_each_new_path_three_times_at_most(void **state)
{
	struct pair *p = *state;
	struct wg_peer *gateway = p->side[GATEWAY].peer;
	struct datagram lost, d;

	lose_a_response(p, &lost);
	for (int i = 0; i < WG_REPEATS; i++) {
		wg_peer_set_path(gateway, true, p->now_us);
		side_expect(p, GATEWAY, WG_RESPONSE, &d);
		assert_int_equal(d.len, lost.len);
		assert_memory_equal(datagram_bytes(&d), datagram_bytes(&lost), d.len);
		side_expect_silence(p, GATEWAY);
	}
	wg_peer_set_path(gateway, true, p->now_us);
	side_expect_silence(p, GATEWAY);
	/* The last one establishes the session. */
	assert_true(side_take(p, CLIENT, &d));
	pair_data(p, CLIENT);
	assert_true(wg_peer_established(gateway));
}

static void answered_response_is_not_said_again(void **state)
{
	struct pair *p = *state;

	pair_handshake(p, CLIENT);
	wg_peer_set_path(p->side[GATEWAY].peer, true, p->now_us);
	side_expect_silence(p, GATEWAY);
}

static void old_response_is_not_said_again(void **state)
{
	struct pair *p = *state;
	struct datagram lost;

	lose_a_response(p, &lost);
	/* By then the client has begun anew. */
	p->now_us += WG_RETRY_US;
	wg_peer_set_path(p->side[GATEWAY].peer, true, p->now_us);
	side_expect_silence(p, GATEWAY);
}

static void response_that_waited_for_the_path_is_said_once(void **state)
{
	struct pair *p = *state;
	struct wg_peer *gateway = p->side[GATEWAY].peer;
	struct datagram d;

	wg_peer_set_path(gateway, false, p->now_us);
	pair_initiate(p, &d);
	wg_peer_set_path(gateway, true, p->now_us);
	side_expect(p, GATEWAY, WG_RESPONSE, &d);
	side_expect_silence(p, GATEWAY);
}

static void unanswered_initiation_goes_along_the_new_path(void **state)
{
	struct pair *p = *state;
	struct wg_peer *gateway = p->side[GATEWAY].peer;
	struct datagram lost, d;

	assert_false(wg_can_seal(gateway, p->now_us));
	side_expect(p, GATEWAY, WG_INITIATION, &lost);
	wg_peer_set_path(gateway, true, p->now_us);
	side_expect(p, GATEWAY, WG_INITIATION, &d);
	assert_memory_equal(datagram_bytes(&d), datagram_bytes(&lost), d.len);
	/* Whichever arrives, the other one is a repetition. */
	assert_true(side_take(p, CLIENT, &d));
	assert_false(side_take(p, CLIENT, &lost));
	pair_exchange(p);
	assert_true(wg_peer_established(gateway));
	wg_peer_set_path(gateway, true, p->now_us);
	side_expect_silence(p, GATEWAY);
}

static void replacement_may_have_the_key_of_the_peer_it_replaces_only(void **state)
{
	struct pair *p = *state;
	struct wg *wg = p->side[GATEWAY].wg;
	struct wg_peer *old = p->side[GATEWAY].peer, *peer = NULL;
	static const uint8_t zero[WG_KEY_LEN];
	uint8_t key[WG_KEY_LEN], psk[WG_KEY_LEN];

	memcpy(key, old->public_key, sizeof(key));
	memcpy(psk, old->secret->psk, sizeof(psk));
	assert_int_equal(wg_peer_add(wg, key, psk, NULL, p->now_us, &peer), -EEXIST);
	assert_int_equal(wg_peer_replace(wg, old, zero, psk, NULL, p->now_us, &peer), -EINVAL);
	assert_int_equal(wg_peer_replace(wg, old, wg->public_key, psk, NULL, p->now_us, &peer),
			 -EEXIST);
	assert_null(peer);
	/* The old one has lost nothing by it. */
	pair_handshake(p, CLIENT);
	pair_data(p, CLIENT);
	assert_int_equal(wg_peer_replace(wg, old, key, psk, NULL, p->now_us, &peer), 0);
	assert_int_not_equal(peer->index, old->index);
	wg_peer_free(old);
	wg_peer_set_path(peer, true, p->now_us);
	p->side[GATEWAY].peer = peer;
	pair_run_to(p, p->now_us + 200 * US_PER_S);
	pair_handshake(p, CLIENT);
	pair_data(p, GATEWAY);
}

static void no_initiation_without_a_path(void **state)
{
	struct pair *p = *state;
	struct wg_peer *gateway = p->side[GATEWAY].peer;
	struct datagram d;

	wg_peer_set_path(gateway, false, p->now_us);
	assert_false(wg_can_seal(gateway, p->now_us));
	assert_int_equal(side_seal(p, GATEWAY, 1, 64, &d), 0);
	assert_false(wg_peer_pending(gateway));
	wg_peer_timeout(gateway, p->now_us + 30 * US_PER_S);
	side_expect_silence(p, GATEWAY);
	/* Nor does the dropped packet start one later. */
	wg_peer_set_path(gateway, true, p->now_us);
	side_expect_silence(p, GATEWAY);
	assert_false(wg_can_seal(gateway, p->now_us));
	side_expect(p, GATEWAY, WG_INITIATION, &d);
}

static void cookie_round_trip_at_the_101st_of_a_second(void **state)
{
	struct pair *p = *state;
	struct wg *gateway = p->side[GATEWAY].wg;
	struct endpoint src = test_source(10), dst;
	struct datagram d;
	const uint8_t *reply;
	size_t len;

	pair_handshake(p, CLIENT);
	gateway->gate.in_second = 0;
	for (int i = 0; i <= WG_HANDSHAKES_PER_S; i++) {
		p->now_us += 1;
		p->side[CLIENT].peer->due |= WG_DUE_INITIATION;
		side_expect(p, CLIENT, WG_INITIATION, &d);
		assert_int_equal(side_take(p, GATEWAY, &d), i < WG_HANDSHAKES_PER_S);
		/* The client has a limit too: the answers are lost. */
		assert_int_equal(side_send(p, GATEWAY, &d), i < WG_HANDSHAKES_PER_S);
	}
	assert_true(wg_poll(gateway, &dst, &reply, &len));
	assert_true(endpoint_eq(&dst, &src));
	assert_false(wg_poll(gateway, &dst, &reply, &len));
	assert_int_equal(gateway->counters.cookies_sent, 1);
	assert_int_equal(wg_classify(reply, len), WG_COOKIE_REPLY);
	assert_ptr_equal(wg_handshake(p->side[CLIENT].wg, reply, len, &src, p->now_us),
			 p->side[CLIENT].peer);
	/* It answers one message once. */
	assert_null(wg_handshake(p->side[CLIENT].wg, reply, len, &src, p->now_us));

	p->now_us += 1;
	p->side[CLIENT].peer->due |= WG_DUE_INITIATION;
	side_expect(p, CLIENT, WG_INITIATION, &d);
	assert_true(side_take(p, GATEWAY, &d));
	assert_false(wg_poll(gateway, &dst, &reply, &len));
	pair_exchange(p);
	pair_data(p, CLIENT);
}

static void data_is_not_limited_under_load(void **state)
{
	struct pair *p = *state;

	pair_handshake(p, CLIENT);
	p->side[GATEWAY].wg->gate.in_second = WG_HANDSHAKES_PER_S;
	for (int i = 0; i < 300; i++) {
		pair_data(p, CLIENT);
		pair_data(p, GATEWAY);
	}
}

static void received_cookie_is_used_for_120_s(void **state)
{
	struct pair *p = *state;
	struct wg_peer *client = p->side[CLIENT].peer;
	struct endpoint src = test_source(10), dst;
	const uint8_t *reply;
	size_t len;
	struct datagram d;

	p->side[GATEWAY].wg->gate.in_second = WG_HANDSHAKES_PER_S;
	assert_false(wg_can_seal(client, p->now_us));
	side_expect(p, CLIENT, WG_INITIATION, &d);
	assert_false(side_take(p, GATEWAY, &d));
	assert_true(wg_poll(p->side[GATEWAY].wg, &dst, &reply, &len));
	assert_ptr_equal(wg_handshake(p->side[CLIENT].wg, reply, len, &src, p->now_us), client);

	for (int late = 0; late < 2; late++) {
		p->now_us += late ? 1 : 120 * US_PER_S - 1;
		client->due |= WG_DUE_INITIATION;
		side_expect(p, CLIENT, WG_INITIATION, &d);
		assert_int_equal(
		    sodium_is_zero(datagram_bytes(&d) + WG_INITIATION_LEN - WG_MAC_LEN, WG_MAC_LEN),
		    late);
	}
}

static void response_answers_only_the_last_two_initiations(void **state)
{
	struct pair *p = *state;
	struct wg_peer *client = p->side[CLIENT].peer;
	struct datagram responses[3], d;

	for (int i = 0; i < 3; i++) {
		client->due |= WG_DUE_INITIATION;
		side_expect(p, CLIENT, WG_INITIATION, &d);
		assert_true(side_take(p, GATEWAY, &d));
		side_expect(p, GATEWAY, WG_RESPONSE, &responses[i]);
		p->now_us += 1;
	}
	assert_false(side_take(p, CLIENT, &responses[0]));
	assert_true(side_take(p, CLIENT, &responses[1]));
	/* Complete: the ephemeral keys of all are gone. */
	assert_true(sodium_is_zero((const uint8_t *)client->secret->pending,
				   sizeof(client->secret->pending)));
	assert_false(side_take(p, CLIENT, &responses[2]));
	assert_false(side_take(p, CLIENT, &responses[1]));
}

static void response_counts_for_20_s(void **state)
{
	struct pair *p = *state;
	struct wg_peer *client = p->side[CLIENT].peer;
	struct datagram d;

	for (int late = 0; late < 2; late++) {
		client->due |= WG_DUE_INITIATION;
		side_expect(p, CLIENT, WG_INITIATION, &d);
		assert_true(side_take(p, GATEWAY, &d));
		side_expect(p, GATEWAY, WG_RESPONSE, &d);
		p->now_us += 20 * US_PER_S + (uint64_t)late;
		assert_int_equal(side_take(p, CLIENT, &d), !late);
	}
}

static void forged_response_leaves_the_attempt_running(void **state)
{
	struct pair *p = *state;
	struct datagram d, forged;

	pair_initiate(p, &d);
	side_expect(p, GATEWAY, WG_RESPONSE, &d);
	forged = d;
	datagram_bytes(&forged)[50] ^= 1;
	wg_cookie_stamp(p->side[GATEWAY].wg->crypto, wg_public_key(p->side[CLIENT].wg), NULL,
			datagram_bytes(&forged), forged.len);
	assert_false(side_take(p, CLIENT, &forged));
	assert_false(wg_peer_established(p->side[CLIENT].peer));
	assert_true(side_take(p, CLIENT, &d));
	assert_true(wg_peer_established(p->side[CLIENT].peer));
}

static void simultaneous_handshakes_end_with_data_both_ways(void **state)
{
	struct pair *p = *state;
	struct datagram d[2];

	for (int i = 0; i < 2; i++) {
		assert_false(wg_can_seal(p->side[i].peer, p->now_us));
		side_expect(p, i, WG_INITIATION, &d[i]);
	}
	assert_true(side_take(p, CLIENT, &d[GATEWAY]));
	assert_true(side_take(p, GATEWAY, &d[CLIENT]));
	pair_exchange(p);
	pair_data(p, CLIENT);
	pair_data(p, GATEWAY);
	side_expect_silence(p, CLIENT);
	side_expect_silence(p, GATEWAY);
	assert_true(p->side[GATEWAY].peer->attempt_us == NEVER_US);
	assert_true(p->side[CLIENT].peer->attempt_us == NEVER_US);
}

static void initiation_of_an_unknown_peer_meets_silence(void **state)
{
	struct pair *p = *state;
	struct datagram d;

	assert_false(wg_can_seal(p->side[CLIENT].peer, p->now_us));
	side_expect(p, CLIENT, WG_INITIATION, &d);
	wg_peer_free(p->side[GATEWAY].peer);
	assert_false(side_take(p, GATEWAY, &d));
	assert_int_equal(p->side[GATEWAY].wg->counters.handshakes_refused, 1);
}

static void peer_keys_are_unique_and_sound(void **state)
{
	struct pair *p = *state;
	struct wg *wg = p->side[GATEWAY].wg;
	uint8_t key[WG_KEY_LEN] = {0};
	struct wg_peer *peer = NULL;

	assert_int_equal(wg_peer_add(wg, wg_public_key(p->side[CLIENT].wg), key, NULL, 0, &peer),
			 -EEXIST);
	assert_int_equal(wg_peer_add(wg, wg_public_key(wg), key, NULL, 0, &peer), -EEXIST);
	assert_int_equal(wg_peer_add(wg, key, key, NULL, 0, &peer), -EINVAL);
	key[0] = 1;
	assert_int_equal(wg_peer_add(wg, key, key, NULL, 0, &peer), -EINVAL);
	assert_null(peer);
	/* A freed key is free again. */
	wg_peer_free(p->side[GATEWAY].peer);
	assert_int_equal(wg_peer_add(wg, wg_public_key(p->side[CLIENT].wg), key, NULL, p->now_us,
				     &p->side[GATEWAY].peer),
			 0);
}

static void peers_are_bounded_and_their_indices_unique(void **state)
{
	struct pair *p = *state;
	struct wg *wg = p->side[GATEWAY].wg;
	struct wg_peer *peers[7], *extra;
	uint8_t key[WG_KEY_LEN] = {0};
	uint32_t old;

	for (size_t i = 0; i < ARRAY_LEN(peers); i++) {
		key[0] = (uint8_t)(9 + i);
		assert_int_equal(wg_peer_add(wg, key, key, &peers[i], 0, &peers[i]), 0);
		assert_ptr_equal(wg_peer_by_index(wg, wg_peer_index(peers[i])), peers[i]);
		assert_true(wg_peer_index(peers[i]) < 1 << 24);
		assert_null(wg_peer_by_index(wg, wg_peer_index(peers[i]) ^ 1 << 23));
	}
	key[0] = 100;
	assert_int_equal(wg_peer_add(wg, key, key, NULL, 0, &extra), -ENOSPC);
	old = wg_peer_index(peers[3]);
	wg_peer_free(peers[3]);
	assert_null(wg_peer_by_index(wg, old));
	assert_int_equal(wg_peer_add(wg, key, key, &extra, 0, &extra), 0);
	assert_true(wg_peer_index(extra) != old);
	for (size_t i = 0; i < ARRAY_LEN(peers); i++) {
		if (i != 3)
			assert_ptr_equal(wg_peer_by_index(wg, wg_peer_index(peers[i])), peers[i]);
	}
}

static void timestamps_never_repeat_and_follow_the_start_time(void **state)
{
	struct pair *p = *state;
	struct wg *wg = p->side[GATEWAY].wg;
	/* 1700000000 at the start, 37 s of TAI, 2^62. */
	const uint8_t start[12] = {0x40, 0, 0, 0, 0x65, 0x53, 0xf1, 0x25, 0, 0, 0, 0};
	uint8_t last[12], next[12];

	wg_timestamp(wg, p->now_us, last);
	assert_memory_equal(last, start, 12);
	for (int i = 0; i < 10; i++) {
		wg_timestamp(wg, p->now_us + (uint64_t)(i / 4), next);
		assert_true(memcmp(next, last, 12) > 0);
		memcpy(last, next, 12);
	}
	wg_timestamp(wg, p->now_us + 2 * US_PER_S + 1, next);
	assert_int_equal(next[7], 0x27);
	assert_int_equal(next[10] << 8 | next[11], 1000);
}

#define VECTOR(f) cmocka_unit_test_setup_teardown(f, gateway_setup, gateway_teardown)
#define PAIR(f)   cmocka_unit_test_setup_teardown(f, pair_setup, pair_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    VECTOR(transcript_runs_through_an_interface),
	    VECTOR(rejects_of_the_vectors_meet_silence),
	    cmocka_unit_test(messages_are_classified_by_type_reserved_bytes_and_size),
	    PAIR(wrong_psk_establishes_nothing),
	    PAIR(response_is_held_until_there_is_a_path),
	    PAIR(held_messages_lose_the_oldest_when_there_are_many),
	    PAIR(unanswered_response_goes_along_each_new_path_three_times_at_most),
	    PAIR(answered_response_is_not_said_again),
	    PAIR(old_response_is_not_said_again),
	    PAIR(response_that_waited_for_the_path_is_said_once),
	    PAIR(unanswered_initiation_goes_along_the_new_path),
	    PAIR(replacement_may_have_the_key_of_the_peer_it_replaces_only),
	    PAIR(no_initiation_without_a_path),
	    PAIR(cookie_round_trip_at_the_101st_of_a_second),
	    PAIR(data_is_not_limited_under_load),
	    PAIR(received_cookie_is_used_for_120_s),
	    PAIR(response_answers_only_the_last_two_initiations),
	    PAIR(response_counts_for_20_s),
	    PAIR(forged_response_leaves_the_attempt_running),
	    PAIR(simultaneous_handshakes_end_with_data_both_ways),
	    PAIR(initiation_of_an_unknown_peer_meets_silence),
	    PAIR(peer_keys_are_unique_and_sound),
	    PAIR(peers_are_bounded_and_their_indices_unique),
	    PAIR(timestamps_never_repeat_and_follow_the_start_time),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
