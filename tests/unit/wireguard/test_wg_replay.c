#include "harness.h"

#include <stdlib.h>
#include <string.h>

#include "wireguard/replay.h"

static bool offer(struct wg_replay *replay, uint64_t counter)
{
	if (!wg_replay_may(replay, counter))
		return false;
	wg_replay_mark(replay, counter);
	return true;
}

static void replay_window_follows_the_vectors(void **state)
{
	cJSON *root = vectors_load(VECTORS_DIR "/connections-wireguard-replay.json");
	const cJSON *sequence;
	unsigned steps = 0;

	(void)state;
	assert_int_equal(vectors_u64(root, "window"), WG_REPLAY_WINDOW);
	cJSON_ArrayForEach(sequence, vectors_get(root, "sequences"))
	{
		struct wg_replay replay = {0};
		const cJSON *step;

		cJSON_ArrayForEach(step, sequence)
		{
			uint64_t counter = (uint64_t)vectors_item(step, 0)->valuedouble;
			bool expected = strcmp(vectors_item(step, 1)->valuestring, "ok") == 0;

			if (offer(&replay, counter) != expected)
				fail_msg("%s: counter %lu", sequence->string,
					 (unsigned long)counter);
			steps++;
		}
	}
	assert_true(steps > 50);
	cJSON_Delete(root);
}

static void replay_window_asks_without_marking(void **state)
{
	struct wg_replay replay = {0};

	(void)state;
	assert_true(wg_replay_may(&replay, 5));
	assert_true(wg_replay_may(&replay, 5));
	wg_replay_mark(&replay, 5);
	assert_false(wg_replay_may(&replay, 5));
	assert_true(wg_replay_may(&replay, 4));
}

/* The rule in its plainest form: everything accepted is remembered one by one. */
struct naive {
	uint64_t next;
	uint8_t seen[1 << 17];
};

static bool naive_offer(struct naive *naive, uint64_t counter)
{
	if (counter < naive->next &&
	    (counter + WG_REPLAY_WINDOW < naive->next || naive->seen[counter]))
		return false;
	naive->seen[counter] = 1;
	if (counter >= naive->next)
		naive->next = counter + 1;
	return true;
}

static void replay_window_agrees_with_a_naive_model(void **state)
{
	struct rng_seeded seeded;
	struct rng rng = rng_from_seed(&seeded, 7);
	struct naive *naive = calloc(1, sizeof(*naive));
	struct wg_replay replay = {0};

	(void)state;
	assert_non_null(naive);
	while (naive->next + UINT64_C(2) * WG_REPLAY_WINDOW < sizeof(naive->seen)) {
		/* Mostly near the edge, at times far ahead or at the window's far end. */
		uint64_t reach = rng_below(&rng, 50) == 0 ? 2 * WG_REPLAY_WINDOW : 70;
		uint64_t counter = naive->next + rng_below(&rng, reach);
		uint64_t back = rng_below(&rng, rng_below(&rng, 3) ? 80 : WG_REPLAY_WINDOW + 80);

		counter = counter > back ? counter - back : 0;
		assert_int_equal(offer(&replay, counter), naive_offer(naive, counter));
	}
	free(naive);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(replay_window_follows_the_vectors),
	    cmocka_unit_test(replay_window_asks_without_marking),
	    cmocka_unit_test(replay_window_agrees_with_a_naive_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
