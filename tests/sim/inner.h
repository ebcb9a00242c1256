/*
 * The packets inside the tunnel: UDP with a sequence number and a sum over the payload, so that
 * whoever gets one knows whether it is whole. Resources with an odd number are reached by IPv6.
 */
#ifndef TESTS_SIM_INNER_H
#define TESTS_SIM_INNER_H

#include "packet/ip.h"

enum {
	INNER_MIN_PAYLOAD = 24,
};

struct inner {
	unsigned client, resource;
	bool reply; /* from the resource to the client */
	uint32_t seq;
	size_t payload; /* bytes, at least INNER_MIN_PAYLOAD */
};

/* Length of the packet, 0 when it does not fit. */
size_t inner_write(uint8_t *out, size_t cap, const struct inner *in);

enum inner_verdict {
	INNER_OK,
	INNER_FOREIGN, /* none of ours */
	INNER_CHANGED
};
enum inner_verdict inner_read(struct inner *out, uint8_t *data, size_t len);

struct ip_addr inner_client_address(unsigned client, uint8_t family);
struct ip_addr inner_resource_address(unsigned resource);
uint8_t inner_family(unsigned resource);
/* The prefix that the portal grants. */
struct ip_prefix inner_prefix(unsigned resource);

#endif
