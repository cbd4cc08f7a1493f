"""One open connection to a relay: frames out in order, frames in as they come, until somebody closes."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import trio
from msgspec import Struct
from websockets.exceptions import ConnectionClosed
from websockets.trio.client import ClientConnection

from varde_contract import codec
from varde_contract.closing import CloseCode
from varde_contract.errors import PeerFault
from varde_contract.frames import Delivered, Goaway, ServerFrame, Welcome
from varde_contract.ids import ConversationId
from varde_contract.session import ClientSession

SECONDS_PER_MS = 1 / 1_000


class Parted(NamedTuple):
    """How a connection ended: a word for people, the relay's code if it gave one, and when it asked to be back."""

    why: str
    closing: CloseCode | None = None
    goaway: Goaway | None = None


class Line:
    """A connection whose Welcome has come. `send` and `confirm` queue; one task writes, so that no write is torn."""

    def __init__(self, websocket: ClientConnection, session: ClientSession, welcome: Welcome) -> None:
        self.welcome = welcome
        self._websocket = websocket
        self._session = session
        self._queue: deque[Struct] = deque()
        self._confirmed: dict[ConversationId, int] = {}
        self._work = trio.Event()
        self._idle = trio.Event()
        self._goaway: Goaway | None = None

    def send(self, frame: Struct) -> None:
        """Queue a frame."""
        self._queue.append(frame)
        self._stir()

    def confirm(self, conversation: ConversationId, upto: int) -> None:
        """Tell the relay what is held, together with what else is confirmed until the writer comes by."""
        self._confirmed[conversation] = max(upto, self._confirmed.get(conversation, 0))
        self._stir()

    async def run(self, take: Callable[[Sequence[ServerFrame]], None]) -> Parted:
        """Give every message's frames to `take`, until the connection ends; say how it ended."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write)
            nursery.start_soon(self._beat)
            parted = await self._read(take)
            nursery.cancel_scope.cancel()
        return parted

    async def aclose(self) -> None:
        """Write what is queued, then say goodbye. The caller sets a deadline."""
        await self._idle.wait()
        await self._websocket.aclose()

    async def _read(self, take: Callable[[Sequence[ServerFrame]], None]) -> Parted:
        while True:
            try:
                frames = self._session.receive(await self._websocket.recv(decode=False))
            except ConnectionClosed as closed:
                return parted_from(closed, self._goaway)
            except PeerFault as fault:
                await close_for(self._websocket, fault)
                return Parted("the relay broke the protocol", None, self._goaway)
            self._goaway = next((frame for frame in frames if isinstance(frame, Goaway)), self._goaway)
            take(frames)

    async def _write(self) -> None:
        while True:
            if not (self._queue or self._confirmed):
                self._idle.set()
                await self._work.wait()  # without a deadline: there may be nothing to say for ever
            try:
                await self._websocket.send(self._session.send_encoded(self._next_message()))
            except ConnectionClosed:
                return  # the reader says how it ended

    async def _beat(self) -> None:
        interval = self.welcome.heartbeat_ms * SECONDS_PER_MS
        while True:
            await trio.sleep(interval)
            try:
                answered = await self._websocket.ping(ack_on_close=True)
                with trio.move_on_after(interval) as patience:
                    await answered.wait()
                if patience.cancelled_caught:
                    await self._websocket.aclose(CloseCode.HEARTBEAT_MISSED, CloseCode.HEARTBEAT_MISSED.label)
            except ConnectionClosed:
                return  # the reader says how it ended

    def _next_message(self) -> list[tuple[type[Struct], bytes]]:
        """Take as many frames as fit one Noise message."""
        for conversation, upto in self._confirmed.items():
            self._queue.append(Delivered(conversation, upto))
        self._confirmed.clear()
        self._work = trio.Event()
        message: list[tuple[type[Struct], bytes]] = []
        size = 0
        while self._queue:
            encoded = codec.encode_frame(self._queue[0])
            if message and not codec.fits(size + len(encoded), len(message) + 1):
                self._work.set()
                break
            size += len(encoded)
            message.append((type(self._queue.popleft()), encoded))
        return message

    def _stir(self) -> None:
        if self._idle.is_set():
            self._idle = trio.Event()
        self._work.set()


def parted_from(closed: ConnectionClosed, goaway: Goaway | None = None) -> Parted:
    """Say how a connection ended, from the close frame if one came."""
    if closed.rcvd is None:
        return Parted("the connection was lost", None, goaway)
    try:
        code = CloseCode(closed.rcvd.code)
    except ValueError:
        return Parted(f"closed with {closed.rcvd.code}", None, goaway)
    return Parted(code.label, code, goaway)


async def close_for(websocket: ClientConnection, fault: PeerFault) -> None:
    """Close because of what the peer sent, and say which rule it broke by code alone."""
    await websocket.aclose(fault.close_code, fault.close_code.label)
