#!/usr/bin/python3
"""A reference gateway of the client's own parts (aioice, wireguard-go): proves network, portal and client without ours.

    refgw.py CONFIG.json

Configuration: url, token, turn (address), addresses (its own), interface. It serves one client at a time, filters nothing, and says no goodbye.
"""

import asyncio
import json
import sys
import urllib.parse

import aiohttp
import aioice
import yarl

import tunnel


class Reference:
    def __init__(self, config):
        self.config = config
        self.private_key, self.public_key = tunnel.generate_key()
        self.ref = 0
        self.ws = None
        self.init = None
        self.ice = None
        self.tunnel = None

    async def send(self, topic, event, payload):
        await self.ws.send_str(json.dumps({"topic": topic, "event": event, "payload": payload, "ref": self.ref}))
        self.ref += 1

    async def heartbeats(self):
        while True:
            await asyncio.sleep(10)
            await self.send("phoenix", "heartbeat", {})

    async def run(self):
        query = urllib.parse.urlencode({"external_id": "reference", "name": "ref", "public_key": self.public_key})
        headers = {"X-Authorization": "Bearer " + self.config["token"], "User-Agent": "Debian/12.0.0 gateway/1.5.2",
                   "Host": urllib.parse.urlsplit(self.config["url"]).hostname}
        async with aiohttp.ClientSession() as session:
            url = yarl.URL(f"{self.config['url']}gateway/websocket?{query}", encoded=True)
            self.ws = await session.ws_connect(url, headers=headers)
            await self.send("gateway", "phx_join", None)
            asyncio.ensure_future(self.heartbeats())
            async for frame in self.ws:
                message = json.loads(frame.data)
                if message["event"] == "init":
                    self.init = message["payload"]
                elif message["event"] == "authorize_flow":
                    await self.authorize(message["payload"])
                elif message["event"] == "ice_candidates":
                    for text in message["payload"]["candidates"]:
                        await self.ice.add_remote_candidate(aioice.Candidate.from_sdp(text))

    async def authorize(self, flow):
        if self.tunnel is None or self.tunnel.peer != flow["client"]["public_key"]:
            await self.new_connection(flow)
        await self.send("gateway", "flow_authorized", {"ref": flow["ref"]})
        candidates = ["candidate:" + candidate.to_sdp() for candidate in self.ice.local_candidates]
        await self.send("gateway", "broadcast_ice_candidates",
                        {"client_ids": [flow["client"]["id"]], "candidates": candidates})

    async def new_connection(self, flow):
        if self.tunnel:
            await self.tunnel.stop()
            await self.ice.close()
        turn, relay = (self.config["turn"], 3478), self.init["relays"][0]
        self.ice = aioice.Connection(ice_controlling=False, stun_server=turn, turn_server=turn,
                                     turn_username=relay["username"], turn_password=relay["password"])
        mine, theirs = flow["gateway_ice_credentials"], flow["client_ice_credentials"]
        self.ice.local_username, self.ice.local_password = mine["username"], mine["password"]
        self.ice.remote_username, self.ice.remote_password = theirs["username"], theirs["password"]
        await self.ice.gather_candidates()

        self.tunnel = tunnel.Tunnel(self.config["interface"], self.private_key)
        addresses = self.init["interface"]
        await self.tunnel.start([addresses["ipv4"] + "/32", addresses["ipv6"] + "/128"])
        client = flow["client"]
        prefixes = [client["ipv4"] + "/32", client["ipv6"] + "/128"]
        self.tunnel.configure(client["public_key"], client["preshared_key"], prefixes)
        for prefix in prefixes:
            self.tunnel.route(prefix)
        asyncio.ensure_future(self.connect())

    async def connect(self):
        while not self.ice.remote_candidates:
            await asyncio.sleep(0.005)
        await self.ice.connect()
        self.tunnel.carrier.attach(self.ice)


async def main():
    with open(sys.argv[1]) as file:
        config = json.load(file)
    # Its other addresses lead nowhere; asking a server from them costs the full time-out.
    aioice.ice.get_host_addresses = lambda **_: config["addresses"]
    await Reference(config).run()


if __name__ == "__main__":
    asyncio.run(main())
