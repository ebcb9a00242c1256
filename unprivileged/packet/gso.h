/*
 * Segmentation offload on the TUN side: virtio-net headers, cutting super-packets up, joining
 * neighbours of one flow. [spec performance, recipe 4-6; virtio 1.1 section 5.1.6]
 *
 * Works on batches, allocates nothing after the constructors, keeps nothing over a flush.
 */
#ifndef PACKET_GSO_H
#define PACKET_GSO_H

#include <sys/uio.h>

#include "base/defs.h"
#include "packet/ip.h"

enum {
	VNET_HDR_LEN = 10,
	VNET_F_NEEDS_CSUM = 1,
	VNET_F_DATA_VALID = 2,
	VNET_GSO_NONE = 0,
	VNET_GSO_TCPV4 = 1,
	VNET_GSO_TCPV6 = 4,
	VNET_GSO_UDP_L4 = 5,
	VNET_GSO_ECN = 0x80,
	GSO_MAX_SEGMENTS = 256,
};

/* struct virtio_net_hdr; host byte order in here and on the device (legacy, native endian). */
struct vnet_hdr {
	uint8_t flags, gso_type;
	uint16_t hdr_len, gso_size, csum_start, csum_offset;
};

bool vnet_hdr_read(struct vnet_hdr *out, const uint8_t buf[VNET_HDR_LEN]);
void vnet_hdr_write(const struct vnet_hdr *hdr, uint8_t buf[VNET_HDR_LEN]);

/* One super-packet being cut up. A plain value; the packet's bytes are borrowed. */
struct gso_split {
	struct ip_view view; /* of the whole super-packet */
	struct vnet_hdr hdr;
	size_t header_len; /* IP + transport header, computed, not hdr.hdr_len */
	size_t payload_len, sent, mss;
	uint32_t count, index; /* segments in all, next one */
	uint32_t tcp_seq;
	uint16_t ip_id;
	uint64_t pseudo_base; /* for the checksum of each segment */
	bool whole;           /* not a GSO packet: one piece, checksum completed if NEEDS_CSUM */
};

/*
 * Check a TUN read (@data, @len behind the vnet header) and prepare. False: malformed, a fragment,
 * more than GSO_MAX_SEGMENTS, or a segment would exceed IP_INNER_MTU; *verdict says which. The view
 * in @s serves routing, filtering and NAT for all segments.
 */
MUST_CHECK bool gso_split_begin(struct gso_split *s, const struct vnet_hdr *hdr, uint8_t *data,
				size_t len, enum ip_verdict *verdict);

/* Length of the next segment, 0 when all are out. */
size_t gso_split_next_len(const struct gso_split *s);

/* Write the next segment, complete with lengths, ids, flags and checksums, to @out
 * (gso_split_next_len() bytes). */
void gso_split_next(struct gso_split *s, uint8_t *out);

/* Joins packets for TUN writes. */
struct coalescer;

/* One write to the TUN: iov[0] is the vnet header, then packet bytes. */
struct tun_write {
	struct iovec *iov;
	int iov_count;
	uint32_t packets; /* how many packets this write carries */
};

/* @max_packets: most packets between two flushes. @tcp, @udp: what may be joined. */
struct coalescer *coalescer_new(size_t max_packets, bool tcp, bool udp);
void coalescer_free(struct coalescer *c);

/*
 * Add one parsed packet; its bytes stay the caller's, must not change before the flush, but the
 * head of a group is patched in place. Order within a flow is kept. Never fails: a packet that
 * cannot join opens a group of its own; false only when @max_packets are in (flush first).
 */
MUST_CHECK bool coalescer_add(struct coalescer *c, const struct ip_view *view);

/* Finish all groups and take them one by one, in order of their first packet; false: none left, the
 * coalescer is empty again. */
bool coalescer_next(struct coalescer *c, struct tun_write *out);

/*
 * Gather the packet of one write into @buf, its vnet header into *hdr. gso_split_begin() takes both
 * and gives the single packets back: for a joined write that the kernel refused. The length, or 0
 * when @cap is too small.
 */
MUST_CHECK size_t tun_write_gather(const struct tun_write *w, struct vnet_hdr *hdr, uint8_t *buf,
				   size_t cap);

/* Switch joining off for the rest of the run (a kernel refused a joined write). Singles only from
 * now on. */
void coalescer_disable(struct coalescer *c);

#endif
