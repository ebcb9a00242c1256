/*
 * What a client may make us do in a given time. It belongs to the client, not to its connection:
 * what is used up when a connection ends is remembered until it would be there again, so that
 * nobody gains by coming and going. [spec connections 14 rows 5, 6]
 */
#include "gateway/internal.h"

#include <sodium.h>

/* The same for the same client as long as the process lives; never 0. */
uint32_t quota_owner(const struct gateway *g, const struct uuid *client)
{
	uint8_t hash[crypto_shorthash_BYTES];
	uint32_t v;

	crypto_shorthash(hash, client->bytes, sizeof(client->bytes), g->owner_key);
	memcpy(&v, hash, sizeof(v));
	return v != 0 ? v : 1;
}

static uint64_t until_us(const struct quota *q)
{
	return max_u64(q->candidates_us, q->lines_us);
}

void quota_begin(struct conn *c)
{
	struct gateway *g = c->g;

	for (size_t i = 0; i < MAX_GONE; i++) {
		if (g->gone[i].owner == c->owner) {
			c->quota = g->gone[i].quota;
			g->gone[i] = (struct gone){.owner = 0};
		}
	}
}

/* In the place of the one that has used up least. */
void quota_end(const struct conn *c)
{
	struct gateway *g = c->g;
	struct gone *place = &g->gone[0];

	if (until_us(&c->quota) <= g->now_us)
		return;
	for (size_t i = 1; i < MAX_GONE; i++)
		if (until_us(&g->gone[i].quota) < until_us(&place->quota))
			place = &g->gone[i];
	if (until_us(&place->quota) < until_us(&c->quota))
		*place = (struct gone){.owner = c->owner, .quota = c->quota};
}
