/*
 * STUN messages (covers stun.c, seal.c): whatever decodes lies inside the datagram, and what it
 * says survives being written and read again.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "stun/stun.h"

enum {
	ERROR_MIN = 300,
	ERROR_MAX = 699,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(bool cond)
{
	if (!cond)
		abort();
}

static void inside(const struct stun_bytes *b, const uint8_t *data, size_t len)
{
	if (!b->data)
		return;
	check(b->data >= data && b->len <= len && b->data + b->len <= data + len);
}

static void put_text(struct stun_builder *b, enum stun_attr attr, const struct stun_bytes *text)
{
	if (text->data)
		stun_put_bytes(b, attr, text->data, text->len);
}

static void put_address(struct stun_builder *b, enum stun_attr attr, const struct endpoint *ep)
{
	if (ep->ip.family != IP_NONE)
		stun_put_xor_address(b, attr, ep);
}

static void put_all(struct stun_builder *b, const struct stun_msg *msg)
{
	put_text(b, STUN_ATTR_USERNAME, &msg->username);
	put_text(b, STUN_ATTR_REALM, &msg->realm);
	put_text(b, STUN_ATTR_NONCE, &msg->nonce);
	put_text(b, STUN_ATTR_DATA, &msg->data);
	put_address(b, STUN_ATTR_XOR_MAPPED_ADDRESS, &msg->mapped);
	put_address(b, STUN_ATTR_XOR_PEER_ADDRESS, &msg->peer);
	put_address(b, STUN_ATTR_XOR_RELAYED_ADDRESS, &msg->relayed_v4);
	put_address(b, STUN_ATTR_XOR_RELAYED_ADDRESS, &msg->relayed_v6);
	if (msg->error_code != 0)
		stun_put_error(b, msg->error_code, "");
	if (msg->channel != 0)
		stun_put_u32(b, STUN_ATTR_CHANNEL_NUMBER, (uint32_t)msg->channel << 16);
	if (msg->has_priority)
		stun_put_u32(b, STUN_ATTR_PRIORITY, msg->priority);
	if (msg->has_lifetime)
		stun_put_u32(b, STUN_ATTR_LIFETIME, msg->lifetime_s);
	if (msg->use_candidate)
		stun_put_bytes(b, STUN_ATTR_USE_CANDIDATE, NULL, 0);
	if (msg->controlled || msg->controlling)
		stun_put_u64(b,
			     msg->controlled ? STUN_ATTR_ICE_CONTROLLED : STUN_ATTR_ICE_CONTROLLING,
			     msg->tie_breaker);
}

static void same_text(const struct stun_bytes *a, const struct stun_bytes *b)
{
	check(!a->data == !b->data && a->len == b->len);
	check(a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

static void same(const struct stun_msg *a, const struct stun_msg *b)
{
	check(a->method == b->method && a->class == b->class);
	check(memcmp(&a->txid, &b->txid, sizeof(a->txid)) == 0);
	same_text(&a->username, &b->username);
	same_text(&a->realm, &b->realm);
	same_text(&a->nonce, &b->nonce);
	same_text(&a->data, &b->data);
	check(endpoint_eq(&a->mapped, &b->mapped) && endpoint_eq(&a->peer, &b->peer));
	check(endpoint_eq(&a->relayed_v4, &b->relayed_v4));
	check(endpoint_eq(&a->relayed_v6, &b->relayed_v6));
	check(a->error_code == b->error_code && a->channel == b->channel);
	check(a->has_priority == b->has_priority && a->priority == b->priority);
	check(a->has_lifetime == b->has_lifetime && a->lifetime_s == b->lifetime_s);
	check(a->use_candidate == b->use_candidate && a->tie_breaker == b->tie_breaker);
	check(a->controlled == b->controlled && a->controlling == b->controlling);
}

static void round_trip(const struct stun_msg *msg, size_t len)
{
	static const uint8_t key[] = "key";
	size_t cap = len + 256;
	uint8_t *buf = malloc(cap);
	struct stun_builder b;
	struct stun_msg again;

	check(buf);
	stun_begin(&b, buf, cap, msg->method, msg->class, &msg->txid);
	put_all(&b, msg);
	len = stun_finish(&b, key, sizeof(key), true);
	if (len > 0) {
		check(stun_msg_read(&again, buf, len));
		same(msg, &again);
		check(again.has_integrity && again.has_fingerprint);
		check(stun_msg_verify(&again, buf, len, key, sizeof(key)));
		check(!stun_msg_verify(&again, buf, len, key, sizeof(key) - 2));
	}
	free(buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct stun_msg msg;

	if (!stun_msg_read(&msg, data, len))
		return 0;
	inside(&msg.username, data, len);
	inside(&msg.realm, data, len);
	inside(&msg.nonce, data, len);
	inside(&msg.data, data, len);
	check(msg.username.len <= STUN_MAX_USERNAME && msg.nonce.len <= STUN_MAX_NONCE);
	check(msg.error_code == 0 || (msg.error_code >= ERROR_MIN && msg.error_code <= ERROR_MAX));
	check(!(msg.controlled && msg.controlling));
	check(!msg.has_integrity || msg.integrity_offset + 24 <= len);
	check(!stun_msg_verify(&msg, data, len, (const uint8_t *)"no key of anybody", 17));
	check(!stun_msg_read(&(struct stun_msg){.method = 0}, data, len - 1));
	round_trip(&msg, len);
	return 0;
}
