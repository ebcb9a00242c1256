#include "wireguard/noise.h"

#include <sodium.h>
#include <string.h>

#include "packet/bytes.h"

static const char protocol_name[] = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
static const char protocol_identifier[] = "WireGuard v1 zx2c4 Jason@zx2c4.com";

void wg_noise_construct(struct wg_crypto *c, struct wg_noise_chain *chain)
{
	wg_crypto_hash(c, chain->key, protocol_name, sizeof(protocol_name) - 1, NULL, 0);
	wg_crypto_hash(c, chain->hash, chain->key, WG_HASH_LEN, protocol_identifier,
		       sizeof(protocol_identifier) - 1);
}

void wg_noise_mix_hash(struct wg_crypto *c, struct wg_noise_chain *chain, const uint8_t *data,
		       size_t len)
{
	wg_crypto_hash(c, chain->hash, chain->hash, WG_HASH_LEN, data, len);
}

void wg_noise_mix_key(struct wg_crypto *c, struct wg_noise_chain *chain,
		      const uint8_t input[WG_KEY_LEN], uint8_t *key)
{
	uint8_t out[2][WG_HASH_LEN];

	wg_crypto_kdf(c, out[0], key ? 2 : 1, chain->key, input, WG_KEY_LEN);
	memcpy(chain->key, out[0], WG_HASH_LEN);
	if (key)
		memcpy(key, out[1], WG_KEY_LEN);
	sodium_memzero(out, sizeof(out));
}

bool wg_noise_mix_dh(struct wg_crypto *c, struct wg_noise_chain *chain,
		     const uint8_t private_key[WG_KEY_LEN], const uint8_t public_key[WG_KEY_LEN],
		     uint8_t *key)
{
	uint8_t shared[WG_KEY_LEN];
	bool ok = wg_crypto_dh(shared, private_key, public_key);

	if (ok)
		wg_noise_mix_key(c, chain, shared, key);
	sodium_memzero(shared, sizeof(shared));
	return ok;
}

void wg_noise_mix_psk(struct wg_crypto *c, struct wg_noise_chain *chain,
		      const uint8_t psk[WG_KEY_LEN], uint8_t tau[WG_KEY_LEN],
		      uint8_t key[WG_KEY_LEN])
{
	uint8_t out[3][WG_HASH_LEN];

	wg_crypto_kdf(c, out[0], 3, chain->key, psk, WG_KEY_LEN);
	memcpy(chain->key, out[0], WG_HASH_LEN);
	memcpy(tau, out[1], WG_KEY_LEN);
	memcpy(key, out[2], WG_KEY_LEN);
	wg_noise_mix_hash(c, chain, tau, WG_KEY_LEN);
	sodium_memzero(out, sizeof(out));
}

void wg_noise_split(struct wg_crypto *c, const struct wg_noise_chain *chain,
		    struct wg_noise_session_keys *keys)
{
	uint8_t out[2][WG_HASH_LEN];

	wg_crypto_kdf(c, out[0], 2, chain->key, (const uint8_t *)"", 0);
	memcpy(keys->to_responder, out[0], WG_KEY_LEN);
	memcpy(keys->to_initiator, out[1], WG_KEY_LEN);
	sodium_memzero(out, sizeof(out));
}

/* Seals into the message and takes the sealed bytes into the hash. */
static void write_sealed(struct wg_crypto *c, struct writer *w, struct wg_noise_chain *chain,
			 const uint8_t key[WG_KEY_LEN], const uint8_t *plain, size_t len)
{
	uint8_t *out = wr_room(w, len + WG_TAG);

	BUG_ON(!out);
	wg_crypto_seal_once(out, key, plain, len, chain->hash);
	wg_noise_mix_hash(c, chain, out, len + WG_TAG);
}

/* A handshake key in the chain: public, so it is hashed and mixed as it is. */
static void mix_ephemeral(struct wg_crypto *c, struct wg_noise_chain *chain,
			  const uint8_t public_key[WG_KEY_LEN])
{
	wg_noise_mix_hash(c, chain, public_key, WG_KEY_LEN);
	wg_noise_mix_key(c, chain, public_key, NULL);
}

bool wg_noise_initiation_write(struct wg_crypto *c, const struct wg_noise_keys *keys,
			       uint32_t sender, const uint8_t timestamp[WG_TIMESTAMP_LEN],
			       struct wg_noise_chain *chain, uint8_t *msg)
{
	struct writer w = writer_of(msg, WG_INITIATION_BODY);
	uint8_t ephemeral[WG_KEY_LEN];
	uint8_t key[WG_KEY_LEN];
	bool ok;

	wg_crypto_begin(c);
	wg_crypto_public(ephemeral, keys->ephemeral);
	wr_le32(&w, WG_INITIATION);
	wr_le32(&w, sender);
	wr_bytes(&w, ephemeral, WG_KEY_LEN);

	wg_noise_construct(c, chain);
	wg_noise_mix_hash(c, chain, keys->remote, WG_KEY_LEN);
	mix_ephemeral(c, chain, ephemeral);
	ok = wg_noise_mix_dh(c, chain, keys->ephemeral, keys->remote, key);
	if (ok) {
		write_sealed(c, &w, chain, key, keys->public_key, WG_KEY_LEN);
		wg_noise_mix_key(c, chain, keys->static_static, key);
		write_sealed(c, &w, chain, key, timestamp, WG_TIMESTAMP_LEN);
		ok = wg_crypto_ok(c) && !w.bad && w.left == 0;
	}
	wg_crypto_forget(c);
	sodium_memzero(key, sizeof(key));
	return ok;
}

bool wg_noise_initiation_read(struct wg_crypto *c, const uint8_t private_key[WG_KEY_LEN],
			      const uint8_t public_key[WG_KEY_LEN], const uint8_t *msg,
			      struct wg_noise_reading *reading)
{
	struct reader r = reader_of(msg, WG_INITIATION_LEN);
	struct wg_noise_chain *chain = &reading->chain;
	const uint8_t *sealed_static;
	uint8_t key[WG_KEY_LEN];
	bool ok;

	rd_skip(&r, 4);
	reading->sender = rd_le32(&r);
	rd_copy(&r, reading->ephemeral, WG_KEY_LEN);
	sealed_static = rd_bytes(&r, WG_KEY_LEN + WG_TAG);
	rd_copy(&r, reading->sealed_timestamp, sizeof(reading->sealed_timestamp));
	if (r.bad)
		return false;

	wg_crypto_begin(c);
	wg_noise_construct(c, chain);
	wg_noise_mix_hash(c, chain, public_key, WG_KEY_LEN);
	mix_ephemeral(c, chain, reading->ephemeral);
	ok = wg_noise_mix_dh(c, chain, private_key, reading->ephemeral, key) && wg_crypto_ok(c) &&
	     wg_crypto_open_once(reading->remote, key, sealed_static, WG_KEY_LEN + WG_TAG,
				 chain->hash);
	if (ok)
		wg_noise_mix_hash(c, chain, sealed_static, WG_KEY_LEN + WG_TAG);
	wg_crypto_forget(c);
	sodium_memzero(key, sizeof(key));
	return ok && wg_crypto_ok(c);
}

bool wg_noise_initiation_verify(struct wg_crypto *c, struct wg_noise_reading *reading,
				const uint8_t static_static[WG_KEY_LEN])
{
	struct wg_noise_chain *chain = &reading->chain;
	const size_t sealed_len = sizeof(reading->sealed_timestamp);
	uint8_t key[WG_KEY_LEN];
	bool ok;

	wg_crypto_begin(c);
	wg_noise_mix_key(c, chain, static_static, key);
	ok = wg_crypto_ok(c) &&
	     wg_crypto_open_once(reading->timestamp, key, reading->sealed_timestamp, sealed_len,
				 chain->hash);
	if (ok)
		wg_noise_mix_hash(c, chain, reading->sealed_timestamp, sealed_len);
	wg_crypto_forget(c);
	sodium_memzero(key, sizeof(key));
	return ok && wg_crypto_ok(c);
}

bool wg_noise_response_write(struct wg_crypto *c, const struct wg_noise_keys *keys,
			     const struct wg_noise_reading *reading, uint32_t sender,
			     struct wg_noise_session_keys *out, uint8_t *msg)
{
	struct writer w = writer_of(msg, WG_RESPONSE_BODY);
	struct wg_noise_chain chain = reading->chain;
	uint8_t ephemeral[WG_KEY_LEN];
	uint8_t tau[WG_KEY_LEN];
	uint8_t key[WG_KEY_LEN];
	bool ok;

	wg_crypto_begin(c);
	wg_crypto_public(ephemeral, keys->ephemeral);
	wr_le32(&w, WG_RESPONSE);
	wr_le32(&w, sender);
	wr_le32(&w, reading->sender);
	wr_bytes(&w, ephemeral, WG_KEY_LEN);

	mix_ephemeral(c, &chain, ephemeral);
	ok = wg_noise_mix_dh(c, &chain, keys->ephemeral, reading->ephemeral, NULL) &&
	     wg_noise_mix_dh(c, &chain, keys->ephemeral, keys->remote, NULL);
	if (ok) {
		wg_noise_mix_psk(c, &chain, keys->psk, tau, key);
		write_sealed(c, &w, &chain, key, (const uint8_t *)"", 0);
		wg_noise_split(c, &chain, out);
		ok = wg_crypto_ok(c) && !w.bad && w.left == 0;
	}
	wg_crypto_forget(c);
	sodium_memzero(&chain, sizeof(chain));
	sodium_memzero(tau, sizeof(tau));
	sodium_memzero(key, sizeof(key));
	return ok;
}

bool wg_noise_response_read(struct wg_crypto *c, const struct wg_noise_keys *keys,
			    const struct wg_noise_chain *chain, const uint8_t *msg,
			    uint32_t *sender, struct wg_noise_session_keys *out)
{
	struct reader r = reader_of(msg, WG_RESPONSE_LEN);
	struct wg_noise_chain next = *chain;
	const uint8_t *ephemeral, *sealed;
	uint8_t tau[WG_KEY_LEN];
	uint8_t key[WG_KEY_LEN];
	uint8_t empty[1];
	bool ok;

	rd_skip(&r, 4);
	*sender = rd_le32(&r);
	rd_skip(&r, 4);
	ephemeral = rd_bytes(&r, WG_KEY_LEN);
	sealed = rd_bytes(&r, WG_TAG);
	if (r.bad)
		return false;

	wg_crypto_begin(c);
	mix_ephemeral(c, &next, ephemeral);
	ok = wg_noise_mix_dh(c, &next, keys->ephemeral, ephemeral, NULL) &&
	     wg_noise_mix_dh(c, &next, keys->private_key, ephemeral, NULL);
	if (ok) {
		wg_noise_mix_psk(c, &next, keys->psk, tau, key);
		ok = wg_crypto_ok(c) && wg_crypto_open_once(empty, key, sealed, WG_TAG, next.hash);
	}
	if (ok) {
		wg_noise_split(c, &next, out);
		ok = wg_crypto_ok(c);
	}
	wg_crypto_forget(c);
	sodium_memzero(&next, sizeof(next));
	sodium_memzero(tau, sizeof(tau));
	sodium_memzero(key, sizeof(key));
	return ok;
}
