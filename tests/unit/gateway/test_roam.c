/*
 * The host's network changes under the core: what is asked again, what is withdrawn and announced,
 * what stays. Routes come from an injected lookup. [spec socket-factory 4.5, 4.6, T23, T30, T45]
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
#include "roaming.h"

#define OLD_HOST  " 192.0.2.10 52625 typ host"
#define OLD_SRFLX " 203.0.113.99 40000 typ srflx"
#define RELAYED   " 203.0.113.7 50000 typ relay"
#define NEW_HOST  " 198.18.0.77 52625 typ host"
#define HOST_V6   " 2001:db8:1::10 52625 typ host"

static void moved_source_withdraws_once_and_allocates_anew(void **state)
{
	struct world *w = *state;
	struct gateway_snapshot before, after;
	struct gateway_egress egress;
	uint8_t key[32];

	world_connect(w);
	before = fixture_snapshot(w);
	memcpy(key, gateway_public_key(w->g), sizeof(key));
	roaming_move_to(w, "198.18.0.77:52625");
	egress = roaming_compare(w);
	assert_int_equal(egress.live, 2);
	assert_int_equal(egress.moved, 2);
	assert_int_equal(egress.kept + egress.lost, 0);
	assert_true(ip_eq(&egress.now[0], &w->host.ip));
	assert_int_equal(egress.was[0].bytes[3], 10);
	assert_int_equal(egress.now[1].family, IP_NONE);
	w->n_sent = 0;
	roaming_roam(w);
	assert_int_equal(w->invalidations, 1);
	assert_int_equal(w->invalidated, 3);
	assert_true(world_heard(w, true, OLD_HOST) && world_heard(w, true, OLD_SRFLX) &&
		    world_heard(w, true, RELAYED));
	assert_int_equal(w->announcements, 1);
	assert_int_equal(w->announced, 1);
	assert_true(world_heard(w, false, NEW_HOST));
	/* At once: the relay is asked, and the client checked from the new address. */
	assert_int_equal(roaming_requests(w, STUN_BINDING, &w->relay), 1);
	assert_true(roaming_sent_to(w, &w->client) > 0);
	for (size_t i = 0; i < w->n_sent; i++)
		assert_true(ip_eq(&w->sent[i].key.src.ip, &w->host.ip));
	world_relay_answers(w);
	world_relay_answers(w);
	assert_true(ip_eq(&w->allocated_from.ip, &w->host.ip));
	assert_true(world_heard(w, false, OLD_SRFLX) && world_heard(w, false, RELAYED));
	assert_true(world_client_check(w, true));
	roaming_assert_both_ways(w);
	after = fixture_snapshot(w);
	assert_int_equal(after.handshakes_ok, before.handshakes_ok);
	assert_int_equal(after.connections, 1);
	assert_int_equal(after.grants, before.grants);
	assert_memory_equal(key, gateway_public_key(w->g), sizeof(key));
	/* What was carried out is in force. */
	egress = roaming_compare(w);
	assert_int_equal(egress.kept, 2);
	assert_int_equal(egress.moved, 0);
}

/* The answer to Allocate brings the bind, and right behind it the check through the channel. */
static void channels_of_signalled_candidates_come_back_with_the_allocation(void **state)
{
	struct world *w = *state;
	size_t bound = 0, checked = 0;

	world_connect(w);
	roaming_move_to(w, "198.18.0.77:52625");
	(void)roaming_compare(w);
	w->n_sent = 0;
	roaming_roam(w);
	for (size_t i = 0; i < w->n_sent; i++)
		assert_true(w->sent[i].data[0] < 0x40);
	world_relay_plays(w);
	for (size_t i = 0; i < w->n_sent; i++) {
		struct stun_msg msg;
		struct datagram *d = &w->sent[i];

		if (d->data[0] == 0x40)
			checked = i + 1;
		else if (stun_msg_read(&msg, d->data, d->len) && msg.method == STUN_CHANNEL_BIND)
			bound = i + 1;
	}
	assert_int_not_equal(bound, 0);
	assert_true(checked > bound);
}

static void path_stops_at_the_old_address_until_the_client_has_moved(void **state)
{
	struct world *w = *state;

	world_connect(w);
	assert_true(roaming_answer_leaves(w));
	roaming_move_to(w, "198.18.0.77:52625");
	(void)roaming_compare(w);
	roaming_roam(w);
	assert_false(roaming_answer_leaves(w));
	assert_int_equal(fixture_snapshot(w).connected, 0);
	assert_true(world_client_check(w, true));
	assert_true(roaming_answer_leaves(w));
}

static void dead_address_withdraws_what_is_based_on_it_only(void **state)
{
	struct world *w = *state;
	struct gateway_egress egress;
	const struct ip_addr other = roaming_ep("192.0.2.11:1").ip;

	world_connect(w);
	roaming_local_dead(w, &other);
	assert_int_equal(w->invalidated, 0);
	assert_int_equal(fixture_snapshot(w).connected, 1);
	roaming_local_dead(w, &w->host.ip);
	assert_int_equal(w->invalidations, 1);
	assert_int_equal(w->invalidated, 2);
	assert_true(world_heard(w, true, OLD_HOST) && world_heard(w, true, OLD_SRFLX));
	assert_int_equal(fixture_snapshot(w).connections, 1);
	assert_int_equal(fixture_snapshot(w).relays_ready, 1);
	assert_false(roaming_answer_leaves(w));
	/* The same address again: a way that was lost, but the allocation is still there. */
	world_forget(w);
	egress = roaming_compare(w);
	assert_int_equal(egress.moved, 1);
	roaming_roam(w);
	assert_true(world_heard(w, false, OLD_HOST));
	assert_int_equal(roaming_requests(w, STUN_BINDING, &w->relay), 1);
	world_relay_plays(w);
	assert_true(world_heard(w, false, OLD_SRFLX));
	assert_int_equal(roaming_requests(w, STUN_ALLOCATE, &w->relay), 0);
	assert_int_equal(w->invalidated, 0);
	assert_true(world_client_check(w, true));
	roaming_assert_both_ways(w);
}

static void lost_ipv6_moves_the_path_to_a_pair_that_works_and_back(void **state)
{
	struct world *w = *state;
	const struct endpoint v4 = w->client;
	struct gateway_egress egress;

	roaming_two_families(w);
	roaming_add_v6_path(w, true);
	roaming_assert_both_ways(w);
	w->net.source[1] = (struct ip_addr){.family = IP_NONE};
	egress = roaming_compare(w);
	assert_int_equal(egress.lost, 2);
	assert_int_equal(egress.kept, 1);
	assert_true(ip_eq(&egress.was[1], &w->host6.ip));
	assert_int_equal(egress.was[0].family + egress.now[1].family, IP_NONE);
	world_forget(w);
	roaming_roam(w);
	assert_int_equal(w->invalidations, 1);
	assert_true(world_heard(w, true, HOST_V6));
	assert_false(world_heard(w, true, RELAYED));
	assert_int_equal(fixture_snapshot(w).connected, 1);
	w->client = v4;
	roaming_assert_both_ways(w);
	assert_int_equal(roaming_requests(w, STUN_BINDING, &w->relay6), 0);
	/* And back. */
	w->net.source[1] = w->host6.ip;
	egress = roaming_compare(w);
	assert_int_equal(egress.moved, 1);
	assert_int_equal(egress.kept, 2);
	assert_true(ip_eq(&egress.now[1], &w->host6.ip));
	assert_int_equal(egress.was[1].family, IP_NONE);
	world_forget(w);
	roaming_roam(w);
	assert_true(world_heard(w, false, HOST_V6));
	assert_int_equal(w->invalidated, 0);
	assert_int_equal(roaming_requests(w, STUN_BINDING, &w->relay6), 1);
	assert_int_equal(roaming_requests(w, STUN_BINDING, &w->relay), 0);
	roaming_assert_both_ways(w);
	w->client = roaming_ep("[2001:db8::4]:52625");
	assert_true(world_client_check(w, true));
	roaming_assert_both_ways(w);
}

/* The client has not nominated anything over IPv4, but its pair has answered. */
static void lost_ipv6_takes_a_valid_pair_until_the_client_nominates(void **state)
{
	struct world *w = *state;
	const struct endpoint v4 = w->client;

	w->two_families = true;
	w->net.source[1] = w->host6.ip;
	fixture_authorize(w);
	assert_true(world_client_check(w, false));
	roaming_add_v6_path(w, true);
	assert_true(world_handshake(w));
	roaming_assert_both_ways(w);
	w->net.source[1] = (struct ip_addr){.family = IP_NONE};
	(void)roaming_compare(w);
	roaming_roam(w);
	w->client = v4;
	roaming_assert_both_ways(w);
}

static void family_that_appears_is_used(void **state)
{
	struct world *w = *state;
	struct gateway_egress egress;

	w->two_families = true;
	world_connect(w);
	/* Not asked for over a route that is not there. */
	egress = roaming_compare(w);
	assert_int_equal(egress.live, 2);
	w->net.source[1] = w->host6.ip;
	egress = roaming_compare(w);
	assert_int_equal(egress.live, 3);
	assert_int_equal(egress.moved, 1);
	world_forget(w);
	roaming_roam(w);
	assert_int_equal(roaming_requests(w, STUN_BINDING, &w->relay6), 1);
	assert_int_equal(w->invalidated, 0);
	assert_int_equal(fixture_snapshot(w).connected, 1);
	world_relay_answers(w);
	assert_true(world_heard(w, false, HOST_V6));
	roaming_assert_both_ways(w);
}

static void new_port_voids_what_is_based_on_the_old_one(void **state)
{
	struct world *w = *state;

	world_connect(w);
	w->host.port = 40001;
	w->n_sent = 0;
	roaming_new_socket(w, IP_V4, 52625, 40001);
	assert_int_equal(w->invalidated, 3);
	assert_true(world_heard(w, false, " 192.0.2.10 40001 typ host"));
	assert_int_equal(roaming_requests(w, STUN_BINDING, &w->relay), 1);
	world_relay_plays(w);
	assert_int_equal(roaming_requests(w, STUN_ALLOCATE, &w->relay), 1);
	assert_int_equal(fixture_snapshot(w).relays_ready, 1);
	assert_true(world_client_check(w, true));
	roaming_assert_both_ways(w);
}

static void same_port_asks_the_relays_only(void **state)
{
	struct world *w = *state;

	world_connect(w);
	w->n_sent = 0;
	roaming_new_socket(w, IP_V4, 52625, 52625);
	assert_int_equal(w->n_sent, 1);
	assert_int_equal(roaming_requests(w, STUN_REFRESH, &w->relay), 1);
	assert_int_equal(w->invalidated + w->announced, 0);
	world_relay_answers(w);
	roaming_assert_both_ways(w);
}

static void news_of_a_roam_wait_for_the_portal(void **state)
{
	struct world *w = *state;

	world_connect(w);
	world_joined(w, false);
	roaming_move_to(w, "198.18.0.77:52625");
	(void)roaming_compare(w);
	roaming_roam(w);
	world_relay_answers(w);
	world_relay_answers(w);
	assert_int_equal(w->invalidations + w->announcements, 0);
	world_joined(w, true);
	assert_int_equal(w->invalidations, 1);
	assert_int_equal(w->announcements, 1);
	assert_true(world_heard(w, true, OLD_HOST));
	assert_true(world_heard(w, false, NEW_HOST) && world_heard(w, false, RELAYED));
}

static void news_that_a_dying_portal_connection_took_are_said_again(void **state)
{
	struct world *w = *state;

	world_connect(w);
	roaming_local_dead(w, &w->host.ip);
	assert_int_equal(w->invalidated, 2);
	world_forget(w);
	world_joined(w, false);
	roaming_move_to(w, "198.18.0.77:52625");
	(void)roaming_compare(w);
	roaming_roam(w);
	world_joined(w, true);
	assert_true(world_heard(w, true, OLD_HOST) && world_heard(w, true, OLD_SRFLX));
	assert_true(world_heard(w, false, NEW_HOST));
	assert_false(world_heard(w, true, NEW_HOST));
}

static void news_of_long_ago_are_not_said_again(void **state)
{
	struct world *w = *state;

	world_connect(w);
	roaming_local_dead(w, &w->host.ip);
	(void)roaming_compare(w);
	roaming_roam(w);
	world_relay_plays(w);
	assert_true(world_client_check(w, true));
	world_forget(w);
	world_joined(w, false);
	world_joined(w, true);
	/* What is back is not withdrawn; what is known is announced once more. */
	assert_int_equal(w->invalidated, 0);
	assert_true(world_heard(w, false, OLD_HOST));
	world_forget(w);
	world_joined(w, false);
	world_joined(w, true);
	assert_true(w->announced > 0);
	w->now_us += 41 * US_PER_S;
	world_forget(w);
	world_joined(w, false);
	world_joined(w, true);
	assert_int_equal(w->announced + w->invalidated, 0);
}

static void idle_connection_wakes_for_a_roam_and_sleeps_again(void **state)
{
	struct world *w = *state;

	world_connect(w);
	world_advance(w, 21 * US_PER_S);
	assert_int_equal(fixture_snapshot(w).idle, 1);
	(void)roaming_compare(w);
	roaming_roam(w);
	assert_int_equal(fixture_snapshot(w).idle, 1);
	roaming_move_to(w, "198.18.0.77:52625");
	(void)roaming_compare(w);
	w->n_sent = 0;
	roaming_roam(w);
	assert_int_equal(fixture_snapshot(w).idle, 0);
	assert_true(roaming_sent_to(w, &w->client) > 0);
	world_relay_answers(w);
	world_relay_answers(w);
	assert_true(world_client_check(w, true));
	world_advance(w, 21 * US_PER_S);
	assert_int_equal(fixture_snapshot(w).idle, 1);
}

static void source_still_used_by_a_relay_stays_a_candidate(void **state)
{
	struct world *w = *state;

	roaming_two_families(w);
	roaming_add_v6_path(w, true);
	w->net.relay_source[1] = w->host6.ip;
	w->net.source[1] = (struct ip_addr){.family = IP_NONE};
	assert_int_equal(roaming_compare(w).lost, 1);
	world_forget(w);
	roaming_roam(w);
	assert_int_equal(w->invalidated, 0);
}

static void source_still_used_by_a_path_stays_a_candidate(void **state)
{
	struct world *w = *state;

	world_connect(w);
	w->net.relay_source[0] = roaming_ep("198.18.0.77:1").ip;
	assert_int_equal(roaming_compare(w).moved, 1);
	world_forget(w);
	roaming_roam(w);
	assert_int_equal(w->invalidated, 1);
	assert_true(world_heard(w, true, RELAYED));
	assert_true(world_heard(w, false, NEW_HOST));
	roaming_assert_both_ways(w);
}

/* The peers' route names another address, but the path works from this one. */
static void address_of_a_path_that_stays_remains_its_candidate(void **state)
{
	struct world *w = *state;

	w->net.relay_source[0] = w->host.ip;
	w->net.source[0] = roaming_ep("192.0.2.44:1").ip;
	world_connect(w);
	w->net.relay_source[0] = roaming_ep("198.18.0.77:1").ip;
	assert_int_equal(roaming_compare(w).moved, 1);
	world_forget(w);
	roaming_roam(w);
	assert_int_equal(w->invalidated, 1); /* the relayed one */
	roaming_assert_both_ways(w);
}

static void relay_without_a_way_is_asked_again_when_there_is_one(void **state)
{
	struct world *w = *state;

	w->net.source[0] = (struct ip_addr){.family = IP_NONE};
	w->net.source[1] = w->host6.ip;
	w->two_families = true;
	world_init(w, true);
	world_relay_answers(w);
	world_relay_answers(w);
	assert_int_equal(fixture_snapshot(w).relays_ready, 1);
	/* IPv6 goes, IPv4 comes: the relay moves. */
	w->net.source[1] = (struct ip_addr){.family = IP_NONE};
	w->net.source[0] = w->host.ip;
	assert_int_equal(roaming_compare(w).moved, 1);
	w->n_sent = 0;
	roaming_roam(w);
	assert_int_equal(fixture_snapshot(w).relays_ready, 0);
	assert_int_equal(roaming_requests(w, STUN_BINDING, &w->relay), 1);
	assert_int_equal(roaming_requests(w, STUN_BINDING, &w->relay6), 0);
	world_relay_answers(w);
	world_relay_answers(w);
	assert_int_equal(fixture_snapshot(w).relays_ready, 1);
	assert_true(ip_eq(&w->allocated_from.ip, &w->host.ip));
}

/* What it had to offer is withdrawn, the other one's is announced. */
static void connection_leaves_a_relay_that_has_no_way_for_one_that_has(void **state)
{
	struct world *w = *state;

	w->net.source[1] = w->host6.ip;
	world_init(w, false);
	roaming_relay_present(w, ROAMING_RELAY("6", "[2001:db8::7]:3478"));
	world_authorize(w, WORLD_LAB, "10.20.0.0/16", WORLD_LATER);
	assert_true(world_heard(w, false, RELAYED));
	w->relayed = roaming_ep("203.0.113.7:50001");
	roaming_relay_present(w, ROAMING_RELAY("4", "203.0.113.7:3478"));
	w->net.source[1] = (struct ip_addr){.family = IP_NONE};
	assert_int_equal(roaming_compare(w).lost, 1);
	world_forget(w);
	roaming_roam(w);
	assert_true(world_heard(w, true, RELAYED));
	assert_true(world_heard(w, false, " 203.0.113.7 50001 typ relay"));
	assert_int_equal(fixture_snapshot(w).relays, 2);
	assert_int_equal(fixture_snapshot(w).relays_ready, 1);
	assert_int_equal(w->no_relays, 0);
	world_advance(w, 20 * US_PER_S);
	assert_int_equal(fixture_snapshot(w).relays, 2);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup_roaming, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CASE(moved_source_withdraws_once_and_allocates_anew),
	    CASE(channels_of_signalled_candidates_come_back_with_the_allocation),
	    CASE(path_stops_at_the_old_address_until_the_client_has_moved),
	    CASE(dead_address_withdraws_what_is_based_on_it_only),
	    CASE(lost_ipv6_moves_the_path_to_a_pair_that_works_and_back),
	    CASE(lost_ipv6_takes_a_valid_pair_until_the_client_nominates),
	    CASE(family_that_appears_is_used),
	    CASE(new_port_voids_what_is_based_on_the_old_one),
	    CASE(same_port_asks_the_relays_only),
	    CASE(news_of_a_roam_wait_for_the_portal),
	    CASE(news_that_a_dying_portal_connection_took_are_said_again),
	    CASE(news_of_long_ago_are_not_said_again),
	    CASE(idle_connection_wakes_for_a_roam_and_sleeps_again),
	    CASE(source_still_used_by_a_relay_stays_a_candidate),
	    CASE(source_still_used_by_a_path_stays_a_candidate),
	    CASE(address_of_a_path_that_stays_remains_its_candidate),
	    CASE(relay_without_a_way_is_asked_again_when_there_is_one),
	    CASE(connection_leaves_a_relay_that_has_no_way_for_one_that_has),
	};

	if (sodium_init() < 0)
		return 1;
	portal_json_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
