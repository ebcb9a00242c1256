/*
 * Who this gateway is to the portal: its id and the form of it that is sent. [spec portal 2.2,
 * operations 3]
 */
#ifndef FRONT_IDENTITY_H
#define FRONT_IDENTITY_H

#include "base/defs.h"

/* Where the id is kept and derived from; the real ones unless a test says otherwise. */
struct identity_places {
	const char *dir;        /* /var/lib/firezone */
	const char *machine_id; /* /etc/machine-id */
};
struct identity_places identity_places(void);

/*
 * The id: @given unless that is NULL or empty, else the file gateway_id, else derived from the
 * machine id, else random and written to the file. sodium_init() comes first.
 *
 * 0, and in @warning a sentence or ""; or a negative errno and a sentence in @err.
 */
MUST_CHECK int identity_find(const char *given, const struct identity_places *places, char *out,
			     size_t size, char *warning, size_t warning_len, char *err,
			     size_t err_len);

/* The form that is sent: the SHA-256 in hex of an id that parses as a UUID, any other id as it
 * stands. False: no room. */
MUST_CHECK bool identity_external(const char *id, char *out, size_t size);

/* A fresh random UUID (version 4) as 36 characters and NUL. */
void identity_random_uuid(char out[37]);

#endif
