/* Messages on a stream. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dns/framing.h"

static void message_goes_behind_its_length(void **state)
{
	uint8_t out[16];

	(void)state;
	assert_int_equal(dns_frame_write(out, sizeof(out), (const uint8_t *)"abc", 3), 5);
	assert_memory_equal(out, "\0\3abc", 5);
	assert_int_equal(dns_frame_write(out, 5, (const uint8_t *)"abc", 3), 5);
	assert_int_equal(dns_frame_write(out, 4, (const uint8_t *)"abc", 3), 0);
	assert_int_equal(dns_frame_write(out, sizeof(out), (const uint8_t *)"", 0), 0);
}

static void longest_message_fits_and_one_beyond_does_not(void **state)
{
	uint8_t *in = calloc(1, DNS_FRAME_MAX), *out = calloc(1, DNS_FRAME_MAX + 1);
	const uint8_t *message;
	size_t len;

	(void)state;
	assert_non_null(in);
	assert_non_null(out);
	assert_int_equal(dns_frame_write(out, DNS_FRAME_MAX + 1, in, 65536), 0);
	assert_int_equal(dns_frame_write(out, DNS_FRAME_MAX + 1, in, 65535), DNS_FRAME_MAX);
	assert_int_equal(dns_frame_wanted(out, 2), DNS_FRAME_MAX);
	assert_int_equal(dns_frame_read(out, DNS_FRAME_MAX - 1, &message, &len), 0);
	assert_int_equal(dns_frame_read(out, DNS_FRAME_MAX, &message, &len), DNS_FRAME_MAX);
	assert_ptr_equal(message, out + 2);
	assert_int_equal(len, 65535);
	free(in);
	free(out);
}

static void message_is_read_when_its_last_byte_is_there(void **state)
{
	static const uint8_t stream[] = {0, 3, 'a', 'b', 'c', 0, 1, 'd', 0};
	const uint8_t *message = NULL;
	size_t len = 99, used;

	(void)state;
	for (size_t n = 0; n < 5; n++) {
		assert_int_equal(dns_frame_read(stream, n, &message, &len), 0);
		assert_null(message);
		assert_int_equal(len, 99);
		assert_int_equal(dns_frame_wanted(stream, n), n < 2 ? 2 : 5);
	}
	used = dns_frame_read(stream, sizeof(stream), &message, &len);
	assert_int_equal(used, 5);
	assert_memory_equal(message, "abc", 3);
	assert_int_equal(len, 3);
	assert_int_equal(dns_frame_read(stream + 5, sizeof(stream) - 5, &message, &len), 3);
	assert_memory_equal(message, "d", 1);
	assert_int_equal(dns_frame_read(stream + 8, 1, &message, &len), 0);
}

static void empty_message_is_one(void **state)
{
	static const uint8_t stream[] = {0, 0, 0, 1, 'a'};
	const uint8_t *message;
	size_t len;

	(void)state;
	assert_int_equal(dns_frame_read(stream, sizeof(stream), &message, &len), 2);
	assert_int_equal(len, 0);
	assert_int_equal(dns_frame_wanted(stream, 2), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(message_goes_behind_its_length),
	    cmocka_unit_test(longest_message_fits_and_one_beyond_does_not),
	    cmocka_unit_test(message_is_read_when_its_last_byte_is_there),
	    cmocka_unit_test(empty_message_is_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
