#include "stun/stun.h"

#include <sodium.h>
#include <string.h>

#include "packet/bytes.h"
#include "stun/seal.h"

/* RFC 8489 sections 5, 14 and 18. */
enum {
	STUN_COOKIE = 0x2112a442,
	STUN_TYPE_TOP_BITS = 0xc000,
	STUN_ALIGN = 4,
	STUN_MASK_AT = 4, /* cookie and transaction id, 16 bytes, mask addresses */
	STUN_MASK_LEN = 16,
	STUN_FAMILY_V4 = 1,
	STUN_FAMILY_V6 = 2,
	STUN_ERROR_CLASS_MIN = 3,
	STUN_ERROR_CLASS_MAX = 6,
	STUN_ERROR_NUMBER_MAX = 99,
};

static size_t padding_of(size_t len)
{
	return (STUN_ALIGN - len % STUN_ALIGN) % STUN_ALIGN;
}

/* How many bytes follow a lead byte of UTF-8 and what the first of them must be within. [RFC 3629
 * section 4] */
static size_t utf8_tail(uint8_t lead, uint8_t *low, uint8_t *high)
{
	*low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
	*high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
	if (lead >= 0xc2 && lead <= 0xdf)
		return 1;
	if (lead >= 0xe0 && lead <= 0xef)
		return 2;
	return lead >= 0xf0 && lead <= 0xf4 ? 3 : 0;
}

static bool is_utf8(const struct stun_bytes *text)
{
	struct reader r = reader_of(text->data, text->len);

	while (r.left > 0) {
		uint8_t lead = rd_u8(&r);
		uint8_t low = 0;
		uint8_t high = 0;
		size_t tail = utf8_tail(lead, &low, &high);

		if (lead >= 0x80 && tail == 0)
			return false;
		for (size_t i = 0; i < tail; i++) {
			uint8_t byte = rd_u8(&r);

			if (byte < low || byte > high)
				return false;
			low = 0x80;
			high = 0xbf;
		}
	}
	return !r.bad;
}

/* Text of at most @max bytes; the first of its kind counts. */
static bool read_text(struct stun_bytes *out, struct reader *value, size_t max)
{
	if (value->left > max)
		return false;
	if (!out->data)
		*out = (struct stun_bytes){.data = value->at, .len = value->left};
	return true;
}

/* @mask: cookie and transaction id as they stand in the header. [RFC 8489 section 14.2] */
static bool read_xor_address(struct endpoint *out, struct reader *value, const uint8_t *mask)
{
	struct endpoint ep = {.ip = {.family = IP_NONE}};
	size_t ip_bytes = 0;
	uint8_t family = 0;

	rd_skip(value, 1);
	family = rd_u8(value);
	ep.ip.family = family == STUN_FAMILY_V4   ? IP_V4
		       : family == STUN_FAMILY_V6 ? IP_V6
						  : IP_NONE;
	ep.port = (uint16_t)(rd_u16(value) ^ (STUN_COOKIE >> 16));
	ip_bytes = ip_len(&ep.ip);
	if (value->bad || ip_bytes == 0 || value->left != ip_bytes)
		return false;
	rd_copy(value, ep.ip.bytes, ip_bytes);
	for (size_t i = 0; i < ip_bytes; i++)
		ep.ip.bytes[i] ^= mask[i];
	if (out->ip.family == IP_NONE)
		*out = ep;
	return true;
}

/* One relayed address of each family may come. [RFC 8656 section 18.5] */
static bool read_relayed(struct stun_msg *msg, struct reader *value, const uint8_t *mask)
{
	struct endpoint ep = {.ip = {.family = IP_NONE}};
	struct endpoint *slot = NULL;

	if (!read_xor_address(&ep, value, mask))
		return false;
	slot = ep.ip.family == IP_V4 ? &msg->relayed_v4 : &msg->relayed_v6;
	if (slot->ip.family == IP_NONE)
		*slot = ep;
	return true;
}

/* [RFC 8489 section 14.8] */
static bool read_error(struct stun_msg *msg, struct reader *value)
{
	unsigned class = 0;
	unsigned number = 0;

	rd_skip(value, 2);
	class = rd_u8(value) & 7;
	number = rd_u8(value);
	if (value->bad || class < STUN_ERROR_CLASS_MIN || class > STUN_ERROR_CLASS_MAX ||
	    number > STUN_ERROR_NUMBER_MAX)
		return false;
	if (msg->error_code == 0)
		msg->error_code = (uint16_t)(class * 100 + number);
	return true;
}

static bool read_u32(uint32_t *out, bool *has, struct reader *value)
{
	uint32_t number = rd_u32(value);

	if (value->bad || value->left != 0)
		return false;
	if (!*has)
		*out = number;
	*has = true;
	return true;
}

static bool read_role(struct stun_msg *msg, bool *role, struct reader *value)
{
	uint64_t tie_breaker = rd_u64(value);

	if (value->bad || value->left != 0)
		return false;
	if (!msg->controlled && !msg->controlling) {
		msg->tie_breaker = tie_breaker;
		*role = true;
	}
	return true;
}

static bool read_channel(struct stun_msg *msg, struct reader *value)
{
	uint16_t channel = rd_u16(value);

	rd_skip(value, 2);
	if (value->bad || value->left != 0)
		return false;
	if (msg->channel == 0)
		msg->channel = channel;
	return true;
}

/* The attributes of ICE's and TURN's numbers. */
static bool read_number(struct stun_msg *msg, uint16_t type, struct reader *value)
{
	switch (type) {
	case STUN_ATTR_PRIORITY:
		return read_u32(&msg->priority, &msg->has_priority, value);
	case STUN_ATTR_LIFETIME:
		return read_u32(&msg->lifetime_s, &msg->has_lifetime, value);
	case STUN_ATTR_CHANNEL_NUMBER:
		return read_channel(msg, value);
	case STUN_ATTR_ICE_CONTROLLED:
		return read_role(msg, &msg->controlled, value);
	case STUN_ATTR_ICE_CONTROLLING:
		return read_role(msg, &msg->controlling, value);
	case STUN_ATTR_USE_CANDIDATE:
		msg->use_candidate = true;
		return value->left == 0;
	case STUN_ATTR_REQUESTED_TRANSPORT:
	case STUN_ATTR_ADDITIONAL_ADDRESS_FAMILY:
		return value->left == 4;
	default:
		return true;
	}
}

static bool read_value(struct stun_msg *msg, uint16_t type, struct reader *value,
		       const uint8_t *mask)
{
	switch (type) {
	case STUN_ATTR_USERNAME:
		return read_text(&msg->username, value, STUN_MAX_USERNAME) &&
		       is_utf8(&msg->username);
	case STUN_ATTR_REALM:
		return read_text(&msg->realm, value, STUN_MAX_NONCE);
	case STUN_ATTR_NONCE:
		return read_text(&msg->nonce, value, STUN_MAX_NONCE);
	case STUN_ATTR_DATA:
		return read_text(&msg->data, value, value->left);
	case STUN_ATTR_XOR_MAPPED_ADDRESS:
		return read_xor_address(&msg->mapped, value, mask);
	case STUN_ATTR_XOR_PEER_ADDRESS:
		return read_xor_address(&msg->peer, value, mask);
	case STUN_ATTR_XOR_RELAYED_ADDRESS:
		return read_relayed(msg, value, mask);
	case STUN_ATTR_ERROR_CODE:
		return read_error(msg, value);
	default:
		return read_number(msg, type, value);
	}
}

/* The header, up to the first attribute. *@mask then points at cookie and transaction id. */
static bool read_header(struct stun_msg *msg, struct reader *r, const uint8_t **mask)
{
	uint16_t type = rd_u16(r);
	uint16_t length = rd_u16(r);
	struct reader cookie = reader_of(r->at, r->bad ? 0 : r->left);

	*mask = rd_bytes(r, STUN_MASK_LEN);
	if (r->bad || (type & STUN_TYPE_TOP_BITS) != 0 || length != r->left ||
	    length % STUN_ALIGN != 0)
		return false;
	if (rd_u32(&cookie) != STUN_COOKIE)
		return false;
	rd_copy(&cookie, msg->txid.bytes, STUN_TXID_LEN);
	msg->class = (enum stun_class)((type >> 4 & 1) | (type >> 7 & 2));
	msg->method = (uint16_t)((type & 0x000f) | (type & 0x00e0) >> 1 | (type & 0x3e00) >> 2);
	return true;
}

/* One attribute, padding included. @buf, @len: the datagram, whose rest @r is. */
static bool read_attr(struct stun_msg *msg, struct reader *r, const uint8_t *buf, size_t len,
		      const uint8_t *mask)
{
	size_t offset = len - r->left;
	uint16_t type = rd_u16(r);
	size_t size = rd_u16(r);
	struct reader value = rd_child(r, size);

	rd_skip(r, padding_of(size));
	if (r->bad)
		return false;
	if (type == STUN_ATTR_FINGERPRINT) {
		msg->has_fingerprint = true;
		return size == SEAL_FINGERPRINT_LEN && r->left == 0 &&
		       rd_u32(&value) == stun_seal_fingerprint(buf, offset);
	}
	if (msg->has_integrity)
		return true;
	if (type == STUN_ATTR_MESSAGE_INTEGRITY) {
		msg->has_integrity = true;
		msg->integrity_offset = offset;
		return size == SEAL_INTEGRITY_LEN;
	}
	return read_value(msg, type, &value, mask);
}

bool stun_msg_read(struct stun_msg *out, const uint8_t *buf, size_t len)
{
	struct reader r = reader_of(buf, len);
	struct stun_msg msg = {.method = 0};
	const uint8_t *mask = NULL;

	if (!read_header(&msg, &r, &mask))
		return false;
	while (r.left > 0) {
		if (!read_attr(&msg, &r, buf, len, mask))
			return false;
	}
	*out = msg;
	return true;
}

bool stun_msg_verify_by(struct stun_hmac *hmac, const struct stun_msg *msg, const uint8_t *buf,
			size_t len, const uint8_t *key, size_t key_len)
{
	struct reader r = reader_of(buf, len);
	uint8_t want[SEAL_INTEGRITY_LEN];
	const uint8_t *have = NULL;
	bool ok = false;

	if (!msg->has_integrity)
		return false;
	rd_skip(&r, msg->integrity_offset);
	rd_skip(&r, SEAL_ATTR_HEADER_LEN);
	have = rd_bytes(&r, SEAL_INTEGRITY_LEN);
	if (!have || msg->integrity_offset < STUN_HEADER_LEN)
		return false;
	ok = stun_seal_integrity(hmac, want, buf, msg->integrity_offset, key, key_len) &&
	     sodium_memcmp(have, want, sizeof(want)) == 0;
	sodium_memzero(want, sizeof(want));
	return ok;
}

bool stun_msg_verify(const struct stun_msg *msg, const uint8_t *buf, size_t len, const uint8_t *key,
		     size_t key_len)
{
	return stun_msg_verify_by(NULL, msg, buf, len, key, key_len);
}

/* A writer on what is left of the builder's buffer; builder_close() takes its outcome over. */
static struct writer builder_open(const struct stun_builder *b)
{
	struct writer w = writer_of(b->buf, b->cap);

	(void)wr_room(&w, b->len);
	w.bad = w.bad || b->bad;
	return w;
}

static void builder_close(struct stun_builder *b, const struct writer *w)
{
	b->bad = w->bad;
	if (!w->bad)
		b->len = w->written;
}

static void put_attr_header(struct writer *w, enum stun_attr attr, size_t len)
{
	w->bad = w->bad || len > UINT16_MAX;
	wr_u16(w, (uint16_t)attr);
	wr_u16(w, (uint16_t)len);
}

void stun_begin(struct stun_builder *b, uint8_t *buf, size_t cap, uint16_t method,
		enum stun_class class, const struct stun_txid *txid)
{
	unsigned type = (method & 0x000fu) | (method & 0x0070u) << 1 | (method & 0x0f80u) << 2 |
			((unsigned)class & 1) << 4 | ((unsigned)class & 2) << 7;
	struct writer w = writer_of(buf, cap);

	*b = (struct stun_builder){.buf = buf, .cap = cap, .len = 0, .bad = false};
	wr_u16(&w, (uint16_t)type);
	wr_u16(&w, 0);
	wr_u32(&w, STUN_COOKIE);
	wr_bytes(&w, txid->bytes, STUN_TXID_LEN);
	builder_close(b, &w);
}

void stun_put_bytes(struct stun_builder *b, enum stun_attr attr, const void *data, size_t len)
{
	struct writer w = builder_open(b);

	put_attr_header(&w, attr, len);
	wr_bytes(&w, data, len);
	wr_zero(&w, padding_of(len));
	builder_close(b, &w);
}

void stun_put_u32(struct stun_builder *b, enum stun_attr attr, uint32_t value)
{
	struct writer w = builder_open(b);

	put_attr_header(&w, attr, sizeof(value));
	wr_u32(&w, value);
	builder_close(b, &w);
}

void stun_put_u64(struct stun_builder *b, enum stun_attr attr, uint64_t value)
{
	struct writer w = builder_open(b);

	put_attr_header(&w, attr, sizeof(value));
	wr_u64(&w, value);
	builder_close(b, &w);
}

void stun_put_xor_address(struct stun_builder *b, enum stun_attr attr, const struct endpoint *ep)
{
	struct writer w = builder_open(b);
	struct reader header = reader_of(b->buf, b->bad ? 0 : b->len);
	size_t ip_bytes = ip_len(&ep->ip);
	const uint8_t *mask = NULL;

	rd_skip(&header, STUN_MASK_AT);
	mask = rd_bytes(&header, STUN_MASK_LEN);
	w.bad = w.bad || ip_bytes == 0 || !mask;
	put_attr_header(&w, attr, 4 + ip_bytes);
	wr_u8(&w, 0);
	wr_u8(&w, ep->ip.family == IP_V4 ? STUN_FAMILY_V4 : STUN_FAMILY_V6);
	wr_u16(&w, (uint16_t)(ep->port ^ (STUN_COOKIE >> 16)));
	for (size_t i = 0; mask && i < ip_bytes; i++)
		wr_u8(&w, ep->ip.bytes[i] ^ mask[i]);
	builder_close(b, &w);
}

void stun_put_error(struct stun_builder *b, uint16_t code, const char *reason)
{
	struct writer w = builder_open(b);
	size_t len = strlen(reason);

	put_attr_header(&w, STUN_ATTR_ERROR_CODE, 4 + len);
	wr_u16(&w, 0);
	wr_u8(&w, (uint8_t)(code / 100));
	wr_u8(&w, (uint8_t)(code % 100));
	wr_bytes(&w, reason, len);
	wr_zero(&w, padding_of(len));
	builder_close(b, &w);
}

/* The length field, from what has been written. */
static void put_length(struct stun_builder *b)
{
	uint8_t header[STUN_HEADER_LEN];
	struct writer w = writer_of(b->buf, b->cap);

	stun_seal_header(header, b->buf, b->len);
	wr_bytes(&w, header, sizeof(header));
}

size_t stun_finish(struct stun_builder *b, const uint8_t *key, size_t key_len, bool fingerprint)
{
	return stun_finish_by(NULL, b, key, key_len, fingerprint);
}

size_t stun_finish_by(struct stun_hmac *hmac, struct stun_builder *b, const uint8_t *key,
		      size_t key_len, bool with_fingerprint)
{
	uint8_t mac[SEAL_INTEGRITY_LEN];

	if (b->bad)
		return 0;
	if (key) {
		b->bad = !stun_seal_integrity(hmac, mac, b->buf, b->len, key, key_len);
		stun_put_bytes(b, STUN_ATTR_MESSAGE_INTEGRITY, mac, sizeof(mac));
	}
	if (with_fingerprint && !b->bad)
		stun_put_u32(b, STUN_ATTR_FINGERPRINT, stun_seal_fingerprint(b->buf, b->len));
	if (b->bad || b->len - STUN_HEADER_LEN > UINT16_MAX)
		return 0;
	put_length(b);
	return b->len;
}
