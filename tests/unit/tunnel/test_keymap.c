#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tunnel/keymap.h"

enum {
	KEYS = 500
};

static void key_of(uint32_t n, uint8_t key[KEYMAP_KEY_LEN])
{
	memset(key, 0, KEYMAP_KEY_LEN);
	memcpy(key, &n, sizeof(n));
}

static void random_puts_and_removals_agree_with_an_array(void **state)
{
	struct rng_seeded seed;
	struct rng rng = rng_from_seed(&seed, 5);
	struct keymap *map = keymap_new(KEYS, &rng);
	uint32_t values[KEYS];
	uint8_t key[KEYMAP_KEY_LEN];

	(void)state;
	assert_non_null(map);
	for (uint32_t i = 0; i < KEYS; i++)
		values[i] = KEYMAP_NONE;
	for (int step = 0; step < 100000; step++) {
		uint32_t i = (uint32_t)rng_below(&rng, KEYS);
		uint32_t other = (uint32_t)rng_below(&rng, KEYS);

		key_of(i, key);
		if (values[i] == KEYMAP_NONE) {
			values[i] = (uint32_t)rng_below(&rng, KEYMAP_NONE);
			keymap_put(map, key, values[i]);
		} else {
			keymap_remove(map, key);
			values[i] = KEYMAP_NONE;
		}
		key_of(other, key);
		assert_int_equal(keymap_get(map, key), values[other]);
	}
	for (uint32_t i = 0; i < KEYS; i++) {
		key_of(i, key);
		assert_int_equal(keymap_get(map, key), values[i]);
	}
	keymap_free(map);
}

static void full_map_still_finds_and_misses(void **state)
{
	struct rng_seeded seed;
	struct rng rng = rng_from_seed(&seed, 6);
	struct keymap *map = keymap_new(KEYS, &rng);
	uint8_t key[KEYMAP_KEY_LEN];

	(void)state;
	assert_non_null(map);
	for (uint32_t i = 0; i < KEYS; i++) {
		key_of(i, key);
		keymap_put(map, key, i);
	}
	for (uint32_t i = 0; i < 2 * KEYS; i++) {
		key_of(i, key);
		assert_int_equal(keymap_get(map, key), i < KEYS ? i : KEYMAP_NONE);
	}
	key_of(KEYS, key);
	keymap_remove(map, key);
	keymap_free(map);
	keymap_free(NULL);
}

static void every_byte_of_the_key_counts(void **state)
{
	struct rng_seeded seed;
	struct rng rng = rng_from_seed(&seed, 7);
	struct keymap *map = keymap_new(1, &rng);
	uint8_t key[KEYMAP_KEY_LEN] = {0};

	(void)state;
	assert_non_null(map);
	keymap_put(map, key, 3);
	for (size_t i = 0; i < sizeof(key); i++) {
		key[i] = 1;
		assert_int_equal(keymap_get(map, key), KEYMAP_NONE);
		key[i] = 0;
	}
	assert_int_equal(keymap_get(map, key), 3);
	keymap_free(map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(random_puts_and_removals_agree_with_an_array),
	    cmocka_unit_test(full_map_still_finds_and_misses),
	    cmocka_unit_test(every_byte_of_the_key_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
