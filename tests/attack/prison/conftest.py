"""What every test of the prison gets: fresh programs to start, and root."""

import os
import shutil
import subprocess

import pytest

from prison_env import BUILD, HELPER, PRISON, STAGE


def pytest_collection_modifyitems(items):
    if os.geteuid() != 0:
        for item in items:
            item.add_marker(pytest.mark.skip(reason="needs root: namespaces, capabilities, file owners"))


@pytest.fixture
def stage():
    """Fresh copies of what the front starts: the helper 0755 with its file capability, the attacker as worker."""
    shutil.rmtree(STAGE, ignore_errors=True)
    STAGE.mkdir(parents=True)
    shutil.copy(BUILD / "privileged" / "firezone-gateway-helper", HELPER)
    shutil.copy(PRISON, STAGE / "prison")
    os.chmod(HELPER, 0o755)
    subprocess.run(["setcap", "cap_net_admin=p", str(HELPER)], check=True)
    yield STAGE
    shutil.rmtree(STAGE, ignore_errors=True)
