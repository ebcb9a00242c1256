#include "truth.h"

#include <stdlib.h>

enum {
	RECENT_S = 3,
	INTERRUPTED_MS = 400, /* a client sends each 100 ms */
};

void truth_init(struct truth *t, struct sim *sim)
{
	*t = (struct truth){.sim = sim};
}

void truth_free(struct truth *t)
{
	for (unsigned i = 0; i < TRUTH_CLIENTS; i++)
		free(t->packets[i]);
}

uint32_t truth_sent(struct truth *t, unsigned client)
{
	size_t n = t->n_packets[client]++;

	if (n == t->cap_packets[client]) {
		t->cap_packets[client] = n == 0 ? 256 : 2 * n;
		t->packets[client] = reallocarray(t->packets[client], t->cap_packets[client],
						  sizeof(struct truth_packet));
		BUG_ON(!t->packets[client]);
	}
	t->packets[client][n] = (struct truth_packet){.sent_us = t->sim->now_us};
	return (uint32_t)n;
}

bool truth_may(const struct truth *t, unsigned client, unsigned resource, int64_t wall_us)
{
	const struct truth_grant *g = &t->grants[client][resource];

	return g->may &&
	       (g->expires_at > INT64_MAX / (int64_t)US_PER_S ||
		g->expires_at * (int64_t)US_PER_S + (int64_t)(TRUTH_CLOCK_MS * US_PER_MS) >
		    wall_us);
}

bool truth_must(const struct truth *t, unsigned client, int64_t wall_us)
{
	for (unsigned r = 0; r < TRUTH_RESOURCES; r++)
		if (t->grants[client][r].must &&
		    truth_may(t, client, r, wall_us + (int64_t)(2 * TRUTH_CLOCK_MS * US_PER_MS)))
			return true;
	return false;
}

/* The record of a packet that somebody claims to have sent. */
static struct truth_packet *record(struct truth *t, const struct inner *in)
{
	if (in->client >= TRUTH_CLIENTS || in->resource >= TRUTH_RESOURCES ||
	    in->seq >= t->n_packets[in->client]) {
		sim_fail(t->sim, "a packet that nobody sent: client %u resource %u number %u",
			 in->client, in->resource, in->seq);
		return NULL;
	}
	return &t->packets[in->client][in->seq];
}

uint32_t truth_sent_by_resource(struct truth *t, unsigned client, unsigned resource,
				int64_t wall_us)
{
	uint32_t seq = truth_sent(t, client);
	struct truth_packet *p = &t->packets[client][seq];

	p->reached = p->answered = true;
	p->may_return = truth_may(t, client, resource, wall_us);
	return seq;
}

bool truth_reached(struct truth *t, uint8_t *data, size_t len, int64_t wall_us, struct inner *out)
{
	enum inner_verdict v = inner_read(out, data, len);
	struct truth_packet *p;

	if (v == INNER_FOREIGN)
		return false;
	if (v == INNER_CHANGED || out->reply) {
		sim_fail(t->sim, "the resource got a changed packet");
		return false;
	}
	p = record(t, out);
	if (!p)
		return false;
	if (p->reached)
		sim_fail(t->sim, "client %u's packet %u reached resource %u twice", out->client,
			 out->seq, out->resource);
	if (!truth_may(t, out->client, out->resource, wall_us))
		sim_fail(t->sim, "client %u's packet %u reached resource %u without authorization",
			 out->client, out->seq, out->resource);
	p->reached = true;
	return true;
}

void truth_answered(struct truth *t, const struct inner *in, int64_t wall_us)
{
	struct truth_packet *p = record(t, in);

	if (!p)
		return;
	p->answered = true;
	p->may_return = truth_may(t, in->client, in->resource, wall_us);
}

void truth_returned(struct truth *t, unsigned client, uint8_t *data, size_t len)
{
	struct inner in;
	enum inner_verdict v = inner_read(&in, data, len);
	struct truth_packet *p;

	if (v == INNER_FOREIGN)
		return;
	if (v == INNER_CHANGED || !in.reply || in.client != client) {
		sim_fail(t->sim, "client %u got a changed packet or another one's", client);
		return;
	}
	p = record(t, &in);
	if (!p)
		return;
	if (p->returned)
		sim_fail(t->sim, "client %u got the answer to packet %u twice", client, in.seq);
	if (!p->answered || !p->may_return)
		sim_fail(t->sim, "client %u got the answer to packet %u without authorization",
			 client, in.seq);
	p->returned = true;
	t->echo_us[client] = t->sim->now_us;
	t->echoes++;
}

void truth_disturb(struct truth *t, unsigned client, uint64_t grace_us)
{
	uint64_t left_us = 0, now_us = t->sim->now_us;

	/* What is still excused stays so. */
	if (t->calm_us[client] + t->grace_us[client] > now_us)
		left_us = t->calm_us[client] + t->grace_us[client] - now_us;
	t->calm_us[client] = now_us;
	t->grace_us[client] = grace_us > left_us ? grace_us : left_us;
}

bool truth_is_interrupted(const struct truth *t, unsigned client)
{
	return t->echo_us[client] + INTERRUPTED_MS * US_PER_MS < t->sim->now_us ||
	       t->calm_us[client] + US_PER_S > t->sim->now_us;
}

void truth_event(struct truth *t, unsigned client, uint64_t grace_us)
{
	uint64_t lost_us = truth_is_interrupted(t, client) ? TRUTH_HANDSHAKE_MS * US_PER_MS : 0;

	t->event_us[client] = t->sim->now_us;
	truth_disturb(t, client, grace_us > lost_us ? grace_us : lost_us);
}

void truth_pause(struct truth *t, unsigned client)
{
	bool recent = t->event_us[client] + RECENT_S * US_PER_S > t->sim->now_us;

	truth_disturb(t, client, recent ? TRUTH_HANDSHAKE_MS * US_PER_MS : 0);
}

void truth_event_all(struct truth *t, uint64_t grace_us)
{
	for (unsigned i = 0; i < TRUTH_CLIENTS; i++)
		truth_event(t, i, grace_us);
}
