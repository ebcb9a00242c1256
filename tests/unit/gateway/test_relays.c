/*
 * Several relays: which one a connection uses, and how it follows when that one is removed,
 * replaced, silent, forgetful or full. [spec connections 6.5 to 6.7, 14 row 14]
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "gateway/internal.h"
#include "relay_world.h"

#define MS(n) ((uint64_t)(n)*US_PER_MS)
#define S(n)  ((uint64_t)(n)*US_PER_S)

static struct relay_world *two_relays(void)
{
	struct relay_world *rw = relay_world_new(2, 8);

	relay_world_init(rw, 3);
	relay_world_run(rw, MS(100));
	relay_world_connect(rw);
	assert_true(relay_world_packet(rw));
	assert_true(relay_world_reply(rw));
	return rw;
}

/* Packets both ways each 100 ms; the client follows what it is told. False: not back in @us. */
static bool back_within(struct relay_world *rw, uint64_t us)
{
	uint64_t end_us = rw->w->now_us + us;
	size_t announced;

	while (rw->w->now_us < end_us) {
		if (relay_world_packet(rw) && relay_world_reply(rw))
			return true;
		relay_world_run(rw, MS(80));
		announced = relay_world_announced(rw);
		if (announced == RELAYS || announced == rw->client_uses)
			continue;
		/* No wait: channels to what it has signalled are bound by then. */
		assert_true(relay_world_check(rw, announced, false));
		rw->client_uses = announced;
		assert_true(relay_world_check(rw, announced, true));
	}
	return false;
}

static void assert_moved(const struct relay_world *rw, size_t from)
{
	size_t to = 1 - from;

	assert_true(relay_world_heard(rw, true, from));
	assert_true(relay_world_heard(rw, false, to));
	assert_int_equal(rw->client_uses, to);
	assert_true(rw->relays[to].to_client > 0);
}

static void relay_killed_under_traffic_is_left_within_five_seconds(void **state)
{
	struct relay_world *rw = two_relays();
	size_t was = rw->client_uses;
	uint64_t killed_us = rw->w->now_us;

	(void)state;
	rw->relays[was].dead = true;
	while (!relay_world_heard(rw, true, was) && rw->w->now_us < killed_us + S(60)) {
		(void)relay_world_packet(rw);
		relay_world_run(rw, MS(80));
	}
	assert_in_range(rw->w->now_us - killed_us, MS(3000), MS(3600));
	assert_true(back_within(rw, killed_us + S(5) - rw->w->now_us));
	assert_moved(rw, was);
	relay_world_free(rw);
}

static void relay_killed_without_traffic_is_left_within_thirty_three_seconds(void **state)
{
	struct relay_world *rw = two_relays();
	size_t was = rw->client_uses;
	uint64_t killed_us = rw->w->now_us;

	(void)state;
	rw->relays[was].dead = true;
	while (!relay_world_heard(rw, true, was) && rw->w->now_us < killed_us + S(60))
		relay_world_run(rw, MS(100));
	assert_true(rw->w->now_us - killed_us <= S(33));
	assert_true(back_within(rw, S(2)));
	assert_moved(rw, was);
	relay_world_free(rw);
}

static void removed_relay_is_left_at_once(void **state)
{
	struct relay_world *rw = two_relays();
	size_t was = rw->client_uses;

	(void)state;
	relay_world_presence(rw, 1u << was, 0);
	assert_true(relay_world_heard(rw, true, was));
	assert_true(relay_world_heard(rw, false, 1 - was));
	assert_true(back_within(rw, S(1)));
	assert_moved(rw, was);
	relay_world_free(rw);
}

/* New credentials: everything on it is void, and it has no allocation yet. */
static void replaced_relay_is_left_at_once(void **state)
{
	struct relay_world *rw = two_relays();
	size_t was = rw->client_uses;

	(void)state;
	rw->relays[was].version++;
	rw->relays[was].forgot = true;
	relay_world_presence(rw, 0, 1u << was);
	assert_true(relay_world_heard(rw, true, was));
	assert_true(back_within(rw, S(1)));
	assert_moved(rw, was);
	relay_world_run(rw, S(1));
	assert_int_equal(rw->relays[was].allocates, 2);
	relay_world_free(rw);
}

/* The only one, with a new secret that the portal tells of. */
static void replaced_relay_without_another_is_used_again(void **state)
{
	struct relay_world *rw = relay_world_new(1, 8);

	(void)state;
	relay_world_init(rw, 1);
	relay_world_run(rw, MS(100));
	relay_world_connect(rw);
	rw->relays[0].version++;
	rw->relays[0].forgot = true;
	rw->relays[0].relayed.port = 50001;
	relay_world_presence(rw, 0, 1);
	assert_true(relay_world_heard(rw, true, 0));
	relay_world_run(rw, MS(100));
	assert_true(world_heard(rw->w, false, " 50001 typ relay"));
	assert_true(relay_world_check(rw, 0, true));
	assert_true(relay_world_packet(rw));
	relay_world_free(rw);
}

static void relay_that_has_forgotten_us_is_asked_anew(void **state)
{
	struct relay_world *rw = two_relays();
	size_t was = rw->client_uses;
	uint64_t forgot_us = rw->w->now_us;

	(void)state;
	rw->relays[was].forgot = true;
	rw->relays[was].relayed.port = 50001;
	while (rw->relays[was].allocates < 2 && rw->w->now_us < forgot_us + S(60)) {
		(void)relay_world_packet(rw);
		relay_world_run(rw, MS(80));
	}
	assert_true(rw->w->now_us - forgot_us < MS(3500));
	relay_world_run(rw, MS(100));
	assert_true(world_heard(rw->w, false, " 50001 typ relay"));
	assert_true(relay_world_check(rw, was, true));
	assert_true(relay_world_packet(rw));
	relay_world_free(rw);
}

static void rebound_nat_of_ours_is_found_out_with_the_next_binding(void **state)
{
	struct relay_world *rw = two_relays();
	size_t was = rw->client_uses;

	(void)state;
	rw->relays[was].forgot = true; /* our 5-tuple is another one */
	rw->relays[was].mapped_port = 40001;
	relay_world_run(rw, S(26));
	assert_int_equal(rw->relays[was].allocates, 2);
	assert_true(world_heard(rw->w, false, " 40001 typ srflx"));
	relay_world_free(rw);
}

static void full_relay_is_left_for_one_that_works(void **state)
{
	struct relay_world *rw = two_relays();
	size_t was = rw->client_uses;

	(void)state;
	rw->relays[was].forgot = true;
	rw->relays[was].refuses = 486;
	assert_true(back_within(rw, S(5)));
	assert_moved(rw, was);
	/* And when it takes us again, it is one to choose from. */
	rw->relays[was].refuses = 0;
	world_forget(rw->w);
	relay_world_run(rw, S(80));
	assert_false(rw->relays[was].forgot);
	assert_int_equal(rw->w->invalidated, 0);
	relay_world_free(rw);
}

static void refused_relay_that_the_portal_names_again_is_asked_at_once(void **state)
{
	struct relay_world *rw = relay_world_new(1, 8);

	(void)state;
	rw->relays[0].refuses = 508;
	relay_world_init(rw, 1);
	relay_world_run(rw, S(1));
	assert_int_equal(rw->relays[0].allocates, 1);
	rw->relays[0].refuses = 0;
	relay_world_presence(rw, 0, 1);
	relay_world_run(rw, MS(100));
	assert_int_equal(rw->relays[0].allocates, 2);
	relay_world_connect(rw);
	/* One that works is left alone. */
	relay_world_presence(rw, 0, 1);
	relay_world_run(rw, MS(100));
	assert_int_equal(rw->relays[0].allocates, 2);
	assert_true(relay_world_packet(rw));
	relay_world_free(rw);
}

static void relay_named_while_its_refusal_is_on_the_way_is_asked_at_once(void **state)
{
	struct relay_world *rw = relay_world_new(1, 8);

	(void)state;
	rw->relays[0].refuses = 508;
	rw->relays[0].rtt_us = MS(50);
	relay_world_init(rw, 1);
	relay_world_run(rw, MS(75));
	assert_int_equal(rw->relays[0].allocates, 0);
	relay_world_presence(rw, 0, 1);
	while (rw->relays[0].allocates == 0)
		relay_world_run(rw, MS(1));
	rw->relays[0].refuses = 0;
	relay_world_run(rw, MS(200));
	assert_int_equal(rw->relays[0].allocates, 2);
	relay_world_free(rw);
}

/* Silence on all sides is our own network's: nothing is given up, and nothing has to be said. */
static void outage_of_our_own_moves_nothing(void **state)
{
	struct relay_world *rw = two_relays();
	uint64_t start_us = rw->w->now_us;

	(void)state;
	rw->relays[0].dead = rw->relays[1].dead = true;
	while (rw->w->now_us < start_us + S(8)) {
		(void)relay_world_packet(rw);
		relay_world_run(rw, MS(80));
	}
	rw->relays[0].dead = rw->relays[1].dead = false;
	assert_true(back_within(rw, S(1)));
	relay_world_run(rw, S(2));
	assert_int_equal(rw->w->invalidated + rw->w->announced, 0);
	relay_world_free(rw);
}

static void last_relay_lost_is_asked_for_until_there_is_one(void **state)
{
	struct relay_world *rw = relay_world_new(1, 8);

	(void)state;
	relay_world_init(rw, 1);
	relay_world_run(rw, MS(100));
	relay_world_connect(rw);
	relay_world_presence(rw, 1, 0);
	assert_true(relay_world_heard(rw, true, 0));
	relays_want(rw->w->g);
	world_look(rw->w);
	assert_int_equal(rw->w->no_relays, 1);
	relay_world_run(rw, S(30));
	relays_want(rw->w->g);
	world_look(rw->w);
	assert_int_equal(rw->w->no_relays, 1);
	relay_world_run(rw, S(31));
	relays_want(rw->w->g);
	world_look(rw->w);
	assert_int_equal(rw->w->no_relays, 2);
	relay_world_free(rw);
}

static void full_outbox_does_not_swallow_the_question_for_relays(void **state)
{
	struct relay_world *rw = relay_world_new(1, 8);
	struct gateway *g = rw->w->g;

	(void)state;
	relay_world_init(rw, 1);
	relay_world_run(rw, MS(100));
	while (outbox_push(g, "ref"))
		;
	relays_remove(g, turn_id(g->relays[0].turn), 1);
	relays_assign(g);
	world_look(rw->w); /* the acknowledgements go out */
	assert_int_equal(rw->w->no_relays, 0);
	relays_want(g);
	world_look(rw->w);
	assert_int_equal(rw->w->no_relays, 1);
	relay_world_free(rw);
}

static void address_that_another_relay_finds_goes_to_all_connections(void **state)
{
	struct relay_world *rw = relay_world_new(2, 8);

	(void)state;
	relay_world_init(rw, 1);
	relay_world_run(rw, MS(100));
	relay_world_connect(rw);
	rw->relays[1].mapped_port = 41111;
	relay_world_presence(rw, 0, 2);
	relay_world_run(rw, MS(100));
	assert_true(world_heard(rw->w, false, " 41111 typ srflx"));
	assert_int_equal(rw->w->announced, 1); /* neither its relayed one nor what was known */
	relay_world_free(rw);
}

/* --- the choice --- */

/* How often each relay is chosen in @times, by the round-trip times given. */
static void choose(const unsigned int *rtt_ms, size_t n, unsigned int times, unsigned int *count)
{
	struct relay_world *rw = relay_world_new(n, 8);

	for (size_t i = 0; i < n; i++)
		rw->relays[i].rtt_us = MS(rtt_ms[i]);
	relay_world_init(rw, (1u << n) - 1);
	relay_world_run(rw, S(2));
	memset(count, 0, RELAYS * sizeof(*count));
	for (unsigned int k = 0; k < times; k++) {
		const struct relay *r = relays_choose(rw->w->g);

		for (size_t i = 0; i < n; i++)
			count[i] += turn_has_address(r->turn, &rw->relays[i].at);
	}
	relay_world_free(rw);
}

static void choice_is_uniform_among_the_near_ones(void **state)
{
	/* Round-trip times in ms, and which of them are near. */
	static const struct {
		size_t n;
		unsigned int rtt_ms[RELAYS];
		bool near[RELAYS];
	} cases[] = {
	    {1, {500}, {true}},
	    {2, {40, 50}, {true, true}},
	    {2, {40, 70}, {true, false}}, /* 1.5 times the best */
	    {2, {70, 40}, {false, true}},
	    {3, {10, 12, 15}, {true, true, true}}, /* 12 + 3 * 2 */
	    {3, {10, 12, 30}, {true, true, false}},
	    {3, {10, 50, 90}, {true, true, true}},            /* 50 + 3 * 40 */
	    {4, {10, 12, 14, 40}, {true, true, true, false}}, /* 13 + 3 * 2 */
	    {4, {10, 20, 30, 40}, {true, true, true, true}},
	};

	(void)state;
	for (size_t c = 0; c < ARRAY_LEN(cases); c++) {
		unsigned int count[RELAYS], near = 0;

		choose(cases[c].rtt_ms, cases[c].n, 3000, count);
		for (size_t i = 0; i < cases[c].n; i++)
			near += cases[c].near[i];
		for (size_t i = 0; i < cases[c].n; i++) {
			if (cases[c].near[i])
				assert_in_range(count[i], 3000 / near * 85 / 100,
						3000 / near * 115 / 100);
			else
				assert_int_equal(count[i], 0);
		}
	}
}

static void relay_with_an_allocation_is_chosen_before_a_nearer_one_without(void **state)
{
	struct relay_world *rw = relay_world_new(3, 8);

	(void)state;
	assert_null(relays_choose(rw->w->g));
	rw->relays[0].refuses = 508;
	rw->relays[1].rtt_us = MS(200);
	rw->relays[2].dead = true;
	relay_world_init(rw, 7);
	relay_world_run(rw, MS(100));
	/* The only one that has answered at all. */
	assert_true(turn_has_address(relays_choose(rw->w->g)->turn, &rw->relays[0].at));
	relay_world_run(rw, S(1));
	for (int i = 0; i < 50; i++)
		assert_true(turn_has_address(relays_choose(rw->w->g)->turn, &rw->relays[1].at));
	relay_world_free(rw);
}

/* --- many connections --- */

static void many_clients(struct relay_world *rw, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		char client[64], v4[32], v6[64], ufrag[16];
		uint8_t key[32] = {9, (uint8_t)i, (uint8_t)(i >> 8)};
		struct world_flow flow = {.client = client,
					  .v4 = v4,
					  .v6 = v6,
					  .key = key,
					  .gateway_ufrag = ufrag,
					  .expires_at = WORLD_LATER};

		snprintf(client, sizeof(client), "21111111-2222-4333-8444-%012u", i);
		snprintf(v4, sizeof(v4), "100.64.%u.%u", 1 + i / 200, 1 + i % 200);
		snprintf(v6, sizeof(v6), "fd00:2021:1111::%x", 16 + i);
		snprintf(ufrag, sizeof(ufrag), "a%03u", i);
		rw->w->authorized = rw->w->announced = 0;
		world_flow(rw->w, &flow);
		assert_int_equal(rw->w->authorized, 1);
		rw->w->n_sent = 0;
	}
}

static void loss_of_a_relay_is_no_burst_for_its_connections(void **state)
{
	enum {
		CLIENTS = 200
	};
	struct relay_world *rw = relay_world_new(2, CLIENTS);
	unsigned int before;
	uint64_t start_us;

	(void)state;
	relay_world_init(rw, 1);
	relay_world_run(rw, MS(100));
	many_clients(rw, CLIENTS);
	relay_world_presence(rw, 0, 2);
	relay_world_run(rw, MS(100));
	world_forget(rw->w);
	start_us = rw->w->now_us;
	relay_world_presence(rw, 1, 0);
	assert_int_equal(rw->w->invalidated, 32);
	assert_int_equal(rw->w->announced, 32);
	while (rw->w->invalidated < CLIENTS && rw->w->now_us < start_us + S(1)) {
		before = rw->w->invalidated;
		relay_world_run(rw, MS(1));
		assert_true(rw->w->invalidated - before <= 32);
	}
	assert_int_equal(rw->w->invalidated, CLIENTS);
	assert_int_equal(rw->w->announced, CLIENTS);
	assert_true(rw->w->now_us - start_us <= MS(20));
	relay_world_free(rw);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(relay_killed_under_traffic_is_left_within_five_seconds),
	    cmocka_unit_test(relay_killed_without_traffic_is_left_within_thirty_three_seconds),
	    cmocka_unit_test(removed_relay_is_left_at_once),
	    cmocka_unit_test(replaced_relay_is_left_at_once),
	    cmocka_unit_test(replaced_relay_without_another_is_used_again),
	    cmocka_unit_test(relay_that_has_forgotten_us_is_asked_anew),
	    cmocka_unit_test(rebound_nat_of_ours_is_found_out_with_the_next_binding),
	    cmocka_unit_test(full_relay_is_left_for_one_that_works),
	    cmocka_unit_test(refused_relay_that_the_portal_names_again_is_asked_at_once),
	    cmocka_unit_test(relay_named_while_its_refusal_is_on_the_way_is_asked_at_once),
	    cmocka_unit_test(outage_of_our_own_moves_nothing),
	    cmocka_unit_test(last_relay_lost_is_asked_for_until_there_is_one),
	    cmocka_unit_test(full_outbox_does_not_swallow_the_question_for_relays),
	    cmocka_unit_test(address_that_another_relay_finds_goes_to_all_connections),
	    cmocka_unit_test(choice_is_uniform_among_the_near_ones),
	    cmocka_unit_test(relay_with_an_allocation_is_chosen_before_a_nearer_one_without),
	    cmocka_unit_test(loss_of_a_relay_is_no_burst_for_its_connections),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
