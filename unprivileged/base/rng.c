#include "base/rng.h"

#include <sodium.h>
#include <string.h>

static void system_fill(void *ctx, void *buf, size_t len)
{
	(void)ctx;
	randombytes_buf(buf, len);
}

struct rng rng_system(void)
{
	return (struct rng){.fill = system_fill, .ctx = NULL};
}

static void seeded_fill(void *ctx, void *buf, size_t len)
{
	struct rng_seeded *state = ctx;
	uint8_t nonce[crypto_stream_chacha20_NONCEBYTES];

	memcpy(nonce, &state->counter, sizeof(nonce));
	state->counter++;
	crypto_stream_chacha20(buf, len, nonce, state->key);
}

struct rng rng_from_seed(struct rng_seeded *state, uint64_t seed)
{
	memset(state, 0, sizeof(*state));
	memcpy(state->key, &seed, sizeof(seed));
	return (struct rng){.fill = seeded_fill, .ctx = state};
}

void rng_fill(const struct rng *rng, void *buf, size_t len)
{
	rng->fill(rng->ctx, buf, len);
}

uint32_t rng_u32(const struct rng *rng)
{
	uint32_t v;

	rng_fill(rng, &v, sizeof(v));
	return v;
}

uint64_t rng_u64(const struct rng *rng)
{
	uint64_t v;

	rng_fill(rng, &v, sizeof(v));
	return v;
}

uint64_t rng_below(const struct rng *rng, uint64_t bound)
{
	uint64_t limit = UINT64_MAX - UINT64_MAX % bound;
	uint64_t v;

	do {
		v = rng_u64(rng);
	} while (v >= limit);
	return v % bound;
}
