/*
 * What the tests of a changing network share: the kernel's events and the loop's reactions to them,
 * and what was sent.
 */
#ifndef TESTS_UNIT_GATEWAY_ROAMING_H
#define TESTS_UNIT_GATEWAY_ROAMING_H

#include "world.h"

struct endpoint roaming_ep(const char *text);

/* The host has another IPv4 address, and the default route another interface. */
void roaming_move_to(struct world *w, const char *host);

/* An event of the kernel's, and half a second later the comparison. */
struct gateway_egress roaming_compare(struct world *w);

/* The inputs, as the loop gives them. */
void roaming_roam(struct world *w);
void roaming_local_dead(struct world *w, const struct ip_addr *ip);
void roaming_new_socket(struct world *w, uint8_t family, uint16_t was_port, uint16_t port);

/* Requests of a method among what could be sent, to an address of the relay's. */
unsigned int roaming_requests(const struct world *w, uint16_t method, const struct endpoint *relay);
unsigned int roaming_sent_to(const struct world *w, const struct endpoint *dst);

/* An answer of the lab's to the client; true if it left for the client. */
bool roaming_answer_leaves(struct world *w);

/* A packet each way over the direct path, from the right source. */
void roaming_assert_both_ways(struct world *w);

/* world_connect() on a host and a relay with both families. */
void roaming_two_families(struct world *w);

/* The client's candidate of IPv6, and a path to it that answers. */
void roaming_add_v6_path(struct world *w, bool nominate);

#define ROAMING_RELAY(id, addr)                                                                    \
	"{\"type\":\"turn\",\"id\":\"5b0c6f0e-5f8a-4a39-9a0e-0d8f0f9a000" id "\",\"addr\":\"" addr \
	"\",\"username\":\"2145916800:kF8o3vGOqsBa5vErLDRSdEr69ibaE0PVezlbVE4FGbY\","              \
	"\"password\":\"c2VjcmV0LXR1cm4tcGFzcw\",\"expires_at\":1}"

/* relays_presence with one more relay, which answers. */
void roaming_relay_present(struct world *w, const char *relay);

#endif
