#include "answers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "packet/addr.h"

enum {
	HEADER = 12,
	CLASS_IN = 1,
	COUNT_ANSWERS = 6,
	COUNT_AUTHORITY = 8,
	COUNT_ADDITIONAL = 10,
	RR_OPT = 41
};

static void put(struct message *m, const void *from, size_t n)
{
	assert_true(m->len + n <= sizeof(m->at));
	memcpy(m->at + m->len, from, n);
	m->len += n;
}

static void put_u16(struct message *m, unsigned v)
{
	put(m, (const uint8_t[2]){(uint8_t)(v >> 8), (uint8_t)v}, 2);
}

static void put_u32(struct message *m, uint32_t v)
{
	put_u16(m, v >> 16);
	put_u16(m, v & 0xffff);
}

static void put_name(struct message *m, const char *name)
{
	while (*name != '\0') {
		size_t len = strcspn(name, ".");
		uint8_t byte = (uint8_t)len;

		put(m, &byte, 1);
		put(m, name, len);
		name += len + (name[len] == '.');
	}
	put(m, "", 1);
}

static void count(struct message *m, size_t at)
{
	m->at[at + 1]++;
}

struct message message_of(uint16_t id, uint16_t flags, const char *name, uint16_t type)
{
	struct message m = {.len = 0};

	put_u16(&m, id);
	put_u16(&m, flags);
	put(&m, (const uint8_t[8]){0, name ? 1 : 0}, 8);
	if (!name)
		return m;
	put_name(&m, name);
	put_u16(&m, type);
	put_u16(&m, CLASS_IN);
	return m;
}

struct message answer_to(const uint8_t *query, size_t len, uint16_t flags)
{
	char name[256];
	uint16_t type = asked(query, len, name);

	return message_of((uint16_t)(query[0] << 8 | query[1]), flags, name, type);
}

void add_record(struct message *m, const char *owner, uint16_t type, uint32_t ttl, const char *text)
{
	struct ip_addr ip = {.family = IP_NONE};
	size_t length_at;

	put_name(m, owner);
	put_u16(m, type);
	put_u16(m, CLASS_IN);
	put_u32(m, ttl);
	length_at = m->len;
	put_u16(m, 0);
	if (type == RR_CNAME) {
		put_name(m, text);
	} else {
		assert_true(ip_parse(&ip, text, strlen(text)));
		put(m, ip.bytes, ip_len(&ip));
	}
	m->at[length_at + 1] = (uint8_t)(m->len - length_at - 2);
	count(m, COUNT_ANSWERS);
}

void add_soa(struct message *m, const char *owner, uint32_t ttl, uint32_t minimum)
{
	put_name(m, owner);
	put_u16(m, RR_SOA);
	put_u16(m, CLASS_IN);
	put_u32(m, ttl);
	put_u16(m, 4 + 3 + 5 * 4);
	put_name(m, "ns");
	put_name(m, "a");
	for (int i = 0; i < 4; i++)
		put_u32(m, 3600);
	put_u32(m, minimum);
	count(m, COUNT_AUTHORITY);
}

void add_opt(struct message *m, uint8_t upper)
{
	put_name(m, "");
	put_u16(m, RR_OPT);
	put_u16(m, 1232);
	put_u32(m, (uint32_t)upper << 24);
	put_u16(m, 0);
	count(m, COUNT_ADDITIONAL);
}

uint16_t asked(const uint8_t *query, size_t len, char *name)
{
	size_t at = HEADER, n = 0;

	while (at < len && query[at] != 0) {
		size_t label = query[at];

		assert_true(at + 1 + label < len && n + label + 1 < 256);
		if (n > 0)
			name[n++] = '.';
		memcpy(name + n, query + at + 1, label);
		n += label;
		at += 1 + label;
	}
	name[n] = '\0';
	assert_true(at + 5 <= len);
	return (uint16_t)(query[at + 1] << 8 | query[at + 2]);
}
