#include "gateway/demux.h"
#include "gateway/internal.h"

#include "packet/bytes.h"
#include "turn/channel_data.h"

/* One datagram after the relay's framing is off: whose it is and on which of our addresses it
 * arrived. */
struct arrival {
	uint8_t *data;
	size_t len;
	struct endpoint src, dst;
	struct relay *via; /* the relay whose channel it came by, or NULL */
	uint8_t ecn;
};

static void reply_to_client(struct gateway *g, struct conn *c, const uint8_t *packet, size_t len,
			    uint8_t ecn);

static void from_client(struct gateway *g, struct conn *c, uint8_t *inner, size_t inner_len,
			uint8_t outer_ecn, struct coalescer *tun)
{
	struct ip_view view;
	size_t len = ip_trim(inner, inner_len);
	enum ip_verdict parsed;

	if (!c->tunnel || len == 0) {
		tunnel_count_drop(g->tunnel, len == 0 ? DROP_MALFORMED : DROP_NO_PEER_STATE);
		return;
	}
	parsed = ip_parse_packet(&view, inner, len, IP_INNER_MTU);
	if (parsed != IP_OK) {
		tunnel_count_drop(g->tunnel,
				  parsed == IP_FRAGMENT ? DROP_FRAGMENT : DROP_MALFORMED);
		return;
	}
	c->active_us = g->now_us;
	switch (tunnel_from_client(g->tunnel, c->tunnel, &view, g->now_us, &g->reply)) {
	case TUNNEL_FORWARD:
		ip_merge_ecn(&view, outer_ecn);
		if (coalescer_add(tun, &view))
			g->to_tun_packets++;
		else
			tunnel_count_drop(g->tunnel, DROP_OTHER);
		break;
	case TUNNEL_REPLY:
		reply_to_client(g, c, g->reply.data, g->reply.len, 0);
		break;
	case TUNNEL_GOODBYE:
		c->left = true;
		break;
	case TUNNEL_DROP:
	case TUNNEL_CONTROL:
		break;
	}
}

/* A cookie goes the way its handshake came. */
static void send_cookies(struct gateway *g, const struct arrival *in)
{
	struct txq_key key = {.src = in->dst};
	const uint8_t *cookie;
	size_t len;

	while (wg_poll(g->wg, &key.dst, &cookie, &len)) {
		if (in->via)
			(void)relays_send(g, in->via, &key.dst, cookie, len);
		else
			txq_send(g->cfg.txq, &key, cookie, len);
	}
}

static void wireguard_in(struct gateway *g, struct arrival *in, struct coalescer *tun)
{
	struct wg_peer *peer = NULL;
	struct conn *c;
	uint8_t *inner;
	size_t inner_len;

	if (wg_classify(in->data, in->len) == WG_DATA) {
		switch (wg_open(g->wg, in->data, in->len, g->now_us, &peer, &inner, &inner_len)) {
		case WG_OPEN_REFUSED:
			return;
		case WG_OPEN_PACKET:
			c = wg_peer_owner(peer);
			from_client(g, c, inner, inner_len, in->ecn, tun);
			conn_touch(c);
			return;
		case WG_OPEN_KEEPALIVE:
			conn_touch(wg_peer_owner(peer));
			return;
		}
	}
	peer = wg_handshake(g->wg, in->data, in->len, &in->src, g->now_us);
	if (peer)
		conn_touch(wg_peer_owner(peer));
	else
		send_cookies(g, in);
}

static void ice_in(struct gateway *g, const struct arrival *in, const struct stun_msg *msg)
{
	struct ice_input input = {.kind = ICE_INPUT_STUN};
	struct conn *c = NULL;
	struct wg_peer *peer;

	if (msg->method != STUN_BINDING)
		return;
	if (msg->class == STUN_REQUEST) {
		c = conn_by_username(g, msg, in->data, in->len);
		if (c)
			wg_source_known(g->wg, &in->src, g->now_us);
	} else if (msg->class == STUN_SUCCESS) {
		/* The agent's tag stands in the first three bytes of its transaction ids. */
		peer = wg_peer_by_index(g->wg, (uint32_t)msg->txid.bytes[0] << 16 |
						   (uint32_t)msg->txid.bytes[1] << 8 |
						   msg->txid.bytes[2]);
		c = peer ? wg_peer_owner(peer) : NULL;
	}
	if (!c) {
		gateway_dropped(g, GATEWAY_DROP_UNKNOWN_CHECK);
		return;
	}
	input.u.stun.msg = msg;
	input.u.stun.buf = in->data;
	input.u.stun.len = in->len;
	input.u.stun.src = in->src;
	input.u.stun.dst = in->dst;
	input.u.stun.owned = msg->class == STUN_REQUEST;
	conn_feed(c, &input);
}

/* Never inlined: the message would be cleared for every packet, WireGuard's too. */
static __attribute__((noinline)) void stun_in(struct gateway *g, const struct arrival *in)
{
	struct stun_msg msg;

	if (stun_msg_read(&msg, in->data, in->len))
		ice_in(g, in, &msg);
}

static void stun_from_relay(struct gateway *g, struct relay *relay, const struct arrival *in)
{
	struct turn_input input = {.kind = TURN_INPUT_DATAGRAM};

	input.u.datagram.buf = in->data;
	input.u.datagram.len = in->len;
	input.u.datagram.src = in->src;
	input.u.datagram.dst = in->dst;
	relays_feed(g, relay, &input);
}

/* Take the relay's framing off. False: not for a peer, or nothing we know. */
static bool unwrap(struct gateway *g, struct relay *relay, struct arrival *in)
{
	uint16_t channel;

	if (!channel_data_read(&channel, in->data, in->len) ||
	    !turn_channel_in(relay->turn, channel, g->now_us, &in->src) ||
	    !turn_relayed(relay->turn, in->src.ip.family, &in->dst)) {
		gateway_dropped(g, GATEWAY_DROP_CHANNEL);
		return false;
	}
	in->via = relay;
	in->data += TURN_CHANNEL_HEADER;
	in->len -= TURN_CHANNEL_HEADER;
	return in->len > 0;
}

/* @relay: whose the source address is, or NULL. */
static void datagram_in(struct gateway *g, struct relay *relay, enum demux_source source,
			struct arrival *in, struct coalescer *tun)
{
	switch (demux(in->data, in->len, source)) {
	case DEMUX_WIREGUARD:
		wireguard_in(g, in, tun);
		break;
	case DEMUX_PEER_STUN:
		stun_in(g, in);
		break;
	case DEMUX_RELAY_STUN:
		if (relay)
			stun_from_relay(g, relay, in);
		break;
	case DEMUX_CHANNEL_DATA:
		/* Once: what is inside is a peer's, whatever it looks like. */
		if (relay && unwrap(g, relay, in))
			datagram_in(g, NULL, DEMUX_FROM_PEER, in, tun);
		break;
	case DEMUX_DROP:
		gateway_dropped(g, source == DEMUX_FROM_REMOVED_RELAY ? GATEWAY_DROP_REMOVED_RELAY
								      : GATEWAY_DROP_UNRECOGNIZED);
		break;
	}
}

static enum demux_source source_of(struct gateway *g, const struct endpoint *src,
				   const struct relay *relay)
{
	if (relay)
		return DEMUX_FROM_RELAY;
	if (src->port == TURN_PORT && relays_was_one(g, &src->ip))
		return DEMUX_FROM_REMOVED_RELAY;
	return DEMUX_FROM_PEER;
}

static void datagrams_in(struct gateway *g, const struct gateway_datagrams *batch,
			 struct coalescer *tun)
{
	struct reader r = reader_of(batch->data, batch->len);
	size_t segment = batch->segment > 0 ? batch->segment : batch->len;

	if (batch->dst.ip.family == IP_NONE) {
		gateway_dropped(g, GATEWAY_DROP_NO_PKTINFO);
		return;
	}
	if (segment > GATEWAY_MAX_UDP_PAYLOAD) {
		gateway_dropped(g, GATEWAY_DROP_OVERSIZE);
		return;
	}
	g->ports[batch->dst.ip.family == IP_V6] = batch->dst.port;
	while (r.left > 0) {
		size_t offset = batch->len - r.left;
		struct arrival in = {
		    .data = batch->data + offset,
		    .len = min_size(segment, r.left),
		    .src = batch->src,
		    .dst = batch->dst,
		    .ecn = batch->ecn,
		};

		struct relay *relay =
		    batch->src.port == TURN_PORT ? relays_by_address(g, &batch->src) : NULL;

		rd_skip(&r, in.len);
		g->udp_datagrams++;
		datagram_in(g, relay, source_of(g, &batch->src, relay), &in, tun);
	}
}

void gateway_udp_in(struct gateway *g, const struct gateway_datagrams *in, size_t n,
		    struct coalescer *tun, uint64_t now_us)
{
	g->now_us = now_us;
	for (size_t i = 0; i < n; i++)
		datagrams_in(g, &in[i], tun);
}

/* Where a connection's sealed packets go: the open send buffer, and how many bytes of relay framing
 * come first. */
struct way_out {
	struct txq_key key;
	uint16_t channel;
	size_t framing;
};

static bool way_out(struct gateway *g, struct conn *c, uint8_t ecn, struct way_out *out)
{
	out->key.ecn = ecn;
	out->key.dst = c->path.remote;
	out->framing = 0;
	out->key.generation = 0;
	if (!c->path.via_relay) {
		out->key.src = c->path.local;
		return true;
	}
	if (!c->relay)
		return false;
	out->framing = TURN_CHANNEL_HEADER;
	if (turn_channel_out(c->relay->turn, &c->path.remote, g->now_us, &out->channel,
			     &out->key.dst)) {
		egress_source(g, c->relay, &out->key);
		return true;
	}
	relays_bind(g, c->relay, &c->path.remote, c->owner);
	return false;
}

/* Room for one sealed packet with its framing in the send buffer; the inner packet goes to the
 * returned place. */
static uint8_t *packet_room(struct gateway *g, const struct way_out *way, size_t inner_len,
			    struct txq_batch **batch, uint8_t **msg)
{
	size_t total = way->framing + WG_OVERHEAD + inner_len;
	uint8_t header[TURN_CHANNEL_HEADER];
	struct writer w;

	*batch = txq_open(g->cfg.txq, &way->key);
	w = writer_of(txq_append(g->cfg.txq, *batch, total), total);
	if (way->framing > 0) {
		channel_data_write_header(header, way->channel,
					  (uint16_t)(WG_OVERHEAD + inner_len));
		wr_bytes(&w, header, sizeof(header));
	}
	*msg = wr_room(&w, WG_DATA_HEADER);
	return wr_room(&w, inner_len);
}

static bool seal_room(struct gateway *g, struct conn *c, const struct way_out *way,
		      size_t inner_len, struct txq_batch *batch, uint8_t *msg)
{
	if (wg_seal(c->wg, msg, inner_len, g->now_us) > 0)
		return true;
	txq_undo(batch, way->framing + WG_OVERHEAD + inner_len);
	return false;
}

/* The same with a packet that lies elsewhere. */
static bool seal_copy(struct gateway *g, struct conn *c, const struct way_out *way,
		      const uint8_t *packet, size_t len)
{
	struct txq_batch *batch;
	uint8_t *msg;

	memcpy(packet_room(g, way, len, &batch, &msg), packet, len);
	return seal_room(g, c, way, len, batch, msg);
}

static bool may_send(struct gateway *g, struct conn *c)
{
	if (c->has_path && wg_can_seal(c->wg, g->now_us))
		return true;
	conn_touch(c);
	return false;
}

static void reply_to_client(struct gateway *g, struct conn *c, const uint8_t *packet, size_t len,
			    uint8_t ecn)
{
	struct way_out way;

	if (may_send(g, c) && way_out(g, c, ecn, &way))
		(void)seal_copy(g, c, &way, packet, len);
}

/* A packet that waited goes out, if some authorization still covers it at this moment. */
static void release_one(struct gateway *g, struct conn *c, uint8_t *packet, size_t len)
{
	struct tunnel_client *client;
	struct way_out way;
	struct ip_view view;
	bool found;

	if (ip_parse_packet(&view, packet, len, IP_INNER_MTU) != IP_OK ||
	    tunnel_to_client(g->tunnel, &view, g->now_us, &client) != TUNNEL_FORWARD ||
	    tunnel_client_owner(client) != c)
		return;
	found = way_out(g, c, ip_ecn(&view), &way);
	if (!found) /* that asked for the channel */
		found = way_out(g, c, ip_ecn(&view), &way);
	if (!found) {
		tunnel_count_drop(g->tunnel, DROP_NOT_CONNECTED);
		return;
	}
	if (seal_copy(g, c, &way, packet, len))
		g->from_tun_packets++;
}

void packets_release(struct conn *c)
{
	struct gateway *g = c->g;
	uint8_t *packet;
	size_t len;

	while (c->has_path && (packet = held_first(&c->held, &len)) &&
	       wg_can_seal(c->wg, g->now_us)) {
		release_one(g, c, packet, len);
		held_drop_first(&c->held, &g->held_budget);
	}
}

/* There is a path, and the handshake is due or under way. */
static void hold(struct gateway *g, struct conn *c, struct gso_split *split)
{
	size_t segment;

	while ((segment = gso_split_next_len(split)) > 0) {
		uint8_t *room = held_add(&c->held, &g->held_budget, segment);

		if (!room) {
			tunnel_count_drop(g->tunnel, DROP_NOT_CONNECTED);
			return;
		}
		gso_split_next(split, room);
	}
}

/* Towards a client that has a connection: sealed at once, held, or dropped. */
static void to_client(struct gateway *g, struct conn *c, struct gso_split *split)
{
	struct way_out way;
	size_t segment;

	c->active_us = g->now_us;
	conn_touch(c);
	if (c->held.n > 0)
		packets_release(c);
	if (c->has_path && (c->held.n > 0 || !wg_can_seal(c->wg, g->now_us))) {
		hold(g, c, split);
		return;
	}
	if (!c->has_path || !way_out(g, c, ip_ecn(&split->view), &way)) {
		tunnel_count_drop(g->tunnel, DROP_NOT_CONNECTED);
		return;
	}
	while ((segment = gso_split_next_len(split)) > 0) {
		struct txq_batch *batch;
		uint8_t *msg;

		gso_split_next(split, packet_room(g, &way, segment, &batch, &msg));
		if (!seal_room(g, c, &way, segment, batch, msg))
			break;
		g->from_tun_packets++;
	}
}

void gateway_tun_in(struct gateway *g, const struct vnet_hdr *hdr, uint8_t *data, size_t len,
		    uint64_t now_us)
{
	struct gso_split split;
	struct tunnel_client *client;
	struct conn *c;
	enum ip_verdict verdict = IP_MALFORMED;

	g->now_us = now_us;
	if (!gso_split_begin(&split, hdr, data, len, &verdict)) {
		tunnel_count_drop(g->tunnel,
				  verdict == IP_FRAGMENT ? DROP_FRAGMENT : DROP_MALFORMED);
		return;
	}
	if (tunnel_to_client(g->tunnel, &split.view, now_us, &client) != TUNNEL_FORWARD)
		return;
	c = tunnel_client_owner(client);
	if (c)
		to_client(g, c, &split);
	else
		tunnel_count_drop(g->tunnel, DROP_NOT_CONNECTED);
}
