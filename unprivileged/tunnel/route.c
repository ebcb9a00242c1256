#include "tunnel/route.h"

#include <stdlib.h>

#include "packet/bytes.h"

enum {
	NO_ROUTE = UINT16_MAX
};

static struct route route_of(const struct ip_addr *ip, uint8_t len, size_t grant)
{
	struct reader r = reader_of(ip->bytes, sizeof(ip->bytes));
	struct route route = {.parent = NO_ROUTE, .grant = (uint16_t)grant, .len = len};

	route.high = rd_u64(&r);
	route.low = rd_u64(&r);
	return route;
}

/* By address and length; grants are kept sorted by id, so that their index stands for it. */
static int by_prefix(const void *a, const void *b)
{
	const struct route *x = a;
	const struct route *y = b;

	if (x->high != y->high)
		return x->high < y->high ? -1 : 1;
	if (x->low != y->low)
		return x->low < y->low ? -1 : 1;
	if (x->len != y->len)
		return x->len < y->len ? -1 : 1;
	return x->grant < y->grant ? -1 : x->grant > y->grant;
}

static bool contains(const struct route *route, const struct route *at)
{
	uint64_t high = route->high ^ at->high;
	uint64_t low = route->low ^ at->low;

	if (route->len == 0)
		return true;
	if (route->len <= 64)
		return high >> (64 - route->len) == 0;
	return high == 0 && (route->len == 128 ? low == 0 : low >> (128 - route->len) == 0);
}

/* Prefixes of one family nest or lie apart: walking them in order, the open ones form a stack. */
static void link_parents(struct route *routes, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		size_t up = i - 1;

		while (up != NO_ROUTE && !contains(&routes[up], &routes[i]))
			up = routes[up].parent;
		routes[i].parent = (uint16_t)up;
	}
}

static uint16_t add_family(struct route *out, const struct grant *grants, size_t n, uint8_t family)
{
	size_t found = 0;

	for (size_t i = 0; i < n; i++) {
		const struct grant *g = &grants[i];

		if (g->kind == RESOURCE_CIDR && g->prefix.ip.family == family)
			out[found++] = route_of(&g->prefix.ip, g->prefix.len, i);
	}
	if (found > 1)
		qsort(out, found, sizeof(*out), by_prefix);
	link_parents(out, found);
	return (uint16_t)found;
}

void route_table_rebuild(struct route_table *table, const struct grant *grants, size_t n)
{
	struct route *out = table->routes;

	table->n_v4 = add_family(out, grants, n, IP_V4);
	out += table->n_v4;
	table->n_v6 = add_family(out, grants, n, IP_V6);
	out += table->n_v6;
	table->n_internet = 0;
	for (size_t i = n; i-- > 0;) {
		if (grants[i].kind == RESOURCE_INTERNET)
			out[table->n_internet++].grant = (uint16_t)i;
	}
}

/* The last route at or below @at, NO_ROUTE if there is none. */
static size_t last_at_or_below(const struct route *routes, size_t n, const struct route *at)
{
	size_t low = 0;

	while (n > 0) {
		size_t half = n / 2;
		const struct route *r = &routes[low + half];

		if (r->high < at->high || (r->high == at->high && r->low <= at->low)) {
			low += half + 1;
			n -= half + 1;
		} else {
			n = half;
		}
	}
	return low > 0 ? low - 1 : NO_ROUTE;
}

static const struct grant *find_cidr(const struct route_table *table, const struct grant *grants,
				     const struct route_query *q)
{
	bool v6 = q->addr->family == IP_V6;
	const struct route *routes = table->routes + (v6 ? table->n_v4 : 0);
	size_t n = v6 ? table->n_v6 : table->n_v4;
	struct route at;
	size_t i;

	if (n == 0)
		return NULL;
	at = route_of(q->addr, 128, 0);
	for (i = last_at_or_below(routes, n, &at); i != NO_ROUTE; i = routes[i].parent) {
		const struct grant *g = &grants[routes[i].grant];

		if (contains(&routes[i], &at) && q->now_us < g->deadline_us &&
		    filter_permits(g->filters, q->kind, q->port))
			return g;
	}
	return NULL;
}

static const struct grant *find_internet(const struct route_table *table,
					 const struct grant *grants, uint64_t now_us)
{
	const struct route *routes = table->routes + table->n_v4 + table->n_v6;

	for (size_t i = 0; i < table->n_internet; i++) {
		const struct grant *g = &grants[routes[i].grant];

		if (now_us < g->deadline_us)
			return g;
	}
	return NULL;
}

/* "This network", private, shared, loopback, link-local, multicast and reserved. [RFC 6890] */
static bool v4_not_internet(const uint8_t *b)
{
	switch (b[0]) {
	case 0:
	case 10:
	case 127:
		return true;
	case 100:
		return (b[1] & 0xc0) == 64;
	case 169:
		return b[1] == 254;
	case 172:
		return (b[1] & 0xf0) == 16;
	case 192:
		return b[1] == 168;
	default:
		return b[0] >= 224;
	}
}

/* Unspecified, loopback, v4-mapped, unique local, link-local, multicast. */
static bool not_internet(const struct ip_addr *ip)
{
	const uint8_t *b = ip->bytes;

	if (ip->family == IP_V4)
		return v4_not_internet(b);
	if (b[0] == 0)
		return ip_is_unspecified(ip) || ip_is_loopback(ip) || ip_is_v4_mapped(ip);
	return (b[0] & 0xfe) == 0xfc || ip_is_link_local(ip) || ip_is_multicast(ip);
}

/* No resource opens these, whatever its prefix covers. */
static bool never_routed(const struct ip_addr *ip)
{
	return ip_is_tunnel(ip) || ip_is_loopback(ip) || ip_is_link_local(ip) ||
	       ip_is_multicast(ip) || ip_is_broadcast(ip) || ip_is_unspecified(ip);
}

enum route_verdict route_lookup(const struct route_table *table, const struct grant *grants,
				const struct route_query *q, const struct grant **who)
{
	const struct grant *internet = find_internet(table, grants, q->now_us);
	const struct grant *cidr = NULL;

	if (internet && !not_internet(q->addr)) {
		*who = internet;
		return ROUTE_PERMITTED;
	}
	if (!never_routed(q->addr))
		cidr = find_cidr(table, grants, q);
	if (ip_is_proxy(q->addr))
		return cidr ? ROUTE_UNREACHABLE : ROUTE_PROHIBITED;
	if (cidr) {
		*who = cidr;
		return ROUTE_PERMITTED;
	}
	return internet && !ip_is_tunnel(q->addr) ? ROUTE_UNREACHABLE : ROUTE_PROHIBITED;
}
