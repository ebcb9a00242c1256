/*
 * The core driven without a socket, a clock, a thread or an event loop: this program is the portal,
 * the relay, the client and the time, and prints what the gateway tells each. See gateway-api.md.
 */
#include <sodium.h>
#include <stdio.h>

#include "gateway/gateway.h"
#include "stun/stun.h"
#include "turn/turn.h"

#define CANDIDATE "candidate:1 1 udp 2130706431 198.51.100.4 52625 typ host"
#define PWD       "c2VjcmV0LXR1cm4tcGFzcw" /* of relay, gateway and client: never so in earnest */

struct program {
	struct gateway *g;
	struct txq *txq;
	struct coalescer *tun;
	uint64_t now_us;
	size_t n_asked;
	struct request {
		uint16_t method;
		struct stun_txid id;
		bool of_relay;
	} asked[64];
};

static struct endpoint at(const char *text)
{
	struct endpoint out;

	BUG_ON(!endpoint_parse(&out, text, strlen(text)));
	return out;
}

/* What leaves. Requests are only noted: their answers wait until the queue is empty. */
static void flush(void *ctx, const struct txq_batch *batch)
{
	struct program *p = ctx;
	bool relay = batch->key.dst.port == TURN_PORT;
	struct stun_msg msg;

	for (size_t i = 0; i < batch->len; i += batch->segment) {
		if (!stun_msg_read(&msg, batch->data + i, min_size(batch->segment, batch->len - i)))
			continue;
		printf("%s: STUN method %u, class %d\n", relay ? "relay" : "client", msg.method,
		       (int)msg.class);
		if (msg.class == STUN_REQUEST && p->n_asked < ARRAY_LEN(p->asked))
			p->asked[p->n_asked++] = (struct request){msg.method, msg.txid, relay};
	}
}

/* A message of relay or client, with all that any kind may need: each is read for its own part. */
static void receive(struct program *p, enum stun_class class, struct request r)
{
	uint8_t room[TXQ_HEADROOM + 512], key[16];
	struct endpoint mapped = at("203.0.113.99:40000"), relayed = at("203.0.113.7:50000");
	struct gateway_datagrams in = {.data = room + TXQ_HEADROOM, .dst = at("192.0.2.10:52625")};
	struct stun_builder b;

	stun_begin(&b, in.data, 512, r.method, class, &r.id);
	stun_put_bytes(&b, STUN_ATTR_USERNAME, "ab3d:zq2x", 9);
	stun_put_u64(&b, STUN_ATTR_ICE_CONTROLLING, 1);
	stun_put_u32(&b, STUN_ATTR_PRIORITY, 1862270975);
	stun_put_bytes(&b, STUN_ATTR_USE_CANDIDATE, "", 0);
	stun_put_xor_address(&b, STUN_ATTR_XOR_MAPPED_ADDRESS, &mapped);
	stun_put_xor_address(&b, STUN_ATTR_XOR_RELAYED_ADDRESS, &relayed);
	stun_put_u32(&b, STUN_ATTR_LIFETIME, 600);
	stun_long_term_key(key, "u", turn_realm, PWD);
	in.len = r.of_relay ? stun_finish(&b, key, sizeof(key), true)
			    : stun_finish(&b, (const uint8_t *)PWD, strlen(PWD), true);
	in.segment = in.len;
	in.src = at(r.of_relay ? "203.0.113.7:3478" : "198.51.100.4:52625");
	gateway_udp_in(p->g, &in, 1, p->tun, p->now_us); /* what is for the TUN: coalescer_next() */
	gateway_packets_done(p->g, p->now_us);
}

/* After each call: all that the core has to say, and what the others answer. */
static void drain(struct program *p)
{
	struct gateway_output out;

	for (;; receive(p, STUN_SUCCESS, p->asked[--p->n_asked])) {
		while (gateway_poll(p->g, &out)) {
			const struct portal_send *send = &out.u.portal;
			bool portal = out.kind == GATEWAY_OUT_PORTAL;

			if (portal && send->kind == PORTAL_SEND_FLOW_AUTHORIZED)
				printf("portal: flow_authorized %s\n", send->flow_ref);
			for (size_t i = 0; portal && i < send->n_candidates; i++)
				printf("portal: %s\n", send->candidates[i]);
		}
		txq_flush(p->txq);
		if (p->n_asked == 0)
			return;
	}
}

static void handle(struct program *p, enum gateway_input_kind kind, const struct portal_msg *msg)
{
	gateway_handle(p->g, &(struct gateway_input){.kind = kind, .u.message = msg}, p->now_us);
	drain(p);
}

int main(void)
{
	char ref[] = "r1", text[1][CANDIDATE_TEXT_MAX] = {CANDIDATE};
	struct portal_relay relay = {
	    .v4 = at("203.0.113.7:3478"), .username = "u", .password = PWD};
	struct portal_msg init = {.kind = PORTAL_INIT}, flow = {.kind = PORTAL_AUTHORIZE_FLOW};
	struct portal_msg theirs = {PORTAL_ICE_CANDIDATES, {.candidates = {.texts = text, .n = 1}}};
	struct rng_seeded seed;
	struct program p = {.now_us = US_PER_S};
	struct gateway_config cfg = {.max_clients = 8, .unix_us = 1790000000 * US_PER_S};
	struct gateway_snapshot s;

	init.u.init = (struct portal_init){.relays = &relay, .n_relays = 1};
	init.u.init.v4 = at("100.64.0.1:1").ip;
	init.u.init.v6 = at("[fd00:2021:1111::1]:1").ip;
	flow.u.flow = (struct portal_flow){.ref = ref, .client_key = {9}, .expires_at = 2145916800};
	flow.u.flow.resource.prefix = (struct ip_prefix){at("10.20.0.0:1").ip, 16};
	flow.u.flow.client_v4 = at("100.64.0.10:1").ip;
	flow.u.flow.client_v6 = at("[fd00:2021:1111::a]:1").ip;
	flow.u.flow.gateway_ice = (struct portal_ice_credentials){"ab3d", PWD};
	flow.u.flow.client_ice = (struct portal_ice_credentials){"zq2x", PWD};
	BUG_ON(sodium_init() < 0);
	cfg.rng = rng_from_seed(&seed, 1);
	cfg.arena = secret_arena_new(64);
	cfg.txq = p.txq = txq_new(flush, &p);
	p.tun = coalescer_new(64, true, true);
	BUG_ON(!cfg.arena || !p.txq || !p.tun || !(p.g = gateway_new(&cfg, p.now_us)));
	handle(&p, GATEWAY_IN_PORTAL_JOINED, NULL);
	handle(&p, GATEWAY_IN_PORTAL_MESSAGE, &init);
	handle(&p, GATEWAY_IN_PORTAL_MESSAGE, &flow);
	handle(&p, GATEWAY_IN_PORTAL_MESSAGE, &theirs);
	receive(&p, STUN_REQUEST, (struct request){.method = STUN_BINDING});
	drain(&p);
	for (uint64_t at_us; (at_us = gateway_deadline(p.g)) < 31 * US_PER_S;) {
		p.now_us = at_us > p.now_us ? at_us : p.now_us;
		handle(&p, GATEWAY_IN_TIMEOUT, NULL);
	}
	gateway_snapshot(p.g, &s);
	printf("after 30 s: %u direct path, %u relay\n", s.direct, s.relays_ready);
	gateway_free(p.g);
	coalescer_free(p.tun);
	txq_free(p.txq);
	secret_arena_free(cfg.arena);
	return 0;
}
