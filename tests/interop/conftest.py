"""Fixtures of the interoperability tests: one network for each module, a gateway that must end cleanly.

FZGW_PRESET chooses the build (release, or asan: then every run of the gateway is also a check for errors and leaks);
FZGW_PREFIX names an installed tree instead. FZGW_LAB names another network and user, for two runs at once.
"""

import os
import re

import gateway as gateway_module
import lab as lab_module
import net as net_module
import pytest

PREFIX = "fz" + os.environ.get("FZGW_LAB", "test")
USER = PREFIX.replace("fz", "fzgw-")
SANITIZER = re.compile(r"(Address|Leak|UndefinedBehavior)Sanitizer|runtime error:")
CHANGES = ("roam", "nat", "relays", "connections", "bad_networks")
LABS = []


def pytest_configure(config):
    config.addinivalue_line("markers", "long: many seconds of waiting; not repeated with the sanitizers in ./test")
    config.addinivalue_line("markers", "changes: of networks that change; in ./test with the sanitizers, or, if long, without")


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.stem.removeprefix("test_") in CHANGES:
            item.add_marker("changes")


@pytest.fixture(scope="session")
def alone():
    """Only one run at a time has the names; another one waits for it."""
    if os.getuid() != 0:
        pytest.skip("needs root")
    with net_module.lock(PREFIX, wait=True):
        yield


@pytest.fixture(scope="session")
def installed(alone):
    tree = gateway_module.Installed(os.environ.get("FZGW_PRESET", "release"), USER, os.environ.get("FZGW_PREFIX"))
    tree.remove_user()
    tree.build("unit-filter")
    tree.add_user()
    tree.grant()
    yield tree
    tree.remove_user()


@pytest.fixture(scope="module")
def lab(alone):
    laboratory = lab_module.Lab(PREFIX)
    laboratory.up()
    LABS.append(laboratory)
    yield laboratory
    LABS.remove(laboratory)
    laboratory.down()


class Run(gateway_module.Gateway):
    """A gateway of a test."""

    def __init__(self, laboratory, tree):
        super().__init__(laboratory.net, tree)
        self.lab = laboratory

    def online(self, **kwargs):
        """Starts it and waits until it has joined and its interface stands."""
        self.start(**kwargs)
        try:
            self.wait_online()
        except TimeoutError as exc:
            raise AssertionError(f"{exc}\n{self.output()[-4000:]}") from exc
        return self

    def wait_relay(self, seconds):
        """Until its allocation at the relay stands."""
        self.lab.net.wait_for(lambda: self.summary()["relays_ready"] == "1", seconds, "the relay's allocation")

    def ends(self, status, seconds=5.0):
        """Waits for it to end by itself; everything it wrote."""
        assert self.wait(seconds) == status, self.output()[-4000:]
        return self.output()

    def ends_cleanly(self, **kwargs):
        code, seconds = self.terminate(**kwargs)
        assert code == 0, self.output()[-4000:]
        assert seconds < 3
        self.is_clean()
        assert self.left_over() == []
        assert self.rules() == []

    def is_clean(self):
        found = SANITIZER.search(self.output())
        assert not found, self.output()[found.start():][:6000]
        assert self.lab.portal.get("/state")["violations"] == []


@pytest.fixture
def fresh(lab, installed):
    """A gateway that is not started yet, for tests of its life; ended after the test if it still runs."""
    lab.portal.post("/forget")
    run = Run(lab, installed)
    yield run
    run.stop()
    if run.proc:
        run.is_clean()


@pytest.fixture(scope="module")
def shared(lab, installed):
    """One running gateway for a whole module; it has to end cleanly."""
    run = Run(lab, installed)
    run.online()
    yield run
    run.ends_cleanly()


@pytest.fixture
def clients(lab):
    """Starts clients; they end with the test."""
    yield lab.client
    for client in list(lab.clients):
        client.close()
    lab.net.relay_only(False)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    for laboratory in LABS if report.failed else ():
        logs = [path for pattern in ("*.log", "*.err") for path in laboratory.net.state.glob(pattern)]
        for kind in ("gateway", "client"):
            newest = sorted((path for path in logs if path.name.startswith(kind)), key=lambda path: path.stat().st_mtime)
            for path in newest[-2:]:
                text = path.read_text(errors="replace")[-4000:]
                if text:
                    report.sections.append((path.name, text))
