#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum {
	MAX_DIRECTIVES = 32,
	MAX_TARGET = 48,
	MAX_LINE = 4096,
	MAX_VALUE = 512,
	LEVEL_OFF = -1,
};

struct directive {
	char target[MAX_TARGET]; /* empty: every target */
	int level;               /* enum log_level or LEVEL_OFF */
};

struct log {
	struct log_config cfg;
	struct directive directives[MAX_DIRECTIVES];
	size_t n_directives;
	int most; /* the most verbose level that any directive lets through */
};

struct line {
	char buf[MAX_LINE];
	size_t len;
	bool full; /* something did not fit */
};

static const char *const level_names[] = {"ERROR", "WARN", "INFO", "DEBUG", "TRACE"};

static bool level_parse(int *out, const char *text, size_t len)
{
	if (len == 3 && strncasecmp(text, "off", 3) == 0) {
		*out = LEVEL_OFF;
		return true;
	}
	for (size_t i = 0; i < ARRAY_LEN(level_names); i++) {
		if (strlen(level_names[i]) == len && strncasecmp(text, level_names[i], len) == 0) {
			*out = (int)i;
			return true;
		}
	}
	return false;
}

static bool target_ok(const char *text, size_t len)
{
	return len > 0 && len < MAX_TARGET &&
	       strspn(text, "abcdefghijklmnopqrstuvwxyz"
			    "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
			    "0123456789_:-.") >= len;
}

/* One directive: "level", "target", "target=level"; "[span]" behind the target is accepted and
 * means the whole target. */
static bool directive_parse(struct directive *out, const char *text, size_t len)
{
	const char *equals = memchr(text, '=', len);
	const char *span = memchr(text, '[', len);
	size_t target_len = len;

	memset(out, 0, sizeof(*out));
	if (level_parse(&out->level, text, len))
		return true;
	out->level = LOG_TRACE;
	if (span) {
		const char *close = memchr(span, ']', (size_t)(text + len - span));

		if (!close || (close + 1 < text + len && close[1] != '='))
			return false;
		target_len = (size_t)(span - text);
		equals = close + 1 < text + len ? close + 1 : NULL;
	} else if (equals) {
		target_len = (size_t)(equals - text);
	}
	if (equals && !level_parse(&out->level, equals + 1, (size_t)(text + len - equals - 1)))
		return false;
	if (span && target_len == 0)
		return true;
	if (!target_ok(text, target_len))
		return false;
	memcpy(out->target, text, target_len);
	return true;
}

static bool filter_parse(struct log *log, const char *filter, char *err, size_t err_len)
{
	const char *at = filter;

	while (*at != '\0') {
		size_t len = strcspn(at, ",");
		size_t lead = strspn(at, " \t");
		size_t end = len;

		lead = min_size(lead, len);
		while (end > lead && (at[end - 1] == ' ' || at[end - 1] == '\t'))
			end--;
		if (end > lead) {
			if (log->n_directives == MAX_DIRECTIVES ||
			    !directive_parse(&log->directives[log->n_directives], at + lead,
					     end - lead)) {
				snprintf(err, err_len, "malformed log directive '%.*s'",
					 (int)(end - lead), at + lead);
				return false;
			}
			log->n_directives++;
		}
		at += len;
		if (*at == ',')
			at++;
	}
	return true;
}

struct log *log_new(const struct log_config *cfg, char *err, size_t err_len)
{
	struct log *log = calloc(1, sizeof(*log));

	if (!log) {
		snprintf(err, err_len, "out of memory");
		return NULL;
	}
	log->cfg = *cfg;
	log->cfg.filter = NULL;
	if (!filter_parse(log, cfg->filter && cfg->filter[0] ? cfg->filter : "info", err,
			  err_len)) {
		free(log);
		return NULL;
	}
	log->most = LEVEL_OFF;
	for (size_t i = 0; i < log->n_directives; i++)
		if (log->directives[i].level > log->most)
			log->most = log->directives[i].level;
	return log;
}

void log_free(struct log *log)
{
	free(log);
}

bool log_wants(const struct log *log, enum log_level level, const char *target)
{
	size_t best_len = 0;
	int best = LEVEL_OFF;
	bool found = false;

	if (!log || (int)level > log->most)
		return false;
	for (size_t i = 0; i < log->n_directives; i++) {
		size_t len = strlen(log->directives[i].target);

		if (strncmp(log->directives[i].target, target, len) != 0)
			continue;
		if (len > 0 && target[len] != '\0' && target[len] != ':')
			continue;
		if (!found || len >= best_len) {
			found = true;
			best_len = len;
			best = log->directives[i].level;
		}
	}
	return best >= (int)level;
}

static void put(struct line *line, const char *text, size_t len)
{
	size_t room = sizeof(line->buf) - 2 - line->len; /* "}" and the line's end */

	if (line->full || len > room) {
		line->full = true;
		return;
	}
	memcpy(line->buf + line->len, text, len);
	line->len += len;
}

static void put_text(struct line *line, const char *text)
{
	put(line, text, strlen(text));
}

/*
 * The length of the UTF-8 character at @text, 0 if there is none. [RFC 3629 section 4] The bytes
 * end at a NUL, so looking one ahead is safe as long as all before were good.
 */
static size_t utf8_len(const unsigned char *text)
{
	size_t len = text[0] < 0xc2   ? 0
		     : text[0] < 0xe0 ? 2
		     : text[0] < 0xf0 ? 3
		     : text[0] < 0xf5 ? 4
				      : 0;

	for (size_t i = 1; i < len; i++)
		if ((text[i] & 0xc0) != 0x80)
			return 0;
	if ((text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xed && text[1] > 0x9f) ||
	    (text[0] == 0xf0 && text[1] < 0x90) || (text[0] == 0xf4 && text[1] > 0x8f))
		return 0;
	return len;
}

/* One character that is not plain ASCII; returns how many bytes it took. C1 controls and broken
 * sequences are replaced. */
static size_t put_wide(struct line *line, const char *text)
{
	const unsigned char *bytes = (const unsigned char *)text;
	size_t len = utf8_len(bytes);

	if (len == 0 || (bytes[0] == 0xc2 && bytes[1] < 0xa0)) {
		put_text(line, "\\ufffd");
		return len > 0 ? len : 1;
	}
	put(line, text, len);
	return len;
}

/* Control characters, quotes and backslashes never reach a terminal or break a JSON string; the
 * output is UTF-8. */
static void put_escaped(struct line *line, const char *text)
{
	size_t at = 0;

	while (text[at] != '\0' && at < MAX_VALUE) {
		unsigned char c = (unsigned char)text[at];
		char hex[8];

		if (c >= 0x80) {
			at += put_wide(line, text + at);
			continue;
		}
		if (c == '"' || c == '\\') {
			put_text(line, c == '"' ? "\\\"" : "\\\\");
		} else if (c < 0x20 || c == 0x7f) {
			put(line, hex, (size_t)snprintf(hex, sizeof(hex), "\\u%04x", c));
		} else {
			put(line, text + at, 1);
		}
		at++;
	}
	if (text[at] != '\0')
		put_text(line, "...");
}

static void put_time(struct line *line, uint64_t wall_us, bool micros)
{
	time_t seconds = (time_t)(wall_us / US_PER_S);
	unsigned fraction = (unsigned)(wall_us % US_PER_S);
	struct tm tm;
	char text[64];

	if (!gmtime_r(&seconds, &tm))
		return;
	put(line, text, strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm));
	if (micros)
		snprintf(text, sizeof(text), ".%06uZ", fraction);
	else
		snprintf(text, sizeof(text), ".%03uZ", fraction / 1000);
	put_text(line, text);
}

static void put_field_human(struct line *line, const struct log_field *field)
{
	char number[24];

	put_text(line, " ");
	put_text(line, field->key);
	put_text(line, "=");
	if (field->is_number) {
		snprintf(number, sizeof(number), "%lld", (long long)field->number);
		put_text(line, number);
	} else if (!field->text || field->text[0] == '\0' || strpbrk(field->text, " \t\"")) {
		put_text(line, "\"");
		put_escaped(line, field->text ? field->text : "");
		put_text(line, "\"");
	} else {
		put_escaped(line, field->text);
	}
}

/* A member that does not fit is left out with all that follow, so that the line stays one object.
 */
static void put_member(struct line *line, const char *key, const char *text)
{
	size_t before = line->len;

	put_text(line, ",\"");
	put_escaped(line, key);
	put_text(line, "\":\"");
	put_escaped(line, text);
	put_text(line, "\"");
	if (line->full)
		line->len = before;
}

static void put_number_member(struct line *line, const char *key, int64_t value)
{
	size_t before = line->len;
	char number[24];

	put_text(line, ",\"");
	put_escaped(line, key);
	snprintf(number, sizeof(number), "\":%lld", (long long)value);
	put_text(line, number);
	if (line->full)
		line->len = before;
}

static void put_field_json(struct line *line, const struct log_field *field)
{
	if (field->is_number)
		put_number_member(line, field->key, field->number);
	else
		put_member(line, field->key, field->text ? field->text : "");
}

void log_write(struct log *log, enum log_level level, const char *target, const char *message,
	       const struct log_field *fields, size_t n)
{
	uint64_t wall_us = log->cfg.wall_us ? log->cfg.wall_us(log->cfg.ctx) : 0;
	struct line line;
	char head[64];

	line.len = 0;
	line.full = false;
	if (log->cfg.format == LOG_JSON) {
		put_text(&line, "{\"timestamp\":\"");
		put_time(&line, wall_us, true);
		put_text(&line, "\"");
		put_member(&line, "level", level_names[level]);
		put_member(&line, "target", target);
		put_member(&line, "message", message);
		for (size_t i = 0; i < n; i++)
			put_field_json(&line, &fields[i]);
		line.buf[line.len++] = '}';
	} else {
		put_time(&line, wall_us, false);
		snprintf(head, sizeof(head), " %5s %s: ", level_names[level], target);
		put_text(&line, head);
		put_text(&line, message);
		for (size_t i = 0; i < n; i++)
			put_field_human(&line, &fields[i]);
	}
	line.buf[line.len++] = '\n';
	log->cfg.write(log->cfg.ctx, line.buf, line.len);
}
