"""Sizes, masks and the encodings of lengths (RFC 6455 sections 5.1 to 5.3)."""

from typing import Final

from tests.conformance.case import Case, ends, lives
from tests.conformance.frames import LONG, SHORT, Probe, binary, ping, text
from varde_contract.close_codes import CloseCode

NOT_NOISE: Final = CloseCode.PROTOCOL_ERROR.value
"""A whole message reached the session, which found that it is none of Noise."""

SIZES: Final = (86, 124, 125, 126, 127, 128, 255, 256, 1_000, 16_384, 32_767, 65_534, 65_535)

CASES: Final[tuple[Case, ...]] = (
    lives("the smallest question", "5.2", binary(Probe())),
    lives("two messages", "5.2", binary(Probe()), binary(Probe())),
    lives("twenty messages", "5.2", *(binary(Probe()) for _ in range(20))),
    *(lives(f"a message of {size} bytes", "5.2", binary(Probe(size))) for size in SIZES),
    *(
        lives(f"a mask of {mask.hex()}", "5.3", binary(Probe(), mask=mask))
        for mask in (bytes(4), b"\xff" * 4, b"\x00\x00\x00\x01", b"\x80\x00\x00\x00")
    ),
    ends("a message of no bytes", "5.2", NOT_NOISE, binary()),
    *(
        ends(f"{size} bytes that are no Noise message", "5.2", NOT_NOISE, binary(bytes(size)))
        for size in (1, 15, 16, 125, 126, 127, 128, 65_535)
    ),
    # A length has to be encoded minimally. Whom a peer that does not would harm, the RFC does not say, and neither
    # asks a receiver to look: ours takes what is not ambiguous.
    lives("a length of two bytes where none is needed", "5.2", binary(Probe(), form=SHORT)),
    lives("a length of eight bytes where none is needed", "5.2", binary(Probe(), form=LONG)),
    lives("a length of eight bytes where two are enough", "5.2", binary(Probe(65_535), form=LONG)),
    lives("a ping with a length of two bytes", "5.2", ping(b"five!", form=SHORT)),
    lives("a ping with a length of eight bytes", "5.2", ping(b"five!", form=LONG)),
    *(
        ends(f"a length of eight bytes with the top bit set, {kind}", "5.2", {1002, 1009}, frame(announced=1 << 63))
        for kind, frame in (("binary", binary), ("text", text), ("ping", ping))
    ),
    ends("the largest length there is", "5.2", {1002, 1009}, binary(announced=(1 << 64) - 1)),
    *(
        ends(f"{name} that is not masked", "5.1", 1002, frame.but(mask=None))
        for name, frame in (
            ("a message", binary(Probe())),
            ("a message of no bytes", binary()),
            ("a large message", binary(Probe(65_535))),
            ("a text", text(b"hei")),
            ("a ping", ping(b"hei")),
        )
    ),
)
