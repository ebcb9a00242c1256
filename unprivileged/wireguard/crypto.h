/*
 * WireGuard's primitives, with every algorithm fetched and every shared context made at start:
 * BLAKE2s, its HMAC key derivation, X25519 and the handshake's AEADs.
 * [WireGuard paper 5.4; RFC 5869, 7693, 7748, 8439]
 *
 * A context goes bad when the library fails (no memory) and stays bad until wg_crypto_begin(), so
 * one test of wg_crypto_ok() at the end of a chain is enough. Not for the packet path but for the
 * fetched algorithms, which sessions use.
 */
#ifndef WIREGUARD_CRYPTO_H
#define WIREGUARD_CRYPTO_H

#include <openssl/evp.h>

#include "base/defs.h"
#include "wireguard/wg.h"

enum {
	WG_HASH_LEN = 32,
	WG_MAC_LEN = 16,
	WG_MACS_LEN = 32, /* MAC1 and MAC2, the end of a handshake message */
	WG_XNONCE_LEN = 24,
	WG_KEYSTREAM_BLOCK = 64,
	WG_TEXT_MAX = 65536, /* no datagram holds more */
	WG_SMALL_TEXT = 192,
};

struct wg_crypto {
	EVP_CIPHER *chacha20;
	EVP_MD *blake2s;
	EVP_MD_CTX *digest;
	EVP_MAC_CTX *hmac;     /* HMAC-BLAKE2s-256 */
	EVP_MAC_CTX *keyed;    /* BLAKE2s with a key, 16 bytes out */
	EVP_MAC_CTX *poly1305; /* keyed anew for each data message */
	bool bad;

	/* The packet path's work space: nothing in it counts between two calls. */
	uint8_t saved[WG_SCRATCH];
	uint8_t tag[WG_TAG];
	uint8_t small[WG_SMALL_TEXT + WG_TAG];
	uint8_t work[WG_KEYSTREAM_BLOCK + WG_TEXT_MAX + WG_TAG];
};

/* NULL without memory or when the library lacks an algorithm. */
struct wg_crypto *wg_crypto_new(void);
void wg_crypto_free(struct wg_crypto *c);

void wg_crypto_begin(struct wg_crypto *c);
bool wg_crypto_ok(const struct wg_crypto *c);

/* Overwrite the key that the HMAC context still holds: called when a handshake message is done. */
void wg_crypto_forget(struct wg_crypto *c);

/* BLAKE2s-256 over @a then @b. @out may be @a. */
void wg_crypto_hash(struct wg_crypto *c, uint8_t out[WG_HASH_LEN], const void *a, size_t a_len,
		    const void *b, size_t b_len);

/* BLAKE2s-128 with a key of 16 or 32 bytes. */
void wg_crypto_mac(struct wg_crypto *c, uint8_t out[WG_MAC_LEN], const uint8_t *key, size_t key_len,
		   const uint8_t *data, size_t len);

/* HMAC-BLAKE2s with a key of 32 bytes. */
void wg_crypto_hmac(struct wg_crypto *c, uint8_t out[WG_HASH_LEN], const uint8_t key[WG_KEY_LEN],
		    const uint8_t *data, size_t len);

/* HKDF with empty info: @n (1..3) times 32 bytes to @out. @key and @out may overlap. */
void wg_crypto_kdf(struct wg_crypto *c, uint8_t *out, size_t n, const uint8_t key[WG_KEY_LEN],
		   const uint8_t *input, size_t len);

/* False, with @out zeroed, for a point of low order. */
MUST_CHECK bool wg_crypto_dh(uint8_t out[WG_KEY_LEN], const uint8_t private_key[WG_KEY_LEN],
			     const uint8_t public_key[WG_KEY_LEN]);
void wg_crypto_public(uint8_t out[WG_KEY_LEN], const uint8_t private_key[WG_KEY_LEN]);

/* ChaCha20-Poly1305 with nonce 0: handshake keys are used once. @out has @len + WG_TAG bytes. */
void wg_crypto_seal_once(uint8_t *out, const uint8_t key[WG_KEY_LEN], const uint8_t *plain,
			 size_t len, const uint8_t aad[WG_HASH_LEN]);
/* @len counts the tag; @out has @len - WG_TAG bytes, untouched when forged. */
MUST_CHECK bool wg_crypto_open_once(uint8_t *out, const uint8_t key[WG_KEY_LEN],
				    const uint8_t *sealed, size_t len,
				    const uint8_t aad[WG_HASH_LEN]);

#endif
