/*
 * The floor forwarder: TUN <-> UDP between two fixed ends with everything that makes it fast and
 * nothing else: no ICE, no filters, no NAT, no timers on the way. [spec performance D]
 *
 * Usage: floor TUN PORT PEER-IPV4 PEER-PORT 0|1
 *        floor TUN PORT PEER-IPV4 PEER-PORT session < keys
 *
 * With 0 and 1 two of them share fixed keys. "session" reads three lines of base64, private key,
 * peer's key and preshared key, and is a WireGuard initiator. The TUN gets no address here; SIGTERM
 * ends it.
 */
#include "floor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "packet/gso.h"

/* The C library's and the kernel's headers may lack them. */
#ifndef UDP_GRO
#define UDP_SEGMENT 103
#define UDP_GRO     104
#endif

enum {
	USO = 0x60, /* TUN_F_USO4 | TUN_F_USO6 */
	RX_BATCH = 32,
	RX_ROUNDS = 4,
	RX_BUFFER = 65536,
	HEADROOM = 64,
	MAX_SEGMENTS = 64, /* of one send, and of one received buffer */
	SEND_MAX = 65507,
	SOCKET_BUFFER = 16 << 20,
	TUN_READS = 16,
	TUN_ALIGN = 6, /* puts the IP header behind the vnet header on a 16-byte boundary */
	TICK_MS = 100,
};

struct floor {
	int tun, udp;
	struct sockaddr_in peer;
	struct floor_crypt *crypt;
	struct coalescer *coalescer;
	uint8_t *tun_buffer;
	/* The one open send buffer. */
	uint8_t *send;
	size_t send_len, send_segment;
	unsigned int send_count;
	bool send_closed;
	/* Receive ring. */
	uint8_t *ring;
	struct mmsghdr msgs[RX_BATCH];
	struct iovec iovs[RX_BATCH];
	uint8_t control[RX_BATCH][CMSG_SPACE(sizeof(int))];
};

static uint64_t clock_us(clockid_t which)
{
	struct timespec ts;

	clock_gettime(which, &ts);
	return (uint64_t)ts.tv_sec * US_PER_S + (uint64_t)ts.tv_nsec / 1000;
}

/* --- TUN -> UDP */

static void send_flush(struct floor *f)
{
	union {
		struct cmsghdr cmsg;
		uint8_t bytes[CMSG_SPACE(sizeof(uint16_t))];
	} control = {.bytes = {0}};
	struct iovec iov = {.iov_base = f->send, .iov_len = f->send_len};
	struct msghdr msg = {
	    .msg_name = &f->peer,
	    .msg_namelen = sizeof(f->peer),
	    .msg_iov = &iov,
	    .msg_iovlen = 1,
	};
	uint16_t segment = (uint16_t)f->send_segment;

	if (f->send_count == 0)
		return;
	if (f->send_count > 1) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control.bytes);
		control.cmsg.cmsg_level = IPPROTO_UDP;
		control.cmsg.cmsg_type = UDP_SEGMENT;
		control.cmsg.cmsg_len = CMSG_LEN(sizeof(segment));
		memcpy(CMSG_DATA(&control.cmsg), &segment, sizeof(segment));
	}
	(void)!sendmsg(f->udp, &msg, MSG_DONTWAIT);
	f->send_len = f->send_count = 0;
	f->send_closed = false;
}

static uint8_t *send_room(struct floor *f, size_t len)
{
	uint8_t *at;

	if (f->send_count > 0 && (f->send_closed || len > f->send_segment ||
				  f->send_count == MAX_SEGMENTS || f->send_len + len > SEND_MAX))
		send_flush(f);
	if (f->send_count == 0)
		f->send_segment = len;
	at = f->send + f->send_len;
	f->send_len += len;
	f->send_count++;
	f->send_closed = len < f->send_segment;
	return at;
}

static bool from_tun(struct floor *f, uint64_t now_us)
{
	uint8_t *buf = f->tun_buffer + TUN_ALIGN;
	ssize_t n = read(f->tun, buf, VNET_HDR_LEN + IP_MAX_SUPER);
	struct gso_split split;
	struct vnet_hdr hdr;
	enum ip_verdict verdict;
	size_t len;

	if (n <= VNET_HDR_LEN)
		return false;
	if (!vnet_hdr_read(&hdr, buf) ||
	    !gso_split_begin(&split, &hdr, buf + VNET_HDR_LEN, (size_t)n - VNET_HDR_LEN,
			     &verdict) ||
	    !floor_may_seal(f->crypt, now_us))
		return true;
	while ((len = gso_split_next_len(&split)) > 0) {
		uint8_t *msg = send_room(f, WG_OVERHEAD + len);

		gso_split_next(&split, msg + WG_DATA_HEADER);
		if (!floor_seal(f->crypt, msg, len, now_us))
			break;
	}
	return true;
}

/* --- UDP -> TUN */

static size_t segment_size(struct msghdr *msg, size_t len)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(msg);
	int size;

	if (!c || c->cmsg_level != IPPROTO_UDP || c->cmsg_type != UDP_GRO)
		return len;
	memcpy(&size, CMSG_DATA(c), sizeof(size));
	return size > 0 ? (size_t)size : len;
}

static void from_udp(struct floor *f, uint8_t *data, size_t len, size_t segment, uint64_t now_us)
{
	for (size_t at = 0; at < len; at += segment) {
		size_t inner_len =
		    floor_open(f->crypt, data + at, min_size(segment, len - at), now_us);
		uint8_t *inner = data + at + WG_DATA_HEADER;
		struct ip_view view;

		inner_len = inner_len > 0 ? ip_trim(inner, inner_len) : 0;
		if (inner_len > 0 &&
		    ip_parse_packet(&view, inner, inner_len, IP_INNER_MTU) == IP_OK)
			(void)!coalescer_add(f->coalescer, &view);
	}
}

static void tun_flush(struct floor *f)
{
	struct tun_write w;

	while (coalescer_next(f->coalescer, &w))
		if (writev(f->tun, w.iov, w.iov_count) < 0 && errno == EINVAL)
			coalescer_disable(f->coalescer);
}

static int receive(struct floor *f, uint64_t now_us)
{
	int got;

	for (size_t i = 0; i < RX_BATCH; i++)
		f->msgs[i].msg_hdr.msg_controllen = sizeof(f->control[i]);
	got = recvmmsg(f->udp, f->msgs, RX_BATCH, MSG_DONTWAIT, NULL);
	for (int i = 0; i < got; i++) {
		size_t len = f->msgs[i].msg_len;

		from_udp(f, f->iovs[i].iov_base, len, segment_size(&f->msgs[i].msg_hdr, len),
			 now_us);
	}
	tun_flush(f);
	return got;
}

/* --- set-up and loop */

static int tun_open(const char *name)
{
	struct ifreq ifr = {.ifr_flags = (short)(IFF_TUN | IFF_NO_PI | IFF_VNET_HDR)};
	unsigned int offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;
	int header = VNET_HDR_LEN;
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &ifr) < 0 || ioctl(fd, TUNSETVNETHDRSZ, &header) < 0)
		return -1;
	if (ioctl(fd, TUNSETOFFLOAD, offloads | USO) < 0 && ioctl(fd, TUNSETOFFLOAD, offloads) < 0)
		return -1;
	return fd;
}

static int udp_open(uint16_t port)
{
	const struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(port)};
	const int size = SOCKET_BUFFER, on = 1;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0 ||
	    setsockopt(fd, IPPROTO_UDP, UDP_GRO, &on, sizeof(on)) < 0 ||
	    bind(fd, (const struct sockaddr *)&any, sizeof(any)) < 0)
		return -1;
	return fd;
}

static bool buffers_new(struct floor *f)
{
	f->tun_buffer = calloc(1, TUN_ALIGN + VNET_HDR_LEN + IP_MAX_SUPER);
	f->send = calloc(1, HEADROOM + RX_BUFFER);
	f->ring = calloc(RX_BATCH, HEADROOM + RX_BUFFER);
	f->coalescer = coalescer_new((size_t)RX_BATCH * MAX_SEGMENTS, true, true);
	if (!f->tun_buffer || !f->send || !f->ring || !f->coalescer)
		return false;
	f->send += HEADROOM;
	for (size_t i = 0; i < RX_BATCH; i++) {
		f->iovs[i].iov_base = f->ring + i * (HEADROOM + RX_BUFFER) + HEADROOM;
		f->iovs[i].iov_len = RX_BUFFER;
		f->msgs[i].msg_hdr.msg_iov = &f->iovs[i];
		f->msgs[i].msg_hdr.msg_iovlen = 1;
		f->msgs[i].msg_hdr.msg_control = f->control[i];
	}
	return true;
}

static bool read_key(uint8_t key[WG_KEY_LEN])
{
	char line[80];
	size_t len;

	return fgets(line, sizeof(line), stdin) &&
	       sodium_base642bin(key, WG_KEY_LEN, line, strlen(line), "\n", &len, NULL,
				 sodium_base64_VARIANT_ORIGINAL) == 0 &&
	       len == WG_KEY_LEN;
}

static bool crypt_open(struct floor *f, const char *mode)
{
	uint64_t wall = clock_us(CLOCK_REALTIME);
	struct floor_keys keys;

	if (strcmp(mode, "session") != 0)
		f->crypt = floor_crypt_new(NULL, mode[0] == '1', wall);
	else if (read_key(keys.private_key) && read_key(keys.peer) && read_key(keys.preshared))
		f->crypt = floor_crypt_new(&keys, 0, wall);
	return f->crypt != NULL;
}

static void own_messages(struct floor *f, uint64_t now_us)
{
	uint8_t msg[FLOOR_OWN_MAX];
	size_t len;

	while ((len = floor_poll(f->crypt, msg, now_us)) > 0)
		(void)!sendto(f->udp, msg, len, MSG_DONTWAIT, (const struct sockaddr *)&f->peer,
			      sizeof(f->peer));
}

static _Noreturn void run(struct floor *f)
{
	const uint64_t start = clock_us(CLOCK_MONOTONIC);
	struct pollfd fds[] = {{.fd = f->tun, .events = POLLIN}, {.fd = f->udp, .events = POLLIN}};

	for (;;) {
		uint64_t now;

		(void)poll(fds, ARRAY_LEN(fds), TICK_MS);
		now = clock_us(CLOCK_MONOTONIC) - start;
		for (int i = 0; fds[1].revents && i < RX_ROUNDS; i++)
			if (receive(f, now) < RX_BATCH)
				break;
		for (int i = 0; fds[0].revents && i < TUN_READS; i++)
			if (!from_tun(f, now))
				break;
		send_flush(f);
		own_messages(f, now);
	}
}

int main(int argc, char **argv)
{
	struct floor *f = calloc(1, sizeof(*f));

	if (!f || argc != 6 || inet_pton(AF_INET, argv[3], &f->peer.sin_addr) != 1) {
		fprintf(stderr, "usage: floor TUN PORT PEER-IPV4 PEER-PORT 0|1|session\n");
		free(f);
		return 2;
	}
	f->peer.sin_family = AF_INET;
	f->peer.sin_port = htons((uint16_t)strtoul(argv[4], NULL, 10));
	if (sodium_init() < 0 || !crypt_open(f, argv[5]) || !buffers_new(f)) {
		fprintf(stderr, "floor: no keys, or no memory\n");
		return 1;
	}
	f->tun = tun_open(argv[1]);
	f->udp = f->tun < 0 ? -1 : udp_open((uint16_t)strtoul(argv[2], NULL, 10));
	if (f->udp < 0) {
		perror("floor");
		return 1;
	}
	run(f);
}
