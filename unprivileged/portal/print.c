#include <stdlib.h>

#include "portal/json.h"
#include "portal/messages.h"

static const struct {
	const char *topic, *event;
} heads[] = {
    [PORTAL_SEND_JOIN] = {"gateway", "phx_join"},
    [PORTAL_SEND_HEARTBEAT] = {"phoenix", "heartbeat"},
    [PORTAL_SEND_FLOW_AUTHORIZED] = {"gateway", "flow_authorized"},
    [PORTAL_SEND_NO_RELAYS] = {"gateway", "no_relays"},
    [PORTAL_SEND_CANDIDATES] = {"gateway", "broadcast_ice_candidates"},
    [PORTAL_SEND_INVALIDATED] = {"gateway", "broadcast_invalidated_ice_candidates"},
};

static bool add_candidates(cJSON *payload, const struct portal_send *send)
{
	cJSON *clients = cJSON_AddArrayToObject(payload, "client_ids");
	cJSON *candidates = cJSON_AddArrayToObject(payload, "candidates");
	char id[UUID_TEXT_LEN + 1];

	uuid_format(&send->client, id);
	if (!clients || !candidates || !cJSON_AddItemToArray(clients, cJSON_CreateString(id)))
		return false;
	for (size_t i = 0; i < send->n_candidates; i++)
		if (!cJSON_AddItemToArray(candidates, cJSON_CreateString(send->candidates[i])))
			return false;
	return true;
}

static bool add_payload(cJSON *root, const struct portal_send *send)
{
	cJSON *payload;

	if (send->kind == PORTAL_SEND_JOIN)
		return cJSON_AddNullToObject(root, "payload");
	payload = cJSON_AddObjectToObject(root, "payload");
	if (!payload)
		return false;
	switch (send->kind) {
	case PORTAL_SEND_FLOW_AUTHORIZED:
		return cJSON_AddStringToObject(payload, "ref", send->flow_ref);
	case PORTAL_SEND_CANDIDATES:
	case PORTAL_SEND_INVALIDATED:
		return add_candidates(payload, send);
	case PORTAL_SEND_JOIN:
	case PORTAL_SEND_HEARTBEAT:
	case PORTAL_SEND_NO_RELAYS:
		break;
	}
	return true;
}

char *portal_print(const struct portal_send *send, uint64_t ref)
{
	cJSON *root = cJSON_CreateObject();
	char *text = NULL;

	if (root && cJSON_AddStringToObject(root, "topic", heads[send->kind].topic) &&
	    cJSON_AddStringToObject(root, "event", heads[send->kind].event) &&
	    add_payload(root, send) && cJSON_AddNumberToObject(root, "ref", (double)ref))
		text = cJSON_PrintUnformatted(root);
	cJSON_Delete(root);
	return text;
}
