/* The client against connections-turn.json: every request byte for byte, every answer as it stands
 * there. */
#include "turn/turn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "vectors.h"

enum {
	IDS_MAX = 12,
};

/* Gives the transaction ids of the vectors, in the order of the case; everything else is seeded. */
struct scripted {
	struct stun_txid ids[IDS_MAX];
	size_t count, next;
	struct rng_seeded seed;
};

struct script {
	cJSON *json;
	struct scripted ids;
	struct secret_arena *arena;
	struct turn *turn;
	uint64_t now_us;
	uint8_t bytes[STUN_MAX_MESSAGE];
	size_t len; /* of the last transmission since the last event, 0 when there was none */
	size_t candidates, lost;
};

static void scripted_fill(void *ctx, void *buf, size_t len)
{
	struct scripted *s = ctx;
	struct rng rng = rng_from_seed(&s->seed, 5 + s->next);

	if (len == STUN_TXID_LEN && s->next < s->count)
		memcpy(buf, s->ids[s->next++].bytes, len);
	else
		rng_fill(&rng, buf, len);
}

static void drain(struct script *s)
{
	struct turn_output out;

	s->len = 0;
	while (turn_poll(s->turn, &out)) {
		s->candidates += out.kind == TURN_OUTPUT_CANDIDATE ? 1 : 0;
		s->lost += out.kind == TURN_OUTPUT_LOST ? 1 : 0;
		if (out.kind != TURN_OUTPUT_TRANSMIT)
			continue;
		s->len = out.u.transmit.len;
		memcpy(s->bytes, out.u.transmit.data, s->len);
	}
}

/* @names: requests of the vectors whose ids ours shall have, in order, ended by NULL. */
static struct script *script_new(const char *const *names)
{
	struct script *s = calloc(1, sizeof(*s));
	struct turn_config cfg = {.rng = {.fill = scripted_fill}};
	const cJSON *credentials = NULL;

	assert_non_null(s);
	s->json = vectors_load(VECTORS_DIR "/connections-turn.json");
	for (; names[s->ids.count]; s->ids.count++)
		vectors_hex_exact(
		    vectors_get(vectors_get(s->json, "client_to_relay"), names[s->ids.count]),
		    "txid", s->ids.ids[s->ids.count].bytes, STUN_TXID_LEN);
	credentials = vectors_get(s->json, "credentials");
	s->arena = secret_arena_new(1);
	assert_true(endpoint_parse(&cfg.v4, "192.0.2.10:3478", 15));
	cfg.username = vectors_string(credentials, "username");
	cfg.password = vectors_string(credentials, "password");
	cfg.arena = s->arena;
	cfg.rng.ctx = &s->ids;
	s->turn = turn_new(&cfg, 0);
	assert_non_null(s->turn);
	drain(s);
	return s;
}

static void script_free(struct script *s)
{
	turn_free(s->turn);
	secret_arena_free(s->arena);
	cJSON_Delete(s->json);
	free(s);
}

/* The last transmission is request @name. */
static void sent(const struct script *s, const char *name)
{
	vectors_assert_hex(vectors_get(vectors_get(s->json, "client_to_relay"), name), "hex",
			   s->bytes, s->len);
}

static void event(struct script *s, const struct turn_input *in)
{
	turn_handle(s->turn, in, s->now_us);
	drain(s);
}

/* Answer @name of @group arrives a millisecond later. */
static void answered(struct script *s, const char *group, const char *name)
{
	struct turn_input in = {.kind = TURN_INPUT_DATAGRAM};
	uint8_t bytes[STUN_MAX_MESSAGE];

	s->now_us += US_PER_MS;
	in.u.datagram.len = vectors_hex(vectors_get(s->json, group), name, bytes, sizeof(bytes));
	in.u.datagram.buf = bytes;
	assert_true(endpoint_parse(&in.u.datagram.src, "192.0.2.10:3478", 15));
	assert_true(endpoint_parse(&in.u.datagram.dst, "10.0.0.2:52625", 14));
	event(s, &in);
}

static void relay_says(struct script *s, const char *name)
{
	answered(s, "relay_to_client", name);
}

static void standard_relay_says(struct script *s, const char *name)
{
	answered(s, "standard_relay_to_client", name);
}

static void bind(struct script *s, const char *request)
{
	struct turn_input in = {.kind = TURN_INPUT_BIND};
	const char *peer =
	    vectors_string(vectors_get(vectors_get(s->json, "client_to_relay"), request), "peer");

	assert_true(endpoint_parse(&in.u.bind.peer, peer, strlen(peer)));
	event(s, &in);
}

static void kind(struct script *s, enum turn_input_kind what)
{
	event(s, &(struct turn_input){.kind = what});
}

static bool has_nonce(const struct script *s, uint16_t method, const char *nonce)
{
	struct stun_msg msg;

	return s->len > 0 && stun_msg_read(&msg, s->bytes, s->len) && msg.method == method &&
	       msg.has_integrity && msg.nonce.len == strlen(nonce) &&
	       memcmp(msg.nonce.data, nonce, msg.nonce.len) == 0;
}

static struct script *ready(const char *then)
{
	const char *names[] = {"binding", "allocate_first_no_nonce", "allocate_with_nonce", then,
			       NULL};
	struct script *s = script_new(names);

	relay_says(s, "binding_success_v4");
	relay_says(s, "allocate_401");
	relay_says(s, "allocate_success_dual");
	assert_int_equal(s->candidates, 4);
	return s;
}

static void long_term_key_matches(void **state)
{
	cJSON *json = vectors_load(VECTORS_DIR "/connections-turn.json");
	const cJSON *credentials = vectors_get(json, "credentials");
	uint8_t key[16];

	(void)state;
	stun_long_term_key(key, vectors_string(credentials, "username"), turn_realm,
			   vectors_string(credentials, "password"));
	vectors_assert_hex(json, "long_term_key_md5", key, sizeof(key));
	cJSON_Delete(json);
}

static void whole_life_on_a_firezone_relay(void **state)
{
	static const char *const names[] = {"binding",
					    "allocate_first_no_nonce",
					    "allocate_with_nonce",
					    "channel_bind_v4",
					    "channel_bind_v6",
					    "refresh_ours",
					    "refresh_delete_ours",
					    NULL};
	struct script *s = script_new(names);
	struct endpoint peer;

	(void)state;
	sent(s, "binding");
	relay_says(s, "binding_success_v4");
	sent(s, "allocate_first_no_nonce");
	relay_says(s, "allocate_401");
	sent(s, "allocate_with_nonce");
	relay_says(s, "allocate_success_dual");
	bind(s, "channel_bind_v4");
	sent(s, "channel_bind_v4");
	assert_false(turn_channel_in(s->turn, 0x4000, s->now_us, &peer));
	relay_says(s, "channel_bind_success");
	assert_true(turn_channel_in(s->turn, 0x4000, s->now_us, &peer));
	bind(s, "channel_bind_v6");
	sent(s, "channel_bind_v6");
	kind(s, TURN_INPUT_REFRESH);
	sent(s, "refresh_ours");
	kind(s, TURN_INPUT_DELETE);
	sent(s, "refresh_delete_ours");
	script_free(s);
}

static void refused_channel_is_forgotten(void **state)
{
	struct script *s = ready("channel_bind_v4");

	(void)state;
	bind(s, "channel_bind_v4");
	relay_says(s, "channel_bind_400");
	bind(s, "channel_bind_v4");
	assert_true(s->len > 0);
	script_free(s);
}

static void mismatch_deletes_and_allocates(void **state)
{
	static const char *const names[] = {"binding", "allocate_first_no_nonce",
					    "allocate_with_nonce", "refresh_delete", NULL};
	struct script *s = script_new(names);

	(void)state;
	relay_says(s, "binding_success_v4");
	relay_says(s, "allocate_401");
	relay_says(s, "allocate_437");
	assert_true(has_nonce(s, STUN_REFRESH, "0b7f7c36-5a51-4d2b-9d5d-6f2b8a1d7a10"));
	relay_says(s, "refresh_success_0");
	assert_true(has_nonce(s, STUN_ALLOCATE, "0b7f7c36-5a51-4d2b-9d5d-6f2b8a1d7a10"));
	script_free(s);
}

static void refresh_takes_each_of_its_answers(void **state)
{
	struct script *s = ready("refresh");

	(void)state;
	kind(s, TURN_INPUT_REFRESH);
	relay_says(s, "refresh_success_600");
	assert_int_equal(s->len + s->lost, 0);
	script_free(s);
	s = ready("refresh");
	kind(s, TURN_INPUT_REFRESH);
	relay_says(s, "refresh_437");
	assert_int_equal(s->lost, 2);
	assert_true(has_nonce(s, STUN_ALLOCATE, "0b7f7c36-5a51-4d2b-9d5d-6f2b8a1d7a10"));
	script_free(s);
	s = ready("refresh");
	kind(s, TURN_INPUT_REFRESH);
	relay_says(s, "refresh_438_new_nonce");
	assert_true(has_nonce(s, STUN_REFRESH, "11111111-2222-4333-8444-0123456789ab"));
	script_free(s);
}

static void forged_401_gives_a_nonce_and_no_more(void **state)
{
	static const char *const names[] = {"binding", "allocate_first_no_nonce",
					    "allocate_with_nonce", NULL};
	struct script *s = script_new(names);

	(void)state;
	relay_says(s, "binding_success_v4");
	relay_says(s, "forged_401_without_integrity");
	sent(s, "allocate_with_nonce");
	relay_says(s, "allocate_success_dual");
	assert_int_equal(s->candidates, 4);
	script_free(s);
}

static void standard_relay_is_asked_for_a_nonce(void **state)
{
	static const char *const names[] = {"binding", "allocate_first_no_nonce",
					    "allocate_unsigned", NULL};
	struct script *s = script_new(names);

	(void)state;
	relay_says(s, "binding_success_v4");
	standard_relay_says(s, "unsigned_400_to_allocate_first_no_nonce");
	sent(s, "allocate_unsigned");
	standard_relay_says(s, "unsigned_401_foreign_realm");
	assert_int_equal(s->len, 0);
	standard_relay_says(s, "data_indication_ignored");
	assert_int_equal(s->len, 0);
	standard_relay_says(s, "unsigned_401_to_allocate_unsigned");
	assert_true(has_nonce(s, STUN_ALLOCATE, "f55f040eb3b34235"));
	script_free(s);
}

static void standard_relay_with_our_old_allocation(void **state)
{
	static const char *const names[] = {"binding", "allocate_first_no_nonce",
					    "refresh_unsigned", NULL};
	struct script *s = script_new(names);

	(void)state;
	relay_says(s, "binding_success_v4");
	standard_relay_says(s, "unsigned_437_to_allocate_first_no_nonce");
	sent(s, "refresh_unsigned");
	standard_relay_says(s, "unsigned_401_to_refresh_unsigned");
	assert_true(has_nonce(s, STUN_REFRESH, "f55f040eb3b34235"));
	script_free(s);
}

static void standard_relay_s_stale_nonce(void **state)
{
	struct script *s = ready("refresh_ours");

	(void)state;
	kind(s, TURN_INPUT_REFRESH);
	sent(s, "refresh_ours");
	standard_relay_says(s, "unsigned_438_to_refresh_ours");
	assert_true(has_nonce(s, STUN_REFRESH, "f55f040eb3b34235"));
	script_free(s);
}

static void retransmission_times_are_the_vector_s(void **state)
{
	static const char *const names[] = {NULL};
	struct script *s = script_new(names);
	const cJSON *row = vectors_get(s->json, "retransmit_seconds");
	const cJSON *at = NULL;
	bool first = true;

	(void)state;
	cJSON_ArrayForEach(at, vectors_get(row, "transmissions_at"))
	{
		if (!first) {
			s->now_us = turn_deadline(s->turn);
			kind(s, TURN_INPUT_TIMEOUT);
			assert_true(s->now_us == (uint64_t)(at->valuedouble * 1e6));
			assert_int_equal(s->len, 32);
		}
		first = false;
	}
	assert_true(turn_deadline(s->turn) ==
		    (uint64_t)(vectors_get(row, "give_up_at")->valuedouble * 1e6));
	script_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(long_term_key_matches),
	    cmocka_unit_test(whole_life_on_a_firezone_relay),
	    cmocka_unit_test(refused_channel_is_forgotten),
	    cmocka_unit_test(mismatch_deletes_and_allocates),
	    cmocka_unit_test(refresh_takes_each_of_its_answers),
	    cmocka_unit_test(forged_401_gives_a_nonce_and_no_more),
	    cmocka_unit_test(standard_relay_is_asked_for_a_nonce),
	    cmocka_unit_test(standard_relay_with_our_old_allocation),
	    cmocka_unit_test(standard_relay_s_stale_nonce),
	    cmocka_unit_test(retransmission_times_are_the_vector_s),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
