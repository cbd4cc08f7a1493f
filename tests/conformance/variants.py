"""The ways in which the bytes of one case reach the relay: both its paths, and each step from one to the other."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from tests.conformance.case import Case
from tests.conformance.frames import PROMPT, Frame, Probe, binary

Segments: TypeAlias = list[tuple[int, bytes]]
"""For each part: how many of its bytes are header, and its bytes."""
Chunks: TypeAlias = list[bytes]

SPLITS: Final = 32
"""Of one case that lives on; a few more bytes of the same payload teach nothing. Half of it among fast frames."""
SPLITS_TO_THE_END: Final = 8
"""Of one case that ends its connection, for each needs a handshake. The same."""
OCTETS: Final = 300
"""More are not sent one by one."""
MANY: Final = 64
"""More parts are not sent one by one."""


@dataclass(frozen=True)
class Variant:
    """`before`, `between` and `after` say where frames for the fast path stand; `cut` makes chunks of everything."""

    name: str
    cut: Callable[[Segments], Chunks]
    before: bool = False
    between: bool = False
    after: bool = False

    @property
    def whole(self) -> bool:
        """Whether everything is in one write."""
        return self.cut is whole


def fast() -> Frame:
    """A frame that the fast path takes: binary, whole, final, masked."""
    return binary(Probe(prompt=True))


def whole(segments: Segments) -> Chunks:
    """Everything in one write."""
    return [_joined(segments)]


def octets(segments: Segments) -> Chunks:
    """Octet by octet; of what is long, the beginning and the end."""
    joined = _joined(segments)
    edge = len(joined) if len(joined) <= OCTETS else OCTETS // 2
    first, last = joined[:edge], joined[edge:][-edge:]
    middle = joined[edge : len(joined) - len(last)]
    return [*map(_octet, first), *filter(None, [middle]), *map(_octet, last)]


def parts(segments: Segments) -> Chunks:
    """Part by part; many of them a few at a time."""
    some = 1 if len(segments) <= MANY else len(segments) // MANY
    return [chunk for at in range(0, len(segments), some) if (chunk := _joined(segments[at : at + some]))]


def split_at(place: int) -> Callable[[Segments], Chunks]:
    """Everything in two writes."""

    def cut(segments: Segments) -> Chunks:
        joined = _joined(segments)
        return [chunk for chunk in (joined[:place], joined[place:]) if chunk]

    return cut


def places(segments: Segments, most: int) -> list[int]:
    """Where a split may matter: within every header, around every edge, and in the middle of what is long."""
    found, start = set[int](), 0
    for header, segment in segments:
        end = start + len(segment)
        inner = start + header
        found |= {*range(start, inner + 2), (inner + end) // 2, end - 1, end}
        start = end
    inside = sorted(place for place in found if 0 < place < start)
    step = max(1, -(-len(inside) // most))
    return inside[::step]


def variants(case: Case, segments: Segments) -> Iterator[Variant]:
    """Every way to send this case; `segments` are those of the case alone, as long as they will be."""
    after = not case.ends_the_stream
    yield Variant("whole", whole)
    yield Variant("octet by octet", octets)
    yield Variant("part by part", parts)
    yield Variant("right after a fast frame", whole, before=True)
    if after:
        yield Variant("right before a fast frame", whole, after=True)
    yield Variant("octet by octet among fast frames", octets, before=True, after=after)
    yield Variant("among fast frames", whole, before=True, between=True, after=after)
    yield Variant("part by part among fast frames", parts, before=True, between=True, after=after)
    most = SPLITS if case.lives else SPLITS_TO_THE_END
    for place in places(segments, most):
        yield Variant(f"split at {place}", split_at(place))
    around = [_fast_segment(), *segments, _fast_segment()]
    for place in places(around, most // 2):
        yield Variant(f"among fast frames, split at {place}", split_at(place), before=True, after=after)


def _fast_segment() -> tuple[int, bytes]:
    header, size = 6, PROMPT
    return header, bytes(header + size)


def _octet(value: int) -> bytes:
    return bytes((value,))


def _joined(segments: Segments) -> bytes:
    return b"".join(segment for _, segment in segments)
