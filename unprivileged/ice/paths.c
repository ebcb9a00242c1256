#include "ice/internal.h"

/*
 * A nominated pair is passed over when enough checks have arrived on another one since the last on
 * it. The third newest check of a pair is older than its newest, so no pair outweighs itself.
 */
static bool is_passed_over(const struct ice_pair *p, uint32_t outweigh)
{
	return outweigh > p->inbound_seq[0];
}

static uint32_t outweighing(const struct ice *ice)
{
	uint32_t newest = 0;

	for (unsigned i = 0; i < ice->n_pairs; i++) {
		const struct ice_pair *p = &ice->pairs[i];

		if (p->nominated && p->inbound_seq[ICE_OUTWEIGH - 1] > newest)
			newest = p->inbound_seq[ICE_OUTWEIGH - 1];
	}
	return newest;
}

/* As good, or the same host behind another port of its NAT. */
static bool is_akin(const struct ice *ice, const struct ice_pair *p, const struct ice_pair *q)
{
	return q->local == p->local &&
	       (q->priority == p->priority ||
		ip_eq(&ice->remotes[q->remote].c.addr.ip, &ice->remotes[p->remote].c.addr.ip));
}

/*
 * A pair akin to this one, which works, is what the peer checks now: its address has changed, if
 * the old one does not answer in the same time.
 */
static bool has_successor(const struct ice *ice, const struct ice_pair *p)
{
	for (unsigned i = 0; i < ice->n_pairs; i++) {
		const struct ice_pair *q = &ice->pairs[i];

		if (q != p && q->verified && q->inbound_seq[0] > p->inbound_seq[0] &&
		    is_akin(ice, p, q))
			return true;
	}
	return false;
}

/*
 * When the pair counts as silent if no answer comes. The peer's checks may still arrive while
 * nothing of ours gets through to it, and a lost check or two are no sign of that. [spec
 * connections 4.4]
 */
static uint64_t silent_at_us(const struct ice *ice, const struct ice_pair *p)
{
	bool soon = p->serial == ice->selected && has_successor(ice, p);
	uint32_t least = soon ? ICE_SUCCEED_CHECKS : ICE_SILENT_CHECKS;
	uint64_t for_us = (soon ? ICE_SUCCEED_MS : ICE_SILENT_MS) * US_PER_MS;
	uint64_t answer_us = p->last_sent_us + ICE_RETRIGGER_MS * US_PER_MS;

	if (ice->controlling || p->silent || ice_unanswered(p) < least)
		return NEVER_US;
	return max_u64(p->run_start_us + for_us, answer_us);
}

/* What a pair once was is no promise that it still works when the peer comes back to it. */
static void judge(struct ice *ice, uint32_t outweigh)
{
	for (unsigned i = 0; i < ice->n_pairs; i++) {
		struct ice_pair *p = &ice->pairs[i];

		if (silent_at_us(ice, p) <= ice->now_us)
			p->silent = true;
		if (p->silent || (p->nominated && is_passed_over(p, outweigh)))
			p->verified = false;
	}
}

/* The first in order of priority; of equal ones the current one, else what the peer checked last.
 */
static struct ice_pair *best_of(struct ice *ice, uint32_t outweigh, bool verified)
{
	struct ice_pair *best = NULL;

	for (unsigned i = 0; i < ice->n_pairs; i++) {
		struct ice_pair *p = &ice->pairs[i];

		if (!p->nominated || is_passed_over(p, outweigh) || (verified && !p->verified))
			continue;
		if (best && p->priority < best->priority)
			break;
		if (!best || p->serial == ice->selected ||
		    (best->serial != ice->selected && p->inbound_seq[0] > best->inbound_seq[0]))
			best = p;
	}
	return best;
}

/*
 * The path in use neither answers nor brings the peer's checks any more, and they arrive here
 * instead: a peer that nominates once need not do it again after its address has changed. Equal
 * ones: what the peer checked last.
 */
static struct ice_pair *heir(struct ice *ice)
{
	const struct ice_pair *old = ice_pair_find(ice, ice->selected);
	struct ice_pair *best = NULL;

	if (!old || !old->silent)
		return NULL;
	for (unsigned i = 0; i < ice->n_pairs; i++) {
		struct ice_pair *p = &ice->pairs[i];

		if (!p->verified || p->inbound_seq[0] <= old->inbound_seq[0])
			continue;
		if (!best ||
		    (p->priority == best->priority && p->inbound_seq[0] > best->inbound_seq[0]))
			best = p;
	}
	if (best)
		best->nominated = true;
	return best;
}

/* The best of those that an answer has shown to work, nominated or not. */
static struct ice_pair *best_valid(struct ice *ice)
{
	for (unsigned i = 0; i < ice->n_pairs; i++)
		if (ice->pairs[i].verified)
			return &ice->pairs[i];
	return NULL;
}

static bool path_eq(const struct ice_path *a, const struct ice_path *b)
{
	return endpoint_eq(&a->local, &b->local) && endpoint_eq(&a->remote, &b->remote) &&
	       a->via_relay == b->via_relay;
}

/* News is what differs from what the caller was told last. */
static void take(struct ice *ice, const struct ice_pair *best)
{
	struct ice_path path;

	if (!best) {
		ice->selected = 0;
		ice->path_news = ice->told_path;
		return;
	}
	path = ice_pair_path(ice, best);
	if (!ice->told_path || !path_eq(&path, &ice->path)) {
		ice->path = path;
		ice->path_news = true;
	}
	ice->selected = best->serial;
}

static struct ice_pair *choose(struct ice *ice)
{
	uint32_t outweigh = outweighing(ice);
	struct ice_pair *best;

	judge(ice, outweigh);
	best = best_of(ice, outweigh, true);
	if (!best)
		best = heir(ice);
	if (!best)
		best = ice_pair_find(ice, ice->selected);
	if (!best && ice->adrift)
		best = best_valid(ice);
	if (!best)
		best = best_of(ice, outweigh, false);
	return best;
}

void ice_select(struct ice *ice)
{
	struct ice_pair *best = choose(ice);

	/* Of the one in use more is asked: each further round has found one more silent. */
	while (best && best->serial != ice->selected) {
		ice->selected = best->serial;
		best = choose(ice);
	}
	ice->adrift = ice->adrift && !(best && best->nominated);
	take(ice, best);
}

/* What is known of the pair's health is void. */
static void check_afresh(const struct ice *ice, struct ice_pair *p)
{
	p->forgotten = p->sent;
	p->doubted = false;
	p->silent = false;
	if (p->sent == 0 || p->last_sent_us != ice->now_us)
		p->next_us = ice->now_us;
}

void ice_roam(struct ice *ice, enum ice_fate fate)
{
	struct ice_pair *p = ice_pair_find(ice, ice->selected);

	if (p && fate == ICE_PATH_KEPT)
		return;
	if (p) {
		p->verified = false;
		p->urgent = true;
	}
	if (p && fate == ICE_PATH_LOST)
		p->nominated = false;
	if (!p || fate == ICE_PATH_LOST)
		ice->selected = 0;
	ice->adrift = ice->path.remote.ip.family != IP_NONE && ice->selected == 0;
	for (unsigned i = 0; i < ice->n_pairs; i++)
		check_afresh(ice, &ice->pairs[i]);
}

static void ask(const struct ice *ice, struct ice_pair *p)
{
	p->doubted = true;
	p->doubt_from = p->sent;
	p->next_us = ice->now_us;
}

/*
 * Ask at once, and often until an answer comes; a check that has just gone out is the first one. A
 * second doubt is no reason to wait longer for the answer to the first.
 */
static void doubt(const struct ice *ice, struct ice_pair *p)
{
	bool asked = p->last_sent_us + ICE_RETRIGGER_MS * US_PER_MS > ice->now_us;

	if (p->sent == 0 || (asked && (p->doubted || ice_unanswered(p) == 0)))
		return;
	if (p->doubted) {
		p->next_us = ice->now_us;
		return;
	}
	ask(ice, p);
	if (asked) {
		p->doubt_from--;
		p->run_start_us = p->last_sent_us;
		ice_schedule(ice, p);
	}
}

static uint64_t heard_or_asked_us(const struct ice_pair *p)
{
	return max_u64(p->inbound_us, p->last_sent_us);
}

void ice_doubt_selected(struct ice *ice, const struct ice_pair *wanted, enum ice_sign sign)
{
	struct ice_pair *p = ice_pair_find(ice, ice->selected);

	if (ice->controlling || !p || p == wanted)
		return;
	switch (sign) {
	case ICE_SIGN_NONE:
		break;
	case ICE_SIGN_NEW:
		doubt(ice, p);
		break;
	case ICE_SIGN_RETURN:
		if (heard_or_asked_us(p) + ICE_RETURN_MS * US_PER_MS <= ice->now_us)
			doubt(ice, p);
		break;
	case ICE_SIGN_AGAIN:
		if (!p->doubted)
			doubt(ice, p);
		break;
	}
}

void ice_doubt_base(struct ice *ice, const struct endpoint *base)
{
	for (unsigned i = 0; i < ice->n_pairs; i++) {
		struct ice_pair *p = &ice->pairs[i];

		if (p->verified && endpoint_eq(&ice->locals[p->local].c.base, base))
			doubt(ice, p);
	}
}

static uint64_t quiet_at_us(const struct ice *ice, const struct ice_pair *p)
{
	if (ice->controlling || ice->profile != ICE_ACTIVE || !p || p->sent == 0 || p->doubted)
		return NEVER_US;
	return heard_or_asked_us(p) + ICE_QUIET_MS * US_PER_MS;
}

void ice_ask_quiet(struct ice *ice)
{
	struct ice_pair *p = ice_pair_find(ice, ice->selected);

	if (quiet_at_us(ice, p) <= ice->now_us)
		ask(ice, p);
}

uint64_t ice_selected_deadline(const struct ice *ice)
{
	for (unsigned i = 0; i < ice->n_pairs; i++)
		if (ice->pairs[i].serial == ice->selected)
			return min_u64(silent_at_us(ice, &ice->pairs[i]),
				       quiet_at_us(ice, &ice->pairs[i]));
	return NEVER_US;
}
