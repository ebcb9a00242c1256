/*
 * Cost of one WireGuard data message: wg_seal() and wg_open() between two interfaces, against
 * OpenSSL's one-call AEAD and libsodium's, interleaved in one run. Prints the median of the rounds
 * in nanoseconds per message.
 *
 * Usage: wg_bench [rounds]
 */
#include <openssl/evp.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/rng.h"
#include "base/secret.h"
#include "wireguard/wg.h"

enum {
	BATCH = 256,
	ROUNDS = 101,
	INNER_MAX = 1424,
	ROOM = WG_SCRATCH + WG_DATA_HEADER + INNER_MAX + WG_TAG,
	NONCE_LEN = 12,
	KINDS = 6,
};

struct bench {
	struct secret_arena *arena;
	struct wg *wg[2];
	struct wg_peer *peer[2];
	EVP_CIPHER *cipher;
	EVP_CIPHER_CTX *seal, *open;
	uint8_t key[WG_KEY_LEN];
	uint64_t counter;
	uint8_t (*message)[ROOM];
	size_t len;
	uint64_t failures;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

static uint8_t *message_at(struct bench *b, size_t i)
{
	return b->message[i] + WG_SCRATCH;
}

static void seal_ours(struct bench *b)
{
	for (size_t i = 0; i < BATCH; i++)
		b->failures += wg_seal(b->peer[0], message_at(b, i), b->len, 0) == 0;
}

static void open_ours(struct bench *b)
{
	struct wg_peer *peer;
	uint8_t *inner;
	size_t len;

	for (size_t i = 0; i < BATCH; i++)
		b->failures += wg_open(b->wg[1], message_at(b, i), b->len + WG_OVERHEAD, 0, &peer,
				       &inner, &len) != WG_OPEN_PACKET;
}

static void make_nonce(uint8_t nonce[NONCE_LEN], uint64_t counter)
{
	memset(nonce, 0, NONCE_LEN);
	memcpy(nonce + 4, &counter, sizeof(counter));
}

static void seal_evp(struct bench *b)
{
	uint8_t nonce[NONCE_LEN];
	int n;

	for (size_t i = 0; i < BATCH; i++) {
		uint8_t *text = message_at(b, i) + WG_DATA_HEADER;

		make_nonce(nonce, b->counter + i);
		b->failures +=
		    !EVP_EncryptInit_ex(b->seal, NULL, NULL, NULL, nonce) ||
		    !EVP_EncryptUpdate(b->seal, text, &n, text, (int)b->len) ||
		    !EVP_EncryptFinal_ex(b->seal, text + b->len, &n) ||
		    !EVP_CIPHER_CTX_ctrl(b->seal, EVP_CTRL_AEAD_GET_TAG, WG_TAG, text + b->len);
	}
}

static void open_evp(struct bench *b)
{
	uint8_t nonce[NONCE_LEN];
	int n;

	for (size_t i = 0; i < BATCH; i++) {
		uint8_t *text = message_at(b, i) + WG_DATA_HEADER;

		make_nonce(nonce, b->counter + i);
		b->failures +=
		    !EVP_DecryptInit_ex(b->open, NULL, NULL, NULL, nonce) ||
		    !EVP_CIPHER_CTX_ctrl(b->open, EVP_CTRL_AEAD_SET_TAG, WG_TAG, text + b->len) ||
		    !EVP_DecryptUpdate(b->open, text, &n, text, (int)b->len) ||
		    !EVP_DecryptFinal_ex(b->open, text + b->len, &n);
	}
}

static void seal_sodium(struct bench *b)
{
	uint8_t nonce[NONCE_LEN];

	for (size_t i = 0; i < BATCH; i++) {
		uint8_t *text = message_at(b, i) + WG_DATA_HEADER;

		make_nonce(nonce, b->counter + i);
		crypto_aead_chacha20poly1305_ietf_encrypt(text, NULL, text, b->len, NULL, 0, NULL,
							  nonce, b->key);
	}
}

static void open_sodium(struct bench *b)
{
	uint8_t nonce[NONCE_LEN];

	for (size_t i = 0; i < BATCH; i++) {
		uint8_t *text = message_at(b, i) + WG_DATA_HEADER;

		make_nonce(nonce, b->counter + i);
		b->failures += crypto_aead_chacha20poly1305_ietf_decrypt(text, NULL, NULL, text,
									 b->len + WG_TAG, NULL, 0,
									 nonce, b->key) != 0;
	}
	b->counter += BATCH;
}

/* Hand over everything that one side wants to send. */
static void carry(struct bench *b, int from)
{
	struct endpoint src = {.port = 1};
	struct wg_event event;

	while (wg_peer_poll(b->peer[from], &event, 0)) {
		uint8_t copy[ROOM];
		struct wg_peer *peer;
		uint8_t *inner;
		size_t len;

		if (event.kind != WG_EVENT_SEND)
			continue;
		memcpy(copy + WG_SCRATCH, event.data, event.len);
		if (wg_classify(event.data, event.len) == WG_DATA)
			(void)wg_open(b->wg[!from], copy + WG_SCRATCH, event.len, 0, &peer, &inner,
				      &len);
		else
			(void)wg_handshake(b->wg[!from], event.data, event.len, &src, 0);
	}
}

static bool set_up(struct bench *b)
{
	const uint8_t psk[WG_KEY_LEN] = {7};
	struct wg_config cfg = {.max_peers = 16, .unix_us = 1, .rng = rng_system()};

	b->arena = secret_arena_new(16);
	cfg.arena = b->arena;
	b->message = calloc(BATCH, sizeof(*b->message));
	if (!b->arena || !b->message)
		return false;
	for (int i = 0; i < 2; i++)
		b->wg[i] = wg_new(&cfg, 0);
	for (int i = 0; i < 2; i++) {
		if (!b->wg[i] ||
		    wg_peer_add(b->wg[i], wg_public_key(b->wg[!i]), psk, NULL, 0, &b->peer[i]) < 0)
			return false;
		wg_peer_set_path(b->peer[i], true, 0);
	}
	(void)wg_can_seal(b->peer[0], 0);
	for (int turn = 0; turn < 4; turn++)
		carry(b, turn % 2);

	randombytes_buf(b->key, sizeof(b->key));
	b->cipher = EVP_CIPHER_fetch(NULL, "ChaCha20-Poly1305", NULL);
	b->seal = EVP_CIPHER_CTX_new();
	b->open = EVP_CIPHER_CTX_new();
	return b->cipher && b->seal && b->open &&
	       EVP_EncryptInit_ex2(b->seal, b->cipher, b->key, NULL, NULL) &&
	       EVP_DecryptInit_ex2(b->open, b->cipher, b->key, NULL, NULL) &&
	       wg_can_seal(b->peer[0], 0);
}

static void tear_down(struct bench *b)
{
	EVP_CIPHER_CTX_free(b->open);
	EVP_CIPHER_CTX_free(b->seal);
	EVP_CIPHER_free(b->cipher);
	wg_free(b->wg[0]);
	wg_free(b->wg[1]);
	secret_arena_free(b->arena);
	free(b->message);
}

static int by_size(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a;
	const uint64_t y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void measure(struct bench *b, size_t len, size_t rounds, uint64_t (*ns)[KINDS])
{
	void (*const run[KINDS])(struct bench *) = {
	    seal_ours, open_ours, seal_evp, open_evp, seal_sodium, open_sodium,
	};
	uint64_t column[ROUNDS];

	b->len = len;
	for (size_t round = 0; round < rounds; round++) {
		for (size_t kind = 0; kind < KINDS; kind++) {
			uint64_t start = now_ns();

			run[kind](b);
			ns[round][kind] = now_ns() - start;
		}
	}
	printf("%6zu", len);
	for (size_t kind = 0; kind < KINDS; kind++) {
		for (size_t round = 0; round < rounds; round++)
			column[round] = ns[round][kind];
		qsort(column, rounds, sizeof(column[0]), by_size);
		printf(" %9lu", (unsigned long)(column[rounds / 2] / BATCH));
	}
	printf("\n");
}

int main(int argc, char **argv)
{
	const size_t sizes[] = {40, 64, 1228, 1280, 1424};
	struct bench b = {0};
	uint64_t(*ns)[KINDS] = calloc(ROUNDS, sizeof(*ns));
	size_t rounds = argc > 1 ? strtoul(argv[1], NULL, 10) : ROUNDS;
	int rc = 1;

	if (sodium_init() < 0 || !ns || !set_up(&b)) {
		fprintf(stderr, "wg_bench: set-up failed\n");
		goto free_all;
	}
	if (rounds == 0 || rounds > ROUNDS)
		rounds = ROUNDS;
	printf("ns per message, median of %zu rounds of %d\n", rounds, BATCH);
	printf("%6s %9s %9s %9s %9s %9s %9s\n", "bytes", "seal", "open", "EVP seal", "EVP open",
	       "Na seal", "Na open");
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
		measure(&b, sizes[i], rounds, ns);
	rc = b.failures == 0 ? 0 : 1;
	if (rc)
		fprintf(stderr, "wg_bench: %lu operations failed\n", (unsigned long)b.failures);

free_all:
	tear_down(&b);
	free(ns);
	return rc;
}
