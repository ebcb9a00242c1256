#include "host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum {
	UNICAST = 1,
	TABLE_MAIN = 254,
	SCOPE_LINK = 253,
};

void host_new(struct host *h)
{
	struct network_config cfg = {.tun_ifindex = WORLD_TUN};
	const struct nl_msg dump[] = {
	    link_msg(NL_NEW_LINK, 1, "lo", HOST_UP),
	    link_msg(NL_NEW_LINK, 2, "eth0", HOST_UP),
	    link_msg(NL_NEW_LINK, WORLD_TUN, "tun-firezone", HOST_UP),
	    address_msg(NL_NEW_ADDR, 2, "192.0.2.10/24", HOST_PERMANENT),
	    address_msg(NL_NEW_ADDR, 2, "2001:db8::10/64", HOST_PERMANENT),
	    address_msg(NL_NEW_ADDR, WORLD_TUN, "100.64.3.9/32", HOST_PERMANENT),
	    address_msg(NL_NEW_ADDR, WORLD_TUN, "fd00:2021:1111::9/128", HOST_PERMANENT),
	};

	memset(h, 0, sizeof(*h));
	world_new(&h->w);
	roam_init(&h->r);
	cfg.factory = h->w.f;
	h->n = network_new(&cfg);
	assert_non_null(h->n);
	network_dump_begin(h->n);
	for (size_t i = 0; i < ARRAY_LEN(dump); i++)
		network_dumped(h->n, &dump[i]);
	network_dump_end(h->n);
}

void host_free(struct host *h)
{
	network_free(h->n);
	world_free(&h->w);
}

struct nl_msg link_msg(enum nl_kind kind, uint32_t ifindex, const char *name, uint32_t flags)
{
	struct nl_msg msg;

	memset(&msg, 0, sizeof(msg));
	msg.kind = kind;
	msg.link.ifindex = ifindex;
	msg.link.flags = flags;
	msg.link.carrier = true;
	strncpy(msg.link.name, name, sizeof(msg.link.name) - 1);
	return msg;
}

/* Splits "address/length"; host bits may be set. */
static struct ip_addr split(const char *text, uint8_t *len)
{
	const char *slash = strchr(text, '/');
	struct ip_addr out;

	assert_non_null(slash);
	assert_true(ip_parse(&out, text, (size_t)(slash - text)));
	*len = 0;
	for (const char *c = slash + 1; *c; c++)
		*len = (uint8_t)(*len * 10 + (*c - '0'));
	return out;
}

struct nl_msg address_msg(enum nl_kind kind, uint32_t ifindex, const char *prefix, uint32_t flags)
{
	struct nl_msg msg;

	memset(&msg, 0, sizeof(msg));
	msg.kind = kind;
	msg.address.ifindex = ifindex;
	msg.address.flags = flags;
	msg.address.addr = split(prefix, &msg.address.prefix_len);
	msg.address.scope = ip_is_link_local(&msg.address.addr) ? SCOPE_LINK : 0;
	return msg;
}

struct nl_msg route_msg(enum nl_kind kind, const char *prefix, uint32_t ifindex, const char *via)
{
	struct nl_msg msg;

	memset(&msg, 0, sizeof(msg));
	msg.kind = kind;
	msg.route.type = UNICAST;
	msg.route.table = TABLE_MAIN;
	msg.route.ifindex = ifindex;
	msg.route.dst.ip = split(prefix, &msg.route.dst.len);
	msg.route.digest = ifindex;
	if (via) {
		msg.route.gateway = ip(via);
		for (size_t i = 0; i < sizeof(msg.route.gateway.bytes); i++)
			msg.route.digest = msg.route.digest * 31 + msg.route.gateway.bytes[i];
	}
	return msg;
}

struct nl_msg rule_msg(enum nl_kind kind, uint32_t priority)
{
	struct nl_msg msg;

	memset(&msg, 0, sizeof(msg));
	msg.kind = kind;
	msg.rule.priority = priority;
	msg.rule.mark = 0xfd002021;
	msg.rule.mask = UINT32_MAX;
	msg.rule.table = 0x2021fd00;
	msg.rule.inverted = true;
	return msg;
}

bool host_counts(struct host *h, struct nl_msg msg)
{
	return network_event(h->n, &msg, &h->cause);
}

static void flush(struct host *h, enum factory_cause cause)
{
	factory_flush(h->w.f, cause);
	roam_flushed(&h->r, factory_generation(h->w.f));
}

bool host_drain(struct host *h, struct nl_msg msg)
{
	bool counts = host_counts(h, msg);
	enum factory_cause cause;

	if (counts)
		roam_event(&h->r, h->cause, h->w.now_us);
	if (roam_take_flush(&h->r, h->w.now_us, &cause))
		flush(h, cause);
	return counts;
}

static void compare(struct host *h)
{
	struct factory_route route;

	for (size_t i = 0; i < h->n_live; i++)
		(void)world_resolve(&h->w, h->live[i], 0, &route);
	h->compared++;
	h->compared_us = h->w.now_us;
	roam_compared(&h->r, factory_generation(h->w.f));
}

void host_run(struct host *h, uint64_t us)
{
	uint64_t end_us = h->w.now_us + us;

	while (roam_deadline(&h->r) <= end_us) {
		uint64_t at_us = roam_deadline(&h->r);
		struct roam_due due;

		if (at_us > h->w.now_us)
			h->w.now_us = at_us;
		due = roam_take(&h->r, h->w.now_us);
		assert_true(due.flush || due.compare);
		if (due.flush)
			flush(h, due.cause);
		if (due.compare)
			compare(h);
	}
	h->w.now_us = end_us;
}

unsigned host_flushes(const struct host *h)
{
	return (unsigned)factory_sum(world_counters(&h->w).flushes, FACTORY_CAUSES);
}
