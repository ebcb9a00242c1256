#include "base/secret.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

struct secret_arena {
	uint8_t *memory;
	size_t slots;
	size_t free_count;
	uint32_t *free_list;
	bool *taken;
};

struct secret_arena *secret_arena_new(size_t slots)
{
	struct secret_arena *arena = calloc(1, sizeof(*arena));

	if (!arena)
		return NULL;
	arena->free_list = calloc(slots, sizeof(*arena->free_list));
	arena->taken = calloc(slots, sizeof(*arena->taken));
	if (!arena->free_list || !arena->taken)
		goto free_lists;
	arena->memory = sodium_allocarray(slots, SECRET_SLOT_SIZE);
	if (!arena->memory)
		goto free_lists;
	sodium_memzero(arena->memory, slots * SECRET_SLOT_SIZE);
	arena->slots = slots;
	arena->free_count = slots;
	for (size_t i = 0; i < slots; i++)
		arena->free_list[i] = (uint32_t)(slots - 1 - i);
	return arena;

free_lists:
	free(arena->taken);
	free(arena->free_list);
	free(arena);
	return NULL;
}

void secret_arena_free(struct secret_arena *arena)
{
	if (!arena)
		return;
	sodium_free(arena->memory);
	free(arena->taken);
	free(arena->free_list);
	free(arena);
}

void *secret_get(struct secret_arena *arena)
{
	uint32_t slot;

	if (arena->free_count == 0)
		return NULL;
	slot = arena->free_list[--arena->free_count];
	arena->taken[slot] = true;
	return arena->memory + (size_t)slot * SECRET_SLOT_SIZE;
}

void secret_put(struct secret_arena *arena, void *slot)
{
	size_t offset;

	if (!slot)
		return;
	offset = (size_t)((uint8_t *)slot - arena->memory);
	BUG_ON(offset % SECRET_SLOT_SIZE != 0 || offset / SECRET_SLOT_SIZE >= arena->slots);
	BUG_ON(!arena->taken[offset / SECRET_SLOT_SIZE]);
	arena->taken[offset / SECRET_SLOT_SIZE] = false;
	sodium_memzero(slot, SECRET_SLOT_SIZE);
	arena->free_list[arena->free_count++] = (uint32_t)(offset / SECRET_SLOT_SIZE);
}

size_t secret_slots_free(const struct secret_arena *arena)
{
	return arena->free_count;
}
