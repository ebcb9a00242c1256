/*
 * Messages that go through unchanged but for their id: what a client asks and what a server
 * answers. Pure functions on buffers. [RFC 1035 section 4, spec dataplane 11]
 */
#ifndef DNS_FORWARDED_H
#define DNS_FORWARDED_H

#include "base/defs.h"

enum {
	DNS_HEADER = 12,
	DNS_SHORT_MAX = DNS_HEADER + 255 + 4, /* header and one question */
};

/* A query with exactly one question, whose answer section, if any, can be read. */
MUST_CHECK bool dns_forwarded_is_query(const uint8_t *buf, size_t len);

/* An answer to this very query: QR, @id, opcode and the question; its answer section can be read.
 * Names compare without case. */
MUST_CHECK bool dns_forwarded_answers(const uint8_t *query, size_t query_len, uint16_t id,
				      const uint8_t *buf, size_t len);

/* A copy that the caller frees; NULL without memory. */
uint8_t *dns_forwarded_copy(const uint8_t *buf, size_t len);

uint16_t dns_forwarded_id(const uint8_t *buf, size_t len);
void dns_forwarded_set_id(uint8_t *buf, size_t len, uint16_t id);

/* SERVFAIL to a query: its id, opcode, RD and question. Returns the length; 0 if it is no query
 * or does not fit; DNS_SHORT_MAX bytes always do. */
size_t dns_forwarded_servfail(uint8_t *out, size_t cap, const uint8_t *query, size_t len);

/* Header and question of an answer, TC set and nothing else in it. Returns the length, 0 likewise.
 */
size_t dns_forwarded_truncate(uint8_t *out, size_t cap, const uint8_t *answer, size_t len);

#endif
