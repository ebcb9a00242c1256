#include "packet/gso.h"

#include <string.h>

#include "packet/checksum.h"
#include "packet/field.h"
#include "packet/header.h"

bool vnet_hdr_read(struct vnet_hdr *out, const uint8_t buf[VNET_HDR_LEN])
{
	struct vnet_hdr hdr = {.flags = buf[0], .gso_type = buf[1]};
	uint8_t type = hdr.gso_type & (uint8_t)~VNET_GSO_ECN;

	memcpy(&hdr.hdr_len, buf + 2, sizeof(hdr.hdr_len));
	memcpy(&hdr.gso_size, buf + 4, sizeof(hdr.gso_size));
	memcpy(&hdr.csum_start, buf + 6, sizeof(hdr.csum_start));
	memcpy(&hdr.csum_offset, buf + 8, sizeof(hdr.csum_offset));
	if (type != VNET_GSO_NONE && type != VNET_GSO_TCPV4 && type != VNET_GSO_TCPV6 &&
	    type != VNET_GSO_UDP_L4)
		return false;
	*out = hdr;
	return true;
}

void vnet_hdr_write(const struct vnet_hdr *hdr, uint8_t buf[VNET_HDR_LEN])
{
	buf[0] = hdr->flags;
	buf[1] = hdr->gso_type;
	memcpy(buf + 2, &hdr->hdr_len, sizeof(hdr->hdr_len));
	memcpy(buf + 4, &hdr->gso_size, sizeof(hdr->gso_size));
	memcpy(buf + 6, &hdr->csum_start, sizeof(hdr->csum_start));
	memcpy(buf + 8, &hdr->csum_offset, sizeof(hdr->csum_offset));
}

/* The packet's own checksum field, or one of a packet inside its payload: never another field of
 * its headers. */
static bool checksum_place_ok(const struct ip_view *view, const struct vnet_hdr *hdr)
{
	size_t header_len = 0;
	size_t own = hdr->csum_offset;

	if (view->proto == IP_PROTO_TCP) {
		header_len = (size_t)(view->data[view->l4_offset + TCP_DATA_OFFSET] >> 4) * 4;
		own = TCP_CHECKSUM;
	} else if (view->proto == IP_PROTO_UDP) {
		header_len = UDP_LEN;
		own = UDP_CHECKSUM;
	} else if (view->proto == IP_PROTO_ICMP || view->proto == IP_PROTO_ICMPV6) {
		header_len = view->len; /* the view looks into what an error quotes */
		own = ICMP_CHECKSUM;
	}
	if (hdr->csum_start == view->l4_offset)
		return hdr->csum_offset == own;
	return hdr->csum_start >= view->l4_offset + header_len;
}

/* The sum of the pseudo header is in the field already; what is missing is the sum from csum_start
 * to the end. */
static bool complete_checksum(const struct ip_view *view, const struct vnet_hdr *hdr)
{
	size_t at = (size_t)hdr->csum_start + hdr->csum_offset;
	uint16_t sum;

	if (!checksum_place_ok(view, hdr) || at + 2 > view->len)
		return false;
	sum = (uint16_t)~checksum_fold(
	    checksum_add(0, view->data + hdr->csum_start, view->len - hdr->csum_start));
	if (sum == 0 && view->proto == IP_PROTO_UDP)
		sum = UINT16_MAX;
	field_set_u16(view->data, at, sum);
	return true;
}

static enum ip_verdict begin_whole(struct gso_split *s)
{
	if (s->view.len > IP_INNER_MTU)
		return IP_TOO_LONG;
	if ((s->hdr.flags & VNET_F_NEEDS_CSUM) && !complete_checksum(&s->view, &s->hdr))
		return IP_MALFORMED;
	s->whole = true;
	s->count = 1;
	return IP_OK;
}

/* Length of the transport header, 0 when the packet is not what the vnet header says. */
static size_t l4_header_len(const struct ip_view *view, uint8_t gso_type)
{
	bool tcp = gso_type == VNET_GSO_TCPV4 || gso_type == VNET_GSO_TCPV6;

	if (gso_type == VNET_GSO_UDP_L4)
		return view->proto == IP_PROTO_UDP ? UDP_LEN : 0;
	if (!tcp || view->proto != IP_PROTO_TCP ||
	    view->version != (gso_type == VNET_GSO_TCPV4 ? 4 : 6))
		return 0;
	return (size_t)(view->data[view->l4_offset + TCP_DATA_OFFSET] >> 4) * 4;
}

static enum ip_verdict begin_segments(struct gso_split *s, uint8_t gso_type)
{
	size_t l4_len = l4_header_len(&s->view, gso_type);
	size_t count;

	if (l4_len == 0 || s->hdr.gso_size == 0)
		return IP_MALFORMED;
	s->header_len = s->view.l4_offset + l4_len;
	s->payload_len = s->view.len - s->header_len;
	s->mss = s->hdr.gso_size;
	if (s->header_len + min_size(s->mss, s->payload_len) > IP_INNER_MTU)
		return IP_TOO_LONG;
	count = s->payload_len > 0 ? (s->payload_len + s->mss - 1) / s->mss : 1;
	if (count > GSO_MAX_SEGMENTS)
		return IP_TOO_LONG;
	s->count = (uint32_t)count;
	return IP_OK;
}

bool gso_split_begin(struct gso_split *s, const struct vnet_hdr *hdr, uint8_t *data, size_t len,
		     enum ip_verdict *verdict)
{
	uint8_t gso_type = hdr->gso_type & (uint8_t)~VNET_GSO_ECN;

	memset(s, 0, sizeof(*s));
	*verdict = ip_parse_packet(&s->view, data, len, IP_MAX_SUPER);
	if (*verdict != IP_OK)
		return false;
	s->hdr = *hdr;
	if (gso_type == VNET_GSO_NONE)
		*verdict = begin_whole(s);
	else
		*verdict = begin_segments(s, gso_type);
	return *verdict == IP_OK;
}

size_t gso_split_next_len(const struct gso_split *s)
{
	if (s->index >= s->count)
		return 0;
	if (s->whole)
		return s->view.len;
	return s->header_len + min_size(s->mss, s->payload_len - s->sent);
}

/* What all segments share; read at the first one, so that a rewrite between begin and next takes
 * part. */
static void prepare(struct gso_split *s)
{
	const uint8_t *data = s->view.data;

	s->pseudo_base = checksum_pseudo(&s->view, 0);
	if (s->view.version == 4)
		s->ip_id = field_u16(data, V4_ID);
	if (s->view.proto == IP_PROTO_TCP)
		s->tcp_seq = field_u32(data, s->view.l4_offset + TCP_SEQ);
}

static void patch_ip(const struct gso_split *s, uint8_t *out, size_t len)
{
	if (s->view.version == 6) {
		field_set_u16(out, V6_PAYLOAD_LEN, (uint16_t)(len - V6_LEN));
		return;
	}
	field_set_u16(out, V4_TOTAL_LEN, (uint16_t)len);
	field_set_u16(out, V4_ID, (uint16_t)(s->ip_id + s->index));
	field_set_u16(out, V4_CHECKSUM, 0);
	field_set_u16(out, V4_CHECKSUM,
		      (uint16_t)~checksum_fold(checksum_add(0, out, (size_t)(out[0] & 0xf) * 4)));
}

/* All but the checksum, which is left zero. */
static void patch_l4(const struct gso_split *s, uint8_t *l4, size_t l4_len)
{
	if (s->view.proto == IP_PROTO_UDP) {
		field_set_u16(l4, UDP_LENGTH, (uint16_t)l4_len);
		field_set_u16(l4, UDP_CHECKSUM, 0);
		return;
	}
	field_set_u32(l4, TCP_SEQ, s->tcp_seq + (uint32_t)s->sent);
	if (s->index > 0)
		l4[TCP_FLAGS] &= (uint8_t)~TCP_CWR;
	if (s->index + 1 < s->count)
		l4[TCP_FLAGS] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
	field_set_u16(l4, TCP_CHECKSUM, 0);
}

void gso_split_next(struct gso_split *s, uint8_t *out)
{
	size_t len = gso_split_next_len(s);
	size_t l4_at = s->view.l4_offset;
	size_t payload = len - s->header_len;
	uint64_t sum;
	uint16_t checksum;

	if (s->whole) {
		memcpy(out, s->view.data, len);
		s->index++;
		return;
	}
	if (s->index == 0)
		prepare(s);
	memcpy(out, s->view.data, s->header_len);
	patch_ip(s, out, len);
	patch_l4(s, out + l4_at, len - l4_at);
	sum = checksum_copy(s->pseudo_base + len - l4_at, out + s->header_len,
			    s->view.data + s->header_len + s->sent, payload);
	sum = checksum_add(sum, out + l4_at, s->header_len - l4_at);
	checksum = (uint16_t)~checksum_fold(sum);
	if (s->view.proto == IP_PROTO_UDP)
		field_set_u16(out, l4_at + UDP_CHECKSUM, checksum == 0 ? UINT16_MAX : checksum);
	else
		field_set_u16(out, l4_at + TCP_CHECKSUM, checksum);
	s->sent += payload;
	s->index++;
}
