"""The state machine against the public Noise vectors (cacophony), byte for byte, in both roles."""

import json
from collections import Counter
from functools import cache
from typing import Any

import pytest

from tests.vectors import find_vectors
from varde_contract.noise import Handshake, KeyPair
from varde_contract.noise.protocol_name import read_name

SUITES = [
    f"25519_{cipher}_{digest}"
    for cipher in ("ChaChaPoly", "AESGCM")
    for digest in ("SHA256", "SHA512", "BLAKE2s", "BLAKE2b")
]
VECTORS_PER_SUITE = 59
VECTORS = 472


@cache
def read_vectors() -> list[dict[str, Any]]:
    """Every vector of the file, curve 448 included."""
    content: dict[str, list[dict[str, Any]]] = json.loads(find_vectors("noise", "cacophony.json").read_text())
    return content["vectors"]


def open_vector_side(vector: dict[str, Any], side: str) -> Handshake:
    """One side with exactly the keys the vector gives it."""

    def octets(field: str) -> bytes | None:
        text = vector.get(f"{side}_{field}")
        return None if text is None else bytes.fromhex(text)

    def pair(field: str) -> KeyPair | None:
        private = octets(field)
        return None if private is None else KeyPair.from_private(private)

    return Handshake(
        vector["protocol_name"],
        initiator=side == "init",
        prologue=octets("prologue") or b"",
        s=pair("static"),
        rs=octets("remote_static"),
        psks=[bytes.fromhex(psk) for psk in vector.get(f"{side}_psks", [])],
        e=pair("ephemeral"),
    )


def replay(vector: dict[str, Any]) -> None:
    """Write and read every message of the vector; both sides must agree with it and with each other."""
    initiator, responder = open_vector_side(vector, "init"), open_vector_side(vector, "resp")
    messages = [(bytes.fromhex(m["payload"]), bytes.fromhex(m["ciphertext"])) for m in vector["messages"]]
    pattern = read_name(vector["protocol_name"]).pattern
    name, length = vector["protocol_name"], len(pattern.messages)

    for step, (payload, ciphertext) in enumerate(messages[:length]):
        writer, reader = (initiator, responder) if step % 2 == 0 else (responder, initiator)
        assert writer.write_message(payload) == ciphertext, name
        assert reader.read_message(ciphertext) == payload, name
    assert initiator.handshake_hash == responder.handshake_hash == bytes.fromhex(vector["handshake_hash"]), name

    ours, theirs = initiator.split(), responder.split()
    for step, (payload, ciphertext) in enumerate(messages[length:], start=length):
        sender, receiver = (ours, theirs) if step % 2 == 0 or pattern.one_way else (theirs, ours)
        assert sender.seal(payload) == ciphertext, name
        assert receiver.open(ciphertext) == payload, name


@pytest.mark.parametrize("suite", SUITES)
def test_every_vector_of_the_suite_is_reproduced(suite: str) -> None:
    """Each of the 59 vectors of a suite gives the same bytes, in both roles, handshake hash and transport included."""
    ran = Counter[str]()
    for vector in read_vectors():
        if vector["protocol_name"].endswith(f"_{suite}"):
            replay(vector)
            ran[vector["protocol_name"]] += 1
    assert ran.total() == len(ran) == VECTORS_PER_SUITE


def test_no_25519_vector_is_left_out() -> None:
    """The suites judged here hold all 472 vectors of the curve that is implemented."""
    judged = [v["protocol_name"] for v in read_vectors() if "_25519_" in v["protocol_name"]]
    assert len(judged) == len(SUITES) * VECTORS_PER_SUITE == VECTORS
    assert {name.split("_", 2)[2] for name in judged} == set(SUITES)
