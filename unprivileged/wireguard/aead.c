#include "wireguard/aead.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <string.h>

#include "packet/bytes.h"

enum {
	IV_LEN = 16,
	POLY_KEY_LEN = 32,
};

static_assert(WG_SCRATCH + WG_DATA_HEADER == WG_KEYSTREAM_BLOCK,
	      "scratch and header hold the key-stream block");
static_assert(WG_SMALL_TEXT % WG_KEYSTREAM_BLOCK == 0 && WG_TEXT_MAX % WG_KEYSTREAM_BLOCK == 0,
	      "whole blocks fit");

EVP_CIPHER_CTX *wg_aead_key(const struct wg_crypto *c, const uint8_t key[WG_KEY_LEN])
{
	const uint8_t iv[IV_LEN] = {0};
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();

	if (ctx && !EVP_EncryptInit_ex2(ctx, c->chacha20, key, iv, NULL)) {
		EVP_CIPHER_CTX_free(ctx);
		return NULL;
	}
	return ctx;
}

static size_t whole_blocks(size_t len)
{
	return (len + WG_KEYSTREAM_BLOCK - 1) & ~(size_t)(WG_KEYSTREAM_BLOCK - 1);
}

/* ChaCha20's 16 bytes before the key stream: block number 0, then the nonce. */
static bool start_stream(EVP_CIPHER_CTX *ctx, uint64_t counter)
{
	uint8_t iv[IV_LEN];
	struct writer w = writer_of(iv, sizeof(iv));

	wr_le64(&w, 0);
	wr_le64(&w, counter);
	return EVP_EncryptInit_ex2(ctx, NULL, NULL, iv, NULL);
}

static bool run_stream(EVP_CIPHER_CTX *ctx, uint8_t *bytes, size_t len)
{
	int done;

	return EVP_EncryptUpdate(ctx, bytes, &done, bytes, (int)len);
}

/*
 * Poly1305 of a text: over it, its padding and the block of lengths, which are written behind it
 * so that the input is one run.
 */
static bool compute_tag(struct wg_crypto *c, const uint8_t key[POLY_KEY_LEN], uint8_t *text,
			size_t len, uint8_t tag[WG_TAG])
{
	const size_t padding = -len % WG_TAG;
	uint8_t lengths[WG_TAG];
	struct writer w = writer_of(lengths, sizeof(lengths));
	size_t tag_len;

	wr_le64(&w, 0);
	wr_le64(&w, len);
	memset(text + len, 0, padding);
	memcpy(text + len + padding, lengths, sizeof(lengths));
	return EVP_MAC_init(c->poly1305, key, POLY_KEY_LEN, NULL) &&
	       EVP_MAC_update(c->poly1305, text, len + padding + WG_TAG) &&
	       EVP_MAC_final(c->poly1305, tag, &tag_len, WG_TAG);
}

bool wg_aead_seal(struct wg_crypto *c, EVP_CIPHER_CTX *ctx, uint64_t counter, uint8_t *text,
		  size_t len)
{
	const bool in_place = len % WG_KEYSTREAM_BLOCK == 0;
	uint8_t *row = in_place ? text - WG_KEYSTREAM_BLOCK : c->work;
	uint8_t *row_text = row + WG_KEYSTREAM_BLOCK;
	bool ok;

	if (len > WG_TEXT_MAX)
		return false;
	if (in_place)
		memcpy(c->saved, row, WG_SCRATCH);
	else
		memcpy(row_text, text, len);
	memset(row, 0, WG_KEYSTREAM_BLOCK);
	ok = start_stream(ctx, counter) &&
	     run_stream(ctx, row, WG_KEYSTREAM_BLOCK + whole_blocks(len)) &&
	     compute_tag(c, row, row_text, len, text + len);
	if (in_place)
		memcpy(row, c->saved, WG_SCRATCH);
	else
		memcpy(text, row_text, len);
	if (!ok)
		memset(text, 0, len);
	return ok;
}

static void apply_stream(uint8_t *restrict text, const uint8_t *restrict stream, size_t len)
{
	for (size_t i = 0; i < len; i++)
		text[i] ^= stream[i];
}

/* The whole key stream in one call, then the tag, then the text: for texts so short that the call
 * counts. */
static bool open_small(struct wg_crypto *c, EVP_CIPHER_CTX *ctx, uint64_t counter, uint8_t *text,
		       size_t len)
{
	const size_t stream_len = WG_KEYSTREAM_BLOCK + whole_blocks(len);

	memset(c->work, 0, stream_len);
	memcpy(c->small, text, len);
	if (!start_stream(ctx, counter) || !run_stream(ctx, c->work, stream_len) ||
	    !compute_tag(c, c->work, c->small, len, c->tag) ||
	    CRYPTO_memcmp(c->tag, text + len, WG_TAG) != 0)
		return false;
	apply_stream(text, c->work + WG_KEYSTREAM_BLOCK, len);
	return true;
}

bool wg_aead_open(struct wg_crypto *c, EVP_CIPHER_CTX *ctx, uint64_t counter, uint8_t *text,
		  size_t len)
{
	const bool in_place = len % WG_KEYSTREAM_BLOCK == 0;
	uint8_t *row_text = in_place ? text : c->work + WG_KEYSTREAM_BLOCK;
	uint8_t *tag = text + len;

	if (len <= WG_SMALL_TEXT)
		return open_small(c, ctx, counter, text, len);
	if (len > WG_TEXT_MAX)
		return false;
	memset(c->work, 0, WG_KEYSTREAM_BLOCK);
	memcpy(c->saved, tag, WG_TAG);
	if (!in_place)
		memcpy(row_text, text, len);
	if (!start_stream(ctx, counter) || !run_stream(ctx, c->work, WG_KEYSTREAM_BLOCK) ||
	    !compute_tag(c, c->work, row_text, len, c->tag) ||
	    CRYPTO_memcmp(c->tag, c->saved, WG_TAG) != 0) {
		memcpy(tag, c->saved, WG_TAG);
		return false;
	}
	if (!run_stream(ctx, row_text, whole_blocks(len)))
		return false;
	if (!in_place)
		memcpy(text, row_text, len);
	return true;
}
