/*
 * The worker's prison, entered once, after everything that needs a file or a new descriptor and
 * before the first byte from the network.
 *
 * Theory of operation. The process has one thread and holds only descriptors that the helper or the
 * front opened. Each stage takes away one kind of thing and then checks by reading back that it is
 * gone:
 *
 *   namespaces    a user and a network namespace of its own: new sockets would lead nowhere, and
 * the bounding set can go capabilities  every set empty limits        no_new_privs, no core dump,
 * nobody attaches, no child process, no byte into a file landlock      no file system, no TCP bind
 * or connect, no signal and no abstract socket outside seccomp       an allow-list of system calls,
 * some by argument; anything else ends the process
 *
 * Capabilities, limits and seccomp are not negotiable. Namespaces and Landlock depend on the host:
 * what it does not offer is noted in sandbox.lacks, unless the operator wants it strict. They are
 * judged by the state they lead to, not by who made it.
 */
#ifndef SANDBOX_H
#define SANDBOX_H

#include "base/defs.h"

enum sandbox_lack {
	SANDBOX_LACKS_NETWORK = 1,  /* the network namespace has more than the loopback interface */
	SANDBOX_LACKS_BOUNDING = 2, /* the bounding set is not empty; no_new_privs makes it void */
	SANDBOX_LACKS_LANDLOCK_FILES = 4,  /* Linux 5.13 */
	SANDBOX_LACKS_LANDLOCK_TCP = 8,    /* Linux 6.7 */
	SANDBOX_LACKS_LANDLOCK_SCOPE = 16, /* Linux 6.12 */
	SANDBOX_LACK_END = 32,
};

struct sandbox {
	/* Set by the caller. May: the call does not end the process (struct boot). */
	bool strict, may_unshare, may_landlock;
	/* Bits of enum sandbox_lack. */
	uint32_t lacks;
	/* After a failure: one sentence with the remedy. */
	char err[256];
};

/* All stages in their order. 0 or a negative errno; after a failure the process must end. */
MUST_CHECK int sandbox_enter(struct sandbox *sb);

MUST_CHECK int sandbox_namespaces(struct sandbox *sb);
MUST_CHECK int sandbox_capabilities(struct sandbox *sb);
MUST_CHECK int sandbox_limits(struct sandbox *sb);
MUST_CHECK int sandbox_landlock(struct sandbox *sb);
MUST_CHECK int sandbox_seccomp(struct sandbox *sb);

/* The warning for one bit of sandbox.lacks. */
const char *sandbox_lack_text(enum sandbox_lack lack);

/* How many system calls the filter allows, and how many of these only with certain arguments. */
size_t sandbox_allowed_calls(size_t *by_argument);

#endif
