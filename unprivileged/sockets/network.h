/*
 * What the kernel told of links and addresses, and which of its events may change a route of ours.
 * [spec socket-factory 4.4 step 3, 4.6]
 *
 * Holds no fd: the owner feeds it the messages of a dump and of the event socket. Tables are
 * bounded; an event about what did not fit always counts.
 */
#ifndef SOCKETS_NETWORK_H
#define SOCKETS_NETWORK_H

#include "base/defs.h"
#include "sockets/factory.h"
#include "sockets/netlink.h"

struct network;

enum {
	NETWORK_MAX_LINKS = 256,
	NETWORK_MAX_ADDRESSES = 1024,
	NETWORK_MAX_ROUTES = 64, /* IPv6 ones that were heard of, to tell a renewed lifetime */
};

struct network_config {
	const struct factory
	    *factory; /* whose destinations and sources matter; outlives the network */
	uint32_t tun_ifindex;
};

/* NULL without memory. */
struct network *network_new(const struct network_config *cfg);
void network_free(struct network *n);

/*
 * A dump of links and addresses: begin, network_dumped() for each message, end. What the dump did
 * not name is gone afterwards. Events may not come in between.
 */
void network_dump_begin(struct network *n);
void network_dumped(struct network *n, const struct nl_msg *msg);
void network_dump_end(struct network *n);

/*
 * Take one event. True, with the @cause, if a route of a destination in the cache may have changed;
 * else *cause is untouched. What we did ourselves to the TUN, our tables and our rules does not
 * count, nor do lifetimes, nor routes to nobody in the cache.
 *
 * After a flush nobody is in the cache. The event of a route is then ignored with good reason:
 * there is nothing to forget, and the comparison that each flush arms (sockets/roam.h) finds the
 * route as it is by then. It puts every live destination into the cache, those without a way out as
 * refusals: from then on events about them count again.
 */
bool network_event(struct network *n, const struct nl_msg *msg, enum factory_cause *cause);

/* The link's name, "" when unknown; valid until the next call that changes the network. */
const char *network_link_name(const struct network *n, uint32_t ifindex);

/* True if @ip is on some interface, or may be: not all addresses fitted into the table. */
bool network_has_address(const struct network *n, const struct ip_addr *ip);

/*
 * Replace an IPv6 @source that is temporary or deprecated by a public, preferred, non-tentative
 * address of the same interface and scope, where there is one. [RFC 6724 rule 7 the other way
 * round]
 */
void network_prefer_public(const struct network *n, uint32_t ifindex, struct ip_addr *source);

#endif
