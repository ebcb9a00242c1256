"""Both processes under memcheck, from start to SIGTERM, with traffic on a direct and a relayed path.

The filters that the two processes load would kill valgrind itself: see without_filter.py. Everything else is as in any run.
"""

import re
import shutil

import lab as lab_module
import net
import pytest

WRAPPER = [net.PYTHON, net.REPO / "tests" / "interop" / "without_filter.py", "valgrind", "--trace-children=yes", "--quiet",
           "--leak-check=full", "--show-leak-kinds=definite,possible", "--errors-for-leak-kinds=definite", "--num-callers=20"]


def test_memcheck_finds_nothing(lab, fresh, clients, installed):
    if not shutil.which("valgrind"):
        pytest.skip("no valgrind")
    if installed.preset == "asan":
        pytest.skip("a build with sanitizers does not run under valgrind")
    fresh.start(mode="root", wrapper=WRAPPER, pipe=True)
    lab.wait_joined(60)
    net.wait_for(fresh.interface_up, 20, "the tunnel interface")
    for paths in ("direct", "gateway-relay"):
        lab.net.relay_only(paths != "direct")
        client = clients(paths=paths)
        client.flow(lab_module.LAN4_RESOURCE)
        client.flow(lab_module.LAN6_RESOURCE)
        client.gets_page(net.LAN4, timeout=15)
        client.gets_page(net.LAN6, timeout=15)
        client.fetch(net.LAN4, path="/blob", timeout=20)
    lab.reject(client, lab_module.LAN4_RESOURCE)
    code, _ = fresh.terminate(timeout=30)
    assert code == 0, fresh.output()[-4000:]
    found = [line for line in fresh.output().splitlines() if re.match(r"==\d+==", line)]
    assert found == []
