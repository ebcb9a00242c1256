#!/usr/bin/python3
"""The example of docs/gateway-api.md does what it says, and its program holds nothing but the core.

Runs the program given, compares what it prints, and reads which libraries and symbols it takes from outside: none of
sockets, clocks, threads, the event loop or JSON. A program with sanitizers or counters is only run: their runtime takes
all of that.
"""

import pathlib
import re
import subprocess
import sys

import sansio
import tree

SOURCE_LINES_MAX = 149
LIBRARIES = re.compile(r"^(libc|libcrypto|libsodium|ld-linux-x86-64)\.so")
# One of these lines after the other; more may stand between.
SAID = (
    r"relay: STUN method 1, class 0",
    r"relay: STUN method 3, class 0",
    r"portal: flow_authorized r1",
    r"portal: candidate:\w+ 1 udp \d+ 192\.0\.2\.10 52625 typ host ufrag ab3d",
    r"portal: candidate:\w+ 1 udp \d+ 203\.0\.113\.99 40000 typ srflx raddr 0\.0\.0\.0 rport 0 ufrag ab3d",
    r"portal: candidate:\w+ 1 udp \d+ 203\.0\.113\.7 50000 typ relay raddr 0\.0\.0\.0 rport 0 ufrag ab3d",
    r"client: STUN method 1, class 0",
    r"client: STUN method 1, class 2",
    r"after 30 s: 1 direct path, 1 relay",
)


def output_of(*command):
    words = [str(word) for word in command]
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout


def check(program):
    found = tree.Findings()
    lines = iter(output_of(program).splitlines())
    for wanted in SAID:
        if not any(re.fullmatch(wanted, line) for line in lines):
            found.add(program.name, 0, f'does not say "{wanted}" where it should')
    length = tree.text(tree.ROOT / "docs/example_gateway.c").count("\n")
    if length > SOURCE_LINES_MAX:
        found.add("docs/example_gateway.c", 0, f"{length} lines; at most {SOURCE_LINES_MAX}")
    taken = output_of("nm", "-D", "-P", "--undefined-only", program).splitlines()
    symbols = [line.split()[0].split("@")[0] for line in taken]
    if any(symbol.startswith(("__asan_", "__llvm_profile_")) for symbol in output_of("nm", "-P", program).split()):
        return found.finish("example", 1)
    for symbol in symbols:
        if sansio.BANNED.match(symbol):
            found.add(program.name, 0, f"takes {symbol}() from outside")
    for library in re.findall(r"\(NEEDED\).*\[(.+)\]", output_of("readelf", "-d", program)):
        if not LIBRARIES.match(library):
            found.add(program.name, 0, f"is linked with {library}")
    return found.finish("example", 1 + len(symbols))


if __name__ == "__main__":
    sys.exit(check(pathlib.Path(sys.argv[1]).resolve()))
