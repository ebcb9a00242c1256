#include "dns/ranking.h"

#include <stdlib.h>
#include <string.h>

#include "dns/message.h"

static const char probe_name[] = "firezone.dev";

/* One server over one transport. */
struct probe {
	struct endpoint server;
	bool tcp;
	uint64_t rtt_us;   /* of the latest probe; 0: none has succeeded */
	uint64_t asked_us; /* when the latest probe began; 0: never */
	uint64_t due_us;   /* the next one */
	uint32_t exchange; /* under way; 0: none */
	bool to_send;
	uint16_t id;
	uint8_t data[DNS_MAX_QUERY];
	size_t len;
};

enum {
	MAX_PROBES = 2 * RANKING_MAX_SERVERS
};

struct ranking {
	struct rng rng;
	struct probe probes[MAX_PROBES];
	size_t n, n_to_send;
	uint64_t deadline_us; /* asked for at every wake-up of the worker */
	uint32_t last_exchange;
	uint32_t closing[2 * MAX_PROBES]; /* taken before the next round; more are never open */
	size_t n_closing;
};

struct ranking *ranking_new(const struct rng *rng)
{
	struct ranking *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->rng = *rng;
	r->deadline_us = NEVER_US;
	return r;
}

void ranking_free(struct ranking *r)
{
	free(r);
}

/* One that nobody took yet was never started. */
static void probe_close(struct ranking *r, struct probe *p)
{
	if (p->exchange != 0 && !p->to_send && r->n_closing < ARRAY_LEN(r->closing))
		r->closing[r->n_closing++] = p->exchange;
	r->n_to_send -= p->to_send;
	p->exchange = 0;
	p->to_send = false;
}

static void probe_begin(struct ranking *r, struct probe *p, uint64_t now_us)
{
	probe_close(r, p);
	p->asked_us = now_us;
	p->due_us = add_us(now_us, RANKING_INTERVAL_S * US_PER_S);
	p->id = (uint16_t)rng_u32(&r->rng);
	p->len = dns_query_write(p->data, sizeof(p->data), p->id, probe_name, DNS_A);
	if (++r->last_exchange == 0)
		r->last_exchange = 1;
	p->exchange = r->last_exchange;
	p->to_send = true;
	r->n_to_send++;
}

static void probe_failed(struct ranking *r, struct probe *p)
{
	probe_close(r, p);
	p->rtt_us = 0;
}

static void set_deadline(struct ranking *r)
{
	r->deadline_us = NEVER_US;
	for (size_t i = 0; i < r->n; i++) {
		const struct probe *p = &r->probes[i];
		uint64_t end_us = p->asked_us + RANKING_TIMEOUT_S * US_PER_S;

		r->deadline_us = min_u64(r->deadline_us, p->exchange != 0 ? end_us : p->due_us);
	}
}

void ranking_restart(struct ranking *r, uint64_t now_us)
{
	for (size_t i = 0; i < r->n; i++) {
		r->probes[i].rtt_us = 0;
		probe_begin(r, &r->probes[i], now_us);
	}
	set_deadline(r);
}

void ranking_set_servers(struct ranking *r, const struct endpoint *servers, size_t n,
			 uint64_t now_us)
{
	for (size_t i = 0; i < r->n; i++)
		probe_close(r, &r->probes[i]);
	memset(r->probes, 0, sizeof(r->probes));
	r->n = 0;
	for (size_t i = 0; i < n && i < RANKING_MAX_SERVERS; i++) {
		r->probes[r->n++] = (struct probe){.server = servers[i]};
		r->probes[r->n++] = (struct probe){.server = servers[i], .tcp = true};
	}
	ranking_restart(r, now_us);
}

void ranking_doubt(struct ranking *r, const struct endpoint *server, bool tcp, uint64_t now_us)
{
	for (size_t i = 0; i < r->n; i++) {
		struct probe *p = &r->probes[i];

		if (p->tcp == tcp && endpoint_eq(&p->server, server) && p->exchange == 0)
			p->due_us =
			    min_u64(p->due_us, p->asked_us + RANKING_DOUBT_S * US_PER_S > now_us
						   ? p->asked_us + RANKING_DOUBT_S * US_PER_S
						   : now_us);
	}
	set_deadline(r);
}

static bool is_from(const struct probe *p, const struct endpoint *src)
{
	return p->tcp || dns_is_from(&p->server, src);
}

void ranking_reply(struct ranking *r, const struct dns_reply *reply, uint64_t now_us)
{
	struct dns_answer answer;
	struct probe *p = NULL;

	for (size_t i = 0; i < r->n; i++)
		if (reply->id != 0 && r->probes[i].exchange == reply->id && !r->probes[i].to_send)
			p = &r->probes[i];
	if (!p || reply->tcp != p->tcp)
		return;
	if (reply->failed) {
		p->exchange = 0;
		p->rtt_us = 0;
		set_deadline(r);
		return;
	}
	if (!is_from(p, &reply->src) ||
	    !dns_answer_read(&answer, reply->data, reply->len, p->id, probe_name, DNS_A))
		return;
	probe_close(r, p);
	p->rtt_us = 0;
	if (answer.rcode == DNS_NOERROR)
		p->rtt_us = now_us > p->asked_us ? now_us - p->asked_us : 1;
	set_deadline(r);
}

void ranking_timeout(struct ranking *r, uint64_t now_us)
{
	for (size_t i = 0; i < r->n; i++) {
		struct probe *p = &r->probes[i];

		if (p->exchange != 0 && p->asked_us + RANKING_TIMEOUT_S * US_PER_S <= now_us)
			probe_failed(r, p);
		if (p->exchange == 0 && p->due_us <= now_us)
			probe_begin(r, p, now_us);
	}
	set_deadline(r);
}

uint64_t ranking_deadline(const struct ranking *r)
{
	return r->deadline_us;
}

bool ranking_poll(struct ranking *r, struct ranking_out *out)
{
	memset(out, 0, sizeof(*out));
	if (r->n_closing > 0) {
		out->kind = RANKING_OUT_CLOSE;
		out->id = r->closing[--r->n_closing];
		return true;
	}
	for (size_t i = 0; i < r->n && r->n_to_send > 0; i++) {
		struct probe *p = &r->probes[i];

		if (!p->to_send)
			continue;
		p->to_send = false;
		r->n_to_send--;
		out->kind = RANKING_OUT_QUERY;
		out->exchange = (struct dns_exchange){.id = p->exchange,
						      .tcp = p->tcp,
						      .server = p->server,
						      .data = p->data,
						      .len = p->len};
		return true;
	}
	return false;
}

size_t ranking_order(const struct ranking *r, bool tcp, struct endpoint out[RANKING_MAX_SERVERS])
{
	uint64_t rtts[RANKING_MAX_SERVERS];
	size_t n = 0;

	for (size_t i = 0; i < r->n; i++) {
		const struct probe *p = &r->probes[i];
		size_t at = n;

		if (p->tcp != tcp || p->rtt_us == 0)
			continue;
		for (; at > 0 && rtts[at - 1] > p->rtt_us; at--) {
			rtts[at] = rtts[at - 1];
			out[at] = out[at - 1];
		}
		rtts[at] = p->rtt_us;
		out[at] = p->server;
		n++;
	}
	return n;
}
