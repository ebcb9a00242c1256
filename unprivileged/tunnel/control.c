#include "tunnel/control.h"

#include "packet/bytes.h"
#include "packet/field.h"
#include "packet/header.h"
#include "tunnel/tunnel.h"

enum {
	CONTROL_PROTO = 255,
	EVENT_HEADER_LEN = 8,
	EVENT_GOODBYE = 2,
};

enum control_kind control_classify(const struct ip_view *view)
{
	struct reader r;
	uint8_t event;

	if (view->proto != CONTROL_PROTO || view->version != 6 || !ip_is_unspecified(&view->src) ||
	    !ip_is_unspecified(&view->dst))
		return CONTROL_NONE;
	r = reader_of(view->data, view->len);
	rd_skip(&r, view->l4_offset);
	event = rd_u8(&r);
	rd_skip(&r, EVENT_HEADER_LEN - 1);
	if (r.bad)
		return CONTROL_SHORT;
	return event == EVENT_GOODBYE ? CONTROL_GOODBYE : CONTROL_EVENT;
}

void tunnel_goodbye(uint8_t out[TUNNEL_GOODBYE_LEN])
{
	memset(out, 0, TUNNEL_GOODBYE_LEN);
	out[0] = 0x60;
	field_set_u16(out, V6_PAYLOAD_LEN, EVENT_HEADER_LEN);
	out[V6_NEXT] = CONTROL_PROTO;
	out[V6_LEN] = EVENT_GOODBYE;
}
