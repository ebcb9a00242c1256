/*
 * Stands in for the worker: enters the real prison with real fds, then makes one attempt and says
 * how it ended.
 *
 *   prison list          the attempts, one a line: name and how it must end
 *   prison NUMBER        as root: fds of its own making, then the system call of that number
 * without arguments (started by a front) fds from the helper, then the attempt that the gateway's
 * name says; "wait" reads from stdin
 */
#include "attempts.h"
#include "boot.h"
#include "front/process.h"
#include "helper_client.h"
#include "sandbox.h"

#include <errno.h>
#include <malloc.h>
#include <netinet/in.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	LINE_SIZE = 256,
	SETUP_FAILED = 99
};

/* No stdio in the prison: it would ask for the file's kind first. */
static void say(const char *what, long rc, int error)
{
	char line[LINE_SIZE];
	int len = snprintf(line, sizeof(line), "%s %ld %d\n", what, rc, rc < 0 ? error : 0);

	(void)!write(STDOUT_FILENO, line, (size_t)len);
}

static int setup_failed(const char *what, int rc)
{
	fprintf(stderr, "prison: %s: %s\n", what, strerror(-rc));
	return SETUP_FAILED;
}

static void list_attempts(void)
{
	static const char *const outcomes[] = {
	    [OUTCOME_KILLED] = "killed",
	    [OUTCOME_KILLED_32] = "killed-32",
	    [OUTCOME_ERROR] = "error",
	    [OUTCOME_ALLOWED] = "allowed",
	};

	for (size_t i = 0; i < attempt_count; i++)
		printf("%s %s %d\n", attempts[i].name, outcomes[attempts[i].outcome],
		       attempts[i].error);
}

static int enter(struct sandbox *sandbox)
{
	int rc = sandbox_enter(sandbox);

	if (rc < 0)
		fprintf(stderr, "%s\n", sandbox->err);
	else
		say("lacks", (long)sandbox->lacks, 0);
	return rc;
}

static int make_attempt(const char *name, const struct loot *loot)
{
	char byte;

	if (strcmp(name, "wait") == 0) {
		say("ready", 0, 0);
		(void)!read(STDIN_FILENO, &byte, 1);
		return 0;
	}
	for (size_t i = 0; i < attempt_count; i++) {
		if (strcmp(name, attempts[i].name) == 0) {
			long rc;

			errno = 0;
			rc = attempts[i].make(loot);
			say(name, rc, errno);
			return 0;
		}
	}
	return SETUP_FAILED;
}

static int take_fds(struct helper_client *helper, struct loot *loot)
{
	static const uint8_t v4[4] = {100, 64, 0, 1};
	static const uint8_t v6[16] = {0xfd, 0, 0x20, 0x21, 0x11, 0x11, [15] = 1};
	const uint8_t listen_addr[16] = {100, 64, 0, 1};
	uint32_t ifindex, offloads;
	uint8_t families;
	unsigned int n;
	int fds[IPC_MAX_FDS], rc, dns;

	rc = helper_tun_open(helper, &loot->tun, &ifindex, &offloads);
	if (rc == 0)
		rc = helper_tun_configure(helper, v4, v6, IPC_MTU_MIN, &families);
	if (rc == 0)
		rc = helper_udp_open(helper, 4, IPC_UDP_PEER, 1, fds, &n, NULL);
	if (rc < 0)
		return rc;
	loot->udp4 = fds[0];
	rc = helper_dns_listen(helper, 4, listen_addr, &dns, &loot->tcp);
	return rc < 0 ? rc : helper_route_open(helper, &loot->lookup, &loot->events);
}

/* In the worker's place: what main.c does, without a loop. */
static int started_by_front(void)
{
	struct helper_client helper = {.fd = BOOT_FD_HELPER};
	struct loot loot = {BOOT_FD_HELPER, -1, -1, -1, -1, -1, -1};
	struct sandbox sandbox = {0};
	struct boot boot;
	char name[BOOT_NAME_SIZE];
	int rc = boot_read(BOOT_FD_BOOT, &boot);

	if (rc < 0)
		return setup_failed(
		    "this program is started by a front, or see the top of prison.c", rc);
	close(BOOT_FD_BOOT);
	sandbox.strict = boot.sandbox_strict;
	sandbox.may_unshare = boot.may_unshare;
	sandbox.may_landlock = boot.may_landlock;
	helper.seq = boot.helper_seq;
	memcpy(name, boot.name, sizeof(name));
	boot_wipe(&boot);
	rc = take_fds(&helper, &loot);
	if (rc < 0)
		return setup_failed("fds from the helper", rc);
	return enter(&sandbox) < 0 ? EXIT_FAILURE : make_attempt(name, &loot);
}

static int by_number(const char *text)
{
	char err[256];
	struct sandbox sandbox = {.may_unshare = true, .may_landlock = true};
	long number = strtol(text, NULL, 10), rc;

	if (process_shed(false, err, sizeof(err)) < 0) {
		fprintf(stderr, "%s\n", err);
		return SETUP_FAILED;
	}
	if (enter(&sandbox) < 0)
		return EXIT_FAILURE;
	rc = syscall(number, -1, 0, 0, 0, 0, 0);
	say(text, rc, errno);
	return 0;
}

int main(int argc, char **argv)
{
	mallopt(M_MMAP_MAX, 0);
	if (sodium_init() < 0)
		return SETUP_FAILED;
	if (argc < 2)
		return started_by_front();
	if (strcmp(argv[1], "list") != 0)
		return by_number(argv[1]);
	list_attempts();
	return 0;
}
