#include "harness.h"

#include <sodium.h>
#include <string.h>

#define S US_PER_S

/* The next message of a side comes when its timers say so, between two times after @from_us. */
static void expect_between(struct pair *p, int side, enum wg_msg_type type, uint64_t from_us,
			   uint64_t low, uint64_t high, struct datagram *out)
{
	pair_run_to(p, from_us + high + S);
	side_expect(p, side, type, out);
	assert_in_range(p->now_us - from_us, low, high);
}

static void no_timer_runs_without_a_path_but_the_540_s_rule(void **state)
{
	struct pair *p = *state;
	struct wg_peer *gateway = p->side[GATEWAY].peer;
	const uint64_t start = p->now_us;

	pair_handshake(p, GATEWAY);
	pair_data(p, CLIENT);
	pair_data(p, GATEWAY);
	assert_true(wg_peer_deadline(gateway) < start + 540 * S);
	wg_peer_set_path(gateway, false, p->now_us);
	assert_int_equal(wg_peer_deadline(gateway), start + 540 * S);
	wg_peer_timeout(gateway, start + 539 * S);
	assert_false(wg_peer_pending(gateway));
	wg_peer_timeout(gateway, start + 540 * S);
	assert_true(wg_peer_pending(gateway));
	side_expect_silence(p, GATEWAY);
	assert_int_equal(p->side[GATEWAY].expired, 1);
	assert_int_equal(wg_peer_deadline(gateway), NEVER_US);
}

static void connection_without_a_session_expires_540_s_after_its_creation(void **state)
{
	struct pair *p = *state;
	const uint64_t start = p->now_us;

	pair_run_to(p, start + 539 * S);
	assert_int_equal(p->now_us, start + 539 * S);
	pair_run_to(p, start + 541 * S);
	assert_int_equal(p->now_us, start + 540 * S);
	side_expect_silence(p, GATEWAY);
	assert_int_equal(p->side[GATEWAY].expired, 1);
}

static void expired_peer_drops_what_it_held(void **state)
{
	struct pair *p = *state;
	struct wg_peer *gateway = p->side[GATEWAY].peer;
	struct datagram d;

	wg_peer_set_path(gateway, false, p->now_us);
	pair_initiate(p, &d);
	wg_peer_timeout(gateway, p->now_us + 540 * S);
	wg_peer_set_path(gateway, true, p->now_us);
	side_expect_silence(p, GATEWAY);
	assert_int_equal(p->side[GATEWAY].expired, 1);
}

static void handshake_renews_the_540_s(void **state)
{
	struct pair *p = *state;
	const uint64_t start = p->now_us;

	pair_run_to(p, start + 500 * S);
	pair_handshake(p, CLIENT);
	assert_int_equal(p->side[GATEWAY].peer->established_us, p->now_us);
	assert_int_equal(p->side[CLIENT].peer->established_us, p->now_us);
}

static void initiation_repeats_every_5_s_with_fresh_values_and_gives_up_at_20_s(void **state)
{
	struct pair *p = *state;
	struct wg_peer *gateway = p->side[GATEWAY].peer;
	const uint64_t start = p->now_us;
	struct datagram last, d;
	uint64_t sent = start;

	assert_false(wg_can_seal(gateway, p->now_us));
	side_expect(p, GATEWAY, WG_INITIATION, &last);
	for (int i = 0; i < 3; i++) {
		expect_between(p, GATEWAY, WG_INITIATION, sent, 5 * S, 5 * S + 333 * US_PER_MS, &d);
		sent = p->now_us;
		assert_int_equal(datagram_bytes(&d)[4], (uint8_t)(datagram_bytes(&last)[4] + 1));
		assert_memory_not_equal(datagram_bytes(&d) + 8, datagram_bytes(&last) + 8, 32);
		last = d;
		/* More packets change nothing. */
		assert_false(wg_can_seal(gateway, p->now_us));
		side_expect_silence(p, GATEWAY);
	}
	pair_run_to(p, start + 30 * S);
	assert_int_equal(p->now_us, start + 20 * S);
	assert_true(wg_peer_pending(gateway));
	side_expect_silence(p, GATEWAY);
	assert_int_equal(p->side[GATEWAY].expired, 1);
	assert_int_equal(wg_peer_deadline(gateway), NEVER_US);
	/* An expired peer is dead: no packet, no handshake. */
	assert_false(wg_can_seal(gateway, p->now_us));
	side_expect_silence(p, GATEWAY);
	assert_false(wg_can_seal(p->side[CLIENT].peer, p->now_us));
	side_expect(p, CLIENT, WG_INITIATION, &d);
	assert_false(side_take(p, GATEWAY, &d));
}

static void jitter_varies(void **state)
{
	struct pair *p = *state;
	struct datagram d;
	uint64_t seen[3], last = p->now_us;

	assert_false(wg_can_seal(p->side[GATEWAY].peer, p->now_us));
	side_expect(p, GATEWAY, WG_INITIATION, &d);
	for (int i = 0; i < 3; i++) {
		pair_run_to(p, p->now_us + 6 * S);
		side_expect(p, GATEWAY, WG_INITIATION, &d);
		seen[i] = p->now_us - last;
		last = p->now_us;
	}
	assert_true(seen[0] != seen[1] || seen[1] != seen[2]);
}

static void jitter_stays_within_333_ms(void **state)
{
	struct pair *p = *state;
	struct wg_peer *gateway = p->side[GATEWAY].peer;
	uint64_t least = NEVER_US, most = 0;
	struct datagram d;

	for (int i = 0; i < 300; i++) {
		gateway->due |= WG_DUE_INITIATION;
		side_expect(p, GATEWAY, WG_INITIATION, &d);
		least = min_u64(least, gateway->handshake_us - p->now_us);
		most = gateway->handshake_us - p->now_us > most ? gateway->handshake_us - p->now_us
								: most;
	}
	assert_in_range(least, 5 * S, 5 * S + 20 * US_PER_MS);
	assert_in_range(most, 5 * S + 313 * US_PER_MS, 5 * S + 333 * US_PER_MS);
}

static void answered_attempt_ends_and_is_not_given_up(void **state)
{
	struct pair *p = *state;
	const uint64_t start = p->now_us;
	struct datagram d;

	assert_false(wg_can_seal(p->side[GATEWAY].peer, p->now_us));
	side_expect(p, GATEWAY, WG_INITIATION, &d);
	expect_between(p, GATEWAY, WG_INITIATION, start, 5 * S, 6 * S, &d);
	assert_true(side_take(p, CLIENT, &d));
	pair_exchange(p);
	pair_data(p, GATEWAY);
	pair_data(p, CLIENT);
	pair_data(p, GATEWAY);
	pair_run_to(p, start + 14 * S);
	assert_int_equal(p->side[GATEWAY].expired, 0);
	assert_true(p->side[GATEWAY].peer->attempt_us == NEVER_US);
}

static void attempt_overtaken_by_the_peers_handshake_ends(void **state)
{
	struct pair *p = *state;
	struct wg_peer *gateway = p->side[GATEWAY].peer;
	const uint64_t start = p->now_us;
	struct datagram lost;

	assert_false(wg_can_seal(gateway, p->now_us));
	side_expect(p, GATEWAY, WG_INITIATION, &lost);
	pair_handshake(p, CLIENT);
	pair_data(p, GATEWAY);
	pair_data(p, CLIENT);
	/* What it left is kept for a late answer, then wiped. */
	assert_true(gateway->pending[gateway->latest].active);
	pair_run_to(p, start + 6 * S);
	assert_int_equal(p->now_us, start + 6 * S);
	assert_false(gateway->pending[gateway->latest].active);
	assert_true(sodium_is_zero((const uint8_t *)gateway->secret->pending,
				   sizeof(gateway->secret->pending)));
	assert_int_equal(gateway->handshake_us, NEVER_US);
}

static void attempt_starts_anew_when_the_path_returns(void **state)
{
	struct pair *p = *state;
	struct wg_peer *gateway = p->side[GATEWAY].peer;
	const uint64_t start = p->now_us;
	struct datagram d;

	assert_false(wg_can_seal(gateway, p->now_us));
	side_expect(p, GATEWAY, WG_INITIATION, &d);
	wg_peer_set_path(gateway, false, p->now_us);
	pair_run_to(p, start + 60 * S);
	side_expect_silence(p, GATEWAY);
	wg_peer_set_path(gateway, true, p->now_us);
	pair_run_to(p, p->now_us + S);
	side_expect(p, GATEWAY, WG_INITIATION, &d);
	assert_int_equal(p->now_us, start + 60 * S);
	expect_between(p, GATEWAY, WG_INITIATION, p->now_us, 5 * S, 6 * S, &d);
	assert_int_equal(p->side[GATEWAY].expired, 0);
}

static void passive_keepalive_10_s_after_data_that_was_not_answered(void **state)
{
	struct pair *p = *state;
	const uint64_t start = p->now_us;
	struct datagram d;

	pair_handshake(p, CLIENT);
	pair_data(p, CLIENT);
	p->now_us += 3 * S;
	pair_data(p, CLIENT);
	expect_between(p, GATEWAY, WG_DATA, start, 10 * S, 10 * S, &d);
	assert_int_equal(d.len, WG_OVERHEAD);
	/* A keepalive asks for none. */
	assert_true(side_open(p, CLIENT, &d, 0, 0));
	pair_run_to(p, p->now_us + 60 * S);
	side_expect_silence(p, CLIENT);
	side_expect_silence(p, GATEWAY);
}

static void answered_data_needs_no_keepalive(void **state)
{
	struct pair *p = *state;
	const uint64_t start = p->now_us;

	pair_handshake(p, CLIENT);
	pair_data(p, CLIENT);
	p->now_us += 9 * S;
	pair_data(p, GATEWAY);
	p->now_us += 9 * S;
	pair_data(p, CLIENT);
	pair_data(p, GATEWAY);
	pair_data(p, CLIENT);
	pair_run_to(p, start + 27 * S);
	assert_int_equal(p->now_us, start + 27 * S);
}

static void handshake_15_s_after_the_first_unanswered_data(void **state)
{
	struct pair *p = *state;
	const uint64_t start = p->now_us;
	struct datagram d;

	pair_handshake(p, CLIENT);
	assert_true(side_seal(p, GATEWAY, 1, 60, &d) > 0);
	for (int i = 0; i < 14; i++) {
		p->now_us += S;
		assert_true(side_seal(p, GATEWAY, 1, 60, &d) > 0);
	}
	expect_between(p, GATEWAY, WG_INITIATION, start, 15 * S, 15 * S + 333 * US_PER_MS, &d);
	/* The session goes on meanwhile. */
	assert_true(side_seal(p, GATEWAY, 1, 60, &d) > 0);
}

static void any_authentic_answer_stops_the_15_s(void **state)
{
	struct pair *p = *state;
	const uint64_t start = p->now_us;
	struct datagram d;

	pair_handshake(p, CLIENT);
	assert_true(side_seal(p, GATEWAY, 1, 60, &d) > 0);
	assert_true(side_open(p, CLIENT, &d, 1, 60));
	expect_between(p, CLIENT, WG_DATA, start, 10 * S, 10 * S, &d);
	assert_true(side_open(p, GATEWAY, &d, 0, 0));
	pair_run_to(p, start + 60 * S);
	assert_int_equal(p->now_us, start + 60 * S);

	/* Own keepalives are no data that waits for an answer. */
	pair_data(p, CLIENT);
	expect_between(p, GATEWAY, WG_DATA, start + 60 * S, 10 * S, 10 * S, &d);
	pair_run_to(p, start + 75 * S - 1);
	assert_int_equal(p->now_us, start + 75 * S - 1);
	assert_true(p->side[GATEWAY].peer->unanswered_us == NEVER_US);
}

static void initiator_rekeys_when_it_sends_after_120_s(void **state)
{
	struct pair *p = *state;
	const uint64_t start = p->now_us;
	struct datagram d;

	pair_handshake(p, GATEWAY);
	p->now_us = start + 120 * S - 1;
	pair_data(p, GATEWAY);
	pair_data(p, CLIENT);
	assert_true(p->side[GATEWAY].peer->handshake_us == NEVER_US);
	p->now_us += 1;
	pair_data(p, CLIENT);
	assert_true(p->side[CLIENT].peer->handshake_us == NEVER_US);
	pair_data(p, GATEWAY);
	expect_between(p, GATEWAY, WG_INITIATION, start, 120 * S, 120 * S + 333 * US_PER_MS, &d);
}

static void no_rekey_is_planned_without_a_path(void **state)
{
	struct pair *p = *state;
	struct datagram d;

	pair_handshake(p, GATEWAY);
	p->now_us += 130 * S;
	wg_peer_set_path(p->side[GATEWAY].peer, false, p->now_us);
	assert_true(side_seal(p, GATEWAY, 1, 60, &d) > 0);
	assert_true(p->side[GATEWAY].peer->handshake_us == NEVER_US);
	wg_peer_set_path(p->side[GATEWAY].peer, true, p->now_us);
	assert_true(side_seal(p, GATEWAY, 1, 60, &d) > 0);
	assert_true(p->side[GATEWAY].peer->handshake_us != NEVER_US);
}

static void initiator_rekeys_when_it_receives_after_165_s(void **state)
{
	struct pair *p = *state;
	const uint64_t start = p->now_us;
	struct datagram d;

	pair_handshake(p, GATEWAY);
	p->now_us = start + 165 * S - 1;
	pair_data(p, CLIENT);
	assert_true(p->side[GATEWAY].peer->handshake_us == NEVER_US);
	p->now_us += 1;
	pair_data(p, CLIENT);
	expect_between(p, GATEWAY, WG_INITIATION, start, 165 * S, 165 * S + 333 * US_PER_MS, &d);
}

static void roles_follow_the_last_handshake(void **state)
{
	struct pair *p = *state;
	const uint64_t start = p->now_us;
	struct datagram d;

	pair_handshake(p, GATEWAY);
	p->now_us += S;
	pair_handshake(p, CLIENT);
	p->now_us = start + 130 * S;
	pair_data(p, GATEWAY);
	assert_true(p->side[GATEWAY].peer->handshake_us == NEVER_US);
	pair_data(p, CLIENT);
	expect_between(p, CLIENT, WG_INITIATION, start, 130 * S, 131 * S, &d);
}

static void initiator_stops_sending_after_170_s(void **state)
{
	struct pair *p = *state;
	const uint64_t start = p->now_us;
	struct datagram d;

	pair_handshake(p, GATEWAY);
	p->now_us = start + 170 * S;
	assert_true(wg_can_seal(p->side[GATEWAY].peer, p->now_us));
	p->now_us += 1;
	assert_int_equal(side_seal(p, GATEWAY, 1, 60, &d), 0);
	side_expect(p, GATEWAY, WG_INITIATION, &d);
	/* The responder goes on, and is heard. */
	pair_data(p, CLIENT);
}

static void session_is_removed_after_180_s(void **state)
{
	struct pair *p = *state;
	const uint64_t start = p->now_us;
	struct datagram early, late;

	pair_handshake(p, CLIENT);
	assert_true(side_seal(p, CLIENT, 1, 60, &early) > 0);
	assert_true(side_seal(p, CLIENT, 1, 60, &late) > 0);
	p->now_us = start + 180 * S;
	assert_true(side_open(p, GATEWAY, &early, 1, 60));
	assert_true(wg_can_seal(p->side[GATEWAY].peer, p->now_us));
	p->now_us += 1;
	assert_false(side_open(p, GATEWAY, &late, 1, 60));
	assert_false(wg_can_seal(p->side[GATEWAY].peer, p->now_us));
	wg_peer_timeout(p->side[GATEWAY].peer, p->now_us);
	assert_false(wg_peer_established(p->side[GATEWAY].peer));
	for (size_t i = 0; i < WG_SESSIONS; i++)
		assert_null(p->side[GATEWAY].peer->sessions[i]);
}

static void initiator_whose_session_is_gone_starts_a_new_handshake(void **state)
{
	struct pair *p = *state;
	const uint64_t start = p->now_us;
	struct datagram d;

	pair_handshake(p, GATEWAY);
	expect_between(p, GATEWAY, WG_INITIATION, start, 180 * S, 180 * S + 334 * US_PER_MS, &d);
	side_expect_silence(p, CLIENT);
	assert_false(wg_peer_established(p->side[CLIENT].peer));
}

static void responder_whose_session_is_gone_stays_silent(void **state)
{
	struct pair *p = *state;
	struct wg_peer *client = p->side[CLIENT].peer;
	const uint64_t start = p->now_us;

	pair_handshake(p, CLIENT);
	wg_peer_set_path(client, false, p->now_us);
	pair_run_to(p, start + 300 * S);
	assert_int_equal(p->now_us, start + 300 * S);
	assert_false(wg_peer_established(p->side[GATEWAY].peer));
}

#define PAIR(f) cmocka_unit_test_setup_teardown(f, pair_setup, pair_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    PAIR(no_timer_runs_without_a_path_but_the_540_s_rule),
	    PAIR(connection_without_a_session_expires_540_s_after_its_creation),
	    PAIR(expired_peer_drops_what_it_held),
	    PAIR(handshake_renews_the_540_s),
	    PAIR(initiation_repeats_every_5_s_with_fresh_values_and_gives_up_at_20_s),
	    PAIR(jitter_varies),
	    PAIR(jitter_stays_within_333_ms),
	    PAIR(answered_attempt_ends_and_is_not_given_up),
	    PAIR(attempt_overtaken_by_the_peers_handshake_ends),
	    PAIR(attempt_starts_anew_when_the_path_returns),
	    PAIR(passive_keepalive_10_s_after_data_that_was_not_answered),
	    PAIR(answered_data_needs_no_keepalive),
	    PAIR(handshake_15_s_after_the_first_unanswered_data),
	    PAIR(any_authentic_answer_stops_the_15_s),
	    PAIR(initiator_rekeys_when_it_sends_after_120_s),
	    PAIR(no_rekey_is_planned_without_a_path),
	    PAIR(initiator_rekeys_when_it_receives_after_165_s),
	    PAIR(roles_follow_the_last_handshake),
	    PAIR(initiator_stops_sending_after_170_s),
	    PAIR(session_is_removed_after_180_s),
	    PAIR(initiator_whose_session_is_gone_starts_a_new_handshake),
	    PAIR(responder_whose_session_is_gone_stays_silent),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
