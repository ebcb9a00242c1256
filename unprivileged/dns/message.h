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

/* What a server answers. [RFC 1035 section 4.1.1, RFC 6891 section 9] */
enum dns_rcode {
	DNS_NOERROR = 0,
	DNS_FORMERR = 1,
	DNS_SERVFAIL = 2,
	DNS_NXDOMAIN = 3,
	DNS_NOTIMP = 4,
	DNS_REFUSED = 5,
	DNS_BADVERS = 16,
};

/* A recursive query for one name. Returns the length, 0 if @name is not a name. */
size_t dns_query_write(uint8_t *buf, size_t cap, uint16_t id, const char *name, enum dns_type type);

/* The same without EDNS, for a server that does not understand it. */
size_t dns_query_write_plain(uint8_t *buf, size_t cap, uint16_t id, const char *name,
			     enum dns_type type);

struct dns_answer {
	unsigned int rcode; /* enum dns_rcode or another; with the upper bits of EDNS */
	bool truncated;
	bool referral; /* nothing is said of the name: the server does not look names up for us */
	struct ip_addr addresses[DNS_MAX_ANSWERS]; /* of the name or what its CNAMEs lead to */
	size_t n;
	uint32_t ttl_s; /* smallest of the chain; negative answers: of the SOA */
};

/*
 * Read an answer to exactly this query: QR, id, opcode and question must match; a server that could
 * not read the query may leave the question out. False otherwise or when malformed: not ours, keep
 * waiting.
 */
MUST_CHECK bool dns_answer_read(struct dns_answer *out, const uint8_t *buf, size_t len, uint16_t id,
				const char *name, enum dns_type type);

#endif
