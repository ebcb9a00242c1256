/* Queries and answers on the wire; the answers are made by hand (answers.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "answers.h"
#include "dns/message.h"

enum {
	ID = 0x1234
};

static const char name[] = "portal.example";

static bool reads(struct dns_answer *out, const struct message *m, const char *of,
		  enum dns_type type)
{
	uint8_t *copy = malloc(m->len > 0 ? m->len : 1);
	struct dns_answer before = *out;
	bool ok;

	assert_non_null(copy);
	memcpy(copy, m->at, m->len);
	ok = dns_answer_read(out, copy, m->len, ID, of, type);
	if (!ok)
		assert_memory_equal(out, &before, sizeof(before));
	free(copy);
	return ok;
}

static void is_ip(const struct ip_addr *got, const char *text)
{
	char out[IP_TEXT_MAX];

	ip_format(got, out);
	assert_string_equal(out, text);
}

static void query_asks_recursively_with_edns(void **state)
{
	uint8_t buf[DNS_MAX_QUERY];
	size_t len = dns_query_write(buf, sizeof(buf), ID, name, DNS_AAAA);
	char got[256];

	(void)state;
	assert_int_equal(len, 12 + 16 + 4 + 11);
	assert_memory_equal(
	    buf, ((const uint8_t[]){0x12, 0x34, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 1}), 12);
	assert_int_equal(asked(buf, len, got), DNS_AAAA);
	assert_string_equal(got, name);
	/* OPT: root, type 41, UDP size 1232. */
	assert_memory_equal(buf + 32, ((const uint8_t[]){0, 0, 41, 1232 >> 8, 1232 & 255}), 5);
}

static void plain_query_is_the_same_without_edns(void **state)
{
	uint8_t buf[DNS_MAX_QUERY], plain[DNS_MAX_QUERY];
	size_t len = dns_query_write(buf, sizeof(buf), ID, name, DNS_AAAA);

	(void)state;
	assert_int_equal(dns_query_write_plain(plain, sizeof(plain), ID, name, DNS_AAAA), len - 11);
	buf[11] = 0; /* no additional record */
	assert_memory_equal(buf, plain, len - 11);
}

static void longest_name_fits_and_one_beyond_does_not(void **state)
{
	char longest[DNS_NAME_MAX + 2] = "";
	uint8_t buf[DNS_MAX_QUERY];

	(void)state;
	/* 253 characters: three labels of 63 and one of 61. */
	for (size_t i = 0; i < 253; i++)
		longest[i] = i % 64 == 63 ? '.' : 'a';
	assert_true(dns_query_write(buf, sizeof(buf), ID, longest, DNS_A) > 0);
	strcat(longest, "a");
	assert_int_equal(dns_query_write(buf, sizeof(buf), ID, longest, DNS_A), 0);
}

static void what_is_no_name_makes_no_query(void **state)
{
	static const char *const bad[] = {
	    "",        ".",
	    ".a",      "a..b",
	    "a\\032b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.b"};
	uint8_t buf[DNS_MAX_QUERY];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(dns_query_write(buf, sizeof(buf), ID, bad[i], DNS_A), 0);
	assert_int_equal(dns_query_write(buf, 20, ID, name, DNS_A), 0);
}

static void addresses_and_smallest_ttl_are_read(void **state)
{
	struct message m = message_of(ID, ANSWERED, name, RR_A);
	struct dns_answer a = {.n = 9};

	(void)state;
	add_record(&m, name, RR_A, 300, "192.0.2.1");
	add_record(&m, name, RR_A, 60, "192.0.2.2");
	assert_true(reads(&a, &m, name, DNS_A));
	assert_int_equal(a.n, 2);
	is_ip(&a.addresses[0], "192.0.2.1");
	is_ip(&a.addresses[1], "192.0.2.2");
	assert_int_equal(a.ttl_s, 60);
	assert_int_equal(a.rcode, 0);
	assert_false(a.truncated);
}

static void names_compare_without_case(void **state)
{
	struct message m = message_of(ID, ANSWERED, "PORTAL.example", RR_AAAA);
	struct dns_answer a = {.n = 9};

	(void)state;
	add_record(&m, "portal.EXAMPLE", RR_AAAA, 300, "2001:db8::1");
	assert_true(reads(&a, &m, name, DNS_AAAA));
	assert_int_equal(a.n, 1);
	is_ip(&a.addresses[0], "2001:db8::1");
}

static void cname_chain_is_followed_in_any_order(void **state)
{
	struct message m = message_of(ID, ANSWERED, name, RR_A);
	struct dns_answer a = {.n = 9};

	(void)state;
	add_record(&m, "c.example", RR_A, 300, "192.0.2.3");
	add_record(&m, "b.example", RR_CNAME, 20, "c.example");
	add_record(&m, name, RR_CNAME, 300, "b.example");
	add_record(&m, "other.example", RR_A, 1, "192.0.2.99");
	assert_true(reads(&a, &m, name, DNS_A));
	assert_int_equal(a.n, 1);
	is_ip(&a.addresses[0], "192.0.2.3");
	assert_int_equal(a.ttl_s, 20);
}

static void cname_loop_ends_without_address(void **state)
{
	struct message m = message_of(ID, ANSWERED, name, RR_A);
	struct dns_answer a = {.n = 9};

	(void)state;
	add_record(&m, name, RR_CNAME, 300, "b.example");
	add_record(&m, "b.example", RR_CNAME, 300, name);
	assert_true(reads(&a, &m, name, DNS_A));
	assert_int_equal(a.n, 0);
}

static void cname_chain_of_sixteen_is_the_limit(void **state)
{
	(void)state;
	for (int links = 15; links <= 16; links++) {
		struct message m = message_of(ID, ANSWERED, "n0.x", RR_A);
		struct dns_answer a = {.n = 9};
		char from[16], to[16];

		for (int i = 0; i < links; i++) {
			snprintf(from, sizeof(from), "n%d.x", i);
			snprintf(to, sizeof(to), "n%d.x", i + 1);
			add_record(&m, from, RR_CNAME, 300, to);
		}
		snprintf(from, sizeof(from), "n%d.x", links);
		add_record(&m, from, RR_A, 300, "192.0.2.1");
		assert_true(reads(&a, &m, "n0.x", DNS_A));
		assert_int_equal(a.n, links == 15 ? 1 : 0);
	}
}

static void records_of_another_type_are_ignored(void **state)
{
	struct message m = message_of(ID, ANSWERED, name, RR_AAAA);
	struct dns_answer a = {.n = 9};

	(void)state;
	add_record(&m, name, RR_A, 300, "192.0.2.1");
	assert_true(reads(&a, &m, name, DNS_AAAA));
	assert_int_equal(a.n, 0);
}

static void addresses_beyond_the_limit_are_dropped(void **state)
{
	(void)state;
	for (int count = DNS_MAX_ANSWERS; count <= DNS_MAX_ANSWERS + 1; count++) {
		struct message m = message_of(ID, ANSWERED, name, RR_A);
		struct dns_answer a = {.n = 9};
		char text[IP_TEXT_MAX];

		for (int i = 0; i < count; i++) {
			snprintf(text, sizeof(text), "192.0.2.%d", i);
			add_record(&m, name, RR_A, 300, text);
		}
		assert_true(reads(&a, &m, name, DNS_A));
		assert_int_equal(a.n, DNS_MAX_ANSWERS);
	}
}

static void no_such_name_lasts_as_long_as_the_soa_says_but_not_for_long(void **state)
{
	static const struct {
		uint32_t ttl, minimum, expect;
	} rows[] = {
	    {900, 60, 60}, {20, 900, 20}, {86400, 86400, 300}, {0, 900, 0}, {900, 0x80000000, 0}};
	struct message m = message_of(ID, ANSWERED | NXDOMAIN, name, RR_A);
	struct dns_answer a = {.n = 9};

	(void)state;
	assert_true(reads(&a, &m, name, DNS_A));
	assert_int_equal(a.rcode, 3);
	assert_int_equal(a.n, 0);
	assert_int_equal(a.ttl_s, 30);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		m = message_of(ID, ANSWERED | NXDOMAIN, name, RR_A);
		add_soa(&m, "example", rows[i].ttl, rows[i].minimum);
		assert_true(reads(&a, &m, name, DNS_A));
		assert_int_equal(a.ttl_s, rows[i].expect);
	}
}

static void long_ttls_are_cut_and_negative_ones_are_zero(void **state)
{
	static const uint32_t ttls[][2] = {{86400, 86400},  {86401, 86400},  {0x7fffffff, 86400},
					   {0x80000000, 0}, {UINT32_MAX, 0}, {0, 0}};

	(void)state;
	for (size_t i = 0; i < sizeof(ttls) / sizeof(ttls[0]); i++) {
		struct message m = message_of(ID, ANSWERED, name, RR_A);
		struct dns_answer a = {.n = 9};

		add_record(&m, name, RR_A, ttls[i][0], "192.0.2.1");
		assert_true(reads(&a, &m, name, DNS_A));
		assert_int_equal(a.ttl_s, ttls[i][1]);
	}
}

static void truncation_and_rcode_are_told(void **state)
{
	struct message m = message_of(ID, ANSWERED | FLAG_TC, name, RR_A);
	struct dns_answer a = {.n = 9};

	(void)state;
	assert_true(reads(&a, &m, name, DNS_A));
	assert_true(a.truncated);
	m = message_of(ID, ANSWERED | REFUSED, name, RR_A);
	assert_true(reads(&a, &m, name, DNS_A));
	assert_int_equal(a.rcode, REFUSED);
}

static void upper_bits_of_the_code_are_in_edns(void **state)
{
	struct message m = message_of(ID, ANSWERED, name, RR_A);
	struct dns_answer a = {.n = 9};

	(void)state;
	add_opt(&m, 1);
	assert_true(reads(&a, &m, name, DNS_A));
	assert_int_equal(a.rcode, DNS_BADVERS);
	assert_false(a.referral);
}

static void server_that_cannot_read_the_query_may_leave_the_question_out(void **state)
{
	struct dns_answer a = {.n = 9};

	(void)state;
	for (unsigned rcode = 0; rcode < 16; rcode++) {
		struct message m = message_of(ID, (uint16_t)(ANSWERED | rcode), NULL, 0);

		assert_int_equal(reads(&a, &m, name, DNS_A), rcode == FORMERR || rcode == NOTIMP);
		m = message_of(ID + 1, (uint16_t)(ANSWERED | rcode), NULL, 0);
		assert_false(reads(&a, &m, name, DNS_A));
	}
}

static void referral_says_nothing_of_the_name(void **state)
{
	static const uint16_t says[] = {ANSWERED, FLAG_QR | FLAG_AA, FLAG_QR | NXDOMAIN,
					FLAG_QR | SERVFAIL};
	struct message m = message_of(ID, FLAG_QR, name, RR_A);
	struct dns_answer a = {.n = 9};

	(void)state;
	assert_true(reads(&a, &m, name, DNS_A));
	assert_true(a.referral);
	add_soa(&m, "example", 60, 60);
	assert_true(reads(&a, &m, name, DNS_A));
	assert_false(a.referral);
	for (size_t i = 0; i < sizeof(says) / sizeof(says[0]); i++) {
		m = message_of(ID, says[i], name, RR_A);
		assert_true(reads(&a, &m, name, DNS_A));
		assert_false(a.referral);
	}
	m = message_of(ID, FLAG_QR, name, RR_A);
	add_record(&m, name, RR_CNAME, 60, "b.example");
	assert_true(reads(&a, &m, name, DNS_A));
	assert_false(a.referral);
}

static void answers_to_something_else_are_refused(void **state)
{
	const struct message wrong[] = {
	    message_of(ID + 1, ANSWERED, name, RR_A),             /* id */
	    message_of(ID, FLAG_RD_RA, name, RR_A),               /* a query */
	    message_of(ID, ANSWERED | 0x2800, name, RR_A),        /* an update */
	    message_of(ID, ANSWERED, "portal.example.net", RR_A), /* name */
	    message_of(ID, ANSWERED, name, RR_AAAA),              /* type */
	    message_of(ID, ANSWERED, NULL, RR_A),                 /* no question */
	};
	struct dns_answer a;

	(void)state;
	memset(&a, 0x5a, sizeof(a));
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_false(reads(&a, &wrong[i], name, DNS_A));
}

static void every_truncated_datagram_is_refused(void **state)
{
	struct message m = message_of(ID, ANSWERED, name, RR_A);
	struct dns_answer a;
	size_t len;

	(void)state;
	memset(&a, 0x5a, sizeof(a));
	add_record(&m, name, RR_CNAME, 300, "b.example");
	add_record(&m, "b.example", RR_A, 300, "192.0.2.1");
	len = m.len;
	for (m.len = 0; m.len < len; m.len++)
		assert_false(reads(&a, &m, name, DNS_A));
	assert_true(reads(&a, &m, name, DNS_A));
}

/* Compression that points at itself. */
static void pointer_loop_is_refused(void **state)
{
	struct message m = message_of(ID, ANSWERED, name, RR_A);
	struct dns_answer a;

	(void)state;
	memset(&a, 0x5a, sizeof(a));
	m.at[12] = 0xc0;
	m.at[13] = 12;
	assert_false(reads(&a, &m, name, DNS_A));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(query_asks_recursively_with_edns),
	    cmocka_unit_test(plain_query_is_the_same_without_edns),
	    cmocka_unit_test(longest_name_fits_and_one_beyond_does_not),
	    cmocka_unit_test(what_is_no_name_makes_no_query),
	    cmocka_unit_test(addresses_and_smallest_ttl_are_read),
	    cmocka_unit_test(names_compare_without_case),
	    cmocka_unit_test(cname_chain_is_followed_in_any_order),
	    cmocka_unit_test(cname_loop_ends_without_address),
	    cmocka_unit_test(cname_chain_of_sixteen_is_the_limit),
	    cmocka_unit_test(records_of_another_type_are_ignored),
	    cmocka_unit_test(addresses_beyond_the_limit_are_dropped),
	    cmocka_unit_test(no_such_name_lasts_as_long_as_the_soa_says_but_not_for_long),
	    cmocka_unit_test(long_ttls_are_cut_and_negative_ones_are_zero),
	    cmocka_unit_test(truncation_and_rcode_are_told),
	    cmocka_unit_test(upper_bits_of_the_code_are_in_edns),
	    cmocka_unit_test(server_that_cannot_read_the_query_may_leave_the_question_out),
	    cmocka_unit_test(referral_says_nothing_of_the_name),
	    cmocka_unit_test(answers_to_something_else_are_refused),
	    cmocka_unit_test(every_truncated_datagram_is_refused),
	    cmocka_unit_test(pointer_loop_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
