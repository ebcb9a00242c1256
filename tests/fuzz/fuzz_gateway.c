/*
 * The whole core under an arbitrary sequence of events: the portal's messages, relays and clients with the right secrets and
 * strangers without, packets from the TUN, a clock that jumps. The input is the script: a byte that names the event, then its
 * parameters.
 *
 * Properties: no packet reaches the TUN but one that some grant may cover at this moment; nothing is sent but to relays, to
 * addresses that a client signalled or that spoke with its password, and a cookie to the sender of a handshake; what the portal
 * is told is well-formed and only while it is there; deadlines move on; tables keep their limits; nothing is left behind.
 */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "gateway/gateway.h"
#include "ice/candidate.h"
#include "packet/bytes.h"
#include "packet/checksum.h"
#include "stun/stun.h"
#include "tunnel/tunnel.h"
#include "turn/turn.h"
#include "wireguard/wg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum {
	CLIENTS = 4,
	PLACES = 3,		/* for clients in the gateway: one too few */
	RESOURCES = 3,
	RELAYS = 3,
	SLOTS = 64,		/* of the arena */
	EVENTS = 400,
	REMEMBERED = 16,
	MESSAGE = 640,
	BUFFER = 2048,
	COALESCE = 64,
	IPS = 12,
	HOST_V4 = 7,		/* index of our own address */
	HOST_V6 = 8,
	PORT = 52625,
	RELAYED_PORT = 50000,
	OWN_ADDRESSES = 3,
	SAME_TIME = 64,		/* time-outs until the deadline must have moved on */
};

static const char *const ips[IPS] = {
	"203.0.113.7",	/* relays 0 and 2 */
	"203.0.113.8",	/* relay 1 */
	"2001:db8::7",	/* relay 0 */
	"198.51.100.4", "198.51.100.5", "198.51.100.6", "2001:db8::4",
	"192.0.2.10", "2001:db8::10",
	"127.0.0.1", "224.0.0.1", "255.255.255.255",
};

static const char *const prefixes[RESOURCES] = { "10.20.0.0/16", "10.99.0.0/16", NULL };	/* the last: all */
static const char *const inner_ips[] = { "10.20.0.5", "10.99.0.5", "8.8.8.8", "100.64.0.1", "100.64.0.10",
	                                 "100.64.0.11", "127.0.0.1", "224.0.0.1", "169.254.169.254", "100.96.0.1" };
static const char ours_pwd[] = "k5m2q7w4e6r3t5y7u2i4o6", theirs_pwd[] = "b7n4v2c6x3z5l7k2j4h6g3";
static const uint8_t psk[32] = { 7 };

struct message {
	uint8_t bytes[MESSAGE];
	size_t len;
	struct endpoint dst;
	struct endpoint src;
};

struct client {
	struct wg *wg;
	struct wg_peer *peer;
	struct rng_seeded seed;
};

struct grant {
	bool possible;
	int64_t expires_at;
};

struct world {
	struct gateway *g;
	struct txq *txq;
	struct coalescer *tun;
	struct secret_arena *arena, *client_arena;
	struct rng_seeded seed;
	struct client clients[CLIENTS];
	uint64_t now_us, wall_us;
	bool joined, shut_down, had_init;
	/* What may happen, at most: each only ever errs on the generous side. */
	struct grant grants[CLIENTS][RESOURCES];
	bool has_addr[CLIENTS][CLIENTS + 1];	/* may have had this tunnel address */
	bool allowed[IPS];			/* may be sent to */
	int cookie_to;				/* index of the address whose handshake is in, or -1 */
	/* the gateway's latest requests to relays and checks to clients */
	struct message to_relay[REMEMBERED], checks[REMEMBERED];
	unsigned int n_to_relay, n_checks;
	unsigned int outputs;
	uint8_t room[TXQ_HEADROOM + BUFFER];
};

static struct ip_addr ip_of(const char *text)
{
	struct ip_addr ip;

	BUG_ON(!ip_parse(&ip, text, strlen(text)));
	return ip;
}

static struct endpoint at(unsigned int ip, uint16_t port)
{
	return (struct endpoint){ .ip = ip_of(ips[ip % IPS]), .port = port };
}

/* An address of the pool that a packet may come from, with one of four ports. */
static struct endpoint any_endpoint(struct reader *r, bool sendable)
{
	static const uint16_t ports[] = { TURN_PORT, PORT, 40000, 0 };
	uint8_t v = rd_u8(r);

	return at(sendable ? (v >> 2) % HOST_V4 : v >> 2, ports[v & 3]);
}

static int ip_index(const struct ip_addr *ip)
{
	for (int i = 0; i < IPS; i++) {
		struct ip_addr known = ip_of(ips[i]);

		if (ip_eq(&known, ip))
			return i;
	}
	return -1;
}

static struct uuid id_of(uint8_t kind, unsigned int n)
{
	struct uuid id = { .bytes = { kind, (uint8_t)n } };

	return id;
}

static struct ip_addr tunnel_ip(uint8_t family, unsigned int n)
{
	struct ip_addr ip = ip_of(family == IP_V4 ? "100.64.0.10" : "fd00:2021:1111::a");

	ip.bytes[family == IP_V4 ? 3 : 15] = (uint8_t)(10 + n);
	return ip;
}

/* --- what the gateway says --- */

static void clients_hear(struct world *w, const uint8_t *data, size_t len)
{
	struct endpoint gateway = at(HOST_V4, PORT);

	for (unsigned int i = 0; i < CLIENTS; i++) {
		uint8_t copy[WG_SCRATCH + BUFFER] = { 0 };
		struct wg_peer *peer;
		uint8_t *inner;
		size_t inner_len;

		memcpy(copy + WG_SCRATCH, data, len);
		if (wg_classify(data, len) == WG_DATA)
			(void)wg_open(w->clients[i].wg, copy + WG_SCRATCH, len, w->now_us, &peer, &inner, &inner_len);
		else
			(void)wg_handshake(w->clients[i].wg, copy + WG_SCRATCH, len, &gateway, w->now_us);
	}
}

static void remember(struct message *ring, unsigned int *n, const struct txq_key *key, const uint8_t *data, size_t len)
{
	struct message *m = &ring[(*n)++ % REMEMBERED];

	BUG_ON(len > MESSAGE);
	memcpy(m->bytes, data, len);
	m->len = len;
	m->dst = key->dst;
	m->src = key->src;
}

static void check_relay_message(struct world *w, const struct txq_key *key, const uint8_t *data, size_t len)
{
	struct stun_msg msg;

	BUG_ON(key->src.ip.family != IP_NONE);	/* the kernel's choice */
	if (data[0] >= 0x40) {
		BUG_ON(len < TURN_CHANNEL_HEADER || len - TURN_CHANNEL_HEADER != (size_t)(data[2] << 8 | data[3]));
		clients_hear(w, data + TURN_CHANNEL_HEADER, len - TURN_CHANNEL_HEADER);
		if (stun_msg_read(&msg, data + TURN_CHANNEL_HEADER, len - TURN_CHANNEL_HEADER) && msg.class == STUN_REQUEST)
			remember(w->checks, &w->n_checks, key, data + TURN_CHANNEL_HEADER, len - TURN_CHANNEL_HEADER);
		return;
	}
	BUG_ON(!stun_msg_read(&msg, data, len) || msg.class != STUN_REQUEST);
	if (msg.method == STUN_CHANNEL_BIND) {
		int peer = ip_index(&msg.peer.ip);

		BUG_ON(peer < 0 || !w->allowed[peer]);
	}
	remember(w->to_relay, &w->n_to_relay, key, data, len);
}

static void check_sent(struct world *w, const struct txq_key *key, const uint8_t *data, size_t len)
{
	int to = ip_index(&key->dst.ip);
	struct stun_msg msg;

	w->outputs++;
	BUG_ON(to < 0 || to >= HOST_V4 || key->dst.port == 0 || len == 0 || len > GATEWAY_MAX_UDP_PAYLOAD);
	if (to <= 2 && key->dst.port == TURN_PORT && key->src.ip.family == IP_NONE) {
		check_relay_message(w, key, data, len);
		return;
	}
	if (wg_classify(data, len) == WG_COOKIE_REPLY && to == w->cookie_to)
		return;
	BUG_ON(!w->allowed[to]);
	BUG_ON(key->src.port != PORT || key->src.ip.family != key->dst.ip.family);
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
		check_sent(w, &batch->key, batch->data + i, min_size(batch->segment, batch->len - i));
}

static bool covers(const struct world *w, unsigned int client, const struct ip_addr *dst)
{
	for (unsigned int k = 0; k < RESOURCES; k++) {
		const struct grant *g = &w->grants[client][k];
		struct ip_prefix prefix;

		if (!g->possible || (g->expires_at != TUNNEL_NEVER_EXPIRES &&
		                     (g->expires_at <= 0 || (uint64_t)g->expires_at * US_PER_S <= w->wall_us)))
			continue;
		if (!prefixes[k])
			return true;
		BUG_ON(!ip_prefix_parse(&prefix, prefixes[k], strlen(prefixes[k])));
		if (ip_prefix_has(&prefix, dst))
			return true;
	}
	return false;
}

static void check_tun_packet(const struct world *w, const uint8_t *data, size_t len)
{
	uint8_t copy[BUFFER];
	struct ip_view view;
	bool ok = false;

	BUG_ON(len > sizeof(copy));
	memcpy(copy, data, len);
	BUG_ON(ip_parse_packet(&view, copy, len, IP_INNER_MTU) != IP_OK);
	BUG_ON(ip_is_multicast(&view.dst) || ip_is_loopback(&view.dst) || ip_is_link_local(&view.dst));
	for (unsigned int i = 0; i < CLIENTS; i++) {
		for (unsigned int a = 0; a <= CLIENTS; a++) {
			struct ip_addr addr = tunnel_ip(view.version == 4 ? IP_V4 : IP_V6, a);

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
			BUG_ON(!candidate_parse(&c, send->candidates[i], strlen(send->candidates[i]), "ab3d"));
		break;
	case PORTAL_SEND_JOIN:
	case PORTAL_SEND_HEARTBEAT:
		BUG_ON(true);
	}
}

static void drain(struct world *w)
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
}

static void handle(struct world *w, const struct gateway_input *in)
{
	gateway_handle(w->g, in, w->now_us);
	drain(w);
}

static void pass_time(struct world *w, uint64_t us)
{
	struct gateway_input in = { .kind = GATEWAY_IN_TIMEOUT };
	unsigned int same = 0;

	w->now_us += us;
	w->wall_us += us;
	handle(w, &in);
	while (gateway_deadline(w->g) <= w->now_us) {
		BUG_ON(++same > SAME_TIME);
		handle(w, &in);
	}
}

static void tell_wall(struct world *w)
{
	struct gateway_input in = { .kind = GATEWAY_IN_CLOCK, .u.wall_us = w->wall_us };

	handle(w, &in);
}

/* --- datagrams --- */

/* @by: the relay's address whose channel brings it, or NULL. */
static void deliver(struct world *w, const struct endpoint *src, const uint8_t *data, size_t len, uint8_t ecn)
{
	struct gateway_datagrams in = {
		.data = w->room + TXQ_HEADROOM, .len = len, .segment = len, .src = *src, .ecn = ecn & 3,
	};

	if (len > BUFFER)
		return;
	memcpy(in.data, data, len);
	in.dst = at(src->ip.family == IP_V4 ? HOST_V4 : HOST_V6, PORT);
	gateway_udp_in(w->g, &in, 1, w->tun, w->now_us);
	take_packets(w);
	w->now_us++;
	w->wall_us++;
	gateway_packets_done(w->g, w->now_us);
	drain(w);
}

/* From a client: directly, or through a channel of a relay. */
static void from_client(struct world *w, struct reader *r, const uint8_t *data, size_t len)
{
	uint8_t how = rd_u8(r);
	struct endpoint src = any_endpoint(r, true);
	uint8_t framed[TURN_CHANNEL_HEADER + BUFFER];

	if (len > BUFFER - TURN_CHANNEL_HEADER)
		return;
	if (!(how & 1)) {
		if (wg_classify(data, len) != WG_NOT_WIREGUARD)
			w->cookie_to = ip_index(&src.ip);
		deliver(w, &src, data, len, how >> 6);
		return;
	}
	framed[0] = 0x40;
	framed[1] = (how >> 1) & 7;
	framed[2] = (uint8_t)(len >> 8);
	framed[3] = (uint8_t)len;
	memcpy(framed + TURN_CHANNEL_HEADER, data, len);
	src = at((how >> 4) % 3, TURN_PORT);
	deliver(w, &src, framed, len + TURN_CHANNEL_HEADER, how >> 6);
}

static void raw_datagrams(struct world *w, struct reader *r)
{
	struct endpoint src = any_endpoint(r, true);
	struct gateway_datagrams in = { .data = w->room + TXQ_HEADROOM, .src = src };
	uint8_t head = rd_u8(r);

	in.segment = rd_u8(r);
	in.len = min_size(rd_u16(r), min_size(r->left, BUFFER));
	rd_copy(r, in.data, in.len);
	if (in.len >= 4 && (head & 0x80)) {
		in.data[0] = head & 7;
		memset(in.data + 1, 0, 3);
	}
	if (in.len == 0)
		return;
	in.dst = at(src.ip.family == IP_V4 ? HOST_V4 : HOST_V6, PORT);
	w->cookie_to = ip_index(&src.ip);
	gateway_udp_in(w->g, &in, 1, w->tun, w->now_us);
	take_packets(w);
	gateway_packets_done(w->g, w->now_us);
	drain(w);
}

/* --- relays --- */

static void relay_names(unsigned int relay, unsigned int variant, char user[8], char pwd[8])
{
	memcpy(user, "u:00", 5);
	memcpy(pwd, "p:00", 5);
	user[2] = pwd[2] = (char)('0' + relay);
	user[3] = pwd[3] = (char)('0' + (variant & 3));
}

static void put_answer(struct stun_builder *b, const struct stun_msg *msg, uint8_t how, const struct endpoint *relay)
{
	struct endpoint mapped = at(HOST_V4, PORT), relayed = *relay;

	relayed.port = (uint16_t)(RELAYED_PORT + (how >> 5));
	if (msg->method == STUN_BINDING) {
		mapped.port = how & 0x20 ? 40000 : PORT;
		stun_put_xor_address(b, STUN_ATTR_XOR_MAPPED_ADDRESS, &mapped);
	} else if (msg->method == STUN_ALLOCATE) {
		stun_put_xor_address(b, STUN_ATTR_XOR_RELAYED_ADDRESS, &relayed);
		stun_put_u32(b, STUN_ATTR_LIFETIME, how & 0x10 ? 600 : 20);
	} else if (msg->method == STUN_REFRESH) {
		stun_put_u32(b, STUN_ATTR_LIFETIME, msg->has_lifetime ? msg->lifetime_s : 600);
	}
}

static void relay_event(struct world *w, struct reader *r)
{
	static const uint16_t errors[] = { 400, 401, 403, 420, 437, 438, 486, 508 };
	const struct message *m = &w->to_relay[rd_u8(r) % REMEMBERED];
	uint8_t how = rd_u8(r), buf[MESSAGE], key[16];
	char user[8] = "", pwd[8];
	struct stun_builder b;
	struct stun_msg msg;
	bool sign;

	if (m->len == 0 || !stun_msg_read(&msg, m->bytes, m->len))
		return;
	if (msg.username.data && msg.username.len == 4)
		memcpy(user, msg.username.data, 4);
	memcpy(pwd, user, sizeof(pwd));
	pwd[0] = 'p';
	stun_long_term_key(key, user, turn_realm, pwd);
	sign = msg.method != STUN_BINDING && !(how & 8);
	stun_begin(&b, buf, sizeof(buf), msg.method, how & 7 ? STUN_SUCCESS : STUN_ERROR, &msg.txid);
	if (how & 7) {
		put_answer(&b, &msg, how, &m->dst);
	} else {
		stun_put_error(&b, errors[how >> 5], "no");
		stun_put_bytes(&b, STUN_ATTR_REALM, turn_realm, strlen(turn_realm));
		if (how & 0x10)
			stun_put_bytes(&b, STUN_ATTR_NONCE, "nonce", 5);
	}
	deliver(w, &m->dst, buf, stun_finish(&b, sign ? key : NULL, sizeof(key), false), 0);
}

/* --- clients --- */

static void check_event(struct world *w, struct reader *r)
{
	static const char username[] = "ab3d:zq2x";
	uint8_t flags = rd_u8(r), buf[256];
	struct stun_txid txid = { .bytes = { flags, rd_u8(r) } };
	struct reader peek = *r;
	struct endpoint src;
	struct stun_builder b;
	size_t len;

	stun_begin(&b, buf, sizeof(buf), STUN_BINDING, STUN_REQUEST, &txid);
	stun_put_bytes(&b, STUN_ATTR_USERNAME, username, strlen(username));
	stun_put_u64(&b, flags & 0x10 ? STUN_ATTR_ICE_CONTROLLED : STUN_ATTR_ICE_CONTROLLING, 1);
	stun_put_u32(&b, STUN_ATTR_PRIORITY, 1862270975);
	if (flags & 1)
		stun_put_bytes(&b, STUN_ATTR_USE_CANDIDATE, "", 0);
	len = stun_finish(&b, (const uint8_t *)ours_pwd, strlen(ours_pwd) - (flags & 2 ? 0 : 1), true);
	if (flags & 2) {
		(void)rd_u8(&peek);
		src = any_endpoint(&peek, true);
		w->allowed[ip_index(&src.ip)] = true;
	}
	from_client(w, r, buf, len);
}

static void check_answer_event(struct world *w, struct reader *r)
{
	const struct message *m = &w->checks[rd_u8(r) % REMEMBERED];
	uint8_t how = rd_u8(r), buf[256];
	struct endpoint mapped = at(HOST_V4, PORT);
	struct stun_builder b;
	struct stun_msg msg;
	size_t len;

	if (m->len == 0 || !stun_msg_read(&msg, m->bytes, m->len))
		return;
	stun_begin(&b, buf, sizeof(buf), STUN_BINDING, STUN_SUCCESS, &msg.txid);
	stun_put_xor_address(&b, STUN_ATTR_XOR_MAPPED_ADDRESS, &mapped);
	len = stun_finish(&b, (const uint8_t *)theirs_pwd, strlen(theirs_pwd), true);
	if (how & 1)
		from_client(w, r, buf, len);
	else if (m->src.ip.family != IP_NONE)
		deliver(w, &m->dst, buf, len, 0);
}

static void wireguard_event(struct world *w, struct reader *r)
{
	struct client *c = &w->clients[rd_u8(r) % CLIENTS];
	struct wg_event event;

	(void)wg_can_seal(c->peer, w->now_us);
	wg_peer_timeout(c->peer, w->now_us);
	while (wg_peer_poll(c->peer, &event, w->now_us)) {
		uint8_t copy[WG_INITIATION_LEN];

		if (event.kind != WG_EVENT_SEND)
			continue;
		BUG_ON(event.len > sizeof(copy));
		memcpy(copy, event.data, event.len);
		from_client(w, r, copy, event.len);
		if (r->left == 0)
			break;
	}
}

/* An inner packet: IPv4, or the goodbye. */
static size_t build_packet(struct reader *r, unsigned int src, uint8_t *out)
{
	static const uint8_t protos[] = { 1, 6, 17, 17, 255, 47 };
	enum { HEAD = 20, BODY = 28 };
	uint8_t flags = rd_u8(r);
	struct ip_addr from = tunnel_ip(IP_V4, src);
	struct ip_addr to = ip_of(inner_ips[(flags & 15) % ARRAY_LEN(inner_ips)]);
	struct writer w = writer_of(out, HEAD + BODY);
	uint8_t proto = protos[(flags >> 4) % ARRAY_LEN(protos)];
	uint16_t sum;

	wr_u16(&w, 0x4500);
	wr_u16(&w, HEAD + BODY);
	wr_u32(&w, 0);
	wr_u8(&w, 64);
	wr_u8(&w, proto);
	wr_u16(&w, 0);
	wr_bytes(&w, from.bytes, 4);
	wr_bytes(&w, to.bytes, 4);
	sum = (uint16_t)~checksum_fold(checksum_add(0, out, HEAD));
	if (proto == 1) {
		wr_u8(&w, flags & 0x80 ? 3 : 8);
		wr_zero(&w, BODY - 1);
	} else {
		wr_u16(&w, 40000);
		wr_u16(&w, flags & 0x80 ? 53535 : 53);
		if (proto == 17)
			wr_u16(&w, BODY);
		else
			wr_u16(&w, 0);
		wr_zero(&w, 6);
		wr_u8(&w, 0x50);	/* where TCP has its header length */
		wr_zero(&w, BODY - 13);
	}
	out[10] = (uint8_t)(sum >> 8);
	out[11] = (uint8_t)sum;
	return HEAD + BODY;
}

static void data_event(struct world *w, struct reader *r)
{
	uint8_t who = rd_u8(r);
	struct client *c = &w->clients[who % CLIENTS];
	uint8_t buf[WG_SCRATCH + BUFFER] = { 0 };
	uint8_t *inner = buf + WG_SCRATCH + WG_DATA_HEADER;
	size_t len;

	if (who & 0x80) {
		len = min_size(rd_u8(r), r->left);
		rd_copy(r, inner, len);
	} else if ((who & 0x70) == 0x70) {
		tunnel_goodbye(inner);
		len = TUNNEL_GOODBYE_LEN;
	} else {
		len = build_packet(r, (who & 0x70) == 0x60 ? (who + 1) % CLIENTS : who % CLIENTS, inner);
	}
	len = wg_seal(c->peer, buf + WG_SCRATCH, len, w->now_us);
	if (len > 0)
		from_client(w, r, buf + WG_SCRATCH, len);
}

static void tun_event(struct world *w, struct reader *r)
{
	uint8_t who = rd_u8(r), packet[BUFFER];
	struct vnet_hdr hdr = { .gso_type = VNET_GSO_NONE };
	size_t len;

	if (who & 0x80) {
		hdr.flags = rd_u8(r) & 1;
		hdr.gso_type = (who >> 4) & 7;
		hdr.gso_size = rd_u16(r);
		hdr.csum_start = rd_u8(r);
		hdr.csum_offset = rd_u8(r);
		len = min_size(rd_u16(r), min_size(r->left, sizeof(packet)));
		rd_copy(r, packet, len);
	} else {
		struct ip_addr to = tunnel_ip(IP_V4, who % (CLIENTS + 1)), from;
		uint16_t sum;

		len = build_packet(r, 0, packet);
		from = ip_of(inner_ips[(who >> 4) % ARRAY_LEN(inner_ips)]);
		memcpy(packet + 12, from.bytes, 4);
		memcpy(packet + 16, to.bytes, 4);
		packet[10] = packet[11] = 0;
		sum = (uint16_t)~checksum_fold(checksum_add(0, packet, 20));
		packet[10] = (uint8_t)(sum >> 8);
		packet[11] = (uint8_t)sum;
	}
	gateway_tun_in(w->g, &hdr, packet, len, w->now_us);
	w->now_us++;
	w->wall_us++;
	gateway_packets_done(w->g, w->now_us);
	drain(w);
}

/* --- the portal --- */

static void message(struct world *w, const struct portal_msg *msg)
{
	struct gateway_input in = { .kind = GATEWAY_IN_PORTAL_MESSAGE, .u.message = msg };

	handle(w, &in);
}

static int64_t expiry(const struct world *w, uint8_t v)
{
	static const int64_t deltas[] = { -5, 1, 5, 60, 3600, 0 };

	if (v % 8 == 7)
		return TUNNEL_NEVER_EXPIRES;
	if (v % 8 == 6)
		return INT64_MIN;
	return (int64_t)(w->wall_us / US_PER_S) + deltas[v % 8];
}

static void fill_relays(struct world *w, uint8_t mask, uint8_t variants, struct portal_relay *list, size_t *n)
{
	*n = 0;
	for (unsigned int i = 0; i < RELAYS; i++) {
		struct portal_relay *relay = &list[*n];

		if (!(mask & 1u << i))
			continue;
		memset(relay, 0, sizeof(*relay));
		relay->id = id_of(1, i);
		relay->v4 = at(i == 1 ? 1 : 0, TURN_PORT);
		if (i == 0 && !(variants & 0x80))
			relay->v6 = at(2, TURN_PORT);
		relay_names(i, variants >> i, relay->username, relay->password);
		(*n)++;
	}
	(void)w;
}

static void init_event(struct world *w, struct reader *r)
{
	struct portal_relay relays[RELAYS];
	struct tunnel_authorization list[CLIENTS * RESOURCES];
	struct portal_msg msg = { .kind = PORTAL_INIT };
	struct portal_init *init = &msg.u.init;
	uint8_t flags = rd_u8(r), mask = rd_u8(r);
	uint16_t listed = rd_u16(r);
	bool usable = (flags & 7) != 7;

	init->v4 = ip_of(usable ? "100.64.0.1" : "10.0.0.1");
	init->v4.bytes[3] = (uint8_t)(init->v4.bytes[3] + (flags & 3) % OWN_ADDRESSES);
	init->v6 = ip_of("fd00:2021:1111::1");
	init->relays = relays;
	fill_relays(w, mask, flags, relays, &init->n_relays);
	init->authorizations = list;
	for (unsigned int i = 0; i < CLIENTS * RESOURCES; i++) {
		struct grant *g = &w->grants[i / RESOURCES][i % RESOURCES];

		if (listed & 1u << i) {
			struct tunnel_authorization *a = &list[init->n_authorizations++];

			a->client = id_of(2, i / RESOURCES);
			a->resource = id_of(3, i % RESOURCES);
			a->expires_at = expiry(w, mask >> 3);
			g->expires_at = usable ? a->expires_at : g->expires_at;
		} else if (usable) {
			g->possible = false;
		}
	}
	message(w, &msg);
}

static struct resource resource_of(unsigned int k, struct filter *filters, uint8_t flags)
{
	struct resource res = { .id = id_of(3, k), .kind = prefixes[k] ? RESOURCE_CIDR : RESOURCE_INTERNET };

	if (prefixes[k])
		BUG_ON(!ip_prefix_parse(&res.prefix, prefixes[k], strlen(prefixes[k])));
	if (flags & 1) {
		filters[0] = (struct filter){ .protocol = FILTER_UDP, .port_start = 53, .port_end = 53 };
		res.filters = filters;
		res.n_filters = 1;
	}
	return res;
}

static void set_text(char *out, const char *text, char last)
{
	size_t len = strlen(text);

	memcpy(out, text, len + 1);
	out[len - 1] = last;
}

static void flow_event(struct world *w, struct reader *r)
{
	uint8_t who = rd_u8(r), what = rd_u8(r), variant = rd_u8(r);
	unsigned int i = who % CLIENTS, k = what % RESOURCES;
	unsigned int addr = (variant & 0x30) == 0x30 ? (variant >> 6) + 1 : i;
	unsigned int key_of = (variant & 0x0c) == 0x0c ? (i + 1) % CLIENTS : i;
	struct filter filters[1];
	struct portal_msg msg = { .kind = PORTAL_AUTHORIZE_FLOW };
	struct portal_flow *flow = &msg.u.flow;
	struct grant *g = &w->grants[i][k];
	char ref[] = "ref";

	flow->ref = ref;
	flow->client = id_of(2, i);
	flow->resource = resource_of(k, filters, what >> 4);
	memcpy(flow->client_key, wg_public_key(w->clients[key_of].wg), sizeof(flow->client_key));
	if ((variant & 3) == 3)
		memset(flow->client_key, 0, sizeof(flow->client_key));
	memcpy(flow->preshared_key, psk, sizeof(psk));
	flow->client_v4 = tunnel_ip(IP_V4, addr);
	flow->client_v6 = tunnel_ip(IP_V6, addr);
	/* All have the same ufrags; only what follows the password's last character tells the connections apart. */
	set_text(flow->gateway_ice.username, "ab3d", 'd');
	set_text(flow->gateway_ice.password, ours_pwd, (variant & 3) == 2 ? 'x' : '6');
	set_text(flow->client_ice.username, "zq2x", 'x');
	set_text(flow->client_ice.password, theirs_pwd, '3');
	flow->expires_at = expiry(w, who >> 4);
	flow->v2 = what == 0xff;
	if (flow->expires_at != INT64_MIN && (!g->possible || flow->expires_at > g->expires_at))
		g->expires_at = flow->expires_at;
	g->possible = true;
	w->has_addr[i][addr] = true;
	message(w, &msg);
}

static void candidates_event(struct world *w, struct reader *r, enum portal_msg_kind kind)
{
	enum { MOST = 8 };
	static const enum candidate_kind kinds[] = { CANDIDATE_HOST, CANDIDATE_SRFLX, CANDIDATE_RELAY, CANDIDATE_PRFLX };
	char texts[MOST][CANDIDATE_TEXT_MAX];
	char *list[MOST];
	struct portal_msg msg = { .kind = kind };
	uint8_t who = rd_u8(r);

	msg.u.candidates.client = id_of(2, who % CLIENTS);
	msg.u.candidates.texts = list;
	for (unsigned int i = 0; i <= (who >> 4) % MOST; i++) {
		struct candidate c = { .addr = any_endpoint(r, false), .priority = (uint32_t)rd_u8(r) << 24 };
		int to = ip_index(&c.addr.ip);

		c.kind = kinds[c.priority >> 24 & 3];
		c.base = c.addr;
		if (candidate_format(&c, "zq2x", texts[i], sizeof(texts[i])) == 0)
			continue;
		list[msg.u.candidates.n++] = texts[i];
		if (to >= 0 && kind == PORTAL_ICE_CANDIDATES)
			w->allowed[to] = true;
	}
	message(w, &msg);
}

static void access_event(struct world *w, struct reader *r, enum portal_msg_kind kind)
{
	struct portal_msg msg = { .kind = kind };
	uint8_t who = rd_u8(r), what = rd_u8(r);
	struct grant *g = &w->grants[who % CLIENTS][what % RESOURCES];

	msg.u.access.client = id_of(2, who % CLIENTS);
	msg.u.access.resource = id_of(3, what % RESOURCES);
	msg.u.access.expires_at = expiry(w, what >> 4);
	if (kind == PORTAL_REJECT_ACCESS)
		g->possible = false;
	else
		g->expires_at = msg.u.access.expires_at;
	message(w, &msg);
}

static void resource_event(struct world *w, struct reader *r)
{
	struct portal_msg msg = { .kind = PORTAL_RESOURCE_UPDATED };
	uint8_t what = rd_u8(r);
	struct filter filters[1];

	msg.u.resource = resource_of(what % RESOURCES, filters, what >> 4);
	message(w, &msg);
}

static void presence_event(struct world *w, struct reader *r)
{
	struct portal_relay relays[RELAYS];
	struct uuid gone[RELAYS];
	struct portal_msg msg = { .kind = PORTAL_RELAYS_PRESENCE };
	uint8_t masks = rd_u8(r);

	msg.u.presence.disconnected = gone;
	for (unsigned int i = 0; i < RELAYS; i++)
		if (masks & 0x10u << i)
			gone[msg.u.presence.n_disconnected++] = id_of(1, i);
	msg.u.presence.connected = relays;
	fill_relays(w, masks, rd_u8(r), relays, &msg.u.presence.n_connected);
	message(w, &msg);
}

static void joined_event(struct world *w, bool joined)
{
	struct gateway_input in = { .kind = joined ? GATEWAY_IN_PORTAL_JOINED : GATEWAY_IN_PORTAL_LOST };

	w->joined = joined;
	handle(w, &in);
}

/* --- the script --- */

enum event {
	EVENT_INIT, EVENT_FLOW, EVENT_CANDIDATES, EVENT_INVALIDATE, EVENT_REJECT, EVENT_EXPIRY, EVENT_RESOURCE,
	EVENT_PRESENCE, EVENT_JOINED, EVENT_LOST, EVENT_CLOCK, EVENT_TIME, EVENT_DEADLINE, EVENT_RELAY, EVENT_CHECK,
	EVENT_CHECK_ANSWER, EVENT_WIREGUARD, EVENT_DATA, EVENT_TUN, EVENT_RAW, EVENT_SHUTDOWN, EVENT_KINDS
};

static void portal_event(struct world *w, struct reader *r, enum event event)
{
	if (!w->joined)
		return;
	if (event == EVENT_INIT)
		init_event(w, r);
	else if (event == EVENT_FLOW)
		flow_event(w, r);
	else if (event == EVENT_CANDIDATES)
		candidates_event(w, r, PORTAL_ICE_CANDIDATES);
	else if (event == EVENT_INVALIDATE)
		candidates_event(w, r, PORTAL_INVALIDATE_ICE_CANDIDATES);
	else if (event == EVENT_REJECT)
		access_event(w, r, PORTAL_REJECT_ACCESS);
	else if (event == EVENT_EXPIRY)
		access_event(w, r, PORTAL_EXPIRY_UPDATED);
	else if (event == EVENT_RESOURCE)
		resource_event(w, r);
	else
		presence_event(w, r);
}

static void time_event(struct world *w, struct reader *r, enum event event)
{
	uint64_t deadline = gateway_deadline(w->g);

	if (event == EVENT_TIME) {
		pass_time(w, (uint64_t)rd_u16(r) * US_PER_MS);
	} else if (event == EVENT_DEADLINE) {
		pass_time(w, deadline > w->now_us && deadline != NEVER_US ? deadline - w->now_us : 0);
	} else {
		w->wall_us += (uint64_t)(int64_t)(int8_t)rd_u8(r) * US_PER_S;
		tell_wall(w);
	}
}

static void event(struct world *w, struct reader *r)
{
	struct gateway_input shutdown = { .kind = GATEWAY_IN_SHUTDOWN };
	enum event kind = (enum event)(rd_u8(r) % EVENT_KINDS);

	switch (kind) {
	case EVENT_INIT:
	case EVENT_FLOW:
	case EVENT_CANDIDATES:
	case EVENT_INVALIDATE:
	case EVENT_REJECT:
	case EVENT_EXPIRY:
	case EVENT_RESOURCE:
	case EVENT_PRESENCE:
		portal_event(w, r, kind);
		break;
	case EVENT_JOINED:
	case EVENT_LOST:
		joined_event(w, kind == EVENT_JOINED);
		break;
	case EVENT_CLOCK:
	case EVENT_TIME:
	case EVENT_DEADLINE:
		time_event(w, r, kind);
		break;
	case EVENT_RELAY:
		relay_event(w, r);
		break;
	case EVENT_CHECK:
		check_event(w, r);
		break;
	case EVENT_CHECK_ANSWER:
		check_answer_event(w, r);
		break;
	case EVENT_WIREGUARD:
		wireguard_event(w, r);
		break;
	case EVENT_DATA:
		data_event(w, r);
		break;
	case EVENT_TUN:
		tun_event(w, r);
		break;
	case EVENT_RAW:
		raw_datagrams(w, r);
		break;
	case EVENT_SHUTDOWN:
	case EVENT_KINDS:
		handle(w, &shutdown);
		break;
	}
}

static void set_up(struct world *w)
{
	struct gateway_config cfg = { .max_clients = PLACES };
	struct wg_config client = { .max_peers = 1 };

	BUG_ON(sodium_init() < 0);
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
	w->g = gateway_new(&cfg, w->now_us);
	BUG_ON(!w->g);
	client.arena = w->client_arena;
	for (unsigned int i = 0; i < CLIENTS; i++) {
		struct client *c = &w->clients[i];

		client.rng = rng_from_seed(&c->seed, 2 + i);
		c->wg = wg_new(&client, w->now_us);
		BUG_ON(!c->wg || wg_peer_add(c->wg, gateway_public_key(w->g), psk, NULL, w->now_us, &c->peer) < 0);
		wg_peer_set_path(c->peer, true, w->now_us);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct reader r = reader_of(data, len);
	struct world *w = calloc(1, sizeof(*w));

	BUG_ON(!w);
	set_up(w);
	for (int i = 0; i < EVENTS && r.left > 0; i++)
		event(w, &r);
	gateway_free(w->g);
	for (unsigned int i = 0; i < CLIENTS; i++)
		wg_free(w->clients[i].wg);
	BUG_ON(secret_slots_free(w->arena) != SLOTS || secret_slots_free(w->client_arena) != 3 * CLIENTS);
	coalescer_free(w->tun);
	txq_free(w->txq);
	secret_arena_free(w->client_arena);
	secret_arena_free(w->arena);
	free(w);
	return 0;
}
