#include "fixture.h"

const uint8_t fixture_client_ip[4] = {100, 64, 0, 10};
const uint8_t fixture_lab_ip[4] = {10, 20, 0, 5};
const uint8_t fixture_outside_ip[4] = {10, 99, 0, 5};

int fixture_setup(void **state)
{
	*state = world_new();
	return 0;
}

int fixture_setup_roaming(void **state)
{
	*state = world_roaming(8);
	return 0;
}

int fixture_teardown(void **state)
{
	world_free(*state);
	return 0;
}

void fixture_authorize(struct world *w)
{
	world_init(w, true);
	world_relay_answers(w);
	world_relay_answers(w);
	world_authorize(w, WORLD_LAB, "10.20.0.0/16", WORLD_LATER);
	world_forget(w);
}

struct gateway_snapshot fixture_snapshot(const struct world *w)
{
	struct gateway_snapshot snapshot;

	gateway_snapshot(w->g, &snapshot);
	return snapshot;
}

unsigned int fixture_messages(const struct world *w, const struct endpoint *to,
			      enum wg_msg_type type)
{
	unsigned int n = 0;

	for (size_t i = 0; i < w->n_sent; i++)
		n += endpoint_eq(&w->sent[i].key.dst, to) &&
		     wg_classify(w->sent[i].data, w->sent[i].len) == type;
	return n;
}
