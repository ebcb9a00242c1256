"""Every check can fail: each is shown a small tree that breaks one rule, and one that breaks none."""

import pathlib
import shutil
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import elf  # noqa: E402
import parsers  # noqa: E402
import rooms  # noqa: E402
import sansio  # noqa: E402
import sizes  # noqa: E402
import words  # noqa: E402

GOOD = {
    "ipc/ipc.h": "",
    "ipc/ipc.c": '#include "ipc/ipc.h"\n#include <sys/socket.h>\n',
    "privileged/tun.h": "",
    "privileged/tun.c": '#include "tun.h"\n#include "ipc/ipc.h"\n#include <sys/ioctl.h>\n',
    "unprivileged/base/defs.h": "",
    "unprivileged/packet/bytes.h": '#include "base/defs.h"\n',
    "unprivileged/packet/addr.c": '#include "packet/bytes.h"\n#include <arpa/inet.h>\n',
    "unprivileged/stun/stun.h": '#include "packet/bytes.h"\n',
    "unprivileged/ice/candidate.h": '#include "stun/stun.h"\n',
    "unprivileged/ice/ice.h": '#include "ice/candidate.h"\n',
    "unprivileged/turn/turn.h": '#include "ice/candidate.h"\n#include "stun/stun.h"\n',
    "unprivileged/sockets/netlink.c": "#include <libmnl/libmnl.h>\n#include <linux/rtnetlink.h>\n",
    "unprivileged/gateway/gateway.h": '#include "turn/turn.h"\n',
    "unprivileged/loop/loop.h": '#include "gateway/gateway.h"\n#include "ipc/ipc.h"\n#include <event2/event.h>\n',
    "unprivileged/front/main.c": '#include "base/defs.h"\n#include "ipc/ipc.h"\n',
    "unprivileged/main.c": '#include "loop/loop.h"\n',
}


def tree_of(folder, changes):
    for name, body in {**GOOD, **changes}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(body)
    return folder


def test_rooms_accepts_what_is_allowed(tmp_path):
    assert rooms.check(tree_of(tmp_path, {})) == 0


@pytest.mark.parametrize("name,body", [
    ("privileged/tun.c", '#include "base/defs.h"\n'),
    ("privileged/tun.c", '#include "../unprivileged/stun/stun.h"\n'),
    ("privileged/tun.c", "#include <unprivileged/stun/stun.h>\n"),
    ("privileged/tun.c", "#include <openssl/ssl.h>\n"),
    ("unprivileged/main.c", '#include "privileged/tun.h"\n'),
    ("unprivileged/loop/loop.h", '#include "../../privileged/tun.h"\n'),
    ("unprivileged/front/main.c", '#include "privileged/tun.h"\n'),
    ("unprivileged/front/main.c", '#include "loop/loop.h"\n'),
    ("unprivileged/front/main.c", '#include "gateway/gateway.h"\n'),
    ("ipc/ipc.c", '#include "base/defs.h"\n'),
    ("ipc/ipc.c", '#include "privileged/tun.h"\n'),
    ("unprivileged/stun/stun.h", '#include "ipc/ipc.h"\n'),
    ("unprivileged/stun/stun.h", "#include <event2/event.h>\n"),
    ("unprivileged/stun/stun.h", "  #  include <sys/socket.h>\n"),
    ("unprivileged/stun/stun.h", "#include <netinet/in.h>\n"),
    ("unprivileged/stun/stun.h", "#include <arpa/inet.h>\n"),
    ("unprivileged/packet/other.c", "#include <arpa/inet.h>\n"),
    ("unprivileged/packet/addr.c", "#include <sys/socket.h>\n"),
    ("unprivileged/dns/dns.c", "#include <libmnl/libmnl.h>\n"),
    ("unprivileged/base/defs.h", '#include "packet/bytes.h"\n'),
    ("unprivileged/stun/stun.h", '#include "ice/ice.h"\n'),
    ("unprivileged/ice/ice.h", '#include "turn/turn.h"\n'),
    ("unprivileged/turn/turn.h", '#include "ice/ice.h"\n'),
    ("unprivileged/gateway/gateway.h", '#include "loop/loop.h"\n'),
    ("unprivileged/gateway/gateway.h", '#include "missing/missing.h"\n'),
    ("unprivileged/elsewhere/new.c", ""),
])
def test_rooms_refuses(tmp_path, name, body):
    assert rooms.check(tree_of(tmp_path, {name: body})) == 1


def test_a_violation_fails_the_build(tmp_path):
    tree_of(tmp_path, {"privileged/tun.c": '#include "base/defs.h"\n'})
    shutil.copytree(HERE, tmp_path / "tests/checks")
    shutil.copytree(HERE.parents[1] / "cmake", tmp_path / "cmake")
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.25)\nproject(x NONE)\ninclude(cmake/Checks.cmake)\n")
    subprocess.run(["cmake", "-G", "Ninja", "-B", tmp_path / "build", "-S", tmp_path], check=True, capture_output=True)
    built = subprocess.run(["cmake", "--build", tmp_path / "build"], check=False, capture_output=True, text=True)
    assert built.returncode != 0
    assert "privileged/tun.c:1: includes unprivileged/base/defs.h" in built.stdout


def test_sizes_refuses_a_long_file(tmp_path):
    assert sizes.check(tree_of(tmp_path, {})) == 0
    assert sizes.check(tree_of(tmp_path, {"unprivileged/main.c": "\n" * 801})) == 1


@pytest.mark.parametrize("name,lines", [("privileged/tun.c", 901), ("ipc/ipc.c", 1301)])
def test_sizes_refuses_a_large_helper(tmp_path, name, lines):
    # In files of 700 lines, so that only the sum is too large.
    code = {f"{name[:-2]}{i}.c": "int x;\n" * min(700, lines - 700 * i) for i in range(lines // 700 + 1)}
    assert sizes.check(tree_of(tmp_path, code)) == 1


def test_sizes_does_not_count_comments(tmp_path):
    assert sizes.check(tree_of(tmp_path, {f"privileged/a{i}.c": "/* x */\n" * 700 for i in range(3)})) == 0


def test_parsers_wants_a_target_and_seeds(tmp_path):
    reads = {"unprivileged/stun/stun.c": "v = rd_u16(&r);\n"}
    target = {"tests/fuzz/fuzz_stun.c": '#include "stun/stun.h"\n'}
    assert parsers.check(tree_of(tmp_path / "a", reads)) == 1
    assert parsers.check(tree_of(tmp_path / "b", {**reads, **target})) == 1
    assert parsers.check(tree_of(tmp_path / "c", {**reads, **target, "tests/fuzz/seeds/stun/one": "x"})) == 0


@pytest.mark.parametrize("line", ["/* TODO: more */", "/* FIXME */", "/* for now */", "int stub(void);",
                                  '"/work/' 'here"'])
def test_words_refuses(tmp_path, line):
    assert words.check(tree_of(tmp_path, {"unprivileged/main.c": line + "\n"})) == 1


def test_words_accepts_a_stub_resolver(tmp_path):
    assert words.check(tree_of(tmp_path, {"unprivileged/main.c": "/* systemd's stub resolver */\n"})) == 0


def library(folder, room, body):
    place = folder / "unprivileged" / room
    place.mkdir(parents=True, exist_ok=True)
    (place / "x.c").write_text(body)
    subprocess.run(["gcc", "-c", "x.c", "-o", "x.o"], cwd=place, check=True)
    subprocess.run(["ar", "rcs", f"lib{room}.a", "x.o"], cwd=place, check=True)


@pytest.mark.parametrize("body,status", [
    ("int f(int a) { return a + 1; }\n", 0),
    ("#include <time.h>\ntime_t f(void) { return time(0); }\n", 1),
    ("#include <sys/socket.h>\nint f(void) { return socket(1, 2, 0); }\n", 1),
    ("#include <stdlib.h>\nint f(void) { return rand(); }\n", 1),
    ("#include <unistd.h>\nlong f(char *b) { return read(0, b, 1); }\n", 1),
])
def test_sansio_reads_the_libraries(tmp_path, body, status):
    for room in rooms.CORE:
        library(tmp_path, room, "int g(void) { return 0; }\n")
    library(tmp_path, "stun", body)
    assert sansio.check(tmp_path) == status


def test_sansio_misses_a_room_that_is_not_built(tmp_path):
    assert sansio.check(tmp_path) == 1


PROGRAM = """
#include <stdio.h>
#include <string.h>
int main(int argc, char **argv)
{
	char name[64];
	strcpy(name, argv[argc - 1]);
	return printf("%s", name) < 0;
}
"""
HARDENED = ("-O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -fstack-protector-strong -fcf-protection=full -fPIE -pie "
            "-Wl,-z,relro,-z,now,-z,noexecstack,-z,separate-code").split()


def program(folder, *flags):
    (folder / "x.c").write_text(PROGRAM)
    subprocess.run(["gcc", "x.c", "-o", "x", *flags], cwd=folder, check=True, capture_output=True)
    return folder / "x"


def test_elf_accepts_a_hardened_program(tmp_path):
    assert list(elf.problems(program(tmp_path, *HARDENED))) == []


@pytest.mark.parametrize("flags,problem", [
    (["-no-pie", "-fno-pie"], "is not a position-independent executable"),
    (["-Wl,-z,norelro"], "has no read-only relocations"),
    (["-Wl,-z,lazy"], "binds lazily"),
    (["-Wl,-z,execstack"], "has an executable stack"),
    (["-Wl,-z,noseparate-code"], "has data in its executable segment"),
    (["-Wl,-rpath,/tmp"], "names a library path"),
    (["-fno-stack-protector"], "has no stack protector"),
    (["-D_FORTIFY_SOURCE=0", "-U_FORTIFY_SOURCE"], "has no fortified call"),
    (["-fcf-protection=none"], "has no landing pads for indirect branches"),
])
def test_elf_sees_a_missing_protection(tmp_path, flags, problem):
    assert problem in list(elf.problems(program(tmp_path, *HARDENED, *flags)))


def test_elf_refuses_a_missing_file(tmp_path):
    assert elf.check([tmp_path / "nothing"]) == 1


def test_format_sees_a_badly_laid_out_file(tmp_path):
    shutil.copytree(HERE, tmp_path / "tests/checks")
    shutil.copy(HERE.parents[1] / ".clang-format", tmp_path)
    tree_of(tmp_path, {"unprivileged/main.c": "int  main ( void ) { return 0; }\n"})
    script = tmp_path / "tests/checks/format.sh"
    assert subprocess.run([script], capture_output=True, check=False).returncode != 0
    subprocess.run([script, "--fix"], check=True)
    assert subprocess.run([script], capture_output=True, check=False).returncode == 0
