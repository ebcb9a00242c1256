/* How often the cache forgets and when the egress is compared. The numbers are those of the socket
 * factory's list of tests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "host.h"

enum {
	T0 = 1000 * 1000000,
	PATHS = 1000,
};

static uint64_t ms(uint64_t n)
{
	return n * US_PER_MS;
}

static bool takes_flush(struct roam *r, uint64_t now_us)
{
	enum factory_cause cause;

	return roam_take_flush(r, now_us, &cause);
}

static void nothing_is_due_without_an_event(void **state)
{
	struct roam_due due;
	struct roam r;

	(void)state;
	roam_init(&r);
	assert_true(roam_deadline(&r) == NEVER_US);
	due = roam_take(&r, T0);
	assert_false(due.flush || due.compare);
}

static void flush_is_immediate_and_said_once(void **state)
{
	struct roam_due due;
	struct roam r;

	(void)state;
	roam_init(&r);
	roam_event(&r, FACTORY_CAUSE_LINK, T0);
	assert_int_equal(roam_deadline(&r), T0);
	due = roam_take(&r, T0);
	assert_true(due.flush && !due.compare);
	assert_int_equal(due.cause, FACTORY_CAUSE_LINK);
	due = roam_take(&r, T0);
	assert_false(due.flush || due.compare);
	assert_int_equal(roam_deadline(&r), T0 + ms(ROAM_QUIET_MS));
}

static void t31_comparison_comes_half_a_second_after_the_last_event(void **state)
{
	struct roam_due due;
	struct roam r;

	(void)state;
	roam_init(&r);
	roam_event(&r, FACTORY_CAUSE_ADDRESS, T0);
	(void)roam_take(&r, T0);
	roam_event(&r, FACTORY_CAUSE_ROUTE, T0 + ms(400));
	assert_false(roam_take(&r, T0 + ms(400)).compare);
	assert_false(roam_take(&r, T0 + ms(899)).compare);
	due = roam_take(&r, T0 + ms(900));
	assert_true(due.compare && !due.flush);
	/* Why: what came first. */
	assert_int_equal(due.cause, FACTORY_CAUSE_ADDRESS);
	assert_int_equal(r.cause, FACTORY_CAUSE_ADDRESS);
	roam_compared(&r, 1);
	assert_true(roam_deadline(&r) == NEVER_US);
}

static void t31_ten_events_within_two_seconds_are_one_comparison(void **state)
{
	struct host h;

	(void)state;
	host_new(&h);
	for (int i = 0; i < 10; i++) {
		assert_true(
		    host_drain(&h, link_msg(NL_NEW_LINK, 2, "eth0", i % 2 == 0 ? 0 : HOST_UP)));
		host_run(&h, ms(150));
	}
	assert_int_equal(h.compared, 0);
	host_run(&h, 10 * US_PER_S);
	assert_int_equal(h.compared, 1);
	assert_int_equal(host_flushes(&h), 10);
	host_free(&h);
}

static void t31_comparison_comes_two_seconds_after_the_first_of_many_events(void **state)
{
	uint64_t start_us;
	struct host h;

	(void)state;
	host_new(&h);
	start_us = h.w.now_us;
	for (int i = 0; i < 30; i++) {
		host_drain(&h, link_msg(NL_NEW_LINK, 2, "eth0", i % 2 == 0 ? 0 : HOST_UP));
		host_run(&h, ms(100));
		if (h.w.now_us < start_us + ms(ROAM_LATEST_MS))
			assert_int_equal(h.compared, 0);
		else if (h.compared == 1)
			assert_int_equal(h.compared_us, start_us + ms(ROAM_LATEST_MS));
	}
	assert_int_equal(h.compared, 1);
	host_free(&h);
}

static void t27_unrelated_interface_that_flaps_disturbs_nobody(void **state)
{
	uint64_t start_us;
	struct host h;

	(void)state;
	host_new(&h);
	h.live[h.n_live++] = "203.0.113.5";
	start_us = h.w.now_us;
	host_drain(&h, link_msg(NL_NEW_LINK, 30, "veth7", HOST_UP));
	for (int i = 0; i < 2000; i++) {
		assert_true(
		    host_drain(&h, link_msg(NL_NEW_LINK, 30, "veth7", i % 2 == 0 ? 0 : HOST_UP)));
		world_expect(&h.w, "203.0.113.5", "192.0.2.10");
		host_run(&h, ms(5));
	}
	host_run(&h, ms(ROAM_LATEST_MS));
	assert_true(host_flushes(&h) > 0);
	assert_true(host_flushes(&h) <= ROAM_MAX_FLUSHES * (h.w.now_us - start_us) / US_PER_S);
	assert_in_range(h.compared, 1, (h.w.now_us - start_us) / ms(ROAM_LATEST_MS));
	host_free(&h);
}

static void t32_router_advertisements_compare_nothing(void **state)
{
	struct nl_msg address = address_msg(NL_NEW_ADDR, 2, "2001:db8::10/64", 0);
	struct nl_msg route = route_msg(NL_NEW_ROUTE, "::/0", 2, "2001:db8::1");
	unsigned flushes;
	struct host h;

	(void)state;
	host_new(&h);
	h.live[h.n_live++] = "2001:db8:5::5";
	world_expect(&h.w, "2001:db8:5::5", "2001:db8::10");
	host_drain(&h, route);
	host_run(&h, 10 * US_PER_S);
	flushes = host_flushes(&h);
	h.compared = 0;
	for (int i = 0; i < 60; i++) {
		host_drain(&h, address);
		host_drain(&h, route);
		host_run(&h, 10 * US_PER_S);
	}
	assert_int_equal(h.compared, 0);
	assert_int_equal(host_flushes(&h), flushes);
	host_free(&h);
}

/* Ten at once, ten more in the rest of the second. */
static void t44_no_second_sees_more_than_twenty_flushes(void **state)
{
	static uint64_t flushed_us[1024];
	size_t n = 0;
	struct roam r;

	(void)state;
	roam_init(&r);
	for (uint64_t now = T0; now < T0 + 5 * US_PER_S; now += 500) {
		roam_event(&r, FACTORY_CAUSE_ADDRESS, now);
		if (!takes_flush(&r, now))
			continue;
		assert_true(n < ARRAY_LEN(flushed_us));
		flushed_us[n++] = now;
	}
	assert_true(n >= ROAM_MAX_FLUSHES);
	for (size_t i = ROAM_MAX_FLUSHES; i < n; i++)
		assert_true(flushed_us[i] - flushed_us[i - ROAM_MAX_FLUSHES] >= US_PER_S);
	/* Nor is the cache kept from the truth for long while the storm goes on. */
	for (size_t i = 1; i < n; i++)
		assert_true(flushed_us[i] - flushed_us[i - 1] <= ms(2 * ROAM_WINDOW_MS));
}

static void t44_what_waits_goes_fifty_ms_after_the_last_event(void **state)
{
	(void)state;
	for (uint64_t events = 1; events < 400; events += 7) {
		uint64_t now = T0, last = T0;
		struct roam r;

		roam_init(&r);
		for (uint64_t i = 0; i < events; i++, now += 500) {
			roam_event(&r, FACTORY_CAUSE_ADDRESS, now);
			(void)takes_flush(&r, now);
			last = now;
		}
		if (r.flush_us == NEVER_US)
			continue;
		assert_true(roam_deadline(&r) <= last + ms(ROAM_WINDOW_MS));
		assert_true(takes_flush(&r, last + ms(ROAM_WINDOW_MS)));
	}
}

/* However long it rained, a quiet second makes flushes immediate again. */
static void t44_storm_leaves_no_lasting_debt(void **state)
{
	uint64_t now = T0;
	struct roam r;

	(void)state;
	roam_init(&r);
	for (; now < T0 + 60 * US_PER_S; now += ms(51)) {
		roam_event(&r, FACTORY_CAUSE_ADDRESS, now);
		(void)takes_flush(&r, now);
		(void)takes_flush(&r, now + ms(ROAM_WINDOW_MS));
	}
	now += US_PER_S;
	for (int i = 0; i < ROAM_MAX_FLUSHES / 2; i++) {
		roam_event(&r, FACTORY_CAUSE_ADDRESS, now);
		assert_true(takes_flush(&r, now));
	}
}

/* Each path has a memo of its own, as the core's; it looks up when the generation is another. */
static void send_by_all_paths(struct host *h, struct factory_route memo[PATHS],
			      const struct ip_addr *not_from)
{
	struct ip_addr dst = ip("198.51.0.0");

	for (unsigned i = 0; i < PATHS; i++) {
		dst.bytes[2] = (uint8_t)(i >> 8);
		dst.bytes[3] = (uint8_t)i;
		if (memo[i].generation != factory_generation(h->w.f))
			assert_int_equal(factory_resolve(h->w.f, &dst, 0, h->w.now_us, &memo[i]),
					 FACTORY_OK);
		assert_false(not_from && ip_eq(&memo[i].source, not_from));
	}
}

/* A thousand pairs a second. No datagram leaves by a source that is gone longer than fifty ms after
 * the last event. */
static void t44_paths_leave_by_no_removed_source(void **state)
{
	static struct factory_route memo[PATHS];
	const struct nl_msg gone = address_msg(NL_DEL_ADDR, 2, "192.0.2.10/24", 0);
	const struct nl_msg back = address_msg(NL_NEW_ADDR, 2, "192.0.2.10/24", 0);
	struct ip_addr old = ip("192.0.2.10");
	uint64_t generation;
	struct host h;

	(void)state;
	host_new(&h);
	generation = factory_generation(h.w.f);
	for (int i = 0; i <= 4000; i++) {
		bool is_gone = i % 2 == 0;

		host_run(&h, 500);
		assert_true(host_drain(&h, is_gone ? gone : back));
		h.w.v4 = way(is_gone ? "192.0.2.20" : "192.0.2.10", 2, "eth0");
		if (i % 20 == 1)
			send_by_all_paths(&h, memo, NULL);
	}
	assert_true(factory_generation(h.w.f) - generation <= 2 * ROAM_MAX_FLUSHES);
	host_run(&h, ms(ROAM_WINDOW_MS));
	send_by_all_paths(&h, memo, &old);
	host_free(&h);
}

static void comparison_does_not_find_what_a_waiting_flush_would_forget(void **state)
{
	uint64_t end_us = T0 + ms(ROAM_LATEST_MS), now = T0;
	struct roam_due due;
	struct roam r;

	(void)state;
	roam_init(&r);
	/* The allowance is used up just before the comparison. */
	roam_event(&r, FACTORY_CAUSE_ADDRESS, now);
	for (now = end_us - 100; now < end_us; now++) {
		roam_event(&r, FACTORY_CAUSE_ADDRESS, now);
		(void)takes_flush(&r, now);
	}
	assert_true(r.flush_us > end_us && r.flush_us != NEVER_US);
	due = roam_take(&r, end_us);
	assert_true(due.flush && due.compare);
}

static void flush_by_somebody_else_arms_the_comparison(void **state)
{
	struct roam r;

	(void)state;
	roam_init(&r);
	roam_generation(&r, 1, T0); /* the first one is no news */
	assert_true(roam_deadline(&r) == NEVER_US);
	roam_generation(&r, 2, T0 + ms(10));
	assert_int_equal(roam_deadline(&r), T0 + ms(10 + ROAM_QUIET_MS));
	assert_int_equal(r.cause, FACTORY_CAUSE_SEND_ERROR);
	/* More of them do not put it off. */
	for (uint64_t i = 3; i < 10; i++)
		roam_generation(&r, i, T0 + ms(10 + 50 * i));
	assert_true(roam_take(&r, T0 + ms(10 + ROAM_QUIET_MS)).compare);
}

static void event_says_why_where_a_failed_send_only_armed_the_comparison(void **state)
{
	struct roam r;

	(void)state;
	roam_init(&r);
	roam_generation(&r, 1, T0);
	roam_generation(&r, 2, T0);
	roam_event(&r, FACTORY_CAUSE_ADDRESS, T0 + ms(100));
	roam_event(&r, FACTORY_CAUSE_ROUTE, T0 + ms(200));
	assert_int_equal(r.cause, FACTORY_CAUSE_ADDRESS);
	assert_int_equal(r.first_us, T0);
}

static void own_flush_arms_nothing_beyond_its_event(void **state)
{
	struct roam r;

	(void)state;
	roam_init(&r);
	roam_generation(&r, 1, T0);
	roam_event(&r, FACTORY_CAUSE_LINK, T0);
	assert_true(takes_flush(&r, T0));
	roam_flushed(&r, 2);
	roam_generation(&r, 2, T0 + ms(300));
	assert_int_equal(roam_deadline(&r), T0 + ms(ROAM_QUIET_MS));
}

/* A roam resets the cache; were that a reason to compare, a difference that stays would be a roam
 * every half second. */
static void comparison_is_no_reason_for_the_next_one(void **state)
{
	struct roam r;

	(void)state;
	roam_init(&r);
	roam_generation(&r, 1, T0);
	roam_event(&r, FACTORY_CAUSE_LINK, T0);
	assert_true(roam_take(&r, T0).flush);
	roam_flushed(&r, 2);
	assert_true(roam_take(&r, T0 + ms(ROAM_QUIET_MS)).compare);
	roam_generation(&r, 3, T0 + ms(ROAM_QUIET_MS));
	roam_compared(&r, 4);
	roam_generation(&r, 4, T0 + ms(600));
	assert_true(roam_deadline(&r) == NEVER_US);
	roam_generation(&r, 5, T0 + ms(700));
	assert_true(roam_deadline(&r) != NEVER_US);
}

static void event_amid_the_comparison_arms_the_next_one(void **state)
{
	struct roam r;

	(void)state;
	roam_init(&r);
	roam_event(&r, FACTORY_CAUSE_LINK, T0);
	assert_true(roam_take(&r, T0 + ms(ROAM_QUIET_MS)).compare);
	roam_event(&r, FACTORY_CAUSE_ROUTE, T0 + ms(501));
	assert_true(takes_flush(&r, T0 + ms(501)));
	roam_compared(&r, 3);
	assert_int_equal(roam_deadline(&r), T0 + ms(501 + ROAM_QUIET_MS));
	assert_int_equal(r.cause, FACTORY_CAUSE_ROUTE);
}

/* Nothing was looked up since the other flush, so there is nothing that the event spoils. */
static void waiting_flush_is_done_with_when_somebody_else_flushes(void **state)
{
	struct roam r;

	(void)state;
	roam_init(&r);
	roam_generation(&r, 1, T0);
	do {
		roam_event(&r, FACTORY_CAUSE_ADDRESS, T0);
	} while (takes_flush(&r, T0));
	assert_true(r.flush_us != NEVER_US);
	roam_generation(&r, 2, T0 + ms(1));
	assert_true(r.flush_us == NEVER_US);
	assert_false(takes_flush(&r, T0 + ms(ROAM_WINDOW_MS)));
}

static void without_events_it_compares_every_five_seconds(void **state)
{
	uint64_t now = T0;
	struct roam_due due;
	struct roam r;

	(void)state;
	roam_init(&r);
	roam_blind(&r, now);
	assert_true(r.blind);
	due = roam_take(&r, now);
	assert_true(due.flush && !due.compare);
	assert_int_equal(due.cause, FACTORY_CAUSE_NO_EVENTS);
	assert_true(roam_take(&r, now + ms(ROAM_QUIET_MS)).compare);
	roam_compared(&r, 2);
	for (int i = 0; i < 10; i++) {
		now += ms(ROAM_RECHECK_MS);
		assert_int_equal(roam_deadline(&r), now);
		due = roam_take(&r, now);
		/* The cache first: nobody said what of it is stale. */
		assert_true(due.flush && due.compare);
		assert_int_equal(due.cause, FACTORY_CAUSE_NO_EVENTS);
		roam_compared(&r, 3 + (uint64_t)i);
	}
	roam_blind(&r, now); /* is said once */
	assert_int_equal(roam_deadline(&r), now + ms(ROAM_RECHECK_MS));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(nothing_is_due_without_an_event),
	    cmocka_unit_test(flush_is_immediate_and_said_once),
	    cmocka_unit_test(t27_unrelated_interface_that_flaps_disturbs_nobody),
	    cmocka_unit_test(t31_comparison_comes_half_a_second_after_the_last_event),
	    cmocka_unit_test(t31_ten_events_within_two_seconds_are_one_comparison),
	    cmocka_unit_test(t31_comparison_comes_two_seconds_after_the_first_of_many_events),
	    cmocka_unit_test(t32_router_advertisements_compare_nothing),
	    cmocka_unit_test(t44_no_second_sees_more_than_twenty_flushes),
	    cmocka_unit_test(t44_what_waits_goes_fifty_ms_after_the_last_event),
	    cmocka_unit_test(t44_storm_leaves_no_lasting_debt),
	    cmocka_unit_test(t44_paths_leave_by_no_removed_source),
	    cmocka_unit_test(comparison_does_not_find_what_a_waiting_flush_would_forget),
	    cmocka_unit_test(flush_by_somebody_else_arms_the_comparison),
	    cmocka_unit_test(event_says_why_where_a_failed_send_only_armed_the_comparison),
	    cmocka_unit_test(own_flush_arms_nothing_beyond_its_event),
	    cmocka_unit_test(comparison_is_no_reason_for_the_next_one),
	    cmocka_unit_test(event_amid_the_comparison_arms_the_next_one),
	    cmocka_unit_test(waiting_flush_is_done_with_when_somebody_else_flushes),
	    cmocka_unit_test(without_events_it_compares_every_five_seconds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
