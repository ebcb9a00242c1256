#include "turn/turn.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "turn/answer.h"
#include "turn/request.h"
#include "turn/state.h"
#include "turn/steps.h"

const char turn_realm[] = "firezone";

static bool config_ok(const struct turn_config *cfg)
{
	size_t username_len = cfg->username ? strlen(cfg->username) : 0;

	return username_len > 0 && username_len <= STUN_MAX_USERNAME && cfg->password &&
	       (cfg->v4.ip.family == IP_V4 || cfg->v4.ip.family == IP_NONE) &&
	       (cfg->v6.ip.family == IP_V6 || cfg->v6.ip.family == IP_NONE) &&
	       (cfg->v4.ip.family != IP_NONE || cfg->v6.ip.family != IP_NONE);
}

struct turn *turn_new(const struct turn_config *cfg, uint64_t now_us)
{
	struct turn *t = NULL;

	if (!config_ok(cfg))
		return NULL;
	t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	t->id = cfg->id;
	t->v4 = cfg->v4;
	t->v6 = cfg->v6;
	t->rng = cfg->rng;
	t->arena = cfg->arena;
	t->username = strdup(cfg->username);
	t->long_term_key = secret_get(cfg->arena);
	t->requests = calloc(TURN_REQUESTS, sizeof(*t->requests));
	t->queue = calloc(TURN_REQUESTS, sizeof(*t->queue));
	t->timers = heap_new(TURN_REQUESTS);
	if (!turn_channels_init(&t->channels, &t->rng) || !t->username || !t->long_term_key ||
	    !t->requests || !t->queue || !t->timers) {
		turn_free(t);
		return NULL;
	}
	stun_long_term_key(t->long_term_key, cfg->username, turn_realm, cfg->password);
	t->answered_us = now_us;
	turn_invalidate(t);
	turn_probe(t, now_us);
	return t;
}

void turn_free(struct turn *turn)
{
	if (!turn)
		return;
	turn_channels_free(&turn->channels);
	heap_free(turn->timers);
	free(turn->queue);
	free(turn->requests);
	secret_put(turn->arena, turn->long_term_key);
	free(turn->username);
	free(turn);
}

/* The spec's one try of one second is the first step of the ladder; what is lost on the way is not
 * the relay's end. */
static void on_refresh(struct turn *t, uint64_t now_us)
{
	t->asked_anew = t->state == TURN_ALLOCATING;
	if (t->state == TURN_SUSPENDED)
		turn_probe(t, now_us);
	else
		turn_refresh(t, now_us);
}

/* An answer is new enough for a second. */
static void on_probe(struct turn *t, uint64_t now_us)
{
	if (now_us >= add_us(t->answered_us, US_PER_S))
		turn_suspect(t, now_us);
}

/* The process ends: say so to the relay that may hold an allocation, and no more. */
static void on_delete(struct turn *t, uint64_t now_us)
{
	bool held = t->state == TURN_READY || t->state == TURN_ALLOCATING;
	uint8_t family = t->active;

	if (t->state == TURN_CLOSED)
		return;
	turn_drop(t);
	t->state = TURN_CLOSED;
	if (!held)
		return;
	t->refresh_kind = TURN_REFRESH_DELETE;
	turn_request_start(t, TURN_REQUEST_REFRESH, family, now_us);
}

/*
 * A series that began with an outage of eight seconds ends just behind it: so an allocation has one
 * more to answer. A request that is not answered while others are is the request's own trouble.
 */
static void on_signed_give_up(struct turn *t, uint16_t id, uint64_t now_us)
{
	struct turn_request *r = &t->requests[id];

	if (!r->again) {
		turn_request_start(t, id, t->active, now_us);
		r->again = true;
		turn_suspect(t, now_us);
	} else if (t->signed_us < r->first_us) {
		turn_lose_path(t, now_us);
	} else if (id >= TURN_REQUEST_CHANNEL) {
		turn_forget_channel(t, (uint16_t)(id - TURN_REQUEST_CHANNEL), 0, now_us);
	} else {
		t->refresh_us = add_us(now_us, TURN_REFRESH_RETRY_US);
	}
}

static void on_give_up(struct turn *t, uint64_t now_us, uint16_t id)
{
	uint8_t family = t->requests[id].family;

	if (t->away) {
		if (t->suspect && id == turn_binding_of(t->active))
			turn_trust(t);
		turn_request_start(t, id, family, now_us);
		return;
	}
	if (t->state == TURN_READY && t->active == family && id != turn_binding_of(family)) {
		on_signed_give_up(t, id, now_us);
		return;
	}
	if (t->active != IP_NONE) {
		if (t->active == family)
			turn_lose_path(t, now_us);
		return;
	}
	if (!t->requests[TURN_REQUEST_BINDING_V4].pending &&
	    !t->requests[TURN_REQUEST_BINDING_V6].pending)
		turn_drop(t);
}

/* A Binding to the address of the allocation has gone unanswered. True: that was all. */
static bool on_binding_due(struct turn *t, uint64_t now_us)
{
	const struct turn_request *r = &t->requests[turn_binding_of(t->active)];

	if (t->away)
		return false;
	if (!t->suspect) {
		turn_suspect(t, now_us);
		return true;
	}
	if (!t->silent && r->tries >= TURN_PROBES_FAST)
		turn_fall_silent(t, now_us);
	return false;
}

static void on_due(struct turn *t, uint16_t id, uint64_t now_us)
{
	BUG_ON(!t->requests[id].pending && id < TURN_REQUEST_CHANNEL);
	if (!t->requests[id].pending) {
		turn_refresh_channel(t, (uint16_t)(id - TURN_REQUEST_CHANNEL), now_us);
		return;
	}
	if (t->state == TURN_READY && id == turn_binding_of(t->active) && on_binding_due(t, now_us))
		return;
	if (!turn_request_due(t, id, now_us))
		on_give_up(t, now_us, id);
}

/* When the active address wants a Binding; never while one is in flight. */
static uint64_t keepalive_us(const struct turn *t)
{
	uint64_t proof_us = max_u64(t->answered_us, t->last_binding_us);

	if (t->requests[turn_binding_of(t->active)].pending)
		return NEVER_US;
	if (t->last_sent_us >= add_us(proof_us, TURN_PROOF_US))
		return t->last_sent_us;
	return add_us(t->last_binding_us, TURN_KEEPALIVE_US);
}

/* When what was sent has been unanswered for too long. */
static uint64_t suspect_us(const struct turn *t)
{
	return t->suspect || t->away ? NEVER_US : add_us(t->unanswered_us, TURN_UNHEARD_US);
}

static void run_ready(struct turn *t, uint64_t now_us)
{
	if (now_us >= t->expires_us) {
		turn_note(t, TURN_NOTE_EXPIRED, STUN_REFRESH, 0);
		turn_invalidate(t);
		turn_allocate(t, now_us);
		return;
	}
	if (now_us >= t->refresh_us)
		turn_refresh(t, now_us);
	if (now_us >= suspect_us(t))
		turn_suspect(t, now_us);
	if (now_us >= keepalive_us(t)) {
		t->last_binding_us = now_us;
		turn_request_start(t, turn_binding_of(t->active), t->active, now_us);
	}
}

static void run_timers(struct turn *t, uint64_t now_us)
{
	uint32_t id = 0;

	while (!turn_is_over(t) && heap_take_due(t->timers, now_us, &id))
		on_due(t, (uint16_t)id, now_us);
	if (t->state == TURN_ALLOCATING && now_us >= t->allocate_us)
		turn_allocate(t, now_us);
	if (t->state == TURN_SUSPENDED && now_us >= t->retry_us)
		turn_probe(t, now_us);
	if (t->state == TURN_READY)
		run_ready(t, now_us);
}

void turn_handle(struct turn *turn, const struct turn_input *in, uint64_t now_us)
{
	switch (in->kind) {
	case TURN_INPUT_DATAGRAM:
		turn_answer(turn, in->u.datagram.buf, in->u.datagram.len, &in->u.datagram.src,
			    &in->u.datagram.dst, now_us);
		break;
	case TURN_INPUT_BIND:
		turn_bind(turn, &in->u.bind.peer, in->u.bind.owner, now_us);
		break;
	case TURN_INPUT_REFRESH:
		on_refresh(turn, now_us);
		break;
	case TURN_INPUT_PROBE:
		on_probe(turn, now_us);
		break;
	case TURN_INPUT_ROAM:
		turn_roam(turn, in->u.roam, now_us);
		break;
	case TURN_INPUT_LOCAL_DEAD:
		turn_forget_local(turn, &in->u.local_dead);
		break;
	case TURN_INPUT_DELETE:
		on_delete(turn, now_us);
		break;
	case TURN_INPUT_TIMEOUT:
		break;
	}
	run_timers(turn, now_us);
}

static bool same_candidate(const struct candidate *a, const struct candidate *b)
{
	return endpoint_eq(&a->addr, &b->addr) && endpoint_eq(&a->base, &b->base) &&
	       a->relay_family == b->relay_family;
}

/* The next difference between what is known and what the caller knows. A host or reflexive
 * candidate that another one replaces is not withdrawn. */
static bool poll_candidate(struct turn *t, struct turn_output *out)
{
	for (int slot = 0; slot < TURN_SLOTS; slot++) {
		const struct candidate *now = &t->current[slot];
		struct candidate *told = &t->announced[slot];

		if (same_candidate(now, told))
			continue;
		if (told->addr.ip.family != IP_NONE &&
		    (told->kind == CANDIDATE_RELAY || now->addr.ip.family == IP_NONE)) {
			out->kind = TURN_OUTPUT_LOST;
			out->u.lost = *told;
			*told = (struct candidate){.kind = told->kind};
			return true;
		}
		out->kind = TURN_OUTPUT_CANDIDATE;
		out->u.candidate = *now;
		*told = *now;
		return true;
	}
	return false;
}

bool turn_poll(struct turn *turn, struct turn_output *out)
{
	const struct endpoint *dst = NULL;
	size_t len = 0;

	if (turn->state != TURN_CLOSED && poll_candidate(turn, out))
		return true;
	len = turn_request_build_next(turn, &dst);
	if (len > 0) {
		out->kind = TURN_OUTPUT_TRANSMIT;
		out->u.transmit.dst = *dst;
		out->u.transmit.data = turn->out;
		out->u.transmit.len = len;
		return true;
	}
	if (turn->state != TURN_DROPPED || turn->drop_told)
		return false;
	turn->drop_told = true;
	out->kind = TURN_OUTPUT_DROPPED;
	return true;
}

uint64_t turn_deadline(const struct turn *turn)
{
	uint64_t at_us = heap_first_us(turn->timers);

	if (turn_is_over(turn))
		return NEVER_US;
	if (turn->state == TURN_ALLOCATING)
		at_us = min_u64(at_us, turn->allocate_us);
	if (turn->state == TURN_SUSPENDED)
		at_us = min_u64(at_us, turn->retry_us);
	if (turn->state != TURN_READY)
		return at_us;
	at_us = min_u64(at_us, min_u64(turn->expires_us, keepalive_us(turn)));
	at_us = min_u64(at_us, suspect_us(turn));
	if (!turn->requests[TURN_REQUEST_REFRESH].pending)
		at_us = min_u64(at_us, turn->refresh_us);
	return at_us;
}

void turn_set_away(struct turn *turn, bool away)
{
	/* Back again: what went unanswered meanwhile says nothing. */
	if (turn->away && !away) {
		turn->unanswered_us = NEVER_US;
		if (turn->suspect)
			turn->requests[turn_binding_of(turn->active)].tries = 1;
	}
	turn->away = away;
}

enum turn_standing turn_standing(const struct turn *turn)
{
	switch (turn->state) {
	case TURN_PROBING:
	case TURN_ALLOCATING:
		return TURN_WORKING;
	case TURN_READY:
		if (turn->silent)
			return TURN_SILENT;
		/* Two unanswered in a row may be nothing. */
		return turn->suspect && turn->requests[turn_binding_of(turn->active)].tries > 2
			   ? TURN_SUSPECT
			   : TURN_STANDS;
	case TURN_SUSPENDED:
		return TURN_REFUSED;
	case TURN_DROPPED:
	case TURN_CLOSED:
		break;
	}
	return TURN_OVER;
}

bool turn_take_note(struct turn *turn, struct turn_note *out)
{
	if (turn->n_notes == 0)
		return false;
	*out = turn->notes[0];
	turn->n_notes--;
	memmove(&turn->notes[0], &turn->notes[1], turn->n_notes * sizeof(turn->notes[0]));
	return true;
}

const struct uuid *turn_id(const struct turn *turn)
{
	return &turn->id;
}

bool turn_has_address(const struct turn *turn, const struct endpoint *ep)
{
	return ep->ip.family != IP_NONE &&
	       (endpoint_eq(&turn->v4, ep) || endpoint_eq(&turn->v6, ep));
}

void turn_addresses(const struct turn *turn, struct endpoint *v4, struct endpoint *v6)
{
	*v4 = turn->v4;
	*v6 = turn->v6;
}

bool turn_same_config(const struct turn *turn, const struct turn_config *cfg)
{
	uint8_t key[TURN_KEY_LEN];
	bool same = false;

	if (!config_ok(cfg) || !uuid_eq(&turn->id, &cfg->id) || !endpoint_eq(&turn->v4, &cfg->v4) ||
	    !endpoint_eq(&turn->v6, &cfg->v6) || strcmp(turn->username, cfg->username) != 0)
		return false;
	stun_long_term_key(key, cfg->username, turn_realm, cfg->password);
	same = sodium_memcmp(key, turn->long_term_key, sizeof(key)) == 0;
	sodium_memzero(key, sizeof(key));
	return same;
}

uint64_t turn_rtt_us(const struct turn *turn)
{
	return turn->rtt_us;
}

size_t turn_candidates(const struct turn *turn, struct candidate out[TURN_MAX_CANDIDATES])
{
	size_t n = 0;

	for (int slot = 0; slot < TURN_SLOTS; slot++) {
		if (turn->current[slot].addr.ip.family != IP_NONE)
			out[n++] = turn->current[slot];
	}
	return n;
}

bool turn_relayed(const struct turn *turn, uint8_t family, struct endpoint *out)
{
	const struct candidate *relay = NULL;

	if (family != IP_V4 && family != IP_V6)
		return false;
	relay = turn_relay_of(turn, family);
	if (relay->addr.ip.family == IP_NONE)
		return false;
	*out = relay->addr;
	return true;
}

bool turn_channel_out(struct turn *turn, const struct endpoint *peer, uint64_t now_us,
		      uint16_t *number, struct endpoint *relay)
{
	uint16_t index = turn_channels_find(&turn->channels, peer);
	struct turn_channel *ch = NULL;

	if (index == TURN_NO_CHANNEL)
		return false;
	ch = &turn->channels.at[index];
	if (!turn_channel_fresh(ch, now_us))
		return false;
	ch->used_us = now_us;
	turn->last_sent_us = now_us;
	if (turn->unanswered_us == NEVER_US)
		turn->unanswered_us = now_us;
	*number = (uint16_t)(TURN_CHANNEL_MIN + index);
	*relay = *turn_address(turn, turn->active);
	return true;
}

bool turn_channel_in(struct turn *turn, uint16_t number, uint64_t now_us, struct endpoint *peer)
{
	struct turn_channel *ch = NULL;
	uint16_t index = (uint16_t)(number - TURN_CHANNEL_MIN);
	uint16_t id = (uint16_t)(TURN_REQUEST_CHANNEL + index);

	if (number < TURN_CHANNEL_MIN || number > TURN_CHANNEL_MAX)
		return false;
	ch = &turn->channels.at[index];
	if (ch->state != TURN_CHANNEL_ACTIVE || !ch->confirmed || !turn_channel_fresh(ch, now_us))
		return false;
	ch->used_us = now_us;
	/* The first one since the last bind earns the channel its refresh. */
	if (!ch->received && !turn->requests[id].pending) {
		uint64_t due_us = add_us(ch->bound_us, TURN_CHANNEL_REFRESH_US);

		heap_set(turn->timers, id, max_u64(due_us, now_us));
	}
	ch->received = true;
	turn->data_us = now_us;
	turn->unanswered_us = NEVER_US;
	*peer = ch->peer;
	return true;
}
