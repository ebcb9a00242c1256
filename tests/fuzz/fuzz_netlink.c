/*
 * One datagram from the kernel: every message stays inside of it and says only what a message can
 * say. Each route in it is also taken for the answer to a lookup, and what the factory accepts must
 * be a usable source.
 */
#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "base/defs.h"
#include "sockets/factory.h"
#include "sockets/netlink.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum {
	TUN = 9,
	MAX_ERRNO = 4095
};

static void check_ip(const struct ip_addr *ip)
{
	BUG_ON(ip->family != IP_NONE && ip->family != IP_V4 && ip->family != IP_V6);
	for (size_t i = ip_len(ip); i < sizeof(ip->bytes); i++)
		BUG_ON(ip->bytes[i] != 0);
}

static void check_message(const struct nl_msg *msg)
{
	check_ip(&msg->route.prefsrc);
	check_ip(&msg->route.gateway);
	check_ip(&msg->route.dst.ip);
	check_ip(&msg->address.addr);
	BUG_ON(msg->route.dst.len > 8 * ip_len(&msg->route.dst.ip));
	BUG_ON(msg->error < 0 || msg->error > MAX_ERRNO);
	BUG_ON(msg->kind > NL_OTHER);
	BUG_ON(!memchr(msg->link.name, '\0', sizeof(msg->link.name)));
}

static void lookup(void *ctx, const struct ip_addr *dst, uint32_t scope, struct factory_lookup *out)
{
	const struct nl_msg *msg = ctx;

	(void)dst;
	(void)scope;
	*out = (struct factory_lookup){.error = msg->kind == NL_ERROR ? msg->error : EPROTO};
	if (msg->kind != NL_NEW_ROUTE)
		return;
	out->error = 0;
	out->type = msg->route.type;
	out->prefsrc = msg->route.prefsrc;
	out->gateway = msg->route.gateway;
	out->ifindex = msg->route.ifindex;
	out->table = msg->route.table;
}

static void check_lookup(const struct nl_msg *msg, const struct ip_addr *dst)
{
	struct nl_msg copy = *msg;
	struct rng_seeded seed;
	struct factory_config cfg = {
	    .lookup = lookup, .ctx = &copy, .tun_ifindex = TUN, .tun_name = "tun-firezone"};
	struct factory_route route, again;
	struct factory *f;

	cfg.rng = rng_from_seed(&seed, 1);
	f = factory_new(&cfg);
	BUG_ON(!f);
	if (factory_resolve(f, dst, 0, 0, &route) == FACTORY_OK) {
		BUG_ON(route.source.family != dst->family || ip_is_unspecified(&route.source));
		BUG_ON(ip_is_multicast(&route.source) || ip_is_loopback(&route.source));
		BUG_ON(route.ifindex == TUN ||
		       (route.table >= 0x2021fd00 && route.table <= 0x2021fd02));
		BUG_ON(factory_resolve(f, dst, 0, 0, &again) != FACTORY_OK ||
		       !ip_eq(&route.source, &again.source));
	}
	factory_free(f);
}

/* A request is one message of its length and sequence number. */
static void check_request(const struct ip_addr *dst, uint32_t seq)
{
	uint8_t buf[NL_MAX_REQUEST];
	size_t n = nl_write_get_route(buf, sizeof(buf), seq, dst, seq & 7, 0xfd002021), at = 0;
	struct nl_msg msg;
	bool bad;

	BUG_ON(n == 0 || !nl_next(&msg, buf, n, &at, &bad));
	BUG_ON(at != n || msg.kind != NL_OTHER || msg.seq != seq);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const uint8_t public_v4[4] = {203, 0, 113, 5};
	static const uint8_t public_v6[16] = {0x20, 1, 0xd, 0xb8, 5};
	struct ip_addr dst[2] = {ip_v4(public_v4), ip_v6(public_v6)};
	uint8_t untouched[sizeof(struct nl_msg)];
	struct nl_msg msg;
	size_t at = 0, last = 0;
	bool bad = false;

	if (sodium_init() < 0)
		return 0;
	memset(&msg, 0x5a, sizeof(msg));
	memset(untouched, 0x5a, sizeof(untouched));
	for (int i = 0; nl_next(&msg, data, len, &at, &bad); i++) {
		BUG_ON(bad || at <= last || at > len);
		check_message(&msg);
		/* A factory costs more than a message. */
		if (i == 0 && (msg.kind == NL_NEW_ROUTE || msg.kind == NL_ERROR)) {
			check_lookup(&msg, &dst[0]);
			check_lookup(&msg, &dst[1]);
		}
		last = at;
		memset(&msg, 0x5a, sizeof(msg));
	}
	BUG_ON(at != last || (!bad && at != len));
	BUG_ON(memcmp((const uint8_t *)&msg, untouched, sizeof(untouched)) != 0);
	if (len >= 20) {
		dst[0] = ip_v4(data);
		dst[1] = ip_v6(data + 4);
		check_request(&dst[0], (uint32_t)len);
		check_request(&dst[1], (uint32_t)len);
	}
	return 0;
}
