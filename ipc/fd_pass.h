/*
 * Datagrams with descriptors over a SOCK_SEQPACKET pair; knows nothing of what the bytes mean.
 */
#ifndef IPC_FD_PASS_H
#define IPC_FD_PASS_H

#include "ipc/ipc.h"

struct fd_pass_message {
	size_t len; /* bytes received */
	unsigned int fd_count;
	int fds[IPC_MAX_FDS]; /* close-on-exec; the caller owns them */
};

/*
 * Send @len bytes and @fd_count (at most IPC_MAX_FDS) descriptors as one datagram, without blocking
 * and without SIGPIPE. The descriptors stay the caller's. Returns 0 or a negative errno.
 */
IPC_MUST_CHECK int fd_pass_send(int socket, const void *buf, size_t len, const int *fds,
				unsigned int fd_count);

/*
 * Receive one datagram into @buf; blocks if the socket does.
 *
 * Returns 0 and the message (len 0 and no fds: the other end is closed), or a negative errno with
 * no descriptor left open: -EPROTO if the datagram was longer than @size, if descriptors were lost
 * on the way (MSG_CTRUNC), or if it carried anything but at most IPC_MAX_FDS descriptors.
 */
IPC_MUST_CHECK int fd_pass_receive(int socket, void *buf, size_t size,
				   struct fd_pass_message *message);

/* Close the descriptors of @message. */
void fd_pass_close(struct fd_pass_message *message);

#endif
