#include "tunnel/clients.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	FIRST_GRANTS = 4
}; /* room that a new client gets */

void clients_drop_grants(struct tunnel *t, struct tunnel_client *c)
{
	for (size_t i = 0; i < c->n_grants; i++)
		filter_set_unref(c->grants[i].filters);
	t->n_grants -= (uint32_t)c->n_grants;
	c->n_grants = 0;
}

void clients_free(struct tunnel_client *c)
{
	free(c->routes.routes);
	free(c->grants);
	free(c);
}

/* One info line of a client's life; @resource may be NULL. */
void clients_log(const struct tunnel *t, const char *what, const struct uuid *client,
		 const struct uuid *resource)
{
	char client_text[UUID_TEXT_LEN + 1];
	char resource_text[UUID_TEXT_LEN + 1];

	if (!log_wants(t->log, LOG_INFO, "tunnel"))
		return;
	uuid_format(client, client_text);
	if (!resource) {
		log_at(t->log, LOG_INFO, "tunnel", what, KV_STR("client", client_text));
		return;
	}
	uuid_format(resource, resource_text);
	log_at(t->log, LOG_INFO, "tunnel", what, KV_STR("client", client_text),
	       KV_STR("resource", resource_text));
}

/* When the wall clock will show @expires_at; 0 for the past, or as long as the wall clock is not
 * known. */
uint64_t clients_deadline(const struct tunnel *t, int64_t expires_at)
{
	uint64_t expiry_us;

	if (expires_at == TUNNEL_NEVER_EXPIRES)
		return NEVER_US;
	if (expires_at <= 0 || !t->clock_set)
		return 0;
	if ((uint64_t)expires_at > NEVER_US / US_PER_S)
		return NEVER_US;
	expiry_us = (uint64_t)expires_at * US_PER_S;
	if (expiry_us <= t->clock_wall_us)
		return 0;
	return add_us(t->clock_us, expiry_us - t->clock_wall_us);
}

void clients_note_deadline(struct tunnel *t, uint64_t deadline_us)
{
	t->next_expiry_us = min_u64(t->next_expiry_us, deadline_us);
}

void clients_set_expiry(struct tunnel *t, struct grant *g, int64_t expires_at)
{
	g->expires_at = expires_at;
	g->deadline_us = clients_deadline(t, expires_at);
	clients_note_deadline(t, g->deadline_us);
}

/* Where the grant of @resource is, or would go. */
size_t clients_grant_place(const struct tunnel_client *c, const struct uuid *resource)
{
	size_t low = 0;
	size_t n = c->n_grants;

	while (n > 0) {
		size_t half = n / 2;

		if (uuid_cmp(&c->grants[low + half].id, resource) < 0) {
			low += half + 1;
			n -= half + 1;
		} else {
			n = half;
		}
	}
	return low;
}

struct grant *clients_find_grant(const struct tunnel_client *c, const struct uuid *resource)
{
	size_t at = clients_grant_place(c, resource);

	if (at < c->n_grants && uuid_eq(&c->grants[at].id, resource))
		return &c->grants[at];
	return NULL;
}

static void report_gone(struct tunnel *t, const struct uuid *client)
{
	t->gone[(t->first_gone + t->n_gone) % t->max_clients] = *client;
	t->n_gone++;
}

bool tunnel_take_gone(struct tunnel *t, struct uuid *client)
{
	if (t->n_gone == 0)
		return false;
	*client = t->gone[t->first_gone];
	t->first_gone = (t->first_gone + 1) % t->max_clients;
	t->n_gone--;
	return true;
}

/* A client that comes back before it was reported is not gone. */
void clients_forget_gone(struct tunnel *t, const struct uuid *client)
{
	uint32_t n = t->n_gone;

	for (uint32_t i = 0; i < n; i++) {
		struct uuid id;

		if (tunnel_take_gone(t, &id) && !uuid_eq(&id, client))
			report_gone(t, &id);
	}
}

void clients_destroy(struct tunnel *t, struct tunnel_client *c)
{
	keymap_remove(t->by_id, c->id.bytes);
	keymap_remove(t->by_addr, c->v4.bytes);
	keymap_remove(t->by_addr, c->v6.bytes);
	clients_drop_grants(t, c);
	t->clients[c->slot] = NULL;
	t->free_slots[t->n_free++] = c->slot;
	report_gone(t, &c->id);
	clients_log(t, "Client has no access left", &c->id, NULL);
	clients_free(c);
}

/* After grants have changed. Returns @c, or NULL when none was left and the client is gone. */
struct tunnel_client *clients_changed(struct tunnel *t, struct tunnel_client *c)
{
	if (c->n_grants == 0) {
		clients_destroy(t, c);
		return NULL;
	}
	route_table_rebuild(&c->routes, c->grants, c->n_grants);
	return c;
}

void clients_remove_grant(struct tunnel *t, struct tunnel_client *c, struct grant *g,
			  const char *why)
{
	size_t at = (size_t)(g - c->grants);

	clients_log(t, why, &c->id, &g->id);
	filter_set_unref(g->filters);
	c->n_grants--;
	t->n_grants--;
	memmove(g, g + 1, (c->n_grants - at) * sizeof(*g));
}

/* An expiry in the past: ends the grant if there is one. */
struct tunnel_client *clients_end_grant(struct tunnel *t, struct tunnel_client *c,
					const struct uuid *resource, const char *why)
{
	struct grant *g = c ? clients_find_grant(c, resource) : NULL;

	if (!g)
		return c;
	clients_remove_grant(t, c, g, why);
	return clients_changed(t, c);
}

/* Room for one grant more. */
int clients_reserve_grant(struct tunnel_client *c)
{
	size_t capacity = c->capacity > 0 ? 2 * c->capacity : FIRST_GRANTS;
	struct grant *grants;
	struct route *routes;

	if (c->n_grants >= TUNNEL_MAX_RESOURCES)
		return -ENOSPC;
	if (c->n_grants < c->capacity)
		return 0;
	grants = realloc(c->grants, capacity * sizeof(*grants));
	if (!grants)
		return -ENOMEM;
	c->grants = grants;
	routes = realloc(c->routes.routes, capacity * sizeof(*routes));
	if (!routes)
		return -ENOMEM;
	c->routes.routes = routes;
	c->capacity = capacity;
	return 0;
}
