"""Golden bytes freeze the wire: what was written down once is what is said today, and can be read today."""

import json
from itertools import pairwise
from typing import Any, get_args

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from noise.connection import Keypair, NoiseConnection

from tests.contract import examples as x
from tests.contract.vectors import write
from tests.contract.vectors.write import FixedClient, FixedServer
from varde_contract import bodies, codec, padding
from varde_contract import envelope as e
from varde_contract import frames as f
from varde_contract import membership as m
from varde_contract import membership_statements as s
from varde_contract.ids import decode_text_id
from varde_contract.session import Pattern, noise_name

WRITE = "python -m tests.contract.vectors.write"


def vectors(name: str) -> Any:
    """Read a file of golden bytes."""
    return json.loads((write.FOLDER / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", write.FILES)
def test_the_bytes_are_those_of_the_first_day(name: str) -> None:
    """Nothing that is said today differs from what was written down."""
    written = (write.FOLDER / name).read_text(encoding="utf-8")
    assert written == write.render(name), f"the wire has changed; if it was meant to: {WRITE}"


def test_every_frame_of_each_side_has_golden_bytes() -> None:
    """No frame can be added or renamed without bytes that freeze it."""
    found = {(vector["from"], vector["tag"]) for vector in vectors("frames.json")}
    client = {("client", f.tag_of(kind)) for kind in x.CLIENT_KINDS}
    wanted = client | {("relay", f.tag_of(kind)) for kind in x.SERVER_KINDS}
    assert found == wanted, f"add an example to tests/contract/examples.py and write its bytes: {WRITE}"


@pytest.mark.parametrize("vector", vectors("frames.json"), ids=lambda vector: f"{vector['from']}-{vector['tag']}")
def test_golden_bytes_are_read(vector: Any) -> None:
    """The bytes of each frame are read as what stands beside them in JSON."""
    decode: Any = codec.decode_client_frames if vector["from"] == "client" else codec.decode_server_frames
    (frame,) = decode(b"\x91" + bytes.fromhex(vector["msgpack"]))
    assert in_json(frame) == vector["json"]


def in_json(said: object) -> Any:
    """What is said, as it stands in the files."""
    return json.loads(msgspec.json.encode(said))


TRANSCRIPTS = pytest.mark.parametrize(
    "transcript", vectors("handshake.json"), ids=lambda transcript: transcript["noise"]
)


@TRANSCRIPTS
def test_a_relay_plays_its_part(transcript: Any) -> None:
    """A relay with these keys takes the client's bytes, answers with its own, and understands what is said."""
    server = FixedServer()
    for message in transcript["handshake"]:
        if message["from"] == "client":
            assert server.receive(bytes.fromhex(message["websocket"])) == []
        else:
            assert (server.take_reply() or b"").hex() == message["websocket"]
    assert server.handshake_hash.hex() == transcript["handshake_hash"]
    assert in_json(server.hello) == transcript["hello"]["json"]
    for message, (side, spoken) in zip(transcript["transport"], write.TALK, strict=True):
        if side == "client":
            assert in_json(server.receive(bytes.fromhex(message["websocket"]))) == message["json"]
        else:
            assert server.send(*spoken).hex() == message["websocket"]


@TRANSCRIPTS
def test_a_client_plays_its_part(transcript: Any) -> None:
    """A client with these keys says these bytes and understands the relay's."""
    client = FixedClient(next(each for each in Pattern if noise_name(each) == transcript["noise"]))
    says: bytes | None = client.open()
    for message in transcript["handshake"]:
        if message["from"] == "client":
            assert (says or b"").hex() == message["websocket"]
        else:
            assert client.receive(bytes.fromhex(message["websocket"])) == []
            says = client.take_reply()
    assert client.remote_static.hex() == transcript["relay_static_public"]
    for message, (side, spoken) in zip(transcript["transport"], write.TALK, strict=True):
        if side == "client":
            assert client.send(*spoken).hex() == message["websocket"]
        else:
            assert in_json(client.receive(bytes.fromhex(message["websocket"]))) == message["json"]


@TRANSCRIPTS
@pytest.mark.filterwarnings("ignore:One of ephemeral keypairs is already set")  # which is the point of a vector
def test_an_independent_noise_agrees(transcript: Any) -> None:
    """`noiseprotocol` as the relay makes the same bytes from the same keys, so the transcript is not only ours."""
    peer = independent_relay(transcript)
    heard = b""
    for number, message in enumerate(transcript["handshake"]):
        skipped = 1 + len(bytes.fromhex(transcript.get("kem_ciphertext", ""))) if number == 0 else 0
        raw = bytes.fromhex(message["websocket"])[skipped:]
        if message["from"] == "client":
            heard = bytes(peer.read_message(raw))
        else:
            assert bytes(peer.write_message()) == raw
    assert heard.hex() == transcript["hello"]["msgpack"]
    for message in transcript["transport"]:
        plain, raw = bytes.fromhex(message["msgpack"]), bytes.fromhex(message["websocket"])
        if message["from"] == "client":
            assert bytes(peer.decrypt(raw)) == plain
        else:
            assert bytes(peer.encrypt(plain)) == raw


def independent_relay(transcript: Any) -> Any:
    """The other library, with the relay's keys of a transcript."""
    peer = NoiseConnection.from_name(transcript["noise"].encode())
    peer.set_as_responder()
    if "psk" in transcript:
        peer.set_psks(psks=[bytes.fromhex(transcript["psk"])])
    peer.set_prologue(bytes.fromhex(transcript["prologue"]))
    for kind, name in ((Keypair.STATIC, "relay_static_private"), (Keypair.EPHEMERAL, "relay_ephemeral_private")):
        peer.set_keypair_from_private_bytes(kind, bytes.fromhex(transcript[name]))
    peer.start_handshake()
    return peer


BODY = e.Envelope.__struct_fields__.index("body")


@pytest.mark.parametrize("vector", vectors("envelope.json"), ids=lambda vector: vector["json"][BODY][0])
def test_golden_envelopes_are_read(vector: Any) -> None:
    """Each plaintext is padded to its bucket and holds what stands beside it in JSON."""
    plaintext = bytes.fromhex(vector["plaintext"])
    envelope = msgspec.convert(vector["json"], e.Envelope, dec_hook=decode_text_id)
    said = e.Said(*(getattr(envelope, field) for field in e.Said._fields))
    assert e.open_envelope(plaintext, said) == envelope
    assert len(plaintext) in padding.BUCKETS


def test_every_body_of_an_envelope_has_golden_bytes() -> None:
    """No body can be added without bytes that freeze it."""
    tags = {kind.__struct_config__.tag for kind in get_args(bodies.Body)}
    assert {vector["json"][BODY][0] for vector in vectors("envelope.json")} == tags


@pytest.mark.parametrize("name", ["one_time_key", "fallback_key", "device_session"])
def test_golden_signatures_verify(name: str) -> None:
    """Each statement is under its key's signature, as any Ed25519 library can see."""
    golden = vectors("signed_statements.json")
    key = golden["signing_key"]
    signed = golden["statements"][name]
    verify = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify
    verify(bytes.fromhex(signed["signature"]), bytes.fromhex(signed["statement"]))


def test_the_statements_differ_from_their_first_bytes_on() -> None:
    """What is signed for one purpose cannot be read as signed for another."""
    statements = sorted(signed["statement"] for signed in vectors("signed_statements.json")["statements"].values())
    assert all(one[:40] != other[:40] for one, other in pairwise(statements))


def test_a_golden_chain_comes_to_its_states() -> None:
    """The bytes of every kind of statement, of the hashes and of the states after them are frozen."""
    golden = vectors("membership.json")
    keys = {signer["device"]: bytes.fromhex(signer["signing_key"]) for signer in golden["signers"]}
    state: m.Membership | None = None
    for link in golden["chain"]:
        signed = bytes.fromhex(link["signed"])
        assert (
            s.encode_statement(msgspec.convert(link["json"], s.AnyStatement, dec_hook=decode_text_id)).hex()
            == link["statement"]
        )
        state = m.apply(state, signed, lambda signer: keys[str(signer.device)])
        assert (state.head.hex(), m.encode_state(state).hex()) == (link["hash"], link["state"])
    snapshot = golden["snapshot"]
    before = m.decode_state(bytes.fromhex(snapshot["before"]))
    state = m.apply(before, bytes.fromhex(snapshot["signed"]), lambda signer: keys[str(signer.device)])
    assert m.encode_state(state).hex() == snapshot["state"]
    settled = golden["settled"]
    after = m.decode_state(bytes.fromhex(settled["after"]))
    for each in settled["statements"]:
        assert (
            s.encode_statement(msgspec.convert(each["json"], s.AnyStatement, dec_hook=decode_text_id)).hex()
            == each["statement"]
        )
        # The bytes are settled. Nobody does yet what they ask, so nothing is sent behind them.
        with pytest.raises(s.UnknownStatement):
            m.apply(after, bytes.fromhex(each["signed"]), lambda signer: keys[str(signer.device)])
    kinds = {each["json"][0] for each in (*golden["chain"], snapshot, *settled["statements"])}
    assert kinds == {kind.__struct_config__.tag for kind in get_args(s.AnyStatement)}


@pytest.mark.parametrize("vector", vectors("membership.json")["refused"], ids=lambda vector: vector["why"])
def test_golden_lies_are_refused(vector: Any) -> None:
    """Each, after the state beside it, with the word beside it."""
    keys = {signer["device"]: bytes.fromhex(signer["signing_key"]) for signer in vectors("membership.json")["signers"]}
    state = m.decode_state(bytes.fromhex(vector["after"]))
    with pytest.raises(s.ChainFault) as refused:
        m.apply(state, bytes.fromhex(vector["signed"]), lambda signer: keys[str(signer.device)])
    found = refused.value.refusal, isinstance(refused.value, s.UnknownStatement)
    assert found == (vector["refusal"], vector["unknown"])
