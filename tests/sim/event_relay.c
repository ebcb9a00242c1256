#include "act.h"

static unsigned number_of(const struct act *a)
{
	return a->e.a % a->w->n_relays;
}

/* With a new secret, which the portal tells a little later. */
void act_relay_restarts(struct act *a)
{
	if (a->stage > 0) {
		portal_node_relay(&a->w->portal, number_of(a), true);
		return;
	}
	relay_node_restart(act_relay(a), true);
	act_again(a, ACT_PORTAL_NOTICES_S * US_PER_S);
	act_disturb(a, act_relay(a)->host, ACT_PORTAL_NOTICES_S * US_PER_S);
}

/*
 * The portal takes it out a little later and lists it when it is back; odd numbers: only then does
 * it notice anything.
 */
void act_relay_dies(struct act *a)
{
	struct relay_node *relay = act_relay(a);
	bool unseen = a->e.b % 2;

	act_disturb(a, relay->host, unseen ? 0 : ACT_PORTAL_NOTICES_S * US_PER_S);
	switch (a->stage) {
	case 0:
		relay->up = false;
		act_again(a, unseen ? a->e.for_us : ACT_PORTAL_NOTICES_S * US_PER_S);
		break;
	case 1:
		portal_node_relay(&a->w->portal, number_of(a), false);
		act_again(a, unseen ? US_PER_MS : a->e.for_us);
		break;
	default:
		relay_node_restart(relay, true);
		portal_node_relay(&a->w->portal, number_of(a), true);
		break;
	}
}

void act_relay_stale(struct act *a)
{
	relay_node_stale(act_relay(a));
}

/* [spec connections 6.1: Suspended] The portal says so when it is of use again. */
void act_relay_refuses(struct act *a)
{
	static const uint16_t codes[] = {486, 508, 403};
	struct relay_node *relay = act_relay(a);

	act_disturb(a, relay->host, ACT_PORTAL_NOTICES_S * US_PER_S);
	if (a->stage > 0) {
		relay->refuse = 0;
		portal_node_relay(&a->w->portal, number_of(a), true);
		return;
	}
	relay_node_restart(relay, false);
	relay->refuse = codes[a->e.b % 3];
	act_again(a, a->e.for_us);
}

/* It works on, but nobody is to use it. */
void act_relay_unlisted(struct act *a)
{
	act_disturb(a, act_relay(a)->host, ACT_PORTAL_NOTICES_S * US_PER_S);
	portal_node_relay(&a->w->portal, number_of(a), a->stage > 0);
	if (a->stage == 0)
		act_again(a, a->e.for_us);
}

void act_portal_outage(struct act *a)
{
	portal_node_outage(&a->w->portal, a->e.for_us);
}

void act_slow_candidates(struct act *a)
{
	bool over = a->stage > 0;

	a->w->portal.extra_us = over ? 0 : a->e.for_us / 8;
	if (!over)
		act_again(a, a->e.for_us);
	act_disturb(a, a->w->gateway.host, US_PER_S + a->e.for_us / 8);
}

void act_rejected(struct act *a)
{
	unsigned c = a->e.a % a->w->n_clients, r = a->e.b % a->w->n_resources;

	if (a->stage == 0) {
		portal_node_reject(&a->w->portal, c, r);
		act_again(a, a->e.for_us);
	} else {
		portal_node_allow(&a->w->portal, c, r);
		truth_event(&a->w->truth, c, 2 * US_PER_S);
	}
}

void act_expiry(struct act *a)
{
	unsigned c = a->e.a % a->w->n_clients, r = a->e.b % a->w->n_resources;

	portal_node_set_expiry(&a->w->portal, c, r, (int64_t)(a->e.value % 8) - 1);
}

/* Many decisions within a moment; what the last of them says counts. */
void act_storm(struct act *a)
{
	struct sim_draw d;

	sim_draw_init(&d, a->e.value);
	for (unsigned i = 0; i < 40; i++) {
		unsigned c = (unsigned)sim_draw(&d, a->w->n_clients);
		unsigned r = (unsigned)sim_draw(&d, a->w->n_resources);

		switch (sim_draw(&d, 4)) {
		case 0:
			portal_node_reject(&a->w->portal, c, r);
			break;
		case 1:
			portal_node_set_expiry(&a->w->portal, c, r, (int64_t)sim_draw(&d, 20));
			break;
		default:
			portal_node_allow(&a->w->portal, c, r);
			portal_node_request(&a->w->portal, c, r);
			break;
		}
	}
	act_disturb(a, a->w->gateway.host, 2 * US_PER_S);
}
