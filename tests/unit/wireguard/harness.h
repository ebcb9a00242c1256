/*
 * Two interfaces that know each other, a clock and a wire in between, for scenario tests.
 *
 * Side 0 is called the gateway, side 1 the client; nothing else differs. Messages move only when a
 * case says so.
 */
#ifndef TESTS_UNIT_WIREGUARD_HARNESS_H
#define TESTS_UNIT_WIREGUARD_HARNESS_H

/* cmocka needs these first, in this order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "vectors.h"
#include "wireguard/peer.h"
#include "wireguard/wg.h"

enum {
	GATEWAY = 0,
	CLIENT = 1
};
enum {
	TEXT_MAX = 2048,
	MESSAGE_ROOM = WG_SCRATCH + WG_OVERHEAD + TEXT_MAX
};

/* A source that gives out fixed 32-byte draws before its seed. */
struct test_rng {
	struct rng_seeded seeded;
	struct rng rng;
	const uint8_t *next32;
};
struct rng test_rng(struct test_rng *state, uint64_t seed);

struct side {
	struct test_rng rng;
	struct wg *wg;
	struct wg_peer *peer;
	/* What wg_peer_poll() gave so far. */
	unsigned established, expired;
};

struct pair {
	struct secret_arena *arena;
	uint64_t now_us;
	struct side side[2];
};

/* A message off the wire, with the room that wg_open() wants. */
struct datagram {
	uint8_t room[MESSAGE_ROOM];
	size_t len;
};
uint8_t *datagram_bytes(struct datagram *d);

/* Both sides know each other and have a path; no message has moved. */
int pair_setup(void **state);
int pair_teardown(void **state);

struct endpoint test_source(uint8_t last_byte);

/* The next message that a side sends; events on the way are counted. False when it is silent. */
bool side_send(struct pair *p, int from, struct datagram *out);
/* The next message must be of this type. */
void side_expect(struct pair *p, int from, enum wg_msg_type type, struct datagram *out);
void side_expect_silence(struct pair *p, int from);
/* Give a message to a side; true when it took it. Data in it is checked by the caller. */
bool side_take(struct pair *p, int to, struct datagram *d);

/* Let the clock run to a time, both sides' timers fire on the way; nothing is delivered. */
void pair_run_to(struct pair *p, uint64_t now_us);
/* Deliver everything that waits, both ways, until there is nothing. */
void pair_exchange(struct pair *p);
/* The client has something to send: its initiation, which the gateway takes. */
void pair_initiate(struct pair *p, struct datagram *out);
/* A whole handshake begun by a side, confirmed. */
void pair_handshake(struct pair *p, int from);

/* Seal @len bytes of @fill; the number that wg_seal() gave. */
size_t side_seal(struct pair *p, int from, uint8_t fill, size_t len, struct datagram *out);
/* Open and compare with @len bytes of @fill; false when refused. */
bool side_open(struct pair *p, int to, struct datagram *d, uint8_t fill, size_t len);
/* One packet from a side arrives at the other. */
void pair_data(struct pair *p, int from);

#endif
