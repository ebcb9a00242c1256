#include "relay_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "fixture.h"
#include "turn/channel_data.h"
#include "turn/turn.h"

#define USER "2145916800:salt"

static struct endpoint ep(uint8_t host, uint16_t port)
{
	const uint8_t bytes[4] = {203, 0, 113, host};

	return (struct endpoint){.ip = ip_v4(bytes), .port = port};
}

static void password_of(const struct relay_end *r, char out[32])
{
	snprintf(out, 32, "password-%u-%u", r->at.ip.bytes[3], r->version);
}

struct relay_world *relay_world_new(size_t relays, uint32_t max_clients)
{
	struct relay_world *rw = calloc(1, sizeof(*rw));

	assert_non_null(rw);
	rw->w = world_roaming(max_clients);
	rw->flying = calloc(RELAY_FLYING, sizeof(*rw->flying));
	assert_non_null(rw->flying);
	rw->n = relays;
	for (size_t i = 0; i < RELAYS; i++) {
		rw->relays[i].at = ep((uint8_t)(7 + i), TURN_PORT);
		rw->relays[i].relayed = ep((uint8_t)(7 + i), 50000);
		rw->relays[i].rtt_us = 10 * US_PER_MS;
		rw->relays[i].mapped_port = 40000;
	}
	return rw;
}

void relay_world_free(struct relay_world *rw)
{
	world_free(rw->w);
	free(rw->flying);
	free(rw);
}

static void relay_id(size_t i, char out[64])
{
	snprintf(out, 64, "5b0c6f0e-5f8a-4a39-9a0e-0d8f0f9a000%zu", i);
}

static void list(const struct relay_world *rw, unsigned int mask, char *out, size_t cap)
{
	size_t at = 0;

	out[0] = '\0';
	for (size_t i = 0; i < rw->n; i++) {
		char id[64], address[ENDPOINT_TEXT_MAX], password[32];

		if (!(mask & 1u << i))
			continue;
		relay_id(i, id);
		endpoint_format(&rw->relays[i].at, address);
		password_of(&rw->relays[i], password);
		at += (size_t)snprintf(out + at, cap - at,
				       "%s{\"type\":\"turn\",\"id\":\"%s\",\"addr\":\"%s\","
				       "\"username\":\"" USER "\",\"password\":\"%s\","
				       "\"expires_at\":2145916800}",
				       at > 0 ? "," : "", id, address, password);
		assert_true(at < cap);
	}
}

void relay_world_init(struct relay_world *rw, unsigned int mask)
{
	char relays[2048], text[4096];

	world_joined(rw->w, true);
	list(rw, mask, relays, sizeof(relays));
	snprintf(text, sizeof(text),
		 "{\"interface\":{\"ipv4\":\"100.64.0.1\",\"ipv6\":\"fd00:2021:1111::1\"},"
		 "\"relays\":[%s]}",
		 relays);
	world_message(rw->w, "init", text);
}

void relay_world_presence(struct relay_world *rw, unsigned int gone, unsigned int come)
{
	char relays[2048], text[4096], ids[512] = "";
	size_t at = 0;

	list(rw, come, relays, sizeof(relays));
	for (size_t i = 0; i < rw->n; i++) {
		char id[64];

		if (!(gone & 1u << i))
			continue;
		relay_id(i, id);
		at +=
		    (size_t)snprintf(ids + at, sizeof(ids) - at, "%s\"%s\"", at > 0 ? "," : "", id);
	}
	snprintf(text, sizeof(text), "{\"disconnected_ids\":[%s],\"connected\":[%s]}", ids, relays);
	world_message(rw->w, "relays_presence", text);
}

static void answer(struct relay_world *rw, struct relay_end *r, const struct stun_msg *msg,
		   uint16_t code)
{
	uint8_t key[16], buf[512];
	char password[32];
	struct endpoint mapped = ep(99, r->mapped_port);
	struct stun_builder b;

	password_of(r, password);
	stun_long_term_key(key, USER, turn_realm, password);
	stun_begin(&b, buf, sizeof(buf), msg->method, code ? STUN_ERROR : STUN_SUCCESS, &msg->txid);
	if (code)
		stun_put_error(&b, code, "no");
	else if (msg->method == STUN_BINDING)
		stun_put_xor_address(&b, STUN_ATTR_XOR_MAPPED_ADDRESS, &mapped);
	if (!code && msg->method == STUN_ALLOCATE)
		stun_put_xor_address(&b, STUN_ATTR_XOR_RELAYED_ADDRESS, &r->relayed);
	if (!code && (msg->method == STUN_ALLOCATE || msg->method == STUN_REFRESH))
		stun_put_u32(&b, STUN_ATTR_LIFETIME,
			     msg->has_lifetime && msg->lifetime_s == 0 ? 0 : 600);
	world_datagram(
	    rw->w, &r->at, buf,
	    stun_finish(&b, msg->method == STUN_BINDING ? NULL : key, sizeof(key), false));
}

static void request(struct relay_world *rw, struct relay_end *r, const struct stun_msg *msg)
{
	uint16_t code = 0;

	switch (msg->method) {
	case STUN_BINDING:
		r->bindings++;
		break;
	case STUN_ALLOCATE:
		r->allocates++;
		code = r->refuses;
		if (code)
			break;
		r->forgot = false;
		memset(r->bound, 0, sizeof(r->bound));
		break;
	case STUN_REFRESH:
		r->refreshes++;
		code = r->forgot ? 437 : 0;
		break;
	default:
		code = r->forgot ? 437 : 0;
		assert_true(msg->channel - TURN_CHANNEL_MIN < RELAY_CHANNELS);
		if (!code)
			r->bound[msg->channel - TURN_CHANNEL_MIN] = msg->peer;
		break;
	}
	answer(rw, r, msg, code);
}

/* From the client to the relayed address; lost without a channel to it. */
static bool through(struct relay_world *rw, size_t i, const uint8_t *data, size_t len)
{
	struct relay_end *r = &rw->relays[i];
	uint8_t buf[TURN_CHANNEL_HEADER + WORLD_BUFFER];

	for (unsigned int n = 0; n < RELAY_CHANNELS && !r->dead && !r->forgot; n++) {
		if (!endpoint_eq(&r->bound[n], &rw->w->client))
			continue;
		channel_data_write_header(buf, (uint16_t)(TURN_CHANNEL_MIN + n), (uint16_t)len);
		memcpy(buf + TURN_CHANNEL_HEADER, data, len);
		world_datagram(rw->w, &r->at, buf, len + TURN_CHANNEL_HEADER);
		return true;
	}
	return false;
}

static void client_speaks(struct relay_world *rw)
{
	struct wg_event event;

	while (wg_peer_poll(rw->w->client_peer, &event, rw->w->now_us))
		if (event.kind == WG_EVENT_SEND)
			(void)through(rw, rw->client_uses, event.data, event.len);
}

static void client_hears_stun(struct relay_world *rw, size_t i, const struct stun_msg *msg)
{
	const struct world_who *who = &rw->w->who;
	struct stun_builder b;
	uint8_t buf[256];

	if (msg->class == STUN_SUCCESS) {
		rw->answers++;
		return;
	}
	stun_begin(&b, buf, sizeof(buf), STUN_BINDING, STUN_SUCCESS, &msg->txid);
	stun_put_xor_address(&b, STUN_ATTR_XOR_MAPPED_ADDRESS, &rw->relays[i].relayed);
	(void)through(rw, i, buf,
		      stun_finish(&b, (const uint8_t *)who->pwd, strlen(who->pwd), true));
}

static void client_hears(struct relay_world *rw, size_t i, const uint8_t *data, size_t len)
{
	struct world *w = rw->w;
	uint8_t buf[WG_SCRATCH + WORLD_BUFFER] = {0};
	struct stun_msg msg;
	struct wg_peer *peer;
	uint8_t *inner;
	size_t inner_len;

	if (stun_msg_read(&msg, data, len)) {
		client_hears_stun(rw, i, &msg);
		return;
	}
	memcpy(buf + WG_SCRATCH, data, len);
	if (wg_classify(data, len) != WG_DATA)
		(void)wg_handshake(w->client_wg, data, len, &rw->relays[i].relayed, w->now_us);
	else if (wg_open(w->client_wg, buf + WG_SCRATCH, len, w->now_us, &peer, &inner,
			 &inner_len) == WG_OPEN_PACKET)
		rw->relays[i].to_client++;
	client_speaks(rw);
}

static void land(struct relay_world *rw, const struct flying *f)
{
	struct relay_end *r = &rw->relays[f->relay];
	struct stun_msg msg;
	uint16_t number = 0;

	if (r->dead)
		return;
	if (channel_data_read(&number, f->d.data, f->d.len)) {
		if (!r->forgot && endpoint_eq(&r->bound[number - TURN_CHANNEL_MIN], &rw->w->client))
			client_hears(rw, f->relay, f->d.data + TURN_CHANNEL_HEADER,
				     f->d.len - TURN_CHANNEL_HEADER);
	} else if (stun_msg_read(&msg, f->d.data, f->d.len)) {
		request(rw, r, &msg);
	}
}

/* What goes anywhere but to a relay is lost. */
static void take_off(struct relay_world *rw)
{
	struct world *w = rw->w;

	for (size_t k = 0; k < w->n_sent; k++) {
		for (size_t i = 0; i < rw->n; i++) {
			if (!endpoint_eq(&w->sent[k].key.dst, &rw->relays[i].at))
				continue;
			assert_true(rw->n_flying < RELAY_FLYING);
			rw->flying[rw->n_flying++] =
			    (struct flying){w->now_us + rw->relays[i].rtt_us, i, w->sent[k]};
		}
	}
	w->n_sent = 0;
}

static size_t next_landing(const struct relay_world *rw)
{
	size_t first = 0;

	for (size_t k = 1; k < rw->n_flying; k++)
		if (rw->flying[k].at_us < rw->flying[first].at_us)
			first = k;
	return first;
}

static void pass(struct world *w, uint64_t until_us)
{
	if (until_us <= w->now_us)
		return;
	w->wall_us += until_us - w->now_us;
	w->now_us = until_us;
}

void relay_world_run(struct relay_world *rw, uint64_t us)
{
	struct gateway_input in = {.kind = GATEWAY_IN_TIMEOUT};
	uint64_t end_us = rw->w->now_us + us;

	take_off(rw);
	for (;;) {
		size_t first = next_landing(rw);
		uint64_t landing_us = rw->n_flying > 0 ? rw->flying[first].at_us : NEVER_US;
		uint64_t at_us = min_u64(landing_us, gateway_deadline(rw->w->g));

		if (at_us > end_us)
			break;
		pass(rw->w, at_us);
		if (at_us == landing_us) {
			struct flying f = rw->flying[first];

			memmove(&rw->flying[first], &rw->flying[first + 1],
				(--rw->n_flying - first) * sizeof(f));
			land(rw, &f);
		} else {
			world_handle(rw->w, &in);
		}
		take_off(rw);
	}
	pass(rw->w, end_us);
}

bool relay_world_check(struct relay_world *rw, size_t i, bool nominate)
{
	const struct world_who *who = &rw->w->who;
	struct stun_txid txid;
	uint8_t buf[256];
	size_t len = world_check(rw->w, buf, sizeof(buf), &txid, who->gateway_ufrag,
				 who->gateway_pwd, nominate);
	unsigned int before = rw->answers;

	if (!through(rw, i, buf, len))
		return false;
	relay_world_run(rw, 2 * rw->relays[i].rtt_us);
	return rw->answers > before;
}

bool relay_world_heard(const struct relay_world *rw, bool invalidated, size_t i)
{
	char text[IP_TEXT_MAX + 32], ip[IP_TEXT_MAX];

	ip_format(&rw->relays[i].relayed.ip, ip);
	snprintf(text, sizeof(text), " %s 50000 typ relay", ip);
	return world_heard(rw->w, invalidated, text);
}

size_t relay_world_announced(const struct relay_world *rw)
{
	for (size_t i = 0; i < rw->n; i++)
		if (relay_world_heard(rw, false, i) && !relay_world_heard(rw, true, i))
			return i;
	return RELAYS;
}

void relay_world_connect(struct relay_world *rw)
{
	struct world *w = rw->w;

	world_authorize(w, WORLD_LAB, "10.20.0.0/16", WORLD_LATER);
	world_client_candidate(
	    w, "candidate:1 1 udp 1686109951 198.51.100.4 52625 typ srflx raddr 0.0.0.0 rport 0");
	relay_world_run(rw, 100 * US_PER_MS);
	rw->client_uses = relay_world_announced(rw);
	assert_true(rw->client_uses < RELAYS);
	assert_true(relay_world_check(rw, rw->client_uses, false));
	assert_true(relay_world_check(rw, rw->client_uses, true));
	wg_peer_set_path(w->client_peer, true, w->now_us);
	assert_false(wg_can_seal(w->client_peer, w->now_us));
	client_speaks(rw);
	relay_world_run(rw, 100 * US_PER_MS);
	assert_true(wg_can_seal(w->client_peer, w->now_us));
	world_forget(w);
}

bool relay_world_packet(struct relay_world *rw)
{
	unsigned int before = 0, after = 0;
	uint8_t packet[WORLD_PING_LEN];

	world_ping(packet, fixture_lab_ip, fixture_client_ip, 0);
	for (size_t i = 0; i < rw->n; i++)
		before += rw->relays[i].to_client;
	take_off(rw);
	world_from_tun(rw->w, packet, sizeof(packet));
	relay_world_run(rw, 20 * US_PER_MS);
	for (size_t i = 0; i < rw->n; i++)
		after += rw->relays[i].to_client;
	return after > before;
}

bool relay_world_reply(struct relay_world *rw)
{
	uint8_t packet[WORLD_PING_LEN];
	uint8_t buf[WG_SCRATCH + WG_OVERHEAD + WORLD_PING_LEN] = {0};
	size_t len, before = rw->w->n_packets = 0;

	world_ping(packet, fixture_client_ip, fixture_lab_ip, 8);
	memcpy(buf + WG_SCRATCH + WG_DATA_HEADER, packet, sizeof(packet));
	len = wg_seal(rw->w->client_peer, buf + WG_SCRATCH, sizeof(packet), rw->w->now_us);
	assert_true(len > 0);
	(void)through(rw, rw->client_uses, buf + WG_SCRATCH, len);
	return rw->w->n_packets > before;
}
