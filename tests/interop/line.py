#!/usr/bin/python3
"""A bad line between two namespaces: this program carries every packet, loses, delays and reorders some.

    line.py CONFIG.json

It is there because a kernel may lack netem, whose words and meaning it takes: each direction loses a packet with
probability `loss`; holds it for `delay` seconds, unless, with probability `reorder` (which depends on the last one by
`correlation`), it overtakes all that are held. The seed makes the choices the same for the same packets.

Configuration: ends ([[namespace, interface], ...]: made here as TUN devices, without addresses), control (its socket:
each datagram is the JSON of settings, answered with the counts since the last one), seed.
"""

import asyncio
import ctypes
import fcntl
import json
import os
import random
import socket
import struct
import sys

CLONE_NEWNET = 0x40000000
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 1, 0x1000
BATCH = 32


def open_end(namespace, interface):
    """The TUN device of one end; leaves this process in its namespace."""
    with open(f"/run/netns/{namespace}") as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns {namespace}")
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", interface.encode(), IFF_TUN | IFF_NO_PI))
    return tun


class Direction:
    def __init__(self, source, target, seed):
        self.source, self.target, self.random = source, target, random.Random(seed)
        self.last = 0.0
        self.change({})

    def change(self, settings):
        """Takes new settings; what became of the packets since the last ones."""
        counts = getattr(self, "counts", {})
        self.settings = {"loss": 0, "delay": 0, "reorder": 0, "correlation": 0, **settings}
        self.counts = {"packets": 0, "lost": 0, "early": 0}
        return counts

    def readable(self):
        for _ in range(BATCH):
            try:
                packet = os.read(self.source, 65535)
            except OSError:
                return
            self.carry(packet)

    def carry(self, packet):
        settings = self.settings
        self.counts["packets"] += 1
        if self.random.random() < settings["loss"]:
            self.counts["lost"] += 1
        elif settings["delay"] and not self.overtakes():
            asyncio.get_running_loop().call_later(settings["delay"], self.write, packet)
        else:
            self.write(packet)

    def overtakes(self):
        kept = self.settings["correlation"]
        self.last = self.random.random() * (1 - kept) + self.last * kept
        early = self.last < self.settings["reorder"]
        self.counts["early"] += early
        return early

    def write(self, packet):
        try:
            os.write(self.target, packet)
        except OSError:              # its queue is full, or it is down
            self.counts["lost"] += 1


async def main():
    with open(sys.argv[1]) as file:
        config = json.load(file)
    first, second = (open_end(*end) for end in config["ends"])
    directions = [Direction(first, second, config["seed"]), Direction(second, first, config["seed"] + 1)]
    loop = asyncio.get_running_loop()
    for direction in directions:
        loop.add_reader(direction.source, direction.readable)
    control = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    control.bind(config["control"])
    control.setblocking(False)

    def asked():
        settings, sender = control.recvfrom(4096)
        counts = [direction.change(json.loads(settings)) for direction in directions]
        control.sendto(json.dumps({key: sum(count[key] for count in counts) for key in counts[0]}).encode(), sender)

    loop.add_reader(control, asked)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
