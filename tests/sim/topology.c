#include "topology.h"

#include <stdio.h>

enum {
	ATTACKERS_V4 = 66, /* last byte of the attacker's address */
	MAX_DELAY_US = 60000,
	LOST_HANDSHAKES = 3,
};

/* Public addresses: 198.51.<host>.<n> and 2001:db8:<host>::<n>. */
static struct ip_addr public_address(unsigned f, unsigned host, unsigned n)
{
	struct ip_addr ip = world_ip(f == 0 ? "198.51.0.0" : "2001:db8::");

	ip.bytes[f == 0 ? 2 : 5] = (uint8_t)host;
	ip.bytes[f == 0 ? 3 : 15] = (uint8_t)n;
	return ip;
}

static struct ip_addr private_address(unsigned f, unsigned n)
{
	struct ip_addr ip = world_ip(f == 0 ? "192.168.1.0" : "fd00:1::");

	ip.bytes[f == 0 ? 3 : 15] = (uint8_t)n;
	return ip;
}

/* A firewall if it does not translate. */
static struct nat *nat_new(struct world *w, struct sim_draw *d, unsigned f, bool translates,
			   unsigned host)
{
	struct nat *n = &w->nats[w->n_nats++];

	BUG_ON(w->n_nats > WORLD_NATS);
	n->mapping = (enum nat_kind)sim_draw(d, 3);
	n->filtering = (enum nat_kind)sim_draw(d, 3);
	n->hairpin = sim_draw_percent(d, 50);
	n->timeout_us = (30 + sim_draw(d, 90)) * US_PER_S;
	n->next_port = (uint16_t)(20000 + sim_draw(d, 20000));
	if (translates)
		n->external = public_address(f, host, 1);
	return n;
}

static void draw_link(struct sim_draw *d, struct host *h, bool rough)
{
	h->link.delay_us = 1000 + sim_draw(d, MAX_DELAY_US);
	h->link.jitter_us = sim_draw(d, 5000);
	if (!rough)
		return;
	h->link.loss = (uint32_t)sim_draw(d, 30000);
	h->link.duplicate = (uint32_t)sim_draw(d, 20000);
	h->link.reorder = (uint32_t)sim_draw(d, 50000);
	h->link.corrupt = (uint32_t)sim_draw(d, 10000);
}

/* One or both families. */
static void draw_addresses(struct sim_draw *d, struct host *h, bool v4, bool v6)
{
	unsigned which = (unsigned)sim_draw(d, 10);

	if (v4 && (which < 7 || !v6))
		h->address[0] = public_address(0, h->id, 10);
	if (v6 && (which > 4 || !v4))
		h->address[1] = public_address(1, h->id, 10);
}

/* Some networks let no UDP out, or only small datagrams. */
static void draw_limits(struct sim_draw *d, struct host *h)
{
	if (sim_draw_percent(d, 4))
		h->udp_blocked = true;
	if (sim_draw_percent(d, 15))
		h->link.mtu = 576 + sim_draw(d, 800);
}

/* Only relay to relay. */
static struct host *hard_edge(struct world *w, struct sim_draw *d, const char *name)
{
	struct host *h = net_add(&w->net, name);

	draw_link(d, h, false);
	h->nat[0] = nat_new(w, d, 0, true, h->id);
	h->nat[0]->mapping = h->nat[0]->filtering = NAT_ADDRESS_PORT;
	h->address[0] = private_address(0, 10);
	return h;
}

static struct host *edge(struct world *w, struct sim_draw *d, const char *name, bool rough)
{
	struct host *h = net_add(&w->net, name);

	draw_link(d, h, rough);
	draw_addresses(d, h, true, true);
	if (h->address[0].family != IP_NONE && sim_draw_percent(d, 60)) {
		bool shared =
		    w->n_nats > 0 && w->nats[0].external.family == IP_V4 && sim_draw_percent(d, 25);

		h->nat[0] = shared ? &w->nats[0] : nat_new(w, d, 0, true, h->id);
		h->address[0] =
		    private_address(0, (shared ? 20 + h->id : 10) + (unsigned)sim_draw(d, 2) * 100);
	}
	if (h->address[1].family != IP_NONE && sim_draw_percent(d, 40)) {
		bool translates = sim_draw_percent(d, 25);

		h->nat[1] = nat_new(w, d, 1, translates, h->id);
		if (translates)
			h->address[1] = private_address(1, 10);
	}
	draw_limits(d, h);
	return h;
}

static void add_relays(struct world *w, struct sim_draw *d, bool hard)
{
	unsigned n = (hard ? 2U : 1U) + (unsigned)sim_draw(d, hard ? 2 : 3);
	bool standard = sim_draw_percent(d, 30);

	for (unsigned i = 0; i < n; i++) {
		char name[16];
		struct host *h;
		unsigned which;

		snprintf(name, sizeof(name), "relay%u", i);
		h = net_add(&w->net, name);
		draw_link(d, h, false);
		which = (unsigned)sim_draw(d, 20);
		if (which > 0)
			h->address[0] = public_address(0, h->id, 10);
		if (which < 17)
			h->address[1] = public_address(1, h->id, 10);
		relay_node_init(&w->relays[i], &w->net, h, sim_draw(d, UINT64_MAX));
		w->relays[i].standard = standard;
		w->relays[i].id = (struct uuid){{0xbb, [15] = (uint8_t)i}};
		w->portal.listed[i] = true;
	}
	w->n_relays = n;
}

/*
 * The way to and fro; where datagrams get lost also three handshakes in a row. Up to one in nine
 * fails, and each costs what WireGuard waits. [spec connections 7.3]
 */
static uint64_t slack(const struct world *w, bool rough)
{
	uint64_t rtt_us = 0;

	for (unsigned i = 0; i < w->net.n_hosts; i++)
		for (unsigned k = 0; k < i; k++) {
			uint64_t us = net_rtt_us(&w->net.hosts[i], &w->net.hosts[k]);

			rtt_us = us > rtt_us ? us : rtt_us;
		}
	return 4 * rtt_us + 6 * w->portal.delay_us +
	       (rough ? LOST_HANDSHAKES * TRUTH_HANDSHAKE_MS * US_PER_MS : 0);
}

void topology_build(struct world *w, struct sim_draw *d, uint64_t seed)
{
	bool hard = sim_draw_percent(d, 20), rough = !hard && sim_draw_percent(d, 25);
	struct host *gateway = hard ? hard_edge(w, d, "gateway") : edge(w, d, "gateway", rough);

	w->n_clients = 1 + (unsigned)sim_draw(d, 3);
	w->n_resources = 1 + (unsigned)sim_draw(d, WORLD_RESOURCES);
	add_relays(w, d, hard);
	w->portal.delay_us = (5 + sim_draw(d, 60)) * US_PER_MS;
	w->portal.lifetime_s = sim_draw_percent(d, 30) ? (int64_t)(5 + sim_draw(d, 30)) : 0;
	gateway_node_new(&w->gateway, w, gateway, seed ^ 0x1111);
	portal_node_join(&w->portal);
	for (unsigned i = 0; i < w->n_clients; i++) {
		char name[16];

		snprintf(name, sizeof(name), "client%u", i);
		client_node_new(&w->clients[i], w, i,
				hard ? hard_edge(w, d, name) : edge(w, d, name, rough),
				seed ^ (0x2222 + i));
		w->clients[i].keen = sim_draw_percent(d, 70);
		w->clients[i].sends_all = sim_draw_percent(d, 30);
		for (unsigned r = 0; r < w->n_resources; r++) {
			w->clients[i].wants[r] = true;
			if (r == 0 || sim_draw_percent(d, 70))
				portal_node_allow(&w->portal, i, r);
		}
	}
	w->stranger = net_add(&w->net, "stranger");
	w->net.watched = gateway;
	w->slack_us = slack(w, rough);
	for (unsigned i = 0; i < w->n_clients; i++)
		truth_disturb(&w->truth, i, US_PER_S);
}

/* The NAT is nobody else's. */
static bool alone(const struct world *w, const struct host *h, unsigned f)
{
	for (unsigned i = 0; i < w->net.n_hosts; i++)
		if (&w->net.hosts[i] != h && w->net.hosts[i].nat[f] == h->nat[f])
			return false;
	return true;
}

/* Another one than before in any case, or nobody would notice. */
static void move(struct world *w, struct host *h, unsigned f, unsigned n)
{
	struct nat *nat = h->nat[f];
	const struct ip_addr *was = &h->address[f];
	uint8_t last = was->bytes[f == 0 ? 3 : 15];

	if (was->family == IP_NONE)
		return;
	if (!nat || nat->external.family == IP_NONE) {
		h->address[f] = public_address(f, h->id, n + (n == last));
	} else {
		unsigned inside = 130 + h->id * 10 + n % 9;

		h->address[f] = private_address(f, inside + (inside == last));
		if (!alone(w, h, f))
			return;
		nat->external = public_address(f, h->id, 100 + n % 100);
	}
	if (nat)
		nat_rebind(nat);
}

void topology_move(struct world *w, struct host *h, uint64_t value)
{
	for (unsigned f = 0; f < 2; f++)
		move(w, h, f, 11 + (unsigned)(value % 100));
}

static const char *const kind_names[] = {"independent", "address", "address+port"};

void topology_print(const struct world *w)
{
	for (unsigned i = 0; i < w->net.n_hosts; i++) {
		const struct host *h = &w->net.hosts[i];
		char v4[IP_TEXT_MAX] = "-", v6[IP_TEXT_MAX] = "-";

		if (h->address[0].family != IP_NONE)
			ip_format(&h->address[0], v4);
		if (h->address[1].family != IP_NONE)
			ip_format(&h->address[1], v6);
		printf("  %-8s %s %s delay %llu ms loss %u ppm", h->name, v4, v6,
		       (unsigned long long)h->link.delay_us / 1000, h->link.loss);
		for (unsigned f = 0; f < 2; f++)
			if (h->nat[f])
				printf("  %s: mapping %s filtering %s timeout %llu s",
				       h->nat[f]->external.family == IP_NONE ? "firewall" : "NAT",
				       kind_names[h->nat[f]->mapping],
				       kind_names[h->nat[f]->filtering],
				       (unsigned long long)(h->nat[f]->timeout_us / US_PER_S));
		printf("\n");
	}
	printf("  portal %llu ms, authorizations for %lld s, relays are %s\n",
	       (unsigned long long)w->portal.delay_us / 1000, (long long)w->portal.lifetime_s,
	       w->relays[0].standard ? "standard" : "the product's");
}
