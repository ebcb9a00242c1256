/*
 * ChannelData: what decodes has exactly the length that its header says, and the header writes back
 * to the same bytes.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "turn/channel_data.h"

enum {
	HEADER = 4,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t header[HEADER];
	uint16_t number = 0;

	if (!channel_data_read(&number, data, len)) {
		if (number != 0)
			abort();
		return 0;
	}
	if (len < HEADER || len - HEADER > UINT16_MAX || number < 0x4000 || number > 0x7fff)
		abort();
	channel_data_write_header(header, number, (uint16_t)(len - HEADER));
	if (memcmp(header, data, HEADER) != 0)
		abort();
	return 0;
}
