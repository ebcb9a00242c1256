#include "portal/messages.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "portal/json.h"

enum {
	MAX_AUTHORIZATIONS = 65536,
	MAX_DISCONNECTED = 64
};

static bool port_of(const cJSON *item, const char *key, uint16_t fallback, uint16_t *out)
{
	int64_t v;

	*out = fallback;
	if (!json_member(item, key) || cJSON_IsNull(json_member(item, key)))
		return true;
	if (!json_integer(item, key, &v) || v < 0 || v > UINT16_MAX)
		return false;
	*out = (uint16_t)v;
	return true;
}

static bool filter_read(struct filter *out, const cJSON *item)
{
	char protocol[8];

	if (!json_text(item, "protocol", protocol, sizeof(protocol)))
		return false;
	if (strcmp(protocol, "tcp") == 0)
		out->protocol = FILTER_TCP;
	else if (strcmp(protocol, "udp") == 0)
		out->protocol = FILTER_UDP;
	else if (strcmp(protocol, "icmp") == 0)
		out->protocol = FILTER_ICMP;
	else
		return false;
	if (!port_of(item, "port_range_start", 0, &out->port_start) ||
	    !port_of(item, "port_range_end", UINT16_MAX, &out->port_end))
		return false;
	return out->protocol == FILTER_ICMP || out->port_start <= out->port_end;
}

/* A list of at most @max elements of @size bytes for @n items; NULL with *n 0 when the list is
 * empty. */
static bool list_new(const cJSON *array, size_t max, size_t size, void **out, size_t *n)
{
	*out = NULL;
	*n = 0;
	if (!cJSON_IsArray(array) || (size_t)cJSON_GetArraySize(array) > max)
		return false;
	*n = (size_t)cJSON_GetArraySize(array);
	if (*n == 0)
		return true;
	*out = calloc(*n, size);
	return *out != NULL;
}

static bool filters_read(struct resource *out, const cJSON *array)
{
	const cJSON *item;
	size_t i = 0;
	void *list;

	if (!list_new(array, RESOURCE_MAX_FILTERS, sizeof(*out->filters), &list, &out->n_filters))
		return false;
	out->filters = list;
	if (!list)
		return true;
	cJSON_ArrayForEach(item, array)
	{
		if (!filter_read(&out->filters[i++], item))
			return false;
	}
	return true;
}

/* On failure the caller frees what the resource holds by then. */
static bool resource_read(struct resource *out, const cJSON *item)
{
	char type[16];

	if (!json_text(item, "type", type, sizeof(type)) || !json_uuid(item, "id", &out->id))
		return false;
	if (strcmp(type, "internet") == 0) {
		out->kind = RESOURCE_INTERNET;
		memcpy(out->name, "Internet", sizeof("Internet"));
		return true;
	}
	if (!json_text(item, "address", out->address, sizeof(out->address)) ||
	    !json_text_cut(item, "name", out->name, sizeof(out->name)) ||
	    !filters_read(out, json_member(item, "filters")))
		return false;
	if (strcmp(type, "dns") == 0) {
		out->kind = RESOURCE_DNS;
		return true;
	}
	out->kind = RESOURCE_CIDR;
	return strcmp(type, "cidr") == 0 &&
	       ip_prefix_parse(&out->prefix, out->address, strlen(out->address));
}

static bool relay_addr_usable(const struct endpoint *ep)
{
	return ep->port != 0 && !ip_is_loopback(&ep->ip) && !ip_is_multicast(&ep->ip) &&
	       !ip_is_unspecified(&ep->ip) && !ip_is_broadcast(&ep->ip) &&
	       !ip_is_v4_mapped(&ep->ip);
}

/* One entry into the list, merged with an earlier one of the same id. Bad or unusable entries are
 * left out. */
static void relay_read(struct portal_relay *list, size_t *n, const cJSON *item)
{
	struct portal_relay relay = {.v4.port = 0};
	struct portal_relay *into = NULL;
	struct endpoint ep;
	char type[8];

	if (!json_text(item, "type", type, sizeof(type)) || strcmp(type, "turn") != 0 ||
	    !json_uuid(item, "id", &relay.id) || !json_endpoint(item, "addr", &ep) ||
	    !json_text(item, "username", relay.username, sizeof(relay.username)) ||
	    !json_text(item, "password", relay.password, sizeof(relay.password)) ||
	    relay.username[0] == '\0' || !relay_addr_usable(&ep))
		goto wipe;
	for (size_t i = 0; i < *n; i++)
		if (uuid_eq(&list[i].id, &relay.id))
			into = &list[i];
	if (!into) {
		if (*n == PORTAL_MAX_RELAYS)
			goto wipe;
		into = &list[(*n)++];
		*into = relay;
	}
	if (ep.ip.family == IP_V4 && into->v4.ip.family == IP_NONE)
		into->v4 = ep;
	else if (ep.ip.family == IP_V6 && into->v6.ip.family == IP_NONE)
		into->v6 = ep;
wipe:
	sodium_memzero(&relay, sizeof(relay));
}

static bool relays_read(struct portal_relay **out, size_t *n, const cJSON *array)
{
	const cJSON *item;

	if (!cJSON_IsArray(array))
		return false;
	*out = calloc(PORTAL_MAX_RELAYS, sizeof(**out));
	if (!*out)
		return false;
	cJSON_ArrayForEach(item, array)
	{
		relay_read(*out, n, item);
	}
	return true;
}

static bool authorizations_read(struct portal_init *out, const cJSON *array)
{
	const cJSON *item;
	size_t i = 0;
	void *list;

	if (!list_new(array, MAX_AUTHORIZATIONS, sizeof(*out->authorizations), &list,
		      &out->n_authorizations))
		return false;
	out->authorizations = list;
	if (!list)
		return true;
	cJSON_ArrayForEach(item, array)
	{
		struct tunnel_authorization *a = &out->authorizations[i++];

		if (!json_uuid(item, "client_id", &a->client) ||
		    !json_uuid(item, "resource_id", &a->resource) ||
		    !json_integer(item, "expires_at", &a->expires_at))
			return false;
	}
	return true;
}

static bool init_read(struct portal_msg *out, const cJSON *payload)
{
	struct portal_init *init = &out->u.init;
	const cJSON *interface = json_member(payload, "interface");
	const cJSON *relays = json_member(payload, "relays");
	const cJSON *authorizations = json_member(payload, "authorizations");

	if (!json_ip(interface, "ipv4", IP_V4, &init->v4) ||
	    !json_ip(interface, "ipv6", IP_V6, &init->v6))
		return false;
	if (relays && !relays_read(&init->relays, &init->n_relays, relays))
		return false;
	if (authorizations && !authorizations_read(init, authorizations))
		return false;
	if (!json_text_cut(payload, "account_slug", init->account_slug, sizeof(init->account_slug)))
		init->account_slug[0] = '\0';
	return true;
}

static bool credentials_read(struct portal_ice_credentials *out, const cJSON *item)
{
	return json_text(item, "username", out->username, sizeof(out->username)) &&
	       json_text(item, "password", out->password, sizeof(out->password)) &&
	       strlen(out->username) >= 4 && strlen(out->password) >= 22;
}

static bool expiry_read(const cJSON *payload, int64_t *out)
{
	if (cJSON_IsNull(json_member(payload, "expires_at"))) {
		*out = TUNNEL_NEVER_EXPIRES;
		return true;
	}
	return json_integer(payload, "expires_at", out);
}

static bool flow_read(struct portal_msg *out, const cJSON *payload)
{
	struct portal_flow *flow = &out->u.flow;
	const cJSON *client = json_member(payload, "client");
	const char *ref = cJSON_GetStringValue(json_member(payload, "ref"));

	if (!ref || strlen(ref) > PORTAL_MAX_REF)
		return false;
	flow->ref = strdup(ref);
	return flow->ref && resource_read(&flow->resource, json_member(payload, "resource")) &&
	       json_uuid(client, "id", &flow->client) &&
	       json_key(client, "public_key", flow->client_key) &&
	       json_key(client, "preshared_key", flow->preshared_key) &&
	       json_ip(client, "ipv4", IP_V4, &flow->client_v4) &&
	       json_ip(client, "ipv6", IP_V6, &flow->client_v6) &&
	       credentials_read(&flow->gateway_ice,
				json_member(payload, "gateway_ice_credentials")) &&
	       credentials_read(&flow->client_ice,
				json_member(payload, "client_ice_credentials")) &&
	       expiry_read(payload, &flow->expires_at);
}

static bool flow_v2_read(struct portal_msg *out, const cJSON *payload)
{
	out->u.flow.v2 = true;
	return flow_read(out, payload);
}

static bool candidates_read(struct portal_msg *out, const cJSON *payload)
{
	struct portal_candidates *msg = &out->u.candidates;
	const cJSON *array = json_member(payload, "candidates");
	const cJSON *item;

	if (!json_uuid(payload, "client_id", &msg->client) || !cJSON_IsArray(array))
		return false;
	msg->texts = calloc(PORTAL_MAX_CANDIDATES, sizeof(*msg->texts));
	if (!msg->texts)
		return false;
	cJSON_ArrayForEach(item, array)
	{
		const char *text = cJSON_GetStringValue(item);
		size_t len = text ? strlen(text) : 0;

		if (msg->n == PORTAL_MAX_CANDIDATES)
			break;
		if (text && len < CANDIDATE_TEXT_MAX)
			memcpy(msg->texts[msg->n++], text, len + 1);
	}
	return true;
}

static bool access_read(struct portal_msg *out, const cJSON *payload)
{
	return json_uuid(payload, "client_id", &out->u.access.client) &&
	       json_uuid(payload, "resource_id", &out->u.access.resource);
}

static bool access_expiry_read(struct portal_msg *out, const cJSON *payload)
{
	return access_read(out, payload) &&
	       json_integer(payload, "expires_at", &out->u.access.expires_at);
}

static bool resource_msg_read(struct portal_msg *out, const cJSON *payload)
{
	return resource_read(&out->u.resource, payload);
}

static bool presence_read(struct portal_msg *out, const cJSON *payload)
{
	struct portal_presence *presence = &out->u.presence;
	const cJSON *gone = json_member(payload, "disconnected_ids");
	const cJSON *item;
	void *list;

	if (!list_new(gone, MAX_DISCONNECTED, sizeof(*presence->disconnected), &list,
		      &presence->n_disconnected))
		return false;
	presence->disconnected = list;
	presence->n_disconnected = 0;
	cJSON_ArrayForEach(item, gone)
	{
		const char *text = cJSON_GetStringValue(item);
		struct uuid *id = &presence->disconnected[presence->n_disconnected];

		if (!text || !uuid_parse(id, text, strlen(text)))
			return false;
		presence->n_disconnected++;
	}
	return relays_read(&presence->connected, &presence->n_connected,
			   json_member(payload, "connected"));
}

static const struct {
	const char *event;
	enum portal_msg_kind kind;
	bool (*read)(struct portal_msg *out, const cJSON *payload);
} readers[] = {
    {"init", PORTAL_INIT, init_read},
    {"authorize_flow", PORTAL_AUTHORIZE_FLOW, flow_read},
    {"create_authorization", PORTAL_AUTHORIZE_FLOW, flow_v2_read},
    {"ice_candidates", PORTAL_ICE_CANDIDATES, candidates_read},
    {"invalidate_ice_candidates", PORTAL_INVALIDATE_ICE_CANDIDATES, candidates_read},
    {"reject_access", PORTAL_REJECT_ACCESS, access_read},
    {"resource_updated", PORTAL_RESOURCE_UPDATED, resource_msg_read},
    {"access_authorization_expiry_updated", PORTAL_EXPIRY_UPDATED, access_expiry_read},
    {"relays_presence", PORTAL_RELAYS_PRESENCE, presence_read},
};

static bool ref_read(const cJSON *root, uint64_t *out)
{
	const char *text = cJSON_GetStringValue(json_member(root, "ref"));
	int64_t v;

	if (!text) {
		if (!json_integer(root, "ref", &v) || v < 0)
			return false;
		*out = (uint64_t)v;
		return true;
	}
	*out = 0;
	if (text[0] == '\0' || strlen(text) > 15)
		return false;
	for (; *text != '\0'; text++) {
		if (*text < '0' || *text > '9')
			return false;
		*out = *out * 10 + (uint64_t)(*text - '0');
	}
	return true;
}

static void reply_read(struct portal_envelope *out, const cJSON *payload)
{
	char status[16];

	out->event = PORTAL_EVENT_REPLY;
	out->reply_ok =
	    json_text(payload, "status", status, sizeof(status)) && strcmp(status, "ok") == 0;
	if (!json_text_cut(json_member(payload, "response"), "reason", out->reason,
			   sizeof(out->reason)))
		out->reason[0] = '\0';
}

static void message_read(struct portal_envelope *out, const char *event, const cJSON *payload)
{
	out->event = PORTAL_EVENT_IGNORED;
	out->why = "unknown event";
	for (size_t i = 0; i < ARRAY_LEN(readers); i++) {
		if (strcmp(readers[i].event, event) != 0)
			continue;
		out->msg.kind = readers[i].kind;
		if (readers[i].read(&out->msg, payload)) {
			out->event = PORTAL_EVENT_MESSAGE;
			return;
		}
		out->why = "a member is missing, of the wrong type or out of range";
		portal_msg_free(&out->msg);
		return;
	}
}

static void envelope_read(struct portal_envelope *out, const cJSON *root)
{
	const cJSON *payload = json_member(root, "payload");
	char topic[16], event[64];

	out->event = PORTAL_EVENT_IGNORED;
	out->why = "not an envelope";
	if (!json_text(root, "event", event, sizeof(event)))
		return;
	if (json_text(root, "topic", topic, sizeof(topic)))
		out->topic_phoenix = strcmp(topic, "phoenix") == 0;
	out->has_ref = ref_read(root, &out->ref);
	if (strcmp(event, "phx_reply") == 0) {
		reply_read(out, payload);
	} else if (strcmp(event, "phx_close") == 0 || strcmp(event, "phx_error") == 0) {
		out->event = PORTAL_EVENT_CLOSE;
	} else if (strcmp(event, "disconnect") == 0) {
		out->event = PORTAL_EVENT_DISCONNECT;
		if (!json_text_cut(payload, "reason", out->reason, sizeof(out->reason)))
			out->reason[0] = '\0';
	} else {
		message_read(out, event, payload);
	}
}

void portal_parse(struct portal_envelope *out, const char *text, size_t len)
{
	bool truncated;
	cJSON *root = json_parse(text, len, &truncated);

	memset(out, 0, sizeof(*out));
	if (!root) {
		out->event = truncated ? PORTAL_EVENT_BROKEN : PORTAL_EVENT_IGNORED;
		out->why = truncated ? "JSON ends too early" : "invalid JSON";
		return;
	}
	envelope_read(out, root);
	cJSON_Delete(root);
}

static void relays_free(struct portal_relay *list)
{
	if (list)
		sodium_memzero(list, PORTAL_MAX_RELAYS * sizeof(*list));
	free(list);
}

void portal_msg_free(struct portal_msg *msg)
{
	switch (msg->kind) {
	case PORTAL_INIT:
		relays_free(msg->u.init.relays);
		free(msg->u.init.authorizations);
		break;
	case PORTAL_AUTHORIZE_FLOW:
		free(msg->u.flow.ref);
		free(msg->u.flow.resource.filters);
		break;
	case PORTAL_ICE_CANDIDATES:
	case PORTAL_INVALIDATE_ICE_CANDIDATES:
		free(msg->u.candidates.texts);
		break;
	case PORTAL_RESOURCE_UPDATED:
		free(msg->u.resource.filters);
		break;
	case PORTAL_RELAYS_PRESENCE:
		free(msg->u.presence.disconnected);
		relays_free(msg->u.presence.connected);
		break;
	case PORTAL_REJECT_ACCESS:
	case PORTAL_EXPIRY_UPDATED:
		break;
	}
	sodium_memzero(msg, sizeof(*msg));
}
