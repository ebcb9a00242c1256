"""The socket factory against the real kernel and a real helper. The numbers are those of the factory's list of tests.

    host (eth0: 192.0.2.10, 2001:db8::10) -- peer (192.0.2.1, 2001:db8::1, and what is behind it)

factory-probe is the worker's own code for sockets, names and routes; every test has a new pair of namespaces.
"""

import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import time

import factory
import pytest
from factory import HOST, NAME_SERVER, PEER, REFUSED, RESOLVED, ROAMED, Probe, heard, host_batch, host_ip, index_of, python, run

OK, NO_ROUTE, VIA_TUNNEL, NO_SOURCE = range(4)
PORT = 4500


@pytest.fixture(autouse=True)
def network():
    if os.geteuid() != 0:
        pytest.skip("needs root, for network namespaces")
    factory.up()
    yield
    factory.clear()


@pytest.fixture
def probe(tmp_path, network):
    running = Probe(tmp_path)
    yield running
    running.stop()


@pytest.fixture
def name_server(tmp_path, network):
    server = python(factory.HERE / "name_server.py", NAME_SERVER, tmp_path / "queries")
    server.queries = lambda: [line.split() for line in (tmp_path / "queries").read_text().splitlines()]
    yield server
    server.stop()


def listen(*addresses):
    return factory.listen(*addresses, port=PORT)


def test_t1_one_lookup_one_line_in_both_families(probe):
    before, lines = probe("counters"), probe.log().count(RESOLVED)
    v4, v6 = probe.resolve("203.0.113.5"), probe.resolve("2001:db8:5::5")
    assert (v4["refusal"], v4["source"], v4["gateway"], v4["table"]) == (OK, "192.0.2.10", "192.0.2.1", 254)
    assert (v6["refusal"], v6["source"], v6["gateway"], v6["table"]) == (OK, "2001:db8::10", "2001:db8::1", 254)
    assert v4["ifindex"] == v6["ifindex"] != probe.start["tun"]
    for _ in range(3):
        assert probe.resolve("203.0.113.5") == v4
        assert probe.resolve("2001:db8:5::5") == v6
    assert probe("counters")["misses"] == before["misses"] + 2
    assert probe.log().count(RESOLVED) == lines + 2


def test_t5_ten_thousand_queries_are_one_lookup(tmp_path, network, name_server):
    """Each query leaves by a socket of its own, and the kernel is asked for a route once."""
    if not shutil.which("strace"):
        pytest.skip("needs strace")
    trace = tmp_path / "trace"
    probe = Probe(tmp_path, strace=["-e", "trace=sendto,sendmsg", "-o", trace], helpers=8)
    answers = probe("ask", 0, 5000)
    counters = probe("counters")
    queries = name_server.queries()
    probe.stop()
    assert answers == {"answered": 5000, "addresses": 10000}
    assert len(queries) == 10000
    assert len({(kind, name) for _, kind, name in queries}) == 10000
    calls = trace.read_text()
    assert len(re.findall(r"RTM_GETROUTE", calls)) == 1
    # It was looked up at the start, as all that a roam is judged by.
    assert counters["misses"] == 1 and counters["hits"] == 10000
    assert probe.log().count(RESOLVED) == 1
    # A new port is drawn from some 28,000 for each; two thirds are expected to be distinct, one socket would have one.
    ports = [port for port, _, _ in queries]
    assert len(set(ports)) > 5000
    # Random draws repeat themselves now and then: by chance 0.4 times in 10,000, more than 5 times once in a million runs.
    assert sum(a == b for a, b in zip(ports, ports[1:])) <= 5


def test_t6_reset_asks_the_kernel_once_more(probe, name_server):
    assert probe("ask", 0, 10)["addresses"] == 20
    generation = probe("counters")["generation"]
    assert probe("reset")["generation"] == generation + 1
    assert probe("ask", 10, 10)["addresses"] == 20
    assert probe("counters")["misses"] == 2


def test_t10_route_into_the_tunnel_is_refused(probe):
    listener = listen("203.0.113.5", "2001:db8:5::5")
    before = probe("counters")["entries"]
    host_ip("route", "add", "203.0.113.0/24", "dev", "tun-firezone")
    host_ip("route", "add", "2001:db8:5::/64", "dev", "tun-firezone")
    for address in ("203.0.113.5", "2001:db8:5::5"):
        assert probe.resolve(address)["refusal"] == VIA_TUNNEL
        assert probe("send", address, PORT, 2, 100) == {"sent": 0, "dropped": 2, "no_gso": False}
    assert probe("counters")["entries"] <= before
    assert "reason=via-tunnel" in probe.log()
    assert heard(listener) == []


@pytest.mark.parametrize("address,via", [("203.0.113.5", "192.0.2.1"), ("2001:db8:5::5", "2001:db8::1")])
def test_t10_nothing_but_the_table_tells(probe, address, via):
    """The same interface, gateway and source; only the table is ours."""
    prefix = f"{address}/{128 if ':' in address else 32}"
    family = "-6" if ":" in address else "-4"
    for table, refusal in ((0x2021FCFF, OK), (0x2021FD00, VIA_TUNNEL), (0x2021FD02, VIA_TUNNEL), (0x2021FD03, OK)):
        host_ip(family, "route", "add", prefix, "via", via, "table", str(table))
        host_ip(family, "rule", "add", "priority", "50", "to", prefix, "lookup", str(table))
        probe("drain")
        got = probe.resolve(address)
        assert got["refusal"] == refusal, hex(table)
        if refusal == OK:
            assert got["table"] == table
        host_ip(family, "rule", "del", "priority", "50")


def link(name, *more, address=None, peer=PEER, peer_address=None):
    """A veth pair from the host to somewhere; its other end is far-NAME."""
    host_ip("link", "add", "name", name, *map(str, more), "type", "veth", "peer", "name", f"far-{name}", "netns", peer)
    host_ip("link", "set", name, "up")
    factory.ip("-n", peer, "link", "set", f"far-{name}", "up")
    if address:
        host_ip("addr", "add", address, "dev", name)
    if peer_address:
        factory.ip("-n", peer, "addr", "add", peer_address, "dev", f"far-{name}")


def test_t11_tunnels_index_on_another_device_is_no_tunnel(probe):
    host_ip("link", "del", "tun-firezone")
    link("eth9", "index", probe.start["tun"], address="198.51.100.10/24")
    host_ip("route", "add", "203.0.113.5", "via", "198.51.100.1")
    probe("drain")
    got = probe.resolve("203.0.113.5")
    assert (got["refusal"], got["ifindex"], got["source"]) == (OK, probe.start["tun"], "198.51.100.10")


def test_t12_index_that_another_device_got_is_looked_up_again(probe):
    listener = listen("203.0.113.5")
    for name, network in (("eth7", "198.51.100"), ("eth8", "198.51.101")):
        link(name, "index", 777, address=f"{network}.10/24", peer_address=f"{network}.1/24")
        host_ip("route", "add", "203.0.113.5", "via", f"{network}.1")
        probe("drain")
        misses = probe("counters")["misses"]
        for _ in range(2):
            assert probe("send", "203.0.113.5", PORT, 1, 100)["sent"] == 1
        after = probe("counters")
        # Because of the events; no send had to fail first.
        assert (after["misses"], after["invalidations"]) == (misses + 1, 0)
        assert probe.resolve("203.0.113.5")["ifindex"] == 777
        host_ip("link", "del", name)
    assert [source for _, source, _, _ in heard(listener)] == ["198.51.100.10"] * 2 + ["198.51.101.10"] * 2


def test_t13_marked_lookup_leaves_by_the_physical_interface(probe):
    """The tunnel takes everything that is not marked, as it does for a client's own traffic."""
    for family in ("-4", "-6"):
        host_ip(family, "route", "add", "default", "dev", "tun-firezone", "table", str(0x2021FD00))
    assert "tun-firezone" in run(HOST, "ip", "route", "get", "203.0.113.5")
    assert "tun-firezone" in run(HOST, "ip", "-6", "route", "get", "2001:db8:5::5")
    listener = listen("203.0.113.5", "2001:db8:5::5")
    for address, source in (("203.0.113.5", "192.0.2.10"), ("2001:db8:5::5", "2001:db8::10")):
        got = probe.resolve(address)
        assert (got["refusal"], got["source"], got["table"]) == (OK, source, 254)
        assert probe("send", address, PORT, 1, 100)["sent"] == 1
    assert [(a, s) for a, s, _, _ in heard(listener)] == [("203.0.113.5", "192.0.2.10"), ("2001:db8:5::5", "2001:db8::10")]


def test_t14_missing_family_costs_few_lookups_and_sends_nothing(probe):
    host_ip("-6", "route", "flush", "table", "main")
    probe("drain")
    before = probe("counters")
    started = time.monotonic()
    for _ in range(200):
        assert probe("send", "2001:db8:5::5", PORT, 1, 100) == {"sent": 0, "dropped": 1, "no_gso": False}
    seconds = time.monotonic() - started
    after = probe("counters")
    assert after["misses"] - before["misses"] <= 1 + seconds
    assert " WARN " not in probe.log()


def test_t15_family_that_appears_is_used_by_the_next_datagram(probe):
    listener = listen("2001:db8:5::5")
    host_ip("-6", "addr", "flush", "dev", "eth0", "scope", "global")
    host_ip("-6", "route", "flush", "table", "main")
    probe("drain")
    assert probe("send", "2001:db8:5::5", PORT, 1, 100)["dropped"] == 1
    host_ip("addr", "add", "2001:db8::10/64", "dev", "eth0", "nodad")
    probe("drain")
    assert probe("send", "2001:db8:5::5", PORT, 1, 100)["dropped"] == 1
    host_ip("route", "add", "default", "via", "2001:db8::1")
    probe("drain")
    assert probe("send", "2001:db8:5::5", PORT, 1, 100)["sent"] == 1
    assert [source for _, source, _, _ in heard(listener)] == ["2001:db8::10"]


def test_t16_families_are_two_entries_and_mapped_is_ipv4(probe):
    before = probe("counters")
    assert probe.resolve("203.0.113.5")["source"] == "192.0.2.10"
    assert probe.resolve("2001:db8:5::5")["source"] == "2001:db8::10"
    assert probe.resolve("::ffff:203.0.113.5")["source"] == "192.0.2.10"
    after = probe("counters")
    assert (after["entries"] - before["entries"], after["misses"] - before["misses"]) == (2, 2)


@pytest.mark.parametrize("address,old,new,via", [
    ("2001:db8:5::5", "2001:db8::10/64", "2001:db8::11/64", "2001:db8::1"),
    ("203.0.113.5", "192.0.2.10/24", "192.0.2.11/24", "192.0.2.1")])
def test_t20_t21_stale_source_is_replaced_at_the_failed_send(probe, address, old, new, via):
    """The address goes, and the next send comes before anybody has read the event."""
    listener = listen(address)
    assert probe("send", address, PORT, 1, 100)["sent"] == 1
    before = probe("counters")
    host_ip("addr", "del", old, "dev", "eth0")
    host_ip("addr", "add", new, "dev", "eth0", *(["nodad"] if ":" in new else []))
    host_ip("route", "replace", "default", "via", via)
    assert probe("send", address, PORT, 4, 500) == {"sent": 4, "dropped": 0, "no_gso": False}
    after = probe("counters")
    assert after["misses"] == before["misses"] + 1
    assert after["invalidations"] == before["invalidations"] + 1
    sources = [(source, length) for _, source, _, length in heard(listener)]
    assert sources == [(old.split("/")[0], 100)] + [(new.split("/")[0], 500)] * 4


def test_t21_lost_route_drops_and_is_not_asked_for_again(probe):
    assert probe("send", "203.0.113.5", PORT, 1, 100)["sent"] == 1
    host_ip("addr", "del", "192.0.2.10/24", "dev", "eth0")
    before = probe("counters")
    for _ in range(20):
        assert probe("send", "203.0.113.5", PORT, 1, 100)["sent"] == 0
    after = probe("counters")
    assert after["misses"] - before["misses"] <= 2
    assert after["negatives"] >= 1


def test_t24_blackhole_is_no_route_and_costs_no_segmentation(probe):
    for route in ("203.0.113.5/32", "2001:db8:5::5/128"):
        host_ip("route", "add", "blackhole", route)
        address = route.split("/")[0]
        assert probe.resolve(address)["refusal"] == NO_ROUTE
        assert probe("send", address, PORT, 4, 500) == {"sent": 0, "dropped": 4, "no_gso": False}


def test_t25_interface_down_flushes_though_no_route_event_came(probe):
    generation = probe.resolve("203.0.113.5")["generation"]
    host_ip("link", "set", "eth0", "down")
    assert probe("drain")["generation"] > generation
    assert probe.resolve("203.0.113.5")["refusal"] == NO_ROUTE


def test_t26_address_that_takes_the_default_route_along_is_a_loss(probe):
    """No event says that the default route went."""
    probe("watch", "203.0.113.5")
    generation = probe.resolve("203.0.113.5")["generation"]
    host_ip("addr", "del", "192.0.2.10/24", "dev", "eth0")
    assert probe("drain")["generation"] > generation
    assert probe.resolve("203.0.113.5")["refusal"] == NO_ROUTE
    state = probe("run", 700)
    assert (state["lost"], state["roams"]) == (1, 0)
    assert probe.log().count("Network lost") == 1
    # The same address again is the same network.
    host_ip("addr", "add", "192.0.2.10/24", "dev", "eth0")
    host_ip("route", "add", "default", "via", "192.0.2.1")
    state = probe("run", 700)
    assert (state["lost"], state["roams"]) == (0, 0)
    assert probe.resolve("203.0.113.5")["source"] == "192.0.2.10"


def test_t27_unrelated_interface_that_flaps_disturbs_nobody(probe):
    listener = listen("203.0.113.5")
    link("idle", address="10.255.255.1/24")
    probe("watch", "203.0.113.5")
    before = probe("counters")
    probe.begin("stream", "203.0.113.5", PORT, 2500, 1000)
    time.sleep(0.2)
    host_batch(f"link set idle {state}" for _ in range(1000) for state in ("down", "up"))
    sent = probe.answer()
    after, state = probe("counters"), probe("state")
    assert sent["sent"] > 1000 and sent["dropped"] == 0
    assert after["flushes"] > before["flushes"]
    assert (state["roams"], state["sockets"], state["port"], state["lost"]) == (0, 0, probe.start["port"], 0)
    got = heard(listener)
    assert len(got) == sent["sent"]
    assert {(source, port) for _, source, port, _ in got} == {("192.0.2.10", probe.start["port"])}


def test_t28_own_tunnel_programming_flushes_nothing(probe):
    probe.resolve("203.0.113.5")
    before = probe("drain")["generation"]
    host_ip("route", "add", "10.99.0.0/16", "dev", "tun-firezone", "table", str(0x2021FD00))
    host_ip("route", "add", "203.0.113.0/24", "dev", "tun-firezone", "table", str(0x2021FD01))
    host_ip("addr", "add", "100.64.3.200/32", "dev", "tun-firezone")
    host_ip("addr", "del", "100.64.3.200/32", "dev", "tun-firezone")
    host_ip("link", "set", "tun-firezone", "mtu", "1300")
    for family in ("-4", "-6"):
        host_ip(family, "rule", "del", "priority", "200")
        host_ip(family, "rule", "add", "not", "fwmark", "0xfd002021", "priority", "200", "lookup", str(0x2021FD01))
    assert probe("drain")["generation"] == before
    host_ip("route", "add", "203.0.113.0/24", "via", "192.0.2.1")
    assert probe("drain")["generation"] == before + 1
    host_ip("rule", "add", "priority", "150", "lookup", "main")
    assert probe("drain")["generation"] == before + 2


def routes(action, count, network=10):
    return [f"route {action} {network}.{n // 256}.{n % 256}.0/24 via 192.0.2.1" for n in range(count)]


def test_t29_lost_events_flush_once_and_are_made_up_for(probe):
    probe("watch", "203.0.113.5")
    probe("drain")
    before = probe("counters")
    host_batch(routes("add", 8000))
    link("eth9", address="198.51.100.10/24")
    probe("drain")
    after = probe("counters")
    assert after["event_overruns"] == before["event_overruns"] + 1
    assert after["generation"] == before["generation"] + 1
    # The device that came meanwhile is known: an event that changes nothing about it is nothing.
    generation = probe("drain")["generation"]
    host_ip("link", "set", "eth9", "alias", "known")
    assert probe("drain")["generation"] == generation
    probe.resolve("203.0.113.5")
    host_ip("route", "add", "203.0.113.5", "via", "198.51.100.1")
    assert probe("drain")["generation"] == generation + 1
    assert probe.resolve("203.0.113.5")["source"] == "198.51.100.10"


@pytest.fixture
def second_address(network):
    host_ip("addr", "add", "192.0.2.11/24", "dev", "eth0")
    host_ip("addr", "add", "192.0.2.12/24", "dev", "eth0")


def default_from(source):
    host_ip("route", "replace", "default", "via", "192.0.2.1", "src", source)


def test_t30_new_source_is_one_roam_after_half_a_second(second_address, probe):
    """The cache forgets at once. The order of what follows, and that keys stay: test_roam.py."""
    listener = listen("203.0.113.5")
    probe("watch", "203.0.113.5")
    probe("watch", "203.0.113.6", 5)
    probe.begin("stream", "203.0.113.5", PORT, 1500, 2000)
    time.sleep(0.3)
    before, asked = time.monotonic(), time.time()
    default_from("192.0.2.11")
    after, replaced = time.monotonic(), time.time()
    assert probe.answer()["dropped"] == 0
    state = probe("state")
    assert (state["roams"], state["sockets"], state["port"]) == (1, 0, probe.start["port"])
    assert before + 0.5 <= state["roamed_us"] / 1e6 <= after + 0.9
    roams = [line for line in probe.log().splitlines() if ROAMED in line]
    assert len(roams) == 1
    for word in ("192.0.2.10", "192.0.2.11", "reason=route"):
        assert word in roams[0]
    got = factory.datagrams(listener)
    assert {source for _, source, _, _, at in got if at < asked} == {"192.0.2.10"}
    assert {source for _, source, _, _, at in got if at > replaced + 0.05} == {"192.0.2.11"}


def test_t31_ten_events_in_two_seconds_are_one_roam(second_address, probe):
    probe("watch", "203.0.113.5")
    probe.begin("run", 2800)
    started = time.monotonic()
    for number in range(10):
        time.sleep(max(0, started + number * 0.15 - time.monotonic()))
        default_from(("192.0.2.11", "192.0.2.12")[number % 2])
    assert probe.answer()["roams"] == 1
    assert probe.resolve("203.0.113.5")["source"] == "192.0.2.12"
    assert probe.log().count(ROAMED) == 1


# A router advertisement: a default route for half an hour, and a prefix to make addresses of.
ADVERTISE = """
import socket, struct, sys, time
s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
prefix = struct.pack(">BBBBIII", 3, 4, 64, 0xc0, 3600, 1800, 0) + socket.inet_pton(socket.AF_INET6, "2001:db8:9::")
message = struct.pack(">BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0) + prefix
for _ in range(100):
    try:
        s.sendto(message, ("ff02::1", 0, 0, socket.if_nametoindex("eth0")))
        break
    except OSError:      # the interface is not ready yet
        time.sleep(0.02)
else:
    sys.exit("cannot advertise")
"""


def advertise():
    run(PEER, factory.PYTHON, "-c", ADVERTISE)


def test_t32_router_that_advertises_again_and_again_is_no_roam(probe):
    run(HOST, "sysctl", "-qw", "net.ipv6.conf.eth0.accept_ra=2", "net.ipv6.conf.eth0.use_tempaddr=0")
    host_ip("-6", "route", "del", "default")
    host_ip("-6", "addr", "del", "2001:db8::10/64", "dev", "eth0")
    for _ in range(20):                          # neither end need be ready for the first one
        advertise()
        probe("run", 200)
        if probe.resolve("2001:db8:5::5")["source"].startswith("2001:db8:9:"):
            break
    probe("run", 700)
    first = probe.resolve("2001:db8:5::5")
    assert first["refusal"] == OK and first["source"].startswith("2001:db8:9:")
    probe("watch", "2001:db8:5::5")
    roams = probe("state")["roams"]
    for _ in range(5):
        advertise()
        probe("run", 100)
    state = probe("run", 700)
    assert (state["roams"], state["lost"]) == (roams, 0)
    again = probe.resolve("2001:db8:5::5")
    assert {**again, "generation": 0} == {**first, "generation": 0}


def test_t34_public_address_goes_before_a_temporary_one(probe):
    run(HOST, "sysctl", "-qw", "net.ipv6.conf.eth0.use_tempaddr=2")
    host_ip("-6", "addr", "del", "2001:db8::10/64", "dev", "eth0")
    host_ip("addr", "add", "2001:db8::10/64", "dev", "eth0", "nodad", "mngtmpaddr", "valid_lft", "3600", "preferred_lft", "1800")
    host_ip("-6", "route", "replace", "default", "via", "2001:db8::1")
    for _ in range(50):
        if "temporary" in run(HOST, "ip", "-6", "addr", "show", "dev", "eth0", "-tentative"):
            break
        time.sleep(0.1)
    # The kernel would choose the temporary one.
    chosen = re.search(r"src (\S+)", run(HOST, "ip", "-6", "route", "get", "2001:db8:5::5", "mark", "0xfd002021")).group(1)
    assert chosen != "2001:db8::10"
    probe("drain")
    assert probe.resolve("2001:db8:5::5")["source"] == "2001:db8::10"
    listener = listen("2001:db8:5::5")
    assert probe("send", "2001:db8:5::5", PORT, 1, 100)["sent"] == 1
    assert [source for _, source, _, _ in heard(listener)] == ["2001:db8::10"]


def test_t35_only_loopback_left_is_refused(probe):
    """The kernel names ::1 as the source where the interface has no address left."""
    host_ip("-6", "route", "add", "2001:db8:5::/64", "dev", "eth0")
    host_ip("-6", "addr", "flush", "dev", "eth0", "scope", "global")
    host_ip("-6", "addr", "flush", "dev", "eth0")
    host_ip("-6", "route", "replace", "2001:db8:5::/64", "dev", "eth0")
    host_ip("-6", "addr", "del", "fd00:2021:1111::9/128", "dev", "tun-firezone")
    probe("drain")
    assert probe.resolve("2001:db8:5::5")["refusal"] in (NO_SOURCE, NO_ROUTE)
    assert probe("counters")["entries"] == 0


def test_t36_own_address_is_local(probe):
    got = probe.resolve("192.0.2.10")
    assert (got["refusal"], got["source"], got["table"]) == (OK, "192.0.2.10", 255)


TAKE = """
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    try:
        s.bind(("0.0.0.0", int(sys.argv[1])))
        break
    except OSError:
        time.sleep(0.005)
print("ready", flush=True)
sys.stdin.read()
"""


def test_t41_roam_keeps_the_port_and_a_taken_one_is_replaced(second_address, probe):
    port = probe.start["port"]
    probe("watch", "203.0.113.5")
    default_from("192.0.2.11")
    state = probe("run", 1100)
    assert (state["roams"], state["port"], state["sockets"]) == (1, port, 0)
    # Another process is quicker than the helper, which waits meanwhile.
    helper = probe.helpers[0].process
    helper.send_signal(signal.SIGSTOP)
    probe.begin("sighup")
    taker = subprocess.Popen(factory.inside(HOST, factory.PYTHON, "-c", TAKE, port), stdin=subprocess.PIPE, text=True,
                             stdout=subprocess.PIPE)
    assert taker.stdout.readline() == "ready\n"
    helper.send_signal(signal.SIGCONT)
    probe.answer()
    state = probe("run", 1500)
    taker.kill()
    taker.wait()
    assert state["port"] == state["told_port"] != port
    assert state["told_was"] == port and state["sockets"] >= 1
    assert re.search(rf"New UDP socket .*port={state['port']} .*was_port={port}", probe.log())
    listener = listen("203.0.113.5")
    assert probe("send", "203.0.113.5", PORT, 1, 100)["sent"] == 1
    assert [(source, sport) for _, source, sport, _ in heard(listener)] == [("192.0.2.11", state["port"])]


def test_t42_stray_datagrams_to_a_query_are_ignored(probe, name_server):
    name_server.process.stdin.write("mode stray\n")
    assert name_server.process.stdout.readline() == "ok\n"
    assert probe("ask", 0, 50) == {"answered": 50, "addresses": 100}
    queries = name_server.queries()
    # Answered the first time: no query was given up because of a stray.
    assert len(queries) == 100


def test_t43_routes_that_concern_nobody_change_nothing(probe):
    probe.resolve("203.0.113.5")
    generation = probe("drain")["generation"]
    probe.begin("run", 2000)
    pace(lambda number: routes("add", 10 * (number + 1))[10 * number:], 0.01, 1.7)
    probe.answer()
    assert probe("drain")["generation"] == generation
    assert probe("counters")["event_overruns"] == 0
    host_ip("route", "add", "203.0.113.0/25", "via", "192.0.2.1")
    assert probe("drain")["generation"] == generation + 1


def pace(lines, every, seconds):
    """Commands of ip(8): lines(n) at the nth of steps that are that many seconds apart. Returns the number of steps."""
    batch = subprocess.Popen(factory.inside(HOST, "ip", "-batch", "-"), stdin=subprocess.PIPE, text=True, bufsize=1 << 16)
    started, number = time.monotonic(), 0
    while time.monotonic() < started + seconds:
        batch.stdin.write("\n".join(lines(number)) + "\n")
        batch.stdin.flush()
        number += 1
        time.sleep(max(0, started + number * every - time.monotonic()))
    batch.stdin.close()
    assert batch.wait(20) == 0
    return number


def cpu_seconds(pid):
    return int(pathlib.Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def test_t44_address_that_comes_and_goes_a_thousand_times_a_second(probe):
    """While it is there, it is the source of what is sent."""
    listener = listen("203.0.113.5")
    probe("watch", "203.0.113.5")
    assert probe("watch", "198.18.0.1", 1000)["watched"] == 1000
    probe("drain")
    before, cpu, started = probe("counters"), cpu_seconds(probe.process.pid), time.monotonic()
    probe.begin("stream", "203.0.113.5", PORT, 3000, 1000)
    pairs = 10 * pace(lambda _: ["addr add 192.0.2.77/32 dev eth0",
                                 "route add 203.0.113.5 via 192.0.2.1 src 192.0.2.77",
                                 "addr del 192.0.2.77/32 dev eth0"] * 10, 0.01, 2)
    last = time.time()
    probe.answer()
    after, seconds = probe("counters"), time.monotonic() - started
    assert pairs > 1000
    assert 2 <= after["generation"] - before["generation"] <= 20 * seconds
    assert cpu_seconds(probe.process.pid) - cpu < seconds / 2
    got = factory.datagrams(listener)
    assert {source for _, source, _, _, at in got if at > last + 0.05} == {"192.0.2.10"}
    assert {source for _, source, _, _, _ in got} <= {"192.0.2.10", "192.0.2.77"}
    # What came and went never was there when the egress was compared, or it was: a roam is decided at most each half second.
    assert probe("state")["roams"] <= 2 * seconds


def test_t45_address_that_moves_to_another_interface_is_no_roam(probe):
    """Sends from it succeed all the while: only the events tell."""
    link("eth1")
    probe("watch", "203.0.113.5")
    generation = probe.resolve("203.0.113.5")["generation"]
    host_ip("addr", "del", "192.0.2.10/24", "dev", "eth0")
    host_ip("addr", "add", "192.0.2.10/32", "dev", "eth1")
    host_ip("route", "add", "192.0.2.1", "dev", "eth0")
    host_ip("route", "add", "default", "via", "192.0.2.1", "src", "192.0.2.10")
    assert probe("drain")["generation"] > generation
    state = probe("run", 700)
    assert (state["roams"], state["lost"]) == (0, 0)
    assert probe.resolve("203.0.113.5")["source"] == "192.0.2.10"
    # And then it is nowhere.
    host_ip("addr", "add", "192.0.2.11/24", "dev", "eth0")
    host_ip("addr", "del", "192.0.2.10/32", "dev", "eth1")
    host_ip("route", "replace", "default", "via", "192.0.2.1")
    assert probe("run", 700)["roams"] == 1
    assert probe.resolve("203.0.113.5")["source"] == "192.0.2.11"


def icmp_unreachable(inner_source, inner_port, dst, dst_port, code):
    """An ICMP message that claims that a datagram of the host's did not arrive."""
    def checksum(data):
        total = sum(struct.unpack(f">{len(data) // 2}H", data))
        total = (total & 0xFFFF) + (total >> 16)
        return ~(total + (total >> 16)) & 0xFFFF

    inner = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 128, 1, 0, 64, 17, 0, socket.inet_aton(inner_source),
                        socket.inet_aton(dst)) + struct.pack(">HHHH", inner_port, dst_port, 108, 0)
    body = struct.pack(">BBHI", 3, code, 0, 0) + inner
    return body[:2] + struct.pack(">H", checksum(body)) + body[4:]


FORGE = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
print("ready", flush=True)
for line in sys.stdin:
    s.sendto(bytes.fromhex(line.strip()), ("192.0.2.10", 0))
    print("ok", flush=True)
"""


def test_t46_icmp_errors_for_one_peer_lose_nothing_to_another(probe):
    """Real unreachables from a closed port of A's, and forged ones, between sends to B."""
    listener = listen("203.0.113.6", "2001:db8:5::6")
    forger = python("-c", FORGE)
    run(PEER, "sysctl", "-qw", "net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0")
    for _ in range(50):
        assert probe("send", "203.0.113.5", PORT, 1, 100)["sent"] == 1
        assert probe("send", "2001:db8:5::5", PORT, 1, 100)["sent"] == 1
        for code in (1, 3, 13):
            message = icmp_unreachable("192.0.2.10", probe.start["port"], "203.0.113.5", PORT, code)
            forger.process.stdin.write(message.hex() + "\n")
            assert forger.process.stdout.readline() == "ok\n"
        assert probe("send", "203.0.113.6", PORT, 1, 100) == {"sent": 1, "dropped": 0, "no_gso": False}
        assert probe("send", "2001:db8:5::6", PORT, 1, 100) == {"sent": 1, "dropped": 0, "no_gso": False}
    forger.stop()
    datagrams = heard(listener)
    assert [a for a, _, _, _ in datagrams].count("203.0.113.6") == 50
    assert [a for a, _, _, _ in datagrams].count("2001:db8:5::6") == 50
    received = run(HOST, "cat", "/proc/net/snmp").split("IcmpMsg:")[1:]
    counts = dict(zip(received[0].split(), received[1].split("\n")[0].split()))
    assert int(counts["InType3"]) >= 150, "the errors did not arrive"
    assert probe("counters")["negatives"] == 0
    probe("drain")
    assert probe("counters")["negatives"] == 0
