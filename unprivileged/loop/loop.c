#include "loop/loop.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "loop/internal.h"

enum {
	CLOCK_TICK_S = 1, /* how often the core hears the wall clock */
	SHUTDOWN_MS = 1000,
	SHUTDOWN_POLL_US = 20000,
	SETTLE_ROUNDS = 8, /* what is left then waits for the next event or the clock */
};

/* It runs on while the host is suspended: sessions, allocations and checks age as the peers' do.
 * libevent's own timers stand still meanwhile; the clock tick sets the core's anew. */
uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * US_PER_S + (uint64_t)ts.tv_nsec / 1000;
}

uint64_t wall_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * US_PER_S + (uint64_t)ts.tv_nsec / 1000;
}

/* --- carrying out what the core says --- */

static bool gateway_settle(struct loop *l)
{
	struct gateway_output out;
	bool any = false;

	while (gateway_poll(l->gateway, &out)) {
		struct portal_in in = {.kind = PORTAL_IN_SEND};

		any = true;

		switch (out.kind) {
		case GATEWAY_OUT_PORTAL:
			in.u.send = out.u.portal;
			portal_channel_handle(l->portal.channel, &in, now_us());
			break;
		case GATEWAY_OUT_TUN:
			tun_configure(l, &out.u.tun.v4, &out.u.tun.v6);
			break;
		}
	}
	return any;
}

static void set_timer(struct loop *l)
{
	uint64_t at =
	    min_u64(gateway_deadline(l->gateway), portal_channel_deadline(l->portal.channel));
	uint64_t now = now_us(), wait;
	struct timeval tv;

	at = min_u64(at, resolver_deadline(l->resolver));
	at = min_u64(at, names_deadline(l));
	at = min_u64(at, routes_deadline(l));
	at = min_u64(at, forward_deadline(l));
	at = min_u64(at, l->clock_at_us);
	if (at == l->timer_at_us)
		return;
	l->timer_at_us = at;
	wait = at > now ? at - now : 0;
	tv.tv_sec = (time_t)(wait / US_PER_S);
	tv.tv_usec = (suseconds_t)(wait % US_PER_S);
	event_add(l->timer, &tv);
}

/* Found while sending, when the core could not be told. */
static bool dead_settle(struct loop *l)
{
	struct gateway_input in = {.kind = GATEWAY_IN_LOCAL_DEAD, .u.local_dead = l->dead_local};

	if (l->dead_local.family == IP_NONE)
		return false;
	l->dead_local = (struct ip_addr){.family = IP_NONE};
	gateway_handle(l->gateway, &in, now_us());
	return true;
}

void loop_settle(struct loop *l)
{
	/* Each may give the others something to do. Mostly none has anything: one look at each,
	 * then sleep. */
	for (int round = 0; round < SETTLE_ROUNDS; round++) {
		bool any = names_settle(l);

		any = forward_settle(l) || any;
		any = portal_settle(l) || any;
		any = gateway_settle(l) || any;
		txq_flush(l->txq);
		any = dead_settle(l) || any;
		if (!any)
			break;
	}
	set_timer(l);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct loop *l = arg;
	struct gateway_input in = {.kind = GATEWAY_IN_TIMEOUT};
	struct portal_in portal = {.kind = PORTAL_IN_TIMEOUT};
	uint64_t now = now_us();

	(void)fd;
	(void)what;
	l->timer_at_us = NEVER_US; /* it has fired: to be set anew */
	if (l->clock_at_us <= now) {
		struct gateway_input clock = {.kind = GATEWAY_IN_CLOCK, .u.wall_us = wall_us()};

		gateway_handle(l->gateway, &clock, now);
		l->clock_at_us = now + CLOCK_TICK_S * US_PER_S;
	}
	if (gateway_deadline(l->gateway) <= now)
		gateway_handle(l->gateway, &in, now);
	if (routes_deadline(l) <= now)
		routes_timeout(l);
	if (names_deadline(l) <= now)
		names_timeout(l);
	if (resolver_deadline(l->resolver) <= now)
		resolver_timeout(l->resolver, now);
	if (forward_deadline(l) <= now)
		forward_timeout(l);
	if (portal_channel_deadline(l->portal.channel) <= now)
		portal_channel_handle(l->portal.channel, &portal, now);
	loop_settle(l);
}

/* --- life --- */

static void on_shutdown_poll(evutil_socket_t fd, short what, void *arg)
{
	struct loop *l = arg;
	struct timeval wait = {.tv_usec = SHUTDOWN_POLL_US};

	(void)fd;
	(void)what;
	if (portal_flushed(l) || now_us() >= l->stop_at_us)
		event_base_loopbreak(l->base);
	else
		event_base_once(l->base, -1, EV_TIMEOUT, on_shutdown_poll, l, &wait);
}

void loop_stop(struct loop *l, int status, const char *reason)
{
	struct gateway_input in = {.kind = GATEWAY_IN_SHUTDOWN};
	struct portal_in portal = {.kind = PORTAL_IN_SHUTDOWN};
	struct timeval now = {.tv_sec = 0};

	if (l->stopping)
		return;
	l->stopping = true;
	l->status = status;
	if (reason)
		log_at(l->log, LOG_ERROR, "firezone_gateway", "Eventloop failed",
		       KV_STR("error", reason));
	gateway_handle(l->gateway, &in, now_us());
	txq_flush(l->txq);
	portal_channel_handle(l->portal.channel, &portal, now_us());
	portal_settle(l);
	l->stop_at_us = now_us() + SHUTDOWN_MS * US_PER_MS;
	event_base_once(l->base, -1, EV_TIMEOUT, on_shutdown_poll, l, &now);
}

static void on_signal(evutil_socket_t sig, short what, void *arg)
{
	struct loop *l = arg;

	(void)what;
	switch (sig) {
	case SIGHUP:
		names_read_files(l);
		roam_forced(l);
		break;
	case SIGUSR1:
		loop_summary(l);
		break;
	default:
		if (l->stopping)
			event_base_loopbreak(l->base);
		log_say(l->log, LOG_INFO, "firezone_gateway", "Received a termination signal");
		loop_stop(l, 0, NULL);
		return;
	}
	loop_settle(l);
}

/* A reply that came after we had given up on it is thrown away, with the descriptors in it; else it
 * is the end of the stream. */
static void on_helper(evutil_socket_t fd, short what, void *arg)
{
	struct loop *l = arg;
	uint8_t late[sizeof(struct ipc_reply)];
	ssize_t n = recv(fd, late, sizeof(late), MSG_DONTWAIT);

	(void)what;
	if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
		return;
	log_say(l->log, LOG_ERROR, "firezone_gateway", "The privileged helper is gone, exiting");
	l->status = 1;
	event_base_loopbreak(l->base);
}

static bool signals_add(struct loop *l)
{
	static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1};

	for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
		l->signals[i] = evsignal_new(l->base, numbers[i], on_signal, l);
		if (!l->signals[i] || evsignal_add(l->signals[i], NULL) < 0)
			return false;
	}
	return true;
}

/* --- start --- */

static bool fail(char *err, size_t err_len, const char *what, int rc)
{
	snprintf(err, err_len, "%s: %s.", what, strerror(-rc));
	return false;
}

/* The buffers of the portal's connection hold the token and keys. */
static void free_wiped(void *p)
{
	if (p)
		sodium_memzero(p, malloc_usable_size(p));
	free(p);
}

static struct event_base *base_new(void)
{
	struct event_config *cfg;
	struct event_base *base = NULL;

	event_set_mem_functions(malloc, realloc, free_wiped);
	cfg = event_config_new();
	if (!cfg)
		return NULL;
	/* A timer descriptor would be one more system call on the list; milliseconds do. */
	if (event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV) == 0)
		base = event_base_new_with_config(cfg);
	event_config_free(cfg);
	return base;
}

/* In doubt, where not all addresses of the host are known, the route tells: it leads to an address
 * of ours from that address. */
static bool is_own_address(void *ctx, const struct ip_addr *ip)
{
	struct loop *l = ctx;
	struct factory_route route;

	if (!l->network || !network_has_address(l->network, ip))
		return false;
	return factory_resolve(l->factory, ip, 0, now_us(), &route) != FACTORY_OK ||
	       ip_eq(&route.source, ip);
}

static bool core_new(struct loop *l)
{
	struct gateway_config gateway = {
	    .max_clients = DEFAULT_MAX_CLIENTS,
	    .unix_us = wall_us(),
	    .rng = rng_system(),
	    .log = l->log,
	    .is_own_address = is_own_address,
	    .own_address_ctx = l,
	};
	struct resolver_config resolver = {.rng = rng_system(), .log = l->log};
	struct factory_config factory = {
	    .lookup = routes_lookup,
	    .ctx = l,
	    .tun_name = IPC_TUN_NAME_DEFAULT,
	    .rng = rng_system(),
	    .log = l->log,
	};

	portal_json_init();
	l->arena = secret_arena_new((size_t)DEFAULT_MAX_CLIENTS * GATEWAY_SECRETS_PER_CLIENT + 64);
	l->txq = txq_new(udp_flush, l);
	l->resolver = resolver_new(&resolver);
	l->factory = factory_new(&factory);
	gateway.arena = l->arena;
	gateway.txq = l->txq;
	gateway.factory = l->factory;
	if (!l->arena || !l->txq || !l->resolver || !l->factory)
		return false;
	l->gateway = gateway_new(&gateway, now_us());
	l->dns = dns_io_new(l);
	l->forward = forward_new(l);
	return l->gateway && l->dns && l->forward;
}

static bool descriptors_open(struct loop *l, const struct boot *boot, char *err, size_t err_len)
{
	int rc = tun_open(l);
	int offloads = rc;

	if (rc < 0)
		return fail(err, err_len, "The TUN device cannot be opened", rc);
	factory_set_tunnel(l->factory, l->tun_ifindex);
	l->coalescer =
	    coalescer_new(MAX_PACKETS, offloads >= 1, offloads >= 2 && !boot->no_udp_coalesce);
	if (!l->coalescer)
		return fail(err, err_len, "Start failed", -ENOMEM);
	rc = routes_open(l);
	if (rc < 0)
		return fail(err, err_len, "The routing sockets cannot be opened", rc);
	l->no_gso = boot->no_gso;
	l->metrics = boot->metrics;
	rc = udp_open_all(l);
	if (rc < 0)
		return fail(err, err_len, "No UDP socket can be opened", rc);
	names_read_files(l);
	dns_io_refill(l->dns);
	roam_watch_servers(l);
	return true;
}

static bool events_add(struct loop *l, int health_fd)
{
	l->timer = evtimer_new(l->base, on_timer, l);
	l->helper_event = event_new(l->base, l->helper.fd, EV_READ | EV_PERSIST, on_helper, l);
	if (!l->timer || !l->helper_event || event_add(l->helper_event, NULL) < 0 ||
	    !signals_add(l))
		return false;
	if (health_fd >= 0) {
		l->health = health_new(l, health_fd);
		if (!l->health)
			return false;
	}
	return true;
}

struct loop *loop_new(const struct loop_config *cfg, char *err, size_t err_len)
{
	struct loop *l = calloc(1, sizeof(*l));

	if (!l) {
		fail(err, err_len, "Start failed", -ENOMEM);
		return NULL;
	}
	l->log = cfg->log;
	l->timer_at_us = NEVER_US;
	l->helper.fd = cfg->helper_fd;
	l->helper.seq = cfg->boot->helper_seq;
	l->timer_at_us = NEVER_US;
	l->tun_fd = l->nl_lookup = l->nl_events = l->udp[0].fd = l->udp[1].fd = -1;
	l->base = base_new();
	if (!l->base || !core_new(l)) {
		fail(err, err_len, "Start failed", -ENOMEM);
		goto free_loop;
	}
	if (portal_open(l, cfg->boot, err, err_len) < 0 ||
	    !descriptors_open(l, cfg->boot, err, err_len))
		goto free_loop;
	if (!events_add(l, cfg->health_fd)) {
		fail(err, err_len, "Start failed", -ENOMEM);
		goto free_loop;
	}
	return l;

free_loop:
	loop_free(l);
	return NULL;
}

int loop_run(struct loop *l)
{
	portal_in(l, PORTAL_IN_START, NULL);
	event_base_dispatch(l->base);
	if (l->status == 0)
		log_say(l->log, LOG_INFO, "firezone_gateway", "Goodbye!");
	return l->status;
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	health_free(l->health);
	portal_close(l);
	forward_free(l->forward);
	dns_io_free(l->dns);
	names_close(l);
	routes_close(l);
	udp_close_all(l);
	if (l->tun_event)
		event_free(l->tun_event);
	if (l->tun_fd >= 0)
		close(l->tun_fd);
	free(l->tun_buffer);
	coalescer_free(l->coalescer);
	gateway_free(l->gateway);
	resolver_free(l->resolver);
	factory_free(l->factory);
	txq_free(l->txq);
	for (size_t i = 0; i < ARRAY_LEN(l->signals); i++)
		if (l->signals[i])
			event_free(l->signals[i]);
	if (l->timer)
		event_free(l->timer);
	if (l->helper_event)
		event_free(l->helper_event);
	if (l->base)
		event_base_free(l->base);
	secret_arena_free(l->arena);
	free(l);
}
