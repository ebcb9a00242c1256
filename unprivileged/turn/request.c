#include "turn/request.h"

#include <string.h>

enum {
	TRANSPORT_UDP = 17,
	FAMILY_IPV6 = 2,
};

static const char software[] = "snownet";

/* After each try: 1 s, then half as much again. */
static const uint64_t waits_us[TURN_TRIES] = {1000000, 1500000, 2250000, 3375000};

static uint16_t method_of(const struct turn *t, uint16_t id)
{
	switch (id) {
	case TURN_REQUEST_BINDING_V4:
	case TURN_REQUEST_BINDING_V6:
		return STUN_BINDING;
	case TURN_REQUEST_ALLOCATE:
		return STUN_ALLOCATE;
	case TURN_REQUEST_REFRESH:
		return STUN_REFRESH;
	case TURN_REQUEST_DRAW:
		return t->draw_method;
	default:
		return STUN_CHANNEL_BIND;
	}
}

static bool is_binding(uint16_t id)
{
	return id == TURN_REQUEST_BINDING_V4 || id == TURN_REQUEST_BINDING_V6;
}

/* A Binding is repeated byte for byte, everything else under a new transaction id. */
static void queue_up(struct turn *t, uint16_t id)
{
	struct turn_request *r = &t->requests[id];

	if (!is_binding(id) || r->tries == 1)
		rng_fill(&t->rng, r->txid.bytes, STUN_TXID_LEN);
	if (r->queued)
		return;
	r->queued = true;
	t->queue[(t->queue_head + t->queue_count) % TURN_REQUESTS] = id;
	t->queue_count++;
}

static void start(struct turn *t, uint16_t id, uint8_t family, uint8_t tries_max, uint64_t now_us)
{
	struct turn_request *r = &t->requests[id];

	*r = (struct turn_request){
	    .first_us = now_us,
	    .tries = 1,
	    .tries_max = tries_max,
	    .family = family,
	    .pending = true,
	    .queued = r->queued,
	};
	queue_up(t, id);
	heap_set(t->timers, id, add_us(now_us, waits_us[0]));
}

void turn_request_start(struct turn *t, uint16_t id, uint8_t family, uint64_t now_us)
{
	start(t, id, family, TURN_TRIES, now_us);
}

void turn_request_start_once(struct turn *t, uint16_t id, uint8_t family, uint64_t now_us)
{
	start(t, id, family, 1, now_us);
}

void turn_request_draw(struct turn *t, uint16_t method, bool for_deletion, uint64_t now_us)
{
	t->draw_method = method;
	t->draw_for_deletion = for_deletion;
	start(t, TURN_REQUEST_DRAW, t->active, 1, now_us);
	heap_set(t->timers, TURN_REQUEST_DRAW, NEVER_US);
}

void turn_request_repeat(struct turn *t, uint16_t id, bool afresh, uint64_t now_us)
{
	struct turn_request *r = &t->requests[id];

	r->first_us = now_us;
	r->wants_nonce = false;
	if (afresh) {
		r->tries = 1;
		r->stepped = false;
		heap_set(t->timers, id, add_us(now_us, waits_us[0]));
	}
	queue_up(t, id);
}

bool turn_request_due(struct turn *t, uint16_t id, uint64_t now_us)
{
	struct turn_request *r = &t->requests[id];

	if (r->tries >= r->tries_max) {
		turn_request_cancel(t, id);
		return false;
	}
	r->tries++;
	r->stepped = false;
	r->wants_nonce = false;
	queue_up(t, id);
	heap_set(t->timers, id, add_us(now_us, waits_us[r->tries - 1]));
	return true;
}

void turn_request_cancel(struct turn *t, uint16_t id)
{
	/* What stands in the ring stays there: building skips what is not pending. */
	t->requests[id].pending = false;
	t->requests[id].wants_nonce = false;
	heap_set(t->timers, id, NEVER_US);
}

uint16_t turn_request_match(const struct turn *t, const struct stun_msg *msg,
			    const struct endpoint *src)
{
	bool channel = msg->method == STUN_CHANNEL_BIND;
	unsigned first = channel ? TURN_REQUEST_CHANNEL : 0;
	unsigned end = TURN_REQUEST_CHANNEL + (channel ? t->channels.top : 0u);

	for (unsigned id = first; id < end; id++) {
		const struct turn_request *r = &t->requests[id];

		if (r->pending && msg->method == method_of(t, (uint16_t)id) &&
		    memcmp(r->txid.bytes, msg->txid.bytes, STUN_TXID_LEN) == 0 &&
		    endpoint_eq(turn_address(t, r->family), src))
			return (uint16_t)id;
	}
	return TURN_NO_REQUEST;
}

static void put_software(struct stun_builder *b)
{
	stun_put_bytes(b, STUN_ATTR_SOFTWARE, software, sizeof(software) - 1);
}

static void put_before_auth(struct stun_builder *b, const struct turn *t, uint16_t id)
{
	const struct turn_channel *ch = NULL;
	uint16_t method = method_of(t, id);

	if (method == STUN_ALLOCATE) {
		stun_put_u32(b, STUN_ATTR_REQUESTED_TRANSPORT, (uint32_t)TRANSPORT_UDP << 24);
		stun_put_u32(b, STUN_ATTR_ADDITIONAL_ADDRESS_FAMILY, (uint32_t)FAMILY_IPV6 << 24);
	}
	if (method == STUN_CHANNEL_BIND) {
		ch = &t->channels.at[id - TURN_REQUEST_CHANNEL];
		stun_put_xor_address(b, STUN_ATTR_XOR_PEER_ADDRESS, &ch->peer);
		stun_put_u32(b, STUN_ATTR_CHANNEL_NUMBER,
			     (uint32_t)(TURN_CHANNEL_MIN + id - TURN_REQUEST_CHANNEL) << 16);
	}
	put_software(b);
	if (id == TURN_REQUEST_REFRESH && t->refresh_kind == TURN_REFRESH_DELETE)
		stun_put_u32(b, STUN_ATTR_LIFETIME, 0);
}

static size_t build(struct turn *t, uint16_t id)
{
	struct turn_request *r = &t->requests[id];
	struct stun_builder b;

	stun_begin(&b, t->out, sizeof(t->out), method_of(t, id), STUN_REQUEST, &r->txid);
	put_before_auth(&b, t, id);
	if (is_binding(id) || id == TURN_REQUEST_DRAW)
		return stun_finish(&b, NULL, 0, false);
	stun_put_bytes(&b, STUN_ATTR_USERNAME, t->username, strlen(t->username));
	stun_put_bytes(&b, STUN_ATTR_REALM, turn_realm, strlen(turn_realm));
	if (t->nonce_gen != 0)
		stun_put_bytes(&b, STUN_ATTR_NONCE, t->nonce, t->nonce_len);
	r->nonce_gen = t->nonce_gen;
	return stun_finish(&b, t->long_term_key, TURN_KEY_LEN, false);
}

size_t turn_request_build_next(struct turn *t, const struct endpoint **dst)
{
	while (t->queue_count > 0) {
		uint16_t id = t->queue[t->queue_head];
		struct turn_request *r = &t->requests[id];
		size_t len = 0;

		t->queue_head = (uint16_t)((t->queue_head + 1) % TURN_REQUESTS);
		t->queue_count--;
		r->queued = false;
		if (!r->pending)
			continue;
		*dst = turn_address(t, r->family);
		len = build(t, id);
		if (len > 0)
			return len;
	}
	return 0;
}
