#include "tunnel/keymap.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum {
	KEYMAP_MAX = 1 << 24
};

struct entry {
	uint8_t key[KEYMAP_KEY_LEN];
	uint32_t value_plus_1; /* 0: free */
};

struct keymap {
	struct entry *entries;
	uint32_t mask; /* their number less one; at least twice the capacity */
	uint32_t used, capacity;
	uint8_t secret[crypto_shorthash_KEYBYTES];
};

struct keymap *keymap_new(uint32_t capacity, const struct rng *rng)
{
	struct keymap *map;
	uint32_t size = 2;

	if (capacity > KEYMAP_MAX)
		return NULL;
	map = calloc(1, sizeof(*map));
	if (!map)
		return NULL;
	while (size < 2 * capacity)
		size *= 2;
	map->entries = calloc(size, sizeof(*map->entries));
	if (!map->entries) {
		free(map);
		return NULL;
	}
	map->mask = size - 1;
	map->capacity = capacity;
	rng_fill(rng, map->secret, sizeof(map->secret));
	return map;
}

void keymap_free(struct keymap *map)
{
	if (!map)
		return;
	free(map->entries);
	free(map);
}

static uint32_t home_of(const struct keymap *map, const uint8_t key[KEYMAP_KEY_LEN])
{
	uint8_t hash[crypto_shorthash_BYTES];
	uint32_t word;

	crypto_shorthash(hash, key, KEYMAP_KEY_LEN, map->secret);
	memcpy(&word, hash, sizeof(word));
	return word & map->mask;
}

/* Where the key is, or the free place where it would go. At most half of the places are taken. */
static uint32_t place_of(const struct keymap *map, const uint8_t key[KEYMAP_KEY_LEN])
{
	uint32_t at = home_of(map, key);

	while (map->entries[at].value_plus_1 != 0 &&
	       memcmp(map->entries[at].key, key, KEYMAP_KEY_LEN) != 0)
		at = (at + 1) & map->mask;
	return at;
}

void keymap_put(struct keymap *map, const uint8_t key[KEYMAP_KEY_LEN], uint32_t value)
{
	uint32_t at = place_of(map, key);

	BUG_ON(map->used >= map->capacity || map->entries[at].value_plus_1 != 0);
	memcpy(map->entries[at].key, key, KEYMAP_KEY_LEN);
	map->entries[at].value_plus_1 = value + 1;
	map->used++;
}

void keymap_remove(struct keymap *map, const uint8_t key[KEYMAP_KEY_LEN])
{
	uint32_t hole = place_of(map, key);
	uint32_t at = hole;

	if (map->entries[hole].value_plus_1 == 0)
		return;
	map->used--;
	/* Move up whoever would no longer be found behind the hole. */
	for (;;) {
		uint32_t home;

		at = (at + 1) & map->mask;
		if (map->entries[at].value_plus_1 == 0)
			break;
		home = home_of(map, map->entries[at].key);
		if (((at - home) & map->mask) < ((at - hole) & map->mask))
			continue;
		map->entries[hole] = map->entries[at];
		hole = at;
	}
	memset(&map->entries[hole], 0, sizeof(map->entries[hole]));
}

uint32_t keymap_get(const struct keymap *map, const uint8_t key[KEYMAP_KEY_LEN])
{
	const struct entry *e = &map->entries[place_of(map, key)];

	return e->value_plus_1 != 0 ? e->value_plus_1 - 1 : KEYMAP_NONE;
}
