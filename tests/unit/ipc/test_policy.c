#include "privileged/policy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define SECOND UINT64_C(1000000)

static struct policy greeted(void)
{
	struct policy policy = {
	    .greeted = true,
	    .stated = {.tun_name = "tun-x", .portal_port = 443, .udp_port = 52625}};

	return policy;
}

static struct ipc_request tcp(uint8_t role, const char *source, const char *dest, uint16_t port)
{
	struct ipc_request request = {.type = IPC_TCP_CONNECT};
	int domain = strchr(source, ':') ? AF_INET6 : AF_INET;

	request.args.family = domain == AF_INET6 ? 6 : 4;
	request.args.role = role;
	request.args.port = port;
	assert_int_equal(inet_pton(domain, source, request.args.local), 1);
	assert_int_equal(inet_pton(domain, dest, request.args.remote), 1);
	return request;
}

static int judge_tcp(uint8_t role, const char *source, const char *dest, uint16_t port,
		     bool loopback)
{
	struct policy policy = greeted();
	struct ipc_request request = tcp(role, source, dest, port);

	policy.stated.loopback_tcp = loopback;
	return policy_judge(&policy, &request, 5 * SECOND);
}

static void edges_of_the_address_ranges(void **state)
{
	(void)state;
	assert_int_equal(judge_tcp(1, "10.0.0.1", "100.63.255.255", 443, false), 0);
	assert_int_equal(judge_tcp(1, "10.0.0.1", "100.64.0.0", 443, false), -EPERM);
	assert_int_equal(judge_tcp(1, "10.0.0.1", "100.95.255.255", 443, false), -EPERM);
	assert_int_equal(judge_tcp(1, "10.0.0.1", "100.96.0.0", 443, false), 0);
	assert_int_equal(judge_tcp(1, "10.0.0.1", "126.255.255.255", 443, false), 0);
	assert_int_equal(judge_tcp(1, "10.0.0.1", "127.0.0.0", 443, false), -EPERM);
	assert_int_equal(judge_tcp(1, "10.0.0.1", "169.253.255.255", 443, false), 0);
	assert_int_equal(judge_tcp(1, "10.0.0.1", "169.254.0.0", 443, false), -EPERM);
	assert_int_equal(judge_tcp(1, "10.0.0.1", "223.255.255.255", 443, false), 0);
	assert_int_equal(judge_tcp(1, "10.0.0.1", "224.0.0.0", 443, true), -EPERM);
	assert_int_equal(judge_tcp(1, "10.0.0.1", "0.255.255.255", 443, true), -EPERM);
	assert_int_equal(judge_tcp(1, "10.0.0.1", "1.0.0.0", 443, false), 0);
	assert_int_equal(judge_tcp(1, "2001:db8::1", "fd00:2021:1111::1f:ffff", 443, true), -EPERM);
	assert_int_equal(judge_tcp(1, "2001:db8::1", "fd00:2021:1111::20:0", 443, false), 0);
	assert_int_equal(judge_tcp(1, "2001:db8::1", "fe80::1", 443, false), -EPERM);
	assert_int_equal(judge_tcp(1, "2001:db8::1", "febf::1", 443, false), -EPERM);
	assert_int_equal(judge_tcp(1, "2001:db8::1", "fec0::1", 443, false), 0);
	assert_int_equal(judge_tcp(1, "2001:db8::1", "::1", 443, false), -EPERM);
	assert_int_equal(judge_tcp(1, "::1", "::1", 443, true), 0);
	assert_int_equal(judge_tcp(2, "::1", "::1", 53, false), 0);
	assert_int_equal(judge_tcp(1, "2001:db8::1", "::2", 443, true), -EPERM);
	assert_int_equal(judge_tcp(1, "2001:db8::1", "::ffff:10.0.0.1", 443, true), -EPERM);
}

static void rates_refill_with_time(void **state)
{
	struct policy policy = greeted();
	struct ipc_request request = {.type = IPC_UDP_OPEN,
				      .args = {.family = 4, .role = 1, .number = 1}};
	uint64_t now = 100 * SECOND;

	(void)state;
	assert_int_equal(policy_judge(&policy, &request, now), 0);
	assert_int_equal(policy_judge(&policy, &request, now), -EAGAIN);
	assert_int_equal(policy_judge(&policy, &request, now + SECOND - 1), -EAGAIN);
	request.args.family = 6;
	assert_int_equal(policy_judge(&policy, &request, now + SECOND - 1), 0);
	request.args.family = 4;
	assert_int_equal(policy_judge(&policy, &request, now + SECOND), 0);
	assert_int_equal(policy_judge(&policy, &request, now + SECOND), -EAGAIN);
}

static void dns_sockets_are_counted_one_by_one(void **state)
{
	struct policy policy = greeted();
	struct ipc_request request = {.type = IPC_UDP_OPEN,
				      .args = {.family = 4, .role = 2, .number = 16}};

	(void)state;
	for (int i = 0; i < 32; i++)
		assert_int_equal(policy_judge(&policy, &request, SECOND), 0);
	assert_int_equal(policy_judge(&policy, &request, SECOND), -EAGAIN);
	request.args.number = 1;
	assert_int_equal(policy_judge(&policy, &request, SECOND + 2000), 0);
}

static void refused_requests_cost_only_the_common_rate(void **state)
{
	struct policy policy = greeted();
	struct ipc_request bad = {.type = IPC_UDP_OPEN,
				  .args = {.family = 4, .role = 1, .number = 2}};
	int rc;

	(void)state;
	for (int i = 0; i < 250; i++)
		assert_int_equal(policy_judge(&policy, &bad, SECOND), -EPERM);
	assert_int_equal(policy_judge(&policy, &bad, SECOND), -EDQUOT);
	bad.args.number = 1;
	rc = policy_judge(&policy, &bad, 2 * SECOND);
	assert_int_equal(rc, 0);
}

static void tun_repeats_do_not_count_as_changes(void **state)
{
	struct policy policy = greeted();
	struct ipc_request request = {.type = IPC_TUN_CONFIGURE,
				      .args = {.mtu = 1280, .v4 = {100, 64, 0, 1}}};
	const uint8_t v6[16] = {0xfd, 0x00, 0x20, 0x21, 0x11, 0x11};

	(void)state;
	memcpy(request.args.local, v6, 16);
	assert_int_equal(policy_judge(&policy, &request, SECOND), -EPERM);
	policy.tun_open = true;
	assert_int_equal(policy_judge(&policy, &request, SECOND), 0);
	policy.tun = request.args;
	policy.families = IPC_FAMILY_V4;
	assert_int_equal(policy_judge(&policy, &request, SECOND), 0);
	request.args.mtu = 1400;
	assert_int_equal(policy_judge(&policy, &request, SECOND), -EAGAIN);
	request.args.mtu = 1501;
	assert_int_equal(policy_judge(&policy, &request, SECOND), -EPERM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(edges_of_the_address_ranges),
	    cmocka_unit_test(rates_refill_with_time),
	    cmocka_unit_test(dns_sockets_are_counted_one_by_one),
	    cmocka_unit_test(refused_requests_cost_only_the_common_rate),
	    cmocka_unit_test(tun_repeats_do_not_count_as_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
