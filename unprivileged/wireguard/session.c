#include "wireguard/session.h"

#include <stdlib.h>

#include "packet/bytes.h"
#include "wireguard/aead.h"

struct wg_session *wg_session_new(const struct wg_crypto *c,
				  const struct wg_noise_session_keys *keys, bool initiator,
				  uint32_t local_index, uint32_t remote_index, uint64_t now_us)
{
	struct wg_session *session = calloc(1, sizeof(*session));

	if (!session)
		return NULL;
	session->send = wg_aead_key(c, initiator ? keys->to_responder : keys->to_initiator);
	session->receive = wg_aead_key(c, initiator ? keys->to_initiator : keys->to_responder);
	if (!session->send || !session->receive) {
		wg_session_free(session);
		return NULL;
	}
	session->local_index = local_index;
	session->remote_index = remote_index;
	session->initiator = initiator;
	session->confirmed = initiator;
	session->expires_us = add_us(now_us, WG_REJECT_AFTER_US);
	session->send_until_us = session->expires_us;
	session->rekey_send_us = NEVER_US;
	session->rekey_receive_us = NEVER_US;
	if (initiator) {
		session->send_until_us = add_us(now_us, WG_INITIATOR_STOP_US);
		session->rekey_send_us = add_us(now_us, WG_REKEY_AFTER_US);
		session->rekey_receive_us = add_us(now_us, WG_REKEY_RECEIVE_US);
	}
	return session;
}

void wg_session_free(struct wg_session *session)
{
	if (!session)
		return;
	EVP_CIPHER_CTX_free(session->send);
	EVP_CIPHER_CTX_free(session->receive);
	free(session);
}

size_t wg_session_seal(struct wg_crypto *c, struct wg_session *session, uint8_t *msg,
		       size_t inner_len)
{
	struct writer w = writer_of(msg, WG_DATA_HEADER);
	const uint64_t counter = session->send_counter++;

	if (!wg_aead_seal(c, session->send, counter, msg + WG_DATA_HEADER, inner_len))
		return 0;
	wr_le32(&w, WG_DATA);
	wr_le32(&w, session->remote_index);
	wr_le64(&w, counter);
	return WG_OVERHEAD + inner_len;
}

bool wg_session_open(struct wg_crypto *c, struct wg_session *session, uint8_t *msg, size_t len,
		     uint64_t counter)
{
	return wg_aead_open(c, session->receive, counter, msg + WG_DATA_HEADER, len - WG_OVERHEAD);
}
