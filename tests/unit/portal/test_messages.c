/*
 * Portal messages: the recorded ones all parse, ours print as recorded, broken ones are refused as
 * a whole.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "portal/messages.h"
#include "vectors.h"

static enum portal_event event_of(const char *text)
{
	struct portal_envelope env;

	portal_parse(&env, text, strlen(text));
	if (env.event == PORTAL_EVENT_MESSAGE)
		portal_msg_free(&env.msg);
	return env.event;
}

static bool is_for_gateway(const cJSON *line)
{
	return strcmp(vectors_string(line, "dir"), "send") == 0 &&
	       strcmp(vectors_string(line, "kind"), "gateway") == 0;
}

static void check_recording(const char *path, unsigned int at_least)
{
	size_t len, line_len;
	char *text = vectors_read_file(path, &len);
	const char *at = text, *line;
	unsigned int seen = 0;

	while ((line = vectors_next_line(&at, &line_len))) {
		cJSON *record = vectors_parse(line, line_len);

		if (is_for_gateway(record)) {
			char *msg = cJSON_PrintUnformatted(vectors_get(record, "msg"));
			enum portal_event event = event_of(msg);

			if (event == PORTAL_EVENT_IGNORED || event == PORTAL_EVENT_BROKEN)
				fail_msg("%s: not parsed: %s", path, msg);
			seen++;
			free(msg);
		}
		cJSON_Delete(record);
	}
	free(text);
	assert_true(seen >= at_least);
}

static void every_recorded_message_parses(void **state)
{
	(void)state;
	check_recording(RECORDINGS_DIR "/v1-direct.jsonl", 20);
	check_recording(RECORDINGS_DIR "/v1-relay.jsonl", 3);
	check_recording(RECORDINGS_DIR "/v2-direct.jsonl", 20);
}

#define HEAD "{\"topic\":\"gateway\",\"ref\":null,\"event\":"
#define IDS                                                       \
	"\"client_id\":\"11111111-2222-4333-8444-555555555555\"," \
	"\"resource_id\":\"21111111-2222-4333-8444-555555555555\""
#define KEY "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define FLOW(ref, resource, key, ice, expires)                                                    \
	HEAD "\"authorize_flow\",\"payload\":{\"ref\":" ref ",\"resource\":" resource             \
	     ",\"client\":{\"id\":\"11111111-2222-4333-8444-555555555555\",\"public_key\":\"" key \
	     "\",\"preshared_key\":\"" KEY                                                        \
	     "\",\"ipv4\":\"100.64.0.7\",\"ipv6\":\"fd00:2021:1111::7\"},"                        \
	     "\"gateway_ice_credentials\":" ice ",\"client_ice_credentials\":" ice                \
	     ",\"expires_at\":" expires "}}"
#define ICE "{\"username\":\"ab3d\",\"password\":\"k5m2q7w4e6r3t5y7u2i4o6\"}"
#define CIDR(address, filters)                                                            \
	"{\"type\":\"cidr\",\"id\":\"31111111-2222-4333-8444-555555555555\",\"address\":" \
	"\"" address "\",\"name\":\"Lab\",\"filters\":" filters "}"

static void flow_is_read_with_all_members(void **state)
{
	const char *text = FLOW(
	    "\"SFMy\"", CIDR("10.20.0.0/16", "[{\"protocol\":\"tcp\",\"port_range_start\":80}]"),
	    KEY, ICE, "1790000000");
	struct portal_envelope env;

	(void)state;
	portal_parse(&env, text, strlen(text));
	assert_int_equal(env.event, PORTAL_EVENT_MESSAGE);
	assert_int_equal(env.msg.kind, PORTAL_AUTHORIZE_FLOW);
	assert_string_equal(env.msg.u.flow.ref, "SFMy");
	assert_int_equal(env.msg.u.flow.resource.prefix.len, 16);
	assert_int_equal(env.msg.u.flow.resource.n_filters, 1);
	assert_int_equal(env.msg.u.flow.resource.filters[0].port_start, 80);
	assert_int_equal(env.msg.u.flow.resource.filters[0].port_end, 65535);
	assert_int_equal(env.msg.u.flow.client_key[31], 31);
	assert_int_equal(env.msg.u.flow.expires_at, 1790000000);
	portal_msg_free(&env.msg);
}

static void flow_without_end_never_expires(void **state)
{
	const char *text =
	    FLOW("\"r\"", "{\"type\":\"internet\",\"id\":\"31111111-2222-4333-8444-555555555555\"}",
		 KEY, ICE, "null");
	struct portal_envelope env;

	(void)state;
	portal_parse(&env, text, strlen(text));
	assert_int_equal(env.event, PORTAL_EVENT_MESSAGE);
	assert_true(env.msg.u.flow.expires_at == TUNNEL_NEVER_EXPIRES);
	assert_int_equal(env.msg.u.flow.resource.kind, RESOURCE_INTERNET);
	portal_msg_free(&env.msg);
}

static void broken_flows_are_refused_whole(void **state)
{
	static const char *const texts[] = {
	    FLOW("\"r\"", CIDR("10.20.0.0/16", "[]"), KEY, ICE, "\"1790000000\""),
	    FLOW("\"r\"", CIDR("10.20.0.0/16", "[]"), KEY, ICE, "1.5"),
	    FLOW("7", CIDR("10.20.0.0/16", "[]"), KEY, ICE, "1790000000"),
	    FLOW("\"r\"", CIDR("10.20.0.1/16", "[]"), KEY, ICE, "1790000000"),
	    FLOW("\"r\"", CIDR("10.20.0.1", "[]"), KEY, ICE, "1790000000"),
	    FLOW("\"r\"", CIDR("10.20.0.0/33", "[]"), KEY, ICE, "1790000000"),
	    FLOW("\"r\"", CIDR("10.20.0.0/16", "[{\"protocol\":\"sctp\"}]"), KEY, ICE,
		 "1790000000"),
	    FLOW("\"r\"",
		 CIDR("10.20.0.0/16",
		      "[{\"protocol\":\"tcp\",\"port_range_start\":9,\"port_range_end\":8}]"),
		 KEY, ICE, "1790000000"),
	    FLOW("\"r\"", CIDR("10.20.0.0/16", "[{\"protocol\":\"udp\",\"port_range_end\":65536}]"),
		 KEY, ICE, "1790000000"),
	    FLOW("\"r\"", "{\"type\":\"ip\",\"id\":\"31111111-2222-4333-8444-555555555555\"}", KEY,
		 ICE, "1790000000"),
	    FLOW("\"r\"", CIDR("10.20.0.0/16", "[]"), "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
		 ICE, "1790000000"),
	    FLOW("\"r\"", CIDR("10.20.0.0/16", "[]"),
		 "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9=", ICE, "1790000000"),
	    FLOW("\"r\"", CIDR("10.20.0.0/16", "[]"), KEY,
		 "{\"username\":\"abc\",\"password\":\"short\"}", "1790000000"),
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		if (event_of(texts[i]) != PORTAL_EVENT_IGNORED)
			fail_msg("accepted: %s", texts[i]);
	}
}

static void duplicate_keys_depth_and_size_are_refused(void **state)
{
	char deep[256];
	size_t n = 0;

	(void)state;
	assert_int_equal(event_of(HEAD "\"reject_access\",\"payload\":{" IDS "}}"),
			 PORTAL_EVENT_MESSAGE);
	assert_int_equal(event_of(HEAD "\"reject_access\",\"payload\":{" IDS "," IDS "}}"),
			 PORTAL_EVENT_IGNORED);
	for (int i = 0; i < 40; i++)
		deep[n++] = '[';
	for (int i = 0; i < 40; i++)
		deep[n++] = ']';
	deep[n] = '\0';
	assert_int_equal(event_of(deep), PORTAL_EVENT_IGNORED);
}

static void truncated_text_breaks_the_connection_other_errors_do_not(void **state)
{
	(void)state;
	assert_int_equal(event_of(""), PORTAL_EVENT_BROKEN);
	assert_int_equal(event_of(HEAD "\"init\",\"payload\":{"), PORTAL_EVENT_BROKEN);
	assert_int_equal(event_of("{\"topic\":\"gatew"), PORTAL_EVENT_BROKEN);
	assert_int_equal(event_of("{\"topic\":\"a\\"), PORTAL_EVENT_BROKEN);
	assert_int_equal(event_of("{\"topic\":tru"), PORTAL_EVENT_BROKEN);
	assert_int_equal(event_of("{\"topic\":tru e}"), PORTAL_EVENT_IGNORED);
	assert_int_equal(event_of(HEAD "\"allow_access\",\"payload\":{}}"), PORTAL_EVENT_IGNORED);
	assert_int_equal(event_of(HEAD "\"phx_close\",\"payload\":7}"), PORTAL_EVENT_CLOSE);
}

static void relay_entries_of_one_id_become_one_dual_relay(void **state)
{
#define RELAY(type, id, addr)                                       \
	"{\"type\":\"" type "\",\"id\":\"" id "\",\"addr\":\"" addr \
	"\",\"username\":\"1:u\",\"password\":\"p\",\"expires_at\":1}"
	static const char *const one = "5b0c6f0e-5f8a-4a39-9a0e-0d8f0f9a0001";
	const char *text = HEAD
	    "\"relays_presence\",\"payload\":{\"disconnected_ids\":[],\"connected\":"
	    "[" RELAY("turn", "5b0c6f0e-5f8a-4a39-9a0e-0d8f0f9a0001", "203.0.113.7:3478") "," RELAY(
		"turn", "5b0c6f0e-5f8a-4a39-9a0e-0d8f0f9a0002",
		"203.0.113.8:3478") "," RELAY("stun", "5b0c6f0e-5f8a-4a39-9a0e-0d8f0f9a0003",
					      "203.0.113.9:3478") "," RELAY("turn",
									    "5b0c6f0e-"
									    "5f8a-4a39-"
									    "9a0e-"
									    "0d8f0f9a0004",
									    "127.0.0.1:"
									    "3478") "," RELAY("tur"
											      "n",
											      "5b0c"
											      "6f0e"
											      "-5f8"
											      "a-"
											      "4a39"
											      "-9a0"
											      "e-"
											      "0d8f"
											      "0f9a"
											      "000"
											      "1",
											      "[200"
											      "1:"
											      "db8:"
											      ":7]:"
											      "347"
											      "8") "]}}";
	struct portal_envelope env;
	char id[UUID_TEXT_LEN + 1];

	(void)state;
	portal_parse(&env, text, strlen(text));
	assert_int_equal(env.event, PORTAL_EVENT_MESSAGE);
	assert_int_equal(env.msg.u.presence.n_connected, 2);
	uuid_format(&env.msg.u.presence.connected[0].id, id);
	assert_string_equal(id, one);
	assert_int_equal(env.msg.u.presence.connected[0].v4.port, 3478);
	assert_int_equal(env.msg.u.presence.connected[0].v6.ip.family, IP_V6);
	assert_int_equal(env.msg.u.presence.connected[1].v6.ip.family, IP_NONE);
	portal_msg_free(&env.msg);
}

static void candidates_that_are_no_strings_are_skipped_singly(void **state)
{
	const char *text =
	    HEAD "\"ice_candidates\",\"payload\":{\"client_id\":"
		 "\"11111111-2222-4333-8444-555555555555\",\"candidates\":[1,\"a\",null,\"b\"]}}";
	struct portal_envelope env;

	(void)state;
	portal_parse(&env, text, strlen(text));
	assert_int_equal(env.event, PORTAL_EVENT_MESSAGE);
	assert_int_equal(env.msg.u.candidates.n, 2);
	assert_string_equal(env.msg.u.candidates.texts[1], "b");
	portal_msg_free(&env.msg);
}

/* A message with @n times @item, comma-separated, between @head and @tail; the caller frees it. */
static char *repeated(const char *head, const char *item, size_t n, const char *tail)
{
	size_t cap = strlen(head) + n * (strlen(item) + 1) + strlen(tail) + 1, len;
	char *text = malloc(cap);

	assert_non_null(text);
	len = (size_t)snprintf(text, cap, "%s", head);
	for (size_t i = 0; i < n; i++)
		len += (size_t)snprintf(text + len, cap - len, "%s%s", i > 0 ? "," : "", item);
	snprintf(text + len, cap - len, "%s", tail);
	return text;
}

static enum portal_event event_of_repeated(const char *head, const char *item, size_t n,
					   const char *tail)
{
	char *text = repeated(head, item, n, tail);
	enum portal_event event = event_of(text);

	free(text);
	return event;
}

static void counts_are_bounded(void **state)
{
#define FILTERS                                                                                    \
	"{\"type\":\"cidr\",\"id\":\"31111111-2222-4333-8444-555555555555\",\"address\":\"10.0.0." \
	"0/8\",\"name\":\"n\",\"filters\":["
	static const char filters[] = HEAD "\"resource_updated\",\"payload\":" FILTERS;
	static const char grants[] = HEAD "\"init\",\"payload\":{\"interface\":{\"ipv4\":\"100.64."
					  "0.1\",\"ipv6\":\"fd00:2021:1111::1\"},"
					  "\"authorizations\":[";
	static const char candidates[] = HEAD "\"ice_candidates\",\"payload\":{\"client_id\":"
					      "\"11111111-2222-4333-8444-555555555555\","
					      "\"candidates\":[";
	char *text = repeated(candidates, "\"c\"", PORTAL_MAX_CANDIDATES + 1, "]}}");
	struct portal_envelope env;

	(void)state;
	portal_parse(&env, text, strlen(text));
	assert_int_equal(env.event, PORTAL_EVENT_MESSAGE);
	assert_int_equal(env.msg.u.candidates.n, PORTAL_MAX_CANDIDATES);
	portal_msg_free(&env.msg);
	free(text);
	assert_int_equal(event_of_repeated(filters, "{\"protocol\":\"icmp\"}", 1024, "]}}"),
			 PORTAL_EVENT_MESSAGE);
	assert_int_equal(event_of_repeated(filters, "{\"protocol\":\"icmp\"}", 1025, "]}}"),
			 PORTAL_EVENT_IGNORED);
	assert_int_equal(event_of_repeated(grants, "{" IDS ",\"expires_at\":1}", 5000, "]}}"),
			 PORTAL_EVENT_MESSAGE);
	/* Small values by the million would take a hundred times their text's memory. */
	text = repeated("{\"event\":\"x\",\"payload\":[", "0", 1000000, "]}");
	portal_parse(&env, text, strlen(text));
	assert_string_equal(env.why, "invalid JSON");
	free(text);
}

static void texts_that_a_nul_would_cut_short_are_refused(void **state)
{
	static const char raw[] = "{\"event\":\"x\0y\"}";
	struct portal_envelope env;

	(void)state;
	assert_int_equal(
	    event_of(FLOW("\"a\\u0000b\"", CIDR("10.20.0.0/16", "[]"), KEY, ICE, "1790000000")),
	    PORTAL_EVENT_IGNORED);
	assert_int_equal(event_of(HEAD "\"reject_access\\u0000\",\"payload\":{" IDS "}}"),
			 PORTAL_EVENT_IGNORED);
	assert_int_equal(
	    event_of(FLOW("\"a\\\\u0000b\"", CIDR("10.20.0.0/16", "[]"), KEY, ICE, "1790000000")),
	    PORTAL_EVENT_MESSAGE);
	portal_parse(&env, raw, sizeof(raw) - 1);
	assert_int_equal(env.event, PORTAL_EVENT_IGNORED);
}

static void reference_is_echoed_with_its_control_characters_up_to_16_kib(void **state)
{
	const char *text =
	    FLOW("\"a\\u0001\\n\\u00e9\\\"\"", CIDR("10.20.0.0/16", "[]"), KEY, ICE, "1790000000");
	struct portal_send send = {.kind = PORTAL_SEND_FLOW_AUTHORIZED};
	struct portal_envelope env;
	char *long_ref = malloc(PORTAL_MAX_REF + 4096);
	char *echo;

	(void)state;
	portal_parse(&env, text, strlen(text));
	assert_int_equal(env.event, PORTAL_EVENT_MESSAGE);
	send.flow_ref = env.msg.u.flow.ref;
	echo = portal_print(&send, 1);
	assert_non_null(strstr(echo, "{\"ref\":\"a\\u0001\\n\xc3\xa9\\\"\"}"));
	free(echo);
	portal_msg_free(&env.msg);
	for (int more = 0; more < 2; more++) {
		int len = snprintf(long_ref, PORTAL_MAX_REF + 4096,
				   HEAD "\"authorize_flow\",\"payload\":{\"ref\":\"%0*d",
				   PORTAL_MAX_REF + more, 0);

		snprintf(long_ref + len, (size_t)(PORTAL_MAX_REF + 4096 - len), "%s",
			 strchr(strstr(text, "\\\"\"") + 2, '"'));
		assert_int_equal(event_of(long_ref),
				 more ? PORTAL_EVENT_IGNORED : PORTAL_EVENT_MESSAGE);
	}
	free(long_ref);
}

static enum portal_event expiry_event(const char *value, int64_t *out)
{
	struct portal_envelope env;
	char text[512];

	snprintf(text, sizeof(text),
		 HEAD "\"access_authorization_expiry_updated\",\"payload\":{" IDS
		      ",\"expires_at\":%s}}",
		 value);
	portal_parse(&env, text, strlen(text));
	*out = env.event == PORTAL_EVENT_MESSAGE ? env.msg.u.access.expires_at : 0;
	if (env.event == PORTAL_EVENT_MESSAGE)
		portal_msg_free(&env.msg);
	return env.event;
}

static void expiries_are_integers_without_overflow(void **state)
{
	static const char *const bad[] = {"null",  "\"1\"", "1.5", "9223372036854775808",
					  "1e400", "-1e99", "{}"};
	int64_t v;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(expiry_event(bad[i], &v), PORTAL_EVENT_IGNORED);
	assert_int_equal(expiry_event("-5", &v), PORTAL_EVENT_MESSAGE);
	assert_int_equal(v, -5);
	assert_int_equal(expiry_event("253402300800", &v), PORTAL_EVENT_MESSAGE);
	assert_true(v == INT64_C(253402300800));
}

static size_t relays_of(const char *entries)
{
	char text[4096];
	struct portal_envelope env;
	size_t n;

	snprintf(text, sizeof(text),
		 HEAD
		 "\"relays_presence\",\"payload\":{\"disconnected_ids\":[],\"connected\":[%s]}}",
		 entries);
	portal_parse(&env, text, strlen(text));
	assert_int_equal(env.event, PORTAL_EVENT_MESSAGE);
	n = env.msg.u.presence.n_connected;
	portal_msg_free(&env.msg);
	return n;
}

static size_t relays_with(const char *addr, int username_len)
{
	char text[2048];

	snprintf(text, sizeof(text),
		 "{\"type\":\"turn\",\"id\":\"5b0c6f0e-5f8a-4a39-9a0e-0d8f0f9a0001\",\"addr\":\"%"
		 "s\",\"username\":\"%.*s\","
		 "\"password\":\"p\",\"expires_at\":1}",
		 addr, username_len,
		 "uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu"
		 "uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu"
		 "uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu"
		 "uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu"
		 "uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu"
		 "uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu"
		 "uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu"
		 "uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu");
	return relays_of(text);
}

static void unusable_relays_are_left_out(void **state)
{
	static const char *const bad[] = {"127.0.0.1:3478",
					  "0.0.0.0:3478",
					  "224.0.0.1:3478",
					  "255.255.255.255:3478",
					  "192.0.2.1:0",
					  "[::1]:3478",
					  "[::]:3478",
					  "[ff02::1]:3478",
					  "[::ffff:127.0.0.1]:3478",
					  "relay.example:3478"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (relays_with(bad[i], 8) != 0)
			fail_msg("accepted: %s", bad[i]);
	assert_int_equal(relays_with("192.0.2.1:3478", 0), 0);
	assert_int_equal(relays_with("192.0.2.1:3478", 512), 1);
	assert_int_equal(relays_with("192.0.2.1:3478", 513), 0);
}

static void references_may_be_decimal_strings(void **state)
{
	static const struct {
		const char *text;
		bool has;
	} refs[] = {{"7", true},     {"\"7\"", true}, {"\"x\"", false}, {"-7", false},
		    {"null", false}, {"1e30", false}, {"\"\"", false}};
	struct portal_envelope env;
	char text[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(refs); i++) {
		snprintf(text, sizeof(text),
			 "{\"topic\":\"gateway\",\"event\":\"phx_reply\",\"payload\":{\"status\":"
			 "\"ok\"},\"ref\":%s}",
			 refs[i].text);
		portal_parse(&env, text, strlen(text));
		assert_int_equal(env.event, PORTAL_EVENT_REPLY);
		assert_int_equal(env.has_ref, refs[i].has);
		assert_true(!env.has_ref || env.ref == 7);
	}
}

static void our_messages_print_as_the_portal_expects(void **state)
{
	static const char *const candidates[] = {
	    "candidate:1 1 udp 1 192.0.2.1 1 typ host ufrag ab3d"};
	struct portal_send send = {.kind = PORTAL_SEND_JOIN};
	char *text = portal_print(&send, 0);

	(void)state;
	assert_string_equal(
	    text, "{\"topic\":\"gateway\",\"event\":\"phx_join\",\"payload\":null,\"ref\":0}");
	free(text);
	send.kind = PORTAL_SEND_HEARTBEAT;
	text = portal_print(&send, 4);
	assert_string_equal(
	    text, "{\"topic\":\"phoenix\",\"event\":\"heartbeat\",\"payload\":{},\"ref\":4}");
	free(text);
	send.kind = PORTAL_SEND_FLOW_AUTHORIZED;
	send.flow_ref = "SFMyNTY.g2gD";
	text = portal_print(&send, 3);
	assert_string_equal(text, "{\"topic\":\"gateway\",\"event\":\"flow_authorized\","
				  "\"payload\":{\"ref\":\"SFMyNTY.g2gD\"},\"ref\":3}");
	free(text);
	send.kind = PORTAL_SEND_CANDIDATES;
	assert_true(uuid_parse(&send.client, "3f0d7c1a-0000-4000-8000-00000000c1d1", 36));
	send.candidates = candidates;
	send.n_candidates = 1;
	text = portal_print(&send, 5);
	assert_string_equal(
	    text, "{\"topic\":\"gateway\",\"event\":\"broadcast_ice_candidates\",\"payload\":{"
		  "\"client_ids\":[\"3f0d7c1a-0000-4000-8000-00000000c1d1\"],\"candidates\":["
		  "\"candidate:1 1 udp 1 192.0.2.1 1 typ host ufrag ab3d\"]},\"ref\":5}");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_recorded_message_parses),
	    cmocka_unit_test(flow_is_read_with_all_members),
	    cmocka_unit_test(flow_without_end_never_expires),
	    cmocka_unit_test(broken_flows_are_refused_whole),
	    cmocka_unit_test(duplicate_keys_depth_and_size_are_refused),
	    cmocka_unit_test(truncated_text_breaks_the_connection_other_errors_do_not),
	    cmocka_unit_test(relay_entries_of_one_id_become_one_dual_relay),
	    cmocka_unit_test(candidates_that_are_no_strings_are_skipped_singly),
	    cmocka_unit_test(counts_are_bounded),
	    cmocka_unit_test(texts_that_a_nul_would_cut_short_are_refused),
	    cmocka_unit_test(reference_is_echoed_with_its_control_characters_up_to_16_kib),
	    cmocka_unit_test(expiries_are_integers_without_overflow),
	    cmocka_unit_test(unusable_relays_are_left_out),
	    cmocka_unit_test(references_may_be_decimal_strings),
	    cmocka_unit_test(our_messages_print_as_the_portal_expects),
	};

	portal_json_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
