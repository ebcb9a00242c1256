/* What one client, and all together, may ask and hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "forwarder_host.h"

static void one_question_at_a_time_on_a_connection(void **state)
{
	struct world *w = *state;
	struct message q = question(1);
	struct uuid id = client(1);
	uint32_t c = forwarder_open(w->f, &id, w->now_us);

	forwarder_message(w->f, c, q.at, q.len, w->now_us);
	forwarder_message(w->f, c, q.at, q.len, w->now_us);
	look(w);
	assert_int_equal(w->n_asked, 1);
	assert_int_equal(w->hang_ups, 0);
}

static void what_is_no_query_ends_the_connection(void **state)
{
	struct world *w = *state;
	struct uuid id = client(1);
	uint32_t c = forwarder_open(w->f, &id, w->now_us);

	forwarder_message(w->f, c, (const uint8_t *)"nonsense", 8, w->now_us);
	assert_false(forwarder_ready(w->f, c));
	look(w);
	assert_int_equal(w->hang_ups, 1);
	assert_int_equal(w->hung_up, c);
	assert_int_equal(counters(w).connections, 0);
}

static void idle_connection_ends_after_ten_seconds(void **state)
{
	struct world *w = *state;
	struct message q = question(1), a;
	struct uuid id = client(1);
	uint32_t c = forwarder_open(w->f, &id, w->now_us);

	advance(w, 9 * US_PER_S);
	forwarder_message(w->f, c, q.at, q.len, w->now_us);
	look(w);
	advance(w, 2 * US_PER_S);
	a = answer_to(last(w)->data, last(w)->x.len, ANSWERED);
	reply_with(w, last(w), &last(w)->x.server, &a);
	advance(w, 10 * US_PER_S - 1);
	assert_int_equal(w->hang_ups, 0);
	advance(w, 1);
	assert_int_equal(w->hang_ups, 1);
	assert_int_equal(counters(w).connections, 0);
}

static void connection_that_was_answered_at_once_ends_after_ten_idle_seconds_too(void **state)
{
	struct world *w = *state;
	struct message q = question(1);
	struct uuid id = client(1);
	uint32_t c = forwarder_open(w->f, &id, w->now_us);

	rank(w, 0);
	advance(w, 5 * US_PER_S);
	forwarder_message(w->f, c, q.at, q.len, w->now_us);
	look(w);
	assert_int_equal(w->messages, 1);
	advance(w, 10 * US_PER_S - 1);
	assert_int_equal(w->hang_ups, 0);
	advance(w, 1);
	assert_int_equal(w->hang_ups, 1);
}

static void connection_with_a_question_under_way_is_not_idle(void **state)
{
	struct world *w = *state;
	struct message q = question(1);
	struct uuid id = client(1);
	uint32_t c = forwarder_open(w->f, &id, w->now_us);

	advance(w, 9 * US_PER_S);
	forwarder_message(w->f, c, q.at, q.len, w->now_us);
	look(w);
	advance(w, 4 * US_PER_S);
	assert_int_equal(w->hang_ups, 0);
	assert_int_equal(counters(w).outstanding, 1);
}

static void connection_that_ends_takes_its_question_along(void **state)
{
	struct world *w = *state;
	struct message q = question(1);
	struct uuid id = client(1);
	uint32_t c = forwarder_open(w->f, &id, w->now_us);

	forwarder_message(w->f, c, q.at, q.len, w->now_us);
	look(w);
	forwarder_closed(w->f, c);
	look(w);
	assert_true(last(w)->closed);
	assert_int_equal(counters(w).outstanding, 0);
	assert_int_equal(w->messages + w->hang_ups, 0);
	assert_int_equal(forwarder_deadline(w->f), NEVER_US);
}

static void sixteen_connections_of_a_client_and_not_one_more(void **state)
{
	struct world *w = *state;
	struct uuid one = client(1), two = client(2);
	uint32_t c = 0;

	for (int i = 0; i < FORWARDER_CLIENT_CONNECTIONS; i++) {
		c = forwarder_open(w->f, &one, w->now_us);
		assert_int_not_equal(c, 0);
	}
	assert_int_equal(forwarder_open(w->f, &one, w->now_us), 0);
	assert_int_not_equal(forwarder_open(w->f, &two, w->now_us), 0);
	forwarder_closed(w->f, c);
	assert_int_not_equal(forwarder_open(w->f, &one, w->now_us), 0);
	assert_int_equal(counters(w).connections_refused, 1);
}

static void all_connections_together_are_bounded(void **state)
{
	struct world *w = *state;
	unsigned int open = 0;

	for (unsigned int i = 0; i < 2 * FORWARDER_CONNECTIONS; i++) {
		struct uuid id = client(i / 8);

		open += forwarder_open(w->f, &id, w->now_us) != 0;
	}
	assert_int_equal(open, FORWARDER_CONNECTIONS);
	assert_int_equal(counters(w).connections, FORWARDER_CONNECTIONS);
}

static void clients_rate_is_bounded_and_no_other_client_feels_it(void **state)
{
	struct world *w = *state;
	struct message q = question(1);
	struct uuid id = client(1);

	rank(w, 0); /* each is answered at once */
	for (int i = 0; i < 1000; i++)
		send_as(w, 1, &q);
	assert_int_equal(w->datagrams, FORWARDER_BURST);
	send_as(w, 2, &q);
	assert_int_equal(w->datagrams, FORWARDER_BURST + 1);
	w->now_us += US_PER_S;
	for (int i = 0; i < 1000; i++)
		send_as(w, 1, &q);
	assert_int_equal(w->datagrams, FORWARDER_BURST + 1 + FORWARDER_RATE);
	forwarder_message(w->f, forwarder_open(w->f, &id, w->now_us), q.at, q.len, w->now_us);
	look(w);
	assert_int_equal(w->hang_ups, 1);
}

static void query_over_tcp_counts_as_several(void **state)
{
	struct world *w = *state;
	struct message q = question(1);
	struct uuid id = client(1);
	uint32_t c = forwarder_open(w->f, &id, w->now_us);
	size_t n = 0;

	rank(w, 0);
	while (forwarder_ready(w->f, c)) {
		forwarder_message(w->f, c, q.at, q.len, w->now_us);
		look(w);
	}
	n = w->messages;
	assert_int_equal(n, FORWARDER_BURST / FORWARDER_TCP_PRICE);
	assert_int_equal(w->hang_ups, 1);
	assert_int_equal(counters(w).over_rate, 1);
}

static void what_is_no_query_costs_the_client_as_well(void **state)
{
	struct world *w = *state;
	struct message q = question(1), bad = q;

	bad.len--;
	for (int i = 0; i < FORWARDER_BURST; i++)
		send_as(w, 1, &bad);
	send_as(w, 1, &q);
	assert_int_equal(w->n_asked, 0);
	assert_int_equal(counters(w).over_rate, 1);
}

static void clients_open_questions_are_bounded(void **state)
{
	struct world *w = *state;
	struct message q = question(1);

	for (int i = 0; i < FORWARDER_CLIENT_QUERIES + 50; i++) {
		send_as(w, 1, &q);
		w->now_us += US_PER_S / FORWARDER_RATE;
	}
	assert_int_equal(counters(w).outstanding, FORWARDER_CLIENT_QUERIES);
	assert_int_equal(counters(w).over_limit, 50);
	send_as(w, 2, &q);
	assert_int_equal(counters(w).outstanding, FORWARDER_CLIENT_QUERIES + 1);
}

static void all_open_questions_together_are_bounded(void **state)
{
	struct world *w = *state;
	struct message q = question(1);

	for (unsigned int i = 0; i < FORWARDER_QUERIES + 10; i++)
		send_as(w, 1 + i / 20, &q);
	assert_int_equal(counters(w).outstanding, FORWARDER_QUERIES);
	assert_int_equal(w->datagrams, 0);
	advance(w, 5 * US_PER_S);
	assert_int_equal(w->datagrams, FORWARDER_QUERIES);
	assert_int_equal(counters(w).outstanding, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CASE(one_question_at_a_time_on_a_connection),
	    CASE(what_is_no_query_ends_the_connection),
	    CASE(idle_connection_ends_after_ten_seconds),
	    CASE(connection_that_was_answered_at_once_ends_after_ten_idle_seconds_too),
	    CASE(connection_with_a_question_under_way_is_not_idle),
	    CASE(connection_that_ends_takes_its_question_along),
	    CASE(sixteen_connections_of_a_client_and_not_one_more),
	    CASE(all_connections_together_are_bounded),
	    CASE(clients_rate_is_bounded_and_no_other_client_feels_it),
	    CASE(query_over_tcp_counts_as_several),
	    CASE(what_is_no_query_costs_the_client_as_well),
	    CASE(clients_open_questions_are_bounded),
	    CASE(all_open_questions_together_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
