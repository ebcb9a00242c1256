/* Which events of the kernel's concern the cache, and which source an interface offers. The numbers
 * are those of the socket factory's list of tests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>

#include "host.h"

enum {
	TABLE_LOCAL = 255
};

/* --- interfaces --- */

static void t12_index_that_another_device_got_is_looked_up_again(void **state)
{
	struct host h;

	(void)state;
	host_new(&h);
	assert_true(host_drain(&h, link_msg(NL_NEW_LINK, 7, "eth7", HOST_UP)));
	h.w.v4 = way("198.51.100.7", 7, "eth7");
	world_expect(&h.w, "203.0.113.5", "198.51.100.7");
	assert_true(host_drain(&h, link_msg(NL_DEL_LINK, 7, "eth7", 0)));
	assert_string_equal(network_link_name(h.n, 7), "");
	assert_true(host_drain(&h, link_msg(NL_NEW_LINK, 7, "wlan0", HOST_UP)));
	assert_string_equal(network_link_name(h.n, 7), "wlan0");
	h.w.v4 = way("198.51.100.9", 7, "wlan0");
	world_expect(&h.w, "203.0.113.5", "198.51.100.9");
	assert_int_equal(h.w.lookups, 2);
	host_free(&h);
}

/* The loss of the old one was not heard. */
static void t12_index_under_another_name_is_another_device(void **state)
{
	struct host h;

	(void)state;
	host_new(&h);
	assert_true(host_counts(&h, link_msg(NL_NEW_LINK, 2, "wlan0", HOST_UP)));
	assert_false(host_counts(&h, link_msg(NL_NEW_LINK, 2, "wlan0", HOST_UP)));
	host_free(&h);
}

static void t12_addresses_go_with_their_device(void **state)
{
	struct ip_addr gone = ip("192.0.2.10"), kept = ip("100.64.3.9");
	struct host h;

	(void)state;
	host_new(&h);
	assert_true(network_has_address(h.n, &gone));
	assert_true(host_counts(&h, link_msg(NL_DEL_LINK, 2, "eth0", 0)));
	assert_false(network_has_address(h.n, &gone));
	assert_true(network_has_address(h.n, &kept));
	host_free(&h);
}

/* IPv4 routes die without an event of their own. */
static void t25_link_event_alone_flushes(void **state)
{
	struct factory_route route;
	struct host h;

	(void)state;
	host_new(&h);
	world_expect(&h.w, "203.0.113.5", "192.0.2.10");
	assert_true(host_drain(&h, link_msg(NL_NEW_LINK, 2, "eth0", 0)));
	assert_int_equal(h.cause, FACTORY_CAUSE_LINK);
	h.w.v4 = no_way(ENETUNREACH);
	assert_int_equal(world_resolve(&h.w, "203.0.113.5", 0, &route), FACTORY_NO_ROUTE);
	assert_int_equal(world_counters(&h.w).flushes[FACTORY_CAUSE_LINK], 1);
	host_free(&h);
}

static void t25_link_counts_only_when_state_carrier_or_master_change(void **state)
{
	struct nl_msg msg = link_msg(NL_NEW_LINK, 2, "eth0", HOST_UP);
	struct host h;

	(void)state;
	host_new(&h);
	assert_false(host_counts(&h, msg));
	msg.link.flags |= 0x100; /* promiscuous */
	assert_false(host_counts(&h, msg));
	msg.link.flags = 0;
	assert_true(host_counts(&h, msg));
	assert_false(host_counts(&h, msg));
	msg.link.flags = HOST_UP;
	assert_true(host_counts(&h, msg));
	msg.link.carrier = false;
	assert_true(host_counts(&h, msg));
	assert_false(host_counts(&h, msg));
	msg.link.master = 5;
	assert_true(host_counts(&h, msg));
	assert_false(host_counts(&h, msg));
	host_free(&h);
}

/* Wireless drivers announce scans and such without saying more than the name. */
static void partial_message_changes_neither_carrier_nor_master(void **state)
{
	struct nl_msg msg = link_msg(NL_NEW_LINK, 2, "eth0", HOST_UP), partial = msg;
	struct host h;

	(void)state;
	host_new(&h);
	msg.link.carrier = false;
	msg.link.master = 5;
	assert_true(host_counts(&h, msg));
	partial.link.partial = true;
	assert_false(host_counts(&h, partial));
	assert_false(host_counts(&h, msg));
	partial.link.flags = 0;
	assert_true(host_counts(&h, partial));
	host_free(&h);
}

/* --- addresses --- */

static void t26_deleted_address_flushes_and_its_destinations_are_looked_up(void **state)
{
	struct host h;

	(void)state;
	host_new(&h);
	h.live[h.n_live++] = "203.0.113.5";
	world_expect(&h.w, "203.0.113.5", "192.0.2.10");
	h.w.v4 = no_way(ENETUNREACH);
	assert_true(host_drain(&h, address_msg(NL_DEL_ADDR, 2, "192.0.2.10/24", HOST_PERMANENT)));
	assert_int_equal(h.cause, FACTORY_CAUSE_ADDRESS);
	assert_int_equal(host_flushes(&h), 1);
	host_run(&h, ROAM_QUIET_MS * US_PER_MS);
	assert_int_equal(h.compared, 1);
	assert_int_equal(h.w.lookups, 2);
	assert_int_equal(world_counters(&h.w).negatives, 1);
	/* Its way back concerns the one that has none. */
	assert_true(host_drain(&h, route_msg(NL_NEW_ROUTE, "0.0.0.0/0", 2, "192.0.2.1")));
	host_free(&h);
}

static void t15_address_and_route_of_a_missing_family_end_its_refusals(void **state)
{
	struct factory_route route;
	struct host h;

	(void)state;
	host_new(&h);
	h.w.v6 = no_way(ENETUNREACH);
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(world_resolve(&h.w, "2001:db8:5::5", 0, &route), FACTORY_NO_ROUTE);
		h.w.now_us += US_PER_MS;
	}
	assert_true(host_drain(&h, address_msg(NL_NEW_ADDR, 2, "2001:db8::11/64", 0)));
	assert_int_equal(world_resolve(&h.w, "2001:db8:5::5", 0, &route), FACTORY_NO_ROUTE);
	h.w.v6 = way("2001:db8::11", 2, "eth0");
	assert_true(host_drain(&h, route_msg(NL_NEW_ROUTE, "::/0", 2, "2001:db8::1")));
	world_expect(&h.w, "2001:db8:5::5", "2001:db8::11");
	host_free(&h);
}

static void t32_renewed_lifetime_of_an_address_does_not_count(void **state)
{
	struct host h;

	(void)state;
	host_new(&h);
	world_expect(&h.w, "2001:db8:5::5", "2001:db8::10");
	assert_true(host_counts(&h, address_msg(NL_NEW_ADDR, 2, "2001:db8::11/64", 0)));
	assert_false(host_counts(&h, address_msg(NL_NEW_ADDR, 2, "2001:db8::11/64", 0)));
	/* An endless lifetime is a lifetime. */
	assert_false(
	    host_counts(&h, address_msg(NL_NEW_ADDR, 2, "2001:db8::11/64", HOST_PERMANENT)));
	assert_false(host_counts(&h, address_msg(NL_NEW_ADDR, 2, "2001:db8::10/64", 0)));
	host_free(&h);
}

static void deprecation_counts_for_a_source_in_use(void **state)
{
	struct host h;

	(void)state;
	host_new(&h);
	assert_false(
	    host_counts(&h, address_msg(NL_NEW_ADDR, 2, "2001:db8::10/64", HOST_DEPRECATED)));
	assert_false(host_counts(&h, address_msg(NL_NEW_ADDR, 2, "2001:db8::10/64", 0)));
	world_expect(&h.w, "2001:db8:5::5", "2001:db8::10");
	assert_true(
	    host_counts(&h, address_msg(NL_NEW_ADDR, 2, "2001:db8::10/64", HOST_DEPRECATED)));
	host_free(&h);
}

static void address_counts_when_its_tentative_time_ends(void **state)
{
	static const uint32_t flags[] = {HOST_TENTATIVE, 0, HOST_TENTATIVE | HOST_DADFAILED,
					 HOST_TEMPORARY};
	struct host h;

	(void)state;
	host_new(&h);
	for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
		struct nl_msg msg = address_msg(NL_NEW_ADDR, 2, "2001:db8::12/64", flags[i]);

		assert_true(host_counts(&h, msg));
		assert_false(host_counts(&h, msg));
	}
	host_free(&h);
}

/* --- routes, rules, next hops --- */

static void t43_routes_to_nobody_in_the_cache_do_not_count(void **state)
{
	char prefix[32];
	uint64_t generation;
	struct host h;

	(void)state;
	host_new(&h);
	world_expect(&h.w, "203.0.113.5", "192.0.2.10");
	world_expect(&h.w, "2001:db8:5::5", "2001:db8::10");
	generation = factory_generation(h.w.f);
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(prefix, sizeof(prefix), "10.%u.%u.0/24", i / 256, i % 256);
		assert_false(host_drain(&h, route_msg(NL_NEW_ROUTE, prefix, 2, "192.0.2.1")));
		snprintf(prefix, sizeof(prefix), "2001:db8:%x::/48", 0x1000 + i);
		assert_false(host_drain(&h, route_msg(NL_NEW_ROUTE, prefix, 2, "2001:db8::1")));
		host_run(&h, US_PER_MS);
	}
	assert_int_equal(factory_generation(h.w.f), generation);
	assert_int_equal(h.compared, 0);
	assert_true(host_drain(&h, route_msg(NL_NEW_ROUTE, "203.0.113.0/24", 2, "192.0.2.1")));
	assert_true(factory_generation(h.w.f) > generation);
	host_free(&h);
}

/* After a flush nobody is in the cache: the comparison, which is armed, finds the route as it is.
 */
static void t43_route_that_comes_while_the_cache_is_empty_is_found_by_the_comparison(void **state)
{
	struct factory_route route;
	struct host h;

	(void)state;
	host_new(&h);
	h.live[h.n_live++] = "203.0.113.5";
	world_expect(&h.w, "203.0.113.5", "192.0.2.10");
	assert_true(host_drain(&h, link_msg(NL_NEW_LINK, 2, "eth0", 0)));
	host_run(&h, 100 * US_PER_MS);
	assert_false(host_drain(&h, route_msg(NL_NEW_ROUTE, "0.0.0.0/0", 3, "198.51.100.1")));
	h.w.v4 = way("198.51.100.7", 3, "wlan0");
	host_run(&h, ROAM_QUIET_MS * US_PER_MS);
	assert_int_equal(h.compared, 1);
	world_expect(&h.w, "203.0.113.5", "198.51.100.7");
	assert_int_equal(h.w.lookups, 2);
	/* Known again: from now on events about it count. */
	assert_true(host_drain(&h, route_msg(NL_DEL_ROUTE, "0.0.0.0/0", 3, "198.51.100.1")));
	assert_int_equal(world_resolve(&h.w, "203.0.113.5", 0, &route), FACTORY_OK);
	assert_int_equal(h.w.lookups, 3);
	host_free(&h);
}

static void t32_renewed_lifetime_of_an_ipv6_route_does_not_count(void **state)
{
	struct nl_msg msg = route_msg(NL_NEW_ROUTE, "::/0", 2, "2001:db8::1");
	struct host h;

	(void)state;
	host_new(&h);
	world_expect(&h.w, "2001:db8:5::5", "2001:db8::10");
	assert_true(host_drain(&h, msg)); /* it was not heard of before */
	world_expect(&h.w, "2001:db8:5::5", "2001:db8::10");
	for (int i = 0; i < 10; i++) {
		host_run(&h, 10 * US_PER_S);
		assert_false(host_drain(&h, msg));
		world_expect(&h.w, "2001:db8:5::5", "2001:db8::10");
	}
	assert_int_equal(h.w.lookups, 2);
	assert_int_equal(host_flushes(&h), 1);
	host_free(&h);
}

static void ipv6_route_that_was_another_in_between_counts(void **state)
{
	struct nl_msg one = route_msg(NL_NEW_ROUTE, "::/0", 2, "2001:db8::1");
	struct nl_msg two = route_msg(NL_NEW_ROUTE, "::/0", 2, "2001:db8::2");
	struct nl_msg gone = one;
	struct host h;

	(void)state;
	host_new(&h);
	gone.kind = NL_DEL_ROUTE;
	world_expect(&h.w, "2001:db8:5::5", "2001:db8::10");
	assert_true(host_counts(&h, one));
	assert_true(host_counts(&h, two));
	assert_true(host_counts(&h, one));
	assert_true(host_counts(&h, gone));
	assert_true(host_counts(&h, one));
	assert_false(host_counts(&h, one));
	/* Routes may go with an address without a word. */
	assert_true(host_counts(&h, address_msg(NL_DEL_ADDR, 2, "2001:db8::10/64", 0)));
	assert_true(host_counts(&h, one));
	host_free(&h);
}

/* What is heard while nobody is in the cache is remembered as well. */
static void ipv6_route_that_was_another_while_the_cache_was_empty_counts(void **state)
{
	struct nl_msg one = route_msg(NL_NEW_ROUTE, "::/0", 2, "2001:db8::1");
	struct nl_msg two = route_msg(NL_NEW_ROUTE, "::/0", 2, "2001:db8::2");
	struct host h;

	(void)state;
	host_new(&h);
	world_expect(&h.w, "2001:db8:5::5", "2001:db8::10");
	assert_true(host_counts(&h, one));
	factory_flush(h.w.f, FACTORY_CAUSE_ROUTE);
	assert_false(host_counts(&h, two));
	world_expect(&h.w, "2001:db8:5::5", "2001:db8::10");
	assert_true(host_counts(&h, one));
	host_free(&h);
}

static void routes_beyond_the_memory_for_lifetimes_count(void **state)
{
	struct nl_msg msg;
	struct host h;

	(void)state;
	host_new(&h);
	world_expect(&h.w, "2001:db8:5::5", "2001:db8::10");
	for (uint32_t i = 0; i <= NETWORK_MAX_ROUTES; i++) {
		msg = route_msg(NL_NEW_ROUTE, "::/0", 2, "2001:db8::1");
		msg.route.metric = i;
		assert_true(host_counts(&h, msg));
		assert_false(host_counts(&h, msg));
	}
	msg.route.metric = 1;
	assert_false(host_counts(&h, msg));
	msg.route.metric = 0; /* it had to give way */
	assert_true(host_counts(&h, msg));
	host_free(&h);
}

static void t28_own_programming_of_the_tunnel_does_not_count(void **state)
{
	struct nl_msg msg;
	uint64_t generation;
	struct host h;

	(void)state;
	host_new(&h);
	world_expect(&h.w, "203.0.113.5", "192.0.2.10");
	world_expect(&h.w, "100.64.3.9", "192.0.2.10");
	generation = factory_generation(h.w.f);
	assert_false(host_drain(&h, link_msg(NL_NEW_LINK, WORLD_TUN, "tun-firezone", 0)));
	assert_false(host_drain(&h, link_msg(NL_NEW_LINK, WORLD_TUN, "tun-firezone", HOST_UP)));
	assert_false(host_drain(&h, address_msg(NL_NEW_ADDR, WORLD_TUN, "100.64.3.10/32", 0)));
	assert_false(host_drain(&h, address_msg(NL_DEL_ADDR, WORLD_TUN, "100.64.3.10/32", 0)));
	assert_false(host_drain(&h, route_msg(NL_NEW_ROUTE, "0.0.0.0/0", WORLD_TUN, NULL)));
	assert_false(host_drain(&h, route_msg(NL_DEL_ROUTE, "0.0.0.0/0", WORLD_TUN, NULL)));
	for (uint32_t table = 0x2021fcff; table <= 0x2021fd03; table++) {
		msg = route_msg(NL_NEW_ROUTE, "0.0.0.0/0", 2, NULL);
		msg.route.table = table;
		assert_int_equal(host_counts(&h, msg), table < 0x2021fd00 || table > 0x2021fd02);
	}
	msg = route_msg(NL_NEW_ROUTE, "100.64.3.9/32", 1, NULL);
	msg.route.table = TABLE_LOCAL;
	assert_false(host_drain(&h, msg));
	for (uint32_t priority = 100; priority <= 300; priority += 100) {
		assert_false(host_drain(&h, rule_msg(NL_NEW_RULE, priority)));
		assert_false(host_drain(&h, rule_msg(NL_DEL_RULE, priority)));
	}
	assert_int_equal(factory_generation(h.w.f), generation);
	host_run(&h, 10 * US_PER_S);
	assert_int_equal(h.compared, 0);
	host_free(&h);
}

static void rules_that_are_not_exactly_ours_count(void **state)
{
	struct nl_msg msg;
	struct host h;

	(void)state;
	host_new(&h);
	for (uint32_t priority = 0; priority <= 400; priority += 50)
		assert_int_equal(host_counts(&h, rule_msg(NL_NEW_RULE, priority)),
				 priority != 100 && priority != 200 && priority != 300);
	assert_int_equal(h.cause, FACTORY_CAUSE_RULE);
	msg = rule_msg(NL_NEW_RULE, 100);
	msg.rule.inverted = false;
	assert_true(host_counts(&h, msg));
	msg = rule_msg(NL_NEW_RULE, 100);
	msg.rule.mark = 1;
	assert_true(host_counts(&h, msg));
	msg = rule_msg(NL_NEW_RULE, 100);
	msg.rule.mask = 0xff;
	assert_true(host_counts(&h, msg));
	msg = rule_msg(NL_NEW_RULE, 100);
	msg.rule.selective = true;
	assert_true(host_counts(&h, msg));
	host_free(&h);
}

static void tunnel_that_is_gone_leaves_its_index_to_others(void **state)
{
	struct host h;

	(void)state;
	host_new(&h);
	assert_false(host_counts(&h, link_msg(NL_DEL_LINK, WORLD_TUN, "tun-firezone", 0)));
	assert_true(host_counts(&h, link_msg(NL_NEW_LINK, WORLD_TUN, "eth7", HOST_UP)));
	assert_true(host_counts(&h, address_msg(NL_NEW_ADDR, WORLD_TUN, "198.51.100.7/24", 0)));
	/* One of several ways, which has no index of its own. */
	world_expect(&h.w, "203.0.113.5", "192.0.2.10");
	assert_true(host_counts(&h, route_msg(NL_NEW_ROUTE, "0.0.0.0/0", 0, NULL)));
	host_free(&h);
}

static void next_hops_count_and_other_messages_do_not(void **state)
{
	struct nl_msg msg = rule_msg(NL_NEXTHOP, 0);
	struct host h;

	(void)state;
	host_new(&h);
	assert_true(host_counts(&h, msg));
	assert_int_equal(h.cause, FACTORY_CAUSE_NEXTHOP);
	for (size_t i = 0; i < 3; i++) {
		static const enum nl_kind kinds[] = {NL_ERROR, NL_DONE, NL_OTHER};

		msg.kind = kinds[i];
		assert_false(host_counts(&h, msg));
	}
	host_free(&h);
}

/* --- bounds and dumps --- */

static void what_does_not_fit_into_the_tables_always_counts(void **state)
{
	struct nl_msg msg;
	struct ip_addr unknown = ip("203.0.113.77");
	char text[32];
	struct host h;

	(void)state;
	host_new(&h);
	for (uint32_t i = 3; i < NETWORK_MAX_LINKS; i++) /* three are there */
		assert_true(host_counts(&h, link_msg(NL_NEW_LINK, 100 + i, "veth", HOST_UP)));
	msg = link_msg(NL_NEW_LINK, 100 + NETWORK_MAX_LINKS - 1, "veth", HOST_UP);
	assert_false(host_counts(&h, msg));
	msg = link_msg(NL_NEW_LINK, 9999, "veth", HOST_UP);
	assert_true(host_counts(&h, msg));
	assert_true(host_counts(&h, msg));
	assert_string_equal(network_link_name(h.n, 9999), "");
	for (unsigned i = 4; i < NETWORK_MAX_ADDRESSES; i++) { /* four are there */
		assert_false(network_has_address(h.n, &unknown));
		snprintf(text, sizeof(text), "10.0.%u.%u/32", i / 256, i % 256);
		assert_true(host_counts(&h, address_msg(NL_NEW_ADDR, 2, text, 0)));
	}
	assert_false(host_counts(&h, address_msg(NL_NEW_ADDR, 2, text, 0)));
	assert_false(network_has_address(h.n, &unknown));
	msg = address_msg(NL_NEW_ADDR, 2, "10.1.0.0/32", 0);
	assert_true(host_counts(&h, msg));
	assert_true(host_counts(&h, msg));
	/* One of those that did not fit, for all we know. */
	assert_true(network_has_address(h.n, &unknown));
	host_free(&h);
}

static void t29_dump_after_an_overrun_replaces_what_was_known(void **state)
{
	struct nl_msg down = link_msg(NL_NEW_LINK, 2, "eth0", 0);
	struct nl_msg address = address_msg(NL_NEW_ADDR, 2, "192.0.2.11/24", 0);
	struct ip_addr old = ip("192.0.2.10"), new = ip("192.0.2.11");
	struct host h;

	(void)state;
	host_new(&h);
	network_dump_begin(h.n);
	network_dumped(h.n, &down);
	network_dumped(h.n, &address);
	network_dump_end(h.n);
	assert_false(network_has_address(h.n, &old));
	assert_true(network_has_address(h.n, &new));
	assert_false(host_counts(&h, down));
	assert_false(host_counts(&h, address));
	/* The event that was lost is known from the dump: the way back counts. */
	assert_true(host_counts(&h, link_msg(NL_NEW_LINK, 2, "eth0", HOST_UP)));
	assert_string_equal(network_link_name(h.n, 1), "");
	/* Still ours, although the dump was cut short before it. */
	assert_false(host_counts(&h, link_msg(NL_NEW_LINK, WORLD_TUN, "tun-firezone", HOST_UP)));
	host_free(&h);
}

static void t29_overrun_flushes_and_is_counted(void **state)
{
	enum factory_cause cause;
	struct host h;

	(void)state;
	host_new(&h);
	world_expect(&h.w, "203.0.113.5", "192.0.2.10");
	factory_count_overrun(h.w.f);
	roam_event(&h.r, FACTORY_CAUSE_OVERRUN, h.w.now_us);
	assert_true(roam_take_flush(&h.r, h.w.now_us, &cause));
	assert_int_equal(cause, FACTORY_CAUSE_OVERRUN);
	factory_flush(h.w.f, cause);
	world_expect(&h.w, "203.0.113.5", "192.0.2.10");
	assert_int_equal(h.w.lookups, 2);
	assert_int_equal(world_counters(&h.w).event_overruns, 1);
	assert_int_equal(world_counters(&h.w).flushes[FACTORY_CAUSE_OVERRUN], 1);
	host_free(&h);
}

/* --- public sources --- */

static void prefers(struct host *h, uint32_t ifindex, const char *source, const char *expect)
{
	struct ip_addr got = ip(source);
	char text[IP_TEXT_MAX];

	network_prefer_public(h->n, ifindex, &got);
	ip_format(&got, text);
	assert_string_equal(text, expect);
}

static void t34_public_source_is_chosen_over_a_temporary_one(void **state)
{
	struct host h;

	(void)state;
	host_new(&h);
	h.w.network = h.n;
	host_counts(&h, address_msg(NL_NEW_ADDR, 2, "2001:db8::a:b:c/64", HOST_TEMPORARY));
	h.w.v6 = way("2001:db8::a:b:c", 2, "eth0");
	world_expect(&h.w, "2001:db8:5::5", "2001:db8::10");
	assert_int_equal(h.w.lookups, 1);
	host_free(&h);
}

static void t34_deprecated_source_gives_way_too_and_public_ones_stay(void **state)
{
	struct host h;

	(void)state;
	host_new(&h);
	host_counts(&h, address_msg(NL_NEW_ADDR, 2, "2001:db8::dd/64", HOST_DEPRECATED));
	host_counts(&h, address_msg(NL_NEW_ADDR, 2, "2001:db8::ee/64", 0));
	prefers(&h, 2, "2001:db8::dd", "2001:db8::ee"); /* the longest common prefix */
	prefers(&h, 2, "2001:db8::ee", "2001:db8::ee");
	prefers(&h, 2, "2001:db8::10", "2001:db8::10");
	prefers(&h, 2, "2001:db8::99", "2001:db8::99"); /* unknown */
	prefers(&h, 2, "192.0.2.10", "192.0.2.10");
	host_free(&h);
}

/* Each of the others is worse than a temporary address. */
static void t34_temporary_source_stays_when_no_public_one_will_do(void **state)
{
	static const uint32_t flags[] = {HOST_DEPRECATED, HOST_TENTATIVE, HOST_DADFAILED,
					 HOST_TEMPORARY};
	char text[32];
	struct host h;

	(void)state;
	host_new(&h);
	host_counts(&h, address_msg(NL_DEL_ADDR, 2, "2001:db8::10/64", 0));
	host_counts(&h, address_msg(NL_NEW_ADDR, 2, "2001:db8::7/64", HOST_TEMPORARY));
	for (unsigned i = 0; i < ARRAY_LEN(flags); i++) {
		snprintf(text, sizeof(text), "2001:db8::1%u/64", i);
		host_counts(&h, address_msg(NL_NEW_ADDR, 2, text, flags[i]));
	}
	host_counts(&h, address_msg(NL_NEW_ADDR, 2, "fe80::1/64", 0));     /* scope */
	host_counts(&h, address_msg(NL_NEW_ADDR, 2, "fd00:1::1/64", 0));   /* reach */
	host_counts(&h, address_msg(NL_NEW_ADDR, 3, "2001:db8::2/64", 0)); /* interface */
	host_counts(&h, address_msg(NL_NEW_ADDR, 2, "192.0.2.11/24", 0));  /* family */
	prefers(&h, 2, "2001:db8::7", "2001:db8::7");
	host_counts(&h, address_msg(NL_NEW_ADDR, 2, "2001:db8::20/64", 0));
	prefers(&h, 2, "2001:db8::7", "2001:db8::20");
	host_counts(&h, address_msg(NL_DEL_ADDR, 2, "2001:db8::20/64", 0));
	prefers(&h, 2, "2001:db8::7", "2001:db8::7");
	host_free(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(t12_index_that_another_device_got_is_looked_up_again),
	    cmocka_unit_test(t12_index_under_another_name_is_another_device),
	    cmocka_unit_test(t12_addresses_go_with_their_device),
	    cmocka_unit_test(t15_address_and_route_of_a_missing_family_end_its_refusals),
	    cmocka_unit_test(t25_link_event_alone_flushes),
	    cmocka_unit_test(t25_link_counts_only_when_state_carrier_or_master_change),
	    cmocka_unit_test(partial_message_changes_neither_carrier_nor_master),
	    cmocka_unit_test(t26_deleted_address_flushes_and_its_destinations_are_looked_up),
	    cmocka_unit_test(t28_own_programming_of_the_tunnel_does_not_count),
	    cmocka_unit_test(rules_that_are_not_exactly_ours_count),
	    cmocka_unit_test(tunnel_that_is_gone_leaves_its_index_to_others),
	    cmocka_unit_test(t29_dump_after_an_overrun_replaces_what_was_known),
	    cmocka_unit_test(t29_overrun_flushes_and_is_counted),
	    cmocka_unit_test(t32_renewed_lifetime_of_an_address_does_not_count),
	    cmocka_unit_test(t32_renewed_lifetime_of_an_ipv6_route_does_not_count),
	    cmocka_unit_test(ipv6_route_that_was_another_in_between_counts),
	    cmocka_unit_test(ipv6_route_that_was_another_while_the_cache_was_empty_counts),
	    cmocka_unit_test(routes_beyond_the_memory_for_lifetimes_count),
	    cmocka_unit_test(deprecation_counts_for_a_source_in_use),
	    cmocka_unit_test(address_counts_when_its_tentative_time_ends),
	    cmocka_unit_test(t34_public_source_is_chosen_over_a_temporary_one),
	    cmocka_unit_test(t34_deprecated_source_gives_way_too_and_public_ones_stay),
	    cmocka_unit_test(t34_temporary_source_stays_when_no_public_one_will_do),
	    cmocka_unit_test(t43_routes_to_nobody_in_the_cache_do_not_count),
	    cmocka_unit_test(
		t43_route_that_comes_while_the_cache_is_empty_is_found_by_the_comparison),
	    cmocka_unit_test(next_hops_count_and_other_messages_do_not),
	    cmocka_unit_test(what_does_not_fit_into_the_tables_always_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
