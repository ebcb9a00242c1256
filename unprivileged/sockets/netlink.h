/*
 * rtnetlink codec: the two requests we make and the answers and events we read. Pure functions on
 * buffers. [rtnetlink(7), spec socket-factory 3, 4.4, 4.6]
 */
#ifndef SOCKETS_NETLINK_H
#define SOCKETS_NETLINK_H

#include "base/defs.h"
#include "packet/addr.h"

enum {
	NL_MAX_REQUEST = 128
};

/*
 * RTM_GETROUTE for @dst (v4 or v6) with RTA_MARK, such that the answer has the true table; RTA_OIF
 * = scope for link-local. Returns the length, 0 on overflow.
 */
size_t nl_write_get_route(uint8_t *buf, size_t cap, uint32_t seq, const struct ip_addr *dst,
			  uint32_t scope, uint32_t mark);

enum nl_dump {
	NL_DUMP_LINKS,
	NL_DUMP_ADDRESSES
};
size_t nl_write_dump(uint8_t *buf, size_t cap, uint32_t seq, enum nl_dump what);

struct nl_route {
	uint8_t type; /* RTN_UNICAST ... */
	uint32_t table, ifindex, metric;
	struct ip_addr prefsrc, gateway; /* IP_NONE when absent */
	struct ip_prefix dst;            /* events */
	uint64_t digest;                 /* of all it says but the lifetimes */
};

enum nl_kind {
	NL_ERROR,
	NL_DONE,
	NL_NEW_ROUTE,
	NL_DEL_ROUTE,
	NL_NEW_ADDR,
	NL_DEL_ADDR,
	NL_NEW_LINK,
	NL_DEL_LINK,
	NL_NEW_RULE,
	NL_DEL_RULE,
	NL_NEXTHOP,
	NL_OTHER,
};

struct nl_msg {
	enum nl_kind kind;
	uint32_t seq;
	int error;        /* NL_ERROR, NL_DONE: positive errno, 0: none */
	bool interrupted; /* part of a dump during which something changed: ask again */
	struct nl_route route;
	struct {
		struct ip_addr addr;
		uint32_t ifindex, flags;
		uint8_t scope, prefix_len;
	} address;
	struct {
		uint32_t ifindex, flags, master;
		bool carrier, partial; /* partial: says nothing of carrier and master */
		char name[16];
	} link;
	struct {
		uint32_t priority, mark, mask, table;
		bool inverted, selective; /* selective: asks for more than the mark */
	} rule;
};

/*
 * Take the next message of a datagram: *at moves on. False, with *out and *at untouched, at the end
 * or at the first malformed one
 * (*bad set). Routes, addresses and rules of other families than IP, and links as a
 * bridge sees them, are NL_OTHER.
 */
bool nl_next(struct nl_msg *out, const uint8_t *buf, size_t len, size_t *at, bool *bad);

#endif
