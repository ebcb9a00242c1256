#include "channel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "fixture.h"
#include "turn/channel_data.h"
#include "turn/turn.h"

void channel_says(struct world *w, uint16_t number, const uint8_t *data, size_t len, uint8_t ecn)
{
	uint8_t buf[TURN_CHANNEL_HEADER + WORLD_BUFFER];

	assert_true(len <= WORLD_BUFFER);
	channel_data_write_header(buf, number, (uint16_t)len);
	memcpy(buf + TURN_CHANNEL_HEADER, data, len);
	len += TURN_CHANNEL_HEADER;
	world_gro(w, &w->relay, buf, len, len, ecn);
}

bool channel_hears(const struct world *w, size_t *at, struct datagram *out)
{
	uint16_t number;

	while (*at < w->n_sent) {
		const struct datagram *d = &w->sent[(*at)++];

		if (!endpoint_eq(&d->key.dst, &w->relay) ||
		    !channel_data_read(&number, d->data, d->len) || number != TURN_CHANNEL_MIN)
			continue;
		*out = *d;
		out->len = d->len - TURN_CHANNEL_HEADER;
		memmove(out->data, out->data + TURN_CHANNEL_HEADER, out->len);
		return true;
	}
	return false;
}

/* The client's answer to a check of the gateway's. */
static void answer(struct world *w, const struct stun_msg *msg)
{
	uint8_t buf[256];
	struct stun_builder b;
	size_t len;

	stun_begin(&b, buf, sizeof(buf), STUN_BINDING, STUN_SUCCESS, &msg->txid);
	stun_put_xor_address(&b, STUN_ATTR_XOR_MAPPED_ADDRESS, &w->relayed);
	len = stun_finish(&b, (const uint8_t *)w->who.pwd, strlen(w->who.pwd), true);
	channel_says(w, TURN_CHANNEL_MIN, buf, len, 0);
}

bool channel_check(struct world *w, bool nominate)
{
	struct stun_txid txid;
	struct stun_msg msg;
	struct datagram d;
	uint8_t buf[256];
	size_t at = 0, len = world_check(w, buf, sizeof(buf), &txid, w->who.gateway_ufrag,
					 w->who.gateway_pwd, nominate);
	bool answered = false;

	w->n_sent = 0;
	channel_says(w, TURN_CHANNEL_MIN, buf, len, 0);
	while (channel_hears(w, &at, &d)) {
		if (!stun_msg_read(&msg, d.data, d.len))
			continue;
		if (msg.class == STUN_SUCCESS)
			answered = answered || memcmp(&msg.txid, &txid, sizeof(txid)) == 0;
		else if (msg.class == STUN_REQUEST)
			answer(w, &msg);
	}
	return answered;
}

unsigned int channel_binds(const struct world *w)
{
	unsigned int n = 0;

	for (size_t i = 0; i < w->n_sent; i++) {
		struct stun_msg msg;

		n += stun_msg_read(&msg, w->sent[i].data, w->sent[i].len) &&
		     msg.method == STUN_CHANNEL_BIND;
	}
	return n;
}

/* Its interface sends what it has to, and hears what came. */
static void exchange(struct world *w)
{
	struct wg_event event;
	struct datagram d;
	size_t at = 0;

	w->n_sent = 0;
	while (wg_peer_poll(w->client_peer, &event, w->now_us))
		if (event.kind == WG_EVENT_SEND)
			channel_says(w, TURN_CHANNEL_MIN, event.data, event.len, 0);
	while (channel_hears(w, &at, &d))
		if (wg_classify(d.data, d.len) == WG_RESPONSE)
			assert_non_null(
			    wg_handshake(w->client_wg, d.data, d.len, &w->relayed, w->now_us));
}

void channel_connect(struct world *w)
{
	fixture_authorize(w);
	world_client_candidate(
	    w, "candidate:1 1 udp 1686109951 198.51.100.4 52625 typ srflx raddr 0.0.0.0 rport 0");
	world_relay_answers(w); /* the channel */
	assert_true(channel_check(w, false));
	assert_true(channel_check(w, true));
	wg_peer_set_path(w->client_peer, true, w->now_us);
	assert_false(wg_can_seal(w->client_peer, w->now_us));
	exchange(w);
	exchange(w);
	assert_true(wg_can_seal(w->client_peer, w->now_us));
	world_forget(w);
}
