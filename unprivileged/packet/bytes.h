/*
 * Bounded reader and writer: the only code that touches wire bytes.
 *
 * A reader goes bad at the first overrun, stays bad and yields zeros, so one test at the end is
 * enough. A writer goes bad when it is full and writes nothing more. u16, u32 and u64 are network
 * order; le32 and le64 little endian.
 */
#ifndef PACKET_BYTES_H
#define PACKET_BYTES_H

#include <string.h>

#include "base/defs.h"

struct reader {
	const uint8_t *at;
	size_t left;
	bool bad;
};

struct writer {
	uint8_t *at;
	size_t left;
	size_t written;
	bool bad;
};

static inline struct reader reader_of(const uint8_t *buf, size_t len)
{
	return (struct reader){.at = buf, .left = len, .bad = false};
}

/* @n bytes borrowed from the buffer, or NULL when fewer are left. @n 0 gives a valid pointer. */
static inline const uint8_t *rd_bytes(struct reader *r, size_t n)
{
	const uint8_t *p = r->at;

	if (r->bad || n > r->left) {
		r->bad = true;
		return NULL;
	}
	r->at += n;
	r->left -= n;
	return p;
}

static inline void rd_skip(struct reader *r, size_t n)
{
	(void)rd_bytes(r, n);
}

static inline uint8_t rd_u8(struct reader *r)
{
	const uint8_t *p = rd_bytes(r, 1);

	return p ? p[0] : 0;
}

static inline uint16_t rd_u16(struct reader *r)
{
	const uint8_t *p = rd_bytes(r, 2);

	return p ? (uint16_t)(p[0] << 8 | p[1]) : 0;
}

static inline uint32_t rd_u32(struct reader *r)
{
	const uint8_t *p = rd_bytes(r, 4);

	return p ? (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3] : 0;
}

static inline uint64_t rd_u64(struct reader *r)
{
	uint64_t high = rd_u32(r);

	return high << 32 | rd_u32(r);
}

static inline uint32_t rd_le32(struct reader *r)
{
	const uint8_t *p = rd_bytes(r, 4);

	return p ? (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0] : 0;
}

static inline uint64_t rd_le64(struct reader *r)
{
	uint64_t low = rd_le32(r);

	return (uint64_t)rd_le32(r) << 32 | low;
}

/* Copies @n bytes to @out, or zeros them when fewer are left. */
static inline void rd_copy(struct reader *r, void *out, size_t n)
{
	const uint8_t *p = rd_bytes(r, n);

	if (p)
		memcpy(out, p, n);
	else
		memset(out, 0, n);
}

/* A child that cannot run past the next @n bytes of its parent; the parent moves behind them. */
static inline struct reader rd_child(struct reader *r, size_t n)
{
	const uint8_t *p = rd_bytes(r, n);

	return (struct reader){.at = p, .left = p ? n : 0, .bad = !p};
}

static inline struct writer writer_of(uint8_t *buf, size_t cap)
{
	return (struct writer){.at = buf, .left = cap, .written = 0, .bad = false};
}

/* Room for @n bytes, now counted as written, or NULL when there is none. */
static inline uint8_t *wr_room(struct writer *w, size_t n)
{
	uint8_t *p = w->at;

	if (w->bad || n > w->left) {
		w->bad = true;
		return NULL;
	}
	w->at += n;
	w->left -= n;
	w->written += n;
	return p;
}

static inline void wr_u8(struct writer *w, uint8_t v)
{
	uint8_t *p = wr_room(w, 1);

	if (p)
		p[0] = v;
}

static inline void wr_u16(struct writer *w, uint16_t v)
{
	uint8_t *p = wr_room(w, 2);

	if (p) {
		p[0] = (uint8_t)(v >> 8);
		p[1] = (uint8_t)v;
	}
}

static inline void wr_u32(struct writer *w, uint32_t v)
{
	wr_u16(w, (uint16_t)(v >> 16));
	wr_u16(w, (uint16_t)v);
}

static inline void wr_u64(struct writer *w, uint64_t v)
{
	wr_u32(w, (uint32_t)(v >> 32));
	wr_u32(w, (uint32_t)v);
}

static inline void wr_le32(struct writer *w, uint32_t v)
{
	uint8_t *p = wr_room(w, 4);

	if (p) {
		p[0] = (uint8_t)v;
		p[1] = (uint8_t)(v >> 8);
		p[2] = (uint8_t)(v >> 16);
		p[3] = (uint8_t)(v >> 24);
	}
}

static inline void wr_le64(struct writer *w, uint64_t v)
{
	wr_le32(w, (uint32_t)v);
	wr_le32(w, (uint32_t)(v >> 32));
}

static inline void wr_bytes(struct writer *w, const void *from, size_t n)
{
	uint8_t *p = wr_room(w, n);

	if (p && n > 0)
		memcpy(p, from, n);
}

static inline void wr_zero(struct writer *w, size_t n)
{
	uint8_t *p = wr_room(w, n);

	if (p && n > 0)
		memset(p, 0, n);
}

#endif
