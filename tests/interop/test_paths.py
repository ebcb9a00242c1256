"""A page behind the gateway, over each kind of path."""

import threading
import time

import lab as lab_module
import net
import pytest


def open_both(client):
    answer = client.flow(lab_module.LAN4_RESOURCE)
    client.flow(lab_module.LAN6_RESOURCE)
    return answer["pair"]


def pages_and_bulk(lab, client):
    client.gets_page(net.LAN4)
    client.gets_page(net.LAN6)
    for host in (net.LAN4, net.LAN6):
        same, _ = lab.blob_matches(client, host)
        assert same


def test_direct_path_across_two_nats(lab, shared, clients):
    client = clients(paths="direct")
    pair = open_both(client)
    assert pair["kind"] == "direct"
    assert pair["remote"]["type"] == "srflx"
    pages_and_bulk(lab, client)


def test_direct_path_over_ipv6_across_two_firewalls(lab, shared, clients):
    client = clients(paths="direct", family=6)
    pair = open_both(client)
    assert (pair["kind"], pair["remote"]["address"]) == ("direct", net.GW_ADDRESS6)
    pages_and_bulk(lab, client)


def test_direct_path_wins_although_relays_are_offered(lab, shared, clients):
    client = clients()
    assert open_both(client)["kind"] == "direct"
    pages_and_bulk(lab, client)


@pytest.mark.parametrize("paths, local, remote", [("gateway-relay", "host", "relay"), ("client-relay", "relay", "srflx"),
                                                  ("both-relays", "relay", "relay")])
def test_relayed_path_where_no_udp_passes(lab, shared, clients, paths, local, remote):
    lab.net.relay_only(True)
    client = clients(paths=paths)
    pair = open_both(client)
    assert (pair["local"]["type"], pair["remote"]["type"]) == (local, remote)
    pages_and_bulk(lab, client)


def test_client_that_nominates_every_pair_keeps_its_access(lab, shared, clients):
    client = clients(nomination="aggressive")
    open_both(client)
    deadline = time.monotonic() + 6
    while time.monotonic() < deadline:
        client.gets_page(net.LAN4)
        time.sleep(0.2)


def test_udp_and_ping_pass(lab, shared, clients):
    client = clients(paths="direct")
    open_both(client)
    for host in (net.LAN4, net.LAN6):
        client.run("ping", "-c", "2", "-i", "0.2", "-W", "2", host, check=True)
    done = client.run("iperf3", "-u", "-b", "5M", "-l", "1000", "-t", "1", "-c", net.LAN4)
    assert done.returncode == 0, done.stdout + done.stderr


def test_two_clients_at_once(lab, shared, clients):
    first, second = clients(paths="direct"), clients(paths="gateway-relay")
    first.flow(lab_module.LAN4_RESOURCE)
    second.flow(lab_module.LAN6_RESOURCE)
    failures = []

    def load(client, host):
        try:
            for _ in range(5):
                client.gets_page(host)
        except AssertionError as exc:
            failures.append(str(exc))

    threads = [threading.Thread(target=load, args=pair) for pair in ((first, net.LAN4), (second, net.LAN6))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_the_gateways_host_answers_echo(lab, shared, clients):
    client = clients(paths="direct")
    client.flow(lab_module.LAN4_RESOURCE)
    assert client.run("ping", "-c", "1", "-W", "2", "10.20.0.1").returncode == 0


def test_the_host_behind_the_tunnel_is_shut(lab, shared, clients):
    """packaging's table: from the tunnel the gateway's host answers echo and its resolver's port, nothing else."""
    lab.net.spawn("sshd", "gw", "iperf3", "-s", "-B", "10.20.0.1")
    lab.net.wait_for(lambda: "5201" in lab.net.run("gw", "ss", "-Hltn").stdout, 5, "a server on the gateway's host")
    client = clients(paths="direct")
    client.flow(lab_module.LAN4_RESOURCE)
    code, _, _ = client.fetch("10.20.0.1", port=5201, timeout=1)
    lab.net.end("sshd")
    assert code == 28


def test_route_cache_answers_most_lookups(lab, shared, clients):
    client = clients(paths="direct")
    open_both(client)
    pages_and_bulk(lab, client)
    counters = {key: int(value) for key, value in shared.summary().items() if key.startswith("source_cache")}
    assert counters
    hits = sum(value for key, value in counters.items() if "hit" in key)
    misses = sum(value for key, value in counters.items() if "miss" in key)
    assert hits > 10 * misses, counters
