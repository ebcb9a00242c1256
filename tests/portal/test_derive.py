"""The development portal's derivations against the recorded vectors."""

import json
import pathlib

import derive

DATA = pathlib.Path(__file__).resolve().parent.parent / "data" / "vectors" / "connections-portal-derivations.json"
V = json.loads(DATA.read_text())
PAIR = (V["client_id"], V["client_public_key"], V["gateway_id"], V["gateway_public_key"])


def test_ice_credentials_are_cut_from_one_hash():
    client, gateway = derive.ice_credentials(*PAIR)
    assert client == V["ice"]["result"]["client"]
    assert gateway == V["ice"]["result"]["gateway"]


def test_preshared_key_depends_on_both_secrets_and_the_pair():
    psk = V["psk"]
    assert derive.preshared_key(psk["client_psk_base"], psk["gateway_psk_base"], *PAIR) == psk["psk_base64"]


def test_turn_credentials_are_salted_with_the_public_key():
    turn = V["turn"]
    got = derive.turn_credentials(turn["stamp_secret"], turn["salt_input"], turn["expires_at"])
    assert got == (turn["username"], turn["password"])
    for known in V["turn_known_answers"]:
        assert derive.turn_password(known["stamp_secret"], known["expires_at"], known["salt"]) == known["password"]
