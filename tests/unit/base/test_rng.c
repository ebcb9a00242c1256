/* Randomness: bounds, evenness, reproducibility. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "base/rng.h"

/* Says what it was told to say. */
struct script {
	uint64_t values[4];
	size_t next;
};

static void script_fill(void *ctx, void *buf, size_t len)
{
	struct script *s = ctx;

	assert_true(len <= sizeof(uint64_t) && s->next < 4);
	memcpy(buf, &s->values[s->next++], len);
}

static void seed_makes_the_stream(void **state)
{
	struct rng_seeded a, b, c;
	struct rng ra = rng_from_seed(&a, 1), rb = rng_from_seed(&b, 1), rc = rng_from_seed(&c, 2);
	uint8_t x[64], y[64], z[64];

	(void)state;
	for (int i = 0; i < 10; i++) {
		rng_fill(&ra, x, sizeof(x));
		rng_fill(&rb, y, sizeof(y));
		rng_fill(&rc, z, sizeof(z));
		assert_memory_equal(x, y, sizeof(x));
		assert_memory_not_equal(x, z, sizeof(x));
	}
	rng_fill(&ra, y, sizeof(y));
	assert_memory_not_equal(x, y, sizeof(x));
	rng_fill(&ra, y, 0);
}

static void below_stays_below(void **state)
{
	static const uint64_t bounds[] = {1,
					  2,
					  3,
					  7,
					  10,
					  255,
					  256,
					  1000,
					  UINT32_MAX,
					  UINT64_C(1) << 63,
					  (UINT64_C(1) << 63) + 1,
					  UINT64_MAX};
	struct rng_seeded seed;
	struct rng rng = rng_from_seed(&seed, 3);

	(void)state;
	for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++)
		for (int k = 0; k < 1000; k++)
			assert_true(rng_below(&rng, bounds[i]) < bounds[i]);
}

static void below_reaches_every_value_evenly(void **state)
{
	struct rng_seeded seed;
	struct rng rng = rng_from_seed(&seed, 4);
	unsigned seen[10] = {0};

	(void)state;
	for (int i = 0; i < 100000; i++)
		seen[rng_below(&rng, 10)]++;
	for (int i = 0; i < 10; i++)
		assert_in_range(seen[i], 9500, 10500);
}

/* The highest values would make the low results likelier; they are drawn again. */
static void below_draws_again_where_the_rest_is_uneven(void **state)
{
	struct script s = {.values = {UINT64_MAX, UINT64_MAX - 1, 8}};
	struct rng rng = {.fill = script_fill, .ctx = &s};

	(void)state;
	assert_int_equal(rng_below(&rng, 7), 1);
	assert_in_range(s.next, 2, 3);
	s = (struct script){.values = {UINT64_MAX - 1}};
	assert_true(rng_below(&rng, UINT64_MAX) == UINT64_MAX - 1);
}

static void words_use_all_their_bits(void **state)
{
	struct rng_seeded seed;
	struct rng rng = rng_from_seed(&seed, 5), system = rng_system();
	uint64_t ones = 0, zeros = 0;
	uint32_t ones32 = 0;

	(void)state;
	for (int i = 0; i < 100; i++) {
		uint64_t v = rng_u64(&rng);

		ones |= v;
		zeros |= ~v;
		ones32 |= rng_u32(&system);
	}
	assert_true(ones == UINT64_MAX && zeros == UINT64_MAX && ones32 == UINT32_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(seed_makes_the_stream),
	    cmocka_unit_test(below_stays_below),
	    cmocka_unit_test(below_reaches_every_value_evenly),
	    cmocka_unit_test(below_draws_again_where_the_rest_is_uneven),
	    cmocka_unit_test(words_use_all_their_bits),
	};

	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
