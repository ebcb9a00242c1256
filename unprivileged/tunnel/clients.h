/*
 * A client's grants and its end: what every change of authorizations is made of.
 *
 * Nothing here judges packets or reads the clock; deadlines come from the wall clock that the
 * tunnel was told last.
 */
#ifndef TUNNEL_CLIENTS_H
#define TUNNEL_CLIENTS_H

#include "tunnel/state.h"

/* One info line of a client's life; @resource may be NULL. */
void clients_log(const struct tunnel *t, const char *what, const struct uuid *client,
		 const struct uuid *resource);

/* When the wall clock will show @expires_at; 0 for the past, or as long as the wall clock is not
 * known. */
uint64_t clients_deadline(const struct tunnel *t, int64_t expires_at);
void clients_note_deadline(struct tunnel *t, uint64_t deadline_us);
void clients_set_expiry(struct tunnel *t, struct grant *g, int64_t expires_at);

/* Where the grant of @resource is, or would go. */
size_t clients_grant_place(const struct tunnel_client *c, const struct uuid *resource);
struct grant *clients_find_grant(const struct tunnel_client *c, const struct uuid *resource);

/* Room for one grant more. -ENOSPC, -ENOMEM. */
MUST_CHECK int clients_reserve_grant(struct tunnel_client *c);

/* The caller says clients_changed() afterwards. */
void clients_remove_grant(struct tunnel *t, struct tunnel_client *c, struct grant *g,
			  const char *why);

/* After grants have changed. Returns @c, or NULL when none was left and the client is gone. */
struct tunnel_client *clients_changed(struct tunnel *t, struct tunnel_client *c);

/* Ends one grant if there is one; @c may be NULL. Returns @c or NULL, like clients_changed(). */
struct tunnel_client *clients_end_grant(struct tunnel *t, struct tunnel_client *c,
					const struct uuid *resource, const char *why);

/* Out of all tables, reported as gone, freed. */
void clients_destroy(struct tunnel *t, struct tunnel_client *c);

/* A client that comes back before it was reported is not gone. */
void clients_forget_gone(struct tunnel *t, const struct uuid *client);

void clients_drop_grants(struct tunnel *t, struct tunnel_client *c);
void clients_free(struct tunnel_client *c);

#endif
