"""What the benchmarks with the real gateway share: the build, the network of the interoperability tests with one veth pair more,
straight from client to gateway, and what the scheduler says of a process."""

import contextlib
import ctypes
import os
import pathlib
import signal
import socket
import stat
import subprocess
import sys

REPO = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(REPO / "tests" / "interop"))
sys.dont_write_bytecode = True

import gateway  # noqa: E402
import lab  # noqa: E402
import net  # noqa: E402
import tunnel  # noqa: E402

PREFIX, USER = "fzbench", "fzgw-bench"
PROGRAMS = ("firezone-gateway", "firezone-gateway-helper", "firezone-gateway-worker")
CLIENT_ADDRESS = "192.168.10.2"
PORTS = {"wg gateway": 52100, "wg client": 52101, "wg floor": 52102, "floor gateway": 52103, "floor client": 52104,
         "ours floor": 52105}
UDP_GRO, PIDFD_GETFD = 104, 438              # linux/udp.h, asm-generic/unistd.h


def run(*argv, env=None, cwd=None):
    done = subprocess.run(list(map(str, argv)), cwd=cwd, env=env or net.clean_env(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, argv))}: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout.strip()


def build(directory, *targets):
    run("cmake", "--preset", "release", "-B", directory, f"-DCMAKE_INSTALL_PREFIX={directory}/stage", cwd=REPO)
    run("ninja", "-C", directory, *PROGRAMS, *targets)
    run("cmake", "--install", directory)


def add_build_options(parser):
    parser.add_argument("--build", type=pathlib.Path, default=REPO / "build" / "bench", metavar="DIR", help="build directory (build/bench)")
    parser.add_argument("--no-build", action="store_true", help="take what the build directory holds")


def parsed(parser):
    options = parser.parse_args()
    options.build = options.build.resolve()
    if os.getuid() != 0:
        sys.exit(f"{parser.prog}: needs root, for its namespaces")
    return options


@contextlib.contextmanager
def running(bench):
    """Takes everything down in the end; what the gateway had to say goes with an error."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        yield
    except Exception:
        print(f"the gateway's log ends:\n{bench.log()[-3000:]}", file=sys.stderr)
        raise
    finally:
        bench.down()


def cpu_seconds(pid):
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):
            total += int(task.joinpath("schedstat").read_text().split()[0])
    return total / 1e9


def pin(pid, core):
    """All threads of a process to one of the cores that there are; nothing where there is one only."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), {cores[core % len(cores)]})


def join_arrivals(pid, port):
    """UDP_GRO on another process's socket: the kernel asks the socket that an arriving datagram's port names."""
    libc = ctypes.CDLL(None)
    handle = os.pidfd_open(pid)
    for number in map(int, os.listdir(f"/proc/{pid}/fd")):
        fd = libc.syscall(PIDFD_GETFD, handle, number, 0)
        if fd < 0:                           # closed meanwhile
            continue
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            os.close(fd)
            continue
        with socket.socket(fileno=fd) as sock:
            if sock.family == socket.AF_INET and sock.type == socket.SOCK_DGRAM and sock.getsockname()[1] == port:
                sock.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
    os.close(handle)


def prefer(pid, nice):
    """A process and its session before (or behind) whatever else runs on the machine."""
    os.setpriority(os.PRIO_PROCESS, pid, nice)
    with contextlib.suppress(OSError):       # a kernel without groups of sessions
        pathlib.Path(f"/proc/{pid}/autogroup").write_text(str(nice))


class Wire:
    """The network, with a direct path between client and gateway and no other, and the gateway in it."""

    def __init__(self, build_directory):
        self.build = build_directory
        self.lab = lab.Lab(PREFIX)
        self.net = self.lab.net
        self.installed = gateway.Installed("release", USER, build_directory / "stage")
        self.gateway = gateway.Gateway(self.net, self.installed)
        self.lans = 0
        self.rewrites = []

    def ip(self, name, *argv):
        return self.net.run(name, "ip", *argv)

    def up(self, nic_like=False):
        self.lab.up()
        self.net.relay_only(True)            # leaves the wire below as the one direct path
        run("ip", "link", "add", "wire", "netns", self.net.ns("client"), "type", "veth", "peer", "name", "wire",
            "netns", self.net.ns("gw"))
        for name, own, other in (("client", CLIENT_ADDRESS, net.GW_ADDRESS), ("gw", net.GW_ADDRESS, CLIENT_ADDRESS)):
            self.ip(name, "link", "set", "wire", "up")
            if nic_like:
                self.net.run(name, "ethtool", "-K", "wire", "tx-udp-segmentation", "off", "tso", "off", "gro", "on")
            self.ip(name, "route", "add", other, "dev", "wire", "src", own)

    def lan(self):
        """A further network behind the gateway: (prefix, its server)."""
        self.lans += 1
        net3 = f"10.{30 + self.lans}.0"
        self.ip("gw", "addr", "add", f"{net3}.1/24", "dev", "eth1")
        self.ip("lan", "addr", "add", f"{net3}.10/24", "dev", "eth0")
        return f"{net3}.0/24", f"{net3}.10"

    def rewrite(self, ice_port, data_port):
        """In the client's namespace WireGuard's datagrams of the ICE port are another socket's; STUN stays."""
        self.rewrites.append((ice_port, data_port))
        inward = "\n".join(f"udp dport {ice} @th,64,32 {{ 0x01000000, 0x02000000, 0x03000000, 0x04000000 }} udp dport set {data}"
                           for ice, data in self.rewrites)
        outward = "\n".join(f"udp sport {data} udp sport set {ice}" for ice, data in self.rewrites)
        self.net.run("client", "nft", "-f", "-", stdin=f"""
add table inet bench
delete table inet bench
table inet bench {{
	chain inward {{
		type filter hook prerouting priority raw;
		{inward}
	}}
	chain outward {{
		type filter hook output priority raw;
		{outward}
	}}
}}
""")

    def ours(self, log="info"):
        self.installed.remove_user()
        self.installed.add_user()
        self.installed.grant()
        self.gateway.start(RUST_LOG=log)
        self.gateway.wait_online()

    def connect_ours(self, wireguard_go="wireguard-go"):
        """One client of ours up to a nominated pair: (client, its server, ICE port, the gateway's port)."""
        prefix, host = self.lan()
        client = self.lab.client(paths="direct", nomination="aggressive", wireguard_go=str(wireguard_go))
        pair = client.flow(lab.resource(prefix))["pair"]
        local, remote = pair["local"], pair["remote"]
        if (local["address"], remote["address"]) != (CLIENT_ADDRESS, net.GW_ADDRESS):
            raise RuntimeError(f"not the direct pair: {pair}")
        join_arrivals(self.net.procs[client.label].pid, local["port"])
        return client, host, local["port"], remote["port"]

    def floor_client(self, name, wireguard_go="wireguard-go"):
        """One client of ours whose data the floor forwarder carries; its server."""
        client, host, ice_port, gateway_port = self.connect_ours(wireguard_go)
        interface = client.config["interface"]
        private = run("wg", "show", interface, "private-key")
        peer, preshared = run("wg", "show", interface, "preshared-keys").split()
        run("wg", "set", interface, "peer", peer, "remove")
        self.ip("client", "link", "set", interface, "down")
        self.ip("client", "addr", "flush", "dev", interface)
        self.rewrite(ice_port, PORTS["ours floor"])
        self.floor("client", name, "ours floor", (net.GW_ADDRESS, gateway_port), (private, peer, preshared))
        self.tun("client", name, client.config["ipv4"], host)
        return host

    def floor(self, name, interface, port, peer, keys=None, side=None):
        stdin = None
        if keys:
            read, write = os.pipe()
            os.write(write, ("\n".join(keys) + "\n").encode())
            os.close(write)
            stdin = read
        argv = self.net.inside(name, self.build / "tests" / "bench" / "floor", interface, PORTS[port], *peer,
                               "session" if keys else side)
        with open(self.net.state / f"{interface}.log", "wb") as log:
            proc = subprocess.Popen(argv, stdin=stdin or subprocess.DEVNULL, stdout=log, stderr=log, env=net.clean_env(),
                                    start_new_session=True)
        self.net.procs[interface] = proc
        return proc.pid

    def tun(self, name, interface, address, route):
        net.wait_for(lambda: self.net.run(name, "ip", "link", "show", "dev", interface, check=False).returncode == 0, 5, interface)
        self.ip(name, "addr", "add", f"{address}/32", "dev", interface)
        self.ip(name, "link", "set", interface, "mtu", tunnel.MTU, "txqueuelen", 1000, "up")
        self.ip(name, "route", "replace", route, "dev", interface)

    def log(self):
        return self.gateway.output() if self.gateway.proc else ""

    def down(self):
        with contextlib.suppress(Exception):
            self.gateway.stop()
        self.lab.down()
        self.installed.remove_user()
