#include "forwarder_host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct endpoint at(unsigned int a, unsigned int b, unsigned int last, uint16_t port)
{
	const uint8_t bytes[4] = {(uint8_t)a, (uint8_t)b, 0, (uint8_t)last};

	return (struct endpoint){.ip = ip_v4(bytes), .port = port};
}

struct uuid client(unsigned int n)
{
	struct uuid id = {.bytes = {(uint8_t)(n >> 8), (uint8_t)n, 7}};

	return id;
}

void look(struct world *w)
{
	struct forwarder_out out;

	while (forwarder_poll(w->f, &out)) {
		switch (out.kind) {
		case FORWARDER_OUT_QUERY:
			assert_true(w->n_asked < MAX_ASKED && out.exchange.len <= 512);
			w->asked[w->n_asked] = (struct asked_query){.x = out.exchange};
			memcpy(w->asked[w->n_asked++].data, out.exchange.data, out.exchange.len);
			break;
		case FORWARDER_OUT_CLOSE:
			for (size_t i = 0; i < w->n_asked; i++)
				if (w->asked[i].x.id == out.id)
					w->asked[i].closed = true;
			break;
		case FORWARDER_OUT_DATAGRAM:
		case FORWARDER_OUT_MESSAGE:
			*(out.kind == FORWARDER_OUT_DATAGRAM ? &w->datagrams : &w->messages) += 1;
			w->from = out.from;
			w->to = out.to;
			w->connection = out.connection;
			memcpy(w->data, out.data, out.len);
			w->len = out.len;
			break;
		case FORWARDER_OUT_HANG_UP:
			w->hang_ups++;
			w->hung_up = out.connection;
			break;
		}
	}
}

void rank(struct world *w, unsigned int n)
{
	struct endpoint servers[RANKING_MAX_SERVERS];
	struct ranking_out out;

	for (unsigned int i = 0; i < n; i++)
		servers[i] = at(192, 0, i + 1, 53);
	ranking_set_servers(w->ranking, servers, n, w->now_us);
	while (ranking_poll(w->ranking, &out)) {
		struct message m;
		struct dns_reply reply = {
		    .id = out.exchange.id, .tcp = out.exchange.tcp, .src = out.exchange.server};

		if (out.kind != RANKING_OUT_QUERY)
			continue;
		m = answer_to(out.exchange.data, out.exchange.len, ANSWERED);
		add_record(&m, "firezone.dev", RR_A, 60, "192.0.2.200");
		reply.data = m.at;
		reply.len = m.len;
		w->now_us += US_PER_MS;
		ranking_reply(w->ranking, &reply, w->now_us);
	}
}

static void on_line(void *ctx, const char *line, size_t len)
{
	struct world *w = ctx;

	(void)line;
	(void)len;
	w->warnings++;
}

static uint64_t wall(void *ctx)
{
	(void)ctx;
	return 0;
}

int start(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct log_config log = {.filter = "warn", .write = on_line, .wall_us = wall, .ctx = w};
	struct forwarder_config cfg = {.log = NULL};

	assert_non_null(w);
	cfg.log = w->log = log_new(&log, NULL, 0);
	assert_non_null(w->log);
	cfg.rng = rng_from_seed(&w->seed, 1);
	w->now_us = 1000 * US_PER_S;
	w->ranking = ranking_new(&cfg.rng);
	cfg.ranking = w->ranking;
	w->f = forwarder_new(&cfg);
	assert_non_null(w->f);
	rank(w, 2);
	*state = w;
	return 0;
}

int stop(void **state)
{
	struct world *w = *state;

	forwarder_free(w->f);
	ranking_free(w->ranking);
	log_free(w->log);
	free(w);
	return 0;
}

void advance(struct world *w, uint64_t us)
{
	uint64_t end_us = w->now_us + us;

	while (forwarder_deadline(w->f) <= end_us) {
		if (forwarder_deadline(w->f) > w->now_us)
			w->now_us = forwarder_deadline(w->f);
		forwarder_timeout(w->f, w->now_us);
		look(w);
	}
	w->now_us = end_us;
}

struct message question(uint16_t id)
{
	return message_of(id, 0x0100, "_ldap._tcp.Example.com", RR_SRV);
}

void send_as(struct world *w, unsigned int who, const struct message *m)
{
	struct uuid id = client(who);
	struct endpoint from = at(100, 64, who & 255, 4711), to = at(100, 64, 9, 53535);

	forwarder_datagram(w->f, &id, &from, &to, m->at, m->len, w->now_us);
	look(w);
}

struct asked_query *last(struct world *w)
{
	assert_true(w->n_asked > 0);
	return &w->asked[w->n_asked - 1];
}

void fill(uint8_t *buf, size_t len, size_t count, size_t total)
{
	static const uint8_t head[] = {0, 0xff, 0x10, 0, 1, 0, 0, 0, 0};
	size_t rest = total - len - sizeof(head) - 2;

	assert_true(total >= len + sizeof(head) + 2 && rest <= UINT16_MAX);
	buf[count + 1]++;
	memcpy(buf + len, head, sizeof(head));
	len += sizeof(head);
	buf[len] = (uint8_t)(rest >> 8);
	buf[len + 1] = (uint8_t)rest;
	memset(buf + len + 2, 0x55, rest);
}

void reply_with(struct world *w, const struct asked_query *q, const struct endpoint *src,
		const struct message *m)
{
	struct dns_reply reply = {
	    .id = q->x.id, .tcp = q->x.tcp, .src = *src, .data = m->at, .len = m->len};

	forwarder_reply(w->f, &reply, w->now_us);
	look(w);
}

struct forwarder_counters counters(const struct world *w)
{
	struct forwarder_counters c;

	forwarder_counters(w->f, &c);
	return c;
}
