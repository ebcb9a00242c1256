#include "sockets/netlink.h"

#include "packet/bytes.h"

/* linux/netlink.h and linux/rtnetlink.h: this room must not include socket headers, so the numbers
 * stand here. */
enum {
	NLM_F_REQUEST_ = 0x001,
	NLM_F_DUMP_INTR_ = 0x010,
	NLM_F_DUMP_ = 0x300,
	NLMSG_ERROR_ = 2,
	NLMSG_DONE_ = 3,
	RTM_NEWLINK_ = 16,
	RTM_DELLINK_ = 17,
	RTM_GETLINK_ = 18,
	RTM_NEWADDR_ = 20,
	RTM_DELADDR_ = 21,
	RTM_GETADDR_ = 22,
	RTM_NEWROUTE_ = 24,
	RTM_DELROUTE_ = 25,
	RTM_GETROUTE_ = 26,
	RTM_NEWRULE_ = 32,
	RTM_DELRULE_ = 33,
	RTM_NEWNEXTHOP_ = 104,
	RTM_DELNEXTHOP_ = 105,
	RTM_F_LOOKUP_TABLE_ = 0x1000,
	RTA_DST_ = 1,
	RTA_OIF_ = 4,
	RTA_GATEWAY_ = 5,
	RTA_PRIORITY_ = 6,
	RTA_PREFSRC_ = 7,
	RTA_CACHEINFO_ = 12,
	RTA_TABLE_ = 15,
	RTA_MARK_ = 16,
	RTA_EXPIRES_ = 23,
	IFLA_IFNAME_ = 3,
	IFLA_MASTER_ = 10,
	IFLA_CARRIER_ = 33,
	IFA_ADDRESS_ = 1,
	IFA_LOCAL_ = 2,
	IFA_FLAGS_ = 8,
	FRA_PRIORITY_ = 6,
	FRA_FWMARK_ = 10,
	FRA_SUPPRESS_IFGROUP_ = 13,
	FRA_SUPPRESS_PREFIXLEN_ = 14,
	FRA_TABLE_ = 15,
	FRA_FWMASK_ = 16,
	FRA_PROTOCOL_ = 21,
	FIB_RULE_INVERT_ = 2,
	AF_UNSPEC_ = 0,
	AF_INET_ = 2,
	AF_INET6_ = 10,
	NLA_TYPE_MASK = 0x3fff,
	HEADER_LEN = 16,
	ATTR_HEADER = 4,
};

/* Netlink speaks the machine's byte order. */
static uint16_t rd_ne16(struct reader *r)
{
	uint16_t v;

	rd_copy(r, &v, sizeof(v));
	return v;
}

static uint32_t rd_ne32(struct reader *r)
{
	uint32_t v;

	rd_copy(r, &v, sizeof(v));
	return v;
}

static void wr_ne16(struct writer *w, uint16_t v)
{
	wr_bytes(w, &v, sizeof(v));
}

static void wr_ne32(struct writer *w, uint32_t v)
{
	wr_bytes(w, &v, sizeof(v));
}

static void wr_attr_u32(struct writer *w, uint16_t type, uint32_t value)
{
	wr_ne16(w, ATTR_HEADER + sizeof(value));
	wr_ne16(w, type);
	wr_ne32(w, value);
}

static void wr_header(struct writer *w, size_t len, uint16_t type, uint16_t flags, uint32_t seq)
{
	wr_ne32(w, (uint32_t)len);
	wr_ne16(w, type);
	wr_ne16(w, flags);
	wr_ne32(w, seq);
	wr_ne32(w, 0);
}

size_t nl_write_get_route(uint8_t *buf, size_t cap, uint32_t seq, const struct ip_addr *dst,
			  uint32_t scope, uint32_t mark)
{
	enum {
		RTMSG_LEN = 12,
		U32_ATTR = ATTR_HEADER + 4
	};
	struct writer w = writer_of(buf, cap);
	size_t addr_len = ip_len(dst);
	size_t len =
	    HEADER_LEN + RTMSG_LEN + ATTR_HEADER + addr_len + U32_ATTR + (scope ? U32_ATTR : 0);

	wr_header(&w, len, RTM_GETROUTE_, NLM_F_REQUEST_, seq);
	wr_u8(&w, dst->family == IP_V4 ? AF_INET_ : AF_INET6_);
	wr_u8(&w, (uint8_t)(addr_len * 8));
	wr_zero(&w, 6);
	/* Without it an IPv4 answer says "main" for every table; IPv6 always says the true one, and
	 * refuses the flag. */
	wr_ne32(&w, dst->family == IP_V4 ? RTM_F_LOOKUP_TABLE_ : 0);
	wr_ne16(&w, (uint16_t)(ATTR_HEADER + addr_len));
	wr_ne16(&w, RTA_DST_);
	wr_bytes(&w, dst->bytes, addr_len);
	wr_attr_u32(&w, RTA_MARK_, mark);
	if (scope)
		wr_attr_u32(&w, RTA_OIF_, scope);
	return w.bad ? 0 : w.written;
}

size_t nl_write_dump(uint8_t *buf, size_t cap, uint32_t seq, enum nl_dump what)
{
	enum {
		IFINFO_LEN = 16,
		IFADDR_LEN = 8
	};
	struct writer w = writer_of(buf, cap);
	size_t body = what == NL_DUMP_LINKS ? IFINFO_LEN : IFADDR_LEN;

	wr_header(&w, HEADER_LEN + body, what == NL_DUMP_LINKS ? RTM_GETLINK_ : RTM_GETADDR_,
		  NLM_F_REQUEST_ | NLM_F_DUMP_, seq);
	wr_zero(&w, body);
	return w.bad ? 0 : w.written;
}

/* The next attribute's payload as a reader of its own; false at the end. A broken one turns the
 * parent bad. */
static bool next_attr(struct reader *r, uint16_t *type, struct reader *value)
{
	size_t len, pad;

	if (r->bad || r->left == 0)
		return false;
	len = rd_ne16(r);
	*type = rd_ne16(r) & NLA_TYPE_MASK;
	if (r->bad || len < ATTR_HEADER) {
		r->bad = true;
		return false;
	}
	*value = rd_child(r, len - ATTR_HEADER);
	pad = (4 - len % 4) % 4;
	rd_skip(r, min_size(pad, r->left));
	return !r->bad;
}

/* An address or a number of any other length than its own turns the attribute bad. */
static struct ip_addr addr_of(struct reader *value, uint8_t family)
{
	struct ip_addr ip = {.family = family == AF_INET_ ? IP_V4 : IP_V6};

	if (value->left != ip_len(&ip)) {
		value->bad = true;
		return (struct ip_addr){.family = IP_NONE};
	}
	rd_copy(value, ip.bytes, value->left);
	return ip;
}

static uint32_t u32_of(struct reader *value)
{
	value->bad = value->bad || value->left != sizeof(uint32_t);
	return rd_ne32(value);
}

static void route_attr(struct nl_route *route, uint8_t family, uint16_t type, struct reader *value)
{
	switch (type) {
	case RTA_DST_:
		route->dst.ip = addr_of(value, family);
		break;
	case RTA_OIF_:
		route->ifindex = u32_of(value);
		break;
	case RTA_GATEWAY_:
		route->gateway = addr_of(value, family);
		break;
	case RTA_PRIORITY_:
		route->metric = u32_of(value);
		break;
	case RTA_PREFSRC_:
		route->prefsrc = addr_of(value, family);
		break;
	case RTA_TABLE_:
		route->table = u32_of(value);
		break;
	default:
		break;
	}
}

/* FNV-1a. */
static void digest(uint64_t *sum, struct reader bytes)
{
	while (bytes.left > 0)
		*sum = (*sum ^ rd_u8(&bytes)) * UINT64_C(0x100000001b3);
}

static bool route_read(struct nl_msg *out, struct reader *r)
{
	enum {
		RTMSG_LEN = 12
	};
	struct reader value, head = *r;
	uint16_t type;
	uint8_t family = rd_u8(r);

	out->route.digest = UINT64_C(0xcbf29ce484222325);
	digest(&out->route.digest, rd_child(&head, RTMSG_LEN));
	out->route.dst.len = rd_u8(r);
	rd_skip(r, 2);
	out->route.table = rd_u8(r);
	rd_skip(r, 2);
	out->route.type = rd_u8(r);
	rd_skip(r, 4);
	while (next_attr(r, &type, &value)) {
		if (type != RTA_CACHEINFO_ && type != RTA_EXPIRES_)
			digest(&out->route.digest, value);
		route_attr(&out->route, family, type, &value);
		if (value.bad)
			return false;
	}
	if (out->route.dst.ip.family == IP_NONE) /* the default route has no such attribute */
		out->route.dst.ip.family = family == AF_INET_ ? IP_V4 : IP_V6;
	return !r->bad && out->route.dst.len <= ip_len(&out->route.dst.ip) * 8;
}

static bool address_read(struct nl_msg *out, struct reader *r)
{
	struct reader value;
	uint16_t type;
	uint8_t family = rd_u8(r);
	bool local = false;

	out->address.prefix_len = rd_u8(r);
	out->address.flags = rd_u8(r);
	out->address.scope = rd_u8(r);
	out->address.ifindex = rd_ne32(r);
	while (next_attr(r, &type, &value)) {
		if (type == IFA_LOCAL_ || (type == IFA_ADDRESS_ && !local)) {
			out->address.addr = addr_of(&value, family);
			local = local || type == IFA_LOCAL_;
		} else if (type == IFA_FLAGS_) {
			out->address.flags = u32_of(&value);
		}
		if (value.bad)
			return false;
	}
	return !r->bad;
}

static bool link_read(struct nl_msg *out, struct reader *r)
{
	struct reader value;
	uint16_t type;

	rd_skip(r, 4);
	out->link.ifindex = rd_ne32(r);
	out->link.flags = rd_ne32(r);
	rd_skip(r, 4);
	out->link.carrier = true;
	out->link.partial = true;
	while (next_attr(r, &type, &value)) {
		if (type == IFLA_IFNAME_)
			rd_copy(&value, out->link.name,
				min_size(value.left, sizeof(out->link.name) - 1));
		else if (type == IFLA_MASTER_)
			out->link.master = u32_of(&value);
		else if (type == IFLA_CARRIER_) {
			out->link.carrier = rd_u8(&value) != 0;
			out->link.partial = false;
		}
		if (value.bad)
			return false;
	}
	return !r->bad;
}

static void rule_attr(struct nl_msg *out, uint16_t type, struct reader *value)
{
	switch (type) {
	case FRA_PRIORITY_:
		out->rule.priority = u32_of(value);
		break;
	case FRA_FWMARK_:
		out->rule.mark = u32_of(value);
		break;
	case FRA_FWMASK_:
		out->rule.mask = u32_of(value);
		break;
	case FRA_TABLE_:
		out->rule.table = u32_of(value);
		break;
	case FRA_SUPPRESS_IFGROUP_:
	case FRA_SUPPRESS_PREFIXLEN_:
	case FRA_PROTOCOL_:
		break;
	default:
		out->rule.selective = true;
		break;
	}
}

static bool rule_read(struct nl_msg *out, struct reader *r)
{
	struct reader value;
	uint16_t type;
	bool selective;

	rd_skip(r, 1);
	selective = rd_u8(r) > 0;              /* destination */
	selective = rd_u8(r) > 0 || selective; /* source */
	selective = rd_u8(r) > 0 || selective; /* type of service */
	out->rule.selective = selective;
	out->rule.mask = UINT32_MAX;
	out->rule.table = rd_u8(r);
	rd_skip(r, 3);
	out->rule.inverted = (rd_ne32(r) & FIB_RULE_INVERT_) != 0;
	while (next_attr(r, &type, &value)) {
		rule_attr(out, type, &value);
		if (value.bad)
			return false;
	}
	return !r->bad;
}

/* A negative errno, or 0. */
static bool error_read(struct nl_msg *out, struct reader *body)
{
	enum {
		MAX_ERRNO = 4095
	};
	uint32_t value = 0 - rd_ne32(body);

	out->error = (int)min_size(value, MAX_ERRNO);
	return !body->bad && value <= MAX_ERRNO;
}

/* Other families' routes, addresses and rules, and what a bridge says of its ports, are not ours to
 * read. */
static bool is_foreign(uint16_t type, const struct reader *body)
{
	struct reader peek = *body;
	uint8_t family = rd_u8(&peek);

	if (peek.bad || type < RTM_NEWLINK_ || type > RTM_DELRULE_)
		return false;
	if (type == RTM_NEWLINK_ || type == RTM_DELLINK_)
		return family != AF_UNSPEC_;
	return family != AF_INET_ && family != AF_INET6_;
}

static bool body_read(struct nl_msg *out, uint16_t type, struct reader *body)
{
	if (is_foreign(type, body)) {
		out->kind = NL_OTHER;
		return true;
	}
	switch (type) {
	case NLMSG_ERROR_:
		out->kind = NL_ERROR;
		return error_read(out, body);
	case NLMSG_DONE_:
		out->kind = NL_DONE;
		return body->left == 0 || error_read(out, body);
	case RTM_NEWROUTE_:
	case RTM_DELROUTE_:
		out->kind = type == RTM_NEWROUTE_ ? NL_NEW_ROUTE : NL_DEL_ROUTE;
		return route_read(out, body);
	case RTM_NEWADDR_:
	case RTM_DELADDR_:
		out->kind = type == RTM_NEWADDR_ ? NL_NEW_ADDR : NL_DEL_ADDR;
		return address_read(out, body);
	case RTM_NEWLINK_:
	case RTM_DELLINK_:
		out->kind = type == RTM_NEWLINK_ ? NL_NEW_LINK : NL_DEL_LINK;
		return link_read(out, body);
	case RTM_NEWRULE_:
	case RTM_DELRULE_:
		out->kind = type == RTM_NEWRULE_ ? NL_NEW_RULE : NL_DEL_RULE;
		return rule_read(out, body);
	case RTM_NEWNEXTHOP_:
	case RTM_DELNEXTHOP_:
		out->kind = NL_NEXTHOP;
		return true;
	default:
		out->kind = NL_OTHER;
		return true;
	}
}

bool nl_next(struct nl_msg *out, const uint8_t *buf, size_t len, size_t *at, bool *bad)
{
	struct reader r = reader_of(buf, len);
	struct reader body;
	struct nl_msg msg;
	uint32_t msg_len;
	uint16_t type;

	*bad = false;
	rd_skip(&r, *at);
	if (r.bad || r.left == 0)
		return false;
	memset(&msg, 0, sizeof(msg));
	msg_len = rd_ne32(&r);
	type = rd_ne16(&r);
	msg.interrupted = (rd_ne16(&r) & NLM_F_DUMP_INTR_) != 0;
	msg.seq = rd_ne32(&r);
	rd_skip(&r, 4);
	body = rd_child(&r, msg_len >= HEADER_LEN ? msg_len - HEADER_LEN : SIZE_MAX);
	if (r.bad || !body_read(&msg, type, &body)) {
		*bad = true;
		return false;
	}
	*at += min_size((msg_len + 3u) & ~3u, len - *at);
	*out = msg;
	return true;
}
