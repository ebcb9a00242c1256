/*
 * The client behind the relay's first channel: what it says through it, what it is told through it.
 */
#ifndef TESTS_UNIT_GATEWAY_CHANNEL_H
#define TESTS_UNIT_GATEWAY_CHANNEL_H

#include "world.h"

/* ChannelData from the relay; @ecn of the outer header. */
void channel_says(struct world *w, uint16_t number, const uint8_t *data, size_t len, uint8_t ecn);

/* The next one from *at on that was sent to the relay by its first channel; false: none. *at is
 * behind it then. */
bool channel_hears(const struct world *w, size_t *at, struct datagram *out);

/* The active client's check through the first channel; true if it was answered that way. What the
 * gateway asks in turn is answered. */
bool channel_check(struct world *w, bool nominate);

/* world_connect(), but all of it through the channel. */
void channel_connect(struct world *w);

/* Requests for a channel among what was sent. */
unsigned int channel_binds(const struct world *w);

#endif
