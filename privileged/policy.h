/*
 * What the helper grants: the compiled-in ceilings, the policy of the greeting within them, and the
 * rates. Pure: no system calls; the clock comes as an argument.
 */
#ifndef PRIVILEGED_POLICY_H
#define PRIVILEGED_POLICY_H

#include "ipc/ipc.h"

#include <stdbool.h>

struct policy {
	bool greeted;
	bool tun_open;            /* the TUN was handed out, once for ever */
	uint8_t families;         /* that tun-configure got to work, bits of enum ipc_family_bit */
	struct ipc_policy stated; /* from the greeting, fixed from then on */
	struct ipc_args tun;      /* as last configured; all zero before */
	/* When the allowance is whole again, by role and family. */
	uint64_t ready_us[IPC_TYPE_END][4];
};

/* Is the TUN configured exactly so already? */
bool policy_tun_is(const struct policy *policy, const struct ipc_args *tun);

/*
 * Judge one well-formed request and spend from its rate; changes nothing but the rates.
 * @now_us: monotonic. Returns 0, -EPERM (outside of policy), -EAGAIN (too often) or -EDQUOT (too
 * much of everything).
 */
IPC_MUST_CHECK int policy_judge(struct policy *policy, const struct ipc_request *request,
				uint64_t now_us);

#endif
