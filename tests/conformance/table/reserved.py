"""Bits and opcodes that mean nothing yet (RFC 6455 section 5.2)."""

from typing import Final

from tests.conformance.case import Case, ends
from tests.conformance.frames import Frame, Probe, binary, close, cont, fragments, ping, pong, text

_FRAMES: Final = {
    "message": binary(Probe()),
    "message of no bytes": binary(),
    "text": text(b"hei"),
    "ping": ping(b"hei"),
    "pong": pong(b"hei"),
    "close": close(1000),
}

CASES: Final[tuple[Case, ...]] = (
    *(
        ends(f"a {name} with reserved bits {bits:03b}", "5.2", 1002, frame.but(rsv=bits))
        for name, frame in _FRAMES.items()
        for bits in (range(1, 8) if name in ("message", "ping") else (1, 2, 4))
    ),
    *(
        ends(f"a first fragment with reserved bits {bits:03b}", "5.2", 1002, binary(b"some", fin=False, rsv=bits))
        for bits in (1, 2, 4)
    ),
    *(
        ends(
            f"a continuation with reserved bits {bits:03b}",
            "5.2",
            1002,
            fragments(b"some", b"more")[0],
            cont(b"more", rsv=bits),
        )
        for bits in (1, 2, 4)
    ),
    *(
        ends(f"opcode {opcode:#x} with {len(payload)} bytes", "5.2", 1002, Frame(opcode, payload))
        for opcode in (3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF)
        for payload in (b"", b"hei")
    ),
    *(
        ends(f"opcode {opcode:#x} within a message", "5.2", 1002, fragments(b"some", b"more")[0], Frame(opcode, b"x"))
        for opcode in (3, 7, 0xB, 0xF)
    ),
    *(
        ends(f"opcode {opcode:#x} that is not final", "5.2", 1002, Frame(opcode, b"x", fin=False))
        for opcode in (3, 0xB)
    ),
    ends("an opcode and bits that are reserved, without a mask", "5.2", 1002, Frame(0xF, b"hei", rsv=7, mask=None)),
)
