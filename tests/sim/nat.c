#include "nat.h"

#include <stdlib.h>

void nat_free(struct nat *n)
{
	for (size_t i = 0; i < n->n; i++)
		free(n->mappings[i].remotes);
	free(n->mappings);
	n->mappings = NULL;
	n->n = n->cap = 0;
}

static struct endpoint key_of(enum nat_kind kind, const struct endpoint *ep)
{
	struct endpoint key = {.port = 0};

	if (kind != NAT_INDEPENDENT)
		key.ip = ep->ip;
	if (kind == NAT_ADDRESS_PORT)
		key.port = ep->port;
	return key;
}

static bool is_live(const struct nat *n, const struct nat_mapping *m, uint64_t now_us)
{
	return m->last_us + n->timeout_us > now_us;
}

static struct nat_mapping *find(struct nat *n, const struct endpoint *inside,
				const struct endpoint *key, uint64_t now_us)
{
	for (size_t i = 0; i < n->n; i++)
		if (endpoint_eq(&n->mappings[i].inside, inside) &&
		    endpoint_eq(&n->mappings[i].key, key) && is_live(n, &n->mappings[i], now_us))
			return &n->mappings[i];
	return NULL;
}

/* A dead mapping's place, or a new one. */
static struct nat_mapping *place(struct nat *n, uint64_t now_us)
{
	for (size_t i = 0; i < n->n; i++)
		if (!is_live(n, &n->mappings[i], now_us)) {
			free(n->mappings[i].remotes);
			return &n->mappings[i];
		}
	if (n->n == n->cap) {
		n->cap = n->cap == 0 ? 8 : 2 * n->cap;
		n->mappings = reallocarray(n->mappings, n->cap, sizeof(*n->mappings));
		BUG_ON(!n->mappings);
	}
	return &n->mappings[n->n++];
}

static void admit(struct nat_mapping *m, const struct endpoint *dst, uint64_t now_us)
{
	unsigned oldest = 0;

	for (unsigned i = 0; i < m->n_remotes; i++) {
		if (endpoint_eq(&m->remotes[i].at, dst)) {
			m->remotes[i].last_us = now_us;
			return;
		}
		if (m->remotes[i].last_us < m->remotes[oldest].last_us)
			oldest = i;
	}
	if (m->n_remotes == m->cap_remotes && m->cap_remotes < NAT_REMOTES) {
		m->cap_remotes = m->cap_remotes == 0 ? 8 : 2 * m->cap_remotes;
		m->remotes = reallocarray(m->remotes, m->cap_remotes, sizeof(*m->remotes));
		BUG_ON(!m->remotes);
	}
	if (m->n_remotes < m->cap_remotes)
		oldest = m->n_remotes++;
	m->remotes[oldest] = (struct nat_remote){.at = *dst, .last_us = now_us};
}

struct endpoint nat_out(struct nat *n, const struct endpoint *inside, const struct endpoint *dst,
			uint64_t now_us)
{
	bool translates = n->external.family != IP_NONE;
	struct endpoint key = key_of(translates ? n->mapping : NAT_INDEPENDENT, dst);
	struct nat_mapping *m = find(n, inside, &key, now_us);

	if (!m) {
		m = place(n, now_us);
		*m = (struct nat_mapping){.inside = *inside, .outside = *inside, .key = key};
		if (translates) {
			m->outside.ip = n->external;
			m->outside.port = n->next_port++;
			if (n->next_port == 0)
				n->next_port = 20000;
		}
	}
	m->last_us = now_us;
	admit(m, dst, now_us);
	return m->outside;
}

static bool passes(const struct nat *n, const struct nat_mapping *m, const struct endpoint *src,
		   uint64_t now_us)
{
	struct endpoint want = key_of(n->filtering, src);

	for (unsigned i = 0; i < m->n_remotes; i++) {
		struct endpoint has = key_of(n->filtering, &m->remotes[i].at);

		if (m->remotes[i].last_us + n->timeout_us > now_us && endpoint_eq(&has, &want))
			return true;
	}
	return false;
}

bool nat_in(struct nat *n, const struct endpoint *outside, const struct endpoint *src,
	    uint64_t now_us, struct endpoint *inside)
{
	for (size_t i = 0; i < n->n; i++) {
		struct nat_mapping *m = &n->mappings[i];

		if (!endpoint_eq(&m->outside, outside) || !is_live(n, m, now_us))
			continue;
		if (!passes(n, m, src, now_us))
			return false;
		*inside = m->inside;
		return true;
	}
	return false;
}

void nat_rebind(struct nat *n)
{
	for (size_t i = 0; i < n->n; i++)
		free(n->mappings[i].remotes);
	n->n = 0;
	n->next_port = (uint16_t)(n->next_port + 1000);
	if (n->next_port < 20000)
		n->next_port = 20000;
}

bool nat_is_steady(const struct nat *n)
{
	return !n || n->external.family == IP_NONE || n->mapping == NAT_INDEPENDENT;
}
