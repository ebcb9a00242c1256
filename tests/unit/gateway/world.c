#include "world.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#define CLIENT_ID     "11111111-2222-4333-8444-555555555555"
#define CLIENT_UFRAG  "zq2x"
#define CLIENT_PWD    "b7n4v2c6x3z5l7k2j4h6g3"
#define GATEWAY_UFRAG "ab3d"
#define GATEWAY_PWD   "k5m2q7w4e6r3t5y7u2i4o6"
#define RELAY_USER    "2145916800:kF8o3vGOqsBa5vErLDRSdEr69ibaE0PVezlbVE4FGbY"
#define RELAY_PWD     "c2VjcmV0LXR1cm4tcGFzcw"

static const uint8_t psk[32] = {7};

/* Packets come at one time, and what follows from them is settled a little later. */
enum {
	LAG_US = 3
};

static struct endpoint ep(const char *text)
{
	struct endpoint out;

	assert_true(endpoint_parse(&out, text, strlen(text)));
	return out;
}

static void flush(void *ctx, const struct txq_batch *batch)
{
	struct world *w = ctx;

	for (size_t at = 0; at < batch->len; at += batch->segment) {
		struct datagram *d = &w->sent[w->n_sent++];

		assert_true(w->n_sent <= WORLD_MAX_SENT);
		d->key = batch->key;
		d->len = min_size(batch->segment, batch->len - at);
		memcpy(d->data, batch->data + at, d->len);
	}
}

static void lookup(void *ctx, const struct ip_addr *dst, uint32_t scope, struct factory_lookup *out)
{
	struct world *w = ctx;
	unsigned int f = dst->family == IP_V6;
	bool relay = ip_eq(dst, &w->relay.ip) || ip_eq(dst, &w->relay6.ip);
	const struct ip_addr *source = &w->net.source[f];

	(void)scope;
	w->lookups++;
	if (relay && w->net.relay_source[f].family != IP_NONE)
		source = &w->net.relay_source[f];
	if (source->family == IP_NONE) {
		out->error = ENETUNREACH;
		return;
	}
	out->type = 1;
	out->prefsrc = *source;
	out->gateway = w->net.gateway[f];
	out->ifindex = w->net.ifindex;
}

static bool is_own(void *ctx, const struct ip_addr *ip)
{
	const struct world *w = ctx;

	return ip_eq(ip, &w->own);
}

static void interface_new(struct world *w, struct rng_seeded *seed, uint64_t number, struct wg **wg,
			  struct wg_peer **peer)
{
	struct wg_config cfg = {.max_peers = 1, .unix_us = w->wall_us, .arena = w->arena};

	cfg.rng = rng_from_seed(seed, number);
	*wg = wg_new(&cfg, w->now_us);
	assert_non_null(*wg);
	assert_int_equal(wg_peer_add(*wg, gateway_public_key(w->g), psk, NULL, w->now_us, peer), 0);
}

static struct world *new_world(uint32_t max_clients, bool roaming)
{
	struct world *w = calloc(1, sizeof(*w));
	struct gateway_config cfg = {.max_clients = max_clients};
	struct factory_config factory = {.lookup = lookup, .ctx = w, .tun_name = "tun-firezone"};

	assert_non_null(w);
	w->host = ep("192.0.2.10:52625");
	w->host6 = ep("[2001:db8:1::10]:52625");
	if (roaming) {
		w->net.source[0] = w->host.ip;
		w->net.ifindex = 2;
		factory.rng = rng_from_seed(&w->factory_seed, 3);
		w->factory = factory_new(&factory);
		assert_non_null(w->factory);
		cfg.factory = w->factory;
	}
	w->now_us = 5 * US_PER_S;
	w->wall_us = UINT64_C(1790000000) * US_PER_S;
	w->n_slots = 96 + GATEWAY_SECRETS_PER_CLIENT * max_clients;
	w->arena = secret_arena_new(w->n_slots);
	w->txq = txq_new(flush, w);
	w->tun = coalescer_new(256, false, false);
	cfg.unix_us = w->wall_us;
	cfg.rng = rng_from_seed(&w->seed, 1);
	cfg.arena = w->arena;
	cfg.txq = w->txq;
	cfg.is_own_address = is_own;
	cfg.own_address_ctx = w;
	w->g = gateway_new(&cfg, w->now_us);
	assert_non_null(w->g);
	interface_new(w, &w->client_seed, 2, &w->client_wg, &w->client_peer);
	w->who = (struct world_who){CLIENT_ID,   CLIENT_UFRAG,  CLIENT_PWD,         GATEWAY_UFRAG,
				    GATEWAY_PWD, "100.64.0.10", "fd00:2021:1111::a"};
	w->relay = ep("203.0.113.7:3478");
	w->relay6 = ep("[2001:db8::7]:3478");
	w->relayed = ep("203.0.113.7:50000");
	w->client = ep("198.51.100.4:52625");
	return w;
}

struct world *world_new(void)
{
	return new_world(8, false);
}

struct world *world_roaming(uint32_t max_clients)
{
	return new_world(max_clients, true);
}

void world_second(struct world *w, const struct world_who *who, const char *at)
{
	w->other.who = *who;
	w->other.at = ep(at);
	interface_new(w, &w->other.seed, 4, &w->other.wg, &w->other.peer);
}

void world_swap(struct world *w)
{
	struct world_end now = {
	    .who = w->who, .wg = w->client_wg, .peer = w->client_peer, .at = w->client};

	w->who = w->other.who;
	w->client_wg = w->other.wg;
	w->client_peer = w->other.peer;
	w->client = w->other.at;
	w->other.who = now.who;
	w->other.wg = now.wg;
	w->other.peer = now.peer;
	w->other.at = now.at;
}

void world_restart_client(struct world *w)
{
	wg_peer_free(w->client_peer);
	wg_free(w->client_wg);
	interface_new(w, &w->client_seed, 100 + w->restarts++, &w->client_wg, &w->client_peer);
}

void world_free(struct world *w)
{
	gateway_free(w->g);
	wg_peer_free(w->client_peer);
	wg_free(w->client_wg);
	wg_peer_free(w->other.peer);
	wg_free(w->other.wg);
	/* Nobody has kept a secret. */
	assert_int_equal(secret_slots_free(w->arena), w->n_slots);
	coalescer_free(w->tun);
	txq_free(w->txq);
	factory_free(w->factory);
	secret_arena_free(w->arena);
	free(w);
}

static void note(struct world *w, bool invalidated, const struct portal_send *send)
{
	for (size_t i = 0; i < send->n_candidates; i++) {
		unsigned int n = w->n_heard[invalidated]++;

		snprintf(w->heard[invalidated][n % WORLD_MAX_HEARD], sizeof(w->heard[0][0]), "%s",
			 send->candidates[i]);
	}
}

bool world_heard(const struct world *w, bool invalidated, const char *part)
{
	for (unsigned int i = 0; i < w->n_heard[invalidated] && i < WORLD_MAX_HEARD; i++)
		if (strstr(w->heard[invalidated][i], part))
			return true;
	return false;
}

static void hear(struct world *w, const struct portal_send *send)
{
	switch (send->kind) {
	case PORTAL_SEND_FLOW_AUTHORIZED:
		/* The acknowledgement precedes every candidate of its connection. */
		assert_int_equal(w->announced, 0);
		w->authorized++;
		break;
	case PORTAL_SEND_NO_RELAYS:
		w->no_relays++;
		break;
	case PORTAL_SEND_CANDIDATES:
		w->announced += (unsigned int)send->n_candidates;
		w->announcements++;
		note(w, false, send);
		snprintf(w->last_candidate, sizeof(w->last_candidate), "%s",
			 send->candidates[send->n_candidates - 1]);
		break;
	case PORTAL_SEND_INVALIDATED:
		w->invalidated += (unsigned int)send->n_candidates;
		w->invalidations++;
		note(w, true, send);
		break;
	case PORTAL_SEND_JOIN:
	case PORTAL_SEND_HEARTBEAT:
		fail();
	}
}

static void take_packets(struct world *w)
{
	struct tun_write t;

	while (coalescer_next(w->tun, &t)) {
		size_t len = 0;

		assert_true(w->n_packets < WORLD_MAX_PACKETS);
		for (int i = 1; i < t.iov_count; i++) {
			memcpy(w->packets[w->n_packets] + len, t.iov[i].iov_base, t.iov[i].iov_len);
			len += t.iov[i].iov_len;
		}
		w->packet_len[w->n_packets++] = len;
	}
}

static void around(const struct world *w, bool enter)
{
	if (w->around)
		w->around(enter);
}

static bool poll(struct world *w, struct gateway_output *out)
{
	bool any;

	around(w, true);
	any = gateway_poll(w->g, out);
	around(w, false);
	return any;
}

void world_look(struct world *w)
{
	struct gateway_output out;

	around(w, true);
	gateway_packets_done(w->g, w->now_us);
	around(w, false);
	while (poll(w, &out)) {
		if (out.kind == GATEWAY_OUT_PORTAL)
			hear(w, &out.u.portal);
		if (out.kind == GATEWAY_OUT_TUN) {
			w->tun_set++;
			w->tun_v4 = out.u.tun.v4;
		}
	}
	txq_flush(w->txq);
	take_packets(w);
	assert_true(gateway_deadline(w->g) > 0);
}

void world_forget(struct world *w)
{
	w->n_sent = w->n_packets = 0;
	w->authorized = w->no_relays = w->announced = w->invalidated = w->tun_set = 0;
	w->announcements = w->invalidations = w->n_heard[0] = w->n_heard[1] = 0;
}

void world_handle(struct world *w, const struct gateway_input *in)
{
	around(w, true);
	gateway_handle(w->g, in, w->now_us);
	around(w, false);
	world_look(w);
}

static void advance(struct world *w, uint64_t us, bool keep)
{
	struct gateway_input in = {.kind = GATEWAY_IN_TIMEOUT};
	uint64_t end = w->now_us + us;

	while (gateway_deadline(w->g) <= end) {
		uint64_t at = gateway_deadline(w->g);

		if (at > w->now_us) {
			w->wall_us += at - w->now_us;
			w->now_us = at;
		}
		world_handle(w, &in);
		if (!keep)
			w->n_sent = 0;
	}
	w->wall_us += end - w->now_us;
	w->now_us = end;
}

void world_advance(struct world *w, uint64_t us)
{
	advance(w, us, false);
}

void world_step(struct world *w, uint64_t us)
{
	w->n_sent = 0;
	advance(w, us, true);
}

static void message(struct world *w, const char *text)
{
	struct portal_envelope env;
	struct gateway_input in = {.kind = GATEWAY_IN_PORTAL_MESSAGE};

	portal_parse(&env, text, strlen(text));
	if (env.event != PORTAL_EVENT_MESSAGE)
		fail_msg("not a message: %s", text);
	in.u.message = &env.msg;
	world_handle(w, &in);
	portal_msg_free(&env.msg);
}

void world_message(struct world *w, const char *event, const char *payload)
{
	static char text[65536];

	snprintf(text, sizeof(text), "{\"topic\":\"gateway\",\"event\":\"%s\",\"payload\":%s}",
		 event, payload);
	message(w, text);
}

void world_joined(struct world *w, bool joined)
{
	struct gateway_input in = {.kind =
				       joined ? GATEWAY_IN_PORTAL_JOINED : GATEWAY_IN_PORTAL_LOST};

	world_handle(w, &in);
}

void world_clock(struct world *w)
{
	struct gateway_input in = {.kind = GATEWAY_IN_CLOCK, .u.wall_us = w->wall_us};

	world_handle(w, &in);
}

void world_init(struct world *w, bool with_relay)
{
	char text[1024];

	world_joined(w, true);
	snprintf(
	    text, sizeof(text),
	    "{\"topic\":\"gateway\",\"event\":\"init\",\"payload\":{\"interface\":{\"ipv4\":\"100."
	    "64.0.1\",\"ipv6\":"
	    "\"fd00:2021:1111::1\"},\"relays\":[%s%s]}}",
	    with_relay
		? "{\"type\":\"turn\",\"id\":\"5b0c6f0e-5f8a-4a39-9a0e-0d8f0f9a0001\",\"addr\":"
		  "\"203.0.113.7:3478\",\"username\":\"" RELAY_USER "\",\"password\":\"" RELAY_PWD
		  "\",\"expires_at\":2145916800}"
		: "",
	    with_relay && w->two_families
		? ",{\"type\":\"turn\",\"id\":\"5b0c6f0e-5f8a-4a39-9a0e-0d8f0f9a0001\",\"addr\":"
		  "\"[2001:db8::7]:3478\",\"username\":\"" RELAY_USER "\",\"password\":\"" RELAY_PWD
		  "\",\"expires_at\":2145916800}"
		: "");
	message(w, text);
}

static const char *either(const char *text, const char *otherwise)
{
	return text ? text : otherwise;
}

void world_flow(struct world *w, const struct world_flow *flow)
{
	const struct world_who *who = &w->who;
	const uint8_t *public_key = flow->key ? flow->key : wg_public_key(w->client_wg);
	char text[2048], key[64], shared[64];

	sodium_bin2base64(key, sizeof(key), public_key, 32, sodium_base64_VARIANT_ORIGINAL);
	sodium_bin2base64(shared, sizeof(shared), flow->psk ? flow->psk : psk, 32,
			  sodium_base64_VARIANT_ORIGINAL);
	snprintf(text, sizeof(text),
		 "{\"ref\":\"r\",\"resource\":{\"type\":\"cidr\",\"id\":\"%s\",\"address\":\"%s\","
		 "\"name\":\"n\","
		 "\"filters\":[]},\"client\":{\"id\":\"%s\",\"public_key\":\"%s\",\"preshared_"
		 "key\":\"%s\","
		 "\"ipv4\":\"%s\",\"ipv6\":\"%s\"},\"gateway_ice_credentials\":{\"username\":"
		 "\"%s"
		 "\",\"password\":\"%s\"},\"client_ice_credentials\":{\"username\":\"%s"
		 "\",\"password\":\"%s\"},\"expires_at\":%lld}",
		 either(flow->resource, "31111111-2222-4333-8444-555555555555"),
		 either(flow->prefix, "10.20.0.0/16"), either(flow->client, who->id), key, shared,
		 either(flow->v4, who->v4), either(flow->v6, who->v6),
		 either(flow->gateway_ufrag, who->gateway_ufrag),
		 either(flow->gateway_pwd, who->gateway_pwd),
		 either(flow->client_ufrag, who->ufrag), either(flow->client_pwd, who->pwd),
		 (long long)flow->expires_at);
	world_message(w, "authorize_flow", text);
}

void world_authorize(struct world *w, const char *resource_id, const char *prefix,
		     int64_t expires_at)
{
	world_flow(w, &(struct world_flow){
			  .resource = resource_id, .prefix = prefix, .expires_at = expires_at});
}

void world_reject(struct world *w, const char *resource_id)
{
	char text[512];

	snprintf(text, sizeof(text),
		 "{\"topic\":\"gateway\",\"event\":\"reject_access\",\"payload\":{\"client_id\":"
		 "\"%s\",\"resource_id\":\"%s\"}}",
		 w->who.id, resource_id);
	message(w, text);
}

void world_client_candidate(struct world *w, const char *candidate)
{
	char text[512];

	snprintf(text, sizeof(text),
		 "{\"topic\":\"gateway\",\"event\":\"ice_candidates\",\"payload\":{\"client_id\":"
		 "\"%s\",\"candidates\":[\"%s\"]}}",
		 w->who.id, candidate);
	message(w, text);
}

static const struct endpoint *ours(const struct world *w, const struct endpoint *theirs)
{
	return theirs->ip.family == IP_V4 ? &w->host : &w->host6;
}

void world_gro(struct world *w, const struct endpoint *src, const uint8_t *data, size_t len,
	       size_t segment, uint8_t ecn)
{
	static uint8_t buf[TXQ_HEADROOM + 4 * WORLD_BUFFER];
	struct gateway_datagrams in = {
	    .data = buf + TXQ_HEADROOM, .len = len, .segment = segment, .src = *src, .ecn = ecn};

	assert_true(len <= sizeof(buf) - TXQ_HEADROOM);
	memcpy(in.data, data, len);
	in.dst = *ours(w, src);
	around(w, true);
	gateway_udp_in(w->g, &in, 1, w->tun, w->now_us);
	around(w, false);
	w->now_us += LAG_US;
	world_look(w);
}

void world_datagram(struct world *w, const struct endpoint *src, const uint8_t *data, size_t len)
{
	world_gro(w, src, data, len, len, 0);
}

static void relay_answer(struct world *w, const struct endpoint *relay, const struct stun_msg *msg)
{
	uint8_t key[16], buf[512];
	struct stun_builder b;
	size_t len;

	stun_long_term_key(key, RELAY_USER, "firezone", RELAY_PWD);
	stun_begin(&b, buf, sizeof(buf), msg->method, STUN_SUCCESS, &msg->txid);
	if (msg->method == STUN_BINDING) {
		struct endpoint mapped =
		    relay->ip.family == IP_V4 ? ep("203.0.113.99:40000") : w->host6;

		stun_put_xor_address(&b, STUN_ATTR_XOR_MAPPED_ADDRESS, &mapped);
		len = stun_finish(&b, NULL, 0, false);
	} else {
		if (msg->method == STUN_ALLOCATE)
			stun_put_xor_address(&b, STUN_ATTR_XOR_RELAYED_ADDRESS, &w->relayed);
		if (msg->method != STUN_CHANNEL_BIND)
			stun_put_u32(&b, STUN_ATTR_LIFETIME, 600);
		len = stun_finish(&b, key, sizeof(key), false);
	}
	w->now_us += 5 * US_PER_MS;
	w->wall_us += 5 * US_PER_MS;
	world_datagram(w, relay, buf, len);
}

void world_relay_plays(struct world *w)
{
	for (size_t i = 0; i < w->n_sent && !w->mute_relay; i++) {
		struct stun_msg msg;
		struct datagram d = w->sent[i];

		if ((!endpoint_eq(&d.key.dst, &w->relay) && !endpoint_eq(&d.key.dst, &w->relay6)) ||
		    !stun_msg_read(&msg, d.data, d.len) || msg.class != STUN_REQUEST ||
		    (w->factory && d.key.src.ip.family == IP_NONE))
			continue;
		if (msg.method == STUN_ALLOCATE)
			w->allocated_from = d.key.src;
		relay_answer(w, &d.key.dst, &msg);
	}
}

void world_relay_answers(struct world *w)
{
	world_relay_plays(w);
	w->n_sent = 0;
}

size_t world_check(const struct world *w, uint8_t *buf, size_t cap, struct stun_txid *txid,
		   const char *ufrag, const char *pwd, bool nominate)
{
	char username[64];
	struct stun_builder b;

	snprintf(username, sizeof(username), "%s:%s", ufrag, w->who.ufrag);
	randombytes_buf(txid, sizeof(*txid));
	stun_begin(&b, buf, cap, STUN_BINDING, STUN_REQUEST, txid);
	stun_put_bytes(&b, STUN_ATTR_USERNAME, username, strlen(username));
	stun_put_u64(&b, STUN_ATTR_ICE_CONTROLLING, 1);
	stun_put_u32(&b, STUN_ATTR_PRIORITY, 1862270975);
	if (nominate)
		stun_put_bytes(&b, STUN_ATTR_USE_CANDIDATE, "", 0);
	return stun_finish(&b, (const uint8_t *)pwd, strlen(pwd), true);
}

bool world_check_from(struct world *w, const struct endpoint *src, const char *ufrag,
		      const char *pwd, bool nominate)
{
	const struct endpoint to = *ours(w, src);
	struct stun_txid txid;
	struct stun_builder b;
	struct stun_msg msg;
	uint8_t buf[256];
	size_t len = world_check(w, buf, sizeof(buf), &txid, ufrag, pwd, nominate);
	bool answered = false;

	w->n_sent = 0;
	world_datagram(w, src, buf, len);
	for (size_t i = 0; i < w->n_sent; i++) {
		struct datagram d = w->sent[i];

		if (!endpoint_eq(&d.key.dst, src) || !stun_msg_read(&msg, d.data, d.len))
			continue;
		if (msg.class == STUN_SUCCESS && memcmp(&msg.txid, &txid, sizeof(txid)) == 0) {
			answered = stun_msg_verify(&msg, d.data, d.len, (const uint8_t *)pwd,
						   strlen(pwd)) &&
				   endpoint_eq(&d.key.src, &to);
		} else if (msg.class == STUN_REQUEST && endpoint_eq(&d.key.src, &to)) {
			stun_begin(&b, buf, sizeof(buf), STUN_BINDING, STUN_SUCCESS, &msg.txid);
			stun_put_xor_address(&b, STUN_ATTR_XOR_MAPPED_ADDRESS, &to);
			len =
			    stun_finish(&b, (const uint8_t *)w->who.pwd, strlen(w->who.pwd), true);
			world_datagram(w, src, buf, len);
		}
	}
	return answered;
}

bool world_client_check(struct world *w, bool nominate)
{
	return world_check_from(w, &w->client, w->who.gateway_ufrag, w->who.gateway_pwd, nominate);
}

/* Give the client's interface what was sent to the client. */
static unsigned int client_hears(struct world *w)
{
	unsigned int n = 0;

	for (size_t i = 0; i < w->n_sent; i++) {
		enum wg_msg_type type = wg_classify(w->sent[i].data, w->sent[i].len);

		if (!endpoint_eq(&w->sent[i].key.dst, &w->client) || type == WG_NOT_WIREGUARD ||
		    type == WG_DATA)
			continue;
		n += wg_handshake(w->client_wg, w->sent[i].data, w->sent[i].len, &w->host,
				  w->now_us) != NULL;
	}
	return n;
}

static void client_speaks(struct world *w)
{
	struct wg_event event;

	while (wg_peer_poll(w->client_peer, &event, w->now_us))
		if (event.kind == WG_EVENT_SEND)
			world_datagram(w, &w->client, event.data, event.len);
}

void world_client_turn(struct world *w)
{
	wg_peer_timeout(w->client_peer, w->now_us);
	(void)client_hears(w);
	w->n_sent = 0;
	client_speaks(w);
}

bool world_handshake(struct world *w)
{
	bool answered;

	wg_peer_set_path(w->client_peer, true, w->now_us);
	if (wg_can_seal(w->client_peer, w->now_us))
		return true;
	world_advance(w, 400 * US_PER_MS);
	wg_peer_timeout(w->client_peer, w->now_us);
	w->n_sent = 0;
	client_speaks(w);
	answered = client_hears(w) > 0;
	client_speaks(w);
	w->n_sent = 0;
	return answered && wg_can_seal(w->client_peer, w->now_us);
}

size_t world_initiation(struct world *w, uint8_t *out, size_t cap)
{
	struct wg_event event;
	size_t len = 0;

	wg_peer_set_path(w->client_peer, true, w->now_us);
	(void)wg_can_seal(w->client_peer, w->now_us);
	wg_peer_timeout(w->client_peer, w->now_us + US_PER_S);
	while (wg_peer_poll(w->client_peer, &event, w->now_us)) {
		if (event.kind != WG_EVENT_SEND ||
		    wg_classify(event.data, event.len) != WG_INITIATION)
			continue;
		assert_true(event.len <= cap);
		memcpy(out, event.data, event.len);
		len = event.len;
	}
	assert_true(len > 0);
	return len;
}

void world_connect_client(struct world *w)
{
	char text[128], at[IP_TEXT_MAX];

	world_forget(w);
	world_authorize(w, WORLD_LAB, "10.20.0.0/16", WORLD_LATER);
	world_forget(w);
	ip_format(&w->client.ip, at);
	snprintf(text, sizeof(text),
		 "candidate:1 1 udp 1686109951 %s %u typ srflx raddr 0.0.0.0 rport 0", at,
		 w->client.port);
	world_client_candidate(w, text);
	assert_true(world_client_check(w, false));
	assert_true(world_client_check(w, true));
	assert_true(world_handshake(w));
	world_forget(w);
}

void world_connect(struct world *w)
{
	world_init(w, true);
	world_relay_answers(w);
	world_relay_answers(w);
	world_connect_client(w);
}

static uint16_t ones_complement(uint32_t sum)
{
	return (uint16_t) ~((sum & 0xffff) + (sum >> 16));
}

void world_big_ping(uint8_t *out, size_t len, const uint8_t src[4], const uint8_t dst[4],
		    uint8_t type, uint8_t tos, bool fragment)
{
	uint32_t sum = 0;
	uint16_t check;

	memset(out, 0, len);
	out[0] = 0x45;
	out[1] = tos;
	out[2] = (uint8_t)(len >> 8);
	out[3] = (uint8_t)len;
	out[6] = fragment ? 0x20 : 0;
	out[8] = 64;
	out[9] = 1;
	memcpy(out + 12, src, 4);
	memcpy(out + 16, dst, 4);
	for (int i = 0; i < 20; i += 2)
		sum += (uint32_t)(out[i] << 8 | out[i + 1]);
	check = ones_complement(sum);
	out[10] = (uint8_t)(check >> 8);
	out[11] = (uint8_t)check;
	out[20] = type;
	out[25] = 9; /* identifier */
	check = ones_complement((uint32_t)((type << 8) + 9));
	out[22] = (uint8_t)(check >> 8);
	out[23] = (uint8_t)check;
}

void world_ping(uint8_t out[WORLD_PING_LEN], const uint8_t src[4], const uint8_t dst[4],
		uint8_t type)
{
	world_big_ping(out, WORLD_PING_LEN, src, dst, type, 0, false);
}

size_t world_sealed(struct world *w, const uint8_t *packet, size_t len, uint8_t *out)
{
	uint8_t buf[WG_SCRATCH + WG_OVERHEAD + WORLD_BUFFER] = {0};
	size_t n;

	memcpy(buf + WG_SCRATCH + WG_DATA_HEADER, packet, len);
	n = wg_seal(w->client_peer, buf + WG_SCRATCH, len, w->now_us);
	assert_int_equal(n, len + WG_OVERHEAD);
	memcpy(out, buf + WG_SCRATCH, n);
	return n;
}

void world_from_client(struct world *w, const uint8_t *packet, size_t len)
{
	uint8_t msg[WG_OVERHEAD + WORLD_BUFFER];
	size_t n = world_sealed(w, packet, len, msg);

	w->n_sent = 0;
	world_datagram(w, &w->client, msg, n);
}

void world_from_tun(struct world *w, uint8_t *packet, size_t len)
{
	struct vnet_hdr hdr = {.flags = 0};

	w->n_sent = 0;
	around(w, true);
	gateway_tun_in(w->g, &hdr, packet, len, w->now_us);
	around(w, false);
	w->now_us += LAG_US;
	world_look(w);
}

bool world_client_receives(struct world *w, uint8_t *packet, size_t *len)
{
	for (size_t i = 0; i < w->n_sent; i++) {
		uint8_t buf[WG_SCRATCH + WORLD_BUFFER] = {0};
		struct wg_peer *peer;
		uint8_t *inner;
		size_t inner_len;

		if (!endpoint_eq(&w->sent[i].key.dst, &w->client) ||
		    wg_classify(w->sent[i].data, w->sent[i].len) != WG_DATA)
			continue;
		memcpy(buf + WG_SCRATCH, w->sent[i].data, w->sent[i].len);
		if (wg_open(w->client_wg, buf + WG_SCRATCH, w->sent[i].len, w->now_us, &peer,
			    &inner, &inner_len) != WG_OPEN_PACKET)
			continue;
		memcpy(packet, inner, inner_len);
		*len = inner_len;
		return true;
	}
	return false;
}
