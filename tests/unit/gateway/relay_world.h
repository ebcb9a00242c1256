/*
 * The gateway's world with up to four relays and one client that is reached through them only. A
 * relay answers after its round-trip time, binds channels, carries what goes through them, and can
 * be told to be dead, to forget its allocation or to refuse another one.
 */
#ifndef TESTS_UNIT_GATEWAY_RELAY_WORLD_H
#define TESTS_UNIT_GATEWAY_RELAY_WORLD_H

#include "world.h"

enum {
	RELAYS = 4,
	RELAY_CHANNELS = 512,
	RELAY_FLYING = 1024,
};

struct relay_end {
	struct endpoint at, relayed;
	uint64_t rtt_us;
	unsigned int version; /* of its credentials */
	bool dead;            /* hears and says nothing */
	bool forgot;          /* Refresh, ChannelBind: 437; until the next Allocate */
	uint16_t refuses;     /* the error that an Allocate gets; 0: none */
	uint16_t mapped_port; /* what Binding answers say */
	struct endpoint bound[RELAY_CHANNELS];
	unsigned int allocates, bindings, refreshes;
	unsigned int to_client; /* packets that the client could open */
};

/* A datagram on its way to a relay. */
struct flying {
	uint64_t at_us;
	size_t relay;
	struct datagram d;
};

struct relay_world {
	struct world *w;
	struct relay_end relays[RELAYS];
	size_t n;
	struct flying *flying;
	size_t n_flying;
	size_t client_uses;   /* the relay that the client sends by */
	unsigned int answers; /* to the client's checks */
};

/* With room for @max_clients; nothing has been said yet. */
struct relay_world *relay_world_new(size_t relays, uint32_t max_clients);
void relay_world_free(struct relay_world *rw);

/* The portal: these relays by a bit each, in `init` or as what has come with relays_presence. */
void relay_world_init(struct relay_world *rw, unsigned int mask);
void relay_world_presence(struct relay_world *rw, unsigned int gone, unsigned int come);

/* Time passes, relays answer. */
void relay_world_run(struct relay_world *rw, uint64_t us);

/* The client through relay @i: a check; true if it was answered. */
bool relay_world_check(struct relay_world *rw, size_t i, bool nominate);

/* Flow, the client's candidate, checks and session over the relay that the gateway chose. */
void relay_world_connect(struct relay_world *rw);

/* Whether the portal was told of the relay's first relayed address. */
bool relay_world_heard(const struct relay_world *rw, bool invalidated, size_t i);

/* The relay whose candidate the connection has announced last and not withdrawn; RELAYS: none. */
size_t relay_world_announced(const struct relay_world *rw);

/* A packet for the client; true if it got it. */
bool relay_world_packet(struct relay_world *rw);
/* A packet of the client's; true if it came out of the tunnel. */
bool relay_world_reply(struct relay_world *rw);

#endif
