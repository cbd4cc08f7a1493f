"""Frames of a server, cut out of its bytes as the client cuts them."""

from typing import NamedTuple

from loadtest.client.websocket import OPCODE, measure_frame


class Message(NamedTuple):
    """One whole frame of the server. `payload` of a close frame begins with its code, two bytes."""

    opcode: int
    payload: bytes


class Splitter:
    """Bytes of a server in, whole frames out, however the stream was cut."""

    __slots__ = ("_rest",)

    def __init__(self, received: bytes = b"") -> None:
        """Start with what came behind the response to the upgrade."""
        self._rest = received

    def feed(self, received: bytes) -> list[Message]:
        """Take what was received and return the frames that are complete now. Raises ServerFault."""
        stream = self._rest + received if self._rest else received
        messages, start = [], 0
        while (span := measure_frame(stream, start)) is not None and span[1] <= len(stream):
            messages.append(Message(stream[start] & OPCODE, stream[span[0] : span[1]]))
            start = span[1]
        self._rest = stream[start:]
        return messages
