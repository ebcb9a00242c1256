#include "gateway/txq.h"

#include <stdlib.h>
#include <string.h>

enum {
	TXQ_MAX_DATAGRAM = 2048
};

struct txq {
	void (*flush)(void *ctx, const struct txq_batch *batch);
	void *ctx;
	struct txq_batch batches[TXQ_BUFFERS];
	size_t next_victim;
	struct txq_batch *latest;
	struct txq_counters counters;
	uint8_t *memory;
};

struct txq *txq_new(void (*flush)(void *ctx, const struct txq_batch *batch), void *ctx)
{
	size_t stride = TXQ_HEADROOM + TXQ_MAX_BYTES + 1;
	struct txq *q = calloc(1, sizeof(*q));

	if (!q)
		return NULL;
	q->memory = calloc(TXQ_BUFFERS, stride);
	if (!q->memory) {
		free(q);
		return NULL;
	}
	for (size_t i = 0; i < TXQ_BUFFERS; i++)
		q->batches[i].data = q->memory + i * stride + TXQ_HEADROOM;
	q->flush = flush;
	q->ctx = ctx;
	return q;
}

void txq_free(struct txq *q)
{
	if (!q)
		return;
	free(q->memory);
	free(q);
}

static bool key_eq(const struct txq_key *a, const struct txq_key *b)
{
	return a->ecn == b->ecn && a->generation == b->generation &&
	       endpoint_eq(&a->dst, &b->dst) && endpoint_eq(&a->src, &b->src);
}

static void batch_flush(struct txq *q, struct txq_batch *batch)
{
	if (batch->count > 0) {
		q->counters.batches++;
		q->counters.datagrams += batch->count;
		q->counters.bytes += batch->len;
		q->flush(q->ctx, batch);
	}
	batch->len = 0;
	batch->segment = 0;
	batch->count = 0;
	batch->closed = false;
}

struct txq_batch *txq_open(struct txq *q, const struct txq_key *key)
{
	struct txq_batch *free_batch = NULL;

	if (q->latest && q->latest->count > 0 && key_eq(&q->latest->key, key))
		return q->latest;
	for (size_t i = 0; i < TXQ_BUFFERS; i++) {
		struct txq_batch *batch = &q->batches[i];

		if (batch->count == 0) {
			if (!free_batch)
				free_batch = batch;
		} else if (key_eq(&batch->key, key)) {
			q->latest = batch;
			return batch;
		}
	}
	if (!free_batch) {
		free_batch = &q->batches[q->next_victim];
		q->next_victim = (q->next_victim + 1) % TXQ_BUFFERS;
		batch_flush(q, free_batch);
	}
	free_batch->key = *key;
	q->latest = free_batch;
	return free_batch;
}

uint8_t *txq_append(struct txq *q, struct txq_batch *batch, size_t len)
{
	uint8_t *at;

	BUG_ON(len == 0 || len > TXQ_MAX_DATAGRAM);
	if (batch->count > 0 &&
	    (batch->closed || len > batch->segment || batch->count == TXQ_MAX_SEGMENTS ||
	     batch->len + len > TXQ_MAX_BYTES))
		batch_flush(q, batch);
	if (batch->count == 0)
		batch->segment = len;
	at = batch->data + batch->len;
	batch->len += len;
	batch->count++;
	batch->closed = len < batch->segment;
	return at;
}

void txq_undo(struct txq_batch *batch, size_t len)
{
	BUG_ON(batch->count == 0 || batch->len < len);
	batch->len -= len;
	batch->count--;
	batch->closed = false;
}

void txq_send(struct txq *q, const struct txq_key *key, const uint8_t *data, size_t len)
{
	if (len == 0 || len > TXQ_MAX_DATAGRAM)
		return;
	memcpy(txq_append(q, txq_open(q, key), len), data, len);
}

void txq_flush(struct txq *q)
{
	for (size_t i = 0; i < TXQ_BUFFERS; i++)
		batch_flush(q, &q->batches[i]);
	q->latest = NULL;
}

void txq_counters(const struct txq *q, struct txq_counters *out)
{
	*out = q->counters;
}
