#include "wireguard/peer.h"

#include <stdlib.h>
#include <string.h>

#include "packet/bytes.h"

/*
 * A peer's sessions, timers and messages. A handshake is either planned (handshake_us), due
 * (WG_DUE_INITIATION: wg_peer_poll() makes it), or running (attempt_us, handshake_us is then its
 * repetition).
 */

uint32_t wg_next_index(const struct wg_peer *peer)
{
	return peer->index << WG_SESSION_BITS | (uint8_t)(peer->session_counter + 1);
}

struct wg_message *wg_message_new(struct wg_peer *peer, const uint8_t *msg, size_t len,
				  uint64_t now_us)
{
	struct wg_crypto *c = peer->wg->crypto;
	const uint8_t *cookie = now_us < peer->cookie_until_us ? peer->secret->cookie : NULL;
	struct wg_message *message;

	BUG_ON(len > WG_MESSAGE_MAX);
	message = calloc(1, sizeof(*message));
	if (!message)
		return NULL;
	memcpy(message->bytes, msg, len);
	message->len = (uint16_t)len;
	message->made_us = now_us;
	wg_crypto_begin(c);
	wg_cookie_stamp(c, peer->public_key, cookie, message->bytes, len);
	if (!wg_crypto_ok(c)) {
		free(message);
		return NULL;
	}
	return message;
}

static struct wg_message *take_message(struct wg_peer *peer)
{
	struct wg_message *message = peer->head;

	peer->head = message->next;
	if (!peer->head)
		peer->tail = NULL;
	peer->held--;
	return message;
}

static void enqueue(struct wg_peer *peer, struct wg_message *message)
{
	if (peer->held == WG_HELD_MESSAGES)
		free(take_message(peer));
	message->next = NULL;
	if (peer->tail)
		peer->tail->next = message;
	else
		peer->head = message;
	peer->tail = message;
	peer->held++;
}

/* The peer has the message with this sender index to answer: an initiation of the running attempt,
 * or a response that no data confirmed. */
static bool is_unanswered(const struct wg_peer *peer, uint32_t index)
{
	const struct wg_session *session = peer->sessions[index % WG_SESSIONS];
	const struct wg_pending *pending = &peer->pending[peer->latest];

	if (index != peer->last_index)
		return false;
	if (pending->active && pending->index == index)
		return peer->attempt_us != NEVER_US;
	return session && session->local_index == index && !session->confirmed;
}

static void forget_said(struct wg_peer *peer)
{
	free(peer->said);
	peer->said = NULL;
}

static void forget_answered(struct wg_peer *peer)
{
	if (peer->said && !is_unanswered(peer, peer->said->index))
		forget_said(peer);
}

/* The message that was lent to the caller is on its way. */
static void retire_polled(struct wg_peer *peer)
{
	struct wg_message *message = peer->polled;

	peer->polled = NULL;
	if (!message || !is_unanswered(peer, message->index)) {
		free(message);
		return;
	}
	forget_said(peer);
	peer->said = message;
}

/* Along a new path. After WG_RETRY_US the other side has begun anew. */
static void say_again(struct wg_peer *peer, uint64_t now_us)
{
	struct wg_message *message;

	retire_polled(peer);
	message = peer->said;
	if (!message)
		return;
	peer->said = NULL;
	if (is_unanswered(peer, message->index) && message->sent <= WG_REPEATS &&
	    now_us < add_us(message->made_us, WG_RETRY_US))
		enqueue(peer, message);
	else
		free(message);
}

void wg_commit_message(struct wg_peer *peer, struct wg_message *message, uint32_t index)
{
	struct reader r = reader_of(message->bytes, message->len);

	rd_skip(&r, message->len - WG_MACS_LEN);
	rd_copy(&r, peer->last_mac1, WG_MAC_LEN);
	peer->last_index = index;
	peer->cookie_wanted = true;
	peer->session_counter = (uint8_t)index;
	message->index = index;
	forget_said(peer);
	enqueue(peer, message);
}

void wg_messages_free(struct wg_peer *peer)
{
	free(peer->polled);
	peer->polled = NULL;
	forget_said(peer);
	while (peer->head)
		free(take_message(peer));
}

/* No handshake of ours is wanted any more. */
static void cancel_handshake(struct wg_peer *peer)
{
	peer->handshake_us = NEVER_US;
	peer->attempt_us = NEVER_US;
	peer->due &= ~(unsigned)WG_DUE_INITIATION;
}

static void make_current(struct wg_peer *peer, struct wg_session *session)
{
	if (!peer->current)
		peer->due |= WG_DUE_ESTABLISHED;
	peer->current = session;
	cancel_handshake(peer);
}

static void drop_session(struct wg_peer *peer, size_t slot)
{
	if (peer->sessions[slot] == peer->current)
		peer->current = NULL;
	wg_session_free(peer->sessions[slot]);
	peer->sessions[slot] = NULL;
}

void wg_commit_session(struct wg_peer *peer, struct wg_session *session, uint64_t now_us)
{
	const size_t slot = session->local_index % WG_SESSIONS;

	/* A session that replaces the current one in its slot is no first one. */
	if (session->initiator) {
		struct wg_session *old = peer->sessions[slot];

		make_current(peer, session);
		peer->sessions[slot] = session;
		wg_session_free(old);
		/* The peer may send only after it heard from us on this session. */
		peer->due |= WG_DUE_KEEPALIVE;
	} else {
		drop_session(peer, slot);
		peer->sessions[slot] = session;
	}
	session->serial = peer->next_serial++;
	peer->initiator = session->initiator;
	peer->established_us = now_us;
	peer->unanswered_us = NEVER_US;
	forget_answered(peer);
}

static void plan_handshake(struct wg_peer *peer, uint64_t due_us)
{
	if (peer->has_path && !peer->expired && peer->attempt_us == NEVER_US &&
	    due_us < peer->handshake_us)
		peer->handshake_us = due_us;
}

/* A packet waits: the handshake is due at once, unless one runs. */
static void want_handshake(struct wg_peer *peer, uint64_t now_us)
{
	if (!peer->has_path || peer->expired || peer->attempt_us != NEVER_US)
		return;
	peer->handshake_us = now_us;
	peer->due |= WG_DUE_INITIATION;
}

/* Rekeying is for the side that began the session; a side that ran out of messages does it too. */
static void plan_rekey(struct wg_peer *peer, const struct wg_session *session, uint64_t now_us)
{
	if (peer->handshake_us == NEVER_US &&
	    (peer->initiator || session->send_counter >= WG_REKEY_AFTER_MESSAGES))
		plan_handshake(peer, add_us(now_us, peer->jitter_us));
}

/* First authentic data on a session that the peer began: now both sides have its keys. */
static void confirm(struct wg_peer *peer, struct wg_session *session, uint64_t now_us)
{
	session->confirmed = true;
	forget_answered(peer);
	if (peer->current && peer->current->serial > session->serial)
		return;
	/* An answer to our own attempt may still be under way and is then the newer session. */
	if (peer->attempt_us != NEVER_US)
		peer->forget_us = add_us(now_us, WG_RETRY_US);
	make_current(peer, session);
}

void wg_note_received(struct wg_peer *peer, struct wg_session *session, size_t inner_len,
		      uint64_t now_us)
{
	if (!session->confirmed)
		confirm(peer, session, now_us);
	peer->unanswered_us = NEVER_US;
	if (inner_len > 0 && peer->keepalive_us == NEVER_US)
		peer->keepalive_us = add_us(now_us, WG_KEEPALIVE_US);
	if (now_us >= session->rekey_receive_us)
		plan_rekey(peer, session, now_us);
}

bool wg_can_seal(struct wg_peer *peer, uint64_t now_us)
{
	if (peer->current && wg_session_may_send(peer->current, now_us))
		return true;
	want_handshake(peer, now_us);
	return false;
}

size_t wg_seal(struct wg_peer *peer, uint8_t *msg, size_t inner_len, uint64_t now_us)
{
	struct wg *wg = peer->wg;
	struct wg_session *session = peer->current;
	size_t len = 0;

	if (wg_can_seal(peer, now_us))
		len = wg_session_seal(wg->crypto, session, msg, inner_len);
	if (len == 0) {
		wg->counters.seal_refused++;
		return 0;
	}
	wg->counters.sealed++;
	peer->keepalive_us = NEVER_US;
	peer->due &= ~(unsigned)WG_DUE_KEEPALIVE;
	if (inner_len > 0 && peer->unanswered_us == NEVER_US)
		peer->unanswered_us = add_us(now_us, WG_UNANSWERED_US);
	if (now_us >= session->rekey_send_us || session->send_counter >= WG_REKEY_AFTER_MESSAGES)
		plan_rekey(peer, session, now_us);
	return len;
}

void wg_peer_set_path(struct wg_peer *peer, bool has_path, uint64_t now_us)
{
	peer->has_path = has_path;
	if (has_path) {
		say_again(peer, now_us);
		return;
	}
	peer->due &= ~(unsigned)WG_DUE_INITIATION;
	/* An attempt without a path would only run out; it starts anew when there is one. */
	if (peer->attempt_us != NEVER_US) {
		peer->attempt_us = NEVER_US;
		peer->handshake_us = now_us;
		peer->forget_us = add_us(now_us, WG_GIVE_UP_US);
	}
}

/* The connection is over: keys and messages go at once, the owner removes the peer. */
static void expire(struct wg_peer *peer)
{
	wg_messages_free(peer);
	cancel_handshake(peer);
	wg_pending_wipe(peer);
	for (size_t i = 0; i < WG_SESSIONS; i++)
		drop_session(peer, i);
	peer->keepalive_us = NEVER_US;
	peer->unanswered_us = NEVER_US;
	peer->expired = true;
	peer->due = WG_DUE_EXPIRED;
}

static uint64_t first_expiry_us(const struct wg_peer *peer)
{
	uint64_t first = NEVER_US;

	for (size_t i = 0; i < WG_SESSIONS; i++) {
		if (peer->sessions[i])
			first = min_u64(first, add_us(peer->sessions[i]->expires_us, 1));
	}
	return first;
}

static void drop_old_sessions(struct wg_peer *peer, uint64_t now_us)
{
	const bool had_current = peer->current != NULL;

	for (size_t i = 0; i < WG_SESSIONS; i++) {
		if (peer->sessions[i] && now_us > peer->sessions[i]->expires_us)
			drop_session(peer, i);
	}
	forget_answered(peer);
	if (had_current && !peer->current && peer->initiator)
		plan_handshake(peer, add_us(now_us, peer->jitter_us));
}

void wg_peer_timeout(struct wg_peer *peer, uint64_t now_us)
{
	if (peer->expired)
		return;
	if (now_us >= add_us(peer->established_us, WG_DEAD_US)) {
		expire(peer);
		return;
	}
	if (!peer->has_path)
		return;
	if (peer->attempt_us != NEVER_US && now_us >= add_us(peer->attempt_us, WG_GIVE_UP_US)) {
		expire(peer);
		return;
	}
	drop_old_sessions(peer, now_us);
	if (now_us >= peer->forget_us)
		wg_pending_wipe(peer);
	if (now_us >= peer->unanswered_us) {
		peer->unanswered_us = NEVER_US;
		plan_handshake(peer, add_us(now_us, peer->jitter_us));
	}
	if (now_us >= peer->keepalive_us) {
		peer->keepalive_us = NEVER_US;
		peer->due |= WG_DUE_KEEPALIVE;
	}
	if (now_us >= peer->handshake_us)
		peer->due |= WG_DUE_INITIATION;
}

uint64_t wg_peer_deadline(const struct wg_peer *peer)
{
	uint64_t at = add_us(peer->established_us, WG_DEAD_US);

	if (peer->expired)
		return NEVER_US;
	if (!peer->has_path)
		return at;
	at = min_u64(at, peer->keepalive_us);
	at = min_u64(at, peer->unanswered_us);
	at = min_u64(at, peer->forget_us);
	at = min_u64(at, first_expiry_us(peer));
	if (peer->attempt_us != NEVER_US)
		at = min_u64(at, add_us(peer->attempt_us, WG_GIVE_UP_US));
	if (!(peer->due & WG_DUE_INITIATION))
		at = min_u64(at, peer->handshake_us);
	return at;
}

bool wg_peer_pending(const struct wg_peer *peer)
{
	const unsigned local = WG_DUE_EXPIRED | WG_DUE_ESTABLISHED;

	return (peer->due & local) != 0 || (peer->has_path && (peer->due != 0 || peer->head));
}

/* Begin or repeat an attempt. Even if it could not be made, the next try waits. */
static void run_initiation(struct wg_peer *peer, uint64_t now_us)
{
	peer->due &= ~(unsigned)WG_DUE_INITIATION;
	if (peer->attempt_us == NEVER_US)
		peer->attempt_us = now_us;
	peer->handshake_us = add_us(now_us, WG_RETRY_US + peer->jitter_us);
	peer->jitter_us = rng_below(&peer->wg->rng, WG_JITTER_US + 1);
	if (!wg_initiate(peer, now_us))
		log_at(peer->wg->log, LOG_WARN, "wireguard", "Initiation could not be made",
		       KV_INT("index", peer->index));
}

static bool poll_message(struct wg_peer *peer, struct wg_event *out)
{
	if (!peer->head)
		return false;
	peer->polled = take_message(peer);
	peer->polled->sent++;
	*out = (struct wg_event){
	    .kind = WG_EVENT_SEND, .data = peer->polled->bytes, .len = peer->polled->len};
	return true;
}

static bool poll_keepalive(struct wg_peer *peer, struct wg_event *out, uint64_t now_us)
{
	uint8_t *msg = peer->keepalive + WG_SCRATCH;
	size_t len;

	if (!(peer->due & WG_DUE_KEEPALIVE))
		return false;
	peer->due &= ~(unsigned)WG_DUE_KEEPALIVE;
	/* Nobody waits for a keepalive: without a session it is not sent, and asks for none. */
	if (!peer->current || !wg_session_may_send(peer->current, now_us))
		return false;
	len = wg_seal(peer, msg, 0, now_us);
	*out = (struct wg_event){.kind = WG_EVENT_SEND, .data = msg, .len = len};
	return len > 0;
}

bool wg_peer_poll(struct wg_peer *peer, struct wg_event *out, uint64_t now_us)
{
	retire_polled(peer);
	if (peer->due & WG_DUE_EXPIRED) {
		peer->due = 0;
		*out = (struct wg_event){.kind = WG_EVENT_EXPIRED};
		return true;
	}
	if (peer->due & WG_DUE_ESTABLISHED) {
		peer->due &= ~(unsigned)WG_DUE_ESTABLISHED;
		*out = (struct wg_event){.kind = WG_EVENT_ESTABLISHED};
		return true;
	}
	if (!peer->has_path)
		return false;
	if (peer->due & WG_DUE_INITIATION)
		run_initiation(peer, now_us);
	return poll_message(peer, out) || poll_keepalive(peer, out, now_us);
}

bool wg_peer_established(const struct wg_peer *peer)
{
	return peer->current != NULL;
}
