/*
 * Requests to a relay: building them, repeating them on schedule, finding the one that an answer
 * belongs to. [spec connections 6.2, 6.3]
 */
#ifndef TURN_REQUEST_H
#define TURN_REQUEST_H

#include "turn/state.h"

/* Begin a new exchange to the relay's address of @family. */
void turn_request_start(struct turn *t, uint16_t id, uint8_t family, uint64_t now_us);

/* Bindings to the active address on TURN_LADDER_PROBE; one in flight goes on under its transaction
 * id. */
void turn_request_probe(struct turn *t, uint64_t now_us);

/* An unsigned request of @method that draws a nonce; not repeated, it goes with the schedule of the
 * request that needs it. */
void turn_request_draw(struct turn *t, uint16_t method, bool for_deletion, uint64_t now_us);

/* The same request once more, outside its schedule. @afresh: the schedule begins anew. */
void turn_request_repeat(struct turn *t, uint16_t id, bool afresh, uint64_t now_us);

/* Its timer is due: repeat, or return false when it has been repeated enough; then it is over. */
MUST_CHECK bool turn_request_due(struct turn *t, uint16_t id, uint64_t now_us);

void turn_request_cancel(struct turn *t, uint16_t id);

/* The pending request that @msg, come from @src, answers; TURN_NO_REQUEST if none. */
uint16_t turn_request_match(struct turn *t, const struct stun_msg *msg, const struct endpoint *src);

/* Builds the next message to send in t->out; 0 when there is none. */
size_t turn_request_build_next(struct turn *t, const struct endpoint **dst);

#endif
