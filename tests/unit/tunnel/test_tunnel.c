#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tunnel/tunnel.h"

#include "grants.h"

enum {
	MAX_CLIENTS = 4
};

struct fixture {
	struct rng_seeded seed;
	struct tunnel *t;
	struct resource a, b; /* 10.1.0.0/16 and 10.2.0.0/16 */
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->t = tunnel_for_test(MAX_CLIENTS, &f->seed);
	f->a = cidr_of(uuid_of(0xa, 1), "10.1.0.0/16");
	f->b = cidr_of(uuid_of(0xb, 1), "10.2.0.0/16");
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	tunnel_free(f->t);
	free(f);
	return 0;
}

/* Whether client @n may send UDP to @dst:@port. */
static bool may_port(struct fixture *f, uint8_t n, const char *dst, uint16_t port, uint64_t now_us)
{
	struct tunnel_grant grant = grant_for(n, &f->a, 0);
	struct build b = {
	    .src = grant.client_v4,
	    .dst = build_ip(dst),
	    .proto = IP_PROTO_UDP,
	    .dst_port = port,
	};
	uint8_t packet[64];
	struct tunnel_reply reply;
	struct ip_view view;
	struct tunnel_client *c = tunnel_find(f->t, &grant.client);

	assert_int_equal(
	    ip_parse_packet(&view, packet, build_packet(&b, packet, sizeof(packet)), IP_INNER_MTU),
	    IP_OK);
	return tunnel_from_client(f->t, c, &view, now_us, &reply) == TUNNEL_FORWARD;
}

static bool may(struct fixture *f, uint8_t n, const char *dst, uint64_t now_us)
{
	return may_port(f, n, dst, 53, now_us);
}

static bool known(struct fixture *f, uint8_t n)
{
	struct uuid id = uuid_of(n, 0);

	return tunnel_find(f->t, &id) != NULL;
}

static void assert_gone(struct fixture *f, uint8_t n)
{
	struct uuid id;
	struct uuid want = uuid_of(n, 0);

	assert_true(tunnel_take_gone(f->t, &id));
	assert_true(uuid_eq(&id, &want));
	assert_false(known(f, n));
}

static void assert_nobody_gone(struct fixture *f)
{
	struct uuid id;

	assert_false(tunnel_take_gone(f->t, &id));
}

static void assert_counts(const struct fixture *f, uint32_t clients, uint32_t grants)
{
	struct tunnel_stats stats;

	tunnel_stats(f->t, &stats);
	assert_int_equal(stats.clients, clients);
	assert_int_equal(stats.grants, grants);
}

static int try_authorize(struct fixture *f, const struct tunnel_grant *grant)
{
	struct tunnel_client *c = NULL;

	return tunnel_authorize(f->t, grant, 0, &c);
}

static void each_grant_opens_its_own_prefix(void **state)
{
	struct fixture *f = *state;

	(void)authorize(f->t, 10, &f->a, TUNNEL_NEVER_EXPIRES, 0);
	assert_true(may(f, 10, "10.1.0.1", 0));
	assert_false(may(f, 10, "10.2.0.1", 0));
	(void)authorize(f->t, 10, &f->b, TUNNEL_NEVER_EXPIRES, 0);
	assert_true(may(f, 10, "10.1.0.1", 0));
	assert_true(may(f, 10, "10.2.0.1", 0));
	assert_counts(f, 1, 2);
}

static void grants_belong_to_one_client(void **state)
{
	struct fixture *f = *state;

	(void)authorize(f->t, 10, &f->a, TUNNEL_NEVER_EXPIRES, 0);
	(void)authorize(f->t, 11, &f->b, TUNNEL_NEVER_EXPIRES, 0);
	assert_false(may(f, 10, "10.2.0.1", 0));
	assert_false(may(f, 11, "10.1.0.1", 0));
	assert_true(may(f, 11, "10.2.0.1", 0));
}

static void addresses_must_be_tunnel_addresses_and_not_ours(void **state)
{
	struct fixture *f = *state;
	struct tunnel_grant grant = grant_for(10, &f->a, TUNNEL_NEVER_EXPIRES);
	struct ip_addr none = {.family = IP_NONE};

	grant.client_v4 = build_ip("100.96.0.1");
	assert_int_equal(try_authorize(f, &grant), -EADDRNOTAVAIL);
	grant.client_v4 = build_ip(GATEWAY_V4);
	assert_int_equal(try_authorize(f, &grant), -EADDRNOTAVAIL);
	grant.client_v4 = build_ip(CLIENT_V6);
	assert_int_equal(try_authorize(f, &grant), -EADDRNOTAVAIL);
	grant.client_v4 = none;
	assert_int_equal(try_authorize(f, &grant), -EADDRNOTAVAIL);
	grant = grant_for(10, &f->a, TUNNEL_NEVER_EXPIRES);
	grant.client_v6 = build_ip(GATEWAY_V6);
	assert_int_equal(try_authorize(f, &grant), -EADDRNOTAVAIL);
	grant.client_v6 = build_ip("2001:db8::1");
	assert_int_equal(try_authorize(f, &grant), -EADDRNOTAVAIL);
	assert_counts(f, 0, 0);
	grant = grant_for(10, &f->a, TUNNEL_NEVER_EXPIRES);
	tunnel_set_addresses(f->t, &none, &none);
	assert_false(tunnel_has_addresses(f->t));
	assert_int_equal(try_authorize(f, &grant), -EADDRNOTAVAIL);
}

static void addresses_of_another_client_are_refused(void **state)
{
	struct fixture *f = *state;
	struct tunnel_grant grant = grant_for(11, &f->a, TUNNEL_NEVER_EXPIRES);

	(void)authorize(f->t, 10, &f->a, TUNNEL_NEVER_EXPIRES, 0);
	grant.client_v4.bytes[3] = 10;
	assert_int_equal(try_authorize(f, &grant), -EADDRINUSE);
	grant = grant_for(11, &f->a, TUNNEL_NEVER_EXPIRES);
	grant.client_v6.bytes[15] = 10;
	assert_int_equal(try_authorize(f, &grant), -EADDRINUSE);
	assert_false(known(f, 11));
	assert_counts(f, 1, 1);
	assert_true(may(f, 10, "10.1.0.1", 0));
}

static void new_addresses_replace_the_peer_state(void **state)
{
	struct fixture *f = *state;
	struct tunnel_grant grant = grant_for(10, &f->b, TUNNEL_NEVER_EXPIRES);
	struct tunnel_grant old = grant_for(12, &f->b, TUNNEL_NEVER_EXPIRES);
	struct tunnel_client *c = authorize(f->t, 10, &f->a, TUNNEL_NEVER_EXPIRES, 0);
	struct tunnel_client *again = NULL;
	int owner = 0;

	tunnel_client_set_owner(c, &owner);
	grant.client_v4.bytes[3] = 20;
	grant.client_v6.bytes[15] = 20;
	assert_int_equal(tunnel_authorize(f->t, &grant, 0, &again), 0);
	assert_ptr_equal(again, c);
	assert_ptr_equal(tunnel_client_owner(c), &owner);
	assert_counts(f, 1, 1);
	assert_nobody_gone(f);
	assert_false(may(f, 10, "10.2.0.1", 0)); /* still sends from its old address */
	old.client_v4.bytes[3] = 10;             /* which is free again */
	old.client_v6.bytes[15] = 10;
	assert_int_equal(try_authorize(f, &old), 0);
	old.client_v4.bytes[3] = 20;
	assert_int_equal(try_authorize(f, &old), -EADDRINUSE);
}

static void last_expiry_wins(void **state)
{
	struct fixture *f = *state;

	(void)authorize(f->t, 10, &f->a, WALL_S + 10, 0);
	(void)authorize(f->t, 10, &f->a, WALL_S + 20, 0);
	assert_true(may(f, 10, "10.1.0.1", 15 * US_PER_S));
	(void)authorize(f->t, 10, &f->a, WALL_S + 5, 0);
	assert_false(may(f, 10, "10.1.0.1", 5 * US_PER_S));
	assert_counts(f, 1, 1);
}

static void reauthorization_replaces_the_filters(void **state)
{
	struct fixture *f = *state;
	struct filter web = {FILTER_TCP, 443, 443};

	(void)authorize(f->t, 10, &f->a, TUNNEL_NEVER_EXPIRES, 0);
	assert_true(may(f, 10, "10.1.0.1", 0));
	f->a.filters = &web;
	f->a.n_filters = 1;
	(void)authorize(f->t, 10, &f->a, TUNNEL_NEVER_EXPIRES, 0);
	assert_false(may(f, 10, "10.1.0.1", 0));
}

static void past_expiry_grants_nothing(void **state)
{
	struct fixture *f = *state;

	assert_null(authorize(f->t, 10, &f->a, WALL_S, 0));
	assert_null(authorize(f->t, 10, &f->a, -5, 0));
	assert_false(known(f, 10));
	assert_nobody_gone(f);
	(void)authorize(f->t, 10, &f->a, TUNNEL_NEVER_EXPIRES, 0);
	(void)authorize(f->t, 10, &f->b, TUNNEL_NEVER_EXPIRES, 0);
	assert_non_null(authorize(f->t, 10, &f->a, WALL_S - 1, 0));
	assert_false(may(f, 10, "10.1.0.1", 0));
	assert_null(authorize(f->t, 10, &f->b, WALL_S - 1, 0));
	assert_gone(f, 10);
}

static void huge_expiry_never_comes(void **state)
{
	struct fixture *f = *state;

	(void)authorize(f->t, 10, &f->a, INT64_MAX - 1, 0);
	assert_true(may(f, 10, "10.1.0.1", NEVER_US - 1));
}

static void expired_grants_go_at_the_tick(void **state)
{
	struct fixture *f = *state;

	assert_true(tunnel_deadline(f->t) == NEVER_US);
	(void)authorize(f->t, 10, &f->a, WALL_S + 10, 0);
	(void)authorize(f->t, 10, &f->b, WALL_S + 20, 0);
	(void)authorize(f->t, 11, &f->a, TUNNEL_NEVER_EXPIRES, 0);
	assert_true(tunnel_deadline(f->t) == 10 * US_PER_S);
	tunnel_tick(f->t, 10 * US_PER_S - 1);
	assert_counts(f, 2, 3);
	tunnel_tick(f->t, 10 * US_PER_S);
	assert_counts(f, 2, 2);
	assert_nobody_gone(f);
	assert_true(tunnel_deadline(f->t) == 20 * US_PER_S);
	tunnel_tick(f->t, 30 * US_PER_S);
	assert_gone(f, 10);
	assert_nobody_gone(f);
	assert_true(tunnel_deadline(f->t) == NEVER_US);
	assert_counts(f, 1, 1);
}

static void clock_step_moves_deadlines(void **state)
{
	struct fixture *f = *state;

	(void)authorize(f->t, 10, &f->a, WALL_S + 100, 0);
	tunnel_set_clock(f->t, 1 * US_PER_S, WALL_US + 1 * US_PER_S);
	assert_true(may(f, 10, "10.1.0.1", 50 * US_PER_S));
	tunnel_set_clock(f->t, 2 * US_PER_S, WALL_US + 62 * US_PER_S); /* one minute ahead */
	assert_true(may(f, 10, "10.1.0.1", 40 * US_PER_S - 1));
	assert_false(may(f, 10, "10.1.0.1", 40 * US_PER_S));
	assert_true(tunnel_deadline(f->t) == 40 * US_PER_S);
	tunnel_set_clock(f->t, 3 * US_PER_S, WALL_US + 3 * US_PER_S); /* and back */
	assert_true(may(f, 10, "10.1.0.1", 99 * US_PER_S));
	tunnel_set_clock(f->t, 4 * US_PER_S, WALL_US + 200 * US_PER_S);
	assert_false(may(f, 10, "10.1.0.1", 4 * US_PER_S));
	tunnel_tick(f->t, 4 * US_PER_S);
	assert_gone(f, 10);
}

static void finite_expiry_counts_as_past_before_the_clock_is_known(void **state)
{
	struct rng_seeded seed;
	struct tunnel_config cfg = {.max_clients = 2, .rng = rng_from_seed(&seed, 1)};
	struct ip_addr v4 = build_ip(GATEWAY_V4);
	struct ip_addr v6 = build_ip(GATEWAY_V6);
	struct fixture *f = *state;
	struct tunnel *t = tunnel_new(&cfg);

	assert_non_null(t);
	tunnel_set_addresses(t, &v4, &v6);
	assert_null(authorize(t, 10, &f->a, WALL_S + 10, 0));
	assert_non_null(authorize(t, 10, &f->a, TUNNEL_NEVER_EXPIRES, 0));
	tunnel_free(t);
}

static void reject_ends_one_resource_and_the_last_one_the_client(void **state)
{
	struct fixture *f = *state;
	struct uuid client = uuid_of(10, 0);

	(void)authorize(f->t, 10, &f->a, TUNNEL_NEVER_EXPIRES, 0);
	(void)authorize(f->t, 10, &f->b, TUNNEL_NEVER_EXPIRES, 0);
	tunnel_reject(f->t, &client, &f->a.id);
	assert_false(may(f, 10, "10.1.0.1", 0));
	assert_true(may(f, 10, "10.2.0.1", 0));
	assert_nobody_gone(f);
	tunnel_reject(f->t, &client, &f->a.id);
	tunnel_reject(f->t, &client, &f->b.id);
	assert_gone(f, 10);
	assert_nobody_gone(f);
	tunnel_reject(f->t, &client, &f->b.id);
	assert_nobody_gone(f);
	assert_counts(f, 0, 0);
}

static void removed_client_loses_everything(void **state)
{
	struct fixture *f = *state;
	struct uuid client = uuid_of(10, 0);

	(void)authorize(f->t, 10, &f->a, TUNNEL_NEVER_EXPIRES, 0);
	tunnel_remove_client(f->t, &client);
	tunnel_remove_client(f->t, &client);
	assert_gone(f, 10);
	assert_nobody_gone(f);
	assert_false(may(f, 10, "10.1.0.1", 0));
}

static void client_that_returns_before_the_report_is_not_gone(void **state)
{
	struct fixture *f = *state;
	struct uuid ten = uuid_of(10, 0);
	struct uuid eleven = uuid_of(11, 0);

	(void)authorize(f->t, 10, &f->a, TUNNEL_NEVER_EXPIRES, 0);
	(void)authorize(f->t, 11, &f->a, TUNNEL_NEVER_EXPIRES, 0);
	tunnel_remove_client(f->t, &ten);
	tunnel_remove_client(f->t, &eleven);
	(void)authorize(f->t, 10, &f->a, TUNNEL_NEVER_EXPIRES, 0);
	assert_gone(f, 11);
	assert_nobody_gone(f);
	assert_true(known(f, 10));
}

static void expiry_can_be_changed(void **state)
{
	struct fixture *f = *state;
	struct uuid client = uuid_of(10, 0);
	struct uuid other = uuid_of(11, 0);

	(void)authorize(f->t, 10, &f->a, WALL_S + 10, 0);
	tunnel_set_expiry(f->t, &other, &f->a.id, WALL_S, 0);
	tunnel_set_expiry(f->t, &client, &f->b.id, WALL_S, 0);
	assert_true(may(f, 10, "10.1.0.1", 0));
	tunnel_set_expiry(f->t, &client, &f->a.id, WALL_S + 30, 0);
	assert_true(may(f, 10, "10.1.0.1", 29 * US_PER_S));
	assert_true(tunnel_deadline(f->t) <= 30 * US_PER_S);
	tunnel_set_expiry(f->t, &client, &f->a.id, WALL_S + 1, 5 * US_PER_S);
	assert_gone(f, 10);
}

static void update_changes_the_filters_of_every_holder(void **state)
{
	struct fixture *f = *state;
	struct filter dns = {FILTER_UDP, 53, 53};
	struct resource updated = cidr_of(f->a.id, "10.9.0.0/16");

	(void)authorize(f->t, 10, &f->a, TUNNEL_NEVER_EXPIRES, 0);
	(void)authorize(f->t, 11, &f->a, TUNNEL_NEVER_EXPIRES, 0);
	(void)authorize(f->t, 11, &f->b, TUNNEL_NEVER_EXPIRES, 0);
	updated.filters = &dns;
	updated.n_filters = 1;
	tunnel_update_resource(f->t, &updated);
	for (uint8_t n = 10; n < 12; n++) {
		assert_true(may_port(f, n, "10.1.0.1", 53, 0));
		assert_false(may_port(f, n, "10.1.0.1", 54, 0));
		assert_false(may_port(f, n, "10.9.0.1", 53, 0)); /* an address change is ignored */
	}
	assert_true(may_port(f, 11, "10.2.0.1", 54, 0));
}

static void update_of_another_type_is_ignored(void **state)
{
	struct fixture *f = *state;
	struct resource dns = {.id = f->a.id, .kind = RESOURCE_DNS};
	struct filter web = {FILTER_TCP, 443, 443};

	dns.filters = &web;
	dns.n_filters = 1;
	(void)authorize(f->t, 10, &f->a, TUNNEL_NEVER_EXPIRES, 0);
	tunnel_update_resource(f->t, &dns);
	assert_true(may(f, 10, "10.1.0.1", 0));
}

static void prune_keeps_what_is_listed_and_applies_its_expiry(void **state)
{
	struct fixture *f = *state;
	struct tunnel_authorization list[] = {
	    {uuid_of(10, 0), f->a.id, WALL_S + 5},
	    {uuid_of(12, 0), f->b.id, WALL_S - 5},
	    {uuid_of(99, 0), f->a.id, TUNNEL_NEVER_EXPIRES},
	};

	(void)authorize(f->t, 10, &f->a, TUNNEL_NEVER_EXPIRES, 0);
	(void)authorize(f->t, 10, &f->b, TUNNEL_NEVER_EXPIRES, 0);
	(void)authorize(f->t, 11, &f->a, TUNNEL_NEVER_EXPIRES, 0);
	(void)authorize(f->t, 12, &f->b, TUNNEL_NEVER_EXPIRES, 0);
	tunnel_prune(f->t, list, ARRAY_LEN(list), 0);
	assert_counts(f, 1, 1);
	assert_gone(f, 11);
	assert_gone(f, 12);
	assert_nobody_gone(f);
	assert_true(may(f, 10, "10.1.0.1", 5 * US_PER_S - 1));
	assert_false(may(f, 10, "10.1.0.1", 5 * US_PER_S));
	assert_false(may(f, 10, "10.2.0.1", 0));
	assert_false(known(f, 99));
	tunnel_prune(f->t, NULL, 0, 0);
	assert_gone(f, 10);
	assert_counts(f, 0, 0);
}

static void dns_resource_is_held_but_opens_nothing(void **state)
{
	struct fixture *f = *state;
	struct resource dns = {.id = uuid_of(0xd, 0), .kind = RESOURCE_DNS};

	(void)authorize(f->t, 10, &dns, WALL_S + 10, 0);
	assert_counts(f, 1, 1);
	assert_false(may(f, 10, "100.96.0.1", 0));
	assert_false(may(f, 10, "10.1.0.1", 0));
	tunnel_tick(f->t, 10 * US_PER_S);
	assert_gone(f, 10);
}

static void clients_have_a_limit(void **state)
{
	struct fixture *f = *state;
	struct tunnel_grant more = grant_for(10 + MAX_CLIENTS, &f->a, TUNNEL_NEVER_EXPIRES);
	struct uuid first = uuid_of(10, 0);

	for (unsigned int n = 10; n < 10 + MAX_CLIENTS; n++)
		(void)authorize(f->t, (uint8_t)n, &f->a, TUNNEL_NEVER_EXPIRES, 0);
	assert_int_equal(try_authorize(f, &more), -ENOSPC);
	(void)authorize(f->t, 10, &f->b, TUNNEL_NEVER_EXPIRES, 0);
	assert_counts(f, MAX_CLIENTS, MAX_CLIENTS + 1);
	tunnel_remove_client(f->t, &first);
	assert_gone(f, 10);
	assert_int_equal(try_authorize(f, &more), 0);
}

static void unreported_clients_are_bounded(void **state)
{
	struct fixture *f = *state;
	struct tunnel_grant more = grant_for(50, &f->a, TUNNEL_NEVER_EXPIRES);

	for (unsigned int n = 10; n < 10 + MAX_CLIENTS; n++)
		(void)authorize(f->t, (uint8_t)n, &f->a, TUNNEL_NEVER_EXPIRES, 0);
	tunnel_prune(f->t, NULL, 0, 0);
	assert_int_equal(try_authorize(f, &more), -ENOSPC);
	for (unsigned int n = 10; n < 10 + MAX_CLIENTS; n++)
		assert_gone(f, (uint8_t)n);
	assert_int_equal(try_authorize(f, &more), 0);
}

static void resources_have_a_limit(void **state)
{
	struct fixture *f = *state;
	struct tunnel_grant grant = grant_for(10, &f->a, TUNNEL_NEVER_EXPIRES);
	struct resource r = f->a;

	grant.resource = &r;
	for (uint32_t i = 0; i < TUNNEL_MAX_RESOURCES; i++) {
		r.id.bytes[0] = (uint8_t)(i >> 8);
		r.id.bytes[1] = (uint8_t)i;
		assert_int_equal(try_authorize(f, &grant), 0);
	}
	assert_counts(f, 1, TUNNEL_MAX_RESOURCES);
	assert_int_equal(try_authorize(f, &grant), 0); /* a known one */
	r.id.bytes[0] = 0xff;
	assert_int_equal(try_authorize(f, &grant), -ENOSPC);
	assert_true(may(f, 10, "10.1.0.1", 0));
	grant.client_v4.bytes[3] = 77; /* replaces all the others, so there is room */
	assert_int_equal(try_authorize(f, &grant), 0);
	assert_counts(f, 1, 1);
}

static void filters_beyond_the_limit_change_nothing(void **state)
{
	static struct filter many[RESOURCE_MAX_FILTERS + 1];
	struct fixture *f = *state;
	struct tunnel_grant grant = grant_for(10, &f->a, TUNNEL_NEVER_EXPIRES);

	f->a.filters = many;
	f->a.n_filters = ARRAY_LEN(many);
	assert_int_equal(try_authorize(f, &grant), -ENOMEM);
	assert_counts(f, 0, 0);
	assert_false(known(f, 10));
}

static void number_of_clients_is_checked(void **state)
{
	struct rng_seeded seed;
	struct tunnel_config cfg = {.rng = rng_from_seed(&seed, 1)};
	struct tunnel *t;

	(void)state;
	assert_null(tunnel_new(&cfg));
	cfg.max_clients = TUNNEL_MAX_CLIENTS + 1;
	assert_null(tunnel_new(&cfg));
	cfg.max_clients = TUNNEL_MAX_CLIENTS;
	t = tunnel_new(&cfg);
	assert_non_null(t);
	tunnel_free(t);
	tunnel_free(NULL);
}

static void handle_names_its_client(void **state)
{
	struct fixture *f = *state;
	struct tunnel_client *c = authorize(f->t, 10, &f->a, TUNNEL_NEVER_EXPIRES, 0);
	struct uuid want = uuid_of(10, 0);

	assert_null(tunnel_client_owner(c));
	assert_true(uuid_eq(tunnel_client_id(c), &want));
	assert_ptr_equal(tunnel_find(f->t, &want), c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	    CASE(each_grant_opens_its_own_prefix),
	    CASE(grants_belong_to_one_client),
	    CASE(addresses_must_be_tunnel_addresses_and_not_ours),
	    CASE(addresses_of_another_client_are_refused),
	    CASE(new_addresses_replace_the_peer_state),
	    CASE(last_expiry_wins),
	    CASE(reauthorization_replaces_the_filters),
	    CASE(past_expiry_grants_nothing),
	    CASE(huge_expiry_never_comes),
	    CASE(expired_grants_go_at_the_tick),
	    CASE(clock_step_moves_deadlines),
	    CASE(finite_expiry_counts_as_past_before_the_clock_is_known),
	    CASE(reject_ends_one_resource_and_the_last_one_the_client),
	    CASE(removed_client_loses_everything),
	    CASE(client_that_returns_before_the_report_is_not_gone),
	    CASE(expiry_can_be_changed),
	    CASE(update_changes_the_filters_of_every_holder),
	    CASE(update_of_another_type_is_ignored),
	    CASE(prune_keeps_what_is_listed_and_applies_its_expiry),
	    CASE(dns_resource_is_held_but_opens_nothing),
	    CASE(clients_have_a_limit),
	    CASE(unreported_clients_are_bounded),
	    CASE(resources_have_a_limit),
	    CASE(filters_beyond_the_limit_change_nothing),
	    CASE(number_of_clients_is_checked),
	    CASE(handle_names_its_client),
#undef CASE
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
