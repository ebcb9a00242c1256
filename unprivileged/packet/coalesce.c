#include <stdlib.h>
#include <string.h>

#include "packet/checksum.h"
#include "packet/field.h"
#include "packet/gso.h"
#include "packet/header.h"

enum {
	OPEN_GROUPS = 16,
	MAX_UDP_SEGMENTS = 64, /* the kernel's UDP_MAX_SEGMENTS */
	MAX_TCP_SEGMENTS = GSO_MAX_SEGMENTS,
	MAX_GROUP_LEN = 65535,
	NO_SLOT = OPEN_GROUPS,
};

#define NO_PACKET UINT32_MAX

/* One packet on its way out. */
struct piece {
	uint8_t *data;
	uint32_t len;
	uint32_t next; /* of the same group, or NO_PACKET */
};

struct group {
	uint32_t first, last; /* pieces */
	uint32_t count;
	uint32_t len;      /* of the joined packet */
	uint32_t next_seq; /* TCP */
	uint16_t header_len, l4_offset, payload_len;
	uint8_t version, proto;
	bool verified; /* transport checksum is right */
	bool push;     /* a later packet had PSH */
};

/* A group that may still grow. At most one per flow, the newest. */
struct slot {
	struct ip_addr src, dst;
	uint32_t group;
	uint8_t proto;
};

struct coalescer {
	struct piece *pieces;
	struct group *groups;
	struct iovec *iov;
	size_t max_packets;
	uint32_t n_pieces, n_groups;
	uint32_t taken;              /* groups handed out by coalescer_next() */
	uint32_t ports[OPEN_GROUPS]; /* both ports of each slot, looked at first */
	struct slot slots[OPEN_GROUPS];
	bool used[OPEN_GROUPS];
	uint32_t recent, victim; /* slots */
	bool draining, tcp, udp;
	uint8_t vnet[VNET_HDR_LEN];
};

struct coalescer *coalescer_new(size_t max_packets, bool tcp, bool udp)
{
	struct coalescer *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->pieces = calloc(max_packets, sizeof(*c->pieces));
	c->groups = calloc(max_packets, sizeof(*c->groups));
	c->iov = calloc(MAX_TCP_SEGMENTS + 1, sizeof(*c->iov));
	if (!c->pieces || !c->groups || !c->iov) {
		coalescer_free(c);
		return NULL;
	}
	c->max_packets = max_packets;
	c->tcp = tcp;
	c->udp = udp;
	return c;
}

void coalescer_free(struct coalescer *c)
{
	if (!c)
		return;
	free(c->iov);
	free(c->groups);
	free(c->pieces);
	free(c);
}

void coalescer_disable(struct coalescer *c)
{
	c->tcp = false;
	c->udp = false;
}

static bool same_flow(const struct slot *slot, const struct ip_view *view)
{
	return slot->proto == view->proto && ip_eq(&slot->src, &view->src) &&
	       ip_eq(&slot->dst, &view->dst);
}

static uint32_t ports_of(const struct ip_view *view)
{
	return (uint32_t)view->src_port << 16 | view->dst_port;
}

static uint32_t find_slot(const struct coalescer *c, const struct ip_view *view)
{
	uint32_t ports = ports_of(view);
	uint32_t i = c->recent;

	if (c->used[i] && c->ports[i] == ports && same_flow(&c->slots[i], view))
		return i;
	for (i = 0; i < OPEN_GROUPS; i++)
		if (c->used[i] && c->ports[i] == ports && same_flow(&c->slots[i], view))
			return i;
	return NO_SLOT;
}

/*
 * Header length of a packet that may head or join a group, else 0. A wrong header checksum would
 * become right by joining, so such a packet goes alone.
 */
static size_t joinable_header(const struct coalescer *c, const struct ip_view *view)
{
	const uint8_t *l4 = view->data + view->l4_offset;
	size_t header_len = view->l4_offset;

	if (view->l4_offset != (view->version == 4 ? V4_MIN_LEN : V6_LEN))
		return 0;
	if (view->version == 4 &&
	    checksum_fold(checksum_add(0, view->data, V4_MIN_LEN)) != UINT16_MAX)
		return 0;
	if (c->tcp && view->kind == IP_KIND_TCP) {
		if ((view->tcp_flags & ~TCP_PSH) != TCP_ACK)
			return 0;
		header_len += (size_t)(l4[TCP_DATA_OFFSET] >> 4) * 4;
	} else if (c->udp && view->kind == IP_KIND_UDP) {
		if (field_u16(l4, UDP_CHECKSUM) == 0)
			return 0;
		header_len += UDP_LEN;
	} else {
		return 0;
	}
	return view->len > header_len ? header_len : 0;
}

/* Fields of the IP header that one super-packet has once for all its segments; the @k-th packet of
 * a group. */
static bool same_ip_header(const uint8_t *head, const uint8_t *h, uint8_t version, uint32_t k)
{
	if (version == 6)
		return memcmp(head, h, V6_PAYLOAD_LEN) == 0 &&
		       head[V6_HOP_LIMIT] == h[V6_HOP_LIMIT];
	return head[V4_TOS] == h[V4_TOS] && head[V4_TTL] == h[V4_TTL] &&
	       field_u16(head, V4_FRAGMENT) == field_u16(h, V4_FRAGMENT) &&
	       ((field_u16(h, V4_FRAGMENT) & V4_DONT_FRAGMENT) ||
		field_u16(h, V4_ID) == (uint16_t)(field_u16(head, V4_ID) + k));
}

static bool same_tcp_header(const struct group *g, const uint8_t *head, const uint8_t *l4)
{
	size_t options = (size_t)g->header_len - g->l4_offset - TCP_MIN_LEN;

	return field_u32(l4, TCP_SEQ) == g->next_seq &&
	       field_u32(l4, TCP_ACK_NUMBER) == field_u32(head, TCP_ACK_NUMBER) &&
	       l4[TCP_DATA_OFFSET] == head[TCP_DATA_OFFSET] &&
	       field_u16(l4, TCP_WINDOW) == field_u16(head, TCP_WINDOW) &&
	       field_u16(l4, TCP_URGENT) == field_u16(head, TCP_URGENT) &&
	       memcmp(l4 + TCP_MIN_LEN, head + TCP_MIN_LEN, options) == 0;
}

/* @view is joinable and its checksum is right. */
static bool can_join(const struct coalescer *c, const struct group *g, const struct ip_view *view,
		     size_t header_len)
{
	const uint8_t *head = c->pieces[g->first].data;
	size_t payload = view->len - header_len;
	uint32_t max = g->proto == IP_PROTO_TCP ? MAX_TCP_SEGMENTS : MAX_UDP_SEGMENTS;

	if (header_len != g->header_len || payload > g->payload_len || g->count >= max ||
	    g->len + payload > MAX_GROUP_LEN)
		return false;
	if (!same_ip_header(head, view->data, view->version, g->count))
		return false;
	return g->proto != IP_PROTO_TCP ||
	       same_tcp_header(g, head + g->l4_offset, view->data + g->l4_offset);
}

static uint32_t add_piece(struct coalescer *c, const struct ip_view *view)
{
	c->pieces[c->n_pieces] = (struct piece){
	    .data = view->data,
	    .len = (uint32_t)view->len,
	    .next = NO_PACKET,
	};
	return c->n_pieces++;
}

static void join(struct coalescer *c, uint32_t slot, const struct ip_view *view)
{
	struct group *g = &c->groups[c->slots[slot].group];
	uint32_t piece = add_piece(c, view);
	uint32_t payload = (uint32_t)view->len - g->header_len;

	c->pieces[g->last].next = piece;
	g->last = piece;
	g->count++;
	g->len += payload;
	g->next_seq += payload;
	g->push = g->proto == IP_PROTO_TCP && (view->tcp_flags & TCP_PSH);
	/* A shorter segment or a pushed one is the last of its super-packet. */
	if (payload < g->payload_len || g->push)
		c->used[slot] = false;
}

/* A group for @view; @header_len is 0 if it goes alone. */
static uint32_t open_group(struct coalescer *c, const struct ip_view *view, size_t header_len)
{
	struct group *g = &c->groups[c->n_groups];

	g->first = add_piece(c, view);
	g->last = g->first;
	g->count = 1;
	g->len = (uint32_t)view->len;
	g->header_len = (uint16_t)header_len;
	g->l4_offset = (uint16_t)view->l4_offset;
	g->payload_len = (uint16_t)(view->len - header_len);
	g->version = view->version;
	g->proto = view->proto;
	g->verified = header_len > 0;
	g->push = false;
	g->next_seq = 0;
	if (header_len > 0 && view->kind == IP_KIND_TCP)
		g->next_seq = field_u32(view->data, view->l4_offset + TCP_SEQ) + g->payload_len;
	return c->n_groups++;
}

/* A slot for a flow that has none: a free one, or the one opened the longest ago. */
static uint32_t claim_slot(struct coalescer *c)
{
	uint32_t slot = c->victim;

	for (uint32_t i = 0; i < OPEN_GROUPS; i++) {
		if (!c->used[i])
			return i;
	}
	c->victim = (slot + 1) % OPEN_GROUPS;
	return slot;
}

static void hold_open(struct coalescer *c, uint32_t slot, uint32_t group,
		      const struct ip_view *view)
{
	c->ports[slot] = ports_of(view);
	c->slots[slot] = (struct slot){
	    .src = view->src,
	    .dst = view->dst,
	    .group = group,
	    .proto = view->proto,
	};
	c->used[slot] = true;
	c->recent = slot;
}

bool coalescer_add(struct coalescer *c, const struct ip_view *view)
{
	size_t header_len = 0;
	uint32_t slot;
	uint32_t group;

	if (c->draining || c->n_pieces >= c->max_packets)
		return false;
	slot = find_slot(c, view);
	header_len = joinable_header(c, view);
	if (header_len > 0 && !checksum_l4_ok(view))
		header_len = 0;
	if (slot != NO_SLOT && header_len > 0 &&
	    can_join(c, &c->groups[c->slots[slot].group], view, header_len)) {
		c->recent = slot;
		join(c, slot, view);
		return true;
	}
	/* Whatever the flow had open is closed now: nothing behind this packet may overtake it. */
	if (slot != NO_SLOT)
		c->used[slot] = false;
	group = open_group(c, view, header_len);
	if (header_len > 0 && !(view->tcp_flags & TCP_PSH))
		hold_open(c, slot != NO_SLOT ? slot : claim_slot(c), group, view);
	return true;
}

static void reset(struct coalescer *c)
{
	c->n_pieces = 0;
	c->n_groups = 0;
	c->taken = 0;
	c->draining = false;
	memset(c->used, 0, sizeof(c->used));
}

/* Turn the head of a group into the header of the super-packet; the checksum field gets the plain
 * pseudo-header sum. */
static void patch_head(const struct group *g, uint8_t *head)
{
	uint8_t *l4 = head + g->l4_offset;
	uint32_t l4_len = g->len - g->l4_offset;
	struct ip_view addresses = {.proto = g->proto};
	uint16_t before;

	if (g->version == 4) {
		before = field_u16(head, V4_TOTAL_LEN);
		field_set_u16(head, V4_TOTAL_LEN, (uint16_t)g->len);
		field_set_u16(
		    head, V4_CHECKSUM,
		    checksum_update(field_u16(head, V4_CHECKSUM), before, (uint16_t)g->len));
		addresses.src = ip_v4(head + V4_SRC);
		addresses.dst = ip_v4(head + V4_DST);
	} else {
		field_set_u16(head, V6_PAYLOAD_LEN, (uint16_t)(g->len - V6_LEN));
		addresses.src = ip_v6(head + V6_SRC);
		addresses.dst = ip_v6(head + V6_DST);
	}
	if (g->proto == IP_PROTO_UDP) {
		field_set_u16(l4, UDP_LENGTH, (uint16_t)l4_len);
		field_set_u16(l4, UDP_CHECKSUM, checksum_fold(checksum_pseudo(&addresses, l4_len)));
		return;
	}
	if (g->push)
		l4[TCP_FLAGS] |= TCP_PSH;
	field_set_u16(l4, TCP_CHECKSUM, checksum_fold(checksum_pseudo(&addresses, l4_len)));
}

static struct vnet_hdr vnet_of(const struct group *g)
{
	bool tcp = g->proto == IP_PROTO_TCP;

	if (g->count == 1)
		return (struct vnet_hdr){.flags = g->verified ? VNET_F_DATA_VALID : 0};
	return (struct vnet_hdr){
	    .flags = VNET_F_NEEDS_CSUM,
	    .gso_type = !tcp              ? VNET_GSO_UDP_L4
			: g->version == 4 ? VNET_GSO_TCPV4
					  : VNET_GSO_TCPV6,
	    .hdr_len = g->header_len,
	    .gso_size = g->payload_len,
	    .csum_start = g->l4_offset,
	    .csum_offset = tcp ? TCP_CHECKSUM : UDP_CHECKSUM,
	};
}

bool coalescer_next(struct coalescer *c, struct tun_write *out)
{
	const struct group *g;
	struct vnet_hdr hdr;
	int n = 0;

	if (c->taken >= c->n_groups) {
		reset(c);
		return false;
	}
	c->draining = true;
	g = &c->groups[c->taken++];
	if (g->count > 1)
		patch_head(g, c->pieces[g->first].data);
	hdr = vnet_of(g);
	vnet_hdr_write(&hdr, c->vnet);
	c->iov[n++] = (struct iovec){.iov_base = c->vnet, .iov_len = VNET_HDR_LEN};
	for (uint32_t i = g->first; i != NO_PACKET; i = c->pieces[i].next) {
		size_t skip = i == g->first ? 0 : g->header_len;

		c->iov[n++] = (struct iovec){
		    .iov_base = c->pieces[i].data + skip,
		    .iov_len = c->pieces[i].len - skip,
		};
	}
	*out = (struct tun_write){.iov = c->iov, .iov_count = n, .packets = g->count};
	return true;
}

size_t tun_write_gather(const struct tun_write *w, struct vnet_hdr *hdr, uint8_t *buf, size_t cap)
{
	size_t len = 0;

	if (w->iov_count < 2 || !vnet_hdr_read(hdr, w->iov[0].iov_base))
		return 0;
	for (int i = 1; i < w->iov_count; i++) {
		if (w->iov[i].iov_len > cap - len)
			return 0;
		memcpy(buf + len, w->iov[i].iov_base, w->iov[i].iov_len);
		len += w->iov[i].iov_len;
	}
	return len;
}
