#include "privileged/helper.h"

#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

enum {
	QUEUE_LENGTH = 10000, /* packets */
	RULE_COUNT = 3,
	RULE_PRIORITY_STEP = 100,
	TABLE = 0x2021fd00, /* of the tunnel's routes; the rules lead to it and the next two */
};

/* One request to the kernel, or its answer. */
union message {
	struct nlmsghdr head;
	uint8_t bytes[256];
};

static const struct family {
	uint8_t family;
	uint8_t size; /* of an address in bytes */
	uint8_t range_bits;
	uint8_t range[16];
} families[] = {
    {AF_INET, 4, 11, {100, 64}},
    {AF_INET6, 16, 107, {0xfd, 0x00, 0x20, 0x21, 0x11, 0x11}},
};

/* Start a request; returns its header of @size bytes, which begins with the family. What is new
 * must not be there yet. */
static void *begin(union message *message, uint16_t type, size_t size, uint8_t family)
{
	uint8_t *header;

	mnl_nlmsg_put_header(message)->nlmsg_type = type;
	message->head.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	if (type == RTM_NEWADDR || type == RTM_NEWROUTE || type == RTM_NEWRULE)
		message->head.nlmsg_flags |= NLM_F_CREATE | NLM_F_EXCL;
	header = mnl_nlmsg_put_extra_header(&message->head, size);
	*header = family;
	return header;
}

/*
 * Send the request and take the kernel's verdict, which is there when the send returns. What is
 * there already is as good as made: rules and such may be left from a helper that was killed.
 */
static int talk(int netlink, union message *message)
{
	struct iovec out = {.iov_base = message, .iov_len = message->head.nlmsg_len};
	struct iovec in = {.iov_base = message, .iov_len = sizeof(*message)};
	const struct msghdr ask = {.msg_iov = &out, .msg_iovlen = 1};
	struct msghdr got = {.msg_iov = &in, .msg_iovlen = 1};
	const struct nlmsgerr *verdict = mnl_nlmsg_get_payload(&message->head);

	if (sendmsg(netlink, &ask, MSG_DONTWAIT) < 0 || recvmsg(netlink, &got, MSG_DONTWAIT) < 0)
		return -errno;
	if (message->head.nlmsg_type != NLMSG_ERROR)
		return -EIO;
	return verdict->error == -EEXIST ? 0 : verdict->error;
}

/* @inet6: not up yet, but without a link-local address of its own; fails where there is no IPv6. */
static int set_link(const struct helper *helper, uint16_t mtu, bool inet6)
{
	union message message;
	struct ifinfomsg *link = begin(&message, RTM_SETLINK, sizeof(*link), AF_UNSPEC);
	struct nlattr *outer, *inner;

	link->ifi_index = (int)helper->ifindex;
	link->ifi_flags = link->ifi_change = inet6 ? 0 : IFF_UP;
	mnl_attr_put_u32(&message.head, IFLA_MTU, mtu);
	mnl_attr_put_u32(&message.head, IFLA_TXQLEN, QUEUE_LENGTH);
	if (inet6) {
		outer = mnl_attr_nest_start(&message.head, IFLA_AF_SPEC);
		inner = mnl_attr_nest_start(&message.head, AF_INET6);
		mnl_attr_put_u8(&message.head, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
		mnl_attr_nest_end(&message.head, inner);
		mnl_attr_nest_end(&message.head, outer);
	}
	return talk(helper->netlink, &message);
}

static int set_address(const struct helper *helper, uint16_t type, const struct family *family,
		       const uint8_t *addr)
{
	union message message;
	struct ifaddrmsg *body = begin(&message, type, sizeof(*body), family->family);

	body->ifa_prefixlen = (uint8_t)(family->size * 8);
	body->ifa_flags = IFA_F_NODAD; /* usable at once */
	body->ifa_index = helper->ifindex;
	mnl_attr_put(&message.head, IFA_LOCAL, family->size, addr);
	return talk(helper->netlink, &message);
}

static int add_route(const struct helper *helper, const struct family *family)
{
	union message message;
	struct rtmsg *route = begin(&message, RTM_NEWROUTE, sizeof(*route), family->family);

	route->rtm_dst_len = family->range_bits;
	route->rtm_protocol = RTPROT_STATIC;
	route->rtm_type = RTN_UNICAST;
	mnl_attr_put(&message.head, RTA_DST, family->size, family->range);
	mnl_attr_put_u32(&message.head, RTA_OIF, helper->ifindex);
	mnl_attr_put_u32(&message.head, RTA_TABLE, TABLE);
	return talk(helper->netlink, &message);
}

static int set_rule(int netlink, uint16_t type, const struct family *family, uint32_t number)
{
	union message message;
	struct fib_rule_hdr *rule = begin(&message, type, sizeof(*rule), family->family);
	int rc;

	rule->action = FR_ACT_TO_TBL;
	rule->flags = FIB_RULE_INVERT;
	mnl_attr_put_u32(&message.head, FRA_PRIORITY, RULE_PRIORITY_STEP * (number + 1));
	mnl_attr_put_u32(&message.head, FRA_FWMARK, IPC_MARK);
	mnl_attr_put_u32(&message.head, FRA_TABLE, TABLE + number);
	mnl_attr_put_u8(&message.head, FRA_PROTOCOL, RTPROT_KERNEL);
	rc = talk(netlink, &message);
	return rc == -EOPNOTSUPP ? 0 : rc; /* a kernel without policy rules */
}

/* The new address comes before the old one goes: routes go with an interface's last address. */
static int set_family(const struct helper *helper, const struct family *family, const uint8_t *old,
		      const uint8_t *addr)
{
	int rc = set_address(helper, RTM_NEWADDR, family, addr);

	if (rc == 0 && memcmp(old, addr, family->size) != 0)
		(void)set_address(helper, RTM_DELADDR, family, old); /* there may be none */
	if (rc == 0)
		rc = add_route(helper, family);
	for (uint32_t i = 0; rc == 0 && i < RULE_COUNT; i++)
		rc = set_rule(helper->netlink, RTM_NEWRULE, family, i);
	return rc;
}

static int configure(struct helper *helper, const struct ipc_args *tun)
{
	struct policy *policy = &helper->policy;
	int v4, v6, rc;

	(void)set_link(helper, tun->mtu, true);
	rc = set_link(helper, tun->mtu, false);
	if (rc < 0)
		return rc;
	v4 = set_family(helper, &families[0], policy->tun.v4, tun->v4);
	v6 = set_family(helper, &families[1], policy->tun.local, tun->local);
	policy->tun = *tun;
	policy->families = (uint8_t)((v4 == 0 ? IPC_FAMILY_V4 : 0) | (v6 == 0 ? IPC_FAMILY_V6 : 0));
	return policy->families ? 0 : v4;
}

int serve_tun_configure(struct helper *helper, struct job *job)
{
	int rc = 0;

	if (!policy_tun_is(&helper->policy, &job->request.args)) {
		sandbox_raise(true);
		rc = configure(helper, &job->request.args);
		sandbox_raise(false);
	}
	job->reply.tun_configure.families = helper->policy.families;
	return rc;
}

void netconfig_remove(const struct helper *helper)
{
	union message message;
	struct ifinfomsg *link = begin(&message, RTM_DELLINK, sizeof(*link), AF_UNSPEC);

	link->ifi_index = (int)helper->ifindex;
	sandbox_raise(true);
	/* The rules first: once the name is free, they may be another gateway's. */
	for (uint32_t i = 0; i < RULE_COUNT * 2; i++)
		(void)set_rule(helper->netlink, RTM_DELRULE, &families[i % 2], i / 2);
	(void)talk(helper->netlink, &message);
	sandbox_raise(false);
}
