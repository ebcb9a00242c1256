/* The cache of names at its limits; what the resolver does with it is in test_resolver.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "dns/cache.h"

static const struct ip_addr one = {.family = IP_V4, .bytes = {192, 0, 2, 1}};

static void store(struct dns_cache *c, const char *name, uint32_t ttl_s, uint64_t now_us)
{
	dns_cache_store(c, name, DNS_A, &one, 1, ttl_s, now_us);
}

static bool knows(struct dns_cache *c, const char *name, uint64_t now_us)
{
	return dns_cache_find(c, name, DNS_A, now_us) != NULL;
}

static void answer_holds_until_its_time_is_out(void **state)
{
	struct dns_cache *c = dns_cache_new(2);
	const struct dns_cached *e;

	(void)state;
	store(c, "a.example", 10, 5);
	e = dns_cache_find(c, "A.EXAMPLE", DNS_A, 5 + 10 * US_PER_S - 1);
	assert_non_null(e);
	assert_int_equal(e->n, 1);
	assert_true(ip_eq(&e->addresses[0], &one));
	assert_false(knows(c, "a.example", 5 + 10 * US_PER_S));
	assert_null(dns_cache_find(c, "a.example", DNS_AAAA, 5));
	assert_false(knows(c, "b.example", 5));
	dns_cache_free(c);
}

static void none_is_an_answer_and_time_zero_is_not_kept(void **state)
{
	struct dns_cache *c = dns_cache_new(2);

	(void)state;
	dns_cache_store(c, "a.example", DNS_A, &one, 0, 10, 0);
	assert_non_null(dns_cache_find(c, "a.example", DNS_A, 1));
	assert_int_equal(dns_cache_find(c, "a.example", DNS_A, 1)->n, 0);
	store(c, "b.example", 0, 0);
	assert_false(knows(c, "b.example", 0));
	/* A free place has no name to be found by. */
	assert_false(knows(c, "", 0));
	dns_cache_free(c);
}

static void newer_answer_takes_the_place_of_the_older(void **state)
{
	struct dns_cache *c = dns_cache_new(2);

	(void)state;
	store(c, "a.example", 10, 0);
	store(c, "b.example", 10, 0);
	store(c, "A.example", 20, 1);
	assert_true(knows(c, "b.example", 2));
	assert_true(knows(c, "a.example", 15 * US_PER_S));
	dns_cache_free(c);
}

static void least_used_goes_first_but_for_what_is_out_of_date(void **state)
{
	struct dns_cache *c = dns_cache_new(3);

	(void)state;
	store(c, "a.example", 100, 1);
	store(c, "b.example", 100, 2);
	store(c, "c.example", 5, 3);
	assert_true(knows(c, "a.example", 4));
	store(c, "d.example", 100, 5); /* b was used least lately */
	assert_false(knows(c, "b.example", 6));
	assert_true(knows(c, "a.example", 6) && knows(c, "c.example", 7));
	store(c, "e.example", 100, 8 * US_PER_S); /* c is out of date, though used after d */
	assert_true(knows(c, "a.example", 8 * US_PER_S));
	assert_true(knows(c, "d.example", 8 * US_PER_S));
	assert_true(knows(c, "e.example", 8 * US_PER_S));
	dns_cache_free(c);
}

static void memory_does_not_grow(void **state)
{
	struct dns_cache *c = dns_cache_new(512);
	char name[32];
	size_t known = 0;

	(void)state;
	for (unsigned i = 0; i < 2000; i++) {
		snprintf(name, sizeof(name), "n%u.example", i);
		store(c, name, 1000, i);
	}
	for (unsigned i = 0; i < 2000; i++) {
		snprintf(name, sizeof(name), "n%u.example", i);
		known += knows(c, name, 2000);
		assert_int_equal(knows(c, name, 2000), i >= 2000 - 512);
	}
	assert_int_equal(known, 512);
	dns_cache_clear(c);
	assert_false(knows(c, "n1999.example", 2000));
	dns_cache_free(c);
}

static void longest_name_fits(void **state)
{
	struct dns_cache *c = dns_cache_new(1);
	char name[DNS_NAME_MAX];

	(void)state;
	memset(name, 'a', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	store(c, name, 10, 0);
	assert_true(knows(c, name, 1));
	dns_cache_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(answer_holds_until_its_time_is_out),
	    cmocka_unit_test(none_is_an_answer_and_time_zero_is_not_kept),
	    cmocka_unit_test(newer_answer_takes_the_place_of_the_older),
	    cmocka_unit_test(least_used_goes_first_but_for_what_is_out_of_date),
	    cmocka_unit_test(memory_does_not_grow),
	    cmocka_unit_test(longest_name_fits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
