"""What runs over a client's path while a test breaks it: a ping every 10 ms, a download; and how long the break lasted.

Replies tell when the path worked: it is broken from SILENCE seconds after the last one. Each client has programs of
its own, so several may be watched at once if each asks for another host.
"""

import contextlib
import filecmp
import re
import signal
import time

import lab as lab_module
import net

CHANGED, ESTABLISHED = "Network change detected", "Session established"
SILENCE = 0.3                    # seconds without a reply: the path does not work
SETTLED = 3                      # what happens later than this many seconds after a change is no consequence of it
BACK_WITHIN = 5                  # seconds; the aim is 2
PORT = 52625
# Takes a UDP port as soon as it is free, and keeps it.
TAKER = """
import socket, sys, time
six = sys.argv[1] == "6"
sock = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
if six:
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
while True:
    try:
        sock.bind(("", 52625))
        break
    except OSError:
        time.sleep(0.001)
time.sleep(100)
"""


def take_port(network, family):
    """Another program on the gateway's host waits for the port of a family ("4" or "6")."""
    network.spawn(f"taker{family}", "gw", net.PYTHON, "-c", TAKER, family)


def end_all(network):
    """What a test left running."""
    for label in list(network.procs):
        if label.startswith(("ping-", "curl-", "taker")):
            network.end(label)


def rules(network, name, *lines, hook="input"):
    """Packet filter rules of a test; none: away with them."""
    network.run(name, "nft", "delete table inet test", check=False)
    if lines:
        network.run(name, "nft", "add table inet test", check=True)
        network.run(name, "nft", f"add chain inet test drops {{ type filter hook {hook} priority filter; }}")
        for line in lines:
            network.run(name, "nft", f"add rule inet test drops {line}")


def told(record_property, what, seconds):
    """One measured line of the report."""
    record_property(what, round(seconds, 2))
    print(f"{what}: {seconds:.2f} s")


class Traffic:
    """A client that is connected, and what runs over its path."""

    def __init__(self, lab, run, clients, path, family=4, host=net.LAN4, **kind):
        self.lab, self.run, self.host = lab, run, host
        lab.net.relay_only(path in ("relayed", "both-relays"))
        self.client = clients(paths="gateway-relay" if path == "relayed" else path, family=family, roaming=True, **kind)
        self.pair = self.client.flow(lab_module.resource_of(host))["pair"]
        assert path == "any" or self.pair["kind"] == ("direct" if path == "direct" else "relayed")
        self.client.gets_page(self.host)
        self.labels = [f"{what}-{self.client.label}" for what in ("ping", "curl")]
        self.file = lab.net.state / f"downloaded-{self.client.label}"
        self.changes = run.log().count(CHANGED)
        self.session = self.client.status()["wireguard"]["handshake"]
        self.download = self.page = None
        self.settled()

    def settled(self):
        """From now on nobody, other clients included, should need the portal's word."""
        self.transcript = self.lab.portal.get("/state")["messages"]
        self.sessions = self.run.log().count(ESTABLISHED)

    def start(self, rate="200mbit", page="big"):
        """With the download, paced so that the client's Python keeps up with it."""
        self.lab.net.run("lan", "tc", *f"qdisc replace dev eth0 root tbf rate {rate} burst 128k limit 2m".split())
        net.enlarge_buffers(self.lab.net.procs["coturn"].pid)
        self.page = page
        self.download = self.lab.net.spawn(self.labels[1], "client", "curl", "-sS", "--max-time", "120", "--noproxy", "*",
                                           "-o", self.file, f"http://{self.host}/{page}")
        return self.ping()

    def ping(self):
        """Starts the series; returns when replies come."""
        self.lab.net.spawn(self.labels[0], "client", "ping", "-D", "-i", "0.01", self.host)
        self.lab.net.wait_for(lambda: len(self.replies()) > 50, 10, "replies")
        return self

    def end(self):
        self.lab.net.end(self.labels[0], signal.SIGINT)

    def replies(self):
        """The time of each reply."""
        return [float(stamp) for stamp in re.findall(r"^\[([0-9.]+)\] \d+ bytes from", self.lab.net.log(self.labels[0]), re.M)]

    def works_again(self, since, seconds=BACK_WITHIN):
        """Waits until replies come without a break after `since`; the seconds it took from there."""
        def over():
            return time.time() > since + SETTLED and self.back(since) is not None
        with contextlib.suppress(TimeoutError):
            self.lab.net.wait_for(over, max(seconds, SETTLED) + 1, "replies")
        back = self.back(since)
        assert back is not None and back <= seconds, f"back after {back} s; paths: {self.client.status()['selections']}"
        return back

    def back(self, since):
        """Seconds from `since` to the end of the last silence, None while it lasts."""
        replies = self.replies()
        if time.time() - replies[-1] > SILENCE:
            return None
        ends = [second - since for first, second in zip(replies, replies[1:]) if second - first > SILENCE]
        return max([0.0, *ends])

    def completes(self):
        """The download's end, and everything that must be as before."""
        code = self.download.wait(60)
        assert code == 0, f"curl {code}: {self.lab.net.log(self.labels[1])}"
        assert filecmp.cmp(self.file, self.lab.net.state / "www" / self.page, shallow=False)
        self.same_session()
        self.end()

    def same_session(self):
        assert self.client.status()["wireguard"]["handshake"] == self.session
        assert self.run.log().count(ESTABLISHED) == self.sessions
        self.same_authorization()

    def messages(self, direction):
        """What the portal sent or received since the client was connected."""
        return [entry["msg"] for entry in self.lab.portal.get(f"/transcript?after={self.transcript}")
                if entry["dir"] == direction]

    def same_authorization(self):
        assert "authorize_flow" not in [message["event"] for message in self.messages("send")]
        assert self.lab.portal.get("/state")["gateway"]["public_key"] == self.key()

    def key(self):
        return self.client.run("wg", "show", self.client.config["interface"], "peers").stdout.strip()

    def roams(self):
        return self.run.log().count(CHANGED) - self.changes

    def lost(self):
        """Pings without a reply before the last reply."""
        replies = re.findall(r"^\[[0-9.]+\] \d+ bytes from .* icmp_seq=(\d+)", self.lab.net.log(self.labels[0]), re.M)
        numbers = set(map(int, replies))
        return max(numbers) - len(numbers)
