/*
 * The client against a small model of each kind of relay, over a path with delay and loss: the
 * Firezone relay, which signs its errors, and a standard one, which does not. [spec
 * connections 6.2]
 */
#include "harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
	IN_FLIGHT_MAX = 256,
};

#define DELAY_US  MS(20)
#define LINGER_US S(1)

enum holder {
	NOBODY,
	US,
	SOMEBODY_ELSE,
};

struct relay {
	bool standard;
	bool wrong_password;
	enum holder owner; /* of the allocation on our port */
	uint64_t until_us; /* when it is gone */
	char nonce[16];
	unsigned nonces; /* count of changes */
	uint32_t loss_percent;
	struct rng_seeded seed;
	struct rng rng;
	size_t requests, allocates, deletions;
};

/* Requests on their way: the answer is made and delivered a round trip later. */
struct path {
	struct relay relay;
	struct harness *h;
	struct sent *flying;
	size_t first, count, seen;
};

static void new_nonce(struct relay *r)
{
	snprintf(r->nonce, sizeof(r->nonce), "nonce-%u", ++r->nonces);
}

static struct path *path_new(bool standard)
{
	struct path *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	p->flying = calloc(IN_FLIGHT_MAX, sizeof(*p->flying));
	assert_non_null(p->flying);
	p->relay.standard = standard;
	p->relay.rng = rng_from_seed(&p->relay.seed, 3);
	new_nonce(&p->relay);
	p->h = harness_new(harness_v4, NULL);
	return p;
}

static void path_free(struct path *p)
{
	harness_free(p->h);
	free(p->flying);
	free(p);
}

static bool lost(struct path *p)
{
	return rng_below(&p->relay.rng, 100) < p->relay.loss_percent;
}

static void deny(struct path *p, const struct sent *s, uint16_t code, bool with_nonce)
{
	harness_answer(p->h, s,
		       &(struct answer){
			   .code = code,
			   .unsigned_ = p->relay.standard,
			   .nonce = with_nonce ? p->relay.nonce : NULL,
			   .realm = with_nonce ? "firezone" : NULL,
		       });
}

/* True when the credentials are right; else the request has been answered. */
static bool authenticated(struct path *p, const struct sent *s)
{
	const struct stun_bytes *nonce = &s->msg.nonce;

	if (!s->msg.has_integrity || (!nonce->data && !p->relay.standard)) {
		deny(p, s, 401, true);
		return false;
	}
	if (!nonce->data) {
		deny(p, s, 400, false);
		return false;
	}
	if (nonce->len != strlen(p->relay.nonce) ||
	    memcmp(nonce->data, p->relay.nonce, nonce->len) != 0) {
		deny(p, s, 438, true);
		return false;
	}
	if (p->relay.wrong_password) {
		deny(p, s, 401, true);
		return false;
	}
	return true;
}

static void on_allocate(struct path *p, const struct sent *s)
{
	struct relay *r = &p->relay;

	r->allocates++;
	if (p->h->now_us >= r->until_us)
		r->owner = NOBODY;
	/* A standard relay looks at the port before it looks at credentials. */
	if (r->standard && r->owner != NOBODY) {
		deny(p, s, 437, false);
		return;
	}
	if (!authenticated(p, s))
		return;
	if (r->owner != NOBODY) {
		deny(p, s, 437, false);
		return;
	}
	r->owner = US;
	r->until_us = p->h->now_us + S(600);
	ANSWER(p->h, s, .lifetime_s = 600, .relayed_v4 = "192.0.2.10:50000");
}

static void on_refresh(struct path *p, const struct sent *s)
{
	struct relay *r = &p->relay;
	bool delete = s->msg.has_lifetime && s->msg.lifetime_s == 0;

	if (!authenticated(p, s))
		return;
	if (p->h->now_us >= r->until_us)
		r->owner = NOBODY;
	if (r->owner != US) {
		ANSWER(p->h, s, .code = r->owner == NOBODY ? 437 : 441);
		return;
	}
	r->until_us = p->h->now_us + (delete ? r->standard ? LINGER_US : 0 : S(600));
	r->deletions += delete ? 1 : 0;
	ANSWER(p->h, s, .lifetime_s = delete ? 0 : 600);
}

static void relay_takes(struct path *p, const struct sent *s)
{
	p->relay.requests++;
	if (s->msg.method == STUN_BINDING)
		ANSWER(p->h, s, .unsigned_ = true, .no_lifetime = true,
		       .mapped = "198.51.100.4:52625");
	else if (s->msg.method == STUN_ALLOCATE)
		on_allocate(p, s);
	else if (s->msg.method == STUN_REFRESH)
		on_refresh(p, s);
	else if (authenticated(p, s))
		ANSWER(p->h, s, .no_lifetime = true);
}

/* New transmissions take off. */
static void take_off(struct path *p)
{
	for (; p->seen < p->h->sent_count; p->seen++) {
		struct sent *slot = &p->flying[(p->first + p->count) % IN_FLIGHT_MAX];

		if (lost(p))
			continue;
		assert_true(p->count < IN_FLIGHT_MAX);
		*slot = p->h->sent[p->seen];
		assert_true(stun_msg_read(&slot->msg, slot->bytes, slot->len));
		p->count++;
	}
	harness_forget(p->h);
	p->seen = 0;
}

static void run(struct path *p, uint64_t for_us)
{
	uint64_t end_us = p->h->now_us + for_us;

	take_off(p);
	for (;;) {
		uint64_t landing_us =
		    p->count > 0 ? p->flying[p->first].at_us + DELAY_US : NEVER_US;
		uint64_t next_us = min_u64(landing_us, turn_deadline(p->h->turn));
		struct sent s;

		if (next_us > end_us)
			break;
		p->h->now_us = next_us;
		if (next_us == landing_us) {
			s = p->flying[p->first];
			assert_true(stun_msg_read(&s.msg, s.bytes, s.len));
			p->first = (p->first + 1) % IN_FLIGHT_MAX;
			p->count--;
			if (p->h->dropped == 0 && !lost(p))
				relay_takes(p, &s);
		} else {
			harness_event(p->h, TURN_INPUT_TIMEOUT);
		}
		take_off(p);
	}
	p->h->now_us = end_us;
}

static bool is_ready(const struct path *p)
{
	struct endpoint relayed;

	return turn_relayed(p->h->turn, IP_V4, &relayed);
}

static void firezone_relay_allocates_in_three_round_trips(void **state)
{
	struct path *p = path_new(false);

	(void)state;
	run(p, 3 * DELAY_US - 1);
	assert_false(is_ready(p));
	run(p, 1);
	assert_true(is_ready(p));
	assert_int_equal(p->relay.requests, 3);
	path_free(p);
}

static void standard_relay_allocates_in_four_round_trips(void **state)
{
	struct path *p = path_new(true);

	(void)state;
	run(p, 4 * DELAY_US);
	assert_true(is_ready(p));
	assert_int_equal(p->relay.requests, 4);
	path_free(p);
}

static void allocation_lives_for_hours_on_either_relay(void **state)
{
	(void)state;
	for (int standard = 0; standard < 2; standard++) {
		struct path *p = path_new(standard == 1);

		run(p, S(1));
		for (int minute = 0; minute < 300; minute++) {
			if (minute % 50 == 0)
				new_nonce(&p->relay);
			run(p, S(60));
			assert_true(is_ready(p));
		}
		assert_int_equal(p->relay.allocates, standard ? 3 : 2);
		/* Keepalives each 25 s, a Refresh each 5 min, and what stale nonces cost. */
		assert_true(p->relay.requests < 300 * 60 / 25 + 60 + 30);
		path_free(p);
	}
}

static void start_after_a_crash_replaces_the_old_allocation(void **state)
{
	(void)state;
	for (int standard = 0; standard < 2; standard++) {
		struct path *p = path_new(standard == 1);

		p->relay.owner = US;
		p->relay.until_us = p->h->now_us + S(500);
		run(p, S(1));
		assert_int_equal(is_ready(p), !standard);
		run(p, S(1));
		assert_true(is_ready(p));
		assert_int_equal(p->relay.deletions, 1);
		assert_true(p->relay.requests <= 7);
		path_free(p);
	}
}

static void allocation_of_another_user_is_waited_for(void **state)
{
	struct path *p = path_new(true);

	(void)state;
	p->relay.owner = SOMEBODY_ELSE;
	p->relay.until_us = p->h->now_us + S(600);
	run(p, S(599));
	assert_false(is_ready(p));
	run(p, S(3));
	assert_true(is_ready(p));
	assert_true(p->relay.allocates <= 405);
	path_free(p);
}

static void relay_that_restarted_gets_a_new_allocation(void **state)
{
	(void)state;
	for (int standard = 0; standard < 2; standard++) {
		struct path *p = path_new(standard == 1);

		run(p, S(10));
		assert_true(is_ready(p));
		p->relay.owner = NOBODY;
		new_nonce(&p->relay);
		run(p, S(291));
		assert_true(is_ready(p));
		assert_int_equal(p->relay.owner, US);
		path_free(p);
	}
}

static void stale_nonce_costs_a_channel_one_round_trip(void **state)
{
	struct path *p = path_new(true);

	(void)state;
	run(p, S(1));
	new_nonce(&p->relay);
	p->relay.requests = 0;
	harness_bind(p->h, "203.0.113.7:40000", 1);
	run(p, 2 * DELAY_US);
	assert_true(harness_in(p->h, 0x4000, "203.0.113.7:40000"));
	assert_int_equal(p->relay.requests, 2);
	path_free(p);
}

static void wrong_password_on_a_standard_relay_drops_it_after_eight_seconds(void **state)
{
	struct path *p = path_new(true);

	(void)state;
	p->relay.wrong_password = true;
	run(p, S(8));
	assert_int_equal(p->h->dropped, 0);
	run(p, S(1));
	assert_int_equal(p->h->dropped, 1);
	assert_true(p->relay.requests <= 10);
	path_free(p);
}

static void loss_is_survived_or_the_relay_is_dropped(void **state)
{
	size_t ready = 0;

	(void)state;
	for (uint64_t seed = 0; seed < 300; seed++) {
		struct path *p = path_new(seed % 2 == 0);

		p->relay.loss_percent = 15;
		p->relay.rng = rng_from_seed(&p->relay.seed, seed);
		if (seed % 3 == 0) {
			p->relay.owner = US;
			p->relay.until_us = p->h->now_us + S(500);
		}
		run(p, S(30));
		assert_true(is_ready(p) || p->h->dropped == 1);
		assert_true(p->relay.requests < 40);
		ready += is_ready(p) ? 1 : 0;
		path_free(p);
	}
	assert_true(ready >= 280);
}

/* One datagram in ten each way, and a peer that has gone: asked again and again, never given up. */
static void heavy_loss_under_traffic_costs_no_relay(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 20; seed++) {
		struct path *p = path_new(seed % 2 == 0);

		run(p, S(1));
		assert_true(is_ready(p));
		p->relay.rng = rng_from_seed(&p->relay.seed, seed);
		p->relay.loss_percent = 10;
		harness_bind(p->h, "203.0.113.7:40000", 1);
		for (int i = 0; i < 6000; i++) {
			if (harness_out(p->h, "203.0.113.7:40000") == 0)
				harness_bind(p->h, "203.0.113.7:40000", 1);
			run(p, MS(200));
		}
		assert_true(is_ready(p));
		assert_int_equal(p->h->dropped, 0);
		path_free(p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(firezone_relay_allocates_in_three_round_trips),
	    cmocka_unit_test(standard_relay_allocates_in_four_round_trips),
	    cmocka_unit_test(allocation_lives_for_hours_on_either_relay),
	    cmocka_unit_test(start_after_a_crash_replaces_the_old_allocation),
	    cmocka_unit_test(allocation_of_another_user_is_waited_for),
	    cmocka_unit_test(relay_that_restarted_gets_a_new_allocation),
	    cmocka_unit_test(stale_nonce_costs_a_channel_one_round_trip),
	    cmocka_unit_test(wrong_password_on_a_standard_relay_drops_it_after_eight_seconds),
	    cmocka_unit_test(loss_is_survived_or_the_relay_is_dropped),
	    cmocka_unit_test(heavy_loss_under_traffic_costs_no_relay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
