/*
 * A host without a kernel: the lookup, the clock and the log behind a factory under test, and what
 * was asked of them.
 */
#ifndef TESTS_UNIT_SOCKETS_WORLD_H
#define TESTS_UNIT_SOCKETS_WORLD_H

#include "sockets/factory.h"
#include "sockets/network.h"

enum {
	WORLD_ANSWERS = 16,
	WORLD_TUN = 9
};

/* What the lookup says of one destination instead of the default. */
struct world_answer {
	struct ip_addr dst;
	uint32_t scope;
	struct factory_lookup found;
};

struct world {
	struct factory *f;
	struct log *log;
	struct rng_seeded seed;
	uint64_t now_us;
	unsigned lookups;
	unsigned resets_on_lookup;       /* so many of the next lookups are overtaken by a reset */
	bool resets_before_the_question; /* the lookup says that it saw the reset */
	unsigned misses_amid_lookup;     /* so many of the next lookups are met by another miss of
					    the same destination */
	struct factory_route amid;       /* what the last of those misses came to */
	const struct network *network;   /* chooses the source as the owner does, if not NULL */
	unsigned lines, resolved_lines, refused_lines, flush_lines, loud_lines;
	char last_line[4096];
	struct world_answer answers[WORLD_ANSWERS];
	size_t n_answers;
	struct factory_lookup v4, v6; /* of everything else */
};

/* A dual-stack host: 192.0.2.10 and 2001:db8::10 on eth0 (2), default routes in table main. Freed
 * with world_free(). */
void world_new(struct world *w);
void world_free(struct world *w);

struct ip_addr ip(const char *text);

/* An ordinary way out by @ifname. */
struct factory_lookup way(const char *source, uint32_t ifindex, const char *ifname);
struct factory_lookup no_way(int error);

/* From now on the lookup of @dst says this. */
void world_says(struct world *w, const char *dst, uint32_t scope, struct factory_lookup found);

enum factory_refusal world_resolve(struct world *w, const char *dst, uint32_t scope,
				   struct factory_route *out);

/* Resolves, and fails the test unless it comes to this source. */
void world_expect(struct world *w, const char *dst, const char *source);

struct factory_counters world_counters(const struct world *w);

#endif
