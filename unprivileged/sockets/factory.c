#include "sockets/factory.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum {
	ENTRIES = FACTORY_MAX_POSITIVE + FACTORY_MAX_NEGATIVE,
	BUCKETS = 8192, /* power of two */
	MAX_PINS = 64,
	ROUTE_UNICAST = 1, /* RTN_UNICAST, RTN_LOCAL */
	ROUTE_LOCAL = 2,
};

static const uint32_t first_tunnel_table = 0x2021fd00;
static const uint32_t last_tunnel_table = 0x2021fd02;

struct entry {
	struct ip_addr dst; /* IP_NONE: free */
	uint32_t scope;
	bool negative, used, pinned;
	int error;             /* negative */
	uint64_t until_us;     /* negative */
	uint64_t confirmed_us; /* positive: a send failed, and the lookup after it said the same; 0:
				  never */
	enum factory_refusal refusal; /* negative */
	struct factory_route route;
	uint32_t next; /* in the bucket; ENTRIES ends it */
};

struct factory {
	struct factory_config cfg;
	struct entry entries[ENTRIES]; /* positive ones first, then the negative */
	uint32_t buckets[BUCKETS];
	uint32_t hand_positive, hand_negative; /* CLOCK */
	uint32_t n_positive, n_negative;
	struct ip_addr pins[MAX_PINS];
	size_t n_pins;
	struct ip_addr tunnel_v4, tunnel_v6;
	uint8_t key[crypto_shorthash_KEYBYTES];
	uint64_t generation, last_recheck_us;
	uint64_t seen_us;       /* newest time that a caller named */
	uint64_t flush_said_us; /* when a flush was last logged; 0: never */
	uint64_t flushes_unsaid;
	uint32_t n_live; /* positive and of this generation */
	struct factory_counters counters;
};

struct factory *factory_new(const struct factory_config *cfg)
{
	struct factory *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->cfg = *cfg;
	f->generation = 1;
	rng_fill(&cfg->rng, f->key, sizeof(f->key));
	for (size_t i = 0; i < BUCKETS; i++)
		f->buckets[i] = ENTRIES;
	return f;
}

void factory_free(struct factory *f)
{
	free(f);
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

static bool needs_scope(const struct ip_addr *ip)
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
	return v % BUCKETS;
}

static struct entry *entry_find(struct factory *f, const struct ip_addr *dst, uint32_t scope)
{
	uint32_t at = f->buckets[bucket_of(f, dst)];

	while (at != ENTRIES) {
		struct entry *e = &f->entries[at];

		if (e->scope == scope && ip_eq(&e->dst, dst))
			return e;
		at = e->next;
	}
	return NULL;
}

static void entry_remove(struct factory *f, struct entry *e)
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
static struct entry *entry_place(struct factory *f, bool negative)
{
	uint32_t first = negative ? FACTORY_MAX_POSITIVE : 0;
	uint32_t count = negative ? FACTORY_MAX_NEGATIVE : FACTORY_MAX_POSITIVE;
	uint32_t *hand = negative ? &f->hand_negative : &f->hand_positive;

	for (uint32_t turn = 0; turn < 3 * count; turn++) {
		struct entry *e = &f->entries[first + *hand];
		bool stale = e->route.generation != f->generation;

		*hand = (*hand + 1) % count;
		if (e->dst.family == IP_NONE)
			return e;
		if (e->pinned && turn < 2 * count)
			continue;
		if (e->used && !stale) {
			e->used = false;
			continue;
		}
		if (!stale)
			f->counters.evictions++;
		entry_remove(f, e);
		return e;
	}
	return NULL;
}

static struct entry *entry_insert(struct factory *f, const struct ip_addr *dst, uint32_t scope,
				  bool negative)
{
	struct entry *e = entry_find(f, dst, scope);
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
	if (found->table >= first_tunnel_table && found->table <= last_tunnel_table)
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

static void log_resolved(const struct factory *f, const struct ip_addr *dst,
			 const struct factory_lookup *found)
{
	char src[IP_TEXT_MAX], to[IP_TEXT_MAX], gateway[IP_TEXT_MAX];

	ip_format(&found->prefsrc, src);
	ip_format(dst, to);
	ip_format(&found->gateway, gateway);
	log_at(f->cfg.log, LOG_DEBUG, "socket_factory",
	       "Resolved best route outside of tunnel interface", KV_STR("src", src),
	       KV_STR("dst", to), KV_INT("ifindex", found->ifindex), KV_STR("gateway", gateway),
	       KV_INT("table", found->table), KV_INT("generation", f->generation),
	       KV_INT("took_us", found->took_us));
}

static void log_refused(const struct factory *f, const struct ip_addr *dst,
			enum factory_refusal why, int error)
{
	static const char *const names[] = {
	    [FACTORY_OK] = "ok",
	    [FACTORY_NO_ROUTE] = "no-route",
	    [FACTORY_VIA_TUNNEL] = "via-tunnel",
	    [FACTORY_NO_SOURCE] = "no-source",
	    [FACTORY_SCOPE_MISSING] = "scope-missing",
	    [FACTORY_LOOKUP_FAILED] = "lookup-failed",
	    [FACTORY_MOVED] = "moved",
	};
	char to[IP_TEXT_MAX];

	ip_format(dst, to);
	log_at(f->cfg.log, LOG_DEBUG, "socket_factory", "No usable route outside of tunnel",
	       KV_STR("dst", to), KV_STR("reason", names[why]), KV_INT("errno", error));
}

static void remember_refusal(struct factory *f, const struct ip_addr *dst, uint32_t scope,
			     enum factory_refusal why, int error, uint64_t now_us)
{
	struct entry *e;

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
	struct entry *e = entry_insert(f, dst, scope, false);

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
		if (found.generation != 0)
			before = found.generation;
		if (f->generation != before) {
			f->counters.stale_discards++;
			continue;
		}
		why = judge(f, dst, &found);
		if (why == FACTORY_OK) {
			log_resolved(f, dst, &found);
			remember_route(f, dst, scope, &found, out);
			return FACTORY_OK;
		}
		f->counters.refused++;
		log_refused(f, dst, why, found.error);
		remember_refusal(f, dst, scope, why, found.error, now_us);
		return why;
	}
	return FACTORY_MOVED;
}

enum factory_refusal factory_resolve(struct factory *f, const struct ip_addr *dst, uint32_t scope,
				     uint64_t now_us, struct factory_route *out)
{
	struct ip_addr to = ip_unmap(dst);
	struct entry *e;

	f->seen_us = now_us;
	if (!needs_scope(&to))
		scope = 0;
	else if (scope == 0)
		return FACTORY_SCOPE_MISSING;
	e = entry_find(f, &to, scope);
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

	for (uint32_t at = f->buckets[bucket_of(f, dst)]; at != ENTRIES; at = f->entries[at].next)
		if (ip_eq(&f->entries[at].dst, dst))
			f->entries[at].pinned = pinned;
}

void factory_pin(struct factory *f, const struct ip_addr *dst)
{
	struct ip_addr to = ip_unmap(dst);

	if (!is_pinned(f, &to) && f->n_pins < MAX_PINS)
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

/* One line in half a second, with the number of those that were not said. */
static void log_flush(struct factory *f, const char *message, const char *cause)
{
	enum {
		QUIET_MS = 500
	};

	if (f->flush_said_us != 0 && f->seen_us - f->flush_said_us < QUIET_MS * US_PER_MS) {
		f->flushes_unsaid++;
		return;
	}
	log_at(f->cfg.log, LOG_DEBUG, "socket_factory", message, KV_STR("cause", cause),
	       KV_INT("entries", f->n_live), KV_INT("generation", f->generation),
	       KV_INT("suppressed", f->flushes_unsaid));
	f->flush_said_us = f->seen_us;
	f->flushes_unsaid = 0;
}

void factory_flush(struct factory *f, const char *cause)
{
	f->generation++;
	f->counters.flushes++;
	log_flush(f, "Source cache flushed", cause);
	f->n_live = 0;
}

void factory_reset(struct factory *f, const char *reason)
{
	f->generation++;
	f->counters.resets++;
	log_at(f->cfg.log, LOG_DEBUG, "socket_factory", "Source cache reset",
	       KV_STR("reason", reason), KV_INT("entries", f->n_live),
	       KV_INT("generation", f->generation));
	f->n_live = 0;
}

/* @scope NULL: of whatever scope. */
static void evict(struct factory *f, const struct ip_addr *dst, const uint32_t *scope)
{
	uint32_t at = f->buckets[bucket_of(f, dst)];

	while (at != ENTRIES) {
		struct entry *e = &f->entries[at];

		at = e->next;
		if (ip_eq(&e->dst, dst) && (!scope || e->scope == *scope))
			entry_remove(f, e);
	}
}

void factory_invalidate(struct factory *f, const struct ip_addr *dst, uint64_t generation,
			const char *cause)
{
	struct ip_addr to = ip_unmap(dst);

	(void)cause;
	if (generation != f->generation)
		return;
	f->counters.invalidations++;
	evict(f, &to, NULL);
}

static void negative(struct factory *f, const struct endpoint *dst, int error, uint64_t now_us)
{
	struct ip_addr to = ip_unmap(&dst->ip);

	remember_refusal(f, &to, needs_scope(&to) ? dst->scope : 0, FACTORY_NO_ROUTE, error,
			 now_us);
}

void factory_negative(struct factory *f, const struct ip_addr *dst, int error, uint64_t now_us)
{
	negative(f, &(struct endpoint){.ip = *dst}, error, now_us);
}

/* One destination's stale source makes all of them suspect; not more than once in a while. */
static void recheck_all(struct factory *f, uint64_t now_us)
{
	if (f->counters.rechecks > 0 &&
	    now_us - f->last_recheck_us < FACTORY_RECHECK_MS * US_PER_MS)
		return;
	f->last_recheck_us = now_us;
	f->counters.rechecks++;
	factory_flush(f, "send error");
}

/* True if a lookup after an earlier error said just now what is in the cache: another one would be
 * one lookup per error. */
static bool confirmed_lately(struct factory *f, const struct endpoint *dst, uint64_t now_us)
{
	struct ip_addr to = ip_unmap(&dst->ip);
	struct entry *e = entry_find(f, &to, needs_scope(&to) ? dst->scope : 0);

	return e && !e->negative && e->route.generation == f->generation && e->confirmed_us != 0 &&
	       now_us - e->confirmed_us < FACTORY_RECHECK_MS * US_PER_MS;
}

/* Forget the source of a failed send and look again. */
static enum factory_refusal other_source(struct factory *f, const struct endpoint *dst,
					 const struct factory_route *used, uint64_t now_us,
					 struct factory_route *out)
{
	struct ip_addr to = ip_unmap(&dst->ip), was = used->source;
	uint32_t scope = needs_scope(&to) ? dst->scope : 0;
	enum factory_refusal why;
	struct entry *e;

	factory_invalidate(f, &to, used->generation, "send error");
	recheck_all(f, now_us);
	why = factory_resolve(f, &to, scope, now_us, out);
	e = entry_find(f, &to, scope);
	if (why == FACTORY_OK && e && ip_eq(&out->source, &was))
		e->confirmed_us = now_us;
	return why;
}

static enum factory_action source_failed(struct factory *f, const struct factory_send_error *e,
					 uint64_t now_us, struct factory_route *out)
{
	struct ip_addr was = e->route.source; /* *out may be the same object as e->route */

	if (e->fixed_source)
		return FACTORY_REPORT_DEAD;
	if (!e->retried_source && !confirmed_lately(f, &e->dst, now_us)) {
		if (other_source(f, &e->dst, &e->route, now_us, out) != FACTORY_OK)
			return FACTORY_DROP;
		if (!ip_eq(&out->source, &was))
			return FACTORY_RETRY_SOURCE;
	}
	if (e->error == EINVAL && e->used_gso && !e->retried_gso)
		return FACTORY_RETRY_UNCUT;
	if (e->error != EINVAL)
		negative(f, &e->dst, e->error, now_us);
	return FACTORY_DROP;
}

enum factory_action factory_send_failed(struct factory *f, const struct factory_send_error *e,
					uint64_t now_us, struct factory_route *out)
{
	switch (e->error) {
	case EINVAL:
	case EADDRNOTAVAIL:
	case ENODEV:
	case ENETUNREACH:
		return source_failed(f, e, now_us, out);
	case EHOSTUNREACH:
	case EACCES:
	case EPERM:
		if (!e->fixed_source)
			negative(f, &e->dst, e->error, now_us);
		return FACTORY_DROP;
	case EIO:
		return e->retried_gso ? FACTORY_DROP : FACTORY_RETRY_UNCUT;
	case EAGAIN:
		return FACTORY_WAIT;
	default: /* EMSGSIZE, ENOBUFS and whatever else loses this datagram only */
		return FACTORY_DROP;
	}
}

void factory_counters(const struct factory *f, struct factory_counters *out)
{
	*out = f->counters;
	out->generation = f->generation;
	out->entries = f->n_live;
	out->negatives = f->n_negative;
}

void factory_count_hits(struct factory *f, uint64_t n)
{
	f->counters.hits += n;
}
