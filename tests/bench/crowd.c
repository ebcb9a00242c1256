#include "crowd.h"

#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "base/secret.h"
#include "ice/ice.h"
#include "packet/ip.h"
#include "tests/sim/inner.h"
#include "wireguard/wg.h"

enum {
	PAYLOAD = 100,
	SECRETS = 5, /* slots of one client: WireGuard's three, ICE's two */
};

struct client {
	struct wg *wg;
	struct wg_peer *peer; /* with @ice; NULL while there is no connection */
	struct ice *ice;
	struct endpoint local;
	struct ice_path path;
	bool has_path, idle, asked, echoed;
	uint64_t packet_us; /* last packet either way */
};

struct crowd {
	struct crowd_config cfg;
	struct secret_arena *arena;
	struct heap *timers;
	struct client *clients;
	struct crowd_counters counters;
};

static struct wg *interface_new(struct crowd *c, uint64_t now_us)
{
	struct wg_config cfg = {
	    .max_peers = 1,
	    .unix_us = c->cfg.unix_us,
	    .rng = c->cfg.rng,
	    .arena = c->arena,
	};

	return wg_new(&cfg, now_us);
}

struct crowd *crowd_new(const struct crowd_config *cfg, uint64_t now_us)
{
	struct crowd *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->cfg = *cfg;
	c->arena = secret_arena_new((size_t)cfg->clients * SECRETS);
	c->timers = heap_new(cfg->clients);
	c->clients = calloc(cfg->clients, sizeof(*c->clients));
	if (!c->arena || !c->timers || !c->clients)
		goto free_crowd;
	for (uint32_t i = 0; i < cfg->clients; i++) {
		c->clients[i].wg = interface_new(c, now_us);
		if (!c->clients[i].wg)
			goto free_crowd;
	}
	return c;

free_crowd:
	crowd_free(c);
	return NULL;
}

static void disconnect(struct crowd *c, uint32_t client)
{
	struct client *m = &c->clients[client];

	wg_peer_free(m->peer);
	ice_free(m->ice);
	m->peer = NULL;
	m->ice = NULL;
	m->has_path = false;
	heap_set(c->timers, client, NEVER_US);
}

void crowd_free(struct crowd *c)
{
	if (!c)
		return;
	for (uint32_t i = 0; c->clients && i < c->cfg.clients; i++) {
		if (c->clients[i].wg)
			disconnect(c, i);
		wg_free(c->clients[i].wg);
	}
	free(c->clients);
	heap_free(c->timers);
	secret_arena_free(c->arena);
	free(c);
}

const uint8_t *crowd_key(const struct crowd *c, uint32_t client)
{
	return wg_public_key(c->clients[client].wg);
}

void crowd_counters(const struct crowd *c, struct crowd_counters *out)
{
	*out = c->counters;
	out->connecting = out->connected = 0;
	for (uint32_t i = 0; i < c->cfg.clients; i++) {
		const struct client *m = &c->clients[i];
		bool connected = m->has_path && wg_peer_established(m->peer);

		out->connected += connected;
		out->connecting += m->ice && !connected;
	}
}

/* --- what goes out --- */

static void send_to(struct crowd *c, uint32_t client, const struct endpoint *dst,
		    const uint8_t *data, size_t len)
{
	c->counters.datagrams_out++;
	c->cfg.send(c->cfg.ctx, client, dst, data, len);
}

static void announce(struct crowd *c, uint32_t client, const struct candidate *candidate)
{
	char text[CANDIDATE_TEXT_MAX];

	if (candidate_format(candidate, ice_local_ufrag(c->clients[client].ice), text,
			     sizeof(text)) > 0)
		c->cfg.announce(c->cfg.ctx, client, text);
}

static void selected(struct client *m, const struct ice_path *path, uint64_t now_us)
{
	m->path = *path;
	m->has_path = true;
	wg_peer_set_path(m->peer, true, now_us);
	(void)wg_can_seal(m->peer, now_us);
}

/* False: the connection is over. */
static bool ice_drain(struct crowd *c, uint32_t client, uint64_t now_us)
{
	struct client *m = &c->clients[client];
	struct ice_output out;

	while (ice_poll(m->ice, &out)) {
		switch (out.kind) {
		case ICE_OUTPUT_TRANSMIT:
			send_to(c, client, &out.u.transmit.path.remote, out.u.transmit.data,
				out.u.transmit.len);
			break;
		case ICE_OUTPUT_ANNOUNCE:
			announce(c, client, &out.u.announce);
			break;
		case ICE_OUTPUT_SELECTED:
			selected(m, &out.u.selected, now_us);
			break;
		case ICE_OUTPUT_UNSELECTED:
			m->has_path = false;
			wg_peer_set_path(m->peer, false, now_us);
			break;
		case ICE_OUTPUT_STATE:
			if (out.u.state == ICE_FAILED)
				return false;
			break;
		}
	}
	return true;
}

static bool wg_drain(struct crowd *c, uint32_t client, uint64_t now_us)
{
	struct client *m = &c->clients[client];
	struct wg_event event;

	while (wg_peer_poll(m->peer, &event, now_us)) {
		switch (event.kind) {
		case WG_EVENT_SEND:
			send_to(c, client, &m->path.remote, event.data, event.len);
			break;
		case WG_EVENT_ESTABLISHED:
			c->counters.sessions++;
			break;
		case WG_EVENT_EXPIRED:
			return false;
		}
	}
	return true;
}

static void set_profile(struct client *m, uint64_t now_us)
{
	struct ice_input in = {.kind = ICE_INPUT_PROFILE};
	bool idle = m->has_path && m->packet_us + CROWD_IDLE_S * US_PER_S <= now_us;

	if (idle == m->idle)
		return;
	m->idle = idle;
	in.u.profile = idle ? ICE_IDLE : ICE_ACTIVE;
	ice_handle(m->ice, &in, now_us);
}

static uint64_t deadline(const struct client *m)
{
	uint64_t at = min_u64(ice_deadline(m->ice), wg_peer_deadline(m->peer));

	if (m->has_path && !m->idle)
		at = min_u64(at, m->packet_us + CROWD_IDLE_S * US_PER_S);
	return at;
}

static void settle(struct crowd *c, uint32_t client, uint64_t now_us)
{
	struct client *m = &c->clients[client];

	if (!m->ice)
		return;
	set_profile(m, now_us);
	if (ice_drain(c, client, now_us) && wg_drain(c, client, now_us)) {
		heap_set(c->timers, client, deadline(m));
		return;
	}
	c->counters.failed++;
	disconnect(c, client);
}

/* --- from the portal --- */

bool crowd_connect(struct crowd *c, uint32_t client, const struct crowd_grant *grant,
		   const struct endpoint *local, uint64_t now_us)
{
	struct client *m = &c->clients[client];
	struct ice_input in = {.kind = ICE_INPUT_LOCAL_ADD};
	struct ice_config cfg = {
	    .local_ufrag = grant->client_ice.username,
	    .local_pwd = grant->client_ice.password,
	    .remote_ufrag = grant->gateway_ice.username,
	    .remote_pwd = grant->gateway_ice.password,
	    .rng = c->cfg.rng,
	    .arena = c->arena,
	    .controlling = true,
	};

	if (m->ice || wg_peer_add(m->wg, grant->gateway_key, grant->preshared_key, NULL, now_us,
				  &m->peer) < 0)
		return false;
	cfg.tag = wg_peer_index(m->peer);
	m->ice = ice_new(&cfg, now_us);
	if (!m->ice) {
		disconnect(c, client);
		return false;
	}
	m->local = *local;
	m->idle = false;
	m->packet_us = now_us;
	in.u.candidate = (struct candidate){
	    .kind = CANDIDATE_HOST, .addr = *local, .base = *local, .relay_family = IP_NONE};
	ice_handle(m->ice, &in, now_us);
	settle(c, client, now_us);
	return true;
}

void crowd_candidate(struct crowd *c, uint32_t client, const char *text, uint64_t now_us)
{
	struct client *m = &c->clients[client];
	struct ice_input in = {.kind = ICE_INPUT_REMOTE_ADD};

	if (!m->ice ||
	    !candidate_parse(&in.u.candidate, text, strlen(text), ice_remote_ufrag(m->ice)))
		return;
	m->packet_us = now_us;
	ice_handle(m->ice, &in, now_us);
	settle(c, client, now_us);
}

/* --- packets --- */

size_t crowd_seal(struct crowd *c, uint32_t client, uint8_t *msg, size_t inner_len, uint64_t now_us)
{
	struct client *m = &c->clients[client];

	m->packet_us = now_us;
	return wg_seal(m->peer, msg, inner_len, now_us);
}

/* The one packet, as soon as there is a session. */
static void ask(struct crowd *c, uint32_t client, uint64_t now_us)
{
	struct client *m = &c->clients[client];
	struct inner in = {
	    .client = CROWD_NUMBER + client, .resource = CROWD_RESOURCE, .payload = PAYLOAD};
	uint8_t buf[CROWD_DATAGRAM];
	uint8_t *msg = buf + WG_SCRATCH;
	size_t len;

	if (m->asked || !m->has_path || !wg_can_seal(m->peer, now_us))
		return;
	len = inner_write(msg + WG_DATA_HEADER, IP_INNER_MTU, &in);
	len = crowd_seal(c, client, msg, len, now_us);
	m->asked = true;
	if (len > 0)
		send_to(c, client, &m->path.remote, msg, len);
}

static void packet_in(struct crowd *c, uint32_t client, uint8_t *packet, size_t len)
{
	struct client *m = &c->clients[client];
	struct inner in;

	if (len == 0 || m->echoed || inner_read(&in, packet, len) != INNER_OK ||
	    in.client != CROWD_NUMBER + client)
		return;
	m->echoed = true;
	c->counters.echoes++;
}

static void wireguard_in(struct crowd *c, uint32_t client, uint8_t *data, size_t len,
			 const struct endpoint *src, uint64_t now_us)
{
	struct client *m = &c->clients[client];
	struct wg_peer *peer;
	uint8_t *inner;
	size_t inner_len;

	if (wg_classify(data, len) != WG_DATA) {
		(void)wg_handshake(m->wg, data, len, src, now_us);
		return;
	}
	if (wg_open(m->wg, data, len, now_us, &peer, &inner, &inner_len) != WG_OPEN_PACKET)
		return;
	m->packet_us = now_us;
	packet_in(c, client, inner, ip_trim(inner, inner_len));
}

static void stun_in(struct client *m, const uint8_t *data, size_t len, const struct endpoint *src,
		    uint64_t now_us)
{
	struct ice_input in = {.kind = ICE_INPUT_STUN};
	struct stun_msg msg;

	if (!stun_msg_read(&msg, data, len))
		return;
	in.u.stun.msg = &msg;
	in.u.stun.buf = data;
	in.u.stun.len = len;
	in.u.stun.src = *src;
	in.u.stun.dst = m->local;
	ice_handle(m->ice, &in, now_us);
}

void crowd_receive(struct crowd *c, uint32_t client, const struct endpoint *src, uint8_t *data,
		   size_t len, uint64_t now_us)
{
	struct client *m = &c->clients[client];

	c->counters.datagrams_in++;
	if (!m->ice)
		return;
	if (wg_classify(data, len) != WG_NOT_WIREGUARD)
		wireguard_in(c, client, data, len, src, now_us);
	else
		stun_in(m, data, len, src, now_us);
	ask(c, client, now_us);
	settle(c, client, now_us);
}

/* --- time --- */

uint64_t crowd_deadline(const struct crowd *c)
{
	return heap_first_us(c->timers);
}

void crowd_timeout(struct crowd *c, uint64_t now_us)
{
	struct ice_input in = {.kind = ICE_INPUT_TIMEOUT};
	uint32_t client;

	for (uint32_t n = 0; n < c->cfg.clients; n++) {
		struct client *m;

		if (!heap_take_due(c->timers, now_us, &client))
			break;
		m = &c->clients[client];
		if (ice_deadline(m->ice) <= now_us)
			ice_handle(m->ice, &in, now_us);
		if (wg_peer_deadline(m->peer) <= now_us)
			wg_peer_timeout(m->peer, now_us);
		settle(c, client, now_us);
	}
}
