"""What an honest worker gets: sockets, netlink and files, with every option read back."""

import errno
import fcntl
import os
import select
import socket
import struct
import subprocess
import sys

import pytest

import harness
from harness import (DNS, DNS_LISTEN, FILE_OPEN, MARK, PEER, PORTAL, ROUTE_OPEN, TCP_CONNECT, UDP_OPEN, V4, V6, args)

SO_MARK, SO_RCVBUF, SO_SNDBUF = 36, 8, 7
IP_PKTINFO, IP_MTU_DISCOVER, IP_RECVERR, IP_RECVTOS = 8, 10, 11, 13
IPV6_MTU_DISCOVER, IPV6_RECVERR, IPV6_V6ONLY, IPV6_RECVPKTINFO = 23, 25, 26, 49
IPV6_DONTFRAG, IPV6_RECVTCLASS, IPV6_ADDR_PREFERENCES = 62, 66, 72
UDP_GRO, SOL_UDP = 104, 17


def take(fd):
    return socket.socket(fileno=fd)


# --- sockets

def options(sock, wanted):
    return {name: sock.getsockopt(level, name) for level, name in wanted}


def mark(sock):
    return sock.getsockopt(socket.SOL_SOCKET, SO_MARK) & 0xFFFFFFFF


def nonblocking(sock):
    return bool(fcntl.fcntl(sock, fcntl.F_GETFL) & os.O_NONBLOCK)


def test_peer_socket_ipv4_has_its_options(start):
    reply = start(receive=1 << 20, send=1 << 19).ask(UDP_OPEN, args(family=4, role=PEER, number=1))
    with take(reply.fds[0]) as sock:
        assert mark(sock) == MARK and nonblocking(sock)
        assert sock.getsockname() == ("0.0.0.0", 52625)
        assert struct.unpack_from("=H", reply.body)[0] == 52625
        assert sock.getsockopt(socket.SOL_SOCKET, SO_RCVBUF) == 2 << 20
        assert sock.getsockopt(socket.SOL_SOCKET, SO_SNDBUF) == 2 << 19
        assert options(sock, [(0, IP_PKTINFO), (0, IP_RECVTOS), (0, IP_MTU_DISCOVER), (0, IP_RECVERR), (SOL_UDP, UDP_GRO)]
                       ) == {IP_PKTINFO: 1, IP_RECVTOS: 1, IP_MTU_DISCOVER: 3, IP_RECVERR: 0, UDP_GRO: 1}


def test_peer_socket_ipv6_has_its_options(start):
    reply = start().ask(UDP_OPEN, args(family=6, role=PEER, number=1))
    with take(reply.fds[0]) as sock:
        assert mark(sock) == MARK and sock.getsockname()[:2] == ("::", 52625)
        assert sock.getsockopt(socket.SOL_SOCKET, SO_RCVBUF) == 2 * (16 << 20)
        assert options(sock, [(41, name) for name in (IPV6_V6ONLY, IPV6_RECVPKTINFO, IPV6_RECVTCLASS, IPV6_MTU_DISCOVER,
                                                      IPV6_DONTFRAG, IPV6_RECVERR)]) == {
            IPV6_V6ONLY: 1, IPV6_RECVPKTINFO: 1, IPV6_RECVTCLASS: 1, IPV6_MTU_DISCOVER: 3, IPV6_DONTFRAG: 1, IPV6_RECVERR: 0}
        assert sock.getsockopt(41, IPV6_ADDR_PREFERENCES) & 2
        assert sock.getsockopt(SOL_UDP, UDP_GRO) == 1


@pytest.mark.parametrize("family", [4, 6])
def test_peer_socket_takes_the_next_port_when_its_own_is_taken(start, family):
    with socket.socket(socket.AF_INET6 if family == 6 else socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("", 52625))
        reply = start().ask(UDP_OPEN, args(family=family, role=PEER, number=1))
        assert reply.error == 0
        with take(reply.fds[0]) as sock:
            port = sock.getsockname()[1]
            assert port != 52625 and port == struct.unpack_from("=H", reply.body)[0]


@pytest.mark.parametrize("family,level,name", [(4, 0, IP_RECVERR), (6, 41, IPV6_RECVERR)])
def test_dns_sockets_are_unbound_marked_and_have_an_error_queue(start, family, level, name):
    reply = start().ask(UDP_OPEN, args(family=family, role=DNS, number=16))
    assert len(reply.fds) == 16
    for fd in reply.fds:
        with take(fd) as sock:
            assert mark(sock) == MARK and nonblocking(sock) and sock.getsockname()[1] == 0
            assert sock.type == socket.SOCK_DGRAM and sock.getsockopt(level, name) == 1


@pytest.mark.parametrize("family", [4, 6])
def test_dns_listeners_are_on_the_tunnel_address(start, family):
    helper = start()
    helper.tun()
    address = str(V4 if family == 4 else V6)
    reply = helper.ask(DNS_LISTEN, args(family=family, local=address))
    assert reply.error == 0
    with take(reply.fds[0]) as udp, take(reply.fds[1]) as tcp:
        assert udp.getsockname()[:2] == tcp.getsockname()[:2] == (address, 53535)
        assert (udp.type, tcp.type) == (socket.SOCK_DGRAM, socket.SOCK_STREAM)
        assert nonblocking(udp) and nonblocking(tcp) and tcp.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1


@pytest.mark.parametrize("family,address", [(4, "127.0.0.1"), (6, "::1")])
def test_tcp_connect_gives_a_marked_connecting_socket(start, family, address):
    helper = start(portal=8443, loopback=1)
    with socket.create_server((address, 8443), family=socket.AF_INET6 if family == 6 else socket.AF_INET) as server:
        reply = helper.ask(TCP_CONNECT, args(family=family, role=PORTAL, port=8443, local=address, remote=address))
        assert reply.error == 0
        with take(reply.fds[0]) as sock:
            assert mark(sock) == MARK and nonblocking(sock)
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
            assert select.select([], [sock], [], 1)[1]
            assert sock.getpeername()[:2] == (address, 8443) and sock.getsockname()[0] == address
            assert server.accept()[1][0] == address


def test_tcp_connect_for_dns_may_reach_local_resolvers(start):
    helper = start(loopback=0)
    assert harness.again(helper, TCP_CONNECT, args(family=4, role=DNS, port=53, local="127.0.0.1", remote="127.0.0.53")) in (
        0, errno.ECONNREFUSED)


def test_tcp_connect_without_a_route_fails_and_the_helper_lives_on(start):
    helper = start()
    reply = helper.ask(TCP_CONNECT, args(family=4, role=PORTAL, port=443, local="127.0.0.1", remote="10.9.9.9"))
    assert reply.error == errno.EPERM
    reply = helper.ask(TCP_CONNECT, args(family=4, role=PORTAL, port=443, local="10.0.0.1", remote="10.9.9.9"))
    assert reply.error == errno.EADDRNOTAVAIL and not reply.fds
    assert helper.audit()[-1]["verdict"] == "failed"
    harness.assert_lives(helper)


# --- netlink

PROBE = r"""
import os, socket, struct, sys
lookup = socket.socket(fileno=int(sys.argv[1]))
os.setgid(65534); os.setuid(65534)
def ask(kind, flags, body):
    lookup.send(struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body)
    got = []
    for _ in range(100):
        try:
            data = lookup.recv(65536)
        except BlockingIOError:
            break
        while len(data) >= 16:
            size, kind, _, _, _ = struct.unpack_from("=IHHII", data)
            error = struct.unpack_from("=i", data, 16)[0] if kind == 2 else None
            got.append((kind, error))
            data = data[(size + 3) & ~3:]
    return got
def dump(kind, body):
    return sorted({kind for kind, _ in ask(kind, 0x301, body)})
rtm = struct.pack("=BBBBBBBBI", 2, 32, 0, 0, 254, 3, 0, 1, 0) + struct.pack("=HH4s", 8, 1, bytes([10, 9, 9, 9])) + struct.pack("=HHI", 8, 4, 1)
print("newroute", ask(24, 0x605, rtm))
print("newlink", ask(16, 0x5, struct.pack("=BxHiII", 0, 0, 1, 0, 1)))
get = struct.pack("=BBBBBBBBI", 2, 32, 0, 0, 0, 0, 0, 0, 0) + struct.pack("=HH4s", 8, 1, bytes([127, 0, 0, 1]))
print("getroute", ask(26, 1, get))
print("links", dump(18, struct.pack("=BxHiII", 0, 0, 0, 0, 0)))
print("addresses", dump(22, struct.pack("=BBBBI", 0, 0, 0, 0, 0)))
print("neighbours", dump(30, struct.pack("=BxxxiHBB", 0, 0, 0, 0, 0)))
print("rules", dump(34, struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 0, 0, 0, 0, 0)))
try:
    lookup.setsockopt(socket.SOL_SOCKET, 27, 0)
    print("detach done")
except OSError as error:
    print("detach", error.errno)
"""


def probe(fd):
    done = subprocess.run([sys.executable, "-c", PROBE, str(fd)], pass_fds=(fd,), capture_output=True, text=True,
                          check=True, timeout=10)
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())


def test_t38_lookup_socket_reads_routes_and_writes_nothing(start):
    harness.ip("link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
    harness.ip("link", "set", "veth0", "up")
    harness.ip("neigh", "add", "10.1.1.1", "lladdr", "02:00:00:00:00:01", "dev", "veth0")
    fd = start().ask(ROUTE_OPEN).fds[0]
    got = probe(fd)
    assert got["newroute"] == f"[(2, {-errno.EPERM})]"
    assert got["newlink"] == f"[(2, {-errno.EPERM})]"
    assert got["getroute"] == "[(24, None)]"
    assert got["links"] == "[3, 16]" and got["addresses"] == "[3, 20]"
    assert got["neighbours"] in ("[]", "[3]") and got["rules"] in ("[]", "[3]")
    assert got["detach"] == str(errno.EPERM)


def test_lookup_socket_cannot_write_even_for_root(start):
    fd = start().ask(ROUTE_OPEN).fds[0]
    with socket.socket(fileno=fd) as lookup:
        body = struct.pack("=BxHiII", 0, 0, 1, 0, 1)
        lookup.send(struct.pack("=IHHII", 16 + len(body), 16, 5, 1, 0) + body)
        kind, = struct.unpack_from("=H", reply := lookup.recv(65536), 4)
        assert (kind, struct.unpack_from("=i", reply, 16)[0]) == (2, -errno.EPERM)


def test_events_socket_hears_changes_and_answers_no_dump(start):
    fd = start().ask(ROUTE_OPEN).fds[1]
    with socket.socket(fileno=fd) as events:
        assert events.getsockopt(socket.SOL_SOCKET, SO_RCVBUF) == 2 << 20
        harness.ip("link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
        harness.ip("link", "set", "veth0", "up")
        harness.ip("link", "set", "veth1", "up")
        harness.ip("addr", "add", "10.1.1.2/24", "dev", "veth0")
        harness.ip("-6", "addr", "add", "fd00::2/64", "dev", "veth0", "nodad")
        harness.ip("route", "add", "10.2.0.0/16", "dev", "veth0")
        harness.ip("-6", "route", "add", "fd01::/64", "dev", "veth0")
        harness.ip("rule", "add", "priority", "7", "lookup", "main")
        harness.ip("-6", "rule", "add", "priority", "7", "lookup", "main")
        harness.ip("nexthop", "add", "id", "1", "dev", "veth0")
        harness.ip("neigh", "add", "10.1.1.1", "lladdr", "02:00:00:00:00:01", "dev", "veth0")
        harness.ip("link", "del", "veth0")
        seen = set()
        while select.select([events], [], [], 0.1)[0]:
            data = events.recv(65536)
            seen.add((struct.unpack_from("=H", data, 4)[0], data[16]))
        kinds = {kind for kind, _ in seen}
        assert {16, 17, 20, 24, 32, 104} <= kinds <= {16, 17, 20, 21, 24, 25, 32, 33, 104, 105}
        assert {(20, 2), (20, 10), (24, 2), (24, 10), (32, 2), (32, 10)} <= seen
        events.send(struct.pack("=IHHII", 28, 30, 0x301, 1, 0) + bytes(12))
        assert not select.select([events], [], [], 0.1)[0]


# --- files

def test_file_open_gives_a_read_only_descriptor(start, tmp_path):
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 192.0.2.1\n")
    link = tmp_path / "link"
    link.symlink_to(path)
    helper = start(files=[link])
    fd = helper.ask(FILE_OPEN, args(number=0)).fds[0]
    assert os.read(fd, 100) == b"nameserver 192.0.2.1\n"
    assert fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
    os.close(fd)


def test_file_open_refuses_what_is_no_small_regular_file(start, tmp_path):
    big, full, fifo = tmp_path / "big", tmp_path / "full", tmp_path / "fifo"
    big.write_bytes(bytes((1 << 20) + 1))
    full.write_bytes(bytes(1 << 20))
    os.mkfifo(fifo)
    helper = start(files=[big, full, fifo, "/dev/zero"])
    assert [harness.again(helper, FILE_OPEN, args(number=i)) for i in range(4)] == [errno.EFBIG, 0, errno.EPERM, errno.EPERM]
    other = start(files=["/tmp", tmp_path / "none"])
    assert [harness.again(other, FILE_OPEN, args(number=i)) for i in range(2)] == [errno.EPERM, errno.ENOENT]
    assert len(os.listdir(f"/proc/{helper.pid}/fd")) == 7  # the seventh is the TUN's device
