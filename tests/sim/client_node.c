#include "client_node.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client_path.h"
#include "world.h"

enum {
	TICK_MS = 100,
	PAUSED_TICK_MS = 1000,
	ASK_AGAIN_MS = 1000,
	RELAY_AGAIN_S = 2,
	CONNECT_S = 10, /* without an answer for this long it begins anew */
	MAX_PAYLOAD = 1100,
};

const uint8_t *client_node_key(const struct client_node *c)
{
	return wg_public_key(c->wg);
}

static uint64_t now(const struct client_node *c)
{
	return c->world->sim.now_us;
}

/* --- the connection --- */

static void connection_free(struct client_node *c)
{
	wg_peer_free(c->peer);
	ice_free(c->ice);
	c->peer = NULL;
	c->ice = NULL;
	c->has_path = false;
	c->chosen = -1;
	c->announced.n = c->withdrawn.n = 0;
	for (unsigned r = 0; r < WORLD_RESOURCES; r++)
		c->created[r] = false;
}

void client_path_lost(struct client_node *c, const char *why)
{
	sim_trace(&c->world->sim, "%s: connection over: %s", c->host->name, why);
	connection_free(c);
	memset(c->asked_us, 0, sizeof(c->asked_us));
}

static bool connection_new(struct client_node *c, const struct portal_credentials *credentials)
{
	struct ice_config cfg = {
	    .local_ufrag = credentials->client.username,
	    .local_pwd = credentials->client.password,
	    .remote_ufrag = credentials->gateway.username,
	    .remote_pwd = credentials->gateway.password,
	    .rng = c->rng,
	    .arena = c->world->arena,
	    .controlling = true,
	};

	if (wg_peer_add(c->wg, credentials->gateway_key, credentials->psk, NULL, now(c), &c->peer) <
	    0)
		return false;
	cfg.tag = wg_peer_index(c->peer);
	c->ice = ice_new(&cfg, now(c));
	BUG_ON(!c->ice);
	c->connected_us = now(c);
	client_path_begin(c);
	return true;
}

void client_node_created(struct client_node *c, unsigned resource,
			 const struct portal_credentials *credentials)
{
	if (memcmp(credentials->client_key, client_node_key(c), 32) != 0)
		return;
	c->created[resource] = true;
	c->had[resource] = true;
	if (!c->ice && !connection_new(c, credentials))
		sim_fail(&c->world->sim, "%s cannot make its connection", c->host->name);
	client_path_drain(c);
}

void client_node_ended(struct client_node *c, unsigned resource)
{
	bool any = false;

	c->created[resource] = false;
	for (unsigned r = 0; r < WORLD_RESOURCES; r++)
		any = any || c->created[r];
	if (!any && c->ice)
		client_path_lost(c, "no authorization is left");
}

void client_node_candidates(struct client_node *c, bool add, char (*texts)[CANDIDATE_TEXT_MAX],
			    size_t n)
{
	for (size_t i = 0; i < n && c->ice; i++) {
		struct ice_input in = {.kind =
					   add ? ICE_INPUT_REMOTE_ADD : ICE_INPUT_REMOTE_REMOVE};

		if (!candidate_parse(&in.u.candidate, texts[i], strlen(texts[i]),
				     ice_remote_ufrag(c->ice)))
			continue;
		sim_trace(&c->world->sim, "%s hears%s %s", c->host->name, add ? "" : " no more",
			  texts[i]);
		ice_handle(c->ice, &in, now(c));
		if (add && in.u.candidate.kind != CANDIDATE_HOST)
			client_path_bind(c, &in.u.candidate.addr);
		client_path_drain(c);
	}
}

/* --- relays --- */

static void relay_start(struct client_node *c, unsigned i)
{
	struct portal_relay entry = portal_node_relay_entry(&c->world->portal, i, c->username);
	struct turn_config cfg = {
	    .id = entry.id,
	    .v4 = entry.v4,
	    .v6 = entry.v6,
	    .username = entry.username,
	    .password = entry.password,
	    .rng = c->rng,
	    .arena = c->world->arena,
	};

	if (c->relays[i].turn && turn_same_config(c->relays[i].turn, &cfg)) {
		client_path_relay_refresh(c, i);
		return;
	}
	client_path_relay_lost(c, i);
	c->relays[i].turn = turn_new(&cfg, now(c));
	BUG_ON(!c->relays[i].turn);
}

void client_node_relays(struct client_node *c)
{
	for (unsigned i = 0; i < c->world->n_relays; i++) {
		if (c->world->portal.listed[i])
			relay_start(c, i);
		else
			client_path_relay_lost(c, i);
	}
	client_path_drain(c);
}

/* --- life --- */

static void keys_new(struct client_node *c)
{
	struct wg_config cfg = {
	    .max_peers = 1,
	    .unix_us = (uint64_t)world_wall_us(c->world),
	    .rng = c->rng,
	    .arena = c->world->arena,
	};

	wg_free(c->wg);
	c->wg = wg_new(&cfg, now(c));
	BUG_ON(!c->wg);
	snprintf(c->username, sizeof(c->username), "2145916800:client%u-%llu", c->index,
		 (unsigned long long)c->resets);
}

void client_node_new(struct client_node *c, struct world *world, unsigned index, struct host *host,
		     uint64_t seed)
{
	*c = (struct client_node){.world = world, .host = host, .index = index, .chosen = -1};
	c->id = (struct uuid){{0xcc, [15] = (uint8_t)index}};
	c->rng = rng_from_seed(&c->seed, seed);
	c->tick_at_us = world->sim.now_us + 50 * US_PER_MS;
	host->receive = client_path_receive;
	host->ctx = c;
	keys_new(c);
	client_node_relays(c);
}

static void all_lost(struct client_node *c)
{
	connection_free(c);
	for (unsigned i = 0; i < PORTAL_RELAYS; i++) {
		turn_free(c->relays[i].turn);
		c->relays[i] = (struct client_relay){.turn = NULL};
	}
}

void client_node_free(struct client_node *c)
{
	all_lost(c);
	wg_free(c->wg);
}

void client_node_reset(struct client_node *c)
{
	sim_trace(&c->world->sim, "%s begins anew", c->host->name);
	all_lost(c);
	c->resets++;
	keys_new(c);
	memset(c->asked_us, 0, sizeof(c->asked_us));
	client_node_relays(c);
}

static void ask(struct client_node *c, unsigned resource)
{
	bool ready = false;

	for (unsigned i = 0; i < PORTAL_RELAYS; i++)
		ready = ready || (c->relays[i].turn && turn_rtt_us(c->relays[i].turn) > 0);
	if (!c->wants[resource] || c->created[resource] || !ready ||
	    (c->asked_us[resource] != 0 &&
	     now(c) - c->asked_us[resource] < ASK_AGAIN_MS * US_PER_MS))
		return;
	c->asked_us[resource] = now(c);
	portal_node_request(&c->world->portal, c->index, resource);
}

static void send_inner(struct client_node *c, const struct inner *in)
{
	uint8_t buf[WG_SCRATCH + WG_OVERHEAD + IP_INNER_MTU];
	uint8_t *msg = buf + WG_SCRATCH;
	size_t len = inner_write(msg + WG_DATA_HEADER, IP_INNER_MTU, in);

	BUG_ON(len == 0);
	len = wg_seal(c->peer, msg, len, now(c));
	if (len > 0)
		client_path_send(c, &c->path, msg, len);
}

static size_t payload(const struct client_node *c, unsigned resource)
{
	return INNER_MIN_PAYLOAD + (now(c) / 977 + resource) % 2 * MAX_PAYLOAD;
}

static void send_one(struct client_node *c, unsigned resource)
{
	struct inner in = {.client = c->index, .resource = resource};

	if (!wg_can_seal(c->peer, now(c)))
		return;
	in.payload = payload(c, resource);
	in.seq = truth_sent(&c->world->truth, c->index);
	send_inner(c, &in);
}

void client_node_forge(struct client_node *c, unsigned in_name_of, unsigned resource)
{
	struct inner in = {.client = in_name_of, .resource = resource, .seq = UINT32_MAX};

	in.payload = payload(c, resource);
	if (c->has_path && wg_can_seal(c->peer, now(c)))
		send_inner(c, &in);
}

static void resource_sends(struct client_node *c, unsigned resource)
{
	struct inner in = {.client = c->index, .resource = resource, .reply = true};
	struct truth *t = &c->world->truth;
	uint8_t packet[IP_INNER_MTU];
	size_t len;

	in.payload = payload(c, resource);
	in.seq =
	    truth_sent_by_resource(t, c->index, resource, gateway_node_wall_us(&c->world->gateway));
	len = inner_write(packet, sizeof(packet), &in);
	BUG_ON(len == 0);
	gateway_node_tun(&c->world->gateway, packet, len);
}

void client_node_unasked(struct client_node *c)
{
	for (unsigned r = 0; r < c->world->n_resources; r++)
		resource_sends(c, r);
}

void client_node_resume(struct client_node *c, bool from_resource)
{
	c->resumed_us = now(c);
	c->tick_at_us = now(c) + (from_resource ? TICK_MS : 0) * US_PER_MS;
	if (from_resource)
		client_node_unasked(c);
}

static void send_all(struct client_node *c)
{
	uint64_t heard_us = c->world->truth.echo_us[c->index];

	if (heard_us < c->connected_us)
		heard_us = c->connected_us;
	if (heard_us < c->resumed_us)
		heard_us = c->resumed_us;
	if (c->ice && now(c) - heard_us > CONNECT_S * US_PER_S)
		client_path_lost(c, "no answer");
	for (unsigned r = 0; r < c->world->n_resources; r++) {
		ask(c, r);
		if (c->has_path && (c->had[r] || c->sends_all))
			send_one(c, r);
	}
}

static void tick(struct client_node *c)
{
	c->tick_at_us = now(c) + (c->world->paused ? PAUSED_TICK_MS : TICK_MS) * US_PER_MS;
	for (unsigned i = 0; i < c->world->n_relays; i++)
		if (!c->relays[i].turn && c->world->portal.listed[i] &&
		    now(c) >= c->relays[i].again_us)
			relay_start(c, i);
	client_path_follow(c);
	if (!c->world->paused)
		send_all(c);
}

uint64_t client_node_deadline(const struct client_node *c)
{
	return c->off ? NEVER_US : min_u64(c->tick_at_us, client_path_deadline(c));
}

void client_node_timeout(struct client_node *c)
{
	if (c->tick_at_us <= now(c))
		tick(c);
	client_path_timeout(c);
	client_path_drain(c);
}
