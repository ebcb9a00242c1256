#include "turn/request.h"

#include <string.h>

#include "packet/bytes.h"

enum {
	TRANSPORT_UDP = 17,
	FAMILY_IPV6 = 2,
};

static const char software[] = "snownet";

/* After each try: 1 s, then half as much again. */
static const uint16_t usual_ms[] = {1000, 1500, 2250, 3375};
/* Many within two seconds, as one lost Binding in five is nothing unusual; then patience. */
static const uint16_t probe_ms[] = {250,  250,  250,  250,  300,  300, 300,
				    1100, 1100, 1100, 1100, 1100, 1100};

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

static uint64_t wait_us(const struct turn_request *r)
{
	const uint16_t *ms = r->ladder == TURN_LADDER_PROBE ? probe_ms : usual_ms;

	return ms[r->tries - 1] * US_PER_MS;
}

static bool is_last_try(const struct turn_request *r)
{
	size_t n = r->ladder == TURN_LADDER_PROBE ? ARRAY_LEN(probe_ms) : ARRAY_LEN(usual_ms);

	return r->tries >= n;
}

static void enqueue(struct turn *t, uint16_t id)
{
	struct turn_request *r = &t->requests[id];

	if (r->queued)
		return;
	r->queued = true;
	t->queue[(t->queue_head + t->queue_count) % TURN_REQUESTS] = id;
	t->queue_count++;
}

static uint16_t *bucket_of(struct turn *t, const struct stun_txid *txid)
{
	struct reader r = reader_of(txid->bytes, STUN_TXID_LEN);

	return &t->by_txid[rd_u16(&r) % TURN_TXID_BUCKETS];
}

/* Under its new id an answer finds the request without a look at any other. */
static void new_txid(struct turn *t, uint16_t id)
{
	struct turn_request *r = &t->requests[id];
	uint16_t *at = bucket_of(t, &r->txid);

	while (*at != 0 && *at != id + 1)
		at = &t->requests[*at - 1].next;
	if (*at != 0)
		*at = r->next;
	rng_fill(&t->rng, r->txid.bytes, STUN_TXID_LEN);
	at = bucket_of(t, &r->txid);
	r->next = *at;
	*at = (uint16_t)(id + 1);
}

/* A Binding is repeated byte for byte, everything else under a new transaction id. */
static void queue_up(struct turn *t, uint16_t id)
{
	struct turn_request *r = &t->requests[id];

	if (!is_binding(id) || r->tries == 1)
		new_txid(t, id);
	enqueue(t, id);
}

/* To the relay's face, with an answer due. */
static void note_sent(struct turn *t, uint16_t id, uint64_t now_us)
{
	if (t->state == TURN_READY && !is_binding(id) && t->unanswered_us == NEVER_US)
		t->unanswered_us = now_us;
}

void turn_request_start(struct turn *t, uint16_t id, uint8_t family, uint64_t now_us)
{
	struct turn_request *r = &t->requests[id];

	*r = (struct turn_request){
	    .first_us = now_us,
	    .tries = 1,
	    .family = family,
	    .pending = true,
	    .queued = r->queued,
	    .txid = r->txid, /* it is found by the old one until it has a new one */
	    .next = r->next,
	};
	queue_up(t, id);
	note_sent(t, id, now_us);
	heap_set(t->timers, id, add_us(now_us, wait_us(r)));
}

void turn_request_probe(struct turn *t, uint64_t now_us)
{
	uint16_t id = turn_binding_of(t->active);
	struct turn_request *r = &t->requests[id];

	if (!r->pending)
		turn_request_start(t, id, t->active, now_us);
	r->ladder = TURN_LADDER_PROBE;
	r->tries = 1;
	enqueue(t, id);
	heap_set(t->timers, id, add_us(now_us, wait_us(r)));
}

void turn_request_draw(struct turn *t, uint16_t method, bool for_deletion, uint64_t now_us)
{
	t->draw_method = method;
	t->draw_for_deletion = for_deletion;
	turn_request_start(t, TURN_REQUEST_DRAW, t->active, now_us);
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
		heap_set(t->timers, id, add_us(now_us, wait_us(r)));
	}
	queue_up(t, id);
}

bool turn_request_due(struct turn *t, uint16_t id, uint64_t now_us)
{
	struct turn_request *r = &t->requests[id];

	if (is_last_try(r)) {
		turn_request_cancel(t, id);
		return false;
	}
	r->tries++;
	r->stepped = false;
	r->wants_nonce = false;
	/* It may have been granted before, and the answer lost: then there is something to delete.
	 */
	if (id == TURN_REQUEST_ALLOCATE)
		t->deletion_tried = false;
	queue_up(t, id);
	note_sent(t, id, now_us);
	heap_set(t->timers, id, add_us(now_us, wait_us(r)));
	return true;
}

void turn_request_cancel(struct turn *t, uint16_t id)
{
	/* What stands in the ring stays there: building skips what is not pending. */
	t->requests[id].pending = false;
	t->requests[id].wants_nonce = false;
	heap_set(t->timers, id, NEVER_US);
}

uint16_t turn_request_match(struct turn *t, const struct stun_msg *msg, const struct endpoint *src)
{
	for (uint16_t at = *bucket_of(t, &msg->txid); at != 0; at = t->requests[at - 1].next) {
		const struct turn_request *r = &t->requests[at - 1];

		if (r->pending && msg->method == method_of(t, (uint16_t)(at - 1)) &&
		    memcmp(r->txid.bytes, msg->txid.bytes, STUN_TXID_LEN) == 0 &&
		    endpoint_eq(turn_address(t, r->family), src))
			return (uint16_t)(at - 1);
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
