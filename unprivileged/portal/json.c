#include "portal/json.h"

#include <malloc.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "portal/messages.h"

enum {
	MAX_MEMBERS = 64,
	MAX_VALUES = 5 * 65536, /* an `init` with the most authorizations has 4 for each */
	ESCAPED_NUL = 5,        /* u0000 */
};

static void free_wiped(void *p)
{
	if (p)
		sodium_memzero(p, malloc_usable_size(p));
	free(p);
}

void portal_json_init(void)
{
	cJSON_Hooks hooks = {.malloc_fn = malloc, .free_fn = free_wiped};

	cJSON_InitHooks(&hooks);
}

/* What can be said of a text without parsing it. */
struct outline {
	bool refused; /* too deep, too many values, a control character, an escaped NUL: that one
			 would cut a string short */
	bool open;    /* ends inside a string */
};

struct scan {
	const char *text;
	size_t len, at;
	int depth;
	size_t values;
	struct outline found;
};

static void scan_string(struct scan *s)
{
	s->found.open = true;
	for (; s->at < s->len && s->found.open; s->at++) {
		if (s->text[s->at] == '"')
			s->found.open = false;
		if ((unsigned char)s->text[s->at] < ' ')
			s->found.refused = true;
		if (s->text[s->at] != '\\')
			continue;
		s->at++;
		if (s->len - s->at >= ESCAPED_NUL &&
		    memcmp(s->text + s->at, "u0000", ESCAPED_NUL) == 0)
			s->found.refused = true;
	}
}

/* The parser itself recurses and takes memory for each value, so this comes first. */
static struct outline outline_of(const char *text, size_t len)
{
	struct scan s = {.text = text, .len = len};

	while (s.at < s.len) {
		char c = text[s.at++];

		if (c == '"')
			scan_string(&s);
		else if (c == '{' || c == '[')
			s.depth++;
		else if (c == '}' || c == ']')
			s.depth--;
		s.values += c == ',' || c == '{' || c == '[';
		if (s.depth > PORTAL_MAX_DEPTH || s.values > MAX_VALUES)
			s.found.refused = true;
	}
	return s.found;
}

static bool members_ok(const cJSON *object)
{
	const cJSON *seen[MAX_MEMBERS];
	size_t n = 0;

	for (const cJSON *m = object->child; m; m = m->next) {
		if (n == MAX_MEMBERS || !m->string)
			return false;
		for (size_t i = 0; i < n; i++)
			if (strcmp(seen[i]->string, m->string) == 0)
				return false;
		seen[n++] = m;
	}
	return true;
}

/* Depth is bounded by too_deep(). */
static bool tree_ok(const cJSON *node)
{
	if (cJSON_IsObject(node) && !members_ok(node))
		return false;
	if (!cJSON_IsObject(node) && !cJSON_IsArray(node))
		return true;
	for (const cJSON *m = node->child; m; m = m->next)
		if (!tree_ok(m))
			return false;
	return true;
}

static bool only_blanks(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!memchr(" \t\r\n", text[i], 4))
			return false;
	return true;
}

/* The parser stopped at @at: was all that it had left the beginning of a value? */
static bool ends_in_value(const char *at, size_t len)
{
	static const char *const words[] = {"true", "false", "null"};

	if (len <= 1)
		return true;
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (len < strlen(words[i]) && memcmp(at, words[i], len) == 0)
			return true;
	return false;
}

cJSON *json_parse(const char *text, size_t len, bool *truncated)
{
	struct outline outline = outline_of(text, len);
	const char *end = text;
	cJSON *root;

	*truncated = only_blanks(text, len);
	if (*truncated || len > PORTAL_MAX_MESSAGE || outline.refused)
		return NULL;
	root = cJSON_ParseWithLengthOpts(text, len, &end, false);
	if (!root) {
		*truncated = outline.open || ends_in_value(end, (size_t)(text + len - end));
		return NULL;
	}
	if (!only_blanks(end, (size_t)(text + len - end)) || !tree_ok(root)) {
		cJSON_Delete(root);
		return NULL;
	}
	return root;
}

const cJSON *json_member(const cJSON *object, const char *key)
{
	return cJSON_IsObject(object) ? cJSON_GetObjectItemCaseSensitive(object, key) : NULL;
}

static const char *text_of(const cJSON *object, const char *key)
{
	return cJSON_GetStringValue(json_member(object, key));
}

bool json_text(const cJSON *object, const char *key, char *out, size_t cap)
{
	const char *text = text_of(object, key);
	size_t len;

	if (!text)
		return false;
	len = strlen(text);
	if (len >= cap)
		return false;
	memcpy(out, text, len + 1);
	return true;
}

bool json_text_cut(const cJSON *object, const char *key, char *out, size_t cap)
{
	const char *text = text_of(object, key);
	size_t len;

	if (!text)
		return false;
	len = min_size(strlen(text), cap - 1);
	memcpy(out, text, len);
	out[len] = '\0';
	return true;
}

bool json_uuid(const cJSON *object, const char *key, struct uuid *out)
{
	const char *text = text_of(object, key);

	return text && uuid_parse(out, text, strlen(text));
}

bool json_ip(const cJSON *object, const char *key, uint8_t family, struct ip_addr *out)
{
	const char *text = text_of(object, key);
	struct ip_addr ip;

	if (!text || !ip_parse(&ip, text, strlen(text)) || ip.family != family)
		return false;
	*out = ip;
	return true;
}

bool json_endpoint(const cJSON *object, const char *key, struct endpoint *out)
{
	const char *text = text_of(object, key);

	return text && endpoint_parse(out, text, strlen(text));
}

bool json_integer(const cJSON *object, const char *key, int64_t *out)
{
	const double limit = 9007199254740992.0; /* 2^53 */
	const cJSON *item = json_member(object, key);
	double v;

	if (!item || !cJSON_IsNumber(item))
		return false;
	v = item->valuedouble;
	if (!(v >= -limit && v <= limit) || v != (double)(int64_t)v)
		return false;
	*out = (int64_t)v;
	return true;
}

bool json_key(const cJSON *object, const char *key, uint8_t out[32])
{
	const char *text = text_of(object, key);
	uint8_t bytes[33];
	const char *end;
	size_t len;
	bool ok;

	if (!text)
		return false;
	ok = sodium_base642bin(bytes, sizeof(bytes), text, strlen(text), NULL, &len, &end,
			       sodium_base64_VARIANT_ORIGINAL) == 0 &&
	     *end == '\0' && len == 32;
	if (ok)
		memcpy(out, bytes, 32);
	sodium_memzero(bytes, sizeof(bytes));
	return ok;
}
