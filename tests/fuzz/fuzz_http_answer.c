/*
 * The portal's answer to the upgrade (covers http.c): lengths stay inside the input, and only a 101
 * counts as upgraded.
 */
#include <string.h>

#include "portal/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const char key[HTTP_WS_KEY_LEN + 1] = "dGhlIHNhbXBsZSBub25jZQ==";
	struct http_answer answer;

	if (http_answer_read(&answer, (const char *)data, len, key, 1790000000) != HTTP_DONE)
		return 0;
	BUG_ON(answer.header_len > len || answer.header_len > HTTP_MAX_HEADERS);
	BUG_ON(answer.body_len > HTTP_MAX_BODY);
	BUG_ON(answer.upgraded && answer.status != 101);
	BUG_ON(answer.retry_after_s < HTTP_NO_RETRY_AFTER);
	return 0;
}
