#include "gateway/internal.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

static uint32_t bucket_of(const struct gateway *g, const void *key, size_t len)
{
	uint8_t hash[crypto_shorthash_BYTES];
	uint32_t v;

	crypto_shorthash(hash, key, len, g->hash_key);
	memcpy(&v, hash, sizeof(v));
	return v & (g->n_buckets - 1);
}

struct conn *conn_find(struct gateway *g, const struct uuid *client)
{
	struct conn *c = g->by_id[bucket_of(g, client, sizeof(*client))];

	while (c && !uuid_eq(&c->client, client))
		c = c->next_by_id;
	return c;
}

/* Two clients may have been given the same pair of ufrags: MESSAGE-INTEGRITY tells whose request it
 * is. */
struct conn *conn_by_username(struct gateway *g, const struct stun_msg *msg, const uint8_t *buf,
			      size_t len)
{
	struct conn *c;

	if (!msg->username.data)
		return NULL;
	c = g->by_name[bucket_of(g, msg->username.data, msg->username.len)];
	while (c && !ice_owns_request(c->ice, msg, buf, len))
		c = c->next_by_name;
	return c;
}

void conn_log(const struct conn *c, enum log_level level, const char *message)
{
	char id[UUID_TEXT_LEN + 1];

	uuid_format(&c->client, id);
	log_at(c->g->cfg.log, level, "snownet", message, KV_STR("client", id));
}

static void conn_index(struct conn *c)
{
	struct gateway *g = c->g;
	const char *name = ice_username(c->ice);
	struct conn **head = &g->by_id[bucket_of(g, &c->client, sizeof(c->client))];

	c->next_by_id = *head;
	*head = c;
	head = &g->by_name[bucket_of(g, name, strlen(name))];
	c->next_by_name = *head;
	*head = c;
}

static void conn_unindex(struct conn *c)
{
	struct gateway *g = c->g;
	const char *name = ice_username(c->ice);
	struct conn **at = &g->by_id[bucket_of(g, &c->client, sizeof(c->client))];

	while (*at != c)
		at = &(*at)->next_by_id;
	*at = c->next_by_id;
	at = &g->by_name[bucket_of(g, name, strlen(name))];
	while (*at != c)
		at = &(*at)->next_by_name;
	*at = c->next_by_name;
}

void conn_touch(struct conn *c)
{
	if (!c->touched) {
		c->touched = true;
		c->g->touched[c->g->n_touched++] = c;
	}
}

static void conn_untouch(struct conn *c)
{
	struct gateway *g = c->g;

	for (uint32_t i = 0; c->touched && i < g->n_touched; i++) {
		if (g->touched[i] == c) {
			g->touched[i] = g->touched[--g->n_touched];
			c->touched = false;
		}
	}
}

/* Silent: no goodbye. The authorizations stay with the tunnel. */
void conn_remove(struct conn *c)
{
	struct gateway *g = c->g;

	conn_unindex(c);
	conn_untouch(c);
	news_forget(c);
	free(c->said);
	if (c->tunnel)
		tunnel_client_set_owner(c->tunnel, NULL);
	heap_set(g->timers, c->slot, NEVER_US);
	wg_peer_free(c->wg);
	ice_free(c->ice);
	g->conns[c->slot] = NULL;
	g->free_slots[g->n_free++] = c->slot;
	free(c);
}

struct said *conn_said(struct conn *c)
{
	if (!c->said)
		c->said = calloc(1, sizeof(*c->said));
	return c->said;
}

bool conn_send(struct conn *c, const struct ice_path *path, const uint8_t *data, size_t len)
{
	struct txq_key key = {.src = path->local, .dst = path->remote};

	if (!path->via_relay) {
		txq_send(c->g->cfg.txq, &key, data, len);
		return true;
	}
	if (!c->relay)
		return false;
	if (relays_send(c->g, c->relay, &path->remote, data, len))
		return true;
	relays_bind(c->g, c->relay, &path->remote, wg_peer_index(c->wg));
	return false;
}

static void conn_selected(struct conn *c, const struct ice_path *path)
{
	const struct endpoint nowhere = {.port = 0};
	char id[UUID_TEXT_LEN + 1], local[ENDPOINT_TEXT_MAX], remote[ENDPOINT_TEXT_MAX];
	/* The client decides how often it moves. */
	bool few = bucket_take(&c->paths_paid_us, c->g->now_us, PATH_LINE_S * US_PER_S, PATH_LINES);

	c->path = *path;
	c->has_path = true;
	egress_watch(c->g, &c->way, path->via_relay ? &nowhere : &path->remote);
	uuid_format(&c->client, id);
	endpoint_format(&path->local, local);
	endpoint_format(&path->remote, remote);
	log_at(c->g->cfg.log, few ? LOG_INFO : LOG_DEBUG, "snownet", "Path selected",
	       KV_STR("client", id), KV_STR("kind", path->via_relay ? "relayed" : "direct"),
	       KV_STR("local", local), KV_STR("remote", remote));
	wg_peer_set_path(c->wg, true, c->g->now_us);
}

static void drain_ice(struct conn *c)
{
	struct ice_output out;

	while (ice_poll(c->ice, &out)) {
		switch (out.kind) {
		case ICE_OUTPUT_TRANSMIT:
			conn_send(c, &out.u.transmit.path, out.u.transmit.data, out.u.transmit.len);
			break;
		case ICE_OUTPUT_ANNOUNCE:
			news_add(c, &out.u.announce, false);
			break;
		case ICE_OUTPUT_SELECTED:
			conn_selected(c, &out.u.selected);
			break;
		case ICE_OUTPUT_UNSELECTED:
			conn_lose_path(c);
			break;
		case ICE_OUTPUT_STATE:
			if (out.u.state == ICE_FAILED) {
				conn_log(c, LOG_INFO, "Connection failed: no path to the client");
				c->failed = true;
			}
			break;
		}
	}
}

void conn_feed(struct conn *c, const struct ice_input *in)
{
	ice_handle(c->ice, in, c->g->now_us);
	drain_ice(c);
	conn_touch(c);
}

static void drain_wg(struct conn *c)
{
	struct wg_event event;

	while (wg_peer_poll(c->wg, &event, c->g->now_us)) {
		switch (event.kind) {
		case WG_EVENT_SEND:
			conn_send(c, &c->path, event.data, event.len);
			break;
		case WG_EVENT_ESTABLISHED:
			conn_log(c, LOG_INFO, "Session established");
			break;
		case WG_EVENT_EXPIRED:
			conn_log(c, LOG_INFO, "Connection failed: no WireGuard session");
			c->failed = true;
			break;
		}
	}
}

static void conn_set_profile(struct conn *c, bool idle)
{
	struct ice_input in = {.kind = ICE_INPUT_PROFILE};

	if (c->idle == idle)
		return;
	c->idle = idle;
	in.u.profile = idle ? ICE_IDLE : ICE_ACTIVE;
	conn_feed(c, &in);
}

/* Any sign that the client is wanted: an IP packet, a candidate, an authorization. */
void conn_wake(struct conn *c)
{
	c->last_packet_us = c->g->now_us;
	conn_set_profile(c, false);
}

static uint64_t conn_deadline(const struct conn *c)
{
	uint64_t at = min_u64(ice_deadline(c->ice), wg_peer_deadline(c->wg));

	if (c->has_path && !c->idle)
		at = min_u64(at, c->last_packet_us + GATEWAY_IDLE_S * US_PER_S);
	return at;
}

void conn_timeout(struct conn *c)
{
	struct ice_input in = {.kind = ICE_INPUT_TIMEOUT};
	uint64_t now_us = c->g->now_us;

	if (ice_deadline(c->ice) <= now_us)
		conn_feed(c, &in);
	if (c->has_path && !c->idle && c->last_packet_us + GATEWAY_IDLE_S * US_PER_S <= now_us)
		conn_set_profile(c, true);
	if (wg_peer_deadline(c->wg) <= now_us)
		wg_peer_timeout(c->wg, now_us);
	conn_touch(c);
}

/* Ends every step: messages that became due go out, dead connections go away, timers are set. */
void conn_settle_all(struct gateway *g)
{
	while (g->n_touched > 0) {
		struct conn *c = g->touched[--g->n_touched];

		c->touched = false;
		if (!c->failed && !c->left) {
			if (c->idle && c->last_packet_us + GATEWAY_IDLE_S * US_PER_S > g->now_us)
				conn_set_profile(c, false);
			drain_wg(c);
		}
		if (c->left) {
			conn_log(c, LOG_INFO, "Client said goodbye");
			tunnel_remove_client(g->tunnel, &c->client);
			c->tunnel = NULL;
			conn_close_gone(g);
			if (conn_find(g, &c->client) == c)
				conn_remove(c);
		} else if (c->failed) {
			conn_remove(c);
		} else {
			heap_set(g->timers, c->slot, conn_deadline(c));
		}
	}
}

/* Through the session if there is one and a path; nobody waits for an answer. */
void conn_goodbye(struct conn *c)
{
	enum {
		ROOM = WG_SCRATCH + TURN_CHANNEL_HEADER + WG_OVERHEAD + TUNNEL_GOODBYE_LEN
	};
	uint8_t buf[ROOM] = {0};
	uint8_t *msg = buf + WG_SCRATCH;
	size_t len;

	if (!c->has_path || !wg_peer_established(c->wg))
		return;
	tunnel_goodbye(msg + WG_DATA_HEADER);
	len = wg_seal(c->wg, msg, TUNNEL_GOODBYE_LEN, c->g->now_us);
	if (len > 0)
		conn_send(c, &c->path, msg, len);
}

/* Clients whose last authorization went: goodbye and close. */
void conn_close_gone(struct gateway *g)
{
	struct uuid client;

	while (tunnel_take_gone(g->tunnel, &client)) {
		struct conn *c = conn_find(g, &client);

		if (!c)
			continue;
		c->tunnel = NULL;
		if (c->left)
			continue; /* it knows; removed by conn_settle_all() */
		conn_log(c, LOG_INFO, "No authorization left, closing connection");
		conn_goodbye(c);
		conn_remove(c);
	}
}

void conn_add_local(struct conn *c, const struct candidate *candidate)
{
	struct ice_input in = {.kind = ICE_INPUT_LOCAL_ADD, .u.candidate = *candidate};

	if (c->idle)
		conn_wake(c);
	conn_feed(c, &in);
}

void conn_add_relayed(struct conn *c, const struct candidate *candidate)
{
	struct candidate peers[ICE_MAX_REMOTE_SIGNALLED];
	size_t n = ice_remote_candidates(c->ice, peers, ICE_MAX_REMOTE_SIGNALLED);

	for (size_t i = 0; i < n && candidate->kind == CANDIDATE_RELAY && c->relay; i++)
		if (peers[i].kind != CANDIDATE_HOST &&
		    peers[i].addr.ip.family == candidate->addr.ip.family)
			relays_bind(c->g, c->relay, &peers[i].addr, wg_peer_index(c->wg));
	conn_add_local(c, candidate);
}

void conn_lose_path(struct conn *c)
{
	c->has_path = false;
	wg_peer_set_path(c->wg, false, c->g->now_us);
}

void conn_remove_local(struct conn *c, const struct candidate *candidate)
{
	struct ice_input in = {.kind = ICE_INPUT_LOCAL_REMOVE, .u.candidate = *candidate};
	struct candidate known[ICE_MAX_LOCAL];
	size_t n = ice_local_candidates(c->ice, known, ICE_MAX_LOCAL);

	for (size_t i = 0; i < n; i++)
		if (known[i].kind == candidate->kind &&
		    endpoint_eq(&known[i].addr, &candidate->addr))
			news_add(c, &known[i], true);
	conn_feed(c, &in);
}

void conn_remote_candidates(struct gateway *g, const struct portal_candidates *msg, bool add)
{
	struct conn *c = conn_find(g, &msg->client);

	if (!c) {
		char id[UUID_TEXT_LEN + 1];

		uuid_format(&msg->client, id);
		log_at(g->cfg.log, LOG_DEBUG, "snownet", "Candidates for an unknown client",
		       KV_STR("client", id));
		return;
	}
	conn_wake(c);
	for (size_t i = 0; i < msg->n; i++) {
		struct ice_input in = {.kind =
					   add ? ICE_INPUT_REMOTE_ADD : ICE_INPUT_REMOTE_REMOVE};
		const char *text = msg->texts[i];

		if (!candidate_parse(&in.u.candidate, text, strlen(text),
				     ice_remote_ufrag(c->ice)) ||
		    (add && !candidate_addr_usable(&in.u.candidate.addr)) ||
		    (add && !bucket_take(&c->candidates_paid_us, g->now_us,
					 CANDIDATE_INTERVAL_MS * US_PER_MS, CANDIDATE_BURST))) {
			conn_log(c, LOG_DEBUG, "Candidate ignored");
			continue;
		}
		conn_feed(c, &in);
		if (add && in.u.candidate.kind != CANDIDATE_HOST && c->relay)
			relays_bind(g, c->relay, &in.u.candidate.addr, wg_peer_index(c->wg));
	}
}

struct conn *conn_new(struct gateway *g, const struct portal_flow *flow, struct relay *relay)
{
	struct ice_config cfg = {
	    .local_ufrag = flow->gateway_ice.username,
	    .local_pwd = flow->gateway_ice.password,
	    .remote_ufrag = flow->client_ice.username,
	    .remote_pwd = flow->client_ice.password,
	    .rng = g->cfg.rng,
	    .arena = g->cfg.arena,
	};
	struct conn *c;

	if (g->n_free == 0)
		return NULL;
	c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->g = g;
	c->client = flow->client;
	c->relay = relay;
	c->last_packet_us = g->now_us;
	if (wg_peer_add(g->wg, flow->client_key, flow->preshared_key, c, g->now_us, &c->wg) < 0)
		goto free_conn;
	cfg.tag = wg_peer_index(c->wg);
	c->ice = ice_new(&cfg, g->now_us);
	if (!c->ice)
		goto free_peer;
	c->slot = g->free_slots[--g->n_free];
	g->conns[c->slot] = c;
	conn_index(c);
	return c;

free_peer:
	wg_peer_free(c->wg);
free_conn:
	free(c);
	return NULL;
}
