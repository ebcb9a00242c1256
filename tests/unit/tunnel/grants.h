/*
 * Helpers for the tests of tunnel/: resources from vectors or text, a tunnel with the vectors'
 * addresses.
 */
#ifndef TESTS_UNIT_TUNNEL_GRANTS_H
#define TESTS_UNIT_TUNNEL_GRANTS_H

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "tunnel/tunnel.h"

#include "build.h"
#include "vectors.h"

enum {
	GRANT_FILTERS_MAX = 16
};

#define CLIENT_V4  "100.64.0.10"
#define CLIENT_V6  "fd00:2021:1111::a"
#define GATEWAY_V4 "100.64.0.1"
#define GATEWAY_V6 "fd00:2021:1111::1"

/* Wall clock of the tests at monotonic 0. */
#define WALL_S  INT64_C(1700000000)
#define WALL_US ((uint64_t)WALL_S * US_PER_S)

static inline struct uuid uuid_of(uint8_t first, uint8_t last)
{
	return (struct uuid){.bytes = {[0] = first, [15] = last}};
}

static inline struct ip_prefix prefix_of(const char *text)
{
	struct ip_prefix prefix = {.len = 0};

	if (!ip_prefix_parse(&prefix, text, strlen(text)))
		fail_msg("%s is no prefix", text);
	return prefix;
}

static inline struct resource cidr_of(struct uuid id, const char *prefix)
{
	return (struct resource){.id = id, .kind = RESOURCE_CIDR, .prefix = prefix_of(prefix)};
}

static inline uint16_t optional_port(const cJSON *json, const char *name, uint16_t otherwise)
{
	return vectors_has(json, name) ? (uint16_t)vectors_u64(json, name) : otherwise;
}

/* A vector's filter list into @out; how many. */
static inline size_t filters_of(const cJSON *list, struct filter out[GRANT_FILTERS_MAX])
{
	const cJSON *row;
	size_t n = 0;

	cJSON_ArrayForEach(row, list)
	{
		const char *name = vectors_string(row, "protocol");

		assert_true(n < GRANT_FILTERS_MAX);
		out[n++] = (struct filter){
		    .protocol = strcmp(name, "tcp") == 0   ? FILTER_TCP
				: strcmp(name, "udp") == 0 ? FILTER_UDP
							   : FILTER_ICMP,
		    .port_start = optional_port(row, "port_range_start", 0),
		    .port_end = optional_port(row, "port_range_end", 65535),
		};
	}
	return n;
}

/* A vector's resource; its filters live in @filters. */
static inline struct resource resource_of(const cJSON *json,
					  struct filter filters[GRANT_FILTERS_MAX])
{
	const char *type = vectors_string(json, "type");
	const char *id = vectors_string(json, "id");
	struct resource r = {.kind = RESOURCE_DNS, .filters = filters};

	assert_true(uuid_parse(&r.id, id, strlen(id)));
	r.n_filters = filters_of(vectors_get(json, "filters"), filters);
	if (strcmp(type, "internet") == 0)
		r.kind = RESOURCE_INTERNET;
	if (strcmp(type, "cidr") == 0) {
		r.kind = RESOURCE_CIDR;
		r.prefix = prefix_of(vectors_string(json, "address"));
	}
	return r;
}

/* A vector's "proto": what filters look at. */
static inline enum ip_kind kind_of(const char *proto)
{
	if (strcmp(proto, "tcp") == 0)
		return IP_KIND_TCP;
	if (strcmp(proto, "udp") == 0)
		return IP_KIND_UDP;
	if (strcmp(proto, "icmp") == 0)
		return IP_KIND_ECHO;
	return strcmp(proto, "icmp-any") == 0 ? IP_KIND_ICMP_OTHER : IP_KIND_OTHER;
}

/* A tunnel that knows the time and its addresses. */
static inline struct tunnel *tunnel_for_test(uint32_t max_clients, struct rng_seeded *seed)
{
	struct tunnel_config cfg = {.max_clients = max_clients, .rng = rng_from_seed(seed, 1)};
	struct ip_addr v4 = build_ip(GATEWAY_V4);
	struct ip_addr v6 = build_ip(GATEWAY_V6);
	struct tunnel *t = tunnel_new(&cfg);

	assert_non_null(t);
	tunnel_set_clock(t, 0, WALL_US);
	tunnel_set_addresses(t, &v4, &v6);
	return t;
}

/* Client number @n: id n, tunnel addresses ending in n (10 is the vectors' client). */
static inline struct tunnel_grant grant_for(uint8_t n, const struct resource *resource,
					    int64_t expires_at)
{
	struct tunnel_grant grant = {
	    .client = uuid_of(n, 0),
	    .client_v4 = build_ip(CLIENT_V4),
	    .client_v6 = build_ip(CLIENT_V6),
	    .resource = resource,
	    .expires_at = expires_at,
	};

	grant.client_v4.bytes[3] = n;
	grant.client_v6.bytes[15] = n;
	return grant;
}

static inline struct tunnel_client *authorize(struct tunnel *t, uint8_t n,
					      const struct resource *resource, int64_t expires_at,
					      uint64_t now_us)
{
	struct tunnel_grant grant = grant_for(n, resource, expires_at);
	struct tunnel_client *c = NULL;

	assert_int_equal(tunnel_authorize(t, &grant, now_us, &c), 0);
	return c;
}

#endif
