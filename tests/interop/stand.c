#include "stand.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* --- what the loop's files call --- */

static uint64_t clock_us(clockid_t which)
{
	struct timespec ts;

	clock_gettime(which, &ts);
	return (uint64_t)ts.tv_sec * US_PER_S + (uint64_t)ts.tv_nsec / 1000;
}

uint64_t now_us(void)
{
	return clock_us(CLOCK_MONOTONIC);
}

uint64_t wall_us(void)
{
	return clock_us(CLOCK_REALTIME);
}

static void set_timer(struct loop *l)
{
	uint64_t at =
	    min_u64(resolver_deadline(l->resolver), min_u64(routes_deadline(l), names_deadline(l)));
	uint64_t now = now_us(), wait = at > now ? at - now : 0;
	struct timeval tv = {.tv_sec = (time_t)(wait / US_PER_S),
			     .tv_usec = (suseconds_t)(wait % US_PER_S)};

	if (at == l->timer_at_us)
		return;
	l->timer_at_us = at;
	if (at == NEVER_US)
		event_del(l->timer);
	else
		event_add(l->timer, &tv);
}

/* Each helper has a limit on sockets for each second: the next one makes those of the next
 * refill. */
static void next_helper(struct stand *s)
{
	if (s->n_helpers < 2 || s->loop.helper.seq == s->helper_seq)
		return;
	s->helpers[s->helper] = s->loop.helper;
	s->helper = (s->helper + 1) % s->n_helpers;
	s->loop.helper = s->helpers[s->helper];
	s->helper_seq = s->loop.helper.seq;
}

void loop_settle(struct loop *l)
{
	struct stand *s = (struct stand *)l;

	while (names_settle(l))
		next_helper(s);
	next_helper(s);
	txq_flush(l->txq);
	if (l->dead_local.family != IP_NONE) {
		l->dead_local.family = IP_NONE;
		s->dead_locals++;
	}
	if (s->cfg.settle)
		s->cfg.settle(s);
	set_timer(l);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct loop *l = arg;
	uint64_t now = now_us();

	(void)fd;
	(void)what;
	l->timer_at_us = NEVER_US;
	if (routes_deadline(l) <= now)
		routes_timeout(l);
	if (resolver_deadline(l->resolver) <= now)
		resolver_timeout(l->resolver, now);
	if (names_deadline(l) <= now)
		names_timeout(l);
	loop_settle(l);
}

void loop_stop(struct loop *l, int status, const char *reason)
{
	(void)l;
	fprintf(stderr, "stopped with %d: %s\n", status, reason ? reason : "");
	exit(1);
}

void portal_resolved(struct loop *l, const struct resolver_out *answer)
{
	struct stand *s = (struct stand *)l;

	if (s->cfg.answer)
		s->cfg.answer(s, answer);
}

void portal_in(struct loop *l, enum portal_in_kind kind, const char *reason)
{
	(void)kind;
	(void)reason;
	((struct stand *)l)->reconnects++;
	roam_watch(l, &l->portal.peer);
}

bool portal_channel_joined(const struct portal_channel *c)
{
	(void)c;
	return true;
}

void tun_flush(struct loop *l)
{
	(void)l;
}

void tun_pause(struct loop *l, bool pause)
{
	(void)l;
	(void)pause;
}

void forward_reply(struct loop *l, enum dns_asker who, const struct dns_reply *reply)
{
	struct stand *s = (struct stand *)l;

	(void)who;
	if (s->cfg.reply)
		s->cfg.reply(s, reply);
}

void forward_servers_changed(struct loop *l)
{
	(void)l;
}

void forward_roam(struct loop *l)
{
	(void)l;
}

/* The core's handle is the stand itself. */
static struct stand *stand_of(struct gateway *g)
{
	void *s = g;

	return s;
}

void gateway_udp_in(struct gateway *g, const struct gateway_datagrams *in, size_t n,
		    struct coalescer *tun, uint64_t now)
{
	struct stand *s = stand_of(g);

	(void)tun;
	(void)now;
	if (s->cfg.datagrams)
		s->cfg.datagrams(s, in, n);
}

void gateway_packets_done(struct gateway *g, uint64_t now)
{
	(void)g;
	(void)now;
}

static void compare(struct loop *l, struct watched *w, struct gateway_egress *out)
{
	enum way_change change = way_compare(&w->way, l->factory, &w->dst, now_us());
	size_t family = w->dst.ip.family == IP_V4 ? 0 : 1;

	out->live += change != WAY_NONE;
	out->kept += change == WAY_KEPT;
	out->rerouted += w->way.rerouted;
	out->moved += change == WAY_MOVED;
	out->lost += change == WAY_LOST;
	if ((change != WAY_MOVED && change != WAY_LOST) || out->was[family].family != IP_NONE)
		return;
	if (w->way.out)
		out->was[family] = w->way.route.source;
	if (change == WAY_MOVED)
		out->now[family] = w->way.found.source;
}

void gateway_egress(struct gateway *g, struct gateway_egress *out, uint64_t now)
{
	struct stand *s = stand_of(g);

	(void)now;
	*out = (struct gateway_egress){.live = 0};
	for (size_t i = 0; i < s->n_ways; i++)
		compare(&s->loop, &s->ways[i], out);
	/* Nothing to roam to: what was in force stays. */
	for (size_t i = 0; i < s->n_ways && out->kept + out->moved > 0; i++)
		(void)way_settle(&s->ways[i].way);
}

void gateway_handle(struct gateway *g, const struct gateway_input *in, uint64_t now)
{
	struct stand *s = stand_of(g);
	size_t family;

	if (in->kind == GATEWAY_IN_ROAM) {
		s->roams++;
		s->roamed_us = now;
	} else if (in->kind == GATEWAY_IN_SOCKET) {
		family = in->u.socket.family == IP_V4 ? 0 : 1;
		s->sockets++;
		s->socket_was[family] = in->u.socket.was_port;
		s->socket_port[family] = in->u.socket.port;
	}
}

/* --- start and end --- */

static void on_line(void *ctx, const char *line, size_t len)
{
	(void)ctx;
	fwrite(line, 1, len, stderr);
}

static uint64_t on_wall_clock(void *ctx)
{
	(void)ctx;
	return wall_us();
}

static int greet(const struct stand_config *cfg, struct helper_client *helper)
{
	struct ipc_policy policy = {
	    .tun_name = IPC_TUN_NAME_DEFAULT,
	    .receive_buffer = IPC_RECEIVE_BUFFER_DEFAULT,
	    .send_buffer = IPC_SEND_BUFFER_DEFAULT,
	    .portal_port = 443,
	    .udp_port = IPC_UDP_PORT_DEFAULT,
	    .file_count = 2,
	};
	struct ipc_hello_reply reply;

	snprintf(policy.files[IPC_FILE_RESOLV_CONF], IPC_PATH_SIZE, "%s", cfg->resolv_conf);
	snprintf(policy.files[IPC_FILE_HOSTS], IPC_PATH_SIZE, "%s", cfg->hosts);
	return helper_hello(helper, &policy, &reply);
}

static int greet_all(struct stand *s)
{
	const char *at = s->cfg.helper_fds;
	char *end;
	int rc = 0;

	while (rc == 0 && s->n_helpers < STAND_HELPERS) {
		struct helper_client *helper = &s->helpers[s->n_helpers++];

		helper->fd = (int)strtol(at, &end, 10);
		rc = greet(&s->cfg, helper);
		if (*end != ',')
			break;
		at = end + 1;
	}
	s->loop.helper = s->helpers[0];
	return rc;
}

static int tun_up(struct loop *l)
{
	static const uint8_t v4[4] = {100, 64, 3, 9};
	static const uint8_t v6[16] = {0xfd, 0x00, 0x20, 0x21, 0x11, 0x11, [15] = 9};
	uint32_t offloads;
	uint8_t families;
	int rc = helper_tun_open(&l->helper, &l->tun_fd, &l->tun_ifindex, &offloads);

	if (rc < 0)
		return rc;
	rc = helper_tun_configure(&l->helper, v4, v6, IPC_MTU_MIN, &families);
	l->tun_v4 = ip_v4(v4);
	l->tun_v6 = ip_v6(v6);
	factory_set_tunnel(l->factory, l->tun_ifindex);
	factory_set_tunnel_addresses(l->factory, &l->tun_v4, &l->tun_v6);
	return rc;
}

static int objects_new(struct stand *s)
{
	struct loop *l = &s->loop;
	struct log_config log = {
	    .filter = s->cfg.log_filter, .write = on_line, .wall_us = on_wall_clock};
	struct resolver_config resolver = {.rng = rng_system()};
	struct factory_config factory = {.lookup = routes_lookup,
					 .ctx = l,
					 .tun_name = IPC_TUN_NAME_DEFAULT,
					 .rng = rng_system()};
	void *core = s;

	l->gateway = core;
	l->log = log_new(&log, NULL, 0);
	l->base = event_base_new();
	resolver.log = factory.log = l->log;
	l->resolver = resolver_new(&resolver);
	l->factory = factory_new(&factory);
	l->txq = txq_new(udp_flush, l);
	if (!l->log || !l->base || !l->resolver || !l->factory || !l->txq)
		return -ENOMEM;
	l->timer = evtimer_new(l->base, on_timer, l);
	l->dns = dns_io_new(l);
	return l->timer && l->dns ? 0 : -ENOMEM;
}

int stand_start(struct stand *s, const struct stand_config *cfg)
{
	struct loop *l = &s->loop;
	int rc;

	memset(s, 0, sizeof(*s));
	s->cfg = *cfg;
	l->tun_fd = l->nl_lookup = l->nl_events = l->udp[0].fd = l->udp[1].fd = -1;
	l->timer_at_us = NEVER_US;
	rc = objects_new(s);
	if (rc == 0)
		rc = greet_all(s);
	if (rc == 0)
		rc = tun_up(l);
	if (rc == 0)
		rc = routes_open(l);
	if (rc == 0)
		rc = udp_open_all(l);
	if (rc < 0)
		return rc;
	names_read_files(l);
	dns_io_refill(l->dns);
	s->helper_seq = l->helper.seq;
	set_timer(l);
	return 0;
}

void stand_stop(struct stand *s)
{
	struct loop *l = &s->loop;

	dns_io_free(l->dns);
	names_close(l);
	routes_close(l);
	udp_close_all(l);
	resolver_free(l->resolver);
	factory_free(l->factory);
	txq_free(l->txq);
	if (l->timer)
		event_free(l->timer);
	if (l->base)
		event_base_free(l->base);
	log_free(l->log);
	if (l->tun_fd >= 0)
		close(l->tun_fd);
}

void stand_run(struct stand *s, uint64_t us)
{
	struct timeval tv = {.tv_sec = (time_t)(us / US_PER_S),
			     .tv_usec = (suseconds_t)(us % US_PER_S)};

	if (us > 0) {
		event_base_loopexit(s->loop.base, &tv);
		event_base_dispatch(s->loop.base);
		return;
	}
	for (int i = 0; i < 3; i++)
		event_base_loop(s->loop.base, EVLOOP_NONBLOCK);
}

bool stand_watch(struct stand *s, const struct ip_addr *ip)
{
	struct watched *w = &s->loop.portal.peer;

	if (w->dst.ip.family != IP_NONE) {
		if (s->n_ways == STAND_WAYS)
			return false;
		w = &s->ways[s->n_ways++];
	}
	w->dst = (struct endpoint){.ip = *ip, .port = 1};
	roam_watch(&s->loop, w);
	return true;
}
