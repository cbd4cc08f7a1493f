"""One row of the table: what is sent, and what has to come of it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

from tests.conformance.frame_reader import NO_BODY
from tests.conformance.frames import CLOSE, PING, Frame, Piece, Probe


class Turn(Enum):
    """What a peer can do besides writing."""

    HALF_CLOSE = "half-close"


Part: TypeAlias = Frame | bytes | Turn
HALF_CLOSE: Final = Turn.HALF_CLOSE
FLOOD: Final = 65_536


@dataclass(frozen=True)
class Case:
    """`parts` are sent on an authenticated connection. It then lives on, or ends with one of `codes`.

    Of the parts, the first `good` ones are in order and count: when the connection lives on, each of their questions
    is answered and each of their pings has its pong, in order. When it ends, some of the last of these may be missing:
    RFC 6455 section 7.1.7 lets a relay that fails a connection stop at once.
    """

    name: str
    section: str
    parts: tuple[Part, ...]
    good: int
    codes: frozenset[int] = frozenset()

    @property
    def lives(self) -> bool:
        """Whether the connection goes on."""
        return not self.codes

    @property
    def ends_the_stream(self) -> bool:
        """Whether nothing can be sent after it."""
        return HALF_CLOSE in self.parts

    @property
    def floods(self) -> bool:
        """Whether more comes after the end than a relay that has hung up will read."""
        after = [part.payload for part in self.parts[self.good + 1 :] if isinstance(part, Frame)]
        return not self.lives and sum(len(payload) for payload in after if isinstance(payload, bytes)) > FLOOD

    @property
    def pongs(self) -> list[bytes]:
        """What has to come back for the pings."""
        return [
            part.payload
            for part in self.parts[: self.good]
            if isinstance(part, Frame) and part.opcode == PING and isinstance(part.payload, bytes)
        ]

    def gaps(self) -> Iterator[int]:
        """Before which of the good parts, and right after the last, a data frame of somebody else may stand."""
        within = False
        for number, part in enumerate(self.parts[: self.good]):
            if not within:
                yield number
            if not isinstance(part, Frame):
                within = True  # bytes of no frame, or of some of one
            elif part.opcode < CLOSE:
                within = not part.fin
        if not within:
            yield self.good

    def expected(self) -> str:
        """The expectation in words, for the page of the table."""
        if self.lives:
            return "goes on"
        return " or ".join(_WORDS.get(code, str(code)) for code in sorted(self.codes))


_WORDS: Final = {NO_BODY: "close without a code", 1006: "end without a close frame"}


def probes_of(parts: Iterable[Part]) -> list[Probe]:
    """The questions of some parts, in order, each once."""
    found: dict[Probe, None] = {}
    for part in parts:
        payload = part.payload if isinstance(part, Frame) else None
        if isinstance(payload, Piece):
            found.setdefault(payload.probe)
        elif isinstance(payload, Probe):
            found.setdefault(payload)
    return list(found)


def lives(name: str, section: str, *parts: Part) -> Case:
    """A case after which the connection goes on."""
    return Case(name, section, parts, len(parts))


def ends(name: str, section: str, codes: int | set[int], *parts: Part, after: Iterable[Part] = ()) -> Case:
    """A case whose last part ends the connection; what comes `after` it has no effect."""
    allowed = frozenset({codes} if isinstance(codes, int) else codes)
    return Case(name, section, (*parts, *after), len(parts) - 1, allowed)
