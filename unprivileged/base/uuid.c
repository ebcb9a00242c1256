#include "base/uuid.h"

#include <string.h>

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

static bool is_hyphen_place(size_t at)
{
	return at == 8 || at == 13 || at == 18 || at == 23;
}

bool uuid_parse(struct uuid *out, const char *text, size_t len)
{
	struct uuid uuid;
	size_t n = 0, at = 0;

	if (len != UUID_TEXT_LEN)
		return false;
	while (at < UUID_TEXT_LEN) {
		int high, low;

		if (is_hyphen_place(at)) {
			if (text[at++] != '-')
				return false;
			continue;
		}
		high = hex_digit(text[at]);
		low = hex_digit(text[at + 1]);
		if (high < 0 || low < 0)
			return false;
		uuid.bytes[n++] = (uint8_t)(high << 4 | low);
		at += 2;
	}
	*out = uuid;
	return true;
}

void uuid_format(const struct uuid *uuid, char out[UUID_TEXT_LEN + 1])
{
	static const char digits[] = "0123456789abcdef";
	size_t at = 0;

	for (size_t i = 0; i < sizeof(uuid->bytes); i++) {
		if (is_hyphen_place(at))
			out[at++] = '-';
		out[at++] = digits[uuid->bytes[i] >> 4];
		out[at++] = digits[uuid->bytes[i] & 15];
	}
	out[at] = '\0';
}

bool uuid_eq(const struct uuid *a, const struct uuid *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

int uuid_cmp(const struct uuid *a, const struct uuid *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}
