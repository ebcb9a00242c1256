/*
 * The channels of one allocation: which number stands for which peer, since when, and whose it is.
 * [RFC 8656 section 12]
 *
 * A number is bound to one peer for ten minutes after the last (re)bind, and handed to another peer
 * only after fifteen. Lookup by number and by peer is O(1), what one owner holds is a list of its
 * own; the table has a fixed size and allocates nothing after turn_channels_init().
 */
#ifndef TURN_CHANNELS_H
#define TURN_CHANNELS_H

#include "base/defs.h"
#include "base/heap.h"
#include "base/rng.h"
#include "packet/addr.h"

enum {
	TURN_CHANNELS = 4096, /* 0x4000 .. 0x4fff */
	TURN_NO_CHANNEL = 0xffff,
	TURN_CHANNEL_HASH_KEY = 16,
	/* One client's share: channels in use, and numbers taken by it that nobody may have again
	 * yet. */
	TURN_MAX_OWNER_CHANNELS = 32,
	TURN_MAX_OWNER_NUMBERS = 64,
	/* The last numbers are for owners that hold few. */
	TURN_RESERVE = 256,
	TURN_FEW_NUMBERS = 4,
	TURN_OWNER_BUCKETS = 1024, /* power of two */
};

#define TURN_CHANNEL_LIFE_US    (600 * US_PER_S)
#define TURN_CHANNEL_REUSE_US   (900 * US_PER_S)
#define TURN_CHANNEL_REFRESH_US (270 * US_PER_S)

enum turn_channel_state {
	TURN_CHANNEL_FREE,
	TURN_CHANNEL_ACTIVE,  /* found by its peer */
	TURN_CHANNEL_RETIRED, /* no longer ours to use, but not yet free for another peer */
};

struct turn_channel {
	struct endpoint peer;
	uint32_t owner;
	enum turn_channel_state state;
	bool confirmed;    /* the relay has said yes to the last bind */
	bool received;     /* data came since the last confirmation */
	uint64_t bound_us; /* bind sent; from the answer on, confirmed */
	uint64_t used_us;  /* last data either way */
	/* Index + 1 of the neighbours in the list of an owner's bucket; 0: none. */
	uint16_t owner_next, owner_prev;
};

struct turn_channels {
	struct turn_channel *at;
	uint16_t *by_peer;  /* index + 1, 0 is empty; linear probing */
	uint16_t *by_owner; /* first index + 1 of each bucket's list */
	uint64_t free[TURN_CHANNELS / 64];
	struct heap *resting; /* by index: when it may become free */
	uint16_t n_free;
	uint8_t hash_key[TURN_CHANNEL_HASH_KEY];
	uint16_t next; /* index handed out next */
	uint16_t top;  /* one above the highest index ever handed out since the last clear */
};

/* False without memory; turn_channels_free() is right in either case. */
MUST_CHECK bool turn_channels_init(struct turn_channels *c, const struct rng *rng);
void turn_channels_free(struct turn_channels *c);

/* Forgets all of them, as the relay has. */
void turn_channels_clear(struct turn_channels *c);

/* The active channel to @peer, or TURN_NO_CHANNEL. It may be unconfirmed or too old: see
 * turn_channel_fresh(). */
uint16_t turn_channels_find(const struct turn_channels *c, const struct endpoint *peer);

/* A number for @peer, next in order; TURN_NO_CHANNEL when all 4096 are taken. The peer has no
 * active channel yet. */
uint16_t turn_channels_take(struct turn_channels *c, const struct endpoint *peer, uint32_t owner,
			    uint64_t now_us);

/* Those whose time is over become free, with every call that takes or counts; here by itself. */
void turn_channels_reclaim(struct turn_channels *c, uint64_t now_us);

/* Forget the peer; the number rests until TURN_CHANNEL_REUSE_US after its bound_us, or is free at
 * once. */
void turn_channels_retire(struct turn_channels *c, uint16_t index, bool free_at_once);

/* Numbers of @owner that rest or are in use; *in_use counts the latter, *idlest is the one of them
 * unused for longest. */
size_t turn_channels_of_owner(struct turn_channels *c, uint32_t owner, uint64_t now_us,
			      size_t *in_use, uint16_t *idlest);

static inline bool turn_channel_fresh(const struct turn_channel *ch, uint64_t now_us)
{
	return now_us < add_us(ch->bound_us, TURN_CHANNEL_LIFE_US);
}

#endif
