#include "privileged/helper.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/in6.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <string.h>

enum {
	PORT_TRIES = 64,
	LISTEN_BACKLOG = 64,
	EVENT_BUFFER = 1 << 20,
	MAX_MESSAGE_TYPES = 10,
	AT_RUN_TIME = 0,
};

/* Kinds of sockets. */
enum {
	PEER = 1,
	PEER_V6 = 2,
	DNS = 4,
	DNS_V6 = 8,
	TCP = 16,
	LISTENER = 32,
	LOOKUP = 64,
	EVENTS = 128,
	LISTENER_UDP = 256,
};

const struct socket_option sockets_options[] = {
    {SOL_SOCKET, SO_MARK, IPC_MARK, PEER | PEER_V6 | DNS | DNS_V6 | TCP},
    {SOL_SOCKET, SO_MARK, IPC_LISTENER_MARK, LISTENER | LISTENER_UDP},
    {SOL_SOCKET, SO_BINDTOIFINDEX, AT_RUN_TIME, LISTENER | LISTENER_UDP},
    {SOL_SOCKET, SO_RCVBUFFORCE, AT_RUN_TIME, PEER | PEER_V6},
    {SOL_SOCKET, SO_SNDBUFFORCE, AT_RUN_TIME, PEER | PEER_V6},
    {SOL_SOCKET, SO_RCVBUFFORCE, EVENT_BUFFER, EVENTS},
    {SOL_SOCKET, SO_REUSEADDR, 1, LISTENER},
    {SOL_SOCKET, SO_ATTACH_FILTER, 0, 0},
    {SOL_SOCKET, SO_LOCK_FILTER, 0, 0},
    {IPPROTO_IP, IP_PKTINFO, 1, PEER},
    {IPPROTO_IP, IP_RECVTOS, 1, PEER},
    {IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE, PEER},
    {IPPROTO_IP, IP_RECVERR, 1, DNS},
    {IPPROTO_IPV6, IPV6_V6ONLY, 1, PEER_V6 | DNS_V6},
    {IPPROTO_IPV6, IPV6_RECVPKTINFO, 1, PEER_V6},
    {IPPROTO_IPV6, IPV6_RECVTCLASS, 1, PEER_V6},
    {IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE, PEER_V6},
    {IPPROTO_IPV6, IPV6_DONTFRAG, 1, PEER_V6},
    {IPPROTO_IPV6, IPV6_RECVERR, 1, DNS_V6},
    {IPPROTO_IPV6, IPV6_ADDR_PREFERENCES, IPV6_PREFER_SRC_PUBLIC, PEER_V6 | DNS_V6},
    {IPPROTO_UDP, UDP_GRO, 1, PEER | PEER_V6},
    {IPPROTO_TCP, TCP_NODELAY, 1, TCP},
    {SOL_NETLINK, NETLINK_EXT_ACK, 1, LOOKUP},
    {SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1, LOOKUP},
};
static_assert(sizeof(sockets_options) / sizeof(sockets_options[0]) == SOCKET_OPTIONS, "all");

/* A kernel without one of them (nexthop: 5.3) leaves it out. */
#define EVENT_GROUPS                                                                 \
	(RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | \
	 RTMGRP_IPV6_ROUTE | RTMGRP_IPV4_RULE | 1U << (RTNLGRP_IPV6_RULE - 1) |      \
	 1U << (RTNLGRP_NEXTHOP - 1))

/* What each netlink socket lets through to the worker; ended by 0. */
static const uint16_t lookup_types[] = {
    NLMSG_ERROR, NLMSG_DONE, RTM_NEWLINK, RTM_NEWADDR, RTM_NEWROUTE, 0,
};
static const uint16_t event_types[] = {
    RTM_NEWLINK,    RTM_DELLINK,    RTM_NEWADDR, RTM_DELADDR,
    RTM_NEWROUTE,   RTM_DELROUTE,   RTM_NEWRULE, RTM_DELRULE,
    RTM_NEWNEXTHOP, RTM_DELNEXTHOP, 0,
};

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

/* Raised all the while: SO_MARK and the forced buffers need it. */
static int set_options(int fd, const struct helper *helper, uint32_t kind)
{
	const struct ipc_policy *policy = &helper->policy.stated;
	int rc = 0;

	sandbox_raise(true);
	for (size_t i = 0; rc == 0 && i < SOCKET_OPTIONS; i++) {
		const struct socket_option *option = &sockets_options[i];
		uint32_t value = option->value;

		if ((option->kinds & kind) == 0)
			continue;
		if (value == AT_RUN_TIME)
			value = option->name == SO_BINDTOIFINDEX ? helper->ifindex
				: option->name == SO_RCVBUFFORCE ? policy->receive_buffer
								 : policy->send_buffer;
		if (setsockopt(fd, (int)option->level, (int)option->name, &value, sizeof(value)))
			rc = -errno;
	}
	sandbox_raise(false);
	return rc;
}

/* The job owns it, on an error too. Returns it or a negative errno. */
static int open_inet(struct helper *helper, struct job *job, int type, uint32_t kind)
{
	int domain = job->request.args.family == 6 ? AF_INET6 : AF_INET;
	int fd = job_push(job, socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
	int rc = fd < 0 ? fd : set_options(fd, helper, kind);

	return rc < 0 ? rc : fd;
}

/* Bind to the address, or start to connect to it. */
static int join(int fd, bool connects, uint8_t family, const uint8_t addr[16], uint16_t port)
{
	union address to = {.v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)}};
	socklen_t len = sizeof(to.v6);

	memcpy(&to.v6.sin6_addr, addr, 16);
	if (family == 4) {
		to.v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
		memcpy(&to.v4.sin_addr, addr, 4);
		len = sizeof(to.v4);
	}
	if ((connects ? connect(fd, &to.any, len) : bind(fd, &to.any, len)) < 0 &&
	    errno != EINPROGRESS)
		return -errno;
	return 0;
}

/* A peer socket gets the preferred port or the next free one; searching saves the call that asks
 * for the kernel's choice. */
int serve_udp_open(struct helper *helper, struct job *job)
{
	const struct ipc_args *args = &job->request.args;
	bool peer = args->role == IPC_UDP_PEER, v6 = args->family == 6;
	uint32_t kind = peer ? (v6 ? PEER_V6 : PEER) : (v6 ? DNS_V6 : DNS);
	int fd = 0, rc = -EADDRINUSE;

	for (unsigned int i = 0; fd >= 0 && i < args->number; i++)
		fd = open_inet(helper, job, SOCK_DGRAM, kind);
	if (fd < 0 || !peer)
		return fd < 0 ? fd : 0;
	for (uint16_t i = 0; rc == -EADDRINUSE && i < PORT_TRIES; i++) {
		job->reply.udp_open.port = (uint16_t)(helper->policy.stated.udp_port + i);
		rc = join(fd, false, args->family, args->local, job->reply.udp_open.port);
	}
	return rc;
}

/* Bound to the TUN as well: Linux would take packets for its address on every interface. */
int serve_dns_listen(struct helper *helper, struct job *job)
{
	const struct ipc_args *args = &job->request.args;
	int udp = open_inet(helper, job, SOCK_DGRAM, LISTENER_UDP);
	int tcp = udp < 0 ? udp : open_inet(helper, job, SOCK_STREAM, LISTENER);
	int rc = tcp < 0 ? tcp : join(udp, false, args->family, args->local, IPC_DNS_PORT);

	if (rc == 0)
		rc = join(tcp, false, args->family, args->local, IPC_DNS_PORT);
	return rc == 0 && listen(tcp, LISTEN_BACKLOG) < 0 ? -errno : rc;
}

int serve_tcp_connect(struct helper *helper, struct job *job)
{
	const struct ipc_args *args = &job->request.args;
	int fd = open_inet(helper, job, SOCK_STREAM, TCP);
	int rc = fd < 0 ? fd : join(fd, false, args->family, args->local, 0);

	return rc < 0 ? rc : join(fd, true, args->family, args->remote, args->port);
}

/* Only messages of @types get in, for ever. A datagram holds messages of one type, so its first one
 * is looked at. */
static int lock_filter(int fd, const uint16_t *types)
{
	struct sock_filter code[MAX_MESSAGE_TYPES + 3] = {
	    BPF_STMT(BPF_LD | BPF_H | BPF_ABS, offsetof(struct nlmsghdr, nlmsg_type)),
	};
	struct sock_fprog program = {.len = 1, .filter = code};
	const int on = 1;
	uint8_t count = 0;

	while (types[count] != 0)
		count++;
	for (uint8_t i = 0; i < count; i++) /* a filter's loads swap into network order */
		code[program.len++] = (struct sock_filter)BPF_JUMP(
		    BPF_JMP | BPF_JEQ | BPF_K, htons(types[i]), (uint8_t)(count - i), 0);
	code[program.len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, 0);
	code[program.len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, UINT32_MAX);
	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_LOCK_FILTER, &on, sizeof(on)) < 0)
		return -errno;
	return 0;
}

/* Opened without the capability in effect, so that the socket itself can never write. */
static int open_route(struct helper *helper, struct job *job, const uint16_t *types, uint32_t kind,
		      uint32_t groups)
{
	const struct sockaddr_nl own = {.nl_family = AF_NETLINK, .nl_groups = groups};
	int fd = job_push(
	    job, socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE));
	int rc = fd < 0 ? fd : lock_filter(fd, types);

	if (rc == 0)
		rc = set_options(fd, helper, kind);
	return rc == 0 && bind(fd, (const struct sockaddr *)&own, sizeof(own)) < 0 ? -errno : rc;
}

int serve_route_open(struct helper *helper, struct job *job)
{
	int rc = open_route(helper, job, lookup_types, LOOKUP, 0);

	return rc < 0 ? rc : open_route(helper, job, event_types, EVENTS, EVENT_GROUPS);
}
