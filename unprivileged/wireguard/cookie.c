#include "wireguard/cookie.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

#include "base/bucket.h"
#include "packet/bytes.h"

#define SOURCE_INTERVAL_US (US_PER_S / WG_SOURCE_PER_S)

enum {
	LABEL_LEN = 8,
	V6_SITE_LEN = 8, /* a client's usual prefix is a /64 */
};

static_assert(sizeof(((struct wg_gate_secret *)0)->bucket_key) == crypto_shorthash_KEYBYTES,
	      "key of the source hash");
static_assert(WG_XNONCE_LEN == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES, "cookie nonce");
static_assert((WG_SOURCE_BUCKETS & (WG_SOURCE_BUCKETS - 1)) == 0, "buckets are masked");
static_assert((WG_KNOWN_SOURCES & (WG_KNOWN_SOURCES - 1)) == 0, "places are masked");

/* A handshake message's two MACs and what they cover. */
struct macs {
	const uint8_t *mac1, *mac2;
	size_t before_mac1, before_mac2;
};

static struct macs find_macs(const uint8_t *msg, size_t len)
{
	struct reader r = reader_of(msg, len);
	struct macs m = {.before_mac1 = len - WG_MACS_LEN, .before_mac2 = len - WG_MAC_LEN};

	rd_skip(&r, m.before_mac1);
	m.mac1 = rd_bytes(&r, WG_MAC_LEN);
	m.mac2 = rd_bytes(&r, WG_MAC_LEN);
	BUG_ON(r.bad);
	return m;
}

void wg_cookie_label_key(struct wg_crypto *c, uint8_t out[WG_KEY_LEN], const char label[8],
			 const uint8_t public_key[WG_KEY_LEN])
{
	wg_crypto_hash(c, out, label, LABEL_LEN, public_key, WG_KEY_LEN);
}

bool wg_gate_init(struct wg_gate *gate, struct wg_crypto *c, struct wg_gate_secret *secret,
		  const uint8_t public_key[WG_KEY_LEN], const struct rng *rng, uint64_t now_us)
{
	memset(gate, 0, sizeof(*gate));
	wg_crypto_begin(c);
	wg_cookie_label_key(c, gate->mac1_key, "mac1----", public_key);
	wg_cookie_label_key(c, gate->cookie_key, "cookie--", public_key);
	rng_fill(rng, secret, sizeof(*secret));
	gate->secret = secret;
	gate->start_us = now_us;
	gate->second_us = now_us;
	return wg_crypto_ok(c);
}

static bool mac_matches(struct wg_crypto *c, const uint8_t *key, size_t key_len, const uint8_t *msg,
			size_t len, const uint8_t mac[WG_MAC_LEN])
{
	uint8_t expected[WG_MAC_LEN];

	wg_crypto_begin(c);
	wg_crypto_mac(c, expected, key, key_len, msg, len);
	return wg_crypto_ok(c) && sodium_memcmp(expected, mac, WG_MAC_LEN) == 0;
}

/* Count one message; true while the second's free ones last. */
static bool within_second(struct wg_gate *gate, uint64_t now_us)
{
	if (now_us - gate->second_us >= US_PER_S) {
		gate->second_us = now_us;
		gate->in_second = 0;
	}
	if (gate->in_second >= WG_HANDSHAKES_PER_S)
		return false;
	gate->in_second++;
	return true;
}

/* Count one message of a proven source; true while its budget lasts. */
static bool within_source(struct wg_gate *gate, const struct ip_addr *ip, uint64_t now_us)
{
	const size_t len = ip->family == IP_V6 ? V6_SITE_LEN : sizeof(ip->bytes);
	uint8_t hash[crypto_shorthash_BYTES];
	struct reader r = reader_of(hash, sizeof(hash));

	crypto_shorthash(hash, ip->bytes, len, gate->secret->bucket_key);
	return bucket_take(&gate->paid_us[rd_le64(&r) & (WG_SOURCE_BUCKETS - 1)], now_us,
			   SOURCE_INTERVAL_US, WG_SOURCE_BURST);
}

/* @src's place among the known ones, and what would stand there. */
static struct wg_known *known_place(struct wg_gate *gate, const struct endpoint *src, uint32_t *tag)
{
	uint8_t hash[crypto_shorthash_BYTES], input[sizeof(src->ip.bytes) + sizeof(src->port)];
	struct writer w = writer_of(input, sizeof(input));
	struct reader r = reader_of(hash, sizeof(hash));

	wr_bytes(&w, src->ip.bytes, sizeof(src->ip.bytes));
	wr_u16(&w, src->port);
	crypto_shorthash(hash, input, sizeof(input), gate->secret->bucket_key);
	*tag = rd_le32(&r);
	return &gate->known[rd_le32(&r) & (WG_KNOWN_SOURCES - 1)];
}

static uint32_t second_of(const struct wg_gate *gate, uint64_t now_us)
{
	return (uint32_t)((now_us - gate->start_us) / US_PER_S);
}

void wg_gate_know(struct wg_gate *gate, const struct endpoint *src, uint64_t now_us)
{
	uint32_t tag;
	struct wg_known *place = known_place(gate, src, &tag);

	*place = (struct wg_known){.tag = tag, .until_s = second_of(gate, now_us) + WG_KNOWN_S};
}

static bool may_answer(struct wg_gate *gate, const struct endpoint *src, uint64_t now_us)
{
	uint32_t tag;
	const struct wg_known *place = known_place(gate, src, &tag);

	if (place->tag == tag && second_of(gate, now_us) < place->until_s)
		return true;
	return bucket_take(&gate->cookies_paid_us, now_us, US_PER_S / WG_COOKIES_PER_S,
			   WG_COOKIES_PER_S);
}

void wg_cookie_derive(struct wg_crypto *c, const uint8_t secret[WG_COOKIE_SECRET_LEN],
		      uint64_t epoch, const struct ip_addr *ip, uint8_t out[WG_COOKIE_LEN])
{
	uint8_t input[sizeof(epoch) + sizeof(ip->bytes)];
	struct writer w = writer_of(input, sizeof(input));

	wr_le64(&w, epoch);
	wr_bytes(&w, ip->bytes, sizeof(ip->bytes));
	wg_crypto_mac(c, out, secret, WG_COOKIE_SECRET_LEN, input, sizeof(input));
}

static void current_cookie(const struct wg_gate *gate, struct wg_crypto *c,
			   const struct ip_addr *ip, uint64_t now_us, uint8_t out[WG_COOKIE_LEN])
{
	uint64_t epoch = (now_us - gate->start_us) / (WG_COOKIE_EPOCH_S * US_PER_S);

	wg_cookie_derive(c, gate->secret->cookie_secret, epoch, ip, out);
}

enum wg_gate_verdict wg_gate_check(struct wg_gate *gate, struct wg_crypto *c, const uint8_t *msg,
				   size_t len, const struct endpoint *src, uint64_t now_us)
{
	struct macs m = find_macs(msg, len);
	uint8_t cookie[WG_COOKIE_LEN];
	bool proven = false;

	if (!mac_matches(c, gate->mac1_key, WG_KEY_LEN, msg, m.before_mac1, m.mac1))
		return WG_GATE_DROP;
	if (within_second(gate, now_us))
		return WG_GATE_PASS;
	if (!sodium_is_zero(m.mac2, WG_MAC_LEN)) {
		current_cookie(gate, c, &src->ip, now_us, cookie);
		proven = mac_matches(c, cookie, WG_COOKIE_LEN, msg, m.before_mac2, m.mac2);
		sodium_memzero(cookie, sizeof(cookie));
	}
	if (proven)
		return within_source(gate, &src->ip, now_us) ? WG_GATE_PASS : WG_GATE_DROP;
	return may_answer(gate, src, now_us) ? WG_GATE_COOKIE : WG_GATE_DROP;
}

bool wg_gate_reply(struct wg_gate *gate, struct wg_crypto *c, const struct rng *rng,
		   const uint8_t *msg, size_t len, const struct endpoint *src, uint64_t now_us,
		   uint8_t out[WG_COOKIE_REPLY_LEN])
{
	struct macs m = find_macs(msg, len);
	struct reader r = reader_of(msg, len);
	struct writer w = writer_of(out, WG_COOKIE_REPLY_LEN);
	uint8_t cookie[WG_COOKIE_LEN];
	uint8_t nonce[WG_XNONCE_LEN];
	uint8_t *sealed;

	rd_skip(&r, 4);
	rng_fill(rng, nonce, sizeof(nonce));
	wr_le32(&w, WG_COOKIE_REPLY);
	wr_le32(&w, rd_le32(&r));
	wr_bytes(&w, nonce, sizeof(nonce));
	sealed = wr_room(&w, WG_COOKIE_LEN + WG_TAG);
	BUG_ON(!sealed || w.left != 0 || r.bad);

	wg_crypto_begin(c);
	current_cookie(gate, c, &src->ip, now_us, cookie);
	crypto_aead_xchacha20poly1305_ietf_encrypt(sealed, NULL, cookie, WG_COOKIE_LEN, m.mac1,
						   WG_MAC_LEN, NULL, nonce, gate->cookie_key);
	sodium_memzero(cookie, sizeof(cookie));
	return wg_crypto_ok(c);
}

void wg_cookie_stamp(struct wg_crypto *c, const uint8_t public_key[WG_KEY_LEN],
		     const uint8_t *cookie, uint8_t *msg, size_t len)
{
	struct writer w = writer_of(msg, len);
	uint8_t *body = wr_room(&w, len - WG_MACS_LEN);
	uint8_t *mac1 = wr_room(&w, WG_MAC_LEN);
	uint8_t *mac2 = wr_room(&w, WG_MAC_LEN);
	uint8_t key[WG_KEY_LEN];

	BUG_ON(!body || !mac1 || !mac2);
	wg_cookie_label_key(c, key, "mac1----", public_key);
	wg_crypto_mac(c, mac1, key, sizeof(key), body, len - WG_MACS_LEN);
	memset(mac2, 0, WG_MAC_LEN);
	if (cookie)
		wg_crypto_mac(c, mac2, cookie, WG_COOKIE_LEN, body, len - WG_MAC_LEN);
}

bool wg_cookie_open(struct wg_crypto *c, const uint8_t public_key[WG_KEY_LEN],
		    const uint8_t mac1[WG_MAC_LEN], const uint8_t reply[WG_COOKIE_REPLY_LEN],
		    uint8_t out[WG_COOKIE_LEN])
{
	struct reader r = reader_of(reply, WG_COOKIE_REPLY_LEN);
	const uint8_t *nonce, *sealed;
	uint8_t key[WG_KEY_LEN];

	rd_skip(&r, 8);
	nonce = rd_bytes(&r, WG_XNONCE_LEN);
	sealed = rd_bytes(&r, WG_COOKIE_LEN + WG_TAG);
	if (r.bad)
		return false;
	wg_crypto_begin(c);
	wg_cookie_label_key(c, key, "cookie--", public_key);
	return wg_crypto_ok(c) && crypto_aead_xchacha20poly1305_ietf_decrypt(
				      out, NULL, NULL, sealed, WG_COOKIE_LEN + WG_TAG, mac1,
				      WG_MAC_LEN, nonce, key) == 0;
}
