/*
 * What the TURN client does: probe, allocate, delete, refresh, bind, give up. Each step starts
 * requests and moves the state. [spec connections 6.1, 6.5]
 */
#ifndef TURN_STEPS_H
#define TURN_STEPS_H

#include "turn/state.h"

/* Forget the address in use and ask all addresses of the relay that have a way out; without any,
 * wait for a roam. */
void turn_probe(struct turn *t, uint64_t now_us);

/* Allocate over the address in use, now. */
void turn_allocate(struct turn *t, uint64_t now_us);

/* Allocate later; nothing is in flight until then. */
void turn_allocate_later(struct turn *t, uint64_t at_us);

/* Delete what an earlier process left on our port; Allocate follows the answer. */
void turn_delete_stale(struct turn *t, uint64_t now_us);

/* The allocation is gone: relay candidates, channels and all requests but Binding. */
void turn_invalidate(struct turn *t);

/* The address in use has not answered: try the other one, or drop the relay. */
void turn_lose_path(struct turn *t, uint64_t now_us);

void turn_drop(struct turn *t);

/* Our way to the relay's addresses has changed. */
void turn_roam(struct turn *t, const struct turn_egress how[2], uint64_t now_us);

/* Our address @ip is no more. */
void turn_forget_local(struct turn *t, const struct ip_addr *ip);

/* A channel to @peer for connection @owner, now or after the allocation. */
void turn_bind(struct turn *t, const struct endpoint *peer, uint32_t owner, uint64_t now_us);

/* Bind the peers that waited. */
void turn_bind_remembered(struct turn *t, uint64_t now_us);

/* The relay has refused channel @index with @error_code. */
void turn_forget_channel(struct turn *t, uint16_t index, uint16_t error_code, uint64_t now_us);

/* The relay confirmed channel @index. */
void turn_confirm_channel(struct turn *t, uint16_t index, uint64_t now_us);

/* The timer of channel @index, which has no request in flight: rebind it if it still lives. */
void turn_refresh_channel(struct turn *t, uint16_t index, uint64_t now_us);

#endif
