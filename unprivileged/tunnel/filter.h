/*
 * A resource's filter list, compiled: does it let a packet of this kind and port pass? [spec
 * dataplane 7.1]
 *
 * Immutable and counted, so that all holders of a resource share one. Not thread-safe.
 */
#ifndef TUNNEL_FILTER_H
#define TUNNEL_FILTER_H

#include "packet/ip.h"
#include "tunnel/resource.h"

struct filter_set;

/*
 * The set with one reference, or NULL without memory or beyond RESOURCE_MAX_FILTERS. An inverted
 * port range matches nothing. No filters: everything passes.
 */
MUST_CHECK struct filter_set *filter_set_new(const struct filter *filters, size_t n);

struct filter_set *filter_set_ref(struct filter_set *set);

/* Gives one reference back; @set may be NULL. */
void filter_set_unref(struct filter_set *set);

/* @port: the resource's side of the packet; ignored unless TCP or UDP. */
bool filter_permits(const struct filter_set *set, enum ip_kind kind, uint16_t port);

#endif
