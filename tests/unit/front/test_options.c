#include "front/options.h"
#include "ipc/ipc.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum {
	MAX_WORDS = 8
};

/* The struct points into argv and the environment of the latest reading. */
static char text[2 * MAX_WORDS][128];

static enum options_result read_with(struct options *out, const char *const argv[],
				     const char *const environment[])
{
	char program[] = "firezone-gateway";
	char *args[MAX_WORDS + 2] = {program};
	char *vars[MAX_WORDS + 1] = {NULL};
	size_t n = 0, argc = 1;

	for (size_t i = 0; argv && argv[i]; i++) {
		snprintf(text[n], sizeof(text[n]), "%s", argv[i]);
		args[argc++] = text[n++];
	}
	for (size_t i = 0; environment && environment[i]; i++) {
		snprintf(text[n], sizeof(text[n]), "%s", environment[i]);
		vars[i] = text[n++];
	}
	return options_read(out, (int)argc, args, vars);
}

#define ARGV(...) ((const char *const[]){__VA_ARGS__, NULL})
#define ENV(...)  ((const char *const[]){__VA_ARGS__, NULL})

static void defaults_are_the_documented_ones(void **state)
{
	struct options o;

	(void)state;
	assert_int_equal(read_with(&o, NULL, NULL), OPTIONS_RUN);
	assert_string_equal(o.api_url, "wss://api.firezone.dev");
	assert_int_equal(o.url.port, 443);
	assert_string_equal(o.health_addr, "0.0.0.0:8080");
	assert_int_equal(o.log_format, LOG_HUMAN);
	assert_string_equal(o.log_filter, "info");
	assert_int_equal(o.max_partition_us, 86400 * US_PER_S);
	assert_int_equal(o.first_connect_us, 15 * US_PER_S);
	assert_int_equal(o.udp_recv_buffer, 16 << 20);
	assert_int_equal(o.udp_send_buffer, 2 << 20);
	assert_false(o.no_check || o.flow_logs || o.no_gso || o.no_udp_coalesce ||
		     o.sandbox_strict);
	assert_null(o.id);
	assert_int_equal(o.warning_count, 0);
}

static void flag_beats_variable(void **state)
{
	struct options o;

	(void)state;
	assert_int_equal(
	    read_with(&o, ARGV("-u", "ws://flag:1", "--log-format=json", "-m", "5m", "--flow-logs"),
		      ENV("FIREZONE_API_URL=ws://variable:2", "FIREZONE_LOG_FORMAT=nonsense",
			  "FIREZONE_MAX_PARTITION_TIME=1h", "FIREZONE_NO_GSO=yes")),
	    OPTIONS_RUN);
	assert_int_equal(o.url.port, 1);
	assert_int_equal(o.log_format, LOG_JSON);
	assert_int_equal(o.max_partition_us, 300 * US_PER_S);
	assert_true(o.flow_logs && o.no_gso);
}

static void empty_values_count_as_unset(void **state)
{
	struct options o;

	(void)state;
	assert_int_equal(
	    read_with(&o, ARGV("--firezone-id", ""),
		      ENV("FIREZONE_API_URL=", "FIREZONE_LOG_FORMAT=", "FIREZONE_FLOW_LOGS=",
			  "HEALTH_CHECK_ADDR=", "FIREZONE_ID=from-variable", "RUST_LOG=")),
	    OPTIONS_RUN);
	assert_string_equal(o.api_url, "wss://api.firezone.dev");
	assert_string_equal(o.id, "from-variable");
	assert_string_equal(o.log_filter, "info");
	assert_int_equal(o.warning_count, 0);
}

static void malformed_values_name_their_place(void **state)
{
	static const char *const bad[] = {
	    "FIREZONE_API_URL=ftp://x",
	    "HEALTH_CHECK_ADDR=8080",
	    "FIREZONE_LOG_FORMAT=JSON",
	    "FIREZONE_FLOW_LOGS=maybe",
	    "FIREZONE_METRICS=loud",
	    "FIREZONE_MAX_PARTITION_TIME=5",
	    "FIREZONE_FIRST_CONNECT_TIMEOUT=x",
	    "FIREZONE_NO_TELEMETRY=2",
	    "FIREZONE_NO_INC_BUF=x",
	    "FIREZONE_SANDBOX=loose",
	    "FIREZONE_AUDIT_LOG=relative",
	    "FIREZONE_NO_GSO=x",
	    "FIREZONE_VALIDATE_CHECKSUMS=x",
	    "FIREZONE_NO_UDP_COALESCE=x",
	    "FIREZONE_NAME=\xff",
	};
	struct options o;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char name[64];

		snprintf(name, sizeof(name), "%.*s", (int)strcspn(bad[i], "="), bad[i]);
		if (read_with(&o, NULL, ENV(bad[i])) != OPTIONS_USAGE_ERROR)
			fail_msg("%s was accepted", bad[i]);
		assert_non_null(strstr(o.error, name));
	}
	assert_int_equal(read_with(&o, ARGV("--log-format", "xml"), NULL), OPTIONS_USAGE_ERROR);
	assert_non_null(strstr(o.error, "--log-format"));
	assert_non_null(strstr(o.error, "human or json"));
}

static void wrong_usage_is_refused(void **state)
{
	struct options o;

	(void)state;
	assert_int_equal(read_with(&o, ARGV("--nonsense"), NULL), OPTIONS_USAGE_ERROR);
	assert_int_equal(read_with(&o, ARGV("-i"), NULL), OPTIONS_USAGE_ERROR);
	assert_int_equal(read_with(&o, ARGV("--flow-logs=true"), NULL), OPTIONS_USAGE_ERROR);
	assert_int_equal(read_with(&o, ARGV("token", "secretword"), NULL), OPTIONS_USAGE_ERROR);
	assert_null(strstr(o.error, "secretword"));
	assert_int_equal(read_with(&o, ARGV("--help"), NULL), OPTIONS_HELP);
	assert_int_equal(read_with(&o, ARGV("-V"), NULL), OPTIONS_VERSION);
}

static void unknown_variables_are_warned_about(void **state)
{
	struct options o;

	(void)state;
	assert_int_equal(
	    read_with(&o, NULL,
		      ENV("FIREZONE_NONSENSE=1", "FIREZONE_ENABLE_MASQUERADE=1", "OTHER=1",
			  "FIREZONE_NUM_TUN_THREADS=2", "LOG_FORMAT=x", "FIREZONE_IDX=1")),
	    OPTIONS_RUN);
	assert_int_equal(o.warning_count, 2);
	assert_non_null(strstr(o.warnings[0], "FIREZONE_NONSENSE"));
	assert_non_null(strstr(o.warnings[1], "FIREZONE_IDX"));
}

static void bad_buffer_sizes_only_warn(void **state)
{
	struct options o;

	(void)state;
	assert_int_equal(read_with(&o, NULL,
				   ENV("FIREZONE_UDP_SEND_BUFFER_SIZE=lots",
				       "FIREZONE_UDP_RECV_BUFFER_SIZE=65536")),
			 OPTIONS_RUN);
	assert_int_equal(o.warning_count, 1);
	assert_int_equal(o.udp_send_buffer, IPC_SEND_BUFFER_DEFAULT);
	assert_int_equal(o.udp_recv_buffer, 65536);
}

static void token_sources_are_kept_apart(void **state)
{
	struct options o;

	(void)state;
	assert_int_equal(
	    read_with(&o, ARGV("from-argument"),
		      ENV("FIREZONE_TOKEN=from-variable", "CREDENTIALS_DIRECTORY=/run/x")),
	    OPTIONS_RUN);
	assert_string_equal(o.token_argument, "from-argument");
	assert_string_equal(o.token_variable, "from-variable");
	assert_string_equal(o.credentials_dir, "/run/x");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(defaults_are_the_documented_ones),
	    cmocka_unit_test(flag_beats_variable),
	    cmocka_unit_test(empty_values_count_as_unset),
	    cmocka_unit_test(malformed_values_name_their_place),
	    cmocka_unit_test(wrong_usage_is_refused),
	    cmocka_unit_test(unknown_variables_are_warned_about),
	    cmocka_unit_test(bad_buffer_sizes_only_warn),
	    cmocka_unit_test(token_sources_are_kept_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
