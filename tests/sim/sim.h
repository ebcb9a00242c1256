/*
 * Virtual time: a clock, a queue of events, randomness from one seed, a trace, and the verdict.
 *
 * Events of equal time run in the order in which they were queued. Nothing reads a real clock, so a
 * seed replays exactly.
 */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include "base/defs.h"

enum {
	SIM_TRACE_LINES = 400,
	SIM_TRACE_WIDTH = 200,
	SIM_REASON = 400,
};

struct sim_event {
	uint64_t at_us, seq;
	void (*run)(void *ctx, void *data); /* takes @data over */
	void (*drop)(void *data);           /* what becomes of @data if the event never runs */
	void *ctx, *data;
};

struct sim {
	uint64_t now_us, seq, steps;
	uint64_t rng[4];
	struct sim_event *events; /* binary heap */
	size_t n_events, cap_events;
	bool tracing;
	char (*trace)[SIM_TRACE_WIDTH]; /* ring */
	uint64_t traced;
	bool failed;
	char reason[SIM_REASON];
};

void sim_init(struct sim *s, uint64_t seed, bool tracing);
void sim_free(struct sim *s);

void sim_at(struct sim *s, uint64_t at_us, const struct sim_event *e);
uint64_t sim_next_us(const struct sim *s); /* NEVER_US: none */
/* Run the first event, which is due. */
void sim_run_one(struct sim *s);

/* Uniform in [0, bound), bound not 0; the stream of what happens by chance while the scenario runs.
 */
uint64_t sim_below(struct sim *s, uint64_t bound);
/* True with a probability of @ppm in a million. */
bool sim_chance(struct sim *s, uint32_t ppm);

void sim_trace(struct sim *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
void sim_print_trace(const struct sim *s);

/* The scenario has failed; the first reason stays. */
void sim_fail(struct sim *s, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* A stream of its own, for what is drawn ahead. */
struct sim_draw {
	uint64_t rng[4];
};
void sim_draw_init(struct sim_draw *d, uint64_t seed);
uint64_t sim_draw(struct sim_draw *d, uint64_t bound);
bool sim_draw_percent(struct sim_draw *d, unsigned percent);

#endif
