/*
 * A portal channel against a scripted portal: bytes in, bytes out, a clock of the test's own.
 */
#ifndef TESTS_UNIT_PORTAL_CHANNEL_WORLD_H
#define TESTS_UNIT_PORTAL_CHANNEL_WORLD_H

#include "portal/channel.h"

enum {
	MAX_OUT = 65536
};

struct world {
	struct portal_channel *ch;
	struct log *log;
	unsigned int log_lines;
	struct rng_seeded seed;
	uint64_t now_us;
	/* what the channel said since the last look */
	char written[MAX_OUT];
	size_t n_written;
	unsigned int dials, hang_ups, joined, lost, messages, fatals;
	char reason[256];
};

#define JOIN_OK                                                                                    \
	"{\"event\":\"phx_reply\",\"ref\":0,\"topic\":\"gateway\",\"payload\":{\"status\":\"ok\"," \
	"\"response\":{}}}"
#define INIT                                                                                  \
	"{\"topic\":\"gateway\",\"event\":\"init\",\"ref\":null,\"payload\":{\"interface\":{" \
	"\"ipv4\":"                                                                           \
	"\"100.64.3.9\",\"ipv6\":\"fd00:2021:1111::3:9\"}}}"

void channel_feed(struct world *w, const struct portal_in *in);
void channel_feed_kind(struct world *w, enum portal_in_kind kind);
void channel_feed_bytes(struct world *w, const void *data, size_t len);
void channel_advance(struct world *w, uint64_t us);
void channel_forget(struct world *w);
void channel_push_frame(struct world *w, uint8_t opcode, const char *text);
void channel_push_text(struct world *w, const char *text);
const char *channel_first_frame(struct world *w, uint8_t *opcode);
void channel_assert_sent(struct world *w, const char *text);
void channel_connect_it(struct world *w);
void channel_join_it(struct world *w);
int channel_setup(void **state);
int channel_teardown(void **state);

#endif
