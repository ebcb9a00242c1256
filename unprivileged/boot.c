#include "boot.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Linux 6.3; older kernels and their headers do not know it. */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

enum {
	BOOT_SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE
};

void boot_init(struct boot *boot)
{
	memset(boot, 0, sizeof(*boot));
	boot->magic = BOOT_MAGIC;
	boot->version = BOOT_VERSION;
	boot->size = sizeof(*boot);
	boot->health_fd = -1;
}

static int write_whole(int fd, const struct boot *boot)
{
	const char *at = (const char *)boot;
	size_t left = sizeof(*boot);

	while (left > 0) {
		ssize_t n = write(fd, at, left);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		at += n;
		left -= (size_t)n;
	}
	return 0;
}

int boot_seal(const struct boot *boot)
{
	unsigned int flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	int fd = memfd_create("boot", flags | MFD_NOEXEC_SEAL);
	int rc;

	if (fd < 0 && errno == EINVAL)
		fd = memfd_create("boot", flags);
	if (fd < 0)
		return -errno;
	rc = write_whole(fd, boot);
	if (rc < 0)
		goto close_fd;
	if (fcntl(fd, F_ADD_SEALS, BOOT_SEALS) < 0) {
		rc = -errno;
		goto close_fd;
	}
	return fd;

close_fd:
	close(fd);
	return rc;
}

static bool is_text(const char *field, size_t size)
{
	return memchr(field, '\0', size) != NULL;
}

static bool is_sound(const struct boot *boot)
{
	return boot->magic == BOOT_MAGIC && boot->version == BOOT_VERSION &&
	       boot->size == sizeof(*boot) && is_text(boot->api_url, sizeof(boot->api_url)) &&
	       is_text(boot->external_id, sizeof(boot->external_id)) &&
	       is_text(boot->name, sizeof(boot->name)) &&
	       is_text(boot->user_agent, sizeof(boot->user_agent)) &&
	       is_text(boot->token, sizeof(boot->token)) &&
	       is_text(boot->log_filter, sizeof(boot->log_filter)) &&
	       is_text(boot->health_addr, sizeof(boot->health_addr)) &&
	       is_text(boot->ca_file, sizeof(boot->ca_file)) &&
	       is_text(boot->ca_dir, sizeof(boot->ca_dir)) &&
	       (boot->health_fd == -1 || boot->health_fd == BOOT_FD_HEALTH);
}

/* Reads by position: the writer left the file's offset at the end. */
static bool read_whole(int fd, struct boot *boot)
{
	char *at = (char *)boot;
	size_t done = 0;

	while (done < sizeof(*boot)) {
		ssize_t n = pread(fd, at + done, sizeof(*boot) - done, (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		done += (size_t)n;
	}
	return true;
}

int boot_read(int fd, struct boot *out)
{
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);

	boot_wipe(out);
	if (seals < 0 || (seals & BOOT_SEALS) != BOOT_SEALS)
		return -EBADMSG;
	if (fstat(fd, &st) < 0 || st.st_size != (off_t)sizeof(*out))
		return -EBADMSG;
	if (!read_whole(fd, out) || !is_sound(out)) {
		boot_wipe(out);
		return -EBADMSG;
	}
	return 0;
}

void boot_wipe(struct boot *boot)
{
	sodium_memzero(boot, sizeof(*boot));
}
