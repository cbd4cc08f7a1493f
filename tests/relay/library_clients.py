"""Independent clients of the relay: other people's WebSockets over TCP, driven with the contract's ClientSession.

The third one, which also has a Noise of its own, is in tests/clients.
"""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

import trio
import trio_websocket
import websockets.exceptions
from msgspec import Struct
from websockets.trio.client import connect
from websockets.typing import Subprotocol

from tests.relay.client import ConnectionClosed
from varde_contract import frames as f
from varde_contract.noise import KeyPair
from varde_contract.session import SUBPROTOCOL, ClientSession, Pattern, State

CLOSING: Final = 2.0
"""Seconds for a library to close in good order."""

F = TypeVar("F", bound=Struct)


@dataclass(frozen=True, repr=False)
class Credentials:
    """What a device comes in with."""

    static: KeyPair
    hello: f.Hello
    relay_key: bytes
    pattern: Pattern

    def session(self) -> ClientSession:
        """Our own client's side of the session."""
        return ClientSession(self.static, self.hello, relay_key=self.relay_key, pattern=self.pattern)


class Client(Protocol):
    """One connection, past its WebSocket handshake."""

    @property
    def drained(self) -> bool:
        """Whether the relay has said goaway."""

    async def connect(self) -> f.Welcome:
        """Go through the Noise handshake and return the Welcome."""

    async def send(self, *frames: Struct) -> None:
        """Send frames in one message."""

    async def wait_for(self, kind: type[F]) -> F:
        """Return the next frame of this kind, passing over others. Raises ConnectionClosed."""

    async def wait_closed(self) -> ConnectionClosed:
        """Read until the relay hangs up."""


class LibraryClient:
    """A client on a library of Python."""

    def __init__(
        self,
        session: ClientSession,
        send: Callable[[bytes], Awaitable[None]],
        receive: Callable[[], Awaitable[bytes]],
    ) -> None:
        self.session = session
        self.frames: deque[f.ServerFrame] = deque()
        self._send = send
        self._receive = receive

    async def connect(self) -> f.Welcome:
        """Go through the Noise handshake and return the Welcome."""
        await self._send(self.session.open())
        return await self.wait_for(f.Welcome)

    async def send(self, *frames: Struct) -> None:
        """Send frames."""
        await self._send(self.session.send(*frames))

    async def wait_for(self, kind: type[F]) -> F:
        """Return the next frame of this kind, passing over others. Raises ConnectionClosed."""
        while True:
            while not self.frames:
                await self._read()
            frame = self.frames.popleft()
            if isinstance(frame, kind):
                return frame

    async def wait_closed(self) -> ConnectionClosed:
        """Read until the relay hangs up."""
        try:
            while True:
                await self._read()
        except ConnectionClosed as closed:
            return closed

    async def _read(self) -> None:
        self.frames.extend(self.session.receive(await self._receive()))
        reply = self.session.take_reply()
        if reply is not None:
            await self._send(reply)

    @property
    def drained(self) -> bool:
        """Whether the relay has said goaway."""
        return self.session.state is State.DRAINING


class OpenClient(Protocol):
    """One of the clients."""

    def __call__(self, url: str, credentials: Credentials) -> AbstractAsyncContextManager[Client]:
        """Connect."""


@asynccontextmanager
async def open_with_trio_websocket(url: str, credentials: Credentials) -> AsyncIterator[Client]:
    """A client on trio-websocket."""
    async with trio_websocket.open_websocket_url(url, subprotocols=[SUBPROTOCOL], disconnect_timeout=CLOSING) as socket:
        assert socket.subprotocol == SUBPROTOCOL

        async def receive() -> bytes:
            try:
                message = await socket.get_message()
            except trio_websocket.ConnectionClosed as closed:
                raise ConnectionClosed(
                    getattr(closed.reason, "code", None), getattr(closed.reason, "reason", None)
                ) from None
            assert isinstance(message, bytes)
            return message

        try:
            yield LibraryClient(credentials.session(), socket.send_message, receive)
        finally:
            # When the relay hangs up, the library may be cancelled before it has closed its own socket.
            with trio.move_on_after(CLOSING):
                await socket.aclose()
            await trio.aclose_forcefully(socket._stream)


@asynccontextmanager
async def open_with_websockets(url: str, credentials: Credentials) -> AsyncIterator[Client]:
    """A client on websockets, which offers compression."""
    async with connect(url, subprotocols=[Subprotocol(SUBPROTOCOL)], proxy=None, close_timeout=CLOSING) as socket:
        assert socket.subprotocol == SUBPROTOCOL
        assert socket.protocol.extensions == []

        async def receive() -> bytes:
            try:
                message = await socket.recv()
            except websockets.exceptions.ConnectionClosed as closed:
                raise ConnectionClosed(
                    getattr(closed.rcvd, "code", None), getattr(closed.rcvd, "reason", None)
                ) from None
            assert isinstance(message, bytes)
            return message

        yield LibraryClient(credentials.session(), socket.send, receive)


LIBRARIES: Final[tuple[OpenClient, ...]] = (open_with_trio_websocket, open_with_websockets)
