#include "front/identity.h"

#include "base/uuid.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The product's application id; the key is these characters, not what they encode. */
static const char app_id[] = "753b38f9f96947ef8083802d5909a372";

enum {
	ID_FILE_MAX = 4096,
	ID_FILE_MODE = 0640,
	ID_DIR_MODE = 0770,
	HASH_TEXT = 2 * crypto_hash_sha256_BYTES + 1,
};

struct identity_places identity_places(void)
{
	return (struct identity_places){.dir = "/var/lib/firezone",
					.machine_id = "/etc/machine-id"};
}

static void hash_text(const char *text, char out[HASH_TEXT])
{
	uint8_t hash[crypto_hash_sha256_BYTES];

	crypto_hash_sha256(hash, (const uint8_t *)text, strlen(text));
	sodium_bin2hex(out, HASH_TEXT, hash, sizeof(hash));
}

static bool is_32_digits(const char *text, size_t len)
{
	return len == 32 && strspn(text, "0123456789abcdefABCDEF") == len;
}

static bool is_uuid(const char *text)
{
	static const char urn[] = "urn:uuid:";
	size_t len = strlen(text);
	struct uuid uuid;

	if (is_32_digits(text, len))
		return true;
	if (len == UUID_TEXT_LEN + 2 && text[0] == '{' && text[len - 1] == '}')
		return uuid_parse(&uuid, text + 1, UUID_TEXT_LEN);
	if (strncmp(text, urn, strlen(urn)) == 0)
		return uuid_parse(&uuid, text + strlen(urn), len - strlen(urn));
	return uuid_parse(&uuid, text, len);
}

bool identity_external(const char *id, char *out, size_t size)
{
	if (is_uuid(id)) {
		if (size < HASH_TEXT)
			return false;
		hash_text(id, out);
		return true;
	}
	return (size_t)snprintf(out, size, "%s", id) < size;
}

void identity_random_uuid(char out[37])
{
	struct uuid uuid;

	randombytes_buf(uuid.bytes, sizeof(uuid.bytes));
	uuid.bytes[6] = (uint8_t)((uuid.bytes[6] & 0x0f) | 0x40);
	uuid.bytes[8] = (uint8_t)((uuid.bytes[8] & 0x3f) | 0x80);
	uuid_format(&uuid, out);
}

/* Reads a small file whole. Its length, or a negative errno. */
static ssize_t read_small(const char *path, char *buf, size_t size)
{
	size_t done = 0;
	ssize_t n;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd < 0)
		return -errno;
	do {
		n = read(fd, buf + done, size - done);
		if (n > 0)
			done += (size_t)n;
	} while ((n > 0 && done < size) || (n < 0 && errno == EINTR));
	n = n < 0 ? -errno : (ssize_t)done;
	close(fd);
	return done == size ? -EFBIG : n;
}

static bool id_from_json(const char *text, size_t len, char *out, size_t size)
{
	cJSON *json = cJSON_ParseWithLength(text, len);
	const char *id = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "id"));
	bool good = id && id[0] != '\0' && (size_t)snprintf(out, size, "%s", id) < size;

	cJSON_Delete(json);
	return good;
}

/* 0, -ENOENT without a file, another negative errno when it holds no usable id. */
static int id_from_file(const char *path, char *out, size_t size, char *warning, size_t warning_len)
{
	char text[ID_FILE_MAX];
	ssize_t len = read_small(path, text, sizeof(text));

	if (len < 0)
		return (int)len;
	if (!id_from_json(text, (size_t)len, out, size))
		return -EINVAL;
	if (chmod(path, ID_FILE_MODE) < 0)
		snprintf(warning, warning_len, "The mode of %s could not be set to 0640: %s.", path,
			 strerror(errno));
	return 0;
}

static bool id_from_machine(const char *path, char *out, size_t size)
{
	crypto_auth_hmacsha256_state state;
	uint8_t hash[crypto_auth_hmacsha256_BYTES];
	char text[ID_FILE_MAX];
	ssize_t len = read_small(path, text, sizeof(text));

	if (len <= 0 || size < HASH_TEXT)
		return false;
	crypto_auth_hmacsha256_init(&state, (const uint8_t *)app_id, strlen(app_id));
	crypto_auth_hmacsha256_update(&state, (const uint8_t *)text, (size_t)len);
	crypto_auth_hmacsha256_final(&state, hash);
	sodium_bin2hex(out, size, hash, sizeof(hash));
	return true;
}

static int write_all(int fd, const char *text, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, text, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		text += n;
		len -= (size_t)n;
	}
	return fsync(fd) < 0 ? -errno : 0;
}

/* Whole or not at all, and never over a file that is there. */
static int write_new(const char *dir, const char *path, const char *text)
{
	char temporary[PATH_MAX];
	int fd, rc;

	if ((size_t)snprintf(temporary, sizeof(temporary), "%s/.gateway_id.XXXXXX", dir) >=
	    sizeof(temporary))
		return -ENAMETOOLONG;
	fd = mkostemp(temporary, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	rc = write_all(fd, text, strlen(text));
	if (rc == 0 && fchmod(fd, ID_FILE_MODE) < 0)
		rc = -errno;
	close(fd);
	if (rc == 0 && link(temporary, path) < 0)
		rc = -errno;
	unlink(temporary);
	return rc;
}

static int id_at_random(const char *dir, const char *path, char *out, size_t size)
{
	char uuid[UUID_TEXT_LEN + 1], id[HASH_TEXT], text[HASH_TEXT + 16];
	int rc;

	identity_random_uuid(uuid);
	hash_text(uuid, id);
	snprintf(text, sizeof(text), "{\"id\":\"%s\"}\n", id);
	rc = write_new(dir, path, text);
	if (rc == 0 && (size_t)snprintf(out, size, "%s", id) >= size)
		rc = -ENAMETOOLONG;
	return rc;
}

/* The directory and its parents; those that exist are left as they are, but for the last one's
 * mode. */
static void make_dir(const char *dir)
{
	char path[PATH_MAX];
	size_t len = strlen(dir);

	if (len >= sizeof(path))
		return;
	memcpy(path, dir, len + 1);
	for (size_t i = 1; i < len; i++) {
		if (path[i] != '/')
			continue;
		path[i] = '\0';
		(void)!mkdir(path, 0755);
		path[i] = '/';
	}
	if (mkdir(path, ID_DIR_MODE) == 0 || errno == EEXIST)
		(void)!chmod(path, ID_DIR_MODE);
}

int identity_find(const char *given, const struct identity_places *places, char *out, size_t size,
		  char *warning, size_t warning_len, char *err, size_t err_len)
{
	char path[PATH_MAX];
	int rc;

	warning[0] = '\0';
	if (given && given[0] != '\0') {
		if ((size_t)snprintf(out, size, "%s", given) < size)
			return 0;
		snprintf(err, err_len, "FIREZONE_ID is longer than %zu bytes: give a shorter one.",
			 size - 1);
		return -EINVAL;
	}
	if ((size_t)snprintf(path, sizeof(path), "%s/gateway_id", places->dir) >= sizeof(path))
		return -ENAMETOOLONG;
	make_dir(places->dir);
	rc = id_from_file(path, out, size, warning, warning_len);
	if (rc == 0 || id_from_machine(places->machine_id, out, size))
		return 0;
	if (rc == -ENOENT)
		rc = id_at_random(places->dir, path, out, size);
	if (rc < 0)
		snprintf(err, err_len,
			 "There is no identity (%s: %s): set FIREZONE_ID, or give read and write "
			 "access to %s/.",
			 path, rc == -EINVAL ? "holds no usable id" : strerror(-rc), places->dir);
	return rc;
}
