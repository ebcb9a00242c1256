#include "idle.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "inner.h"
#include "wireguard/wg.h"

enum {
	PER_SECOND = WG_HANDSHAKES_PER_S - 10, /* that begin to connect: without cookies */
	GATEWAY_PORT = 52625,
	COALESCE = 256,
	SPARE_SLOTS = 64,
	SECRET_TEXT = 64,
	PORTAL_MS = 40, /* from one end of the portal to the other */
	LINK_MS = 20,
	ECHO_MS = 3,
	FIRST_CLIENT = 256, /* of 10.0.0.0/8 */
	PATIENCE_S = 60,
};

static const uint64_t start_unix_us = UINT64_C(1790000000) * US_PER_S;
static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";

static struct ip_addr parse(const char *text)
{
	struct ip_addr ip = {.family = IP_NONE};

	BUG_ON(!ip_parse(&ip, text, strlen(text)));
	return ip;
}

struct endpoint idle_client_address(uint32_t client)
{
	uint32_t n = FIRST_CLIENT + client;
	uint8_t bytes[4] = {10, (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};

	return (struct endpoint){.ip = ip_v4(bytes), .port = CROWD_PORT};
}

static uint32_t client_at(const struct ip_addr *ip)
{
	return (uint32_t)(ip->bytes[1] << 16 | ip->bytes[2] << 8 | ip->bytes[3]) - FIRST_CLIENT;
}

struct endpoint idle_gateway_address(void)
{
	return (struct endpoint){.ip = parse("192.0.2.1"), .port = GATEWAY_PORT};
}

static struct uuid client_id(uint32_t client)
{
	return (struct uuid){
	    {0xcc, [13] = (uint8_t)(client >> 16), (uint8_t)(client >> 8), (uint8_t)client}};
}

static uint32_t client_of(const struct uuid *id)
{
	return (uint32_t)(id->bytes[13] << 16 | id->bytes[14] << 8 | id->bytes[15]);
}

/* --- what is the core's and what is not --- */

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts); /* others may use the processor too */
	return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

static void core_begin(struct idle *s)
{
	memory_enter(&s->memory);
	idle_memory_enter(&s->crypto);
	s->entered_blocks = idle_blocks();
	s->entered_ns = now_ns();
}

static void core_pause(struct idle *s)
{
	s->event_ns += now_ns() - s->entered_ns;
	s->event_blocks += idle_blocks() - s->entered_blocks;
	idle_memory_leave();
	memory_leave();
}

static void core_end(struct idle *s)
{
	struct idle_work *w = &s->work;

	core_pause(s);
	w->events[s->cause]++;
	w->ns[s->cause] += s->event_ns;
	w->blocks += s->event_blocks;
	if (s->event_ns > w->worst_ns[s->cause])
		w->worst_ns[s->cause] = s->event_ns;
	if (s->event_blocks > w->worst_blocks)
		w->worst_blocks = s->event_blocks;
	s->event_ns = s->event_blocks = 0;
}

/* --- one thing that happens later --- */

struct later {
	struct idle *s;
	uint32_t client;
	struct endpoint src, dst;
	size_t len;
	uint8_t *data; /* WG_SCRATCH bytes before it */
	uint8_t memory[];
};

static struct later *later_new(struct idle *s, uint32_t client, const void *data, size_t len)
{
	struct later *l = malloc(sizeof(*l) + WG_SCRATCH + len);

	BUG_ON(!l);
	*l = (struct later){.s = s, .client = client, .len = len};
	l->data = l->memory + WG_SCRATCH;
	if (len > 0)
		memcpy(l->data, data, len);
	return l;
}

static void later(struct idle *s, uint64_t ms, void (*run)(void *ctx, void *data), struct later *l)
{
	struct sim_event e = {.run = run, .drop = free, .ctx = s, .data = l};

	sim_at(&s->sim, s->sim.now_us + ms * US_PER_MS, &e);
}

/* --- the core's outputs --- */

static void client_gets(void *ctx, void *data)
{
	struct idle *s = ctx;
	struct later *l = data;

	crowd_receive(s->crowd, l->client, &l->src, l->data, l->len, s->sim.now_us);
	free(l);
}

static void send_one(struct idle *s, const struct txq_batch *batch, const uint8_t *data, size_t len)
{
	struct outgoing out = {.dst = batch->key.dst, .data = data, .len = len};
	struct later *l;

	s->work.sent++;
	if (ip_eq(&batch->key.dst.ip, &s->relay_host->address[0])) {
		out.src.port = GATEWAY_PORT;
		(void)net_send(&s->net, s->gateway_host, &out);
		return;
	}
	l = later_new(s, client_at(&batch->key.dst.ip), data, len);
	l->src = idle_gateway_address();
	later(s, LINK_MS, client_gets, l);
}

static void send_out(void *ctx, const struct txq_batch *batch)
{
	struct idle *s = ctx;

	if (s->mute)
		return;
	core_pause(s);
	for (size_t at = 0; at < batch->len; at += batch->segment)
		send_one(s, batch, batch->data + at, min_size(batch->segment, batch->len - at));
	core_begin(s);
}

static void client_hears(void *ctx, void *data)
{
	struct idle *s = ctx;
	struct later *l = data;

	crowd_candidate(s->crowd, l->client, (const char *)l->data, s->sim.now_us);
	free(l);
}

static void client_connects(void *ctx, void *data);

static void portal_gets(struct idle *s, const struct portal_send *send)
{
	switch (send->kind) {
	case PORTAL_SEND_FLOW_AUTHORIZED:
		later(s, PORTAL_MS, client_connects,
		      later_new(s, (uint32_t)strtoul(send->flow_ref, NULL, 10), NULL, 0));
		break;
	case PORTAL_SEND_CANDIDATES:
		for (size_t i = 0; i < send->n_candidates; i++)
			later(s, PORTAL_MS, client_hears,
			      later_new(s, client_of(&send->client), send->candidates[i],
					strlen(send->candidates[i]) + 1));
		break;
	case PORTAL_SEND_INVALIDATED:
	case PORTAL_SEND_NO_RELAYS:
	case PORTAL_SEND_JOIN:
	case PORTAL_SEND_HEARTBEAT:
		break;
	}
}

static void settle(struct idle *s)
{
	struct gateway_output out;

	while (gateway_poll(s->g, &out)) {
		core_pause(s);
		if (out.kind == GATEWAY_OUT_PORTAL)
			portal_gets(s, &out.u.portal);
		core_begin(s);
	}
	txq_flush(s->txq);
	core_end(s);
}

/* --- the core's inputs --- */

static enum idle_cause cause_of_input(enum gateway_input_kind kind)
{
	return kind == GATEWAY_IN_TIMEOUT ? IDLE_TIMER
	       : kind == GATEWAY_IN_CLOCK ? IDLE_CLOCK
					  : IDLE_MESSAGE;
}

static void handle(struct idle *s, const struct gateway_input *in)
{
	s->cause = cause_of_input(in->kind);
	core_begin(s);
	gateway_handle(s->g, in, s->sim.now_us);
	settle(s);
}

static void tun_gets(void *ctx, void *data)
{
	struct idle *s = ctx;
	struct later *l = data;
	struct vnet_hdr hdr = {.flags = 0};

	s->cause = IDLE_PACKET;
	core_begin(s);
	gateway_tun_in(s->g, &hdr, l->data, l->len, s->sim.now_us);
	gateway_packets_done(s->g, s->sim.now_us);
	settle(s);
	free(l);
}

/* A single packet for the resource, which answers. */
static void resource_gets(struct idle *s, const struct tun_write *w)
{
	uint8_t packet[IP_MAX_SUPER], answer[IP_INNER_MTU];
	struct vnet_hdr hdr;
	struct inner in;
	size_t len = tun_write_gather(w, &hdr, packet, sizeof(packet));

	if (inner_read(&in, packet, len) != INNER_OK)
		return;
	in.reply = true;
	len = inner_write(answer, sizeof(answer), &in);
	later(s, ECHO_MS, tun_gets, later_new(s, 0, answer, len));
}

static enum idle_cause cause_of_datagram(const struct gateway_datagrams *in)
{
	if (in->src.port == RELAY_PORT)
		return IDLE_RELAY;
	switch (wg_classify(in->data, in->len)) {
	case WG_NOT_WIREGUARD:
		return IDLE_CHECK;
	case WG_INITIATION:
	case WG_RESPONSE:
	case WG_COOKIE_REPLY:
		return IDLE_HANDSHAKE;
	case WG_DATA:
		break;
	}
	return IDLE_DATA;
}

static void datagram(struct idle *s, const struct gateway_datagrams *in)
{
	struct tun_write w;

	s->cause = cause_of_datagram(in);
	core_begin(s);
	gateway_udp_in(s->g, in, 1, s->tun, s->sim.now_us);
	core_pause(s);
	while (coalescer_next(s->tun, &w))
		resource_gets(s, &w);
	core_begin(s);
	gateway_packets_done(s->g, s->sim.now_us);
	settle(s);
}

static void gateway_gets(void *ctx, void *data)
{
	struct later *l = data;
	struct gateway_datagrams in = {
	    .data = l->data,
	    .len = l->len,
	    .segment = l->len,
	    .src = l->src,
	    .dst = idle_gateway_address(),
	};

	datagram(ctx, &in);
	free(l);
}

static void from_relay(void *ctx, struct datagram *d)
{
	struct gateway_datagrams in = {
	    .data = d->bytes, .len = d->len, .segment = d->len, .src = d->src, .dst = d->dst};

	datagram(ctx, &in);
}

/* --- the clients' outputs --- */

static void crowd_sends(void *ctx, uint32_t client, const struct endpoint *dst, const uint8_t *data,
			size_t len)
{
	struct idle *s = ctx;
	struct endpoint gateway = idle_gateway_address();
	struct later *l;

	if (!endpoint_eq(dst, &gateway))
		return; /* nobody has bound a channel for what goes by the relay */
	l = later_new(s, client, data, len);
	l->src = idle_client_address(client);
	later(s, LINK_MS, gateway_gets, l);
}

static void gateway_hears(void *ctx, void *data)
{
	struct later *l = data;
	struct portal_msg msg = {.kind = PORTAL_ICE_CANDIDATES};
	struct gateway_input in = {.kind = GATEWAY_IN_PORTAL_MESSAGE, .u.message = &msg};
	char text[1][CANDIDATE_TEXT_MAX];

	snprintf(text[0], sizeof(text[0]), "%s", (const char *)l->data);
	msg.u.candidates.client = client_id(l->client);
	msg.u.candidates.texts = text;
	msg.u.candidates.n = 1;
	handle(ctx, &in);
	free(l);
}

static void crowd_announces(void *ctx, uint32_t client, const char *candidate)
{
	later(ctx, PORTAL_MS, gateway_hears,
	      later_new(ctx, client, candidate, strlen(candidate) + 1));
}

/* --- the portal --- */

static void letters(char *out, size_t n, const uint8_t *bytes)
{
	for (size_t i = 0; i < n; i++)
		out[i] = alphabet[bytes[i] % 32];
	out[n] = '\0';
}

static struct crowd_grant grant_of(const struct idle *s, uint32_t client)
{
	struct crowd_grant grant;
	uint8_t hash[64];

	crypto_generichash(hash, sizeof(hash), crowd_key(s->crowd, client), 32, NULL, 0);
	letters(grant.client_ice.username, 4, hash);
	letters(grant.client_ice.password, 22, hash + 4);
	letters(grant.gateway_ice.username, 4, hash + 26);
	letters(grant.gateway_ice.password, 22, hash + 30);
	memcpy(grant.gateway_key, gateway_public_key(s->g), 32);
	crypto_generichash(grant.preshared_key, 32, hash, sizeof(hash), NULL, 0);
	return grant;
}

static void client_connects(void *ctx, void *data)
{
	struct idle *s = ctx;
	struct later *l = data;
	struct crowd_grant grant = grant_of(s, l->client);
	struct endpoint local = idle_client_address(l->client);

	BUG_ON(!crowd_connect(s->crowd, l->client, &grant, &local, s->sim.now_us));
	free(l);
}

static void ask(struct idle *s, uint32_t client)
{
	struct crowd_grant grant = grant_of(s, client);
	char ref[16];
	struct portal_msg msg = {.kind = PORTAL_AUTHORIZE_FLOW};
	struct portal_flow *f = &msg.u.flow;
	struct gateway_input in = {.kind = GATEWAY_IN_PORTAL_MESSAGE, .u.message = &msg};

	snprintf(ref, sizeof(ref), "%u", client);
	f->ref = ref;
	f->resource.id = (struct uuid){{0xaa}};
	f->resource.kind = RESOURCE_CIDR;
	f->resource.prefix = inner_prefix(CROWD_RESOURCE);
	f->client = client_id(client);
	memcpy(f->client_key, crowd_key(s->crowd, client), 32);
	memcpy(f->preshared_key, grant.preshared_key, 32);
	f->client_v4 = inner_client_address(CROWD_NUMBER + client, IP_V4);
	f->client_v6 = inner_client_address(CROWD_NUMBER + client, IP_V6);
	f->gateway_ice = grant.gateway_ice;
	f->client_ice = grant.client_ice;
	f->expires_at = TUNNEL_NEVER_EXPIRES;
	handle(s, &in);
}

static void join(struct idle *s)
{
	struct portal_relay relay = {.id = s->relay.id, .v4 = relay_node_address(&s->relay, IP_V4)};
	char password[RELAY_TEXT];
	struct portal_msg msg = {.kind = PORTAL_INIT};
	struct gateway_input in = {.kind = GATEWAY_IN_PORTAL_JOINED};

	snprintf(relay.username, sizeof(relay.username), "2145916800:gateway");
	relay_node_password(&s->relay, relay.username, password);
	snprintf(relay.password, sizeof(relay.password), "%s", password);
	msg.u.init.v4 = parse("100.64.0.1");
	msg.u.init.v6 = parse("fd00:2021:1111::1");
	msg.u.init.relays = &relay;
	msg.u.init.n_relays = 1;
	handle(s, &in);
	in = (struct gateway_input){.kind = GATEWAY_IN_PORTAL_MESSAGE, .u.message = &msg};
	handle(s, &in);
}

/* --- time --- */

static void tick(struct idle *s)
{
	struct gateway_input in = {.kind = GATEWAY_IN_CLOCK};

	s->clock_at_us += US_PER_S;
	in.u.wall_us = start_unix_us + s->sim.now_us;
	handle(s, &in);
}

static void step(struct idle *s)
{
	struct gateway_input in = {.kind = GATEWAY_IN_TIMEOUT};
	uint64_t now_us = s->sim.now_us;

	if (gateway_deadline(s->g) <= now_us) {
		handle(s, &in);
	} else if (crowd_deadline(s->crowd) <= now_us) {
		crowd_timeout(s->crowd, now_us);
	} else if (s->clock_at_us <= now_us) {
		tick(s);
	} else if (s->connect_at_us <= now_us) {
		s->connect_at_us += US_PER_S / PER_SECOND;
		ask(s, s->asked++);
		if (s->asked == s->clients)
			s->connect_at_us = NEVER_US;
	} else {
		sim_run_one(&s->sim);
	}
}

void idle_run(struct idle *s, uint64_t us)
{
	uint64_t end_us = s->sim.now_us + us;

	for (;;) {
		uint64_t at = min_u64(gateway_deadline(s->g), crowd_deadline(s->crowd));

		at = min_u64(at, min_u64(sim_next_us(&s->sim), s->clock_at_us));
		at = min_u64(at, s->connect_at_us);
		if (at > end_us)
			break;
		if (at > s->sim.now_us)
			s->sim.now_us = at;
		step(s);
	}
	s->sim.now_us = end_us;
}

bool idle_connect_all(struct idle *s)
{
	uint64_t patience_s = s->clients / PER_SECOND + PATIENCE_S;
	struct crowd_counters counters = {.echoes = 0};

	s->connect_at_us = s->sim.now_us;
	for (uint64_t i = 0; i < patience_s && counters.echoes < s->clients; i++) {
		idle_run(s, US_PER_S);
		crowd_counters(s->crowd, &counters);
	}
	return counters.echoes == s->clients;
}

size_t idle_secrets(const struct idle *s)
{
	return (size_t)GATEWAY_MAX_CLIENTS * GATEWAY_SECRETS_PER_CLIENT + SPARE_SLOTS -
	       secret_slots_free(s->arena);
}

/* --- life --- */

static bool core_new(struct idle *s)
{
	struct gateway_config cfg = {
	    .max_clients = GATEWAY_MAX_CLIENTS,
	    .unix_us = start_unix_us + s->sim.now_us,
	    .rng = rng_from_seed(&s->gateway_seed, s->seed),
	};

	s->arena = secret_arena_new((size_t)GATEWAY_MAX_CLIENTS * GATEWAY_SECRETS_PER_CLIENT +
				    SPARE_SLOTS);
	s->txq = txq_new(send_out, s);
	s->tun = coalescer_new(COALESCE, true, true);
	if (!s->arena || !s->txq || !s->tun)
		return false;
	cfg.arena = s->arena;
	cfg.txq = s->txq;
	core_begin(s);
	s->g = gateway_new(&cfg, s->sim.now_us);
	core_end(s);
	return s->g != NULL;
}

static void network_new(struct idle *s)
{
	s->net.sim = &s->sim;
	s->gateway_host = net_add(&s->net, "gateway");
	s->relay_host = net_add(&s->net, "relay");
	s->gateway_host->address[0] = idle_gateway_address().ip;
	s->relay_host->address[0] = parse("192.0.2.10");
	s->gateway_host->receive = from_relay;
	s->gateway_host->ctx = s;
	relay_node_init(&s->relay, &s->net, s->relay_host, s->seed);
	s->relay.id = (struct uuid){{0xbb}};
}

struct idle *idle_new(uint32_t clients, uint64_t seed)
{
	struct idle *s = calloc(1, sizeof(*s));
	struct crowd_config crowd = {
	    .clients = clients,
	    .unix_us = start_unix_us,
	    .send = crowd_sends,
	    .announce = crowd_announces,
	    .ctx = s,
	};

	if (!s)
		return NULL;
	s->clients = clients;
	s->seed = seed;
	sim_init(&s->sim, seed, false);
	network_new(s);
	crowd.rng = rng_from_seed(&s->crowd_seed, seed + 1);
	s->crowd = crowd_new(&crowd, s->sim.now_us);
	s->clock_at_us = s->sim.now_us;
	s->connect_at_us = NEVER_US;
	if (!s->crowd || !core_new(s)) {
		idle_free(s);
		return NULL;
	}
	join(s);
	idle_run(s, 5 * US_PER_S);
	return s;
}

void idle_free(struct idle *s)
{
	if (!s)
		return;
	core_begin(s);
	gateway_free(s->g);
	core_end(s);
	crowd_free(s->crowd);
	coalescer_free(s->tun);
	txq_free(s->txq);
	secret_arena_free(s->arena);
	sim_free(&s->sim);
	free(s);
}
