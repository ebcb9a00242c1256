/*
 * One TURN allocation on one relay, with its channels: a state machine. [RFC 8656, RFC 8489, spec
 * connections 6]
 *
 * A relay is known by one v4 address, one v6 address or both. Requests, nonces, refreshes and
 * channels are its own; it tells what candidates came of it. The caller drains turn_poll() after
 * each turn_handle().
 */
#ifndef TURN_TURN_H
#define TURN_TURN_H

#include "base/defs.h"
#include "base/rng.h"
#include "base/secret.h"
#include "base/uuid.h"
#include "ice/candidate.h"
#include "packet/addr.h"
#include "stun/stun.h"

struct turn;

enum {
	TURN_PORT = 3478,
	TURN_CHANNEL_MIN = 0x4000,
	TURN_CHANNEL_MAX = 0x4fff,
	TURN_CHANNEL_HEADER = 4,
	TURN_MAX_REMEMBERED = 100,
};

/* "firezone"; both ends fix it. */
extern const char turn_realm[];

struct turn_config {
	struct uuid id;
	struct endpoint v4, v6;          /* family IP_NONE when the relay has none */
	const char *username, *password; /* copied; the password into the arena */
	struct rng rng;
	struct secret_arena *arena;
};

enum turn_input_kind {
	TURN_INPUT_DATAGRAM,   /* a STUN message from one of the relay's addresses */
	TURN_INPUT_BIND,       /* bind a channel to a peer (signalled candidate, or a first send) */
	TURN_INPUT_REFRESH,    /* the relay set changed elsewhere: probe that this one is alive
				  [spec 6.6] */
	TURN_INPUT_PROBE,      /* another relay has fallen silent: it, or our own network? */
	TURN_INPUT_ROAM,       /* how we reach the relay's addresses has changed */
	TURN_INPUT_LOCAL_DEAD, /* an address of ours is no more: what was learnt on it is void */
	TURN_INPUT_DELETE, /* shutdown: one signed Refresh LIFETIME 0, answer not awaited; nothing
			      else comes after it */
	TURN_INPUT_TIMEOUT,
};

/* How one of the relay's addresses is reached now. */
struct turn_egress {
	bool moved; /* otherwise than before: what is known of the old 5-tuple is void */
	bool out;   /* there is a way */
	/* Where we send from, if known: what was made from there already lives on. */
	struct endpoint local;
};

struct turn_input {
	enum turn_input_kind kind;
	union {
		struct {
			const uint8_t *buf;
			size_t len;
			struct endpoint src; /* relay */
			struct endpoint dst; /* our local address */
		} datagram;
		struct {
			struct endpoint peer;
			uint32_t owner; /* the client, for the cap of channels per client */
		} bind;
		struct turn_egress roam[2]; /* v4, v6 */
		struct ip_addr local_dead;
	} u;
};

enum turn_output_kind {
	TURN_OUTPUT_TRANSMIT,  /* to dst, source left to the factory */
	TURN_OUTPUT_CANDIDATE, /* a new host, srflx or relay candidate (priority 0: the agent sets
				  it) */
	TURN_OUTPUT_LOST, /* a candidate is void: a relay one with its allocation, the others with
			     the address of ours that they were learnt on */
	TURN_OUTPUT_DROPPED, /* the relay is dead to us; free it (after TURN_OUTPUT_LOST where it
				had candidates) */
};

struct turn_output {
	enum turn_output_kind kind;
	union {
		struct {
			struct endpoint dst;
			const uint8_t *data; /* valid until the next call on the object */
			size_t len;
		} transmit;
		struct candidate candidate;
		struct candidate lost;
	} u;
};

/* What is worth a line in the log; the caller may leave them where they are. */
enum turn_note_kind {
	TURN_NOTE_REFUSED,      /* @method was answered with the error @code */
	TURN_NOTE_SUSPENDED,    /* no allocation for a while: Allocate was answered with @code */
	TURN_NOTE_MISMATCH,     /* the relay knows of no allocation of ours, or of a foreign one */
	TURN_NOTE_EXPIRED,      /* the allocation was not renewed in time */
	TURN_NOTE_SILENT,       /* nothing comes from the relay any more */
	TURN_NOTE_HEARD,        /* and now it does again */
	TURN_NOTE_OTHER_FAMILY, /* the other address of the relay is used from now on */
	TURN_NOTE_REBOUND,      /* our own address, as the relay sees it, has changed */
};

struct turn_note {
	enum turn_note_kind kind;
	uint16_t method, code;
};

/* How far a relay can be relied upon. */
enum turn_standing {
	TURN_STANDS,  /* an allocation, and nothing speaks against it */
	TURN_SUSPECT, /* an allocation, but what was sent goes unanswered */
	TURN_SILENT,  /* the same for longer; the relay is still asked */
	TURN_WORKING, /* on its way to an allocation */
	TURN_REFUSED, /* suspended */
	TURN_OVER,
};

/* Starts probing at once. NULL without memory or arena slots, or with an empty or overlong
 * username. */
struct turn *turn_new(const struct turn_config *cfg, uint64_t now_us);
void turn_free(struct turn *turn);

void turn_handle(struct turn *turn, const struct turn_input *in, uint64_t now_us);
bool turn_poll(struct turn *turn, struct turn_output *out);
uint64_t turn_deadline(const struct turn *turn);

/* While the host has no way out at all, silence proves nothing: requests are repeated, none is
 * given up. */
void turn_set_away(struct turn *turn, bool away);

enum turn_standing turn_standing(const struct turn *turn);

/* The next note, oldest first; a few are kept, later ones are lost. False: there is none. */
bool turn_take_note(struct turn *turn, struct turn_note *out);

const struct uuid *turn_id(const struct turn *turn);
bool turn_has_address(const struct turn *turn, const struct endpoint *ep);
/* The relay's configured addresses, family IP_NONE where it has none. */
void turn_addresses(const struct turn *turn, struct endpoint *v4, struct endpoint *v6);
bool turn_same_config(const struct turn *turn, const struct turn_config *cfg);

/* Smoothed round-trip time; 0 before the first answer, and while no address has a way out. */
uint64_t turn_rtt_us(const struct turn *turn);

/* The candidates known now: up to six, relay ones included. Returns the number written. */
enum {
	TURN_MAX_CANDIDATES = 6
};
size_t turn_candidates(const struct turn *turn, struct candidate out[TURN_MAX_CANDIDATES]);

/* Our relayed address of a family; false when there is none. */
bool turn_relayed(const struct turn *turn, uint8_t family, struct endpoint *out);

/*
 * Hot path out: the channel to @peer and the relay's active socket. False when no channel is bound
 * or asked for: the caller then feeds TURN_INPUT_BIND, the message is lost. Notes the send: what
 * goes unanswered brings turn_deadline() forward.
 */
bool turn_channel_out(struct turn *turn, const struct endpoint *peer, uint64_t now_us,
		      uint16_t *number, struct endpoint *relay);

/*
 * Hot path in: the peer behind a confirmed channel @number. False: drop. The datagram's source must
 * be one of the relay's addresses (the caller found @turn by it). Notes the receipt as a sign of
 * life and for the refresh rule, which may bring turn_deadline() forward.
 */
bool turn_channel_in(struct turn *turn, uint16_t number, uint64_t now_us, struct endpoint *peer);

#endif
