/*
 * The network of a scenario, drawn from its seed.
 */
#ifndef TESTS_SIM_TOPOLOGY_H
#define TESTS_SIM_TOPOLOGY_H

#include "world.h"

/* Hosts, NATs, relays, portal, the gateway and its clients, ready to run. */
void topology_build(struct world *w, struct sim_draw *d, uint64_t seed);

/* Other addresses for a host, as after a move to another network. */
void topology_move(struct world *w, struct host *h, uint64_t value);

void topology_print(const struct world *w);

#endif
