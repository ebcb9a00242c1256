#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <unistd.h>

#include "loop/internal.h"

enum {
	NL_BUFFER = 32768,
	MAX_READS = 256 /* of one drain; the rest wakes us again */
};

static struct link_name *link_of(struct loop *l, uint32_t ifindex)
{
	for (size_t i = 0; i < l->n_links; i++)
		if (l->links[i].ifindex == ifindex)
			return &l->links[i];
	return NULL;
}

/* True if anything changed that may change a route. */
static bool link_changed(struct loop *l, const struct nl_msg *msg)
{
	struct link_name *known = link_of(l, msg->link.ifindex);
	bool same;

	if (msg->kind == NL_DEL_LINK) {
		if (known)
			*known = l->links[--l->n_links];
		return true;
	}
	if (!known) {
		if (l->n_links == KNOWN_LINKS)
			return true;
		known = &l->links[l->n_links++];
		known->ifindex = 0;
	}
	same = known->ifindex == msg->link.ifindex &&
	       ((known->flags ^ msg->link.flags) & IFF_UP) == 0 &&
	       known->carrier == msg->link.carrier;
	known->ifindex = msg->link.ifindex;
	known->flags = msg->link.flags;
	known->carrier = msg->link.carrier;
	memcpy(known->name, msg->link.name, sizeof(known->name));
	return !same;
}

static bool own_table(uint32_t table)
{
	return table >= UINT32_C(0x2021fd00) && table <= UINT32_C(0x2021fd02);
}

/* Does the event say that a route may have changed? What we did ourselves does not count. */
static bool event_counts(struct loop *l, const struct nl_msg *msg)
{
	switch (msg->kind) {
	case NL_NEW_LINK:
	case NL_DEL_LINK:
		return msg->link.ifindex != l->tun_ifindex && link_changed(l, msg);
	case NL_NEW_ADDR:
	case NL_DEL_ADDR:
		return msg->address.ifindex != l->tun_ifindex;
	case NL_NEW_ROUTE:
	case NL_DEL_ROUTE:
		return msg->route.ifindex != l->tun_ifindex && !own_table(msg->route.table);
	case NL_NEW_RULE:
	case NL_DEL_RULE:
		return msg->rule.mark != (uint32_t)FACTORY_MARK;
	case NL_NEXTHOP:
		return true;
	case NL_ERROR:
	case NL_DONE:
	case NL_OTHER:
		break;
	}
	return false;
}

/* Read all events; one drain makes the cache forget at most once. */
static void drain_events(struct loop *l)
{
	uint8_t buf[NL_BUFFER];
	struct nl_msg msg;
	const char *cause = NULL;
	ssize_t n;

	for (int i = 0; i < MAX_READS; i++) {
		size_t at = 0;
		bool bad = false;

		n = recv(l->nl_events, buf, sizeof(buf), MSG_DONTWAIT);
		if (n < 0 && errno == ENOBUFS) {
			cause = "events lost";
			continue;
		}
		if (n <= 0)
			break;
		while (nl_next(&msg, buf, (size_t)n, &at, &bad))
			if (event_counts(l, &msg))
				cause = "network event";
		if (bad)
			cause = "unreadable event";
	}
	if (cause)
		factory_flush(l->factory, cause);
}

static void on_events(evutil_socket_t fd, short what, void *arg)
{
	struct loop *l = arg;

	(void)fd;
	(void)what;
	drain_events(l);
	loop_settle(l);
}

/* One datagram of the kernel's; -EPROTO if it is somebody else's or does not fit. */
static int receive(struct loop *l, uint8_t *buf, size_t cap)
{
	struct sockaddr_nl from = {.nl_family = AF_UNSPEC};
	socklen_t from_len = sizeof(from);
	ssize_t n = recvfrom(l->nl_lookup, buf, cap, MSG_DONTWAIT | MSG_TRUNC,
			     (struct sockaddr *)&from, &from_len);

	if (n < 0)
		return -errno;
	return from.nl_pid != 0 || (size_t)n > cap ? -EPROTO : (int)n;
}

/* Send one request and receive the first datagram of the answer: its length, or a negative errno.
 */
static int ask(struct loop *l, const uint8_t *request, size_t len, uint8_t *buf, size_t cap)
{
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	int n;

	/* An answer to an earlier request that nobody waited for must not be taken for this one's.
	 */
	do {
		n = receive(l, buf, cap);
	} while (n > 0 || n == -EPROTO);
	if (sendto(l->nl_lookup, request, len, MSG_DONTWAIT, (struct sockaddr *)&kernel,
		   sizeof(kernel)) < 0)
		return -errno;
	return receive(l, buf, cap);
}

static void take_answer(struct loop *l, const struct nl_msg *msg, struct factory_lookup *out)
{
	const struct link_name *link = link_of(l, msg->route.ifindex);

	out->error = 0;
	out->type = msg->route.type;
	out->prefsrc = msg->route.prefsrc;
	out->gateway = msg->route.gateway;
	out->ifindex = msg->route.ifindex;
	out->table = msg->route.table;
	out->metric = msg->route.metric;
	if (link)
		memcpy(out->ifname, link->name, sizeof(out->ifname));
}

void routes_lookup(void *ctx, const struct ip_addr *dst, uint32_t scope, struct factory_lookup *out)
{
	struct loop *l = ctx;
	uint8_t request[NL_MAX_REQUEST], buf[NL_BUFFER];
	struct nl_msg msg;
	uint64_t start_us = now_us();
	size_t at = 0, len;
	bool bad = false;
	int n;

	drain_events(l);
	out->generation = factory_generation(l->factory);
	out->error = EPROTO;
	len = nl_write_get_route(request, sizeof(request), ++l->nl_seq, dst, scope,
				 (uint32_t)FACTORY_MARK);
	n = len > 0 ? ask(l, request, len, buf, sizeof(buf)) : -EPROTO;
	if (n <= 0 || !nl_next(&msg, buf, (size_t)n, &at, &bad) || msg.seq != l->nl_seq)
		return;
	if (msg.kind == NL_ERROR && msg.error > 0)
		out->error = msg.error;
	else if (msg.kind == NL_NEW_ROUTE && ip_eq(&msg.route.dst.ip, dst))
		take_answer(l, &msg, out);
	out->took_us = now_us() - start_us;
}

/* Names and states of all links, so that the TUN is known by name and changes can be told. */
static int read_links(struct loop *l)
{
	uint8_t request[NL_MAX_REQUEST], buf[NL_BUFFER];
	struct nl_msg msg;
	size_t len = nl_write_dump(request, sizeof(request), ++l->nl_seq, NL_DUMP_LINKS);
	int n = ask(l, request, len, buf, sizeof(buf));

	while (n > 0) {
		size_t at = 0;
		bool bad = false;

		while (nl_next(&msg, buf, (size_t)n, &at, &bad)) {
			if (msg.kind == NL_DONE || msg.kind == NL_ERROR)
				return msg.kind == NL_DONE ? 0 : -msg.error;
			if (msg.kind == NL_NEW_LINK)
				(void)link_changed(l, &msg);
		}
		n = bad ? -EPROTO : receive(l, buf, sizeof(buf));
	}
	return n < 0 ? n : -EPROTO;
}

int routes_open(struct loop *l)
{
	int rc = helper_route_open(&l->helper, &l->nl_lookup, &l->nl_events);

	if (rc < 0)
		return rc;
	rc = read_links(l);
	if (rc < 0)
		return rc;
	l->nl_event = event_new(l->base, l->nl_events, EV_READ | EV_PERSIST, on_events, l);
	if (!l->nl_event || event_add(l->nl_event, NULL) < 0)
		return -ENOMEM;
	return 0;
}

void routes_close(struct loop *l)
{
	if (l->nl_event)
		event_free(l->nl_event);
	if (l->nl_lookup >= 0)
		close(l->nl_lookup);
	if (l->nl_events >= 0)
		close(l->nl_events);
}
