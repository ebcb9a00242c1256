/*
 * From 16-byte keys to small numbers: a hash table of fixed size under a secret key, so that nobody
 * can choose colliding keys.
 *
 * No allocation after keymap_new(). [SipHash-2-4]
 */
#ifndef TUNNEL_KEYMAP_H
#define TUNNEL_KEYMAP_H

#include "base/defs.h"
#include "base/rng.h"

enum {
	KEYMAP_KEY_LEN = 16
};

#define KEYMAP_NONE UINT32_MAX

struct keymap;

/* Room for @capacity keys; NULL without memory. */
struct keymap *keymap_new(uint32_t capacity, const struct rng *rng);
void keymap_free(struct keymap *map);

/* Values are below KEYMAP_NONE. The key is not in the map and there is room. */
void keymap_put(struct keymap *map, const uint8_t key[KEYMAP_KEY_LEN], uint32_t value);

/* No effect if the key is not there. */
void keymap_remove(struct keymap *map, const uint8_t key[KEYMAP_KEY_LEN]);

uint32_t keymap_get(const struct keymap *map, const uint8_t key[KEYMAP_KEY_LEN]);

#endif
