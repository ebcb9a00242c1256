#include "gateway/internal.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

static bool arrays_new(struct gateway *g)
{
	uint32_t max = g->cfg.max_clients;

	g->n_buckets = 64;
	while (g->n_buckets < max)
		g->n_buckets *= 2;
	g->conns = calloc(max, sizeof(struct conn *));
	g->free_slots = calloc(max, sizeof(*g->free_slots));
	g->by_id = calloc(g->n_buckets, sizeof(struct conn *));
	g->by_name = calloc(g->n_buckets, sizeof(struct conn *));
	g->touched = calloc(max, sizeof(struct conn *));
	g->with_news = calloc(max, sizeof(struct conn *));
	g->timers = heap_new(max + MAX_RELAYS + 1);
	if (!g->conns || !g->free_slots || !g->by_id || !g->by_name || !g->touched ||
	    !g->with_news || !g->timers)
		return false;
	for (uint32_t i = 0; i < max; i++)
		g->free_slots[i] = max - 1 - i;
	g->n_free = max;
	return true;
}

struct gateway *gateway_new(const struct gateway_config *cfg, uint64_t now_us)
{
	struct gateway *g = calloc(1, sizeof(*g));
	struct wg_config wg = {
	    .max_peers = cfg->max_clients + 1,
	    .unix_us = cfg->unix_us,
	    .rng = cfg->rng,
	    .arena = cfg->arena,
	    .log = cfg->log,
	};
	struct tunnel_config tunnel = {
	    .max_clients = cfg->max_clients, .rng = cfg->rng, .log = cfg->log};

	if (!g)
		return NULL;
	BUG_ON(cfg->max_clients == 0 || cfg->max_clients > GATEWAY_MAX_CLIENTS);
	g->cfg = *cfg;
	g->now_us = now_us;
	g->held_budget = GATEWAY_HELD_BYTES_ALL;
	rng_fill(&cfg->rng, g->hash_key, sizeof(g->hash_key));
	rng_fill(&cfg->rng, g->owner_key, sizeof(g->owner_key));
	rng_fill(&cfg->rng, g->fingerprint_key, sizeof(g->fingerprint_key));
	if (!arrays_new(g))
		goto free_gateway;
	g->hmac = stun_hmac_new();
	g->wg = wg_new(&wg, now_us);
	g->tunnel = tunnel_new(&tunnel);
	if (!g->hmac || !g->wg || !g->tunnel)
		goto free_gateway;
	tunnel_set_clock(g->tunnel, now_us, cfg->unix_us);
	return g;

free_gateway:
	gateway_free(g);
	return NULL;
}

void gateway_free(struct gateway *g)
{
	if (!g)
		return;
	for (uint32_t i = 0; g->conns && i < g->cfg.max_clients; i++)
		if (g->conns[i])
			conn_remove(g->conns[i]);
	outbox_clear(g);
	relays_free(g);
	tunnel_free(g->tunnel);
	wg_free(g->wg);
	stun_hmac_free(g->hmac);
	heap_free(g->timers);
	free(g->with_news);
	free(g->touched);
	free(g->by_name);
	free(g->by_id);
	free(g->free_slots);
	free(g->conns);
	sodium_memzero(g->fingerprint_key, sizeof(g->fingerprint_key));
	free(g);
}

const uint8_t *gateway_public_key(const struct gateway *g)
{
	return wg_public_key(g->wg);
}

enum log_level gateway_warn_level(struct gateway *g)
{
	return bucket_take(&g->warn_paid_us, g->now_us, WARN_LINE_S * US_PER_S, WARN_LINES)
		   ? LOG_WARN
		   : LOG_DEBUG;
}

/* At most one change of addresses a second, the latest wins; equal ones are no change. */
static void settle_addresses(struct gateway *g)
{
	if (ip_eq(&g->own_v4, &g->wanted_v4) && ip_eq(&g->own_v6, &g->wanted_v6))
		return;
	if (tunnel_has_addresses(g->tunnel) && g->now_us - g->tun_changed_us < US_PER_S)
		return;
	g->own_v4 = g->wanted_v4;
	g->own_v6 = g->wanted_v6;
	g->tun_changed = true;
	g->tun_changed_us = g->now_us;
	tunnel_set_addresses(g->tunnel, &g->own_v4, &g->own_v6);
	conn_close_gone(g);
}

/* Addresses elsewhere are refused as a whole message: the helper would not set them. */
static void handle_init(struct gateway *g, const struct portal_init *init)
{
	if (!ip_is_tunnel(&init->v4) || !ip_is_tunnel(&init->v6)) {
		log_say(g->cfg.log, gateway_warn_level(g), "tunnel",
			"init refused: addresses outside of the tunnel ranges");
		return;
	}
	relays_upsert(g, init->relays, init->n_relays);
	relays_refresh_others(g, init->relays, init->n_relays);
	g->wanted_v4 = init->v4;
	g->wanted_v6 = init->v6;
	settle_addresses(g);
	tunnel_prune(g->tunnel, init->authorizations, init->n_authorizations, g->now_us);
	conn_close_gone(g);
}

static void handle_presence(struct gateway *g, const struct portal_presence *presence)
{
	relays_remove(g, presence->disconnected, presence->n_disconnected);
	relays_upsert(g, presence->connected, presence->n_connected);
	relays_refresh_others(g, presence->connected, presence->n_connected);
}

static void handle_message(struct gateway *g, const struct portal_msg *msg)
{
	switch (msg->kind) {
	case PORTAL_INIT:
		handle_init(g, &msg->u.init);
		break;
	case PORTAL_AUTHORIZE_FLOW:
		conn_authorize(g, &msg->u.flow);
		break;
	case PORTAL_ICE_CANDIDATES:
		conn_remote_candidates(g, &msg->u.candidates, true);
		break;
	case PORTAL_INVALIDATE_ICE_CANDIDATES:
		conn_remote_candidates(g, &msg->u.candidates, false);
		break;
	case PORTAL_REJECT_ACCESS:
		tunnel_reject(g->tunnel, &msg->u.access.client, &msg->u.access.resource);
		conn_close_gone(g);
		break;
	case PORTAL_RESOURCE_UPDATED:
		tunnel_update_resource(g->tunnel, &msg->u.resource);
		conn_close_gone(g);
		break;
	case PORTAL_EXPIRY_UPDATED:
		tunnel_set_expiry(g->tunnel, &msg->u.access.client, &msg->u.access.resource,
				  msg->u.access.expires_at, g->now_us);
		conn_close_gone(g);
		break;
	case PORTAL_RELAYS_PRESENCE:
		handle_presence(g, &msg->u.presence);
		break;
	}
}

static void shut_down(struct gateway *g)
{
	struct turn_input in = {.kind = TURN_INPUT_DELETE};

	for (uint32_t i = 0; i < g->cfg.max_clients; i++)
		if (g->conns[i])
			conn_goodbye(g->conns[i]);
	for (size_t i = 0; i < MAX_RELAYS; i++)
		if (g->relays[i].turn)
			relays_feed(g, &g->relays[i], &in);
	txq_flush(g->cfg.txq);
}

static void run_timers(struct gateway *g)
{
	uint32_t key;

	/* Each key comes up once: what it sets anew lies behind @now_us or is taken at the next
	 * call. */
	for (uint32_t n = 0; n < g->cfg.max_clients + MAX_RELAYS + 1; n++) {
		if (!heap_take_due(g->timers, g->now_us, &key))
			break;
		if (key == timer_of_tunnel(g)) {
			tunnel_tick(g->tunnel, g->now_us);
			conn_close_gone(g);
		} else if (key >= g->cfg.max_clients) {
			relays_timeout(g, key - g->cfg.max_clients);
		} else if (g->conns[key]) {
			conn_timeout(g->conns[key]);
		}
	}
}

/* The end of every step. */
static void settle(struct gateway *g)
{
	conn_settle_all(g);
	relays_set_timers(g);
	if (g->memo_hits > 0) {
		factory_count_hits(g->cfg.factory, g->memo_hits);
		g->memo_hits = 0;
	}
	heap_set(g->timers, timer_of_tunnel(g), tunnel_deadline(g->tunnel));
}

void gateway_handle(struct gateway *g, const struct gateway_input *in, uint64_t now_us)
{
	g->now_us = now_us;
	switch (in->kind) {
	case GATEWAY_IN_PORTAL_MESSAGE:
		handle_message(g, in->u.message);
		break;
	case GATEWAY_IN_PORTAL_JOINED:
		g->joined = true;
		for (uint32_t i = 0; i < g->cfg.max_clients && g->lost_us != 0; i++)
			if (g->conns[i])
				news_repeat(g->conns[i]);
		break;
	case GATEWAY_IN_PORTAL_LOST:
		g->joined = false;
		g->lost_us = now_us;
		g->wanted_relays = false;
		outbox_clear(g);
		break;
	case GATEWAY_IN_ROAM:
		egress_roam(g);
		break;
	case GATEWAY_IN_LOCAL_DEAD:
		egress_local_dead(g, &in->u.local_dead);
		break;
	case GATEWAY_IN_SOCKET:
		egress_socket(g, in->u.socket.family, in->u.socket.was_port, in->u.socket.port);
		break;
	case GATEWAY_IN_CLOCK:
		egress_retry(g);
		relays_want(g);
		tunnel_set_clock(g->tunnel, now_us, in->u.wall_us);
		tunnel_tick(g->tunnel, now_us);
		conn_close_gone(g);
		settle_addresses(g);
		break;
	case GATEWAY_IN_SHUTDOWN:
		shut_down(g);
		break;
	case GATEWAY_IN_TIMEOUT:
		run_timers(g);
		break;
	}
	settle(g);
}

void gateway_packets_done(struct gateway *g, uint64_t now_us)
{
	g->now_us = now_us;
	settle(g);
}

uint64_t gateway_deadline(const struct gateway *g)
{
	return heap_first_us(g->timers);
}

bool gateway_client_at(const struct gateway *g, const struct ip_addr *tunnel, struct uuid *client)
{
	const struct tunnel_client *found = tunnel_find_at(g->tunnel, tunnel);
	const struct conn *c = found ? tunnel_client_owner(found) : NULL;

	if (!c || c->failed || c->left)
		return false;
	*client = c->client;
	return true;
}

void gateway_snapshot(const struct gateway *g, struct gateway_snapshot *out)
{
	struct tunnel_stats stats;
	struct wg_counters wg;

	memset(out, 0, sizeof(*out));
	tunnel_stats(g->tunnel, &stats);
	wg_counters(g->wg, &wg);
	out->clients = stats.clients;
	out->grants = stats.grants;
	for (uint32_t i = 0; i < g->cfg.max_clients; i++) {
		const struct conn *c = g->conns[i];

		if (!c)
			continue;
		out->connections++;
		out->connected += c->has_path;
		out->idle += c->idle;
		out->held += c->held.n;
		out->direct += c->has_path && !c->path.via_relay;
		out->relayed += c->has_path && c->path.via_relay;
	}
	for (size_t i = 0; i < MAX_RELAYS; i++) {
		struct endpoint ep;
		const struct turn *turn = g->relays[i].turn;

		out->relays += turn != NULL;
		out->relays_ready +=
		    turn && (turn_relayed(turn, IP_V4, &ep) || turn_relayed(turn, IP_V6, &ep));
	}
	out->to_tun_packets = g->to_tun_packets;
	out->from_tun_packets = g->from_tun_packets;
	out->udp_datagrams = g->udp_datagrams;
	for (int why = DROP_NONE + 1; why < DROP_KINDS; why++)
		out->drops += tunnel_drops(g->tunnel, (enum tunnel_drop)why);
	out->handshakes_ok = wg.handshakes_ok;
	out->handshakes_refused = wg.handshakes_refused;
	out->opened = wg.opened;
	out->open_refused = wg.open_refused;
	out->sealed = wg.sealed;
	out->seal_refused = wg.seal_refused;
	memcpy(out->dropped, g->dropped, sizeof(out->dropped));
	out->dropped[GATEWAY_DROP_UNKNOWN_INDEX] = wg.unknown_index;
}

const char *gateway_drop_name(enum gateway_drop why)
{
	static const char *const names[GATEWAY_DROPS] = {
	    [GATEWAY_DROP_UNKNOWN_CLIENT] = "unknown-client",
	    [GATEWAY_DROP_CANDIDATE] = "candidate",
	    [GATEWAY_DROP_NO_PKTINFO] = "no-pktinfo",
	    [GATEWAY_DROP_OVERSIZE] = "oversize",
	    [GATEWAY_DROP_REMOVED_RELAY] = "removed-relay",
	    [GATEWAY_DROP_CHANNEL] = "channel",
	    [GATEWAY_DROP_UNKNOWN_INDEX] = "unknown-index",
	    [GATEWAY_DROP_UNKNOWN_CHECK] = "unknown-check",
	    [GATEWAY_DROP_UNRECOGNIZED] = "unrecognized",
	    [GATEWAY_DROP_NEWS] = "news",
	};

	return names[why];
}
