/*
 * One data session: two keyed ciphers, two counters and its ages. [WireGuard paper 5.4.6, 6.1, 6.2]
 */
#ifndef WIREGUARD_SESSION_H
#define WIREGUARD_SESSION_H

#include "base/defs.h"
#include "wireguard/crypto.h"
#include "wireguard/noise.h"
#include "wireguard/replay.h"
#include "wireguard/wg.h"

/* [WireGuard paper 6.1] */
#define WG_REKEY_AFTER_MESSAGES  (UINT64_C(1) << 60)
#define WG_REJECT_AFTER_MESSAGES (UINT64_MAX - (UINT64_C(1) << 13) + 1)
#define WG_REKEY_AFTER_US        (120 * US_PER_S) /* initiator, when it sends */
#define WG_REKEY_RECEIVE_US      (165 * US_PER_S) /* initiator, when it receives */
#define WG_INITIATOR_STOP_US     (170 * US_PER_S) /* initiator sends no more */
#define WG_REJECT_AFTER_US       (180 * US_PER_S)

struct wg_session {
	EVP_CIPHER_CTX *send, *receive;
	uint64_t send_counter;
	uint64_t send_until_us;    /* last moment of sending */
	uint64_t expires_us;       /* last moment of receiving; removed afterwards */
	uint64_t rekey_send_us;    /* a message sent from then on asks for a handshake */
	uint64_t rekey_receive_us; /* a message received from then on does */
	uint64_t serial;           /* newer sessions of a peer have higher ones */
	uint32_t local_index, remote_index;
	bool initiator; /* we began this handshake */
	bool confirmed; /* may send: ours, or data came in on it */
	struct wg_replay replay;
};

/* NULL without memory. The caller sets the serial. @keys stays the caller's to wipe. */
struct wg_session *wg_session_new(const struct wg_crypto *c,
				  const struct wg_noise_session_keys *keys, bool initiator,
				  uint32_t local_index, uint32_t remote_index, uint64_t now_us);
/* Wipes both keys. @session may be NULL. */
void wg_session_free(struct wg_session *session);

static inline bool wg_session_may_send(const struct wg_session *session, uint64_t now_us)
{
	return session->confirmed && now_us <= session->send_until_us &&
	       session->send_counter < WG_REJECT_AFTER_MESSAGES;
}

/* As wg_seal(), with the next counter; the session may send. 0, and no plaintext left, on failure.
 */
size_t wg_session_seal(struct wg_crypto *c, struct wg_session *session, uint8_t *msg,
		       size_t inner_len);

/*
 * Open a data message whose counter the caller has read and asked the window about. Verifies before
 * it decrypts; a forged message stays as it was. Does not mark the counter.
 */
MUST_CHECK bool wg_session_open(struct wg_crypto *c, struct wg_session *session, uint8_t *msg,
				size_t len, uint64_t counter);

#endif
