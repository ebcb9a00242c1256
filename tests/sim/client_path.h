/*
 * How a client finds and uses its path: relays, ICE, WireGuard on its host's network.
 */
#ifndef TESTS_SIM_CLIENT_PATH_H
#define TESTS_SIM_CLIENT_PATH_H

#include "client_node.h"

/* The connection is new: choose a relay, offer all candidates. */
void client_path_begin(struct client_node *c);
/* Its relay may have fallen silent, or refuse: take another one that works. */
void client_path_follow(struct client_node *c);
/* The connection is over (client_node.c). */
void client_path_lost(struct client_node *c, const char *why);
void client_path_bind(struct client_node *c, const struct endpoint *peer);
/* The portal has said something of the relays: is this one still alive? */
void client_path_relay_refresh(struct client_node *c, unsigned relay);
void client_path_relay_lost(struct client_node *c, unsigned relay);
void client_path_send(struct client_node *c, const struct ice_path *path, const uint8_t *data,
		      size_t len);
void client_path_receive(void *ctx, struct datagram *d);
uint64_t client_path_deadline(const struct client_node *c);
void client_path_timeout(struct client_node *c);
/* Everything that is due goes out, candidates to the portal included. */
void client_path_drain(struct client_node *c);

#endif
