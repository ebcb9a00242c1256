/*
 * The configured URL (covers url.c): what is accepted has a host, a port and a target that is
 * printable ASCII.
 */
#include <string.h>

#include "portal/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const uint8_t key[32];
	struct portal_url url;
	char text[2048], target[4096];
	size_t n;

	if (len >= sizeof(text))
		return 0;
	memcpy(text, data, len);
	text[len] = '\0';
	if (!portal_url_parse(&url, text))
		return 0;
	BUG_ON(url.host[0] == '\0' || url.port == 0);
	n = portal_url_target(&url, text, text, key, target, sizeof(target));
	BUG_ON(n >= sizeof(target));
	for (size_t i = 0; i < n; i++)
		BUG_ON(target[i] <= ' ' || target[i] >= 0x7f);
	return 0;
}
