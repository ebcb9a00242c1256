/* The heap of deadlines against a list that is searched each time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sodium.h>

#include "base/heap.h"
#include "base/rng.h"

enum {
	KEYS = 50,
	STEPS = 200000
};

static uint64_t earliest(const uint64_t *deadlines)
{
	uint64_t at = NEVER_US;

	for (size_t i = 0; i < KEYS; i++)
		at = min_u64(at, deadlines[i]);
	return at;
}

static void heap_agrees_with_a_list(void **state)
{
	struct heap *heap = heap_new(KEYS);
	uint64_t deadlines[KEYS], now = 0;
	struct rng_seeded seed;
	struct rng rng = rng_from_seed(&seed, 1);
	uint32_t key;

	(void)state;
	assert_non_null(heap);
	for (size_t i = 0; i < KEYS; i++)
		deadlines[i] = NEVER_US;
	for (int step = 0; step < STEPS; step++) {
		switch (rng_below(&rng, 4)) {
		case 0:
		case 1:
			key = (uint32_t)rng_below(&rng, KEYS);
			deadlines[key] = now + rng_below(&rng, 40);
			heap_set(heap, key, deadlines[key]);
			break;
		case 2:
			key = (uint32_t)rng_below(&rng, KEYS);
			deadlines[key] = NEVER_US;
			heap_set(heap, key, NEVER_US);
			break;
		default:
			now += rng_below(&rng, 5);
			if (heap_take_due(heap, now, &key)) {
				assert_true(deadlines[key] <= now &&
					    deadlines[key] == earliest(deadlines));
				deadlines[key] = NEVER_US;
			} else {
				assert_true(earliest(deadlines) > now);
			}
			break;
		}
		assert_true(heap_first_us(heap) == earliest(deadlines));
	}
	heap_free(heap);
}

static void every_key_may_wait_at_once(void **state)
{
	struct heap *heap = heap_new(KEYS);
	uint32_t key;

	(void)state;
	for (uint32_t i = 0; i < KEYS; i++)
		heap_set(heap, i, 1000 - i);
	for (uint32_t i = KEYS; i-- > 0;) {
		assert_false(heap_take_due(heap, 1000 - i - 1, &key));
		assert_true(heap_take_due(heap, 1000 - i, &key));
		assert_int_equal(key, i);
	}
	assert_false(heap_take_due(heap, NEVER_US - 1, &key));
	assert_true(heap_first_us(heap) == NEVER_US);
	heap_free(heap);
}

static void key_that_does_not_wait_can_be_removed(void **state)
{
	struct heap *heap = heap_new(1);
	uint32_t key;

	(void)state;
	heap_set(heap, 0, NEVER_US);
	assert_false(heap_take_due(heap, NEVER_US, &key));
	heap_set(heap, 0, 0);
	assert_true(heap_take_due(heap, 0, &key));
	heap_free(heap);
	heap_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(heap_agrees_with_a_list),
	    cmocka_unit_test(every_key_may_wait_at_once),
	    cmocka_unit_test(key_that_does_not_wait_can_be_removed),
	};

	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
