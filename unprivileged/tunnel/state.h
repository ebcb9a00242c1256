/*
 * What the two halves of the tunnel share: tunnel.c changes authorizations, path.c judges packets
 * by them.
 *
 * A client lives as long as it has a grant. Its grants are sorted by resource id; its route table
 * is rebuilt, without allocation, after every change of them.
 */
#ifndef TUNNEL_STATE_H
#define TUNNEL_STATE_H

#include "base/rng.h"
#include "tunnel/keymap.h"
#include "tunnel/route.h"
#include "tunnel/tunnel.h"

enum {
	OWN_FLOWS = 8
};

/* A flow from the gateway's own address to a client, remembered so that its answers may come back.
 */
struct own_flow {
	uint64_t seen_us; /* the gateway's last packet */
	uint16_t own_port, client_port;
	uint8_t version, proto; /* 0: free */
};

struct tunnel_client {
	struct uuid id;
	struct ip_addr v4, v6;
	uint32_t slot;
	void *owner;
	struct grant *grants;
	size_t n_grants, capacity;
	struct route_table routes;
	uint64_t icmp_paid_us; /* until when generated ICMP has used up its rate */
	struct own_flow own_flows[OWN_FLOWS];
	uint32_t next_own_flow;
};

struct tunnel {
	struct log *log;
	uint32_t max_clients;
	struct ip_addr own_v4, own_v6;
	struct tunnel_client **clients; /* by slot */
	uint32_t *free_slots;
	uint32_t n_free, n_grants;
	struct keymap *by_id;   /* client id -> slot */
	struct keymap *by_addr; /* tunnel address, either family -> slot */
	struct uuid *gone;      /* ring, to be reported */
	uint32_t first_gone, n_gone;
	uint64_t next_expiry_us; /* no grant expires before */
	uint64_t clock_us, clock_wall_us;
	bool clock_set;
	uint64_t drops[DROP_KINDS];
};

static inline bool tunnel_owns(const struct tunnel *t, const struct ip_addr *ip)
{
	return ip_eq(ip, ip->family == IP_V4 ? &t->own_v4 : &t->own_v6);
}

#endif
