/* Tables at their limit and one beyond; addresses that a peer may not make us send to. [spec
 * connections 14] */
#include "peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const char *numbered(char out[ENDPOINT_TEXT_MAX], unsigned n)
{
	snprintf(out, ENDPOINT_TEXT_MAX, "203.0.113.%u:40000", n);
	return out;
}

static void signalled_candidates_stop_at_their_limit(void **state)
{
	struct peer *peer = *state;
	char text[ENDPOINT_TEXT_MAX];

	for (unsigned i = 1; i <= ICE_MAX_REMOTE_SIGNALLED; i++)
		peer_remote(peer, true, CANDIDATE_RELAY, numbered(text, i));
	peer_wait_ms(peer, 20000);
	peer_timeout(peer);
	assert_int_equal(peer->n_sent, ICE_MAX_REMOTE_SIGNALLED);
	/* One more: the oldest gives way. */
	peer_remote(peer, true, CANDIDATE_RELAY, numbered(text, ICE_MAX_REMOTE_SIGNALLED + 1));
	peer_wait_ms(peer, 20000);
	peer_timeout(peer);
	assert_int_equal(peer->n_sent, ICE_MAX_REMOTE_SIGNALLED);
	assert_int_equal(peer_count_to(peer, numbered(text, 1)), 0);
	assert_int_equal(peer_count_to(peer, numbered(text, 2)), 1);
}

static void used_candidates_outlive_unused_ones(void **state)
{
	struct peer *peer = *state;
	char text[ENDPOINT_TEXT_MAX];

	peer_remote(peer, true, CANDIDATE_RELAY, numbered(text, 1));
	peer_checks(peer, text, OUR_HOST, true);
	peer_answer(peer, peer_check_to(peer, OUR_HOST, text));
	for (unsigned i = 2; i <= 2 * ICE_MAX_REMOTE_SIGNALLED; i++)
		peer_remote(peer, true, CANDIDATE_RELAY, numbered(text, i));
	peer_assert_path(peer, OUR_HOST, numbered(text, 1));
	assert_int_equal(ice_state_of(peer->ice), ICE_CONNECTED);
	peer_wait_ms(peer, 20000);
	peer_timeout(peer);
	assert_int_equal(peer_count_to(peer, numbered(text, 1)), 1);
	assert_int_equal(peer_count_to(peer, numbered(text, 2)), 0);
}

static void peer_reflexive_candidates_stop_at_their_limit(void **state)
{
	struct peer *peer = *state;
	char text[ENDPOINT_TEXT_MAX];

	peer_remote(peer, true, CANDIDATE_HOST, numbered(text, 200));
	for (unsigned i = 1; i <= ICE_MAX_REMOTE_PRFLX + 1; i++) {
		peer_checks(peer, numbered(text, i), OUR_HOST, false);
		assert_non_null(peer_reply(peer));
	}
	peer_wait_ms(peer, 5000);
	peer_timeout(peer);
	assert_int_equal(peer->n_sent, ICE_MAX_REMOTE_PRFLX + 1);
	assert_int_equal(peer_count_to(peer, numbered(text, 1)), 0);
	assert_int_equal(peer_count_to(peer, numbered(text, 200)), 1);
}

static void declared_candidate_counts_as_signalled(void **state)
{
	struct peer *peer = *state;
	char text[ENDPOINT_TEXT_MAX];

	for (unsigned i = 1; i <= ICE_MAX_REMOTE_SIGNALLED; i++)
		peer_remote(peer, true, CANDIDATE_RELAY, numbered(text, i));
	peer_checks(peer, numbered(text, 100), OUR_HOST, true);
	peer_remote(peer, true, CANDIDATE_RELAY, numbered(text, 100));
	peer_assert_path(peer, OUR_HOST, text);
	peer_wait_ms(peer, 5000);
	peer_timeout(peer);
	assert_int_equal(peer->n_sent, ICE_MAX_REMOTE_SIGNALLED);
	assert_int_equal(peer_count_to(peer, numbered(text, 1)), 0);
	assert_int_equal(peer_count_to(peer, numbered(text, 100)), 1);
}

static void local_candidates_stop_at_their_limit(void **state)
{
	struct peer *peer = *state;
	struct candidate known[ICE_MAX_LOCAL + 1];
	char text[ENDPOINT_TEXT_MAX];

	for (unsigned i = 1; i < ICE_MAX_LOCAL + 8; i++) {
		snprintf(text, sizeof(text), "10.1.0.%u:52625", i);
		peer_local(peer, true, CANDIDATE_RELAY, text, text);
		assert_int_equal(peer->n_announced, 1);
	}
	assert_int_equal(ice_local_candidates(peer->ice, known, ICE_MAX_LOCAL + 1), ICE_MAX_LOCAL);
}

static void withdrawn_local_candidates_give_way_first(void **state)
{
	struct peer *peer = *state;
	struct candidate known[ICE_MAX_LOCAL];
	char text[ENDPOINT_TEXT_MAX];

	for (unsigned i = 1; i < 3 * ICE_MAX_LOCAL; i++) {
		snprintf(text, sizeof(text), "10.1.0.%u:52625", i);
		peer_local(peer, true, CANDIDATE_RELAY, text, text);
		peer_local(peer, false, CANDIDATE_RELAY, text, text);
	}
	assert_int_equal(ice_local_candidates(peer->ice, known, ICE_MAX_LOCAL), 1);
	assert_int_equal(known[0].kind, CANDIDATE_HOST);
}

static void pairs_stop_at_their_limit_and_the_best_stay(void **state)
{
	struct peer *peer = *state;
	char text[ENDPOINT_TEXT_MAX];

	for (unsigned i = 1; i < 5; i++) {
		snprintf(text, sizeof(text), "10.1.0.%u:52625", i);
		peer_local(peer, true, CANDIDATE_HOST, text, text);
	}
	for (unsigned i = 1; i <= 25; i++)
		peer_remote(peer, true, CANDIDATE_RELAY, numbered(text, i));
	peer_wait_ms(peer, 20000);
	peer_timeout(peer);
	assert_int_equal(peer->n_sent, ICE_MAX_PAIRS);
	/* A better candidate pushes worse pairs out, a worse local one gets none. */
	peer_remote(peer, true, CANDIDATE_HOST, numbered(text, 99));
	assert_int_equal(peer_count_to(peer, numbered(text, 99)), 5);
	peer_local(peer, true, CANDIDATE_RELAY, OUR_RELAY, OUR_RELAY);
	assert_false(peer_has_check_to(peer, OUR_RELAY, numbered(text, 1)));
	assert_true(peer_has_check_to(peer, OUR_RELAY, numbered(text, 99)));
	peer_wait_ms(peer, 20000);
	peer_timeout(peer);
	assert_int_equal(peer->n_sent, ICE_MAX_PAIRS);
	/* The peer's own check gets its pair all the same. */
	peer_checks(peer, numbered(text, 1), OUR_RELAY, true);
	assert_non_null(peer_reply(peer));
	peer_assert_path(peer, OUR_RELAY, numbered(text, 1));
	peer_wait_ms(peer, 5000);
	peer_timeout(peer);
	assert_true(peer->n_sent <= ICE_MAX_PAIRS);
}

static void candidates_that_lead_to_ourselves_or_nowhere_are_never_checked(void **state)
{
	static const char *const bad[] = {
	    "127.0.0.1:7",   "0.0.0.0:7",    "255.255.255.255:7",
	    "224.0.0.1:7",   "100.64.0.1:7", "169.254.169.254:80",
	    "203.0.113.7:0", OUR_HOST,       "10.0.0.5:22",
	    OUR_SRFLX,       OUR_RELAY,
	};
	struct peer *peer = *state;

	peer_local(peer, true, CANDIDATE_SRFLX, OUR_SRFLX, OUR_HOST);
	peer_local(peer, true, CANDIDATE_RELAY, OUR_RELAY, OUR_RELAY);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		peer_remote(peer, true, CANDIDATE_HOST, bad[i]);
		assert_int_equal(peer->n_sent, 0);
	}
	/* Behind the same NAT or on the same relay is another matter. */
	peer_remote(peer, true, CANDIDATE_SRFLX, "198.51.100.4:40000");
	assert_int_equal(peer->n_sent, 2);
	peer_remote(peer, true, CANDIDATE_RELAY, "192.0.2.50:50001");
	assert_int_equal(peer->n_sent, 2);
}

static void candidate_that_turns_out_to_be_ourselves_is_dropped(void **state)
{
	struct peer *peer = *state;

	peer_remote(peer, true, CANDIDATE_HOST, "10.0.0.6:22");
	assert_int_equal(peer->n_sent, 1);
	peer_local(peer, true, CANDIDATE_HOST, "10.0.0.6:52625", "10.0.0.6:52625");
	peer_wait_ms(peer, 1000);
	peer_timeout(peer);
	assert_int_equal(peer->n_sent, 0);
}

static void answers_of_many_checks_in_flight_still_count(void **state)
{
	struct peer *peer = *state;
	char text[ENDPOINT_TEXT_MAX];
	struct peer_sent first;

	peer_remote(peer, true, CANDIDATE_HOST, numbered(text, 1));
	first = peer_check_to(peer, OUR_HOST, text);
	for (unsigned i = 2; i <= ICE_MAX_REMOTE_SIGNALLED; i++)
		peer_remote(peer, true, CANDIDATE_RELAY, numbered(text, i));
	for (unsigned i = 0; i < 9; i++) {
		peer_wait_ms(peer, 1000);
		peer_timeout(peer);
	}
	peer_answer(peer, first);
	/* It answered, so it is spared when the others are left. */
	peer_run_ms(peer, 0);
	for (unsigned i = 0; i < 120; i++) {
		peer_wait_ms(peer, 500);
		peer_timeout(peer);
	}
	assert_int_equal(ice_state_of(peer->ice), ICE_CHECKING);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, peer_setup_host, peer_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CASE(signalled_candidates_stop_at_their_limit),
	    CASE(used_candidates_outlive_unused_ones),
	    CASE(peer_reflexive_candidates_stop_at_their_limit),
	    CASE(declared_candidate_counts_as_signalled),
	    CASE(local_candidates_stop_at_their_limit),
	    CASE(withdrawn_local_candidates_give_way_first),
	    CASE(pairs_stop_at_their_limit_and_the_best_stay),
	    CASE(candidates_that_lead_to_ourselves_or_nowhere_are_never_checked),
	    CASE(candidate_that_turns_out_to_be_ourselves_is_dropped),
	    CASE(answers_of_many_checks_in_flight_still_count),
	};

	return cmocka_run_group_tests(tests, peer_group_setup, NULL);
}
