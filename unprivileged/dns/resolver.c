#include "dns/resolver.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "dns/files.h"
#include "dns/message.h"

enum {
	RCODE_NXDOMAIN = 3,
	N_TYPES = 2,
};

static_assert(RESOLVER_MAX_SERVERS == (int)RESOLV_MAX_SERVERS, "one limit in two headers");
static_assert(RESOLVER_MAX_ADDRESSES >= (int)DNS_MAX_ANSWERS, "one family's answer fits");

/* The question for one address family of a name. */
struct question {
	enum dns_type type;
	bool done;
	bool to_send;      /* the query waits for resolver_poll() */
	uint32_t to_close; /* so does the closing of this one; 0: none */
	uint16_t id;
	uint32_t query; /* 0: no socket out */
	struct endpoint server;
	unsigned int tries; /* in all, over all servers */
	uint64_t deadline_us;
	uint8_t data[DNS_MAX_QUERY];
	size_t len;
	struct ip_addr addresses[DNS_MAX_ANSWERS];
	size_t n;
};

enum lookup_state {
	LOOKUP_FREE,
	LOOKUP_ASKING,
	LOOKUP_ANSWERED /* resolver_poll() has not taken it yet */
};

struct lookup {
	enum lookup_state state;
	uint64_t token;
	char name[DNS_NAME_MAX];
	struct question questions[N_TYPES];
};

struct cached {
	char name[DNS_NAME_MAX]; /* "": free */
	enum dns_type type;
	uint64_t until_us, used_us;
	struct ip_addr addresses[DNS_MAX_ANSWERS];
	size_t n;
};

struct resolver {
	struct resolver_config cfg;
	struct resolv_conf conf;
	char *hosts;
	size_t hosts_len;
	uint32_t next_query;
	struct lookup lookups[RESOLVER_MAX_INFLIGHT];
	struct cached cache[RESOLVER_CACHE];
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

static bool same_servers(const struct resolv_conf *a, const struct resolv_conf *b)
{
	if (a->n_servers != b->n_servers)
		return false;
	for (size_t i = 0; i < a->n_servers; i++)
		if (!endpoint_eq(&a->servers[i], &b->servers[i]))
			return false;
	return true;
}

/* Other servers may know other names, so what the old ones said is forgotten. */
void resolver_set_resolv_conf(struct resolver *r, const char *text, size_t len)
{
	struct resolv_conf conf;

	resolv_conf_parse(&conf, text, len);
	if (!same_servers(&conf, &r->conf))
		memset(r->cache, 0, sizeof(r->cache));
	r->conf = conf;
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

/* A query that nobody took yet has no socket to close. */
static void close_query(struct question *q)
{
	if (q->query != 0 && !q->to_send)
		q->to_close = q->query;
	q->to_send = false;
	q->query = 0;
}

static void question_done(struct question *q)
{
	close_query(q);
	q->done = true;
	q->deadline_us = NEVER_US;
}

static struct cached *cache_find(struct resolver *r, const char *name, enum dns_type type,
				 uint64_t now_us)
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

static void cache_store(struct resolver *r, const struct lookup *l, const struct question *q,
			uint32_t ttl_s, uint64_t now_us)
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
	place->until_us = add_us(now_us, ttl_s * US_PER_S);
	place->used_us = now_us;
	memcpy(place->addresses, q->addresses, sizeof(place->addresses));
	place->n = q->n;
}

static void finish_if_done(struct lookup *l)
{
	if (l->questions[0].done && l->questions[1].done)
		l->state = LOOKUP_ANSWERED;
}

static uint32_t next_query(struct resolver *r)
{
	r->next_query++;
	if (r->next_query == 0)
		r->next_query = 1;
	return r->next_query;
}

/* Send to the next server; all have had their tries: the family has no answer. */
static void ask(struct resolver *r, struct lookup *l, struct question *q, uint64_t now_us)
{
	close_query(q);
	if (q->tries >= r->conf.attempts * r->conf.n_servers) {
		question_done(q);
		finish_if_done(l);
		return;
	}
	q->server = r->conf.servers[q->tries % r->conf.n_servers];
	q->tries++;
	q->id = (uint16_t)rng_u32(&r->cfg.rng);
	q->len = dns_query_write(q->data, sizeof(q->data), q->id, l->name, q->type);
	q->query = next_query(r);
	q->to_send = true;
	q->deadline_us = add_us(now_us, r->conf.timeout_s * US_PER_S);
}

static struct lookup *free_lookup(struct resolver *r)
{
	for (size_t i = 0; i < RESOLVER_MAX_INFLIGHT; i++)
		if (r->lookups[i].state == LOOKUP_FREE)
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

/* From the cache or to the servers. */
static void begin(struct resolver *r, struct lookup *l, struct question *q, enum dns_type type,
		  uint64_t now_us)
{
	const struct cached *c = cache_find(r, l->name, type, now_us);

	q->type = type;
	if (c) {
		memcpy(q->addresses, c->addresses, sizeof(q->addresses));
		q->n = c->n;
		question_done(q);
	} else {
		ask(r, l, q, now_us);
	}
}

bool resolver_lookup(struct resolver *r, const char *name, uint64_t token, uint64_t now_us)
{
	struct lookup *l = free_lookup(r);
	uint8_t probe[DNS_MAX_QUERY];
	size_t len = strlen(name);

	if (len > 0 && name[len - 1] == '.')
		len--;
	if (!l || len == 0 || len >= DNS_NAME_MAX)
		return false;
	memset(l, 0, sizeof(*l));
	memcpy(l->name, name, len);
	l->state = LOOKUP_ASKING;
	l->token = token;
	if (known_locally(r, l) || dns_query_write(probe, sizeof(probe), 0, l->name, DNS_A) == 0) {
		l->state = LOOKUP_ANSWERED;
		return true;
	}
	begin(r, l, &l->questions[0], DNS_A, now_us);
	begin(r, l, &l->questions[1], DNS_AAAA, now_us);
	finish_if_done(l);
	return true;
}

static struct question *question_of(struct resolver *r, uint32_t query, struct lookup **lookup)
{
	for (size_t i = 0; i < RESOLVER_MAX_INFLIGHT && query != 0; i++) {
		for (size_t k = 0; k < N_TYPES && r->lookups[i].state == LOOKUP_ASKING; k++) {
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

	if (!q || q->to_send || !is_server(&q->server, src))
		return;
	if (!dns_answer_read(&answer, buf, len, q->id, l->name, q->type))
		return;
	if ((answer.rcode != 0 && answer.rcode != RCODE_NXDOMAIN) ||
	    (answer.truncated && answer.n == 0)) {
		ask(r, l, q, now_us);
		return;
	}
	memcpy(q->addresses, answer.addresses, sizeof(q->addresses));
	q->n = answer.n;
	question_done(q);
	cache_store(r, l, q, answer.ttl_s, now_us);
	finish_if_done(l);
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

		for (size_t k = 0; k < N_TYPES && l->state == LOOKUP_ASKING; k++)
			if (!l->questions[k].done && l->questions[k].deadline_us <= now_us)
				ask(r, l, &l->questions[k], now_us);
	}
}

uint64_t resolver_deadline(const struct resolver *r)
{
	uint64_t at = NEVER_US;

	for (size_t i = 0; i < RESOLVER_MAX_INFLIGHT; i++)
		for (size_t k = 0; k < N_TYPES && r->lookups[i].state == LOOKUP_ASKING; k++)
			at = min_u64(at, r->lookups[i].questions[k].deadline_us);
	return at;
}

static bool question_out(struct question *q, struct resolver_out *out)
{
	if (q->to_close != 0) {
		out->kind = RESOLVER_OUT_CLOSE;
		out->query = q->to_close;
		q->to_close = 0;
		return true;
	}
	if (!q->to_send)
		return false;
	out->kind = RESOLVER_OUT_QUERY;
	out->query = q->query;
	out->server = q->server;
	out->data = q->data;
	out->len = q->len;
	q->to_send = false;
	return true;
}

/* An IPv4 address in IPv6 clothes is of no use to a socket of IPv6 only. */
static void answer_out(struct lookup *l, struct resolver_out *out)
{
	out->kind = RESOLVER_OUT_ANSWER;
	out->token = l->token;
	for (size_t k = 0; k < N_TYPES; k++)
		for (size_t i = 0; i < l->questions[k].n && out->n < RESOLVER_MAX_ADDRESSES; i++)
			out->addresses[out->n++] = ip_unmap(&l->questions[k].addresses[i]);
	l->state = LOOKUP_FREE;
}

bool resolver_poll(struct resolver *r, struct resolver_out *out)
{
	memset(out, 0, sizeof(*out));
	for (size_t i = 0; i < RESOLVER_MAX_INFLIGHT; i++) {
		struct lookup *l = &r->lookups[i];

		if (l->state == LOOKUP_FREE)
			continue;
		for (size_t k = 0; k < N_TYPES; k++)
			if (question_out(&l->questions[k], out))
				return true;
		if (l->state == LOOKUP_ANSWERED) {
			answer_out(l, out);
			return true;
		}
	}
	return false;
}
