#include "dns/cache.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct dns_cache {
	size_t n;
	struct dns_cached entries[];
};

struct dns_cache *dns_cache_new(size_t entries)
{
	struct dns_cache *c;
	size_t bytes;

	BUG_ON(entries == 0 || ckd_mul_size(&bytes, entries, sizeof(c->entries[0])) ||
	       ckd_add_size(&bytes, bytes, sizeof(*c)));
	c = calloc(1, bytes);
	if (c)
		c->n = entries;
	return c;
}

void dns_cache_free(struct dns_cache *c)
{
	free(c);
}

static bool is_of(const struct dns_cached *e, const char *name, enum dns_type type)
{
	return e->name[0] != '\0' && e->type == type && strcasecmp(e->name, name) == 0;
}

const struct dns_cached *dns_cache_find(struct dns_cache *c, const char *name, enum dns_type type,
					uint64_t now_us)
{
	for (size_t i = 0; i < c->n; i++) {
		struct dns_cached *e = &c->entries[i];

		if (e->until_us > now_us && is_of(e, name, type)) {
			e->used_us = now_us;
			return e;
		}
	}
	return NULL;
}

/* Should @a go rather than @b? Those that are out of date are all the same. */
static bool goes_first(const struct dns_cached *a, const struct dns_cached *b, uint64_t now_us)
{
	if (b->until_us <= now_us)
		return false;
	return a->until_us <= now_us || a->used_us < b->used_us;
}

void dns_cache_store(struct dns_cache *c, const char *name, enum dns_type type,
		     const struct ip_addr *addresses, size_t n, uint32_t ttl_s, uint64_t now_us)
{
	struct dns_cached *place = &c->entries[0];

	BUG_ON(strlen(name) >= sizeof(place->name) || n > DNS_MAX_ANSWERS);
	if (ttl_s == 0)
		return;
	for (size_t i = 0; i < c->n; i++) {
		if (is_of(&c->entries[i], name, type)) {
			place = &c->entries[i];
			break;
		}
		if (goes_first(&c->entries[i], place, now_us))
			place = &c->entries[i];
	}
	memset(place, 0, sizeof(*place));
	memcpy(place->name, name, strlen(name));
	place->type = type;
	place->until_us = add_us(now_us, ttl_s * US_PER_S);
	place->used_us = now_us;
	memcpy(place->addresses, addresses, n * sizeof(*addresses));
	place->n = n;
}

void dns_cache_clear(struct dns_cache *c)
{
	memset(c->entries, 0, c->n * sizeof(c->entries[0]));
}
