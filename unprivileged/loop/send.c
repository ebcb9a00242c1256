#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>

#include "loop/internal.h"

/* Room for packet info, traffic class and segment size. */
union control {
	struct cmsghdr align;
	uint8_t bytes[CMSG_SPACE(sizeof(struct in6_pktinfo)) + 2 * CMSG_SPACE(sizeof(int))];
};

static void add(struct msghdr *msg, int level, int type, const void *data, size_t len)
{
	void *at = (uint8_t *)msg->msg_control + msg->msg_controllen;
	struct cmsghdr *cmsg = at;

	cmsg->cmsg_level = level;
	cmsg->cmsg_type = type;
	cmsg->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(cmsg), data, len);
	msg->msg_controllen += CMSG_SPACE(len);
}

/* The source only, never the interface: a stale interface loses datagrams silently, a stale source
 * fails. */
static void add_source(struct msghdr *msg, const struct ip_addr *src)
{
	if (src->family == IP_V4) {
		struct in_pktinfo info = {.ipi_ifindex = 0};

		memcpy(&info.ipi_spec_dst, src->bytes, 4);
		add(msg, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
	} else if (src->family == IP_V6) {
		struct in6_pktinfo info = {.ipi6_ifindex = 0};

		memcpy(&info.ipi6_addr, src->bytes, 16);
		add(msg, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
	}
}

int send_from(int fd, const struct endpoint *src, const struct endpoint *dst, uint8_t ecn,
	      const uint8_t *data, size_t len, size_t segment)
{
	struct sockaddr_storage to;
	union control control;
	struct iovec iov = {.iov_len = len};
	struct msghdr msg = {
	    .msg_name = &to,
	    .msg_namelen = sockaddr_of(&to, dst),
	    .msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = control.bytes,
	};
	int tos = ecn;
	uint16_t size = (uint16_t)segment;

	memcpy(&iov.iov_base, &data,
	       sizeof(data)); /* the type lacks a const: sendmsg() only reads there */
	memset(&control, 0, sizeof(control));
	add_source(&msg, &src->ip);
	if (ecn != 0 && dst->ip.family == IP_V4)
		add(&msg, IPPROTO_IP, IP_TOS, &tos, sizeof(tos));
	else if (ecn != 0)
		add(&msg, IPPROTO_IPV6, IPV6_TCLASS, &tos, sizeof(tos));
	if (segment > 0 && segment < len)
		add(&msg, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof(size));
	if (msg.msg_controllen == 0)
		msg.msg_control = NULL;
	return sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}
