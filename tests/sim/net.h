/*
 * The network: hosts with their links, and what becomes of a datagram between two of them.
 *
 * Each host has at most one address per family. Behind a NAT its IPv4 address is known in its own
 * LAN only; a firewall may stand before its IPv6 address.
 */
#ifndef TESTS_SIM_NET_H
#define TESTS_SIM_NET_H

#include "nat.h"
#include "packet/addr.h"
#include "sim.h"

enum {
	NET_MAX_HOSTS = 16,
	NET_HEADROOM = 64, /* scratch before a datagram's bytes */
	NET_MAX_DATAGRAM = 1500,
};

struct datagram {
	unsigned from;            /* host that sent it */
	struct endpoint src, dst; /* as the network sees them; dst.ip as the receiver has it */
	uint8_t ecn;
	size_t len;
	uint8_t *bytes; /* NET_HEADROOM writable bytes before */
	uint8_t memory[NET_HEADROOM + NET_MAX_DATAGRAM];
};

struct link {
	uint64_t delay_us, jitter_us;
	uint32_t loss, duplicate, reorder, corrupt; /* in a million */
	size_t mtu;
	bool up;
};

struct host {
	char name[16];
	unsigned id;
	struct ip_addr address[2]; /* v4, v6; family IP_NONE where it has none */
	struct nat *nat[2];        /* v4: NAT; v6: firewall; NULL: none */
	struct link link;
	bool udp_blocked;
	bool family_down[2];
	void (*receive)(void *ctx, struct datagram *d); /* d is the network's */
	void *ctx;
};

/* What an eavesdropper keeps of the datagrams to one host. */
enum {
	NET_OVERHEARD = 64, /* the oldest goes */
};

struct net_overheard {
	struct endpoint src, dst; /* as the network sees them */
	size_t len;
	uint8_t bytes[NET_MAX_DATAGRAM];
};

struct net {
	struct sim *sim;
	struct host hosts[NET_MAX_HOSTS];
	unsigned n_hosts;
	bool cut[NET_MAX_HOSTS][NET_MAX_HOSTS]; /* from, to */
	uint64_t sent, delivered;
	const struct host *watched;                    /* or NULL */
	struct net_overheard overheard[NET_OVERHEARD]; /* ring */
	uint64_t n_overheard;
};

struct host *net_add(struct net *n, const char *name);

/* An address of ours of this family that can be used now. */
bool net_has(const struct host *h, uint8_t family);

struct outgoing {
	struct endpoint src; /* ip of family IP_NONE: the host's own */
	struct endpoint dst;
	uint8_t ecn;
	const uint8_t *data;
	size_t len;
};

/* 0, or a positive errno that the sender sees at once. */
int net_send(struct net *n, struct host *h, const struct outgoing *out);

/* A datagram from nowhere with a source of the attacker's choice. */
void net_inject(struct net *n, unsigned from, const struct outgoing *out);

/* The longest time that a datagram takes between two hosts, both ways. */
uint64_t net_rtt_us(const struct host *a, const struct host *b);

#endif
