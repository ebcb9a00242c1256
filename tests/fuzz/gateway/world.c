#include "tests/fuzz/gateway/world.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "ice/candidate.h"
#include "stun/stun.h"
#include "tunnel/tunnel.h"
#include "turn/turn.h"

static const char *const ips[IPS] = {
    "203.0.113.7", /* relays 0 and 2 */
    "203.0.113.8", /* relay 1 */
    "2001:db8::7", /* relay 0 */
    "198.51.100.4", "198.51.100.5", "198.51.100.6", "2001:db8::4",     "192.0.2.10",
    "2001:db8::10", "127.0.0.1",    "224.0.0.1",    "255.255.255.255",
};

const char *const world_prefixes[RESOURCES] = {"10.20.0.0/16", "10.99.0.0/16",
					       NULL}; /* the last: all */
const char world_ours_pwd[] = "k5m2q7w4e6r3t5y7u2i4o6",
	   world_theirs_pwd[] = "b7n4v2c6x3z5l7k2j4h6g3";
const uint8_t world_psk[32] = {7};

struct ip_addr world_ip(const char *text)
{
	struct ip_addr ip;

	BUG_ON(!ip_parse(&ip, text, strlen(text)));
	return ip;
}

struct endpoint world_at(unsigned int ip, uint16_t port)
{
	return (struct endpoint){.ip = world_ip(ips[ip % IPS]), .port = port};
}

/* An address of the pool that a packet may come from, with one of four ports. */
struct endpoint world_any_endpoint(struct reader *r, bool sendable)
{
	static const uint16_t ports[] = {TURN_PORT, PORT, 40000, 0};
	uint8_t v = rd_u8(r);

	return world_at(sendable ? (v >> 2) % HOST_V4 : v >> 2, ports[v & 3]);
}

int world_ip_index(const struct ip_addr *ip)
{
	for (int i = 0; i < IPS; i++) {
		struct ip_addr known = world_ip(ips[i]);

		if (ip_eq(&known, ip))
			return i;
	}
	return -1;
}

struct uuid world_id(uint8_t kind, unsigned int n)
{
	struct uuid id = {.bytes = {kind, (uint8_t)n}};

	return id;
}

struct ip_addr world_tunnel_ip(uint8_t family, unsigned int n)
{
	struct ip_addr ip = world_ip(family == IP_V4 ? "100.64.0.10" : "fd00:2021:1111::a");

	ip.bytes[family == IP_V4 ? 3 : 15] = (uint8_t)(10 + n);
	return ip;
}

/* --- what the gateway says --- */

static bool covers(const struct world *w, unsigned int client, const struct ip_addr *dst)
{
	for (unsigned int k = 0; k < RESOURCES; k++) {
		const struct grant *g = &w->grants[client][k];
		struct ip_prefix prefix;

		if (!g->possible ||
		    (g->expires_at != TUNNEL_NEVER_EXPIRES &&
		     (g->expires_at <= 0 || (uint64_t)g->expires_at * US_PER_S <= w->wall_us)))
			continue;
		if (!world_prefixes[k])
			return true;
		BUG_ON(!ip_prefix_parse(&prefix, world_prefixes[k], strlen(world_prefixes[k])));
		if (ip_prefix_has(&prefix, dst))
			return true;
	}
	return false;
}

/* What a client gets out of the tunnel: from a resource that it may reach, or from the gateway
 * itself: an answer to a packet of its own, or the goodbye. */
static void check_client_packet(const struct world *w, unsigned int client, uint8_t *data,
				size_t len)
{
	struct ip_view view;

	if (ip_parse_packet(&view, data, len, IP_INNER_MTU) != IP_OK)
		BUG_ON(len != TUNNEL_GOODBYE_LEN);
	else
		BUG_ON(!view.is_icmp_error_type && !ip_is_unspecified(&view.src) &&
		       !ip_is_tunnel(&view.src) && !covers(w, client, &view.src));
}

static void clients_hear(struct world *w, const uint8_t *data, size_t len)
{
	struct endpoint gateway = world_at(HOST_V4, PORT);

	for (unsigned int i = 0; i < CLIENTS; i++) {
		uint8_t copy[WG_SCRATCH + BUFFER] = {0};
		struct wg_peer *peer;
		uint8_t *inner;
		size_t inner_len;

		memcpy(copy + WG_SCRATCH, data, len);
		if (wg_classify(data, len) != WG_DATA)
			(void)wg_handshake(w->clients[i].wg, copy + WG_SCRATCH, len, &gateway,
					   w->now_us);
		else if (wg_open(w->clients[i].wg, copy + WG_SCRATCH, len, w->now_us, &peer, &inner,
				 &inner_len) == WG_OPEN_PACKET)
			check_client_packet(w, i, inner, inner_len);
	}
}

static void remember(struct message *ring, unsigned int *n, const struct txq_key *key,
		     const uint8_t *data, size_t len)
{
	struct message *m = &ring[(*n)++ % REMEMBERED];

	BUG_ON(len > MESSAGE);
	memcpy(m->bytes, data, len);
	m->len = len;
	m->dst = key->dst;
	m->src = key->src;
}

static void check_relay_message(struct world *w, const struct txq_key *key, const uint8_t *data,
				size_t len)
{
	struct stun_msg msg;

	if (data[0] >= 0x40) {
		BUG_ON(len < TURN_CHANNEL_HEADER ||
		       len - TURN_CHANNEL_HEADER != (size_t)(data[2] << 8 | data[3]));
		clients_hear(w, data + TURN_CHANNEL_HEADER, len - TURN_CHANNEL_HEADER);
		if (stun_msg_read(&msg, data + TURN_CHANNEL_HEADER, len - TURN_CHANNEL_HEADER) &&
		    msg.class == STUN_REQUEST)
			remember(w->checks, &w->n_checks, key, data + TURN_CHANNEL_HEADER,
				 len - TURN_CHANNEL_HEADER);
		return;
	}
	BUG_ON(!stun_msg_read(&msg, data, len) || msg.class != STUN_REQUEST);
	if (msg.method == STUN_CHANNEL_BIND) {
		int peer = world_ip_index(&msg.peer.ip);

		BUG_ON(peer < 0 || !w->allowed[peer]);
	}
	remember(w->to_relay, &w->n_to_relay, key, data, len);
}

/* The factory's choice of this moment, or none where it has none. */
static void check_chosen_source(const struct world *w, const struct txq_key *key)
{
	const struct ip_addr *source = &w->source[key->dst.ip.family == IP_V6];

	if (key->src.ip.family == IP_NONE) {
		BUG_ON(key->generation != 0);
		return;
	}
	BUG_ON(key->generation != factory_generation(w->factory));
	BUG_ON(key->src.ip.family != key->dst.ip.family || !ip_eq(source, &key->src.ip));
}

static void check_sent(struct world *w, const struct txq_key *key, const uint8_t *data, size_t len)
{
	int to = world_ip_index(&key->dst.ip);
	struct stun_msg msg;

	w->outputs++;
	BUG_ON(to < 0 || to > HOST_V6 || (to >= HOST_V4 && !w->moved) || key->dst.port == 0 ||
	       len == 0 || len > GATEWAY_MAX_UDP_PAYLOAD);
	if (key->src.ip.family == IP_NONE || key->generation != 0) {
		check_chosen_source(w, key);
		BUG_ON(to > 2 || key->dst.port != TURN_PORT);
		check_relay_message(w, key, data, len);
		return;
	}
	if (wg_classify(data, len) == WG_COOKIE_REPLY && to == w->cookie_to)
		return;
	BUG_ON(!w->allowed[to]);
	BUG_ON(key->src.port != w->host[key->src.ip.family == IP_V6].port ||
	       key->src.ip.family != key->dst.ip.family);
	if (wg_classify(data, len) != WG_NOT_WIREGUARD) {
		clients_hear(w, data, len);
		return;
	}
	BUG_ON(!stun_msg_read(&msg, data, len) || !msg.has_integrity);
	if (msg.class == STUN_REQUEST)
		remember(w->checks, &w->n_checks, key, data, len);
}

static void flush(void *ctx, const struct txq_batch *batch)
{
	struct world *w = ctx;

	BUG_ON(batch->count == 0 || batch->count > TXQ_MAX_SEGMENTS || batch->len > TXQ_MAX_BYTES);
	for (size_t i = 0; i < batch->len; i += batch->segment)
		check_sent(w, &batch->key, batch->data + i,
			   min_size(batch->segment, batch->len - i));
}

static void check_tun_packet(const struct world *w, const uint8_t *data, size_t len)
{
	uint8_t copy[BUFFER];
	struct ip_view view;
	bool ok = false;

	BUG_ON(len > sizeof(copy));
	memcpy(copy, data, len);
	BUG_ON(ip_parse_packet(&view, copy, len, IP_INNER_MTU) != IP_OK);
	BUG_ON(ip_is_multicast(&view.dst) || ip_is_loopback(&view.dst) ||
	       ip_is_link_local(&view.dst));
	for (unsigned int i = 0; i < CLIENTS; i++) {
		for (unsigned int a = 0; a <= CLIENTS; a++) {
			struct ip_addr addr = world_tunnel_ip(view.version == 4 ? IP_V4 : IP_V6, a);

			if (!w->has_addr[i][a] || !ip_eq(&addr, &view.src))
				continue;
			/* To the gateway itself any client that holds a grant may speak. */
			ok = ok || covers(w, i, &view.dst) || ip_is_tunnel(&view.dst);
		}
	}
	BUG_ON(!ok);
}

static void take_packets(struct world *w)
{
	struct tun_write t;

	while (coalescer_next(w->tun, &t)) {
		uint8_t packet[BUFFER];
		size_t len = 0;

		BUG_ON(t.packets != 1);
		for (int i = 1; i < t.iov_count; i++) {
			BUG_ON(len + t.iov[i].iov_len > sizeof(packet));
			memcpy(packet + len, t.iov[i].iov_base, t.iov[i].iov_len);
			len += t.iov[i].iov_len;
		}
		check_tun_packet(w, packet, len);
	}
}

static void check_portal(const struct world *w, const struct portal_send *send)
{
	struct candidate c;

	BUG_ON(!w->joined);
	switch (send->kind) {
	case PORTAL_SEND_FLOW_AUTHORIZED:
		BUG_ON(!send->flow_ref || strcmp(send->flow_ref, "ref") != 0);
		break;
	case PORTAL_SEND_NO_RELAYS:
		break;
	case PORTAL_SEND_CANDIDATES:
	case PORTAL_SEND_INVALIDATED:
		BUG_ON(send->n_candidates == 0);
		for (size_t i = 0; i < send->n_candidates; i++)
			BUG_ON(!candidate_parse(&c, send->candidates[i],
						strlen(send->candidates[i]), "ab3d"));
		break;
	case PORTAL_SEND_JOIN:
	case PORTAL_SEND_HEARTBEAT:
		BUG_ON(true);
	}
}

void world_drain(struct world *w)
{
	struct gateway_output out;
	struct gateway_snapshot s;
	unsigned int n = 0;

	while (gateway_poll(w->g, &out)) {
		BUG_ON(++n > 1024);
		if (out.kind == GATEWAY_OUT_PORTAL)
			check_portal(w, &out.u.portal);
		else
			BUG_ON(!ip_is_tunnel(&out.u.tun.v4) || !ip_is_tunnel(&out.u.tun.v6));
	}
	txq_flush(w->txq);
	w->cookie_to = -1;
	BUG_ON(w->outputs > 4096);
	w->outputs = 0;
	gateway_snapshot(w->g, &s);
	BUG_ON(s.connections > PLACES || s.clients > PLACES || s.relays > PORTAL_MAX_RELAYS);
	BUG_ON(s.grants > PLACES * RESOURCES || s.connected > s.connections);
	BUG_ON(s.idle > s.connected || s.direct + s.relayed != s.connected);
	BUG_ON(s.held > s.connections * GATEWAY_HELD_PACKETS);
}

void world_handle(struct world *w, const struct gateway_input *in)
{
	gateway_handle(w->g, in, w->now_us);
	world_drain(w);
}

void world_pass_time(struct world *w, uint64_t us)
{
	struct gateway_input in = {.kind = GATEWAY_IN_TIMEOUT};
	unsigned int same = 0;

	w->now_us += us;
	w->wall_us += us;
	world_handle(w, &in);
	while (gateway_deadline(w->g) <= w->now_us) {
		BUG_ON(++same > SAME_TIME);
		world_handle(w, &in);
	}
}

void world_sleep(struct world *w, uint64_t us)
{
	w->now_us += us;
	w->wall_us += us;
}

/* --- datagrams --- */

/* @by: the relay's address whose channel brings it, or NULL. */
void world_deliver(struct world *w, const struct endpoint *src, const uint8_t *data, size_t len,
		   uint8_t ecn)
{
	struct gateway_datagrams in = {
	    .data = w->room + TXQ_HEADROOM,
	    .len = len,
	    .segment = len,
	    .src = *src,
	    .ecn = ecn & 3,
	};

	if (len > BUFFER)
		return;
	memcpy(in.data, data, len);
	in.dst = w->host[src->ip.family == IP_V6];
	gateway_udp_in(w->g, &in, 1, w->tun, w->now_us);
	take_packets(w);
	w->now_us++;
	w->wall_us++;
	gateway_packets_done(w->g, w->now_us);
	world_drain(w);
}

size_t world_length(struct reader *r, size_t max)
{
	size_t len = max > UINT8_MAX ? rd_u16(r) : rd_u8(r);

	return r->bad ? 0 : min_size(len, min_size(r->left, max));
}

struct way world_way(struct reader *r)
{
	struct way way = {.how = rd_u8(r)};

	way.src = world_any_endpoint(r, true);
	return way;
}

void world_from_client(struct world *w, const struct way *way, const uint8_t *data, size_t len)
{
	uint8_t framed[TURN_CHANNEL_HEADER + BUFFER] = {0x40, (way->how >> 1) & 7,
							(uint8_t)(len >> 8), (uint8_t)len};
	struct endpoint relay = world_at((way->how >> 4) % 3, TURN_PORT);

	if (len > BUFFER - TURN_CHANNEL_HEADER)
		return;
	if (!(way->how & 1)) {
		if (wg_classify(data, len) != WG_NOT_WIREGUARD)
			w->cookie_to = world_ip_index(&way->src.ip);
		world_deliver(w, &way->src, data, len, way->how >> 6);
		return;
	}
	memcpy(framed + TURN_CHANNEL_HEADER, data, len);
	world_deliver(w, &relay, framed, len + TURN_CHANNEL_HEADER, way->how >> 6);
}

void world_raw(struct world *w, struct reader *r)
{
	struct endpoint src = world_any_endpoint(r, true);
	struct gateway_datagrams in = {.data = w->room + TXQ_HEADROOM, .src = src};
	uint8_t head = rd_u8(r);

	in.segment = rd_u8(r);
	in.len = world_length(r, BUFFER);
	rd_copy(r, in.data, in.len);
	if (in.len >= 4 && (head & 0x80)) {
		in.data[0] = head & 7;
		memset(in.data + 1, 0, 3);
	}
	if (in.len == 0)
		return;
	in.dst = w->host[src.ip.family == IP_V6];
	w->cookie_to = world_ip_index(&src.ip);
	gateway_udp_in(w->g, &in, 1, w->tun, w->now_us);
	take_packets(w);
	gateway_packets_done(w->g, w->now_us);
	world_drain(w);
}

/* --- the network --- */

static bool is_own_address(void *ctx, const struct ip_addr *ip)
{
	(void)ctx;
	return world_ip_index(ip) == OWN_OTHER;
}

static void lookup(void *ctx, const struct ip_addr *dst, uint32_t scope, struct factory_lookup *out)
{
	const struct world *w = ctx;
	const struct ip_addr *source = &w->source[dst->family == IP_V6];

	(void)scope;
	out->type = 1;
	out->error = source->family == IP_NONE ? ENETUNREACH : 0;
	out->prefsrc = *source;
	out->ifindex = source->bytes[3];
}

/* One of our two addresses of the family, or none. */
void world_network(struct world *w, struct reader *r)
{
	uint8_t what = rd_u8(r);
	unsigned int f = what & 1;

	w->moved = true;
	if ((what & 6) == 0) {
		w->source[f] = (struct ip_addr){.family = IP_NONE};
	} else {
		w->source[f] = world_at(f == 0 ? HOST_V4 : HOST_V6, PORT).ip;
		w->source[f].bytes[f == 0 ? 3 : 15] ^= what & 2 ? 0x40 : 0;
		w->host[f].ip = w->source[f];
	}
	factory_flush(w->factory, FACTORY_CAUSE_ROUTE);
}

/* Everything that leaves is counted once. */
void world_egress(struct world *w)
{
	struct gateway_egress e;

	gateway_egress(w->g, &e, w->now_us);
	BUG_ON(e.live != e.kept + e.moved + e.lost || e.rerouted > e.kept);
	BUG_ON(e.live > 2 * PORTAL_MAX_RELAYS + PLACES);
	world_drain(w);
}

/* Nobody loses a connection to it. */
void world_roam(struct world *w)
{
	struct gateway_input in = {.kind = GATEWAY_IN_ROAM};
	struct gateway_snapshot before, after;
	struct gateway_egress e;

	world_pass_time(w, 0);
	gateway_snapshot(w->g, &before);
	world_handle(w, &in);
	gateway_snapshot(w->g, &after);
	BUG_ON(before.connections != after.connections || before.grants != after.grants ||
	       before.relays != after.relays);
	/* What it has carried out is not found again. */
	gateway_egress(w->g, &e, w->now_us);
	world_handle(w, &in);
	gateway_egress(w->g, &e, w->now_us);
	BUG_ON(e.moved > 0 || (e.lost > 0 && e.kept > 0));
}

void world_local_dead(struct world *w, struct reader *r)
{
	struct gateway_input in = {.kind = GATEWAY_IN_LOCAL_DEAD};
	uint8_t what = rd_u8(r);

	w->moved = true;
	in.u.local_dead = w->host[what & 1].ip;
	if (what & 2)
		in.u.local_dead.bytes[what & 1 ? 15 : 3] ^= 0x40;
	world_handle(w, &in);
}

void world_socket(struct world *w, struct reader *r)
{
	struct gateway_input in = {.kind = GATEWAY_IN_SOCKET};
	uint8_t what = rd_u8(r);
	unsigned int f = what & 1;

	w->moved = true;
	in.u.socket.family = f == 0 ? IP_V4 : IP_V6;
	in.u.socket.was_port = w->host[f].port;
	w->host[f].port = (uint16_t)(PORT + (what >> 1 & 3));
	in.u.socket.port = w->host[f].port;
	world_handle(w, &in);
}

void world_set_up(struct world *w)
{
	struct gateway_config cfg = {.max_clients = PLACES};
	struct wg_config client = {.max_peers = 1};
	struct factory_config factory = {.lookup = lookup, .ctx = w, .tun_name = "tun-firezone"};

	BUG_ON(sodium_init() < 0);
	for (unsigned int f = 0; f < 2; f++) {
		w->host[f] = world_at(f == 0 ? HOST_V4 : HOST_V6, PORT);
		w->source[f] = w->host[f].ip;
	}
	factory.rng = rng_from_seed(&w->factory_seed, 9);
	w->factory = factory_new(&factory);
	BUG_ON(!w->factory);
	w->now_us = 5 * US_PER_S;
	w->wall_us = UINT64_C(1790000000) * US_PER_S;
	w->cookie_to = -1;
	w->arena = secret_arena_new(SLOTS);
	w->client_arena = secret_arena_new(3 * CLIENTS);
	w->txq = txq_new(flush, w);
	w->tun = coalescer_new(COALESCE, false, false);
	BUG_ON(!w->arena || !w->client_arena || !w->txq || !w->tun);
	cfg.unix_us = client.unix_us = w->wall_us;
	cfg.rng = rng_from_seed(&w->seed, 1);
	cfg.arena = w->arena;
	cfg.txq = w->txq;
	cfg.factory = w->factory;
	cfg.is_own_address = is_own_address;
	w->g = gateway_new(&cfg, w->now_us);
	BUG_ON(!w->g);
	client.arena = w->client_arena;
	for (unsigned int i = 0; i < CLIENTS; i++) {
		struct client *c = &w->clients[i];

		client.rng = rng_from_seed(&c->seed, 2 + i);
		c->wg = wg_new(&client, w->now_us);
		BUG_ON(!c->wg || wg_peer_add(c->wg, gateway_public_key(w->g), world_psk, NULL,
					     w->now_us, &c->peer) < 0);
		wg_peer_set_path(c->peer, true, w->now_us);
	}
}

void world_tear_down(struct world *w)
{
	gateway_free(w->g);
	factory_free(w->factory);
	for (unsigned int i = 0; i < CLIENTS; i++)
		wg_free(w->clients[i].wg);
	BUG_ON(secret_slots_free(w->arena) != SLOTS ||
	       secret_slots_free(w->client_arena) != 3 * CLIENTS);
	coalescer_free(w->tun);
	txq_free(w->txq);
	secret_arena_free(w->client_arena);
	secret_arena_free(w->arena);
}
