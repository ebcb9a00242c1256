#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "loop/internal.h"
#include "packet/bytes.h"

enum {
	TUN_ALIGN = 6, /* puts the IP header behind the vnet header on a 16-byte boundary */
	TUN_RETRY_S = 1,
};

static bool tun_read(struct loop *l, uint64_t now)
{
	uint8_t *buf = l->tun_buffer + TUN_ALIGN;
	struct vnet_hdr hdr;
	ssize_t n = read(l->tun_fd, buf, VNET_HDR_LEN + IP_MAX_SUPER);

	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR && errno != EIO)
			loop_stop(l, 1, "The TUN device is gone");
		return false;
	}
	if (n == 0) {
		loop_stop(l, 1, "The TUN device is gone");
		return false;
	}
	l->tun_reads++;
	if (n > VNET_HDR_LEN && vnet_hdr_read(&hdr, buf))
		gateway_tun_in(l->gateway, &hdr, buf + VNET_HDR_LEN, (size_t)n - VNET_HDR_LEN, now);
	return true;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct loop *l = arg;
	uint64_t now = now_us(); /* one for all: a wake-up takes far less than any timer's unit */

	(void)fd;
	(void)what;
	for (int i = 0; i < TUN_READS; i++)
		if (!tun_read(l, now) || l->udp[0].blocked || l->udp[1].blocked)
			break;
	gateway_packets_done(l->gateway, now);
	loop_settle(l);
}

/* Cut a joined write up again and write its packets singly. The TUN's read buffer is free while
 * nothing is read. */
static void write_singly(struct loop *l, const struct tun_write *w)
{
	uint8_t single[VNET_HDR_LEN + IP_INNER_MTU];
	struct vnet_hdr hdr, plain = {.gso_type = VNET_GSO_NONE};
	struct gso_split split;
	enum ip_verdict verdict;
	size_t len = tun_write_gather(w, &hdr, l->tun_buffer, IP_MAX_SUPER);
	struct writer out;

	if (len == 0 || !gso_split_begin(&split, &hdr, l->tun_buffer, len, &verdict))
		return;
	vnet_hdr_write(&plain, single);
	while ((len = gso_split_next_len(&split)) > 0) {
		out = writer_of(single, sizeof(single));
		(void)wr_room(&out, VNET_HDR_LEN);
		gso_split_next(&split, wr_room(&out, len));
		if (write(l->tun_fd, single, out.written) < 0)
			l->tun_write_errors++;
	}
}

/* A kernel that refuses a joined write gets single packets from then on. */
static void write_failed(struct loop *l, const struct tun_write *w, int error)
{
	l->tun_write_errors++;
	if (error != EINVAL || w->packets < 2)
		return;
	coalescer_disable(l->coalescer);
	log_say(l->log, LOG_WARN, "firezone_gateway",
		"Kernel refused a joined write to the TUN, writing packets one by one");
	write_singly(l, w);
}

void tun_flush(struct loop *l)
{
	struct tun_write w;

	while (coalescer_next(l->coalescer, &w)) {
		if (writev(l->tun_fd, w.iov, w.iov_count) < 0) {
			write_failed(l, &w, errno);
			continue;
		}
		l->tun_writes++;
		l->tun_write_packets += w.packets;
	}
}

void tun_pause(struct loop *l, bool pause)
{
	if (pause)
		event_del(l->tun_event);
	else
		event_add(l->tun_event, NULL);
}

int tun_open(struct loop *l)
{
	uint32_t offloads;
	int rc = helper_tun_open(&l->helper, &l->tun_fd, &l->tun_ifindex, &offloads);

	if (rc < 0)
		return rc;
	if (!(offloads & IPC_OFFLOAD_TSO))
		log_say(l->log, LOG_WARN, "firezone_gateway",
			"Kernel refuses segmentation offload on the TUN, packets go one by one");
	else if (!(offloads & IPC_OFFLOAD_USO))
		log_say(l->log, LOG_INFO, "firezone_gateway",
			"Kernel has no UDP segmentation offload on the TUN, using it for TCP only");
	l->tun_buffer = calloc(1, TUN_ALIGN + VNET_HDR_LEN + IP_MAX_SUPER);
	l->tun_event = event_new(l->base, l->tun_fd, EV_READ | EV_PERSIST, on_readable, l);
	if (!l->tun_buffer || !l->tun_event || event_add(l->tun_event, NULL) < 0)
		return -ENOMEM;
	return offloads & IPC_OFFLOAD_USO ? 2 : offloads & IPC_OFFLOAD_TSO ? 1 : 0;
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
	struct loop *l = arg;

	(void)fd;
	(void)what;
	l->tun_retry = false;
	tun_configure(l, &l->tun_v4, &l->tun_v6);
	loop_settle(l);
}

void tun_configure(struct loop *l, const struct ip_addr *v4, const struct ip_addr *v6)
{
	struct timeval wait = {.tv_sec = TUN_RETRY_S};
	const struct ip_addr none = {.family = IP_NONE};
	uint8_t families = 0;
	char text4[IP_TEXT_MAX], text6[IP_TEXT_MAX];
	int rc;

	l->tun_v4 = *v4;
	l->tun_v6 = *v6;
	if (l->tun_retry)
		return;
	rc = helper_tun_configure(&l->helper, v4->bytes, v6->bytes, IP_INNER_MTU, &families);
	if (rc == -EAGAIN) {
		l->tun_retry = event_base_once(l->base, -1, EV_TIMEOUT, on_retry, l, &wait) == 0;
		return;
	}
	if (rc < 0) {
		loop_stop(l, 1, "Failed to set the TUN's addresses and routes");
		return;
	}
	if (families != (IPC_FAMILY_V4 | IPC_FAMILY_V6))
		log_at(l->log, LOG_WARN, "firezone_gateway",
		       "The host has only one IP family for the TUN",
		       KV_STR("family", families & IPC_FAMILY_V4 ? "IPv4" : "IPv6"));
	ip_format(v4, text4);
	ip_format(v6, text6);
	log_at(l->log, LOG_INFO, "firezone_gateway", "TUN configured", KV_STR("ipv4", text4),
	       KV_STR("ipv6", text6));
	factory_set_tunnel_addresses(l->factory, v4, v6);
	l->tun_configured = true;
	forward_listen(l, families & IPC_FAMILY_V4 ? v4 : &none,
		       families & IPC_FAMILY_V6 ? v6 : &none);
}
