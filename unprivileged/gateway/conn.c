#include "gateway/internal.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define IDLE_SLACK_US (250 * US_PER_MS)

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

void conn_free(struct conn *c)
{
	if (!c)
		return;
	held_clear(&c->held, &c->g->held_budget);
	free(c->said);
	wg_peer_free(c->wg);
	ice_free(c->ice);
	free(c);
}

void conn_remove(struct conn *c)
{
	struct gateway *g = c->g;

	quota_end(c);
	conn_unindex(c);
	conn_untouch(c);
	news_forget(c);
	if (c->tunnel)
		tunnel_client_set_owner(c->tunnel, NULL);
	heap_set(g->timers, c->slot, NEVER_US);
	g->conns[c->slot] = NULL;
	g->free_slots[g->n_free++] = c->slot;
	conn_free(c);
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
	relays_bind(c->g, c->relay, &path->remote, c->owner);
	return false;
}

enum log_level conn_level(struct conn *c)
{
	return bucket_take(&c->quota.lines_us, c->g->now_us, CLIENT_LINE_S * US_PER_S, CLIENT_LINES)
		   ? LOG_INFO
		   : LOG_DEBUG;
}

static const char *kind_name(enum candidate_kind kind)
{
	switch (kind) {
	case CANDIDATE_HOST:
		return "host";
	case CANDIDATE_PRFLX:
		return "prflx";
	case CANDIDATE_SRFLX:
		return "srflx";
	case CANDIDATE_RELAY:
		return "relay";
	}
	return "";
}

static void log_path(struct conn *c)
{
	char id[UUID_TEXT_LEN + 1], local[ENDPOINT_TEXT_MAX], remote[ENDPOINT_TEXT_MAX];
	enum candidate_kind ours = c->path.via_relay ? CANDIDATE_RELAY : CANDIDATE_HOST;
	enum candidate_kind theirs = conn_remote_kind(c, &c->path.remote);
	bool relayed = ours == CANDIDATE_RELAY || theirs == CANDIDATE_RELAY;

	uuid_format(&c->client, id);
	endpoint_format(&c->path.local, local);
	endpoint_format(&c->path.remote, remote);
	log_at(c->g->cfg.log, conn_level(c), "snownet", "Path selected", KV_STR("client", id),
	       KV_STR("kind", relayed ? "relayed" : "direct"), KV_STR("local", local),
	       KV_STR("local_kind", kind_name(ours)), KV_STR("remote", remote),
	       KV_STR("remote_kind", kind_name(theirs)));
}

static void conn_selected(struct conn *c, const struct ice_path *path)
{
	const struct endpoint nowhere = {.port = 0};

	c->path = *path;
	c->has_path = true;
	egress_watch(c->g, &c->way, path->via_relay ? &nowhere : &path->remote);
	log_path(c);
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
	conn_feed_all(c, in, 1);
}

void conn_feed_all(struct conn *c, const struct ice_input *in, size_t n)
{
	for (size_t i = 0; i < n; i++)
		ice_handle(c->ice, &in[i], c->g->now_us);
	drain_ice(c);
	c->ice_us = ice_deadline(c->ice);
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
	conn_log(c, LOG_DEBUG, idle ? "Connection idle" : "Connection active");
	in.u.profile = idle ? ICE_IDLE : ICE_ACTIVE;
	conn_feed(c, &in);
}

void conn_wake(struct conn *c)
{
	c->active_us = c->g->now_us;
	conn_set_profile(c, false);
}

/* An idle connection's timers may be late by IDLE_SLACK_US, so that those of thousands wake us
 * together. */
static uint64_t conn_deadline(const struct conn *c)
{
	uint64_t at_us = min_u64(c->ice_us, wg_peer_deadline(c->wg));

	if ((c->has_path && !c->idle) || c->held.n > 0)
		at_us = min_u64(at_us, c->active_us + GATEWAY_IDLE_S * US_PER_S);
	if (c->idle && at_us < NEVER_US - IDLE_SLACK_US)
		at_us = (at_us + IDLE_SLACK_US - 1) / IDLE_SLACK_US * IDLE_SLACK_US;
	return at_us;
}

/* A packet puts the deadline off: the timer stays, and is set anew when it has found nothing due.
 */
static void conn_set_timer(struct conn *c)
{
	uint64_t at_us = conn_deadline(c);

	if (at_us < c->timer_us) {
		heap_set(c->g->timers, c->slot, at_us);
		c->timer_us = at_us;
	}
}

void conn_timeout(struct conn *c)
{
	struct ice_input in = {.kind = ICE_INPUT_TIMEOUT};
	uint64_t now_us = c->g->now_us;

	c->timer_us = NEVER_US;
	if (c->ice_us <= now_us)
		conn_feed(c, &in);
	if (c->active_us + GATEWAY_IDLE_S * US_PER_S <= now_us) {
		held_clear(&c->held, &c->g->held_budget);
		if (c->has_path)
			conn_set_profile(c, true);
	}
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
			if (c->idle && c->active_us + GATEWAY_IDLE_S * US_PER_S > g->now_us)
				conn_set_profile(c, false);
			drain_wg(c);
			if (c->held.n > 0) {
				packets_release(c);
				drain_wg(c);
			}
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
			conn_set_timer(c);
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

void conn_lose_path(struct conn *c)
{
	if (!c->has_path)
		return;
	c->has_path = false;
	/* Only who has a path may be idle: another one is looked for at full speed. */
	c->active_us = c->g->now_us;
	conn_log(c, LOG_DEBUG, "Path lost");
	wg_peer_set_path(c->wg, false, c->g->now_us);
}

struct conn *conn_new(struct gateway *g, const struct portal_flow *flow, struct relay *relay,
		      const struct conn *old)
{
	struct ice_config cfg = {
	    .local_ufrag = flow->gateway_ice.username,
	    .local_pwd = flow->gateway_ice.password,
	    .remote_ufrag = flow->client_ice.username,
	    .remote_pwd = flow->client_ice.password,
	    .rng = g->cfg.rng,
	    .arena = g->cfg.arena,
	    .hmac = g->hmac,
	};
	struct conn *c;

	if (g->n_free == 0 && !old)
		return NULL;
	c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->g = g;
	c->client = flow->client;
	c->owner = quota_owner(g, &flow->client);
	c->relay = relay;
	c->active_us = g->now_us;
	if (wg_peer_replace(g->wg, old ? old->wg : NULL, flow->client_key, flow->preshared_key, c,
			    g->now_us, &c->wg) < 0)
		goto free_conn;
	cfg.tag = wg_peer_index(c->wg);
	c->ice = ice_new(&cfg, g->now_us);
	if (!c->ice)
		goto free_conn;
	c->ice_us = ice_deadline(c->ice);
	c->timer_us = NEVER_US;
	return c;

free_conn:
	conn_free(c);
	return NULL;
}

void conn_enter(struct conn *c)
{
	struct gateway *g = c->g;

	c->slot = g->free_slots[--g->n_free];
	g->conns[c->slot] = c;
	conn_index(c);
	quota_begin(c);
	conn_log(c, conn_level(c), "Connection created");
	conn_touch(c);
}
