#include "front/token.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
	TOKEN_FILE_MAX = 4096
};

static bool is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Length of what was kept, 0 when it was all white space, or -EINVAL. */
static int strip(const char *text, size_t len, char *out, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		if (is_blank(text[i]))
			continue;
		if (text[i] < '!' || text[i] > '~' || n + 1 >= size) {
			sodium_memzero(out, size);
			return -EINVAL;
		}
		out[n++] = text[i];
	}
	out[n] = '\0';
	return (int)n;
}

/* Bytes read, or a negative errno. A file that is longer than any token can be is -EFBIG. */
static ssize_t read_file(const char *path, char *buf, size_t size)
{
	size_t done = 0;
	ssize_t n = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return -errno;
	while (done < size) {
		n = read(fd, buf + done, size - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	n = n < 0 ? -errno : (ssize_t)done;
	close(fd);
	return done == size ? -EFBIG : n;
}

static int read_credential(const char *dir, char *out, size_t size, char *err, size_t err_len)
{
	char path[PATH_MAX], text[TOKEN_FILE_MAX];
	ssize_t len = -ENAMETOOLONG;
	int n;

	if ((size_t)snprintf(path, sizeof(path), "%s/FIREZONE_TOKEN", dir) < sizeof(path))
		len = read_file(path, text, sizeof(text));
	if (len < 0) {
		sodium_memzero(text, sizeof(text));
		snprintf(err, err_len,
			 "Cannot read the FIREZONE_TOKEN systemd credential %s (%s): check "
			 "LoadCredential= in "
			 "the unit, or set FIREZONE_TOKEN.",
			 path, strerror((int)-len));
		return -ENOENT;
	}
	n = strip(text, (size_t)len, out, size);
	sodium_memzero(text, sizeof(text));
	if (n < 0)
		snprintf(err, err_len,
			 "The FIREZONE_TOKEN systemd credential %s is not a token (printable "
			 "ASCII, at most %zu "
			 "characters): copy it again from the portal.",
			 path, size - 1);
	if (n == 0)
		snprintf(err, err_len,
			 "The FIREZONE_TOKEN systemd credential %s is empty: put the token into "
			 "the file that "
			 "LoadCredential= names.",
			 path);
	return n > 0 ? 0 : n < 0 ? -EINVAL : -ENOENT;
}

int token_read(const struct token_sources *sources, char *out, size_t size, enum token_from *from,
	       char *err, size_t err_len)
{
	const struct {
		const char *text, *what;
		enum token_from from;
	} given[] = {
	    {sources->argument, "The token on the command line", TOKEN_FROM_ARGUMENT},
	    {sources->variable, "FIREZONE_TOKEN", TOKEN_FROM_VARIABLE},
	};

	for (size_t i = 0; i < ARRAY_LEN(given); i++) {
		int n = given[i].text ? strip(given[i].text, strlen(given[i].text), out, size) : 0;

		if (n < 0) {
			snprintf(err, err_len,
				 "%s is not a token (printable ASCII, at most %zu characters): "
				 "copy it again "
				 "from the portal.",
				 given[i].what, size - 1);
			return -EINVAL;
		}
		if (n > 0) {
			*from = given[i].from;
			return 0;
		}
	}
	if (!sources->credentials_dir) {
		snprintf(err, err_len,
			 "There is no token: set FIREZONE_TOKEN, or load the FIREZONE_TOKEN "
			 "systemd credential "
			 "(CREDENTIALS_DIRECTORY is not set).");
		return -ENOENT;
	}
	*from = TOKEN_FROM_CREDENTIAL;
	return read_credential(sources->credentials_dir, out, size, err, err_len);
}
