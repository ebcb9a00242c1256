#include "front/values.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Nanoseconds per unit. A month is 30.44 days, a year 365.25. */
static const struct unit {
	const char *name;
	double ns;
} units[] = {
    {"ns", 1},
    {"nsec", 1},
    {"nanos", 1},
    {"us", 1e3},
    {"usec", 1e3},
    {"ms", 1e6},
    {"msec", 1e6},
    {"millis", 1e6},
    {"s", 1e9},
    {"sec", 1e9},
    {"secs", 1e9},
    {"second", 1e9},
    {"seconds", 1e9},
    {"m", 60e9},
    {"min", 60e9},
    {"mins", 60e9},
    {"minute", 60e9},
    {"minutes", 60e9},
    {"h", 3600e9},
    {"hr", 3600e9},
    {"hrs", 3600e9},
    {"hour", 3600e9},
    {"hours", 3600e9},
    {"d", 86400e9},
    {"day", 86400e9},
    {"days", 86400e9},
    {"w", 604800e9},
    {"wk", 604800e9},
    {"wks", 604800e9},
    {"week", 604800e9},
    {"weeks", 604800e9},
    {"M", 30.44 * 86400e9},
    {"month", 30.44 * 86400e9},
    {"months", 30.44 * 86400e9},
    {"y", 365.25 * 86400e9},
    {"yr", 365.25 * 86400e9},
    {"yrs", 365.25 * 86400e9},
    {"year", 365.25 * 86400e9},
    {"years", 365.25 * 86400e9},
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static const char *skip_blanks(const char *at)
{
	return at + strspn(at, " \t");
}

/* Digits with at most one point, at least one digit in front of it and behind it. */
static const char *read_number(const char *at, double *out)
{
	double value = 0, scale = 1;

	if (!is_digit(*at))
		return NULL;
	for (; is_digit(*at); at++)
		value = value * 10 + (*at - '0');
	if (*at == '.') {
		at++;
		if (!is_digit(*at))
			return NULL;
		for (; is_digit(*at); at++) {
			scale /= 10;
			value += scale * (*at - '0');
		}
	}
	*out = value;
	return at;
}

static const char *read_unit(const char *at, double *ns)
{
	size_t len = 0;

	while (is_letter(at[len]))
		len++;
	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		if (strlen(units[i].name) == len && memcmp(units[i].name, at, len) == 0) {
			*ns = units[i].ns;
			return at + len;
		}
	}
	return NULL;
}

bool value_duration(const char *text, uint64_t *out_us)
{
	const double limit_ns = 9.2e21;
	const char *at = skip_blanks(text);
	double sum_ns = 0;

	if (*at == '0' && *skip_blanks(at + 1) == '\0') {
		*out_us = 0;
		return true;
	}
	do {
		double number, unit_ns;

		at = read_number(at, &number);
		if (!at)
			return false;
		at = read_unit(skip_blanks(at), &unit_ns);
		if (!at)
			return false;
		sum_ns += number * unit_ns;
		if (!(sum_ns < limit_ns))
			return false;
		at = skip_blanks(at);
	} while (*at != '\0');
	/* Half a nanosecond makes up for what a decimal fraction loses in binary. */
	*out_us = (uint64_t)((sum_ns + 0.5) / 1e3);
	return true;
}

bool value_bool(const char *text, bool *out)
{
	static const struct {
		const char *word;
		bool value;
	} words[] = {
	    {"true", true}, {"false", false}, {"1", true},  {"0", false},
	    {"yes", true},  {"no", false},    {"on", true}, {"off", false},
	};

	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		if (strcasecmp(text, words[i].word) == 0) {
			*out = words[i].value;
			return true;
		}
	}
	return false;
}

bool value_size(const char *text, uint32_t low, uint32_t high, uint32_t *out)
{
	size_t len = strlen(text);
	unsigned long value;

	if (len == 0 || len > 10 || strspn(text, "0123456789") != len)
		return false;
	value = strtoul(text, NULL, 10);
	if (value < low || value > high)
		return false;
	*out = (uint32_t)value;
	return true;
}

bool value_ip_port(const char *text, struct sockaddr_in6 *out)
{
	char host[INET6_ADDRSTRLEN + 2];
	const char *colon = strrchr(text, ':');
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	uint32_t port;
	size_t len;

	if (!colon || !value_size(colon + 1, 1, UINT16_MAX, &port))
		return false;
	len = (size_t)(colon - text);
	if (len < 2 || len >= sizeof(host))
		return false;
	memcpy(host, text, len);
	host[len] = '\0';
	if (host[0] == '[' && host[len - 1] == ']') {
		host[len - 1] = '\0';
		v6.sin6_port = htons((uint16_t)port);
		if (inet_pton(AF_INET6, host + 1, &v6.sin6_addr) != 1)
			return false;
		*out = v6;
		return true;
	}
	v4.sin_port = htons((uint16_t)port);
	if (inet_pton(AF_INET, host, &v4.sin_addr) != 1)
		return false;
	memset(out, 0, sizeof(*out));
	memcpy(out, &v4, sizeof(v4));
	return true;
}
