/* Our own addresses change under an agent: what it goes on with, how soon, for how long. */
#include "peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define A        "203.0.113.7:40000"
#define B        "203.0.113.8:40000"
#define A6       "[2001:db8::7]:40000"
#define HOST6    "[2001:db8:1::5]:52625"
#define NEW_HOST "198.18.0.77:52625"

static void roam(struct peer *peer, enum ice_fate fate)
{
	peer_feed(peer, &(struct ice_input){.kind = ICE_INPUT_ROAM, .u.fate = fate});
}

static void checks(struct peer *peer, const char *src, const char *dst, bool nominate)
{
	peer_wait_ms(peer, 300);
	peer_checks(peer, src, dst, nominate);
	if (peer_has_check_to(peer, dst, src))
		peer_answer(peer, peer_check_to(peer, dst, src));
}

/* Two pairs that work; one or both nominated. */
static void two_paths(struct peer *peer, bool both)
{
	peer_local(peer, true, CANDIDATE_HOST, HOST6, HOST6);
	peer_remote(peer, true, CANDIDATE_HOST, A6);
	peer_answer(peer, peer_check_to(peer, HOST6, A6));
	peer_remote(peer, true, CANDIDATE_HOST, A);
	peer_answer(peer, peer_check_to(peer, OUR_HOST, A));
	if (both)
		checks(peer, A, OUR_HOST, true);
	checks(peer, A6, HOST6, true);
	peer_assert_path(peer, HOST6, A6);
}

static bool no_path(const struct peer *peer)
{
	struct ice_path path;

	return !ice_selected(peer->ice, &path);
}

static void agent_that_lost_all_in_a_roam_has_fifteen_seconds(void **state)
{
	struct peer *peer = *state;

	peer_remote(peer, true, CANDIDATE_HOST, A);
	checks(peer, A, OUR_HOST, true);
	peer_local(peer, false, CANDIDATE_HOST, OUR_HOST, OUR_HOST);
	roam(peer, ICE_PATH_KEPT);
	assert_int_equal(ice_state_of(peer->ice), ICE_DISCONNECTED);
	peer_run_ms(peer, ICE_ROAM_GRACE_S * 1000 - 1);
	assert_int_equal(ice_state_of(peer->ice), ICE_DISCONNECTED);
	peer_run_ms(peer, 1);
	assert_int_equal(ice_state_of(peer->ice), ICE_FAILED);
}

static void agent_that_lost_all_otherwise_has_two(void **state)
{
	struct peer *peer = *state;

	peer_remote(peer, true, CANDIDATE_HOST, A);
	checks(peer, A, OUR_HOST, true);
	roam(peer, ICE_PATH_KEPT);
	peer_run_answering_ms(peer, ICE_ROAM_GRACE_S * 1000);
	peer_local(peer, false, CANDIDATE_HOST, OUR_HOST, OUR_HOST);
	peer_run_ms(peer, ICE_DISCONNECT_GRACE_S * 1000);
	assert_int_equal(ice_state_of(peer->ice), ICE_FAILED);
}

static void new_candidate_is_checked_at_once_and_ends_the_grace(void **state)
{
	struct peer *peer = *state;

	peer_remote(peer, true, CANDIDATE_HOST, A);
	checks(peer, A, OUR_HOST, true);
	peer_local(peer, false, CANDIDATE_HOST, OUR_HOST, OUR_HOST);
	roam(peer, ICE_PATH_KEPT);
	peer_run_ms(peer, 14000);
	peer_local(peer, true, CANDIDATE_HOST, NEW_HOST, NEW_HOST);
	assert_true(peer_has_check_to(peer, NEW_HOST, A));
	peer_answer(peer, peer_check_to(peer, NEW_HOST, A));
	checks(peer, A, NEW_HOST, true);
	peer_assert_path(peer, NEW_HOST, A);
	peer_run_answering_ms(peer, 10000);
	assert_int_equal(ice_state_of(peer->ice), ICE_CONNECTED);
}

static void peers_check_on_the_new_address_makes_a_path(void **state)
{
	struct peer *peer = *state;

	peer_remote(peer, true, CANDIDATE_HOST, A);
	checks(peer, A, OUR_HOST, true);
	peer_local(peer, false, CANDIDATE_HOST, OUR_HOST, OUR_HOST);
	peer_local(peer, true, CANDIDATE_HOST, NEW_HOST, NEW_HOST);
	roam(peer, ICE_PATH_KEPT);
	checks(peer, B, NEW_HOST, true); /* peer-reflexive */
	peer_assert_path(peer, NEW_HOST, B);
}

static void nominated_pair_takes_over_in_the_same_step(void **state)
{
	struct peer *peer = *state;

	two_paths(peer, true);
	peer_local(peer, false, CANDIDATE_HOST, HOST6, HOST6);
	peer_assert_path(peer, OUR_HOST, A);
	assert_int_equal(peer->n_selected, 1);
}

static void valid_pair_takes_over_after_a_roam_only(void **state)
{
	struct peer *peer = *state;

	two_paths(peer, false);
	peer_local(peer, false, CANDIDATE_HOST, HOST6, HOST6);
	assert_true(no_path(peer));
	roam(peer, ICE_PATH_KEPT);
	peer_assert_path(peer, OUR_HOST, A);
	/* The peer nominates another one: that is followed. */
	peer_remote(peer, true, CANDIDATE_HOST, B);
	peer_answer(peer, peer_check_to(peer, OUR_HOST, B));
	checks(peer, B, OUR_HOST, true);
	peer_assert_path(peer, OUR_HOST, B);
}

static void agent_without_nomination_takes_none_by_itself(void **state)
{
	struct peer *peer = *state;

	peer_remote(peer, true, CANDIDATE_HOST, A);
	peer_answer(peer, peer_check_to(peer, OUR_HOST, A));
	roam(peer, ICE_PATH_KEPT);
	assert_true(no_path(peer));
}

static void kept_path_stays_and_costs_nothing(void **state)
{
	struct peer *peer = *state;

	two_paths(peer, true);
	peer_run_answering_ms(peer, 20000);
	roam(peer, ICE_PATH_KEPT);
	assert_int_equal(peer->n_sent, 0);
	assert_int_equal(peer->n_selected, 0);
	peer_assert_path(peer, HOST6, A6);
}

static void suspect_path_yields_to_one_that_works_or_stays(void **state)
{
	struct peer *peer = *state;

	two_paths(peer, false);
	peer_wait_ms(peer, 1);
	roam(peer, ICE_PATH_SUSPECT);
	peer_assert_path(peer, HOST6, A6); /* nothing nominated is better */
	assert_true(peer_has_check_to(peer, HOST6, A6));
	peer_answer(peer, peer_check_to(peer, HOST6, A6));
	checks(peer, A, OUR_HOST, true);
	peer_assert_path(peer, HOST6, A6);
	roam(peer, ICE_PATH_SUSPECT);
	peer_assert_path(peer, OUR_HOST, A);
}

static void lost_path_is_left_until_the_peer_comes_back_to_it(void **state)
{
	struct peer *peer = *state;

	two_paths(peer, false);
	roam(peer, ICE_PATH_LOST);
	peer_assert_path(peer, OUR_HOST, A);
	checks(peer, A6, HOST6, true);
	peer_assert_path(peer, HOST6, A6);
}

static void lost_path_without_another_is_no_path(void **state)
{
	struct peer *peer = *state;

	peer_remote(peer, true, CANDIDATE_HOST, A);
	checks(peer, A, OUR_HOST, true);
	roam(peer, ICE_PATH_LOST);
	assert_true(no_path(peer));
	checks(peer, A, OUR_HOST, true);
	peer_assert_path(peer, OUR_HOST, A);
}

/* A pair that has been asked for long is asked each 15 s; the new network begins from scratch. */
static void pairs_that_are_left_begin_a_new_ladder(void **state)
{
	struct peer *peer = *state;

	two_paths(peer, true);
	peer_run_answering_ms(peer, 60000);
	peer_run_ms(peer, 1000); /* no more answers */
	assert_true(peer_count_to(peer, A) <= 1);
	peer_local(peer, false, CANDIDATE_HOST, HOST6, HOST6);
	roam(peer, ICE_PATH_LOST);
	assert_int_equal(peer_count_to(peer, A), 1);
	peer_run_ms(peer, 3000);
	assert_int_equal(peer_count_to(peer, A), 3); /* 0.25, 0.75, 1.75 s */
}

/* It may be on the host still, with services of its own. */
static void address_that_was_ours_is_not_checked(void **state)
{
	struct peer *peer = *state;

	peer_local(peer, false, CANDIDATE_HOST, OUR_HOST, OUR_HOST);
	peer_local(peer, true, CANDIDATE_HOST, NEW_HOST, NEW_HOST);
	peer_remote(peer, true, CANDIDATE_HOST, OUR_HOST);
	assert_int_equal(peer->n_sent, 0);
	peer_remote(peer, true, CANDIDATE_HOST, "10.0.0.5:53");
	assert_int_equal(peer->n_sent, 0);
}

static void signalled_candidates_are_told_the_discovered_and_withdrawn_are_not(void **state)
{
	struct peer *peer = *state;
	struct candidate all[ICE_MAX_REMOTE_SIGNALLED];
	struct endpoint b = at("203.0.113.8:999");

	peer_remote(peer, true, CANDIDATE_HOST, A);
	peer_remote(peer, true, CANDIDATE_SRFLX, "203.0.113.8:999"); /* brings B, optimistically */
	assert_true(peer_has_check_to(peer, OUR_HOST, B));
	checks(peer, "203.0.113.9:5", OUR_HOST, false);
	assert_int_equal(ice_remote_candidates(peer->ice, all, ICE_MAX_REMOTE_SIGNALLED), 2);
	peer_remote(peer, false, CANDIDATE_HOST, A);
	assert_int_equal(ice_remote_candidates(peer->ice, all, ICE_MAX_REMOTE_SIGNALLED), 1);
	assert_true(endpoint_eq(&all[0].addr, &b));
	assert_int_equal(ice_remote_candidates(peer->ice, all, 0), 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, peer_setup_host, peer_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CASE(agent_that_lost_all_in_a_roam_has_fifteen_seconds),
	    CASE(agent_that_lost_all_otherwise_has_two),
	    CASE(new_candidate_is_checked_at_once_and_ends_the_grace),
	    CASE(peers_check_on_the_new_address_makes_a_path),
	    CASE(nominated_pair_takes_over_in_the_same_step),
	    CASE(valid_pair_takes_over_after_a_roam_only),
	    CASE(agent_without_nomination_takes_none_by_itself),
	    CASE(kept_path_stays_and_costs_nothing),
	    CASE(suspect_path_yields_to_one_that_works_or_stays),
	    CASE(lost_path_is_left_until_the_peer_comes_back_to_it),
	    CASE(lost_path_without_another_is_no_path),
	    CASE(pairs_that_are_left_begin_a_new_ladder),
	    CASE(address_that_was_ours_is_not_checked),
	    CASE(signalled_candidates_are_told_the_discovered_and_withdrawn_are_not),
	};

	return cmocka_run_group_tests(tests, peer_group_setup, NULL);
}
