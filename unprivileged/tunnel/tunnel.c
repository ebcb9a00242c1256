#include "tunnel/tunnel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tunnel/clients.h"

/* A difference of the clocks from which deadlines are computed anew. */
enum {
	CLOCK_STEP_US = 100 * 1000
};

struct tunnel *tunnel_new(const struct tunnel_config *cfg)
{
	struct tunnel *t = calloc(1, sizeof(*t));
	uint32_t n = cfg->max_clients;

	if (!t || n == 0 || n > TUNNEL_MAX_CLIENTS)
		goto fail;
	t->log = cfg->log;
	t->max_clients = n;
	t->next_expiry_us = NEVER_US;
	t->clients = calloc(n, sizeof(struct tunnel_client *));
	t->free_slots = calloc(n, sizeof(*t->free_slots));
	t->gone = calloc(n, sizeof(*t->gone));
	t->by_id = keymap_new(n, &cfg->rng);
	t->by_addr = keymap_new(2 * n, &cfg->rng);
	if (!t->clients || !t->free_slots || !t->gone || !t->by_id || !t->by_addr)
		goto fail;
	for (uint32_t i = 0; i < n; i++)
		t->free_slots[i] = n - 1 - i;
	t->n_free = n;
	return t;

fail:
	tunnel_free(t);
	return NULL;
}

void tunnel_free(struct tunnel *t)
{
	if (!t)
		return;
	for (uint32_t i = 0; t->clients && i < t->max_clients; i++) {
		if (!t->clients[i])
			continue;
		clients_drop_grants(t, t->clients[i]);
		clients_free(t->clients[i]);
	}
	keymap_free(t->by_addr);
	keymap_free(t->by_id);
	free(t->gone);
	free(t->free_slots);
	free(t->clients);
	free(t);
}

/* By how much the wall clock went differently from the monotonic one since the deadlines were
 * computed. */
static uint64_t clock_step(const struct tunnel *t, uint64_t now_us, uint64_t wall_us)
{
	uint64_t expected = t->clock_wall_us + (now_us - t->clock_us);

	return wall_us > expected ? wall_us - expected : expected - wall_us;
}

void tunnel_set_clock(struct tunnel *t, uint64_t now_us, uint64_t wall_us)
{
	if (t->clock_set && clock_step(t, now_us, wall_us) < CLOCK_STEP_US)
		return;
	t->clock_us = now_us;
	t->clock_wall_us = wall_us;
	t->clock_set = true;
	t->next_expiry_us = NEVER_US;
	for (uint32_t i = 0; i < t->max_clients; i++) {
		struct tunnel_client *c = t->clients[i];

		for (size_t k = 0; c && k < c->n_grants; k++) {
			c->grants[k].deadline_us = clients_deadline(t, c->grants[k].expires_at);
			clients_note_deadline(t, c->grants[k].deadline_us);
		}
	}
}

void tunnel_set_addresses(struct tunnel *t, const struct ip_addr *v4, const struct ip_addr *v6)
{
	t->own_v4 = *v4;
	t->own_v6 = *v6;
}

bool tunnel_has_addresses(const struct tunnel *t)
{
	return t->own_v4.family != IP_NONE || t->own_v6.family != IP_NONE;
}

struct tunnel_client *tunnel_find(struct tunnel *t, const struct uuid *client)
{
	uint32_t slot = keymap_get(t->by_id, client->bytes);

	return slot == KEYMAP_NONE ? NULL : t->clients[slot];
}

struct tunnel_client *tunnel_find_at(const struct tunnel *t, const struct ip_addr *ip)
{
	uint32_t slot = keymap_get(t->by_addr, ip->bytes);

	return slot == KEYMAP_NONE || !ip_is_tunnel(ip) ? NULL : t->clients[slot];
}

/* Drop what has expired at @now_us, note when the rest does. Returns @c or NULL, like
 * clients_changed(). */
static struct tunnel_client *expire_client(struct tunnel *t, struct tunnel_client *c,
					   uint64_t now_us)
{
	bool changed = false;
	size_t i = 0;

	while (i < c->n_grants) {
		if (c->grants[i].deadline_us <= now_us) {
			clients_remove_grant(t, c, &c->grants[i], "Access expired");
			changed = true;
			continue;
		}
		clients_note_deadline(t, c->grants[i].deadline_us);
		i++;
	}
	return changed ? clients_changed(t, c) : c;
}

void tunnel_tick(struct tunnel *t, uint64_t now_us)
{
	if (now_us < t->next_expiry_us)
		return;
	t->next_expiry_us = NEVER_US;
	for (uint32_t i = 0; i < t->max_clients; i++) {
		if (t->clients[i])
			(void)expire_client(t, t->clients[i], now_us);
	}
}

uint64_t tunnel_deadline(const struct tunnel *t)
{
	return t->next_expiry_us;
}

static bool usable_address(const struct tunnel *t, const struct ip_addr *ip, enum ip_family family)
{
	return ip->family == family && ip_is_tunnel(ip) && !tunnel_owns(t, ip);
}

/* @c: the client itself, or NULL as long as it has no state. */
static int check_addresses(const struct tunnel *t, const struct tunnel_client *c,
			   const struct tunnel_grant *grant)
{
	uint32_t v4_slot;
	uint32_t v6_slot;

	if (!tunnel_has_addresses(t) || !usable_address(t, &grant->client_v4, IP_V4) ||
	    !usable_address(t, &grant->client_v6, IP_V6))
		return -EADDRNOTAVAIL;
	v4_slot = keymap_get(t->by_addr, grant->client_v4.bytes);
	v6_slot = keymap_get(t->by_addr, grant->client_v6.bytes);
	if ((v4_slot != KEYMAP_NONE && t->clients[v4_slot] != c) ||
	    (v6_slot != KEYMAP_NONE && t->clients[v6_slot] != c))
		return -EADDRINUSE;
	return 0;
}

/* A client that is not in any table yet, with room for a grant. */
static int client_new(const struct tunnel *t, const struct tunnel_grant *grant,
		      struct tunnel_client **out)
{
	struct tunnel_client *c;

	if (t->n_free <= t->n_gone)
		return -ENOSPC;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	if (clients_reserve_grant(c) < 0) {
		clients_free(c);
		return -ENOMEM;
	}
	c->id = grant->client;
	*out = c;
	return 0;
}

static void client_insert(struct tunnel *t, struct tunnel_client *c)
{
	clients_forget_gone(t, &c->id);
	c->slot = t->free_slots[--t->n_free];
	t->clients[c->slot] = c;
	keymap_put(t->by_id, c->id.bytes, c->slot);
}

static bool same_addresses(const struct tunnel_client *c, const struct tunnel_grant *grant)
{
	return ip_eq(&c->v4, &grant->client_v4) && ip_eq(&c->v6, &grant->client_v6);
}

/* Give the client its addresses; others than it had end everything it had but its handle and owner.
 */
static void client_set_addresses(struct tunnel *t, struct tunnel_client *c,
				 const struct tunnel_grant *grant)
{
	if (same_addresses(c, grant))
		return;
	if (c->v4.family != IP_NONE) {
		keymap_remove(t->by_addr, c->v4.bytes);
		keymap_remove(t->by_addr, c->v6.bytes);
		clients_drop_grants(t, c);
		memset(c->own_flows, 0, sizeof(c->own_flows));
		clients_log(t, "Client has new addresses", &c->id, NULL);
	}
	c->v4 = grant->client_v4;
	c->v6 = grant->client_v6;
	keymap_put(t->by_addr, c->v4.bytes, c->slot);
	keymap_put(t->by_addr, c->v6.bytes, c->slot);
}

/* There is room. @filters become the grant's. */
static void put_grant(struct tunnel *t, struct tunnel_client *c, const struct tunnel_grant *grant,
		      struct filter_set *filters)
{
	size_t at = clients_grant_place(c, &grant->resource->id);
	struct grant *g = &c->grants[at];

	if (at < c->n_grants && uuid_eq(&g->id, &grant->resource->id)) {
		filter_set_unref(g->filters);
	} else {
		memmove(g + 1, g, (c->n_grants - at) * sizeof(*g));
		c->n_grants++;
		t->n_grants++;
	}
	*g = (struct grant){
	    .id = grant->resource->id,
	    .kind = grant->resource->kind,
	    .prefix = grant->resource->prefix,
	    .filters = filters,
	    .expires_at = grant->expires_at,
	    .deadline_us = clients_deadline(t, grant->expires_at),
	};
	clients_note_deadline(t, g->deadline_us);
	route_table_rebuild(&c->routes, c->grants, c->n_grants);
	clients_log(t, "Access granted", &c->id, &g->id);
}

int tunnel_authorize(struct tunnel *t, const struct tunnel_grant *grant, uint64_t now_us,
		     struct tunnel_client **out)
{
	const struct resource *resource = grant->resource;
	struct tunnel_client *known = tunnel_find(t, &grant->client);
	struct tunnel_client *c = known;
	bool internet = resource->kind == RESOURCE_INTERNET;
	struct filter_set *filters;
	int rc = check_addresses(t, c, grant);

	if (rc < 0)
		return rc;
	if (clients_deadline(t, grant->expires_at) <= now_us) {
		*out = clients_end_grant(t, c, &resource->id, "Access expired");
		return 0;
	}
	filters = filter_set_new(resource->filters, internet ? 0 : resource->n_filters);
	if (!filters)
		return -ENOMEM;
	if (!c)
		rc = client_new(t, grant, &c);
	else if (same_addresses(c, grant) && !clients_find_grant(c, &resource->id))
		rc = clients_reserve_grant(c);
	if (rc < 0) {
		filter_set_unref(filters);
		return rc;
	}
	if (!known)
		client_insert(t, c);
	client_set_addresses(t, c, grant);
	put_grant(t, c, grant, filters);
	*out = c;
	return 0;
}

void tunnel_reject(struct tunnel *t, const struct uuid *client, const struct uuid *resource)
{
	(void)clients_end_grant(t, tunnel_find(t, client), resource, "Access revoked");
}

void tunnel_remove_client(struct tunnel *t, const struct uuid *client)
{
	struct tunnel_client *c = tunnel_find(t, client);

	if (c)
		clients_destroy(t, c);
}

void tunnel_set_expiry(struct tunnel *t, const struct uuid *client, const struct uuid *resource,
		       int64_t expires_at, uint64_t now_us)
{
	struct tunnel_client *c = tunnel_find(t, client);
	struct grant *g = c ? clients_find_grant(c, resource) : NULL;

	if (!g)
		return;
	clients_set_expiry(t, g, expires_at);
	clients_log(t, "Access expiry changed", client, resource);
	if (g->deadline_us <= now_us)
		(void)clients_end_grant(t, c, resource, "Access expired");
}

/* Without memory for the new filters access ends: the old ones may admit too much. */
void tunnel_update_resource(struct tunnel *t, const struct resource *resource)
{
	bool internet = resource->kind == RESOURCE_INTERNET;
	bool other_kind = false;
	struct filter_set *filters =
	    filter_set_new(resource->filters, internet ? 0 : resource->n_filters);

	for (uint32_t i = 0; i < t->max_clients; i++) {
		struct tunnel_client *c = t->clients[i];
		struct grant *g = c ? clients_find_grant(c, &resource->id) : NULL;

		if (!g)
			continue;
		if (g->kind != resource->kind) {
			other_kind = true;
			continue;
		}
		if (!filters) {
			(void)clients_end_grant(t, c, &resource->id,
						"Access ended, no memory for its filters");
			continue;
		}
		filter_set_unref(g->filters);
		g->filters = filter_set_ref(filters);
	}
	filter_set_unref(filters);
	if (other_kind)
		log_at(t->log, LOG_ERROR, "tunnel", "Resource changed its type, update ignored",
		       KV_STR("resource", resource->name));
}

static void mark_listed(struct tunnel *t, const struct tunnel_authorization *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct tunnel_client *c = tunnel_find(t, &list[i].client);
		struct grant *g = c ? clients_find_grant(c, &list[i].resource) : NULL;

		if (!g)
			continue;
		g->listed = true;
		clients_set_expiry(t, g, list[i].expires_at);
	}
}

static void prune_client(struct tunnel *t, struct tunnel_client *c, uint64_t now_us)
{
	size_t i = 0;

	while (i < c->n_grants) {
		if (!c->grants[i].listed) {
			clients_remove_grant(t, c, &c->grants[i], "Access revoked");
			continue;
		}
		c->grants[i++].listed = false;
	}
	c = clients_changed(t, c);
	if (c)
		(void)expire_client(t, c, now_us);
}

void tunnel_prune(struct tunnel *t, const struct tunnel_authorization *list, size_t n,
		  uint64_t now_us)
{
	mark_listed(t, list, n);
	for (uint32_t i = 0; i < t->max_clients; i++) {
		if (t->clients[i])
			prune_client(t, t->clients[i], now_us);
	}
}

void tunnel_client_set_owner(struct tunnel_client *c, void *owner)
{
	c->owner = owner;
}

void *tunnel_client_owner(const struct tunnel_client *c)
{
	return c->owner;
}

const struct uuid *tunnel_client_id(const struct tunnel_client *c)
{
	return &c->id;
}

void tunnel_stats(const struct tunnel *t, struct tunnel_stats *out)
{
	*out = (struct tunnel_stats){.clients = t->max_clients - t->n_free, .grants = t->n_grants};
}
