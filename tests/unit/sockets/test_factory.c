/* The source cache and its generations. The numbers are those of the socket factory's list of
 * tests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>

#include "world.h"

enum {
	LOCAL = 2,
	BLACKHOLE = 6
};

static void t1_cold_cache_looks_up_once(void **state)
{
	struct world w;

	(void)state;
	world_new(&w);
	world_expect(&w, "203.0.113.5", "192.0.2.10");
	assert_int_equal(w.lookups, 1);
	assert_int_equal(world_counters(&w).entries, 1);
	assert_int_equal(world_counters(&w).misses, 1);
	assert_int_equal(w.lines, 1);
	assert_int_equal(w.resolved_lines, 1);
	assert_non_null(strstr(
	    w.last_line, "src=192.0.2.10 dst=203.0.113.5 ifindex=2 gateway=192.0.2.1 table=254"));
	assert_non_null(strstr(w.last_line, "generation=1 took_us=3"));
	world_free(&w);
}

static void t2_second_socket_of_the_factory_hits(void **state)
{
	struct world w;

	(void)state;
	world_new(&w);
	world_expect(&w, "203.0.113.5", "192.0.2.10");
	world_expect(&w, "203.0.113.5", "192.0.2.10");
	assert_int_equal(w.lookups, 1);
	assert_int_equal(w.lines, 1);
	assert_int_equal(world_counters(&w).hits, 1);
	world_free(&w);
}

/* The key has no port: two peers behind one address differ only there. */
static void t3_another_port_of_the_destination_hits(void **state)
{
	struct factory_route route, again;
	struct endpoint a = {.ip = ip("203.0.113.5"), .port = 53}, b = {.ip = a.ip, .port = 3478};
	struct world w;

	(void)state;
	world_new(&w);
	assert_int_equal(factory_resolve(w.f, &a.ip, a.scope, w.now_us, &route), FACTORY_OK);
	assert_int_equal(factory_resolve(w.f, &b.ip, b.scope, w.now_us, &again), FACTORY_OK);
	assert_int_equal(w.lookups, 1);
	assert_memory_equal(&route, &again, sizeof(route));
	world_free(&w);
}

static void t4_two_factories_share_nothing(void **state)
{
	struct world a, b;

	(void)state;
	world_new(&a);
	world_new(&b);
	world_expect(&a, "203.0.113.5", "192.0.2.10");
	world_expect(&b, "203.0.113.5", "192.0.2.10");
	assert_int_equal(a.lookups + b.lookups, 2);
	factory_reset(a.f, FACTORY_CAUSE_OPERATOR);
	world_expect(&b, "203.0.113.5", "192.0.2.10");
	assert_int_equal(b.lookups, 1);
	world_free(&a);
	world_free(&b);
}

static void t5_ten_thousand_one_shot_sends_look_up_once(void **state)
{
	struct world w;

	(void)state;
	world_new(&w);
	for (int i = 0; i < 10000; i++) {
		world_expect(&w, "203.0.113.53", "192.0.2.10");
		w.now_us += US_PER_MS;
	}
	assert_int_equal(w.lookups, 1);
	assert_int_equal(w.lines, 1);
	assert_int_equal(world_counters(&w).hits, 9999);
	world_free(&w);
}

static void t6_reset_makes_the_next_send_look_up(void **state)
{
	struct world w;

	(void)state;
	world_new(&w);
	for (int i = 0; i < 10000; i++)
		world_expect(&w, "203.0.113.53", "192.0.2.10");
	w.v4 = way("198.51.100.7", 3, "wlan0");
	factory_reset(w.f, FACTORY_CAUSE_SIGHUP);
	world_expect(&w, "203.0.113.53", "198.51.100.7");
	assert_int_equal(w.lookups, 2);
	assert_int_equal(factory_generation(w.f), 2);
	assert_int_equal(world_counters(&w).resets[FACTORY_CAUSE_SIGHUP], 1);
	world_free(&w);
}

static void t7_eight_resolvers_look_up_eight_times(void **state)
{
	struct world w;
	char name[16] = "203.0.113.0";

	(void)state;
	world_new(&w);
	for (int i = 0; i < 10000; i++) {
		name[strlen(name) - 1] = (char)('0' + i % 8);
		world_expect(&w, name, "192.0.2.10");
	}
	assert_int_equal(w.lookups, 8);
	world_free(&w);
}

static void t8_answer_overtaken_by_a_reset_is_looked_up_again(void **state)
{
	struct factory_route route;
	struct world w;

	(void)state;
	world_new(&w);
	w.resets_on_lookup = 1;
	assert_int_equal(world_resolve(&w, "203.0.113.5", 0, &route), FACTORY_OK);
	assert_int_equal(w.lookups, 2);
	assert_int_equal(world_counters(&w).stale_discards, 1);
	assert_int_equal(world_counters(&w).entries, 1);
	assert_int_equal(route.generation, 2);
	assert_int_equal(w.resolved_lines, 1);
	world_free(&w);
}

/* The first answer is of the network that went away: it is neither used nor kept. */
static void t8_sends_with_the_source_of_the_new_network(void **state)
{
	struct factory_route route;
	struct ip_addr expect = ip("198.51.100.7");
	struct world w;

	(void)state;
	world_new(&w);
	world_expect(&w, "203.0.113.1", "192.0.2.10");
	w.resets_on_lookup = 1;
	world_says(&w, "203.0.113.5", 0, way("198.51.100.7", 3, "wlan0"));
	assert_int_equal(world_resolve(&w, "203.0.113.5", 0, &route), FACTORY_OK);
	assert_true(ip_eq(&route.source, &expect));
	world_expect(&w, "203.0.113.5", "198.51.100.7");
	assert_int_equal(w.lookups, 3);
	world_free(&w);
}

/* What was waiting to be read is not news: events that the lookup reads before it asks make no
 * answer stale. */
static void t8_events_read_before_the_question_make_no_answer_stale(void **state)
{
	struct factory_route route;
	struct world w;

	(void)state;
	world_new(&w);
	w.resets_on_lookup = 1;
	w.resets_before_the_question = true;
	assert_int_equal(world_resolve(&w, "203.0.113.5", 0, &route), FACTORY_OK);
	assert_int_equal(w.lookups, 1);
	assert_int_equal(world_counters(&w).stale_discards, 0);
	assert_int_equal(route.generation, 2);
	world_expect(&w, "203.0.113.5", "192.0.2.10");
	assert_int_equal(w.lookups, 1);
	world_free(&w);
}

static void t9_overtaken_twice_drops_without_a_loop(void **state)
{
	struct factory_route route;
	struct world w;

	(void)state;
	world_new(&w);
	w.resets_on_lookup = 2;
	assert_int_equal(world_resolve(&w, "203.0.113.5", 0, &route), FACTORY_MOVED);
	assert_int_equal(w.lookups, 2);
	assert_int_equal(world_counters(&w).stale_discards, 2);
	assert_int_equal(world_counters(&w).entries + world_counters(&w).negatives, 0);
	world_expect(&w, "203.0.113.5", "192.0.2.10");
	assert_int_equal(w.lookups, 3);
	world_free(&w);
}

static void t10_route_into_the_tunnel_is_refused(void **state)
{
	struct factory_lookup by_table = way("192.0.2.10", 2, "eth0");
	struct factory_route route;
	struct world w;

	(void)state;
	world_new(&w);
	world_says(&w, "203.0.113.1", 0, way("192.0.2.10", WORLD_TUN, "tun-firezone"));
	assert_int_equal(world_resolve(&w, "203.0.113.1", 0, &route), FACTORY_VIA_TUNNEL);
	assert_non_null(strstr(w.last_line, "reason=via-tunnel"));
	/* The name is not known: the index decides. */
	world_says(&w, "203.0.113.2", 0, way("192.0.2.10", WORLD_TUN, ""));
	assert_int_equal(world_resolve(&w, "203.0.113.2", 0, &route), FACTORY_VIA_TUNNEL);
	/* Nothing but the table tells it. */
	world_says(&w, "203.0.113.3", 0, by_table);
	assert_int_equal(world_resolve(&w, "203.0.113.3", 0, &route), FACTORY_OK);
	for (uint32_t table = 0x2021fcff; table <= 0x2021fd03; table++) {
		by_table.table = table;
		world_says(&w, "203.0.113.3", 0, by_table);
		factory_flush(w.f, FACTORY_CAUSE_ADDRESS);
		assert_int_equal(world_resolve(&w, "203.0.113.3", 0, &route),
				 table >= 0x2021fd00 && table <= 0x2021fd02 ? FACTORY_VIA_TUNNEL
									    : FACTORY_OK);
	}
	world_free(&w);
}

static void t11_index_of_a_deleted_tunnel_is_accepted_under_another_name(void **state)
{
	struct world w;

	(void)state;
	world_new(&w);
	w.v4 = way("192.0.2.10", WORLD_TUN, "eth7");
	world_expect(&w, "203.0.113.1", "192.0.2.10");
	world_free(&w);
}

static void t14_candidates_of_a_missing_family_cost_two_lookups_a_second(void **state)
{
	struct factory_route route;
	struct world w;

	(void)state;
	world_new(&w);
	w.v6 = no_way(ENETUNREACH);
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(world_resolve(&w, "2001:db8:5::1", 0, &route), FACTORY_NO_ROUTE);
		w.now_us += US_PER_MS;
	}
	assert_in_range(w.lookups, 1, 2);
	assert_int_equal(w.loud_lines, 0);
	assert_int_equal(w.refused_lines, w.lookups);
	assert_int_equal(world_counters(&w).refused[FACTORY_NO_ROUTE], w.lookups);
	assert_int_equal(world_counters(&w).negative_hits, 1000 - w.lookups);
	assert_int_equal(world_counters(&w).entries, 0);
	world_free(&w);
}

static void t16_families_of_one_name_never_mix(void **state)
{
	struct world w;

	(void)state;
	world_new(&w);
	world_expect(&w, "203.0.113.5", "192.0.2.10");
	world_expect(&w, "2001:db8:5::5", "2001:db8::10");
	assert_int_equal(world_counters(&w).entries, 2);
	/* An IPv4 address in IPv6 clothes is the IPv4 one. */
	world_expect(&w, "::ffff:203.0.113.5", "192.0.2.10");
	assert_int_equal(w.lookups, 2);
	assert_int_equal(world_counters(&w).entries, 2);
	world_free(&w);
}

static void t16_source_of_the_other_family_is_refused(void **state)
{
	struct factory_route route;
	struct world w;

	(void)state;
	world_new(&w);
	w.v6 = way("192.0.2.10", 2, "eth0");
	assert_int_equal(world_resolve(&w, "2001:db8:5::5", 0, &route), FACTORY_NO_SOURCE);
	world_free(&w);
}

static void t17_scopes_of_a_link_local_address_are_two_entries(void **state)
{
	struct factory_route two, three;
	struct ip_addr on_two = ip("fe80::a:2"), on_three = ip("fe80::a:3");
	struct world w;

	(void)state;
	world_new(&w);
	world_says(&w, "fe80::1", 2, way("fe80::a:2", 2, "eth0"));
	world_says(&w, "fe80::1", 3, way("fe80::a:3", 3, "eth1"));
	for (int i = 0; i < 2; i++) {
		assert_int_equal(world_resolve(&w, "fe80::1", 2, &two), FACTORY_OK);
		assert_int_equal(world_resolve(&w, "fe80::1", 3, &three), FACTORY_OK);
		assert_true(ip_eq(&two.source, &on_two) && two.ifindex == 2);
		assert_true(ip_eq(&three.source, &on_three) && three.ifindex == 3);
	}
	assert_int_equal(w.lookups, 2);
	assert_int_equal(world_counters(&w).entries, 2);
	/* The scope of an address that has none is not part of the key. */
	assert_int_equal(world_resolve(&w, "2001:db8:5::5", 7, &two), FACTORY_OK);
	assert_int_equal(world_resolve(&w, "2001:db8:5::5", 0, &two), FACTORY_OK);
	assert_int_equal(w.lookups, 3);
	world_free(&w);
}

static void t18_link_local_without_scope_is_refused_without_lookup(void **state)
{
	struct factory_route route;
	struct world w;

	(void)state;
	world_new(&w);
	assert_int_equal(world_resolve(&w, "fe80::1", 0, &route), FACTORY_SCOPE_MISSING);
	assert_int_equal(world_resolve(&w, "ff02::1", 0, &route), FACTORY_SCOPE_MISSING);
	assert_int_equal(w.lookups, 0);
	world_free(&w);
}

static void t24_blackhole_makes_a_negative_entry(void **state)
{
	struct factory_route route;
	struct world w;

	(void)state;
	world_new(&w);
	w.v4 = no_way(EINVAL);
	assert_int_equal(world_resolve(&w, "203.0.113.5", 0, &route), FACTORY_NO_ROUTE);
	assert_int_equal(world_resolve(&w, "203.0.113.5", 0, &route), FACTORY_NO_ROUTE);
	assert_int_equal(w.lookups, 1);
	assert_int_equal(world_counters(&w).negatives, 1);
	/* The same said by the type of the route. */
	w.v6 = way("2001:db8::10", 2, "eth0");
	w.v6.type = BLACKHOLE;
	assert_int_equal(world_resolve(&w, "2001:db8:5::5", 0, &route), FACTORY_NO_ROUTE);
	world_free(&w);
}

static void t33_hostile_destinations_stay_within_the_table(void **state)
{
	struct ip_addr relay = ip("203.0.113.1"), portal = ip("2001:db8:5::1");
	struct ip_addr dst = ip("10.0.0.0");
	struct factory_route route;
	struct world w;
	unsigned lookups;

	(void)state;
	world_new(&w);
	factory_pin(w.f, &relay);
	world_expect(&w, "203.0.113.1", "192.0.2.10");
	world_expect(&w, "2001:db8:5::1", "2001:db8::10");
	factory_pin(w.f, &portal); /* known before it is pinned */
	for (uint32_t i = 0; i < 100000; i++) {
		dst.bytes[1] = (uint8_t)(i >> 16);
		dst.bytes[2] = (uint8_t)(i >> 8);
		dst.bytes[3] = (uint8_t)i;
		assert_int_equal(factory_resolve(w.f, &dst, 0, w.now_us, &route), FACTORY_OK);
		assert_true(world_counters(&w).entries <= FACTORY_MAX_POSITIVE);
	}
	assert_int_equal(world_counters(&w).entries, FACTORY_MAX_POSITIVE);
	assert_int_equal(world_counters(&w).evictions, 100002 - FACTORY_MAX_POSITIVE);
	lookups = w.lookups;
	world_expect(&w, "203.0.113.1", "192.0.2.10");
	world_expect(&w, "2001:db8:5::1", "2001:db8::10");
	assert_int_equal(w.lookups, lookups);
	world_free(&w);
}

static void t33_hostile_unreachable_destinations_push_out_no_route(void **state)
{
	struct ip_addr dst = ip("2001:db8:6::");
	struct factory_route route;
	struct world w;

	(void)state;
	world_new(&w);
	world_expect(&w, "203.0.113.1", "192.0.2.10");
	w.v6 = no_way(ENETUNREACH);
	for (uint32_t i = 0; i < 100000; i++) {
		memcpy(dst.bytes + 8, &i, sizeof(i));
		assert_int_equal(factory_resolve(w.f, &dst, 0, w.now_us, &route), FACTORY_NO_ROUTE);
		assert_true(world_counters(&w).negatives <= FACTORY_MAX_NEGATIVE);
	}
	assert_int_equal(world_counters(&w).negatives, FACTORY_MAX_NEGATIVE);
	assert_int_equal(world_counters(&w).entries, 1);
	world_free(&w);
}

static void t33_table_at_its_limit_and_one_beyond(void **state)
{
	struct ip_addr dst = ip("10.0.0.0");
	struct factory_route route;
	struct world w;

	(void)state;
	world_new(&w);
	for (uint32_t i = 0; i <= FACTORY_MAX_POSITIVE; i++) {
		assert_int_equal(world_counters(&w).evictions, 0);
		dst.bytes[2] = (uint8_t)(i >> 8);
		dst.bytes[3] = (uint8_t)i;
		assert_int_equal(factory_resolve(w.f, &dst, 0, w.now_us, &route), FACTORY_OK);
	}
	assert_int_equal(world_counters(&w).evictions, 1);
	assert_int_equal(world_counters(&w).entries, FACTORY_MAX_POSITIVE);
	world_free(&w);
}

static void t35_only_loopback_left_is_no_source(void **state)
{
	struct factory_route route;
	struct world w;

	(void)state;
	world_new(&w);
	w.v6 = way("::1", 2, "eth0");
	assert_int_equal(world_resolve(&w, "2001:db8:5::5", 0, &route), FACTORY_NO_SOURCE);
	assert_non_null(strstr(w.last_line, "reason=no-source"));
	w.v4.prefsrc.family = IP_NONE;
	assert_int_equal(world_resolve(&w, "203.0.113.5", 0, &route), FACTORY_NO_SOURCE);
	w.v4 = way("0.0.0.0", 2, "eth0");
	assert_int_equal(world_resolve(&w, "203.0.113.6", 0, &route), FACTORY_NO_SOURCE);
	w.v4 = way("224.0.0.1", 2, "eth0");
	assert_int_equal(world_resolve(&w, "203.0.113.7", 0, &route), FACTORY_NO_SOURCE);
	/* A local name server is reached from loopback. */
	w.v4 = way("127.0.0.1", 1, "lo");
	world_expect(&w, "127.0.0.53", "127.0.0.1");
	world_free(&w);
}

static void t36_own_address_is_accepted_as_local(void **state)
{
	struct factory_lookup local = way("192.0.2.10", 1, "lo");
	struct world w;

	(void)state;
	world_new(&w);
	local.type = LOCAL;
	local.table = 255;
	world_says(&w, "192.0.2.10", 0, local);
	world_expect(&w, "192.0.2.10", "192.0.2.10");
	world_free(&w);
}

static void t37_malformed_answer_is_not_remembered(void **state)
{
	struct factory_route route;
	struct world w;

	(void)state;
	world_new(&w);
	w.v4 = no_way(EPROTO);
	assert_int_equal(world_resolve(&w, "203.0.113.5", 0, &route), FACTORY_LOOKUP_FAILED);
	assert_int_equal(world_resolve(&w, "203.0.113.5", 0, &route), FACTORY_LOOKUP_FAILED);
	assert_int_equal(w.lookups, 2);
	assert_int_equal(world_counters(&w).entries + world_counters(&w).negatives, 0);
	w.v4 = way("192.0.2.10", 2, "eth0");
	world_expect(&w, "203.0.113.5", "192.0.2.10");
	world_free(&w);
}

static void t39_two_that_miss_together_make_one_entry(void **state)
{
	struct ip_addr expect = ip("192.0.2.10");
	struct world w;

	(void)state;
	world_new(&w);
	w.misses_amid_lookup = 1;
	world_expect(&w, "203.0.113.5", "192.0.2.10");
	assert_true(ip_eq(&w.amid.source, &expect));
	assert_int_equal(w.lookups, 2);
	assert_int_equal(world_counters(&w).entries, 1);
	world_expect(&w, "203.0.113.5", "192.0.2.10");
	assert_int_equal(w.lookups, 2);
	world_free(&w);
}

/* The network moved between the two answers: neither of the old one is kept. */
static void t39_a_reset_amid_two_misses_spoils_both_answers(void **state)
{
	struct world w;

	(void)state;
	world_new(&w);
	w.misses_amid_lookup = 1;
	w.resets_on_lookup = 1;
	world_expect(&w, "203.0.113.5", "192.0.2.10");
	assert_int_equal(world_counters(&w).entries, 1);
	assert_true(world_counters(&w).stale_discards >= 1);
	world_free(&w);
}

static void own_tunnel_address_is_never_a_source(void **state)
{
	struct ip_addr v4 = ip("100.64.3.9"), v6 = ip("fd00:2021:1111::3:9");
	struct factory_route route;
	struct world w;

	(void)state;
	world_new(&w);
	factory_set_tunnel_addresses(w.f, &v4, &v6);
	w.v4 = way("100.64.3.9", 2, "eth0");
	w.v6 = way("fd00:2021:1111::3:9", 2, "eth0");
	assert_int_equal(world_resolve(&w, "203.0.113.5", 0, &route), FACTORY_NO_SOURCE);
	assert_int_equal(world_resolve(&w, "2001:db8:5::5", 0, &route), FACTORY_NO_SOURCE);
	world_free(&w);
}

static void refusal_is_believed_for_a_second_and_a_hit_does_not_renew_it(void **state)
{
	struct factory_route route;
	struct world w;

	(void)state;
	world_new(&w);
	w.v4 = no_way(ENETUNREACH);
	assert_int_equal(world_resolve(&w, "203.0.113.5", 0, &route), FACTORY_NO_ROUTE);
	w.v4 = way("192.0.2.10", 2, "eth0");
	w.now_us += 999999;
	assert_int_equal(world_resolve(&w, "203.0.113.5", 0, &route), FACTORY_NO_ROUTE);
	assert_int_equal(w.lookups, 1);
	w.now_us += 1;
	world_expect(&w, "203.0.113.5", "192.0.2.10");
	assert_int_equal(world_counters(&w).negatives, 0);
	world_free(&w);
}

static void flush_makes_every_entry_a_miss(void **state)
{
	struct factory_route route;
	struct world w;

	(void)state;
	world_new(&w);
	world_expect(&w, "203.0.113.5", "192.0.2.10");
	w.v6 = no_way(ENETUNREACH);
	assert_int_equal(world_resolve(&w, "2001:db8:5::5", 0, &route), FACTORY_NO_ROUTE);
	factory_flush(w.f, FACTORY_CAUSE_ROUTE);
	assert_int_equal(world_counters(&w).entries, 0);
	w.v6 = way("2001:db8::10", 2, "eth0");
	world_expect(&w, "203.0.113.5", "192.0.2.10");
	world_expect(&w, "2001:db8:5::5", "2001:db8::10");
	assert_int_equal(w.lookups, 4);
	assert_int_equal(world_counters(&w).flushes[FACTORY_CAUSE_ROUTE], 1);
	assert_int_equal(world_counters(&w).evictions, 0);
	world_free(&w);
}

static void flushes_are_logged_once_in_half_a_second(void **state)
{
	struct world w;

	(void)state;
	world_new(&w);
	world_expect(&w, "203.0.113.5", "192.0.2.10");
	for (int i = 0; i < 5; i++)
		factory_flush(w.f, FACTORY_CAUSE_ROUTE);
	assert_int_equal(w.flush_lines, 1);
	assert_non_null(strstr(w.last_line, "cause=route entries=1 generation=2 suppressed=0"));
	w.now_us += 500 * US_PER_MS;
	world_expect(&w, "203.0.113.5", "192.0.2.10");
	factory_flush(w.f, FACTORY_CAUSE_ROUTE);
	assert_int_equal(w.flush_lines, 2);
	assert_non_null(strstr(w.last_line, "suppressed=4"));
	world_free(&w);
}

static void invalidation_of_an_older_generation_does_nothing(void **state)
{
	struct ip_addr dst = ip("203.0.113.5");
	struct world w;

	(void)state;
	world_new(&w);
	world_expect(&w, "203.0.113.5", "192.0.2.10");
	factory_flush(w.f, FACTORY_CAUSE_ADDRESS);
	world_expect(&w, "203.0.113.5", "192.0.2.10");
	factory_invalidate(w.f, &dst, 1, FACTORY_CAUSE_SEND_ERROR);
	world_expect(&w, "203.0.113.5", "192.0.2.10");
	assert_int_equal(w.lookups, 2);
	factory_invalidate(w.f, &dst, 2, FACTORY_CAUSE_SEND_ERROR);
	world_expect(&w, "203.0.113.5", "192.0.2.10");
	assert_int_equal(w.lookups, 3);
	assert_int_equal(world_counters(&w).invalidations[FACTORY_CAUSE_SEND_ERROR], 1);
	world_free(&w);
}

static void invalidation_reaches_every_scope(void **state)
{
	struct ip_addr dst = ip("fe80::1");
	struct factory_route route;
	struct world w;

	(void)state;
	world_new(&w);
	world_says(&w, "fe80::1", 2, way("fe80::a:2", 2, "eth0"));
	world_says(&w, "fe80::1", 3, way("fe80::a:3", 3, "eth1"));
	assert_int_equal(world_resolve(&w, "fe80::1", 2, &route), FACTORY_OK);
	assert_int_equal(world_resolve(&w, "fe80::1", 3, &route), FACTORY_OK);
	factory_invalidate(w.f, &dst, 1, FACTORY_CAUSE_SEND_ERROR);
	assert_int_equal(world_counters(&w).entries, 0);
	world_free(&w);
}

static void unpinned_destination_can_be_evicted(void **state)
{
	struct ip_addr relay = ip("203.0.113.1"), dst = ip("10.0.0.0");
	struct factory_route route;
	struct world w;
	unsigned lookups;

	(void)state;
	world_new(&w);
	factory_pin(w.f, &relay);
	world_expect(&w, "203.0.113.1", "192.0.2.10");
	factory_unpin(w.f, &relay);
	for (uint32_t i = 0; i < 2 * FACTORY_MAX_POSITIVE; i++) {
		memcpy(dst.bytes + 1,
		       (const uint8_t[3]){(uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i}, 3);
		assert_int_equal(factory_resolve(w.f, &dst, 0, w.now_us, &route), FACTORY_OK);
	}
	lookups = w.lookups;
	world_expect(&w, "203.0.113.1", "192.0.2.10");
	assert_int_equal(w.lookups, lookups + 1);
	world_free(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(t1_cold_cache_looks_up_once),
	    cmocka_unit_test(t2_second_socket_of_the_factory_hits),
	    cmocka_unit_test(t3_another_port_of_the_destination_hits),
	    cmocka_unit_test(t4_two_factories_share_nothing),
	    cmocka_unit_test(t5_ten_thousand_one_shot_sends_look_up_once),
	    cmocka_unit_test(t6_reset_makes_the_next_send_look_up),
	    cmocka_unit_test(t7_eight_resolvers_look_up_eight_times),
	    cmocka_unit_test(t8_answer_overtaken_by_a_reset_is_looked_up_again),
	    cmocka_unit_test(t8_sends_with_the_source_of_the_new_network),
	    cmocka_unit_test(t8_events_read_before_the_question_make_no_answer_stale),
	    cmocka_unit_test(t9_overtaken_twice_drops_without_a_loop),
	    cmocka_unit_test(t10_route_into_the_tunnel_is_refused),
	    cmocka_unit_test(t11_index_of_a_deleted_tunnel_is_accepted_under_another_name),
	    cmocka_unit_test(t14_candidates_of_a_missing_family_cost_two_lookups_a_second),
	    cmocka_unit_test(t16_families_of_one_name_never_mix),
	    cmocka_unit_test(t16_source_of_the_other_family_is_refused),
	    cmocka_unit_test(t17_scopes_of_a_link_local_address_are_two_entries),
	    cmocka_unit_test(t18_link_local_without_scope_is_refused_without_lookup),
	    cmocka_unit_test(t24_blackhole_makes_a_negative_entry),
	    cmocka_unit_test(t33_hostile_destinations_stay_within_the_table),
	    cmocka_unit_test(t33_hostile_unreachable_destinations_push_out_no_route),
	    cmocka_unit_test(t33_table_at_its_limit_and_one_beyond),
	    cmocka_unit_test(t35_only_loopback_left_is_no_source),
	    cmocka_unit_test(t36_own_address_is_accepted_as_local),
	    cmocka_unit_test(t37_malformed_answer_is_not_remembered),
	    cmocka_unit_test(t39_two_that_miss_together_make_one_entry),
	    cmocka_unit_test(t39_a_reset_amid_two_misses_spoils_both_answers),
	    cmocka_unit_test(own_tunnel_address_is_never_a_source),
	    cmocka_unit_test(refusal_is_believed_for_a_second_and_a_hit_does_not_renew_it),
	    cmocka_unit_test(flush_makes_every_entry_a_miss),
	    cmocka_unit_test(flushes_are_logged_once_in_half_a_second),
	    cmocka_unit_test(invalidation_of_an_older_generation_does_nothing),
	    cmocka_unit_test(invalidation_reaches_every_scope),
	    cmocka_unit_test(unpinned_destination_can_be_evicted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
