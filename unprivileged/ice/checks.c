#include "ice/internal.h"

#include <string.h>

#include "packet/bytes.h"

enum {
	SHIFT_MAX = 16 /* of an interval: beyond any longest one */
};

struct timing {
	uint64_t initial_us, max_us;
	uint32_t limit;
};

/* [spec connections 2.2] */
static const struct timing timings[] = {
    [ICE_ACTIVE] = {.initial_us = 250 * US_PER_MS, .max_us = 15 * US_PER_S, .limit = 45},
    [ICE_IDLE] = {.initial_us = 25 * US_PER_S, .max_us = 25 * US_PER_S, .limit = 40},
};

static const struct timing client_timings[] = {
    [ICE_ACTIVE] = {.initial_us = 250 * US_PER_MS, .max_us = 1500 * US_PER_MS, .limit = 12},
    [ICE_IDLE] = {.initial_us = 25 * US_PER_S, .max_us = 25 * US_PER_S, .limit = 4},
};

static const struct timing *timing_of(const struct ice *ice)
{
	return ice->controlling ? &client_timings[ice->profile] : &timings[ice->profile];
}

uint32_t ice_check_limit(const struct ice *ice)
{
	return timing_of(ice)->limit;
}

uint64_t ice_interval_us(const struct ice *ice, uint32_t n)
{
	const struct timing *t = timing_of(ice);

	if (n == 0)
		return 0;
	if (n - 1 > SHIFT_MAX)
		return t->max_us;
	return min_u64(t->initial_us << (n - 1), t->max_us);
}

/* The checks before these are no part of the question. */
static uint32_t asked_from(const struct ice_pair *p)
{
	uint32_t from = p->answered > p->forgotten ? p->answered : p->forgotten;

	return p->doubted && p->doubt_from > from ? p->doubt_from : from;
}

uint32_t ice_unanswered(const struct ice_pair *p)
{
	return p->sent - asked_from(p);
}

/* The gap after n checks of a pair in doubt. */
static uint64_t doubt_interval_us(uint32_t n, uint64_t max_us)
{
	const uint64_t first_us = ICE_ASK_MS * US_PER_MS;

	return n == 0 || n - 1 > SHIFT_MAX ? max_us : min_u64(first_us << (n - 1), max_us);
}

void ice_schedule(const struct ice *ice, struct ice_pair *p)
{
	const struct timing *t = timing_of(ice);
	uint32_t run = p->sent - p->answered;
	uint32_t n = p->sent - p->forgotten;

	if (p->doubted) {
		p->next_us =
		    p->last_sent_us + doubt_interval_us(p->sent - p->doubt_from, t->max_us);
		return;
	}
	if (run > 0 && run < n && ice->now_us - p->run_start_us > t->max_us / 2)
		n = run;
	if (n > t->limit)
		n = t->limit;
	p->next_us = min_u64(p->last_sent_us + ice_interval_us(ice, n), ice->now_us + t->max_us);
}

/* Milliseconds since the agent's creation; differences survive the wrap. */
static uint32_t flight_clock(const struct ice *ice)
{
	return (uint32_t)((ice->now_us - ice->created_us) / US_PER_MS);
}

static uint32_t flight_age_ms(const struct ice *ice, const struct ice_flight *f)
{
	return flight_clock(ice) - f->sent_ms;
}

static bool flight_is_over(const struct ice *ice, const struct ice_flight *f)
{
	return flight_age_ms(ice, f) > ICE_FLIGHT_S * 1000;
}

static void flights_drop_first(struct ice *ice, uint16_t n)
{
	ice->n_flights = (uint16_t)(ice->n_flights - n);
	memmove(ice->flights, ice->flights + n, ice->n_flights * sizeof(ice->flights[0]));
}

void ice_flights_drop_old(struct ice *ice)
{
	uint16_t n = 0;

	while (n < ice->n_flights && flight_is_over(ice, &ice->flights[n]))
		n++;
	if (n > 0)
		flights_drop_first(ice, n);
}

static void flight_add(struct ice *ice, const struct ice_pair *p)
{
	struct ice_flight f = {
	    .pair = p->serial,
	    .number = p->sent,
	    .sent_ms = flight_clock(ice),
	};
	struct ice_flight *grown;

	memcpy(f.id, p->id, sizeof(f.id));
	if (ice->n_flights == ice->cap_flights)
		ice_flights_drop_old(ice);
	if (ice->n_flights == ICE_MAX_FLIGHTS)
		flights_drop_first(ice, 1);
	grown =
	    ice_room(ice->flights, &ice->cap_flights, ice->n_flights, ICE_MAX_FLIGHTS, sizeof(f));
	if (!grown)
		return;
	ice->flights = grown;
	ice->flights[ice->n_flights++] = f;
}

static void check_start(struct ice *ice, struct ice_pair *p)
{
	if (ice_unanswered(p) == 0)
		p->run_start_us = ice->now_us;
	p->sent++;
	p->last_sent_us = ice->now_us;
	p->unsent = true;
	rng_fill(&ice->rng, p->id, sizeof(p->id));
	flight_add(ice, p);
	ice_schedule(ice, p);
}

void ice_checks_start(struct ice *ice)
{
	for (unsigned i = 0; i < ice->n_pairs; i++)
		if (ice->pairs[i].next_us <= ice->now_us)
			check_start(ice, &ice->pairs[i]);
}

static struct stun_txid txid_of(const struct ice *ice, const uint8_t id[ICE_ID_LEN])
{
	struct stun_txid txid;
	struct writer w = writer_of(txid.bytes, sizeof(txid.bytes));

	wr_u8(&w, (uint8_t)(ice->tag >> 16));
	wr_u16(&w, (uint16_t)ice->tag);
	wr_bytes(&w, id, ICE_ID_LEN);
	return txid;
}

/* [spec connections 12.1] */
size_t ice_write_check(struct ice *ice, const struct ice_pair *p)
{
	struct stun_txid txid = txid_of(ice, p->id);
	uint32_t local_part = ice->locals[p->local].c.priority & 0x00ffffff;
	struct stun_builder b;

	stun_begin(&b, ice->buf, ice->buf_cap, STUN_BINDING, STUN_REQUEST, &txid);
	stun_put_bytes(&b, STUN_ATTR_USERNAME, ice->peer_username, strlen(ice->peer_username));
	stun_put_u64(&b, ice->controlling ? STUN_ATTR_ICE_CONTROLLING : STUN_ATTR_ICE_CONTROLLED,
		     ice->tie_breaker);
	stun_put_u32(&b, STUN_ATTR_PRIORITY, (uint32_t)ICE_PRFLX_TYPE << 24 | local_part);
	if (ice->controlling && p->nominated)
		stun_put_bytes(&b, STUN_ATTR_USE_CANDIDATE, "", 0);
	return stun_finish_by(ice->hmac, &b, (const uint8_t *)ice->remote_pwd_secret,
			      ice->remote_pwd_len, true);
}

/* [spec connections 12.2; RFC 8445 section 7.3.1.1] */
size_t ice_write_reply(struct ice *ice)
{
	const struct ice_reply *reply = &ice->reply;
	struct stun_builder b;

	stun_begin(&b, ice->buf, ice->buf_cap, STUN_BINDING,
		   reply->conflict ? STUN_ERROR : STUN_SUCCESS, &reply->txid);
	if (reply->conflict)
		stun_put_error(&b, ICE_ERROR_ROLE_CONFLICT, "Role Conflict");
	else
		stun_put_xor_address(&b, STUN_ATTR_XOR_MAPPED_ADDRESS, &reply->path.remote);
	return stun_finish_by(ice->hmac, &b, (const uint8_t *)ice->local_pwd_secret,
			      ice->local_pwd_len, true);
}

static void reply_set(struct ice *ice, const struct ice_input *in, int local, bool conflict)
{
	const struct candidate *l = &ice->locals[local].c;

	ice->reply = (struct ice_reply){
	    .txid = in->u.stun.msg->txid,
	    .path =
		{
		    .local = l->base,
		    .remote = in->u.stun.src,
		    .via_relay = l->kind == CANDIDATE_RELAY,
		},
	    .due = true,
	    .conflict = conflict,
	};
}

/*
 * The peer's check makes one of ours due at once: when it nominates, and on a pair that waits for
 * its success to carry traffic. @first: there was none before; @again: the newest one before
 * arrived later than any on the path in use, @old.
 */
static enum ice_sign nominate(const struct ice *ice, struct ice_pair *p, bool use_candidate,
			      const struct ice_pair *old)
{
	bool first = p->inbound_seq[1] == 0;
	bool again = old && p->inbound_seq[1] > old->inbound_seq[0];
	bool fresh = use_candidate && !p->nominated;
	bool waits;

	p->nominated = p->nominated || use_candidate;
	waits = (p->nominated || (old && old->silent)) && !p->verified && p->sent > 0 &&
		p->last_sent_us + ICE_RETRIGGER_MS * US_PER_MS <= ice->now_us;
	if (fresh || waits) {
		p->next_us = ice->now_us;
		p->urgent = true;
	}
	if (fresh || first)
		return ICE_SIGN_NEW;
	if (again)
		return ICE_SIGN_AGAIN;
	return waits ? ICE_SIGN_RETURN : ICE_SIGN_NONE;
}

static void count_inbound(struct ice *ice, struct ice_pair *p, const struct stun_msg *msg)
{
	const struct ice_pair *old = ice_pair_find(ice, ice->selected);
	bool use_candidate = msg->use_candidate && !ice->controlling;

	if (ice_pair_inbound(ice, p, &msg->txid))
		ice_doubt_selected(ice, p, nominate(ice, p, use_candidate, old));
}

/* In the order of spec connections 4.2, but nothing is remembered of a check whose destination is
 * not ours. */
void ice_request(struct ice *ice, const struct ice_input *in)
{
	const struct stun_msg *msg = in->u.stun.msg;
	const struct endpoint *src = &in->u.stun.src;
	int local = ice_local_at(ice, &in->u.stun.dst);
	bool withdrawn = false;
	struct ice_pair *p;
	int remote;

	if (!msg->has_priority || local < 0 || !ice_remote_allowed(ice, src) ||
	    src->ip.family != in->u.stun.dst.ip.family)
		return;
	if (!in->u.stun.owned && !ice_owns_request(ice, msg, in->u.stun.buf, in->u.stun.len))
		return;
	remote = ice_remote_at(ice, src, &withdrawn);
	if (withdrawn)
		return;
	if (ice->controlling ? msg->controlling : msg->controlled) {
		/* We never change our role, so the peer always has to. */
		reply_set(ice, in, local, true);
		return;
	}
	if (remote < 0)
		remote = ice_remote_discover(ice, src, msg->priority);
	p = remote < 0 ? NULL : ice_pair_make(ice, (unsigned)local, (unsigned)remote, true);
	if (!p)
		return;
	count_inbound(ice, p, msg);
	reply_set(ice, in, local, false);
}

static int flight_find(const struct ice *ice, const struct stun_txid *txid)
{
	struct stun_txid ours;

	for (int i = 0; i < ice->n_flights; i++) {
		ours = txid_of(ice, ice->flights[i].id);
		if (memcmp(&ours, txid, sizeof(ours)) == 0)
			return i;
	}
	return -1;
}

/* The unanswered run now begins with the check behind the answered one. */
static void run_restart(const struct ice *ice, struct ice_pair *p)
{
	p->run_start_us = ice->now_us;
	for (unsigned i = 0; i < ice->n_flights; i++) {
		const struct ice_flight *f = &ice->flights[i];

		if (f->pair == p->serial && f->number == p->answered + 1)
			p->run_start_us = ice->now_us - flight_age_ms(ice, f) * US_PER_MS;
	}
}

/*
 * A mapped address that we do not know makes no local candidate: pairs send from a base, so it
 * would form no pair of its own.
 */
void ice_response(struct ice *ice, const struct ice_input *in)
{
	const struct stun_msg *msg = in->u.stun.msg;
	int at = flight_find(ice, &msg->txid);
	struct ice_flight f;
	struct ice_pair *p;
	struct ice_path path;

	if (at < 0 || msg->mapped.ip.family == IP_NONE || flight_is_over(ice, &ice->flights[at]))
		return;
	f = ice->flights[at];
	p = ice_pair_find(ice, f.pair);
	if (!p)
		return;
	path = ice_pair_path(ice, p);
	if (!endpoint_eq(&path.remote, &in->u.stun.src) ||
	    !endpoint_eq(&path.local, &in->u.stun.dst))
		return;
	if (!stun_msg_verify_by(ice->hmac, msg, in->u.stun.buf, in->u.stun.len,
				(const uint8_t *)ice->remote_pwd_secret, ice->remote_pwd_len))
		return;
	ice->n_flights--;
	memmove(&ice->flights[at], &ice->flights[at + 1],
		(size_t)(ice->n_flights - at) * sizeof(ice->flights[0]));
	p->verified = true;
	p->silent = false;
	p->doubted = p->doubted && f.number <= p->doubt_from;
	ice->remotes[p->remote].answered = true;
	if (f.number > p->answered) {
		p->answered = f.number;
		run_restart(ice, p);
	}
	ice_schedule(ice, p);
}
