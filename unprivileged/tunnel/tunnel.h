/*
 * Authorizations and the verdict on every inner packet: peers, routes, filters, prohibited answers,
 * expiry. [spec dataplane 2-7, 10]
 *
 * Sans-IO. Packet calls allocate nothing and log nothing. Wall-clock expiries are kept as monotonic
 * deadlines, computed anew when the caller reports a clock step.
 */
#ifndef TUNNEL_TUNNEL_H
#define TUNNEL_TUNNEL_H

#include "base/defs.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/uuid.h"
#include "packet/ip.h"
#include "tunnel/resource.h"

struct tunnel;
struct tunnel_client;

enum {
	TUNNEL_MAX_CLIENTS = 16384,
	TUNNEL_MAX_RESOURCES = 4096, /* per client; one more is refused */
	TUNNEL_ICMP_PER_S = 100,     /* generated ICMP per client, burst 50 */
	TUNNEL_ICMP_BURST = 50,
};

/* An expiry that never comes. */
#define TUNNEL_NEVER_EXPIRES INT64_MAX

struct tunnel_config {
	uint32_t max_clients;
	struct rng rng;  /* for the key of the address table */
	struct log *log; /* may be NULL */
};

struct tunnel *tunnel_new(const struct tunnel_config *cfg);
void tunnel_free(struct tunnel *t);

/* Wall clock at @now_us, at start and at least once a second; a step re-computes deadlines. */
void tunnel_set_clock(struct tunnel *t, uint64_t now_us, uint64_t wall_us);

/* Own addresses from `init`; either may be IP_NONE. */
void tunnel_set_addresses(struct tunnel *t, const struct ip_addr *v4, const struct ip_addr *v6);
bool tunnel_has_addresses(const struct tunnel *t);

struct tunnel_grant {
	struct uuid client;
	struct ip_addr client_v4, client_v6;
	const struct resource *resource; /* copied, filters included */
	int64_t expires_at; /* Unix seconds, TUNNEL_NEVER_EXPIRES, clamped by the caller to i64 */
};

/*
 * Create or extend: peer state, grant, expiry (the last one wins). Different client addresses
 * replace the peer state. -EADDRNOTAVAIL: an address is outside the tunnel ranges or equals ours;
 * -EADDRINUSE: it belongs to another client; -ENOSPC; -ENOMEM. On failure nothing has changed. An
 * expiry in the past grants nothing, ends the grant if there is one, and is no error: *out is then
 * the client if it has other grants, else NULL. The wall clock must have been set.
 */
MUST_CHECK int tunnel_authorize(struct tunnel *t, const struct tunnel_grant *grant, uint64_t now_us,
				struct tunnel_client **out);

/* Unknown ids are no-ops. What falls empty is reported by tunnel_take_gone(). */
void tunnel_reject(struct tunnel *t, const struct uuid *client, const struct uuid *resource);
void tunnel_remove_client(struct tunnel *t, const struct uuid *client);
void tunnel_set_expiry(struct tunnel *t, const struct uuid *client, const struct uuid *resource,
		       int64_t expires_at, uint64_t now_us);

/* resource_updated: filters of every holder; name, address and type changes are ignored. */
void tunnel_update_resource(struct tunnel *t, const struct resource *resource);

struct tunnel_authorization {
	struct uuid client, resource;
	int64_t expires_at;
};

/* `init`: what is not listed is revoked, clients absent from the list included; listed expiries are
 * applied. */
void tunnel_prune(struct tunnel *t, const struct tunnel_authorization *list, size_t n,
		  uint64_t now_us);

/* Once a second: expiries. */
void tunnel_tick(struct tunnel *t, uint64_t now_us);
uint64_t tunnel_deadline(const struct tunnel *t);

/* A client whose last grant is gone (peer state already destroyed): say goodbye and close. False:
 * none. */
bool tunnel_take_gone(struct tunnel *t, struct uuid *client);

struct tunnel_client *tunnel_find(struct tunnel *t, const struct uuid *client);

/* By tunnel address, either family. */
struct tunnel_client *tunnel_find_at(const struct tunnel *t, const struct ip_addr *ip);

/* The caller's handle for the client's connection; survives re-authorization, NULL at first. */
void tunnel_client_set_owner(struct tunnel_client *c, void *owner);
void *tunnel_client_owner(const struct tunnel_client *c);
const struct uuid *tunnel_client_id(const struct tunnel_client *c);

enum tunnel_verdict {
	TUNNEL_FORWARD,
	TUNNEL_DROP,
	TUNNEL_REPLY,   /* send the generated ICMP back to the same client */
	TUNNEL_GOODBYE, /* the client says goodbye: remove connection and authorizations, answer
			   nothing */
	TUNNEL_CONTROL, /* another in-band control packet: view->data, view->len; never forwarded */
};

enum tunnel_drop {
	DROP_NONE,
	DROP_MALFORMED,
	DROP_FRAGMENT,
	DROP_MULTICAST,
	DROP_OUTBOUND_ICMP_ERROR,
	DROP_FORGED_SOURCE,
	DROP_OWN_ADDRESS,
	DROP_NOT_A_PEER,
	DROP_NO_PEER_STATE,
	DROP_NOT_ALLOWED,
	DROP_RATE,
	DROP_SOURCE_ROUTE,
	DROP_NOT_CONNECTED,
	DROP_OTHER,
	DROP_KINDS
};

/* Reply buffer of the caller; at most IP_INNER_MTU bytes are written. */
struct tunnel_reply {
	uint8_t data[IP_INNER_MTU];
	size_t len;
};

/* Client -> resource, steps 2-10 of spec dataplane 4 with the required ("OURS") rules. @view was
 * parsed with IP_INNER_MTU. */
enum tunnel_verdict tunnel_from_client(struct tunnel *t, struct tunnel_client *c,
				       struct ip_view *view, uint64_t now_us,
				       struct tunnel_reply *reply);

/*
 * Resource -> client, steps 2-8 of spec dataplane 5. FORWARD sets *out to the client. One call
 * serves a whole super-packet.
 */
enum tunnel_verdict tunnel_to_client(struct tunnel *t, struct ip_view *view, uint64_t now_us,
				     struct tunnel_client **out);

/* Drops so far by reason; a caller that drops a packet itself counts it here too. */
void tunnel_count_drop(struct tunnel *t, enum tunnel_drop why);
uint64_t tunnel_drops(const struct tunnel *t, enum tunnel_drop why);
const char *tunnel_drop_name(enum tunnel_drop why);

struct tunnel_stats {
	uint32_t clients, grants;
};
void tunnel_stats(const struct tunnel *t, struct tunnel_stats *out);

/* The 48-byte goodbye packet. [spec dataplane 8.1] */
enum {
	TUNNEL_GOODBYE_LEN = 48
};
void tunnel_goodbye(uint8_t out[TUNNEL_GOODBYE_LEN]);

#endif
