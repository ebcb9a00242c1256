"""Both processes under memcheck, from start to SIGTERM, with traffic on a direct and a relayed path.

The filters that the two processes load would kill valgrind itself: see without_filter.py. Everything else is as in any run.
What is still in use at the end is left to the kernel on purpose; a build with sanitizers frees it and looks for leaks.
"""

import re
import shutil
import time

import lab as lab_module
import net
import pytest

HERE = net.REPO / "tests" / "interop"
WRAPPER = [net.PYTHON, HERE / "without_filter.py", "valgrind", f"--suppressions={HERE}/valgrind.supp", "--trace-children=yes", "--quiet", "--vgdb=no",
           "--leak-check=full", "--show-leak-kinds=definite", "--errors-for-leak-kinds=definite", "--num-callers=20"]


def test_memcheck_finds_nothing(lab, fresh, clients, installed):
    if not shutil.which("valgrind"):
        pytest.skip("no valgrind")
    if installed.preset == "asan":
        pytest.skip("a build with sanitizers does not run under valgrind")
    installed.grant(capability=False)            # valgrind does not start a program with file capabilities; root needs none
    try:
        fresh.start(mode="root", wrapper=WRAPPER, pipe=True)
        fresh.wait_online(60)
        traffic(lab, clients)
        code, _ = fresh.terminate(timeout=30)
    finally:
        installed.grant()
    assert code == 0, fresh.output()[-4000:]
    found = [line for line in fresh.output().splitlines() if re.match(r"==\d+==", line)]
    assert found == []


def traffic(lab, clients):
    for paths in ("direct", "gateway-relay"):
        lab.net.relay_only(paths != "direct")
        client = clients(paths=paths)
        client.flow(lab_module.LAN4_RESOURCE)
        client.flow(lab_module.LAN6_RESOURCE)
        client.gets_page(net.LAN4, timeout=15)
        client.gets_page(net.LAN6, timeout=15)
        assert lab.blob_matches(client, net.LAN4)[0]
    lab.reject(client, lab_module.LAN4_RESOURCE)
    time.sleep(0.5)
