/*
 * Messages on a stream that comes in pieces: the first byte of the input seeds the sizes of the
 * pieces, the rest is the stream (dns/framing.h).
 *
 * Always: messages lie inside of what has come, in order and without gaps, whatever the pieces;
 * what is wanted is what is needed; and a message that was read, written again, is the same bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "base/defs.h"
#include "dns/framing.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Exactly the @have bytes, so that the sanitizers see a read past them. Returns what was used. */
static size_t step(const uint8_t *stream, size_t have)
{
	uint8_t *copy = malloc(have > 0 ? have : 1), *again;
	const uint8_t *message = NULL;
	size_t n = 0, used, wanted;

	BUG_ON(!copy);
	memcpy(copy, stream, have);
	used = dns_frame_read(copy, have, &message, &n);
	wanted = dns_frame_wanted(copy, have);
	BUG_ON(wanted < DNS_FRAME_HEADER || wanted > DNS_FRAME_MAX);
	BUG_ON((used > 0) != (have >= DNS_FRAME_HEADER && wanted <= have));
	if (used == 0) {
		BUG_ON(message);
	} else {
		BUG_ON(used != n + DNS_FRAME_HEADER || used != wanted);
		BUG_ON(message != copy + DNS_FRAME_HEADER);
		again = malloc(used);
		BUG_ON(!again || dns_frame_write(again, used, message, n) != (n > 0 ? used : 0));
		BUG_ON(n > 0 && memcmp(again, copy, used) != 0);
		BUG_ON(dns_frame_write(again, used - 1, message, n) != 0);
		free(again);
	}
	free(copy);
	return used;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint32_t seed = len > 0 ? data[0] : 0;
	size_t at = 1, have = 0;

	while (at + have < len) {
		size_t used;

		seed = seed * 1103515245 + 12345;
		have = min_size(len - at, have + 1 + (seed >> 16) % 64);
		do {
			used = step(data + at, have);
			at += used;
			have -= used;
		} while (used > 0);
	}
	return 0;
}
