/* Log lines: both formats, filters, escaping, what does not fit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "vectors.h"

/* 2026-11-25 02:15:04.123456 UTC */
static const uint64_t clock_us = UINT64_C(1795572904123456);

struct sink {
	struct log *log;
	char line[8192];
	size_t len;
	unsigned lines;
};

static void on_line(void *ctx, const char *line, size_t len)
{
	struct sink *s = ctx;

	assert_true(len > 0 && len < sizeof(s->line));
	memcpy(s->line, line, len);
	s->line[len] = '\0';
	s->len = len;
	s->lines++;
}

static uint64_t on_clock(void *ctx)
{
	(void)ctx;
	return clock_us;
}

static void sink_new(struct sink *s, enum log_format format, const char *filter)
{
	struct log_config cfg = {
	    .format = format, .filter = filter, .write = on_line, .wall_us = on_clock, .ctx = s};
	char err[128];

	memset(s, 0, sizeof(*s));
	s->log = log_new(&cfg, err, sizeof(err));
	if (!s->log)
		fail_msg("%s", err);
}

/* The line is one JSON object and nothing else. */
static cJSON *object_of(const struct sink *s)
{
	const char *end = NULL;
	cJSON *object = cJSON_ParseWithOpts(s->line, &end, false);

	if (!object)
		fail_msg("no JSON: %s", s->line);
	assert_true(cJSON_IsObject(object));
	assert_string_equal(end, "\n");
	assert_ptr_equal(strchr(s->line, '\n'), s->line + s->len - 1);
	return object;
}

static bool accepts(const char *filter)
{
	struct log_config cfg = {.filter = filter, .write = on_line};
	char err[128] = "";
	struct log *log = log_new(&cfg, err, sizeof(err));
	bool ok = log != NULL;

	assert_int_equal(ok, err[0] == '\0');
	log_free(log);
	return ok;
}

static void human_line_has_time_level_target_message_and_fields(void **state)
{
	struct sink s;

	(void)state;
	sink_new(&s, LOG_HUMAN, "info");
	log_at(s.log, LOG_INFO, "tunnel", "Resource granted", KV_STR("client", "4f1c"),
	       KV_INT("n", -3));
	assert_string_equal(
	    s.line, "2026-11-25T02:15:04.123Z  INFO tunnel: Resource granted client=4f1c n=-3\n");
	log_say(s.log, LOG_ERROR, "tunnel", "Gone");
	assert_string_equal(s.line, "2026-11-25T02:15:04.123Z ERROR tunnel: Gone\n");
	log_free(s.log);
}

static void human_values_are_quoted_where_they_would_be_ambiguous(void **state)
{
	struct sink s;

	(void)state;
	sink_new(&s, LOG_HUMAN, "info");
	log_at(s.log, LOG_INFO, "t", "m", KV_STR("a", ""), KV_STR("b", NULL), KV_STR("c", "x y"),
	       KV_STR("d", "x\"y"));
	assert_non_null(strstr(s.line, "m a=\"\" b=\"\" c=\"x y\" d=\"x\\\"y\"\n"));
	log_free(s.log);
}

static void json_line_is_one_flat_object(void **state)
{
	struct sink s;
	cJSON *object;

	(void)state;
	sink_new(&s, LOG_JSON, "info");
	log_at(s.log, LOG_WARN, "phoenix_channel", "Hiccup", KV_STR("error", "a \"b\" \\c"),
	       KV_INT("n", INT64_MIN));
	object = object_of(&s);
	assert_string_equal(vectors_string(object, "timestamp"), "2026-11-25T02:15:04.123456Z");
	assert_string_equal(vectors_string(object, "level"), "WARN");
	assert_string_equal(vectors_string(object, "target"), "phoenix_channel");
	assert_string_equal(vectors_string(object, "message"), "Hiccup");
	assert_string_equal(vectors_string(object, "error"), "a \"b\" \\c");
	assert_non_null(strstr(s.line, "\"n\":-9223372036854775808}"));
	cJSON_Delete(object);
	log_free(s.log);
}

static void control_characters_reach_no_line(void **state)
{
	char all[33];
	struct sink s;

	(void)state;
	for (int i = 1; i < 32; i++)
		all[i - 1] = (char)i;
	all[31] = 0x7f;
	all[32] = '\0';
	for (int format = LOG_HUMAN; format <= LOG_JSON; format++) {
		sink_new(&s, (enum log_format)format, "info");
		log_at(s.log, LOG_INFO, "t", "m", KV_STR("v", all));
		for (size_t i = 0; i + 1 < s.len; i++)
			assert_true(s.line[i] >= 0x20 && s.line[i] != 0x7f);
		assert_non_null(strstr(s.line, "\\u0001\\u0002"));
		assert_non_null(strstr(s.line, "\\u000a"));
		log_free(s.log);
	}
}

static void text_that_is_not_utf8_is_replaced(void **state)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
	    {"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"}, /* two bytes */
	    {"\xe2\x82\xac", "\xe2\x82\xac"},             /* three */
	    {"\xf0\x9f\x9a\x80", "\xf0\x9f\x9a\x80"},     /* four */
	    {"a\xffz", "a\\ufffdz"},                      /* never a byte of UTF-8 */
	    {"\xc3", "\\ufffd"},                          /* cut */
	    {"\xe2\x82", "\\ufffd\\ufffd"},
	    {"\xc0\xaf", "\\ufffd\\ufffd"}, /* overlong */
	    {"\xe0\x80\xaf", "\\ufffd\\ufffd\\ufffd"},
	    {"\xed\xa0\x80", "\\ufffd\\ufffd\\ufffd"},            /* surrogate */
	    {"\xf4\x90\x80\x80", "\\ufffd\\ufffd\\ufffd\\ufffd"}, /* beyond the last */
	    {"\xc2\x9b"
	     "31m",
	     "\\ufffd"
	     "31m"}, /* a terminal's escape in one character */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char expect[64];
		struct sink s;

		sink_new(&s, LOG_JSON, "info");
		log_at(s.log, LOG_INFO, "t", "m", KV_STR("v", rows[i].in));
		snprintf(expect, sizeof(expect), "\"v\":\"%s\"}", rows[i].out);
		if (!strstr(s.line, expect))
			fail_msg("row %zu: %s", i, s.line);
		cJSON_Delete(object_of(&s));
		log_free(s.log);
	}
}

static void long_value_is_cut_at_512_bytes(void **state)
{
	char value[514];
	struct sink s;
	cJSON *object;

	(void)state;
	sink_new(&s, LOG_JSON, "info");
	memset(value, 'x', sizeof(value));
	value[512] = '\0';
	log_at(s.log, LOG_INFO, "t", "m", KV_STR("v", value));
	object = object_of(&s);
	assert_int_equal(strlen(vectors_string(object, "v")), 512);
	cJSON_Delete(object);
	value[512] = 'x';
	value[513] = '\0';
	log_at(s.log, LOG_INFO, "t", "m", KV_STR("v", value));
	object = object_of(&s);
	assert_int_equal(strlen(vectors_string(object, "v")), 515);
	assert_string_equal(vectors_string(object, "v") + 512, "...");
	cJSON_Delete(object);
	log_free(s.log);
}

/* However long the fields are, at whatever place the line is full. */
static void cut_json_line_is_still_one_object(void **state)
{
	char pad[512], last[512];
	struct sink s;

	(void)state;
	sink_new(&s, LOG_JSON, "info");
	memset(last, '\n', sizeof(last) - 1);
	last[sizeof(last) - 1] = '\0';
	for (size_t len = 0; len < sizeof(pad); len++) {
		cJSON *object;

		memset(pad, '"', len);
		pad[len] = '\0';
		log_at(s.log, LOG_INFO, "t", "m", KV_STR("a", last), KV_STR("b", pad),
		       KV_STR("c", last), KV_INT("d", 1), KV_STR("e", last));
		object = object_of(&s);
		assert_true(s.len <= 4096);
		assert_true(vectors_has(object, "a"));
		assert_true(vectors_has(object, "b") || len > 400);
		assert_false(vectors_has(object, "c") || vectors_has(object, "d") ||
			     vectors_has(object, "e"));
		cJSON_Delete(object);
	}
	log_free(s.log);
}

static void cut_json_line_with_a_long_target_is_still_one_object(void **state)
{
	char text[1024];
	struct sink s;

	(void)state;
	sink_new(&s, LOG_JSON, "info");
	memset(text, 1, sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	log_at(s.log, LOG_INFO, text, text, KV_STR(text, text), KV_INT(text, 1));
	cJSON_Delete(object_of(&s));
	log_free(s.log);
}

static void cut_human_line_ends_with_a_line_feed(void **state)
{
	char value[512];
	struct sink s;

	(void)state;
	sink_new(&s, LOG_HUMAN, "info");
	memset(value, 1, sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	log_at(s.log, LOG_INFO, "t", "m", KV_STR("a", value), KV_STR("b", value), KV_INT("c", 1));
	assert_true(s.len <= 4096);
	assert_ptr_equal(strchr(s.line, '\n'), s.line + s.len - 1);
	log_free(s.log);
}

static void filter_of_a_level_is_for_every_target(void **state)
{
	static const char *const names[] = {"error", "WARN", "Info", "debug", "trace"};
	struct sink s;

	(void)state;
	for (int level = LOG_ERROR; level <= LOG_TRACE; level++) {
		sink_new(&s, LOG_HUMAN, names[level]);
		for (int asked = LOG_ERROR; asked <= LOG_TRACE; asked++)
			assert_int_equal(log_wants(s.log, (enum log_level)asked, "tunnel"),
					 asked <= level);
		log_free(s.log);
	}
	sink_new(&s, LOG_HUMAN, "off");
	assert_false(log_wants(s.log, LOG_ERROR, "tunnel"));
	log_at(s.log, LOG_ERROR, "tunnel", "m", KV_INT("n", 1));
	log_say(s.log, LOG_ERROR, "tunnel", "m");
	assert_int_equal(s.lines, 0);
	log_free(s.log);
}

static void without_a_filter_info_is_written(void **state)
{
	struct sink s;

	(void)state;
	for (int i = 0; i < 2; i++) {
		sink_new(&s, LOG_HUMAN, i == 0 ? NULL : "");
		assert_true(log_wants(s.log, LOG_INFO, "tunnel"));
		assert_false(log_wants(s.log, LOG_DEBUG, "tunnel"));
		log_free(s.log);
	}
}

static void most_specific_directive_wins(void **state)
{
	struct sink s;

	(void)state;
	sink_new(&s, LOG_HUMAN, "warn, wire=debug ,wire::api=off,wire::api::recv=trace,,tunnel");
	assert_true(log_wants(s.log, LOG_WARN, "snownet"));
	assert_false(log_wants(s.log, LOG_INFO, "snownet"));
	assert_true(log_wants(s.log, LOG_DEBUG, "wire"));
	assert_true(log_wants(s.log, LOG_DEBUG, "wire::net"));
	assert_false(log_wants(s.log, LOG_TRACE, "wire::net"));
	assert_false(log_wants(s.log, LOG_ERROR, "wire::api::send"));
	assert_true(log_wants(s.log, LOG_TRACE, "wire::api::recv"));
	assert_true(log_wants(s.log, LOG_TRACE, "tunnel"));
	/* A prefix of letters is no prefix of a path. */
	assert_false(log_wants(s.log, LOG_INFO, "wireguard"));
	log_free(s.log);
}

static void later_directive_for_the_same_target_wins(void **state)
{
	struct sink s;

	(void)state;
	sink_new(&s, LOG_HUMAN, "info,tunnel=debug,tunnel=error");
	assert_false(log_wants(s.log, LOG_WARN, "tunnel"));
	log_free(s.log);
}

static void spans_are_accepted_and_mean_the_whole_target(void **state)
{
	struct sink s;

	(void)state;
	sink_new(&s, LOG_HUMAN, "warn,tunnel[client{id=4}]=debug,[init]=info,snownet[x]");
	assert_true(log_wants(s.log, LOG_DEBUG, "tunnel"));
	assert_true(log_wants(s.log, LOG_TRACE, "snownet"));
	assert_true(log_wants(s.log, LOG_INFO, "other"));
	log_free(s.log);
}

static void malformed_directives_are_refused_and_named(void **state)
{
	static const char *const bad[] = {"=",      "tunnel=",    "tunnel=loud",
					  "=debug", "a b",        "tunnel[x=debug",
					  "a[b]c",  "a[b]c=info", "info,tun/nel=debug"};
	struct log_config cfg = {.filter = "info,x=loud", .write = on_line};
	char err[128];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (accepts(bad[i]))
			fail_msg("%s is accepted", bad[i]);
	assert_null(log_new(&cfg, err, sizeof(err)));
	assert_string_equal(err, "malformed log directive 'x=loud'");
	assert_null(log_new(&cfg, NULL, 0));
}

static void thirty_two_directives_are_the_limit(void **state)
{
	char filter[256] = "";

	(void)state;
	for (int i = 1; i <= 33; i++) {
		strcat(filter, "a=info,");
		assert_int_equal(accepts(filter), i <= 32);
	}
}

static void targets_up_to_47_characters_are_accepted(void **state)
{
	char filter[64];

	(void)state;
	for (size_t len = 46; len <= 48; len++) {
		memset(filter, 'a', len);
		strcpy(filter + len, "=info");
		assert_int_equal(accepts(filter), len <= 47);
	}
}

static void no_log_is_silent(void **state)
{
	(void)state;
	assert_false(log_wants(NULL, LOG_ERROR, "t"));
	log_at(NULL, LOG_ERROR, "t", "m", KV_INT("n", 1));
	log_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(human_line_has_time_level_target_message_and_fields),
	    cmocka_unit_test(human_values_are_quoted_where_they_would_be_ambiguous),
	    cmocka_unit_test(json_line_is_one_flat_object),
	    cmocka_unit_test(control_characters_reach_no_line),
	    cmocka_unit_test(text_that_is_not_utf8_is_replaced),
	    cmocka_unit_test(long_value_is_cut_at_512_bytes),
	    cmocka_unit_test(cut_json_line_is_still_one_object),
	    cmocka_unit_test(cut_json_line_with_a_long_target_is_still_one_object),
	    cmocka_unit_test(cut_human_line_ends_with_a_line_feed),
	    cmocka_unit_test(filter_of_a_level_is_for_every_target),
	    cmocka_unit_test(without_a_filter_info_is_written),
	    cmocka_unit_test(most_specific_directive_wins),
	    cmocka_unit_test(later_directive_for_the_same_target_wins),
	    cmocka_unit_test(spans_are_accepted_and_mean_the_whole_target),
	    cmocka_unit_test(malformed_directives_are_refused_and_named),
	    cmocka_unit_test(thirty_two_directives_are_the_limit),
	    cmocka_unit_test(targets_up_to_47_characters_are_accepted),
	    cmocka_unit_test(no_log_is_silent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
