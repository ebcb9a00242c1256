#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "portal/url.h"

static void schemes_and_default_ports(void **state)
{
	struct portal_url url;

	(void)state;
	assert_true(portal_url_parse(&url, "wss://api.firezone.dev"));
	assert_true(url.tls && url.port == 443);
	assert_string_equal(url.host, "api.firezone.dev");
	assert_string_equal(url.path, "");
	assert_true(portal_url_parse(&url, "http://portal.example/base/?x=1#y"));
	assert_true(!url.tls && url.port == 80);
	assert_string_equal(url.path, "/base");
	assert_true(portal_url_parse(&url, "ws://[::1]:8081/"));
	assert_string_equal(url.host, "::1");
	assert_int_equal(url.port, 8081);
	assert_true(portal_url_parse(&url, "HTTPS://a:1"));
	assert_true(url.tls && url.port == 1);
}

static void unusable_urls_are_refused(void **state)
{
	static const char *const bad[] = {
	    "",         "api.firezone.dev", "ftp://a",  "ws://",       "wss:///x",
	    "ws://a:0", "ws://a:65536",     "ws://a:b", "ws://user@a", "ws://[::1",
	    "ws://a b", "ws://a/\x01"};
	struct portal_url url;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (portal_url_parse(&url, bad[i]))
			fail_msg("accepted: %s", bad[i]);
}

static void target_is_form_encoded_in_order(void **state)
{
	struct portal_url url;
	uint8_t key[32];
	char out[512];

	(void)state;
	for (size_t i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)i;
	assert_true(portal_url_parse(&url, "wss://h/base/"));
	assert_true(
	    portal_url_target(&url, "cf4c+/=~", "gw 1 \xc3\xa9*-._", key, out, sizeof(out)) > 0);
	assert_string_equal(
	    out,
	    "/base/gateway/websocket?external_id=cf4c%2B%2F%3D%7E&name=gw+1+%C3%A9*-._&public_key="
	    "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8%3D");
	assert_int_equal(portal_url_target(&url, "cf4c", "gw", key, out, 40), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(schemes_and_default_ports),
	    cmocka_unit_test(unusable_urls_are_refused),
	    cmocka_unit_test(target_is_form_encoded_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
