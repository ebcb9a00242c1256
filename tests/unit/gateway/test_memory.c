/*
 * How much memory one client makes the core hold, measured where it is taken. The program is linked
 * with the allocator's functions wrapped; what libcrypto takes for keys is not seen.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "fixture.h"
#include "ice/ice.h"
#include "roaming.h"
#include "tests/sim/memory.h"
#include "wireguard/session.h"
#include "world.h"

/* The hook has no argument for it. */
static struct memory memory;

static void around(bool enter)
{
	if (enter)
		memory_enter(&memory);
	else
		memory_leave();
}

static int setup(void **state)
{
	struct world *w = world_new();

	memory = (struct memory){.bytes = 0};
	w->around = around;
	world_init(w, true);
	world_relay_answers(w);
	world_relay_answers(w);
	*state = w;
	return 0;
}

/* Time in which the relay answers. */
static void pass(struct world *w, unsigned int seconds)
{
	for (unsigned int i = 0; i < seconds; i++) {
		world_step(w, US_PER_S);
		world_relay_answers(w);
	}
}

static void hold_packets(struct world *w)
{
	uint8_t packet[1200];

	for (int i = 0; i < GATEWAY_HELD_PACKETS; i++) {
		world_big_ping(packet, sizeof(packet), fixture_lab_ip, fixture_client_ip, 0, 0,
			       false);
		world_from_tun(w, packet, sizeof(packet));
	}
	assert_true(fixture_snapshot(w).held > 0);
}

static void idle_client_costs_what_is_stated(void **state)
{
	struct world *w = *state;
	int64_t base = memory.bytes, idle;

	world_connect_client(w);
	pass(w, 30);
	assert_int_equal(fixture_snapshot(w).idle, 1);
	idle = memory.bytes - base - (int64_t)sizeof(struct wg_session);
	assert_in_range(idle, 1, GATEWAY_BYTES_IDLE);
	pass(w, 200);
	idle = memory.bytes - base;
	assert_in_range(idle, 1, GATEWAY_BYTES_IDLE);
}

static void further_grants_cost_what_is_stated(void **state)
{
	struct world *w = *state;
	int64_t base;

	world_connect_client(w);
	pass(w, 30);
	base = memory.bytes;
	for (int i = 0; i < 100; i++) {
		char id[40], prefix[32];

		snprintf(id, sizeof(id), "%08d-2222-4333-8444-555555555555", i);
		snprintf(prefix, sizeof(prefix), "10.21.%d.0/24", i);
		world_forget(w);
		world_authorize(w, id, prefix, WORLD_LATER);
	}
	pass(w, 30);
	assert_in_range((memory.bytes - base) / 100, 1, GATEWAY_BYTES_PER_GRANT);
}

/* Everything that a client can make grow. */
static void fill(struct world *w)
{
	char text[128];

	for (int i = 0; i < 2 * ICE_MAX_REMOTE_SIGNALLED; i++) {
		snprintf(text, sizeof(text), "candidate:1 1 udp %d 198.51.101.%d 9 typ %s",
			 1000 + i, i + 1, i % 2 ? "host" : "srflx");
		world_client_candidate(w, text);
	}
	for (uint16_t i = 0; i < 2 * ICE_MAX_REMOTE_PRFLX; i++) {
		struct endpoint from = roaming_ep("198.51.102.1:4000");

		from.port = (uint16_t)(from.port + i);
		(void)world_check_from(w, &from, w->who.gateway_ufrag, w->who.gateway_pwd, true);
	}
	w->n_sent = 0;
}

static void busy_client_costs_no_more_than_is_stated(void **state)
{
	struct world *w = *state;
	int64_t base = memory.bytes;

	world_connect_client(w);
	pass(w, 200);
	memory.most = memory.bytes;
	fill(w);
	hold_packets(w);
	for (int i = 0; i < 20; i++) {
		fill(w);
		world_advance(w, 200 * US_PER_MS);
	}
	world_joined(w, false);
	world_authorize(w, WORLD_LAB, "10.20.0.0/16", WORLD_LATER);
	pass(w, 12);
	assert_in_range(memory.most - base, GATEWAY_BYTES_IDLE, GATEWAY_BYTES_WORST);
}

static void client_that_goes_gives_all_of_it_back(void **state)
{
	struct world *w = *state;
	int64_t bytes[2];

	for (int life = 0; life < 2; life++) {
		world_restart_client(w);
		world_connect_client(w);
		pass(w, 200);
		fill(w);
		hold_packets(w);
		world_reject(w, WORLD_LAB);
		assert_int_equal(fixture_snapshot(w).connections, 0);
		bytes[life] = memory.bytes;
	}
	assert_int_equal(bytes[0], bytes[1]);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CASE(idle_client_costs_what_is_stated),
	    CASE(further_grants_cost_what_is_stated),
	    CASE(busy_client_costs_no_more_than_is_stated),
	    CASE(client_that_goes_gives_all_of_it_back),
	};

	if (sodium_init() < 0)
		return 1;
	portal_json_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
