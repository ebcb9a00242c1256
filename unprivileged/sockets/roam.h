/*
 * When the cache forgets and when the egress is compared: the limit on flushes and the debounce of
 * roams. A plain value; no fd, no clock. [spec socket-factory 4.6]
 *
 * Flushes are immediate, but ROAM_MAX_FLUSHES in a second are the most: half of them at once, the
 * others spread over the second. One that waits goes as soon as there is one to be had, and
 * ROAM_WINDOW_MS after the last event in any case: a source that is no more is not used longer.
 *
 * Each flush, of whatever cause, arms the comparison: ROAM_QUIET_MS after the last event,
 * ROAM_LATEST_MS after the first. It looks all live destinations up again, so that the cache knows
 * them and network_event() can tell what concerns them.
 */
#ifndef SOCKETS_ROAM_H
#define SOCKETS_ROAM_H

#include "base/defs.h"
#include "sockets/factory.h"

enum {
	ROAM_MAX_FLUSHES = 20, /* in a second */
	ROAM_WINDOW_MS = 50,
	ROAM_QUIET_MS = 500,
	ROAM_LATEST_MS = 2000,
	ROAM_RECHECK_MS = 5000, /* without an event socket */
};

struct roam {
	uint64_t flush_us;          /* a flush waits until then; NEVER_US: none */
	uint64_t first_us, last_us; /* events since the last comparison; NEVER_US: none */
	uint64_t flushes_paid_us;   /* token bucket */
	uint64_t recheck_us;        /* blind: the next comparison; NEVER_US: not blind */
	uint64_t generation;        /* of the cache, as far as it is accounted for; 0: none yet */
	enum factory_cause flush_cause; /* of the flush that waits */
	enum factory_cause cause; /* of the first event since the last comparison: why one roams */
	bool blind;               /* no event socket: compare on a timer */
	bool comparing;           /* the owner is at it */
};

void roam_init(struct roam *r);

/* One drain of events said that routes may have changed. */
void roam_event(struct roam *r, enum factory_cause cause, uint64_t now_us);

/*
 * Before each lookup: the cache is of this @generation. If somebody else made it forget (a send
 * error, an operator), the comparison is armed and a flush that waits is done with, for nothing was
 * looked up since; it counts as one of the second's.
 */
void roam_generation(struct roam *r, uint64_t generation, uint64_t now_us);

/* The owner carried out a flush that was due, or the comparison: @generation is its doing. */
void roam_flushed(struct roam *r, uint64_t generation);
void roam_compared(struct roam *r, uint64_t generation);

/* The event socket is dead: flush now, and compare each ROAM_RECHECK_MS. */
void roam_blind(struct roam *r, uint64_t now_us);

/* True if factory_flush(@cause) is due; said once. For lookups, amid which nothing is compared. */
MUST_CHECK bool roam_take_flush(struct roam *r, uint64_t now_us, enum factory_cause *cause);

struct roam_due {
	bool flush;   /* factory_flush(@cause) now */
	bool compare; /* look the live destinations up again now, after the flush */
	enum factory_cause cause;
};
/* What is due; each is said once. Call after roam_event() and at the deadline. */
struct roam_due roam_take(struct roam *r, uint64_t now_us);
uint64_t roam_deadline(const struct roam *r);

#endif
