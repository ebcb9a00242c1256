/*
 * What arrives, from whom and by which way; what leaves, where to. [spec connections 2.1, 3.6, 7.1,
 * 7.4, 8, 10, 11]
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
#include "world.h"

#define HOST_CANDIDATE "candidate:1 1 udp 2130706431 198.51.100.4 52625 typ host"

enum {
	ECT0 = 2,
	CE = 3,
	MTU = 1280,
};

static bool client_sends(struct world *w, bool relayed, const uint8_t *packet, size_t len,
			 uint8_t ecn)
{
	uint8_t msg[WORLD_BUFFER];
	size_t n = world_sealed(w, packet, len, msg);

	w->n_sent = w->n_packets = 0;
	if (relayed)
		channel_says(w, TURN_CHANNEL_MIN, msg, n, ecn);
	else
		world_gro(w, &w->client, msg, n, n, ecn);
	return w->n_packets > 0;
}

static void both_ways(struct world *w, uint8_t host)
{
	const uint8_t own[4] = {100, 64, 0, host};
	uint8_t packet[WORLD_PING_LEN], got[WORLD_BUFFER];
	size_t len = 0;

	world_ping(packet, own, fixture_lab_ip, 8);
	assert_true(client_sends(w, false, packet, sizeof(packet), 0));
	world_ping(packet, fixture_lab_ip, own, 0);
	world_from_tun(w, packet, sizeof(packet));
	assert_true(world_client_receives(w, got, &len));
	assert_int_equal(len, sizeof(packet));
	assert_memory_equal(got, packet, sizeof(packet));
}

/* The gateway's ufrag is the first client's. */
static void connect_two(struct world *w, const char *client_ufrag)
{
	const struct world_who second = {
	    .id = "21111111-2222-4333-8444-555555555555",
	    .ufrag = client_ufrag,
	    .pwd = "cccccccccccccccccccccccc",
	    .gateway_ufrag = "ab3d",
	    .gateway_pwd = "dddddddddddddddddddddddd",
	    .v4 = "100.64.0.11",
	    .v6 = "fd00:2021:1111::b",
	};

	world_second(w, &second, "198.51.100.5:52625");
	world_connect(w);
	world_swap(w);
	world_connect_client(w);
	assert_int_equal(fixture_snapshot(w).connected, 2);
	for (int i = 0; i < 3; i++) {
		both_ways(w, 11);
		world_swap(w);
		both_ways(w, 10);
		assert_true(world_client_check(w, true));
		world_swap(w);
		assert_true(world_client_check(w, true));
	}
}

static void two_clients_with_one_ufrag_of_ours_both_carry_data(void **state)
{
	connect_two(*state, "other");
}

static void two_clients_with_equal_pairs_of_ufrags_both_carry_data(void **state)
{
	connect_two(*state, "zq2x");
}

/* As the stock client does it: its first initiation comes before the nomination. */
static void response_waits_for_the_nomination_and_goes_out_with_it(void **state)
{
	struct world *w = *state;
	uint8_t initiation[256];
	size_t len;

	fixture_authorize(w);
	world_client_candidate(w, HOST_CANDIDATE);
	assert_true(world_client_check(w, false));
	len = world_initiation(w, initiation, sizeof(initiation));
	w->n_sent = 0;
	world_datagram(w, &w->client, initiation, len);
	assert_int_equal(fixture_messages(w, &w->client, WG_RESPONSE), 0);
	assert_int_equal(fixture_snapshot(w).handshakes_ok, 1);
	assert_true(world_client_check(w, true));
	assert_int_equal(fixture_messages(w, &w->client, WG_RESPONSE), 1);
}

static void data_that_comes_while_there_is_no_path_is_forwarded(void **state)
{
	struct world *w = *state;
	uint8_t packet[WORLD_PING_LEN];

	world_connect(w);
	world_message(w, "invalidate_ice_candidates",
		      "{\"client_id\":\"11111111-2222-4333-8444-555555555555\",\"candidates\":["
		      "\"candidate:1 1 udp 1686109951 198.51.100.4 52625 typ srflx raddr 0.0.0.0 "
		      "rport 0\"]}");
	world_ping(packet, fixture_client_ip, fixture_lab_ip, 8);
	assert_true(client_sends(w, false, packet, sizeof(packet), 0));
	world_ping(packet, fixture_lab_ip, fixture_client_ip, 0);
	world_from_tun(w, packet, sizeof(packet));
	assert_int_equal(roaming_sent_to(w, &w->client), 0);
}

static void data_from_a_foreign_source_is_taken_and_answered_on_the_path(void **state)
{
	struct world *w = *state;
	const struct endpoint foreign = roaming_ep("198.51.100.99:4242");
	uint8_t packet[WORLD_PING_LEN], msg[WORLD_BUFFER];
	size_t len;

	world_connect(w);
	world_ping(packet, fixture_client_ip, fixture_lab_ip, 8);
	len = world_sealed(w, packet, sizeof(packet), msg);
	world_datagram(w, &foreign, msg, len);
	assert_int_equal(w->n_packets, 1);
	world_ping(packet, fixture_lab_ip, fixture_client_ip, 0);
	world_from_tun(w, packet, sizeof(packet));
	assert_int_equal(roaming_sent_to(w, &foreign), 0);
	assert_int_equal(roaming_sent_to(w, &w->client), 1);
}

static void unanswered_response_is_said_again_once_along_the_new_path(void **state)
{
	struct world *w = *state;
	const struct endpoint moved = roaming_ep("198.51.100.44:1234"), was = w->client;
	uint8_t initiation[256];
	unsigned int n = 0;
	size_t len;

	world_connect(w);
	world_advance(w, 200 * US_PER_S);
	wg_peer_timeout(w->client_peer, w->now_us);
	/* The client has moved; its handshake is faster than its nomination. */
	w->client = moved;
	len = world_initiation(w, initiation, sizeof(initiation));
	w->n_sent = 0;
	world_datagram(w, &moved, initiation, len);
	assert_int_equal(fixture_messages(w, &was, WG_RESPONSE), 1);
	assert_int_equal(fixture_messages(w, &moved, WG_RESPONSE), 0);
	for (int i = 0; i < 6; i++) {
		(void)world_client_check(w, true);
		n += fixture_messages(w, &moved, WG_RESPONSE);
	}
	assert_int_equal(n, 1);
}

static void host_candidate_gets_its_channel_with_the_first_check(void **state)
{
	struct world *w = *state;
	struct datagram d;
	size_t at = 0;

	fixture_authorize(w);
	world_client_candidate(w, HOST_CANDIDATE);
	assert_int_equal(channel_binds(w), 1);
	assert_false(channel_hears(w, &at, &d));
	world_relay_answers(w);
	world_step(w, 2 * US_PER_S);
	at = 0;
	assert_true(channel_hears(w, &at, &d));
}

static void removed_relay_gets_no_answer_and_leaves_no_state(void **state)
{
	struct world *w = *state;
	uint8_t buf[256], check[256];
	struct stun_txid txid = {.bytes = {1}};
	struct stun_builder b;
	size_t len;
	uint64_t drops;

	channel_connect(w);
	world_message(w, "relays_presence",
		      "{\"disconnected_ids\":[\"5b0c6f0e-5f8a-4a39-9a0e-0d8f0f9a0001\"],"
		      "\"connected\":[]}");
	assert_int_equal(fixture_snapshot(w).relays, 0);
	drops = fixture_snapshot(w).dropped[GATEWAY_DROP_REMOVED_RELAY];
	w->n_sent = 0;
	stun_begin(&b, buf, sizeof(buf), STUN_REFRESH, STUN_ERROR, &txid);
	stun_put_error(&b, 437, "Allocation Mismatch");
	len = stun_finish(&b, NULL, 0, false);
	world_datagram(w, &w->relay, buf, len);
	len = world_check(w, check, sizeof(check), &txid, w->who.gateway_ufrag, w->who.gateway_pwd,
			  true);
	channel_says(w, TURN_CHANNEL_MIN, check, len, 0);
	assert_int_equal(w->n_sent, 0);
	assert_int_equal(fixture_snapshot(w).relays, 0);
	assert_int_equal(fixture_snapshot(w).dropped[GATEWAY_DROP_REMOVED_RELAY] - drops, 2);
}

static void peer_on_the_relays_port_is_a_peer(void **state)
{
	struct world *w = *state;

	fixture_authorize(w);
	w->client = roaming_ep("198.51.100.4:3478");
	assert_true(world_client_check(w, false));
	assert_true(world_client_check(w, true));
	assert_true(world_handshake(w));
	both_ways(w, 10);
}

static void own_addresses_of_the_host_are_no_candidates(void **state)
{
	struct world *w = *state;
	const struct endpoint own = roaming_ep("10.77.0.1:9");

	w->own = own.ip;
	fixture_authorize(w);
	world_client_candidate(w, "candidate:1 1 udp 1686109951 10.77.0.1 9 typ srflx raddr "
				  "0.0.0.0 rport 0");
	world_client_candidate(w, "candidate:1 1 udp 1686109951 100.64.0.77 9 typ srflx raddr "
				  "0.0.0.0 rport 0");
	/* A reflexive address of our own: no channel to ourselves either. */
	world_client_candidate(w, "candidate:1 1 udp 1686109951 192.0.2.10 52625 typ srflx raddr "
				  "0.0.0.0 rport 0");
	assert_int_equal(roaming_sent_to(w, &own), 0);
	assert_int_equal(w->n_sent, 0);
	assert_int_equal(fixture_snapshot(w).dropped[GATEWAY_DROP_CANDIDATE], 2);
	world_client_candidate(w, "candidate:1 1 udp 1686109951 10.77.0.2 9 typ srflx raddr "
				  "0.0.0.0 rport 0");
	assert_true(w->n_sent > 0);
}

static void payload_of_1316_is_read_and_1317_is_not(void **state)
{
	struct world *w = *state;
	uint8_t packet[2 * MTU] = {0x45}, msg[2 * WORLD_BUFFER];
	struct gateway_snapshot before, after;
	size_t len;

	world_connect(w);
	for (size_t total = GATEWAY_MAX_UDP_PAYLOAD; total <= GATEWAY_MAX_UDP_PAYLOAD + 1;
	     total++) {
		const bool fits = total <= GATEWAY_MAX_UDP_PAYLOAD;

		before = fixture_snapshot(w);
		len = world_sealed(w, packet, total - WG_OVERHEAD, msg);
		world_gro(w, &w->client, msg, len, len, 0);
		/* Three datagrams in one buffer, the last one short. */
		len = world_sealed(w, packet, total - WG_OVERHEAD, msg);
		len += world_sealed(w, packet, total - WG_OVERHEAD, msg + len);
		len += world_sealed(w, packet, 40, msg + len);
		world_gro(w, &w->client, msg, len, total, 0);
		after = fixture_snapshot(w);
		assert_int_equal(after.opened - before.opened, fits ? 4 : 0);
		assert_int_equal(after.dropped[GATEWAY_DROP_OVERSIZE] -
				     before.dropped[GATEWAY_DROP_OVERSIZE],
				 fits ? 0 : 2);
	}
}

static void inner_packets_fit_up_to_1280_and_are_whole(struct world *w, bool relayed)
{
	uint8_t packet[MTU + 1];

	world_big_ping(packet, MTU, fixture_client_ip, fixture_lab_ip, 8, 0, false);
	assert_true(client_sends(w, relayed, packet, MTU, 0));
	assert_int_equal(w->packet_len[0], MTU);
	assert_memory_equal(w->packets[0], packet, MTU);
	world_big_ping(packet, MTU + 1, fixture_client_ip, fixture_lab_ip, 8, 0, false);
	assert_false(client_sends(w, relayed, packet, MTU + 1, 0));
	world_big_ping(packet, 100, fixture_client_ip, fixture_lab_ip, 8, 0, true);
	assert_false(client_sends(w, relayed, packet, 100, 0));
	world_big_ping(packet, MTU, fixture_lab_ip, fixture_client_ip, 0, 0, false);
	world_from_tun(w, packet, MTU);
	assert_int_equal(w->n_sent, 1);
	assert_int_equal(w->sent[0].len, MTU + WG_OVERHEAD + (relayed ? TURN_CHANNEL_HEADER : 0));
	world_big_ping(packet, MTU + 1, fixture_lab_ip, fixture_client_ip, 0, 0, false);
	world_from_tun(w, packet, MTU + 1);
	assert_int_equal(w->n_sent, 0);
	world_big_ping(packet, 100, fixture_lab_ip, fixture_client_ip, 0, 0, true);
	world_from_tun(w, packet, 100);
	assert_int_equal(w->n_sent, 0);
}

static void inner_packets_of_1280_pass_the_direct_path(void **state)
{
	world_connect(*state);
	inner_packets_fit_up_to_1280_and_are_whole(*state, false);
}

static void inner_packets_of_1280_pass_a_channel(void **state)
{
	channel_connect(*state);
	inner_packets_fit_up_to_1280_and_are_whole(*state, true);
}

static void congestion_marks_go_both_ways(struct world *w, bool relayed)
{
	uint8_t packet[100];
	uint32_t sum = 0;

	for (uint8_t ecn = 0; ecn <= CE; ecn++) {
		world_big_ping(packet, sizeof(packet), fixture_lab_ip, fixture_client_ip, 0,
			       0xb8 | ecn, false);
		world_from_tun(w, packet, sizeof(packet));
		assert_int_equal(w->n_sent, 1);
		assert_int_equal(w->sent[0].key.ecn, ecn);
	}
	world_big_ping(packet, sizeof(packet), fixture_client_ip, fixture_lab_ip, 8, 0xb8 | ECT0,
		       false);
	assert_true(client_sends(w, relayed, packet, sizeof(packet), CE));
	assert_int_equal(w->packets[0][1], 0xb8 | CE);
	for (int i = 0; i < 20; i += 2)
		sum += (uint32_t)(w->packets[0][i] << 8 | w->packets[0][i + 1]);
	assert_int_equal((sum & 0xffff) + (sum >> 16), 0xffff);
	/* A packet whose flow knows no marks gets none. */
	world_big_ping(packet, sizeof(packet), fixture_client_ip, fixture_lab_ip, 8, 0xb8, false);
	assert_true(client_sends(w, relayed, packet, sizeof(packet), CE));
	assert_int_equal(w->packets[0][1], 0xb8);
}

static void congestion_marks_pass_the_direct_path(void **state)
{
	world_connect(*state);
	congestion_marks_go_both_ways(*state, false);
}

static void congestion_marks_pass_a_channel(void **state)
{
	channel_connect(*state);
	congestion_marks_go_both_ways(*state, true);
}

/* Early, late or not for us: each has its counter. */
static void what_is_dropped_is_counted_by_reason(void **state)
{
	struct world *w = *state;
	struct gateway_datagrams in = {.len = 40, .segment = 40, .src = w->client};
	uint8_t data[TXQ_HEADROOM + 64] = {0};
	uint8_t unknown[40] = {WG_DATA, 0, 0, 0, 1, 2, 3, 4};
	struct stun_txid txid;
	uint8_t check[256];
	size_t len;

	world_connect(w);
	in.data = data + TXQ_HEADROOM;
	gateway_udp_in(w->g, &in, 1, w->tun, w->now_us);
	assert_int_equal(fixture_snapshot(w).dropped[GATEWAY_DROP_NO_PKTINFO], 1);
	world_datagram(w, &w->client, unknown, sizeof(unknown));
	assert_int_equal(fixture_snapshot(w).dropped[GATEWAY_DROP_UNKNOWN_INDEX], 1);
	channel_says(w, TURN_CHANNEL_MIN + 77, unknown, sizeof(unknown), 0);
	assert_int_equal(fixture_snapshot(w).dropped[GATEWAY_DROP_CHANNEL], 1);
	len = world_check(w, check, sizeof(check), &txid, "nobody", w->who.gateway_pwd, true);
	world_datagram(w, &w->client, check, len);
	assert_int_equal(fixture_snapshot(w).dropped[GATEWAY_DROP_UNKNOWN_CHECK], 1);
	unknown[0] = 200;
	world_datagram(w, &w->client, unknown, sizeof(unknown));
	assert_int_equal(fixture_snapshot(w).dropped[GATEWAY_DROP_UNRECOGNIZED], 1);
	for (int i = 0; i < GATEWAY_DROPS; i++)
		assert_true(strlen(gateway_drop_name((enum gateway_drop)i)) > 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CASE(two_clients_with_one_ufrag_of_ours_both_carry_data),
	    CASE(two_clients_with_equal_pairs_of_ufrags_both_carry_data),
	    CASE(response_waits_for_the_nomination_and_goes_out_with_it),
	    CASE(data_that_comes_while_there_is_no_path_is_forwarded),
	    CASE(data_from_a_foreign_source_is_taken_and_answered_on_the_path),
	    CASE(unanswered_response_is_said_again_once_along_the_new_path),
	    CASE(host_candidate_gets_its_channel_with_the_first_check),
	    CASE(removed_relay_gets_no_answer_and_leaves_no_state),
	    CASE(peer_on_the_relays_port_is_a_peer),
	    CASE(own_addresses_of_the_host_are_no_candidates),
	    CASE(payload_of_1316_is_read_and_1317_is_not),
	    CASE(inner_packets_of_1280_pass_the_direct_path),
	    CASE(inner_packets_of_1280_pass_a_channel),
	    CASE(congestion_marks_pass_the_direct_path),
	    CASE(congestion_marks_pass_a_channel),
	    CASE(what_is_dropped_is_counted_by_reason),
	};

	if (sodium_init() < 0)
		return 1;
	portal_json_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
