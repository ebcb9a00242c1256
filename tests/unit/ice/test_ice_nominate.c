/* A client's agent: what it nominates and when it thinks again, against a gateway's agent. [RFC
 * 8445 section 8.1.1, spec connections 2.2 and 5] */
#include "peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CLIENT   "203.0.113.7:40000"
#define CLIENT_2 "203.0.113.8:40000"
#define GATEWAY  "10.0.0.5:52625"
#define RELAY    "192.0.2.50:50000"

enum {
	STEP_MS = 5,
	CLIENT_SIDE = 0,
	GATEWAY_SIDE = 1,
};

struct side {
	struct ice *ice;
	struct ice_path path;
	unsigned n_selected, n_checks, n_use_candidate, n_conflicts;
	bool has_path;
};

/* Both agents with a wire of one step's delay between them. */
struct both {
	struct side side[2];
	struct secret_arena *arena;
	struct stun_hmac *hmac;
	struct rng_seeded seed[2];
	uint64_t now_us;
	const char *cut; /* whose messages, to and from, are lost */
};

static void open_side(struct both *b, unsigned i)
{
	struct ice_config cfg = {
	    .local_ufrag = i == CLIENT_SIDE ? PEER_UFRAG : OUR_UFRAG,
	    .local_pwd = i == CLIENT_SIDE ? PEER_PWD : OUR_PWD,
	    .remote_ufrag = i == CLIENT_SIDE ? OUR_UFRAG : PEER_UFRAG,
	    .remote_pwd = i == CLIENT_SIDE ? OUR_PWD : PEER_PWD,
	    .tag = i,
	    .controlling = i == CLIENT_SIDE,
	    .rng = rng_from_seed(&b->seed[i], i + 1),
	    .arena = b->arena,
	    .hmac = b->hmac,
	};

	b->side[i].ice = ice_new(&cfg, b->now_us);
	assert_non_null(b->side[i].ice);
}

static int setup(void **state)
{
	struct both *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	b->now_us = US_PER_S;
	b->arena = secret_arena_new(4);
	b->hmac = stun_hmac_new();
	assert_non_null(b->arena);
	assert_non_null(b->hmac);
	open_side(b, CLIENT_SIDE);
	open_side(b, GATEWAY_SIDE);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct both *b = *state;

	ice_free(b->side[CLIENT_SIDE].ice);
	ice_free(b->side[GATEWAY_SIDE].ice);
	secret_arena_free(b->arena);
	stun_hmac_free(b->hmac);
	free(b);
	return 0;
}

static bool is_cut(const struct both *b, const struct ice_path *path)
{
	struct endpoint cut;

	if (!b->cut)
		return false;
	cut = at(b->cut);
	return endpoint_eq(&path->local, &cut) || endpoint_eq(&path->remote, &cut);
}

/* The relay's own way is not played: what is sent along a path arrives at its other end. */
static void carry(struct both *b, unsigned from, const struct ice_output *out)
{
	struct ice_input in = {.kind = ICE_INPUT_STUN};
	struct side *sender = &b->side[from];
	struct stun_msg msg;
	uint8_t copy[PEER_MAX_MESSAGE];

	assert_true(out->u.transmit.len <= sizeof(copy));
	memcpy(copy, out->u.transmit.data, out->u.transmit.len);
	assert_true(stun_msg_read(&msg, copy, out->u.transmit.len));
	sender->n_checks += msg.class == STUN_REQUEST;
	sender->n_use_candidate += msg.use_candidate;
	sender->n_conflicts += msg.class == STUN_ERROR;
	if (is_cut(b, &out->u.transmit.path))
		return;
	in.u.stun.msg = &msg;
	in.u.stun.buf = copy;
	in.u.stun.len = out->u.transmit.len;
	in.u.stun.src = out->u.transmit.path.local;
	in.u.stun.dst = out->u.transmit.path.remote;
	ice_handle(b->side[1 - from].ice, &in, b->now_us);
}

static bool drain(struct both *b, unsigned i)
{
	struct side *s = &b->side[i];
	struct ice_output out;
	bool any = false;

	while (ice_poll(s->ice, &out)) {
		any = true;
		switch (out.kind) {
		case ICE_OUTPUT_TRANSMIT:
			carry(b, i, &out);
			break;
		case ICE_OUTPUT_SELECTED:
			s->path = out.u.selected;
			s->has_path = true;
			s->n_selected++;
			break;
		case ICE_OUTPUT_UNSELECTED:
			s->has_path = false;
			break;
		case ICE_OUTPUT_ANNOUNCE:
		case ICE_OUTPUT_STATE:
			break;
		}
	}
	return any;
}

static void run_ms(struct both *b, unsigned ms)
{
	const struct ice_input in = {.kind = ICE_INPUT_TIMEOUT};

	for (unsigned n = 0; n < ms / STEP_MS; n++) {
		b->now_us += STEP_MS * US_PER_MS;
		for (unsigned i = 0; i < 2; i++)
			if (ice_deadline(b->side[i].ice) <= b->now_us)
				ice_handle(b->side[i].ice, &in, b->now_us);
		while (drain(b, CLIENT_SIDE) || drain(b, GATEWAY_SIDE))
			;
	}
}

static void candidate(struct both *b, unsigned side, enum candidate_kind kind, const char *addr)
{
	struct ice_input in = {.kind = ICE_INPUT_LOCAL_ADD};
	struct candidate *c = &in.u.candidate;

	c->kind = kind;
	c->addr = at(addr);
	c->base = c->addr;
	c->relay_family = c->addr.ip.family;
	ice_handle(b->side[side].ice, &in, b->now_us);
	in.kind = ICE_INPUT_REMOTE_ADD;
	c->priority = candidate_priority(kind, c->addr.ip.family, c->relay_family, 0);
	ice_handle(b->side[1 - side].ice, &in, b->now_us);
}

static void assert_path(const struct both *b, const char *client, const char *gateway)
{
	struct endpoint c = at(client), g = at(gateway);

	for (unsigned i = 0; i < 2; i++)
		assert_true(b->side[i].has_path);
	assert_true(endpoint_eq(&b->side[CLIENT_SIDE].path.local, &c));
	assert_true(endpoint_eq(&b->side[CLIENT_SIDE].path.remote, &g));
	assert_true(endpoint_eq(&b->side[GATEWAY_SIDE].path.local, &g));
	assert_true(endpoint_eq(&b->side[GATEWAY_SIDE].path.remote, &c));
}

/* A direct and a relayed path. */
static void two_paths(struct both *b)
{
	candidate(b, CLIENT_SIDE, CANDIDATE_HOST, CLIENT);
	candidate(b, GATEWAY_SIDE, CANDIDATE_HOST, GATEWAY);
	candidate(b, GATEWAY_SIDE, CANDIDATE_RELAY, RELAY);
}

static void client_nominates_the_best_pair_that_works(void **state)
{
	struct both *b = *state;

	two_paths(b);
	run_ms(b, 500);
	assert_path(b, CLIENT, GATEWAY);
	assert_true(b->side[CLIENT_SIDE].n_use_candidate > 0);
	assert_int_equal(b->side[GATEWAY_SIDE].n_use_candidate, 0);
	assert_int_equal(b->side[GATEWAY_SIDE].n_conflicts, 0);
}

static void pair_that_never_works_is_not_waited_for(void **state)
{
	struct both *b = *state;

	b->cut = GATEWAY;
	two_paths(b);
	run_ms(b, 500);
	assert_path(b, CLIENT, RELAY);
}

static void better_pair_that_comes_to_work_takes_over(void **state)
{
	struct both *b = *state;

	b->cut = GATEWAY;
	two_paths(b);
	run_ms(b, 3000);
	b->cut = NULL;
	run_ms(b, 2000);
	assert_path(b, CLIENT, GATEWAY);
	assert_int_equal(b->side[CLIENT_SIDE].n_selected, 2);
}

/* The sticky-path case: both sides leave a better path that was cut silently, and come back to it.
 */
static void path_that_falls_silent_is_left_and_taken_up_again(void **state)
{
	struct both *b = *state;
	unsigned before;

	two_paths(b);
	run_ms(b, 60000);
	assert_path(b, CLIENT, GATEWAY);
	before = b->side[GATEWAY_SIDE].n_selected;
	b->cut = GATEWAY;
	run_ms(b, 5000);
	assert_path(b, CLIENT, RELAY);
	run_ms(b, 60000);
	b->cut = NULL;
	run_ms(b, 16000);
	assert_path(b, CLIENT, GATEWAY);
	assert_int_equal(b->side[GATEWAY_SIDE].n_selected - before, 2);
}

static void client_checks_at_its_own_pace(void **state)
{
	struct both *b = *state;
	struct ice_input idle = {.kind = ICE_INPUT_PROFILE, .u.profile = ICE_IDLE};
	unsigned n;

	candidate(b, CLIENT_SIDE, CANDIDATE_HOST, CLIENT);
	candidate(b, GATEWAY_SIDE, CANDIDATE_HOST, GATEWAY);
	run_ms(b, 60000);
	n = b->side[CLIENT_SIDE].n_checks;
	run_ms(b, 60000);
	assert_in_range(b->side[CLIENT_SIDE].n_checks - n, 39, 41);
	n = b->side[GATEWAY_SIDE].n_checks;
	run_ms(b, 60000);
	assert_in_range(b->side[GATEWAY_SIDE].n_checks - n, 3, 5);
	for (unsigned i = 0; i < 2; i++)
		ice_handle(b->side[i].ice, &idle, b->now_us);
	run_ms(b, 30000);
	n = b->side[CLIENT_SIDE].n_checks;
	run_ms(b, 250000);
	assert_in_range(b->side[CLIENT_SIDE].n_checks - n, 9, 11);
	assert_path(b, CLIENT, GATEWAY);
}

static void client_keeps_what_works_when_an_equal_pair_comes(void **state)
{
	struct both *b = *state;

	candidate(b, CLIENT_SIDE, CANDIDATE_HOST, CLIENT);
	candidate(b, GATEWAY_SIDE, CANDIDATE_HOST, GATEWAY);
	run_ms(b, 10000);
	candidate(b, CLIENT_SIDE, CANDIDATE_HOST, CLIENT_2);
	run_ms(b, 60000);
	assert_path(b, CLIENT, GATEWAY);
	assert_int_equal(b->side[CLIENT_SIDE].n_selected, 1);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CASE(client_nominates_the_best_pair_that_works),
	    CASE(pair_that_never_works_is_not_waited_for),
	    CASE(better_pair_that_comes_to_work_takes_over),
	    CASE(path_that_falls_silent_is_left_and_taken_up_again),
	    CASE(client_checks_at_its_own_pace),
	    CASE(client_keeps_what_works_when_an_equal_pair_comes),
	};

	return cmocka_run_group_tests(tests, peer_group_setup, NULL);
}
