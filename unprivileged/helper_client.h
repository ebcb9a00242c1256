/*
 * The worker's half of the contract with the helper: one function per request (ipc/ipc.h has the
 * table).
 *
 * Every call sends one request and waits for its reply, at most one second. All return 0 or a
 * negative errno: -ECONNRESET  the helper is gone: the worker must exit -EPROTO      the helper
 * broke the contract (size, number or kind of descriptors, lost descriptors): exit too -ETIMEDOUT
 * no reply in time; a late one is thrown away by the next call others       the helper's own
 * answer: -EPERM outside of policy, -EAGAIN too often, -ENOBUFS audit log full, or what its system
 * call said. Descriptors are the caller's after success; after failure none is left open and
 * outputs are untouched. All are close-on-exec; sockets and the TUN are non-blocking too.
 *
 * System calls used: poll, sendmsg, recvmsg, close, fstat, getsockopt (SO_DOMAIN, SO_TYPE,
 * SO_PROTOCOL) and the monotonic clock.
 *
 * Families are 4 and 6; addresses are 16 bytes in network order, IPv4 in the first four and the
 * rest zero; ports are in host order.
 */
#ifndef HELPER_CLIENT_H
#define HELPER_CLIENT_H

#include "ipc/ipc.h"

struct helper_client {
	int fd;       /* the worker's end of the pair; the caller opens and closes it */
	uint32_t seq; /* of the last request; starts at 0 */
};

/* Greet: state the policy, learn what the helper can do. Must come first, once. */
IPC_MUST_CHECK int helper_hello(struct helper_client *hc, const struct ipc_policy *policy,
				struct ipc_hello_reply *reply);

/*
 * The TUN: one queue, exclusive, not persistent, packets behind a virtio header of
 * IPC_VNET_HEADER_SIZE bytes.
 * @offloads: bits of enum ipc_offload. Succeeds once in the helper's life; -EBUSY: the interface
 * exists already.
 */
IPC_MUST_CHECK int helper_tun_open(struct helper_client *hc, int *fd, uint32_t *ifindex,
				   uint32_t *offloads);

/*
 * Addresses, MTU, routes and policy rules of the TUN. The same again is a no-op; other addresses
 * replace the old.
 * @families_ok: bits of enum ipc_family_bit; success means at least one.
 */
IPC_MUST_CHECK int helper_tun_configure(struct helper_client *hc, const uint8_t v4[4],
					const uint8_t v6[16], uint16_t mtu, uint8_t *families_ok);

/* @count marked UDP sockets, all of one kind: of the DNS role's the first is looked at, any other
 * wrong one fails at its only send; *@n is @count on success. @port: where a peer socket is bound
 * (NULL if not wanted). */
IPC_MUST_CHECK int helper_udp_open(struct helper_client *hc, uint8_t family, enum ipc_udp_role role,
				   unsigned int count, int fds[IPC_MAX_FDS], unsigned int *n,
				   uint16_t *port);

/* UDP and listening TCP socket on @addr, which must be the TUN's, port IPC_DNS_PORT; bound to the
 * TUN, so that nobody else is heard, and with a mark of their own. */
IPC_MUST_CHECK int helper_dns_listen(struct helper_client *hc, uint8_t family,
				     const uint8_t addr[16], int *udp, int *tcp);

/* A marked TCP socket bound to @source (not the unspecified address) that is connecting to @dest.
 */
IPC_MUST_CHECK int helper_tcp_connect(struct helper_client *hc, uint8_t family,
				      const uint8_t source[16], const uint8_t dest[16],
				      uint16_t port, enum ipc_tcp_role role, int *fd);

/* Two NETLINK_ROUTE sockets: for RTM_GETROUTE and dumps of addresses and links, and with the events
 * subscribed. */
IPC_MUST_CHECK int helper_route_open(struct helper_client *hc, int *lookup, int *events);

/* A regular file of at most IPC_MAX_FILE_BYTES for reading, by its place in the policy's table. */
IPC_MUST_CHECK int helper_file_open(struct helper_client *hc, unsigned int index, int *fd);

#endif
