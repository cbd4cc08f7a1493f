"""Streams of bytes for a property test: valid frames, then mutations of them, then chunks."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from hypothesis import strategies as st

from tests.conformance.case import Part
from tests.conformance.frames import (
    BINARY,
    CLOSE,
    CONT,
    LONG,
    MINIMAL,
    PING,
    PONG,
    TEXT,
    Frame,
    Probe,
    close,
    fragments,
    ping,
    pong,
)
from tests.conformance.variants import Chunks

PLACES: Final = st.integers(0, 1_000)
"""Where in a stream of any length: thousandths of it."""


@dataclass(frozen=True)
class Mutation:
    """One thing that goes wrong with the bytes at a place."""

    kind: str
    place: int
    value: int

    def apply(self, sent: bytes) -> bytes:
        """Return what is left of the bytes."""
        at = len(sent) * self.place // 1_001
        match self.kind:
            case "flip":
                return sent[:at] + bytes((sent[at] ^ (1 << self.value % 8),)) + sent[at + 1 :] if sent else sent
            case "set":
                return sent[:at] + bytes((self.value,)) + sent[at + 1 :]
            case "insert":
                return sent[:at] + bytes((self.value,)) + sent[at:]
            case "delete":
                return sent[:at] + sent[at + 1 + self.value % 8 :]
            case "repeat":
                return sent[: at + self.value] + sent[at:]
        return sent[:at]


@dataclass(frozen=True)
class Stream:
    """What is sent: the frames, what goes wrong with their bytes, and where the writes end."""

    parts: tuple[Part, ...]
    mutations: tuple[Mutation, ...]
    cuts: tuple[int, ...]

    def encode(self, segments: Sequence[tuple[int, bytes]]) -> bytes:
        """The bytes, with everything that went wrong."""
        sent = b"".join(segment for _, segment in segments)
        for mutation in self.mutations:
            sent = mutation.apply(sent)
        return sent

    def chunks(self, sent: bytes) -> Chunks:
        """The writes."""
        places = sorted({0, len(sent), *(len(sent) * cut // 1_000 for cut in self.cuts)})
        return [sent[start:stop] for start, stop in pairwise(places)]


def _probes() -> st.SearchStrategy[Probe]:
    sizes = st.none() | st.integers(100, 400) | st.just(65_535)
    return st.builds(Probe, sizes) | st.just(True).map(lambda prompt: Probe(prompt=prompt))


@st.composite
def _messages(draw: st.DrawFn) -> list[Part]:
    """A message in one frame or several, with control frames between those."""
    frames = fragments(*draw(_probes()).pieces(draw(st.sampled_from((1, 1, 1, 2, 3, 5)))))
    parts: list[Part] = [frames[0]]
    for frame in frames[1:]:
        parts += [*draw(st.lists(_controls(), max_size=2)), frame]
    return parts


def _controls() -> st.SearchStrategy[Part]:
    payloads = st.binary(max_size=125)
    return st.builds(ping, payloads) | st.builds(pong, payloads)


def _wild() -> st.SearchStrategy[Part]:
    """A frame of any kind, in order or not."""
    return st.builds(
        Frame,
        st.sampled_from((CONT, TEXT, BINARY, CLOSE, PING, PONG, 3, 11)),
        st.binary(max_size=130),
        fin=st.booleans(),
        rsv=st.sampled_from((0, 0, 0, 4, 1)),
        mask=st.sampled_from((b"\x37\xfa\x21\x3d", bytes(4), None)),
        form=st.sampled_from((MINIMAL, MINIMAL, LONG)),
        announced=st.none() | st.sampled_from((0, 125, 65_536, 1 << 40, 1 << 63)),
    )


def _closes() -> st.SearchStrategy[Part]:
    return st.builds(close, st.sampled_from((None, 1000, 1005, 3000)), st.binary(max_size=20))


def _some(parts: st.SearchStrategy[Part]) -> st.SearchStrategy[list[Part]]:
    return parts.map(lambda part: [part])


@st.composite
def streams(draw: st.DrawFn) -> Stream:
    """Valid frames mostly, wild ones now and then; few mutations, any chunks."""
    ordinary = _messages() | _messages() | _some(_controls())
    some = draw(st.lists(ordinary, min_size=1, max_size=6))
    if draw(st.booleans()):
        some.insert(draw(st.integers(0, len(some))), draw(_some(_wild()) | _some(_closes())))
    kinds = st.sampled_from(("flip", "set", "insert", "delete", "repeat", "truncate"))
    mutations = draw(st.lists(st.builds(Mutation, kinds, PLACES, st.integers(0, 255)), max_size=2))
    cuts = draw(st.lists(PLACES, max_size=8))
    return Stream(tuple(part for parts in some for part in parts), tuple(mutations), tuple(cuts))
