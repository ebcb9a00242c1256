/* Which path carries the traffic. [spec connections 4.4] */
#include "peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* By descending priority of the pairs from OUR_HOST. */
#define A "203.0.113.7:40000"
#define B "203.0.113.8:40000"
#define C "203.0.113.9:40000"

/* Host, server-reflexive and relayed candidate of the peer; their first checks stay unanswered. */
static void signal_all(struct peer *peer)
{
	peer_remote(peer, true, CANDIDATE_HOST, A);
	peer_remote(peer, true, CANDIDATE_SRFLX, B);
	peer_remote(peer, true, CANDIDATE_RELAY, C);
	peer_wait_ms(peer, 300);
	peer_timeout(peer);
}

/* The peer's check and, on success of ours, the answer to the check that it caused. */
static void nominate(struct peer *peer, const char *src)
{
	peer_wait_ms(peer, 300);
	peer_checks(peer, src, OUR_HOST, true);
	peer_answer(peer, peer_check_to(peer, OUR_HOST, src));
}

static void plain(struct peer *peer, const char *src)
{
	peer_wait_ms(peer, 1500);
	peer_checks(peer, src, OUR_HOST, false);
	assert_non_null(peer_reply(peer));
}

/* The same, and our own checks get their answers. */
static void answering(struct peer *peer, const char *src)
{
	struct peer_sent sent[PEER_MAX_SENT];
	size_t n;

	plain(peer, src);
	n = peer->n_sent;
	memcpy(sent, peer->sent, sizeof(sent));
	for (size_t i = 0; i < n; i++)
		if (sent[i].msg.class == STUN_REQUEST)
			peer_answer(peer, sent[i]);
}

static void nomination_gets_reply_triggered_check_and_path(void **state)
{
	struct peer *peer = *state;

	signal_all(peer);
	/* No check of ours is due by itself. */
	peer_wait_ms(peer, 1);
	peer_checks(peer, B, OUR_HOST, true);
	assert_non_null(peer_reply(peer));
	assert_int_equal(peer->n_sent, 2);
	assert_true(peer_has_check_to(peer, OUR_HOST, B));
	assert_int_equal(peer->n_selected, 1);
	assert_int_equal(peer->states[0], ICE_CONNECTED);
	peer_assert_path(peer, OUR_HOST, B);
}

static void check_without_nomination_selects_nothing(void **state)
{
	struct peer *peer = *state;
	struct ice_path path;

	signal_all(peer);
	peer_wait_ms(peer, 1);
	peer_checks(peer, B, OUR_HOST, false);
	assert_int_equal(peer->n_sent, 1);
	assert_int_equal(peer->n_selected, 0);
	assert_false(ice_selected(peer->ice, &path));
	assert_int_equal(ice_state_of(peer->ice), ICE_CHECKING);
}

static void nominated_check_goes_ahead_of_the_others(void **state)
{
	struct peer *peer = *state;
	struct endpoint c = at(C);

	signal_all(peer);
	peer_wait_ms(peer, 600);
	peer_checks(peer, C, OUR_HOST, true);
	assert_int_equal(peer->n_sent, 4);
	assert_int_equal(peer->sent[0].msg.class, STUN_SUCCESS);
	assert_true(endpoint_eq(&peer->sent[1].path.remote, &c));
}

static void better_pair_is_adopted_after_our_own_check_succeeded(void **state)
{
	struct peer *peer = *state;
	struct peer_sent check;

	signal_all(peer);
	nominate(peer, B);
	peer_assert_path(peer, OUR_HOST, B);
	peer_wait_ms(peer, 300);
	peer_checks(peer, A, OUR_HOST, true);
	assert_int_equal(peer->n_selected, 0);
	peer_assert_path(peer, OUR_HOST, B);
	check = peer_check_to(peer, OUR_HOST, A);
	peer_answer(peer, check);
	assert_int_equal(peer->n_selected, 1);
	peer_assert_path(peer, OUR_HOST, A);
	/* A repetition of the answer means nothing. */
	peer_answer(peer, check);
	assert_int_equal(peer->n_selected, 0);
}

static void better_pair_that_had_answered_is_adopted_with_its_nomination(void **state)
{
	struct peer *peer = *state;

	signal_all(peer);
	nominate(peer, B);
	peer_run_ms(peer, 2000);
	peer_answer(peer, peer_check_to(peer, OUR_HOST, A));
	peer_assert_path(peer, OUR_HOST, B);
	peer_checks(peer, A, OUR_HOST, true);
	assert_int_equal(peer->n_selected, 1);
	peer_assert_path(peer, OUR_HOST, A);
}

static void declared_priority_counts_from_then_on(void **state)
{
	struct peer *peer = *state;
	struct peer_check check = {.src = C, .dst = OUR_HOST, .use_candidate = true};

	check.priority = UINT32_MAX;
	peer_remote(peer, true, CANDIDATE_SRFLX, B);
	peer_check(peer, &check);
	peer_answer(peer, peer_check_to(peer, OUR_HOST, C));
	nominate(peer, B);
	peer_assert_path(peer, OUR_HOST, C);
	peer_remote(peer, true, CANDIDATE_RELAY, C);
	assert_int_equal(peer->n_selected, 1);
	peer_assert_path(peer, OUR_HOST, B);
}

static void replayed_nomination_from_another_source_takes_nothing_over(void **state)
{
	struct peer *peer = *state;

	signal_all(peer);
	nominate(peer, B);
	for (unsigned i = 0; i < 20; i++) {
		peer_wait_ms(peer, 200);
		peer_checks(peer, "198.18.0.1:666", OUR_HOST, true);
		peer_checks(peer, B, OUR_HOST, true);
		peer_assert_path(peer, OUR_HOST, B);
	}
}

static void worse_nominated_pair_changes_nothing(void **state)
{
	struct peer *peer = *state;

	signal_all(peer);
	nominate(peer, A);
	nominate(peer, B);
	assert_int_equal(peer->n_selected, 0);
	peer_assert_path(peer, OUR_HOST, A);
}

static void unverified_first_path_yields_to_a_verified_one(void **state)
{
	struct peer *peer = *state;

	signal_all(peer);
	peer_checks(peer, A, OUR_HOST, true);
	peer_assert_path(peer, OUR_HOST, A);
	nominate(peer, B);
	peer_assert_path(peer, OUR_HOST, B);
}

static void three_checks_elsewhere_outweigh_the_better_pair(void **state)
{
	struct peer *peer = *state;

	signal_all(peer);
	nominate(peer, A);
	nominate(peer, B);
	answering(peer, A);
	answering(peer, B);
	answering(peer, B);
	peer_assert_path(peer, OUR_HOST, A);
	answering(peer, B);
	peer_assert_path(peer, OUR_HOST, B);
}

static void checks_on_all_pairs_at_one_rate_outweigh_nothing(void **state)
{
	struct peer *peer = *state;

	signal_all(peer);
	nominate(peer, A);
	nominate(peer, B);
	nominate(peer, C);
	for (unsigned i = 0; i < 50; i++) {
		answering(peer, C);
		answering(peer, B);
		answering(peer, A);
		peer_assert_path(peer, OUR_HOST, A);
	}
}

/* Its checks still arrive; only what we send is lost. */
static void path_that_answers_no_more_yields_to_the_one_that_the_peer_wants(void **state)
{
	struct peer *peer = *state;

	signal_all(peer);
	nominate(peer, B);
	nominate(peer, A);
	peer_run_answering_ms(peer, 60000);
	peer_assert_path(peer, OUR_HOST, A);
	peer_wait_ms(peer, 5000);
	peer_checks(peer, B, OUR_HOST, true);
	peer_answer(peer, peer_check_to(peer, OUR_HOST, A));
	peer_assert_path(peer, OUR_HOST, A);
	peer_run_answering_ms(peer, 60000);
	peer_wait_ms(peer, 5000);
	peer_checks(peer, B, OUR_HOST, true);
	assert_true(peer_has_check_to(peer, OUR_HOST, A));
	peer_checks(peer, A, OUR_HOST, false);
	peer_run_ms(peer, 1000);
	peer_assert_path(peer, OUR_HOST, A);
	peer_run_ms(peer, 1000);
	peer_assert_path(peer, OUR_HOST, B);
	/* As soon as it answers again it is the better one. */
	peer_wait_ms(peer, 300);
	peer_checks(peer, A, OUR_HOST, false);
	peer_answer(peer, peer_check_to(peer, OUR_HOST, A));
	peer_assert_path(peer, OUR_HOST, A);
}

static void single_lost_checks_move_nothing(void **state)
{
	struct peer *peer = *state;

	signal_all(peer);
	nominate(peer, B);
	nominate(peer, A);
	for (unsigned i = 0; i < 40; i++) {
		answering(peer, A);
		peer_run_answering_ms(peer, 1500);
	}
	/* Thirty seconds: two of our checks, both lost. */
	for (unsigned i = 0; i < 20; i++) {
		peer_run_ms(peer, 1499);
		peer_wait_ms(peer, 1);
		peer_checks(peer, A, OUR_HOST, false);
		peer_assert_path(peer, OUR_HOST, A);
	}
}

static void repeated_transactions_outweigh_nothing(void **state)
{
	struct peer *peer = *state;
	struct stun_txid txid = {{9}};
	struct peer_check check = {.src = B, .dst = OUR_HOST, .txid = &txid};

	signal_all(peer);
	nominate(peer, A);
	nominate(peer, B);
	plain(peer, A);
	for (unsigned i = 0; i < 10; i++) {
		peer_run_answering_ms(peer, 500);
		peer_check(peer, &check);
		assert_non_null(peer_reply(peer));
		peer_assert_path(peer, OUR_HOST, A);
	}
}

static void checks_on_a_pair_that_is_not_nominated_outweigh_nothing(void **state)
{
	struct peer *peer = *state;

	signal_all(peer);
	nominate(peer, A);
	for (unsigned i = 0; i < 10; i++) {
		plain(peer, B);
		peer_assert_path(peer, OUR_HOST, A);
	}
}

static void only_nominated_pairs_outweigh(void **state)
{
	struct peer *peer = *state;

	signal_all(peer);
	nominate(peer, A);
	nominate(peer, B);
	answering(peer, A);
	answering(peer, C);
	answering(peer, C);
	answering(peer, B);
	answering(peer, C);
	peer_assert_path(peer, OUR_HOST, A);
}

static void outweighed_pair_stays_while_the_other_never_answered(void **state)
{
	struct peer *peer = *state;

	signal_all(peer);
	nominate(peer, A);
	peer_wait_ms(peer, 300);
	peer_checks(peer, B, OUR_HOST, true);
	for (unsigned i = 0; i < 5; i++)
		plain(peer, B);
	peer_assert_path(peer, OUR_HOST, A);
	peer_answer(peer, peer_check_to(peer, OUR_HOST, B));
	peer_assert_path(peer, OUR_HOST, B);
}

static void peer_that_comes_back_to_the_better_pair_is_followed_after_a_check(void **state)
{
	struct peer *peer = *state;

	signal_all(peer);
	nominate(peer, A);
	nominate(peer, B);
	plain(peer, B);
	plain(peer, B);
	plain(peer, B);
	peer_assert_path(peer, OUR_HOST, B);
	plain(peer, A);
	peer_assert_path(peer, OUR_HOST, B);
	peer_answer(peer, peer_check_to(peer, OUR_HOST, A));
	peer_assert_path(peer, OUR_HOST, A);
}

static void nomination_lasts_without_the_attribute(void **state)
{
	struct peer *peer = *state;

	signal_all(peer);
	nominate(peer, A);
	for (unsigned i = 0; i < 10; i++)
		plain(peer, A);
	assert_int_equal(ice_state_of(peer->ice), ICE_CONNECTED);
	peer_assert_path(peer, OUR_HOST, A);
}

static void withdrawn_path_falls_back_to_the_next_nominated_one(void **state)
{
	struct peer *peer = *state;
	struct ice_path path;

	signal_all(peer);
	nominate(peer, A);
	peer_wait_ms(peer, 300);
	peer_checks(peer, B, OUR_HOST, true);
	peer_remote(peer, false, CANDIDATE_HOST, A);
	/* Not verified so far, but there is nothing better. */
	assert_int_equal(peer->n_selected, 1);
	peer_assert_path(peer, OUR_HOST, B);
	assert_int_equal(peer->n_unselected, 0);
	peer_remote(peer, false, CANDIDATE_SRFLX, B);
	assert_int_equal(peer->n_unselected, 1);
	assert_false(ice_selected(peer->ice, &path));
	assert_int_equal(ice_state_of(peer->ice), ICE_CHECKING);
}

static void relay_lost_and_replaced_is_nominated_anew(void **state)
{
	struct peer *peer = *state;

	peer_local(peer, true, CANDIDATE_RELAY, OUR_RELAY, OUR_RELAY);
	peer_remote(peer, true, CANDIDATE_RELAY, C);
	peer_checks(peer, C, OUR_RELAY, true);
	peer_assert_path(peer, OUR_RELAY, C);
	assert_true(peer->selected.via_relay);
	peer_local(peer, false, CANDIDATE_RELAY, OUR_RELAY, OUR_RELAY);
	assert_int_equal(ice_state_of(peer->ice), ICE_CHECKING);
	peer_local(peer, true, CANDIDATE_RELAY, "192.0.2.51:50000", "192.0.2.51:50000");
	assert_true(peer_has_check_to(peer, "192.0.2.51:50000", C));
	peer_checks(peer, C, "192.0.2.51:50000", true);
	peer_assert_path(peer, "192.0.2.51:50000", C);
}

/* A client that nominates with every check and wanders: never a path that the client does not
 * check. */
static void aggressive_nomination_is_followed(void **state)
{
	static const char *const sources[] = {A, B, C};
	struct peer *peer = *state;

	signal_all(peer);
	for (unsigned i = 0; i < ARRAY_LEN(sources); i++)
		nominate(peer, sources[i]);
	peer_assert_path(peer, OUR_HOST, A);
	for (unsigned round = 0; round < 6; round++) {
		const char *src = sources[round % 3];
		struct endpoint want = at(src);
		struct ice_path path;

		for (unsigned i = 0; i < 3; i++) {
			peer_wait_ms(peer, 5000);
			peer_checks(peer, src, OUR_HOST, true);
			if (peer_has_check_to(peer, OUR_HOST, src))
				peer_answer(peer, peer_check_to(peer, OUR_HOST, src));
		}
		assert_true(ice_selected(peer->ice, &path));
		assert_true(endpoint_eq(&path.remote, &want));
	}
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, peer_setup_host, peer_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CASE(nomination_gets_reply_triggered_check_and_path),
	    CASE(check_without_nomination_selects_nothing),
	    CASE(nominated_check_goes_ahead_of_the_others),
	    CASE(better_pair_is_adopted_after_our_own_check_succeeded),
	    CASE(better_pair_that_had_answered_is_adopted_with_its_nomination),
	    CASE(declared_priority_counts_from_then_on),
	    CASE(replayed_nomination_from_another_source_takes_nothing_over),
	    CASE(worse_nominated_pair_changes_nothing),
	    CASE(unverified_first_path_yields_to_a_verified_one),
	    CASE(three_checks_elsewhere_outweigh_the_better_pair),
	    CASE(checks_on_all_pairs_at_one_rate_outweigh_nothing),
	    CASE(path_that_answers_no_more_yields_to_the_one_that_the_peer_wants),
	    CASE(single_lost_checks_move_nothing),
	    CASE(repeated_transactions_outweigh_nothing),
	    CASE(checks_on_a_pair_that_is_not_nominated_outweigh_nothing),
	    CASE(only_nominated_pairs_outweigh),
	    CASE(outweighed_pair_stays_while_the_other_never_answered),
	    CASE(peer_that_comes_back_to_the_better_pair_is_followed_after_a_check),
	    CASE(nomination_lasts_without_the_attribute),
	    CASE(withdrawn_path_falls_back_to_the_next_nominated_one),
	    CASE(relay_lost_and_replaced_is_nominated_anew),
	    CASE(aggressive_nomination_is_followed),
	};

	return cmocka_run_group_tests(tests, peer_group_setup, NULL);
}
