/*
 * authorize_flow: who gets a connection, and whether the one that is there will do. [spec portal 8,
 * connections 9.2]
 */
#include "gateway/internal.h"

#include <sodium.h>
#include <string.h>

static void announce_again(struct conn *c)
{
	struct candidate known[ICE_MAX_LOCAL];
	size_t n;

	conn_wake(c);
	conn_add_found(c);
	n = ice_local_candidates(c->ice, known, ICE_MAX_LOCAL);
	for (size_t i = 0; i < n; i++)
		news_add(c, &known[i], false);
}

/* A keyed hash over all that must be equal for a connection to be reused; the secrets themselves
 * are not kept. */
static void fingerprint(const struct gateway *g, const struct portal_flow *flow,
			uint8_t out[FINGERPRINT_LEN])
{
	crypto_generichash_state state;
	const char *const texts[] = {flow->gateway_ice.username, flow->gateway_ice.password,
				     flow->client_ice.username, flow->client_ice.password};

	crypto_generichash_init(&state, g->fingerprint_key, sizeof(g->fingerprint_key),
				FINGERPRINT_LEN);
	crypto_generichash_update(&state, flow->client_key, sizeof(flow->client_key));
	crypto_generichash_update(&state, flow->preshared_key, sizeof(flow->preshared_key));
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		crypto_generichash_update(&state, (const uint8_t *)texts[i], strlen(texts[i]) + 1);
	crypto_generichash_final(&state, out, FINGERPRINT_LEN);
	sodium_memzero(&state, sizeof(state));
}

static bool is_for(const struct conn *c, const struct portal_flow *flow)
{
	uint8_t wanted[FINGERPRINT_LEN];

	fingerprint(c->g, flow, wanted);
	return !c->failed && !c->left && sodium_memcmp(wanted, c->fingerprint, sizeof(wanted)) == 0;
}

static void flow_log(struct gateway *g, const struct portal_flow *flow, const char *message,
		     const char *why)
{
	char id[UUID_TEXT_LEN + 1];

	uuid_format(&flow->client, id);
	log_at(g->cfg.log, gateway_warn_level(g), "tunnel", message, KV_STR("client", id),
	       KV_STR("reason", why));
}

static void refused(struct gateway *g, const struct portal_flow *flow, const char *why)
{
	flow_log(g, flow, "Authorization refused", why);
}

/* Peer state and grant. *out: the client if it holds any grant afterwards, else NULL. */
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
		refused(g, flow, strerror(-rc));
	else if (flow->expires_at == TUNNEL_NEVER_EXPIRES)
		flow_log(g, flow, "Authorization never expires", "expires_at is null");
	return rc == 0;
}

/* A connection to take the place of @old, if there is one; refused: @old goes on. */
static struct conn *make(struct gateway *g, const struct portal_flow *flow, struct relay *relay,
			 const struct conn *old)
{
	struct conn *c = conn_new(g, flow, relay, old);

	if (c)
		fingerprint(g, flow, c->fingerprint);
	else
		refused(g, flow, "key, credentials or limits");
	return c;
}

/* Silently in the place of the client's old connection, if it still has one. */
static void enter(struct conn *c)
{
	struct conn *old = conn_find(c->g, &c->client);

	if (old) {
		conn_log(old, conn_level(old), "Connection replaced");
		conn_remove(old);
	}
	conn_enter(c);
}

/* @fresh: the connection to be entered, or NULL where the one that is there will do. */
static void take(struct gateway *g, const struct portal_flow *flow, struct tunnel_client *client,
		 struct conn *fresh)
{
	struct conn *c = fresh;

	if (fresh)
		enter(fresh);
	else
		c = conn_find(g, &flow->client);
	BUG_ON(!c);
	c->tunnel = client;
	tunnel_client_set_owner(client, c);
	outbox_push(g, flow->ref);
	if (fresh)
		conn_add_found(c);
	else
		announce_again(c);
	conn_touch(c);
}

/* Why the flow cannot even be looked at, or NULL. */
static const char *objection(const struct gateway *g, const struct portal_flow *flow)
{
	if (flow->v2)
		return "protocol v2 was not asked for";
	return tunnel_has_addresses(g->tunnel) ? NULL : "no init seen yet";
}

/*
 * A connection with equal parameters is reused; otherwise it is replaced, once the new one stands
 * and the grant is made. The acknowledgement goes out before any candidate of the connection.
 */
void conn_authorize(struct gateway *g, const struct portal_flow *flow)
{
	const struct conn *known = conn_find(g, &flow->client);
	const char *why = objection(g, flow);
	struct tunnel_client *client = NULL;
	struct conn *fresh = NULL;

	if (why) {
		refused(g, flow, why);
		return;
	}
	if (!known || !is_for(known, flow)) {
		struct relay *relay = relays_choose(g);

		if (!relay) {
			refused(g, flow, "no relay");
			outbox_push(g, NULL);
			return;
		}
		fresh = make(g, flow, relay, known);
		if (!fresh)
			return;
	}
	if (!grant(g, flow, &client)) {
		conn_free(fresh);
		return;
	}
	conn_close_gone(g);
	if (client) {
		take(g, flow, client, fresh);
		return;
	}
	/* The expiry lies in the past: nothing is granted, the answer is due all the same. */
	conn_free(fresh);
	outbox_push(g, flow->ref);
}
