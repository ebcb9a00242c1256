"""How the helper comes by its capability, and what its filter lets through."""

import ctypes
import errno
import os
import platform
import shutil
import stat
import struct
import subprocess

import pytest

import harness
from harness import DNS, TUN_CONFIGURE, TUN_OPEN, UDP_OPEN, V4, V6, args

NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
OWN_TUN = """
mount -t tmpfs -o mode=0755 tmpfs /mnt && mknod -m 0666 /mnt/tun c 10 200 && mount --bind /mnt/tun /dev/net/tun &&
exec "$@"
"""


def with_own_tun(*command):
    """In a mount namespace whose /dev/net/tun an ordinary user may open; the machine's is not touched."""
    return ["unshare", "--mount", "sh", "-c", OWN_TUN, "sh", *command]


@pytest.fixture
def copy(tmp_path):
    """A copy of the helper that ordinary users may execute."""
    for path in (tmp_path, *list(tmp_path.parents)[:-2]):
        path.chmod(path.stat().st_mode | stat.S_IXOTH)
    target = tmp_path / "firezone-gateway-helper"
    shutil.copy(harness.helper_path(), target)
    target.chmod(0o755)
    return str(target)


def setcap(path, what):
    if subprocess.run(["setcap", what, path], check=False).returncode != 0:
        pytest.skip("no file capabilities here")


def assert_does_its_work(helper):
    assert helper.hello.word(1) == 1
    assert helper.ask(TUN_OPEN).error == 0
    assert helper.ask(TUN_CONFIGURE, args(mtu=1280, v4=V4, local=V6)).error == 0
    assert helper.ask(UDP_OPEN, args(family=4, role=DNS, number=1)).error == 0
    assert harness.rules() == harness.ALL_RULES


def test_setcap_on_the_file_serves_an_ordinary_user(start, copy):
    setcap(copy, "cap_net_admin=p")
    helper = start(argv=with_own_tun(*NOBODY, copy))
    status = harness.status(helper.pid)
    assert status["Uid"].split() == ["65534"] * 4
    assert int(status["CapPrm"], 16) == 1 << 12 and int(status["CapEff"], 16) == 0
    assert helper.hello.word(2) == 0
    assert_does_its_work(helper)


def test_ambient_capability_under_no_new_privileges(start, copy):
    helper = start(argv=with_own_tun(*NOBODY, "--inh-caps=+net_admin", "--ambient-caps=+net_admin",
                                     "--bounding-set=-all,+net_admin", "--no-new-privs", copy))
    status = harness.status(helper.pid)
    assert int(status["CapPrm"], 16) == 1 << 12
    assert int(status["CapAmb"], 16) == int(status["CapInh"], 16) == int(status["CapEff"], 16) == 0
    # not dumpable: its files in /proc are root's, so that its own user cannot attach to it
    assert os.stat(f"/proc/{helper.pid}/environ").st_uid == 0
    assert_does_its_work(helper)


def test_without_the_capability_the_greeting_says_so_and_nothing_works(start, copy):
    helper = start(argv=with_own_tun(*NOBODY, copy))
    assert helper.hello.word(1) == 0 and helper.hello.word(2) == 0
    assert helper.audit()[0]["errno"] == errno.EPERM
    assert helper.ask(TUN_OPEN).error == errno.EPERM
    assert helper.ask(UDP_OPEN, args(family=4, role=DNS, number=1)).error == errno.EPERM
    assert helper.audit()[-1]["verdict"] == "failed"


def test_effective_bit_on_the_file_is_dropped_too(start, copy):
    setcap(copy, "cap_net_admin,cap_sys_admin,cap_net_raw=ep")
    helper = start(argv=with_own_tun(*NOBODY, copy))
    status = harness.status(helper.pid)
    assert int(status["CapPrm"], 16) == 1 << 12 and int(status["CapEff"], 16) == 0
    assert_does_its_work(helper)


def test_tun_device_that_may_not_be_opened_is_told_in_the_greeting(start, copy):
    setcap(copy, "cap_net_admin=p")
    helper = start(argv=["unshare", "--mount", "sh", "-c", OWN_TUN.replace("0666", "0600"), "sh", *NOBODY, copy])
    assert helper.hello.word(2) == errno.EACCES
    assert helper.ask(TUN_OPEN).error == errno.EACCES


def test_missing_tun_device_is_told_in_the_greeting(start):
    hide = 'mount -t tmpfs tmpfs /dev/net && exec "$@"'
    helper = start(argv=["unshare", "--mount", "sh", "-c", hide, "sh", harness.helper_path()])
    assert helper.hello.word(2) == errno.ENOENT
    assert helper.ask(TUN_OPEN).error == errno.ENOENT


# --- the filter

CALL_SECCOMP = {"x86_64": 317, "aarch64": 277}


def test_filter_is_loaded_where_seccomp_itself_is_killed(start, tmp_path):
    """As under upstream's unit, whose filter lacks seccomp(2)."""
    number = CALL_SECCOMP[platform.machine()]
    code = b"".join(struct.pack("=HBBI", *line) for line in (
        (0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x80000000), (0x06, 0, 0, 0x7FFF0000)))
    script = tmp_path / "outer.py"
    script.write_text(f"""
import ctypes, os, sys
code = ctypes.create_string_buffer({code!r})
class Program(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
program = Program({len(code) // 8}, ctypes.addressof(code))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, ctypes.byref(program), 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])
""")
    helper = start(argv=["python3", str(script), harness.helper_path()])
    assert harness.status(helper.pid)["Seccomp"] == "2" and harness.status(helper.pid)["Seccomp_filters"] == "2"
    assert_does_its_work(helper)


class Filter:
    """The filter of a running helper, read back from the kernel and interpreted."""

    def __init__(self, pid):
        libc = harness.libc
        libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        if libc.ptrace(0x4206, pid, None, None) != 0:  # PTRACE_SEIZE
            pytest.skip("ptrace is not to be had")
        libc.ptrace(0x4207, pid, None, None)  # PTRACE_INTERRUPT
        os.waitpid(pid, 0)
        count = libc.ptrace(0x420C, pid, None, None)  # PTRACE_SECCOMP_GET_FILTER
        code = ctypes.create_string_buffer(8 * max(count, 0))
        if count > 0:
            libc.ptrace(0x420C, pid, None, code)
        libc.ptrace(17, pid, None, None)
        if count <= 0:
            pytest.skip("the kernel does not give filters back")
        self.code = list(struct.iter_unpack("=HBBI", code.raw))

    def allows(self, number, call_args=()):
        arch = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}[platform.machine()]
        values = [value & 0xFFFFFFFFFFFFFFFF for value in call_args] + [0] * (6 - len(call_args))
        data = struct.pack("=iIQ6Q", number, arch, 0, *values)
        accumulator, at = 0, 0
        while True:
            code, if_true, if_false, k = self.code[at]
            at += 1
            if code == 0x20:
                accumulator = struct.unpack_from("=I", data, k)[0]
            elif code == 0x54:
                accumulator &= k
            elif code == 0x05:
                at += k
            elif code in (0x15, 0x25, 0x35):
                true = {0x15: accumulator == k, 0x25: accumulator > k, 0x35: accumulator >= k}[code]
                at += if_true if true else if_false
            elif code == 0x06:
                return k == 0x7FFF0000
            else:
                raise AssertionError(f"unknown instruction {code:#x}")


X86 = {"read": 0, "write": 1, "open": 2, "close": 3, "poll": 7, "mmap": 9, "mprotect": 10, "ioctl": 16, "socket": 41,
       "connect": 42, "accept": 43, "sendto": 44, "sendmsg": 46, "recvmsg": 47, "bind": 49, "listen": 50,
       "setsockopt": 54, "clone": 56, "fork": 57, "execve": 59, "kill": 62, "fcntl": 72, "ptrace": 101, "setuid": 105,
       "capset": 126, "prctl": 157, "mount": 165, "init_module": 175, "clock_gettime": 228, "exit_group": 231,
       "keyctl": 250, "openat": 257, "unshare": 272, "ppoll": 271, "setns": 308, "seccomp": 317, "bpf": 321,
       "execveat": 322, "userfaultfd": 323, "statx": 332, "io_uring_setup": 425, "clone3": 435, "openat2": 437}
CALLS = {"recvmsg", "sendmsg", "ppoll", "write", "openat", "statx", "close", "ioctl", "socket", "bind", "connect",
         "listen", "setsockopt", "clock_gettime", "capset", "exit_group"}

OPEN_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY

# call, arguments, allowed: one of each kind for every rule that compares
ARGUMENTS = [
    ("write", (4,), True), ("write", (1,), False), ("write", (3,), False),
    ("openat", (-100, 0, OPEN_FLAGS), True), ("openat", (-100, 0, OPEN_FLAGS | os.O_RDWR), False),
    ("openat", (-100, 0, OPEN_FLAGS | os.O_WRONLY), False), ("openat", (-100, 0, OPEN_FLAGS | os.O_CREAT), False),
    ("openat", (-100, 0, os.O_RDONLY), False), ("openat", (-100, 0, OPEN_FLAGS | os.O_RDWR | os.O_TRUNC), False),
    ("ioctl", (5, 0x400454CA), True), ("ioctl", (5, 0x400454D0), True), ("ioctl", (5, 0x400454D8), True),
    ("ioctl", (5, 0x8933), True), ("ioctl", (5, 0x400454CB), False), ("ioctl", (5, 0x8914), False),
    ("ioctl", (5, 0x5412), False),
    ("socket", (2,), True), ("socket", (10,), True), ("socket", (16,), True), ("socket", (1,), False),
    ("socket", (17,), False), ("socket", (40,), False),
    ("socket", (16, 3, 0), True), ("socket", (16, 3, 12), False), ("socket", (16, 3, 16), False),
    ("socket", (2, 3, 1), False), ("socket", (2, 1, 132), False),
    ("setsockopt", (5, 1, 36), True), ("setsockopt", (5, 1, 33), True), ("setsockopt", (5, 1, 32), True),
    ("setsockopt", (5, 1, 26), True), ("setsockopt", (5, 1, 44), True), ("setsockopt", (5, 1, 62), True),
    ("setsockopt", (5, 0, 8), True),
    ("setsockopt", (5, 41, 26), True), ("setsockopt", (5, 17, 104), True), ("setsockopt", (5, 6, 1), True),
    ("setsockopt", (5, 1, 25), False), ("setsockopt", (5, 1, 27), False), ("setsockopt", (5, 0, 64), False),
    ("setsockopt", (5, 41, 36), False), ("setsockopt", (5, 270, 1), False), ("setsockopt", (5, 1, 50), False),
]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="numbers of x86-64")
def test_sixteen_system_calls_are_allowed_and_the_dangerous_ones_by_argument(start):
    helper = start()
    calls = Filter(helper.pid)
    allowed = {name for name, number in X86.items() if calls.allows(number)}
    free = CALLS - {"write", "openat", "ioctl", "socket", "setsockopt"}
    assert allowed == free
    others = [number for number in range(600) if calls.allows(number) and number not in X86.values()]
    assert others == []
    wrong = [row for row in ARGUMENTS if calls.allows(X86[row[0]], row[1]) != row[2]]
    assert wrong == []
    # what the kernel does not look at (the upper half of an int) opens no way around
    assert not calls.allows(X86["socket"], (1 << 32 | 1,))
