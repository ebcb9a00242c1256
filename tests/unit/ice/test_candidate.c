#include "ice/candidate.h"

#include <cjson/cJSON.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "vectors.h"

static const char *const recordings[] = {
    RECORDINGS_DIR "/v1-direct.jsonl",
    RECORDINGS_DIR "/v1-relay.jsonl",
    RECORDINGS_DIR "/v2-direct.jsonl",
};

static cJSON *load(void)
{
	return vectors_load(VECTORS_DIR "/connections-candidates.json");
}

static bool parse(struct candidate *out, const char *text, const char *ufrag)
{
	return candidate_parse(out, text, strlen(text), ufrag);
}

static enum candidate_kind kind_of(const char *name)
{
	return strcmp(name, "host") == 0    ? CANDIDATE_HOST
	       : strcmp(name, "srflx") == 0 ? CANDIDATE_SRFLX
	       : strcmp(name, "relay") == 0 ? CANDIDATE_RELAY
					    : CANDIDATE_PRFLX;
}

static struct endpoint ep(const char *text)
{
	struct endpoint out;

	assert_true(endpoint_parse(&out, text, strlen(text)));
	return out;
}

static void local_priorities_follow_the_vectors(void **state)
{
	cJSON *json = load();
	const cJSON *row;

	(void)state;
	cJSON_ArrayForEach(row, vectors_get(json, "local_priorities"))
	{
		uint8_t family = vectors_bool(row, "v6") ? IP_V6 : IP_V4;
		uint8_t other = family == IP_V6 ? IP_V4 : IP_V6;
		uint32_t got =
		    candidate_priority(kind_of(vectors_string(row, "kind")), family,
				       vectors_bool(row, "relay_cross_family") ? other : family,
				       (unsigned)vectors_u64(row, "same_kind_index"));

		assert_int_equal(got, vectors_u64(row, "priority"));
	}
	cJSON_Delete(json);
}

static void pair_priorities_follow_the_vectors(void **state)
{
	cJSON *json = load();
	const cJSON *row;

	(void)state;
	cJSON_ArrayForEach(row, vectors_get(json, "pair_priority"))
	{
		uint64_t got = candidate_pair_priority((uint32_t)vectors_u64(row, "client_prio"),
						       (uint32_t)vectors_u64(row, "gateway_prio"));
		char text[32];

		snprintf(text, sizeof(text), "%llu", (unsigned long long)got);
		assert_string_equal(text, vectors_string(row, "pair"));
	}
	cJSON_Delete(json);
}

static void priority_never_leaves_its_type(void **state)
{
	(void)state;
	assert_int_equal(candidate_priority(CANDIDATE_RELAY, IP_V4, IP_V6, 100000),
			 2u << 24 | 255u);
}

/* The texts agree but for the foundation, and ours is one that RFC 8839 allows. */
static void assert_same_but_foundation(const char *got, const char *want)
{
	const char *got_rest = strchr(got, ' '), *want_rest = strchr(want, ' ');

	assert_non_null(got_rest);
	assert_non_null(want_rest);
	assert_memory_equal(got, "candidate:", 10);
	assert_in_range(got_rest - got - 10, 1, 32);
	for (const char *c = got + 10; c < got_rest; c++)
		assert_non_null(strchr("0123456789abcdef", *c));
	assert_string_equal(got_rest, want_rest);
}

static void our_form_is_byte_exact_but_for_the_foundation(void **state)
{
	cJSON *json = load();
	const cJSON *row;

	(void)state;
	cJSON_ArrayForEach(row, vectors_get(json, "emitted_examples"))
	{
		struct candidate c;
		char text[CANDIDATE_TEXT_MAX], again[CANDIDATE_TEXT_MAX];
		size_t len;

		assert_true(parse(&c, row->valuestring, "6frn"));
		len = candidate_format(&c, "6frn", text, sizeof(text));
		assert_int_equal(len, strlen(text));
		assert_same_but_foundation(text, row->valuestring);
		assert_int_equal(candidate_format(&c, "6frn", again, sizeof(again)), strlen(text));
		assert_string_equal(text, again);
	}
	cJSON_Delete(json);
}

static void foundation_tells_kind_and_base_apart_but_not_ports(void **state)
{
	struct candidate a = {.kind = CANDIDATE_HOST}, b;
	char ta[CANDIDATE_TEXT_MAX], tb[CANDIDATE_TEXT_MAX];
	size_t len = strlen("candidate:") + 16;

	(void)state;
	a.addr = a.base = ep("10.0.0.5:52625");
	b = a;
	b.addr.port = b.base.port = 7;
	assert_true(candidate_format(&a, "6frn", ta, sizeof(ta)) > 0);
	assert_true(candidate_format(&b, "6frn", tb, sizeof(tb)) > 0);
	assert_memory_equal(ta, tb, len);
	b.kind = CANDIDATE_SRFLX;
	assert_true(candidate_format(&b, "6frn", tb, sizeof(tb)) > 0);
	assert_memory_not_equal(ta, tb, len);
	b = a;
	b.base = ep("10.0.0.6:52625");
	assert_true(candidate_format(&b, "6frn", tb, sizeof(tb)) > 0);
	assert_memory_not_equal(ta, tb, len);
}

static void format_refuses_a_buffer_that_is_too_small(void **state)
{
	struct candidate c = {.kind = CANDIDATE_HOST};
	char text[CANDIDATE_TEXT_MAX];
	size_t len;

	(void)state;
	c.addr = c.base = ep("10.0.0.5:52625");
	len = candidate_format(&c, "6frn", text, sizeof(text));
	assert_true(len > 0);
	assert_int_equal(candidate_format(&c, "6frn", text, len + 1), len);
	assert_int_equal(candidate_format(&c, "6frn", text, len), 0);
}

static void parse_follows_the_vectors(void **state)
{
	cJSON *json = load();
	const cJSON *row;
	struct candidate c;

	(void)state;
	cJSON_ArrayForEach(row, vectors_get(json, "parse_ok"))
	{
		const char *text = vectors_string(row, "s");

		if (cJSON_HasObjectItem(row, "note")) {
			/* Another transport or component: nothing that we could pair. */
			assert_false(parse(&c, text, NULL));
			continue;
		}
		assert_true(parse(&c, text, NULL));
		assert_int_equal(c.kind, kind_of(vectors_string(row, "kind")));
		assert_int_equal(c.priority, vectors_u64(row, "priority"));
		c.base = ep(vectors_string(row, "addr"));
		assert_true(endpoint_eq(&c.addr, &c.base));
	}
	cJSON_ArrayForEach(row, vectors_get(json, "parse_fail"))
	    assert_false(parse(&c, row->valuestring, NULL));
	cJSON_Delete(json);
}

static void parse_leaves_its_output_alone_on_failure(void **state)
{
	struct candidate c = {.priority = 77};

	(void)state;
	assert_false(parse(&c, "candidate:a 1 udp 5 1.2.3.4 7 typ wat", NULL));
	assert_int_equal(c.priority, 77);
}

static void parse_judges_the_ufrag(void **state)
{
	struct candidate c;

	(void)state;
	assert_true(parse(&c, "candidate:a 1 udp 5 1.2.3.4 7 typ host ufrag abcd", "abcd"));
	assert_true(parse(&c, "candidate:a 1 udp 5 1.2.3.4 7 typ host ufrag abcd", NULL));
	assert_true(parse(&c, "candidate:a 1 udp 5 1.2.3.4 7 typ host", "abcd"));
	assert_false(parse(&c, "candidate:a 1 udp 5 1.2.3.4 7 typ host ufrag abce", "abcd"));
	assert_false(parse(&c, "candidate:a 1 udp 5 1.2.3.4 7 typ host ufrag abc", "abcd"));
	assert_false(parse(&c, "candidate:a 1 udp 5 1.2.3.4 7 typ host ufrag", NULL));
}

static void parse_takes_what_other_clients_write(void **state)
{
	struct candidate c;

	(void)state;
	assert_true(parse(&c, "a=candidate:a 1 UDP 5 1.2.3.4 7 typ host", NULL));
	assert_true(parse(&c, "candidate:a\t1 udp 5 1.2.3.4 7 typ prflx tcptype passive\n", NULL));
	assert_int_equal(c.kind, CANDIDATE_PRFLX);
	assert_true(parse(&c, "candidate:a 1 udp 4294967295 1.2.3.4 65535 typ host", NULL));
	assert_false(parse(&c, "candidate:a 1 udp 4294967296 1.2.3.4 7 typ host", NULL));
	assert_false(parse(&c, "candidate:a 1 udp -5 1.2.3.4 7 typ host", NULL));
	assert_false(parse(&c, "candidate:a 65537 udp 5 1.2.3.4 7 typ host", NULL));
	assert_false(parse(&c, "candidate: 1 udp 5 1.2.3.4 7 typ", NULL));
	assert_false(parse(&c, "candidate:a 1 udp 5 1.2.3.4 7 typ host tcptype nonsense", NULL));
	assert_false(parse(&c, "candidate:a 1 udp 5 1.2.3.4 7 typ host rport 65536", NULL));
	assert_false(parse(&c, "candidate:a 1 udp 5 [2001:db8::1] 7 typ host", NULL));
}

static void parse_refuses_longer_text_than_the_limit(void **state)
{
	static const char head[] = "candidate:a 1 udp 5 1.2.3.4 7 typ host x ";
	char text[CANDIDATE_TEXT_MAX + 1];
	struct candidate c;

	(void)state;
	memset(text, 'y', sizeof(text));
	memcpy(text, head, sizeof(head) - 1);
	assert_true(candidate_parse(&c, text, CANDIDATE_TEXT_MAX - 1, NULL));
	assert_false(candidate_parse(&c, text, CANDIDATE_TEXT_MAX, NULL));
}

/* The strings of a recorded message and how many of them are a gateway's own. */
static void check_recorded(const cJSON *list, unsigned *seen, unsigned *ours)
{
	const cJSON *item;

	cJSON_ArrayForEach(item, list)
	{
		const char *ufrag = strstr(item->valuestring, " ufrag ");
		char text[CANDIDATE_TEXT_MAX];
		struct candidate c;

		assert_true(parse(&c, item->valuestring, ufrag ? ufrag + 7 : NULL));
		assert_true(candidate_addr_usable(&c.addr));
		(*seen)++;
		if (!ufrag)
			continue;
		assert_true(candidate_format(&c, ufrag + 7, text, sizeof(text)) > 0);
		assert_same_but_foundation(text, item->valuestring);
		(*ours)++;
	}
}

static void recorded_candidates_parse_and_print_alike(void **state)
{
	unsigned seen = 0, ours = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(recordings); i++) {
		size_t len, line_len;
		char *file = vectors_read_file(recordings[i], &len);
		const char *at = file, *line;

		while ((line = vectors_next_line(&at, &line_len))) {
			cJSON *json = vectors_parse(line, line_len);
			const cJSON *msg = cJSON_GetObjectItem(json, "msg");
			const cJSON *payload = cJSON_GetObjectItem(msg, "payload");

			check_recorded(cJSON_GetObjectItem(payload, "candidates"), &seen, &ours);
			cJSON_Delete(json);
		}
		free(file);
	}
	assert_true(seen > ours);
	assert_true(ours > 50);
}

static void addresses_that_lead_nowhere_are_not_usable(void **state)
{
	static const char *const bad[] = {
	    "0.0.0.0:7",
	    "127.0.0.1:7",
	    "224.0.0.1:7",
	    "255.255.255.255:7",
	    "169.254.169.254:7",
	    "100.64.0.1:7",
	    "100.95.255.255:7",
	    "100.96.0.1:7",
	    "100.127.255.255:7",
	    "192.0.2.1:0",
	    "[::]:7",
	    "[::1]:7",
	    "[ff02::1]:7",
	    "[::ffff:192.0.2.1]:7",
	    "[fd00:2021:1111::1]:7",
	    "[fd00:2021:1111:8000::1]:7",
	    "[fe80::1]:7",
	    "[2001:db8::1]:0",
	};
	static const char *const good[] = {
	    "192.0.2.1:1",   "10.0.0.1:65535",  "192.168.1.1:7",         "100.63.255.255:7",
	    "100.128.0.0:7", "[2001:db8::1]:7", "[fd00:2021:1112::1]:7",
	};
	struct endpoint at;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		at = ep(bad[i]);
		assert_false(candidate_addr_usable(&at));
	}
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		at = ep(good[i]);
		assert_true(candidate_addr_usable(&at));
	}
	at = ep("[fe80::1]:7");
	at.scope = 3;
	assert_true(candidate_addr_usable(&at));
	at = (struct endpoint){.port = 7};
	assert_false(candidate_addr_usable(&at));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(local_priorities_follow_the_vectors),
	    cmocka_unit_test(pair_priorities_follow_the_vectors),
	    cmocka_unit_test(priority_never_leaves_its_type),
	    cmocka_unit_test(our_form_is_byte_exact_but_for_the_foundation),
	    cmocka_unit_test(foundation_tells_kind_and_base_apart_but_not_ports),
	    cmocka_unit_test(format_refuses_a_buffer_that_is_too_small),
	    cmocka_unit_test(parse_follows_the_vectors),
	    cmocka_unit_test(parse_leaves_its_output_alone_on_failure),
	    cmocka_unit_test(parse_judges_the_ufrag),
	    cmocka_unit_test(parse_takes_what_other_clients_write),
	    cmocka_unit_test(parse_refuses_longer_text_than_the_limit),
	    cmocka_unit_test(recorded_candidates_parse_and_print_alike),
	    cmocka_unit_test(addresses_that_lead_nowhere_are_not_usable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
