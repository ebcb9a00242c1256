"""Ports that change: address translators that forget, rebind or map by destination, on either side of connections that
are in use; and the gateway's own port when another program has it.

A translator that filters by port lets a rebound peer in at no price: on a direct path its new port must be sent to by
the other side first, which nobody tells it. So the side that keeps its port has it forwarded here, as a server has.
"""

import os
import time

import lab as lab_module
import nat
import net
import pytest
import traffic as traffic_module
from traffic import PORT, Traffic, told

SIZES = {"short": 8 << 20, "long": 20 << 20}
RATE = "20mbit"
RANGES = ("20000-20999", "21000-21999", "22000-22999")
CLIENTS_PORTS = "1024-65535"
DIRECT_BACK = 2
ROUTERS = ("cnat", "gnat")


@pytest.fixture(scope="module")
def field(lab):
    for page, size in SIZES.items():
        (lab.net.state / "www" / page).write_bytes(os.urandom(size))
    yield lab


@pytest.fixture
def routers(field):
    """The network, whose routers are as made after the test, with a relay that knows nothing of earlier tests and that
    the gateway meets over IPv4, which is what the routers translate."""
    field.net.end("coturn")
    field.net.start_coturn()
    field.portal.post("/relays", {"relays": field.net.relays("gateway", [f"{net.TURN}:3478"])})
    yield field.net
    traffic_module.end_all(field.net)
    nat.restore(field.net, *ROUTERS)


def online(run):
    run.online()
    run.wait_relay(6)
    return run


def has_moved(network, router, port, ports):
    first, last = map(int, ports.split("-"))
    mapped = nat.mapped_ports(network, router, port)
    assert mapped and all(first <= outside <= last for outside in mapped.values()), mapped


@pytest.mark.long
def test_clients_router_rebinds_three_times_in_a_download(field, routers, fresh, clients, record_property):
    nat.forward(routers, "gnat", PORT, net.GW_ADDRESS)
    traffic = Traffic(field, online(fresh), clients, "direct").start(RATE, "long")
    for ports in RANGES:
        nat.rebind(routers, "cnat", ports)
        told(record_property, f"client's port among {ports}", traffic.works_again(time.time(), DIRECT_BACK))
        has_moved(routers, "cnat", traffic.pair["local"]["port"], ports)
    assert traffic.download.poll() is None, "the download was over before the last change"
    traffic.completes()


def test_gateways_router_rebinds_in_a_download(field, routers, fresh, clients, record_property):
    nat.forward(routers, "cnat", CLIENTS_PORTS, "192.168.10.2")
    traffic = Traffic(field, online(fresh), clients, "any").start(RATE, "short")
    assert traffic.pair["kind"] == "direct"
    nat.rebind(routers, "gnat", RANGES[0])
    told(record_property, "gateway's port", traffic.works_again(time.time()))
    has_moved(routers, "gnat", PORT, RANGES[0])
    traffic.completes()


def test_gateways_router_rebinds_under_a_relayed_path(field, routers, fresh, clients, record_property):
    """The relay knows the allocation by the address and port it came from: the gateway must make another one."""
    traffic = Traffic(field, online(fresh), clients, "relayed").start(RATE, "short")
    nat.rebind(routers, "gnat", RANGES[0])
    told(record_property, "gateway's port towards its relay", traffic.works_again(time.time()))
    has_moved(routers, "gnat", PORT, RANGES[0])
    traffic.completes()


def test_both_ends_behind_symmetric_routers_meet_at_their_relays(field, routers, fresh, clients, record_property):
    for router in ROUTERS:
        nat.symmetric(routers, router)
    traffic = Traffic(field, online(fresh), clients, "any")
    assert [traffic.pair[side]["type"] for side in ("local", "remote")] == ["relay", "relay"]
    started = time.monotonic()
    same, rate = field.blob_matches(traffic.client, net.LAN4)
    assert same
    told(record_property, f"relay to relay, {rate:.0f} Mbit/s", time.monotonic() - started)
    traffic.ping()
    time.sleep(2)
    assert traffic.back(time.time() - 2) == 0
    assert traffic.client.status()["pair"] == traffic.pair
    mapped = nat.mapped_ports(routers, "gnat", PORT)
    assert len(set(mapped.values())) == len(mapped) > 1, mapped
    traffic.same_session()
    traffic.end()


@pytest.mark.parametrize("families", ["4", "46"])
def test_port_that_is_taken_is_replaced(field, routers, fresh, clients, families):
    field.portal.post("/relays", {"relays": field.net.relays("gateway")})
    for family in families:
        traffic_module.take_port(routers, family)
    routers.wait_for(lambda: routers.run("gw", "ss", "-Hlun").stdout.count(f":{PORT} ") +
                       routers.run("gw", "ss", "-Hanu").stdout.count(f":{PORT} ") >= len(families), 5, "the port to be taken")
    fresh.online()
    fresh.wait_relay(6)
    ports = dict(zip("46", (line.split("port=")[1].split()[0] for line in fresh.log().splitlines()
                            if "Listening for UDP" in line)))
    assert [ports[family] == str(PORT) for family in "46"] == [family not in families for family in "46"]
    for paths, host, family in (("direct", net.LAN4, 4), ("direct", net.LAN6, 6), ("gateway-relay", net.OTHER4, 4)):
        client = clients(paths=paths, family=family)
        assert client.flow(lab_module.resource_of(host))["pair"]["kind"] == ("direct" if paths == "direct" else "relayed")
        client.gets_page(host)
    fresh.ends_cleanly()
