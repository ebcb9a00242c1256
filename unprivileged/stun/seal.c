#include "stun/seal.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdlib.h>
#include <string.h>

#include "packet/bytes.h"
#include "stun/stun.h"

/* RFC 8489 section 5. */
enum {
	COOKIE_AND_TXID_LEN = 16,
	MD5_LEN = 16,
};

struct stun_hmac {
	EVP_MAC_CTX *ctx; /* HMAC-SHA1, under the key of its last use */
};

static const uint32_t FINGERPRINT_XOR = 0x5354554e;

/* CRC-32 of ISO 3309, reflected, four bits at a time. */
static const uint32_t crc_nibbles[16] = {
    0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
    0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
};

static uint32_t crc32_more(uint32_t crc, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		crc ^= data[i];
		crc = crc >> 4 ^ crc_nibbles[crc & 15];
		crc = crc >> 4 ^ crc_nibbles[crc & 15];
	}
	return crc;
}

void stun_seal_header(uint8_t out[STUN_HEADER_LEN], const uint8_t *buf, size_t message_len)
{
	struct reader r = reader_of(buf, STUN_HEADER_LEN);
	struct writer w = writer_of(out, STUN_HEADER_LEN);
	uint8_t rest[COOKIE_AND_TXID_LEN];
	uint16_t type = rd_u16(&r);

	rd_skip(&r, sizeof(uint16_t));
	rd_copy(&r, rest, sizeof(rest));
	wr_u16(&w, type);
	wr_u16(&w, (uint16_t)(message_len - STUN_HEADER_LEN));
	wr_bytes(&w, rest, sizeof(rest));
}

uint32_t stun_seal_fingerprint(const uint8_t *buf, size_t end)
{
	struct reader r = reader_of(buf, end);
	uint8_t header[STUN_HEADER_LEN];
	uint32_t crc = UINT32_MAX;

	stun_seal_header(header, buf, end + SEAL_ATTR_HEADER_LEN + SEAL_FINGERPRINT_LEN);
	rd_skip(&r, sizeof(header));
	crc = crc32_more(crc, header, sizeof(header));
	crc = crc32_more(crc, r.at, r.left);
	return ~crc ^ FINGERPRINT_XOR;
}

struct stun_hmac *stun_hmac_new(void)
{
	char digest[] = "SHA1";
	const OSSL_PARAM params[] = {
	    OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
	    OSSL_PARAM_construct_end(),
	};
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	struct stun_hmac *hmac = calloc(1, sizeof(*hmac));

	if (!mac || !hmac)
		goto free_all;
	hmac->ctx = EVP_MAC_CTX_new(mac);
	if (!hmac->ctx || EVP_MAC_CTX_set_params(hmac->ctx, params) != 1)
		goto free_all;
	EVP_MAC_free(mac);
	return hmac;

free_all:
	stun_hmac_free(hmac);
	EVP_MAC_free(mac);
	return NULL;
}

void stun_hmac_free(struct stun_hmac *hmac)
{
	if (!hmac)
		return;
	EVP_MAC_CTX_free(hmac->ctx);
	free(hmac);
}

static bool compute(EVP_MAC_CTX *ctx, uint8_t out[SEAL_INTEGRITY_LEN], const uint8_t *buf,
		    size_t end, const uint8_t *key, size_t key_len)
{
	struct reader r = reader_of(buf, end);
	uint8_t header[STUN_HEADER_LEN];
	size_t len = 0;

	stun_seal_header(header, buf, end + SEAL_ATTR_HEADER_LEN + SEAL_INTEGRITY_LEN);
	rd_skip(&r, sizeof(header));
	return EVP_MAC_init(ctx, key, key_len, NULL) == 1 &&
	       EVP_MAC_update(ctx, header, sizeof(header)) == 1 &&
	       EVP_MAC_update(ctx, r.at, r.left) == 1 &&
	       EVP_MAC_final(ctx, out, &len, SEAL_INTEGRITY_LEN) == 1 && len == SEAL_INTEGRITY_LEN;
}

bool stun_seal_integrity(struct stun_hmac *hmac, uint8_t out[SEAL_INTEGRITY_LEN],
			 const uint8_t *buf, size_t end, const uint8_t *key, size_t key_len)
{
	struct stun_hmac *own = hmac ? NULL : stun_hmac_new();
	bool ok = false;

	if (own)
		hmac = own;
	ok = hmac && compute(hmac->ctx, out, buf, end, key, key_len);
	stun_hmac_free(own);
	return ok;
}

void stun_long_term_key(uint8_t out[16], const char *username, const char *realm,
			const char *password)
{
	EVP_MD *md5 = EVP_MD_fetch(NULL, "MD5", NULL);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	unsigned len = 0;
	bool ok = md5 && ctx && EVP_DigestInit_ex2(ctx, md5, NULL) == 1 &&
		  EVP_DigestUpdate(ctx, username, strlen(username)) == 1 &&
		  EVP_DigestUpdate(ctx, ":", 1) == 1 &&
		  EVP_DigestUpdate(ctx, realm, strlen(realm)) == 1 &&
		  EVP_DigestUpdate(ctx, ":", 1) == 1 &&
		  EVP_DigestUpdate(ctx, password, strlen(password)) == 1 &&
		  EVP_DigestFinal_ex(ctx, out, &len) == 1 && len == MD5_LEN;

	EVP_MD_CTX_free(ctx);
	EVP_MD_free(md5);
	BUG_ON(!ok);
}
