#include "gateway/held.h"

#include <stdlib.h>

#include "gateway/gateway.h"

struct held_packet {
	struct held_packet *next;
	uint32_t len;
	uint8_t bytes[];
};

/* With what the allocator adds. */
static uint32_t cost_of(size_t len)
{
	return (uint32_t)(sizeof(struct held_packet) + 16 + len);
}

uint8_t *held_add(struct held *q, size_t *budget, size_t len)
{
	const uint32_t cost = cost_of(len);
	struct held_packet *p;

	if (q->n == GATEWAY_HELD_PACKETS || q->bytes + cost > GATEWAY_HELD_BYTES || cost > *budget)
		return NULL;
	p = malloc(sizeof(*p) + len);
	if (!p)
		return NULL;
	p->next = NULL;
	p->len = (uint32_t)len;
	if (q->last)
		q->last->next = p;
	else
		q->first = p;
	q->last = p;
	q->n++;
	q->bytes += cost;
	*budget -= cost;
	return p->bytes;
}

uint8_t *held_first(const struct held *q, size_t *len)
{
	if (!q->first)
		return NULL;
	*len = q->first->len;
	return q->first->bytes;
}

void held_drop_first(struct held *q, size_t *budget)
{
	struct held_packet *p = q->first;
	const uint32_t cost = cost_of(p->len);

	q->first = p->next;
	if (!q->first)
		q->last = NULL;
	q->n--;
	q->bytes -= cost;
	*budget += cost;
	free(p);
}

void held_clear(struct held *q, size_t *budget)
{
	while (q->first)
		held_drop_first(q, budget);
}
