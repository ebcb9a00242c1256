/* Sends with the second tries that a failure allows, and how a destination leaves from one look to
 * the next. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "sockets/way.h"
#include "world.h"

enum {
	MAX_TRIES = 8
};

/* A socket that fails as told, once for each error, and remembers the tries. */
struct wire {
	struct world w;
	int errors[MAX_TRIES]; /* 0 ends them: then it succeeds */
	struct ip_addr sources[MAX_TRIES];
	bool uncut[MAX_TRIES];
	size_t n;
	const char *moves_to; /* after the first try */
};

static int try_send(void *ctx, const struct ip_addr *source, bool uncut)
{
	struct wire *x = ctx;

	assert_true(x->n < MAX_TRIES);
	x->sources[x->n] = *source;
	x->uncut[x->n] = uncut;
	if (x->n == 0 && x->moves_to)
		x->w.v4 = way(x->moves_to, 3, "eth1");
	return -x->errors[x->n++];
}

static enum factory_action send_it(struct wire *x, struct factory_send *s)
{
	s->dst = (struct endpoint){.ip = ip("198.51.100.7"), .port = 3478};
	s->try_send = try_send;
	s->ctx = x;
	return factory_send(x->w.f, s, x->w.now_us);
}

static void is_from(const struct wire *x, size_t i, const char *source)
{
	struct ip_addr want = ip(source);

	assert_true(i < x->n && ip_eq(&x->sources[i], &want));
}

static void open_source_is_chosen(void **state)
{
	struct wire x = {.n = 0};
	struct factory_send s = {.gso = false};

	(void)state;
	world_new(&x.w);
	assert_int_equal(send_it(&x, &s), FACTORY_SENT);
	is_from(&x, 0, "192.0.2.10");
	assert_int_equal(s.error, 0);
	world_free(&x.w);
}

static void earlier_choice_holds_for_its_generation_only(void **state)
{
	struct wire x = {.n = 0};
	struct factory_send s = {.source = ip("192.0.2.99")};

	(void)state;
	world_new(&x.w);
	s.generation = factory_generation(x.w.f);
	assert_int_equal(send_it(&x, &s), FACTORY_SENT);
	is_from(&x, 0, "192.0.2.99");
	assert_int_equal(x.w.lookups, 0);
	factory_flush(x.w.f, FACTORY_CAUSE_ROUTE);
	assert_int_equal(send_it(&x, &s), FACTORY_SENT);
	is_from(&x, 1, "192.0.2.10");
	world_free(&x.w);
}

static void without_a_way_nothing_is_tried(void **state)
{
	struct wire x = {.n = 0};
	struct factory_send s = {.gso = false};

	(void)state;
	world_new(&x.w);
	x.w.v4 = no_way(ENETUNREACH);
	assert_int_equal(send_it(&x, &s), FACTORY_DROP);
	assert_int_equal(x.n, 0);
	assert_int_equal(s.error, 0);
	world_free(&x.w);
}

static void stale_source_is_replaced_once_and_segmentation_kept(void **state)
{
	struct wire x = {.errors = {EINVAL}, .moves_to = "192.0.2.11"};
	struct factory_send s = {.gso = true};

	(void)state;
	world_new(&x.w);
	assert_int_equal(send_it(&x, &s), FACTORY_SENT);
	assert_int_equal(x.n, 2);
	is_from(&x, 0, "192.0.2.10");
	is_from(&x, 1, "192.0.2.11");
	assert_false(x.uncut[0] || x.uncut[1] || s.uncut);
	world_free(&x.w);
}

static void persistent_einval_is_tried_uncut_and_then_lost(void **state)
{
	struct wire x = {.errors = {EINVAL, EINVAL, EINVAL}, .moves_to = "192.0.2.11"};
	struct factory_send s = {.gso = true};

	(void)state;
	world_new(&x.w);
	assert_int_equal(send_it(&x, &s), FACTORY_DROP);
	assert_int_equal(x.n, 3);
	assert_true(x.uncut[2] && !x.uncut[1]);
	assert_int_equal(s.error, EINVAL);
	world_free(&x.w);
}

static void uncut_success_is_told(void **state)
{
	struct wire x = {.errors = {EIO}};
	struct factory_send s = {.gso = true};

	(void)state;
	world_new(&x.w);
	assert_int_equal(send_it(&x, &s), FACTORY_SENT);
	assert_true(s.uncut);
	assert_int_equal(x.n, 2);
	world_free(&x.w);
}

static void fixed_source_is_never_replaced(void **state)
{
	struct wire x = {.errors = {ENETUNREACH, ENETUNREACH}, .moves_to = "192.0.2.11"};
	struct factory_send s = {.source = ip("192.0.2.99")};

	(void)state;
	world_new(&x.w);
	assert_int_equal(send_it(&x, &s), FACTORY_REPORT_DEAD);
	assert_int_equal(x.n, 1);
	is_from(&x, 0, "192.0.2.99");
	assert_int_equal(x.w.lookups, 0);
	world_free(&x.w);
}

static void full_buffer_is_waited_for(void **state)
{
	struct wire x = {.errors = {EAGAIN}};
	struct factory_send s = {.gso = true};

	(void)state;
	world_new(&x.w);
	assert_int_equal(send_it(&x, &s), FACTORY_WAIT);
	assert_int_equal(x.n, 1);
	is_from(&x, 0, "192.0.2.10");
	world_free(&x.w);
}

static void same_source_by_another_gateway_is_kept_and_taken_over(void **state)
{
	const struct endpoint dst = {.ip = ip("198.51.100.7")};
	struct world w;
	struct way a;

	(void)state;
	world_new(&w);
	way_watch(&a, w.f, &dst, w.now_us);
	assert_true(a.out);
	assert_int_equal(way_compare(&a, w.f, &dst, w.now_us), WAY_KEPT);
	assert_false(a.rerouted);
	factory_flush(w.f, FACTORY_CAUSE_ROUTE);
	w.v4 = way("192.0.2.10", 3, "eth1");
	assert_int_equal(way_compare(&a, w.f, &dst, w.now_us), WAY_KEPT);
	assert_true(a.rerouted);
	assert_int_equal(a.route.ifindex, 3);
	assert_false(way_settle(&a));
	world_free(&w);
}

static void move_and_loss_are_news_until_they_are_in_force(void **state)
{
	const struct endpoint dst = {.ip = ip("198.51.100.7")};
	struct world w;
	struct way a;

	(void)state;
	world_new(&w);
	way_watch(&a, w.f, &dst, w.now_us);
	factory_flush(w.f, FACTORY_CAUSE_ROUTE);
	w.v4 = way("192.0.2.11", 2, "eth0");
	for (int i = 0; i < 3; i++)
		assert_int_equal(way_compare(&a, w.f, &dst, w.now_us), WAY_MOVED);
	assert_true(way_settle(&a));
	assert_int_equal(way_compare(&a, w.f, &dst, w.now_us), WAY_KEPT);
	factory_flush(w.f, FACTORY_CAUSE_ROUTE);
	w.v4 = no_way(ENETUNREACH);
	assert_int_equal(way_compare(&a, w.f, &dst, w.now_us), WAY_LOST);
	assert_true(way_settle(&a));
	assert_false(a.out);
	assert_int_equal(way_compare(&a, w.f, &dst, w.now_us), WAY_NONE);
	world_free(&w);
}

static void dead_source_is_another_one_although_it_is_back(void **state)
{
	const struct endpoint dst = {.ip = ip("198.51.100.7")}, none = {.port = 0};
	struct world w;
	struct way a;

	(void)state;
	world_new(&w);
	way_watch(&a, w.f, &dst, w.now_us);
	a.dead = true;
	assert_int_equal(way_compare(&a, w.f, &dst, w.now_us), WAY_MOVED);
	assert_true(way_settle(&a));
	assert_int_equal(way_compare(&a, w.f, &dst, w.now_us), WAY_KEPT);
	way_watch(&a, w.f, &none, w.now_us);
	assert_int_equal(way_compare(&a, w.f, &none, w.now_us), WAY_NONE);
	world_free(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(open_source_is_chosen),
	    cmocka_unit_test(earlier_choice_holds_for_its_generation_only),
	    cmocka_unit_test(without_a_way_nothing_is_tried),
	    cmocka_unit_test(stale_source_is_replaced_once_and_segmentation_kept),
	    cmocka_unit_test(persistent_einval_is_tried_uncut_and_then_lost),
	    cmocka_unit_test(uncut_success_is_told),
	    cmocka_unit_test(fixed_source_is_never_replaced),
	    cmocka_unit_test(full_buffer_is_waited_for),
	    cmocka_unit_test(same_source_by_another_gateway_is_kept_and_taken_over),
	    cmocka_unit_test(move_and_loss_are_news_until_they_are_in_force),
	    cmocka_unit_test(dead_source_is_another_one_although_it_is_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
