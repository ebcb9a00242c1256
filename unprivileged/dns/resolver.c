#include "dns/resolver.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "dns/cache.h"
#include "dns/files.h"
#include "dns/message.h"

enum {
	N_TYPES = 2,
	/* How long one family is taken to have no address when nobody answers for it while the
	 * other's addresses are there: longer waits would not bring it. [RFC 9520] */
	FAILED_FAMILY_TTL_S = 30,
	RANDOM_IDS = 32, /* drawn at a time: each draw is a system call */
};

static_assert(RESOLVER_MAX_SERVERS == (int)RESOLV_MAX_SERVERS, "one limit in two headers");
static_assert(RESOLVER_MAX_ADDRESSES >= (int)DNS_MAX_ANSWERS, "one family's answer fits");

/* The question for one address family of a name. */
struct question {
	enum dns_type type;
	bool done, failed; /* failed: nobody answered */
	bool plain, tcp;   /* how the server is asked: without EDNS; over TCP */
	bool to_send;      /* the exchange waits for resolver_poll() */
	uint16_t id;
	uint32_t exchange; /* 0: none */
	struct endpoint server;
	unsigned int tries; /* in all, over all servers */
	uint64_t deadline_us;
	uint8_t data[DNS_MAX_QUERY];
	size_t len;
	/* Before it is done: what a truncated answer held, in case nobody gives a whole one. */
	struct ip_addr addresses[DNS_MAX_ANSWERS];
	size_t n;
	const char *why; /* there is no address */
};

enum lookup_state {
	LOOKUP_FREE,
	LOOKUP_ASKING,
	LOOKUP_ANSWERED, /* resolver_poll() has not taken it yet */
	LOOKUP_LATE,     /* it has; one family is still asked for, for the cache */
};

struct lookup {
	enum lookup_state state;
	uint64_t token;
	char name[DNS_NAME_MAX];
	size_t first;        /* the server that is asked first */
	uint64_t give_up_us; /* on the other family, when one has addresses */
	struct question questions[N_TYPES];
};

struct resolver {
	struct resolver_config cfg;
	struct resolv_conf conf;
	/* Until when a server that did not answer is not asked first. */
	uint64_t silent_until_us[RESOLVER_MAX_SERVERS];
	char *hosts;
	size_t hosts_len;
	struct dns_cache *cache;
	uint16_t ids[RANDOM_IDS];
	size_t n_ids; /* not used yet */
	uint32_t last_exchange;
	/* To be ended. All are taken before the next one starts, so there are never more. */
	uint32_t closing[N_TYPES * RESOLVER_MAX_INFLIGHT];
	size_t n_closing;
	struct lookup lookups[RESOLVER_MAX_INFLIGHT];
};

struct resolver *resolver_new(const struct resolver_config *cfg)
{
	struct resolver *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->cfg = *cfg;
	r->cache = dns_cache_new(RESOLVER_CACHE);
	if (!r->cache) {
		free(r);
		return NULL;
	}
	resolv_conf_parse(&r->conf, NULL, 0);
	return r;
}

void resolver_free(struct resolver *r)
{
	if (!r)
		return;
	dns_cache_free(r->cache);
	free(r->hosts);
	free(r);
}

/* --- the two files --- */

static bool same_servers(const struct resolv_conf *a, const struct resolv_conf *b)
{
	if (a->n_servers != b->n_servers)
		return false;
	for (size_t i = 0; i < a->n_servers; i++)
		if (!endpoint_eq(&a->servers[i], &b->servers[i]))
			return false;
	return true;
}

/* What other servers said, and who of them was silent. */
static void forget(struct resolver *r)
{
	dns_cache_clear(r->cache);
	memset(r->silent_until_us, 0, sizeof(r->silent_until_us));
}

/* Other servers may know other names. */
bool resolver_set_resolv_conf(struct resolver *r, const char *text, size_t len)
{
	struct resolv_conf conf;
	bool others;

	resolv_conf_parse(&conf, text, len);
	others = !same_servers(&conf, &r->conf);
	if (others)
		forget(r);
	r->conf = conf;
	return others;
}

void resolver_set_hosts(struct resolver *r, const char *text, size_t len)
{
	if (text && r->hosts && len == r->hosts_len && memcmp(text, r->hosts, len) == 0)
		return;
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

/* --- servers that answer, and those that do not --- */

static size_t first_server(const struct resolver *r, uint64_t now_us)
{
	for (size_t i = 0; i < r->conf.n_servers; i++)
		if (r->silent_until_us[i] <= now_us)
			return i;
	return 0;
}

/* @until_us 0: it has just answered. */
static void note_server(struct resolver *r, const struct endpoint *server, uint64_t until_us)
{
	for (size_t i = 0; i < r->conf.n_servers; i++)
		if (endpoint_eq(&r->conf.servers[i], server))
			r->silent_until_us[i] = until_us;
}

static void server_failed(struct resolver *r, const struct endpoint *server, uint64_t now_us)
{
	note_server(r, server, add_us(now_us, RESOLVER_SILENT_S * US_PER_S));
}

/* --- one question --- */

/* One that nobody took yet was never started. */
static void close_exchange(struct resolver *r, struct question *q)
{
	if (q->exchange != 0 && !q->to_send) {
		BUG_ON(r->n_closing == ARRAY_LEN(r->closing));
		r->closing[r->n_closing++] = q->exchange;
	}
	q->to_send = false;
	q->exchange = 0;
}

static void question_done(struct resolver *r, struct question *q)
{
	close_exchange(r, q);
	q->done = true;
	q->deadline_us = NEVER_US;
}

static uint16_t new_id(struct resolver *r)
{
	if (r->n_ids == 0) {
		rng_fill(&r->cfg.rng, r->ids, sizeof(r->ids));
		r->n_ids = RANDOM_IDS;
	}
	return r->ids[--r->n_ids];
}

/* Ask its server, with a new id and in a new exchange. */
static void ask(struct resolver *r, const struct lookup *l, struct question *q, uint64_t now_us)
{
	close_exchange(r, q);
	q->id = new_id(r);
	if (q->plain)
		q->len = dns_query_write_plain(q->data, sizeof(q->data), q->id, l->name, q->type);
	else
		q->len = dns_query_write(q->data, sizeof(q->data), q->id, l->name, q->type);
	if (++r->last_exchange == 0)
		r->last_exchange = 1;
	q->exchange = r->last_exchange;
	q->to_send = true;
	q->deadline_us = add_us(now_us, r->conf.timeout_s * US_PER_S);
}

/* @why: the last one gave no answer. All have had their tries: there is none. */
static void ask_next(struct resolver *r, const struct lookup *l, struct question *q,
		     const char *why, uint64_t now_us)
{
	size_t n = r->conf.n_servers;

	q->why = why;
	if (q->tries >= r->conf.attempts * n) {
		q->failed = true;
		question_done(r, q);
		return;
	}
	q->server = r->conf.servers[(l->first + q->tries) % n];
	q->tries++;
	q->plain = q->tcp = false;
	ask(r, l, q, now_us);
}

static const char *rcode_text(unsigned int rcode)
{
	switch (rcode) {
	case DNS_FORMERR:
		return "FORMERR";
	case DNS_SERVFAIL:
		return "SERVFAIL";
	case DNS_NOTIMP:
		return "NOTIMP";
	case DNS_REFUSED:
		return "REFUSED";
	default:
		return "error";
	}
}

static void keep(struct question *q, const struct dns_answer *answer)
{
	memcpy(q->addresses, answer->addresses, sizeof(q->addresses));
	q->n = answer->n;
	q->why = answer->rcode == DNS_NXDOMAIN ? "no such name" : "no address";
}

/* The server's own answer, whatever it is worth. */
static void take(struct resolver *r, const struct lookup *l, struct question *q,
		 const struct dns_answer *answer, uint64_t now_us)
{
	if ((answer->rcode == DNS_FORMERR || answer->rcode == DNS_BADVERS) && !q->plain) {
		q->plain = true;
		ask(r, l, q, now_us);
	} else if (answer->rcode != DNS_NOERROR && answer->rcode != DNS_NXDOMAIN) {
		ask_next(r, l, q, rcode_text(answer->rcode), now_us);
	} else if (answer->truncated && q->tcp) {
		ask_next(r, l, q, "truncated", now_us);
	} else if (answer->truncated) {
		keep(q, answer);
		q->tcp = true;
		ask(r, l, q, now_us);
	} else if (answer->referral) {
		ask_next(r, l, q, "referral", now_us);
	} else {
		keep(q, answer);
		question_done(r, q);
		dns_cache_store(r->cache, l->name, q->type, q->addresses, q->n, answer->ttl_s,
				now_us);
	}
}

/* --- one name --- */

static size_t addresses_of(const struct lookup *l)
{
	size_t n = 0;

	for (size_t k = 0; k < N_TYPES; k++)
		n += l->questions[k].done ? l->questions[k].n : 0;
	return n;
}

static bool all_done(const struct lookup *l)
{
	return l->questions[0].done && l->questions[1].done;
}

static void answered(struct resolver *r, struct lookup *l)
{
	l->state = LOOKUP_ANSWERED;
	if (addresses_of(l) == 0)
		log_at(r->cfg.log, LOG_DEBUG, "dns", "Name lookup failed", KV_STR("name", l->name),
		       KV_STR("ipv4", l->questions[0].why), KV_STR("ipv6", l->questions[1].why));
}

static void remember_failed_family(struct resolver *r, const struct lookup *l, uint64_t now_us)
{
	for (size_t k = 0; k < N_TYPES; k++) {
		const struct question *q = &l->questions[k];

		if (q->failed && q->n == 0 && addresses_of(l) > 0)
			dns_cache_store(r->cache, l->name, q->type, q->addresses, 0,
					FAILED_FAMILY_TTL_S, now_us);
	}
}

/* After every change of one of its questions. */
static void settle(struct resolver *r, struct lookup *l, uint64_t now_us)
{
	if (all_done(l))
		remember_failed_family(r, l, now_us);
	if (l->state == LOOKUP_LATE && all_done(l))
		l->state = LOOKUP_FREE;
	if (l->state != LOOKUP_ASKING)
		return;
	if (l->give_up_us == NEVER_US && addresses_of(l) > 0)
		l->give_up_us = add_us(now_us, RESOLVER_FAMILY_WAIT_MS * US_PER_MS);
	if (all_done(l) || l->give_up_us <= now_us)
		answered(r, l);
}

/* What needs no server: a literal, the hosts file, and what is no name at all. */
static bool known_locally(const struct resolver *r, struct lookup *l)
{
	struct question *q = &l->questions[0];
	uint8_t probe[DNS_MAX_QUERY];

	q->why = "not a name";
	if (ip_parse(&q->addresses[0], l->name, strlen(l->name)))
		q->n = 1;
	else
		q->n = hosts_lookup(r->hosts, r->hosts_len, l->name, q->addresses, DNS_MAX_ANSWERS);
	return q->n > 0 || dns_query_write(probe, sizeof(probe), 0, l->name, DNS_A) == 0;
}

/* From the cache or to the servers. */
static void begin_question(struct resolver *r, const struct lookup *l, struct question *q,
			   enum dns_type type, uint64_t now_us)
{
	const struct dns_cached *c = dns_cache_find(r->cache, l->name, type, now_us);

	q->type = type;
	if (c) {
		memcpy(q->addresses, c->addresses, sizeof(q->addresses));
		q->n = c->n;
		q->why = "no address, as the cache says";
		question_done(r, q);
	} else {
		ask_next(r, l, q, "no server", now_us);
	}
}

/* Nothing of it is under way. */
static void begin(struct resolver *r, struct lookup *l, uint64_t now_us)
{
	memset(l->questions, 0, sizeof(l->questions));
	l->state = LOOKUP_ASKING;
	l->give_up_us = NEVER_US;
	l->first = first_server(r, now_us);
	if (known_locally(r, l)) {
		question_done(r, &l->questions[0]);
		question_done(r, &l->questions[1]);
	} else {
		begin_question(r, l, &l->questions[0], DNS_A, now_us);
		begin_question(r, l, &l->questions[1], DNS_AAAA, now_us);
	}
	settle(r, l, now_us);
}

/* What goes on for the cache only gives way. */
static struct lookup *free_lookup(struct resolver *r)
{
	struct lookup *late = NULL;

	for (size_t i = 0; i < RESOLVER_MAX_INFLIGHT; i++) {
		if (r->lookups[i].state == LOOKUP_FREE)
			return &r->lookups[i];
		if (r->lookups[i].state == LOOKUP_LATE)
			late = &r->lookups[i];
	}
	for (size_t k = 0; late && k < N_TYPES; k++)
		close_exchange(r, &late->questions[k]);
	return late;
}

bool resolver_lookup(struct resolver *r, const char *name, uint64_t token, uint64_t now_us)
{
	size_t len = strlen(name);
	struct lookup *l;

	if (len > 0 && name[len - 1] == '.')
		len--;
	if (len == 0 || len >= DNS_NAME_MAX)
		return false;
	l = free_lookup(r);
	if (!l)
		return false;
	memset(l->name, 0, sizeof(l->name));
	memcpy(l->name, name, len);
	l->token = token;
	begin(r, l, now_us);
	return true;
}

void resolver_restart(struct resolver *r, uint64_t now_us)
{
	forget(r);
	for (size_t i = 0; i < RESOLVER_MAX_INFLIGHT; i++) {
		struct lookup *l = &r->lookups[i];

		for (size_t k = 0; k < N_TYPES && l->state != LOOKUP_FREE; k++)
			question_done(r, &l->questions[k]);
		if (l->state == LOOKUP_LATE)
			l->state = LOOKUP_FREE;
		else if (l->state == LOOKUP_ASKING)
			begin(r, l, now_us);
	}
}

/* --- what comes in --- */

static struct question *question_of(struct resolver *r, uint32_t exchange, struct lookup **lookup)
{
	for (size_t i = 0; i < RESOLVER_MAX_INFLIGHT && exchange != 0; i++) {
		for (size_t k = 0; k < N_TYPES && r->lookups[i].state != LOOKUP_FREE; k++) {
			if (r->lookups[i].questions[k].exchange == exchange) {
				*lookup = &r->lookups[i];
				return &r->lookups[i].questions[k];
			}
		}
	}
	return NULL;
}

void resolver_reply(struct resolver *r, const struct dns_reply *reply, uint64_t now_us)
{
	struct lookup *l;
	struct question *q = question_of(r, reply->id, &l);
	struct dns_answer answer;

	if (!q || q->to_send)
		return;
	if (reply->failed) {
		/* That TCP fails says nothing about UDP, which is asked first. */
		if (!q->tcp)
			server_failed(r, &q->server, now_us);
		ask_next(r, l, q, "unreachable", now_us);
		settle(r, l, now_us);
		return;
	}
	if (reply->tcp != q->tcp || (!q->tcp && !dns_is_from(&q->server, &reply->src)))
		return;
	if (!dns_answer_read(&answer, reply->data, reply->len, q->id, l->name, q->type))
		return;
	note_server(r, &q->server, 0);
	take(r, l, q, &answer, now_us);
	settle(r, l, now_us);
}

static void question_timeout(struct resolver *r, const struct lookup *l, struct question *q,
			     uint64_t now_us)
{
	if (q->done || q->deadline_us > now_us)
		return;
	if (!q->tcp)
		server_failed(r, &q->server, now_us);
	ask_next(r, l, q, "timed out", now_us);
}

void resolver_timeout(struct resolver *r, uint64_t now_us)
{
	for (size_t i = 0; i < RESOLVER_MAX_INFLIGHT; i++) {
		struct lookup *l = &r->lookups[i];

		if (l->state == LOOKUP_FREE)
			continue;
		for (size_t k = 0; k < N_TYPES; k++)
			question_timeout(r, l, &l->questions[k], now_us);
		settle(r, l, now_us);
	}
}

uint64_t resolver_deadline(const struct resolver *r)
{
	uint64_t at = NEVER_US;

	for (size_t i = 0; i < RESOLVER_MAX_INFLIGHT; i++) {
		const struct lookup *l = &r->lookups[i];

		if (l->state == LOOKUP_ASKING)
			at = min_u64(at, l->give_up_us);
		for (size_t k = 0; k < N_TYPES && l->state != LOOKUP_FREE; k++)
			at = min_u64(at, l->questions[k].deadline_us);
	}
	return at;
}

/* --- what goes out --- */

static void query_out(struct question *q, struct resolver_out *out)
{
	out->kind = RESOLVER_OUT_QUERY;
	out->exchange = (struct dns_exchange){
	    .id = q->exchange,
	    .tcp = q->tcp,
	    .server = q->server,
	    .data = q->data,
	    .len = q->len,
	};
	q->to_send = false;
}

/* An IPv4 address in IPv6 clothes is of no use to a socket of IPv6 only. */
static void answer_out(struct lookup *l, struct resolver_out *out)
{
	out->kind = RESOLVER_OUT_ANSWER;
	out->token = l->token;
	for (size_t k = 0; k < N_TYPES; k++) {
		const struct question *q = &l->questions[k];

		for (size_t i = 0; q->done && i < q->n && out->n < RESOLVER_MAX_ADDRESSES; i++)
			out->addresses[out->n++] = ip_unmap(&q->addresses[i]);
	}
	l->state = all_done(l) ? LOOKUP_FREE : LOOKUP_LATE;
}

static bool lookup_out(struct lookup *l, struct resolver_out *out)
{
	if (l->state == LOOKUP_FREE)
		return false;
	for (size_t k = 0; k < N_TYPES; k++) {
		if (l->questions[k].to_send) {
			query_out(&l->questions[k], out);
			return true;
		}
	}
	if (l->state == LOOKUP_ANSWERED)
		answer_out(l, out);
	return out->kind == RESOLVER_OUT_ANSWER;
}

bool resolver_poll(struct resolver *r, struct resolver_out *out)
{
	bool any = false;

	memset(out, 0, sizeof(*out));
	if (r->n_closing > 0) {
		out->kind = RESOLVER_OUT_CLOSE;
		out->id = r->closing[--r->n_closing];
		return true;
	}
	for (size_t i = 0; i < RESOLVER_MAX_INFLIGHT && !any; i++)
		any = lookup_out(&r->lookups[i], out);
	return any;
}
