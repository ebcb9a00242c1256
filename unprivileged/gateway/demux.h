/*
 * What a datagram is, by its bytes and where it comes from. A pure function. [spec connections 8;
 * RFC 7983]
 */
#ifndef GATEWAY_DEMUX_H
#define GATEWAY_DEMUX_H

#include "base/defs.h"

enum demux_source {
	DEMUX_FROM_PEER,  /* any address and port but the next two; a peer may own port 3478 */
	DEMUX_FROM_RELAY, /* one of our relays' addresses and port 3478 */
	DEMUX_FROM_REMOVED_RELAY, /* port 3478 of an address that was a relay's lately */
};

enum demux_kind {
	DEMUX_DROP,
	DEMUX_RELAY_STUN,   /* STUN of the relay itself: to its TURN client */
	DEMUX_CHANNEL_DATA, /* unwrap, then again as from a peer */
	DEMUX_PEER_STUN,    /* STUN by its first byte; still to be parsed: to ICE */
	DEMUX_WIREGUARD,    /* by type and exact size */
};

enum demux_kind demux(const uint8_t *buf, size_t len, enum demux_source source);

#endif
