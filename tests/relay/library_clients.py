"""Clients of the relay on other people's WebSockets over TCP: trio-websocket and websockets."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Final, Protocol

import trio
import trio_websocket
import websockets.exceptions
from websockets.trio.client import connect
from websockets.typing import Subprotocol

from tests.relay.client import ConnectionClosed, RelayClient, SessionClient
from varde_contract import frames as f
from varde_contract.noise import KeyPair
from varde_contract.session import SUBPROTOCOL, ClientSession, Pattern

CLOSING: Final = 2.0
"""Seconds for a library to close in good order."""


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


class LibraryClient(SessionClient):
    """A client on a WebSocket library of Python, by its two functions."""

    def __init__(
        self,
        session: ClientSession,
        send: Callable[[bytes], Awaitable[None]],
        receive: Callable[[], Awaitable[bytes]],
    ) -> None:
        super().__init__(session)
        self._send = send
        self._receive = receive

    async def send_message(self, message: bytes) -> None:
        """Send one binary message."""
        await self._send(message)

    async def read(self) -> None:
        """Read one message. Raises ConnectionClosed."""
        reply = self.take_message(await self._receive())
        if reply is not None:
            await self._send(reply)


class OpenClient(Protocol):
    """One of the clients."""

    def __call__(self, url: str, credentials: Credentials) -> AbstractAsyncContextManager[RelayClient]:
        """Connect."""


@asynccontextmanager
async def open_with_trio_websocket(url: str, credentials: Credentials) -> AsyncIterator[RelayClient]:
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
async def open_with_websockets(url: str, credentials: Credentials) -> AsyncIterator[RelayClient]:
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
