#include "gateway/internal.h"

#include "packet/bytes.h"
#include "turn/channel_data.h"

#include <stdlib.h>
#include <string.h>

/* Lines on relays: few are said aloud. */
enum {
	RELAY_LINES = 20,
	RELAY_LINE_S = 5,
	WANT_AGAIN_S = 60, /* no_relays once more */
};

/*
 * A relay that loses its allocation has this long to get another one; and one that is heard again
 * after a silence is no refuge from another's before that: the other's next Binding may be answered
 * as well.
 */
#define RELAY_GRACE_US (1300 * US_PER_MS)

static enum log_level relay_line(struct gateway *g)
{
	return bucket_take(&g->relay_lines_us, g->now_us, RELAY_LINE_S * US_PER_S, RELAY_LINES)
		   ? LOG_INFO
		   : LOG_DEBUG;
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

/* Its connections look for another one in the round that follows. */
static void relay_release(struct gateway *g, const struct relay *relay)
{
	for (uint32_t i = 0; i < g->cfg.max_clients; i++)
		if (g->conns[i] && g->conns[i]->relay == relay)
			g->conns[i]->relay = NULL;
}

/* Free the place of a relay; relays_assign() comes next. */
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

/* A host or reflexive address that another relay has found is no news. */
static bool is_found(const struct gateway *g, const struct relay *relay, const struct candidate *c)
{
	struct candidate known[TURN_MAX_CANDIDATES];

	for (size_t i = 0; i < MAX_RELAYS; i++) {
		const struct turn *turn = g->relays[i].turn;
		size_t n = turn && &g->relays[i] != relay ? turn_candidates(turn, known) : 0;

		for (size_t k = 0; k < n; k++)
			if (known[k].kind == c->kind && endpoint_eq(&known[k].addr, &c->addr) &&
			    endpoint_eq(&known[k].base, &c->base))
				return true;
	}
	return false;
}

static void candidate_line(struct gateway *g, const struct relay *relay, const char *message,
			   const struct candidate *c)
{
	char id[UUID_TEXT_LEN + 1], address[ENDPOINT_TEXT_MAX];

	uuid_format(turn_id(relay->turn), id);
	endpoint_format(&c->addr, address);
	log_at(g->cfg.log, relay_line(g), "snownet", message, KV_STR("relay", id),
	       KV_STR("address", address));
}

struct relay_events {
	bool changed; /* connections have something to follow */
	bool dropped;
};

/* Of a host or reflexive candidate that is lost another relay, or a path, may know better: they go
 * by their base, see egress.c. */
static void relay_drain(struct gateway *g, struct relay *relay, struct relay_events *events)
{
	struct turn_output out;

	while (turn_poll(relay->turn, &out)) {
		switch (out.kind) {
		case TURN_OUTPUT_TRANSMIT: {
			struct txq_key key = {.dst = out.u.transmit.dst};

			egress_source(g, relay, &key);
			txq_send(g->cfg.txq, &key, out.u.transmit.data, out.u.transmit.len);
			break;
		}
		case TURN_OUTPUT_CANDIDATE:
			if (out.u.candidate.kind == CANDIDATE_RELAY)
				candidate_line(g, relay, "Relay allocation ready",
					       &out.u.candidate);
			else if (is_found(g, relay, &out.u.candidate))
				break;
			events->changed = true;
			break;
		case TURN_OUTPUT_LOST:
			if (out.u.lost.kind != CANDIDATE_RELAY)
				break;
			candidate_line(g, relay, "Relay allocation lost", &out.u.lost);
			events->changed = true;
			break;
		case TURN_OUTPUT_DROPPED:
			events->dropped = true;
			break;
		}
	}
}

static const char *method_text(uint16_t method)
{
	switch (method) {
	case STUN_BINDING:
		return "Binding";
	case STUN_ALLOCATE:
		return "Allocate";
	case STUN_REFRESH:
		return "Refresh";
	default:
		return "ChannelBind";
	}
}

static const char *note_text(enum turn_note_kind kind)
{
	switch (kind) {
	case TURN_NOTE_REFUSED:
		return "Relay answers with an error";
	case TURN_NOTE_SUSPENDED:
		return "Relay gives no allocation";
	case TURN_NOTE_MISMATCH:
		return "Relay does not know our allocation";
	case TURN_NOTE_EXPIRED:
		return "Relay allocation expired";
	case TURN_NOTE_SILENT:
		return "Relay is silent";
	case TURN_NOTE_HEARD:
		return "Relay is heard again";
	case TURN_NOTE_OTHER_FAMILY:
		return "Relay is used by its other address";
	case TURN_NOTE_REBOUND:
		return "Relay sees us at another address";
	}
	return "";
}

static void relay_drop(struct gateway *g, struct relay *relay)
{
	char id[UUID_TEXT_LEN + 1];

	uuid_format(turn_id(relay->turn), id);
	log_at(g->cfg.log, LOG_INFO, "snownet", "Relay dropped", KV_STR("relay", id));
	relay_forget(g, relay);
	relays_assign(g);
}

/* One that falls silent, or all of them? The others are asked at once, so that there is an answer
 * before it is time to go elsewhere. */
static void probe_others(struct gateway *g, const struct relay *relay)
{
	struct turn_input in = {.kind = TURN_INPUT_PROBE};

	if (g->probing_relays)
		return;
	g->probing_relays = true;
	for (size_t i = 0; i < MAX_RELAYS; i++)
		if (g->relays[i].turn && &g->relays[i] != relay)
			relays_feed(g, &g->relays[i], &in);
	g->probing_relays = false;
}

static void relay_notes(struct gateway *g, const struct relay *relay)
{
	char id[UUID_TEXT_LEN + 1];
	struct turn_note note;

	while (turn_take_note(relay->turn, &note)) {
		uuid_format(turn_id(relay->turn), id);
		log_at(g->cfg.log, relay_line(g), "snownet", note_text(note.kind),
		       KV_STR("relay", id), KV_STR("method", method_text(note.method)),
		       KV_INT("code", note.code));
		/* The same NAT stands before all of them. */
		if (note.kind == TURN_NOTE_REBOUND)
			probe_others(g, relay);
	}
}

static bool any_is_out(const struct gateway *g)
{
	for (size_t i = 0; i < MAX_RELAYS; i++)
		if (g->relays[i].turn && relay_is_out(&g->relays[i]))
			return true;
	return false;
}

static void relay_judge(struct gateway *g, struct relay *relay)
{
	enum turn_standing was = relay->standing, now = turn_standing(relay->turn);

	if (was == now)
		return;
	relay->standing = now;
	relay->settled = now != TURN_WORKING && !(now == TURN_STANDS && was != TURN_WORKING);
	relay->settled_us = relay->settled ? NEVER_US : add_us(g->now_us, RELAY_GRACE_US);
	if (now == TURN_SUSPECT)
		probe_others(g, relay);
	if (relay_is_out(relay) || (now == TURN_STANDS && any_is_out(g)))
		relays_changed(g);
}

static uint64_t relay_deadline(const struct gateway *g, size_t index)
{
	const struct relay *relay = &g->relays[index];
	uint64_t at_us = NEVER_US;

	if (relay->turn)
		at_us = min_u64(turn_deadline(relay->turn), relay->settled_us);
	/* The round has no timer of its own. */
	return index == 0 && g->round_left > 0 ? min_u64(at_us, g->round_us) : at_us;
}

/* What follows from any event at a relay: its outputs, and that connections follow. */
static void relay_settle(struct gateway *g, struct relay *relay)
{
	struct relay_events events = {.changed = false};

	relay_drain(g, relay, &events);
	relay_notes(g, relay);
	if (events.dropped) {
		relay_drop(g, relay);
		return;
	}
	relay_judge(g, relay);
	if (events.changed)
		relays_changed(g);
	if (turn_rtt_us(relay->turn) != 0 && !relay->measured) {
		relay->measured = true;
		relays_assign(g);
	} else if (turn_rtt_us(relay->turn) == 0 && relay->measured) {
		relay->measured = false; /* no way out to it */
		relay_release(g, relay);
		relays_changed(g);
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
	struct relay *relay = &g->relays[index];

	if (!relay->turn)
		return;
	if (relay->settled_us <= g->now_us) {
		relay->settled = true;
		relay->settled_us = NEVER_US;
		if (any_is_out(g))
			relays_changed(g);
	}
	relays_feed(g, relay, &in);
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
	if (relays_follow(g))
		conn_settle_all(g);
	for (size_t i = 0; i < MAX_RELAYS; i++)
		heap_set(g->timers, timer_of_relay(g, i), relay_deadline(g, i));
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
	relay->settled_us = NEVER_US;
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

	if (known && turn_same_config(known->turn, &cfg)) {
		enum turn_standing standing = turn_standing(known->turn);

		/* It is named for a reason: what it refused, or is about to, it may grant now. */
		if (standing == TURN_REFUSED || standing == TURN_WORKING)
			relays_feed(g, known, &(struct turn_input){.kind = TURN_INPUT_REFRESH});
		return;
	}
	if (known)
		relay_forget(g, known);
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

		if (relay)
			relay_forget(g, relay);
	}
	relays_changed(g);
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

static bool have_relay(const struct gateway *g)
{
	for (size_t i = 0; i < MAX_RELAYS; i++)
		if (g->relays[i].turn)
			return true;
	return false;
}

void relays_want(struct gateway *g)
{
	if (have_relay(g)) {
		g->wanted_relays = false;
		return;
	}
	if (!g->joined || (g->wanted_relays && g->now_us - g->asked_us < WANT_AGAIN_S * US_PER_S))
		return;
	g->wanted_relays = outbox_push(g, NULL);
	g->asked_us = g->now_us;
}

void relays_assign(struct gateway *g)
{
	relays_changed(g);
	relays_want(g);
}

void relays_free(struct gateway *g)
{
	for (size_t i = 0; i < MAX_RELAYS; i++)
		if (g->relays[i].turn)
			relay_forget(g, &g->relays[i]);
}
