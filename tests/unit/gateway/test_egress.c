/*
 * How relays and paths leave: the memo of the hot path, the comparison with what was in force, and
 * a network that is away for a while. Routes come from an injected lookup. [spec
 * socket-factory 4.5, 4.6, T45]
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "channel.h"
#include "fixture.h"
#include "roaming.h"
#include "turn/turn.h"

static void same_source_by_another_interface_is_no_roam(void **state)
{
	struct world *w = *state;
	struct gateway_egress egress;

	world_connect(w);
	w->net.ifindex = 9;
	w->net.gateway[0] = roaming_ep("192.0.2.1:1").ip;
	egress = roaming_compare(w);
	assert_int_equal(egress.kept, 2);
	assert_int_equal(egress.rerouted, 2);
	assert_int_equal(egress.moved + egress.lost, 0);
	w->n_sent = 0;
	roaming_roam(w);
	assert_int_equal(w->n_sent + w->invalidated + w->announced, 0);
	roaming_assert_both_ways(w);
	egress = roaming_compare(w);
	assert_int_equal(egress.rerouted, 0);
}

static void everything_lost_and_the_same_again_redoes_nothing(void **state)
{
	struct world *w = *state;
	struct gateway_egress egress;
	struct world_net net;

	world_connect(w);
	net = w->net;
	w->net.source[0] = (struct ip_addr){.family = IP_NONE};
	egress = roaming_compare(w);
	assert_int_equal(egress.lost, 2);
	assert_int_equal(egress.kept + egress.moved, 0);
	w->n_sent = 0;
	roaming_roam(w);
	assert_int_equal(w->n_sent + w->invalidated + w->announced, 0);
	world_advance(w, 3 * US_PER_S);
	w->net = net;
	egress = roaming_compare(w);
	assert_int_equal(egress.kept, 2);
	assert_int_equal(egress.lost + egress.moved, 0);
	roaming_assert_both_ways(w);
	assert_int_equal(w->invalidated, 0);
}

/* A keepalive falls into the outage; without the network it would end the relay after 9 s. */
static void outage_that_the_host_sees_costs_no_relay_however_long(void **state)
{
	struct world *w = *state;
	struct world_net net;

	world_connect(w);
	net = w->net;
	w->net.source[0] = (struct ip_addr){.family = IP_NONE};
	(void)roaming_compare(w);
	world_advance(w, 60 * US_PER_S);
	assert_int_equal(fixture_snapshot(w).relays_ready, 1);
	w->net = net;
	(void)roaming_compare(w);
	world_step(w, 4 * US_PER_S);
	world_relay_answers(w);
	for (int i = 0; i < 20; i++) {
		world_relay_answers(w);
		world_step(w, US_PER_S);
	}
	world_relay_answers(w);
	assert_int_equal(fixture_snapshot(w).relays_ready, 1);
	/* From now on silence counts again. */
	w->mute_relay = true;
	world_advance(w, 40 * US_PER_S);
	assert_int_equal(fixture_snapshot(w).relays, 0);
}

static void memo_asks_the_cache_once_per_generation(void **state)
{
	struct world *w = *state;
	struct factory_counters before, after;
	uint8_t packet[WORLD_PING_LEN];
	unsigned int lookups;

	world_connect(w);
	world_step(w, 1100 * US_PER_MS);
	world_relay_answers(w); /* the channel is bound at the second try */
	roaming_local_dead(w, &w->host.ip);
	(void)channel_check(w, true);
	assert_int_equal(fixture_snapshot(w).relayed, 1);
	/* Even one that the cache has lost meanwhile is at hand. */
	factory_invalidate(w->factory, &w->relay.ip, factory_generation(w->factory),
			   FACTORY_CAUSE_OPERATOR);
	lookups = w->lookups;
	factory_counters(w->factory, &before);
	for (int i = 0; i < 50; i++) {
		world_ping(packet, fixture_lab_ip, fixture_client_ip, 0);
		world_from_tun(w, packet, sizeof(packet));
		assert_int_equal(w->n_sent, 1);
		assert_true(endpoint_eq(&w->sent[0].key.dst, &w->relay));
		assert_true(ip_eq(&w->sent[0].key.src.ip, &w->host.ip));
		assert_int_equal(w->sent[0].key.generation, factory_generation(w->factory));
	}
	factory_counters(w->factory, &after);
	assert_int_equal(w->lookups, lookups);
	assert_int_equal(after.hits - before.hits, 50);
	factory_flush(w->factory, FACTORY_CAUSE_LINK);
	for (int i = 0; i < 5; i++) {
		world_ping(packet, fixture_lab_ip, fixture_client_ip, 0);
		world_from_tun(w, packet, sizeof(packet));
		assert_int_equal(w->sent[0].key.generation, factory_generation(w->factory));
	}
	assert_int_equal(w->lookups, lookups + 1);
	/* Without a way the loop is left to say so. */
	w->net.source[0] = (struct ip_addr){.family = IP_NONE};
	factory_flush(w->factory, FACTORY_CAUSE_LINK);
	world_ping(packet, fixture_lab_ip, fixture_client_ip, 0);
	world_from_tun(w, packet, sizeof(packet));
	assert_int_equal(w->sent[0].key.src.ip.family, IP_NONE);
	assert_int_equal(w->sent[0].key.generation, 0);
}

static void direct_path_keeps_the_source_that_ice_chose(void **state)
{
	struct world *w = *state;
	const struct endpoint was = w->host;

	world_connect(w);
	roaming_move_to(w, "198.18.0.77:52625");
	factory_flush(w->factory, FACTORY_CAUSE_ROUTE);
	assert_true(roaming_answer_leaves(w));
	assert_true(endpoint_eq(&w->sent[0].key.src, &was));
	assert_int_equal(w->sent[0].key.generation, 0);
}

static void client_is_found_by_its_tunnel_addresses(void **state)
{
	struct world *w = *state;
	const struct ip_addr v4 = roaming_ep("100.64.0.10:1").ip,
			     v6 = roaming_ep("[fd00:2021:1111::a]:1").ip,
			     nobody = roaming_ep("100.64.0.11:1").ip;
	struct uuid id, same;

	assert_false(gateway_client_at(w->g, &v4, &id));
	world_connect(w);
	assert_true(gateway_client_at(w->g, &v4, &id));
	assert_true(gateway_client_at(w->g, &v6, &same));
	assert_true(uuid_eq(&id, &same));
	assert_int_equal(id.bytes[0], 0x11);
	assert_false(gateway_client_at(w->g, &nobody, &id));
	world_reject(w, WORLD_LAB);
	assert_false(gateway_client_at(w->g, &v4, &id));
}

static void connection_that_failed_is_not_found_by_its_address(void **state)
{
	struct world *w = *state;
	const struct ip_addr v4 = roaming_ep("100.64.0.10:1").ip;
	struct uuid id;

	world_init(w, true);
	world_relay_answers(w);
	world_relay_answers(w);
	world_authorize(w, WORLD_LAB, "10.20.0.0/16", WORLD_LATER);
	assert_true(gateway_client_at(w->g, &v4, &id));
	world_advance(w, 11 * US_PER_S); /* no candidate of the client's came */
	assert_int_equal(fixture_snapshot(w).grants, 1);
	assert_false(gateway_client_at(w->g, &v4, &id));
}

static void refusal_without_an_event_is_found_out_within_a_second(void **state)
{
	struct world *w = *state;
	struct world_net net = w->net;

	w->net.source[0] = (struct ip_addr){.family = IP_NONE};
	world_init(w, true);
	world_advance(w, 3 * US_PER_S);
	w->net = net;
	world_step(w, US_PER_S);
	assert_int_equal(roaming_requests(w, STUN_BINDING, &w->relay), 0);
	world_clock(w);
	assert_int_equal(roaming_requests(w, STUN_BINDING, &w->relay), 1);
	world_relay_answers(w);
	world_relay_answers(w);
	assert_int_equal(fixture_snapshot(w).relays_ready, 1);
	w->n_sent = 0;
	world_clock(w);
	assert_int_equal(w->n_sent, 0);
}

/* The same without an event: a firewall that refused to send, and refuses no more. */
static void host_that_was_away_is_back_within_a_second(void **state)
{
	struct world *w = *state;
	struct world_net net;

	world_connect(w);
	net = w->net;
	w->net.source[0] = (struct ip_addr){.family = IP_NONE};
	assert_int_equal(roaming_compare(w).lost, 2);
	world_advance(w, 2 * US_PER_S);
	w->net = net;
	/* What the cache has just learnt holds for a second. */
	world_advance(w, US_PER_S);
	world_clock(w);
	w->mute_relay = true;
	world_advance(w, 60 * US_PER_S);
	assert_int_equal(fixture_snapshot(w).relays, 0);
}

static void relays_are_pinned_as_long_as_any_relay_has_the_address(void **state)
{
	struct world *w = *state;
	const struct ip_addr relay = w->relay.ip;
	struct factory_route route;

	world_init(w, false);
	roaming_relay_present(w, ROAMING_RELAY("1", "203.0.113.7:3478"));
	roaming_relay_present(w, ROAMING_RELAY("2", "203.0.113.7:3478"));
	for (int gone = 0; gone < 3; gone++) {
		unsigned int lookups;

		if (gone > 0)
			world_message(w, "relays_presence",
				      gone == 1
					  ? "{\"connected\":[],\"disconnected_ids\":[\"5b0c6f0e-"
					    "5f8a-4a39-9a0e-0d8f0f9a0001\"]}"
					  : "{\"connected\":[],\"disconnected_ids\":[\"5b0c6f0e-"
					    "5f8a-4a39-9a0e-0d8f0f9a0002\"]}");
		assert_int_equal(factory_resolve(w->factory, &relay, 0, w->now_us, &route),
				 FACTORY_OK);
		for (uint32_t i = 0; i < 2 * FACTORY_MAX_POSITIVE; i++) {
			const uint8_t bytes[4] = {10, (uint8_t)(i >> 16), (uint8_t)(i >> 8),
						  (uint8_t)i};
			struct ip_addr other = ip_v4(bytes);

			(void)factory_resolve(w->factory, &other, 0, w->now_us, &route);
		}
		lookups = w->lookups;
		(void)factory_resolve(w->factory, &relay, 0, w->now_us, &route);
		assert_int_equal(w->lookups - lookups, gone == 2);
	}
}

enum {
	PATHS = 1000
};

static void nominate(struct world *w, int i)
{
	uint8_t secret[32] = {1, (uint8_t)i, (uint8_t)(i >> 8)}, key[32];
	char client[40], v4[16], v6[32], ufrag[16], pwd[32], src[32];
	struct endpoint from;

	crypto_scalarmult_base(key, secret);
	snprintf(client, sizeof(client), "%08d-2222-4333-8444-555555555555", i);
	snprintf(v4, sizeof(v4), "100.64.%d.%d", 1 + i / 200, 1 + i % 200);
	snprintf(v6, sizeof(v6), "fd00:2021:1111::1:%d", i + 1);
	snprintf(ufrag, sizeof(ufrag), "u%05d", i);
	snprintf(pwd, sizeof(pwd), "password-of-the-gateway%d", i);
	snprintf(src, sizeof(src), "198.51.%d.%d:52625", 1 + i / 200, 1 + i % 200);
	from = roaming_ep(src);
	world_forget(w);
	world_flow(w, &(struct world_flow){.client = client,
					   .v4 = v4,
					   .v6 = v6,
					   .key = key,
					   .gateway_ufrag = ufrag,
					   .gateway_pwd = pwd,
					   .expires_at = WORLD_LATER});
	assert_int_equal(w->authorized, 1);
	assert_true(world_check_from(w, &from, ufrag, pwd, true));
}

static void thousand_paths_are_looked_up_once_each(void **state)
{
	struct world *w = world_roaming(PATHS);
	struct gateway_egress egress;
	unsigned int lookups;

	(void)state;
	world_init(w, true);
	world_relay_answers(w);
	world_relay_answers(w);
	for (int i = 0; i < PATHS; i++)
		nominate(w, i);
	assert_int_equal(fixture_snapshot(w).direct, PATHS);
	lookups = w->lookups;
	egress = roaming_compare(w);
	assert_int_equal(egress.kept, PATHS + 1);
	assert_int_equal(w->lookups - lookups, PATHS + 1);
	lookups = w->lookups;
	roaming_move_to(w, "198.18.0.77:52625");
	egress = roaming_compare(w);
	assert_int_equal(egress.moved, PATHS + 1);
	assert_int_equal(w->lookups - lookups, PATHS + 1);
	world_free(w);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup_roaming, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CASE(same_source_by_another_interface_is_no_roam),
	    CASE(everything_lost_and_the_same_again_redoes_nothing),
	    CASE(outage_that_the_host_sees_costs_no_relay_however_long),
	    CASE(memo_asks_the_cache_once_per_generation),
	    CASE(direct_path_keeps_the_source_that_ice_chose),
	    CASE(client_is_found_by_its_tunnel_addresses),
	    CASE(connection_that_failed_is_not_found_by_its_address),
	    CASE(refusal_without_an_event_is_found_out_within_a_second),
	    CASE(host_that_was_away_is_back_within_a_second),
	    CASE(relays_are_pinned_as_long_as_any_relay_has_the_address),
	    cmocka_unit_test(thousand_paths_are_looked_up_once_each),
	};

	if (sodium_init() < 0)
		return 1;
	portal_json_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
