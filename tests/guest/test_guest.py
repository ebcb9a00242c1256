"""The kernel's WireGuard as the initiator, on an emulated machine, with netem between it and the gateway.

Times are an emulated processor's: what is asserted is that all arrives, once and unchanged, never how fast.
"""

import base64
import hashlib
import os
import re
import time

import lab as lab_module
import net
import pytest
from traffic import told

UPLOAD_PORT, LATE_PORT = 9000, 9001
PART = 1 << 18
SESSION_LIFE = 180               # WireGuard's REJECT_AFTER_TIME, in seconds


@pytest.fixture(scope="module")
def client(lab, shared):
    """One client for the short cases, on a direct path."""
    one = lab.client(paths="direct")
    lab.clients.remove(one)          # else it ends with the first case that starts another
    assert one.flow(lab_module.LAN4_RESOURCE)["pair"]["kind"] == "direct"
    (lab.net.state / "www" / "part").write_bytes(os.urandom(PART))
    lab.net.spawn("upload", "lan", "socat", "-u", f"TCP-LISTEN:{UPLOAD_PORT},fork,reuseaddr",
                  f"OPEN:{lab.net.state}/uploaded,creat,trunc")
    yield one
    one.close()


def key():
    return base64.b64encode(os.urandom(32)).decode()


def download(lab, client, name, timeout=180):
    """Fetches a file of the web server, which must be the same; seconds."""
    started = time.monotonic()
    client.run("curl", "-sS", "-o", "/tmp/fetched", f"http://{net.LAN4}/{name}", check=True, timeout=timeout)
    seconds = time.monotonic() - started
    digest = client.run("sha256sum", "/tmp/fetched", check=True).stdout.split()[0]
    assert digest == hashlib.sha256((lab.net.state / "www" / name).read_bytes()).hexdigest()
    return seconds


def upload(lab, client, timeout=180):
    """Sends back what was downloaded as `part`; seconds."""
    uploaded, wanted = lab.net.state / "uploaded", (lab.net.state / "www" / "part").read_bytes()
    uploaded.unlink(missing_ok=True)
    started = time.monotonic()
    client.run("socat", "-u", "FILE:/tmp/fetched", f"TCP:{net.LAN4}:{UPLOAD_PORT}", check=True, timeout=timeout)
    net.wait_for(lambda: uploaded.exists() and uploaded.stat().st_size >= len(wanted), timeout, "the upload's end")
    assert uploaded.read_bytes() == wanted
    return time.monotonic() - started


def ping(client, count, interval=0.2):
    """(replies, duplicates, least milliseconds or None)."""
    done = client.run("ping", "-q", "-c", count, "-i", interval, "-W", "3", net.LAN4, timeout=count * interval + 60)
    text = done.stdout
    replies, duplicates = re.search(r"(\d+) received,(?: \+(\d+) duplicates,)?", text).groups()
    least = re.search(r"rtt min/\S+ = ([0-9.]+)/", text)
    return int(replies), int(duplicates or 0), float(least.group(1)) if least else None


def counter(run, name):
    """A counter of a network stack; @run runs a program on its host."""
    return int(re.search(rf"^{name} +(\d+)", run("nstat", "-asz", name).stdout, re.M).group(1))


def echoes(lab):
    """Echo requests that reached the resource."""
    return counter(lambda *argv: lab.net.run("lan", *argv), "IcmpInEchos")


def count(shared, name):
    return int(shared.summary()[name])


# --- handshake, traffic

def test_handshake_and_traffic(lab, shared, client, record_property):
    told(record_property, "image", lab.guest.image_seconds)
    told(record_property, "boot", lab.guest.boot_seconds)
    assert client.run("ls", "/sys/module/wireguard/version").returncode == 0
    client.flow(lab_module.LAN6_RESOURCE)
    assert ping(client, 5)[0] == 5
    assert client.handshake() > 0
    client.gets_page(net.LAN4)
    client.gets_page(net.LAN6)


def test_download_and_upload_are_byte_identical(lab, shared, client, record_property):
    told(record_property, "download of 4 MiB", download(lab, client, "blob"))
    download(lab, client, "part")
    told(record_property, "upload", upload(lab, client))


# --- a bad network

def test_loss(lab, shared, client, record_property):
    with lab.guest.netem("loss", "5%") as dropped:
        told(record_property, "download", download(lab, client, "part"))
        told(record_property, "upload", upload(lab, client))
        assert dropped() > 0


def test_delay(lab, shared, client, record_property):
    with lab.guest.netem("delay", "100ms") as dropped:
        replies, _, least = ping(client, 10)
        assert replies == 10 and least >= 200
        told(record_property, "download", download(lab, client, "part"))
        told(record_property, "upload", upload(lab, client))
        assert dropped() == 0


def test_reordering(lab, shared, client, record_property):
    """Both ends see TCP out of order within the tunnel, and no packet is refused for its place in the order."""
    ends = {"client": client.run, "resource": lambda *argv: lab.net.run("lan", *argv)}
    before = {end: counter(run, "TcpExtTCPOFOQueue") for end, run in ends.items()}
    refused = count(shared, "open_refused")
    with lab.guest.netem("delay", "30ms", "reorder", "25%") as dropped:
        told(record_property, "download", download(lab, client, "part"))
        told(record_property, "upload", upload(lab, client))
        assert dropped() == 0
    for end, run in ends.items():
        assert counter(run, "TcpExtTCPOFOQueue") > before[end], end
    assert count(shared, "open_refused") == refused


def test_client_connects_and_transfers_through_all_of_it(lab, shared, client, clients, record_property):
    with lab.guest.netem("delay", "100ms", "20ms", "loss", "5%", "reorder", "25%") as dropped:
        other = clients(paths="direct")
        started = time.monotonic()
        other.flow(lab_module.LAN4_RESOURCE)
        other.gets_page(net.LAN4)
        told(record_property, "connect", time.monotonic() - started)
        told(record_property, "download", download(lab, other, "part"))
        told(record_property, "upload", upload(lab, other))
        assert dropped() > 0
    client.pretend(lab_module.LAN4_RESOURCE)


# --- what must not get through

def test_packets_that_come_twice_are_delivered_once(lab, shared, client):
    ping(client, 1)
    before, refused = echoes(lab), count(shared, "open_refused")
    with lab.guest.netem("duplicate", "100%"):
        replies, duplicates, _ = ping(client, 20)
    assert (replies, duplicates, echoes(lab) - before) == (20, 0, 20)
    assert count(shared, "open_refused") - refused >= 20


def test_replayed_session_is_not_delivered(lab, shared, client):
    """Everything from the handshake on, seconds later."""
    before, refused = echoes(lab), {name: count(shared, name) for name in ("open_refused", "handshakes_refused")}
    seen = lab.guest.wire("replay")
    client.reconfigure()
    assert ping(client, 10)[0] == 10
    session, sent = client.handshake(), seen()
    assert 1 in sent and sent.count(4) >= 10, sent
    arrived = refused["open_refused"] + sent.count(4)
    net.wait_for(lambda: count(shared, "open_refused") >= arrived, 5, "the replay's refusal")
    assert count(shared, "handshakes_refused") > refused["handshakes_refused"]
    assert echoes(lab) - before == 10
    assert ping(client, 3)[0] == 3
    assert client.handshake() == session


@pytest.mark.parametrize("wrong, answered", [("PresharedKey", True), ("PrivateKey", False)])
def test_wrong_key_gets_nothing(lab, shared, client, wrong, answered):
    """With the wrong preshared key there is a response (the initiation does not contain it) of which nothing comes."""
    ping(client, 1)
    before = echoes(lab)
    seen = lab.guest.wire("count")
    old = client.reconfigure(**{wrong: key()})
    assert ping(client, 3)[0] == 0
    assert client.handshake() == 0
    kinds = {name.rsplit(" ", 1)[0] for name in seen()}
    assert "out 1" in kinds and "in 4" not in kinds
    assert ("in 2" in kinds) == answered
    assert echoes(lab) == before
    client.reconfigure(**old)
    client.gets_page(net.LAN4)


# --- minutes

@pytest.mark.long
def test_rekey_under_traffic_and_a_session_that_the_gateway_starts(lab, shared, clients, record_property):
    """One client is busy: the kernel rekeys, nothing is lost. One is idle; when its session is over its resource speaks."""
    busy, idle = clients(paths="direct"), clients(paths="direct")
    lasts = SESSION_LIFE + 15
    seen = lab.guest.wire("count", 2 * lasts)
    idle.flow(lab_module.OTHER4_RESOURCE)
    lab.net.spawn("late", "lan", "socat", f"TCP-LISTEN:{LATE_PORT},reuseaddr", f"SYSTEM:sleep {lasts} && echo late")
    lab.net.wait_for(lambda: str(LATE_PORT) in lab.net.run("lan", "ss", "-Hltn").stdout, 5, "the late server")
    late = lab.guest.begin("socat", "-u", f"TCP:{net.OTHER4}:{LATE_PORT}", "-", timeout=lasts + 30)
    started = time.monotonic()
    busy.flow(lab_module.LAN4_RESOURCE)
    ports = {name: one.status()["pair"]["local"]["port"] for name, one in (("busy", busy), ("idle", idle))}
    pings = (lasts - 15) * 5
    assert ping(busy, pings)[:2] == (pings, 0)
    answer = late.result()
    assert answer["out"] == "late\n", answer
    told(record_property, "late", time.monotonic() - started - lasts)
    kinds = seen()
    assert kinds[f"out 1 {ports['busy']}"] == kinds[f"in 2 {ports['busy']}"] == 2, kinds
    assert kinds[f"out 1 {ports['idle']}"] == 1, kinds
    assert kinds[f"in 1 {ports['idle']}"] >= 1, kinds
