/*
 * How much memory the core holds: what is allocated and freed between memory_enter() and
 * memory_leave(). The program is linked with the allocator's functions wrapped.
 */
#ifndef TESTS_SIM_MEMORY_H
#define TESTS_SIM_MEMORY_H

#include "base/defs.h"

struct memory {
	int64_t bytes, most;
	uint64_t calls;
};

void memory_enter(struct memory *m);
void memory_leave(void);

#endif
