/*
 * The inside of struct turn, shared by the files of this room: turn.c (interface, timers), answer.c
 * (what an answer means), steps.c (what is done about it) and request.c (messages and their
 * repetition).
 *
 * Theory of operation: every request has a fixed id: the two Bindings, Allocate, Refresh, the
 * unsigned request that draws a nonce, and one per channel. Handling an event only marks requests
 * as to be sent; turn_poll() builds them one by one. So nothing queues up bytes, and the work per
 * event is bounded by the number of requests.
 *
 * Life is what is received, nothing else. What was sent and went unanswered for TURN_UNHEARD_US, or
 * a keepalive's first second, makes the allocation suspect: Bindings follow each other fast, and
 * only an answer ends that, as channel data may come while what we send is lost. Without an answer
 * to the first seven it is silent: its users should go elsewhere, and the relay's other address is
 * tried beside. It is lost only with the last of them, so that an outage of eight seconds in our
 * own network costs no allocation.
 */
#ifndef TURN_STATE_H
#define TURN_STATE_H

#include "base/heap.h"
#include "turn/channels.h"
#include "turn/peers.h"
#include "turn/turn.h"

enum turn_state {
	TURN_PROBING,
	TURN_ALLOCATING, /* Allocate or the deletion before it in flight, or due at allocate_us */
	TURN_READY,
	TURN_SUSPENDED, /* refused, or no address has a way out */
	TURN_DROPPED,
	TURN_CLOSED, /* after TURN_INPUT_DELETE */
};

/* Request ids; a channel's is TURN_REQUEST_CHANNEL + its index. */
enum {
	TURN_REQUEST_BINDING_V4,
	TURN_REQUEST_BINDING_V6,
	TURN_REQUEST_ALLOCATE,
	TURN_REQUEST_REFRESH,
	TURN_REQUEST_DRAW,
	TURN_REQUEST_CHANNEL,
	TURN_REQUESTS = TURN_REQUEST_CHANNEL + TURN_CHANNELS,
	TURN_NO_REQUEST = 0xffff,
};

enum {
	TURN_MAX_CHALLENGES = 3, /* signed ones of one request, answered at round-trip speed */
	TURN_KEY_LEN = 16,
	TURN_MAX_NOTES = 4,
	TURN_TXID_BUCKETS = 1024,
};

/* How a request is repeated. */
enum turn_ladder {
	TURN_LADDER_USUAL, /* at 0, 1, 2.5 and 4.75 s; given up at 8.125 s */
	TURN_LADDER_PROBE, /* of a suspect: seven in 1.6 s, silent at 1.9 s; given up at 8.5 s */
};

/* Tries after which a suspect is silent. */
enum {
	TURN_PROBES_FAST = 7,
};

#define TURN_KEEPALIVE_US (25 * US_PER_S)
/* Channel data received is no proof that what we send arrives: traffic needs an answer this often.
 * Longer than TURN_UNHEARD_US, or silence would never be seen. */
#define TURN_PROOF_US (1500 * US_PER_MS)
/* A relay frees a deleted allocation after about a second. */
#define TURN_MISMATCH_WAIT_US (1500 * US_PER_MS)
#define TURN_REFRESH_RETRY_US (30 * US_PER_S)
/* Sent, and nothing at all received since. */
#define TURN_UNHEARD_US (1400 * US_PER_MS)
/* Traffic goes one way only: whether the relay still knows us is asked no more often. */
#define TURN_ONE_WAY_US (60 * US_PER_S)
/* After a refusal; twice as long with each further one, up to 32 times. */
#define TURN_SUSPENDED_US  (15 * US_PER_S)
#define TURN_MAX_DOUBLINGS 5

struct turn_request {
	struct stun_txid txid; /* of the newest transmission */
	uint64_t first_us;  /* first transmission of this exchange: where its round trip begins */
	uint32_t nonce_gen; /* nonce that the newest transmission carried; 0: none */
	uint16_t next;      /* id + 1 of the next one in its bucket of by_txid; 0: none */
	uint8_t tries;
	uint8_t ladder; /* enum turn_ladder */
	uint8_t family; /* of the relay's address that it goes to */
	uint8_t challenges;
	bool pending; /* an answer would count */
	bool queued;  /* turn_poll() has yet to build it */
	bool stepped; /* an unsigned error has had its effect since the last repeat on schedule */
	bool wants_nonce; /* to be repeated when the drawn nonce comes */
	bool again;       /* the second series, after one that went unanswered */
};

enum turn_refresh {
	TURN_REFRESH_EXTEND,
	TURN_REFRESH_DELETE, /* LIFETIME 0; Allocate follows */
};

/* The six kinds of candidates, by kind and family. */
enum turn_slot {
	TURN_SLOT_HOST_V4,
	TURN_SLOT_HOST_V6,
	TURN_SLOT_SRFLX_V4,
	TURN_SLOT_SRFLX_V6,
	TURN_SLOT_RELAY_V4,
	TURN_SLOT_RELAY_V6,
	TURN_SLOTS,
};

struct turn {
	struct uuid id;
	struct endpoint v4, v6;
	char *username;
	uint8_t *long_term_key; /* TURN_KEY_LEN bytes in a slot of the arena */
	struct secret_arena *arena;
	struct rng rng;

	enum turn_state state;
	uint8_t active;      /* family of the address in use, IP_NONE before and after */
	bool tried_other;    /* the other address has had its chance since the last allocation */
	bool deletion_tried; /* rule 4 of spec 6.2: one deletion per allocation */
	bool asked_anew;     /* a refusal of what is under way may be older than the wish */
	bool barred[2];      /* v4, v6: no way out */
	bool away;           /* no way out for anything */
	bool suspect;        /* Bindings of TURN_LADDER_PROBE are in flight to the active address */
	bool silent;         /* the fast ones went unanswered */
	uint8_t refusals;    /* of Allocate in a row */
	struct endpoint heard_on;     /* our address that the newest answer came to */
	struct endpoint allocated_on; /* the same of the answer that made the allocation */

	uint8_t nonce[STUN_MAX_NONCE];
	size_t nonce_len;
	uint32_t nonce_gen;

	struct turn_request *requests;       /* TURN_REQUESTS of them */
	uint16_t by_txid[TURN_TXID_BUCKETS]; /* first id + 1 of each list */
	uint16_t *queue;                     /* ring of ids whose queued flag is set */
	uint16_t queue_head, queue_count;
	struct heap *timers; /* by request id: next repeat; of an idle channel, its refresh */
	enum turn_refresh refresh_kind;
	uint16_t draw_method;
	bool draw_for_deletion;

	struct turn_channels channels;
	struct turn_peers peers;

	uint64_t allocate_us; /* delayed Allocate, else NEVER_US */
	uint64_t refresh_us, expires_us;
	uint64_t retry_us; /* end of a suspension, else NEVER_US */
	uint64_t last_binding_us, last_sent_us;
	uint64_t answered_us;   /* newest answer of the active address */
	uint64_t unanswered_us; /* the first thing sent there since anything came; NEVER_US: none */
	uint64_t signed_us;     /* newest answer with the relay's signature */
	uint64_t data_us;       /* newest channel data received */
	uint64_t one_way_us;    /* newest Refresh because of traffic that went one way only */
	uint64_t rtt_us;

	/* What is known and what the caller has been told; turn_poll() tells the difference. */
	struct candidate current[TURN_SLOTS], announced[TURN_SLOTS];
	bool drop_told;
	struct turn_note notes[TURN_MAX_NOTES];
	uint8_t n_notes;

	uint8_t out[STUN_MAX_MESSAGE];
};

static inline const struct endpoint *turn_address(const struct turn *t, uint8_t family)
{
	return family == IP_V4 ? &t->v4 : &t->v6;
}

static inline unsigned turn_index_of(uint8_t family)
{
	return family == IP_V6;
}

static inline uint16_t turn_binding_of(uint8_t family)
{
	return family == IP_V4 ? TURN_REQUEST_BINDING_V4 : TURN_REQUEST_BINDING_V6;
}

static inline const struct candidate *turn_relay_of(const struct turn *t, uint8_t family)
{
	return &t->current[family == IP_V4 ? TURN_SLOT_RELAY_V4 : TURN_SLOT_RELAY_V6];
}

/* No requests, no timers: nothing more happens by itself. */
static inline bool turn_is_over(const struct turn *t)
{
	return t->state == TURN_DROPPED || t->state == TURN_CLOSED;
}

#endif
