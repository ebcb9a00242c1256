/*
 * One TURN client under any sequence of events: time, binds, answers of every shape signed or not,
 * raw datagrams, channel data. The input is read as a list of operations, one byte each with its
 * arguments behind it.
 *
 * Holds at each step: the work per event is bounded, the next deadline lies ahead, every message is
 * well-formed and goes to the relay, only announced candidates are withdrawn, nothing follows
 * "dropped", and no secret slot is lost.
 */
#include <sodium.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "packet/bytes.h"
#include "turn/turn.h"

enum {
	OUTPUTS_MAX = 5 + 4096 + 2 * TURN_MAX_CANDIDATES + 1,
	KEPT = 8, /* latest requests that an answer may refer to */
	OPS_MAX = 400,
	NOTES_MAX = 16,
};

struct fuzz {
	struct turn *turn;
	uint64_t now_us;
	struct stun_txid txid[KEPT];
	uint16_t method[KEPT];
	struct endpoint dst[KEPT];
	size_t sent;
	struct candidate relay[2]; /* announced, by family */
	bool dropped, closed;
	uint8_t key[16];
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const char username[] = "1:user", password[] = "password";

static void check(bool cond)
{
	if (!cond)
		abort();
}

static void take_transmit(struct fuzz *f, const struct turn_output *out)
{
	struct stun_msg msg;
	size_t slot = f->sent++ % KEPT;

	check(out->u.transmit.len <= STUN_MAX_MESSAGE);
	check(turn_has_address(f->turn, &out->u.transmit.dst));
	check(stun_msg_read(&msg, out->u.transmit.data, out->u.transmit.len));
	check(msg.class == STUN_REQUEST);
	check(!msg.has_integrity || stun_msg_verify(&msg, out->u.transmit.data, out->u.transmit.len,
						    f->key, sizeof(f->key)));
	f->txid[slot] = msg.txid;
	f->method[slot] = msg.method;
	f->dst[slot] = out->u.transmit.dst;
}

static void take(struct fuzz *f, const struct turn_output *out)
{
	struct candidate *relay = NULL;

	check(!f->dropped);
	switch (out->kind) {
	case TURN_OUTPUT_TRANSMIT:
		take_transmit(f, out);
		break;
	case TURN_OUTPUT_CANDIDATE:
		check(out->u.candidate.addr.ip.family != IP_NONE && !f->closed);
		if (out->u.candidate.kind != CANDIDATE_RELAY)
			break;
		relay = &f->relay[out->u.candidate.addr.ip.family == IP_V4];
		check(relay->addr.ip.family == IP_NONE);
		*relay = out->u.candidate;
		break;
	case TURN_OUTPUT_LOST:
		check(out->u.lost.addr.ip.family != IP_NONE && !f->closed);
		if (out->u.lost.kind != CANDIDATE_RELAY)
			break;
		relay = &f->relay[out->u.lost.addr.ip.family == IP_V4];
		check(endpoint_eq(&relay->addr, &out->u.lost.addr));
		relay->addr = (struct endpoint){.port = 0};
		break;
	case TURN_OUTPUT_DROPPED:
		check(f->relay[0].addr.ip.family == IP_NONE &&
		      f->relay[1].addr.ip.family == IP_NONE);
		f->dropped = true;
		break;
	}
}

/* What is said of the relay agrees with what came of it. */
static void check_standing(struct fuzz *f)
{
	enum turn_standing standing = turn_standing(f->turn);
	struct endpoint ep;
	bool relayed = turn_relayed(f->turn, IP_V4, &ep) || turn_relayed(f->turn, IP_V6, &ep);
	struct turn_note note;

	check((standing == TURN_OVER) == (f->dropped || f->closed));
	check(relayed ==
	      (standing == TURN_STANDS || standing == TURN_SUSPECT || standing == TURN_SILENT));
	for (int n = 0; turn_take_note(f->turn, &note); n++)
		check(n < NOTES_MAX && note.code < 1000 && note.kind <= TURN_NOTE_REBOUND);
}

static void handle(struct fuzz *f, const struct turn_input *in)
{
	struct candidate all[TURN_MAX_CANDIDATES];
	struct turn_output out;
	size_t n = 0;

	turn_handle(f->turn, in, f->now_us);
	f->closed = f->closed || in->kind == TURN_INPUT_DELETE;
	while (turn_poll(f->turn, &out)) {
		check(++n <= OUTPUTS_MAX);
		take(f, &out);
	}
	check(turn_deadline(f->turn) > f->now_us);
	check(!(f->dropped || f->closed) || turn_deadline(f->turn) == NEVER_US);
	check(turn_candidates(f->turn, all) <= TURN_MAX_CANDIDATES);
	check_standing(f);
}

static struct endpoint local_of(uint8_t family)
{
	const uint8_t v4[4] = {10, 0, 0, 2};
	const uint8_t v6[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 2};

	return (struct endpoint){.ip = family == IP_V4 ? ip_v4(v4) : ip_v6(v6), .port = 52625};
}

static void deliver(struct fuzz *f, const struct endpoint *src, const uint8_t *buf, size_t len)
{
	struct turn_input in = {.kind = TURN_INPUT_DATAGRAM};

	in.u.datagram.buf = buf;
	in.u.datagram.len = len;
	in.u.datagram.src = *src;
	in.u.datagram.dst = local_of(src->ip.family);
	handle(f, &in);
}

static struct endpoint peer_of(uint8_t n)
{
	const uint8_t v4[4] = {203, 0, 113, (uint8_t)(n / 4)};
	const uint8_t v6[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = (uint8_t)(n / 4)};

	return (struct endpoint){.ip = n % 4 == 3 ? ip_v6(v6) : ip_v4(v4),
				 .port = (uint16_t)(n % 3 * 1000)};
}

/* @what: bits that say what the answer holds. */
static void put_answer(struct stun_builder *b, uint8_t what, uint8_t more)
{
	struct endpoint v4 = peer_of(4);
	struct endpoint v6 = peer_of(7);
	uint8_t nonce = more;

	v4.port = (uint16_t)(50000 + more % 2);
	v6.port = v4.port;
	if (what & 1)
		stun_put_bytes(b, STUN_ATTR_NONCE, &nonce, 1);
	if (what & 2)
		stun_put_bytes(b, STUN_ATTR_REALM, "firezone", more % 16 == 0 ? 7 : 8);
	if (what & 4)
		stun_put_xor_address(b, STUN_ATTR_XOR_RELAYED_ADDRESS, &v4);
	if (what & 8)
		stun_put_xor_address(b, STUN_ATTR_XOR_RELAYED_ADDRESS, &v6);
	if (what & 16)
		stun_put_xor_address(b, STUN_ATTR_XOR_MAPPED_ADDRESS, more % 2 ? &v4 : &v6);
	if (what & 32)
		stun_put_u32(b, STUN_ATTR_LIFETIME, more * 10u);
}

static void answer(struct fuzz *f, struct reader *r)
{
	static const uint16_t codes[] = {0, 0, 0, 400, 401, 437, 438, 420, 486, 508, 441};
	uint8_t which = rd_u8(r);
	uint8_t code = rd_u8(r);
	uint8_t what = rd_u8(r);
	uint8_t more = rd_u8(r);
	size_t slot = which % KEPT;
	uint8_t buf[STUN_MAX_MESSAGE];
	struct stun_builder b;
	uint16_t error = codes[code % ARRAY_LEN(codes)];

	if (slot >= f->sent)
		return;
	/* 0 is the latest. */
	slot = (f->sent - 1 - slot) % KEPT;
	stun_begin(&b, buf, sizeof(buf), f->method[slot], error ? STUN_ERROR : STUN_SUCCESS,
		   &f->txid[slot]);
	if (error)
		stun_put_error(&b, error, "");
	put_answer(&b, what, more);
	deliver(f, &f->dst[slot], buf,
		stun_finish(&b, what & 64 ? NULL : f->key, sizeof(f->key), (what & 128) != 0));
}

static void raw(struct fuzz *f, struct reader *r)
{
	struct endpoint src = f->sent > 0 ? f->dst[0] : peer_of(0);
	uint8_t wanted = rd_u8(r);
	size_t n = min_size(wanted, r->left);
	const uint8_t *bytes = rd_bytes(r, n);

	if (bytes)
		deliver(f, &src, bytes, n);
}

static void channel(struct fuzz *f, struct reader *r, bool out)
{
	struct endpoint peer = peer_of(rd_u8(r));
	struct endpoint relay;
	uint16_t number = (uint16_t)(TURN_CHANNEL_MIN + peer.port / 1000);

	if (!out) {
		number = (uint16_t)(TURN_CHANNEL_MIN - 1 + rd_u8(r));
		if (turn_channel_in(f->turn, number, f->now_us, &peer))
			check(peer.ip.family != IP_NONE && !f->dropped && !f->closed);
		check(turn_deadline(f->turn) >= f->now_us);
		return;
	}
	if (!turn_channel_out(f->turn, &peer, f->now_us, &number, &relay))
		return;
	check(number >= TURN_CHANNEL_MIN && number <= TURN_CHANNEL_MAX);
	check(turn_has_address(f->turn, &relay) && !f->dropped && !f->closed);
	check(turn_deadline(f->turn) >= f->now_us);
}

static void bind(struct fuzz *f, struct reader *r)
{
	struct turn_input in = {.kind = TURN_INPUT_BIND};

	in.u.bind.peer = peer_of(rd_u8(r));
	in.u.bind.owner = rd_u8(r) % 4;
	handle(f, &in);
}

/* Another address of ours, another port, or none at all. */
static void roam(struct fuzz *f, struct reader *r)
{
	struct turn_input in = {.kind = TURN_INPUT_ROAM};
	uint8_t what = rd_u8(r);

	for (unsigned i = 0; i < 2; i++, what >>= 4) {
		in.u.roam[i].moved = what & 1;
		in.u.roam[i].out = what & 2;
		if (what & 4)
			in.u.roam[i].local = local_of(i == 0 ? IP_V4 : IP_V6);
		in.u.roam[i].local.port = (uint16_t)(in.u.roam[i].local.port + (what >> 3 & 1));
	}
	handle(f, &in);
}

static void local_dead(struct fuzz *f, struct reader *r)
{
	struct turn_input in = {.kind = TURN_INPUT_LOCAL_DEAD};

	in.u.local_dead = local_of(rd_u8(r) & 1 ? IP_V6 : IP_V4).ip;
	handle(f, &in);
}

/* Traffic towards a peer, for a while and unanswered. */
static void send_on(struct fuzz *f, struct reader *r)
{
	struct endpoint peer = peer_of(rd_u8(r)), relay;
	uint64_t until_us = f->now_us + rd_u8(r) * 100 * US_PER_MS;
	uint16_t number;

	while (f->now_us < until_us && !f->dropped && !f->closed) {
		(void)turn_channel_out(f->turn, &peer, f->now_us, &number, &relay);
		f->now_us = min_u64(until_us, turn_deadline(f->turn));
		handle(f, &(struct turn_input){.kind = TURN_INPUT_TIMEOUT});
	}
}

static void step(struct fuzz *f, struct reader *r)
{
	switch (rd_u8(r) % 17) {
	case 0:
		f->now_us += rd_u16(r) * US_PER_MS;
		handle(f, &(struct turn_input){.kind = TURN_INPUT_TIMEOUT});
		break;
	case 1:
		f->now_us += rd_u8(r) * 5 * US_PER_S;
		handle(f, &(struct turn_input){.kind = TURN_INPUT_TIMEOUT});
		break;
	case 2:
	case 3:
		bind(f, r);
		break;
	case 4:
		handle(f, &(struct turn_input){.kind = TURN_INPUT_REFRESH});
		break;
	case 5:
		raw(f, r);
		break;
	case 6:
		channel(f, r, false);
		break;
	case 7:
		channel(f, r, true);
		break;
	case 8:
		if (rd_u8(r) == 0xff)
			handle(f, &(struct turn_input){.kind = TURN_INPUT_DELETE});
		break;
	case 12:
		roam(f, r);
		break;
	case 13:
		local_dead(f, r);
		break;
	case 14:
		turn_set_away(f->turn, rd_u8(r) & 1);
		break;
	case 15:
		handle(f, &(struct turn_input){.kind = TURN_INPUT_PROBE});
		break;
	case 16:
		send_on(f, r);
		break;
	default:
		answer(f, r);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct reader r = reader_of(data, len);
	struct rng_seeded seed;
	struct fuzz f = {.now_us = US_PER_S};
	struct turn_config cfg = {.username = username, .password = password};
	const uint8_t v6[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 10};
	const uint8_t v4[4] = {192, 0, 2, 10};
	uint8_t families = rd_u8(&r);

	check(sodium_init() >= 0);
	cfg.arena = secret_arena_new(1);
	check(cfg.arena);
	cfg.rng = rng_from_seed(&seed, len);
	if (families % 3 != 1)
		cfg.v4 = (struct endpoint){.ip = ip_v4(v4), .port = TURN_PORT};
	if (families % 3 != 0)
		cfg.v6 = (struct endpoint){.ip = ip_v6(v6), .port = TURN_PORT};
	stun_long_term_key(f.key, username, turn_realm, password);
	f.turn = turn_new(&cfg, f.now_us);
	check(f.turn);
	handle(&f, &(struct turn_input){.kind = TURN_INPUT_TIMEOUT});
	for (size_t i = 0; i < OPS_MAX && r.left > 0; i++)
		step(&f, &r);
	turn_free(f.turn);
	check(secret_slots_free(cfg.arena) == 1);
	secret_arena_free(cfg.arena);
	return 0;
}
