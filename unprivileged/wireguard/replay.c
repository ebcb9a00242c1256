#include "wireguard/replay.h"

#include <string.h>

/*
 * The window is a ring of exactly WG_REPLAY_WINDOW bits: a counter's bit is counter mod the
 * window. Moving forward clears the bits of the counters that were jumped over.
 */
enum {
	WORD_MASK = WG_REPLAY_WORDS - 1
};

static size_t word_of(uint64_t counter)
{
	return (size_t)(counter / 64) & WORD_MASK;
}

static uint64_t bit_of(uint64_t counter)
{
	return UINT64_C(1) << (counter % 64);
}

bool wg_replay_may(const struct wg_replay *replay, uint64_t counter)
{
	if (counter >= replay->next)
		return true;
	if (replay->next - counter > WG_REPLAY_WINDOW)
		return false;
	return (replay->seen[word_of(counter)] & bit_of(counter)) == 0;
}

/* Clear the bits of @from .. @to - 1; there are fewer than the window has. */
static void forget(struct wg_replay *replay, uint64_t from, uint64_t to)
{
	while (from < to) {
		uint64_t in_word = min_u64(64 - from % 64, to - from);
		uint64_t ones = in_word == 64 ? UINT64_MAX : bit_of(in_word) - 1;

		replay->seen[word_of(from)] &= ~(ones << (from % 64));
		from += in_word;
	}
}

void wg_replay_mark(struct wg_replay *replay, uint64_t counter)
{
	if (counter >= replay->next) {
		if (counter - replay->next >= WG_REPLAY_WINDOW)
			memset(replay->seen, 0, sizeof(replay->seen));
		else if (counter > replay->next)
			forget(replay, replay->next, counter);
		replay->next = counter + 1;
	}
	replay->seen[word_of(counter)] |= bit_of(counter);
}
