"""Connections that are told apart, cut, filled to the brim and marked: real parts, several clients at a time.

Each client asks for a host of its own behind the gateway, so that all of them can be watched at once.
"""

import time

import half_minute as half_minute_module
import lab as lab_module
import net
import pytest
import traffic as traffic_module
from traffic import PORT, Traffic, told

PATHS = (("direct", net.LAN4), ("gateway-relay", net.OTHER4))
IPV4_HEADERS = 28                # of an echo request
TUNNEL_MTU = 1280
# A client that gives a path up after this many unanswered checks, 1.5 to 3 s, nominates the next best one and says so.
# A stock client checks as often but waits for twelve: its own wait alone is longer than the bound.
QUICK = 3
COUNTERS = """
table inet seen {{
	chain counted {{
		type filter hook {hook} priority filter - 10;
		{lines}
	}}
}}
"""


@pytest.fixture(scope="module", autouse=True)
def hurried(lab):
    """A relay whose nonces live for 5 s, and its allocations for 20 until they are refreshed: it grants 600 then."""
    lab.net.end("coturn")
    lab.net.start_coturn(options=("--stale-nonce=5", "--max-allocate-lifetime=20", "--verbose"))
    lab.net.wait_for(lambda: f"{net.TURN}:3478" in lab.net.run("inet", "ss", "-Hlnu").stdout, 5, "coturn")


@pytest.fixture(scope="module")
def half_minute(lab, shared):
    """Begins with the first test that asks for it and goes on beneath the others."""
    shared.wait_relay(6)
    watched = half_minute_module.HalfMinute(lab, shared)
    yield watched
    watched.end()


@pytest.fixture
def field(lab):
    """The network; what a test put into its ways is gone after it."""
    yield lab
    traffic_module.end_all(lab.net)
    for name in ("inet", "gnat", "lan", "client"):
        traffic_module.rules(lab.net, name)
        lab.net.run(name, "nft", "delete table inet seen", check=False)


def connected(clients, paths, host, **kind):
    client = clients(paths=paths, **kind)
    pair = client.flow(lab_module.resource_of(host))["pair"]
    assert pair["kind"] == ("direct" if paths == "direct" else "relayed")
    client.gets_page(host)
    return client


# --- for half a minute, beneath all that follows


@pytest.mark.long
def test_idle_and_busy_clients_connect(half_minute):
    assert half_minute.busy.pair["kind"] == "relayed"


# --- told apart


@pytest.mark.parametrize("client_ice", [{}, {"username": "twin"}], ids=["one-gateway-ufrag", "one-pair-of-ufrags"])
def test_clients_of_one_ufrag_are_served_side_by_side(field, shared, clients, client_ice):
    """Names of four letters collide; passwords do not."""
    hosts = (net.LAN4, net.OTHER4)
    twins = []
    for host in hosts:
        twin = clients(roaming=True)
        twin.flow(lab_module.resource_of(host), gateway_ice={"username": "same"}, client_ice=client_ice)
        twins.append(twin)
    for _ in range(3):
        for twin, host in zip(twins, hosts):
            twin.gets_page(host)
    for twin, host in zip(twins, hosts):
        assert field.blob_matches(twin, host)[0]
        assert twin.status()["pair"]["kind"] == "direct"


# --- cut


def test_path_that_is_cut_silently_is_left_for_the_relay(field, shared, clients, record_property):
    """The direct path of three clients: cut both ways, towards the gateway, towards the client. The relayed one stays."""
    shared.wait_relay(6)
    cuts = {"both ways": ("sport", "dport"), "towards the gateway": ("sport",), "towards the client": ("dport",)}
    hosts = (net.LAN4, net.OTHER4, net.LAN6)
    watched = [Traffic(field, shared, clients, "any", host=host, tries=QUICK).ping() for host in hosts]
    assert [traffic.pair["kind"] for traffic in watched] == ["direct"] * 3
    for traffic in watched:
        traffic.settled()
    lines = [f"meta nfproto ipv4 udp {side} {traffic.pair['local']['port']} drop"
             for traffic, sides in zip(watched, cuts.values()) for side in sides]
    traffic_module.rules(field.net, "inet", *lines, hook="forward")
    since, late = time.time(), []
    for what, traffic in zip(cuts, watched):
        try:
            told(record_property, f"cut {what}", traffic.works_again(since))
        except AssertionError as exc:
            late.append(f"{what}: {exc}")
        if traffic.client.status()["pair"]["kind"] != "relayed":
            late.append(f"{what}: still {traffic.client.status()['pair']}")
    assert late == []
    for traffic in watched:
        traffic.same_session()


def test_ipv6_that_is_cut_silently_is_left_for_ipv4(field, shared, clients, record_property):
    traffic = Traffic(field, shared, clients, "direct", family=46, tries=QUICK).ping()
    assert traffic.pair["remote"]["address"] == net.GW_ADDRESS6
    traffic_module.rules(field.net, "inet", "meta nfproto ipv6 meta l4proto udp drop", hook="forward")
    told(record_property, "IPv6 cut", traffic.works_again(time.time()))
    assert ":" not in traffic.client.status()["pair"]["remote"]["address"]
    traffic.same_session()


# --- sizes and marks


@pytest.mark.parametrize("paths, host", PATHS, ids=[paths for paths, _ in PATHS])
def test_packets_of_1280_bytes_pass_whole_and_longer_ones_do_not(field, shared, clients, paths, host):
    client = connected(clients, paths, host)
    client.run("ip", "link", "set", client.config["interface"], "mtu", str(TUNNEL_MTU + 1))
    assert echo(client, host, TUNNEL_MTU) == 0
    sent = client.status()["datagrams"]["sent"]
    assert echo(client, host, TUNNEL_MTU + 1) == 1
    assert client.status()["datagrams"]["sent"] > sent
    assert echo(client, host, TUNNEL_MTU) == 0


def echo(client, host, size, *options):
    """ping's status: 0 if one came back, 1 if none did."""
    return client.run("ping", "-c", "1", "-W", "1", "-M", "do", "-s", str(size - IPV4_HEADERS), *options, host).returncode


def count(network, name, hook, *lines):
    network.run(name, "nft", "-f", "-", stdin=COUNTERS.format(hook=hook, lines="\n".join(lines)))


def counted(network, name):
    """The packets that each line of count() has seen."""
    words = network.run(name, "nft", "list", "table", "inet", "seen").stdout.split()
    return [int(words[at + 1]) for at, word in enumerate(words) if word == "packets"]


def both_families(network, name):
    """The sums of lines that come in pairs."""
    seen = counted(network, name)
    return [first + second for first, second in zip(seen[::2], seen[1::2])]


@pytest.mark.parametrize("paths, host", PATHS, ids=[paths for paths, _ in PATHS])
def test_congestion_marks_pass_from_end_to_end(field, shared, clients, paths, host):
    """Sent as ECT(0) and marked CE on the way to the gateway, a packet reaches the resource as CE. The answer, which
    carries the mark back, leaves the gateway with it inside and outside; other packets leave without one."""
    client = connected(clients, paths, host)
    outer = [f"{family} ecn {{mark}} udp sport {PORT} counter" for family in ("ip", "ip6")]
    count(field.net, "lan", "input", *(f"icmp type echo-request ip daddr {host} ip ecn {mark} counter"
                                       for mark in ("ect0", "ce", "not-ect")))
    count(field.net, "gnat", "forward", *("iifname lan " + line.format(mark=mark)
                                         for mark in ("ect0", "ce", "not-ect") for line in outer))
    count(field.net, "client", "input", f"iifname {client.config['interface']} icmp type echo-reply ip ecn ect0 counter")
    assert echo(client, host, 100, "-Q", "2") == 0
    assert counted(field.net, "lan") == [1, 0, 0]
    assert counted(field.net, "client") == [1]
    assert both_families(field.net, "gnat")[:2] == [1, 0]
    assert echo(client, host, 100) == 0
    assert counted(field.net, "lan") == [1, 0, 1]
    marked, congested, unmarked = both_families(field.net, "gnat")
    assert (marked, congested) == (1, 0) and unmarked > 0
    traffic_module.rules(field.net, "gnat", *(f"iifname wan udp dport {PORT} {family} ecn set ce" for family in ("ip", "ip6")),
                         hook="forward")
    assert echo(client, host, 100, "-Q", "2") == 0
    assert counted(field.net, "lan") == [1, 1, 1]
    assert echo(client, host, 100) == 0
    assert counted(field.net, "lan")[:2] == [1, 1]


# --- the half minute is over


@pytest.mark.long
def test_half_a_minute_over_a_relay_in_a_hurry_and_without_a_packet(half_minute, shared, record_property):
    """A busy client notices nothing of its relay's short lives; idle ones are reached from the resource's side."""
    time.sleep(max(0, half_minute.until - 1 - time.monotonic()))
    status = [client.status() for client in half_minute.clients]
    for kind, (late, again) in half_minute.answers().items():
        told(record_property, f"to the idle {kind} client, after sending", max(late, 0))
        told(record_property, f"from the {kind} client and back", again)
        assert late < 2 and again < 2
    told(record_property, f"longest silence of {len(half_minute.busy.replies())} replies", half_minute.silence())
    assert half_minute.silence() < traffic_module.SILENCE
    assert min(half_minute.refreshed()) >= 1
    assert status[0]["pair"] == half_minute.busy.pair
    assert status[0]["wireguard"]["handshake"] == half_minute.busy.session
