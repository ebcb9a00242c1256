#include "privileged/policy.h"

#include <errno.h>
#include <string.h>

enum {
	MAX_BUFFER = 128 << 20,
	MIN_UDP_PORT = 1024,
	MAX_UDP_PORT = 65535 - 64, /* the next ones are tried if it is taken */
	DNS_SERVER_PORT = 53,
};

#define NAME_LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

/*
 * One unit costs that much of the allowance, which refills with time: burst / cost at once, 1 /
 * cost for ever. Row 0 is for requests of all types together.
 */
static const struct {
	uint32_t cost_ms;
	uint32_t burst_ms;
} rates[IPC_TYPE_END][2] = {
    [0] = {{4, 1000}},
    [IPC_TUN_OPEN] = {{1000, 1000}},
    [IPC_TUN_CONFIGURE] = {{1000, 1000}, {1000, 8000}}, /* change, repeat */
    [IPC_UDP_OPEN] = {{1000, 1000}, {2, 1024}},         /* peer, dns; a unit is a socket */
    [IPC_DNS_LISTEN] = {{1000, 1000}},
    [IPC_TCP_CONNECT] = {{250, 4000}, {31, 2000}}, /* portal, dns */
    [IPC_ROUTE_OPEN] = {{1000, 1000}},
    [IPC_FILE_OPEN] = {{250, 4000}},
};

enum addr_kind {
	ADDR_PLAIN,
	ADDR_LOCAL, /* loopback, link-local */
	ADDR_NEVER, /* tunnel ranges; unspecified (means loopback), multicast, mapped: no address to
		       connect to */
};

/* First match counts; the first two are the tunnel's. */
static const struct prefix {
	enum addr_kind kind;
	uint8_t family;
	uint8_t bits;
	uint8_t bytes[16];
} prefixes[] = {
    {ADDR_NEVER, 4, 11, {100, 64}},   {ADDR_NEVER, 6, 107, {0xfd, 0x00, 0x20, 0x21, 0x11, 0x11}},
    {ADDR_NEVER, 4, 8, {0}},          {ADDR_NEVER, 4, 3, {224}},
    {ADDR_LOCAL, 4, 8, {127}},        {ADDR_LOCAL, 4, 16, {169, 254}},
    {ADDR_LOCAL, 6, 128, {[15] = 1}}, {ADDR_NEVER, 6, 80, {0}},
    {ADDR_NEVER, 6, 8, {0xff}},       {ADDR_LOCAL, 6, 10, {0xfe, 0x80}},
};

static bool in_prefix(const uint8_t *addr, const struct prefix *prefix)
{
	unsigned int bytes = prefix->bits / 8, rest = prefix->bits % 8;

	return memcmp(addr, prefix->bytes, bytes) == 0 &&
	       (rest == 0 || ((addr[bytes] ^ prefix->bytes[bytes]) >> (8 - rest)) == 0);
}

static enum addr_kind addr_kind(uint8_t family, const uint8_t addr[16])
{
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		if (prefixes[i].family == family && in_prefix(addr, &prefixes[i]))
			return prefixes[i].kind;
	}
	return ADDR_PLAIN;
}

/* @rate: the column, and the family in its lowest bit: each has an allowance of its own. */
static bool take(struct policy *policy, uint32_t type, size_t rate, unsigned int units,
		 uint64_t now)
{
	uint64_t *ready = &policy->ready_us[type][rate];
	uint64_t cost = units * UINT64_C(1000) * rates[type][rate / 2].cost_ms;
	uint64_t after = (*ready > now ? *ready : now) + cost;

	if (after - now > UINT64_C(1000) * rates[type][rate / 2].burst_ms)
		return false;
	*ready = after;
	return true;
}

bool policy_tun_is(const struct policy *policy, const struct ipc_args *tun)
{
	return policy->families != 0 && memcmp(&policy->tun, tun, sizeof(*tun)) == 0;
}

static bool hello_ok(const struct ipc_policy *stated)
{
	const char *name = stated->tun_name;

	for (size_t i = 0; i < stated->file_count; i++) {
		if (stated->files[i][0] != '/')
			return false;
	}
	return strncmp(name, "tun-", 4) == 0 && name[4] != '\0' &&
	       name[strspn(name, NAME_LETTERS)] == '\0' && stated->receive_buffer <= MAX_BUFFER &&
	       stated->send_buffer <= MAX_BUFFER && stated->portal_port != 0 &&
	       stated->udp_port >= MIN_UDP_PORT && stated->udp_port <= MAX_UDP_PORT;
}

static bool tun_configure_ok(const struct policy *policy, const struct ipc_args *args)
{
	return policy->tun_open && in_prefix(args->v4, &prefixes[0]) &&
	       in_prefix(args->local, &prefixes[1]) && args->mtu >= IPC_MTU_MIN &&
	       args->mtu <= IPC_MTU_MAX;
}

static bool dns_listen_ok(const struct policy *policy, const struct ipc_args *args)
{
	bool v4 = args->family == 4;

	return policy->families != 0 &&
	       memcmp(args->local, v4 ? policy->tun.v4 : policy->tun.local, v4 ? 4 : 16) == 0;
}

static bool tcp_connect_ok(const struct policy *policy, const struct ipc_args *args)
{
	enum addr_kind local = addr_kind(args->family, args->local);
	enum addr_kind remote = addr_kind(args->family, args->remote);
	bool dns = args->role == IPC_TCP_DNS;
	enum addr_kind most = dns || policy->stated.loopback_tcp ? ADDR_LOCAL : ADDR_PLAIN;

	return local <= most && remote <= most &&
	       args->port == (dns ? DNS_SERVER_PORT : policy->stated.portal_port);
}

static bool request_ok(const struct policy *policy, const struct ipc_request *request)
{
	const struct ipc_args *args = &request->args;

	switch ((enum ipc_type)request->type) {
	case IPC_HELLO:
		return hello_ok(&request->hello.policy);
	case IPC_TUN_OPEN:
		return !policy->tun_open;
	case IPC_TUN_CONFIGURE:
		return tun_configure_ok(policy, args);
	case IPC_UDP_OPEN:
		return args->role == IPC_UDP_DNS || args->number == 1;
	case IPC_DNS_LISTEN:
		return dns_listen_ok(policy, args);
	case IPC_TCP_CONNECT:
		return tcp_connect_ok(policy, args);
	case IPC_FILE_OPEN:
		return args->number < policy->stated.file_count;
	case IPC_ROUTE_OPEN:
	case IPC_TYPE_END:
		break;
	}
	return true;
}

int policy_judge(struct policy *policy, const struct ipc_request *request, uint64_t now_us)
{
	const struct ipc_args *args = &request->args;
	unsigned int units = request->type == IPC_UDP_OPEN ? args->number : 1;
	bool repeats = request->type == IPC_TUN_CONFIGURE && policy_tun_is(policy, args);
	size_t rate = (repeats || args->role == 2 ? 2U : 0U) + (args->family == 6);

	if (!take(policy, 0, 0, 1, now_us))
		return -EDQUOT;
	if (!request_ok(policy, request))
		return -EPERM;
	return take(policy, request->type, rate, units, now_us) ? 0 : -EAGAIN;
}
