/*
 * A host without a kernel, one size up: links, addresses and events around the cache of world.h,
 * and the owner's part: one drain, one flush at most; comparisons when they are due.
 *
 * eth0 (2) and the TUN (9) are up; eth0 has 192.0.2.10/24 and 2001:db8::10/64, the TUN 100.64.3.9
 * and fd00:2021:1111::9.
 */
#ifndef TESTS_UNIT_SOCKETS_HOST_H
#define TESTS_UNIT_SOCKETS_HOST_H

#include "sockets/network.h"
#include "sockets/roam.h"
#include "world.h"

enum {
	HOST_UP = 0x1,
	HOST_TEMPORARY = 0x01,
	HOST_DADFAILED = 0x08,
	HOST_DEPRECATED = 0x20,
	HOST_TENTATIVE = 0x40,
	HOST_PERMANENT = 0x80,
};

struct host {
	struct world w;
	struct network *n;
	struct roam r;
	enum factory_cause cause; /* of the last event that counted */
	unsigned compared;
	uint64_t compared_us;
	/* What a comparison looks up. */
	const char *live[4];
	size_t n_live;
};

/* Freed with host_free(). */
void host_new(struct host *h);
void host_free(struct host *h);

struct nl_msg link_msg(enum nl_kind kind, uint32_t ifindex, const char *name, uint32_t flags);
struct nl_msg address_msg(enum nl_kind kind, uint32_t ifindex, const char *prefix, uint32_t flags);
/* @via may be NULL. */
struct nl_msg route_msg(enum nl_kind kind, const char *prefix, uint32_t ifindex, const char *via);
struct nl_msg rule_msg(enum nl_kind kind, uint32_t priority);

/* The network takes one event; whether it counts. */
bool host_counts(struct host *h, struct nl_msg msg);

/* A drain that has this one event; whether it counts. */
bool host_drain(struct host *h, struct nl_msg msg);

/* The clock goes on to @us later; what becomes due on the way is done on time. */
void host_run(struct host *h, uint64_t us);

unsigned host_flushes(const struct host *h);

#endif
