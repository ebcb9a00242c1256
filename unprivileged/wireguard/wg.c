#include "wireguard/wg.h"

#include <assert.h>
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "packet/bytes.h"
#include "wireguard/peer.h"

#define TAI_OFFSET \
	((UINT64_C(1) << 62) + 37) /* of 1970, with the leap seconds as TAI64N has them */

enum {
	NS_PER_US = 1000,
	SLOT_MASK = (1 << WG_SLOT_BITS) - 1,
	INDEX_MASK = (1 << WG_INDEX_BITS) - 1,
};

static_assert(WG_MAX_PEERS == 1 << WG_SLOT_BITS, "a slot fits its bits");
static_assert((WG_SESSIONS & (WG_SESSIONS - 1)) == 0, "slots are masked");
static_assert(sizeof(((struct wg_secret *)0)->bucket_key) == crypto_shorthash_KEYBYTES,
	      "key of the peer hash");

static bool make_tables(struct wg *wg, uint32_t max_peers)
{
	uint32_t buckets = 1;

	if (max_peers == 0 || max_peers > WG_MAX_PEERS)
		return false;
	while (buckets < max_peers)
		buckets *= 2;
	wg->max_peers = max_peers;
	wg->free_count = max_peers;
	wg->bucket_mask = buckets - 1;
	wg->slots = calloc(max_peers, sizeof(*wg->slots));
	wg->free_slots = calloc(max_peers, sizeof(*wg->free_slots));
	wg->buckets = calloc(buckets, sizeof(*wg->buckets));
	if (!wg->slots || !wg->free_slots || !wg->buckets)
		return false;
	for (uint32_t i = 0; i < max_peers; i++)
		wg->free_slots[i] = (uint16_t)i;
	return true;
}

static bool make_keys(struct wg *wg, const struct wg_config *cfg)
{
	wg->secret = secret_get(wg->arena);
	wg->work = secret_get(wg->arena);
	if (!wg->secret || !wg->work)
		return false;
	if (cfg->private_key)
		memcpy(wg->secret->private_key, cfg->private_key, WG_KEY_LEN);
	else
		rng_fill(&wg->rng, wg->secret->private_key, WG_KEY_LEN);
	wg_crypto_public(wg->public_key, wg->secret->private_key);
	rng_fill(&wg->rng, wg->secret->bucket_key, sizeof(wg->secret->bucket_key));
	wg->index_mask = rng_u32(&wg->rng) & INDEX_MASK;
	return true;
}

struct wg *wg_new(const struct wg_config *cfg, uint64_t now_us)
{
	struct wg *wg = calloc(1, sizeof(*wg));

	if (!wg)
		return NULL;
	wg->rng = cfg->rng;
	wg->arena = cfg->arena;
	wg->log = cfg->log;
	wg->start_us = now_us;
	wg->unix_us = cfg->unix_us;
	wg->crypto = wg_crypto_new();
	if (!wg->crypto || !make_tables(wg, cfg->max_peers) || !make_keys(wg, cfg) ||
	    !wg_gate_init(&wg->gate, wg->crypto, &wg->secret->gate, wg->public_key, &wg->rng,
			  now_us)) {
		wg_free(wg);
		return NULL;
	}
	return wg;
}

void wg_free(struct wg *wg)
{
	if (!wg)
		return;
	for (uint32_t i = 0; wg->slots && i < wg->max_peers; i++)
		wg_peer_free(wg->slots[i].peer);
	secret_put(wg->arena, wg->work);
	secret_put(wg->arena, wg->secret);
	free(wg->buckets);
	free(wg->free_slots);
	free(wg->slots);
	wg_crypto_free(wg->crypto);
	free(wg);
}

const uint8_t *wg_public_key(const struct wg *wg)
{
	return wg->public_key;
}

void wg_counters(const struct wg *wg, struct wg_counters *out)
{
	*out = wg->counters;
}

void wg_timestamp(struct wg *wg, uint64_t now_us, uint8_t out[WG_TIMESTAMP_LEN])
{
	struct writer w = writer_of(out, WG_TIMESTAMP_LEN);
	uint64_t us = wg->unix_us + (now_us - wg->start_us);

	if (us <= wg->last_stamp_us)
		us = wg->last_stamp_us + 1;
	wg->last_stamp_us = us;
	wr_u64(&w, TAI_OFFSET + us / US_PER_S);
	wr_u32(&w, (uint32_t)(us % US_PER_S) * NS_PER_US);
}

static struct wg_peer **bucket_of(const struct wg *wg, const uint8_t public_key[WG_KEY_LEN])
{
	uint8_t hash[crypto_shorthash_BYTES];
	struct reader r = reader_of(hash, sizeof(hash));

	crypto_shorthash(hash, public_key, WG_KEY_LEN, wg->secret->bucket_key);
	return &wg->buckets[rd_le64(&r) & wg->bucket_mask].first;
}

struct wg_peer *wg_peer_by_key(const struct wg *wg, const uint8_t public_key[WG_KEY_LEN])
{
	struct wg_peer *peer = *bucket_of(wg, public_key);

	while (peer && memcmp(peer->public_key, public_key, WG_KEY_LEN) != 0)
		peer = peer->hash_next;
	return peer;
}

/*
 * A connection index is (random bits | slot) under a random mask, so that it is found by
 * arithmetic and tells nothing; the random bits differ from those of the slot's last peer.
 */
static uint32_t draw_index(const struct wg *wg, uint32_t slot)
{
	const uint32_t old = wg->slots[slot].index;
	uint32_t index;

	do {
		index = (rng_u32(&wg->rng) & INDEX_MASK & ~(uint32_t)SLOT_MASK) | slot;
		index ^= wg->index_mask;
	} while (index == old);
	return index;
}

static void take_slot(struct wg *wg, struct wg_peer *peer)
{
	uint32_t pick = (uint32_t)rng_below(&wg->rng, wg->free_count);
	uint16_t slot = wg->free_slots[pick];

	wg->free_slots[pick] = wg->free_slots[--wg->free_count];
	peer->index = draw_index(wg, slot);
	wg->slots[slot] = (struct wg_slot){.peer = peer, .index = peer->index};
}

static uint32_t slot_of(const struct wg *wg, uint32_t index24)
{
	return (index24 ^ wg->index_mask) & SLOT_MASK;
}

struct wg_peer *wg_peer_by_index(const struct wg *wg, uint32_t index24)
{
	const uint32_t slot = slot_of(wg, index24);

	if (slot >= wg->max_peers || wg->slots[slot].index != index24)
		return NULL;
	return wg->slots[slot].peer;
}

struct wg_session *wg_session_by_index(const struct wg *wg, uint32_t index, struct wg_peer **peer)
{
	struct wg_session *session;

	*peer = wg_peer_by_index(wg, index >> WG_SESSION_BITS);
	if (!*peer)
		return NULL;
	session = (*peer)->sessions[index & (WG_SESSIONS - 1)];
	return session && session->local_index == index ? session : NULL;
}

static void start_peer(struct wg_peer *peer, uint64_t now_us)
{
	peer->keepalive_us = NEVER_US;
	peer->unanswered_us = NEVER_US;
	peer->handshake_us = NEVER_US;
	peer->attempt_us = NEVER_US;
	peer->forget_us = NEVER_US;
	peer->established_us = now_us;
	peer->jitter_us = rng_below(&peer->wg->rng, WG_JITTER_US + 1);
}

int wg_peer_add(struct wg *wg, const uint8_t public_key[WG_KEY_LEN], const uint8_t psk[WG_KEY_LEN],
		void *owner, uint64_t now_us, struct wg_peer **out)
{
	return wg_peer_replace(wg, NULL, public_key, psk, owner, now_us, out);
}

int wg_peer_replace(struct wg *wg, const struct wg_peer *old, const uint8_t public_key[WG_KEY_LEN],
		    const uint8_t psk[WG_KEY_LEN], void *owner, uint64_t now_us,
		    struct wg_peer **out)
{
	struct wg_peer **bucket = bucket_of(wg, public_key);
	struct wg_peer_secret *secret = NULL;
	struct wg_peer *peer = wg_peer_by_key(wg, public_key);
	int rc;

	if ((peer && peer != old) || memcmp(public_key, wg->public_key, WG_KEY_LEN) == 0)
		return -EEXIST;
	if (wg->free_count == 0)
		return -ENOSPC;
	secret = secret_get(wg->arena);
	if (!secret)
		return -ENOSPC;
	rc = -EINVAL;
	if (!wg_crypto_dh(secret->static_static, wg->secret->private_key, public_key))
		goto put_secret;
	rc = -ENOMEM;
	peer = calloc(1, sizeof(*peer));
	if (!peer)
		goto put_secret;

	memcpy(secret->psk, psk, WG_KEY_LEN);
	memcpy(peer->public_key, public_key, WG_KEY_LEN);
	peer->wg = wg;
	peer->secret = secret;
	peer->owner = owner;
	start_peer(peer, now_us);
	take_slot(wg, peer);
	peer->hash_next = *bucket;
	*bucket = peer;
	*out = peer;
	return 0;

put_secret:
	secret_put(wg->arena, secret);
	return rc;
}

void wg_peer_free(struct wg_peer *peer)
{
	struct wg_peer **link;
	struct wg *wg;
	uint32_t slot;

	if (!peer)
		return;
	wg = peer->wg;
	link = bucket_of(wg, peer->public_key);
	while (*link != peer)
		link = &(*link)->hash_next;
	*link = peer->hash_next;
	slot = slot_of(wg, peer->index);
	wg->slots[slot].peer = NULL;
	wg->free_slots[wg->free_count++] = (uint16_t)slot;

	for (size_t i = 0; i < WG_SESSIONS; i++)
		wg_session_free(peer->sessions[i]);
	wg_messages_free(peer);
	secret_put(wg->arena, peer->secret);
	free(peer);
}

void *wg_peer_owner(const struct wg_peer *peer)
{
	return peer->owner;
}

uint32_t wg_peer_index(const struct wg_peer *peer)
{
	return peer->index;
}

enum wg_msg_type wg_classify(const uint8_t *buf, size_t len)
{
	struct reader r = reader_of(buf, len);
	const uint32_t type = rd_le32(&r); /* with the three reserved bytes, which are zero */

	if (type == WG_DATA && len >= WG_OVERHEAD)
		return WG_DATA;
	if (type == WG_INITIATION && len == WG_INITIATION_LEN)
		return WG_INITIATION;
	if (type == WG_RESPONSE && len == WG_RESPONSE_LEN)
		return WG_RESPONSE;
	if (type == WG_COOKIE_REPLY && len == WG_COOKIE_REPLY_LEN)
		return WG_COOKIE_REPLY;
	return WG_NOT_WIREGUARD;
}

bool wg_poll(struct wg *wg, struct endpoint *dst, const uint8_t **data, size_t *len)
{
	if (!wg->reply_ready)
		return false;
	wg->reply_ready = false;
	*dst = wg->reply_to;
	*data = wg->reply;
	*len = sizeof(wg->reply);
	return true;
}

enum wg_open_result wg_open(struct wg *wg, uint8_t *msg, size_t len, uint64_t now_us,
			    struct wg_peer **peer, uint8_t **inner, size_t *inner_len)
{
	struct reader r = reader_of(msg, len);
	struct wg_session *session;
	uint64_t counter;

	if (rd_le32(&r) != WG_DATA || len < WG_OVERHEAD)
		goto refuse;
	session = wg_session_by_index(wg, rd_le32(&r), peer);
	counter = rd_le64(&r);
	if (!session)
		wg->counters.unknown_index++;
	if (!session || now_us > session->expires_us || counter >= WG_REJECT_AFTER_MESSAGES ||
	    !wg_replay_may(&session->replay, counter) ||
	    !wg_session_open(wg->crypto, session, msg, len, counter))
		goto refuse;
	wg_replay_mark(&session->replay, counter);
	wg->counters.opened++;
	*inner = msg + WG_DATA_HEADER;
	*inner_len = len - WG_OVERHEAD;
	wg_note_received(*peer, session, *inner_len, now_us);
	return *inner_len > 0 ? WG_OPEN_PACKET : WG_OPEN_KEEPALIVE;

refuse:
	wg->counters.open_refused++;
	*peer = NULL;
	return WG_OPEN_REFUSED;
}
