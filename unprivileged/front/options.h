/*
 * Command line and environment: flag beats variable beats default, empty means not given. [spec
 * operations 1]
 *
 * Texts point into argv and the environment, which must outlive the struct.
 */
#ifndef FRONT_OPTIONS_H
#define FRONT_OPTIONS_H

#include "base/log.h"
#include "portal/url.h"

#include <netinet/in.h>
#include <stdio.h>

enum {
	OPTIONS_MAX_WARNINGS = 32,
	OPTIONS_TEXT_SIZE = 256
};

enum options_result {
	OPTIONS_RUN,
	OPTIONS_HELP,
	OPTIONS_VERSION,
	OPTIONS_USAGE_ERROR
};

struct options {
	const char *token_argument, *token_variable, *credentials_dir;

	const char *api_url;
	struct portal_url url;
	const char *id, *name;
	const char *health_addr;
	struct sockaddr_in6 health; /* IPv4 as sockaddr_in in the same place; sin6_family tells */
	enum log_format log_format;
	const char *log_filter; /* without flow logs' own directive */
	const char *audit_log;
	const char *ca_file, *ca_dir;
	uint64_t max_partition_us, first_connect_us;
	uint32_t udp_send_buffer, udp_recv_buffer;
	bool no_check, flow_logs, validate_checksums, no_gso, no_udp_coalesce, sandbox_strict,
	    metrics;

	/* What the operator should know and what does not stop the start. */
	char warnings[OPTIONS_MAX_WARNINGS][OPTIONS_TEXT_SIZE];
	size_t warning_count;
	/* OPTIONS_USAGE_ERROR: one sentence that names the option or variable and what to do. */
	char error[OPTIONS_TEXT_SIZE];
};

/*
 * Read both. @environ: the process's; it is not changed. Only names and values are looked at, no
 * file and no network.
 */
enum options_result options_read(struct options *out, int argc, char **argv, char **environment);

void options_print_help(FILE *to);

/* Adds a line to out->warnings; those beyond the table's end are dropped. */
void options_warn(struct options *out, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
