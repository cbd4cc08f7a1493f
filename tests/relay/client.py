"""The double of a relay client. One set of verbs; subclasses say how Noise messages travel.

`StreamClient` has a WebSocket of its own over a byte stream. `library_clients` has clients on WebSocket libraries,
`tests/clients/node` one that shares no code with us, `tests/conformance` one that writes any bytes.
"""

import os
from abc import ABC, abstractmethod
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
from varde_contract.session import State as SessionState

F = TypeVar("F", bound=Struct)

URI = parse_uri("ws://relay.test/v1/relay")
UPGRADE = (
    b"GET /v1/relay HTTP/1.1\r\nHost: relay.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: varde.v2\r\n\r\n"
)
"""The request that every client of the relay begins with, as bytes."""


class ConnectionClosed(Exception):
    """The relay closed; `code` is its close code, or None without a close frame."""

    def __init__(self, code: int | None, reason: str | None) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class RelayClient(ABC):
    """One connection. `frames` have come and were not asked for yet."""

    def __init__(self) -> None:
        self.frames: deque[f.ServerFrame] = deque()

    @property
    @abstractmethod
    def drained(self) -> bool:
        """Whether the relay has sent goaway."""

    @abstractmethod
    async def connect(self) -> f.Welcome:
        """Go through the handshake, and return the Welcome."""

    @abstractmethod
    async def send(self, *frames: Struct) -> None:
        """Send frames in one message."""

    @abstractmethod
    async def read(self) -> None:
        """Read once, and keep the frames that came. Raises ConnectionClosed."""

    async def receive(self, kind: type[F]) -> F:
        """Return the next frame, which has to be of this kind. Raises ConnectionClosed."""
        (frame,) = await self.receive_many(1)
        assert isinstance(frame, kind), frame
        return frame

    async def receive_many(self, count: int) -> list[f.ServerFrame]:
        """Return the next frames, of any kind. Raises ConnectionClosed."""
        while len(self.frames) < count:
            await self.read()
        return [self.frames.popleft() for _ in range(count)]

    async def wait_for(self, kind: type[F]) -> F:
        """Return the next frame of this kind, dropping others before it. Raises ConnectionClosed."""
        while True:
            (frame,) = await self.receive_many(1)
            if isinstance(frame, kind):
                return frame

    async def wait_closed(self) -> ConnectionClosed:
        """Read on until the relay closes, and return how; frames that come before are kept."""
        try:
            while True:
                await self.read()
        except ConnectionClosed as closed:
            return closed


class SessionClient(RelayClient):
    """A client with the contract's ClientSession. `messages` counts the Noise messages that came."""

    def __init__(self, session: ClientSession) -> None:
        super().__init__()
        self.session = session
        self.messages = 0

    @property
    def drained(self) -> bool:
        """Whether the relay has sent goaway."""
        return self.session.state is SessionState.DRAINING

    async def connect(self) -> f.Welcome:
        """Go through the Noise handshake, and return the Welcome."""
        await self.send_message(self.session.open())
        return await self.receive(f.Welcome)

    async def send(self, *frames: Struct) -> None:
        """Send frames in one message."""
        await self.send_message(self.session.send(*frames))

    @abstractmethod
    async def send_message(self, message: bytes) -> None:
        """Send one binary WebSocket message, whatever is in it."""

    def take_message(self, message: bytes) -> bytes | None:
        """Take in a Noise message that came; return what the handshake answers to it."""
        self.messages += 1
        self.frames.extend(self.session.receive(message))
        return self.session.take_reply()


class StreamClient(SessionClient):
    """A client over a byte stream, with the WebSocket of the `websockets` library without I/O."""

    def __init__(self, stream: trio.SocketStream, session: ClientSession) -> None:
        super().__init__(session)
        self.stream = stream
        self.protocol = ClientProtocol(URI, subprotocols=[Subprotocol(SUBPROTOCOL)], max_size=65_535)
        self.response: Response | None = None

    async def upgrade(self) -> Response:
        """Ask for the WebSocket and return the answer."""
        self.protocol.send_request(self.protocol.connect())
        await self.flush()
        while self.response is None:
            await self.read()
        return self.response

    async def connect(self) -> f.Welcome:
        """Go through the whole handshake, and return the Welcome."""
        assert (await self.upgrade()).status_code == 101
        return await super().connect()

    async def send_message(self, message: bytes) -> None:
        """Send one binary WebSocket message, whatever is in it."""
        self.protocol.send_binary(message)
        await self.flush()

    async def receive_pending(self) -> list[f.ServerFrame]:
        """Return the frames there are when nobody has anything more to do."""
        await wait_all_tasks_blocked()
        with suppress(BlockingIOError):
            while received := os.read(self.stream.socket.fileno(), 65_536):
                await self._take(received)
        frames, self.frames = list(self.frames), deque()
        return frames

    async def close(self) -> None:
        """Close in good order."""
        self.protocol.send_close(1000)
        await self.flush()
        await self.wait_closed()
        await self.stream.aclose()

    async def abort(self) -> None:
        """Go without a close frame."""
        await self.stream.aclose()

    async def flush(self) -> None:
        """Write what the WebSocket has to write."""
        for written in self.protocol.data_to_send():
            if written:
                await self.stream.send_all(written)

    async def read(self) -> None:
        """Read once, and keep what came. Raises ConnectionClosed."""
        if self.protocol.state is State.CLOSED:
            raise self._closed()
        received = await self.stream.receive_some(65_536)
        if received:
            await self._take(bytes(received))
        else:
            self.protocol.receive_eof()
            raise self._closed()

    async def _take(self, received: bytes) -> None:
        self.protocol.receive_data(received)
        for event in self.protocol.events_received():
            if isinstance(event, Response):
                self.response = event
            elif isinstance(event, Frame) and event.opcode is Opcode.BINARY:
                reply = self.take_message(bytes(event.data))
                if reply is not None:
                    self.protocol.send_binary(reply)
        with suppress(trio.BrokenResourceError):  # the relay may be gone after its close frame
            await self.flush()

    def _closed(self) -> ConnectionClosed:
        close = self.protocol.close_rcvd
        return ConnectionClosed(None, "") if close is None else ConnectionClosed(close.code, close.reason)
