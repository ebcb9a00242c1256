/*
 * Log filters (base/log.h) of any content, and lines with any values under them.
 *
 * Input: one byte for the format, the filter up to the first line feed, then a target and a value,
 * separated by line feeds.
 */
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "base/defs.h"
#include "base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum {
	MAX_LINE = 4096
};

struct sink {
	enum log_format format;
	unsigned lines;
};

static void check_json(const char *line, size_t len)
{
	const char *end = NULL;
	cJSON *object = cJSON_ParseWithLengthOpts(line, len, &end, 0);

	BUG_ON(!object || !cJSON_IsObject(object) || end != line + len - 1);
	BUG_ON(!cJSON_GetObjectItem(object, "timestamp") || !cJSON_GetObjectItem(object, "level"));
	cJSON_Delete(object);
}

static void on_line(void *ctx, const char *line, size_t len)
{
	struct sink *s = ctx;

	BUG_ON(len == 0 || len > MAX_LINE || line[len - 1] != '\n');
	/* No control character, of either block, leaves the log; a target is ours and is not
	 * escaped for humans. */
	for (size_t i = 0; i + 1 < len && s->format == LOG_JSON; i++) {
		BUG_ON((unsigned char)line[i] < 0x20 || line[i] == 0x7f);
		BUG_ON((unsigned char)line[i] == 0xc2 && (unsigned char)line[i + 1] < 0xa0);
	}
	if (s->format == LOG_JSON)
		check_json(line, len);
	s->lines++;
}

/* The text up to the next line feed; *at moves behind it. */
static char *next_text(const char **at, const char *end)
{
	size_t n = (size_t)(end - *at);
	const char *eol = n > 0 ? memchr(*at, '\n', n) : NULL;
	char *text;

	if (eol)
		n = (size_t)(eol - *at);
	text = strndup(*at, n);
	BUG_ON(!text);
	*at += eol ? n + 1 : n;
	return text;
}

static void write_lines(struct log *log, struct sink *s, const char *target, const char *value)
{
	bool more = false;

	for (int level = LOG_TRACE; level >= LOG_ERROR; level--) {
		bool wants = log_wants(log, (enum log_level)level, target);
		unsigned before = s->lines;

		/* What lets a level through lets the more severe ones through. */
		BUG_ON(more && !wants);
		more = wants;
		log_at(log, (enum log_level)level, target, "Event", KV_STR("value", value),
		       KV_STR("again", value), KV_INT("n", level));
		BUG_ON(s->lines != before + wants);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const char *at = (const char *)data, *end = at + len;
	struct sink sink = {.format = LOG_HUMAN};
	struct log_config cfg = {.write = on_line, .ctx = &sink};
	char err[128] = "", *filter, *target, *value;
	struct log *log;

	if (len == 0)
		return 0;
	sink.format = data[0] & 1 ? LOG_JSON : LOG_HUMAN;
	at++;
	filter = next_text(&at, end);
	target = next_text(&at, end);
	value = next_text(&at, end);
	cfg.format = sink.format;
	cfg.filter = filter;
	log = log_new(&cfg, err, sizeof(err));
	BUG_ON(!log && err[0] == '\0');
	if (log)
		write_lines(log, &sink, target, value);
	log_free(log);
	free(filter);
	free(target);
	free(value);
	return 0;
}
