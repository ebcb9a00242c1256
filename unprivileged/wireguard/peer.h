/*
 * Inside of the room: what an interface and a peer hold, and the functions that its files share.
 *
 * A message changes a peer only after it was verified whole: each function here that is named
 * "commit" runs behind the last check and cannot fail.
 */
#ifndef WIREGUARD_PEER_H
#define WIREGUARD_PEER_H

#include <assert.h>

#include "base/defs.h"
#include "wireguard/cookie.h"
#include "wireguard/crypto.h"
#include "wireguard/noise.h"
#include "wireguard/session.h"
#include "wireguard/wg.h"

/* [spec connections 7.1, 7.3] */
#define WG_RETRY_US      (5 * US_PER_S)
#define WG_JITTER_US     (333 * US_PER_MS) /* inclusive */
#define WG_GIVE_UP_US    (20 * US_PER_S)
#define WG_KEEPALIVE_US  (10 * US_PER_S)
#define WG_UNANSWERED_US (15 * US_PER_S)
#define WG_DEAD_US       (540 * US_PER_S)

enum {
	WG_MAX_PEERS = 16384,
	WG_SLOT_BITS = 14,
	WG_INDEX_BITS = 24,
	WG_SESSION_BITS = 8,  /* low bits of a session index */
	WG_HELD_MESSAGES = 4, /* see wg_peer_set_path() */
	WG_REPEATS = 3,       /* of one message along new paths */
	WG_PENDING = 2,       /* initiations that a response may answer */
	WG_MESSAGE_MAX = WG_INITIATION_LEN,
};

/* What is due at the next wg_peer_poll(). */
enum {
	WG_DUE_EXPIRED = 1,
	WG_DUE_ESTABLISHED = 2,
	WG_DUE_INITIATION = 4, /* needs a path, as does all that follows */
	WG_DUE_KEEPALIVE = 8,
};

/* Secret slot of a peer. */
struct wg_peer_secret {
	uint8_t psk[WG_KEY_LEN];
	uint8_t static_static[WG_KEY_LEN];
	struct {
		uint8_t ephemeral[WG_KEY_LEN];
		uint8_t chaining_key[WG_HASH_LEN];
	} pending[WG_PENDING];
	uint8_t cookie[WG_COOKIE_LEN];
};

/* Secret slot of the interface. */
struct wg_secret {
	uint8_t private_key[WG_KEY_LEN];
	uint8_t bucket_key[16];
	struct wg_gate_secret gate;
};

/* Work space of the handshake in progress; a secret slot, wiped after each use. */
struct wg_work {
	uint8_t ephemeral[WG_KEY_LEN];
	struct wg_noise_session_keys keys;
	struct wg_noise_chain chain;
};

static_assert(sizeof(struct wg_peer_secret) <= SECRET_SLOT_SIZE, "fits a slot");
static_assert(sizeof(struct wg_secret) <= SECRET_SLOT_SIZE, "fits a slot");
static_assert(sizeof(struct wg_work) <= SECRET_SLOT_SIZE, "fits a slot");

/* An initiation of ours that waits for its response, WG_GIVE_UP_US at most. */
struct wg_pending {
	bool active;
	uint32_t index;
	uint64_t sent_us;
	uint8_t hash[WG_HASH_LEN];
};

struct wg_message {
	struct wg_message *next;
	uint64_t made_us;
	uint32_t index; /* its sender index */
	uint16_t len, sent;
	uint8_t bytes[WG_MESSAGE_MAX];
};

struct wg_peer {
	struct wg *wg;
	struct wg_session *current; /* the newest that may send, or NULL; one of sessions[] */
	struct wg_session *sessions[WG_SESSIONS]; /* by index mod WG_SESSIONS */
	uint64_t keepalive_us;                    /* 10 s rule; NEVER_US: nothing to answer */
	uint64_t unanswered_us;                   /* 15 s rule; NEVER_US: nothing is unanswered */
	unsigned due;
	bool has_path;
	bool expired;
	bool initiator; /* the last handshake was ours: so are the rekey duties */

	uint64_t handshake_us;   /* next initiation; NEVER_US: none planned */
	uint64_t attempt_us;     /* first initiation of the running attempt or NEVER_US */
	uint64_t forget_us;      /* an attempt was overtaken or cut off: wipe what it left */
	uint64_t established_us; /* last handshake, at first the peer's creation */
	uint64_t jitter_us;      /* of the next planned handshake, drawn ahead */
	uint64_t next_serial;
	uint8_t session_counter;

	struct wg_pending pending[WG_PENDING];
	unsigned latest; /* pending[] of the last initiation */
	uint8_t last_timestamp[WG_TIMESTAMP_LEN];
	/* The last handshake message we sent, which a cookie reply may name. */
	bool cookie_wanted;
	uint32_t last_index;
	uint8_t last_mac1[WG_MAC_LEN];
	uint64_t cookie_until_us; /* 0: none */

	struct wg_message *head, *tail; /* held or to be polled */
	struct wg_message *polled;      /* lent to the caller */
	struct wg_message *said;        /* the last one that went out, while it is unanswered */
	unsigned held;
	uint8_t keepalive[WG_SCRATCH + WG_OVERHEAD];

	uint8_t public_key[WG_KEY_LEN];
	uint32_t index; /* 24 bits */
	void *owner;
	struct wg_peer_secret *secret;
	struct wg_peer *hash_next;
};

static_assert(sizeof(struct wg_peer) <= WG_PEER_BYTES_IDLE, "as wg.h states it");
/* Those that wait, the one lent, the one said; and what the allocator adds. */
static_assert(sizeof(struct wg_peer) + (WG_HELD_MESSAGES + 2) * (sizeof(struct wg_message) + 16) <=
		  WG_PEER_BYTES_WORST,
	      "as wg.h states it");

struct wg_slot {
	struct wg_peer *peer;
	uint32_t index; /* of the peer, or of the last one */
};

/* Peers whose keys have the same hash, by hash_next. */
struct wg_bucket {
	struct wg_peer *first;
};

struct wg {
	struct wg_crypto *crypto;
	struct wg_slot *slots;
	uint32_t max_peers;
	uint32_t index_mask;
	struct wg_counters counters;

	struct wg_bucket *buckets; /* by keyed hash of the public key */
	uint32_t bucket_mask;
	uint32_t free_count;
	uint16_t *free_slots;

	struct wg_secret *secret;
	struct wg_work *work;
	uint8_t public_key[WG_KEY_LEN];
	struct wg_gate gate;
	struct rng rng;
	struct secret_arena *arena;
	struct log *log;
	uint64_t start_us, unix_us;
	uint64_t last_stamp_us; /* of the last TAI64N, microseconds since 1970 */

	bool reply_ready;
	struct endpoint reply_to;
	uint8_t reply[WG_COOKIE_REPLY_LEN];
};

/* wg.c */

struct wg_peer *wg_peer_by_key(const struct wg *wg, const uint8_t public_key[WG_KEY_LEN]);
/* All 32 bits of @index match. NULL if there is none. */
struct wg_session *wg_session_by_index(const struct wg *wg, uint32_t index, struct wg_peer **peer);
/* Our time as TAI64N; later than every one before. */
void wg_timestamp(struct wg *wg, uint64_t now_us, uint8_t out[WG_TIMESTAMP_LEN]);

/* handshake.c */

/* Make an initiation and queue it; false without memory or for a library failure. */
MUST_CHECK bool wg_initiate(struct wg_peer *peer, uint64_t now_us);
void wg_pending_wipe(struct wg_peer *peer);

/* peer.c */

/* The session index after the last one used. */
uint32_t wg_next_index(const struct wg_peer *peer);
/* Fill in the MACs of a message with @index as sender; NULL without memory or for a library
 * failure. */
struct wg_message *wg_message_new(struct wg_peer *peer, const uint8_t *msg, size_t len,
				  uint64_t now_us);
/* A message of ours goes out: its index is used, its MAC1 remembered. Takes @message. */
void wg_commit_message(struct wg_peer *peer, struct wg_message *message, uint32_t index);
/* Held messages, the one lent to the caller and the one that may have to be said again. */
void wg_messages_free(struct wg_peer *peer);
/* A handshake is complete on our side. Takes @session. */
void wg_commit_session(struct wg_peer *peer, struct wg_session *session, uint64_t now_us);
/* An authentic data message of @inner_len bytes came in on @session. */
void wg_note_received(struct wg_peer *peer, struct wg_session *session, size_t inner_len,
		      uint64_t now_us);

#endif
