/*
 * The worker's sockets without the rest of the worker: socket factory, name resolver and the loop's
 * files between them and the kernel, with descriptors from a real helper. Commands come on standard
 * input, one a line; each is answered by one line of JSON. Log lines go to standard error.
 *
 *   resolve ADDRESS [SCOPE]            what the factory says
 *   ask FIRST COUNT                    looks up qFIRST.example and the next ones, a few at a time
 *   send ADDRESS PORT COUNT SIZE       one batch of datagrams from a source of the factory's choice
 *   drain                              what the event loop has to do at the moment
 *   reset                              as at SIGHUP
 *   counters
 *
 * Usage: factory-probe HELPER_FD RESOLV_CONF HOSTS. This file stands in for loop.c, portal_io.c,
 * tun.c and the core behind them.
 */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "loop/internal.h"

enum {
	AT_ONCE = 8,
	TICK_US = 20000,
	LINE = 256
};

struct probe {
	struct loop loop; /* first: the loop's callbacks get it */
	unsigned wanted, started, answered, addresses;
	unsigned long first;
};

/* --- what the loop's files call --- */

uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * US_PER_S + (uint64_t)ts.tv_nsec / 1000;
}

uint64_t wall_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * US_PER_S + (uint64_t)ts.tv_nsec / 1000;
}

void loop_settle(struct loop *l)
{
	names_settle(l);
}

void portal_resolved(struct loop *l, const struct resolver_out *answer)
{
	struct probe *p = (struct probe *)l;

	p->answered++;
	p->addresses += (unsigned)answer->n;
}

void tun_flush(struct loop *l)
{
	(void)l;
}

void tun_pause(struct loop *l, bool pause)
{
	(void)l;
	(void)pause;
}

void gateway_udp_in(struct gateway *g, const struct gateway_datagrams *in, size_t n,
		    struct coalescer *tun, uint64_t now)
{
	(void)g;
	(void)in;
	(void)n;
	(void)tun;
	(void)now;
}

/* --- start --- */

static void on_line(void *ctx, const char *line, size_t len)
{
	(void)ctx;
	fwrite(line, 1, len, stderr);
}

static uint64_t on_wall_clock(void *ctx)
{
	(void)ctx;
	return wall_us();
}

static int greet(struct loop *l, char **argv)
{
	struct ipc_policy policy = {
	    .tun_name = IPC_TUN_NAME_DEFAULT,
	    .receive_buffer = IPC_RECEIVE_BUFFER_DEFAULT,
	    .send_buffer = IPC_SEND_BUFFER_DEFAULT,
	    .portal_port = 443,
	    .udp_port = IPC_UDP_PORT_DEFAULT,
	    .file_count = 2,
	};
	struct ipc_hello_reply reply;

	snprintf(policy.files[IPC_FILE_RESOLV_CONF], IPC_PATH_SIZE, "%s", argv[2]);
	snprintf(policy.files[IPC_FILE_HOSTS], IPC_PATH_SIZE, "%s", argv[3]);
	l->helper.fd = atoi(argv[1]);
	return helper_hello(&l->helper, &policy, &reply);
}

static int tun_up(struct loop *l)
{
	static const uint8_t v4[4] = {100, 64, 3, 9};
	static const uint8_t v6[16] = {0xfd, 0x00, 0x20, 0x21, 0x11, 0x11, [15] = 9};
	uint32_t offloads;
	uint8_t families;
	int rc = helper_tun_open(&l->helper, &l->tun_fd, &l->tun_ifindex, &offloads);

	if (rc < 0)
		return rc;
	rc = helper_tun_configure(&l->helper, v4, v6, IPC_MTU_MIN, &families);
	l->tun_v4 = ip_v4(v4);
	l->tun_v6 = ip_v6(v6);
	return rc;
}

static int start(struct probe *p, char **argv)
{
	struct loop *l = &p->loop;
	struct log_config log = {.filter = "debug", .write = on_line, .wall_us = on_wall_clock};
	struct resolver_config resolver = {.rng = rng_system()};
	struct factory_config factory = {.lookup = routes_lookup,
					 .ctx = l,
					 .tun_name = IPC_TUN_NAME_DEFAULT,
					 .rng = rng_system()};
	int rc = greet(l, argv);

	if (rc == 0)
		rc = tun_up(l);
	if (rc < 0)
		return rc;
	l->log = log_new(&log, NULL, 0);
	l->base = event_base_new();
	resolver.log = l->log;
	l->resolver = resolver_new(&resolver);
	factory.log = l->log;
	factory.tun_ifindex = l->tun_ifindex;
	l->factory = factory_new(&factory);
	if (!l->log || !l->base || !l->resolver || !l->factory)
		return -ENOMEM;
	factory_set_tunnel_addresses(l->factory, &l->tun_v4, &l->tun_v6);
	rc = routes_open(l);
	if (rc == 0)
		rc = udp_open_all(l);
	if (rc == 0)
		names_read_files(l);
	return rc;
}

static void stop(struct probe *p)
{
	struct loop *l = &p->loop;

	names_close(l);
	routes_close(l);
	udp_close_all(l);
	resolver_free(l->resolver);
	factory_free(l->factory);
	event_base_free(l->base);
	log_free(l->log);
	close(l->tun_fd);
	free(p);
}

/* --- commands --- */

static bool address(struct ip_addr *out, const char *text)
{
	return text && ip_parse(out, text, strlen(text));
}

static void command_resolve(struct probe *p, char **words)
{
	char src[IP_TEXT_MAX], gateway[IP_TEXT_MAX];
	struct factory_route route = {.table = 0};
	enum factory_refusal why;
	struct ip_addr dst;

	if (!address(&dst, words[1]))
		return;
	why = factory_resolve(p->loop.factory, &dst, words[2] ? (uint32_t)atoi(words[2]) : 0,
			      now_us(), &route);
	ip_format(&route.source, src);
	ip_format(&route.gateway, gateway);
	printf("{\"refusal\":%d,\"source\":\"%s\",\"gateway\":\"%s\",\"ifindex\":%u,\"table\":%u,"
	       "\"generation\":%llu}\n",
	       why, src, gateway, route.ifindex, route.table, (unsigned long long)route.generation);
}

/* Starts lookups as far as the helper's rate of sockets allows: a lookup takes one of each
 * question. */
static void ask_more(struct probe *p)
{
	struct loop *l = &p->loop;
	char name[64];

	while (p->started < p->wanted && p->started - p->answered < AT_ONCE) {
		names_refill(l);
		if (l->dns_pooled[0] < 2)
			return;
		snprintf(name, sizeof(name), "q%lu.example", p->first + p->started);
		if (!resolver_lookup(l->resolver, name, p->started + 1, now_us()))
			return;
		p->started++;
		names_settle(l);
	}
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct probe *p = arg;
	struct loop *l = &p->loop;

	(void)fd;
	(void)what;
	if (resolver_deadline(l->resolver) <= now_us())
		resolver_timeout(l->resolver, now_us());
	names_settle(l);
}

static void command_ask(struct probe *p, char **words)
{
	struct timeval tick = {.tv_usec = TICK_US};
	struct event *timer = event_new(p->loop.base, -1, EV_PERSIST, on_tick, p);

	if (!words[1] || !words[2] || !timer || event_add(timer, &tick) < 0)
		return;
	p->first = strtoul(words[1], NULL, 10);
	p->wanted = (unsigned)atoi(words[2]);
	p->started = p->answered = p->addresses = 0;
	while (p->answered < p->wanted) {
		ask_more(p);
		event_base_loop(p->loop.base, EVLOOP_ONCE);
	}
	event_free(timer);
	printf("{\"answered\":%u,\"addresses\":%u}\n", p->answered, p->addresses);
}

static void command_send(struct probe *p, char **words)
{
	struct txq_batch batch = {.key.src.ip.family = IP_NONE};
	uint64_t sent = p->loop.tx_datagrams, dropped = p->loop.tx_dropped;
	size_t family;

	if (!address(&batch.key.dst.ip, words[1]) || !words[2] || !words[3] || !words[4])
		return;
	batch.key.dst.port = (uint16_t)atoi(words[2]);
	batch.count = (unsigned)atoi(words[3]);
	batch.segment = (size_t)atoi(words[4]);
	batch.len = batch.count * batch.segment;
	batch.data = calloc(1, batch.len);
	if (!batch.data)
		return;
	for (unsigned i = 0; i < batch.count; i++)
		memcpy(batch.data + i * batch.segment, &i, min_size(sizeof(i), batch.segment));
	udp_flush(&p->loop, &batch);
	free(batch.data);
	family = batch.key.dst.ip.family == IP_V4 ? 0 : 1;
	printf("{\"sent\":%llu,\"dropped\":%llu,\"no_gso\":%s}\n",
	       (unsigned long long)(p->loop.tx_datagrams - sent),
	       (unsigned long long)(p->loop.tx_dropped - dropped),
	       p->loop.udp[family].no_gso ? "true" : "false");
}

static void command_drain(struct probe *p)
{
	for (int i = 0; i < 3; i++)
		event_base_loop(p->loop.base, EVLOOP_NONBLOCK);
	printf("{\"generation\":%llu}\n", (unsigned long long)factory_generation(p->loop.factory));
}

static void command_counters(const struct probe *p)
{
	struct factory_counters c;

	factory_counters(p->loop.factory, &c);
	printf("{\"hits\":%llu,\"misses\":%llu,\"negative_hits\":%llu,\"refused\":%llu,\"flushes\":"
	       "%llu,"
	       "\"invalidations\":%llu,\"rechecks\":%llu,\"generation\":%llu,\"entries\":%u,"
	       "\"negatives\":%u}\n",
	       (unsigned long long)c.hits, (unsigned long long)c.misses,
	       (unsigned long long)c.negative_hits, (unsigned long long)c.refused,
	       (unsigned long long)c.flushes, (unsigned long long)c.invalidations,
	       (unsigned long long)c.rechecks, (unsigned long long)c.generation, c.entries,
	       c.negatives);
}

static void command_reset(struct probe *p)
{
	factory_reset(p->loop.factory, "SIGHUP");
	command_counters(p);
}

/* False: no such command. */
static bool command(struct probe *p, char **words)
{
	if (!words[0])
		return false;
	if (strcmp(words[0], "resolve") == 0)
		command_resolve(p, words);
	else if (strcmp(words[0], "ask") == 0)
		command_ask(p, words);
	else if (strcmp(words[0], "send") == 0)
		command_send(p, words);
	else if (strcmp(words[0], "drain") == 0)
		command_drain(p);
	else if (strcmp(words[0], "counters") == 0)
		command_counters(p);
	else if (strcmp(words[0], "reset") == 0)
		command_reset(p);
	else
		return false;
	return true;
}

int main(int argc, char **argv)
{
	struct probe *p = calloc(1, sizeof(*p));
	char line[LINE];
	int rc;

	if (argc != 4 || !p || sodium_init() < 0)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	rc = start(p, argv);
	if (rc < 0) {
		fprintf(stderr, "factory-probe: %s\n", strerror(-rc));
		return 1;
	}
	printf("{\"ready\":true,\"tun\":%u,\"port\":%u}\n", p->loop.tun_ifindex,
	       p->loop.udp[0].port);
	while (fgets(line, sizeof(line), stdin)) {
		char *words[8] = {NULL}, *rest = NULL;

		words[0] = strtok_r(line, " \n", &rest);
		for (size_t i = 1; i < ARRAY_LEN(words) - 1 && words[i - 1]; i++)
			words[i] = strtok_r(NULL, " \n", &rest);
		if (!command(p, words))
			printf("{\"error\":\"no such command\"}\n");
	}
	stop(p);
	return 0;
}
