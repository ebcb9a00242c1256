"""The gateway's host moves to another network while clients use it: their sessions, and what runs over them, live on.

The client (client.py, roaming.py) is told of candidates by the portal and nobody else, and keeps its keys and ICE
credentials. `record_property` carries the measured seconds into the report; the bounds are wide for busy machines.
"""

import os
import re
import signal
import time

import gateway as gateway_module
import net
import pytest
import traffic as traffic_module
from traffic import BACK_WITHIN, PORT, Traffic, rules, told

SIZE = 200_000_000
NEW_ADDRESS, NEW_PUBLIC = "192.168.20.3", "192.0.2.3"
IDLE_AFTER = 20
PATHS = ("direct", "relayed")


@pytest.fixture(scope="module")
def field(lab):
    """What this module needs beyond the usual network."""
    (lab.net.state / "www" / "big").write_bytes(os.urandom(SIZE))
    lab.net.ip("gnat", f"addr add {NEW_PUBLIC}/24 dev wan")
    # Else the old host's mappings, not forgotten yet, would leave it other ports, and another one for each peer.
    lab.net.run("gnat", "nft", f"insert rule ip nat postrouting oifname wan ip saddr {NEW_ADDRESS} snat to {NEW_PUBLIC}")
    lab.portal.post("/settings", {"newest_wins": True})
    yield lab


@pytest.fixture
def home(field):
    """The gateway's host on its first uplink, before and after, and a relay that knows nothing of earlier tests."""
    field.net.end("coturn")
    field.net.start_coturn()
    go_home(field.net)
    yield field.net
    field.net.end("strace")
    traffic_module.end_all(field.net)
    go_home(field.net)


@pytest.fixture
def roamer(home, fresh):
    """A gateway that is online, with its relay."""
    fresh.online()
    fresh.wait_relay(10)
    yield fresh
    fresh.ends_cleanly()


@pytest.fixture
def roamer4(home, fresh):
    """The same, but it met its relay over IPv4."""
    yield meets_relay(home, fresh, f"ip6 daddr {net.TURN6} udp dport 3478 drop")
    fresh.ends_cleanly()


@pytest.fixture
def roamer6(home, fresh):
    """The same, but it met its relay over IPv6."""
    yield meets_relay(home, fresh, f"ip daddr {net.TURN} udp dport 3478 drop")
    fresh.ends_cleanly()


def meets_relay(network, run, rule):
    rules(network, "gnat", rule, hook="forward")
    run.online()
    run.wait_relay(10)
    rules(network, "gnat")
    return run


def go_home(network):
    for name in ("inet", "gnat"):
        rules(network, name)
    for interface in ("flap0", "eth3"):
        network.run("gw", "ip", "link", "del", interface, check=False)
    network.ip("gw", "link set eth0 up", "addr flush dev eth0 scope global", f"addr add {net.GW_ADDRESS}/24 dev eth0",
               f"addr add {net.GW_ADDRESS6}/64 dev eth0 nodad")
    network.uplink("gnat")
    network.run("gw", "ping", "-6", "-c", "1", "-W", "5", net.TURN6)
    network.wait_for(lambda: f"{net.TURN}:3478" in network.run("inet", "ss", "-Hlnu").stdout, 5, "coturn")


def udp_sockets(network):
    """Local address, port and inode of the gateway's sockets towards relays and clients."""
    sockets = network.run("gw", "ss", "-Hanue").stdout
    found = re.findall(r"^UNCONN +\d+ +\d+ +((?:0\.0\.0\.0|\*|\[::\]):5\d{4}) .*?ino:(\d+)", sockets, re.M)
    assert found
    return sorted(found)


# --- another network


@pytest.mark.parametrize("path", PATHS)
def test_default_route_moves_to_another_uplink(field, roamer, clients, record_property, path):
    traffic = Traffic(field, roamer, clients, path).start()
    ports = udp_sockets(field.net)
    field.net.uplink("gnat2")
    told(record_property, "another uplink", traffic.works_again(time.time()))
    traffic.completes()
    assert traffic.roams() == 1
    assert udp_sockets(field.net) == ports


@pytest.mark.long
@pytest.mark.parametrize("path, family", [("both-relays", 4), ("direct", 6)])
def test_default_route_moves_and_returns(field, roamer, clients, record_property, path, family):
    traffic = Traffic(field, roamer, clients, path, family).ping()
    for router in ("gnat2", "gnat"):
        field.net.uplink(router)
        told(record_property, f"on {router}", traffic.works_again(time.time()))
    assert traffic.roams() == 2
    traffic.same_session()


@pytest.mark.parametrize("path", PATHS)
def test_address_is_replaced_on_the_link(field, roamer4, clients, record_property, path):
    traffic = Traffic(field, roamer4, clients, path).start()
    replace_address(field.net, net.GW_ADDRESS, NEW_ADDRESS)
    told(record_property, "another address", traffic.works_again(time.time()))
    traffic.completes()
    assert traffic.roams() == 1


def replace_address(network, old, new):
    network.ip("gw", f"addr del {old}/24 dev eth0", f"addr add {new}/24 dev eth0",
               f"route replace default via {net.UPLINKS['gnat'][0]}")


@pytest.mark.long
@pytest.mark.parametrize("path", PATHS)
def test_link_is_down_for_three_seconds(field, roamer, clients, record_property, path):
    traffic = Traffic(field, roamer, clients, path).start()
    field.net.ip("gw", "link set eth0 down")
    time.sleep(3)
    field.net.ip("gw", "link set eth0 up", f"addr add {net.GW_ADDRESS6}/64 dev eth0 nodad")
    field.net.uplink("gnat")
    told(record_property, "link up again", traffic.works_again(time.time()))
    traffic.completes()


def test_ipv6_goes_and_comes_back(field, roamer, clients, record_property):
    traffic = Traffic(field, roamer, clients, "direct", family=46)
    assert traffic.pair["remote"]["address"] == net.GW_ADDRESS6
    ipv6_goes_and_comes_back(field.net, traffic, record_property)
    assert traffic.client.status()["pair"]["remote"]["address"] == net.GW_ADDRESS6


@pytest.mark.long
def test_ipv6_to_the_relay_goes_and_comes_back(field, roamer6, clients, record_property):
    ipv6_goes_and_comes_back(field.net, Traffic(field, roamer6, clients, "relayed", family=46), record_property)


def ipv6_goes_and_comes_back(network, traffic, record_property):
    traffic.start()
    network.ip("gw", f"route del default via {net.UPLINKS['gnat'][1]}", f"addr del {net.GW_ADDRESS6}/64 dev eth0")
    told(record_property, "IPv6 away", traffic.works_again(time.time()))
    assert traffic.roams() == 1
    network.ip("gw", f"addr add {net.GW_ADDRESS6}/64 dev eth0 nodad", f"route add default via {net.UPLINKS['gnat'][1]}")
    told(record_property, "IPv6 back", traffic.works_again(time.time()))
    traffic.completes()


# --- not another network


@pytest.mark.long
@pytest.mark.parametrize("path", PATHS)
def test_unrelated_interface_flaps_a_thousand_times(field, roamer, clients, path):
    field.net.ip("gw", "link add flap0 type veth peer name flap1", "addr add 10.99.0.1/24 dev flap0",
                 "addr add fd99::1/64 dev flap0 nodad", "link set flap1 up", "link set flap0 up")
    time.sleep(1)
    traffic = Traffic(field, roamer, clients, path).start("160mbit")
    ports, descriptors = udp_sockets(field.net), gateway_module.facts(roamer.pid)["fds"]
    for _ in range(50):
        field.net.ip("gw", *["link set flap0 down", "link set flap0 up"] * 20)
        time.sleep(0.1)
    time.sleep(2.5)
    traffic.completes()
    assert traffic.roams() == 0
    assert traffic.lost() == 0
    assert udp_sockets(field.net) == ports
    assert gateway_module.facts(roamer.pid)["fds"] == descriptors


@pytest.mark.long
def test_address_moves_to_another_interface_of_the_link(field, roamer, clients):
    field.net.ip("gw", "link add eth3 type veth peer name lan2 netns " + field.net.ns("gnat"), "link set eth3 up")
    field.net.ip("gnat", "link set lan2 up")
    field.net.run("gnat", "nft", "add rule inet filter forward iifname lan2 accept")
    traffic = Traffic(field, roamer, clients, "direct").ping()
    field.net.ip("gnat", f"route add {net.GW_ADDRESS}/32 dev lan2")
    field.net.ip("gw", f"addr del {net.GW_ADDRESS}/24 dev eth0", f"addr add {net.GW_ADDRESS}/24 dev eth3",
                 f"route replace default via {net.UPLINKS['gnat'][0]}")
    traffic.works_again(time.time())
    time.sleep(2.5)
    assert traffic.back(time.time() - 3) == 0
    assert traffic.roams() == 0
    traffic.same_session()


# --- other occasions


def test_ten_changes_within_two_seconds_are_one(field, roamer, clients):
    traffic = Traffic(field, roamer, clients, "direct").ping()
    addresses = [net.GW_ADDRESS, *(f"192.168.20.{last}" for last in range(10, 19)), NEW_ADDRESS]
    for old, new in zip(addresses, addresses[1:]):
        replace_address(field.net, old, new)
        time.sleep(0.12)
    traffic.works_again(time.time())
    time.sleep(2.5)
    assert traffic.roams() == 1
    traffic.same_session()


@pytest.mark.long
@pytest.mark.parametrize("path", PATHS)
def test_hangup_when_the_port_is_taken(field, roamer, clients, record_property, path):
    """SIGHUP draws new sockets; another program takes their port before the helper does, whose bind() is delayed."""
    traffic = Traffic(field, roamer, clients, path)
    traffic = traffic.start() if path == "direct" else traffic.ping()
    assert all(address.endswith(f":{PORT}") for address, _ in udp_sockets(field.net))
    for family in "46":
        traffic_module.take_port(field.net, family)
    field.net.spawn("strace", "gw", "strace", "-qq", "-p", str(roamer.helper_pid()), "-e", "trace=bind",
                    "-e", "inject=bind:delay_enter=300000")
    field.net.wait_for(lambda: "TracerPid:\t0" not in open(f"/proc/{roamer.helper_pid()}/status").read(), 5, "strace")
    os.kill(roamer.pid, signal.SIGHUP)
    told(record_property, "new port", traffic.works_again(time.time()))
    if path == "direct":
        traffic.completes()
    traffic.same_session()
    told_of = [text.split() for message in traffic.messages("recv") if message["event"] == "broadcast_ice_candidates"
               for text in message["payload"]["candidates"]]
    ports = {words[5] for words in told_of if words[7] == "host"}
    assert ports and str(PORT) not in ports, told_of


@pytest.mark.long
def test_portal_is_away_at_the_time(field, roamer, clients, record_property):
    traffic = Traffic(field, roamer, clients, "direct").ping()
    rules(field.net, "inet", f"tcp dport {net.WS} drop")
    field.net.uplink("gnat2")
    time.sleep(4)
    rules(field.net, "inet")
    told(record_property, "portal back", traffic.works_again(time.time(), 20))
    traffic.same_session()
    assert traffic.roams() == 1


@pytest.mark.long
def test_portal_takes_the_old_connection_for_alive(field, roamer, clients, record_property):
    """As portals after release 1.5.2: no new connection is let in before they have found the old one dead."""
    field.portal.post("/settings", {"newest_wins": False})
    try:
        traffic = Traffic(field, roamer, clients, "direct").ping()
        field.net.uplink("gnat2")
        time.sleep(3)
        field.portal.post("/close", {"abort": True})
        told(record_property, "portal lets in", traffic.works_again(time.time(), 10))
        traffic.same_authorization()
    finally:
        field.portal.post("/settings", {"newest_wins": True})


@pytest.mark.long
def test_idle_clients_work_after_the_move(field, roamer, clients, record_property):
    """One with a direct path over IPv6, one with a relayed path over IPv4."""
    direct = Traffic(field, roamer, clients, "direct", family=6)
    rules(field.net, "inet", "meta nfproto ipv4 meta l4proto udp drop", hook="forward")
    relayed = Traffic(field, roamer, clients, "gateway-relay", host=net.OTHER4)
    direct.transcript = relayed.transcript
    time.sleep(IDLE_AFTER + 2)
    field.net.uplink("gnat2")
    time.sleep(3)
    assert direct.roams() == 1
    for what, traffic in (("direct", direct), ("relayed", relayed)):
        started = time.time()
        traffic.ping()
        told(record_property, what, time.time() - started)
        assert time.time() - started < BACK_WITHIN
        traffic.same_authorization()
        traffic.end()
