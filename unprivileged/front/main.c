/*
 * The `firezone-gateway` command: reads options, identity and token, starts the helper, gives up
 * what it has and becomes the worker. It reads nothing from the network.
 */
#include "base/log.h"
#include "boot.h"
#include "front/agent.h"
#include "front/helper_start.h"
#include "front/identity.h"
#include "front/options.h"
#include "front/process.h"
#include "front/token.h"
#include "stdout_log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	EXIT_USAGE = 2,
	HEALTH_BACKLOG = 8
};

/* What main() hands from step to step. */
struct front {
	struct options options;
	struct boot boot;
	struct helper_start helper;
	struct log *log;
	int audit_fd;
	int health_fd;
	char err[1024];
};

static int fail(const struct front *front, int status)
{
	fprintf(stderr, "firezone-gateway: %s\n", front->err);
	return status;
}

static void warn(struct front *front, const char *text)
{
	if (log_wants(front->log, LOG_WARN, "firezone_gateway"))
		log_write(front->log, LOG_WARN, "firezone_gateway", text, NULL, 0);
}

/* Before a secret is in memory: no core dump, nobody attaches. The helper's exec makes its own
 * choice. */
static bool protect_memory(void)
{
	const struct rlimit none = {0, 0};

	return setrlimit(RLIMIT_CORE, &none) == 0 && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0;
}

static int open_log(struct front *front)
{
	struct boot *boot = &front->boot;
	char why[256];

	boot->log_format = front->options.log_format;
	snprintf(boot->log_filter, sizeof(boot->log_filter), "%s%s", front->options.log_filter,
		 front->options.flow_logs ? ",flow_logs=trace" : "");
	front->log = stdout_log_new(front->options.log_format, boot->log_filter, why, sizeof(why));
	if (front->log)
		return 0;
	snprintf(front->err, sizeof(front->err),
		 "RUST_LOG has the invalid value \"%.200s\" (%s): say something like "
		 "info or info,tunnel=debug.",
		 front->options.log_filter, why);
	return EXIT_USAGE;
}

static int read_identity(struct front *front)
{
	const struct options *options = &front->options;
	const struct identity_places places = identity_places();
	char id[BOOT_ID_SIZE], warning[512];

	if (identity_find(options->id, &places, id, sizeof(id), warning, sizeof(warning),
			  front->err, sizeof(front->err)) < 0)
		return EXIT_FAILURE;
	if (warning[0] != '\0')
		warn(front, warning);
	if (identity_external(id, front->boot.external_id, sizeof(front->boot.external_id)) &&
	    agent_name(options->name, front->boot.name, sizeof(front->boot.name)))
		return 0;
	snprintf(front->err, sizeof(front->err),
		 "The identity or the name is too long: shorten FIREZONE_ID or "
		 "FIREZONE_NAME.");
	return EXIT_FAILURE;
}

static int read_token(struct front *front)
{
	const struct token_sources sources = {
	    .argument = front->options.token_argument,
	    .variable = front->options.token_variable,
	    .credentials_dir = front->options.credentials_dir,
	};
	enum token_from from;

	if (token_read(&sources, front->boot.token, sizeof(front->boot.token), &from, front->err,
		       sizeof(front->err)) < 0)
		return EXIT_FAILURE;
	if (from == TOKEN_FROM_ARGUMENT)
		warn(front, "The token was given on the command line, where every user of this "
			    "host could read it: "
			    "set FIREZONE_TOKEN or load it as systemd credential.");
	return 0;
}

/*
 * The worker keeps stderr and may fill it at any moment, so the helper gets a description of its
 * own of the pipe or terminal, which never blocks; stderr itself stays as its other users want it.
 * A file needs none (and two descriptions would write over each other), a socket has none.
 */
static int audit_on_stderr(void)
{
	struct stat st;
	int fd = -1;

	if (fstat(STDERR_FILENO, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)))
		fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	return fd >= 0 ? fd : fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
}

static int open_audit(struct front *front)
{
	const char *path = front->options.audit_log;
	const int flags =
	    O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW;

	front->audit_fd = path ? open(path, flags, 0640) : audit_on_stderr();
	if (front->audit_fd >= 0)
		return 0;
	snprintf(front->err, sizeof(front->err),
		 "Cannot open the audit log %.200s (%s): check FIREZONE_AUDIT_LOG.",
		 path ? path : "on stderr", strerror(errno));
	return EXIT_FAILURE;
}

static int listen_on(const struct sockaddr_in6 *addr)
{
	const int on = 1;
	socklen_t len = addr->sin6_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(*addr);
	int fd = socket(addr->sin6_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	(void)!setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (const struct sockaddr *)addr, len) < 0 || listen(fd, HEALTH_BACKLOG) < 0) {
		int rc = -errno;

		close(fd);
		return rc;
	}
	return fd;
}

/* A port that is taken is no reason not to start. [spec operations 7] */
static void open_health(struct front *front)
{
	front->health_fd = listen_on(&front->options.health);
	if (front->health_fd >= 0)
		return;
	log_at(front->log, LOG_WARN, "firezone_gateway", "There is no health endpoint",
	       KV_STR("address", front->options.health_addr),
	       KV_STR("error", strerror(-front->health_fd)));
	front->health_fd = -1;
}

static void fill_boot(struct front *front)
{
	const struct options *options = &front->options;
	struct boot *boot = &front->boot;

	snprintf(boot->api_url, sizeof(boot->api_url), "%s", options->api_url);
	snprintf(boot->health_addr, sizeof(boot->health_addr), "%s", options->health_addr);
	snprintf(boot->ca_file, sizeof(boot->ca_file), "%s",
		 options->ca_file ? options->ca_file : "");
	snprintf(boot->ca_dir, sizeof(boot->ca_dir), "%s", options->ca_dir ? options->ca_dir : "");
	agent_user_agent(boot->user_agent, sizeof(boot->user_agent));
	boot->health_fd = front->health_fd >= 0 ? BOOT_FD_HEALTH : -1;
	boot->first_connect_us = options->first_connect_us;
	boot->max_partition_us = options->max_partition_us;
	boot->udp_send_buffer = options->udp_send_buffer;
	boot->udp_recv_buffer = options->udp_recv_buffer;
	boot->helper = front->helper.hello;
	boot->helper_seq = front->helper.seq;
	boot->flow_logs = options->flow_logs;
	boot->no_gso = options->no_gso;
	boot->no_udp_coalesce = options->no_udp_coalesce;
	boot->metrics = options->metrics;
	boot->validate_checksums = options->validate_checksums;
	boot->sandbox_strict = options->sandbox_strict;
	boot->may_unshare = process_may_unshare();
	boot->may_landlock = process_may_landlock();
}

static int start_helper(struct front *front)
{
	const struct options *options = &front->options;
	struct ipc_policy policy = {
	    .tun_name = IPC_TUN_NAME_DEFAULT,
	    .receive_buffer = options->udp_recv_buffer,
	    .send_buffer = options->udp_send_buffer,
	    .portal_port = options->url.port,
	    .udp_port = IPC_UDP_PORT_DEFAULT,
	    .loopback_tcp = portal_url_is_local(&options->url),
	    .file_count = 2,
	    .files = {[IPC_FILE_RESOLV_CONF] = "/etc/resolv.conf", [IPC_FILE_HOSTS] = "/etc/hosts"},
	};
	int rc = helper_start(FZGW_HELPER_PATH, &policy, front->audit_fd, !options->no_check,
			      &front->helper, front->err, sizeof(front->err));

	return rc < 0 ? EXIT_FAILURE : 0;
}

/* Returns only when it failed. */
static int become_worker(struct front *front)
{
	char *argv[] = {(char[]){"firezone-gateway-worker"}, NULL};
	char *environment[PROCESS_MANAGER_VARS + 1];
	/* SIGHUP and SIGUSR1 until the worker has its handlers. */
	const int ignored[] = {SIGCHLD, SIGPIPE, SIGHUP, SIGUSR1, 0};
	int fds[3] = {front->helper.socket, boot_seal(&front->boot), front->health_fd};
	int rc = fds[1] < 0 ? fds[1] : 0;

	boot_wipe(&front->boot);
	process_manager_environment(environ, environment);
	if (rc == 0)
		rc = process_place_fds(fds, ARRAY_LEN(fds), BOOT_FD_HELPER);
	if (rc == 0) {
		process_reset_signals(ignored);
		execve(FZGW_WORKER_PATH, argv, environment);
		rc = -errno;
	}
	snprintf(front->err, sizeof(front->err),
		 "Cannot start the worker " FZGW_WORKER_PATH
		 " (%s): install firezone-gateway again, readable for "
		 "every user.",
		 strerror(-rc));
	return EXIT_FAILURE;
}

static int run(struct front *front)
{
	int rc = open_log(front);

	if (rc != 0)
		return rc;
	for (size_t i = 0; i < front->options.warning_count; i++)
		warn(front, front->options.warnings[i]);
	rc = read_identity(front);
	if (rc == 0)
		rc = read_token(front);
	if (rc == 0)
		rc = open_audit(front);
	if (rc == 0)
		open_health(front);
	if (rc == 0)
		rc = start_helper(front);
	if (rc != 0)
		return rc;
	fill_boot(front);
	if (process_shed(!front->boot.may_unshare, front->err, sizeof(front->err)) < 0)
		return EXIT_FAILURE;
	return become_worker(front);
}

int main(int argc, char **argv)
{
	struct front front = {.audit_fd = -1, .health_fd = -1};
	int rc;

	/* Children are waited for; a limit on files is told by the write that meets it. */
	signal(SIGCHLD, SIG_DFL);
	signal(SIGXFSZ, SIG_IGN);
	if (process_open_stdio() < 0 || !protect_memory() || sodium_init() < 0)
		return EXIT_FAILURE;
	boot_init(&front.boot);
	switch (options_read(&front.options, argc, argv, environ)) {
	case OPTIONS_HELP:
		options_print_help(stdout);
		return EXIT_SUCCESS;
	case OPTIONS_VERSION:
		printf("firezone-gateway " FZGW_VERSION " (gateway/" AGENT_VERSION ")\n");
		return EXIT_SUCCESS;
	case OPTIONS_USAGE_ERROR:
		snprintf(front.err, sizeof(front.err), "%s", front.options.error);
		return fail(&front, EXIT_USAGE);
	case OPTIONS_RUN:
		break;
	}
	rc = run(&front);
	boot_wipe(&front.boot);
	log_free(front.log);
	return fail(&front, rc);
}
