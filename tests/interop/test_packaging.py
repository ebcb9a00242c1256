"""The files of packaging/ as far as they can be judged without a gateway."""

import shutil
import subprocess

import net
import pytest

# One datagram with the gateway's mark to argv[1], port argv[2].
SEND_MARKED = """
import socket, struct, sys
sock = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, struct.pack("I", 0xfd002021))
sock.sendto(b"x", (sys.argv[1], int(sys.argv[2])))
"""


def verify(tmp_path, unit):
    """systemd's own judgement of a unit in a root that has what the unit names."""
    root = tmp_path / "root"
    for program in ("usr/bin/firezone-gateway", "usr/bin/firezone-gateway-init"):
        (root / program).parent.mkdir(parents=True, exist_ok=True)
        (root / program).write_text("#!/bin/sh\n")
        (root / program).chmod(0o755)
    units = root / "etc" / "systemd" / "system"
    units.mkdir(parents=True)
    shutil.copy(unit, units)
    for name in ("network.target", "sysinit.target", "multi-user.target", "basic.target", "shutdown.target", "system.slice",
                 "tmp.mount"):
        (units / name).write_text(f"[Unit]\nDescription={name}\n" + ("[Mount]\nWhat=tmpfs\nWhere=/tmp\n" if "mount" in name else ""))
    return subprocess.run(["systemd-analyze", "verify", "--man=no", f"--root={root}", unit.name], capture_output=True,
                          text=True, check=False)


def test_vendors_unit_is_a_unit(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze")
    done = verify(tmp_path, net.REPO / "packaging" / "upstream" / "firezone-gateway.service")
    assert (done.returncode, done.stderr) == (0, "")


def test_tables_load_twice_and_leave_other_tables_alone(lab):
    lab.net.run("gw", "nft", "add table inet someone_elses")
    for _ in range(2):
        lab.net.run("gw", "nft", "-f", net.REPO / "packaging" / "firezone-gateway.nft")
    tables = lab.net.run("gw", "nft", "list", "tables").stdout
    assert "inet someone_elses" in tables and tables.count("firezone_gateway") == 1


@pytest.mark.parametrize("target, port, passes", [("127.0.0.1", 22, False), ("127.0.0.1", 53, True), ("169.254.169.254", 80, False),
                                                  ("::1", 22, False), (net.TURN, 3478, True)])
def test_marked_traffic_to_local_places_is_for_name_servers_only(lab, target, port, passes):
    done = lab.net.run("gw", net.PYTHON, "-c", SEND_MARKED, target, port, check=False)
    assert (done.returncode == 0) == passes, done.stderr
    assert passes or "PermissionError" in done.stderr


def test_denied_prefix_is_closed_to_the_gateways_own_sockets(lab):
    lab.net.run("gw", "nft", f"add element inet firezone_gateway deny4 {{ {net.TURN} }}")
    done = lab.net.run("gw", net.PYTHON, "-c", SEND_MARKED, net.TURN, 3478, check=False)
    lab.net.run("gw", "nft", f"delete element inet firezone_gateway deny4 {{ {net.TURN} }}")
    assert "PermissionError" in done.stderr


def test_settings_file_can_be_loaded(lab):
    lab.net.run("gw", "sysctl", "-p", net.REPO / "packaging" / "60-firezone-gateway.conf")
    assert lab.net.run("gw", "sysctl", "-n", "net.ipv4.ip_forward").stdout.strip() == "1"
