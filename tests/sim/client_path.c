#include "client_path.h"

#include <string.h>

#include "packet/bytes.h"
#include "turn/channel_data.h"
#include "world.h"

enum {
	GOODBYE_NEXT_HEADER = 0xff,
	V6_NEXT_HEADER = 6,
	RELAY_AGAIN_S = 2,
};

static uint64_t now(const struct client_node *c)
{
	return c->world->sim.now_us;
}

static void transmit(struct client_node *c, const struct endpoint *src, const struct endpoint *dst,
		     const uint8_t *data, size_t len)
{
	struct outgoing out = {.src = {.port = CLIENT_PORT}, .dst = *dst, .data = data, .len = len};

	if (src)
		out.src.ip = src->ip;
	(void)net_send(&c->world->net, c->host, &out);
}

static struct turn *chosen(const struct client_node *c)
{
	return c->chosen >= 0 ? c->relays[c->chosen].turn : NULL;
}

static void relay_drain(struct client_node *c, unsigned relay);

static void relay_feed(struct client_node *c, unsigned relay, const struct turn_input *in)
{
	if (!c->relays[relay].turn)
		return;
	turn_handle(c->relays[relay].turn, in, now(c));
	relay_drain(c, relay);
}

void client_path_bind(struct client_node *c, const struct endpoint *peer)
{
	struct turn_input in = {.kind = TURN_INPUT_BIND};

	in.u.bind.peer = *peer;
	in.u.bind.owner = 1;
	if (chosen(c))
		relay_feed(c, (unsigned)c->chosen, &in);
}

void client_path_send(struct client_node *c, const struct ice_path *path, const uint8_t *data,
		      size_t len)
{
	uint8_t buf[TURN_CHANNEL_HEADER + NET_MAX_DATAGRAM], header[TURN_CHANNEL_HEADER];
	struct writer w = writer_of(buf, sizeof(buf));
	struct endpoint relay;
	uint16_t number;

	if (!path->via_relay) {
		transmit(c, &path->local, &path->remote, data, len);
		return;
	}
	if (!chosen(c))
		return;
	if (!turn_channel_out(chosen(c), &path->remote, now(c), &number, &relay)) {
		client_path_bind(c, &path->remote);
		return;
	}
	channel_data_write_header(header, number, (uint16_t)len);
	wr_bytes(&w, header, sizeof(header));
	wr_bytes(&w, data, len);
	transmit(c, NULL, &relay, buf, w.written);
}

/* --- candidates --- */

static void news_flush(struct client_node *c, struct client_news *news, bool add)
{
	if (news->n > 0)
		portal_node_candidates(&c->world->portal, c->index, add, news->texts, news->n);
	news->n = 0;
}

static void news_add(struct client_node *c, struct client_news *news, bool add,
		     const struct candidate *candidate)
{
	if (news->n == CLIENT_NEWS)
		news_flush(c, news, add);
	if (candidate_format(candidate, ice_local_ufrag(c->ice), news->texts[news->n],
			     CANDIDATE_TEXT_MAX) > 0)
		news->n++;
}

static void local_add(struct client_node *c, const struct candidate *candidate)
{
	struct ice_input in = {.kind = ICE_INPUT_LOCAL_ADD, .u.candidate = *candidate};
	struct candidate peers[ICE_MAX_REMOTE_SIGNALLED];
	size_t n = ice_remote_candidates(c->ice, peers, ICE_MAX_REMOTE_SIGNALLED);

	for (size_t i = 0; i < n && candidate->kind == CANDIDATE_RELAY; i++)
		if (peers[i].kind != CANDIDATE_HOST)
			client_path_bind(c, &peers[i].addr);
	if (c->ice)
		ice_handle(c->ice, &in, now(c));
}

static void local_remove(struct client_node *c, const struct candidate *candidate)
{
	struct ice_input in = {.kind = ICE_INPUT_LOCAL_REMOVE, .u.candidate = *candidate};
	struct candidate known[ICE_MAX_LOCAL];
	size_t n = ice_local_candidates(c->ice, known, ICE_MAX_LOCAL);

	for (size_t i = 0; i < n; i++)
		if (known[i].kind == candidate->kind &&
		    endpoint_eq(&known[i].addr, &candidate->addr))
			news_add(c, &c->withdrawn, false, &known[i]);
	ice_handle(c->ice, &in, now(c));
}

static bool stands(const struct turn *t)
{
	return t && turn_standing(t) == TURN_STANDS;
}

/* Rather one that works, then the fastest. */
static bool is_better(const struct turn *t, const struct turn *than)
{
	if (!than || stands(t) != stands(than))
		return !than || stands(t);
	return turn_rtt_us(t) < turn_rtt_us(than);
}

/* Among those that have answered. */
static void choose(struct client_node *c)
{
	struct candidate known[TURN_MAX_CANDIDATES];
	size_t n;

	for (int i = 0; i < PORTAL_RELAYS; i++) {
		const struct turn *t = c->relays[i].turn;

		if (t && turn_rtt_us(t) > 0 && is_better(t, chosen(c)))
			c->chosen = i;
	}
	if (!chosen(c))
		return;
	n = turn_candidates(chosen(c), known);
	for (size_t i = 0; i < n && c->ice; i++)
		if (known[i].kind == CANDIDATE_RELAY)
			local_add(c, &known[i]);
}

void client_path_follow(struct client_node *c)
{
	int was = c->chosen;

	if (!c->ice || stands(chosen(c)))
		return;
	for (int i = 0; i < PORTAL_RELAYS; i++)
		if (stands(c->relays[i].turn) && c->chosen == was)
			choose(c);
}

void client_path_begin(struct client_node *c)
{
	struct candidate known[TURN_MAX_CANDIDATES];

	choose(c);
	for (unsigned r = 0; r < PORTAL_RELAYS; r++) {
		size_t n = c->relays[r].turn ? turn_candidates(c->relays[r].turn, known) : 0;

		for (size_t i = 0; i < n; i++)
			if (known[i].kind != CANDIDATE_RELAY)
				local_add(c, &known[i]);
	}
}

/* --- relays --- */

void client_path_relay_lost(struct client_node *c, unsigned relay)
{
	struct candidate known[TURN_MAX_CANDIDATES];
	struct turn *t = c->relays[relay].turn;
	size_t n = t ? turn_candidates(t, known) : 0;

	if (!t)
		return;
	for (size_t i = 0; i < n && c->ice; i++)
		if (known[i].kind == CANDIDATE_RELAY)
			local_remove(c, &known[i]);
	c->relays[relay] = (struct client_relay){.again_us = now(c) + RELAY_AGAIN_S * US_PER_S};
	turn_free(t);
	if (c->chosen == (int)relay) {
		c->chosen = -1;
		if (c->ice)
			choose(c);
	}
}

void client_path_relay_refresh(struct client_node *c, unsigned relay)
{
	struct turn_input in = {.kind = TURN_INPUT_REFRESH};

	relay_feed(c, relay, &in);
}

static void relay_candidate(struct client_node *c, unsigned relay, const struct candidate *found)
{
	if (c->ice && !chosen(c))
		choose(c);
	if (c->ice && (found->kind != CANDIDATE_RELAY || c->chosen == (int)relay))
		local_add(c, found);
}

static void relay_drain(struct client_node *c, unsigned relay)
{
	struct turn_output out;

	while (c->relays[relay].turn && turn_poll(c->relays[relay].turn, &out)) {
		switch (out.kind) {
		case TURN_OUTPUT_TRANSMIT:
			transmit(c, NULL, &out.u.transmit.dst, out.u.transmit.data,
				 out.u.transmit.len);
			break;
		case TURN_OUTPUT_CANDIDATE:
			relay_candidate(c, relay, &out.u.candidate);
			break;
		case TURN_OUTPUT_LOST:
			if (c->ice && out.u.lost.kind == CANDIDATE_RELAY)
				local_remove(c, &out.u.lost);
			break;
		case TURN_OUTPUT_DROPPED:
			client_path_relay_lost(c, relay);
			break;
		}
	}
}

/* --- what comes in --- */

static void packet_in(struct client_node *c, uint8_t *inner, size_t len)
{
	size_t whole = ip_trim(inner, len);

	if (whole == 0)
		return;
	if (whole == TUNNEL_GOODBYE_LEN && inner[V6_NEXT_HEADER] == GOODBYE_NEXT_HEADER) {
		client_path_lost(c, "the gateway says goodbye");
		return;
	}
	truth_returned(&c->world->truth, c->index, inner, whole);
}

static void wireguard_in(struct client_node *c, uint8_t *data, size_t len,
			 const struct endpoint *src)
{
	struct wg_peer *peer;
	uint8_t *inner;
	size_t inner_len;

	if (wg_classify(data, len) != WG_DATA)
		(void)wg_handshake(c->wg, data, len, src, now(c));
	else if (wg_open(c->wg, data, len, now(c), &peer, &inner, &inner_len) == WG_OPEN_PACKET)
		packet_in(c, inner, inner_len);
}

static void peer_in(struct client_node *c, uint8_t *data, size_t len, const struct endpoint *src,
		    const struct endpoint *dst)
{
	struct ice_input in = {.kind = ICE_INPUT_STUN};
	struct stun_msg msg;

	if (wg_classify(data, len) != WG_NOT_WIREGUARD) {
		wireguard_in(c, data, len, src);
		return;
	}
	if (!c->ice || !stun_msg_read(&msg, data, len))
		return;
	in.u.stun.msg = &msg;
	in.u.stun.buf = data;
	in.u.stun.len = len;
	in.u.stun.src = *src;
	in.u.stun.dst = *dst;
	ice_handle(c->ice, &in, now(c));
}

static void relay_in(struct client_node *c, unsigned relay, struct datagram *d)
{
	struct turn_input in = {.kind = TURN_INPUT_DATAGRAM};
	struct turn *t = c->relays[relay].turn;
	struct endpoint src, dst;
	uint16_t number;

	if (d->bytes[0] < 4) {
		in.u.datagram.buf = d->bytes;
		in.u.datagram.len = d->len;
		in.u.datagram.src = d->src;
		in.u.datagram.dst = d->dst;
		relay_feed(c, relay, &in);
		return;
	}
	if (channel_data_read(&number, d->bytes, d->len) &&
	    turn_channel_in(t, number, now(c), &src) && turn_relayed(t, src.ip.family, &dst))
		peer_in(c, d->bytes + TURN_CHANNEL_HEADER, d->len - TURN_CHANNEL_HEADER, &src,
			&dst);
}

void client_path_receive(void *ctx, struct datagram *d)
{
	struct client_node *c = ctx;
	int relay = -1;

	if (c->off || d->dst.port != CLIENT_PORT || d->len == 0)
		return;
	for (int i = 0; i < PORTAL_RELAYS; i++)
		if (c->relays[i].turn && turn_has_address(c->relays[i].turn, &d->src))
			relay = i;
	if (relay >= 0)
		relay_in(c, (unsigned)relay, d);
	else
		peer_in(c, d->bytes, d->len, &d->src, &d->dst);
	client_path_drain(c);
}

/* --- time and what goes out --- */

uint64_t client_path_deadline(const struct client_node *c)
{
	uint64_t at = NEVER_US;

	for (unsigned i = 0; i < PORTAL_RELAYS; i++)
		if (c->relays[i].turn)
			at = min_u64(at, turn_deadline(c->relays[i].turn));
	if (c->ice)
		at = min_u64(at, min_u64(ice_deadline(c->ice), wg_peer_deadline(c->peer)));
	return at;
}

void client_path_timeout(struct client_node *c)
{
	struct turn_input turn = {.kind = TURN_INPUT_TIMEOUT};
	struct ice_input ice = {.kind = ICE_INPUT_TIMEOUT};

	for (unsigned i = 0; i < PORTAL_RELAYS; i++)
		if (c->relays[i].turn && turn_deadline(c->relays[i].turn) <= now(c))
			relay_feed(c, i, &turn);
	if (c->ice && ice_deadline(c->ice) <= now(c))
		ice_handle(c->ice, &ice, now(c));
	if (c->ice && wg_peer_deadline(c->peer) <= now(c))
		wg_peer_timeout(c->peer, now(c));
}

static void selected(struct client_node *c, const struct ice_path *path)
{
	char local[ENDPOINT_TEXT_MAX], remote[ENDPOINT_TEXT_MAX];

	endpoint_format(&path->local, local);
	endpoint_format(&path->remote, remote);
	sim_trace(&c->world->sim, "%s nominates %s -> %s%s", c->host->name, local, remote,
		  path->via_relay ? " by relay" : "");
	c->path = *path;
	c->has_path = true;
	wg_peer_set_path(c->peer, true, now(c));
	(void)wg_can_seal(c->peer, now(c));
}

/* False: the connection is over. */
static bool ice_drain(struct client_node *c)
{
	struct ice_output out;

	while (c->ice && ice_poll(c->ice, &out)) {
		switch (out.kind) {
		case ICE_OUTPUT_TRANSMIT: {
			uint8_t copy[512];
			struct ice_path path = out.u.transmit.path;
			size_t len = out.u.transmit.len;

			memcpy(copy, out.u.transmit.data, len);
			client_path_send(c, &path, copy, len);
			break;
		}
		case ICE_OUTPUT_ANNOUNCE:
			news_add(c, &c->announced, true, &out.u.announce);
			break;
		case ICE_OUTPUT_SELECTED:
			selected(c, &out.u.selected);
			break;
		case ICE_OUTPUT_UNSELECTED:
			break;
		case ICE_OUTPUT_STATE:
			if (out.u.state != ICE_FAILED)
				break;
			client_path_lost(c, "no path");
			return false;
		}
	}
	return c->ice != NULL;
}

static bool wg_drain(struct client_node *c)
{
	struct wg_event event;

	while (wg_peer_poll(c->peer, &event, now(c))) {
		switch (event.kind) {
		case WG_EVENT_SEND:
			client_path_send(c, &c->path, event.data, event.len);
			break;
		case WG_EVENT_ESTABLISHED:
			sim_trace(&c->world->sim, "%s has a session", c->host->name);
			c->sessions++;
			break;
		case WG_EVENT_EXPIRED:
			client_path_lost(c, "no session");
			return false;
		}
		if (!c->peer)
			return false;
	}
	return true;
}

void client_path_drain(struct client_node *c)
{
	for (unsigned i = 0; i < PORTAL_RELAYS; i++)
		relay_drain(c, i);
	if (!c->ice || !ice_drain(c) || !wg_drain(c))
		return;
	news_flush(c, &c->withdrawn, false);
	news_flush(c, &c->announced, true);
}
