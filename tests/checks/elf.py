#!/usr/bin/python3
"""Reads the hardening back from installed binaries: what the compiler was told counts only when the file has it.

elf.py FILE...: position independent, read-only relocations and immediate binding, no executable stack, no segment that
is writable and executable, code apart from data, stack protector, fortified calls, landing pads for indirect branches (on
x86-64; the file's control-flow note says nothing on Debian 12, whose start-up objects lack it).
"""

import pathlib
import platform
import re
import subprocess
import sys

import tree

STARTUP_PADS = 2  # of the compiler's own start-up objects


def readelf(path, *options):
    return subprocess.run(["readelf", "-W", *options, str(path)], capture_output=True, text=True, check=True,
                          env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"}).stdout


def segments(path):
    """(type, flags, names of the sections inside) of each program header."""
    text = readelf(path, "-l")
    rows = re.findall(r"^  (\w+) +0x\S+ 0x\S+ 0x\S+ 0x\S+ 0x\S+ (.{3}) ", text, re.M)
    inside = re.findall(r"^   (\d\d) +(.*)$", text, re.M)
    return [(kind, flags, inside[i][1].split() if i < len(inside) else []) for i, (kind, flags) in enumerate(rows)]


def landing_pads(path):
    code = subprocess.run(["objdump", "-d", str(path)], capture_output=True, text=True, check=True).stdout
    return code.count("endbr64")


def problems(path):
    """Sentences on what the file lacks."""
    parts = segments(path)
    dynamic = readelf(path, "-d")
    symbols = set(re.findall(r"\sUND\s+(\w+)", readelf(path, "--dyn-syms")))
    loads = [(flags, names) for kind, flags, names in parts if kind == "LOAD"]

    if not re.search(r"Type:\s+DYN", readelf(path, "-h")) or "INTERP" not in [kind for kind, _, _ in parts]:
        yield "is not a position-independent executable"
    if "GNU_RELRO" not in [kind for kind, _, _ in parts]:
        yield "has no read-only relocations"
    if not re.search(r"BIND_NOW|Flags:.*\bNOW\b", dynamic):
        yield "binds lazily"
    stack = [flags for kind, flags, _ in parts if kind == "GNU_STACK"]
    if not stack or "E" in stack[0]:
        yield "has an executable stack"
    if any("W" in flags and "E" in flags for _, flags, _ in parts):
        yield "has a segment that is writable and executable"
    if any("E" in flags and {".rodata", ".eh_frame", ".dynsym"} & set(names) for flags, names in loads):
        yield "has data in its executable segment"
    if re.search(r"TEXTREL", dynamic):
        yield "relocates its code"
    if re.search(r"\((RPATH|RUNPATH)\)", dynamic):
        yield "names a library path"
    if "__stack_chk_fail" not in symbols:
        yield "has no stack protector"
    if not any(re.fullmatch(r"__\w+_chk", name) for name in symbols - {"__stack_chk_fail"}):
        yield "has no fortified call"
    if platform.machine() == "x86_64" and landing_pads(path) <= STARTUP_PADS:
        yield "has no landing pads for indirect branches"


def check(paths):
    found = tree.Findings()
    for path in paths:
        if not path.is_file():
            found.add(path, 0, "is not there")
            continue
        for problem in problems(path):
            found.add(path, 0, problem)
    return found.finish("elf", len(paths))


if __name__ == "__main__":
    sys.exit(check([pathlib.Path(name) for name in sys.argv[1:]]) if len(sys.argv) > 1 else 2)
