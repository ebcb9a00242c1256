#include "dns/message.h"

#include <ldns/ldns.h>
#include <stdlib.h>
#include <string.h>

enum {
	MAX_CHAIN = 16,
	MAX_TTL_S = 86400,
	NEGATIVE_TTL_S = 30,
	NEGATIVE_MAX_TTL_S = 300
};

static ldns_rr_type rr_type(enum dns_type type)
{
	return type == DNS_A ? LDNS_RR_TYPE_A : LDNS_RR_TYPE_AAAA;
}

static ldns_rdf *name_rdf(const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len >= DNS_NAME_MAX || name[0] == '.' || strstr(name, "..") ||
	    strchr(name, '\\'))
		return NULL;
	return ldns_dname_new_frm_str(name);
}

/* @question is the packet's afterwards, also on failure. */
static ldns_pkt *query_new(ldns_rr *question, uint16_t id, bool edns)
{
	ldns_pkt *pkt = ldns_pkt_new();

	if (!pkt || !ldns_pkt_push_rr(pkt, LDNS_SECTION_QUESTION, question)) {
		ldns_rr_free(question);
		ldns_pkt_free(pkt);
		return NULL;
	}
	ldns_pkt_set_id(pkt, id);
	ldns_pkt_set_rd(pkt, true);
	if (edns)
		ldns_pkt_set_edns_udp_size(pkt, DNS_UDP_SIZE);
	return pkt;
}

static size_t query_write(uint8_t *buf, size_t cap, uint16_t id, const char *name,
			  enum dns_type type, bool edns)
{
	ldns_rdf *owner = name_rdf(name);
	uint8_t *wire = NULL;
	size_t len = 0;
	ldns_rr *question;
	ldns_pkt *pkt = NULL;

	if (!owner)
		return 0;
	question = ldns_rr_new();
	if (!question) {
		ldns_rdf_deep_free(owner);
		return 0;
	}
	ldns_rr_set_owner(question, owner);
	ldns_rr_set_type(question, rr_type(type));
	ldns_rr_set_class(question, LDNS_RR_CLASS_IN);
	ldns_rr_set_question(question, true);
	pkt = query_new(question, id, edns);
	if (!pkt)
		return 0;
	if (ldns_pkt2wire(&wire, pkt, &len) != LDNS_STATUS_OK || len > cap)
		len = 0;
	else
		memcpy(buf, wire, len);
	free(wire);
	ldns_pkt_free(pkt);
	return len;
}

size_t dns_query_write(uint8_t *buf, size_t cap, uint16_t id, const char *name, enum dns_type type)
{
	return query_write(buf, cap, id, name, type, true);
}

size_t dns_query_write_plain(uint8_t *buf, size_t cap, uint16_t id, const char *name,
			     enum dns_type type)
{
	return query_write(buf, cap, id, name, type, false);
}

static unsigned int rcode_of(const ldns_pkt *pkt)
{
	unsigned int upper = ldns_pkt_edns(pkt) ? ldns_pkt_edns_extended_rcode(pkt) : 0;

	return upper << 4 | (unsigned int)ldns_pkt_get_rcode(pkt);
}

static bool question_matches(const ldns_pkt *pkt, const ldns_rdf *owner, enum dns_type type)
{
	const ldns_rr_list *list = ldns_pkt_question(pkt);
	const ldns_rr *rr;

	if (ldns_rr_list_rr_count(list) == 0)
		return ldns_pkt_get_rcode(pkt) == LDNS_RCODE_FORMERR ||
		       ldns_pkt_get_rcode(pkt) == LDNS_RCODE_NOTIMPL;
	if (ldns_rr_list_rr_count(list) != 1)
		return false;
	rr = ldns_rr_list_rr(list, 0);
	return ldns_rr_get_type(rr) == rr_type(type) && ldns_rr_get_class(rr) == LDNS_RR_CLASS_IN &&
	       ldns_dname_compare(ldns_rr_owner(rr), owner) == 0;
}

/* A number with the highest bit set means zero. [RFC 2181 section 8] */
static void note_seconds(struct dns_answer *out, uint32_t seconds)
{
	if (seconds > INT32_MAX)
		seconds = 0;
	if (seconds < out->ttl_s)
		out->ttl_s = seconds;
}

static void note_ttl(struct dns_answer *out, const ldns_rr *rr)
{
	note_seconds(out, ldns_rr_ttl(rr));
}

static void add_address(struct dns_answer *out, const ldns_rr *rr, enum dns_type type)
{
	const ldns_rdf *rdf = ldns_rr_rdf(rr, 0);
	size_t want = type == DNS_A ? 4 : 16;
	struct ip_addr ip = {.family = type == DNS_A ? IP_V4 : IP_V6};

	if (!rdf || ldns_rdf_size(rdf) != want || out->n == DNS_MAX_ANSWERS)
		return;
	memcpy(ip.bytes, ldns_rdf_data(rdf), want);
	out->addresses[out->n++] = ip;
	note_ttl(out, rr);
}

/* Follow the CNAMEs from @owner and take the addresses at the end. */
static void collect(struct dns_answer *out, const ldns_rr_list *list, const ldns_rdf *owner,
		    enum dns_type type)
{
	const ldns_rdf *at = owner;

	for (int step = 0; step < MAX_CHAIN && at; step++) {
		const ldns_rdf *next = NULL;

		for (size_t i = 0; i < ldns_rr_list_rr_count(list); i++) {
			const ldns_rr *rr = ldns_rr_list_rr(list, i);

			if (ldns_rr_get_class(rr) != LDNS_RR_CLASS_IN ||
			    ldns_dname_compare(ldns_rr_owner(rr), at) != 0)
				continue;
			if (ldns_rr_get_type(rr) == rr_type(type)) {
				add_address(out, rr, type);
			} else if (ldns_rr_get_type(rr) == LDNS_RR_TYPE_CNAME &&
				   ldns_rr_rd_count(rr) == 1) {
				next = ldns_rr_rdf(rr, 0);
				note_ttl(out, rr);
			}
		}
		at = out->n > 0 ? NULL : next;
	}
}

/* How long "no such name" or "no such record" may be believed: not as long as the zone says if that
 * is long. [RFC 2308] And is it said at all: a server that does not look names up names others that
 * may know, or nobody. */
static void read_negative(struct dns_answer *out, const ldns_pkt *pkt)
{
	const ldns_rr_list *list = ldns_pkt_authority(pkt);

	out->ttl_s = NEGATIVE_TTL_S;
	out->referral = out->rcode == DNS_NOERROR && !ldns_pkt_aa(pkt) && !ldns_pkt_ra(pkt) &&
			ldns_rr_list_rr_count(ldns_pkt_answer(pkt)) == 0;
	for (size_t i = 0; i < ldns_rr_list_rr_count(list); i++) {
		const ldns_rr *rr = ldns_rr_list_rr(list, i);

		if (ldns_rr_get_type(rr) == LDNS_RR_TYPE_SOA && ldns_rr_rd_count(rr) == 7 &&
		    ldns_rdf_size(ldns_rr_rdf(rr, 6)) == 4) {
			out->referral = false;
			out->ttl_s = NEGATIVE_MAX_TTL_S;
			note_seconds(out, ldns_rdf2native_int32(ldns_rr_rdf(rr, 6)));
			note_ttl(out, rr);
		}
	}
}

bool dns_answer_read(struct dns_answer *out, const uint8_t *buf, size_t len, uint16_t id,
		     const char *name, enum dns_type type)
{
	ldns_rdf *owner = name_rdf(name);
	ldns_pkt *pkt = NULL;
	bool ok = false;

	if (!owner)
		return false;
	if (ldns_wire2pkt(&pkt, buf, len) != LDNS_STATUS_OK)
		goto free_owner;
	ok = ldns_pkt_qr(pkt) && ldns_pkt_id(pkt) == id &&
	     ldns_pkt_get_opcode(pkt) == LDNS_PACKET_QUERY && question_matches(pkt, owner, type);
	if (!ok)
		goto free_pkt;
	memset(out, 0, sizeof(*out));
	out->rcode = rcode_of(pkt);
	out->truncated = ldns_pkt_tc(pkt);
	out->ttl_s = MAX_TTL_S;
	collect(out, ldns_pkt_answer(pkt), owner, type);
	if (out->n == 0)
		read_negative(out, pkt);
free_pkt:
	ldns_pkt_free(pkt);
free_owner:
	ldns_rdf_deep_free(owner);
	return ok;
}
