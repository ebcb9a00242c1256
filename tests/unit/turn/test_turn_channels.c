/* Channels over their life: binding, use, refresh, death, reuse, shares. [spec connections 6.5, 14
 * row 6] */
#include "harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char peer[] = "203.0.113.7:40000";
static const char peer6[] = "[2001:db8:9::7]:40000";

static struct harness *ready(void)
{
	struct harness *h = harness_new(harness_v4, NULL);

	harness_make_ready(h);
	return h;
}

static void bound(struct harness *h, const char *to, uint32_t owner)
{
	harness_bind(h, to, owner);
	ANSWER(h, harness_last_of(h, STUN_CHANNEL_BIND), .no_lifetime = true);
}

/* Virtual time passes; keepalives and refreshes of the allocation are answered, ChannelBinds are
 * not. */
static void live(struct harness *h, uint64_t for_us)
{
	uint64_t end_us = h->now_us + for_us;

	while (turn_deadline(h->turn) <= end_us) {
		size_t before = h->sent_count;

		harness_run_to(h, turn_deadline(h->turn));
		for (size_t i = before; i < h->sent_count; i++) {
			if (h->sent[i].msg.method == STUN_BINDING)
				ANSWER(h, &h->sent[i], .unsigned_ = true,
				       .mapped = "198.51.100.4:52625");
			else if (h->sent[i].msg.method == STUN_REFRESH)
				ANSWER(h, &h->sent[i], .lifetime_s = 600);
		}
	}
	harness_run_to(h, end_us);
	assert_int_equal(h->lost_count + h->dropped, 0);
}

static void sending_is_optimistic_receiving_waits_for_the_answer(void **state)
{
	struct harness *h = ready();

	(void)state;
	assert_int_equal(harness_out(h, peer), 0);
	harness_bind(h, peer, 1);
	assert_int_equal(harness_out(h, peer), 0x4000);
	assert_false(harness_in(h, 0x4000, peer));
	ANSWER(h, harness_last(h, 0), .no_lifetime = true);
	assert_int_equal(harness_out(h, peer), 0x4000);
	assert_true(harness_in(h, 0x4000, peer));
	assert_false(harness_in(h, 0x4001, peer));
	assert_false(harness_in(h, 0x5000, peer));
	assert_false(harness_in(h, 0x3fff, peer));
	harness_free(h);
}

static void bind_is_skipped_when_asked_for_or_usable(void **state)
{
	struct harness *h = ready();

	(void)state;
	harness_bind(h, peer, 1);
	harness_bind(h, peer, 1);
	ANSWER(h, harness_last(h, 0), .no_lifetime = true);
	harness_bind(h, peer, 2);
	assert_int_equal(h->sent_count, 1);
	harness_bind(h, "203.0.113.7:0", 1);
	assert_int_equal(h->sent_count, 1);
	harness_free(h);
}

static void bind_is_skipped_without_a_relayed_address_of_the_family(void **state)
{
	struct harness *h = harness_new(harness_v4, NULL);

	(void)state;
	ANSWER(h, harness_last(h, 0), .unsigned_ = true, .mapped = "198.51.100.4:52625");
	ANSWER(h, harness_last(h, 0), .lifetime_s = 600, .relayed_v4 = "192.0.2.10:50000");
	harness_forget(h);
	harness_bind(h, peer6, 1);
	assert_int_equal(h->sent_count, 0);
	harness_bind(h, peer, 1);
	assert_int_equal(h->sent_count, 1);
	harness_free(h);
}

static void lost_bind_is_repeated_and_its_loss_is_the_relay_s(void **state)
{
	struct harness *h = ready();

	(void)state;
	harness_bind(h, peer, 1);
	harness_run(h, MS(1399));
	assert_int_equal(harness_count(h, STUN_BINDING), 0);
	harness_run(h, 2 * MS(1)); /* are you there at all? */
	assert_int_equal(harness_count(h, STUN_BINDING), 1);
	harness_run(h, MS(6723));
	assert_int_equal(harness_count(h, STUN_CHANNEL_BIND), 4);
	assert_int_equal(h->lost_count, 0);
	harness_run(h, MS(2000));
	assert_int_equal(h->lost_count, 2);
	assert_int_equal(harness_out(h, peer), 0);
	harness_free(h);
}

/* Loss may hit the same bind eight times; the relay is no worse for it. */
static void bind_that_alone_is_never_answered_costs_its_channel_only(void **state)
{
	struct harness *h = ready();
	uint64_t end_us = h->now_us + S(18);
	size_t answered = 0;

	(void)state;
	harness_bind(h, peer, 1);
	for (int i = 0; h->now_us < end_us; i++) {
		char text[32];

		harness_run(h, S(1));
		snprintf(text, sizeof(text), "203.0.113.9:%d", 1000 + i);
		bound(h, text, 2);
		answered++;
	}
	assert_int_equal(h->lost_count + h->dropped, 0);
	assert_int_equal(harness_out(h, peer), 0);
	assert_int_not_equal(harness_out(h, "203.0.113.9:1000"), 0);
	assert_true(answered >= 17);
	harness_free(h);
}

static void used_channel_is_refreshed_at_four_and_a_half_minutes(void **state)
{
	struct harness *h = ready();
	uint64_t bound_us = 0;

	(void)state;
	bound(h, peer, 1);
	bound_us = h->now_us;
	live(h, S(10));
	assert_true(harness_in(h, 0x4000, peer));
	live(h, S(260) - 1);
	assert_int_equal(harness_count(h, STUN_CHANNEL_BIND), 1);
	live(h, 1);
	assert_int_equal(harness_count(h, STUN_CHANNEL_BIND), 2);
	assert_true(harness_last_of(h, STUN_CHANNEL_BIND)->at_us - bound_us == S(270));
	assert_int_equal(harness_last_of(h, STUN_CHANNEL_BIND)->msg.channel, 0x4000);
	assert_true(harness_in(h, 0x4000, peer));
	ANSWER(h, harness_last_of(h, STUN_CHANNEL_BIND), .no_lifetime = true);
	/* Nothing came since: left to die ten minutes after that. */
	harness_forget(h);
	live(h, S(599));
	assert_int_equal(harness_count(h, STUN_CHANNEL_BIND), 0);
	assert_int_equal(harness_out(h, peer), 0x4000);
	live(h, S(1));
	assert_int_equal(harness_out(h, peer), 0);
	assert_false(harness_in(h, 0x4000, peer));
	harness_free(h);
}

static void channel_first_used_late_is_refreshed_at_once(void **state)
{
	struct harness *h = ready();

	(void)state;
	bound(h, peer, 1);
	live(h, S(400));
	assert_int_equal(harness_count(h, STUN_CHANNEL_BIND), 1);
	assert_true(harness_in(h, 0x4000, peer));
	assert_true(turn_deadline(h->turn) == h->now_us);
	harness_event(h, TURN_INPUT_TIMEOUT);
	assert_int_equal(harness_count(h, STUN_CHANNEL_BIND), 2);
	harness_free(h);
}

static void sending_alone_does_not_refresh(void **state)
{
	struct harness *h = ready();

	(void)state;
	bound(h, peer, 1);
	for (int i = 0; i < 59; i++) {
		live(h, S(10));
		assert_int_equal(harness_out(h, peer), 0x4000);
	}
	assert_int_equal(harness_count(h, STUN_CHANNEL_BIND), 1);
	harness_free(h);
}

static void dead_channel_is_bound_again_under_its_number(void **state)
{
	struct harness *h = ready();

	(void)state;
	bound(h, peer, 1);
	live(h, S(601));
	assert_int_equal(harness_out(h, peer), 0);
	harness_bind(h, peer, 1);
	assert_int_equal(harness_out(h, peer), 0x4000);
	assert_false(harness_in(h, 0x4000, peer));
	ANSWER(h, harness_last_of(h, STUN_CHANNEL_BIND), .no_lifetime = true);
	assert_true(harness_in(h, 0x4000, peer));
	harness_free(h);
}

static void refused_refresh_retires_the_channel(void **state)
{
	struct harness *h = ready();

	(void)state;
	bound(h, peer, 1);
	assert_true(harness_in(h, 0x4000, peer));
	live(h, S(270));
	ANSWER(h, harness_last_of(h, STUN_CHANNEL_BIND), .code = 403);
	assert_int_equal(harness_out(h, peer), 0);
	assert_false(harness_in(h, 0x4000, peer));
	harness_free(h);
}

static void confirmed_many(struct harness *h, int first, int count, uint32_t owner)
{
	char text[32];

	for (int i = 0; i < count; i++) {
		snprintf(text, sizeof(text), "203.0.113.7:%d", first + i);
		bound(h, text, owner);
	}
}

static void client_has_32_channels_and_loses_its_idlest(void **state)
{
	struct harness *h = ready();

	(void)state;
	bound(h, peer, 2);
	confirmed_many(h, 1000, 32, 1);
	h->now_us += S(1);
	assert_int_equal(harness_out(h, "203.0.113.7:1000"), 0x4001); /* no longer the idlest */
	bound(h, "203.0.113.7:2000", 1);
	assert_int_equal(harness_out(h, "203.0.113.7:1000"), 0x4001);
	assert_int_equal(harness_out(h, "203.0.113.7:1001"), 0);
	assert_false(harness_in(h, 0x4002, "203.0.113.7:1001"));
	assert_int_equal(harness_out(h, "203.0.113.7:2000"), 0x4021);
	assert_int_equal(harness_out(h, peer), 0x4000);
	harness_free(h);
}

static void client_cannot_use_up_the_numbers_of_others(void **state)
{
	struct harness *h = ready();
	char text[32];
	size_t asked = 0;

	(void)state;
	for (int i = 0; i < 500; i++) {
		snprintf(text, sizeof(text), "203.0.113.7:%d", 1000 + i);
		harness_bind(h, text, 1);
		if (harness_out(h, text) != 0) {
			ANSWER(h, harness_last(h, 0), .no_lifetime = true);
			asked++;
		}
	}
	assert_int_equal(asked, 64);
	harness_bind(h, "203.0.113.8:1", 2);
	assert_int_equal(harness_out(h, "203.0.113.8:1"), 0x4040);
	ANSWER(h, harness_last(h, 0), .no_lifetime = true);
	/* A quarter of an hour later they are free again. */
	live(h, S(901));
	bound(h, "203.0.113.7:9000", 1);
	assert_int_not_equal(harness_out(h, "203.0.113.7:9000"), 0);
	harness_free(h);
}

/* Another 32 peers each time, as fast as it may signal them. */
static void client_that_comes_and_goes_never_takes_more_than_its_share(void **state)
{
	struct harness *h = ready();
	size_t taken = 0;
	char text[32];

	(void)state;
	for (int round = 0; round < 10000; round++) {
		for (int i = 0; i < 32; i++) {
			uint32_t n = (uint32_t)(round * 32 + i);

			snprintf(text, sizeof(text), "10.%u.%u.%u:40000", n >> 16 & 0xff,
				 n >> 8 & 0xff, n & 0xff);
			harness_bind(h, text, 1);
			if (h->sent_count > 0) {
				ANSWER(h, harness_last(h, 0), .no_lifetime = true);
				taken++;
			}
			harness_forget(h);
		}
		if (round % 100 == 0) {
			snprintf(text, sizeof(text), "203.0.113.8:%d", 1000 + round);
			harness_bind(h, text, 2 + (uint32_t)round);
			assert_int_equal(harness_count(h, STUN_CHANNEL_BIND), 1);
			ANSWER(h, harness_last(h, 0), .no_lifetime = true);
		}
		live(h, MS(200));
		harness_forget(h);
	}
	/* 2000 s: 64 at once, and again each time that 64 have rested a quarter of an hour. */
	assert_int_equal(taken, 3 * 64);
	harness_free(h);
}

static void last_numbers_are_for_those_who_hold_few(void **state)
{
	struct harness *h = ready();
	char text[32];
	uint32_t owner = 0;

	(void)state;
	for (int i = 0; i < 4096 - 256; i++) {
		snprintf(text, sizeof(text), "203.0.113.7:%d", 1000 + i);
		owner = (uint32_t)i / 30;
		bound(h, text, owner);
		assert_int_not_equal(harness_out(h, text), 0);
		if (i % 64 == 0)
			harness_forget(h);
	}
	harness_bind(h, peer, 0);
	assert_int_equal(harness_out(h, peer), 0);
	for (int i = 0; i < 256; i++) {
		snprintf(text, sizeof(text), "203.0.113.8:%d", 1000 + i);
		bound(h, text, 5000 + (uint32_t)i / 4);
		assert_int_not_equal(harness_out(h, text), 0);
	}
	harness_bind(h, peer, 9000);
	assert_int_equal(harness_out(h, peer), 0);
	harness_free(h);
}

static void number_whose_bind_was_never_confirmed_is_free_at_once(void **state)
{
	struct harness *h = ready();
	char text[32];

	(void)state;
	/* Refused, one after the other, far more often than the share is. */
	for (int i = 0; i < 300; i++) {
		snprintf(text, sizeof(text), "203.0.113.7:%d", 1000 + i);
		harness_bind(h, text, 1);
		assert_int_equal(harness_count(h, STUN_CHANNEL_BIND), 1);
		ANSWER(h, harness_last(h, 0), .code = 403);
		harness_forget(h);
	}
	/* Asked for, and pushed out by the next before there is an answer. */
	for (int i = 0; i < 300; i++) {
		snprintf(text, sizeof(text), "203.0.113.8:%d", 1000 + i);
		h->now_us += MS(1);
		harness_bind(h, text, 1);
		assert_int_not_equal(harness_out(h, text), 0);
		harness_forget(h);
	}
	harness_free(h);
}

static void all_4096_numbers_can_be_bound_at_once(void **state)
{
	struct harness *h = ready();
	char text[32];

	(void)state;
	for (int i = 0; i < 4096; i++) {
		snprintf(text, sizeof(text), "203.0.113.7:%d", 1000 + i);
		bound(h, text, (uint32_t)i / 4);
	}
	assert_int_equal(harness_out(h, "203.0.113.7:5095"), 0x4fff);
	harness_bind(h, peer, 9999);
	assert_int_equal(harness_out(h, peer), 0);
	assert_int_equal(harness_count(h, STUN_CHANNEL_BIND), 4096);
	harness_free(h);
}

static void both_families_have_channels_on_one_allocation(void **state)
{
	struct harness *h = ready();

	(void)state;
	bound(h, peer, 1);
	bound(h, peer6, 1);
	assert_int_equal(harness_out(h, peer6), 0x4001);
	assert_true(harness_in(h, 0x4001, peer6));
	harness_free(h);
}

/* Many are in flight at a time, under ids that have changed meanwhile. */
static void answers_find_their_binds_in_any_order(void **state)
{
	enum {
		BINDS = 2000
	};
	struct harness *h = ready();
	char text[32];

	(void)state;
	for (int i = 0; i < BINDS; i++) {
		snprintf(text, sizeof(text), "203.0.113.7:%d", 1000 + i);
		harness_bind(h, text, (uint32_t)i);
	}
	for (size_t i = BINDS; i-- > BINDS / 2;)
		ANSWER(h, &h->sent[i], .code = 438, .nonce = "nonce-2");
	assert_int_equal(harness_count(h, STUN_CHANNEL_BIND), BINDS + BINDS / 2);
	for (size_t i = 0; i < BINDS / 2; i++)
		ANSWER(h, &h->sent[i], .no_lifetime = true);
	for (size_t i = BINDS; i < BINDS + BINDS / 2; i++)
		ANSWER(h, &h->sent[i], .no_lifetime = true);
	for (int i = 0; i < BINDS; i++) {
		snprintf(text, sizeof(text), "203.0.113.7:%d", 1000 + i);
		assert_true(harness_in(h, (uint16_t)(0x4000 + i), text));
	}
	harness_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(sending_is_optimistic_receiving_waits_for_the_answer),
	    cmocka_unit_test(bind_is_skipped_when_asked_for_or_usable),
	    cmocka_unit_test(bind_is_skipped_without_a_relayed_address_of_the_family),
	    cmocka_unit_test(lost_bind_is_repeated_and_its_loss_is_the_relay_s),
	    cmocka_unit_test(bind_that_alone_is_never_answered_costs_its_channel_only),
	    cmocka_unit_test(used_channel_is_refreshed_at_four_and_a_half_minutes),
	    cmocka_unit_test(channel_first_used_late_is_refreshed_at_once),
	    cmocka_unit_test(sending_alone_does_not_refresh),
	    cmocka_unit_test(dead_channel_is_bound_again_under_its_number),
	    cmocka_unit_test(refused_refresh_retires_the_channel),
	    cmocka_unit_test(client_has_32_channels_and_loses_its_idlest),
	    cmocka_unit_test(client_cannot_use_up_the_numbers_of_others),
	    cmocka_unit_test(client_that_comes_and_goes_never_takes_more_than_its_share),
	    cmocka_unit_test(last_numbers_are_for_those_who_hold_few),
	    cmocka_unit_test(number_whose_bind_was_never_confirmed_is_free_at_once),
	    cmocka_unit_test(all_4096_numbers_can_be_bound_at_once),
	    cmocka_unit_test(both_families_have_channels_on_one_allocation),
	    cmocka_unit_test(answers_find_their_binds_in_any_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
