"""The socket factory against the real kernel and a real helper. The numbers are those of the factory's list of tests.

    host (eth0: 192.0.2.10, 2001:db8::10) -- peer (192.0.2.1, 2001:db8::1, and what is behind it)

factory-probe is the worker's own code for sockets, names and routes; every test has a new pair of namespaces.
"""

import contextlib
import json
import os
import pathlib
import re
import select
import shutil
import socket
import struct
import subprocess
import sys
import time

import pytest

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "attack" / "helper"))

import harness  # noqa: E402 (the helper's other end, from the attack tests)

HERE = pathlib.Path(__file__).resolve().parent
PYTHON = "/usr/bin/python3"
# Several runs may go on at once; what a killed one left is cleared by the next.
PREFIX = "fzsock"
HOST, PEER = f"{PREFIX}{os.getpid()}-host", f"{PREFIX}{os.getpid()}-peer"
ANSWER_SECONDS = 30
OK, NO_ROUTE, VIA_TUNNEL, NO_SOURCE = range(4)
RESOLVED = "Resolved best route outside of tunnel interface"
REFUSED = "No usable route outside of tunnel"
NAME_SERVER = "203.0.113.53"
PORT = 4500
LISTEN = """
import select, socket, sys
out = [socket.socket(socket.AF_INET6 if ":" in a else socket.AF_INET, socket.SOCK_DGRAM) for a in sys.argv[2:]]
for s, a in zip(out, sys.argv[2:]):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    s.bind((a, int(sys.argv[1])))
print("ready", flush=True)
while True:
    for s in select.select(out, [], [])[0]:
        data, source = s.recvfrom(65536)
        print(s.getsockname()[0], source[0], source[1], len(data), flush=True)
"""


def build():
    path = os.environ.get("FZGW_BUILD")
    return pathlib.Path(path) if path else pathlib.Path(harness.helper_path()).parent.parent


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True)


def inside(name, *argv):
    return ["ip", "netns", "exec", name, *map(str, argv)]


def run(name, *argv):
    return subprocess.run(inside(name, *argv), check=True, capture_output=True, text=True).stdout


def host_ip(*words):
    ip("-n", HOST, *words)


def clear():
    """Removes our namespaces and those of runs that are no more, with what is inside."""
    for path in pathlib.Path("/run/netns").glob(f"{PREFIX}[0-9]*-*"):
        owner = int(re.match(rf"{PREFIX}(\d+)-", path.name).group(1))
        if owner != os.getpid() and os.path.exists(f"/proc/{owner}"):
            continue
        for pid in subprocess.run(["ip", "netns", "pids", path.name], capture_output=True, text=True,
                                  check=True).stdout.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), 9)
        ip("netns", "del", path.name)


@pytest.fixture(autouse=True)
def network():
    if os.geteuid() != 0:
        pytest.skip("needs root, for network namespaces")
    clear()
    for name in (HOST, PEER):
        ip("netns", "add", name)
        ip("-n", name, "link", "set", "lo", "up")
        run(name, "sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.all.accept_dad=0")
    ip("link", "add", "eth0", "netns", HOST, "type", "veth", "peer", "name", "eth0", "netns", PEER)
    for name, end in ((HOST, "10"), (PEER, "1")):
        ip("-n", name, "link", "set", "eth0", "address", f"02:00:00:00:00:{end:0>2}")
        ip("-n", name, "addr", "add", f"192.0.2.{end}/24", "dev", "eth0")
        ip("-n", name, "addr", "add", f"2001:db8::{end}/64", "dev", "eth0", "nodad")
        ip("-n", name, "link", "set", "eth0", "up")
    # The first solicitation of a new link may be lost, and a second goes by.
    for name, address, end in ((HOST, "2001:db8::1", "01"), (PEER, "2001:db8::10", "10"), (PEER, "2001:db8::11", "10")):
        ip("-n", name, "neigh", "add", address, "lladdr", f"02:00:00:00:00:{end}", "dev", "eth0")
    host_ip("route", "add", "default", "via", "192.0.2.1")
    host_ip("route", "add", "default", "via", "2001:db8::1")
    for address in (NAME_SERVER, "203.0.113.5", "203.0.113.6", "2001:db8:5::5", "2001:db8:5::6"):
        ip("-n", PEER, "addr", "add", address, "dev", "lo")
    yield
    clear()


class Probe:
    """A running factory-probe, its helper, and what it logs."""

    def __init__(self, directory, strace=None):
        program = build() / "tests" / "interop" / "factory-probe"
        (directory / "resolv.conf").write_text(f"nameserver {NAME_SERVER}\n")
        (directory / "hosts").write_text("192.0.2.200 known.example\n")
        self.helper = harness.Helper(greet=False, argv=inside(HOST, harness.helper_path()))
        self.log_path = directory / "log"
        argv = [program, self.helper.sock.fileno(), directory / "resolv.conf", directory / "hosts"]
        env = dict(os.environ)
        if strace:
            argv = ["strace", "-f", "-qq", "-e", "trace=sendto,sendmsg", "-o", strace, *argv]
            env["ASAN_OPTIONS"] = "detect_leaks=0"
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(inside(HOST, *argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env,
                                            stderr=log, text=True, bufsize=1, pass_fds=(self.helper.sock.fileno(),))
        self.start = self.answer()

    def answer(self):
        assert select.select([self.process.stdout], [], [], ANSWER_SECONDS)[0], "no answer\n" + self.log()
        line = self.process.stdout.readline()
        assert line, self.log()
        self.helper.drain()
        return json.loads(line)

    def __call__(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        return self.answer()

    def ask(self, first, count):
        """Its helper's log must not fill up meanwhile."""
        done = 0
        answers = {"answered": 0, "addresses": 0}
        while done < count:
            part = self("ask", first + done, min(200, count - done))
            done += part["answered"]
            for key, value in part.items():
                answers[key] += value
        return answers

    def resolve(self, address, *scope):
        return self("resolve", address, *scope)

    def log(self):
        return self.log_path.read_text()

    def stop(self):
        self.process.stdin.close()
        try:
            status = self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        self.helper.stop()
        assert status == 0, self.log()[-4000:]
        assert "Sanitizer" not in self.log()


@pytest.fixture
def probe(tmp_path, network):
    running = Probe(tmp_path)
    yield running
    running.stop()


class Program:
    """A Python program in the peer's namespace that says "ready"."""

    def __init__(self, *argv, out=subprocess.PIPE):
        self.process = subprocess.Popen(inside(PEER, PYTHON, "-B", *argv), stdin=subprocess.PIPE, stdout=out, text=True,
                                        bufsize=1)
        assert self.process.stdout.readline() == "ready\n"

    def stop(self):
        self.process.kill()
        self.process.wait()
        return self.process.stdout.read()


@pytest.fixture
def name_server(tmp_path, network):
    server = Program(HERE / "name_server.py", NAME_SERVER, tmp_path / "queries")
    server.queries = lambda: [line.split() for line in (tmp_path / "queries").read_text().splitlines()]
    yield server
    server.stop()


def listen(*addresses, port=PORT):
    return Program("-c", LISTEN, port, *addresses)


def heard(listener):
    """(address, source, source port, length) of every datagram; ends the listener."""
    time.sleep(0.3)
    return [(a, s, int(p), int(n)) for a, s, p, n in (line.split() for line in listener.stop().splitlines())]


def test_t1_one_lookup_one_line_in_both_families(probe):
    v4, v6 = probe.resolve("203.0.113.5"), probe.resolve("2001:db8:5::5")
    assert (v4["refusal"], v4["source"], v4["gateway"], v4["table"]) == (OK, "192.0.2.10", "192.0.2.1", 254)
    assert (v6["refusal"], v6["source"], v6["gateway"], v6["table"]) == (OK, "2001:db8::10", "2001:db8::1", 254)
    assert v4["ifindex"] == v6["ifindex"] != probe.start["tun"]
    for _ in range(3):
        assert probe.resolve("203.0.113.5") == v4
        assert probe.resolve("2001:db8:5::5") == v6
    assert probe("counters")["misses"] == 2
    assert probe.log().count(RESOLVED) == 2


def test_t5_ten_thousand_queries_are_one_lookup(tmp_path, network, name_server):
    """Each query leaves by a socket of its own, and the kernel is asked for a route once."""
    if not shutil.which("strace"):
        pytest.skip("needs strace")
    trace = tmp_path / "trace"
    probe = Probe(tmp_path, strace=trace)
    answers = probe.ask(0, 5000)
    counters = probe("counters")
    queries = name_server.queries()
    probe.stop()
    assert answers == {"answered": 5000, "addresses": 10000}
    assert len(queries) == 10000
    assert len({(kind, name) for _, kind, name in queries}) == 10000
    calls = trace.read_text()
    assert len(re.findall(r"RTM_GETROUTE", calls)) == 1
    assert counters["misses"] == 1 and counters["hits"] == 9999
    assert probe.log().count(RESOLVED) == 1
    # A new port is drawn from some 28,000 for each; two thirds are expected to be distinct, one socket would have one.
    ports = [port for port, _, _ in queries]
    assert len(set(ports)) > 5000
    # Random draws repeat themselves now and then: by chance 0.4 times in 10,000, more than 5 times once in a million runs.
    assert sum(a == b for a, b in zip(ports, ports[1:])) <= 5


def test_t6_reset_asks_the_kernel_once_more(probe, name_server):
    assert probe.ask(0, 10)["addresses"] == 20
    generation = probe("counters")["generation"]
    assert probe("reset")["generation"] == generation + 1
    assert probe.ask(10, 10)["addresses"] == 20
    assert probe("counters")["misses"] == 2


def test_t10_route_into_the_tunnel_is_refused(probe):
    listener = listen("203.0.113.5", "2001:db8:5::5")
    host_ip("route", "add", "203.0.113.0/24", "dev", "tun-firezone")
    host_ip("route", "add", "2001:db8:5::/64", "dev", "tun-firezone")
    for address in ("203.0.113.5", "2001:db8:5::5"):
        assert probe.resolve(address)["refusal"] == VIA_TUNNEL
        assert probe("send", address, PORT, 2, 100) == {"sent": 0, "dropped": 2, "no_gso": False}
    assert probe("counters")["entries"] == 0
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
    host_ip("route", "add", "default", "via", "2001:db8::1", "dev", "eth0", "onlink")
    probe("drain")
    assert probe.resolve("2001:db8:5::5")["refusal"] == OK


def test_t16_families_are_two_entries_and_mapped_is_ipv4(probe):
    assert probe.resolve("203.0.113.5")["source"] == "192.0.2.10"
    assert probe.resolve("2001:db8:5::5")["source"] == "2001:db8::10"
    assert probe.resolve("::ffff:203.0.113.5")["source"] == "192.0.2.10"
    counters = probe("counters")
    assert (counters["entries"], counters["misses"]) == (2, 2)


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


def test_t26_address_that_takes_the_default_route_along_flushes(probe):
    generation = probe.resolve("203.0.113.5")["generation"]
    host_ip("addr", "del", "192.0.2.10/24", "dev", "eth0")
    assert probe("drain")["generation"] > generation
    assert probe.resolve("203.0.113.5")["refusal"] == NO_ROUTE


def test_t28_own_tunnel_programming_flushes_nothing(probe):
    before = probe("drain")["generation"]
    host_ip("route", "add", "10.99.0.0/16", "dev", "tun-firezone", "table", str(0x2021FD00))
    host_ip("addr", "add", "100.64.3.200/32", "dev", "tun-firezone")
    host_ip("link", "set", "tun-firezone", "mtu", "1300")
    host_ip("rule", "add", "not", "fwmark", "0xfd002021", "priority", "150", "lookup", str(0x2021FD00))
    assert probe("drain")["generation"] == before
    host_ip("route", "add", "10.98.0.0/16", "via", "192.0.2.1")
    assert probe("drain")["generation"] == before + 1


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


def test_t42_stray_datagrams_to_a_query_are_ignored(probe, name_server):
    name_server.process.stdin.write("mode stray\n")
    assert name_server.process.stdout.readline() == "ok\n"
    assert probe.ask(0, 50) == {"answered": 50, "addresses": 100}
    queries = name_server.queries()
    # Answered the first time: no query was given up because of a stray.
    assert len(queries) == 100


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
    forger = Program("-c", FORGE)
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
