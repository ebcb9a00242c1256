/*
 * ChannelData framing over UDP: four bytes, no padding. [RFC 8656 section 12.4]
 */
#ifndef TURN_CHANNEL_DATA_H
#define TURN_CHANNEL_DATA_H

#include "base/defs.h"

/* True if the datagram is exactly one ChannelData message with a number in 0x4000..0x7fff. */
MUST_CHECK bool channel_data_read(uint16_t *number, const uint8_t *buf, size_t len);

/* Writes the four bytes. */
void channel_data_write_header(uint8_t header[4], uint16_t number, uint16_t payload_len);

#endif
