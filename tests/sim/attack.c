#include "attack.h"

#include <string.h>

#include "packet/bytes.h"

enum attack_kind {
	ATTACK_NOISE,      /* random bytes */
	ATTACK_CHECK,      /* a check under a real name with a wrong key */
	ATTACK_ANSWER,     /* an answer to a check that was never sent */
	ATTACK_INITIATION, /* random, of the right size */
	ATTACK_DATA,
	ATTACK_RELAY,   /* in a relay's name */
	ATTACK_CHANNEL, /* channel data, in a relay's name or not */
	ATTACK_SHORT,
};

struct strike {
	struct world *w;
	struct sim_draw draw;
	struct endpoint src, dst;
	uint8_t bytes[256];
	size_t len;
};

static void random_bytes(struct strike *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		s->bytes[i] = (uint8_t)sim_draw(&s->draw, 256);
	s->len = len;
}

/* The gateway as the world sees it now, at the address of a family; false: it has none. */
static bool target(struct strike *s)
{
	struct host *h = s->w->gateway.host;
	unsigned f = (unsigned)sim_draw(&s->draw, 2);

	if (h->address[f].family == IP_NONE)
		f = !f;
	s->dst = (struct endpoint){.ip = h->address[f], .port = GATEWAY_PORT};
	if (h->nat[f] && h->nat[f]->external.family != IP_NONE) {
		s->dst.ip = h->nat[f]->external;
		s->dst.port = h->nat[f]->n > 0 ? h->nat[f]->mappings[0].outside.port : 20000;
	}
	return s->dst.ip.family != IP_NONE;
}

/* A relay's address, a client's, or a stranger's. */
static void source(struct strike *s, bool relay)
{
	unsigned f = s->dst.ip.family == IP_V6;
	const struct host *c = s->w->clients[0].host;
	const struct host *r = s->w->relays[0].host;

	s->src.ip = world_ip(f == 0 ? "203.0.113.66" : "2001:db8:66::66");
	s->src.port = (uint16_t)(1024 + sim_draw(&s->draw, 60000));
	if (relay && r->address[f].family != IP_NONE)
		s->src = (struct endpoint){.ip = r->address[f], .port = RELAY_PORT};
	else if (sim_draw(&s->draw, 2) && c->address[f].family != IP_NONE)
		s->src = (struct endpoint){.ip = c->address[f], .port = CLIENT_PORT};
}

static void stun(struct strike *s, uint16_t method, enum stun_class class)
{
	const struct client_node *c = &s->w->clients[sim_draw(&s->draw, s->w->n_clients)];
	static const uint8_t key[22] = "wrong-wrong-wrong-wron";
	struct stun_txid txid;
	struct stun_builder b;
	char name[64] = "abcd:efgh";

	random_bytes(s, sizeof(txid.bytes));
	memcpy(txid.bytes, s->bytes, sizeof(txid.bytes));
	if (c->ice)
		memcpy(name, ice_username(c->ice), 10);
	/* Ours and theirs change places in the peer's requests. */
	if (c->ice && strlen(name) == 9) {
		memcpy(name, ice_remote_ufrag(c->ice), 4);
		memcpy(name + 5, ice_local_ufrag(c->ice), 4);
	}
	stun_begin(&b, s->bytes, sizeof(s->bytes), method, class, &txid);
	if (class == STUN_REQUEST)
		stun_put_bytes(&b, STUN_ATTR_USERNAME, name, strlen(name));
	stun_put_u64(&b, STUN_ATTR_ICE_CONTROLLING, 1);
	stun_put_u32(&b, STUN_ATTR_PRIORITY, UINT32_MAX);
	stun_put_bytes(&b, STUN_ATTR_USE_CANDIDATE, "", 0);
	if (class != STUN_REQUEST)
		stun_put_xor_address(&b, STUN_ATTR_XOR_MAPPED_ADDRESS, &s->src);
	if (class == STUN_ERROR)
		stun_put_error(&b, 437, "mismatch");
	s->len = stun_finish(&b, sim_draw(&s->draw, 2) ? key : NULL, sizeof(key), true);
}

static void wireguard(struct strike *s, uint8_t type, size_t len)
{
	random_bytes(s, len);
	s->bytes[0] = type;
	s->bytes[1] = s->bytes[2] = s->bytes[3] = 0;
}

static void compose(struct strike *s, enum attack_kind kind)
{
	static const enum stun_class classes[] = {STUN_SUCCESS, STUN_ERROR};

	source(s, kind == ATTACK_RELAY || (kind == ATTACK_CHANNEL && sim_draw(&s->draw, 2)));
	switch (kind) {
	case ATTACK_NOISE:
		random_bytes(s, 1 + sim_draw(&s->draw, 200));
		break;
	case ATTACK_CHECK:
		stun(s, STUN_BINDING, STUN_REQUEST);
		break;
	case ATTACK_ANSWER:
		stun(s, STUN_BINDING, STUN_SUCCESS);
		break;
	case ATTACK_INITIATION:
		wireguard(s, WG_INITIATION, WG_INITIATION_LEN);
		break;
	case ATTACK_DATA:
		wireguard(s, WG_DATA, WG_OVERHEAD + sim_draw(&s->draw, 100));
		break;
	case ATTACK_RELAY:
		stun(s, sim_draw(&s->draw, 2) ? STUN_ALLOCATE : STUN_REFRESH,
		     classes[sim_draw(&s->draw, 2)]);
		break;
	case ATTACK_CHANNEL:
		wireguard(s, WG_DATA, 60);
		s->bytes[0] = 0x40;
		s->bytes[3] = 56;
		break;
	case ATTACK_SHORT:
		random_bytes(s, sim_draw(&s->draw, 24));
		s->bytes[0] = 0;
		break;
	}
}

void attack_burst(struct world *w, unsigned kind, unsigned n, uint64_t seed)
{
	struct strike s = {.w = w};
	struct outgoing out = {.data = s.bytes};

	sim_draw_init(&s.draw, seed);
	for (unsigned i = 0; i < n && target(&s); i++) {
		compose(&s, (enum attack_kind)(kind % ATTACK_KINDS));
		out.src = s.src;
		out.dst = s.dst;
		out.len = s.len;
		net_inject(&w->net, w->stranger->id, &out);
	}
}

void attack_replay(struct world *w, unsigned n, uint64_t seed)
{
	struct strike s = {.w = w};

	sim_draw_init(&s.draw, seed);
	for (unsigned i = 0; i < n && w->net.n_overheard > 0; i++) {
		uint64_t among = min_u64(w->net.n_overheard, NET_OVERHEARD);
		const struct net_overheard *o = &w->net.overheard[sim_draw(&s.draw, among)];
		struct outgoing out = {
		    .src = o->src, .dst = o->dst, .data = o->bytes, .len = o->len};

		s.dst = o->dst;
		source(&s, sim_draw(&s.draw, 2));
		if (sim_draw(&s.draw, 2))
			out.src = s.src;
		net_inject(&w->net, w->stranger->id, &out);
	}
}
