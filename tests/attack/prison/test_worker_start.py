"""The start in each of its situations, what the two processes then have, and the sentence for everything that is missing."""

import os
import pathlib
import re
import signal
import socket
import subprocess
import time

import pytest

from prison_env import (
    FRONT,
    HELPER,
    TOKEN,
    TUN_NONE,
    TUN_ROOT,
    USER,
    as_root,
    as_unit,
    as_user,
    command,
    environment,
    run_front,
)

SITUATIONS = [as_user, as_root, as_unit]


class Running:
    """Front, helper and prison, the latter waiting inside."""

    def __init__(self, who, env=None, argv=()):
        self.process = subprocess.Popen(
            command(*argv, who=who),
            env=environment(FIREZONE_NAME="wait", **(env or {})),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines = []
        for line in self.process.stdout:
            self.lines.append(line)
            if line.startswith("ready"):
                break
        else:
            raise AssertionError((self.lines, self.process.stderr.read()))
        self.pid = self.process.pid
        self.helper = self.find_helper()

    def find_helper(self):
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit() and int(field(int(entry.name), "PPid") or 0) == self.pid:
                return int(entry.name)
        raise AssertionError("no helper")

    def lacks(self):
        return int(next(line.split()[1] for line in self.lines if line.startswith("lacks")))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()
        self.process.stdin.close()


def field(pid, name):
    try:
        text = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(rf"^{name}:[ \t]*(.*)$", text, re.M)
    return found.group(1) if found else None


def interfaces(pid):
    text = pathlib.Path(f"/proc/{pid}/net/dev").read_text(encoding="utf-8")
    return {line.split(":")[0].strip() for line in text.splitlines()[2:]}


def limit(pid, name):
    for line in pathlib.Path(f"/proc/{pid}/limits").read_text(encoding="utf-8").splitlines():
        if line.startswith(name):
            return line[len(name) :].split()[:2]
    return None


def gone(pid, seconds=2.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        state = field(pid, "State")
        if state is None or state.startswith("Z"):
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("who", SITUATIONS)
def test_the_worker_has_nothing(stage, who):
    with Running(who) as run:
        for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            assert int(field(run.pid, name), 16) == 0
        assert field(run.pid, "NoNewPrivs") == "1"
        assert field(run.pid, "Seccomp") == "2"
        assert field(run.pid, "Threads") == "1"
        assert field(run.pid, "Groups") == ""
        assert "0" not in field(run.pid, "Uid").split()
        assert limit(run.pid, "Max processes") == ["0", "0"]
        assert limit(run.pid, "Max core file size") == ["0", "0"]
        assert limit(run.pid, "Max file size") == ["0", "0"]
        # Not dumpable: what belongs to it in /proc is root's.
        assert os.stat(f"/proc/{run.pid}/fd").st_uid == 0
        if who is as_unit:
            # The unit refuses namespaces, and kills at Landlock's calls.
            assert run.lacks() & 1 and run.lacks() & 4
        else:
            assert run.lacks() == 0
            assert int(field(run.pid, "CapBnd"), 16) == 0
            assert interfaces(run.pid) == {"lo"}
            assert os.readlink(f"/proc/{run.pid}/ns/net") != os.readlink(f"/proc/{run.helper}/ns/net")
            assert os.readlink(f"/proc/{run.pid}/ns/user") != os.readlink("/proc/self/ns/user")


@pytest.mark.parametrize("who", SITUATIONS)
def test_the_helper_has_one_capability(stage, who):
    with Running(who) as run:
        assert int(field(run.helper, "CapPrm"), 16) == 1 << 12
        assert field(run.helper, "Seccomp") == "2"
        assert field(run.helper, "NoNewPrivs") == "1"
        assert os.stat(f"/proc/{run.helper}/fd").st_uid == 0
        assert "tun-firezone" in interfaces(run.helper)


@pytest.mark.parametrize("who", SITUATIONS)
def test_neither_shows_the_token(stage, who):
    with Running(who, env={"INVOCATION_ID": "0123"}) as run:
        for pid, name in ((run.pid, "prison"), (run.helper, "firezone-gateway-helper")):
            cmdline = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            assert len(cmdline) == 2 and cmdline[1] == b""
            assert TOKEN.encode() not in pathlib.Path(f"/proc/{pid}/environ").read_bytes()
        assert pathlib.Path(f"/proc/{run.helper}/environ").read_bytes() == b""
        assert pathlib.Path(f"/proc/{run.pid}/environ").read_bytes() == b"INVOCATION_ID=0123\0"


def test_a_token_on_the_command_line_is_gone_and_warned_about(stage):
    with Running(as_user, env={"FIREZONE_TOKEN": None}, argv=("on.the.line",)) as run:
        for pid in (run.pid, run.helper):
            assert b"on.the.line" not in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
        assert sum("WARN" in line and "command line" in line for line in run.lines) == 1
        assert not any("on.the.line" in line for line in run.lines)


def test_no_stray_descriptor_reaches_either(stage):
    read_end, write_end = os.pipe()
    os.set_inheritable(write_end, True)
    try:
        proc = subprocess.Popen(
            command(who=as_user),
            env=environment(FIREZONE_NAME="wait"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(write_end,),
            text=True,
        )
        for line in proc.stdout:
            if line.startswith("ready"):
                break
        os.close(write_end)
        # Nobody else holds the write end: the reader sees the end of the file.
        os.set_blocking(read_end, False)
        assert os.read(read_end, 1) == b""
    finally:
        proc.kill()
        proc.wait()
        proc.stdin.close()
        proc.stdout.close()
        os.close(read_end)


def test_closed_standard_descriptors_are_no_harm(stage):
    argv = command(who=as_user)
    argv[argv.index(str(FRONT))] = "sh"
    argv += ["-c", f'exec "{FRONT}" <&- 2>&-']
    result = subprocess.run(
        argv, env=environment(FIREZONE_NAME="getpid"), capture_output=True, text=True, timeout=30, check=False
    )
    assert result.returncode == 0
    assert "getpid" in result.stdout


def test_a_log_that_is_a_file_stays_writable(stage, tmp_path):
    log = tmp_path / "log"
    with open(log, "w", encoding="utf-8") as out:
        result = subprocess.run(
            command(who=as_user),
            env=environment(FIREZONE_NAME="getpid"),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.PIPE,
            timeout=30,
            check=False,
        )
    assert result.returncode == 0, result.stderr
    assert "getpid" in log.read_text(encoding="utf-8")


def test_killing_one_ends_the_other(stage):
    with Running(as_user) as run:
        os.kill(run.pid, signal.SIGKILL)
        assert gone(run.helper)
    with Running(as_user) as run:
        os.kill(run.helper, signal.SIGTERM)
        os.kill(run.helper, signal.SIGINT)
        os.kill(run.helper, signal.SIGHUP)
        time.sleep(0.1)
        assert field(run.helper, "State") is not None


def test_strict_refuses_where_the_host_refuses(stage):
    result = run_front(who=as_unit, env={"FIREZONE_NAME": "getpid", "FIREZONE_SANDBOX": "strict"})
    assert result.returncode == 1
    assert "FIREZONE_SANDBOX=strict" in result.stderr
    assert run_front(who=as_user, env={"FIREZONE_NAME": "getpid", "FIREZONE_SANDBOX": "strict"}).returncode == 0


def test_audit_lines_go_to_their_file(stage, tmp_path):
    os.chmod(tmp_path, 0o777)
    for parent in tmp_path.parents:
        if parent.stat().st_uid == 0 and str(parent).startswith("/tmp/"):
            os.chmod(parent, 0o755)
    audit = tmp_path / "audit"
    result = run_front(env={"FIREZONE_NAME": "getpid", "FIREZONE_AUDIT_LOG": str(audit)})
    assert result.returncode == 0, result.stderr
    assert "hello" in audit.read_text(encoding="utf-8")
    assert "hello" not in result.stderr


def test_a_taken_health_port_warns_once(stage):
    result = run_front(env={"FIREZONE_NAME": "getpid", "HEALTH_CHECK_ADDR": "203.0.113.1:8080"})
    assert result.returncode == 0
    assert result.stdout.count("WARN") == 1 and "health endpoint" in result.stdout


def sentence(result, code=1):
    """The front's own line; the helper and the audit may have lines of their own."""
    assert result.returncode == code, (result.returncode, result.stdout, result.stderr)
    mine = [line for line in result.stderr.splitlines() if line.startswith("firezone-gateway: ")]
    assert len(mine) == 1, result.stderr
    return mine[0]


def test_no_setcap(stage):
    subprocess.run(["setcap", "-r", str(HELPER)], check=True)
    assert f"setcap cap_net_admin=p {HELPER}" in sentence(run_front())


def test_no_check_lets_the_worker_find_out(stage):
    subprocess.run(["setcap", "-r", str(HELPER)], check=True)
    result = run_front("--no-check")
    assert result.returncode == 99 and "fds from the helper" in result.stderr


def test_setcap_is_void_under_no_new_privs(stage):
    who = lambda: [*as_user(), "--no-new-privs"]
    text = sentence(run_front(who=who))
    assert "no_new_privs" in text and "AmbientCapabilities" in text and "setcap" in text


def test_bounding_set_without_the_capability(stage):
    who = lambda: ["setpriv", "--bounding-set=-net_admin", *as_user()]
    text = sentence(run_front(who=who))
    assert "bounding set" in text and "--cap-add NET_ADMIN" in text and "setcap" in text
    root = lambda: ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"]
    assert "bounding set" in sentence(run_front(who=root))


def test_setcap_with_the_effective_bit_and_a_small_bounding_set(stage):
    subprocess.run(["setcap", "cap_net_admin=ep", str(HELPER)], check=True)
    who = lambda: ["setpriv", "--bounding-set=-net_admin", *as_user()]
    assert f"setcap cap_net_admin=p {HELPER}" in sentence(run_front(who=who))


@pytest.mark.parametrize("mode", [0o757, 0o775, 0o777])
def test_a_helper_that_others_can_write(stage, mode):
    os.chmod(HELPER, mode)
    text = sentence(run_front())
    assert "chmod 0750" in text and "chown root:firezone" in text


def test_a_helper_of_another_owner(stage):
    os.chown(HELPER, USER, 0)
    assert "chown root:firezone" in sentence(run_front())


def test_a_helper_that_this_user_may_not_execute(stage):
    os.chmod(HELPER, 0o750)
    assert "may not execute" in sentence(run_front())


def test_a_missing_helper(stage):
    HELPER.unlink()
    text = sentence(run_front())
    assert str(HELPER) in text and "missing" in text


def test_a_helper_that_is_no_helper(stage):
    HELPER.write_bytes(b"\0" * 100)
    assert "cannot be executed" in sentence(run_front())


def test_no_tun_device(stage):
    text = sentence(run_front(tun=TUN_NONE))
    assert "/dev/net/tun" in text and "modprobe tun" in text


def test_an_unreadable_tun_device(stage):
    text = sentence(run_front(tun=TUN_ROOT))
    assert "/dev/net/tun" in text and "0666" in text
    assert run_front(who=as_root, tun=TUN_ROOT, env={"FIREZONE_NAME": "getpid"}).returncode == 0


def test_a_missing_worker(stage):
    (stage / "prison").unlink()
    assert "Cannot start the worker" in sentence(run_front())


def test_no_token(stage):
    assert "FIREZONE_TOKEN" in sentence(run_front(env={"FIREZONE_TOKEN": " "}))


@pytest.mark.parametrize(
    "env,word",
    [
        ({"FIREZONE_LOG_FORMAT": "xml"}, "FIREZONE_LOG_FORMAT"),
        ({"RUST_LOG": "info,,=loud"}, "RUST_LOG"),
        ({"FIREZONE_API_URL": "ftp://x"}, "FIREZONE_API_URL"),
    ],
)
def test_usage_errors(stage, env, word):
    assert word in sentence(run_front(env=env), code=2)


def test_help_and_version(stage):
    shown = run_front("--help")
    assert shown.returncode == 0 and "FIREZONE_TOKEN" in shown.stdout and shown.stderr == ""
    assert run_front("--version").stdout.startswith("firezone-gateway ")
