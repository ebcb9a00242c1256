#include "gateway_node.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "world.h"

enum {
	CLOCK_TICK_S = 1,
	MAX_SEND_TRIES = 4,
	SETTLE_ROUNDS = 8,
	COALESCE = 256,
	ARENA_SLOTS = GATEWAY_PLACES * GATEWAY_SECRETS_PER_CLIENT + 32,
	IFINDEX = 2,
	TUN_IFINDEX = 7,
	ROUTE_UNICAST = 1,
	ECHO_US = 3000,        /* how long a resource thinks */
	SAME_TIME_STEPS = 200, /* time-outs at one instant: more is a loop */
};

static uint64_t now(const struct gateway_node *gn)
{
	return gn->world->sim.now_us - gn->slept_us;
}

int64_t gateway_node_wall_us(const struct gateway_node *gn)
{
	return world_wall_us(gn->world) + gn->wall_off_us;
}

bool gateway_node_awake(const struct gateway_node *gn)
{
	return !gn->down && gn->asleep_until_us == 0;
}

/* --- routes --- */

static void flush(struct gateway_node *gn, enum factory_cause cause)
{
	factory_flush(gn->factory, cause);
	roam_flushed(&gn->roam, factory_generation(gn->factory));
}

static void lookup(void *ctx, const struct ip_addr *dst, uint32_t scope, struct factory_lookup *out)
{
	struct gateway_node *gn = ctx;
	enum factory_cause cause;
	unsigned f = dst->family == IP_V6;

	(void)scope;
	roam_generation(&gn->roam, factory_generation(gn->factory), now(gn));
	if (roam_take_flush(&gn->roam, now(gn), &cause))
		flush(gn, cause);
	*out = (struct factory_lookup){.error = ENETUNREACH};
	out->generation = factory_generation(gn->factory);
	if (!net_has(gn->host, dst->family))
		return;
	out->error = 0;
	out->type = ROUTE_UNICAST;
	out->prefsrc = gn->host->address[f];
	out->ifindex = IFINDEX;
}

/* --- sending --- */

struct sending {
	struct gateway_node *gn;
	const struct txq_batch *batch;
};

static int try_send(void *ctx, const struct ip_addr *source, bool uncut)
{
	const struct sending *s = ctx;
	const struct txq_batch *batch = s->batch;
	struct gateway_node *gn = s->gn;
	int rc = 0;

	(void)uncut;
	for (size_t at = 0; at < batch->len && rc == 0; at += batch->segment) {
		struct outgoing out = {
		    .src = {.ip = *source, .port = GATEWAY_PORT},
		    .dst = batch->key.dst,
		    .ecn = batch->key.ecn,
		    .data = batch->data + at,
		    .len = min_size(batch->segment, batch->len - at),
		};

		memory_leave();
		rc = net_send(&gn->world->net, gn->host, &out);
		memory_enter(&gn->memory);
	}
	return -rc;
}

static void source_failed(struct gateway_node *gn, const struct ip_addr *source)
{
	if (!net_has(gn->host, source->family) ||
	    !ip_eq(&gn->host->address[source->family == IP_V6], source))
		gn->dead_local = *source;
}

static void send_out(void *ctx, const struct txq_batch *batch)
{
	struct gateway_node *gn = ctx;
	struct factory_send s = {
	    .dst = batch->key.dst,
	    .source = batch->key.src.ip,
	    .generation = batch->key.generation,
	    .try_send = try_send,
	    .ctx = &(struct sending){.gn = gn, .batch = batch},
	};

	if (factory_send(gn->factory, &s, now(gn)) == FACTORY_REPORT_DEAD)
		source_failed(gn, &s.source);
}

/* --- what the core says --- */

static bool poll_all(struct gateway_node *gn)
{
	struct gateway_output out;
	bool any = false;

	while (gateway_poll(gn->g, &out)) {
		any = true;
		memory_leave();
		if (out.kind == GATEWAY_OUT_PORTAL)
			portal_node_send(&gn->world->portal, &out.u.portal);
		else
			factory_set_tunnel_addresses(gn->factory, &out.u.tun.v4, &out.u.tun.v6);
		memory_enter(&gn->memory);
	}
	return any;
}

static bool dead_settle(struct gateway_node *gn)
{
	struct gateway_input in = {.kind = GATEWAY_IN_LOCAL_DEAD, .u.local_dead = gn->dead_local};

	if (gn->dead_local.family == IP_NONE)
		return false;
	gn->dead_local = (struct ip_addr){.family = IP_NONE};
	gateway_handle(gn->g, &in, now(gn));
	return true;
}

static void settle(struct gateway_node *gn)
{
	bool any = true;

	for (int round = 0; round < SETTLE_ROUNDS && any; round++) {
		any = poll_all(gn);
		txq_flush(gn->txq);
		any = dead_settle(gn) || any;
	}
	memory_leave();
}

static void handle(struct gateway_node *gn, const struct gateway_input *in)
{
	memory_enter(&gn->memory);
	gn->handled++;
	gateway_handle(gn->g, in, now(gn));
	settle(gn);
}

void gateway_node_message(struct gateway_node *gn, const struct portal_msg *msg)
{
	struct gateway_input in = {.kind = GATEWAY_IN_PORTAL_MESSAGE, .u.message = msg};

	handle(gn, &in);
}

void gateway_node_joined(struct gateway_node *gn, bool joined)
{
	struct gateway_input in = {.kind =
				       joined ? GATEWAY_IN_PORTAL_JOINED : GATEWAY_IN_PORTAL_LOST};

	handle(gn, &in);
}

/* --- the tunnel's side --- */

struct echo {
	size_t len;
	struct inner inner;
	uint8_t data[];
};

static void echo(void *ctx, void *data)
{
	struct gateway_node *gn = ctx;
	struct echo *e = data;

	truth_answered(&gn->world->truth, &e->inner, gateway_node_wall_us(gn));
	gateway_node_tun(gn, e->data, e->len);
	free(e);
}

/* A packet for a resource, which answers. */
static void resource_gets(struct gateway_node *gn, uint8_t *packet, size_t len)
{
	struct sim_event event = {.run = echo, .drop = free, .ctx = gn};
	struct inner in;
	struct echo *e;

	if (!truth_reached(&gn->world->truth, packet, len, gateway_node_wall_us(gn), &in))
		return;
	e = calloc(1, sizeof(*e) + IP_INNER_MTU);
	BUG_ON(!e);
	in.reply = true;
	e->inner = in;
	e->len = inner_write(e->data, IP_INNER_MTU, &in);
	event.data = e;
	sim_at(&gn->world->sim, gn->world->sim.now_us + ECHO_US, &event);
}

/* The packets of one write to the TUN, one by one. */
static void write_out(struct gateway_node *gn, const struct tun_write *w)
{
	uint8_t whole[IP_MAX_SUPER], packet[IP_INNER_MTU];
	struct vnet_hdr hdr;
	struct gso_split split;
	enum ip_verdict verdict;
	size_t len = tun_write_gather(w, &hdr, whole, sizeof(whole));

	if (len == 0 || !gso_split_begin(&split, &hdr, whole, len, &verdict)) {
		sim_fail(&gn->world->sim, "the gateway wrote a packet that cannot be cut up");
		return;
	}
	while ((len = gso_split_next_len(&split)) > 0) {
		gso_split_next(&split, packet);
		resource_gets(gn, packet, len);
	}
}

static void tun_flush(struct gateway_node *gn)
{
	struct tun_write w;

	memory_leave();
	while (coalescer_next(gn->tun, &w))
		write_out(gn, &w);
	memory_enter(&gn->memory);
}

void gateway_node_tun(struct gateway_node *gn, uint8_t *data, size_t len)
{
	struct vnet_hdr hdr = {.flags = 0};

	if (!gateway_node_awake(gn))
		return;
	memory_enter(&gn->memory);
	gateway_tun_in(gn->g, &hdr, data, len, now(gn));
	gateway_packets_done(gn->g, now(gn));
	settle(gn);
}

static void receive(void *ctx, struct datagram *d)
{
	struct gateway_node *gn = ctx;
	struct gateway_datagrams in = {
	    .data = d->bytes,
	    .len = d->len,
	    .segment = d->len,
	    .src = d->src,
	    .dst = d->dst,
	    .ecn = d->ecn,
	};

	if (d->dst.port != GATEWAY_PORT || !gateway_node_awake(gn) || d->len == 0)
		return;
	memory_enter(&gn->memory);
	gateway_udp_in(gn->g, &in, 1, gn->tun, now(gn));
	tun_flush(gn);
	gateway_packets_done(gn->g, now(gn));
	settle(gn);
}

/* --- roaming, as loop/roam.c does it --- */

static void compare(struct gateway_node *gn)
{
	struct gateway_input in = {.kind = GATEWAY_IN_ROAM};
	struct gateway_egress e;

	gateway_egress(gn->g, &e, now(gn));
	gn->network_lost = e.lost > 0 && e.kept + e.moved == 0;
	sim_trace(&gn->world->sim, "gateway compares: kept %u moved %u lost %u", e.kept, e.moved,
		  e.lost);
	if (gn->network_lost || e.moved + e.lost == 0)
		return;
	factory_count_roam(gn->factory);
	txq_flush(gn->txq);
	factory_reset(gn->factory, FACTORY_CAUSE_ROAM);
	gateway_handle(gn->g, &in, now(gn));
}

static void roam_timeout(struct gateway_node *gn)
{
	struct roam_due due = roam_take(&gn->roam, now(gn));

	if (due.flush)
		flush(gn, due.cause);
	if (!due.compare)
		return;
	compare(gn);
	roam_compared(&gn->roam, factory_generation(gn->factory));
}

void gateway_node_network_event(struct gateway_node *gn)
{
	gn->event_waits = !gateway_node_awake(gn);
	if (gn->event_waits)
		return;
	memory_enter(&gn->memory);
	roam_event(&gn->roam, FACTORY_CAUSE_ADDRESS, now(gn));
	roam_timeout(gn);
	settle(gn);
}

/* --- time --- */

void gateway_node_sleep(struct gateway_node *gn, uint64_t us)
{
	if (!gateway_node_awake(gn))
		return;
	gn->asleep_until_us = gn->world->sim.now_us + us;
	gn->sleep_us = us;
}

void gateway_node_step_clock(struct gateway_node *gn, int64_t us)
{
	struct gateway_input in = {.kind = GATEWAY_IN_CLOCK};

	gn->wall_off_us += us;
	in.u.wall_us = (uint64_t)gateway_node_wall_us(gn);
	if (gateway_node_awake(gn))
		handle(gn, &in);
}

/* Its monotonic clock stood still; the wall clock went on. */
static void wake(struct gateway_node *gn, uint64_t slept_us)
{
	gn->slept_us += slept_us;
	gn->asleep_until_us = 0;
	gn->clock_at_us = now(gn);
	if (gn->event_waits)
		gateway_node_network_event(gn);
}

uint64_t gateway_node_deadline(const struct gateway_node *gn)
{
	uint64_t at;

	if (gn->down)
		return NEVER_US;
	if (!gateway_node_awake(gn))
		return gn->asleep_until_us;
	at = min_u64(gateway_deadline(gn->g), roam_deadline(&gn->roam));
	return add_us(min_u64(at, gn->clock_at_us), gn->slept_us);
}

static void watch_for_loops(struct gateway_node *gn)
{
	uint64_t at = gn->world->sim.now_us;

	gn->same_time_steps = gn->same_time_us == at ? gn->same_time_steps + 1 : 0;
	gn->same_time_us = at;
	if (gn->same_time_steps > SAME_TIME_STEPS)
		sim_fail(&gn->world->sim, "the gateway's deadline does not move on");
}

void gateway_node_timeout(struct gateway_node *gn)
{
	struct gateway_input in = {.kind = GATEWAY_IN_TIMEOUT};

	if (!gateway_node_awake(gn)) {
		wake(gn, gn->sleep_us);
		return;
	}
	watch_for_loops(gn);
	gn->timeouts++;
	if (gn->clock_at_us <= now(gn)) {
		struct gateway_input clock = {.kind = GATEWAY_IN_CLOCK};

		clock.u.wall_us = (uint64_t)gateway_node_wall_us(gn);
		gn->clock_at_us = now(gn) + CLOCK_TICK_S * US_PER_S;
		handle(gn, &clock);
	}
	if (gateway_deadline(gn->g) <= now(gn))
		handle(gn, &in);
	if (roam_deadline(&gn->roam) <= now(gn)) {
		memory_enter(&gn->memory);
		roam_timeout(gn);
		settle(gn);
	}
}

/* --- life --- */

static void write_line(void *ctx, const char *line, size_t len)
{
	struct gateway_node *gn = ctx;
	struct world *w = gn->world;

	gn->lines++;
	sim_trace(&w->sim, "gateway: %.*s", (int)len - 1, line);
	if (world_tells_secret(w, line, len))
		sim_fail(&w->sim, "a secret stands in the log: %.*s", (int)len - 1, line);
}

static uint64_t wall_for_log(void *ctx)
{
	return (uint64_t)gateway_node_wall_us(ctx);
}

static void core_new(struct gateway_node *gn, uint64_t seed)
{
	struct factory_config factory = {
	    .lookup = lookup, .ctx = gn, .tun_ifindex = TUN_IFINDEX, .tun_name = "tun-firezone"};
	struct gateway_config cfg = {.max_clients = GATEWAY_PLACES};

	factory.rng = rng_from_seed(&gn->factory_seed, seed ^ 1);
	cfg.rng = rng_from_seed(&gn->seed, seed);
	factory.log = cfg.log = gn->log;
	gn->arena = secret_arena_new(ARENA_SLOTS);
	gn->txq = txq_new(send_out, gn);
	gn->tun = coalescer_new(COALESCE, true, true);
	gn->factory = factory_new(&factory);
	cfg.unix_us = (uint64_t)gateway_node_wall_us(gn);
	cfg.arena = gn->arena;
	cfg.txq = gn->txq;
	cfg.factory = gn->factory;
	memory_enter(&gn->memory);
	gn->g = gateway_new(&cfg, now(gn));
	memory_leave();
	BUG_ON(!gn->arena || !gn->txq || !gn->tun || !gn->factory || !gn->g);
	gn->memory_base = gn->memory.bytes;
	gn->slots_base = secret_slots_free(gn->arena);
}

void gateway_node_new(struct gateway_node *gn, struct world *world, struct host *host,
		      uint64_t seed)
{
	struct log_config log = {
	    .filter = world->sim.tracing ? "trace" : "debug",
	    .write = write_line,
	    .wall_us = wall_for_log,
	    .ctx = gn,
	};

	*gn = (struct gateway_node){.world = world, .host = host};
	host->receive = receive;
	host->ctx = gn;
	gn->log = log_new(&log, NULL, 0);
	roam_init(&gn->roam);
	core_new(gn, seed);
	gn->clock_at_us = now(gn);
}

static void core_free(struct gateway_node *gn)
{
	size_t slots;

	memory_enter(&gn->memory);
	gateway_free(gn->g);
	memory_leave();
	gn->g = NULL;
	slots = secret_slots_free(gn->arena);
	if (slots != ARENA_SLOTS)
		sim_fail(&gn->world->sim, "%zu secrets are left behind", ARENA_SLOTS - slots);
	if (gn->memory.bytes != 0)
		sim_fail(&gn->world->sim, "%lld bytes are left behind",
			 (long long)gn->memory.bytes);
	coalescer_free(gn->tun);
	txq_free(gn->txq);
	factory_free(gn->factory);
	log_free(gn->log);
	secret_arena_free(gn->arena);
}

void gateway_node_stop(struct gateway_node *gn, bool says_goodbye)
{
	struct gateway_input in = {.kind = GATEWAY_IN_SHUTDOWN};

	if (says_goodbye && gateway_node_awake(gn))
		handle(gn, &in);
	core_free(gn);
	gn->down = true;
	gn->asleep_until_us = 0;
	portal_node_gateway_gone(&gn->world->portal);
}

void gateway_node_start(struct gateway_node *gn, uint64_t seed)
{
	int64_t off_us = gn->wall_off_us;

	gateway_node_new(gn, gn->world, gn->host, seed);
	gn->wall_off_us = off_us;
	portal_node_join(&gn->world->portal);
}

void gateway_node_free(struct gateway_node *gn)
{
	if (!gn->down)
		core_free(gn);
}
