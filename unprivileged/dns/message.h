/*
 * DNS queries and answers on the wire, over ldns. Pure functions on buffers. [RFC 1035, RFC 6891]
 */
#ifndef DNS_MESSAGE_H
#define DNS_MESSAGE_H

#include "base/defs.h"
#include "packet/addr.h"

enum dns_type {
	DNS_A = 1,
	DNS_AAAA = 28
};

enum {
	DNS_MAX_QUERY = 300, /* 12 + 255 + 4 + 11 for OPT, rounded */
	DNS_UDP_SIZE = 1232, /* offered by EDNS */
	DNS_NAME_MAX = 254,  /* with the NUL; presentation form without trailing dot */
	DNS_MAX_ANSWERS = 32,
};

/* A recursive query for one name. Returns the length, 0 if @name is not a name. */
size_t dns_query_write(uint8_t *buf, size_t cap, uint16_t id, const char *name, enum dns_type type);

struct dns_answer {
	unsigned int rcode; /* 0: NOERROR, 3: NXDOMAIN */
	bool truncated;
	struct ip_addr addresses[DNS_MAX_ANSWERS]; /* of the name or what its CNAMEs lead to */
	size_t n;
	uint32_t ttl_s; /* smallest of the chain; negative answers: of the SOA */
};

/*
 * Read an answer to exactly this query: QR, id, opcode and question must match. False otherwise or
 * when malformed: not ours, keep waiting.
 */
MUST_CHECK bool dns_answer_read(struct dns_answer *out, const uint8_t *buf, size_t len, uint16_t id,
				const char *name, enum dns_type type);

#endif
