/*
 * The data messages' AEAD: ChaCha20-Poly1305 with empty additional data, composed from EVP's
 * ChaCha20 and Poly1305 so that a message costs one key-stream pass. [RFC 8439 2.8; performance B]
 *
 * Sealing runs the stream once over a block of zeros, whose output keys Poly1305, and the text
 * behind it. Opening takes the key-stream first, verifies, and only then touches the text. A text
 * that is no multiple of the stream's block goes through the context's work space: the copy costs
 * less than the separate call that the library makes for a partial block.
 *
 * No allocation. Lengths are below WG_TEXT_MAX.
 */
#ifndef WIREGUARD_AEAD_H
#define WIREGUARD_AEAD_H

#include "base/defs.h"
#include "wireguard/crypto.h"

/* A cipher context keyed for one direction of a session; NULL without memory. Freed by the
 * library's own call. */
MUST_CHECK EVP_CIPHER_CTX *wg_aead_key(const struct wg_crypto *c, const uint8_t key[WG_KEY_LEN]);

/*
 * Seal @len bytes at @text in place, with the tag behind them. The WG_KEYSTREAM_BLOCK bytes before
 * @text are used; the first WG_SCRATCH of them are put back. False for a library failure: the text
 * is then zeroed.
 */
MUST_CHECK bool wg_aead_seal(struct wg_crypto *c, EVP_CIPHER_CTX *ctx, uint64_t counter,
			     uint8_t *text, size_t len);

/* Open @len bytes at @text in place; the tag is behind them. False, with all bytes as they were,
 * when forged. */
MUST_CHECK bool wg_aead_open(struct wg_crypto *c, EVP_CIPHER_CTX *ctx, uint64_t counter,
			     uint8_t *text, size_t len);

#endif
