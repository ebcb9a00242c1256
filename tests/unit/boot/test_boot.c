#include "boot.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static struct boot sample(void)
{
	struct boot boot;

	boot_init(&boot);
	strcpy(boot.api_url, "wss://api.firezone.dev");
	strcpy(boot.external_id, "abc");
	strcpy(boot.token, "secret.token");
	boot.max_partition_us = 7;
	return boot;
}

static void sealed_struct_reads_back_the_same(void **state)
{
	struct boot in = sample(), out;
	int fd = boot_seal(&in);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(boot_read(fd, &out), 0);
	assert_memory_equal(&in, &out, sizeof(in));
	/* A second reader gets it too: reading leaves the offset alone. */
	assert_int_equal(boot_read(fd, &out), 0);
	close(fd);
}

static void sealed_file_refuses_every_change(void **state)
{
	struct boot boot = sample();
	int fd = boot_seal(&boot);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, "x", 1, 0), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(ftruncate(fd, 0), -1);
	assert_int_equal(ftruncate(fd, 1 << 20), -1);
	assert_true(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) < 0);
	assert_true(mmap(NULL, 1, PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);
}

static int raw_file(const void *bytes, size_t len, int seals)
{
	int fd = memfd_create("raw", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), len);
	if (seals)
		assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

static void assert_refused(const void *bytes, size_t len, int seals)
{
	static const struct boot zero;
	struct boot out;
	int fd = raw_file(bytes, len, seals);

	memset(&out, 0x55, sizeof(out));
	assert_int_equal(boot_read(fd, &out), -EBADMSG);
	assert_memory_equal(&out, &zero, sizeof(out));
	close(fd);
}

static void files_not_of_our_making_are_refused(void **state)
{
	const int all = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
	struct boot good = sample(), bad;
	uint8_t longer[sizeof(good) + 1] = {0};

	(void)state;
	memcpy(longer, &good, sizeof(good));
	assert_refused(&good, sizeof(good), 0);
	assert_refused(&good, sizeof(good), all & ~F_SEAL_WRITE);
	assert_refused(&good, sizeof(good) - 1, all);
	assert_refused(longer, sizeof(longer), all);
	bad = good;
	bad.version++;
	assert_refused(&bad, sizeof(bad), all);
	bad = good;
	bad.magic = 0;
	assert_refused(&bad, sizeof(bad), all);
	bad = good;
	memset(bad.token, 'x', sizeof(bad.token));
	assert_refused(&bad, sizeof(bad), all);
	bad = good;
	bad.health_fd = 7;
	assert_refused(&bad, sizeof(bad), all);
}

static void closed_fd_is_refused(void **state)
{
	struct boot out;

	(void)state;
	assert_int_equal(boot_read(-1, &out), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(sealed_struct_reads_back_the_same),
	    cmocka_unit_test(sealed_file_refuses_every_change),
	    cmocka_unit_test(files_not_of_our_making_are_refused),
	    cmocka_unit_test(closed_fd_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
