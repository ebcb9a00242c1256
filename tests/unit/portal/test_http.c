#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "portal/http.h"

/* RFC 6455 section 1.3's sample. */
static const char key[HTTP_WS_KEY_LEN + 1] = "dGhlIHNhbXBsZSBub25jZQ==";
#define ACCEPT "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
#define UP     "Upgrade: WebSocket\r\nConnection: keep-alive, upgrade\r\n"

static struct http_answer read_all(const char *text)
{
	struct http_answer answer;

	assert_int_equal(http_answer_read(&answer, text, strlen(text), key, 1000), HTTP_DONE);
	return answer;
}

static void request_has_the_headers_the_portal_wants_and_no_others(void **state)
{
	struct http_upgrade u = {
	    .host = "api.firezone.dev", .target = "/t?x=1", .user_agent = "ua", .token = "tok"};
	char out[1024];
	size_t len;

	(void)state;
	memcpy(u.key, key, sizeof(u.key));
	len = http_upgrade_write(&u, out, sizeof(out));
	assert_int_equal(len, strlen(out));
	assert_non_null(strstr(out, "\r\nHost: api.firezone.dev\r\n"));
	assert_non_null(strstr(out, "\r\nX-Authorization: Bearer tok\r\n"));
	assert_non_null(strstr(out, "\r\nSec-WebSocket-Version: 13\r\n"));
	assert_null(strstr(out, "Origin"));
	assert_null(strstr(out, "Extensions"));
	assert_null(strstr(out, "Protocol"));
	assert_int_equal(http_upgrade_write(&u, out, 60), 0);
}

static void right_upgrade_is_accepted(void **state)
{
	(void)state;
	assert_true(read_all("HTTP/1.1 101 Switching Protocols\r\n" UP ACCEPT "\r\n").upgraded);
}

static void wrong_accept_protocol_or_extension_is_refused(void **state)
{
	(void)state;
	assert_false(
	    read_all("HTTP/1.1 101 X\r\n" UP "Sec-WebSocket-Accept: AAAA\r\n\r\n").upgraded);
	assert_false(read_all("HTTP/1.1 101 X\r\n" UP "\r\n").upgraded);
	assert_false(read_all("HTTP/1.1 101 X\r\nUpgrade: websocket\r\n" ACCEPT "\r\n").upgraded);
	assert_false(
	    read_all("HTTP/1.1 101 X\r\n" UP ACCEPT "Sec-WebSocket-Protocol: a\r\n\r\n").upgraded);
	assert_false(read_all("HTTP/1.1 200 OK\r\n" UP ACCEPT "\r\n").upgraded);
}

static void retry_after_seconds_date_and_garbage(void **state)
{
	(void)state;
	assert_int_equal(read_all("HTTP/1.1 503 X\r\nretry-after: 7\r\n\r\n").retry_after_s, 7);
	assert_int_equal(
	    read_all("HTTP/1.1 503 X\r\nRetry-After: Thu, 01 Jan 1970 00:17:00 GMT\r\n\r\n")
		.retry_after_s,
	    20);
	assert_int_equal(
	    read_all("HTTP/1.1 503 X\r\nRetry-After: Thu, 01 Jan 1970 00:00:01 GMT\r\n\r\n")
		.retry_after_s,
	    0);
	assert_int_equal(read_all("HTTP/1.1 503 X\r\nRetry-After: soon\r\n\r\n").retry_after_s,
			 HTTP_NO_RETRY_AFTER);
	assert_int_equal(read_all("HTTP/1.1 503 X\r\nRetry-After: -1\r\n\r\n").retry_after_s,
			 HTTP_NO_RETRY_AFTER);
}

static void partial_and_broken_answers(void **state)
{
	static char huge[HTTP_MAX_HEADERS + 8];
	struct http_answer answer;

	(void)state;
	assert_int_equal(http_answer_read(&answer, "HTTP/1.1 101", 12, key, 0), HTTP_MORE);
	assert_int_equal(http_answer_read(&answer, "SSH-2.0-x\r\n\r\n", 13, key, 0), HTTP_BAD);
	assert_int_equal(http_answer_read(&answer, "HTTP/1.1 1O1 X\r\n\r\n", 18, key, 0), HTTP_BAD);
	memset(huge, 'a', sizeof(huge));
	assert_int_equal(http_answer_read(&answer, huge, sizeof(huge), key, 0), HTTP_BAD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(request_has_the_headers_the_portal_wants_and_no_others),
	    cmocka_unit_test(right_upgrade_is_accepted),
	    cmocka_unit_test(wrong_accept_protocol_or_extension_is_refused),
	    cmocka_unit_test(retry_after_seconds_date_and_garbage),
	    cmocka_unit_test(partial_and_broken_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
