#include "dns/framing.h"

#include "packet/bytes.h"

size_t dns_frame_write(uint8_t *out, size_t cap, const uint8_t *message, size_t len)
{
	struct writer w = writer_of(out, cap);

	if (len == 0 || len > UINT16_MAX)
		return 0;
	wr_u16(&w, (uint16_t)len);
	wr_bytes(&w, message, len);
	return w.bad ? 0 : w.written;
}

size_t dns_frame_read(const uint8_t *buf, size_t len, const uint8_t **message, size_t *message_len)
{
	struct reader r = reader_of(buf, len);
	size_t size = rd_u16(&r);
	const uint8_t *at = rd_bytes(&r, size);

	if (!at)
		return 0;
	*message = at;
	*message_len = size;
	return DNS_FRAME_HEADER + size;
}

size_t dns_frame_wanted(const uint8_t *buf, size_t len)
{
	struct reader r = reader_of(buf, len);
	size_t size = rd_u16(&r);

	return r.bad ? (size_t)DNS_FRAME_HEADER : DNS_FRAME_HEADER + size;
}
