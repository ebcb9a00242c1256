/*
 * The worker's sockets without the rest of the worker (stand.h), under a test's control. Commands
 * come on standard input, one a line; each is answered by one line of JSON. The event loop runs
 * only within `ask`, `lookup`, `drain`, `run` and `stream`. Log lines go to standard error.
 *
 *   resolve ADDRESS [SCOPE]            what the factory says
 *   ask FIRST COUNT [SOCKETS]          looks up qFIRST.example and the next ones, a few at a time,
 *                                      as fast as the helpers' rate admits SOCKETS of each name
 *   lookup NAME                        one name, as the portal's is before a connection
 *   send ADDRESS PORT COUNT SIZE       one batch of datagrams from a source of the factory's choice
 *   stream ADDRESS PORT MS GAP_US      one datagram after the other for that long
 *   watch ADDRESS [COUNT]              live destinations: this one and the next ones
 *   drain                              what the event loop has to do at the moment
 *   run MS                             the event loop for that long
 *   reset, sighup                      the cache alone; all that the signal does
 *   counters, state                    the factory's; what else came of it
 *
 * Usage: factory-probe HELPER_FD[,HELPER_FD ...] RESOLV_CONF HOSTS
 */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stand.h"

enum {
	AT_ONCE = 8,
	LINE = 256,
	/* The helper's rate of DNS sockets, with something to spare. */
	SOCKET_COST_US = 2200,
	SOCKET_BURST_US = 900 * 1000,
	STREAM_SIZE = 100,
};

struct probe {
	struct stand stand; /* first: its callbacks get it */
	unsigned wanted, started, answered, addresses, sockets;
	unsigned long first;
	uint64_t sockets_paid_us;
	struct resolver_out last;
	/* stream */
	struct ip_addr to;
	uint16_t to_port;
	uint64_t next_us, gap_us;
	unsigned streamed;
};

static uint64_t token_of(const struct probe *p, unsigned started)
{
	return p->first + started + 1;
}

static void on_answer(void *ctx, const struct resolver_out *answer)
{
	struct probe *p = ctx;

	p->answered++;
	p->addresses += (unsigned)answer->n;
	p->last = *answer;
}

static bool address(struct ip_addr *out, const char *text)
{
	return text && ip_parse(out, text, strlen(text));
}

static unsigned number(const char *text, unsigned otherwise)
{
	return text ? (unsigned)strtoul(text, NULL, 10) : otherwise;
}

/* --- the cache --- */

static void command_resolve(struct probe *p, char **words)
{
	char src[IP_TEXT_MAX], gateway[IP_TEXT_MAX];
	struct factory_route route = {.table = 0};
	enum factory_refusal why;
	struct ip_addr dst;

	if (!address(&dst, words[1]))
		return;
	why = factory_resolve(p->stand.loop.factory, &dst, number(words[2], 0), now_us(), &route);
	ip_format(&route.source, src);
	ip_format(&route.gateway, gateway);
	printf("{\"refusal\":%d,\"source\":\"%s\",\"gateway\":\"%s\",\"ifindex\":%u,\"table\":%u,"
	       "\"generation\":%llu}\n",
	       why, src, gateway, route.ifindex, route.table, (unsigned long long)route.generation);
}

static void member(const char *name, uint64_t value)
{
	printf("\"%s\":%llu,", name, (unsigned long long)value);
}

static void command_counters(const struct probe *p)
{
	struct factory_counters c;

	factory_counters(p->stand.loop.factory, &c);
	printf("{");
	member("hits", c.hits);
	member("misses", c.misses);
	member("negative_hits", c.negative_hits);
	member("refused", factory_sum(c.refused, FACTORY_REFUSALS));
	member("flushes", factory_sum(c.flushes, FACTORY_CAUSES));
	member("invalidations", factory_sum(c.invalidations, FACTORY_CAUSES));
	member("stale_discards", c.stale_discards);
	member("event_overruns", c.event_overruns);
	member("rechecks", c.rechecks);
	member("roams", c.roams);
	member("entries", c.entries);
	member("negatives", c.negatives);
	for (int i = 0; i < FACTORY_CAUSES; i++) {
		printf("\"flushes of %s\":%llu,", factory_cause_name((enum factory_cause)i),
		       (unsigned long long)c.flushes[i]);
	}
	printf("\"generation\":%llu}\n", (unsigned long long)c.generation);
}

static void command_state(const struct probe *p)
{
	const struct stand *s = &p->stand;

	printf("{");
	member("roams", s->roams);
	member("roamed_us", s->roamed_us);
	member("reconnects", s->reconnects);
	member("dead_locals", s->dead_locals);
	member("lost", s->loop.network_lost);
	member("sockets", s->sockets);
	member("told_was", s->socket_was[0]);
	member("told_port", s->socket_port[0]);
	printf("\"port\":%u}\n", s->loop.udp[0].port);
}

static void command_reset(struct probe *p)
{
	factory_reset(p->stand.loop.factory, FACTORY_CAUSE_OPERATOR);
	command_counters(p);
}

static void command_sighup(struct probe *p)
{
	names_read_files(&p->stand.loop);
	roam_forced(&p->stand.loop);
	loop_settle(&p->stand.loop);
	command_state(p);
}

static void command_drain(struct probe *p)
{
	stand_run(&p->stand, 0);
	printf("{\"generation\":%llu}\n",
	       (unsigned long long)factory_generation(p->stand.loop.factory));
}

static void command_run(struct probe *p, char **words)
{
	stand_run(&p->stand, number(words[1], 0) * US_PER_MS);
	command_state(p);
}

static void next_address(struct ip_addr *ip)
{
	for (size_t i = ip->family == IP_V4 ? 4 : 16; i > 0 && ++ip->bytes[i - 1] == 0; i--)
		;
}

static void command_watch(struct probe *p, char **words)
{
	struct ip_addr ip;
	unsigned count = number(words[2], 1), i = 0;

	if (!address(&ip, words[1]))
		return;
	for (; i < count && stand_watch(&p->stand, &ip); i++)
		next_address(&ip);
	printf("{\"watched\":%u}\n", i);
}

/* --- names --- */

/* False when the helpers would refuse the sockets of one more name. */
static bool sockets_due(struct probe *p)
{
	uint64_t now = now_us(), paid = p->sockets_paid_us > now ? p->sockets_paid_us : now;

	if (paid - now > SOCKET_BURST_US)
		return false;
	p->sockets_paid_us = paid + p->sockets * SOCKET_COST_US / p->stand.n_helpers;
	return true;
}

static void ask_more(struct probe *p)
{
	struct loop *l = &p->stand.loop;
	char name[64];

	while (p->started < p->wanted && p->started - p->answered < AT_ONCE && sockets_due(p)) {
		snprintf(name, sizeof(name), "q%lu.example", p->first + p->started);
		if (!resolver_lookup(l->resolver, name, token_of(p, p->started), now_us()))
			return;
		p->started++;
		loop_settle(l);
	}
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
}

/* Until all are answered; wakes up now and then to ask on. */
static void answers(struct probe *p, bool more)
{
	struct timeval tick = {.tv_usec = 5000};
	struct event *timer = event_new(p->stand.loop.base, -1, EV_PERSIST, on_tick, p);

	if (!timer || event_add(timer, &tick) < 0)
		exit(1);
	while (p->answered < p->wanted) {
		if (more)
			ask_more(p);
		event_base_loop(p->stand.loop.base, EVLOOP_ONCE);
	}
	event_free(timer);
}

static void command_ask(struct probe *p, char **words)
{
	if (!words[1] || !words[2])
		return;
	p->first = number(words[1], 0);
	p->wanted = number(words[2], 0);
	p->sockets = number(words[3], 2);
	p->started = p->answered = p->addresses = 0;
	answers(p, true);
	printf("{\"answered\":%u,\"addresses\":%u}\n", p->answered, p->addresses);
}

static void command_lookup(struct probe *p, char **words)
{
	struct loop *l = &p->stand.loop;
	char text[IP_TEXT_MAX];

	names_refresh(l);
	p->wanted = 1;
	p->answered = p->addresses = 0;
	if (!words[1] || !resolver_lookup(l->resolver, words[1], 1, now_us()))
		return;
	loop_settle(l);
	answers(p, false);
	printf("{\"addresses\":[");
	for (size_t i = 0; i < p->last.n; i++) {
		ip_format(&p->last.addresses[i], text);
		printf("%s\"%s\"", i > 0 ? "," : "", text);
	}
	printf("]}\n");
}

/* --- datagrams --- */

static void command_send(struct probe *p, char **words)
{
	struct loop *l = &p->stand.loop;
	struct txq_batch batch = {.key.src.ip.family = IP_NONE};
	uint64_t sent = l->tx_datagrams, dropped = l->tx_dropped;
	size_t family;

	if (!address(&batch.key.dst.ip, words[1]) || !words[2] || !words[3] || !words[4])
		return;
	batch.key.dst.port = (uint16_t)number(words[2], 0);
	batch.count = number(words[3], 0);
	batch.segment = number(words[4], 0);
	batch.len = batch.count * batch.segment;
	batch.data = calloc(1, batch.len);
	if (!batch.data)
		return;
	for (unsigned i = 0; i < batch.count; i++)
		memcpy(batch.data + i * batch.segment, &i, min_size(sizeof(i), batch.segment));
	udp_flush(&p->stand.loop, &batch);
	free(batch.data);
	family = batch.key.dst.ip.family == IP_V4 ? 0 : 1;
	printf("{\"sent\":%llu,\"dropped\":%llu,\"no_gso\":%s}\n",
	       (unsigned long long)(l->tx_datagrams - sent),
	       (unsigned long long)(l->tx_dropped - dropped),
	       l->udp[family].no_gso ? "true" : "false");
}

static void on_stream(evutil_socket_t fd, short what, void *arg)
{
	struct probe *p = arg;
	uint8_t data[STREAM_SIZE] = {0};
	struct txq_batch batch = {
	    .key = {.src.ip.family = IP_NONE, .dst = {.ip = p->to, .port = p->to_port}},
	    .data = data,
	    .len = sizeof(data),
	    .segment = sizeof(data),
	    .count = 1};

	(void)fd;
	(void)what;
	for (uint64_t now = now_us(); p->next_us <= now; p->next_us += p->gap_us) {
		memcpy(data, &p->streamed, sizeof(p->streamed));
		p->streamed++;
		udp_flush(&p->stand.loop, &batch);
	}
}

static void command_stream(struct probe *p, char **words)
{
	struct loop *l = &p->stand.loop;
	uint64_t sent = l->tx_datagrams, dropped = l->tx_dropped;
	struct timeval tick = {.tv_usec = 1000};
	struct event *timer = event_new(l->base, -1, EV_PERSIST, on_stream, p);

	if (!address(&p->to, words[1]) || !words[2] || !words[3] || !timer)
		return;
	p->to_port = (uint16_t)number(words[2], 0);
	p->gap_us = number(words[4], 1000);
	p->next_us = now_us();
	p->streamed = 0;
	event_add(timer, &tick);
	stand_run(&p->stand, number(words[3], 0) * US_PER_MS);
	event_free(timer);
	printf("{\"sent\":%llu,\"dropped\":%llu}\n", (unsigned long long)(l->tx_datagrams - sent),
	       (unsigned long long)(l->tx_dropped - dropped));
}

/* --- main --- */

/* False: no such command. */
static bool command_network(struct probe *p, char **words)
{
	if (strcmp(words[0], "resolve") == 0)
		command_resolve(p, words);
	else if (strcmp(words[0], "watch") == 0)
		command_watch(p, words);
	else if (strcmp(words[0], "drain") == 0)
		command_drain(p);
	else if (strcmp(words[0], "run") == 0)
		command_run(p, words);
	else if (strcmp(words[0], "counters") == 0)
		command_counters(p);
	else if (strcmp(words[0], "state") == 0)
		command_state(p);
	else if (strcmp(words[0], "reset") == 0)
		command_reset(p);
	else if (strcmp(words[0], "sighup") == 0)
		command_sighup(p);
	else
		return false;
	return true;
}

static bool command(struct probe *p, char **words)
{
	if (!words[0])
		return false;
	if (strcmp(words[0], "ask") == 0)
		command_ask(p, words);
	else if (strcmp(words[0], "lookup") == 0)
		command_lookup(p, words);
	else if (strcmp(words[0], "send") == 0)
		command_send(p, words);
	else if (strcmp(words[0], "stream") == 0)
		command_stream(p, words);
	else
		return command_network(p, words);
	return true;
}

int main(int argc, char **argv)
{
	struct probe *p = calloc(1, sizeof(*p));
	struct stand_config cfg = {.log_filter = "debug", .answer = on_answer};
	char line[LINE];
	int rc;

	if (argc != 4 || !p || sodium_init() < 0)
		return 2;
	cfg.helper_fds = argv[1];
	cfg.resolv_conf = argv[2];
	cfg.hosts = argv[3];
	setvbuf(stdout, NULL, _IOLBF, 0);
	rc = stand_start(&p->stand, &cfg);
	if (rc < 0) {
		fprintf(stderr, "factory-probe: %s\n", strerror(-rc));
		return 1;
	}
	printf("{\"ready\":true,\"tun\":%u,\"port\":%u}\n", p->stand.loop.tun_ifindex,
	       p->stand.loop.udp[0].port);
	while (fgets(line, sizeof(line), stdin)) {
		char *words[8] = {NULL}, *rest = NULL;

		words[0] = strtok_r(line, " \n", &rest);
		for (size_t i = 1; i < ARRAY_LEN(words) - 1 && words[i - 1]; i++)
			words[i] = strtok_r(NULL, " \n", &rest);
		if (!command(p, words))
			printf("{\"error\":\"no such command\"}\n");
	}
	stand_stop(&p->stand);
	free(p);
	return 0;
}
