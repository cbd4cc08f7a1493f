"""What holds for all bytes: payloads come back whole, and nothing but a NoiseFault comes of nonsense."""

import contextlib
from collections.abc import Iterator

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.contract.noise.pairs import FAULTS, IK, NN, XX, assert_poisoned, connect, finish, open_pair, open_side
from varde_contract.noise import NoiseFault
from varde_contract.noise.patterns import PATTERNS

names = st.builds(
    "Noise_{}_25519_{}_{}".format,
    st.sampled_from(sorted(PATTERNS)),
    st.sampled_from(["ChaChaPoly", "AESGCM"]),
    st.sampled_from(["SHA256", "SHA512", "BLAKE2s", "BLAKE2b"]),
)
payloads = st.binary(max_size=300)

CALM = settings(deadline=None)  # how long an example takes says nothing about Noise


@given(name=names, said=st.lists(payloads, min_size=4, max_size=4))
@CALM
def test_every_payload_of_a_handshake_comes_back(name: str, said: list[bytes]) -> None:
    """Whatever is said during any handshake is heard as it was said."""
    pair = open_pair(name)
    for payload in said:
        writer, reader = pair.writer, pair.reader
        if writer.my_turn:
            assert reader.read_message(writer.write_message(payload)) == payload
    assert pair.both_finished
    assert pair.initiator.handshake_hash == pair.responder.handshake_hash


@given(
    cipher=st.sampled_from(["ChaChaPoly", "AESGCM"]),
    said=st.lists(st.tuples(st.booleans(), st.booleans(), payloads), max_size=30),
)
@CALM
def test_every_transport_message_comes_back(cipher: str, said: list[tuple[bool, bool, bytes]]) -> None:
    """Messages in both directions, in any mixture and with rekeys in between, are heard as they were said."""
    ours, theirs = connect(f"Noise_NN_25519_{cipher}_SHA256")
    for forth, rekey, payload in said:
        sender, receiver = (ours, theirs) if forth else (theirs, ours)
        if rekey:
            sender.rekey_outgoing()
            receiver.rekey_incoming()
        sealed = sender.seal(payload)
        assert payload not in sealed or len(payload) < 4
        assert receiver.open(sealed) == payload


@contextlib.contextmanager
def refused() -> Iterator[None]:
    """What happens inside ends in a NoiseFault with a text that is known, and in nothing else."""
    with pytest.raises(NoiseFault) as caught:
        yield
    assert str(caught.value) in FAULTS


@given(message=st.binary(max_size=400))
@CALM
def test_nonsense_is_refused_by_a_responder_that_is_known(message: bytes) -> None:
    """IK authenticates its first message, so no made-up bytes are taken."""
    with refused():
        open_side(IK, initiator=False).read_message(message)


@given(first=st.binary(max_size=200), third=st.binary(max_size=200))
@CALM
def test_nonsense_never_finishes_xx(first: bytes, third: bytes) -> None:
    """XX takes any 32 bytes for a key at first; who made them up gets no further than the third message."""
    responder = open_side(XX, initiator=False)
    with refused():
        responder.read_message(first)
        responder.write_message()
        responder.read_message(third)
    assert_poisoned(responder)


@given(answer=st.binary(max_size=400), name=st.sampled_from([XX, IK, NN]))
@CALM
def test_nonsense_is_refused_by_an_initiator(answer: bytes, name: str) -> None:
    """No made-up answer finishes what an initiator began."""
    initiator = open_side(name, initiator=True)
    initiator.write_message()
    with refused():
        initiator.read_message(answer)
    assert_poisoned(initiator)


@given(message=st.binary(max_size=400))
@CALM
def test_nonsense_is_refused_by_a_transport(message: bytes) -> None:
    """No made-up message opens."""
    _, theirs = connect(NN)
    with refused():
        theirs.open(message)


@given(choice=st.data())
@CALM
def test_a_spoiled_message_is_refused(choice: st.DataObject) -> None:
    """A true first message of IK with any splice, cut or repetition in it is refused."""
    message = open_side(IK, initiator=True).write_message(b"payload")
    start = choice.draw(st.integers(0, len(message)))
    end = choice.draw(st.integers(start, len(message)))
    between = choice.draw(st.one_of(st.binary(max_size=120), st.just(message)))
    spoiled = message[:start] + between + message[end:]
    assume(spoiled != message)
    with refused():
        open_side(IK, initiator=False).read_message(spoiled)


@given(name=names)
@CALM
def test_the_same_pair_of_parties_never_shares_a_hash_by_chance(name: str) -> None:
    """Two handshakes of one pair always differ in what they are called."""
    one, two = open_pair(name), open_pair(name)
    finish(one)
    finish(two)
    assert one.responder.handshake_hash != two.responder.handshake_hash
