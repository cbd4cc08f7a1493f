"""A client of the relay for tests: a byte stream, the client's side of a WebSocket, and the contract's
ClientSession.
"""

import os
from collections import deque
from contextlib import suppress
from typing import TypeVar

import trio
from msgspec import Struct
from trio.testing import wait_all_tasks_blocked
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from varde_contract import frames as f
from varde_contract.session import SUBPROTOCOL, ClientSession

F = TypeVar("F", bound=Struct)

URI = parse_uri("ws://relay.test/v1/relay")


class ConnectionClosed(Exception):
    """The relay closed; `code` is its close code, or None without a close frame."""

    def __init__(self, code: int | None, reason: str | None) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class RelayClient:
    """One connection. `frames` have come and were not asked for yet; `messages` counts the Noise messages that came."""

    def __init__(self, stream: trio.SocketStream, session: ClientSession) -> None:
        self.stream = stream
        self.session = session
        self.protocol = ClientProtocol(URI, subprotocols=[Subprotocol(SUBPROTOCOL)], max_size=65_535)
        self.frames: deque[f.ServerFrame] = deque()
        self.messages = 0
        self.response: Response | None = None

    async def upgrade(self) -> Response:
        """Ask for the WebSocket and return the answer."""
        self.protocol.send_request(self.protocol.connect())
        await self.flush()
        while self.response is None:
            await self._read()
        return self.response

    async def connect(self) -> f.Welcome:
        """Go through the whole handshake, and return what the relay says first."""
        assert (await self.upgrade()).status_code == 101
        await self.send_message(self.session.open())
        return await self.receive(f.Welcome)

    async def send(self, *frames: Struct) -> None:
        """Send frames in one message."""
        await self.send_message(self.session.send(*frames))

    async def send_message(self, message: bytes) -> None:
        """Send one binary WebSocket message, whatever is in it."""
        self.protocol.send_binary(message)
        await self.flush()

    async def receive(self, kind: type[F]) -> F:
        """Return the next frame, which has to be of this kind. Raises Ended."""
        while not self.frames:
            await self._read()
        frame = self.frames.popleft()
        assert isinstance(frame, kind), frame
        return frame

    async def receive_many(self, count: int) -> list[f.ServerFrame]:
        """Return the next frames, of any kind. Raises Ended."""
        while len(self.frames) < count:
            await self._read()
        return [self.frames.popleft() for _ in range(count)]

    async def receive_pending(self) -> list[f.ServerFrame]:
        """Return what there is when nobody has anything more to do."""
        await wait_all_tasks_blocked()
        with suppress(BlockingIOError):
            while received := os.read(self.stream.socket.fileno(), 65_536):
                await self._take(received)
        heard, self.frames = list(self.frames), deque()
        return heard

    async def wait_closed(self) -> ConnectionClosed:
        """Read on until the relay closes, and return how; frames that come before are kept."""
        try:
            while True:
                await self._read()
        except ConnectionClosed as ended:
            return ended

    async def close(self) -> None:
        """Close in good order."""
        self.protocol.send_close(1000)
        await self.flush()
        await self.wait_closed()
        await self.stream.aclose()

    async def abort(self) -> None:
        """Go without a word."""
        await self.stream.aclose()

    async def _read(self) -> None:
        if self.protocol.state is State.CLOSED:
            raise self._ended()
        received = await self.stream.receive_some(65_536)
        if received:
            await self._take(bytes(received))
        else:
            self.protocol.receive_eof()
            raise self._ended()

    async def _take(self, received: bytes) -> None:
        if not received:
            self.protocol.receive_eof()
            return
        self.protocol.receive_data(received)
        for event in self.protocol.events_received():
            if isinstance(event, Response):
                self.response = event
            elif isinstance(event, Frame) and event.opcode is Opcode.BINARY:
                await self._open(bytes(event.data))
        with suppress(trio.BrokenResourceError):  # the relay may have gone after its last word
            await self.flush()

    async def _open(self, message: bytes) -> None:
        self.messages += 1
        self.frames.extend(self.session.receive(message))
        reply = self.session.take_reply()
        if reply is not None:
            self.protocol.send_binary(reply)

    async def flush(self) -> None:
        """Write what the WebSocket has to say."""
        for written in self.protocol.data_to_send():
            if written:
                await self.stream.send_all(written)

    def _ended(self) -> ConnectionClosed:
        close = self.protocol.close_rcvd
        return ConnectionClosed(None, "") if close is None else ConnectionClosed(close.code, close.reason)
