/*
 * Where the fields of IP, TCP, UDP and ICMP headers lie. [RFC 791, 8200, 9293, 768, 792, 4443]
 *
 * Offsets count from the start of the header that the name begins with.
 */
#ifndef PACKET_HEADER_H
#define PACKET_HEADER_H

enum {
	V4_MIN_LEN = 20,
	V4_TOS = 1,
	V4_TOTAL_LEN = 2,
	V4_ID = 4,
	V4_FRAGMENT = 6,           /* flags and offset */
	V4_FRAGMENT_MASK = 0x3fff, /* more-fragments flag and offset */
	V4_OFFSET_MASK = 0x1fff,
	V4_DONT_FRAGMENT = 0x4000,
	V4_TTL = 8,
	V4_PROTO = 9,
	V4_CHECKSUM = 10,
	V4_SRC = 12,
	V4_DST = 16,

	V6_LEN = 40,
	V6_PAYLOAD_LEN = 4,
	V6_NEXT = 6,
	V6_HOP_LIMIT = 7,
	V6_SRC = 8,
	V6_DST = 24,

	TCP_MIN_LEN = 20,
	TCP_SEQ = 4,
	TCP_ACK_NUMBER = 8,
	TCP_DATA_OFFSET = 12,
	TCP_FLAGS = 13,
	TCP_WINDOW = 14,
	TCP_CHECKSUM = 16,
	TCP_URGENT = 18,
	TCP_FIN = 0x01,
	TCP_PSH = 0x08,
	TCP_ACK = 0x10,
	TCP_CWR = 0x80,

	UDP_LEN = 8,
	UDP_LENGTH = 4,
	UDP_CHECKSUM = 6,

	ICMP_MIN_LEN = 8,
	ICMP_CHECKSUM = 2,
};

#endif
