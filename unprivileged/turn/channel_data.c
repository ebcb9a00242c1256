#include "turn/channel_data.h"

#include "packet/bytes.h"

/* RFC 8656 section 12. */
enum {
	CHANNEL_DATA_HEADER = 4,
	CHANNEL_DATA_MIN = 0x4000,
	CHANNEL_DATA_MAX = 0x7fff,
};

bool channel_data_read(uint16_t *number, const uint8_t *buf, size_t len)
{
	struct reader r = reader_of(buf, len);
	uint16_t channel = rd_u16(&r);
	size_t payload = rd_u16(&r);

	if (r.bad || payload != r.left || channel < CHANNEL_DATA_MIN || channel > CHANNEL_DATA_MAX)
		return false;
	*number = channel;
	return true;
}

void channel_data_write_header(uint8_t header[4], uint16_t number, uint16_t payload_len)
{
	struct writer w = writer_of(header, CHANNEL_DATA_HEADER);

	wr_u16(&w, number);
	wr_u16(&w, payload_len);
}
