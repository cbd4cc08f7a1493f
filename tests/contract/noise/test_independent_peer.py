"""Our Noise and the package `noiseprotocol`, which shares no line with it, talk to each other in both roles."""

import pytest
from noise.connection import Keypair, NoiseConnection

from tests.contract.noise.pairs import ALICE, BOB, open_side, psks_of
from varde_contract.noise import Handshake
from varde_contract.noise.protocol_name import read_name

NAMES = [
    f"Noise_{pattern}_25519_{cipher}_{digest}"
    for pattern in ("XX", "IK", "XXpsk3", "IKpsk2", "NNpsk0", "NNpsk0+psk2")
    for cipher, digest in (("ChaChaPoly", "SHA256"), ("ChaChaPoly", "BLAKE2s"), ("AESGCM", "SHA512"))
]


def open_stranger(name: str, *, initiator: bool) -> NoiseConnection:
    """The other implementation in one role, with the keys of the cast."""
    stranger = NoiseConnection.from_name(name.encode())
    pattern = read_name(name).pattern
    own, peer = (ALICE, BOB) if initiator else (BOB, ALICE)
    stranger.set_as_initiator() if initiator else stranger.set_as_responder()
    stranger.set_prologue(b"test")
    if pattern.static(initiator=initiator):
        stranger.set_keypair_from_private_bytes(Keypair.STATIC, own.private_bytes())
    if pattern.known(initiator=not initiator):
        stranger.set_keypair_from_public_bytes(Keypair.REMOTE_STATIC, peer.public)
    if pattern.psks:
        stranger.set_psks(psks=psks_of(name))
    stranger.start_handshake()
    return stranger


def shake_hands(ours: Handshake, stranger: NoiseConnection) -> None:
    """Carry messages until our side is finished."""
    step = 0
    while not ours.finished:
        payload = b"step %d" % step
        if ours.my_turn:
            assert bytes(stranger.read_message(ours.write_message(payload))) == payload
        else:
            assert ours.read_message(stranger.write_message(payload)) == payload
        step += 1


@pytest.mark.parametrize("initiator", [True, False], ids=["we-begin", "we-answer"])
@pytest.mark.parametrize("name", NAMES)
def test_an_independent_implementation_understands_us(name: str, *, initiator: bool) -> None:
    """Handshake, hash, static key, transport both ways and rekeying agree with an independent implementation."""
    ours = open_side(name, initiator=initiator)
    stranger = open_stranger(name, initiator=not initiator)
    shake_hands(ours, stranger)

    assert stranger.handshake_finished
    assert ours.handshake_hash == stranger.get_handshake_hash()
    if read_name(name).pattern.static(initiator=not initiator):
        assert ours.remote_static == (BOB if initiator else ALICE).public

    transport = ours.split()
    for number in range(3):
        text = b"message %d" % number
        assert stranger.decrypt(transport.seal(text)) == text
        assert transport.open(stranger.encrypt(text)) == text
        transport.rekey_outgoing()
        stranger.rekey_inbound_cipher()
        stranger.rekey_outbound_cipher()
        transport.rekey_incoming()
