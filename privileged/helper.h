/*
 * What the helper's files share: its state, the request under way, the functions behind the
 * requests, and the table of all socket options that it ever sets: sockets.c applies it, sandbox.c
 * allows it and nothing else.
 *
 * A serve_...() function carries out one judged request; its other half is helper_...() in the
 * worker. It pushes every descriptor into the job as soon as it is open: main.c sends or, on an
 * error, closes them. Returns 0 or a negative errno.
 */
#ifndef PRIVILEGED_HELPER_H
#define PRIVILEGED_HELPER_H

#include "ipc/fd_pass.h"
#include "privileged/audit.h"
#include "privileged/policy.h"
#include "privileged/sandbox.h"

#include <errno.h>
#include <fcntl.h>

/* Of every open(). After the start only reading with exactly these flags passes the filter. */
#define HELPER_OPEN_FLAGS (O_NONBLOCK | O_CLOEXEC | O_NOCTTY)

struct helper {
	struct policy policy;
	struct audit audit;
	uint32_t capabilities; /* bits of enum ipc_capability */
	uint32_t ifindex;      /* of the TUN; 0 before tun-open */
	int tun;               /* the device, opened at the start and handed over by tun-open; or a
				  negative errno */
	int netlink; /* NETLINK_ROUTE, the only one that may write; never leaves the helper */
};

struct job {
	struct ipc_request request;
	struct ipc_reply reply;
	struct fd_pass_message out; /* the descriptors to hand over */
};

struct socket_option {
	uint32_t level;
	uint32_t name;
	uint32_t value; /* 0: known at run time only */
	uint32_t kinds; /* bits of sockets.c's own; 0: set elsewhere */
};

#define SOCKET_OPTIONS 24

extern const struct socket_option sockets_options[SOCKET_OPTIONS];

/* @fd: what the system call returned. Returns it, or its negative errno. */
IPC_MUST_CHECK static inline int job_push(struct job *job, int fd)
{
	if (fd < 0)
		return -errno;
	job->out.fds[job->out.fd_count++] = fd;
	return fd;
}

IPC_MUST_CHECK int serve_tun_open(struct helper *helper, struct job *job);
IPC_MUST_CHECK int serve_tun_configure(struct helper *helper, struct job *job);
IPC_MUST_CHECK int serve_udp_open(struct helper *helper, struct job *job);
IPC_MUST_CHECK int serve_dns_listen(struct helper *helper, struct job *job);
IPC_MUST_CHECK int serve_tcp_connect(struct helper *helper, struct job *job);
IPC_MUST_CHECK int serve_route_open(struct helper *helper, struct job *job);

/* Take the policy rules away and the interface too, whoever still holds its descriptor. Best
 * effort. */
void netconfig_remove(const struct helper *helper);

#endif
