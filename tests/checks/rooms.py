#!/usr/bin/python3
"""Which room may include what (docs/architecture.md).

privileged/ and unprivileged/ never see each other. ipc/ sees nothing of ours. A core room sees only the rooms below it,
no event loop and no socket. The build runs this check and fails with it.
"""

import re

import tree

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)

# The core, lowest first. A room sees itself and the rooms before it; RESTRICTED narrows that.
CORE = ["base", "packet", "stun", "ice", "turn", "wireguard", "tunnel", "sockets", "dns", "portal", "gateway"]
RESTRICTED = {
    "ice": {"base", "packet", "stun"},
    "turn": {"base", "packet", "stun", "ice/candidate.h"},
}
# The front: the contract and what its sub-commands print or parse. It never runs the packet path.
FRONT = {"base", "packet", "stun", "turn", "sockets", "dns", "portal"}
# What lies beside main.c: the worker's half of the contract, what the front hands to the worker.
WORKER_HALF = {"helper_client.h", "boot.h"}
FRONT_HALF = {"helper_client.h", "boot.h", "caps.h", "stdout_log.h"}

# Not for the core: descriptors, clocks, threads, signals, the system's randomness, the event loop, TLS.
CORE_BANNED = re.compile(
    r"^(event2?/|event\.h|ev(http|dns|util|rpc)\.h|sys/(socket|un|epoll|eventfd|timerfd|signalfd|select|poll|ioctl|random)\.h"
    r"|netinet/|arpa/|net/|netdb\.h|poll\.h|pthread\.h|threads\.h|signal\.h|openssl/(ssl|bio)\.h|resolv\.h|ifaddrs\.h"
    r"|linux/|libmnl/|seccomp\.h|cap-ng\.h|systemd/)"
)
CORE_ALLOWED = {
    "unprivileged/packet/addr.c": re.compile(r"^arpa/inet\.h$"),
    # The codec of route messages: constants and attributes, no socket.
    "unprivileged/sockets/": re.compile(r"^(libmnl/libmnl\.h|linux/(netlink|rtnetlink|if_link|if_addr|if|neighbour|fib_rules)\.h)$"),
}
# Not for the helper and the contract either: whatever parses what a peer sent.
HELPER_BANNED = re.compile(r"^(event2?/|event\.h|ev(http|dns|util)\.h|openssl/|cjson/|ldns/|wslay/|sodium)")


def room_of(path):
    """('privileged', None), ('core', 'stun'), ('loop', None), ('worker', None), ... or None for tests and others."""
    parts = path.parts
    if parts[0] in ("ipc", "privileged"):
        return parts[0], None
    if parts[0] != "unprivileged":
        return None
    if len(parts) == 2:
        return "worker", None
    if parts[1] in CORE:
        return "core", parts[1]
    return parts[1], None


def resolve(root, source, name):
    """The file of ours that an include means, relative to root, or None for a system header."""
    for base in (root / source.parent, root / "unprivileged", root):
        target = (base / name).resolve()
        if target.is_file() and target.is_relative_to(root):
            return target.relative_to(root)
    return None


def core_may(room, target):
    other = room_of(target)
    if other is None or other[0] != "core":
        return False
    if other[1] == room:
        return True
    if room in RESTRICTED:
        return other[1] in RESTRICTED[room] or "/".join(target.parts[1:]) in RESTRICTED[room]
    return CORE.index(other[1]) < CORE.index(room)


def may_include(source, target):
    """Whether a file of one of our rooms may include another file of ours."""
    kind, room = room_of(source)
    other = room_of(target)
    if other is None:
        return False
    if kind == "ipc":
        return other[0] == "ipc"
    if kind == "privileged":
        return other[0] in ("ipc", "privileged")
    if kind == "core":
        return core_may(room, target)
    if kind == "loop":
        return other[0] in ("core", "loop", "ipc") or (other[0] == "worker" and target.name in WORKER_HALF)
    if kind == "front":
        return (other[0] in ("front", "ipc") or other[1] in FRONT
                or (other[0] == "worker" and target.name in FRONT_HALF))
    return kind == "worker" and other[0] != "privileged"


def system_banned(source, name):
    kind, _ = room_of(source)
    path = source.as_posix()
    if kind == "core" and CORE_BANNED.match(name):
        return not any(path.startswith(where) and allowed.match(name) for where, allowed in CORE_ALLOWED.items())
    return kind in ("ipc", "privileged") and bool(HELPER_BANNED.match(name))


def known(source):
    kind, _ = room_of(source)
    return kind in ("ipc", "privileged", "worker", "core", "loop", "front")


def check(root):
    found = tree.Findings()
    sources = tree.files(root, (".c", ".h"), ("ipc", "privileged", "unprivileged"))
    for source in sources:
        if not known(source):
            found.add(source, 0, "lies in a folder that is no room")
            continue
        body = tree.text(root / source)
        for match in INCLUDE.finditer(body):
            line = body.count("\n", 0, match.start(2)) + 1
            quote, name = match.groups()
            target = resolve(root, source, name)
            if target is None and quote == '"':
                found.add(source, line, f'includes "{name}", which is no file of the tree')
            elif target is None and system_banned(source, name):
                found.add(source, line, f"includes <{name}>, which this room must not use")
            elif target is not None and not may_include(source, target):
                found.add(source, line, f"includes {target}, which this room must not see")
    return found.finish("rooms", len(sources))


if __name__ == "__main__":
    tree.main(check, __doc__)
