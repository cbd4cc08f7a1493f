"""Where Noise ends: 65,535 bytes for a message and 2**64 - 1 messages for a key."""

import copy
import pickle

import pytest

from tests.contract.noise.pairs import (
    IK,
    NN,
    XX,
    assert_poisoned,
    assert_transport_ended,
    connect,
    open_pair,
    open_side,
)
from varde_contract.limits import NOISE_MESSAGE_BYTES, PLAINTEXT_BYTES
from varde_contract.noise import KeyPair, NoiseFault, NoiseMisuse
from varde_contract.noise.primitives import CIPHERS, RESERVED_NONCE
from varde_contract.noise.symmetric import CipherState

OVERHEADS = [(NN, 32), (XX, 32), (IK, 32 + 48 + 16), ("Noise_Npsk0_25519_AESGCM_SHA512", 32 + 16)]


@pytest.mark.parametrize(("name", "overhead"), OVERHEADS)
def test_the_longest_handshake_message_passes(name: str, overhead: int) -> None:
    """A message of exactly 65,535 bytes is written and read."""
    pair = open_pair(name)
    payload = b"x" * (NOISE_MESSAGE_BYTES - overhead)
    message = pair.initiator.write_message(payload)
    assert len(message) == 65_535
    assert pair.responder.read_message(message) == payload


@pytest.mark.parametrize(("name", "overhead"), OVERHEADS)
def test_one_byte_more_is_not_written(name: str, overhead: int) -> None:
    """A payload that would make 65,536 bytes is our bug and ends the handshake."""
    initiator = open_side(name, initiator=True)
    with pytest.raises(NoiseMisuse, match="65535"):
        initiator.write_message(bytes(NOISE_MESSAGE_BYTES - overhead + 1))
    assert_poisoned(initiator)


@pytest.mark.parametrize(("name", "overhead"), OVERHEADS)
def test_one_byte_more_is_not_read(name: str, overhead: int) -> None:
    """A message of 65,536 bytes is the peer's fault, even where its first message would take any payload."""
    responder = open_side(name, initiator=False)
    message = KeyPair.generate().public + bytes(NOISE_MESSAGE_BYTES + 1 - 32)
    assert len(message) > overhead
    with pytest.raises(NoiseFault, match="too long"):
        responder.read_message(message)
    assert_poisoned(responder)


def test_the_longest_transport_message_passes() -> None:
    """65,519 bytes of plaintext make 65,535 on the wire."""
    ours, theirs = connect(IK)
    sealed = ours.seal(b"x" * PLAINTEXT_BYTES)
    assert len(sealed) == 65_535
    assert theirs.open(sealed) == b"x" * 65_519


def test_an_empty_transport_message_passes() -> None:
    """Nothing at all is a message: 16 bytes of tag."""
    ours, theirs = connect(IK)
    sealed = ours.seal(b"")
    assert len(sealed) == 16
    assert theirs.open(sealed) == b""


def test_one_byte_more_is_not_sealed() -> None:
    """65,520 bytes of plaintext are our bug and end the transport."""
    ours, _ = connect(IK)
    with pytest.raises(NoiseMisuse, match="65519"):
        ours.seal(bytes(PLAINTEXT_BYTES + 1))
    assert_transport_ended(ours)


@pytest.mark.parametrize("size", [0, 15, NOISE_MESSAGE_BYTES + 1])
def test_what_cannot_be_a_message_is_not_opened(size: int) -> None:
    """Shorter than a tag or longer than the limit is the peer's fault and ends the transport."""
    _, theirs = connect(IK)
    with pytest.raises(NoiseFault, match="too short or too long"):
        theirs.open(bytes(size))
    assert_transport_ended(theirs)


def test_a_wrong_type_ends_the_transport() -> None:
    """Even a bug that is not Noise's leaves no half-used nonce behind."""
    for call in ("seal", "open"):
        ours, _ = connect(IK)
        with pytest.raises(TypeError):
            getattr(ours, call)("x" * 32)
        assert_transport_ended(ours)


def test_counters_count_messages() -> None:
    """Each direction has its own counter, and rekeying leaves it alone."""
    ours, theirs = connect(IK)
    for _ in range(3):
        theirs.open(ours.seal(b"forth"))
    ours.open(theirs.seal(b"back"))
    ours.rekey_outgoing()
    theirs.rekey_incoming()
    assert (ours.outgoing_nonce, ours.incoming_nonce) == (3, 1)
    assert (theirs.outgoing_nonce, theirs.incoming_nonce) == (1, 3)
    assert theirs.open(ours.seal(b"on")) == b"on"


@pytest.mark.parametrize("cipher", CIPHERS)
def test_rekeying_changes_the_key_of_one_direction(cipher: str) -> None:
    """A side that did not rekey cannot read what follows, while the other direction goes on."""
    name = f"Noise_NN_25519_{cipher}_SHA256"
    ours, theirs = connect(name)
    ours.rekey_outgoing()
    assert ours.open(theirs.seal(b"back")) == b"back"
    with pytest.raises(NoiseFault, match="did not authenticate"):
        theirs.open(ours.seal(b"forth"))


@pytest.mark.parametrize("cipher", CIPHERS)
def test_the_reserved_nonce_is_never_used(cipher: str) -> None:
    """The last nonce before 2**64 - 1 still serves; then sealing and opening are refused, each on its side."""
    ours, theirs = connect(f"Noise_NN_25519_{cipher}_SHA256")
    ours._outgoing_nonce = theirs._incoming_nonce = RESERVED_NONCE - 1
    assert theirs.open(ours.seal(b"last")) == b"last"
    assert ours.outgoing_nonce == theirs.incoming_nonce == 2**64 - 1
    with pytest.raises(NoiseMisuse, match="exhausted"):
        ours.seal(b"one more")
    with pytest.raises(NoiseMisuse, match="exhausted"):
        theirs.open(bytes(32))
    assert_transport_ended(ours)
    assert_transport_ended(theirs)


def test_rekeying_does_not_bring_an_exhausted_counter_back() -> None:
    """At the end of the counter only a new handshake helps."""
    ours, theirs = connect(IK)
    ours._outgoing_nonce = theirs._incoming_nonce = RESERVED_NONCE
    for call in (ours.rekey_outgoing, theirs.rekey_incoming):
        with pytest.raises(NoiseMisuse, match="exhausted"):
            call()


def test_the_handshake_cipher_refuses_the_reserved_nonce_too() -> None:
    """The rule holds where no handshake could ever come near it."""
    state = CipherState(CIPHERS["ChaChaPoly"], bytes(32))
    state._nonce = RESERVED_NONCE
    for call in (state.encrypt_with_ad, state.decrypt_with_ad):
        with pytest.raises(NoiseMisuse, match="exhausted"):
            call(b"", bytes(16))


def test_a_failed_transport_shows_nothing_and_does_nothing() -> None:
    """After a failure there is neither key nor counter in either direction."""
    ours, _ = connect(IK)
    with pytest.raises(NoiseFault):
        ours.open(bytes(32))
    assert_transport_ended(ours)
    # Even a counter that was wrongly reset finds no key to use.
    ours._outgoing_nonce = ours._incoming_nonce = 0
    with pytest.raises(NoiseMisuse, match="no key"):
        ours.seal(b"")


def test_a_transport_cannot_be_copied() -> None:
    """No copy or pickle can use a nonce twice."""
    ours, _ = connect(IK)
    for twice in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(NoiseMisuse, match="copied"):
            twice(ours)
