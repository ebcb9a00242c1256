/*
 * What a relay's answer means. Integrity comes before state: an answer that is not signed with our
 * key changes nothing, save a Binding's and the nonce of an unsigned error. [spec
 * connections 6.2, 6.4]
 */
#ifndef TURN_ANSWER_H
#define TURN_ANSWER_H

#include "turn/state.h"

/* Any datagram from @src to our local address @dst; whatever is not the answer to a pending request
 * is ignored. */
void turn_answer(struct turn *t, const uint8_t *buf, size_t len, const struct endpoint *src,
		 const struct endpoint *dst, uint64_t now_us);

#endif
