/*
 * Text of addresses, endpoints and prefixes: what parses is printed and parsed back to the same
 * value.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "packet/addr.h"

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void check_ip(const char *text, size_t len)
{
	struct ip_addr ip;
	struct ip_addr again;
	char out[IP_TEXT_MAX];

	if (!ip_parse(&ip, text, len))
		return;
	check(ip.family == IP_V4 || ip.family == IP_V6);
	for (size_t i = ip_len(&ip); i < sizeof(ip.bytes); i++)
		check(ip.bytes[i] == 0);
	ip_format(&ip, out);
	check(ip_parse(&again, out, strlen(out)) && ip_eq(&ip, &again));
}

static void check_endpoint(const char *text, size_t len)
{
	struct endpoint ep;
	struct endpoint again;
	char out[ENDPOINT_TEXT_MAX];

	if (!endpoint_parse(&ep, text, len))
		return;
	endpoint_format(&ep, out);
	check(endpoint_parse(&again, out, strlen(out)) && endpoint_eq(&ep, &again));
}

static void check_prefix(const char *text, size_t len)
{
	struct ip_prefix prefix;
	struct ip_prefix again;
	struct ip_addr last;
	char ip[IP_TEXT_MAX];
	char out[IP_TEXT_MAX + 8];

	if (!ip_prefix_parse(&prefix, text, len))
		return;
	check(prefix.len <= ip_len(&prefix.ip) * 8 && ip_prefix_has(&prefix, &prefix.ip));
	last = prefix.ip;
	for (size_t bit = prefix.len; bit < ip_len(&last) * 8; bit++)
		last.bytes[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
	check(ip_prefix_has(&prefix, &last));
	if (prefix.len > 0) {
		last.bytes[(prefix.len - 1) / 8] ^= (uint8_t)(0x80 >> (prefix.len - 1) % 8);
		check(!ip_prefix_has(&prefix, &last));
	}
	ip_format(&prefix.ip, ip);
	snprintf(out, sizeof(out), "%s/%u", ip, (unsigned int)prefix.len);
	check(ip_prefix_parse(&again, out, strlen(out)));
	check(again.len == prefix.len && ip_eq(&again.ip, &prefix.ip));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *text = malloc(len > 0 ? len : 1); /* exactly: a read past it is seen */

	check(text != NULL);
	if (len > 0)
		memcpy(text, data, len);
	check_ip(text, len);
	check_endpoint(text, len);
	check_prefix(text, len);
	free(text);
	return 0;
}
