/*
 * The audit log: one JSON line per request on a descriptor of its own, fail-closed.
 *
 * audit_has_room() comes before a request is judged, audit_request() before its answer is sent.
 * Neither blocks: a line is shorter than what a pipe that polls as writable takes whole; where the
 * worker could fill the log in between, it is a socket or the front opened it non-blocking. Every
 * request has a number, so one that could not be written leaves a gap. A run of equal refusals is
 * written as its first line at once, and the number of further ones when another outcome or the
 * helper's end ends the run.
 */
#ifndef PRIVILEGED_AUDIT_H
#define PRIVILEGED_AUDIT_H

#include "ipc/ipc.h"

#include <stdbool.h>

struct audit {
	uint64_t seq;       /* of the last request; the caller counts */
	uint64_t run_count; /* refusals that are not yet written */
	uint32_t run_type;
	int run_error; /* positive errno; 0: there is no run */
};

/* Is there room for a line? If not, the request must not be carried out. */
IPC_MUST_CHECK bool audit_has_room(void);

/*
 * Record the outcome of the request numbered seq, as @reply has it. @refused: an error is the
 * helper's own decision, not the kernel's. Returns 0 or a negative errno: then the line is not in
 * the log.
 */
IPC_MUST_CHECK int audit_request(struct audit *audit, const struct ipc_request *request,
				 const struct ipc_reply *reply, bool refused);

/* A line that is not about a request: start, end, or what went wrong with a frame. @error: 0 or a
 * positive errno. */
IPC_MUST_CHECK int audit_event(struct audit *audit, const char *event, int error);

#endif
