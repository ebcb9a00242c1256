/*
 * Strangers who send what they like from where they like: forged checks, handshakes, data, relay
 * answers and channel data, and repetitions of what they overheard.
 */
#ifndef TESTS_SIM_ATTACK_H
#define TESTS_SIM_ATTACK_H

#include "world.h"

enum {
	ATTACK_KINDS = 8
};

/* @n of the last datagrams to the gateway once more, from where they came or from elsewhere. */
void attack_replay(struct world *w, unsigned n, uint64_t seed);

/* One burst of @n datagrams of a kind to the gateway. */
void attack_burst(struct world *w, unsigned kind, unsigned n, uint64_t seed);

#endif
