/*
 * A network address translator of any kind that RFC 4787 names, or a stateful firewall that
 * translates nothing.
 */
#ifndef TESTS_SIM_NAT_H
#define TESTS_SIM_NAT_H

#include "packet/addr.h"

enum nat_kind { /* of mapping, and of filtering [RFC 4787 sections 4.1 and 5] */
	NAT_INDEPENDENT,
	NAT_ADDRESS,
	NAT_ADDRESS_PORT,
};

enum {
	NAT_REMOTES = 512 /* per mapping; the oldest goes */
};

struct nat_remote {
	struct endpoint at;
	uint64_t last_us;
};

struct nat_mapping {
	struct endpoint inside, outside;
	struct endpoint key; /* the destination, as far as the mapping depends on it */
	uint64_t last_us;
	struct nat_remote *remotes;
	unsigned n_remotes, cap_remotes;
};

struct nat {
	struct ip_addr external; /* family IP_NONE: nothing is translated */
	enum nat_kind mapping, filtering;
	bool hairpin;
	uint64_t timeout_us;
	uint16_t next_port;
	struct nat_mapping *mappings;
	size_t n, cap;
};

void nat_free(struct nat *n);

/* A datagram goes out: how the world sees its source. */
struct endpoint nat_out(struct nat *n, const struct endpoint *inside, const struct endpoint *dst,
			uint64_t now_us);

/* One comes in for @outside: whose it is; false: filtered. */
bool nat_in(struct nat *n, const struct endpoint *outside, const struct endpoint *src,
	    uint64_t now_us, struct endpoint *inside);

/* Seen from everywhere with the same address. NULL: there is none. */
bool nat_is_steady(const struct nat *n);

/* All mappings are lost; new ones have other ports. */
void nat_rebind(struct nat *n);

#endif
