#include "turn/steps.h"

#include "turn/request.h"

enum {
	ERROR_BAD_REQUEST = 400,
};

static bool has(const struct endpoint *ep)
{
	return ep->ip.family != IP_NONE;
}

static uint8_t other_family(uint8_t family)
{
	return family == IP_V4 ? IP_V6 : IP_V4;
}

static bool reachable(const struct turn *t, uint8_t family)
{
	return has(turn_address(t, family)) && !t->barred[turn_index_of(family)];
}

static void probe_one(struct turn *t, uint8_t family, uint64_t now_us)
{
	if (!reachable(t, family))
		return;
	t->last_binding_us = now_us;
	turn_request_start(t, turn_binding_of(family), family, now_us);
}

void turn_probe(struct turn *t, uint64_t now_us)
{
	t->state = TURN_PROBING;
	t->active = IP_NONE;
	t->deletion_tried = false;
	t->retry_us = NEVER_US;
	probe_one(t, IP_V4, now_us);
	probe_one(t, IP_V6, now_us);
	if (!reachable(t, IP_V4) && !reachable(t, IP_V6)) {
		t->state = TURN_SUSPENDED;
		t->rtt_us = 0;
	}
}

void turn_allocate(struct turn *t, uint64_t now_us)
{
	t->state = TURN_ALLOCATING;
	t->allocate_us = NEVER_US;
	turn_request_start(t, TURN_REQUEST_ALLOCATE, t->active, now_us);
}

void turn_allocate_later(struct turn *t, uint64_t at_us)
{
	turn_request_cancel(t, TURN_REQUEST_ALLOCATE);
	turn_request_cancel(t, TURN_REQUEST_REFRESH);
	t->state = TURN_ALLOCATING;
	t->allocate_us = at_us;
}

void turn_delete_stale(struct turn *t, uint64_t now_us)
{
	turn_invalidate(t);
	t->state = TURN_ALLOCATING;
	t->deletion_tried = true;
	t->refresh_kind = TURN_REFRESH_DELETE;
	turn_request_start(t, TURN_REQUEST_REFRESH, t->active, now_us);
}

void turn_invalidate(struct turn *t)
{
	turn_request_cancel(t, TURN_REQUEST_ALLOCATE);
	turn_request_cancel(t, TURN_REQUEST_REFRESH);
	turn_request_cancel(t, TURN_REQUEST_DRAW);
	for (uint16_t i = 0; i < t->channels.top; i++)
		turn_request_cancel(t, (uint16_t)(TURN_REQUEST_CHANNEL + i));
	turn_channels_clear(&t->channels);
	if (t->suspect)
		turn_request_cancel(t, turn_binding_of(t->active));
	turn_trust(t);
	t->current[TURN_SLOT_RELAY_V4] = (struct candidate){.kind = CANDIDATE_RELAY};
	t->current[TURN_SLOT_RELAY_V6] = (struct candidate){.kind = CANDIDATE_RELAY};
	t->allocate_us = NEVER_US;
	t->refresh_us = NEVER_US;
	t->expires_us = NEVER_US;
}

void turn_lose_path(struct turn *t, uint64_t now_us)
{
	uint8_t other = other_family(t->active);

	if (t->tried_other || !reachable(t, other)) {
		turn_drop(t);
		return;
	}
	turn_invalidate(t);
	turn_request_cancel(t, TURN_REQUEST_BINDING_V4);
	turn_request_cancel(t, TURN_REQUEST_BINDING_V6);
	t->state = TURN_PROBING;
	t->active = IP_NONE;
	t->tried_other = true;
	t->deletion_tried = false;
	probe_one(t, other, now_us);
}

void turn_note(struct turn *t, enum turn_note_kind kind, uint16_t method, uint16_t code)
{
	if (t->n_notes < TURN_MAX_NOTES)
		t->notes[t->n_notes++] =
		    (struct turn_note){.kind = kind, .method = method, .code = code};
}

void turn_trust(struct turn *t)
{
	t->unanswered_us = NEVER_US;
	t->suspect = false;
	t->silent = false;
}

void turn_answered(struct turn *t, uint64_t now_us)
{
	t->answered_us = now_us;
	t->unanswered_us = NEVER_US;
	if (!t->suspect)
		return;
	turn_request_cancel(t, turn_binding_of(t->active));
	if (t->silent)
		turn_note(t, TURN_NOTE_HEARD, STUN_BINDING, 0);
	turn_trust(t);
	t->tried_other = false;
	t->last_binding_us = now_us;
}

void turn_suspect(struct turn *t, uint64_t now_us)
{
	if (t->state != TURN_READY || t->suspect || t->away)
		return;
	t->suspect = true;
	t->last_binding_us = now_us;
	turn_request_probe(t, now_us);
}

void turn_fall_silent(struct turn *t, uint64_t now_us)
{
	uint8_t other = other_family(t->active);

	t->silent = true;
	turn_note(t, TURN_NOTE_SILENT, STUN_BINDING, 0);
	if (t->tried_other || !reachable(t, other))
		return;
	t->tried_other = true;
	turn_request_start(t, turn_binding_of(other), other, now_us);
}

void turn_switch(struct turn *t, uint8_t family, uint64_t now_us)
{
	turn_note(t, TURN_NOTE_OTHER_FAMILY, STUN_BINDING, 0);
	turn_invalidate(t);
	t->active = family;
	t->deletion_tried = false;
	turn_allocate(t, now_us);
}

void turn_refresh(struct turn *t, uint64_t now_us)
{
	if (t->state != TURN_READY || t->requests[TURN_REQUEST_REFRESH].pending)
		return;
	t->refresh_kind = TURN_REFRESH_EXTEND;
	turn_request_start(t, TURN_REQUEST_REFRESH, t->active, now_us);
}

/* Once while it lasts and now and then: an address of the peer's that is dead looks the same. */
void turn_one_way(struct turn *t, uint64_t now_us)
{
	bool knew_us = t->data_us > t->one_way_us || t->one_way_us == 0;

	if (!knew_us && now_us < add_us(t->one_way_us, TURN_ONE_WAY_US))
		return;
	t->one_way_us = now_us;
	turn_refresh(t, now_us);
}

void turn_suspend(struct turn *t, uint16_t error_code, uint64_t now_us)
{
	uint64_t wait_us = TURN_SUSPENDED_US << t->refusals;

	turn_note(t, TURN_NOTE_SUSPENDED, STUN_ALLOCATE, error_code);
	if (t->refusals < TURN_MAX_DOUBLINGS)
		t->refusals++;
	t->peers.count = 0;
	t->state = TURN_SUSPENDED;
	/* Not all at the same time. */
	t->retry_us = add_us(now_us, wait_us + rng_below(&t->rng, wait_us / 4));
	if (t->asked_anew)
		t->retry_us = now_us;
	t->asked_anew = false;
}

/* What was learnt of our address, unless it was learnt at @local. */
static void forget_direct(struct turn *t, uint8_t family, const struct endpoint *local)
{
	bool v4 = family == IP_V4;
	struct candidate *host = &t->current[v4 ? TURN_SLOT_HOST_V4 : TURN_SLOT_HOST_V6];
	struct candidate *srflx = &t->current[v4 ? TURN_SLOT_SRFLX_V4 : TURN_SLOT_SRFLX_V6];

	if (!local || !endpoint_eq(&host->base, local))
		*host = (struct candidate){.kind = CANDIDATE_HOST};
	if (!local || !endpoint_eq(&srflx->base, local))
		*srflx = (struct candidate){.kind = CANDIDATE_SRFLX};
}

/* Whether the allocation, or the attempt to get one, went over a 5-tuple that is no more. */
static bool is_void(const struct turn *t, const struct turn_egress how[2])
{
	const struct turn_egress *e = &how[turn_index_of(t->active)];

	if (t->active == IP_NONE || t->state == TURN_SUSPENDED)
		return true;
	return e->moved &&
	       !(t->state == TURN_READY && e->out && endpoint_eq(&e->local, &t->allocated_on));
}

/*
 * The nonce stays: it is the relay's, and one that is bound to our old address costs no more than
 * having none.
 */
void turn_roam(struct turn *t, const struct turn_egress how[2], uint64_t now_us)
{
	static const uint8_t families[] = {IP_V4, IP_V6};

	if (turn_is_over(t) || (!how[0].moved && !how[1].moved))
		return;
	for (unsigned i = 0; i < 2; i++) {
		if (!how[i].moved)
			continue;
		t->barred[i] = !how[i].out;
		turn_request_cancel(t, turn_binding_of(families[i]));
		if (families[i] == t->active)
			turn_trust(t);
		forget_direct(t, families[i], how[i].out ? &how[i].local : NULL);
	}
	if (is_void(t, how)) {
		turn_invalidate(t);
		t->tried_other = false;
		turn_probe(t, now_us);
		return;
	}
	for (unsigned i = 0; i < 2; i++)
		if (how[i].moved)
			probe_one(t, families[i], now_us);
}

void turn_forget_local(struct turn *t, const struct ip_addr *ip)
{
	for (int slot = TURN_SLOT_HOST_V4; slot <= TURN_SLOT_SRFLX_V6 && !turn_is_over(t); slot++) {
		struct candidate *c = &t->current[slot];

		if (ip_eq(&c->base.ip, ip))
			*c = (struct candidate){.kind = c->kind};
	}
}

void turn_drop(struct turn *t)
{
	turn_invalidate(t);
	turn_request_cancel(t, TURN_REQUEST_BINDING_V4);
	turn_request_cancel(t, TURN_REQUEST_BINDING_V6);
	t->peers.count = 0;
	t->active = IP_NONE;
	t->state = TURN_DROPPED;
}

static void start_bind(struct turn *t, uint16_t index, uint64_t now_us)
{
	turn_request_start(t, (uint16_t)(TURN_REQUEST_CHANNEL + index), t->active, now_us);
}

/* An active channel to the peer is there: nothing to do while it is usable or asked for, else the
 * same number again. */
static void rebind(struct turn *t, uint16_t index, uint64_t now_us)
{
	struct turn_channel *ch = &t->channels.at[index];

	if (t->requests[TURN_REQUEST_CHANNEL + index].pending ||
	    (ch->confirmed && turn_channel_fresh(ch, now_us)))
		return;
	ch->confirmed = false;
	ch->received = false;
	ch->bound_us = now_us;
	ch->used_us = now_us;
	start_bind(t, index, now_us);
}

static void retire(struct turn *t, uint16_t index, bool free_at_once)
{
	turn_request_cancel(t, (uint16_t)(TURN_REQUEST_CHANNEL + index));
	turn_channels_retire(&t->channels, index, free_at_once);
}

/* Keeps a client within its share; false when it has used that up. [spec connections 14 row 6] */
static bool make_room(struct turn *t, uint32_t owner, uint64_t now_us)
{
	uint16_t idlest = TURN_NO_CHANNEL;
	size_t in_use = 0;
	size_t held = turn_channels_of_owner(&t->channels, owner, now_us, &in_use, &idlest);

	if (held >= TURN_MAX_OWNER_NUMBERS)
		return false;
	if (t->channels.n_free <= TURN_RESERVE && held >= TURN_FEW_NUMBERS)
		return false;
	if (in_use >= TURN_MAX_OWNER_CHANNELS)
		retire(t, idlest, !t->channels.at[idlest].confirmed);
	return true;
}

void turn_bind(struct turn *t, const struct endpoint *peer, uint32_t owner, uint64_t now_us)
{
	uint16_t index = TURN_NO_CHANNEL;

	if (turn_is_over(t) || t->state == TURN_SUSPENDED || !has(peer) || peer->port == 0)
		return;
	if (t->state != TURN_READY) {
		turn_peers_add(&t->peers, peer, owner);
		return;
	}
	if (!has(&turn_relay_of(t, peer->ip.family)->addr))
		return;
	index = turn_channels_find(&t->channels, peer);
	if (index != TURN_NO_CHANNEL) {
		rebind(t, index, now_us);
		return;
	}
	if (!make_room(t, owner, now_us))
		return;
	index = turn_channels_take(&t->channels, peer, owner, now_us);
	if (index != TURN_NO_CHANNEL)
		start_bind(t, index, now_us);
}

void turn_bind_remembered(struct turn *t, uint64_t now_us)
{
	for (size_t i = 0; i < t->peers.count; i++)
		turn_bind(t, &t->peers.at[i].addr, t->peers.at[i].owner, now_us);
	t->peers.count = 0;
}

/*
 * A 400 says that the number stands for another peer there, and a confirmed one is still bound
 * there: such numbers rest. Any other refusal of a new number leaves it unbound.
 */
void turn_forget_channel(struct turn *t, uint16_t index, uint16_t error_code, uint64_t now_us)
{
	struct turn_channel *ch = &t->channels.at[index];

	if (error_code == ERROR_BAD_REQUEST)
		ch->bound_us = now_us;
	retire(t, index, !ch->confirmed && error_code != ERROR_BAD_REQUEST);
}

void turn_confirm_channel(struct turn *t, uint16_t index, uint64_t now_us)
{
	struct turn_channel *ch = &t->channels.at[index];

	turn_request_cancel(t, (uint16_t)(TURN_REQUEST_CHANNEL + index));
	ch->confirmed = true;
	ch->received = false;
	ch->bound_us = now_us;
}

void turn_refresh_channel(struct turn *t, uint16_t index, uint64_t now_us)
{
	struct turn_channel *ch = &t->channels.at[index];

	if (ch->state == TURN_CHANNEL_ACTIVE && ch->confirmed && turn_channel_fresh(ch, now_us))
		start_bind(t, index, now_us);
	else
		ch->received = false;
}
