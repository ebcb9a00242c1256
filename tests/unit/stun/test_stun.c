#include "stun/stun.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "vectors.h"

static const char vectors_path[] = VECTORS_DIR "/connections-stun.json";

struct wire {
	uint8_t bytes[STUN_MAX_MESSAGE];
	size_t len;
};

static struct wire wire_of(const cJSON *parent, const char *name)
{
	struct wire w = {.len = 0};

	w.len = vectors_hex(parent, name, w.bytes, sizeof(w.bytes));
	return w;
}

/* Reads from a copy of exactly the datagram's size, so that a sanitizer sees any read past it. */
static bool reads(const uint8_t *bytes, size_t len)
{
	uint8_t *copy = malloc(len > 0 ? len : 1);
	struct stun_msg msg;
	bool ok = false;

	assert_non_null(copy);
	memcpy(copy, bytes, len);
	ok = stun_msg_read(&msg, copy, len);
	free(copy);
	return ok;
}

static struct stun_msg msg_of(const struct wire *w)
{
	struct stun_msg msg;

	assert_true(stun_msg_read(&msg, w->bytes, w->len));
	return msg;
}

static bool verifies(const struct stun_msg *msg, const struct wire *w, const char *key)
{
	return stun_msg_verify(msg, w->bytes, w->len, (const uint8_t *)key, strlen(key));
}

static struct endpoint endpoint_of(const char *text)
{
	struct endpoint ep;

	assert_true(endpoint_parse(&ep, text, strlen(text)));
	return ep;
}

static struct stun_txid txid_of(const cJSON *parent)
{
	struct stun_txid txid;

	vectors_hex_exact(parent, "txid", txid.bytes, sizeof(txid.bytes));
	return txid;
}

static void assert_text(const struct stun_bytes *have, const char *want)
{
	assert_non_null(have->data);
	assert_int_equal(have->len, strlen(want));
	assert_memory_equal(have->data, want, have->len);
}

static void assert_endpoint(const struct endpoint *have, const char *want)
{
	struct endpoint ep = endpoint_of(want);

	assert_true(endpoint_eq(have, &ep));
}

static void rfc5769_request_decodes_and_verifies(void **state)
{
	cJSON *json = vectors_load(vectors_path);
	const cJSON *rfc = vectors_get(json, "rfc5769");
	struct wire w = wire_of(vectors_get(rfc, "messages"), "2.1_request");
	struct stun_msg msg = msg_of(&w);

	(void)state;
	assert_int_equal(msg.method, STUN_BINDING);
	assert_int_equal(msg.class, STUN_REQUEST);
	assert_text(&msg.username, "evtj:h6vY");
	assert_true(msg.has_priority && msg.priority == 0x6e0001ff);
	assert_true(msg.controlled && !msg.controlling);
	assert_true(msg.tie_breaker == UINT64_C(0x932ff9b151263b36));
	assert_true(msg.has_fingerprint && msg.has_integrity);
	assert_true(verifies(&msg, &w, vectors_string(rfc, "password")));
	assert_false(verifies(&msg, &w, "VOkJxbRl1RmTxUk/WvJxBu"));
	cJSON_Delete(json);
}

static void rfc5769_responses_give_both_families(void **state)
{
	cJSON *json = vectors_load(vectors_path);
	const cJSON *rfc = vectors_get(json, "rfc5769");
	const char *password = vectors_string(rfc, "password");
	struct wire v4 = wire_of(vectors_get(rfc, "messages"), "2.2_ipv4_response");
	struct wire v6 = wire_of(vectors_get(rfc, "messages"), "2.3_ipv6_response");
	struct stun_msg msg = msg_of(&v4);

	(void)state;
	assert_int_equal(msg.class, STUN_SUCCESS);
	assert_endpoint(&msg.mapped, "192.0.2.1:32853");
	assert_true(verifies(&msg, &v4, password));
	msg = msg_of(&v6);
	assert_endpoint(&msg.mapped, "[2001:db8:1234:5678:11:2233:4455:6677]:32853");
	assert_true(verifies(&msg, &v6, password));
	cJSON_Delete(json);
}

static void rfc5769_long_term_key_and_message(void **state)
{
	cJSON *json = vectors_load(vectors_path);
	const cJSON *rfc = vectors_get(json, "rfc5769");
	const cJSON *term = vectors_get(rfc, "long_term");
	struct wire w = wire_of(vectors_get(rfc, "messages"), "2.4_long_term");
	struct stun_msg msg = msg_of(&w);
	uint8_t key[16];

	(void)state;
	stun_long_term_key(key, vectors_string(term, "username"), vectors_string(term, "realm"),
			   vectors_string(term, "password"));
	vectors_assert_hex(term, "key_md5", key, sizeof(key));
	assert_true(stun_msg_verify(&msg, w.bytes, w.len, key, sizeof(key)));
	assert_text(&msg.realm, "example.org");
	assert_text(&msg.nonce, "f//499k954d6OL34oL9FSTvy64sA");
	cJSON_Delete(json);
}

static void ice_request_builds_to_the_vector(void **state)
{
	static const struct {
		const char *name;
		uint64_t tie_breaker;
		enum stun_attr role;
		const char *username;
		bool use_candidate;
	} cases[] = {
	    {"client_request", 0x1122334455667788, STUN_ATTR_ICE_CONTROLLING, "6frn:hzxq", false},
	    {"client_request_use_candidate", 0x1122334455667788, STUN_ATTR_ICE_CONTROLLING,
	     "6frn:hzxq", true},
	    {"gateway_request", 0x99aabbccddeeff00, STUN_ATTR_ICE_CONTROLLED, "hzxq:6frn", false},
	    {"gateway_request_from_relay_v4", 0x99aabbccddeeff00, STUN_ATTR_ICE_CONTROLLED,
	     "hzxq:6frn", false},
	};
	cJSON *json = vectors_load(vectors_path);
	const cJSON *ice = vectors_get(json, "ice");

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const cJSON *row = vectors_get(ice, cases[i].name);
		const char *key = vectors_string(row, "key");
		struct stun_txid txid = txid_of(row);
		struct wire w = wire_of(row, "hex");
		struct stun_msg msg = msg_of(&w);
		uint8_t out[128];
		struct stun_builder b;
		size_t len = 0;

		assert_true(verifies(&msg, &w, key));
		assert_true(msg.tie_breaker == cases[i].tie_breaker);
		assert_int_equal(msg.use_candidate, cases[i].use_candidate);
		assert_int_equal(msg.controlled, cases[i].role == STUN_ATTR_ICE_CONTROLLED);
		if (vectors_has(row, "priority"))
			assert_true(msg.priority == vectors_u64(row, "priority"));
		stun_begin(&b, out, sizeof(out), STUN_BINDING, STUN_REQUEST, &txid);
		stun_put_bytes(&b, STUN_ATTR_USERNAME, cases[i].username,
			       strlen(cases[i].username));
		stun_put_u64(&b, cases[i].role, cases[i].tie_breaker);
		stun_put_u32(&b, STUN_ATTR_PRIORITY, msg.priority);
		if (cases[i].use_candidate)
			stun_put_bytes(&b, STUN_ATTR_USE_CANDIDATE, NULL, 0);
		len = stun_finish(&b, (const uint8_t *)key, strlen(key), true);
		vectors_assert_hex(row, "hex", out, len);
	}
	cJSON_Delete(json);
}

static void ice_reply_builds_to_the_vector(void **state)
{
	static const struct {
		const char *name, *txid_of, *address;
	} cases[] = {
	    {"gateway_reply_v4", "client_request", "to"},
	    {"gateway_reply_v6", "client_request", "to"},
	    {"client_reply_to_gateway_v4", "gateway_request", "mapped"},
	};
	cJSON *json = vectors_load(vectors_path);
	const cJSON *ice = vectors_get(json, "ice");

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const cJSON *row = vectors_get(ice, cases[i].name);
		const char *key = vectors_string(row, "key");
		struct stun_txid txid = txid_of(vectors_get(ice, cases[i].txid_of));
		struct endpoint ep = endpoint_of(vectors_string(row, cases[i].address));
		struct wire w = wire_of(row, "hex");
		struct stun_msg msg = msg_of(&w);
		uint8_t out[128];
		struct stun_builder b;
		size_t len = 0;

		assert_true(endpoint_eq(&msg.mapped, &ep));
		assert_true(verifies(&msg, &w, key));
		stun_begin(&b, out, sizeof(out), STUN_BINDING, STUN_SUCCESS, &txid);
		stun_put_xor_address(&b, STUN_ATTR_XOR_MAPPED_ADDRESS, &ep);
		len = stun_finish(&b, (const uint8_t *)key, strlen(key), true);
		vectors_assert_hex(row, "hex", out, len);
	}
	cJSON_Delete(json);
}

/* What the codec alone must say to each malformed vector: is it a readable message, does the
 * gateway's key verify it? */
static const struct verdict {
	const char *name;
	bool reads, verifies;
} verdicts[] = {
    {"empty datagram", false, false},
    {"19-byte header", false, false},
    {"length field not multiple of 4", false, false},
    {"length field larger than datagram", false, false},
    {"length field smaller than datagram (trailing bytes)", false, false},
    {"wrong magic cookie", false, false},
    {"attribute length runs past end", false, false},
    {"zero-length FINGERPRINT as last attribute", false, false},
    {"4-byte XOR-MAPPED-ADDRESS", false, false},
    {"XOR-MAPPED-ADDRESS with family 2 but 8 bytes", false, false},
    {"XOR-MAPPED-ADDRESS with family 9", false, false},
    {"2-byte ERROR-CODE", false, false},
    {"MESSAGE-INTEGRITY of 16 bytes", false, false},
    {"request without MESSAGE-INTEGRITY", true, false},
    {"request without USERNAME", true, true},
    {"request without PRIORITY", true, true},
    {"USERNAME with empty remote part", true, true},
    {"USERNAME not UTF-8", false, false},
    {"unknown local ufrag", true, true},
    {"wrong remote ufrag", true, true},
    {"wrong key", true, false},
    {"bad FINGERPRINT, good MESSAGE-INTEGRITY", false, false},
    {"no FINGERPRINT, good MESSAGE-INTEGRITY", true, true},
    {"attribute after MESSAGE-INTEGRITY other than FINGERPRINT is ignored", true, true},
    {"binding indication", true, false},
};

static const struct verdict *verdict_of(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(verdicts); i++) {
		if (strcmp(verdicts[i].name, name) == 0)
			return &verdicts[i];
	}
	fail_msg("no verdict for \"%s\"", name);
	return &verdicts[0];
}

static void malformed_vectors_get_their_verdict(void **state)
{
	cJSON *json = vectors_load(vectors_path);
	const cJSON *ice = vectors_get(json, "ice");
	const char *key = vectors_string(vectors_get(ice, "client_request"), "key");
	const cJSON *row = NULL;
	size_t seen = 0;

	(void)state;
	cJSON_ArrayForEach(row, vectors_get(json, "malformed"))
	{
		const struct verdict *want = verdict_of(vectors_string(row, "name"));
		struct wire w = wire_of(row, "hex");
		struct stun_msg msg;
		bool ok = false;

		seen++;
		if (reads(w.bytes, w.len) != want->reads)
			fail_msg("\"%s\": read is %d", want->name, !want->reads);
		if (!want->reads)
			continue;
		msg = msg_of(&w);
		ok = verifies(&msg, &w, key);
		if (ok != want->verifies)
			fail_msg("\"%s\": verified is %d", want->name, ok);
		assert_false(msg.use_candidate);
	}
	assert_int_equal(seen, ARRAY_LEN(verdicts));
	cJSON_Delete(json);
}

static void read_leaves_the_output_alone_on_failure(void **state)
{
	struct stun_msg msg;
	struct stun_msg before;
	uint8_t bytes[STUN_HEADER_LEN] = {0};

	(void)state;
	memset(&msg, 0x5a, sizeof(msg));
	memcpy(&before, &msg, sizeof(msg));
	assert_false(stun_msg_read(&msg, bytes, sizeof(bytes)));
	assert_memory_equal(&msg, &before, sizeof(msg));
}

static void read_refuses_every_truncation_and_type_with_top_bits(void **state)
{
	cJSON *json = vectors_load(vectors_path);
	struct wire w = wire_of(vectors_get(vectors_get(json, "ice"), "client_request"), "hex");

	(void)state;
	for (size_t len = 0; len < w.len; len++)
		assert_false(reads(w.bytes, len));
	assert_true(reads(w.bytes, w.len));
	w.len = STUN_HEADER_LEN;
	w.bytes[3] = 0; /* no attributes: no FINGERPRINT that would notice */
	assert_true(reads(w.bytes, w.len));
	w.bytes[0] |= 0x80;
	assert_false(reads(w.bytes, w.len));
	w.bytes[0] ^= 0xc0;
	assert_false(reads(w.bytes, w.len));
	cJSON_Delete(json);
}

static void every_changed_byte_is_noticed(void **state)
{
	cJSON *json = vectors_load(vectors_path);
	const cJSON *row = vectors_get(vectors_get(json, "ice"), "client_request");
	struct wire w = wire_of(row, "hex");
	const char *key = vectors_string(row, "key");

	(void)state;
	for (size_t i = 0; i < w.len; i++) {
		struct stun_msg msg;

		/* FINGERPRINT's own type: behind MESSAGE-INTEGRITY any other type is ignored. */
		if (i == w.len - 8 || i == w.len - 7)
			continue;
		w.bytes[i] ^= 1;
		assert_false(stun_msg_read(&msg, w.bytes, w.len) && verifies(&msg, &w, key));
		w.bytes[i] ^= 1;
	}
	cJSON_Delete(json);
}

/* One message with one attribute of @len bytes of @fill. */
static struct wire one_attr(enum stun_attr attr, uint8_t fill, size_t len)
{
	struct wire w = {.len = 0};
	struct stun_txid txid = {{1, 2, 3}};
	struct stun_builder b;
	uint8_t value[1024];

	memset(value, fill, sizeof(value));
	stun_begin(&b, w.bytes, sizeof(w.bytes), STUN_BINDING, STUN_REQUEST, &txid);
	stun_put_bytes(&b, attr, value, len);
	w.len = stun_finish(&b, NULL, 0, false);
	assert_true(w.len > 0);
	return w;
}

static void attribute_sizes_are_exact(void **state)
{
	static const struct {
		enum stun_attr attr;
		size_t len;
	} fixed[] = {
	    {STUN_ATTR_PRIORITY, 4},           {STUN_ATTR_LIFETIME, 4},
	    {STUN_ATTR_CHANNEL_NUMBER, 4},     {STUN_ATTR_REQUESTED_TRANSPORT, 4},
	    {STUN_ATTR_USE_CANDIDATE, 0},      {STUN_ATTR_ADDITIONAL_ADDRESS_FAMILY, 4},
	    {STUN_ATTR_ICE_CONTROLLED, 8},     {STUN_ATTR_ICE_CONTROLLING, 8},
	    {STUN_ATTR_MESSAGE_INTEGRITY, 20},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(fixed); i++) {
		for (size_t len = 0; len <= 24; len++) {
			struct wire w = one_attr(fixed[i].attr, 0, len);

			assert_int_equal(reads(w.bytes, w.len), len == fixed[i].len);
		}
	}
}

static void address_sizes_are_exact(void **state)
{
	static const enum stun_attr attrs[] = {STUN_ATTR_XOR_MAPPED_ADDRESS,
					       STUN_ATTR_XOR_PEER_ADDRESS,
					       STUN_ATTR_XOR_RELAYED_ADDRESS};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(attrs); i++) {
		for (size_t len = 0; len <= 24; len++) {
			/* Every byte is the family: the second of them is what is read. */
			struct wire v4 = one_attr(attrs[i], 1, len);
			struct wire v6 = one_attr(attrs[i], 2, len);
			struct wire none = one_attr(attrs[i], 0, len);

			assert_int_equal(reads(v4.bytes, v4.len), len == 8);
			assert_int_equal(reads(v6.bytes, v6.len), len == 20);
			assert_false(reads(none.bytes, none.len));
		}
	}
}

static void text_limits_hold_at_and_beyond(void **state)
{
	static const struct {
		enum stun_attr attr;
		size_t max;
	} texts[] = {
	    {STUN_ATTR_USERNAME, STUN_MAX_USERNAME},
	    {STUN_ATTR_NONCE, STUN_MAX_NONCE},
	    {STUN_ATTR_REALM, STUN_MAX_NONCE},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct wire at = one_attr(texts[i].attr, 'a', texts[i].max);
		struct wire beyond = one_attr(texts[i].attr, 'a', texts[i].max + 1);

		assert_true(reads(at.bytes, at.len));
		assert_false(reads(beyond.bytes, beyond.len));
	}
}

static void error_codes_outside_300_to_699_are_refused(void **state)
{
	struct stun_txid txid = {{9}};

	(void)state;
	for (uint16_t code = 0; code < 800; code++) {
		struct wire w = {.len = 0};
		struct stun_builder b;
		struct stun_msg msg;

		stun_begin(&b, w.bytes, sizeof(w.bytes), STUN_ALLOCATE, STUN_ERROR, &txid);
		stun_put_error(&b, code, "Reason");
		w.len = stun_finish(&b, NULL, 0, true);
		assert_int_equal(reads(w.bytes, w.len), code >= 300 && code <= 699);
		if (stun_msg_read(&msg, w.bytes, w.len))
			assert_int_equal(msg.error_code, code);
	}
}

static void first_of_a_repeated_attribute_counts(void **state)
{
	struct endpoint v4 = endpoint_of("192.0.2.1:1000");
	struct endpoint v4_other = endpoint_of("192.0.2.2:2000");
	struct endpoint v6 = endpoint_of("[2001:db8::1]:3000");
	struct stun_txid txid = {{7}};
	struct wire w = {.len = 0};
	struct stun_builder b;
	struct stun_msg msg;

	(void)state;
	stun_begin(&b, w.bytes, sizeof(w.bytes), STUN_ALLOCATE, STUN_SUCCESS, &txid);
	stun_put_bytes(&b, STUN_ATTR_NONCE, "one", 3);
	stun_put_bytes(&b, STUN_ATTR_NONCE, "second", 6);
	stun_put_u32(&b, STUN_ATTR_LIFETIME, 600);
	stun_put_u32(&b, STUN_ATTR_LIFETIME, 1);
	stun_put_xor_address(&b, STUN_ATTR_XOR_RELAYED_ADDRESS, &v6);
	stun_put_xor_address(&b, STUN_ATTR_XOR_RELAYED_ADDRESS, &v4);
	stun_put_xor_address(&b, STUN_ATTR_XOR_RELAYED_ADDRESS, &v4_other);
	stun_put_u32(&b, STUN_ATTR_CHANNEL_NUMBER, 0x40010000);
	stun_put_u32(&b, STUN_ATTR_CHANNEL_NUMBER, 0x40020000);
	stun_put_u64(&b, STUN_ATTR_ICE_CONTROLLING, 5);
	stun_put_u64(&b, STUN_ATTR_ICE_CONTROLLED, 6);
	w.len = stun_finish(&b, NULL, 0, false);
	assert_true(stun_msg_read(&msg, w.bytes, w.len));
	assert_text(&msg.nonce, "one");
	assert_int_equal(msg.lifetime_s, 600);
	assert_true(endpoint_eq(&msg.relayed_v4, &v4) && endpoint_eq(&msg.relayed_v6, &v6));
	assert_int_equal(msg.channel, 0x4001);
	assert_true(msg.controlling && !msg.controlled && msg.tie_breaker == 5);
}

static void fingerprint_must_be_the_last_attribute(void **state)
{
	struct stun_txid txid = {{7}};
	struct wire w = {.len = 0};
	struct wire good = {.len = 0};
	struct stun_builder b;

	(void)state;
	stun_begin(&b, good.bytes, sizeof(good.bytes), STUN_BINDING, STUN_REQUEST, &txid);
	good.len = stun_finish(&b, NULL, 0, true);
	assert_true(reads(good.bytes, good.len));
	stun_begin(&b, w.bytes, sizeof(w.bytes), STUN_BINDING, STUN_REQUEST, &txid);
	stun_put_bytes(&b, STUN_ATTR_FINGERPRINT, good.bytes + STUN_HEADER_LEN + 4, 4);
	stun_put_u32(&b, STUN_ATTR_PRIORITY, 1);
	w.len = stun_finish(&b, NULL, 0, false);
	assert_false(reads(w.bytes, w.len));
}

static void username_must_be_utf8(void **state)
{
	static const struct {
		const char *text;
		bool ok;
	} cases[] = {
	    {"plain:ascii", true},       {"\xc3\xa9:x", true},       {"\xe3\x83\x9e", true},
	    {"\xf0\x9f\x98\x80", true},  {"\xf4\x8f\xbf\xbf", true}, {"\xc0\x80", false},
	    {"\xe0\x80\x80", false},     {"\xed\xa0\x80", false},    {"\xf4\x90\x80\x80", false},
	    {"\xf5\x80\x80\x80", false}, {"a\x80", false},           {"\xe3\x83", false},
	    {"\xe3\x83z", false},
	};
	struct stun_txid txid = {{7}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct wire w = {.len = 0};
		struct stun_builder b;

		stun_begin(&b, w.bytes, sizeof(w.bytes), STUN_BINDING, STUN_REQUEST, &txid);
		stun_put_bytes(&b, STUN_ATTR_USERNAME, cases[i].text, strlen(cases[i].text));
		w.len = stun_finish(&b, NULL, 0, false);
		assert_int_equal(reads(w.bytes, w.len), cases[i].ok);
	}
}

static void methods_and_classes_survive_the_wire(void **state)
{
	struct stun_txid txid = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}};

	(void)state;
	for (uint16_t method = 0; method <= 0xfff; method++) {
		for (int class = STUN_REQUEST; class <= STUN_ERROR; class ++) {
			uint8_t out[STUN_HEADER_LEN];
			struct stun_builder b;
			struct stun_msg msg;

			stun_begin(&b, out, sizeof(out), method, (enum stun_class) class, &txid);
			assert_int_equal(stun_finish(&b, NULL, 0, false), STUN_HEADER_LEN);
			assert_true(stun_msg_read(&msg, out, sizeof(out)));
			assert_int_equal(msg.method, method);
			assert_int_equal(msg.class, class);
			assert_memory_equal(msg.txid.bytes, txid.bytes, sizeof(txid.bytes));
		}
	}
}

static void builder_that_overran_gives_no_message(void **state)
{
	struct stun_txid txid = {{1}};
	struct endpoint none = {.port = 1};
	struct endpoint v6 = endpoint_of("[2001:db8::1]:3000");
	uint8_t out[128];
	struct stun_builder b;

	(void)state;
	for (size_t cap = 0; cap <= sizeof(out); cap++) {
		uint8_t *buf = malloc(cap > 0 ? cap : 1);
		size_t len = 0;

		assert_non_null(buf);
		stun_begin(&b, buf, cap, STUN_BINDING, STUN_SUCCESS, &txid);
		stun_put_xor_address(&b, STUN_ATTR_XOR_MAPPED_ADDRESS, &v6);
		len = stun_finish(&b, (const uint8_t *)"key", 3, true);
		assert_int_equal(len, cap >= 76 ? 76 : 0);
		free(buf);
	}
	stun_begin(&b, out, sizeof(out), STUN_BINDING, STUN_SUCCESS, &txid);
	stun_put_xor_address(&b, STUN_ATTR_XOR_MAPPED_ADDRESS, &none);
	assert_int_equal(stun_finish(&b, NULL, 0, false), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(rfc5769_request_decodes_and_verifies),
	    cmocka_unit_test(rfc5769_responses_give_both_families),
	    cmocka_unit_test(rfc5769_long_term_key_and_message),
	    cmocka_unit_test(ice_request_builds_to_the_vector),
	    cmocka_unit_test(ice_reply_builds_to_the_vector),
	    cmocka_unit_test(malformed_vectors_get_their_verdict),
	    cmocka_unit_test(read_leaves_the_output_alone_on_failure),
	    cmocka_unit_test(read_refuses_every_truncation_and_type_with_top_bits),
	    cmocka_unit_test(every_changed_byte_is_noticed),
	    cmocka_unit_test(attribute_sizes_are_exact),
	    cmocka_unit_test(address_sizes_are_exact),
	    cmocka_unit_test(text_limits_hold_at_and_beyond),
	    cmocka_unit_test(error_codes_outside_300_to_699_are_refused),
	    cmocka_unit_test(first_of_a_repeated_attribute_counts),
	    cmocka_unit_test(fingerprint_must_be_the_last_attribute),
	    cmocka_unit_test(username_must_be_utf8),
	    cmocka_unit_test(methods_and_classes_survive_the_wire),
	    cmocka_unit_test(builder_that_overran_gives_no_message),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
