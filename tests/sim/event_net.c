#include "act.h"
#include "topology.h"

enum {
	CLIENT_REBOUND_S = 3,
	GATEWAY_REBOUND_S = 14,  /* until it checks its paths, and asks its relays */
	CLIENT_CHECKS_MS = 1500, /* each live pair, that often [spec connections 2.2] */
};

static bool is_over(const struct act *a)
{
	return a->stage > 0;
}

/*
 * Behind a NAT that maps by destination the client has the gateway's address from its checks alone:
 * it was never signalled, so it is not withdrawn either. What the client has to miss is the answer
 * to its next check.
 */
static uint64_t unseen_us(const struct host *h)
{
	bool steady = nat_is_steady(h->nat[0]) && nat_is_steady(h->nat[1]);

	return steady ? 0 : CLIENT_CHECKS_MS * US_PER_MS;
}

void act_gateway_roams(struct act *a)
{
	topology_move(a->w, a->w->gateway.host, a->e.value);
	gateway_node_network_event(&a->w->gateway);
	act_disturb(a, a->w->gateway.host, unseen_us(a->w->gateway.host));
}

void act_gateway_down(struct act *a)
{
	a->w->gateway.host->link.up = is_over(a);
	gateway_node_network_event(&a->w->gateway);
	act_disturb(a, a->w->gateway.host, 0);
	if (!is_over(a))
		act_again(a, a->e.for_us);
}

void act_client_roams(struct act *a)
{
	struct client_node *c = act_client(a);

	topology_move(a->w, c->host, a->e.value);
	client_node_reset(c);
	act_disturb(a, c->host, 0);
}

/* Odd values: the client notices, and begins anew. */
void act_client_down(struct act *a)
{
	struct client_node *c = act_client(a);

	c->host->link.up = is_over(a);
	act_disturb(a, c->host, 0);
	if (!is_over(a))
		act_again(a, a->e.for_us);
	else if (a->e.value % 2)
		client_node_reset(c);
}

/* A client or the gateway; both see it and act on it. */
static struct host *edge(const struct act *a)
{
	unsigned i = a->e.a % (a->w->n_clients + 1);

	return i == a->w->n_clients ? a->w->gateway.host : a->w->clients[i].host;
}

static void noticed(struct act *a, const struct host *h)
{
	if (h == a->w->gateway.host)
		gateway_node_network_event(&a->w->gateway);
	for (unsigned i = 0; i < a->w->n_clients; i++)
		if (a->w->clients[i].host == h)
			client_node_reset(&a->w->clients[i]);
}

void act_family_lost(struct act *a)
{
	struct host *h = edge(a);
	unsigned f = a->e.b % 2;

	if (!is_over(a) && h->family_down[f])
		return;
	h->family_down[f] = !is_over(a);
	noticed(a, h);
	act_disturb(a, h, 0);
	if (!is_over(a))
		act_again(a, a->e.for_us);
}

/* Nobody is told. */
void act_udp_blocked(struct act *a)
{
	struct host *h = edge(a);

	if (!is_over(a) && h->udp_blocked)
		return;
	h->udp_blocked = !is_over(a);
	act_disturb(a, h, 0);
	if (!is_over(a))
		act_again(a, a->e.for_us);
}

static bool has_nat(const struct host *h, const struct nat *nat)
{
	return h->nat[0] == nat || h->nat[1] == nat;
}

/*
 * The gateway's own: it hears nothing that would tell it, and its relays and paths are asked in
 * turn. A client's: where the gateway's NAT filters, its new address has to be signalled first.
 */
static uint64_t rebound_us(const struct world *w, const struct nat *nat)
{
	const struct host *g = w->gateway.host;

	if (has_nat(g, nat))
		return GATEWAY_REBOUND_S * US_PER_S;
	for (unsigned f = 0; f < 2; f++)
		if (g->nat[f] && g->nat[f]->filtering != NAT_INDEPENDENT)
			return CLIENT_REBOUND_S * US_PER_S;
	return 0;
}

void act_rebind(struct act *a)
{
	struct nat *nat;

	if (a->w->n_nats == 0)
		return;
	nat = &a->w->nats[a->e.a % a->w->n_nats];
	nat_rebind(nat);
	for (unsigned i = 0; i < a->w->net.n_hosts; i++)
		if (has_nat(&a->w->net.hosts[i], nat))
			act_disturb(a, &a->w->net.hosts[i], rebound_us(a->w, nat));
}

void act_cut(struct act *a)
{
	struct net *n = &a->w->net;
	unsigned x = a->e.a % n->n_hosts, y = a->e.b % n->n_hosts;

	n->cut[x][y] = !is_over(a);
	if (a->e.value % 2)
		n->cut[y][x] = !is_over(a);
	act_disturb_between(a, &n->hosts[x], &n->hosts[y]);
	if (!is_over(a))
		act_again(a, a->e.for_us);
}

/* Into two halves. */
void act_partition(struct act *a)
{
	struct net *n = &a->w->net;

	for (unsigned x = 0; x < n->n_hosts; x++)
		for (unsigned y = 0; y < n->n_hosts; y++)
			if ((a->e.value >> x & 1) != (a->e.value >> y & 1)) {
				n->cut[x][y] = !is_over(a);
				act_disturb_between(a, &n->hosts[x], &n->hosts[y]);
			}
	if (!is_over(a))
		act_again(a, a->e.for_us);
}

/* For a while so bad that nothing is promised. */
void act_lossy(struct act *a)
{
	struct host *h = &a->w->net.hosts[a->e.a % a->w->net.n_hosts];
	uint32_t more = 50000 + (uint32_t)(a->e.value % 300000);

	if (!is_over(a)) {
		h->link.loss += more;
		act_again(a, a->e.for_us);
	} else {
		h->link.loss -= more;
	}
	act_disturb(a, h, ACT_AWAY_S * US_PER_S + (is_over(a) ? 0 : a->e.for_us));
}
