"""A byte stream with a WebSocket on it: the two verbs that wait, and nothing else.

Refuses to know frames, sessions or who is there.
"""

from typing import Final

import trio

from contract.closing import CloseCode
from contract.errors import PeerFault
from relay.websocket import WebSocket

READ_BYTES: Final = 65_536
UNREAD_BYTES: Final = 65_536
"""Answers to pings that the peer does not read. More, and it is no longer a peer but a pump."""

BROKEN: Final = (trio.BrokenResourceError, trio.ClosedResourceError)
"""The peer went without a word."""


class Wire:
    """One connection's stream. One task may read while one other writes."""

    __slots__ = ("_eof_sent", "_stream", "websocket")

    def __init__(self, stream: trio.abc.HalfCloseableStream) -> None:
        self._stream = stream
        self._eof_sent = False
        self.websocket = WebSocket()

    async def read(self) -> list[bytes]:
        """Read once, and return the whole messages there are now; the end shows in `websocket.open`.

        Raises BROKEN, and PeerFault when the peer does not read what it made us say.
        """
        self.websocket.feed(await self._stream.receive_some(READ_BYTES))
        if self.websocket.pending > UNREAD_BYTES:
            raise PeerFault("the peer does not read", CloseCode.SLOW_CONSUMER)
        return self.websocket.take_messages()

    async def flush(self) -> None:
        """Write what is to be written. Raises BROKEN.

        Without a deadline: the heartbeat cuts a peer that does not read, and the end of a connection has its own.
        """
        waiting = self.websocket.take_bytes()
        if waiting:
            await self._stream.send_all(waiting)
        if self.websocket.wants_eof and not self._eof_sent:
            self._eof_sent = True
            await self._stream.send_eof()

    async def linger(self) -> None:
        """Read on until the peer is done, so that what was written last is not lost to a reset (RFC 9293 3.10.7.4)."""
        while not self.websocket.finished:
            self.websocket.feed(await self._stream.receive_some(READ_BYTES))
            self.websocket.take_bytes()  # answers to pings: nobody writes any more
