#include "sockets/network.h"

#include <stdlib.h>
#include <string.h>

#include "sockets/internal.h"

/* linux/if.h, linux/if_addr.h, linux/rtnetlink.h. */
enum {
	IFF_UP_ = 0x1,
	IFA_F_TEMPORARY_ = 0x01,
	IFA_F_DADFAILED_ = 0x08,
	IFA_F_DEPRECATED_ = 0x20,
	IFA_F_TENTATIVE_ = 0x40,
	IFA_F_PERMANENT_ = 0x80, /* an endless lifetime */
	RT_TABLE_LOCAL_ = 255,
	NOT_A_SOURCE = IFA_F_TEMPORARY_ | IFA_F_DADFAILED_ | IFA_F_DEPRECATED_ | IFA_F_TENTATIVE_,
	FIRST_RULE = 100,
	LAST_RULE = 300,
	RULE_STEP = 100,
};

struct link {
	uint32_t ifindex, flags, master;
	bool carrier;
	char name[16];
};

struct address {
	struct ip_addr ip;
	uint32_t ifindex, flags;
	uint8_t prefix_len, scope;
};

/* What was last said of an IPv6 route, so that it is known when it is said again. */
struct heard_route {
	struct ip_prefix dst; /* ip.family IP_NONE: free */
	uint32_t table, metric;
	uint64_t digest;
};

struct network {
	struct network_config cfg;
	struct link links[NETWORK_MAX_LINKS];
	struct address addresses[NETWORK_MAX_ADDRESSES];
	struct heard_route routes[NETWORK_MAX_ROUTES];
	size_t n_links, n_addresses, next_route;
	bool missed_address; /* one did not fit */
	bool dumping;
};

struct network *network_new(const struct network_config *cfg)
{
	struct network *n = calloc(1, sizeof(*n));

	if (n)
		n->cfg = *cfg;
	return n;
}

void network_free(struct network *n)
{
	free(n);
}

static bool is_tun(const struct network *n, uint32_t ifindex)
{
	return ifindex != 0 && ifindex == n->cfg.tun_ifindex;
}

static void forget_routes(struct network *n)
{
	memset(n->routes, 0, sizeof(n->routes));
}

/* --- links --- */

static struct link *link_find(struct network *n, uint32_t ifindex)
{
	for (size_t i = 0; i < n->n_links; i++)
		if (n->links[i].ifindex == ifindex)
			return &n->links[i];
	return NULL;
}

/* True if it is new or in another state than before. */
static bool link_set(struct network *n, const struct nl_msg *msg)
{
	struct link *known = link_find(n, msg->link.ifindex);
	struct link now = {.ifindex = msg->link.ifindex,
			   .flags = msg->link.flags,
			   .master = msg->link.master,
			   .carrier = msg->link.carrier};
	bool changed;

	memcpy(now.name, msg->link.name, sizeof(now.name));
	if (!known) {
		if (n->n_links < NETWORK_MAX_LINKS)
			n->links[n->n_links++] = now;
		return true;
	}
	if (msg->link.partial) {
		now.master = known->master;
		now.carrier = known->carrier;
	}
	changed = ((known->flags ^ now.flags) & IFF_UP_) != 0 || known->carrier != now.carrier ||
		  known->master != now.master || strcmp(known->name, now.name) != 0;
	*known = now;
	return changed;
}

/* Its addresses go with it: the next device may get its number. */
static void link_remove(struct network *n, uint32_t ifindex)
{
	struct link *known = link_find(n, ifindex);

	if (known)
		*known = n->links[--n->n_links];
	for (size_t i = n->n_addresses; i-- > 0;)
		if (n->addresses[i].ifindex == ifindex)
			n->addresses[i] = n->addresses[--n->n_addresses];
}

static bool link_event(struct network *n, const struct nl_msg *msg)
{
	bool tun = is_tun(n, msg->link.ifindex);

	if (msg->kind == NL_NEW_LINK)
		return link_set(n, msg) && !tun;
	link_remove(n, msg->link.ifindex);
	if (tun)
		n->cfg.tun_ifindex = 0;
	return !tun;
}

/* --- addresses --- */

static struct address *address_find(struct network *n, const struct nl_msg *msg)
{
	for (size_t i = 0; i < n->n_addresses; i++) {
		struct address *a = &n->addresses[i];

		if (a->ifindex == msg->address.ifindex &&
		    a->prefix_len == msg->address.prefix_len && ip_eq(&a->ip, &msg->address.addr))
			return a;
	}
	return NULL;
}

/* True if it is new or may be chosen differently than before. */
static bool address_set(struct network *n, const struct nl_msg *msg)
{
	struct address *known = address_find(n, msg);
	struct address now = {.ip = msg->address.addr,
			      .ifindex = msg->address.ifindex,
			      .flags = msg->address.flags,
			      .prefix_len = msg->address.prefix_len,
			      .scope = msg->address.scope};
	struct address was;

	if (!known) {
		if (n->n_addresses < NETWORK_MAX_ADDRESSES)
			n->addresses[n->n_addresses++] = now;
		else
			n->missed_address = true;
		return true;
	}
	was = *known;
	*known = now;
	if (was.scope != now.scope ||
	    ((was.flags ^ now.flags) & ~(uint32_t)(IFA_F_DEPRECATED_ | IFA_F_PERMANENT_)) != 0)
		return true;
	return ((was.flags ^ now.flags) & IFA_F_DEPRECATED_) != 0 &&
	       factory_uses_source(n->cfg.factory, &now.ip);
}

static bool address_event(struct network *n, const struct nl_msg *msg)
{
	bool tun = is_tun(n, msg->address.ifindex);
	struct address *known;

	if (msg->kind == NL_NEW_ADDR)
		return address_set(n, msg) && !tun;
	known = address_find(n, msg);
	if (known)
		*known = n->addresses[--n->n_addresses];
	return !tun;
}

/* --- routes and rules --- */

static bool is_ours(const struct network *n, const struct nl_route *route)
{
	if (is_tun(n, route->ifindex) || factory_is_tunnel_table(route->table))
		return true;
	for (size_t i = 0; route->table == RT_TABLE_LOCAL_ && i < n->n_addresses; i++)
		if (is_tun(n, n->addresses[i].ifindex) &&
		    ip_eq(&n->addresses[i].ip, &route->dst.ip))
			return true;
	return false;
}

static struct heard_route *heard_find(struct network *n, const struct nl_route *route)
{
	for (size_t i = 0; i < NETWORK_MAX_ROUTES; i++) {
		struct heard_route *h = &n->routes[i];

		if (ip_eq(&h->dst.ip, &route->dst.ip) && h->dst.len == route->dst.len &&
		    h->table == route->table && h->metric == route->metric)
			return h;
	}
	return NULL;
}

/* True if the event says what the last one about this route said: only a lifetime was renewed.
 * Routes that concern nobody are not noted, but one that is noted is kept up to date. */
static bool heard_before(struct network *n, const struct nl_msg *msg, bool covers)
{
	const struct nl_route *route = &msg->route;
	struct heard_route *h;

	if (route->dst.ip.family != IP_V6)
		return false;
	h = heard_find(n, route);
	if (msg->kind == NL_DEL_ROUTE) {
		if (h)
			memset(h, 0, sizeof(*h));
		return false;
	}
	if (h && h->digest == route->digest)
		return true;
	if (!h && covers) {
		h = &n->routes[n->next_route];
		n->next_route = (n->next_route + 1) % NETWORK_MAX_ROUTES;
	}
	if (h)
		*h = (struct heard_route){.dst = route->dst,
					  .table = route->table,
					  .metric = route->metric,
					  .digest = route->digest};
	return false;
}

static bool route_event(struct network *n, const struct nl_msg *msg)
{
	bool covers;

	if (is_ours(n, &msg->route))
		return false;
	covers = factory_covers(n->cfg.factory, &msg->route.dst);
	return !heard_before(n, msg, covers) && covers;
}

/* Ours send only unmarked traffic elsewhere, so they never concern a lookup of ours. One that asks
 * for more than the mark is inverted as a whole, and does. */
static bool rule_event(const struct nl_msg *msg)
{
	bool ours = msg->rule.inverted && !msg->rule.selective &&
		    msg->rule.mark == (uint32_t)FACTORY_MARK && msg->rule.mask == UINT32_MAX &&
		    msg->rule.priority >= FIRST_RULE && msg->rule.priority <= LAST_RULE &&
		    msg->rule.priority % RULE_STEP == 0;

	return !ours;
}

/* --- what comes in --- */

void network_dump_begin(struct network *n)
{
	n->n_links = n->n_addresses = 0;
	n->missed_address = false;
	forget_routes(n);
	n->dumping = true;
}

void network_dumped(struct network *n, const struct nl_msg *msg)
{
	BUG_ON(!n->dumping);
	if (msg->kind == NL_NEW_LINK)
		(void)link_set(n, msg);
	else if (msg->kind == NL_NEW_ADDR)
		(void)address_set(n, msg);
}

void network_dump_end(struct network *n)
{
	n->dumping = false;
}

/* Whether the event counts, and as what; FACTORY_CAUSES: it is none. */
static bool judge(struct network *n, const struct nl_msg *msg, enum factory_cause *cause)
{
	switch (msg->kind) {
	case NL_NEW_LINK:
	case NL_DEL_LINK:
		*cause = FACTORY_CAUSE_LINK;
		return link_event(n, msg);
	case NL_NEW_ADDR:
	case NL_DEL_ADDR:
		*cause = FACTORY_CAUSE_ADDRESS;
		return address_event(n, msg);
	case NL_NEW_ROUTE:
	case NL_DEL_ROUTE:
		*cause = FACTORY_CAUSE_ROUTE;
		return route_event(n, msg);
	case NL_NEW_RULE:
	case NL_DEL_RULE:
		*cause = FACTORY_CAUSE_RULE;
		return rule_event(msg);
	case NL_NEXTHOP:
		*cause = FACTORY_CAUSE_NEXTHOP;
		return true;
	case NL_ERROR:
	case NL_DONE:
	case NL_OTHER:
		break;
	}
	return false;
}

bool network_event(struct network *n, const struct nl_msg *msg, enum factory_cause *cause)
{
	enum factory_cause found = FACTORY_CAUSE_ROUTE;

	BUG_ON(n->dumping);
	if (!judge(n, msg, &found))
		return false;
	/* Routes may go with any of the others without a word. */
	if (found != FACTORY_CAUSE_ROUTE)
		forget_routes(n);
	*cause = found;
	return true;
}

/* --- what is asked --- */

const char *network_link_name(const struct network *n, uint32_t ifindex)
{
	for (size_t i = 0; i < n->n_links; i++)
		if (n->links[i].ifindex == ifindex)
			return n->links[i].name;
	return "";
}

bool network_has_address(const struct network *n, const struct ip_addr *ip)
{
	for (size_t i = 0; i < n->n_addresses; i++)
		if (ip_eq(&n->addresses[i].ip, ip))
			return true;
	return n->missed_address;
}

static unsigned int common_bits(const struct ip_addr *a, const struct ip_addr *b)
{
	unsigned int bits = 0;

	while (bits < 8 * sizeof(a->bytes) &&
	       ((a->bytes[bits / 8] ^ b->bytes[bits / 8]) & 0x80 >> bits % 8) == 0)
		bits++;
	return bits;
}

/* fc00::/7 is of the same scope to the kernel, but not of the same reach. */
static bool is_unique_local(const struct ip_addr *ip)
{
	return (ip->bytes[0] & 0xfe) == 0xfc;
}

static const struct address *on_link(const struct network *n, uint32_t ifindex,
				     const struct ip_addr *ip)
{
	for (size_t i = 0; i < n->n_addresses; i++)
		if (n->addresses[i].ifindex == ifindex && ip_eq(&n->addresses[i].ip, ip))
			return &n->addresses[i];
	return NULL;
}

void network_prefer_public(const struct network *n, uint32_t ifindex, struct ip_addr *source)
{
	const struct address *now = on_link(n, ifindex, source), *best = NULL;

	if (source->family != IP_V6 || !now ||
	    (now->flags & (IFA_F_TEMPORARY_ | IFA_F_DEPRECATED_)) == 0)
		return;
	for (size_t i = 0; i < n->n_addresses; i++) {
		const struct address *a = &n->addresses[i];

		if (a->ifindex != ifindex || a->ip.family != IP_V6 || a->scope != now->scope ||
		    (a->flags & NOT_A_SOURCE) != 0 ||
		    is_unique_local(&a->ip) != is_unique_local(source))
			continue;
		if (!best || common_bits(&a->ip, source) > common_bits(&best->ip, source))
			best = a;
	}
	if (best)
		*source = best->ip;
}
