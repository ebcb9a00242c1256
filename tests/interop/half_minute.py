"""Three clients that are watched for half a minute while something else is tested: a busy one and two idle ones.

The idle ones say something to a program behind the gateway, which answers at once, and again when they have long been
idle; then they speak again.
"""

import re
import subprocess
import time

import lab as lab_module
import net
from traffic import Traffic

SECONDS = 27
HOSTS = ("10.20.0.11", "10.20.0.12", "10.20.0.13")
KINDS = {"relayed": "gateway-relay", "direct": "any"}
ANSWERER = f"""
import asyncio, sys
class Late(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport
    def datagram_received(self, data, addr):
        self.transport.sendto(b"now", addr)
        asyncio.get_running_loop().call_later({SECONDS}, self.transport.sendto, b"late", addr)
async def main():
    for address in sys.argv[1:]:
        await asyncio.get_running_loop().create_datagram_endpoint(Late, local_addr=(address, 7))
    await asyncio.sleep(200)
asyncio.run(main())
"""
# Prints the seconds from its first word to both answers, and from its second word to the answer.
ASKER = f"""
import socket, sys, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout({SECONDS + 6})
sock.connect((sys.argv[1], 7))
for answers in (2, 1):
    sock.send(b"?")
    started = time.monotonic()
    for _ in range(answers):
        sock.recv(10)
        print(time.monotonic() - started, flush=True)
"""


class HalfMinute:
    def __init__(self, lab, run):
        """The clients outlive the test that starts them; end() ends them."""
        self.lab, self.run, self.clients, self.askers = lab, run, [], {}
        lab.net.ip("lan", *(f"addr add {host}/24 dev eth0" for host in HOSTS))
        lab.net.spawn("answerer", "lan", net.PYTHON, "-c", ANSWERER, *HOSTS)
        self.busy = Traffic(lab, run, self.client, "gateway-relay", host=HOSTS[0])
        self.busy.labels[0] = "busy"
        self.busy.ping()
        for host, (kind, paths) in zip(HOSTS[1:], KINDS.items()):
            idle = self.client(paths=paths, roaming=True)
            assert idle.flow(lab_module.resource_of(host))["pair"]["kind"] == kind
            idle.gets_page(host)
            self.askers[kind] = subprocess.Popen(
                lab.net.inside("client", net.PYTHON, "-c", ASKER, host), stdin=subprocess.DEVNULL, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=net.clean_env())
        self.until = time.monotonic() + SECONDS

    def client(self, **kind):
        client = self.lab.client(**kind)
        self.lab.clients.remove(client)
        self.clients.append(client)
        return client

    def answers(self):
        """kind -> (seconds the late answer was later than sent, seconds of the answer after the idle time)."""
        found = {}
        for kind, asker in self.askers.items():
            output, errors = asker.communicate(timeout=SECONDS + 12)
            _, late, again = map(float, output.split()) if output.count("\n") == 3 else (0, float("inf"), errors)
            found[kind] = (late - SECONDS, again)
        return found

    def silence(self):
        """The longest time between two replies to the busy client."""
        replies = self.busy.replies()
        return max(second - first for first, second in zip(replies, replies[1:]))

    def refreshed(self):
        """How often the relay has prolonged an allocation of the gateway's, and refused its nonce."""
        log = self.lab.net.log("coturn")
        return len(re.findall("refreshed,.*username=<gateway>", log)), len(re.findall("user <gateway>.*error 438", log))

    def end(self):
        self.lab.net.end("busy")
        for asker in self.askers.values():
            asker.kill()
            asker.communicate()
        for client in self.clients:
            client.close()
