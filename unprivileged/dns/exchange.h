/*
 * One question to one name server over one fresh socket: what the resolver, the forwarder and the
 * ranking ask of their owner, and what comes back. Plain values.
 *
 * UDP: a pooled socket that is used for this question only, so that its source port is fresh. TCP:
 * a connection for this question only; the owner adds and takes off the two bytes of length. [RFC
 * 7766]
 */
#ifndef DNS_EXCHANGE_H
#define DNS_EXCHANGE_H

#include "base/defs.h"
#include "packet/addr.h"

struct dns_exchange {
	uint32_t id; /* the asker's, never 0 and never one that is still open */
	bool tcp;
	struct endpoint server;
	const uint8_t *data; /* the message; valid until the next call on the asker */
	size_t len;
};

/* One message that came on the exchange's socket, from whoever; or the end of the exchange. */
struct dns_reply {
	uint32_t id;
	bool failed; /* not sent, refused or closed: nothing more will come */
	bool tcp;
	struct endpoint src; /* UDP: to be compared; TCP: the server */
	const uint8_t *data;
	size_t len;
};

/* Did @src answer for @server? A link-local server that was named without scope answers with one.
 */
static inline bool dns_is_from(const struct endpoint *server, const struct endpoint *src)
{
	return server->port == src->port && ip_eq(&server->ip, &src->ip) &&
	       (server->scope == src->scope || (server->scope == 0 && ip_is_link_local(&src->ip)));
}

#endif
