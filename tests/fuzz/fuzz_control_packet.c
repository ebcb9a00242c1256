/*
 * Any packet from a client and from the TUN: only the client's own source is forwarded, a control
 * packet never is, an answer is a well-formed ICMP error from the destination to the client, and
 * nothing unauthorized passes.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "packet/checksum.h"
#include "tests/unit/packet/build.h"
#include "tunnel/tunnel.h"

enum {
	WALL_S = 1700000000
};

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void authorize(struct tunnel *t, const struct resource *resource, struct tunnel_client **out)
{
	struct tunnel_grant grant = {
	    .client = {.bytes = {1}},
	    .client_v4 = build_ip("100.64.0.10"),
	    .client_v6 = build_ip("fd00:2021:1111::a"),
	    .resource = resource,
	    .expires_at = TUNNEL_NEVER_EXPIRES,
	};

	check(tunnel_authorize(t, &grant, 0, out) == 0);
}

static struct tunnel *build_tunnel(struct rng_seeded *seed, struct tunnel_client **c)
{
	struct tunnel_config cfg = {.max_clients = 2, .rng = rng_from_seed(seed, 1)};
	struct filter filters[] = {{FILTER_TCP, 1, 1023}, {FILTER_ICMP, 0, 0}};
	struct resource four = {.id = {.bytes = {2}}, .kind = RESOURCE_CIDR, .n_filters = 2};
	struct resource six = {.id = {.bytes = {3}}, .kind = RESOURCE_CIDR};
	struct ip_addr own_v4 = build_ip("100.64.0.1");
	struct ip_addr own_v6 = build_ip("fd00:2021:1111::1");
	struct tunnel *t = tunnel_new(&cfg);

	check(t != NULL);
	four.filters = filters;
	check(ip_prefix_parse(&four.prefix, "10.20.0.0/16", 12));
	check(ip_prefix_parse(&six.prefix, "2001:db8::/32", 13));
	tunnel_set_clock(t, 0, WALL_S * US_PER_S);
	tunnel_set_addresses(t, &own_v4, &own_v6);
	authorize(t, &four, c);
	authorize(t, &six, c);
	return t;
}

static bool may_pass(const struct ip_addr *ip, enum ip_kind kind, uint16_t port)
{
	if (ip->family == IP_V6)
		return ip->bytes[0] == 0x20 && ip->bytes[1] == 0x01 && ip->bytes[2] == 0x0d &&
		       ip->bytes[3] == 0xb8;
	return ip->bytes[0] == 10 && ip->bytes[1] == 20 && kind != IP_KIND_OTHER &&
	       kind != IP_KIND_UDP && (kind != IP_KIND_TCP || (port >= 1 && port <= 1023));
}

static bool is_own(const struct ip_addr *ip)
{
	struct ip_addr own = build_ip(ip->family == IP_V4 ? "100.64.0.1" : "fd00:2021:1111::1");

	return ip_eq(ip, &own);
}

static void check_reply(struct tunnel_reply *reply, const struct ip_view *offending)
{
	struct ip_view view;

	check(ip_parse_packet(&view, reply->data, reply->len, IP_INNER_MTU) == IP_OK);
	check(view.is_icmp_error_type && checksum_l4_ok(&view));
	check(ip_eq(&view.src, &offending->dst) && ip_eq(&view.dst, &offending->src));
	check(!offending->is_icmp_error_type);
}

static void from_client(struct tunnel *t, struct tunnel_client *c, struct ip_view *view)
{
	struct tunnel_reply reply;
	struct ip_addr own = build_ip(view->version == 4 ? "100.64.0.10" : "fd00:2021:1111::a");
	bool unspecified = ip_is_unspecified(&view->src) && ip_is_unspecified(&view->dst);

	switch (tunnel_from_client(t, c, view, 0, &reply)) {
	case TUNNEL_FORWARD:
		check(ip_eq(&view->src, &own) && !unspecified);
		check(is_own(&view->dst) || may_pass(&view->dst, view->kind, view->dst_port));
		check(view->kind != IP_KIND_ICMP_ERROR && !view->has_source_route);
		break;
	case TUNNEL_REPLY:
		check(ip_eq(&view->src, &own));
		check_reply(&reply, view);
		break;
	case TUNNEL_GOODBYE:
	case TUNNEL_CONTROL:
		check(view->version == 6 && view->proto == 255 && unspecified);
		check(view->len - view->l4_offset >= 8);
		break;
	case TUNNEL_DROP:
		break;
	}
}

static void from_tun(struct tunnel *t, const struct tunnel_client *c, struct ip_view *view)
{
	struct tunnel_client *to = NULL;
	struct ip_addr own = build_ip(view->version == 4 ? "100.64.0.10" : "fd00:2021:1111::a");

	if (tunnel_to_client(t, view, 0, &to) != TUNNEL_FORWARD)
		return;
	check(to == c && ip_eq(&view->dst, &own));
	if (is_own(&view->src))
		return;
	if (view->kind == IP_KIND_ICMP_ERROR)
		check(ip_eq(&view->quote.src, &own) &&
		      may_pass(&view->quote.dst, view->quote.kind, view->quote.dst_port));
	else
		check(may_pass(&view->src, view->kind, view->src_port));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct rng_seeded seed;
	struct tunnel_client *c = NULL;
	struct tunnel *t;
	struct ip_view view;
	uint8_t packet[IP_INNER_MTU];

	if (len > sizeof(packet))
		return 0;
	if (len > 0)
		memcpy(packet, data, len);
	if (ip_parse_packet(&view, packet, len, IP_INNER_MTU) != IP_OK)
		return 0;
	t = build_tunnel(&seed, &c);
	from_client(t, c, &view);
	from_tun(t, c, &view);
	tunnel_free(t);
	return 0;
}
