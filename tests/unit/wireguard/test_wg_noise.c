#include "harness.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "wireguard/cookie.h"
#include "wireguard/noise.h"

/* The transcript's inputs. */
struct transcript {
	cJSON *root;
	const cJSON *values;
	uint8_t client_private[32], client_public[32], client_ephemeral[32];
	uint8_t gateway_private[32], gateway_public[32], gateway_ephemeral[32];
	uint8_t psk[32], static_static[32], timestamp[12];
	uint8_t initiation[WG_INITIATION_LEN], response[WG_RESPONSE_LEN];
	struct wg_crypto *c;
};

enum {
	CLIENT_INDEX = 0x00abcd01,
	GATEWAY_INDEX = 0x12345601,
};

static int load(void **state)
{
	struct transcript *t = calloc(1, sizeof(*t));
	const cJSON *keys;

	assert_non_null(t);
	t->root = vectors_load(VECTORS_DIR "/connections-wireguard-handshake.json");
	t->values = vectors_get(t->root, "intermediate");
	keys = vectors_get(t->root, "keys");
	vectors_hex_exact(keys, "client_private", t->client_private, 32);
	vectors_hex_exact(keys, "client_public", t->client_public, 32);
	vectors_hex_exact(keys, "client_ephemeral_private", t->client_ephemeral, 32);
	vectors_hex_exact(keys, "gateway_private", t->gateway_private, 32);
	vectors_hex_exact(keys, "gateway_public", t->gateway_public, 32);
	vectors_hex_exact(keys, "gateway_ephemeral_private", t->gateway_ephemeral, 32);
	vectors_hex_exact(keys, "psk", t->psk, 32);
	vectors_hex_exact(keys, "tai64n", t->timestamp, 12);
	vectors_hex_exact(t->root, "handshake_initiation", t->initiation, sizeof(t->initiation));
	vectors_hex_exact(t->root, "handshake_response", t->response, sizeof(t->response));
	assert_true(wg_crypto_dh(t->static_static, t->client_private, t->gateway_public));
	t->c = wg_crypto_new();
	assert_non_null(t->c);
	*state = t;
	return 0;
}

static int unload(void **state)
{
	struct transcript *t = *state;

	wg_crypto_free(t->c);
	cJSON_Delete(t->root);
	free(t);
	return 0;
}

static struct wg_noise_keys client_keys(const struct transcript *t)
{
	return (struct wg_noise_keys){
	    .private_key = t->client_private,
	    .public_key = t->client_public,
	    .remote = t->gateway_public,
	    .static_static = t->static_static,
	    .psk = t->psk,
	    .ephemeral = t->client_ephemeral,
	};
}

static struct wg_noise_keys gateway_keys(const struct transcript *t)
{
	return (struct wg_noise_keys){
	    .private_key = t->gateway_private,
	    .public_key = t->gateway_public,
	    .remote = t->client_public,
	    .static_static = t->static_static,
	    .psk = t->psk,
	    .ephemeral = t->gateway_ephemeral,
	};
}

static void construction_matches_the_vectors(void **state)
{
	struct transcript *t = *state;
	const cJSON *construction = vectors_get(t->root, "construction");
	struct wg_noise_chain chain;

	wg_noise_construct(t->c, &chain);
	vectors_assert_hex(construction, "initial_chaining_key", chain.key, 32);
	vectors_assert_hex(construction, "initial_hash", chain.hash, 32);
}

static void every_step_of_the_chain_matches_the_vectors(void **state)
{
	struct transcript *t = *state;
	const uint8_t *i = t->initiation, *r = t->response;
	struct wg_noise_chain chain;
	uint8_t key[32], tau[32];

	wg_noise_construct(t->c, &chain);
	wg_noise_mix_hash(t->c, &chain, t->gateway_public, 32);
	wg_noise_mix_hash(t->c, &chain, i + 8, 32);
	wg_noise_mix_key(t->c, &chain, i + 8, NULL);
	assert_true(wg_noise_mix_dh(t->c, &chain, t->client_ephemeral, t->gateway_public, key));
	vectors_assert_hex(t->values, "ck_after_es", chain.key, 32);
	vectors_assert_hex(t->values, "key_static", key, 32);
	wg_noise_mix_hash(t->c, &chain, i + 40, 48);
	wg_noise_mix_key(t->c, &chain, t->static_static, key);
	vectors_assert_hex(t->values, "ck_after_ss", chain.key, 32);
	vectors_assert_hex(t->values, "key_timestamp", key, 32);
	wg_noise_mix_hash(t->c, &chain, i + 88, 28);
	vectors_assert_hex(t->values, "hash_after_init", chain.hash, 32);

	wg_noise_mix_hash(t->c, &chain, r + 12, 32);
	wg_noise_mix_key(t->c, &chain, r + 12, NULL);
	assert_true(wg_noise_mix_dh(t->c, &chain, t->gateway_ephemeral, i + 8, NULL));
	assert_true(wg_noise_mix_dh(t->c, &chain, t->gateway_ephemeral, t->client_public, NULL));
	wg_noise_mix_psk(t->c, &chain, t->psk, tau, key);
	vectors_assert_hex(t->values, "ck_final", chain.key, 32);
	vectors_assert_hex(t->values, "tau", tau, 32);
	vectors_assert_hex(t->values, "key_empty", key, 32);
	vectors_assert_hex(t->values, "hash_before_empty", chain.hash, 32);
}

static void assert_session_keys(const struct transcript *t,
				const struct wg_noise_session_keys *keys)
{
	const cJSON *session = vectors_get(t->root, "session");

	vectors_assert_hex(session, "client_to_gateway_key", keys->to_responder, 32);
	vectors_assert_hex(session, "gateway_to_client_key", keys->to_initiator, 32);
}

static void initiation_is_written_as_in_the_transcript(void **state)
{
	struct transcript *t = *state;
	struct wg_noise_keys keys = client_keys(t);
	struct wg_noise_chain chain;
	uint8_t msg[WG_INITIATION_LEN];

	assert_true(
	    wg_noise_initiation_write(t->c, &keys, CLIENT_INDEX, t->timestamp, &chain, msg));
	wg_cookie_stamp(t->c, t->gateway_public, NULL, msg, sizeof(msg));
	assert_memory_equal(msg, t->initiation, sizeof(msg));
	vectors_assert_hex(t->values, "ck_after_ss", chain.key, 32);
	vectors_assert_hex(t->values, "hash_after_init", chain.hash, 32);
}

static void initiation_is_read_and_answered_as_in_the_transcript(void **state)
{
	struct transcript *t = *state;
	struct wg_noise_keys keys = gateway_keys(t);
	struct wg_noise_reading reading;
	struct wg_noise_session_keys session;
	uint8_t msg[WG_RESPONSE_LEN];

	assert_true(wg_noise_initiation_read(t->c, t->gateway_private, t->gateway_public,
					     t->initiation, &reading));
	assert_int_equal(reading.sender, CLIENT_INDEX);
	assert_memory_equal(reading.remote, t->client_public, 32);
	assert_true(wg_noise_initiation_verify(t->c, &reading, t->static_static));
	assert_memory_equal(reading.timestamp, t->timestamp, 12);
	vectors_assert_hex(t->values, "ck_after_ss", reading.chain.key, 32);
	vectors_assert_hex(t->values, "hash_after_init", reading.chain.hash, 32);

	assert_true(wg_noise_response_write(t->c, &keys, &reading, GATEWAY_INDEX, &session, msg));
	wg_cookie_stamp(t->c, t->client_public, NULL, msg, sizeof(msg));
	assert_memory_equal(msg, t->response, sizeof(msg));
	assert_session_keys(t, &session);
}

static void response_is_read_as_in_the_transcript(void **state)
{
	struct transcript *t = *state;
	struct wg_noise_keys keys = client_keys(t);
	struct wg_noise_session_keys session;
	struct wg_noise_chain chain;
	uint32_t sender;

	vectors_hex_exact(t->values, "ck_after_ss", chain.key, 32);
	vectors_hex_exact(t->values, "hash_after_init", chain.hash, 32);
	assert_true(wg_noise_response_read(t->c, &keys, &chain, t->response, &sender, &session));
	assert_int_equal(sender, GATEWAY_INDEX);
	assert_session_keys(t, &session);

	keys.psk = t->static_static;
	assert_false(wg_noise_response_read(t->c, &keys, &chain, t->response, &sender, &session));
}

static void messages_with_a_flipped_bit_are_not_read(void **state)
{
	struct transcript *t = *state;
	struct wg_noise_keys keys = client_keys(t);
	struct wg_noise_session_keys session;
	struct wg_noise_chain chain;
	struct wg_noise_reading reading;
	uint32_t sender;

	vectors_hex_exact(t->values, "ck_after_ss", chain.key, 32);
	vectors_hex_exact(t->values, "hash_after_init", chain.hash, 32);
	for (size_t at = 12; at < WG_RESPONSE_BODY; at++) {
		t->response[at] ^= 1;
		assert_false(
		    wg_noise_response_read(t->c, &keys, &chain, t->response, &sender, &session));
		t->response[at] ^= 1;
	}
	for (size_t at = 8; at < WG_INITIATION_BODY; at++) {
		t->initiation[at] ^= 1;
		assert_false(wg_noise_initiation_read(t->c, t->gateway_private, t->gateway_public,
						      t->initiation, &reading) &&
			     wg_noise_initiation_verify(t->c, &reading, t->static_static));
		t->initiation[at] ^= 1;
	}
}

static void ephemeral_of_low_order_is_refused(void **state)
{
	struct transcript *t = *state;
	struct wg_noise_keys keys = gateway_keys(t);
	struct wg_noise_reading reading;
	struct wg_noise_session_keys session;
	uint8_t msg[WG_RESPONSE_LEN];

	memset(t->initiation + 8, 0, 32);
	assert_false(wg_noise_initiation_read(t->c, t->gateway_private, t->gateway_public,
					      t->initiation, &reading));
	memset(&reading, 0, sizeof(reading));
	assert_false(wg_noise_response_write(t->c, &keys, &reading, GATEWAY_INDEX, &session, msg));
}

#define STEP(f) cmocka_unit_test_setup_teardown(f, load, unload)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    STEP(construction_matches_the_vectors),
	    STEP(every_step_of_the_chain_matches_the_vectors),
	    STEP(initiation_is_written_as_in_the_transcript),
	    STEP(initiation_is_read_and_answered_as_in_the_transcript),
	    STEP(response_is_read_as_in_the_transcript),
	    STEP(messages_with_a_flipped_bit_are_not_read),
	    STEP(ephemeral_of_low_order_is_refused),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
