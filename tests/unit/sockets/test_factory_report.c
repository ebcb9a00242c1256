/* What the socket factory says of its cache: to those who judge events, and in numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>

#include "world.h"

static struct ip_prefix prefix(const char *text)
{
	struct ip_prefix out;

	assert_true(ip_prefix_parse(&out, text, strlen(text)));
	return out;
}

static bool covers(const struct world *w, const char *text)
{
	struct ip_prefix p = prefix(text);

	return factory_covers(w->f, &p);
}

static void prefix_covers_destinations_and_refused_ones_of_this_generation(void **state)
{
	struct factory_route route;
	struct world w;

	(void)state;
	world_new(&w);
	assert_false(covers(&w, "0.0.0.0/0"));
	world_expect(&w, "203.0.113.5", "192.0.2.10");
	w.v6 = no_way(ENETUNREACH);
	assert_int_equal(world_resolve(&w, "2001:db8:5::5", 0, &route), FACTORY_NO_ROUTE);
	assert_true(covers(&w, "0.0.0.0/0"));
	assert_true(covers(&w, "203.0.113.5/32"));
	assert_true(covers(&w, "2001:db8:5::/48"));
	assert_false(covers(&w, "203.0.113.4/32"));
	assert_false(covers(&w, "2001:db8:6::/48"));
	factory_flush(w.f, FACTORY_CAUSE_ROUTE);
	assert_false(covers(&w, "0.0.0.0/0"));
	assert_false(covers(&w, "::/0"));
	world_expect(&w, "203.0.113.5", "192.0.2.10");
	assert_true(covers(&w, "203.0.113.0/24"));
	world_free(&w);
}

/* It keeps its place, but what it said is forgotten. */
static void prefix_of_a_pinned_destination_is_not_covered_after_a_flush(void **state)
{
	struct ip_addr relay = ip("203.0.113.1");
	struct world w;

	(void)state;
	world_new(&w);
	factory_pin(w.f, &relay);
	world_expect(&w, "203.0.113.1", "192.0.2.10");
	factory_flush(w.f, FACTORY_CAUSE_ROUTE);
	world_expect(&w, "203.0.113.5", "192.0.2.10");
	assert_false(covers(&w, "203.0.113.1/32"));
	assert_true(covers(&w, "203.0.113.5/32"));
	world_free(&w);
}

/* Those who asked may go on to use what the entry said. */
static void after_an_eviction_everything_is_covered_until_the_flush(void **state)
{
	struct ip_addr dst = ip("10.0.0.0"), other = ip("192.0.2.99");
	struct factory_route route;
	struct world w;

	(void)state;
	world_new(&w);
	for (uint32_t i = 0; i <= FACTORY_MAX_POSITIVE; i++) {
		assert_false(covers(&w, "203.0.113.0/24"));
		assert_false(factory_uses_source(w.f, &other));
		dst.bytes[2] = (uint8_t)(i >> 8);
		dst.bytes[3] = (uint8_t)i;
		assert_int_equal(factory_resolve(w.f, &dst, 0, w.now_us, &route), FACTORY_OK);
	}
	assert_true(covers(&w, "203.0.113.0/24"));
	assert_true(factory_uses_source(w.f, &other));
	factory_flush(w.f, FACTORY_CAUSE_ROUTE);
	assert_false(covers(&w, "203.0.113.0/24"));
	assert_false(factory_uses_source(w.f, &other));
	world_free(&w);
}

static void source_is_in_use_while_an_entry_leaves_by_it(void **state)
{
	struct ip_addr used = ip("192.0.2.10"), other = ip("192.0.2.11");
	struct world w;

	(void)state;
	world_new(&w);
	assert_false(factory_uses_source(w.f, &used));
	world_expect(&w, "203.0.113.5", "192.0.2.10");
	assert_true(factory_uses_source(w.f, &used));
	assert_false(factory_uses_source(w.f, &other));
	factory_flush(w.f, FACTORY_CAUSE_ROUTE);
	assert_false(factory_uses_source(w.f, &used));
	world_free(&w);
}

static void lookups_are_counted_by_how_long_they_took(void **state)
{
	static const uint64_t took[] = {2, 3, 1000, 1001};
	struct factory_counters c;
	struct world w;

	(void)state;
	world_new(&w);
	for (size_t i = 0; i < ARRAY_LEN(took); i++) {
		w.v4.took_us = took[i];
		factory_flush(w.f, FACTORY_CAUSE_OPERATOR);
		world_expect(&w, "203.0.113.5", "192.0.2.10");
	}
	c = world_counters(&w);
	assert_int_equal(c.took[0], 1);
	assert_int_equal(c.took[1], 1);
	assert_int_equal(c.took[FACTORY_TOOK_BUCKETS - 2], 1);
	assert_int_equal(c.took[FACTORY_TOOK_BUCKETS - 1], 1);
	assert_int_equal(c.took_sum_us, 2006);
	assert_int_equal(factory_sum(c.took, FACTORY_TOOK_BUCKETS), 4);
	assert_int_equal(c.flushes[FACTORY_CAUSE_OPERATOR], 4);
	world_free(&w);
}

static void every_cause_and_refusal_has_a_name(void **state)
{
	(void)state;
	for (int i = 0; i < FACTORY_CAUSES; i++)
		assert_true(strlen(factory_cause_name((enum factory_cause)i)) > 0);
	for (int i = 0; i < FACTORY_REFUSALS; i++)
		assert_true(strlen(factory_refusal_name((enum factory_refusal)i)) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(prefix_covers_destinations_and_refused_ones_of_this_generation),
	    cmocka_unit_test(prefix_of_a_pinned_destination_is_not_covered_after_a_flush),
	    cmocka_unit_test(after_an_eviction_everything_is_covered_until_the_flush),
	    cmocka_unit_test(source_is_in_use_while_an_entry_leaves_by_it),
	    cmocka_unit_test(lookups_are_counted_by_how_long_they_took),
	    cmocka_unit_test(every_cause_and_refusal_has_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
