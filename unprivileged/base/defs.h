/*
 * Attributes, size arithmetic and the one assertion that every room uses. No state.
 */
#ifndef BASE_DEFS_H
#define BASE_DEFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MUST_CHECK             __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define UNUSED                 __attribute__((unused))
#define ARRAY_LEN(a)           (sizeof(a) / sizeof((a)[0]))

/* No deadline: the timer functions of the core return it, the loop sleeps without limit. */
#define NEVER_US  UINT64_MAX
#define US_PER_S  UINT64_C(1000000)
#define US_PER_MS UINT64_C(1000)

/* A broken invariant of ours ends the process; never used on what a peer sent. */
#define BUG_ON(cond) ((cond) ? bug_on(#cond, __FILE__, __LINE__) : (void)0)
_Noreturn void bug_on(const char *cond, const char *file, int line);

/* a + b and a * b into *out; true on overflow, like C23's <stdckdint.h>. */
#define ckd_add_size(out, a, b) __builtin_add_overflow((size_t)(a), (size_t)(b), (out))
#define ckd_mul_size(out, a, b) __builtin_mul_overflow((size_t)(a), (size_t)(b), (out))

static inline size_t min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* a + b that stops at NEVER_US. */
static inline uint64_t add_us(uint64_t a, uint64_t b)
{
	return a > NEVER_US - b ? NEVER_US : a + b;
}

#endif
