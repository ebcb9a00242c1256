#include "front/process.h"

#include "caps.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Older headers have no number for it; it is the same on every architecture. */
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#endif

enum {
	NOBODY = 65534,
	FIRST_SPARE_FD = 16, /* behind every place that is filled */
	LANDLOCK_VERSION_FLAG = 1
};

int process_open_stdio(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR | O_NOCTTY);
		if (fd < 0)
			return -errno;
	} while (fd <= STDERR_FILENO);
	close(fd);
	return 0;
}

int process_place_fds(const int *fds, size_t n, int first)
{
	int spare[8];
	size_t i;

	BUG_ON(n > ARRAY_LEN(spare) || first + (int)n > FIRST_SPARE_FD);
	/* Out of each other's way first, then into their places. */
	for (i = 0; i < n; i++) {
		spare[i] = fds[i] < 0 ? -1 : fcntl(fds[i], F_DUPFD_CLOEXEC, FIRST_SPARE_FD);
		if (fds[i] >= 0 && spare[i] < 0)
			return -errno;
	}
	for (i = 0; i < n; i++) {
		if (spare[i] < 0)
			close(first + (int)i);
		else if (dup2(spare[i], first + (int)i) < 0)
			return -errno;
	}
	closefrom(first + (int)n);
	return 0;
}

void process_reset_signals(const int *ignored)
{
	struct sigaction act = {.sa_handler = SIG_DFL};
	sigset_t none;

	for (int i = 1; i < NSIG; i++)
		(void)!sigaction(i, &act, NULL);
	act.sa_handler = SIG_IGN;
	for (; *ignored != 0; ignored++)
		(void)!sigaction(*ignored, &act, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

void process_manager_environment(char **environment, char *out[PROCESS_MANAGER_VARS + 1])
{
	static const char *const names[PROCESS_MANAGER_VARS] = {
	    "NOTIFY_SOCKET=", "WATCHDOG_PID=",   "WATCHDOG_USEC=",
	    "INVOCATION_ID=", "JOURNAL_STREAM=",
	};
	size_t n = 0;

	for (size_t i = 0; i < PROCESS_MANAGER_VARS; i++) {
		for (char **at = environment; *at; at++) {
			if (strncmp(*at, names[i], strlen(names[i])) == 0) {
				out[n++] = *at;
				break;
			}
		}
	}
	out[n] = NULL;
}

static int change_user(char *err, size_t err_len)
{
	struct passwd *entry = getpwnam("firezone");
	uid_t uid = entry && entry->pw_uid != 0 ? entry->pw_uid : NOBODY;
	gid_t gid = entry && entry->pw_uid != 0 && entry->pw_gid != 0 ? entry->pw_gid : NOBODY;
	int rc = 0;

	if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		rc = -errno;
	if (rc == 0 && setuid(0) == 0)
		rc = -EPERM;
	if (rc < 0)
		snprintf(err, err_len,
			 "Cannot change from root to the user %u (%s): keep CAP_SETUID and "
			 "CAP_SETGID, or start as an "
			 "ordinary user.",
			 uid, strerror(-rc));
	return rc;
}

int process_shed(bool own_netns, char *err, size_t err_len)
{
	bool root = getuid() == 0 || geteuid() == 0;
	int rc;

	if (root && own_netns)
		(void)!unshare(CLONE_NEWNET);
	/* Where this is refused, no_new_privs in the worker makes the set void. */
	(void)caps_empty_bounding_set();
	if (root) {
		rc = change_user(err, err_len);
		if (rc < 0)
			return rc;
	}
	rc = caps_drop();
	/* A change of user sets what fs.suid_dumpable says. */
	if (rc == 0 && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		rc = -errno;
	if (rc < 0)
		snprintf(err, err_len,
			 "Cannot give up the capabilities of this process: start it as an ordinary "
			 "user.");
	return rc;
}

/* True if the child ran @attempt to its end and that said yes. */
static bool try_in_child(bool (*attempt)(void))
{
	const struct rlimit no_core = {0, 0};
	int status = 0;
	pid_t pid = fork();

	if (pid < 0)
		return false;
	if (pid == 0) {
		(void)!setrlimit(RLIMIT_CORE, &no_core);
		_exit(attempt() ? 0 : 1);
	}
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return false;
	}
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool attempt_unshare(void)
{
	char err[256];

	return process_shed(false, err, sizeof(err)) == 0 &&
	       unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0;
}

static bool attempt_landlock(void)
{
	return syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, LANDLOCK_VERSION_FLAG) > 0;
}

bool process_may_unshare(void)
{
	return try_in_child(attempt_unshare);
}

bool process_may_landlock(void)
{
	return try_in_child(attempt_landlock);
}
