/*
 * Every STUN datagram of the recordings decodes, re-encodes to the same bytes and verifies with the
 * credentials of the transcript of the same name.
 *
 * The captures were taken above segmentation offload: a frame may hold several datagrams back to
 * back, all of one size but the last, which may be shorter.
 */
#include "stun/stun.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "packet/bytes.h"
#include "vectors.h"

enum {
	PCAP_MAGIC = (int)0xa1b2c3d4,
	PCAP_LINKTYPE_SLL2 = 276,
	SLL2_HEADER = 20,
	IPV4_HEADER = 20,
	UDP_HEADER = 8,
	RELAY_PORT = 3478,
	KEYS_MAX = 64,
	KEY_MAX = 64,
	COOKIE = 0x2112a442,
};

struct keys {
	uint8_t key[KEYS_MAX][KEY_MAX];
	size_t len[KEYS_MAX];
	size_t count;
};

struct tally {
	size_t messages, verified, frames_of_several, requests, errors, channel_data;
};

static void add_key(struct keys *keys, const void *key, size_t len)
{
	for (size_t i = 0; i < keys->count; i++) {
		if (keys->len[i] == len && memcmp(keys->key[i], key, len) == 0)
			return;
	}
	assert_true(keys->count < KEYS_MAX && len <= KEY_MAX);
	memcpy(keys->key[keys->count], key, len);
	keys->len[keys->count++] = len;
}

static void add_ice_password(struct keys *keys, const cJSON *payload, const char *name)
{
	const char *password = NULL;

	if (!vectors_has(payload, name))
		return;
	password = vectors_string(vectors_get(payload, name), "password");
	add_key(keys, password, strlen(password));
}

static void add_relays(struct keys *keys, const cJSON *payload)
{
	const cJSON *relay = NULL;

	if (!vectors_has(payload, "relays"))
		return;
	cJSON_ArrayForEach(relay, vectors_get(payload, "relays"))
	{
		uint8_t key[16];

		stun_long_term_key(key, vectors_string(relay, "username"), "firezone",
				   vectors_string(relay, "password"));
		add_key(keys, key, sizeof(key));
	}
}

/* Every credential that a portal message of the transcript hands out. */
static struct keys keys_of(const char *path)
{
	struct keys keys = {.count = 0};
	size_t len = 0;
	char *text = vectors_read_file(path, &len);
	const char *at = text;
	const char *line = NULL;

	while ((line = vectors_next_line(&at, &len))) {
		cJSON *json = vectors_parse(line, len);
		const cJSON *msg = vectors_get(json, "msg");

		if (vectors_has(msg, "payload")) {
			add_ice_password(&keys, vectors_get(msg, "payload"),
					 "gateway_ice_credentials");
			add_ice_password(&keys, vectors_get(msg, "payload"),
					 "client_ice_credentials");
			add_relays(&keys, vectors_get(msg, "payload"));
		}
		cJSON_Delete(json);
	}
	free(text);
	assert_true(keys.count > 0);
	return keys;
}

/* Write attribute @type from what the codec decoded; @value only for those that it skips. */
static void put_decoded(struct stun_builder *b, const struct stun_msg *msg, unsigned type,
			struct reader value)
{
	switch (type) {
	case STUN_ATTR_USERNAME:
		stun_put_bytes(b, STUN_ATTR_USERNAME, msg->username.data, msg->username.len);
		break;
	case STUN_ATTR_REALM:
		stun_put_bytes(b, STUN_ATTR_REALM, msg->realm.data, msg->realm.len);
		break;
	case STUN_ATTR_NONCE:
		stun_put_bytes(b, STUN_ATTR_NONCE, msg->nonce.data, msg->nonce.len);
		break;
	case STUN_ATTR_PRIORITY:
		stun_put_u32(b, STUN_ATTR_PRIORITY, msg->priority);
		break;
	case STUN_ATTR_LIFETIME:
		stun_put_u32(b, STUN_ATTR_LIFETIME, msg->lifetime_s);
		break;
	case STUN_ATTR_CHANNEL_NUMBER:
		stun_put_u32(b, STUN_ATTR_CHANNEL_NUMBER, (uint32_t)msg->channel << 16);
		break;
	case STUN_ATTR_ICE_CONTROLLED:
	case STUN_ATTR_ICE_CONTROLLING:
		stun_put_u64(b, (enum stun_attr)type, msg->tie_breaker);
		break;
	case STUN_ATTR_XOR_MAPPED_ADDRESS:
		stun_put_xor_address(b, STUN_ATTR_XOR_MAPPED_ADDRESS, &msg->mapped);
		break;
	case STUN_ATTR_XOR_PEER_ADDRESS:
		stun_put_xor_address(b, STUN_ATTR_XOR_PEER_ADDRESS, &msg->peer);
		break;
	case STUN_ATTR_XOR_RELAYED_ADDRESS:
		rd_skip(&value, 1);
		stun_put_xor_address(b, STUN_ATTR_XOR_RELAYED_ADDRESS,
				     rd_u8(&value) == 1 ? &msg->relayed_v4 : &msg->relayed_v6);
		break;
	case STUN_ATTR_ERROR_CODE: {
		char reason[128] = "";

		rd_skip(&value, 4);
		assert_true(value.left < sizeof(reason));
		memcpy(reason, value.at, value.left);
		stun_put_error(b, msg->error_code, reason);
		break;
	}
	default:
		stun_put_bytes(b, (enum stun_attr)type, value.at, value.left);
		break;
	}
}

/* Build the message anew in the order of @buf's attributes and compare. */
static void assert_rebuilds(const struct stun_msg *msg, const uint8_t *buf, size_t len,
			    const uint8_t *key, size_t key_len)
{
	struct reader r = reader_of(buf, len);
	uint8_t out[STUN_MAX_MESSAGE];
	struct stun_builder b;

	stun_begin(&b, out, sizeof(out), msg->method, msg->class, &msg->txid);
	rd_skip(&r, STUN_HEADER_LEN);
	while (r.left > 0) {
		unsigned type = rd_u16(&r);
		size_t size = rd_u16(&r);
		struct reader value = rd_child(&r, size);

		rd_skip(&r, (4 - size % 4) % 4);
		if (type != STUN_ATTR_MESSAGE_INTEGRITY && type != STUN_ATTR_FINGERPRINT)
			put_decoded(&b, msg, type, value);
	}
	assert_int_equal(stun_finish(&b, key, key_len, msg->has_fingerprint), len);
	assert_memory_equal(out, buf, len);
}

static void take_stun(const struct keys *keys, const uint8_t *buf, size_t len, struct tally *tally)
{
	struct stun_msg msg;
	const uint8_t *key = NULL;
	size_t key_len = 0;

	assert_true(stun_msg_read(&msg, buf, len));
	for (size_t i = 0; i < keys->count && msg.has_integrity && !key; i++) {
		if (stun_msg_verify(&msg, buf, len, keys->key[i], keys->len[i])) {
			key = keys->key[i];
			key_len = keys->len[i];
		}
	}
	assert_true(!msg.has_integrity || key);
	assert_rebuilds(&msg, buf, len, key, key_len);
	tally->messages++;
	tally->verified += key ? 1 : 0;
	tally->requests += msg.class == STUN_REQUEST ? 1 : 0;
	tally->errors += msg.class == STUN_ERROR ? 1 : 0;
}

static bool is_stun(const uint8_t *buf, size_t len)
{
	struct reader r = reader_of(buf, len);
	uint8_t first = rd_u8(&r);

	rd_skip(&r, 3);
	return rd_u32(&r) == COOKIE && first < 4;
}

/* One datagram: STUN, or ChannelData that carries STUN, or something else. @relay: one end is a
 * relay. */
static void take_datagram(const struct keys *keys, const uint8_t *buf, size_t len, bool relay,
			  struct tally *tally)
{
	struct reader r = reader_of(buf, len);
	uint16_t channel = rd_u16(&r);

	if (is_stun(buf, len)) {
		take_stun(keys, buf, len, tally);
	} else if (relay && channel >= 0x4000 && channel < 0x5000) {
		size_t size = rd_u16(&r);

		assert_int_equal(size, r.left);
		tally->channel_data++;
		if (is_stun(r.at, r.left))
			take_stun(keys, r.at, r.left, tally);
	}
}

/* Size of the first datagram of @r, where it says so itself. */
static size_t first_size(struct reader r, bool relay)
{
	size_t left = r.left;
	bool stun = is_stun(r.at, r.left);
	uint16_t first = rd_u16(&r);
	size_t declared = rd_u16(&r);
	size_t size = stun                                         ? STUN_HEADER_LEN + declared
		      : relay && first >= 0x4000 && first < 0x5000 ? 4 + declared
								   : left;

	return min_size(size, left);
}

static void take_frame(const struct keys *keys, struct reader udp, bool relay, struct tally *tally)
{
	size_t size = first_size(udp, relay);

	if (size == 0)
		return;
	tally->frames_of_several += size < udp.left ? 1 : 0;
	while (udp.left > 0) {
		size_t n = min_size(size, udp.left);
		const uint8_t *bytes = rd_bytes(&udp, n);

		take_datagram(keys, bytes, n, relay, tally);
	}
}

/* From the link header on. Frames cut by the capture's snapshot length do not occur. */
static void take_record(const struct keys *keys, struct reader frame, struct tally *tally)
{
	uint16_t source = 0;
	uint16_t target = 0;
	uint16_t size = 0;

	assert_int_equal(rd_u16(&frame), 0x0800);
	rd_skip(&frame, SLL2_HEADER - 2);
	assert_int_equal(rd_u8(&frame), 0x45);
	rd_skip(&frame, IPV4_HEADER - 1);
	source = rd_u16(&frame);
	target = rd_u16(&frame);
	size = rd_u16(&frame);
	rd_skip(&frame, 2);
	assert_int_equal(size, UDP_HEADER + frame.left);
	assert_false(frame.bad);
	take_frame(keys, frame, source == RELAY_PORT || target == RELAY_PORT, tally);
}

static struct tally take_capture(const char *pcap_path, const char *transcript_path)
{
	struct tally tally = {.messages = 0};
	struct keys keys = keys_of(transcript_path);
	size_t len = 0;
	char *bytes = vectors_read_file(pcap_path, &len);
	struct reader r = reader_of((const uint8_t *)bytes, len);

	assert_int_equal((int)rd_le32(&r), PCAP_MAGIC);
	rd_skip(&r, 16);
	assert_int_equal(rd_le32(&r), PCAP_LINKTYPE_SLL2);
	while (r.left > 0) {
		size_t captured = 0;

		rd_skip(&r, 8);
		captured = rd_le32(&r);
		assert_int_equal(rd_le32(&r), captured);
		take_record(&keys, rd_child(&r, captured), &tally);
		assert_false(r.bad);
	}
	free(bytes);
	return tally;
}

static void direct_recording_decodes_rebuilds_and_verifies(void **state)
{
	struct tally tally =
	    take_capture(RECORDINGS_DIR "/v1-direct.pcap", RECORDINGS_DIR "/v1-direct.jsonl");

	(void)state;
	printf("%zu messages, %zu verified\n", tally.messages, tally.verified);
	assert_true(tally.messages > 100 && tally.verified > 100 && tally.requests > 50);
	assert_true(tally.errors > 0 && tally.frames_of_several > 0);
}

static void relayed_recording_decodes_rebuilds_and_verifies(void **state)
{
	struct tally tally =
	    take_capture(RECORDINGS_DIR "/v1-relay.pcap", RECORDINGS_DIR "/v1-relay.jsonl");

	(void)state;
	printf("%zu messages, %zu verified\n", tally.messages, tally.verified);
	assert_true(tally.verified > 0 && tally.errors > 0 && tally.channel_data > 0);
}

static void later_release_recording_decodes_rebuilds_and_verifies(void **state)
{
	struct tally tally =
	    take_capture(RECORDINGS_DIR "/v2-direct.pcap", RECORDINGS_DIR "/v2-direct.jsonl");

	(void)state;
	printf("%zu messages, %zu verified\n", tally.messages, tally.verified);
	assert_true(tally.verified > 0 && tally.errors > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(direct_recording_decodes_rebuilds_and_verifies),
	    cmocka_unit_test(relayed_recording_decodes_rebuilds_and_verifies),
	    cmocka_unit_test(later_release_recording_decodes_rebuilds_and_verifies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
