/*
 * What a program inside the worker's prison tries, one attempt per start, and how it must end.
 */
#ifndef ATTEMPTS_H
#define ATTEMPTS_H

#include <stddef.h>
#include <sys/types.h>

/* The fds that the worker has; -1 where there is none. */
struct loot {
	int helper;
	int tun;
	int udp4, udp6;
	int tcp; /* listening */
	int lookup, events;
};

enum outcome {
	OUTCOME_KILLED,    /* by SIGSYS */
	OUTCOME_KILLED_32, /* by SIGSYS, or by SIGSEGV where the kernel has no 32-bit calls */
	OUTCOME_ERROR,     /* the call says @error */
	OUTCOME_ALLOWED,   /* the call succeeds, or says EAGAIN */
};

struct attempt {
	const char *name;
	enum outcome outcome;
	int error;
	/* Returns what the system call does: -1 and errno. */
	long (*make)(const struct loot *loot);
};

extern const struct attempt attempts[];
extern const size_t attempt_count;

#endif
