/*
 * The portal's URL: parsing the configured one, building the request target. [spec portal 3.1]
 */
#ifndef PORTAL_URL_H
#define PORTAL_URL_H

#include "base/defs.h"

struct portal_url {
	bool tls;
	char host[256]; /* without brackets */
	uint16_t port;
	char path[512]; /* base path without trailing slash, may be empty */
};

/* http/ws/https/wss; false for other schemes, no host, bad port. Query and fragment are dropped,
 * user info refused. */
MUST_CHECK bool portal_url_parse(struct portal_url *out, const char *text);

/* The host is "localhost" or a literal of the loopback or link-local ranges. */
bool portal_url_is_local(const struct portal_url *url);

/*
 * "<path>/gateway/websocket?external_id=..&name=..&public_key=.." form-encoded. Returns the length,
 * 0 if @cap is too small.
 */
size_t portal_url_target(const struct portal_url *url, const char *external_id, const char *name,
			 const uint8_t public_key[32], char *out, size_t cap);

#endif
