"""The fixtures of tests/interop, with a booted guest in the place of the client's namespace."""

import importlib.util
import pathlib
import sys

import pytest

INTEROP = pathlib.Path(__file__).resolve().parents[1] / "interop"
sys.path.insert(0, str(INTEROP))

import guest as guest_module  # noqa: E402

spec = importlib.util.spec_from_file_location("interop_conftest", INTEROP / "conftest.py")
interop = importlib.util.module_from_spec(spec)
spec.loader.exec_module(interop)
alone, installed, shared, clients = interop.alone, interop.installed, interop.shared, interop.clients
pytest_configure, pytest_runtest_makereport = interop.pytest_configure, interop.pytest_runtest_makereport


@pytest.fixture(scope="module")
def lab(alone):
    laboratory = guest_module.Lab(interop.PREFIX)
    try:
        laboratory.up()
        interop.LABS.append(laboratory)
        yield laboratory
        interop.LABS.remove(laboratory)
    finally:
        laboratory.down()
