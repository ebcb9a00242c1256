#include "tunnel/control.h"

#include "packet/bytes.h"
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
	struct writer w = writer_of(out, TUNNEL_GOODBYE_LEN);

	wr_u32(&w, UINT32_C(6) << 28);
	wr_u16(&w, EVENT_HEADER_LEN);
	wr_u8(&w, CONTROL_PROTO);
	wr_zero(&w, 1 + 2 * 16);
	wr_u8(&w, EVENT_GOODBYE);
	wr_zero(&w, EVENT_HEADER_LEN - 1);
}
