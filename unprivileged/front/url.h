/*
 * The portal's URL as far as the start needs it: is it one, which host and which port. [spec
 * portal 3.1]
 *
 * The whole URL goes to the worker as given; the helper is only told the port.
 */
#ifndef FRONT_URL_H
#define FRONT_URL_H

#include "base/defs.h"

enum {
	URL_HOST_SIZE = 256
};

struct url {
	char host[URL_HOST_SIZE]; /* without brackets */
	uint16_t port;            /* explicit, else 443, or 80 for ws and http */
	bool tls;
	/* The host is a literal of the loopback or link-local ranges, or "localhost". */
	bool local;
};

/*
 * Read scheme (ws, wss, http, https in any case), host and port. User names are refused: a password
 * there would end up in logs. False, with *out untouched, when it is no such URL.
 */
MUST_CHECK bool url_parse(const char *text, struct url *out);

#endif
