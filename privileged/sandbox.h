/*
 * The helper's own confinement, in stages; each is one function, called once, in this order.
 *
 * 1. sandbox_trim(), at the first line of main: of all capabilities at most CAP_NET_ADMIN stays,
 * permitted but not effective. It does not matter how it came: from the file (setcap
 * cap_net_admin=p), as ambient, or with root.
 * 2. sandbox_enter(): only descriptors 0 to 4, signals in a known state, no environment, no core
 * file, not dumpable, no new privileges.
 * 3. sandbox_seal(): the system calls of one table, the dangerous ones by argument; anything else
 * kills.
 *
 * Afterwards the capability is effective only between sandbox_raise(true) and (false).
 */
#ifndef PRIVILEGED_SANDBOX_H
#define PRIVILEGED_SANDBOX_H

#include "ipc/ipc.h"

#include <stdbool.h>

/* @caps: bits of enum ipc_capability that are left. Returns 0 or a negative errno. */
IPC_MUST_CHECK int sandbox_trim(uint32_t *caps);

/* Returns 0 or a negative errno; -EBADF: not started with the descriptors of enum ipc_start_fds. */
IPC_MUST_CHECK int sandbox_enter(void);

/* Returns 0 or a negative errno. */
IPC_MUST_CHECK int sandbox_seal(void);

/* Make the capability effective, or not. Without it nothing changes: what needs it fails by itself.
 */
void sandbox_raise(bool up);

#endif
