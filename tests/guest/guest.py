"""Debian's kernel in QEMU as the client's host: it stands where the network's `client` namespace is otherwise.

    guest (192.168.10.2) -- tap "lan" of cnat -- inet -- gnat -- gw -- lan

All of the client lives in there: ICE (client.py), the kernel's WireGuard, and netem on the card, so that every datagram
of the client meets it. Programs are started in it over a virtio port (agent.py). Its processor is emulated (TCG), KVM is
not asked for. The portal's control socket is reached over the network, by socat at both ends.
"""

import concurrent.futures
import contextlib
import itertools
import json
import socket
import subprocess
import threading
import time

import control
import image
import lab
import net

HERE = net.REPO / "tests" / "guest"
PROGRAMS = [*(net.REPO / "tests" / "interop" / name for name in ("client.py", "net.py", "roaming.py", "tunnel.py")),
            HERE / "agent.py", HERE / "kernel_client.py", HERE / "wire.py"]
PORTAL_PORT, PORTAL_SOCKET = 8099, "/run/portal.sock"
ADDRESSES = (("192.168.10.2/24", "192.168.10.1/24"), ("2001:db8:10::2/64", "2001:db8:10::1/64"))
MACHINE = ("-accel tcg -cpu max -machine q35 -smp 1 -m 512 -nodefaults -display none -no-reboot "
           "-netdev tap,id=card,ifname=lan,script=no,downscript=no -device virtio-net-pci,netdev=card "
           "-device virtio-serial-pci -device virtserialport,chardev=agent").split()
BOOT_TIMEOUT = 120
SLOW = 5                         # how much longer a program may take in the guest


class Guest:
    def __init__(self, network):
        self.net = network
        self.sock = self.image_seconds = self.boot_seconds = None
        self.numbers = itertools.count(1)
        self.waiting = {0: concurrent.futures.Future()}      # request id -> future of its answer
        self.lock = threading.Lock()

    def start(self):
        started = time.monotonic()
        kernel, initramfs = image.boot(PROGRAMS)
        self.image_seconds = time.monotonic() - started
        agent = self.net.state / "agent.sock"
        self.net.spawn("qemu", "cnat", "qemu-system-x86_64", *MACHINE, "-kernel", kernel, "-initrd", initramfs,
                       "-append", "console=ttyS0 quiet panic=-1", "-serial", f"file:{self.net.state}/client-guest.log",
                       "-chardev", f"socket,id=agent,path={agent},server=on,wait=off")
        started = time.monotonic()
        net.wait_for(agent.exists, 10, f"QEMU ({self.net.log('qemu')})")
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(str(agent))
        threading.Thread(target=self._read, daemon=True).start()
        self.waiting[0].result(BOOT_TIMEOUT)
        self.boot_seconds = time.monotonic() - started

    def _read(self):
        for line in self.sock.makefile("rb"):
            answer = json.loads(line)
            self.waiting.pop(answer["id"]).set_result(answer)

    def begin(self, *argv, timeout=30, stdin=None):
        """Starts a program; a future of {code, out, err}."""
        future, number = concurrent.futures.Future(), next(self.numbers)
        request = {"id": number, "argv": list(map(str, argv)), "stdin": stdin, "timeout": timeout}
        with self.lock:
            self.waiting[number] = future
            self.sock.sendall(json.dumps(request).encode() + b"\n")
        return future

    def run(self, *argv, check=True, timeout=30, stdin=None):
        """Runs a program to its end; as net.Net.run()."""
        answer = self.begin(*argv, timeout=timeout, stdin=stdin).result(timeout + 30)
        if check and answer["code"] != 0:
            raise RuntimeError(f"{argv} in the guest: {answer['code']} {answer['err'] or answer['out']}")
        return subprocess.CompletedProcess(argv, answer["code"], answer["out"], answer["err"])

    def background(self, *argv):
        """Starts a program that stays; what it says goes to the console."""
        self.run("sh", "-c", 'exec "$@" </dev/null >/dev/ttyS0 2>&1 &', "sh", *argv)

    def wire(self, action, timeout=60):
        """Starts wire.py; a function that ends it and returns what it saw or did."""
        future = self.begin("python3", "-B", "/tests/wire.py", action, timeout=timeout)
        self.run("sh", "-c", "until [ -e /run/wire ]; do sleep 0.1; done")

        def end():
            self.run("rm", "/run/wire")
            return json.loads(future.result()["out"])
        return end

    def configure(self):
        """Its place in the network, the portal's socket, and a way for arriving packets through netem."""
        for address, router in ADDRESSES:
            self.run("ip", "address", "add", address, "dev", "eth0")
            self.run("ip", "route", "add", "default", "via", router.split("/")[0])
        self.run("ip", "link", "set", "ifb0", "up")
        self.run("tc", *"qdisc add dev eth0 ingress".split())
        self.run("tc", *"filter add dev eth0 parent ffff: matchall action mirred egress redirect dev ifb0".split())
        self.background("socat", f"UNIX-LISTEN:{PORTAL_SOCKET},fork", f"TCP:{net.PORTAL}:{PORTAL_PORT}")
        self.run("ping", "-c", "1", "-W", "5", net.TURN)

    @contextlib.contextmanager
    def netem(self, *options):
        """Both ways: each datagram that leaves and each that arrives. Yields a function: packets dropped so far."""
        devices = ("eth0", "ifb0")
        for device in devices:
            self.run("tc", "qdisc", "replace", "dev", device, "root", "netem", "limit", "10000", *options)

        def dropped():
            found = [json.loads(self.run("tc", "-s", "-j", "qdisc", "show", "dev", device, "root").stdout)[0]["drops"]
                     for device in devices]
            return min(found)
        try:
            yield dropped
        finally:
            for device in devices:
                self.run("tc", "qdisc", "del", "dev", device, "root")


class Control:
    """As control.Control, in the guest."""

    def __init__(self, guest, path):
        self.guest, self.path = guest, path

    def get(self, route):
        return self._ask(route)

    def post(self, route, body=None):
        return self._ask(route, "--json", json.dumps(body or {}))

    def _ask(self, route, *more):
        done = self.guest.run("curl", "-sS", "--unix-socket", self.path, "-w", "\n%{http_code}", *more,
                              f"http://client{route}", timeout=60, check=False)
        if done.returncode != 0:
            raise ConnectionError(done.stderr)
        text, status = done.stdout.rsplit("\n", 1)
        if status != "200":
            raise control.ControlError(int(status), text)
        return json.loads(text)


class Client(lab.Client):
    """A client in the guest. WireGuard's interface is the kernel's."""

    def __init__(self, laboratory, label, config):
        super().__init__(laboratory, label, config)
        self.guest, self.interface = laboratory.guest, config["interface"]
        self.control = Control(self.guest, config["control"])

    def fetch(self, host, port=80, path="/", timeout=5 * SLOW):
        return super().fetch(host, port, path, timeout)

    def handshake(self):
        """Unix seconds of the last one; 0: none."""
        return int(self.run("wg", "show", self.interface, "latest-handshakes", check=True).stdout.split()[1])

    def reconfigure(self, **settings):
        """Sets lines of the interface's configuration and forgets its sessions; the old values of these lines."""
        lines = self.run("wg", "showconf", self.interface, check=True).stdout.splitlines()
        old = {}
        for number, line in enumerate(lines):
            key, _, value = line.partition(" = ")
            if key in settings:
                old[key], lines[number] = value, f"{key} = {settings[key]}"
        assert old.keys() == settings.keys()
        self.guest.run("wg", "setconf", self.interface, "/dev/stdin", stdin="\n".join(lines) + "\n")
        return old


class Net(net.Net):
    """With the guest as `client`."""

    guest = None

    def run(self, name, *argv, check=True, timeout=30, stdin=None):
        if name == "client" and self.guest:
            return self.guest.run(*argv, check=check, timeout=timeout, stdin=stdin)
        return super().run(name, *argv, check=check, timeout=timeout, stdin=stdin)


class Lab(lab.Lab):
    def __init__(self, prefix):
        super().__init__(prefix)
        self.net = Net(prefix)
        self.guest = Guest(self.net)

    def up(self):
        super().up()
        self.net.spawn("portal-tcp", "inet", "socat", f"TCP-LISTEN:{PORTAL_PORT},bind={net.PORTAL},fork,reuseaddr",
                       f"UNIX-CONNECT:{self.net.portal_socket}")
        self.net.run("cnat", "ip", "link", "del", "lan")
        self.net.run("cnat", "ip", "tuntap", "add", "lan", "mode", "tap")
        for _, router in ADDRESSES:
            self.net.run("cnat", "ip", "address", "add", router, "dev", "lan")
        self.net.run("cnat", "ip", "link", "set", "lan", "up")
        self.guest.start()
        self.guest.configure()
        self.net.guest = self.guest

    def down(self):
        super().down()
        self.net.guest = None

    def start_client(self, label, config):
        config = {**config, "portal": PORTAL_SOCKET, "control": f"/run/{label}.sock"}
        self.guest.run("sh", "-c", 'cat >"$1"', "sh", f"/run/{label}.json", stdin=json.dumps(config))
        self.guest.background("python3", "-B", "/tests/kernel_client.py", f"/run/{label}.json")
        self.guest.run("sh", "-c", 'until [ -S "$1" ]; do sleep 0.1; done', "sh", config["control"], timeout=180)
        return Client(self, label, config)
