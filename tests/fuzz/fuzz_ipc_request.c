/*
 * What a hostile worker can send: frames through the helper's own two pure functions. The fuzz
 * targets link the core rooms only, so those two come in as source.
 */
#include "ipc/ipc.c"           // NOLINT(bugprone-suspicious-include)
#include "privileged/policy.c" // NOLINT(bugprone-suspicious-include)

/* One step: the length of a frame and its bytes; many steps make a session. */
static size_t step(struct policy *policy, const uint8_t *data, size_t size, uint64_t now_us)
{
	size_t len = data[0] | (size_t)data[1] << 8;
	struct ipc_request request, again;
	char text[IPC_TEXT_SIZE];
	int rc;

	len = len < size - 2 ? len : size - 2;
	memset(&request, 0xa5, sizeof(request));
	rc = ipc_request_read(&request, data + 2, len, 0);
	if (ipc_request_read(&again, data + 2, len, 1) == 0)
		__builtin_trap();
	if (rc < 0)
		return len + 2;
	if (len != ipc_request_size(request.type) || memcmp(&request, data + 2, len) != 0)
		__builtin_trap();
	ipc_request_text(text, sizeof(text), &request);
	if (strlen(text) >= sizeof(text) - 1)
		__builtin_trap();
	rc = policy_judge(policy, &request, now_us);
	if (rc != 0)
		return len + 2;
	switch ((enum ipc_type)request.type) {
	case IPC_HELLO:
		if (strncmp(request.hello.policy.tun_name, "tun-", 4) != 0 ||
		    request.hello.policy.receive_buffer > MAX_BUFFER)
			__builtin_trap();
		policy->stated = request.hello.policy;
		break;
	case IPC_TUN_OPEN:
		policy->tun_open = true;
		break;
	case IPC_TUN_CONFIGURE:
		if (request.args.v4[0] != 100 || request.args.local[0] != 0xfd ||
		    request.args.mtu < 1280)
			__builtin_trap();
		policy->tun = request.args;
		policy->families = 3;
		break;
	case IPC_TCP_CONNECT:
		if (request.args.port != 53 && request.args.port != policy->stated.portal_port)
			__builtin_trap();
		if (addr_kind(request.args.family, request.args.remote) == ADDR_NEVER)
			__builtin_trap();
		break;
	case IPC_FILE_OPEN:
		if (request.args.number >= IPC_MAX_FILES)
			__builtin_trap();
		break;
	case IPC_UDP_OPEN:
	case IPC_DNS_LISTEN:
	case IPC_ROUTE_OPEN:
	case IPC_TYPE_END:
		break;
	}
	return len + 2;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct policy policy = {0};
	uint64_t now_us = 0;

	while (size > 2) {
		size_t used = step(&policy, data, size, now_us);

		data += used;
		size -= used;
		now_us += 300000;
	}
	return 0;
}
