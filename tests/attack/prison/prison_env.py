"""Where the built programs are, and how to start them in a network and a mount namespace of their own. Needs root."""

import os
import pathlib
import shlex
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
BUILD = pathlib.Path(os.environ.get("FZGW_BUILD", HERE.parents[2] / "build" / "debug")).resolve()
PROGRAMS = BUILD / "tests" / "attack" / "prison"
STAGE = PROGRAMS / "stage"
HELPER = STAGE / "firezone-gateway-helper"
FRONT = PROGRAMS / "prison-front"
PRISON = PROGRAMS / "prison"
UNIT_FILTER = PROGRAMS / "unit-filter"
SYSTEM_SERVICE = HERE / "system-service.txt"
# An ordinary user that owns nothing here.
USER = 54321
TOKEN = "very.secret.token"
SIGSYS = 31


def environment(**more):
    base = {
        "PATH": os.environ["PATH"],
        "FIREZONE_TOKEN": TOKEN,
        "FIREZONE_ID": "attack",
        "HEALTH_CHECK_ADDR": "127.0.0.1:8080",
        "FIREZONE_API_URL": "wss://portal.example",
    }
    base.update(more)
    return {name: value for name, value in base.items() if value is not None}


# What runs first in the new namespaces: lo is up, and /dev/net/tun is as the test wants it.
TUN_OPEN = "mknod -m 0666 /dev/net/tun c 10 200"
TUN_ROOT = "mknod -m 0600 /dev/net/tun c 10 200"
TUN_NONE = "true"
SCRIPT = """
mount -t tmpfs none /dev/net && {shown} {tun} && ip link set lo up &&
ip link add veth0 type veth peer name veth1 && ip link set veth1 up && ip link set veth0 up &&
ip addr add 192.0.2.1/24 dev veth0 &&
ip neigh add 192.0.2.7 lladdr 02:00:00:00:00:07 dev veth0 nud permanent && ip route add default via 192.0.2.7
cd / && exec "$@"
"""


def shown():
    """Commands that let every user reach the programs, in the mount namespace only: a clone may lie below /root."""
    repository = HERE.parents[2]
    closed = [folder for folder in (*reversed(repository.parents), repository) if not folder.stat().st_mode & 0o001]
    if not closed or repository not in BUILD.parents:
        return ""
    here = shlex.quote(str(repository))
    return (f"mkdir /dev/net/shown && mount --bind {here} /dev/net/shown && "
            f"mount -t tmpfs -o mode=0755 none {shlex.quote(str(closed[0]))} && mkdir -p {here} && "
            f"mount --bind /dev/net/shown {here} && umount /dev/net/shown && rmdir /dev/net/shown &&")


def as_root():
    return []


def as_user():
    return ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--inh-caps=-all"]


def as_unit():
    return [str(UNIT_FILTER), str(SYSTEM_SERVICE), str(USER)]


def command(*argv, who=as_user, tun=TUN_OPEN):
    script = SCRIPT.format(shown=shown(), tun=tun)
    return ["unshare", "--net", "--mount", "sh", "-c", script, "sh", *who(), str(FRONT), *argv]


def run_front(*argv, who=as_user, tun=TUN_OPEN, env=None, timeout=30):
    return subprocess.run(
        command(*argv, who=who, tun=tun),
        env=environment(**(env or {})),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
