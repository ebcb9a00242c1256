/*
 * Portal messages (covers messages.c, json.c, print.c): whatever the text, parsing ends in one of
 * the six events, what is accepted keeps its bounds, and nothing is left behind.
 */
#include <stdlib.h>
#include <string.h>

#include "portal/messages.h"

static void check(const struct portal_msg *msg)
{
	switch (msg->kind) {
	case PORTAL_INIT:
		BUG_ON(msg->u.init.n_relays > PORTAL_MAX_RELAYS);
		BUG_ON(msg->u.init.v4.family != IP_V4 || msg->u.init.v6.family != IP_V6);
		break;
	case PORTAL_AUTHORIZE_FLOW:
		BUG_ON(strlen(msg->u.flow.ref) > PORTAL_MAX_REF);
		BUG_ON(msg->u.flow.resource.n_filters > RESOURCE_MAX_FILTERS);
		for (size_t i = 0; i < msg->u.flow.resource.n_filters; i++) {
			const struct filter *f = &msg->u.flow.resource.filters[i];

			BUG_ON(f->protocol != FILTER_ICMP && f->port_start > f->port_end);
		}
		break;
	case PORTAL_ICE_CANDIDATES:
	case PORTAL_INVALIDATE_ICE_CANDIDATES:
		BUG_ON(msg->u.candidates.n > PORTAL_MAX_CANDIDATES);
		break;
	case PORTAL_RELAYS_PRESENCE:
		BUG_ON(msg->u.presence.n_connected > PORTAL_MAX_RELAYS);
		break;
	case PORTAL_REJECT_ACCESS:
	case PORTAL_RESOURCE_UPDATED:
	case PORTAL_EXPIRY_UPDATED:
		break;
	}
}

/* What we print with a stranger's text in it is one JSON text again. */
static void check_echo(const char *ref)
{
	struct portal_send send = {.kind = PORTAL_SEND_FLOW_AUTHORIZED, .flow_ref = ref};
	char *text = portal_print(&send, 1);
	struct portal_envelope env;

	if (!text)
		return;
	portal_parse(&env, text, strlen(text));
	BUG_ON(env.event != PORTAL_EVENT_IGNORED || strcmp(env.why, "unknown event") != 0);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct portal_envelope env;

	portal_json_init();
	portal_parse(&env, (const char *)data, len);
	if (env.event != PORTAL_EVENT_MESSAGE)
		return 0;
	check(&env.msg);
	if (env.msg.kind == PORTAL_AUTHORIZE_FLOW)
		check_echo(env.msg.u.flow.ref);
	portal_msg_free(&env.msg);
	return 0;
}
