#include "vectors.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
	FILE_MAX = 64 * 1024 * 1024, /* longer than any file of tests/data */
	HEX_SHOWN_MAX = 4096,        /* bytes of each side that a failed comparison prints */
};

static const double WHOLE_MAX =
    9007199254740992.0; /* 2^53: the last whole number a double counts without gaps */

char *vectors_read_file(const char *path, size_t *len)
{
	FILE *file = fopen(path, "rb");
	char *bytes = NULL;
	long size = -1;

	if (!file)
		fail_msg("%s: cannot be opened", path);
	if (fseek(file, 0, SEEK_END) == 0)
		size = ftell(file);
	if (size < 0 || size > FILE_MAX || fseek(file, 0, SEEK_SET) != 0)
		fail_msg("%s: not a readable file of at most %d bytes", path, FILE_MAX);
	*len = (size_t)size;
	bytes = malloc(*len + 1);
	if (!bytes || fread(bytes, 1, *len, file) != *len)
		fail_msg("%s: cannot be read whole", path);
	fclose(file);
	bytes[*len] = '\0';
	return bytes;
}

cJSON *vectors_load(const char *path)
{
	size_t len = 0;
	char *text = vectors_read_file(path, &len);
	cJSON *json = cJSON_ParseWithLength(text, len);

	free(text);
	if (!json)
		fail_msg("%s: not valid JSON", path);
	return json;
}

cJSON *vectors_parse(const char *text, size_t len)
{
	cJSON *json = cJSON_ParseWithLength(text, len);

	if (!json)
		fail_msg("not valid JSON: %.*s", (int)(len < 200 ? len : 200), text);
	return json;
}

const char *vectors_next_line(const char **at, size_t *len)
{
	const char *start = *at + strspn(*at, "\r\n");

	*len = strcspn(start, "\r\n");
	*at = start + *len;
	return *len > 0 ? start : NULL;
}

const cJSON *vectors_get(const cJSON *parent, const char *name)
{
	const cJSON *member = NULL;

	if (!cJSON_IsObject(parent))
		fail_msg("member \"%s\": its parent is not an object", name);
	member = cJSON_GetObjectItemCaseSensitive(parent, name);
	if (!member)
		fail_msg("member \"%s\" is missing", name);
	return member;
}

bool vectors_has(const cJSON *parent, const char *name)
{
	const cJSON *member = cJSON_GetObjectItemCaseSensitive(parent, name);

	return member && !cJSON_IsNull(member);
}

const cJSON *vectors_item(const cJSON *parent, int index)
{
	const cJSON *item = NULL;

	if (!cJSON_IsArray(parent))
		fail_msg("item %d: its parent is not an array", index);
	item = cJSON_GetArrayItem(parent, index);
	if (!item)
		fail_msg("item %d: the array has %d", index, cJSON_GetArraySize(parent));
	return item;
}

const char *vectors_string(const cJSON *parent, const char *name)
{
	const cJSON *member = vectors_get(parent, name);

	if (!cJSON_IsString(member))
		fail_msg("member \"%s\" is not a string", name);
	return member->valuestring;
}

uint64_t vectors_u64(const cJSON *parent, const char *name)
{
	const cJSON *member = vectors_get(parent, name);

	if (!cJSON_IsNumber(member))
		fail_msg("member \"%s\" is not a number", name);
	if (!(member->valuedouble >= 0 && member->valuedouble <= WHOLE_MAX) ||
	    floor(member->valuedouble) < member->valuedouble)
		fail_msg("member \"%s\" is not a whole number from 0 to 2^53: %g", name,
			 member->valuedouble);
	return (uint64_t)member->valuedouble;
}

bool vectors_bool(const cJSON *parent, const char *name)
{
	const cJSON *member = vectors_get(parent, name);

	if (!cJSON_IsBool(member))
		fail_msg("member \"%s\" is neither true nor false", name);
	return cJSON_IsTrue(member);
}

/* The value of one hex digit, or -1. */
static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

size_t vectors_unhex(const char *text, const char *what, uint8_t *out, size_t cap)
{
	size_t digits = strlen(text);

	if (digits % 2 != 0)
		fail_msg("\"%s\": an odd number of hex digits", what);
	if (digits / 2 > cap)
		fail_msg("\"%s\": %zu bytes, room for %zu", what, digits / 2, cap);
	for (size_t i = 0; i < digits / 2; i++) {
		int high = hex_digit(text[2 * i]);
		int low = hex_digit(text[2 * i + 1]);

		if (high < 0 || low < 0)
			fail_msg("\"%s\": not hex at digit %zu", what, 2 * i);
		out[i] = (uint8_t)(high * 16 + low);
	}
	return digits / 2;
}

size_t vectors_hex(const cJSON *parent, const char *name, uint8_t *out, size_t cap)
{
	return vectors_unhex(vectors_string(parent, name), name, out, cap);
}

void vectors_hex_exact(const cJSON *parent, const char *name, uint8_t *out, size_t len)
{
	size_t have = vectors_hex(parent, name, out, len);

	if (have != len)
		fail_msg("member \"%s\": %zu bytes, want %zu", name, have, len);
}

/* Print at most HEX_SHOWN_MAX bytes as hex; @text has room for them and a NUL. */
static void print_hex(char *text, const uint8_t *bytes, size_t len)
{
	text[0] = '\0';
	for (size_t i = 0; i < len && i < HEX_SHOWN_MAX; i++)
		snprintf(text + 2 * i, 3, "%02x", (unsigned int)bytes[i]);
}

void vectors_assert_hex(const cJSON *parent, const char *name, const uint8_t *got, size_t len)
{
	const char *text = vectors_string(parent, name);
	size_t want_len = 0;
	size_t same = 0;
	uint8_t *want = malloc(strlen(text) / 2 + 1);
	char *shown = malloc(2 * HEX_SHOWN_MAX + 1);

	assert_non_null(want);
	assert_non_null(shown);
	want_len = vectors_unhex(text, name, want, strlen(text) / 2);
	while (same < len && same < want_len && got[same] == want[same])
		same++;
	if (len != want_len || same != len) {
		print_hex(shown, got, len);
		fail_msg("\"%s\" differs at byte %zu: have %zu bytes %s, want %zu bytes %s", name,
			 same, len, shown, want_len, text);
	}
	free(shown);
	free(want);
}
