#include "portal_node.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "world.h"

/* A message on its way to the gateway. */
struct downlink {
	uint32_t epoch;
	unsigned client, resource;
	struct portal_msg msg;
};

/* One on its way to a client. */
struct notice {
	struct portal_node *p;
	unsigned client, resource;
	enum notice_kind {
		NOTICE_CREATED,
		NOTICE_ENDED,
		NOTICE_CANDIDATES,
		NOTICE_INVALIDATED,
		NOTICE_RELAYS
	} kind;
	struct portal_credentials credentials;
	size_t n;
	char texts[][CANDIDATE_TEXT_MAX];
};

/* One from a client. */
struct request {
	unsigned client, resource;
	uint8_t key[32];
};

static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";

/* --- credentials --- */

static void letters(char *out, size_t n, const uint8_t *bytes)
{
	for (size_t i = 0; i < n; i++)
		out[i] = alphabet[bytes[i] % 32];
	out[n] = '\0';
}

/* They stay equal as long as both keys do. [spec connections 2.1] */
static void derive(struct portal_node *p, const uint8_t client_key[32],
		   struct portal_credentials *out)
{
	uint8_t seed[64], hash[64];

	memcpy(out->client_key, client_key, 32);
	memcpy(out->gateway_key, gateway_public_key(p->world->gateway.g), 32);
	memcpy(seed, out->client_key, 32);
	memcpy(seed + 32, out->gateway_key, 32);
	crypto_generichash(hash, sizeof(hash), seed, sizeof(seed), NULL, 0);
	letters(out->client.username, 4, hash);
	letters(out->client.password, 22, hash + 4);
	/* Few different ones: several clients get the same. [spec connections 2.1] */
	hash[26] %= 2;
	memset(hash + 27, 0, 3);
	letters(out->gateway.username, 4, hash + 26);
	letters(out->gateway.password, 22, hash + 30);
	crypto_generichash(out->psk, 32, hash, sizeof(hash), NULL, 0);
	world_secret_text(p->world, out->client.password);
	world_secret_text(p->world, out->gateway.password);
	world_secret_bytes(p->world, out->psk, 32);
}

struct portal_relay portal_node_relay_entry(struct portal_node *p, unsigned relay,
					    const char *username)
{
	const struct relay_node *r = &p->world->relays[relay];
	struct portal_relay out = {.id = r->id};
	char nonce[RELAY_TEXT];

	out.v4 = relay_node_address(r, IP_V4);
	out.v6 = relay_node_address(r, IP_V6);
	snprintf(out.username, sizeof(out.username), "%s", username);
	relay_node_password(r, username, out.password);
	world_secret_text(p->world, out.password);
	relay_node_nonce(r, nonce);
	world_secret_text(p->world, nonce);
	return out;
}

/* --- to the gateway --- */

static void message_free(struct portal_msg *msg)
{
	switch (msg->kind) {
	case PORTAL_INIT:
		free(msg->u.init.relays);
		free(msg->u.init.authorizations);
		break;
	case PORTAL_AUTHORIZE_FLOW:
		free(msg->u.flow.ref);
		break;
	case PORTAL_ICE_CANDIDATES:
	case PORTAL_INVALIDATE_ICE_CANDIDATES:
		free(msg->u.candidates.texts);
		break;
	case PORTAL_RELAYS_PRESENCE:
		free(msg->u.presence.disconnected);
		free(msg->u.presence.connected);
		break;
	case PORTAL_REJECT_ACCESS:
	case PORTAL_RESOURCE_UPDATED:
	case PORTAL_EXPIRY_UPDATED:
		break;
	}
}

static void downlink_free(void *data)
{
	struct downlink *d = data;

	message_free(&d->msg);
	free(d);
}

static struct truth_grant *grant_of(struct portal_node *p, unsigned client, unsigned resource)
{
	return &p->world->truth.grants[client][resource];
}

/* Either the flow is acknowledged, or nothing has changed. */
static void tell_flow(struct portal_node *p, const struct downlink *d)
{
	struct truth_grant *g = grant_of(p, d->client, d->resource), before = *g;

	g->may = true;
	if (!before.may || before.expires_at < d->msg.u.flow.expires_at)
		g->expires_at = d->msg.u.flow.expires_at;
	p->acknowledged = 0;
	gateway_node_message(&p->world->gateway, &d->msg);
	if (p->acknowledged == (uint32_t)strtoul(d->msg.u.flow.ref, NULL, 10)) {
		g->must = true;
		g->expires_at = d->msg.u.flow.expires_at;
	} else {
		*g = before;
	}
}

static void tell_init(struct portal_node *p, const struct downlink *d)
{
	const struct portal_init *init = &d->msg.u.init;

	gateway_node_message(&p->world->gateway, &d->msg);
	for (unsigned c = 0; c < WORLD_CLIENTS; c++) {
		for (unsigned r = 0; r < WORLD_RESOURCES; r++) {
			struct truth_grant *g = grant_of(p, c, r);
			bool listed = false;

			for (size_t i = 0; i < init->n_authorizations; i++) {
				const struct tunnel_authorization *a = &init->authorizations[i];

				if (a->client.bytes[15] != c || a->resource.bytes[15] != r)
					continue;
				listed = true;
				g->expires_at = a->expires_at;
			}
			if (!listed)
				*g = (struct truth_grant){.may = false};
		}
	}
}

static void tell(void *ctx, void *data)
{
	struct portal_node *p = ctx;
	struct downlink *d = data;
	struct truth_grant *g = grant_of(p, d->client, d->resource);

	if (p->joined && p->epoch == d->epoch && !gateway_node_awake(&p->world->gateway)) {
		/* It waits in the gateway's socket. */
		struct sim_event e = {.run = tell, .drop = downlink_free, .ctx = p, .data = d};

		sim_at(&p->world->sim, p->world->gateway.asleep_until_us + 1, &e);
		return;
	}
	if (!p->joined || p->epoch != d->epoch)
		goto out;
	if (d->msg.kind == PORTAL_AUTHORIZE_FLOW) {
		tell_flow(p, d);
	} else if (d->msg.kind == PORTAL_INIT) {
		tell_init(p, d);
	} else {
		gateway_node_message(&p->world->gateway, &d->msg);
		if (d->msg.kind == PORTAL_REJECT_ACCESS)
			*g = (struct truth_grant){.may = false};
		if (d->msg.kind == PORTAL_EXPIRY_UPDATED)
			g->expires_at = d->msg.u.access.expires_at;
	}
out:
	downlink_free(d);
}

static struct downlink *downlink_new(enum portal_msg_kind kind, unsigned client, unsigned resource)
{
	struct downlink *d = calloc(1, sizeof(*d));

	BUG_ON(!d);
	d->msg.kind = kind;
	d->client = client;
	d->resource = resource;
	return d;
}

/* Takes @d over. */
static void to_gateway(struct portal_node *p, struct downlink *d)
{
	struct sim_event e = {.run = tell, .drop = downlink_free, .ctx = p, .data = d};

	if (!p->joined) {
		downlink_free(d);
		return;
	}
	d->epoch = p->epoch;
	sim_at(&p->world->sim, p->world->sim.now_us + p->delay_us, &e);
}

static struct uuid resource_id(unsigned resource)
{
	return (struct uuid){{0xaa, [15] = (uint8_t)resource}};
}

static void send_flow(struct portal_node *p, const struct request *q)
{
	struct downlink *d = downlink_new(PORTAL_AUTHORIZE_FLOW, q->client, q->resource);
	struct portal_flow *f = &d->msg.u.flow;
	struct portal_credentials c;
	char ref[32];

	derive(p, q->key, &c);
	p->refs++;
	memcpy(p->flow_keys[p->refs % PORTAL_FLOWS], q->key, 32);
	snprintf(ref, sizeof(ref), "%u %u %u", p->refs, q->client, q->resource);
	f->ref = strdup(ref);
	f->resource.id = resource_id(q->resource);
	f->resource.kind = RESOURCE_CIDR;
	f->resource.prefix = inner_prefix(q->resource);
	f->client = p->world->clients[q->client].id;
	memcpy(f->client_key, c.client_key, 32);
	memcpy(f->preshared_key, c.psk, 32);
	f->client_v4 = inner_client_address(q->client, IP_V4);
	f->client_v6 = inner_client_address(q->client, IP_V6);
	f->gateway_ice = c.gateway;
	f->client_ice = c.client;
	f->expires_at = p->lifetime_s == 0
			    ? TUNNEL_NEVER_EXPIRES
			    : world_wall_us(p->world) / (int64_t)US_PER_S + p->lifetime_s;
	p->expires_at[q->client][q->resource] = f->expires_at;
	to_gateway(p, d);
}

/* Each gateway process is another user for the product's relays. [spec connections 6] */
static size_t list_relays(struct portal_node *p, struct portal_relay **out)
{
	char username[RELAY_TEXT];
	size_t n = 0;

	snprintf(username, sizeof(username), "2145916800:gateway%u",
		 p->world->relays[0].standard ? 0 : p->gateways);
	*out = calloc(PORTAL_RELAYS, sizeof(**out));
	BUG_ON(!*out);
	for (unsigned i = 0; i < p->world->n_relays; i++)
		if (p->listed[i])
			(*out)[n++] = portal_node_relay_entry(p, i, username);
	return n;
}

static void send_init(struct portal_node *p)
{
	struct downlink *d = downlink_new(PORTAL_INIT, 0, 0);
	struct portal_init *init = &d->msg.u.init;

	init->v4 = world_ip("100.64.0.1");
	init->v6 = world_ip("fd00:2021:1111::1");
	init->n_relays = list_relays(p, &init->relays);
	init->authorizations =
	    calloc(WORLD_CLIENTS * WORLD_RESOURCES, sizeof(*init->authorizations));
	BUG_ON(!init->authorizations);
	for (unsigned c = 0; c < p->world->n_clients; c++)
		for (unsigned r = 0; r < WORLD_RESOURCES; r++)
			if (p->known[c][r])
				init->authorizations[init->n_authorizations++] =
				    (struct tunnel_authorization){
					.client = p->world->clients[c].id,
					.resource = resource_id(r),
					.expires_at = p->expires_at[c][r],
				    };
	to_gateway(p, d);
}

static void send_presence(struct portal_node *p, const struct uuid *gone)
{
	struct downlink *d = downlink_new(PORTAL_RELAYS_PRESENCE, 0, 0);
	struct portal_presence *presence = &d->msg.u.presence;

	if (gone) {
		presence->disconnected = malloc(sizeof(*gone));
		BUG_ON(!presence->disconnected);
		presence->disconnected[0] = *gone;
		presence->n_disconnected = 1;
	}
	presence->n_connected = list_relays(p, &presence->connected);
	to_gateway(p, d);
}

static void send_access(struct portal_node *p, enum portal_msg_kind kind, unsigned client,
			unsigned resource)
{
	struct downlink *d = downlink_new(kind, client, resource);

	d->msg.u.access.client = p->world->clients[client].id;
	d->msg.u.access.resource = resource_id(resource);
	d->msg.u.access.expires_at = p->expires_at[client][resource];
	to_gateway(p, d);
}

/* --- to the clients --- */

static void notify(void *ctx, void *data)
{
	struct portal_node *p = ctx;
	struct notice *n = data;
	struct client_node *c = &p->world->clients[n->client];

	switch (n->kind) {
	case NOTICE_CREATED:
		client_node_created(c, n->resource, &n->credentials);
		break;
	case NOTICE_ENDED:
		client_node_ended(c, n->resource);
		break;
	case NOTICE_CANDIDATES:
	case NOTICE_INVALIDATED:
		client_node_candidates(c, n->kind == NOTICE_CANDIDATES, n->texts, n->n);
		break;
	case NOTICE_RELAYS:
		client_node_relays(c);
		break;
	}
	free(n);
}

static struct notice *notice_new(enum notice_kind kind, unsigned client, size_t texts)
{
	struct notice *n = calloc(1, sizeof(*n) + texts * CANDIDATE_TEXT_MAX);

	BUG_ON(!n);
	n->kind = kind;
	n->client = client;
	n->n = texts;
	return n;
}

static void to_client(struct portal_node *p, struct notice *n, uint64_t delay_us)
{
	struct sim_event e = {.run = notify, .drop = free, .ctx = p, .data = n};

	sim_at(&p->world->sim, p->world->sim.now_us + delay_us, &e);
}

static void end(struct portal_node *p, unsigned client, unsigned resource)
{
	struct notice *n = notice_new(NOTICE_ENDED, client, 0);

	p->known[client][resource] = false;
	n->resource = resource;
	to_client(p, n, p->delay_us);
}

/* An authorization may be over by now. */
static void on_expiry(void *ctx, void *data)
{
	struct portal_node *p = ctx;
	const struct request *q = data;

	if (p->known[q->client][q->resource] &&
	    p->expires_at[q->client][q->resource] <= world_wall_us(p->world) / (int64_t)US_PER_S)
		end(p, q->client, q->resource);
	free(data);
}

static void await_expiry(struct portal_node *p, unsigned client, unsigned resource)
{
	int64_t left_us;
	struct request *q = calloc(1, sizeof(*q));
	struct sim_event e = {.run = on_expiry, .drop = free, .ctx = p, .data = q};

	BUG_ON(!q);
	q->client = client;
	q->resource = resource;
	if (p->expires_at[client][resource] == TUNNEL_NEVER_EXPIRES) {
		free(q);
		return;
	}
	left_us = p->expires_at[client][resource] * (int64_t)US_PER_S - world_wall_us(p->world);
	sim_at(&p->world->sim, p->world->sim.now_us + (left_us > 0 ? (uint64_t)left_us : 0), &e);
}

static void flow_created(struct portal_node *p, const char *ref)
{
	unsigned number, client, resource;
	struct notice *n;

	BUG_ON(sscanf(ref, "%u %u %u", &number, &client, &resource) != 3);
	p->acknowledged = number;
	p->known[client][resource] = true;
	await_expiry(p, client, resource);
	n = notice_new(NOTICE_CREATED, client, 0);
	n->resource = resource;
	derive(p, p->flow_keys[number % PORTAL_FLOWS], &n->credentials);
	to_client(p, n, 2 * p->delay_us);
}

static void gateway_candidates(struct portal_node *p, const struct portal_send *send)
{
	bool add = send->kind == PORTAL_SEND_CANDIDATES;
	struct notice *n = notice_new(add ? NOTICE_CANDIDATES : NOTICE_INVALIDATED,
				      send->client.bytes[15], send->n_candidates);

	for (size_t i = 0; i < send->n_candidates; i++)
		snprintf(n->texts[i], CANDIDATE_TEXT_MAX, "%s", send->candidates[i]);
	to_client(p, n, 2 * p->delay_us + p->extra_us);
}

void portal_node_send(struct portal_node *p, const struct portal_send *send)
{
	switch (send->kind) {
	case PORTAL_SEND_FLOW_AUTHORIZED:
		flow_created(p, send->flow_ref);
		break;
	case PORTAL_SEND_CANDIDATES:
	case PORTAL_SEND_INVALIDATED:
		gateway_candidates(p, send);
		break;
	case PORTAL_SEND_NO_RELAYS:
		send_presence(p, NULL);
		break;
	case PORTAL_SEND_JOIN:
	case PORTAL_SEND_HEARTBEAT:
		BUG_ON(true);
	}
}

/* --- from the clients --- */

static void on_request(void *ctx, void *data)
{
	struct portal_node *p = ctx;
	struct request *q = data;

	if (p->joined && p->allowed[q->client][q->resource])
		send_flow(p, q);
	free(q);
}

void portal_node_request(struct portal_node *p, unsigned client, unsigned resource)
{
	struct request *q = calloc(1, sizeof(*q));
	struct sim_event e = {.run = on_request, .drop = free, .ctx = p, .data = q};

	BUG_ON(!q);
	q->client = client;
	q->resource = resource;
	memcpy(q->key, client_node_key(&p->world->clients[client]), 32);
	sim_at(&p->world->sim, p->world->sim.now_us + p->delay_us, &e);
}

/* One hop is enough of a model: the portal only passes it on. */
void portal_node_candidates(struct portal_node *p, unsigned client, bool add,
			    char (*texts)[CANDIDATE_TEXT_MAX], size_t n)
{
	struct downlink *d =
	    downlink_new(add ? PORTAL_ICE_CANDIDATES : PORTAL_INVALIDATE_ICE_CANDIDATES, client, 0);
	struct portal_candidates *c = &d->msg.u.candidates;

	c->client = p->world->clients[client].id;
	c->texts = calloc(n, sizeof(*texts));
	BUG_ON(!c->texts);
	memcpy(c->texts, texts, n * sizeof(*texts));
	c->n = n;
	to_gateway(p, d);
}

/* --- what the operator does --- */

void portal_node_init(struct portal_node *p, struct world *world)
{
	*p = (struct portal_node){.world = world, .delay_us = 20 * US_PER_MS};
}

static void on_join(void *ctx, void *data)
{
	struct portal_node *p = ctx;

	(void)data;
	if (!p->joined && !p->world->gateway.down)
		portal_node_join(p);
}

void portal_node_join(struct portal_node *p)
{
	p->epoch++;
	p->joined = true;
	gateway_node_joined(&p->world->gateway, true);
	send_init(p);
}

void portal_node_outage(struct portal_node *p, uint64_t us)
{
	struct sim_event e = {.run = on_join, .ctx = p};

	if (!p->joined)
		return;
	p->joined = false;
	p->away_us = p->world->sim.now_us;
	gateway_node_joined(&p->world->gateway, false);
	sim_at(&p->world->sim, p->world->sim.now_us + us, &e);
}

void portal_node_gateway_gone(struct portal_node *p)
{
	p->joined = false;
	p->away_us = p->world->sim.now_us;
	p->gateways++;
	for (unsigned c = 0; c < p->world->n_clients; c++)
		for (unsigned r = 0; r < WORLD_RESOURCES; r++) {
			*grant_of(p, c, r) = (struct truth_grant){.may = false};
			if (p->known[c][r])
				end(p, c, r);
		}
}

void portal_node_allow(struct portal_node *p, unsigned client, unsigned resource)
{
	p->allowed[client][resource] = true;
}

void portal_node_reject(struct portal_node *p, unsigned client, unsigned resource)
{
	p->allowed[client][resource] = false;
	send_access(p, PORTAL_REJECT_ACCESS, client, resource);
	end(p, client, resource);
}

void portal_node_set_expiry(struct portal_node *p, unsigned client, unsigned resource,
			    int64_t seconds)
{
	if (!p->known[client][resource])
		return;
	p->expires_at[client][resource] = world_wall_us(p->world) / (int64_t)US_PER_S + seconds;
	send_access(p, PORTAL_EXPIRY_UPDATED, client, resource);
	await_expiry(p, client, resource);
}

void portal_node_relay(struct portal_node *p, unsigned relay, bool listed)
{
	struct uuid id = p->world->relays[relay].id;

	p->listed[relay] = listed;
	send_presence(p, listed ? NULL : &id);
	sim_trace(&p->world->sim, "portal: %s is %slisted", p->world->relays[relay].host->name,
		  listed ? "" : "no more ");
	for (unsigned c = 0; c < p->world->n_clients; c++)
		to_client(p, notice_new(NOTICE_RELAYS, c, 0), p->delay_us);
}
