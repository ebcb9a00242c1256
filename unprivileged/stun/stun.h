/*
 * STUN and TURN message codec. Pure functions on buffers; no state. [RFC 8489, RFC 8656, RFC 8445
 * section 7]
 *
 * Addresses and ports are host order in structs, network order on the wire. The attributes that ICE
 * and TURN of this product use are decoded; others are skipped. Every attribute length is checked;
 * the first of a repeated attribute counts.
 */
#ifndef STUN_STUN_H
#define STUN_STUN_H

#include "base/defs.h"
#include "packet/addr.h"

enum stun_method {
	STUN_BINDING = 0x001,
	STUN_ALLOCATE = 0x003,
	STUN_REFRESH = 0x004,
	STUN_SEND = 0x006,
	STUN_DATA = 0x007,
	STUN_CREATE_PERMISSION = 0x008,
	STUN_CHANNEL_BIND = 0x009,
};

enum stun_class {
	STUN_REQUEST = 0,
	STUN_INDICATION = 1,
	STUN_SUCCESS = 2,
	STUN_ERROR = 3
};

enum stun_attr {
	STUN_ATTR_USERNAME = 0x0006,
	STUN_ATTR_MESSAGE_INTEGRITY = 0x0008,
	STUN_ATTR_ERROR_CODE = 0x0009,
	STUN_ATTR_CHANNEL_NUMBER = 0x000c,
	STUN_ATTR_LIFETIME = 0x000d,
	STUN_ATTR_XOR_PEER_ADDRESS = 0x0012,
	STUN_ATTR_DATA = 0x0013,
	STUN_ATTR_REALM = 0x0014,
	STUN_ATTR_NONCE = 0x0015,
	STUN_ATTR_XOR_RELAYED_ADDRESS = 0x0016,
	STUN_ATTR_REQUESTED_TRANSPORT = 0x0019,
	STUN_ATTR_XOR_MAPPED_ADDRESS = 0x0020,
	STUN_ATTR_PRIORITY = 0x0024,
	STUN_ATTR_USE_CANDIDATE = 0x0025,
	STUN_ATTR_ADDITIONAL_ADDRESS_FAMILY = 0x8000,
	STUN_ATTR_SOFTWARE = 0x8022,
	STUN_ATTR_FINGERPRINT = 0x8028,
	STUN_ATTR_ICE_CONTROLLED = 0x8029,
	STUN_ATTR_ICE_CONTROLLING = 0x802a,
};

enum {
	STUN_HEADER_LEN = 20,
	STUN_TXID_LEN = 12,
	STUN_MAX_USERNAME =
	    512, /* bytes; RFC 8489 says fewer than 513 (spec row: at most 513 is refused) */
	STUN_MAX_NONCE = 763,
	STUN_MAX_MESSAGE = 2048, /* largest message that we write */
};

struct stun_txid {
	uint8_t bytes[STUN_TXID_LEN];
};

/* Bytes borrowed from the datagram; data NULL when the attribute is absent. */
struct stun_bytes {
	const uint8_t *data;
	size_t len;
};

struct stun_msg {
	uint16_t method;
	enum stun_class class;
	struct stun_txid txid;
	struct stun_bytes username, realm, nonce, data;
	struct endpoint mapped; /* XOR-MAPPED-ADDRESS; family IP_NONE when absent, also below */
	struct endpoint peer;   /* XOR-PEER-ADDRESS */
	struct endpoint relayed_v4, relayed_v6;
	uint16_t error_code; /* 300..699, 0 when absent */
	uint16_t channel;    /* 0 when absent */
	uint32_t priority, lifetime_s;
	uint64_t tie_breaker; /* of ICE-CONTROLLED or ICE-CONTROLLING */
	bool has_priority, has_lifetime, use_candidate, controlled, controlling;
	bool has_integrity;      /* MESSAGE-INTEGRITY stands at integrity_offset */
	size_t integrity_offset; /* of the attribute's header, from the start of the datagram */
	bool has_fingerprint;
};

/*
 * Read one STUN message. [RFC 8489 section 5, 14.5, 14.7]
 *
 * @buf, @len: the datagram; must outlive @out, which points into it. Returns false, with @out
 * untouched, if the length field, the type's two top bits, the cookie, an attribute's size, padding
 * overrun or FINGERPRINT is wrong. Attributes behind MESSAGE-INTEGRITY other than FINGERPRINT are
 * ignored. Does not check MESSAGE-INTEGRITY: see stun_msg_verify().
 */
MUST_CHECK bool stun_msg_read(struct stun_msg *out, const uint8_t *buf, size_t len);

/*
 * True if MESSAGE-INTEGRITY is present and right for @key (ICE: the password; TURN:
 * stun_long_term_key()). Constant-time compare.
 * @buf, @len: the same datagram that @msg was read from. [RFC 8489 section 14.5]
 */
MUST_CHECK bool stun_msg_verify(const struct stun_msg *msg, const uint8_t *buf, size_t len,
				const uint8_t *key, size_t key_len);

/*
 * A prepared HMAC-SHA1: making one costs twice what using it does. One serves any number of keys
 * and messages, one at a time; whoever owns many agents has one for all of them. It holds the key
 * of its last use until it is freed. NULL without memory.
 */
struct stun_hmac;
struct stun_hmac *stun_hmac_new(void);
void stun_hmac_free(struct stun_hmac *hmac);

/* The same as stun_msg_verify(), with a prepared one or NULL. */
MUST_CHECK bool stun_msg_verify_by(struct stun_hmac *hmac, const struct stun_msg *msg,
				   const uint8_t *buf, size_t len, const uint8_t *key,
				   size_t key_len);

/* MD5(username ":" realm ":" password), no SASLprep. [RFC 8489 section 9.2.2] */
void stun_long_term_key(uint8_t out[16], const char *username, const char *realm,
			const char *password);

/*
 * Build one message in a caller's buffer: begin, attributes in the wanted order, finish. A builder
 * that overran goes bad and finish returns 0. Padding is zero.
 */
struct stun_builder {
	uint8_t *buf;
	size_t cap, len;
	bool bad;
};

void stun_begin(struct stun_builder *b, uint8_t *buf, size_t cap, uint16_t method,
		enum stun_class class, const struct stun_txid *txid);
void stun_put_bytes(struct stun_builder *b, enum stun_attr attr, const void *data, size_t len);
void stun_put_u32(struct stun_builder *b, enum stun_attr attr, uint32_t value);
void stun_put_u64(struct stun_builder *b, enum stun_attr attr, uint64_t value);
void stun_put_xor_address(struct stun_builder *b, enum stun_attr attr, const struct endpoint *ep);
void stun_put_error(struct stun_builder *b, uint16_t code, const char *reason);

/*
 * Close the message: MESSAGE-INTEGRITY under @key unless it is NULL, then FINGERPRINT if wanted.
 * Returns the length, 0 if the buffer was too small.
 */
size_t stun_finish(struct stun_builder *b, const uint8_t *key, size_t key_len, bool fingerprint);

/* The same with a prepared HMAC or NULL. */
size_t stun_finish_by(struct stun_hmac *hmac, struct stun_builder *b, const uint8_t *key,
		      size_t key_len, bool fingerprint);

#endif
