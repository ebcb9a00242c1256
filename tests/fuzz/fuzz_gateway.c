/*
 * The whole core (demux.c and packets.c too) under an arbitrary sequence of events: the portal's
 * messages, relays and clients with the right secrets and strangers without, packets from the TUN,
 * a clock that jumps, a network that changes. The input is the script: a byte that names the event,
 * then its parameters.
 *
 * Properties: no packet reaches the TUN, or a client out of the tunnel, but one that some grant may
 * cover at this moment; only who has a path is idle; what waits for a session is bounded; nothing
 * is sent but to relays, to addresses that a client signalled or that spoke with its password, and
 * a cookie to the sender of a handshake; what the portal is told is well-formed and only while it
 * is there; deadlines move on; tables keep their limits; nothing is left behind.
 */
#include <stdlib.h>

#include "tests/fuzz/gateway/world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void tell_wall(struct world *w)
{
	struct gateway_input in = {.kind = GATEWAY_IN_CLOCK, .u.wall_us = w->wall_us};

	world_handle(w, &in);
}

static void joined_event(struct world *w, bool joined)
{
	struct gateway_input in = {.kind =
				       joined ? GATEWAY_IN_PORTAL_JOINED : GATEWAY_IN_PORTAL_LOST};

	w->joined = joined;
	world_handle(w, &in);
}

enum event {
	EVENT_INIT,
	EVENT_FLOW,
	EVENT_CANDIDATES,
	EVENT_INVALIDATE,
	EVENT_REJECT,
	EVENT_EXPIRY,
	EVENT_RESOURCE,
	EVENT_PRESENCE,
	EVENT_JOINED,
	EVENT_LOST,
	EVENT_CLOCK,
	EVENT_TIME,
	EVENT_DEADLINE,
	EVENT_RELAY,
	EVENT_CHECK,
	EVENT_CHECK_ANSWER,
	EVENT_WIREGUARD,
	EVENT_DATA,
	EVENT_TUN,
	EVENT_RAW,
	EVENT_SHUTDOWN,
	EVENT_NETWORK,
	EVENT_EGRESS,
	EVENT_ROAM,
	EVENT_LOCAL_DEAD,
	EVENT_SOCKET,
	EVENT_KINDS
};

static void portal_event(struct world *w, struct reader *r, enum event event)
{
	if (!w->joined)
		return;
	if (event == EVENT_INIT)
		portal_init_event(w, r);
	else if (event == EVENT_FLOW)
		portal_flow_event(w, r);
	else if (event == EVENT_CANDIDATES)
		portal_candidates_event(w, r, PORTAL_ICE_CANDIDATES);
	else if (event == EVENT_INVALIDATE)
		portal_candidates_event(w, r, PORTAL_INVALIDATE_ICE_CANDIDATES);
	else if (event == EVENT_REJECT)
		portal_access_event(w, r, PORTAL_REJECT_ACCESS);
	else if (event == EVENT_EXPIRY)
		portal_access_event(w, r, PORTAL_EXPIRY_UPDATED);
	else if (event == EVENT_RESOURCE)
		portal_resource_event(w, r);
	else
		portal_presence_event(w, r);
}

static void time_event(struct world *w, struct reader *r, enum event event)
{
	uint64_t deadline = gateway_deadline(w->g);

	if (event == EVENT_TIME) {
		uint16_t ms = rd_u16(r);

		/* The longest ones are slept through. */
		if (ms >= 0xff00)
			world_sleep(w, (uint64_t)(ms & 0xff) * 4 * US_PER_S);
		else
			world_pass_time(w, (uint64_t)ms * US_PER_MS);
	} else if (event == EVENT_DEADLINE) {
		world_pass_time(
		    w, deadline > w->now_us && deadline != NEVER_US ? deadline - w->now_us : 0);
	} else {
		w->wall_us += (uint64_t)(int64_t)(int8_t)rd_u8(r) * US_PER_S;
		tell_wall(w);
	}
}

/* The loop compares first, but not always at once. */
static void network_event(struct world *w, struct reader *r, enum event event)
{
	if (w->shut_down)
		return; /* nobody looks any more */
	if (event == EVENT_NETWORK)
		world_network(w, r);
	else if (event == EVENT_EGRESS)
		world_egress(w);
	else if (event == EVENT_ROAM)
		world_roam(w);
	else if (event == EVENT_LOCAL_DEAD)
		world_local_dead(w, r);
	else
		world_socket(w, r);
}

static void event(struct world *w, struct reader *r)
{
	struct gateway_input shutdown = {.kind = GATEWAY_IN_SHUTDOWN};
	enum event kind = (enum event)(rd_u8(r) % EVENT_KINDS);

	switch (kind) {
	case EVENT_INIT:
	case EVENT_FLOW:
	case EVENT_CANDIDATES:
	case EVENT_INVALIDATE:
	case EVENT_REJECT:
	case EVENT_EXPIRY:
	case EVENT_RESOURCE:
	case EVENT_PRESENCE:
		portal_event(w, r, kind);
		break;
	case EVENT_JOINED:
	case EVENT_LOST:
		joined_event(w, kind == EVENT_JOINED);
		break;
	case EVENT_CLOCK:
	case EVENT_TIME:
	case EVENT_DEADLINE:
		time_event(w, r, kind);
		break;
	case EVENT_RELAY:
		peers_relay(w, r);
		break;
	case EVENT_CHECK:
		peers_check(w, r);
		break;
	case EVENT_CHECK_ANSWER:
		peers_check_answer(w, r);
		break;
	case EVENT_WIREGUARD:
		peers_wireguard(w, r);
		break;
	case EVENT_DATA:
		peers_data(w, r);
		break;
	case EVENT_TUN:
		peers_tun(w, r);
		break;
	case EVENT_RAW:
		world_raw(w, r);
		break;
	case EVENT_NETWORK:
	case EVENT_EGRESS:
	case EVENT_ROAM:
	case EVENT_LOCAL_DEAD:
	case EVENT_SOCKET:
		network_event(w, r, kind);
		break;
	case EVENT_SHUTDOWN:
	case EVENT_KINDS:
		w->shut_down = true;
		world_handle(w, &shutdown);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct reader r = reader_of(data, len);
	struct world *w = calloc(1, sizeof(*w));

	BUG_ON(!w);
	world_set_up(w);
	for (int i = 0; i < EVENTS && r.left > 0 && !r.bad; i++)
		event(w, &r);
	world_tear_down(w);
	free(w);
	return 0;
}
