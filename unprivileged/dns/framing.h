/*
 * DNS messages on a TCP stream: each stands behind two bytes of length. Pure functions on buffers.
 * [RFC 1035 section 4.2.2, RFC 7766 section 8]
 */
#ifndef DNS_FRAMING_H
#define DNS_FRAMING_H

#include "base/defs.h"

enum {
	DNS_FRAME_HEADER = 2,
	DNS_FRAME_MAX = DNS_FRAME_HEADER + 65535, /* of one message with its length */
};

/* The message behind its length; the number of bytes, 0 if @len is 0 or above 65535 or does not
 * fit. */
MUST_CHECK size_t dns_frame_write(uint8_t *out, size_t cap, const uint8_t *message, size_t len);

/*
 * The first message of what came so far, at @buf. Returns how many bytes it takes with its length,
 * and *@message is inside of @buf; or 0 with the outputs untouched if there is more to come.
 */
MUST_CHECK size_t dns_frame_read(const uint8_t *buf, size_t len, const uint8_t **message,
				 size_t *message_len);

/* How many bytes of the stream must be there for the next step: the length, then the whole first
 * message. Never above DNS_FRAME_MAX. */
size_t dns_frame_wanted(const uint8_t *buf, size_t len);

#endif
