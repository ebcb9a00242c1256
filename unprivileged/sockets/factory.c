#include "sockets/factory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sockets/internal.h"

enum {
	ROUTE_UNICAST = 1, /* RTN_UNICAST, RTN_LOCAL */
	ROUTE_LOCAL = 2,
};

struct factory *factory_new(const struct factory_config *cfg)
{
	struct factory *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->cfg = *cfg;
	f->generation = 1;
	f->positive.count = f->negative.first = FACTORY_MAX_POSITIVE;
	f->negative.count = FACTORY_MAX_NEGATIVE;
	rng_fill(&cfg->rng, f->key, sizeof(f->key));
	for (size_t i = 0; i < FACTORY_BUCKETS; i++)
		f->buckets[i] = FACTORY_ENTRIES;
	return f;
}

void factory_free(struct factory *f)
{
	free(f);
}

void factory_set_tunnel(struct factory *f, uint32_t ifindex)
{
	f->cfg.tun_ifindex = ifindex;
}

void factory_set_tunnel_addresses(struct factory *f, const struct ip_addr *v4,
				  const struct ip_addr *v6)
{
	f->tunnel_v4 = *v4;
	f->tunnel_v6 = *v6;
}

uint64_t factory_generation(const struct factory *f)
{
	return f->generation;
}

bool factory_needs_scope(const struct ip_addr *ip)
{
	return ip->family == IP_V6 &&
	       (ip_is_link_local(ip) || (ip->bytes[0] == 0xff && (ip->bytes[1] & 0x0f) == 2));
}

/* Destinations come from peers, so the hash is keyed. All scopes of an address share a bucket. */
static uint32_t bucket_of(const struct factory *f, const struct ip_addr *dst)
{
	uint8_t in[sizeof(dst->bytes) + 1];
	uint8_t hash[crypto_shorthash_BYTES];
	uint32_t v;

	memcpy(in, dst->bytes, sizeof(dst->bytes));
	in[sizeof(dst->bytes)] = dst->family;
	crypto_shorthash(hash, in, sizeof(in), f->key);
	memcpy(&v, hash, sizeof(v));
	return v % FACTORY_BUCKETS;
}

struct factory_entry *factory_find(struct factory *f, const struct ip_addr *dst, uint32_t scope)
{
	uint32_t at = f->buckets[bucket_of(f, dst)];

	while (at != FACTORY_ENTRIES) {
		struct factory_entry *e = &f->entries[at];

		if (e->scope == scope && ip_eq(&e->dst, dst))
			return e;
		at = e->next;
	}
	return NULL;
}

static void entry_remove(struct factory *f, struct factory_entry *e)
{
	uint32_t *at = &f->buckets[bucket_of(f, &e->dst)];

	while (&f->entries[*at] != e)
		at = &f->entries[*at].next;
	*at = e->next;
	if (e->negative)
		f->n_negative--;
	else
		f->n_positive--;
	if (!e->negative && e->route.generation == f->generation)
		f->n_live--;
	memset(e, 0, sizeof(*e));
}

static bool is_pinned(const struct factory *f, const struct ip_addr *dst)
{
	for (size_t i = 0; i < f->n_pins; i++)
		if (ip_eq(&f->pins[i], dst))
			return true;
	return false;
}

/* A free place of the kind, or the next one the hand passes that was not used lately; pinned ones
 * only when all are. */
static struct factory_entry *entry_place(struct factory *f, bool negative)
{
	struct factory_places *p = negative ? &f->negative : &f->positive;

	for (uint32_t turn = 0; turn < 3 * p->count; turn++) {
		struct factory_entry *e = &f->entries[p->first + p->hand];
		bool stale = e->route.generation != f->generation;

		if (p->top <= p->hand)
			p->top = p->hand + 1;
		p->hand = (p->hand + 1) % p->count;
		if (e->dst.family == IP_NONE)
			return e;
		if (e->pinned && turn < 2 * p->count)
			continue;
		if (e->used && !stale) {
			e->used = false;
			continue;
		}
		if (!stale) {
			f->counters.evictions++;
			f->evicted_generation = f->generation;
		}
		entry_remove(f, e);
		return e;
	}
	return NULL;
}

static struct factory_entry *entry_insert(struct factory *f, const struct ip_addr *dst,
					  uint32_t scope, bool negative)
{
	struct factory_entry *e = factory_find(f, dst, scope);
	uint32_t bucket = bucket_of(f, dst);

	if (e)
		entry_remove(f, e);
	e = entry_place(f, negative);
	if (!e)
		return NULL;
	e->dst = *dst;
	e->scope = scope;
	e->negative = negative;
	e->pinned = is_pinned(f, dst);
	e->route.generation = f->generation;
	e->next = f->buckets[bucket];
	f->buckets[bucket] = (uint32_t)(e - f->entries);
	if (negative) {
		f->n_negative++;
	} else {
		f->n_positive++;
		f->n_live++;
	}
	return e;
}

static bool via_tunnel(const struct factory *f, const struct factory_lookup *found)
{
	if (factory_is_tunnel_table(found->table))
		return true;
	if (found->ifname[0] != '\0')
		return strcmp(found->ifname, f->cfg.tun_name) == 0;
	return found->ifindex == f->cfg.tun_ifindex;
}

static bool source_ok(const struct factory *f, const struct ip_addr *dst, const struct ip_addr *src)
{
	return src->family == dst->family && !ip_is_unspecified(src) && !ip_is_multicast(src) &&
	       (!ip_is_loopback(src) || ip_is_loopback(dst)) && !ip_eq(src, &f->tunnel_v4) &&
	       !ip_eq(src, &f->tunnel_v6);
}

/* [spec socket-factory 4.4 step 4] */
static enum factory_refusal judge(const struct factory *f, const struct ip_addr *dst,
				  const struct factory_lookup *found)
{
	if (found->error == EPROTO)
		return FACTORY_LOOKUP_FAILED;
	if (found->error != 0)
		return FACTORY_NO_ROUTE;
	if (found->type != ROUTE_UNICAST && found->type != ROUTE_LOCAL)
		return FACTORY_NO_ROUTE;
	if (via_tunnel(f, found))
		return FACTORY_VIA_TUNNEL;
	if (!source_ok(f, dst, &found->prefsrc))
		return FACTORY_NO_SOURCE;
	return FACTORY_OK;
}

void factory_refuse(struct factory *f, const struct ip_addr *dst, uint32_t scope,
		    enum factory_refusal why, int error, uint64_t now_us)
{
	struct factory_entry *e;

	if (why == FACTORY_LOOKUP_FAILED || why == FACTORY_MOVED)
		return;
	e = entry_insert(f, dst, scope, true);
	if (!e)
		return;
	e->refusal = why;
	e->error = error;
	e->until_us = now_us + FACTORY_NEGATIVE_MS * US_PER_MS;
}

static void remember_route(struct factory *f, const struct ip_addr *dst, uint32_t scope,
			   const struct factory_lookup *found, struct factory_route *out)
{
	struct factory_entry *e = entry_insert(f, dst, scope, false);

	*out = (struct factory_route){
	    .source = found->prefsrc,
	    .gateway = found->gateway,
	    .ifindex = found->ifindex,
	    .table = found->table,
	    .generation = f->generation,
	};
	if (e)
		e->route = *out;
}

/* The miss path: an answer that was asked for in an older generation is used for nothing. */
static enum factory_refusal look_up(struct factory *f, const struct ip_addr *dst, uint32_t scope,
				    uint64_t now_us, struct factory_route *out)
{
	for (int attempt = 0; attempt < 2; attempt++) {
		struct factory_lookup found = {.error = 0};
		enum factory_refusal why;
		uint64_t before = f->generation;

		f->counters.misses++;
		f->cfg.lookup(f->cfg.ctx, dst, scope, &found);
		factory_count_took(f, found.took_us);
		if (found.generation != 0)
			before = found.generation;
		if (f->generation != before) {
			f->counters.stale_discards++;
			continue;
		}
		why = judge(f, dst, &found);
		if (why == FACTORY_OK) {
			factory_say_resolved(f, dst, &found);
			remember_route(f, dst, scope, &found, out);
			return FACTORY_OK;
		}
		f->counters.refused[why]++;
		factory_say_refused(f, dst, why, found.error);
		factory_refuse(f, dst, scope, why, found.error, now_us);
		return why;
	}
	f->counters.refused[FACTORY_MOVED]++;
	return FACTORY_MOVED;
}

enum factory_refusal factory_resolve(struct factory *f, const struct ip_addr *dst, uint32_t scope,
				     uint64_t now_us, struct factory_route *out)
{
	struct ip_addr to = ip_unmap(dst);
	struct factory_entry *e;

	f->seen_us = now_us;
	if (!factory_needs_scope(&to)) {
		scope = 0;
	} else if (scope == 0) {
		f->counters.refused[FACTORY_SCOPE_MISSING]++;
		return FACTORY_SCOPE_MISSING;
	}
	e = factory_find(f, &to, scope);
	if (e && e->route.generation == f->generation) {
		if (!e->negative) {
			e->used = true;
			f->counters.hits++;
			*out = e->route;
			return FACTORY_OK;
		}
		if (now_us < e->until_us) {
			f->counters.negative_hits++;
			return e->refusal;
		}
	}
	return look_up(f, &to, scope, now_us, out);
}

/* Entries of @dst, whatever their scope, learn whether they are pinned. */
static void mark_pinned(struct factory *f, const struct ip_addr *dst)
{
	bool pinned = is_pinned(f, dst);

	for (uint32_t at = f->buckets[bucket_of(f, dst)]; at != FACTORY_ENTRIES;
	     at = f->entries[at].next)
		if (ip_eq(&f->entries[at].dst, dst))
			f->entries[at].pinned = pinned;
}

void factory_pin(struct factory *f, const struct ip_addr *dst)
{
	struct ip_addr to = ip_unmap(dst);

	if (!is_pinned(f, &to) && f->n_pins < FACTORY_MAX_PINS)
		f->pins[f->n_pins++] = to;
	mark_pinned(f, &to);
}

void factory_unpin(struct factory *f, const struct ip_addr *dst)
{
	struct ip_addr to = ip_unmap(dst);

	for (size_t i = 0; i < f->n_pins; i++) {
		if (ip_eq(&f->pins[i], &to)) {
			f->pins[i] = f->pins[--f->n_pins];
			break;
		}
	}
	mark_pinned(f, &to);
}

/* Nothing is walked: the places are taken anew from the first one on. */
static void forget(struct factory *f)
{
	f->n_live = 0;
	f->positive.top = f->positive.hand = 0;
	f->negative.top = f->negative.hand = 0;
}

void factory_flush(struct factory *f, enum factory_cause cause)
{
	f->generation++;
	f->counters.flushes[cause]++;
	factory_say_flush(f, cause);
	forget(f);
}

void factory_reset(struct factory *f, enum factory_cause cause)
{
	f->generation++;
	f->counters.resets[cause]++;
	factory_say_reset(f, cause);
	forget(f);
}

static const struct factory_entry *live_in(const struct factory *f,
					   const struct factory_places *places, uint32_t i)
{
	const struct factory_entry *e = &f->entries[places->first + i];

	return e->dst.family != IP_NONE && e->route.generation == f->generation ? e : NULL;
}

/* Whom an entry that gave way was for may still use what it said. */
static bool is_incomplete(const struct factory *f)
{
	return f->evicted_generation == f->generation;
}

static bool covers(const struct factory *f, const struct factory_places *places,
		   const struct ip_prefix *prefix)
{
	for (uint32_t i = 0; i < places->top; i++) {
		const struct factory_entry *e = live_in(f, places, i);

		if (e && ip_prefix_has(prefix, &e->dst))
			return true;
	}
	return false;
}

bool factory_covers(const struct factory *f, const struct ip_prefix *prefix)
{
	return is_incomplete(f) || covers(f, &f->positive, prefix) ||
	       covers(f, &f->negative, prefix);
}

bool factory_uses_source(const struct factory *f, const struct ip_addr *source)
{
	for (uint32_t i = 0; i < f->positive.top; i++) {
		const struct factory_entry *e = live_in(f, &f->positive, i);

		if (e && ip_eq(&e->route.source, source))
			return true;
	}
	return is_incomplete(f);
}

void factory_invalidate(struct factory *f, const struct ip_addr *dst, uint64_t generation,
			enum factory_cause cause)
{
	struct ip_addr to = ip_unmap(dst);
	uint32_t at = f->buckets[bucket_of(f, &to)];

	if (generation != f->generation)
		return;
	f->counters.invalidations[cause]++;
	while (at != FACTORY_ENTRIES) {
		struct factory_entry *e = &f->entries[at];

		at = e->next;
		if (ip_eq(&e->dst, &to)) /* of whatever scope */
			entry_remove(f, e);
	}
}
