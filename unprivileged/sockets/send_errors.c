#include <errno.h>

#include "sockets/internal.h"

static uint32_t scope_of(const struct endpoint *dst, const struct ip_addr *unmapped)
{
	return factory_needs_scope(unmapped) ? dst->scope : 0;
}

static void negative(struct factory *f, const struct endpoint *dst, int error, uint64_t now_us)
{
	struct ip_addr to = ip_unmap(&dst->ip);

	factory_refuse(f, &to, scope_of(dst, &to), FACTORY_NO_ROUTE, error, now_us);
}

/* One destination's stale source makes all of them suspect; not more than once in a while. */
static void recheck_all(struct factory *f, uint64_t now_us)
{
	if (f->counters.rechecks > 0 &&
	    now_us - f->last_recheck_us < FACTORY_RECHECK_MS * US_PER_MS)
		return;
	f->last_recheck_us = now_us;
	f->counters.rechecks++;
	factory_flush(f, FACTORY_CAUSE_SEND_ERROR);
}

/* True if a lookup after an earlier error said just now what is in the cache: another one would be
 * one lookup per error. */
static bool confirmed_lately(struct factory *f, const struct endpoint *dst, uint64_t now_us)
{
	struct ip_addr to = ip_unmap(&dst->ip);
	const struct factory_entry *e = factory_find(f, &to, scope_of(dst, &to));

	return e && !e->negative && e->route.generation == f->generation && e->confirmed_us != 0 &&
	       now_us - e->confirmed_us < FACTORY_RECHECK_MS * US_PER_MS;
}

/* Forget the source of a failed send and look again. */
static enum factory_refusal other_source(struct factory *f, const struct endpoint *dst,
					 const struct factory_route *used, uint64_t now_us,
					 struct factory_route *out)
{
	struct ip_addr to = ip_unmap(&dst->ip), was = used->source;
	uint32_t scope = scope_of(dst, &to);
	enum factory_refusal why;
	struct factory_entry *e;

	factory_invalidate(f, &to, used->generation, FACTORY_CAUSE_SEND_ERROR);
	recheck_all(f, now_us);
	why = factory_resolve(f, &to, scope, now_us, out);
	e = factory_find(f, &to, scope);
	if (why == FACTORY_OK && e && ip_eq(&out->source, &was))
		e->confirmed_us = now_us;
	return why;
}

static enum factory_action source_failed(struct factory *f, const struct factory_send_error *e,
					 uint64_t now_us, struct factory_route *out)
{
	struct ip_addr was = e->route.source; /* *out may be the same object as e->route */

	if (e->fixed_source)
		return FACTORY_REPORT_DEAD;
	if (!e->retried_source && !confirmed_lately(f, &e->dst, now_us)) {
		if (other_source(f, &e->dst, &e->route, now_us, out) != FACTORY_OK)
			return FACTORY_DROP;
		if (!ip_eq(&out->source, &was))
			return FACTORY_RETRY_SOURCE;
	}
	if (e->error == EINVAL && e->used_gso && !e->retried_gso)
		return FACTORY_RETRY_UNCUT;
	if (e->error != EINVAL)
		negative(f, &e->dst, e->error, now_us);
	return FACTORY_DROP;
}

enum factory_action factory_send_failed(struct factory *f, const struct factory_send_error *e,
					uint64_t now_us, struct factory_route *out)
{
	switch (e->error) {
	case EINVAL:
	case EADDRNOTAVAIL:
	case ENODEV:
	case ENETUNREACH:
		return source_failed(f, e, now_us, out);
	case EHOSTUNREACH:
	case EACCES:
	case EPERM:
		if (!e->fixed_source)
			negative(f, &e->dst, e->error, now_us);
		return FACTORY_DROP;
	case EIO:
		return e->retried_gso ? FACTORY_DROP : FACTORY_RETRY_UNCUT;
	case EAGAIN:
		return FACTORY_WAIT;
	default: /* EMSGSIZE, ENOBUFS and whatever else loses this datagram only */
		return FACTORY_DROP;
	}
}

/* False if there is no way out. */
static bool choose_source(struct factory *f, const struct factory_send *s,
			  struct factory_send_error *e, uint64_t now_us)
{
	bool chosen = s->source.family != IP_NONE;

	e->fixed_source = chosen && s->generation == 0;
	e->route.source = s->source;
	e->route.generation = s->generation;
	return (chosen && (e->fixed_source || s->generation == f->generation)) ||
	       factory_resolve(f, &s->dst.ip, s->dst.scope, now_us, &e->route) == FACTORY_OK;
}

enum factory_action factory_send(struct factory *f, struct factory_send *s, uint64_t now_us)
{
	struct factory_send_error e = {.dst = s->dst, .used_gso = s->gso};
	enum factory_action action;

	s->error = 0;
	s->uncut = false;
	if (!choose_source(f, s, &e, now_us))
		return FACTORY_DROP;
	for (;;) {
		s->source = e.route.source;
		e.error = -s->try_send(s->ctx, &s->source, s->uncut);
		if (e.error == 0)
			return FACTORY_SENT;
		s->error = e.error;
		action = factory_send_failed(f, &e, now_us, &e.route);
		if (action == FACTORY_RETRY_SOURCE)
			e.retried_source = true;
		else if (action == FACTORY_RETRY_UNCUT)
			e.retried_gso = s->uncut = true;
		else
			return action;
	}
}
