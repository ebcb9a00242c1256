#include "ipc/fd_pass.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Room for one message of the most descriptors; aligned as the macros want it. */
union control {
	struct cmsghdr align;
	unsigned char bytes[CMSG_SPACE(IPC_MAX_FDS * sizeof(int))];
};

int fd_pass_send(int socket, const void *buf, size_t len, const int *fds, unsigned int fd_count)
{
	union {
		const void *from;
		void *to;
	} base = {.from = buf};
	struct iovec iov = {.iov_base = base.to, .iov_len = len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	union control control = {0};
	ssize_t sent;

	if (fd_count > IPC_MAX_FDS)
		return -EINVAL;
	if (fd_count > 0) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		memcpy(CMSG_DATA(&control.align), fds, fd_count * sizeof(int));
	}
	do
		sent = sendmsg(socket, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : 0;
}

/* Take the descriptors out of @msg. Returns -EPROTO if it carried anything else, too. */
static int take_fds(struct msghdr *msg, struct fd_pass_message *message)
{
	int rc = 0;

	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {
		size_t bytes = cmsg->cmsg_len - CMSG_LEN(0);
		unsigned int count = (unsigned int)(bytes / sizeof(int));

		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS) {
			rc = -EPROTO;
			continue;
		}
		/* The control buffer has no room for more than IPC_MAX_FDS of them. */
		if (count > IPC_MAX_FDS - message->fd_count)
			count = IPC_MAX_FDS - message->fd_count;
		memcpy(message->fds + message->fd_count, CMSG_DATA(cmsg), count * sizeof(int));
		message->fd_count += count;
	}
	return rc;
}

int fd_pass_receive(int socket, void *buf, size_t size, struct fd_pass_message *message)
{
	struct iovec iov = {.iov_base = buf, .iov_len = size};
	union control control = {0};
	struct msghdr msg = {
	    .msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = control.bytes,
	    .msg_controllen = sizeof(control.bytes),
	};
	ssize_t received;
	int rc;

	*message = (struct fd_pass_message){0};
	do
		received = recvmsg(socket, &msg, MSG_CMSG_CLOEXEC);
	while (received < 0 && errno == EINTR);
	if (received < 0)
		return -errno;
	message->len = (size_t)received;
	rc = take_fds(&msg, message);
	if (rc == 0 && (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
		rc = -EPROTO;
	if (rc < 0)
		fd_pass_close(message);
	return rc;
}

void fd_pass_close(struct fd_pass_message *message)
{
	for (unsigned int i = 0; i < message->fd_count; i++)
		close(message->fds[i]);
	message->fd_count = 0;
}
