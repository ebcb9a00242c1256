/*
 * The arena of secrets: fixed slots in one guarded, locked allocation made at start. [libsodium
 * secure memory]
 *
 * Keys, passwords and tokens live here and nowhere else (keys inside library contexts excepted). A
 * slot is wiped when it is given back. Not thread-safe.
 */
#ifndef BASE_SECRET_H
#define BASE_SECRET_H

#include "base/defs.h"

enum {
	SECRET_SLOT_SIZE = 256
};

struct secret_arena;

/* Arena of @slots slots of SECRET_SLOT_SIZE bytes; NULL without memory. Free with
 * secret_arena_free(), which wipes it. */
struct secret_arena *secret_arena_new(size_t slots);
void secret_arena_free(struct secret_arena *arena);

/* A zeroed slot, 16-byte aligned, or NULL when all are taken. The caller returns it with
 * secret_put(). */
MUST_CHECK void *secret_get(struct secret_arena *arena);

/* Wipe and give back. @slot may be NULL. */
void secret_put(struct secret_arena *arena, void *slot);

size_t secret_slots_free(const struct secret_arena *arena);

#endif
