/*
 * Fixed fields inside a packet whose bounds are already checked: read and patch by offset, network
 * order.
 *
 * For the rooms that rewrite headers in place; parsing goes through packet/bytes.h.
 */
#ifndef PACKET_FIELD_H
#define PACKET_FIELD_H

#include "base/defs.h"

static inline uint16_t field_u16(const uint8_t *data, size_t at)
{
	return (uint16_t)(data[at] << 8 | data[at + 1]);
}

static inline uint32_t field_u32(const uint8_t *data, size_t at)
{
	return (uint32_t)field_u16(data, at) << 16 | field_u16(data, at + 2);
}

static inline void field_set_u16(uint8_t *data, size_t at, uint16_t v)
{
	data[at] = (uint8_t)(v >> 8);
	data[at + 1] = (uint8_t)v;
}

static inline void field_set_u32(uint8_t *data, size_t at, uint32_t v)
{
	field_set_u16(data, at, (uint16_t)(v >> 16));
	field_set_u16(data, at + 2, (uint16_t)v);
}

#endif
