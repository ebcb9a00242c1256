/*
 * The sockets that the helper makes, by kind, and every option that it ever sets, in one table:
 * sockets.c applies it, sandbox.c allows it and nothing else.
 */
#ifndef PRIVILEGED_SOCKETS_H
#define PRIVILEGED_SOCKETS_H

#include <stdint.h>

/* Each with its neighbour for IPv6, one bit further. */
enum sockets_kind {
	SOCKETS_PEER = 1,
	SOCKETS_DNS = 4,
	SOCKETS_TCP = 16,
	SOCKETS_LISTENER = 64,
	SOCKETS_LOOKUP = 256,
	SOCKETS_EVENTS = 512,
};

struct sockets_option {
	int level;
	int name;
	uint32_t value; /* 0: the buffer size that the policy states */
	uint16_t kinds; /* bits of enum sockets_kind; 0: set elsewhere */
};

enum {
	SOCKETS_OPTIONS = 22
};

extern const struct sockets_option sockets_options[SOCKETS_OPTIONS];

#endif
