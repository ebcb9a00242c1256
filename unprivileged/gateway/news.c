#include "gateway/internal.h"

#include <stdlib.h>
#include <string.h>

static bool same_candidate(const struct candidate *a, const struct candidate *b)
{
	return a->kind == b->kind && endpoint_eq(&a->addr, &b->addr);
}

/* What the portal should hear is the net change: an unsent announcement and its withdrawal cancel
 * out. */
void news_add(struct conn *c, const struct candidate *candidate, bool removed)
{
	for (size_t i = 0; i < c->n_news; i++) {
		if (!same_candidate(&c->news[i].candidate, candidate))
			continue;
		if (c->news[i].removed == removed)
			return;
		memmove(&c->news[i], &c->news[i + 1], (c->n_news - i - 1) * sizeof(c->news[0]));
		c->n_news--;
		if (removed)
			return;
		break;
	}
	if (!c->news)
		c->news = calloc(MAX_NEWS, sizeof(*c->news));
	if (!c->news || c->n_news == MAX_NEWS) {
		gateway_dropped(c->g, GATEWAY_DROP_NEWS);
		return;
	}
	c->news[c->n_news++] = (struct news){.candidate = *candidate, .removed = removed};
	if (!c->has_news) {
		c->has_news = true;
		c->g->with_news[c->g->n_with_news++] = c;
	}
}

static bool is_news(const struct conn *c, const struct candidate *candidate)
{
	for (size_t i = 0; i < c->n_news; i++)
		if (same_candidate(&c->news[i].candidate, candidate))
			return true;
	return false;
}

static void note_said(struct conn *c, const struct candidate *candidate, bool removed)
{
	struct said *said;

	if (!removed) {
		c->announced_us = c->g->now_us;
		return;
	}
	said = conn_said(c);
	if (!said)
		return;
	said->withdrawn[said->at] = *candidate;
	said->withdrawn_us[said->at] = c->g->now_us;
	said->at = (said->at + 1) % MAX_SAID;
}

static bool is_recent(const struct conn *c, uint64_t at_us)
{
	return at_us != 0 && c->g->lost_us - at_us < SAID_S * US_PER_S;
}

/* What is known and what still waits to be said holds against what was said before. */
void news_repeat(struct conn *c)
{
	struct candidate known[ICE_MAX_LOCAL];
	size_t n = ice_local_candidates(c->ice, known, ICE_MAX_LOCAL);
	struct said *said = c->said;

	for (size_t i = 0; said && i < MAX_SAID; i++) {
		const struct candidate *w = &said->withdrawn[i];
		bool again = false;

		for (size_t k = 0; k < n; k++)
			again = again || same_candidate(&known[k], w);
		if (is_recent(c, said->withdrawn_us[i]) && !again && !is_news(c, w))
			news_add(c, w, true);
	}
	for (size_t k = 0; k < n && is_recent(c, c->announced_us); k++)
		if (!is_news(c, &known[k]))
			news_add(c, &known[k], false);
	c->announced_us = 0;
	free(said);
	c->said = NULL;
}

void news_forget(struct conn *c)
{
	struct gateway *g = c->g;

	free(c->news);
	c->news = NULL;
	c->n_news = 0;
	if (!c->has_news)
		return;
	for (uint32_t i = 0; i < g->n_with_news; i++) {
		if (g->with_news[i] == c) {
			g->with_news[i] = g->with_news[--g->n_with_news];
			break;
		}
	}
	c->has_news = false;
}

bool outbox_push(struct gateway *g, const char *flow_ref)
{
	struct outbox_entry *entry;

	if (g->outbox_len == MAX_OUTBOX)
		return false;
	entry = &g->outbox[(g->outbox_head + g->outbox_len) % MAX_OUTBOX];
	entry->flow_ref = NULL;
	if (flow_ref) {
		entry->flow_ref = strdup(flow_ref);
		if (!entry->flow_ref)
			return false;
	}
	g->outbox_len++;
	return true;
}

static struct outbox_entry outbox_pop(struct gateway *g)
{
	struct outbox_entry entry = g->outbox[g->outbox_head];

	g->outbox_head = (g->outbox_head + 1) % MAX_OUTBOX;
	g->outbox_len--;
	return entry;
}

void outbox_clear(struct gateway *g)
{
	while (g->outbox_len > 0)
		free(outbox_pop(g).flow_ref);
	free(g->polled_ref);
	g->polled_ref = NULL;
}

static int by_priority(const void *a, const void *b)
{
	const struct news *x = a, *y = b;

	return (x->candidate.priority < y->candidate.priority) -
	       (x->candidate.priority > y->candidate.priority);
}

/* Take all of a connection's additions, or all of its removals, as one message. */
static void take_news(struct conn *c, bool removed, struct portal_send *out)
{
	struct gateway *g = c->g;
	struct news kept[MAX_NEWS], taken[MAX_NEWS];
	size_t n_kept = 0, n_taken = 0, n = 0;

	for (size_t i = 0; i < c->n_news; i++) {
		if (c->news[i].removed == removed)
			taken[n_taken++] = c->news[i];
		else
			kept[n_kept++] = c->news[i];
	}
	qsort(taken, n_taken, sizeof(taken[0]), by_priority);
	for (size_t i = 0; i < n_taken; i++) {
		note_said(c, &taken[i].candidate, removed);
		if (candidate_format(&taken[i].candidate, ice_local_ufrag(c->ice), g->texts[n],
				     CANDIDATE_TEXT_MAX) > 0) {
			g->text_ptrs[n] = g->texts[n];
			n++;
		}
	}
	memcpy(c->news, kept, n_kept * sizeof(kept[0]));
	c->n_news = n_kept;
	out->kind = removed ? PORTAL_SEND_INVALIDATED : PORTAL_SEND_CANDIDATES;
	out->client = c->client;
	out->candidates = g->text_ptrs;
	out->n_candidates = n;
}

static bool poll_news(struct gateway *g, struct portal_send *out)
{
	while (g->n_with_news > 0) {
		struct conn *c = g->with_news[g->n_with_news - 1];
		bool removals = c->n_news > 0 && c->news[0].removed;

		if (c->n_news == 0) {
			news_forget(c);
			continue;
		}
		take_news(c, removals, out);
		if (out->n_candidates > 0)
			return true;
	}
	return false;
}

bool gateway_poll(struct gateway *g, struct gateway_output *out)
{
	memset(out, 0, sizeof(*out));
	if (g->tun_changed) {
		g->tun_changed = false;
		out->kind = GATEWAY_OUT_TUN;
		out->u.tun.v4 = g->own_v4;
		out->u.tun.v6 = g->own_v6;
		return true;
	}
	if (!g->joined)
		return false;
	out->kind = GATEWAY_OUT_PORTAL;
	if (g->outbox_len > 0) {
		struct outbox_entry entry = outbox_pop(g);

		free(g->polled_ref);
		g->polled_ref = entry.flow_ref;
		out->u.portal.kind =
		    entry.flow_ref ? PORTAL_SEND_FLOW_AUTHORIZED : PORTAL_SEND_NO_RELAYS;
		out->u.portal.flow_ref = entry.flow_ref;
		return true;
	}
	return poll_news(g, &out->u.portal);
}
