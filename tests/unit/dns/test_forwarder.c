/* The clients' questions and the servers' answers, row by row of what is required of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "forwarder_host.h"

static void
question_goes_on_with_an_id_of_ours_and_the_answer_comes_back_with_the_clients(void **state)
{
	struct world *w = *state;
	struct message q = question(0x1234), a;

	add_opt(&q, 0);
	send_as(w, 5, &q);
	assert_int_equal(w->n_asked, 1);
	assert_false(last(w)->x.tcp);
	assert_int_equal(last(w)->x.server.ip.bytes[3], 1);
	assert_int_equal(last(w)->x.len, q.len);
	assert_memory_equal(last(w)->data + 2, q.at + 2, q.len - 2);
	a = answer_to(last(w)->data, last(w)->x.len, ANSWERED);
	add_record(&a, "x.example.com", RR_A, 60, "192.0.2.77");
	reply_with(w, last(w), &last(w)->x.server, &a);
	assert_int_equal(w->datagrams, 1);
	assert_int_equal(w->to.port, 4711);
	assert_int_equal(w->to.ip.bytes[3], 5);
	assert_int_equal(w->from.port, 53535);
	assert_int_equal(w->len, a.len);
	assert_int_equal(dns_forwarded_id(w->data, w->len), 0x1234);
	assert_memory_equal(w->data + 2, a.at + 2, a.len - 2);
	assert_true(last(w)->closed);
	assert_int_equal(counters(w).outstanding, 0);
}

static void every_question_has_a_new_id_and_exchange(void **state)
{
	struct world *w = *state;
	struct message q = question(7);
	size_t equal = 0;

	for (int i = 0; i < 50; i++)
		send_as(w, 1, &q);
	assert_int_equal(w->n_asked, 50);
	for (size_t i = 1; i < 50; i++) {
		assert_int_not_equal(w->asked[i].x.id, w->asked[i - 1].x.id);
		equal += dns_forwarded_id(w->asked[i].data, 12) ==
			 dns_forwarded_id(w->asked[i - 1].data, 12);
	}
	assert_true(equal <= 1);
}

static void what_is_no_query_is_ignored(void **state)
{
	struct world *w = *state;
	struct message q = question(1), bad;

	bad = message_of(1, ANSWERED, "a.example", RR_TXT);
	send_as(w, 1, &bad);
	bad = message_of(1, 0, NULL, 0);
	send_as(w, 1, &bad);
	bad = q;
	bad.at[5] = 2;
	send_as(w, 1, &bad);
	bad = q;
	bad.len--;
	send_as(w, 1, &bad);
	bad = q;
	bad.at[7] = 1; /* an answer that is not there */
	send_as(w, 1, &bad);
	bad.len = 0;
	send_as(w, 1, &bad);
	assert_int_equal(w->n_asked + w->datagrams, 0);
	assert_int_equal(counters(w).malformed, 6);
	assert_int_equal(counters(w).outstanding, 0);
}

static void query_of_2000_bytes_goes_on_and_one_byte_more_does_not(void **state)
{
	struct world *w = *state;
	struct message q = question(1);
	struct uuid id = client(1);
	struct endpoint from = at(100, 64, 1, 1), to = at(100, 64, 9, 53535);
	struct forwarder_out out;

	fill(q.at, q.len, ADDITIONAL, 2000);
	forwarder_datagram(w->f, &id, &from, &to, q.at, 2000, w->now_us);
	assert_true(forwarder_poll(w->f, &out));
	assert_int_equal(out.kind, FORWARDER_OUT_QUERY);
	assert_int_equal(out.exchange.len, 2000);
	q = question(1);
	fill(q.at, q.len, ADDITIONAL, 2001);
	forwarder_datagram(w->f, &id, &from, &to, q.at, 2001, w->now_us);
	assert_false(forwarder_poll(w->f, &out));
	assert_int_equal(counters(w).malformed, 1);
}

static void only_the_answer_section_has_to_be_readable(void **state)
{
	struct world *w = *state;
	struct message q = question(1), a;

	q.at[ADDITIONAL + 1] = 3; /* not there */
	send_as(w, 1, &q);
	assert_int_equal(w->n_asked, 1);
	a = answer_to(last(w)->data, last(w)->x.len, ANSWERED);
	add_record(&a, "x.example.com", RR_A, 60, "192.0.2.77");
	a.at[AUTHORITY + 1] = 1;
	a.at[a.len - 1] = 0xc0;
	a.at[ANSWERS + 1] = 2;
	reply_with(w, last(w), &last(w)->x.server, &a);
	assert_int_equal(w->datagrams, 0);
	a.at[ANSWERS + 1] = 1;
	reply_with(w, last(w), &last(w)->x.server, &a);
	assert_int_equal(w->datagrams, 1);
	assert_int_equal(w->len, a.len);
}

static void owner_points_back_and_nowhere_else(void **state)
{
	static const struct {
		uint8_t at[2];
		bool ok;
	} owners[] = {
	    {{0xc0, 12}, true},                         /* the question */
	    {{0xc0, 11}, false},                        /* the header */
	    {{0xc0, 0}, false},  {{0xff, 0xff}, false}, /* behind the end */
	    {{0x80, 12}, false}, {{0x40, 0}, false},    /* labels of no kind */
	};
	struct message q = question(1);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(owners); i++) {
		struct message m = question(1);

		fill(m.at, m.len, ANSWERS, m.len + 11);
		memmove(m.at + m.len + 2, m.at + m.len + 1, 10);
		memcpy(m.at + m.len, owners[i].at, 2);
		assert_int_equal(dns_forwarded_is_query(m.at, m.len + 12), owners[i].ok);
	}
	/* To itself. */
	fill(q.at, q.len, ANSWERS, q.len + 11);
	memmove(q.at + q.len + 2, q.at + q.len + 1, 10);
	q.at[q.len] = 0xc0;
	q.at[q.len + 1] = (uint8_t)q.len;
	assert_false(dns_forwarded_is_query(q.at, q.len + 12));
}

static void without_a_server_that_answers_it_is_servfail_at_once(void **state)
{
	struct world *w = *state;
	struct message q = question(0x4242);

	rank(w, 0);
	add_opt(&q, 0);
	send_as(w, 1, &q);
	assert_int_equal(w->n_asked, 0);
	assert_int_equal(w->datagrams, 1);
	assert_int_equal(dns_forwarded_id(w->data, w->len), 0x4242);
	assert_memory_equal(w->data + 2, "\x81\x02\0\1\0\0\0\0\0\0", 10);
	assert_int_equal(w->len, question(1).len);
	assert_memory_equal(w->data + 12, question(1).at + 12, w->len - 12);
}

static void servfail_copies_opcode_and_rd(void **state)
{
	struct world *w = *state;
	struct message q = message_of(1, 0x2000, "example.com", RR_SOA);

	rank(w, 0);
	send_as(w, 1, &q);
	assert_int_equal(w->data[2], 0xa0);
	assert_int_equal(w->data[3], 2);
}

static void silent_server_is_followed_by_the_next_within_five_seconds(void **state)
{
	struct world *w = *state;
	struct message q = question(3), a;

	send_as(w, 1, &q);
	advance(w, 2600 * US_PER_MS);
	assert_int_equal(w->n_asked, 2);
	assert_true(w->asked[0].closed);
	assert_int_equal(last(w)->x.server.ip.bytes[3], 2);
	a = answer_to(last(w)->data, last(w)->x.len, ANSWERED);
	reply_with(w, last(w), &last(w)->x.server, &a);
	assert_int_equal(w->datagrams, 1);
	assert_int_equal(w->data[3] & 15, 0);
}

static void unreachable_server_is_followed_by_the_next_at_once(void **state)
{
	struct world *w = *state;
	struct message q = question(3);
	struct dns_reply failed = {.failed = true};

	send_as(w, 1, &q);
	failed.id = last(w)->x.id;
	forwarder_reply(w->f, &failed, w->now_us);
	look(w);
	assert_int_equal(w->n_asked, 2);
	assert_false(w->asked[0].closed); /* it has ended by itself */
}

static void after_five_seconds_it_is_servfail(void **state)
{
	struct world *w = *state;
	struct message q = question(3);

	send_as(w, 1, &q);
	advance(w, 5 * US_PER_S - 1);
	assert_int_equal(w->datagrams, 0);
	advance(w, 1);
	assert_int_equal(w->datagrams, 1);
	assert_int_equal(w->data[3] & 15, SERVFAIL);
	assert_int_equal(counters(w).outstanding, 0);
	assert_true(w->asked[0].closed && w->asked[1].closed);
}

static void stray_and_forged_answers_neither_count_nor_fail(void **state)
{
	struct world *w = *state;
	struct message q = question(3), a, bad;
	struct endpoint other = at(192, 0, 66, 53), port;

	send_as(w, 1, &q);
	a = answer_to(last(w)->data, last(w)->x.len, ANSWERED);
	port = last(w)->x.server;
	port.port = 54;
	reply_with(w, last(w), &other, &a);
	reply_with(w, last(w), &port, &a);
	bad = a;
	bad.at[0] ^= 1;
	reply_with(w, last(w), &last(w)->x.server, &bad);
	bad = a;
	bad.at[2] &= 0x7f;
	reply_with(w, last(w), &last(w)->x.server, &bad);
	bad = a;
	bad.at[14] = 'x';
	reply_with(w, last(w), &last(w)->x.server, &bad);
	bad = a;
	bad.at[bad.len - 3] = 9;
	reply_with(w, last(w), &last(w)->x.server, &bad);
	bad = a;
	bad.at[7] = 1;
	reply_with(w, last(w), &last(w)->x.server, &bad);
	bad = a;
	bad.len -= 2;
	reply_with(w, last(w), &last(w)->x.server, &bad);
	bad = a;
	bad.at[2] |= 0x20; /* to a query of another kind */
	reply_with(w, last(w), &last(w)->x.server, &bad);
	assert_int_equal(w->datagrams, 0);
	assert_int_equal(counters(w).stray, 9);
	assert_false(last(w)->closed);
	reply_with(w, last(w), &last(w)->x.server, &a);
	assert_int_equal(w->datagrams, 1);
	reply_with(w, last(w), &last(w)->x.server, &a);
	assert_int_equal(w->datagrams, 1);
}

static void question_may_come_back_in_other_letters(void **state)
{
	struct world *w = *state;
	struct message q = question(3), a;

	send_as(w, 1, &q);
	a = answer_to(last(w)->data, last(w)->x.len, ANSWERED);
	for (size_t i = 12; i < a.len - 5; i++)
		if (a.at[i] >= 'a' && a.at[i] <= 'z')
			a.at[i] = (uint8_t)(a.at[i] - 'a' + 'A');
	reply_with(w, last(w), &last(w)->x.server, &a);
	assert_int_equal(w->datagrams, 1);
	assert_memory_equal(w->data + 12, a.at + 12, a.len - 12);
}

static void answer_of_1200_bytes_is_whole_and_one_beyond_is_truncated(void **state)
{
	struct world *w = *state;
	struct message q = question(0x77), a;

	for (size_t len = 1200; len <= 1201; len++) {
		send_as(w, 1, &q);
		a = answer_to(last(w)->data, last(w)->x.len, ANSWERED | FLAG_AA);
		fill(a.at, a.len, ANSWERS, len - 11);
		fill(a.at, len - 11, ADDITIONAL, len);
		a.len = len;
		reply_with(w, last(w), &last(w)->x.server, &a);
		assert_int_equal(w->len, len == 1200 ? 1200 : question(1).len);
	}
	assert_memory_equal(w->data, "\0\x77\x87\x80\0\1\0\0\0\0\0\0", 12);
	assert_memory_equal(w->data + 12, q.at + 12, q.len - 12);
	assert_int_equal(counters(w).truncated, 1);
	assert_int_equal(counters(w).answers, 2);
}

static void over_tcp_the_whole_answer_comes(void **state)
{
	struct world *w = *state;
	struct message q = question(0x77), a;
	struct uuid id = client(1);
	uint32_t c = forwarder_open(w->f, &id, w->now_us);
	uint8_t *big = calloc(1, UINT16_MAX);
	struct dns_reply reply = {.tcp = true, .data = big, .len = UINT16_MAX};

	assert_non_null(big);
	assert_int_not_equal(c, 0);
	assert_true(forwarder_ready(w->f, c));
	forwarder_message(w->f, c, q.at, q.len, w->now_us);
	look(w);
	assert_true(last(w)->x.tcp);
	assert_false(forwarder_ready(w->f, c));
	a = answer_to(last(w)->data, last(w)->x.len, ANSWERED);
	memcpy(big, a.at, a.len);
	fill(big, a.len, ANSWERS, UINT16_MAX);
	reply.id = last(w)->x.id;
	forwarder_reply(w->f, &reply, w->now_us);
	look(w);
	assert_int_equal(w->messages, 1);
	assert_int_equal(w->connection, c);
	assert_int_equal(w->len, UINT16_MAX);
	assert_int_equal(dns_forwarded_id(w->data, w->len), 0x77);
	assert_memory_equal(w->data + 2, big + 2, UINT16_MAX - 2);
	assert_true(forwarder_ready(w->f, c));
	free(big);
}

static void wrong_answer_over_tcp_is_followed_by_the_next_server_at_once(void **state)
{
	struct world *w = *state;
	struct message q = question(0x77), a;
	struct uuid id = client(1);
	uint32_t c = forwarder_open(w->f, &id, w->now_us);

	forwarder_message(w->f, c, q.at, q.len, w->now_us);
	look(w);
	a = answer_to(last(w)->data, last(w)->x.len, ANSWERED);
	a.at[0] ^= 1;
	reply_with(w, last(w), &last(w)->x.server, &a);
	assert_int_equal(w->n_asked, 2);
	assert_true(w->asked[0].closed);
	assert_int_equal(last(w)->x.server.ip.bytes[3], 2);
	reply_with(w, last(w), &last(w)->x.server, &a);
	assert_int_equal(w->messages, 1);
	assert_int_equal(w->data[3] & 15, SERVFAIL);
}

static void warning_that_no_server_answers_comes_once_a_minute(void **state)
{
	struct world *w = *state;
	struct message q = question(1);

	rank(w, 0);
	for (int i = 0; i < 10; i++)
		send_as(w, 1, &q);
	assert_int_equal(w->warnings, 1);
	w->now_us += 59 * US_PER_S;
	send_as(w, 1, &q);
	assert_int_equal(w->warnings, 1);
	w->now_us += US_PER_S;
	send_as(w, 2, &q);
	assert_int_equal(w->warnings, 2);
}

static void roam_answers_everything_with_servfail(void **state)
{
	struct world *w = *state;
	struct message q = question(1);
	struct uuid id = client(1);
	uint32_t c = forwarder_open(w->f, &id, w->now_us);

	send_as(w, 1, &q);
	forwarder_message(w->f, c, q.at, q.len, w->now_us);
	look(w);
	forwarder_roam(w->f, w->now_us);
	look(w);
	assert_int_equal(w->datagrams, 1);
	assert_int_equal(w->messages, 1);
	assert_int_equal(w->data[3] & 15, SERVFAIL);
	assert_true(w->asked[0].closed && w->asked[1].closed);
	assert_true(forwarder_ready(w->f, c));
}

static void names_with_pointers_or_too_long_are_no_question(void **state)
{
	struct message q = message_of(1, 0, "a.example", RR_TXT);
	uint8_t out[DNS_SHORT_MAX], big[400] = {0, 1, 0, 0, 0, 1};
	size_t len = 12;

	(void)state;
	q.at[12] = 0xc0;
	assert_int_equal(dns_forwarded_servfail(out, DNS_SHORT_MAX, q.at, q.len), 0);
	for (int i = 0; i < 4; i++) {
		big[len] = 63;
		len += 64;
	}
	big[len] = 0;
	len += 5;
	assert_int_equal(dns_forwarded_servfail(out, DNS_SHORT_MAX, big, len), 0);
	big[12 + 3 * 64] = 61;
	len = 12 + 3 * 64 + 62 + 5;
	assert_int_equal(dns_forwarded_servfail(out, DNS_SHORT_MAX, big, len), DNS_SHORT_MAX);
	assert_int_equal(dns_forwarded_servfail(out, DNS_SHORT_MAX, big, len - 1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CASE(question_goes_on_with_an_id_of_ours_and_the_answer_comes_back_with_the_clients),
	    CASE(every_question_has_a_new_id_and_exchange),
	    CASE(what_is_no_query_is_ignored),
	    CASE(query_of_2000_bytes_goes_on_and_one_byte_more_does_not),
	    CASE(only_the_answer_section_has_to_be_readable),
	    CASE(owner_points_back_and_nowhere_else),
	    CASE(without_a_server_that_answers_it_is_servfail_at_once),
	    CASE(servfail_copies_opcode_and_rd),
	    CASE(silent_server_is_followed_by_the_next_within_five_seconds),
	    CASE(unreachable_server_is_followed_by_the_next_at_once),
	    CASE(after_five_seconds_it_is_servfail),
	    CASE(stray_and_forged_answers_neither_count_nor_fail),
	    CASE(question_may_come_back_in_other_letters),
	    CASE(answer_of_1200_bytes_is_whole_and_one_beyond_is_truncated),
	    CASE(over_tcp_the_whole_answer_comes),
	    CASE(wrong_answer_over_tcp_is_followed_by_the_next_server_at_once),
	    CASE(warning_that_no_server_answers_comes_once_a_minute),
	    CASE(roam_answers_everything_with_servfail),
	    CASE(names_with_pointers_or_too_long_are_no_question),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
