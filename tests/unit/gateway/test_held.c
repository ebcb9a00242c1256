/*
 * The queue of packets that wait for a session.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "gateway/gateway.h"
#include "gateway/held.h"

enum {
	BUDGET = GATEWAY_HELD_BYTES + 1000,
	SMALL = 40,
	FULL = 1280,
};

static bool add(struct held *q, size_t *budget, size_t len, uint8_t fill)
{
	uint8_t *room = held_add(q, budget, len);

	if (room)
		memset(room, fill, len);
	return room != NULL;
}

static void packets_come_out_in_order_and_whole(void **state)
{
	struct held q = {.n = 0};
	size_t budget = BUDGET, len = 0;

	(void)state;
	for (uint8_t i = 1; i <= 20; i++)
		assert_true(add(&q, &budget, SMALL + i, i));
	for (uint8_t i = 1; i <= 20; i++) {
		const uint8_t *packet = held_first(&q, &len);

		assert_non_null(packet);
		assert_int_equal(len, SMALL + i);
		for (size_t k = 0; k < len; k++)
			assert_int_equal(packet[k], i);
		held_drop_first(&q, &budget);
	}
	assert_null(held_first(&q, &len));
	assert_int_equal(budget, BUDGET);
}

static void newest_packet_is_refused_at_the_limit_of_packets(void **state)
{
	struct held q = {.n = 0};
	size_t budget = BUDGET, len;

	(void)state;
	for (int i = 0; i < GATEWAY_HELD_PACKETS; i++)
		assert_true(add(&q, &budget, SMALL, (uint8_t)i));
	assert_false(add(&q, &budget, SMALL, 0));
	assert_int_equal(held_first(&q, &len)[0], 0);
	held_drop_first(&q, &budget);
	assert_true(add(&q, &budget, SMALL, 0));
	held_clear(&q, &budget);
	assert_int_equal(budget, BUDGET);
}

static void bytes_of_one_queue_are_bounded(void **state)
{
	struct held q = {.n = 0};
	size_t budget = BUDGET;
	unsigned int n = 0;

	(void)state;
	while (add(&q, &budget, FULL, 1))
		n++;
	assert_in_range(n, 40, GATEWAY_HELD_BYTES / FULL);
	assert_true(BUDGET - budget <= GATEWAY_HELD_BYTES);
	held_clear(&q, &budget);
}

static void queues_share_one_budget_and_give_it_back(void **state)
{
	struct held a = {.n = 0}, b = {.n = 0};
	size_t budget = GATEWAY_HELD_BYTES / 2;

	(void)state;
	while (add(&a, &budget, FULL, 1))
		;
	assert_false(add(&b, &budget, FULL, 2));
	held_drop_first(&a, &budget);
	assert_true(add(&b, &budget, FULL, 2));
	held_clear(&a, &budget);
	held_clear(&b, &budget);
	assert_int_equal(budget, GATEWAY_HELD_BYTES / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(packets_come_out_in_order_and_whole),
	    cmocka_unit_test(newest_packet_is_refused_at_the_limit_of_packets),
	    cmocka_unit_test(bytes_of_one_queue_are_bounded),
	    cmocka_unit_test(queues_share_one_budget_and_give_it_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
