/*
 * The portal channel as a state machine: the input is a script of events. Whatever the portal sends, outputs come in a possible order, the
 * deadline is not in the past, and memory stays bounded.
 */
#include <string.h>

#include "packet/bytes.h"
#include "portal/channel.h"

struct world {
	bool dialling, connected, joined, ended;
};

static uint64_t wall_s(void *ctx)
{
	(void)ctx;
	return 1790000000;
}

static void look(struct portal_channel *ch, struct world *w)
{
	struct portal_out out;

	while (portal_channel_poll(ch, &out)) {
		BUG_ON(w->ended);
		switch (out.kind) {
		case PORTAL_OUT_DIAL:
			BUG_ON(w->connected);
			w->dialling = true;
			break;
		case PORTAL_OUT_WRITE:
			BUG_ON(!w->connected);
			break;
		case PORTAL_OUT_HANG_UP:
			BUG_ON(!w->connected && !w->dialling);
			w->connected = w->dialling = false;
			break;
		case PORTAL_OUT_JOINED:
			BUG_ON(w->joined || !w->connected);
			w->joined = true;
			break;
		case PORTAL_OUT_LOST:
			BUG_ON(!w->joined);
			w->joined = false;
			break;
		case PORTAL_OUT_MESSAGE:
			BUG_ON(!w->joined);
			portal_msg_free(&out.u.msg);
			break;
		case PORTAL_OUT_FATAL:
			BUG_ON(w->joined);
			w->ended = true;
			break;
		}
	}
}

static void step(struct portal_channel *ch, struct world *w, struct reader *r, uint64_t *now_us)
{
	struct portal_in in = { .kind = (enum portal_in_kind)(rd_u8(r) % (PORTAL_IN_TIMEOUT + 1)) };

	switch (in.kind) {
	case PORTAL_IN_START:
	case PORTAL_IN_SHUTDOWN:
		return;
	case PORTAL_IN_CONNECTED:
		if (!w->dialling)
			return;
		w->dialling = false;
		w->connected = true;
		break;
	case PORTAL_IN_BYTES:
		in.u.bytes.len = min_size(rd_u16(r), r->left);
		in.u.bytes.data = rd_bytes(r, in.u.bytes.len);
		if (!w->connected || in.u.bytes.len == 0)
			return;
		break;
	case PORTAL_IN_CLOSED:
		in.u.reason = "closed";
		break;
	case PORTAL_IN_SEND:
		in.u.send.kind = PORTAL_SEND_NO_RELAYS;
		break;
	case PORTAL_IN_TIMEOUT:
		*now_us += rd_u16(r) * US_PER_MS;
		break;
	case PORTAL_IN_RECONNECT:
		break;
	}
	portal_channel_handle(ch, &in, *now_us);
	look(ch, w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct rng_seeded seed;
	struct portal_channel_config cfg = {
		.host = "h", .request_target = "/", .user_agent = "ua", .token = "t",
		.first_connect_us = 15 * US_PER_S, .max_partition_us = 3600 * US_PER_S,
		.rng = rng_from_seed(&seed, 1), .wall_s = wall_s,
	};
	struct portal_in start = { .kind = PORTAL_IN_START };
	struct reader r = reader_of(data, len);
	struct portal_channel *ch = portal_channel_new(&cfg);
	struct world w = { false, false, false, false };
	uint64_t now_us = 1;

	portal_json_init();
	portal_channel_handle(ch, &start, now_us);
	look(ch, &w);
	while (r.left > 0 && !w.ended)
		step(ch, &w, &r, &now_us);
	portal_channel_free(ch);
	return 0;
}
