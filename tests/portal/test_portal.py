"""The development portal refuses what the real one refuses, and notices what a correct gateway never does."""

import base64
import http.client
import json
import pathlib
import socket
import subprocess
import time
import urllib.parse

import pytest

HERE = pathlib.Path(__file__).resolve().parent
KEY = base64.b64encode(bytes(range(32))).decode()
TOKEN = "development-token"


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@pytest.fixture(scope="module")
def portal(tmp_path_factory):
    directory = tmp_path_factory.mktemp("portal")
    port, control = free_port(), directory / "portal.sock"
    config = directory / "portal.json"
    config.write_text(json.dumps({"listen": [["127.0.0.1", port]], "control": str(control), "token": TOKEN}))
    proc = subprocess.Popen(["/usr/bin/python3", "-B", HERE / "portal.py", config], stdout=subprocess.PIPE)
    proc.stdout.readline()
    yield port, control
    proc.terminate()
    proc.wait()
    proc.stdout.close()


def ask(control, method, route, body=None):
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(control))
    connection.request(method, route, json.dumps(body))
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return answer


def upgrade(portal, query=None, drop=(), **headers):
    """(status, headers, problem document or None, connection) of one upgrade request."""
    port, control = portal
    ask(control, "POST", "/forget")
    if query is None:
        query = urllib.parse.urlencode({"external_id": "gw", "name": "a b", "public_key": KEY})
    sent = {"Host": "127.0.0.1", "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(), "X-Authorization": "Bearer " + TOKEN,
            "User-Agent": "Debian/12.0.0 gateway/1.5.2 (x86_64; 6.1.0)"}
    sent.update({name.replace("_", "-"): value for name, value in headers.items()})
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.putrequest("GET", "/gateway/websocket?" + query, skip_host=True, skip_accept_encoding=True)
    for name, value in sent.items():
        if name not in drop:
            connection.putheader(name, value)
    connection.endheaders()
    response = connection.getresponse()
    document = json.loads(response.read()) if response.status != 101 else None
    return response.status, response.headers, document, connection


@pytest.mark.parametrize("change, status, code", [
    ({"drop": ["X-Authorization"]}, 401, "missing_token"),
    ({"X_Authorization": "Bearer wrong"}, 401, "invalid_token"),
    ({"query": "external_id=gw"}, 400, "invalid_connect_params"),
    ({"query": "external_id=gw&public_key=" + "A" * 43}, 400, "invalid_connect_params"),
    ({"query": "public_key=" + urllib.parse.quote_plus(KEY)}, 400, "invalid_connect_params"),
    ({"query": "external_id=" + "x" * 256 + "&public_key=" + urllib.parse.quote_plus(KEY)}, 400, "invalid_connect_params"),
    ({"query": "external_id=gw&vsn=2.0.0&public_key=" + urllib.parse.quote_plus(KEY)}, 400, "invalid_connect_params"),
    ({"Origin": "https://example.com"}, 403, "unauthenticated"),
])
def test_refusal_is_a_problem_document(portal, change, status, code):
    got, headers, document, connection = upgrade(portal, **change)
    connection.close()
    assert (got, document["status"], document["code"]) == (status, status, code)
    assert headers["Content-Type"].startswith("application/problem+json")


def test_correct_request_is_accepted_without_a_word(portal):
    status, _, _, connection = upgrade(portal)
    assert (status, ask(portal[1], "GET", "/state")["violations"]) == (101, [])
    connection.close()
    wait_offline(portal)


def wait_offline(portal):
    deadline = time.monotonic() + 5
    while ask(portal[1], "GET", "/state")["connected"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("change", [
    {"Sec_WebSocket_Extensions": "permessage-deflate"}, {"Sec_WebSocket_Protocol": "x"}, {"Authorization": "Bearer x"},
    {"Host": "127.0.0.1:8080"}, {"User_Agent": "Debian/12 gateway/1.5"},
    {"query": "name=a%20b&external_id=gw&public_key=" + urllib.parse.quote_plus(KEY)},
    {"query": "external_id=gw&name=a%20b&public_key=" + urllib.parse.quote_plus(KEY)},
])
def test_what_the_protocol_forbids_is_a_violation(portal, change):
    status, _, _, connection = upgrade(portal, **change)
    assert status == 101
    assert ask(portal[1], "GET", "/state")["violations"]
    connection.close()
    wait_offline(portal)


def test_second_connection_of_one_gateway_is_a_conflict(portal):
    *_, first = upgrade(portal)
    status, _, document, second = upgrade(portal)
    assert (status, document["code"]) == (409, "gateway_already_connected")
    first.close()
    second.close()
    wait_offline(portal)


def test_newest_connection_wins_where_told(portal):
    ask(portal[1], "POST", "/settings", {"newest_wins": True})
    *_, first = upgrade(portal)
    status, *_, second = upgrade(portal)
    assert status == 101
    ended = b""
    while piece := first.sock.recv(4096):
        ended += piece
    assert b"token_expired" in ended and b"phx_close" in ended
    assert ask(portal[1], "GET", "/state")["connected"]
    ask(portal[1], "POST", "/settings", {"newest_wins": False})
    first.close()
    second.close()
    wait_offline(portal)


def test_second_attempt_within_a_second_is_put_off(portal):
    upgrade(portal, query="external_id=gw")[3].close()
    connection = http.client.HTTPConnection("127.0.0.1", portal[0])
    connection.request("GET", "/gateway/websocket?external_id=gw", headers={"X-Authorization": "Bearer " + TOKEN})
    response = connection.getresponse()
    assert (response.status, response.headers["Retry-After"]) == (503, "1")
    connection.close()
