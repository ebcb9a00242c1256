#include "sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* splitmix64 and xoshiro256**, public domain algorithms. */
static uint64_t spread(uint64_t *x)
{
	uint64_t z = (*x += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static uint64_t rotate(uint64_t x, unsigned n)
{
	return (x << n) | (x >> (64 - n));
}

static uint64_t next(uint64_t s[4])
{
	uint64_t result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotate(s[3], 45);
	return result;
}

static void seed_state(uint64_t out[4], uint64_t seed)
{
	for (unsigned i = 0; i < 4; i++)
		out[i] = spread(&seed);
}

void sim_draw_init(struct sim_draw *d, uint64_t seed)
{
	seed_state(d->rng, seed);
}

uint64_t sim_draw(struct sim_draw *d, uint64_t bound)
{
	return next(d->rng) % bound;
}

bool sim_draw_percent(struct sim_draw *d, unsigned percent)
{
	return sim_draw(d, 100) < percent;
}

void sim_init(struct sim *s, uint64_t seed, bool tracing)
{
	*s = (struct sim){.tracing = tracing, .now_us = 1000 * US_PER_S};
	seed_state(s->rng, seed);
	if (tracing)
		s->trace = calloc(SIM_TRACE_LINES, SIM_TRACE_WIDTH);
}

void sim_free(struct sim *s)
{
	for (size_t i = 0; i < s->n_events; i++)
		if (s->events[i].drop)
			s->events[i].drop(s->events[i].data);
	free(s->events);
	free(s->trace);
}

static bool before(const struct sim_event *a, const struct sim_event *b)
{
	return a->at_us < b->at_us || (a->at_us == b->at_us && a->seq < b->seq);
}

static void swap(struct sim *s, size_t a, size_t b)
{
	struct sim_event t = s->events[a];

	s->events[a] = s->events[b];
	s->events[b] = t;
}

void sim_at(struct sim *s, uint64_t at_us, const struct sim_event *e)
{
	size_t i = s->n_events;

	if (i == s->cap_events) {
		s->cap_events = i == 0 ? 64 : i * 2;
		s->events = reallocarray(s->events, s->cap_events, sizeof(*e));
		BUG_ON(!s->events);
	}
	s->events[i] = *e;
	s->events[i].at_us = at_us > s->now_us ? at_us : s->now_us;
	s->events[i].seq = s->seq++;
	s->n_events++;
	for (; i > 0 && before(&s->events[i], &s->events[(i - 1) / 2]); i = (i - 1) / 2)
		swap(s, i, (i - 1) / 2);
}

uint64_t sim_next_us(const struct sim *s)
{
	return s->n_events > 0 ? s->events[0].at_us : NEVER_US;
}

static void sink(struct sim *s)
{
	size_t i = 0;

	for (;;) {
		size_t least = i, left = 2 * i + 1;

		if (left < s->n_events && before(&s->events[left], &s->events[least]))
			least = left;
		if (left + 1 < s->n_events && before(&s->events[left + 1], &s->events[least]))
			least = left + 1;
		if (least == i)
			return;
		swap(s, i, least);
		i = least;
	}
}

void sim_run_one(struct sim *s)
{
	struct sim_event e = s->events[0];

	s->events[0] = s->events[--s->n_events];
	sink(s);
	e.run(e.ctx, e.data);
}

uint64_t sim_below(struct sim *s, uint64_t bound)
{
	return next(s->rng) % bound;
}

bool sim_chance(struct sim *s, uint32_t ppm)
{
	return ppm > 0 && sim_below(s, 1000000) < ppm;
}

void sim_trace(struct sim *s, const char *fmt, ...)
{
	char *line;
	va_list args;
	int n;

	if (!s->tracing)
		return;
	line = s->trace[s->traced++ % SIM_TRACE_LINES];
	n = snprintf(line, SIM_TRACE_WIDTH, "%10.6f ", (double)s->now_us / 1e6 - 1000);
	va_start(args, fmt);
	vsnprintf(line + n, SIM_TRACE_WIDTH - (size_t)n, fmt, args);
	va_end(args);
}

void sim_print_trace(const struct sim *s)
{
	uint64_t from = s->traced > SIM_TRACE_LINES ? s->traced - SIM_TRACE_LINES : 0;

	for (uint64_t i = from; s->tracing && i < s->traced; i++)
		printf("  %s\n", s->trace[i % SIM_TRACE_LINES]);
}

void sim_fail(struct sim *s, const char *fmt, ...)
{
	va_list args;

	if (s->failed)
		return;
	s->failed = true;
	va_start(args, fmt);
	vsnprintf(s->reason, sizeof(s->reason), fmt, args);
	va_end(args);
	sim_trace(s, "FAILED: %s", s->reason);
}
