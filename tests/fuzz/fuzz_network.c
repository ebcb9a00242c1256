/*
 * Datagrams of the kernel's event socket and of its dumps, in any order, against a naive memory of
 * addresses: the tables stay bounded, what is ours or said again does not count, a public source is
 * one that the interface has, and no second has more flushes than it may.
 *
 * The input is a list of {operation, length (one byte each), bytes}.
 */
#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "packet/bytes.h"
#include "sockets/network.h"
#include "sockets/roam.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum {
	TUN = 9,
	MAX_KNOWN = 512,
	MAX_FLUSHES = 64,
	TEMPORARY = 0x01,
	UNUSABLE = 0x01 | 0x08 | 0x20 | 0x40,
	DEPRECATED = 0x20,
	FILL_INDEX = 100000,
};

enum operation {
	OP_EVENTS,
	OP_EVENTS_TOO, /* most of what is tried should be events */
	OP_DUMP,
	OP_RESOLVE,
	OP_WAIT,
	OP_FILL,
	OPERATIONS
};

struct known {
	struct ip_addr ip;
	uint32_t ifindex, flags;
	uint8_t prefix_len, scope;
};

struct world {
	struct network *n;
	struct factory *f;
	struct roam r;
	struct known known[MAX_KNOWN];
	size_t n_known;
	bool vague; /* the memory or the tables are full: what is known is not all there is */
	bool tun_gone, filled;
	uint64_t now_us;
	uint64_t flushed_us[MAX_FLUSHES];
	size_t flushes;
};

/* --- the memory --- */

static struct known *known_find(struct world *w, const struct nl_msg *msg)
{
	for (size_t i = 0; i < w->n_known; i++) {
		struct known *k = &w->known[i];

		if (k->ifindex == msg->address.ifindex &&
		    k->prefix_len == msg->address.prefix_len && ip_eq(&k->ip, &msg->address.addr))
			return k;
	}
	return NULL;
}

static void remember(struct world *w, const struct nl_msg *msg)
{
	struct known *k = known_find(w, msg);

	if (!k && w->n_known == MAX_KNOWN) {
		w->vague = true;
		return;
	}
	if (!k)
		k = &w->known[w->n_known++];
	*k = (struct known){.ip = msg->address.addr,
			    .ifindex = msg->address.ifindex,
			    .flags = msg->address.flags,
			    .prefix_len = msg->address.prefix_len,
			    .scope = msg->address.scope};
}

static void forget(struct world *w, const struct nl_msg *msg)
{
	for (size_t i = w->n_known; i-- > 0;) {
		struct known *k = &w->known[i];
		bool gone = msg->kind == NL_DEL_LINK ? k->ifindex == msg->link.ifindex
						     : k == known_find(w, msg);

		if (gone)
			*k = w->known[--w->n_known];
	}
}

static void follow(struct world *w, const struct nl_msg *msg)
{
	if (msg->kind == NL_NEW_ADDR)
		remember(w, msg);
	else if (msg->kind == NL_DEL_ADDR || msg->kind == NL_DEL_LINK)
		forget(w, msg);
	if (msg->kind == NL_DEL_LINK && msg->link.ifindex == TUN)
		w->tun_gone = true;
}

/* --- what must hold --- */

static void check_source(struct world *w, uint32_t ifindex, const struct ip_addr *from)
{
	struct ip_addr got = *from;
	const struct known *was = NULL, *is = NULL;

	network_prefer_public(w->n, ifindex, &got);
	if (ip_eq(&got, from))
		return;
	for (size_t i = 0; i < w->n_known; i++) {
		const struct known *k = &w->known[i];

		if (k->ifindex != ifindex)
			continue;
		if (ip_eq(&k->ip, from) && (k->flags & (TEMPORARY | DEPRECATED)) != 0)
			was = k;
		if (ip_eq(&k->ip, &got) && (k->flags & UNUSABLE) == 0)
			is = k;
	}
	BUG_ON(!is || !was);
	BUG_ON(got.family != IP_V6 || from->family != IP_V6);
}

static void check_addresses(struct world *w)
{
	for (size_t i = 0; !w->vague && i < w->n_known; i++) {
		BUG_ON(!network_has_address(w->n, &w->known[i].ip));
		check_source(w, w->known[i].ifindex, &w->known[i].ip);
	}
}

static bool is_own(const struct world *w, const struct nl_msg *msg)
{
	switch (msg->kind) {
	case NL_NEW_LINK:
	case NL_DEL_LINK:
		return !w->tun_gone && msg->link.ifindex == TUN;
	case NL_NEW_ADDR:
	case NL_DEL_ADDR:
		return !w->tun_gone && msg->address.ifindex == TUN;
	case NL_NEW_ROUTE:
	case NL_DEL_ROUTE:
		return (!w->tun_gone && msg->route.ifindex == TUN) ||
		       (msg->route.table >= 0x2021fd00 && msg->route.table <= 0x2021fd02);
	case NL_ERROR:
	case NL_DONE:
	case NL_OTHER:
		return true;
	case NL_NEW_RULE:
	case NL_DEL_RULE:
	case NL_NEXTHOP:
		break;
	}
	return false;
}

static void flush(struct world *w, enum factory_cause cause)
{
	BUG_ON(cause >= FACTORY_CAUSES);
	if (w->flushes >= ROAM_MAX_FLUSHES && w->flushes < MAX_FLUSHES)
		BUG_ON(w->now_us - w->flushed_us[w->flushes - ROAM_MAX_FLUSHES] < US_PER_S / 2);
	if (w->flushes < MAX_FLUSHES)
		w->flushed_us[w->flushes++] = w->now_us;
	factory_flush(w->f, cause);
	roam_flushed(&w->r, factory_generation(w->f));
}

static bool take_event(struct world *w, const struct nl_msg *msg, enum factory_cause *cause)
{
	bool own = is_own(w, msg);
	enum factory_cause before = *cause;
	bool counts = network_event(w->n, msg, cause);

	follow(w, msg);
	BUG_ON(own && counts);
	BUG_ON(!counts && *cause != before);
	BUG_ON(!own && !counts &&
	       (msg->kind == NL_DEL_LINK || msg->kind == NL_DEL_ADDR || msg->kind == NL_NEXTHOP));
	if (!w->vague && (msg->kind == NL_NEW_LINK || msg->kind == NL_NEW_ADDR))
		BUG_ON(network_event(w->n, msg, cause));
	return counts;
}

/* --- operations --- */

static void events(struct world *w, const uint8_t *data, size_t len)
{
	enum factory_cause cause = FACTORY_CAUSE_OPERATOR;
	struct nl_msg msg;
	size_t at = 0;
	bool bad = false, counts = false;

	while (nl_next(&msg, data, len, &at, &bad))
		counts = take_event(w, &msg, &cause) || counts;
	if (counts || bad)
		roam_event(&w->r, bad ? FACTORY_CAUSE_OVERRUN : cause, w->now_us);
	if (roam_take_flush(&w->r, w->now_us, &cause))
		flush(w, cause);
	check_addresses(w);
}

static void dump(struct world *w, const uint8_t *data, size_t len)
{
	struct nl_msg msg;
	size_t at = 0;
	bool bad = false;

	network_dump_begin(w->n);
	w->n_known = 0;
	w->vague = false;
	while (nl_next(&msg, data, len, &at, &bad)) {
		network_dumped(w->n, &msg);
		if (msg.kind == NL_NEW_ADDR)
			remember(w, &msg);
	}
	network_dump_end(w->n);
	check_addresses(w);
}

/* The interface and its source are the input's. */
static void lookup(void *ctx, const struct ip_addr *dst, uint32_t scope, struct factory_lookup *out)
{
	struct world *w = ctx;
	const struct known *k = w->n_known > 0 ? &w->known[scope % w->n_known] : NULL;

	(void)dst;
	*out = (struct factory_lookup){.error = ENETUNREACH};
	if (!k)
		return;
	*out = (struct factory_lookup){
	    .type = 1, .prefsrc = k->ip, .ifindex = k->ifindex, .table = 254};
	memcpy(out->ifname, network_link_name(w->n, k->ifindex),
	       strlen(network_link_name(w->n, k->ifindex)));
	network_prefer_public(w->n, out->ifindex, &out->prefsrc);
}

static void resolve(struct world *w, const uint8_t *data, size_t len)
{
	struct ip_addr dst = {.family = IP_NONE};
	struct factory_route route;
	struct ip_prefix all = {.ip.family = IP_V4};

	if (len == 4)
		dst = ip_v4(data);
	else if (len >= 16)
		dst = ip_v6(data);
	else
		return;
	roam_generation(&w->r, factory_generation(w->f), w->now_us);
	if (factory_resolve(w->f, &dst, 1, w->now_us, &route) != FACTORY_OK)
		return;
	dst = ip_unmap(&dst);
	all.ip.family = dst.family;
	BUG_ON(!factory_covers(w->f, &all) || !factory_uses_source(w->f, &route.source));
}

static void wait_for(struct world *w, uint64_t us)
{
	struct roam_due due;

	w->now_us += us;
	due = roam_take(&w->r, w->now_us);
	if (due.flush)
		flush(w, due.cause);
	if (due.compare)
		roam_compared(&w->r, factory_generation(w->f));
	BUG_ON(roam_deadline(&w->r) <= w->now_us);
}

/* More of both kinds than there is room for; once, for it takes its time. */
static void fill(struct world *w)
{
	enum factory_cause cause;
	struct nl_msg msg;

	if (w->filled)
		return;
	w->filled = w->vague = true;
	memset(&msg, 0, sizeof(msg));
	for (uint32_t i = 0; i <= NETWORK_MAX_ADDRESSES; i++) {
		msg.kind = NL_NEW_ADDR;
		msg.address.ifindex = FILL_INDEX + i;
		msg.address.addr.family = IP_V4;
		memcpy(msg.address.addr.bytes, &i, sizeof(i));
		(void)network_event(w->n, &msg, &cause);
		msg.kind = NL_NEW_LINK;
		msg.link.ifindex = FILL_INDEX + i;
		memcpy(msg.link.name, "veth", 5);
		BUG_ON(!network_event(w->n, &msg, &cause) && i >= NETWORK_MAX_LINKS);
	}
}

static void operate(struct world *w, uint8_t operation, const uint8_t *data, size_t len)
{
	switch ((enum operation)(operation % OPERATIONS)) {
	case OP_EVENTS:
	case OP_EVENTS_TOO:
		events(w, data, len);
		break;
	case OP_DUMP:
		dump(w, data, len);
		break;
	case OP_RESOLVE:
		resolve(w, data, len);
		break;
	case OP_WAIT:
		wait_for(w, (uint64_t)len * 10 * US_PER_MS);
		break;
	case OP_FILL:
		if (len == 1) /* seldom: it costs more than all the others */
			fill(w);
		break;
	case OPERATIONS:
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct world w;
	struct reader r = reader_of(data, len);
	struct rng_seeded seed;
	struct factory_config factory = {
	    .lookup = lookup, .ctx = &w, .tun_ifindex = TUN, .tun_name = "tun-firezone"};
	struct network_config network = {.tun_ifindex = TUN};

	if (sodium_init() < 0)
		return 0;
	memset(&w, 0, sizeof(w));
	factory.rng = rng_from_seed(&seed, 1);
	w.now_us = US_PER_S;
	w.f = factory_new(&factory);
	network.factory = w.f;
	w.n = network_new(&network);
	BUG_ON(!w.f || !w.n);
	roam_init(&w.r);
	while (r.left >= 2) {
		uint8_t operation = rd_u8(&r);
		size_t n = rd_u8(&r);
		const uint8_t *bytes;

		n = min_size(n, r.left);
		bytes = rd_bytes(&r, n);
		operate(&w, operation, bytes, n);
	}
	network_free(w.n);
	factory_free(w.f);
	return 0;
}
