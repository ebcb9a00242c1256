/*
 * The other side of tests/bench/dns_syscalls.
 *
 *   dns-peer serve ADDRESS ...                 answers every datagram to ports 53 and 4500 with
 *                                              itself, marked as an answer; says "ready" first
 *   dns-peer flap INTERFACE RATE SECONDS       sets the interface up and down, RATE times a second
 *                                              (0: as often as it goes); tells by one line of JSON
 *                                              how often, and how many events the kernel made of it
 */
#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	BATCH = 64,
	DATAGRAM = 2048,
	MAX_SOCKETS = 64,
	ANSWER_BIT = 0x80, /* of a DNS header's third byte */
	BUFFER = 1 << 24,
	EVENTS = 1 << 16,
};

static const uint16_t ports[] = {53, 4500};

static int end(const char *what)
{
	fprintf(stderr, "dns-peer: %s: %s\n", what, strerror(errno));
	return 1;
}

/* --- serve --- */

static int open_socket(const char *address, uint16_t port)
{
	struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), size = BUFFER;

	if (fd < 0 || inet_pton(AF_INET, address, &own.sin_addr) != 1 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0 ||
	    bind(fd, (const struct sockaddr *)&own, sizeof(own)) < 0)
		return -1;
	return fd;
}

struct batch {
	struct mmsghdr msgs[BATCH];
	struct iovec iovs[BATCH];
	struct sockaddr_storage from[BATCH];
	uint8_t data[BATCH][DATAGRAM];
};

static void answer(int fd, struct batch *b)
{
	int n;

	for (size_t i = 0; i < BATCH; i++) {
		b->iovs[i] = (struct iovec){.iov_base = b->data[i], .iov_len = DATAGRAM};
		b->msgs[i].msg_hdr = (struct msghdr){.msg_name = &b->from[i],
						     .msg_namelen = sizeof(b->from[i]),
						     .msg_iov = &b->iovs[i],
						     .msg_iovlen = 1};
	}
	n = recvmmsg(fd, b->msgs, BATCH, 0, NULL);
	for (int i = 0; i < n; i++) {
		b->data[i][2] |= ANSWER_BIT;
		b->iovs[i].iov_len = b->msgs[i].msg_len;
	}
	for (int done = 0; done < n;) {
		int sent = sendmmsg(fd, b->msgs + done, (unsigned int)(n - done), 0);

		done += sent > 0 ? sent : 1;
	}
}

static int serve(char **addresses)
{
	struct batch *b = calloc(1, sizeof(*b));
	struct pollfd fds[MAX_SOCKETS];
	nfds_t n = 0;

	if (!b)
		return end("memory");
	for (; *addresses && n < MAX_SOCKETS - 1; addresses++) {
		for (size_t i = 0; i < 2; i++, n++) {
			fds[n] = (struct pollfd){.fd = open_socket(*addresses, ports[i]),
						 .events = POLLIN};
			if (fds[n].fd < 0)
				return end(*addresses);
		}
	}
	printf("ready\n");
	fflush(stdout);
	while (poll(fds, n, -1) > 0)
		for (nfds_t i = 0; i < n; i++)
			if (fds[i].revents != 0)
				answer(fds[i].fd, b);
	return end("poll");
}

/* --- flap --- */

static int open_netlink(uint32_t groups)
{
	const struct sockaddr_nl own = {.nl_family = AF_NETLINK, .nl_groups = groups};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), size = BUFFER;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0 ||
	    bind(fd, (const struct sockaddr *)&own, sizeof(own)) < 0)
		return -1;
	return fd;
}

static bool set_up(int fd, int ifindex, bool up)
{
	char buf[EVENTS];
	struct nlmsghdr *header = mnl_nlmsg_put_header(buf);
	struct ifinfomsg *body;

	header->nlmsg_type = RTM_NEWLINK;
	header->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	body = mnl_nlmsg_put_extra_header(header, sizeof(*body));
	body->ifi_index = ifindex;
	body->ifi_change = IFF_UP;
	body->ifi_flags = up ? IFF_UP : 0;
	return send(fd, header, header->nlmsg_len, 0) > 0 && recv(fd, buf, sizeof(buf), 0) > 0;
}

/* Messages that are there, not datagrams. */
static uint64_t count_events(int fd)
{
	char buf[EVENTS];
	uint64_t events = 0;
	ssize_t n;

	while ((n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0) {
		int left = (int)n;
		const struct nlmsghdr *header = (const void *)buf;

		for (; mnl_nlmsg_ok(header, left); events++)
			header = mnl_nlmsg_next(header, &left);
	}
	return events;
}

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static int flap(const char *interface, double rate, double length)
{
	int ifindex = (int)if_nametoindex(interface);
	int fd = open_netlink(0);
	int events_fd = open_netlink(RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR |
				     RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE);
	double start = seconds();
	uint64_t changes = 0, events = 0;

	if (ifindex == 0 || fd < 0 || events_fd < 0)
		return end(interface);
	while (seconds() - start < length) {
		if (rate > 0 && (double)changes > (seconds() - start) * rate) {
			usleep(200);
			continue;
		}
		if (!set_up(fd, ifindex, changes++ % 2 == 0))
			return end("change");
		events += count_events(events_fd);
	}
	printf("{\"changes\":%llu,\"events\":%llu,\"seconds\":%.3f}\n", (unsigned long long)changes,
	       (unsigned long long)events, seconds() - start);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc > 2 && strcmp(argv[1], "serve") == 0)
		return serve(argv + 2);
	if (argc == 5 && strcmp(argv[1], "flap") == 0)
		return flap(argv[2], atof(argv[3]), atof(argv[4]));
	fprintf(stderr, "usage: dns-peer serve ADDRESS ... | flap INTERFACE RATE SECONDS\n");
	return 2;
}
