"""Bytes that nearly are frames: accepted, or refused by name, else a bug."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from tests.contract import examples as x
from tests.contract.strategies import one_of
from tests.contract.two_cores import open_pair
from varde_contract import codec
from varde_contract import frames as f
from varde_contract.close_codes import CloseCode
from varde_contract.errors import PeerFault
from varde_contract.limits import PLAINTEXT_BYTES
from varde_contract.session import State

Mutation: TypeAlias = Callable[[bytes], bytes]

T = TypeVar("T")

SIDES: dict[str, Callable[[bytes], Sequence[Struct]]] = {
    "client": codec.decode_client_frames,
    "relay": codec.decode_server_frames,
}
places = st.floats(0, 1, exclude_max=True)


def _at(content: bytes, place: float) -> int:
    return int(place * len(content))


def flipped(place: float, bits: int) -> Mutation:
    """Change bits of one byte."""

    def mutate(content: bytes) -> bytes:
        at = _at(content, place)
        return content[:at] + bytes(byte ^ bits for byte in content[at : at + 1]) + content[at + 1 :]

    return mutate


def replaced(start: float, end: float, new: bytes) -> Mutation:
    """Put something in the place of a slice, which may be empty, as what is put there may be."""

    def mutate(content: bytes) -> bytes:
        first, last = sorted((_at(content, start), _at(content, end)))
        return content[:first] + new + content[last:]

    return mutate


def repeated(start: float, end: float, times: int) -> Mutation:
    """Say a slice again and again."""

    def mutate(content: bytes) -> bytes:
        first, last = sorted((_at(content, start), _at(content, end)))
        return content[:first] + content[first:last] * times + content[last:]

    return mutate


# What msgpack makes of a byte: lengths that are not there, other types, other widths, ids of another length.
tokens = st.sampled_from(
    [
        *(b"\xc0", b"\xc1", b"\xc2", b"\xcb", b"\xcf" + b"\xff" * 8, b"\xd3\x80" + bytes(7), b"\xdd\xff\xff\xff\xff"),
        *(
            b"\xdf\x00\x00\x00\x02",
            b"\xc6\x7f\xff\xff\xff",
            b"\xc4\x0f",
            b"\xd9\x24",
            b"\xc7\x0c\xff",
            b"\x90",
            b"\x80",
        ),
    ]
)
mutations = st.lists(
    st.builds(flipped, places, st.integers(1, 255))
    | st.builds(replaced, places, places, tokens | st.binary(max_size=8))
    | st.builds(repeated, places, places, st.integers(0, 3)),
    min_size=1,
    max_size=4,
)
frames = st.lists(one_of((*x.CLIENT_KINDS, *x.SERVER_KINDS)), min_size=1, max_size=3)
valid = frames.map(lambda some: codec.pack([codec.encode_frame(frame) for frame in some]))


def chunks(content: bytes, cuts: list[float]) -> Iterator[bytes]:
    """Cut at these places: what a peer might send as several messages."""
    places_in_order = sorted(_at(content, cut) for cut in cuts)
    for first, last in zip((0, *places_in_order), (*places_in_order, len(content)), strict=True):
        yield content[first:last]


def mutated(content: bytes, steps: list[Mutation]) -> bytes:
    """Apply each step to what the one before left."""
    for step in steps:
        content = step(content)
    return content


def judged(decode: Callable[[bytes], T], content: bytes, close_code: CloseCode) -> T | None:
    """Return what was accepted, or None for a refusal with this close code; let everything else through as the bug."""
    try:
        return decode(content)
    except PeerFault as refused:
        if refused.close_code is not close_code:
            raise
        return None


@pytest.mark.parametrize("side", SIDES)
@given(valid, mutations, st.lists(places, max_size=2))
def test_the_codec_accepts_or_refuses(side: str, content: bytes, steps: list[Mutation], cuts: list[float]) -> None:
    """Nothing but PeerFault comes of broken bytes; what is accepted can be said again, but for bad frames."""
    decode = SIDES[side]
    for chunk in chunks(mutated(content, steps), cuts):
        accepted = judged(decode, chunk, CloseCode.PROTOCOL_ERROR)
        good = [frame for frame in accepted or () if not isinstance(frame, f.MalformedFrame)]
        assert not good or decode(codec.pack([codec.encode_frame(frame) for frame in good])) == good


@given(st.just(codec.encode_hello(x.HELLO)) | st.binary(max_size=200), mutations)
def test_hello_is_accepted_or_refused(payload: bytes, steps: list[Mutation]) -> None:
    """Whatever is in the last handshake payload, Hello comes out or the handshake has failed."""
    hello = judged(codec.decode_hello, mutated(payload, steps), CloseCode.BAD_HELLO)
    assert hello is None or codec.decode_hello(codec.encode_hello(hello)) == hello


@pytest.mark.parametrize("speaker", ["client", "relay"])
@given(valid, mutations)
def test_a_session_survives_its_peer(speaker: str, content: bytes, steps: list[Mutation]) -> None:
    """A peer that holds the keys may say anything: its frames come out, or this side is closed for good."""
    pair = open_pair().reach(State.LIVE)
    talker, listener = (pair.client, pair.server) if speaker == "client" else (pair.server, pair.client)
    sealed = talker.seal(mutated(content, steps)[:PLAINTEXT_BYTES])
    accepted = judged(listener.receive, sealed, CloseCode.PROTOCOL_ERROR)
    assert (accepted is None) is (listener.state is State.CLOSED)
