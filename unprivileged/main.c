/*
 * The worker's start: take what the front left, prepare everything that needs files or new
 * descriptors, enter the prison, run.
 */
#include "base/log.h"
#include "boot.h"
#include "loop/loop.h"
#include "sandbox.h"
#include "stdout_log.h"

#include <malloc.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum {
	ERROR_SIZE = 512,
	WARM_UP_ITEMS = 1024
};

static int fail(const char *sentence)
{
	fprintf(stderr, "firezone-gateway-worker: %s\n", sentence);
	return EXIT_FAILURE;
}

static int compare_bytes(const void *a, const void *b)
{
	return memcmp(a, b, 1);
}

/* The C library does these the first time they are used: read the time zone, ask for the size of
 * memory before a sort. */
static void warm_up(void)
{
	char bytes[WARM_UP_ITEMS * 2] = {1};
	struct tm tm;
	time_t now = time(NULL);

	setenv("TZ", "UTC0", 1);
	tzset();
	(void)localtime_r(&now, &tm);
	qsort(bytes, WARM_UP_ITEMS, 2, compare_bytes);
}

/* One warning for each wall that the host does not offer. */
static void log_lacks(struct log *log, uint32_t lacks)
{
	for (uint32_t lack = 1; lack < SANDBOX_LACK_END; lack <<= 1) {
		if ((lacks & lack) && log_wants(log, LOG_WARN, "firezone_gateway"))
			log_write(log, LOG_WARN, "firezone_gateway", sandbox_lack_text(lack), NULL,
				  0);
	}
}

static int run_imprisoned(struct loop *loop, struct sandbox *sandbox, struct log *log)
{
	if (sandbox_enter(sandbox) < 0)
		return fail(sandbox->err);
	log_lacks(log, sandbox->lacks);
	return loop_run(loop);
}

/*
 * What is left the kernel releases: doing it inside the prison takes calls that it refuses. A build
 * that checks for leaks has a wider prison and something to say.
 */
static void release(struct loop *loop, struct log *log)
{
#ifdef FZGW_CHECKED
	loop_free(loop);
	log_free(log);
#else
	(void)loop;
	(void)log;
#endif
}

static int run(struct boot *boot)
{
	struct sandbox sandbox = {
	    .strict = boot->sandbox_strict,
	    .may_unshare = boot->may_unshare,
	    .may_landlock = boot->may_landlock,
	};
	struct log *log = stdout_log_new(boot->log_format, boot->log_filter, NULL, 0);
	struct loop_config config = {
	    .boot = boot,
	    .helper_fd = BOOT_FD_HELPER,
	    .health_fd = boot->health_fd,
	    .log = log,
	};
	char err[ERROR_SIZE] = "out of memory";
	struct loop *loop = log ? loop_new(&config, err, sizeof(err)) : NULL;
	int status;

	boot_wipe(boot);
	status = loop ? run_imprisoned(loop, &sandbox, log) : fail(err);
	release(loop, log);
	return status;
}

int main(void)
{
	struct boot boot;

	/* Exec made it dumpable again; the token comes before the prison. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return fail("the kernel does not protect this process's memory.");
	/* Large blocks come from the heap like all others, so that the prison can do without munmap
	 * and mremap. */
	mallopt(M_MMAP_MAX, 0);
	if (sodium_init() < 0)
		return fail("libsodium does not start: the kernel gives no random numbers.");
	if (boot_read(BOOT_FD_BOOT, &boot) < 0)
		return fail("this program is started by firezone-gateway, of the same version, and "
			    "by nobody else.");
	close(BOOT_FD_BOOT);
	warm_up();
	return run(&boot);
}
