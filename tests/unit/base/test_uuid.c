/* UUIDs and their text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/uuid.h"

static const char text[] = "00112233-4455-6677-8899-aabbccddeeff";

static void text_round_trips_in_lower_case(void **state)
{
	struct uuid uuid;
	char out[UUID_TEXT_LEN + 1];

	(void)state;
	assert_true(uuid_parse(&uuid, text, UUID_TEXT_LEN));
	for (int i = 0; i < 16; i++)
		assert_int_equal(uuid.bytes[i], i * 0x11);
	uuid_format(&uuid, out);
	assert_string_equal(out, text);
	assert_true(uuid_parse(&uuid, "00112233-4455-6677-8899-AABBCCDDeeff", UUID_TEXT_LEN));
	uuid_format(&uuid, out);
	assert_string_equal(out, text);
}

static void text_needs_no_nul(void **state)
{
	char *copy = malloc(UUID_TEXT_LEN);
	struct uuid uuid;

	(void)state;
	assert_non_null(copy);
	memcpy(copy, text, UUID_TEXT_LEN);
	assert_true(uuid_parse(&uuid, copy, UUID_TEXT_LEN));
	free(copy);
}

static void every_changed_character_is_refused(void **state)
{
	static const char bad[] = {'g', 'G', ' ', '\0', '/', ':', '@', '`', '_'};
	struct uuid uuid, before;

	(void)state;
	memset(&uuid, 0x5a, sizeof(uuid));
	before = uuid;
	for (size_t i = 0; i < UUID_TEXT_LEN; i++) {
		for (size_t k = 0; k < sizeof(bad); k++) {
			char copy[sizeof(text)];

			memcpy(copy, text, sizeof(copy));
			copy[i] = bad[k];
			assert_false(uuid_parse(&uuid, copy, UUID_TEXT_LEN));
		}
	}
	for (size_t len = 0; len < UUID_TEXT_LEN; len++)
		assert_false(uuid_parse(&uuid, text, len));
	assert_false(uuid_parse(&uuid, "{00112233-4455-6677-8899-aabbccddeeff}", 38));
	assert_false(uuid_parse(&uuid, "00112233445566778899aabbccddeeff", 32));
	assert_false(uuid_parse(&uuid, "0011223-34455-6677-8899-aabbccddeeff", UUID_TEXT_LEN));
	assert_memory_equal(&uuid, &before, sizeof(uuid));
}

static void order_is_that_of_the_text(void **state)
{
	struct uuid a, b;

	(void)state;
	assert_true(uuid_parse(&a, text, UUID_TEXT_LEN));
	b = a;
	assert_true(uuid_eq(&a, &b));
	assert_int_equal(uuid_cmp(&a, &b), 0);
	b.bytes[15]--;
	assert_false(uuid_eq(&a, &b));
	assert_true(uuid_cmp(&a, &b) > 0 && uuid_cmp(&b, &a) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(text_round_trips_in_lower_case),
	    cmocka_unit_test(text_needs_no_nul),
	    cmocka_unit_test(every_changed_character_is_refused),
	    cmocka_unit_test(order_is_that_of_the_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
