"""The resolver's sockets are the only ones that do not bypass the tunnel: they must lead into it and nowhere else."""

import errno
import os
import select
import socket
import struct

import pytest

import harness
from harness import DNS_LISTEN, V4, V6, args

SO_MARK, SO_BINDTOIFINDEX = 36, 62
LISTENER_MARK = 0xFD002022
PORT = 53535
CLIENT = "100.64.1.1"


@pytest.fixture
def listening(start):
    """A configured TUN and its resolver's sockets: (tun, {family: (udp, tcp)})."""
    helper = start()
    tun = helper.tun()
    sockets = {}
    for family, address in ((4, V4), (6, V6)):
        reply = helper.ask(DNS_LISTEN, args(family=family, local=address))
        assert reply.error == 0, os.strerror(reply.error)
        sockets[family] = tuple(socket.socket(fileno=fd) for fd in reply.fds)
    yield tun, sockets
    for pair in sockets.values():
        for sock in pair:
            sock.close()
    os.close(tun)


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def datagram(source, dest, payload):
    """An IPv4 UDP packet to the resolver, behind an empty vnet header."""
    udp = struct.pack("!HHHH", 4000, PORT, 8 + len(payload), 0) + payload
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, socket.inet_aton(source),
                       socket.inet_aton(str(dest)))
    return bytes(10) + head[:10] + struct.pack("!H", checksum(head)) + head[12:] + udp


def from_tunnel(tun, seconds=1.0):
    """The next UDP packet that the kernel sends into the tunnel."""
    while select.select([tun], [], [], seconds)[0]:
        packet = os.read(tun, 65536)[10:]
        if packet[0] >> 4 == 4 and packet[9] == 17:
            return packet
    return None


def test_listener_talks_with_a_client_through_the_tunnel(listening):
    tun, sockets = listening
    udp = sockets[4][0]
    os.write(tun, datagram(CLIENT, V4, b"question"))
    assert select.select([udp], [], [], 1)[0]
    data, who = udp.recvfrom(100)
    assert (data, who) == (b"question", (CLIENT, 4000))
    udp.sendto(b"answer", who)
    packet = from_tunnel(tun)
    assert packet and packet[16:20] == socket.inet_aton(CLIENT) and packet.endswith(b"answer")


def test_listeners_are_bound_to_the_tunnel_and_have_a_mark_of_their_own(listening):
    index = socket.if_nametoindex("tun-firezone")
    for pair in listening[1].values():
        for sock in pair:
            assert sock.getsockopt(socket.SOL_SOCKET, SO_BINDTOIFINDEX) == index
            assert sock.getsockopt(socket.SOL_SOCKET, SO_MARK) & 0xFFFFFFFF == LISTENER_MARK


@pytest.mark.parametrize("family,address", [(4, "127.0.0.1"), (6, "::1")])
def test_listener_reaches_no_service_of_the_host(listening, family, address):
    """Without the mark the second wall would not see it."""
    kind = socket.AF_INET6 if family == 6 else socket.AF_INET
    with socket.socket(kind, socket.SOCK_DGRAM) as service:
        service.bind((address, 5555))
        try:
            listening[1][family][0].sendto(b"x", (address, 5555))
        except OSError as error:
            assert error.errno in (errno.ENETUNREACH, errno.EINVAL, errno.EADDRNOTAVAIL)
        assert not select.select([service], [], [], 0.2)[0]


def test_listener_hears_nobody_on_the_hosts_other_networks(listening):
    """A neighbour could ask in a client's name: Linux takes packets for its addresses on any interface."""
    udp, tcp = listening[1][4]
    harness.ip("link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
    pid = os.fork()
    if pid == 0:
        try:
            harness.libc.unshare(harness.CLONE_NEWNET)
            os.kill(os.getpid(), 19)
            harness.ip("addr", "add", "192.0.2.2/24", "dev", "veth1")
            harness.ip("link", "set", "veth1", "up")
            harness.ip("route", "add", "100.64.0.0/11", "via", "192.0.2.1")
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.sendto(b"x", (str(V4), PORT))
            with socket.socket() as sock:
                sock.settimeout(0.3)
                sock.connect((str(V4), PORT))
        except OSError:
            pass
        finally:
            os._exit(0)
    os.waitpid(pid, os.WUNTRACED)
    harness.ip("link", "set", "veth1", "netns", str(pid))
    harness.ip("addr", "add", "192.0.2.1/24", "dev", "veth0")
    harness.ip("link", "set", "veth0", "up")
    os.kill(pid, 18)
    heard = select.select([udp, tcp], [], [], 1.0)[0]
    os.waitpid(pid, 0)
    assert not heard
