#!/usr/bin/python3
"""Development portal: the gateway's websocket (protocol v1) and a control interface for tests on a unix socket.

    portal.py CONFIG.json

The configuration (see DEFAULTS) names the listeners, the token, the gateway's tunnel addresses and the relays. Every
control request and answer is JSON; routes are at the end of this file. The control interface also plays the portal's
part towards clients: it authorizes flows and passes candidates.
"""

import asyncio
import collections
import contextlib
import json
import os
import ssl
import sys
import time
import uuid

from aiohttp import WSCloseCode, WSMsgType, web

import derive
import handshake

DEFAULTS = {
    "listen": [],                # [[address, port], ...] plain
    "tls_listen": [],            # [[address, port, certificate file, key file], ...]
    "control": "portal.sock",
    "token": "development-token",
    "interface": {"ipv4": "100.64.0.1", "ipv6": "fd00:2021:1111::1"},
    "relays": [],                # entries as in `init`; "stamp_secret" instead of username and password: derived
    "account_slug": "demo",
    "client_psk_base": "c" * 64, "gateway_psk_base": "9" * 64,
    "idle_timeout": 37.0,
}
ANSWER_TIMEOUT = 15.0


class Gateway:
    """One websocket connection of the gateway."""

    def __init__(self, portal, params):
        self.portal = portal
        self.params = params
        self.ws = None
        self.request = None
        self.joined = asyncio.Event()
        self.joining = None
        self.next_ref = 0
        self.waiting = {}            # payload ref of authorize_flow -> future

    async def send(self, event, payload, topic="gateway", ref=None):
        message = {"topic": topic, "event": event, "ref": ref, "payload": payload}
        self.portal.record("send", message)
        await self.ws.send_str(json.dumps(message))

    async def reply(self, message, status="ok", response=None):
        await self.send("phx_reply", {"status": status, "response": response or {}}, message["topic"], message["ref"])

    async def replaced(self):
        """Another connection of the same gateway has come: this one is told to end, and its end is not waited for."""
        with contextlib.suppress(ConnectionError):
            await self.send("disconnect", {"reason": "token_expired"})
            await self.send("phx_close", {})
        self.request.transport.close()

    async def run(self):
        while True:
            try:
                frame = await self.ws.receive(self.portal.config["idle_timeout"])
            except asyncio.TimeoutError:
                self.portal.record("info", {"idle": True})
                await self.ws.close(code=1000)
                return
            if frame.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
                self.portal.record("info", {"closed": self.ws.close_code})
                return
            if frame.type != WSMsgType.TEXT or not self.well_formed(frame.data):
                await self.ws.close(code=1011)
                return
            message = json.loads(frame.data)
            self.portal.record("recv", message)
            await self.handle(message)

    def well_formed(self, text):
        try:
            message = json.loads(text)
            keys = set(message)
        except (ValueError, TypeError):
            keys, message = set(), None
        if keys != {"topic", "event", "payload", "ref"}:
            self.portal.violation(f"malformed message {text[:200]}")
            return False
        if message["ref"] != self.next_ref or isinstance(message["ref"], bool):
            self.portal.violation(f"ref {message['ref']} instead of {self.next_ref}")
        self.next_ref += 1
        return True

    async def handle(self, message):
        topic, event = message["topic"], message["event"]
        if (topic, event) == ("phoenix", "heartbeat"):
            if self.portal.settings["answer_heartbeats"]:
                await self.reply(message)
        elif topic != "gateway":
            await self.reply(message, "error", {"reason": "unmatched topic"})
        elif event == "phx_join":
            self.joining = asyncio.ensure_future(self.join(message))
        elif not self.joined.is_set():
            self.portal.violation(f"{event} before the join was answered")
        else:
            await self.channel(message)

    async def join(self, message):
        if message["payload"] is not None:
            self.portal.violation("join with a payload")
        await asyncio.sleep(self.portal.settings["join_delay"])
        reason = self.portal.settings["join_error"]
        if reason:
            await self.reply(message, "error", {"reason": reason})
            return
        await self.reply(message)
        self.joined.set()
        await self.send("init", self.portal.init())
        self.portal.changed()

    async def channel(self, message):
        event, payload = message["event"], message["payload"]
        if event == "flow_authorized":
            waiter = self.waiting.pop(payload.get("ref"), None)
            if waiter is None:
                await self.reply(message, "error", {"reason": "invalid_ref"})
                return
            waiter.set_result("authorized")
            await self.reply(message)
        elif event == "no_relays":
            # Which request it is about is not said: all that wait get it.
            for waiter in self.waiting.values():
                waiter.set_result("no_relays")
            self.waiting.clear()
            await self.send("relays_presence", {"disconnected_ids": [], "connected": self.portal.relays()})
        elif event in ("broadcast_ice_candidates", "broadcast_invalidated_ice_candidates"):
            kind = "add" if event == "broadcast_ice_candidates" else "remove"
            for client_id in payload["client_ids"]:
                self.portal.candidates[client_id].append({"kind": kind, "candidates": payload["candidates"]})
            self.portal.changed()
        else:
            self.portal.violation(f"unknown event {event}")
            await self.reply(message, "error", {"reason": "unknown_message"})


class Portal:
    def __init__(self, config):
        self.config = {**DEFAULTS, **config}
        # newest_wins: a second connection of a gateway ends the first, as portals up to release 1.5.2 do; later ones
        # refuse it for as long as they take the first for alive.
        self.settings = {"join_delay": 0.0, "join_error": None, "answer_heartbeats": True, "upgrade_delay": 0.0,
                         "newest_wins": False}
        self.refusals = []           # {status, headers, body} for the next upgrades
        self.limit = handshake.RateLimit()
        self.gateway = None
        self.ids = {}                # external id -> gateway id
        self.transcript = []
        self.problems = []
        self.candidates = collections.defaultdict(list)
        self.grants = {}             # (client id, resource id) -> expires_at
        self.changes = asyncio.Condition()

    # --- bookkeeping

    def record(self, direction, message):
        self.transcript.append({"n": len(self.transcript), "t": time.time(), "dir": direction, "msg": message})

    def violation(self, text):
        self.problems.append(text)
        self.record("info", {"violation": text})

    def changed(self):
        async def wake():
            async with self.changes:
                self.changes.notify_all()
        asyncio.ensure_future(wake())

    async def wait_for(self, predicate, timeout):
        async with self.changes:
            try:
                await asyncio.wait_for(self.changes.wait_for(predicate), timeout)
            except asyncio.TimeoutError:
                pass
        return predicate()

    def relays(self):
        out = []
        for relay in self.config["relays"]:
            entry = {key: value for key, value in relay.items() if key != "stamp_secret"}
            if "stamp_secret" in relay:
                entry["username"], entry["password"] = derive.turn_credentials(
                    relay["stamp_secret"], self.gateway.params["public_key"])
            out.append(entry)
        return out

    def init(self):
        now = time.time()
        self.grants = {pair: end for pair, end in self.grants.items() if end is None or end > now}
        listed = [{"client_id": pair[0], "resource_id": pair[1], "expires_at": end}
                  for pair, end in self.grants.items() if end is not None]
        return {"interface": self.config["interface"], "relays": self.relays(), "authorizations": listed,
                "config": {"ipv4_masquerade_enabled": True, "ipv6_masquerade_enabled": True},
                "account_slug": self.config["account_slug"]}

    def gateway_id(self):
        return self.ids.setdefault(self.gateway.params["external_id"], str(uuid.uuid4()))

    # --- the gateway's side

    async def websocket(self, request):
        self.record("info", {"connect": request.raw_path, "remote": request.remote,
                             "headers": {k: v if k.lower() != "x-authorization" else "Bearer ..."
                                         for k, v in request.headers.items()}})
        await asyncio.sleep(self.settings["upgrade_delay"])
        if self.refusals:
            refusal = self.refusals.pop(0)
            return web.Response(status=refusal["status"], headers=refusal.get("headers"), text=refusal.get("body", ""))
        try:
            params = handshake.check(request, self.config["token"], self.limit)
            older = self.gateway if self.gateway and self.gateway.params["external_id"] == params["external_id"] else None
            if older and not self.settings["newest_wins"]:
                raise handshake.Refusal(409, "gateway_already_connected", "this gateway is already connected")
        except handshake.Refusal as refusal:
            self.record("info", {"refused": refusal.status, "code": refusal.code, "detail": refusal.detail})
            return refusal.response()
        for text in handshake.violations(request):
            self.violation(text)

        gateway = Gateway(self, params)
        gateway.request = request
        gateway.ws = web.WebSocketResponse(compress=False, autoclose=True, max_msg_size=1 << 20)
        await gateway.ws.prepare(request)
        self.gateway = gateway
        if older:
            await older.replaced()
        try:
            await gateway.run()
        finally:
            if gateway.joining:
                gateway.joining.cancel()
            if self.gateway is gateway:
                self.gateway = None
            self.changed()
        return gateway.ws

    def online(self):
        if self.gateway is None or not self.gateway.joined.is_set():
            raise web.HTTPConflict(text=json.dumps({"error": "offline"}), content_type="application/json")
        return self.gateway

    # --- the clients' side: authorization

    async def flow(self, request):
        """{client: {id, public_key, ipv4, ipv6}, resource, expires_in | expires_at} -> both ends' credentials.

        client_ice and gateway_ice, {username, password} or one of them, take the place of what is derived.
        """
        body = await request.json()
        gateway, client, resource = self.online(), body["client"], body["resource"]
        pair = (client["id"], client["public_key"], self.gateway_id(), gateway.params["public_key"])
        psk = derive.preshared_key(self.config["client_psk_base"], self.config["gateway_psk_base"], *pair)
        client_ice, gateway_ice = ({**derived, **body.get(side, {})} for side, derived in
                                   zip(("client_ice", "gateway_ice"), derive.ice_credentials(*pair)))
        expires_at = body.get("expires_at")
        if "expires_at" not in body:
            expires_at = int(time.time() + body.get("expires_in", 3600))
        ref = "SFMyNTY." + uuid.uuid4().hex
        waiter = gateway.waiting[ref] = asyncio.get_running_loop().create_future()
        started = time.monotonic()
        first = len(self.candidates[client["id"]])
        await gateway.send("authorize_flow", {
            "ref": ref, "resource": resource, "client": {**client, "preshared_key": psk, "version": "1.5.8"},
            "subject": {"actor_name": "Jo", "actor_email": "jo@example.com"},
            "client_ice_credentials": client_ice, "gateway_ice_credentials": gateway_ice, "expires_at": expires_at})
        try:
            outcome = await asyncio.wait_for(waiter, body.get("timeout", ANSWER_TIMEOUT))
        except asyncio.TimeoutError:
            gateway.waiting.pop(ref, None)
            outcome = "timeout"
        if outcome != "authorized":
            return web.json_response({"error": outcome}, status=504)
        self.grants[(client["id"], resource["id"])] = expires_at
        return web.json_response({
            "gateway": {"id": pair[2], "public_key": pair[3], **self.config["interface"]},
            "preshared_key": psk, "client_ice": client_ice, "gateway_ice": gateway_ice,
            "relays": self.relays(), "after": first, "seconds": time.monotonic() - started})

    async def get_candidates(self, request):
        """The gateway's candidate events for a client from number `after` on; waits up to `wait` seconds for one."""
        events = self.candidates[request.match_info["client"]]
        after, wait = int(request.query.get("after", 0)), float(request.query.get("wait", 0))
        await self.wait_for(lambda: len(events) > after, wait)
        return web.json_response(events[after:])

    async def post_candidates(self, request):
        """{kind: add | remove, candidates}: passed to the gateway verbatim."""
        body = await request.json()
        event = "ice_candidates" if body.get("kind", "add") == "add" else "invalidate_ice_candidates"
        await self.online().send(event, {"client_id": request.match_info["client"], "candidates": body["candidates"]})
        return web.json_response({})

    # --- the administrator's side

    async def reject(self, request):
        body = await request.json()
        self.grants.pop((body["client_id"], body["resource_id"]), None)
        await self.online().send("reject_access", body)
        return web.json_response({})

    async def expiry(self, request):
        body = await request.json()
        self.grants[(body["client_id"], body["resource_id"])] = body["expires_at"]
        await self.online().send("access_authorization_expiry_updated", body)
        return web.json_response({})

    async def post_relays(self, request):
        """{relays: [...], disconnected_ids: [...]}: the new list, announced if a gateway is there."""
        body = await request.json()
        self.config["relays"] = body["relays"]
        if self.gateway and self.gateway.joined.is_set():
            await self.gateway.send("relays_presence", {"disconnected_ids": body.get("disconnected_ids", []),
                                                        "connected": self.relays()})
        return web.json_response({})

    async def push(self, request):
        """{event, payload}: any push, `init` with payload null: the current one; {text}: any frame."""
        body = await request.json()
        if "text" in body:
            self.record("send", {"text": body["text"]})
            await self.online().ws.send_str(body["text"])
        elif body["event"] == "init" and body.get("payload") is None:
            await self.online().send("init", self.init())
        else:
            await self.online().send(body["event"], body.get("payload", {}))
        return web.json_response({})

    async def close(self, request):
        """{code}: a close frame; {abort: true}: the connection is cut without one."""
        body = await request.json()
        gateway = self.online()
        if body.get("abort"):
            gateway.request.transport.abort()
        else:
            asyncio.ensure_future(gateway.ws.close(code=body.get("code", WSCloseCode.SERVICE_RESTART)))
        await self.wait_for(lambda: self.gateway is not gateway, 5)
        return web.json_response({})

    async def post_settings(self, request):
        self.settings.update(await request.json())
        return web.json_response(self.settings)

    async def refuse(self, request):
        """A list of {status, headers, body}: the answers to the next upgrades."""
        self.refusals = await request.json()
        return web.json_response({})

    async def forget(self, _request):
        """Grants, candidates, refusals and violations of an earlier test."""
        self.grants, self.refusals, self.problems = {}, [], []
        self.limit.last.clear()
        return web.json_response({})

    async def state(self, request):
        """The state; with `wait`, as soon as a gateway has joined or that many seconds are over."""
        def joined():
            return bool(self.gateway and self.gateway.joined.is_set())
        await self.wait_for(joined, float(request.query.get("wait", 0)))
        return web.json_response({"joined": joined(), "connected": self.gateway is not None,
                                  "gateway": self.gateway.params if self.gateway else None,
                                  "violations": self.problems, "messages": len(self.transcript)})

    async def get_transcript(self, request):
        return web.json_response(self.transcript[int(request.query.get("after", 0)):])

    # --- listeners

    async def start(self):
        gateway_app = web.Application()
        gateway_app.router.add_get(handshake.PATH, self.websocket)
        await self.listen(gateway_app)

        app = web.Application()
        app.router.add_get("/state", self.state)
        app.router.add_get("/transcript", self.get_transcript)
        app.router.add_get("/candidates/{client}", self.get_candidates)
        app.router.add_post("/candidates/{client}", self.post_candidates)
        for name in ("flow", "reject", "expiry", "push", "close", "refuse", "forget"):
            app.router.add_post("/" + name, getattr(self, name))
        app.router.add_post("/relays", self.post_relays)
        app.router.add_post("/settings", self.post_settings)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        if os.path.exists(self.config["control"]):
            os.unlink(self.config["control"])
        await web.UnixSite(runner, self.config["control"]).start()

    async def listen(self, app):
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        for address, port in self.config["listen"]:
            await web.TCPSite(runner, address, port).start()
        for address, port, cert, key in self.config["tls_listen"]:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(cert, key)
            await web.TCPSite(runner, address, port, ssl_context=context).start()


async def main():
    with open(sys.argv[1]) as file:
        portal = Portal(json.load(file))
    await portal.start()
    print("portal: ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
