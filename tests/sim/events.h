/*
 * What the events of a scenario do to the world, and how long they may interrupt traffic.
 */
#ifndef TESTS_SIM_EVENTS_H
#define TESTS_SIM_EVENTS_H

#include "scenario.h"

const char *events_name(enum scenario_kind kind);

/* Let it happen at its time. */
void events_schedule(struct world *w, const struct scenario_event *e);

#endif
