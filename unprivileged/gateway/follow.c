/*
 * Which relay a connection uses, and that its candidates say so. [spec connections 6.6, 6.7]
 *
 * Theory of operation: an event at a relay only begins a round over all connections. Each step of
 * it takes a few of them, a few milliseconds apart, and makes each one right: a relay that works,
 * that one's relayed candidates and no other's, and the host and reflexive candidates that any
 * relay has found. So the loss of a relay with ten thousand clients is no burst, and two events at
 * once are one round.
 */
#include "gateway/internal.h"

#include <stdlib.h>
#include <string.h>

enum {
	STEP_FOLLOWED = 32, /* connections that had to follow, in one step */
	STEP_LOOKED_AT = 512,
};

#define STEP_PAUSE_US (2 * US_PER_MS)

static int cmp_u64(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static uint64_t median(const uint64_t *sorted, size_t n)
{
	return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

/* The slowest round-trip time that still counts as near. [spec connections 6.7] */
static uint64_t rtt_limit(const uint64_t *rtts, size_t n)
{
	uint64_t sorted[MAX_RELAYS], distance[MAX_RELAYS], middle, mad;

	memcpy(sorted, rtts, n * sizeof(*rtts));
	qsort(sorted, n, sizeof(*sorted), cmp_u64);
	if (n <= 2)
		return sorted[0] + sorted[0] / 2;
	middle = median(sorted, n);
	for (size_t i = 0; i < n; i++)
		distance[i] = sorted[i] > middle ? sorted[i] - middle : middle - sorted[i];
	qsort(distance, n, sizeof(*distance), cmp_u64);
	mad = median(distance, n);
	return middle + 3 * (mad > 2 * US_PER_MS ? mad : 2 * US_PER_MS);
}

/* Relays of one standing. */
struct near {
	struct relay *relays[MAX_RELAYS];
	uint64_t rtts[MAX_RELAYS];
	size_t n;
};

static enum turn_standing standing_of(const struct relay *relay)
{
	enum turn_standing standing = turn_standing(relay->turn);

	return standing == TURN_STANDS && !relay->settled ? TURN_SUSPECT : standing;
}

/* The best standing there is counts, then the round-trip time. Only those that have one count. */
static void best_standing(struct gateway *g, struct near *out)
{
	enum turn_standing best = TURN_OVER;

	out->n = 0;
	for (size_t i = 0; i < MAX_RELAYS; i++) {
		struct relay *relay = &g->relays[i];
		enum turn_standing standing;

		if (!relay->turn || turn_rtt_us(relay->turn) == 0)
			continue;
		standing = standing_of(relay);
		if (standing > best)
			continue;
		if (standing < best)
			out->n = 0;
		best = standing;
		out->relays[out->n] = relay;
		out->rtts[out->n++] = turn_rtt_us(relay->turn);
	}
}

struct relay *relays_choose(struct gateway *g)
{
	struct near near;
	uint64_t limit;
	size_t n = 0;

	best_standing(g, &near);
	if (near.n == 0)
		return NULL;
	limit = rtt_limit(near.rtts, near.n);
	for (size_t i = 0; i < near.n; i++)
		if (near.rtts[i] <= limit)
			near.relays[n++] = near.relays[i];
	return near.relays[rng_below(&g->cfg.rng, n)];
}

bool relay_is_out(const struct relay *relay)
{
	switch (turn_standing(relay->turn)) {
	case TURN_STANDS:
	case TURN_SUSPECT:
		return false;
	case TURN_WORKING:
		return relay->settled;
	case TURN_SILENT:
	case TURN_REFUSED:
	case TURN_OVER:
		break;
	}
	return true;
}

/* Where it is, unless that is no place to be and another one certainly is. */
static struct relay *relay_for(struct gateway *g, const struct conn *c)
{
	struct relay *other;

	if (c->relay && !relay_is_out(c->relay))
		return c->relay;
	other = relays_choose(g);
	if (c->relay && (!other || standing_of(other) != TURN_STANDS))
		return c->relay;
	return other;
}

static bool is_among(const struct candidate *c, const struct candidate *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if ((c->kind == CANDIDATE_RELAY) == (list[i].kind == CANDIDATE_RELAY) &&
		    endpoint_eq(&c->addr, &list[i].addr) && endpoint_eq(&c->base, &list[i].base))
			return true;
	return false;
}

/* Relayed candidates that are not its relay's. */
static bool withdraw_foreign(struct conn *c)
{
	struct candidate known[ICE_MAX_LOCAL], theirs[TURN_MAX_CANDIDATES];
	size_t n = ice_local_candidates(c->ice, known, ICE_MAX_LOCAL);
	size_t n_theirs = c->relay ? turn_candidates(c->relay->turn, theirs) : 0;
	bool any = false;

	for (size_t i = 0; i < n; i++) {
		if (known[i].kind != CANDIDATE_RELAY || is_among(&known[i], theirs, n_theirs))
			continue;
		conn_remove_local(c, &known[i]);
		any = true;
	}
	return any;
}

static bool add_missing(struct conn *c)
{
	struct candidate known[ICE_MAX_LOCAL], found[CONN_MAX_FOUND];
	size_t n = ice_local_candidates(c->ice, known, ICE_MAX_LOCAL);
	size_t n_found = conn_found(c, found);
	bool any = false;

	for (size_t k = 0; k < n_found && n < ICE_MAX_LOCAL; k++) {
		if (is_among(&found[k], known, n))
			continue;
		known[n++] = found[k];
		any = true;
		if (found[k].kind == CANDIDATE_RELAY)
			conn_add_relayed(c, &found[k]);
		else
			conn_add_local(c, &found[k]);
	}
	return any;
}

/* True if there was something to do. */
static bool follow(struct gateway *g, struct conn *c)
{
	struct relay *relay = relay_for(g, c);
	bool moved = relay != c->relay, changed;

	c->relay = relay;
	g->round_moved += moved && relay;
	changed = withdraw_foreign(c);
	return add_missing(c) || changed || moved;
}

void relays_changed(struct gateway *g)
{
	if (g->round_left == 0) {
		g->round_at = 0;
		g->round_us = g->now_us;
	}
	g->round_left = g->cfg.max_clients;
}

static void round_ends(struct gateway *g)
{
	if (g->round_moved > 0)
		log_at(g->cfg.log, LOG_INFO, "snownet", "Connections have another relay",
		       KV_INT("connections", g->round_moved));
	g->round_moved = 0;
}

bool relays_follow(struct gateway *g)
{
	unsigned int followed = 0, looked_at = 0;

	if (g->round_left == 0 || g->now_us < g->round_us)
		return false;
	while (g->round_left > 0 && followed < STEP_FOLLOWED && looked_at < STEP_LOOKED_AT) {
		struct conn *c = g->conns[g->round_at];

		g->round_at = (g->round_at + 1) % g->cfg.max_clients;
		g->round_left--;
		if (!c || c->failed || c->left)
			continue;
		looked_at++;
		followed += follow(g, c);
	}
	g->round_us = add_us(g->now_us, STEP_PAUSE_US);
	if (g->round_left == 0)
		round_ends(g);
	return looked_at > 0;
}
