/*
 * What clients ask and servers answer, in any order (dns/forwarded.h, dns/forwarder.h): each step
 * of the input is a command, a length and so many bytes.
 *
 * Always: a question is answered at most once, with its own id and question; what goes on is what
 * was asked but for the id; datagrams to clients are short; the bounds hold; and after the last
 * time-out nothing is left over.
 */
#include <stdlib.h>
#include <string.h>

#include "base/defs.h"
#include "dns/forwarded.h"
#include "dns/forwarder.h"
#include "dns/message.h"
#include "packet/bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum {
	MAX_OPEN = 64,
	MAX_ASKED = 256, /* datagrams; each comes from a port of its own */
	CLIENTS = 4,
	SERVERS = 2,
};

struct open_exchange {
	uint32_t id;
	bool tcp;
	struct endpoint server;
	uint8_t *data;
	size_t len;
};

/* What a client asked, until it is answered. */
struct asked {
	uint8_t *data;
	size_t len;
};

struct state {
	struct ranking *ranking;
	struct forwarder *f;
	struct open_exchange open[MAX_OPEN];
	size_t n;
	struct asked datagrams[MAX_ASKED], message;
	uint16_t n_datagrams;
	uint32_t connection;
	uint64_t now_us, asked, answered;
};

static struct endpoint server(uint8_t last)
{
	const uint8_t bytes[4] = {192, 0, 2, last};

	return (struct endpoint){.ip = ip_v4(bytes), .port = 53};
}

static void forget(struct state *s, uint32_t id)
{
	for (size_t i = 0; i < s->n; i++) {
		if (s->open[i].id != id)
			continue;
		free(s->open[i].data);
		s->open[i] = s->open[--s->n];
	}
}

static void remember(struct state *s, const struct dns_exchange *x)
{
	struct open_exchange *o = &s->open[s->n];
	struct dns_reply failed = {.id = x->id, .failed = true, .tcp = x->tcp};

	BUG_ON(x->id == 0 || !dns_forwarded_is_query(x->data, x->len));
	if (s->n == MAX_OPEN) {
		forwarder_reply(s->f, &failed, s->now_us);
		return;
	}
	for (size_t i = 0; i < s->n; i++)
		BUG_ON(s->open[i].id == x->id);
	*o = (struct open_exchange){.id = x->id, .tcp = x->tcp, .server = x->server, .len = x->len};
	o->data = malloc(x->len);
	BUG_ON(!o->data);
	memcpy(o->data, x->data, x->len);
	s->n++;
}

static void ask(struct asked *a, const uint8_t *bytes, size_t len)
{
	free(a->data);
	a->data = malloc(len > 0 ? len : 1);
	BUG_ON(!a->data);
	if (len > 0)
		memcpy(a->data, bytes, len);
	a->len = len;
}

/* The one answer to this. */
static void take(struct asked *a, const struct forwarder_out *out)
{
	BUG_ON(!a->data);
	BUG_ON(!dns_forwarded_answers(a->data, a->len, dns_forwarded_id(a->data, a->len), out->data,
				      out->len));
	free(a->data);
	a->data = NULL;
}

static void look(struct state *s)
{
	struct forwarder_out out;
	struct forwarder_counters c;

	while (forwarder_poll(s->f, &out)) {
		switch (out.kind) {
		case FORWARDER_OUT_QUERY:
			remember(s, &out.exchange);
			break;
		case FORWARDER_OUT_CLOSE:
			forget(s, out.id);
			break;
		case FORWARDER_OUT_DATAGRAM:
			BUG_ON(out.len > FORWARDER_MAX_UDP_ANSWER || out.to.port >= MAX_ASKED);
			s->answered++;
			take(&s->datagrams[out.to.port], &out);
			break;
		case FORWARDER_OUT_MESSAGE:
			BUG_ON(out.connection != s->connection);
			s->answered++;
			take(&s->message, &out);
			break;
		case FORWARDER_OUT_HANG_UP:
			if (out.connection == s->connection)
				s->connection = 0;
			break;
		}
	}
	forwarder_counters(s->f, &c);
	s->asked = c.udp_queries + c.tcp_queries;
	BUG_ON(s->answered > s->asked || c.outstanding > FORWARDER_QUERIES);
	BUG_ON(s->answered != c.answers + c.servfails);
}

static void rank(struct state *s)
{
	struct endpoint servers[SERVERS] = {server(1), server(2)};
	struct ranking_out out;

	ranking_set_servers(s->ranking, servers, SERVERS, s->now_us);
	while (ranking_poll(s->ranking, &out)) {
		struct dns_reply reply = {
		    .id = out.exchange.id, .tcp = out.exchange.tcp, .src = out.exchange.server};
		uint8_t answer[DNS_MAX_QUERY];

		if (out.kind != RANKING_OUT_QUERY)
			continue;
		BUG_ON(out.exchange.len > sizeof(answer));
		memcpy(answer, out.exchange.data, out.exchange.len);
		answer[2] |= 0x80;
		reply.data = answer;
		reply.len = out.exchange.len;
		ranking_reply(s->ranking, &reply, s->now_us + 1);
	}
}

/* @way: 0 as it came, 1 with the id that is waited for, 2 the question itself with QR set. */
static void answer(struct state *s, uint8_t way, uint8_t which, const uint8_t *bytes, size_t len)
{
	struct open_exchange *o = s->n > 0 ? &s->open[which % s->n] : NULL;
	struct dns_reply reply = {.failed = way == 3};
	uint8_t *copy = malloc(len + 512);

	BUG_ON(!copy);
	if (!o) {
		free(copy);
		return;
	}
	reply.id = o->id;
	reply.tcp = o->tcp;
	reply.src = o->server;
	if (len > 0)
		memcpy(copy, bytes, len);
	if (way == 1 && len >= 2)
		dns_forwarded_set_id(copy, len, dns_forwarded_id(o->data, o->len));
	if (way == 2 && o->len <= 512) {
		len = o->len;
		memcpy(copy, o->data, len);
		copy[2] |= 0x80;
	}
	reply.data = copy;
	reply.len = len;
	if (reply.failed)
		forget(s, reply.id);
	forwarder_reply(s->f, &reply, s->now_us);
	free(copy);
}

static void step(struct state *s, uint8_t command, const uint8_t *bytes, size_t len)
{
	struct uuid client = {.bytes = {command % CLIENTS}};
	struct endpoint from = server(100), to = server(200);

	from.port = s->n_datagrams;
	switch (command / CLIENTS % 8) {
	case 0:
	case 1:
		if (s->n_datagrams == MAX_ASKED)
			break;
		ask(&s->datagrams[s->n_datagrams++], bytes, len);
		forwarder_datagram(s->f, &client, &from, &to, bytes, len, s->now_us);
		break;
	case 2:
		if (s->connection == 0)
			s->connection = forwarder_open(s->f, &client, s->now_us);
		if (forwarder_ready(s->f, s->connection))
			ask(&s->message, bytes, len);
		forwarder_message(s->f, s->connection, bytes, len, s->now_us);
		break;
	case 3:
		forwarder_closed(s->f, s->connection);
		s->connection = 0;
		/* Its question goes without an answer. */
		break;
	case 4:
	case 5:
		answer(s, command % 4, command / 32, bytes, len);
		break;
	case 6:
		s->now_us += len * 100 * US_PER_MS;
		forwarder_timeout(s->f, s->now_us);
		break;
	default:
		forwarder_roam(s->f, s->now_us);
		break;
	}
	look(s);
}

static void finish(struct state *s)
{
	struct forwarder_counters c;

	forwarder_closed(s->f, s->connection);
	s->now_us += FORWARDER_TIMEOUT_S * US_PER_S;
	for (int i = 0; i < 8; i++) {
		forwarder_timeout(s->f, s->now_us);
		look(s);
	}
	s->now_us += FORWARDER_IDLE_S * US_PER_S;
	forwarder_timeout(s->f, s->now_us);
	look(s);
	forwarder_counters(s->f, &c);
	BUG_ON(c.outstanding != 0 || c.connections != 0 || s->n != 0);
	BUG_ON(forwarder_deadline(s->f) != NEVER_US);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct rng_seeded seed;
	struct state s = {.now_us = US_PER_S};
	struct forwarder_config cfg = {.rng = rng_from_seed(&seed, 1)};
	struct reader r = reader_of(data, len);

	s.ranking = ranking_new(&cfg.rng);
	cfg.ranking = s.ranking;
	s.f = s.ranking ? forwarder_new(&cfg) : NULL;
	BUG_ON(!s.f);
	rank(&s);
	while (r.left >= 3) {
		uint8_t command = rd_u8(&r);
		size_t n = rd_u16(&r);

		n = min_size(n, r.left);
		step(&s, command, rd_bytes(&r, n), n);
	}
	finish(&s);
	for (size_t i = 0; i < MAX_ASKED; i++)
		free(s.datagrams[i].data);
	free(s.message.data);
	forwarder_free(s.f);
	ranking_free(s.ranking);
	return 0;
}
