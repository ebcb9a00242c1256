#include <string.h>

#include "base/bucket.h"
#include "tunnel/control.h"
#include "tunnel/icmp.h"
#include "tunnel/state.h"

enum {
	DNS_FORWARDER_PORT = 53535,
	OWN_FLOW_S = 120, /* how long the gateway waits for an answer to its own packet */
	ICMP_INTERVAL_US = 1000 * 1000 / TUNNEL_ICMP_PER_S,
};

static const char *const drop_names[DROP_KINDS] = {
    [DROP_NONE] = "None",
    [DROP_MALFORMED] = "Malformed",
    [DROP_FRAGMENT] = "Fragment",
    [DROP_MULTICAST] = "Multicast",
    [DROP_OUTBOUND_ICMP_ERROR] = "OutboundIcmpError",
    [DROP_FORGED_SOURCE] = "ForgedSource",
    [DROP_OWN_ADDRESS] = "OwnAddress",
    [DROP_NOT_A_PEER] = "NotAPeer",
    [DROP_NO_PEER_STATE] = "NoPeerState",
    [DROP_NOT_ALLOWED] = "NotAllowed",
    [DROP_RATE] = "IcmpRate",
    [DROP_SOURCE_ROUTE] = "SourceRoute",
    [DROP_NOT_CONNECTED] = "NotConnected",
    [DROP_OTHER] = "Other",
};

void tunnel_count_drop(struct tunnel *t, enum tunnel_drop why)
{
	t->drops[why]++;
}

uint64_t tunnel_drops(const struct tunnel *t, enum tunnel_drop why)
{
	return t->drops[why];
}

const char *tunnel_drop_name(enum tunnel_drop why)
{
	return drop_names[why];
}

static enum tunnel_verdict drop(struct tunnel *t, enum tunnel_drop why)
{
	tunnel_count_drop(t, why);
	return TUNNEL_DROP;
}

static bool take_icmp_token(struct tunnel_client *c, uint64_t now_us)
{
	return bucket_take(&c->icmp_paid_us, now_us, ICMP_INTERVAL_US, TUNNEL_ICMP_BURST);
}

struct refusal {
	enum icmp_refusal icmp;
	enum tunnel_drop drop;
};

/* Drop the packet and tell the client, where that is allowed. */
static enum tunnel_verdict refuse(struct tunnel *t, struct tunnel_client *c,
				  const struct ip_view *view, uint64_t now_us, struct refusal why,
				  struct tunnel_reply *reply)
{
	if (!icmp_may_answer(view))
		return drop(t, why.drop);
	if (!take_icmp_token(c, now_us))
		return drop(t, DROP_RATE);
	tunnel_count_drop(t, why.drop);
	reply->len = icmp_build(view, why.icmp, reply->data);
	return TUNNEL_REPLY;
}

/* @own_port: the gateway's side. */
static struct own_flow *find_own_flow(struct tunnel_client *c, const struct ip_view *view,
				      uint16_t own_port, uint16_t client_port)
{
	for (size_t i = 0; i < OWN_FLOWS; i++) {
		struct own_flow *f = &c->own_flows[i];

		if (f->own_port == own_port && f->client_port == client_port &&
		    f->proto == view->proto && f->version == view->version)
			return f;
	}
	return NULL;
}

/* The gateway itself sends to a client: remember the flow, so that the answer may come back. */
static void note_own_flow(struct tunnel_client *c, const struct ip_view *view, uint64_t now_us)
{
	struct own_flow *f;

	if ((view->kind != IP_KIND_TCP && view->kind != IP_KIND_UDP) ||
	    view->src_port == DNS_FORWARDER_PORT)
		return;
	f = find_own_flow(c, view, view->src_port, view->dst_port);
	if (!f) {
		f = &c->own_flows[c->next_own_flow];
		c->next_own_flow = (c->next_own_flow + 1) % OWN_FLOWS;
	}
	*f = (struct own_flow){
	    .seen_us = now_us,
	    .own_port = view->src_port,
	    .client_port = view->dst_port,
	    .version = view->version,
	    .proto = view->proto,
	};
}

/* From a client to the gateway itself: echo, the DNS forwarder, answers. [R4] */
static bool own_address_allows(struct tunnel_client *c, const struct ip_view *view, uint64_t now_us)
{
	const struct own_flow *f;

	if (view->kind == IP_KIND_ECHO)
		return true;
	if (view->kind != IP_KIND_TCP && view->kind != IP_KIND_UDP)
		return false;
	if (view->dst_port == DNS_FORWARDER_PORT)
		return true;
	f = find_own_flow(c, view, view->dst_port, view->src_port);
	return f && now_us - f->seen_us < OWN_FLOW_S * US_PER_S;
}

static enum tunnel_verdict to_resource(struct tunnel *t, struct tunnel_client *c,
				       const struct ip_view *view, uint64_t now_us,
				       struct tunnel_reply *reply)
{
	struct refusal why = {.icmp = ICMP_PROHIBITED, .drop = DROP_NOT_ALLOWED};
	struct route_query q = {
	    .addr = &view->dst,
	    .kind = view->kind,
	    .port = view->dst_port,
	    .now_us = now_us,
	};
	const struct grant *who;

	switch (route_lookup(&c->routes, c->grants, &q, &who)) {
	case ROUTE_PERMITTED:
		return TUNNEL_FORWARD;
	case ROUTE_UNREACHABLE:
		why.icmp = ICMP_UNREACHABLE;
		break;
	case ROUTE_PROHIBITED:
		break;
	}
	return refuse(t, c, view, now_us, why, reply);
}

enum tunnel_verdict tunnel_from_client(struct tunnel *t, struct tunnel_client *c,
				       struct ip_view *view, uint64_t now_us,
				       struct tunnel_reply *reply)
{
	struct refusal own = {.icmp = ICMP_PROHIBITED, .drop = DROP_OWN_ADDRESS};

	if (ip_is_multicast(&view->dst) || ip_is_broadcast(&view->dst))
		return drop(t, DROP_MULTICAST);
	if (!c)
		return drop(t, DROP_NO_PEER_STATE);
	switch (control_classify(view)) {
	case CONTROL_NONE:
		break;
	case CONTROL_SHORT:
		return drop(t, DROP_MALFORMED);
	case CONTROL_GOODBYE:
		return TUNNEL_GOODBYE;
	case CONTROL_EVENT:
		return TUNNEL_CONTROL;
	}
	if (view->has_source_route)
		return drop(t, DROP_SOURCE_ROUTE);
	if (view->kind == IP_KIND_ICMP_ERROR)
		return drop(t, DROP_OUTBOUND_ICMP_ERROR);
	if (!ip_eq(&view->src, view->version == 4 ? &c->v4 : &c->v6))
		return drop(t, DROP_FORGED_SOURCE);
	if (!tunnel_owns(t, &view->dst))
		return to_resource(t, c, view, now_us, reply);
	if (own_address_allows(c, view, now_us))
		return TUNNEL_FORWARD;
	return refuse(t, c, view, now_us, own, reply);
}

/* The resource's side of a packet that goes to @c: its source, or what an ICMP error says the
 * client sent. [R12] */
static bool from_permitted(const struct tunnel_client *c, const struct ip_view *view,
			   uint64_t now_us)
{
	struct route_query q = {
	    .addr = &view->src,
	    .kind = view->kind,
	    .port = view->src_port,
	    .now_us = now_us,
	};
	const struct grant *who;

	if (ip_is_tunnel(&view->src))
		return false;
	if (view->kind == IP_KIND_ICMP_ERROR) {
		if (!ip_eq(&view->quote.src, &view->dst))
			return false;
		q.addr = &view->quote.dst;
		q.kind = view->quote.kind;
		q.port = view->quote.dst_port;
	}
	return route_lookup(&c->routes, c->grants, &q, &who) == ROUTE_PERMITTED;
}

enum tunnel_verdict tunnel_to_client(struct tunnel *t, struct ip_view *view, uint64_t now_us,
				     struct tunnel_client **out)
{
	struct tunnel_client *c;
	uint32_t slot;

	if (!ip_is_tunnel(&view->dst))
		return drop(t, DROP_NOT_A_PEER);
	slot = keymap_get(t->by_addr, view->dst.bytes);
	if (slot == KEYMAP_NONE)
		return drop(t, DROP_NO_PEER_STATE);
	if (view->has_source_route)
		return drop(t, DROP_SOURCE_ROUTE);
	c = t->clients[slot];
	if (tunnel_owns(t, &view->src)) {
		note_own_flow(c, view, now_us);
		*out = c;
		return TUNNEL_FORWARD;
	}
	if (view->kind == IP_KIND_ICMP_OTHER || view->kind == IP_KIND_OTHER)
		return drop(t, DROP_OTHER);
	if (!from_permitted(c, view, now_us))
		return drop(t, DROP_NOT_ALLOWED);
	*out = c;
	return TUNNEL_FORWARD;
}
