/*
 * Deadlines of many objects: a binary min-heap keyed by small integers, so that the work per event
 * does not grow with the number of idle objects. Fixed capacity, no allocation after heap_new().
 */
#ifndef BASE_HEAP_H
#define BASE_HEAP_H

#include "base/defs.h"

struct heap;

/* Keys are 0 .. capacity-1. NULL without memory. */
struct heap *heap_new(uint32_t capacity);
void heap_free(struct heap *heap);

/* Set or move the deadline of @key; NEVER_US removes it. */
void heap_set(struct heap *heap, uint32_t key, uint64_t deadline_us);

/* Earliest deadline, NEVER_US when empty. */
uint64_t heap_first_us(const struct heap *heap);

/* Takes out the earliest key if it is due at @now_us; false when nothing is due. */
bool heap_take_due(struct heap *heap, uint64_t now_us, uint32_t *key);

#endif
