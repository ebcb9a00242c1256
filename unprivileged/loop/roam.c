#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "loop/internal.h"

/* How everything that matters leaves now, against what was in force. */
struct comparison {
	struct gateway_egress paths;
	enum way_change portal;
	uint32_t servers_kept, servers_moved, servers_lost;
};

void roam_watch(struct loop *l, struct watched *w)
{
	way_watch(&w->way, l->factory, &w->dst, now_us());
}

static enum way_change compare(struct loop *l, struct watched *w)
{
	return way_compare(&w->way, l->factory, &w->dst, now_us());
}

/* A server on this host says nothing about the network. */
static void compare_servers(struct loop *l, struct comparison *c)
{
	for (size_t i = 0; i < l->n_servers; i++) {
		struct watched *w = &l->servers[i];
		enum way_change change = compare(l, w);

		if (ip_is_loopback(&w->dst.ip))
			continue;
		c->servers_kept += change == WAY_KEPT;
		c->servers_moved += change == WAY_MOVED;
		c->servers_lost += change == WAY_LOST;
	}
}

void roam_watch_servers(struct loop *l)
{
	struct endpoint servers[RESOLVER_MAX_SERVERS];

	l->n_servers = resolver_servers(l->resolver, servers);
	for (size_t i = 0; i < l->n_servers; i++) {
		l->servers[i].dst = servers[i];
		roam_watch(l, &l->servers[i]);
	}
}

static void text_of(const struct ip_addr pair[2], char *out, size_t len)
{
	char v4[IP_TEXT_MAX] = "-", v6[IP_TEXT_MAX] = "-";

	if (pair[0].family != IP_NONE)
		ip_format(&pair[0], v4);
	if (pair[1].family != IP_NONE)
		ip_format(&pair[1], v6);
	snprintf(out, len, "%s %s", v4, v6);
}

static void log_roam(struct loop *l, const struct comparison *c, enum factory_cause reason)
{
	char was[2 * IP_TEXT_MAX + 2], now[2 * IP_TEXT_MAX + 2];

	text_of(c->paths.was, was, sizeof(was));
	text_of(c->paths.now, now, sizeof(now));
	log_at(l->log, LOG_INFO, "firezone_gateway", "Network change detected",
	       KV_STR("reason", factory_cause_name(reason)), KV_STR("old", was), KV_STR("new", now),
	       KV_INT("generation", factory_generation(l->factory)),
	       KV_INT("lost", c->paths.lost + c->servers_lost + (c->portal == WAY_LOST)),
	       KV_INT("kept", c->paths.kept + c->servers_kept + (c->portal == WAY_KEPT)));
}

/* The order of spec 4.6 step 4. Keys, sessions, sockets and their ports stay. */
static void roam(struct loop *l, const struct comparison *c, enum factory_cause reason)
{
	struct gateway_input in = {.kind = GATEWAY_IN_ROAM};

	factory_count_roam(l->factory);
	log_roam(l, c, reason);
	txq_flush(l->txq);
	factory_reset(l->factory, reason == FACTORY_CAUSE_SIGHUP ? reason : FACTORY_CAUSE_ROAM);
	udp_renew(l);
	forward_roam(l);
	names_read_files(l);
	resolver_restart(l->resolver, now_us());
	dns_io_refill(l->dns);
	roam_watch_servers(l);
	roam_watch(l, &l->portal.peer);
	gateway_handle(l->gateway, &in, now_us());
	if (c->portal == WAY_MOVED || c->portal == WAY_LOST ||
	    !portal_channel_joined(l->portal.channel))
		portal_in(l, PORTAL_IN_RECONNECT, NULL);
}

/* Nothing leaves any more: there is nothing to roam to, so all stays as it is until an event says
 * that the network is back. A name server next door does not count. */
static bool all_lost(const struct comparison *c)
{
	return (c->paths.lost > 0 || c->portal == WAY_LOST) && c->paths.kept == 0 &&
	       c->paths.moved == 0 && c->portal != WAY_KEPT && c->portal != WAY_MOVED;
}

/* The core leaves in force what it has when all of that is lost. */
static bool differs(const struct comparison *c)
{
	bool paths = c->paths.moved > 0 || (c->paths.lost > 0 && c->paths.kept > 0);

	return paths || c->servers_moved + c->servers_lost > 0 || c->portal == WAY_MOVED ||
	       c->portal == WAY_LOST;
}

static void run(struct loop *l, enum factory_cause reason, bool forced)
{
	struct comparison c = {.portal = WAY_NONE};
	bool was_lost = l->network_lost;

	gateway_egress(l->gateway, &c.paths, now_us());
	c.portal = compare(l, &l->portal.peer);
	compare_servers(l, &c);
	l->network_lost = all_lost(&c);
	if (l->network_lost) {
		if (!was_lost)
			log_say(l->log, LOG_INFO, "firezone_gateway",
				"Network lost, waiting for it to return");
		return;
	}
	if (forced || differs(&c)) {
		l->roamed_us = now_us();
		roam(l, &c, reason);
	} else if (was_lost && !portal_channel_joined(l->portal.channel)) {
		portal_in(l, PORTAL_IN_RECONNECT, NULL);
	}
}

void roam_run(struct loop *l)
{
	run(l, l->roam.cause, false);
}

void roam_forced(struct loop *l)
{
	udp_reopen(l);
	factory_reset(l->factory, FACTORY_CAUSE_SIGHUP);
	run(l, FACTORY_CAUSE_SIGHUP, true);
}
