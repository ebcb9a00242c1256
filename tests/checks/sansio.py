#!/usr/bin/python3
"""The core calls nothing that has an fd, a clock, a thread or randomness behind it.

Reads the undefined symbols of the core rooms' static libraries in a build folder (built without link-time optimisation).
"""

import pathlib
import re
import subprocess
import sys

import rooms
import tree

BANNED = re.compile(
    r"^(__)?(socket(pair)?|bind|connect|listen|accept4?|(send|recv)(msg|mmsg|to|from)?|[gs]etsockopt|shutdown|poll|ppoll"
    r"|p?select|epoll_\w+|open(at)?(64)?|creat|read|write|readv|writev|pread|pwrite|close|ioctl|fcntl(64)?|f?open(64)?|popen"
    r"|getaddrinfo|getnameinfo|gethostby\w+|clock_gettime|clock_gettime64|gettimeofday|time|ftime|nanosleep|usleep|sleep|alarm"
    r"|timer_\w+|timerfd_\w+|rand|rand_r|random|srand|srandom|[dlm]rand48|getrandom|getentropy|arc4random\w*"
    r"|pthread_create|thrd_create|fork|vfork|exec\w+|system|signal|sigaction|kill|event_\w+|evbuffer_\w+|bufferevent_\w+"
    r"|evhttp_\w+|evdns_\w+|SSL_\w+|BIO_s_\w+|mnl_socket_\w+|ldns_(resolver|tcp|udp|send)_\w+|getenv|secure_getenv)(_chk)?$"
)
# The injected randomness of the real process starts from the system's.
ALLOWED = {
    "base": re.compile(r"^(randombytes_\w+)$"),
}


def undefined(library):
    done = subprocess.run(["nm", "--undefined-only", "--portability", str(library)], capture_output=True, text=True,
                          check=True)
    symbols = set()
    member = library.name
    for line in done.stdout.splitlines():
        if line.endswith(":"):
            member = line.rstrip(":").split("[")[-1].rstrip("]")
        elif line:
            symbols.add((member, line.split()[0].split("@")[0]))
    return symbols


def check(build):
    found = tree.Findings()
    seen = 0
    for room in rooms.CORE:
        library = build / "unprivileged" / room / f"lib{room}.a"
        if not library.is_file():
            found.add(library.relative_to(build), 0, "is not built")
            continue
        seen += 1
        for member, symbol in sorted(undefined(library)):
            if BANNED.match(symbol) and not (room in ALLOWED and ALLOWED[room].match(symbol)):
                found.add(f"{room}/{member}", 0, f"calls {symbol}()")
    return found.finish("sans-io", seen)


if __name__ == "__main__":
    sys.exit(check(pathlib.Path(sys.argv[1]).resolve()))
