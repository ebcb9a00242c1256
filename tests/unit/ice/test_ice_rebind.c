/* A NAT on the way gives the peer, or us, another address: how soon the path follows, and that
 * nobody else can make it move. [spec connections 4.4, 14 rows 4 and 13] */
#include "peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define A "203.0.113.7:40000"
#define B "203.0.113.7:40001"
#define C "203.0.113.7:40002"
#define D "203.0.113.7:40003"

enum {
	TICK_MS = 10
};

/* The peer behind its NAT: what it checks, and what of ours gets through to it. */
struct client {
	const char *at[2];     /* addresses that work; the second may be NULL */
	unsigned every_ms;     /* between its checks */
	bool nominates;        /* with each of its checks */
	unsigned wait_ms;      /* until the next ones */
	unsigned n_to[2];      /* checks of ours */
	unsigned n_news;       /* other paths and lost ones */
	const char *spoofed;   /* its check arrives from here too */
	struct stun_txid txid; /* of its newest check */
};

static void answer_all(struct peer *peer, struct client *c)
{
	struct peer_sent sent[PEER_MAX_SENT];
	size_t n = peer->n_sent;

	memcpy(sent, peer->sent, sizeof(sent));
	c->n_news += peer->n_selected + peer->n_unselected;
	for (size_t i = 0; i < n; i++) {
		for (unsigned k = 0; k < ARRAY_LEN(c->at) && c->at[k]; k++) {
			struct endpoint remote = at(c->at[k]);

			if (sent[i].msg.class != STUN_REQUEST ||
			    !endpoint_eq(&sent[i].path.remote, &remote))
				continue;
			c->n_to[k]++;
			peer_answer(peer, sent[i]);
			c->n_news += peer->n_selected + peer->n_unselected;
		}
	}
}

static void client_checks(struct peer *peer, struct client *c)
{
	for (unsigned k = 0; k < ARRAY_LEN(c->at) && c->at[k]; k++) {
		struct peer_check check = {
		    .src = c->at[k],
		    .dst = OUR_HOST,
		    .txid = &c->txid,
		    .use_candidate = c->nominates,
		};

		rng_fill(&peer->rng, c->txid.bytes, sizeof(c->txid.bytes));
		peer_check(peer, &check);
		answer_all(peer, c);
		if (!c->spoofed)
			continue;
		check.src = c->spoofed;
		peer_check(peer, &check);
		answer_all(peer, c);
	}
}

static void tick(struct peer *peer, struct client *c)
{
	peer_run_ms(peer, TICK_MS);
	answer_all(peer, c);
	c->wait_ms -= c->wait_ms > TICK_MS ? TICK_MS : c->wait_ms;
	if (c->wait_ms > 0 || !c->at[0])
		return;
	c->wait_ms = c->every_ms;
	client_checks(peer, c);
}

static void live(struct peer *peer, struct client *c, unsigned ms)
{
	for (unsigned i = 0; i < ms / TICK_MS; i++)
		tick(peer, c);
}

static bool is_path(const struct peer *peer, const char *remote)
{
	struct endpoint r = at(remote);
	struct ice_path path;

	return ice_selected(peer->ice, &path) && endpoint_eq(&path.remote, &r);
}

/* From now on the client's address is another one, right after a check of its own. Milliseconds
 * until the path is that. */
static unsigned rebind_ms(struct peer *peer, struct client *c, const char *to)
{
	unsigned ms = 0;

	while (c->wait_ms != c->every_ms)
		tick(peer, c);
	c->at[0] = to;
	while (!is_path(peer, to) && ms < 60000) {
		tick(peer, c);
		ms += TICK_MS;
	}
	return ms;
}

/* The path works for longer than any schedule is young. */
static void connect_to(struct peer *peer, struct client *c, const char *at)
{
	c->at[0] = at;
	peer_checks(peer, at, OUR_HOST, true);
	answer_all(peer, c);
	live(peer, c, 100000);
	peer_assert_path(peer, OUR_HOST, at);
	c->n_news = 0;
}

static void three_rebindings_in_a_row_are_followed(void **state)
{
	struct client c = {.every_ms = 1500, .nominates = true};
	struct peer *peer = *state;

	connect_to(peer, &c, A);
	assert_in_range(rebind_ms(peer, &c, B), 1500, 2100);
	assert_in_range(rebind_ms(peer, &c, C), 1500, 2100);
	assert_in_range(rebind_ms(peer, &c, D), 1500, 2100);
	live(peer, &c, 30000);
	assert_in_range(rebind_ms(peer, &c, B), 1500, 2900);
	live(peer, &c, 60000);
	assert_int_equal(c.n_news, 4);
}

static void rebinding_from_a_better_signalled_pair_is_followed(void **state)
{
	struct client c = {.every_ms = 1500, .nominates = true};
	struct peer *peer = *state;

	peer_remote(peer, true, CANDIDATE_HOST, A);
	connect_to(peer, &c, A);
	assert_in_range(rebind_ms(peer, &c, B), 1500, 2100);
	assert_in_range(rebind_ms(peer, &c, C), 1500, 2100);
	assert_in_range(rebind_ms(peer, &c, D), 1500, 2100);
	live(peer, &c, 60000);
	assert_int_equal(c.n_news, 3);
}

static void rebinding_from_a_worse_signalled_pair_is_followed_at_once(void **state)
{
	struct client c = {.every_ms = 1500, .nominates = true};
	struct peer *peer = *state;

	peer_remote(peer, true, CANDIDATE_SRFLX, A);
	connect_to(peer, &c, A);
	assert_in_range(rebind_ms(peer, &c, B), 1500, 1520);
	assert_in_range(rebind_ms(peer, &c, C), 1500, 2100);
	assert_in_range(rebind_ms(peer, &c, D), 1500, 2100);
}

/* Consent checks only, each 4 to 6 s; USE-CANDIDATE was said once, of the first address. */
static void peer_that_nominates_once_is_followed(void **state)
{
	static const unsigned paces_ms[] = {4000, 5000, 6000};
	struct peer *peer = *state;
	struct client c = {.every_ms = 5000};

	peer_remote(peer, true, CANDIDATE_HOST, A);
	connect_to(peer, &c, A);
	for (unsigned i = 0; i < ARRAY_LEN(paces_ms); i++) {
		static const char *const to[] = {B, C, D};

		live(peer, &c, 20000);
		c.every_ms = paces_ms[i];
		assert_in_range(rebind_ms(peer, &c, to[i]), paces_ms[i], paces_ms[i] + 20);
	}
	live(peer, &c, 60000);
	assert_int_equal(c.n_news, 3);
	assert_int_equal(ice_state_of(peer->ice), ICE_CONNECTED);
}

static void rebinding_while_idle_is_followed_with_the_next_check(void **state)
{
	struct client c = {.every_ms = 25000, .nominates = true};
	struct peer *peer = *state;

	peer_remote(peer, true, CANDIDATE_HOST, A);
	peer_profile(peer, ICE_IDLE);
	connect_to(peer, &c, A);
	assert_in_range(rebind_ms(peer, &c, B), 25000, 26500);
	assert_in_range(rebind_ms(peer, &c, C), 25000, 25600);
	/* A quiet path that works costs one check per 25 s. */
	memset(c.n_to, 0, sizeof(c.n_to));
	live(peer, &c, 250000);
	assert_in_range(c.n_to[0], 9, 11);
}

static void path_that_returns_to_an_old_address_is_followed(void **state)
{
	struct client c = {.every_ms = 1500, .nominates = true};
	struct peer *peer = *state;

	connect_to(peer, &c, A);
	assert_in_range(rebind_ms(peer, &c, B), 1500, 2100);
	live(peer, &c, 20000);
	assert_in_range(rebind_ms(peer, &c, A), 1500, 2900);
	assert_int_equal(c.n_news, 2);
}

/* Its checks come from two addresses that are equally good, always in one order. */
static void two_equal_paths_that_work_do_not_alternate(void **state)
{
	struct client c = {.every_ms = 1500, .nominates = true};
	struct peer *peer = *state;

	connect_to(peer, &c, A);
	c.at[1] = B;
	live(peer, &c, 300000);
	assert_int_equal(c.n_news, 0);
	/* Nor do they cost more than the regular checks, but for the first look. */
	assert_in_range(c.n_to[0], 100000 / 15000 + 300000 / 15000, 40);
}

/* The peer chose another one for good; the better one still answers us. */
static void peer_that_checks_only_what_it_chose_does_not_make_the_path_flap(void **state)
{
	struct client c = {.every_ms = 5000};
	struct peer *peer = *state;

	peer_remote(peer, true, CANDIDATE_HOST, A);
	connect_to(peer, &c, A);
	/* It nominates B once, checks B only; A answers. */
	c.at[0] = B;
	c.at[1] = NULL;
	peer_checks(peer, B, OUR_HOST, true);
	for (unsigned i = 0; i < 300000 / TICK_MS; i++) {
		c.at[1] = A;
		peer_run_ms(peer, TICK_MS);
		answer_all(peer, &c);
		c.at[1] = NULL;
		if (i % 500 == 0)
			client_checks(peer, &c);
	}
	peer_assert_path(peer, OUR_HOST, B);
	assert_int_equal(c.n_news, 1);
}

static void spoofed_nominations_take_no_working_path_away(void **state)
{
	static const unsigned paces_ms[] = {1500, 5000};
	struct peer *peer = *state;

	for (unsigned k = 0; k < ARRAY_LEN(paces_ms); k++) {
		struct client c = {.every_ms = paces_ms[k], .nominates = true};
		char text[ENDPOINT_TEXT_MAX];

		connect_to(peer, &c, A);
		memset(c.n_to, 0, sizeof(c.n_to));
		for (unsigned i = 0; i < 100; i++) {
			(void)snprintf(text, sizeof(text), "198.18.0.%u:666", i % 20);
			c.spoofed = text;
			live(peer, &c, 1500);
			peer_assert_path(peer, OUR_HOST, A);
		}
		assert_int_equal(c.n_news, 0);
		/* Each makes us ask the path in use once, at most. */
		assert_true(c.n_to[0] <= 200);
	}
}

/* Our own address has changed on the way: nothing arrives until the peer has seen the new one. */
static void quiet_path_is_asked_within_two_seconds(void **state)
{
	struct client c = {.every_ms = 1500, .nominates = true};
	struct peer *peer = *state;

	peer_remote(peer, true, CANDIDATE_HOST, A);
	connect_to(peer, &c, A);
	while (c.wait_ms != c.every_ms)
		tick(peer, &c);
	c.at[0] = NULL;
	peer_run_ms(peer, 2000);
	assert_int_equal(peer_count_to(peer, A), 1);
	peer_run_ms(peer, 800);
	assert_int_equal(peer_count_to(peer, A), 2);
	/* They let the peer's answers in: all is as before. */
	c.at[0] = A;
	memset(c.n_to, 0, sizeof(c.n_to));
	live(peer, &c, 60000);
	assert_int_equal(c.n_news, 0);
	assert_in_range(c.n_to[0], 3, 6);
}

/* The peer's checks still arrive where the NAT let them in before; our answers come from elsewhere.
 */
static void relay_that_sees_us_elsewhere_makes_us_show_ourselves_at_once(void **state)
{
	struct client c = {.every_ms = 1500, .nominates = true};
	struct peer *peer = *state;

	connect_to(peer, &c, A);
	peer_local(peer, true, CANDIDATE_SRFLX, OUR_SRFLX, OUR_HOST);
	assert_int_equal(peer_count_to(peer, A), 0);
	live(peer, &c, 3000);
	peer_local(peer, true, CANDIDATE_SRFLX, "198.51.100.4:1024", OUR_HOST);
	assert_int_equal(peer_count_to(peer, A), 1);
	peer_local(peer, true, CANDIDATE_SRFLX, "198.51.100.4:1024", OUR_HOST);
	assert_int_equal(peer_count_to(peer, A), 0);
}

/* Each sign of trouble asks the path in use again, none gives it more time. */
static void second_doubt_does_not_prolong_the_first(void **state)
{
	static const char other[] = "203.0.113.99:1";
	struct client c = {.every_ms = 1500, .nominates = true};
	struct peer *peer = *state;
	char text[ENDPOINT_TEXT_MAX];

	connect_to(peer, &c, A);
	peer_remote(peer, true, CANDIDATE_RELAY, other);
	peer_answer(peer, peer_check_to(peer, OUR_HOST, other));
	peer_wait_ms(peer, 300);
	for (unsigned i = 0; i < 3; i++) {
		(void)snprintf(text, sizeof(text), "198.18.0.%u:666", i);
		peer_checks(peer, text, OUR_HOST, false);
		if (i < 2)
			peer_checks(peer, other, OUR_HOST, true);
		if (peer_has_check_to(peer, OUR_HOST, other))
			peer_answer(peer, peer_check_to(peer, OUR_HOST, other));
		peer_run_ms(peer, 600);
	}
	peer_assert_path(peer, OUR_HOST, other);
}

static void quiet_path_without_an_heir_stays(void **state)
{
	struct client c = {.every_ms = 1500, .nominates = true};
	struct peer *peer = *state;

	connect_to(peer, &c, A);
	c.at[0] = NULL;
	peer_remote(peer, true, CANDIDATE_HOST, D);
	peer_run_ms(peer, 30000);
	assert_int_equal(peer->n_selected + peer->n_unselected, 0);
	peer_assert_path(peer, OUR_HOST, A);
}

/* It answers our checks, but the peer has never checked it: not what the peer wants. */
static void pair_that_the_peer_does_not_check_inherits_nothing(void **state)
{
	struct client c = {.every_ms = 1500, .nominates = true};
	struct peer *peer = *state;

	connect_to(peer, &c, A);
	peer_remote(peer, true, CANDIDATE_RELAY, D);
	peer_answer(peer, peer_check_to(peer, OUR_HOST, D));
	peer_run_ms(peer, 10000);
	peer_assert_path(peer, OUR_HOST, A);
	/* Its first check changes that, as soon as ours is answered. */
	peer_checks(peer, D, OUR_HOST, false);
	peer_assert_path(peer, OUR_HOST, A);
	peer_answer(peer, peer_check_to(peer, OUR_HOST, D));
	peer_assert_path(peer, OUR_HOST, D);
}

static void path_is_asked_at_once_when_traffic_comes_back(void **state)
{
	struct client c = {.every_ms = 25000, .nominates = true};
	struct peer *peer = *state;

	peer_profile(peer, ICE_IDLE);
	connect_to(peer, &c, A);
	c.at[0] = NULL;
	while (c.wait_ms > 0)
		tick(peer, &c);
	peer_wait_ms(peer, 5000);
	peer_profile(peer, ICE_ACTIVE);
	assert_int_equal(peer_count_to(peer, A), 1);
	peer_run_ms(peer, 800);
	assert_int_equal(peer_count_to(peer, A), 2);
}

/* The caller has checked a request's integrity already. */
static void request_known_as_ours_is_not_verified_again(void **state)
{
	struct peer *peer = *state;
	struct peer_check check = {.src = A, .dst = OUR_HOST, .key = PEER_PWD, .owned = true};

	peer_check(peer, &check);
	assert_non_null(peer_reply(peer));
	check.owned = false;
	peer_check(peer, &check);
	assert_null(peer_reply(peer));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, peer_setup_signalled, peer_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CASE(three_rebindings_in_a_row_are_followed),
	    CASE(rebinding_from_a_better_signalled_pair_is_followed),
	    CASE(rebinding_from_a_worse_signalled_pair_is_followed_at_once),
	    CASE(peer_that_nominates_once_is_followed),
	    CASE(rebinding_while_idle_is_followed_with_the_next_check),
	    CASE(path_that_returns_to_an_old_address_is_followed),
	    CASE(two_equal_paths_that_work_do_not_alternate),
	    CASE(peer_that_checks_only_what_it_chose_does_not_make_the_path_flap),
	    CASE(spoofed_nominations_take_no_working_path_away),
	    CASE(quiet_path_is_asked_within_two_seconds),
	    CASE(relay_that_sees_us_elsewhere_makes_us_show_ourselves_at_once),
	    CASE(second_doubt_does_not_prolong_the_first),
	    CASE(quiet_path_without_an_heir_stays),
	    CASE(pair_that_the_peer_does_not_check_inherits_nothing),
	    CASE(path_is_asked_at_once_when_traffic_comes_back),
	    CASE(request_known_as_ours_is_not_verified_again),
	};

	return cmocka_run_group_tests(tests, peer_group_setup, NULL);
}
