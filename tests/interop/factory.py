"""Two namespaces for the socket factory, and programs in them; for test_sockets.py, test_names.py and the benchmark.

    host (eth0: 192.0.2.10, 2001:db8::10) -- peer (192.0.2.1, 2001:db8::1, and what is behind it)

factory-probe is the worker's own code for sockets, names and routes.
"""

import contextlib
import json
import os
import pathlib
import re
import select
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "attack" / "helper"))

import harness  # noqa: E402 (the helper's other end, from the attack tests)

PYTHON = "/usr/bin/python3"
# Several runs may go on at once; what a killed one left is cleared by the next.
PREFIX = "fzsock"
HOST, PEER = f"{PREFIX}{os.getpid()}-host", f"{PREFIX}{os.getpid()}-peer"
ANSWER_SECONDS = 30
RESOLVED = "Resolved best route outside of tunnel interface"
REFUSED = "No usable route outside of tunnel"
ROAMED = "Network change detected"
NAME_SERVER = "203.0.113.53"
LISTEN = """
import select, socket, struct, sys
out = [socket.socket(socket.AF_INET6 if ":" in a else socket.AF_INET, socket.SOCK_DGRAM) for a in sys.argv[2:]]
for s, a in zip(out, sys.argv[2:]):
    s.setsockopt(socket.SOL_SOCKET, 33, 1 << 24)     # SO_RCVBUFFORCE
    s.setsockopt(socket.SOL_SOCKET, 35, 1)           # SO_TIMESTAMPNS
    s.bind((a, int(sys.argv[1])))
print("ready", flush=True)
lines, ready = [], []
while sys.stdin not in ready or len(ready) > 1:
    ready = select.select([*out, sys.stdin], [], [])[0]
    for s in ready:
        if s is not sys.stdin:
            data, control, _, source = s.recvmsg(65536, 64)
            seconds, nanoseconds = struct.unpack("qq", control[0][2])
            lines.append(f"{s.getsockname()[0]} {source[0]} {source[1]} {len(data)} {seconds + nanoseconds / 1e9}")
print(*lines, sep="\\n")
"""


def build():
    path = os.environ.get("FZGW_BUILD")
    return pathlib.Path(path) if path else pathlib.Path(harness.helper_path()).parent.parent


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True)


def inside(name, *argv):
    return ["ip", "netns", "exec", name, *map(str, argv)]


def run(name, *argv, stdin=None):
    done = subprocess.run(inside(name, *argv), check=False, capture_output=True, text=True, input=stdin)
    assert done.returncode == 0, f"{' '.join(map(str, argv))[:200]}: {done.stderr[-1000:]}"
    return done.stdout


def host_ip(*words):
    ip("-n", HOST, *words)


def host_batch(lines):
    """Commands of ip(8), one a line, as fast as they go."""
    run(HOST, "ip", "-force", "-batch", "-", stdin="\n".join(lines) + "\n")


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


def up():
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


def index_of(interface):
    return json.loads(run(HOST, "ip", "-j", "link", "show", "dev", interface))[0]["ifindex"]


class Probe:
    """A running factory-probe, its helpers, and what it logs."""

    def __init__(self, directory, strace=None, helpers=1, servers=(NAME_SERVER,), program="factory-probe", folder="interop"):
        path = build() / "tests" / folder / program
        self.resolv_conf = directory / "resolv.conf"
        self.resolv_conf.write_text("".join(f"nameserver {server}\n" for server in servers))
        (directory / "hosts").write_text("192.0.2.200 known.example\n")
        with open(directory / "audit", "ab") as audit:
            self.helpers = [harness.Helper(greet=False, argv=inside(HOST, harness.helper_path()), audit_fd=audit.fileno())
                            for _ in range(helpers)]
        numbers = [helper.sock.fileno() for helper in self.helpers]
        self.log_path = directory / "log"
        argv = [path, ",".join(map(str, numbers)), self.resolv_conf, directory / "hosts"]
        env = dict(os.environ)
        if strace:
            argv = ["strace", "-f", "-qq", *strace, *argv]
            env["ASAN_OPTIONS"] = "detect_leaks=0"
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(inside(HOST, *argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env,
                                            stderr=log, text=True, bufsize=1, pass_fds=numbers)
        self.start = self.answer()

    def answer(self, seconds=ANSWER_SECONDS):
        assert select.select([self.process.stdout], [], [], seconds)[0], "no answer\n" + self.log()[-4000:]
        line = self.process.stdout.readline()
        assert line, self.log()[-4000:]
        return json.loads(line)

    def begin(self, *words):
        """Without its answer, which answer() waits for."""
        self.process.stdin.write(" ".join(map(str, words)) + "\n")

    def __call__(self, *words, seconds=ANSWER_SECONDS):
        self.begin(*words)
        return self.answer(seconds)

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
        for helper in self.helpers:
            helper.stop()
        assert status == 0, self.log()[-4000:]
        assert "Sanitizer" not in self.log()


class Program:
    """A program in the peer's namespace; it says "ready" unless told otherwise."""

    def __init__(self, *argv, ready=True):
        self.process = subprocess.Popen(inside(PEER, *argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        if ready:
            line = self.process.stdout.readline()
            assert line == "ready\n", line

    def stop(self):
        self.process.kill()
        self.process.wait()
        return self.process.stdout.read()


def python(*argv):
    return Program(PYTHON, "-B", *argv)


def listen(*addresses, port):
    return python("-c", LISTEN, port, *addresses)


def datagrams(listener):
    """(address, source, source port, length, wall clock) of every one; ends the listener."""
    lines = listener.process.communicate(timeout=30)[0].splitlines()
    return [(a, s, int(p), int(n), float(t)) for a, s, p, n, t in map(str.split, filter(None, lines))]


def heard(listener):
    """The same without the time."""
    return [entry[:4] for entry in datagrams(listener)]
