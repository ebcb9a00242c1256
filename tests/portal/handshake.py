"""What the portal demands of the gateway's upgrade request, in the real portal's order, and its refusals.

Two grades: what the real portal refuses is refused here, with its status and code; what it would swallow although the
protocol forbids it is a violation, recorded for the tests to look at.
"""

import base64
import binascii
import json
import re
import time
import urllib.parse

from aiohttp import web

PATH = "/gateway/websocket"
UNRESERVED = "*-._"
OTHER_COMPONENTS = ("relay/", "connlib/", "headless-client/", "gui-client/", "apple-client/", "android-client/")
SEMVER = re.compile(r"gateway/(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)$")


class Refusal(Exception):
    """An upgrade answered with a problem document instead of 101."""

    def __init__(self, status, code, detail, headers=None):
        super().__init__(detail)
        self.status, self.code, self.detail, self.headers = status, code, detail, headers or {}

    def response(self):
        title = {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 409: "Conflict",
                 503: "Service Unavailable"}.get(self.status, "Error")
        body = {"type": "about:blank", "title": title, "status": self.status, "detail": self.detail, "code": self.code}
        return web.Response(status=self.status, headers=self.headers, body=json.dumps(body).encode(),
                            content_type="application/problem+json")


class RateLimit:
    """One attempt a second for each (address, token)."""

    def __init__(self, interval=1.0):
        self.interval = interval
        self.last = {}

    def check(self, key):
        now = time.monotonic()
        if now - self.last.get(key, -self.interval) < self.interval:
            raise Refusal(503, "rate_limit", "too many requests", {"Retry-After": "1"})
        self.last[key] = now


def check(request, token, limit):
    """The parameters of an acceptable request; raises Refusal."""
    given = request.headers.get("X-Authorization", "")
    if not given.startswith("Bearer "):
        raise Refusal(401, "missing_token", "no token in X-Authorization")
    limit.check((request.remote, given))
    if given[len("Bearer "):] != token:
        raise Refusal(401, "invalid_token", "the token is not valid")

    query = dict(request.query)
    key = query.get("public_key", "")
    if not key:
        raise Refusal(400, "invalid_connect_params", "public_key can't be blank")
    if len(key) != 44 or not _is_base64(key):
        raise Refusal(400, "invalid_connect_params", "public_key should be 44 characters of base64")
    if not 1 <= len(query.get("external_id", "")) <= 255:
        raise Refusal(400, "invalid_connect_params", "external_id should have 1 to 255 characters")
    if len(query.get("name", "")) > 255:
        raise Refusal(400, "invalid_connect_params", "name should be at most 255 characters")
    if "vsn" in query:
        raise Refusal(400, "invalid_connect_params", "this portal speaks serializer 1.0.0 only")
    if "Origin" in request.headers:
        raise Refusal(403, "unauthenticated", "origin not allowed")
    return {"public_key": key, "external_id": query["external_id"], "name": query.get("name"),
            "user_agent": request.headers.get("User-Agent", "")}


def violations(request):
    """What a correct gateway never sends although the portal would let it pass."""
    found = []
    raw = request.raw_path.partition("?")[2]
    pairs = urllib.parse.parse_qsl(raw, keep_blank_values=True)
    order = [name for name, _ in pairs]
    if order not in (["external_id", "name", "public_key"], ["external_id", "public_key"]):
        found.append(f"query parameters {order}")
    if raw != "&".join(f"{_form(name)}={_form(value)}" for name, value in pairs):
        found.append(f"query encoding {raw}")
    for name in ("Authorization", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Cookie"):
        if name in request.headers:
            found.append(f"header {name}")
    if request.headers.get("Sec-WebSocket-Version") != "13":
        found.append("Sec-WebSocket-Version")
    if ":" in request.headers.get("Host", ""):
        found.append(f"port in Host: {request.headers['Host']}")
    words = request.headers.get("User-Agent", "").split(" ")
    versions = [word for word in words if word.startswith("gateway/")]
    if len(versions) != 1 or not SEMVER.match(versions[0]) or not request.headers["User-Agent"].isascii():
        found.append("User-Agent without gateway/X.Y.Z")
    found += [f"User-Agent word {word}" for word in words if word.startswith(OTHER_COMPONENTS)]
    return found


def _form(text):
    out = []
    for byte in text.encode():
        char = chr(byte)
        if char.isascii() and (char.isalnum() or char in UNRESERVED):
            out.append(char)
        else:
            out.append("+" if char == " " else f"%{byte:02X}")
    return "".join(out)


def _is_base64(text):
    try:
        return len(base64.b64decode(text, validate=True)) == 32
    except (binascii.Error, ValueError):
        return False
