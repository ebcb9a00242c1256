/*
 * What makes a STUN message authentic: MESSAGE-INTEGRITY, FINGERPRINT and the header that both are
 * computed over. Pure functions. [RFC 8489 sections 14.5 and 14.7]
 */
#ifndef STUN_SEAL_H
#define STUN_SEAL_H

#include "base/defs.h"
#include "stun/stun.h"

enum {
	SEAL_ATTR_HEADER_LEN = 4,
	SEAL_INTEGRITY_LEN = 20,
	SEAL_FINGERPRINT_LEN = 4,
};

/* The header of @buf as it is for a message of @message_len bytes, header included. */
void stun_seal_header(uint8_t out[STUN_HEADER_LEN], const uint8_t *buf, size_t message_len);

/* FINGERPRINT of the first @end bytes of a message, at least a header; the attribute follows them
 * as the last one. */
uint32_t stun_seal_fingerprint(const uint8_t *buf, size_t end);

/* HMAC-SHA1 of the first @end bytes, at least a header; the attribute follows them. @hmac: NULL for
 * one of its own. False when the library fails (memory). */
MUST_CHECK bool stun_seal_integrity(struct stun_hmac *hmac, uint8_t out[SEAL_INTEGRITY_LEN],
				    const uint8_t *buf, size_t end, const uint8_t *key,
				    size_t key_len);

#endif
