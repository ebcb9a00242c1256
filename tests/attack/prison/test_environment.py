"""A start from a hostile or just odd environment, and what a worker could still do with what it was given."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

from prison_env import BUILD, FRONT, STAGE, USER, as_root, as_user, command, environment, run_front
from test_worker_start import SITUATIONS, Running, field, interfaces, limit, sentence

O_NONBLOCK = os.O_NONBLOCK


def python(text):
    """Run @text as the ordinary user, then become the command."""
    script = f"import ctypes, os, signal, sys\n{text}\nos.execv(sys.argv[1], sys.argv[1:])"
    return lambda: [*as_user(), sys.executable, "-c", script]


def shell(text):
    return lambda: [*as_user(), "sh", "-c", text + '; exec "$@"', "sh"]


# Like the default profile of container engines: no namespaces for whoever lacks CAP_SYS_ADMIN.
REFUSE_UNSHARE = """
import ctypes, os, struct, sys
lines = ((0x20, 0, 0, 0), (0x15, 0, 1, 272), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7FFF0000))
code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in lines))
class Program(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
program = Program(4, ctypes.addressof(code))
assert ctypes.CDLL(None).prctl(22, 2, ctypes.byref(program), 0, 0) == 0
os.execvp(sys.argv[1], sys.argv[1:])
"""
CONTAINER_CAPS = """chown dac_override fsetid fowner mknod net_raw setgid setuid setfcap setpcap net_bind_service
sys_chroot kill audit_write net_admin""".split()


def as_container():
    return [sys.executable, "-c", REFUSE_UNSHARE, "setpriv",
            "--bounding-set=-all," + ",".join("+" + cap for cap in CONTAINER_CAPS)]


def as_container_without_defaults():
    """--cap-drop ALL --cap-add NET_ADMIN"""
    return [sys.executable, "-c", REFUSE_UNSHARE, "setpriv", "--bounding-set=-all,+net_admin"]


# --- the environment

def test_ignored_sigchld_costs_no_wall(stage):
    """What is tried in children must not be taken for failed because their end is not told."""
    with Running(python("signal.signal(signal.SIGCHLD, signal.SIG_IGN)")) as run:
        assert run.lacks() == 0 and interfaces(run.pid) == {"lo"}


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
def test_signals_with_a_meaning_later_do_not_kill_at_the_start(stage, number):
    with Running(as_user) as run:
        os.kill(run.pid, number)
        time.sleep(0.1)
        assert run.process.poll() is None


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGPIPE])
def test_pending_signals_do_not_kill_at_the_start(stage, number):
    text = f"signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 64)); os.kill(os.getpid(), {int(number)})"
    result = run_front(who=python(text), env={"FIREZONE_NAME": "getpid"})
    assert result.returncode == 0 and "getpid" in result.stdout


def test_pending_sigterm_ends_it(stage):
    text = "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 64)); os.kill(os.getpid(), signal.SIGTERM)"
    assert run_front(who=python(text), env={"FIREZONE_NAME": "getpid"}).returncode == -signal.SIGTERM


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_standard_descriptors(stage, closed):
    who = lambda: [*as_user(), "sh", "-c", f'exec "$@" {closed} 3>&- 4>&-', "sh"]
    result = run_front(who=who, env={"FIREZONE_NAME": "getpid"})
    assert result.returncode == 0, result.stderr


def test_no_argument_vector(stage):
    text = f"""
empty = (ctypes.c_char_p * 1)(None)
words = [f"{{k}}={{v}}".encode() for k, v in os.environ.items()]
env = (ctypes.c_char_p * (len(words) + 1))(*words, None)
ctypes.CDLL(None).execve({str(FRONT)!r}.encode(), empty, env)
"""
    result = run_front(who=python(text), env={"FIREZONE_NAME": "getpid"})
    assert result.returncode == 0 and "getpid" in result.stdout


def test_huge_environment(stage):
    more = {f"FIREZONE_{i}": "x" * 100000 for i in range(12)}
    result = run_front(env={"FIREZONE_NAME": "getpid", **more})
    assert result.returncode == 0
    assert max(len(line) for line in result.stdout.splitlines()) < 1000


@pytest.mark.parametrize("limits", ["-n 64", "-s 256", "-c unlimited", "-l 0"])
def test_small_limits(stage, limits):
    result = run_front(who=shell(f"ulimit {limits}"), env={"FIREZONE_NAME": "getpid"})
    assert result.returncode == 0 and "getpid" in result.stdout, result.stderr


def test_file_size_limit_of_zero_is_said(stage):
    """The signal would come before the sentence."""
    assert "File too large" in sentence(run_front(who=shell("ulimit -f 0"), env={"FIREZONE_NAME": "getpid"}))


# --- the token

@pytest.mark.parametrize("argv", [("--token=very.secret.token",), ("--flow-logs=very.secret.token",),
                                  ("-very.secret.token",), ("-qvery.secret.token", "x")])
def test_a_token_that_is_taken_for_an_option_is_not_repeated(stage, argv):
    result = run_front(*argv)
    assert result.returncode == 2 and "ecret" not in result.stderr and "ecret" not in result.stdout


def test_the_worker_is_not_dumpable_before_it_reads_the_token(stage, tmp_path):
    """The real worker, held where it opens its certificates: before the prison, with the token in memory."""
    shutil.copy(BUILD / "unprivileged" / "firezone-gateway-worker", STAGE / "prison")
    fifo = STAGE / "ca"
    os.mkfifo(fifo)
    os.chmod(fifo, 0o644)
    process = subprocess.Popen(command(who=as_user), env=environment(SSL_CERT_FILE=str(fifo)), stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        end = time.monotonic() + 5
        while field(process.pid, "Name") != "prison":
            assert time.monotonic() < end and process.poll() is None
            time.sleep(0.01)
        time.sleep(0.3)
        assert field(process.pid, "Seccomp") == "0" and field(process.pid, "Uid").split()[0] == str(USER)
        assert os.stat(f"/proc/{process.pid}/environ").st_uid == 0
        assert limit(process.pid, "Max core file size") == ["0", "0"]
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


# --- the log

def flags(pid, fd):
    for line in pathlib.Path(f"/proc/{pid}/fdinfo/{fd}").read_text(encoding="ascii").splitlines():
        if line.startswith("flags:"):
            return int(line.split()[1], 8)
    raise AssertionError("no flags")


def as_user_with_own_pipe():
    """A pipe is its maker's, and container engines give it to the user that they start."""
    script = f"import os, sys; os.fchown(2, {USER}, {USER}); os.execvp(sys.argv[1], sys.argv[1:])"
    return [sys.executable, "-c", script, *as_user()]


@pytest.mark.parametrize("who", [as_root, as_user_with_own_pipe])
def test_the_audit_log_on_a_pipe_cannot_hold_the_helper(stage, who):
    """The worker may fill the same pipe at any moment; its own end stays as it was."""
    with Running(who) as run:
        assert os.readlink(f"/proc/{run.helper}/fd/4") == os.readlink(f"/proc/{run.pid}/fd/2")
        assert flags(run.helper, 4) & O_NONBLOCK
        assert not flags(run.pid, 2) & O_NONBLOCK


def test_an_audit_log_that_is_a_pipe_without_a_reader_is_said(stage):
    fifo = STAGE / "audit"
    os.mkfifo(fifo)
    os.chown(fifo, USER, USER)
    assert "FIREZONE_AUDIT_LOG" in sentence(run_front(env={"FIREZONE_AUDIT_LOG": str(fifo)}, timeout=5))


def test_an_audit_log_without_room_is_said(stage):
    assert "audit log" in sentence(run_front(env={"FIREZONE_AUDIT_LOG": "/dev/full"}))


# --- what the worker may use up

@pytest.mark.parametrize("who", SITUATIONS)
def test_the_worker_cannot_hoard_descriptors(stage, who):
    """Each may hold a port of the host and kernel memory: a container's limit is often a million."""
    with Running(who) as run:
        soft, hard = limit(run.pid, "Max open files")
        assert int(soft) <= 4096 and soft == hard


# --- containers

def test_in_a_container_as_root(stage):
    with Running(as_container) as run:
        assert run.lacks() == 1  # only the network namespace; it is the container's
        assert "0" not in field(run.pid, "Uid").split() and field(run.pid, "Groups") == ""
        for name in ("CapInh", "CapPrm", "CapEff", "CapAmb", "CapBnd"):
            assert int(field(run.pid, name), 16) == 0
        assert int(field(run.helper, "CapPrm"), 16) == 1 << 12
        for name in ("CapInh", "CapEff", "CapAmb", "CapBnd"):
            assert int(field(run.helper, name), 16) == 0


def test_in_a_container_without_the_default_capabilities(stage):
    """Without CAP_SETUID the worker would stay root: it does not start, and no helper is left."""
    text = sentence(run_front(who=as_container_without_defaults, env={"FIREZONE_NAME": "getpid"}))
    assert "CAP_SETUID" in text


def test_strict_in_a_container(stage):
    result = run_front(who=as_container, env={"FIREZONE_NAME": "getpid", "FIREZONE_SANDBOX": "strict"})
    assert result.returncode == 1 and "FIREZONE_SANDBOX=strict" in result.stderr
