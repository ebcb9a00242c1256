#include "harness.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "wireguard/cookie.h"

static cJSON *load_vectors(void)
{
	return vectors_load(VECTORS_DIR "/connections-wireguard-cookie.json");
}

static void cookie_derivation_matches_the_vector(void **state)
{
	cJSON *root = load_vectors();
	const cJSON *example = vectors_get(root, "cookie_derivation_example");
	struct wg_crypto *c = wg_crypto_new();
	uint8_t secret[WG_COOKIE_SECRET_LEN], cookie[WG_COOKIE_LEN];
	struct ip_addr ip = test_source(7).ip;

	(void)state;
	vectors_hex_exact(example, "secret", secret, sizeof(secret));
	wg_cookie_derive(c, secret, vectors_u64(example, "epoch"), &ip, cookie);
	vectors_assert_hex(example, "cookie", cookie, sizeof(cookie));
	wg_crypto_free(c);
	cJSON_Delete(root);
}

static void cookie_reply_of_the_vector_opens_and_gives_its_mac2(void **state)
{
	cJSON *root = load_vectors();
	cJSON *handshake = vectors_load(VECTORS_DIR "/connections-wireguard-handshake.json");
	struct wg_crypto *c = wg_crypto_new();
	uint8_t gateway[WG_KEY_LEN], mac1[WG_MAC_LEN], reply[WG_COOKIE_REPLY_LEN];
	uint8_t key[WG_KEY_LEN], cookie[WG_COOKIE_LEN];
	uint8_t retry[WG_INITIATION_LEN], stamped[WG_INITIATION_LEN];

	(void)state;
	vectors_hex_exact(vectors_get(handshake, "keys"), "gateway_public", gateway, 32);
	vectors_hex_exact(root, "aad_is_mac1_of_initiation", mac1, sizeof(mac1));
	vectors_hex_exact(root, "cookie_reply", reply, sizeof(reply));
	vectors_hex_exact(root, "retried_initiation_with_mac2", retry, sizeof(retry));
	wg_cookie_label_key(c, key, "cookie--", gateway);
	vectors_assert_hex(root, "cookie_key", key, sizeof(key));
	assert_true(wg_cookie_open(c, gateway, mac1, reply, cookie));
	vectors_assert_hex(root, "cookie", cookie, sizeof(cookie));

	memcpy(stamped, retry, sizeof(retry));
	memset(stamped + WG_INITIATION_BODY, 0, WG_MACS_LEN);
	wg_cookie_stamp(c, gateway, cookie, stamped, sizeof(stamped));
	assert_memory_equal(stamped, retry, sizeof(retry));

	reply[40] ^= 1;
	assert_false(wg_cookie_open(c, gateway, mac1, reply, cookie));
	reply[40] ^= 1;
	mac1[0] ^= 1;
	assert_false(wg_cookie_open(c, gateway, mac1, reply, cookie));
	wg_crypto_free(c);
	cJSON_Delete(handshake);
	cJSON_Delete(root);
}

/* A gate and a message to it that has a valid MAC1. */
struct rig {
	struct wg_crypto *c;
	struct test_rng rng;
	struct rng source;
	struct wg_gate_secret secret;
	struct wg_gate gate;
	uint8_t public_key[WG_KEY_LEN];
	uint8_t msg[WG_INITIATION_LEN];
	uint64_t now_us;
};

static int rig_setup(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	r->c = wg_crypto_new();
	r->source = test_rng(&r->rng, 5);
	r->public_key[0] = 9;
	r->now_us = 77 * US_PER_S;
	assert_true(wg_gate_init(&r->gate, r->c, &r->secret, r->public_key, &r->source, r->now_us));
	r->msg[0] = WG_INITIATION;
	wg_cookie_stamp(r->c, r->public_key, NULL, r->msg, sizeof(r->msg));
	*state = r;
	return 0;
}

static int rig_teardown(void **state)
{
	struct rig *r = *state;

	wg_crypto_free(r->c);
	free(r);
	return 0;
}

static enum wg_gate_verdict check(struct rig *r, const struct endpoint *src)
{
	return wg_gate_check(&r->gate, r->c, r->msg, sizeof(r->msg), src, r->now_us);
}

static void fill_second(struct rig *r)
{
	struct endpoint src = test_source(99);

	for (int i = 0; i < WG_HANDSHAKES_PER_S; i++)
		assert_int_equal(check(r, &src), WG_GATE_PASS);
}

/* Ask for a cookie as @src and put it on the message. */
static void stamp_cookie(struct rig *r, const struct endpoint *src)
{
	uint8_t reply[WG_COOKIE_REPLY_LEN], cookie[WG_COOKIE_LEN];

	assert_true(wg_gate_reply(&r->gate, r->c, &r->source, r->msg, sizeof(r->msg), src,
				  r->now_us, reply));
	assert_true(
	    wg_cookie_open(r->c, r->public_key, r->msg + WG_INITIATION_BODY, reply, cookie));
	wg_cookie_stamp(r->c, r->public_key, cookie, r->msg, sizeof(r->msg));
}

static void gate_drops_a_wrong_mac1_without_counting_it(void **state)
{
	struct rig *r = *state;
	struct endpoint src = test_source(1);

	r->msg[WG_INITIATION_BODY] ^= 1;
	for (int i = 0; i < 3 * WG_HANDSHAKES_PER_S; i++)
		assert_int_equal(check(r, &src), WG_GATE_DROP);
	r->msg[WG_INITIATION_BODY] ^= 1;
	fill_second(r);
}

static void gate_asks_for_a_cookie_from_the_101st_until_the_second_is_over(void **state)
{
	struct rig *r = *state;
	struct endpoint src = test_source(1);

	fill_second(r);
	assert_int_equal(check(r, &src), WG_GATE_COOKIE);
	r->now_us += US_PER_S - 1;
	assert_int_equal(check(r, &src), WG_GATE_COOKIE);
	r->now_us += 1;
	assert_int_equal(check(r, &src), WG_GATE_PASS);
}

static void gate_lets_a_proven_source_pass_from_any_port(void **state)
{
	struct rig *r = *state;
	struct endpoint src = test_source(1);
	struct endpoint other = test_source(2);

	fill_second(r);
	stamp_cookie(r, &src);
	src.port = 1;
	assert_int_equal(check(r, &src), WG_GATE_PASS);
	assert_int_equal(check(r, &other), WG_GATE_COOKIE);
}

static void gate_refuses_a_cookie_of_the_last_epoch(void **state)
{
	struct rig *r = *state;
	struct endpoint src = test_source(1);

	stamp_cookie(r, &src);
	r->now_us += WG_COOKIE_EPOCH_S * US_PER_S - 1;
	fill_second(r);
	assert_int_equal(check(r, &src), WG_GATE_PASS);
	r->now_us += 1;
	assert_int_equal(check(r, &src), WG_GATE_COOKIE);
}

static void gate_limits_a_proven_source_and_refills_it(void **state)
{
	struct rig *r = *state;
	struct endpoint src = test_source(1);

	fill_second(r);
	stamp_cookie(r, &src);
	for (int i = 0; i < WG_SOURCE_BURST; i++)
		assert_int_equal(check(r, &src), WG_GATE_PASS);
	assert_int_equal(check(r, &src), WG_GATE_DROP);
	r->now_us += US_PER_S / WG_SOURCE_PER_S;
	assert_int_equal(check(r, &src), WG_GATE_PASS);
	assert_int_equal(check(r, &src), WG_GATE_DROP);
}

static void gate_counts_a_v6_site_as_one_source(void **state)
{
	struct rig *r = *state;
	struct endpoint src = {.ip = {.family = IP_V6, .bytes = {0x20, 1, 0xd, 0xb8}}, .port = 5};
	int passed = 0;

	fill_second(r);
	for (int host = 1; host < 2 * WG_SOURCE_BURST; host++) {
		src.ip.bytes[15] = (uint8_t)host;
		stamp_cookie(r, &src);
		passed += check(r, &src) == WG_GATE_PASS;
	}
	assert_int_equal(passed, WG_SOURCE_BURST);
}

static void forged_messages_do_not_spend_a_sources_budget(void **state)
{
	struct rig *r = *state;
	struct endpoint src = test_source(1);

	fill_second(r);
	for (int i = 0; i < 3 * WG_SOURCE_BURST; i++)
		assert_int_equal(check(r, &src), WG_GATE_COOKIE);
	stamp_cookie(r, &src);
	assert_int_equal(check(r, &src), WG_GATE_PASS);
}

static void gate_answers_strangers_at_a_limited_rate(void **state)
{
	struct rig *r = *state;
	int answered = 0;

	fill_second(r);
	for (int i = 0; i < 5 * WG_COOKIES_PER_S; i++) {
		struct endpoint src = test_source((uint8_t)i);

		answered += check(r, &src) == WG_GATE_COOKIE;
	}
	assert_int_equal(answered, WG_COOKIES_PER_S);
}

static void gate_answers_a_known_source_whatever_strangers_do(void **state)
{
	struct rig *r = *state;
	struct endpoint known = test_source(1), stranger = test_source(2);
	struct endpoint port = known;

	port.port++;
	fill_second(r);
	wg_gate_know(&r->gate, &known, r->now_us);
	while (check(r, &stranger) == WG_GATE_COOKIE)
		;
	assert_int_equal(check(r, &known), WG_GATE_COOKIE);
	assert_int_equal(check(r, &port), WG_GATE_DROP);
	stamp_cookie(r, &known);
	assert_int_equal(check(r, &known), WG_GATE_PASS);
}

static void gate_forgets_a_known_source_after_a_minute(void **state)
{
	struct rig *r = *state;
	struct endpoint known = test_source(1), stranger = test_source(2);

	wg_gate_know(&r->gate, &known, r->now_us);
	r->now_us += WG_KNOWN_S * US_PER_S;
	fill_second(r);
	while (check(r, &stranger) == WG_GATE_COOKIE)
		;
	assert_int_equal(check(r, &known), WG_GATE_DROP);
}

#define GATE(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(cookie_derivation_matches_the_vector),
	    cmocka_unit_test(cookie_reply_of_the_vector_opens_and_gives_its_mac2),
	    GATE(gate_drops_a_wrong_mac1_without_counting_it),
	    GATE(gate_asks_for_a_cookie_from_the_101st_until_the_second_is_over),
	    GATE(gate_lets_a_proven_source_pass_from_any_port),
	    GATE(gate_refuses_a_cookie_of_the_last_epoch),
	    GATE(gate_limits_a_proven_source_and_refills_it),
	    GATE(gate_counts_a_v6_site_as_one_source),
	    GATE(gate_answers_strangers_at_a_limited_rate),
	    GATE(gate_answers_a_known_source_whatever_strangers_do),
	    GATE(gate_forgets_a_known_source_after_a_minute),
	    GATE(forged_messages_do_not_spend_a_sources_budget),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
