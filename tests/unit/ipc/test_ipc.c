#include "ipc/fd_pass.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static int read_frame(const struct ipc_request *request, size_t len)
{
	struct ipc_request out;

	return ipc_request_read(&out, (const uint8_t *)request, len, 0);
}

static struct ipc_request good_of(uint32_t type)
{
	struct ipc_request request = {.type = type, .seq = 7};

	if (type == IPC_HELLO) {
		request.hello.version = IPC_VERSION;
		return request;
	}
	if (type == IPC_UDP_OPEN || type == IPC_DNS_LISTEN || type == IPC_TCP_CONNECT)
		request.args.family = 6;
	if (type == IPC_UDP_OPEN || type == IPC_TCP_CONNECT)
		request.args.role = 1;
	if (type == IPC_UDP_OPEN)
		request.args.number = 1;
	return request;
}

static void every_type_is_read_at_its_size_and_at_no_other(void **state)
{
	(void)state;
	for (uint32_t type = 1; type < IPC_TYPE_END; type++) {
		struct ipc_request request = good_of(type);

		for (size_t len = 0; len <= sizeof(request); len++)
			assert_int_equal(read_frame(&request, len),
					 len == ipc_request_size(type) ? 0 : -EPROTO);
	}
}

static void unknown_types_have_no_size_and_no_name(void **state)
{
	struct ipc_request request = {.type = IPC_TYPE_END};

	(void)state;
	assert_int_equal(ipc_request_size(0), 0);
	assert_int_equal(ipc_request_size(IPC_TYPE_END), 0);
	assert_int_equal(ipc_request_size(UINT32_MAX), 0);
	assert_string_equal(ipc_type_name(IPC_TYPE_END), "unknown");
	assert_string_equal(ipc_type_name(IPC_TCP_CONNECT), "tcp-connect");
	assert_int_equal(read_frame(&request, ipc_request_size(IPC_TUN_OPEN)), -EPROTO);
}

static void descriptors_with_a_request_are_refused(void **state)
{
	struct ipc_request request = good_of(IPC_TUN_OPEN), out;

	(void)state;
	assert_int_equal(
	    ipc_request_read(&out, (const uint8_t *)&request, ipc_request_size(IPC_TUN_OPEN), 1),
	    -EPROTO);
}

static void output_is_untouched_on_error(void **state)
{
	struct ipc_request request = {0}, out, before;

	(void)state;
	memset(&out, 0x5a, sizeof(out));
	before = out;
	assert_int_equal(ipc_request_read(&out, (const uint8_t *)&request, sizeof(request), 0),
			 -EPROTO);
	assert_memory_equal(&out, &before, sizeof(out));
}

/* Set each byte of the arguments in turn: what a type does not use must be refused. */
static void unused_bytes_must_be_zero(void **state)
{
	static const uint8_t used[IPC_TYPE_END] = {
	    [IPC_TUN_CONFIGURE] = 2 + 4 + 16, [IPC_UDP_OPEN] = 3,  [IPC_DNS_LISTEN] = 1 + 16,
	    [IPC_TCP_CONNECT] = 2 + 2 + 32,   [IPC_FILE_OPEN] = 1,
	};

	(void)state;
	for (uint32_t type = IPC_TUN_OPEN; type < IPC_TYPE_END; type++) {
		unsigned int accepted = 0;

		for (size_t i = 0; i < sizeof(struct ipc_args); i++) {
			struct ipc_request request = good_of(type);
			uint8_t *byte = (uint8_t *)&request.args + i;

			/* family 6 stays, role and count take 2: values that the contract knows */
			*byte = i == 0 && *byte ? 6 : 2;
			accepted += read_frame(&request, ipc_request_size(type)) == 0;
		}
		assert_int_equal(accepted, used[type]);
	}
}

static void ipv4_addresses_leave_the_tail_zero(void **state)
{
	struct ipc_request request = good_of(IPC_TCP_CONNECT);

	(void)state;
	request.args.family = 4;
	request.args.local[3] = 1;
	request.args.remote[3] = 1;
	assert_int_equal(read_frame(&request, ipc_request_size(IPC_TCP_CONNECT)), 0);
	request.args.remote[4] = 1;
	assert_int_equal(read_frame(&request, ipc_request_size(IPC_TCP_CONNECT)), -EPROTO);
}

static void another_version_is_told_apart(void **state)
{
	struct ipc_request request = good_of(IPC_HELLO);

	(void)state;
	request.hello.version++;
	assert_int_equal(read_frame(&request, sizeof(request)), -EPROTONOSUPPORT);
}

static void strings_end_inside_and_have_zeros_behind(void **state)
{
	struct ipc_request request = good_of(IPC_HELLO);
	struct ipc_policy *policy = &request.hello.policy;

	(void)state;
	memcpy(policy->tun_name, "tun-0123456789a", 16);
	assert_int_equal(read_frame(&request, sizeof(request)), 0);
	policy->tun_name[15] = 'b';
	assert_int_equal(read_frame(&request, sizeof(request)), -EPROTO);
	memcpy(policy->tun_name, "tun-x\0y\0\0\0\0\0\0\0\0", 16);
	assert_int_equal(read_frame(&request, sizeof(request)), -EPROTO);
	policy->tun_name[6] = '\0';
	policy->file_count = 1;
	assert_int_equal(read_frame(&request, sizeof(request)), -EPROTO);
	policy->files[0][0] = '/';
	assert_int_equal(read_frame(&request, sizeof(request)), 0);
	policy->files[1][0] = '/';
	assert_int_equal(read_frame(&request, sizeof(request)), -EPROTO);
}

static void text_is_json_members_and_fits(void **state)
{
	struct ipc_request request = good_of(IPC_TCP_CONNECT);
	char text[IPC_TEXT_SIZE];

	(void)state;
	memset(&request.args, 0xff, sizeof(request.args));
	ipc_request_text(text, sizeof(text), &request);
	assert_true(strlen(text) < sizeof(text) - 1);
	assert_int_equal(text[strlen(text) - 1], '"');
	assert_non_null(strstr(text, "\"v4\":\"255.255.255.255\""));
	request = good_of(IPC_HELLO);
	memset(&request.hello.policy, 0xff, sizeof(request.hello.policy));
	ipc_request_text(text, sizeof(text), &request);
	assert_true(strlen(text) < sizeof(text) - 1);
	assert_non_null(strstr(text, "\"portal_port\":65535,"));
	/* Names and paths of a greeting may be anything. */
	for (const char *at = text; *at != '\0'; at++)
		assert_true(*at >= ' ' && *at <= '~');
}

static void make_pair(int pair[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
}

static void descriptors_arrive_close_on_exec(void **state)
{
	struct fd_pass_message message;
	int pair[2], fds[IPC_MAX_FDS];
	char buf[8];

	(void)state;
	make_pair(pair);
	for (size_t i = 0; i < IPC_MAX_FDS; i++)
		fds[i] = pair[0];
	assert_int_equal(fd_pass_send(pair[0], "12345678", 8, fds, IPC_MAX_FDS), 0);
	assert_int_equal(fd_pass_receive(pair[1], buf, sizeof(buf), &message), 0);
	assert_int_equal(message.len, 8);
	assert_int_equal(message.fd_count, IPC_MAX_FDS);
	assert_int_equal(fcntl(message.fds[15], F_GETFD), FD_CLOEXEC);
	fd_pass_close(&message);
	assert_int_equal(fcntl(message.fds[15], F_GETFD), -1);
	close(pair[0]);
	assert_int_equal(fd_pass_receive(pair[1], buf, sizeof(buf), &message), 0);
	assert_int_equal(message.len + message.fd_count, 0);
	close(pair[1]);
}

static void too_long_or_too_many_is_an_error_and_leaks_nothing(void **state)
{
	union {
		struct cmsghdr align;
		unsigned char bytes[CMSG_SPACE(20 * sizeof(int))];
	} control = {0};
	struct iovec iov = {.iov_base = (char[]){"x"}, .iov_len = 1};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.bytes,
			     .msg_controllen = sizeof(control.bytes)};
	struct fd_pass_message message;
	int pair[2], fds[20], probe, again;
	char buf[4];

	(void)state;
	make_pair(pair);
	probe = dup(pair[0]);
	close(probe);
	for (size_t i = 0; i < 20; i++)
		fds[i] = pair[0];
	control.align.cmsg_level = SOL_SOCKET;
	control.align.cmsg_type = SCM_RIGHTS;
	control.align.cmsg_len = CMSG_LEN(sizeof(fds));
	memcpy(CMSG_DATA(&control.align), fds, sizeof(fds));
	assert_int_equal(sendmsg(pair[0], &msg, 0), 1);
	assert_int_equal(fd_pass_receive(pair[1], buf, sizeof(buf), &message), -EPROTO);
	assert_int_equal(fd_pass_send(pair[0], "12345", 5, fds, 2), 0);
	assert_int_equal(fd_pass_receive(pair[1], buf, sizeof(buf), &message), -EPROTO);
	assert_int_equal(fd_pass_send(pair[0], "1", 1, fds, IPC_MAX_FDS + 1), -EINVAL);
	again = dup(pair[0]);
	assert_int_equal(again, probe);
	close(again);
	close(pair[0]);
	close(pair[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_type_is_read_at_its_size_and_at_no_other),
	    cmocka_unit_test(unknown_types_have_no_size_and_no_name),
	    cmocka_unit_test(descriptors_with_a_request_are_refused),
	    cmocka_unit_test(output_is_untouched_on_error),
	    cmocka_unit_test(unused_bytes_must_be_zero),
	    cmocka_unit_test(ipv4_addresses_leave_the_tail_zero),
	    cmocka_unit_test(another_version_is_told_apart),
	    cmocka_unit_test(strings_end_inside_and_have_zeros_behind),
	    cmocka_unit_test(text_is_json_members_and_fits),
	    cmocka_unit_test(descriptors_arrive_close_on_exec),
	    cmocka_unit_test(too_long_or_too_many_is_an_error_and_leaks_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
