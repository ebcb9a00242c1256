#!/usr/bin/python3
"""Makes seeds of the connection layer's fuzz targets from tests/data, one for each shape of message there.

Writes tests/fuzz/seeds/<target>/recorded_* and vector_*; run it again after the data or a target's input has changed.
"""

import json
import pathlib
import re
import struct
import sys

HERE = pathlib.Path(__file__).resolve().parent
DATA = HERE.parent / "data"
COOKIE = bytes.fromhex("2112a442")
IPV4, UDP, TURN_PORT = 0x0800, 17, 3478
# fuzz_wireguard.c: the datagram as it stands; with the right MAC1; a data message to the live session.
RAW, STAMPED, TO_SESSION = 0, 1, 3
# fuzz_turn.c: a pause of milliseconds; an answer to the latest request by index of error codes; what it holds, as bits.
PAUSE, ANSWER = 0, 9
CODES = {0: 0, 400: 3, 401: 4, 437: 5, 438: 6, 420: 7, 486: 8, 508: 9, 441: 10}
HOLDS = {0x0015: 1, 0x0014: 2, 0x0016: 4, 0x0020: 16, 0x000d: 32}
UNSIGNED, FINGERPRINT = 64, 128


def datagrams(path):
    """(source port, destination port, payload) of the IPv4 UDP packets of a capture."""
    data = path.read_bytes()
    order = "<" if data[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    link, at = struct.unpack(order + "I", data[20:24])[0], 24
    while at + 16 <= len(data):
        captured = struct.unpack(order + "I", data[at + 8:at + 12])[0]
        frame = data[at + 16:at + 16 + captured]
        at += 16 + captured
        head = {1: 14, 113: 16, 276: 20}[link]
        ip = frame[head:]
        if len(ip) < 28 or ip[0] >> 4 != 4 or ip[9] != UDP:
            continue
        udp = ip[(ip[0] & 15) * 4:]
        yield struct.unpack("!HH", udp[:4]) + (udp[8:struct.unpack("!H", udp[4:6])[0]],)


def attributes(message):
    """[(type, value)] of a STUN message."""
    found, at = [], 20
    while at + 4 <= len(message):
        kind, length = struct.unpack("!HH", message[at:at + 4])
        found.append((kind, message[at + 4:at + 4 + length]))
        at += 4 + (length + 3) // 4 * 4
    return found


def is_stun(data):
    return len(data) >= 20 and data[0] < 4 and data[4:8] == COOKIE


def is_wireguard(data):
    return len(data) >= 32 and data[0] in (1, 2, 3, 4) and data[1:4] == bytes(3)


def is_channel_data(data):
    return len(data) >= 4 and 0x40 <= data[0] < 0x80 and struct.unpack("!H", data[2:4])[0] + 4 == len(data)


def shape(data):
    """Messages of one shape are one seed."""
    if is_stun(data):
        return data[:2], tuple((kind, len(value)) for kind, value in attributes(data))
    return data[:1], len(data) // 48


def texts(value):
    """Every string in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from texts(inner)


def answer_of(message):
    """A relay's answer as an operation of fuzz_turn."""
    held = dict(attributes(message))
    code = held[9][2] * 100 + held[9][3] if 9 in held else 0
    what = sum(bit for kind, bit in HOLDS.items() if kind in held)
    what |= (0 if 8 in held else UNSIGNED) | (FINGERPRINT if 0x8028 in held else 0)
    more = min(struct.unpack("!I", held[0x000d])[0] // 10, 255) if 0x000d in held else 60
    return bytes([ANSWER, 0, CODES.get(code, 3), what, more])


class Seeds:
    def __init__(self):
        self.shapes, self.files = set(), {}

    def add(self, target, prefix, data, key=None):
        key = (target, key if key is not None else data)
        if key not in self.shapes:
            self.shapes.add(key)
            number = sum(1 for other in self.files if other.startswith(f"{target}/{prefix}_"))
            self.files[f"{target}/{prefix}_{number:02}"] = data

    def datagram(self, prefix, data):
        if is_stun(data):
            self.add("stun", prefix, data, shape(data))
        elif is_wireguard(data):
            mode = TO_SESSION if data[0] == 4 else STAMPED if data[0] in (1, 2) else RAW
            self.add("wireguard", prefix, bytes([RAW]) + data, ("raw", shape(data)))
            self.add("wireguard", prefix, bytes([mode]) + data, (mode, shape(data)))
        elif is_channel_data(data):
            self.add("channel_data", prefix, data, shape(data))

    def recording(self, path):
        life = bytes([0])
        for source, _, data in datagrams(path.with_suffix(".pcap")):
            self.datagram("recorded", data)
            if is_channel_data(data):
                self.datagram("recorded", data[4:])
            if is_stun(data) and source == TURN_PORT and data[0] == 1 and len(life) < 1000:
                life += answer_of(data) + bytes([PAUSE, 0, 250])
        self.add("turn", "recorded", life)
        for line in path.read_text(encoding="utf-8").splitlines():
            for text in texts(json.loads(line)):
                if text.startswith("candidate:"):
                    self.add("candidate", "recorded", text.encode(), re.sub(r"\d+", "0", re.sub(r":\w+", "", text)))

    def vectors(self, path):
        for text in texts(json.loads(path.read_text(encoding="utf-8"))):
            if "candidate:" in text:
                self.add("candidate", "vector", text.encode())
            elif len(text) >= 8 and len(text) % 2 == 0 and re.fullmatch(r"[0-9a-f]+", text):
                self.datagram("vector", bytes.fromhex(text))

    def write(self):
        for old in (HERE / "seeds").glob("*/*"):
            if re.fullmatch(r"(recorded|vector)_\d\d", old.name):
                old.unlink()
        for name, data in self.files.items():
            (HERE / "seeds" / name).write_bytes(data)


def main():
    seeds = Seeds()
    for path in sorted((DATA / "vectors").glob("connections-*.json")):
        seeds.vectors(path)
    for path in sorted((DATA / "recordings").glob("*.jsonl")):
        seeds.recording(path)
    seeds.write()
    for target in sorted({name.split("/")[0] for name in seeds.files}):
        print(target, sum(1 for name in seeds.files if name.startswith(target + "/")))


if __name__ == "__main__":
    sys.exit(main())
