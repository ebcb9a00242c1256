#include "world.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "invariants.h"

enum {
	ARENA_SLOTS = 128,
	MAX_STEPS_SAME_TIME = 100000,
};

static const int64_t start_wall_s = 1790000000;

struct ip_addr world_ip(const char *text)
{
	struct ip_addr ip = {.family = IP_NONE};

	BUG_ON(!ip_parse(&ip, text, strlen(text)));
	return ip;
}

int64_t world_wall_us(const struct world *w)
{
	return start_wall_s * (int64_t)US_PER_S + (int64_t)w->sim.now_us;
}

static void secret(struct world *w, const void *bytes, size_t len)
{
	struct world_secret *s = &w->secrets[w->n_secrets % WORLD_SECRETS];

	BUG_ON(len > sizeof(s->bytes));
	if (world_tells_secret(w, bytes, len))
		return;
	s->len = len;
	memcpy(s->bytes, bytes, len);
	w->n_secrets++;
}

void world_secret_text(struct world *w, const char *text)
{
	secret(w, text, strlen(text));
}

void world_secret_bytes(struct world *w, const uint8_t *bytes, size_t len)
{
	char text[WORLD_SECRET_TEXT];

	secret(w, bytes, len);
	sodium_bin2hex(text, sizeof(text), bytes, len);
	world_secret_text(w, text);
	sodium_bin2base64(text, sizeof(text), bytes, len, sodium_base64_VARIANT_ORIGINAL);
	world_secret_text(w, text);
}

bool world_tells_secret(const struct world *w, const char *line, size_t len)
{
	for (unsigned i = 0; i < w->n_secrets && i < WORLD_SECRETS; i++)
		if (memmem(line, len, w->secrets[i].bytes, w->secrets[i].len))
			return true;
	return false;
}

struct world *world_new(uint64_t seed, bool tracing)
{
	struct world *w = calloc(1, sizeof(*w));

	BUG_ON(!w);
	sim_init(&w->sim, seed, tracing);
	w->net.sim = &w->sim;
	truth_init(&w->truth, &w->sim);
	portal_node_init(&w->portal, w);
	w->arena = secret_arena_new(ARENA_SLOTS);
	BUG_ON(!w->arena);
	return w;
}

void world_end(struct world *w)
{
	for (unsigned i = 0; i < w->n_clients; i++)
		client_node_free(&w->clients[i]);
	gateway_node_free(&w->gateway);
}

void world_free(struct world *w)
{
	for (unsigned i = 0; i < w->n_nats; i++)
		nat_free(&w->nats[i]);
	truth_free(&w->truth);
	secret_arena_free(w->arena);
	sim_free(&w->sim);
	free(w);
}

static uint64_t next_us(const struct world *w)
{
	uint64_t at = min_u64(sim_next_us(&w->sim), gateway_node_deadline(&w->gateway));

	for (unsigned i = 0; i < w->n_clients; i++)
		at = min_u64(at, client_node_deadline(&w->clients[i]));
	return at;
}

static void step(struct world *w)
{
	if (gateway_node_deadline(&w->gateway) <= w->sim.now_us) {
		gateway_node_timeout(&w->gateway);
		return;
	}
	for (unsigned i = 0; i < w->n_clients; i++) {
		if (client_node_deadline(&w->clients[i]) <= w->sim.now_us) {
			client_node_timeout(&w->clients[i]);
			return;
		}
	}
	if (sim_next_us(&w->sim) <= w->sim.now_us)
		sim_run_one(&w->sim);
}

void world_run(struct world *w, uint64_t end_us)
{
	uint64_t last_us = 0, same = 0;

	while (!w->sim.failed) {
		uint64_t at = next_us(w);

		if (at > end_us)
			break;
		if (at > w->sim.now_us)
			w->sim.now_us = at;
		same = w->sim.now_us == last_us ? same + 1 : 0;
		last_us = w->sim.now_us;
		if (same > MAX_STEPS_SAME_TIME)
			sim_fail(&w->sim, "time stands still");
		step(w);
		w->sim.steps++;
		invariants_check(w);
	}
	if (!w->sim.failed)
		w->sim.now_us = end_us;
}
