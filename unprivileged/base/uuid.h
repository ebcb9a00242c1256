/*
 * UUIDs as 16 bytes in text order. [RFC 9562 section 4]
 */
#ifndef BASE_UUID_H
#define BASE_UUID_H

#include "base/defs.h"

struct uuid {
	uint8_t bytes[16];
};

enum {
	UUID_TEXT_LEN = 36
};

/* The hyphenated 36-character form only, hex digits in either case; false and *out untouched
 * otherwise. */
MUST_CHECK bool uuid_parse(struct uuid *out, const char *text, size_t len);

/* Lower case, hyphenated, NUL-terminated. */
void uuid_format(const struct uuid *uuid, char out[UUID_TEXT_LEN + 1]);

bool uuid_eq(const struct uuid *a, const struct uuid *b);
int uuid_cmp(const struct uuid *a, const struct uuid *b);

#endif
