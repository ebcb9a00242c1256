/*
 * What one packet costs the core, with one client and with many: from a sealed datagram to the TUN,
 * and from the TUN to a sealed datagram, all in one process, without the kernel.
 *
 * Four cases, interleaved in each round: the only client; one of many, while the others are idle;
 * 16 of many in turn; all of many in turn, so that nothing of a client is in a cache when its
 * packet comes. Every packet is a datagram of its own. Prints medians, and medians of each round's
 * ratio.
 *
 * Usage: core_bench [clients [rounds]]
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/sim/idle.h"
#include "tests/sim/inner.h"
#include "wireguard/wg.h"

enum {
	CLIENTS = 10000,
	ROUNDS = 51,
	MAX_ROUNDS = 1001,
	PACKETS = 256, /* of one case in one round and direction */
	BATCH = 32,    /* as the loop receives them */
	FEW = 16,
	SEED = 7,
	CASES = 4,
	WAYS = 2, /* up, down */
	ROOM = TXQ_HEADROOM + WG_OVERHEAD + IP_INNER_MTU,
};

struct bench {
	struct idle *alone, *many;
	uint32_t *order; /* of the many */
	uint32_t next;
	size_t payload;
	uint8_t (*memory)[ROOM];
	struct gateway_datagrams in[PACKETS];
	size_t len[PACKETS]; /* of inner packets */
	double *ns[CASES][WAYS];
	uint64_t failures;
};

static double now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static struct idle *world_of(const struct bench *b, unsigned which)
{
	return which == 0 ? b->alone : b->many;
}

/* Whose the next packet of a case is. */
static uint32_t client_of(struct bench *b, unsigned which, size_t i)
{
	switch (which) {
	case 0:
		return 0;
	case 1:
		return b->order[0];
	case 2:
		return b->order[i % FEW];
	default:
		b->next = (b->next + 1) % b->many->clients;
		return b->order[b->next];
	}
}

static size_t inner_packet(struct bench *b, uint32_t client, bool reply, uint8_t *out)
{
	struct inner in = {
	    .client = CROWD_NUMBER + client,
	    .resource = CROWD_RESOURCE,
	    .reply = reply,
	    .payload = b->payload,
	};

	return inner_write(out, IP_INNER_MTU, &in);
}

static double up(struct bench *b, unsigned which)
{
	struct idle *s = world_of(b, which);
	uint64_t now = s->sim.now_us;
	struct tun_write w;
	size_t written = 0;
	double start;

	for (size_t i = 0; i < PACKETS; i++) {
		uint32_t client = client_of(b, which, i);
		uint8_t *msg = b->memory[i] + TXQ_HEADROOM;
		size_t len = inner_packet(b, client, false, msg + WG_DATA_HEADER);

		len = crowd_seal(s->crowd, client, msg, len, now);
		b->in[i] = (struct gateway_datagrams){
		    .data = msg,
		    .len = len,
		    .segment = len,
		    .src = idle_client_address(client),
		    .dst = idle_gateway_address(),
		};
	}
	start = now_ns();
	for (size_t i = 0; i < PACKETS; i += BATCH) {
		gateway_udp_in(s->g, &b->in[i], BATCH, s->tun, now);
		while (coalescer_next(s->tun, &w))
			written++;
	}
	gateway_packets_done(s->g, now);
	txq_flush(s->txq);
	start = now_ns() - start;
	b->failures += written == 0;
	return start / PACKETS;
}

static double down(struct bench *b, unsigned which)
{
	struct idle *s = world_of(b, which);
	struct vnet_hdr hdr = {.flags = 0};
	uint64_t now = s->sim.now_us;
	double start;

	for (size_t i = 0; i < PACKETS; i++)
		b->len[i] = inner_packet(b, client_of(b, which, i), true, b->memory[i]);
	start = now_ns();
	for (size_t i = 0; i < PACKETS; i++)
		gateway_tun_in(s->g, &hdr, b->memory[i], b->len[i], now);
	gateway_packets_done(s->g, now);
	txq_flush(s->txq);
	return (now_ns() - start) / PACKETS;
}

static int by_size(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, size_t n)
{
	qsort(v, n, sizeof(*v), by_size);
	return v[n / 2];
}

/* Median of each round's ratio to the first case. */
static double ratio(const struct bench *b, unsigned which, unsigned way, size_t rounds)
{
	double v[MAX_ROUNDS];

	for (size_t i = 0; i < rounds; i++)
		v[i] = b->ns[which][way][i] / b->ns[0][way][i];
	return median(v, rounds);
}

static void report(struct bench *b, size_t rounds)
{
	static const char *const names[CASES] = {"the only client", "one of many, others idle",
						 "16 of many in turn", "all of many in turn"};
	double ratios[CASES][WAYS];

	for (unsigned which = 0; which < CASES; which++)
		for (unsigned way = 0; way < WAYS; way++)
			ratios[which][way] = ratio(b, which, way, rounds);
	for (unsigned which = 0; which < CASES; which++)
		printf("%6zu %-26s %9.0f %8.2fx %9.0f %8.2fx\n", b->payload, names[which],
		       median(b->ns[which][0], rounds), ratios[which][0],
		       median(b->ns[which][1], rounds), ratios[which][1]);
}

static void measure(struct bench *b, size_t payload, size_t rounds)
{
	struct gateway_snapshot before[2], after[2];

	b->payload = payload;
	gateway_snapshot(b->alone->g, &before[0]);
	gateway_snapshot(b->many->g, &before[1]);
	for (size_t round = 0; round < rounds; round++) {
		for (unsigned i = 0; i < CASES; i++) {
			unsigned which = (i + (unsigned)round) % CASES;

			b->ns[which][0][round] = up(b, which);
			b->ns[which][1][round] = down(b, which);
		}
	}
	gateway_snapshot(b->alone->g, &after[0]);
	gateway_snapshot(b->many->g, &after[1]);
	for (int i = 0; i < 2; i++) {
		uint64_t n = rounds * PACKETS * (i == 0 ? 1 : CASES - 1);

		b->failures += after[i].to_tun_packets - before[i].to_tun_packets != n;
		b->failures += after[i].from_tun_packets - before[i].from_tun_packets != n;
	}
	report(b, rounds);
}

static struct idle *world_new(uint32_t clients)
{
	struct idle *s = idle_new(clients, SEED);

	if (s && !idle_connect_all(s))
		fprintf(stderr, "core_bench: not all of %u clients are connected\n", clients);
	if (s)
		s->mute = true;
	return s;
}

/* A random order, so that neighbours in memory are not neighbours in time. */
static bool set_up(struct bench *b, uint32_t clients)
{
	b->alone = world_new(1);
	b->many = world_new(clients);
	b->order = calloc(clients, sizeof(*b->order));
	b->memory = calloc(PACKETS, sizeof(*b->memory));
	if (!b->alone || !b->many || !b->order || !b->memory)
		return false;
	for (uint32_t i = 0; i < clients; i++) {
		uint32_t other = randombytes_uniform(i + 1);

		b->order[i] = b->order[other];
		b->order[other] = i;
	}
	for (unsigned which = 0; which < CASES; which++) {
		for (unsigned way = 0; way < WAYS; way++) {
			b->ns[which][way] = calloc(MAX_ROUNDS, sizeof(double));
			if (!b->ns[which][way])
				return false;
		}
	}
	return true;
}

static void tear_down(struct bench *b)
{
	for (unsigned which = 0; which < CASES; which++)
		for (unsigned way = 0; way < WAYS; way++)
			free(b->ns[which][way]);
	free(b->memory);
	free(b->order);
	idle_free(b->many);
	idle_free(b->alone);
}

int main(int argc, char **argv)
{
	uint32_t clients = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : CLIENTS;
	size_t rounds = argc > 2 ? strtoul(argv[2], NULL, 10) : ROUNDS;
	const size_t payloads[] = {100, 1200};
	struct bench b = {.next = 0};
	int rc = 1;

	if (clients < FEW || clients > CROWD_MAX || rounds == 0 || rounds > MAX_ROUNDS) {
		fprintf(stderr, "Usage: core_bench [clients [rounds]]\n");
		return 2;
	}
	if (sodium_init() < 0 || !set_up(&b, clients)) {
		fprintf(stderr, "core_bench: set-up failed\n");
		goto free_all;
	}
	printf(
	    "ns per packet and ratio to the only client; %u clients, medians of %zu rounds of %d\n",
	    clients, rounds, PACKETS);
	printf("%6s %-26s %9s %9s %9s %9s\n", "bytes", "", "to TUN", "", "from TUN", "");
	for (size_t i = 0; i < ARRAY_LEN(payloads); i++)
		measure(&b, payloads[i], rounds);
	rc = b.failures == 0 ? 0 : 1;
	if (rc)
		fprintf(stderr, "core_bench: packets were lost\n");

free_all:
	tear_down(&b);
	return rc;
}
