#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

enum {
	UNICAST = 1,
	TABLE_MAIN = 254
};

struct ip_addr ip(const char *text)
{
	struct ip_addr out = {.family = IP_NONE};

	if (!ip_parse(&out, text, strlen(text)))
		fail_msg("%s is no address", text);
	return out;
}

struct factory_lookup way(const char *source, uint32_t ifindex, const char *ifname)
{
	struct factory_lookup found = {.type = UNICAST, .ifindex = ifindex, .table = TABLE_MAIN};

	found.prefsrc = ip(source);
	found.gateway = ip(found.prefsrc.family == IP_V4 ? "192.0.2.1" : "2001:db8::1");
	found.took_us = 3;
	strncpy(found.ifname, ifname, sizeof(found.ifname) - 1);
	return found;
}

struct factory_lookup no_way(int error)
{
	return (struct factory_lookup){.error = error};
}

static void on_line(void *ctx, const char *line, size_t len)
{
	struct world *w = ctx;

	assert_true(len < sizeof(w->last_line));
	memcpy(w->last_line, line, len);
	w->last_line[len] = '\0';
	w->lines++;
	if (strstr(w->last_line, "Resolved best route outside of tunnel interface"))
		w->resolved_lines++;
	if (strstr(w->last_line, "No usable route outside of tunnel"))
		w->refused_lines++;
	if (strstr(w->last_line, "Source cache flushed"))
		w->flush_lines++;
	if (!strstr(w->last_line, "DEBUG"))
		w->loud_lines++;
}

static void on_lookup(void *ctx, const struct ip_addr *dst, uint32_t scope,
		      struct factory_lookup *out)
{
	struct world *w = ctx;

	w->lookups++;
	*out = dst->family == IP_V4 ? w->v4 : w->v6;
	for (size_t i = 0; i < w->n_answers; i++)
		if (ip_eq(&w->answers[i].dst, dst) && w->answers[i].scope == scope)
			*out = w->answers[i].found;
	if (w->network)
		network_prefer_public(w->network, out->ifindex, &out->prefsrc);
	if (w->misses_amid_lookup > 0) {
		struct factory_route route;

		w->misses_amid_lookup--;
		assert_int_equal(factory_resolve(w->f, dst, scope, w->now_us, &route), FACTORY_OK);
		w->amid = route;
	}
	if (w->resets_on_lookup > 0) {
		w->resets_on_lookup--;
		factory_reset(w->f, FACTORY_CAUSE_SIGHUP);
		if (w->resets_before_the_question)
			out->generation = factory_generation(w->f);
	}
}

void world_new(struct world *w)
{
	struct log_config log = {
	    .format = LOG_HUMAN, .filter = "trace", .write = on_line, .ctx = w};
	struct factory_config cfg = {
	    .lookup = on_lookup, .ctx = w, .tun_ifindex = WORLD_TUN, .tun_name = "tun-firezone"};

	assert_true(sodium_init() >= 0);
	memset(w, 0, sizeof(*w));
	w->now_us = 1000 * US_PER_S;
	w->v4 = way("192.0.2.10", 2, "eth0");
	w->v6 = way("2001:db8::10", 2, "eth0");
	w->log = log_new(&log, NULL, 0);
	assert_non_null(w->log);
	cfg.rng = rng_from_seed(&w->seed, 7);
	cfg.log = w->log;
	w->f = factory_new(&cfg);
	assert_non_null(w->f);
}

void world_free(struct world *w)
{
	factory_free(w->f);
	log_free(w->log);
}

void world_says(struct world *w, const char *dst, uint32_t scope, struct factory_lookup found)
{
	struct world_answer answer = {.dst = ip(dst), .scope = scope, .found = found};

	for (size_t i = 0; i < w->n_answers; i++) {
		if (ip_eq(&w->answers[i].dst, &answer.dst) && w->answers[i].scope == scope) {
			w->answers[i] = answer;
			return;
		}
	}
	assert_true(w->n_answers < WORLD_ANSWERS);
	w->answers[w->n_answers++] = answer;
}

enum factory_refusal world_resolve(struct world *w, const char *dst, uint32_t scope,
				   struct factory_route *out)
{
	struct ip_addr to = ip(dst);

	return factory_resolve(w->f, &to, scope, w->now_us, out);
}

void world_expect(struct world *w, const char *dst, const char *source)
{
	struct factory_route route;
	char text[IP_TEXT_MAX];

	assert_int_equal(world_resolve(w, dst, 0, &route), FACTORY_OK);
	ip_format(&route.source, text);
	assert_string_equal(text, source);
	assert_int_equal(route.generation, factory_generation(w->f));
}

struct factory_counters world_counters(const struct world *w)
{
	struct factory_counters c;

	factory_counters(w->f, &c);
	return c;
}
