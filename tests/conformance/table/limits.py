"""Messages at the limit of 65,535 bytes and beyond (RFC 6455 sections 7.4.1 and 10.4)."""

from typing import Final

from tests.conformance.case import Case, Part, ends, lives
from tests.conformance.frames import Frame, Probe, binary, cont, fragments, ping, text

MOST: Final = 65_535


def announced(size: int) -> Frame:
    """The header of a message of this size, and nothing of the message."""
    return binary(announced=size)


def with_ping(probe: Probe, cut: int, payload: bytes) -> list[Part]:
    """A question in two frames, the second of which begins at `cut`, and a ping between them."""
    return [binary(probe.part(0, cut), fin=False), ping(payload), cont(probe.part(cut))]


CASES: Final[tuple[Case, ...]] = (
    lives("the largest message", "10.4", binary(Probe(MOST))),
    lives("the largest message in two frames", "10.4", *fragments(*Probe(MOST).pieces(2))),
    lives("the largest message, then a small one", "10.4", binary(Probe(MOST)), binary(Probe())),
    lives("a ping within a message that leaves no room", "5.4", *with_ping(Probe(MOST), MOST - 5, bytes(125))),
    lives("a ping within a message that is full already", "5.4", *with_ping(Probe(MOST), MOST, b"hei")),
    *(
        ends(f"{size:,} bytes announced", "10.4", 1009, announced(size))
        for size in (MOST + 1, MOST + 125, 1 << 17, 1 << 20, 1 << 31, 1 << 32, (1 << 63) - 1)
    ),
    ends("one byte too many, sent whole", "10.4", 1009, binary(bytes(MOST + 1))),
    ends("a mebibyte, sent whole", "10.4", 1009, binary(bytes(1 << 20))),
    ends("a text that is too large", "10.4", {1003, 1009}, text(announced=MOST + 1)),
    ends("a fragment that is too large", "10.4", 1009, binary(announced=MOST + 1, fin=False)),
    ends("one byte too many in two frames", "10.4", 1009, binary(bytes(MOST), fin=False), cont(b"x")),
    ends("the same, not final", "10.4", 1009, binary(bytes(MOST), fin=False), cont(b"x", fin=False)),
    ends("twice the limit in two frames", "10.4", 1009, binary(bytes(MOST), fin=False), cont(bytes(MOST))),
    ends("a continuation that is too large by itself", "10.4", 1009, binary(b"x", fin=False), cont(announced=MOST + 1)),
    ends(
        "too many bytes in a hundred frames",
        "10.4",
        1009,
        *fragments(*[bytes(656)] * 99)[:-1],
        cont(bytes(656), fin=False),
        cont(bytes(656)),
    ),
)
