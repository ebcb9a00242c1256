/*
 * Portal messages: JSON to structs and back. [spec portal 5, 6, 7] Pure functions (cJSON
 * underneath).
 *
 * Unknown members are ignored; unknown events, types and protocols, missing members and wrong types
 * make the whole message refused, bad candidates excepted. Depth, counts and text sizes are
 * bounded. Times are Unix seconds.
 */
#ifndef PORTAL_MESSAGES_H
#define PORTAL_MESSAGES_H

#include "base/defs.h"
#include "base/uuid.h"
#include "ice/candidate.h"
#include "packet/addr.h"
#include "tunnel/resource.h"
#include "tunnel/tunnel.h"

enum {
	PORTAL_MAX_MESSAGE = 4 * 1024 * 1024,
	PORTAL_MAX_DEPTH = 32,
	PORTAL_MAX_CANDIDATES = 64, /* per message; more: the rest is dropped */
	PORTAL_MAX_RELAYS = 8,
	PORTAL_MAX_REF = 16 * 1024,
	PORTAL_MAX_CREDENTIAL = 256,
	PORTAL_MAX_TURN_USERNAME = 512,
};

enum portal_msg_kind {
	PORTAL_INIT,
	PORTAL_AUTHORIZE_FLOW,
	PORTAL_ICE_CANDIDATES,
	PORTAL_INVALIDATE_ICE_CANDIDATES,
	PORTAL_REJECT_ACCESS,
	PORTAL_RESOURCE_UPDATED,
	PORTAL_EXPIRY_UPDATED,
	PORTAL_RELAYS_PRESENCE,
};

/* One relay, its address-family entries merged by id wherever they stand. `stun` entries are left
 * out. */
struct portal_relay {
	struct uuid id;
	struct endpoint v4, v6; /* family IP_NONE when absent */
	char username[PORTAL_MAX_TURN_USERNAME + 1];
	char password[PORTAL_MAX_CREDENTIAL + 1];
};

struct portal_init {
	struct ip_addr v4, v6;
	struct portal_relay *relays;
	size_t n_relays;
	struct tunnel_authorization *authorizations;
	size_t n_authorizations;
	char account_slug[64]; /* display only, cut */
};

struct portal_ice_credentials {
	char username[PORTAL_MAX_CREDENTIAL + 1];
	char password[PORTAL_MAX_CREDENTIAL + 1];
};

struct portal_flow {
	char *ref; /* NUL-terminated, echoed byte for byte */
	struct resource resource;
	struct uuid client;
	uint8_t client_key[32], preshared_key[32];
	struct ip_addr client_v4, client_v6;
	struct portal_ice_credentials gateway_ice, client_ice;
	int64_t expires_at; /* TUNNEL_NEVER_EXPIRES for null */
	bool v2;            /* came as create_authorization, which a v1 connection never asks for */
};

struct portal_candidates {
	struct uuid client;
	char (*texts)[CANDIDATE_TEXT_MAX]; /* NUL-terminated strings */
	size_t n;
};

struct portal_presence {
	struct uuid *disconnected;
	size_t n_disconnected;
	struct portal_relay *connected;
	size_t n_connected;
};

struct portal_msg {
	enum portal_msg_kind kind;
	union {
		struct portal_init init;
		struct portal_flow flow;
		struct portal_candidates candidates; /* both candidate kinds */
		struct {
			struct uuid client, resource;
			int64_t expires_at;
		} access; /* reject_access, expiry_updated */
		struct resource resource;
		struct portal_presence presence;
	} u;
};

/* What came out of one text frame. */
enum portal_event {
	PORTAL_EVENT_MESSAGE, /* one of the eight; *msg is set, free it with portal_msg_free() */
	PORTAL_EVENT_REPLY,   /* phx_reply */
	PORTAL_EVENT_CLOSE,   /* phx_close or phx_error */
	PORTAL_EVENT_DISCONNECT,
	PORTAL_EVENT_IGNORED, /* unknown, or a message that is refused as a whole: *why says it in
				 one sentence */
	PORTAL_EVENT_BROKEN, /* truncated JSON or an empty frame: the connection is to be dropped */
};

struct portal_envelope {
	enum portal_event event;
	struct portal_msg msg;
	bool has_ref;
	uint64_t ref;
	bool topic_phoenix; /* "phoenix", else "gateway" or other */
	bool reply_ok;
	char reason[64]; /* reply's error reason, or disconnect's */
	const char *why; /* static text */
};

/*
 * Parse one text frame. Never fails but by out->event. Secrets in the intermediate tree are wiped
 * before return (cJSON's allocator is set by portal_json_init()).
 */
void portal_parse(struct portal_envelope *out, const char *text, size_t len);

/* Frees and wipes what the message owns; the struct itself is the caller's. */
void portal_msg_free(struct portal_msg *msg);

/* Once per process, before any parsing: cJSON frees by wiping. */
void portal_json_init(void);

enum portal_send_kind {
	PORTAL_SEND_JOIN,
	PORTAL_SEND_HEARTBEAT,
	PORTAL_SEND_FLOW_AUTHORIZED,
	PORTAL_SEND_NO_RELAYS,
	PORTAL_SEND_CANDIDATES,
	PORTAL_SEND_INVALIDATED,
};

struct portal_send {
	enum portal_send_kind kind;
	const char *flow_ref; /* FLOW_AUTHORIZED */
	struct uuid client;   /* CANDIDATES, INVALIDATED */
	const char *const *candidates;
	size_t n_candidates;
};

/* The message's JSON text with envelope ref @ref; malloc'ed, NUL-terminated, the caller's. NULL
 * without memory. */
char *portal_print(const struct portal_send *send, uint64_t ref);

#endif
