#include "tests/fuzz/gateway/world.h"

#include <string.h>

#include "packet/checksum.h"
#include "stun/stun.h"
#include "tunnel/tunnel.h"
#include "turn/turn.h"

static const char *const inner_ips[] = {"10.20.0.5",       "10.99.0.5",   "8.8.8.8",   "100.64.0.1",
					"100.64.0.10",     "100.64.0.11", "127.0.0.1", "224.0.0.1",
					"169.254.169.254", "100.96.0.1"};

/* --- relays --- */

static void put_answer(struct stun_builder *b, const struct stun_msg *msg, uint8_t how,
		       const struct endpoint *relay)
{
	struct endpoint mapped = world_at(HOST_V4, PORT), relayed = *relay;

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

void peers_relay(struct world *w, struct reader *r)
{
	static const uint16_t errors[] = {400, 401, 403, 420, 437, 438, 486, 508};
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
	stun_begin(&b, buf, sizeof(buf), msg.method, how & 7 ? STUN_SUCCESS : STUN_ERROR,
		   &msg.txid);
	if (how & 7) {
		put_answer(&b, &msg, how, &m->dst);
	} else {
		stun_put_error(&b, errors[how >> 5], "no");
		stun_put_bytes(&b, STUN_ATTR_REALM, turn_realm, strlen(turn_realm));
		if (how & 0x10)
			stun_put_bytes(&b, STUN_ATTR_NONCE, "nonce", 5);
	}
	world_deliver(w, &m->dst, buf, stun_finish(&b, sign ? key : NULL, sizeof(key), false), 0);
}

/* --- clients --- */

void peers_check(struct world *w, struct reader *r)
{
	static const char username[] = "ab3d:zq2x";
	uint8_t flags = rd_u8(r), buf[256];
	struct stun_txid txid = {.bytes = {[0] = flags, [STUN_TXID_LEN - 1] = rd_u8(r)}};
	struct way way = world_way(r);
	struct stun_builder b;
	size_t len;

	stun_begin(&b, buf, sizeof(buf), STUN_BINDING, STUN_REQUEST, &txid);
	stun_put_bytes(&b, STUN_ATTR_USERNAME, username, strlen(username));
	stun_put_u64(&b, flags & 0x10 ? STUN_ATTR_ICE_CONTROLLED : STUN_ATTR_ICE_CONTROLLING, 1);
	stun_put_u32(&b, STUN_ATTR_PRIORITY, 1862270975);
	if (flags & 1)
		stun_put_bytes(&b, STUN_ATTR_USE_CANDIDATE, "", 0);
	len = stun_finish(&b, (const uint8_t *)world_ours_pwd,
			  strlen(world_ours_pwd) - (flags & 2 ? 0 : 1), true);
	if (flags & 2)
		w->allowed[world_ip_index(&way.src.ip)] = true;
	world_from_client(w, &way, buf, len);
}

void peers_check_answer(struct world *w, struct reader *r)
{
	const struct message *m = &w->checks[rd_u8(r) % REMEMBERED];
	uint8_t how = rd_u8(r), buf[256];
	struct way way = world_way(r);
	struct endpoint mapped = world_at(HOST_V4, PORT);
	struct stun_builder b;
	struct stun_msg msg;
	size_t len;

	if (m->len == 0 || !stun_msg_read(&msg, m->bytes, m->len))
		return;
	stun_begin(&b, buf, sizeof(buf), STUN_BINDING, STUN_SUCCESS, &msg.txid);
	stun_put_xor_address(&b, STUN_ATTR_XOR_MAPPED_ADDRESS, &mapped);
	len = stun_finish(&b, (const uint8_t *)world_theirs_pwd, strlen(world_theirs_pwd), true);
	if (how & 1)
		world_from_client(w, &way, buf, len);
	else if (m->src.ip.family != IP_NONE)
		world_deliver(w, &m->dst, buf, len, 0);
}

void peers_wireguard(struct world *w, struct reader *r)
{
	struct client *c = &w->clients[rd_u8(r) % CLIENTS];
	struct way way = world_way(r);
	struct wg_event event;

	(void)wg_can_seal(c->peer, w->now_us);
	wg_peer_timeout(c->peer, w->now_us);
	while (wg_peer_poll(c->peer, &event, w->now_us)) {
		uint8_t copy[WG_INITIATION_LEN];

		if (event.kind != WG_EVENT_SEND)
			continue;
		BUG_ON(event.len > sizeof(copy));
		memcpy(copy, event.data, event.len);
		world_from_client(w, &way, copy, event.len);
	}
}

/* An inner packet: IPv4, or the goodbye. */
static size_t build_packet(struct reader *r, unsigned int src, uint8_t *out)
{
	static const uint8_t protos[] = {1, 6, 17, 17, 255, 47};
	enum {
		HEAD = 20,
		BODY = 28
	};
	uint8_t flags = rd_u8(r);
	struct ip_addr from = world_tunnel_ip(IP_V4, src);
	struct ip_addr to = world_ip(inner_ips[(flags & 15) % ARRAY_LEN(inner_ips)]);
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
		wr_u8(&w, 0x50); /* where TCP has its header length */
		wr_zero(&w, BODY - 13);
	}
	out[10] = (uint8_t)(sum >> 8);
	out[11] = (uint8_t)sum;
	return HEAD + BODY;
}

void peers_data(struct world *w, struct reader *r)
{
	uint8_t who = rd_u8(r);
	struct client *c = &w->clients[who % CLIENTS];
	struct way way = world_way(r);
	uint8_t buf[WG_SCRATCH + BUFFER] = {0};
	uint8_t *inner = buf + WG_SCRATCH + WG_DATA_HEADER;
	size_t len;

	if (who & 0x80) {
		len = world_length(r, UINT8_MAX);
		rd_copy(r, inner, len);
	} else if ((who & 0x70) == 0x70) {
		tunnel_goodbye(inner);
		len = TUNNEL_GOODBYE_LEN;
	} else {
		len = build_packet(
		    r, (who & 0x70) == 0x60 ? (who + 1u) % CLIENTS : who % (unsigned int)CLIENTS,
		    inner);
	}
	len = wg_seal(c->peer, buf + WG_SCRATCH, len, w->now_us);
	if (len > 0)
		world_from_client(w, &way, buf + WG_SCRATCH, len);
}

void peers_tun(struct world *w, struct reader *r)
{
	uint8_t who = rd_u8(r), packet[BUFFER];
	struct vnet_hdr hdr = {.gso_type = VNET_GSO_NONE};
	size_t len;

	if (who & 0x80) {
		hdr.flags = rd_u8(r) & 1;
		hdr.gso_type = (who >> 4) & 7;
		hdr.gso_size = rd_u16(r);
		hdr.csum_start = rd_u8(r);
		hdr.csum_offset = rd_u8(r);
		len = world_length(r, sizeof(packet));
		rd_copy(r, packet, len);
	} else {
		struct ip_addr to = world_tunnel_ip(IP_V4, who % (CLIENTS + 1)), from;
		uint16_t sum;

		len = build_packet(r, 0, packet);
		from = world_ip(inner_ips[(who >> 4) % ARRAY_LEN(inner_ips)]);
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
	world_drain(w);
}
