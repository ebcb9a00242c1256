#include "net.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	OVERHEAD_V4 = 28,
	OVERHEAD_V6 = 48,
	REORDER_US = 30000, /* how much later a reordered datagram comes */
};

static unsigned index_of(uint8_t family)
{
	return family == IP_V6;
}

struct host *net_add(struct net *n, const char *name)
{
	struct host *h = &n->hosts[n->n_hosts];

	BUG_ON(n->n_hosts == NET_MAX_HOSTS);
	*h = (struct host){.id = n->n_hosts++};
	snprintf(h->name, sizeof(h->name), "%s", name);
	h->link = (struct link){.delay_us = 10000, .mtu = NET_MAX_DATAGRAM, .up = true};
	return h;
}

bool net_has(const struct host *h, uint8_t family)
{
	unsigned f = index_of(family);

	return h->link.up && !h->family_down[f] && h->address[f].family != IP_NONE;
}

uint64_t net_rtt_us(const struct host *a, const struct host *b)
{
	return 2 * (a->link.delay_us + a->link.jitter_us + b->link.delay_us + b->link.jitter_us) +
	       (a->link.reorder + b->link.reorder > 0 ? 2 * REORDER_US : 0);
}

static bool in_lan(const struct host *a, const struct host *b, uint8_t family)
{
	unsigned f = index_of(family);

	return a->nat[f] && a->nat[f] == b->nat[f];
}

static struct host *neighbour(struct net *n, const struct host *h, const struct endpoint *dst)
{
	for (unsigned i = 0; i < n->n_hosts; i++)
		if (in_lan(h, &n->hosts[i], dst->ip.family) &&
		    ip_eq(&n->hosts[i].address[index_of(dst->ip.family)], &dst->ip))
			return &n->hosts[i];
	return NULL;
}

static bool is_translated(const struct host *h, unsigned f)
{
	return h->nat[f] && h->nat[f]->external.family != IP_NONE;
}

static struct host *with_address(struct net *n, const struct nat *nat, const struct ip_addr *ip)
{
	unsigned f = index_of(ip->family);

	for (unsigned i = 0; i < n->n_hosts; i++)
		if (n->hosts[i].nat[f] == nat && ip_eq(&n->hosts[i].address[f], ip))
			return &n->hosts[i];
	return NULL;
}

/* Through the NAT that has this external address; false: nobody, or filtered. */
static bool through_nat(struct net *n, const struct host *from, struct datagram *d,
			struct host **out)
{
	unsigned f = index_of(d->dst.ip.family);

	for (unsigned i = 0; i < n->n_hosts; i++) {
		struct host *h = &n->hosts[i];
		struct endpoint inside;

		if (!is_translated(h, f) || !ip_eq(&h->nat[f]->external, &d->dst.ip))
			continue;
		if (from->nat[f] == h->nat[f] && !h->nat[f]->hairpin)
			return false;
		if (!nat_in(h->nat[f], &d->dst, &d->src, n->sim->now_us, &inside))
			return false;
		d->dst = inside;
		*out = with_address(n, h->nat[f], &inside.ip);
		return *out != NULL;
	}
	return false;
}

/* Whose host gets it, with what stands in between passed. */
static struct host *receiver(struct net *n, struct datagram *d)
{
	struct host *from = &n->hosts[d->from], *h = NULL;
	unsigned f = index_of(d->dst.ip.family);
	struct endpoint inside;

	for (unsigned i = 0; i < n->n_hosts && !h; i++)
		if (!is_translated(&n->hosts[i], f) && ip_eq(&n->hosts[i].address[f], &d->dst.ip))
			h = &n->hosts[i];
	if (!h && ip_eq(&d->src.ip, &from->address[f]))
		h = neighbour(n, from, &d->dst);
	else if (h && h->nat[f] && !nat_in(h->nat[f], &d->dst, &d->src, n->sim->now_us, &inside))
		return NULL;
	if (!h && !through_nat(n, from, d, &h))
		return NULL;
	return h;
}

static void arrive(void *ctx, void *data)
{
	struct net *n = ctx;
	struct datagram *d = data;
	struct host *h = receiver(n, d);

	if (!h || !net_has(h, d->dst.ip.family) || h->udp_blocked || n->cut[d->from][h->id] ||
	    !h->receive ||
	    d->len > h->link.mtu - (d->dst.ip.family == IP_V6 ? OVERHEAD_V6 : OVERHEAD_V4) ||
	    sim_chance(n->sim, h->link.loss))
		goto out;
	n->delivered++;
	h->receive(h->ctx, d);
out:
	free(d);
}

static void queue(struct net *n, const struct link *link, const struct datagram *from)
{
	struct datagram *d = malloc(sizeof(*d));
	struct sim_event e = {.run = arrive, .drop = free, .ctx = n, .data = d};
	uint64_t at = n->sim->now_us + link->delay_us;

	BUG_ON(!d);
	memcpy(d, from, offsetof(struct datagram, memory) + NET_HEADROOM + from->len);
	d->bytes = d->memory + NET_HEADROOM;
	if (link->jitter_us > 0)
		at += sim_below(n->sim, link->jitter_us);
	if (sim_chance(n->sim, link->reorder))
		at += REORDER_US;
	if (sim_chance(n->sim, link->corrupt) && d->len > 0)
		d->bytes[sim_below(n->sim, d->len)] ^= (uint8_t)(1 + sim_below(n->sim, 255));
	sim_at(n->sim, at, &e);
}

/* Both links' delays in one; the receiver's loss is drawn when it arrives. */
static struct link joint(struct net *n, const struct host *h, const struct endpoint *dst)
{
	struct link link = h->link;
	unsigned f = index_of(dst->ip.family);

	for (unsigned i = 0; i < n->n_hosts; i++) {
		const struct host *to = &n->hosts[i];

		if (!ip_eq(&to->address[f], &dst->ip) &&
		    !(is_translated(to, f) && ip_eq(&to->nat[f]->external, &dst->ip)))
			continue;
		link.delay_us += to->link.delay_us;
		link.jitter_us += to->link.jitter_us;
		link.reorder += to->link.reorder;
		break;
	}
	return link;
}

static void overhear(struct net *n, const struct datagram *d)
{
	struct net_overheard *o = &n->overheard[n->n_overheard % NET_OVERHEARD];
	const struct host *h = n->watched;
	unsigned f = index_of(d->dst.ip.family);

	if (!h || h->id == d->from ||
	    !ip_eq(&d->dst.ip, is_translated(h, f) ? &h->nat[f]->external : &h->address[f]))
		return;
	o->src = d->src;
	o->dst = d->dst;
	o->len = d->len;
	memcpy(o->bytes, d->memory + NET_HEADROOM, d->len);
	n->n_overheard++;
}

static void launch(struct net *n, struct host *h, struct datagram *d)
{
	struct link link = joint(n, h, &d->dst);

	n->sent++;
	if (h->receive)
		overhear(n, d);
	if (sim_chance(n->sim, link.loss))
		return;
	queue(n, &link, d);
	if (sim_chance(n->sim, link.duplicate))
		queue(n, &link, d);
}

static void fill(struct datagram *d, unsigned from, const struct outgoing *out)
{
	d->from = from;
	d->src = out->src;
	d->dst = out->dst;
	d->ecn = out->ecn;
	d->len = out->len;
	memcpy(d->memory + NET_HEADROOM, out->data, out->len);
}

int net_send(struct net *n, struct host *h, const struct outgoing *out)
{
	uint8_t family = out->dst.ip.family;
	unsigned f = index_of(family);
	struct datagram d;

	if (!net_has(h, family))
		return ENETUNREACH;
	if (out->src.ip.family != IP_NONE && !ip_eq(&out->src.ip, &h->address[f]))
		return EINVAL;
	if (out->len > h->link.mtu - (family == IP_V6 ? OVERHEAD_V6 : OVERHEAD_V4))
		return EMSGSIZE;
	if (h->udp_blocked)
		return 0;
	fill(&d, h->id, out);
	d.src.ip = h->address[f];
	if (h->nat[f] && !neighbour(n, h, &d.dst))
		d.src = nat_out(h->nat[f], &d.src, &d.dst, n->sim->now_us);
	launch(n, h, &d);
	return 0;
}

void net_inject(struct net *n, unsigned from, const struct outgoing *out)
{
	struct datagram d;

	fill(&d, from, out);
	launch(n, &n->hosts[from], &d);
}
