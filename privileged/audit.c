#include "privileged/audit.h"

#include "ipc/fd_pass.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define LINE_SIZE 512 /* the longest has about 400 bytes; a pipe takes 4096 whole */

bool audit_has_room(void)
{
	struct pollfd pfd = {.fd = IPC_FD_AUDIT, .events = POLLOUT};
	const struct timespec no_time = {0};

	return ppoll(&pfd, 1, &no_time, NULL) == 1 && pfd.revents == POLLOUT;
}

/* @format: the members behind time and number, and the end of the line. */
__attribute__((format(printf, 2, 3))) static int put(uint64_t seq, const char *format, ...)
{
	char line[LINE_SIZE];
	struct timespec ts;
	va_list args;
	int len, rc;

	clock_gettime(CLOCK_REALTIME, &ts);
	len = snprintf(line, sizeof(line), "{\"ts\":%lld.%06ld,\"seq\":%llu,", (long long)ts.tv_sec,
		       ts.tv_nsec / 1000, (unsigned long long)seq);
	va_start(args, format);
	len += vsnprintf(line + len, sizeof(line) - (size_t)len, format, args);
	va_end(args);
	if (len >= LINE_SIZE)
		return -EMSGSIZE;
	rc = audit_has_room() ? fd_pass_send(IPC_FD_AUDIT, line, (size_t)len, NULL, 0) : -ENOBUFS;
	if (rc == -ENOTSOCK)
		rc = write(IPC_FD_AUDIT, line, (size_t)len) == len ? 0 : -EIO;
	return rc;
}

static int put_request(const struct audit *audit, uint32_t type, const char *verdict, int error,
		       uint64_t repeated, const char *text)
{
	return put(
	    audit->seq,
	    "\"request\":\"%s\",\"verdict\":\"%s\",\"errno\":%d,\"repeated\":%llu,\"args\":{%s}}\n",
	    ipc_type_name(type), verdict, error, (unsigned long long)repeated, text);
}

/* If its last line cannot be written, the run goes on. */
static void end_run(struct audit *audit)
{
	if (audit->run_count > 0 && put_request(audit, audit->run_type, "refused", audit->run_error,
						audit->run_count, "") < 0)
		return;
	audit->run_count = 0;
	audit->run_error = 0;
}

int audit_request(struct audit *audit, const struct ipc_request *request,
		  const struct ipc_reply *reply, bool refused)
{
	/* What is refused for being too much of everything is one run, whatever it was. */
	uint32_t type = reply->error == EDQUOT ? 0 : request->type;
	const char *verdict = reply->error == 0 ? "ok" : refused ? "refused" : "failed";
	char text[IPC_TEXT_SIZE];

	if (refused && reply->error == audit->run_error && type == audit->run_type) {
		audit->run_count++;
		return 0;
	}
	end_run(audit);
	if (refused && audit->run_count == 0) {
		audit->run_error = reply->error;
		audit->run_type = type;
	}
	ipc_request_text(text, sizeof(text), request);
	return put_request(audit, request->type, verdict, reply->error, 0, text);
}

int audit_event(struct audit *audit, const char *event, int error)
{
	end_run(audit);
	return put(audit->seq, "\"event\":\"%s\",\"errno\":%d}\n", event, error);
}
