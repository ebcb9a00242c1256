"""The worker's side of the contract (ipc/ipc.h) for tests that misbehave: raw frames, the real helper binary."""

import array
import ctypes
import fcntl
import ipaddress
import json
import os
import select
import socket
import struct
import subprocess
import time

HELLO, TUN_OPEN, TUN_CONFIGURE, UDP_OPEN, DNS_LISTEN, TCP_CONNECT, ROUTE_OPEN, FILE_OPEN = range(1, 9)
PEER, DNS = 1, 2
PORTAL = 1
MARK = 0xFD002021
TABLE = 0x2021FD00
VERSION = 1
MAX_FDS = 16
HEADER = struct.Struct("=II")
ARGS = struct.Struct("=BBBBHH4s16s16s")
POLICY = struct.Struct("=16sIIHHBB2s" + "256s" * 4)
REPLY = struct.Struct("=IIiI16s")
CLONE_NEWNET = 0x40000000

V4 = ipaddress.ip_address("100.64.0.7")
V6 = ipaddress.ip_address("fd00:2021:1111::7")

libc = ctypes.CDLL(None, use_errno=True)


def helper_path():
    """FZGW_HELPER, the build in FZGW_BUILD, or the newest one in the tree."""
    if "FZGW_HELPER" in os.environ:
        return os.environ["FZGW_HELPER"]
    if "FZGW_BUILD" in os.environ:
        return os.path.join(os.environ["FZGW_BUILD"], "privileged", "firezone-gateway-helper")
    root = os.path.abspath(os.path.join(os.path.dirname(__file__), "../../.."))
    found = []
    for preset in ("release", "debug", "asan"):
        path = os.path.join(root, "build", preset, "privileged", "firezone-gateway-helper")
        if os.path.exists(path):
            found.append((os.path.getmtime(path), path))
    if not found:
        raise FileNotFoundError("no firezone-gateway-helper: build it or set FZGW_HELPER")
    return max(found)[1]


def addr16(addr):
    return ipaddress.ip_address(addr).packed.ljust(16, b"\0") if addr else bytes(16)


def args(family=0, role=0, number=0, reserved=0, port=0, mtu=0, v4=None, local=None, remote=None):
    packed4 = ipaddress.ip_address(v4).packed if v4 else bytes(4)
    return ARGS.pack(family, role, number, reserved, port, mtu, packed4, addr16(local), addr16(remote))


def policy(tun=b"tun-firezone", receive=16 << 20, send=2 << 20, portal=443, udp=52625, loopback=0, files=(),
           count=None, reserved=b"\0\0"):
    names = [os.fsencode(name) for name in files]
    count = len(names) if count is None else count
    return POLICY.pack(tun, receive, send, portal, udp, loopback, count, reserved, *(names + [b""] * 4)[:4])


def hello_body(version=VERSION, **kwargs):
    return struct.pack("=I", version) + policy(**kwargs)


class Reply:
    def __init__(self, data, fds):
        self.type, self.seq, self.error, self.fd_count, self.body = REPLY.unpack(data)
        self.fds = fds

    def word(self, index):
        return struct.unpack_from("=I", self.body, 4 * index)[0]

    def close(self):
        for fd in self.fds:
            os.close(fd)


class Gone(Exception):
    """The helper closed its end."""


class Helper:
    """A running helper, greeted if @greet. Its audit lines go to a pipe, or to @audit_fd."""

    def __init__(self, greet=True, argv=None, audit_fd=None, extra_fds=(), env=None, **greeting):
        self.sock, child = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.audit_read, audit_write = os.pipe() if audit_fd is None else (None, os.dup(audit_fd))
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 100) for fd in (child.fileno(), audit_write)]

        def descriptors():
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        self.process = subprocess.Popen(argv or [helper_path()], preexec_fn=descriptors, env=env,
                                        pass_fds=(3, 4, *extra_fds))
        for fd in high:
            os.close(fd)
        os.close(audit_write)
        child.close()
        self.seq = 0
        self.pid = self.process.pid
        self.audit_text = b""
        if greet:
            self.hello = self.ask(HELLO, hello_body(**greeting))
            assert self.hello.error == 0

    def send(self, data, fds=()):
        if fds:
            socket.send_fds(self.sock, [data], list(fds))
        else:
            self.sock.send(data)

    def receive(self, timeout=2.0):
        ready, _, _ = select.select([self.sock], [], [], timeout)
        if not ready:
            raise TimeoutError
        try:
            data, fds, flags, _ = socket.recv_fds(self.sock, 4096, 64)
        except ConnectionResetError as error:
            raise Gone from error
        if not data:
            raise Gone
        assert not flags & (socket.MSG_CTRUNC | socket.MSG_TRUNC)
        reply = Reply(data, fds)
        assert reply.fd_count == len(fds)
        return reply

    def ask(self, kind, body=None):
        self.seq += 1
        self.send(HEADER.pack(kind, self.seq) + (args() if body is None else body))
        reply = self.receive()
        assert (reply.type, reply.seq) == (kind, self.seq)
        return reply

    def tun(self, mtu=1280, v4=V4, v6=V6):
        """Open and configure the TUN; returns its fd."""
        opened = self.ask(TUN_OPEN)
        assert opened.error == 0, os.strerror(opened.error)
        configured = self.ask(TUN_CONFIGURE, args(mtu=mtu, v4=v4, local=v6))
        assert configured.error == 0 and configured.word(0) == 3
        return opened.fds[0]

    def drain(self, wait=0.0):
        """Make room in the log's pipe."""
        while select.select([self.audit_read], [], [], wait)[0]:
            data = os.read(self.audit_read, 65536)
            if not data:
                break
            self.audit_text += data

    def audit(self):
        """All lines so far."""
        self.drain(0.05)
        return [json.loads(line) for line in self.audit_text.decode().splitlines()]

    def ended(self, timeout=1.0):
        """Wait for its end; returns the exit code, negative for a signal."""
        return self.process.wait(timeout)

    def stop(self):
        self.sock.close()
        try:
            self.process.wait(2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.audit_read is not None:
            os.close(self.audit_read)


def ip(*words):
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=True).stdout


def rules():
    """Our policy rules of both families, as (family, priority, table)."""
    found = []
    for family in ("-4", "-6"):
        for rule in json.loads(ip(family, "-j", "rule", "show")):
            if "fwmark" in rule:
                assert int(rule["fwmark"], 16) == MARK and "not" in rule
                found.append((family, rule["priority"], int(rule["table"])))
    return sorted(found)


ALL_RULES = sorted((f, 100 * (i + 1), TABLE + i) for f in ("-4", "-6") for i in range(3))


def links():
    return [link["ifname"] for link in json.loads(ip("-j", "link", "show"))]


def status(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


def again(helper, kind, body=None):
    return helper.ask(kind, body).error


def assert_lives(helper):
    """It still serves."""
    time.sleep(0.01)
    assert helper.ask(UDP_OPEN, args(family=4, role=DNS, number=1)).error == 0
