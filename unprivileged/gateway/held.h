/*
 * Packets for one client that wait for its session: a queue in order, the newest refused when it is
 * full. [spec connections 1, 7.3]
 *
 * Plain values. Memory is taken packet by packet and only while they wait; the bytes of all queues
 * come out of one budget.
 */
#ifndef GATEWAY_HELD_H
#define GATEWAY_HELD_H

#include "base/defs.h"

struct held_packet;

/* All zero: empty. */
struct held {
	struct held_packet *first, *last;
	uint32_t n, bytes;
};

/* Returns room for a packet of @len bytes (1 .. 65535) behind the others, or NULL when the queue,
 * the budget or the memory is used up. */
uint8_t *held_add(struct held *q, size_t *budget, size_t len);

/* The oldest, or NULL. Valid until it is dropped. */
uint8_t *held_first(const struct held *q, size_t *len);
void held_drop_first(struct held *q, size_t *budget);

void held_clear(struct held *q, size_t *budget);

#endif
