#include "dns/forwarder.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/bucket.h"
#include "base/heap.h"
#include "dns/forwarded.h"

enum {
	CLIENTS = 4096, /* power of two; whose allowance is not whole, or who has something open */
	CLIENT_WAYS = 16,
	TRY_MIN_MS = 500, /* the least that a server has for its answer */
	WARN_S = 60,
	/* Numbers of exchanges and connections have the place in their lowest bits. */
	QUERY_STRIDE = 1024,
	CONNECTION_STRIDE = 256,
};

static_assert((int)FORWARDER_QUERIES <= (int)QUERY_STRIDE &&
		  (int)FORWARDER_CONNECTIONS <= (int)CONNECTION_STRIDE,
	      "places fit into numbers");

static const uint64_t query_price_us = US_PER_S / FORWARDER_RATE;

/* What one client has used of its share. */
struct client {
	struct uuid id;
	bool used;
	uint64_t paid_us; /* its allowance of queries is used up until then */
	uint32_t queries, connections;
};

struct connection {
	uint32_t number; /* 0: free */
	struct client *client;
	struct query *query; /* under way, or its answer is not taken yet */
	bool hang_up;        /* to be said */
};

enum query_state {
	QUERY_FREE,
	QUERY_TO_SEND,
	QUERY_ASKED,
	QUERY_ANSWERED, /* the answer, in data, is to be taken */
};

struct query {
	enum query_state state;
	bool noted; /* in f->noted */
	struct client *client;
	struct connection *connection; /* NULL: UDP */
	bool tcp;
	struct endpoint from, to; /* UDP */
	uint16_t client_id, id;
	uint32_t exchange;
	struct endpoint servers[RANKING_MAX_SERVERS];
	size_t n_servers, server;
	uint64_t end_us;
	uint8_t *data;
	size_t len;
};

struct forwarder {
	struct forwarder_config cfg;
	struct client clients[CLIENTS];
	struct connection connections[FORWARDER_CONNECTIONS];
	struct query queries[FORWARDER_QUERIES];
	struct heap *timers;        /* of queries, then of connections, by their places */
	uint8_t *taken;             /* the answer that forwarder_poll() gave out */
	uint32_t exchanges, opened; /* so far */
	/* For forwarder_poll(): queries to be sent or answered, connections and exchanges to end.
	 * Each is there once at the most. */
	uint16_t noted[FORWARDER_QUERIES], ending[FORWARDER_CONNECTIONS];
	uint32_t closing[FORWARDER_QUERIES];
	size_t n_noted, n_ending, n_closing;
	uint64_t warned_us;
	struct forwarder_counters counters;
};

struct forwarder *forwarder_new(const struct forwarder_config *cfg)
{
	struct forwarder *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->cfg = *cfg;
	f->timers = heap_new(FORWARDER_QUERIES + FORWARDER_CONNECTIONS);
	if (!f->timers) {
		free(f);
		return NULL;
	}
	return f;
}

void forwarder_free(struct forwarder *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < FORWARDER_QUERIES; i++)
		free(f->queries[i].data);
	heap_free(f->timers);
	free(f->taken);
	free(f);
}

/* --- places --- */

static uint16_t place_of(const struct forwarder *f, const struct query *q)
{
	return (uint16_t)(q - f->queries);
}

static void set_timer(struct forwarder *f, const struct query *q, uint64_t at_us)
{
	heap_set(f->timers, place_of(f, q), at_us);
}

static void set_idle(struct forwarder *f, const struct connection *x, uint64_t at_us)
{
	heap_set(f->timers, FORWARDER_QUERIES + (uint32_t)(x - f->connections), at_us);
}

static void note(struct forwarder *f, struct query *q)
{
	if (!q->noted)
		f->noted[f->n_noted++] = place_of(f, q);
	q->noted = true;
}

static void unnote(struct forwarder *f, struct query *q)
{
	for (size_t i = 0; i < f->n_noted && q->noted; i++) {
		if (f->noted[i] != place_of(f, q))
			continue;
		f->noted[i] = f->noted[--f->n_noted];
		q->noted = false;
	}
}

static void hang_up(struct forwarder *f, struct connection *x)
{
	if (x->hang_up)
		return;
	x->hang_up = true;
	f->ending[f->n_ending++] = (uint16_t)(x - f->connections);
	set_idle(f, x, NEVER_US);
}

/* --- clients --- */

static bool is_idle(const struct client *c, uint64_t now_us)
{
	return !c->used || (c->queries == 0 && c->connections == 0 && c->paid_us <= now_us);
}

/* A client's place; NULL when all near it are taken by others who are busy. */
static struct client *client_of(struct forwarder *f, const struct uuid *id, uint64_t now_us)
{
	struct client *place = NULL;
	uint32_t first = 0;

	for (size_t i = 0; i < sizeof(id->bytes); i++)
		first = first * 31 + id->bytes[i];
	for (uint32_t i = 0; i < CLIENT_WAYS; i++) {
		struct client *c = &f->clients[(first + i) % CLIENTS];

		if (c->used && uuid_eq(&c->id, id))
			return c;
		if (!place && is_idle(c, now_us))
			place = c;
	}
	if (place)
		*place = (struct client){.id = *id, .used = true};
	return place;
}

/* False when the client asks too much or has too much under way. */
static bool client_pays(struct forwarder *f, struct client *c, unsigned int price, uint64_t now_us)
{
	if (!bucket_take_some(&c->paid_us, now_us, query_price_us, FORWARDER_BURST, price)) {
		f->counters.over_rate++;
		return false;
	}
	if (c->queries == FORWARDER_CLIENT_QUERIES) {
		f->counters.over_limit++;
		return false;
	}
	return true;
}

/* --- queries --- */

static void query_free(struct forwarder *f, struct query *q)
{
	unnote(f, q);
	set_timer(f, q, NEVER_US);
	q->client->queries--;
	f->counters.outstanding--;
	free(q->data);
	*q = (struct query){.state = QUERY_FREE};
}

/* One that nobody took yet was never started. */
static void close_exchange(struct forwarder *f, struct query *q)
{
	if (q->state == QUERY_ASKED) {
		BUG_ON(f->n_closing == ARRAY_LEN(f->closing));
		f->closing[f->n_closing++] = q->exchange;
	}
	q->exchange = 0;
}

/* @data becomes the query's. */
static void answered(struct forwarder *f, struct query *q, uint8_t *data, size_t len,
		     uint64_t now_us)
{
	free(q->data);
	q->data = data;
	q->len = len;
	q->state = QUERY_ANSWERED;
	set_timer(f, q, NEVER_US);
	note(f, q);
	if (q->connection)
		set_idle(f, q->connection, add_us(now_us, FORWARDER_IDLE_S * US_PER_S));
}

static void fail(struct forwarder *f, struct query *q, uint64_t now_us)
{
	uint8_t *out = malloc(DNS_SHORT_MAX);
	size_t len;

	close_exchange(f, q);
	dns_forwarded_set_id(q->data, q->len, q->client_id);
	len = out ? dns_forwarded_servfail(out, DNS_SHORT_MAX, q->data, q->len) : 0;
	f->counters.servfails++;
	answered(f, q, out, len, now_us);
}

/* Never 0, and not the same again for a long time. */
static uint32_t next_number(uint32_t *count, uint32_t stride, uint32_t place)
{
	*count = *count % (UINT32_MAX / stride - 1) + 1;
	return *count * stride + place;
}

/* Ask the next server, with its part of the time that is left. */
static void ask(struct forwarder *f, struct query *q, uint64_t now_us)
{
	uint64_t share_us;

	close_exchange(f, q);
	q->state = QUERY_TO_SEND;
	if (q->server == q->n_servers || q->end_us <= now_us) {
		fail(f, q, now_us);
		return;
	}
	share_us = (q->end_us - now_us) / (q->n_servers - q->server);
	if (share_us < TRY_MIN_MS * US_PER_MS)
		share_us = TRY_MIN_MS * US_PER_MS;
	set_timer(f, q, min_u64(q->end_us, now_us + share_us));
	q->id = (uint16_t)rng_u32(&f->cfg.rng);
	dns_forwarded_set_id(q->data, q->len, q->id);
	q->exchange = next_number(&f->exchanges, QUERY_STRIDE, place_of(f, q));
	note(f, q);
}

static void ask_next(struct forwarder *f, struct query *q, uint64_t now_us)
{
	ranking_doubt(f->cfg.ranking, &q->servers[q->server], q->tcp, now_us);
	q->server++;
	ask(f, q, now_us);
}

static void warn_no_server(struct forwarder *f, uint64_t now_us)
{
	if (f->warned_us != 0 && now_us - f->warned_us < WARN_S * US_PER_S)
		return;
	f->warned_us = now_us;
	log_say(f->cfg.log, LOG_WARN, "dns",
		"No name server answers, clients' queries are refused");
}

static struct query *query_place(struct forwarder *f)
{
	for (size_t i = 0; i < FORWARDER_QUERIES; i++)
		if (f->queries[i].state == QUERY_FREE)
			return &f->queries[i];
	return NULL;
}

/* On connection @x, NULL for UDP. NULL without room or memory. */
static struct query *query_begin(struct forwarder *f, struct client *c, struct connection *x,
				 const uint8_t *buf, size_t len, uint64_t now_us)
{
	bool tcp = x != NULL;
	struct query *q = query_place(f);

	if (q)
		q->data = dns_forwarded_copy(buf, len);
	if (!q || !q->data) {
		f->counters.over_limit++;
		return NULL;
	}
	q->len = len;
	q->client = c;
	q->connection = x;
	q->tcp = tcp;
	q->client_id = dns_forwarded_id(buf, len);
	q->end_us = add_us(now_us, FORWARDER_TIMEOUT_S * US_PER_S);
	c->queries++;
	f->counters.outstanding++;
	if (tcp)
		f->counters.tcp_queries++;
	else
		f->counters.udp_queries++;
	q->n_servers = ranking_order(f->cfg.ranking, tcp, q->servers);
	if (q->n_servers == 0)
		warn_no_server(f, now_us);
	ask(f, q, now_us);
	return q;
}

void forwarder_datagram(struct forwarder *f, const struct uuid *client, const struct endpoint *from,
			const struct endpoint *to, const uint8_t *buf, size_t len, uint64_t now_us)
{
	struct client *c = client_of(f, client, now_us);
	struct query *q;

	if (!c) {
		f->counters.over_limit++;
		return;
	}
	if (!client_pays(f, c, 1, now_us))
		return;
	if (len > FORWARDER_MAX_UDP_QUERY || !dns_forwarded_is_query(buf, len)) {
		f->counters.malformed++;
		return;
	}
	q = query_begin(f, c, NULL, buf, len, now_us);
	if (!q)
		return;
	q->from = *from;
	q->to = *to;
}

/* --- connections --- */

static struct connection *connection_find(struct forwarder *f, uint32_t number)
{
	uint32_t place = number % CONNECTION_STRIDE;

	if (number == 0 || place >= FORWARDER_CONNECTIONS || f->connections[place].number != number)
		return NULL;
	return &f->connections[place];
}

static struct connection *connection_place(struct forwarder *f)
{
	for (size_t i = 0; i < FORWARDER_CONNECTIONS; i++)
		if (f->connections[i].number == 0)
			return &f->connections[i];
	return NULL;
}

uint32_t forwarder_open(struct forwarder *f, const struct uuid *client, uint64_t now_us)
{
	struct client *c = client_of(f, client, now_us);
	struct connection *x = connection_place(f);

	if (!c || !x || c->connections == FORWARDER_CLIENT_CONNECTIONS) {
		f->counters.connections_refused++;
		return 0;
	}
	*x = (struct connection){.client = c};
	x->number = next_number(&f->opened, CONNECTION_STRIDE, (uint32_t)(x - f->connections));
	set_idle(f, x, add_us(now_us, FORWARDER_IDLE_S * US_PER_S));
	c->connections++;
	f->counters.connections++;
	return x->number;
}

bool forwarder_ready(struct forwarder *f, uint32_t connection)
{
	const struct connection *x = connection_find(f, connection);

	return x && !x->query && !x->hang_up;
}

void forwarder_message(struct forwarder *f, uint32_t connection, const uint8_t *buf, size_t len,
		       uint64_t now_us)
{
	struct connection *x = connection_find(f, connection);

	if (!x || x->query || x->hang_up)
		return;
	if (!client_pays(f, x->client, FORWARDER_TCP_PRICE, now_us)) {
		hang_up(f, x);
		return;
	}
	if (len > FORWARDER_MAX_TCP_QUERY || !dns_forwarded_is_query(buf, len)) {
		f->counters.malformed++;
		hang_up(f, x);
		return;
	}
	/* It may be answered at once, which sets the time-out anew. */
	set_idle(f, x, NEVER_US);
	x->query = query_begin(f, x->client, x, buf, len, now_us);
	if (!x->query)
		hang_up(f, x);
}

static void connection_free(struct forwarder *f, struct connection *x)
{
	if (x->query) {
		close_exchange(f, x->query);
		query_free(f, x->query);
	}
	for (size_t i = 0; i < f->n_ending && x->hang_up; i++) {
		if (f->ending[i] != x - f->connections)
			continue;
		f->ending[i] = f->ending[--f->n_ending];
		break;
	}
	set_idle(f, x, NEVER_US);
	x->client->connections--;
	f->counters.connections--;
	*x = (struct connection){.number = 0};
}

void forwarder_closed(struct forwarder *f, uint32_t connection)
{
	struct connection *x = connection_find(f, connection);

	if (x)
		connection_free(f, x);
}

/* --- what comes in --- */

static struct query *query_of(struct forwarder *f, uint32_t exchange)
{
	uint32_t place = exchange % QUERY_STRIDE;
	struct query *q = &f->queries[place < FORWARDER_QUERIES ? place : 0];

	return exchange != 0 && q->state == QUERY_ASKED && q->exchange == exchange ? q : NULL;
}

/* The client's id back in, and no more than fits into its datagram. */
static void take(struct forwarder *f, struct query *q, const struct dns_reply *reply,
		 uint64_t now_us)
{
	bool too_long = !q->tcp && reply->len > FORWARDER_MAX_UDP_ANSWER;
	size_t len = too_long ? (size_t)DNS_SHORT_MAX : reply->len;
	uint8_t *out = malloc(len);

	if (!out) {
		fail(f, q, now_us);
		return;
	}
	if (too_long) {
		len = dns_forwarded_truncate(out, len, reply->data, reply->len);
		f->counters.truncated++;
	} else {
		memcpy(out, reply->data, len);
	}
	dns_forwarded_set_id(out, len, q->client_id);
	close_exchange(f, q);
	f->counters.answers++;
	answered(f, q, out, len, now_us);
}

void forwarder_reply(struct forwarder *f, const struct dns_reply *reply, uint64_t now_us)
{
	struct query *q = query_of(f, reply->id);

	if (!q || reply->tcp != q->tcp)
		return;
	if (reply->failed) {
		q->state = QUERY_TO_SEND; /* the exchange has ended by itself */
		ask_next(f, q, now_us);
		return;
	}
	if ((q->tcp || dns_is_from(&q->servers[q->server], &reply->src)) &&
	    dns_forwarded_answers(q->data, q->len, q->id, reply->data, reply->len)) {
		take(f, q, reply, now_us);
		return;
	}
	f->counters.stray++;
	/* Nobody else can speak on a connection: the server will not say it right. */
	if (q->tcp)
		ask_next(f, q, now_us);
}

void forwarder_roam(struct forwarder *f, uint64_t now_us)
{
	for (size_t i = 0; i < FORWARDER_QUERIES; i++) {
		struct query *q = &f->queries[i];

		if (q->state == QUERY_ASKED || q->state == QUERY_TO_SEND)
			fail(f, q, now_us);
	}
}

void forwarder_timeout(struct forwarder *f, uint64_t now_us)
{
	uint32_t key;

	while (heap_take_due(f->timers, now_us, &key)) {
		if (key >= FORWARDER_QUERIES)
			hang_up(f, &f->connections[key - FORWARDER_QUERIES]);
		else if (f->queries[key].state == QUERY_ASKED)
			ask_next(f, &f->queries[key], now_us);
		else
			fail(f, &f->queries[key], now_us);
	}
}

uint64_t forwarder_deadline(const struct forwarder *f)
{
	return heap_first_us(f->timers);
}

/* --- what goes out --- */

/* Gives out the answer and forgets the query. False: without memory there was none. */
static bool answer_out(struct forwarder *f, struct query *q, struct forwarder_out *out)
{
	struct connection *x = q->connection;
	bool any = q->len > 0;

	free(f->taken);
	f->taken = q->data;
	q->data = NULL;
	out->kind = q->tcp ? FORWARDER_OUT_MESSAGE : FORWARDER_OUT_DATAGRAM;
	out->connection = x ? x->number : 0;
	out->from = q->to;
	out->to = q->from;
	out->data = f->taken;
	out->len = q->len;
	if (x)
		x->query = NULL;
	if (x && !any)
		hang_up(f, x);
	query_free(f, q);
	return any;
}

static bool query_out(struct forwarder *f, struct query *q, struct forwarder_out *out)
{
	if (q->state == QUERY_ANSWERED)
		return answer_out(f, q, out);
	BUG_ON(q->state != QUERY_TO_SEND);
	q->state = QUERY_ASKED;
	out->kind = FORWARDER_OUT_QUERY;
	out->exchange = (struct dns_exchange){.id = q->exchange,
					      .tcp = q->tcp,
					      .server = q->servers[q->server],
					      .data = q->data,
					      .len = q->len};
	return true;
}

bool forwarder_poll(struct forwarder *f, struct forwarder_out *out)
{
	memset(out, 0, sizeof(*out));
	if (f->n_closing > 0) {
		out->kind = FORWARDER_OUT_CLOSE;
		out->id = f->closing[--f->n_closing];
		return true;
	}
	while (f->n_noted > 0) {
		struct query *q = &f->queries[f->noted[--f->n_noted]];

		q->noted = false;
		if (query_out(f, q, out))
			return true;
	}
	if (f->n_ending > 0) {
		struct connection *x = &f->connections[f->ending[f->n_ending - 1]];

		out->kind = FORWARDER_OUT_HANG_UP;
		out->connection = x->number;
		connection_free(f, x);
		return true;
	}
	return false;
}

void forwarder_counters(const struct forwarder *f, struct forwarder_counters *out)
{
	*out = f->counters;
}
