#include "portal/json.h"

#include <malloc.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "portal/messages.h"

enum { MAX_MEMBERS = 64 };

static void free_wiped(void *p)
{
	if (p)
		sodium_memzero(p, malloc_usable_size(p));
	free(p);
}

void portal_json_init(void)
{
	cJSON_Hooks hooks = { .malloc_fn = malloc, .free_fn = free_wiped };

	cJSON_InitHooks(&hooks);
}

/* Nesting outside of strings; the parser itself recurses, so this comes first. */
static bool too_deep(const char *text, size_t len)
{
	bool in_string = false;
	int depth = 0;

	for (size_t i = 0; i < len; i++) {
		if (in_string) {
			if (text[i] == '\\')
				i++;
			else if (text[i] == '"')
				in_string = false;
		} else if (text[i] == '"') {
			in_string = true;
		} else if (text[i] == '{' || text[i] == '[') {
			if (++depth > PORTAL_MAX_DEPTH)
				return true;
		} else if (text[i] == '}' || text[i] == ']') {
			depth--;
		}
	}
	return false;
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

cJSON *json_parse(const char *text, size_t len, bool *truncated)
{
	const char *end = text;
	cJSON *root;

	*truncated = only_blanks(text, len);
	if (*truncated || len > PORTAL_MAX_MESSAGE || too_deep(text, len))
		return NULL;
	root = cJSON_ParseWithLengthOpts(text, len, &end, false);
	if (!root) {
		*truncated = end + 1 >= text + len;
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

	if (!cJSON_IsNumber(item))
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
