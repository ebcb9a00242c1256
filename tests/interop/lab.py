"""The network, the portal's control, and clients on request: what ./demo and the tests share."""

import itertools
import json
import signal
import subprocess
import time
import uuid

import control
import net

NAMESPACE = uuid.UUID("b9f3a1e0-0000-4000-8000-00000000f17e")


def resource(address, filters=(), name=None):
    """A CIDR resource; its id depends on address and name only."""
    name = name or address
    return {"type": "cidr", "id": str(uuid.uuid5(NAMESPACE, address + name)), "address": address, "name": name,
            "filters": list(filters)}


def resource_of(host):
    """The resource that is one host."""
    return resource(f"{host}/{128 if ':' in host else 32}")


def tcp(first, last=None):
    return {"protocol": "tcp", "port_range_start": first, "port_range_end": last or first}


LAN4_RESOURCE = resource("10.20.0.0/24")
LAN6_RESOURCE = resource("fd10:20::/64")
OTHER4_RESOURCE = resource("10.21.0.0/24")


class Client:
    """A running client.py."""

    def __init__(self, lab, label, config):
        self.lab, self.label, self.config = lab, label, config
        self.control = control.Control(config["control"])
        self.id = config["id"]
        self.granted = {}

    def flow(self, what, **extra):
        """Asks the portal for a resource; the first one connects."""
        answer = self.control.post("/flow", {"resource": what, **extra})
        self.granted[what["id"]] = what
        return answer

    def pretend(self, what):
        """Routes a resource into the tunnel without asking anybody."""
        self.control.post("/allow", {"resource": what})

    def status(self):
        return self.control.get("/status")

    def events(self, kind):
        return [event for event in self.status()["events"] if event["kind"] == kind]

    def run(self, *argv, check=False, timeout=30):
        return self.lab.net.run("client", *argv, check=check, timeout=timeout)

    def fetch(self, host, port=80, path="/", timeout=5):
        """(curl's exit status, body, curl's message); the time-out is curl's, for the whole fetch."""
        if ":" in host:
            host = f"[{host}]"
        done = self.run("curl", "-sS", "--max-time", str(timeout), "--noproxy", "*", f"http://{host}:{port}{path}")
        return done.returncode, done.stdout, done.stderr.strip()

    def is_prohibited(self, host, port=80, timeout=2):
        """The seconds until the gateway's ICMP message ended a connection attempt; asserts that it did."""
        before = len(self.events("prohibited"))
        started = time.monotonic()
        code, _, message = self.fetch(host, port=port, timeout=timeout)
        seconds = time.monotonic() - started
        assert code == 7, f"curl {code}: {message}"
        events = self.events("prohibited")[before:]
        assert events and events[-1]["from"] == host, events
        return seconds

    def gets_page(self, host, **kwargs):
        code, body, message = self.fetch(host, **kwargs)
        assert (code, body) == (0, net.PAGE), f"curl {code}: {message}"

    def close(self):
        self.lab.end_client(self)


class Lab:
    def __init__(self, prefix):
        self.net = net.Net(prefix)
        self.portal = control.Control(self.net.portal_socket)
        self.client_numbers = itertools.count(1)    # clients may start at the same time
        self.clients = []

    def up(self):
        self.net.up()

    def down(self):
        for client in list(self.clients):
            client.close()
        self.net.down()

    def wait_joined(self, seconds=10):
        """Until a gateway has joined the portal; its parameters."""
        state = self.portal.get(f"/state?wait={seconds}")
        if not state["joined"]:
            raise TimeoutError(f"no gateway at the portal within {seconds} s")
        return state["gateway"]

    def wait_offline(self, seconds=5):
        net.wait_for(lambda: not self.portal.get("/state")["connected"], seconds, "the portal seeing the gateway go")

    def client(self, paths="any", nomination="regular", family=4, wireguard_go="wireguard-go", roaming=False, tries=None):
        """Starts a client; its first flow connects it."""
        number = next(self.client_numbers)
        label = f"client-{number}"
        config = {
            "name": label, "interface": f"{self.net.prefix[:8]}-c{number}", "id": str(uuid.uuid4()),
            "control": str(self.net.state / f"{label}.sock"), "portal": str(self.net.portal_socket),
            "turn": net.TURN, "turn_user": "client", "turn_password": "client-secret",
            "ipv4": f"100.64.{number // 250}.{number % 250 + 1}", "ipv6": f"fd00:2021:1111::{number:x}",
            "paths": paths, "nomination": nomination, "family": family, "wireguard_go": wireguard_go,
            "roaming": roaming, "tries": tries}
        client = self.start_client(label, config)
        self.clients.append(client)
        return client

    def start_client(self, label, config):
        """Starts client.py and waits until it answers."""
        path = self.net.state / f"{label}.json"
        path.write_text(json.dumps(config))
        # Tests of roaming count lost packets: none may be lost here because something else needs the processor.
        first = ["nice", "-n", "-15"] if config["roaming"] else []
        self.net.spawn(label, "client", *first, net.PYTHON, "-B", net.REPO / "tests" / "interop" / "client.py", path)
        client = Client(self, label, config)
        net.wait_for(lambda: self._answers(client), 10, f"{label} ({self.net.log(label)})")
        return client

    def _answers(self, client):
        try:
            client.status()
            return True
        except OSError:
            return False

    def end_client(self, client):
        """Ends a client and, since it says no goodbye, what it was granted."""
        for what in client.granted.values():
            try:
                self.reject(client, what)
            except (OSError, control.ControlError):
                break
        try:
            client.control.post("/close")
            self.net.procs[client.label].wait(5)
            del self.net.procs[client.label]
        except (OSError, KeyError, subprocess.TimeoutExpired):
            self.net.end(client.label, signal.SIGKILL)
        if client in self.clients:
            self.clients.remove(client)

    def reject(self, client, what):
        self.portal.post("/reject", {"client_id": client.id, "resource_id": what["id"]})

    def start_reference(self):
        """The reference gateway in the gateway's place; its WireGuard's socket is named after the interface, so it is hidden."""
        own = 'mkdir -p /var/run/wireguard && mount -t tmpfs -o mode=700 none /var/run/wireguard && exec "$@"'
        path = self.net.state / "refgw.json"
        path.write_text(json.dumps({"url": f"ws://{net.PORTAL}:{net.WS}/", "token": net.TOKEN, "turn": net.TURN,
                                    "addresses": [net.GW_ADDRESS, net.GW_ADDRESS6], "interface": "tun-firezone"}))
        self.net.spawn("refgw", "gw", "unshare", "--mount", "--propagation", "private", "--", "/bin/sh", "-c", own, "sh",
                       net.PYTHON, "-B", net.REPO / "tests" / "interop" / "refgw.py", path)
        return self.wait_joined()

    def blob_matches(self, client, host):
        """Fetches 4 MiB through the tunnel; (equal, Mbit/s)."""
        target = self.net.state / "fetched"
        url = f"http://{'[' + host + ']' if ':' in host else host}/blob"
        started = time.monotonic()
        client.run("curl", "-sS", "--max-time", "20", "-o", target, url, check=True)
        seconds = time.monotonic() - started
        sent = (self.net.state / "www" / "blob").read_bytes()
        return target.read_bytes() == sent, len(sent) * 8 / 1e6 / seconds
