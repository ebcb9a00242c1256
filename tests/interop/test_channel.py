"""The portal channel: what a gateway does when the portal refuses, goes away, comes back, or talks nonsense."""

import time

import control
import net
import pytest
from lab import LAN4_RESOURCE, LAN6_RESOURCE, OTHER4_RESOURCE


def connects(lab):
    return [entry for entry in lab.portal.get("/transcript") if "connect" in entry["msg"]]


def connected_client(clients):
    client = clients(paths="direct")
    client.flow(LAN4_RESOURCE)
    client.gets_page(net.LAN4)
    return client


def test_identity_name_and_key_arrive_as_the_protocol_wants(lab, fresh):
    params = fresh.online(FIREZONE_NAME="Tür & Tor ~1").lab.wait_joined()
    assert params["external_id"] == "cf4c4732fd3b8f8a55b60871950a2f22c893ea7afd75d2146826534e3f67cc49"
    assert params["name"] == "Tür & Tor ~1"
    assert "gateway/1." in params["user_agent"]
    assert lab.portal.get("/state")["violations"] == []


def test_join_is_first_and_alone_until_answered(lab, fresh):
    start = lab.portal.get("/state")["messages"]
    lab.portal.post("/settings", {"join_delay": 1.0})
    try:
        fresh.online()
    finally:
        lab.portal.post("/settings", {"join_delay": 0.0})
    messages = [entry["msg"] for entry in lab.portal.get(f"/transcript?after={start}") if entry["dir"] != "info"]
    assert messages[0] == {"topic": "gateway", "event": "phx_join", "payload": None, "ref": 0}
    assert [message["event"] for message in messages[1:3]] == ["phx_reply", "init"]


def test_heartbeats_come_every_ten_seconds(lab, fresh):
    fresh.online()
    start = lab.portal.get("/state")["messages"]
    time.sleep(10.5)
    beats = [entry for entry in lab.portal.get(f"/transcript?after={start}")
             if entry["dir"] == "recv" and entry["msg"]["topic"] == "phoenix"]
    assert len(beats) == 1


@pytest.mark.parametrize("how", [{"code": 1012}, {"code": 1000}, {"abort": True}])
def test_tunnel_survives_a_lost_portal_connection(lab, fresh, clients, how):
    fresh.online()
    client = connected_client(clients)
    handshake = client.status()["wireguard"]["handshake"]
    before = client.status()["pair"]
    lab.portal.post("/close", how)
    client.gets_page(net.LAN4)
    lab.wait_joined(10)
    client.gets_page(net.LAN4)
    assert client.status()["wireguard"]["handshake"] == handshake
    client.flow(OTHER4_RESOURCE)
    client.gets_page(net.OTHER4)
    assert client.status()["pair"] == before
    assert client.events("goodbye") == []


def test_access_withdrawn_while_the_portal_was_away_ends_with_the_next_init(lab, fresh, clients):
    fresh.online()
    client = connected_client(clients)
    client.flow(LAN6_RESOURCE)
    lab.portal.post("/forget")
    lab.portal.post("/close", {"code": 1012})
    lab.wait_joined(10)
    net.wait_for(lambda: client.events("goodbye"), 3, "the goodbye")
    code, _, _ = client.fetch(net.LAN4, timeout=1)
    assert code != 0


def test_identical_init_changes_nothing(lab, fresh, clients):
    fresh.online()
    client = connected_client(clients)
    addresses = lab.net.run("gw", "ip", "-o", "addr", "show", "dev", "tun-firezone").stdout
    monitor = lab.net.spawn("monitor", "gw", "ip", "monitor", "addr", "route", "link")
    time.sleep(0.2)
    for _ in range(3):
        lab.portal.post("/push", {"event": "init"})
    client.gets_page(net.LAN4)
    lab.net.end("monitor")
    assert monitor.returncode is not None
    assert "tun-firezone" not in lab.net.log("monitor")
    assert lab.net.run("gw", "ip", "-o", "addr", "show", "dev", "tun-firezone").stdout == addresses
    assert client.events("goodbye") == []


def test_changed_addresses_are_applied(lab, fresh, clients):
    fresh.online()
    moved = {"interface": {"ipv4": "100.64.3.10", "ipv6": "fd00:2021:1111::3:10"}, "relays": lab.net.relays("gateway"),
             "authorizations": []}
    time.sleep(1.1)              # one address change a second
    lab.portal.post("/push", {"event": "init", "payload": moved})

    def shows(address):
        return address in lab.net.run("gw", "ip", "-o", "addr", "show", "dev", "tun-firezone").stdout
    net.wait_for(lambda: shows("100.64.3.10/32") and shows("fd00:2021:1111::3:10/128"), 3, "the new addresses")
    assert not shows("100.64.3.9/32")


def test_refused_token_is_fatal(lab, fresh):
    fresh.start(FIREZONE_TOKEN="another-token")
    text = fresh.ends(1)
    assert "another-token" not in text
    assert "oken" in text
    assert len([entry for entry in lab.portal.get("/transcript") if entry["msg"].get("refused") == 401]) >= 1


def test_token_refused_later_is_fatal_and_says_goodbye(lab, fresh, clients):
    fresh.online()
    client = connected_client(clients)
    lab.portal.post("/refuse", [{"status": 401}])
    lab.portal.post("/close", {"code": 1012})
    fresh.ends(1)
    net.wait_for(lambda: client.events("goodbye"), 2, "the goodbye")
    assert fresh.left_over() == []


def test_expired_token_is_fatal(lab, fresh):
    fresh.online()
    lab.portal.post("/push", {"event": "disconnect", "payload": {"reason": "token_expired"}})
    fresh.ends(1)


@pytest.mark.parametrize("status", [400, 403, 404, 409, 429, 500, 302])
def test_other_refusals_are_tried_again(lab, fresh, status):
    lab.portal.post("/refuse", [{"status": status, "body": "no", "headers": {"Location": "http://192.0.2.1/"}}])
    fresh.online()


def test_retry_after_is_kept(lab, fresh):
    before = len(connects(lab))
    lab.portal.post("/refuse", [{"status": 503, "headers": {"Retry-After": "2"}}])
    fresh.online()
    first, second = connects(lab)[before:]
    assert 1.9 <= second["t"] - first["t"] < 3.5


def test_rate_limit_of_the_portal_is_passed(lab, fresh):
    fresh.online()
    fresh.stop()
    fresh.online()


def test_gives_up_when_nobody_answers_at_first(fresh):
    started = time.monotonic()
    fresh.start(FIREZONE_API_URL=f"ws://{net.PORTAL}:9/", FIREZONE_FIRST_CONNECT_TIMEOUT="3s")
    text = fresh.ends(1, 10)
    assert time.monotonic() - started < 6
    assert "Hiccup in portal connection" in text


def test_portal_that_is_silent_is_given_up(lab, fresh):
    """No answer to the join within 5 s: dropped and tried again."""
    before = len(connects(lab))
    lab.portal.post("/settings", {"join_delay": 60.0})
    try:
        fresh.start()
        net.wait_for(lambda: len(connects(lab)) > before + 1, 12, "a second attempt")
    finally:
        lab.portal.post("/settings", {"join_delay": 0.0})
    lab.wait_joined(10)


@pytest.mark.parametrize("text", [
    '{"topic":"gateway","event":"from_the_future","ref":null,"payload":{"a":[1,{"b":null}]}}',
    '{"topic":"gateway","event":"authorize_flow","ref":null,"payload":{"ref":1}}',
    '{"topic":"gateway","event":"ice_candidates","ref":null,"payload":{"client_id":"x","candidates":["nonsense",7]}}',
    '{"topic":"gateway","event":"reject_access","ref":null,"payload":{}}',
    '{"event":"phx_reply","ref":4711,"topic":"gateway","payload":{"status":"error","response":{"reason":"other"}}}',
])
def test_message_that_makes_no_sense_changes_nothing(lab, fresh, clients, text):
    fresh.online()
    client = connected_client(clients)
    before = len(connects(lab))
    lab.portal.post("/push", {"text": text})
    client.flow(OTHER4_RESOURCE)
    client.gets_page(net.OTHER4)
    assert len(connects(lab)) == before


def test_truncated_json_does_not_cost_the_tunnel(lab, fresh, clients):
    """Whether the connection is kept or made anew: the channel works afterwards, and nobody loses access."""
    fresh.online()
    client = connected_client(clients)
    lab.portal.post("/push", {"text": '{"topic":"gateway","eve'})
    time.sleep(2)
    lab.wait_joined(10)
    client.gets_page(net.LAN4)
    client.flow(OTHER4_RESOURCE)
    client.gets_page(net.OTHER4)


def test_flow_without_any_relay_is_refused_until_one_comes(lab, fresh, clients):
    lab.portal.post("/relays", {"relays": []})
    try:
        fresh.online()
        client = clients(paths="direct")
        with pytest.raises(control.ControlError) as refusal:
            client.flow(LAN4_RESOURCE)
        assert refusal.value.answer == {"error": "no_relays"}
    finally:
        lab.portal.post("/relays", {"relays": lab.net.relays("gateway")})
    time.sleep(0.5)
    other = clients(paths="direct")
    other.flow(LAN4_RESOURCE)
    other.gets_page(net.LAN4)


def test_withdrawn_relay_takes_its_candidates_back(lab, fresh, clients):
    fresh.online()
    client = connected_client(clients)
    relay = lab.net.relays("gateway")

    def told():
        return [text for event in lab.portal.get(f"/candidates/{client.id}") if event["kind"] == "add"
                for text in event["candidates"]]
    net.wait_for(lambda: any(" typ relay " in text for text in told()), 5, "a relayed candidate")
    before = len(lab.portal.get(f"/candidates/{client.id}"))
    try:
        lab.portal.post("/relays", {"relays": [], "disconnected_ids": [relay[0]["id"]]})
        events = lab.portal.get(f"/candidates/{client.id}?after={before}&wait=3")
        removed = [text for event in events if event["kind"] == "remove" for text in event["candidates"]]
        assert removed and all(" typ relay " in text and text in told() for text in removed)
        client.gets_page(net.LAN4)
    finally:
        lab.portal.post("/relays", {"relays": relay})


def test_host_name_is_asked_of_the_name_server(fresh):
    fresh.online(FIREZONE_API_URL=f"ws://{net.PORTAL_NAME}:{net.WS}/")


def test_hosts_file_comes_before_the_name_server(fresh):
    fresh.online(FIREZONE_API_URL=f"ws://only-in-hosts.test:{net.WS}/", hosts=f"{net.PORTAL} only-in-hosts.test\n")


def test_unknown_host_name_is_retried_then_given_up(fresh):
    fresh.start(FIREZONE_API_URL=f"ws://nowhere.firezone.test:{net.WS}/", FIREZONE_FIRST_CONNECT_TIMEOUT="3s")
    assert "has no address" in fresh.ends(1, 15)
