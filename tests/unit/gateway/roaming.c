#include "roaming.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "fixture.h"

struct endpoint roaming_ep(const char *text)
{
	struct endpoint out;

	assert_true(endpoint_parse(&out, text, strlen(text)));
	return out;
}

/* An event of the kernel's, and half a second later the comparison. */
struct gateway_egress roaming_compare(struct world *w)
{
	struct gateway_egress out;

	factory_flush(w->factory, FACTORY_CAUSE_ROUTE);
	world_advance(w, 500 * US_PER_MS);
	gateway_egress(w->g, &out, w->now_us);
	return out;
}

void roaming_roam(struct world *w)
{
	struct gateway_input in = {.kind = GATEWAY_IN_ROAM};

	factory_reset(w->factory, FACTORY_CAUSE_ROAM);
	world_handle(w, &in);
}

void roaming_local_dead(struct world *w, const struct ip_addr *ip)
{
	struct gateway_input in = {.kind = GATEWAY_IN_LOCAL_DEAD, .u.local_dead = *ip};

	world_handle(w, &in);
}

void roaming_new_socket(struct world *w, uint8_t family, uint16_t was_port, uint16_t port)
{
	struct gateway_input in = {.kind = GATEWAY_IN_SOCKET};

	in.u.socket.family = family;
	in.u.socket.was_port = was_port;
	in.u.socket.port = port;
	world_handle(w, &in);
}

void roaming_move_to(struct world *w, const char *host)
{
	w->host = roaming_ep(host);
	w->net.source[0] = w->host.ip;
	w->net.ifindex++;
}

/* Requests of a method among what could be sent, to an address of the relay's. */
unsigned int roaming_requests(const struct world *w, uint16_t method, const struct endpoint *relay)
{
	unsigned int n = 0;

	for (size_t i = 0; i < w->n_sent; i++) {
		struct stun_msg msg;

		n += endpoint_eq(&w->sent[i].key.dst, relay) &&
		     w->sent[i].key.src.ip.family != IP_NONE &&
		     stun_msg_read(&msg, w->sent[i].data, w->sent[i].len) &&
		     msg.class == STUN_REQUEST && msg.method == method;
	}
	return n;
}

unsigned int roaming_sent_to(const struct world *w, const struct endpoint *dst)
{
	unsigned int n = 0;

	for (size_t i = 0; i < w->n_sent; i++)
		n += endpoint_eq(&w->sent[i].key.dst, dst);
	return n;
}

/* An answer of the lab's to the client; true if it left for the client. */
bool roaming_answer_leaves(struct world *w)
{
	uint8_t packet[WORLD_PING_LEN];

	world_ping(packet, fixture_lab_ip, fixture_client_ip, 0);
	world_from_tun(w, packet, sizeof(packet));
	return roaming_sent_to(w, &w->client) > 0;
}

void roaming_assert_both_ways(struct world *w)
{
	uint8_t packet[WORLD_PING_LEN], got[WORLD_BUFFER];
	size_t len = 0;

	w->n_packets = 0;
	world_ping(packet, fixture_client_ip, fixture_lab_ip, 8);
	world_from_client(w, packet, sizeof(packet));
	assert_int_equal(w->n_packets, 1);
	world_ping(packet, fixture_lab_ip, fixture_client_ip, 0);
	world_from_tun(w, packet, sizeof(packet));
	assert_true(world_client_receives(w, got, &len));
	for (size_t i = 0; i < w->n_sent; i++)
		assert_true(endpoint_eq(&w->sent[i].key.src,
					w->client.ip.family == IP_V4 ? &w->host : &w->host6));
}

/* The client's candidate of another family, and a path of it that answers. */
void roaming_add_v6_path(struct world *w, bool nominate)
{
	struct endpoint v4 = w->client;

	world_client_candidate(w, "candidate:2 1 udp 2130706431 2001:db8::4 52625 typ host");
	w->client = roaming_ep("[2001:db8::4]:52625");
	assert_true(world_client_check(w, false));
	if (nominate)
		assert_true(world_client_check(w, true));
	else
		w->client = v4;
	world_forget(w);
}

void roaming_two_families(struct world *w)
{
	w->two_families = true;
	w->net.source[1] = w->host6.ip;
	world_connect(w);
}

void roaming_relay_present(struct world *w, const char *relay)
{
	char text[512];

	snprintf(text, sizeof(text), "{\"disconnected_ids\":[],\"connected\":[%s]}", relay);
	world_message(w, "relays_presence", text);
	world_relay_answers(w);
}
