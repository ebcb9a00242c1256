/*
 * What the files of the socket factory share. Not for other rooms.
 *
 * factory.c: the cache. send_errors.c: what a failed send does to it. report.c: what it says of
 * itself, in logs and numbers.
 */
#ifndef SOCKETS_INTERNAL_H
#define SOCKETS_INTERNAL_H

#include <sodium.h>

#include "sockets/factory.h"

enum {
	FACTORY_ENTRIES = FACTORY_MAX_POSITIVE + FACTORY_MAX_NEGATIVE,
	FACTORY_BUCKETS = 8192, /* power of two */
	FACTORY_MAX_PINS = 64,
};

struct factory_entry {
	struct ip_addr dst; /* IP_NONE: free */
	uint32_t scope;
	bool negative, used, pinned;
	int error;             /* negative */
	uint64_t until_us;     /* negative */
	uint64_t confirmed_us; /* positive: a send failed, and the lookup after it said the same; 0:
				  never */
	enum factory_refusal refusal; /* negative */
	struct factory_route route;
	uint32_t next; /* in the bucket; FACTORY_ENTRIES ends it */
};

/* The places of one kind. All entries of this generation lie below the top: walks end there. */
struct factory_places {
	uint32_t first, count, top;
	uint32_t hand; /* CLOCK */
};

struct factory {
	struct factory_config cfg;
	struct factory_entry entries[FACTORY_ENTRIES];
	struct factory_places positive, negative; /* in entries, one behind the other */
	uint32_t buckets[FACTORY_BUCKETS];
	uint32_t n_positive, n_negative;
	uint32_t n_live; /* positive and of this generation */
	struct ip_addr pins[FACTORY_MAX_PINS];
	size_t n_pins;
	struct ip_addr tunnel_v4, tunnel_v6;
	uint8_t key[crypto_shorthash_KEYBYTES];
	uint64_t generation, last_recheck_us;
	uint64_t evicted_generation; /* the last one of which an entry had to give way */
	uint64_t seen_us;            /* newest time that a caller named */
	uint64_t flush_said_us;      /* when a flush was last logged; 0: never */
	uint64_t flushes_unsaid;
	struct factory_counters counters;
};

/* One of the tables that the helper made for the tunnel's routes. */
static inline bool factory_is_tunnel_table(uint32_t table)
{
	return table >= UINT32_C(0x2021fd00) && table <= UINT32_C(0x2021fd02);
}

/* factory.c. @dst is unmapped, @scope 0 unless the address needs one. */
bool factory_needs_scope(const struct ip_addr *ip);
struct factory_entry *factory_find(struct factory *f, const struct ip_addr *dst, uint32_t scope);
void factory_refuse(struct factory *f, const struct ip_addr *dst, uint32_t scope,
		    enum factory_refusal why, int error, uint64_t now_us);

/* report.c */
void factory_say_resolved(const struct factory *f, const struct ip_addr *dst,
			  const struct factory_lookup *found);
void factory_say_refused(const struct factory *f, const struct ip_addr *dst,
			 enum factory_refusal why, int error);
void factory_say_flush(struct factory *f, enum factory_cause cause);
void factory_say_reset(const struct factory *f, enum factory_cause cause);
void factory_count_took(struct factory *f, uint64_t took_us);

#endif
