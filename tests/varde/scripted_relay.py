"""A relay of a few lines at the other end of a memory stream, which plays a script, and a reconnector that talks to it.

The WebSocket protocol is the sans-I/O core of `websockets`, the session is the contract's: only sockets are missing.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import cast

import trio
from msgspec import Struct
from trio.testing import memory_stream_pair
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.trio.client import connect
from websockets.typing import Subprotocol

from tests.cast import alice, alice_laptop
from tests.ids import id_of
from tests.varde.endpoints import memory_store
from varde.connection import Connection
from varde.device import DeviceKeys
from varde.errors import VardeError
from varde.reconnector import Reconnector, dial
from varde.rest import Rest
from varde_contract import frames as f
from varde_contract.errors import PeerFault
from varde_contract.ids import SessionId
from varde_contract.kem import MlKemKeyPair
from varde_contract.noise import KeyPair
from varde_contract.rest.people import RelayAddress, RelayTicket
from varde_contract.session import SUBPROTOCOL, Pattern, ServerSession

URL = "ws://relay.example/v1/relay"
HEARTBEAT_MS = 25_000


class ServerConnection:
    """The relay's end of one connection."""

    def __init__(self, stream: trio.abc.Stream, static: KeyPair, kem: MlKemKeyPair) -> None:
        self._stream = stream
        self._protocol = ServerProtocol(subprotocols=[Subprotocol(SUBPROTOCOL)])
        self.session = ServerSession(static, kem)
        self.unresponsive = False
        """Whether pings are left unanswered, and everything else unread."""

    async def welcome(self, *first: Struct, heartbeat_ms: int = HEARTBEAT_MS) -> None:
        """Shake hands and welcome the client."""
        await self.handshake()
        welcome = f.Welcome(SessionId(id_of(1)), 0, heartbeat_ms, f.ServerLimits(1, 1, 1, 1), (), more=False)
        await self.send(welcome, *first)

    async def handshake(self) -> None:
        """Shake hands, up to Hello."""
        while self.session.hello is None:
            await self._take()
            reply = self.session.take_reply()
            if reply is not None:
                await self._write(reply)

    async def send(self, *frames: Struct) -> None:
        """Say something."""
        await self._write(self.session.send(*frames))

    async def receive(self) -> list[f.ReceivedFrame]:
        """Hear something."""
        while True:
            frames = await self._take()
            if frames:
                return frames

    async def turn_away(self, retry_after: str) -> None:
        """Answer the upgrade with 503 and this `Retry-After`."""
        self._protocol.receive_data(await self._stream.receive_some())
        list(self._protocol.events_received())
        response = self._protocol.reject(503, "")
        response.headers["Retry-After"] = retry_after
        self._protocol.send_response(response)
        await self._flush()
        await self._stream.aclose()

    async def close(self, code: int) -> None:
        """Say goodbye with a code."""
        self._protocol.send_close(code, "")
        await self._flush()
        await self._stream.aclose()

    async def drop(self) -> None:
        """Be gone without a word."""
        await self._stream.aclose()

    async def _write(self, message: bytes) -> None:
        self._protocol.send_binary(message)
        await self._flush()

    async def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data and not self.unresponsive:
                await self._stream.send_all(data)

    async def _take(self) -> list[f.ReceivedFrame]:
        data = await self._stream.receive_some()
        if not data:
            raise trio.EndOfChannel
        self._protocol.receive_data(data)
        frames: list[f.ReceivedFrame] = []
        for event in self._protocol.events_received():
            if isinstance(event, Request):
                self._protocol.send_response(self._protocol.accept(event))
            elif cast("Frame", event).opcode is Opcode.BINARY:
                frames += self.session.receive(bytes(cast("Frame", event).data))
        await self._flush()
        return frames


Script = Callable[[ServerConnection], Awaitable[None]]


class ScriptedRelay:
    """Plays one script for each connection, the last one again and again. It is the API's relay part as well."""

    def __init__(self, nursery: trio.Nursery, *scripts: Script) -> None:
        self.static, self.kem = KeyPair.generate(), MlKemKeyPair.generate()
        self.told_key = self.static.public
        self.told_url = URL
        self.tickets = 0
        self.asked_where = 0
        self.dialled: list[float] = []
        self.patterns: list[Pattern | None] = []
        self._nursery = nursery
        self._scripts = scripts

    def dial(self, url: str) -> connect:
        """Connect somebody to the next script."""
        ours, theirs = memory_stream_pair()
        script = self._scripts[min(len(self.dialled), len(self._scripts) - 1)]
        self.dialled.append(trio.current_time())
        self._nursery.start_soon(self._play, script, theirs)
        return dial(url, ours)

    async def relay(self) -> RelayAddress:
        """Where the relay is."""
        self.asked_where += 1
        return RelayAddress(self.told_url, self.told_key, self.kem.public)

    async def ticket(self) -> RelayTicket:
        """A ticket, each one another."""
        self.tickets += 1
        return RelayTicket(f"ticket-{self.tickets}", datetime.now(UTC) + timedelta(days=1))

    async def _play(self, script: Script, stream: trio.abc.Stream) -> None:
        connection = ServerConnection(stream, self.static, self.kem)
        try:
            await script(connection)
        except (trio.EndOfChannel, trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client went: that is what some tests are about
        except PeerFault as fault:
            await connection.close(fault.close_code)
        finally:
            self.patterns.append(connection.session.pattern)
            await stream.aclose()


async def live(connection: ServerConnection) -> None:
    """A connection that lasts."""
    await connection.welcome()
    while True:
        await connection.receive()


def closing(code: int) -> Script:
    """A connection that is closed with a code right after Hello."""

    async def script(connection: ServerConnection) -> None:
        await connection.handshake()
        await connection.close(code)

    return script


class ListenerRecorder:
    """Records what a reconnector reports."""

    def __init__(self) -> None:
        self.connections: list[Connection] = []
        self.frames: list[f.ServerFrame] = []
        self.disconnects: list[tuple[str, float | None]] = []
        self.news = trio.Event()

    def on_connected(self, connection: Connection) -> None:
        """Welcome has come."""
        self.connections.append(connection)
        self._stir()

    def on_frames(self, frames: Sequence[f.ServerFrame]) -> None:
        """These came."""
        self.frames.extend(frames)
        self._stir()

    def on_disconnected(self, why: str, retry_in_s: float | None) -> None:
        """It is over."""
        self.disconnects.append((why, retry_in_s))
        self._stir()

    async def wait_connected(self, count: int) -> None:
        """Until so many connections came about."""
        while len(self.connections) < count:
            await self.news.wait()

    def _stir(self) -> None:
        self.news.set()
        self.news = trio.Event()


class RunningReconnector:
    """A reconnector with a scripted relay at its other end."""

    def __init__(self, nursery: trio.Nursery, scripts: tuple[Script, ...]) -> None:
        self.recorder = ListenerRecorder()
        self.relay = ScriptedRelay(nursery, *scripts)
        self.store = memory_store()
        keys = DeviceKeys(alice.account, alice_laptop.id, KeyPair.generate().private_bytes())
        self.reconnector = Reconnector(self.store, cast("Rest", self.relay), keys, self.recorder, dial=self.relay.dial)
        self.end: VardeError | None = None
        self.ended = trio.Event()

    async def run(self) -> None:
        """Run it to its end."""
        self.end = await self.reconnector.run()
        self.ended.set()


@asynccontextmanager
async def open_reconnector(*scripts: Script) -> AsyncIterator[RunningReconnector]:
    """Run a reconnector for the block, against these scripts."""
    async with trio.open_nursery() as nursery:
        running = RunningReconnector(nursery, scripts)
        nursery.start_soon(running.run)
        yield running
        nursery.cancel_scope.cancel()
