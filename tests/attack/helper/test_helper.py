"""A hostile worker against the real helper: frames, policy, rates, audit log, and what the helper is and leaves."""

import errno
import fcntl
import os
import select
import signal
import socket
import subprocess
import time

import pytest

import harness
from harness import (DNS, DNS_LISTEN, FILE_OPEN, HEADER, HELLO, PEER, PORTAL, ROUTE_OPEN, TABLE, TCP_CONNECT,
                     TUN_CONFIGURE, TUN_OPEN, UDP_OPEN, V4, V6, Gone, again, args, assert_lives, hello_body)


def frame(kind, body=None, seq=1):
    return HEADER.pack(kind, seq) + (args() if body is None else body)


def assert_dies(helper, reason=errno.EPROTO):
    """It ends at once, says why in its log, and answers nothing."""
    with pytest.raises(Gone):
        helper.receive()
    assert helper.ended() == 1
    last = helper.audit()[-1]
    assert (last["event"], last["errno"]) == ("malformed", reason)


# --- frames that break the contract

GOOD_UDP = args(family=4, role=DNS, number=1)

MALFORMED = {
    "type_zero": frame(0),
    "type_behind_the_last": frame(9),
    "type_huge": frame(0xFFFFFFFF),
    "one_byte": b"\x02",
    "header_only": HEADER.pack(TUN_OPEN, 1),
    "one_byte_short": frame(UDP_OPEN, GOOD_UDP[:-1]),
    "one_byte_long": frame(UDP_OPEN, GOOD_UDP + b"\0"),
    "longer_than_any": frame(UDP_OPEN, bytes(3000)),
    "greeting_of_the_size_of_others": frame(HELLO),
    "other_of_the_size_of_a_greeting": frame(UDP_OPEN, hello_body()),
    "reserved_byte": frame(UDP_OPEN, args(family=4, role=DNS, number=1, reserved=1)),
    "unused_member_port": frame(UDP_OPEN, args(family=4, role=DNS, number=1, port=1)),
    "unused_member_mtu": frame(TUN_OPEN, args(mtu=1280)),
    "unused_member_address": frame(ROUTE_OPEN, args(local="127.0.0.1")),
    "unused_member_remote": frame(DNS_LISTEN, args(family=4, local=V4, remote=V4)),
    "unused_member_v4": frame(FILE_OPEN, args(v4=V4)),
    "family_zero": frame(UDP_OPEN, args(family=0, role=DNS, number=1)),
    "family_unknown": frame(UDP_OPEN, args(family=10, role=DNS, number=1)),
    "family_where_none_belongs": frame(TUN_CONFIGURE, args(family=4, mtu=1280, v4=V4, local=V6)),
    "role_zero": frame(UDP_OPEN, args(family=4, role=0, number=1)),
    "role_unknown": frame(TCP_CONNECT, args(family=4, role=3, port=53, local="10.0.0.1", remote="10.0.0.2")),
    "count_zero": frame(UDP_OPEN, args(family=4, role=DNS, number=0)),
    "count_17": frame(UDP_OPEN, args(family=4, role=DNS, number=17)),
    "count_255": frame(UDP_OPEN, args(family=6, role=DNS, number=255)),
    "tail_behind_ipv4": frame(DNS_LISTEN, args(family=4, local=V6)),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_frame_ends_the_helper(start, name):
    helper = start()
    helper.send(MALFORMED[name])
    assert_dies(helper)


BAD_GREETINGS = {
    "name_without_end": {"tun": b"tun-" + b"a" * 12},
    "bytes_behind_the_name": {"tun": b"tun-a\0x"},
    "reserved": {"reserved": b"\0\1"},
    "flag_two": {"loopback": 2},
    "five_files": {"count": 5, "files": ["/a", "/b", "/c", "/d"]},
    "path_beyond_the_count": {"count": 0, "files": ["/etc/hosts"]},
    "empty_path_within_the_count": {"count": 1},
    "path_without_end": {"files": ["/" + "a" * 255]},
}


@pytest.mark.parametrize("name", BAD_GREETINGS)
def test_malformed_greeting_ends_the_helper(start, name):
    helper = start(greet=False)
    helper.send(frame(HELLO, hello_body(**BAD_GREETINGS[name])))
    assert_dies(helper)


@pytest.mark.parametrize("version", [0, 2, 0xFFFFFFFF])
def test_greeting_of_another_version_ends_the_helper(start, version):
    helper = start(greet=False)
    helper.send(frame(HELLO, hello_body(version=version)))
    assert_dies(helper, errno.EPROTONOSUPPORT)


@pytest.mark.parametrize("kind", range(TUN_OPEN, FILE_OPEN + 1))
def test_request_before_the_greeting_ends_the_helper(start, kind):
    helper = start(greet=False)
    bodies = {UDP_OPEN: GOOD_UDP, DNS_LISTEN: args(family=4, local=V4),
              TCP_CONNECT: args(family=4, role=DNS, port=53, local="10.0.0.1", remote="10.0.0.2")}
    helper.send(frame(kind, bodies.get(kind)))
    assert_dies(helper)


def test_second_greeting_ends_the_helper(start):
    helper = start()
    helper.send(frame(HELLO, hello_body()))
    assert_dies(helper)


@pytest.mark.parametrize("count", [1, 2, 16, 17, 60])
def test_surplus_descriptors_end_the_helper(start, count):
    helper = start()
    with open("/dev/null", encoding="ascii") as null:
        helper.send(frame(UDP_OPEN, GOOD_UDP), [null.fileno()] * count)
    assert_dies(helper)


def test_descriptors_with_the_greeting_end_the_helper(start):
    helper = start(greet=False)
    helper.send(frame(HELLO, hello_body()), [0])
    assert_dies(helper)


def test_empty_datagram_ends_the_helper(start):
    helper = start()
    helper.send(b"")
    assert helper.ended() == 0
    assert helper.audit()[-1]["event"] == "end"


def test_worker_that_reads_no_replies_does_not_block_the_helper(start):
    helper = start()
    helper.sock.settimeout(2)
    try:
        for _ in range(100000):
            helper.send(frame(FILE_OPEN, args(number=3)))
    except (BrokenPipeError, ConnectionResetError):
        pass
    assert helper.ended(2) == 1
    assert helper.audit()[-1]["event"] == "malformed"


# --- requests outside of policy: refused, recorded, and the helper lives on

REFUSED_GREETINGS = {
    "name_not_a_tun": {"tun": b"eth0"},
    "name_is_the_prefix": {"tun": b"tun-"},
    "name_with_slash": {"tun": b"tun-/x"},
    "name_with_space": {"tun": b"tun- x"},
    "name_with_percent": {"tun": b"tun-%d"},
    "name_with_quote": {"tun": b'tun-"'},
    "empty_name": {"tun": b""},
    "portal_port_zero": {"portal": 0},
    "udp_port_privileged": {"udp": 53},
    "udp_port_zero": {"udp": 0},
    "udp_port_too_high": {"udp": 65535},
    "receive_buffer": {"receive": (128 << 20) + 1},
    "send_buffer": {"send": 0xFFFFFFFF},
    "relative_path": {"files": ["etc/hosts"]},
}


@pytest.mark.parametrize("name", REFUSED_GREETINGS)
def test_greeting_beyond_the_ceilings_is_refused(start, name):
    helper = start(greet=False)
    assert helper.ask(HELLO, hello_body(**REFUSED_GREETINGS[name])).error == errno.EPERM
    line = helper.audit()[-1]
    assert (line["request"], line["verdict"], line["errno"]) == ("hello", "refused", errno.EPERM)


def test_tun_configure_before_tun_open_is_refused(start):
    helper = start()
    assert helper.ask(TUN_CONFIGURE, args(mtu=1280, v4=V4, local=V6)).error == errno.EPERM
    assert_lives(helper)


def test_second_tun_open_is_refused(start):
    helper = start()
    os.close(helper.ask(TUN_OPEN).fds[0])
    time.sleep(1.1)
    assert helper.ask(TUN_OPEN).error == errno.EPERM
    assert_lives(helper)


@pytest.mark.parametrize("want", [
    {"v4": "100.63.255.255"}, {"v4": "100.96.0.1"}, {"v4": "10.0.0.1"}, {"v4": "127.0.0.1"}, {"v4": None},
    {"local": "fd00:2021:1111:8000::1"}, {"local": "fd00:2021:1112::1"}, {"local": "::1"}, {"local": None},
    {"local": "fd00:2021:1111:0:1::"},
    {"mtu": 1279}, {"mtu": 1501}, {"mtu": 0}, {"mtu": 65535},
])
def test_tun_configure_outside_of_the_ranges_is_refused(start, want):
    helper = start()
    assert helper.ask(TUN_OPEN).error == 0
    assert helper.ask(TUN_CONFIGURE, args(**{"mtu": 1280, "v4": V4, "local": V6, **want})).error == errno.EPERM
    assert_lives(helper)
    assert harness.rules() == []


@pytest.mark.parametrize("family,address", [
    (4, "100.64.0.8"), (4, "0.0.0.0"), (4, "127.0.0.1"), (6, "fd00:2021:1111::8"), (6, "::"), (6, "::1")])
def test_dns_listen_on_another_address_is_refused(start, family, address):
    helper = start()
    helper.tun()
    assert helper.ask(DNS_LISTEN, args(family=family, local=address)).error == errno.EPERM
    assert_lives(helper)


def test_dns_listen_before_tun_configure_is_refused(start):
    helper = start()
    assert helper.ask(DNS_LISTEN, args(family=4, local=V4)).error == errno.EPERM
    assert helper.ask(DNS_LISTEN, args(family=4)).error == errno.EPERM


def test_several_peer_sockets_at_once_are_refused(start):
    helper = start()
    assert helper.ask(UDP_OPEN, args(family=4, role=PEER, number=2)).error == errno.EPERM
    assert_lives(helper)


TCP_REFUSED = [
    # role, port, source, destination, loopback allowed
    (PORTAL, 443, "10.0.0.1", "100.64.0.1", 1),
    (PORTAL, 443, "10.0.0.1", "100.95.255.255", 1),
    (PORTAL, 443, "100.64.0.7", "10.0.0.2", 1),
    (DNS, 53, "10.0.0.1", "100.64.0.1", 1),
    (DNS, 53, "100.64.0.7", "10.0.0.2", 1),
    (PORTAL, 443, "fd00::1", "fd00:2021:1111::1", 1),
    (DNS, 53, "fd00:2021:1111::7", "fd00::1", 1),
    (PORTAL, 443, "127.0.0.1", "127.0.0.1", 0),
    (PORTAL, 443, "10.0.0.1", "127.8.8.8", 0),
    (PORTAL, 443, "10.0.0.1", "169.254.169.254", 0),
    (PORTAL, 443, "127.0.0.1", "10.0.0.2", 0),
    (PORTAL, 443, "::1", "::1", 0),
    (PORTAL, 443, "fd00::1", "fe80::1", 0),
    (PORTAL, 443, "10.0.0.1", "0.0.0.0", 1),
    (PORTAL, 443, "0.0.0.0", "10.0.0.2", 1),
    (DNS, 53, "10.0.0.1", "0.0.0.0", 1),
    (DNS, 53, "fd00::1", "::", 1),
    (PORTAL, 443, "10.0.0.1", "224.0.0.1", 1),
    (PORTAL, 443, "10.0.0.1", "255.255.255.255", 1),
    (PORTAL, 443, "fd00::1", "ff02::1", 1),
    (PORTAL, 443, "fd00::1", "::ffff:127.0.0.1", 1),
    (DNS, 53, "fd00::1", "::ffff:127.0.0.1", 1),
    (PORTAL, 443, "fd00::1", "::127.0.0.1", 1),
    (PORTAL, 80, "10.0.0.1", "10.0.0.2", 1),
    (PORTAL, 53, "10.0.0.1", "10.0.0.2", 1),
    (PORTAL, 0, "10.0.0.1", "10.0.0.2", 1),
    (DNS, 443, "10.0.0.1", "10.0.0.2", 1),
    (DNS, 5353, "127.0.0.1", "127.0.0.1", 1),
]


@pytest.mark.parametrize("role,port,source,dest,loopback", TCP_REFUSED)
def test_tcp_connect_outside_of_policy_is_refused(start, role, port, source, dest, loopback):
    helper = start(loopback=loopback)
    family = 6 if ":" in source else 4
    reply = helper.ask(TCP_CONNECT, args(family=family, role=role, port=port, local=source, remote=dest))
    assert reply.error == errno.EPERM and not reply.fds
    assert_lives(helper)


@pytest.mark.parametrize("index", [2, 3, 4, 255])
def test_file_open_beyond_the_list_is_refused(start, index):
    helper = start(files=["/etc/hosts", "/etc/resolv.conf"])
    assert helper.ask(FILE_OPEN, args(number=index)).error == errno.EPERM
    assert_lives(helper)


# --- rates

def test_peer_sockets_once_a_second_per_family(start):
    helper = start()
    four, six = args(family=4, role=PEER, number=1), args(family=6, role=PEER, number=1)
    assert [again(helper, UDP_OPEN, body) for body in (four, six, four, six)] == [0, 0, errno.EAGAIN, errno.EAGAIN]
    time.sleep(1.05)
    assert again(helper, UDP_OPEN, four) == 0


def test_route_open_once_a_second(start):
    helper = start()
    assert [again(helper, ROUTE_OPEN) for _ in range(2)] == [0, errno.EAGAIN]
    time.sleep(1.05)
    assert again(helper, ROUTE_OPEN) == 0


def test_tun_configure_changes_once_a_second_and_repeats_are_free(start):
    helper = start()
    helper.tun()
    same = args(mtu=1280, v4=V4, local=V6)
    other = args(mtu=1280, v4="100.64.0.9", local=V6)
    assert again(helper, TUN_CONFIGURE, same) == 0
    assert again(helper, TUN_CONFIGURE, other) == errno.EAGAIN
    time.sleep(1.05)
    assert again(helper, TUN_CONFIGURE, other) == 0


def test_dns_sockets_beyond_the_rate_are_refused_and_come_back(start):
    helper = start()
    body = args(family=4, role=DNS, number=16)
    got = []
    for _ in range(50):
        reply = helper.ask(UDP_OPEN, body)
        reply.close()
        got.append(reply.error)
    assert 32 <= got.count(0) <= 40 and got[-1] == errno.EAGAIN
    time.sleep(0.2)
    assert again(helper, UDP_OPEN, body) == 0


def test_tcp_connects_beyond_the_rate_are_refused(start):
    helper = start(portal=8443, loopback=1)
    body = args(family=4, role=PORTAL, port=8443, local="127.0.0.1", remote="127.0.0.1")
    got = [again(helper, TCP_CONNECT, body) for _ in range(20)]
    assert got[:16] == [0] * 16 and got[-1] == errno.EAGAIN
    # the other role has an allowance of its own
    assert again(helper, TCP_CONNECT, args(family=4, role=DNS, port=53, local="127.0.0.1", remote="127.0.0.1")) == 0


def test_flood_is_cut_off_and_logged_as_a_run(start):
    helper = start()
    kinds = [(FILE_OPEN, args(number=9)), (UDP_OPEN, args(family=4, role=PEER, number=2))]
    got = []
    for _ in range(20):
        got += [again(helper, *kinds[i % 2]) for i in range(100)]
        helper.drain()
    assert set(got) == {errno.EPERM, errno.EDQUOT} and got[0] == errno.EPERM
    assert len(helper.audit()) < 2 * (2000 - got.count(errno.EDQUOT)) + 20
    time.sleep(1.05)
    assert_lives(helper)
    assert sum(line.get("repeated", 0) for line in helper.audit()) > got.count(errno.EDQUOT) * 0.9


# --- the audit log

def test_every_request_has_a_numbered_line(start):
    helper = start()
    helper.tun()
    helper.ask(UDP_OPEN, args(family=6, role=DNS, number=3))
    helper.ask(TCP_CONNECT, args(family=6, role=PORTAL, port=443, local="fd00::1", remote="::1"))
    lines = helper.audit()
    assert lines[0]["event"] == "start"
    assert [line["seq"] for line in lines] == list(range(6))
    assert [line["request"] for line in lines[1:]] == ["hello", "tun-open", "tun-configure", "udp-open", "tcp-connect"]
    assert lines[1]["args"] == {"portal_port": 443, "udp_port": 52625, "loopback": 0, "files": 0,
                                "receive_buffer": 16 << 20, "send_buffer": 2 << 20}
    assert (lines[4]["verdict"], lines[4]["errno"], lines[4]["args"]["number"]) == ("ok", 0, 3)
    assert (lines[5]["verdict"], lines[5]["errno"]) == ("refused", errno.EPERM)
    assert lines[5]["args"]["remote"] == "::1"


def test_run_of_equal_refusals_is_one_line_with_a_count(start):
    helper = start()
    for _ in range(50):
        assert again(helper, FILE_OPEN, args(number=7)) == errno.EPERM
    assert len([line for line in helper.audit() if line.get("verdict") == "refused"]) == 1
    assert_lives(helper)
    run = [line for line in helper.audit() if line.get("verdict") == "refused"]
    assert len(run) == 2 and run[1]["repeated"] == 49 and run[1]["request"] == "file-open"


def fill(fd):
    """Fill a pipe without blocking."""
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    fcntl.fcntl(fd, fcntl.F_SETFL, flags | os.O_NONBLOCK)
    try:
        while True:
            os.write(fd, b"x" * 4096)
    except BlockingIOError:
        pass
    fcntl.fcntl(fd, fcntl.F_SETFL, flags)


def test_full_audit_log_refuses_requests_until_there_is_room(start):
    read, write = os.pipe()
    helper = start(audit_fd=write)
    fill(write)
    began = time.monotonic()
    assert again(helper, UDP_OPEN, GOOD_UDP) == errno.ENOBUFS
    assert again(helper, TUN_OPEN) == errno.ENOBUFS
    assert time.monotonic() - began < 0.5 and harness.links() == ["lo"]
    while select.select([read], [], [], 0)[0]:
        os.read(read, 65536)
    assert again(helper, UDP_OPEN, GOOD_UDP) == 0
    line = os.read(read, 65536).decode()
    assert '"seq":4' in line  # the two that were not done left a gap
    fd = helper.ask(TUN_OPEN).fds[0]
    fill(write)
    assert again(helper, TUN_CONFIGURE, args(mtu=1280, v4=V4, local=V6)) == errno.ENOBUFS
    assert harness.rules() == [] and "100.64" not in harness.ip("addr")
    os.close(fd)
    os.close(read)
    os.close(write)


def test_audit_log_without_a_reader_refuses_requests(start):
    read, write = os.pipe()
    helper = start(audit_fd=write)
    os.close(write)
    os.close(read)
    assert again(helper, UDP_OPEN, GOOD_UDP) == errno.ENOBUFS
    assert again(helper, UDP_OPEN, GOOD_UDP) == errno.ENOBUFS


@pytest.mark.parametrize("kind", ["file", "socket"])
def test_audit_log_may_be_a_file_or_a_socket(start, tmp_path, kind):
    if kind == "file":
        fd = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
        helper = start(audit_fd=fd)
        assert (tmp_path / "log").read_text().count("\n") == 2
    else:
        ours, theirs = socket.socketpair()
        helper = start(audit_fd=theirs.fileno())
        assert ours.recv(4096).count(b"\n") >= 1
    assert_lives(helper)


# --- what the helper is

def test_helper_holds_one_capability_and_not_in_effect(start):
    helper = start()
    status = harness.status(helper.pid)
    assert int(status["CapPrm"], 16) == 1 << 12
    assert int(status["CapEff"], 16) == int(status["CapInh"], 16) == int(status["CapAmb"], 16) == 0
    assert int(status["CapBnd"], 16) == 0
    assert (status["NoNewPrivs"], status["Seccomp"], status["Threads"]) == ("1", "2", "1")
    helper.tun()
    assert int(harness.status(helper.pid)["CapEff"], 16) == 0


def test_helper_leaves_no_core(start):
    helper = start()
    with open(f"/proc/{helper.pid}/limits", encoding="ascii") as file:
        core = next(line for line in file if line.startswith("Max core file size"))
    assert core.split()[4:6] == ["0", "0"]


def test_helper_closes_stray_descriptors(start):
    with open("/etc/passwd", encoding="ascii") as stray:
        helper = start(extra_fds=(stray.fileno(),))
        assert sorted(os.listdir(f"/proc/{helper.pid}/fd"), key=int) == ["0", "1", "2", "3", "4", "5", "6"]
        assert os.readlink(f"/proc/{helper.pid}/fd/5").startswith("socket:")  # its own netlink socket
        assert os.readlink(f"/proc/{helper.pid}/fd/6") == "/dev/net/tun"  # until it is handed over


def test_helper_opens_nothing_that_stays(start):
    helper = start(files=["/etc/hosts"])
    helper.tun()
    for kind, body in ((UDP_OPEN, args(family=4, role=DNS, number=16)), (UDP_OPEN, args(family=6, role=PEER, number=1)),
                       (ROUTE_OPEN, None), (FILE_OPEN, None), (DNS_LISTEN, args(family=4, local=V4)),
                       (FILE_OPEN, args(number=9))):
        helper.ask(kind, body)
    assert len(os.listdir(f"/proc/{helper.pid}/fd")) == 6


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ])
def test_helper_ignores_the_signals_of_a_service_manager_and_terminal(start, number):
    helper = start()
    os.kill(helper.pid, number)
    time.sleep(0.05)
    assert_lives(helper)


def test_helper_without_its_descriptors_does_not_start():
    assert subprocess.run([harness.helper_path()], check=False, timeout=2).returncode == 1


def test_helper_ends_at_the_end_of_its_socket(start):
    helper = start()
    helper.sock.close()
    assert helper.ended(1) == 0
    assert helper.audit()[-1]["event"] == "end"


def test_heap_does_not_grow_after_the_start(start):
    def heap(pid):
        with open(f"/proc/{pid}/maps", encoding="ascii") as file:
            return [line for line in file if "[heap]" in line]
    helper = start(files=["/etc/hosts"])
    before = heap(helper.pid)
    helper.tun()
    for _ in range(100):
        helper.ask(UDP_OPEN, args(family=4, role=DNS, number=1)).close()
        helper.ask(FILE_OPEN, args(number=0)).close()
    assert heap(helper.pid) == before


# --- the TUN

def test_tun_is_exclusive_single_queue_and_not_persistent(start):
    helper = start()
    fd = helper.tun()
    shown = harness.ip("-d", "link", "show", "tun-firezone")
    assert "vnet_hdr on" in shown and "persist off" in shown and "numtxqueues 1" in shown and "qlen 10000" in shown
    other = start()
    assert other.ask(TUN_OPEN).error == errno.EBUSY
    assert other.audit()[-1]["verdict"] == "failed"
    with pytest.raises(BlockingIOError):
        os.read(fd, 65536)
    os.close(fd)
    assert harness.links() == ["lo"]


def test_tun_existing_persistent_device_is_not_taken_over(start):
    harness.ip("tuntap", "add", "dev", "tun-firezone", "mode", "tun")
    assert start().ask(TUN_OPEN).error == errno.EBUSY


def test_tun_reply_names_interface_and_offloads(start):
    helper = start(tun=b"tun-x")
    reply = helper.ask(TUN_OPEN)
    assert socket.if_indextoname(reply.word(0)) == "tun-x"
    assert reply.word(1) in (7, 3, 0)


def test_configured_tun_has_addresses_routes_rules_and_no_link_local(start):
    helper = start()
    helper.tun(mtu=1400)
    shown = harness.ip("addr", "show", "tun-firezone")
    assert "mtu 1400" in shown and "100.64.0.7/32" in shown and "fd00:2021:1111::7/128" in shown
    assert "fe80" not in shown and "UP" in shown
    assert harness.rules() == harness.ALL_RULES
    assert "100.64.0.0/11 dev tun-firezone proto static" in harness.ip("route", "show", "table", str(TABLE))
    assert "fd00:2021:1111::/107 dev tun-firezone proto static" in harness.ip("-6", "route", "show", "table", str(TABLE))
    assert "tun-firezone" in harness.ip("route", "get", "100.64.3.4")
    assert "tun-firezone" in harness.ip("-6", "route", "get", "fd00:2021:1111::9")


def test_changed_addresses_replace_the_old(start):
    helper = start()
    helper.tun()
    time.sleep(1.05)
    assert again(helper, TUN_CONFIGURE, args(mtu=1280, v4="100.64.0.9", local="fd00:2021:1111::9")) == 0
    shown = harness.ip("addr", "show", "tun-firezone")
    assert "100.64.0.9/32" in shown and "::9/128" in shown and "100.64.0.7" not in shown and "::7/128" not in shown
    assert "100.64.0.0/11" in harness.ip("route", "show", "table", str(TABLE))
    assert "/107" in harness.ip("-6", "route", "show", "table", str(TABLE))
    assert again(helper, DNS_LISTEN, args(family=4, local=V4)) == errno.EPERM
    assert again(helper, DNS_LISTEN, args(family=4, local="100.64.0.9")) == 0


def test_host_without_ipv6_works_with_one_family(start):
    with open("/proc/sys/net/ipv6/conf/all/disable_ipv6", "w", encoding="ascii") as file:
        file.write("1")
    with open("/proc/sys/net/ipv6/conf/default/disable_ipv6", "w", encoding="ascii") as file:
        file.write("1")
    helper = start()
    assert helper.ask(TUN_OPEN).error == 0
    reply = helper.ask(TUN_CONFIGURE, args(mtu=1280, v4=V4, local=V6))
    assert reply.error == 0 and reply.word(0) == 1
    assert "tun-firezone" in harness.ip("route", "get", "100.64.3.4")


def test_end_of_the_worker_leaves_no_interface_and_no_rule(start):
    helper = start()
    fd = helper.tun()
    helper.sock.close()
    assert helper.ended(1) == 0
    # even while somebody still holds the descriptor
    assert harness.links() == ["lo"] and harness.rules() == []
    os.close(fd)


def test_malformed_frame_leaves_no_interface_and_no_rule(start):
    helper = start()
    helper.tun()
    helper.send(b"nonsense")
    assert helper.ended(1) == 1
    assert harness.links() == ["lo"] and harness.rules() == []


def test_rules_left_by_a_killed_helper_are_taken_over(start):
    helper = start()
    fd = helper.tun()
    os.kill(helper.pid, signal.SIGKILL)
    helper.process.wait()
    os.close(fd)
    assert harness.rules() == harness.ALL_RULES and harness.links() == ["lo"]
    after = start()
    after.tun()
    assert harness.rules() == harness.ALL_RULES
    after.sock.close()
    assert after.ended(1) == 0
    assert harness.rules() == []


def test_failed_second_start_leaves_the_first_alone(start):
    first, second = start(), start()
    first.tun()
    assert second.ask(TUN_OPEN).error == errno.EBUSY
    second.sock.close()
    assert second.ended(1) == 0
    assert harness.rules() == harness.ALL_RULES and "tun-firezone" in harness.links()


def test_packets_go_both_ways_behind_a_vnet_header(start):
    helper = start()
    fd = helper.tun()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"hello", ("100.64.1.1", 9))
    assert select.select([fd], [], [], 1)[0]
    packet = os.read(fd, 65536)
    assert packet[10] >> 4 == 4 and packet.endswith(b"hello")
