#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	MAX_CONDITIONS = 2
};

/* One way of calling one system call; a call with several rows may be made in each of these ways.
 */
struct rule {
	int call;
	unsigned int conditions;
	struct scmp_arg_cmp condition[MAX_CONDITIONS];
	const char *why; /* who calls it, and what for */
};

/* Every bit of @of may be set, no other. Negative ints would have high bits, so they never match.
 */
#define ONLY_BITS(arg, of)                                        \
	{                                                         \
		(arg), SCMP_CMP_MASKED_EQ, ~(scmp_datum_t)(of), 0 \
	}
#define IS(arg, value)                                       \
	{                                                    \
		(arg), SCMP_CMP_EQ, (scmp_datum_t)(value), 0 \
	}

#define ALWAYS(name, why)                                        \
	{                                                        \
		SCMP_SYS(name), 0, {{0, SCMP_CMP_EQ, 0, 0}}, why \
	}
#define WHEN(name, a, why)                  \
	{                                   \
		SCMP_SYS(name), 1, {a}, why \
	}
#define WHEN_BOTH(name, a, b, why)             \
	{                                      \
		SCMP_SYS(name), 2, {a, b}, why \
	}

#define MASKED(arg, mask, value)                           \
	{                                                  \
		(arg), SCMP_CMP_MASKED_EQ, (mask), (value) \
	}

#define SETFL_REFUSED (O_ASYNC | O_DIRECT | O_APPEND | O_NOATIME)

/* The architectures differ in which of two calls the C library makes. */
#ifdef __NR_epoll_wait
#define EPOLL_WAIT epoll_wait
#else
#define EPOLL_WAIT epoll_pwait
#endif
#ifdef __NR_poll
#define POLL poll
#else
#define POLL ppoll
#endif

static const struct rule rules[] = {
    ALWAYS(read, "loop: a packet and its header from the TUN; TLS; libevent's signal pipe; a file "
		 "from the helper"),
    ALWAYS(write, "log lines; TLS; libevent's signal pipe"),
    ALWAYS(readv, "libevent: a buffer's socket"),
    ALWAYS(writev, "loop: a packet with its header into the TUN; libevent: a buffer's socket"),
    ALWAYS(recvmsg, "helper_client: replies with descriptors; netlink; error queues"),
    ALWAYS(recvfrom, "netlink; a name server's answer"),
    ALWAYS(recvmmsg, "loop: a batch of datagrams"),
    /* Without MSG_FASTOPEN, which would be a connect. */
    WHEN(sendmsg, ONLY_BITS(2, MSG_NOSIGNAL | MSG_DONTWAIT),
	 "loop: a batch with UDP_SEGMENT; netlink; helper_client"),
    WHEN(sendto, ONLY_BITS(3, MSG_NOSIGNAL | MSG_DONTWAIT), "netlink; a query to a name server"),
    ALWAYS(EPOLL_WAIT, "libevent: sleep"),
    ALWAYS(epoll_ctl, "libevent: what to wake up for"),
    ALWAYS(POLL, "helper_client: at most a second for the reply"),
    WHEN(accept4, ONLY_BITS(3, SOCK_NONBLOCK | SOCK_CLOEXEC), "health endpoint, DNS over TCP"),
    ALWAYS(close, "descriptors that are done with"),
    ALWAYS(shutdown, "TLS and HTTP: end of a connection"),
    ALWAYS(getsockname, "loop: which local address a connection came to"),
    WHEN_BOTH(getsockopt, IS(1, SOL_SOCKET), IS(2, SO_ERROR), "libevent: how a connect ended"),
    WHEN_BOTH(getsockopt, IS(1, SOL_SOCKET), IS(2, SO_TYPE),
	      "helper_client: kind of a received socket"),
    WHEN_BOTH(getsockopt, IS(1, SOL_SOCKET), IS(2, SO_DOMAIN),
	      "helper_client: kind of a received socket"),
    WHEN_BOTH(getsockopt, IS(1, SOL_SOCKET), IS(2, SO_PROTOCOL),
	      "helper_client: kind of a received socket"),
    ALWAYS(fstat, "helper_client: kind of a received file"),
    WHEN(ioctl, IS(1, FIONREAD), "libevent: how much a socket holds"),
    WHEN(fcntl, IS(1, F_GETFL), "libevent: is it non-blocking"),
    WHEN_BOTH(fcntl, IS(1, F_SETFL), MASKED(2, O_NONBLOCK | SETFL_REFUSED, O_NONBLOCK),
	      "libevent: make it non-blocking"),
    WHEN(fcntl, IS(1, F_GETFD), "libevent: is it close-on-exec"),
    WHEN_BOTH(fcntl, IS(1, F_SETFD), IS(2, FD_CLOEXEC), "libevent: make it close-on-exec"),
    WHEN_BOTH(mmap, IS(2, PROT_READ | PROT_WRITE), IS(3, MAP_PRIVATE | MAP_ANONYMOUS),
	      "malloc: where the heap cannot grow (it never unmaps, see main.c)"),
    ALWAYS(brk, "malloc: the heap"),
    WHEN(futex, IS(1, FUTEX_WAKE | FUTEX_PRIVATE_FLAG), "OpenSSL: end of a pthread_once()"),
    ALWAYS(clock_gettime, "the clock where the vDSO has none"),
    ALWAYS(gettimeofday, "libevent: the clock where the vDSO has none"),
    ALWAYS(getpid, "OpenSSL's generator: has it forked"),
    ALWAYS(getrandom, "libsodium, OpenSSL: seeds"),
    ALWAYS(rt_sigreturn, "end of a signal handler"),
    ALWAYS(restart_syscall, "poll() after SIGSTOP and SIGCONT"),
    ALWAYS(exit_group, "the end"),
};

/*
 * The C library makes fstat() a newfstatat(), which takes a path. Here it is its own system call;
 * this definition comes before the library's in every program that has the prison.
 */
int fstat(int fd, struct stat *st)
{
	return (int)syscall(SYS_fstat, fd, st);
}

size_t sandbox_allowed_calls(size_t *by_argument)
{
	size_t calls = 0;

	*by_argument = 0;
	for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
		if (i > 0 && rules[i].call == rules[i - 1].call)
			continue;
		calls++;
		*by_argument += rules[i].conditions > 0;
	}
	return calls;
}

static int fail(struct sandbox *sb, int error)
{
	snprintf(sb->err, sizeof(sb->err),
		 "The worker's prison is not to be had: seccomp (%s): the kernel needs "
		 "CONFIG_SECCOMP_FILTER.",
		 strerror(error));
	return -error;
}

#ifdef FZGW_TRAP
/* Debug builds say what was refused. SIGSYS is blocked in here, so that the second refused call
 * ends the process by it. */
static void name_call(int signal, siginfo_t *info, void *context)
{
	char line[128];
	char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, info->si_syscall);
	int len =
	    snprintf(line, sizeof(line), "firezone-gateway-worker: refused system call %s (%d)\n",
		     name ? name : "?", info->si_syscall);

	(void)signal;
	(void)context;
	(void)!write(STDERR_FILENO, line, (size_t)len);
	syscall(SYS_tgkill, -1, -1, -1);
	_exit(1);
}

static int refuse(uint32_t *action)
{
	struct sigaction act = {.sa_sigaction = name_call, .sa_flags = SA_SIGINFO};

	*action = SCMP_ACT_TRAP;
	return sigaction(SIGSYS, &act, NULL) < 0 ? -errno : 0;
}
#else
static int refuse(uint32_t *action)
{
	/* The thread, which is the process: killing "the process" needs seccomp(2), which some
	 * units refuse. */
	*action = SCMP_ACT_KILL_THREAD;
	return 0;
}
#endif

#ifndef FZGW_CHECKED
static int add_rules(scmp_filter_ctx ctx, uint32_t action)
{
	int rc = 0;

	(void)action;
	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(rules); i++)
		rc = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, rules[i].call, rules[i].conditions,
					    rules[i].condition);
	return rc;
}

static uint32_t unnamed_calls(uint32_t action)
{
	return action;
}
#else
/*
 * A build for sanitizers and Valgrind, which open files, map memory and start threads of their own
 * inside the worker. It refuses only what would reach beyond the process. Never installed: cmake
 * sets it with FZGW_ASAN or FZGW_CHECKED only.
 */
static int add_rules(scmp_filter_ctx ctx, uint32_t action)
{
	static const int refused[] = {
	    SCMP_SYS(socket),   SCMP_SYS(socketpair), SCMP_SYS(bind),
	    SCMP_SYS(connect),  SCMP_SYS(listen),     SCMP_SYS(execve),
	    SCMP_SYS(execveat), SCMP_SYS(setsockopt), SCMP_SYS(io_uring_setup),
	};
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(refused); i++)
		rc = seccomp_rule_add(ctx, action, refused[i], 0);
	return rc;
}

static uint32_t unnamed_calls(uint32_t action)
{
	(void)action;
	return SCMP_ACT_ALLOW;
}
#endif

int sandbox_seccomp(struct sandbox *sb)
{
	scmp_filter_ctx ctx;
	uint32_t action;
	int rc = refuse(&action);

	if (rc < 0)
		return fail(sb, -rc);
	/* Level 1: the filter goes in through prctl(). */
	if (seccomp_api_set(1) < 0)
		return fail(sb, EOPNOTSUPP);
	ctx = seccomp_init(unnamed_calls(action));
	if (!ctx)
		return fail(sb, ENOMEM);
	rc = add_rules(ctx, action);
	if (rc == 0)
		rc = seccomp_load(ctx);
	/* Only reached inside, so it must not call what the filter refuses: freeing does not. */
	seccomp_release(ctx);
	return rc < 0 ? fail(sb, -rc) : 0;
}
