/*
 * Internet checksums. [RFC 1071, RFC 1624] Sums are host-order 16-bit values ready to be written in
 * network order.
 */
#ifndef PACKET_CHECKSUM_H
#define PACKET_CHECKSUM_H

#include "base/defs.h"
#include "packet/ip.h"

/* Running, not complemented one's-complement sum over @len bytes as big-endian words; an odd last
 * byte is padded with zero. */
uint64_t checksum_add(uint64_t sum, const uint8_t *data, size_t len);

/* The same, copying the bytes to @out on the way. */
uint64_t checksum_copy(uint64_t sum, uint8_t *restrict out, const uint8_t *restrict data,
		       size_t len);

/* @checksum (as in the header) after a 16-bit word that it covers changed. [RFC 1624 equation 3] */
uint16_t checksum_update(uint16_t checksum, uint16_t before, uint16_t after);

/* Fold to 16 bits, not complemented. */
uint16_t checksum_fold(uint64_t sum);

/* Pseudo header of @view for an upper-layer length of @l4_len bytes. */
uint64_t checksum_pseudo(const struct ip_view *view, uint32_t l4_len);

/* True if TCP's, UDP's (0 on IPv4 counts as right), ICMP's or ICMPv6's checksum is right. Other
 * protocols: true. */
bool checksum_l4_ok(const struct ip_view *view);

#endif
