/* Signs of life: what a relay that says nothing, or not what it should, is taken for, and when.
 * [spec connections 6.5, 14 row 14] */
#include "harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char peer[] = "203.0.113.7:40000";

static void bind_peer(struct harness *h)
{
	harness_make_ready(h);
	harness_bind(h, peer, 1);
	ANSWER(h, harness_last_of(h, STUN_CHANNEL_BIND), .no_lifetime = true);
	assert_true(harness_in(h, 0x4000, peer));
	harness_forget(h);
}

/* Sends each @every_us until something of @method goes out; false if nothing did within @for_us. */
static bool send_until(struct harness *h, uint16_t method, uint64_t every_us, uint64_t for_us)
{
	uint64_t end_us = h->now_us + for_us;
	size_t before = harness_count(h, method);

	while (h->now_us < end_us && harness_count(h, method) == before) {
		if (h->dropped == 0)
			(void)harness_out(h, peer);
		harness_run(h, every_us);
	}
	return harness_count(h, method) > before;
}

/* What comes by a channel does not prove that what we send arrives. */
static void traffic_both_ways_needs_an_answer_each_second_and_a_half(void **state)
{
	struct harness *h = harness_new(harness_v4, NULL);
	size_t bindings = 0;

	(void)state;
	bind_peer(h);
	for (int i = 0; i < 600; i++) {
		harness_run(h, MS(100));
		assert_int_equal(harness_out(h, peer), 0x4000);
		harness_run(h, MS(20));
		assert_true(harness_in(h, 0x4000, peer));
		if (h->sent_count > 0)
			harness_answer_binding(h, harness_last(h, 0));
		bindings += h->sent_count;
		harness_forget(h);
	}
	assert_in_range(bindings, 40, 48);
	assert_int_equal(turn_standing(h->turn), TURN_STANDS);
	harness_free(h);
}

static void path_that_is_cut_in_our_direction_only_is_noticed(void **state)
{
	struct harness *h = harness_new(harness_v4, NULL);
	uint64_t start_us = 0;

	(void)state;
	bind_peer(h);
	start_us = h->now_us;
	while (turn_standing(h->turn) != TURN_SILENT && h->now_us < start_us + S(60)) {
		assert_int_equal(harness_out(h, peer), 0x4000);
		harness_run(h, MS(20));
		assert_true(harness_in(h, 0x4000, peer));
	}
	assert_in_range(h->now_us - start_us, S(3), MS(4500));
	harness_free(h);
}

static void channel_data_postpones_no_keepalive(void **state)
{
	struct harness *h = harness_new(harness_v4, NULL);
	uint64_t start_us = h->now_us;

	(void)state;
	bind_peer(h);
	for (int i = 0; i < 24; i++) {
		harness_run(h, S(1));
		assert_true(harness_in(h, 0x4000, peer));
		if (i < 1) {
			assert_int_equal(harness_out(h, peer), 0x4000);
			assert_true(harness_in(h, 0x4000, peer));
		}
	}
	assert_int_equal(h->sent_count, 0);
	harness_run_to(h, start_us + S(25));
	assert_int_equal(harness_count(h, STUN_BINDING), 1);
	harness_free(h);
}

static void traffic_into_silence_is_noticed_within_three_and_a_half_seconds(void **state)
{
	struct harness *h = harness_new(harness_v4, NULL);
	uint64_t start_us = 0;
	struct turn_note note;

	(void)state;
	bind_peer(h);
	start_us = h->now_us;
	while (turn_standing(h->turn) != TURN_SILENT && h->now_us < start_us + S(60)) {
		(void)harness_out(h, peer);
		harness_run(h, MS(20));
	}
	assert_in_range(h->now_us - start_us, MS(3000), MS(3500));
	assert_int_equal(harness_count(h, STUN_BINDING), 8);
	for (size_t i = 1; i < h->sent_count; i++)
		assert_memory_equal(h->sent[i].bytes, h->sent[0].bytes, 32);
	assert_true(turn_take_note(h->turn, &note));
	assert_int_equal(note.kind, TURN_NOTE_SILENT);
	assert_int_equal(h->lost_count, 0);
	/* It may be our own network: patience, as ever. */
	while (h->dropped == 0 && h->now_us < start_us + S(60)) {
		(void)harness_out(h, peer);
		harness_run(h, MS(20));
	}
	assert_in_range(h->now_us - start_us, S(9), S(11));
	assert_int_equal(h->lost_count, 2);
	harness_free(h);
}

static void silent_relay_that_answers_again_stands(void **state)
{
	struct harness *h = harness_new(harness_v4, NULL);
	struct turn_note note;

	(void)state;
	bind_peer(h);
	(void)harness_out(h, peer);
	harness_run(h, S(5));
	assert_int_equal(turn_standing(h->turn), TURN_SILENT);
	harness_answer_binding(h, harness_last_of(h, STUN_BINDING));
	assert_int_equal(turn_standing(h->turn), TURN_STANDS);
	assert_true(turn_take_note(h->turn, &note));
	assert_true(turn_take_note(h->turn, &note));
	assert_int_equal(note.kind, TURN_NOTE_HEARD);
	assert_int_equal(h->lost_count + h->dropped, 0);
	harness_free(h);
}

/* The peer has gone, the relay has not. */
static void traffic_that_goes_one_way_is_asked_about_now_and_then(void **state)
{
	struct harness *h = harness_new(harness_v4, NULL);
	uint64_t start_us = 0;
	size_t bindings = 0, refreshes = 0;

	(void)state;
	bind_peer(h);
	start_us = h->now_us;
	while (h->now_us < start_us + S(200)) {
		(void)harness_out(h, peer);
		harness_run(h, MS(10));
		for (size_t i = 0; i < h->sent_count; i++) {
			struct sent s = h->sent[i];

			assert_true(stun_msg_read(&s.msg, s.bytes, s.len));
			bindings += s.msg.method == STUN_BINDING;
			refreshes += s.msg.method == STUN_REFRESH;
			harness_run(h, MS(5));
			if (s.msg.method == STUN_BINDING)
				harness_answer_binding(h, &s);
			else
				ANSWER(h, &s, .lifetime_s = 600);
		}
		harness_forget(h);
	}
	assert_in_range(bindings, 100, 200 * 10 / 14 + 1);
	assert_in_range(refreshes, 3, 4);
	assert_int_equal(h->dropped, 0);
	assert_int_equal(turn_standing(h->turn), TURN_STANDS);
	harness_free(h);
}

/* It answers Bindings and knows nothing of us. */
static void relay_that_has_forgotten_us_is_found_out_by_a_refresh(void **state)
{
	struct harness *h = harness_new(harness_v4, NULL);
	uint64_t start_us = 0;

	(void)state;
	bind_peer(h);
	start_us = h->now_us;
	assert_true(send_until(h, STUN_BINDING, MS(20), S(5)));
	harness_answer_binding(h, harness_last_of(h, STUN_BINDING));
	assert_int_equal(harness_count(h, STUN_REFRESH), 1);
	ANSWER(h, harness_last_of(h, STUN_REFRESH), .code = 437);
	assert_int_equal(h->lost_count, 2);
	ANSWER(h, harness_last_of(h, STUN_ALLOCATE), .lifetime_s = 600,
	       .relayed_v4 = "192.0.2.10:50001");
	assert_true(turn_relayed(h->turn, IP_V4, &(struct endpoint){.port = 0}));
	assert_true(h->now_us - start_us < S(2));
	harness_free(h);
}

static void changed_mapped_address_is_followed_by_a_refresh_at_once(void **state)
{
	struct harness *h = harness_new(harness_v4, NULL);

	(void)state;
	harness_make_ready(h);
	harness_run(h, S(25));
	harness_answer_binding(h, harness_last_of(h, STUN_BINDING));
	assert_int_equal(harness_count(h, STUN_REFRESH), 0);
	harness_run(h, S(25));
	ANSWER(h, harness_last_of(h, STUN_BINDING), .unsigned_ = true,
	       .mapped = "198.51.100.4:1025");
	assert_int_equal(harness_count(h, STUN_REFRESH), 1);
	ANSWER(h, harness_last_of(h, STUN_REFRESH), .code = 437);
	assert_int_equal(harness_count(h, STUN_ALLOCATE), 1);
	harness_free(h);
}

static void keepalive_into_silence_is_noticed_after_three_seconds(void **state)
{
	struct harness *h = harness_new(harness_v4, NULL);

	(void)state;
	harness_make_ready(h);
	harness_run(h, S(25) + MS(2800));
	assert_int_not_equal(turn_standing(h->turn), TURN_SILENT);
	harness_run(h, MS(200));
	assert_int_equal(turn_standing(h->turn), TURN_SILENT);
	harness_run(h, S(5));
	assert_int_equal(h->dropped, 0);
	harness_run(h, S(2));
	assert_int_equal(h->lost_count, 2);
	assert_int_equal(h->dropped, 1);
	harness_free(h);
}

static void silent_path_moves_to_the_other_family(void **state)
{
	struct harness *h = harness_new(harness_v4, harness_v6);
	struct endpoint v4 = harness_ep(harness_v4);
	uint64_t start_us = 0;

	(void)state;
	bind_peer(h); /* over v6, asked last */
	start_us = h->now_us;
	while (turn_standing(h->turn) != TURN_SILENT) {
		(void)harness_out(h, peer);
		harness_run(h, MS(20));
	}
	assert_true(endpoint_eq(&harness_last(h, 1)->dst, &v4) ||
		    endpoint_eq(&harness_last(h, 0)->dst, &v4));
	assert_int_equal(h->lost_count, 0);
	for (size_t i = h->sent_count; i-- > 0;) {
		if (!endpoint_eq(&h->sent[i].dst, &v4))
			continue;
		harness_answer_binding(h, &h->sent[i]);
		break;
	}
	assert_int_equal(h->lost_count, 2);
	assert_int_equal(harness_out(h, peer), 0);
	assert_true(endpoint_eq(&harness_last_of(h, STUN_ALLOCATE)->dst, &v4));
	assert_true(harness_signed_with(h, harness_last_of(h, STUN_ALLOCATE), "nonce-1"));
	ANSWER(h, harness_last_of(h, STUN_ALLOCATE), .lifetime_s = 600,
	       .relayed_v4 = "192.0.2.10:50001");
	assert_true(turn_relayed(h->turn, IP_V4, &(struct endpoint){.port = 0}));
	assert_true(h->now_us - start_us < MS(3500));
	assert_int_equal(h->dropped, 0);
	harness_free(h);
}

static void relay_silent_on_both_families_is_dropped(void **state)
{
	struct harness *h = harness_new(harness_v4, harness_v6);

	(void)state;
	harness_make_ready(h);
	harness_run(h, S(25) + S(9));
	assert_int_equal(h->dropped, 0);
	assert_int_equal(h->lost_count, 0);
	harness_run(h, S(1));
	assert_int_equal(h->dropped, 1);
	harness_free(h);
}

static void relay_that_is_asked_because_of_another_answers_or_is_silent_soon(void **state)
{
	struct harness *h = harness_new(harness_v4, NULL);

	(void)state;
	harness_make_ready(h);
	harness_event(h, TURN_INPUT_PROBE); /* heard just now */
	assert_int_equal(h->sent_count, 0);
	harness_run(h, S(5));
	harness_event(h, TURN_INPUT_PROBE);
	harness_event(h, TURN_INPUT_PROBE);
	assert_int_equal(harness_count(h, STUN_BINDING), 1);
	harness_answer_binding(h, harness_last(h, 0));
	harness_run(h, S(5));
	harness_event(h, TURN_INPUT_PROBE);
	harness_run(h, S(2));
	assert_int_equal(turn_standing(h->turn), TURN_SILENT);
	harness_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(traffic_both_ways_needs_an_answer_each_second_and_a_half),
	    cmocka_unit_test(path_that_is_cut_in_our_direction_only_is_noticed),
	    cmocka_unit_test(channel_data_postpones_no_keepalive),
	    cmocka_unit_test(traffic_into_silence_is_noticed_within_three_and_a_half_seconds),
	    cmocka_unit_test(silent_relay_that_answers_again_stands),
	    cmocka_unit_test(traffic_that_goes_one_way_is_asked_about_now_and_then),
	    cmocka_unit_test(relay_that_has_forgotten_us_is_found_out_by_a_refresh),
	    cmocka_unit_test(changed_mapped_address_is_followed_by_a_refresh_at_once),
	    cmocka_unit_test(keepalive_into_silence_is_noticed_after_three_seconds),
	    cmocka_unit_test(silent_path_moves_to_the_other_family),
	    cmocka_unit_test(relay_silent_on_both_families_is_dropped),
	    cmocka_unit_test(relay_that_is_asked_because_of_another_answers_or_is_silent_soon),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
