#include "sockets/internal.h"

const uint32_t factory_took_bounds_us[FACTORY_TOOK_BUCKETS - 1] = {2, 5, 10, 25, 50, 100, 1000};

const char *factory_refusal_name(enum factory_refusal why)
{
	static const char *const names[FACTORY_REFUSALS] = {
	    [FACTORY_OK] = "ok",
	    [FACTORY_NO_ROUTE] = "no-route",
	    [FACTORY_VIA_TUNNEL] = "via-tunnel",
	    [FACTORY_NO_SOURCE] = "no-source",
	    [FACTORY_SCOPE_MISSING] = "scope-missing",
	    [FACTORY_LOOKUP_FAILED] = "lookup-failed",
	    [FACTORY_MOVED] = "moved",
	};

	return names[why];
}

const char *factory_cause_name(enum factory_cause cause)
{
	static const char *const names[FACTORY_CAUSES] = {
	    [FACTORY_CAUSE_ROUTE] = "route",         [FACTORY_CAUSE_ADDRESS] = "address",
	    [FACTORY_CAUSE_LINK] = "link",           [FACTORY_CAUSE_RULE] = "rule",
	    [FACTORY_CAUSE_NEXTHOP] = "nexthop",     [FACTORY_CAUSE_OVERRUN] = "overrun",
	    [FACTORY_CAUSE_NO_EVENTS] = "no-events", [FACTORY_CAUSE_SEND_ERROR] = "send-error",
	    [FACTORY_CAUSE_ROAM] = "roam",           [FACTORY_CAUSE_SIGHUP] = "SIGHUP",
	    [FACTORY_CAUSE_OPERATOR] = "operator",
	};

	return names[cause];
}

void factory_say_resolved(const struct factory *f, const struct ip_addr *dst,
			  const struct factory_lookup *found)
{
	char src[IP_TEXT_MAX], to[IP_TEXT_MAX], gateway[IP_TEXT_MAX];

	ip_format(&found->prefsrc, src);
	ip_format(dst, to);
	ip_format(&found->gateway, gateway);
	log_at(f->cfg.log, LOG_DEBUG, "socket_factory",
	       "Resolved best route outside of tunnel interface", KV_STR("src", src),
	       KV_STR("dst", to), KV_INT("ifindex", found->ifindex), KV_STR("gateway", gateway),
	       KV_INT("table", found->table), KV_INT("generation", f->generation),
	       KV_INT("took_us", found->took_us));
}

void factory_say_refused(const struct factory *f, const struct ip_addr *dst,
			 enum factory_refusal why, int error)
{
	char to[IP_TEXT_MAX];

	ip_format(dst, to);
	log_at(f->cfg.log, LOG_DEBUG, "socket_factory", "No usable route outside of tunnel",
	       KV_STR("dst", to), KV_STR("reason", factory_refusal_name(why)),
	       KV_INT("errno", error));
}

/* One line in half a second, with the number of those that were not said. */
void factory_say_flush(struct factory *f, enum factory_cause cause)
{
	enum {
		QUIET_MS = 500
	};

	if (f->flush_said_us != 0 && f->seen_us - f->flush_said_us < QUIET_MS * US_PER_MS) {
		f->flushes_unsaid++;
		return;
	}
	log_at(f->cfg.log, LOG_DEBUG, "socket_factory", "Source cache flushed",
	       KV_STR("cause", factory_cause_name(cause)), KV_INT("entries", f->n_live),
	       KV_INT("generation", f->generation), KV_INT("suppressed", f->flushes_unsaid));
	f->flush_said_us = f->seen_us;
	f->flushes_unsaid = 0;
}

void factory_say_reset(const struct factory *f, enum factory_cause cause)
{
	log_at(f->cfg.log, LOG_DEBUG, "socket_factory", "Source cache reset",
	       KV_STR("reason", factory_cause_name(cause)), KV_INT("entries", f->n_live),
	       KV_INT("generation", f->generation));
}

void factory_count_took(struct factory *f, uint64_t took_us)
{
	size_t i = 0;

	while (i < FACTORY_TOOK_BUCKETS - 1 && took_us > factory_took_bounds_us[i])
		i++;
	f->counters.took[i]++;
	f->counters.took_sum_us += took_us;
}

void factory_counters(const struct factory *f, struct factory_counters *out)
{
	*out = f->counters;
	out->generation = f->generation;
	out->entries = f->n_live;
	out->negatives = f->n_negative;
}

uint64_t factory_sum(const uint64_t *counters, size_t n)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += counters[i];
	return sum;
}

void factory_count_overrun(struct factory *f)
{
	f->counters.event_overruns++;
}

void factory_count_roam(struct factory *f)
{
	f->counters.roams++;
}

void factory_count_hits(struct factory *f, uint64_t n)
{
	f->counters.hits += n;
}
