#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/bucket.h"

enum {
	INTERVAL_US = 1000,
	BURST = 5,
};

static unsigned int taken(uint64_t *paid_us, uint64_t now_us, unsigned int price)
{
	unsigned int n = 0;

	while (n < 100 && bucket_take_some(paid_us, now_us, INTERVAL_US, BURST, price))
		n++;
	return n;
}

static void new_bucket_is_full(void **state)
{
	uint64_t paid_us = 0;

	(void)state;
	assert_int_equal(taken(&paid_us, 77, 1), BURST);
}

static void one_token_comes_each_interval_and_no_more_than_it_holds(void **state)
{
	uint64_t paid_us = 0, now_us = 77;

	(void)state;
	assert_int_equal(taken(&paid_us, now_us, 1), BURST);
	now_us += INTERVAL_US - 1;
	assert_false(bucket_take(&paid_us, now_us, INTERVAL_US, BURST));
	now_us += 1;
	assert_int_equal(taken(&paid_us, now_us, 1), 1);
	assert_int_equal(taken(&paid_us, now_us + 3 * INTERVAL_US, 1), 3);
	assert_int_equal(taken(&paid_us, now_us + 1000 * INTERVAL_US, 1), BURST);
}

static void what_cannot_be_paid_in_full_takes_nothing(void **state)
{
	uint64_t paid_us = 0;

	(void)state;
	assert_int_equal(taken(&paid_us, 77, 2), 2);
	assert_int_equal(taken(&paid_us, 77, 1), 1);
	assert_int_equal(taken(&paid_us, 77 + BURST * INTERVAL_US, BURST), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(new_bucket_is_full),
	    cmocka_unit_test(one_token_comes_each_interval_and_no_more_than_it_holds),
	    cmocka_unit_test(what_cannot_be_paid_in_full_takes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
