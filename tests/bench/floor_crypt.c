#include "floor.h"

#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "packet/bytes.h"
#include "wireguard/aead.h"

struct floor_crypt {
	/* Fixed keys. */
	struct wg_crypto *crypto;
	EVP_CIPHER_CTX *seal, *open;
	uint64_t counter;
	/* A session; NULL with fixed keys. */
	struct wg *wg;
	struct wg_peer *peer;
	struct secret_arena *arena;
};

static bool fixed_new(struct floor_crypt *c, int side)
{
	uint8_t key[2][WG_KEY_LEN];

	memset(key[0], 1, WG_KEY_LEN);
	memset(key[1], 2, WG_KEY_LEN);
	c->crypto = wg_crypto_new();
	if (!c->crypto)
		return false;
	c->seal = wg_aead_key(c->crypto, key[side]);
	c->open = wg_aead_key(c->crypto, key[!side]);
	return c->seal && c->open;
}

static bool session_new(struct floor_crypt *c, const struct floor_keys *keys, uint64_t now_us)
{
	struct wg_config cfg = {.max_peers = 1, .private_key = keys->private_key};

	c->arena = secret_arena_new(16);
	if (!c->arena)
		return false;
	cfg.unix_us = now_us;
	cfg.rng = rng_system();
	cfg.arena = c->arena;
	c->wg = wg_new(&cfg, 0);
	if (!c->wg || wg_peer_add(c->wg, keys->peer, keys->preshared, NULL, 0, &c->peer) < 0)
		return false;
	wg_peer_set_path(c->peer, true, 0);
	return true;
}

struct floor_crypt *floor_crypt_new(const struct floor_keys *keys, int side, uint64_t now_us)
{
	struct floor_crypt *c = calloc(1, sizeof(*c));

	if (c && !(keys ? session_new(c, keys, now_us) : fixed_new(c, side))) {
		floor_crypt_free(c);
		c = NULL;
	}
	return c;
}

void floor_crypt_free(struct floor_crypt *c)
{
	if (!c)
		return;
	EVP_CIPHER_CTX_free(c->open);
	EVP_CIPHER_CTX_free(c->seal);
	wg_crypto_free(c->crypto);
	wg_free(c->wg);
	secret_arena_free(c->arena);
	free(c);
}

bool floor_may_seal(struct floor_crypt *c, uint64_t now_us)
{
	return !c->wg || wg_can_seal(c->peer, now_us);
}

bool floor_seal(struct floor_crypt *c, uint8_t *msg, size_t inner_len, uint64_t now_us)
{
	struct writer w = writer_of(msg, WG_DATA_HEADER);

	if (c->wg)
		return wg_seal(c->peer, msg, inner_len, now_us) > 0;
	if (!wg_aead_seal(c->crypto, c->seal, c->counter, msg + WG_DATA_HEADER, inner_len))
		return false;
	wr_le32(&w, WG_DATA);
	wr_le32(&w, 0);
	wr_le64(&w, c->counter++);
	return true;
}

static size_t session_open(struct floor_crypt *c, uint8_t *msg, size_t len, uint64_t now_us)
{
	const struct endpoint unknown = {.port = 0};
	struct wg_peer *peer;
	uint8_t *inner;
	size_t inner_len;

	if (wg_classify(msg, len) != WG_DATA) {
		(void)wg_handshake(c->wg, msg, len, &unknown, now_us);
		return 0;
	}
	return wg_open(c->wg, msg, len, now_us, &peer, &inner, &inner_len) == WG_OPEN_PACKET
		   ? inner_len
		   : 0;
}

size_t floor_open(struct floor_crypt *c, uint8_t *msg, size_t len, uint64_t now_us)
{
	struct reader r = reader_of(msg, len);
	uint64_t kind, counter;

	if (c->wg)
		return session_open(c, msg, len, now_us);
	kind = rd_le64(&r); /* with the receiver's index, which is 0 */
	counter = rd_le64(&r);
	if (kind != WG_DATA || len <= WG_OVERHEAD)
		return 0;
	len -= WG_OVERHEAD;
	return wg_aead_open(c->crypto, c->open, counter, msg + WG_DATA_HEADER, len) ? len : 0;
}

size_t floor_poll(struct floor_crypt *c, uint8_t out[FLOOR_OWN_MAX], uint64_t now_us)
{
	struct wg_event event;

	if (!c->wg)
		return 0;
	if (wg_peer_deadline(c->peer) <= now_us)
		wg_peer_timeout(c->peer, now_us);
	while (wg_peer_poll(c->peer, &event, now_us)) {
		if (event.kind == WG_EVENT_SEND && event.len <= FLOOR_OWN_MAX) {
			memcpy(out, event.data, event.len);
			return event.len;
		}
	}
	return 0;
}
