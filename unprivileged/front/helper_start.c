#include "front/helper_start.h"

#include "front/process.h"
#include "helper_client.h"
#include "ipc/fd_pass.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

/* A helper that starts slowly (a busy machine, a checking build) is given this long beyond the
 * first second. */
enum {
	GREETING_MS = 15000,
	FD_EXEC_ERROR = 5
};

static const char helper_name[] = "firezone-gateway-helper";
static const char tun_device[] = "/dev/net/tun";

int helper_start_check_file(const char *path, char *err, size_t err_len)
{
	struct stat st;
	int rc = stat(path, &st) < 0 ? -errno : 0;

	if (rc == -EACCES) {
		snprintf(err, err_len,
			 "The helper %s cannot be reached: let this user search the directories "
			 "above it.",
			 path);
	} else if (rc < 0) {
		snprintf(err, err_len,
			 "The helper %s is missing (%s): install firezone-gateway again.", path,
			 strerror(-rc));
	} else if (!S_ISREG(st.st_mode) || st.st_uid != 0 || (st.st_mode & (S_IWGRP | S_IWOTH))) {
		rc = -EPERM;
		snprintf(
		    err, err_len,
		    "The helper %s is not safe to run, because others than root can change it: run "
		    "`chown root:firezone %s && chmod 0750 %s && setcap cap_net_admin=p %s`.",
		    path, path, path, path);
	} else if (faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0) {
		rc = -errno;
		snprintf(err, err_len,
			 "This user may not execute the helper %s: give it mode 0750 and make the "
			 "user a member "
			 "of the group that owns it.",
			 path);
	}
	return rc;
}

/* In the child. The error pipe tells the parent why the exec failed; a successful exec closes it.
 */
static _Noreturn void become_helper(const char *path, int socket, int audit_fd, int error_fd)
{
	char *argv[] = {(char[]){"firezone-gateway-helper"}, NULL};
	char *environment[] = {NULL};
	const int from[] = {socket, audit_fd, error_fd};
	const int ignored[] = {0};
	int error;

	error = -process_place_fds(from, ARRAY_LEN(from), IPC_FD_SOCKET);
	if (error == 0) {
		error_fd = FD_EXEC_ERROR;
		error = fcntl(error_fd, F_SETFD, FD_CLOEXEC) < 0 ? errno : 0;
	}
	if (error == 0) {
		process_reset_signals(ignored);
		execve(path, argv, environment);
		error = errno;
	}
	(void)!write(error_fd, &error, sizeof(error));
	_exit(127);
}

/* The child's pid, or a negative errno: of the fork or of the exec. */
static pid_t spawn(const char *path, int socket, int audit_fd)
{
	int error_pipe[2], error = 0;
	pid_t pid;
	ssize_t n;

	if (pipe2(error_pipe, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (pid == 0)
		become_helper(path, socket, audit_fd, error_pipe[1]);
	error = pid < 0 ? errno : 0;
	close(error_pipe[1]);
	do {
		n = read(error_pipe[0], &error, sizeof(error));
	} while (n < 0 && errno == EINTR);
	close(error_pipe[0]);
	if (error != 0 && pid > 0)
		waitpid(pid, NULL, 0);
	return error != 0 ? -error : pid;
}

static void explain_spawn(const char *path, int error, char *err, size_t err_len)
{
	if (error == EPERM)
		snprintf(err, err_len,
			 "The helper %s may not be executed, because its file demands a capability "
			 "that this process "
			 "cannot give: run `setcap cap_net_admin=p %s` (p, not ep).",
			 path, path);
	else
		snprintf(err, err_len, "The helper %s cannot be executed: %s.", path,
			 strerror(error));
}

/* The reply that came later than helper_hello() waits. */
static int late_reply(struct helper_client *client, struct ipc_hello_reply *hello)
{
	struct pollfd pfd = {.fd = client->fd, .events = POLLIN};
	struct fd_pass_message message;
	struct ipc_reply reply;
	int rc;

	if (poll(&pfd, 1, GREETING_MS) != 1)
		return -ETIMEDOUT;
	rc = fd_pass_receive(client->fd, &reply, sizeof(reply), &message);
	if (rc < 0)
		return rc;
	if (message.len == 0)
		return -ECONNRESET;
	fd_pass_close(&message);
	if (message.len != sizeof(reply) || message.fd_count != 0 || reply.type != IPC_HELLO ||
	    reply.seq != client->seq)
		return -EPROTO;
	*hello = reply.hello;
	return -reply.error;
}

/* Why nobody gave the helper its capability, as far as this process can see. */
static void explain_capability(const char *path, char *err, size_t err_len)
{
	struct statvfs fs;
	const char *remedy = "run";

	if (prctl(PR_CAPBSET_READ, CAP_NET_ADMIN, 0, 0, 0) == 0)
		remedy =
		    "it is not in the bounding set of this process (containers: --cap-add "
		    "NET_ADMIN; systemd: "
		    "CapabilityBoundingSet= and AmbientCapabilities=CAP_NET_ADMIN); elsewhere run";
	else if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
		remedy = "no_new_privs makes file capabilities void here, so give it as an ambient "
			 "capability "
			 "(systemd: AmbientCapabilities=CAP_NET_ADMIN), or start without "
			 "no_new_privs and run";
	else if (statvfs(path, &fs) == 0 && (fs.f_flag & ST_NOSUID))
		remedy = "the helper is on a file system mounted nosuid, which makes file "
			 "capabilities void: install it "
			 "elsewhere and run";
	snprintf(err, err_len,
		 "The helper has no CAP_NET_ADMIN: %s `setcap cap_net_admin=p %s` as root.", remedy,
		 path);
}

static void explain_tun(int error, char *err, size_t err_len)
{
	if (error == EACCES || error == EPERM)
		snprintf(err, err_len,
			 "The helper may not open %s: let this user read and write it (udev makes "
			 "it mode 0666), or "
			 "in a container allow the device.",
			 tun_device);
	else
		snprintf(err, err_len,
			 "The helper cannot open %s (%s): run `modprobe tun`, or in a container "
			 "pass --device %s.",
			 tun_device, strerror(error), tun_device);
}

static int judge(const char *path, const struct ipc_hello_reply *hello, char *err, size_t err_len)
{
	if (!(hello->capabilities & IPC_CAP_NET_ADMIN)) {
		explain_capability(path, err, err_len);
		return -EPERM;
	}
	if (hello->tun_error != 0) {
		explain_tun(hello->tun_error, err, err_len);
		return -hello->tun_error;
	}
	return 0;
}

/* After a greeting that failed: the pair's end is closed, so the helper ends. */
static void explain_greeting(pid_t pid, const char *path, int rc, char *err, size_t err_len)
{
	int status = 0;

	if (rc != -ECONNRESET)
		kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	if (rc == -ETIMEDOUT)
		snprintf(err, err_len,
			 "The helper %s did not answer: install firezone-gateway again.", path);
	else if (rc == -ECONNRESET && WIFSIGNALED(status))
		snprintf(
		    err, err_len,
		    "The helper %s died at its start (%s): install firezone-gateway again, for "
		    "this kernel.",
		    path, strsignal(WTERMSIG(status)));
	else if (rc == -ECONNRESET)
		snprintf(err, err_len,
			 "The helper %s ended at its start: its audit log has no room "
			 "(FIREZONE_AUDIT_LOG), or the kernel refuses it seccomp or netlink.",
			 path);
	else if (rc == -EPROTO || rc == -EPROTONOSUPPORT)
		snprintf(err, err_len,
			 "The helper %s is of another version: install firezone-gateway again.",
			 path);
	else
		snprintf(err, err_len, "The helper %s did not accept its policy: %s.", path,
			 strerror(-rc));
}

static int greet(const char *path, pid_t pid, const struct ipc_policy *policy, bool check,
		 struct helper_start *out, char *err, size_t err_len)
{
	struct helper_client client = {.fd = out->socket};
	int rc = helper_hello(&client, policy, &out->hello);

	if (rc == -ETIMEDOUT)
		rc = late_reply(&client, &out->hello);
	out->seq = client.seq;
	if (rc == 0)
		rc = check ? judge(path, &out->hello, err, err_len) : 0;
	else
		err[0] = '\0';
	if (rc == 0)
		return 0;
	close(out->socket);
	out->socket = -1;
	if (err[0] == '\0')
		explain_greeting(pid, path, rc, err, err_len);
	else
		waitpid(pid, NULL, 0);
	return rc;
}

int helper_start(const char *path, const struct ipc_policy *policy, int audit_fd, bool check,
		 struct helper_start *out, char *err, size_t err_len)
{
	int pair[2];
	pid_t pid;
	int rc = helper_start_check_file(path, err, err_len);

	if (rc < 0)
		return rc;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		rc = -errno;
		snprintf(err, err_len, "Cannot make the socket pair for %s: %s.", helper_name,
			 strerror(-rc));
		return rc;
	}
	pid = spawn(path, pair[1], audit_fd);
	close(pair[1]);
	if (pid < 0) {
		close(pair[0]);
		explain_spawn(path, -pid, err, err_len);
		return pid;
	}
	*out = (struct helper_start){.socket = pair[0]};
	return greet(path, pid, policy, check, out, err, err_len);
}
