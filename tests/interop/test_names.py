"""The resolver with the factory's sockets against unbound, dnsmasq and worse, seen from the wire.

factory-probe (factory.py) asks; what leaves the host is captured at the other end of its link, by the kernel's clock.
"""

import collections
import os
import shutil
import time

import factory
import pytest
from factory import HOST, NAME_SERVER, PEER, ROAMED, Probe, host_ip, python, run

HELPERS = 16                                 # one hands out 500 sockets a second
TIMEOUT_S = 1
DEAD, LIAR, LAME, GOOD, GOOD6 = "203.0.113.51", "203.0.113.52", "203.0.113.54", NAME_SERVER, "2001:db8:5::53"
A, AAAA, BAD = "203.0.113.7", "2001:db8:5::7", ("198.51.100.66", "2001:db8:bad::1")
MANY = 40                                    # addresses of a name with a truncated answer
UNBOUND = f"""
server:
    interface: {GOOD}
    interface: {GOOD6}
    access-control: 0.0.0.0/0 allow
    access-control: ::/0 allow
    do-daemonize: no
    username: ""
    chroot: ""
    pidfile: ""
    use-syslog: no
    verbosity: 0
    so-rcvbuf: 1m
    max-udp-size: 512
    local-zone: "example." redirect
    local-data: "example. 60 A {A}"
    local-data: "example. 60 AAAA {AAAA}"
    local-zone: "big." redirect
""" + "".join(f'    local-data: "big. 60 A 203.0.113.{n}"\n    local-data: "big. 60 AAAA 2001:db8:5::{n:x}"\n'
              for n in range(1, MANY + 1)) + """
remote-control:
    control-enable: no
"""
# Prints time, direction (0: in), source, port, destination, port and id of every datagram to and from port 53.
TAP = """
import socket, struct, sys
tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
tap.bind(("eth0", 0))
tap.setsockopt(socket.SOL_SOCKET, 33, 1 << 26)       # SO_RCVBUFFORCE
tap.setsockopt(socket.SOL_SOCKET, 35, 1)             # SO_TIMESTAMPNS
out = open(sys.argv[1], "w", buffering=1 << 16)
print("ready", flush=True)
while True:
    packet, control, _, (_, protocol, kind, _, _) = tap.recvmsg(2048, 64)
    if protocol == 0x800 and packet[9] == 17 and not struct.unpack_from(">H", packet, 6)[0] & 0x1fff:
        at, source, destination = (packet[0] & 15) * 4, packet[12:16], packet[16:20]
    elif protocol == 0x86dd and packet[6] == 17:
        at, source, destination = 40, packet[8:24], packet[24:40]
    else:
        continue
    ports = struct.unpack_from(">HH", packet, at)
    if len(packet) < at + 10 or 53 not in ports:
        if len(packet) >= at + 12 and packet[at + 8:at + 12] == b"stop":
            out.close()
            print("stopped", flush=True)
            break
        continue
    family = socket.AF_INET if len(source) == 4 else socket.AF_INET6
    seconds, nanoseconds = struct.unpack("qq", control[0][2])
    print(f"{seconds + nanoseconds / 1e9:.6f}", int(kind == socket.PACKET_OUTGOING), socket.inet_ntop(family, source), ports[0],
          socket.inet_ntop(family, destination), ports[1], struct.unpack_from(">H", packet, at + 8)[0], file=out)
"""
Seen = collections.namedtuple("Seen", "time out source sport destination dport id")


@pytest.fixture(autouse=True)
def network():
    if os.geteuid() != 0:
        pytest.skip("needs root, for network namespaces")
    factory.up()
    # What a wrong choice would find.
    host_ip("addr", "add", "192.0.2.11/24", "dev", "eth0")
    host_ip("link", "add", "eth1", "type", "veth", "peer", "name", "far1")
    host_ip("addr", "add", "198.51.100.10/24", "dev", "eth1")
    host_ip("addr", "add", "2001:db8:1::10/64", "dev", "eth1", "nodad")
    for name in ("eth1", "far1"):
        host_ip("link", "set", name, "up")
    for address in (LIAR, LAME, GOOD6):
        factory.ip("-n", PEER, "addr", "add", address, "dev", "lo")
    yield
    factory.clear()


class Tap:
    def __init__(self, directory):
        self.path = directory / "capture"
        self.program = python("-c", TAP, self.path)

    def stop(self):
        """Everything that was sent before this."""
        run(PEER, "/usr/bin/python3", "-c", "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM)"
            ".sendto(b'stop', ('192.0.2.10', 9))")
        assert self.program.process.stdout.readline() == "stopped\n"
        self.program.stop()
        seen = []
        for line in self.path.read_text().splitlines():
            at, out, source, sport, destination, dport, number = line.split()
            seen.append(Seen(float(at), out == "1", source, int(sport), destination, int(dport), int(number)))
        return seen


@pytest.fixture
def tap(tmp_path, network):
    running = Tap(tmp_path)
    yield running
    running.program.stop()


@pytest.fixture
def servers(tmp_path, network):
    """All there is beside the dead one."""
    for name in ("unbound", "dnsmasq"):
        if not shutil.which(name):
            pytest.skip(f"needs {name}")
    config = tmp_path / "unbound.conf"
    config.write_text(UNBOUND)
    # A copy, since AppArmor lets the one that is installed read no configuration but its own.
    unbound = shutil.copy(shutil.which("unbound"), tmp_path / "unbound")
    running = [factory.Program(unbound, "-d", "-c", config, ready=False),
               factory.Program("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
                               "--bind-interfaces", f"--listen-address={LAME}", "--port=53", "--user=root", "--pid-file=",
                               ready=False)]
    liar = python(factory.HERE / "name_server.py", LIAR, tmp_path / "queries")
    liar.process.stdin.write("mode lie\n")
    assert liar.process.stdout.readline() == "ok\n"
    for address in (GOOD, LAME):
        wait_listening(address)
    yield {"liar": liar}
    for program in (*running, liar):
        program.stop()


def wait_listening(address):
    for _ in range(100):
        if f"{address}:53" in run(PEER, "ss", "-Hltn"):
            return
        time.sleep(0.05)
    raise AssertionError(f"nothing listens on {address}")


@pytest.fixture
def start(tmp_path, network):
    """Starts a probe with these servers."""
    running = []

    def begin(*names, helpers=HELPERS):
        probe = Probe(tmp_path, helpers=helpers, servers=())
        running.append(probe)
        write_servers(probe, *names)
        probe("sighup")
        return probe

    yield begin
    for probe in running:
        probe.stop()


def write_servers(probe, *names):
    probe.resolv_conf.write_text("".join(f"nameserver {name}\n" for name in names) + f"options timeout:{TIMEOUT_S}\n")


def queries_of(seen):
    return [one for one in seen if not one.out and one.dport == 53]


def assert_ports(seen, silent):
    """No port again while its earlier query is under way; repeats no more than random draws give."""
    under_way, again, queries = {}, [], 0
    for one in seen:
        earlier = under_way.get(one.dport if one.out else one.sport)
        if one.out and one.source not in silent and earlier and earlier.id == one.id:
            del under_way[one.dport]
        elif not one.out and one.dport == 53:
            queries += 1
            if earlier and one.time < earlier.time + TIMEOUT_S:
                again.append((earlier, one))
            under_way[one.sport] = one
    # What is not answered, or no longer waited for when the network changes, may meet its port again by chance: some dozens of
    # queries, each a second long, of some dozens in that time; more than twice in less than one of ten thousand runs.
    assert len(again) <= 2, again
    low, high = map(int, run(HOST, "cat", "/proc/sys/net/ipv4/ip_local_port_range").split())
    ports = [one.sport for one in queries_of(seen)]
    assert all(low <= port <= high for port in ports)
    # n draws from s leave s * (1 - 1/s) ** n untouched, with a variance below s * u * (1 - u) for u = (1 - 1/s) ** n.
    space = high - low + 1
    untouched = (1 - 1 / space) ** queries
    spread = (space * untouched * (1 - untouched)) ** 0.5
    assert len(set(ports)) >= space * (1 - untouched) - 6 * spread, f"{len(set(ports))} of {queries}"
    # By chance the same one comes twice in a row queries / space times, more than 10 more than that once in a million runs.
    assert sum(a == b for a, b in zip(ports, ports[1:])) <= queries / space + 10


def test_ten_thousand_names_past_a_dead_a_lying_and_a_lame_server(start, servers, tap):
    """Half way through the network gives the host another source address; no query leaves from a wrong one."""
    probe = start(DEAD, LIAR, LAME, GOOD)
    count = 10000
    probe.begin("ask", 0, count, 4)
    time.sleep(TIMEOUT_S * 2 + 2)
    moving = time.time()
    host_ip("route", "replace", "default", "via", "192.0.2.1", "src", "192.0.2.11")
    moved = time.time()
    assert probe.answer(120) == {"answered": count, "addresses": 2 * count}
    queries = queries_of(seen := tap.stop())
    after = [one for one in queries if one.time > moved + 0.05]
    assert len(after) > 1000 and len(queries) > 4 * count
    assert {one.source for one in queries if one.time < moving} == {"192.0.2.10"}
    assert {one.source for one in after} == {"192.0.2.11"}
    assert {one.source for one in queries} == {"192.0.2.10", "192.0.2.11"}
    assert probe.log().count(ROAMED) == 2    # SIGHUP and this
    asked = collections.Counter(one.destination for one in queries)
    # Who was silent is left alone: asked by the names that were under way, once more after the move.
    assert 0 < asked[DEAD] <= 200 and 0 < asked[LIAR] <= 200
    assert asked[LAME] >= 2 * count and asked[GOOD] >= 2 * count
    assert_ports(seen, (DEAD, LIAR))


def test_ipv6_server_is_asked_from_the_ipv6_source(start, servers, tap):
    probe = start(GOOD6)
    assert probe("ask", 0, 500) == {"answered": 500, "addresses": 1000}
    seen = tap.stop()
    queries = queries_of(seen)
    assert len(queries) == 1000 and {one.source for one in queries} == {"2001:db8::10"}
    assert_ports(seen, ())


def test_liar_is_not_believed_and_does_not_fail_the_name(start, servers):
    probe = start(LIAR, GOOD)
    for number in range(5):
        assert sorted(probe("lookup", f"n{number}.example")["addresses"]) == sorted([AAAA, A])
    assert not any(bad in probe.log() for bad in BAD)


def test_servfail_moves_on_to_the_next_server(start, servers):
    servers["liar"].process.stdin.write("mode servfail\n")
    assert servers["liar"].process.stdout.readline() == "ok\n"
    probe = start(LIAR, GOOD)
    started = time.monotonic()
    assert probe("ask", 0, 50, 4) == {"answered": 50, "addresses": 100}
    assert time.monotonic() - started < TIMEOUT_S


def test_truncated_answer_is_asked_for_over_tcp(start, servers, tap):
    """unbound cuts what does not fit 512 bytes."""
    probe = start(GOOD)
    got = probe("lookup", "all.big")["addresses"]
    assert got and all(address.startswith(("203.0.113.", "2001:db8:5::")) for address in got)
    both = [address for address in got if ":" in address], [address for address in got if ":" not in address]
    # More than would fit into 512 bytes, in one family at least.
    assert max(map(len, both)) > 16 or len(got) == 32
    queries = queries_of(tap.stop())
    assert len(queries) == 2
    assert int(run(PEER, "awk", "/^Tcp: [0-9]/ {print $7}", "/proc/net/snmp")) == 2, "connections that were accepted"


def test_resolv_conf_that_changes_is_read_again(start, servers, tmp_path):
    """At once with SIGHUP; else before a lookup, when what was read is not fresh."""
    probe = start(GOOD)
    assert len(probe("lookup", "first.example")["addresses"]) == 2
    servers["liar"].process.stdin.write("mode good\n")
    assert servers["liar"].process.stdout.readline() == "ok\n"
    log = tmp_path / "queries"
    write_servers(probe, LIAR)
    changed = time.monotonic()
    number = 0
    while "again" not in log.read_text():
        assert time.monotonic() - changed < 30
        assert len(probe("lookup", f"again{number}.example")["addresses"]) == 2
        number += 1
        time.sleep(0.5)
    write_servers(probe, GOOD)
    probe("sighup")
    asked = len(log.read_text().splitlines())
    assert len(probe("lookup", "last.example")["addresses"]) == 2
    assert len(log.read_text().splitlines()) == asked


def test_hosts_file_comes_first(start, servers, tap):
    probe = start(GOOD)
    assert probe("lookup", "known.example") == {"addresses": ["192.0.2.200"]}
    assert queries_of(tap.stop()) == []
