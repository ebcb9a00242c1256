#include "front/agent.h"

#include "front/identity.h"

#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

enum {
	OS_RELEASE_MAX = 8192,
	FIELD_SIZE = 64
};

/* The value of KEY= in an os-release text, quotes removed; "" when there is none. [os-release(5)]
 */
static void os_field(const char *text, size_t len, const char *key, char out[FIELD_SIZE])
{
	size_t key_len = strlen(key), n = 0;
	const char *end = text + len;

	out[0] = '\0';
	while (text < end) {
		const char *eol = memchr(text, '\n', (size_t)(end - text));
		size_t line = (size_t)((eol ? eol : end) - text);

		if (line > key_len && memcmp(text, key, key_len) == 0 && text[key_len] == '=') {
			for (size_t i = key_len + 1; i < line && n + 1 < FIELD_SIZE; i++) {
				if (text[i] != '"' && text[i] != '\'' && text[i] > ' ' &&
				    text[i] <= '~')
					out[n++] = text[i];
			}
			out[n] = '\0';
			return;
		}
		text += line + 1;
	}
}

/* "12" becomes "12.0.0"; text that is not numbers and points becomes "0.0.0". */
static void three_numbers(const char *version, char *out, size_t size)
{
	size_t points = 0;

	if (version[0] == '\0' || version[strspn(version, "0123456789.")] != '\0')
		version = "0";
	for (const char *at = version; *at != '\0'; at++)
		points += *at == '.';
	snprintf(out, size, "%s%s", version, points == 0 ? ".0.0" : points == 1 ? ".0" : "");
}

void agent_format(const char *os_release, size_t len, const char *arch, const char *kernel,
		  char *out, size_t size)
{
	char id[FIELD_SIZE], version_id[FIELD_SIZE], version[FIELD_SIZE + 8];

	os_field(os_release, len, "ID", id);
	os_field(os_release, len, "VERSION_ID", version_id);
	if (id[0] == '\0')
		snprintf(id, sizeof(id), "linux");
	id[0] = (char)toupper((unsigned char)id[0]);
	three_numbers(version_id, version, sizeof(version));
	snprintf(out, size, "%s/%s gateway/" AGENT_VERSION " (%s; %s)", id, version, arch, kernel);
	for (char *at = out; *at != '\0'; at++) {
		if (*at < ' ' || *at > '~')
			*at = '-';
	}
}

static size_t read_text(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t n;

	if (fd < 0)
		return 0;
	n = read(fd, buf, size);
	close(fd);
	return n > 0 ? (size_t)n : 0;
}

void agent_user_agent(char *out, size_t size)
{
	char text[OS_RELEASE_MAX];
	struct utsname host;
	size_t len;

	if (uname(&host) < 0)
		memset(&host, 0, sizeof(host));
	len = read_text("/etc/os-release", text, sizeof(text));
	if (len == 0)
		len = read_text("/usr/lib/os-release", text, sizeof(text));
	agent_format(text, len, host.machine, host.release, out, size);
}

/* Length of the sequence that starts at @at, 0 when it is malformed. */
static size_t utf8_sequence(const unsigned char *at)
{
	size_t len = at[0] < 0x80   ? 1
		     : at[0] < 0xc2 ? 0
		     : at[0] < 0xe0 ? 2
		     : at[0] < 0xf0 ? 3
		     : at[0] < 0xf5 ? 4
				    : 0;

	for (size_t i = 1; i < len; i++) {
		if ((at[i] & 0xc0) != 0x80)
			return 0;
	}
	/* Overlong forms, surrogates and what lies beyond U+10FFFF. */
	if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f) ||
	    (at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f))
		return 0;
	return len;
}

bool agent_is_utf8(const char *text)
{
	const unsigned char *at = (const unsigned char *)text;

	while (*at != '\0') {
		size_t len = utf8_sequence(at);

		if (len == 0)
			return false;
		at += len;
	}
	return true;
}

bool agent_name(const char *given, char *out, size_t size)
{
	char host[HOST_NAME_MAX + 1] = "";

	if (given && given[0] != '\0')
		return (size_t)snprintf(out, size, "%s", given) < size;
	if (gethostname(host, sizeof(host) - 1) == 0 && host[0] != '\0' && agent_is_utf8(host))
		return (size_t)snprintf(out, size, "%s", host) < size;
	if (size < 37)
		return false;
	identity_random_uuid(out);
	return true;
}
