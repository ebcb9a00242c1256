#include "tests/fuzz/gateway/world.h"

#include <string.h>

#include "ice/candidate.h"
#include "tunnel/tunnel.h"
#include "turn/turn.h"

static void relay_names(unsigned int relay, unsigned int variant, char user[8], char pwd[8])
{
	memcpy(user, "u:00", 5);
	memcpy(pwd, "p:00", 5);
	user[2] = pwd[2] = (char)('0' + relay);
	user[3] = pwd[3] = (char)('0' + (variant & 3));
}

static void message(struct world *w, const struct portal_msg *msg)
{
	struct gateway_input in = {.kind = GATEWAY_IN_PORTAL_MESSAGE, .u.message = msg};

	world_handle(w, &in);
}

static int64_t expiry(const struct world *w, uint8_t v)
{
	static const int64_t deltas[] = {-5, 1, 5, 60, 3600, 0};

	if (v % 8 == 7)
		return TUNNEL_NEVER_EXPIRES;
	if (v % 8 == 6)
		return INT64_MIN;
	return (int64_t)(w->wall_us / US_PER_S) + deltas[v % 8];
}

static void fill_relays(struct world *w, uint8_t mask, uint8_t variants, struct portal_relay *list,
			size_t *n)
{
	*n = 0;
	for (unsigned int i = 0; i < RELAYS; i++) {
		struct portal_relay *relay = &list[*n];

		if (!(mask & 1u << i))
			continue;
		memset(relay, 0, sizeof(*relay));
		relay->id = world_id(1, i);
		relay->v4 = world_at(i == 1 ? 1 : 0, TURN_PORT);
		if (i == 0 && !(variants & 0x80))
			relay->v6 = world_at(2, TURN_PORT);
		relay_names(i, variants >> i, relay->username, relay->password);
		(*n)++;
	}
	(void)w;
}

void portal_init_event(struct world *w, struct reader *r)
{
	struct portal_relay relays[RELAYS];
	struct tunnel_authorization list[CLIENTS * RESOURCES];
	struct portal_msg msg = {.kind = PORTAL_INIT};
	struct portal_init *init = &msg.u.init;
	uint8_t flags = rd_u8(r), mask = rd_u8(r);
	uint16_t listed = rd_u16(r);
	bool usable = (flags & 7) != 7;

	init->v4 = world_ip(usable ? "100.64.0.1" : "10.0.0.1");
	init->v4.bytes[3] = (uint8_t)(init->v4.bytes[3] + (flags & 3) % OWN_ADDRESSES);
	init->v6 = world_ip("fd00:2021:1111::1");
	init->relays = relays;
	fill_relays(w, mask, flags, relays, &init->n_relays);
	init->authorizations = list;
	for (unsigned int i = 0; i < CLIENTS * RESOURCES; i++) {
		struct grant *g = &w->grants[i / RESOURCES][i % RESOURCES];

		if (listed & 1u << i) {
			struct tunnel_authorization *a = &list[init->n_authorizations++];

			a->client = world_id(2, i / RESOURCES);
			a->resource = world_id(3, i % RESOURCES);
			a->expires_at = expiry(w, mask >> 3);
			g->expires_at = usable ? a->expires_at : g->expires_at;
		} else if (usable) {
			g->possible = false;
		}
	}
	message(w, &msg);
}

static struct resource resource_of(unsigned int k, struct filter *filters, uint8_t flags)
{
	struct resource res = {.id = world_id(3, k),
			       .kind = world_prefixes[k] ? RESOURCE_CIDR : RESOURCE_INTERNET};

	if (world_prefixes[k])
		BUG_ON(!ip_prefix_parse(&res.prefix, world_prefixes[k], strlen(world_prefixes[k])));
	if (flags & 1) {
		filters[0] =
		    (struct filter){.protocol = FILTER_UDP, .port_start = 53, .port_end = 53};
		res.filters = filters;
		res.n_filters = 1;
	}
	return res;
}

static void set_text(char *out, const char *text, char last)
{
	size_t len = strlen(text);

	memcpy(out, text, len + 1);
	out[len - 1] = last;
}

void portal_flow_event(struct world *w, struct reader *r)
{
	uint8_t who = rd_u8(r), what = rd_u8(r), variant = rd_u8(r);
	unsigned int i = who % CLIENTS, k = what % RESOURCES;
	unsigned int addr = (variant & 0x30) == 0x30 ? (variant >> 6) + 1u : i;
	unsigned int key_of = (variant & 0x0c) == 0x0c ? (i + 1) % CLIENTS : i;
	struct filter filters[1];
	struct portal_msg msg = {.kind = PORTAL_AUTHORIZE_FLOW};
	struct portal_flow *flow = &msg.u.flow;
	struct grant *g = &w->grants[i][k];
	char ref[] = "ref";

	flow->ref = ref;
	flow->client = world_id(2, i);
	flow->resource = resource_of(k, filters, what >> 4);
	memcpy(flow->client_key, wg_public_key(w->clients[key_of].wg), sizeof(flow->client_key));
	if ((variant & 3) == 3)
		memset(flow->client_key, 0, sizeof(flow->client_key));
	memcpy(flow->preshared_key, world_psk, sizeof(world_psk));
	flow->client_v4 = world_tunnel_ip(IP_V4, addr);
	flow->client_v6 = world_tunnel_ip(IP_V6, addr);
	/* All have the same ufrags; only what follows the password's last character tells the
	 * connections apart. */
	set_text(flow->gateway_ice.username, "ab3d", 'd');
	set_text(flow->gateway_ice.password, world_ours_pwd, (variant & 3) == 2 ? 'x' : '6');
	set_text(flow->client_ice.username, "zq2x", 'x');
	set_text(flow->client_ice.password, world_theirs_pwd, '3');
	flow->expires_at = expiry(w, who >> 4);
	flow->v2 = what == 0xff;
	if (flow->expires_at != INT64_MIN && (!g->possible || flow->expires_at > g->expires_at))
		g->expires_at = flow->expires_at;
	g->possible = true;
	w->has_addr[i][addr] = true;
	message(w, &msg);
}

void portal_candidates_event(struct world *w, struct reader *r, enum portal_msg_kind kind)
{
	enum {
		MOST = 8
	};
	static const enum candidate_kind kinds[] = {CANDIDATE_HOST, CANDIDATE_SRFLX,
						    CANDIDATE_RELAY, CANDIDATE_PRFLX};
	char texts[MOST][CANDIDATE_TEXT_MAX];
	struct portal_msg msg = {.kind = kind};
	uint8_t who = rd_u8(r);

	msg.u.candidates.client = world_id(2, who % CLIENTS);
	msg.u.candidates.texts = texts;
	for (unsigned int i = 0; i <= (who >> 4) % MOST; i++) {
		struct candidate c = {.addr = world_any_endpoint(r, false),
				      .priority = (uint32_t)rd_u8(r) << 24};
		int to = world_ip_index(&c.addr.ip);

		c.kind = kinds[c.priority >> 24 & 3];
		c.base = c.addr;
		if (candidate_format(&c, "zq2x", texts[msg.u.candidates.n], CANDIDATE_TEXT_MAX) ==
		    0)
			continue;
		msg.u.candidates.n++;
		if (to >= 0 && to != OWN_OTHER && kind == PORTAL_ICE_CANDIDATES)
			w->allowed[to] = true;
	}
	message(w, &msg);
}

void portal_access_event(struct world *w, struct reader *r, enum portal_msg_kind kind)
{
	struct portal_msg msg = {.kind = kind};
	uint8_t who = rd_u8(r), what = rd_u8(r);
	struct grant *g = &w->grants[who % CLIENTS][what % RESOURCES];

	msg.u.access.client = world_id(2, who % CLIENTS);
	msg.u.access.resource = world_id(3, what % RESOURCES);
	msg.u.access.expires_at = expiry(w, what >> 4);
	if (kind == PORTAL_REJECT_ACCESS)
		g->possible = false;
	else
		g->expires_at = msg.u.access.expires_at;
	message(w, &msg);
}

void portal_resource_event(struct world *w, struct reader *r)
{
	struct portal_msg msg = {.kind = PORTAL_RESOURCE_UPDATED};
	uint8_t what = rd_u8(r);
	struct filter filters[1];

	msg.u.resource = resource_of(what % RESOURCES, filters, what >> 4);
	message(w, &msg);
}

void portal_presence_event(struct world *w, struct reader *r)
{
	struct portal_relay relays[RELAYS];
	struct uuid gone[RELAYS];
	struct portal_msg msg = {.kind = PORTAL_RELAYS_PRESENCE};
	uint8_t masks = rd_u8(r);

	msg.u.presence.disconnected = gone;
	for (unsigned int i = 0; i < RELAYS; i++)
		if (masks & 0x10u << i)
			gone[msg.u.presence.n_disconnected++] = world_id(1, i);
	msg.u.presence.connected = relays;
	fill_relays(w, masks, rd_u8(r), relays, &msg.u.presence.n_connected);
	message(w, &msg);
}
