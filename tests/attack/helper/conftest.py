"""Every test runs in a network namespace of its own; the machine's is never touched."""

import os

import pytest

import harness


@pytest.fixture(autouse=True)
def own_network():
    if os.geteuid() != 0:
        pytest.skip("needs root, for network namespaces")
    before = os.open("/proc/self/ns/net", os.O_RDONLY)
    assert harness.libc.unshare(harness.CLONE_NEWNET) == 0
    harness.ip("link", "set", "lo", "up")
    yield
    assert harness.libc.setns(before, harness.CLONE_NEWNET) == 0
    os.close(before)


@pytest.fixture
def start():
    """Starts helpers and ends them."""
    running = []

    def start_one(**kwargs):
        running.append(harness.Helper(**kwargs))
        return running[-1]

    yield start_one
    for helper in running:
        helper.stop()
