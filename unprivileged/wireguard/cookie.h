/*
 * MAC1, MAC2, cookies, and the limits on handshakes. [WireGuard paper 5.3, 5.4.4, 5.4.7; spec
 * connections 7.5]
 *
 * The first WG_HANDSHAKES_PER_S messages with a valid MAC1 in a second are free. Beyond them a
 * message must prove its source by MAC2, or is answered with a cookie; a proven source has a budget
 * of its own. An unproven source has none: it could be spent by whoever forges that address.
 *
 * Answers cost more than questions, so strangers share WG_COOKIES_PER_S of them. A source that the
 * caller knows to be a peer's (its path checks are authentic) is answered always.
 */
#ifndef WIREGUARD_COOKIE_H
#define WIREGUARD_COOKIE_H

#include "base/defs.h"
#include "base/rng.h"
#include "packet/addr.h"
#include "wireguard/crypto.h"
#include "wireguard/wg.h"

enum {
	WG_COOKIE_LEN = 16,
	WG_COOKIE_SECRET_LEN = 16,
	WG_COOKIE_EPOCH_S = 128,
	WG_SOURCE_BUCKETS = 1024,
	WG_SOURCE_PER_S = 20,
	WG_SOURCE_BURST = 20,
	WG_COOKIES_PER_S = 1000,
	WG_KNOWN_SOURCES = 32768, /* power of two */
	WG_KNOWN_S = 60,          /* more than two intervals of an idle client's checks */
};

#define WG_COOKIE_VALID_US (120 * US_PER_S)

/* Secret; lives in the interface's secret slot. */
struct wg_gate_secret {
	uint8_t cookie_secret[WG_COOKIE_SECRET_LEN];
	uint8_t bucket_key[16];
};

/* A source in short; two that share a place lose nothing but their standing. */
struct wg_known {
	uint32_t tag, until_s; /* of the gate's own time; 0: none */
};

struct wg_gate {
	uint8_t mac1_key[WG_KEY_LEN];   /* of messages to us */
	uint8_t cookie_key[WG_KEY_LEN]; /* of cookie replies by us */
	struct wg_gate_secret *secret;
	uint64_t start_us;
	uint64_t second_us; /* when the running second began */
	uint32_t in_second;
	uint64_t cookies_paid_us; /* the strangers' answers: bucket_take() */
	/* Budgets by hash of the source (IPv6: its /64): bucket_take() */
	uint64_t paid_us[WG_SOURCE_BUCKETS];
	struct wg_known known[WG_KNOWN_SOURCES];
};

enum wg_gate_verdict {
	WG_GATE_PASS,
	WG_GATE_DROP,
	WG_GATE_COOKIE, /* answer with wg_gate_reply() */
};

/* False for a library failure. @secret must outlive the gate. */
MUST_CHECK bool wg_gate_init(struct wg_gate *gate, struct wg_crypto *c,
			     struct wg_gate_secret *secret, const uint8_t public_key[WG_KEY_LEN],
			     const struct rng *rng, uint64_t now_us);

/* Judge an initiation or response of the right size. */
enum wg_gate_verdict wg_gate_check(struct wg_gate *gate, struct wg_crypto *c, const uint8_t *msg,
				   size_t len, const struct endpoint *src, uint64_t now_us);

/* A peer has proved to be at @src by other means; good for WG_KNOWN_S. */
void wg_gate_know(struct wg_gate *gate, const struct endpoint *src, uint64_t now_us);

/* The cookie reply to @msg; false for a library failure. */
MUST_CHECK bool wg_gate_reply(struct wg_gate *gate, struct wg_crypto *c, const struct rng *rng,
			      const uint8_t *msg, size_t len, const struct endpoint *src,
			      uint64_t now_us, uint8_t out[WG_COOKIE_REPLY_LEN]);

/* The cookie of an address in an epoch. */
void wg_cookie_derive(struct wg_crypto *c, const uint8_t secret[WG_COOKIE_SECRET_LEN],
		      uint64_t epoch, const struct ip_addr *ip, uint8_t out[WG_COOKIE_LEN]);

/* The other side: what we put on our own messages, and what we get back. */

/* The key for MAC1 ("mac1----") or cookies ("cookie--") of the owner of @public_key. */
void wg_cookie_label_key(struct wg_crypto *c, uint8_t out[WG_KEY_LEN], const char label[8],
			 const uint8_t public_key[WG_KEY_LEN]);

/* Write both MACs of a message to the owner of @public_key. @cookie NULL: MAC2 is zero. */
void wg_cookie_stamp(struct wg_crypto *c, const uint8_t public_key[WG_KEY_LEN],
		     const uint8_t *cookie, uint8_t *msg, size_t len);

/* Open a cookie reply by the owner of @public_key to the message that had @mac1. */
MUST_CHECK bool wg_cookie_open(struct wg_crypto *c, const uint8_t public_key[WG_KEY_LEN],
			       const uint8_t mac1[WG_MAC_LEN],
			       const uint8_t reply[WG_COOKIE_REPLY_LEN],
			       uint8_t out[WG_COOKIE_LEN]);

#endif
