#include "sockets/roam.h"

enum {
	BURST = ROAM_MAX_FLUSHES / 2
};

static const uint64_t price_us = US_PER_S / (ROAM_MAX_FLUSHES - BURST);

void roam_init(struct roam *r)
{
	*r = (struct roam){.flush_us = NEVER_US,
			   .first_us = NEVER_US,
			   .last_us = NEVER_US,
			   .recheck_us = NEVER_US};
}

/* What was flushed ahead of its time is owed, but never more than the bucket holds. */
static void pay(struct roam *r, uint64_t now_us)
{
	uint64_t paid_us = max_u64(r->flushes_paid_us, now_us) + price_us;

	r->flushes_paid_us = min_u64(paid_us, now_us + BURST * price_us);
}

/* When the bucket has enough for one more. */
static uint64_t affordable_us(const struct roam *r)
{
	uint64_t credit_us = (BURST - 1) * price_us;

	return r->flushes_paid_us > credit_us ? r->flushes_paid_us - credit_us : 0;
}

static void arm(struct roam *r, enum factory_cause cause, uint64_t now_us)
{
	/* An event says more than that a send failed. */
	if (r->first_us == NEVER_US || r->cause == FACTORY_CAUSE_SEND_ERROR)
		r->cause = cause;
	r->first_us = min_u64(r->first_us, now_us);
	r->last_us = now_us;
}

void roam_event(struct roam *r, enum factory_cause cause, uint64_t now_us)
{
	uint64_t latest_us = now_us + ROAM_WINDOW_MS * US_PER_MS;

	arm(r, cause, now_us);
	if (r->flush_us == NEVER_US)
		r->flush_cause = cause;
	r->flush_us = max_u64(now_us, min_u64(affordable_us(r), latest_us));
}

void roam_generation(struct roam *r, uint64_t generation, uint64_t now_us)
{
	bool others = r->generation != 0 && r->generation != generation;

	r->generation = generation;
	if (!others)
		return;
	r->flush_us = NEVER_US;
	pay(r, now_us);
	/* What the comparison itself set off calls for no other one: it would never end. A flush
	 * does not put off what events have armed. */
	if (!r->comparing && r->first_us == NEVER_US)
		arm(r, FACTORY_CAUSE_SEND_ERROR, now_us);
}

void roam_flushed(struct roam *r, uint64_t generation)
{
	r->generation = generation;
}

void roam_compared(struct roam *r, uint64_t generation)
{
	r->generation = generation;
	r->comparing = false;
}

void roam_blind(struct roam *r, uint64_t now_us)
{
	if (r->blind)
		return;
	r->blind = true;
	r->recheck_us = now_us + ROAM_RECHECK_MS * US_PER_MS;
	arm(r, FACTORY_CAUSE_NO_EVENTS, now_us);
	r->flush_cause = FACTORY_CAUSE_NO_EVENTS;
	r->flush_us = now_us;
}

bool roam_take_flush(struct roam *r, uint64_t now_us, enum factory_cause *cause)
{
	if (r->flush_us > now_us)
		return false;
	*cause = r->flush_cause;
	r->flush_us = NEVER_US;
	pay(r, now_us);
	return true;
}

static uint64_t compare_us(const struct roam *r)
{
	if (r->first_us == NEVER_US)
		return NEVER_US;
	return min_u64(r->last_us + ROAM_QUIET_MS * US_PER_MS,
		       r->first_us + ROAM_LATEST_MS * US_PER_MS);
}

struct roam_due roam_take(struct roam *r, uint64_t now_us)
{
	struct roam_due due = {.compare = compare_us(r) <= now_us, .cause = r->cause};

	/* Nobody says what changed, so everything may have. */
	if (r->recheck_us <= now_us) {
		r->recheck_us = now_us + ROAM_RECHECK_MS * US_PER_MS;
		r->cause = r->flush_cause = FACTORY_CAUSE_NO_EVENTS;
		r->flush_us = now_us;
		due.compare = true;
	}
	/* What is compared must not come from before the event. */
	if (due.compare && r->flush_us != NEVER_US)
		r->flush_us = min_u64(r->flush_us, now_us);
	due.flush = roam_take_flush(r, now_us, &due.cause);
	if (due.compare) {
		r->first_us = r->last_us = NEVER_US;
		r->comparing = true;
	}
	return due;
}

uint64_t roam_deadline(const struct roam *r)
{
	return min_u64(r->recheck_us, min_u64(r->flush_us, compare_us(r)));
}
