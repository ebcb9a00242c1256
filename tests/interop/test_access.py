"""Who reaches what: filters, revocation, expiry, further resources."""

import time

import net
import pytest
from lab import LAN4_RESOURCE, LAN6_RESOURCE, OTHER4_RESOURCE, resource, tcp

GOODBYE_SECONDS = 1.5


def wait_goodbye(client, seconds=GOODBYE_SECONDS):
    net.wait_for(lambda: client.events("goodbye"), seconds, "the goodbye")
    assert len(client.events("goodbye")) == 1


@pytest.mark.parametrize("prefix, host", [("10.20.0.0/24", net.LAN4), ("fd10:20::/64", net.LAN6)])
def test_port_outside_the_filter_is_prohibited(shared, clients, prefix, host):
    client = clients(paths="direct")
    client.flow(resource(prefix, [tcp(80)], "web only"))
    client.gets_page(host)
    assert client.is_prohibited(host, port=8081) < 1
    assert client.run("ping", "-c", "1", "-W", "1", host).returncode != 0
    client.gets_page(host)


def test_destination_without_resource_is_prohibited(shared, clients):
    client = clients(paths="direct")
    client.flow(LAN4_RESOURCE)
    client.pretend(OTHER4_RESOURCE)
    assert client.is_prohibited(net.OTHER4) < 1
    client.pretend(resource("fd10:21::/64"))
    assert client.is_prohibited(net.OTHER6) < 1
    client.gets_page(net.LAN4)


def test_overlapping_resources_are_joined(shared, clients):
    client = clients(paths="direct")
    client.flow(resource(f"{net.LAN4}/32", [tcp(80)], "page"))
    assert client.is_prohibited(net.LAN4, port=8081) < 1
    client.flow(resource(f"{net.LAN4}/32", [tcp(8081)], "second page"))
    client.gets_page(net.LAN4)
    client.gets_page(net.LAN4, port=8081)


def test_updated_filter_takes_effect_at_once(lab, shared, clients):
    client = clients(paths="direct")
    wide, narrow = resource("10.20.0.0/24", [], "changing"), resource("10.20.0.0/24", [tcp(8081)], "changing")
    assert wide["id"] == narrow["id"]
    client.flow(wide)
    client.gets_page(net.LAN4)
    lab.portal.post("/push", {"event": "resource_updated", "payload": narrow})
    time.sleep(0.1)
    assert client.is_prohibited(net.LAN4) < 1
    client.gets_page(net.LAN4, port=8081)


def test_second_resource_uses_the_connection_that_is_there(lab, shared, clients):
    client = clients(paths="direct")
    first = client.flow(LAN4_RESOURCE)
    client.gets_page(net.LAN4)
    handshake = client.status()["wireguard"]["handshake"]
    announced = len(lab.portal.get(f"/candidates/{client.id}"))
    second = client.flow(OTHER4_RESOURCE)
    client.gets_page(net.OTHER4)
    client.gets_page(net.LAN4)
    assert second["same_credentials"]
    assert second["pair"] == first["pair"]
    assert client.status()["wireguard"]["handshake"] == handshake
    events = lab.portal.get(f"/candidates/{client.id}?after={announced}&wait=2")
    assert [event["kind"] for event in events] == ["add"]


def test_authorization_is_answered_before_candidates_are_told(lab, shared, clients):
    start = lab.portal.get("/state")["messages"]
    clients(paths="direct").flow(LAN4_RESOURCE)
    received = [entry["msg"]["event"] for entry in lab.portal.get(f"/transcript?after={start}") if entry["dir"] == "recv"]
    told = [event for event in received if event in ("flow_authorized", "broadcast_ice_candidates")]
    assert told[0] == "flow_authorized"
    assert "broadcast_ice_candidates" in told


def test_revocation_cuts_one_resource_within_a_second(lab, shared, clients):
    client = clients(paths="direct")
    client.flow(LAN4_RESOURCE)
    client.flow(LAN6_RESOURCE)
    client.gets_page(net.LAN4)
    lab.reject(client, LAN4_RESOURCE)
    time.sleep(0.1)
    assert client.is_prohibited(net.LAN4) < 0.9
    client.gets_page(net.LAN6)
    assert client.events("goodbye") == []


def test_revoking_twice_is_harmless(lab, shared, clients):
    client = clients(paths="direct")
    client.flow(LAN4_RESOURCE)
    client.flow(LAN6_RESOURCE)
    lab.reject(client, LAN4_RESOURCE)
    lab.reject(client, LAN4_RESOURCE)
    client.gets_page(net.LAN6)


def test_revoking_the_last_resource_says_goodbye(lab, shared, clients):
    client = clients(paths="direct")
    client.flow(LAN4_RESOURCE)
    client.gets_page(net.LAN4)
    lab.reject(client, LAN4_RESOURCE)
    wait_goodbye(client)


def test_revoked_resource_can_be_granted_again(lab, shared, clients):
    client = clients(paths="direct")
    client.flow(LAN6_RESOURCE)
    client.flow(LAN4_RESOURCE)
    lab.reject(client, LAN4_RESOURCE)
    time.sleep(0.1)
    client.is_prohibited(net.LAN4)
    client.flow(LAN4_RESOURCE)
    client.gets_page(net.LAN4)


def test_access_ends_with_its_time(shared, clients):
    client = clients(paths="direct")
    client.flow(LAN6_RESOURCE)
    end = int(time.time()) + 3
    client.flow(LAN4_RESOURCE, expires_at=end)
    client.gets_page(net.LAN4)
    time.sleep(max(0.0, end + 0.1 - time.time()))
    assert client.is_prohibited(net.LAN4) < 1
    client.gets_page(net.LAN6)


def test_last_access_that_expires_says_goodbye(shared, clients):
    client = clients(paths="direct")
    client.flow(LAN4_RESOURCE, expires_in=2)
    client.gets_page(net.LAN4)
    wait_goodbye(client, 4)


def test_authorizing_again_moves_the_end(shared, clients):
    client = clients(paths="direct")
    client.flow(LAN4_RESOURCE, expires_in=2)
    client.flow(LAN4_RESOURCE, expires_in=60)
    time.sleep(2.5)
    client.gets_page(net.LAN4)


def test_expiry_update_can_shorten_access(lab, shared, clients):
    client = clients(paths="direct")
    client.flow(LAN6_RESOURCE)
    client.flow(LAN4_RESOURCE)
    lab.portal.post("/expiry", {"client_id": client.id, "resource_id": LAN4_RESOURCE["id"],
                                "expires_at": int(time.time()) - 1})
    time.sleep(0.1)
    assert client.is_prohibited(net.LAN4) < 1


def test_forged_source_address_is_not_forwarded(lab, shared, clients):
    client = clients(paths="direct")
    client.flow(LAN4_RESOURCE)
    interface = client.config["interface"]
    lab.net.run("client", "ip", "addr", "add", "100.64.0.250/32", "dev", interface)
    done = client.run("curl", "-sS", "--max-time", "2", "--interface", "100.64.0.250", f"http://{net.LAN4}/")
    assert done.returncode in (7, 28), done.stdout
    client.gets_page(net.LAN4)
