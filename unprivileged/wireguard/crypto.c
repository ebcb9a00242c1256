#include "wireguard/crypto.h"

#include <openssl/core_names.h>
#include <openssl/params.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t zero_key[WG_KEY_LEN];
static const uint8_t zero_nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];

/* A context for a MAC algorithm with one parameter set for good; NULL on failure. */
static EVP_MAC_CTX *mac_context(const char *name, const OSSL_PARAM *params)
{
	EVP_MAC *mac = EVP_MAC_fetch(NULL, name, NULL);
	EVP_MAC_CTX *ctx = mac ? EVP_MAC_CTX_new(mac) : NULL;

	EVP_MAC_free(mac);
	if (ctx && params && !EVP_MAC_CTX_set_params(ctx, params)) {
		EVP_MAC_CTX_free(ctx);
		return NULL;
	}
	return ctx;
}

struct wg_crypto *wg_crypto_new(void)
{
	struct wg_crypto *c = calloc(1, sizeof(*c));
	char digest[] = "BLAKE2S-256";
	size_t mac_len = WG_MAC_LEN;
	const OSSL_PARAM hmac_params[] = {
	    OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
	    OSSL_PARAM_construct_end(),
	};
	const OSSL_PARAM keyed_params[] = {
	    OSSL_PARAM_construct_size_t(OSSL_MAC_PARAM_SIZE, &mac_len),
	    OSSL_PARAM_construct_end(),
	};

	if (!c)
		return NULL;
	c->chacha20 = EVP_CIPHER_fetch(NULL, "ChaCha20", NULL);
	c->blake2s = EVP_MD_fetch(NULL, digest, NULL);
	c->digest = EVP_MD_CTX_new();
	c->hmac = mac_context("HMAC", hmac_params);
	c->keyed = mac_context("BLAKE2SMAC", keyed_params);
	c->poly1305 = mac_context("POLY1305", NULL);
	if (!c->chacha20 || !c->blake2s || !c->digest || !c->hmac || !c->keyed || !c->poly1305) {
		wg_crypto_free(c);
		return NULL;
	}
	return c;
}

void wg_crypto_free(struct wg_crypto *c)
{
	if (!c)
		return;
	EVP_MAC_CTX_free(c->poly1305);
	EVP_MAC_CTX_free(c->keyed);
	EVP_MAC_CTX_free(c->hmac);
	EVP_MD_CTX_free(c->digest);
	EVP_MD_free(c->blake2s);
	EVP_CIPHER_free(c->chacha20);
	sodium_memzero(c, sizeof(*c));
	free(c);
}

void wg_crypto_begin(struct wg_crypto *c)
{
	c->bad = false;
}

bool wg_crypto_ok(const struct wg_crypto *c)
{
	return !c->bad;
}

void wg_crypto_forget(struct wg_crypto *c)
{
	if (!EVP_MAC_init(c->hmac, zero_key, sizeof(zero_key), NULL))
		c->bad = true;
}

void wg_crypto_hash(struct wg_crypto *c, uint8_t out[WG_HASH_LEN], const void *a, size_t a_len,
		    const void *b, size_t b_len)
{
	if (!EVP_DigestInit_ex2(c->digest, c->blake2s, NULL) ||
	    !EVP_DigestUpdate(c->digest, a, a_len) || !EVP_DigestUpdate(c->digest, b, b_len) ||
	    !EVP_DigestFinal_ex(c->digest, out, NULL))
		c->bad = true;
}

static void run_mac(struct wg_crypto *c, EVP_MAC_CTX *ctx, uint8_t *out, size_t out_len,
		    const uint8_t *key, size_t key_len, const uint8_t *data, size_t len)
{
	size_t written = 0;

	if (!EVP_MAC_init(ctx, key, key_len, NULL) || !EVP_MAC_update(ctx, data, len) ||
	    !EVP_MAC_final(ctx, out, &written, out_len) || written != out_len)
		c->bad = true;
}

void wg_crypto_mac(struct wg_crypto *c, uint8_t out[WG_MAC_LEN], const uint8_t *key, size_t key_len,
		   const uint8_t *data, size_t len)
{
	run_mac(c, c->keyed, out, WG_MAC_LEN, key, key_len, data, len);
}

void wg_crypto_hmac(struct wg_crypto *c, uint8_t out[WG_HASH_LEN], const uint8_t key[WG_KEY_LEN],
		    const uint8_t *data, size_t len)
{
	run_mac(c, c->hmac, out, WG_HASH_LEN, key, WG_KEY_LEN, data, len);
}

void wg_crypto_kdf(struct wg_crypto *c, uint8_t *out, size_t n, const uint8_t key[WG_KEY_LEN],
		   const uint8_t *input, size_t len)
{
	uint8_t secret[WG_HASH_LEN];
	uint8_t block[WG_HASH_LEN + 1];
	size_t block_len = 0;

	wg_crypto_hmac(c, secret, key, input, len);
	for (size_t i = 0; i < n; i++) {
		block[block_len] = (uint8_t)(i + 1);
		wg_crypto_hmac(c, block, secret, block, block_len + 1);
		memcpy(out + i * WG_HASH_LEN, block, WG_HASH_LEN);
		block_len = WG_HASH_LEN;
	}
	sodium_memzero(secret, sizeof(secret));
	sodium_memzero(block, sizeof(block));
}

bool wg_crypto_dh(uint8_t out[WG_KEY_LEN], const uint8_t private_key[WG_KEY_LEN],
		  const uint8_t public_key[WG_KEY_LEN])
{
	if (crypto_scalarmult(out, private_key, public_key) == 0)
		return true;
	sodium_memzero(out, WG_KEY_LEN);
	return false;
}

void wg_crypto_public(uint8_t out[WG_KEY_LEN], const uint8_t private_key[WG_KEY_LEN])
{
	crypto_scalarmult_base(out, private_key);
}

void wg_crypto_seal_once(uint8_t *out, const uint8_t key[WG_KEY_LEN], const uint8_t *plain,
			 size_t len, const uint8_t aad[WG_HASH_LEN])
{
	crypto_aead_chacha20poly1305_ietf_encrypt(out, NULL, plain, len, aad, WG_HASH_LEN, NULL,
						  zero_nonce, key);
}

bool wg_crypto_open_once(uint8_t *out, const uint8_t key[WG_KEY_LEN], const uint8_t *sealed,
			 size_t len, const uint8_t aad[WG_HASH_LEN])
{
	return crypto_aead_chacha20poly1305_ietf_decrypt(out, NULL, NULL, sealed, len, aad,
							 WG_HASH_LEN, zero_nonce, key) == 0;
}
