/*
 * What name servers said about a name's addresses, for as long as they said it holds. "None" is an
 * answer too. [RFC 1035 section 7.4, RFC 2308]
 *
 * A fixed number of answers; at the limit one that is out of date goes first, then the one that was
 * used least lately.
 */
#ifndef DNS_CACHE_H
#define DNS_CACHE_H

#include "base/defs.h"
#include "dns/message.h"
#include "packet/addr.h"

struct dns_cache;

/* One name's addresses of one family; the case of the name is of no matter. */
struct dns_cached {
	char name[DNS_NAME_MAX]; /* "": free */
	enum dns_type type;
	uint64_t until_us, used_us;
	struct ip_addr addresses[DNS_MAX_ANSWERS];
	size_t n;
};

/* NULL without memory. */
struct dns_cache *dns_cache_new(size_t entries);
void dns_cache_free(struct dns_cache *c);

/* NULL: not known. Valid until the next call on @c. */
const struct dns_cached *dns_cache_find(struct dns_cache *c, const char *name, enum dns_type type,
					uint64_t now_us);

/* Replaces what was known. Nothing is kept for @ttl_s 0. @n is at most DNS_MAX_ANSWERS, @name
 * shorter than DNS_NAME_MAX. */
void dns_cache_store(struct dns_cache *c, const char *name, enum dns_type type,
		     const struct ip_addr *addresses, size_t n, uint32_t ttl_s, uint64_t now_us);

void dns_cache_clear(struct dns_cache *c);

#endif
