"""Name service on the gateway's tunnel address: what a client asks reaches the site's name servers, within its share.

Two dnsmasq in the middle of the network are the name servers; a third address answers nobody.
"""

import concurrent.futures
import contextlib
import json
import re

import net
import pytest
from lab import LAN4_RESOURCE, resource

FIRST, SECOND, DEAD = "203.0.113.61", "203.0.113.62", "203.0.113.63"
TUNNEL4, TUNNEL6 = net.GATEWAY_TUNNEL["ipv4"], net.GATEWAY_TUNNEL["ipv6"]
BIG = 30     # TXT records: more than 1200 bytes
HUGE = 230   # of 250 bytes: nearly all that TCP takes
RECORDS = ["--address=/firezone.dev/192.0.2.200", "--srv-host=_ldap._tcp.site.test,dc.site.test,389,10,20",
           "--txt-record=text.site.test,hello", *(f"--txt-record=big.site.test,{'x' * 60}-{i:02}" for i in range(BIG)),
           *(f"--txt-record=huge.site.test,{'x' * 246}-{i:03}" for i in range(HUGE))]

# Runs at the client: stdin is a list of steps, the output one JSON object for each.
ASK = r"""
import json, select, socket, struct, sys, time
where, port = sys.argv[1], 53535
family = socket.AF_INET6 if ":" in where else socket.AF_INET
TYPES = {"A": 1, "TXT": 16, "SRV": 33}

def query(name, kind, ident):
    labels = b"".join(bytes([len(x)]) + x.encode() for x in name.split(".")) + b"\0"
    opt = b"\0" + struct.pack(">HHIH", 41, 4096, 0, 0)
    return struct.pack(">HHHHHH", ident, 0x0100, 1, 0, 0, 1) + labels + struct.pack(">HH", TYPES[kind], 1) + opt

def told(answer, ident):
    if answer is None:
        return None
    i, flags, questions, records = struct.unpack_from(">HHHH", answer)
    return {"id": i == ident, "rcode": flags & 15, "tc": bool(flags & 0x0200), "qr": bool(flags & 0x8000),
            "records": records, "len": len(answer)}

def whole(sock, n):
    data = b""
    while len(data) < n:
        more = sock.recv(n - len(data))
        if not more:
            return None
        data += more
    return data

def tcp_answer(sock):
    try:
        head = whole(sock, 2)
        return head and whole(sock, struct.unpack(">H", head)[0])
    except (TimeoutError, ConnectionError):
        return None

def made(kind, timeout, room=None):
    s = socket.socket(family, kind)
    if room:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    if step.get("device"):      # of the client that asks, where there are several
        s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, step["device"].encode())
    s.settimeout(timeout)
    s.connect((where, port))
    return s

def udp(timeout):
    return made(socket.SOCK_DGRAM, timeout)

def tcp(timeout):
    return made(socket.SOCK_STREAM, timeout)

def until_closed(s):
    try:
        while s.recv(65536):
            pass
    except ConnectionError:
        pass

for line in sys.stdin:
    step = json.loads(line)
    ident, timeout, out = 0x4321, step.get("timeout", 7), None
    started = time.monotonic()
    if step["do"] == "udp":
        with udp(timeout) as s:
            s.send(query(step["name"], step["kind"], ident))
            try:
                out = told(s.recv(65535), ident)
            except TimeoutError:
                pass
    elif step["do"] == "tcp":
        with tcp(timeout) as s:
            wire = query(step["name"], step["kind"], ident)
            s.sendall((struct.pack(">H", len(wire)) + wire) * step.get("times", 1))
            if step.get("half"):        # close our side before the answers come
                s.shutdown(socket.SHUT_WR)
            out = [told(tcp_answer(s), ident) for _ in range(step.get("times", 1))]
    elif step["do"] == "crowd":     # idle connections; how many of them live
        socks = []
        for _ in range(step["count"]):
            s = tcp(timeout)
            socks.append(s)
        time.sleep(0.5)
        alive = 0
        for s in socks:
            s.setblocking(False)
            try:
                alive += s.recv(1) != b""
            except BlockingIOError:
                alive += 1
            except ConnectionError:
                pass
        out = alive
    elif step["do"] == "stuck":     # half a message on each connection; how long it is suffered
        socks = [tcp(30) for _ in range(step["count"])]
        for s in socks:
            s.sendall(b"\0")
        for s in socks:
            until_closed(s)
        out = time.monotonic() - started
    elif step["do"] == "deaf":      # asks and does not read, with little room; the bytes it can read in the end
        with made(socket.SOCK_STREAM, 30, room=4096) as s:
            wire = query(step["name"], step["kind"], ident)
            s.sendall((struct.pack(">H", len(wire)) + wire) * step["times"])
            time.sleep(step["seconds"])
            out = 0
            try:
                while more := s.recv(65536):
                    out += len(more)
            except ConnectionError:
                pass
    elif step["do"] == "flood":     # as fast as it goes; how many are sent and answered well
        with udp(timeout) as s:
            s.setblocking(False)
            sent, answers, end = 0, 0, started + step["seconds"]
            while time.monotonic() < end:
                for _ in range(20):
                    try:
                        s.send(query(step["name"], step["kind"], ident))
                        sent += 1
                    except BlockingIOError:
                        break
                while select.select([s], [], [], 0.001)[0]:
                    answers += told(s.recv(65535), ident)["rcode"] == 0
            out = [sent, answers]
    elif step["do"] == "patient":   # one after another; how many of them are answered well
        out = 0
        for _ in range(step["times"]):
            with udp(step["each"]) as s:
                s.send(query(step["name"], step["kind"], ident))
                try:
                    out += told(s.recv(65535), ident)["rcode"] == 0
                except TimeoutError:
                    pass
            time.sleep(step["pause"])
    print(json.dumps(out), flush=True)
"""


@pytest.fixture(scope="module")
def servers(lab):
    for label, address in (("first", FIRST), ("second", SECOND), ("dead", DEAD)):
        lab.net.ip("inet", f"addr add {address}/32 dev lo")
        if label != "dead":
            lab.net.spawn(f"dns-{label}", "inet", "dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
                          "--bind-interfaces", f"--listen-address={address}", "--user=root", "--edns-packet-max=4096",
                          f"--address=/{net.PORTAL_NAME}/{net.PORTAL}", *RECORDS)
    lab.net.run("inet", "nft", "add table inet dead; add chain inet dead in { type filter hook input priority 0; }; "
                f"add rule inet dead in ip daddr {DEAD} drop")
    yield
    lab.net.run("inet", "nft", "delete table inet dead")
    for label in ("first", "second"):
        with contextlib.suppress(KeyError):
            lab.net.end(f"dns-{label}")


@pytest.fixture
def asking(lab, servers, fresh, clients):
    """A gateway with these name servers; returns a function that starts a client and one that asks as it."""
    def start(*which, **more):
        fresh.online(servers=which, **more)
        net.wait_for(lambda: fresh.log().count("Listening for clients' queries") == 2, 5, "the listeners")

    def client():
        one = clients(paths="direct")
        one.flow(LAN4_RESOURCE)
        one.gets_page(net.LAN4)
        for where in (TUNNEL4 + "/32", TUNNEL6 + "/128"):
            one.pretend(resource(where))
        return one

    def ask(*steps, where=TUNNEL4):
        done = lab.net.run("client", net.PYTHON, "-c", ASK, where, stdin="\n".join(map(json.dumps, steps)), timeout=60)
        return [json.loads(line) for line in done.stdout.splitlines()]
    return start, client, ask


def step(do, name="text.site.test", kind="TXT", **more):
    return {"do": do, "name": name, "kind": kind, **more}


def is_answer(told, records=1):
    assert told and told["id"] and told["qr"], told
    assert (told["rcode"], told["records"], told["tc"]) == (0, records, False), told


@pytest.mark.parametrize("where", [TUNNEL4, TUNNEL6])
def test_srv_and_txt_over_udp_and_tcp(asking, where):
    start, client, ask = asking
    start(FIRST, SECOND)
    client()
    out = ask(step("udp", "_ldap._tcp.site.test", "SRV"), step("udp"), step("tcp", "_ldap._tcp.site.test", "SRV"),
              step("tcp", times=3), where=where)
    is_answer(out[0])
    is_answer(out[1])
    is_answer(out[2][0])
    assert len(out[3]) == 3
    for told in out[3]:
        is_answer(told)


def test_long_answer_is_truncated_over_udp_and_whole_over_tcp(asking):
    start, client, ask = asking
    start(FIRST)
    client()
    short, (whole,) = ask(step("udp", "big.site.test"), step("tcp", "big.site.test"))
    assert short["tc"] and short["records"] == 0 and short["len"] < 1200, short
    is_answer(whole, records=BIG)
    assert whole["len"] > 1200


def test_dead_server_is_not_asked(asking):
    start, client, ask = asking
    start(DEAD, FIRST)
    client()
    out = ask(*[step("udp", timeout=1)] * 5, *[step("tcp", timeout=1)] * 2)
    for told in out[:5] + [one[0] for one in out[5:]]:
        is_answer(told)


def test_server_that_dies_is_followed_by_the_next(lab, asking):
    start, client, ask = asking
    start(FIRST, SECOND)
    client()
    is_answer(ask(step("udp"))[0])
    for which in (FIRST, SECOND):
        lab.net.run("inet", "nft", f"add rule inet dead in ip daddr {which} drop")
        try:
            is_answer(ask(step("udp"))[0])
        finally:
            lab.net.run("inet", "nft", "flush chain inet dead in; "
                        f"add rule inet dead in ip daddr {DEAD} drop")


def test_without_a_server_it_is_servfail_at_once(asking, fresh):
    start, client, ask = asking
    start(DEAD, hosts=f"{net.PORTAL} {net.PORTAL_NAME}\n")
    client()
    udp, (tcp,) = ask(step("udp", timeout=1), step("tcp", timeout=1))
    for told in (udp, tcp):
        assert told["id"] and told["rcode"] == 2 and told["records"] == 0, told
    assert "No name server answers" in fresh.log()


def test_seventeenth_connection_is_refused(asking):
    start, client, ask = asking
    start(FIRST)
    client()
    assert ask({"do": "crowd", "count": 17})[0] == 16
    is_answer(ask(step("tcp"))[0][0])


def test_client_may_close_its_side_once_it_has_asked(asking):
    start, client, ask = asking
    start(FIRST)
    client()
    for told in ask(step("tcp", times=3, half=True))[0]:
        is_answer(told)


def test_stuck_client_holds_nobody_and_is_hung_up_on(asking):
    start, client, ask = asking
    start(FIRST)
    stuck = client()
    client()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        waiting = pool.submit(ask, {"do": "stuck", "count": 16, "device": stuck.config["interface"]})
        for _ in range(5):
            udp, (tcp,) = ask(step("udp", timeout=1), step("tcp", timeout=1))
            is_answer(udp)
            is_answer(tcp)
        seconds = waiting.result()[0]
    assert 9 < seconds < 14, seconds


def test_client_that_does_not_read_is_not_answered_for_ever(asking, fresh):
    """What it has not read is not kept in memory, and its connection ends; others are served."""
    start, client, ask = asking
    start(FIRST, FIREZONE_METRICS="prometheus")
    client()
    ask(step("deaf", "huge.site.test", times=15, seconds=12))
    page = metrics(fresh)
    answered = re.search(r"^firezone_dns_forwarder_answers_total (\d+)$", page, re.M)
    assert answered and 0 < int(answered.group(1)) < 12, page
    assert re.search(r"^firezone_dns_forwarder_connections 0$", page, re.M), page
    is_answer(ask(step("tcp", "huge.site.test"))[0][0], records=HUGE)


def metrics(gateway):
    return gateway.net.run("gw", "curl", "-s", "http://127.0.0.1:8080/metrics").stdout


def test_flood_of_a_client_is_cut_to_its_rate_and_another_one_is_served(asking, fresh):
    start, client, ask = asking
    start(FIRST, FIREZONE_METRICS="prometheus")
    flooding = client()
    client()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        flood = pool.submit(ask, step("flood", seconds=5, device=flooding.config["interface"]))
        served = ask(step("patient", times=30, each=1, pause=0.1))[0]
        sent, answers = flood.result()[0]
    # 100 at once and 50 a second.
    assert sent > 1000 and 100 <= answers <= 370, (sent, answers)
    assert served >= 28, served
    dropped = re.search(r'^firezone_dns_forwarder_dropped_total{reason="rate"} (\d+)$', metrics(fresh), re.M)
    assert dropped and int(dropped.group(1)) > 500, metrics(fresh)


@pytest.mark.parametrize("where", ["10.20.0.1", TUNNEL4])
def test_listeners_are_closed_to_everybody_else(lab, asking, where):
    start, client, ask = asking
    start(FIRST)
    client()
    is_answer(ask(step("udp"))[0])
    out = lab.net.run("lan", net.PYTHON, "-c", ASK, where, stdin=json.dumps(step("udp", timeout=1)), check=False)
    assert "rcode" not in out.stdout
