/* The table alone, against a naive model, with few peers so that numbers and hash entries are used
 * over and over. */
#include "turn/channels.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

enum {
	PEERS = 9000,
	STEPS = 60000,
};

struct model {
	uint64_t taken_us[PEERS];
	uint16_t index_of[PEERS];   /* TURN_NO_CHANNEL when none */
	int peer_at[TURN_CHANNELS]; /* -1 when free or retired */
};

static struct endpoint peer_of(uint32_t n)
{
	const uint8_t bytes[4] = {203, 0, (uint8_t)(n >> 8), (uint8_t)n};

	return (struct endpoint){.ip = ip_v4(bytes), .port = 1000};
}

static void model_forget(struct model *m, uint16_t index)
{
	if (m->peer_at[index] >= 0)
		m->index_of[m->peer_at[index]] = TURN_NO_CHANNEL;
	m->peer_at[index] = -1;
}

static struct model *model_new(void)
{
	struct model *m = calloc(1, sizeof(*m));

	assert_non_null(m);
	for (size_t i = 0; i < PEERS; i++)
		m->index_of[i] = TURN_NO_CHANNEL;
	for (size_t i = 0; i < TURN_CHANNELS; i++)
		m->peer_at[i] = -1;
	return m;
}

static void step(struct turn_channels *c, struct model *m, const struct rng *rng, uint64_t now_us)
{
	uint32_t n = (uint32_t)rng_below(rng, PEERS);
	struct endpoint peer = peer_of(n);
	uint16_t index = turn_channels_find(c, &peer);

	/* After a quarter of an hour the number may be free again, whether anybody took it or not.
	 */
	if (index == TURN_NO_CHANNEL && m->index_of[n] != TURN_NO_CHANNEL &&
	    now_us >= m->taken_us[n] + TURN_CHANNEL_REUSE_US)
		model_forget(m, m->index_of[n]);
	assert_int_equal(index, m->index_of[n]);
	if (index != TURN_NO_CHANNEL) {
		if (rng_below(rng, 3) == 0) {
			turn_channels_retire(c, index, rng_below(rng, 2) == 0);
			model_forget(m, index);
		}
		return;
	}
	index = turn_channels_take(c, &peer, n % 100, now_us);
	if (index == TURN_NO_CHANNEL)
		return;
	model_forget(m, index);
	m->index_of[n] = index;
	m->taken_us[n] = now_us;
	m->peer_at[index] = (int)n;
	assert_true(endpoint_eq(&c->at[index].peer, &peer));
}

/* What the owners hold by their lists is what the table says, and the rest is free. */
static void assert_held(struct turn_channels *c, uint64_t now_us)
{
	size_t held = 0, in_use = 0, all = 0;
	uint16_t idlest = 0;

	for (uint32_t owner = 0; owner < 100; owner++) {
		held += turn_channels_of_owner(c, owner, now_us, &in_use, &idlest);
		all += in_use;
	}
	assert_int_equal(held, TURN_CHANNELS - c->n_free);
	assert_true(all > 0 && all <= held);
	for (size_t i = 0; i < TURN_CHANNELS; i++)
		held -= c->at[i].state != TURN_CHANNEL_FREE;
	assert_int_equal(held, 0);
}

static void table_agrees_with_a_naive_model(void **state)
{
	struct rng_seeded seed;
	struct rng rng = rng_from_seed(&seed, 11);
	struct turn_channels c;
	struct model *m = model_new();
	uint64_t now_us = 0;

	(void)state;
	assert_true(turn_channels_init(&c, &rng));
	for (size_t i = 0; i < STEPS; i++) {
		now_us += rng_below(&rng, US_PER_S / 4);
		step(&c, m, &rng, now_us);
	}
	for (uint32_t n = 0; n < PEERS; n++) {
		struct endpoint peer = peer_of(n);

		if (now_us < m->taken_us[n] + TURN_CHANNEL_REUSE_US)
			assert_int_equal(turn_channels_find(&c, &peer), m->index_of[n]);
	}
	assert_held(&c, now_us);
	turn_channels_clear(&c);
	for (uint32_t n = 0; n < PEERS; n++) {
		struct endpoint peer = peer_of(n);

		assert_int_equal(turn_channels_find(&c, &peer), TURN_NO_CHANNEL);
	}
	turn_channels_free(&c);
	free(m);
}

static void numbers_come_in_order_wrap_and_rest_15_minutes(void **state)
{
	struct rng_seeded seed;
	struct rng rng = rng_from_seed(&seed, 11);
	struct turn_channels c;
	struct endpoint peer;

	(void)state;
	assert_true(turn_channels_init(&c, &rng));
	for (uint32_t n = 0; n < TURN_CHANNELS; n++) {
		peer = peer_of(n);
		assert_int_equal(turn_channels_take(&c, &peer, 1, n), n);
	}
	peer = peer_of(TURN_CHANNELS);
	assert_int_equal(turn_channels_take(&c, &peer, 1, TURN_CHANNEL_REUSE_US - 1),
			 TURN_NO_CHANNEL);
	c.at[0].received = true; /* in use: left alone */
	assert_int_equal(turn_channels_take(&c, &peer, 1, TURN_CHANNEL_REUSE_US), TURN_NO_CHANNEL);
	assert_int_equal(turn_channels_take(&c, &peer, 1, TURN_CHANNEL_REUSE_US + 1), 1);
	peer = peer_of(1);
	assert_int_equal(turn_channels_find(&c, &peer), TURN_NO_CHANNEL);
	turn_channels_free(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(table_agrees_with_a_naive_model),
	    cmocka_unit_test(numbers_come_in_order_wrap_and_rest_15_minutes),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
