#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loop/internal.h"

/* linux/udp.h; the C library's header may lack it. */
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

enum {
	MAX_SEND_TRIES = 4
};

static void parse_control(struct msghdr *msg, struct gateway_datagrams *out)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
			int size;

			memcpy(&size, CMSG_DATA(c), sizeof(size));
			if (size > 0)
				out->segment = (size_t)size;
		} else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo info;

			memcpy(&info, CMSG_DATA(c), sizeof(info));
			out->dst.ip = ip_v4((const uint8_t *)&info.ipi_addr);
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo info;

			memcpy(&info, CMSG_DATA(c), sizeof(info));
			out->dst.ip = ip_v6((const uint8_t *)&info.ipi6_addr);
			if (ip_is_link_local(&out->dst.ip))
				out->dst.scope = info.ipi6_ifindex;
		} else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) {
			out->ecn = *CMSG_DATA(c) & 3;
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS) {
			int tclass;

			memcpy(&tclass, CMSG_DATA(c), sizeof(tclass));
			out->ecn = (uint8_t)(tclass & 3);
		}
	}
}

static void ring_arm(struct rx_ring *ring)
{
	for (size_t i = 0; i < RX_BATCH; i++) {
		ring->msgs[i].msg_hdr.msg_namelen = sizeof(ring->addrs[i]);
		ring->msgs[i].msg_hdr.msg_controllen = RX_CONTROL;
	}
}

static bool ring_new(struct rx_ring *ring)
{
	ring->memory = calloc(RX_BATCH, RX_HEADROOM + RX_BUFFER);
	if (!ring->memory)
		return false;
	for (size_t i = 0; i < RX_BATCH; i++) {
		ring->iovs[i].iov_base = ring->memory + i * (RX_HEADROOM + RX_BUFFER) + RX_HEADROOM;
		ring->iovs[i].iov_len = RX_BUFFER;
		ring->msgs[i].msg_hdr.msg_name = &ring->addrs[i];
		ring->msgs[i].msg_hdr.msg_iov = &ring->iovs[i];
		ring->msgs[i].msg_hdr.msg_iovlen = 1;
		ring->msgs[i].msg_hdr.msg_control = ring->control[i];
	}
	return true;
}

/* One recvmmsg and all that follows from it; returns how many datagram buffers came. */
static int udp_receive(struct udp *udp)
{
	struct loop *l = udp->l;
	struct rx_ring *ring = &l->rx;
	size_t n = 0;
	int got;

	ring_arm(ring);
	got = recvmmsg(udp->fd, ring->msgs, RX_BATCH, MSG_DONTWAIT, NULL);
	if (got <= 0)
		return 0;
	l->rx_calls++;
	l->rx_messages += (uint64_t)got;
	for (int i = 0; i < got; i++) {
		struct gateway_datagrams *in = &ring->parsed[n];
		struct msghdr *msg = &ring->msgs[i].msg_hdr;

		memset(in, 0, sizeof(*in));
		in->data = ring->iovs[i].iov_base;
		in->len = ring->msgs[i].msg_len;
		in->segment = in->len;
		if ((msg->msg_flags & (MSG_TRUNC | MSG_CTRUNC)) || in->len == 0 ||
		    !endpoint_of(&in->src, &ring->addrs[i]))
			continue;
		parse_control(msg, in);
		in->dst.port = udp->port;
		n++;
	}
	gateway_udp_in(l->gateway, ring->parsed, n, l->coalescer, now_us());
	tun_flush(l);
	return got;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct udp *udp = arg;

	(void)fd;
	(void)what;
	for (int round = 0; round < RX_ROUNDS; round++)
		if (udp_receive(udp) < RX_BATCH)
			break;
	gateway_packets_done(udp->l->gateway, now_us());
	loop_settle(udp->l);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct udp *udp = arg;

	(void)fd;
	(void)what;
	udp->blocked = false;
	if (!udp->l->udp[0].blocked && !udp->l->udp[1].blocked)
		tun_pause(udp->l, false);
}

static int udp_add(struct loop *l, struct udp *udp, uint8_t family)
{
	int fds[IPC_MAX_FDS];
	unsigned int n;
	int rc;

	udp->l = l;
	udp->fd = -1;
	udp->family = family;
	rc = helper_udp_open(&l->helper, family, IPC_UDP_PEER, 1, fds, &n, &udp->port);
	if (rc < 0)
		return rc;
	udp->fd = fds[0];
	udp->readable = event_new(l->base, udp->fd, EV_READ | EV_PERSIST, on_readable, udp);
	udp->writable = event_new(l->base, udp->fd, EV_WRITE, on_writable, udp);
	if (!udp->readable || !udp->writable || event_add(udp->readable, NULL) < 0)
		return -ENOMEM;
	log_at(l->log, LOG_INFO, "firezone_gateway", "Listening for UDP", KV_INT("family", family),
	       KV_INT("port", udp->port));
	return 0;
}

int udp_open_all(struct loop *l)
{
	int v4, v6;

	if (!ring_new(&l->rx))
		return -ENOMEM;
	v4 = udp_add(l, &l->udp[0], IP_V4);
	v6 = udp_add(l, &l->udp[1], IP_V6);
	if (v6 < 0 && v4 == 0)
		log_at(l->log, LOG_WARN, "firezone_gateway", "No UDP over IPv6 on this host",
		       KV_STR("error", strerror(-v6)));
	return v4 < 0 && v6 < 0 ? v4 : 0;
}

/* One datagram after the other, for sockets or batches that cannot be segmented by the kernel. */
static int send_uncut(struct udp *udp, const struct endpoint *src, const struct txq_batch *batch)
{
	int rc = 0;

	for (size_t at = 0; at < batch->len; at += batch->segment) {
		size_t len = min_size(batch->segment, batch->len - at);

		udp->l->tx_calls++;
		rc = send_from(udp->fd, src, &batch->key.dst, batch->key.ecn, batch->data + at, len,
			       0);
		if (rc < 0)
			return rc;
	}
	return rc;
}

static int send_batch(struct udp *udp, const struct endpoint *src, const struct txq_batch *batch,
		      bool cut)
{
	if (batch->count > 1 && (!cut || udp->no_gso))
		return send_uncut(udp, src, batch);
	udp->l->tx_calls++;
	return send_from(udp->fd, src, &batch->key.dst, batch->key.ecn, batch->data, batch->len,
			 batch->count > 1 ? batch->segment : 0);
}

static void sent(struct udp *udp, const struct factory_send_error *e, const struct txq_batch *batch)
{
	udp->l->tx_datagrams += batch->count;
	udp->l->tx_bytes += batch->len;
	if (e->retried_gso && !udp->no_gso) {
		udp->no_gso = true;
		log_at(udp->l->log, LOG_INFO, "firezone_gateway",
		       "Kernel refused UDP segmentation, sending one by one",
		       KV_INT("family", udp->family));
	}
}

static void send_blocked(struct udp *udp)
{
	if (udp->blocked || event_add(udp->writable, NULL) < 0)
		return;
	udp->blocked = true;
	tun_pause(udp->l, true);
}

static void hint_firewall(struct loop *l, int error)
{
	if ((error != EPERM && error != EACCES) || l->firewall_hint)
		return;
	l->firewall_hint = true;
	log_say(l->log, LOG_INFO, "firezone_gateway",
		"Sending a datagram was not permitted, check the local firewall rules");
}

/* True: try again as *e and *src say now. */
static bool may_retry(struct udp *udp, struct factory_send_error *e, struct endpoint *src)
{
	hint_firewall(udp->l, e->error);
	switch (factory_send_failed(udp->l->factory, e, now_us(), &e->route)) {
	case FACTORY_RETRY_SOURCE:
		e->retried_source = true;
		src->ip = e->route.source;
		return true;
	case FACTORY_RETRY_UNCUT:
		e->retried_gso = true;
		return true;
	case FACTORY_WAIT:
		send_blocked(udp);
		return false;
	case FACTORY_REPORT_DEAD:
	case FACTORY_DROP:
		break;
	}
	return false;
}

void udp_flush(void *ctx, const struct txq_batch *batch)
{
	struct loop *l = ctx;
	struct udp *udp = &l->udp[batch->key.dst.ip.family == IP_V4 ? 0 : 1];
	struct endpoint src = batch->key.src;
	struct factory_send_error e = {.dst = batch->key.dst,
				       .used_gso = batch->count > 1 && !udp->no_gso};

	e.fixed_source = src.ip.family != IP_NONE;
	if (udp->fd < 0)
		goto drop;
	if (!e.fixed_source) {
		if (factory_resolve(l->factory, &e.dst.ip, e.dst.scope, now_us(), &e.route) !=
		    FACTORY_OK)
			goto drop;
		src.ip = e.route.source;
	}
	for (int i = 0; i < MAX_SEND_TRIES; i++) {
		int rc = send_batch(udp, &src, batch, !e.retried_gso);

		if (rc == 0) {
			sent(udp, &e, batch);
			return;
		}
		e.error = -rc;
		if (!may_retry(udp, &e, &src))
			break;
	}
drop:
	l->tx_dropped += batch->count;
}

void udp_close_all(struct loop *l)
{
	for (size_t i = 0; i < 2; i++) {
		if (l->udp[i].readable)
			event_free(l->udp[i].readable);
		if (l->udp[i].writable)
			event_free(l->udp[i].writable);
		if (l->udp[i].fd >= 0)
			close(l->udp[i].fd);
	}
	free(l->rx.memory);
}
