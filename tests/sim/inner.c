#include "inner.h"

#include <stdio.h>
#include <string.h>

#include "packet/bytes.h"
#include "packet/checksum.h"
#include "packet/header.h"

enum {
	MAGIC = 0x5117ca11,
	PORT_CLIENT = 4000,
	PORT_RESOURCE = 5000,
	TTL = 64,
};

static struct ip_addr parse(const char *text)
{
	struct ip_addr ip = {.family = IP_NONE};

	BUG_ON(!ip_parse(&ip, text, strlen(text)));
	return ip;
}

uint8_t inner_family(unsigned resource)
{
	return resource % 2 == 0 ? IP_V4 : IP_V6;
}

struct ip_addr inner_client_address(unsigned client, uint8_t family)
{
	struct ip_addr ip = parse(family == IP_V4 ? "100.64.0.0" : "fd00:2021:1111::");

	ip.bytes[family == IP_V4 ? 2 : 14] = (uint8_t)((client + 10) >> 8);
	ip.bytes[family == IP_V4 ? 3 : 15] = (uint8_t)(client + 10);
	return ip;
}

struct ip_prefix inner_prefix(unsigned resource)
{
	struct ip_prefix p = {.len = 16};

	p.ip = parse(inner_family(resource) == IP_V4 ? "10.20.0.0" : "2a00::");
	p.ip.bytes[1] = (uint8_t)(20 + resource);
	return p;
}

struct ip_addr inner_resource_address(unsigned resource)
{
	struct ip_addr ip = inner_prefix(resource).ip;

	ip.bytes[ip_len(&ip) - 1] = 1;
	return ip;
}

static uint32_t sum_of(const uint8_t *data, size_t len)
{
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < len; i++)
		h = (h ^ data[i]) * 16777619u;
	return h;
}

static void write_ip(struct writer *w, const struct ip_addr *src, const struct ip_addr *dst,
		     size_t l4)
{
	if (src->family == IP_V4) {
		wr_u16(w, 0x4500);
		wr_u16(w, (uint16_t)(V4_MIN_LEN + l4));
		wr_u32(w, V4_DONT_FRAGMENT);
		wr_u8(w, TTL);
		wr_u8(w, IP_PROTO_UDP);
		wr_u16(w, 0);
	} else {
		wr_u32(w, 0x60000000);
		wr_u16(w, (uint16_t)l4);
		wr_u8(w, IP_PROTO_UDP);
		wr_u8(w, TTL);
	}
	wr_bytes(w, src->bytes, ip_len(src));
	wr_bytes(w, dst->bytes, ip_len(dst));
}

static void write_payload(struct writer *w, const struct inner *in)
{
	uint8_t *start = w->at;

	wr_u32(w, MAGIC);
	wr_u32(w, in->seq);
	wr_u16(w, (uint16_t)in->client);
	wr_u8(w, (uint8_t)in->resource);
	wr_u8(w, in->reply);
	for (size_t i = 16; i < in->payload; i++)
		wr_u8(w, (uint8_t)(in->seq + i));
	if (!w->bad)
		wr_u32(w, sum_of(start, in->payload - 4));
}

static void put_u16(uint8_t *packet, size_t at, uint16_t v)
{
	struct writer w = writer_of(packet + at, 2);

	wr_u16(&w, v);
}

static bool finish(uint8_t *out, size_t len, size_t l4_at)
{
	struct ip_view view;
	uint64_t sum;
	uint16_t value;

	if (len - l4_at > IP_INNER_MTU || ip_parse_packet(&view, out, len, IP_INNER_MTU) != IP_OK)
		return false;
	if (view.version == 4)
		put_u16(out, V4_CHECKSUM,
			(uint16_t)~checksum_fold(checksum_add(0, out, V4_MIN_LEN)));
	sum = checksum_pseudo(&view, (uint32_t)(len - l4_at));
	value = (uint16_t)~checksum_fold(checksum_add(sum, out + l4_at, len - l4_at));
	put_u16(out, l4_at + UDP_CHECKSUM, value == 0 ? 0xffff : value);
	return true;
}

size_t inner_write(uint8_t *out, size_t cap, const struct inner *in)
{
	uint8_t family = inner_family(in->resource);
	struct ip_addr client = inner_client_address(in->client, family);
	struct ip_addr resource = inner_resource_address(in->resource);
	size_t l4 = UDP_LEN + in->payload, l4_at = family == IP_V4 ? V4_MIN_LEN : V6_LEN;
	struct writer w = writer_of(out, cap);

	write_ip(&w, in->reply ? &resource : &client, in->reply ? &client : &resource, l4);
	wr_u16(&w, in->reply ? PORT_RESOURCE : PORT_CLIENT);
	wr_u16(&w, in->reply ? PORT_CLIENT : PORT_RESOURCE);
	wr_u16(&w, (uint16_t)l4);
	wr_u16(&w, 0);
	write_payload(&w, in);
	return !w.bad && finish(out, w.written, l4_at) ? w.written : 0;
}

enum inner_verdict inner_read(struct inner *out, uint8_t *data, size_t len)
{
	struct ip_view view;
	struct reader r;
	const uint8_t *start;

	if (ip_parse_packet(&view, data, len, IP_INNER_MTU) != IP_OK || view.kind != IP_KIND_UDP ||
	    view.len < view.l4_offset + UDP_LEN + INNER_MIN_PAYLOAD)
		return INNER_FOREIGN;
	r = reader_of(data + view.l4_offset + UDP_LEN, view.len - view.l4_offset - UDP_LEN);
	start = r.at;
	out->payload = r.left;
	if (rd_u32(&r) != MAGIC)
		return INNER_CHANGED;
	out->seq = rd_u32(&r);
	out->client = rd_u16(&r);
	out->resource = rd_u8(&r);
	out->reply = rd_u8(&r) != 0;
	rd_skip(&r, out->payload - 16);
	return rd_u32(&r) == sum_of(start, out->payload - 4) && checksum_l4_ok(&view)
		   ? INNER_OK
		   : INNER_CHANGED;
}
