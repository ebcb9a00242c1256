#include "turn/answer.h"

#include <string.h>

#include "turn/request.h"
#include "turn/steps.h"

/* RFC 8489 section 14.8, RFC 8656 section 19. */
enum {
	BAD_REQUEST = 400,
	UNAUTHENTICATED = 401,
	UNKNOWN_ATTRIBUTE = 420,
	ALLOCATION_MISMATCH = 437,
	STALE_NONCE = 438,
};

/* The smoothed time weighs the old value seven times. */
enum {
	RTT_WEIGHT = 8,
};

static void sample_rtt(struct turn *t, const struct turn_request *r, uint64_t now_us)
{
	uint64_t sample = now_us > r->first_us ? now_us - r->first_us : 1;

	t->rtt_us = t->rtt_us == 0 ? sample : ((RTT_WEIGHT - 1) * t->rtt_us + sample) / RTT_WEIGHT;
}

static bool candidate_ok(const struct endpoint *ep, uint8_t family)
{
	const struct ip_addr *ip = &ep->ip;

	return ip->family == family && ep->port != 0 && !ip_is_unspecified(ip) &&
	       !ip_is_multicast(ip) && !ip_is_broadcast(ip) &&
	       !(ip->family == IP_V4 && ip_is_link_local(ip));
}

static void learn(struct turn *t, enum turn_slot slot, enum candidate_kind kind, uint8_t family,
		  const struct endpoint *addr, const struct endpoint *base)
{
	if (!candidate_ok(addr, family))
		return;
	t->current[slot] = (struct candidate){
	    .kind = kind,
	    .addr = *addr,
	    .base = *base,
	    .relay_family = kind == CANDIDATE_RELAY ? t->active : IP_NONE,
	};
}

/* Our address @host as the relay's answer found it, and how the relay sees it. */
static void learn_direct(struct turn *t, uint8_t family, const struct endpoint *host,
			 const struct endpoint *mapped)
{
	bool v4 = family == IP_V4;

	if (!candidate_ok(host, family))
		return;
	learn(t, v4 ? TURN_SLOT_HOST_V4 : TURN_SLOT_HOST_V6, CANDIDATE_HOST, family, host, host);
	learn(t, v4 ? TURN_SLOT_SRFLX_V4 : TURN_SLOT_SRFLX_V6, CANDIDATE_SRFLX, family, mapped,
	      host);
}

/* Our 5-tuple may be another one now: then the relay does not know it. */
static void compare_mapped(struct turn *t, uint8_t family, const struct candidate *before,
			   uint64_t now_us)
{
	const struct candidate *srflx =
	    &t->current[family == IP_V4 ? TURN_SLOT_SRFLX_V4 : TURN_SLOT_SRFLX_V6];

	if (family != t->active || t->state != TURN_READY || before->addr.ip.family == IP_NONE ||
	    endpoint_eq(&before->addr, &srflx->addr))
		return;
	turn_note(t, TURN_NOTE_REBOUND, STUN_BINDING, 0);
	turn_refresh(t, now_us);
}

static void binding_success(struct turn *t, uint8_t family, const struct stun_msg *msg,
			    const struct endpoint *dst, uint64_t now_us)
{
	struct candidate before =
	    t->current[family == IP_V4 ? TURN_SLOT_SRFLX_V4 : TURN_SLOT_SRFLX_V6];

	learn_direct(t, family, dst, &msg->mapped);
	if (t->state == TURN_PROBING) {
		t->active = family;
		turn_allocate(t, now_us);
	} else if (t->silent && family != t->active) {
		turn_switch(t, family, now_us);
	} else {
		compare_mapped(t, family, &before, now_us);
	}
}

/* The one answer that needs no integrity; its source has been compared. */
static void binding_answer(struct turn *t, uint16_t id, const struct stun_msg *msg,
			   const struct endpoint *dst, uint64_t now_us)
{
	uint8_t family = t->requests[id].family;
	bool unheard = t->suspect && t->unanswered_us != NEVER_US && family == t->active;

	/* While probing, an error leaves the address unproven: go on asking. */
	if (msg->class == STUN_ERROR && t->active == IP_NONE)
		return;
	if (msg->class == STUN_SUCCESS && msg->mapped.ip.family == IP_NONE)
		return;
	sample_rtt(t, &t->requests[id], now_us);
	turn_request_cancel(t, id);
	if (family == t->active)
		turn_answered(t, now_us);
	if (unheard)
		turn_one_way(t, now_us);
	if (msg->class == STUN_SUCCESS)
		binding_success(t, family, msg, dst, now_us);
	else if (t->active == family)
		turn_note(t, TURN_NOTE_REFUSED, STUN_BINDING, msg->error_code);
}

static bool realm_ok(const struct stun_msg *msg)
{
	size_t len = strlen(turn_realm);

	return !msg->realm.data ||
	       (msg->realm.len == len && memcmp(msg->realm.data, turn_realm, len) == 0);
}

static bool same_nonce(const struct turn *t, const struct stun_msg *msg)
{
	return t->nonce_gen != 0 && msg->nonce.len == t->nonce_len &&
	       memcmp(msg->nonce.data, t->nonce, t->nonce_len) == 0;
}

static void store_nonce(struct turn *t, const struct stun_msg *msg)
{
	if (same_nonce(t, msg))
		return;
	memcpy(t->nonce, msg->nonce.data, msg->nonce.len);
	t->nonce_len = msg->nonce.len;
	t->nonce_gen = t->nonce_gen == UINT32_MAX ? 1 : t->nonce_gen + 1;
}

static bool carries_newest_nonce(const struct turn *t, uint16_t id)
{
	return t->nonce_gen != 0 && t->requests[id].nonce_gen == t->nonce_gen;
}

/* Rule 4: once the deletion has been tried, only patience helps. */
static void allocate_mismatch(struct turn *t, uint64_t now_us)
{
	if (t->deletion_tried)
		turn_allocate_later(t, add_us(now_us, TURN_MISMATCH_WAIT_US));
	else
		turn_delete_stale(t, now_us);
}

/* The nonce that was drawn: what waited for it goes out again, signed with it. */
static void draw_answer(struct turn *t, const struct stun_msg *msg, uint64_t now_us)
{
	bool mismatch = t->draw_for_deletion && t->requests[TURN_REQUEST_ALLOCATE].wants_nonce;

	if (msg->class != STUN_ERROR || !msg->nonce.data || !realm_ok(msg))
		return;
	turn_request_cancel(t, TURN_REQUEST_DRAW);
	store_nonce(t, msg);
	if (mismatch) {
		allocate_mismatch(t, now_us);
		return;
	}
	for (unsigned id = 0; id < TURN_REQUEST_CHANNEL + (unsigned)t->channels.top; id++) {
		if (t->requests[id].pending && t->requests[id].wants_nonce)
			turn_request_repeat(t, (uint16_t)id, false, now_us);
	}
}

/* Rule 3, second half. Many requests may wait for one drawn nonce. */
static void draw_nonce(struct turn *t, uint16_t id, uint16_t error_code, uint64_t now_us)
{
	bool allocating = id == TURN_REQUEST_ALLOCATE;
	bool mismatch = error_code == ALLOCATION_MISMATCH;
	bool drawing = t->requests[TURN_REQUEST_DRAW].pending;

	t->requests[id].wants_nonce = true;
	if (!drawing || allocating)
		turn_request_draw(t, allocating && !mismatch ? STUN_ALLOCATE : STUN_REFRESH,
				  allocating && mismatch, now_us);
}

/* Rules 2 to 5 of spec 6.2: gives a nonce at most, save for 437 to Allocate. */
static void unsigned_error(struct turn *t, uint16_t id, const struct stun_msg *msg, uint64_t now_us)
{
	struct turn_request *r = &t->requests[id];
	uint16_t code = msg->error_code;
	bool mismatch = code == ALLOCATION_MISMATCH && id == TURN_REQUEST_ALLOCATE;

	if (!realm_ok(msg) || (code == UNAUTHENTICATED && carries_newest_nonce(t, id)))
		return;
	if (mismatch && t->deletion_tried) {
		allocate_mismatch(t, now_us);
		return;
	}
	if (r->stepped)
		return;
	if (!mismatch && msg->nonce.data && same_nonce(t, msg) && carries_newest_nonce(t, id))
		return;
	r->stepped = true;
	if (msg->nonce.data)
		store_nonce(t, msg);
	if (mismatch && t->nonce_gen != 0)
		allocate_mismatch(t, now_us);
	else if (msg->nonce.data)
		turn_request_repeat(t, id, false, now_us);
	else
		draw_nonce(t, id, code, now_us);
}

static void allocate_success(struct turn *t, const struct stun_msg *msg, uint64_t now_us)
{
	bool v4 = candidate_ok(&msg->relayed_v4, IP_V4);
	bool v6 = candidate_ok(&msg->relayed_v6, IP_V6);

	if (!msg->has_lifetime || msg->lifetime_s == 0 || (!v4 && !v6))
		return;
	turn_invalidate(t);
	t->state = TURN_READY;
	t->tried_other = false;
	t->deletion_tried = false;
	t->asked_anew = false;
	t->refusals = 0;
	t->allocated_on = t->heard_on;
	t->refresh_us = add_us(now_us, msg->lifetime_s * US_PER_S / 2);
	t->expires_us = add_us(now_us, msg->lifetime_s * US_PER_S);
	learn(t, TURN_SLOT_RELAY_V4, CANDIDATE_RELAY, IP_V4, &msg->relayed_v4, &msg->relayed_v4);
	learn(t, TURN_SLOT_RELAY_V6, CANDIDATE_RELAY, IP_V6, &msg->relayed_v6, &msg->relayed_v6);
	turn_bind_remembered(t, now_us);
}

static void refresh_success(struct turn *t, const struct stun_msg *msg, uint64_t now_us)
{
	if (t->refresh_kind == TURN_REFRESH_EXTEND && !msg->has_lifetime)
		return;
	turn_request_cancel(t, TURN_REQUEST_REFRESH);
	if (t->refresh_kind == TURN_REFRESH_DELETE || msg->lifetime_s == 0) {
		turn_invalidate(t);
		turn_allocate(t, now_us);
		return;
	}
	t->refresh_us = add_us(now_us, msg->lifetime_s * US_PER_S / 2);
	t->expires_us = add_us(now_us, msg->lifetime_s * US_PER_S);
}

static void signed_success(struct turn *t, uint16_t id, const struct stun_msg *msg, uint64_t now_us)
{
	if (id == TURN_REQUEST_ALLOCATE)
		allocate_success(t, msg, now_us);
	else if (id == TURN_REQUEST_REFRESH)
		refresh_success(t, msg, now_us);
	else
		turn_confirm_channel(t, (uint16_t)(id - TURN_REQUEST_CHANNEL), now_us);
}

/* An error that ends the request. */
static void refused(struct turn *t, uint16_t id, const struct stun_msg *msg, uint64_t now_us)
{
	turn_request_cancel(t, id);
	if (id != TURN_REQUEST_ALLOCATE)
		turn_note(t, TURN_NOTE_REFUSED,
			  id == TURN_REQUEST_REFRESH ? STUN_REFRESH : STUN_CHANNEL_BIND,
			  msg->error_code);
	if (id == TURN_REQUEST_ALLOCATE) {
		turn_suspend(t, msg->error_code, now_us);
	} else if (id >= TURN_REQUEST_CHANNEL) {
		turn_forget_channel(t, (uint16_t)(id - TURN_REQUEST_CHANNEL), msg->error_code,
				    now_us);
	} else if (t->refresh_kind == TURN_REFRESH_DELETE) {
		turn_allocate_later(t, add_us(now_us, TURN_MISMATCH_WAIT_US));
	} else {
		t->refresh_us = add_us(now_us, TURN_REFRESH_RETRY_US);
	}
}

static void mismatch(struct turn *t, uint16_t id, const struct stun_msg *msg, uint64_t now_us)
{
	struct turn_channel ch = {.state = TURN_CHANNEL_FREE};

	turn_note(t, TURN_NOTE_MISMATCH, msg->method, msg->error_code);
	if (id == TURN_REQUEST_ALLOCATE) {
		allocate_mismatch(t, now_us);
		return;
	}
	if (id >= TURN_REQUEST_CHANNEL)
		ch = t->channels.at[id - TURN_REQUEST_CHANNEL];
	turn_invalidate(t);
	turn_allocate(t, now_us);
	if (id >= TURN_REQUEST_CHANNEL)
		turn_peers_add(&t->peers, &ch.peer, ch.owner);
}

/* A relay that goes on challenging is answered at the pace of the schedule. */
static void challenged(struct turn *t, uint16_t id, const struct stun_msg *msg, uint64_t now_us)
{
	struct turn_request *r = &t->requests[id];

	if (!msg->nonce.data || !realm_ok(msg)) {
		refused(t, id, msg, now_us);
		return;
	}
	store_nonce(t, msg);
	if (r->challenges >= TURN_MAX_CHALLENGES)
		return;
	r->challenges++;
	turn_request_repeat(t, id, true, now_us);
}

static void drop(struct turn *t, const struct stun_msg *msg)
{
	turn_note(t, TURN_NOTE_REFUSED, msg->method, msg->error_code);
	turn_drop(t);
}

static void signed_error(struct turn *t, uint16_t id, const struct stun_msg *msg, uint64_t now_us)
{
	switch (msg->error_code) {
	case UNAUTHENTICATED:
		if (t->requests[id].nonce_gen != 0)
			drop(t, msg);
		else
			challenged(t, id, msg, now_us);
		break;
	case STALE_NONCE:
		challenged(t, id, msg, now_us);
		break;
	case ALLOCATION_MISMATCH:
		mismatch(t, id, msg, now_us);
		break;
	case UNKNOWN_ATTRIBUTE:
		drop(t, msg);
		break;
	default:
		refused(t, id, msg, now_us);
		break;
	}
}

static bool may_be_unsigned(const struct stun_msg *msg)
{
	return msg->class == STUN_ERROR && !msg->has_integrity &&
	       (msg->error_code == BAD_REQUEST || msg->error_code == UNAUTHENTICATED ||
		msg->error_code == ALLOCATION_MISMATCH || msg->error_code == STALE_NONCE);
}

void turn_answer(struct turn *t, const uint8_t *buf, size_t len, const struct endpoint *src,
		 const struct endpoint *dst, uint64_t now_us)
{
	struct stun_msg msg;
	uint16_t id = TURN_NO_REQUEST;
	bool is_signed = false;

	if (turn_is_over(t) || !stun_msg_read(&msg, buf, len) ||
	    (msg.class != STUN_SUCCESS && msg.class != STUN_ERROR))
		return;
	id = turn_request_match(t, &msg, src);
	if (id == TURN_NO_REQUEST || (msg.class == STUN_ERROR && msg.error_code == 0))
		return;
	t->heard_on = *dst;
	if (id == TURN_REQUEST_BINDING_V4 || id == TURN_REQUEST_BINDING_V6) {
		binding_answer(t, id, &msg, dst, now_us);
		return;
	}
	is_signed = stun_msg_verify(&msg, buf, len, t->long_term_key, TURN_KEY_LEN);
	if (!is_signed && !may_be_unsigned(&msg))
		return;
	sample_rtt(t, &t->requests[id], now_us);
	turn_answered(t, now_us);
	if (is_signed)
		t->signed_us = now_us;
	if (id == TURN_REQUEST_DRAW)
		draw_answer(t, &msg, now_us);
	else if (!is_signed)
		unsigned_error(t, id, &msg, now_us);
	else if (msg.class == STUN_SUCCESS)
		signed_success(t, id, &msg, now_us);
	else
		signed_error(t, id, &msg, now_us);
}
