/*
 * What is true of the world, whatever the gateway believes: who may reach what, which packets were
 * sent and arrived, until when traffic has to flow again. The invariants are judged here.
 */
#ifndef TESTS_SIM_TRUTH_H
#define TESTS_SIM_TRUTH_H

#include "inner.h"
#include "sim.h"

enum {
	TRUTH_CLIENTS = 4,
	TRUTH_RESOURCES = 3,
	TRUTH_HANDSHAKE_MS = 5500, /* until a lost handshake is repeated */
	TRUTH_CLOCK_MS = 100,      /* how far the gateway's idea of its clock may be off (tunnel) */
};

/* What a look at a client's flow finds. */
enum truth_look {
	TRUTH_LOOK_DUE,      /* traffic has to flow: nothing excuses it */
	TRUTH_LOOK_SETTLING, /* the promised time since the last disturbance is not over */
	TRUTH_LOOK_NO_GRANT,
	TRUTH_LOOK_NO_PORTAL, /* a path is to be found anew, and the portal is away */
	TRUTH_LOOK_NO_PATH,
	TRUTH_LOOK_PAUSED, /* nobody sends */
	TRUTH_LOOK_ASLEEP, /* the gateway, or the client is switched off */
	TRUTH_LOOK_KINDS
};

struct truth_packet {
	uint64_t sent_us;
	bool reached, answered, may_return, returned;
};

/* What the gateway has been told last. */
struct truth_grant {
	bool may;           /* packets may pass */
	bool must;          /* and have to */
	int64_t expires_at; /* Unix seconds by the gateway's clock */
};

struct truth {
	struct sim *sim;
	struct truth_grant grants[TRUTH_CLIENTS][TRUTH_RESOURCES];
	struct truth_packet *packets[TRUTH_CLIENTS];
	size_t n_packets[TRUTH_CLIENTS], cap_packets[TRUTH_CLIENTS];
	uint64_t echo_us[TRUTH_CLIENTS];  /* when the last answer came */
	uint64_t calm_us[TRUTH_CLIENTS];  /* the last disturbance */
	uint64_t grace_us[TRUTH_CLIENTS]; /* what its kind adds to the promised time */
	uint64_t event_us[TRUTH_CLIENTS]; /* the last one of the scenario */
	uint64_t none_us[TRUTH_CLIENTS];  /* since when there is no path; 0: there is one */
	uint64_t echoes;
	uint64_t looks[TRUTH_LOOK_KINDS];
};

void truth_init(struct truth *t, struct sim *sim);
void truth_free(struct truth *t);

/* Number of the next packet of a client, which goes out now. */
uint32_t truth_sent(struct truth *t, unsigned client);

/* The same for one that a resource sends unasked. */
uint32_t truth_sent_by_resource(struct truth *t, unsigned client, unsigned resource,
				int64_t wall_us);

/* The gateway gave a packet to the resource's network. False: it is none of ours. @wall_us: the
 * gateway's clock. */
bool truth_reached(struct truth *t, uint8_t *data, size_t len, int64_t wall_us, struct inner *out);

/* The resource's answer goes to the gateway. */
void truth_answered(struct truth *t, const struct inner *in, int64_t wall_us);

/* A client got a packet out of the tunnel. */
void truth_returned(struct truth *t, unsigned client, uint8_t *data, size_t len);

/*
 * Something happened that may interrupt a client's traffic. @grace_us comes on top of the promised
 * time.
 */
void truth_disturb(struct truth *t, unsigned client, uint64_t grace_us);
/* True if a handshake may be under way that an event now would cost. */
bool truth_is_interrupted(const struct truth *t, unsigned client);
/* There is nothing to expect now; what begins next may lose its first handshake to a recent event.
 */
void truth_pause(struct truth *t, unsigned client);
/* The same for an event of the scenario: what it costs to lose a handshake counts too. */
void truth_event(struct truth *t, unsigned client, uint64_t grace_us);
void truth_event_all(struct truth *t, uint64_t grace_us);

bool truth_may(const struct truth *t, unsigned client, unsigned resource, int64_t wall_us);
/* True if a resource has to be reachable for this client. */
bool truth_must(const struct truth *t, unsigned client, int64_t wall_us);

#endif
