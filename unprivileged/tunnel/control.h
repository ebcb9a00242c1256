/*
 * In-band control packets: inner IPv6 from :: to ::, next header 255. [spec dataplane 8.1, R14]
 */
#ifndef TUNNEL_CONTROL_H
#define TUNNEL_CONTROL_H

#include "packet/ip.h"

enum control_kind {
	CONTROL_NONE,  /* an ordinary packet */
	CONTROL_SHORT, /* without a whole event header: drop */
	CONTROL_GOODBYE,
	CONTROL_EVENT, /* any other event */
};

enum control_kind control_classify(const struct ip_view *view);

#endif
