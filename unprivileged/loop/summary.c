#include "loop/internal.h"

static int64_t times_ten(uint64_t sum, uint64_t n)
{
	return n > 0 ? (int64_t)(sum * 10 / n) : 0;
}

/* SIGUSR1: what an operator asks for first, in one line. No secrets, no addresses. */
void loop_summary(struct loop *l)
{
	struct gateway_snapshot g;
	struct factory_counters f;
	struct txq_counters t;

	gateway_snapshot(l->gateway, &g);
	factory_counters(l->factory, &f);
	txq_counters(l->txq, &t);
	log_at(l->log, LOG_INFO, "firezone_gateway", "state summary",
	       KV_INT("portal_joined", portal_channel_joined(l->portal.channel)),
	       KV_INT("clients", g.clients), KV_INT("grants", g.grants),
	       KV_INT("connections", g.connections), KV_INT("connected", g.connected),
	       KV_INT("direct", g.direct), KV_INT("relayed", g.relayed), KV_INT("relays", g.relays),
	       KV_INT("relays_ready", g.relays_ready), KV_INT("to_tun_packets", g.to_tun_packets),
	       KV_INT("from_tun_packets", g.from_tun_packets), KV_INT("packets_dropped", g.drops),
	       KV_INT("handshakes_ok", g.handshakes_ok),
	       KV_INT("handshakes_refused", g.handshakes_refused),
	       KV_INT("open_refused", g.open_refused), KV_INT("seal_refused", g.seal_refused),
	       KV_INT("source_cache.hits", f.hits), KV_INT("source_cache.misses", f.misses),
	       KV_INT("source_cache.negative", f.negative_hits),
	       KV_INT("source_cache.refused", factory_sum(f.refused, FACTORY_REFUSALS)),
	       KV_INT("source_cache.resets", factory_sum(f.resets, FACTORY_CAUSES)),
	       KV_INT("source_cache.flushes", factory_sum(f.flushes, FACTORY_CAUSES)),
	       KV_INT("source_cache.invalidations", factory_sum(f.invalidations, FACTORY_CAUSES)),
	       KV_INT("source_cache.event_overruns", f.event_overruns), KV_INT("roams", f.roams),
	       KV_INT("source_cache.evictions", f.evictions),
	       KV_INT("source_cache.stale_discards", f.stale_discards),
	       KV_INT("source_cache.entries", f.entries),
	       KV_INT("source_cache.generation", f.generation),
	       KV_INT("udp_receive_calls", l->rx_calls), KV_INT("udp_send_calls", l->tx_calls),
	       KV_INT("udp_dropped", l->tx_dropped), KV_INT("tun_reads", l->tun_reads),
	       KV_INT("tun_writes", l->tun_writes), KV_INT("tun_write_errors", l->tun_write_errors),
	       KV_INT("segments_per_udp_send_x10", times_ten(l->tx_datagrams, l->tx_calls)),
	       KV_INT("segments_per_tun_write_x10", times_ten(l->tun_write_packets, l->tun_writes)),
	       KV_INT("segments_per_recvmmsg_x10", times_ten(g.udp_datagrams, l->rx_calls)));
}
