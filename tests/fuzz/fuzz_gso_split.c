/*
 * A TUN read, vnet header in front: every segment parses, has right checksums, none is longer than
 * the tunnel's MTU, and the payloads in a row are the payload of the whole.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "packet/checksum.h"
#include "packet/gso.h"

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void check_segment(const struct gso_split *s, uint8_t *seg, size_t len, size_t sent)
{
	const uint8_t *payload = s->view.data + s->header_len + sent;
	struct ip_view view;

	check(ip_parse_packet(&view, seg, len, IP_INNER_MTU) == IP_OK);
	check(view.kind == s->view.kind && view.l4_offset == s->view.l4_offset);
	check(ip_eq(&view.src, &s->view.src) && ip_eq(&view.dst, &s->view.dst));
	check(view.src_port == s->view.src_port && view.dst_port == s->view.dst_port);
	if (s->whole)
		return;
	check(checksum_l4_ok(&view));
	check(memcmp(seg + s->header_len, payload, len - s->header_len) == 0);
	if (view.version == 4)
		check(checksum_fold(checksum_add(0, seg, view.l4_offset)) == UINT16_MAX);
}

static void split(const struct vnet_hdr *hdr, uint8_t *packet, size_t len)
{
	struct gso_split s;
	enum ip_verdict verdict;
	uint32_t count = 0;
	size_t sent = 0;
	size_t piece;

	if (!gso_split_begin(&s, hdr, packet, len, &verdict)) {
		check(verdict != IP_OK);
		return;
	}
	check(verdict == IP_OK && s.count >= 1 && s.count <= GSO_MAX_SEGMENTS);
	while ((piece = gso_split_next_len(&s)) > 0) {
		uint8_t *seg;

		check(piece <= IP_INNER_MTU);
		seg = malloc(piece); /* exactly: a write past it is seen */
		check(seg != NULL);
		gso_split_next(&s, seg);
		check_segment(&s, seg, piece, sent);
		sent += piece - s.header_len;
		count++;
		free(seg);
	}
	check(count == s.count);
	check(sent == (s.whole ? len : s.payload_len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct vnet_hdr hdr;
	uint8_t *packet;

	if (len < VNET_HDR_LEN || !vnet_hdr_read(&hdr, data))
		return 0;
	packet = malloc(len > VNET_HDR_LEN ? len - VNET_HDR_LEN : 1);
	check(packet != NULL);
	memcpy(packet, data + VNET_HDR_LEN, len - VNET_HDR_LEN);
	split(&hdr, packet, len - VNET_HDR_LEN);
	free(packet);
	return 0;
}
