"""A name server for test_sockets.py and test_names.py: every name has one address of each kind, and there are troublesome ways
to say so.

Usage: name_server.py ADDRESS LOG. Each query is one line of the log: its source port, type and name. A line on standard input
chooses how it goes on:

    mode good      as it was at the start
    mode stray     every answer comes after datagrams that are none: from another port, with another id, for another question,
                   with an address that is wrong, and garbage
    mode lie       the same, but no answer comes
    mode servfail  every answer says so
"""

import selectors
import socket
import struct
import sys

A, AAAA = 1, 28
SERVFAIL = 2


def name_of(query):
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode())
        at += 1 + query[at]
    return ".".join(labels), struct.unpack_from(">H", query, at + 1)[0], at + 5


def refusal(query, end, rcode):
    return query[:2] + struct.pack(">HHHHH", 0x8180 | rcode, 1, 0, 0, 0) + query[12:end]


def answer(query, end, kind, address):
    rdata = socket.inet_pton(socket.AF_INET if kind == A else socket.AF_INET6, address)
    return (query[:2] + struct.pack(">HHHHH", 0x8180, 1, 1, 0, 0) + query[12:end] +
            b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 0, len(rdata)) + rdata)


def strays(server, others, query, end, kind, source):
    """What an off-path attacker or a confused host might send; the wrong address in all of it."""
    wrong = answer(query, end, kind, "198.51.100.66" if kind == A else "2001:db8:bad::1")
    for other in others:
        other.sendto(wrong, source)
    server.sendto(bytes([wrong[0] ^ 1]) + wrong[1:], source)
    server.sendto(wrong[:14] + b"X" + wrong[15:], source)
    server.sendto(b"", source)
    server.sendto(wrong[:20], source)


def main():
    address, log = sys.argv[1], open(sys.argv[2], "w", buffering=1, encoding="ascii")
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    server.bind((address, 53))
    others = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
    others[0].bind((address, 5353))
    mode = "good"
    selector = selectors.DefaultSelector()
    selector.register(server, selectors.EVENT_READ)
    selector.register(sys.stdin, selectors.EVENT_READ)
    print("ready", flush=True)
    while True:
        for key, _ in selector.select():
            if key.fileobj is sys.stdin:
                line = sys.stdin.readline()
                if not line:
                    return
                mode = line.split()[1]
                print("ok", flush=True)
                continue
            query, source = server.recvfrom(4096)
            name, kind, end = name_of(query)
            log.write(f"{source[1]} {kind} {name}\n")
            if mode in ("stray", "lie"):
                strays(server, others, query, end, kind, source)
            if mode == "servfail":
                server.sendto(refusal(query, end, SERVFAIL), source)
            elif mode != "lie":
                server.sendto(answer(query, end, kind, "203.0.113.7" if kind == A else "2001:db8:5::7"), source)


if __name__ == "__main__":
    main()
