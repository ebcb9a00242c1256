/* What each answer does: the table of spec connections 6.4, row by row, and rules 1 to 5 of 6.2. */
#include "harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char peer[] = "203.0.113.7:40000";

/* A relay whose Binding has been answered: the first Allocate is the last thing sent. */
static struct harness *allocating(void)
{
	struct harness *h = harness_new(harness_v4, NULL);

	ANSWER(h, harness_last(h, 0), .unsigned_ = true, .no_lifetime = true,
	       .mapped = "198.51.100.4:52625");
	assert_int_equal(harness_last(h, 0)->msg.method, STUN_ALLOCATE);
	return h;
}

static struct harness *ready(void)
{
	struct harness *h = harness_new(harness_v4, NULL);

	harness_make_ready(h);
	return h;
}

static bool is(const struct harness *h, uint16_t method)
{
	return harness_last(h, 0)->msg.method == method;
}

static bool is_deletion(const struct sent *s)
{
	return s->msg.method == STUN_REFRESH && s->msg.has_lifetime && s->msg.lifetime_s == 0;
}

static void signed_401_without_nonce_is_repeated_with_one_and_a_fresh_back_off(void **state)
{
	struct harness *h = allocating();
	struct sent first = *harness_last(h, 0);

	(void)state;
	assert_true(harness_signed_with(h, &first, NULL));
	harness_run(h, MS(4800)); /* three repeats gone */
	ANSWER(h, harness_last(h, 0), .code = 401, .nonce = "one", .realm = "firezone");
	assert_true(is(h, STUN_ALLOCATE) && harness_signed_with(h, harness_last(h, 0), "one"));
	harness_forget(h);
	harness_run(h, MS(8124));
	assert_int_equal(harness_count(h, STUN_ALLOCATE), 3);
	assert_int_equal(h->dropped, 0);
	harness_run(h, MS(1));
	assert_int_equal(h->dropped, 1);
	harness_free(h);
}

static void signed_438_is_repeated_with_the_new_nonce(void **state)
{
	struct harness *h = ready();

	(void)state;
	harness_event(h, TURN_INPUT_REFRESH);
	ANSWER(h, harness_last(h, 0), .code = 438, .nonce = "two", .realm = "firezone");
	assert_true(is(h, STUN_REFRESH) && harness_signed_with(h, harness_last(h, 0), "two"));
	harness_free(h);
}

static void endless_signed_challenges_are_answered_at_the_schedule_s_pace(void **state)
{
	struct harness *h = allocating();
	char nonce[2] = "a";

	(void)state;
	harness_forget(h);
	for (size_t i = 0; i < 20; i++) {
		struct sent last;

		harness_event(h, TURN_INPUT_TIMEOUT);
		if (h->sent_count == 0)
			harness_run(h, S(1));
		last = *harness_last(h, 0);
		harness_forget(h);
		nonce[0]++;
		ANSWER(h, &last, .code = 438, .nonce = nonce);
		if (h->sent_count == 0) {
			assert_true(i >= 3);
			break;
		}
	}
	assert_int_equal(h->sent_count, 0);
	harness_free(h);
}

static void challenge_of_a_foreign_realm_ends_the_request(void **state)
{
	struct harness *h = allocating();

	(void)state;
	ANSWER(h, harness_last(h, 0), .code = 401, .nonce = "one", .realm = "example.org");
	harness_run(h, S(20));
	assert_int_equal(harness_count(h, STUN_ALLOCATE), 1);
	assert_int_equal(h->dropped, 0);
	harness_free(h);
}

static void signed_401_to_a_nonce_drops_the_relay(void **state)
{
	struct harness *h = ready();

	(void)state;
	harness_event(h, TURN_INPUT_REFRESH);
	ANSWER(h, harness_last(h, 0), .code = 401, .nonce = "two", .realm = "firezone");
	assert_int_equal(h->lost_count, 2);
	assert_int_equal(h->dropped, 1);
	harness_free(h);
}

static void signed_437_to_allocate_deletes_once_then_waits(void **state)
{
	struct harness *h = allocating();

	(void)state;
	ANSWER(h, harness_last(h, 0), .code = 401, .nonce = "one");
	ANSWER(h, harness_last(h, 0), .code = 437);
	assert_true(is_deletion(harness_last(h, 0)));
	assert_true(harness_signed_with(h, harness_last(h, 0), "one"));
	ANSWER(h, harness_last(h, 0), .lifetime_s = 0);
	assert_true(is(h, STUN_ALLOCATE));
	ANSWER(h, harness_last(h, 0), .code = 437);
	harness_forget(h);
	harness_run(h, MS(1500) - 1);
	assert_int_equal(h->sent_count, 0);
	harness_run(h, 1);
	assert_int_equal(h->sent_count, 1);
	assert_true(is(h, STUN_ALLOCATE));
	ANSWER(h, harness_last(h, 0), .lifetime_s = 600, .relayed_v4 = "192.0.2.10:50000");
	assert_int_equal(h->candidate_count, 1);
	assert_int_equal(harness_count(h, STUN_REFRESH), 0);
	harness_free(h);
}

static void allocation_whose_answer_was_lost_behind_a_deletion_is_deleted_too(void **state)
{
	struct harness *h = allocating();

	(void)state;
	ANSWER(h, harness_last(h, 0), .code = 437);
	ANSWER(h, harness_last(h, 0), .lifetime_s = 0);
	assert_true(is(h, STUN_ALLOCATE));
	harness_forget(h);
	harness_run(h, S(1));
	assert_true(is(h, STUN_ALLOCATE));
	ANSWER(h, harness_last(h, 0), .code = 437);
	assert_true(is_deletion(harness_last(h, 0)));
	ANSWER(h, harness_last(h, 0), .lifetime_s = 0);
	ANSWER(h, harness_last(h, 0), .code = 437);
	assert_int_equal(harness_count(h, STUN_REFRESH), 1);
	harness_run(h, MS(1500));
	ANSWER(h, harness_last(h, 0), .lifetime_s = 600, .relayed_v4 = "192.0.2.10:50000");
	assert_int_equal(h->candidate_count, 1);
	harness_free(h);
}

static void deletion_refused_leads_to_a_later_allocate(void **state)
{
	struct harness *h = allocating();

	(void)state;
	ANSWER(h, harness_last(h, 0), .code = 437);
	ANSWER(h, harness_last(h, 0), .code = 441);
	harness_forget(h);
	harness_run(h, MS(1500));
	assert_int_equal(h->sent_count, 1);
	assert_true(is(h, STUN_ALLOCATE));
	harness_free(h);
}

static void deletion_of_nothing_leads_to_allocate_at_once(void **state)
{
	struct harness *h = allocating();

	(void)state;
	ANSWER(h, harness_last(h, 0), .code = 437);
	ANSWER(h, harness_last(h, 0), .code = 437);
	assert_true(is(h, STUN_ALLOCATE));
	ANSWER(h, harness_last(h, 0), .code = 437);
	assert_true(is(h, STUN_ALLOCATE));
	assert_int_equal(harness_count(h, STUN_REFRESH), 1);
	harness_free(h);
}

static void signed_437_to_refresh_allocates_anew(void **state)
{
	struct harness *h = ready();

	(void)state;
	harness_event(h, TURN_INPUT_REFRESH);
	ANSWER(h, harness_last(h, 0), .code = 437);
	assert_int_equal(h->lost_count, 2);
	assert_true(is(h, STUN_ALLOCATE));
	harness_free(h);
}

static void signed_437_to_channel_bind_allocates_and_binds_the_peer_again(void **state)
{
	struct harness *h = ready();

	(void)state;
	harness_bind(h, peer, 1);
	ANSWER(h, harness_last(h, 0), .code = 437);
	assert_int_equal(h->lost_count, 2);
	assert_true(is(h, STUN_ALLOCATE));
	assert_int_equal(harness_out(h, peer), 0);
	ANSWER(h, harness_last(h, 0), .lifetime_s = 600, .relayed_v4 = "192.0.2.10:50001");
	assert_true(is(h, STUN_CHANNEL_BIND));
	assert_int_not_equal(harness_out(h, peer), 0);
	harness_free(h);
}

static void signed_420_drops_the_relay(void **state)
{
	struct harness *h = allocating();

	(void)state;
	ANSWER(h, harness_last(h, 0), .code = 420);
	assert_int_equal(h->dropped, 1);
	harness_free(h);
}

static void refusal_that_crosses_a_refresh_from_outside_is_asked_about_once_more(void **state)
{
	struct harness *h = allocating();
	size_t before = h->sent_count;

	(void)state;
	harness_event(h, TURN_INPUT_REFRESH);
	ANSWER(h, harness_last(h, 0), .code = 486);
	harness_run(h, MS(1));
	assert_int_equal(h->sent_count, before + 1);
	assert_true(is(h, STUN_BINDING));
	ANSWER(h, harness_last(h, 0), .unsigned_ = true, .no_lifetime = true,
	       .mapped = "198.51.100.4:52625");
	assert_true(is(h, STUN_ALLOCATE));
	before = h->sent_count;
	ANSWER(h, harness_last(h, 0), .code = 486);
	harness_run(h, S(14));
	assert_int_equal(h->sent_count, before);
	harness_free(h);
}

static void other_error_to_allocate_suspends_until_a_refresh_from_outside(void **state)
{
	static const uint16_t codes[] = {400, 403, 486, 508};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
		struct harness *h = allocating();

		harness_bind(h, peer, 1);
		ANSWER(h, harness_last(h, 0), .code = codes[i]);
		assert_int_equal(turn_standing(h->turn), TURN_REFUSED);
		harness_forget(h);
		harness_bind(h, peer, 1);
		harness_run(h, S(14));
		assert_int_equal(h->sent_count, 0);
		harness_event(h, TURN_INPUT_REFRESH);
		assert_int_equal(h->sent_count, 1);
		harness_make_ready(h);
		/* The peer was forgotten: no channel. */
		assert_int_equal(harness_out(h, peer), 0);
		harness_free(h);
	}
}

static void suspended_relay_tries_again_by_itself_less_and_less_often(void **state)
{
	struct harness *h = allocating();
	uint64_t least_us = S(15);

	(void)state;
	for (int i = 0; i < 8; i++) {
		uint64_t refused_us = h->now_us;

		ANSWER(h, harness_last(h, 0), .code = 486);
		harness_forget(h);
		while (h->sent_count == 0)
			harness_run_to(h, turn_deadline(h->turn));
		assert_in_range(h->now_us - refused_us, least_us, least_us * 5 / 4);
		least_us = min_u64(2 * least_us, S(480));
		ANSWER(h, harness_last(h, 0), .unsigned_ = true, .no_lifetime = true,
		       .mapped = "198.51.100.4:52625");
		assert_true(is(h, STUN_ALLOCATE));
	}
	ANSWER(h, harness_last(h, 0), .lifetime_s = 600, .relayed_v4 = "192.0.2.10:50000");
	assert_int_equal(turn_standing(h->turn), TURN_STANDS);
	harness_free(h);
}

static void other_error_to_channel_bind_forgets_the_number(void **state)
{
	struct harness *h = ready();

	(void)state;
	harness_bind(h, peer, 1);
	assert_int_equal(harness_out(h, peer), 0x4000);
	ANSWER(h, harness_last(h, 0), .code = 400);
	assert_int_equal(harness_out(h, peer), 0);
	assert_int_equal(h->lost_count, 0);
	harness_bind(h, peer, 1);
	assert_int_equal(harness_out(h, peer), 0x4001);
	harness_free(h);
}

static void other_error_to_refresh_is_not_repeated_at_once(void **state)
{
	struct harness *h = ready();

	(void)state;
	harness_event(h, TURN_INPUT_REFRESH);
	ANSWER(h, harness_last(h, 0), .code = 500);
	harness_forget(h);
	harness_run(h, S(24));
	assert_int_equal(harness_count(h, STUN_REFRESH), 0);
	assert_int_equal(h->lost_count, 0);
	harness_free(h);
}

static void error_to_a_keepalive_counts_as_life(void **state)
{
	struct harness *h = ready();

	(void)state;
	harness_run(h, S(25));
	ANSWER(h, harness_last_of(h, STUN_BINDING), .unsigned_ = true, .code = 500);
	harness_run(h, S(20));
	assert_int_equal(h->dropped, 0);
	harness_free(h);
}

static void error_to_a_probe_proves_nothing(void **state)
{
	struct harness *h = harness_new(harness_v4, NULL);

	(void)state;
	ANSWER(h, harness_last(h, 0), .unsigned_ = true, .code = 500);
	harness_run(h, MS(8125));
	assert_int_equal(harness_count(h, STUN_BINDING), 4);
	assert_int_equal(h->dropped, 1);
	harness_free(h);
}

static void allocate_success_that_lacks_something_is_ignored(void **state)
{
	struct harness *h = allocating();
	const struct sent *request = harness_last(h, 0);

	(void)state;
	ANSWER(h, request, .no_lifetime = true, .relayed_v4 = "192.0.2.10:50000");
	ANSWER(h, request, .lifetime_s = 0, .relayed_v4 = "192.0.2.10:50000");
	ANSWER(h, request, .lifetime_s = 600);
	ANSWER(h, request, .lifetime_s = 600, .relayed_v4 = "0.0.0.0:50000");
	assert_int_equal(h->candidate_count, 2);
	ANSWER(h, request, .lifetime_s = 600, .relayed_v6 = "[2001:db8::10]:50000");
	assert_int_equal(h->candidate_count, 3);
	harness_free(h);
}

static void peers_wait_for_the_allocation_in_a_ring_of_100(void **state)
{
	struct harness *h = allocating();
	char text[32];

	(void)state;
	for (int i = 0; i < TURN_MAX_REMEMBERED + 1; i++) {
		snprintf(text, sizeof(text), "203.0.113.7:%d", 1000 + i);
		harness_bind(h, text, (uint32_t)i);
		harness_bind(h, text, (uint32_t)i); /* once is enough */
	}
	ANSWER(h, harness_last(h, 0), .lifetime_s = 600, .relayed_v4 = "192.0.2.10:50000");
	assert_int_equal(harness_count(h, STUN_CHANNEL_BIND), TURN_MAX_REMEMBERED);
	assert_int_equal(harness_out(h, "203.0.113.7:1000"), 0);
	assert_int_equal(harness_out(h, "203.0.113.7:1001"), 0x4000);
	assert_int_equal(harness_out(h, "203.0.113.7:1100"), 0x4000 + 99);
	harness_free(h);
}

static void one_connection_cannot_crowd_out_the_waiting_peers_of_others(void **state)
{
	struct harness *h = allocating();
	char text[32];

	(void)state;
	harness_bind(h, "203.0.113.8:1", 7);
	for (int i = 0; i < 200; i++) {
		snprintf(text, sizeof(text), "203.0.113.7:%d", 1000 + i);
		harness_bind(h, text, 1);
	}
	ANSWER(h, harness_last(h, 0), .lifetime_s = 600, .relayed_v4 = "192.0.2.10:50000");
	assert_int_equal(harness_count(h, STUN_CHANNEL_BIND), 33);
	assert_int_equal(harness_out(h, "203.0.113.8:1"), 0x4000);
	harness_free(h);
}

static void refresh_success_with_lifetime_zero_allocates(void **state)
{
	struct harness *h = ready();

	(void)state;
	harness_event(h, TURN_INPUT_REFRESH);
	ANSWER(h, harness_last(h, 0), .lifetime_s = 0);
	assert_int_equal(h->lost_count, 2);
	assert_true(is(h, STUN_ALLOCATE));
	harness_free(h);
}

static void answers_without_our_signature_change_nothing(void **state)
{
	struct harness *h = allocating();
	const struct sent *request = harness_last(h, 0);

	(void)state;
	ANSWER(h, request, .unsigned_ = true, .lifetime_s = 600, .relayed_v4 = "192.0.2.9:50000");
	ANSWER(h, request, .wrong_key = true, .lifetime_s = 600, .relayed_v4 = "192.0.2.9:50000");
	ANSWER(h, request, .unsigned_ = true, .code = 420);
	ANSWER(h, request, .unsigned_ = true, .code = 486);
	ANSWER(h, request, .wrong_key = true, .code = 401, .nonce = "forged");
	ANSWER(h, request, .wrong_key = true, .code = 437);
	ANSWER(h, request, .lifetime_s = 600, .relayed_v4 = "192.0.2.9:50000",
	       .from = "192.0.2.9:3478");
	assert_int_equal(h->candidate_count, 2);
	assert_int_equal(h->dropped, 0);
	assert_int_equal(harness_count(h, STUN_ALLOCATE), 1);
	harness_free(h);
}

static void rule_2_unsigned_errors_never_end_a_request(void **state)
{
	struct harness *h = ready();

	(void)state;
	harness_event(h, TURN_INPUT_REFRESH);
	ANSWER(h, harness_last(h, 0), .unsigned_ = true, .code = 437, .nonce = "two");
	assert_int_equal(h->lost_count, 0);
	assert_true(harness_signed_with(h, harness_last(h, 0), "two"));
	ANSWER(h, harness_last(h, 0), .lifetime_s = 600);
	harness_run(h, S(20));
	assert_int_equal(h->dropped, 0);
	harness_free(h);
}

static void rule_2_foreign_realm_gives_no_nonce(void **state)
{
	struct harness *h = allocating();

	(void)state;
	ANSWER(h, harness_last(h, 0), .unsigned_ = true, .code = 401, .nonce = "one",
	       .realm = "example.org");
	harness_run(h, S(1));
	assert_true(harness_signed_with(h, harness_last(h, 0), NULL));
	harness_free(h);
}

static void rule_2_longest_nonce_is_taken(void **state)
{
	struct harness *h = allocating();
	char nonce[STUN_MAX_NONCE + 1];

	(void)state;
	memset(nonce, 'n', sizeof(nonce) - 1);
	nonce[sizeof(nonce) - 1] = '\0';
	ANSWER(h, harness_last(h, 0), .unsigned_ = true, .code = 401, .nonce = nonce);
	assert_true(is(h, STUN_ALLOCATE) && harness_signed_with(h, harness_last(h, 0), nonce));
	harness_free(h);
}

static void rule_3_draws_a_nonce_with_an_unsigned_allocate_after_400(void **state)
{
	struct harness *h = allocating();

	(void)state;
	ANSWER(h, harness_last(h, 0), .unsigned_ = true, .code = 400);
	assert_true(is(h, STUN_ALLOCATE) && harness_is_bare(harness_last(h, 0)));
	ANSWER(h, harness_last(h, 0), .unsigned_ = true, .code = 401, .nonce = "one",
	       .realm = "firezone");
	assert_true(is(h, STUN_ALLOCATE) && harness_signed_with(h, harness_last(h, 0), "one"));
	assert_int_equal(harness_count(h, STUN_ALLOCATE), 3);
	harness_free(h);
}

static void rule_3_takes_one_step_per_back_off_step(void **state)
{
	struct harness *h = allocating();
	struct sent repeat;

	(void)state;
	ANSWER(h, harness_last(h, 0), .unsigned_ = true, .code = 438, .nonce = "one");
	repeat = *harness_last(h, 0);
	assert_true(harness_signed_with(h, harness_last(h, 0), "one"));
	harness_forget(h);
	h->now_us += MS(10);
	ANSWER(h, &repeat, .unsigned_ = true, .code = 438, .nonce = "two");
	assert_int_equal(h->sent_count, 0);
	harness_run(h, MS(990));
	assert_int_equal(h->sent_count, 1);
	ANSWER(h, harness_last(h, 0), .unsigned_ = true, .code = 438, .nonce = "three");
	assert_int_equal(h->sent_count, 2);
	assert_true(harness_signed_with(h, harness_last(h, 0), "three"));
	harness_free(h);
}

static void answer_counts_once(void **state)
{
	struct harness *h = ready();

	(void)state;
	harness_event(h, TURN_INPUT_REFRESH);
	ANSWER(h, harness_last(h, 0), .lifetime_s = 600);
	ANSWER(h, harness_last(h, 0), .code = 437);
	assert_int_equal(h->lost_count, 0);
	assert_int_equal(h->sent_count, 1);
	harness_free(h);
}

static void rule_3_lost_draw_is_made_good_by_the_schedule(void **state)
{
	struct harness *h = allocating();

	(void)state;
	ANSWER(h, harness_last(h, 0), .unsigned_ = true, .code = 400);
	harness_run(h, S(1));
	assert_true(harness_signed_with(h, harness_last(h, 0), NULL));
	ANSWER(h, harness_last(h, 0), .unsigned_ = true, .code = 400);
	assert_true(harness_is_bare(harness_last(h, 0)));
	ANSWER(h, harness_last(h, 0), .unsigned_ = true, .code = 401, .nonce = "one");
	assert_true(harness_signed_with(h, harness_last(h, 0), "one"));
	harness_free(h);
}

static void rule_4_unsigned_437_draws_deletes_once_and_waits(void **state)
{
	struct harness *h = allocating();

	(void)state;
	ANSWER(h, harness_last(h, 0), .unsigned_ = true, .code = 437);
	assert_true(is(h, STUN_REFRESH) && harness_is_bare(harness_last(h, 0)));
	assert_false(harness_last(h, 0)->msg.has_lifetime);
	ANSWER(h, harness_last(h, 0), .unsigned_ = true, .code = 401, .nonce = "one",
	       .realm = "firezone");
	assert_true(is_deletion(harness_last(h, 0)));
	assert_true(harness_signed_with(h, harness_last(h, 0), "one"));
	ANSWER(h, harness_last(h, 0), .lifetime_s = 0);
	assert_true(is(h, STUN_ALLOCATE) && harness_signed_with(h, harness_last(h, 0), "one"));
	ANSWER(h, harness_last(h, 0), .unsigned_ = true, .code = 437);
	harness_forget(h);
	harness_run(h, MS(1500) - 1);
	assert_int_equal(h->sent_count, 0);
	harness_run(h, 1);
	ANSWER(h, harness_last(h, 0), .lifetime_s = 600, .relayed_v4 = "192.0.2.10:50000");
	assert_int_equal(h->candidate_count, 1);
	assert_int_equal(harness_count(h, STUN_REFRESH), 0);
	harness_free(h);
}

static void rule_4_unsigned_437_with_a_nonce_deletes_at_once(void **state)
{
	struct harness *h = allocating();

	(void)state;
	ANSWER(h, harness_last(h, 0), .unsigned_ = true, .code = 437, .nonce = "one");
	assert_true(is_deletion(harness_last(h, 0)));
	assert_true(harness_signed_with(h, harness_last(h, 0), "one"));
	harness_free(h);
}

static void rule_5_unsigned_401_to_the_newest_nonce_is_a_lost_answer(void **state)
{
	struct harness *h = allocating();
	uint64_t start_us = h->now_us;

	(void)state;
	ANSWER(h, harness_last(h, 0), .unsigned_ = true, .code = 401, .nonce = "one");
	while (h->dropped == 0) {
		size_t before = h->sent_count;

		ANSWER(h, harness_last(h, 0), .unsigned_ = true, .code = 401, .nonce = "another");
		assert_int_equal(h->sent_count, before);
		assert_true(harness_signed_with(h, harness_last(h, 0), "one"));
		harness_run_to(h, turn_deadline(h->turn));
	}
	assert_true(h->now_us - start_us == MS(8125));
	assert_int_equal(harness_count(h, STUN_ALLOCATE), 5);
	harness_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(signed_401_without_nonce_is_repeated_with_one_and_a_fresh_back_off),
	    cmocka_unit_test(signed_438_is_repeated_with_the_new_nonce),
	    cmocka_unit_test(endless_signed_challenges_are_answered_at_the_schedule_s_pace),
	    cmocka_unit_test(challenge_of_a_foreign_realm_ends_the_request),
	    cmocka_unit_test(signed_401_to_a_nonce_drops_the_relay),
	    cmocka_unit_test(signed_437_to_allocate_deletes_once_then_waits),
	    cmocka_unit_test(allocation_whose_answer_was_lost_behind_a_deletion_is_deleted_too),
	    cmocka_unit_test(deletion_refused_leads_to_a_later_allocate),
	    cmocka_unit_test(deletion_of_nothing_leads_to_allocate_at_once),
	    cmocka_unit_test(signed_437_to_refresh_allocates_anew),
	    cmocka_unit_test(signed_437_to_channel_bind_allocates_and_binds_the_peer_again),
	    cmocka_unit_test(signed_420_drops_the_relay),
	    cmocka_unit_test(refusal_that_crosses_a_refresh_from_outside_is_asked_about_once_more),
	    cmocka_unit_test(other_error_to_allocate_suspends_until_a_refresh_from_outside),
	    cmocka_unit_test(suspended_relay_tries_again_by_itself_less_and_less_often),
	    cmocka_unit_test(other_error_to_channel_bind_forgets_the_number),
	    cmocka_unit_test(other_error_to_refresh_is_not_repeated_at_once),
	    cmocka_unit_test(error_to_a_keepalive_counts_as_life),
	    cmocka_unit_test(error_to_a_probe_proves_nothing),
	    cmocka_unit_test(allocate_success_that_lacks_something_is_ignored),
	    cmocka_unit_test(peers_wait_for_the_allocation_in_a_ring_of_100),
	    cmocka_unit_test(one_connection_cannot_crowd_out_the_waiting_peers_of_others),
	    cmocka_unit_test(refresh_success_with_lifetime_zero_allocates),
	    cmocka_unit_test(answers_without_our_signature_change_nothing),
	    cmocka_unit_test(rule_2_unsigned_errors_never_end_a_request),
	    cmocka_unit_test(rule_2_foreign_realm_gives_no_nonce),
	    cmocka_unit_test(rule_2_longest_nonce_is_taken),
	    cmocka_unit_test(rule_3_draws_a_nonce_with_an_unsigned_allocate_after_400),
	    cmocka_unit_test(rule_3_takes_one_step_per_back_off_step),
	    cmocka_unit_test(rule_3_lost_draw_is_made_good_by_the_schedule),
	    cmocka_unit_test(answer_counts_once),
	    cmocka_unit_test(rule_4_unsigned_437_draws_deletes_once_and_waits),
	    cmocka_unit_test(rule_4_unsigned_437_with_a_nonce_deletes_at_once),
	    cmocka_unit_test(rule_5_unsigned_401_to_the_newest_nonce_is_a_lost_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
