/*
 * The client of tests/bench/dns_syscalls: the same DNS queries in three ways, and the parts that
 * they are made of. Commands come on standard input, one a line; each is answered by one line of
 * JSON. The loop's own files are at work (tests/interop/stand.h) but for `plain` and the sockets of
 * `cache`.
 *
 *   queries plain|cache|pool COUNT WINDOW SERVER ...   that many under way, servers in turn
 *   resolve ADDRESS COUNT                              how long one look for a source takes
 *   stream ADDRESS MS GAP_US                           datagrams that come back
 *   move ADDRESS GATEWAY SOURCE                        the default route is replaced meanwhile
 *
 * Usage: dns-client HELPER_FD[,HELPER_FD ...] RESOLV_CONF HOSTS
 */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "dns_plain.h"
#include "stand.h"

enum {
	LINE = 512,
	WORDS = 16,
	MAX_SERVERS = 8,
	DNS_PORT = 53,
	ECHO_PORT = 4500,
	DATAGRAM = 100,
	WARM_RUN = 64, /* one hit takes less than the clock can tell */
	MOVE_GAP_US = 200,
	MOVE_WAIT_S = 3,
};

struct client {
	struct stand stand; /* first: its callbacks get it */
	int lookup;         /* of our own, for `plain` */
	struct endpoint servers[MAX_SERVERS];
	size_t n_servers;
	/* pool */
	unsigned int wanted, started, answered, failed, window;
	uint32_t finished[DNS_QUERIES];
	size_t n_finished;
	/* stream, move */
	uint64_t echoed, sent;
	struct ip_addr expected;
	uint64_t expected_us;
};

static uint64_t now_ns(clockid_t which)
{
	struct timespec ts;

	clock_gettime(which, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static bool address(struct ip_addr *out, const char *text)
{
	return text && ip_parse(out, text, strlen(text));
}

static void failed(const char *what, int rc)
{
	printf("{\"error\":\"%s: %s\"}\n", what, strerror(-rc));
}

/* --- where a query leaves from --- */

static int resolve_kernel(void *ctx, const struct ip_addr *dst, struct ip_addr *source)
{
	struct client *c = ctx;

	return plain_lookup(c->lookup, dst, source);
}

static int resolve_factory(void *ctx, const struct ip_addr *dst, struct ip_addr *source)
{
	struct client *c = ctx;
	struct factory_route route;

	if (factory_resolve(c->stand.loop.factory, dst, 0, now_us(), &route) != FACTORY_OK)
		return -ENETUNREACH;
	*source = route.source;
	return 0;
}

/* --- pool --- */

static void pool_start(struct client *c)
{
	uint8_t query[PLAIN_QUERY];
	struct dns_exchange x = {.data = query};

	while (c->failed == 0 && c->started < c->wanted && c->started - c->answered < c->window) {
		x.id = c->started + 1;
		x.server = c->servers[c->started % c->n_servers];
		x.len = plain_query(query, c->started++);
		if (!dns_io_start(c->stand.loop.dns, DNS_ASKER_RANKING, &x))
			c->failed++;
	}
}

static void on_reply(void *ctx, const struct dns_reply *reply)
{
	struct client *c = ctx;

	c->answered++;
	if (reply->failed)
		c->failed++;
	else if (c->n_finished < ARRAY_LEN(c->finished))
		c->finished[c->n_finished++] = reply->id;
}

static void on_settle(void *ctx)
{
	struct client *c = ctx;

	while (c->n_finished > 0)
		dns_io_stop(c->stand.loop.dns, DNS_ASKER_RANKING, c->finished[--c->n_finished]);
	pool_start(c);
}

static int pool_run(struct client *c, unsigned int count)
{
	uint64_t end = now_us() + 10 * US_PER_S;

	c->wanted = count;
	c->started = c->answered = c->failed = 0;
	loop_settle(&c->stand.loop);
	while (c->answered < count && c->failed == 0 && now_us() < end)
		event_base_loop(c->stand.loop.base, EVLOOP_ONCE);
	c->wanted = 0;
	return c->answered == count && c->failed == 0 ? 0 : -EIO;
}

/* --- commands --- */

/* The cache is cold at the start. A call that does nothing marks both ends in a trace. */
static int queries(struct client *c, const char *variant, unsigned int count)
{
	struct plain p = {.ctx = c,
			  .servers = c->servers,
			  .n_servers = c->n_servers,
			  .window = c->window,
			  .resolve =
			      strcmp(variant, "plain") == 0 ? resolve_kernel : resolve_factory};
	int rc;

	(void)getppid();
	factory_reset(c->stand.loop.factory, FACTORY_CAUSE_OPERATOR);
	rc = strcmp(variant, "pool") == 0 ? pool_run(c, count) : plain_run(&p, count);
	(void)getppid();
	return rc;
}

static void command_queries(struct client *c, char **words)
{
	uint64_t wall, cpu;
	int rc;

	for (c->n_servers = 0; words[4 + c->n_servers] && c->n_servers < MAX_SERVERS;
	     c->n_servers++) {
		c->servers[c->n_servers].port = DNS_PORT;
		if (!address(&c->servers[c->n_servers].ip, words[4 + c->n_servers]))
			break;
	}
	c->window = (unsigned int)atoi(words[3]);
	if (c->n_servers == 0 || c->window == 0 || c->window > PLAIN_WINDOW) {
		failed("queries", -EINVAL);
		return;
	}
	cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID);
	wall = now_ns(CLOCK_MONOTONIC);
	rc = queries(c, words[1], (unsigned int)atoi(words[2]));
	wall = now_ns(CLOCK_MONOTONIC) - wall;
	cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	if (rc < 0)
		failed(words[1], rc);
	else
		printf("{\"seconds\":%.6f,\"cpu\":%.6f}\n", (double)wall / 1e9, (double)cpu / 1e9);
}

static int compare(const void *a, const void *b)
{
	uint64_t x, y;

	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return x < y ? -1 : x > y;
}

/* Nanoseconds, p50 and p99. */
static void percentiles(const char *name, uint64_t *took, size_t n, const char *after)
{
	qsort(took, n, sizeof(*took), compare);
	printf("\"%s\":[%llu,%llu]%s", name, (unsigned long long)took[n / 2],
	       (unsigned long long)took[n * 99 / 100], after);
}

static void time_resolves(struct client *c, const struct ip_addr *dst, uint64_t *took, size_t n)
{
	struct ip_addr source;
	uint64_t start;
	int rc = 0;

	for (size_t i = 0; i < n; i++) {
		start = now_ns(CLOCK_MONOTONIC);
		rc |= resolve_kernel(c, dst, &source);
		took[i] = now_ns(CLOCK_MONOTONIC) - start;
	}
	printf("{");
	percentiles("kernel", took, n, ",");
	for (size_t i = 0; i < n; i++) {
		factory_reset(c->stand.loop.factory, FACTORY_CAUSE_OPERATOR);
		start = now_ns(CLOCK_MONOTONIC);
		rc |= resolve_factory(c, dst, &source);
		took[i] = now_ns(CLOCK_MONOTONIC) - start;
	}
	percentiles("cold", took, n, ",");
	for (size_t i = 0; i < n; i++) {
		start = now_ns(CLOCK_MONOTONIC);
		for (int j = 0; j < WARM_RUN; j++)
			rc |= resolve_factory(c, dst, &source);
		took[i] = (now_ns(CLOCK_MONOTONIC) - start) / WARM_RUN;
	}
	percentiles("warm", took, n, ",");
	printf("\"failed\":%d}\n", rc != 0);
}

static void command_resolve(struct client *c, char **words)
{
	size_t n = (size_t)atoi(words[2]);
	uint64_t *took = calloc(n, sizeof(*took));
	struct ip_addr dst;

	if (!took || !address(&dst, words[1]))
		failed("resolve", -EINVAL);
	else
		time_resolves(c, &dst, took, n);
	free(took);
}

/* --- datagrams --- */

static void on_datagrams(void *ctx, const struct gateway_datagrams *in, size_t n)
{
	struct client *c = ctx;

	for (size_t i = 0; i < n; i++) {
		c->echoed += (in[i].len + in[i].segment - 1) / in[i].segment;
		if (c->expected_us == 0 && ip_eq(&in[i].dst.ip, &c->expected))
			c->expected_us = now_us();
	}
}

static void send_one(struct client *c, const struct ip_addr *to)
{
	uint8_t data[DATAGRAM] = {0};
	struct txq_batch batch = {
	    .key = {.src.ip.family = IP_NONE, .dst = {.ip = *to, .port = ECHO_PORT}},
	    .data = data,
	    .len = sizeof(data),
	    .segment = sizeof(data),
	    .count = 1};

	c->sent++;
	udp_flush(&c->stand.loop, &batch);
}

/* Sends at the pace of @gap_us until @end; busy in between, as the sleep's unit is a millisecond.
 */
static void send_until(struct client *c, const struct ip_addr *to, uint64_t gap_us, uint64_t end)
{
	uint64_t next = now_us(), roams = c->stand.roams;

	while (now_us() < end) {
		if (now_us() >= next) {
			send_one(c, to);
			next += gap_us;
		}
		event_base_loop(c->stand.loop.base, EVLOOP_NONBLOCK);
		if (c->expected.family != IP_NONE && c->expected_us != 0 && c->stand.roams != roams)
			return;
	}
}

static void command_stream(struct client *c, char **words)
{
	uint64_t roams = c->stand.roams, ms = (uint64_t)atoi(words[2]);
	struct ip_addr to;

	c->sent = c->echoed = 0;
	c->expected.family = IP_NONE;
	if (!address(&to, words[1])) {
		failed("stream", -EINVAL);
		return;
	}
	send_until(c, &to, (uint64_t)atoi(words[3]), now_us() + ms * US_PER_MS);
	stand_run(&c->stand, 100 * US_PER_MS);
	printf("{\"sent\":%llu,\"echoed\":%llu,\"roams\":%llu}\n", (unsigned long long)c->sent,
	       (unsigned long long)c->echoed, (unsigned long long)(c->stand.roams - roams));
}

static void command_move(struct client *c, char **words)
{
	struct ip_addr to, gateway;
	uint64_t start;
	int rc;

	if (!address(&to, words[1]) || !address(&gateway, words[2]) ||
	    !address(&c->expected, words[3])) {
		failed("move", -EINVAL);
		return;
	}
	if (c->stand.loop.portal.peer.dst.ip.family == IP_NONE && !stand_watch(&c->stand, &to)) {
		failed("move", -ENOMEM);
		return;
	}
	c->expected_us = NEVER_US;
	send_until(c, &to, MOVE_GAP_US, now_us() + 100 * US_PER_MS);
	c->expected_us = 0;
	start = now_us();
	rc = plain_replace_default(c->lookup, &gateway, &c->expected);
	if (rc < 0) {
		failed("move", rc);
		return;
	}
	send_until(c, &to, MOVE_GAP_US, start + MOVE_WAIT_S * US_PER_S);
	printf("{\"first_us\":%lld,\"roam_us\":%lld}\n",
	       c->expected_us == 0 ? -1 : (long long)(c->expected_us - start),
	       c->stand.roamed_us < start ? -1 : (long long)(c->stand.roamed_us - start));
}

static void command(struct client *c, char **words)
{
	if (strcmp(words[0], "queries") == 0 && words[4])
		command_queries(c, words);
	else if (strcmp(words[0], "resolve") == 0 && words[2])
		command_resolve(c, words);
	else if (strcmp(words[0], "stream") == 0 && words[3])
		command_stream(c, words);
	else if (strcmp(words[0], "move") == 0 && words[3])
		command_move(c, words);
	else
		failed("no such command", -EINVAL);
}

int main(int argc, char **argv)
{
	struct client *c = calloc(1, sizeof(*c));
	struct stand_config cfg = {.log_filter = "warn",
				   .reply = on_reply,
				   .settle = on_settle,
				   .datagrams = on_datagrams};
	char line[LINE];
	int rc;

	if (argc != 4 || !c || sodium_init() < 0)
		return 2;
	cfg.helper_fds = argv[1];
	cfg.resolv_conf = argv[2];
	cfg.hosts = argv[3];
	setvbuf(stdout, NULL, _IOLBF, 0);
	rc = stand_start(&c->stand, &cfg);
	if (rc == 0)
		rc = plain_lookup_open(&c->lookup);
	if (rc < 0) {
		fprintf(stderr, "dns-client: %s\n", strerror(-rc));
		return 1;
	}
	printf("{\"ready\":true}\n");
	while (fgets(line, sizeof(line), stdin)) {
		char *words[WORDS] = {NULL}, *rest = NULL;

		words[0] = strtok_r(line, " \n", &rest);
		for (size_t i = 1; i < WORDS - 1 && words[i - 1]; i++)
			words[i] = strtok_r(NULL, " \n", &rest);
		if (words[0])
			command(c, words);
	}
	close(c->lookup);
	stand_stop(&c->stand);
	free(c);
	return 0;
}
