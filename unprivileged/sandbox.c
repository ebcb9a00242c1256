#include "sandbox.h"

#include "caps.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Landlock as of Linux 6.12; Debian 12's headers are older, the numbers are the same on every
 * architecture. */
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_restrict_self  446
#endif

enum {
	NET_DEV_HEADING = 2, /* lines of /proc/net/dev */
	/* Each descriptor may hold a port of the host and kernel memory; the vendor's unit has the
	 * same. */
	MAX_FILES = 4096,
};

enum landlock {
	LANDLOCK_GET_VERSION = 1,
	LANDLOCK_ABI_REFER = 2,
	LANDLOCK_ABI_TRUNCATE = 3,
	LANDLOCK_ABI_TCP = 4,
	LANDLOCK_ABI_IOCTL = 5,
	LANDLOCK_ABI_SCOPE = 6,
	/* Rights to files: 13 in ABI 1 and one more in each of 2, 3 and 5, lowest bits first. */
	LANDLOCK_FS_ABI_1 = 13,
	LANDLOCK_TCP_ALL = 3,   /* bind and connect */
	LANDLOCK_SCOPE_ALL = 3, /* abstract sockets and signals */
};

struct landlock_ruleset {
	uint64_t handled_fs, handled_net, scoped;
};

static int fail(struct sandbox *sb, int error, const char *what, const char *remedy)
{
	snprintf(sb->err, sizeof(sb->err), "The worker's prison is not to be had: %s (%s): %s.",
		 what, strerror(error), remedy);
	return -error;
}

const char *sandbox_lack_text(enum sandbox_lack lack)
{
	switch (lack) {
	case SANDBOX_LACKS_NETWORK:
		return "The worker shares the host's network namespace: allow user namespaces to "
		       "wall it off";
	case SANDBOX_LACKS_BOUNDING:
		return "The worker's capability bounding set could not be emptied; no_new_privs "
		       "makes it void";
	case SANDBOX_LACKS_LANDLOCK_FILES:
		return "The worker runs without Landlock's file rules: they need Linux 5.13 and a "
		       "host that allows them";
	case SANDBOX_LACKS_LANDLOCK_TCP:
		return "The worker runs without Landlock's TCP rules: they need Linux 6.7";
	case SANDBOX_LACKS_LANDLOCK_SCOPE:
		return "The worker runs without Landlock's signal rules: they need Linux 6.12";
	case SANDBOX_LACK_END:
		break;
	}
	return "";
}

/*
 * True if lo is the only interface of this network namespace. Read from /proc, since asking the
 * kernel would take a socket, which a security module or the service manager may refuse: two
 * heading lines, then one line an interface.
 */
static bool only_loopback(void)
{
	FILE *file = fopen("/proc/self/net/dev", "re");
	char line[512];
	size_t lines = 0, others = 0;

	if (!file)
		return false;
	while (fgets(line, sizeof(line), file)) {
		lines++;
		others +=
		    lines > NET_DEV_HEADING && strncmp(line + strspn(line, " "), "lo:", 3) != 0;
	}
	fclose(file);
	return lines > NET_DEV_HEADING && others == 0;
}

/* Which network namespace this is; 0 if that is not to be seen. */
static ino_t network(void)
{
	struct stat st;

	return stat("/proc/self/ns/net", &st) < 0 ? 0 : st.st_ino;
}

/* A new namespace is empty but for fallback tunnels that lead nowhere (sit0, tunl0), where such
 * modules are loaded. */
int sandbox_namespaces(struct sandbox *sb)
{
	const ino_t before = network();
	int error = EPERM;

	if (sb->may_unshare)
		error = unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0 ? errno : 0;
	if (only_loopback() || (error == 0 && before != 0 && network() != 0 && network() != before))
		return 0;
	sb->lacks |= SANDBOX_LACKS_NETWORK;
	if (sb->strict)
		return fail(sb, error != 0 ? error : EPERM, "no empty network namespace",
			    "allow user namespaces, or leave out FIREZONE_SANDBOX=strict");
	return 0;
}

int sandbox_capabilities(struct sandbox *sb)
{
	int rc;

	if (!caps_empty_bounding_set())
		sb->lacks |= SANDBOX_LACKS_BOUNDING;
	rc = caps_drop();
	return rc < 0 ? fail(sb, -rc, "capabilities remain", "start it through firezone-gateway")
		      : 0;
}

static int set_limit(__rlimit_resource_t resource, rlim_t value)
{
	struct rlimit limit = {value, value};

	if (setrlimit(resource, &limit) < 0 || getrlimit(resource, &limit) < 0)
		return -errno;
	return limit.rlim_cur == value && limit.rlim_max == value ? 0 : -EPERM;
}

/*
 * Where the hard limit cannot be lowered (an emulator's own descriptors lie behind it) the soft one
 * must do; the filter allows nothing that could raise it again.
 */
static int limit_files(void)
{
	struct rlimit limit;
	rlim_t wanted;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -errno;
	wanted = limit.rlim_max < MAX_FILES ? limit.rlim_max : MAX_FILES;
	if (set_limit(RLIMIT_NOFILE, wanted) == 0)
		return 0;
	limit.rlim_cur = wanted;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0 || getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -errno;
	return limit.rlim_cur == wanted ? 0 : -EPERM;
}

static bool is_regular(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

int sandbox_limits(struct sandbox *sb)
{
	int rc;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return fail(sb, EPERM, "no_new_privs", "the kernel is too old");
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0)
		return fail(sb, EPERM, "the process stays dumpable", "the kernel is too old");
	rc = set_limit(RLIMIT_CORE, 0);
	if (rc == 0)
		rc = limit_files();
#ifndef FZGW_CHECKED
	if (rc == 0)
		rc = set_limit(RLIMIT_NPROC, 0);
	/* The limit would end the process at the first line of a log that goes into a file. */
	if (rc == 0 && !is_regular(STDOUT_FILENO) && !is_regular(STDERR_FILENO))
		rc = set_limit(RLIMIT_FSIZE, 0);
#else
	(void)is_regular;
#endif
	return rc < 0 ? fail(sb, -rc, "resource limits", "start it through firezone-gateway") : 0;
}

static struct landlock_ruleset landlock_all(long abi)
{
	int fs = LANDLOCK_FS_ABI_1;

	fs += (abi >= LANDLOCK_ABI_REFER) + (abi >= LANDLOCK_ABI_TRUNCATE) +
	      (abi >= LANDLOCK_ABI_IOCTL);
	return (struct landlock_ruleset){
	    .handled_fs = (UINT64_C(1) << fs) - 1,
	    .handled_net = abi >= LANDLOCK_ABI_TCP ? LANDLOCK_TCP_ALL : 0,
	    .scoped = abi >= LANDLOCK_ABI_SCOPE ? LANDLOCK_SCOPE_ALL : 0,
	};
}

/* Files are really out of reach: reading the root directory is refused. */
static bool landlock_works(void)
{
	int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return errno == EACCES;
	close(fd);
	return false;
}

static int landlock_restrict(long abi)
{
	struct landlock_ruleset rules = landlock_all(abi);
	size_t size = abi >= LANDLOCK_ABI_SCOPE ? sizeof(rules)
		      : abi >= LANDLOCK_ABI_TCP ? offsetof(struct landlock_ruleset, scoped)
						: offsetof(struct landlock_ruleset, handled_net);
	int rc = 0;
	int fd = (int)syscall(SYS_landlock_create_ruleset, &rules, size, 0);

	if (fd < 0)
		return -errno;
	if (syscall(SYS_landlock_restrict_self, fd, 0) < 0)
		rc = -errno;
	else if (!landlock_works())
		rc = -EPERM;
	close(fd);
	return rc;
}

int sandbox_landlock(struct sandbox *sb)
{
	long abi = -1;
	int rc = -EOPNOTSUPP;

#ifndef FZGW_CHECKED
	if (sb->may_landlock)
		abi = syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, LANDLOCK_GET_VERSION);
#endif
	if (abi >= 1)
		rc = landlock_restrict(abi);
	if (rc < 0) {
		sb->lacks |= SANDBOX_LACKS_LANDLOCK_FILES;
		if (sb->strict)
			return fail(
			    sb, -rc, "no Landlock",
			    "enable it in the kernel, or leave out FIREZONE_SANDBOX=strict");
		return 0;
	}
	if (abi < LANDLOCK_ABI_TCP)
		sb->lacks |= SANDBOX_LACKS_LANDLOCK_TCP;
	if (abi < LANDLOCK_ABI_SCOPE)
		sb->lacks |= SANDBOX_LACKS_LANDLOCK_SCOPE;
	return 0;
}

int sandbox_enter(struct sandbox *sb)
{
	int (*const stages[])(struct sandbox *) = {
	    sandbox_namespaces, sandbox_capabilities, sandbox_limits,
	    sandbox_landlock,   sandbox_seccomp,
	};
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(stages); i++)
		rc = stages[i](sb);
	return rc;
}
