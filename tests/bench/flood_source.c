/*
 * A flood of forged datagrams from random addresses, as fast as one core can send them or at a
 * given rate (tests/bench/flood runs it).
 *
 * Usage: flood-source INTERFACE MAC ADDRESS PORT PPS SECONDS KIND [ARGUMENT]...
 *
 * They leave INTERFACE for the neighbour with this hardware address; PPS 0: as many as it can.
 * KINDs can be repeated, each with its argument where it takes one, and take turns: stun USERNAME
 * a client's check, whole but for the key of its integrity initiation           random bytes of the
 * right type and length initiation-mac1 KEY  the same with the MAC1 that belongs to this public key
 * (base64) data                 a data message with a random session index data-live INDEX      for
 * this session (a number)
 *
 * Says "sent N SECONDS" at its end.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/ether.h>
#include <netinet/in.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "packet/addr.h"
#include "packet/bytes.h"
#include "packet/checksum.h"
#include "stun/stun.h"
#include "wireguard/cookie.h"
#include "wireguard/crypto.h"

enum {
	POOL = 1024, /* datagrams, made beforehand; each is sent again with other addresses */
	BATCH = 64,
	MAX_ATTACKS = 8,
	ROOM = 256,
	ETHERNET = 14,
	IP = 20,
	UDP = 8,
	HEADERS = ETHERNET + IP + UDP,
	SOURCE_AT = ETHERNET + 12, /* in the frame */
	CHECKSUM_AT = ETHERNET + 10,
	PORT_AT = ETHERNET + IP,
	DATA_LEN = 128,
	KEY_LEN = 22,
	TTL = 64,
};

struct attack {
	const char *kind, *argument;
};

struct flood {
	struct attack attacks[MAX_ATTACKS];
	size_t n_attacks;
	struct ether_addr neighbour, own;
	struct ip_addr address;
	uint16_t port;
	uint64_t pps;
	double seconds;
	int fd;
	uint64_t random[2];
	struct wg_crypto *crypto;
	uint8_t frames[POOL][ROOM];
	size_t len[POOL];
	struct iovec iov[BATCH];
	struct mmsghdr msgs[BATCH];
};

/* xorshift128+; nobody has to be unable to guess these. */
static uint64_t draw(struct flood *f)
{
	uint64_t x = f->random[0], y = f->random[1];

	f->random[0] = y;
	x ^= x << 23;
	f->random[1] = x ^ y ^ (x >> 17) ^ (y >> 26);
	return f->random[1] + y;
}

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* --- what is sent --- */

static size_t write_stun(uint8_t *out, size_t cap, const char *username)
{
	struct stun_txid txid;
	struct stun_builder b;
	uint8_t key[KEY_LEN];

	randombytes_buf(&txid, sizeof(txid));
	randombytes_buf(key, sizeof(key));
	stun_begin(&b, out, cap, STUN_BINDING, STUN_REQUEST, &txid);
	stun_put_bytes(&b, STUN_ATTR_USERNAME, username, strlen(username));
	stun_put_u64(&b, STUN_ATTR_ICE_CONTROLLING, randombytes_random());
	stun_put_u32(&b, STUN_ATTR_PRIORITY, randombytes_random() >> 1);
	return stun_finish(&b, key, sizeof(key), true);
}

static size_t write_random(uint8_t *out, uint8_t type, size_t len)
{
	struct writer w = writer_of(out, len);

	randombytes_buf(out, len);
	wr_le32(&w, type);
	return len;
}

static size_t write_initiation(struct flood *f, uint8_t *out, const char *key)
{
	uint8_t public_key[WG_KEY_LEN];
	size_t len = write_random(out, WG_INITIATION, WG_INITIATION_LEN), key_len;

	if (!key)
		return len;
	if (sodium_base642bin(public_key, sizeof(public_key), key, strlen(key), NULL, &key_len,
			      NULL, sodium_base64_VARIANT_ORIGINAL) != 0)
		return 0;
	wg_cookie_stamp(f->crypto, public_key, NULL, out, len);
	return len;
}

static size_t write_data(uint8_t *out, const char *index)
{
	size_t len = write_random(out, WG_DATA, DATA_LEN);
	struct writer w = writer_of(out + 4, 4);

	if (index)
		wr_le32(&w, (uint32_t)strtoul(index, NULL, 0));
	w = writer_of(out + 8, 8);
	wr_le64(&w, UINT64_C(1) << 40); /* a counter that the window lets pass */
	return len;
}

static size_t write_payload(struct flood *f, const struct attack *a, uint8_t *out, size_t cap)
{
	if (strcmp(a->kind, "stun") == 0)
		return write_stun(out, cap, a->argument);
	if (strncmp(a->kind, "initiation", 10) == 0)
		return write_initiation(f, out, a->argument);
	return write_data(out, a->argument);
}

static bool write_frame(struct flood *f, size_t i)
{
	uint8_t *frame = f->frames[i];
	struct writer w = writer_of(frame, HEADERS);
	size_t payload =
	    write_payload(f, &f->attacks[i % f->n_attacks], frame + HEADERS, ROOM - HEADERS);

	wr_bytes(&w, f->neighbour.ether_addr_octet, ETH_ALEN);
	wr_bytes(&w, f->own.ether_addr_octet, ETH_ALEN);
	wr_u16(&w, ETH_P_IP);
	wr_u16(&w, 0x4500);
	wr_u16(&w, (uint16_t)(IP + UDP + payload));
	wr_u32(&w, 0);
	wr_u8(&w, TTL);
	wr_u8(&w, IPPROTO_UDP);
	wr_u16(&w, 0);
	wr_u32(&w, 0);
	wr_bytes(&w, f->address.bytes, 4);
	wr_u16(&w, 0);
	wr_u16(&w, f->port);
	wr_u16(&w, (uint16_t)(UDP + payload));
	wr_u16(&w, 0); /* IPv4 can do without a checksum */
	f->len[i] = HEADERS + payload;
	return payload > 0 && !w.bad;
}

/* Another source, of the addresses that are nobody's in the benchmark's network. */
static void move(struct flood *f, size_t i)
{
	uint64_t random = draw(f);
	uint8_t *frame = f->frames[i];
	struct writer w = writer_of(frame + SOURCE_AT, 4);

	wr_u32(&w, 0x14000000 | (uint32_t)(random & 0x0fffffff)); /* 20.0.0.0 and on */
	w = writer_of(frame + PORT_AT, 2);
	wr_u16(&w, (uint16_t)(1024 + (random >> 32) % 60000));
	w = writer_of(frame + CHECKSUM_AT, 2);
	wr_u16(&w, 0);
	w = writer_of(frame + CHECKSUM_AT, 2);
	wr_u16(&w, (uint16_t)~checksum_fold(checksum_add(0, frame + ETHERNET, IP)));
}

/* --- sending --- */

static void batch_send(struct flood *f, size_t first, uint64_t *sent)
{
	int n;

	for (size_t i = 0; i < BATCH; i++) {
		size_t at = (first + i) % POOL;

		move(f, at);
		f->iov[i] = (struct iovec){.iov_base = f->frames[at], .iov_len = f->len[at]};
		f->msgs[i].msg_hdr = (struct msghdr){.msg_iov = &f->iov[i], .msg_iovlen = 1};
	}
	n = sendmmsg(f->fd, f->msgs, BATCH, 0);
	if (n > 0)
		*sent += (uint64_t)n;
}

static void flood(struct flood *f)
{
	double start = now_s(), now = start;
	uint64_t sent = 0;
	size_t at = 0;

	while (now - start < f->seconds) {
		if (f->pps > 0 && (double)sent > (now - start) * (double)f->pps) {
			usleep(200);
		} else {
			batch_send(f, at, &sent);
			at += BATCH;
		}
		now = now_s();
	}
	printf("sent %llu %.3f\n", (unsigned long long)sent, now - start);
}

/* --- the start --- */

static bool open_interface(struct flood *f, const char *name)
{
	struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = 0};
	int one = 1;

	f->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	at.sll_ifindex = (int)if_nametoindex(name);
	if (f->fd < 0 || at.sll_ifindex == 0 ||
	    bind(f->fd, (const struct sockaddr *)&at, sizeof(at)) < 0)
		return false;
	return setsockopt(f->fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one)) == 0;
}

static bool takes_argument(const char *kind)
{
	return strcmp(kind, "initiation") != 0 && strcmp(kind, "data") != 0;
}

static bool read_attacks(struct flood *f, int argc, char **argv)
{
	for (int i = 0; i < argc && f->n_attacks < MAX_ATTACKS; i++) {
		struct attack *a = &f->attacks[f->n_attacks++];

		a->kind = argv[i];
		if (takes_argument(a->kind)) {
			if (++i == argc)
				return false;
			a->argument = argv[i];
		}
	}
	return f->n_attacks > 0;
}

static bool read_options(struct flood *f, int argc, char **argv)
{
	const struct ether_addr *neighbour;

	if (argc < 8)
		return false;
	neighbour = ether_aton(argv[2]);
	if (!neighbour || !ip_parse(&f->address, argv[3], strlen(argv[3])) ||
	    f->address.family != IP_V4)
		return false;
	f->neighbour = *neighbour;
	f->port = (uint16_t)strtoul(argv[4], NULL, 10);
	f->pps = strtoul(argv[5], NULL, 10);
	f->seconds = strtod(argv[6], NULL);
	return read_attacks(f, argc - 7, argv + 7);
}

int main(int argc, char **argv)
{
	struct flood *f = calloc(1, sizeof(*f));
	int rc = 1;

	if (!f || sodium_init() < 0)
		goto free_flood;
	if (!read_options(f, argc, argv)) {
		fprintf(stderr,
			"Usage: flood-source INTERFACE MAC ADDRESS PORT PPS SECONDS KIND...\n");
		goto free_flood;
	}
	randombytes_buf(f->random, sizeof(f->random));
	f->crypto = wg_crypto_new();
	f->own.ether_addr_octet[0] = 2;
	if (!f->crypto || !open_interface(f, argv[1])) {
		fprintf(stderr, "flood: %s\n", strerror(errno));
		goto free_flood;
	}
	wg_crypto_begin(f->crypto);
	for (size_t i = 0; i < POOL; i++) {
		if (!write_frame(f, i)) {
			fprintf(stderr, "flood: a message cannot be made\n");
			goto close_socket;
		}
	}
	flood(f);
	rc = 0;

close_socket:
	close(f->fd);
free_flood:
	if (f)
		wg_crypto_free(f->crypto);
	free(f);
	return rc;
}
