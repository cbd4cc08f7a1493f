"""Mallory on the wire: flipped bits, cut and grown messages, replays and reorderings."""

from functools import partial

import pytest

from tests.contract.noise.pairs import (
    FAULTS,
    IK,
    XX,
    Pair,
    assert_poisoned,
    assert_transport_ended,
    connect,
    finish,
    open_pair,
    open_side,
    refuse,
)
from varde_contract.close_codes import CloseCode
from varde_contract.noise import NoiseFault, NoiseMisuse

XXPSK = "Noise_XXpsk3_25519_AESGCM_BLAKE2s"
MESSAGES = [
    pytest.param(name, step, len(message), id=f"{name.split('_')[1]}-{step + 1}")
    for name in (XX, IK, XXPSK)
    for step, message in enumerate(finish(open_pair(name)))
]
TRANSPORT_BYTES = len(b"message") + 16


def flip(bit: int, message: bytes, _: object = None) -> bytes:
    """The message with one bit changed."""
    return (int.from_bytes(message, "little") ^ 1 << bit).to_bytes(len(message), "little")


def cut(size: int, message: bytes, _: object = None) -> bytes:
    """The beginning of the message."""
    return message[:size]


def grow(extra: bytes, message: bytes, _: object = None) -> bytes:
    """The message and something more."""
    return message + extra


def swap(other: bytes, *_: object) -> bytes:
    """Another message altogether."""
    return other


def earlier(step: int, _: bytes, before: list[bytes]) -> bytes:
    """A message that travelled before, perhaps in the other direction."""
    return before[step]


@pytest.mark.parametrize(("name", "step", "size"), MESSAGES)
def test_no_flipped_bit_goes_unnoticed(name: str, step: int, size: int) -> None:
    """Each single bit of each handshake message, when flipped, keeps the two sides from agreeing."""
    for bit in range(size * 8):
        refuse(name, step, partial(flip, bit))


@pytest.mark.parametrize(("name", "step", "size"), MESSAGES)
def test_no_cut_or_grown_message_is_taken(name: str, step: int, size: int) -> None:
    """A handshake message that ends at any other byte keeps the two sides from agreeing."""
    for shorter in range(size):
        refuse(name, step, partial(cut, shorter))
    for extra in (b"\0", bytes(16), bytes(65_535 - size)):
        refuse(name, step, partial(grow, extra))


@pytest.mark.parametrize("pattern", ["NN", "XX", "IN", "IX"])
def test_a_key_that_is_cut_off_is_refused_at_once(pattern: str) -> None:
    """Even a first message that nothing authenticates yet must hold its keys whole."""
    name = f"Noise_{pattern}_25519_ChaChaPoly_SHA256"
    needed = 64 if pattern.startswith("I") else 32
    message = open_side(name, initiator=True).write_message()
    assert len(message) == needed
    for size in range(needed):
        responder = open_side(name, initiator=False)
        with pytest.raises(NoiseFault, match="too short"):
            responder.read_message(message[:size])
        assert_poisoned(responder)


@pytest.mark.parametrize(("name", "step", "size"), MESSAGES)
def test_no_message_of_another_handshake_fits(name: str, step: int, size: int) -> None:
    """A recorded message between the same two parties, played in its own place, leads to no agreement."""
    recorded = finish(open_pair(name))[step]
    assert len(recorded) == size
    refuse(name, step, partial(swap, recorded))


@pytest.mark.parametrize("name", [XX, IK, XXPSK])
def test_no_message_fits_another_place(name: str) -> None:
    """A message of the same handshake, repeated later or reflected to its sender, leads to no agreement."""
    length = len(finish(open_pair(name)))
    for step in range(1, length):
        for before in range(step):
            refuse(name, step, partial(earlier, before))


@pytest.mark.parametrize("name", [XX, IK, XXPSK])
def test_no_message_of_another_handshake_fits_another_place(name: str) -> None:
    """Recorded messages in the wrong order lead to no agreement either."""
    recorded = finish(open_pair(name))
    for step in range(len(recorded)):
        for other, message in enumerate(recorded):
            if other != step:
                refuse(name, step, partial(swap, message))


def test_a_recorded_beginning_of_ik_gains_no_transport() -> None:
    """IK's first message can be replayed, as the specification says; what follows from the recording cannot."""
    pair = open_pair(IK)
    first = pair.initiator.write_message(b"hello")
    pair.responder.read_message(first)
    pair.initiator.read_message(pair.responder.write_message())
    recorded = pair.initiator.split().seal(b"act")

    fooled = open_side(IK, initiator=False)
    assert fooled.read_message(first) == b"hello"
    fooled.write_message()
    with pytest.raises(NoiseFault, match="did not authenticate"):
        fooled.split().open(recorded)


def test_a_failed_side_cannot_be_helped_by_the_right_message() -> None:
    """After a forged message the true one comes too late: the handshake is over, not paused."""
    pair = open_pair(IK)
    message = pair.initiator.write_message()
    with pytest.raises(NoiseFault):
        pair.responder.read_message(flip(0, message))
    with pytest.raises(NoiseMisuse, match="has failed"):
        pair.responder.read_message(message)
    assert_poisoned(pair.responder)


def test_a_key_from_a_forged_message_is_never_shown() -> None:
    """XX decrypts the initiator's key before it has checked the payload; when that fails, nobody sees the key."""
    pair = open_pair(XX)
    pair.responder.read_message(pair.initiator.write_message())
    pair.initiator.read_message(pair.responder.write_message())
    message = pair.initiator.write_message()
    with pytest.raises(NoiseFault):
        pair.responder.read_message(flip(len(message) * 8 - 1, message))
    assert_poisoned(pair.responder)


@pytest.mark.parametrize("cipher", ["ChaChaPoly", "AESGCM"])
def test_no_flipped_bit_of_a_transport_message_is_taken(cipher: str) -> None:
    """Each single bit of a transport message, when flipped, ends the receiving transport in both directions."""
    for bit in range(TRANSPORT_BYTES * 8):
        ours, theirs = connect(f"Noise_NN_25519_{cipher}_SHA256")
        sealed = ours.seal(b"message")
        with pytest.raises(NoiseFault) as caught:
            theirs.open(flip(bit, sealed))
        assert str(caught.value) in FAULTS
        assert caught.value.__suppress_context__
        assert caught.value.close_code is CloseCode.PROTOCOL_ERROR
        with pytest.raises(NoiseMisuse, match="has failed"):
            theirs.open(sealed)
        assert_transport_ended(theirs)


def test_no_cut_or_grown_transport_message_is_taken() -> None:
    """A transport message that ends at any other byte is refused."""
    for size in range(TRANSPORT_BYTES):
        ours, theirs = connect(IK)
        sealed = ours.seal(b"message")
        with pytest.raises(NoiseFault):
            theirs.open(cut(size, sealed))
    ours, theirs = connect(IK)
    with pytest.raises(NoiseFault):
        theirs.open(grow(b"\0", ours.seal(b"message")))


def test_a_transport_message_is_opened_once_and_in_its_turn() -> None:
    """Repeated, overtaken and reflected transport messages are refused."""
    ours, theirs = connect(IK)
    first = ours.seal(b"first")
    assert theirs.open(first) == b"first"
    with pytest.raises(NoiseFault):
        theirs.open(first)

    ours, theirs = connect(IK)
    _, second = ours.seal(b"first"), ours.seal(b"second")
    with pytest.raises(NoiseFault):
        theirs.open(second)

    ours, _ = connect(IK)
    with pytest.raises(NoiseFault):
        ours.open(ours.seal(b"first"))


def test_a_handshake_message_is_no_transport_message() -> None:
    """Nothing that travelled during the handshake can be opened after it."""
    pair = open_pair(XX)
    for message in finish(pair):
        again = open_pair(XX)
        finish(again)
        with pytest.raises(NoiseFault):
            again.responder.split().open(message)


def test_parties_who_never_spoke_share_nothing() -> None:
    """Two handshakes that both finished in good faith cannot read each other's transport."""
    ours, _ = connect(XX)
    _, theirs = connect(XX)
    with pytest.raises(NoiseFault):
        theirs.open(ours.seal(b"message"))


def test_mallory_between_two_handshakes_is_seen_by_the_hash() -> None:
    """NN authenticates nobody; who sits in its middle has two hashes that differ, so channel binding shows it."""
    name = "Noise_NN_25519_ChaChaPoly_SHA256"
    alice, mallory_for_alice = open_pair(name)
    mallory_for_bob, bob = open_pair(name)
    finish(Pair(alice, mallory_for_alice))
    finish(Pair(mallory_for_bob, bob))
    assert alice.handshake_hash != bob.handshake_hash
