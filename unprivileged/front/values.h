/*
 * The kinds of values that options take. Pure; false, with the output untouched, for malformed
 * text.
 */
#ifndef FRONT_VALUES_H
#define FRONT_VALUES_H

#include "base/defs.h"

#include <netinet/in.h>

/* true, false, 1, 0, yes, no, on, off in any case. */
MUST_CHECK bool value_bool(const char *text, bool *out);

/* "127.0.0.1:8080" or "[::1]:8080"; the first as a sockaddr_in in the same memory. Port 0 is
 * refused. */
MUST_CHECK bool value_ip_port(const char *text, struct sockaddr_in6 *out);

/* Decimal bytes from @low to @high. */
MUST_CHECK bool value_size(const char *text, uint32_t low, uint32_t high, uint32_t *out);

/*
 * Microseconds of a duration such as "24h", "1h 30m" or "1.5d": one or more numbers with a unit
 * each, blanks allowed between and around them; a bare "0" needs no unit. Fractions below a
 * microsecond are cut, sums from 2^63 refused.
 */
MUST_CHECK bool value_duration(const char *text, uint64_t *out_us);

#endif
