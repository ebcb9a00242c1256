#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "tunnel/filter.h"

#include "grants.h"

static void decisions_follow_the_vectors(void **state)
{
	cJSON *json = vectors_load(VECTORS_DIR "/dataplane-filter.json");
	const cJSON *row;
	const cJSON *want;
	int rows = 0;

	(void)state;
	cJSON_ArrayForEach(row, vectors_get(json, "filters"))
	{
		struct filter filters[GRANT_FILTERS_MAX];
		size_t n = filters_of(vectors_get(row, "filters"), filters);
		struct filter_set *set = filter_set_new(filters, n);

		assert_non_null(set);
		cJSON_ArrayForEach(want, vectors_get(row, "decisions"))
		{
			const char *proto = vectors_string(want, "proto");
			uint16_t port = (uint16_t)vectors_u64(want, "port");

			if (filter_permits(set, kind_of(proto), port) !=
			    vectors_bool(want, "allowed"))
				fail_msg("%s: %s %u", vectors_string(row, "name"), proto,
					 (unsigned)port);
			rows++;
		}
		filter_set_unref(set);
	}
	assert_int_equal(rows, 105);
	cJSON_Delete(json);
}

static bool naive(const struct filter *filters, size_t n, enum filter_protocol protocol,
		  uint32_t port)
{
	for (size_t i = 0; i < n; i++)
		if (filters[i].protocol == protocol && filters[i].port_start <= port &&
		    port <= filters[i].port_end)
			return true;
	return false;
}

static void every_port_agrees_with_the_plain_list(void **state)
{
	struct rng_seeded seed;
	struct rng rng = rng_from_seed(&seed, 99);

	(void)state;
	for (int round = 0; round < 40; round++) {
		struct filter filters[40];
		size_t n = 1 + rng_below(&rng, ARRAY_LEN(filters));
		struct filter_set *set;

		for (size_t i = 0; i < n; i++) {
			uint32_t start = (uint32_t)rng_below(&rng, 65536);
			uint32_t len = (uint32_t)rng_below(&rng, round % 2 ? 40 : 4000);

			filters[i] = (struct filter){
			    .protocol = rng_below(&rng, 2) ? FILTER_TCP : FILTER_UDP,
			    .port_start = (uint16_t)start,
			    .port_end = (uint16_t)(start + len < 65536 ? start + len : 65535),
			};
		}
		set = filter_set_new(filters, n);
		assert_non_null(set);
		for (uint32_t port = 0; port < 65536; port++) {
			if (filter_permits(set, IP_KIND_TCP, (uint16_t)port) !=
				naive(filters, n, FILTER_TCP, port) ||
			    filter_permits(set, IP_KIND_UDP, (uint16_t)port) !=
				naive(filters, n, FILTER_UDP, port))
				fail_msg("round %d, port %u", round, port);
		}
		filter_set_unref(set);
	}
}

static void ranges_up_to_the_last_port_merge(void **state)
{
	struct filter filters[] = {{FILTER_TCP, 1000, 65535}, {FILTER_TCP, 2000, 2001}};
	struct filter_set *set = filter_set_new(filters, ARRAY_LEN(filters));

	(void)state;
	assert_non_null(set);
	assert_true(filter_permits(set, IP_KIND_TCP, 3000));
	assert_true(filter_permits(set, IP_KIND_TCP, 65535));
	assert_false(filter_permits(set, IP_KIND_TCP, 999));
	filter_set_unref(set);
}

static void list_has_a_limit(void **state)
{
	static struct filter filters[RESOURCE_MAX_FILTERS + 1];
	struct filter_set *set;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(filters); i++)
		filters[i] = (struct filter){FILTER_TCP, (uint16_t)(2 * i), (uint16_t)(2 * i)};
	set = filter_set_new(filters, RESOURCE_MAX_FILTERS);
	assert_non_null(set);
	assert_true(filter_permits(set, IP_KIND_TCP, 2 * (RESOURCE_MAX_FILTERS - 1)));
	assert_false(filter_permits(set, IP_KIND_TCP, 2 * RESOURCE_MAX_FILTERS));
	filter_set_unref(set);
	assert_null(filter_set_new(filters, RESOURCE_MAX_FILTERS + 1));
}

static void set_lives_until_its_last_reference(void **state)
{
	struct filter one = {FILTER_TCP, 1, 1};
	struct filter_set *set = filter_set_new(&one, 1);
	struct filter_set *second;

	(void)state;
	assert_non_null(set);
	second = filter_set_ref(set);
	filter_set_unref(set);
	assert_true(filter_permits(second, IP_KIND_TCP, 1));
	filter_set_unref(second);
	filter_set_unref(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(decisions_follow_the_vectors),
	    cmocka_unit_test(every_port_agrees_with_the_plain_list),
	    cmocka_unit_test(ranges_up_to_the_last_port_merge),
	    cmocka_unit_test(list_has_a_limit),
	    cmocka_unit_test(set_lives_until_its_last_reference),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
