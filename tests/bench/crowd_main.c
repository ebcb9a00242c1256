/*
 * The crowd on real UDP sockets, one for each client, driven by lines on standard input and output
 * (tests/bench/many_clients is at the other end).
 *
 * Usage: crowd CLIENTS ADDRESS
 *
 * Says "key N BASE64" for each client, then "ready". Takes
 *   grant N CLIENT-UFRAG CLIENT-PASSWORD GATEWAY-UFRAG GATEWAY-PASSWORD GATEWAY-KEY PRESHARED-KEY
 *   candidate N TEXT...
 *   state        -> "state CONNECTING CONNECTED FAILED ECHOES SESSIONS IN OUT"
 * and says "announce N TEXT...". Ends with its input.
 */
#include <errno.h>
#include <netinet/in.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "crowd.h"
#include "wireguard/wg.h"

enum {
	LINE = 1024,
	EVENTS = 64,
	BUFFER = 2048,
	WAIT_MS = 1000,
	INPUT = CROWD_MAX, /* epoll's data of standard input */
};

struct program {
	struct crowd *crowd;
	struct ip_addr address;
	uint32_t clients;
	int epoll, *fds;
	uint16_t *ports;
	char line[LINE];
	size_t line_len;
};

static uint64_t now_us(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * US_PER_S + (uint64_t)ts.tv_nsec / 1000;
}

static void send_datagram(void *ctx, uint32_t client, const struct endpoint *dst,
			  const uint8_t *data, size_t len)
{
	const struct program *p = ctx;
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(dst->port)};

	if (dst->ip.family != IP_V4)
		return;
	memcpy(&to.sin_addr, dst->ip.bytes, 4);
	(void)sendto(p->fds[client], data, len, MSG_DONTWAIT, (const struct sockaddr *)&to,
		     sizeof(to));
}

static void announce(void *ctx, uint32_t client, const char *candidate)
{
	(void)ctx;
	printf("announce %u %s\n", client, candidate);
}

/* --- lines --- */

static bool key_of(uint8_t out[32], const char *text)
{
	size_t len;

	return sodium_base642bin(out, 32, text, strlen(text), NULL, &len, NULL,
				 sodium_base64_VARIANT_ORIGINAL) == 0 &&
	       len == 32;
}

static bool on_grant(struct program *p, const char *line)
{
	struct crowd_grant grant;
	struct endpoint local = {.ip = p->address};
	char gateway_key[64], preshared_key[64];
	uint32_t client;

	if (sscanf(line, "grant %u %256s %256s %256s %256s %63s %63s", &client,
		   grant.client_ice.username, grant.client_ice.password, grant.gateway_ice.username,
		   grant.gateway_ice.password, gateway_key, preshared_key) != 7 ||
	    client >= p->clients || !key_of(grant.gateway_key, gateway_key) ||
	    !key_of(grant.preshared_key, preshared_key))
		return false;
	local.port = p->ports[client];
	return crowd_connect(p->crowd, client, &grant, &local, now_us(CLOCK_MONOTONIC));
}

static bool on_candidate(struct program *p, const char *line)
{
	uint32_t client;
	int at = 0;

	if (sscanf(line, "candidate %u %n", &client, &at) != 1 || at == 0 || client >= p->clients)
		return false;
	crowd_candidate(p->crowd, client, line + at, now_us(CLOCK_MONOTONIC));
	return true;
}

static void on_state(const struct program *p)
{
	struct crowd_counters n;

	crowd_counters(p->crowd, &n);
	printf("state %u %u %u %u %llu %llu %llu\n", n.connecting, n.connected, n.failed, n.echoes,
	       (unsigned long long)n.sessions, (unsigned long long)n.datagrams_in,
	       (unsigned long long)n.datagrams_out);
}

static void on_line(struct program *p, const char *line)
{
	bool ok = true;

	if (strncmp(line, "grant ", 6) == 0)
		ok = on_grant(p, line);
	else if (strncmp(line, "candidate ", 10) == 0)
		ok = on_candidate(p, line);
	else if (strcmp(line, "state") == 0)
		on_state(p);
	else
		ok = false;
	if (!ok)
		printf("error %s\n", line);
}

/* False: the input has ended. */
static bool on_input(struct program *p)
{
	ssize_t n = read(STDIN_FILENO, p->line + p->line_len, sizeof(p->line) - p->line_len);
	char *end;

	if (n <= 0)
		return n < 0 && errno == EINTR;
	p->line_len += (size_t)n;
	while ((end = memchr(p->line, '\n', p->line_len))) {
		size_t len = (size_t)(end - p->line);

		*end = '\0';
		on_line(p, p->line);
		p->line_len -= len + 1;
		memmove(p->line, end + 1, p->line_len);
	}
	return p->line_len < sizeof(p->line);
}

/* --- datagrams --- */

static void on_datagrams(struct program *p, uint32_t client)
{
	uint8_t buf[WG_SCRATCH + BUFFER];
	struct sockaddr_in from;
	socklen_t from_len = sizeof(from);
	ssize_t n;

	while ((n = recvfrom(p->fds[client], buf + WG_SCRATCH, BUFFER, MSG_DONTWAIT,
			     (struct sockaddr *)&from, &from_len)) >= 0) {
		struct endpoint src = {.port = ntohs(from.sin_port)};

		src.ip = ip_v4((const uint8_t *)&from.sin_addr);
		crowd_receive(p->crowd, client, &src, buf + WG_SCRATCH, (size_t)n,
			      now_us(CLOCK_MONOTONIC));
		from_len = sizeof(from);
	}
}

static int wait_ms(const struct program *p)
{
	uint64_t at = crowd_deadline(p->crowd), now = now_us(CLOCK_MONOTONIC);

	if (at <= now)
		return 0;
	return at - now > WAIT_MS * US_PER_MS ? WAIT_MS : (int)((at - now) / US_PER_MS) + 1;
}

static void run(struct program *p)
{
	struct epoll_event events[EVENTS];
	bool open = true;

	while (open) {
		int n = epoll_wait(p->epoll, events, EVENTS, wait_ms(p));

		for (int i = 0; i < n; i++) {
			if (events[i].data.u32 == INPUT)
				open = on_input(p);
			else
				on_datagrams(p, events[i].data.u32);
		}
		if (crowd_deadline(p->crowd) <= now_us(CLOCK_MONOTONIC))
			crowd_timeout(p->crowd, now_us(CLOCK_MONOTONIC));
		fflush(stdout);
	}
}

/* --- the start --- */

static bool watch(struct program *p, int fd, uint32_t what)
{
	struct epoll_event event = {.events = EPOLLIN, .data = {.u32 = what}};

	return epoll_ctl(p->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

static bool open_socket(struct program *p, uint32_t client)
{
	struct sockaddr_in at = {.sin_family = AF_INET};
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	p->fds[client] = fd;
	memcpy(&at.sin_addr, p->address.bytes, 4);
	if (fd < 0 || bind(fd, (const struct sockaddr *)&at, sizeof(at)) < 0 ||
	    getsockname(fd, (struct sockaddr *)&at, &len) < 0)
		return false;
	p->ports[client] = ntohs(at.sin_port);
	return watch(p, fd, client);
}

static bool start(struct program *p)
{
	struct rlimit files = {.rlim_cur = p->clients + 64, .rlim_max = p->clients + 64};
	struct crowd_config cfg = {
	    .clients = p->clients,
	    .unix_us = now_us(CLOCK_REALTIME),
	    .rng = rng_system(),
	    .send = send_datagram,
	    .announce = announce,
	    .ctx = p,
	};
	char text[sodium_base64_ENCODED_LEN(32, sodium_base64_VARIANT_ORIGINAL)];

	(void)setrlimit(RLIMIT_NOFILE, &files); /* the sockets say it if it was not enough */
	p->epoll = epoll_create1(EPOLL_CLOEXEC);
	p->fds = calloc(p->clients, sizeof(*p->fds));
	p->ports = calloc(p->clients, sizeof(*p->ports));
	p->crowd = crowd_new(&cfg, now_us(CLOCK_MONOTONIC));
	if (p->epoll < 0 || !p->fds || !p->ports || !p->crowd || !watch(p, STDIN_FILENO, INPUT))
		return false;
	for (uint32_t i = 0; i < p->clients; i++) {
		if (!open_socket(p, i))
			return false;
		sodium_bin2base64(text, sizeof(text), crowd_key(p->crowd, i), 32,
				  sodium_base64_VARIANT_ORIGINAL);
		printf("key %u %s\n", i, text);
	}
	printf("ready\n");
	fflush(stdout);
	return true;
}

int main(int argc, char **argv)
{
	struct program p = {.epoll = -1};

	if (argc != 3 || sodium_init() < 0 || !ip_parse(&p.address, argv[2], strlen(argv[2])) ||
	    p.address.family != IP_V4) {
		fprintf(stderr, "Usage: crowd CLIENTS ADDRESS\n");
		return 2;
	}
	p.clients = (uint32_t)strtoul(argv[1], NULL, 10);
	if (p.clients == 0 || p.clients > CROWD_MAX || !start(&p)) {
		fprintf(stderr, "crowd: %s\n", strerror(errno));
		return 1;
	}
	run(&p);
	crowd_free(p.crowd);
	free(p.ports);
	free(p.fds);
	return 0;
}
