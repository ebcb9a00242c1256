#include "turn/channels.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum {
	HASH_SLOTS = 2 * TURN_CHANNELS,
	HASH_INPUT = sizeof(struct ip_addr) + sizeof(uint16_t),
	FREE_WORD = 64,
	RECLAIM_STEP = 256, /* numbers looked at in one call */
};

/* A number in use is looked at again after this. */
#define LOOK_AGAIN_US (60 * US_PER_S)

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

static uint16_t *bucket_of(const struct turn_channels *c, uint32_t owner)
{
	uint8_t hash[crypto_shorthash_BYTES];
	uint32_t bucket = 0;

	crypto_shorthash(hash, (const uint8_t *)&owner, sizeof(owner), c->hash_key);
	memcpy(&bucket, hash, sizeof(bucket));
	return &c->by_owner[bucket % TURN_OWNER_BUCKETS];
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
	c->by_owner = calloc(TURN_OWNER_BUCKETS, sizeof(*c->by_owner));
	c->resting = heap_new(TURN_CHANNELS);
	rng_fill(rng, c->hash_key, sizeof(c->hash_key));
	if (!c->at || !c->by_peer || !c->by_owner || !c->resting)
		return false;
	turn_channels_clear(c);
	return true;
}

void turn_channels_free(struct turn_channels *c)
{
	free(c->at);
	free(c->by_peer);
	free(c->by_owner);
	heap_free(c->resting);
	*c = (struct turn_channels){.next = 0};
}

void turn_channels_clear(struct turn_channels *c)
{
	for (uint16_t i = 0; i < c->top; i++)
		heap_set(c->resting, i, NEVER_US);
	memset(c->at, 0, c->top * sizeof(*c->at));
	memset(c->by_peer, 0, HASH_SLOTS * sizeof(*c->by_peer));
	memset(c->by_owner, 0, TURN_OWNER_BUCKETS * sizeof(*c->by_owner));
	memset(c->free, 0xff, sizeof(c->free));
	c->n_free = TURN_CHANNELS;
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

static void link_owner(struct turn_channels *c, uint16_t index)
{
	struct turn_channel *ch = &c->at[index];
	uint16_t *head = bucket_of(c, ch->owner);

	ch->owner_next = *head;
	ch->owner_prev = 0;
	if (*head != 0)
		c->at[*head - 1].owner_prev = (uint16_t)(index + 1);
	*head = (uint16_t)(index + 1);
}

static void unlink_owner(struct turn_channels *c, uint16_t index)
{
	const struct turn_channel *ch = &c->at[index];

	if (ch->owner_prev != 0)
		c->at[ch->owner_prev - 1].owner_next = ch->owner_next;
	else
		*bucket_of(c, ch->owner) = ch->owner_next;
	if (ch->owner_next != 0)
		c->at[ch->owner_next - 1].owner_prev = ch->owner_prev;
}

static void release(struct turn_channels *c, uint16_t index)
{
	struct turn_channel *ch = &c->at[index];

	if (ch->state == TURN_CHANNEL_FREE)
		return;
	if (ch->state == TURN_CHANNEL_ACTIVE)
		unlink_peer(c, &ch->peer);
	unlink_owner(c, index);
	*ch = (struct turn_channel){.state = TURN_CHANNEL_FREE};
	c->free[index / FREE_WORD] |= UINT64_C(1) << index % FREE_WORD;
	c->n_free++;
	heap_set(c->resting, index, NEVER_US);
}

/* Rebinds and answers move a number's time without a word to the heap. */
void turn_channels_reclaim(struct turn_channels *c, uint64_t now_us)
{
	uint32_t index = 0;

	for (int i = 0; i < RECLAIM_STEP && heap_take_due(c->resting, now_us, &index); i++) {
		const struct turn_channel *ch = &c->at[index];
		uint64_t due_us = add_us(ch->bound_us, TURN_CHANNEL_REUSE_US);

		if (due_us <= now_us && !ch->received)
			release(c, (uint16_t)index);
		else
			heap_set(c->resting, index,
				 due_us > now_us ? due_us : add_us(now_us, LOOK_AGAIN_US));
	}
}

/* The next free number in order, wrapping; there is one. */
static uint16_t next_free(const struct turn_channels *c)
{
	unsigned word = c->next / FREE_WORD;
	uint64_t bits = c->free[word] & (UINT64_MAX << c->next % FREE_WORD);

	while (bits == 0) {
		word = (word + 1) % ARRAY_LEN(c->free);
		bits = c->free[word];
	}
	return (uint16_t)(word * FREE_WORD + (unsigned)__builtin_ctzll(bits));
}

uint16_t turn_channels_take(struct turn_channels *c, const struct endpoint *peer, uint32_t owner,
			    uint64_t now_us)
{
	uint16_t index = 0;

	turn_channels_reclaim(c, now_us);
	if (c->n_free == 0)
		return TURN_NO_CHANNEL;
	index = next_free(c);
	c->at[index] = (struct turn_channel){
	    .peer = *peer,
	    .owner = owner,
	    .state = TURN_CHANNEL_ACTIVE,
	    .bound_us = now_us,
	    .used_us = now_us,
	};
	c->by_peer[slot_for(c, peer)] = (uint16_t)(index + 1);
	link_owner(c, index);
	c->free[index / FREE_WORD] &= ~(UINT64_C(1) << index % FREE_WORD);
	c->n_free--;
	heap_set(c->resting, index, add_us(now_us, TURN_CHANNEL_REUSE_US));
	c->next = (uint16_t)((index + 1) % TURN_CHANNELS);
	if (index >= c->top)
		c->top = (uint16_t)(index + 1);
	return index;
}

void turn_channels_retire(struct turn_channels *c, uint16_t index, bool free_at_once)
{
	struct turn_channel *ch = &c->at[index];

	if (free_at_once) {
		release(c, index);
		return;
	}
	if (ch->state == TURN_CHANNEL_ACTIVE)
		unlink_peer(c, &ch->peer);
	ch->state = TURN_CHANNEL_RETIRED;
	ch->confirmed = false;
	ch->received = false;
}

size_t turn_channels_of_owner(struct turn_channels *c, uint32_t owner, uint64_t now_us,
			      size_t *in_use, uint16_t *idlest)
{
	uint64_t idlest_us = NEVER_US;
	size_t held = 0;

	turn_channels_reclaim(c, now_us);
	*in_use = 0;
	*idlest = TURN_NO_CHANNEL;
	for (uint16_t at = *bucket_of(c, owner); at != 0; at = c->at[at - 1].owner_next) {
		const struct turn_channel *ch = &c->at[at - 1];

		if (ch->owner != owner)
			continue;
		held++;
		if (ch->state != TURN_CHANNEL_ACTIVE || !turn_channel_fresh(ch, now_us))
			continue;
		(*in_use)++;
		if (ch->used_us <= idlest_us) {
			idlest_us = ch->used_us;
			*idlest = (uint16_t)(at - 1);
		}
	}
	return held;
}
