/*
 * How one destination leaves the host, and whether it still leaves as it did: plain values over the
 * source cache. [spec socket-factory 4.6 steps 2 and 3]
 *
 * What is in force stays so until way_settle() or way_watch(), however often it is compared; only a
 * new interface or gateway behind the same source is taken over at once.
 */
#ifndef SOCKETS_WAY_H
#define SOCKETS_WAY_H

#include "base/defs.h"
#include "packet/addr.h"
#include "sockets/factory.h"

enum way_change {
	WAY_NONE, /* had no way out and has none */
	WAY_KEPT,
	WAY_MOVED, /* by another source, or again by one */
	WAY_LOST,
};

struct way {
	bool out;  /* it had a route */
	bool dead; /* by an address that we have no more: any route is another one */
	struct factory_route route;
	/* Of the last comparison. */
	enum way_change change;
	bool rerouted; /* kept, but by another interface or gateway */
	struct factory_route found;
};

/* As it leaves now is in force. @dst without an address: there is no such destination. */
void way_watch(struct way *w, struct factory *f, const struct endpoint *dst, uint64_t now_us);

enum way_change way_compare(struct way *w, struct factory *f, const struct endpoint *dst,
			    uint64_t now_us);

/* What the comparison found is in force. True if that is news. */
bool way_settle(struct way *w);

#endif
