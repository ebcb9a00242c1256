/*
 * Whether a path between a client and the gateway exists, judged from the network alone. Errs on
 * the side of none.
 */
#ifndef TESTS_SIM_ORACLE_H
#define TESTS_SIM_ORACLE_H

#include "world.h"

enum oracle_path {
	ORACLE_NONE,
	ORACLE_RELAYED,
	ORACLE_DIRECT
};

enum oracle_path oracle_path(const struct world *w, unsigned client);

#endif
