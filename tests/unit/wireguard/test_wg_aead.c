#include "harness.h"

#include <openssl/evp.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "wireguard/aead.h"
#include "wireguard/crypto.h"

enum {
	BUFFER = 4096
};

static void primitives_match_the_vectors(void **state)
{
	cJSON *root = vectors_load(VECTORS_DIR "/connections-aead.json");
	const cJSON *blake = vectors_get(root, "blake2s");
	const cJSON *curve = vectors_get(root, "x25519");
	struct wg_crypto *c = wg_crypto_new();
	const uint8_t abc[] = {'a', 'b', 'c'};
	uint8_t key[WG_KEY_LEN], scalar[WG_KEY_LEN], point[WG_KEY_LEN], out[WG_HASH_LEN];

	(void)state;
	assert_non_null(c);
	for (size_t i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)i;
	wg_crypto_hash(c, out, abc, 1, abc + 1, 2);
	vectors_assert_hex(blake, "hash_abc", out, WG_HASH_LEN);
	wg_crypto_mac(c, out, key, sizeof(key), abc, sizeof(abc));
	vectors_assert_hex(blake, "keyed16_key00..1f_abc", out, WG_MAC_LEN);
	wg_crypto_hmac(c, out, key, abc, sizeof(abc));
	vectors_assert_hex(blake, "hmac_key00..1f_abc", out, WG_HASH_LEN);

	vectors_hex_exact(curve, "scalar", scalar, WG_KEY_LEN);
	vectors_hex_exact(curve, "point", point, WG_KEY_LEN);
	assert_true(wg_crypto_dh(out, scalar, point));
	vectors_assert_hex(curve, "shared", out, WG_KEY_LEN);
	assert_true(wg_crypto_ok(c));
	wg_crypto_free(c);
	cJSON_Delete(root);
}

static void low_order_points_are_refused(void **state)
{
	/* Points of order 1, 2, 4 and 8, and two of them above the field's prime. */
	static const char *const points[] = {
	    "0000000000000000000000000000000000000000000000000000000000000000",
	    "0100000000000000000000000000000000000000000000000000000000000000",
	    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
	    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
	    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	};
	const uint8_t scalar[WG_KEY_LEN] = {9, 8, 7};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(points); i++) {
		uint8_t point[WG_KEY_LEN], out[WG_KEY_LEN];

		vectors_unhex(points[i], "point", point, sizeof(point));
		memset(out, 1, sizeof(out));
		assert_false(wg_crypto_dh(out, scalar, point));
		assert_true(sodium_is_zero(out, sizeof(out)));
	}
}

static void kdf_gives_the_same_first_outputs_for_any_count(void **state)
{
	struct wg_crypto *c = wg_crypto_new();
	const uint8_t key[WG_KEY_LEN] = {3};
	uint8_t one[WG_HASH_LEN], three[3 * WG_HASH_LEN];

	(void)state;
	assert_non_null(c);
	wg_crypto_kdf(c, one, 1, key, key, sizeof(key));
	wg_crypto_kdf(c, three, 3, key, key, sizeof(key));
	assert_memory_equal(one, three, WG_HASH_LEN);
	assert_memory_not_equal(three, three + WG_HASH_LEN, WG_HASH_LEN);
	wg_crypto_free(c);
}

struct rig {
	struct wg_crypto *c;
	EVP_CIPHER_CTX *ctx, *evp;
	uint8_t key[WG_KEY_LEN];
	uint8_t nonce[12];
	uint8_t plain[BUFFER], ours[BUFFER], theirs[BUFFER];
};

static void rig_start(struct rig *r, const struct rng *rng, uint64_t counter)
{
	rng_fill(rng, r->key, sizeof(r->key));
	rng_fill(rng, r->plain, sizeof(r->plain));
	rng_fill(rng, r->ours, sizeof(r->ours));
	memset(r->nonce, 0, sizeof(r->nonce));
	for (size_t i = 0; i < 8; i++)
		r->nonce[4 + i] = (uint8_t)(counter >> (8 * i));
	r->ctx = wg_aead_key(r->c, r->key);
	r->evp = EVP_CIPHER_CTX_new();
	assert_non_null(r->ctx);
	assert_non_null(r->evp);
}

static void rig_stop(struct rig *r)
{
	EVP_CIPHER_CTX_free(r->ctx);
	EVP_CIPHER_CTX_free(r->evp);
}

/* What OpenSSL's AEAD and libsodium's make of it, which must be the same. */
static void seal_theirs(struct rig *r, size_t len)
{
	uint8_t other[BUFFER];
	int n;

	assert_true(EVP_EncryptInit_ex(r->evp, EVP_chacha20_poly1305(), NULL, r->key, r->nonce));
	assert_true(EVP_EncryptUpdate(r->evp, r->theirs, &n, r->plain, (int)len));
	assert_true(EVP_EncryptFinal_ex(r->evp, r->theirs + len, &n));
	assert_true(EVP_CIPHER_CTX_ctrl(r->evp, EVP_CTRL_AEAD_GET_TAG, WG_TAG, r->theirs + len));
	crypto_aead_chacha20poly1305_ietf_encrypt(other, NULL, r->plain, len, NULL, 0, NULL,
						  r->nonce, r->key);
	assert_memory_equal(r->theirs, other, len + WG_TAG);
}

static void check_length(struct rig *r, const struct rng *rng, size_t len, uint64_t counter)
{
	uint8_t *text = r->ours + WG_KEYSTREAM_BLOCK;
	uint8_t before[WG_SCRATCH], behind[64];

	rig_start(r, rng, counter);
	seal_theirs(r, len);
	memcpy(before, r->ours, sizeof(before));
	memcpy(behind, text + len + WG_TAG, sizeof(behind));
	memcpy(text, r->plain, len);
	assert_true(wg_aead_seal(r->c, r->ctx, counter, text, len));
	assert_memory_equal(text, r->theirs, len + WG_TAG);
	assert_memory_equal(r->ours, before, sizeof(before));
	assert_memory_equal(text + len + WG_TAG, behind, sizeof(behind));

	assert_true(wg_aead_open(r->c, r->ctx, counter, text, len));
	assert_memory_equal(text, r->plain, len);
	assert_memory_equal(text + len + WG_TAG, behind, sizeof(behind));
	rig_stop(r);
}

static void aead_equals_openssl_and_libsodium_for_every_length(void **state)
{
	struct rng_seeded seeded;
	struct rng rng = rng_from_seed(&seeded, 11);
	struct rig *r = calloc(1, sizeof(*r));

	(void)state;
	assert_non_null(r);
	r->c = wg_crypto_new();
	assert_non_null(r->c);
	for (size_t len = 0; len <= 2000; len++)
		check_length(r, &rng, len, rng_u64(&rng));
	check_length(r, &rng, 1280, 0);
	check_length(r, &rng, 1281, UINT64_MAX);
	wg_crypto_free(r->c);
	free(r);
}

static void forged_text_is_refused_and_left_as_it_was(void **state)
{
	static const size_t lengths[] = {0, 1, 16, 63, 64, 191, 192, 193, 256, 1280, 1281};
	struct rng_seeded seeded;
	struct rng rng = rng_from_seed(&seeded, 12);
	struct rig *r = calloc(1, sizeof(*r));

	(void)state;
	assert_non_null(r);
	r->c = wg_crypto_new();
	for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
		const size_t len = lengths[i];

		rig_start(r, &rng, 5);
		seal_theirs(r, len);
		for (size_t bit = 0; bit < 8 * (len + WG_TAG); bit += 1 + len / 8) {
			uint8_t *text = r->ours;

			memcpy(text, r->theirs, len + WG_TAG);
			text[bit / 8] ^= (uint8_t)(1 << bit % 8);
			memcpy(r->plain, text, len + WG_TAG);
			assert_false(wg_aead_open(r->c, r->ctx, 5, text, len));
			assert_memory_equal(text, r->plain, len + WG_TAG);
		}
		memcpy(r->ours, r->theirs, len + WG_TAG);
		assert_false(wg_aead_open(r->c, r->ctx, 6, r->ours, len));
		assert_true(wg_aead_open(r->c, r->ctx, 5, r->ours, len));
		rig_stop(r);
	}
	wg_crypto_free(r->c);
	free(r);
}

static void handshake_aead_binds_the_hash(void **state)
{
	const uint8_t key[WG_KEY_LEN] = {1};
	const uint8_t plain[WG_KEY_LEN] = {2};
	uint8_t aad[WG_HASH_LEN] = {3};
	uint8_t sealed[WG_KEY_LEN + WG_TAG], out[WG_KEY_LEN];

	(void)state;
	wg_crypto_seal_once(sealed, key, plain, sizeof(plain), aad);
	assert_true(wg_crypto_open_once(out, key, sealed, sizeof(sealed), aad));
	assert_memory_equal(out, plain, sizeof(plain));
	aad[31] ^= 1;
	assert_false(wg_crypto_open_once(out, key, sealed, sizeof(sealed), aad));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(primitives_match_the_vectors),
	    cmocka_unit_test(low_order_points_are_refused),
	    cmocka_unit_test(kdf_gives_the_same_first_outputs_for_any_count),
	    cmocka_unit_test(aead_equals_openssl_and_libsodium_for_every_length),
	    cmocka_unit_test(forged_text_is_refused_and_left_as_it_was),
	    cmocka_unit_test(handshake_aead_binds_the_hash),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
