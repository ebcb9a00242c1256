/*
 * How much memory the crypto library holds for the core: what is allocated between
 * idle_memory_enter() and idle_memory_leave(), and freed whenever.
 */
#ifndef TESTS_SIM_IDLE_MEMORY_H
#define TESTS_SIM_IDLE_MEMORY_H

#include "base/defs.h"

struct idle_memory {
	int64_t bytes;
	uint64_t calls;
};

/* Before the first use of the library. False: it is too late. */
bool idle_memory_install(void);
void idle_memory_enter(struct idle_memory *m);
void idle_memory_leave(void);

#endif
