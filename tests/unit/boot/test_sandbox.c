#include "sandbox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void filter_allows_at_most_thirty_calls(void **state)
{
	size_t by_argument, calls = sandbox_allowed_calls(&by_argument);

	(void)state;
	print_message("%zu system calls, %zu of them by argument\n", calls, by_argument);
	assert_true(calls <= 30);
	assert_true(by_argument >= 6);
}

static void every_lack_has_a_warning_of_its_own(void **state)
{
	(void)state;
	for (uint32_t a = 1; a < SANDBOX_LACK_END; a <<= 1) {
		assert_true(strlen(sandbox_lack_text(a)) > 20);
		for (uint32_t b = 1; b < a; b <<= 1)
			assert_string_not_equal(sandbox_lack_text(a), sandbox_lack_text(b));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(filter_allows_at_most_thirty_calls),
	    cmocka_unit_test(every_lack_has_a_warning_of_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
