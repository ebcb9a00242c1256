#include "gateway/internal.h"

#include "packet/bytes.h"
#include "turn/channel_data.h"

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

/* Two clients may have been given the same pair of ufrags: MESSAGE-INTEGRITY tells whose request it is. */
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

static void conn_log(const struct conn *c, enum log_level level, const char *message)
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
	if (c->tunnel)
		tunnel_client_set_owner(c->tunnel, NULL);
	heap_set(g->timers, c->slot, NEVER_US);
	wg_peer_free(c->wg);
	ice_free(c->ice);
	g->conns[c->slot] = NULL;
	g->free_slots[g->n_free++] = c->slot;
	free(c);
}

bool conn_send(struct conn *c, const struct ice_path *path, const uint8_t *data, size_t len)
{
	struct gateway *g = c->g;
	struct txq_key key = { .dst = path->remote };
	uint8_t header[TURN_CHANNEL_HEADER];
	struct writer w;
	uint16_t channel;

	if (!path->via_relay) {
		key.src = path->local;
		txq_send(g->cfg.txq, &key, data, len);
		return true;
	}
	if (!c->relay)
		return false;
	if (!turn_channel_out(c->relay, &path->remote, g->now_us, &channel, &key.dst)) {
		relays_bind(g, c->relay, &path->remote, wg_peer_index(c->wg));
		return false;
	}
	w = writer_of(txq_append(g->cfg.txq, txq_open(g->cfg.txq, &key), TURN_CHANNEL_HEADER + len),
	              TURN_CHANNEL_HEADER + len);
	channel_data_write_header(header, channel, (uint16_t)len);
	wr_bytes(&w, header, sizeof(header));
	wr_bytes(&w, data, len);
	return true;
}

static void conn_selected(struct conn *c, const struct ice_path *path)
{
	char id[UUID_TEXT_LEN + 1], local[ENDPOINT_TEXT_MAX], remote[ENDPOINT_TEXT_MAX];

	c->path = *path;
	c->has_path = true;
	uuid_format(&c->client, id);
	endpoint_format(&path->local, local);
	endpoint_format(&path->remote, remote);
	log_at(c->g->cfg.log, LOG_INFO, "snownet", "Path selected", KV_STR("client", id),
	       KV_STR("kind", path->via_relay ? "relayed" : "direct"), KV_STR("local", local),
	       KV_STR("remote", remote));
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
	struct ice_input in = { .kind = ICE_INPUT_PROFILE };

	if (c->idle == idle)
		return;
	c->idle = idle;
	in.u.profile = idle ? ICE_IDLE : ICE_ACTIVE;
	conn_feed(c, &in);
}

/* Any sign that the client is wanted: an IP packet, a candidate, an authorization. */
static void conn_wake(struct conn *c)
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
	struct ice_input in = { .kind = ICE_INPUT_TIMEOUT };
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
			if (c->idle && c->last_packet_us == g->now_us)
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
	enum { ROOM = WG_SCRATCH + TURN_CHANNEL_HEADER + WG_OVERHEAD + TUNNEL_GOODBYE_LEN };
	uint8_t buf[ROOM] = { 0 };
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
			continue;	/* it knows; removed by conn_settle_all() */
		conn_log(c, LOG_INFO, "No authorization left, closing connection");
		conn_goodbye(c);
		conn_remove(c);
	}
}

void conn_add_local(struct conn *c, const struct candidate *candidate)
{
	struct ice_input in = { .kind = ICE_INPUT_LOCAL_ADD, .u.candidate = *candidate };

	conn_set_profile(c, false);
	conn_feed(c, &in);
}

void conn_remove_local(struct conn *c, const struct candidate *candidate)
{
	struct ice_input in = { .kind = ICE_INPUT_LOCAL_REMOVE, .u.candidate = *candidate };
	struct candidate known[ICE_MAX_LOCAL];
	size_t n = ice_local_candidates(c->ice, known, ICE_MAX_LOCAL);

	for (size_t i = 0; i < n; i++)
		if (known[i].kind == candidate->kind && endpoint_eq(&known[i].addr, &candidate->addr))
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
		struct ice_input in = { .kind = add ? ICE_INPUT_REMOTE_ADD : ICE_INPUT_REMOTE_REMOVE };
		const char *text = msg->texts[i];

		if (!candidate_parse(&in.u.candidate, text, strlen(text), ice_remote_ufrag(c->ice)) ||
		    (add && !candidate_addr_usable(&in.u.candidate.addr))) {
			conn_log(c, LOG_DEBUG, "Candidate ignored");
			continue;
		}
		conn_feed(c, &in);
		if (add && in.u.candidate.kind != CANDIDATE_HOST && c->relay)
			relays_bind(g, c->relay, &in.u.candidate.addr, wg_peer_index(c->wg));
	}
}

/* Host and server-reflexive candidates of all relays, relayed ones of the connection's own. */
static void conn_add_all_local(struct conn *c)
{
	struct candidate known[TURN_MAX_CANDIDATES];

	for (size_t i = 0; i < MAX_RELAYS; i++) {
		struct turn *turn = c->g->relays[i].turn;
		size_t n = turn ? turn_candidates(turn, known) : 0;

		for (size_t k = 0; k < n; k++)
			if (known[k].kind != CANDIDATE_RELAY || turn == c->relay)
				conn_add_local(c, &known[k]);
	}
}

static void announce_again(struct conn *c)
{
	struct candidate known[ICE_MAX_LOCAL];
	size_t n;

	conn_wake(c);
	conn_add_all_local(c);
	n = ice_local_candidates(c->ice, known, ICE_MAX_LOCAL);
	for (size_t i = 0; i < n; i++)
		news_add(c, &known[i], false);
}

/* A keyed hash over all that must be equal for a connection to be reused; the secrets themselves are not kept. */
static void fingerprint(const struct gateway *g, const struct portal_flow *flow,
                        uint8_t out[FINGERPRINT_LEN])
{
	crypto_generichash_state state;
	const char *const texts[] = { flow->gateway_ice.username, flow->gateway_ice.password,
		                      flow->client_ice.username, flow->client_ice.password };

	crypto_generichash_init(&state, g->fingerprint_key, sizeof(g->fingerprint_key), FINGERPRINT_LEN);
	crypto_generichash_update(&state, flow->client_key, sizeof(flow->client_key));
	crypto_generichash_update(&state, flow->preshared_key, sizeof(flow->preshared_key));
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		crypto_generichash_update(&state, (const uint8_t *)texts[i], strlen(texts[i]) + 1);
	crypto_generichash_final(&state, out, FINGERPRINT_LEN);
	sodium_memzero(&state, sizeof(state));
}

static struct conn *conn_new(struct gateway *g, const struct portal_flow *flow, struct turn *relay)
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
	fingerprint(g, flow, c->fingerprint);
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

static bool conn_is_for(const struct conn *c, const struct portal_flow *flow)
{
	uint8_t wanted[FINGERPRINT_LEN];

	fingerprint(c->g, flow, wanted);
	return !c->failed && !c->left && sodium_memcmp(wanted, c->fingerprint, sizeof(wanted)) == 0;
}

static void flow_refused(const struct gateway *g, const struct portal_flow *flow, const char *why)
{
	char id[UUID_TEXT_LEN + 1];

	uuid_format(&flow->client, id);
	log_at(g->cfg.log, LOG_WARN, "tunnel", "Authorization refused", KV_STR("client", id),
	       KV_STR("reason", why));
}

/* Peer state and grant. True if the client holds at least one grant afterwards. */
static bool grant(struct gateway *g, const struct portal_flow *flow, struct tunnel_client **out)
{
	struct tunnel_grant wanted = {
		.client = flow->client,
		.client_v4 = flow->client_v4,
		.client_v6 = flow->client_v6,
		.resource = &flow->resource,
		.expires_at = flow->expires_at,
	};
	int rc = tunnel_authorize(g->tunnel, &wanted, g->now_us, out);

	if (rc < 0)
		flow_refused(g, flow, strerror(-rc));
	return rc == 0;
}

/*
 * authorize_flow. [spec portal 8, connections 9.2] A connection with equal parameters is reused; otherwise it is replaced
 * silently. The acknowledgement goes out before any candidate of the connection.
 */
void conn_authorize(struct gateway *g, const struct portal_flow *flow)
{
	struct conn *c = conn_find(g, &flow->client);
	struct tunnel_client *client = NULL;
	struct turn *relay = NULL;
	bool fresh = !c || !conn_is_for(c, flow);

	if (flow->v2) {
		flow_refused(g, flow, "protocol v2 was not asked for");
		return;
	}
	if (!tunnel_has_addresses(g->tunnel)) {
		flow_refused(g, flow, "no init seen yet");
		return;
	}
	if (fresh) {
		relay = relays_choose(g);
		if (!relay) {
			flow_refused(g, flow, "no relay");
			outbox_push(g, NULL);
			return;
		}
	}
	if (!grant(g, flow, &client))
		return;
	if (c)
		c->tunnel = tunnel_find(g->tunnel, &flow->client);
	conn_close_gone(g);
	c = conn_find(g, &flow->client);
	if (!fresh && !c) {
		/* Its expiry lies in the past and it was the last: nothing is granted, the answer is due all the same. */
		outbox_push(g, flow->ref);
		return;
	}
	if (fresh) {
		if (c)
			conn_remove(c);
		c = conn_new(g, flow, relay);
		if (!c) {
			flow_refused(g, flow, "key, credentials or limits");
			tunnel_reject(g->tunnel, &flow->client, &flow->resource.id);
			conn_close_gone(g);
			return;
		}
	}
	c->tunnel = client;
	if (client)
		tunnel_client_set_owner(client, c);
	outbox_push(g, flow->ref);
	if (fresh)
		conn_add_all_local(c);
	else
		announce_again(c);
	conn_touch(c);
}
