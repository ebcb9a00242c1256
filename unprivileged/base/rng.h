/*
 * Randomness as an injected source: the worker fills it from the system, tests from a seed.
 */
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include "base/defs.h"

struct rng {
	/* Fills @buf with @len random bytes; cannot fail. */
	void (*fill)(void *ctx, void *buf, size_t len);
	void *ctx;
};

/* The process's cryptographic source (libsodium; sodium_init() comes first). */
struct rng rng_system(void);

/*
 * A reproducible source for tests and the simulator: ChaCha20 under the given seed. @state is the
 * caller's and must outlive the result.
 */
struct rng_seeded {
	uint8_t key[32];
	uint64_t counter;
};
struct rng rng_from_seed(struct rng_seeded *state, uint64_t seed);

void rng_fill(const struct rng *rng, void *buf, size_t len);
uint32_t rng_u32(const struct rng *rng);
uint64_t rng_u64(const struct rng *rng);

/* Uniform in [0, bound); @bound is not 0. */
uint64_t rng_below(const struct rng *rng, uint64_t bound);

#endif
