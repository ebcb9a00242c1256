#include "ice/internal.h"

#include <string.h>

#include "packet/bytes.h"

struct ice_path ice_pair_path(const struct ice *ice, const struct ice_pair *p)
{
	const struct candidate *l = &ice->locals[p->local].c;

	return (struct ice_path){
	    .local = l->base,
	    .remote = ice->remotes[p->remote].c.addr,
	    .via_relay = l->kind == CANDIDATE_RELAY,
	};
}

struct ice_pair *ice_pair_find(struct ice *ice, uint32_t serial)
{
	for (unsigned i = 0; i < ice->n_pairs; i++)
		if (ice->pairs[i].serial == serial)
			return &ice->pairs[i];
	return NULL;
}

static void remove_at(struct ice *ice, unsigned at)
{
	ice->n_pairs--;
	memmove(&ice->pairs[at], &ice->pairs[at + 1], (ice->n_pairs - at) * sizeof(ice->pairs[0]));
}

/* Behind those of equal priority. The caller has made room. */
static struct ice_pair *insert(struct ice *ice, const struct ice_pair *p)
{
	unsigned at = ice->n_pairs;

	while (at > 0 && ice->pairs[at - 1].priority < p->priority)
		at--;
	memmove(&ice->pairs[at + 1], &ice->pairs[at], (ice->n_pairs - at) * sizeof(ice->pairs[0]));
	ice->n_pairs++;
	ice->pairs[at] = *p;
	return &ice->pairs[at];
}

static uint64_t priority_of(const struct ice *ice, unsigned local, unsigned remote)
{
	uint32_t ours = ice->locals[local].c.priority, theirs = ice->remotes[remote].c.priority;

	return ice->controlling ? candidate_pair_priority(ours, theirs)
				: candidate_pair_priority(theirs, ours);
}

static int find_at(const struct ice *ice, const struct endpoint *base, const struct endpoint *addr)
{
	for (int i = 0; i < ice->n_pairs; i++) {
		const struct ice_pair *p = &ice->pairs[i];

		if (endpoint_eq(&ice->locals[p->local].c.base, base) &&
		    endpoint_eq(&ice->remotes[p->remote].c.addr, addr))
			return i;
	}
	return -1;
}

/* Whether the peer or an answer has shown that somebody is there. */
static bool is_proven(const struct ice_pair *p)
{
	return p->answered != 0 || p->inbound_us != 0;
}

/* Room for one more pair; in a full table the last one goes, an unproven one before a proven one.
 */
static bool make_room(struct ice *ice, uint64_t priority, bool inbound)
{
	struct ice_pair *grown;
	int victim = -1;

	if (ice->n_pairs < ICE_MAX_PAIRS) {
		grown = ice_room(ice->pairs, &ice->cap_pairs, ice->n_pairs, ICE_MAX_PAIRS,
				 sizeof(ice->pairs[0]));
		if (grown)
			ice->pairs = grown;
		return grown != NULL;
	}
	for (int i = ice->n_pairs - 1; i >= 0; i--) {
		if (ice->pairs[i].serial == ice->selected)
			continue;
		if (victim < 0)
			victim = i;
		if (!is_proven(&ice->pairs[i])) {
			victim = i;
			break;
		}
	}
	if (!inbound && ice->pairs[victim].priority >= priority)
		return false;
	remove_at(ice, (unsigned)victim);
	return true;
}

struct ice_pair *ice_pair_make(struct ice *ice, unsigned local, unsigned remote, bool inbound)
{
	const struct candidate *l = &ice->locals[local].c, *r = &ice->remotes[remote].c;
	uint64_t priority = priority_of(ice, local, remote);
	struct ice_pair p = {.created_us = ice->now_us, .next_us = ice->now_us};
	int old = find_at(ice, &l->base, &r->addr);

	if (l->base.ip.family != r->addr.ip.family)
		return NULL;
	if (old >= 0 && ice->pairs[old].priority >= priority)
		return &ice->pairs[old];
	if (old >= 0) {
		p = ice->pairs[old];
		remove_at(ice, (unsigned)old);
	} else if (make_room(ice, priority, inbound)) {
		p.serial = ++ice->serials;
	} else {
		return NULL;
	}
	p.local = (uint8_t)local;
	p.remote = (uint8_t)remote;
	p.priority = priority;
	return insert(ice, &p);
}

void ice_pairs_drop_local(struct ice *ice, unsigned local)
{
	for (unsigned i = ice->n_pairs; i > 0; i--)
		if (ice->pairs[i - 1].local == local)
			remove_at(ice, i - 1);
}

void ice_pairs_drop_remote(struct ice *ice, unsigned remote)
{
	for (unsigned i = ice->n_pairs; i > 0; i--)
		if (ice->pairs[i - 1].remote == remote)
			remove_at(ice, i - 1);
}

void ice_pairs_move_local(struct ice *ice, unsigned from, unsigned to)
{
	for (unsigned i = 0; i < ice->n_pairs; i++)
		if (ice->pairs[i].local == from)
			ice->pairs[i].local = (uint8_t)to;
}

void ice_pairs_move_remote(struct ice *ice, unsigned from, unsigned to)
{
	for (unsigned i = 0; i < ice->n_pairs; i++)
		if (ice->pairs[i].remote == from)
			ice->pairs[i].remote = (uint8_t)to;
}

void ice_pairs_reprice(struct ice *ice, unsigned remote)
{
	unsigned n = ice->n_pairs;

	/* Insertion sort: each pair is put where it belongs among those before it. */
	ice->n_pairs = 0;
	for (unsigned i = 0; i < n; i++) {
		struct ice_pair p = ice->pairs[i];

		if (p.remote == remote)
			p.priority = priority_of(ice, p.local, p.remote);
		(void)insert(ice, &p);
	}
}

bool ice_pair_inbound(struct ice *ice, struct ice_pair *p, const struct stun_txid *txid)
{
	struct reader r = reader_of(txid->bytes, sizeof(txid->bytes));
	uint32_t id;

	rd_skip(&r, sizeof(txid->bytes) - sizeof(id));
	id = rd_u32(&r);
	p->inbound_us = ice->now_us;
	for (unsigned i = 0; i < ICE_OUTWEIGH; i++)
		if (p->inbound_seq[i] != 0 && p->inbound_id[i] == id)
			return false;
	for (unsigned i = ICE_OUTWEIGH - 1; i > 0; i--) {
		p->inbound_id[i] = p->inbound_id[i - 1];
		p->inbound_seq[i] = p->inbound_seq[i - 1];
	}
	p->inbound_id[0] = id;
	p->inbound_seq[0] = ++ice->inbound_seq;
	return true;
}

uint64_t ice_pair_end_us(const struct ice *ice, const struct ice_pair *p)
{
	uint32_t limit = ice_check_limit(ice);
	uint64_t seen_us = max_u64(p->inbound_us, p->created_us);
	uint64_t end_us = NEVER_US;

	if (p->sent - p->answered >= limit)
		end_us = p->last_sent_us + ice_interval_us(ice, limit);
	if (!ice->remotes[p->remote].answered)
		end_us = min_u64(end_us, seen_us + ICE_UNPROVEN_S * US_PER_S);
	if (p->inbound_us != 0 && end_us < p->inbound_us + ICE_INBOUND_KEEP_S * US_PER_S)
		end_us = p->inbound_us + ICE_INBOUND_KEEP_S * US_PER_S;
	return end_us;
}

void ice_pairs_drop_expired(struct ice *ice)
{
	for (unsigned i = ice->n_pairs; i > 0; i--)
		if (ice_pair_end_us(ice, &ice->pairs[i - 1]) <= ice->now_us)
			remove_at(ice, i - 1);
}
