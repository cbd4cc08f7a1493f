"""Messages in several frames (RFC 6455 section 5.4)."""

from typing import Final

from tests.conformance.case import Case, Part, ends, lives
from tests.conformance.frames import Frame, Probe, binary, cont, fragments, ping, pong, text
from varde_contract.close_codes import CloseCode

NOT_NOISE: Final = CloseCode.PROTOCOL_ERROR.value


def cut(count: int, size: int | None = None) -> list[Frame]:
    """A question in so many frames."""
    return fragments(*Probe(size).pieces(count))


def among(count: int, *others: Frame) -> list[Part]:
    """A question in so many frames, with these others between any two."""
    first, *following = cut(count)
    return [first, *(part for frame in following for part in (*others, frame))]


START: Final = binary(b"some", fin=False)
"""A message that is not over."""

CASES: Final[tuple[Case, ...]] = (
    *(lives(f"a message in {count} frames", "5.4", *cut(count)) for count in (2, 3, 5, 55)),
    lives("a large message in 2 frames", "5.4", *cut(2, 65_535)),
    lives("a large message in 100 frames", "5.4", *cut(100, 65_535)),
    lives("fragments of 125 bytes", "5.4", *cut(3, 375)),
    lives("fragments of 126 bytes", "5.4", *cut(3, 378)),
    lives("all bytes in the first frame", "5.4", *fragments(Probe(), b"")),
    lives("all bytes in the last frame", "5.4", *fragments(b"", Probe())),
    lives("all bytes in the middle frame", "5.4", *fragments(b"", Probe(), b"")),
    lives("ten empty frames in front", "5.4", *fragments(*[b""] * 10, Probe())),
    lives("two messages in 2 frames each", "5.4", *cut(2), *cut(2)),
    lives("whole messages around one in 2 frames", "5.4", binary(Probe()), *cut(2), binary(Probe())),
    lives("a ping within a message", "5.4", *among(2, ping(b"within"))),
    lives("an empty ping within a message", "5.4", *among(2, ping())),
    lives("a pong within a message", "5.4", *among(2, pong(b"within"))),
    lives("pings and pongs between any two frames", "5.4", *among(10, ping(b"1"), pong(b"2"), ping(b"3"))),
    lives("ten pings within a message", "5.4", *among(2, *(ping(b"%d" % number) for number in range(10)))),
    ends("a message of two empty frames", "5.4", NOT_NOISE, *fragments(b"", b"")),
    ends("a fragmented message that is none of Noise", "5.4", NOT_NOISE, *fragments(b"so", b"me", b"thing")),
    ends("a continuation of nothing", "5.4", 1002, cont(b"more")),
    ends("a continuation of nothing that is not final", "5.4", 1002, cont(b"more", fin=False)),
    ends("an empty continuation of nothing", "5.4", 1002, cont()),
    ends("a continuation after a whole message", "5.4", 1002, binary(Probe()), cont(b"more")),
    ends("a continuation after a fragmented message", "5.4", 1002, *cut(2), cont(b"more")),
    ends("a continuation of nothing after a ping", "5.4", 1002, ping(b"a"), cont(b"more")),
    ends("a whole message within a message", "5.4", 1002, START, binary(Probe()), after=[cont(b"more")]),
    ends("a message begins within a message", "5.4", 1002, START, binary(b"more", fin=False), after=[cont(b"more")]),
    ends("an empty message within a message", "5.4", 1002, START, binary()),
    ends("a message within the third frame of one", "5.4", 1002, START, cont(b"more", fin=False), binary(Probe())),
    ends("a text within a message", "5.4", {1002, 1003}, START, text(b"more")),
    ends("a message within one, after a ping", "5.4", 1002, START, ping(b"a"), binary(Probe())),
    ends("more than 1,024 empty frames", "10.4", 1008, START, *(cont(fin=False) for _ in range(1_023))),
    lives("a message in 1,024 frames", "10.4", *fragments(*[b""] * 1_023, Probe())),
)
