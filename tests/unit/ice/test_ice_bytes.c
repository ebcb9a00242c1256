/* What an agent holds of the heap, by the wrapped allocator; what libcrypto takes is not seen. */
#include "peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/sim/memory.h"

enum {
	BLOCKS = 7,    /* of the heap that an agent consists of */
	ROUNDING = 24, /* that the allocator may add to each */
	ROUNDS = 1000,
};

/* From its creation on everything is counted; the harness itself allocates nothing. */
struct counted {
	struct memory memory;
	struct peer peer;
};

static int setup(void **state)
{
	struct counted *c = calloc(1, sizeof(*c));

	assert_non_null(c);
	memory_enter(&c->memory);
	peer_open(&c->peer);
	peer_local(&c->peer, true, CANDIDATE_HOST, OUR_HOST, OUR_HOST);
	*state = c;
	return 0;
}

static int teardown(void **state)
{
	struct counted *c = *state;

	peer_close(&c->peer);
	memory_leave();
	assert_int_equal(c->memory.bytes, 0);
	free(c);
	return 0;
}

/* The arena of the harness is not the agent's. */
static int64_t bytes(const struct counted *c, int64_t harness)
{
	return c->memory.bytes - harness;
}

static int64_t arena_bytes(void)
{
	struct memory m = {.bytes = 0};
	struct secret_arena *arena;
	int64_t n;

	memory_enter(&m);
	arena = secret_arena_new(2);
	n = m.bytes;
	secret_arena_free(arena);
	memory_leave();
	return n;
}

static const char *numbered(char out[ENDPOINT_TEXT_MAX], unsigned net, unsigned n)
{
	(void)snprintf(out, ENDPOINT_TEXT_MAX, "10.%u.0.%u:40000", net, n);
	return out;
}

/* Whatever the peer and the portal say: any number of candidates, checks from everywhere, no
 * answers, then all that there is once more. */
static void flooded_agent_stays_within_the_stated_bytes(void **state)
{
	struct counted *c = *state;
	int64_t harness = 0, most = 0;
	char text[ENDPOINT_TEXT_MAX];

	memory_leave();
	harness = arena_bytes();
	memory_enter(&c->memory);
	for (unsigned i = 0; i < ROUNDS; i++) {
		peer_remote(&c->peer, true, (enum candidate_kind)(i % 4),
			    numbered(text, 1 + i / 200, i % 200 + 1));
		numbered(text, 100 + i / 200, i % 200 + 1);
		peer_local(&c->peer, true, i % 2 ? CANDIDATE_RELAY : CANDIDATE_SRFLX, text,
			   i % 2 ? text : OUR_HOST);
		peer_checks(&c->peer, numbered(text, 200, i % 200 + 1), OUR_HOST, i % 3 == 0);
		peer_wait_ms(&c->peer, 20);
		if (bytes(c, harness) > most)
			most = bytes(c, harness);
	}
	assert_in_range(most, ICE_BYTES_MAX / 2, ICE_BYTES_MAX + BLOCKS * ROUNDING);
}

static const char *const ours[] = {"[2001:db8:1::5]:52625", "192.0.2.50:50000",
				   "[2001:db8:5::50]:50000"};
static const char *const theirs[] = {"10.9.0.9:52625", "198.51.100.9:40000", "192.0.2.60:50000",
				     "[2001:db8:2::9]:52625", "[2001:db8:5::60]:50000"};

static void usual_pairs(struct peer *peer)
{
	static const enum candidate_kind kinds[] = {
	    CANDIDATE_HOST, CANDIDATE_SRFLX, CANDIDATE_RELAY, CANDIDATE_HOST, CANDIDATE_RELAY};

	peer_local(peer, true, CANDIDATE_SRFLX, OUR_SRFLX, OUR_HOST);
	peer_local(peer, true, CANDIDATE_HOST, ours[0], ours[0]);
	peer_local(peer, true, CANDIDATE_RELAY, ours[1], ours[1]);
	peer_local(peer, true, CANDIDATE_RELAY, ours[2], ours[2]);
	for (unsigned i = 0; i < ARRAY_LEN(theirs); i++)
		peer_remote(peer, true, kinds[i], theirs[i]);
}

/* All pairs work and are asked for ever: the most that the usual client can hold. */
static void usual_idle_agent_holds_what_is_stated(void **state)
{
	struct counted *c = *state;
	int64_t harness = 0;

	memory_leave();
	harness = arena_bytes();
	memory_enter(&c->memory);
	usual_pairs(&c->peer);
	peer_checks(&c->peer, theirs[1], OUR_HOST, true);
	peer_run_answering_ms(&c->peer, 30000);
	assert_true(bytes(c, harness) > ICE_BYTES_IDLE);
	peer_profile(&c->peer, ICE_IDLE);
	for (unsigned i = 0; i < 200; i++) {
		peer_run_answering_ms(&c->peer, 1000);
		if (i > 10)
			assert_in_range(bytes(c, harness), 0, ICE_BYTES_IDLE + BLOCKS * ROUNDING);
	}
	/* A client that is gone costs no more. */
	for (unsigned i = 0; i < 200; i++) {
		peer_run_ms(&c->peer, 1000);
		assert_in_range(bytes(c, harness), 0, ICE_BYTES_IDLE + BLOCKS * ROUNDING);
	}
	assert_int_equal(ice_state_of(c->peer.ice), ICE_CONNECTED);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CASE(flooded_agent_stays_within_the_stated_bytes),
	    CASE(usual_idle_agent_holds_what_is_stated),
	};

	return cmocka_run_group_tests(tests, peer_group_setup, NULL);
}
