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
	REOPEN_GAP_S = 1,  /* the helper's limit for one family */
	REOPEN_MAX_S = 30, /* the longest wait between two attempts */
	FAILING_S = 5,     /* of nothing but failed sends after a roam */
};

static void send_waiting(struct udp *udp);
static void on_reopen(evutil_socket_t fd, short what, void *arg);

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

static void unblock(struct udp *udp)
{
	if (!udp->blocked)
		return;
	udp->blocked = false;
	if (!udp->l->udp[0].blocked && !udp->l->udp[1].blocked)
		tun_pause(udp->l, false);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct udp *udp = arg;

	(void)fd;
	(void)what;
	send_waiting(udp);
	unblock(udp);
}

static void udp_close(struct udp *udp)
{
	if (udp->readable)
		event_free(udp->readable);
	if (udp->writable)
		event_free(udp->writable);
	if (udp->fd >= 0)
		close(udp->fd);
	udp->readable = udp->writable = NULL;
	udp->fd = -1;
	udp->waiting.len = 0;
	unblock(udp);
}

static int udp_open(struct udp *udp)
{
	struct loop *l = udp->l;
	int fds[IPC_MAX_FDS];
	unsigned int n;
	uint16_t port;
	int rc = helper_udp_open(&l->helper, udp->family, IPC_UDP_PEER, 1, fds, &n, &port);

	udp->opened_us = now_us();
	if (rc < 0)
		return rc;
	udp->fd = fds[0];
	udp->port = port;
	udp->no_gso = l->no_gso;
	udp->failing_us = 0;
	udp->readable = event_new(l->base, udp->fd, EV_READ | EV_PERSIST, on_readable, udp);
	udp->writable = event_new(l->base, udp->fd, EV_WRITE, on_writable, udp);
	if (!udp->readable || !udp->writable || event_add(udp->readable, NULL) < 0) {
		udp_close(udp);
		return -ENOMEM;
	}
	return 0;
}

static int udp_add(struct loop *l, struct udp *udp, uint8_t family)
{
	int rc;

	udp->l = l;
	udp->fd = -1;
	udp->family = family;
	udp->waiting.data = malloc(TXQ_MAX_BYTES);
	udp->reopen = evtimer_new(l->base, on_reopen, udp);
	if (!udp->waiting.data || !udp->reopen)
		return -ENOMEM;
	rc = udp_open(udp);
	if (rc == 0)
		log_at(l->log, LOG_INFO, "firezone_gateway", "Listening for UDP",
		       KV_INT("family", family), KV_INT("port", udp->port));
	return rc;
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
static int send_uncut(struct udp *udp, const struct ip_addr *source, const struct txq_batch *batch)
{
	const struct endpoint src = {.ip = *source};
	int rc = 0;

	for (size_t at = 0; at < batch->len; at += batch->segment) {
		size_t len = min_size(batch->segment, batch->len - at);

		udp->l->tx_calls++;
		rc = send_from(udp->fd, &src, &batch->key.dst, batch->key.ecn, batch->data + at,
			       len, 0);
		if (rc < 0)
			return rc;
	}
	return rc;
}

static int send_batch(struct udp *udp, const struct ip_addr *source, const struct txq_batch *batch,
		      bool uncut)
{
	const struct endpoint src = {.ip = *source};

	if (batch->count > 1 && (uncut || udp->no_gso))
		return send_uncut(udp, source, batch);
	udp->l->tx_calls++;
	return send_from(udp->fd, &src, &batch->key.dst, batch->key.ecn, batch->data, batch->len,
			 batch->count > 1 ? batch->segment : 0);
}

static void sent(struct udp *udp, const struct txq_batch *batch, bool uncut)
{
	udp->l->tx_datagrams += batch->count;
	udp->l->tx_bytes += batch->len;
	udp->failing_us = 0;
	if (uncut && !udp->no_gso) {
		udp->no_gso = true;
		log_at(udp->l->log, LOG_INFO, "firezone_gateway",
		       "Kernel refused UDP segmentation, sending one by one",
		       KV_INT("family", udp->family));
	}
}

/* The socket's buffer is full: this batch waits for it, and so do the packets of the TUN. */
static bool send_blocked(struct udp *udp, const struct ip_addr *source,
			 const struct txq_batch *batch)
{
	uint8_t *data = udp->waiting.data;

	if (udp->blocked || event_add(udp->writable, NULL) < 0)
		return false;
	udp->blocked = true;
	tun_pause(udp->l, true);
	memcpy(data, batch->data, batch->len);
	udp->waiting = *batch;
	udp->waiting.data = data;
	udp->waiting_source = *source;
	return true;
}

/* One try: what has become invalid meanwhile is lost. */
static void send_waiting(struct udp *udp)
{
	struct txq_batch *batch = &udp->waiting;

	if (batch->len == 0)
		return;
	if (send_batch(udp, &udp->waiting_source, batch, false) == 0)
		sent(udp, batch, false);
	else
		udp->l->tx_dropped += batch->count;
	batch->len = 0;
}

/* Nothing has left for a while after a roam: perhaps the socket itself is to blame. */
static void send_lost(struct udp *udp, int error)
{
	struct timeval now = {.tv_sec = 0};
	uint64_t at = now_us();

	if (error == EMSGSIZE || error == ENOBUFS)
		return;
	if (udp->failing_us == 0)
		udp->failing_us = at;
	if (udp->l->roamed_us == 0 || udp->l->network_lost ||
	    at - udp->failing_us < FAILING_S * US_PER_S)
		return;
	udp->failing_us = at;
	event_add(udp->reopen, &now);
}

static void hint_firewall(struct loop *l, int error)
{
	if ((error != EPERM && error != EACCES) || l->firewall_hint)
		return;
	l->firewall_hint = true;
	log_say(l->log, LOG_INFO, "firezone_gateway",
		"Sending a datagram was not permitted, check the local firewall rules");
}

/* A source that somebody fixed is dead only if the host has it no more: else its route is away, and
 * events will say what becomes of it. */
static void source_failed(struct loop *l, const struct ip_addr *source)
{
	if (!network_has_address(l->network, source))
		l->dead_local = *source;
}

struct udp_send {
	struct udp *udp;
	const struct txq_batch *batch;
};

static int try_send(void *ctx, const struct ip_addr *source, bool uncut)
{
	const struct udp_send *s = ctx;

	return send_batch(s->udp, source, s->batch, uncut);
}

/* True if the datagrams are on their way, or wait to be. */
static bool send_all(struct udp *udp, const struct txq_batch *batch)
{
	struct loop *l = udp->l;
	struct factory_send s = {
	    .dst = batch->key.dst,
	    .source = batch->key.src.ip,
	    .generation = batch->key.generation,
	    .gso = batch->count > 1 && !udp->no_gso,
	    .try_send = try_send,
	    .ctx = &(struct udp_send){.udp = udp, .batch = batch},
	};

	switch (factory_send(l->factory, &s, now_us())) {
	case FACTORY_SENT:
		sent(udp, batch, s.uncut);
		return true;
	case FACTORY_WAIT:
		return send_blocked(udp, &s.source, batch);
	case FACTORY_REPORT_DEAD:
		source_failed(l, &s.source);
		break;
	case FACTORY_DROP:
	case FACTORY_RETRY_SOURCE:
	case FACTORY_RETRY_UNCUT:
		break;
	}
	hint_firewall(l, s.error);
	if (s.error != 0)
		send_lost(udp, s.error);
	return false;
}

void udp_flush(void *ctx, const struct txq_batch *batch)
{
	struct loop *l = ctx;
	struct udp *udp = &l->udp[batch->key.dst.ip.family == IP_V4 ? 0 : 1];

	if (udp->fd < 0 || !send_all(udp, batch))
		l->tx_dropped += batch->count;
}

/* --- new sockets --- */

static void tell_socket(struct udp *udp, uint16_t was_port)
{
	struct gateway_input in = {.kind = GATEWAY_IN_SOCKET};

	in.u.socket.family = udp->family;
	in.u.socket.was_port = was_port;
	in.u.socket.port = udp->port;
	gateway_handle(udp->l->gateway, &in, now_us());
}

/* Datagrams are dropped, and counted, from the close until the helper has given the next socket. */
static void reopen_now(struct udp *udp)
{
	struct loop *l = udp->l;
	uint16_t was_port = udp->port;
	uint64_t wait_us;
	struct timeval wait;
	int rc;

	udp_close(udp);
	rc = udp_open(udp);
	if (rc == 0) {
		log_at(l->log, LOG_DEBUG, "firezone_gateway", "New UDP socket",
		       KV_INT("family", udp->family), KV_INT("port", udp->port),
		       KV_INT("was_port", was_port));
		udp->reopen_s = REOPEN_GAP_S;
		tell_socket(udp, was_port);
		return;
	}
	log_at(l->log, LOG_DEBUG, "firezone_gateway", "No new UDP socket yet",
	       KV_INT("family", udp->family), KV_STR("error", strerror(-rc)));
	wait_us = udp->reopen_s * US_PER_S;
	udp->reopen_s = udp->reopen_s * 2 < REOPEN_MAX_S ? udp->reopen_s * 2 : REOPEN_MAX_S;
	wait.tv_sec = (time_t)(wait_us / US_PER_S);
	wait.tv_usec = 0;
	if (rc != -EAFNOSUPPORT)
		event_add(udp->reopen, &wait);
}

static void on_reopen(evutil_socket_t fd, short what, void *arg)
{
	struct udp *udp = arg;

	(void)fd;
	(void)what;
	reopen_now(udp);
	loop_settle(udp->l);
}

/* Not sooner than the helper allows: the old socket stays until then. */
static void reopen_soon(struct udp *udp)
{
	uint64_t age_us = now_us() - udp->opened_us, gap_us = REOPEN_GAP_S * US_PER_S;
	struct timeval wait = {.tv_sec = REOPEN_GAP_S};

	udp->reopen_s = REOPEN_GAP_S;
	if (age_us > gap_us)
		reopen_now(udp);
	else
		event_add(udp->reopen, &wait);
}

void udp_reopen(struct loop *l)
{
	for (size_t i = 0; i < 2; i++)
		reopen_soon(&l->udp[i]);
}

void udp_renew(struct loop *l)
{
	for (size_t i = 0; i < 2; i++) {
		l->udp[i].no_gso = l->no_gso;
		l->udp[i].failing_us = 0;
		if (l->udp[i].fd < 0 && !evtimer_pending(l->udp[i].reopen, NULL))
			reopen_soon(&l->udp[i]);
	}
}

void udp_close_all(struct loop *l)
{
	for (size_t i = 0; i < 2; i++) {
		struct udp *udp = &l->udp[i];

		if (!udp->l)
			continue;
		udp_close(udp);
		if (udp->reopen)
			event_free(udp->reopen);
		free(udp->waiting.data);
	}
	free(l->rx.memory);
}
