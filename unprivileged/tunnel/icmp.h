/*
 * ICMP errors that the gateway makes itself, for its clients only. [spec dataplane 10, R11; RFC
 * 1122 section 3.2.2, RFC 4443 section 2.4]
 */
#ifndef TUNNEL_ICMP_H
#define TUNNEL_ICMP_H

#include "packet/ip.h"

enum icmp_refusal {
	ICMP_PROHIBITED,  /* 3/13, 1/1 */
	ICMP_UNREACHABLE, /* 3/0, 1/3 */
};

/* Never about an ICMP error, whether or not its quote parses, nor from or to an address that is not
 * one host's. */
bool icmp_may_answer(const struct ip_view *offending);

/*
 * The answer to @offending, from its destination to its source, into @out. The length; at most
 * IP_INNER_MTU, so it always fits.
 */
size_t icmp_build(const struct ip_view *offending, enum icmp_refusal why,
		  uint8_t out[IP_INNER_MTU]);

#endif
