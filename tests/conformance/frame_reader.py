"""What a relay may write, read strictly: every frame a server must not send is a fault here (RFC 6455 section 5)."""

from typing import Final

from tests.conformance.frames import BINARY, CLOSE, LONG, PING, PONG, SHORT

NO_BODY: Final = 1005
"""RFC 6455 section 7.1.5: the code of a close frame without one."""
NO_CLOSE: Final = 1006
"""The same: the code of an end without a close frame."""


class ServerFault(Exception):
    """The relay wrote something that a server must not."""


class FrameReader:
    """Takes what came in any chunks; keeps whole messages, payloads of pongs and the code of the close frame."""

    def __init__(self) -> None:
        self._unread = bytearray()
        self.messages: list[bytes] = []
        self.pongs: list[bytes] = []
        self.code: int | None = None
        self.ended = False

    def feed(self, received: bytes) -> None:
        """Take what came; nothing is the end. Raises Fault."""
        if not received:
            self._end()
            return
        self._unread += received
        while (frame := self._take_frame()) is not None:
            if self.code is not None and frame[0] != PONG:
                raise ServerFault("something else than a pong after the close frame, section 5.5.1")
            self._keep(*frame)

    def _end(self) -> None:
        self.ended = True
        if self._unread:
            raise ServerFault("the stream ends within a frame")
        self.code = NO_CLOSE if self.code is None else self.code

    def _keep(self, opcode: int, payload: bytes) -> None:
        match opcode:
            case 2:
                self.messages.append(payload)
            case 8:
                self.code = _code(payload)
            case 10:
                self.pongs.append(payload)

    def _take_frame(self) -> tuple[int, bytes] | None:
        if len(self._unread) < 2:
            return None
        first, second = self._unread[:2]
        if first not in (0x80 | BINARY, 0x80 | CLOSE, 0x80 | PING, 0x80 | PONG):
            raise ServerFault(
                f"a frame begins with {first:#04x}: it is not whole, has reserved bits, or is no kind of ours"
            )
        if second & 0x80:
            raise ServerFault("a server masks, section 5.1")
        start = {SHORT: 4, LONG: 10}.get(second, 2)
        if len(self._unread) < start:
            return None
        size = second if start == 2 else int.from_bytes(self._unread[2:start])
        _check_size(first & 0x0F, start, size)
        if len(self._unread) < start + size:
            return None
        payload = bytes(self._unread[start : start + size])
        del self._unread[: start + size]
        return first & 0x0F, payload


def _check_size(opcode: int, start: int, size: int) -> None:
    if start > 2 and size < {4: SHORT, 10: 1 << 16}[start]:
        raise ServerFault("a length that is not encoded minimally, section 5.2")
    if opcode >= CLOSE and size > 125:
        raise ServerFault("a control frame with more than 125 bytes, section 5.5")


def _code(body: bytes) -> int:
    if not body:
        return NO_BODY
    if len(body) == 1:
        raise ServerFault("a close frame with one byte, section 5.5.1")
    body[2:].decode()  # Raises where section 5.5.1 is broken.
    code = int.from_bytes(body[:2])
    if not (code in {1000, 1001, 1002, 1003, *range(1007, 1015)} or 3000 <= code < 5000):
        raise ServerFault(f"a close frame with code {code}, which no endpoint may send, section 7.4")
    return code
