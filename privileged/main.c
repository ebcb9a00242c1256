/*
 * firezone-gateway-helper: opens what the worker needs and may have, one request at a time.
 *
 * Theory of operation. After the start it has two inputs, the worker's socket and the kernel's
 * answers, and three outputs: replies, changes by rtnetlink, and the audit log. It opens nothing
 * for writing any more, and waits only for a request. For each: is there room in the log, is it
 * within the rates and the policy; then carry it out, write its line, and only then hand the result
 * over. A frame that breaks the contract, or comes at the wrong time, ends the process; so does the
 * end of the socket. Either way the policy rules and the interface are taken away.
 */
#include "privileged/helper.h"

#include <linux/netlink.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int serve_hello(struct helper *helper, struct job *job)
{
	job->reply.hello.tun_error = helper->tun < 0 ? -helper->tun : 0;
	job->reply.hello.version = IPC_VERSION;
	job->reply.hello.capabilities = helper->capabilities;
	helper->policy.stated = job->request.hello.policy;
	helper->policy.greeted = true;
	return 0;
}

static int serve_file_open(struct helper *helper, struct job *job)
{
	const char *path = helper->policy.stated.files[job->request.args.number];
	int fd = job_push(job, open(path, O_RDONLY | HELPER_OPEN_FLAGS));
	struct statx st;

	if (fd < 0)
		return fd;
	if (statx(fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_SIZE, &st) < 0)
		return -errno;
	if (!S_ISREG(st.stx_mode))
		return -EPERM;
	return st.stx_size > IPC_MAX_FILE_BYTES ? -EFBIG : 0;
}

/* The greeting comes first and once, everything else after it. */
static int (*const serve[IPC_TYPE_END])(struct helper *helper, struct job *job) = {
    [IPC_HELLO] = serve_hello,
    [IPC_TUN_OPEN] = serve_tun_open,
    [IPC_TUN_CONFIGURE] = serve_tun_configure,
    [IPC_UDP_OPEN] = serve_udp_open,
    [IPC_DNS_LISTEN] = serve_dns_listen,
    [IPC_TCP_CONNECT] = serve_tcp_connect,
    [IPC_ROUTE_OPEN] = serve_route_open,
    [IPC_FILE_OPEN] = serve_file_open,
};

/* The reply is the error; nothing is handed over. */
static void job_fail(struct job *job, int rc)
{
	fd_pass_close(&job->out);
	job->reply =
	    (struct ipc_reply){.type = job->request.type, .seq = job->request.seq, .error = -rc};
}

/* Judge, carry out and record one request. */
static void job_run(struct helper *helper, struct job *job)
{
	struct timespec ts;
	bool refused;
	int rc;

	helper->audit.seq++;
	job_fail(job, -ENOBUFS);
	if (!audit_has_room())
		return;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	job->reply.error = 0;
	rc = policy_judge(&helper->policy, &job->request,
			  (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000);
	refused = rc < 0;
	if (!refused)
		rc = serve[job->request.type](helper, job);
	if (rc < 0)
		job_fail(job, rc);
	job->reply.fd_count = job->out.fd_count;
	if (audit_request(&helper->audit, &job->request, &job->reply, refused) < 0)
		job_fail(job, -ENOBUFS);
}

/* Returns 0, or a negative errno: -ECONNRESET the worker is gone, others that it broke the
 * contract. */
static int serve_one(struct helper *helper)
{
	uint8_t frame[sizeof(struct ipc_request)];
	struct fd_pass_message in;
	struct job job = {0};
	int rc = fd_pass_receive(IPC_FD_SOCKET, frame, sizeof(frame), &in);

	if (rc == 0 && in.len == 0 && in.fd_count == 0)
		rc = -ECONNRESET;
	if (rc == 0)
		rc = ipc_request_read(&job.request, frame, in.len, in.fd_count);
	if (rc == 0 && (job.request.type == IPC_HELLO) == helper->policy.greeted)
		rc = -EPROTO;
	if (rc < 0)
		return rc; /* the end: surplus descriptors go with the process */
	job_run(helper, &job);
	rc = fd_pass_send(IPC_FD_SOCKET, &job.reply, sizeof(job.reply), job.out.fds,
			  job.out.fd_count);
	fd_pass_close(&job.out);
	return rc == -EPIPE ? -ECONNRESET : rc;
}

static int start(struct helper *helper)
{
	int rc = sandbox_trim(&helper->capabilities);

	if (rc == 0)
		rc = sandbox_enter();
	if (rc < 0)
		return rc;
	sandbox_raise(true); /* the kernel looks at the opener's authority too, at each write */
	helper->netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	sandbox_raise(false);
	helper->tun = open("/dev/net/tun", O_RDWR | HELPER_OPEN_FLAGS); /* makes no interface yet */
	if (helper->tun < 0)
		helper->tun = -errno;
	rc = helper->netlink < 0 ? -EPERM : sandbox_seal();
	return rc < 0 ? rc : audit_event(&helper->audit, "start", helper->capabilities ? 0 : EPERM);
}

int main(void)
{
	struct helper helper = {0};
	int rc = start(&helper);
	bool orderly;

	if (rc < 0)
		_exit(1); /* the front sees the socket's end, and says what to do */
	do
		rc = serve_one(&helper);
	while (rc == 0);
	if (helper.ifindex != 0)
		netconfig_remove(&helper);
	orderly = rc == -ECONNRESET;
	rc = audit_event(&helper.audit, orderly ? "end" : "malformed", orderly ? 0 : -rc);
	_exit(orderly && rc == 0 ? 0 : 1);
}
