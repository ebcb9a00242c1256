#include "base/heap.h"

#include <stdlib.h>

static const uint32_t absent = UINT32_MAX;

struct heap_node {
	uint64_t deadline_us;
	uint32_t key;
};

struct heap {
	struct heap_node *nodes;
	uint32_t *where; /* key -> position, absent if not queued */
	uint32_t count, capacity;
};

struct heap *heap_new(uint32_t capacity)
{
	struct heap *heap = calloc(1, sizeof(*heap));

	if (!heap)
		return NULL;
	heap->nodes = calloc(capacity, sizeof(*heap->nodes));
	heap->where = calloc(capacity, sizeof(*heap->where));
	if (!heap->nodes || !heap->where) {
		heap_free(heap);
		return NULL;
	}
	for (uint32_t i = 0; i < capacity; i++)
		heap->where[i] = absent;
	heap->capacity = capacity;
	return heap;
}

void heap_free(struct heap *heap)
{
	if (!heap)
		return;
	free(heap->nodes);
	free(heap->where);
	free(heap);
}

static void place(struct heap *heap, uint32_t at, struct heap_node node)
{
	heap->nodes[at] = node;
	heap->where[node.key] = at;
}

static void sift_up(struct heap *heap, uint32_t at)
{
	struct heap_node node = heap->nodes[at];

	while (at > 0) {
		uint32_t parent = (at - 1) / 2;

		if (heap->nodes[parent].deadline_us <= node.deadline_us)
			break;
		place(heap, at, heap->nodes[parent]);
		at = parent;
	}
	place(heap, at, node);
}

static void sift_down(struct heap *heap, uint32_t at)
{
	struct heap_node node = heap->nodes[at];

	for (;;) {
		uint32_t child = 2 * at + 1;

		if (child >= heap->count)
			break;
		if (child + 1 < heap->count &&
		    heap->nodes[child + 1].deadline_us < heap->nodes[child].deadline_us)
			child++;
		if (heap->nodes[child].deadline_us >= node.deadline_us)
			break;
		place(heap, at, heap->nodes[child]);
		at = child;
	}
	place(heap, at, node);
}

static void remove_at(struct heap *heap, uint32_t at)
{
	struct heap_node last = heap->nodes[--heap->count];

	heap->where[heap->nodes[at].key] = absent;
	if (at == heap->count)
		return;
	place(heap, at, last);
	sift_up(heap, at);
	sift_down(heap, heap->where[last.key]);
}

void heap_set(struct heap *heap, uint32_t key, uint64_t deadline_us)
{
	uint32_t at;

	BUG_ON(key >= heap->capacity);
	at = heap->where[key];
	if (deadline_us == NEVER_US) {
		if (at != absent)
			remove_at(heap, at);
		return;
	}
	if (at == absent) {
		at = heap->count++;
		place(heap, at, (struct heap_node){.deadline_us = deadline_us, .key = key});
	} else if (heap->nodes[at].deadline_us == deadline_us) {
		return;
	} else {
		heap->nodes[at].deadline_us = deadline_us;
	}
	sift_up(heap, at);
	sift_down(heap, heap->where[key]);
}

uint64_t heap_first_us(const struct heap *heap)
{
	return heap->count > 0 ? heap->nodes[0].deadline_us : NEVER_US;
}

bool heap_take_due(struct heap *heap, uint64_t now_us, uint32_t *key)
{
	if (heap->count == 0 || heap->nodes[0].deadline_us > now_us)
		return false;
	*key = heap->nodes[0].key;
	remove_at(heap, 0);
	return true;
}
