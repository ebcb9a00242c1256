/*
 * A TURN client on virtual time for the cases of this folder: events in, everything that it puts
 * out recorded, answers made to order.
 */
#ifndef TESTS_UNIT_TURN_HARNESS_H
#define TESTS_UNIT_TURN_HARNESS_H

#include "stun/stun.h"
#include "turn/turn.h"

#define MS(n) ((uint64_t)(n)*US_PER_MS)
#define S(n)  ((uint64_t)(n)*US_PER_S)

enum {
	HARNESS_SENT_MAX = 8192,
	HARNESS_EVENTS_MAX = 64,
};

extern const char harness_v4[], harness_v6[], harness_local_v4[], harness_local_v6[];

struct sent {
	uint64_t at_us;
	struct endpoint dst;
	size_t len;
	struct stun_msg msg; /* points into bytes */
	uint8_t bytes[STUN_MAX_MESSAGE];
};

struct harness {
	struct secret_arena *arena;
	struct rng_seeded seed;
	struct turn_config cfg;
	struct turn *turn;
	uint64_t now_us;
	struct sent
	    *sent; /* ring of all transmissions since the start or the last harness_forget() */
	size_t sent_count;
	struct candidate candidates[HARNESS_EVENTS_MAX], lost[HARNESS_EVENTS_MAX];
	size_t candidate_count, lost_count, dropped;
};

/* @v4, @v6: the relay's addresses, NULL for none. */
struct harness *harness_new(const char *v4, const char *v6);
void harness_free(struct harness *h);

/* One event, then everything that comes of it; fails the case if the deadline is not in the future
 * afterwards. */
void harness_handle(struct harness *h, const struct turn_input *in);
void harness_event(struct harness *h, enum turn_input_kind kind);
void harness_bind(struct harness *h, const char *peer, uint32_t owner);

/* Advance to @at_us, with a timeout at each deadline on the way. */
void harness_run_to(struct harness *h, uint64_t at_us);
void harness_run(struct harness *h, uint64_t for_us);

void harness_forget(struct harness *h);

/* The n-th latest transmission, 0 is the last one; fails the case when there are not so many. */
const struct sent *harness_last(const struct harness *h, size_t n);
/* The latest one of @method. */
const struct sent *harness_last_of(const struct harness *h, uint16_t method);
size_t harness_count(const struct harness *h, uint16_t method);

/* What to answer. Zero and NULL leave a thing out; success unless @code is set. */
struct answer {
	uint16_t code;
	bool unsigned_;
	bool wrong_key;
	bool no_lifetime;
	uint32_t lifetime_s;
	const char *nonce, *realm, *mapped, *relayed_v4, *relayed_v6;
	const char *from; /* another source than the address asked */
};

void harness_answer(struct harness *h, const struct sent *request, const struct answer *how);
#define ANSWER(h, request, ...) harness_answer((h), (request), &(struct answer){__VA_ARGS__})

/* With what no NAT has changed since harness_make_ready(). */
void harness_answer_binding(struct harness *h, const struct sent *binding);

/* To our local address of the source's family. */
void harness_deliver(struct harness *h, const char *from, const uint8_t *bytes, size_t len);

/* Binding answered, challenge answered, allocation with both families for 600 s, 1 ms each. */
void harness_make_ready(struct harness *h);

struct endpoint harness_ep(const char *text);

/* True if @request carries @nonce (NULL: none) and our signature. */
bool harness_signed_with(const struct harness *h, const struct sent *request, const char *nonce);

/* True if it has neither USERNAME nor MESSAGE-INTEGRITY. */
bool harness_is_bare(const struct sent *request);

/* Channel to a peer now, 0 when there is none. */
uint16_t harness_out(struct harness *h, const char *peer);
bool harness_in(struct harness *h, uint16_t number, const char *want_peer);

#endif
