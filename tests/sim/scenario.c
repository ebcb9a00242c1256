#include "scenario.h"

#include <stdio.h>
#include <string.h>

#include "events.h"
#include "invariants.h"
#include "topology.h"

enum {
	END_EACH = 16, /* one of so many scenarios goes on until nothing is left */
	RELAYS_GONE_S = 5,
	FIRST_S = 4,       /* the world comes up undisturbed */
	LAST_QUIET_S = 12, /* and has time to recover */
};

/* Topology and events have streams of their own, so that events can be left out. */
static const uint64_t topology_salt = UINT64_C(0x746f706f), events_salt = UINT64_C(0x6576656e),
		      chance_salt = UINT64_C(0x63686163);

void scenario_draw(struct scenario *s, uint64_t seed, uint64_t seconds)
{
	struct sim_draw d;

	*s = (struct scenario){.seed = seed};
	sim_draw_init(&d, seed ^ events_salt);
	s->seconds = seconds > 0 ? seconds : 20 + sim_draw(&d, 20);
	if (s->seconds < FIRST_S + LAST_QUIET_S + 1)
		s->seconds = FIRST_S + LAST_QUIET_S + 1;
	s->n_events = (unsigned)(sim_draw_percent(&d, 60) ? sim_draw(&d, 4) : sim_draw(&d, 12));
	for (unsigned i = 0; i < s->n_events; i++) {
		struct scenario_event *e = &s->events[i];

		e->kind = (enum scenario_kind)sim_draw(&d, SCENARIO_KINDS);
		e->at_us = FIRST_S * US_PER_S +
			   sim_draw(&d, (s->seconds - FIRST_S - LAST_QUIET_S) * US_PER_S);
		e->for_us = (1 + sim_draw(&d, 8000)) * US_PER_MS;
		e->a = (unsigned)sim_draw(&d, 64);
		e->b = (unsigned)sim_draw(&d, 64);
		e->value = sim_draw(&d, UINT64_MAX);
	}
}

/* All clients are switched off without a word. */
static void end(struct world *w)
{
	w->ended = true;
	for (unsigned i = 0; i < w->n_clients; i++)
		w->clients[i].off = true;
	world_run(w, w->sim.now_us + INVARIANT_END_S * US_PER_S);
	if (!w->sim.failed)
		invariants_clients_gone(w);
	for (unsigned i = 0; i < w->n_relays; i++)
		portal_node_relay(&w->portal, i, false);
	world_run(w, w->sim.now_us + RELAYS_GONE_S * US_PER_S);
	if (!w->sim.failed)
		invariants_relays_gone(w);
}

void scenario_run(struct scenario *s)
{
	struct world *w = world_new(s->seed ^ chance_salt, s->tracing);
	struct sim_draw d;

	sim_draw_init(&d, s->seed ^ topology_salt);
	topology_build(w, &d, s->seed);
	for (unsigned i = 0; i < s->n_events; i++)
		if (!s->events[i].left_out)
			events_schedule(w, &s->events[i]);
	if (s->tracing)
		topology_print(w);
	world_run(w, w->sim.now_us + s->seconds * US_PER_S);
	if (!w->sim.failed && s->seed % END_EACH == 0)
		end(w);
	world_end(w);
	s->failed = w->sim.failed;
	memcpy(s->reason, w->sim.reason, sizeof(s->reason));
	s->steps = w->sim.steps;
	s->echoes = w->truth.echoes;
	memcpy(s->looks, w->truth.looks, sizeof(s->looks));
	s->datagrams = w->net.delivered;
	s->most_memory = w->gateway.memory.most;
	sim_print_trace(&w->sim);
	world_free(w);
}

/* Events one by one, again as long as any of them can go. */
void scenario_shrink(struct scenario *s)
{
	bool any = true;

	s->tracing = false;
	while (any) {
		any = false;
		for (unsigned i = 0; i < s->n_events; i++) {
			if (s->events[i].left_out)
				continue;
			s->events[i].left_out = true;
			scenario_run(s);
			if (s->failed)
				any = true;
			else
				s->events[i].left_out = false;
		}
	}
	scenario_run(s);
}

void scenario_print(const struct scenario *s)
{
	printf("seed %llu, %llu s\n", (unsigned long long)s->seed, (unsigned long long)s->seconds);
	for (unsigned i = 0; i < s->n_events; i++) {
		const struct scenario_event *e = &s->events[i];

		if (!e->left_out)
			printf("  %9.6f %s for %.3f s, %u %u, value %llu\n", (double)e->at_us / 1e6,
			       events_name(e->kind), (double)e->for_us / 1e6, e->a, e->b,
			       (unsigned long long)e->value);
	}
}
