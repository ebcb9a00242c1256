"""How the helper ends and what it waits for: nothing and nobody."""

import errno
import os
import select
import signal
import socket
import struct
import time

import pytest

import harness
from harness import DNS, FILE_OPEN, PEER, ROUTE_OPEN, TUN_OPEN, UDP_OPEN, args, assert_lives

RTM_DELLINK, RTM_DELRULE = 17, 33


def netlink(groups=0):
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    sock.bind((0, groups))
    return sock


def kinds(sock):
    """The message types of every datagram until it is silent."""
    seen = []
    while select.select([sock], [], [], 0.2)[0]:
        data = sock.recv(65536)
        while len(data) >= 16:
            size, kind = struct.unpack_from("=IH", data)
            seen.append(kind)
            data = data[(size + 3) & ~3:]
    return seen


def test_rules_go_before_the_interface(start):
    """Once the name is free the next gateway may configure itself: nothing of the old one's may come after that."""
    helper = start()
    fd = helper.tun()
    with netlink(1 | 1 << 7) as events, netlink() as events6:
        events6.setsockopt(270, 1, 19)  # NETLINK_ADD_MEMBERSHIP RTNLGRP_IPV6_RULE
        events6.setsockopt(270, 1, 1)
        helper.sock.close()
        assert helper.ended(1) == 0
        for sock in (events, events6):
            seen = [kind for kind in kinds(sock) if kind in (RTM_DELLINK, RTM_DELRULE)]
            assert seen.count(RTM_DELRULE) == 3
            assert seen.index(RTM_DELLINK) > max(i for i, kind in enumerate(seen) if kind == RTM_DELRULE)
    os.close(fd)


def test_failed_tun_open_may_be_tried_again(start):
    """The device is opened once, at the start; a name that is taken does not use it up."""
    harness.ip("tuntap", "add", "dev", "tun-firezone", "mode", "tun")
    helper = start()
    assert helper.ask(TUN_OPEN).error == errno.EBUSY
    harness.ip("tuntap", "del", "dev", "tun-firezone", "mode", "tun")
    time.sleep(1.05)
    os.close(helper.tun())


def test_helper_does_not_keep_the_tun(start):
    """The interface goes with the worker's descriptor."""
    helper = start()
    os.close(helper.tun())
    assert harness.links() == ["lo"]


def test_stopped_and_continued_helper_serves_on(start):
    helper = start()
    os.kill(helper.pid, signal.SIGSTOP)
    time.sleep(0.05)
    os.kill(helper.pid, signal.SIGCONT)
    assert_lives(helper)


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_log_that_somebody_else_fills_does_not_hold_the_helper(start, kind):
    """A worker shares the log with the helper where both go to one socket: it can fill it at any moment."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
    helper = start(audit_fd=theirs.fileno())
    pid = os.fork()
    if pid == 0:
        try:
            while True:
                try:
                    theirs.send(b"x" * 30000, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    pass
        finally:
            os._exit(0)
    try:
        end = time.monotonic() + 1.5
        outcomes = set()
        while time.monotonic() < end:
            ours.recv(1 << 20)
            number = len(outcomes) % 2
            body = (args(number=9), args(family=4, role=PEER, number=2))[number]
            outcomes.add(harness.again(helper, (FILE_OPEN, UDP_OPEN)[number], body))
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert outcomes <= {errno.EPERM, errno.EDQUOT, errno.ENOBUFS}


def test_two_netlink_requests_in_one_datagram_show_no_more_than_one_each(start):
    """The filter looks at a datagram's first message: the kernel must not put another kind behind it."""
    harness.ip("neigh", "add", "127.0.0.9", "lladdr", "02:00:00:00:00:01", "dev", "lo")
    lookup, events = (socket.socket(fileno=fd) for fd in start().ask(ROUTE_OPEN).fds)
    link = struct.pack("=IHHII", 32, 18, 0x1, 1, 0) + struct.pack("=BxHiII", 0, 0, 1, 0, 0)
    neighbours = struct.pack("=IHHII", 28, 30, 0x301, 2, 0) + bytes(12)
    rules = struct.pack("=IHHII", 28, 34, 0x301, 3, 0) + bytes([2]) + bytes(11)
    for sock, wanted in ((lookup, {16, 2, 3}), (events, {16, 32, 3})):  # of rules it tells anyhow
        for order in ((link, neighbours), (neighbours, link), (link, rules), (rules, link)):
            sock.send(b"".join(order))
            assert set(kinds(sock)) <= wanted
    lookup.close()
    events.close()


@pytest.mark.parametrize("family", [4, 6])
def test_peer_sockets_end_with_the_ports_that_are_searched(start, family):
    """64 ports, once a second: a worker that hoards them gets no others."""
    kind = socket.AF_INET6 if family == 6 else socket.AF_INET
    taken = [socket.socket(kind, socket.SOCK_DGRAM) for _ in range(64)]
    for i, sock in enumerate(taken):
        sock.bind(("", 52625 + i))
    helper = start()
    reply = helper.ask(UDP_OPEN, args(family=family, role=PEER, number=1))
    assert reply.error == errno.EADDRINUSE and not reply.fds
    for sock in taken:
        sock.close()
    assert harness.again(helper, UDP_OPEN, args(family=family, role=DNS, number=1)) == 0
