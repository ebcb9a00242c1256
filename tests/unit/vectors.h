/*
 * Test data for cmocka cases: JSON vectors, recordings and hex fields.
 *
 * Every function here fails the running test with a message that names the file or the field when
 * the data is not what the caller says it is; none of them returns an error. Load by full path:
 * VECTORS_DIR "/connections-stun.json".
 */
#ifndef TESTS_UNIT_VECTORS_H
#define TESTS_UNIT_VECTORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cjson/cJSON.h>

/* Read a whole file. One NUL byte follows the @len bytes. The caller frees the result with free().
 */
char *vectors_read_file(const char *path, size_t *len);

/* Read and parse one JSON file. The caller frees the result with cJSON_Delete(). */
cJSON *vectors_load(const char *path);

/* Parse one JSON text of @len bytes, such as a line of a recording. Freed with cJSON_Delete(). */
cJSON *vectors_parse(const char *text, size_t len);

/*
 * Take the next line of a text. *@at moves past it; *@len is its length without the line feed.
 * Empty lines are skipped. Returns NULL at the end.
 */
const char *vectors_next_line(const char **at, size_t *len);

/* Member @name of an object. A missing member, or a parent that is no object, fails the test. Owned
 * by @parent. */
const cJSON *vectors_get(const cJSON *parent, const char *name);

/* Whether @parent has a member @name that is not null. */
bool vectors_has(const cJSON *parent, const char *name);

/* Element @index of an array. Owned by @parent. */
const cJSON *vectors_item(const cJSON *parent, int index);

/* The text of a member. Valid as long as @parent. */
const char *vectors_string(const cJSON *parent, const char *name);

/* A member that is a whole number from 0 to 2^53. */
uint64_t vectors_u64(const cJSON *parent, const char *name);

/* A member that is true or false. */
bool vectors_bool(const cJSON *parent, const char *name);

/*
 * Decode a member of hex digits into @out, which has room for @cap bytes. Upper and lower case, no
 * separators. Returns the number of bytes.
 */
size_t vectors_hex(const cJSON *parent, const char *name, uint8_t *out, size_t cap);

/* As vectors_hex(), but the member must hold exactly @len bytes. */
void vectors_hex_exact(const cJSON *parent, const char *name, uint8_t *out, size_t len);

/* Decode the hex digits of @text; @what names them in the message of a failure. Returns the number
 * of bytes. */
size_t vectors_unhex(const char *text, const char *what, uint8_t *out, size_t cap);

/*
 * Compare @got with a member of hex digits. On a difference the test fails; the message has the
 * name, both texts in hex and the first differing byte.
 */
void vectors_assert_hex(const cJSON *parent, const char *name, const uint8_t *got, size_t len);

#endif
