#include "turn/channels.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum {
	HASH_SLOTS = 2 * TURN_CHANNELS,
	HASH_INPUT = sizeof(struct ip_addr) + sizeof(uint16_t),
};

static_assert(TURN_CHANNEL_HASH_KEY == crypto_shorthash_KEYBYTES, "the key of SipHash-2-4");
static_assert(sizeof(struct ip_addr) == 17, "no padding, so that it can be hashed as a whole");

static uint32_t slot_of(const struct turn_channels *c, const struct endpoint *peer)
{
	uint8_t input[HASH_INPUT];
	uint8_t hash[crypto_shorthash_BYTES];
	uint32_t slot = 0;

	memcpy(input, &peer->ip, sizeof(peer->ip));
	memcpy(input + sizeof(peer->ip), &peer->port, sizeof(peer->port));
	crypto_shorthash(hash, input, sizeof(input), c->hash_key);
	memcpy(&slot, hash, sizeof(slot));
	return slot % HASH_SLOTS;
}

static uint32_t slot_after(uint32_t slot)
{
	return (slot + 1) % HASH_SLOTS;
}

bool turn_channels_init(struct turn_channels *c, const struct rng *rng)
{
	*c = (struct turn_channels){.next = 0};
	c->at = calloc(TURN_CHANNELS, sizeof(*c->at));
	c->by_peer = calloc(HASH_SLOTS, sizeof(*c->by_peer));
	rng_fill(rng, c->hash_key, sizeof(c->hash_key));
	return c->at && c->by_peer;
}

void turn_channels_free(struct turn_channels *c)
{
	free(c->at);
	free(c->by_peer);
	c->at = NULL;
	c->by_peer = NULL;
}

void turn_channels_clear(struct turn_channels *c)
{
	memset(c->at, 0, c->top * sizeof(*c->at));
	memset(c->by_peer, 0, HASH_SLOTS * sizeof(*c->by_peer));
	c->top = 0;
}

/* The slot that holds @peer, or the empty one where it would stand. */
static uint32_t slot_for(const struct turn_channels *c, const struct endpoint *peer)
{
	uint32_t slot = slot_of(c, peer);

	while (c->by_peer[slot] != 0 && !endpoint_eq(&c->at[c->by_peer[slot] - 1].peer, peer))
		slot = slot_after(slot);
	return slot;
}

uint16_t turn_channels_find(const struct turn_channels *c, const struct endpoint *peer)
{
	uint16_t entry = c->by_peer[slot_for(c, peer)];

	return entry == 0 ? TURN_NO_CHANNEL : (uint16_t)(entry - 1);
}

/* Take @peer out of the hash; entries behind it move up, so that no search ends too early. */
static void unlink_peer(struct turn_channels *c, const struct endpoint *peer)
{
	uint32_t hole = slot_for(c, peer);
	uint32_t at = hole;

	if (c->by_peer[hole] == 0)
		return;
	for (;;) {
		uint32_t home = 0;

		c->by_peer[hole] = 0;
		do {
			at = slot_after(at);
			if (c->by_peer[at] == 0)
				return;
			home = slot_of(c, &c->at[c->by_peer[at] - 1].peer);
			/* It may move when its home does not lie between the hole and where it
			 * stands. */
		} while ((at + HASH_SLOTS - home) % HASH_SLOTS <
			 (at + HASH_SLOTS - hole) % HASH_SLOTS);
		c->by_peer[hole] = c->by_peer[at];
		hole = at;
	}
}

static bool is_takeable(const struct turn_channel *ch, uint64_t now_us)
{
	return ch->state == TURN_CHANNEL_FREE ||
	       (!ch->received && now_us >= add_us(ch->bound_us, TURN_CHANNEL_REUSE_US));
}

uint16_t turn_channels_take(struct turn_channels *c, const struct endpoint *peer, uint32_t owner,
			    uint64_t now_us)
{
	uint16_t index = c->next;
	unsigned tried = 0;

	while (!is_takeable(&c->at[index], now_us)) {
		if (++tried == TURN_CHANNELS)
			return TURN_NO_CHANNEL;
		index = (uint16_t)((index + 1) % TURN_CHANNELS);
	}
	if (c->at[index].state == TURN_CHANNEL_ACTIVE)
		unlink_peer(c, &c->at[index].peer);
	c->at[index] = (struct turn_channel){
	    .peer = *peer,
	    .owner = owner,
	    .state = TURN_CHANNEL_ACTIVE,
	    .bound_us = now_us,
	    .used_us = now_us,
	};
	c->by_peer[slot_for(c, peer)] = (uint16_t)(index + 1);
	c->next = (uint16_t)((index + 1) % TURN_CHANNELS);
	if (index >= c->top)
		c->top = (uint16_t)(index + 1);
	return index;
}

void turn_channels_retire(struct turn_channels *c, uint16_t index, bool free_at_once)
{
	struct turn_channel *ch = &c->at[index];

	if (ch->state == TURN_CHANNEL_ACTIVE)
		unlink_peer(c, &ch->peer);
	ch->state = free_at_once ? TURN_CHANNEL_FREE : TURN_CHANNEL_RETIRED;
	ch->confirmed = false;
	ch->received = false;
}

size_t turn_channels_of_owner(const struct turn_channels *c, uint32_t owner, uint64_t now_us,
			      size_t *in_use, uint16_t *idlest)
{
	uint64_t idlest_us = NEVER_US;
	size_t held = 0;

	*in_use = 0;
	*idlest = TURN_NO_CHANNEL;
	for (uint16_t i = 0; i < c->top; i++) {
		const struct turn_channel *ch = &c->at[i];

		if (ch->owner != owner || is_takeable(ch, now_us))
			continue;
		held++;
		if (ch->state != TURN_CHANNEL_ACTIVE || !turn_channel_fresh(ch, now_us))
			continue;
		(*in_use)++;
		if (ch->used_us < idlest_us) {
			idlest_us = ch->used_us;
			*idlest = i;
		}
	}
	return held;
}
