/*
 * A token bucket in one number: the time until which its rate is used up. All zero is a full one,
 * and nothing has to run for it to fill.
 */
#ifndef BASE_BUCKET_H
#define BASE_BUCKET_H

#include "base/defs.h"

/*
 * Takes @price tokens (at most @burst) of a bucket that holds @burst and gets one more each
 * @interval_us; *@paid_us is its state. False: there are not so many, and nothing is taken.
 */
static inline bool bucket_take_some(uint64_t *paid_us, uint64_t now_us, uint64_t interval_us,
				    unsigned int burst, unsigned int price)
{
	uint64_t from_us = max_u64(*paid_us, now_us);

	if (from_us - now_us > (burst - price) * interval_us)
		return false;
	*paid_us = from_us + price * interval_us;
	return true;
}

static inline bool bucket_take(uint64_t *paid_us, uint64_t now_us, uint64_t interval_us,
			       unsigned int burst)
{
	return bucket_take_some(paid_us, now_us, interval_us, burst, 1);
}

#endif
