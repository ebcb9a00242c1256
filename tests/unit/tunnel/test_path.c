#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tunnel/tunnel.h"

#include "grants.h"

struct fixture {
	struct rng_seeded seed;
	struct tunnel *t;
	struct tunnel_client *c; /* the vectors' client */
	struct tunnel_reply reply;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->t = tunnel_for_test(8, &f->seed);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	tunnel_free(f->t);
	free(f);
	return 0;
}

/* Needs the translation of DNS resources, which is not part of this room yet. */
static bool needs_translation(const char *name)
{
	return strcmp(name, "dns_mapped") == 0 || strcmp(name, "dns_no_v4_address") == 0 ||
	       strcmp(name, "dns_no_v6_address") == 0;
}

static void check_client_row(struct fixture *f, const cJSON *row, struct ip_view *view)
{
	const char *action = vectors_string(row, "action");
	enum tunnel_verdict verdict = tunnel_from_client(f->t, f->c, view, 0, &f->reply);

	if (strcmp(action, "to_tun") == 0) {
		assert_int_equal(verdict, TUNNEL_FORWARD);
		vectors_assert_hex(row, "output", view->data, view->len);
	} else if (strcmp(action, "drop") == 0) {
		assert_int_equal(verdict, TUNNEL_DROP);
	} else {
		assert_int_equal(verdict, TUNNEL_REPLY);
		vectors_assert_hex(row, "output", f->reply.data, f->reply.len);
	}
}

static void check_tun_row(struct fixture *f, const cJSON *row, struct ip_view *view)
{
	struct tunnel_client *to = NULL;
	enum tunnel_verdict verdict = tunnel_to_client(f->t, view, 0, &to);

	if (strcmp(vectors_string(row, "action"), "drop") == 0) {
		assert_int_equal(verdict, TUNNEL_DROP);
		return;
	}
	assert_int_equal(verdict, TUNNEL_FORWARD);
	assert_ptr_equal(to, f->c);
	vectors_assert_hex(row, "output", view->data, view->len);
}

static void verdicts_follow_the_vectors(void **state)
{
	struct fixture *f = *state;
	cJSON *json = vectors_load(VECTORS_DIR "/dataplane-path.json");
	const cJSON *row;
	int rows = 0;

	cJSON_ArrayForEach(row, vectors_get(json, "resources"))
	{
		struct filter filters[GRANT_FILTERS_MAX];
		struct resource r = resource_of(row, filters);

		f->c = authorize(f->t, 10, &r, TUNNEL_NEVER_EXPIRES, 0);
	}
	cJSON_ArrayForEach(row, vectors_get(json, "cases"))
	{
		const char *name = vectors_string(row, "name");
		uint8_t packet[IP_INNER_MTU];
		struct ip_view view;
		size_t len = vectors_hex(row, "packet", packet, sizeof(packet));

		if (needs_translation(name))
			continue;
		assert_int_equal(ip_parse_packet(&view, packet, len, IP_INNER_MTU), IP_OK);
		if (strcmp(vectors_string(row, "direction"), "client") == 0)
			check_client_row(f, row, &view);
		else
			check_tun_row(f, row, &view);
		rows++;
	}
	assert_int_equal(rows, 26);
	cJSON_Delete(json);
}

/* The client may reach all of 10.20.0.0/16 and 2001:db8::/32. */
static void grant_networks(struct fixture *f, int64_t expires_at)
{
	struct resource four = cidr_of(uuid_of(1, 0), "10.20.0.0/16");
	struct resource six = cidr_of(uuid_of(2, 0), "2001:db8::/32");

	f->c = authorize(f->t, 10, &four, expires_at, 0);
	f->c = authorize(f->t, 10, &six, expires_at, 0);
}

static struct build outgoing(void)
{
	return (struct build){
	    .src = build_ip(CLIENT_V4),
	    .dst = build_ip("10.20.1.1"),
	    .proto = IP_PROTO_UDP,
	    .ttl = 64,
	    .src_port = 1000,
	    .dst_port = 53,
	    .payload_len = 10,
	};
}

static enum tunnel_verdict from_client(struct fixture *f, const struct build *b, uint64_t now_us)
{
	uint8_t packet[IP_INNER_MTU];
	struct ip_view view;

	assert_int_equal(
	    ip_parse_packet(&view, packet, build_packet(b, packet, IP_INNER_MTU), IP_INNER_MTU),
	    IP_OK);
	return tunnel_from_client(f->t, f->c, &view, now_us, &f->reply);
}

static enum tunnel_verdict to_client(struct fixture *f, const struct build *b, uint64_t now_us)
{
	uint8_t packet[IP_INNER_MTU];
	struct ip_view view;
	struct tunnel_client *to;

	assert_int_equal(
	    ip_parse_packet(&view, packet, build_packet(b, packet, IP_INNER_MTU), IP_INNER_MTU),
	    IP_OK);
	return tunnel_to_client(f->t, &view, now_us, &to);
}

static void expiry_holds_on_the_packet_path(void **state)
{
	struct fixture *f = *state;
	struct build out = outgoing();
	struct build in = outgoing();
	uint64_t edge = 10 * US_PER_S;

	in.src = out.dst;
	in.dst = out.src;
	grant_networks(f, WALL_S + 10);
	assert_int_equal(from_client(f, &out, edge - 1), TUNNEL_FORWARD);
	assert_int_equal(to_client(f, &in, edge - 1), TUNNEL_FORWARD);
	assert_int_equal(from_client(f, &out, edge), TUNNEL_REPLY);
	assert_int_equal(to_client(f, &in, edge), TUNNEL_DROP);
	assert_int_equal(tunnel_drops(f->t, DROP_NOT_ALLOWED), 2);
}

static void forged_source_is_dropped_and_counted(void **state)
{
	struct fixture *f = *state;
	struct build b = outgoing();

	grant_networks(f, TUNNEL_NEVER_EXPIRES);
	b.src = build_ip("100.64.0.11");
	assert_int_equal(from_client(f, &b, 0), TUNNEL_DROP);
	b.src = build_ip("10.20.1.2");
	assert_int_equal(from_client(f, &b, 0), TUNNEL_DROP);
	b.dst = build_ip(GATEWAY_V4);
	b.dst_port = 53535;
	assert_int_equal(from_client(f, &b, 0), TUNNEL_DROP);
	assert_int_equal(tunnel_drops(f->t, DROP_FORGED_SOURCE), 3);
}

static void client_cannot_send_as_another_client(void **state)
{
	struct fixture *f = *state;
	struct build b = outgoing();

	grant_networks(f, TUNNEL_NEVER_EXPIRES);
	for (uint8_t n = 11; n < 13; n++) {
		struct resource r = cidr_of(uuid_of(1, 0), "10.20.0.0/16");

		(void)authorize(f->t, n, &r, TUNNEL_NEVER_EXPIRES, 0);
		b.src.bytes[3] = n;
		assert_int_equal(from_client(f, &b, 0), TUNNEL_DROP);
	}
}

static void clients_do_not_reach_each_other(void **state)
{
	struct fixture *f = *state;
	struct resource all = cidr_of(uuid_of(3, 0), "0.0.0.0/0");
	struct resource internet = {.id = uuid_of(4, 0), .kind = RESOURCE_INTERNET};
	struct build b = outgoing();

	f->c = authorize(f->t, 10, &all, TUNNEL_NEVER_EXPIRES, 0);
	f->c = authorize(f->t, 10, &internet, TUNNEL_NEVER_EXPIRES, 0);
	(void)authorize(f->t, 11, &all, TUNNEL_NEVER_EXPIRES, 0);
	b.dst = build_ip("100.64.0.11");
	assert_int_equal(from_client(f, &b, 0), TUNNEL_REPLY);
	assert_int_equal(f->reply.data[21], 13);
	b.src = build_ip("100.64.0.11");
	b.dst = build_ip(CLIENT_V4);
	assert_int_equal(to_client(f, &b, 0), TUNNEL_DROP);
	assert_int_equal(tunnel_drops(f->t, DROP_NOT_ALLOWED), 2);
}

static void internet_resource_answers_unreachable_for_private_ranges(void **state)
{
	struct fixture *f = *state;
	struct resource internet = {.id = uuid_of(4, 0), .kind = RESOURCE_INTERNET};
	struct build b = outgoing();

	f->c = authorize(f->t, 10, &internet, TUNNEL_NEVER_EXPIRES, 0);
	assert_int_equal(from_client(f, &b, 0), TUNNEL_REPLY);
	assert_int_equal(f->reply.data[20], 3);
	assert_int_equal(f->reply.data[21], 0);
	b.dst = build_ip("1.1.1.1");
	assert_int_equal(from_client(f, &b, 0), TUNNEL_FORWARD);
	b.src = build_ip("1.1.1.1");
	b.dst = build_ip(CLIENT_V4);
	assert_int_equal(to_client(f, &b, 0), TUNNEL_FORWARD);
	b.src = build_ip("10.20.1.1");
	assert_int_equal(to_client(f, &b, 0), TUNNEL_DROP);
}

struct own_row {
	uint8_t proto;
	uint16_t dst_port;
	bool allowed;
};

static void own_address_offers_echo_and_dns_only(void **state)
{
	static const struct own_row rows[] = {
	    {IP_PROTO_UDP, 53535, true}, {IP_PROTO_TCP, 53535, true}, {IP_PROTO_UDP, 53, false},
	    {IP_PROTO_TCP, 22, false},   {IP_PROTO_TCP, 0, false},    {47, 0, false},
	};
	struct fixture *f = *state;
	struct build b = outgoing();

	grant_networks(f, TUNNEL_NEVER_EXPIRES);
	for (int v6 = 0; v6 < 2; v6++) {
		b.src = build_ip(v6 ? CLIENT_V6 : CLIENT_V4);
		b.dst = build_ip(v6 ? GATEWAY_V6 : GATEWAY_V4);
		for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
			b.proto = rows[i].proto;
			b.src_port = 1000;
			b.dst_port = rows[i].dst_port;
			assert_int_equal(from_client(f, &b, 0),
					 rows[i].allowed ? TUNNEL_FORWARD : TUNNEL_REPLY);
		}
		b.proto = v6 ? IP_PROTO_ICMPV6 : IP_PROTO_ICMP;
		b.src_port = v6 ? 0x8000 : 0x0800;
		assert_int_equal(from_client(f, &b, 0), TUNNEL_FORWARD);
		b.src_port = v6 ? 0x8700 : 0x0d01;
		assert_int_equal(from_client(f, &b, 0), TUNNEL_REPLY);
		b.src_port = v6 ? 0x0400 : 0x0c00;
		assert_int_equal(from_client(f, &b, 0), TUNNEL_DROP);
	}
	assert_int_equal(tunnel_drops(f->t, DROP_OWN_ADDRESS), 12);
}

static void own_address_takes_answers_to_what_it_sent(void **state)
{
	struct fixture *f = *state;
	struct build ask = outgoing();
	struct build answer = outgoing();

	grant_networks(f, TUNNEL_NEVER_EXPIRES);
	ask.proto = answer.proto = IP_PROTO_TCP;
	ask.src = answer.dst = build_ip(GATEWAY_V4);
	ask.dst = answer.src = build_ip(CLIENT_V4);
	ask.src_port = answer.dst_port = 40000;
	ask.dst_port = answer.src_port = 22;
	assert_int_equal(from_client(f, &answer, 0), TUNNEL_REPLY);
	assert_int_equal(to_client(f, &ask, 0), TUNNEL_FORWARD);
	assert_int_equal(from_client(f, &answer, 120 * US_PER_S - 1), TUNNEL_FORWARD);
	answer.proto = IP_PROTO_UDP;
	assert_int_equal(from_client(f, &answer, 0), TUNNEL_REPLY);
	answer.proto = IP_PROTO_TCP;
	answer.src_port = 23;
	assert_int_equal(from_client(f, &answer, 0), TUNNEL_REPLY);
	answer.src_port = 22;
	assert_int_equal(from_client(f, &answer, 120 * US_PER_S), TUNNEL_REPLY);
	assert_int_equal(to_client(f, &ask, 100 * US_PER_S), TUNNEL_FORWARD);
	assert_int_equal(from_client(f, &answer, 120 * US_PER_S), TUNNEL_FORWARD);
}

static void remembered_own_flows_are_bounded(void **state)
{
	struct fixture *f = *state;
	struct build ask = outgoing();
	struct build answer = outgoing();

	grant_networks(f, TUNNEL_NEVER_EXPIRES);
	ask.src = answer.dst = build_ip(GATEWAY_V4);
	ask.dst = answer.src = build_ip(CLIENT_V4);
	for (uint16_t i = 0; i < 9; i++) {
		ask.src_port = (uint16_t)(40000 + i);
		assert_int_equal(to_client(f, &ask, 0), TUNNEL_FORWARD);
	}
	answer.src_port = ask.dst_port;
	answer.dst_port = 40000;
	assert_int_equal(from_client(f, &answer, 0), TUNNEL_REPLY);
	for (uint16_t i = 1; i < 9; i++) {
		answer.dst_port = (uint16_t)(40000 + i);
		assert_int_equal(from_client(f, &answer, 0), TUNNEL_FORWARD);
	}
}

static void answers_of_the_dns_forwarder_displace_no_own_flow(void **state)
{
	struct fixture *f = *state;
	struct build ask = outgoing();
	struct build answer = outgoing();

	grant_networks(f, TUNNEL_NEVER_EXPIRES);
	ask.src = answer.dst = build_ip(GATEWAY_V4);
	ask.dst = answer.src = build_ip(CLIENT_V4);
	ask.src_port = answer.dst_port = 40000;
	ask.dst_port = answer.src_port = 22;
	assert_int_equal(to_client(f, &ask, 0), TUNNEL_FORWARD);
	ask.src_port = 53535;
	for (uint16_t i = 0; i < 20; i++) {
		ask.dst_port = i;
		assert_int_equal(to_client(f, &ask, 0), TUNNEL_FORWARD);
	}
	assert_int_equal(from_client(f, &answer, 0), TUNNEL_FORWARD);
}

static void packets_for_nobody_are_told_apart(void **state)
{
	struct fixture *f = *state;
	struct build b = outgoing();

	grant_networks(f, TUNNEL_NEVER_EXPIRES);
	b.src = build_ip("10.20.1.1");
	b.dst = build_ip("192.0.2.9");
	assert_int_equal(to_client(f, &b, 0), TUNNEL_DROP);
	assert_int_equal(tunnel_drops(f->t, DROP_NOT_A_PEER), 1);
	b.dst = build_ip("100.64.3.3");
	assert_int_equal(to_client(f, &b, 0), TUNNEL_DROP);
	assert_int_equal(tunnel_drops(f->t, DROP_NO_PEER_STATE), 1);
}

static void generated_icmp_is_limited_per_client(void **state)
{
	struct fixture *f = *state;
	struct resource r = cidr_of(uuid_of(1, 0), "10.20.0.0/16");
	struct tunnel_client *other = authorize(f->t, 11, &r, TUNNEL_NEVER_EXPIRES, 0);
	struct build b = outgoing();
	uint64_t now = 5 * US_PER_S;
	unsigned int replies = 0;

	grant_networks(f, TUNNEL_NEVER_EXPIRES);
	b.dst = build_ip("9.9.9.9");
	for (int i = 0; i < TUNNEL_ICMP_BURST; i++)
		assert_int_equal(from_client(f, &b, now), TUNNEL_REPLY);
	assert_int_equal(from_client(f, &b, now), TUNNEL_DROP);
	assert_int_equal(tunnel_drops(f->t, DROP_RATE), 1);
	assert_int_equal(from_client(f, &b, now + 9999), TUNNEL_DROP);
	assert_int_equal(from_client(f, &b, now + 10000), TUNNEL_REPLY);
	assert_int_equal(from_client(f, &b, now + 10000), TUNNEL_DROP);
	for (int ms = 0; ms < 1000; ms++)
		replies += from_client(f, &b, now + 10000 + (uint64_t)ms * 1000) == TUNNEL_REPLY;
	assert_in_range(replies, 98, 100);
	f->c = other;
	b.src.bytes[3] = 11;
	assert_int_equal(from_client(f, &b, now), TUNNEL_REPLY);
}

static void errors_and_odd_destinations_get_no_answer(void **state)
{
	struct fixture *f = *state;
	struct build b = outgoing();

	grant_networks(f, TUNNEL_NEVER_EXPIRES);
	b.dst = build_ip("9.9.9.9");
	b.proto = IP_PROTO_ICMP;
	b.src_port = 0x0500;
	assert_int_equal(from_client(f, &b, 0), TUNNEL_DROP);
	b.src_port = 0x0300; /* no quote */
	b.payload_len = 0;
	assert_int_equal(from_client(f, &b, 0), TUNNEL_DROP);
	b.src_port = 0x0800;
	b.dst = build_ip("0.0.0.0");
	assert_int_equal(from_client(f, &b, 0), TUNNEL_DROP);
	assert_int_equal(tunnel_drops(f->t, DROP_NOT_ALLOWED), 3);
	b.dst = build_ip("255.255.255.255");
	assert_int_equal(from_client(f, &b, 0), TUNNEL_DROP);
	assert_int_equal(tunnel_drops(f->t, DROP_MULTICAST), 1);
}

static void source_routed_packets_are_dropped_both_ways(void **state)
{
	struct fixture *f = *state;
	uint8_t packet[32] = {0x46, 0,  0, 32, 0,   0, 0, 0, 64, 17, 0, 0, 100, 64, 0, 10,
			      10,   20, 1, 1,  131, 3, 4, 0, 0,  1,  0, 2, 0,   8,  0, 0};
	struct ip_view view;
	struct ip_addr swap;
	struct tunnel_client *to;

	grant_networks(f, TUNNEL_NEVER_EXPIRES);
	assert_int_equal(ip_parse_packet(&view, packet, sizeof(packet), IP_INNER_MTU), IP_OK);
	assert_int_equal(tunnel_from_client(f->t, f->c, &view, 0, &f->reply), TUNNEL_DROP);
	swap = view.src;
	view.src = view.dst;
	view.dst = swap;
	assert_int_equal(tunnel_to_client(f->t, &view, 0, &to), TUNNEL_DROP);
	assert_int_equal(tunnel_drops(f->t, DROP_SOURCE_ROUTE), 2);
	packet[20] = 7; /* record route is harmless */
	assert_int_equal(ip_parse_packet(&view, packet, sizeof(packet), IP_INNER_MTU), IP_OK);
	assert_int_equal(tunnel_from_client(f->t, f->c, &view, 0, &f->reply), TUNNEL_FORWARD);
}

static void connection_without_peer_state_is_dropped(void **state)
{
	struct fixture *f = *state;
	struct build b = outgoing();

	f->c = NULL;
	assert_int_equal(from_client(f, &b, 0), TUNNEL_DROP);
	assert_int_equal(tunnel_drops(f->t, DROP_NO_PEER_STATE), 1);
}

static enum tunnel_verdict control(struct fixture *f, uint8_t event, uint8_t len)
{
	uint8_t packet[48] = {0x60, 0, 0, 0, 0, len, 255, 0, [40] = event};
	struct ip_view view;

	assert_int_equal(ip_parse_packet(&view, packet, 40U + len, IP_INNER_MTU), IP_OK);
	return tunnel_from_client(f->t, f->c, &view, 0, &f->reply);
}

static void control_packets_never_reach_the_network(void **state)
{
	struct fixture *f = *state;
	struct resource all = cidr_of(uuid_of(1, 0), "::/0");

	f->c = authorize(f->t, 10, &all, TUNNEL_NEVER_EXPIRES, 0);
	assert_int_equal(control(f, 2, 8), TUNNEL_GOODBYE);
	assert_int_equal(control(f, 0, 8), TUNNEL_CONTROL);
	assert_int_equal(control(f, 200, 8), TUNNEL_CONTROL);
	assert_int_equal(control(f, 2, 7), TUNNEL_DROP);
	assert_int_equal(tunnel_drops(f->t, DROP_MALFORMED), 1);
}

/* An ICMP error from @router, quoting a UDP packet of the client to port 53 of @quoted. */
static enum tunnel_verdict error_from(struct fixture *f, const char *router, const char *quoted_src,
				      const char *quoted)
{
	struct build b = {
	    .src = build_ip(router),
	    .dst = build_ip(CLIENT_V4),
	    .proto = IP_PROTO_ICMP,
	    .src_port = 0x0301,
	    .payload_len = 28,
	};
	struct build quote = outgoing();
	uint8_t packet[IP_INNER_MTU];
	struct ip_view view;
	struct tunnel_client *to;
	size_t len = build_packet(&b, packet, sizeof(packet));

	quote.src = build_ip(quoted_src);
	quote.dst = build_ip(quoted);
	quote.payload_len = 0;
	build_packet(&quote, packet + 28, 28);
	assert_int_equal(ip_parse_packet(&view, packet, len, IP_INNER_MTU), IP_OK);
	assert_int_equal(view.kind, IP_KIND_ICMP_ERROR);
	return tunnel_to_client(f->t, &view, 0, &to);
}

static enum tunnel_verdict router_error(struct fixture *f, const char *quoted_src,
					const char *quoted)
{
	return error_from(f, "203.0.113.1", quoted_src, quoted);
}

static void icmp_error_must_quote_what_the_client_may_send(void **state)
{
	struct fixture *f = *state;
	struct filter dns = {FILTER_UDP, 53, 53};
	struct filter web = {FILTER_TCP, 443, 443};
	struct resource r = cidr_of(uuid_of(1, 0), "10.20.0.0/16");

	r.n_filters = 1;
	r.filters = &dns;
	f->c = authorize(f->t, 10, &r, TUNNEL_NEVER_EXPIRES, 0);
	assert_int_equal(router_error(f, CLIENT_V4, "10.20.1.1"), TUNNEL_FORWARD);
	assert_int_equal(router_error(f, CLIENT_V4, "10.21.1.1"), TUNNEL_DROP);
	assert_int_equal(router_error(f, "100.64.0.11", "10.20.1.1"), TUNNEL_DROP);
	assert_int_equal(error_from(f, "100.64.0.11", CLIENT_V4, "10.20.1.1"), TUNNEL_DROP);
	assert_int_equal(router_error(f, CLIENT_V4, "100.64.0.11"), TUNNEL_DROP);
	r.filters = &web;
	tunnel_update_resource(f->t, &r);
	assert_int_equal(router_error(f, CLIENT_V4, "10.20.1.1"), TUNNEL_DROP);
}

static void unknown_protocols_leave_an_open_resource_but_do_not_return(void **state)
{
	struct fixture *f = *state;
	struct build b = outgoing();

	grant_networks(f, TUNNEL_NEVER_EXPIRES);
	b.proto = 47;
	assert_int_equal(from_client(f, &b, 0), TUNNEL_FORWARD);
	b.src = build_ip("10.20.1.1");
	b.dst = build_ip(CLIENT_V4);
	assert_int_equal(to_client(f, &b, 0), TUNNEL_DROP);
	assert_int_equal(tunnel_drops(f->t, DROP_OTHER), 1);
}

static void drops_have_names(void **state)
{
	(void)state;
	for (int why = 0; why < DROP_KINDS; why++)
		assert_non_null(tunnel_drop_name((enum tunnel_drop)why));
	assert_string_equal(tunnel_drop_name(DROP_NOT_ALLOWED), "NotAllowed");
	assert_string_equal(tunnel_drop_name(DROP_NO_PEER_STATE), "NoPeerState");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	    CASE(verdicts_follow_the_vectors),
	    CASE(expiry_holds_on_the_packet_path),
	    CASE(forged_source_is_dropped_and_counted),
	    CASE(client_cannot_send_as_another_client),
	    CASE(clients_do_not_reach_each_other),
	    CASE(internet_resource_answers_unreachable_for_private_ranges),
	    CASE(own_address_offers_echo_and_dns_only),
	    CASE(own_address_takes_answers_to_what_it_sent),
	    CASE(remembered_own_flows_are_bounded),
	    CASE(answers_of_the_dns_forwarder_displace_no_own_flow),
	    CASE(packets_for_nobody_are_told_apart),
	    CASE(generated_icmp_is_limited_per_client),
	    CASE(errors_and_odd_destinations_get_no_answer),
	    CASE(source_routed_packets_are_dropped_both_ways),
	    CASE(connection_without_peer_state_is_dropped),
	    CASE(control_packets_never_reach_the_network),
	    CASE(icmp_error_must_quote_what_the_client_may_send),
	    CASE(unknown_protocols_leave_an_open_resource_but_do_not_return),
	    CASE(drops_have_names),
#undef CASE
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
