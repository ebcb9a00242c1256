/*
 * What the tests of the core as a whole begin and end with, and how they look at it.
 */
#ifndef TESTS_UNIT_GATEWAY_FIXTURE_H
#define TESTS_UNIT_GATEWAY_FIXTURE_H

#include "world.h"

/* The client's tunnel address; a host that its grant reaches, and one outside of every grant. */
extern const uint8_t fixture_client_ip[4], fixture_lab_ip[4], fixture_outside_ip[4];

/* cmocka's: a world of its own for each case, without or with a route cache. */
int fixture_setup(void **state);
int fixture_setup_roaming(void **state);
int fixture_teardown(void **state);

/* Relay, init and grant, but nothing of the client yet. */
void fixture_authorize(struct world *w);

struct gateway_snapshot fixture_snapshot(const struct world *w);

/* WireGuard messages of a type among what was sent to an address. */
unsigned int fixture_messages(const struct world *w, const struct endpoint *to,
			      enum wg_msg_type type);

#endif
