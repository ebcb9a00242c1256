/*
 * Every row of the demultiplexing vectors, as far as bytes and source decide it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "gateway/demux.h"
#include "stun/stun.h"
#include "turn/channel_data.h"
#include "turn/turn.h"
#include "vectors.h"
#include "wireguard/wg.h"

static enum demux_source source_of(const cJSON *json, const char *from)
{
	if (strcmp(from, vectors_string(json, "known_relay")) == 0)
		return DEMUX_FROM_RELAY;
	if (strcmp(from, vectors_string(json, "recently_removed_relay")) == 0)
		return DEMUX_FROM_REMOVED_RELAY;
	return DEMUX_FROM_PEER;
}

static bool begins(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

static void check_peer(const char *expect, const uint8_t *buf, size_t len)
{
	enum demux_kind kind = demux(buf, len, DEMUX_FROM_PEER);
	struct stun_msg msg;

	if (strstr(expect, "WireGuard initiation")) {
		assert_int_equal(kind, DEMUX_WIREGUARD);
		assert_int_equal(wg_classify(buf, len), WG_INITIATION);
	} else if (strstr(expect, "ICE request")) {
		assert_int_equal(kind, DEMUX_PEER_STUN);
		assert_true(stun_msg_read(&msg, buf, len));
		assert_int_equal(msg.class, STUN_REQUEST);
		assert_true(msg.has_integrity);
	} else if (strstr(expect, "ICE response without integrity")) {
		assert_int_equal(kind, DEMUX_PEER_STUN);
		assert_true(stun_msg_read(&msg, buf, len));
		assert_false(msg.has_integrity);
	} else {
		assert_true(begins(expect, "drop"));
		assert_int_equal(kind, DEMUX_DROP);
	}
}

static void check_channel(const cJSON *json, const char *expect, const uint8_t *buf, size_t len)
{
	char name[8];
	uint16_t number;

	assert_true(channel_data_read(&number, buf, len));
	snprintf(name, sizeof(name), "0x%04x", number);
	if (begins(expect, "unwrap")) {
		assert_true(vectors_has(vectors_get(json, "bound_channel"), name));
		check_peer(expect, buf + TURN_CHANNEL_HEADER, len - TURN_CHANNEL_HEADER);
	} else {
		/* Dropped behind this point: the allocation has no confirmed channel of the number.
		 */
		assert_false(vectors_has(vectors_get(json, "bound_channel"), name));
	}
}

static void every_vector_goes_where_it_should(void **state)
{
	cJSON *json = vectors_load(VECTORS_DIR "/connections-demux.json");
	const cJSON *one;
	unsigned int seen = 0;

	(void)state;
	cJSON_ArrayForEach(one, vectors_get(json, "cases"))
	{
		enum demux_source source = source_of(json, vectors_string(one, "from"));
		const char *expect = vectors_string(one, "expect");
		uint8_t buf[512];
		size_t len = vectors_hex(one, "hex", buf, sizeof(buf));

		if (source == DEMUX_FROM_PEER)
			check_peer(expect, buf, len);
		else if (source == DEMUX_FROM_REMOVED_RELAY)
			assert_int_equal(demux(buf, len, source), DEMUX_DROP);
		else if (strcmp(expect, "relay control") == 0)
			assert_int_equal(demux(buf, len, source), DEMUX_RELAY_STUN);
		else
			check_channel(json, expect, buf, len);
		seen++;
	}
	cJSON_Delete(json);
	assert_int_equal(seen, 13);
}

static void empty_datagram_is_dropped(void **state)
{
	uint8_t none = 0;

	(void)state;
	assert_int_equal(demux(&none, 0, DEMUX_FROM_PEER), DEMUX_DROP);
	assert_int_equal(demux(&none, 0, DEMUX_FROM_RELAY), DEMUX_DROP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_vector_goes_where_it_should),
	    cmocka_unit_test(empty_datagram_is_dropped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
