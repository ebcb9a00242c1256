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

/* The active address has answered a request. */
void turn_answered(struct turn *t, uint64_t now_us);

/* What went unanswered so far says nothing; a Binding in flight is an ordinary one. */
void turn_trust(struct turn *t);

/* What was sent goes unanswered: ask fast. */
void turn_suspect(struct turn *t, uint64_t now_us);

/* And is not answered: try the other address beside. */
void turn_fall_silent(struct turn *t, uint64_t now_us);

/* The other address has answered where the active one is silent: it takes its place. */
void turn_switch(struct turn *t, uint8_t family, uint64_t now_us);

/* Does the relay still know us? Its 437 says no. */
void turn_refresh(struct turn *t, uint64_t now_us);

/* Traffic goes one way only, although the relay is there: it may have forgotten us. */
void turn_one_way(struct turn *t, uint64_t now_us);

/* Allocate was refused with @error_code: no allocation until the next try. */
void turn_suspend(struct turn *t, uint16_t error_code, uint64_t now_us);

void turn_note(struct turn *t, enum turn_note_kind kind, uint16_t method, uint16_t code);

/* Our way to the relay's addresses has changed. */
void turn_roam(struct turn *t, const struct turn_egress how[2], uint64_t now_us);

/* Our address @ip is no more. */
void turn_forget_local(struct turn *t, const struct ip_addr *ip);

/* A channel to @peer for client @owner, now or after the allocation. */
void turn_bind(struct turn *t, const struct endpoint *peer, uint32_t owner, uint64_t now_us);

/* Bind the peers that waited. */
void turn_bind_remembered(struct turn *t, uint64_t now_us);

/* The relay has refused channel @index with @error_code; 0: it was asked for long enough. */
void turn_forget_channel(struct turn *t, uint16_t index, uint16_t error_code, uint64_t now_us);

/* The relay confirmed channel @index. */
void turn_confirm_channel(struct turn *t, uint16_t index, uint64_t now_us);

/* The timer of channel @index, which has no request in flight: rebind it if it still lives. */
void turn_refresh_channel(struct turn *t, uint16_t index, uint64_t now_us);

#endif
