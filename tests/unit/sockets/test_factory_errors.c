/* What a failed send does to the cache, the source, segmentation and ICE. The numbers are those of
 * the factory's list of tests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>

#include "world.h"

static struct factory_send_error failed(struct world *w, const char *dst, uint32_t scope, int error)
{
	struct factory_send_error e = {.dst = {.ip = ip(dst), .port = 3478, .scope = scope},
				       .error = error};

	assert_int_equal(factory_resolve(w->f, &e.dst.ip, scope, w->now_us, &e.route), FACTORY_OK);
	return e;
}

static void is_source(const struct factory_route *route, const char *text)
{
	struct ip_addr expect = ip(text);

	assert_true(ip_eq(&route->source, &expect));
}

static void t20_stale_ipv6_source_is_replaced_and_segmentation_kept(void **state)
{
	struct factory_send_error e;
	struct factory_route route;
	struct world w;

	(void)state;
	world_new(&w);
	e = failed(&w, "2001:db8:5::5", 0, EINVAL);
	e.used_gso = true;
	w.v6 = way("2001:db8::11", 2, "eth0");
	assert_int_equal(factory_send_failed(w.f, &e, w.now_us, &route), FACTORY_RETRY_SOURCE);
	is_source(&route, "2001:db8::11");
	assert_int_equal(w.lookups, 2);
	assert_int_equal(world_counters(&w).invalidations[FACTORY_CAUSE_SEND_ERROR], 1);
	world_expect(&w, "2001:db8:5::5", "2001:db8::11");
	assert_int_equal(w.lookups, 2);
	world_free(&w);
}

static void t21_stale_ipv4_source_is_replaced(void **state)
{
	static const int errors[] = {ENETUNREACH, EADDRNOTAVAIL, ENODEV, EINVAL};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
		struct factory_send_error e;
		struct factory_route route;
		struct world w;

		world_new(&w);
		e = failed(&w, "203.0.113.5", 0, errors[i]);
		w.v4 = way("192.0.2.11", 2, "eth0");
		assert_int_equal(factory_send_failed(w.f, &e, w.now_us, &route),
				 FACTORY_RETRY_SOURCE);
		is_source(&route, "192.0.2.11");
		assert_int_equal(w.lookups, 2);
		assert_int_equal(world_counters(&w).negatives, 0);
		world_free(&w);
	}
}

/* The caller may have the new route written over the one that failed. */
static void t21_new_route_may_overwrite_the_old_one(void **state)
{
	struct factory_send_error e;
	struct world w;

	(void)state;
	world_new(&w);
	e = failed(&w, "203.0.113.5", 0, ENETUNREACH);
	w.v4 = way("192.0.2.11", 2, "eth0");
	assert_int_equal(factory_send_failed(w.f, &e, w.now_us, &e.route), FACTORY_RETRY_SOURCE);
	is_source(&e.route, "192.0.2.11");
	world_free(&w);
}

static void t21_stale_source_spoils_the_entries_of_other_destinations(void **state)
{
	struct factory_send_error e;
	struct factory_route route;
	struct world w;

	(void)state;
	world_new(&w);
	world_expect(&w, "203.0.113.6", "192.0.2.10");
	e = failed(&w, "203.0.113.5", 0, ENETUNREACH);
	w.v4 = way("192.0.2.11", 2, "eth0");
	assert_int_equal(factory_send_failed(w.f, &e, w.now_us, &route), FACTORY_RETRY_SOURCE);
	world_expect(&w, "203.0.113.6", "192.0.2.11");
	assert_int_equal(world_counters(&w).rechecks, 1);
	world_free(&w);
}

static void t21_retried_once_then_a_negative_entry(void **state)
{
	struct factory_send_error e;
	struct factory_route route;
	struct world w;

	(void)state;
	world_new(&w);
	e = failed(&w, "203.0.113.5", 0, ENETUNREACH);
	w.v4 = way("192.0.2.11", 2, "eth0");
	assert_int_equal(factory_send_failed(w.f, &e, w.now_us, &e.route), FACTORY_RETRY_SOURCE);
	e.retried_source = true;
	w.v4 = way("192.0.2.12", 2, "eth0");
	assert_int_equal(factory_send_failed(w.f, &e, w.now_us, &e.route), FACTORY_DROP);
	assert_int_equal(w.lookups, 2);
	assert_int_equal(world_resolve(&w, "203.0.113.5", 0, &route), FACTORY_NO_ROUTE);
	assert_int_equal(w.lookups, 2);
	world_free(&w);
}

static void t21_no_route_any_more_drops(void **state)
{
	struct factory_send_error e;
	struct factory_route route;
	struct world w;

	(void)state;
	world_new(&w);
	e = failed(&w, "203.0.113.5", 0, ENETUNREACH);
	w.v4 = no_way(ENETUNREACH);
	assert_int_equal(factory_send_failed(w.f, &e, w.now_us, &route), FACTORY_DROP);
	assert_int_equal(w.lookups, 2);
	assert_int_equal(world_counters(&w).negatives, 1);
	world_free(&w);
}

static void t22_persistent_einval_is_retried_uncut_once(void **state)
{
	struct factory_send_error e;
	struct world w;

	(void)state;
	world_new(&w);
	e = failed(&w, "203.0.113.5", 0, EINVAL);
	e.used_gso = true;
	assert_int_equal(factory_send_failed(w.f, &e, w.now_us, &e.route), FACTORY_RETRY_UNCUT);
	assert_int_equal(w.lookups, 2);
	e.retried_gso = true;
	assert_int_equal(factory_send_failed(w.f, &e, w.now_us, &e.route), FACTORY_DROP);
	assert_int_equal(w.lookups, 2);
	assert_int_equal(world_counters(&w).negatives, 0);
	world_free(&w);
}

static void t22_einval_without_segmentation_drops(void **state)
{
	struct factory_send_error e;
	struct world w;

	(void)state;
	world_new(&w);
	e = failed(&w, "203.0.113.5", 0, EINVAL);
	assert_int_equal(factory_send_failed(w.f, &e, w.now_us, &e.route), FACTORY_DROP);
	world_free(&w);
}

static void t23_source_fixed_by_the_caller_is_reported_dead(void **state)
{
	static const int errors[] = {EINVAL, ENETUNREACH, EADDRNOTAVAIL, ENODEV};
	struct factory_send_error e;
	struct factory_route route;
	struct world w;

	(void)state;
	world_new(&w);
	for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
		e = failed(&w, "203.0.113.5", 0, errors[i]);
		e.fixed_source = true;
		e.used_gso = true;
		assert_int_equal(factory_send_failed(w.f, &e, w.now_us, &route),
				 FACTORY_REPORT_DEAD);
	}
	assert_int_equal(w.lookups, 1);
	assert_int_equal(factory_sum(world_counters(&w).flushes, FACTORY_CAUSES), 0);
	world_free(&w);
}

/* The lookup after the failed send meets the blackhole: a refusal, and no word about segmentation.
 */
static void t24_blackhole_found_after_a_failed_send_keeps_segmentation(void **state)
{
	struct factory_send_error e;
	struct factory_route route;
	struct world w;

	(void)state;
	world_new(&w);
	e = failed(&w, "203.0.113.5", 0, EINVAL);
	e.used_gso = true;
	w.v4 = no_way(EINVAL);
	assert_int_equal(factory_send_failed(w.f, &e, w.now_us, &e.route), FACTORY_DROP);
	assert_int_equal(world_counters(&w).negatives, 1);
	assert_int_equal(world_resolve(&w, "203.0.113.5", 0, &route), FACTORY_NO_ROUTE);
	assert_int_equal(w.lookups, 2);
	world_free(&w);
}

static void t40_error_storm_is_at_most_ten_rechecks_a_second(void **state)
{
	struct world w;
	uint64_t end;
	unsigned before;

	(void)state;
	world_new(&w);
	end = w.now_us + US_PER_S;
	world_expect(&w, "203.0.113.5", "192.0.2.10");
	before = w.lookups;
	while (w.now_us < end) {
		struct factory_send_error e = failed(&w, "203.0.113.5", 0, EINVAL);

		assert_int_equal(factory_send_failed(w.f, &e, w.now_us, &e.route), FACTORY_DROP);
		w.now_us += 100;
	}
	assert_in_range(world_counters(&w).rechecks, 1, 10);
	assert_in_range(w.lookups - before, 1, 20);
	assert_in_range(w.flush_lines, 1, 3);
	world_free(&w);
}

static void t40_error_storm_over_many_destinations(void **state)
{
	struct world w;
	uint64_t end;
	char dst[] = "203.0.113.10";

	(void)state;
	world_new(&w);
	end = w.now_us + US_PER_S;
	for (unsigned i = 0; w.now_us < end; i++) {
		struct factory_send_error e;

		dst[sizeof(dst) - 2] = (char)('0' + i % 10);
		e = failed(&w, dst, 0, EINVAL);
		assert_int_equal(factory_send_failed(w.f, &e, w.now_us, &e.route), FACTORY_DROP);
		w.now_us += 100;
	}
	assert_in_range(world_counters(&w).rechecks, 1, 10);
	assert_in_range(w.lookups, 1, 10 * 30);
	world_free(&w);
}

static void firewall_and_unreachable_host_make_a_short_negative_entry(void **state)
{
	static const int errors[] = {EHOSTUNREACH, EACCES, EPERM};
	struct factory_route route;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
		struct factory_send_error e;
		struct world w;

		world_new(&w);
		e = failed(&w, "203.0.113.5", 0, errors[i]);
		assert_int_equal(factory_send_failed(w.f, &e, w.now_us, &route), FACTORY_DROP);
		assert_int_equal(world_resolve(&w, "203.0.113.5", 0, &route), FACTORY_NO_ROUTE);
		w.now_us += FACTORY_NEGATIVE_MS * US_PER_MS;
		world_expect(&w, "203.0.113.5", "192.0.2.10");
		world_free(&w);
	}
}

static void firewall_error_with_a_fixed_source_leaves_the_cache_alone(void **state)
{
	struct factory_send_error e;
	struct factory_route route;
	struct world w;

	(void)state;
	world_new(&w);
	e = failed(&w, "203.0.113.5", 0, EPERM);
	e.fixed_source = true;
	assert_int_equal(factory_send_failed(w.f, &e, w.now_us, &route), FACTORY_DROP);
	world_expect(&w, "203.0.113.5", "192.0.2.10");
	assert_int_equal(w.lookups, 1);
	world_free(&w);
}

static void eio_is_retried_uncut_once(void **state)
{
	struct factory_send_error e;
	struct world w;

	(void)state;
	world_new(&w);
	for (int fixed = 0; fixed < 2; fixed++) {
		e = failed(&w, "203.0.113.5", 0, EIO);
		e.used_gso = true;
		e.fixed_source = fixed == 1;
		assert_int_equal(factory_send_failed(w.f, &e, w.now_us, &e.route),
				 FACTORY_RETRY_UNCUT);
		e.retried_gso = true;
		assert_int_equal(factory_send_failed(w.f, &e, w.now_us, &e.route), FACTORY_DROP);
	}
	assert_int_equal(w.lookups, 1);
	world_free(&w);
}

static void other_errors_touch_nothing(void **state)
{
	struct factory_send_error e;
	struct world w;

	(void)state;
	world_new(&w);
	e = failed(&w, "203.0.113.5", 0, EAGAIN);
	assert_int_equal(factory_send_failed(w.f, &e, w.now_us, &e.route), FACTORY_WAIT);
	e.error = EMSGSIZE;
	assert_int_equal(factory_send_failed(w.f, &e, w.now_us, &e.route), FACTORY_DROP);
	e.error = ENOBUFS;
	assert_int_equal(factory_send_failed(w.f, &e, w.now_us, &e.route), FACTORY_DROP);
	world_expect(&w, "203.0.113.5", "192.0.2.10");
	assert_int_equal(w.lookups, 1);
	world_free(&w);
}

static void failed_send_to_a_link_local_address_concerns_its_scope(void **state)
{
	struct factory_send_error e;
	struct factory_route route;
	struct world w;

	(void)state;
	world_new(&w);
	world_says(&w, "fe80::1", 2, way("fe80::a:2", 2, "eth0"));
	world_says(&w, "fe80::1", 3, way("fe80::a:3", 3, "eth1"));
	e = failed(&w, "fe80::1", 2, EHOSTUNREACH);
	assert_int_equal(factory_send_failed(w.f, &e, w.now_us, &route), FACTORY_DROP);
	assert_int_equal(world_resolve(&w, "fe80::1", 2, &route), FACTORY_NO_ROUTE);
	assert_int_equal(world_resolve(&w, "fe80::1", 3, &route), FACTORY_OK);
	e = failed(&w, "fe80::1", 3, EINVAL);
	world_says(&w, "fe80::1", 3, way("fe80::b:3", 3, "eth1"));
	assert_int_equal(factory_send_failed(w.f, &e, w.now_us, &route), FACTORY_RETRY_SOURCE);
	is_source(&route, "fe80::b:3");
	world_free(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(t20_stale_ipv6_source_is_replaced_and_segmentation_kept),
	    cmocka_unit_test(t21_stale_ipv4_source_is_replaced),
	    cmocka_unit_test(t21_new_route_may_overwrite_the_old_one),
	    cmocka_unit_test(t21_stale_source_spoils_the_entries_of_other_destinations),
	    cmocka_unit_test(t21_retried_once_then_a_negative_entry),
	    cmocka_unit_test(t21_no_route_any_more_drops),
	    cmocka_unit_test(t22_persistent_einval_is_retried_uncut_once),
	    cmocka_unit_test(t22_einval_without_segmentation_drops),
	    cmocka_unit_test(t23_source_fixed_by_the_caller_is_reported_dead),
	    cmocka_unit_test(t24_blackhole_found_after_a_failed_send_keeps_segmentation),
	    cmocka_unit_test(t40_error_storm_is_at_most_ten_rechecks_a_second),
	    cmocka_unit_test(t40_error_storm_over_many_destinations),
	    cmocka_unit_test(firewall_and_unreachable_host_make_a_short_negative_entry),
	    cmocka_unit_test(firewall_error_with_a_fixed_source_leaves_the_cache_alone),
	    cmocka_unit_test(eio_is_retried_uncut_once),
	    cmocka_unit_test(other_errors_touch_nothing),
	    cmocka_unit_test(failed_send_to_a_link_local_address_concerns_its_scope),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
