#include "harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

const char harness_v4[] = "192.0.2.10:3478";
const char harness_v6[] = "[2001:db8::10]:3478";
const char harness_local_v4[] = "10.0.0.2:52625";
const char harness_local_v6[] = "[2001:db8:1::2]:52625";

static const char username[] = "2145916800:salt";
static const char password[] = "the password of the relay";

struct endpoint harness_ep(const char *text)
{
	struct endpoint ep = {.port = 0};

	if (text && !endpoint_parse(&ep, text, strlen(text)))
		fail_msg("%s is no endpoint", text);
	return ep;
}

static void take(struct harness *h, const struct turn_output *out)
{
	struct sent *s = NULL;

	switch (out->kind) {
	case TURN_OUTPUT_TRANSMIT:
		assert_true(h->sent_count < HARNESS_SENT_MAX);
		s = &h->sent[h->sent_count++];
		s->at_us = h->now_us;
		s->dst = out->u.transmit.dst;
		s->len = out->u.transmit.len;
		memcpy(s->bytes, out->u.transmit.data, s->len);
		assert_true(stun_msg_read(&s->msg, s->bytes, s->len));
		break;
	case TURN_OUTPUT_CANDIDATE:
		assert_true(h->candidate_count < HARNESS_EVENTS_MAX);
		h->candidates[h->candidate_count++] = out->u.candidate;
		break;
	case TURN_OUTPUT_LOST:
		assert_true(h->lost_count < HARNESS_EVENTS_MAX);
		h->lost[h->lost_count++] = out->u.lost;
		break;
	case TURN_OUTPUT_DROPPED:
		h->dropped++;
		break;
	}
}

static void drain(struct harness *h)
{
	struct turn_output out;

	while (turn_poll(h->turn, &out)) {
		assert_int_equal(h->dropped, 0);
		take(h, &out);
	}
	assert_true(turn_deadline(h->turn) > h->now_us);
}

struct harness *harness_new(const char *v4, const char *v6)
{
	struct harness *h = calloc(1, sizeof(*h));

	assert_true(sodium_init() >= 0);
	assert_non_null(h);
	h->sent = calloc(HARNESS_SENT_MAX, sizeof(*h->sent));
	h->arena = secret_arena_new(4);
	assert_true(h->sent && h->arena);
	h->now_us = S(1000);
	h->cfg = (struct turn_config){
	    .id = {{1, 2, 3}},
	    .v4 = harness_ep(v4),
	    .v6 = harness_ep(v6),
	    .username = username,
	    .password = password,
	    .rng = rng_from_seed(&h->seed, 7),
	    .arena = h->arena,
	};
	h->turn = turn_new(&h->cfg, h->now_us);
	assert_non_null(h->turn);
	drain(h);
	return h;
}

void harness_free(struct harness *h)
{
	turn_free(h->turn);
	assert_int_equal(secret_slots_free(h->arena), 4);
	secret_arena_free(h->arena);
	free(h->sent);
	free(h);
}

void harness_handle(struct harness *h, const struct turn_input *in)
{
	turn_handle(h->turn, in, h->now_us);
	drain(h);
}

void harness_event(struct harness *h, enum turn_input_kind kind)
{
	harness_handle(h, &(struct turn_input){.kind = kind});
}

void harness_bind(struct harness *h, const char *peer, uint32_t owner)
{
	struct turn_input in = {.kind = TURN_INPUT_BIND};

	in.u.bind.peer = harness_ep(peer);
	in.u.bind.owner = owner;
	harness_handle(h, &in);
}

void harness_run_to(struct harness *h, uint64_t at_us)
{
	while (turn_deadline(h->turn) <= at_us) {
		h->now_us = turn_deadline(h->turn);
		harness_event(h, TURN_INPUT_TIMEOUT);
	}
	h->now_us = at_us;
}

void harness_run(struct harness *h, uint64_t for_us)
{
	harness_run_to(h, h->now_us + for_us);
}

void harness_forget(struct harness *h)
{
	h->sent_count = 0;
	h->candidate_count = 0;
	h->lost_count = 0;
}

const struct sent *harness_last(const struct harness *h, size_t n)
{
	assert_true(n < h->sent_count);
	return &h->sent[h->sent_count - 1 - n];
}

const struct sent *harness_last_of(const struct harness *h, uint16_t method)
{
	for (size_t i = h->sent_count; i-- > 0;) {
		if (h->sent[i].msg.method == method)
			return &h->sent[i];
	}
	fail_msg("no request of method %d was sent", method);
	return NULL;
}

size_t harness_count(const struct harness *h, uint16_t method)
{
	size_t n = 0;

	for (size_t i = 0; i < h->sent_count; i++)
		n += h->sent[i].msg.method == method ? 1 : 0;
	return n;
}

void harness_deliver(struct harness *h, const char *from, const uint8_t *bytes, size_t len)
{
	struct turn_input in = {.kind = TURN_INPUT_DATAGRAM};
	/* Exactly as long as the datagram, so that a sanitizer sees any read past it. */
	uint8_t *copy = malloc(len > 0 ? len : 1);

	assert_non_null(copy);
	memcpy(copy, bytes, len);
	in.u.datagram.buf = copy;
	in.u.datagram.len = len;
	in.u.datagram.src = harness_ep(from);
	in.u.datagram.dst =
	    harness_ep(in.u.datagram.src.ip.family == IP_V4 ? harness_local_v4 : harness_local_v6);
	harness_handle(h, &in);
	free(copy);
}

static void put_answer(struct stun_builder *b, const struct answer *how)
{
	struct endpoint mapped = harness_ep(how->mapped);
	struct endpoint v4 = harness_ep(how->relayed_v4);
	struct endpoint v6 = harness_ep(how->relayed_v6);

	if (how->code != 0)
		stun_put_error(b, how->code, "Reason");
	if (how->realm)
		stun_put_bytes(b, STUN_ATTR_REALM, how->realm, strlen(how->realm));
	if (how->nonce)
		stun_put_bytes(b, STUN_ATTR_NONCE, how->nonce, strlen(how->nonce));
	if (how->relayed_v4)
		stun_put_xor_address(b, STUN_ATTR_XOR_RELAYED_ADDRESS, &v4);
	if (how->relayed_v6)
		stun_put_xor_address(b, STUN_ATTR_XOR_RELAYED_ADDRESS, &v6);
	if (how->mapped)
		stun_put_xor_address(b, STUN_ATTR_XOR_MAPPED_ADDRESS, &mapped);
	if (how->code == 0 && !how->no_lifetime)
		stun_put_u32(b, STUN_ATTR_LIFETIME, how->lifetime_s);
}

static void key_of(uint8_t key[16], bool wrong)
{
	stun_long_term_key(key, username, "firezone", wrong ? "another" : password);
}

void harness_answer(struct harness *h, const struct sent *request, const struct answer *how)
{
	char from[ENDPOINT_TEXT_MAX];
	uint8_t bytes[STUN_MAX_MESSAGE];
	uint8_t key[16];
	struct stun_builder b;
	size_t len = 0;

	key_of(key, how->wrong_key);
	stun_begin(&b, bytes, sizeof(bytes), request->msg.method,
		   how->code != 0 ? STUN_ERROR : STUN_SUCCESS, &request->msg.txid);
	put_answer(&b, how);
	len = stun_finish(&b, how->unsigned_ ? NULL : key, sizeof(key), false);
	assert_true(len > 0);
	endpoint_format(&request->dst, from);
	harness_deliver(h, how->from ? how->from : from, bytes, len);
}

void harness_answer_binding(struct harness *h, const struct sent *binding)
{
	bool v4 = binding->dst.ip.family == IP_V4;

	ANSWER(h, binding, .unsigned_ = true, .no_lifetime = true,
	       .mapped = v4 ? "198.51.100.4:52625" : "[2001:db8:2::4]:52625");
}

void harness_make_ready(struct harness *h)
{
	const struct sent *binding = harness_last_of(h, STUN_BINDING);

	h->now_us += MS(1);
	harness_answer_binding(h, binding);
	h->now_us += MS(1);
	ANSWER(h, harness_last_of(h, STUN_ALLOCATE), .code = 401, .nonce = "nonce-1",
	       .realm = "firezone");
	h->now_us += MS(1);
	ANSWER(h, harness_last_of(h, STUN_ALLOCATE), .lifetime_s = 600,
	       .relayed_v4 = "192.0.2.10:50000", .relayed_v6 = "[2001:db8::10]:50000");
	assert_true(turn_relayed(h->turn, IP_V4, &(struct endpoint){.port = 0}));
	harness_forget(h);
}

bool harness_signed_with(const struct harness *h, const struct sent *request, const char *nonce)
{
	uint8_t key[16];

	(void)h;
	key_of(key, false);
	if (!stun_msg_verify(&request->msg, request->bytes, request->len, key, sizeof(key)))
		return false;
	if (!nonce)
		return !request->msg.nonce.data;
	return request->msg.nonce.data && request->msg.nonce.len == strlen(nonce) &&
	       memcmp(request->msg.nonce.data, nonce, strlen(nonce)) == 0;
}

bool harness_is_bare(const struct sent *request)
{
	return !request->msg.has_integrity && !request->msg.username.data;
}

uint16_t harness_out(struct harness *h, const char *peer)
{
	struct endpoint ep = harness_ep(peer);
	struct endpoint relay;
	uint16_t number = 0;

	if (!turn_channel_out(h->turn, &ep, h->now_us, &number, &relay))
		return 0;
	assert_true(turn_has_address(h->turn, &relay));
	return number;
}

bool harness_in(struct harness *h, uint16_t number, const char *want_peer)
{
	struct endpoint want = harness_ep(want_peer);
	struct endpoint peer;

	if (!turn_channel_in(h->turn, number, h->now_us, &peer))
		return false;
	assert_true(endpoint_eq(&peer, &want));
	return true;
}
