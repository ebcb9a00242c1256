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
	harness_run(h, MS(8124));
	assert_int_equal(harness_count(h, STUN_CHANNEL_BIND), 4);
	assert_int_equal(harness_count(h, STUN_BINDING), 0);
	harness_run(h, MS(1000));
	assert_int_equal(harness_count(h, STUN_BINDING), 1); /* are you there at all? */
	assert_int_equal(h->lost_count, 0);
	harness_run(h, MS(1));
	assert_int_equal(h->lost_count, 2);
	assert_int_equal(harness_out(h, peer), 0);
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

static void connection_has_32_channels_and_loses_its_idlest(void **state)
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

static void connection_cannot_use_up_the_numbers_of_others(void **state)
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

static void all_4096_numbers_can_be_bound_at_once(void **state)
{
	struct harness *h = ready();
	char text[32];

	(void)state;
	for (int i = 0; i < 4096; i++) {
		snprintf(text, sizeof(text), "203.0.113.7:%d", 1000 + i);
		bound(h, text, (uint32_t)i / 32);
	}
	assert_int_equal(harness_out(h, "203.0.113.7:5095"), 0x4fff);
	harness_bind(h, peer, 999);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(sending_is_optimistic_receiving_waits_for_the_answer),
	    cmocka_unit_test(bind_is_skipped_when_asked_for_or_usable),
	    cmocka_unit_test(bind_is_skipped_without_a_relayed_address_of_the_family),
	    cmocka_unit_test(lost_bind_is_repeated_and_its_loss_is_the_relay_s),
	    cmocka_unit_test(used_channel_is_refreshed_at_four_and_a_half_minutes),
	    cmocka_unit_test(channel_first_used_late_is_refreshed_at_once),
	    cmocka_unit_test(sending_alone_does_not_refresh),
	    cmocka_unit_test(dead_channel_is_bound_again_under_its_number),
	    cmocka_unit_test(refused_refresh_retires_the_channel),
	    cmocka_unit_test(connection_has_32_channels_and_loses_its_idlest),
	    cmocka_unit_test(connection_cannot_use_up_the_numbers_of_others),
	    cmocka_unit_test(all_4096_numbers_can_be_bound_at_once),
	    cmocka_unit_test(both_families_have_channels_on_one_allocation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
