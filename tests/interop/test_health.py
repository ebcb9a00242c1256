"""The health port: what an orchestrator and a scraper see."""

import re

import net
from lab import LAN4_RESOURCE

HOST = "127.0.0.1:8080"


def get(lab, path, where="gw", host=HOST, method="GET"):
    """(status, body); 0 when nothing answered."""
    done = lab.net.run(where, "curl", "-sS", "--max-time", "3", "-X", method, "-w", "\n%{http_code}", f"http://{host}{path}",
                       check=False)
    body, _, status = done.stdout.rpartition("\n")
    return int(status or 0), body


def test_healthy_while_it_lives_and_ready_once_it_has_joined(lab, fresh):
    lab.net.relay_only(False)
    fresh.online()
    assert get(lab, "/healthz") == (200, "")
    assert get(lab, "/readyz") == (200, "")
    assert get(lab, "/nothing")[0] == 404
    assert get(lab, "/healthz", method="POST")[0] == 405


def test_not_ready_without_the_portal(lab, fresh):
    fresh.start(FIREZONE_API_URL=f"ws://{net.TURN}:{net.WS}/")
    net.wait_for(lambda: get(lab, "/healthz")[0] == 200, 5, "the health port")
    assert get(lab, "/readyz")[0] == 503


def test_no_numbers_unless_asked_for(lab, fresh):
    fresh.online()
    assert get(lab, "/metrics")[0] == 404


def test_numbers_for_this_host_only(lab, fresh, clients):
    fresh.online(FIREZONE_METRICS="prometheus")
    client = clients(paths="direct")
    client.flow(LAN4_RESOURCE)
    client.gets_page(net.LAN4)
    status, body = get(lab, "/metrics")
    assert status == 200
    numbers = dict(re.findall(r"^(firezone_\S+) (\d+)$", body, re.M))
    assert numbers["firezone_clients"] == "1"
    assert numbers['firezone_connected{path="direct"}'] == "1"
    assert int(numbers['firezone_source_cache_lookups_total{result="miss"}']) > 0
    assert int(numbers['firezone_source_cache_lookups_total{result="hit"}']) > 0
    assert int(numbers['firezone_packets_total{direction="to_tun"}']) > 0
    assert numbers["firezone_roams_total"] == "0"
    # Each line is a comment or a number, and no address of anybody is among them.
    assert all(re.fullmatch(r"# TYPE firezone_\w+ (counter|gauge|histogram)|firezone_\w+(\{\w+=\"[\w.+-]+\"\})? \d+", line)
               for line in body.splitlines()), body
    assert not re.search(r"\d+\.\d+\.\d+\.\d+|::", body)
    assert get(lab, "/metrics", where="lan", host="10.20.0.1:8080")[0] == 403
    assert get(lab, "/healthz", where="lan", host="10.20.0.1:8080")[0] == 200
