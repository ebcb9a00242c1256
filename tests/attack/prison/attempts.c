#include "attempts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/futex.h>
#include <linux/if_tun.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Raw calls throughout: the C library would add its own, and some have no wrapper. */
#define TRY(tag, ...)                                  \
	static long try_##tag(const struct loot *loot) \
	{                                              \
		(void)loot;                            \
		return syscall(__VA_ARGS__);           \
	}

#define SYS_IO_URING_SETUP 425
#define SYS_PIDFD_OPEN     434
#define SYS_CLONE3         435
#define SYS_OPENAT2        437
#define SYS_PIDFD_GETFD    438
#define SYS_LANDLOCK       444

static const struct sockaddr_in somewhere = {
    .sin_family = AF_INET, .sin_port = 0x3500, .sin_addr = {0x0100007f}};
static const int one = 1;
static struct ifreq request = {.ifr_name = "lo"};
static char page[4096] __attribute__((aligned(4096)));

/* New descriptors. */
TRY(socket, SYS_socket, AF_INET, SOCK_DGRAM, 0)
TRY(socket_netlink, SYS_socket, AF_NETLINK, SOCK_RAW, 0)
TRY(socket_unix, SYS_socket, AF_UNIX, SOCK_STREAM, 0)
TRY(socket_packet, SYS_socket, AF_PACKET, SOCK_RAW, 0)
TRY(socketpair, SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, page)
TRY(open, SYS_open, "/etc/passwd", O_RDONLY)
TRY(openat, SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY)
TRY(openat2, SYS_OPENAT2, AT_FDCWD, "/etc/passwd", page, 24)
TRY(creat, SYS_creat, "/tmp/x", 0600)
TRY(open_proc, SYS_open, "/proc/self/maps", O_RDONLY)
TRY(open_proc_parent, SYS_openat, AT_FDCWD, "/proc/1/environ", O_RDONLY)
TRY(memfd, SYS_memfd_create, "x", 0)
TRY(pipe, SYS_pipe2, page, 0)
TRY(dup, SYS_dup, 0)
TRY(dup2, SYS_dup2, 0, 9)
TRY(epoll_create, SYS_epoll_create1, 0)
TRY(eventfd, SYS_eventfd2, 0, 0)
TRY(signalfd, SYS_signalfd4, -1, page, 8, 0)
TRY(timerfd, SYS_timerfd_create, 0, 0)
TRY(inotify, SYS_inotify_init1, 0)
TRY(userfaultfd, SYS_userfaultfd, 0)
TRY(bpf, SYS_bpf, BPF_MAP_CREATE, page, 64)
TRY(perf_event, SYS_perf_event_open, page, 0, -1, -1, 0)
TRY(io_uring, SYS_IO_URING_SETUP, 8, page)
TRY(pidfd_open, SYS_PIDFD_OPEN, syscall(SYS_getpid), 0)
TRY(pidfd_getfd, SYS_PIDFD_GETFD, 3, 0, 0)
TRY(handle, SYS_open_by_handle_at, AT_FDCWD, page, 0)

/* Other programs and processes. */
static long try_exec(const struct loot *loot)
{
	char *argv[] = {page, NULL};

	(void)loot;
	return syscall(SYS_execve, "/bin/true", argv, argv + 1);
}

TRY(execveat, SYS_execveat, AT_FDCWD, "/bin/true", page, page, 0)
TRY(fork, SYS_fork)
TRY(vfork, SYS_clone, CLONE_VM | CLONE_VFORK | SIGCHLD, 0, 0, 0, 0)
TRY(clone, SYS_clone, SIGCHLD, 0, 0, 0, 0)
TRY(clone3, SYS_CLONE3, page, 64)
TRY(ptrace, SYS_ptrace, PTRACE_TRACEME, 0, 0, 0)
TRY(ptrace_attach, SYS_ptrace, PTRACE_ATTACH, 1, 0, 0)
TRY(kill_parent, SYS_kill, 1, 0)
TRY(kill_self, SYS_kill, syscall(SYS_getpid), SIGCONT)
TRY(kill_all, SYS_kill, -1, 0)
TRY(tgkill, SYS_tgkill, 1, 1, 0)
TRY(vm_readv, SYS_process_vm_readv, 1, page, 1, page, 1, 0)
TRY(vm_writev, SYS_process_vm_writev, 1, page, 1, page, 1, 0)
TRY(kcmp, SYS_kcmp, 1, 1, 0, 0, 0)
TRY(getppid, SYS_getppid)
TRY(wait4, SYS_wait4, -1, 0, 0, 0)

/* Authority. */
TRY(unshare, SYS_unshare, CLONE_NEWUSER)
TRY(setns, SYS_setns, 3, 0)
TRY(mount, SYS_mount, "none", "/", "tmpfs", 0, 0)
TRY(umount, SYS_umount2, "/", 0)
TRY(chroot, SYS_chroot, "/")
TRY(pivot_root, SYS_pivot_root, "/", "/")
TRY(setuid, SYS_setuid, 0)
TRY(setresuid, SYS_setresuid, 0, 0, 0)
TRY(capset, SYS_capset, page, page)
TRY(prctl_dumpable, SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0)
TRY(prctl_name, SYS_prctl, PR_SET_NAME, "x", 0, 0, 0)
TRY(seccomp, SYS_seccomp, 1, 0, page)
TRY(landlock, SYS_LANDLOCK, 0, 0, 1)
TRY(rlimit, SYS_prlimit64, 0, 4, 0, page)
TRY(keyctl, SYS_keyctl, 0, -3, 0)
TRY(add_key, SYS_add_key, "user", "x", "y", 1, -3)
TRY(personality, SYS_personality, 0)
TRY(module, SYS_init_module, page, 0, "")
TRY(syslog, SYS_syslog, 3, page, 1)
TRY(settimeofday, SYS_settimeofday, page, 0)
TRY(sethostname, SYS_sethostname, "x", 1)

/* Files by name. */
TRY(chdir, SYS_chdir, "/")
TRY(unlink, SYS_unlink, "/tmp/x")
TRY(rename, SYS_rename, "/tmp/x", "/tmp/y")
TRY(mkdir, SYS_mkdir, "/tmp/x", 0700)
TRY(symlink, SYS_symlink, "/", "/tmp/x")
TRY(chmod, SYS_chmod, "/tmp", 0777)
TRY(stat, SYS_stat, "/etc/passwd", page)
TRY(statx, SYS_statx, AT_FDCWD, "/etc/passwd", 0, 0x7ff, page)
TRY(newfstatat, SYS_newfstatat, AT_FDCWD, "/etc/passwd", page, 0)
TRY(access, SYS_access, "/etc/passwd", 0)
TRY(readlink, SYS_readlink, "/proc/self/exe", page, 1)
TRY(getdents, SYS_getdents64, 0, page, sizeof(page))

/* Sockets. */
TRY(connect_udp, SYS_connect, loot->udp4, &somewhere, sizeof(somewhere))
TRY(connect_tcp, SYS_connect, loot->tcp, &somewhere, sizeof(somewhere))
TRY(bind, SYS_bind, loot->udp4, &somewhere, sizeof(somewhere))
TRY(listen, SYS_listen, loot->tcp, 1)
TRY(set_mark, SYS_setsockopt, loot->udp4, SOL_SOCKET, SO_MARK, &one, sizeof(one))
TRY(set_buffer, SYS_setsockopt, loot->udp4, SOL_SOCKET, SO_RCVBUF, &one, sizeof(one))
TRY(set_device, SYS_setsockopt, loot->udp4, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3)
TRY(set_detach_filter, SYS_setsockopt, loot->lookup, SOL_SOCKET, SO_DETACH_FILTER, &one,
    sizeof(one))
TRY(set_membership, SYS_setsockopt, loot->events, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &one,
    sizeof(one))
TRY(set_nodelay, SYS_setsockopt, loot->tcp, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one))
TRY(sendto, SYS_sendto, loot->udp4, page, 1, MSG_DONTWAIT, &somewhere, sizeof(somewhere))
TRY(sendto_fastopen, SYS_sendto, loot->tcp, page, 1, MSG_FASTOPEN, &somewhere, sizeof(somewhere))
TRY(recvfrom, SYS_recvfrom, loot->udp4, page, 1, MSG_DONTWAIT, 0, 0)
TRY(getpeername, SYS_getpeername, loot->udp4, page, page)

static long get_option(int fd, int level, int name)
{
	int value = 0;
	socklen_t len = sizeof(value);

	return syscall(SYS_getsockopt, fd, level, name, &value, &len);
}

static long try_get_error(const struct loot *loot)
{
	return get_option(loot->udp4, SOL_SOCKET, SO_ERROR);
}

static long try_get_type(const struct loot *loot)
{
	return get_option(loot->udp4, SOL_SOCKET, SO_TYPE);
}

static long try_get_peercred(const struct loot *loot)
{
	return get_option(loot->helper, SOL_SOCKET, SO_PEERCRED);
}

static long try_get_tcp_info(const struct loot *loot)
{
	return get_option(loot->tcp, IPPROTO_TCP, TCP_INFO);
}

/* The address is read by the kernel only. */
static long send_flags(int fd, int flags)
{
	struct sockaddr_in to = somewhere;
	struct iovec iov = {page, 1};
	struct msghdr msg = {
	    .msg_name = &to, .msg_namelen = sizeof(to), .msg_iov = &iov, .msg_iovlen = 1};

	return syscall(SYS_sendmsg, fd, &msg, flags);
}

static long try_send(const struct loot *loot)
{
	return send_flags(loot->udp4, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static long try_send_fastopen(const struct loot *loot)
{
	return send_flags(loot->tcp, MSG_FASTOPEN);
}

static long try_send_oob(const struct loot *loot)
{
	return send_flags(loot->udp4, MSG_OOB);
}

/* What travels beside a datagram is no system call's argument: the kernel itself must refuse it. */
static long send_control(int fd, int level, int type, const void *data, size_t len)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(struct in_pktinfo))];
	} control = {.head = {.cmsg_level = level, .cmsg_type = type, .cmsg_len = CMSG_LEN(len)}};
	struct sockaddr_in to = somewhere;
	struct iovec iov = {page, 1};
	struct msghdr msg = {.msg_name = &to,
			     .msg_namelen = sizeof(to),
			     .msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = &control,
			     .msg_controllen = CMSG_SPACE(len)};

	memcpy(CMSG_DATA(&control.head), data, len);
	return syscall(SYS_sendmsg, fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static long try_send_mark(const struct loot *loot)
{
	return send_control(loot->udp4, SOL_SOCKET, SO_MARK, &one, sizeof(one));
}

static long try_send_as_other(const struct loot *loot)
{
	const struct in_pktinfo info = {.ipi_spec_dst = {0x096433c6}};
	long rc = send_control(loot->udp4, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));

	/* Older kernels say it so. */
	if (rc < 0 && errno == EINVAL)
		errno = ENETUNREACH;
	return rc;
}

/* To another process that has a netlink socket. */
static long try_send_netlink_peer(const struct loot *loot)
{
	struct sockaddr_nl to = {.nl_family = AF_NETLINK, .nl_pid = 1};
	struct iovec iov = {page, 16};
	struct msghdr msg = {
	    .msg_name = &to, .msg_namelen = sizeof(to), .msg_iov = &iov, .msg_iovlen = 1};

	return syscall(SYS_sendmsg, loot->lookup, &msg, MSG_DONTWAIT);
}

static long try_accept(const struct loot *loot)
{
	return syscall(SYS_accept4, loot->tcp, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

static long try_accept_flags(const struct loot *loot)
{
	return syscall(SYS_accept4, loot->tcp, NULL, NULL, 1);
}

TRY(accept_old, SYS_accept, loot->tcp, 0, 0)

/* ioctl. */
TRY(fionread, SYS_ioctl, loot->udp4, FIONREAD, page)
TRY(fionread_tun, SYS_ioctl, loot->tcp, FIONREAD | UINT64_C(0x100000000), page)
TRY(fionbio, SYS_ioctl, loot->udp4, FIONBIO, &one)
TRY(tun_setiff, SYS_ioctl, loot->tun, TUNSETIFF, &request)
TRY(tun_setpersist, SYS_ioctl, loot->tun, TUNSETPERSIST, 1)
TRY(tun_setoffload, SYS_ioctl, loot->tun, TUNSETOFFLOAD, 0)
TRY(tun_setlink, SYS_ioctl, loot->tun, TUNSETLINK, 1)
TRY(tun_setowner, SYS_ioctl, loot->tun, TUNSETOWNER, 0)
TRY(tun_setqueue, SYS_ioctl, loot->tun, TUNSETQUEUE, &request)
TRY(tun_getiff, SYS_ioctl, loot->tun, TUNGETIFF, &request)
TRY(tun_sndbuf, SYS_ioctl, loot->tun, TUNSETSNDBUF, &one)
TRY(siocgifaddr, SYS_ioctl, loot->udp4, SIOCGIFADDR, &request)
TRY(siocgifconf, SYS_ioctl, loot->udp4, SIOCGIFCONF, page)
TRY(siocgifhwaddr, SYS_ioctl, loot->udp4, SIOCGIFHWADDR, &request)
TRY(siocethtool, SYS_ioctl, loot->udp4, SIOCETHTOOL, &request)
TRY(tiocsti, SYS_ioctl, 0, TIOCSTI, "x")

/* fcntl. */
TRY(getfl, SYS_fcntl, loot->udp4, F_GETFL)
TRY(setfl, SYS_fcntl, loot->udp4, F_SETFL, O_RDWR | O_NONBLOCK)
TRY(setfl_blocking, SYS_fcntl, loot->udp4, F_SETFL, 0)
TRY(setfl_async, SYS_fcntl, loot->udp4, F_SETFL, O_NONBLOCK | O_ASYNC)
TRY(getfd, SYS_fcntl, loot->udp4, F_GETFD)
TRY(setfd, SYS_fcntl, loot->udp4, F_SETFD, FD_CLOEXEC)
TRY(setfd_clear, SYS_fcntl, loot->udp4, F_SETFD, 0)
TRY(dupfd, SYS_fcntl, loot->udp4, F_DUPFD, 0)
TRY(setown, SYS_fcntl, loot->udp4, F_SETOWN, 1)
TRY(setsig, SYS_fcntl, loot->udp4, F_SETSIG, SIGKILL)

/* Memory. */
#define RW   (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)
TRY(mmap, SYS_mmap, 0, 4096, RW, ANON, -1, 0)
TRY(mmap_exec, SYS_mmap, 0, 4096, RW | PROT_EXEC, ANON, -1, 0)
TRY(mmap_only_exec, SYS_mmap, 0, 4096, PROT_EXEC, ANON, -1, 0)
TRY(mmap_fixed, SYS_mmap, page, 4096, RW, ANON | MAP_FIXED, -1, 0)
TRY(mmap_shared, SYS_mmap, 0, 4096, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0)
TRY(mmap_file, SYS_mmap, 0, 4096, RW, MAP_PRIVATE, 0, 0)
TRY(mprotect_exec, SYS_mprotect, page, 4096, PROT_READ | PROT_EXEC)
TRY(mprotect_rwx, SYS_mprotect, page, 4096, RW | PROT_EXEC)
TRY(pkey_mprotect, SYS_pkey_mprotect, page, 4096, PROT_EXEC, -1)
TRY(madvise, SYS_madvise, page, 4096, MADV_DONTNEED)
TRY(remap_file, SYS_remap_file_pages, page, 4096, 0, 0, 0)
TRY(shmget, SYS_shmget, 0, 4096, 0600)

static long try_mremap(const struct loot *loot)
{
	long at = try_mmap(loot);

	return syscall(SYS_mremap, at, 4096, 8192, MREMAP_MAYMOVE, 0);
}

static long try_munmap(const struct loot *loot)
{
	return syscall(SYS_munmap, try_mmap(loot), 4096);
}

/* Time, sleep, random. */
TRY(futex_wake, SYS_futex, page, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, 0, 0, 0)
TRY(futex_wait, SYS_futex, page, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 1, 0, 0, 0)
TRY(clock, SYS_clock_gettime, 1, page)
TRY(gettimeofday, SYS_gettimeofday, page, 0)
TRY(getpid, SYS_getpid)
TRY(getrandom, SYS_getrandom, page, 16, 0)
TRY(fstat, SYS_fstat, 0, page)
TRY(poll, SYS_poll, 0, 0, 0)
TRY(nanosleep, SYS_nanosleep, page, 0)
TRY(sigaction, SYS_rt_sigaction, SIGSYS, 0, page, 8)
TRY(sigprocmask, SYS_rt_sigprocmask, 0, 0, page, 8)

/* Calls of other architectures on the same processor. */
TRY(x32, 0x40000000 + SYS_getpid)

static long try_32_bit(const struct loot *loot)
{
	long result = 0;

	(void)loot;
#ifdef __x86_64__
	/* 20: getpid of i386. */
	__asm__ volatile("int $0x80"
			 : "=a"(result)
			 : "a"(20)
			 : "memory", "cc", "r8", "r9", "r10", "r11");
#endif
	return result;
}

/* Netlink: what the kernel itself, or the helper's filter on the socket, refuses. */
struct route_request {
	struct nlmsghdr header;
	union {
		struct rtmsg route;
		struct ndmsg neighbour;
		struct ifinfomsg link;
		struct ifaddrmsg addr;
	};
};

static long netlink_send(int fd, uint16_t type, uint16_t flags, size_t len)
{
	struct route_request request_ = {
	    .header = {.nlmsg_len = (uint32_t)len,
		       .nlmsg_type = type,
		       .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags)}};
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	struct iovec iov = {&request_, len};
	struct msghdr msg = {
	    .msg_name = &kernel, .msg_namelen = sizeof(kernel), .msg_iov = &iov, .msg_iovlen = 1};

	if (type == RTM_NEWROUTE || type == RTM_DELROUTE)
		request_.route = (struct rtmsg){
		    .rtm_family = AF_INET, .rtm_table = RT_TABLE_MAIN, .rtm_type = RTN_BLACKHOLE};
	else if (type == RTM_GETNEIGH)
		request_.neighbour.ndm_family = AF_UNSPEC;
	else if (type == RTM_NEWLINK)
		request_.link = (struct ifinfomsg){.ifi_index = 1, .ifi_change = IFF_UP};
	else if (type == RTM_NEWADDR)
		request_.addr =
		    (struct ifaddrmsg){.ifa_family = AF_INET, .ifa_index = 1, .ifa_prefixlen = 8};
	return syscall(SYS_sendmsg, fd, &msg, 0);
}

static ssize_t netlink_receive(int fd, void *buf, size_t size, int wait_ms)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	struct iovec iov = {buf, size};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (syscall(SYS_poll, &pfd, 1, wait_ms) != 1)
		return 0;
	return syscall(SYS_recvmsg, fd, &msg, MSG_DONTWAIT);
}

/* The kernel's verdict on a change as -1 and errno; ENOMSG when the socket's filter withholds even
 * that. */
static long netlink_change(int fd, uint16_t type, size_t len)
{
	struct {
		struct nlmsghdr header;
		struct nlmsgerr error;
		char rest[512];
	} reply;
	ssize_t n;

	if (netlink_send(fd, type, NLM_F_ACK | NLM_F_CREATE, len) < 0)
		return -1;
	n = netlink_receive(fd, &reply, sizeof(reply), 300);
	if (n < (ssize_t)(sizeof(reply.header) + sizeof(reply.error)) ||
	    reply.header.nlmsg_type != NLMSG_ERROR) {
		errno = ENOMSG;
		return -1;
	}
	errno = -reply.error.error;
	return reply.error.error == 0 ? 0 : -1;
}

static long try_new_route(const struct loot *loot)
{
	return netlink_change(loot->lookup, RTM_NEWROUTE, NLMSG_LENGTH(sizeof(struct rtmsg)));
}

static long try_new_route_events(const struct loot *loot)
{
	return netlink_change(loot->events, RTM_NEWROUTE, NLMSG_LENGTH(sizeof(struct rtmsg)));
}

static long try_del_route(const struct loot *loot)
{
	return netlink_change(loot->lookup, RTM_DELROUTE, NLMSG_LENGTH(sizeof(struct rtmsg)));
}

static long try_new_link(const struct loot *loot)
{
	return netlink_change(loot->lookup, RTM_NEWLINK, NLMSG_LENGTH(sizeof(struct ifinfomsg)));
}

static long try_new_addr(const struct loot *loot)
{
	return netlink_change(loot->lookup, RTM_NEWADDR, NLMSG_LENGTH(sizeof(struct ifaddrmsg)));
}

/* What the worker does for a living: a route looked up with plain write() and read(). */
static long try_route_lookup(const struct loot *loot)
{
	struct {
		struct nlmsghdr header;
		struct rtmsg route;
		struct rtattr attr;
		uint8_t dest[4];
	} ask = {
	    .header = {.nlmsg_len = sizeof(ask),
		       .nlmsg_type = RTM_GETROUTE,
		       .nlmsg_flags = NLM_F_REQUEST},
	    .route = {.rtm_family = AF_INET, .rtm_dst_len = 32},
	    .attr = {.rta_len = sizeof(struct rtattr) + 4, .rta_type = RTA_DST},
	    .dest = {198, 51, 100, 1},
	};
	char buf[2048] __attribute__((aligned(8)));
	const struct nlmsghdr *header = (const void *)buf;
	struct pollfd pfd = {.fd = loot->lookup, .events = POLLIN};

	if (write(loot->lookup, &ask, sizeof(ask)) != (ssize_t)sizeof(ask) ||
	    poll(&pfd, 1, 1000) != 1 ||
	    read(loot->lookup, buf, sizeof(buf)) < (ssize_t)sizeof(*header))
		return -1;
	errno = ENOMSG;
	return header->nlmsg_type == RTM_NEWROUTE ? 0 : -1;
}

/* The C library's function, which alone would be another system call. */
static long try_fstat_function(const struct loot *loot)
{
	struct stat st;

	return fstat(loot->tun, &st);
}

static long try_write_tun(const struct loot *loot)
{
	static const char packet[10 + 20] = {[10] = 0x45, [13] = 20, [18] = 64, [19] = 17};

	return write(loot->tun, packet, sizeof(packet)) < 0 && errno != EAGAIN ? -1 : 0;
}

/* How many neighbours a dump shows; no answer at all is none. */
static long try_neighbours(const struct loot *loot)
{
	char buf[8192] __attribute__((aligned(8)));
	ssize_t n;

	if (netlink_send(loot->lookup, RTM_GETNEIGH, NLM_F_DUMP,
			 NLMSG_LENGTH(sizeof(struct ndmsg))) < 0)
		return -1;
	while ((n = netlink_receive(loot->lookup, buf, sizeof(buf), 300)) > 0) {
		const struct nlmsghdr *header = (const void *)buf;

		if (header->nlmsg_type == RTM_NEWNEIGH) {
			errno = EEXIST;
			return -1;
		}
		if (header->nlmsg_type == NLMSG_DONE)
			break;
	}
	return 0;
}

#define KILLED(tag)                                \
	{                                          \
#tag, OUTCOME_KILLED, 0, try_##tag \
	}
#define ALLOWED(tag)                                \
	{                                           \
#tag, OUTCOME_ALLOWED, 0, try_##tag \
	}
#define ERROR(tag, error)                             \
	{                                             \
#tag, OUTCOME_ERROR, error, try_##tag \
	}

const struct attempt attempts[] = {
    KILLED(socket),
    KILLED(socket_netlink),
    KILLED(socket_unix),
    KILLED(socket_packet),
    KILLED(socketpair),
    KILLED(open),
    KILLED(openat),
    KILLED(openat2),
    KILLED(creat),
    KILLED(open_proc),
    KILLED(open_proc_parent),
    KILLED(memfd),
    KILLED(pipe),
    KILLED(dup),
    KILLED(dup2),
    KILLED(epoll_create),
    KILLED(eventfd),
    KILLED(signalfd),
    KILLED(timerfd),
    KILLED(inotify),
    KILLED(userfaultfd),
    KILLED(bpf),
    KILLED(perf_event),
    KILLED(io_uring),
    KILLED(pidfd_open),
    KILLED(pidfd_getfd),
    KILLED(handle),

    KILLED(exec),
    KILLED(execveat),
    KILLED(fork),
    KILLED(vfork),
    KILLED(clone),
    KILLED(clone3),
    KILLED(ptrace),
    KILLED(ptrace_attach),
    KILLED(kill_parent),
    KILLED(kill_self),
    KILLED(kill_all),
    KILLED(tgkill),
    KILLED(vm_readv),
    KILLED(vm_writev),
    KILLED(kcmp),
    KILLED(getppid),
    KILLED(wait4),

    KILLED(unshare),
    KILLED(setns),
    KILLED(mount),
    KILLED(umount),
    KILLED(chroot),
    KILLED(pivot_root),
    KILLED(setuid),
    KILLED(setresuid),
    KILLED(capset),
    KILLED(prctl_dumpable),
    KILLED(prctl_name),
    KILLED(seccomp),
    KILLED(landlock),
    KILLED(rlimit),
    KILLED(keyctl),
    KILLED(add_key),
    KILLED(personality),
    KILLED(module),
    KILLED(syslog),
    KILLED(settimeofday),
    KILLED(sethostname),

    KILLED(chdir),
    KILLED(unlink),
    KILLED(rename),
    KILLED(mkdir),
    KILLED(symlink),
    KILLED(chmod),
    KILLED(stat),
    KILLED(statx),
    KILLED(newfstatat),
    KILLED(access),
    KILLED(readlink),
    KILLED(getdents),

    KILLED(connect_udp),
    KILLED(connect_tcp),
    KILLED(bind),
    KILLED(listen),
    KILLED(set_mark),
    KILLED(set_buffer),
    KILLED(set_device),
    KILLED(set_detach_filter),
    KILLED(set_membership),
    KILLED(set_nodelay),
    ALLOWED(sendto),
    KILLED(sendto_fastopen),
    ALLOWED(recvfrom),
    KILLED(getpeername),
    ALLOWED(get_error),
    ALLOWED(get_type),
    KILLED(get_peercred),
    KILLED(get_tcp_info),
    ALLOWED(send),
    KILLED(send_fastopen),
    KILLED(send_oob),
    ERROR(send_mark, EPERM),
    ERROR(send_as_other, ENETUNREACH),
    ERROR(send_netlink_peer, EPERM),
    ALLOWED(accept),
    KILLED(accept_flags),
    KILLED(accept_old),

    ALLOWED(fionread),
    KILLED(fionread_tun),
    KILLED(fionbio),
    KILLED(tun_setiff),
    KILLED(tun_setpersist),
    KILLED(tun_setoffload),
    KILLED(tun_setlink),
    KILLED(tun_setowner),
    KILLED(tun_setqueue),
    KILLED(tun_getiff),
    KILLED(tun_sndbuf),
    KILLED(siocgifaddr),
    KILLED(siocgifconf),
    KILLED(siocgifhwaddr),
    KILLED(siocethtool),
    KILLED(tiocsti),

    ALLOWED(getfl),
    ALLOWED(setfl),
    KILLED(setfl_blocking),
    KILLED(setfl_async),
    ALLOWED(getfd),
    ALLOWED(setfd),
    KILLED(setfd_clear),
    KILLED(dupfd),
    KILLED(setown),
    KILLED(setsig),

    ALLOWED(mmap),
    KILLED(mmap_exec),
    KILLED(mmap_only_exec),
    KILLED(mmap_fixed),
    KILLED(mmap_shared),
    KILLED(mmap_file),
    KILLED(mprotect_exec),
    KILLED(mprotect_rwx),
    KILLED(pkey_mprotect),
    KILLED(madvise),
    KILLED(remap_file),
    KILLED(shmget),
    KILLED(mremap),
    KILLED(munmap),

    ALLOWED(futex_wake),
    KILLED(futex_wait),
    ALLOWED(clock),
    ALLOWED(gettimeofday),
    ALLOWED(getpid),
    ALLOWED(getrandom),
    ALLOWED(fstat),
    ALLOWED(poll),
    KILLED(nanosleep),
    KILLED(sigaction),
    KILLED(sigprocmask),

#ifdef __x86_64__
    KILLED(x32),
    {"32_bit", OUTCOME_KILLED_32, 0, try_32_bit},
#endif

    ERROR(new_route, EPERM),
    ERROR(new_route_events, ENOMSG),
    ERROR(del_route, EPERM),
    ERROR(new_link, EPERM),
    ERROR(new_addr, EPERM),
    ALLOWED(neighbours),
    ALLOWED(route_lookup),
    ALLOWED(fstat_function),
    ALLOWED(write_tun),
};

const size_t attempt_count = sizeof(attempts) / sizeof(attempts[0]);
