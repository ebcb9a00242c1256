#include "ice/ice.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "ice/internal.h"
#include "packet/bytes.h"

/* RFC 8445 section 5.3. */
enum {
	UFRAG_MIN = 4,
	PWD_MIN = 22,
	/* Header, USERNAME header and padding, role, PRIORITY, USE-CANDIDATE, integrity,
	 * fingerprint. */
	CHECK_OVERHEAD = STUN_HEADER_LEN + 4 + 3 + 12 + 8 + 4 + 24 + 8,
	REPLY_MAX = 80,
	/* The four names; the product's are of 4 characters. */
	NAMES_MAX = 2 * (STUN_MAX_USERNAME + 1) + STUN_MAX_USERNAME + 1,
	NAMES_USUAL = 4 * (4 + 1) + 2 * (4 + 1),
};

static_assert(sizeof(struct ice) + NAMES_MAX + CHECK_OVERHEAD + STUN_MAX_USERNAME +
		      ICE_MAX_LOCAL * sizeof(struct ice_local) +
		      ICE_MAX_REMOTE * sizeof(struct ice_remote) +
		      ICE_MAX_PAIRS * sizeof(struct ice_pair) +
		      ICE_MAX_FLIGHTS * sizeof(struct ice_flight) <=
		  ICE_BYTES_MAX,
	      "the bound is stated");
static_assert(sizeof(struct ice) + NAMES_USUAL + CHECK_OVERHEAD + 9 +
		      ICE_USUAL_LOCAL * sizeof(struct ice_local) +
		      ICE_USUAL_REMOTE * sizeof(struct ice_remote) +
		      ICE_USUAL_PAIRS * (sizeof(struct ice_pair) + sizeof(struct ice_flight)) +
		      ICE_MAX_SPARE <=
		  ICE_BYTES_IDLE,
	      "an idle client is small");

/* A ufrag stands in USERNAME, where a colon would end it, and in candidates, where a space would.
 */
static bool ufrag_ok(const char *ufrag)
{
	size_t len = strnlen(ufrag, ICE_UFRAG_MAX + 1);

	for (size_t i = 0; i < len; i++)
		if (ufrag[i] <= ' ' || ufrag[i] > '~' || ufrag[i] == ':')
			return false;
	return len >= UFRAG_MIN && len <= ICE_UFRAG_MAX;
}

static bool pwd_ok(const char *pwd)
{
	size_t len = strnlen(pwd, ICE_PWD_MAX + 1);

	return len >= PWD_MIN && len <= ICE_PWD_MAX;
}

static bool config_ok(const struct ice_config *cfg)
{
	static_assert((int)ICE_PWD_MAX <= (int)SECRET_SLOT_SIZE, "a password fits a slot");
	return ufrag_ok(cfg->local_ufrag) && ufrag_ok(cfg->remote_ufrag) &&
	       strlen(cfg->local_ufrag) + 1 + strlen(cfg->remote_ufrag) <= STUN_MAX_USERNAME &&
	       pwd_ok(cfg->local_pwd) && pwd_ok(cfg->remote_pwd);
}

/* "ours:theirs", "theirs:ours", "ours", "theirs", each terminated, in one block. */
static bool names_set(struct ice *ice, const struct ice_config *cfg)
{
	size_t ours = strlen(cfg->local_ufrag), theirs = strlen(cfg->remote_ufrag);
	size_t both = ours + 1 + theirs + 1;
	size_t cap = 2 * both + ours + 1 + theirs + 1;
	struct writer w;

	ice->names = calloc(1, cap);
	if (!ice->names)
		return false;
	w = writer_of((uint8_t *)ice->names, cap);
	ice->username = (const char *)w.at;
	wr_bytes(&w, cfg->local_ufrag, ours);
	wr_u8(&w, ':');
	wr_bytes(&w, cfg->remote_ufrag, theirs + 1);
	ice->peer_username = (const char *)w.at;
	wr_bytes(&w, cfg->remote_ufrag, theirs);
	wr_u8(&w, ':');
	wr_bytes(&w, cfg->local_ufrag, ours + 1);
	ice->local_ufrag = (const char *)w.at;
	wr_bytes(&w, cfg->local_ufrag, ours + 1);
	ice->remote_ufrag = (const char *)w.at;
	wr_bytes(&w, cfg->remote_ufrag, theirs + 1);
	return true;
}

static bool passwords_set(struct ice *ice, const struct ice_config *cfg)
{
	ice->local_pwd_secret = secret_get(cfg->arena);
	ice->remote_pwd_secret = secret_get(cfg->arena);
	if (!ice->local_pwd_secret || !ice->remote_pwd_secret)
		return false;
	ice->local_pwd_len = strlen(cfg->local_pwd);
	ice->remote_pwd_len = strlen(cfg->remote_pwd);
	memcpy(ice->local_pwd_secret, cfg->local_pwd, ice->local_pwd_len);
	memcpy(ice->remote_pwd_secret, cfg->remote_pwd, ice->remote_pwd_len);
	return true;
}

struct ice *ice_new(const struct ice_config *cfg, uint64_t now_us)
{
	struct ice *ice;

	if (!config_ok(cfg))
		return NULL;
	ice = calloc(1, sizeof(*ice));
	if (!ice)
		return NULL;
	ice->rng = cfg->rng;
	ice->arena = cfg->arena;
	ice->hmac = cfg->hmac;
	ice->tag = cfg->tag;
	ice->controlling = cfg->controlling;
	ice->now_us = now_us;
	ice->created_us = now_us;
	ice->tie_breaker = rng_u64(&ice->rng);
	if (!names_set(ice, cfg) || !passwords_set(ice, cfg))
		goto free_agent;
	ice->buf_cap = CHECK_OVERHEAD + strlen(ice->username);
	if (ice->buf_cap < REPLY_MAX)
		ice->buf_cap = REPLY_MAX;
	ice->buf = malloc(ice->buf_cap);
	if (!ice->buf)
		goto free_agent;
	return ice;

free_agent:
	ice_free(ice);
	return NULL;
}

void ice_free(struct ice *ice)
{
	if (!ice)
		return;
	secret_put(ice->arena, ice->local_pwd_secret);
	secret_put(ice->arena, ice->remote_pwd_secret);
	free(ice->names);
	free(ice->buf);
	free(ice->locals);
	free(ice->remotes);
	free(ice->pairs);
	free(ice->flights);
	free(ice);
}

static bool has_nominated(const struct ice *ice)
{
	for (unsigned i = 0; i < ice->n_pairs; i++)
		if (ice->pairs[i].nominated)
			return true;
	return false;
}

static uint64_t disconnect_end_us(const struct ice *ice)
{
	uint64_t end_us = ice->disconnected_us + ICE_DISCONNECT_GRACE_S * US_PER_S;

	return max_u64(end_us, ice->grace_us);
}

/* [spec connections 4.5 and 9.3] */
static enum ice_state state_now(struct ice *ice)
{
	if (!ice->had_signalled &&
	    ice->now_us >= ice->created_us + ICE_FIRST_CANDIDATE_S * US_PER_S)
		return ICE_FAILED;
	if (has_nominated(ice))
		return ICE_CONNECTED;
	if (ice->n_pairs > 0 || ice->n_locals == 0 || !ice->had_remote)
		return ICE_CHECKING;
	if (ice->state != ICE_DISCONNECTED)
		ice->disconnected_us = ice->now_us;
	if (ice->now_us >= disconnect_end_us(ice))
		return ICE_FAILED;
	return ICE_DISCONNECTED;
}

/* Room for one check of each pair is needed again and again, and is kept. */
static uint16_t flights_kept(const struct ice *ice)
{
	uint16_t least = ice->n_pairs < ice->cap_flights ? ice->n_pairs : ice->cap_flights;

	return ice->n_flights > least ? ice->n_flights : least;
}

static size_t spare_bytes(const struct ice *ice)
{
	return (size_t)(ice->cap_locals - ice->n_locals) * sizeof(ice->locals[0]) +
	       (size_t)(ice->cap_remotes - ice->n_remotes) * sizeof(ice->remotes[0]) +
	       (size_t)(ice->cap_pairs - ice->n_pairs) * sizeof(ice->pairs[0]) +
	       (size_t)(ice->cap_flights - flights_kept(ice)) * sizeof(ice->flights[0]);
}

/* An idle client is to cost little: the arrays shrink to what they hold. */
static void trim(struct ice *ice)
{
	ice_flights_drop_old(ice);
	if (spare_bytes(ice) <= ICE_MAX_SPARE)
		return;
	ice->flights =
	    ice_trim(ice->flights, &ice->cap_flights, flights_kept(ice), sizeof(ice->flights[0]));
	ice->pairs = ice_trim(ice->pairs, &ice->cap_pairs, ice->n_pairs, sizeof(ice->pairs[0]));
	ice->locals =
	    ice_trim(ice->locals, &ice->cap_locals, ice->n_locals, sizeof(ice->locals[0]));
	ice->remotes =
	    ice_trim(ice->remotes, &ice->cap_remotes, ice->n_remotes, sizeof(ice->remotes[0]));
}

static void settle(struct ice *ice)
{
	enum ice_state state;

	ice_pairs_drop_expired(ice);
	if (ice->controlling)
		ice_nominate(ice);
	ice_select(ice);
	ice_ask_quiet(ice);
	ice_checks_start(ice);
	if (ice->profile == ICE_IDLE)
		trim(ice);
	state = state_now(ice);
	if (state != ice->state) {
		ice->state = state;
		ice->state_news = true;
	}
}

static void stun_in(struct ice *ice, const struct ice_input *in)
{
	const struct stun_msg *msg = in->u.stun.msg;

	if (msg->method != STUN_BINDING)
		return;
	if (msg->class == STUN_REQUEST)
		ice_request(ice, in);
	else if (msg->class == STUN_SUCCESS)
		ice_response(ice, in);
}

static void profile_set(struct ice *ice, enum ice_profile profile)
{
	if (profile == ice->profile)
		return;
	ice->profile = profile;
	for (unsigned i = 0; i < ice->n_pairs; i++)
		if (ice->pairs[i].sent > 0)
			ice_schedule(ice, &ice->pairs[i]);
}

void ice_handle(struct ice *ice, const struct ice_input *in, uint64_t now_us)
{
	if (ice->state == ICE_FAILED)
		return;
	if (now_us > ice->now_us)
		ice->now_us = now_us;
	switch (in->kind) {
	case ICE_INPUT_LOCAL_ADD:
		ice_local_add(ice, &in->u.candidate);
		break;
	case ICE_INPUT_LOCAL_REMOVE:
		ice_local_remove(ice, &in->u.candidate);
		break;
	case ICE_INPUT_REMOTE_ADD:
		ice_remote_add(ice, &in->u.candidate);
		break;
	case ICE_INPUT_REMOTE_REMOVE:
		ice_remote_remove(ice, &in->u.candidate);
		break;
	case ICE_INPUT_STUN:
		stun_in(ice, in);
		break;
	case ICE_INPUT_PROFILE:
		profile_set(ice, in->u.profile);
		break;
	case ICE_INPUT_ROAM:
		ice->grace_us = ice->now_us + ICE_ROAM_GRACE_S * US_PER_S;
		ice_roam(ice, in->u.fate);
		break;
	case ICE_INPUT_TIMEOUT:
		break;
	}
	settle(ice);
}

/* The announcement of highest priority that is due. */
static bool take_announcement(struct ice *ice, struct ice_output *out)
{
	struct ice_local *best = NULL;

	for (unsigned i = 0; i < ice->n_locals; i++) {
		struct ice_local *l = &ice->locals[i];

		if (l->announce && (!best || l->c.priority > best->c.priority))
			best = l;
	}
	if (!best)
		return false;
	best->announce = false;
	*out = (struct ice_output){.kind = ICE_OUTPUT_ANNOUNCE, .u.announce = best->c};
	return true;
}

static bool give_message(const struct ice *ice, struct ice_output *out, const struct ice_path *path,
			 size_t len)
{
	*out = (struct ice_output){
	    .kind = ICE_OUTPUT_TRANSMIT,
	    .u.transmit = {.path = *path, .data = ice->buf, .len = len},
	};
	return len > 0;
}

static bool take_reply(struct ice *ice, struct ice_output *out)
{
	if (!ice->reply.due)
		return false;
	ice->reply.due = false;
	return give_message(ice, out, &ice->reply.path, ice_write_reply(ice));
}

/* Freshly nominated pairs first, then by priority. */
static struct ice_pair *next_unsent(struct ice *ice)
{
	struct ice_pair *first = NULL;

	for (unsigned i = 0; i < ice->n_pairs; i++) {
		struct ice_pair *p = &ice->pairs[i];

		if (p->unsent && (!first || (p->urgent && !first->urgent)))
			first = p;
	}
	return first;
}

static bool take_check(struct ice *ice, struct ice_output *out)
{
	struct ice_pair *p = next_unsent(ice);
	struct ice_path path;

	if (!p)
		return false;
	p->unsent = false;
	p->urgent = false;
	path = ice_pair_path(ice, p);
	return give_message(ice, out, &path, ice_write_check(ice, p));
}

static void take_path(struct ice *ice, struct ice_output *out)
{
	ice->path_news = false;
	ice->told_path = ice->selected != 0;
	if (ice->told_path)
		*out = (struct ice_output){.kind = ICE_OUTPUT_SELECTED, .u.selected = ice->path};
	else
		*out = (struct ice_output){.kind = ICE_OUTPUT_UNSELECTED};
}

bool ice_poll(struct ice *ice, struct ice_output *out)
{
	if (ice->state != ICE_FAILED && take_announcement(ice, out))
		return true;
	if (ice->state != ICE_FAILED && ice->path_news) {
		take_path(ice, out);
		return true;
	}
	if (ice->state_news) {
		ice->state_news = false;
		*out = (struct ice_output){.kind = ICE_OUTPUT_STATE, .u.state = ice->state};
		return true;
	}
	return ice->state != ICE_FAILED && (take_reply(ice, out) || take_check(ice, out));
}

uint64_t ice_deadline(const struct ice *ice)
{
	uint64_t at_us = NEVER_US;

	if (ice->state == ICE_FAILED)
		return NEVER_US;
	if (ice->state == ICE_NEW)
		return ice->now_us;
	if (!ice->had_signalled)
		at_us = ice->created_us + ICE_FIRST_CANDIDATE_S * US_PER_S;
	if (ice->state == ICE_DISCONNECTED)
		at_us = min_u64(at_us, disconnect_end_us(ice));
	for (unsigned i = 0; i < ice->n_pairs; i++) {
		at_us = min_u64(at_us, ice->pairs[i].next_us);
		at_us = min_u64(at_us, ice_pair_end_us(ice, &ice->pairs[i]));
	}
	return min_u64(at_us, ice_selected_deadline(ice));
}

bool ice_owns_request(const struct ice *ice, const struct stun_msg *msg, const uint8_t *buf,
		      size_t len)
{
	size_t name_len = strlen(ice->username);

	return msg->class == STUN_REQUEST && msg->method == STUN_BINDING && msg->username.data &&
	       msg->username.len == name_len &&
	       memcmp(msg->username.data, ice->username, name_len) == 0 &&
	       stun_msg_verify_by(ice->hmac, msg, buf, len, (const uint8_t *)ice->local_pwd_secret,
				  ice->local_pwd_len);
}

bool ice_selected(const struct ice *ice, struct ice_path *out)
{
	if (ice->selected == 0)
		return false;
	*out = ice->path;
	return true;
}

enum ice_state ice_state_of(const struct ice *ice)
{
	return ice->state;
}

size_t ice_local_candidates(const struct ice *ice, struct candidate *out, size_t max)
{
	size_t n = 0;

	for (unsigned i = 0; i < ice->n_locals; i++) {
		const struct ice_local *l = &ice->locals[i];
		size_t at = n;

		if (l->discarded)
			continue;
		while (at > 0 && out[at - 1].priority < l->c.priority)
			at--;
		if (at == max)
			continue;
		if (n < max)
			n++;
		memmove(&out[at + 1], &out[at], (n - 1 - at) * sizeof(*out));
		out[at] = l->c;
	}
	return n;
}

size_t ice_remote_candidates(const struct ice *ice, struct candidate *out, size_t max)
{
	size_t n = 0;

	for (unsigned i = 0; i < ice->n_remotes && n < max; i++) {
		const struct ice_remote *r = &ice->remotes[i];

		/* An optimistic one has another base. */
		if (!r->discarded && !r->undeclared && endpoint_eq(&r->c.addr, &r->c.base))
			out[n++] = r->c;
	}
	return n;
}

const char *ice_username(const struct ice *ice)
{
	return ice->username;
}

const char *ice_local_ufrag(const struct ice *ice)
{
	return ice->local_ufrag;
}

const char *ice_remote_ufrag(const struct ice *ice)
{
	return ice->remote_ufrag;
}
