"""Loss, delay and reordering on the gateway's line (line.py): connections come about, and what they carry is whole.

Everything the gateway's host sends and receives is on that line: its checks, its relay, its portal. Each number counts
for each direction. `record_property` and the output carry what was measured.
"""

import concurrent.futures
import time

import lab as lab_module
import net
import pytest

PATHS = (("direct", net.LAN4), ("gateway-relay", net.OTHER4))
KIND = {"direct": "direct", "gateway-relay": "relayed"}
LOSS = {"loss": 0.05}
DELAY = {"delay": 0.1}
REORDERING = {"delay": 0.01, "reorder": 0.25, "correlation": 0.5}
ALL = {**LOSS, **REORDERING, **DELAY}


@pytest.fixture(scope="module")
def field(lab):
    lab.net.bad_line("gnat")
    lab.net.wait_for(lambda: lab.net.run("gw", "ping", "-6", "-c", "1", "-W", "1", net.TURN6, check=False).returncode == 0,
                     5, "the line")
    yield lab


@pytest.fixture
def weather(field):
    """Changes the line; fine again after the test."""
    yield field.net.line
    field.net.line()


def client_on(clients, path):
    paths, host = path
    client = clients(paths=paths, roaming=True)
    started = time.monotonic()
    pair = client.flow(lab_module.resource_of(host))["pair"]
    assert pair["kind"] == KIND[paths]
    return client, host, pair, time.monotonic() - started


def fetches(field, client, host, size):
    """The beginning of the blob; the seconds it took. The first packet also makes the session."""
    file = field.net.state / f"downloaded-{client.label}"
    started = time.monotonic()
    done = client.run("curl", "-sS", "--max-time", "25", "--noproxy", "*", "-r", f"0-{size - 1}", "-o", file,
                      f"http://{host}/blob")
    assert done.returncode == 0, done.stderr
    assert file.read_bytes() == (field.net.state / "www" / "blob").read_bytes()[:size]
    return time.monotonic() - started


def both_paths(field, run, clients, size, record_property, weather):
    """A direct and a relayed client at a time: connected, served whole, and still on the path and session of the start."""
    sessions = run.log().count("Session established")
    with concurrent.futures.ThreadPoolExecutor(len(PATHS)) as pool:
        met = list(pool.map(lambda path: client_on(clients, path), PATHS))
        seconds = list(pool.map(lambda one: fetches(field, one[0], one[1], size), met))
    counts = weather()
    for (client, _, pair, connecting), fetching in zip(met, seconds):
        status = client.status()
        assert status["pair"] == pair
        record_property(pair["kind"], [round(connecting, 2), round(fetching, 2)])
        print(f"{pair['kind']}: connected in {connecting:.2f} s, {size} bytes in {fetching:.2f} s; {counts}")
    assert run.log().count("Session established") == sessions + len(PATHS)
    return counts


@pytest.mark.parametrize("bad, size", [(LOSS, 1 << 22), (DELAY, 1 << 21), (REORDERING, 1 << 22)],
                         ids=["loss", "delay", "reordering"])
def test_download_is_whole_over_a_line_with(field, shared, clients, weather, record_property, bad, size):
    shared.wait_relay(6)
    weather(**bad)
    counts = both_paths(field, shared, clients, size, record_property, weather)
    assert (counts["lost"] > 0) == ("loss" in bad)
    assert (counts["early"] > 0) == ("reorder" in bad)


def test_gateway_that_starts_on_such_a_line_serves_as_well(field, shared, fresh, clients, weather, record_property):
    shared.stop()
    weather(**ALL)
    started = time.monotonic()
    fresh.online()
    fresh.wait_relay(20)
    print(f"online, with its relay: {time.monotonic() - started:.2f} s")
    both_paths(field, fresh, clients, 1 << 18, record_property, weather)
