#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/rng.h"
#include "tunnel/route.h"

#include "grants.h"

enum {
	MAX_GRANTS = 300
};

struct fixture {
	struct grant grants[MAX_GRANTS];
	size_t n;
	struct route routes[MAX_GRANTS];
	struct route_table table;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->table.routes = f->routes;
	*state = f;
	return 0;
}

static void clear(struct fixture *f)
{
	for (size_t i = 0; i < f->n; i++)
		filter_set_unref(f->grants[i].filters);
	f->n = 0;
}

static int teardown(void **state)
{
	clear(*state);
	free(*state);
	return 0;
}

static int by_id(const void *a, const void *b)
{
	const struct grant *x = a;
	const struct grant *y = b;

	return uuid_cmp(&x->id, &y->id);
}

static void add(struct fixture *f, const struct resource *r, uint64_t deadline_us)
{
	struct grant *g = &f->grants[f->n];

	assert_true(f->n < MAX_GRANTS);
	*g = (struct grant){
	    .id = r->id,
	    .kind = r->kind,
	    .prefix = r->prefix,
	    .filters = filter_set_new(r->filters, r->n_filters),
	    .deadline_us = deadline_us,
	};
	assert_non_null(g->filters);
	f->n++;
	qsort(f->grants, f->n, sizeof(*g), by_id);
	route_table_rebuild(&f->table, f->grants, f->n);
}

static enum route_verdict look(const struct fixture *f, const char *addr, enum ip_kind kind,
			       uint16_t port, uint64_t now_us, const struct grant **who)
{
	struct ip_addr ip = build_ip(addr);
	struct route_query q = {.addr = &ip, .kind = kind, .port = port, .now_us = now_us};

	*who = NULL;
	return route_lookup(&f->table, f->grants, &q, who);
}

static void check_decision(const struct fixture *f, const cJSON *want, const char *name)
{
	const char *dst = vectors_string(want, "dst");
	const struct grant *who;
	char id[UUID_TEXT_LEN + 1];
	enum route_verdict verdict = look(f, dst, kind_of(vectors_string(want, "proto")),
					  (uint16_t)vectors_u64(want, "port"), 0, &who);

	if (vectors_has(want, "required")) {
		if (verdict != ROUTE_PERMITTED)
			fail_msg("%s: %s refused", name, dst);
		uuid_format(&who->id, id);
		assert_string_equal(id, vectors_string(want, "required"));
		return;
	}
	if (strcmp(vectors_string(want, "refused_with"), "unreachable") == 0)
		assert_int_equal(verdict, ROUTE_UNREACHABLE);
	else
		assert_int_equal(verdict, ROUTE_PROHIBITED);
}

static void overlap_follows_the_vectors(void **state)
{
	struct fixture *f = *state;
	cJSON *json = vectors_load(VECTORS_DIR "/dataplane-filter.json");
	const cJSON *row;
	const cJSON *item;
	int rows = 0;

	cJSON_ArrayForEach(row, vectors_get(json, "overlap"))
	{
		clear(f);
		cJSON_ArrayForEach(item, vectors_get(row, "resources"))
		{
			struct filter filters[GRANT_FILTERS_MAX];
			struct resource r = resource_of(item, filters);

			add(f, &r, NEVER_US);
		}
		cJSON_ArrayForEach(item, vectors_get(row, "decisions"))
		{
			check_decision(f, item, vectors_string(row, "name"));
			rows++;
		}
	}
	assert_int_equal(rows, 36);
	cJSON_Delete(json);
}

/* The rule as the specification words it, over the plain list. */
static const struct grant *oracle(const struct fixture *f, const struct route_query *q)
{
	const struct grant *best = NULL;

	for (size_t i = 0; i < f->n; i++) {
		const struct grant *g = &f->grants[i];

		if (g->kind != RESOURCE_CIDR || !ip_prefix_has(&g->prefix, q->addr) ||
		    q->now_us >= g->deadline_us || !filter_permits(g->filters, q->kind, q->port))
			continue;
		if (!best || g->prefix.len > best->prefix.len ||
		    (g->prefix.len == best->prefix.len && uuid_cmp(&g->id, &best->id) > 0))
			best = g;
	}
	return best;
}

/* Few distinct bits, so that prefixes nest and repeat. */
static struct ip_addr random_address(const struct rng *rng, uint8_t family)
{
	static const uint8_t picks[] = {0x00, 0x80, 0xff, 0x01};
	struct ip_addr ip = {.family = family};
	size_t len = family == IP_V4 ? 4 : 16;

	for (size_t i = 0; i < len; i++)
		ip.bytes[i] = rng_below(rng, 3) ? 0 : picks[rng_below(rng, ARRAY_LEN(picks))];
	ip.bytes[0] = family == IP_V4 ? 20 : 0x20;
	return ip;
}

static struct resource random_cidr(const struct rng *rng, struct filter *filter)
{
	struct resource r = {.kind = RESOURCE_CIDR, .filters = filter};

	rng_fill(rng, &r.id, sizeof(r.id));
	r.prefix.ip = random_address(rng, rng_below(rng, 2) ? IP_V4 : IP_V6);
	r.prefix.len = (uint8_t)rng_below(rng, r.prefix.ip.family == IP_V4 ? 33 : 129);
	if (rng_below(rng, 4))
		r.prefix.len = (uint8_t)(r.prefix.len / 8 * 8);
	for (size_t bit = r.prefix.len; bit < 128; bit++)
		r.prefix.ip.bytes[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
	r.n_filters = rng_below(rng, 3) ? 1 : 0;
	*filter = (struct filter){.protocol = rng_below(rng, 2) ? FILTER_TCP : FILTER_ICMP,
				  .port_start = (uint16_t)rng_below(rng, 4),
				  .port_end = (uint16_t)(2 + rng_below(rng, 4))};
	return r;
}

static void random_tables_agree_with_the_plain_list(void **state)
{
	struct fixture *f = *state;
	struct rng_seeded seed;
	struct rng rng = rng_from_seed(&seed, 2);
	size_t permitted = 0;

	for (int round = 0; round < 60; round++) {
		size_t n = 1 + rng_below(&rng, round % 2 ? MAX_GRANTS - 1 : 12);

		clear(f);
		for (size_t i = 0; i < n; i++) {
			struct filter filter;
			struct resource r = random_cidr(&rng, &filter);

			add(f, &r, rng_below(&rng, 3) ? NEVER_US : 50);
		}
		for (int i = 0; i < 4000; i++) {
			struct ip_addr ip =
			    random_address(&rng, rng_below(&rng, 2) ? IP_V4 : IP_V6);
			struct route_query q = {
			    .addr = &ip,
			    .kind = rng_below(&rng, 2) ? IP_KIND_TCP : IP_KIND_ECHO,
			    .port = (uint16_t)rng_below(&rng, 8),
			    .now_us = rng_below(&rng, 100),
			};
			const struct grant *got = NULL;
			const struct grant *want = oracle(f, &q);
			enum route_verdict verdict = route_lookup(&f->table, f->grants, &q, &got);

			assert_int_equal(verdict, want ? ROUTE_PERMITTED : ROUTE_PROHIBITED);
			assert_ptr_equal(got, want);
			permitted += want != NULL;
		}
	}
	assert_true(permitted > 20000);
}

static void empty_table_prohibits(void **state)
{
	struct fixture *f = *state;
	const struct grant *who;

	route_table_rebuild(&f->table, f->grants, 0);
	assert_int_equal(look(f, "10.0.0.1", IP_KIND_TCP, 80, 0, &who), ROUTE_PROHIBITED);
	assert_int_equal(look(f, "2001:db8::1", IP_KIND_TCP, 80, 0, &who), ROUTE_PROHIBITED);
}

static void grant_counts_until_its_deadline(void **state)
{
	struct fixture *f = *state;
	struct resource wide = cidr_of(uuid_of(1, 0), "10.0.0.0/8");
	struct resource narrow = cidr_of(uuid_of(2, 0), "10.1.0.0/16");
	const struct grant *who;

	add(f, &wide, 200);
	add(f, &narrow, 100);
	assert_int_equal(look(f, "10.1.0.1", IP_KIND_TCP, 1, 99, &who), ROUTE_PERMITTED);
	assert_int_equal(who->prefix.len, 16);
	assert_int_equal(look(f, "10.1.0.1", IP_KIND_TCP, 1, 100, &who), ROUTE_PERMITTED);
	assert_int_equal(who->prefix.len, 8);
	assert_int_equal(look(f, "10.1.0.1", IP_KIND_TCP, 1, 200, &who), ROUTE_PROHIBITED);
}

static void internet_resource_leaves_special_ranges_closed(void **state)
{
	static const char *const closed[] = {
	    "10.0.0.1",  "172.16.0.1",  "172.31.255.255",  "192.168.0.1",
	    "127.0.0.1", "169.254.1.1", "100.127.255.255", "240.0.0.1",
	    "0.0.0.1",   "::1",         "::ffff:8.8.8.8",  "fc00::1",
	    "fdff::1",   "fe80::1",     "febf::1",         "::",
	};
	static const char *const open[] = {
	    "9.255.255.255",   "11.0.0.0",    "172.15.255.255", "172.32.0.0",
	    "192.167.0.1",     "192.169.0.0", "126.0.0.1",      "128.0.0.1",
	    "169.253.0.1",     "169.255.0.1", "100.63.255.255", "100.128.0.0",
	    "223.255.255.255", "1.1.1.1",     "2001:db8::1",    "fbff::1",
	    "fec0::1",         "::2",
	};
	struct fixture *f = *state;
	struct resource internet = {.id = uuid_of(1, 0), .kind = RESOURCE_INTERNET};
	const struct grant *who;

	add(f, &internet, 100);
	for (size_t i = 0; i < ARRAY_LEN(open); i++)
		if (look(f, open[i], IP_KIND_OTHER, 0, 0, &who) != ROUTE_PERMITTED)
			fail_msg("%s is closed", open[i]);
	for (size_t i = 0; i < ARRAY_LEN(closed); i++) {
		struct ip_addr ip = build_ip(closed[i]);
		enum route_verdict verdict = look(f, closed[i], IP_KIND_TCP, 80, 0, &who);

		/* 100.64/10 is the tunnel and proxy ranges, which are prohibited, not unreachable.
		 */
		if (ip_is_proxy(&ip))
			assert_int_equal(verdict, ROUTE_PROHIBITED);
		else if (verdict != ROUTE_UNREACHABLE)
			fail_msg("%s: verdict %d", closed[i], verdict);
	}
	assert_int_equal(look(f, "1.1.1.1", IP_KIND_TCP, 80, 100, &who), ROUTE_PROHIBITED);
	assert_int_equal(look(f, "10.0.0.1", IP_KIND_TCP, 80, 100, &who), ROUTE_PROHIBITED);
}

static void highest_living_internet_resource_is_named(void **state)
{
	struct fixture *f = *state;
	struct resource low = {.id = uuid_of(1, 0), .kind = RESOURCE_INTERNET};
	struct resource high = {.id = uuid_of(2, 0), .kind = RESOURCE_INTERNET};
	const struct grant *who;

	add(f, &high, 50);
	add(f, &low, 100);
	assert_int_equal(look(f, "1.1.1.1", IP_KIND_TCP, 80, 0, &who), ROUTE_PERMITTED);
	assert_true(uuid_eq(&who->id, &high.id));
	assert_int_equal(look(f, "1.1.1.1", IP_KIND_TCP, 80, 50, &who), ROUTE_PERMITTED);
	assert_true(uuid_eq(&who->id, &low.id));
}

static void no_prefix_opens_tunnel_loopback_or_link_local(void **state)
{
	static const char *const closed[] = {
	    "100.64.0.9", "100.95.1.1", "127.0.0.1",       "169.254.169.254", "fd00:2021:1111::9",
	    "::1",        "fe80::1",    "255.255.255.255", "0.0.0.0",         "::"};
	struct fixture *f = *state;
	struct resource all4 = cidr_of(uuid_of(1, 0), "0.0.0.0/0");
	struct resource all6 = cidr_of(uuid_of(2, 0), "::/0");
	const struct grant *who;

	add(f, &all4, NEVER_US);
	add(f, &all6, NEVER_US);
	assert_int_equal(look(f, "10.0.0.1", IP_KIND_OTHER, 0, 0, &who), ROUTE_PERMITTED);
	assert_int_equal(look(f, "fc00::1", IP_KIND_OTHER, 0, 0, &who), ROUTE_PERMITTED);
	for (size_t i = 0; i < ARRAY_LEN(closed); i++)
		if (look(f, closed[i], IP_KIND_TCP, 80, 0, &who) != ROUTE_PROHIBITED)
			fail_msg("%s is open", closed[i]);
}

static void proxy_addresses_are_never_forwarded_untranslated(void **state)
{
	struct fixture *f = *state;
	struct resource all4 = cidr_of(uuid_of(1, 0), "0.0.0.0/0");
	struct resource dns = {.id = uuid_of(2, 0), .kind = RESOURCE_DNS};
	struct resource internet = {.id = uuid_of(3, 0), .kind = RESOURCE_INTERNET};
	const struct grant *who;

	add(f, &dns, NEVER_US);
	add(f, &internet, NEVER_US);
	assert_int_equal(look(f, "100.96.0.1", IP_KIND_TCP, 80, 0, &who), ROUTE_PROHIBITED);
	add(f, &all4, NEVER_US);
	assert_int_equal(look(f, "100.96.0.1", IP_KIND_TCP, 80, 0, &who), ROUTE_UNREACHABLE);
	assert_int_equal(look(f, "fd00:2021:1111:8000::1", IP_KIND_TCP, 80, 0, &who),
			 ROUTE_PROHIBITED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	    CASE(overlap_follows_the_vectors),
	    CASE(random_tables_agree_with_the_plain_list),
	    CASE(empty_table_prohibits),
	    CASE(grant_counts_until_its_deadline),
	    CASE(internet_resource_leaves_special_ranges_closed),
	    CASE(highest_living_internet_resource_is_named),
	    CASE(no_prefix_opens_tunnel_loopback_or_link_local),
	    CASE(proxy_addresses_are_never_forwarded_untranslated),
#undef CASE
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
