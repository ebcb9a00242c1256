#include <event2/buffer.h>

#include "loop/internal.h"

#define PREFIX "firezone_"

static void head(struct evbuffer *out, const char *name, const char *type)
{
	evbuffer_add_printf(out, "# TYPE " PREFIX "%s %s\n", name, type);
}

static void value(struct evbuffer *out, const char *name, uint64_t v)
{
	evbuffer_add_printf(out, PREFIX "%s %llu\n", name, (unsigned long long)v);
}

static void counter(struct evbuffer *out, const char *name, uint64_t v)
{
	head(out, name, "counter");
	value(out, name, v);
}

static void gauge(struct evbuffer *out, const char *name, uint64_t v)
{
	head(out, name, "gauge");
	value(out, name, v);
}

static void labelled(struct evbuffer *out, const char *name, const char *label, const char *text,
		     uint64_t v)
{
	evbuffer_add_printf(out, PREFIX "%s{%s=\"%s\"} %llu\n", name, label, text,
			    (unsigned long long)v);
}

static void by_cause(struct evbuffer *out, const char *name, const uint64_t *counters)
{
	head(out, name, "counter");
	for (int i = 0; i < FACTORY_CAUSES; i++)
		labelled(out, name, "cause", factory_cause_name((enum factory_cause)i),
			 counters[i]);
}

static void lookup_times(struct evbuffer *out, const struct factory_counters *c)
{
	static const char name[] = "source_cache_lookup_duration_microseconds";
	uint64_t sum = 0;

	head(out, name, "histogram");
	for (size_t i = 0; i < FACTORY_TOOK_BUCKETS; i++) {
		sum += c->took[i];
		if (i < FACTORY_TOOK_BUCKETS - 1)
			evbuffer_add_printf(out, PREFIX "%s_bucket{le=\"%u\"} %llu\n", name,
					    factory_took_bounds_us[i], (unsigned long long)sum);
	}
	evbuffer_add_printf(out, PREFIX "%s_bucket{le=\"+Inf\"} %llu\n", name,
			    (unsigned long long)sum);
	evbuffer_add_printf(out, PREFIX "%s_sum %llu\n", name, (unsigned long long)c->took_sum_us);
	evbuffer_add_printf(out, PREFIX "%s_count %llu\n", name, (unsigned long long)sum);
}

/* [spec socket-factory 4.9] */
static void source_cache(struct loop *l, struct evbuffer *out)
{
	struct factory_counters c;

	factory_counters(l->factory, &c);
	head(out, "source_cache_lookups_total", "counter");
	labelled(out, "source_cache_lookups_total", "result", "hit", c.hits);
	labelled(out, "source_cache_lookups_total", "result", "miss", c.misses);
	labelled(out, "source_cache_lookups_total", "result", "negative", c.negative_hits);
	head(out, "source_cache_refused_total", "counter");
	for (int i = FACTORY_OK + 1; i < FACTORY_REFUSALS; i++)
		labelled(out, "source_cache_refused_total", "reason",
			 factory_refusal_name((enum factory_refusal)i), c.refused[i]);
	by_cause(out, "source_cache_resets_total", c.resets);
	by_cause(out, "source_cache_flushes_total", c.flushes);
	by_cause(out, "source_cache_invalidations_total", c.invalidations);
	counter(out, "source_cache_evictions_total", c.evictions);
	counter(out, "source_cache_stale_discards_total", c.stale_discards);
	counter(out, "source_cache_event_overruns_total", c.event_overruns);
	counter(out, "source_cache_rechecks_total", c.rechecks);
	counter(out, "roams_total", c.roams);
	gauge(out, "source_cache_entries", c.entries);
	gauge(out, "source_cache_negative_entries", c.negatives);
	gauge(out, "source_cache_generation", c.generation);
	lookup_times(out, &c);
}

static void paths(struct loop *l, struct evbuffer *out)
{
	struct gateway_snapshot g;

	gateway_snapshot(l->gateway, &g);
	gauge(out, "portal_joined", portal_channel_joined(l->portal.channel));
	gauge(out, "clients", g.clients);
	gauge(out, "authorizations", g.grants);
	gauge(out, "connections", g.connections);
	head(out, "connected", "gauge");
	labelled(out, "connected", "path", "direct", g.direct);
	labelled(out, "connected", "path", "relayed", g.relayed);
	gauge(out, "connections_idle", g.idle);
	gauge(out, "relays", g.relays);
	gauge(out, "relays_ready", g.relays_ready);
	head(out, "packets_total", "counter");
	labelled(out, "packets_total", "direction", "to_tun", g.to_tun_packets);
	labelled(out, "packets_total", "direction", "from_tun", g.from_tun_packets);
	counter(out, "packets_dropped_total", g.drops);
	gauge(out, "packets_held", g.held);
	head(out, "datagrams_refused_total", "counter");
	for (int i = 0; i < GATEWAY_DROPS; i++)
		labelled(out, "datagrams_refused_total", "reason",
			 gateway_drop_name((enum gateway_drop)i), g.dropped[i]);
	head(out, "handshakes_total", "counter");
	labelled(out, "handshakes_total", "result", "ok", g.handshakes_ok);
	labelled(out, "handshakes_total", "result", "refused", g.handshakes_refused);
}

static void forwarder(struct loop *l, struct evbuffer *out)
{
	struct forwarder_counters c;

	forward_counters(l, &c);
	head(out, "dns_forwarder_queries_total", "counter");
	labelled(out, "dns_forwarder_queries_total", "transport", "udp", c.udp_queries);
	labelled(out, "dns_forwarder_queries_total", "transport", "tcp", c.tcp_queries);
	head(out, "dns_forwarder_dropped_total", "counter");
	labelled(out, "dns_forwarder_dropped_total", "reason", "malformed", c.malformed);
	labelled(out, "dns_forwarder_dropped_total", "reason", "rate", c.over_rate);
	labelled(out, "dns_forwarder_dropped_total", "reason", "limit", c.over_limit);
	labelled(out, "dns_forwarder_dropped_total", "reason", "connections",
		 c.connections_refused);
	counter(out, "dns_forwarder_answers_total", c.answers);
	counter(out, "dns_forwarder_truncated_total", c.truncated);
	counter(out, "dns_forwarder_servfails_total", c.servfails);
	counter(out, "dns_forwarder_stray_total", c.stray);
	gauge(out, "dns_forwarder_outstanding", c.outstanding);
	gauge(out, "dns_forwarder_connections", c.connections);
}

static void sockets(struct loop *l, struct evbuffer *out)
{
	counter(out, "udp_receive_calls_total", l->rx_calls);
	counter(out, "udp_send_calls_total", l->tx_calls);
	counter(out, "udp_datagrams_sent_total", l->tx_datagrams);
	counter(out, "udp_bytes_sent_total", l->tx_bytes);
	counter(out, "udp_datagrams_dropped_total", l->tx_dropped);
	counter(out, "tun_reads_total", l->tun_reads);
	counter(out, "tun_writes_total", l->tun_writes);
	counter(out, "tun_write_errors_total", l->tun_write_errors);
}

void metrics_write(struct loop *l, struct evbuffer *out)
{
	source_cache(l, out);
	paths(l, out);
	forwarder(l, out);
	sockets(l, out);
}
