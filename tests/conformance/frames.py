"""WebSocket frames as bytes, also those that nobody may send (RFC 6455 section 5.2)."""

from dataclasses import dataclass, replace
from typing import Final

CONT: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

MASK: Final = b"\x37\xfa\x21\x3d"
"""RFC 6455 section 5.7 masks its examples with it; every frame here does."""
MINIMAL: Final = 0
SHORT: Final = 126
LONG: Final = 127


SMALLEST: Final = 55
"""Bytes of a question without a size: one `receipt:delivered`, sealed."""
PROMPT: Final = 59
"""Bytes of a question that is answered at once: the same, with a larger number."""
LEAST: Final = 86
"""Bytes of the smallest question with a size: one `msg:send` frame with a ciphertext of one byte, sealed."""


class Probe:
    """Something that the relay answers: sealed when a case is played, for its place in the order of the nonces.

    `size` is that of its Noise message, from `LEAST` on; without it the message has `SMALLEST` bytes. For most of them
    the relay has to ask its stores; a `prompt` one it can answer out of its memory, before it looks at the next byte.
    """

    def __init__(self, size: int | None = None, *, prompt: bool = False) -> None:
        self.size = size
        self.prompt = prompt

    @property
    def length(self) -> int:
        """How many bytes it will have."""
        return self.size or (PROMPT if self.prompt else SMALLEST)

    def part(self, start: int, stop: int | None = None) -> "Piece":
        """Some of its bytes."""
        return Piece(self, start, stop)

    def pieces(self, count: int) -> list["Piece"]:
        """Cut it into so many pieces; the last one has the rest."""
        length = self.length // count
        cuts = [number * length for number in range(count)]
        return [self.part(start, stop) for start, stop in zip(cuts, [*cuts[1:], None], strict=True)]


@dataclass(frozen=True)
class Piece:
    """Bytes `start` to `stop` of a sealed question."""

    probe: Probe
    start: int
    stop: int | None


@dataclass(frozen=True)
class Frame:
    """One frame. `form` forces an encoding of the length, `announced` another length than the payload has."""

    opcode: int
    payload: bytes | Piece | Probe = b""
    fin: bool = True
    rsv: int = 0
    mask: bytes | None = MASK
    form: int = MINIMAL
    announced: int | None = None

    def but(self, **changes: object) -> "Frame":
        """The same frame with something else in it."""
        return replace(self, **changes)  # type: ignore[arg-type]

    def header(self, size: int) -> bytes:
        """The bytes in front of a payload of this size."""
        length = size if self.announced is None else self.announced
        first = self.fin << 7 | self.rsv << 4 | self.opcode
        masked = 0 if self.mask is None else 0x80
        form = self.form or (length if length < SHORT else SHORT if length < 1 << 16 else LONG)
        extended = {SHORT: 2, LONG: 8}.get(form, 0)
        return bytes((first, masked | form)) + (length.to_bytes(extended) if extended else b"") + (self.mask or b"")

    def encode(self, payload: bytes) -> bytes:
        """The whole frame around what its payload turned out to be."""
        return self.header(len(payload)) + (payload if self.mask is None else masked(payload, self.mask))


def masked(payload: bytes, mask: bytes) -> bytes:
    """RFC 6455 section 5.3; written for itself, since the relay's own unmasking is what is under test."""
    key = (mask * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload) ^ int.from_bytes(key)).to_bytes(len(payload))


def binary(payload: bytes | Piece | Probe = b"", **changes: object) -> Frame:
    """A binary frame."""
    return Frame(BINARY, payload).but(**changes)


def cont(payload: bytes | Piece | Probe = b"", **changes: object) -> Frame:
    """A continuation frame."""
    return Frame(CONT, payload).but(**changes)


def text(payload: bytes = b"", **changes: object) -> Frame:
    """A text frame."""
    return Frame(TEXT, payload).but(**changes)


def ping(payload: bytes = b"", **changes: object) -> Frame:
    """A ping."""
    return Frame(PING, payload).but(**changes)


def pong(payload: bytes = b"", **changes: object) -> Frame:
    """A pong."""
    return Frame(PONG, payload).but(**changes)


def close(code: int | None = None, reason: bytes = b"", **changes: object) -> Frame:
    """A close frame, with a code or with no body."""
    return Frame(CLOSE, b"" if code is None else code.to_bytes(2) + reason).but(**changes)


def fragments(*payloads: bytes | Piece | Probe, opcode: int = BINARY) -> list[Frame]:
    """One message in so many frames."""
    last = len(payloads) - 1
    return [Frame(CONT if i else opcode, payload, fin=i == last) for i, payload in enumerate(payloads)]
