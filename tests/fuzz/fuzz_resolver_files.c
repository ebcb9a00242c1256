/*
 * resolv.conf and hosts of any content. (dns/files.h)
 *
 * Input: one byte; even: the rest is resolv.conf; odd: a name up to the first line feed, then the
 * hosts file.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/defs.h"
#include "dns/files.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_conf(const struct resolv_conf *conf)
{
	BUG_ON(conf->n_servers == 0 || conf->n_servers > RESOLV_MAX_SERVERS);
	BUG_ON(conf->timeout_s == 0 || conf->timeout_s > RESOLV_TIMEOUT_MAX_S);
	BUG_ON(conf->attempts == 0 || conf->attempts > RESOLV_ATTEMPTS_MAX);
	for (size_t i = 0; i < conf->n_servers; i++) {
		const struct endpoint *ep = &conf->servers[i];

		BUG_ON(ep->port != RESOLV_PORT ||
		       (ep->ip.family != IP_V4 && ep->ip.family != IP_V6));
		BUG_ON(ip_is_unspecified(&ep->ip) || ip_is_multicast(&ep->ip) ||
		       ip_is_v4_mapped(&ep->ip));
		BUG_ON(ep->ip.family == IP_V6 && ip_is_link_local(&ep->ip) && ep->scope == 0);
	}
}

/* What was read, written down plainly, reads the same. */
static void check_round_trip(const struct resolv_conf *conf)
{
	char text[2048], ip[IP_TEXT_MAX];
	struct resolv_conf back;
	size_t n = 0;

	for (size_t i = 0; i < conf->n_servers; i++) {
		ip_format(&conf->servers[i].ip, ip);
		n += (size_t)snprintf(text + n, sizeof(text) - n, "nameserver %s", ip);
		if (conf->servers[i].scope != 0)
			n += (size_t)snprintf(text + n, sizeof(text) - n, "%%%u",
					      conf->servers[i].scope);
		n += (size_t)snprintf(text + n, sizeof(text) - n, "\n");
	}
	n += (size_t)snprintf(text + n, sizeof(text) - n, "options timeout:%u attempts:%u\n",
			      conf->timeout_s, conf->attempts);
	resolv_conf_parse(&back, text, n);
	BUG_ON(back.n_servers != conf->n_servers);
	BUG_ON(back.timeout_s != conf->timeout_s || back.attempts != conf->attempts);
	for (size_t i = 0; i < back.n_servers; i++)
		BUG_ON(!endpoint_eq(&back.servers[i], &conf->servers[i]));
}

static void check_hosts(const char *text, size_t len, const char *name)
{
	enum {
		MAX = 8
	};
	struct ip_addr all[MAX], some[MAX];
	size_t n = hosts_lookup(text, len, name, all, MAX), fewer;

	BUG_ON(n > MAX);
	for (size_t i = 0; i < n; i++) {
		BUG_ON(all[i].family != IP_V4 && all[i].family != IP_V6);
		for (size_t k = 0; k < i; k++)
			BUG_ON(ip_eq(&all[i], &all[k]));
	}
	/* A smaller limit gives the first of them. */
	fewer = hosts_lookup(text, len, name, some, MAX / 2);
	BUG_ON(fewer != min_size(n, MAX / 2));
	for (size_t i = 0; i < fewer; i++)
		BUG_ON(!ip_eq(&all[i], &some[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const char *text = (const char *)data + 1, *eol;
	struct resolv_conf conf;
	char *name;

	if (len < 2)
		return 0;
	len--;
	if ((data[0] & 1) == 0) {
		resolv_conf_parse(&conf, text, len);
		check_conf(&conf);
		check_round_trip(&conf);
		return 0;
	}
	eol = memchr(text, '\n', len);
	if (!eol)
		return 0;
	name = strndup(text, (size_t)(eol - text));
	BUG_ON(!name);
	check_hosts(eol + 1, len - (size_t)(eol + 1 - text), name);
	free(name);
	return 0;
}
