/*
 * The inner-packet parser: an accepted packet has the length its header states and all its parts
 * inside, parses again to the same view, and survives the ECN merge with an unchanged verdict on
 * its header checksum.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "packet/checksum.h"
#include "packet/ip.h"

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void check_view(const struct ip_view *v, size_t len)
{
	check(v->len == len && len <= IP_MAX_SUPER);
	check(v->version == 4 || v->version == 6);
	check(v->src.family == v->version && v->dst.family == v->version);
	check(v->l4_offset >= (v->version == 4 ? 20 : 40) && v->l4_offset <= len);
	check(!v->is_fragment);
	check(v->kind != IP_KIND_TCP || len - v->l4_offset >= 20);
	check(v->kind != IP_KIND_UDP || len - v->l4_offset >= 8);
	check((v->proto == IP_PROTO_ICMP || v->proto == IP_PROTO_ICMPV6) ==
	      (v->kind == IP_KIND_ECHO || v->kind == IP_KIND_ICMP_ERROR ||
	       v->kind == IP_KIND_ICMP_OTHER));
	check(v->kind != IP_KIND_ICMP_ERROR ||
	      (v->quote.src.family == v->version && v->quote.dst.family == v->version &&
	       v->is_icmp_error_type));
}

static bool same_view(const struct ip_view *a, const struct ip_view *b)
{
	return a->data == b->data && a->len == b->len && a->l4_offset == b->l4_offset &&
	       a->proto == b->proto && a->kind == b->kind && a->tos == b->tos &&
	       ip_eq(&a->src, &b->src) && ip_eq(&a->dst, &b->dst) && a->src_port == b->src_port &&
	       a->dst_port == b->dst_port && a->has_source_route == b->has_source_route &&
	       a->quote.kind == b->quote.kind && a->quote.dst_port == b->quote.dst_port;
}

static uint16_t v4_header_sum(const struct ip_view *v)
{
	return checksum_fold(checksum_add(0, v->data, (size_t)(v->data[0] & 0xf) * 4));
}

static void check_ecn(struct ip_view *v)
{
	uint8_t before = ip_ecn(v);
	uint16_t sum = v->version == 4 ? v4_header_sum(v) : 0;
	struct ip_view again;

	ip_merge_ecn(v, 3);
	check(ip_ecn(v) == (before == 0 ? 0 : 3));
	check(ip_parse_packet(&again, v->data, v->len, IP_MAX_SUPER) == IP_OK);
	check(again.tos == v->tos && again.kind == v->kind);
	/* Zero has two forms in one's complement. */
	if (v->version == 4)
		check(v4_header_sum(v) % UINT16_MAX == sum % UINT16_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	size_t cut = ip_trim(data, len);
	uint8_t *copy = malloc(len > 0 ? len : 1);
	struct ip_view view;
	struct ip_view again;

	check(copy != NULL);
	if (len > 0)
		memcpy(copy, data, len);
	check(cut <= len);
	if (ip_parse_packet(&view, copy, len, IP_INNER_MTU) == IP_OK) {
		check(cut == len && len <= IP_INNER_MTU);
		check_view(&view, len);
		(void)checksum_l4_ok(&view);
		check_ecn(&view);
	}
	if (ip_parse_packet(&view, copy, cut, IP_MAX_SUPER) == IP_OK) {
		check_view(&view, cut);
		check(ip_parse_packet(&again, copy, cut, IP_MAX_SUPER) == IP_OK);
		check(same_view(&view, &again));
	}
	free(copy);
	return 0;
}
