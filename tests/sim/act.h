/*
 * One event while it happens: what the files of events share.
 *
 * An event that lasts runs in several stages; the first is 0.
 */
#ifndef TESTS_SIM_ACT_H
#define TESTS_SIM_ACT_H

#include "scenario.h"

/*
 * Beyond the promised two and five seconds: what nobody can see has to be found out first, for
 * which the path is checked each 1.5 s; who was away for long begins anew.
 */
enum {
	ACT_AWAY_S = 12,
	ACT_FOR_GOOD_S = 3600,
	ACT_PORTAL_NOTICES_S = 1, /* that a relay is gone or back */
};

struct act {
	struct world *w;
	struct scenario_event e;
	unsigned stage;
};

/* Its next stage comes. */
void act_again(const struct act *a, uint64_t in_us);

struct client_node *act_client(const struct act *a);
struct relay_node *act_relay(const struct act *a);

/*
 * Something happens to a host: clients whose traffic goes by it may be interrupted. A relay
 * concerns nobody whose traffic flows on a direct path.
 */
void act_disturb(const struct act *a, const struct host *h, uint64_t grace_us);
/* The same for what happens between two hosts. */
void act_disturb_between(const struct act *a, const struct host *x, const struct host *y);

extern void (*const act_of_kind[SCENARIO_KINDS])(struct act *a);

/* event_net.c */
void act_gateway_roams(struct act *a);
void act_gateway_down(struct act *a);
void act_client_roams(struct act *a);
void act_client_down(struct act *a);
void act_family_lost(struct act *a);
void act_udp_blocked(struct act *a);
void act_rebind(struct act *a);
void act_cut(struct act *a);
void act_partition(struct act *a);
void act_lossy(struct act *a);

/* event_relay.c: relays and the portal */
void act_relay_restarts(struct act *a);
void act_relay_dies(struct act *a);
void act_relay_stale(struct act *a);
void act_relay_refuses(struct act *a);
void act_relay_unlisted(struct act *a);
void act_portal_outage(struct act *a);
void act_slow_candidates(struct act *a);
void act_rejected(struct act *a);
void act_expiry(struct act *a);
void act_storm(struct act *a);

/* event_life.c: the machines, and hostile ones */
void act_clock_step(struct act *a);
void act_gateway_sleeps(struct act *a);
void act_client_sleeps(struct act *a);
void act_gateway_restarts(struct act *a);
void act_client_leaves(struct act *a);
void act_pause(struct act *a);
void act_attack(struct act *a);
void act_replay(struct act *a);
void act_flood(struct act *a);
void act_comes_and_goes(struct act *a);
void act_forged_sources(struct act *a);

#endif
