/* The arena of secrets. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

#include "base/secret.h"

enum {
	SLOTS = 5
};

static void slots_are_distinct_aligned_and_zero(void **state)
{
	struct secret_arena *arena = secret_arena_new(SLOTS);
	uint8_t *slots[SLOTS];

	(void)state;
	for (size_t i = 0; i < SLOTS; i++) {
		slots[i] = secret_get(arena);
		assert_non_null(slots[i]);
		assert_int_equal((uintptr_t)slots[i] % 16, 0);
		assert_true(sodium_is_zero(slots[i], SECRET_SLOT_SIZE));
		memset(slots[i], (int)i + 1, SECRET_SLOT_SIZE);
	}
	for (size_t i = 0; i < SLOTS; i++) {
		assert_int_equal(slots[i][0], i + 1);
		assert_int_equal(slots[i][SECRET_SLOT_SIZE - 1], i + 1);
	}
	secret_arena_free(arena);
}

static void last_slot_is_given_and_one_beyond_is_not(void **state)
{
	struct secret_arena *arena = secret_arena_new(SLOTS);
	void *last = NULL;

	(void)state;
	for (size_t i = 0; i < SLOTS; i++) {
		assert_int_equal(secret_slots_free(arena), SLOTS - i);
		last = secret_get(arena);
		assert_non_null(last);
	}
	assert_null(secret_get(arena));
	assert_int_equal(secret_slots_free(arena), 0);
	secret_put(arena, last);
	assert_ptr_equal(secret_get(arena), last);
	assert_null(secret_get(arena));
	secret_arena_free(arena);
}

static void slot_is_wiped_when_it_is_given_back(void **state)
{
	struct secret_arena *arena = secret_arena_new(2);
	uint8_t *slot = secret_get(arena);

	(void)state;
	memset(slot, 0x5a, SECRET_SLOT_SIZE);
	secret_put(arena, slot);
	assert_true(sodium_is_zero(slot, SECRET_SLOT_SIZE));
	assert_int_equal(secret_slots_free(arena), 2);
	secret_put(arena, NULL);
	assert_int_equal(secret_slots_free(arena), 2);
	secret_arena_free(arena);
	secret_arena_free(NULL);
}

static void put_twice(struct secret_arena *arena)
{
	void *slot = secret_get(arena);

	secret_put(arena, slot);
	secret_put(arena, slot);
}

static void put_inside_of_a_slot(struct secret_arena *arena)
{
	uint8_t *slot = secret_get(arena);

	secret_put(arena, slot + 16);
}

static void put_before_the_arena(struct secret_arena *arena)
{
	uint8_t *slot = secret_get(arena);

	secret_put(arena, (uint8_t *)((uintptr_t)slot - (uintptr_t)SLOTS * SECRET_SLOT_SIZE));
}

/* How a child that does this ends. */
static int ends_by(void (*what)(struct secret_arena *arena))
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		struct secret_arena *arena = secret_arena_new(SLOTS);

		close(2);
		if (!secret_get(arena))
			_exit(1);
		what(arena);
		_exit(0);
	}
	assert_true(pid > 0 && waitpid(pid, &status, 0) == pid);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void wrong_pointers_end_the_process(void **state)
{
	(void)state;
	assert_int_equal(ends_by(put_twice), SIGABRT);
	assert_int_equal(ends_by(put_inside_of_a_slot), SIGABRT);
	assert_int_equal(ends_by(put_before_the_arena), SIGABRT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(slots_are_distinct_aligned_and_zero),
	    cmocka_unit_test(last_slot_is_given_and_one_beyond_is_not),
	    cmocka_unit_test(slot_is_wiped_when_it_is_given_back),
	    cmocka_unit_test(wrong_pointers_end_the_process),
	};

	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
