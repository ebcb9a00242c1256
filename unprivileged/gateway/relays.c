#include "gateway/internal.h"

#include "packet/bytes.h"
#include "turn/channel_data.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

/* Of a host or reflexive candidate another relay, or a path, may know better: they go by their
 * base, see egress.c. */
static void relay_withdraw(struct gateway *g, const struct relay *relay,
			   const struct candidate *lost)
{
	if (lost->kind != CANDIDATE_RELAY)
		return;
	for (uint32_t i = 0; i < g->cfg.max_clients; i++) {
		struct conn *c = g->conns[i];

		if (c && c->relay == relay)
			conn_remove_local(c, lost);
	}
}

static void relay_announce(struct gateway *g, const struct relay *relay,
			   const struct candidate *found)
{
	for (uint32_t i = 0; i < g->cfg.max_clients; i++) {
		struct conn *c = g->conns[i];

		if (c && c->relay == relay)
			conn_add_relayed(c, found);
	}
}

static void remember_address(struct gateway *g, const struct endpoint *ep)
{
	if (ep->ip.family == IP_NONE)
		return;
	g->gone_relays[g->n_gone % REMEMBERED_RELAYS] = ep->ip;
	g->n_gone++;
}

bool relays_was_one(const struct gateway *g, const struct ip_addr *ip)
{
	size_t n = min_size(g->n_gone, REMEMBERED_RELAYS);

	for (size_t i = 0; i < n; i++)
		if (ip_eq(&g->gone_relays[i], ip))
			return true;
	return false;
}

/* A destination that routes are looked up for first and forgotten last, while a relay has it. */
static void pin(struct gateway *g, const struct endpoint *ep)
{
	if (g->cfg.factory && ep->ip.family != IP_NONE)
		factory_pin(g->cfg.factory, &ep->ip);
}

static void unpin(struct gateway *g, const struct endpoint *ep)
{
	struct endpoint v4, v6;

	if (!g->cfg.factory || ep->ip.family == IP_NONE)
		return;
	for (size_t i = 0; i < MAX_RELAYS; i++) {
		if (!g->relays[i].turn)
			continue;
		turn_addresses(g->relays[i].turn, &v4, &v6);
		if (ip_eq(&v4.ip, &ep->ip) || ip_eq(&v6.ip, &ep->ip))
			return;
	}
	factory_unpin(g->cfg.factory, &ep->ip);
}

/* Its connections look for another one in relays_assign(). */
static void relay_release(struct gateway *g, const struct relay *relay)
{
	for (uint32_t i = 0; i < g->cfg.max_clients; i++)
		if (g->conns[i] && g->conns[i]->relay == relay)
			g->conns[i]->relay = NULL;
}

/* Free the place of a relay; connections that used it look for another one in relays_assign(). */
static void relay_forget(struct gateway *g, struct relay *relay)
{
	struct turn *turn = relay->turn;
	struct endpoint v4, v6;

	relay_release(g, relay);
	turn_addresses(turn, &v4, &v6);
	*relay = (struct relay){.turn = NULL};
	remember_address(g, &v4);
	remember_address(g, &v6);
	unpin(g, &v4);
	unpin(g, &v6);
	turn_free(turn);
	heap_set(g->timers, timer_of_relay(g, (size_t)(relay - g->relays)), NEVER_US);
}

static void relay_withdraw_all(struct gateway *g, const struct relay *relay)
{
	struct candidate known[TURN_MAX_CANDIDATES];
	size_t n = turn_candidates(relay->turn, known);

	for (size_t i = 0; i < n; i++)
		relay_withdraw(g, relay, &known[i]);
}

enum {
	MAX_EVENTS = 16
};

struct relay_events {
	struct turn_output list[MAX_EVENTS]; /* candidates found and lost */
	size_t n;
	bool dropped;
};

/* Sends what the relay wants sent and keeps the rest for later: acting on it may lead back to this
 * relay. */
static void relay_drain(struct gateway *g, struct relay *relay, struct relay_events *events)
{
	struct turn_output out;

	events->n = 0;
	while (events->n < MAX_EVENTS && turn_poll(relay->turn, &out)) {
		switch (out.kind) {
		case TURN_OUTPUT_TRANSMIT: {
			struct txq_key key = {.dst = out.u.transmit.dst};

			egress_source(g, relay, &key);
			txq_send(g->cfg.txq, &key, out.u.transmit.data, out.u.transmit.len);
			break;
		}
		case TURN_OUTPUT_CANDIDATE:
		case TURN_OUTPUT_LOST:
			events->list[events->n++] = out;
			break;
		case TURN_OUTPUT_DROPPED:
			events->dropped = true;
			break;
		}
	}
}

static void relay_drop(struct gateway *g, struct relay *relay)
{
	char id[UUID_TEXT_LEN + 1];

	uuid_format(turn_id(relay->turn), id);
	log_at(g->cfg.log, LOG_INFO, "snownet", "Relay dropped", KV_STR("relay", id));
	relay_forget(g, relay);
	relays_assign(g);
}

/* What follows from any event at a relay: its outputs, its timer, connections that wait for one. */
static void relay_settle(struct gateway *g, struct relay *relay)
{
	struct turn *turn = relay->turn;
	struct relay_events events = {.dropped = false};

	do {
		relay_drain(g, relay, &events);
		for (size_t i = 0; i < events.n && relay->turn == turn; i++) {
			if (events.list[i].kind == TURN_OUTPUT_CANDIDATE)
				relay_announce(g, relay, &events.list[i].u.candidate);
			else
				relay_withdraw(g, relay, &events.list[i].u.lost);
		}
		if (relay->turn != turn)
			return;
	} while (events.n == MAX_EVENTS);
	if (events.dropped) {
		relay_drop(g, relay);
		return;
	}
	heap_set(g->timers, timer_of_relay(g, (size_t)(relay - g->relays)), turn_deadline(turn));
	if (turn_rtt_us(turn) != 0 && !relay->measured) {
		relay->measured = true;
		relays_assign(g);
	} else if (turn_rtt_us(turn) == 0 && relay->measured) {
		relay->measured = false; /* no way out to it */
		relay_release(g, relay);
	}
}

void relays_feed(struct gateway *g, struct relay *relay, const struct turn_input *in)
{
	turn_handle(relay->turn, in, g->now_us);
	relay_settle(g, relay);
}

void relays_timeout(struct gateway *g, size_t index)
{
	struct turn_input in = {.kind = TURN_INPUT_TIMEOUT};

	if (g->relays[index].turn)
		relays_feed(g, &g->relays[index], &in);
}

void relays_bind(struct gateway *g, struct relay *relay, const struct endpoint *peer,
		 uint32_t owner)
{
	struct turn_input in = {.kind = TURN_INPUT_BIND};

	in.u.bind.peer = *peer;
	in.u.bind.owner = owner;
	relays_feed(g, relay, &in);
}

bool relays_send(struct gateway *g, struct relay *relay, const struct endpoint *peer,
		 const uint8_t *data, size_t len)
{
	size_t total = TURN_CHANNEL_HEADER + len;
	uint8_t header[TURN_CHANNEL_HEADER];
	struct txq_key key = {.ecn = 0};
	struct writer w;
	uint16_t channel;

	if (!turn_channel_out(relay->turn, peer, g->now_us, &channel, &key.dst))
		return false;
	egress_source(g, relay, &key);
	w = writer_of(txq_append(g->cfg.txq, txq_open(g->cfg.txq, &key), total), total);
	channel_data_write_header(header, channel, (uint16_t)len);
	wr_bytes(&w, header, sizeof(header));
	wr_bytes(&w, data, len);
	return true;
}

/* Channel data moves a relay's deadline both ways without an event of its own. */
void relays_set_timers(struct gateway *g)
{
	for (size_t i = 0; i < MAX_RELAYS; i++)
		if (g->relays[i].turn)
			heap_set(g->timers, timer_of_relay(g, i), turn_deadline(g->relays[i].turn));
}

struct relay *relays_by_address(struct gateway *g, const struct endpoint *ep)
{
	for (size_t i = 0; i < MAX_RELAYS; i++)
		if (g->relays[i].turn && turn_has_address(g->relays[i].turn, ep))
			return &g->relays[i];
	return NULL;
}

static struct relay *relay_by_id(struct gateway *g, const struct uuid *id)
{
	for (size_t i = 0; i < MAX_RELAYS; i++)
		if (g->relays[i].turn && uuid_eq(turn_id(g->relays[i].turn), id))
			return &g->relays[i];
	return NULL;
}

static struct relay *relay_free_place(struct gateway *g)
{
	for (size_t i = 0; i < MAX_RELAYS; i++)
		if (!g->relays[i].turn)
			return &g->relays[i];
	return NULL;
}

static void relay_add(struct gateway *g, const struct turn_config *cfg)
{
	struct relay *relay = relay_free_place(g);
	char id[UUID_TEXT_LEN + 1];

	uuid_format(&cfg->id, id);
	if (!relay) {
		log_at(g->cfg.log, gateway_warn_level(g), "snownet",
		       "Too many relays, ignoring one", KV_STR("relay", id));
		return;
	}
	relay->turn = turn_new(cfg, g->now_us);
	if (!relay->turn) {
		log_at(g->cfg.log, gateway_warn_level(g), "snownet", "Relay refused",
		       KV_STR("relay", id));
		return;
	}
	turn_set_away(relay->turn, g->away);
	pin(g, &cfg->v4);
	pin(g, &cfg->v6);
	egress_watch(g, &relay->ways[0], &cfg->v4);
	egress_watch(g, &relay->ways[1], &cfg->v6);
	log_at(g->cfg.log, LOG_INFO, "snownet", "Relay added", KV_STR("relay", id));
	relay_settle(g, relay);
}

static void relay_upsert(struct gateway *g, const struct portal_relay *entry)
{
	struct turn_config cfg = {
	    .id = entry->id,
	    .v4 = entry->v4,
	    .v6 = entry->v6,
	    .username = entry->username,
	    .password = entry->password,
	    .rng = g->cfg.rng,
	    .arena = g->cfg.arena,
	};
	struct relay *known = relay_by_id(g, &entry->id);

	if (known && turn_same_config(known->turn, &cfg))
		return;
	if (known) {
		relay_withdraw_all(g, known);
		relay_forget(g, known);
	}
	relay_add(g, &cfg);
}

void relays_upsert(struct gateway *g, const struct portal_relay *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		relay_upsert(g, &list[i]);
	relays_assign(g);
}

void relays_remove(struct gateway *g, const struct uuid *ids, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct relay *relay = relay_by_id(g, &ids[i]);

		if (relay) {
			relay_withdraw_all(g, relay);
			relay_forget(g, relay);
		}
	}
}

void relays_refresh_others(struct gateway *g, const struct portal_relay *list, size_t n)
{
	struct turn_input in = {.kind = TURN_INPUT_REFRESH};

	for (size_t i = 0; i < MAX_RELAYS; i++) {
		bool listed = false;

		for (size_t k = 0; k < n && g->relays[i].turn; k++)
			listed = listed || uuid_eq(&list[k].id, turn_id(g->relays[i].turn));
		if (g->relays[i].turn && !listed)
			relays_feed(g, &g->relays[i], &in);
	}
}

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

struct relay *relays_choose(struct gateway *g)
{
	struct relay *relays[MAX_RELAYS], *near[MAX_RELAYS];
	uint64_t rtts[MAX_RELAYS], limit;
	size_t n = 0, n_near = 0;

	for (size_t i = 0; i < MAX_RELAYS; i++) {
		if (!g->relays[i].turn || turn_rtt_us(g->relays[i].turn) == 0)
			continue;
		relays[n] = &g->relays[i];
		rtts[n++] = turn_rtt_us(g->relays[i].turn);
	}
	if (n == 0)
		return NULL;
	limit = rtt_limit(rtts, n);
	for (size_t i = 0; i < n; i++)
		if (rtts[i] <= limit)
			near[n_near++] = relays[i];
	return near[rng_below(&g->cfg.rng, n_near)];
}

/* Connections without a relay get one and announce its candidates; ask the portal once when there
 * is none at all. */
void relays_assign(struct gateway *g)
{
	struct candidate known[TURN_MAX_CANDIDATES];
	bool any = false;

	for (size_t i = 0; i < MAX_RELAYS; i++)
		any = any || g->relays[i].turn;
	for (uint32_t i = 0; i < g->cfg.max_clients && any; i++) {
		struct conn *c = g->conns[i];
		struct relay *relay;
		size_t n;

		if (!c || c->relay)
			continue;
		relay = relays_choose(g);
		if (!relay)
			break;
		c->relay = relay;
		n = turn_candidates(relay->turn, known);
		/* Checks that a new candidate causes may end the relay. */
		for (size_t k = 0; k < n && c->relay == relay; k++)
			conn_add_relayed(c, &known[k]);
	}
	if (any)
		g->wanted_relays = false;
	else if (!g->wanted_relays && g->joined)
		g->wanted_relays = outbox_push(g, NULL);
}

void relays_free(struct gateway *g)
{
	for (size_t i = 0; i < MAX_RELAYS; i++)
		if (g->relays[i].turn)
			relay_forget(g, &g->relays[i]);
}
