#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "gateway/txq.h"

enum {
	MAX_BATCHES = 64
};

struct sink {
	struct txq_batch batches[MAX_BATCHES];
	uint8_t first_bytes[MAX_BATCHES][4];
	size_t n;
};

static void take(void *ctx, const struct txq_batch *batch)
{
	struct sink *s = ctx;

	assert_true(s->n < MAX_BATCHES);
	s->batches[s->n] = *batch;
	memcpy(s->first_bytes[s->n], batch->data, 4);
	s->n++;
}

static struct txq_key key_to(uint8_t last)
{
	const uint8_t ip[4] = {192, 0, 2, last};

	return (struct txq_key){.dst = {.ip = ip_v4(ip), .port = 1000}};
}

static void put(struct txq *q, uint8_t to, size_t len)
{
	static const uint8_t data[2048];
	struct txq_key key = key_to(to);

	txq_send(q, &key, data, len);
}

static void equal_sizes_share_a_batch_and_a_shorter_one_ends_it(void **state)
{
	struct sink s = {.n = 0};
	struct txq *q = txq_new(take, &s);

	(void)state;
	put(q, 1, 100);
	put(q, 1, 100);
	put(q, 1, 40);
	put(q, 1, 40);
	put(q, 1, 100);
	txq_flush(q);
	assert_int_equal(s.n, 3);
	assert_int_equal(s.batches[0].count, 3);
	assert_int_equal(s.batches[0].len, 240);
	assert_int_equal(s.batches[0].segment, 100);
	assert_int_equal(s.batches[1].count, 1);
	assert_int_equal(s.batches[2].segment, 100);
	txq_free(q);
}

static void paths_and_ecn_do_not_break_each_others_batches(void **state)
{
	struct sink s = {.n = 0};
	struct txq *q = txq_new(take, &s);
	struct txq_key marked = key_to(1);
	static const uint8_t data[100];

	(void)state;
	marked.ecn = 2;
	for (int i = 0; i < 10; i++) {
		put(q, 1, 100);
		put(q, 2, 100);
		txq_send(q, &marked, data, 100);
	}
	assert_int_equal(s.n, 0);
	txq_flush(q);
	assert_int_equal(s.n, 3);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(s.batches[i].count, 10);
	txq_free(q);
}

/* One that somebody fixed is not resolved again when it fails; one that was chosen is. */
static void fixed_and_chosen_sources_do_not_share_a_batch(void **state)
{
	const uint8_t data[100] = {0};
	struct sink s = {.n = 0};
	struct txq *q = txq_new(take, &s);
	struct txq_key key = key_to(1);

	(void)state;
	key.src.ip = key_to(9).dst.ip;
	for (uint64_t generation = 0; generation < 3; generation++) {
		key.generation = generation;
		txq_send(q, &key, data, sizeof(data));
		txq_send(q, &key, data, sizeof(data));
	}
	txq_flush(q);
	assert_int_equal(s.n, 3);
	for (uint64_t i = 0; i < 3; i++)
		assert_int_equal(s.batches[i].key.generation, i);
	txq_free(q);
}

static void batch_ends_at_64_segments_and_at_the_byte_limit(void **state)
{
	struct sink s = {.n = 0};
	struct txq *q = txq_new(take, &s);

	(void)state;
	for (int i = 0; i < 65; i++)
		put(q, 1, 100);
	for (int i = 0; i < 50; i++)
		put(q, 2, 1312);
	txq_flush(q);
	assert_int_equal(s.n, 4);
	assert_int_equal(s.batches[0].count, 64);
	assert_int_equal(s.batches[1].count, 49);
	assert_true(s.batches[1].len <= TXQ_MAX_BYTES);
	assert_int_equal(s.batches[2].count + s.batches[3].count, 2);
	txq_free(q);
}

static void seventeenth_path_flushes_one_other(void **state)
{
	struct sink s = {.n = 0};
	struct txq *q = txq_new(take, &s);

	(void)state;
	for (uint8_t i = 0; i < TXQ_BUFFERS; i++)
		put(q, i, 100);
	assert_int_equal(s.n, 0);
	put(q, 200, 100);
	assert_int_equal(s.n, 1);
	txq_flush(q);
	assert_int_equal(s.n, TXQ_BUFFERS + 1);
	txq_free(q);
}

static void undone_datagram_is_not_sent_and_scratch_before_the_first_is_there(void **state)
{
	struct sink s = {.n = 0};
	struct txq *q = txq_new(take, &s);
	struct txq_key key = key_to(1);
	struct txq_batch *batch = txq_open(q, &key);
	uint8_t *at = txq_append(q, batch, 60);

	(void)state;
	memset(at - TXQ_HEADROOM, 0x5a, TXQ_HEADROOM);
	txq_undo(batch, 60);
	txq_flush(q);
	assert_int_equal(s.n, 0);
	memset(txq_append(q, txq_open(q, &key), 60), 7, 60);
	txq_flush(q);
	assert_int_equal(s.n, 1);
	assert_int_equal(s.first_bytes[0][0], 7);
	txq_free(q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(equal_sizes_share_a_batch_and_a_shorter_one_ends_it),
	    cmocka_unit_test(paths_and_ecn_do_not_break_each_others_batches),
	    cmocka_unit_test(fixed_and_chosen_sources_do_not_share_a_batch),
	    cmocka_unit_test(batch_ends_at_64_segments_and_at_the_byte_limit),
	    cmocka_unit_test(seventeenth_path_flushes_one_other),
	    cmocka_unit_test(undone_datagram_is_not_sent_and_scratch_before_the_first_is_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
