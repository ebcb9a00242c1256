#include "packet/checksum.h"

#include "packet/header.h"

enum {
	BLOCK = 32
};

/* Two lanes of 64 bits: what every supported processor adds in one instruction. */
typedef uint64_t lanes __attribute__((vector_size(16)));

/* Sums of the low and the high 32-bit halves of each lane, two of each to keep the additions apart.
 */
struct sums {
	lanes low[2], high[2];
};

/*
 * Words are added as the host stores them and the folded sum is swapped once: the one's-complement
 * sum does not depend on the byte order of its words. [RFC 1071 section 2 (B)]
 */
static uint16_t to_network_sum(uint64_t host_sum)
{
	uint16_t folded = checksum_fold(host_sum);

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	folded = __builtin_bswap16(folded);
#endif
	return folded;
}

/* At most BLOCK - 1 bytes. */
static uint64_t sum_tail(const uint8_t *data, size_t len)
{
	uint64_t sum = 0;
	uint8_t last[2] = {0, 0};
	uint16_t word;

	for (; len >= 2; len -= 2, data += 2) {
		memcpy(&word, data, sizeof(word));
		sum += word;
	}
	if (len == 1) {
		last[0] = data[0];
		memcpy(&word, last, sizeof(word));
		sum += word;
	}
	return sum;
}

/*
 * The builtin, since fortified memcpy() calls its checking function once per block where the
 * compiler has seen how large the buffer is. The callers' loops bound it.
 */
static inline void load_block(lanes block[2], const uint8_t *from)
{
	__builtin_memcpy(block, from, BLOCK);
}

static inline void store_block(uint8_t *to, const lanes block[2])
{
	__builtin_memcpy(to, block, BLOCK);
}

/* The analyzer takes the lanes of a vector for single bits. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wanalyzer-shift-count-overflow"
#endif
static inline void add_block(struct sums *s, const lanes block[2])
{
	const lanes mask = {UINT32_MAX, UINT32_MAX};
	const lanes half = {32, 32};

	s->low[0] += block[0] & mask;
	s->high[0] += block[0] >> half;
	s->low[1] += block[1] & mask;
	s->high[1] += block[1] >> half;
}
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

static inline uint64_t total(const struct sums *s)
{
	lanes all = s->low[0] + s->high[0] + s->low[1] + s->high[1];

	return all[0] + all[1];
}

uint64_t checksum_add(uint64_t sum, const uint8_t *data, size_t len)
{
	struct sums s = {.low = {{0}}};
	lanes block[2];

	for (; len >= BLOCK; len -= BLOCK, data += BLOCK) {
		load_block(block, data);
		add_block(&s, block);
	}
	return sum + to_network_sum(total(&s) + sum_tail(data, len));
}

uint64_t checksum_copy(uint64_t sum, uint8_t *restrict out, const uint8_t *restrict data,
		       size_t len)
{
	struct sums s = {.low = {{0}}};
	lanes block[2];

	for (; len >= BLOCK; len -= BLOCK, data += BLOCK, out += BLOCK) {
		load_block(block, data);
		store_block(out, block);
		add_block(&s, block);
	}
	if (len > 0)
		memcpy(out, data, len);
	return sum + to_network_sum(total(&s) + sum_tail(data, len));
}

uint16_t checksum_fold(uint64_t sum)
{
	sum = (sum & UINT32_MAX) + (sum >> 32);
	sum = (sum & UINT32_MAX) + (sum >> 32);
	sum = (sum & UINT16_MAX) + (sum >> 16);
	sum = (sum & UINT16_MAX) + (sum >> 16);
	sum = (sum & UINT16_MAX) + (sum >> 16);
	return (uint16_t)sum;
}

uint16_t checksum_update(uint16_t checksum, uint16_t before, uint16_t after)
{
	uint32_t sum = (uint16_t)~checksum + (uint32_t)(uint16_t)~before + after;

	return (uint16_t)~checksum_fold(sum);
}

uint64_t checksum_pseudo(const struct ip_view *view, uint32_t l4_len)
{
	uint64_t sum = (uint64_t)l4_len + view->proto;

	sum = checksum_add(sum, view->src.bytes, ip_len(&view->src));
	return checksum_add(sum, view->dst.bytes, ip_len(&view->dst));
}

bool checksum_l4_ok(const struct ip_view *view)
{
	const uint8_t *l4 = view->data + view->l4_offset;
	size_t l4_len = view->len - view->l4_offset;
	uint64_t sum = 0;

	switch (view->proto) {
	case IP_PROTO_UDP:
		if (view->version == 4 && l4[UDP_CHECKSUM] == 0 && l4[UDP_CHECKSUM + 1] == 0)
			return true;
		if (l4[UDP_CHECKSUM] == 0 && l4[UDP_CHECKSUM + 1] == 0)
			return false;
		sum = checksum_pseudo(view, (uint32_t)l4_len);
		break;
	case IP_PROTO_TCP:
	case IP_PROTO_ICMPV6:
		sum = checksum_pseudo(view, (uint32_t)l4_len);
		break;
	case IP_PROTO_ICMP:
		break;
	default:
		return true;
	}
	return checksum_fold(checksum_add(sum, l4, l4_len)) == UINT16_MAX;
}
