#include "dns_plain.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop/internal.h"

enum {
	NETLINK_BUFFER = 4096,
	ANSWER = 1500
};

int plain_lookup_open(int *fd)
{
	const struct sockaddr_nl own = {.nl_family = AF_NETLINK};
	int rc = 0;

	*fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (*fd < 0)
		return -errno;
	if (bind(*fd, (const struct sockaddr *)&own, sizeof(own)) < 0) {
		rc = -errno;
		close(*fd);
	}
	return rc;
}

static struct rtmsg *begin(struct nlmsghdr *header, uint16_t type, uint16_t flags)
{
	struct rtmsg *body;

	header->nlmsg_type = type;
	header->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	header->nlmsg_seq = 1;
	body = mnl_nlmsg_put_extra_header(header, sizeof(*body));
	body->rtm_family = AF_INET;
	return body;
}

static int on_attribute(const struct nlattr *attribute, void *arg)
{
	struct ip_addr *source = arg;

	if (mnl_attr_get_type(attribute) == RTA_PREFSRC)
		*source = ip_v4(mnl_attr_get_payload(attribute));
	return MNL_CB_OK;
}

int plain_lookup(int fd, const struct ip_addr *dst, struct ip_addr *source)
{
	char buf[NETLINK_BUFFER];
	struct nlmsghdr *header = mnl_nlmsg_put_header(buf);
	struct rtmsg *body = begin(header, RTM_GETROUTE, 0);
	ssize_t n;

	body->rtm_dst_len = 32;
	body->rtm_flags = RTM_F_LOOKUP_TABLE;
	mnl_attr_put(header, RTA_DST, 4, dst->bytes);
	mnl_attr_put_u32(header, RTA_MARK, (uint32_t)FACTORY_MARK);
	if (send(fd, header, header->nlmsg_len, 0) < 0)
		return -errno;
	n = recv(fd, buf, sizeof(buf), 0);
	if (n < 0)
		return -errno;
	*source = (struct ip_addr){.family = IP_NONE};
	if (mnl_nlmsg_ok(header, (int)n) && header->nlmsg_type == RTM_NEWROUTE)
		mnl_attr_parse(header, sizeof(*body), on_attribute, source);
	return source->family == IP_NONE ? -ENETUNREACH : 0;
}

int plain_replace_default(int fd, const struct ip_addr *gateway, const struct ip_addr *source)
{
	char buf[NETLINK_BUFFER];
	struct nlmsghdr *header = mnl_nlmsg_put_header(buf);
	struct rtmsg *body = begin(header, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE | NLM_F_ACK);
	const struct nlmsgerr *error;
	ssize_t n;

	body->rtm_table = RT_TABLE_MAIN;
	body->rtm_protocol = RTPROT_STATIC;
	body->rtm_type = RTN_UNICAST;
	mnl_attr_put(header, RTA_GATEWAY, 4, gateway->bytes);
	mnl_attr_put(header, RTA_PREFSRC, 4, source->bytes);
	if (send(fd, header, header->nlmsg_len, 0) < 0)
		return -errno;
	n = recv(fd, buf, sizeof(buf), 0);
	if (n < 0)
		return -errno;
	if (!mnl_nlmsg_ok(header, (int)n) || header->nlmsg_type != NLMSG_ERROR)
		return -EPROTO;
	error = mnl_nlmsg_get_payload(header);
	return error->error;
}

size_t plain_query(uint8_t out[PLAIN_QUERY], unsigned int n)
{
	/* Id, recursion desired, one question; the type and class follow the name. */
	static const uint8_t head[12] = {[2] = 1, [5] = 1};
	static const uint8_t tail[] = "\7example\0\0\1\0";
	char label[16];
	size_t len = (size_t)snprintf(label, sizeof(label), "q%u", n), at = sizeof(head);

	memcpy(out, head, sizeof(head));
	out[0] = (uint8_t)(n >> 8);
	out[1] = (uint8_t)n;
	out[at++] = (uint8_t)len;
	memcpy(out + at, label, len);
	memcpy(out + at + len, tail, sizeof(tail));
	return at + len + sizeof(tail);
}

static int ask(const struct plain *p, struct plain_flight *flight, int epoll, unsigned int n)
{
	const struct sockaddr_in any = {.sin_family = AF_INET};
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = flight};
	struct endpoint source = {.port = 0};
	uint8_t query[PLAIN_QUERY];
	size_t len = plain_query(query, n);
	int mark = FACTORY_MARK, rc = 0;

	flight->server = n % p->n_servers;
	flight->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (flight->fd < 0 ||
	    setsockopt(flight->fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)) < 0 ||
	    bind(flight->fd, (const struct sockaddr *)&any, sizeof(any)) < 0)
		return -errno;
	rc = p->resolve(p->ctx, &p->servers[flight->server].ip, &source.ip);
	if (rc < 0)
		return rc;
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, flight->fd, &event) < 0)
		return -errno;
	return send_from(flight->fd, &source, &p->servers[flight->server], 0, query, len, 0);
}

/* True if it was the server's; anybody else's fails the query, as it did then. */
static bool take(const struct plain *p, struct plain_flight *flight)
{
	uint8_t answer[ANSWER];
	struct sockaddr_storage from;
	struct iovec iov = {.iov_base = answer, .iov_len = sizeof(answer)};
	struct msghdr msg = {
	    .msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &iov, .msg_iovlen = 1};
	struct endpoint source;
	ssize_t n = recvmsg(flight->fd, &msg, 0);
	bool ok = n > 0 && endpoint_of(&source, &from) &&
		  ip_eq(&source.ip, &p->servers[flight->server].ip);

	close(flight->fd);
	flight->fd = -1;
	return ok;
}

static int fill(const struct plain *p, struct plain_flight *flights, int epoll,
		unsigned int *started, unsigned int count)
{
	int rc = 0;

	for (unsigned int i = 0; rc == 0 && i < p->window && *started < count; i++)
		if (flights[i].fd < 0)
			rc = ask(p, &flights[i], epoll, (*started)++);
	return rc;
}

int plain_run(const struct plain *p, unsigned int count)
{
	struct plain_flight flights[PLAIN_WINDOW];
	struct epoll_event events[PLAIN_WINDOW];
	unsigned int started = 0, done = 0;
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	int rc = epoll < 0 ? -errno : 0;

	for (size_t i = 0; i < PLAIN_WINDOW; i++)
		flights[i].fd = -1;
	while (rc == 0 && done < count) {
		int n;

		rc = fill(p, flights, epoll, &started, count);
		n = rc == 0 ? epoll_wait(epoll, events, PLAIN_WINDOW, 2000) : 0;
		if (rc == 0 && n <= 0)
			rc = -ETIMEDOUT;
		for (int i = 0; i < n; i++, done++)
			if (!take(p, events[i].data.ptr))
				rc = -EPROTO;
	}
	for (size_t i = 0; i < PLAIN_WINDOW; i++)
		if (flights[i].fd >= 0)
			close(flights[i].fd);
	if (epoll >= 0)
		close(epoll);
	return rc;
}
