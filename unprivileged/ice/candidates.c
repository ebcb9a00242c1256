#include "ice/internal.h"

#include <stdlib.h>
#include <string.h>

void *ice_room(void *array, uint16_t *cap, uint16_t n, uint16_t max, size_t size)
{
	enum {
		FIRST = 4
	};
	uint16_t want = *cap == 0 ? FIRST : (uint16_t)(*cap * 2);
	void *grown;

	if (n < *cap)
		return array;
	if (n >= max)
		return NULL;
	if (want > max)
		want = max;
	grown = reallocarray(array, want, size);
	if (grown)
		*cap = want;
	return grown;
}

void *ice_trim(void *array, uint16_t *cap, uint16_t n, size_t size)
{
	void *less;

	if (n == 0) {
		free(array);
		*cap = 0;
		return NULL;
	}
	less = reallocarray(array, n, size);
	if (!less)
		return array;
	*cap = n;
	return less;
}

static bool same_place(const struct candidate *a, const struct candidate *b)
{
	return endpoint_eq(&a->addr, &b->addr) && endpoint_eq(&a->base, &b->base);
}

static bool is_family(uint8_t family)
{
	return family == IP_V4 || family == IP_V6;
}

/* Peer-reflexive ones are paired with the candidate that they were seen on only. */
static void pair_local(struct ice *ice, unsigned local)
{
	for (unsigned i = 0; i < ice->n_remotes; i++)
		if (!ice->remotes[i].discarded && !ice->remotes[i].undeclared)
			(void)ice_pair_make(ice, local, i, false);
}

static void pair_remote(struct ice *ice, unsigned remote)
{
	for (unsigned i = 0; i < ice->n_locals; i++)
		if (!ice->locals[i].discarded)
			(void)ice_pair_make(ice, i, remote, false);
}

/* Another live candidate takes over what the pairs of a withdrawn one covered. */
static void pair_heirs_of_local(struct ice *ice, const struct endpoint *base)
{
	for (unsigned i = 0; i < ice->n_locals; i++)
		if (!ice->locals[i].discarded && endpoint_eq(&ice->locals[i].c.base, base))
			pair_local(ice, i);
}

static void pair_heirs_of_remote(struct ice *ice, const struct endpoint *addr)
{
	for (unsigned i = 0; i < ice->n_remotes; i++)
		if (!ice->remotes[i].discarded && !ice->remotes[i].undeclared &&
		    endpoint_eq(&ice->remotes[i].c.addr, addr))
			pair_remote(ice, i);
}

/* The live local candidate that makes another one at the same place redundant, or -1. */
static int local_rival(const struct ice *ice, const struct candidate *c, int except)
{
	for (int i = 0; i < ice->n_locals; i++)
		if (i != except && !ice->locals[i].discarded && same_place(&ice->locals[i].c, c))
			return i;
	return -1;
}

static int local_same(const struct ice *ice, const struct candidate *c)
{
	for (int i = 0; i < ice->n_locals; i++)
		if (ice->locals[i].c.kind == c->kind && same_place(&ice->locals[i].c, c))
			return i;
	return -1;
}

static bool is_selected_local(struct ice *ice, unsigned local)
{
	const struct ice_pair *p = ice_pair_find(ice, ice->selected);

	return p && p->local == local;
}

/* Oldest withdrawn or redundant one, else the oldest that carries no traffic. */
static void local_forget_one(struct ice *ice)
{
	unsigned victim = 0;
	bool found = false, found_discarded = false;

	for (unsigned i = 0; i < ice->n_locals; i++) {
		const struct ice_local *l = &ice->locals[i];

		if (is_selected_local(ice, i) || (found_discarded && !l->discarded))
			continue;
		if (!found || (l->discarded && !found_discarded) ||
		    l->serial < ice->locals[victim].serial)
			victim = i;
		found = true;
		found_discarded = found_discarded || l->discarded;
	}
	ice_pairs_drop_local(ice, victim);
	ice->n_locals--;
	if (victim != ice->n_locals) {
		ice->locals[victim] = ice->locals[ice->n_locals];
		ice_pairs_move_local(ice, ice->n_locals, victim);
	}
}

static int local_store(struct ice *ice, const struct candidate *c)
{
	struct ice_local *grown;
	unsigned family = c->addr.ip.family == IP_V6;
	uint16_t *earlier = &ice->earlier[c->kind][family];
	struct ice_local l = {.c = *c, .serial = ++ice->serials, .discarded = true};

	if (ice->n_locals == ICE_MAX_LOCAL)
		local_forget_one(ice);
	grown = ice_room(ice->locals, &ice->cap_locals, ice->n_locals, ICE_MAX_LOCAL, sizeof(l));
	if (!grown)
		return -1;
	l.c.priority = candidate_priority(c->kind, c->addr.ip.family, c->relay_family, *earlier);
	if (*earlier < UINT16_MAX)
		(*earlier)++;
	ice->locals = grown;
	ice->locals[ice->n_locals] = l;
	return ice->n_locals++;
}

/* What was signalled or discovered before we learnt that it is ourselves. */
static void drop_own_remotes(struct ice *ice)
{
	for (unsigned i = 0; i < ice->n_remotes; i++) {
		struct ice_remote *r = &ice->remotes[i];

		if (r->discarded || ice_remote_allowed(ice, &r->c.addr))
			continue;
		r->discarded = true;
		ice_pairs_drop_remote(ice, i);
	}
}

/* A NAT of ours has shown other addresses to others, or before: the peer may not see ours any more.
 */
static bool is_seen_elsewhere(const struct ice *ice, int except)
{
	const struct candidate *c = &ice->locals[except].c;

	for (int i = 0; i < ice->n_locals && c->kind == CANDIDATE_SRFLX; i++)
		if (i != except && ice->locals[i].c.kind == CANDIDATE_SRFLX &&
		    endpoint_eq(&ice->locals[i].c.base, &c->base))
			return true;
	return false;
}

void ice_local_add(struct ice *ice, const struct candidate *c)
{
	int at, rival;

	if (!is_family(c->addr.ip.family) || c->base.ip.family != c->addr.ip.family)
		return;
	at = local_same(ice, c);
	if (at < 0)
		at = local_store(ice, c);
	if (at < 0 || !ice->locals[at].discarded)
		return;
	rival = local_rival(ice, c, at);
	if (rival >= 0 && ice->locals[rival].c.priority >= ice->locals[at].c.priority)
		return;
	ice->locals[at].discarded = false;
	ice->locals[at].announce = true;
	pair_local(ice, (unsigned)at);
	if (rival >= 0) {
		ice->locals[rival].discarded = true;
		ice->locals[rival].announce = false;
		ice_pairs_drop_local(ice, (unsigned)rival);
	}
	drop_own_remotes(ice);
	if (is_seen_elsewhere(ice, at))
		ice_doubt_base(ice, &c->base);
}

void ice_local_remove(struct ice *ice, const struct candidate *c)
{
	for (unsigned i = 0; i < ice->n_locals; i++) {
		struct ice_local *l = &ice->locals[i];

		if (l->discarded || l->c.kind != c->kind || !endpoint_eq(&l->c.addr, &c->addr))
			continue;
		l->discarded = true;
		l->announce = false;
		ice_pairs_drop_local(ice, i);
		pair_heirs_of_local(ice, &l->c.base);
	}
}

int ice_local_at(const struct ice *ice, const struct endpoint *dst)
{
	for (int i = 0; i < ice->n_locals; i++) {
		const struct ice_local *l = &ice->locals[i];

		if (!l->discarded && endpoint_eq(&l->c.addr, dst) &&
		    (l->c.kind == CANDIDATE_HOST || l->c.kind == CANDIDATE_RELAY))
			return i;
	}
	return -1;
}

bool ice_remote_allowed(const struct ice *ice, const struct endpoint *ep)
{
	if (!candidate_addr_usable(ep))
		return false;
	for (unsigned i = 0; i < ice->n_locals; i++) {
		const struct ice_local *l = &ice->locals[i];

		/* Any port of our own host; behind a NAT or on a relay only our own port is us. One
		 * that was withdrawn may still be on the host. */
		if (l->c.kind != CANDIDATE_RELAY && ip_eq(&l->c.base.ip, &ep->ip))
			return false;
		if (!l->discarded && endpoint_eq(&l->c.addr, ep))
			return false;
	}
	return true;
}

int ice_remote_at(const struct ice *ice, const struct endpoint *src, bool *withdrawn)
{
	int best = -1;

	*withdrawn = false;
	for (int i = 0; i < ice->n_remotes; i++) {
		const struct ice_remote *r = &ice->remotes[i];

		if (!endpoint_eq(&r->c.addr, src))
			continue;
		if (r->discarded)
			*withdrawn = true;
		else if (best < 0 || r->c.priority > ice->remotes[best].c.priority)
			best = i;
	}
	*withdrawn = *withdrawn && best < 0;
	return best;
}

static unsigned remote_count(const struct ice *ice, bool undeclared)
{
	unsigned n = 0;

	for (unsigned i = 0; i < ice->n_remotes; i++)
		n += ice->remotes[i].undeclared == undeclared;
	return n;
}

/* How much a remote candidate is in use: nothing came of it, it answered us, it carries the
 * traffic. */
static unsigned remote_use(struct ice *ice, unsigned remote)
{
	const struct ice_pair *p = ice_pair_find(ice, ice->selected);

	if (p && p->remote == remote)
		return 2;
	return ice->remotes[remote].answered && !ice->remotes[remote].discarded;
}

/* The oldest of the least used ones of its class. */
static void remote_forget_one(struct ice *ice, bool undeclared)
{
	int victim = -1;

	for (int i = 0; i < ice->n_remotes; i++) {
		unsigned use;

		if (ice->remotes[i].undeclared != undeclared)
			continue;
		use = remote_use(ice, (unsigned)i);
		if (victim < 0 || use < remote_use(ice, (unsigned)victim) ||
		    (use == remote_use(ice, (unsigned)victim) &&
		     ice->remotes[i].serial < ice->remotes[victim].serial))
			victim = i;
	}
	if (victim < 0)
		return;
	ice_pairs_drop_remote(ice, (unsigned)victim);
	ice->n_remotes--;
	if (victim != ice->n_remotes) {
		ice->remotes[victim] = ice->remotes[ice->n_remotes];
		ice_pairs_move_remote(ice, ice->n_remotes, (unsigned)victim);
	}
}

static int remote_store(struct ice *ice, const struct candidate *c, bool undeclared)
{
	unsigned max = undeclared ? ICE_MAX_REMOTE_PRFLX : ICE_MAX_REMOTE_SIGNALLED;
	struct ice_remote r = {.c = *c, .serial = ++ice->serials, .undeclared = undeclared};
	struct ice_remote *grown;

	if (remote_count(ice, undeclared) >= max)
		remote_forget_one(ice, undeclared);
	grown =
	    ice_room(ice->remotes, &ice->cap_remotes, ice->n_remotes, ICE_MAX_REMOTE, sizeof(r));
	if (!grown)
		return -1;
	ice->remotes = grown;
	ice->remotes[ice->n_remotes] = r;
	ice->had_remote = true;
	return ice->n_remotes++;
}

int ice_remote_discover(struct ice *ice, const struct endpoint *src, uint32_t priority)
{
	struct candidate c = {
	    .kind = CANDIDATE_PRFLX,
	    .addr = *src,
	    .base = *src,
	    .priority = priority,
	};

	return remote_store(ice, &c, true);
}

static int remote_same(const struct ice *ice, const struct candidate *c)
{
	for (int i = 0; i < ice->n_remotes; i++) {
		const struct ice_remote *r = &ice->remotes[i];

		if (!r->undeclared && r->c.kind == c->kind && same_place(&r->c, c))
			return i;
	}
	return -1;
}

static bool remote_has_pair(const struct ice *ice, int remote)
{
	for (unsigned i = 0; i < ice->n_pairs; i++)
		if (ice->pairs[i].remote == remote)
			return true;
	return false;
}

static int undeclared_at(const struct ice *ice, const struct endpoint *addr)
{
	for (int i = 0; i < ice->n_remotes; i++)
		if (ice->remotes[i].undeclared && endpoint_eq(&ice->remotes[i].c.addr, addr))
			return i;
	return -1;
}

/* A peer-reflexive candidate that is signalled after all: it takes the signalled values, its pairs
 * stay. */
static int remote_declare(struct ice *ice, const struct candidate *c)
{
	int at = undeclared_at(ice, &c->addr);

	if (at < 0)
		return -1;
	if (remote_count(ice, false) >= ICE_MAX_REMOTE_SIGNALLED) {
		remote_forget_one(ice, false);
		at = undeclared_at(ice, &c->addr);
	}
	ice->remotes[at].c = *c;
	ice->remotes[at].undeclared = false;
	ice_pairs_reprice(ice, (unsigned)at);
	return at;
}

static bool add_optimistic(struct ice *ice, const struct candidate *srflx,
			   const struct candidate *host)
{
	struct candidate c = {
	    .kind = CANDIDATE_SRFLX,
	    .addr = {.ip = srflx->addr.ip, .port = host->addr.port},
	    .base = host->addr,
	    .priority = ICE_OPTIMISTIC_PRIORITY,
	};
	bool withdrawn;
	int at = ice_remote_at(ice, &c.addr, &withdrawn);

	if (at >= 0 || withdrawn || !ice_remote_allowed(ice, &c.addr) ||
	    remote_count(ice, false) >= ICE_MAX_REMOTE_SIGNALLED)
		return false;
	at = remote_store(ice, &c, false);
	if (at >= 0)
		pair_remote(ice, (unsigned)at);
	return at >= 0;
}

static bool remote_is(const struct ice *ice, unsigned i, enum candidate_kind kind)
{
	const struct ice_remote *r = &ice->remotes[i];

	return !r->discarded && !r->undeclared && r->c.kind == kind && r->c.addr.ip.family == IP_V4;
}

/* The client's port may be forwarded although its NAT shows another one. [spec connections 3.6] */
static void add_all_optimistic(struct ice *ice)
{
	unsigned n = ice->n_remotes, added = 0;

	for (unsigned i = 0; i < n; i++) {
		if (!remote_is(ice, i, CANDIDATE_SRFLX))
			continue;
		for (unsigned k = 0; k < n && added < ICE_MAX_OPTIMISTIC; k++) {
			struct candidate srflx = ice->remotes[i].c, host = ice->remotes[k].c;

			if (remote_is(ice, k, CANDIDATE_HOST) && add_optimistic(ice, &srflx, &host))
				added++;
		}
	}
}

void ice_remote_add(struct ice *ice, const struct candidate *signalled)
{
	struct candidate c = *signalled;
	int at;

	c.base = c.addr;
	if (!ice_remote_allowed(ice, &c.addr))
		return;
	ice->had_signalled = true;
	at = remote_same(ice, &c);
	if (at >= 0 && !ice->remotes[at].discarded && remote_has_pair(ice, at))
		return;
	if (at >= 0) {
		ice->remotes[at].c = c;
		ice->remotes[at].discarded = false;
	} else {
		at = remote_declare(ice, &c);
	}
	if (at < 0)
		at = remote_store(ice, &c, false);
	if (at < 0)
		return;
	pair_remote(ice, (unsigned)at);
	add_all_optimistic(ice);
}

void ice_remote_remove(struct ice *ice, const struct candidate *c)
{
	struct candidate wanted = *c;
	int at;

	wanted.base = wanted.addr;
	at = remote_same(ice, &wanted);
	if (at < 0 || ice->remotes[at].discarded)
		return;
	ice->remotes[at].discarded = true;
	ice_pairs_drop_remote(ice, (unsigned)at);
	pair_heirs_of_remote(ice, &wanted.addr);
}
