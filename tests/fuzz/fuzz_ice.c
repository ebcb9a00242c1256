/*
 * One ICE agent (covers ice.c, candidates.c, pairs.c, paths.c, nominate.c, checks.c) under an
 * arbitrary sequence of events: candidates, signed and raw STUN messages, answers to its own
 * checks, a peer whose address changes, time. Each event is a byte that says which, then its
 * parameters; the last byte of all says whether the agent is a gateway's or a client's. After each:
 * tables and bytes within their limits, destinations that a peer may make us use, sources that are
 * ours, well-formed signed messages, a deadline in the future, a final failure, every news of the
 * path another one, and no path that works left for one that has never answered.
 */
#include <sodium.h>
#include <string.h>

#include "base/defs.h"
#include "ice/internal.h"
#include "packet/bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const char our_pwd[] = "6qfkgp5xv3licxyswonpeq";
static const char peer_pwd[] = "ucsfc4b56p7gpg6utz5dit";

enum event {
	EVENT_LOCAL_ADD,
	EVENT_LOCAL_REMOVE,
	EVENT_REMOTE_ADD,
	EVENT_REMOTE_REMOVE,
	EVENT_REQUEST,
	EVENT_ANSWER,
	EVENT_RAW,
	EVENT_PROFILE,
	EVENT_WAIT,
	EVENT_TIMER,
	EVENT_ROAM,
	EVENT_REBIND,
	EVENTS,
};

enum {
	REMEMBERED = 8,
	MAX_ANSWERED = 64,
	MAX_EVENTS = 4000,
	CLIENT_MARK = 0xe0 /* in the last byte */
};

struct run {
	struct ice *ice;
	struct stun_hmac *hmac;
	uint64_t now_us;
	struct ice_path checks[REMEMBERED]; /* newest checks, to be answered */
	struct stun_txid ids[REMEMBERED];
	unsigned n_checks;
	struct ice_path answered[MAX_ANSWERED]; /* that ever answered; the check ends when full */
	unsigned n_answered;
	struct ice_path told;
	bool has_path, failed;
};

static bool path_eq(const struct ice_path *a, const struct ice_path *b)
{
	return endpoint_eq(&a->local, &b->local) && endpoint_eq(&a->remote, &b->remote) &&
	       a->via_relay == b->via_relay;
}

static bool has_answered(const struct run *run, const struct ice_path *path)
{
	for (unsigned i = 0; i < run->n_answered; i++)
		if (path_eq(&run->answered[i], path))
			return true;
	return run->n_answered == MAX_ANSWERED;
}

static bool is_ours(const struct run *run, const struct ice_path *path)
{
	struct candidate known[ICE_MAX_LOCAL];
	size_t n = ice_local_candidates(run->ice, known, ICE_MAX_LOCAL);

	for (size_t i = 0; i < n; i++)
		if (endpoint_eq(&known[i].base, &path->local) &&
		    (known[i].kind == CANDIDATE_RELAY) == path->via_relay)
			return true;
	return false;
}

static void check_path(const struct run *run, const struct ice_path *path)
{
	BUG_ON(!candidate_addr_usable(&path->remote));
	BUG_ON(path->local.ip.family != path->remote.ip.family);
	BUG_ON(!is_ours(run, path));
	BUG_ON(!path->via_relay && ip_eq(&path->local.ip, &path->remote.ip));
}

static void check_message(struct run *run, const struct ice_output *out)
{
	const uint8_t *data = out->u.transmit.data;
	size_t len = out->u.transmit.len;
	struct stun_msg msg;
	const char *key;

	check_path(run, &out->u.transmit.path);
	BUG_ON(!stun_msg_read(&msg, data, len));
	BUG_ON(!msg.has_fingerprint);
	key = msg.class == STUN_REQUEST ? peer_pwd : our_pwd;
	BUG_ON(!stun_msg_verify_by(run->hmac, &msg, data, len, (const uint8_t *)key, strlen(key)));
	BUG_ON(msg.class == STUN_SUCCESS &&
	       !endpoint_eq(&msg.mapped,
			    &(struct endpoint){.ip = out->u.transmit.path.remote.ip,
					       .port = out->u.transmit.path.remote.port}));
	if (msg.class == STUN_REQUEST) {
		unsigned slot = run->n_checks++ % REMEMBERED;

		run->checks[slot] = out->u.transmit.path;
		run->ids[slot] = msg.txid;
	}
}

static void drain(struct run *run)
{
	struct ice_output out;
	unsigned messages = 0, announced = 0, selected = 0, states = 0;

	while (ice_poll(run->ice, &out)) {
		BUG_ON(run->failed);
		switch (out.kind) {
		case ICE_OUTPUT_TRANSMIT:
			check_message(run, &out);
			messages++;
			break;
		case ICE_OUTPUT_ANNOUNCE:
			announced++;
			break;
		case ICE_OUTPUT_SELECTED:
			check_path(run, &out.u.selected);
			BUG_ON(run->has_path && path_eq(&run->told, &out.u.selected));
			run->told = out.u.selected;
			run->has_path = true;
			selected++;
			break;
		case ICE_OUTPUT_UNSELECTED:
			BUG_ON(!run->has_path);
			run->has_path = false;
			selected++;
			break;
		case ICE_OUTPUT_STATE:
			run->failed = out.u.state == ICE_FAILED;
			states++;
			break;
		}
	}
	BUG_ON(messages > ICE_MAX_PAIRS + 1 || announced > 1 || selected > 1 || states > 1);
}

static size_t bytes(const struct ice *ice)
{
	return sizeof(*ice) + ice->buf_cap + 6 * strlen(ice->username) +
	       ice->cap_locals * sizeof(ice->locals[0]) +
	       ice->cap_remotes * sizeof(ice->remotes[0]) + ice->cap_pairs * sizeof(ice->pairs[0]) +
	       ice->cap_flights * sizeof(ice->flights[0]);
}

static void check_agent(const struct run *run)
{
	struct candidate known[ICE_MAX_LOCAL + 1];
	size_t n = ice_local_candidates(run->ice, known, ICE_MAX_LOCAL + 1);
	struct ice_path path;

	BUG_ON(n > ICE_MAX_LOCAL);
	for (size_t i = 1; i < n; i++)
		BUG_ON(known[i - 1].priority < known[i].priority);
	BUG_ON(run->failed != (ice_state_of(run->ice) == ICE_FAILED));
	if (run->failed)
		BUG_ON(ice_deadline(run->ice) != NEVER_US);
	else
		BUG_ON(ice_deadline(run->ice) <= run->now_us);
	BUG_ON(bytes(run->ice) > ICE_BYTES_MAX);
	if (run->failed)
		return;
	BUG_ON(ice_selected(run->ice, &path) != run->has_path);
	if (run->has_path)
		check_path(run, &path);
}

/* Few addresses, so that events meet; now and then any. */
static struct endpoint any_endpoint(struct reader *r)
{
	struct endpoint ep = {.port = 40000};
	uint8_t which = rd_u8(r);

	ep.ip.family = which & 1 ? IP_V6 : IP_V4;
	if ((which & 0xf0) == 0xf0) {
		rd_copy(r, ep.ip.bytes, ip_len(&ep.ip));
		ep.port = rd_u16(r);
	} else if (ep.ip.family == IP_V4) {
		memcpy(ep.ip.bytes, (const uint8_t[4]){192, 0, 2, which >> 1}, 4);
	} else {
		memcpy(ep.ip.bytes, (const uint8_t[4]){0x20, 1, 0xd, 0xb8}, 4);
		ep.ip.bytes[15] = which >> 1;
	}
	return ep;
}

static void candidate_event(struct run *run, struct reader *r, enum ice_input_kind kind)
{
	struct ice_input in = {.kind = kind};
	uint8_t flags = rd_u8(r);

	in.u.candidate.kind = (enum candidate_kind)(flags & 3);
	in.u.candidate.addr = any_endpoint(r);
	in.u.candidate.base = in.u.candidate.addr;
	if (in.u.candidate.kind == CANDIDATE_SRFLX && kind == ICE_INPUT_LOCAL_ADD)
		in.u.candidate.base = any_endpoint(r);
	in.u.candidate.relay_family = flags & 4 ? IP_V6 : IP_V4;
	in.u.candidate.priority = (uint32_t)flags << 24;
	ice_handle(run->ice, &in, run->now_us);
}

static void stun_event(struct run *run, const uint8_t *buf, size_t len, const struct endpoint *src,
		       const struct endpoint *dst, bool owned)
{
	struct ice_input in = {.kind = ICE_INPUT_STUN};
	struct stun_msg msg;

	if (!stun_msg_read(&msg, buf, len))
		return;
	in.u.stun.msg = &msg;
	in.u.stun.buf = buf;
	in.u.stun.len = len;
	in.u.stun.src = *src;
	in.u.stun.dst = *dst;
	in.u.stun.owned = owned && ice_owns_request(run->ice, &msg, buf, len);
	ice_handle(run->ice, &in, run->now_us);
}

static void drain(struct run *run);

/* A check takes no path that works away, wherever it comes from: only one that has answered may
 * take its place. */
static void request(struct run *run, const struct endpoint *src, const struct endpoint *dst,
		    uint8_t id, uint8_t flags)
{
	const char *name = ice_username(run->ice);
	struct ice_path before = run->told;
	bool had_path = run->has_path;
	struct stun_txid txid = {{id}};
	uint8_t buf[256];
	struct stun_builder b;
	size_t len;

	stun_begin(&b, buf, sizeof(buf), STUN_BINDING, STUN_REQUEST, &txid);
	stun_put_bytes(&b, STUN_ATTR_USERNAME, name, strlen(name));
	stun_put_u32(&b, STUN_ATTR_PRIORITY, (uint32_t)flags << 24);
	if (flags & 1)
		stun_put_bytes(&b, STUN_ATTR_USE_CANDIDATE, "", 0);
	if ((flags & 0x1e) == 0)
		stun_put_u64(&b, STUN_ATTR_ICE_CONTROLLED, 1);
	len = stun_finish_by(run->hmac, &b, (const uint8_t *)our_pwd, strlen(our_pwd), true);
	stun_event(run, buf, len, src, dst, (flags & 0x40) != 0);
	drain(run);
	if (had_path && run->has_path && !path_eq(&before, &run->told))
		BUG_ON(!has_answered(run, &run->told));
}

static void request_event(struct run *run, struct reader *r)
{
	struct endpoint src = any_endpoint(r), dst = any_endpoint(r);
	uint8_t id = rd_u8(r), flags = rd_u8(r);

	request(run, &src, &dst, id, flags);
}

static void answer(struct run *run, unsigned slot, const struct endpoint *src)
{
	struct ice_path path = run->checks[slot];
	struct stun_builder b;
	uint8_t buf[256];
	size_t len;

	path.remote = *src;
	if (run->n_answered < MAX_ANSWERED && !has_answered(run, &path))
		run->answered[run->n_answered++] = path;
	stun_begin(&b, buf, sizeof(buf), STUN_BINDING, STUN_SUCCESS, &run->ids[slot]);
	stun_put_xor_address(&b, STUN_ATTR_XOR_MAPPED_ADDRESS, &path.local);
	len = stun_finish_by(run->hmac, &b, (const uint8_t *)peer_pwd, strlen(peer_pwd), true);
	stun_event(run, buf, len, &path.remote, &path.local, false);
}

static void answer_event(struct run *run, struct reader *r)
{
	uint8_t which = rd_u8(r);
	unsigned slot = which % REMEMBERED;
	struct endpoint src;

	if (slot >= run->n_checks)
		return;
	src = which & 0x80 ? any_endpoint(r) : run->checks[slot].remote;
	answer(run, slot, &src);
}

/* The peer's checks come from another port from now on, and what we send there is answered. */
static void rebind_event(struct run *run, struct reader *r)
{
	uint8_t step = rd_u8(r), id = rd_u8(r), flags = rd_u8(r);
	struct endpoint src = run->told.remote, dst = run->told.local;

	if (!run->has_path)
		return;
	src.port = (uint16_t)(src.port + (step & 15));
	request(run, &src, &dst, id, flags);
	for (unsigned i = 0; i < REMEMBERED && i < run->n_checks; i++) {
		if (!(step & 0x80) || !endpoint_eq(&run->checks[i].remote, &src))
			continue;
		answer(run, i, &src);
		drain(run);
	}
}

static void raw_event(struct run *run, struct reader *r)
{
	struct endpoint src = any_endpoint(r), dst = any_endpoint(r);
	uint8_t wanted = rd_u8(r);
	size_t len = min_size(wanted, r->left);
	const uint8_t *buf = rd_bytes(r, len);

	if (buf)
		stun_event(run, buf, len, &src, &dst, false);
}

static void timer_event(struct run *run, bool to_deadline, uint64_t wait_us)
{
	uint64_t at_us = ice_deadline(run->ice);

	if (!to_deadline)
		run->now_us += wait_us;
	else if (at_us != NEVER_US && at_us > run->now_us)
		run->now_us = at_us;
	ice_handle(run->ice, &(struct ice_input){.kind = ICE_INPUT_TIMEOUT}, run->now_us);
}

static void event(struct run *run, struct reader *r)
{
	struct ice_input profile = {.kind = ICE_INPUT_PROFILE};
	struct ice_input roam = {.kind = ICE_INPUT_ROAM};

	switch ((enum event)(rd_u8(r) % EVENTS)) {
	case EVENT_LOCAL_ADD:
		candidate_event(run, r, ICE_INPUT_LOCAL_ADD);
		break;
	case EVENT_LOCAL_REMOVE:
		candidate_event(run, r, ICE_INPUT_LOCAL_REMOVE);
		break;
	case EVENT_REMOTE_ADD:
		candidate_event(run, r, ICE_INPUT_REMOTE_ADD);
		break;
	case EVENT_REMOTE_REMOVE:
		candidate_event(run, r, ICE_INPUT_REMOTE_REMOVE);
		break;
	case EVENT_REQUEST:
		request_event(run, r);
		break;
	case EVENT_ANSWER:
		answer_event(run, r);
		break;
	case EVENT_REBIND:
		rebind_event(run, r);
		break;
	case EVENT_RAW:
		raw_event(run, r);
		break;
	case EVENT_PROFILE:
		profile.u.profile = rd_u8(r) & 1 ? ICE_IDLE : ICE_ACTIVE;
		ice_handle(run->ice, &profile, run->now_us);
		break;
	case EVENT_ROAM:
		roam.u.fate = (enum ice_fate)(rd_u8(r) % 3);
		ice_handle(run->ice, &roam, run->now_us);
		break;
	case EVENT_WAIT:
		timer_event(run, false, (uint64_t)rd_u16(r) * US_PER_MS);
		break;
	case EVENT_TIMER:
	case EVENTS:
		timer_event(run, true, 0);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct reader r = reader_of(data, len);
	struct run run = {.now_us = 1000 * US_PER_S};
	struct rng_seeded seed;
	struct secret_arena *arena = NULL;
	struct ice_config cfg = {
	    .local_ufrag = "6frn",
	    .local_pwd = our_pwd,
	    .remote_ufrag = "hzxq",
	    .remote_pwd = peer_pwd,
	    .tag = 0xabcdef,
	    .controlling = len > 0 && (data[len - 1] & CLIENT_MARK) == CLIENT_MARK,
	};

	if (sodium_init() < 0)
		return 0;
	arena = secret_arena_new(2);
	BUG_ON(!arena);
	cfg.arena = arena;
	cfg.rng = rng_from_seed(&seed, 1);
	run.hmac = stun_hmac_new();
	BUG_ON(!run.hmac);
	cfg.hmac = run.hmac;
	run.ice = ice_new(&cfg, run.now_us);
	BUG_ON(!run.ice);
	for (unsigned i = 0; r.left > 0 && i < MAX_EVENTS && !run.failed; i++) {
		event(&run, &r);
		drain(&run);
		/* An event that came to nothing leaves a new agent as it is. */
		if (ice_state_of(run.ice) != ICE_NEW)
			check_agent(&run);
	}
	ice_free(run.ice);
	BUG_ON(secret_slots_free(arena) != 2);
	secret_arena_free(arena);
	stun_hmac_free(run.hmac);
	return 0;
}
