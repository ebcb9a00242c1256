/* A hostile helper against the worker's half: its reply is in the socket before the request is
 * made. */
#include "helper_client.h"

#include "ipc/fd_pass.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
	struct helper_client client;
	int helper; /* the other end */
	int probe;  /* the lowest free descriptor: it must stay free */
};

static int setup(void **state)
{
	static struct fixture fixture;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	fixture = (struct fixture){.client = {.fd = pair[0]}, .helper = pair[1]};
	fixture.probe = dup(0);
	close(fixture.probe);
	*state = &fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;
	int probe = dup(0);
	int rc = probe == fixture->probe ? 0 : -1; /* a descriptor leaked */

	close(probe);
	close(fixture->client.fd);
	close(fixture->helper);
	return rc;
}

/* Queue a reply to request number @seq; takes the descriptors. */
static void reply_with(struct fixture *fixture, uint32_t type, uint32_t seq, int error,
		       const int *fds, unsigned int count)
{
	struct ipc_reply reply = {.type = type, .seq = seq, .error = error, .fd_count = count};

	assert_int_equal(fd_pass_send(fixture->helper, &reply, sizeof(reply), fds, count), 0);
	for (unsigned int i = 0; i < count; i++)
		close(fds[i]);
}

static int udp(int domain)
{
	return socket(domain, SOCK_DGRAM, 0);
}

static int dns_open(struct fixture *fixture, unsigned int count)
{
	int fds[IPC_MAX_FDS];
	unsigned int n = 0;
	int rc = helper_udp_open(&fixture->client, 4, IPC_UDP_DNS, count, fds, &n, NULL);

	for (unsigned int i = 0; i < n; i++)
		close(fds[i]);
	assert_int_equal(n, rc == 0 ? count : 0);
	return rc;
}

static void good_reply_is_taken(void **state)
{
	struct fixture *fixture = *state;
	struct fd_pass_message message;
	struct ipc_request request;

	reply_with(fixture, IPC_UDP_OPEN, 1, 0, (int[]){udp(AF_INET), udp(AF_INET)}, 2);
	assert_int_equal(dns_open(fixture, 2), 0);
	assert_int_equal(fd_pass_receive(fixture->helper, &request, sizeof(request), &message), 0);
	assert_int_equal(message.len, ipc_request_size(IPC_UDP_OPEN));
	assert_int_equal(request.args.number, 2);
}

static void helper_error_is_passed_on(void **state)
{
	struct fixture *fixture = *state;

	reply_with(fixture, IPC_UDP_OPEN, 1, EPERM, NULL, 0);
	assert_int_equal(dns_open(fixture, 1), -EPERM);
}

static void wrong_number_of_descriptors_is_a_breach(void **state)
{
	struct fixture *fixture = *state;

	reply_with(fixture, IPC_UDP_OPEN, 1, 0, (int[]){udp(AF_INET)}, 1);
	assert_int_equal(dns_open(fixture, 2), -EPROTO);
	reply_with(fixture, IPC_UDP_OPEN, 2, 0, (int[]){udp(AF_INET), udp(AF_INET)}, 2);
	assert_int_equal(dns_open(fixture, 1), -EPROTO);
	reply_with(fixture, IPC_UDP_OPEN, 3, 0, NULL, 0);
	assert_int_equal(dns_open(fixture, 1), -EPROTO);
}

static void descriptors_with_an_error_are_a_breach(void **state)
{
	struct fixture *fixture = *state;

	reply_with(fixture, IPC_UDP_OPEN, 1, EPERM, (int[]){udp(AF_INET)}, 1);
	assert_int_equal(dns_open(fixture, 1), -EPROTO);
}

static void lost_descriptors_are_a_breach(void **state)
{
	struct fixture *fixture = *state;
	struct ipc_reply reply = {.type = IPC_UDP_OPEN, .seq = 1, .fd_count = 1};

	assert_int_equal(fd_pass_send(fixture->helper, &reply, sizeof(reply), NULL, 0), 0);
	assert_int_equal(dns_open(fixture, 1), -EPROTO);
}

static void wrong_kind_of_descriptor_is_a_breach(void **state)
{
	struct fixture *fixture = *state;
	int fds[] = {open("/dev/null", O_RDONLY), udp(AF_INET6), socket(AF_INET, SOCK_STREAM, 0),
		     socket(AF_UNIX, SOCK_DGRAM, 0)};

	for (uint32_t i = 0; i < 4; i++) {
		reply_with(fixture, IPC_UDP_OPEN, i + 1, 0, &fds[i], 1);
		assert_int_equal(dns_open(fixture, 1), -EPROTO);
	}
}

static void wrong_kinds_for_the_other_requests(void **state)
{
	struct fixture *fixture = *state;
	const uint8_t addr[16] = {127, 0, 0, 1};
	uint32_t ifindex, offloads;
	int one = -1, two = -1;

	reply_with(fixture, IPC_TUN_OPEN, 1, 0, (int[]){udp(AF_INET)}, 1);
	assert_int_equal(helper_tun_open(&fixture->client, &one, &ifindex, &offloads), -EPROTO);
	reply_with(fixture, IPC_FILE_OPEN, 2, 0, (int[]){open("/dev/null", O_RDONLY)}, 1);
	assert_int_equal(helper_file_open(&fixture->client, 0, &one), -EPROTO);
	reply_with(fixture, IPC_TCP_CONNECT, 3, 0, (int[]){udp(AF_INET)}, 1);
	assert_int_equal(
	    helper_tcp_connect(&fixture->client, 4, addr, addr, 1, IPC_TCP_PORTAL, &one), -EPROTO);
	reply_with(fixture, IPC_ROUTE_OPEN, 4, 0,
		   (int[]){socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE), udp(AF_INET)}, 2);
	assert_int_equal(helper_route_open(&fixture->client, &one, &two), -EPROTO);
	reply_with(fixture, IPC_DNS_LISTEN, 5, 0,
		   (int[]){socket(AF_INET, SOCK_STREAM, 0), udp(AF_INET)}, 2);
	assert_int_equal(helper_dns_listen(&fixture->client, 4, addr, &one, &two), -EPROTO);
	reply_with(fixture, IPC_TUN_CONFIGURE, 6, 0, NULL, 0);
	assert_int_equal(helper_tun_configure(&fixture->client, addr, addr, 1280, (uint8_t[1]){0}),
			 -EPROTO);
	assert_true(one == -1 && two == -1);
}

static void right_kinds_for_the_other_requests(void **state)
{
	struct fixture *fixture = *state;
	const uint8_t addr[16] = {0};
	int one = -1, two = -1;

	reply_with(fixture, IPC_ROUTE_OPEN, 1, 0,
		   (int[]){socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE),
			   socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE)},
		   2);
	assert_int_equal(helper_route_open(&fixture->client, &one, &two), 0);
	close(one);
	close(two);
	reply_with(fixture, IPC_DNS_LISTEN, 2, 0,
		   (int[]){udp(AF_INET6), socket(AF_INET6, SOCK_STREAM, 0)}, 2);
	assert_int_equal(helper_dns_listen(&fixture->client, 6, addr, &one, &two), 0);
	close(one);
	close(two);
	reply_with(fixture, IPC_FILE_OPEN, 3, 0, (int[]){open("/etc/passwd", O_RDONLY)}, 1);
	assert_int_equal(helper_file_open(&fixture->client, 0, &one), 0);
	close(one);
}

static void short_and_long_replies_are_a_breach(void **state)
{
	struct fixture *fixture = *state;
	char bytes[sizeof(struct ipc_reply) + 1] = {0};

	assert_int_equal(send(fixture->helper, bytes, sizeof(struct ipc_reply) - 1, 0),
			 sizeof(struct ipc_reply) - 1);
	assert_int_equal(dns_open(fixture, 1), -EPROTO);
	assert_int_equal(send(fixture->helper, bytes, sizeof(bytes), 0), sizeof(bytes));
	assert_int_equal(dns_open(fixture, 1), -EPROTO);
}

static void reply_to_another_request_is_a_breach(void **state)
{
	struct fixture *fixture = *state;

	reply_with(fixture, IPC_TUN_OPEN, 1, EPERM, NULL, 0);
	assert_int_equal(dns_open(fixture, 1), -EPROTO);
	reply_with(fixture, IPC_UDP_OPEN, 3, 0, (int[]){udp(AF_INET)}, 1);
	assert_int_equal(dns_open(fixture, 1), -EPROTO);
}

static void late_reply_is_thrown_away(void **state)
{
	struct fixture *fixture = *state;
	struct timeval before, after, took;

	gettimeofday(&before, NULL);
	assert_int_equal(dns_open(fixture, 1), -ETIMEDOUT);
	gettimeofday(&after, NULL);
	timersub(&after, &before, &took);
	assert_in_range(took.tv_sec * 1000 + took.tv_usec / 1000, 950, 3000);
	reply_with(fixture, IPC_UDP_OPEN, 1, 0, (int[]){udp(AF_INET)}, 1);
	reply_with(fixture, IPC_UDP_OPEN, 2, 0, (int[]){udp(AF_INET)}, 1);
	assert_int_equal(dns_open(fixture, 1), 0);
}

static void end_of_the_helper_is_told_apart(void **state)
{
	struct fixture *fixture = *state;

	shutdown(fixture->helper, SHUT_RDWR);
	assert_int_equal(dns_open(fixture, 1), -ECONNRESET);
}

static void greeting_of_another_version_is_a_breach(void **state)
{
	struct fixture *fixture = *state;
	struct ipc_policy policy = {.tun_name = "tun-x"};
	struct ipc_reply reply = {
	    .type = IPC_HELLO, .seq = 1, .hello = {.version = IPC_VERSION + 1}};
	struct ipc_hello_reply hello;

	assert_int_equal(fd_pass_send(fixture->helper, &reply, sizeof(reply), NULL, 0), 0);
	assert_int_equal(helper_hello(&fixture->client, &policy, &hello), -EPROTO);
	reply.seq = 2;
	reply.hello.version = IPC_VERSION;
	reply.hello.tun_error = EACCES;
	assert_int_equal(fd_pass_send(fixture->helper, &reply, sizeof(reply), NULL, 0), 0);
	assert_int_equal(helper_hello(&fixture->client, &policy, &hello), 0);
	assert_int_equal(hello.tun_error, EACCES);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CASE(good_reply_is_taken),
	    CASE(helper_error_is_passed_on),
	    CASE(wrong_number_of_descriptors_is_a_breach),
	    CASE(descriptors_with_an_error_are_a_breach),
	    CASE(lost_descriptors_are_a_breach),
	    CASE(wrong_kind_of_descriptor_is_a_breach),
	    CASE(wrong_kinds_for_the_other_requests),
	    CASE(right_kinds_for_the_other_requests),
	    CASE(short_and_long_replies_are_a_breach),
	    CASE(reply_to_another_request_is_a_breach),
	    CASE(late_reply_is_thrown_away),
	    CASE(end_of_the_helper_is_told_apart),
	    CASE(greeting_of_another_version_is_a_breach),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
