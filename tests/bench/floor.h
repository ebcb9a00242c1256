/*
 * The floor forwarder's way of sealing: fixed keys, the mark that the gateway is measured against,
 * or a real WireGuard session as initiator, so that the same program can stand at the client's end
 * of the gateway and of any other WireGuard.
 *
 * Messages are WireGuard's data messages in both cases. No allocation after floor_crypt_new().
 */
#ifndef BENCH_FLOOR_H
#define BENCH_FLOOR_H

#include "base/defs.h"
#include "wireguard/wg.h"

struct floor_crypt;

struct floor_keys {
	uint8_t private_key[WG_KEY_LEN];
	uint8_t peer[WG_KEY_LEN];
	uint8_t preshared[WG_KEY_LEN];
};

/* @keys NULL: fixed keys, @side 0 or 1, the other end has the other one. */
struct floor_crypt *floor_crypt_new(const struct floor_keys *keys, int side, uint64_t now_us);
void floor_crypt_free(struct floor_crypt *c);

/* May packets be sealed? Asked once per batch; with a session it may make a handshake due. */
bool floor_may_seal(struct floor_crypt *c, uint64_t now_us);

/* As wg_seal(). */
bool floor_seal(struct floor_crypt *c, uint8_t *msg, size_t inner_len, uint64_t now_us);

/* Inner length at @msg + WG_DATA_HEADER; 0: nothing for the TUN. As wg_open() for what it touches.
 */
size_t floor_open(struct floor_crypt *c, uint8_t *msg, size_t len, uint64_t now_us);

/* Timers, then the next message of the session's own, or 0. @out has room for it. */
enum {
	FLOOR_OWN_MAX = 2048
};
size_t floor_poll(struct floor_crypt *c, uint8_t out[FLOOR_OWN_MAX], uint64_t now_us);

#endif
