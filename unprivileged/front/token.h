/*
 * Finds the portal's token. [spec operations 2, portal 2.1]
 */
#ifndef FRONT_TOKEN_H
#define FRONT_TOKEN_H

#include "base/defs.h"

/* Each may be NULL. What holds nothing but white space counts as not given. */
struct token_sources {
	const char *argument;
	const char *variable;        /* FIREZONE_TOKEN */
	const char *credentials_dir; /* CREDENTIALS_DIRECTORY */
};

enum token_from {
	TOKEN_FROM_ARGUMENT,
	TOKEN_FROM_VARIABLE,
	TOKEN_FROM_CREDENTIAL
};

/*
 * The first source that holds something, in the order of the struct, without any white space,
 * NUL-terminated in @out.
 *
 * 0 and *from, or with a sentence in @err and @out wiped: -ENOENT when there is none, -EINVAL when
 * it holds bytes that are not printable ASCII or does not fit. The caller wipes @out.
 */
MUST_CHECK int token_read(const struct token_sources *sources, char *out, size_t size,
			  enum token_from *from, char *err, size_t err_len);

#endif
