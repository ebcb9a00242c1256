/*
 * authorize_flow: who gets a connection, and whether the one that is there will do. [spec portal 8,
 * connections 9.2]
 */
#include "gateway/internal.h"

#include <sodium.h>
#include <string.h>

/* Host and server-reflexive candidates of all relays, relayed ones of the connection's own. */
static void add_all_local(struct conn *c)
{
	struct candidate known[TURN_MAX_CANDIDATES];

	for (size_t i = 0; i < MAX_RELAYS; i++) {
		const struct relay *relay = &c->g->relays[i];
		size_t n = relay->turn ? turn_candidates(relay->turn, known) : 0;

		for (size_t k = 0; k < n; k++)
			if (known[k].kind != CANDIDATE_RELAY || relay == c->relay)
				conn_add_local(c, &known[k]);
	}
}

static void announce_again(struct conn *c)
{
	struct candidate known[ICE_MAX_LOCAL];
	size_t n;

	conn_wake(c);
	add_all_local(c);
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

/* Silently in the place of the client's old connection, if it has one. */
static struct conn *replace(struct gateway *g, struct conn *old, const struct portal_flow *flow)
{
	struct conn *c;

	if (old)
		conn_remove(old);
	c = conn_new(g, flow, relays_choose(g));
	if (c)
		fingerprint(g, flow, c->fingerprint);
	return c;
}

static void take(struct gateway *g, const struct portal_flow *flow, struct tunnel_client *client,
		 bool reuse)
{
	struct conn *c = conn_find(g, &flow->client);

	if (!reuse)
		c = replace(g, c, flow);
	if (!c) {
		refused(g, flow, "key, credentials or limits");
		tunnel_reject(g->tunnel, &flow->client, &flow->resource.id);
		conn_close_gone(g);
		return;
	}
	c->tunnel = client;
	tunnel_client_set_owner(client, c);
	outbox_push(g, flow->ref);
	if (reuse)
		announce_again(c);
	else
		add_all_local(c);
	conn_touch(c);
}

/*
 * A connection with equal parameters is reused; otherwise it is replaced. The acknowledgement goes
 * out before any candidate of the connection.
 */
void conn_authorize(struct gateway *g, const struct portal_flow *flow)
{
	const struct conn *known = conn_find(g, &flow->client);
	struct tunnel_client *client = NULL;
	bool reuse = known && is_for(known, flow);

	if (flow->v2) {
		refused(g, flow, "protocol v2 was not asked for");
		return;
	}
	if (!tunnel_has_addresses(g->tunnel)) {
		refused(g, flow, "no init seen yet");
		return;
	}
	if (!reuse && !relays_choose(g)) {
		refused(g, flow, "no relay");
		outbox_push(g, NULL);
		return;
	}
	if (!grant(g, flow, &client))
		return;
	conn_close_gone(g);
	if (client)
		take(g, flow, client, reuse);
	else /* the expiry lies in the past: nothing is granted, the answer is due all the same */
		outbox_push(g, flow->ref);
}
