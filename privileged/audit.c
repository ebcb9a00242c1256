#include "privileged/audit.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum {
	LINE_SIZE = 512, /* the longest has about 400 bytes; a pipe takes 4096 whole */
	RUN_US = 1000000,
};

static bool has_room(const struct audit *audit)
{
	struct pollfd pfd = {.fd = audit->fd, .events = POLLOUT};
	const struct timespec no_time = {0};

	return ppoll(&pfd, 1, &no_time, NULL) == 1 && pfd.revents == POLLOUT;
}

bool audit_begin(struct audit *audit)
{
	audit->seq++;
	return has_room(audit);
}

__attribute__((format(printf, 2, 3))) static int put_line(const struct audit *audit,
							  const char *format, ...)
{
	char text[LINE_SIZE], line[LINE_SIZE + 64];
	struct timespec ts;
	va_list args;
	int len;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	clock_gettime(CLOCK_REALTIME, &ts);
	len =
	    snprintf(line, sizeof(line), "{\"ts\":%lld.%06ld,\"seq\":%llu,%s}\n",
		     (long long)ts.tv_sec, ts.tv_nsec / 1000, (unsigned long long)audit->seq, text);
	if (!has_room(audit))
		return -ENOBUFS;
	return write(audit->fd, line, (size_t)len) == len ? 0 : -EIO;
}

void audit_end_run(struct audit *audit)
{
	if (audit->run_count > 0 &&
	    put_line(audit,
		     "\"request\":\"%s\",\"verdict\":\"refused\",\"errno\":%d,\"repeated\":%llu",
		     ipc_type_name(audit->run_type), audit->run_error,
		     (unsigned long long)audit->run_count) < 0)
		return; /* kept for the next occasion */
	audit->run_count = 0;
	audit->run_error = 0;
}

int audit_request(struct audit *audit, const struct ipc_request *request,
		  const struct ipc_reply *reply, bool refused, uint64_t now_us)
{
	/* What is refused for being too much of everything is one run, whatever it was. */
	uint32_t type = reply->error == EDQUOT ? 0 : request->type;
	const char *verdict = reply->error == 0 ? "ok" : refused ? "refused" : "failed";
	char text[IPC_TEXT_SIZE];
	int rc;

	if (refused && reply->error == audit->run_error && type == audit->run_type &&
	    now_us < audit->run_until_us) {
		audit->run_count++;
		return 0;
	}
	audit_end_run(audit);
	ipc_request_text(text, sizeof(text), request);
	rc = put_line(audit,
		      "\"request\":\"%s\",\"verdict\":\"%s\",\"errno\":%d,\"fds\":%u,\"args\":{%s}",
		      ipc_type_name(request->type), verdict, reply->error, reply->fd_count, text);
	if (rc == 0 && refused && audit->run_count == 0) {
		audit->run_error = reply->error;
		audit->run_type = type;
		audit->run_until_us = now_us + RUN_US;
	}
	return rc;
}

int audit_event(struct audit *audit, const char *event, int error)
{
	audit_end_run(audit);
	return put_line(audit, "\"event\":\"%s\",\"errno\":%d", event, error);
}
