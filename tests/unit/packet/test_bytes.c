#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "packet/bytes.h"

static const uint8_t count[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

static void reader_reads_both_byte_orders(void **state)
{
	struct reader r = reader_of(count, sizeof(count));

	(void)state;
	assert_int_equal(rd_u8(&r), 0);
	assert_int_equal(rd_u16(&r), 0x0102);
	assert_int_equal(rd_u32(&r), 0x03040506);
	assert_int_equal(rd_le32(&r), 0x0a090807);
	assert_int_equal(r.left, 5);
	r = reader_of(count, sizeof(count));
	assert_true(rd_u64(&r) == UINT64_C(0x0001020304050607));
	assert_true(rd_le64(&r) == UINT64_C(0x0f0e0d0c0b0a0908));
	assert_false(r.bad);
	assert_int_equal(r.left, 0);
}

static void reader_stays_bad_after_an_overrun(void **state)
{
	struct reader r = reader_of(count, 3);

	(void)state;
	assert_int_equal(rd_u32(&r), 0);
	assert_true(r.bad);
	assert_int_equal(rd_u8(&r), 0);
	assert_null(rd_bytes(&r, 1));
	assert_null(rd_bytes(&r, 0));
	assert_int_equal(r.left, 3);
}

static void reader_reads_zero_bytes_at_the_end(void **state)
{
	struct reader r = reader_of(count, 2);

	(void)state;
	rd_skip(&r, 2);
	assert_non_null(rd_bytes(&r, 0));
	assert_false(r.bad);
	rd_skip(&r, 1);
	assert_true(r.bad);
}

static void reader_refuses_a_huge_length(void **state)
{
	struct reader r = reader_of(count, sizeof(count));

	(void)state;
	rd_skip(&r, SIZE_MAX);
	assert_true(r.bad);
}

static void copy_zeroes_what_is_not_there(void **state)
{
	struct reader r = reader_of(count + 1, 3);
	uint8_t out[4] = {9, 9, 9, 9};

	(void)state;
	rd_copy(&r, out, 3);
	assert_memory_equal(out, count + 1, 3);
	rd_copy(&r, out, 4);
	assert_true(r.bad);
	assert_int_equal(out[0] | out[1] | out[2] | out[3], 0);
}

static void child_cannot_leave_its_part(void **state)
{
	struct reader r = reader_of(count, sizeof(count));
	struct reader child = rd_child(&r, 2);

	(void)state;
	assert_int_equal(rd_u16(&child), 1);
	assert_int_equal(rd_u8(&child), 0);
	assert_true(child.bad);
	assert_false(r.bad);
	assert_int_equal(rd_u8(&r), 2);
	child = rd_child(&r, 14);
	assert_true(child.bad);
	assert_true(r.bad);
}

static void writer_writes_both_byte_orders(void **state)
{
	uint8_t out[16];
	struct writer w = writer_of(out, sizeof(out));

	(void)state;
	wr_u8(&w, 0);
	wr_u16(&w, 0x0102);
	wr_u32(&w, 0x03040506);
	wr_le32(&w, 0x0a090807);
	wr_bytes(&w, count + 11, 3);
	wr_zero(&w, 2);
	assert_false(w.bad);
	assert_int_equal(w.written, 16);
	assert_memory_equal(out, count, 14);
	assert_int_equal(out[14] | out[15], 0);
	w = writer_of(out, sizeof(out));
	wr_u64(&w, UINT64_C(0x0001020304050607));
	wr_le64(&w, UINT64_C(0x0f0e0d0c0b0a0908));
	assert_memory_equal(out, count, 16);
}

static void writer_writes_nothing_after_it_is_full(void **state)
{
	uint8_t out[4] = {0xaa, 0xaa, 0xaa, 0xaa};
	struct writer w = writer_of(out, 3);

	(void)state;
	wr_u16(&w, 0x0102);
	wr_u16(&w, 0x0304);
	assert_true(w.bad);
	wr_u8(&w, 5);
	assert_int_equal(w.written, 2);
	assert_int_equal(out[2], 0xaa);
	assert_int_equal(out[3], 0xaa);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reader_reads_both_byte_orders),
	    cmocka_unit_test(reader_stays_bad_after_an_overrun),
	    cmocka_unit_test(reader_reads_zero_bytes_at_the_end),
	    cmocka_unit_test(reader_refuses_a_huge_length),
	    cmocka_unit_test(copy_zeroes_what_is_not_there),
	    cmocka_unit_test(child_cannot_leave_its_part),
	    cmocka_unit_test(writer_writes_both_byte_orders),
	    cmocka_unit_test(writer_writes_nothing_after_it_is_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
