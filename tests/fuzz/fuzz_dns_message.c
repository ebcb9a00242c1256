/*
 * A datagram from a name server, as an answer to a query that its own first bytes describe; and any
 * text as a name to ask for.
 *
 * Input: one byte for the type, then the datagram. Up to its first NUL the datagram is also the
 * name of a query.
 */
#include <stdlib.h>
#include <string.h>

#include "base/defs.h"
#include "dns/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum {
	HEADER = 12,
	OPT_LEN = 11,
	MAX_TTL_S = 86400
};

static void check_answer(const struct dns_answer *a, enum dns_type type)
{
	BUG_ON(a->n > DNS_MAX_ANSWERS || a->rcode > 0xfff || a->ttl_s > MAX_TTL_S);
	BUG_ON(a->referral && (a->n > 0 || a->rcode != DNS_NOERROR));
	for (size_t i = 0; i < a->n; i++) {
		BUG_ON(a->addresses[i].family != (type == DNS_A ? IP_V4 : IP_V6));
		for (size_t k = ip_len(&a->addresses[i]); k < 16; k++)
			BUG_ON(a->addresses[i].bytes[k] != 0);
	}
}

static bool reads(struct dns_answer *out, const uint8_t *buf, size_t len, uint16_t id,
		  const char *name, enum dns_type type)
{
	struct dns_answer before;

	memset(out, 0x5a, sizeof(*out));
	before = *out;
	if (!dns_answer_read(out, buf, len, id, name, type)) {
		BUG_ON(memcmp(out, &before, sizeof(before)) != 0);
		return false;
	}
	check_answer(out, type);
	return true;
}

/* The question's name as text where it is plain; false otherwise. */
static bool question_name(char out[DNS_NAME_MAX], const uint8_t *buf, size_t len)
{
	size_t at = HEADER, n = 0;

	while (at < len && buf[at] != 0) {
		size_t label = buf[at++];

		if (label > 63 || at + label > len || n + label + 2 > DNS_NAME_MAX)
			return false;
		if (n > 0)
			out[n++] = '.';
		for (size_t i = 0; i < label; i++, at++) {
			if (buf[at] <= ' ' || buf[at] >= 0x7f || buf[at] == '.' || buf[at] == '\\')
				return false;
			out[n++] = (char)buf[at];
		}
	}
	out[n] = '\0';
	return n > 0;
}

/* A query that we write is, with one bit turned, an answer without records to itself, and to
 * nothing else. */
static void check_query(const char *name, uint16_t id, enum dns_type type)
{
	uint8_t buf[DNS_MAX_QUERY], plain[DNS_MAX_QUERY];
	size_t len = dns_query_write(buf, sizeof(buf), id, name, type);
	struct dns_answer a;

	if (len == 0)
		return;
	BUG_ON(len > sizeof(buf) || strlen(name) >= DNS_NAME_MAX);
	BUG_ON(reads(&a, buf, len, id, name, type));
	buf[2] |= 0x80;
	BUG_ON(!reads(&a, buf, len, id, name, type));
	BUG_ON(a.n != 0 || a.rcode != 0 || a.truncated || !a.referral);
	BUG_ON(reads(&a, buf, len, id ^ 1, name, type));
	BUG_ON(reads(&a, buf, len, id, name, type == DNS_A ? DNS_AAAA : DNS_A));
	BUG_ON(dns_query_write_plain(plain, sizeof(plain), id, name, type) != len - OPT_LEN);
	plain[2] |= 0x80;
	BUG_ON(!reads(&a, plain, len - OPT_LEN, id, name, type));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	enum dns_type type = len > 0 && data[0] & 1 ? DNS_AAAA : DNS_A;
	char name[DNS_NAME_MAX], *text;
	struct dns_answer a;
	uint16_t id;

	if (len < 3)
		return 0;
	data++;
	len--;
	id = (uint16_t)(data[0] << 8 | data[1]);
	(void)reads(&a, data, len, id, "portal.example", type);
	if (question_name(name, data, len))
		(void)reads(&a, data, len, id, name, type);
	text = strndup((const char *)data, len);
	BUG_ON(!text);
	check_query(text, id, type);
	free(text);
	return 0;
}
