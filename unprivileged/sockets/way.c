#include "sockets/way.h"

static bool look_up(struct factory *f, const struct endpoint *dst, uint64_t now_us,
		    struct factory_route *out)
{
	return dst->ip.family != IP_NONE &&
	       factory_resolve(f, &dst->ip, dst->scope, now_us, out) == FACTORY_OK;
}

void way_watch(struct way *w, struct factory *f, const struct endpoint *dst, uint64_t now_us)
{
	*w = (struct way){.out = false};
	w->out = look_up(f, dst, now_us, &w->route);
}

static enum way_change change_of(const struct way *w, bool out)
{
	if (!out)
		return w->out ? WAY_LOST : WAY_NONE;
	if (w->out && !w->dead && ip_eq(&w->found.source, &w->route.source))
		return WAY_KEPT;
	return WAY_MOVED;
}

enum way_change way_compare(struct way *w, struct factory *f, const struct endpoint *dst,
			    uint64_t now_us)
{
	w->change = change_of(w, look_up(f, dst, now_us, &w->found));
	w->rerouted = false;
	if (w->change == WAY_KEPT) {
		w->rerouted = w->found.ifindex != w->route.ifindex ||
			      !ip_eq(&w->found.gateway, &w->route.gateway);
		w->route = w->found;
	}
	return w->change;
}

bool way_settle(struct way *w)
{
	if (w->change != WAY_MOVED && w->change != WAY_LOST)
		return false;
	w->out = w->change == WAY_MOVED;
	w->dead = false;
	if (w->out)
		w->route = w->found;
	return true;
}
