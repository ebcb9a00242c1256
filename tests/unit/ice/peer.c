#include "peer.h"

#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

int peer_group_setup(void **state)
{
	(void)state;
	return sodium_init() < 0 ? -1 : 0;
}

struct endpoint at(const char *text)
{
	struct endpoint out;

	assert_true(endpoint_parse(&out, text, strlen(text)));
	return out;
}

void peer_open(struct peer *peer)
{
	struct ice_config cfg = {
	    .local_ufrag = OUR_UFRAG,
	    .local_pwd = OUR_PWD,
	    .remote_ufrag = PEER_UFRAG,
	    .remote_pwd = PEER_PWD,
	    .tag = 0xabcdef,
	};

	memset(peer, 0, sizeof(*peer));
	peer->now_us = 1000 * US_PER_S;
	peer->arena = secret_arena_new(2);
	assert_non_null(peer->arena);
	cfg.arena = peer->arena;
	cfg.rng = rng_from_seed(&peer->seed, 1);
	peer->rng = rng_from_seed(&peer->ids, 2);
	peer->ice = ice_new(&cfg, peer->now_us);
	assert_non_null(peer->ice);
}

void peer_close(struct peer *peer)
{
	ice_free(peer->ice);
	assert_int_equal(secret_slots_free(peer->arena), 2);
	secret_arena_free(peer->arena);
}

static void clear(struct peer *peer)
{
	peer->n_sent = 0;
	peer->n_announced = 0;
	peer->n_selected = 0;
	peer->n_unselected = 0;
	peer->n_states = 0;
}

static void collect_message(struct peer *peer, const struct ice_output *out)
{
	struct peer_sent *sent = &peer->sent[peer->n_sent++];

	assert_true(peer->n_sent <= PEER_MAX_SENT);
	assert_true(out->u.transmit.len <= sizeof(sent->data));
	sent->path = out->u.transmit.path;
	sent->len = out->u.transmit.len;
	memcpy(sent->data, out->u.transmit.data, sent->len);
	assert_true(stun_msg_read(&sent->msg, sent->data, sent->len));
}

static bool same_path(const struct ice_path *a, const struct ice_path *b)
{
	return endpoint_eq(&a->local, &b->local) && endpoint_eq(&a->remote, &b->remote) &&
	       a->via_relay == b->via_relay;
}

static void collect(struct peer *peer)
{
	struct ice_output out;
	struct ice_path path;

	while (ice_poll(peer->ice, &out)) {
		switch (out.kind) {
		case ICE_OUTPUT_TRANSMIT:
			collect_message(peer, &out);
			break;
		case ICE_OUTPUT_ANNOUNCE:
			assert_true(peer->n_announced < ARRAY_LEN(peer->announced));
			peer->announced[peer->n_announced++] = out.u.announce;
			break;
		case ICE_OUTPUT_SELECTED:
			assert_true(!peer->told_path ||
				    !same_path(&peer->selected, &out.u.selected));
			peer->selected = out.u.selected;
			peer->told_path = true;
			peer->n_selected++;
			break;
		case ICE_OUTPUT_UNSELECTED:
			assert_true(peer->told_path);
			peer->told_path = false;
			peer->n_unselected++;
			break;
		case ICE_OUTPUT_STATE:
			assert_true(peer->n_states < ARRAY_LEN(peer->states));
			peer->states[peer->n_states++] = out.u.state;
			break;
		}
	}
	assert_true(ice_deadline(peer->ice) > peer->now_us);
	if (ice_state_of(peer->ice) != ICE_FAILED)
		assert_int_equal(ice_selected(peer->ice, &path), peer->told_path);
}

static void step(struct peer *peer, const struct ice_input *in)
{
	ice_handle(peer->ice, in, peer->now_us);
	collect(peer);
}

void peer_feed(struct peer *peer, const struct ice_input *in)
{
	clear(peer);
	step(peer, in);
}

void peer_wait_ms(struct peer *peer, uint64_t ms)
{
	peer->now_us += ms * US_PER_MS;
}

void peer_timeout(struct peer *peer)
{
	peer_feed(peer, &(struct ice_input){.kind = ICE_INPUT_TIMEOUT});
}

void peer_run_ms(struct peer *peer, uint64_t ms)
{
	const struct ice_input in = {.kind = ICE_INPUT_TIMEOUT};
	uint64_t end_us = peer->now_us + ms * US_PER_MS;

	clear(peer);
	while (ice_deadline(peer->ice) <= end_us) {
		if (ice_deadline(peer->ice) > peer->now_us)
			peer->now_us = ice_deadline(peer->ice);
		step(peer, &in);
	}
	peer->now_us = end_us;
}

void peer_profile(struct peer *peer, enum ice_profile profile)
{
	peer_feed(peer, &(struct ice_input){.kind = ICE_INPUT_PROFILE, .u.profile = profile});
}

void peer_local(struct peer *peer, bool add, enum candidate_kind kind, const char *addr,
		const char *base)
{
	struct ice_input in = {.kind = add ? ICE_INPUT_LOCAL_ADD : ICE_INPUT_LOCAL_REMOVE};

	in.u.candidate.kind = kind;
	in.u.candidate.addr = at(addr);
	in.u.candidate.base = at(base);
	in.u.candidate.relay_family = in.u.candidate.addr.ip.family;
	peer_feed(peer, &in);
}

void peer_remote(struct peer *peer, bool add, enum candidate_kind kind, const char *addr)
{
	struct ice_input in = {.kind = add ? ICE_INPUT_REMOTE_ADD : ICE_INPUT_REMOTE_REMOVE};
	struct endpoint ep = at(addr);

	in.u.candidate.kind = kind;
	in.u.candidate.addr = ep;
	in.u.candidate.base = ep;
	in.u.candidate.priority = candidate_priority(kind, ep.ip.family, ep.ip.family, 0);
	peer_feed(peer, &in);
}

static void receive(struct peer *peer, const uint8_t *buf, size_t len, const struct endpoint *src,
		    const struct endpoint *dst, bool owned)
{
	struct stun_msg msg;
	struct ice_input in = {.kind = ICE_INPUT_STUN};

	assert_true(len > 0);
	assert_true(stun_msg_read(&msg, buf, len));
	in.u.stun.msg = &msg;
	in.u.stun.buf = buf;
	in.u.stun.len = len;
	in.u.stun.src = *src;
	in.u.stun.dst = *dst;
	in.u.stun.owned = owned;
	peer_feed(peer, &in);
}

void peer_check(struct peer *peer, const struct peer_check *check)
{
	const char *name = check->username ? check->username : OUR_UFRAG ":" PEER_UFRAG;
	const char *key = check->key ? check->key : OUR_PWD;
	struct endpoint src = at(check->src), dst = at(check->dst);
	struct stun_builder b;
	struct stun_txid txid;
	uint8_t buf[256];

	rng_fill(&peer->rng, txid.bytes, sizeof(txid.bytes));
	if (check->txid)
		txid = *check->txid;
	stun_begin(&b, buf, sizeof(buf), STUN_BINDING, STUN_REQUEST, &txid);
	stun_put_bytes(&b, STUN_ATTR_USERNAME, name, strlen(name));
	stun_put_u64(&b, check->controlled ? STUN_ATTR_ICE_CONTROLLED : STUN_ATTR_ICE_CONTROLLING,
		     1);
	if (!check->no_priority)
		stun_put_u32(&b, STUN_ATTR_PRIORITY,
			     check->priority ? check->priority : PEER_PRIORITY);
	if (check->use_candidate)
		stun_put_bytes(&b, STUN_ATTR_USE_CANDIDATE, "", 0);
	receive(peer, buf, stun_finish(&b, (const uint8_t *)key, strlen(key), true), &src, &dst,
		check->owned);
}

void peer_checks(struct peer *peer, const char *src, const char *dst, bool use_candidate)
{
	struct peer_check check = {.src = src, .dst = dst, .use_candidate = use_candidate};

	peer_check(peer, &check);
}

void peer_answer_as(struct peer *peer, struct peer_sent sent, const char *src, const char *dst,
		    const char *key)
{
	struct endpoint from = src ? at(src) : sent.path.remote;
	struct endpoint to = dst ? at(dst) : sent.path.local;
	struct stun_builder b;
	uint8_t buf[256];

	key = key ? key : PEER_PWD;
	stun_begin(&b, buf, sizeof(buf), STUN_BINDING, STUN_SUCCESS, &sent.msg.txid);
	stun_put_xor_address(&b, STUN_ATTR_XOR_MAPPED_ADDRESS, &sent.path.local);
	receive(peer, buf, stun_finish(&b, (const uint8_t *)key, strlen(key), true), &from, &to,
		false);
}

void peer_answer(struct peer *peer, struct peer_sent sent)
{
	peer_answer_as(peer, sent, NULL, NULL, NULL);
}

void peer_run_answering_ms(struct peer *peer, uint64_t ms)
{
	const struct ice_input in = {.kind = ICE_INPUT_TIMEOUT};
	uint64_t end_us = peer->now_us + ms * US_PER_MS;

	while (ice_deadline(peer->ice) <= end_us) {
		struct peer_sent sent[PEER_MAX_SENT];
		size_t n;

		peer->now_us = ice_deadline(peer->ice);
		peer_feed(peer, &in);
		n = peer->n_sent;
		memcpy(sent, peer->sent, sizeof(sent));
		for (size_t i = 0; i < n; i++)
			peer_answer(peer, sent[i]);
	}
	peer->now_us = end_us;
}

static bool is_check_to(const struct peer_sent *sent, const char *local, const char *remote)
{
	struct endpoint l = at(local), r = at(remote);

	return sent->msg.class == STUN_REQUEST && endpoint_eq(&sent->path.local, &l) &&
	       endpoint_eq(&sent->path.remote, &r);
}

bool peer_has_check_to(const struct peer *peer, const char *local, const char *remote)
{
	for (size_t i = 0; i < peer->n_sent; i++)
		if (is_check_to(&peer->sent[i], local, remote))
			return true;
	return false;
}

struct peer_sent peer_check_to(const struct peer *peer, const char *local, const char *remote)
{
	struct peer_sent found = {.len = 0};

	for (size_t i = 0; i < peer->n_sent; i++)
		if (is_check_to(&peer->sent[i], local, remote))
			found = peer->sent[i];
	assert_true(found.len > 0);
	return found;
}

unsigned peer_count_to(const struct peer *peer, const char *remote)
{
	struct endpoint r = at(remote);
	unsigned n = 0;

	for (size_t i = 0; i < peer->n_sent; i++)
		n += peer->sent[i].msg.class == STUN_REQUEST &&
		     endpoint_eq(&peer->sent[i].path.remote, &r);
	return n;
}

const struct peer_sent *peer_reply(const struct peer *peer)
{
	const struct peer_sent *found = NULL;

	for (size_t i = 0; i < peer->n_sent; i++) {
		if (peer->sent[i].msg.class == STUN_REQUEST)
			continue;
		assert_null(found);
		found = &peer->sent[i];
	}
	return found;
}

void peer_assert_path(const struct peer *peer, const char *local, const char *remote)
{
	struct endpoint l = at(local), r = at(remote);
	struct ice_path path;

	assert_true(ice_selected(peer->ice, &path));
	assert_true(endpoint_eq(&path.local, &l));
	assert_true(endpoint_eq(&path.remote, &r));
}

int peer_setup(void **state)
{
	struct peer *peer = malloc(sizeof(*peer));

	assert_non_null(peer);
	peer_open(peer);
	*state = peer;
	return 0;
}

int peer_setup_host(void **state)
{
	int rc = peer_setup(state);

	peer_local(*state, true, CANDIDATE_HOST, OUR_HOST, OUR_HOST);
	return rc;
}

int peer_setup_signalled(void **state)
{
	int rc = peer_setup_host(state);

	peer_remote(*state, true, CANDIDATE_RELAY, "192.0.2.200:1");
	return rc;
}

int peer_teardown(void **state)
{
	peer_close(*state);
	free(*state);
	return 0;
}
