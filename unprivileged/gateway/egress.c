/*
 * How the relays and the direct paths leave the host, and what follows when that changes.
 * [spec socket-factory 4.5, 4.6]
 *
 * Theory of operation: each destination keeps the route that was in force when it was last looked
 * at. gateway_egress() looks all of them up again and notes what differs. A move, be it that
 * difference, a dead address or a socket's new port, is carried out in one order: first the relays,
 * whose allocations fall with their 5-tuple; then each connection, whose candidates on old
 * addresses are withdrawn and those on new ones added before its agent is told to go on with what
 * it has. Keys, sessions, credentials and the peers' candidates are not touched.
 */
#include "gateway/internal.h"

enum {
	MAX_SOURCES = 64 /* of the host that are in use at a time */
};

/* Addresses of ours. */
struct sources {
	struct ip_addr list[MAX_SOURCES];
	size_t n;
	bool overflow; /* there are more */
};

/* What moves. A candidate is gone by any of the three rules. */
struct move {
	struct turn_egress relays[MAX_RELAYS][2];
	struct sources live; /* addresses that something leaves by */
	bool by_source;      /* candidates on other addresses are gone */
	struct ip_addr dead; /* candidates on this one are gone */
	uint8_t family;      /* candidates of this family on @was_port are gone */
	uint16_t was_port;
	struct sources fresh; /* host candidates for every connection */
};

static unsigned index_of(uint8_t family)
{
	return family == IP_V6;
}

static void sources_add(struct sources *s, const struct ip_addr *ip)
{
	for (size_t i = 0; i < s->n; i++)
		if (ip_eq(&s->list[i], ip))
			return;
	if (s->n < MAX_SOURCES)
		s->list[s->n++] = *ip;
	else
		s->overflow = true;
}

/* In doubt an address is in use. */
static bool sources_has(const struct sources *s, const struct ip_addr *ip)
{
	for (size_t i = 0; i < s->n; i++)
		if (ip_eq(&s->list[i], ip))
			return true;
	return s->overflow;
}

void egress_watch(struct gateway *g, struct way *w, const struct endpoint *dst)
{
	if (g->cfg.factory)
		way_watch(w, g->cfg.factory, dst, g->now_us);
}

void egress_source(struct gateway *g, struct relay *relay, struct txq_key *key)
{
	struct egress_memo *memo = &relay->memos[index_of(key->dst.ip.family)];
	struct factory_route route;

	key->src = (struct endpoint){.port = 0};
	key->generation = 0;
	if (!g->cfg.factory)
		return;
	if (memo->generation == factory_generation(g->cfg.factory)) {
		g->memo_hits++;
	} else {
		memo->generation = 0;
		if (factory_resolve(g->cfg.factory, &key->dst.ip, key->dst.scope, g->now_us,
				    &route) != FACTORY_OK)
			return;
		memo->generation = route.generation;
		memo->source = route.source;
	}
	key->src.ip = memo->source;
	key->generation = memo->generation;
}

/* --- the comparison --- */

static void note_first(struct gateway_egress *out, const struct way *w, uint8_t family)
{
	unsigned i = index_of(family);

	if (out->was[i].family != IP_NONE || out->now[i].family != IP_NONE)
		return;
	if (w->out)
		out->was[i] = w->route.source;
	if (w->change == WAY_MOVED)
		out->now[i] = w->found.source;
}

static void compare(struct gateway *g, struct way *w, const struct endpoint *dst,
		    struct gateway_egress *out)
{
	switch (way_compare(w, g->cfg.factory, dst, g->now_us)) {
	case WAY_NONE:
		return;
	case WAY_KEPT:
		out->kept++;
		out->rerouted += w->rerouted;
		break;
	case WAY_MOVED:
		out->moved++;
		note_first(out, w, dst->ip.family);
		break;
	case WAY_LOST:
		out->lost++;
		note_first(out, w, dst->ip.family);
		break;
	}
	out->live++;
}

static bool is_direct(const struct conn *c)
{
	return c && c->has_path && !c->path.via_relay;
}

/* Nothing leaves: what was in force stays, and silence means nothing. */
static void set_away(struct gateway *g, bool away)
{
	g->away = away;
	for (size_t i = 0; i < MAX_RELAYS; i++) {
		struct relay *r = &g->relays[i];

		if (!r->turn)
			continue;
		turn_set_away(r->turn, away);
		if (away)
			r->ways[0].change = r->ways[1].change = WAY_NONE;
	}
	for (uint32_t i = 0; i < g->cfg.max_clients && away; i++)
		if (g->conns[i])
			g->conns[i]->way.change = WAY_NONE;
}

void gateway_egress(struct gateway *g, struct gateway_egress *out, uint64_t now_us)
{
	*out = (struct gateway_egress){.live = 0};
	if (!g->cfg.factory)
		return;
	g->now_us = now_us;
	for (size_t i = 0; i < MAX_RELAYS; i++) {
		struct relay *r = &g->relays[i];
		struct endpoint dst[2];

		if (!r->turn)
			continue;
		turn_addresses(r->turn, &dst[0], &dst[1]);
		for (size_t f = 0; f < 2; f++)
			compare(g, &r->ways[f], &dst[f], out);
	}
	for (uint32_t i = 0; i < g->cfg.max_clients; i++) {
		struct conn *c = g->conns[i];

		if (is_direct(c))
			compare(g, &c->way, &c->path.remote, out);
	}
	set_away(g, out->lost > 0 && out->kept + out->moved == 0);
}

/* --- the move --- */

static struct turn_egress turn_egress_of(const struct gateway *g, const struct way *w,
					 unsigned family)
{
	struct turn_egress e = {.moved = true, .out = w->out || !g->cfg.factory};

	if (w->out)
		e.local = (struct endpoint){.ip = w->route.source, .port = g->ports[family]};
	return e;
}

/* A relay's family leaves otherwise than before. */
static void move_relay(struct gateway *g, struct move *m, size_t relay, unsigned family)
{
	const struct way *w = &g->relays[relay].ways[family];

	m->relays[relay][family] = turn_egress_of(g, w, family);
	if (w->out)
		sources_add(&m->fresh, &w->route.source);
}

static void add_host(struct conn *c, const struct ip_addr *source)
{
	struct candidate host = {.kind = CANDIDATE_HOST};

	host.addr.ip = *source;
	host.addr.port = c->g->ports[index_of(source->family)];
	host.base = host.addr;
	if (host.addr.port != 0 && !ip_is_link_local(source))
		conn_add_local(c, &host);
}

static bool is_gone(const struct move *m, const struct conn *c, const struct endpoint *base)
{
	bool kept = is_direct(c) && c->way.change == WAY_KEPT;

	if (m->by_source && !sources_has(&m->live, &base->ip) &&
	    !(kept && ip_eq(&c->path.local.ip, &base->ip)))
		return true;
	return ip_eq(&m->dead, &base->ip) ||
	       (m->was_port != 0 && base->ip.family == m->family && base->port == m->was_port);
}

/* Relayed ones go with their allocation. The lowest first: a host candidate leaves its pairs to a
 * reflexive one on the same base. */
static bool withdraw_gone(const struct move *m, struct conn *c)
{
	struct candidate known[ICE_MAX_LOCAL], gone[ICE_MAX_LOCAL];
	size_t n = ice_local_candidates(c->ice, known, ICE_MAX_LOCAL), n_gone = 0;

	for (; n > 0; n--) {
		const struct candidate *k = &known[n - 1];

		if (k->kind != CANDIDATE_RELAY && is_gone(m, c, &k->base))
			gone[n_gone++] = *k;
	}
	if (n_gone > 0)
		conn_remove_locals(c, gone, n_gone);
	return n_gone > 0;
}

static enum ice_fate fate_of(const struct conn *c)
{
	if (!is_direct(c))
		return ICE_PATH_KEPT;
	if (c->way.change == WAY_LOST)
		return ICE_PATH_LOST;
	return c->way.change == WAY_MOVED ? ICE_PATH_SUSPECT : ICE_PATH_KEPT;
}

static bool uses_moved_relay(const struct move *m, const struct conn *c)
{
	size_t i;

	if (!c->relay)
		return !ice_selected(c->ice, &(struct ice_path){.via_relay = false});
	i = (size_t)(c->relay - c->g->relays);
	return m->relays[i][0].moved || m->relays[i][1].moved;
}

/*
 * One connection. What it sends directly from now on has to be chosen anew; a relayed path goes on
 * with the allocation that comes.
 */
static void move_conn(const struct move *m, struct conn *c)
{
	bool affected = fate_of(c) != ICE_PATH_KEPT || uses_moved_relay(m, c);
	struct ip_addr own = {.family = IP_NONE};
	struct ice_input in = {.kind = ICE_INPUT_ROAM};
	struct ice_path path;

	if (is_direct(c) && c->way.out && c->way.change == WAY_MOVED)
		own = c->way.route.source;
	affected = withdraw_gone(m, c) || affected;
	for (size_t i = 0; i < m->fresh.n; i++)
		add_host(c, &m->fresh.list[i]);
	if (own.family != IP_NONE)
		add_host(c, &own);
	in.u.fate = fate_of(c); /* of the path that is left */
	c->way.change = WAY_NONE;
	if (!affected)
		return;
	conn_feed(c, &in);
	if (ice_selected(c->ice, &path))
		return;
	conn_wake(c);
	if (is_direct(c))
		conn_lose_path(c);
}

static void carry_out(struct gateway *g, const struct move *m)
{
	for (size_t i = 0; i < MAX_RELAYS; i++) {
		struct turn_input in = {.kind = TURN_INPUT_ROAM};

		in.u.roam[0] = m->relays[i][0];
		in.u.roam[1] = m->relays[i][1];
		if (g->relays[i].turn && (in.u.roam[0].moved || in.u.roam[1].moved))
			relays_feed(g, &g->relays[i], &in);
	}
	for (uint32_t i = 0; i < g->cfg.max_clients; i++)
		if (g->conns[i])
			move_conn(m, g->conns[i]);
	relays_assign(g);
}

static void add_live(struct move *m, const struct way *w)
{
	if (w->out && !w->dead)
		sources_add(&m->live, &w->route.source);
}

void egress_roam(struct gateway *g)
{
	struct move m = {.by_source = true};
	bool any = false;

	for (size_t i = 0; i < MAX_RELAYS; i++) {
		for (unsigned f = 0; f < 2 && g->relays[i].turn; f++) {
			struct way *w = &g->relays[i].ways[f];

			if (way_settle(w)) {
				move_relay(g, &m, i, f);
				any = true;
			}
			w->change = WAY_NONE;
			add_live(&m, w);
		}
	}
	for (uint32_t i = 0; i < g->cfg.max_clients; i++) {
		struct conn *c = g->conns[i];

		if (!is_direct(c))
			continue;
		any = way_settle(&c->way) || any;
		add_live(&m, &c->way);
	}
	if (any)
		carry_out(g, &m);
}

/* Its ways count as gone until the comparison finds one again, be it by the same address. */
void egress_local_dead(struct gateway *g, const struct ip_addr *ip)
{
	struct turn_input in = {.kind = TURN_INPUT_LOCAL_DEAD, .u.local_dead = *ip};
	struct move m = {.dead = *ip};

	if (ip->family == IP_NONE)
		return;
	for (size_t i = 0; i < MAX_RELAYS; i++) {
		struct relay *r = &g->relays[i];

		for (size_t f = 0; f < 2; f++)
			r->ways[f].dead = r->ways[f].dead || ip_eq(&r->ways[f].route.source, ip);
		if (r->turn)
			relays_feed(g, r, &in);
	}
	for (uint32_t i = 0; i < g->cfg.max_clients; i++)
		if (is_direct(g->conns[i]) && ip_eq(&g->conns[i]->way.route.source, ip))
			g->conns[i]->way.dead = true;
	carry_out(g, &m);
}

void egress_socket(struct gateway *g, uint8_t family, uint16_t was_port, uint16_t port)
{
	struct move m = {.family = family, .was_port = was_port};
	struct turn_input in = {.kind = TURN_INPUT_REFRESH};
	unsigned f = index_of(family);

	g->ports[f] = port;
	for (size_t i = 0; i < MAX_RELAYS; i++) {
		if (!g->relays[i].turn)
			continue;
		if (was_port == port)
			relays_feed(g, &g->relays[i], &in);
		else
			move_relay(g, &m, i, f);
	}
	if (was_port == port)
		return;
	for (uint32_t i = 0; i < g->cfg.max_clients; i++)
		if (is_direct(g->conns[i]) && g->conns[i]->path.remote.ip.family == family &&
		    g->conns[i]->way.out)
			g->conns[i]->way.change = WAY_MOVED;
	carry_out(g, &m);
}

/* True if a relay that had no way out has one. */
static bool retry_relay(struct gateway *g, struct move *m, size_t relay)
{
	struct relay *r = &g->relays[relay];
	bool had = r->ways[0].out || r->ways[1].out, any = false;
	struct endpoint dst[2];

	turn_addresses(r->turn, &dst[0], &dst[1]);
	for (unsigned f = 0; f < 2; f++) {
		struct way now;

		way_watch(&now, g->cfg.factory, &dst[f], g->now_us);
		if (!now.out)
			continue;
		if (g->away)
			set_away(g, false);
		if (had)
			continue;
		r->ways[f] = now;
		move_relay(g, m, relay, f);
		any = true;
	}
	return any;
}

/*
 * There may be a way out again without any event that says so: a refusal of the firewall's looks
 * like a missing route.
 */
void egress_retry(struct gateway *g)
{
	struct move m = {.by_source = false};
	bool any = false;

	for (size_t i = 0; i < MAX_RELAYS && g->cfg.factory; i++) {
		const struct relay *r = &g->relays[i];

		if (r->turn && (g->away || !(r->ways[0].out || r->ways[1].out)))
			any = retry_relay(g, &m, i) || any;
	}
	if (any)
		carry_out(g, &m);
}
