/*
 * A resource as the portal grants it: the value that messages carry and the tunnel enforces. [spec
 * portal 5, dataplane 6-7]
 */
#ifndef TUNNEL_RESOURCE_H
#define TUNNEL_RESOURCE_H

#include "base/defs.h"
#include "base/uuid.h"
#include "packet/addr.h"

enum resource_kind {
	RESOURCE_CIDR,
	RESOURCE_DNS,
	RESOURCE_INTERNET
};
enum filter_protocol {
	FILTER_TCP,
	FILTER_UDP,
	FILTER_ICMP
};

enum {
	RESOURCE_MAX_FILTERS = 1024,
	RESOURCE_ADDRESS_MAX = 256, /* with the NUL */
	RESOURCE_NAME_MAX = 256,    /* with the NUL; longer names are cut, they are for display */
};

struct filter {
	enum filter_protocol protocol;
	uint16_t port_start, port_end; /* inclusive; ignored for ICMP */
};

/* Plain value but for @filters, which belongs to whoever holds the resource. */
struct resource {
	struct uuid id;
	enum resource_kind kind;
	char name[RESOURCE_NAME_MAX];
	char address[RESOURCE_ADDRESS_MAX]; /* pattern or prefix text */
	struct ip_prefix prefix;            /* CIDR only */
	struct filter *filters;             /* empty: everything passes */
	size_t n_filters;
};

#endif
