/*
 * The worker's files for sockets, names and routes without the rest of the worker: what they call
 * elsewhere is here, and descriptors come from real helpers. For programs that look at the socket
 * factory against the real kernel.
 *
 * In the place of loop.c, portal_io.c, forward.c, tun.c and the core behind them. Live destinations
 * are those that are watched: the first one counts as the portal, the others as the core's.
 */
#ifndef INTEROP_STAND_H
#define INTEROP_STAND_H

#include "loop/internal.h"

enum {
	STAND_HELPERS = 16,
	STAND_WAYS = 2048
};

struct stand_config {
	const char *helper_fds; /* numbers with commas; the first helper makes everything but DNS
				   sockets, which come from all of them in turn */
	const char *resolv_conf, *hosts;
	const char *log_filter;
	/* Any of them may be NULL. */
	void (*answer)(void *ctx, const struct resolver_out *answer);
	void (*reply)(void *ctx, const struct dns_reply *reply);
	void (*datagrams)(void *ctx, const struct gateway_datagrams *in, size_t n);
	void (*settle)(void *ctx); /* the end of every callback */
};

struct stand {
	struct loop loop; /* first: the loop's callbacks get it */
	struct stand_config cfg;
	struct helper_client helpers[STAND_HELPERS];
	size_t n_helpers, helper;
	uint32_t helper_seq;
	struct watched ways[STAND_WAYS];
	size_t n_ways;
	/* What the loop's files told the core and the portal. */
	unsigned int roams, dead_locals, sockets, reconnects;
	uint64_t roamed_us;
	uint16_t socket_port[2], socket_was[2];
};

/* 0 or a negative errno; *s is zeroed and set up, to be ended by stand_stop() in both cases. */
MUST_CHECK int stand_start(struct stand *s, const struct stand_config *cfg);
void stand_stop(struct stand *s);

/* The event loop for that long; 0: what it has to do at the moment. */
void stand_run(struct stand *s, uint64_t us);

/* Notes how @ip leaves now; false when there are too many. */
bool stand_watch(struct stand *s, const struct ip_addr *ip);

#endif
