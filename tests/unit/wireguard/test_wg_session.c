#include "harness.h"

#include <sodium.h>
#include <string.h>

static void responder_sends_only_after_it_received_on_the_session(void **state)
{
	struct pair *p = *state;
	struct wg_peer *gateway = p->side[GATEWAY].peer;
	struct datagram d;

	pair_initiate(p, &d);
	side_expect(p, GATEWAY, WG_RESPONSE, &d);
	assert_true(side_take(p, CLIENT, &d));
	assert_int_equal(side_seal(p, GATEWAY, 1, 10, &d), 0);
	assert_false(wg_peer_established(gateway));
	/* A packet to send meanwhile starts a handshake of its own. */
	side_expect(p, GATEWAY, WG_INITIATION, &d);

	side_expect(p, CLIENT, WG_DATA, &d);
	assert_int_equal(d.len, WG_OVERHEAD);
	assert_int_equal(p->side[CLIENT].established, 1);
	assert_true(side_open(p, GATEWAY, &d, 0, 0));
	assert_true(wg_peer_established(gateway));
	assert_true(side_seal(p, GATEWAY, 1, 10, &d) > 0);
	assert_true(side_open(p, CLIENT, &d, 1, 10));
	side_expect_silence(p, GATEWAY);
	assert_int_equal(p->side[GATEWAY].established, 1);
}

static void initiator_needs_no_keepalive_when_data_goes_first(void **state)
{
	struct pair *p = *state;
	struct datagram d;

	pair_initiate(p, &d);
	side_expect(p, GATEWAY, WG_RESPONSE, &d);
	assert_true(side_take(p, CLIENT, &d));
	pair_data(p, CLIENT);
	side_expect_silence(p, CLIENT);
	pair_data(p, GATEWAY);
}

static void sessions_change_under_traffic_without_loss(void **state)
{
	struct pair *p = *state;
	struct datagram old[4], d;

	pair_handshake(p, CLIENT);
	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < 2; i++) {
			assert_true(side_seal(p, CLIENT, 1, 20, &old[i]) > 0);
			assert_true(side_seal(p, GATEWAY, 2, 20, &old[2 + i]) > 0);
		}
		p->now_us += US_PER_S;
		p->side[CLIENT].peer->due |= WG_DUE_INITIATION;
		side_expect(p, CLIENT, WG_INITIATION, &d);
		pair_data(p, CLIENT);
		assert_true(side_take(p, GATEWAY, &d));
		pair_data(p, GATEWAY);
		side_expect(p, GATEWAY, WG_RESPONSE, &d);
		pair_data(p, CLIENT);
		pair_data(p, GATEWAY);
		assert_true(side_take(p, CLIENT, &d));
		/* The gateway still sends on the older session. */
		pair_data(p, GATEWAY);
		pair_data(p, CLIENT);
		pair_data(p, GATEWAY);
		for (int i = 0; i < 2; i++) {
			assert_true(side_open(p, GATEWAY, &old[i], 1, 20));
			assert_true(side_open(p, CLIENT, &old[2 + i], 2, 20));
		}
	}
	/* One each: a rekey establishes nothing new. */
	side_expect_silence(p, CLIENT);
	side_expect_silence(p, GATEWAY);
	assert_int_equal(p->side[GATEWAY].established, 1);
	assert_int_equal(p->side[CLIENT].established, 1);
}

static void late_data_on_an_older_session_does_not_switch_back(void **state)
{
	struct pair *p = *state;
	struct wg_peer *gateway = p->side[GATEWAY].peer;
	struct datagram init, first, second;
	struct wg_session *newest;

	/* Two sessions are ready; the newer is confirmed first. */
	pair_initiate(p, &init);
	side_expect(p, GATEWAY, WG_RESPONSE, &init);
	assert_true(side_take(p, CLIENT, &init));
	side_expect(p, CLIENT, WG_DATA, &first);
	p->now_us += US_PER_S;
	p->side[CLIENT].peer->due |= WG_DUE_INITIATION;
	side_expect(p, CLIENT, WG_INITIATION, &init);
	assert_true(side_take(p, GATEWAY, &init));
	side_expect(p, GATEWAY, WG_RESPONSE, &init);
	assert_true(side_take(p, CLIENT, &init));
	side_expect(p, CLIENT, WG_DATA, &second);

	assert_true(side_open(p, GATEWAY, &second, 0, 0));
	newest = gateway->current;
	assert_non_null(newest);
	assert_true(side_open(p, GATEWAY, &first, 0, 0));
	assert_ptr_equal(gateway->current, newest);
}

static void ninth_session_takes_the_place_of_the_first(void **state)
{
	struct pair *p = *state;
	struct datagram by_session[9];

	for (int i = 0; i < 9; i++) {
		pair_handshake(p, CLIENT);
		assert_true(side_seal(p, CLIENT, 3, 30, &by_session[i]) > 0);
		p->now_us += US_PER_S;
	}
	assert_false(side_open(p, GATEWAY, &by_session[0], 3, 30));
	for (int i = 1; i < 9; i++)
		assert_true(side_open(p, GATEWAY, &by_session[i], 3, 30));
}

static void session_index_must_match_in_all_bits(void **state)
{
	struct pair *p = *state;
	struct datagram good, bad;

	pair_handshake(p, CLIENT);
	assert_true(side_seal(p, CLIENT, 3, 30, &good) > 0);
	for (int bit = 0; bit < 32; bit++) {
		bad = good;
		datagram_bytes(&bad)[4 + bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_false(side_open(p, GATEWAY, &bad, 3, 30));
	}
	assert_int_equal(p->side[GATEWAY].wg->counters.open_refused, 32);
	assert_true(side_open(p, GATEWAY, &good, 3, 30));
}

static void session_indices_count_up_and_wrap_in_8_bits(void **state)
{
	struct pair *p = *state;
	struct datagram d;

	for (unsigned i = 1; i <= 300; i++) {
		p->side[CLIENT].peer->due |= WG_DUE_INITIATION;
		side_expect(p, CLIENT, WG_INITIATION, &d);
		assert_int_equal(datagram_bytes(&d)[4], (uint8_t)i);
		assert_int_equal(datagram_bytes(&d)[5] | datagram_bytes(&d)[6] << 8 |
				     datagram_bytes(&d)[7] << 16,
				 wg_peer_index(p->side[CLIENT].peer));
	}
}

static void replayed_and_forged_data_is_refused_and_marks_nothing(void **state)
{
	struct pair *p = *state;
	struct datagram good, copy;

	pair_handshake(p, CLIENT);
	assert_true(side_seal(p, CLIENT, 3, 1280, &good) > 0);
	copy = good;
	datagram_bytes(&copy)[copy.len - 1] ^= 0x80;
	assert_false(side_open(p, GATEWAY, &copy, 3, 1280));
	copy = good;
	datagram_bytes(&copy)[8] ^= 1;
	assert_false(side_open(p, GATEWAY, &copy, 3, 1280));
	copy = good;
	assert_true(side_open(p, GATEWAY, &good, 3, 1280));
	assert_false(side_open(p, GATEWAY, &copy, 3, 1280));
}

static void data_comes_from_anywhere_and_answers_go_to_the_path_only(void **state)
{
	struct pair *p = *state;
	struct endpoint strange = test_source(200), dst;
	struct datagram d;
	const uint8_t *reply;
	size_t len;

	/* wg_open() is not even told the source; a handshake's source shows in cookies alone. */
	assert_false(wg_can_seal(p->side[CLIENT].peer, p->now_us));
	side_expect(p, CLIENT, WG_INITIATION, &d);
	assert_ptr_equal(
	    wg_handshake(p->side[GATEWAY].wg, datagram_bytes(&d), d.len, &strange, p->now_us),
	    p->side[GATEWAY].peer);
	assert_false(wg_poll(p->side[GATEWAY].wg, &dst, &reply, &len));
	wg_peer_set_path(p->side[GATEWAY].peer, false, p->now_us);
	side_expect_silence(p, GATEWAY);
}

static void counters_end_before_they_wrap(void **state)
{
	struct pair *p = *state;
	struct wg_peer *client = p->side[CLIENT].peer;
	struct datagram d;

	pair_handshake(p, CLIENT);
	client->current->send_counter = WG_REJECT_AFTER_MESSAGES - 1;
	assert_true(side_seal(p, CLIENT, 1, 8, &d) > 0);
	assert_true(side_open(p, GATEWAY, &d, 1, 8));
	assert_int_equal(side_seal(p, CLIENT, 1, 8, &d), 0);
	side_expect(p, CLIENT, WG_INITIATION, &d);

	/* A peer that goes on is not followed. */
	client->current->send_counter = WG_REJECT_AFTER_MESSAGES;
	d.len = wg_session_seal(p->side[CLIENT].wg->crypto, client->current, datagram_bytes(&d), 8);
	assert_int_equal(d.len, 8 + WG_OVERHEAD);
	assert_false(side_open(p, GATEWAY, &d, 1, 8));
}

static void either_side_rekeys_after_2_to_the_60_messages(void **state)
{
	struct pair *p = *state;
	struct datagram d;

	pair_handshake(p, CLIENT);
	for (int i = 0; i < 2; i++) {
		p->side[i].peer->current->send_counter = WG_REKEY_AFTER_MESSAGES - 2;
		assert_true(side_seal(p, i, 1, 8, &d) > 0);
		assert_true(p->side[i].peer->handshake_us == NEVER_US);
		assert_true(side_seal(p, i, 1, 8, &d) > 0);
		assert_true(p->side[i].peer->handshake_us <= p->now_us + WG_JITTER_US);
	}
}

static void sealing_works_for_every_length_and_keeps_its_surroundings(void **state)
{
	struct pair *p = *state;
	struct datagram d;

	pair_handshake(p, CLIENT);
	for (size_t len = 0; len <= 1500; len += len < 200 ? 1 : 13) {
		memset(d.room, 0xee, sizeof(d.room));
		assert_int_equal(side_seal(p, GATEWAY, 0x11, len, &d), len + WG_OVERHEAD);
		for (size_t i = WG_SCRATCH + d.len; i < sizeof(d.room); i++)
			assert_int_equal(d.room[i], 0xee);
		assert_true(side_open(p, CLIENT, &d, 0x11, len));
		for (size_t i = WG_SCRATCH + d.len; i < sizeof(d.room); i++)
			assert_int_equal(d.room[i], 0xee);
	}
}

static void peer_and_session_footprint_is_bounded(void **state)
{
	(void)state;
	/* An idle client has no session; its state and its secret slot stay small. */
	assert_true(sizeof(struct wg_peer) <= WG_PEER_BYTES_IDLE);
	assert_true(sizeof(struct wg_peer) + (WG_HELD_MESSAGES + 2) * sizeof(struct wg_message) <=
		    WG_PEER_BYTES_WORST);
	assert_true(WG_PEER_BYTES_IDLE + SECRET_SLOT_SIZE <= 1024);
	assert_true(sizeof(struct wg_session) <= 1280);
}

#define PAIR(f) cmocka_unit_test_setup_teardown(f, pair_setup, pair_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    PAIR(responder_sends_only_after_it_received_on_the_session),
	    PAIR(initiator_needs_no_keepalive_when_data_goes_first),
	    PAIR(sessions_change_under_traffic_without_loss),
	    PAIR(late_data_on_an_older_session_does_not_switch_back),
	    PAIR(ninth_session_takes_the_place_of_the_first),
	    PAIR(session_index_must_match_in_all_bits),
	    PAIR(session_indices_count_up_and_wrap_in_8_bits),
	    PAIR(replayed_and_forged_data_is_refused_and_marks_nothing),
	    PAIR(data_comes_from_anywhere_and_answers_go_to_the_path_only),
	    PAIR(counters_end_before_they_wrap),
	    PAIR(either_side_rekeys_after_2_to_the_60_messages),
	    PAIR(sealing_works_for_every_length_and_keeps_its_surroundings),
	    cmocka_unit_test(peer_and_session_footprint_is_bounded),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
