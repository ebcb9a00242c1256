#include "gateway/demux.h"

#include "packet/bytes.h"
#include "wireguard/wg.h"

enum {
	STUN_FIRST_BYTE_MAX = 3,
	CHANNEL_FIRST_BYTE_MIN = 64,
	CHANNEL_FIRST_BYTE_MAX = 79,
};

enum demux_kind demux(const uint8_t *buf, size_t len, enum demux_source source)
{
	struct reader r = reader_of(buf, len);
	uint8_t first = rd_u8(&r);
	bool stun = !r.bad && first <= STUN_FIRST_BYTE_MAX;
	bool channel = first >= CHANNEL_FIRST_BYTE_MIN && first <= CHANNEL_FIRST_BYTE_MAX;

	if (wg_classify(buf, len) != WG_NOT_WIREGUARD)
		return DEMUX_WIREGUARD;
	switch (source) {
	case DEMUX_FROM_RELAY:
		return channel ? DEMUX_CHANNEL_DATA : stun ? DEMUX_RELAY_STUN : DEMUX_DROP;
	case DEMUX_FROM_REMOVED_RELAY:
		return DEMUX_DROP;
	case DEMUX_FROM_PEER:
		break;
	}
	return stun ? DEMUX_PEER_STUN : DEMUX_DROP;
}
