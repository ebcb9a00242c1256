#include "helper_client.h"

#include "ipc/fd_pass.h"

#include <errno.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

enum {
	REPLY_LIMIT_MS = 1000
};

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int wait_readable(int fd, int64_t until_ms)
{
	for (;;) {
		struct pollfd pfd = {.fd = fd, .events = POLLIN};
		int64_t left = until_ms - now_ms();
		int rc = poll(&pfd, 1, left > 0 ? (int)left : 0);

		if (rc > 0)
			return 0;
		if (rc == 0)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}

static int receive_one(struct helper_client *hc, struct ipc_reply *reply,
		       struct fd_pass_message *message, int64_t until_ms)
{
	int rc = wait_readable(hc->fd, until_ms);

	if (rc < 0)
		return rc;
	rc = fd_pass_receive(hc->fd, reply, sizeof(*reply), message);
	if (rc < 0)
		return rc;
	if (message->len == 0) {
		fd_pass_close(message);
		return -ECONNRESET;
	}
	if (message->len != sizeof(*reply) || reply->fd_count != message->fd_count ||
	    (reply->error != 0 && message->fd_count != 0) || reply->error < 0) {
		fd_pass_close(message);
		return -EPROTO;
	}
	return 0;
}

/*
 * Send @request and wait for its reply, which must carry exactly @fd_count descriptors unless it is
 * an error. Replies to earlier requests, which came too late for them, are thrown away.
 */
static int exchange(struct helper_client *hc, struct ipc_request *request, uint32_t type,
		    unsigned int fd_count, struct ipc_reply *reply, struct fd_pass_message *message)
{
	int64_t until_ms = now_ms() + REPLY_LIMIT_MS;
	int rc;

	request->type = type;
	request->seq = ++hc->seq;
	rc = fd_pass_send(hc->fd, request, ipc_request_size(type), NULL, 0);
	if (rc == -EAGAIN)
		return -ETIMEDOUT; /* earlier requests still wait for a stopped helper */
	if (rc < 0)
		return rc == -EPIPE ? -ECONNRESET : rc;
	for (;;) {
		rc = receive_one(hc, reply, message, until_ms);
		if (rc < 0)
			return rc;
		if (reply->seq == hc->seq)
			break;
		fd_pass_close(message);
		if ((int32_t)(reply->seq - hc->seq) > 0)
			return -EPROTO;
	}
	if (reply->error == 0 && reply->type == type && message->fd_count == fd_count)
		return 0;
	fd_pass_close(message);
	if (reply->type != type || reply->error == 0)
		return -EPROTO;
	return -reply->error;
}

static int exchange_plain(struct helper_client *hc, struct ipc_request *request, uint32_t type,
			  struct ipc_reply *reply)
{
	struct fd_pass_message message;

	return exchange(hc, request, type, 0, reply, &message);
}

static bool socket_is(int fd, int domain, int type, int protocol)
{
	const int names[3] = {SO_DOMAIN, SO_TYPE, SO_PROTOCOL};
	const int wanted[3] = {domain, type, protocol};

	for (size_t i = 0; i < 3; i++) {
		int value = -1;
		socklen_t len = sizeof(value);

		if (getsockopt(fd, SOL_SOCKET, names[i], &value, &len) < 0 || value != wanted[i])
			return false;
	}
	return true;
}

static bool mode_is(int fd, mode_t kind)
{
	struct stat st;

	return fstat(fd, &st) == 0 && (st.st_mode & S_IFMT) == kind;
}

static int domain_of(uint8_t family)
{
	return family == 6 ? AF_INET6 : AF_INET;
}

int helper_hello(struct helper_client *hc, const struct ipc_policy *policy,
		 struct ipc_hello_reply *reply)
{
	struct ipc_request request = {.hello = {.version = IPC_VERSION, .policy = *policy}};
	struct ipc_reply answer;
	int rc = exchange_plain(hc, &request, IPC_HELLO, &answer);

	if (rc < 0)
		return rc;
	if (answer.hello.version != IPC_VERSION)
		return -EPROTO;
	*reply = answer.hello;
	return 0;
}

int helper_tun_open(struct helper_client *hc, int *fd, uint32_t *ifindex, uint32_t *offloads)
{
	struct ipc_request request = {0};
	struct fd_pass_message message;
	struct ipc_reply reply;
	int rc = exchange(hc, &request, IPC_TUN_OPEN, 1, &reply, &message);

	if (rc < 0)
		return rc;
	if (!mode_is(message.fds[0], S_IFCHR) || reply.tun_open.ifindex == 0) {
		fd_pass_close(&message);
		return -EPROTO;
	}
	*fd = message.fds[0];
	*ifindex = reply.tun_open.ifindex;
	*offloads = reply.tun_open.offloads;
	return 0;
}

int helper_tun_configure(struct helper_client *hc, const uint8_t v4[4], const uint8_t v6[16],
			 uint16_t mtu, uint8_t *families_ok)
{
	struct ipc_request request = {.args = {.mtu = mtu}};
	struct ipc_reply reply;
	int rc;

	memcpy(request.args.v4, v4, 4);
	memcpy(request.args.local, v6, 16);
	rc = exchange_plain(hc, &request, IPC_TUN_CONFIGURE, &reply);
	if (rc < 0)
		return rc;
	if (reply.tun_configure.families == 0 ||
	    reply.tun_configure.families > (IPC_FAMILY_V4 | IPC_FAMILY_V6))
		return -EPROTO;
	*families_ok = (uint8_t)reply.tun_configure.families;
	return 0;
}

int helper_udp_open(struct helper_client *hc, uint8_t family, enum ipc_udp_role role,
		    unsigned int count, int fds[IPC_MAX_FDS], unsigned int *n, uint16_t *port)
{
	struct ipc_request request = {0};
	struct fd_pass_message message;
	struct ipc_reply reply;
	int rc;

	if (count < 1 || count > IPC_MAX_FDS)
		return -EINVAL;
	request.args = (struct ipc_args){
	    .family = family,
	    .role = (uint8_t)role,
	    .number = (uint8_t)count,
	};
	rc = exchange(hc, &request, IPC_UDP_OPEN, count, &reply, &message);
	if (rc < 0)
		return rc;
	/* Three calls for a socket that sends one datagram would be most of its cost. */
	for (unsigned int i = 0; i < (role == IPC_UDP_DNS ? 1 : count); i++) {
		if (!socket_is(message.fds[i], domain_of(family), SOCK_DGRAM, IPPROTO_UDP)) {
			fd_pass_close(&message);
			return -EPROTO;
		}
	}
	memcpy(fds, message.fds, count * sizeof(int));
	*n = count;
	if (port)
		*port = reply.udp_open.port;
	return 0;
}

int helper_dns_listen(struct helper_client *hc, uint8_t family, const uint8_t addr[16], int *udp,
		      int *tcp)
{
	struct ipc_request request = {.args = {.family = family}};
	struct fd_pass_message message;
	struct ipc_reply reply;
	int rc;

	memcpy(request.args.local, addr, 16);
	rc = exchange(hc, &request, IPC_DNS_LISTEN, 2, &reply, &message);
	if (rc < 0)
		return rc;
	if (!socket_is(message.fds[0], domain_of(family), SOCK_DGRAM, IPPROTO_UDP) ||
	    !socket_is(message.fds[1], domain_of(family), SOCK_STREAM, IPPROTO_TCP)) {
		fd_pass_close(&message);
		return -EPROTO;
	}
	*udp = message.fds[0];
	*tcp = message.fds[1];
	return 0;
}

int helper_tcp_connect(struct helper_client *hc, uint8_t family, const uint8_t source[16],
		       const uint8_t dest[16], uint16_t port, enum ipc_tcp_role role, int *fd)
{
	struct ipc_request request = {
	    .args = {.family = family, .role = (uint8_t)role, .port = port},
	};
	struct fd_pass_message message;
	struct ipc_reply reply;
	int rc;

	memcpy(request.args.local, source, 16);
	memcpy(request.args.remote, dest, 16);
	rc = exchange(hc, &request, IPC_TCP_CONNECT, 1, &reply, &message);
	if (rc < 0)
		return rc;
	if (!socket_is(message.fds[0], domain_of(family), SOCK_STREAM, IPPROTO_TCP)) {
		fd_pass_close(&message);
		return -EPROTO;
	}
	*fd = message.fds[0];
	return 0;
}

int helper_route_open(struct helper_client *hc, int *lookup, int *events)
{
	struct ipc_request request = {0};
	struct fd_pass_message message;
	struct ipc_reply reply;
	int rc = exchange(hc, &request, IPC_ROUTE_OPEN, 2, &reply, &message);

	if (rc < 0)
		return rc;
	for (unsigned int i = 0; i < 2; i++) {
		if (!socket_is(message.fds[i], AF_NETLINK, SOCK_RAW, NETLINK_ROUTE)) {
			fd_pass_close(&message);
			return -EPROTO;
		}
	}
	*lookup = message.fds[0];
	*events = message.fds[1];
	return 0;
}

int helper_file_open(struct helper_client *hc, unsigned int index, int *fd)
{
	struct ipc_request request = {.args = {.number = (uint8_t)index}};
	struct fd_pass_message message;
	struct ipc_reply reply;
	int rc;

	if (index >= IPC_MAX_FILES)
		return -EINVAL;
	rc = exchange(hc, &request, IPC_FILE_OPEN, 1, &reply, &message);
	if (rc < 0)
		return rc;
	if (!mode_is(message.fds[0], S_IFREG)) {
		fd_pass_close(&message);
		return -EPROTO;
	}
	*fd = message.fds[0];
	return 0;
}
