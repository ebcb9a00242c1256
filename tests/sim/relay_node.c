#include "relay_node.h"

#include <stdio.h>
#include <string.h>

#include "packet/bytes.h"
#include "turn/channel_data.h"
#include "turn/turn.h"

enum {
	LIFETIME_S = 600,
	CHANNEL_S = 600,
	KEY_LEN = 16,
	ANSWER = 512,
	BAD_REQUEST = 400,
	UNAUTHENTICATED = 401,
	MISMATCH = 437,
	STALE = 438,
	OTHER_FAMILY = 443,
	FULL = 508,
	FIRST_PORT = 49152,
};

/* One request with what is known of it. */
struct request {
	struct stun_msg msg;
	const struct datagram *d;
	char username[RELAY_TEXT];
	uint8_t key[KEY_LEN];
	bool has_key; /* there is a USERNAME to sign for */
	struct relay_allocation *a;
};

static unsigned index_of(uint8_t family)
{
	return family == IP_V6;
}

struct endpoint relay_node_address(const struct relay_node *r, uint8_t family)
{
	struct endpoint ep = {.ip = r->host->address[index_of(family)], .port = RELAY_PORT};

	if (ep.ip.family == IP_NONE)
		ep.port = 0;
	return ep;
}

void relay_node_password(const struct relay_node *r, const char *username, char out[RELAY_TEXT])
{
	uint64_t h = r->secret;

	for (const char *c = username; *c; c++)
		h = (h ^ (uint8_t)*c) * UINT64_C(0x100000001b3);
	snprintf(out, RELAY_TEXT, "turn-%016llx-password", (unsigned long long)h);
}

static void transmit(struct relay_node *r, const struct endpoint *src, const struct endpoint *dst,
		     const uint8_t *data, size_t len)
{
	struct outgoing out = {.src = *src, .dst = *dst, .data = data, .len = len};

	(void)net_send(r->net, r->host, &out);
}

void relay_node_nonce(const struct relay_node *r, char out[RELAY_TEXT])
{
	snprintf(out, RELAY_TEXT, "nonce-%016llx", (unsigned long long)r->nonce);
}

static void answer(struct relay_node *r, const struct request *q, struct stun_builder *b,
		   bool is_signed)
{
	size_t len = stun_finish(b, is_signed && q->has_key ? q->key : NULL, KEY_LEN, false);

	transmit(r, &q->d->dst, &q->d->src, b->buf, len);
}

static void refuse(struct relay_node *r, const struct request *q, uint16_t code, bool is_signed)
{
	uint8_t buf[ANSWER];
	char nonce[RELAY_TEXT];
	struct stun_builder b;

	stun_begin(&b, buf, sizeof(buf), q->msg.method, STUN_ERROR, &q->msg.txid);
	stun_put_error(&b, code, "refused");
	if (code == UNAUTHENTICATED || code == STALE) {
		relay_node_nonce(r, nonce);
		stun_put_bytes(&b, STUN_ATTR_REALM, turn_realm, strlen(turn_realm));
		stun_put_bytes(&b, STUN_ATTR_NONCE, nonce, strlen(nonce));
	}
	sim_trace(r->net->sim, "%s refuses method %u with %u", r->host->name, q->msg.method, code);
	answer(r, q, &b, is_signed);
}

static bool is_live(const struct relay_node *r, const struct relay_allocation *a)
{
	return a->in_use && a->until_us > r->net->sim->now_us;
}

static struct relay_allocation *by_client(struct relay_node *r, const struct datagram *d)
{
	for (unsigned i = 0; i < RELAY_ALLOCATIONS; i++)
		if (is_live(r, &r->allocations[i]) &&
		    endpoint_eq(&r->allocations[i].client, &d->src) &&
		    endpoint_eq(&r->allocations[i].ours, &d->dst))
			return &r->allocations[i];
	return NULL;
}

static void on_binding(struct relay_node *r, const struct request *q)
{
	uint8_t buf[ANSWER];
	struct stun_builder b;

	stun_begin(&b, buf, sizeof(buf), STUN_BINDING, STUN_SUCCESS, &q->msg.txid);
	stun_put_xor_address(&b, STUN_ATTR_XOR_MAPPED_ADDRESS, &q->d->src);
	answer(r, q, &b, false);
}

static bool nonce_ok(const struct relay_node *r, const struct stun_msg *msg)
{
	char nonce[RELAY_TEXT];

	relay_node_nonce(r, nonce);
	return msg->nonce.len == strlen(nonce) &&
	       memcmp(msg->nonce.data, nonce, msg->nonce.len) == 0;
}

/* Who may ask; the refusal has gone out if not. [spec connections 6.2] */
static bool authenticate(struct relay_node *r, const struct request *q)
{
	const struct stun_msg *msg = &q->msg;
	bool is_signed = !r->standard;

	if (r->standard && msg->method == STUN_ALLOCATE && q->a) {
		refuse(r, q, MISMATCH, false);
		return false;
	}
	if (r->standard && msg->has_integrity && !msg->nonce.data) {
		refuse(r, q, BAD_REQUEST, false);
		return false;
	}
	if (!msg->has_integrity || !msg->nonce.data) {
		refuse(r, q, UNAUTHENTICATED, is_signed);
		return false;
	}
	if (!nonce_ok(r, msg)) {
		refuse(r, q, STALE, is_signed);
		return false;
	}
	if (!stun_msg_verify(msg, q->d->bytes, q->d->len, q->key, KEY_LEN)) {
		refuse(r, q, UNAUTHENTICATED, is_signed);
		return false;
	}
	return true;
}

static struct relay_allocation *allocation_new(struct relay_node *r, const struct request *q)
{
	struct relay_allocation *a = NULL;

	for (unsigned i = 0; i < RELAY_ALLOCATIONS; i++) {
		struct relay_allocation *old = &r->allocations[i];

		/* One per username: a second one ends the first. */
		if (!r->standard && old->in_use && strcmp(old->username, q->username) == 0)
			old->in_use = false;
		if (!a && !is_live(r, old))
			a = old;
	}
	if (!a)
		return NULL;
	a->in_use = true;
	a->client = q->d->src;
	a->ours = q->d->dst;
	a->port = r->next_port++;
	a->n_channels = 0;
	if (r->next_port == 0)
		r->next_port = FIRST_PORT;
	memcpy(a->username, q->username, sizeof(a->username));
	a->until_us = r->net->sim->now_us + LIFETIME_S * US_PER_S;
	return a;
}

static void on_allocate(struct relay_node *r, const struct request *q)
{
	struct relay_allocation *a;
	uint8_t buf[ANSWER];
	struct stun_builder b;

	if (q->a || r->refuse) {
		refuse(r, q, q->a ? MISMATCH : r->refuse, true);
		return;
	}
	a = allocation_new(r, q);
	if (!a) {
		refuse(r, q, FULL, true);
		return;
	}
	sim_trace(r->net->sim, "%s allocates port %u for %s", r->host->name, a->port, a->username);
	stun_begin(&b, buf, sizeof(buf), STUN_ALLOCATE, STUN_SUCCESS, &q->msg.txid);
	for (unsigned f = 0; f < 2; f++) {
		struct endpoint relayed = {.ip = r->host->address[f], .port = a->port};

		if (relayed.ip.family != IP_NONE)
			stun_put_xor_address(&b, STUN_ATTR_XOR_RELAYED_ADDRESS, &relayed);
	}
	stun_put_u32(&b, STUN_ATTR_LIFETIME, LIFETIME_S);
	answer(r, q, &b, true);
}

static void on_refresh(struct relay_node *r, const struct request *q)
{
	uint8_t buf[ANSWER];
	struct stun_builder b;
	uint32_t lifetime = LIFETIME_S;

	if (!q->a) {
		refuse(r, q, MISMATCH, true);
		return;
	}
	if (q->msg.has_lifetime && q->msg.lifetime_s == 0) {
		lifetime = 0;
		q->a->in_use = false;
	}
	q->a->until_us = r->net->sim->now_us + lifetime * US_PER_S;
	stun_begin(&b, buf, sizeof(buf), STUN_REFRESH, STUN_SUCCESS, &q->msg.txid);
	stun_put_u32(&b, STUN_ATTR_LIFETIME, lifetime);
	answer(r, q, &b, true);
}

static bool channel_live(const struct relay_node *r, const struct relay_channel *c)
{
	return c->until_us > r->net->sim->now_us;
}

/* 0 if the binding stands, else the refusal. [RFC 8656 section 12.2] */
static uint16_t bind_channel(struct relay_node *r, struct relay_allocation *a,
			     const struct stun_msg *msg)
{
	struct relay_channel *place = NULL;

	if (msg->peer.ip.family == IP_NONE || msg->channel == 0)
		return BAD_REQUEST;
	if (r->host->address[index_of(msg->peer.ip.family)].family == IP_NONE)
		return OTHER_FAMILY;
	for (unsigned i = 0; i < a->n_channels; i++) {
		struct relay_channel *c = &a->channels[i];
		bool number = c->number == msg->channel, peer = endpoint_eq(&c->peer, &msg->peer);

		if (channel_live(r, c) && number != peer)
			return BAD_REQUEST;
		if ((number && peer) || (!place && !channel_live(r, c)))
			place = c;
	}
	if (!place && a->n_channels == RELAY_CHANNELS)
		return FULL;
	if (!place)
		place = &a->channels[a->n_channels++];
	*place = (struct relay_channel){.number = msg->channel, .peer = msg->peer};
	place->until_us = r->net->sim->now_us + CHANNEL_S * US_PER_S;
	return 0;
}

static void on_channel_bind(struct relay_node *r, const struct request *q)
{
	uint8_t buf[ANSWER];
	struct stun_builder b;
	uint16_t code = q->a ? bind_channel(r, q->a, &q->msg) : MISMATCH;

	if (code != 0) {
		refuse(r, q, code, true);
		return;
	}
	stun_begin(&b, buf, sizeof(buf), STUN_CHANNEL_BIND, STUN_SUCCESS, &q->msg.txid);
	answer(r, q, &b, true);
}

static void name_of(struct relay_node *r, struct request *q)
{
	char password[RELAY_TEXT];

	q->has_key = q->msg.username.data && q->msg.username.len < sizeof(q->username);
	if (!q->has_key)
		return;
	memcpy(q->username, q->msg.username.data, q->msg.username.len);
	relay_node_password(r, q->username, password);
	stun_long_term_key(q->key, q->username, turn_realm, password);
}

static void on_stun(struct relay_node *r, const struct datagram *d)
{
	struct request q = {.d = d};

	if (!stun_msg_read(&q.msg, d->bytes, d->len) || q.msg.class != STUN_REQUEST)
		return;
	name_of(r, &q);
	q.a = by_client(r, d);
	if (q.msg.method == STUN_BINDING)
		on_binding(r, &q);
	else if (!authenticate(r, &q))
		return;
	else if (q.msg.method == STUN_ALLOCATE)
		on_allocate(r, &q);
	else if (q.msg.method == STUN_REFRESH)
		on_refresh(r, &q);
	else if (q.msg.method == STUN_CHANNEL_BIND)
		on_channel_bind(r, &q);
}

/* From the client to a peer. */
static void on_channel_data(struct relay_node *r, const struct datagram *d)
{
	struct relay_allocation *a = by_client(r, d);
	uint16_t number;

	if (!a || !channel_data_read(&number, d->bytes, d->len))
		return;
	for (unsigned i = 0; i < a->n_channels; i++) {
		const struct relay_channel *c = &a->channels[i];
		struct endpoint src = {.port = a->port};

		if (c->number != number || !channel_live(r, c))
			continue;
		src.ip = r->host->address[index_of(c->peer.ip.family)];
		transmit(r, &src, &c->peer, d->bytes + TURN_CHANNEL_HEADER,
			 d->len - TURN_CHANNEL_HEADER);
		r->relayed++;
		return;
	}
}

/* A peer was heard on an address that has a permission but no channel. [RFC 8656 section 11.3] */
static void indicate(struct relay_node *r, const struct relay_allocation *a,
		     const struct datagram *d)
{
	uint8_t buf[STUN_MAX_MESSAGE];
	struct stun_txid txid = {{1}};
	struct stun_builder b;

	stun_begin(&b, buf, sizeof(buf), STUN_DATA, STUN_INDICATION, &txid);
	stun_put_xor_address(&b, STUN_ATTR_XOR_PEER_ADDRESS, &d->src);
	stun_put_bytes(&b, STUN_ATTR_DATA, d->bytes, d->len);
	transmit(r, &a->ours, &a->client, buf, stun_finish(&b, NULL, 0, false));
}

/* From a peer to the client. */
static void on_peer(struct relay_node *r, const struct datagram *d)
{
	struct relay_allocation *a = NULL;
	uint8_t buf[TURN_CHANNEL_HEADER + NET_MAX_DATAGRAM];
	struct writer w = writer_of(buf, sizeof(buf));
	bool permitted = false;

	for (unsigned i = 0; i < RELAY_ALLOCATIONS; i++)
		if (is_live(r, &r->allocations[i]) && r->allocations[i].port == d->dst.port)
			a = &r->allocations[i];
	for (unsigned i = 0; a && i < a->n_channels; i++) {
		const struct relay_channel *c = &a->channels[i];

		if (!channel_live(r, c))
			continue;
		permitted = permitted || ip_eq(&c->peer.ip, &d->src.ip);
		if (!endpoint_eq(&c->peer, &d->src))
			continue;
		wr_u16(&w, c->number);
		wr_u16(&w, (uint16_t)d->len);
		wr_bytes(&w, d->bytes, d->len);
		transmit(r, &a->ours, &a->client, buf, w.written);
		r->relayed++;
		return;
	}
	if (r->standard && permitted)
		indicate(r, a, d);
}

static void receive(void *ctx, struct datagram *d)
{
	struct relay_node *r = ctx;

	if (!r->up || d->len == 0)
		return;
	if (d->dst.port != RELAY_PORT)
		on_peer(r, d);
	else if (d->bytes[0] < 4)
		on_stun(r, d);
	else if (d->bytes[0] >= 0x40 && d->bytes[0] < 0x80)
		on_channel_data(r, d);
}

void relay_node_init(struct relay_node *r, struct net *net, struct host *host, uint64_t secret)
{
	r->net = net;
	r->host = host;
	r->secret = secret;
	r->nonce = secret ^ 1;
	r->up = true;
	r->next_port = FIRST_PORT;
	host->receive = receive;
	host->ctx = r;
}

void relay_node_restart(struct relay_node *r, bool new_secret)
{
	for (unsigned i = 0; i < RELAY_ALLOCATIONS; i++)
		r->allocations[i].in_use = false;
	if (new_secret)
		r->secret = r->secret * 3 + 1;
	relay_node_stale(r);
	r->up = true;
}

void relay_node_stale(struct relay_node *r)
{
	r->nonce = r->nonce * UINT64_C(6364136223846793005) + 1;
}
