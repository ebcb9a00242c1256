/*
 * Starts a command as upstream's unit does under systemd 252, where no systemd runs: an ordinary
 * user with ambient CAP_NET_ADMIN and no other capability in the bounding set, no_new_privs, a
 * filter that kills at every call outside of
 * @system-service, and the filters of RestrictNamespaces, RestrictAddressFamilies and
 * MemoryDenyWriteExecute.
 *
 *   unit-filter LIST UID COMMAND [ARGUMENT...]      as root; LIST has one system call a line
 */
#include <cap-ng.h>
#include <errno.h>
#include <grp.h>
#include <sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	NAME_SIZE = 64,
	FILES = 4096,
	SETUP_FAILED = 98
};

static const int namespaces[] = {CLONE_NEWCGROUP, CLONE_NEWIPC,  CLONE_NEWNET, CLONE_NEWNS,
				 CLONE_NEWPID,    CLONE_NEWUSER, CLONE_NEWUTS};

/* SystemCallFilter=@system-service. A name that this library or architecture lacks is passed over,
 * as systemd does. */
static int filter_calls(const char *list)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	FILE *file = fopen(list, "r");
	char name[NAME_SIZE];
	int rc = ctx && file ? 0 : -ENOENT;

	while (rc == 0 && fgets(name, sizeof(name), file)) {
		int call;

		name[strcspn(name, "\n")] = '\0';
		call = name[0] == '#' ? __NR_SCMP_ERROR : seccomp_syscall_resolve_name(name);
		if (call != __NR_SCMP_ERROR)
			rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, call, 0);
		if (rc == -EDOM)
			rc = 0;
	}
	if (file)
		fclose(file);
	if (rc == 0)
		rc = seccomp_load(ctx);
	seccomp_release(ctx);
	return rc;
}

/* RestrictNamespaces=yes */
static int add_namespaces(scmp_filter_ctx ctx)
{
	int rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);

	if (rc == 0)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(setns), 1,
				      SCMP_A1(SCMP_CMP_EQ, 0, 0));
	for (size_t i = 0; rc == 0 && i < sizeof(namespaces) / sizeof(namespaces[0]); i++) {
		const scmp_datum_t flag = (scmp_datum_t)namespaces[i];

		rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(unshare), 1,
				      SCMP_A0(SCMP_CMP_MASKED_EQ, flag, flag));
		if (rc == 0)
			rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
					      SCMP_A0(SCMP_CMP_MASKED_EQ, flag, flag));
		if (rc == 0)
			rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(setns), 1,
					      SCMP_A1(SCMP_CMP_MASKED_EQ, flag, flag));
	}
	return rc;
}

/* RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK: of those that follow, only AF_NETLINK is
 * between the others. */
static int add_families(scmp_filter_ctx ctx)
{
	const uint32_t refuse = SCMP_ACT_ERRNO(EAFNOSUPPORT);
	int rc = 0;

	for (unsigned int family = 0; rc == 0 && family < AF_MAX; family++) {
		if (family != AF_INET && family != AF_INET6 && family != AF_NETLINK)
			rc = seccomp_rule_add(ctx, refuse, SCMP_SYS(socket), 1,
					      SCMP_A0(SCMP_CMP_EQ, family, 0));
	}
	return rc < 0 ? rc
		      : seccomp_rule_add(ctx, refuse, SCMP_SYS(socket), 1,
					 SCMP_A0(SCMP_CMP_GE, AF_MAX, 0));
}

/* MemoryDenyWriteExecute=yes */
static int add_memory(scmp_filter_ctx ctx)
{
	const uint32_t refuse = SCMP_ACT_ERRNO(EPERM);
	const scmp_datum_t wx = PROT_WRITE | PROT_EXEC;
	int rc =
	    seccomp_rule_add(ctx, refuse, SCMP_SYS(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, wx, wx));

	if (rc == 0)
		rc = seccomp_rule_add(ctx, refuse, SCMP_SYS(mprotect), 1,
				      SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC));
	if (rc == 0)
		rc = seccomp_rule_add(ctx, refuse, SCMP_SYS(pkey_mprotect), 1,
				      SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC));
	if (rc == 0)
		rc = seccomp_rule_add(ctx, refuse, SCMP_SYS(shmat), 1,
				      SCMP_A2(SCMP_CMP_MASKED_EQ, SHM_EXEC, SHM_EXEC));
	return rc;
}

static int filter_by_argument(int (*add)(scmp_filter_ctx ctx))
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	int rc = ctx ? add(ctx) : -ENOMEM;

	if (rc == 0)
		rc = seccomp_load(ctx);
	seccomp_release(ctx);
	return rc;
}

/* User=, CapabilityBoundingSet= and AmbientCapabilities=CAP_NET_ADMIN. */
static int become(unsigned int uid, unsigned int gid)
{
	if (setgroups(0, NULL) < 0)
		return -errno;
	capng_clear(CAPNG_SELECT_ALL);
	if (capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_INHERITABLE,
			 CAP_NET_ADMIN) != 0)
		return -EINVAL;
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++) {
		if (cap != CAP_NET_ADMIN && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return -errno;
	}
	if (capng_change_id((int)uid, (int)gid, CAPNG_NO_FLAG) != 0)
		return -EPERM;
	return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_ADMIN, 0, 0) < 0 ? -errno : 0;
}

static int set_up(const char *list, unsigned int uid, unsigned int gid)
{
	const struct rlimit files = {FILES, FILES}, no_core = {0, 0};
	int rc;

	if (setrlimit(RLIMIT_NOFILE, &files) < 0 || setrlimit(RLIMIT_CORE, &no_core) < 0)
		return -errno;
	rc = become(uid, gid);
	if (rc == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		rc = -errno;
	if (rc == 0)
		rc = filter_by_argument(add_families);
	if (rc == 0)
		rc = filter_by_argument(add_memory);
	if (rc == 0)
		rc = filter_by_argument(add_namespaces);
	/* Last, because it refuses to load another one. */
	return rc < 0 ? rc : filter_calls(list);
}

int main(int argc, char **argv)
{
	unsigned int uid, gid;
	char *rest;
	int rc;

	if (argc < 4) {
		fputs("usage: unit-filter LIST UID[:GID] COMMAND [ARGUMENT...]\n", stderr);
		return SETUP_FAILED;
	}
	uid = (unsigned int)strtoul(argv[2], &rest, 10);
	gid = *rest == ':' ? (unsigned int)strtoul(rest + 1, NULL, 10) : uid;
	rc = set_up(argv[1], uid, gid);
	if (rc < 0) {
		fprintf(stderr, "unit-filter: %s\n", strerror(-rc));
		return SETUP_FAILED;
	}
	execv(argv[3], argv + 3);
	fprintf(stderr, "unit-filter: %s: %s\n", argv[3], strerror(errno));
	return SETUP_FAILED;
}
