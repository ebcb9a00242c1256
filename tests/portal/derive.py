"""What a portal derives from the two public keys of a pair: ICE credentials, preshared key, TURN credentials."""

import base64
import hashlib


def ice_credentials(client_id, client_key, gateway_id, gateway_key):
    """(client's, gateway's) {username, password}; keys as base64 text."""
    seed = f"{client_id}:{client_key}:{gateway_id}:{gateway_key}"
    text = base64.b32encode(hashlib.sha256(seed.encode()).digest()).decode().lower().rstrip("=")
    client = {"username": text[0:4], "password": text[4:26]}
    gateway = {"username": text[26:30], "password": text[30:52]}
    return client, gateway


def preshared_key(client_base, gateway_base, client_id, client_key, gateway_id, gateway_key):
    """The WireGuard preshared key of the pair, base64 text; the bases are the portal's two secrets as text."""
    salt = f"WG_PSK|C_ID:{client_id}|G_ID:{gateway_id}|C_PK:{client_key}|G_PK:{gateway_key}"
    secret = (client_base + gateway_base).encode()
    return base64.b64encode(hashlib.pbkdf2_hmac("sha256", secret, salt.encode(), 1, 32)).decode()


def turn_credentials(stamp_secret, public_key, expires_at=2145916800):
    """(username, password) at the vendor's relay for the holder of this public key (base64 text)."""
    salt = _b64(public_key)
    return f"{expires_at}:{salt}", turn_password(stamp_secret, expires_at, salt)


def turn_password(stamp_secret, expires_at, salt):
    return _b64(f"{expires_at}:{stamp_secret}:{salt}")


def _b64(text):
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
