/* Start, retransmission, keeping an allocation alive, losing it. [spec
 * connections 6.1, 6.3, 6.5, 6.6] */
#include "harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const uint64_t schedule_us[] = {0, MS(1000), MS(2500), MS(4750)};

static void probe_is_repeated_byte_for_byte_then_the_relay_is_dropped(void **state)
{
	struct harness *h = harness_new(harness_v4, NULL);
	uint64_t start_us = h->now_us;

	(void)state;
	harness_run(h, MS(8124));
	assert_int_equal(h->sent_count, 4);
	for (size_t i = 0; i < 4; i++) {
		assert_true(h->sent[i].at_us - start_us == schedule_us[i]);
		assert_int_equal(h->sent[i].len, 32);
		assert_memory_equal(h->sent[i].bytes, h->sent[0].bytes, 32);
	}
	assert_int_equal(h->dropped, 0);
	harness_run(h, MS(1));
	assert_int_equal(h->dropped, 1);
	assert_true(turn_deadline(h->turn) == NEVER_US);
	harness_free(h);
}

static void both_addresses_are_probed_and_the_first_answer_wins(void **state)
{
	struct harness *h = harness_new(harness_v4, harness_v6);
	const struct sent *v4 = harness_last(h, 1);
	const struct sent *v6 = harness_last(h, 0);

	(void)state;
	assert_int_equal(h->sent_count, 2);
	harness_answer_binding(h, v6);
	assert_int_equal(harness_count(h, STUN_ALLOCATE), 1);
	assert_true(endpoint_eq(&harness_last(h, 0)->dst, &v6->dst));
	assert_true(harness_signed_with(h, harness_last(h, 0), NULL));
	harness_answer_binding(h, v4);
	assert_int_equal(harness_count(h, STUN_ALLOCATE), 1);
	assert_int_equal(h->candidate_count, 4);
	assert_int_equal(h->candidates[2].kind, CANDIDATE_HOST);
	assert_int_equal(h->candidates[2].addr.ip.family, IP_V4);
	assert_int_equal(h->candidates[3].kind, CANDIDATE_SRFLX);
	assert_true(endpoint_eq(&h->candidates[3].base, &h->candidates[2].addr));
	harness_free(h);
}

static void give_up_on_the_other_family_changes_nothing(void **state)
{
	struct harness *h = harness_new(harness_v4, harness_v6);

	(void)state;
	harness_answer_binding(h, harness_last(h, 1));
	ANSWER(h, harness_last_of(h, STUN_ALLOCATE), .lifetime_s = 600,
	       .relayed_v4 = "192.0.2.10:50000");
	harness_run(h, S(20));
	assert_int_equal(h->dropped, 0);
	assert_int_equal(h->lost_count, 0);
	harness_free(h);
}

static void binding_answers_only_count_from_the_address_asked(void **state)
{
	struct harness *h = harness_new(harness_v4, harness_v6);
	struct sent forged = *harness_last(h, 1);

	(void)state;
	ANSWER(h, harness_last(h, 1), .unsigned_ = true, .mapped = "198.51.100.4:1",
	       .from = harness_v6);
	ANSWER(h, harness_last(h, 1), .unsigned_ = true, .mapped = "198.51.100.4:1",
	       .from = "192.0.2.11:3478");
	forged.msg.txid.bytes[11] ^= 1;
	ANSWER(h, &forged, .unsigned_ = true, .mapped = "198.51.100.4:1");
	assert_int_equal(h->candidate_count, 0);
	assert_int_equal(harness_count(h, STUN_ALLOCATE), 0);
	harness_free(h);
}

static void unusable_addresses_make_no_candidates(void **state)
{
	static const char *const mapped[] = {"0.0.0.0:1000",   "169.254.1.1:1000",
					     "224.0.0.1:1000", "255.255.255.255:1000",
					     "198.51.100.4:0", "[2001:db8::1]:1000"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(mapped); i++) {
		struct harness *h = harness_new(harness_v4, NULL);

		ANSWER(h, harness_last(h, 0), .unsigned_ = true, .mapped = mapped[i]);
		assert_int_equal(h->candidate_count, 1);
		assert_int_equal(h->candidates[0].kind, CANDIDATE_HOST);
		harness_free(h);
	}
}

static void new_mapped_address_replaces_the_old_one_without_withdrawal(void **state)
{
	struct harness *h = harness_new(harness_v4, NULL);
	struct candidate all[TURN_MAX_CANDIDATES];

	(void)state;
	harness_make_ready(h);
	harness_run(h, S(26));
	ANSWER(h, harness_last_of(h, STUN_BINDING), .unsigned_ = true,
	       .mapped = "198.51.100.9:1234");
	assert_int_equal(h->candidate_count, 1);
	assert_int_equal(h->lost_count, 0);
	assert_int_equal(turn_candidates(h->turn, all), 4);
	assert_int_equal(all[1].addr.port, 1234);
	harness_free(h);
}

static void allocate_is_repeated_under_new_ids_and_given_up(void **state)
{
	struct harness *h = harness_new(harness_v4, NULL);
	uint64_t start_us = 0;

	(void)state;
	h->now_us += MS(5);
	start_us = h->now_us;
	harness_answer_binding(h, harness_last(h, 0));
	harness_run(h, MS(8124));
	assert_int_equal(harness_count(h, STUN_ALLOCATE), 4);
	for (size_t i = 1; i < 5; i++) {
		assert_true(h->sent[i].at_us - start_us == schedule_us[i - 1]);
		if (i > 1)
			assert_memory_not_equal(h->sent[i].msg.txid.bytes,
						h->sent[i - 1].msg.txid.bytes, STUN_TXID_LEN);
	}
	assert_int_equal(h->dropped, 0);
	harness_run(h, MS(1));
	assert_int_equal(h->dropped, 1);
	harness_free(h);
}

static void allocation_gives_candidates_and_the_relayed_addresses(void **state)
{
	struct harness *h = harness_new(harness_v4, NULL);
	struct candidate all[TURN_MAX_CANDIDATES];
	struct endpoint want = harness_ep("[2001:db8::10]:50000");
	struct endpoint have;

	(void)state;
	assert_false(turn_relayed(h->turn, IP_V4, &have));
	harness_make_ready(h);
	assert_int_equal(turn_candidates(h->turn, all), 4);
	assert_int_equal(all[2].kind, CANDIDATE_RELAY);
	assert_int_equal(all[2].relay_family, IP_V4);
	assert_true(endpoint_eq(&all[2].base, &all[2].addr));
	assert_true(turn_relayed(h->turn, IP_V6, &have));
	assert_true(endpoint_eq(&have, &want));
	assert_false(turn_relayed(h->turn, IP_NONE, &have));
	harness_free(h);
}

static void refresh_goes_out_at_half_the_lifetime(void **state)
{
	struct harness *h = harness_new(harness_v4, NULL);
	uint64_t start_us = 0;

	(void)state;
	harness_make_ready(h);
	start_us = h->now_us;
	while (harness_count(h, STUN_REFRESH) == 0) {
		harness_run_to(h, turn_deadline(h->turn));
		if (harness_count(h, STUN_BINDING) > 0)
			harness_answer_binding(h, harness_last_of(h, STUN_BINDING));
		if (harness_count(h, STUN_REFRESH) == 0)
			harness_forget(h);
	}
	assert_true(h->now_us - start_us == S(300));
	assert_true(harness_signed_with(h, harness_last_of(h, STUN_REFRESH), "nonce-1"));
	assert_false(harness_last_of(h, STUN_REFRESH)->msg.has_lifetime);
	ANSWER(h, harness_last_of(h, STUN_REFRESH), .lifetime_s = 1000);
	harness_forget(h);
	for (int i = 0; i < 19; i++) {
		harness_run(h, S(25));
		harness_answer_binding(h, harness_last_of(h, STUN_BINDING));
	}
	assert_int_equal(harness_count(h, STUN_REFRESH), 0);
	harness_run(h, S(25));
	assert_int_equal(harness_count(h, STUN_REFRESH), 1);
	harness_free(h);
}

static void expired_allocation_is_withdrawn_and_asked_for_again(void **state)
{
	struct harness *h = harness_new(harness_v4, NULL);

	(void)state;
	harness_make_ready(h);
	/* The process slept through it. */
	h->now_us += S(601);
	harness_event(h, TURN_INPUT_TIMEOUT);
	assert_int_equal(h->lost_count, 2);
	assert_int_equal(harness_count(h, STUN_ALLOCATE), 1);
	harness_free(h);
}

static void keepalive_follows_25_seconds_of_silence(void **state)
{
	struct harness *h = harness_new(harness_v4, NULL);
	uint64_t sent_us = 0;

	(void)state;
	sent_us = h->now_us;
	harness_make_ready(h);
	harness_run_to(h, sent_us + S(25) - 1);
	assert_int_equal(h->sent_count, 0);
	harness_run(h, 1);
	assert_int_equal(harness_count(h, STUN_BINDING), 1);
	harness_answer_binding(h, harness_last(h, 0));
	harness_free(h);
}

static void other_family_gets_one_chance_per_allocation(void **state)
{
	struct harness *h = harness_new(harness_v4, harness_v6);

	(void)state;
	/* Both answer Bindings, neither answers Allocates. */
	harness_answer_binding(h, harness_last(h, 0));
	harness_run(h, MS(8125));
	assert_int_equal(h->dropped, 0);
	harness_answer_binding(h, harness_last_of(h, STUN_BINDING));
	harness_run(h, MS(8125));
	assert_int_equal(h->dropped, 1);
	harness_free(h);
}

static void refresh_from_outside_survives_the_loss_of_its_first_try(void **state)
{
	struct harness *h = harness_new(harness_v4, NULL);

	(void)state;
	harness_make_ready(h);
	harness_event(h, TURN_INPUT_REFRESH);
	assert_int_equal(harness_count(h, STUN_REFRESH), 1);
	harness_event(h, TURN_INPUT_REFRESH);
	assert_int_equal(harness_count(h, STUN_REFRESH), 1);
	harness_run(h, S(1));
	assert_int_equal(harness_count(h, STUN_REFRESH), 2);
	assert_int_equal(h->lost_count + h->dropped, 0);
	ANSWER(h, harness_last_of(h, STUN_REFRESH), .lifetime_s = 600);
	harness_run(h, S(20));
	assert_int_equal(h->lost_count + h->dropped, 0);
	harness_free(h);
}

static void refresh_from_outside_into_silence_ends_like_any_other(void **state)
{
	struct harness *h = harness_new(harness_v4, NULL);

	(void)state;
	harness_make_ready(h);
	harness_event(h, TURN_INPUT_REFRESH);
	harness_run(h, MS(3500));
	assert_int_equal(turn_standing(h->turn), TURN_SILENT);
	harness_run(h, MS(6500));
	assert_int_equal(h->lost_count, 2);
	assert_int_equal(h->dropped, 1);
	harness_free(h);
}

static void refresh_from_outside_that_is_answered_renews_the_lifetime(void **state)
{
	struct harness *h = harness_new(harness_v4, NULL);

	(void)state;
	harness_make_ready(h);
	harness_event(h, TURN_INPUT_REFRESH);
	ANSWER(h, harness_last(h, 0), .lifetime_s = 600);
	harness_run(h, S(5));
	assert_int_equal(h->dropped, 0);
	assert_int_equal(h->lost_count, 0);
	harness_free(h);
}

static void round_trip_time_is_smoothed(void **state)
{
	struct harness *h = harness_new(harness_v4, NULL);

	(void)state;
	assert_true(turn_rtt_us(h->turn) == 0);
	harness_run(h, MS(1500)); /* the repeat at 1 s does not move the start of the measurement */
	harness_answer_binding(h, harness_last(h, 0));
	assert_true(turn_rtt_us(h->turn) == MS(1500));
	harness_run(h, MS(100));
	ANSWER(h, harness_last_of(h, STUN_ALLOCATE), .code = 401, .nonce = "n");
	assert_true(turn_rtt_us(h->turn) == (7 * MS(1500) + MS(100)) / 8);
	harness_run(h, MS(80));
	ANSWER(h, harness_last_of(h, STUN_ALLOCATE), .code = 401, .nonce = "n", .wrong_key = true);
	assert_true(turn_rtt_us(h->turn) == (7 * MS(1500) + MS(100)) / 8);
	harness_free(h);
}

static void shutdown_deletes_the_allocation_and_is_silent(void **state)
{
	struct harness *h = harness_new(harness_v4, NULL);

	(void)state;
	harness_make_ready(h);
	harness_event(h, TURN_INPUT_DELETE);
	assert_int_equal(h->sent_count, 1);
	assert_int_equal(harness_last(h, 0)->msg.method, STUN_REFRESH);
	assert_true(harness_last(h, 0)->msg.has_lifetime &&
		    harness_last(h, 0)->msg.lifetime_s == 0);
	assert_true(harness_signed_with(h, harness_last(h, 0), "nonce-1"));
	assert_true(turn_deadline(h->turn) == NEVER_US);
	ANSWER(h, harness_last(h, 0), .lifetime_s = 0);
	harness_event(h, TURN_INPUT_DELETE);
	harness_event(h, TURN_INPUT_REFRESH);
	harness_bind(h, "203.0.113.7:40000", 1);
	assert_int_equal(h->sent_count, 1);
	assert_int_equal(h->lost_count + h->dropped, 0);
	harness_free(h);
}

static void shutdown_while_probing_sends_nothing(void **state)
{
	struct harness *h = harness_new(harness_v4, NULL);

	(void)state;
	harness_forget(h);
	harness_event(h, TURN_INPUT_DELETE);
	assert_int_equal(h->sent_count, 0);
	assert_true(turn_deadline(h->turn) == NEVER_US);
	harness_free(h);
}

static void bad_configurations_are_refused(void **state)
{
	struct harness *h = harness_new(harness_v4, NULL);
	char long_name[STUN_MAX_USERNAME + 2];
	struct turn_config cfg = h->cfg;
	struct turn *held[3] = {NULL};

	(void)state;
	memset(long_name, 'a', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = '\0';
	cfg.username = long_name;
	assert_null(turn_new(&cfg, 0));
	cfg.username = "";
	assert_null(turn_new(&cfg, 0));
	cfg = h->cfg;
	cfg.v4 = harness_ep(NULL);
	assert_null(turn_new(&cfg, 0));
	for (size_t i = 0; i < ARRAY_LEN(held); i++) {
		held[i] = turn_new(&h->cfg, 0);
		assert_non_null(held[i]);
	}
	assert_null(turn_new(&h->cfg, 0)); /* no slot is left in the arena */
	for (size_t i = 0; i < ARRAY_LEN(held); i++)
		turn_free(held[i]);
	long_name[STUN_MAX_USERNAME] = '\0';
	cfg = h->cfg;
	cfg.username = long_name;
	held[0] = turn_new(&cfg, 0);
	assert_non_null(held[0]);
	turn_free(held[0]);
	harness_free(h);
}

static void same_configuration_is_recognised(void **state)
{
	struct harness *h = harness_new(harness_v4, NULL);
	struct turn_config cfg = h->cfg;

	(void)state;
	assert_true(turn_same_config(h->turn, &cfg));
	cfg.password = "another";
	assert_false(turn_same_config(h->turn, &cfg));
	cfg = h->cfg;
	cfg.username = "another";
	assert_false(turn_same_config(h->turn, &cfg));
	cfg = h->cfg;
	cfg.v6 = harness_ep(harness_v6);
	assert_false(turn_same_config(h->turn, &cfg));
	cfg = h->cfg;
	cfg.id.bytes[15] = 9;
	assert_false(turn_same_config(h->turn, &cfg));
	assert_true(uuid_eq(turn_id(h->turn), &h->cfg.id));
	harness_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(probe_is_repeated_byte_for_byte_then_the_relay_is_dropped),
	    cmocka_unit_test(both_addresses_are_probed_and_the_first_answer_wins),
	    cmocka_unit_test(give_up_on_the_other_family_changes_nothing),
	    cmocka_unit_test(binding_answers_only_count_from_the_address_asked),
	    cmocka_unit_test(unusable_addresses_make_no_candidates),
	    cmocka_unit_test(new_mapped_address_replaces_the_old_one_without_withdrawal),
	    cmocka_unit_test(allocate_is_repeated_under_new_ids_and_given_up),
	    cmocka_unit_test(allocation_gives_candidates_and_the_relayed_addresses),
	    cmocka_unit_test(refresh_goes_out_at_half_the_lifetime),
	    cmocka_unit_test(expired_allocation_is_withdrawn_and_asked_for_again),
	    cmocka_unit_test(keepalive_follows_25_seconds_of_silence),
	    cmocka_unit_test(other_family_gets_one_chance_per_allocation),
	    cmocka_unit_test(refresh_from_outside_survives_the_loss_of_its_first_try),
	    cmocka_unit_test(refresh_from_outside_into_silence_ends_like_any_other),
	    cmocka_unit_test(refresh_from_outside_that_is_answered_renews_the_lifetime),
	    cmocka_unit_test(round_trip_time_is_smoothed),
	    cmocka_unit_test(shutdown_deletes_the_allocation_and_is_silent),
	    cmocka_unit_test(shutdown_while_probing_sends_nothing),
	    cmocka_unit_test(bad_configurations_are_refused),
	    cmocka_unit_test(same_configuration_is_recognised),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
