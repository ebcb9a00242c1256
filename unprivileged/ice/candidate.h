/*
 * ICE candidates: the value, the SDP attribute text, priorities. Pure functions. [RFC 8445
 * section 5.1, RFC 8839 section 5.1]
 */
#ifndef ICE_CANDIDATE_H
#define ICE_CANDIDATE_H

#include "base/defs.h"
#include "packet/addr.h"

enum candidate_kind {
	CANDIDATE_HOST,
	CANDIDATE_PRFLX,
	CANDIDATE_SRFLX,
	CANDIDATE_RELAY
};

enum {
	CANDIDATE_TEXT_MAX = 512, /* with the NUL; longer input is refused */
	ICE_UFRAG_MAX = 256,
	ICE_PWD_MAX = 256,
};

struct candidate {
	enum candidate_kind kind;
	struct endpoint addr;
	struct endpoint base; /* local candidates: what we send from; remote ones: = addr */
	uint32_t priority;
	uint8_t relay_family; /* local relay candidates: family used to talk to the relay, for the
				 priority */
};

/*
 * Read "candidate:...", with or without a leading "a=". [spec connections 3.3]
 *
 * @ufrag: the remote ufrag that a `ufrag` extension must equal; NULL accepts any. Only component 1
 * and transport udp are accepted. False and *out untouched otherwise. related address is parsed and
 * dropped. Addresses are not judged here: see candidate_addr_usable().
 */
MUST_CHECK bool candidate_parse(struct candidate *out, const char *text, size_t len,
				const char *ufrag);

/*
 * Write our form: component 1, udp, raddr/rport 0 for all but host, `ufrag`. Same candidate, same
 * text, byte for byte. Returns the length without NUL, 0 if @cap is too small.
 */
size_t candidate_format(const struct candidate *c, const char *ufrag, char *out, size_t cap);

/*
 * An address that a peer may make us send to: not unspecified, loopback, multicast, broadcast,
 * link-local v4, v4-mapped, tunnel or proxy range, port 0. [spec connections 14 row 5]
 */
bool candidate_addr_usable(const struct endpoint *ep);

/* type << 24 | local << 8 | 255 with @earlier = number of earlier local candidates of that kind and
 * family. [spec connections 3.4] */
uint32_t candidate_priority(enum candidate_kind kind, uint8_t family, uint8_t relay_family,
			    unsigned earlier);

/* RFC 8445 section 6.1.2.3. */
uint64_t candidate_pair_priority(uint32_t controlling, uint32_t controlled);

#endif
