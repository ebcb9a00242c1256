/*
 * The core as a whole: from the portal's init to packets both ways, and what ends a connection.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "tunnel/tunnel.h"
#include "world.h"

#define LAB "31111111-2222-4333-8444-555555555555"
#define OTHER "41111111-2222-4333-8444-555555555555"
enum { LATER = 1790003600, PING_LEN = 36 };

/* An echo request or reply with 8 bytes of data, checksums in place. */
static void ping(uint8_t out[PING_LEN], const uint8_t src[4], const uint8_t dst[4], uint8_t type)
{
	uint32_t sum = 0;

	memset(out, 0, PING_LEN);
	out[0] = 0x45;
	out[3] = PING_LEN;
	out[8] = 64;
	out[9] = 1;
	memcpy(out + 12, src, 4);
	memcpy(out + 16, dst, 4);
	for (int i = 0; i < 20; i += 2)
		sum += (uint32_t)(out[i] << 8 | out[i + 1]);
	sum = ~((sum & 0xffff) + (sum >> 16)) & 0xffff;
	out[10] = (uint8_t)(sum >> 8);
	out[11] = (uint8_t)sum;
	out[20] = type;
	out[25] = 9;	/* identifier */
	sum = (uint32_t)((type << 8) + 9);
	sum = ~sum & 0xffff;
	out[22] = (uint8_t)(sum >> 8);
	out[23] = (uint8_t)sum;
}

static const uint8_t client_ip[4] = { 100, 64, 0, 10 };
static const uint8_t lab_ip[4] = { 10, 20, 0, 5 };
static const uint8_t outside_ip[4] = { 10, 99, 0, 5 };

static int setup(void **state)
{
	*state = world_new();
	return 0;
}

static int teardown(void **state)
{
	world_free(*state);
	return 0;
}

/* Everything up to a session that works. */
static void connect_client(struct world *w)
{
	world_init(w, true);
	world_relay_answers(w);
	world_relay_answers(w);
	world_authorize(w, LAB, "10.20.0.0/16", LATER);
	world_forget(w);
	world_client_candidate(w, "candidate:1 1 udp 1686109951 198.51.100.4 52625 typ srflx raddr 0.0.0.0 rport 0");
	assert_true(world_client_check(w, false));
	assert_true(world_client_check(w, true));
	assert_true(world_handshake(w));
	world_forget(w);
}

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
	assert_int_equal(w->announced, 3);	/* host, srflx, relay: hear() checks the order */
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

	connect_client(w);
	ping(packet, client_ip, lab_ip, 8);
	world_from_client(w, packet, sizeof(packet));
	assert_int_equal(w->n_packets, 1);
	assert_memory_equal(w->packets[0], packet, sizeof(packet));
	ping(packet, lab_ip, client_ip, 0);
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

	connect_client(w);
	ping(packet, client_ip, outside_ip, 8);
	world_from_client(w, packet, sizeof(packet));
	assert_int_equal(w->n_packets, 0);
	assert_true(world_client_receives(w, got, &len));
	assert_int_equal(got[20], 3);
	assert_int_equal(got[21], 13);
	ping(packet, outside_ip, client_ip, 0);
	world_from_tun(w, packet, sizeof(packet));
	assert_false(world_client_receives(w, got, &len));
}

static void second_flow_reuses_the_connection_and_announces_again(void **state)
{
	struct world *w = *state;
	struct gateway_snapshot before, after;
	uint8_t packet[PING_LEN];

	connect_client(w);
	gateway_snapshot(w->g, &before);
	world_authorize(w, OTHER, "10.99.0.0/16", LATER);
	assert_int_equal(w->authorized, 1);
	assert_int_equal(w->announced, 3);
	gateway_snapshot(w->g, &after);
	assert_int_equal(after.connections, 1);
	assert_int_equal(after.grants, 2);
	assert_int_equal(after.handshakes_ok, before.handshakes_ok);
	ping(packet, client_ip, outside_ip, 8);
	world_from_client(w, packet, sizeof(packet));
	assert_int_equal(w->n_packets, 1);
}

static void last_rejected_resource_says_goodbye_and_closes(void **state)
{
	struct world *w = *state;
	struct gateway_snapshot snapshot;
	uint8_t got[WORLD_BUFFER], goodbye[TUNNEL_GOODBYE_LEN];
	size_t len = 0;

	connect_client(w);
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

	connect_client(w);
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

	connect_client(w);
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

	connect_client(w);
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
	world_advance(w, 11 * US_PER_S);	/* no candidate of the client within ten seconds */
	gateway_snapshot(w->g, &snapshot);
	assert_int_equal(snapshot.connections, 0);
	assert_int_equal(snapshot.grants, 1);
}

static void shutdown_says_goodbye_and_gives_the_allocation_back(void **state)
{
	struct world *w = *state;
	struct gateway_input in = { .kind = GATEWAY_IN_SHUTDOWN };
	uint8_t got[WORLD_BUFFER];
	size_t len = 0;
	bool refresh = false;

	connect_client(w);
	gateway_handle(w->g, &in, w->now_us);
	world_look(w);
	assert_true(world_client_receives(w, got, &len));
	assert_int_equal(len, TUNNEL_GOODBYE_LEN);
	for (size_t i = 0; i < w->n_sent; i++) {
		struct stun_msg msg;

		if (stun_msg_read(&msg, w->sent[i].data, w->sent[i].len) && msg.method == STUN_REFRESH)
			refresh = msg.has_lifetime && msg.lifetime_s == 0;
	}
	assert_true(refresh);
}

static void noise_from_anywhere_is_answered_by_nothing(void **state)
{
	struct world *w = *state;
	uint8_t data[256];

	connect_client(w);
	for (int i = 0; i < 500; i++) {
		randombytes_buf(data, sizeof(data));
		data[0] = (uint8_t)(i % 6);
		data[1] = data[2] = data[3] = 0;
		w->n_sent = 0;
		world_datagram(w, i % 2 ? &w->client : &w->relay, data, (size_t)(i % 200) + 1);
		assert_int_equal(w->n_sent, 0);
	}
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

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
	};

	if (sodium_init() < 0)
		return 1;
	portal_json_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
