#include "caps.h"

#include <cap-ng.h>
#include <errno.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Returns 1, 0, or -1 behind the last capability that the kernel knows. */
static int in_bounding_set(int cap)
{
	return prctl(PR_CAPBSET_READ, cap, 0, 0, 0);
}

bool caps_empty_bounding_set(void)
{
	for (int cap = 0; in_bounding_set(cap) >= 0; cap++)
		(void)!prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	for (int cap = 0; in_bounding_set(cap) >= 0; cap++) {
		if (in_bounding_set(cap) == 1)
			return false;
	}
	return true;
}

static bool all_empty(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &header, data) < 0)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(data); i++) {
		if (data[i].effective != 0 || data[i].permitted != 0 || data[i].inheritable != 0)
			return false;
	}
	for (int cap = 0; in_bounding_set(cap) >= 0; cap++) {
		if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, cap, 0, 0) == 1)
			return false;
	}
	return true;
}

int caps_drop(void)
{
	(void)!prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	capng_clear(CAPNG_SELECT_CAPS);
	if (capng_apply(CAPNG_SELECT_CAPS) != 0)
		return -EPERM;
	return all_empty() ? 0 : -EPERM;
}
