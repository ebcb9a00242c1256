/*
 * A connection's life: what waits for a session, what wakes it, what replaces and what ends it.
 * [spec connections 7, 9]
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
#include "world.h"

#define OTHER "41111111-2222-4333-8444-555555555555"

/* A numbered packet from the TUN. */
static void numbered(struct world *w, const uint8_t from[4], uint8_t number)
{
	uint8_t packet[WORLD_PING_LEN];

	world_ping(packet, from, fixture_client_ip, 0);
	packet[WORLD_PING_LEN - 1] = number;
	world_from_tun(w, packet, sizeof(packet));
}

/* Of what was sent, each data message once, in order. */
static bool next_number(struct world *w, uint8_t *number)
{
	uint8_t got[WORLD_BUFFER];
	size_t len = 0;

	if (!world_client_receives(w, got, &len))
		return false;
	assert_int_equal(len, WORLD_PING_LEN);
	*number = got[WORLD_PING_LEN - 1];
	return true;
}

/* The initiation among what was sent, for later. */
static struct datagram initiation_of(const struct world *w)
{
	for (size_t i = 0; i < w->n_sent; i++)
		if (wg_classify(w->sent[i].data, w->sent[i].len) == WG_INITIATION)
			return w->sent[i];
	fail_msg("no initiation");
	return w->sent[0];
}

/* The client hears it, and answers. */
static void client_answers(struct world *w, const struct datagram *initiation)
{
	w->sent[0] = *initiation;
	w->n_sent = 1;
	world_client_turn(w);
}

/* Connected, and so long ago that no session is left. */
static void connect_and_forget_sessions(struct world *w)
{
	world_connect(w);
	world_advance(w, 200 * US_PER_S);
	assert_int_equal(fixture_snapshot(w).connected, 1);
	assert_int_equal(fixture_snapshot(w).idle, 1);
}

static void packets_without_a_session_wait_and_go_out_in_order(void **state)
{
	struct world *w = *state;
	struct datagram first;
	uint8_t number = 0;

	connect_and_forget_sessions(w);
	numbered(w, fixture_lab_ip, 1);
	assert_int_equal(fixture_messages(w, &w->client, WG_INITIATION), 1);
	assert_int_equal(fixture_messages(w, &w->client, WG_DATA), 0);
	first = initiation_of(w);
	for (uint8_t i = 2; i <= 5; i++) {
		numbered(w, fixture_lab_ip, i);
		assert_int_equal(w->n_sent, 0);
	}
	assert_int_equal(fixture_snapshot(w).held, 5);
	client_answers(w, &first);
	for (uint8_t i = 1; i <= 5; i++) {
		assert_true(next_number(w, &number));
		assert_int_equal(number, i);
	}
	assert_false(next_number(w, &number));
	assert_int_equal(fixture_snapshot(w).held, 0);
	numbered(w, fixture_lab_ip, 6);
	assert_true(next_number(w, &number));
	assert_int_equal(number, 6);
}

static void packet_without_a_session_wakes_the_connection_at_once(void **state)
{
	struct world *w = *state;

	connect_and_forget_sessions(w);
	numbered(w, fixture_lab_ip, 1);
	assert_int_equal(fixture_snapshot(w).idle, 0);
}

static void newest_packets_are_dropped_when_too_many_wait(void **state)
{
	struct world *w = *state;
	struct datagram first;
	uint64_t drops;
	uint8_t number = 0;

	connect_and_forget_sessions(w);
	drops = fixture_snapshot(w).drops;
	numbered(w, fixture_lab_ip, 0);
	first = initiation_of(w);
	for (int i = 1; i < GATEWAY_HELD_PACKETS + 9; i++)
		numbered(w, fixture_lab_ip, (uint8_t)i);
	assert_int_equal(fixture_snapshot(w).held, GATEWAY_HELD_PACKETS);
	assert_int_equal(fixture_snapshot(w).drops - drops, 9);
	client_answers(w, &first);
	for (int i = 0; i < GATEWAY_HELD_PACKETS; i++) {
		assert_true(next_number(w, &number));
		assert_int_equal(number, (uint8_t)i);
	}
	assert_false(next_number(w, &number));
}

static void held_packet_needs_its_authorization_when_it_goes_out(void **state)
{
	struct world *w = *state;
	struct datagram first;
	uint8_t number = 0;

	world_connect(w);
	world_authorize(w, OTHER, "10.99.0.0/16", WORLD_LATER);
	world_advance(w, 200 * US_PER_S);
	numbered(w, fixture_lab_ip, 1);
	first = initiation_of(w);
	numbered(w, fixture_outside_ip, 2);
	assert_int_equal(fixture_snapshot(w).held, 2);
	world_reject(w, WORLD_LAB);
	client_answers(w, &first);
	assert_true(next_number(w, &number));
	assert_int_equal(number, 2);
	assert_false(next_number(w, &number));
}

static void packets_before_the_nomination_are_dropped(void **state)
{
	struct world *w = *state;

	world_init(w, true);
	world_relay_answers(w);
	world_relay_answers(w);
	world_authorize(w, WORLD_LAB, "10.20.0.0/16", WORLD_LATER);
	world_client_candidate(w, "candidate:1 1 udp 2130706431 198.51.100.4 52625 typ host");
	numbered(w, fixture_lab_ip, 1);
	assert_int_equal(fixture_snapshot(w).held, 0);
	assert_int_equal(fixture_messages(w, &w->client, WG_INITIATION), 0);
	assert_true(world_client_check(w, false));
	assert_true(world_client_check(w, true));
	assert_int_equal(fixture_messages(w, &w->client, WG_INITIATION), 0);
}

static void held_packets_end_with_the_handshake_that_nobody_answers(void **state)
{
	struct world *w = *state;

	connect_and_forget_sessions(w);
	numbered(w, fixture_lab_ip, 1);
	world_advance(w, 19 * US_PER_S);
	assert_int_equal(fixture_snapshot(w).connections, 1);
	world_advance(w, 2 * US_PER_S);
	assert_int_equal(fixture_snapshot(w).connections, 0);
	assert_int_equal(fixture_snapshot(w).held, 0);
	/* WireGuard's 20 s cost the connection, not what the client may. */
	assert_int_equal(fixture_snapshot(w).grants, 1);
	numbered(w, fixture_lab_ip, 2);
	assert_int_equal(fixture_snapshot(w).held, 0);
}

static void held_packets_go_when_the_path_stays_away(void **state)
{
	struct world *w = *state;

	connect_and_forget_sessions(w);
	world_client_candidate(w, "candidate:2 1 udp 2130706431 198.51.100.5 1 typ host");
	numbered(w, fixture_lab_ip, 1);
	assert_int_equal(fixture_snapshot(w).held, 1);
	world_message(w, "invalidate_ice_candidates",
		      "{\"client_id\":\"11111111-2222-4333-8444-555555555555\",\"candidates\":["
		      "\"candidate:1 1 udp 1686109951 198.51.100.4 52625 typ srflx raddr 0.0.0.0 "
		      "rport 0\"]}");
	world_advance(w, GATEWAY_IDLE_S * US_PER_S + US_PER_S);
	assert_int_equal(fixture_snapshot(w).held, 0);
}

static void connection_without_a_session_for_540_s_ends_and_keeps_its_grants(void **state)
{
	struct world *w = *state;

	world_connect(w);
	world_advance(w, 539 * US_PER_S);
	assert_int_equal(fixture_snapshot(w).connections, 1);
	world_advance(w, 2 * US_PER_S);
	assert_int_equal(fixture_snapshot(w).connections, 0);
	assert_int_equal(fixture_snapshot(w).grants, 1);
}

static void last_candidate_withdrawn_ends_the_connection_after_2_s(void **state)
{
	struct world *w = *state;

	world_connect(w);
	world_message(w, "invalidate_ice_candidates",
		      "{\"client_id\":\"11111111-2222-4333-8444-555555555555\",\"candidates\":["
		      "\"candidate:1 1 udp 1686109951 198.51.100.4 52625 typ srflx raddr 0.0.0.0 "
		      "rport 0\"]}");
	assert_int_equal(fixture_snapshot(w).connected, 0);
	assert_int_equal(fixture_snapshot(w).direct, 0);
	world_advance(w, 1900 * US_PER_MS);
	assert_int_equal(fixture_snapshot(w).connections, 1);
	assert_int_equal(fixture_snapshot(w).idle, 0);
	world_advance(w, 200 * US_PER_MS);
	assert_int_equal(fixture_snapshot(w).connections, 0);
	assert_int_equal(fixture_snapshot(w).grants, 1);
}

static void connection_without_a_path_is_never_idle(void **state)
{
	struct world *w = *state;

	world_connect(w);
	world_client_candidate(w, "candidate:2 1 udp 2130706431 198.51.100.5 1 typ host");
	world_message(w, "invalidate_ice_candidates",
		      "{\"client_id\":\"11111111-2222-4333-8444-555555555555\",\"candidates\":["
		      "\"candidate:1 1 udp 1686109951 198.51.100.4 52625 typ srflx raddr 0.0.0.0 "
		      "rport 0\"]}");
	world_advance(w, 25 * US_PER_S);
	assert_int_equal(fixture_snapshot(w).connections, 1);
	assert_int_equal(fixture_snapshot(w).connected, 0);
	assert_int_equal(fixture_snapshot(w).idle, 0);
}

/* So that one wake-up serves many. */
static void checks_of_idle_connections_leave_on_quarter_seconds(void **state)
{
	struct world *w = *state;
	unsigned int checks = 0;

	w->now_us += 77 * US_PER_MS;
	world_connect(w);
	world_advance(w, 21 * US_PER_S);
	assert_int_equal(fixture_snapshot(w).idle, 1);
	for (int i = 0; i < 12; i++) {
		world_step(w, gateway_deadline(w->g) - w->now_us);
		for (size_t k = 0; k < w->n_sent; k++) {
			if (!endpoint_eq(&w->sent[k].key.dst, &w->client))
				continue;
			assert_int_equal(w->now_us % (250 * US_PER_MS), 0);
			checks++;
		}
	}
	assert_true(checks > 0);
	assert_int_equal(fixture_snapshot(w).idle, 1);
}

static void candidates_and_authorizations_wake_an_idle_connection(void **state)
{
	struct world *w = *state;

	world_connect(w);
	for (int what = 0; what < 3; what++) {
		world_advance(w, 21 * US_PER_S);
		assert_int_equal(fixture_snapshot(w).idle, 1);
		if (what == 0)
			world_client_candidate(
			    w, "candidate:2 1 udp 2130706431 198.51.100.5 1 typ host");
		else if (what == 1)
			world_message(w, "invalidate_ice_candidates",
				      "{\"client_id\":\"11111111-2222-4333-8444-555555555555\","
				      "\"candidates\":[\"candidate:2 1 udp 2130706431 "
				      "198.51.100.5 1 typ host\"]}");
		else
			world_authorize(w, WORLD_LAB, "10.20.0.0/16", WORLD_LATER);
		assert_int_equal(fixture_snapshot(w).idle, 0);
	}
}

static void any_different_member_replaces_the_connection(void **state)
{
	struct world *w = *state;
	uint8_t secret[32] = {9}, key[32], psk[32] = {8};
	const struct world_flow flows[] = {
	    {.gateway_ufrag = "ab3e"},
	    {.gateway_pwd = "aaaaaaaaaaaaaaaaaaaaaaaa"},
	    {.client_ufrag = "zq2y"},
	    {.client_pwd = "aaaaaaaaaaaaaaaaaaaaaaaa"},
	    {.key = key},
	    {.psk = psk},
	};

	crypto_scalarmult_base(key, secret);
	world_connect(w);
	for (size_t i = 0; i < ARRAY_LEN(flows); i++) {
		struct world_flow flow = flows[i];

		flow.expires_at = WORLD_LATER;
		world_flow(w, &flow);
		assert_int_equal(fixture_snapshot(w).connections, 1);
		if (w->authorized != 1 || fixture_snapshot(w).connected != 0)
			fail_msg("member %zu did not replace the connection", i);
		for (size_t k = 0; k < w->n_sent; k++)
			assert_int_equal(wg_classify(w->sent[k].data, w->sent[k].len),
					 WG_NOT_WIREGUARD);
		world_restart_client(w);
		world_connect_client(w);
	}
}

static void replacement_that_fails_leaves_the_old_connection(void **state)
{
	struct world *w = *state;
	static const uint8_t zero[32];
	uint8_t ours[32];
	const struct world_flow flows[] = {
	    {.key = zero},
	    {.key = ours},
	};

	memcpy(ours, gateway_public_key(w->g), sizeof(ours));
	world_connect(w);
	for (size_t i = 0; i < ARRAY_LEN(flows); i++) {
		struct world_flow flow = flows[i];

		flow.expires_at = WORLD_LATER;
		world_flow(w, &flow);
		assert_int_equal(w->authorized, 0);
		if (fixture_snapshot(w).connected != 1 || fixture_snapshot(w).grants != 1)
			fail_msg("flow %zu cost the connection", i);
	}
	roaming_assert_both_ways(w);
}

static void full_gateway_can_replace_a_connection(void **state)
{
	struct world *w = world_roaming(1);

	(void)state;
	world_connect(w);
	w->who.gateway_pwd = "aaaaaaaaaaaaaaaaaaaaaaaa";
	world_restart_client(w);
	world_connect_client(w);
	assert_int_equal(fixture_snapshot(w).connections, 1);
	roaming_assert_both_ways(w);
	world_free(w);
}

/* One candidate for each of @n addresses. */
static void name_addresses(struct world *w, unsigned int round, int n, const char *kind)
{
	char text[8192];
	int len = snprintf(text, sizeof(text), "{\"client_id\":\"%s\",\"candidates\":[", w->who.id);

	for (int k = 0; k < n; k++)
		len += snprintf(text + len, sizeof(text) - (size_t)len,
				"%s\"candidate:1 1 udp 1686109951 198.51.%u.%d 9 typ %s\"",
				k > 0 ? "," : "", round, k + 1, kind);
	snprintf(text + len, sizeof(text) - (size_t)len, "]}");
	world_message(w, "ice_candidates", text);
}

static void come_again(struct world *w, unsigned int round)
{
	char pwd[32];

	snprintf(pwd, sizeof(pwd), "aaaaaaaaaaaaaaaaaaaaaaa%u", round);
	world_forget(w);
	world_flow(w, &(struct world_flow){.gateway_pwd = pwd, .expires_at = WORLD_LATER});
	assert_int_equal(w->authorized, 1);
}

static void client_that_comes_and_goes_names_no_more_addresses(void **state)
{
	struct world *w = *state;
	size_t sent = 0;

	world_init(w, true);
	world_relay_answers(w);
	world_relay_answers(w);
	for (unsigned int round = 0; round < 20; round++) {
		come_again(w, round);
		name_addresses(w, round, 60, "host");
		for (size_t d = 0; d < w->n_sent; d++)
			sent += w->sent[d].key.dst.port == 9;
	}
	/* 1,200 addresses were named. */
	assert_in_range(sent, 1, 160);
}

static void client_that_comes_and_goes_gets_no_more_channels(void **state)
{
	struct world *w = *state;
	unsigned int binds = 0;

	world_init(w, true);
	world_relay_answers(w);
	world_relay_answers(w);
	for (unsigned int round = 0; round < 10; round++) {
		come_again(w, round);
		name_addresses(w, round, 40, "srflx");
		binds += channel_binds(w);
		for (int i = 0; i < 14; i++) {
			world_relay_answers(w);
			world_step(w, 500 * US_PER_MS);
		}
	}
	/* 400 were asked for. */
	assert_in_range(binds, 1, 100);
}

static void session_changes_under_traffic_without_loss(void **state)
{
	struct world *w = *state;
	uint8_t packet[WORLD_PING_LEN], number = 0;

	world_connect(w);
	for (int i = 0; i < 800; i++) {
		world_step(w, 500 * US_PER_MS);
		world_relay_answers(w);
		world_client_turn(w);
		world_client_turn(w);
		if (i % 20 == 0)
			(void)world_client_check(w, true);
		w->n_packets = 0;
		world_ping(packet, fixture_client_ip, fixture_lab_ip, 8);
		world_from_client(w, packet, sizeof(packet));
		assert_int_equal(w->n_packets, 1);
		numbered(w, fixture_lab_ip, (uint8_t)i);
		assert_true(next_number(w, &number));
		assert_int_equal(number, (uint8_t)i);
	}
	assert_true(fixture_snapshot(w).handshakes_ok >= 4);
}

/* The host was suspended: its clock goes on, no timer ran meanwhile. */
static void sessions_age_while_the_host_sleeps(void **state)
{
	struct world *w = *state;
	uint8_t number = 0;

	world_connect(w);
	w->now_us += 200 * US_PER_S;
	w->wall_us += 200 * US_PER_S;
	wg_peer_timeout(w->client_peer, w->now_us);
	numbered(w, fixture_lab_ip, 1);
	assert_int_equal(fixture_messages(w, &w->client, WG_DATA), 0);
	assert_int_equal(fixture_messages(w, &w->client, WG_INITIATION), 1);
	world_client_turn(w);
	assert_true(next_number(w, &number));
	assert_int_equal(number, 1);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CASE(packets_without_a_session_wait_and_go_out_in_order),
	    CASE(packet_without_a_session_wakes_the_connection_at_once),
	    CASE(newest_packets_are_dropped_when_too_many_wait),
	    CASE(held_packet_needs_its_authorization_when_it_goes_out),
	    CASE(packets_before_the_nomination_are_dropped),
	    CASE(held_packets_end_with_the_handshake_that_nobody_answers),
	    CASE(held_packets_go_when_the_path_stays_away),
	    CASE(connection_without_a_session_for_540_s_ends_and_keeps_its_grants),
	    CASE(last_candidate_withdrawn_ends_the_connection_after_2_s),
	    CASE(connection_without_a_path_is_never_idle),
	    CASE(checks_of_idle_connections_leave_on_quarter_seconds),
	    CASE(candidates_and_authorizations_wake_an_idle_connection),
	    CASE(any_different_member_replaces_the_connection),
	    CASE(replacement_that_fails_leaves_the_old_connection),
	    cmocka_unit_test(full_gateway_can_replace_a_connection),
	    CASE(client_that_comes_and_goes_names_no_more_addresses),
	    CASE(client_that_comes_and_goes_gets_no_more_channels),
	    CASE(session_changes_under_traffic_without_loss),
	    CASE(sessions_age_while_the_host_sleeps),
	};

	if (sodium_init() < 0)
		return 1;
	portal_json_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
