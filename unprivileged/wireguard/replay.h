/*
 * Which counters of a session's data messages were seen: a sliding window of WG_REPLAY_WINDOW.
 * [WireGuard paper 5.4.6; RFC 6479]
 *
 * A counter is asked about before decryption and marked only after it. Zeroed memory is a fresh
 * window.
 */
#ifndef WIREGUARD_REPLAY_H
#define WIREGUARD_REPLAY_H

#include "base/defs.h"
#include "wireguard/wg.h"

enum {
	WG_REPLAY_WORDS = WG_REPLAY_WINDOW / 64
};

struct wg_replay {
	uint64_t next; /* highest marked counter + 1 */
	uint64_t seen[WG_REPLAY_WORDS];
};

/* True for a counter at or above the highest + 1, or inside the window and not marked. */
bool wg_replay_may(const struct wg_replay *replay, uint64_t counter);

/* @counter passed wg_replay_may() and is below UINT64_MAX. */
void wg_replay_mark(struct wg_replay *replay, uint64_t counter);

#endif
