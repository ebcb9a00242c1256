#include "peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "vectors.h"

#define HOST_PEER "203.0.113.7:40000"

static void host(struct peer *peer)
{
	peer_local(peer, true, CANDIDATE_HOST, OUR_HOST, OUR_HOST);
}

static struct ice *agent(struct secret_arena *arena, struct rng rng, const char *ours,
			 const char *our_pwd, const char *theirs, const char *their_pwd)
{
	struct ice_config cfg = {
	    .local_ufrag = ours,
	    .local_pwd = our_pwd,
	    .remote_ufrag = theirs,
	    .remote_pwd = their_pwd,
	    .tag = 1,
	    .rng = rng,
	    .arena = arena,
	};

	return ice_new(&cfg, 1);
}

static void credentials_out_of_bounds_make_no_agent(void **state)
{
	struct rng_seeded seed;
	struct rng rng = rng_from_seed(&seed, 1);
	struct secret_arena *arena = secret_arena_new(2);
	char longest[ICE_PWD_MAX + 2];
	struct ice *ice;

	(void)state;
	memset(longest, 'x', sizeof(longest));
	longest[ICE_PWD_MAX + 1] = '\0';
	assert_null(agent(arena, rng, "abc", OUR_PWD, PEER_UFRAG, PEER_PWD));
	assert_null(agent(arena, rng, "ab:d", OUR_PWD, PEER_UFRAG, PEER_PWD));
	assert_null(agent(arena, rng, OUR_UFRAG, OUR_PWD, "a bc", PEER_PWD));
	assert_null(agent(arena, rng, OUR_UFRAG, OUR_PWD, longest, PEER_PWD));
	assert_null(agent(arena, rng, OUR_UFRAG, "012345678901234567890", PEER_UFRAG, PEER_PWD));
	assert_null(agent(arena, rng, OUR_UFRAG, OUR_PWD, PEER_UFRAG, longest));
	assert_int_equal(secret_slots_free(arena), 2);
	longest[ICE_PWD_MAX] = '\0';
	ice = agent(arena, rng, OUR_UFRAG, longest, PEER_UFRAG, longest);
	assert_non_null(ice);
	assert_null(agent(arena, rng, OUR_UFRAG, OUR_PWD, PEER_UFRAG, PEER_PWD));
	ice_free(ice);
	/* One name of the two has to leave room for the other: USERNAME is bounded. */
	assert_null(agent(arena, rng, longest, OUR_PWD, longest, PEER_PWD));
	assert_int_equal(secret_slots_free(arena), 2);
	secret_arena_free(arena);
}

static void names_are_ours_first(void **state)
{
	struct peer *peer = *state;

	assert_string_equal(ice_username(peer->ice), "6frn:hzxq");
	assert_string_equal(ice_local_ufrag(peer->ice), "6frn");
	assert_string_equal(ice_remote_ufrag(peer->ice), "hzxq");
}

/* Candidates. */

static void local_candidates_are_announced_once_with_our_priorities(void **state)
{
	struct peer *peer = *state;
	struct candidate known[ICE_MAX_LOCAL];

	peer_local(peer, true, CANDIDATE_RELAY, OUR_RELAY, OUR_RELAY);
	assert_int_equal(peer->n_announced, 1);
	assert_int_equal(peer->announced[0].priority, 37748479);
	host(peer);
	assert_int_equal(peer->n_announced, 1);
	assert_int_equal(peer->announced[0].priority, 2130706175);
	host(peer);
	assert_int_equal(peer->n_announced, 0);
	peer_local(peer, true, CANDIDATE_SRFLX, OUR_SRFLX, OUR_HOST);
	assert_int_equal(peer->announced[0].priority, 1686109951);
	peer_local(peer, true, CANDIDATE_HOST, "10.0.0.6:52625", "10.0.0.6:52625");
	assert_int_equal(peer->announced[0].priority, 2130705663);
	assert_int_equal(ice_local_candidates(peer->ice, known, ICE_MAX_LOCAL), 4);
	for (unsigned i = 1; i < 4; i++)
		assert_true(known[i - 1].priority > known[i].priority);
	assert_int_equal(ice_local_candidates(peer->ice, known, 2), 2);
	assert_int_equal(known[0].priority, 2130706175);
	assert_int_equal(known[1].priority, 2130705663);
}

static void redundant_local_candidate_is_not_announced_but_counts(void **state)
{
	struct peer *peer = *state;
	struct candidate known[ICE_MAX_LOCAL];

	host(peer);
	peer_local(peer, true, CANDIDATE_SRFLX, OUR_HOST, OUR_HOST);
	assert_int_equal(peer->n_announced, 0);
	peer_local(peer, true, CANDIDATE_SRFLX, OUR_HOST, OUR_HOST);
	assert_int_equal(peer->n_announced, 0);
	assert_int_equal(ice_local_candidates(peer->ice, known, ICE_MAX_LOCAL), 1);
	peer_local(peer, true, CANDIDATE_SRFLX, OUR_SRFLX, OUR_HOST);
	assert_int_equal(peer->announced[0].priority, 1686109951 - (2 << 8));
}

static void better_local_candidate_at_the_same_place_takes_over(void **state)
{
	struct peer *peer = *state;
	struct candidate known[ICE_MAX_LOCAL];

	peer_local(peer, true, CANDIDATE_SRFLX, OUR_HOST, OUR_HOST);
	assert_int_equal(peer->n_announced, 1);
	peer_remote(peer, true, CANDIDATE_HOST, HOST_PEER);
	assert_int_equal(peer_count_to(peer, HOST_PEER), 1);
	host(peer);
	assert_int_equal(peer->n_announced, 1);
	assert_int_equal(ice_local_candidates(peer->ice, known, ICE_MAX_LOCAL), 1);
	assert_int_equal(known[0].kind, CANDIDATE_HOST);
	/* The pair stays, with its schedule, and is now the host candidate's. */
	assert_int_equal(peer_count_to(peer, HOST_PEER), 0);
	peer_run_ms(peer, 250);
	assert_int_equal(peer_check_to(peer, OUR_HOST, HOST_PEER).msg.priority, 1862270719);
}

static void withdrawn_relay_candidate_is_revived_and_announced_again(void **state)
{
	struct peer *peer = *state;
	struct candidate known[ICE_MAX_LOCAL];

	host(peer);
	peer_local(peer, true, CANDIDATE_RELAY, OUR_RELAY, OUR_RELAY);
	peer_remote(peer, true, CANDIDATE_HOST, HOST_PEER);
	assert_true(peer_has_check_to(peer, OUR_RELAY, HOST_PEER));
	peer_local(peer, false, CANDIDATE_RELAY, OUR_RELAY, OUR_RELAY);
	assert_int_equal(ice_local_candidates(peer->ice, known, ICE_MAX_LOCAL), 1);
	peer_run_ms(peer, 1000);
	assert_false(peer_has_check_to(peer, OUR_RELAY, HOST_PEER));
	peer_checks(peer, HOST_PEER, OUR_RELAY, false);
	assert_null(peer_reply(peer));
	peer_local(peer, true, CANDIDATE_RELAY, OUR_RELAY, OUR_RELAY);
	assert_int_equal(peer->n_announced, 1);
	assert_int_equal(peer->announced[0].priority, 37748479);
	assert_true(peer_has_check_to(peer, OUR_RELAY, HOST_PEER));
}

static void server_reflexive_candidates_make_no_pairs_of_their_own(void **state)
{
	struct peer *peer = *state;

	host(peer);
	peer_local(peer, true, CANDIDATE_SRFLX, OUR_SRFLX, OUR_HOST);
	peer_remote(peer, true, CANDIDATE_HOST, HOST_PEER);
	assert_int_equal(peer->n_sent, 1);
	assert_int_equal(peer->sent[0].msg.priority, 1862270719);
}

static void families_are_not_mixed(void **state)
{
	struct peer *peer = *state;

	host(peer);
	peer_local(peer, true, CANDIDATE_HOST, "[2001:db8::5]:52625", "[2001:db8::5]:52625");
	peer_remote(peer, true, CANDIDATE_HOST, "[2001:db8::7]:40000");
	assert_int_equal(peer->n_sent, 1);
	assert_true(peer_has_check_to(peer, "[2001:db8::5]:52625", "[2001:db8::7]:40000"));
}

static void known_remote_candidate_is_ignored_while_it_has_a_pair(void **state)
{
	struct peer *peer = *state;

	host(peer);
	peer_remote(peer, true, CANDIDATE_HOST, HOST_PEER);
	assert_int_equal(peer->n_sent, 1);
	peer_remote(peer, true, CANDIDATE_HOST, HOST_PEER);
	assert_int_equal(peer->n_sent, 0);
}

static void invalidated_remote_address_is_ignored_until_signalled_again(void **state)
{
	struct peer *peer = *state;

	host(peer);
	peer_remote(peer, true, CANDIDATE_HOST, HOST_PEER);
	peer_remote(peer, true, CANDIDATE_HOST, "203.0.113.8:1");
	peer_remote(peer, false, CANDIDATE_HOST, HOST_PEER);
	peer_run_ms(peer, 1000);
	assert_int_equal(peer_count_to(peer, HOST_PEER), 0);
	peer_checks(peer, HOST_PEER, OUR_HOST, true);
	assert_int_equal(peer->n_sent, 0);
	assert_int_equal(ice_state_of(peer->ice), ICE_CHECKING);
	peer_remote(peer, true, CANDIDATE_HOST, HOST_PEER);
	assert_int_equal(peer_count_to(peer, HOST_PEER), 1);
	peer_checks(peer, HOST_PEER, OUR_HOST, false);
	assert_non_null(peer_reply(peer));
}

static void optimistic_candidate_joins_reflexive_address_and_host_port(void **state)
{
	struct peer *peer = *state;

	host(peer);
	peer_remote(peer, true, CANDIDATE_HOST, "10.9.0.9:52625");
	peer_remote(peer, true, CANDIDATE_SRFLX, "198.51.100.9:40000");
	assert_true(peer_has_check_to(peer, OUR_HOST, "198.51.100.9:40000"));
	assert_true(peer_has_check_to(peer, OUR_HOST, "198.51.100.9:52625"));
	assert_int_equal(peer->n_sent, 2);
	/* It is not the peer's to withdraw. */
	peer_remote(peer, false, CANDIDATE_SRFLX, "198.51.100.9:52625");
	peer_run_ms(peer, 250);
	assert_true(peer_has_check_to(peer, OUR_HOST, "198.51.100.9:52625"));
}

static void optimistic_candidates_come_two_at_a_time(void **state)
{
	struct peer *peer = *state;

	host(peer);
	peer_remote(peer, true, CANDIDATE_HOST, "10.9.0.1:1001");
	peer_remote(peer, true, CANDIDATE_HOST, "10.9.0.2:1002");
	peer_remote(peer, true, CANDIDATE_HOST, "10.9.0.3:1003");
	peer_remote(peer, true, CANDIDATE_SRFLX, "198.51.100.9:40000");
	assert_int_equal(peer->n_sent, 3);
	peer_remote(peer, true, CANDIDATE_RELAY, "192.0.2.99:50001");
	assert_int_equal(peer->n_sent, 2);
}

static void optimistic_candidates_are_for_ipv4_only(void **state)
{
	struct peer *peer = *state;

	peer_local(peer, true, CANDIDATE_HOST, "[2001:db8::5]:52625", "[2001:db8::5]:52625");
	peer_remote(peer, true, CANDIDATE_HOST, "[2001:db8::7]:52625");
	peer_remote(peer, true, CANDIDATE_SRFLX, "[2001:db8::8]:40000");
	assert_int_equal(peer->n_sent, 1);
}

/* Checks and replies. */

static void check_has_the_attributes_of_the_vector(void **state)
{
	struct peer *peer = *state;
	cJSON *json = vectors_load(VECTORS_DIR "/connections-stun.json");
	const cJSON *row = vectors_get(vectors_get(json, "ice"), "gateway_request");
	const struct peer_sent *sent = &peer->sent[0];
	uint8_t wanted[PEER_MAX_MESSAGE], again[PEER_MAX_MESSAGE];
	struct stun_builder b;
	struct stun_msg msg;
	size_t len = vectors_hex(row, "hex", wanted, sizeof(wanted));

	host(peer);
	peer_remote(peer, true, CANDIDATE_HOST, HOST_PEER);
	assert_int_equal(sent->len, len);
	assert_true(stun_msg_verify(&sent->msg, sent->data, sent->len, (const uint8_t *)PEER_PWD,
				    strlen(PEER_PWD)));
	/* With its id and tie-breaker the vector's message is ours, byte for byte. */
	assert_true(stun_msg_read(&msg, wanted, len));
	stun_begin(&b, again, sizeof(again), STUN_BINDING, STUN_REQUEST, &sent->msg.txid);
	stun_put_bytes(&b, STUN_ATTR_USERNAME, msg.username.data, msg.username.len);
	stun_put_u64(&b, STUN_ATTR_ICE_CONTROLLED, sent->msg.tie_breaker);
	stun_put_u32(&b, STUN_ATTR_PRIORITY, msg.priority);
	assert_int_equal(stun_finish(&b, (const uint8_t *)PEER_PWD, strlen(PEER_PWD), true), len);
	assert_memory_equal(again, sent->data, len);
	cJSON_Delete(json);
}

static void transaction_ids_carry_the_tag_and_differ(void **state)
{
	static const uint8_t tag[3] = {0xab, 0xcd, 0xef};
	struct peer *peer = *state;
	struct stun_txid first;

	host(peer);
	peer_remote(peer, true, CANDIDATE_HOST, HOST_PEER);
	first = peer->sent[0].msg.txid;
	assert_memory_equal(first.bytes, tag, sizeof(tag));
	peer_run_ms(peer, 250);
	assert_memory_equal(peer->sent[0].msg.txid.bytes, tag, sizeof(tag));
	assert_memory_not_equal(&peer->sent[0].msg.txid, &first, sizeof(first));
}

static void relayed_check_goes_through_the_relay(void **state)
{
	struct peer *peer = *state;

	peer_local(peer, true, CANDIDATE_RELAY, OUR_RELAY, OUR_RELAY);
	peer_remote(peer, true, CANDIDATE_RELAY, "192.0.2.99:50001");
	assert_int_equal(peer->n_sent, 1);
	assert_true(peer->sent[0].path.via_relay);
	assert_true(peer_has_check_to(peer, OUR_RELAY, "192.0.2.99:50001"));
	assert_int_equal(peer->sent[0].msg.priority, 1849687807);
	peer_checks(peer, "192.0.2.99:50001", OUR_RELAY, false);
	assert_true(peer_reply(peer)->path.via_relay);
}

static void reply_is_that_of_the_vectors(void **state)
{
	struct peer *peer = *state;
	cJSON *json = vectors_load(VECTORS_DIR "/connections-stun.json");
	const cJSON *ice = vectors_get(json, "ice");
	struct stun_msg msg;
	uint8_t buf[PEER_MAX_MESSAGE];
	struct ice_input in = {.kind = ICE_INPUT_STUN};

	host(peer);
	in.u.stun.len = vectors_hex(vectors_get(ice, "client_request"), "hex", buf, sizeof(buf));
	assert_true(stun_msg_read(&msg, buf, in.u.stun.len));
	in.u.stun.msg = &msg;
	in.u.stun.buf = buf;
	in.u.stun.src = at(HOST_PEER);
	in.u.stun.dst = at(OUR_HOST);
	peer_feed(peer, &in);
	assert_non_null(peer_reply(peer));
	vectors_assert_hex(vectors_get(ice, "gateway_reply_v4"), "hex", peer_reply(peer)->data,
			   peer_reply(peer)->len);
	peer_local(peer, true, CANDIDATE_HOST, "[2001:db8::5]:52625", "[2001:db8::5]:52625");
	in.u.stun.src = at("[2001:db8::7]:40000");
	in.u.stun.dst = at("[2001:db8::5]:52625");
	peer_feed(peer, &in);
	vectors_assert_hex(vectors_get(ice, "gateway_reply_v6"), "hex", peer_reply(peer)->data,
			   peer_reply(peer)->len);
	cJSON_Delete(json);
}

/* Those that an agent sees: what parses and is no good, and what is good although it looks odd. */
static void malformed_messages_are_answered_only_where_the_vectors_say(void **state)
{
	struct peer *peer = *state;
	cJSON *json = vectors_load(VECTORS_DIR "/connections-stun.json");
	const cJSON *row;
	unsigned accepted = 0;

	host(peer);
	cJSON_ArrayForEach(row, vectors_get(json, "malformed"))
	{
		struct ice_input in = {.kind = ICE_INPUT_STUN};
		uint8_t buf[1024];
		struct stun_msg msg;
		bool wanted = strncmp(vectors_string(row, "expect"), "accept", 6) == 0;

		in.u.stun.len = vectors_hex(row, "hex", buf, sizeof(buf));
		if (!stun_msg_read(&msg, buf, in.u.stun.len)) {
			assert_false(wanted);
			continue;
		}
		in.u.stun.msg = &msg;
		in.u.stun.buf = buf;
		in.u.stun.src = at(HOST_PEER);
		in.u.stun.dst = at(OUR_HOST);
		peer_feed(peer, &in);
		assert_int_equal(peer_reply(peer) != NULL, wanted);
		assert_int_equal(peer->n_selected, 0);
		accepted += wanted;
	}
	assert_int_equal(accepted, 2);
	cJSON_Delete(json);
}

static void datagrams_of_the_demultiplexing_vectors_are_known_as_ours(void **state)
{
	struct peer *peer = *state;
	cJSON *json = vectors_load(VECTORS_DIR "/connections-demux.json");
	const cJSON *row;
	unsigned ours = 0;

	cJSON_ArrayForEach(row, vectors_get(json, "cases"))
	{
		bool wanted = strncmp(vectors_string(row, "expect"), "ICE request", 11) == 0;
		uint8_t buf[1500];
		size_t len = vectors_hex(row, "hex", buf, sizeof(buf));
		struct stun_msg msg;
		bool got =
		    stun_msg_read(&msg, buf, len) && ice_owns_request(peer->ice, &msg, buf, len);

		assert_int_equal(got, wanted);
		ours += got;
	}
	assert_int_equal(ours, 2);
	cJSON_Delete(json);
}

static void wrong_requests_get_no_answer_and_leave_no_state(void **state)
{
	static const struct peer_check bad[] = {
	    {.src = HOST_PEER, .dst = OUR_HOST, .username = "6frn:hzxr"},
	    {.src = HOST_PEER, .dst = OUR_HOST, .username = "6frn"},
	    {.src = HOST_PEER, .dst = OUR_HOST, .username = "hzxq:6frn"},
	    {.src = HOST_PEER, .dst = OUR_HOST, .key = PEER_PWD},
	    {.src = HOST_PEER, .dst = OUR_HOST, .no_priority = true},
	    {.src = HOST_PEER, .dst = "10.0.0.6:52625"},
	    {.src = HOST_PEER, .dst = "10.0.0.5:52626"},
	    {.src = HOST_PEER, .dst = OUR_SRFLX},
	    {.src = "127.0.0.1:7", .dst = OUR_HOST},
	    {.src = "10.0.0.5:7", .dst = OUR_HOST},
	    {.src = "[2001:db8::7]:7", .dst = OUR_HOST},
	};
	struct peer *peer = *state;

	host(peer);
	peer_local(peer, true, CANDIDATE_SRFLX, OUR_SRFLX, OUR_HOST);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct peer_check check = bad[i];

		check.use_candidate = true;
		peer_check(peer, &check);
		assert_int_equal(peer->n_sent, 0);
		assert_int_equal(peer->n_selected, 0);
		assert_int_equal(peer->n_states, 0);
	}
	/* Nothing to check either. */
	peer_run_ms(peer, 5000);
	assert_int_equal(peer->n_sent, 0);
}

static void agents_with_one_ufrag_tell_their_requests_apart(void **state)
{
	static const char other_pwd[] = "zzzzzzzzzzzzzzzzzzzzzz";
	struct peer *peer = *state;
	struct secret_arena *arena = secret_arena_new(4);
	struct ice *same_names =
	    agent(arena, peer->rng, OUR_UFRAG, other_pwd, PEER_UFRAG, PEER_PWD);
	struct ice *other_peer = agent(arena, peer->rng, OUR_UFRAG, OUR_PWD, "aaaa", PEER_PWD);
	struct stun_txid txid = {{1}};
	struct stun_builder b;
	struct stun_msg msg;
	uint8_t buf[256];
	size_t len;

	assert_non_null(same_names);
	assert_non_null(other_peer);
	stun_begin(&b, buf, sizeof(buf), STUN_BINDING, STUN_REQUEST, &txid);
	stun_put_bytes(&b, STUN_ATTR_USERNAME, OUR_UFRAG ":" PEER_UFRAG, 9);
	stun_put_u32(&b, STUN_ATTR_PRIORITY, 1);
	len = stun_finish(&b, (const uint8_t *)OUR_PWD, strlen(OUR_PWD), true);
	assert_true(stun_msg_read(&msg, buf, len));
	assert_true(ice_owns_request(peer->ice, &msg, buf, len));
	assert_false(ice_owns_request(same_names, &msg, buf, len));
	assert_false(ice_owns_request(other_peer, &msg, buf, len));
	ice_free(same_names);
	ice_free(other_peer);
	secret_arena_free(arena);
}

static void controlled_peer_is_told_to_change_its_role(void **state)
{
	struct peer *peer = *state;
	struct peer_check check = {.src = HOST_PEER, .dst = OUR_HOST, .controlled = true};
	const struct peer_sent *reply;

	host(peer);
	check.use_candidate = true;
	peer_check(peer, &check);
	reply = peer_reply(peer);
	assert_non_null(reply);
	assert_int_equal(reply->msg.class, STUN_ERROR);
	assert_int_equal(reply->msg.error_code, 487);
	assert_true(stun_msg_verify(&reply->msg, reply->data, reply->len, (const uint8_t *)OUR_PWD,
				    strlen(OUR_PWD)));
	assert_int_equal(peer->n_sent, 1);
	assert_int_equal(peer->n_selected, 0);
	check.controlled = false;
	peer_check(peer, &check);
	assert_int_equal(peer_reply(peer)->msg.class, STUN_SUCCESS);
	assert_int_equal(peer->n_selected, 1);
}

static void peer_reflexive_candidate_is_checked_from_where_it_was_seen(void **state)
{
	struct peer *peer = *state;

	host(peer);
	peer_local(peer, true, CANDIDATE_HOST, "10.0.0.6:52625", "10.0.0.6:52625");
	peer_checks(peer, HOST_PEER, OUR_HOST, false);
	assert_non_null(peer_reply(peer));
	assert_int_equal(peer_count_to(peer, HOST_PEER), 1);
	assert_true(peer_has_check_to(peer, OUR_HOST, HOST_PEER));
	peer_local(peer, true, CANDIDATE_HOST, "10.0.0.7:52625", "10.0.0.7:52625");
	assert_int_equal(peer->n_sent, 0);
}

static void signalled_candidate_replaces_the_peer_reflexive_one_and_keeps_the_path(void **state)
{
	struct peer *peer = *state;

	host(peer);
	peer_local(peer, true, CANDIDATE_HOST, "10.0.0.6:52625", "10.0.0.6:52625");
	peer_checks(peer, HOST_PEER, OUR_HOST, true);
	peer_answer(peer, peer_check_to(peer, OUR_HOST, HOST_PEER));
	peer_assert_path(peer, OUR_HOST, HOST_PEER);
	peer_remote(peer, true, CANDIDATE_SRFLX, HOST_PEER);
	/* Only the pair with the other address is new. */
	assert_int_equal(peer->n_sent, 1);
	assert_true(peer_has_check_to(peer, "10.0.0.6:52625", HOST_PEER));
	assert_int_equal(peer->n_selected, 0);
	peer_assert_path(peer, OUR_HOST, HOST_PEER);
	peer_remote(peer, false, CANDIDATE_SRFLX, HOST_PEER);
	assert_int_equal(ice_state_of(peer->ice), ICE_DISCONNECTED);
}

static void wrong_answers_change_nothing(void **state)
{
	struct peer *peer = *state;
	struct peer_sent sent;

	host(peer);
	peer_remote(peer, true, CANDIDATE_HOST, HOST_PEER);
	peer_remote(peer, true, CANDIDATE_HOST, "203.0.113.8:40000");
	peer_checks(peer, "203.0.113.8:40000", OUR_HOST, true);
	peer_answer(peer, peer_check_to(peer, OUR_HOST, "203.0.113.8:40000"));
	peer_wait_ms(peer, 300);
	peer_checks(peer, HOST_PEER, OUR_HOST, true);
	sent = peer_check_to(peer, OUR_HOST, HOST_PEER);
	peer_answer_as(peer, sent, "203.0.113.9:40000", NULL, NULL);
	peer_answer_as(peer, sent, NULL, "10.0.0.6:52625", NULL);
	peer_answer_as(peer, sent, NULL, NULL, OUR_PWD);
	sent.msg.txid.bytes[11] ^= 1;
	peer_answer(peer, sent);
	sent.msg.txid.bytes[11] ^= 1;
	peer_remote(peer, false, CANDIDATE_HOST, "203.0.113.8:40000");
	peer_assert_path(peer, OUR_HOST, HOST_PEER);
	/* Had one of them counted, the pair would not be under the rule for addresses that never
	 * answered. */
	peer_run_ms(peer, 60000);
	assert_int_equal(ice_state_of(peer->ice), ICE_DISCONNECTED);
}

static void late_answer_is_lost(void **state)
{
	struct peer *peer = *state;
	struct peer_sent sent;

	host(peer);
	peer_remote(peer, true, CANDIDATE_HOST, HOST_PEER);
	sent = peer_check_to(peer, OUR_HOST, HOST_PEER);
	peer_run_ms(peer, 10001);
	peer_answer(peer, sent);
	peer_run_ms(peer, 50000);
	assert_int_equal(ice_state_of(peer->ice), ICE_DISCONNECTED);
}

/* States and deadlines. */

static void first_event_starts_the_agent(void **state)
{
	struct peer *peer = *state;

	assert_int_equal(ice_state_of(peer->ice), ICE_NEW);
	assert_int_equal(ice_deadline(peer->ice), peer->now_us);
	peer_timeout(peer);
	assert_int_equal(peer->n_states, 1);
	assert_int_equal(peer->states[0], ICE_CHECKING);
}

static void no_signalled_candidate_in_time_fails(void **state)
{
	struct peer *peer = *state;

	host(peer);
	peer_checks(peer, HOST_PEER, OUR_HOST, true);
	peer_answer(peer, peer_check_to(peer, OUR_HOST, HOST_PEER));
	assert_int_equal(ice_state_of(peer->ice), ICE_CONNECTED);
	peer_run_ms(peer, 9999);
	assert_int_equal(ice_state_of(peer->ice), ICE_CONNECTED);
	peer_run_ms(peer, 1);
	assert_int_equal(ice_state_of(peer->ice), ICE_FAILED);
	assert_int_equal(peer->states[peer->n_states - 1], ICE_FAILED);
	assert_int_equal(ice_deadline(peer->ice), NEVER_US);
	peer_checks(peer, HOST_PEER, OUR_HOST, true);
	assert_int_equal(peer->n_sent, 0);
}

static void unusable_candidate_does_not_stop_the_first_deadline(void **state)
{
	struct peer *peer = *state;

	host(peer);
	peer_remote(peer, true, CANDIDATE_HOST, "127.0.0.1:7");
	assert_int_equal(peer->n_sent, 0);
	peer_run_ms(peer, 10000);
	assert_int_equal(ice_state_of(peer->ice), ICE_FAILED);
}

static void last_candidate_withdrawn_fails_after_the_grace(void **state)
{
	struct peer *peer = *state;

	host(peer);
	peer_remote(peer, true, CANDIDATE_HOST, HOST_PEER);
	peer_checks(peer, HOST_PEER, OUR_HOST, true);
	assert_int_equal(ice_state_of(peer->ice), ICE_CONNECTED);
	peer_remote(peer, false, CANDIDATE_HOST, HOST_PEER);
	assert_int_equal(peer->states[0], ICE_DISCONNECTED);
	assert_int_equal(ice_deadline(peer->ice), peer->now_us + 2 * US_PER_S);
	peer_run_ms(peer, 1999);
	assert_int_equal(ice_state_of(peer->ice), ICE_DISCONNECTED);
	peer_run_ms(peer, 1);
	assert_int_equal(ice_state_of(peer->ice), ICE_FAILED);
}

static void candidate_within_the_grace_recovers(void **state)
{
	struct peer *peer = *state;

	host(peer);
	peer_remote(peer, true, CANDIDATE_HOST, HOST_PEER);
	peer_remote(peer, false, CANDIDATE_HOST, HOST_PEER);
	peer_run_ms(peer, 1999);
	peer_remote(peer, true, CANDIDATE_HOST, "203.0.113.8:40000");
	assert_int_equal(ice_state_of(peer->ice), ICE_CHECKING);
	peer_run_ms(peer, 3000);
	assert_int_equal(ice_state_of(peer->ice), ICE_CHECKING);
	/* The grace starts anew the next time. */
	peer_remote(peer, false, CANDIDATE_HOST, "203.0.113.8:40000");
	peer_run_ms(peer, 1999);
	assert_int_equal(ice_state_of(peer->ice), ICE_DISCONNECTED);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, peer_setup, peer_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(credentials_out_of_bounds_make_no_agent),
	    CASE(names_are_ours_first),
	    CASE(local_candidates_are_announced_once_with_our_priorities),
	    CASE(redundant_local_candidate_is_not_announced_but_counts),
	    CASE(better_local_candidate_at_the_same_place_takes_over),
	    CASE(withdrawn_relay_candidate_is_revived_and_announced_again),
	    CASE(server_reflexive_candidates_make_no_pairs_of_their_own),
	    CASE(families_are_not_mixed),
	    CASE(known_remote_candidate_is_ignored_while_it_has_a_pair),
	    CASE(invalidated_remote_address_is_ignored_until_signalled_again),
	    CASE(optimistic_candidate_joins_reflexive_address_and_host_port),
	    CASE(optimistic_candidates_come_two_at_a_time),
	    CASE(optimistic_candidates_are_for_ipv4_only),
	    CASE(check_has_the_attributes_of_the_vector),
	    CASE(transaction_ids_carry_the_tag_and_differ),
	    CASE(relayed_check_goes_through_the_relay),
	    CASE(reply_is_that_of_the_vectors),
	    CASE(malformed_messages_are_answered_only_where_the_vectors_say),
	    CASE(datagrams_of_the_demultiplexing_vectors_are_known_as_ours),
	    CASE(wrong_requests_get_no_answer_and_leave_no_state),
	    CASE(agents_with_one_ufrag_tell_their_requests_apart),
	    CASE(controlled_peer_is_told_to_change_its_role),
	    CASE(peer_reflexive_candidate_is_checked_from_where_it_was_seen),
	    CASE(signalled_candidate_replaces_the_peer_reflexive_one_and_keeps_the_path),
	    CASE(wrong_answers_change_nothing),
	    CASE(late_answer_is_lost),
	    CASE(first_event_starts_the_agent),
	    CASE(no_signalled_candidate_in_time_fails),
	    CASE(unusable_candidate_does_not_stop_the_first_deadline),
	    CASE(last_candidate_withdrawn_fails_after_the_grace),
	    CASE(candidate_within_the_grace_recovers),
	};

	return cmocka_run_group_tests(tests, peer_group_setup, NULL);
}
