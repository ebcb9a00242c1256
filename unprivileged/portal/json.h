/*
 * Typed access to a parsed JSON object: each getter says whether the member is there and of the
 * right kind. Not for other rooms.
 */
#ifndef PORTAL_JSON_H
#define PORTAL_JSON_H

#include <cjson/cJSON.h>

#include "base/defs.h"
#include "base/uuid.h"
#include "packet/addr.h"

/*
 * Parse a whole text with bounds on depth, members and values; duplicate members and escaped NULs
 * are refused. NULL on failure; *truncated tells whether the text ended too early. Free with
 * cJSON_Delete().
 */
cJSON *json_parse(const char *text, size_t len, bool *truncated);

const cJSON *json_member(const cJSON *object, const char *key);

/* Text of fewer than @cap bytes, copied with its NUL. */
MUST_CHECK bool json_text(const cJSON *object, const char *key, char *out, size_t cap);
/* The same, but longer texts are cut. */
MUST_CHECK bool json_text_cut(const cJSON *object, const char *key, char *out, size_t cap);
MUST_CHECK bool json_uuid(const cJSON *object, const char *key, struct uuid *out);
MUST_CHECK bool json_ip(const cJSON *object, const char *key, uint8_t family, struct ip_addr *out);
MUST_CHECK bool json_endpoint(const cJSON *object, const char *key, struct endpoint *out);

/* An integer that a double holds exactly. */
MUST_CHECK bool json_integer(const cJSON *object, const char *key, int64_t *out);

/* Standard base64 with padding of exactly 32 bytes. */
MUST_CHECK bool json_key(const cJSON *object, const char *key, uint8_t out[32]);

#endif
