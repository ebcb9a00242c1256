/*
 * How this gateway presents itself: the User-Agent header and the default name. [spec
 * portal 2.3, 3.3]
 */
#ifndef FRONT_AGENT_H
#define FRONT_AGENT_H

#include "base/defs.h"

/* The release of the product that we stand in for: the portal chooses gateways by it. */
#define AGENT_VERSION "1.5.2"

/*
 * "Debian/12.0.0 gateway/1.5.2 (x86_64; 6.1.0-18-amd64)" from the text of an os-release file (@len
 * may be 0), the machine's architecture and the kernel's release. Only printable ASCII; cut to
 * @size.
 */
void agent_format(const char *os_release, size_t len, const char *arch, const char *kernel,
		  char *out, size_t size);

/* The same for this host. */
void agent_user_agent(char *out, size_t size);

/* @given unless NULL or empty, else the host's name if that is valid UTF-8, else a random UUID.
 * False: no room. */
MUST_CHECK bool agent_name(const char *given, char *out, size_t size);

/* Well-formed UTF-8. [RFC 3629 section 4] */
bool agent_is_utf8(const char *text);

#endif
