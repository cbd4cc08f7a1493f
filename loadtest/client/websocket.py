"""The client's end of a WebSocket (RFC 6455) without a socket: the upgrade, frames out, frames in."""

import base64
import hashlib
import re
from typing import Final

from websockets.speedups import apply_mask

BINARY: Final = 2
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10

MASK: Final = b"\x37\xfa\x21\x3d"
"""One key for all frames, so that they can be built before. Not zero: some servers do not unmask then."""
RESPONSE_BYTES: Final = 16 * 1024
MESSAGE_BYTES: Final = 16 * 1024 * 1024

_KEY: Final = base64.b64encode(b"varde benchmark!")
_ACCEPT: Final = base64.b64encode(
    hashlib.sha1(_KEY + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11", usedforsecurity=False).digest()
)
_SHORT: Final = 125
_FIN: Final = 0x80
_MASKED: Final = 0x80
OPCODE: Final = 0x0F
_RESERVED: Final = 0x70
"""The bits of a frame's first two bytes (RFC 6455, section 5.2)."""


class ServerFault(Exception):
    """The server answered with something a generator cannot go on with."""


class UpgradeRefused(ServerFault):
    """The server does not open a WebSocket now. `retry_after_s` is what it said of when it might, in seconds."""

    def __init__(self, status: int, retry_after_s: int | None, said: str) -> None:
        super().__init__(f"the upgrade was answered with {said!r}")
        self.status = status
        self.retry_after_s = retry_after_s


def upgrade_request(authority: str, path: str = "/", subprotocol: str | None = None) -> bytes:
    """Return the request that opens a WebSocket. `authority` is host:port."""
    protocol = "" if subprotocol is None else f"Sec-WebSocket-Protocol: {subprotocol}\r\n"
    return (
        f"GET {path} HTTP/1.1\r\nHost: {authority}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {_KEY.decode()}\r\nSec-WebSocket-Version: 13\r\n{protocol}\r\n"
    ).encode()


def split_response(received: bytes) -> bytes | None:
    """Return what came behind the 101 response, None while it is not complete.

    Raises UpgradeRefused for another status, ServerFault for no answer of HTTP, or one without the right proof.
    """
    head, end, rest = received.partition(b"\r\n\r\n")
    if not end:
        if len(received) > RESPONSE_BYTES:
            raise ServerFault("the response to the upgrade does not end")
        return None
    said = head.split(b"\r\n", 1)[0][:80].decode("ascii", "replace")
    status = re.match(r"HTTP/1\.1 (\d{3})(?: |$)", said, re.ASCII)
    if status is None:
        raise ServerFault(f"the upgrade was answered with {said!r}")
    if status[1] != "101":
        after = re.search(rb"(?im)^retry-after:[ \t]*(\d{1,6})[ \t]*\r?$", head)
        raise UpgradeRefused(int(status[1]), int(after[1]) if after else None, said)
    if not re.search(rb"(?im)^sec-websocket-accept:[ \t]*" + re.escape(_ACCEPT) + rb"[ \t]*\r?$", head):
        raise ServerFault("the upgrade was accepted without the right Sec-WebSocket-Accept")
    return rest


def masked(payload: bytes, opcode: int = BINARY) -> bytes:
    """Return one final, masked frame of a client."""
    size = len(payload)
    if size <= _SHORT:
        head = bytes((_FIN | opcode, _MASKED | size))
    elif size < 1 << 16:
        head = bytes((_FIN | opcode, _MASKED | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((_FIN | opcode, _MASKED | 127)) + size.to_bytes(8, "big")
    return head + MASK + apply_mask(payload, MASK)


def measure_frame(
    received: bytes | bytearray | memoryview, start: int, most: int = MESSAGE_BYTES
) -> tuple[int, int] | None:
    """Return where the payload of the frame at `start` begins and ends; None when its head is not all there.

    Raises ServerFault for a frame that is masked, fragmented, longer than `most` or has a reserved bit.
    """
    if len(received) - start < 2:  # noqa: PLR2004 - the two bytes every frame begins with
        return None
    first, size = received[start], received[start + 1]
    if size & _MASKED or first & _RESERVED or not first & _FIN:
        raise ServerFault("a frame of the server is masked, fragmented or has a reserved bit")
    if size <= _SHORT:
        return start + 2, start + 2 + size
    width = 2 if size == 126 else 8  # noqa: PLR2004 - RFC 6455 section 5.2
    begin = start + 2 + width
    if len(received) < begin:
        return None
    size = int.from_bytes(received[start + 2 : begin], "big")
    if size > most:
        raise ServerFault("a frame of the server is longer than any should be")
    return begin, begin + size
