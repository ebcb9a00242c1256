/*
 * The resolver and its cache under an arbitrary sequence of events: lookups, answers true and
 * false, failing sockets, time, other configuration, another network, outputs taken late. Each
 * event is a byte that says which, then its parameters.
 *
 * Always: exchanges are opened once, closed once and bounded; every lookup is answered exactly
 * once; no deadline passes by; and when nobody answers any more, all lookups end.
 */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/defs.h"
#include "dns/message.h"
#include "dns/resolver.h"
#include "packet/bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum event {
	EVENT_LOOKUP,
	EVENT_ANSWER,
	EVENT_RAW,
	EVENT_FAIL,
	EVENT_WAIT,
	EVENT_DUE,
	EVENT_CONF,
	EVENT_HOSTS,
	EVENT_TAKE,
	EVENT_RESTART,
	EVENTS,
};

enum {
	SOCKETS = 2 * RESOLVER_MAX_INFLIGHT,
	MAX_EVENTS = 2000,
	QUERY_MIN = 17
};

struct socket {
	uint32_t query; /* 0: free */
	bool tcp;
	struct endpoint server;
	uint8_t data[DNS_MAX_QUERY];
	size_t len;
};

struct run {
	struct resolver *r;
	uint64_t now_us, next_token;
	struct socket sockets[SOCKETS];
	uint64_t waiting[RESOLVER_MAX_INFLIGHT]; /* tokens, 0: none */
};

static struct socket *socket_of(struct run *run, uint32_t query)
{
	for (size_t i = 0; i < SOCKETS; i++)
		if (run->sockets[i].query == query)
			return &run->sockets[i];
	return NULL;
}

static uint64_t *waiting_of(struct run *run, uint64_t token)
{
	for (size_t i = 0; i < RESOLVER_MAX_INFLIGHT; i++)
		if (run->waiting[i] == token)
			return &run->waiting[i];
	return NULL;
}

static void opened(struct run *run, const struct resolver_out *out)
{
	const struct dns_exchange *x = &out->exchange;
	struct socket *s = socket_of(run, 0);

	BUG_ON(x->id == 0 || socket_of(run, x->id) || !s);
	BUG_ON(x->len < QUERY_MIN || x->len > DNS_MAX_QUERY || x->server.port != 53);
	s->query = x->id;
	s->tcp = x->tcp;
	s->server = x->server;
	s->len = x->len;
	memcpy(s->data, x->data, x->len);
}

static void answered(struct run *run, const struct resolver_out *out)
{
	uint64_t *waiting = waiting_of(run, out->token);

	BUG_ON(!waiting || out->token == 0 || out->n > RESOLVER_MAX_ADDRESSES);
	*waiting = 0;
	for (size_t i = 0; i < out->n; i++)
		BUG_ON(ip_len(&out->addresses[i]) == 0 || ip_is_v4_mapped(&out->addresses[i]));
}

static bool take(struct run *run)
{
	struct resolver_out out;
	struct socket *s;

	if (!resolver_poll(run->r, &out))
		return false;
	switch (out.kind) {
	case RESOLVER_OUT_QUERY:
		opened(run, &out);
		break;
	case RESOLVER_OUT_CLOSE:
		s = socket_of(run, out.id);
		BUG_ON(out.id == 0 || !s);
		s->query = 0;
		break;
	case RESOLVER_OUT_ANSWER:
		answered(run, &out);
		break;
	}
	return true;
}

static void take_all(struct run *run)
{
	while (take(run))
		;
}

static void lookup_event(struct run *run, struct reader *r)
{
	static const char *const names[] = {"a.example", "B.example.", "192.0.2.1", "2001:db8::1",
					    "",          "a..b",       "c"};
	uint8_t which = rd_u8(r);
	const char *name = names[which % ARRAY_LEN(names)];
	char many[] = "n00.example";
	uint64_t token = ++run->next_token;

	if (which & 0x80) {
		many[1] = (char)('0' + (which >> 4 & 7));
		many[2] = (char)('0' + which % 10);
		name = many;
	}
	if (resolver_lookup(run->r, name, token, run->now_us)) {
		uint64_t *place = waiting_of(run, 0);

		BUG_ON(!place);
		*place = token;
	}
}

static struct socket *any_socket(struct run *run, struct reader *r)
{
	struct socket *s = &run->sockets[rd_u8(r) % SOCKETS];

	return s->query != 0 ? s : NULL;
}

static void reply(struct run *run, const struct socket *s, const struct endpoint *src,
		  const uint8_t *buf, size_t len)
{
	const struct dns_reply r = {
	    .id = s->query, .tcp = s->tcp, .src = *src, .data = buf, .len = len};

	resolver_reply(run->r, &r, run->now_us);
}

static void fail_event(struct run *run, const struct socket *s)
{
	const struct dns_reply r = {.id = s ? s->query : 0, .failed = true};

	resolver_reply(run->r, &r, run->now_us);
}

/* The server's answer, with one address record or none; what the flags say may be wrong about it.
 */
static void answer_event(struct run *run, struct reader *r)
{
	enum {
		OTHER_PORT = 1,
		OTHER_ID = 2,
		RECORD = 4,
		TRUNCATED = 8,
		ANSWERED = 0x80,
		RECURSION = 0x80,
		OPT_LEN = 11
	};
	struct socket *s = any_socket(run, r);
	uint8_t flags = rd_u8(r), ttl = rd_u8(r), buf[DNS_MAX_QUERY + 64] = {0};
	struct writer w = writer_of(buf, sizeof(buf));
	struct endpoint src;
	size_t len;
	bool v6;

	if (!s)
		return;
	src = s->server;
	src.port = (uint16_t)(src.port + (flags & OTHER_PORT));
	len = s->len - (s->data[11] > 0 ? OPT_LEN : 0);
	v6 = s->data[len - 3] == DNS_AAAA;
	wr_bytes(&w, s->data, len);
	buf[1] ^= flags & OTHER_ID;
	buf[2] |= ANSWERED | (flags & TRUNCATED ? 2 : 0);
	buf[3] |= flags >> 4 | (ttl & 1 ? RECURSION : 0);
	buf[7] = flags & RECORD ? 1 : 0;
	buf[11] = 0;
	if (flags & RECORD) {
		wr_u16(&w, 0xc00c);
		wr_u16(&w, v6 ? DNS_AAAA : DNS_A);
		wr_u16(&w, 1);
		wr_u32(&w, ttl);
		wr_u16(&w, v6 ? 16 : 4);
		wr_zero(&w, v6 ? 10 : 0);
		wr_u16(&w, 0xffff);
		wr_u32(&w, 0xc0000201);
		if (!v6)
			w.written -= 2;
	}
	reply(run, s, &src, buf, w.written);
}

static void raw_event(struct run *run, struct reader *r)
{
	struct socket *s = any_socket(run, r);
	uint8_t wanted = rd_u8(r);
	size_t n = min_size(wanted, r->left);
	const uint8_t *buf = rd_bytes(r, n);

	if (s && buf)
		reply(run, s, &s->server, buf, n);
}

static void wait_event(struct run *run, uint64_t us)
{
	run->now_us += us;
	resolver_timeout(run->r, run->now_us);
	BUG_ON(resolver_deadline(run->r) <= run->now_us);
}

static void text_event(struct run *run, struct reader *r,
		       void (*set)(struct resolver *, const char *, size_t))
{
	uint8_t wanted = rd_u8(r);
	size_t n = min_size(wanted, r->left);
	const uint8_t *text = rd_bytes(r, n);

	set(run->r, (const char *)text, n);
}

static void due(struct run *run)
{
	uint64_t at = resolver_deadline(run->r);

	BUG_ON(at < run->now_us);
	if (at != NEVER_US)
		wait_event(run, at - run->now_us);
}

static void set_resolv_conf(struct resolver *r, const char *text, size_t len)
{
	(void)resolver_set_resolv_conf(r, text, len);
}

static void event(struct run *run, struct reader *r)
{
	switch ((enum event)(rd_u8(r) % EVENTS)) {
	case EVENT_LOOKUP:
		lookup_event(run, r);
		break;
	case EVENT_ANSWER:
		answer_event(run, r);
		break;
	case EVENT_RAW:
		raw_event(run, r);
		break;
	case EVENT_FAIL:
		fail_event(run, any_socket(run, r));
		break;
	case EVENT_WAIT:
		wait_event(run, (uint64_t)rd_u16(r) * US_PER_MS);
		break;
	case EVENT_DUE:
		due(run);
		break;
	case EVENT_CONF:
		text_event(run, r, set_resolv_conf);
		break;
	case EVENT_HOSTS:
		text_event(run, r, resolver_set_hosts);
		break;
	case EVENT_RESTART:
		resolver_restart(run->r, run->now_us);
		break;
	case EVENT_TAKE:
	case EVENTS:
		(void)take(run);
		break;
	}
}

/* Nobody answers: as many time-outs as there can be tries, and one wait for each name. */
static void run_out(struct run *run)
{
	take_all(run);
	for (int i = 0;
	     i < (2 * 8 * 5 + 1) * RESOLVER_MAX_INFLIGHT && resolver_deadline(run->r) != NEVER_US;
	     i++) {
		due(run);
		take_all(run);
	}
	for (size_t i = 0; i < SOCKETS; i++)
		BUG_ON(run->sockets[i].query != 0);
	for (size_t i = 0; i < RESOLVER_MAX_INFLIGHT; i++)
		BUG_ON(run->waiting[i] != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct reader r = reader_of(data, len);
	struct resolver_config cfg = {.log = NULL};
	struct rng_seeded seed;
	struct run *run;
	bool lazy;

	if (sodium_init() < 0)
		return 0;
	run = calloc(1, sizeof(*run));
	BUG_ON(!run);
	run->now_us = 1000 * US_PER_S;
	cfg.rng = rng_from_seed(&seed, 1);
	run->r = resolver_new(&cfg);
	BUG_ON(!run->r);
	lazy = rd_u8(&r) & 1;
	for (unsigned i = 0; r.left > 0 && i < MAX_EVENTS; i++) {
		event(run, &r);
		if (!lazy)
			take_all(run);
	}
	run_out(run);
	resolver_free(run->r);
	free(run);
	return 0;
}
