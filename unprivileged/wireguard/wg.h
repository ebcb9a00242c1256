/*
 * WireGuard: one interface with one static key and many peers; handshakes, sessions, timers,
 * cookies. [WireGuard paper; spec connections 7]
 *
 * Sans-IO. Messages for a peer leave by wg_peer_poll(), cookie replies to strangers by wg_poll().
 * Data goes through wg_open() and wg_seal(), in place, without allocation. There is no roaming: the
 * caller decides where a peer's messages go.
 */
#ifndef WIREGUARD_WG_H
#define WIREGUARD_WG_H

#include "base/defs.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/secret.h"
#include "packet/addr.h"

struct wg;
struct wg_peer;

enum wg_msg_type {
	WG_NOT_WIREGUARD = 0,
	WG_INITIATION = 1,
	WG_RESPONSE = 2,
	WG_COOKIE_REPLY = 3,
	WG_DATA = 4,
};

enum {
	WG_KEY_LEN = 32,
	WG_INITIATION_LEN = 148,
	WG_RESPONSE_LEN = 92,
	WG_COOKIE_REPLY_LEN = 64,
	WG_DATA_HEADER = 16,
	WG_TAG = 16,
	WG_OVERHEAD = 32,
	WG_SCRATCH = 48, /* before a data message's header: used and put back */
	WG_REPLAY_WINDOW = 8192,
	WG_SESSIONS = 8,
	WG_HANDSHAKES_PER_S = 100,
	/* Heap that a peer holds beside its sessions and its secret slot: with nothing under way,
	 * and with all that may wait. */
	WG_PEER_BYTES_IDLE = 576,
	WG_PEER_BYTES_WORST = 2048,
};

struct wg_config {
	uint32_t max_peers;         /* at most 16384 */
	const uint8_t *private_key; /* NULL: a fresh one is drawn; else copied (tests) */
	/* Wall clock at @now_us of wg_new(): TAI64N is this plus monotonic time, never the live
	 * clock. */
	uint64_t unix_us;
	struct rng rng;
	struct secret_arena *arena;
	struct log *log; /* may be NULL */
};

struct wg *wg_new(const struct wg_config *cfg, uint64_t now_us);
void wg_free(struct wg *wg);
const uint8_t *wg_public_key(const struct wg *wg);

/*
 * Add a peer. @owner is handed back by the lookups below. -EEXIST: the key belongs to a living
 * peer, or is ours; -EINVAL: all zero or low order; -ENOSPC: full, or no secret slot is left;
 * -ENOMEM.
 */
MUST_CHECK int wg_peer_add(struct wg *wg, const uint8_t public_key[WG_KEY_LEN],
			   const uint8_t psk[WG_KEY_LEN], void *owner, uint64_t now_us,
			   struct wg_peer **out);
/*
 * The same for a peer that takes the place of @old (may be NULL), whose key it may have: the caller
 * frees @old right afterwards, before anything else happens here. On failure @old is as it was.
 */
MUST_CHECK int wg_peer_replace(struct wg *wg, const struct wg_peer *old,
			       const uint8_t public_key[WG_KEY_LEN], const uint8_t psk[WG_KEY_LEN],
			       void *owner, uint64_t now_us, struct wg_peer **out);
void wg_peer_free(struct wg_peer *peer);
void *wg_peer_owner(const struct wg_peer *peer);

/* The peer's 24-bit connection index: unique, unpredictable; the high bits of all its session
 * indices. */
uint32_t wg_peer_index(const struct wg_peer *peer);
struct wg_peer *wg_peer_by_index(const struct wg *wg, uint32_t index24);

/* By type byte, reserved bytes and exact size. Cheap; first thing to ask of a datagram. */
enum wg_msg_type wg_classify(const uint8_t *buf, size_t len);

/*
 * Take an initiation, response or cookie reply. Order: MAC1, then the rate limits (global and per
 * source), then cookies to the source, then one DH. Returns the peer it belongs to when it was
 * accepted, else NULL (counted, no answer). Drain wg_peer_poll() of that peer and wg_poll()
 * afterwards.
 */
struct wg_peer *wg_handshake(struct wg *wg, const uint8_t *buf, size_t len,
			     const struct endpoint *src, uint64_t now_us);

/* A peer is at @src, as its authentic path checks say: under load it is asked for a cookie always,
 * strangers only at a limited rate. Good for a minute. */
void wg_source_known(struct wg *wg, const struct endpoint *src, uint64_t now_us);

/* The cookie reply that wg_handshake() left, to its source; false when there is none. Valid until
 * the next call. */
bool wg_poll(struct wg *wg, struct endpoint *dst, const uint8_t **data, size_t *len);

enum wg_open_result {
	WG_OPEN_PACKET, /* *inner, *inner_len: plaintext in place, not yet cut to the IP length */
	WG_OPEN_KEEPALIVE,
	WG_OPEN_REFUSED, /* unknown index, replay, forged, expired: drop */
};

/*
 * Open one data message in place. @msg must have WG_SCRATCH writable bytes before it; they are put
 * back. *peer is set for everything but WG_OPEN_REFUSED. May make messages due (drain
 * wg_peer_poll() after the batch when wg_peer_pending()).
 */
enum wg_open_result wg_open(struct wg *wg, uint8_t *msg, size_t len, uint64_t now_us,
			    struct wg_peer **peer, uint8_t **inner, size_t *inner_len);

/*
 * Seal one packet in place: the caller put @inner_len bytes at @msg + WG_DATA_HEADER and left
 * WG_SCRATCH bytes before @msg (put back) and WG_TAG behind. Returns the message's length, 0 when
 * no session may send: a handshake is then due and the packet is lost.
 */
size_t wg_seal(struct wg_peer *peer, uint8_t *msg, size_t inner_len, uint64_t now_us);

/* Asked once per batch before sealing: false when wg_seal() would return 0; makes a handshake due
 * if the peer has a path. */
bool wg_can_seal(struct wg_peer *peer, uint64_t now_us);

/*
 * A path was nominated, another one than before was, or it was lost. Without one no handshake is
 * started and no timer runs; messages that must go out are held by the peer, oldest overwritten,
 * and come out of wg_peer_poll() in order once there is a path. A few are enough: only responses
 * are made without a path, and of these the other side takes the one to its last initiation or to
 * the one before. (The reference holds 128.)
 *
 * Our last handshake message may have gone along a path that was dead already: as long as it is
 * unanswered, it comes out of wg_peer_poll() once more for each new path, three times at most.
 */
void wg_peer_set_path(struct wg_peer *peer, bool has_path, uint64_t now_us);

/* Timers. NEVER_US without a path, but for the 540 s rule. */
void wg_peer_timeout(struct wg_peer *peer, uint64_t now_us);
uint64_t wg_peer_deadline(const struct wg_peer *peer);

enum wg_event_kind {
	WG_EVENT_SEND,        /* data, len: to the peer's nominated path; Not-ECT */
	WG_EVENT_ESTABLISHED, /* a session may carry data both ways; not for a rekey */
	WG_EVENT_EXPIRED,     /* handshake given up or 540 s without one: remove the connection */
};

struct wg_event {
	enum wg_event_kind kind;
	const uint8_t *data; /* valid until the next call on the peer */
	size_t len;
};

bool wg_peer_pending(const struct wg_peer *peer);
bool wg_peer_poll(struct wg_peer *peer, struct wg_event *out, uint64_t now_us);

/* True once a session carried data or may: for logs and tests. */
bool wg_peer_established(const struct wg_peer *peer);

struct wg_counters {
	uint64_t handshakes_ok, handshakes_refused, cookies_sent, opened, open_refused, sealed,
	    seal_refused;
	uint64_t unknown_index; /* of open_refused: to no session of ours */
};
void wg_counters(const struct wg *wg, struct wg_counters *out);

#endif
