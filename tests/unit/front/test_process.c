#include "front/helper_start.h"
#include "front/process.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void manager_variables_are_kept_and_no_others(void **state)
{
	char *environment[] = {(char[]){"PATH=/bin"},
			       (char[]){"FIREZONE_TOKEN=secret"},
			       (char[]){"NOTIFY_SOCKET=/run/n"},
			       (char[]){"LD_PRELOAD=x"},
			       (char[]){"INVOCATION_ID=1"},
			       (char[]){"CREDENTIALS_DIRECTORY=/c"},
			       NULL};
	char *kept[PROCESS_MANAGER_VARS + 1];

	(void)state;
	process_manager_environment(environment, kept);
	assert_string_equal(kept[0], "NOTIFY_SOCKET=/run/n");
	assert_string_equal(kept[1], "INVOCATION_ID=1");
	assert_null(kept[2]);
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

/* The child's verdict as exit status, because it rearranges its own fds. */
static int place_in_child(void)
{
	int a = open("/dev/null", O_RDONLY | O_CLOEXEC),
	    b = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	int stray = fcntl(a, F_DUPFD, 40);
	struct stat st3, st5, null, zero;
	/* b goes where a is, a behind it. */
	int fds[3] = {b, -1, a};

	if (stat("/dev/null", &null) < 0 || stat("/dev/zero", &zero) < 0)
		return 1;
	if (process_place_fds(fds, 3, a) < 0)
		return 2;
	if (fstat(a, &st3) < 0 || fstat(a + 2, &st5) < 0 || st3.st_rdev != zero.st_rdev ||
	    st5.st_rdev != null.st_rdev)
		return 3;
	if (is_open(a + 1) || is_open(stray) || is_open(a + 3))
		return 4;
	return fcntl(a, F_GETFD) & FD_CLOEXEC ? 5 : 0;
}

static void fds_land_in_order_and_strays_are_closed(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0)
		_exit(place_in_child());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static int stdio_in_child(void)
{
	close(0);
	close(2);
	if (process_open_stdio() < 0)
		return 1;
	return is_open(0) && is_open(1) && is_open(2) && !is_open(3) ? 0 : 2;
}

static void closed_standard_fds_are_filled(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		closefrom(3);
		_exit(stdio_in_child());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

struct helper_file {
	char path[64];
};

static int make_file(void **state)
{
	struct helper_file *file = calloc(1, sizeof(*file));
	int fd;

	strcpy(file->path, "/tmp/fzgw-helper-XXXXXX");
	fd = mkstemp(file->path);
	assert_true(fd >= 0);
	close(fd);
	*state = file;
	return 0;
}

static int remove_file(void **state)
{
	struct helper_file *file = *state;

	unlink(file->path);
	free(file);
	return 0;
}

static void helper_that_others_can_change_is_refused(void **state)
{
	static const mode_t bad[] = {0757, 0770, 0777};
	struct helper_file *file = *state;
	char err[1024];

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_int_equal(chmod(file->path, bad[i]), 0);
		assert_int_equal(helper_start_check_file(file->path, err, sizeof(err)), -EPERM);
		assert_non_null(strstr(err, "setcap cap_net_admin=p"));
	}
	if (getuid() != 0)
		return;
	assert_int_equal(chmod(file->path, 0750), 0);
	assert_int_equal(helper_start_check_file(file->path, err, sizeof(err)), 0);
	assert_int_equal(chown(file->path, 1000, 0), 0);
	assert_int_equal(helper_start_check_file(file->path, err, sizeof(err)), -EPERM);
}

static void missing_and_not_executable_helpers_are_told_apart(void **state)
{
	struct helper_file *file = *state;
	char err[1024];

	assert_int_equal(helper_start_check_file("/nonexistent/helper", err, sizeof(err)), -ENOENT);
	assert_non_null(strstr(err, "missing"));
	if (getuid() != 0)
		return;
	assert_int_equal(chmod(file->path, 0640), 0);
	assert_int_equal(helper_start_check_file(file->path, err, sizeof(err)), -EACCES);
	assert_non_null(strstr(err, "0750"));
}

static void program_that_is_no_helper_gives_one_sentence(void **state)
{
	const struct ipc_policy policy = {.tun_name = "tun-test"};
	struct helper_start out;
	char err[1024];

	(void)state;
	assert_true(
	    helper_start("/bin/true", &policy, STDERR_FILENO, true, &out, err, sizeof(err)) < 0);
	assert_non_null(strstr(err, "/bin/true"));
	assert_null(strchr(err, '\n'));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(manager_variables_are_kept_and_no_others),
	    cmocka_unit_test(fds_land_in_order_and_strays_are_closed),
	    cmocka_unit_test(closed_standard_fds_are_filled),
	    cmocka_unit_test_setup_teardown(helper_that_others_can_change_is_refused, make_file,
					    remove_file),
	    cmocka_unit_test_setup_teardown(missing_and_not_executable_helpers_are_told_apart,
					    make_file, remove_file),
	    cmocka_unit_test(program_that_is_no_helper_gives_one_sentence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
