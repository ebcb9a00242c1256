/*
 * resolv.conf and hosts as texts. Pure functions; malformed lines are skipped. [resolv.conf(5),
 * hosts(5)]
 */
#ifndef DNS_FILES_H
#define DNS_FILES_H

#include "base/defs.h"
#include "packet/addr.h"

enum {
	RESOLV_MAX_SERVERS = 8,
	RESOLV_PORT = 53,
	RESOLV_TIMEOUT_S = 5, /* defaults and caps of resolv.conf(5) */
	RESOLV_TIMEOUT_MAX_S = 30,
	RESOLV_ATTEMPTS = 2,
	RESOLV_ATTEMPTS_MAX = 5,
};

struct resolv_conf {
	struct endpoint servers[RESOLV_MAX_SERVERS]; /* link-local ones with a numeric scope only */
	size_t n_servers;
	unsigned int timeout_s, attempts;
};

/* @text NULL: the file is missing, which means the server on this host. */
void resolv_conf_parse(struct resolv_conf *out, const char *text, size_t len);

/* All addresses of @name in a hosts file, case ignored; at most @max. */
size_t hosts_lookup(const char *text, size_t len, const char *name, struct ip_addr *out,
		    size_t max);

#endif
