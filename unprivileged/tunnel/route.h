/*
 * One client's grants and the choice among them: which authorized resource, if any, admits an
 * address? [spec dataplane 7.2, 17.2, R2]
 *
 * The result is the union of all covering resources: a packet passes if any of them admits it.
 * Which one it is attributed to goes by (admits the packet, prefix length, resource id). The table
 * is rebuilt from the grants after every change.
 */
#ifndef TUNNEL_ROUTE_H
#define TUNNEL_ROUTE_H

#include "base/uuid.h"
#include "tunnel/filter.h"
#include "tunnel/resource.h"

/* One authorized resource of one client. */
struct grant {
	struct uuid id;
	enum resource_kind kind;
	struct ip_prefix prefix; /* CIDR only */
	struct filter_set *filters;
	int64_t expires_at;   /* Unix seconds */
	uint64_t deadline_us; /* the same, monotonic; from then on the grant counts no more */
	bool listed;          /* seen in the list that is being applied */
};

/* A prefix in the table: the first 64 bits and the rest, host order, IPv4 in the top 32. */
struct route {
	uint64_t high, low;
	uint16_t parent; /* next wider candidate */
	uint16_t grant;
	uint8_t len;
};

/*
 * IPv4 prefixes, then IPv6, each sorted by (address, length, id), then the Internet resources with
 * the highest id first. The candidates of an address are the last prefix at or below it that
 * contains it, and from there its parents.
 */
struct route_table {
	struct route *routes; /* the owner's, room for one per grant */
	uint16_t n_v4, n_v6, n_internet;
};

void route_table_rebuild(struct route_table *table, const struct grant *grants, size_t n);

enum route_verdict {
	ROUTE_PERMITTED,
	ROUTE_PROHIBITED,
	ROUTE_UNREACHABLE,
};

/* The resource's side of a packet. */
struct route_query {
	const struct ip_addr *addr;
	enum ip_kind kind;
	uint16_t port;
	uint64_t now_us;
};

/*
 * Judge @q. On ROUTE_PERMITTED *who is the grant that the packet is attributed to. Tunnel,
 * loopback, link-local and multicast addresses are never permitted; neither are proxy addresses:
 * nothing translates them.
 */
enum route_verdict route_lookup(const struct route_table *table, const struct grant *grants,
				const struct route_query *q, const struct grant **who);

#endif
