/*
 * The core as a whole: from the portal's init to packets both ways, and what ends a connection.
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
#include "tunnel/tunnel.h"
#include "turn/turn.h"
#include "world.h"

#define LAB   WORLD_LAB
#define OTHER "41111111-2222-4333-8444-555555555555"
enum {
	LATER = WORLD_LATER,
	PING_LEN = WORLD_PING_LEN,
};

static void flow_without_relay_asks_for_relays_and_grants_nothing(void **state)
{
	struct world *w = *state;
	struct gateway_snapshot snapshot;

	world_init(w, false);
	assert_int_equal(w->tun_set, 1);
	world_forget(w);
	world_authorize(w, LAB, "10.20.0.0/16", LATER);
	assert_int_equal(w->authorized, 0);
	assert_int_equal(w->no_relays, 1);
	gateway_snapshot(w->g, &snapshot);
	assert_int_equal(snapshot.grants, 0);
	assert_int_equal(snapshot.connections, 0);
}

static void flow_is_acknowledged_before_its_candidates(void **state)
{
	struct world *w = *state;

	world_init(w, true);
	world_relay_answers(w);
	world_relay_answers(w);
	world_forget(w);
	world_authorize(w, LAB, "10.20.0.0/16", LATER);
	assert_int_equal(w->authorized, 1);
	assert_int_equal(w->announced, 3); /* host, srflx, relay: hear() checks the order */
	assert_non_null(strstr(w->last_candidate, " typ relay "));
	assert_non_null(strstr(w->last_candidate, " ufrag ab3d"));
}

static void equal_init_changes_nothing(void **state)
{
	struct world *w = *state;

	world_init(w, true);
	world_relay_answers(w);
	world_forget(w);
	world_init(w, true);
	assert_int_equal(w->tun_set, 0);
	assert_int_equal(w->n_sent, 0);
}

static void packets_flow_both_ways_over_the_direct_path(void **state)
{
	struct world *w = *state;
	uint8_t packet[PING_LEN], got[WORLD_BUFFER];
	size_t len = 0;

	world_connect(w);
	world_ping(packet, fixture_client_ip, fixture_lab_ip, 8);
	world_from_client(w, packet, sizeof(packet));
	assert_int_equal(w->n_packets, 1);
	assert_memory_equal(w->packets[0], packet, sizeof(packet));
	world_ping(packet, fixture_lab_ip, fixture_client_ip, 0);
	world_from_tun(w, packet, sizeof(packet));
	assert_true(world_client_receives(w, got, &len));
	assert_int_equal(len, PING_LEN);
	assert_memory_equal(got, packet, PING_LEN);
}

static void packet_outside_of_every_grant_is_prohibited(void **state)
{
	struct world *w = *state;
	uint8_t packet[PING_LEN], got[WORLD_BUFFER];
	size_t len = 0;

	world_connect(w);
	world_ping(packet, fixture_client_ip, fixture_outside_ip, 8);
	world_from_client(w, packet, sizeof(packet));
	assert_int_equal(w->n_packets, 0);
	assert_true(world_client_receives(w, got, &len));
	assert_int_equal(got[20], 3);
	assert_int_equal(got[21], 13);
	world_ping(packet, fixture_outside_ip, fixture_client_ip, 0);
	world_from_tun(w, packet, sizeof(packet));
	assert_false(world_client_receives(w, got, &len));
}

static void second_flow_reuses_the_connection_and_announces_again(void **state)
{
	struct world *w = *state;
	struct gateway_snapshot before, after;
	uint8_t packet[PING_LEN];

	world_connect(w);
	gateway_snapshot(w->g, &before);
	world_authorize(w, OTHER, "10.99.0.0/16", LATER);
	assert_int_equal(w->authorized, 1);
	assert_int_equal(w->announced, 3);
	gateway_snapshot(w->g, &after);
	assert_int_equal(after.connections, 1);
	assert_int_equal(after.grants, 2);
	assert_int_equal(after.handshakes_ok, before.handshakes_ok);
	world_ping(packet, fixture_client_ip, fixture_outside_ip, 8);
	world_from_client(w, packet, sizeof(packet));
	assert_int_equal(w->n_packets, 1);
}

static void last_rejected_resource_says_goodbye_and_closes(void **state)
{
	struct world *w = *state;
	struct gateway_snapshot snapshot;
	uint8_t got[WORLD_BUFFER], goodbye[TUNNEL_GOODBYE_LEN];
	size_t len = 0;

	world_connect(w);
	world_reject(w, LAB);
	assert_true(world_client_receives(w, got, &len));
	tunnel_goodbye(goodbye);
	assert_int_equal(len, sizeof(goodbye));
	assert_memory_equal(got, goodbye, sizeof(goodbye));
	gateway_snapshot(w->g, &snapshot);
	assert_int_equal(snapshot.connections, 0);
	assert_int_equal(snapshot.clients, 0);
}

static void clients_goodbye_removes_everything_and_is_not_answered(void **state)
{
	struct world *w = *state;
	struct gateway_snapshot snapshot;
	uint8_t goodbye[TUNNEL_GOODBYE_LEN];

	world_connect(w);
	tunnel_goodbye(goodbye);
	world_from_client(w, goodbye, sizeof(goodbye));
	assert_int_equal(w->n_sent, 0);
	gateway_snapshot(w->g, &snapshot);
	assert_int_equal(snapshot.connections, 0);
	assert_int_equal(snapshot.clients, 0);
}

static void expiry_ends_access_and_says_goodbye(void **state)
{
	struct world *w = *state;
	struct gateway_snapshot snapshot;
	int64_t soon = (int64_t)(w->wall_us / US_PER_S) + 5;

	world_connect(w);
	world_authorize(w, LAB, "10.20.0.0/16", soon);
	world_advance(w, 10 * US_PER_S);
	gateway_snapshot(w->g, &snapshot);
	assert_int_equal(snapshot.grants, 0);
	assert_int_equal(snapshot.connections, 0);
}

static void init_that_does_not_list_a_grant_revokes_it(void **state)
{
	struct world *w = *state;
	struct gateway_snapshot snapshot;

	world_connect(w);
	world_init(w, true);
	gateway_snapshot(w->g, &snapshot);
	assert_int_equal(snapshot.grants, 0);
	assert_int_equal(snapshot.connections, 0);
}

static void authorizations_survive_the_loss_of_the_connection(void **state)
{
	struct world *w = *state;
	struct gateway_snapshot snapshot;

	world_init(w, true);
	world_relay_answers(w);
	world_relay_answers(w);
	world_authorize(w, LAB, "10.20.0.0/16", LATER);
	world_advance(w, 11 * US_PER_S); /* no candidate of the client within ten seconds */
	gateway_snapshot(w->g, &snapshot);
	assert_int_equal(snapshot.connections, 0);
	assert_int_equal(snapshot.grants, 1);
}

static void shutdown_says_goodbye_and_gives_the_allocation_back(void **state)
{
	struct world *w = *state;
	struct gateway_input in = {.kind = GATEWAY_IN_SHUTDOWN};
	uint8_t got[WORLD_BUFFER];
	size_t len = 0;
	bool refresh = false;

	world_connect(w);
	gateway_handle(w->g, &in, w->now_us);
	world_look(w);
	assert_true(world_client_receives(w, got, &len));
	assert_int_equal(len, TUNNEL_GOODBYE_LEN);
	for (size_t i = 0; i < w->n_sent; i++) {
		struct stun_msg msg;

		if (stun_msg_read(&msg, w->sent[i].data, w->sent[i].len) &&
		    msg.method == STUN_REFRESH)
			refresh = msg.has_lifetime && msg.lifetime_s == 0;
	}
	assert_true(refresh);
}

static void noise_from_anywhere_is_answered_by_nothing(void **state)
{
	struct world *w = *state;
	uint8_t data[256];

	world_connect(w);
	for (int i = 0; i < 500; i++) {
		randombytes_buf(data, sizeof(data));
		data[0] = (uint8_t)(i % 6);
		data[1] = data[2] = data[3] = 0;
		w->n_sent = 0;
		world_datagram(w, i % 2 ? &w->client : &w->relay, data, (size_t)(i % 200) + 1);
		assert_int_equal(w->n_sent, 0);
	}
}

static void idle_connection_wakes_with_a_packet_and_stays_awake(void **state)
{
	struct world *w = *state;
	uint8_t packet[PING_LEN];

	world_connect(w);
	assert_int_equal(fixture_snapshot(w).idle, 0);
	world_advance(w, 21 * US_PER_S);
	assert_int_equal(fixture_snapshot(w).idle, 1);
	world_ping(packet, fixture_client_ip, fixture_lab_ip, 8);
	world_from_client(w, packet, sizeof(packet));
	assert_int_equal(fixture_snapshot(w).idle, 0);
	world_advance(w, 19 * US_PER_S);
	assert_int_equal(fixture_snapshot(w).idle, 0);
	world_advance(w, 2 * US_PER_S);
	assert_int_equal(fixture_snapshot(w).idle, 1);
	world_ping(packet, fixture_lab_ip, fixture_client_ip, 0);
	world_from_tun(w, packet, sizeof(packet));
	assert_int_equal(fixture_snapshot(w).idle, 0);
}

static void idle_connection_wakes_with_a_new_candidate_of_ours(void **state)
{
	struct world *w = *state;

	world_connect(w);
	world_advance(w, 21 * US_PER_S);
	assert_int_equal(fixture_snapshot(w).idle, 1);
	/* The relay has a new secret: a new allocation, and with it a new candidate. */
	world_message(w, "relays_presence",
		      "{\"disconnected_ids\":[\"5b0c6f0e-5f8a-4a39-9a0e-0d8f0f9a0001\"],"
		      "\"connected\":[{\"type\":\"turn\","
		      "\"id\":\"5b0c6f0e-5f8a-4a39-9a0e-0d8f0f9a0002\",\"addr\":\"203.0.113.7:"
		      "3478\",\"username\":"
		      "\"2145916800:kF8o3vGOqsBa5vErLDRSdEr69ibaE0PVezlbVE4FGbY\",\"password\":"
		      "\"c2VjcmV0LXR1cm4tcGFzcw\","
		      "\"expires_at\":1}]}");
	world_relay_answers(w);
	world_relay_answers(w);
	assert_true(w->announced > 0);
	assert_int_equal(fixture_snapshot(w).idle, 0);
	world_advance(w, 10 * US_PER_S);
	assert_int_equal(fixture_snapshot(w).idle, 0);
}

static void past_expiry_grants_nothing_and_is_answered(void **state)
{
	struct world *w = *state;
	uint8_t got[WORLD_BUFFER];
	size_t len = 0;

	world_init(w, true);
	world_relay_answers(w);
	world_relay_answers(w);
	world_forget(w);
	world_authorize(w, LAB, "10.20.0.0/16", 1700000000);
	assert_int_equal(w->authorized, 1);
	assert_int_equal(fixture_snapshot(w).grants, 0);
	assert_int_equal(fixture_snapshot(w).connections, 0);
	world_connect(w);
	world_authorize(w, LAB, "10.20.0.0/16", 1700000000);
	assert_int_equal(w->authorized, 1);
	assert_int_equal(fixture_snapshot(w).connections, 0);
	assert_true(world_client_receives(w, got, &len));
	assert_int_equal(len, TUNNEL_GOODBYE_LEN);
}

static void another_key_replaces_the_connection_silently(void **state)
{
	struct world *w = *state;
	uint8_t secret[32] = {9}, key[32], packet[PING_LEN];

	world_connect(w);
	crypto_scalarmult_base(key, secret);
	w->n_sent = 0;
	world_flow(w, &(struct world_flow){.key = key, .expires_at = LATER});
	assert_int_equal(w->authorized, 1);
	assert_int_equal(fixture_snapshot(w).connections, 1);
	assert_int_equal(fixture_snapshot(w).connected, 0);
	for (size_t i = 0; i < w->n_sent; i++)
		assert_int_equal(wg_classify(w->sent[i].data, w->sent[i].len), WG_NOT_WIREGUARD);
	world_ping(packet, fixture_client_ip, fixture_lab_ip, 8);
	world_from_client(w, packet, sizeof(packet));
	assert_int_equal(w->n_packets, 0);
}

static void other_ice_credentials_replace_the_connection_and_keep_the_grants(void **state)
{
	struct world *w = *state;

	world_connect(w);
	world_flow(w, &(struct world_flow){.resource = OTHER,
					   .gateway_pwd = "aaaaaaaaaaaaaaaaaaaaaaaa",
					   .expires_at = LATER});
	assert_int_equal(w->authorized, 1);
	assert_int_equal(fixture_snapshot(w).connections, 1);
	assert_int_equal(fixture_snapshot(w).connected, 0);
	assert_int_equal(fixture_snapshot(w).grants, 2);
}

/* portal.md 13: keys and addresses that a client may not have. */
static void impossible_clients_are_refused_without_an_answer(void **state)
{
	struct world *w = *state;
	static const uint8_t zero[32];
	static const char other_client[] = "71111111-2222-4333-8444-555555555555";
	uint8_t packet[PING_LEN], ours[32];
	const struct world_flow flows[] = {
	    {.client = other_client, .v4 = "100.64.0.11", .v6 = "fd00:2021:1111::b", .key = zero},
	    {.client = other_client, .v4 = "100.64.0.11", .v6 = "fd00:2021:1111::b", .key = ours},
	    {.client = other_client,
	     .v4 = "100.64.0.11",
	     .v6 = "fd00:2021:1111::b"}, /* the key of the first */
	    {.client = other_client,
	     .v4 = "100.64.0.10",
	     .v6 = "fd00:2021:1111::b"}, /* its address */
	    {.client = other_client, .v4 = "100.64.0.11", .v6 = "fd00:2021:1111::a"},
	    {.client = other_client,
	     .v4 = "100.64.0.1",
	     .v6 = "fd00:2021:1111::b"}, /* the gateway's */
	    {.client = other_client, .v4 = "10.0.0.1", .v6 = "fd00:2021:1111::b"},
	    {.client = other_client, .v4 = "100.64.0.11", .v6 = "2001:db8::1"},
	};

	memcpy(ours, gateway_public_key(w->g), sizeof(ours));
	world_connect(w);
	for (size_t i = 0; i < ARRAY_LEN(flows); i++) {
		struct world_flow flow = flows[i];

		flow.expires_at = LATER;
		world_flow(w, &flow);
		if (w->authorized != 0 || fixture_snapshot(w).grants != 1 ||
		    fixture_snapshot(w).connections != 1)
			fail_msg("flow %zu was accepted", i);
	}
	world_ping(packet, fixture_client_ip, fixture_lab_ip, 8);
	world_from_client(w, packet, sizeof(packet));
	assert_int_equal(w->n_packets, 1);
}

static void ninth_client_of_eight_is_refused(void **state)
{
	struct world *w = *state;

	world_init(w, true);
	world_relay_answers(w);
	world_relay_answers(w);
	for (int i = 0; i < 9; i++) {
		uint8_t secret[32] = {0, (uint8_t)(i + 1)}, key[32];
		char client[40], v4[16], v6[24];

		crypto_scalarmult_base(key, secret);
		snprintf(client, sizeof(client), "%08d-2222-4333-8444-555555555555", i);
		snprintf(v4, sizeof(v4), "100.64.0.%d", 20 + i);
		snprintf(v6, sizeof(v6), "fd00:2021:1111::%d", 20 + i);
		world_forget(w);
		world_flow(
		    w, &(struct world_flow){
			   .client = client, .v4 = v4, .v6 = v6, .key = key, .expires_at = LATER});
		assert_int_equal(w->authorized, i < 8);
	}
	assert_int_equal(fixture_snapshot(w).connections, 8);
	assert_int_equal(fixture_snapshot(w).grants, 8);
}

static void flow_before_any_init_is_dropped(void **state)
{
	struct world *w = *state;

	world_joined(w, true);
	world_authorize(w, LAB, "10.20.0.0/16", LATER);
	assert_int_equal(w->authorized + w->no_relays, 0);
	assert_int_equal(fixture_snapshot(w).grants, 0);
}

static void init_addresses(struct world *w, const char *v4, const char *v6)
{
	char text[512];

	snprintf(text, sizeof(text), "{\"interface\":{\"ipv4\":\"%s\",\"ipv6\":\"%s\"}}", v4, v6);
	world_message(w, "init", text);
}

static void addresses_outside_of_the_ranges_refuse_the_whole_init(void **state)
{
	struct world *w = *state;
	static const char *const bad[][2] = {
	    {"0.0.0.0", "fd00:2021:1111::1"},
	    {"224.0.0.1", "fd00:2021:1111::1"},
	    {"127.0.0.1", "fd00:2021:1111::1"},
	    {"10.0.0.1", "fd00:2021:1111::1"},
	    {"100.64.0.1", "::"},
	    {"100.64.0.1", "ff02::1"},
	    {"100.64.0.1", "::1"},
	    {"100.64.0.1", "2001:db8::1"},
	};

	world_connect(w);
	world_advance(w, 2 * US_PER_S);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		init_addresses(w, bad[i][0], bad[i][1]);
		assert_int_equal(w->tun_set, 0);
		assert_int_equal(fixture_snapshot(w).grants, 1);
	}
}

static void addresses_change_once_a_second_and_the_latest_wins(void **state)
{
	struct world *w = *state;

	world_joined(w, true);
	init_addresses(w, "100.64.0.1", "fd00:2021:1111::1");
	assert_int_equal(w->tun_set, 1);
	for (int i = 2; i < 10; i++) {
		char v4[16];

		snprintf(v4, sizeof(v4), "100.64.0.%d", i);
		init_addresses(w, v4, "fd00:2021:1111::1");
	}
	assert_int_equal(w->tun_set, 1);
	world_advance(w, US_PER_S);
	world_clock(w);
	assert_int_equal(w->tun_set, 2);
	assert_int_equal(w->tun_v4.bytes[3], 9);
	world_advance(w, US_PER_S);
	world_clock(w);
	assert_int_equal(w->tun_set, 2);
}

static void relay_that_falls_silent_is_dropped_and_the_direct_path_stays(void **state)
{
	struct world *w = *state;
	uint8_t packet[PING_LEN];

	world_connect(w);
	w->mute_relay = true;
	world_advance(w, 40 * US_PER_S); /* 25 s to the next Binding, 8 s of tries */
	assert_int_equal(fixture_snapshot(w).relays, 0);
	assert_int_equal(w->no_relays, 1);
	assert_int_equal(w->invalidated, 1);
	assert_int_equal(fixture_snapshot(w).connections, 1);
	world_ping(packet, fixture_client_ip, fixture_lab_ip, 8);
	world_from_client(w, packet, sizeof(packet));
	assert_int_equal(w->n_packets, 1);
	/* A new flow of the client reuses the connection, without any relay. */
	world_forget(w);
	world_authorize(w, OTHER, "10.99.0.0/16", LATER);
	assert_int_equal(w->authorized, 1);
}

static void client_cannot_retire_our_candidates(void **state)
{
	struct world *w = *state;

	world_connect(w);
	world_message(
	    w, "invalidate_ice_candidates",
	    "{\"client_id\":\"11111111-2222-4333-8444-555555555555\",\"candidates\":["
	    "\"candidate:1 1 udp 2130706175 192.0.2.10 52625 typ host\","
	    "\"candidate:1 1 udp 1 203.0.113.7 50000 typ relay raddr 0.0.0.0 rport 0\"]}");
	world_advance(w, 5 * US_PER_S);
	assert_int_equal(fixture_snapshot(w).connected, 1);
	world_forget(w);
	world_authorize(w, LAB, "10.20.0.0/16", LATER);
	assert_int_equal(w->announced, 3);
}

static void unusable_candidates_are_not_checked(void **state)
{
	struct world *w = *state;
	static const char *const bad[] = {"127.0.0.1 5", "0.0.0.0 5", "224.0.0.1 5",
					  "198.51.100.4 0", "192.0.2.10 52625"};

	fixture_authorize(w);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char text[128];

		snprintf(text, sizeof(text), "candidate:1 1 udp 2130706431 %s typ host", bad[i]);
		world_client_candidate(w, text);
	}
	world_client_candidate(
	    w, "candidate:1 1 tcp 2130706431 198.51.100.4 5 typ host tcptype active");
	world_client_candidate(w, "candidate:1 2 udp 2130706431 198.51.100.4 5 typ host");
	world_client_candidate(w,
			       "candidate:1 1 udp 2130706431 198.51.100.4 5 typ host ufrag xxxx");
	assert_int_equal(w->n_sent, 0);
	world_client_candidate(w, "candidate:1 1 udp 2130706431 198.51.100.4 5 typ host");
	assert_true(w->n_sent > 0);
}

static void flood_of_candidates_makes_us_send_to_few_addresses(void **state)
{
	struct world *w = *state;
	size_t sent = 0;

	fixture_authorize(w);
	for (int i = 0; i < 40; i++) {
		char text[8192];
		int len = snprintf(
		    text, sizeof(text),
		    "{\"client_id\":\"11111111-2222-4333-8444-555555555555\",\"candidates\":[");

		for (int k = 0; k < 64; k++)
			len +=
			    snprintf(text + len, sizeof(text) - (size_t)len,
				     "%s\"candidate:1 1 udp 2130706431 198.51.%d.%d 9 typ host\"",
				     k > 0 ? "," : "", i, k);
		snprintf(text + len, sizeof(text) - (size_t)len, "]}");
		world_message(w, "ice_candidates", text);
		for (size_t d = 0; d < w->n_sent; d++)
			sent += w->sent[d].key.dst.port == 9;
		w->n_sent = 0;
	}
	/* 2,560 addresses were named. */
	assert_in_range(sent, 1, 160);
}

static void candidates_lost_while_the_portal_is_away_are_told_after_the_join(void **state)
{
	struct world *w = *state;

	world_connect(w);
	world_joined(w, false);
	w->mute_relay = true;
	world_advance(w, 40 * US_PER_S);
	assert_int_equal(w->invalidated, 0);
	world_joined(w, true);
	assert_int_equal(w->invalidated, 1);
	assert_int_equal(w->announced, 2); /* said just before, perhaps in vain */
}

static void unknown_ids_are_no_ops(void **state)
{
	struct world *w = *state;
	struct gateway_snapshot before, after;

	world_connect(w);
	before = fixture_snapshot(w);
	for (int i = 0; i < 100; i++) {
		world_reject(w, OTHER);
		world_message(
		    w, "reject_access",
		    "{\"client_id\":\"81111111-2222-4333-8444-555555555555\",\"resource_id\":\"" LAB
		    "\"}");
		world_message(
		    w, "access_authorization_expiry_updated",
		    "{\"client_id\":\"81111111-2222-4333-8444-555555555555\",\"resource_id\":\"" LAB
		    "\",\"expires_at\":1}");
		world_message(w, "ice_candidates",
			      "{\"client_id\":\"81111111-2222-4333-8444-555555555555\","
			      "\"candidates\":[\"x\"]}");
	}
	after = fixture_snapshot(w);
	assert_int_equal(after.dropped[GATEWAY_DROP_UNKNOWN_CLIENT], 100);
	after.dropped[GATEWAY_DROP_UNKNOWN_CLIENT] = 0;
	assert_memory_equal(&before, &after, sizeof(before));
	assert_int_equal(w->n_sent, 0);
}

static void thousands_of_relays_become_eight(void **state)
{
	struct world *w = *state;
	static char text[65536];

	world_joined(w, true);
	for (int round = 0; round < 4; round++) {
		int len = snprintf(text, sizeof(text), "{\"disconnected_ids\":[],\"connected\":[");

		for (int i = 0; i < 200; i++)
			len += snprintf(text + len, sizeof(text) - (size_t)len,
					"%s{\"type\":\"turn\",\"id\":\"5b0c6f0e-5f8a-4a39-9a0e-%"
					"04d%08d\",\"addr\":\"203.0.113.7:3478\","
					"\"username\":\"u\",\"password\":\"p\",\"expires_at\":1}",
					i > 0 ? "," : "", round, i);
		snprintf(text + len, sizeof(text) - (size_t)len, "]}");
		world_message(w, "relays_presence", text);
		assert_int_equal(fixture_snapshot(w).relays, 8);
	}
}

static void cookie_goes_back_through_the_channel_that_the_handshake_came_by(void **state)
{
	struct world *w = *state;
	uint8_t initiation[256];
	size_t len, cookies = 0;

	fixture_authorize(w);
	world_client_candidate(
	    w, "candidate:1 1 udp 1686109951 198.51.100.4 52625 typ srflx raddr 0.0.0.0 rport 0");
	world_relay_answers(w);
	len = world_initiation(w, initiation, sizeof(initiation));
	for (int i = 0; i < 120; i++) {
		w->n_sent = 0;
		channel_says(w, TURN_CHANNEL_MIN, initiation, len, 0);
		for (size_t k = 0; k < w->n_sent; k++) {
			const struct datagram *d = &w->sent[k];

			assert_true(endpoint_eq(&d->key.dst, &w->relay));
			cookies += d->len == WG_COOKIE_REPLY_LEN + 4 && d->data[0] == 0x40 &&
				   d->data[4] == WG_COOKIE_REPLY;
		}
	}
	assert_int_equal(cookies, 20);
}

static void channel_data_keeps_the_channel_refreshed_in_time(void **state)
{
	struct world *w = *state;
	uint8_t initiation[256];
	size_t len;
	unsigned int binds = 0;

	fixture_authorize(w);
	world_client_candidate(
	    w, "candidate:1 1 udp 1686109951 198.51.100.4 52625 typ srflx raddr 0.0.0.0 rport 0");
	world_relay_answers(w);
	len = world_initiation(w, initiation, sizeof(initiation));
	channel_says(w, TURN_CHANNEL_MIN, initiation, len, 0);
	for (int i = 0; i < 330; i++) {
		world_step(w, US_PER_S);
		binds += channel_binds(w);
		world_relay_answers(w);
	}
	assert_in_range(binds, 1, 2);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CASE(flow_without_relay_asks_for_relays_and_grants_nothing),
	    CASE(flow_is_acknowledged_before_its_candidates),
	    CASE(equal_init_changes_nothing),
	    CASE(packets_flow_both_ways_over_the_direct_path),
	    CASE(packet_outside_of_every_grant_is_prohibited),
	    CASE(second_flow_reuses_the_connection_and_announces_again),
	    CASE(last_rejected_resource_says_goodbye_and_closes),
	    CASE(clients_goodbye_removes_everything_and_is_not_answered),
	    CASE(expiry_ends_access_and_says_goodbye),
	    CASE(init_that_does_not_list_a_grant_revokes_it),
	    CASE(authorizations_survive_the_loss_of_the_connection),
	    CASE(shutdown_says_goodbye_and_gives_the_allocation_back),
	    CASE(noise_from_anywhere_is_answered_by_nothing),
	    CASE(idle_connection_wakes_with_a_packet_and_stays_awake),
	    CASE(idle_connection_wakes_with_a_new_candidate_of_ours),
	    CASE(past_expiry_grants_nothing_and_is_answered),
	    CASE(another_key_replaces_the_connection_silently),
	    CASE(other_ice_credentials_replace_the_connection_and_keep_the_grants),
	    CASE(impossible_clients_are_refused_without_an_answer),
	    CASE(ninth_client_of_eight_is_refused),
	    CASE(flow_before_any_init_is_dropped),
	    CASE(addresses_outside_of_the_ranges_refuse_the_whole_init),
	    CASE(addresses_change_once_a_second_and_the_latest_wins),
	    CASE(relay_that_falls_silent_is_dropped_and_the_direct_path_stays),
	    CASE(client_cannot_retire_our_candidates),
	    CASE(unusable_candidates_are_not_checked),
	    CASE(flood_of_candidates_makes_us_send_to_few_addresses),
	    CASE(candidates_lost_while_the_portal_is_away_are_told_after_the_join),
	    CASE(unknown_ids_are_no_ops),
	    CASE(thousands_of_relays_become_eight),
	    CASE(cookie_goes_back_through_the_channel_that_the_handshake_came_by),
	    CASE(channel_data_keeps_the_channel_refreshed_in_time),
	};

	if (sodium_init() < 0)
		return 1;
	portal_json_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
