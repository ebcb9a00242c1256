#include "ipc/ipc.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* The members of struct ipc_args that a type of request uses. */
enum {
	USES_FAMILY = 1,
	USES_ROLE = 2,
	USES_COUNT = 4,
	USES_INDEX = 8,
	USES_PORT = 16,
	USES_MTU = 32,
	USES_V4 = 64,
	USES_LOCAL = 128,
	USES_REMOTE = 256,
};

static const struct {
	const char *name;
	unsigned int uses;
} types[IPC_TYPE_END] = {
    [IPC_HELLO] = {"hello", 0},
    [IPC_TUN_OPEN] = {"tun-open", 0},
    [IPC_TUN_CONFIGURE] = {"tun-configure", USES_MTU | USES_V4 | USES_LOCAL},
    [IPC_UDP_OPEN] = {"udp-open", USES_FAMILY | USES_ROLE | USES_COUNT},
    [IPC_DNS_LISTEN] = {"dns-listen", USES_FAMILY | USES_LOCAL},
    [IPC_TCP_CONNECT] = {"tcp-connect",
			 USES_FAMILY | USES_ROLE | USES_PORT | USES_LOCAL | USES_REMOTE},
    [IPC_ROUTE_OPEN] = {"route-open", 0},
    [IPC_FILE_OPEN] = {"file-open", USES_INDEX},
};

size_t ipc_request_size(uint32_t type)
{
	size_t body = type == IPC_HELLO ? sizeof(struct ipc_hello) : sizeof(struct ipc_args);

	return type == 0 || type >= IPC_TYPE_END ? 0 : offsetof(struct ipc_request, args) + body;
}

const char *ipc_type_name(uint32_t type)
{
	return ipc_request_size(type) ? types[type].name : "unknown";
}

static const char *addr_text(char out[INET6_ADDRSTRLEN], uint8_t family, const uint8_t *addr)
{
	const char *text = inet_ntop(family == 4 ? AF_INET : AF_INET6, addr, out, INET6_ADDRSTRLEN);

	return text ? text : "";
}

/* No name and no path: a greeting that is refused may have any bytes there. */
static void policy_text(char *out, size_t size, const struct ipc_policy *policy)
{
	snprintf(out, size,
		 "\"portal_port\":%u,\"udp_port\":%u,\"loopback\":%u,\"files\":%u,"
		 "\"receive_buffer\":%u,\"send_buffer\":%u",
		 policy->portal_port, policy->udp_port, policy->loopback_tcp, policy->file_count,
		 policy->receive_buffer, policy->send_buffer);
}

void ipc_request_text(char *out, size_t size, const struct ipc_request *request)
{
	char v4[INET6_ADDRSTRLEN], local[INET6_ADDRSTRLEN], remote[INET6_ADDRSTRLEN];
	const struct ipc_args *args = &request->args;

	if (request->type == IPC_HELLO) {
		policy_text(out, size, &request->hello.policy);
		return;
	}
	snprintf(out, size,
		 "\"family\":%u,\"role\":%u,\"number\":%u,\"port\":%u,\"mtu\":%u,\"v4\":\"%s\","
		 "\"local\":\"%s\",\"remote\":\"%s\"",
		 args->family, args->role, args->number, args->port, args->mtu,
		 addr_text(v4, 4, args->v4), addr_text(local, args->family, args->local),
		 addr_text(remote, args->family, args->remote));
}

static bool all_zero(const void *data, size_t len)
{
	const uint8_t *bytes = data;
	uint8_t seen = 0;

	for (size_t i = 0; i < len; i++)
		seen |= bytes[i];
	return seen == 0;
}

/* A string that ends inside of @size, and zeros from there on. */
static bool string_ok(const char *string, size_t size)
{
	size_t len = strnlen(string, size);

	return len < size && all_zero(string + len, size - len);
}

static bool policy_ok(const struct ipc_policy *policy)
{
	if (!string_ok(policy->tun_name, sizeof(policy->tun_name)) || policy->loopback_tcp > 1 ||
	    policy->file_count > IPC_MAX_FILES ||
	    !all_zero(policy->reserved, sizeof(policy->reserved)))
		return false;
	for (size_t i = 0; i < IPC_MAX_FILES; i++) {
		bool used = i < policy->file_count;

		if (!string_ok(policy->files[i], IPC_PATH_SIZE) ||
		    used != (policy->files[i][0] != '\0'))
			return false;
	}
	return true;
}

static bool number_ok(unsigned int uses, uint8_t number)
{
	if (uses & USES_COUNT)
		return number >= 1 && number <= IPC_MAX_FDS;
	return (uses & USES_INDEX) || number == 0;
}

static bool args_ok(unsigned int uses, const struct ipc_args *args)
{
	size_t addr = args->family == 4 ? 4 : 16;
	size_t local = uses & USES_LOCAL ? addr : 0;
	size_t remote = uses & USES_REMOTE ? addr : 0;

	if (uses & USES_FAMILY ? args->family != 4 && args->family != 6 : args->family != 0)
		return false;
	if (uses & USES_ROLE ? args->role != 1 && args->role != 2 : args->role != 0)
		return false;
	return number_ok(uses, args->number) && args->reserved == 0 &&
	       (uses & USES_PORT || args->port == 0) && (uses & USES_MTU || args->mtu == 0) &&
	       (uses & USES_V4 || all_zero(args->v4, 4)) &&
	       all_zero(args->local + local, 16 - local) &&
	       all_zero(args->remote + remote, 16 - remote);
}

int ipc_request_read(struct ipc_request *out, const uint8_t *buf, size_t len, unsigned int fds)
{
	struct ipc_request request = {0};
	bool ok;

	if (fds != 0 || len < sizeof(request.type) || len > sizeof(request))
		return -EPROTO;
	memcpy(&request, buf, len);
	if (len != ipc_request_size(request.type))
		return -EPROTO;
	if (request.type == IPC_HELLO && request.hello.version != IPC_VERSION)
		return -EPROTONOSUPPORT;
	ok = request.type == IPC_HELLO ? policy_ok(&request.hello.policy)
				       : args_ok(types[request.type].uses, &request.args);
	if (ok)
		*out = request;
	return ok ? 0 : -EPROTO;
}
