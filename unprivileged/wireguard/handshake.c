/*
 * The handshake's four messages: what is checked in which order, and what is committed at the end.
 */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "packet/bytes.h"
#include "wireguard/peer.h"
#include "wireguard/wg.h"

static void refused(struct wg *wg, const char *reason)
{
	wg->counters.handshakes_refused++;
	log_at(wg->log, LOG_DEBUG, "wireguard", "Handshake message refused",
	       KV_STR("reason", reason));
}

static void wipe_work(struct wg *wg)
{
	sodium_memzero(wg->work, sizeof(*wg->work));
}

static struct wg_noise_keys keys_of(const struct wg_peer *peer, const uint8_t *ephemeral)
{
	const struct wg *wg = peer->wg;

	return (struct wg_noise_keys){
	    .private_key = wg->secret->private_key,
	    .public_key = wg->public_key,
	    .remote = peer->public_key,
	    .static_static = peer->secret->static_static,
	    .psk = peer->secret->psk,
	    .ephemeral = ephemeral,
	};
}

void wg_pending_wipe(struct wg_peer *peer)
{
	for (size_t i = 0; i < WG_PENDING; i++)
		peer->pending[i].active = false;
	sodium_memzero(peer->secret->pending, sizeof(peer->secret->pending));
	peer->forget_us = NEVER_US;
}

/* The slot of the initiation before the last one is taken; the last one stays answerable. */
static void commit_pending(struct wg_peer *peer, uint32_t index, const struct wg_work *work,
			   uint64_t now_us)
{
	const unsigned slot = (peer->latest + 1) % WG_PENDING;

	peer->latest = slot;
	peer->pending[slot].active = true;
	peer->pending[slot].index = index;
	peer->pending[slot].sent_us = now_us;
	memcpy(peer->pending[slot].hash, work->chain.hash, WG_HASH_LEN);
	memcpy(peer->secret->pending[slot].ephemeral, work->ephemeral, WG_KEY_LEN);
	memcpy(peer->secret->pending[slot].chaining_key, work->chain.key, WG_HASH_LEN);
	peer->forget_us = NEVER_US;
}

bool wg_initiate(struct wg_peer *peer, uint64_t now_us)
{
	struct wg *wg = peer->wg;
	struct wg_work *work = wg->work;
	const struct wg_noise_keys keys = keys_of(peer, work->ephemeral);
	const uint32_t index = wg_next_index(peer);
	struct wg_message *message = NULL;
	uint8_t timestamp[WG_TIMESTAMP_LEN];
	uint8_t msg[WG_INITIATION_LEN];

	rng_fill(&wg->rng, work->ephemeral, WG_KEY_LEN);
	wg_timestamp(wg, now_us, timestamp);
	if (wg_noise_initiation_write(wg->crypto, &keys, index, timestamp, &work->chain, msg))
		message = wg_message_new(peer, msg, sizeof(msg), now_us);
	if (message) {
		commit_pending(peer, index, work, now_us);
		wg_commit_message(peer, message, index);
	}
	wipe_work(wg);
	return message != NULL;
}

/* Answer an initiation that is verified: everything that may fail first, then the commit. */
static bool respond(struct wg_peer *peer, const struct wg_noise_reading *reading, uint64_t now_us)
{
	struct wg *wg = peer->wg;
	struct wg_work *work = wg->work;
	const struct wg_noise_keys keys = keys_of(peer, work->ephemeral);
	const uint32_t index = wg_next_index(peer);
	struct wg_message *message = NULL;
	struct wg_session *session = NULL;
	uint8_t msg[WG_RESPONSE_LEN];

	rng_fill(&wg->rng, work->ephemeral, WG_KEY_LEN);
	if (wg_noise_response_write(wg->crypto, &keys, reading, index, &work->keys, msg)) {
		session =
		    wg_session_new(wg->crypto, &work->keys, false, index, reading->sender, now_us);
		message = wg_message_new(peer, msg, sizeof(msg), now_us);
	}
	wipe_work(wg);
	if (!session || !message) {
		wg_session_free(session);
		free(message);
		return false;
	}
	memcpy(peer->last_timestamp, reading->timestamp, WG_TIMESTAMP_LEN);
	wg_commit_message(peer, message, index);
	wg_commit_session(peer, session, now_us);
	return true;
}

static struct wg_peer *take_initiation(struct wg *wg, const uint8_t *msg, uint64_t now_us)
{
	struct wg_noise_reading reading;
	struct wg_peer *peer = NULL;
	const char *reason = "not for us";

	if (!wg_noise_initiation_read(wg->crypto, wg->secret->private_key, wg->public_key, msg,
				      &reading))
		goto refuse;
	reason = "unknown key";
	peer = wg_peer_by_key(wg, reading.remote);
	if (!peer || peer->expired)
		goto refuse;
	reason = "forged";
	if (!wg_noise_initiation_verify(wg->crypto, &reading, peer->secret->static_static))
		goto refuse;
	reason = "timestamp";
	if (memcmp(reading.timestamp, peer->last_timestamp, WG_TIMESTAMP_LEN) <= 0)
		goto refuse;
	reason = "no memory";
	if (!respond(peer, &reading, now_us))
		goto refuse;
	sodium_memzero(&reading, sizeof(reading));
	wg->counters.handshakes_ok++;
	return peer;

refuse:
	sodium_memzero(&reading, sizeof(reading));
	refused(wg, reason);
	return NULL;
}

/*
 * The initiation of ours with exactly this index, or -1. A late answer would make a session whose
 * other end is about to be removed.
 */
static int find_pending(const struct wg_peer *peer, uint32_t index, uint64_t now_us)
{
	for (int i = 0; i < WG_PENDING; i++) {
		const struct wg_pending *pending = &peer->pending[i];

		if (pending->active && pending->index == index &&
		    now_us <= add_us(pending->sent_us, WG_GIVE_UP_US))
			return i;
	}
	return -1;
}

static struct wg_session *session_from_response(struct wg_peer *peer, int which, uint32_t index,
						const uint8_t *msg, uint64_t now_us)
{
	struct wg *wg = peer->wg;
	struct wg_work *work = wg->work;
	const struct wg_noise_keys keys = keys_of(peer, peer->secret->pending[which].ephemeral);
	struct wg_session *session = NULL;
	uint32_t sender;

	memcpy(work->chain.key, peer->secret->pending[which].chaining_key, WG_HASH_LEN);
	memcpy(work->chain.hash, peer->pending[which].hash, WG_HASH_LEN);
	if (wg_noise_response_read(wg->crypto, &keys, &work->chain, msg, &sender, &work->keys))
		session = wg_session_new(wg->crypto, &work->keys, true, index, sender, now_us);
	wipe_work(wg);
	return session;
}

static struct wg_peer *take_response(struct wg *wg, const uint8_t *msg, uint64_t now_us)
{
	struct reader r = reader_of(msg, WG_RESPONSE_LEN);
	struct wg_session *session;
	struct wg_peer *peer;
	uint32_t index;
	int which;

	rd_skip(&r, 8);
	index = rd_le32(&r);
	peer = wg_peer_by_index(wg, index >> WG_SESSION_BITS);
	which = peer && !peer->expired ? find_pending(peer, index, now_us) : -1;
	if (which < 0) {
		refused(wg, "answers nothing");
		return NULL;
	}
	session = session_from_response(peer, which, index, msg, now_us);
	if (!session) {
		refused(wg, "forged");
		return NULL;
	}
	wg_pending_wipe(peer);
	wg_commit_session(peer, session, now_us);
	wg->counters.handshakes_ok++;
	return peer;
}

static struct wg_peer *take_cookie(struct wg *wg, const uint8_t *msg, uint64_t now_us)
{
	struct reader r = reader_of(msg, WG_COOKIE_REPLY_LEN);
	uint8_t cookie[WG_COOKIE_LEN];
	struct wg_peer *peer;
	uint32_t index;

	rd_skip(&r, 4);
	index = rd_le32(&r);
	peer = wg_peer_by_index(wg, index >> WG_SESSION_BITS);
	if (!peer || peer->expired || !peer->cookie_wanted || peer->last_index != index ||
	    !wg_cookie_open(wg->crypto, peer->public_key, peer->last_mac1, msg, cookie)) {
		refused(wg, "cookie");
		return NULL;
	}
	memcpy(peer->secret->cookie, cookie, WG_COOKIE_LEN);
	sodium_memzero(cookie, sizeof(cookie));
	peer->cookie_until_us = add_us(now_us, WG_COOKIE_VALID_US);
	peer->cookie_wanted = false;
	return peer;
}

/* False when the message stops here: forged, over the limit, or answered with a cookie. */
static bool admit(struct wg *wg, const uint8_t *msg, size_t len, const struct endpoint *src,
		  uint64_t now_us)
{
	switch (wg_gate_check(&wg->gate, wg->crypto, msg, len, src, now_us)) {
	case WG_GATE_PASS:
		return true;
	case WG_GATE_DROP:
		refused(wg, "MAC or limit");
		return false;
	case WG_GATE_COOKIE:
		break;
	}
	refused(wg, "busy");
	if (wg_gate_reply(&wg->gate, wg->crypto, &wg->rng, msg, len, src, now_us, wg->reply)) {
		wg->reply_to = *src;
		wg->reply_ready = true;
		wg->counters.cookies_sent++;
	}
	return false;
}

void wg_source_known(struct wg *wg, const struct endpoint *src, uint64_t now_us)
{
	wg_gate_know(&wg->gate, src, now_us);
}

struct wg_peer *wg_handshake(struct wg *wg, const uint8_t *buf, size_t len,
			     const struct endpoint *src, uint64_t now_us)
{
	wg->reply_ready = false;
	switch (wg_classify(buf, len)) {
	case WG_INITIATION:
		return admit(wg, buf, len, src, now_us) ? take_initiation(wg, buf, now_us) : NULL;
	case WG_RESPONSE:
		return admit(wg, buf, len, src, now_us) ? take_response(wg, buf, now_us) : NULL;
	case WG_COOKIE_REPLY:
		return take_cookie(wg, buf, now_us);
	case WG_NOT_WIREGUARD:
	case WG_DATA:
		break;
	}
	refused(wg, "not a handshake message");
	return NULL;
}
