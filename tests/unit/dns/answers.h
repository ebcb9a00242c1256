/*
 * DNS answers put together byte by byte, without the library under test.
 */
#ifndef TESTS_UNIT_DNS_ANSWERS_H
#define TESTS_UNIT_DNS_ANSWERS_H

#include <stddef.h>
#include <stdint.h>

enum {
	RR_A = 1,
	RR_CNAME = 5,
	RR_SOA = 6,
	RR_AAAA = 28,
	FLAG_QR = 0x8000,
	FLAG_AA = 0x0400,
	FLAG_TC = 0x0200,
	FLAG_RD_RA = 0x0180,
	ANSWERED = FLAG_QR | FLAG_RD_RA,
	FORMERR = 1,
	SERVFAIL = 2,
	NXDOMAIN = 3,
	NOTIMP = 4,
	REFUSED = 5,
};

struct message {
	uint8_t at[4096];
	size_t len;
};

/* Header and question of class IN, or none if @name is NULL. */
struct message message_of(uint16_t id, uint16_t flags, const char *name, uint16_t type);

/* The same for what a query asks; the flags are those of the answer. */
struct message answer_to(const uint8_t *query, size_t len, uint16_t flags);

/* A record of the answer section; @text is an address, or for CNAME a name. */
void add_record(struct message *m, const char *owner, uint16_t type, uint32_t ttl,
		const char *text);

/* A SOA record in the authority section. */
void add_soa(struct message *m, const char *owner, uint32_t ttl, uint32_t minimum);

/* EDNS with the upper bits of the answer's code. */
void add_opt(struct message *m, uint8_t upper);

/* The name and type that a query asks for. @name has room for 256 bytes. */
uint16_t asked(const uint8_t *query, size_t len, char *name);

#endif
