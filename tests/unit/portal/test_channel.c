/*
 * The portal channel against a scripted portal.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "channel_world.h"

static void nothing_is_sent_between_join_and_its_answer(void **state)
{
	struct world *w = *state;
	struct portal_in in = {.kind = PORTAL_IN_SEND};

	channel_connect_it(w);
	in.u.send.kind = PORTAL_SEND_NO_RELAYS;
	channel_feed(w, &in);
	assert_int_equal(w->n_written, 0);
	channel_push_text(w, JOIN_OK);
	assert_int_equal(w->joined, 1);
	channel_assert_sent(
	    w, "{\"topic\":\"gateway\",\"event\":\"no_relays\",\"payload\":{},\"ref\":1}");
}

static void messages_count_only_after_the_join(void **state)
{
	struct world *w = *state;

	channel_connect_it(w);
	channel_push_text(w, INIT);
	assert_int_equal(w->messages, 0);
	channel_push_text(w, JOIN_OK);
	channel_push_text(w, INIT);
	assert_int_equal(w->messages, 1);
}

static void join_without_answer_is_given_up_after_five_seconds(void **state)
{
	struct world *w = *state;

	channel_connect_it(w);
	channel_advance(w, 5 * US_PER_S - 1);
	assert_int_equal(w->hang_ups, 0);
	channel_advance(w, 1);
	assert_int_equal(w->hang_ups, 1);
	assert_int_equal(w->fatals, 0);
}

static void heartbeats_go_every_ten_seconds_and_the_fourth_unanswered_drops(void **state)
{
	struct world *w = *state;

	channel_join_it(w);
	channel_advance(w, 10 * US_PER_S);
	channel_assert_sent(
	    w, "{\"topic\":\"phoenix\",\"event\":\"heartbeat\",\"payload\":{},\"ref\":1}");
	channel_push_text(w,
			  "{\"topic\":\"phoenix\",\"event\":\"phx_reply\",\"payload\":{\"status\":"
			  "\"ok\",\"response\":{}},\"ref\":1}");
	channel_advance(w, 30 * US_PER_S);
	assert_int_equal(w->lost, 0);
	channel_advance(w, 10 * US_PER_S);
	assert_int_equal(w->lost, 1);
	assert_int_equal(w->hang_ups, 1);
}

static void reply_with_another_ref_is_no_heartbeat_answer(void **state)
{
	struct world *w = *state;

	channel_join_it(w);
	for (int i = 0; i < 4; i++) {
		channel_advance(w, 10 * US_PER_S);
		channel_push_text(w, "{\"topic\":\"phoenix\",\"event\":\"phx_reply\",\"payload\":{"
				     "\"status\":\"ok\"},\"ref\":99}");
	}
	assert_int_equal(w->lost, 1);
}

static void status_401_is_fatal_other_refusals_are_retried(void **state)
{
	struct world *w = *state;
	static const char refused[] = "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno";
	static const char bad_token[] = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";

	channel_feed_kind(w, PORTAL_IN_CONNECTED);
	assert_non_null(strstr(w->written, "X-Authorization: Bearer SECRET.TOKEN\r\n"));
	channel_forget(w);
	channel_feed_bytes(w, refused, sizeof(refused) - 1);
	assert_int_equal(w->fatals, 0);
	assert_int_equal(w->hang_ups, 1);
	channel_advance(w, US_PER_S);
	assert_int_equal(w->dials, 1);
	channel_feed_kind(w, PORTAL_IN_CONNECTED);
	channel_feed_bytes(w, bad_token, sizeof(bad_token) - 1);
	assert_int_equal(w->fatals, 1);
	assert_non_null(strstr(w->reason, "Authentication token invalid"));
	assert_true(portal_channel_deadline(w->ch) == NEVER_US);
}

static void first_connection_is_retried_each_second_for_fifteen(void **state)
{
	struct world *w = *state;
	unsigned int tries = 0;

	while (w->fatals == 0 && tries < 100) {
		channel_forget(w);
		channel_feed_kind(w, PORTAL_IN_CLOSED);
		tries++;
		channel_advance(w, US_PER_S);
	}
	assert_int_equal(w->fatals, 1);
	assert_in_range(tries, 15, 17);
}

static void retry_after_replaces_the_delay_and_starts_no_clock(void **state)
{
	struct world *w = *state;
	static const char busy[] = "HTTP/1.1 503 X\r\nRetry-After: 4\r\nContent-Length: 0\r\n\r\n";

	for (int i = 0; i < 10; i++) {
		channel_feed_kind(w, PORTAL_IN_CONNECTED);
		channel_forget(w);
		channel_feed_bytes(w, busy, sizeof(busy) - 1);
		channel_advance(w, 4 * US_PER_S - 1);
		assert_int_equal(w->dials, 0);
		channel_advance(w, US_PER_S);
		assert_int_equal(w->dials, 1);
		assert_int_equal(w->fatals, 0);
	}
}

static void backoff_after_a_good_join_grows_with_jitter_and_is_reset_by_the_next(void **state)
{
	struct world *w = *state;
	uint64_t expected = 500 * US_PER_MS;

	channel_join_it(w);
	for (int i = 0; i < 12; i++) {
		channel_forget(w);
		channel_feed_kind(w, PORTAL_IN_CLOSED);
		assert_int_equal(w->fatals, 0);
		assert_in_range(portal_channel_deadline(w->ch) - w->now_us, expected / 2,
				expected + expected / 2);
		channel_advance(w, portal_channel_deadline(w->ch) - w->now_us);
		assert_int_equal(w->dials, 1);
		expected = min_u64(expected * 3 / 2, 60 * US_PER_S);
	}
	channel_join_it(w);
	channel_feed_kind(w, PORTAL_IN_CLOSED);
	assert_in_range(portal_channel_deadline(w->ch) - w->now_us, 250 * US_PER_MS,
			750 * US_PER_MS);
}

static void silent_server_is_given_up_after_fifteen_seconds(void **state)
{
	struct world *w = *state;

	channel_feed_kind(w, PORTAL_IN_CONNECTED);
	channel_forget(w);
	channel_advance(w, 15 * US_PER_S - 1);
	assert_int_equal(w->hang_ups, 0);
	channel_advance(w, 1);
	assert_int_equal(w->hang_ups, 1);
}

static void reconnect_dials_at_once_and_forgets_the_back_off(void **state)
{
	struct world *w = *state;

	channel_join_it(w);
	for (int i = 0; i < 12; i++) {
		channel_feed_kind(w, PORTAL_IN_CLOSED);
		channel_advance(w, portal_channel_deadline(w->ch) - w->now_us);
	}
	channel_feed_kind(w, PORTAL_IN_CLOSED);
	channel_forget(w);
	channel_feed_kind(w, PORTAL_IN_RECONNECT);
	assert_int_equal(w->dials, 1);
	channel_feed_kind(w, PORTAL_IN_CLOSED);
	assert_true(portal_channel_deadline(w->ch) - w->now_us <= 2 * US_PER_S);
}

static void reconnect_leaves_a_joined_channel_for_a_new_dial(void **state)
{
	struct world *w = *state;

	channel_join_it(w);
	channel_forget(w);
	channel_feed_kind(w, PORTAL_IN_RECONNECT);
	assert_int_equal(w->lost, 1);
	assert_int_equal(w->hang_ups, 1);
	assert_int_equal(w->dials, 1);
	assert_false(portal_channel_joined(w->ch));
	channel_join_it(w);
	assert_true(portal_channel_joined(w->ch));
}

static void reconnect_does_not_prolong_the_first_attempt(void **state)
{
	struct world *w = *state;

	channel_feed_kind(w, PORTAL_IN_START);
	for (int i = 0; i < 40 && w->fatals == 0; i++) {
		channel_feed_kind(w, PORTAL_IN_CLOSED);
		channel_advance(w, US_PER_S / 2);
		channel_feed_kind(w, PORTAL_IN_RECONNECT);
	}
	assert_int_equal(w->fatals, 1);
}

static void close_frame_and_phx_close_reconnect_token_expired_ends(void **state)
{
	struct world *w = *state;

	channel_join_it(w);
	channel_push_frame(w, 8, "\x03\xf4");
	assert_int_equal(w->lost, 1);
	channel_advance(w, 2 * US_PER_S);
	channel_join_it(w);
	channel_push_text(
	    w, "{\"topic\":\"gateway\",\"event\":\"phx_close\",\"ref\":null,\"payload\":{}}");
	assert_int_equal(w->lost, 1);
	channel_advance(w, 2 * US_PER_S);
	channel_join_it(w);
	channel_push_text(
	    w, "{\"topic\":\"gateway\",\"event\":\"disconnect\",\"ref\":null,\"payload\":{"
	       "\"reason\":\"token_expired\"}}");
	assert_int_equal(w->fatals, 1);
}

static void unmatched_topic_rejoins_once_then_reconnects(void **state)
{
	struct world *w = *state;
	static const char unmatched[] =
	    "{\"topic\":\"gateway\",\"event\":\"phx_reply\",\"ref\":7,\"payload\":{\"status\":"
	    "\"error\",\"response\":{\"reason\":\"unmatched topic\"}}}";

	channel_join_it(w);
	channel_push_text(w, unmatched);
	channel_assert_sent(
	    w, "{\"topic\":\"gateway\",\"event\":\"phx_join\",\"payload\":null,\"ref\":1}");
	channel_push_text(w,
			  "{\"event\":\"phx_reply\",\"ref\":1,\"topic\":\"gateway\",\"payload\":{"
			  "\"status\":\"ok\",\"response\":{}}}");
	assert_int_equal(w->joined, 1);
	channel_push_text(w, unmatched);
	assert_int_equal(w->hang_ups, 1);
}

static void ping_is_answered_binary_is_ignored_broken_json_drops(void **state)
{
	struct world *w = *state;
	uint8_t opcode;

	channel_join_it(w);
	channel_push_frame(w, 9, "hi");
	assert_string_equal(channel_first_frame(w, &opcode), "hi");
	assert_int_equal(opcode, 10);
	channel_push_frame(w, 2, "zz");
	assert_int_equal(w->lost, 0);
	channel_push_text(w, "{\"topic\":");
	assert_int_equal(w->lost, 1);
}

static void protocol_errors_drop_the_connection(void **state)
{
	struct world *w = *state;
	static const char *const bad[] = {"\xc1\x00", "\x83\x00", "\x81\x02\xc3\x28"};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		channel_join_it(w);
		channel_feed_bytes(w, bad[i], i == 2 ? 4 : 2);
		assert_int_equal(w->lost, 1);
		channel_advance(w, 2 * US_PER_S);
	}
}

static void message_that_drips_for_thirty_seconds_drops(void **state)
{
	struct world *w = *state;
	static const char begun[] = "\x01\x02{\"";

	channel_join_it(w);
	channel_feed_bytes(w, begun, 4);
	channel_advance(w, 10 * US_PER_S);
	channel_push_text(w,
			  ""); /* wslay refuses a new message inside another; either way it ends */
	channel_advance(w, 25 * US_PER_S);
	assert_int_equal(w->lost, 1);
}

static void shutdown_sends_a_close_frame(void **state)
{
	struct world *w = *state;
	uint8_t opcode;
	const char *payload;

	channel_join_it(w);
	channel_feed_kind(w, PORTAL_IN_SHUTDOWN);
	payload = channel_first_frame(w, &opcode);
	assert_int_equal(opcode, 8);
	assert_memory_equal(payload, "\x03\xe8", 2);
	assert_int_equal(w->hang_ups, 1);
	assert_true(portal_channel_deadline(w->ch) == NEVER_US);
}

static void frames_may_arrive_in_single_bytes(void **state)
{
	struct world *w = *state;
	char frame[512];
	size_t len = strlen(INIT);

	channel_join_it(w);
	assert_true(len < 126);
	frame[0] = (char)0x81;
	frame[1] = (char)len;
	memcpy(frame + 2, INIT, len);
	for (size_t i = 0; i < len + 2; i++)
		channel_feed_bytes(w, frame + i, 1);
	assert_int_equal(w->messages, 1);
}

static void close_frame_says(struct world *w, uint16_t code)
{
	uint8_t opcode;
	const char *payload = channel_first_frame(w, &opcode);

	assert_int_equal(opcode, 8);
	assert_int_equal((uint8_t)payload[0] << 8 | (uint8_t)payload[1], code);
	assert_int_equal(w->lost, 1);
	assert_int_equal(w->hang_ups, 1);
	assert_int_equal(w->fatals, 0);
}

static void masked_frame_is_refused_wherever_it_is_cut(void **state)
{
	struct world *w = *state;
	/* "{}" and a ping, both unmasked, then a masked "{}". */
	static const char frames[] = "\x81\x02{}\x89\x00\x81\x82\x00\x00\x00\x00{}";

	for (size_t cut = 1; cut < sizeof(frames) - 1; cut++) {
		channel_join_it(w);
		channel_feed_bytes(w, frames, cut);
		if (w->lost == 0)
			channel_feed_bytes(w, frames + cut, sizeof(frames) - 1 - cut);
		if (w->written[0] == (char)0x8a) {
			uint8_t opcode;

			channel_first_frame(w, &opcode);
		}
		close_frame_says(w, 1002);
		channel_advance(w, 2 * US_PER_S);
	}
}

static void long_lengths_do_not_confuse_the_search_for_masks(void **state)
{
	struct world *w = *state;
	static uint8_t frame[70010] = {0x81, 127, 0, 0, 0, 0, 0, 1, 0x11, 0x70}; /* 70,000 bytes */

	channel_join_it(w);
	memset(frame + 10, ' ', 70000);
	memcpy(frame + 10, INIT, strlen(INIT));
	channel_feed_bytes(w, frame, sizeof(frame));
	assert_int_equal(w->messages, 1);
	channel_push_text(w, INIT);
	assert_int_equal(w->messages, 2);
}

static void message_over_the_cap_ends_with_1009(void **state)
{
	struct world *w = *state;
	static const char announced[] = "\x81\x7f\x00\x00\x00\x00\x00\x40\x00\x01{"; /* 4 MiB + 1 */
	static uint8_t fragment[4 + 65535] = {0x01, 126, 0xff, 0xff};

	channel_join_it(w);
	channel_feed_bytes(w, announced, sizeof(announced) - 1);
	close_frame_says(w, 1009);
	channel_advance(w, 2 * US_PER_S);
	channel_join_it(w);
	memset(fragment + 4, ' ', 65535);
	fragment[0] = 0x01;
	for (int i = 0; i < 64; i++) {
		channel_feed_bytes(w, fragment, sizeof(fragment));
		fragment[0] = 0x00;
		assert_int_equal(w->lost, 0);
	}
	channel_feed_bytes(w, fragment, sizeof(fragment)); /* the 65th would pass 4 MiB */
	close_frame_says(w, 1009);
}

static void ping_inside_a_message_and_alone_start_no_message_timer(void **state)
{
	struct world *w = *state;

	channel_join_it(w);
	channel_push_frame(w, 9, "");
	channel_advance(w, 35 * US_PER_S); /* three heartbeats unanswered, which is allowed */
	assert_int_equal(w->lost, 0);
	channel_push_text(w, INIT);
	assert_int_equal(w->messages, 1);
}

static void endless_fragments_end_after_thirty_seconds(void **state)
{
	struct world *w = *state;
	char text[160];

	channel_join_it(w);
	channel_feed_bytes(w, "\x01\x01{", 3);
	for (int i = 1; i <= 29; i++) {
		channel_advance(w, US_PER_S);
		channel_feed_bytes(w, "\x00\x01 ", 3);
		/* Control frames in between and answered heartbeats make no difference. */
		snprintf(text, sizeof(text), "\x89%c", 0);
		channel_feed_bytes(w, text, 2);
		assert_int_equal(w->lost, 0);
	}
	channel_advance(w, US_PER_S);
	assert_int_equal(w->lost, 1);
}

static void equal_messages_wait_once_for_the_join(void **state)
{
	struct world *w = *state;
	struct portal_in in = {.kind = PORTAL_IN_SEND};

	channel_connect_it(w);
	for (int i = 0; i < 300; i++) {
		in.u.send.kind = PORTAL_SEND_NO_RELAYS;
		channel_feed(w, &in);
	}
	in.u.send.kind = PORTAL_SEND_FLOW_AUTHORIZED;
	in.u.send.flow_ref = "a";
	channel_feed(w, &in);
	channel_push_text(w, JOIN_OK);
	channel_assert_sent(
	    w, "{\"topic\":\"gateway\",\"event\":\"no_relays\",\"payload\":{},\"ref\":1}");
	channel_assert_sent(
	    w, "{\"topic\":\"gateway\",\"event\":\"flow_authorized\",\"payload\":{\"ref\":"
	       "\"a\"},\"ref\":2}");
	assert_int_equal(w->n_written, 0);
}

static void queue_of_256_is_held_one_more_drops_the_connection(void **state)
{
	struct world *w = *state;
	struct portal_in in = {.kind = PORTAL_IN_SEND};
	char ref[16];

	channel_connect_it(w);
	in.u.send.kind = PORTAL_SEND_FLOW_AUTHORIZED;
	in.u.send.flow_ref = ref;
	for (int i = 0; i < 256; i++) {
		snprintf(ref, sizeof(ref), "%d", i);
		channel_feed(w, &in);
	}
	assert_int_equal(w->hang_ups, 0);
	snprintf(ref, sizeof(ref), "more");
	channel_feed(w, &in);
	assert_int_equal(w->hang_ups, 1);
}

static void flood_of_odd_messages_is_logged_in_few_lines(void **state)
{
	struct world *w = *state;

	channel_join_it(w);
	w->log_lines = 0;
	for (int i = 0; i < 1000; i++) {
		channel_push_text(w, "{\"event\":\"strange\",\"payload\":{\"secret\":\"SECRET\"}}");
		channel_push_text(w, "SECRET");
		channel_push_frame(w, 2, "SECRET");
		channel_push_text(
		    w, "{\"event\":\"phx_reply\",\"ref\":5,\"payload\":{\"status\":\"error\"}}");
	}
	assert_in_range(w->log_lines, 1, 20);
	assert_int_equal(w->lost, 0);
}

static void huge_retry_after_and_huge_answers_are_cut(void **state)
{
	struct world *w = *state;
	static const char busy[] =
	    "HTTP/1.1 503 X\r\nRetry-After: 99999999999\r\nContent-Length: 0\r\n\r\n";
	char line[1024];

	channel_feed_kind(w, PORTAL_IN_CONNECTED);
	channel_feed_bytes(w, busy, sizeof(busy) - 1);
	assert_in_range(portal_channel_deadline(w->ch) - w->now_us, 300 * US_PER_S, 330 * US_PER_S);
	channel_advance(w, 330 * US_PER_S);
	channel_feed_kind(w, PORTAL_IN_CONNECTED);
	channel_forget(w);
	channel_feed_bytes(w, "HTTP/1.1 200 OK\r\n", 17);
	memset(line, 'x', sizeof(line));
	for (int i = 0; i < 15; i++)
		channel_feed_bytes(w, line, sizeof(line));
	assert_int_equal(w->hang_ups, 0);
	channel_feed_bytes(w, line, sizeof(line));
	assert_int_equal(w->hang_ups, 1);
}

static void join_refused_is_retried_unknown_disconnect_too(void **state)
{
	struct world *w = *state;

	channel_connect_it(w);
	channel_push_text(w, "{\"event\":\"phx_reply\",\"ref\":0,\"payload\":{\"status\":\"error\","
			     "\"response\":{\"reason\":\"busy\"}}}");
	assert_int_equal(w->fatals, 0);
	assert_int_equal(w->hang_ups, 1);
	channel_advance(w, 2 * US_PER_S);
	channel_join_it(w);
	channel_push_text(
	    w, "{\"topic\":\"gateway\",\"event\":\"disconnect\",\"ref\":null,\"payload\":{"
	       "\"reason\":\"whim\"}}");
	assert_int_equal(w->lost, 1);
	assert_int_equal(w->fatals, 0);
}

static void control_frames_that_break_the_rules_drop(void **state)
{
	struct world *w = *state;
	/* A ping of 126 bytes, a fragmented ping, a continuation of nothing. */
	static const char *const bad[] = {"\x89\x7e\x00\x7e", "\x09\x01x", "\x80\x01x"};
	static const size_t len[] = {4, 3, 3};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		channel_join_it(w);
		channel_feed_bytes(w, bad[i], len[i]);
		assert_int_equal(w->lost, 1);
		channel_advance(w, 2 * US_PER_S);
	}
}

static void giving_up_hangs_up_once(void **state)
{
	struct world *w = *state;

	channel_feed_kind(w, PORTAL_IN_CLOSED);
	w->now_us += 60 * US_PER_S;
	channel_feed_kind(w, PORTAL_IN_TIMEOUT);
	channel_feed_kind(w, PORTAL_IN_CONNECTED);
	channel_forget(w);
	channel_feed_kind(w, PORTAL_IN_CLOSED);
	assert_int_equal(w->fatals, 1);
	assert_int_equal(w->hang_ups, 1);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, channel_setup, channel_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CASE(nothing_is_sent_between_join_and_its_answer),
	    CASE(messages_count_only_after_the_join),
	    CASE(join_without_answer_is_given_up_after_five_seconds),
	    CASE(heartbeats_go_every_ten_seconds_and_the_fourth_unanswered_drops),
	    CASE(reply_with_another_ref_is_no_heartbeat_answer),
	    CASE(status_401_is_fatal_other_refusals_are_retried),
	    CASE(first_connection_is_retried_each_second_for_fifteen),
	    CASE(retry_after_replaces_the_delay_and_starts_no_clock),
	    CASE(backoff_after_a_good_join_grows_with_jitter_and_is_reset_by_the_next),
	    CASE(silent_server_is_given_up_after_fifteen_seconds),
	    CASE(reconnect_dials_at_once_and_forgets_the_back_off),
	    CASE(reconnect_leaves_a_joined_channel_for_a_new_dial),
	    CASE(reconnect_does_not_prolong_the_first_attempt),
	    CASE(close_frame_and_phx_close_reconnect_token_expired_ends),
	    CASE(unmatched_topic_rejoins_once_then_reconnects),
	    CASE(ping_is_answered_binary_is_ignored_broken_json_drops),
	    CASE(protocol_errors_drop_the_connection),
	    CASE(message_that_drips_for_thirty_seconds_drops),
	    CASE(shutdown_sends_a_close_frame),
	    CASE(frames_may_arrive_in_single_bytes),
	    CASE(masked_frame_is_refused_wherever_it_is_cut),
	    CASE(long_lengths_do_not_confuse_the_search_for_masks),
	    CASE(message_over_the_cap_ends_with_1009),
	    CASE(ping_inside_a_message_and_alone_start_no_message_timer),
	    CASE(endless_fragments_end_after_thirty_seconds),
	    CASE(equal_messages_wait_once_for_the_join),
	    CASE(queue_of_256_is_held_one_more_drops_the_connection),
	    CASE(flood_of_odd_messages_is_logged_in_few_lines),
	    CASE(huge_retry_after_and_huge_answers_are_cut),
	    CASE(join_refused_is_retried_unknown_disconnect_too),
	    CASE(control_frames_that_break_the_rules_drop),
	    CASE(giving_up_hangs_up_once),
	};

	portal_json_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
