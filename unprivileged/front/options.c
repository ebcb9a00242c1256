#include "front/options.h"

#include "front/agent.h"
#include "front/values.h"
#include "ipc/ipc.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/*
 * One row for each option. @set returns NULL, or what a good value looks like. A row without @flag
 * is a variable only, one without @variable a flag only; one without @help is accepted without
 * effect or for development.
 */
struct row {
	const char *flag;
	int letter;
	bool has_value;
	const char *variable;
	const char *(*set)(struct options *options, const char *value);
	const char *help;
};

static const char *set_api_url(struct options *o, const char *value)
{
	o->api_url = value;
	return portal_url_parse(&o->url, value) && strlen(value) < 1024
		   ? NULL
		   : "give a URL such as wss://api.firezone.dev (ws, wss, http or https and a "
		     "host)";
}

static const char *set_id(struct options *o, const char *value)
{
	o->id = value;
	return strlen(value) < 1024 ? NULL : "give at most 255 characters";
}

static const char *set_name(struct options *o, const char *value)
{
	o->name = value;
	return strlen(value) < 1024 && agent_is_utf8(value)
		   ? NULL
		   : "give at most 255 characters of UTF-8";
}

static const char *set_health(struct options *o, const char *value)
{
	o->health_addr = value;
	return value_ip_port(value, &o->health)
		   ? NULL
		   : "give an address and a port such as 127.0.0.1:8080";
}

static const char *set_log_format(struct options *o, const char *value)
{
	if (strcmp(value, "human") == 0)
		o->log_format = LOG_HUMAN;
	else if (strcmp(value, "json") == 0)
		o->log_format = LOG_JSON;
	else
		return "say human or json";
	return NULL;
}

static const char *set_log_filter(struct options *o, const char *value)
{
	o->log_filter = value;
	return strlen(value) < 960 ? NULL : "give a log filter of at most 959 characters";
}

static const char *set_bool(bool *to, const char *value)
{
	return value_bool(value, to) ? NULL : "say true or false (1/0, yes/no and on/off work too)";
}

static const char *set_no_check(struct options *o, const char *value)
{
	return set_bool(&o->no_check, value);
}

static const char *set_flow_logs(struct options *o, const char *value)
{
	return set_bool(&o->flow_logs, value);
}

static const char *set_validate_checksums(struct options *o, const char *value)
{
	return set_bool(&o->validate_checksums, value);
}

static const char *set_no_gso(struct options *o, const char *value)
{
	return set_bool(&o->no_gso, value);
}

static const char *set_no_coalesce(struct options *o, const char *value)
{
	return set_bool(&o->no_udp_coalesce, value);
}

static const char *set_bool_without_effect(struct options *o, const char *value)
{
	bool ignored;

	(void)o;
	return set_bool(&ignored, value);
}

static const char *set_metrics(struct options *o, const char *value)
{
	o->metrics = strcmp(value, "prometheus") == 0;
	if (o->metrics)
		return NULL;
	if (strcmp(value, "stdout") != 0 && strcmp(value, "otel-collector") != 0 &&
	    strcmp(value, "sentry") != 0)
		return "say prometheus";
	options_warn(o, "FIREZONE_METRICS has no effect: this gateway sends no metrics, it only "
			"shows them if you say prometheus.");
	return NULL;
}

static const char *set_ignored(struct options *o, const char *value)
{
	(void)o;
	(void)value;
	return NULL;
}

static const char *set_max_partition(struct options *o, const char *value)
{
	return value_duration(value, &o->max_partition_us)
		   ? NULL
		   : "give a duration such as 24h, 30m or 1h 30m";
}

static const char *set_first_connect(struct options *o, const char *value)
{
	return value_duration(value, &o->first_connect_us) ? NULL
							   : "give a duration such as 15s or 2m";
}

/* A bad size is no reason not to start. [spec operations 1] */
static const char *set_buffer(struct options *o, uint32_t *to, const char *name, const char *value)
{
	if (!value_size(value, 4096, 128 << 20, to))
		options_warn(
		    o, "%s is not a size of 4096 to 134217728 bytes: the default of %u is used.",
		    name, *to);
	return NULL;
}

static const char *set_send_buffer(struct options *o, const char *value)
{
	return set_buffer(o, &o->udp_send_buffer, "FIREZONE_UDP_SEND_BUFFER_SIZE", value);
}

static const char *set_recv_buffer(struct options *o, const char *value)
{
	return set_buffer(o, &o->udp_recv_buffer, "FIREZONE_UDP_RECV_BUFFER_SIZE", value);
}

static const char *set_sandbox(struct options *o, const char *value)
{
	o->sandbox_strict = strcmp(value, "strict") == 0;
	return o->sandbox_strict ? NULL : "say strict, or leave it out";
}

static const char *set_audit_log(struct options *o, const char *value)
{
	o->audit_log = value;
	return value[0] == '/' ? NULL : "give the absolute path of a file";
}

static const char *set_ca_file(struct options *o, const char *value)
{
	o->ca_file = value;
	return strlen(value) < 1024 ? NULL : "give a path of at most 1023 characters";
}

static const char *set_ca_dir(struct options *o, const char *value)
{
	o->ca_dir = value;
	return strlen(value) < 1024 ? NULL : "give a path of at most 1023 characters";
}

static const char *set_token(struct options *o, const char *value)
{
	o->token_variable = value;
	return NULL;
}

static const char *set_credentials(struct options *o, const char *value)
{
	o->credentials_dir = value;
	return NULL;
}

static const struct row rows[] = {
    {NULL, 0, true, "FIREZONE_TOKEN", set_token, "the portal's token (see TOKEN)"},
    {NULL, 0, true, "CREDENTIALS_DIRECTORY", set_credentials,
     "where systemd puts the credential FIREZONE_TOKEN"},
    {"api-url", 'u', true, "FIREZONE_API_URL", set_api_url,
     "the portal (default wss://api.firezone.dev)"},
    {"firezone-id", 'i', true, "FIREZONE_ID", set_id, "this gateway's identity (default: derived)"},
    {"firezone-name", 'n', true, "FIREZONE_NAME", set_name,
     "display name (default: the host's name)"},
    {"max-partition-time", 'm', true, "FIREZONE_MAX_PARTITION_TIME", set_max_partition,
     "how long a lost portal is retried (default 24h)"},
    {"first-connect-timeout", 0, true, "FIREZONE_FIRST_CONNECT_TIMEOUT", set_first_connect,
     "how long the first connection is tried (default 15s)"},
    {"health-check-addr", 0, true, "HEALTH_CHECK_ADDR", set_health,
     "address and port of /healthz and /readyz (default 0.0.0.0:8080)"},
    {"log-format", 0, true, "FIREZONE_LOG_FORMAT", set_log_format, "human (default) or json"},
    {"flow-logs", 0, false, "FIREZONE_FLOW_LOGS", set_flow_logs, "log every finished flow"},
    {NULL, 0, true, "RUST_LOG", set_log_filter,
     "log filter such as info,tunnel=debug (default info)"},
    {NULL, 0, true, "FIREZONE_AUDIT_LOG", set_audit_log,
     "file of the helper's audit lines (default stderr)"},
    {NULL, 0, true, "FIREZONE_SANDBOX", set_sandbox,
     "strict: no start without namespaces and Landlock"},
    {NULL, 0, true, "SSL_CERT_FILE", set_ca_file, "certificate authorities for wss, one file"},
    {NULL, 0, true, "SSL_CERT_DIR", set_ca_dir, "the same, all files of a directory"},
    {NULL, 0, true, "FIREZONE_UDP_SEND_BUFFER_SIZE", set_send_buffer, "bytes (default 2097152)"},
    {NULL, 0, true, "FIREZONE_UDP_RECV_BUFFER_SIZE", set_recv_buffer, "bytes (default 16777216)"},
    {NULL, 0, true, "FIREZONE_NO_GSO", set_no_gso, "do not join packets on their way out"},
    {NULL, 0, true, "FIREZONE_NO_UDP_COALESCE", set_no_coalesce,
     "do not join UDP packets into the tunnel"},
    {"validate-checksums", 0, false, "FIREZONE_VALIDATE_CHECKSUMS", set_validate_checksums,
     "check packets from the tunnel device"},
    {"no-check", 0, false, NULL, set_no_check, "skip the check of permissions at start"},
    {"no-telemetry", 0, false, "FIREZONE_NO_TELEMETRY", set_bool_without_effect,
     "accepted without effect: nothing is ever sent"},
    {"no-inc-buf", 0, false, "FIREZONE_NO_INC_BUF", set_bool_without_effect,
     "accepted without effect: no kernel setting is written"},
    {"metrics", 0, true, "FIREZONE_METRICS", set_metrics,
     "prometheus: a page of numbers, for this host only"},
    {"otlp-grpc-endpoint", 0, true, "OTLP_GRPC_ENDPOINT", set_ignored, "accepted without effect"},
    {NULL, 0, true, "FIREZONE_ENABLE_MASQUERADE", set_ignored, NULL},
    {NULL, 0, true, "FIREZONE_NUM_TUN_THREADS", set_ignored, NULL},
};

enum {
	ROWS = ARRAY_LEN(rows),
	FIRST_LONG = 256,
	LONG_HELP = FIRST_LONG + ROWS,
	LONG_VERSION
};

void options_warn(struct options *out, const char *fmt, ...)
{
	va_list args;

	if (out->warning_count == OPTIONS_MAX_WARNINGS)
		return;
	va_start(args, fmt);
	vsnprintf(out->warnings[out->warning_count++], OPTIONS_TEXT_SIZE, fmt, args);
	va_end(args);
}

static bool apply(struct options *o, const struct row *row, bool from_flag, const char *value)
{
	const char *wanted = value[0] != '\0' ? row->set(o, value) : NULL;

	if (!wanted)
		return true;
	snprintf(o->error, sizeof(o->error), "%s%s has the invalid value \"%.60s\": %s.",
		 from_flag ? "--" : "", from_flag ? row->flag : row->variable, value, wanted);
	return false;
}

/* The table as getopt_long() wants it; returned values are FIRST_LONG + place in the table. */
static void long_options(struct option to[ROWS + 3], char letters[2 * ROWS + 4])
{
	size_t n = 0, at = 0;

	letters[at++] = ':';
	for (size_t i = 0; i < ROWS; i++) {
		if (!rows[i].flag)
			continue;
		to[n++] = (struct option){rows[i].flag,
					  rows[i].has_value ? required_argument : no_argument, NULL,
					  FIRST_LONG + (int)i};
		if (rows[i].letter) {
			letters[at++] = (char)rows[i].letter;
			letters[at++] = ':';
		}
	}
	to[n++] = (struct option){"help", no_argument, NULL, LONG_HELP};
	to[n++] = (struct option){"version", no_argument, NULL, LONG_VERSION};
	to[n] = (struct option){NULL, 0, NULL, 0};
	letters[at++] = 'h';
	letters[at++] = 'V';
	letters[at] = '\0';
}

static size_t row_of(int got)
{
	for (size_t i = 0; i < ROWS; i++) {
		if (got == FIRST_LONG + (int)i || (rows[i].letter && got == rows[i].letter))
			return i;
	}
	return ROWS;
}

static enum options_result usage_error(struct options *o, const char *what, const char *argument)
{
	snprintf(o->error, sizeof(o->error), "%s %.80s: see firezone-gateway --help.", what,
		 argument);
	return OPTIONS_USAGE_ERROR;
}

/* Only the option's name of what may be a token that was taken for an option. */
static enum options_result no_such_option(struct options *o, const char *argument)
{
	char name[80] = {'-', (char)optopt, '\0'};

	if (strncmp(argument, "--", 2) == 0)
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(argument, "="), argument);
	return usage_error(o, "There is no such option, or it takes no value:", name);
}

static enum options_result read_flags(struct options *o, int argc, char **argv, bool given[ROWS])
{
	struct option table[ROWS + 3];
	char letters[2 * ROWS + 4];
	int got;

	long_options(table, letters);
	opterr = 0;
	optind = 0;
	while ((got = getopt_long(argc, argv, letters, table, NULL)) != -1) {
		size_t i = row_of(got);

		if (got == 'h' || got == LONG_HELP)
			return OPTIONS_HELP;
		if (got == 'V' || got == LONG_VERSION)
			return OPTIONS_VERSION;
		if (got == ':')
			return usage_error(o, "A value is missing after", argv[optind - 1]);
		if (i == ROWS)
			return no_such_option(o, argv[optind - 1]);
		given[i] = !rows[i].has_value || optarg[0] != '\0';
		if (!apply(o, &rows[i], true, rows[i].has_value ? optarg : "true"))
			return OPTIONS_USAGE_ERROR;
	}
	if (optind < argc)
		o->token_argument = argv[optind++];
	/* What else stands there may be a token in two pieces: it is not repeated in the message.
	 */
	return optind < argc ? usage_error(o, "There is more than one", "TOKEN") : OPTIONS_RUN;
}

static const char *value_in(char **environment, const char *name)
{
	size_t len = strlen(name);

	for (; *environment; environment++) {
		if (strncmp(*environment, name, len) == 0 && (*environment)[len] == '=')
			return *environment + len + 1;
	}
	return NULL;
}

static bool read_variables(struct options *o, char **environment, const bool given[ROWS])
{
	for (size_t i = 0; i < ROWS; i++) {
		const char *value =
		    rows[i].variable ? value_in(environment, rows[i].variable) : NULL;

		if (value && !given[i] && !apply(o, &rows[i], false, value))
			return false;
	}
	return true;
}

static bool is_known(const char *name, size_t len)
{
	for (size_t i = 0; i < ROWS; i++) {
		if (rows[i].variable && strlen(rows[i].variable) == len &&
		    memcmp(rows[i].variable, name, len) == 0)
			return true;
	}
	return false;
}

static void warn_unknown(struct options *o, char **environment)
{
	for (; *environment; environment++) {
		size_t len = strcspn(*environment, "=");

		if (strncmp(*environment, "FIREZONE_", 9) == 0 && !is_known(*environment, len))
			options_warn(o, "%.*s is not a variable of this gateway and has no effect.",
				     (int)min_size(len, 100), *environment);
	}
}

static bool set_defaults(struct options *o)
{
	*o = (struct options){
	    .health_addr = "0.0.0.0:8080",
	    .log_filter = "info",
	    .max_partition_us = UINT64_C(86400) * US_PER_S,
	    .first_connect_us = UINT64_C(15) * US_PER_S,
	    .udp_send_buffer = IPC_SEND_BUFFER_DEFAULT,
	    .udp_recv_buffer = IPC_RECEIVE_BUFFER_DEFAULT,
	};
	return !set_api_url(o, "wss://api.firezone.dev") && !set_health(o, o->health_addr);
}

enum options_result options_read(struct options *out, int argc, char **argv, char **environment)
{
	bool given[ROWS] = {false};
	enum options_result result;

	BUG_ON(!set_defaults(out));
	result = read_flags(out, argc, argv, given);
	if (result != OPTIONS_RUN)
		return result;
	if (!read_variables(out, environment, given))
		return OPTIONS_USAGE_ERROR;
	warn_unknown(out, environment);
	return OPTIONS_RUN;
}

void options_print_help(FILE *to)
{
	fputs(
	    "Usage: firezone-gateway [options] [TOKEN]\n\n"
	    "TOKEN is visible in the process list: better set FIREZONE_TOKEN, or load the systemd\n"
	    "credential FIREZONE_TOKEN. A flag beats its variable; an empty value counts as not "
	    "given.\n\n",
	    to);
	for (size_t i = 0; i < ROWS; i++) {
		const struct row *row = &rows[i];

		if (!row->help)
			continue;
		if (row->letter)
			fprintf(to, "  -%c,", row->letter);
		else
			fputs("  ", to);
		if (row->flag)
			fprintf(to, "%s--%s%s%s", row->letter ? " " : "", row->flag,
				row->has_value ? " VALUE" : "", row->variable ? ", " : "");
		fprintf(to, "%s\n        %s\n", row->variable ? row->variable : "", row->help);
	}
	fputs("  -h, --help\n  -V, --version\n", to);
}
