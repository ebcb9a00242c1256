"""A small internet of network namespaces, with everything in it that is neither gateway nor client.

    client -- cnat -- inet --+-- gnat ---+-- gw -- lan
                       |     +-- gnat2 --+
              coturn, portal, name server

`cnat` and both `gnat` masquerade IPv4 with nftables, only filter IPv6, and drop what nobody asked for or what has the
source of another network. `inet` only routes; in relay-only mode it forwards no UDP, so that the relay is the one way
left. The gateway's host leaves by `gnat` unless a test moves its default routes to `gnat2` (uplink). `lan` has no
default route: its servers are reached because the gateway's host masquerades (packaging/firezone-gateway.nft).

All names begin with one prefix. What an earlier, killed run with the same prefix left is cleared first. Nothing
outside the namespaces changes but /run/<prefix>, /run/<prefix>.lock and, in gateway.py, one user.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

REPO = pathlib.Path(__file__).resolve().parent.parent.parent
PYTHON = "/usr/bin/python3"

TURN, TURN6 = "203.0.113.10", "2001:db8::10"
PORTAL = "203.0.113.20"
DNS = "203.0.113.53"
GW_ADDRESS, GW_ADDRESS6 = "192.168.20.2", "2001:db8:20::2"
GW2_ADDRESS, GW2_ADDRESS6 = "192.168.30.2", "2001:db8:30::2"
UPLINKS = {"gnat": ("192.168.20.1", "2001:db8:20::1"), "gnat2": ("192.168.30.1", "2001:db8:30::1")}
PORTAL_NAME = "portal.firezone.test"
TOKEN = "development.token-0123456789"
GATEWAY_TUNNEL = {"ipv4": "100.64.3.9", "ipv6": "fd00:2021:1111::3:9"}
LAN4, LAN6 = "10.20.0.10", "fd10:20::10"
OTHER4, OTHER6 = "10.21.0.10", "fd10:21::10"
PAGE = "A page from behind the gateway.\n"
BUFFER = 4 << 20
SYS_PIDFD_GETFD = 438
WS, WSS, WSS_WRONG_NAME, WSS_UNKNOWN_CA = 8080, 8443, 8444, 8445

NAMESPACES = ("inet", "cnat", "client", "gnat", "gnat2", "gw", "lan")
LINKS = (  # namespace, interface, addresses - twice
    ("inet", "cnat", "198.51.100.1/24 2001:db8:1::1/64", "cnat", "wan", "198.51.100.2/24 2001:db8:1::2/64"),
    ("inet", "gnat", "192.0.2.1/24 2001:db8:2::1/64", "gnat", "wan", "192.0.2.2/24 2001:db8:2::2/64"),
    ("inet", "gnat2", "203.0.113.129/25 2001:db8:3::1/64", "gnat2", "wan", "203.0.113.130/25 2001:db8:3::2/64"),
    ("cnat", "lan", "192.168.10.1/24 2001:db8:10::1/64", "client", "eth0", "192.168.10.2/24 2001:db8:10::2/64"),
    ("gnat", "lan", "192.168.20.1/24 2001:db8:20::1/64", "gw", "eth0", f"{GW_ADDRESS}/24 {GW_ADDRESS6}/64"),
    ("gnat2", "lan", "192.168.30.1/24 2001:db8:30::1/64", "gw", "eth2", f"{GW2_ADDRESS}/24 {GW2_ADDRESS6}/64"),
    ("gw", "eth1", "10.20.0.1/24 10.21.0.1/24 fd10:20::1/64 fd10:21::1/64", "lan", "eth0",
     f"{LAN4}/24 {OTHER4}/24 {LAN6}/64 {OTHER6}/64"),
)
ROUTES = (  # namespace, destination, next hop
    ("cnat", "0.0.0.0/0", "198.51.100.1"), ("cnat", "::/0", "2001:db8:1::1"),
    ("gnat", "0.0.0.0/0", "192.0.2.1"), ("gnat", "::/0", "2001:db8:2::1"),
    ("gnat2", "0.0.0.0/0", "203.0.113.129"), ("gnat2", "::/0", "2001:db8:3::1"),
    ("client", "0.0.0.0/0", "192.168.10.1"), ("client", "::/0", "2001:db8:10::1"),
    ("gw", "0.0.0.0/0", "192.168.20.1"), ("gw", "::/0", "2001:db8:20::1"),
    ("inet", "2001:db8:10::/64", "2001:db8:1::2"), ("inet", "2001:db8:20::/64", "2001:db8:2::2"),
    ("inet", "2001:db8:30::/64", "2001:db8:3::2"),
)
NAT_RULES = """
table ip nat {
	chain postrouting {
		type nat hook postrouting priority srcnat;
		oifname wan masquerade
	}
}
table inet filter {
	chain input {
		type filter hook input priority filter; policy drop;
		ct state established,related accept
		meta l4proto ipv6-icmp accept
	}
	chain forward {
		type filter hook forward priority filter; policy drop;
		iifname lan fib saddr . iif oif missing drop
		ct state established,related accept
		iifname lan accept
	}
}
"""
RELAY_ONLY_RULES = """
table inet relay_only {
	chain forward {
		type filter hook forward priority filter;
		meta l4proto udp drop
	}
}
"""


def clean_env(**extra):
    """The environment of every program that is started here; nothing of the caller's is passed on."""
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", **extra}


class Net:
    def __init__(self, prefix):
        self.prefix = prefix
        self.state = pathlib.Path("/run") / prefix
        self.portal_socket = self.state / "portal.sock"
        self.procs = {}

    # --- commands and programs

    def ns(self, name):
        return f"{self.prefix}-{name}"

    def inside(self, name, *argv):
        return ["ip", "netns", "exec", self.ns(name), *map(str, argv)]

    def run(self, name, *argv, check=True, timeout=30, stdin=None):
        """Runs a command inside a namespace; the CompletedProcess, output as text."""
        done = subprocess.run(self.inside(name, *argv), input=stdin, capture_output=True, text=True, timeout=timeout,
                              env=clean_env())
        if check and done.returncode != 0:
            raise RuntimeError(f"{' '.join(map(str, argv))} in {name}: {done.stderr.strip() or done.stdout.strip()}")
        return done

    def spawn(self, label, name, *argv, env=None, **kwargs):
        """Starts a program inside a namespace, its output in <state>/<label>.log."""
        with open(self.state / f"{label}.log", "wb") as log:
            proc = subprocess.Popen(self.inside(name, *argv), stdin=subprocess.DEVNULL, stdout=log,
                                    stderr=subprocess.STDOUT, env=env or clean_env(), start_new_session=True, **kwargs)
        self.procs[label] = proc
        return proc

    def log(self, label):
        return (self.state / f"{label}.log").read_text(errors="replace")

    def end(self, label, sig=signal.SIGTERM, timeout=5):
        proc = self.procs.pop(label, None)
        if proc is None:
            return None
        with contextlib.suppress(ProcessLookupError):
            proc.send_signal(sig)
        try:
            return proc.wait(timeout)
        except subprocess.TimeoutExpired:
            proc.kill()
            return proc.wait()

    # --- up and down

    def up(self):
        self.down()
        self.state.mkdir(mode=0o755, parents=True)
        for name in NAMESPACES:
            _ip("netns", "add", self.ns(name))
            _ip("-n", self.ns(name), "link", "set", "lo", "up")
            # Without waiting for duplicate address detection the network is usable at once.
            self.run(name, "sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
        for a, a_if, a_addrs, b, b_if, b_addrs in LINKS:
            _ip("link", "add", a_if, "netns", self.ns(a), "type", "veth", "peer", "name", b_if, "netns", self.ns(b))
            self._addresses(a, a_if, a_addrs)
            self._addresses(b, b_if, b_addrs)
        for address in (TURN, PORTAL, DNS, TURN6):
            _ip("-n", self.ns("inet"), "addr", "add", address, "dev", "lo")
        for name, destination, via in ROUTES:
            _ip("-n", self.ns(name), "route", "add", destination, "via", via)
        # As on the real internet, a datagram to a private address is lost on the way, not refused where it is sent:
        # coturn gives a session's relay socket up at "network is unreachable".
        _ip("-n", self.ns("inet"), "link", "add", "void", "type", "veth", "peer", "name", "void-end")
        for interface in ("void", "void-end"):
            _ip("-n", self.ns("inet"), "link", "set", interface, "arp", "off", "up")
        _ip("-n", self.ns("inet"), "route", "add", "default", "dev", "void", "src", PORTAL)
        for name in ("inet", "cnat", "gnat", "gnat2"):
            self.run(name, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        for name in ("cnat", "gnat", "gnat2"):
            self.run(name, "nft", "-f", "-", stdin=NAT_RULES)
        self.run("gw", "sysctl", "-qp", REPO / "packaging" / "60-firezone-gateway.conf")
        self.run("gw", "nft", "-f", REPO / "packaging" / "firezone-gateway.nft")
        self._servers()

    def down(self):
        """Ends everything inside the namespaces, ours or left over, and removes them."""
        for label in list(self.procs):
            self.end(label)
        for name in NAMESPACES:
            if os.path.exists(f"/run/netns/{self.ns(name)}"):
                self._end_pids(name)
                _ip("netns", "del", self.ns(name))
        shutil.rmtree(self.state, ignore_errors=True)

    def _end_pids(self, name):
        for sig in (signal.SIGTERM, signal.SIGKILL):
            deadline = time.monotonic() + 2
            while time.monotonic() < deadline:
                pids = subprocess.run(["ip", "netns", "pids", self.ns(name)], capture_output=True, text=True,
                                      check=False).stdout.split()
                if not pids:
                    return
                for pid in pids:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(pid), sig)
                time.sleep(0.05)

    def relay_only(self, on):
        """Whether `inet` forwards no UDP."""
        self.run("inet", "nft", "delete table inet relay_only", check=False)
        if on:
            self.run("inet", "nft", "-f", "-", stdin=RELAY_ONLY_RULES)

    def ip(self, name, *lines):
        """Lines for ip(8), all in one go."""
        self.run(name, "ip", "-batch", "-", stdin="".join(line + "\n" for line in lines))

    def uplink(self, router):
        """Moves the default routes of the gateway's host to a router of UPLINKS."""
        self.ip("gw", *(f"route replace default via {via}" for via in UPLINKS[router][:2]))

    def _addresses(self, name, interface, addresses):
        for address in addresses.split():
            extra = ["nodad"] if ":" in address else []
            _ip("-n", self.ns(name), "addr", "add", address, "dev", interface, *extra)
        _ip("-n", self.ns(name), "link", "set", interface, "up")

    def bad_line(self, router, seed=1):
        """Puts line.py between `inet` and a router, in place of the cable: what it does is changed by line()."""
        ends = next(link for link in LINKS if link[0] == "inet" and link[3] == router)
        control = self.state / "line.sock"
        (self.state / "line.json").write_text(json.dumps({
            "ends": [[self.ns(ends[0]), ends[1]], [self.ns(ends[3]), ends[4]]], "control": str(control), "seed": seed}))
        _ip("-n", self.ns("inet"), "link", "del", ends[1])
        self.spawn("line", "inet", PYTHON, "-B", REPO / "tests" / "interop" / "line.py", self.state / "line.json")
        self.wait_for(control.exists, 5, "the bad line")
        for name, interface, addresses in (ends[:3], ends[3:]):
            self._addresses(name, interface, addresses)
        theirs = {word.split("/")[0] for addresses in (ends[2], ends[5]) for word in addresses.split()}
        for name, destination, via in ROUTES:
            if via in theirs:
                _ip("-n", self.ns(name), "route", "replace", destination, "via", via)

    def line(self, **settings):
        """What the bad line does from now on; what it did since it was asked last: {packets, lost, early}."""
        mine = self.state / "line-asks.sock"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.bind(str(mine))
            sock.settimeout(5)
            sock.sendto(json.dumps(settings).encode(), str(self.state / "line.sock"))
            answer = sock.recv(4096)
        mine.unlink()
        return json.loads(answer)

    # --- what stands in the network

    def _servers(self):
        self.start_coturn()
        self.spawn("dns", "inet", "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
                   "--bind-interfaces", f"--listen-address={DNS}", f"--address=/{PORTAL_NAME}/{PORTAL}", "--user=root",
                   f"--pid-file={self.state}/dns.pid", "--log-facility=-")
        self._certificates()
        self.start_portal()
        self._lan()
        self.wait_for(lambda: "ready" in self.log("portal"), 10, "the portal")
        for address in (f"{TURN}:3478", f"[{TURN6}]:3478"):
            self.wait_for(lambda where=address: self._listening("inet", "u", where), 10, "coturn")
        self.wait_for(lambda: self._listening("lan", "t", ":5201"), 10, "the LAN's servers")
        # A neighbour's first question over IPv6 may come before the other end listens for it, and the next is a second later.
        for name in ("client", "gw"):
            self.run(name, "ping", "-6", "-c", "1", "-W", "5", TURN6)

    def start_coturn(self, label="coturn", addresses=(TURN, TURN6), options=()):
        self.spawn(label, "inet", "turnserver", "-n", "--lt-cred-mech", "--realm=firezone", "--listening-port=3478",
                   *(f"--{what}-ip={address}" for address in addresses for what in ("listening", "relay")),
                   "--user=gateway:gateway-secret", "--user=client:client-secret",
                   "--no-tls", "--no-dtls", "--no-cli", "--log-file=stdout", "--simple-log",
                   f"--userdb={self.state}/{label}.db", f"--pidfile={self.state}/{label}.pid", *options)

    def relays(self, user, addresses=(f"{TURN}:3478", f"[{TURN6}]:3478"), number=1, password=None):
        """A relay as the portal lists it: one entry for each family, with one id and one pair of credentials."""
        return [{"type": "turn", "id": f"5b0c6f0e-5f8a-4a39-9a0e-0d8f0f9a{number:04}", "addr": address, "username": user,
                 "password": password or f"{user}-secret", "expires_at": 2145916800} for address in addresses]

    def start_portal(self):
        certs = self.state / "certs"
        config = {
            "listen": [[PORTAL, WS]], "control": str(self.portal_socket), "token": TOKEN,
            "tls_listen": [[PORTAL, port, str(certs / f"{name}.crt"), str(certs / f"{name}.key")] for port, name in
                           ((WSS, "portal"), (WSS_WRONG_NAME, "wrong-name"), (WSS_UNKNOWN_CA, "unknown-ca"))],
            "interface": GATEWAY_TUNNEL, "relays": self.relays("gateway")}
        (self.state / "portal.json").write_text(json.dumps(config))
        self.spawn("portal", "inet", PYTHON, "-B", REPO / "tests" / "portal" / "portal.py", self.state / "portal.json")

    def _certificates(self):
        """A private authority, a server certificate of it, one for another name, and one of another authority."""
        certs = self.state / "certs"
        certs.mkdir(mode=0o755)
        for ca in ("ca", "other-ca"):
            _openssl(certs, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                     "-subj", f"/CN=Interop {ca}", "-keyout", f"{ca}.key", "-out", f"{ca}.crt",
                     "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")
        for name, ca, host in (("portal", "ca", PORTAL_NAME), ("wrong-name", "ca", "elsewhere.firezone.test"),
                               ("unknown-ca", "other-ca", PORTAL_NAME)):
            (certs / f"{name}.ext").write_text(f"subjectAltName=DNS:{host}\nextendedKeyUsage=serverAuth\n")
            _openssl(certs, "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                     "-subj", f"/CN={host}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
            _openssl(certs, "x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.crt", "-CAkey", f"{ca}.key", "-days", "2",
                     "-CAcreateserial", "-extfile", f"{name}.ext", "-out", f"{name}.crt")

    def _lan(self):
        root = self.state / "www"
        root.mkdir(mode=0o755)
        (root / "index.html").write_text(PAGE)
        (root / "blob").write_bytes(os.urandom(1 << 22))
        (self.state / "nginx.conf").write_text(f"""
daemon off; pid {self.state}/nginx.pid; error_log stderr; worker_processes 1; user root;
events {{ }}
http {{
	access_log off; client_body_temp_path {self.state}/nginx-body; proxy_temp_path {self.state}/nginx-proxy;
	fastcgi_temp_path {self.state}/nginx-fcgi; uwsgi_temp_path {self.state}/nginx-uwsgi;
	scgi_temp_path {self.state}/nginx-scgi;
	server {{ listen 80; listen [::]:80; listen 8081; listen [::]:8081; root {root}; }}
}}
""")
        self.spawn("nginx", "lan", "nginx", "-c", self.state / "nginx.conf", "-e", "stderr")
        self.spawn("iperf3", "lan", "iperf3", "-s")

    def _listening(self, name, proto, where):
        return where in self.run(name, "ss", f"-Hln{proto}").stdout

    def wait_for(self, predicate, seconds, what):
        wait_for(predicate, seconds, what)


def lock(prefix, wait):
    """An open file that holds the prefix's lock until it is closed or the process ends; None: somebody else holds it."""
    file = open(f"/run/{prefix}.lock", "w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        file.close()
        return None
    return file


def wait_for(predicate, seconds, what):
    """Polls until the predicate is true and returns its value; an exception naming `what` when time is up."""
    deadline = time.monotonic() + seconds
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(0.05)


def enlarge_buffers(pid):
    """Gives a program's UDP sockets room for what waits on a busy machine; the kernel's default is too little."""
    process, libc = os.pidfd_open(pid), ctypes.CDLL(None)
    for name in os.listdir(f"/proc/{pid}/fd"):
        # One that is closed meanwhile needs none.
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:"):
                with socket.socket(fileno=libc.syscall(SYS_PIDFD_GETFD, process, int(name), 0)) as copy:
                    if copy.type == socket.SOCK_DGRAM:
                        copy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    os.close(process)


def _ip(*argv):
    done = subprocess.run(["ip", *argv], capture_output=True, text=True, env=clean_env(), check=False)
    if done.returncode != 0:
        raise RuntimeError(f"ip {' '.join(argv)}: {done.stderr.strip()}")


def _openssl(directory, *argv):
    subprocess.run(["openssl", *argv], cwd=directory, check=True, capture_output=True, env=clean_env())
