#include "dns/forwarded.h"

#include <stdlib.h>
#include <string.h>

#include "packet/bytes.h"

enum {
	QR = 0x8000,
	OPCODE = 0x7800,
	TC = 0x0200,
	RD = 0x0100,
	RCODE_SERVFAIL = 2,
	MAX_NAME = 255,
	MAX_LABEL = 63,
	POINTER = 0xc0, /* a name goes on elsewhere */
	TYPE_CLASS_TTL = 2 + 2 + 4,
};

struct head {
	uint16_t id, flags, questions, answers;
	struct reader question; /* name, type and class */
	struct reader records;  /* all that follows */
};

/* A question's name stands first, so nothing before it can be pointed to. */
static bool skip_name(struct reader *r)
{
	size_t left = r->left;
	uint8_t label;

	do {
		label = rd_u8(r);
		if (label > MAX_LABEL)
			return false;
		rd_skip(r, label);
	} while (label > 0);
	return !r->bad && left - r->left <= MAX_NAME;
}

/* False unless there is exactly one question. */
static bool head_read(struct head *out, const uint8_t *buf, size_t len)
{
	struct reader r = reader_of(buf, len), start;
	struct head h = {.id = rd_u16(&r)};

	h.flags = rd_u16(&r);
	h.questions = rd_u16(&r);
	h.answers = rd_u16(&r);
	rd_skip(&r, 4);
	start = r;
	if (h.questions != 1 || !skip_name(&r))
		return false;
	rd_skip(&r, 4);
	if (r.bad)
		return false;
	h.question = rd_child(&start, start.left - r.left);
	h.records = r;
	*out = h;
	return true;
}

/* A record's owner: labels, or what is pointed to before it. Pointers are not followed, so that the
 * work is that of the message's length. */
static bool skip_owner(struct reader *r, size_t len)
{
	size_t left = r->left, at, target;
	uint8_t label;

	do {
		at = len - r->left;
		label = rd_u8(r);
		if (label >= POINTER) {
			target = (size_t)(label - POINTER) << 8 | rd_u8(r);
			return !r->bad && target >= DNS_HEADER && target < at;
		}
		if (label > MAX_LABEL)
			return false;
		rd_skip(r, label);
	} while (label > 0);
	return !r->bad && left - r->left <= MAX_NAME;
}

static bool answers_are_there(const struct head *h, size_t len)
{
	struct reader r = h->records;

	for (size_t i = 0; i < h->answers; i++) {
		if (!skip_owner(&r, len))
			return false;
		rd_skip(&r, TYPE_CLASS_TTL);
		rd_skip(&r, rd_u16(&r));
		if (r.bad)
			return false;
	}
	return true;
}

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c - 'A' + 'a') : c;
}

/* A label's length is below every letter. */
static bool question_eq(struct reader a, struct reader b)
{
	if (a.left != b.left)
		return false;
	while (a.left > 4)
		if (lower(rd_u8(&a)) != lower(rd_u8(&b)))
			return false;
	return rd_u32(&a) == rd_u32(&b);
}

bool dns_forwarded_is_query(const uint8_t *buf, size_t len)
{
	struct head h;

	return head_read(&h, buf, len) && (h.flags & QR) == 0 && answers_are_there(&h, len);
}

bool dns_forwarded_answers(const uint8_t *query, size_t query_len, uint16_t id, const uint8_t *buf,
			   size_t len)
{
	struct head q, a;

	return head_read(&q, query, query_len) && head_read(&a, buf, len) && a.id == id &&
	       (a.flags & QR) != 0 && ((a.flags ^ q.flags) & OPCODE) == 0 &&
	       question_eq(q.question, a.question) && answers_are_there(&a, len);
}

uint8_t *dns_forwarded_copy(const uint8_t *buf, size_t len)
{
	uint8_t *copy = malloc(len);

	if (copy)
		memcpy(copy, buf, len);
	return copy;
}

uint16_t dns_forwarded_id(const uint8_t *buf, size_t len)
{
	struct reader r = reader_of(buf, len);

	return rd_u16(&r);
}

void dns_forwarded_set_id(uint8_t *buf, size_t len, uint16_t id)
{
	struct writer w = writer_of(buf, len);

	wr_u16(&w, id);
}

static size_t write_short(uint8_t *out, size_t cap, const struct head *h, uint16_t flags)
{
	struct writer w = writer_of(out, cap);
	struct reader question = h->question;

	wr_u32(&w, (uint32_t)h->id << 16 | flags);
	wr_u32(&w, UINT32_C(1) << 16);
	wr_u32(&w, 0);
	while (question.left > 0)
		wr_u8(&w, rd_u8(&question));
	return w.bad ? 0 : w.written;
}

size_t dns_forwarded_servfail(uint8_t *out, size_t cap, const uint8_t *query, size_t len)
{
	struct head h;

	if (!head_read(&h, query, len))
		return 0;
	return write_short(out, cap, &h,
			   (uint16_t)(QR | (h.flags & (OPCODE | RD)) | RCODE_SERVFAIL));
}

size_t dns_forwarded_truncate(uint8_t *out, size_t cap, const uint8_t *answer, size_t len)
{
	struct head h;

	if (!head_read(&h, answer, len))
		return 0;
	return write_short(out, cap, &h, h.flags | TC);
}
