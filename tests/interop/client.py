#!/usr/bin/python3
"""A client made of parts nobody here wrote: aioice for ICE and TURN, wireguard-go for the tunnel.

    client.py CONFIG.json

Runs in the client's namespace as root, makes one connection in its life, and is asked things on a unix socket (routes at the
end of this file). Its WireGuard key is fresh with each start, as a real client's.

Configuration: name, interface, control (its socket), portal (the portal's socket), id, ipv4, ipv6, turn (address),
turn_user, turn_password, paths (below), family (4 | 6 | 46: both), nomination ("regular" | "aggressive"),
wireguard_go (program), roaming (whether it looks for paths after the first one: roaming.py), tries (after how many
unanswered checks a roaming client gives a path up; null: as many as a real one).

Paths: "any"; "direct": no relay on either side; "client-relay": the gateway's relayed candidates are ignored;
"gateway-relay": none but these are used, and no relay of ours; "both-relays": from our relayed candidate to the
gateway's, nothing else. What the network lets through decides the rest.
"""

import asyncio
import contextlib
import ctypes
import ipaddress
import json
import os
import socket
import struct
import sys
import time

import aiohttp
import aioice
from aiohttp import web

import roaming
import tunnel

CONNECT_TIMEOUT = 20
aioice.turn.UDP_SOCKET_BUFFER_SIZE = 4 << 20     # of every socket of its; the default loses bursts
SO_ATTACH_FILTER = 26
# Classic BPF on what the tunnel interface carries: ICMP, ICMPv6 and next header 255; nothing of the bulk.
TAP_FILTER = ((0x30, 0, 0, 0), (0x54, 0, 0, 0xf0), (0x15, 0, 3, 0x40), (0x30, 0, 0, 9), (0x15, 4, 0, 1), (0x06, 0, 0, 0),
              (0x30, 0, 0, 6), (0x15, 1, 0, 0xff), (0x15, 0, 1, 58), (0x06, 0, 0, 0xffff), (0x06, 0, 0, 0))


def use_real_addresses_only():
    """Another client's tunnel address on this host is no candidate: asking a server from it costs the full time-out."""
    every = aioice.ice.get_host_addresses
    tunnels = [ipaddress.ip_network("100.64.0.0/11"), ipaddress.ip_network("fd00:2021:1111::/107")]

    def outside(**families):
        return [text for text in every(**families)
                if not any(ipaddress.ip_address(text) in network for network in tunnels)]
    aioice.ice.get_host_addresses = outside


class Tap:
    """Watches the decrypted packets that arrive: goodbyes and "prohibited" messages become events."""

    def __init__(self, interface):
        self.events = []
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(3))
        program = b"".join(struct.pack("HBBI", *line) for line in TAP_FILTER)
        buffer = ctypes.create_string_buffer(program)
        self.sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER,
                             struct.pack("HP", len(TAP_FILTER), ctypes.addressof(buffer)))
        self.sock.bind((interface, 3))
        asyncio.get_running_loop().add_reader(self.sock, self.readable)

    def readable(self):
        try:
            packet, (_, _, kind, _, _) = self.sock.recvfrom(2048)
        except OSError:              # the interface is gone
            return
        if kind != socket.PACKET_OUTGOING:
            event = classify(packet)
            if event:
                self.events.append({"t": time.time(), **event})

    def close(self):
        asyncio.get_running_loop().remove_reader(self.sock)
        self.sock.close()


def classify(packet):
    """The event that one inner packet is, or None."""
    if packet[0] >> 4 == 4 and packet[9] == 1:
        header = (packet[0] & 15) * 4
        if packet[header:header + 2] == b"\x03\x0d":
            return {"kind": "prohibited", "from": str(ipaddress.ip_address(packet[12:16])), "bytes": len(packet)}
    elif packet[0] >> 4 == 6 and packet[6] == 58 and packet[40:42] == b"\x01\x01":
        return {"kind": "prohibited", "from": str(ipaddress.ip_address(packet[8:24])), "bytes": len(packet)}
    elif packet[0] >> 4 == 6 and packet[6] == 255:
        whole = len(packet) == 48 and not any(packet[8:40]) and packet[40:] == b"\x02" + bytes(7)
        return {"kind": "goodbye" if whole else "control", "bytes": len(packet)}
    return None


class Client:
    def __init__(self, config):
        self.config = config
        self.private_key, self.public_key = tunnel.generate_key()
        self.tunnel = tunnel.Tunnel(config["interface"], self.private_key, config["wireguard_go"])
        self.portal = aiohttp.ClientSession(connector=aiohttp.UnixConnector(config["portal"]))
        self.ice = None
        self.tap = None
        self.flow_answer = None
        self.allowed = ["::/128"]    # the goodbye comes from the unspecified address
        self.seen = set()
        self.lock = asyncio.Lock()

    async def ask(self, route, body):
        async with self.portal.post("http://portal" + route, json=body) as response:
            answer = await response.json(content_type=None)
            if response.status != 200:
                raise web.HTTPGatewayTimeout(text=json.dumps(answer), content_type="application/json")
            return answer

    async def authorize(self, resource, extra):
        me = {"id": self.config["id"], "public_key": self.public_key,
              "ipv4": self.config["ipv4"], "ipv6": self.config["ipv6"]}
        return await self.ask("/flow", {"client": me, "resource": resource, **extra})

    async def connect(self, resource, extra):
        """First flow: everything from gathering to a tunnel that may be used."""
        config, started = self.config, time.monotonic()
        relayed = config["paths"] not in ("direct", "gateway-relay")
        turn = (config["turn"], 3478)
        kind = roaming.Connection if config["roaming"] else aioice.Connection
        self.ice = ice = kind(
            ice_controlling=True, stun_server=turn, turn_server=turn if relayed else None,
            turn_username=config["turn_user"], turn_password=config["turn_password"],
            use_ipv4=config["family"] != 6, use_ipv6=config["family"] != 4)
        ice.remote_is_lite = config["nomination"] == "regular"
        if config["roaming"] and config["tries"]:
            ice.tries = config["tries"]
        await ice.gather_candidates()
        if config["paths"] == "both-relays":
            ice._protocols = [protocol for protocol in ice._protocols if protocol.local_candidate.type == "relay"]
            ice._local_candidates = [protocol.local_candidate for protocol in ice._protocols]

        flow = self.flow_answer = await self.authorize(resource, extra)
        ice.local_username, ice.local_password = flow["client_ice"]["username"], flow["client_ice"]["password"]
        ice.remote_username, ice.remote_password = flow["gateway_ice"]["username"], flow["gateway_ice"]["password"]
        await self.ask(f"/candidates/{config['id']}", {
            "candidates": ["candidate:" + candidate.to_sdp() for candidate in ice.local_candidates]})
        asyncio.ensure_future(self.take_candidates(flow["after"]))
        await asyncio.wait_for(ice.connect(), CONNECT_TIMEOUT)
        connected = time.monotonic()

        await self.tunnel.start([f"{config['ipv4']}/32", f"{config['ipv6']}/128"])
        self.tunnel.carrier.attach(ice)
        if config["roaming"]:
            ice.roam(self.tunnel.carrier)
        self.tap = Tap(config["interface"])
        gateway = flow["gateway"]
        self.allowed += [gateway["ipv4"] + "/32", gateway["ipv6"] + "/128"]
        self.tunnel.configure(gateway["public_key"], flow["preshared_key"], self.allowed)
        self.allow(resource)
        for address in ("ipv4", "ipv6"):
            self.tunnel.route(gateway[address])
        return {"pair": self.pair(), "authorized_seconds": flow["seconds"], "ice_seconds": connected - started}

    async def flow(self, resource, extra):
        """A further resource over the connection that is there."""
        again = await self.authorize(resource, extra)
        same = all(again[key] == self.flow_answer[key] for key in ("preshared_key", "client_ice", "gateway_ice"))
        self.allow(resource)
        return {"pair": self.pair(), "same_credentials": same, "authorized_seconds": again["seconds"]}

    def allow(self, resource):
        prefix = resource["address"]
        if prefix not in self.allowed:
            self.allowed.append(prefix)
        self.tunnel.allow(self.allowed)
        self.tunnel.route(prefix)

    async def take_candidates(self, after):
        """Takes what the gateway tells, for as long as the portal is there."""
        with contextlib.suppress(aiohttp.ClientError):
            await self.poll_candidates(after)

    async def poll_candidates(self, after):
        while True:
            route = f"http://portal/candidates/{self.config['id']}?after={after}&wait=20"
            async with self.portal.get(route) as response:
                events = await response.json()
            after += len(events)
            for event in events:
                for text in event["candidates"]:
                    if event["kind"] == "add":
                        await self.take_candidate(text)
                    elif self.config["roaming"]:
                        self.drop_candidate(text)

    async def take_candidate(self, text):
        candidate = aioice.Candidate.from_sdp(text)
        key = (candidate.host, candidate.port, candidate.type)
        unwanted = {"direct": ("relay",), "client-relay": ("relay",), "gateway-relay": ("host", "srflx"),
                    "both-relays": ("host", "srflx")}
        wanted = candidate.type not in unwanted.get(self.config["paths"], ())
        if key not in self.seen and wanted and not self.ice._closed:
            self.seen.add(key)
            await self.ice.add_remote_candidate(candidate)

    def drop_candidate(self, text):
        candidate = aioice.Candidate.from_sdp(text)
        self.seen.discard((candidate.host, candidate.port, candidate.type))
        self.ice.remove_remote_candidate(candidate)

    def pair(self):
        pair = self.ice and self.ice._nominated.get(1)
        return roaming.describe(pair) if pair else None

    def status(self):
        carrier = self.tunnel.carrier
        return {"pair": self.pair(), "public_key": self.public_key, "events": self.tap.events if self.tap else [],
                "selections": self.ice.selections if self.ice and self.config["roaming"] else [],
                "datagrams": {"sent": carrier.sent, "received": carrier.received} if carrier else None,
                "wireguard": self.tunnel.counters() if self.tunnel.peer else None}

    async def close(self):
        if self.tap:
            self.tap.close()
        await self.tunnel.stop()
        if self.ice:
            await self.ice.close()
        await self.portal.close()


async def main():
    with open(sys.argv[1]) as file:
        config = json.load(file)
    use_real_addresses_only()
    client, stop = Client(config), asyncio.Event()

    async def flow(request):
        """{resource, expires_in | expires_at}: the first one connects."""
        body = await request.json()
        resource = body.pop("resource")
        async with client.lock:
            act = client.flow if client.tunnel.peer else client.connect
            try:
                return web.json_response(await act(resource, body))
            except (ConnectionError, asyncio.TimeoutError) as exc:
                return web.json_response({"error": f"ICE: {exc or 'no pair in time'}"}, status=504)

    async def allow(request):
        """{resource}: into the tunnel with it, whether or not anybody granted it."""
        client.allow((await request.json())["resource"])
        return web.json_response({})

    async def status(_request):
        return web.json_response(client.status())

    async def end(_request):
        stop.set()
        return web.json_response({})

    app = web.Application()
    app.router.add_post("/flow", flow)
    app.router.add_post("/allow", allow)
    app.router.add_get("/status", status)
    app.router.add_post("/close", end)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    if os.path.exists(config["control"]):
        os.unlink(config["control"])
    await web.UnixSite(runner, config["control"]).start()
    await stop.wait()
    await client.close()
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
