/*
 * A crowd of clients in one object: each a controlling ICE agent with one host address and a
 * WireGuard interface with one peer, the gateway. No relays, no sockets, no clock.
 *
 * Datagrams and candidates leave by the owner's functions, which must not call back into the crowd.
 * As soon as a client has a session it sends one packet (tests/sim/inner.h) to the resource, and
 * waits for it to come back. It is idle once no packet of its own has passed for CROWD_IDLE_S.
 */
#ifndef TESTS_BENCH_CROWD_H
#define TESTS_BENCH_CROWD_H

#include "base/defs.h"
#include "base/rng.h"
#include "ice/candidate.h"
#include "portal/messages.h"

enum {
	CROWD_MAX = 16384,
	CROWD_IDLE_S = 20,
	CROWD_PORT = 52625,
	CROWD_RESOURCE = 2,  /* of inner.h, what all are granted */
	CROWD_NUMBER = 2000, /* of inner.h, the first client's: leaves the gateway's address free */
	CROWD_DATAGRAM = 1600, /* room for a datagram and the scratch before it */
};

struct crowd;

struct crowd_config {
	uint32_t clients;
	uint64_t unix_us; /* wall clock at the start */
	struct rng rng;
	void (*send)(void *ctx, uint32_t client, const struct endpoint *dst, const uint8_t *data,
		     size_t len);
	void (*announce)(void *ctx, uint32_t client, const char *candidate);
	void *ctx;
};

/* What the portal tells a client. */
struct crowd_grant {
	struct portal_ice_credentials gateway_ice, client_ice;
	uint8_t gateway_key[32], preshared_key[32];
};

/* NULL without memory. */
struct crowd *crowd_new(const struct crowd_config *cfg, uint64_t now_us);
void crowd_free(struct crowd *c);

/* The client's public key. */
const uint8_t *crowd_key(const struct crowd *c, uint32_t client);

/* Begin to connect from @local. False: already begun, or a credential that cannot be. */
bool crowd_connect(struct crowd *c, uint32_t client, const struct crowd_grant *grant,
		   const struct endpoint *local, uint64_t now_us);
/* A candidate of the gateway; one that cannot be read is ignored. */
void crowd_candidate(struct crowd *c, uint32_t client, const char *text, uint64_t now_us);

/* A datagram came; opened in place, with WG_SCRATCH writable bytes before it. */
void crowd_receive(struct crowd *c, uint32_t client, const struct endpoint *src, uint8_t *data,
		   size_t len, uint64_t now_us);

/* Seal in place as wg_seal() does, for the owner to send. */
size_t crowd_seal(struct crowd *c, uint32_t client, uint8_t *msg, size_t inner_len,
		  uint64_t now_us);

/* NEVER_US: nothing to do. */
uint64_t crowd_deadline(const struct crowd *c);
void crowd_timeout(struct crowd *c, uint64_t now_us);

struct crowd_counters {
	uint32_t connecting, connected, failed;
	uint32_t echoes; /* clients whose packet came back */
	uint64_t sessions, datagrams_out, datagrams_in;
};
void crowd_counters(const struct crowd *c, struct crowd_counters *out);

#endif
