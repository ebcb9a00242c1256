"""Network, portal and client against a gateway of known parts: a failure here is not our gateway's."""

import net
import pytest
from lab import LAN4_RESOURCE, LAN6_RESOURCE


@pytest.fixture(scope="module")
def reference(lab):
    lab.start_reference()
    yield
    lab.net.end("refgw")


@pytest.mark.parametrize("paths, kind, family", [
    ("direct", "direct", 4), ("direct", "direct", 6), ("gateway-relay", "relayed", 4), ("client-relay", "relayed", 4),
    ("both-relays", "relayed", 4)])
def test_page_through_the_reference(lab, reference, clients, paths, kind, family):
    lab.net.relay_only(kind == "relayed")
    client = clients(paths=paths, family=family)
    assert client.flow(LAN4_RESOURCE)["pair"]["kind"] == kind
    assert client.flow(LAN6_RESOURCE)["same_credentials"]
    client.gets_page(net.LAN4)
    client.gets_page(net.LAN6)
    assert lab.portal.get("/state")["violations"] == []
