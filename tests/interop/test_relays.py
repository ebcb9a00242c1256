"""Two relays, one of which dies, forgets or refuses: the connections on it move to the other one.

The client here makes no relayed candidates of its own and takes none but relayed ones from the gateway; `inet` forwards
no UDP. So whatever arrives came through one of the gateway's relays.
"""

import os
import signal
import time

import lab as lab_module
import net
import pytest
import traffic as traffic_module
from traffic import Traffic, told

OTHER = "203.0.113.11"
LABELS = {net.TURN: "coturn", OTHER: "coturn-2"}
SIZE = 8 << 20
RATE = "20mbit"
# Makes an allocation with the gateway's own credentials, and keeps it: the user's quota is used up.
HOLDER = """
import asyncio, sys
from aioice import turn
async def main():
    await turn.create_turn_endpoint(asyncio.DatagramProtocol, server_addr=(sys.argv[1], 3478), username="gateway",
                                    password="gateway-secret")
    print("held", flush=True)
    await asyncio.sleep(100)
asyncio.run(main())
"""


@pytest.fixture(scope="module")
def field(lab):
    (lab.net.state / "www" / "short").write_bytes(os.urandom(SIZE))
    lab.net.ip("inet", f"addr add {OTHER}/32 dev lo")
    yield lab


@pytest.fixture
def relays(field):
    """Starts relays with options and lists them at the portal; each test has its own."""
    def start(options=(), other_options=(), passwords=(None, None)):
        for address, more in ((net.TURN, options), (OTHER, other_options)):
            start_one(field.net, address, more)
        announce(field, passwords)
    yield start
    traffic_module.end_all(field.net)
    traffic_module.rules(field.net, "inet")
    for label in ("holder", *LABELS.values()):
        field.net.end(label, signal.SIGKILL)


def start_one(network, address, options=()):
    network.end(LABELS[address], signal.SIGKILL)
    network.start_coturn(LABELS[address], (address,), options)
    network.wait_for(lambda: f"{address}:3478" in network.run("inet", "ss", "-Hlnu").stdout, 5, LABELS[address])


def announce(field, passwords=(None, None), without=()):
    """The portal's list, and which relay of it is taken off."""
    listed = [field.net.relays("gateway", [f"{address}:3478"], number, password)[0]
              for number, (address, password) in enumerate(zip(LABELS, passwords), 1)]
    gone = [relay for relay in listed if relay["addr"].split(":")[0] in without]
    field.portal.post("/relays", {"relays": [relay for relay in listed if relay not in gone],
                                  "disconnected_ids": [relay["id"] for relay in gone]})


def online(run, ready=2):
    run.online()
    net.wait_for(lambda: run.summary()["relays_ready"] == str(ready), 10, f"{ready} relays")
    return run


def hold(network, address):
    network.spawn("holder", "inet", net.PYTHON, "-c", HOLDER, address)
    network.wait_for(lambda: "held" in network.log("holder"), 5, "the quota's holder")


def other_than(address):
    return next(other for other in LABELS if other != address)


def moves(traffic, record_property, what, since):
    """The path comes back over the other relay, and the portal has heard of both."""
    old = traffic.pair["remote"]["address"]
    told(record_property, what, traffic.works_again(since))
    assert traffic.client.status()["pair"]["remote"]["address"] == other_than(old)
    heard = {message["event"]: message["payload"]["candidates"] for message in traffic.messages("recv")
             if "candidates" in message["payload"]}
    assert any(f" {old} " in text for text in heard["broadcast_invalidated_ice_candidates"])
    assert any(f" {other_than(old)} " in text for text in heard["broadcast_ice_candidates"])


def test_relay_that_is_killed_in_a_download_is_left_for_the_other(field, relays, fresh, clients, record_property):
    relays()
    traffic = Traffic(field, online(fresh), clients, "relayed").start(RATE, "short")
    field.net.end(LABELS[traffic.pair["remote"]["address"]], signal.SIGKILL)
    moves(traffic, record_property, "relay killed", time.time())
    traffic.completes()


@pytest.mark.long
def test_relay_that_falls_silent_in_a_download_is_left_for_the_other(field, relays, fresh, clients, record_property):
    relays()
    traffic = Traffic(field, online(fresh), clients, "relayed").start(RATE, "short")
    traffic_module.rules(field.net, "inet", f"ip daddr {traffic.pair['remote']['address']} meta l4proto udp drop")
    moves(traffic, record_property, "relay silent", time.time())
    traffic.completes()


def test_relay_that_restarts_and_refuses_by_quota_is_left_for_the_other(field, relays, fresh, clients, record_property):
    relays()
    traffic = Traffic(field, online(fresh), clients, "relayed").start(RATE, "short")
    address, started = traffic.pair["remote"]["address"], time.time()
    start_one(field.net, address, ["--user-quota=1"])
    hold(field.net, address)
    moves(traffic, record_property, "relay restarted, 486", started)
    traffic.completes()


def test_relay_that_refuses_from_the_start_is_never_chosen(field, relays, fresh, clients):
    relays(["--user-quota=1"])
    hold(field.net, net.TURN)
    online(fresh, 1)
    hosts = (net.LAN4, net.OTHER4, net.LAN6, net.OTHER6)
    pairs = [clients(paths="gateway-relay").flow(lab_module.resource_of(host))["pair"] for host in hosts]
    assert {pair["remote"]["address"] for pair in pairs} == {OTHER}
    for client, host in zip(field.clients, hosts):
        client.gets_page(host)


def test_relay_with_wrong_credentials_is_used_once_they_are_right(field, relays, fresh, clients):
    relays(passwords=("an old secret", None))
    online(fresh, 1)
    assert clients(paths="gateway-relay").flow(lab_module.LAN4_RESOURCE)["pair"]["remote"]["address"] == OTHER
    announce(field)
    net.wait_for(lambda: fresh.summary()["relays_ready"] == "2", 5, "both relays")
    announce(field, without=[OTHER])
    client = clients(paths="gateway-relay")
    assert client.flow(lab_module.LAN6_RESOURCE)["pair"]["remote"]["address"] == net.TURN
    client.gets_page(net.LAN6)
