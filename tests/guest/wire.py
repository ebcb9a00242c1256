"""WireGuard's datagrams on the guest's network card.

    wire.py count       {"out|in TYPE PORT": number} as JSON; PORT is the guest's
    wire.py replay      sends all that left once more, in the same order; their types as JSON

It listens while /run/wire, which it makes, is there.
"""

import collections
import json
import pathlib
import socket
import sys

LISTENING = pathlib.Path("/run/wire")
UDP_AT = 14 + 20                 # behind Ethernet and an IPv4 header without options
OUTGOING = 4                     # PACKET_OUTGOING


def watch(sock):
    """(direction, message type, frame) of each."""
    sock.settimeout(0.2)
    LISTENING.touch()
    seen = []
    while LISTENING.exists():
        try:
            frame, (_, _, kind, _, _) = sock.recvfrom(2048)
        except TimeoutError:
            continue
        body = frame[UDP_AT + 8:]
        udp = frame[12:15] == b"\x08\x00\x45" and frame[23] == socket.IPPROTO_UDP
        if udp and len(body) >= 32 and 1 <= body[0] <= 4 and body[1:4] == bytes(3):
            seen.append(("out" if kind == OUTGOING else "in", body[0], frame))
    return seen


def local_port(direction, frame):
    return int.from_bytes(frame[UDP_AT:UDP_AT + 2] if direction == "out" else frame[UDP_AT + 2:UDP_AT + 4], "big")


def main():
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as sock:
        sock.bind(("eth0", 3))
        seen = watch(sock)
        if sys.argv[1] == "count":
            print(json.dumps(collections.Counter(f"{direction} {kind} {local_port(direction, frame)}"
                                                 for direction, kind, frame in seen)))
            return
        sent = [(kind, frame) for direction, kind, frame in seen if direction == "out"]
        for _, frame in sent:
            # The card was to fill the checksum in; zero stands for none.
            sock.send(frame[:UDP_AT + 6] + bytes(2) + frame[UDP_AT + 8:])
        print(json.dumps([kind for kind, _ in sent]))


if __name__ == "__main__":
    main()
