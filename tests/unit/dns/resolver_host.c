#include "resolver_host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

static struct query *slot(struct host *h, uint32_t id)
{
	for (size_t i = 0; i < MAX_SOCKETS; i++)
		if (h->open[i].id == id)
			return &h->open[i];
	fail_msg("no socket of query %u", id);
	return NULL;
}

void drain(struct host *h)
{
	struct resolver_out out;
	struct query *q;

	while (resolver_poll(h->r, &out)) {
		switch (out.kind) {
		case RESOLVER_OUT_QUERY:
			assert_int_not_equal(out.exchange.id, 0);
			q = slot(h, 0);
			*q = (struct query){.id = out.exchange.id,
					    .tcp = out.exchange.tcp,
					    .server = out.exchange.server,
					    .len = out.exchange.len};
			memcpy(q->data, out.exchange.data, out.exchange.len);
			q->type = asked(q->data, q->len, q->name);
			h->sent++;
			break;
		case RESOLVER_OUT_CLOSE:
			slot(h, out.id)->id = 0;
			h->closed++;
			break;
		case RESOLVER_OUT_ANSWER:
			assert_true(h->n_answers < MAX_ANSWERS);
			h->answers[h->n_answers++] = out;
			break;
		}
	}
}

unsigned sockets(const struct host *h)
{
	return h->sent - h->closed;
}

void host_new(struct host *h, const char *conf)
{
	struct resolver_config cfg = {.log = NULL};

	assert_true(sodium_init() >= 0);
	memset(h, 0, sizeof(*h));
	h->now_us = 1000 * US_PER_S;
	cfg.rng = rng_from_seed(&h->seed, 1);
	h->r = resolver_new(&cfg);
	assert_non_null(h->r);
	resolver_set_resolv_conf(h->r, conf, conf ? strlen(conf) : 0);
}

void look_up(struct host *h, const char *name, uint64_t token)
{
	assert_true(resolver_lookup(h->r, name, token, h->now_us));
	drain(h);
}

struct query *query_for(struct host *h, uint16_t type)
{
	for (size_t i = 0; i < MAX_SOCKETS; i++)
		if (h->open[i].id != 0 && h->open[i].type == type)
			return &h->open[i];
	fail_msg("no query of type %u is out", type);
	return NULL;
}

bool asks_for(const struct host *h, uint16_t type)
{
	for (size_t i = 0; i < MAX_SOCKETS; i++)
		if (h->open[i].id != 0 && h->open[i].type == type)
			return true;
	return false;
}

void deliver(struct host *h, const struct query *q, const struct endpoint *src,
	     const struct message *m)
{
	const struct dns_reply reply = {
	    .id = q->id, .tcp = q->tcp, .src = *src, .data = m->at, .len = m->len};

	resolver_reply(h->r, &reply, h->now_us);
	drain(h);
}

void fail_exchange(struct host *h, uint32_t id)
{
	const struct dns_reply reply = {.id = id, .failed = true};

	resolver_reply(h->r, &reply, h->now_us);
	drain(h);
}

void answer(struct host *h, uint16_t type, uint16_t flags, const char *address, uint32_t ttl)
{
	struct query *q = query_for(h, type);
	struct message m = answer_to(q->data, q->len, flags);

	if (address)
		add_record(&m, q->name, type, ttl, address);
	deliver(h, q, &q->server, &m);
}

void wait_until_due(struct host *h)
{
	uint64_t at = resolver_deadline(h->r);

	assert_true(at != NEVER_US && at >= h->now_us);
	h->now_us = at;
	resolver_timeout(h->r, h->now_us);
	drain(h);
}

void is_server(const struct query *q, const char *text)
{
	char out[IP_TEXT_MAX];

	ip_format(&q->server.ip, out);
	assert_string_equal(out, text);
	assert_int_equal(q->server.port, 53);
}

void is_answered(const struct host *h, uint64_t token, const char *const *addresses)
{
	size_t n = 0;

	assert_int_equal(h->n_answers, 1);
	assert_true(h->answers[0].token == token);
	for (; addresses[n]; n++) {
		char out[IP_TEXT_MAX];

		assert_true(n < h->answers[0].n);
		ip_format(&h->answers[0].addresses[n], out);
		assert_string_equal(out, addresses[n]);
	}
	assert_int_equal(h->answers[0].n, n);
	assert_int_equal(sockets(h), 0);
	assert_true(resolver_deadline(h->r) == NEVER_US);
}
