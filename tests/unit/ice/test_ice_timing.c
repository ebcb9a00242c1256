/* When checks go out and pairs end. [spec connections 2.2, 4.1; connections-ice-timing.json] */
#include "peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "vectors.h"

#define PEER "203.0.113.7:40000"

/* Go to @until_us; the next deadline that is served must be a check, and exactly then. */
static void expect_check_at(struct peer *peer, uint64_t until_us)
{
	if (until_us > peer->now_us) {
		peer_run_ms(peer, (until_us - peer->now_us) / US_PER_MS - 1);
		assert_int_equal(peer_count_to(peer, PEER), 0);
		peer_run_ms(peer, 1);
	}
	assert_int_equal(peer_count_to(peer, PEER), 1);
}

/*
 * A pair whose checks are never answered, but whose peer keeps checking us (else the address would
 * be given up early): the whole ladder, then the end.
 */
static void never_answered(struct peer *peer, const char *profile)
{
	cJSON *json = vectors_load(VECTORS_DIR "/connections-ice-timing.json");
	const cJSON *rows = vectors_get(json, profile), *row;
	uint64_t end_ms = vectors_u64(rows, "never_answered_pruned_at_ms");
	uint64_t max_ms = vectors_u64(rows, "max_rto_ms");
	uint64_t start_us = peer->now_us;
	unsigned n = 0;

	peer_remote(peer, true, CANDIDATE_HOST, PEER);
	cJSON_ArrayForEach(row, vectors_get(rows, "never_answered_sends_at_ms"))
	{
		expect_check_at(peer, start_us + (uint64_t)row->valuedouble * US_PER_MS);
		peer_checks(peer, PEER, OUR_HOST, false);
		assert_int_equal(peer->n_sent, 1);
		n++;
	}
	assert_int_equal(n, vectors_u64(rows, "max_retransmits"));
	assert_int_equal(peer->now_us, start_us + (end_ms - max_ms) * US_PER_MS);
	peer_run_ms(peer, max_ms - 1);
	assert_int_equal(peer->n_sent, 0);
	assert_int_equal(ice_state_of(peer->ice), ICE_CHECKING);
	peer_run_ms(peer, 1);
	assert_int_equal(peer->n_sent, 0);
	assert_int_equal(ice_state_of(peer->ice), ICE_DISCONNECTED);
	cJSON_Delete(json);
}

static void active_ladder_follows_the_vector(void **state)
{
	never_answered(*state, "gateway_active");
}

static void idle_ladder_follows_the_vector(void **state)
{
	peer_profile(*state, ICE_IDLE);
	never_answered(*state, "gateway_idle");
}

/*
 * A pair with a long history of answers slows down to one check per longest interval. It carries no
 * traffic: one that does is asked more often when the peer is quiet.
 */
static void establish(struct peer *peer, uint64_t steady_ms)
{
	peer_remote(peer, true, CANDIDATE_HOST, PEER);
	peer_checks(peer, PEER, OUR_HOST, false);
	peer_run_answering_ms(peer, 100 * steady_ms);
	assert_int_equal(ice_state_of(peer->ice), ICE_CHECKING);
}

static void steady_and_dead(struct peer *peer, const char *profile)
{
	cJSON *json = vectors_load(VECTORS_DIR "/connections-ice-timing.json");
	const cJSON *rows = vectors_get(json, profile);
	uint64_t steady_ms = vectors_u64(rows, "steady_check_interval_ms");
	uint64_t dead_ms = vectors_u64(rows, "established_pair_timeout_ms");
	uint64_t last_us;

	establish(peer, steady_ms);
	for (unsigned i = 0; i < 10; i++) {
		last_us = ice_deadline(peer->ice);
		expect_check_at(peer, last_us);
		peer_answer(peer, peer_check_to(peer, OUR_HOST, PEER));
		assert_int_equal(ice_deadline(peer->ice), last_us + steady_ms * US_PER_MS);
	}
	/* From the first unanswered check to the end of the pair. */
	peer_run_ms(peer, steady_ms);
	assert_int_equal(peer_count_to(peer, PEER), 1);
	peer_run_ms(peer, dead_ms - 1);
	assert_int_equal(ice_state_of(peer->ice), ICE_CHECKING);
	peer_run_ms(peer, 1);
	assert_int_equal(ice_state_of(peer->ice), ICE_DISCONNECTED);
	cJSON_Delete(json);
}

static void active_pair_is_steady_and_dies_in_time(void **state)
{
	steady_and_dead(*state, "gateway_active");
}

static void idle_pair_is_steady_and_dies_in_time(void **state)
{
	peer_profile(*state, ICE_IDLE);
	steady_and_dead(*state, "gateway_idle");
}

/* The checks at the start of an outage count too: the end comes up to two long gaps earlier. */
static void path_in_use_outlives_a_client_that_suspends(void **state)
{
	struct peer *peer = *state;

	peer_remote(peer, true, CANDIDATE_HOST, PEER);
	peer_checks(peer, PEER, OUR_HOST, true);
	for (unsigned i = 0; i < 100; i++) {
		peer_run_answering_ms(peer, 1500);
		peer_checks(peer, PEER, OUR_HOST, true);
	}
	peer_run_ms(peer, 580 * 1000);
	assert_int_equal(ice_state_of(peer->ice), ICE_CONNECTED);
	peer_run_ms(peer, 37 * 1000);
	assert_int_equal(ice_state_of(peer->ice), ICE_FAILED);
	assert_int_equal(peer->n_unselected, 1);
}

static void outage_starts_a_fast_ladder(void **state)
{
	static const unsigned gaps_ms[] = {15000, 500, 1000, 2000, 4000, 8000, 15000, 15000};
	struct peer *peer = *state;
	uint64_t at_us;

	establish(peer, 15000);
	at_us = ice_deadline(peer->ice);
	expect_check_at(peer, at_us);
	for (size_t i = 0; i < ARRAY_LEN(gaps_ms); i++) {
		at_us += gaps_ms[i] * US_PER_MS;
		expect_check_at(peer, at_us);
	}
	/* An answer ends it. */
	peer_answer(peer, peer_check_to(peer, OUR_HOST, PEER));
	assert_int_equal(ice_deadline(peer->ice), at_us + 15 * US_PER_S);
}

static void answer_to_an_earlier_check_shortens_the_run(void **state)
{
	struct peer *peer = *state;
	struct peer_sent first;
	uint64_t at_us;

	establish(peer, 15000);
	expect_check_at(peer, ice_deadline(peer->ice));
	peer_run_ms(peer, 15000);
	first = peer_check_to(peer, OUR_HOST, PEER);
	at_us = peer->now_us;
	expect_check_at(peer, at_us + 500 * US_PER_MS);
	/* The check half a second ago is answered: a run of one, young, so the pair counts as
	 * healthy. */
	peer_answer(peer, first);
	assert_int_equal(ice_deadline(peer->ice), at_us + 500 * US_PER_MS + 15 * US_PER_S);
}

static void profile_change_evaluates_anew(void **state)
{
	struct peer *peer = *state;
	uint64_t last_us;

	establish(peer, 15000);
	expect_check_at(peer, ice_deadline(peer->ice));
	peer_answer(peer, peer_check_to(peer, OUR_HOST, PEER));
	last_us = peer->now_us;
	peer_wait_ms(peer, 10000);
	peer_profile(peer, ICE_IDLE);
	assert_int_equal(peer->n_sent, 0);
	assert_int_equal(ice_deadline(peer->ice), last_us + 25 * US_PER_S);
	peer_wait_ms(peer, 10000);
	peer_profile(peer, ICE_ACTIVE);
	/* Twenty seconds since the last one: overdue. */
	assert_int_equal(peer_count_to(peer, PEER), 1);
}

static void address_that_never_answered_is_left_after_a_minute(void **state)
{
	struct peer *peer = *state;

	peer_remote(peer, true, CANDIDATE_HOST, PEER);
	peer_run_ms(peer, 59999);
	assert_int_equal(peer_count_to(peer, PEER), 8);
	assert_int_equal(ice_state_of(peer->ice), ICE_CHECKING);
	peer_run_ms(peer, 1);
	assert_int_equal(ice_state_of(peer->ice), ICE_DISCONNECTED);
	peer_run_ms(peer, 2000);
	assert_int_equal(ice_state_of(peer->ice), ICE_FAILED);
}

static void left_address_is_taken_up_again_when_it_checks_us(void **state)
{
	struct peer *peer = *state;

	peer_remote(peer, true, CANDIDATE_HOST, PEER);
	peer_run_ms(peer, 61000);
	assert_int_equal(ice_state_of(peer->ice), ICE_DISCONNECTED);
	peer_checks(peer, PEER, OUR_HOST, true);
	assert_non_null(peer_reply(peer));
	assert_int_equal(peer_count_to(peer, PEER), 1);
	assert_int_equal(ice_state_of(peer->ice), ICE_CONNECTED);
}

static void left_address_is_taken_up_again_when_it_is_signalled(void **state)
{
	struct peer *peer = *state;

	peer_remote(peer, true, CANDIDATE_HOST, PEER);
	peer_run_ms(peer, 61000);
	peer_remote(peer, true, CANDIDATE_HOST, PEER);
	assert_int_equal(peer_count_to(peer, PEER), 1);
	assert_int_equal(ice_state_of(peer->ice), ICE_CHECKING);
}

static void used_up_pair_goes_on_while_the_peer_checks_it(void **state)
{
	struct peer *peer = *state;

	peer_remote(peer, true, CANDIDATE_HOST, PEER);
	for (unsigned i = 0; i < 59; i++) {
		peer_run_ms(peer, 10000);
		peer_checks(peer, PEER, OUR_HOST, false);
	}
	peer_run_ms(peer, 10749);
	assert_int_equal(peer->n_sent, 0);
	/* The 46th check, where the pair would have ended. */
	peer_run_ms(peer, 1);
	assert_int_equal(peer_count_to(peer, PEER), 1);
	peer_run_ms(peer, 14999);
	assert_int_equal(ice_state_of(peer->ice), ICE_CHECKING);
	peer_run_ms(peer, 1);
	assert_int_equal(ice_state_of(peer->ice), ICE_DISCONNECTED);
}

static void recent_inbound_check_keeps_a_pair(void **state)
{
	struct peer *peer = *state;

	peer_remote(peer, true, CANDIDATE_HOST, PEER);
	peer_run_ms(peer, 50000);
	peer_checks(peer, PEER, OUR_HOST, false);
	peer_run_ms(peer, 59999);
	assert_int_equal(ice_state_of(peer->ice), ICE_CHECKING);
	peer_run_ms(peer, 1);
	assert_int_equal(ice_state_of(peer->ice), ICE_DISCONNECTED);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, peer_setup_host, peer_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CASE(active_ladder_follows_the_vector),
	    CASE(idle_ladder_follows_the_vector),
	    CASE(active_pair_is_steady_and_dies_in_time),
	    CASE(idle_pair_is_steady_and_dies_in_time),
	    CASE(path_in_use_outlives_a_client_that_suspends),
	    CASE(outage_starts_a_fast_ladder),
	    CASE(answer_to_an_earlier_check_shortens_the_run),
	    CASE(profile_change_evaluates_anew),
	    CASE(address_that_never_answered_is_left_after_a_minute),
	    CASE(left_address_is_taken_up_again_when_it_checks_us),
	    CASE(left_address_is_taken_up_again_when_it_is_signalled),
	    CASE(used_up_pair_goes_on_while_the_peer_checks_it),
	    CASE(recent_inbound_check_keeps_a_pair),
	};

	return cmocka_run_group_tests(tests, peer_group_setup, NULL);
}
