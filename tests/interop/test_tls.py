"""wss: a private authority by SSL_CERT_FILE or SSL_CERT_DIR works; a wrong name, chain or file is refused in words."""

import re
import subprocess

import net
import pytest
from lab import LAN4_RESOURCE


def url(port):
    return f"wss://{net.PORTAL_NAME}:{port}/"


def certs(lab):
    return lab.net.state / "certs"


def test_private_authority_by_file(lab, fresh, clients):
    fresh.online(FIREZONE_API_URL=url(net.WSS), SSL_CERT_FILE=str(certs(lab) / "ca.crt"))
    client = clients(paths="direct")
    client.flow(LAN4_RESOURCE)
    client.gets_page(net.LAN4)
    fresh.ends_cleanly()


def test_private_authority_by_directory(lab, fresh):
    directory = certs(lab) / "hashed"
    directory.mkdir(exist_ok=True)
    digest = subprocess.run(["openssl", "x509", "-noout", "-hash", "-in", certs(lab) / "ca.crt"], capture_output=True,
                            text=True, check=True).stdout.strip()
    (directory / f"{digest}.0").write_bytes((certs(lab) / "ca.crt").read_bytes())
    fresh.start(FIREZONE_API_URL=url(net.WSS), SSL_CERT_DIR=str(directory), SSL_CERT_FILE=None)
    try:
        lab.wait_joined(8)
    except TimeoutError:
        assert re.search("SSL_CERT_(FILE|DIR)", fresh.ends(1)), "neither works nor says what to set"


@pytest.mark.parametrize("port, words", [(net.WSS_WRONG_NAME, r"name|host"), (net.WSS_UNKNOWN_CA, r"issuer|self.signed|chain|authority")])
def test_certificate_that_does_not_fit_is_refused(lab, fresh, port, words):
    before = lab.portal.get("/state")["messages"]
    fresh.start(FIREZONE_API_URL=url(port), SSL_CERT_FILE=str(certs(lab) / "ca.crt"), FIREZONE_FIRST_CONNECT_TIMEOUT="2s")
    text = fresh.ends(1, 15)
    lines = [line for line in text.splitlines() if re.search(r"certificate|verif", line, re.I)]
    assert lines, text[-3000:]
    assert any(re.search(words, line, re.I) for line in lines), lines
    assert lab.portal.get("/state")["messages"] == before, "it spoke to a portal it cannot trust"


def test_private_authority_is_not_trusted_unasked(lab, fresh):
    before = lab.portal.get("/state")["messages"]
    fresh.start(FIREZONE_API_URL=url(net.WSS), FIREZONE_FIRST_CONNECT_TIMEOUT="2s")
    assert re.search(r"certificate|verif", fresh.ends(1, 15), re.I)
    assert lab.portal.get("/state")["messages"] == before


def test_missing_authority_file_is_one_sentence(fresh):
    fresh.start(FIREZONE_API_URL=url(net.WSS), SSL_CERT_FILE="/nonexistent/ca.crt")
    text = fresh.ends(1)
    assert "/nonexistent/ca.crt" in text
