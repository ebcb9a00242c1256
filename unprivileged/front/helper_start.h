/*
 * Starts the helper, greets it, and turns everything that can be wrong with its authority into one
 * sentence.
 */
#ifndef FRONT_HELPER_START_H
#define FRONT_HELPER_START_H

#include "base/defs.h"
#include "ipc/ipc.h"

struct helper_start {
	int socket; /* close-on-exec; the caller owns it */
	uint32_t seq;
	struct ipc_hello_reply hello;
};

/*
 * Run @path with its end of a new pair as fd 3 and a duplicate of @audit_fd as fd 4, state @policy,
 * and check what the helper says it has. @check false: a helper without its capability or the TUN
 * device is no failure yet.
 *
 * 0 and *out, or a negative errno and a sentence in @err; then no helper is left running.
 */
MUST_CHECK int helper_start(const char *path, const struct ipc_policy *policy, int audit_fd,
			    bool check, struct helper_start *out, char *err, size_t err_len);

/* The helper is root's, nobody else may write to it, and this user may execute it. 0, or as
 * helper_start(). */
MUST_CHECK int helper_start_check_file(const char *path, char *err, size_t err_len);

#endif
