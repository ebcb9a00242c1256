/*
 * DNS queries as they were made before there was a cache: one socket for each, made on the spot,
 * and a source address that is asked of the kernel each time. IPv4 only; needs CAP_NET_ADMIN.
 *
 * All functions return 0 or a negative errno.
 */
#ifndef BENCH_DNS_PLAIN_H
#define BENCH_DNS_PLAIN_H

#include "base/defs.h"
#include "packet/addr.h"

enum {
	PLAIN_WINDOW = 64, /* queries under way */
	PLAIN_QUERY = 64
};

struct plain_flight {
	int fd; /* -1: free */
	size_t server;
};

struct plain {
	/* Which address a query to @dst leaves from. */
	int (*resolve)(void *ctx, const struct ip_addr *dst, struct ip_addr *source);
	void *ctx;
	const struct endpoint *servers; /* asked in turn */
	size_t n_servers;
	unsigned int window;
};

/* A socket for plain_lookup(). */
MUST_CHECK int plain_lookup_open(int *fd);

/* One request, one answer: the source of the route to @dst. */
MUST_CHECK int plain_lookup(int fd, const struct ip_addr *dst, struct ip_addr *source);

/* The default route by another gateway, from another source. */
MUST_CHECK int plain_replace_default(int fd, const struct ip_addr *gateway,
				     const struct ip_addr *source);

/* A query for qN.example into @out; its length. */
size_t plain_query(uint8_t out[PLAIN_QUERY], unsigned int n);

/* @count queries, each answered. */
MUST_CHECK int plain_run(const struct plain *p, unsigned int count);

#endif
