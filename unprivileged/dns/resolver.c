#include "dns/resolver.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "dns/files.h"
#include "dns/message.h"

enum {
	MAX_OUTS = 4 * RESOLVER_MAX_INFLIGHT,
	RCODE_NXDOMAIN = 3,
	N_TYPES = 2,
};

/* The question for one address family of a name. */
struct question {
	enum dns_type type;
	bool done;
	uint16_t id;
	uint32_t query;			/* 0: no socket out */
	size_t server;
	unsigned int tries;		/* in all, over all servers */
	uint64_t deadline_us;
	uint8_t data[DNS_MAX_QUERY];
	size_t len;
	struct ip_addr addresses[DNS_MAX_ANSWERS];
	size_t n;
};

struct lookup {
	bool active;
	uint64_t token;
	char name[DNS_NAME_MAX];
	struct question questions[N_TYPES];
};

struct cached {
	char name[DNS_NAME_MAX];	/* "": free */
	enum dns_type type;
	uint64_t until_us, used_us;
	struct ip_addr addresses[DNS_MAX_ANSWERS];
	size_t n;
};

/* What waits for resolver_poll(). */
struct out {
	enum resolver_out_kind kind;
	uint32_t query;
	struct lookup *lookup;		/* QUERY: of the question; ANSWER: to be freed */
	struct question *question;
};

struct resolver {
	struct resolver_config cfg;
	struct resolv_conf conf;
	char *hosts;
	size_t hosts_len;
	uint32_t next_query;
	struct lookup lookups[RESOLVER_MAX_INFLIGHT];
	struct cached cache[RESOLVER_CACHE];
	struct out outs[MAX_OUTS];
	size_t outs_head, outs_len;
};

struct resolver *resolver_new(const struct resolver_config *cfg)
{
	struct resolver *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->cfg = *cfg;
	resolv_conf_parse(&r->conf, NULL, 0);
	return r;
}

void resolver_free(struct resolver *r)
{
	if (!r)
		return;
	free(r->hosts);
	free(r);
}

void resolver_set_resolv_conf(struct resolver *r, const char *text, size_t len)
{
	resolv_conf_parse(&r->conf, text, len);
}

void resolver_set_hosts(struct resolver *r, const char *text, size_t len)
{
	free(r->hosts);
	r->hosts = text && len > 0 ? malloc(len) : NULL;
	r->hosts_len = r->hosts ? len : 0;
	if (r->hosts)
		memcpy(r->hosts, text, len);
}

size_t resolver_servers(const struct resolver *r, struct endpoint out[RESOLVER_MAX_SERVERS])
{
	memcpy(out, r->conf.servers, r->conf.n_servers * sizeof(*out));
	return r->conf.n_servers;
}

static void push(struct resolver *r, const struct out *out)
{
	/* At most a close, a query and an answer wait for each question. */
	BUG_ON(r->outs_len == MAX_OUTS);
	r->outs[(r->outs_head + r->outs_len) % MAX_OUTS] = *out;
	r->outs_len++;
}

static void close_query(struct resolver *r, struct question *q)
{
	if (q->query != 0)
		push(r, &(struct out){ .kind = RESOLVER_OUT_CLOSE, .query = q->query });
	q->query = 0;
}

static struct cached *cache_find(struct resolver *r, const char *name, enum dns_type type, uint64_t now_us)
{
	for (size_t i = 0; i < RESOLVER_CACHE; i++) {
		struct cached *c = &r->cache[i];

		if (c->name[0] != '\0' && c->type == type && c->until_us > now_us &&
		    strcasecmp(c->name, name) == 0) {
			c->used_us = now_us;
			return c;
		}
	}
	return NULL;
}

static void cache_store(struct resolver *r, const struct lookup *l, const struct question *q, uint32_t ttl_s,
                        uint64_t now_us)
{
	struct cached *place = &r->cache[0];

	if (ttl_s == 0)
		return;
	for (size_t i = 0; i < RESOLVER_CACHE; i++) {
		struct cached *c = &r->cache[i];

		if (c->type == q->type && strcasecmp(c->name, l->name) == 0) {
			place = c;
			break;
		}
		if (c->until_us <= now_us) {
			if (place->until_us > now_us)
				place = c;
		} else if (place->until_us > now_us && c->used_us < place->used_us) {
			place = c;
		}
	}
	memset(place, 0, sizeof(*place));
	memcpy(place->name, l->name, sizeof(place->name));
	place->type = q->type;
	place->until_us = now_us + ttl_s * US_PER_S;
	place->used_us = now_us;
	memcpy(place->addresses, q->addresses, sizeof(place->addresses));
	place->n = q->n;
}

static void finish_if_done(struct resolver *r, struct lookup *l)
{
	if (!l->active || !l->questions[0].done || !l->questions[1].done)
		return;
	l->active = false;
	push(r, &(struct out){ .kind = RESOLVER_OUT_ANSWER, .lookup = l });
}

/* Send to the next server; all have had their tries: the family has no answer. */
static void ask(struct resolver *r, struct lookup *l, struct question *q, uint64_t now_us)
{
	close_query(r, q);
	if (q->tries == r->conf.attempts * r->conf.n_servers) {
		q->done = true;
		q->deadline_us = NEVER_US;
		finish_if_done(r, l);
		return;
	}
	q->server = q->tries % r->conf.n_servers;
	q->tries++;
	q->id = (uint16_t)rng_u32(&r->cfg.rng);
	q->len = dns_query_write(q->data, sizeof(q->data), q->id, l->name, q->type);
	q->query = ++r->next_query ? r->next_query : ++r->next_query;
	q->deadline_us = now_us + r->conf.timeout_s * US_PER_S;
	push(r, &(struct out){ .kind = RESOLVER_OUT_QUERY, .query = q->query, .lookup = l, .question = q });
}

static struct lookup *free_lookup(struct resolver *r)
{
	for (size_t i = 0; i < RESOLVER_MAX_INFLIGHT; i++)
		if (!r->lookups[i].active && r->lookups[i].token == 0)
			return &r->lookups[i];
	return NULL;
}

/* What needs no server: a literal, the hosts file. */
static bool known_locally(const struct resolver *r, struct lookup *l)
{
	struct question *q = &l->questions[0];

	if (ip_parse(&q->addresses[0], l->name, strlen(l->name)))
		q->n = 1;
	else
		q->n = hosts_lookup(r->hosts, r->hosts_len, l->name, q->addresses, DNS_MAX_ANSWERS);
	return q->n > 0;
}

bool resolver_lookup(struct resolver *r, const char *name, uint64_t token, uint64_t now_us)
{
	struct lookup *l = free_lookup(r);
	uint8_t probe[DNS_MAX_QUERY];
	size_t len = strlen(name);

	BUG_ON(token == 0);
	if (!l || r->outs_len + 2 * N_TYPES + 1 > MAX_OUTS)
		return false;
	if (len > 0 && name[len - 1] == '.')
		len--;
	if (len == 0 || len >= DNS_NAME_MAX)
		return false;
	memset(l, 0, sizeof(*l));
	memcpy(l->name, name, len);
	l->active = true;
	l->token = token;
	l->questions[0].type = DNS_A;
	l->questions[1].type = DNS_AAAA;
	if (known_locally(r, l) || dns_query_write(probe, sizeof(probe), 0, l->name, DNS_A) == 0) {
		l->questions[0].done = true;
		l->questions[1].done = true;
		finish_if_done(r, l);
		return true;
	}
	for (size_t i = 0; i < N_TYPES; i++) {
		struct question *q = &l->questions[i];
		const struct cached *c = cache_find(r, l->name, q->type, now_us);

		if (c) {
			memcpy(q->addresses, c->addresses, sizeof(q->addresses));
			q->n = c->n;
			q->done = true;
		} else {
			ask(r, l, q, now_us);
		}
	}
	finish_if_done(r, l);
	return true;
}

static struct question *question_of(struct resolver *r, uint32_t query, struct lookup **lookup)
{
	for (size_t i = 0; i < RESOLVER_MAX_INFLIGHT && query != 0; i++) {
		for (size_t k = 0; k < N_TYPES && r->lookups[i].active; k++) {
			if (r->lookups[i].questions[k].query == query) {
				*lookup = &r->lookups[i];
				return &r->lookups[i].questions[k];
			}
		}
	}
	return NULL;
}

/* An answer to a link-local server that was named without scope comes with one. */
static bool is_server(const struct endpoint *server, const struct endpoint *src)
{
	return server->port == src->port && ip_eq(&server->ip, &src->ip) &&
	       (server->scope == 0 || server->scope == src->scope);
}

void resolver_datagram(struct resolver *r, uint32_t query, const struct endpoint *src,
                       const uint8_t *buf, size_t len, uint64_t now_us)
{
	struct lookup *l;
	struct question *q = question_of(r, query, &l);
	struct dns_answer answer;

	if (!q || !is_server(&r->conf.servers[q->server % r->conf.n_servers], src))
		return;
	if (!dns_answer_read(&answer, buf, len, q->id, l->name, q->type))
		return;
	if ((answer.rcode != 0 && answer.rcode != RCODE_NXDOMAIN) || (answer.truncated && answer.n == 0)) {
		ask(r, l, q, now_us);
		return;
	}
	memcpy(q->addresses, answer.addresses, sizeof(q->addresses));
	q->n = answer.n;
	q->done = true;
	q->deadline_us = NEVER_US;
	close_query(r, q);
	cache_store(r, l, q, answer.ttl_s, now_us);
	finish_if_done(r, l);
}

void resolver_query_failed(struct resolver *r, uint32_t query, uint64_t now_us)
{
	struct lookup *l;
	struct question *q = question_of(r, query, &l);

	if (q)
		ask(r, l, q, now_us);
}

void resolver_timeout(struct resolver *r, uint64_t now_us)
{
	for (size_t i = 0; i < RESOLVER_MAX_INFLIGHT; i++) {
		struct lookup *l = &r->lookups[i];

		for (size_t k = 0; k < N_TYPES && l->active; k++)
			if (!l->questions[k].done && l->questions[k].deadline_us <= now_us)
				ask(r, l, &l->questions[k], now_us);
	}
}

uint64_t resolver_deadline(const struct resolver *r)
{
	uint64_t at = NEVER_US;

	for (size_t i = 0; i < RESOLVER_MAX_INFLIGHT; i++)
		for (size_t k = 0; k < N_TYPES && r->lookups[i].active; k++)
			if (!r->lookups[i].questions[k].done)
				at = min_u64(at, r->lookups[i].questions[k].deadline_us);
	return at;
}

static void answer_out(struct lookup *l, struct resolver_out *out)
{
	out->token = l->token;
	for (size_t k = 0; k < N_TYPES; k++)
		for (size_t i = 0; i < l->questions[k].n && out->n < RESOLVER_MAX_ADDRESSES; i++)
			out->addresses[out->n++] = l->questions[k].addresses[i];
	l->token = 0;	/* free again */
}

bool resolver_poll(struct resolver *r, struct resolver_out *out)
{
	while (r->outs_len > 0) {
		struct out *next = &r->outs[r->outs_head];

		r->outs_head = (r->outs_head + 1) % MAX_OUTS;
		r->outs_len--;
		memset(out, 0, sizeof(*out));
		out->kind = next->kind;
		out->query = next->query;
		switch (next->kind) {
		case RESOLVER_OUT_QUERY:
			if (next->question->query != next->query)
				continue;	/* replaced before it was taken */
			out->server = r->conf.servers[next->question->server % r->conf.n_servers];
			out->data = next->question->data;
			out->len = next->question->len;
			return true;
		case RESOLVER_OUT_ANSWER:
			answer_out(next->lookup, out);
			return true;
		case RESOLVER_OUT_CLOSE:
			return true;
		}
	}
	return false;
}
