"""wireguard-go as one end of a tunnel, its datagrams carried by an aioice connection.

wireguard-go sends to a loopback socket of this program (the carrier), which hands each datagram to the selected pair,
and the other way round.
"""

import asyncio
import os
import socket
import subprocess

import net

MTU = 1280


def generate_key():
    """(private, public) as base64 text."""
    private = _wg("genkey")
    return private, _wg("pubkey", stdin=private)


class Carrier(asyncio.DatagramProtocol):
    """The loopback socket between wireguard-go and an ICE connection."""

    def __init__(self):
        self.transport = None
        self.wireguard = None        # wireguard-go's own socket
        self.ice = None
        self.sent = self.received = 0
        self.wanted = asyncio.Event()    # wireguard-go has something to send

    def connection_made(self, transport):
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, net.BUFFER)

    def attach(self, ice):
        """To be called once the connection is nominated; takes over its received datagrams, early ones included."""
        self.ice = ice
        ice.data_received = self.from_peer
        while not ice._queue.empty():
            self.from_peer(*ice._queue.get_nowait())

    def datagram_received(self, data, _addr):
        self.wanted.set()
        pair = self.ice and self.ice._nominated.get(1)
        if pair:
            self.sent += 1
            pair.protocol.transport.sendto(data, pair.remote_addr)

    def from_peer(self, data, _component):
        if data is not None and self.wireguard:
            self.received += 1
            self.transport.sendto(data, self.wireguard)


class Tunnel:
    def __init__(self, interface, private_key, program="wireguard-go"):
        self.interface, self.private_key, self.program = interface, private_key, program
        self.proc = None
        self.carrier = None
        self.peer = None

    async def start(self, addresses):
        await self.make_interface()
        for address in addresses:
            _ip("addr", "add", address, "dev", self.interface)
        _ip("link", "set", self.interface, "mtu", str(MTU), "up")
        _, self.carrier = await asyncio.get_running_loop().create_datagram_endpoint(
            Carrier, local_addr=("127.0.0.1", 0))

    async def make_interface(self):
        socket_path = f"/var/run/wireguard/{self.interface}.sock"
        if os.path.exists(socket_path):
            os.unlink(socket_path)
        self.proc = await asyncio.create_subprocess_exec(
            self.program, "-f", self.interface, env=net.clean_env(LOG_LEVEL="error", WG_PROCESS_FOREGROUND="1"))
        for _ in range(100):
            if os.path.exists(socket_path):
                break
            await asyncio.sleep(0.02)

    def configure(self, peer, preshared_key, allowed_ips, keepalive=0):
        """Sets the one peer; the first call starts no handshake by itself unless keepalive is given."""
        self.peer = peer
        port = self.carrier.transport.get_extra_info("sockname")[1]
        config = [f"[Interface]\nPrivateKey = {self.private_key}\n[Peer]\nPublicKey = {peer}",
                  f"PresharedKey = {preshared_key}", f"Endpoint = 127.0.0.1:{port}",
                  f"AllowedIPs = {', '.join(allowed_ips)}"]
        if keepalive:
            config.append(f"PersistentKeepalive = {keepalive}")
        _wg("setconf", self.interface, "/dev/stdin", stdin="\n".join(config) + "\n")
        self.carrier.wireguard = ("127.0.0.1", int(_wg("show", self.interface, "listen-port")))
        if self.proc:
            net.enlarge_buffers(self.proc.pid)

    def allow(self, allowed_ips):
        _wg("set", self.interface, "peer", self.peer, "allowed-ips", ",".join(allowed_ips))

    def route(self, prefix):
        _ip("route", "replace", prefix, "dev", self.interface)

    def counters(self):
        """{rx, tx, handshake}: bytes, bytes, Unix seconds of the last one (0: none)."""
        fields = _wg("show", self.interface, "dump").splitlines()[-1].split("\t")
        return {"handshake": int(fields[4]), "rx": int(fields[5]), "tx": int(fields[6])}

    async def stop(self):
        if self.proc and self.proc.returncode is None:
            self.proc.terminate()
            await self.proc.wait()


def _wg(*argv, stdin=None):
    return subprocess.run(["wg", *argv], input=stdin, check=True, stdout=subprocess.PIPE, text=True,
                          env=net.clean_env()).stdout.strip()


def _ip(*argv):
    subprocess.run(["ip", *argv], check=True, env=net.clean_env())
