#include "privileged/sandbox.h"

#include "privileged/helper.h"

#include <cap-ng.h>
#include <limits.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <malloc.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

struct rule {
	int call;
	unsigned int compares; /* 1: argument @index with @value; 2: and argument 2 with 0 */
	unsigned int index;
	unsigned int value;
};

/* All that runs after the start, 16 calls with setsockopt(), whose levels and names sockets.c
 * lists. */
static const struct rule rules[] = {
    {SCMP_SYS(recvmsg), 0, 0, 0},          /* main: requests; netconfig: the kernel's answers */
    {SCMP_SYS(sendmsg), 0, 0, 0},          /* main: replies; netconfig: changes; audit */
    {SCMP_SYS(ppoll), 0, 0, 0},            /* audit: is there room */
    {SCMP_SYS(write), 1, 0, IPC_FD_AUDIT}, /* audit: a log that is no socket */
    {SCMP_SYS(openat), 1, 2, O_RDONLY | HELPER_OPEN_FLAGS}, /* main: file-open */
    {SCMP_SYS(statx), 0, 0, 0},         /* main: is it a regular file, how large */
    {SCMP_SYS(close), 0, 0, 0},         /* main, tun: descriptors that were sent or not needed */
    {SCMP_SYS(ioctl), 1, 1, TUNSETIFF}, /* tun */
    {SCMP_SYS(ioctl), 1, 1, TUNSETVNETHDRSZ}, /* tun */
    {SCMP_SYS(ioctl), 1, 1, TUNSETOFFLOAD},   /* tun */
    {SCMP_SYS(ioctl), 1, 1, SIOCGIFINDEX},    /* tun: the new interface's number */
    {SCMP_SYS(socket), 2, 0, AF_INET},        /* sockets: UDP and TCP */
    {SCMP_SYS(socket), 2, 0, AF_INET6},       /* sockets: UDP and TCP */
    {SCMP_SYS(socket), 2, 0, AF_NETLINK},     /* sockets: route-open; protocol NETLINK_ROUTE */
    {SCMP_SYS(bind), 0, 0, 0},          /* sockets: peer port, TCP source, DNS listener, netlink */
    {SCMP_SYS(connect), 0, 0, 0},       /* sockets: tcp-connect */
    {SCMP_SYS(listen), 0, 0, 0},        /* sockets: dns-listen */
    {SCMP_SYS(clock_gettime), 0, 0, 0}, /* rates and time stamps, where the vDSO has no clock */
    {SCMP_SYS(capset), 0, 0, 0},        /* sandbox_raise() */
    {SCMP_SYS(exit_group), 0, 0, 0},    /* main */
};

int sandbox_trim(uint32_t *caps)
{
	if (capng_get_caps_process() < 0)
		return -EPERM;
	*caps = capng_have_capability(CAPNG_PERMITTED, CAP_NET_ADMIN) ? IPC_CAP_NET_ADMIN : 0;
	capng_clear(CAPNG_SELECT_ALL);
	/* The bounding set needs CAP_SETPCAP, which only root has; no_new_privs makes it void for
	 * others. */
	(void)capng_apply(CAPNG_SELECT_BOUNDS);
	if (*caps)
		(void)capng_update(CAPNG_ADD, CAPNG_PERMITTED, CAP_NET_ADMIN);
	/* An ambient capability goes when it is no longer inheritable. */
	return capng_apply(CAPNG_SELECT_CAPS) < 0 ? -EPERM : 0;
}

void sandbox_raise(bool up)
{
	(void)capng_update(up ? CAPNG_ADD : CAPNG_DROP, CAPNG_EFFECTIVE, CAP_NET_ADMIN);
	if (capng_apply(CAPNG_SELECT_CAPS) < 0 && !up)
		_exit(1);
}

int sandbox_enter(void)
{
	uint64_t ignored = 1 << SIGINT | 1 << SIGTERM | 1 << SIGHUP | 1 << SIGXFSZ | 1 << SIGPIPE;
	const struct rlimit no_core = {0, 0};
	sigset_t none;

	for (int fd = 0; fd <= IPC_FD_AUDIT; fd++) {
		if (fcntl(fd, F_GETFD) < 0)
			return -EBADF; /* or a descriptor made later would take its place */
	}
	closefrom(IPC_FD_AUDIT + 1);
	/* SIGKILL, SIGSTOP and the C library's own two refuse, and need nothing. */
	for (int number = 1; number < NSIG - 1; number++)
		(void)signal(number, ignored >> number & 1 ? SIG_IGN : SIG_DFL);
	sigemptyset(&none);
	if (sigprocmask(SIG_SETMASK, &none, NULL) < 0 || clearenv() != 0 || chdir("/") < 0 ||
	    setrlimit(RLIMIT_CORE, &no_core) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -EPERM;
	return 0;
}

static int add_rules(scmp_filter_ctx filter)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < sizeof(rules) / sizeof(rules[0]); i++)
		rc = seccomp_rule_add(
		    filter, SCMP_ACT_ALLOW, rules[i].call, rules[i].compares,
		    SCMP_CMP(rules[i].index, SCMP_CMP_MASKED_EQ, UINT32_MAX, rules[i].value),
		    SCMP_A2(SCMP_CMP_MASKED_EQ, UINT32_MAX, 0));
	for (size_t i = 0; rc == 0 && i < SOCKET_OPTIONS; i++)
		rc = seccomp_rule_add(
		    filter, SCMP_ACT_ALLOW, SCMP_SYS(setsockopt), 2,
		    SCMP_A1(SCMP_CMP_MASKED_EQ, UINT32_MAX, sockets_options[i].level),
		    SCMP_A2(SCMP_CMP_MASKED_EQ, UINT32_MAX, sockets_options[i].name));
	return rc;
}

int sandbox_seal(void)
{
	scmp_filter_ctx filter;
	int rc;

	/* What libseccomp frees after loading must not lead to a system call. */
	mallopt(M_TRIM_THRESHOLD, INT_MAX);
	/* Level 1 loads by prctl(2): an outer filter may kill at seccomp(2). */
	if (seccomp_api_set(1) < 0)
		return -EINVAL;
	filter = seccomp_init(SCMP_ACT_KILL_THREAD); /* ends the process: it has one thread */
	rc = filter ? add_rules(filter) : -ENOMEM;
	/* The filter's memory stays: nothing is to be freed from here on. */
	return rc < 0 ? rc : seccomp_load(filter);
}
