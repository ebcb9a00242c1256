"""Inside the real prison, with fds from the real helper: everything forbidden is tried, once per start."""

import subprocess

import pytest

from prison_env import PRISON, SIGSYS, as_root, as_unit, as_user, run_front


def attempts():
    if not PRISON.exists():
        return []
    out = subprocess.run([str(PRISON), "list"], capture_output=True, text=True, check=True).stdout
    return [tuple(line.split()) for line in out.splitlines()]


ATTEMPTS = attempts()
# The calls that the filter lets through without looking at arguments, or that fail on it by argument: not in this sweep.
ALLOWED = set(
    "read write close fstat poll brk ioctl readv writev mmap shutdown sendto recvfrom sendmsg recvmsg getsockname "
    "getsockopt exit_group fcntl gettimeofday rt_sigreturn futex getpid restart_syscall clock_gettime epoll_wait "
    "epoll_ctl accept4 recvmmsg getrandom".split()
)
LAST_CALL = 470
# uretprobe and uprobe: the kernel exempts them from every filter and lets only its own trampolines make them.
EXEMPT = {335, 336}


def call_numbers():
    """Name to number, from the kernel's own header."""
    numbers = {}
    with open("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", encoding="ascii") as header:
        for line in header:
            words = line.split()
            if len(words) == 3 and words[1].startswith("__NR_"):
                numbers[words[1][5:]] = int(words[2])
    return numbers


def test_there_are_attempts():
    assert len(ATTEMPTS) > 150


def judge(name, outcome, error, result):
    said = [line.split() for line in result.stdout.splitlines() if line.startswith(name + " ")]
    if outcome.startswith("killed"):
        deaths = [-SIGSYS] if outcome == "killed" else [-SIGSYS, -11]
        assert result.returncode in deaths, (result.stdout, result.stderr)
        assert not said
        return
    assert result.returncode == 0, (result.stdout, result.stderr)
    assert said, result.stdout
    rc, got = int(said[0][1]), int(said[0][2])
    if outcome == "error":
        assert (rc, got) == (-1, int(error))
    else:
        assert rc >= 0 or got == 11, said


@pytest.mark.parametrize("name,outcome,error", ATTEMPTS, ids=[a[0] for a in ATTEMPTS])
def test_attempt(stage, name, outcome, error):
    judge(name, outcome, error, run_front(env={"FIREZONE_NAME": name}))


@pytest.mark.parametrize("who", [as_root, as_unit])
@pytest.mark.parametrize("name", ["socket", "openat", "exec", "fork", "tun_setpersist", "set_mark", "new_route"])
def test_attempt_in_other_situations(stage, name, who):
    outcome, error = next((a[1], a[2]) for a in ATTEMPTS if a[0] == name)
    judge(name, outcome, error, run_front(who=who, env={"FIREZONE_NAME": name}))


def test_every_call_not_in_the_table_is_refused():
    names = {number: name for name, number in call_numbers().items()}
    survived = []
    for number in range(LAST_CALL):
        if names.get(number) in ALLOWED or number in EXEMPT:
            continue
        result = subprocess.run([str(PRISON), str(number)], capture_output=True, text=True, timeout=10, check=False)
        assert "lacks" in result.stdout, result.stderr
        if result.returncode != -SIGSYS:
            survived.append((number, names.get(number), result.stdout))
    assert survived == []
