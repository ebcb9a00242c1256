/*
 * Datagrams on their way out: a few open buffers, one per {path, ECN}, each a run of equal-sized
 * datagrams that leaves in one segmented send. [spec performance, recipe 7]
 *
 * The core writes straight into the buffers; the owner's flush function takes a full or finished
 * one. Nothing is allocated after txq_new(). Every buffer keeps TXQ_HEADROOM writable bytes before
 * its first datagram.
 */
#ifndef GATEWAY_TXQ_H
#define GATEWAY_TXQ_H

#include "base/defs.h"
#include "packet/addr.h"

enum {
	TXQ_BUFFERS = 16,
	TXQ_HEADROOM = 64,
	TXQ_MAX_SEGMENTS = 64, /* the kernel's limit for one segmented send */
	TXQ_MAX_BYTES =
	    65487, /* 65535 less an IPv6 header and UDP's, the smaller of both families */
};

struct txq_key {
	struct endpoint src; /* ip.family IP_NONE: the socket factory chooses */
	struct endpoint dst;
	/* 0: whoever made @src fixed it. Else it is the factory's choice of this generation. */
	uint64_t generation;
	uint8_t ecn;
};

/* A run of datagrams of @segment bytes each; the last may be shorter. */
struct txq_batch {
	struct txq_key key;
	uint8_t *data;
	size_t len, segment;
	unsigned int count;
	bool closed; /* the last datagram was shorter: nothing may follow */
};

struct txq;

/* @flush sends a batch; it must not call back into the queue. Its bytes are free again when it
 * returns. */
struct txq *txq_new(void (*flush)(void *ctx, const struct txq_batch *batch), void *ctx);
void txq_free(struct txq *q);

/*
 * The open buffer of @key. Opens one if there is none, flushing the longest-used one if all are
 * taken. Valid until the next txq_open() or flush.
 */
struct txq_batch *txq_open(struct txq *q, const struct txq_key *key);

/*
 * Room for one datagram of @len bytes (1 .. 2048) behind the others; flushes first where it cannot
 * join. The bytes before it may be used as scratch if they are put back. The datagram counts as
 * soon as this returns; txq_undo() takes the last one back.
 */
uint8_t *txq_append(struct txq *q, struct txq_batch *batch, size_t len);
void txq_undo(struct txq_batch *batch, size_t len);

/* One datagram, copied. */
void txq_send(struct txq *q, const struct txq_key *key, const uint8_t *data, size_t len);

/* Everything out; before the loop sleeps. */
void txq_flush(struct txq *q);

struct txq_counters {
	uint64_t batches, datagrams, bytes;
};
void txq_counters(const struct txq *q, struct txq_counters *out);

#endif
