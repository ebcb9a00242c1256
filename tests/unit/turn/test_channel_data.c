#include "turn/channel_data.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "vectors.h"

static void vectors_decode_as_said(void **state)
{
	cJSON *json = vectors_load(VECTORS_DIR "/connections-turn.json");
	const cJSON *row = NULL;
	size_t seen = 0;

	(void)state;
	cJSON_ArrayForEach(row, vectors_get(json, "channel_data"))
	{
		uint8_t bytes[64];
		size_t len = vectors_hex(row, "hex", bytes, sizeof(bytes));
		uint16_t number = 0;

		seen++;
		assert_int_equal(channel_data_read(&number, bytes, len),
				 vectors_bool(row, "decodes"));
		if (vectors_has(row, "channel"))
			assert_int_equal(number, vectors_u64(row, "channel"));
	}
	assert_true(seen >= 5);
	cJSON_Delete(json);
}

static void header_writes_to_the_vector(void **state)
{
	cJSON *json = vectors_load(VECTORS_DIR "/connections-turn.json");
	const cJSON *row = vectors_item(vectors_get(json, "channel_data"), 0);
	uint8_t bytes[64];
	size_t payload = vectors_hex(row, "payload", bytes + 4, sizeof(bytes) - 4);

	(void)state;
	channel_data_write_header(bytes, (uint16_t)vectors_u64(row, "channel"), (uint16_t)payload);
	vectors_assert_hex(row, "hex", bytes, payload + 4);
	cJSON_Delete(json);
}

static void only_numbers_of_channels_and_exact_lengths_decode(void **state)
{
	(void)state;
	for (unsigned number = 0; number <= UINT16_MAX; number++) {
		uint8_t header[4];
		uint16_t have = 0;

		channel_data_write_header(header, (uint16_t)number, 0);
		assert_int_equal(channel_data_read(&have, header, sizeof(header)),
				 number >= 0x4000 && number <= 0x7fff);
	}
	for (size_t len = 0; len < 12; len++) {
		const uint8_t bytes[12] = {0x40, 0x00, 0x00, 0x04};
		uint16_t have = 0;

		assert_int_equal(channel_data_read(&have, bytes, len), len == 8);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(vectors_decode_as_said),
	    cmocka_unit_test(header_writes_to_the_vector),
	    cmocka_unit_test(only_numbers_of_channels_and_exact_lengths_decode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
