/* Another way to the relay, or none for a while: what falls, what stays, what is asked again. */
#include "harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PEER "203.0.113.7:40000"

static const char new_v4[] = "10.9.9.9:52625";

static struct harness *ready(const char *v4, const char *v6)
{
	struct harness *h = harness_new(v4, v6);

	harness_make_ready(h);
	harness_bind(h, PEER, 1);
	ANSWER(h, harness_last_of(h, STUN_CHANNEL_BIND), .no_lifetime = true);
	assert_true(harness_in(h, 0x4000, PEER));
	harness_forget(h);
	return h;
}

/* NULL: no way out; "": it stays as it is. */
static void roam(struct harness *h, const char *v4, const char *v6)
{
	const char *const to[] = {v4, v6};
	struct turn_input in = {.kind = TURN_INPUT_ROAM};

	for (int i = 0; i < 2; i++) {
		in.u.roam[i].moved = !to[i] || to[i][0] != '\0';
		in.u.roam[i].out = to[i] != NULL;
		if (to[i] && to[i][0] != '\0')
			in.u.roam[i].local = harness_ep(to[i]);
	}
	harness_handle(h, &in);
}

static bool has_lost(const struct harness *h, enum candidate_kind kind, uint8_t family)
{
	for (size_t i = 0; i < h->lost_count; i++)
		if (h->lost[i].kind == kind && h->lost[i].addr.ip.family == family)
			return true;
	return false;
}

static void answer_binding(struct harness *h)
{
	const struct sent *s = harness_last_of(h, STUN_BINDING);
	bool v4 = s->dst.ip.family == IP_V4;

	ANSWER(h, s, .unsigned_ = true, .no_lifetime = true,
	       .mapped = v4 ? "198.51.100.5:1024" : "[2001:db8:2::4]:52625");
}

static bool is_ready(const struct harness *h)
{
	return turn_relayed(h->turn, IP_V4, &(struct endpoint){.port = 0});
}

static void moved_source_voids_everything_and_starts_over(void **state)
{
	struct harness *h = ready(harness_v4, NULL);

	(void)state;
	roam(h, new_v4, "");
	assert_int_equal(h->lost_count, 4);
	assert_true(has_lost(h, CANDIDATE_HOST, IP_V4) && has_lost(h, CANDIDATE_SRFLX, IP_V4) &&
		    has_lost(h, CANDIDATE_RELAY, IP_V4) && has_lost(h, CANDIDATE_RELAY, IP_V6));
	assert_false(is_ready(h));
	assert_int_equal(harness_out(h, PEER), 0);
	assert_false(harness_in(h, 0x4000, PEER));
	assert_int_equal(h->sent_count, 1);
	answer_binding(h);
	/* The nonce is as good as before, so that one round trip is enough. */
	assert_true(harness_signed_with(h, harness_last_of(h, STUN_ALLOCATE), "nonce-1"));
	ANSWER(h, harness_last_of(h, STUN_ALLOCATE), .lifetime_s = 600,
	       .relayed_v4 = "192.0.2.10:50001");
	assert_true(is_ready(h));
	assert_int_equal(h->candidate_count, 3);
	assert_int_equal(h->dropped, 0);
	harness_free(h);
}

static void nonce_of_the_old_address_costs_one_round_trip(void **state)
{
	struct harness *h = ready(harness_v4, NULL);

	(void)state;
	roam(h, new_v4, "");
	answer_binding(h);
	ANSWER(h, harness_last_of(h, STUN_ALLOCATE), .unsigned_ = true, .code = 438,
	       .nonce = "nonce-2", .realm = "firezone");
	assert_true(harness_signed_with(h, harness_last_of(h, STUN_ALLOCATE), "nonce-2"));
	assert_int_equal(harness_count(h, STUN_ALLOCATE), 2);
	harness_free(h);
}

static void other_family_takes_over_when_the_active_one_is_lost(void **state)
{
	struct harness *h = ready(harness_v4, harness_v6); /* over v6 */

	(void)state;
	roam(h, "", NULL);
	assert_true(has_lost(h, CANDIDATE_RELAY, IP_V4));
	assert_true(has_lost(h, CANDIDATE_HOST, IP_V6));
	assert_false(has_lost(h, CANDIDATE_HOST, IP_V4));
	assert_int_equal(h->sent_count, 1);
	assert_int_equal(harness_last(h, 0)->dst.ip.family, IP_V4);
	answer_binding(h);
	assert_int_equal(harness_last_of(h, STUN_ALLOCATE)->dst.ip.family, IP_V4);
	ANSWER(h, harness_last_of(h, STUN_ALLOCATE), .lifetime_s = 600,
	       .relayed_v4 = "192.0.2.10:50001");
	assert_true(is_ready(h));
	/* It has no way out yet: when this path dies too, the relay is lost. */
	harness_run(h, S(35));
	assert_int_equal(h->dropped, 1);
	harness_free(h);
}

static void inactive_family_comes_and_goes_beside_the_allocation(void **state)
{
	struct harness *h = harness_new(harness_v4, harness_v6);

	(void)state;
	ANSWER(h, harness_last(h, 1), .unsigned_ = true, .mapped = "198.51.100.4:52625");
	ANSWER(h, harness_last_of(h, STUN_ALLOCATE), .lifetime_s = 600,
	       .relayed_v4 = "192.0.2.10:50000");
	answer_binding(h);
	ANSWER(h, harness_last(h, 1), .unsigned_ = true, .mapped = "[2001:db8:1::2]:52625");
	harness_forget(h);
	roam(h, "", NULL);
	assert_int_equal(h->sent_count, 0);
	assert_true(is_ready(h));
	roam(h, "", harness_local_v6);
	assert_true(is_ready(h));
	assert_int_equal(h->sent_count, 1);
	assert_int_equal(harness_last(h, 0)->dst.ip.family, IP_V6);
	answer_binding(h);
	assert_int_equal(h->candidates[0].kind, CANDIDATE_HOST);
	assert_int_equal(h->candidates[0].addr.ip.family, IP_V6);
	assert_int_equal(harness_count(h, STUN_ALLOCATE), 0);
	harness_free(h);
}

static void relay_without_any_way_waits_in_silence(void **state)
{
	struct harness *h = ready(harness_v4, NULL);
	uint64_t start_us = h->now_us;

	(void)state;
	roam(h, NULL, "");
	assert_int_equal(h->sent_count, 0);
	assert_true(turn_rtt_us(h->turn) == 0);
	assert_true(turn_deadline(h->turn) == NEVER_US);
	harness_event(h, TURN_INPUT_REFRESH);
	harness_bind(h, PEER, 1);
	harness_run_to(h, start_us + S(100));
	assert_int_equal(h->sent_count, 0);
	assert_int_equal(h->dropped, 0);
	roam(h, harness_local_v4, "");
	assert_int_equal(harness_count(h, STUN_BINDING), 1);
	answer_binding(h);
	assert_int_equal(harness_count(h, STUN_ALLOCATE), 1);
	assert_true(turn_rtt_us(h->turn) != 0);
	harness_free(h);
}

/* Requests follow the new route before the move is decided. */
static void allocation_already_made_from_the_new_address_stays(void **state)
{
	struct harness *h = ready(harness_v4, NULL);

	(void)state;
	roam(h, harness_local_v4, "");
	assert_int_equal(h->lost_count, 0);
	assert_true(is_ready(h));
	assert_int_equal(harness_out(h, PEER), 0x4000);
	assert_int_equal(h->sent_count, 1);
	assert_int_equal(harness_count(h, STUN_BINDING), 1);
	harness_free(h);
}

static void another_port_of_the_same_address_is_another_5_tuple(void **state)
{
	struct harness *h = ready(harness_v4, NULL);

	(void)state;
	roam(h, "10.0.0.2:40001", "");
	assert_int_equal(h->lost_count, 4);
	assert_false(is_ready(h));
	harness_free(h);
}

static void dead_address_voids_what_was_learnt_on_it(void **state)
{
	struct harness *h = ready(harness_v4, NULL);
	struct turn_input in = {.kind = TURN_INPUT_LOCAL_DEAD};

	(void)state;
	in.u.local_dead = harness_ep("10.0.0.3:1").ip;
	harness_handle(h, &in);
	assert_int_equal(h->lost_count, 0);
	in.u.local_dead = harness_ep(harness_local_v4).ip;
	harness_handle(h, &in);
	assert_int_equal(h->lost_count, 2);
	assert_true(is_ready(h));
	/* Seen again, told again. */
	harness_run(h, S(25));
	answer_binding(h);
	assert_int_equal(h->candidate_count, 2);
	harness_free(h);
}

static void roam_in_the_midst_of_allocating_starts_over(void **state)
{
	struct harness *h = harness_new(harness_v4, NULL);
	struct sent old;

	(void)state;
	answer_binding(h);
	old = *harness_last_of(h, STUN_ALLOCATE);
	assert_true(stun_msg_read(&old.msg, old.bytes, old.len));
	roam(h, new_v4, "");
	ANSWER(h, &old, .lifetime_s = 600, .relayed_v4 = "192.0.2.10:50000");
	assert_false(is_ready(h));
	answer_binding(h);
	ANSWER(h, harness_last_of(h, STUN_ALLOCATE), .lifetime_s = 600,
	       .relayed_v4 = "192.0.2.10:50000");
	assert_true(is_ready(h));
	harness_free(h);
}

/* The worst case: a series begins with the outage. */
static void outage_of_eight_seconds_costs_no_allocation(void **state)
{
	struct harness *h = ready(harness_v4, NULL);

	(void)state;
	for (int i = 0; i < 2; i++) { /* and the next one */
		harness_run(h, S(25) + S(8));
		harness_forget(h);
		harness_run(h, MS(900));
		assert_int_equal(harness_count(h, STUN_BINDING), 1);
		ANSWER(h, harness_last_of(h, STUN_BINDING), .unsigned_ = true,
		       .mapped = "198.51.100.4:52625");
		assert_int_equal(h->lost_count + h->dropped, 0);
		assert_int_equal(turn_standing(h->turn), TURN_STANDS);
	}
	assert_true(is_ready(h));
	harness_free(h);
}

/* The same with traffic, which is noticed much sooner. */
static void outage_of_eight_seconds_under_traffic_costs_no_allocation(void **state)
{
	struct harness *h = ready(harness_v4, NULL);

	(void)state;
	for (int i = 0; i < 800; i++) {
		assert_int_equal(harness_out(h, PEER), 0x4000);
		harness_run(h, MS(10));
	}
	assert_int_equal(turn_standing(h->turn), TURN_SILENT);
	harness_forget(h);
	harness_run(h, MS(900));
	assert_int_equal(harness_count(h, STUN_BINDING), 1);
	answer_binding(h);
	assert_int_equal(h->lost_count + h->dropped, 0);
	assert_true(is_ready(h));
	harness_free(h);
}

/* A relay that is there but has stopped to answer what is signed. */
static void second_silent_series_ends_the_allocation_whatever_else_is_answered(void **state)
{
	struct harness *h = ready(harness_v4, NULL);
	uint64_t start_us = h->now_us;

	(void)state;
	harness_bind(h, "203.0.113.8:40000", 1);
	while (h->dropped == 0 && h->now_us < start_us + S(60)) {
		size_t bindings = harness_count(h, STUN_BINDING);

		harness_run_to(h, turn_deadline(h->turn));
		if (harness_count(h, STUN_BINDING) > bindings)
			answer_binding(h);
	}
	assert_int_equal(h->dropped, 1);
	assert_true(h->now_us - start_us == MS(16250));
	harness_free(h);
}

static void nothing_is_given_up_while_the_host_is_away(void **state)
{
	struct harness *h = ready(harness_v4, NULL);

	(void)state;
	turn_set_away(h->turn, true);
	harness_bind(h, "203.0.113.8:40000", 1);
	harness_run(h, S(120));
	assert_int_equal(h->lost_count + h->dropped, 0);
	assert_true(is_ready(h));
	turn_set_away(h->turn, false);
	harness_run(h, S(18));
	assert_int_equal(h->dropped, 1);
	harness_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(moved_source_voids_everything_and_starts_over),
	    cmocka_unit_test(nonce_of_the_old_address_costs_one_round_trip),
	    cmocka_unit_test(other_family_takes_over_when_the_active_one_is_lost),
	    cmocka_unit_test(inactive_family_comes_and_goes_beside_the_allocation),
	    cmocka_unit_test(relay_without_any_way_waits_in_silence),
	    cmocka_unit_test(allocation_already_made_from_the_new_address_stays),
	    cmocka_unit_test(another_port_of_the_same_address_is_another_5_tuple),
	    cmocka_unit_test(dead_address_voids_what_was_learnt_on_it),
	    cmocka_unit_test(roam_in_the_midst_of_allocating_starts_over),
	    cmocka_unit_test(outage_of_eight_seconds_costs_no_allocation),
	    cmocka_unit_test(outage_of_eight_seconds_under_traffic_costs_no_allocation),
	    cmocka_unit_test(second_silent_series_ends_the_allocation_whatever_else_is_answered),
	    cmocka_unit_test(nothing_is_given_up_while_the_host_is_away),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
