/*
 * Candidates of a connection as they come and go on either side. [spec connections 3]
 */
#include "gateway/internal.h"

#include <stdlib.h>
#include <string.h>

void conn_add_local(struct conn *c, const struct candidate *candidate)
{
	struct ice_input in = {.kind = ICE_INPUT_LOCAL_ADD, .u.candidate = *candidate};

	if (c->idle)
		conn_wake(c);
	conn_feed(c, &in);
}

void conn_add_relayed(struct conn *c, const struct candidate *candidate)
{
	struct candidate peers[ICE_MAX_REMOTE_SIGNALLED];
	size_t n = ice_remote_candidates(c->ice, peers, ICE_MAX_REMOTE_SIGNALLED);

	for (size_t i = 0; i < n && c->relay; i++)
		if (peers[i].kind != CANDIDATE_HOST &&
		    peers[i].addr.ip.family == candidate->addr.ip.family)
			relays_bind(c->g, c->relay, &peers[i].addr, c->owner);
	conn_add_local(c, candidate);
}

static uint32_t rank_of(const struct candidate *c)
{
	return candidate_priority(c->kind, c->addr.ip.family, c->relay_family, 0);
}

/* Higher ranks first; equal ones stay in the order of their relays. */
static size_t insert(struct candidate *list, size_t n, const struct candidate *c)
{
	size_t at = n;

	while (at > 0 && rank_of(&list[at - 1]) < rank_of(c)) {
		list[at] = list[at - 1];
		at--;
	}
	list[at] = *c;
	return n + 1;
}

size_t conn_found(const struct conn *c, struct candidate out[CONN_MAX_FOUND])
{
	struct candidate known[TURN_MAX_CANDIDATES];
	size_t n_out = 0;

	for (size_t i = 0; i < MAX_RELAYS; i++) {
		const struct relay *relay = &c->g->relays[i];
		size_t n = relay->turn ? turn_candidates(relay->turn, known) : 0;

		for (size_t k = 0; k < n; k++)
			if (known[k].kind != CANDIDATE_RELAY || relay == c->relay)
				n_out = insert(out, n_out, &known[k]);
	}
	return n_out;
}

void conn_add_found(struct conn *c)
{
	struct candidate found[CONN_MAX_FOUND];
	size_t n = conn_found(c, found);

	for (size_t i = 0; i < n; i++)
		conn_add_local(c, &found[i]);
}

void conn_remove_locals(struct conn *c, const struct candidate *list, size_t n)
{
	struct ice_input in[ICE_MAX_LOCAL];
	struct candidate known[ICE_MAX_LOCAL];
	size_t n_known = ice_local_candidates(c->ice, known, ICE_MAX_LOCAL);

	BUG_ON(n > ICE_MAX_LOCAL);
	for (size_t i = 0; i < n; i++) {
		in[i] = (struct ice_input){.kind = ICE_INPUT_LOCAL_REMOVE, .u.candidate = list[i]};
		for (size_t k = 0; k < n_known; k++)
			if (known[k].kind == list[i].kind &&
			    endpoint_eq(&known[k].addr, &list[i].addr))
				news_add(c, &known[k], true);
	}
	conn_feed_all(c, in, n);
}

void conn_remove_local(struct conn *c, const struct candidate *candidate)
{
	conn_remove_locals(c, candidate, 1);
}

/* The signalled candidate at @addr, or false. */
static bool find_remote(const struct conn *c, const struct endpoint *addr,
			enum candidate_kind *kind)
{
	struct candidate known[ICE_MAX_REMOTE_SIGNALLED];
	size_t n = ice_remote_candidates(c->ice, known, ICE_MAX_REMOTE_SIGNALLED);

	for (size_t i = 0; i < n; i++) {
		if (endpoint_eq(&known[i].addr, addr)) {
			*kind = known[i].kind;
			return true;
		}
	}
	return false;
}

enum candidate_kind conn_remote_kind(const struct conn *c, const struct endpoint *addr)
{
	enum candidate_kind kind = CANDIDATE_PRFLX;

	(void)find_remote(c, addr, &kind);
	return kind;
}

/* What a client names, it makes us send to. */
static bool is_welcome(struct conn *c, const struct candidate *candidate)
{
	const struct gateway_config *cfg = &c->g->cfg;

	return bucket_take(&c->quota.candidates_us, c->g->now_us, CANDIDATE_INTERVAL_MS * US_PER_MS,
			   CANDIDATE_BURST) &&
	       candidate_addr_usable(&candidate->addr) &&
	       !(cfg->is_own_address &&
		 cfg->is_own_address(cfg->own_address_ctx, &candidate->addr.ip));
}

static bool take_remote(struct conn *c, const char *text, bool add)
{
	struct ice_input in = {.kind = add ? ICE_INPUT_REMOTE_ADD : ICE_INPUT_REMOTE_REMOVE};
	enum candidate_kind kind;

	if (!candidate_parse(&in.u.candidate, text, strlen(text), ice_remote_ufrag(c->ice)) ||
	    (add && !is_welcome(c, &in.u.candidate)))
		return false;
	conn_feed(c, &in);
	/* A channel for what the agent took only, or we would bind one to ourselves. */
	if (add && in.u.candidate.kind != CANDIDATE_HOST && c->relay &&
	    find_remote(c, &in.u.candidate.addr, &kind))
		relays_bind(c->g, c->relay, &in.u.candidate.addr, c->owner);
	return true;
}

void conn_remote_candidates(struct gateway *g, const struct portal_candidates *msg, bool add)
{
	struct conn *c = conn_find(g, &msg->client);

	if (!c) {
		char id[UUID_TEXT_LEN + 1];

		uuid_format(&msg->client, id);
		log_at(g->cfg.log, LOG_DEBUG, "snownet", "Candidates for an unknown client",
		       KV_STR("client", id));
		gateway_dropped(g, GATEWAY_DROP_UNKNOWN_CLIENT);
		return;
	}
	conn_wake(c);
	for (size_t i = 0; i < msg->n; i++) {
		if (take_remote(c, msg->texts[i], add))
			continue;
		conn_log(c, LOG_DEBUG, "Candidate ignored");
		gateway_dropped(g, GATEWAY_DROP_CANDIDATE);
	}
}
