/*
 * The computation of a Noise_IKpsk2 handshake, without state of its own: each function takes the
 * chain so far and gives the next one. [WireGuard paper 5.4.1 - 5.4.5]
 *
 * MACs are not part of it (cookie.h). Chains and ephemeral private keys are secret: whoever holds
 * one wipes it.
 */
#ifndef WIREGUARD_NOISE_H
#define WIREGUARD_NOISE_H

#include "base/defs.h"
#include "wireguard/crypto.h"
#include "wireguard/wg.h"

enum {
	WG_TIMESTAMP_LEN = 12,
	/* The part of each message before MAC1. */
	WG_INITIATION_BODY = WG_INITIATION_LEN - WG_MACS_LEN,
	WG_RESPONSE_BODY = WG_RESPONSE_LEN - WG_MACS_LEN,
};

struct wg_noise_chain {
	uint8_t key[WG_HASH_LEN];
	uint8_t hash[WG_HASH_LEN];
};

/* A data session's two keys. */
struct wg_noise_session_keys {
	uint8_t to_responder[WG_KEY_LEN];
	uint8_t to_initiator[WG_KEY_LEN];
};

/* The steps, in the order in which the messages below use them. */

/* Protocol name and identifier, before any key. */
void wg_noise_construct(struct wg_crypto *c, struct wg_noise_chain *chain);
void wg_noise_mix_hash(struct wg_crypto *c, struct wg_noise_chain *chain, const uint8_t *data,
		       size_t len);
/* Advances the chaining key; @key takes the second output, if given. */
void wg_noise_mix_key(struct wg_crypto *c, struct wg_noise_chain *chain,
		      const uint8_t input[WG_KEY_LEN], uint8_t *key);
/* The same with a Diffie-Hellman result; false for a point of low order. */
MUST_CHECK bool wg_noise_mix_dh(struct wg_crypto *c, struct wg_noise_chain *chain,
				const uint8_t private_key[WG_KEY_LEN],
				const uint8_t public_key[WG_KEY_LEN], uint8_t *key);
/* @tau is the hashed output, @key the one that seals. */
void wg_noise_mix_psk(struct wg_crypto *c, struct wg_noise_chain *chain,
		      const uint8_t psk[WG_KEY_LEN], uint8_t tau[WG_KEY_LEN],
		      uint8_t key[WG_KEY_LEN]);
void wg_noise_split(struct wg_crypto *c, const struct wg_noise_chain *chain,
		    struct wg_noise_session_keys *keys);

/* The sides of a handshake as one of them knows them; borrowed for the call. */
struct wg_noise_keys {
	const uint8_t *private_key;   /* ours */
	const uint8_t *public_key;    /* ours */
	const uint8_t *remote;        /* the peer's static public key */
	const uint8_t *static_static; /* DH of both static keys */
	const uint8_t *psk;
	const uint8_t *ephemeral; /* our private one for this handshake */
};

/*
 * Write the first WG_INITIATION_BODY bytes of an initiation. *chain is what the response continues.
 * False for a library failure or a remote key of low order.
 */
MUST_CHECK bool wg_noise_initiation_write(struct wg_crypto *c, const struct wg_noise_keys *keys,
					  uint32_t sender,
					  const uint8_t timestamp[WG_TIMESTAMP_LEN],
					  struct wg_noise_chain *chain, uint8_t *msg);

/* An initiation as far as it was read. */
struct wg_noise_reading {
	struct wg_noise_chain chain;
	uint32_t sender;
	uint8_t ephemeral[WG_KEY_LEN];       /* the peer's, public */
	uint8_t remote[WG_KEY_LEN];          /* the peer's static public key */
	uint8_t timestamp[WG_TIMESTAMP_LEN]; /* TAI64N, after the second step */
	uint8_t sealed_timestamp[WG_TIMESTAMP_LEN + WG_TAG];
};

/*
 * First step, one DH: who sent it. @msg has WG_INITIATION_LEN bytes. Second step: the proof, with
 * the DH of both static keys. *reading is the caller's to wipe in every case.
 */
MUST_CHECK bool wg_noise_initiation_read(struct wg_crypto *c, const uint8_t private_key[WG_KEY_LEN],
					 const uint8_t public_key[WG_KEY_LEN], const uint8_t *msg,
					 struct wg_noise_reading *reading);
MUST_CHECK bool wg_noise_initiation_verify(struct wg_crypto *c, struct wg_noise_reading *reading,
					   const uint8_t static_static[WG_KEY_LEN]);

/* Write the first WG_RESPONSE_BODY bytes of the response to @reading; @out takes the session's
 * keys. */
MUST_CHECK bool wg_noise_response_write(struct wg_crypto *c, const struct wg_noise_keys *keys,
					const struct wg_noise_reading *reading, uint32_t sender,
					struct wg_noise_session_keys *out, uint8_t *msg);

/* @chain: from wg_noise_initiation_write(). @msg has WG_RESPONSE_LEN bytes. *sender: the peer's
 * index. */
MUST_CHECK bool wg_noise_response_read(struct wg_crypto *c, const struct wg_noise_keys *keys,
				       const struct wg_noise_chain *chain, const uint8_t *msg,
				       uint32_t *sender, struct wg_noise_session_keys *out);

#endif
