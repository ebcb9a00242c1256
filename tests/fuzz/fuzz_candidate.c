/*
 * Candidate texts: what parses prints in our form, and that form parses to the same candidate.
 */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/defs.h"
#include "ice/candidate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_round_trip(const struct candidate *c)
{
	char text[CANDIDATE_TEXT_MAX], again[CANDIDATE_TEXT_MAX];
	struct candidate back;
	size_t n = candidate_format(c, "6frn", text, sizeof(text));

	BUG_ON(n == 0 || n != strlen(text));
	BUG_ON(!candidate_parse(&back, text, n, "6frn"));
	BUG_ON(candidate_parse(&back, text, n, "hzxq"));
	BUG_ON(back.kind != c->kind || back.priority != c->priority);
	BUG_ON(!endpoint_eq(&back.addr, &c->addr));
	BUG_ON(candidate_format(&back, "6frn", again, sizeof(again)) != n);
	BUG_ON(strcmp(text, again) != 0);
	BUG_ON(candidate_format(c, "6frn", again, n) != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct candidate c = {.priority = 77, .relay_family = 99};

	if (sodium_init() < 0)
		return 0;
	if (!candidate_parse(&c, (const char *)data, len, NULL)) {
		BUG_ON(c.priority != 77 || c.relay_family != 99 || c.addr.port != 0);
		return 0;
	}
	BUG_ON(len >= CANDIDATE_TEXT_MAX || c.kind > CANDIDATE_RELAY);
	BUG_ON(c.addr.ip.family != IP_V4 && c.addr.ip.family != IP_V6);
	BUG_ON(!endpoint_eq(&c.addr, &c.base));
	BUG_ON(candidate_addr_usable(&c.addr) && (c.addr.port == 0 || ip_is_loopback(&c.addr.ip)));
	check_round_trip(&c);
	return 0;
}
