/* Which name server answers fastest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "answers.h"
#include "dns/ranking.h"

enum {
	MAX_ASKED = 64
};

struct asked_probe {
	struct dns_exchange x;
	uint8_t data[512];
	bool closed;
};

struct world {
	struct ranking *r;
	struct rng_seeded seed;
	uint64_t now_us;
	struct asked_probe asked[MAX_ASKED];
	size_t n;
};

static struct endpoint server(unsigned int last)
{
	const uint8_t bytes[4] = {192, 0, 2, (uint8_t)last};

	return (struct endpoint){.ip = ip_v4(bytes), .port = 53};
}

static void look(struct world *w)
{
	struct ranking_out out;

	while (ranking_poll(w->r, &out)) {
		if (out.kind == RANKING_OUT_CLOSE) {
			for (size_t i = 0; i < w->n; i++)
				if (w->asked[i].x.id == out.id)
					w->asked[i].closed = true;
			continue;
		}
		assert_true(w->n < MAX_ASKED);
		w->asked[w->n].x = out.exchange;
		memcpy(w->asked[w->n++].data, out.exchange.data, out.exchange.len);
	}
}

static void start(struct world *w, size_t n_servers)
{
	struct rng rng = rng_from_seed(&w->seed, 1);
	struct endpoint servers[16];

	memset(w, 0, sizeof(*w));
	rng = rng_from_seed(&w->seed, 1);
	w->now_us = 1000 * US_PER_S;
	w->r = ranking_new(&rng);
	assert_non_null(w->r);
	for (unsigned int i = 0; i < n_servers; i++)
		servers[i] = server(i + 1);
	ranking_set_servers(w->r, servers, n_servers, w->now_us);
	look(w);
}

static void advance(struct world *w, uint64_t us)
{
	uint64_t end_us = w->now_us + us;

	while (ranking_deadline(w->r) <= end_us) {
		if (ranking_deadline(w->r) > w->now_us)
			w->now_us = ranking_deadline(w->r);
		ranking_timeout(w->r, w->now_us);
		look(w);
	}
	w->now_us = end_us;
}

/* Answers the latest probe of a server. */
static void answer(struct world *w, unsigned int last, bool tcp, uint16_t flags)
{
	struct endpoint from = server(last);

	for (size_t i = w->n; i-- > 0;) {
		struct asked_probe *p = &w->asked[i];
		struct message m;
		struct dns_reply reply = {.id = p->x.id, .tcp = tcp, .src = from};

		if (p->x.tcp != tcp || !endpoint_eq(&p->x.server, &from))
			continue;
		m = answer_to(p->data, p->x.len, flags);
		if ((flags & 15) == 0)
			add_record(&m, "firezone.dev", RR_A, 60, "192.0.2.200");
		reply.data = m.at;
		reply.len = m.len;
		ranking_reply(w->r, &reply, w->now_us);
		look(w);
		return;
	}
	fail();
}

static void order_is(const struct world *w, bool tcp, const char *lasts)
{
	struct endpoint out[RANKING_MAX_SERVERS];
	size_t n = ranking_order(w->r, tcp, out);

	assert_int_equal(n, strlen(lasts));
	for (size_t i = 0; i < n; i++)
		assert_int_equal(out[i].ip.bytes[3], lasts[i] - '0');
}

static void every_server_is_asked_at_once_over_both(void **state)
{
	struct world w;
	char name[256];
	size_t tcp = 0;

	(void)state;
	start(&w, 3);
	assert_int_equal(w.n, 6);
	for (size_t i = 0; i < w.n; i++) {
		assert_int_equal(asked(w.asked[i].data, w.asked[i].x.len, name), RR_A);
		assert_string_equal(name, "firezone.dev");
		tcp += w.asked[i].x.tcp;
	}
	assert_int_equal(tcp, 3);
	order_is(&w, false, "");
	ranking_free(w.r);
}

static void fastest_comes_first_for_each_transport(void **state)
{
	struct world w;

	(void)state;
	start(&w, 3);
	advance(&w, 5 * US_PER_MS);
	answer(&w, 2, false, ANSWERED);
	answer(&w, 3, true, ANSWERED);
	advance(&w, 5 * US_PER_MS);
	answer(&w, 1, false, ANSWERED);
	answer(&w, 2, true, ANSWERED);
	order_is(&w, false, "21");
	order_is(&w, true, "32");
	ranking_free(w.r);
}

static void latest_measurement_counts(void **state)
{
	struct world w;

	(void)state;
	start(&w, 2);
	answer(&w, 1, false, ANSWERED);
	advance(&w, 10 * US_PER_MS);
	answer(&w, 2, false, ANSWERED);
	order_is(&w, false, "12");
	advance(&w, 60 * US_PER_S);
	answer(&w, 2, false, ANSWERED);
	advance(&w, 10 * US_PER_MS);
	answer(&w, 1, false, ANSWERED);
	order_is(&w, false, "21");
	ranking_free(w.r);
}

static void silent_or_refusing_server_is_out_until_it_answers_again(void **state)
{
	struct world w;

	(void)state;
	start(&w, 2);
	answer(&w, 1, false, ANSWERED);
	answer(&w, 2, false, ANSWERED);
	advance(&w, 61 * US_PER_S);
	answer(&w, 1, false, ANSWERED | REFUSED);
	order_is(&w, false, "2");
	advance(&w, 2 * US_PER_S);
	order_is(&w, false, "");
	advance(&w, 58 * US_PER_S);
	answer(&w, 1, false, ANSWERED);
	order_is(&w, false, "1");
	ranking_free(w.r);
}

static void probe_without_answer_is_closed_after_two_seconds(void **state)
{
	struct world w;

	(void)state;
	start(&w, 1);
	advance(&w, 2 * US_PER_S - 1);
	assert_false(w.asked[0].closed);
	advance(&w, 1);
	assert_true(w.asked[0].closed && w.asked[1].closed);
	assert_int_equal(w.n, 2);
	advance(&w, 58 * US_PER_S);
	assert_int_equal(w.n, 4);
	ranking_free(w.r);
}

static void stray_answers_measure_nothing(void **state)
{
	struct world w;
	struct message m;
	struct dns_reply reply = {.failed = false};

	(void)state;
	start(&w, 1);
	m = answer_to(w.asked[0].data, w.asked[0].x.len, ANSWERED);
	add_record(&m, "firezone.dev", RR_A, 60, "192.0.2.200");
	reply =
	    (struct dns_reply){.id = w.asked[0].x.id, .src = server(9), .data = m.at, .len = m.len};
	ranking_reply(w.r, &reply, w.now_us);
	reply.src = server(1);
	reply.tcp = true;
	ranking_reply(w.r, &reply, w.now_us);
	reply.tcp = false;
	m.at[1] ^= 1;
	ranking_reply(w.r, &reply, w.now_us);
	order_is(&w, false, "");
	m.at[1] ^= 1;
	ranking_reply(w.r, &reply, w.now_us);
	order_is(&w, false, "1");
	ranking_free(w.r);
}

static void doubt_brings_the_next_probe_forward_but_not_at_every_failure(void **state)
{
	struct world w;
	struct endpoint s = server(1);

	(void)state;
	start(&w, 1);
	answer(&w, 1, false, ANSWERED);
	answer(&w, 1, true, ANSWERED);
	for (int i = 0; i < 100; i++)
		ranking_doubt(w.r, &s, false, w.now_us);
	order_is(&w, false, "1");
	advance(&w, 5 * US_PER_S - 1);
	assert_int_equal(w.n, 2);
	advance(&w, 1);
	assert_int_equal(w.n, 3);
	assert_false(w.asked[2].x.tcp);
	ranking_free(w.r);
}

static void other_servers_or_a_restart_forget_everything(void **state)
{
	struct world w;
	struct endpoint s = server(7);

	(void)state;
	start(&w, 1);
	answer(&w, 1, false, ANSWERED);
	ranking_restart(w.r, w.now_us);
	look(&w);
	order_is(&w, false, "");
	assert_int_equal(w.n, 4);
	answer(&w, 1, false, ANSWERED);
	ranking_set_servers(w.r, &s, 1, w.now_us);
	look(&w);
	order_is(&w, false, "");
	assert_int_equal(w.n, 6);
	assert_true(w.asked[3].closed);
	answer(&w, 7, false, ANSWERED);
	order_is(&w, false, "7");
	ranking_free(w.r);
}

static void eighth_server_is_ranked_and_the_ninth_is_not(void **state)
{
	struct world w;

	(void)state;
	start(&w, 9);
	assert_int_equal(w.n, 2 * RANKING_MAX_SERVERS);
	answer(&w, 8, true, ANSWERED);
	order_is(&w, true, "8");
	ranking_free(w.r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_server_is_asked_at_once_over_both),
	    cmocka_unit_test(fastest_comes_first_for_each_transport),
	    cmocka_unit_test(latest_measurement_counts),
	    cmocka_unit_test(silent_or_refusing_server_is_out_until_it_answers_again),
	    cmocka_unit_test(probe_without_answer_is_closed_after_two_seconds),
	    cmocka_unit_test(stray_answers_measure_nothing),
	    cmocka_unit_test(doubt_brings_the_next_probe_forward_but_not_at_every_failure),
	    cmocka_unit_test(other_servers_or_a_restart_forget_everything),
	    cmocka_unit_test(eighth_server_is_ranked_and_the_ninth_is_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
