/*
 * What connected clients that do nothing cost the core: memory, work, time. Says it for 10,000, and
 * checks with fewer that the work for one event does not grow with their number.
 *
 * Usage: sim_idle [clients]. Ends with 1 if a counted bound is broken; times are only told.
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "idle.h"

enum {
	CLIENTS = 10000,
	SEED = 1,
	FRESH_S = 90,   /* the pairs that never worked are gone */
	SETTLE_S = 200, /* the first session is over, and there is a second one */
	IDLE_S = 180,
	MAX_BYTES = 4096, /* of one client, without crypto state */
	SIZES = 3,
	GROWTH_PERCENT = 150,    /* 10,000 to 100: a heap's depth may show */
	PART_IN_MILLION = 10000, /* 1 % of a core */
};

struct figures {
	double own, library, secrets; /* bytes of one client */
};

struct measured {
	uint32_t clients;
	struct figures fresh, idle;
	struct idle_work work; /* of IDLE_S */
	uint64_t allocations, crypto_allocations;
	bool connected, left_nothing;
};

struct base {
	int64_t own, library;
	size_t secrets;
};

static struct base base_of(const struct idle *s)
{
	return (struct base){
	    .own = s->memory.bytes, .library = s->crypto.bytes, .secrets = idle_secrets(s)};
}

static struct figures per_client(const struct idle *s, const struct base *base)
{
	double n = s->clients;

	return (struct figures){
	    .own = (double)(s->memory.bytes - base->own) / n,
	    .library = (double)(s->crypto.bytes - base->library) / n,
	    .secrets = (double)(idle_secrets(s) - base->secrets) * SECRET_SLOT_SIZE / n,
	};
}

static bool measure(uint32_t clients, struct measured *out)
{
	struct idle *s = idle_new(clients, SEED);
	struct base base;
	uint64_t calls, crypto_calls;

	*out = (struct measured){.clients = clients};
	if (!s)
		return false;
	base = base_of(s);
	out->connected = idle_connect_all(s);
	idle_run(s, FRESH_S * US_PER_S);
	out->fresh = per_client(s, &base);
	idle_run(s, (SETTLE_S - FRESH_S) * US_PER_S);
	out->idle = per_client(s, &base);
	s->work = (struct idle_work){.sent = 0};
	calls = s->memory.calls;
	crypto_calls = s->crypto.calls;
	idle_run(s, IDLE_S * US_PER_S);
	out->work = s->work;
	out->allocations = s->memory.calls - calls;
	out->crypto_allocations = s->crypto.calls - crypto_calls;
	idle_free(s);
	return true;
}

/* All but the clock's, of which there is one a second whatever the number of clients. */
static double events(const struct measured *m)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < IDLE_CAUSES; i++)
		sum += i == IDLE_CLOCK ? 0 : m->work.events[i];
	return (double)sum;
}

static void print_memory(const char *when, const struct figures *f)
{
	printf("  %-28s %6.0f bytes, and of crypto state %6.0f in the library, %4.0f in secrets\n",
	       when, f->own, f->library, f->secrets);
}

static void print_growth(const struct measured *m)
{
	double n = events(m), per = m->clients * (double)IDLE_S;

	printf("%8u %12.4f %12.4f %12.4f %12.4f %14.1f %10.0f\n", m->clients, n / per,
	       (double)m->work.sent / per, (double)m->allocations / n,
	       (double)m->crypto_allocations / n, (double)m->work.blocks / n,
	       (double)m->work.worst_blocks);
}

static void print_whole(const struct measured *m)
{
	const char *const names[IDLE_CAUSES] = {"timers", "clock",      "messages", "packets",
						"checks", "handshakes", "data",     "relay"};
	const struct idle_work *w = &m->work;
	double us = 0;

	printf("%u connected clients, all idle; for each of them the core holds\n", m->clients);
	print_memory("a minute after its packet", &m->fresh);
	print_memory("two minutes later", &m->idle);
	for (size_t i = 0; i < IDLE_CAUSES; i++)
		us += (double)w->ns[i] / 1000 / IDLE_S;
	printf("for all of them, in a second: %.0f events, %.0f datagrams out, %.0f us of one core "
	       "(%.2f %%)\n",
	       events(m) / IDLE_S, (double)w->sent / IDLE_S, us, us / PART_IN_MILLION);
	for (size_t i = 0; i < IDLE_CAUSES; i++) {
		double n = (double)w->events[i];

		if (n > 0)
			printf("  %-12s %8.1f a second, %7.1f us each, %7.0f us a second, the "
			       "longest %.0f us\n",
			       names[i], n / IDLE_S, (double)w->ns[i] / 1000 / n,
			       (double)w->ns[i] / 1000 / IDLE_S, (double)w->worst_ns[i] / 1000);
	}
}

/* True if @most is beyond @least by more than what is granted. */
static bool grows(double least, double most)
{
	return most * 100 > least * GROWTH_PERCENT;
}

static int judge(const struct measured *m, size_t n)
{
	const struct measured *few = &m[0], *many = &m[n - 1];
	int rc = 0;

	for (size_t i = 0; i < n; i++) {
		if (!m[i].connected || m[i].fresh.own > MAX_BYTES || m[i].idle.own > MAX_BYTES) {
			printf("BROKEN: of %u clients %s\n", m[i].clients,
			       m[i].connected ? "one costs too much memory" : "some got no echo");
			rc = 1;
		}
	}
	if (grows(events(few) / few->clients, events(many) / many->clients) ||
	    grows((double)few->work.sent / few->clients, (double)many->work.sent / many->clients) ||
	    grows((double)few->work.blocks / events(few),
		  (double)many->work.blocks / events(many)) ||
	    grows((double)few->work.worst_blocks, (double)many->work.worst_blocks) ||
	    grows((double)few->allocations / events(few),
		  (double)many->allocations / events(many))) {
		printf("BROKEN: the work grows with the number of clients\n");
		rc = 1;
	}
	return rc;
}

int main(int argc, char **argv)
{
	uint32_t most = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : CLIENTS;
	const uint32_t sizes[SIZES] = {most / 100, most / 10, most};
	struct measured measured[SIZES];

	if (!idle_memory_install() || sodium_init() < 0 || most < 100 || most > CROWD_MAX) {
		fprintf(stderr, "Usage: sim_idle [clients, 100 to %d]\n", CROWD_MAX);
		return 2;
	}
	for (size_t i = 0; i < SIZES; i++) {
		if (!measure(sizes[i], &measured[i])) {
			fprintf(stderr, "sim_idle: no memory\n");
			return 2;
		}
	}
	print_whole(&measured[SIZES - 1]);
	printf("for each client and second:               for each event:\n%8s %12s %12s %12s %12s "
	       "%14s "
	       "%10s\n",
	       "clients", "events", "datagrams", "allocations", "crypto's", "blocks of code",
	       "the worst");
	for (size_t i = 0; i < SIZES; i++)
		print_growth(&measured[i]);
	return judge(measured, SIZES);
}
