"""What ./demo does once the packages are there. See ./demo for its options."""

import argparse
import contextlib
import json
import os
import signal
import sys
import time

import gateway
import lab
import net

PREFIX = "fzdemo"
USER = "fzgw-demo"
ROUTE_CACHE = "source_cache"


class Failed(Exception):
    """A step's condition that does not hold."""


def require(condition, text):
    if not condition:
        raise Failed(text)


def say(text=""):
    for line in text.splitlines() or [""]:
        print("   " + line, flush=True)


class Demo:
    def __init__(self):
        self.lab = lab.Lab(PREFIX)
        self.installed = gateway.Installed("release", USER)
        self.gateway = gateway.Gateway(self.lab.net, self.installed)
        self.client = None
        self.results = []

    def step(self, name, action):
        print(f"\n== {name}", flush=True)
        started = time.monotonic()
        try:
            action()
            failure = None
        except Exception as exc:                 # a failed step is a line of the result, whatever went wrong
            failure = f"{type(exc).__name__}: {exc}" if not isinstance(exc, Failed) else str(exc)
            say(f"FAILED: {failure}")
        self.results.append((name, failure, time.monotonic() - started))
        return failure is None

    # --- steps

    def build(self):
        say("gcc, release, installed below build/release/stage")
        self.installed.build()

    def network(self):
        self.lab.up()
        say("client -- nftables NAT -- internet (coturn, portal, name server) -- nftables NAT -- gateway -- LAN (nginx, iperf3)")
        say(f"namespaces {', '.join(self.lab.net.ns(name) for name in net.NAMESPACES)}")
        say("on the gateway's host: packaging/firezone-gateway.nft, packaging/60-firezone-gateway.conf")

    def start(self):
        self.installed.add_user()
        self.installed.grant()
        say(f"as user {USER}, own /dev/net/tun in a private mount namespace, {self.installed.front}")
        started = time.monotonic()
        self.gateway.start()
        try:
            params = self.gateway.wait_online()
        except TimeoutError as exc:
            raise Failed(f"{exc}\n{self.gateway.output()[-3000:]}") from exc
        say(f"joined the portal after {time.monotonic() - started:.2f} s as {params['user_agent']}")
        say(self.lab.net.run("gw", "ip", "-brief", "addr", "show", "dev", gateway.TUN).stdout)
        self.processes()

    def processes(self):
        pids = {"worker": self.gateway.pid, "helper": self.gateway.helper_pid()}
        require(pids["helper"], "no helper process")
        seen = {name: gateway.facts(pid) for name, pid in pids.items()}
        say(f"{'':12}{'worker':28}helper")
        say(f"{'pid':12}{pids['worker']:<28}{pids['helper']}")
        for field in gateway.STATUS_FIELDS[1:]:
            value = {name: facts[field].split("\t")[0] for name, facts in seen.items()}
            say(f"{field:12}{value['worker']:28}{value['helper']}")
        for name in ("user", "net", "mnt"):
            own = {who: facts["namespaces"][name] for who, facts in seen.items()}
            say(f"{name + ' ns':12}{own['worker']:28}{own['helper']}")
        say(f"{'interfaces':12}{' '.join(seen['worker']['interfaces']):28}{' '.join(seen['helper']['interfaces'])}")
        for name, facts in seen.items():
            say(f"open descriptors of the {name}:")
            for numbers, target in runs(facts["fds"]):
                say(f"  {numbers:7} {target}")
        worker, helper = seen["worker"], seen["helper"]
        require(int(worker["CapEff"], 16) == 0 and int(worker["CapPrm"], 16) == 0, "the worker has a capability")
        require(worker["NoNewPrivs"] == "1" and worker["Seccomp"] == "2", "the worker is not confined")
        require(worker["interfaces"] == ["lo"], f"the worker's network namespace has {worker['interfaces']}")
        require(int(worker["CapBnd"], 16) == 0, "the worker's bounding set is not empty")
        require(int(helper["CapPrm"], 16) == 1 << 12, "the helper has another capability than CAP_NET_ADMIN")
        require(helper["NoNewPrivs"] == "1" and helper["Seccomp"] == "2", "the helper is not confined")

    def file_capabilities(self):
        text = self.installed.getcap()
        say(f"getcap {self.installed.front.name} {self.installed.helper.name} {self.installed.worker.name}:")
        say(text)
        require(text == f"{self.installed.helper} cap_net_admin=p", "not on the helper alone")

    def connect(self, paths, kind):
        if self.client:
            self.client.close()
        self.client = self.lab.client(paths=paths)
        answer = self.client.flow(lab.LAN4_RESOURCE)
        pair = answer["pair"]
        say(f"authorized in {answer['authorized_seconds'] * 1000:.0f} ms, ICE connected in {answer['ice_seconds']:.2f} s")
        say("selected pair: " + " -> ".join(
            f"{side['type']} {side['address']}:{side['port']}" for side in (pair["local"], pair["remote"])))
        require(pair["kind"] == kind, f"the path is {pair['kind']}, not {kind}")
        self.client.flow(lab.LAN6_RESOURCE)

    def page(self, host):
        started = time.monotonic()
        code, body, message = self.client.fetch(host)
        require(code == 0 and body == net.PAGE, f"curl: {message or 'another page'}")
        say(f"http://{'[' + host + ']' if ':' in host else host}/ in {(time.monotonic() - started) * 1000:.0f} ms: {body.strip()}")

    def direct(self):
        self.connect("direct", "direct")
        self.page(net.LAN4)
        self.page(net.LAN6)

    def relayed(self):
        self.lab.net.relay_only(True)
        say("the internet now forwards no UDP between the NATs")
        try:
            self.connect("gateway-relay", "relayed")
            self.page(net.LAN4)
            self.page(net.LAN6)
        finally:
            self.lab.net.relay_only(False)

    def route_cache(self):
        fields = {key: value for key, value in self.gateway.summary().items() if key.startswith(ROUTE_CACHE)}
        say(" ".join(f"{key}={value}" for key, value in fields.items()))
        require(fields, "no counters in the state summary")

    def throughput(self):
        self.connect("direct", "direct")
        for name, options in (("client to LAN", []), ("LAN to client", ["-R"])):
            before = cpu_seconds(self.gateway.pid)
            done = self.client.run("iperf3", "-J", "-t", "5", *options, "-c", net.LAN4, timeout=30)
            result = json.loads(done.stdout)
            require("error" not in result, f"iperf3: {result.get('error')}")
            rate = result["end"]["sum_received"]["bits_per_second"] / 1e6
            used = cpu_seconds(self.gateway.pid) - before
            say(f"{name}: {rate:.0f} Mbit/s, {used:.2f} s of the gateway's CPU in 5 s")
            require(rate > 1, "next to nothing came through")
        say("(the client's wireguard-go and Python are the limit here; tests/bench measures the gateway)")

    def revocation(self):
        self.page(net.LAN4)
        events = len(self.client.events("prohibited"))
        started = time.monotonic()
        self.lab.reject(self.client, lab.LAN4_RESOURCE)
        code, message = 0, ""
        while code == 0 and time.monotonic() - started < 1:
            code, _, message = self.client.fetch(net.LAN4, timeout=1)
        seconds = time.monotonic() - started
        say(f"{seconds * 1000:.0f} ms after reject_access: {message}")
        require(code == 7 and seconds < 1, f"curl exit {code} after {seconds:.2f} s")
        prohibited = self.client.events("prohibited")[events:]
        require(prohibited and prohibited[-1]["from"] == net.LAN4, "no ICMP prohibited arrived")
        say(f"ICMP administratively prohibited arrived from {prohibited[-1]['from']}")
        self.page(net.LAN6)
        say("the other resource is untouched")

    def end(self):
        code, seconds = self.gateway.terminate(timeout=10)
        say(f"SIGTERM: exit {code} after {seconds:.2f} s")
        time.sleep(0.2)
        goodbyes = self.client.events("goodbye")
        say(f"goodbyes the client decrypted: {len(goodbyes)}")
        require(code == 0 and seconds < 3, "not exit 0 within 3 s")
        require(len(goodbyes) == 1, "not exactly one goodbye")
        left = self.gateway.left_over() + self.gateway.rules()
        require(not left, f"left over: {left}")
        violations = self.lab.portal.get("/state")["violations"]
        require(not violations, f"the portal complains: {violations}")

    # --- the whole

    def run(self, keep):
        if not self.step("build", self.build) or not self.step("network", self.network):
            return
        if not self.step("gateway: two processes, one capability", self.start):
            return
        self.step("file capabilities", self.file_capabilities)
        self.step("page through a direct path, IPv4 and IPv6", self.direct)
        self.step("page through the relay only, IPv4 and IPv6", self.relayed)
        self.step("route cache", self.route_cache)
        self.step("iperf3 each way", self.throughput)
        self.step("revocation cuts access", self.revocation)
        if keep:
            with contextlib.suppress(Exception):
                self.client.flow(lab.LAN4_RESOURCE)
            self.explain()
        else:
            self.step("SIGTERM: exit 0 and a goodbye", self.end)

    def explain(self):
        prefix = self.lab.net.prefix
        print(f"""
Left running. A look around:
   ip netns exec {prefix}-client curl http://{net.LAN4}/        (and http://[{net.LAN6}]/)
   ip netns exec {prefix}-client iperf3 -c {net.LAN4}
   ip netns exec {prefix}-gw ip addr show {gateway.TUN};  ip netns exec {prefix}-gw nft list ruleset
   grep -E 'Cap|NoNewPrivs|Seccomp' /proc/{self.gateway.pid}/status /proc/{self.gateway.helper_pid()}/status
   kill -USR1 {self.gateway.pid};  tail -n 3 {self.lab.net.state}/{self.gateway.label}.log
   curl -s --unix-socket {self.lab.net.portal_socket} http://portal/transcript
End it with ./demo --stop""")

    def clean(self):
        if self.client:
            with contextlib.suppress(Exception):
                self.client.close()
        self.gateway.stop()
        stop(self.lab, self.installed)

    def report(self):
        print()
        for name, failure, seconds in self.results:
            first = failure.splitlines()[0] if failure else ""
            print(f"{'FAILED' if failure else 'ok':7} {name} ({seconds:.1f} s)" + (f": {first}" if failure else ""))
        return all(failure is None for _, failure, _ in self.results)


def runs(fds):
    """(numbers, target) of each descriptor; neighbouring sockets as one."""
    out = []
    for number, target in fds.items():
        kind = target.split(":")[0]
        if kind == "socket" and out and out[-1][2] == "socket" and out[-1][1] == number - 1:
            out[-1][1] = number
        else:
            out.append([number, number, kind, target])
    for first, last, kind, target in out:
        if first == last:
            yield str(first), target
        else:
            yield f"{first}-{last}", f"{last - first + 1} {kind}s"


def stop(laboratory, installed):
    laboratory.down()
    installed.remove_user()


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main():
    parser = argparse.ArgumentParser(prog="demo")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--keep", action="store_true", help="leave everything running")
    group.add_argument("--stop", action="store_true", help="clean up")
    options = parser.parse_args()
    demo = Demo()
    if options.stop:
        stop(demo.lab, demo.installed)
        return 0

    held = net.lock(PREFIX, wait=False)
    if held is None:
        print("demo: another ./demo is running on this machine", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    demo.installed.remove_user()                 # and what of an earlier, killed run still runs as it
    good = False
    try:
        demo.run(options.keep)
        good = demo.report()
    finally:
        if not options.keep or not good:
            demo.clean()
        held.close()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
