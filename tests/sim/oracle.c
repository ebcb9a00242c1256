#include "oracle.h"

static uint8_t family_of(unsigned f)
{
	return f == 0 ? IP_V4 : IP_V6;
}

/* Datagrams get through in both directions, NATs and firewalls aside. */
static bool connected(const struct world *w, const struct host *a, const struct host *b, unsigned f)
{
	return net_has(a, family_of(f)) && net_has(b, family_of(f)) && !a->udp_blocked &&
	       !b->udp_blocked && !w->net.cut[a->id][b->id] && !w->net.cut[b->id][a->id];
}

static bool usable(const struct world *w, const struct host *h, unsigned relay, unsigned f)
{
	const struct relay_node *r = &w->relays[relay];

	return r->up && r->refuse == 0 && w->portal.listed[relay] && connected(w, h, r->host, f);
}

static bool usable_by_any(const struct world *w, const struct host *h, unsigned relay)
{
	return usable(w, h, relay, 0) || usable(w, h, relay, 1);
}

/* Its candidates of this family become known. */
static bool has_candidates(const struct world *w, const struct host *h, unsigned f)
{
	for (unsigned i = 0; i < w->n_relays; i++)
		if (usable(w, h, i, f))
			return true;
	return false;
}

/* Two NATs let each other's checks in, once both have sent some. [RFC 4787, RFC 5128] */
static bool punchable(const struct nat *a, const struct nat *b)
{
	if (!a || !b || a == b)
		return true;
	if (nat_is_steady(a) && nat_is_steady(b))
		return true;
	if (nat_is_steady(a))
		return a->filtering != NAT_ADDRESS_PORT;
	return nat_is_steady(b) && b->filtering != NAT_ADDRESS_PORT;
}

static bool direct(const struct world *w, const struct host *c, const struct host *g, unsigned f)
{
	return connected(w, c, g, f) && has_candidates(w, c, f) && has_candidates(w, g, f) &&
	       punchable(c->nat[f], g->nat[f]);
}

/* From a host to an address on a relay that has a channel to the host's candidate. */
static bool reaches(const struct world *w, const struct host *h, unsigned relay)
{
	for (unsigned f = 0; f < 2; f++)
		if (usable(w, h, relay, f) && nat_is_steady(h->nat[f]))
			return true;
	return false;
}

static bool relays_connected(const struct world *w, unsigned a, unsigned b)
{
	const struct host *x = w->relays[a].host, *y = w->relays[b].host;

	return connected(w, x, y, 0) || connected(w, x, y, 1);
}

/* With these two chosen. */
static bool relayed_by(const struct world *w, const struct host *c, const struct host *g,
		       unsigned by_client, unsigned by_gateway)
{
	bool client = usable_by_any(w, c, by_client);
	bool gateway = usable_by_any(w, g, by_gateway);

	return (client && reaches(w, g, by_client)) || (gateway && reaches(w, c, by_gateway)) ||
	       (client && gateway && relays_connected(w, by_client, by_gateway));
}

/* Whatever relays they have chosen among those that work for them. */
static bool relayed(const struct world *w, const struct host *c, const struct host *g)
{
	bool any = false;

	for (unsigned i = 0; i < w->n_relays; i++) {
		for (unsigned k = 0; k < w->n_relays; k++) {
			if (!usable_by_any(w, c, i) || !usable_by_any(w, g, k))
				continue;
			any = true;
			if (!relayed_by(w, c, g, i, k))
				return false;
		}
	}
	return any;
}

enum oracle_path oracle_path(const struct world *w, unsigned client)
{
	const struct host *c = w->clients[client].host, *g = w->gateway.host;

	for (unsigned f = 0; f < 2; f++)
		if (direct(w, c, g, f))
			return ORACLE_DIRECT;
	return relayed(w, c, g) ? ORACLE_RELAYED : ORACLE_NONE;
}
