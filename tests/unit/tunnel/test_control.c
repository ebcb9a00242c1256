#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tunnel/control.h"
#include "tunnel/tunnel.h"

#include "vectors.h"

static enum control_kind wanted(const char *code)
{
	if (strcmp(code, "goodbye") == 0)
		return CONTROL_GOODBYE;
	if (strcmp(code, "drop") == 0)
		return CONTROL_SHORT;
	return strcmp(code, "not_control") == 0 ? CONTROL_NONE : CONTROL_EVENT;
}

static void control_packets_are_told_apart_as_the_vectors_say(void **state)
{
	cJSON *json = vectors_load(VECTORS_DIR "/dataplane-p2p.json");
	const cJSON *row;
	int rows = 0;

	(void)state;
	cJSON_ArrayForEach(row, vectors_get(json, "cases"))
	{
		const char *direction = vectors_string(row, "direction");
		uint8_t packet[IP_INNER_MTU];
		struct ip_view view;
		size_t len;

		if (strcmp(direction, "client->gateway") != 0 && strcmp(direction, "both") != 0)
			continue;
		len = vectors_hex(row, "packet", packet, sizeof(packet));
		assert_int_equal(ip_parse_packet(&view, packet, len, IP_INNER_MTU), IP_OK);
		if (control_classify(&view) != wanted(vectors_string(row, "code")))
			fail_msg("%s", vectors_string(row, "name"));
		rows++;
	}
	assert_int_equal(rows, 17);
	cJSON_Delete(json);
}

static void goodbye_equals_the_vector(void **state)
{
	cJSON *json = vectors_load(VECTORS_DIR "/dataplane-p2p.json");
	const cJSON *row;
	uint8_t out[TUNNEL_GOODBYE_LEN];
	bool found = false;

	(void)state;
	tunnel_goodbye(out);
	cJSON_ArrayForEach(row, vectors_get(json, "cases"))
	{
		if (strcmp(vectors_string(row, "name"), "goodbye") != 0)
			continue;
		vectors_assert_hex(row, "packet", out, sizeof(out));
		found = true;
	}
	assert_true(found);
	cJSON_Delete(json);
}

static void event_behind_extension_headers_is_found(void **state)
{
	uint8_t packet[56] = {0x60, 0, 0, 0, 0, 16, 60, 0, [40] = 255, [48] = 2};
	struct ip_view view;

	(void)state;
	assert_int_equal(ip_parse_packet(&view, packet, sizeof(packet), IP_INNER_MTU), IP_OK);
	assert_int_equal(control_classify(&view), CONTROL_GOODBYE);
	packet[48] = 0;
	assert_int_equal(control_classify(&view), CONTROL_EVENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(control_packets_are_told_apart_as_the_vectors_say),
	    cmocka_unit_test(goodbye_equals_the_vector),
	    cmocka_unit_test(event_behind_extension_headers_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
